//! Gossip: what travels on a room's topic, and what the topic is called. A hint; sync is the guarantee.
//!
//! A public room's message is one event as it travels alone (`event::SignedEvent`), nothing around it. Of any other room
//! only sealed tips travel: all of one length, under a key that current devices get from one another and nobody else.

use crate::codec::{Reader, Writer};
use crate::id::{DeviceId, EventId, RoomId};
use crate::seal::{self, NONCE_LEN, SEAL_LEN};
use data_encoding::BASE64URL_NOPAD;
use std::collections::BTreeSet;

/// The most that a gossip message may have to be taken and passed on; frames may be larger on the wire.
pub const MESSAGE_LEN_MAX: usize = 64 * 1024;

/// A public room's topic: 22 characters, so that 400 of them fit one greeting.
pub fn topic(room: RoomId) -> String {
    name(&blake3::derive_key("tidings/topic/1", room.as_bytes()))
}

/// The topic of a room that is not public: only who was let in once can tell it from others.
pub fn sealed_topic(inner: &[u8; 32]) -> String {
    name(&blake3::derive_key("tidings/sealed topic/1", inner))
}

fn name(hash: &[u8; 32]) -> String {
    BASE64URL_NOPAD.encode(&hash[..16])
}

/// A message's id on its topic.
pub fn message_id(topic: &str, data: &[u8]) -> [u8; 20] {
    let mut hasher = blake3::Hasher::new_derive_key("tidings/gossip message/1");
    hasher.update(topic.as_bytes());
    hasher.update(data);
    let mut id = [0; 20];
    id.copy_from_slice(&hasher.finalize().as_bytes()[..20]);
    id
}

/// Names the devices that may listen: a key is passed on only among those who agree on them.
pub fn circle(devices: &BTreeSet<DeviceId>) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("tidings/circle/1");
    for device in devices {
        hasher.update(device.as_bytes());
    }
    *hasher.finalize().as_bytes()
}

/// Tips that moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tips {
    /// When this was said, Unix milliseconds.
    pub ms: u64,
    /// Events that are heads of logs now: 1 to `TIPS_MAX` of them, the newest.
    pub ids: Vec<EventId>,
}

impl Tips {
    /// Seals the tips of a room under its key of the moment.
    pub fn seal(&self, key: &[u8; 32], room: RoomId, nonce: [u8; NONCE_LEN]) -> Vec<u8> {
        let mut w = Writer::default();
        w.u64(self.ms);
        for n in 0..TIPS_MAX {
            w.array(self.ids.get(n).unwrap_or(&EventId::ZERO).as_bytes());
        }
        seal::seal(key, nonce, room.as_bytes(), &w.into_bytes())
    }

    /// The tips, if they were sealed under this key for this room.
    pub fn open(key: &[u8; 32], room: RoomId, sealed: &[u8]) -> Option<Tips> {
        if sealed.len() != SEALED_TIPS_LEN {
            return None;
        }
        let text = seal::open(key, room.as_bytes(), sealed)?;
        let mut r = Reader::new(&text);
        let ms = r.u64().ok()?;
        let mut ids = Vec::new();
        for _ in 0..TIPS_MAX {
            ids.push(EventId(r.array().ok()?));
        }
        ids.retain(|id| *id != EventId::ZERO);
        Some(Tips { ms, ids })
    }
}

/// Tips named at once; of more, the newest are enough to make others compare.
pub const TIPS_MAX: usize = 8;
/// All sealed tips have this length, however many they name.
pub const SEALED_TIPS_LEN: usize = 8 + TIPS_MAX * 32 + SEAL_LEN;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_tips_have_one_length_and_open_for_their_room_alone() {
        for count in 1..=TIPS_MAX {
            let tips = Tips { ms: 7, ids: (1..=count as u8).map(|n| EventId([n; 32])).collect() };
            let sealed = tips.seal(&[1; 32], RoomId([2; 32]), [3; 24]);
            assert_eq!(sealed.len(), SEALED_TIPS_LEN);
            assert_eq!(Tips::open(&[1; 32], RoomId([2; 32]), &sealed), Some(tips));
            assert_eq!(Tips::open(&[1; 32], RoomId([9; 32]), &sealed), None);
            assert_eq!(Tips::open(&[9; 32], RoomId([2; 32]), &sealed), None);
            assert_eq!(Tips::open(&[1; 32], RoomId([2; 32]), &sealed[1..]), None);
        }
    }

    #[test]
    fn a_circle_is_another_with_any_device_more_or_less() {
        let of = |count: u8| circle(&(0..count).map(|n| DeviceId([n; 32])).collect());
        assert_ne!(of(2), of(3));
        assert_ne!(of(0), of(1));
        assert_eq!(of(3), of(3));
    }
}

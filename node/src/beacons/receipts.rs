//! Who has on disk what we said, by their own word: a device whose Holds names content that was ours once we had said
//! something has that, too. And what of beacons is written.

use crate::sync::holdings::NodeHoldings;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tidings_protocol::beacon::{Signal, SignedBeacon, kind};
use tidings_protocol::id::{DeviceId, EventId, RoomId};
use tidings_protocol::slots::{SlotKey, Slots};
use tidings_protocol::sync::{Digests, Holdings};
use tidings_storage::{Batch, RoomNumber, StorageError};

/// What is to be written of a room's beacons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The room.
    pub room: RoomNumber,
    /// New in their slots.
    pub put: Vec<SignedBeacon>,
    /// Slots to be emptied.
    pub gone: Vec<SlotKey>,
    /// Devices, and up to which local number they have our events.
    pub reached: Vec<(DeviceId, u64)>,
}

impl Change {
    /// Puts it into a batch.
    ///
    /// # Errors
    /// `StorageError`.
    pub fn write(&self, batch: &mut Batch<'_>) -> Result<(), StorageError> {
        for (device, kind) in &self.gone {
            batch.drop_beacon(self.room, *device, *kind)?;
        }
        for beacon in &self.put {
            batch.put_beacon(self.room, beacon)?;
        }
        for (device, number) in &self.reached {
            batch.put_reached(self.room, *device, *number)?;
        }
        Ok(())
    }
}

/// Of one room.
#[derive(Default)]
pub(super) struct Receipts {
    /// Digests of content that we have had, and the last local number that each covers, oldest first.
    ours: VecDeque<([u8; 32], u64)>,
    /// Up to which number each device has our events.
    pub(super) reached: BTreeMap<DeviceId, u64>,
    /// What was said here, newest last: those whose looks change when a receipt comes.
    said: VecDeque<(u64, EventId)>,
}

impl Receipts {
    /// What we hold now. Returns the devices that turn out to hold the same, and how far that reaches.
    pub(super) fn hold(&mut self, content: [u8; 32], number: u64, slots: &Slots) -> Vec<(DeviceId, u64)> {
        match self.ours.back_mut() {
            Some((last, covers)) if *last == content => *covers = number.max(*covers),
            _ => self.ours.push_back((content, number)),
        }
        if self.ours.len() > OURS_MAX {
            self.ours.pop_front();
        }
        let of_all = slots.iter().map(|held| (held.signed().device, held.signed().kind)).collect();
        self.read(slots, &of_all)
    }

    /// Reads off new slots how far they reach.
    pub(super) fn read(&mut self, slots: &Slots, keys: &BTreeSet<SlotKey>) -> Vec<(DeviceId, u64)> {
        let mut news = Vec::new();
        for (device, kind) in keys.iter().filter(|(_, kind)| *kind == kind::HOLDS) {
            let Some(Signal::Holds { content, durable: true, .. }) = slots.find(*device, *kind).map(|b| b.signal())
            else {
                continue;
            };
            let Some((_, number)) = self.ours.iter().rev().find(|(digest, _)| digest == content) else { continue };
            let reached = self.reached.entry(*device).or_default();
            if *number > *reached {
                *reached = *number;
                news.push((*device, *number));
            }
        }
        news
    }

    /// Something was said here.
    pub(super) fn say(&mut self, number: u64, id: EventId) {
        self.said.push_back((number, id));
        if self.said.len() > SAID_MAX {
            self.said.pop_front();
        }
    }

    /// What was said here lately, above one number and up to another.
    pub(super) fn said_between(&self, above: u64, number: u64) -> Vec<EventId> {
        self.said.iter().filter(|(n, _)| *n > above && *n <= number).map(|(_, id)| *id).collect()
    }
}

/// What a room's digest of content is now, and the last number that it surely covers; nothing where it cannot be read.
pub(super) fn held_now(held: &NodeHoldings, room: RoomId) -> Option<(Digests, u64)> {
    // What is committed meanwhile is covered by the next.
    let number = held.store.next_number().ok()?.saturating_sub(1);
    Some((held.digests(room).ok()?, number))
}

/// Digests of our own that are remembered: what others name is seconds old.
const OURS_MAX: usize = 64;
/// Own events of a room of which a screen is told that a receipt came.
const SAID_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_protocol::beacon::Draft;
    use tidings_protocol::event::Hlc;
    use tidings_protocol::identity::DeviceKey;

    fn holds(slots: &mut Slots, ms: u64, content: u8, durable: bool) -> BTreeSet<SlotKey> {
        let key = DeviceKey::from_seed(&[1; 32]);
        let signal = Signal::Holds { control: [0; 32], content: [content; 32], durable };
        let draft = Draft { room: RoomId([1; 32]), hlc: Hlc::at_ms(ms), signal };
        slots.take(draft.sign(&key).unwrap());
        BTreeSet::from([(key.device(), kind::HOLDS)])
    }

    #[test]
    fn a_receipt_reaches_as_far_as_what_we_had_then_and_never_back() {
        let (mut receipts, mut slots) = (Receipts::default(), Slots::default());
        let device = DeviceKey::from_seed(&[1; 32]).device();
        assert_eq!(receipts.hold([1; 32], 10, &slots), []);
        let key = holds(&mut slots, 1, 1, true);
        assert_eq!(receipts.read(&slots, &key), [(device, 10)]);
        receipts.hold([2; 32], 20, &slots);
        assert_eq!(receipts.reached[&device], 10, "what it holds is not what we have now");
        let key = holds(&mut slots, 2, 3, true);
        assert_eq!(receipts.read(&slots, &key), [], "nor what we ever had");
        assert_eq!(receipts.hold([3; 32], 30, &slots), [(device, 30)], "until we have it, too");
        let key = holds(&mut slots, 3, 1, true);
        assert_eq!((receipts.read(&slots, &key), receipts.reached[&device]), (vec![], 30));
    }

    #[test]
    fn what_has_holes_is_no_receipt() {
        let (mut receipts, mut slots) = (Receipts::default(), Slots::default());
        receipts.hold([1; 32], 10, &slots);
        let key = holds(&mut slots, 1, 1, false);
        assert_eq!((receipts.read(&slots, &key), receipts.reached.len()), (vec![], 0));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut receipts, slots) = (Receipts::default(), Slots::default());
        for n in 0..1000u64 {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&n.to_be_bytes());
            receipts.hold(digest, n, &slots);
            receipts.say(n, EventId([1; 32]));
        }
        assert_eq!((receipts.ours.len(), receipts.said.len()), (OURS_MAX, SAID_MAX));
    }
}

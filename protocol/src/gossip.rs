//! Gossip: what travels on a public room's topic, and what the topic is called. A hint; sync is the guarantee.
//!
//! A message is one event as it travels alone (`event::SignedEvent`), nothing around it.

use crate::id::RoomId;
use data_encoding::BASE64URL_NOPAD;

/// The most that a gossip message may have to be taken and passed on; frames may be larger on the wire.
pub const MESSAGE_LEN_MAX: usize = 64 * 1024;

/// A room's topic: 22 characters, so that 400 of them fit one greeting.
pub fn topic(room: RoomId) -> String {
    let hash = blake3::derive_key("tidings/topic/1", room.as_bytes());
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

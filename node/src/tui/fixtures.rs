//! Rooms, people and messages for the tests of the chat.

use std::collections::BTreeMap;

use crate::api::types::{Gap, Identity, Line, Member, Message, Room, Status};

/// Monday 3 August 2026, 14:30 UTC.
pub const NOW_MS: u64 = 1_785_767_400_000;

/// A message of `name`, whose id is made of it.
pub fn message(id: &str, name: &str, ms: u64, text: &str) -> Message {
    Message {
        id: id.to_owned(),
        room: "room1".to_owned(),
        user: user(name),
        name: name.to_owned(),
        device: format!("{name}-laptop"),
        ms,
        kind: "text".to_owned(),
        text: text.to_owned(),
        reply_to: None,
        thread: None,
        edited: false,
        erased: false,
        imported: None,
        reactions: BTreeMap::new(),
        file: None,
        delivery: None,
        verified: true,
        cursor: ms,
    }
}

/// The user of that name.
pub fn user(name: &str) -> String {
    format!("did:key:z6Mk{name}")
}

/// Events of a log that are missing.
pub fn gap(name: &str, from_seq: u64, to_seq: u64) -> Line {
    Line::Gap { gap: Gap { user: user(name), from_seq, to_seq, why: "fetching".to_owned() } }
}

/// A room in which nothing is missing.
pub fn room(id: &str, alias: &str, unread: usize, last_ms: u64) -> Room {
    Room {
        room: id.to_owned(),
        name: alias.to_owned(),
        alias: alias.to_owned(),
        kind: "members".to_owned(),
        members: 4,
        unread,
        last_ms,
        role: "member".to_owned(),
        complete: true,
        pending: false,
        topic: String::new(),
        peers: 2,
        needs_newer: false,
    }
}

/// A member of a room.
pub fn member(name: &str, role: &str) -> Member {
    Member { user: user(name), name: name.to_owned(), role: role.to_owned(), devices: 1, verified: false }
}

/// The local user.
pub fn identity(name: &str) -> Identity {
    Identity { user: user(name), device: format!("{name}-laptop"), name: name.to_owned(), peer: "12D3Me".to_owned() }
}

/// A node with three peers.
pub fn status() -> Status {
    Status {
        user: user("me"),
        peer: "12D3Me".to_owned(),
        uptime_s: 60,
        peers: 3,
        rooms: 3,
        events: 1000,
        disk_bytes: 1 << 20,
        version: "0.1.0".to_owned(),
        behind: 0,
        listen: vec![],
    }
}

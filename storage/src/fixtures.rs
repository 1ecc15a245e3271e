//! What the unit tests of this crate share: a room, a log of somebody's, and how it gets into the store.

use crate::append::Entry;
use crate::batch::{Durability, Writer};
use crate::key::RoomNumber;
use crate::rooms::RoomRow;
use tidings_protocol::content::Content;
use tidings_protocol::control::payload::RoomKind;
use tidings_protocol::event::{Body, Class, Draft, Hlc, Payload, VerifiedEvent};
use tidings_protocol::id::{EventId, RoomId};
use tidings_protocol::identity::DeviceKey;
use tidings_protocol::log::Log;
use tidings_protocol::range::sign_run;

pub(crate) const GRANT: EventId = EventId([2; 32]);

pub(crate) fn add_room(writer: &mut Writer, n: u8) -> RoomNumber {
    let row = RoomRow { alias: format!("room{n}"), ..RoomRow::new(RoomId([n; 32]), RoomKind::Public, [0; 32]) };
    let mut batch = writer.begin();
    let number = batch.add_room(row).unwrap();
    batch.commit(Durability::Synced).unwrap();
    number
}

/// What somebody says in a room; each may be about the one before.
pub(crate) fn said(
    room: u8,
    count: usize,
    say: impl Fn(usize, Option<&VerifiedEvent>) -> Content,
) -> (Log, Vec<VerifiedEvent>) {
    let key = DeviceKey::from_seed(&[7; 32]);
    let mut prev = EventId::ZERO;
    let mut out: Vec<VerifiedEvent> = Vec::new();
    for n in 0..count {
        let content = say(n, out.last());
        let draft = Draft {
            class: Class::Content,
            kind: content.kind(),
            room: RoomId([room; 32]),
            grant: GRANT,
            seq: 0,
            prev: EventId::ZERO,
            parents: Vec::new(),
            hlc: Hlc::at_ms(1000 + n as u64),
            payload: Payload { salt: [n as u8; 16], bytes: content.encode() },
        };
        let event = sign_run(&key, n as u64 + 1, prev, vec![draft]).unwrap().remove(0);
        prev = event.id();
        out.push(event);
    }
    (Log { class: Class::Content, author: key.device(), grant: GRANT }, out)
}

pub(crate) fn append(writer: &mut Writer, room: RoomNumber, events: &[VerifiedEvent]) {
    let contents: Vec<Content> = events
        .iter()
        .map(|event| match event.body() {
            Body::Kept(payload) => Content::decode(event.header().kind, &payload.bytes).unwrap(),
            Body::Erased => panic!("erased"),
        })
        .collect();
    let entry = |(event, content)| Entry { event, content: Some(content), user: None, erased: false, purged: false };
    let entries: Vec<Entry<'_>> = events.iter().zip(&contents).map(entry).collect();
    let mut batch = writer.begin();
    batch.append(room, &entries, 5000).unwrap();
    batch.commit(Durability::Synced).unwrap();
}

//! Events and what they say: what reads is written as it was read, what verifies has the id of its bytes, and what was
//! signed verifies until a byte of it is another.

use super::feed::Feed;
use tidings_protocol::codec::{decode, encode};
use tidings_protocol::content::Content;
use tidings_protocol::control::payload::{Control, ControlEvent};
use tidings_protocol::event::{Body, Class, Draft, Header, Hlc, Payload, SignedEvent, VerifiedEvent};
use tidings_protocol::id::{EventId, RoomId};
use tidings_protocol::identity::DeviceKey;
use tidings_protocol::limits::{CHUNK_INFLATED_MAX, EVENT_LEN_MAX, HEADER_LEN_MAX};
use tidings_protocol::log::{Log, Tip};
use tidings_protocol::range::{Range, Row, RowBody, Vouched, sign_run};

/// The first byte says how the others are read.
pub fn event(bytes: &[u8]) {
    let mut feed = Feed::new(bytes);
    match feed.u8() % 5 {
        0 => alone(feed.rest()),
        1 => header(feed.rest()),
        2 => payload(class(feed.u8()), feed.u16() % KINDS, feed.rest()),
        3 => signed(feed),
        _ => run(feed),
    }
}

/// Bytes as they come by gossip or in a push.
fn alone(bytes: &[u8]) {
    let Ok(event) = SignedEvent::decode(bytes) else { return };
    assert_eq!(encode(&event), bytes);
    assert!(bytes.len() <= EVENT_LEN_MAX);
    let (id, body) = (event.header.id(), event.body.clone());
    if let Body::Kept(said) = &body {
        payload(event.header.class, event.header.kind, &said.bytes);
    }
    let Ok(verified) = event.verify() else { return };
    is_itself(&verified, id);
    assert_eq!(encode(&verified.to_signed().unwrap()), bytes);
}

fn header(bytes: &[u8]) {
    let Ok(header) = decode::<Header>(bytes, HEADER_LEN_MAX) else { return };
    assert_eq!(encode(&header), bytes);
    let id = header.id();
    assert_eq!(header.is_grant_root(), header.log_of(id).grant == id);
}

/// What an event of some kind says. Unknown kinds are not read, so they cannot be written.
fn payload(class: Class, kind: u16, bytes: &[u8]) {
    let written = match class {
        Class::Control => match Control::decode(kind, bytes) {
            Ok(Control::Unknown { .. }) | Err(_) => return,
            Ok(control) => {
                assert_eq!(control.kind(), kind);
                if let Some(certificate) = control.certificate() {
                    let _ = certificate.verify();
                }
                control.encode()
            }
        },
        Class::Content => match Content::decode(kind, bytes) {
            Ok(Content::Unknown { .. }) | Err(_) => return,
            Ok(content) => {
                assert_eq!(content.kind(), kind);
                if let Content::Adopted(adopted) = &content {
                    assert!(adopted.said().is_none_or(|said| said.is_message()));
                    assert!(adopted.verify(ROOM).map_or(true, |event| event.id() == adopted.message));
                }
                if let Content::Imported(record) = &content {
                    assert_eq!(record.source_id(), record.clone().source_id());
                }
                assert!(content.words().is_none() || content.is_message());
                content.encode()
            }
        },
    };
    assert_eq!(written, bytes);
}

/// An event that we sign: whatever it says, if it can be signed it can be read, and no other event is under its signature.
fn signed(mut feed: Feed<'_>) {
    let (at, flip) = (usize::from(feed.u16()), feed.u8().max(1));
    let Ok(event) = draft(&mut feed).sign(&key()) else { return };
    let bytes = encode(&event.to_signed().unwrap());
    let read = SignedEvent::decode(&bytes).unwrap().verify().unwrap();
    is_itself(&read, event.id());
    assert_eq!(read, event);
    alone(&bytes);
    let mut changed = bytes.clone();
    let at = at % changed.len();
    changed[at] ^= flip;
    let passes = SignedEvent::decode(&changed).ok().and_then(|event| event.verify().ok());
    assert_eq!(passes, None, "byte {at} may be another");
}

/// A range of a log: verifies as it was made, and not with a row that says anything else.
fn run(mut feed: Feed<'_>) {
    if feed.rarely(64) {
        let bytes = feed.rest();
        let Ok(range) = decode::<Range>(bytes, CHUNK_INFLATED_MAX) else { return };
        assert_eq!(encode(&range), bytes);
        let rows = range.rows.len() as u64;
        let top = Tip { seq: range.first_seq.saturating_add(rows).saturating_sub(1), id: EventId([7; 32]) };
        assert!(range.verify(ROOM, log(Class::Content), top, Vouched::ByHash).is_err());
        return;
    }
    let (count, changes, what) = (usize::from(feed.u8() % 8) + 1, usize::from(feed.u8()), feed.u8() % 6);
    let first_seq = feed.u64().clamp(1, u64::MAX - 16);
    let prev = if first_seq == 1 { EventId::ZERO } else { EventId([9; 32]) };
    let class = class(feed.u8());
    let drafts = (0..count).map(|_| Draft { class, room: ROOM, grant: GRANT, ..draft(&mut feed) }).collect();
    let Ok(events) = sign_run(&key(), first_seq, prev, drafts) else { return };
    // Who begins a log by what they say are in another.
    if events.iter().any(|event| event.log() != log(class) || event.room() != ROOM) {
        return;
    }
    let top = Tip { seq: events[count - 1].header().seq, id: events[count - 1].id() };
    let row =
        |event: &VerifiedEvent| Row::new(event.header().clone(), event.body().clone(), event.signature().copied());
    let range = Range { first_seq, prev, rows: events.iter().map(row).collect() };
    // What does not fit a chunk is cut before it is sent.
    let Some(chunk) = range.deflate() else { return };
    let sent = Range::inflate(&chunk).unwrap();
    assert_eq!(sent, range);
    assert_eq!(sent.verify(ROOM, log(class), top, Vouched::BySignature).as_ref(), Ok(&events));
    let mut changed = range;
    let at = changes % count;
    let row = &mut changed.rows[at];
    match (what, &mut row.body) {
        (0, RowBody::Kept(payload)) => payload.salt[0] ^= 1,
        (1, RowBody::Kept(payload)) => payload.bytes.push(0),
        (2, _) => row.kind ^= 1,
        (3, _) => row.hlc.0 ^= 1,
        (4, _) => row.parents.push(EventId([0xff; 32])),
        _ => changed.prev.0[0] ^= 1,
    }
    assert!(changed.verify(ROOM, log(class), top, Vouched::BySignature).is_err());
}

/// Something to say, most of it well formed.
fn draft(feed: &mut Feed<'_>) -> Draft {
    let class = class(feed.u8());
    let seq = feed.u64();
    let id = |feed: &mut Feed<'_>| if feed.rarely(16) { EventId(feed.array()) } else { EventId([feed.u8(); 32]) };
    Draft {
        class,
        kind: feed.u16() % KINDS,
        room: if feed.rarely(32) { RoomId::ZERO } else { ROOM },
        grant: if feed.rarely(32) { EventId::ZERO } else { GRANT },
        seq,
        prev: if seq == 1 { EventId::ZERO } else { id(feed) },
        parents: (0..feed.u8() % 10).map(|_| id(feed)).collect(),
        hlc: Hlc(feed.u64()),
        payload: Payload { salt: [feed.u8(); 16], bytes: feed.piece().to_vec() },
    }
}

fn is_itself(event: &VerifiedEvent, id: EventId) {
    assert_eq!(event.id(), id);
    assert_eq!(event.header().id(), id);
    assert_eq!((event.room(), event.log()), (event.header().room_of(id), event.header().log_of(id)));
    if event.header().class == Class::Control {
        assert!(ControlEvent::read(event).map_or(true, |read| (read.id, read.log) == (id, event.log())));
    }
}

fn class(byte: u8) -> Class {
    if byte.is_multiple_of(2) { Class::Content } else { Class::Control }
}

fn key() -> DeviceKey {
    DeviceKey::from_seed(&[7; 32])
}

fn log(class: Class) -> Log {
    Log { class, author: key().device(), grant: GRANT }
}

const ROOM: RoomId = RoomId([1; 32]);
const GRANT: EventId = EventId([2; 32]);
/// All that are known, and some that are not.
const KINDS: u16 = 40;

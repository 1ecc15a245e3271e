//! What peers say in one piece: frames of sync and enrolment, and what lies in them. What reads is written as it was read.

use super::feed::Feed;
use tidings_protocol::account::Bundle;
use tidings_protocol::beacon::{Signal, SignedBeacon};
use tidings_protocol::codec::{decode, encode};
use tidings_protocol::enrol::EnrolFrame;
use tidings_protocol::file::Outline;
use tidings_protocol::gossip::Tips;
use tidings_protocol::id::{FileHash, RoomId};
use tidings_protocol::limits::{CHUNK_EVENTS_MAX, CHUNK_INFLATED_MAX, FRAME_LEN_MAX, KNOCK_LEN_MAX};
use tidings_protocol::range::Range;
use tidings_protocol::wire::{Frame, Knock};

/// The first byte says as what the others are read.
pub fn frames(bytes: &[u8]) {
    let mut feed = Feed::new(bytes);
    match feed.u8() % 9 {
        0 => frame(feed.rest()),
        1 => {
            let bytes = feed.rest();
            assert!(EnrolFrame::from_bytes(bytes).map_or(true, |frame| frame.to_bytes() == bytes));
        }
        2 => {
            let bytes = feed.rest();
            assert!(decode::<Knock>(bytes, KNOCK_LEN_MAX).map_or(true, |knock| encode(&knock) == bytes));
        }
        3 => bundle(feed.rest()),
        4 => beacon(feed.rest()),
        5 => inflate(feed.rest()),
        6 => deflate(feed.rest()),
        7 => outline(feed),
        _ => tips(feed),
    }
}

fn frame(bytes: &[u8]) {
    let Ok(frame) = Frame::from_bytes(bytes) else { return };
    assert!(bytes.len() <= FRAME_LEN_MAX);
    assert_eq!(frame.to_bytes(), bytes);
    match frame {
        Frame::Events { chunk, .. } => inflate(&chunk),
        Frame::Beacons { beacons, .. } => beacons.iter().for_each(|signed| beacon(&encode(signed))),
        _ => {}
    }
}

fn bundle(bytes: &[u8]) {
    let Ok(bundle) = Bundle::from_bytes(bytes) else { return };
    assert_eq!(bundle.to_bytes(), bytes);
    // Records are cut anew where they do not fit one; nothing of them is lost.
    let parts = Bundle::parts(bundle.whole, bundle.entries.clone());
    let again = parts.iter().map(|part| Bundle::from_bytes(&part.to_bytes()).unwrap());
    assert_eq!(again.flat_map(|part| part.entries).collect::<Vec<_>>(), bundle.entries);
    bundle.entries.iter().for_each(|entry| drop((entry.record(), entry.subject(), entry.hlc())));
}

fn beacon(bytes: &[u8]) {
    let Ok(signed) = SignedBeacon::decode(bytes) else { return };
    assert_eq!(encode(&signed), bytes);
    if let Ok(signal) = Signal::decode(signed.kind, &signed.payload)
        && signal != Signal::Unknown
    {
        assert_eq!((signal.kind(), signal.encode()), (signed.kind, signed.payload.clone()));
    }
    assert!(!signed.replaces(&signed));
    assert!(signed.verify(ROOM).map_or(true, |verified| encode(verified.signed()) == bytes));
}

/// A compressed range: never more than a chunk may have.
fn inflate(chunk: &[u8]) {
    let Ok(range) = Range::inflate(chunk) else { return };
    assert!(range.rows.len() <= CHUNK_EVENTS_MAX && encode(&range).len() <= CHUNK_INFLATED_MAX);
    if let Some(again) = range.deflate() {
        assert_eq!(Range::inflate(&again), Ok(range));
    }
}

fn deflate(bytes: &[u8]) {
    let Ok(range) = decode::<Range>(bytes, CHUNK_INFLATED_MAX) else { return };
    assert_eq!(encode(&range), bytes);
    if let Some(chunk) = range.deflate() {
        assert_eq!(Range::inflate(&chunk), Ok(range));
    }
}

/// The outline of a file of this length; as if it had this name, or the one that it has.
fn outline(mut feed: Feed<'_>) {
    let (len, index) = (feed.u64(), feed.u32());
    let hash = FileHash(feed.array());
    let bytes = feed.rest();
    let Some(outline) = Outline::check(hash, len, bytes) else { return };
    assert_eq!((outline.hash(), outline.len_bytes(), outline.to_bytes().as_slice()), (hash, len, bytes));
    outline.verifies(index, bytes);
}

/// Sealed tips: what somebody else sealed does not open, and what we seal does.
fn tips(mut feed: Feed<'_>) {
    let (key, nonce) = ([feed.u8(); 32], feed.array());
    let (ms, at) = (feed.u64(), usize::from(feed.u16()));
    let ids = (1..=feed.u8() % 9).map(|n| tidings_protocol::id::EventId([n; 32])).collect();
    let tips = Tips { ms, ids };
    let mut sealed = tips.seal(&key, ROOM, nonce);
    assert_eq!(Tips::open(&key, ROOM, &sealed), Some(Tips { ids: tips.ids.iter().take(8).copied().collect(), ms }));
    let at = at % sealed.len();
    sealed[at] ^= 1;
    assert_eq!(Tips::open(&key, ROOM, &sealed), None);
    assert_eq!(Tips::open(&key, ROOM, feed.rest()), None);
}

const ROOM: RoomId = RoomId([1; 32]);

//! Bytes that every reader refuses, and why.

use super::parts::{INVITE, hex};
use serde_json::{Value, json};
use tidings_protocol::codec::encode;
use tidings_protocol::content::{Content, Text};
use tidings_protocol::control::cut::Cut;
use tidings_protocol::control::payload::{Control, OpenInvite, Revoke, RevokeDevice, Set};
use tidings_protocol::control::rank::Rank;
use tidings_protocol::event::{Class, Header, SignedEvent};
use tidings_protocol::file::File;
use tidings_protocol::id::{DeviceId, EventId, FileHash, RoomId, UserId};
use tidings_protocol::identity::InviteSecret;
use tidings_protocol::log::Log;

/// What every reader refuses.
pub fn malformed(genesis: &SignedEvent, join: &Header, first: &Header) -> Vec<Value> {
    let mut out = malformed_headers(&genesis.header, join, first);
    out.extend(malformed_payloads());
    out.extend(super::beacons::malformed());
    out.extend(super::answers::malformed());
    out.extend(malformed_revocations());
    let event = encode(genesis);
    let flag = 4 + 188 + 64;
    out.push(bad("event", 0, "a byte is left over", [&event[..], &[0]].concat()));
    out.push(bad("event", 0, "erased, with a payload", [&event[..flag], &[0], &event[flag + 1..]].concat()));
    out.push(bad("event", 0, "flag 2", [&event[..flag], &[2], &event[flag + 1..]].concat()));
    out
}

fn malformed_headers(genesis: &Header, join: &Header, first: &Header) -> Vec<Value> {
    let changed = |good: &Header, change: fn(&mut Header)| {
        let mut header = good.clone();
        change(&mut header);
        encode(&header)
    };
    let patched = |at: usize, byte: u8| {
        let mut bytes = encode(first);
        bytes[at] = byte;
        bytes
    };
    let mut out = Vec::new();
    let mut header = |why: &str, bytes: Vec<u8>| out.push(bad("header", 0, why, bytes));
    header("version 2", patched(0, 2));
    header("class 2", patched(1, 2));
    header("a byte is missing", encode(first)[..187].to_vec());
    header("a byte is left over", [encode(first), vec![0]].concat());
    header("parents descend", changed(first, |h| h.parents = vec![EventId([2; 32]), EventId([1; 32])]));
    header("a parent twice", changed(first, |h| h.parents = vec![EventId([2; 32]); 2]));
    header("9 parents", changed(first, |h| h.parents = (1..=9).map(|n| EventId([n; 32])).collect()));
    header("payload too long", changed(first, |h| h.payload_len = 49_153));
    header("seq 0", changed(first, |h| h.seq = 0));
    header("seq 1 with a prev", changed(first, |h| h.prev = EventId([1; 32])));
    header("seq 2 without prev", changed(first, |h| h.seq = 2));
    header("no room", changed(first, |h| h.room = RoomId::ZERO));
    header("a genesis with a room", changed(genesis, |h| h.room = RoomId([1; 32])));
    header("no grant", changed(first, |h| h.grant = EventId::ZERO));
    header("a genesis with a grant", changed(genesis, |h| h.grant = EventId([1; 32])));
    header("a join with a grant", changed(join, |h| h.grant = EventId([1; 32])));
    header("a join at seq 2", changed(join, |h| (h.seq, h.prev) = (2, EventId([1; 32]))));
    out
}

fn malformed_payloads() -> Vec<Value> {
    let two = vec![UserId([2; 32]), UserId([1; 32])];
    let descending = Content::Text(Text { body: "hi".into(), mentions: two });
    let many = Content::Text(Text { body: String::new(), mentions: (0..65).map(|n| UserId([n; 32])).collect() });
    let long = Content::Profile { name: "n".repeat(65), home: None };
    let silent = Content::Reaction { target: EventId([1; 32]), emoji: String::new(), removed: false };
    let mut flag = Content::Reaction { target: EventId([1; 32]), emoji: "+".into(), removed: true }.encode();
    *flag.last_mut().unwrap() = 2;
    let text = Text { body: String::new(), mentions: Vec::new() };
    let (hash, name) = (FileHash([1; 32]), "x".to_owned());
    let file = File { hash, len: 1 << 34, name, media: String::new(), text, reply: None };
    let endless = Content::File(Box::new(File { len: (1 << 34) + 1, ..file.clone() }));
    let named = Content::File(Box::new(File { name: "n".repeat(256), ..file }));
    let open = OpenInvite { key: InviteSecret::from_seed(INVITE).key(), rank: Rank::KEEPER };
    let mut rank = Control::OpenInvite(open).encode();
    *rank.last_mut().unwrap() = 100;
    let replaces = vec![EventId([1; 32]); 2];
    let twice = Control::Set(Set { key: "name".into(), value: "x".into(), replaces });
    let key = Control::Set(Set { key: "k".repeat(33), value: String::new(), replaces: Vec::new() });
    vec![
        bad("content", 1, "mentions descend", descending.encode()),
        bad("content", 1, "65 mentions", many.encode()),
        bad("content", 1, "a surrogate is no UTF-8", vec![0, 0, 0, 3, 0xed, 0xa0, 0x80, 0, 0, 0, 0]),
        bad("content", 1, "the text is longer than the payload", vec![0, 0, 0, 9, b'a', 0, 0, 0, 0]),
        bad("content", 1, "a byte is left over", vec![0, 0, 0, 0, 0, 0, 0, 0, 0]),
        bad("content", 4, "no emoji", silent.encode()),
        bad("content", 4, "flag 2", flag),
        bad("content", 5, "a file that is too long", endless.encode()),
        bad("content", 5, "a name of 256 bytes", named.encode()),
        bad("content", 7, "a name of 65 bytes", long.encode()),
        bad("content", 32, "flag 2", [[1u8; 32].as_slice(), &[2]].concat()),
        bad("content", 33, "a report without a ciphertext", vec![0; 4]),
        bad("control", 3, "rank 100", rank),
        bad("control", 9, "a Leave that says something", vec![0]),
        bad("control", 10, "an id twice", twice.encode()),
        bad("control", 10, "a key of 33 bytes", key.encode()),
    ]
}

fn malformed_revocations() -> Vec<Value> {
    let log = |n: u8| Log { class: Class::Content, author: DeviceId([n; 32]), grant: EventId([1; 32]) };
    let cut =
        |n: u8, seq: u64, ids: &[u8]| Cut { log: log(n), seq, ids: ids.iter().map(|n| EventId([*n; 32])).collect() };
    let revoke = |cuts: Vec<Cut>| Control::Revoke(Revoke { user: UserId([3; 32]), cuts, joins: Vec::new() }).encode();
    let nine: Vec<u8> = (1..=9).collect();
    let mut class = revoke(vec![cut(1, 1, &[1])]);
    class[36] = 2;
    let joins = (0..1025u32).map(|n| EventId(std::array::from_fn(|i| (n >> (8 * (31 - i.max(28)))) as u8))).collect();
    let joins = Control::Revoke(Revoke { user: UserId([3; 32]), cuts: Vec::new(), joins }).encode();
    let device = RevokeDevice { device: DeviceId([1; 32]), cuts: vec![cut(1, 1, &[1]), cut(1, 2, &[1])] };
    let mut left_over = Control::RevokeDevice(RevokeDevice { cuts: Vec::new(), ..device.clone() }).encode();
    left_over.push(0);
    vec![
        bad("control", 7, "two cuts of one log", revoke(vec![cut(1, 1, &[1]), cut(1, 1, &[2])])),
        bad("control", 7, "cuts descend", revoke(vec![cut(2, 1, &[1]), cut(1, 1, &[1])])),
        bad("control", 7, "ids of a cut descend", revoke(vec![cut(1, 1, &[2, 1])])),
        bad("control", 7, "9 ids in a cut", revoke(vec![cut(1, 1, &nine)])),
        bad("control", 7, "65 cuts", revoke((0..65).map(|n| cut(n, 1, &[1])).collect())),
        bad("control", 7, "a cut of class 2", class),
        bad("control", 7, "1025 joins", joins),
        bad("control", 8, "two cuts of one log", Control::RevokeDevice(device).encode()),
        bad("control", 8, "a byte is left over", left_over),
        bad("control", 12, "a room of 31 bytes", vec![1; 31]),
    ]
}

pub fn bad(what: &str, kind: u16, label: &str, bytes: Vec<u8>) -> Value {
    json!({ "what": what, "kind": kind, "label": label, "bytes": hex(&bytes) })
}

//! Beacons as the vectors have them: every kind once, some of one slot; and what is none.

use super::malformed::bad;
use super::parts::{ADA_DEVICE, CAROL_DEVICE, START_MS, hex};
use serde_json::{Value, json};
use tidings_protocol::beacon::{Draft, Presence, Signal, SignedBeacon, kind};
use tidings_protocol::codec::encode;
use tidings_protocol::event::Hlc;
use tidings_protocol::id::{EventId, RoomId};
use tidings_protocol::identity::{DeviceKey, Signature};
use tidings_protocol::slots::Slots;

/// One after another into the slots of a room: `fingerprint` is what is kept then.
pub fn beacons(room: RoomId, read: EventId) -> Vec<Value> {
    let at = |n: u64| Hlc((START_MS + n) << 16);
    let addresses = ["/ip4/203.0.113.7/udp/4001/quic-v1/p2p/12D3KooWExample", ""].map(str::to_owned);
    let holds = |n: u8| {
        let erased = if n == 1 { at(5) } else { Hlc(u64::MAX) };
        Signal::Holds { control: [n; 32], content: [0xc0; 32], durable: n != 0, erased }
    };
    let said = [
        ("read", CAROL_DEVICE, at(1), Signal::Read { event: read, at: Hlc((START_MS << 16) + 7) }),
        ("typing", CAROL_DEVICE, at(2), Signal::Typing { until_ms: START_MS + 2 + 10_000 }),
        ("no longer typing", CAROL_DEVICE, at(3), Signal::Typing { until_ms: 0 }),
        ("online", CAROL_DEVICE, at(4), Signal::Presence(Presence::Online)),
        ("away", CAROL_DEVICE, at(5), Signal::Presence(Presence::Away)),
        ("addresses", ADA_DEVICE, at(6), Signal::Addresses(addresses.into())),
        ("holds", ADA_DEVICE, at(7), holds(1)),
        ("older than what is held", ADA_DEVICE, at(6), holds(0)),
        ("of the same time, with larger bytes", ADA_DEVICE, at(7), holds(2)),
    ];
    let mut slots = Slots::default();
    let mut out = Vec::new();
    for (label, seed, hlc, signal) in said {
        let beacon = Draft { room, hlc, signal }.sign(&DeviceKey::from_seed(&seed)).unwrap();
        slots.take(beacon.clone());
        out.push(vector(label, &seed, room, beacon.signed(), fields(beacon.signal()), &slots));
    }
    out
}

pub fn fields(signal: &Signal) -> Value {
    match signal {
        Signal::Read { event, at } => json!({ "event": hex(&event.0), "at": format!("{:016x}", at.0) }),
        Signal::Typing { until_ms } => json!({ "until_ms": until_ms }),
        Signal::Presence(presence) => json!({ "online": u8::from(*presence == Presence::Online) }),
        Signal::Addresses(addresses) => json!({ "addresses": addresses }),
        Signal::Holds { control, content, durable, erased } => json!({
            "control": hex(control), "content": hex(content), "durable": u8::from(*durable),
            "erased": format!("{:016x}", erased.0),
        }),
        Signal::Unknown => json!({}),
    }
}

fn vector(label: &str, seed: &[u8; 32], room: RoomId, beacon: &SignedBeacon, fields: Value, slots: &Slots) -> Value {
    let bytes = encode(beacon);
    let claim = [&room.0[..], &bytes[..bytes.len() - 64]].concat();
    json!({
        "label": label,
        "device_seed": hex(seed),
        "room": hex(&room.0),
        "device": hex(&beacon.device.0),
        "kind": beacon.kind,
        "hlc": format!("{:016x}", beacon.hlc.0),
        "fields": fields,
        "payload": hex(&beacon.payload),
        "claim": hex(&claim),
        "signature": hex(&beacon.signature.0),
        "beacon": hex(&bytes),
        "hash": hex(&beacon.hash()),
        "fingerprint": hex(&slots.fingerprint()),
    })
}

/// What every reader refuses, whoever signed it.
pub fn malformed() -> Vec<Value> {
    let device = DeviceKey::from_seed(&ADA_DEVICE).device();
    let hlc = Hlc::at_ms(START_MS);
    let beacon = |kind, payload| encode(&SignedBeacon { device, kind, hlc, payload, signature: Signature([0; 64]) });
    let many = Signal::Addresses(vec!["a".into(); 9]).encode();
    let away = Signal::Presence(Presence::Away).encode();
    let long = Signal::Addresses(vec!["a".repeat(257)]).encode();
    vec![
        bad("beacon", kind::READ, "a byte is missing", beacon(kind::READ, vec![0; 39])),
        bad("beacon", kind::TYPING, "typing for 10.001 s", {
            beacon(kind::TYPING, (START_MS + 10_001).to_be_bytes().to_vec())
        }),
        bad("beacon", kind::PRESENCE, "flag 2", beacon(kind::PRESENCE, vec![2])),
        bad("beacon", kind::PRESENCE, "a byte is left over", [beacon(kind::PRESENCE, away), vec![0]].concat()),
        bad("beacon", kind::ADDRESSES, "9 addresses", beacon(kind::ADDRESSES, many)),
        bad("beacon", kind::ADDRESSES, "an address of 257 bytes", beacon(kind::ADDRESSES, long)),
        bad("beacon", kind::HOLDS, "flag 2", beacon(kind::HOLDS, vec![2; 73])),
        bad("beacon", 999, "a payload of 1,025 bytes", beacon(999, vec![0; 1025])),
    ]
}

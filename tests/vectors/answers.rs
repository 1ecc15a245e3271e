//! Answers to who asks what a node holds, as the vectors have them; and what is none.

use super::malformed::bad;
use super::parts::{ADA_DEVICE, CAROL_DEVICE, START_MS, hex};
use serde_json::{Value, json};
use tidings_protocol::answer::{Draft, SignedAnswer};
use tidings_protocol::codec::encode;
use tidings_protocol::event::Hlc;
use tidings_protocol::id::RoomId;
use tidings_protocol::identity::DeviceKey;

fn answer(room: RoomId, seed: &[u8; 32], n: u8) -> SignedAnswer {
    let hlc = Hlc((START_MS + u64::from(n)) << 16);
    let draft = Draft { room, nonce: [n; 16], hlc, control: [0xc0; 32], content: [0xc1; 32], durable: n == 1 };
    draft.sign(&DeviceKey::from_seed(seed))
}

pub fn answers(room: RoomId) -> [Value; 2] {
    let of = |label: &str, seed: [u8; 32], n| vector(label, &seed, room, &answer(room, &seed, n));
    [of("it lacks nothing", ADA_DEVICE, 1), of("it lacks something", CAROL_DEVICE, 2)]
}

fn vector(label: &str, seed: &[u8; 32], room: RoomId, answer: &SignedAnswer) -> Value {
    let bytes = encode(answer);
    let claim = [&room.0[..], &bytes[..bytes.len() - 64]].concat();
    json!({
        "label": label,
        "device_seed": hex(seed),
        "room": hex(&room.0),
        "device": hex(&answer.device.0),
        "nonce": hex(&answer.nonce),
        "hlc": format!("{:016x}", answer.hlc.0),
        "control": hex(&answer.control),
        "content": hex(&answer.content),
        "durable": u8::from(answer.durable),
        "claim": hex(&claim),
        "signature": hex(&answer.signature.0),
        "answer": hex(&bytes),
    })
}

/// What every reader refuses, whoever signed it.
pub fn malformed() -> Vec<Value> {
    let good = encode(&answer(RoomId::ZERO, &ADA_DEVICE, 1));
    let mut flag = good.clone();
    flag[good.len() - 65] = 2;
    vec![
        bad("answer", 0, "flag 2", flag),
        bad("answer", 0, "a byte is missing", good[1..].to_vec()),
        bad("answer", 0, "a byte is left over", [good, vec![0]].concat()),
    ]
}

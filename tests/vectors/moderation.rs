//! Vectors of reports: sealed to the keys by which devices sign.

use super::parts::hex;
use serde_json::{Value, json};
use tidings_protocol::codec::encode;
use tidings_protocol::identity::DeviceKey;
use tidings_protocol::moderation::Report;
use tidings_protocol::sealed::{Place, Sealed};

/// A report sealed to the devices of these seeds.
pub fn sealed_report(report: &Report, to: &[[u8; 32]], place: Place) -> Sealed {
    let to: Vec<_> = to.iter().map(|seed| DeviceKey::from_seed(seed).device()).collect();
    let mut n = 0x60;
    let mut entropy = || {
        n += 1;
        [n; 32]
    };
    report.seal(&to, place, &mut entropy).unwrap()
}

/// What one of its readers makes of it.
pub fn report_vector(report: &Report, sealed: &Sealed, seed: &[u8; 32], place: Place) -> Value {
    let key = DeviceKey::from_seed(seed);
    assert_eq!(Report::open(sealed, &key.report_key(), place).as_ref(), Some(report));
    json!({
        "room": hex(&place.room.0),
        "author": hex(&place.author.0),
        "device_seed": hex(seed),
        "device": hex(&key.device().0),
        "sealing": hex(&key.report_key().id().0),
        "payload": hex(&encode(sealed)),
        "target": hex(&report.target.0),
        "reason": report.reason,
    })
}

//! The known values of PROTOCOL.md, sections 14 and 15.

use crate::codec::encode;
use crate::gossip::{Tips, circle, sealed_topic};
use crate::id::{DeviceId, EventId, RoomId};
use crate::identity::Signature;
use crate::sync::keys::Keys;
use crate::sync::{Side, inner_secret};
use crate::wire::Knock;
use data_encoding::HEXLOWER as HEX;

const ROOM: RoomId = RoomId([5; 32]);
const SECRET: [u8; 32] = [6; 32];
const KEYS: Keys = Keys { initiator: [1; 16], responder: [2; 16] };

#[test]
fn known_values_of_tags_and_knocks() {
    let tags = [Side::Initiator, Side::Responder].map(|side| HEX.encode(&KEYS.tag(side, ROOM, &SECRET).0));
    assert_eq!(tags, ["24777146a337ec0996cec0fbcdd839a7", "e2fdca8de6a06525949e357f3ebe784e"]);
    let (device, signature) = (DeviceId([7; 32]), Signature([13; 64]));
    let text = encode(&Knock { device, expires_ms: 1_700_000_000_000, signature, introduction: Vec::new() });
    let sealed = KEYS.seal_knock(Side::Initiator, ROOM, &SECRET, &text);
    assert_eq!(KEYS.open_knock(Side::Initiator, ROOM, &SECRET, &sealed), Some(text));
    assert_eq!(KEYS.open_knock(Side::Responder, ROOM, &SECRET, &sealed), None);
    assert_eq!(
        HEX.encode(&sealed),
        "8c04313d0a76d8b5c32962a50e3141ceeade661e4d1459cf36b8d9946d180f835d026fd6fa3ac01e13923b04317599c35498967cbd99181902077f6ac4825ccdf6e66f8174cc2f89ce192928576bfe073d2d841f168357b8341b0dbecc3f894aeb0e8c9725d8110d54e30867e8e42c7aac34e7ebfe810d9f581b93aa7e66f9c63a684fb351fc905e6351e74f3ec84d3175c6e0e1"
    );
}

#[test]
fn known_values_of_sealed_tips() {
    let inner = inner_secret(ROOM, &SECRET, &[10; 16]);
    assert_eq!(HEX.encode(&inner), "532c3f99b52806656a7f12ac36cc3d8bf40eba24815313e8258cb4ad6287ea37");
    assert_eq!(sealed_topic(&inner), "qt_BthNNLrTP130iW8CKSQ");
    let devices = [7, 8].map(|n| DeviceId([n; 32])).into();
    assert_eq!(HEX.encode(&circle(&devices)), "a8013a1472fb5cc7bb5d9a1b165add411d9e6e5af71892f892cc8c8c28227303");
    let tips = Tips { ms: 1_700_000_000_000, ids: vec![EventId([9; 32])] }.seal(&[11; 32], ROOM, [12; 24]);
    assert_eq!(HEX.encode(&tips[..32]), "0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0cb73b3ecaeab78534");
    assert_eq!(HEX.encode(&tips[tips.len() - 16..]), "7fd561a3448d30a6b224793f70fa2541");
}

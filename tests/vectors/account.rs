//! Vectors of what a user's devices share: self-rooms, sealed records, links for a device, enrolments.

use super::make::sealed_by_carol;
use super::parts::{CAROL, CAROL_DEVICE, START_MS, hex};
use serde_json::{Value, json};
use tidings_protocol::account::self_room;
use tidings_protocol::codec::encode;
use tidings_protocol::enrol::{Ask, DeviceLink, Transcript};
use tidings_protocol::identity::{DeviceKey, RecoveryPhrase};
use zeroize::Zeroizing;

pub fn self_room_vector(entropy: [u8; 32]) -> Value {
    let phrase = RecoveryPhrase::from_entropy(entropy);
    let founded = self_room(&phrase).unwrap();
    json!({
        "entropy": hex(&entropy),
        "salt": hex(&phrase.self_room_salt()),
        "sealing": hex(&phrase.sealing_key().id().0),
        "event": hex(&encode(&founded.to_signed().unwrap())),
        "room": hex(&founded.room().0),
    })
}

pub fn sealed_vector() -> Value {
    let (sealed, plain, place) = sealed_by_carol();
    json!({
        "room": hex(&place.room.0),
        "author": hex(&place.author.0),
        "device_seed": hex(&CAROL_DEVICE),
        "sealing": hex(&DeviceKey::from_seed(&CAROL_DEVICE).sealing_key().id().0),
        "payload": hex(&encode(&sealed)),
        "plain": hex(&plain),
    })
}

pub fn device_link(network: &str) -> DeviceLink {
    let phrase = RecoveryPhrase::from_entropy(CAROL);
    DeviceLink {
        network: network.into(),
        user: phrase.user_key().user(),
        home: self_room(&phrase).unwrap().room(),
        secret: Zeroizing::new([0x3e; 32]),
        expires_ms: START_MS,
        addresses: vec!["/ip4/203.0.113.7/udp/4001/quic-v1/p2p/12D3KooWExample".into()],
    }
}

pub fn device_link_vector(link: &DeviceLink) -> Value {
    json!({
        "network": link.network,
        "user": hex(&link.user.0),
        "home": hex(&link.home.0),
        "secret": hex(link.secret.as_slice()),
        "expires_ms": link.expires_ms,
        "addresses": link.addresses,
        "text": link.to_text(),
    })
}

pub fn enrolment_vector() -> Value {
    let link = device_link("");
    let device = DeviceKey::from_seed(&CAROL_DEVICE).device();
    let ask = Ask { nonce: [0x02; 32], device, name: "Telefon ☎".into(), proof: [0; 32] };
    let (first, new) = ([0xf1; 38], [0xf2; 38]);
    let said = Transcript { link: &link, first: &first, new: &new, nonce: [0x01; 32], ask: &ask };
    json!({
        "secret": hex(link.secret.as_slice()),
        "user": hex(&link.user.0),
        "home": hex(&link.home.0),
        "first": hex(&first),
        "new": hex(&new),
        "first_nonce": hex(&said.nonce),
        "new_nonce": hex(&ask.nonce),
        "device": hex(&device.0),
        "name": ask.name,
        "commitment": hex(&ask.commitment()),
        "proof_of_new": hex(&said.proof_of_new()),
        "proof_of_first": hex(&said.proof_of_first()),
        "check_code": said.check_code(),
    })
}

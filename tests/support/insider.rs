//! Somebody who was let into a members room and now speaks through a program of their own: the device key and what no link
//! carries, read from a home whose node is down.

use super::hostile::{CREDENTIAL_MS, Hostile, ROOM, now_ms, offer};
use super::nodes;
use std::fs;
use tidings_protocol::control::payload::RoomKind;
use tidings_protocol::event::Body;
use tidings_protocol::id::{EventId, RoomId};
use tidings_protocol::identity::DeviceKey;
use tidings_protocol::sync::{Credential, Offer, inner_secret};
use tidings_protocol::wire::{Frame, Handle, Proof};
use tidings_storage::Store;

/// What was in the home.
pub struct Insider {
    pub room: RoomId,
    pub secret: [u8; 32],
    pub inner: [u8; 32],
    pub device: DeviceKey,
}

impl Insider {
    /// Whoever has this home; its node is down.
    pub fn of(home: &nodes::Person, room: RoomId) -> Insider {
        let (store, _writer) = Store::open(&home.home.join("store")).unwrap();
        let row = store.room(store.room_number(room).unwrap().unwrap()).unwrap().unwrap();
        let genesis = store.event_by_id(EventId(*room.as_bytes())).unwrap().unwrap();
        let Body::Kept(payload) = genesis.body else { panic!("a genesis without payload") };
        let seed = fs::read(home.home.join("device.key")).unwrap().try_into().unwrap();
        let inner = inner_secret(room, &row.secret, &payload.salt);
        Insider { room, secret: row.secret, inner, device: DeviceKey::from_seed(&seed) }
    }

    /// The room, called as those call it who were let in.
    pub fn offer(&self) -> Offer {
        Offer { kind: RoomKind::Members, secret: self.secret, inner: Some(self.inner), ..offer(self.room) }
    }

    /// Our device's word for a peer.
    pub fn proof(&self, room: Handle, talk: &Hostile) -> Frame {
        proof(&self.device, self.room, room, talk, now_ms() + CREDENTIAL_MS)
    }

    /// A conversation in which the room is open; what the node holds was said, and not answered.
    pub async fn talk(&self, node: &str) -> Hostile {
        let mut talk = Hostile::offering_all(node, vec![self.offer()]).await;
        talk.say(&self.proof(ROOM, &talk)).await;
        while !matches!(talk.hear().await.unwrap(), Frame::Check { room: ROOM, .. }) {}
        talk
    }

    /// The key of sealed tips that the node tells next.
    pub async fn key(&self, talk: &mut Hostile) -> [u8; 32] {
        loop {
            if let Frame::Key { key, .. } = talk.hear().await.expect("the conversation ended") {
                return key;
            }
        }
    }
}

/// A device's word that this peer speaks for it.
pub fn proof(device: &DeviceKey, of: RoomId, room: Handle, talk: &Hostile, expires_ms: u64) -> Frame {
    let us = talk.stranger.peer.to_bytes();
    let Credential { device, expires_ms, signature } = Credential::issue(device, of, &us, expires_ms);
    Frame::Proof(Proof { room, device, expires_ms, signature })
}

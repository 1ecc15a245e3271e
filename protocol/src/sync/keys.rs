//! What only these two peers in this conversation can compute: tags, digests' MACs, reconciliation ids; and credentials.

use super::{Digests, Side};
use crate::codec::Writer;
use crate::id::{DeviceId, RoomId};
use crate::identity::{BadSignature, DeviceKey, Domain, Signature, verify};
use crate::limits::CREDENTIAL_MS_MAX;
use crate::wire::{Head, Tag};

/// MACs of what is held of a room: control, content.
pub(super) type Macs = ([u8; 16], [u8; 16]);

/// The nonces of both sides.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keys {
    pub(super) initiator: [u8; 16],
    pub(super) responder: [u8; 16],
}

impl Keys {
    /// What `side` calls the room: keyed by its secret, so that only who knows it can tell; by the side, so that an echo
    /// is no answer.
    pub(super) fn tag(&self, side: Side, room: RoomId, secret: &[u8; 32]) -> Tag {
        Tag(self.mac("tidings/room tag/1", room, secret, &[side.number()]))
    }

    /// What `side` says of what it holds: MACs of control and content. By the side, too: who only echoes holds nothing.
    pub(super) fn digests(&self, side: Side, room: RoomId, secret: &[u8; 32], held: &Digests) -> Macs {
        let mac = |class: u8, hash: &[u8; 32]| {
            self.mac("tidings/digest/1", room, secret, &[&[side.number(), class], hash.as_slice()].concat())
        };
        (mac(0, &held.control), mac(1, &held.content))
    }

    /// A head in set reconciliation: salted by the nonces, so that nobody can prepare collisions.
    pub(super) fn item(&self, head: &Head) -> [u8; 32] {
        let mut w = Writer::default();
        w.array(&self.initiator);
        w.array(&self.responder);
        w.array(head.author.as_bytes());
        w.array(head.grant.as_bytes());
        w.array(head.tip.id.as_bytes());
        blake3::derive_key("tidings/head/1", &w.into_bytes())
    }

    fn mac(&self, context: &str, room: RoomId, secret: &[u8; 32], message: &[u8]) -> [u8; 16] {
        let key = blake3::derive_key(context, &[secret.as_slice(), room.as_bytes()].concat());
        let message = [self.initiator.as_slice(), &self.responder, message].concat();
        let mut out = [0; 16];
        out.copy_from_slice(&blake3::keyed_hash(&key, &message).as_bytes()[..16]);
        out
    }
}

/// Names what both sides held when they agreed.
pub(super) fn agreement_token(held: &Digests) -> [u8; 16] {
    let hash = blake3::derive_key("tidings/agreement/1", &[held.control, held.content].concat());
    let mut out = [0; 16];
    out.copy_from_slice(&hash[..16]);
    out
}

/// What a hello says for a federation's name.
pub fn network_name(network: &str) -> [u8; 8] {
    let hash = blake3::derive_key("tidings/network/1", network.as_bytes());
    let mut out = [0; 8];
    out.copy_from_slice(&hash[..8]);
    out
}

/// A device's word that a peer speaks for it in a room, for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credential {
    /// The device.
    pub device: DeviceId,
    /// Until when, Unix milliseconds.
    pub expires_ms: u64,
    /// Over room, peer and expiry.
    pub signature: Signature,
}

impl Credential {
    /// Our device's word for our own peer.
    pub fn issue(key: &DeviceKey, room: RoomId, us: &[u8], expires_ms: u64) -> Self {
        let signature = key.sign(Domain::Credential, &claim(room, us, expires_ms));
        Credential { device: key.device(), expires_ms, signature }
    }

    /// Checks that the device speaks for this peer, now and not for longer than allowed.
    ///
    /// # Errors
    /// `BadSignature`.
    pub fn verify(&self, room: RoomId, them: &[u8], now_ms: u64) -> Result<(), BadSignature> {
        if self.expires_ms <= now_ms || self.expires_ms > now_ms.saturating_add(CREDENTIAL_MS_MAX) {
            return Err(BadSignature);
        }
        verify(self.device.as_bytes(), Domain::Credential, &claim(room, them, self.expires_ms), &self.signature)
    }
}

fn claim(room: RoomId, peer: &[u8], expires_ms: u64) -> Vec<u8> {
    let mut w = Writer::default();
    w.array(room.as_bytes());
    w.bytes(peer);
    w.u64(expires_ms);
    w.into_bytes()
}

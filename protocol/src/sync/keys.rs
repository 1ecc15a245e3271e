//! What only these two peers in this conversation can compute: tags, digests' MACs, reconciliation ids; and credentials.

use super::{Digests, Side};
use crate::beacon::SignedBeacon;
use crate::codec::Writer;
use crate::id::{DeviceId, RoomId};
use crate::identity::{BadSignature, DeviceKey, Domain, Signature, verify_evenly};
use crate::limits::CREDENTIAL_MS_MAX;
use crate::seal;
use crate::wire::{BeaconName, Head, Tag};

/// MACs of what is held of a room: control, content.
pub(super) type Macs = ([u8; 16], [u8; 16]);

/// The nonces of both sides.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keys {
    pub(super) initiator: [u8; 16],
    pub(super) responder: [u8; 16],
}

impl Keys {
    /// What `side` calls the room: keyed by a secret, so that only who knows it can tell; by the side, so that an echo is no
    /// answer. That secret is the link's for who knocks, and the inner one among those who were let in.
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

    /// What `side` says of the beacons that it keeps. Half as long as the others: who hits it by chance tells nothing today.
    pub(super) fn beacons(&self, side: Side, room: RoomId, secret: &[u8; 32], fingerprint: &[u8; 32]) -> [u8; 8] {
        let message = [&[side.number()], fingerprint.as_slice()].concat();
        first_8(&self.mac("tidings/beacons/1", room, secret, &message))
    }

    /// A beacon's name in this conversation: salted by the nonces, so that nobody can prepare two with one name.
    pub(super) fn beacon_name(&self, beacon: &SignedBeacon) -> BeaconName {
        let hash = |what: &[u8]| {
            let named = [self.initiator.as_slice(), &self.responder, what].concat();
            blake3::derive_key("tidings/beacon name/1", &named)
        };
        let slot = hash(&[beacon.device.as_bytes().as_slice(), &beacon.kind.to_be_bytes()].concat());
        let tie = hash(&beacon.hash());
        let (slot, tie) = ([slot[0], slot[1], slot[2], slot[3]], [tie[0], tie[1]]);
        BeaconName { slot, ms: beacon.hlc.ms(), tie }
    }

    /// A head in set reconciliation: salted by the nonces, so that nobody can prepare collisions.
    pub(super) fn item(&self, head: &Head) -> u64 {
        let mut w = Writer::default();
        w.array(&self.initiator);
        w.array(&self.responder);
        w.array(head.author.as_bytes());
        w.array(head.grant.as_bytes());
        w.array(head.tip.id.as_bytes());
        u64::from_be_bytes(first_8(&blake3::derive_key("tidings/head/1", &w.into_bytes())))
    }

    /// Seals what `side` says when it knocks. The same text sealed twice is the same: each text has its own nonce.
    pub(super) fn seal_knock(&self, side: Side, room: RoomId, secret: &[u8; 32], text: &[u8]) -> Vec<u8> {
        let mut nonce = [0; seal::NONCE_LEN];
        let hash = blake3::keyed_hash(&self.knock_key("tidings/knock nonce/1", side, room, secret), text);
        nonce.copy_from_slice(&hash.as_bytes()[..seal::NONCE_LEN]);
        seal::seal(&self.knock_key("tidings/knock/1", side, room, secret), nonce, &[], text)
    }

    /// What `side` has sealed.
    pub(super) fn open_knock(&self, side: Side, room: RoomId, secret: &[u8; 32], sealed: &[u8]) -> Option<Vec<u8>> {
        seal::open(&self.knock_key("tidings/knock/1", side, room, secret), &[], sealed)
    }

    fn knock_key(&self, context: &str, side: Side, room: RoomId, secret: &[u8; 32]) -> [u8; 32] {
        let key = blake3::derive_key(context, &[secret.as_slice(), room.as_bytes()].concat());
        let message = [self.initiator.as_slice(), &self.responder, &[side.number()]].concat();
        *blake3::keyed_hash(&key, &message).as_bytes()
    }

    fn mac(&self, context: &str, room: RoomId, secret: &[u8; 32], message: &[u8]) -> [u8; 16] {
        let key = blake3::derive_key(context, &[secret.as_slice(), room.as_bytes()].concat());
        let message = [self.initiator.as_slice(), &self.responder, message].concat();
        let mut out = [0; 16];
        out.copy_from_slice(&blake3::keyed_hash(&key, &message).as_bytes()[..16]);
        out
    }
}

fn first_8(bytes: &[u8]) -> [u8; 8] {
    let mut out = [0; 8];
    out.copy_from_slice(&bytes[..8]);
    out
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
    first_8(&blake3::derive_key("tidings/network/1", network.as_bytes()))
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

    /// What nobody has said: to be verified where there is nothing, so that it takes as long.
    pub(super) const NONE: Credential =
        Credential { device: DeviceId([0; 32]), expires_ms: 0, signature: Signature([0; 64]) };

    /// Checks that the device speaks for this peer, now and not for longer than allowed. It takes as long when it does not.
    ///
    /// # Errors
    /// `BadSignature`.
    pub fn verify(&self, room: RoomId, them: &[u8], now_ms: u64) -> Result<(), BadSignature> {
        let claim = claim(room, them, self.expires_ms);
        let verified = verify_evenly(self.device.as_bytes(), Domain::Credential, &claim, &self.signature);
        if self.expires_ms <= now_ms || self.expires_ms > now_ms.saturating_add(CREDENTIAL_MS_MAX) {
            return Err(BadSignature);
        }
        verified
    }
}

/// The inner secret of a room that is not public. Its links do not carry it: it comes from the salt of the Genesis, which
/// only those hold who were let in.
pub fn inner_secret(room: RoomId, secret: &[u8; 32], salt: &[u8; 16]) -> [u8; 32] {
    blake3::derive_key("tidings/inner/1", &[secret.as_slice(), room.as_bytes(), salt].concat())
}

fn claim(room: RoomId, peer: &[u8], expires_ms: u64) -> Vec<u8> {
    let mut w = Writer::default();
    w.array(room.as_bytes());
    w.bytes(peer);
    w.u64(expires_ms);
    w.into_bytes()
}

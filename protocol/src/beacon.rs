//! Beacons: Draft -> SignedBeacon -> VerifiedBeacon. A signed record of which the newest is enough: how far somebody has
//! read, that they type or are there, where their node is, what it holds. Never history.
//!
//! One slot for each room, device and kind (`slots`). What a beacon says is its device's claim, and no more.

use crate::codec::{Canonical, CodecError, Reader, Writer, decode, encode};
use crate::event::Hlc;
use crate::id::{DeviceId, EventId, RoomId};
use crate::identity::{BadSignature, DeviceKey, Domain, Signature, verify};
use crate::limits::{ADDRESS_LEN_MAX, BEACON_ADDRESSES_MAX, BEACON_PAYLOAD_LEN_MAX, TYPING_MS_MAX};
use thiserror::Error;

/// Numbers of the kinds.
pub mod kind {
    /// How far the user has read.
    pub const READ: u16 = 1;
    /// The user types.
    pub const TYPING: u16 = 2;
    /// The user is there, or not.
    pub const PRESENCE: u16 = 3;
    /// Where the device's node can be reached.
    pub const ADDRESSES: u16 = 4;
    /// What the device's node holds.
    pub const HOLDS: u16 = 5;

    /// Whether a kind outlives a conversation: it is kept on disk, compared and given to whoever comes. What somebody does
    /// at this moment is not.
    pub fn is_kept(kind: u16) -> bool {
        !matches!(kind, TYPING | PRESENCE)
    }
}

/// What a beacon says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// Everything up to a message is read.
    Read {
        /// The message.
        event: EventId,
        /// Its place in the timeline: its clock, or the time that an imported record claims.
        at: Hlc,
    },
    /// The user types.
    Typing {
        /// Until then, Unix milliseconds, unless said again; at most 10 s after the beacon's clock. In the past: no more.
        until_ms: u64,
    },
    /// Whether the user is there.
    Presence(Presence),
    /// Multiaddrs of the device's node, the best first, each ending in `/p2p/` and its id.
    Addresses(Vec<String>),
    /// What the device's node holds, as digests of control and content heads that count (PROTOCOL.md, section 14).
    Holds {
        /// Of control.
        control: [u8; 32],
        /// Of content.
        content: [u8; 32],
        /// Everything below these heads is on its disk, too.
        durable: bool,
        /// What these control events erase is in no file of it any more, but for what waits: of what moderators erase, that
        /// of which the Erase has this clock or a greater one. Zero says nothing.
        erased: Hlc,
    },
    /// A kind of a later version: kept and passed on, and means nothing here.
    Unknown,
}

/// Whether somebody is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Gone, or looks at something else.
    Away,
    /// At the screen.
    Online,
}

impl Signal {
    /// The number of its kind; zero for what is unknown.
    pub fn kind(&self) -> u16 {
        match self {
            Signal::Read { .. } => kind::READ,
            Signal::Typing { .. } => kind::TYPING,
            Signal::Presence(_) => kind::PRESENCE,
            Signal::Addresses(_) => kind::ADDRESSES,
            Signal::Holds { .. } => kind::HOLDS,
            Signal::Unknown => 0,
        }
    }

    /// The payload.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        match self {
            Signal::Read { event, at } => {
                event.write(&mut w);
                w.u64(at.0);
            }
            Signal::Typing { until_ms } => w.u64(*until_ms),
            Signal::Presence(presence) => w.u8(u8::from(*presence == Presence::Online)),
            Signal::Addresses(addresses) => {
                w.length(addresses.len());
                addresses.iter().for_each(|address| w.text(address));
            }
            Signal::Holds { control, content, durable, erased } => {
                w.array(control);
                w.array(content);
                w.u8(u8::from(*durable));
                w.u64(erased.0);
            }
            Signal::Unknown => {}
        }
        w.into_bytes()
    }

    /// Reads the payload of a kind. Only canonical bytes pass; an unknown kind's are not read.
    ///
    /// # Errors
    /// `CodecError`: the beacon is false.
    pub fn decode(kind: u16, payload: &[u8]) -> Result<Signal, CodecError> {
        if payload.len() > BEACON_PAYLOAD_LEN_MAX {
            return Err(CodecError::Long { len: payload.len(), max: BEACON_PAYLOAD_LEN_MAX });
        }
        let mut r = Reader::new(payload);
        let signal = match kind {
            kind::READ => Signal::Read { event: EventId::read(&mut r)?, at: Hlc(r.u64()?) },
            kind::TYPING => Signal::Typing { until_ms: r.u64()? },
            kind::PRESENCE if flag(&mut r)? => Signal::Presence(Presence::Online),
            kind::PRESENCE => Signal::Presence(Presence::Away),
            kind::ADDRESSES => Signal::Addresses(addresses(&mut r)?),
            kind::HOLDS => {
                let (control, content) = (r.array()?, r.array()?);
                Signal::Holds { control, content, durable: flag(&mut r)?, erased: Hlc(r.u64()?) }
            }
            _ => return Ok(Signal::Unknown),
        };
        r.end()?;
        Ok(signal)
    }
}

fn flag(r: &mut Reader<'_>) -> Result<bool, CodecError> {
    match r.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(CodecError::Invalid("flag")),
    }
}

fn addresses(r: &mut Reader<'_>) -> Result<Vec<String>, CodecError> {
    let mut addresses = Vec::new();
    for _ in 0..r.length(BEACON_ADDRESSES_MAX)? {
        addresses.push(r.text(ADDRESS_LEN_MAX)?);
    }
    Ok(addresses)
}

/// What we are about to say: a typed local intent, the only thing that is ever signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// In which room.
    pub room: RoomId,
    /// When: above the clock of what is said before in the same slot.
    pub hlc: Hlc,
    /// What.
    pub signal: Signal,
}

impl Draft {
    /// Signs the draft. What is signed here, everybody can read.
    ///
    /// # Errors
    /// `CodecError` when a beacon like this would be refused everywhere.
    pub fn sign(self, key: &DeviceKey) -> Result<VerifiedBeacon, CodecError> {
        let (kind, payload) = (self.signal.kind(), self.signal.encode());
        if kind == 0 || Signal::decode(kind, &payload)? != self.signal {
            return Err(CodecError::Invalid("beacon"));
        }
        check_typing(&self.signal, self.hlc)?;
        let device = key.device();
        let unsigned = SignedBeacon { device, kind, hlc: self.hlc, payload, signature: Signature([0; 64]) };
        let signature = key.sign(Domain::Beacon, &unsigned.claim(self.room));
        Ok(VerifiedBeacon { room: self.room, signed: SignedBeacon { signature, ..unsigned }, signal: self.signal })
    }
}

/// A beacon as it travels, in a frame that names the room: nothing of it is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedBeacon {
    /// Who speaks.
    pub device: DeviceId,
    /// What about.
    pub kind: u16,
    /// When: the newest replaces the rest.
    pub hlc: Hlc,
    /// What, as `Signal` reads it.
    pub payload: Vec<u8>,
    /// By the device, over all of it and the room.
    pub signature: Signature,
}

/// Why a beacon is false, whatever one holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BeaconError {
    /// Its bytes do not read.
    #[error("a beacon does not read: {0}")]
    Codec(#[from] CodecError),
    /// The device did not sign it, or for another room.
    #[error("a beacon's signature: {0}")]
    Signature(#[from] BadSignature),
}

impl SignedBeacon {
    /// Reads the bytes of one.
    ///
    /// # Errors
    /// `CodecError`.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        decode(bytes, BEACON_LEN_MAX)
    }

    /// Checks that the device said this, of this room.
    ///
    /// # Errors
    /// `BeaconError`: whoever brings it is at fault.
    pub fn verify(self, room: RoomId) -> Result<VerifiedBeacon, BeaconError> {
        let beacon = self.kept(room)?;
        let signed = &beacon.signed;
        verify(signed.device.as_bytes(), Domain::Beacon, &signed.claim(room), &signed.signature)?;
        Ok(beacon)
    }

    /// What our own store gives back: it was verified before it was put there.
    ///
    /// # Errors
    /// `CodecError`: the store is damaged.
    pub fn kept(self, room: RoomId) -> Result<VerifiedBeacon, CodecError> {
        let signal = Signal::decode(self.kind, &self.payload)?;
        check_typing(&signal, self.hlc)?;
        Ok(VerifiedBeacon { room, signed: self, signal })
    }

    /// Whether this replaces another of the same slot: by clock, then by bytes, so that the order of arrival says nothing.
    pub fn replaces(&self, other: &SignedBeacon) -> bool {
        self.rank() > other.rank()
    }

    /// Names this beacon and no other, for comparing what two nodes hold.
    pub fn hash(&self) -> [u8; 32] {
        blake3::derive_key(HASH_CONTEXT, &encode(self))
    }

    pub(crate) fn rank(&self) -> (Hlc, usize, &[u8], &[u8; 64]) {
        (self.hlc, self.payload.len(), &self.payload, &self.signature.0)
    }

    fn claim(&self, room: RoomId) -> Vec<u8> {
        let mut w = Writer::default();
        room.write(&mut w);
        self.write_unsigned(&mut w);
        w.into_bytes()
    }

    fn write_unsigned(&self, w: &mut Writer) {
        self.device.write(w);
        w.u16(self.kind);
        w.u64(self.hlc.0);
        w.bytes(&self.payload);
    }
}

/// Nobody types for longer than this at a time, whatever clock says so.
fn check_typing(signal: &Signal, hlc: Hlc) -> Result<(), CodecError> {
    match signal {
        Signal::Typing { until_ms } if *until_ms > hlc.ms().saturating_add(TYPING_MS_MAX) => {
            Err(CodecError::Invalid("time until which somebody types"))
        }
        _ => Ok(()),
    }
}

impl Canonical for SignedBeacon {
    fn write(&self, w: &mut Writer) {
        self.write_unsigned(w);
        self.signature.write(w);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        let (device, kind, hlc) = (DeviceId::read(r)?, r.u16()?, Hlc(r.u64()?));
        let payload = r.bytes(BEACON_PAYLOAD_LEN_MAX)?.to_vec();
        Ok(SignedBeacon { device, kind, hlc, payload, signature: Signature::read(r)? })
    }
}

/// A beacon that its device signed for its room, and that reads. Whether the device is a member's is another question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedBeacon {
    room: RoomId,
    signed: SignedBeacon,
    signal: Signal,
}

impl VerifiedBeacon {
    /// Of which room it speaks.
    pub fn room(&self) -> RoomId {
        self.room
    }

    /// As it travels.
    pub fn signed(&self) -> &SignedBeacon {
        &self.signed
    }

    /// What it says.
    pub fn signal(&self) -> &Signal {
        &self.signal
    }
}

/// A beacon's bytes: device, kind, clock, payload with its length, signature.
pub const BEACON_LEN_MAX: usize = 32 + 2 + 8 + 4 + BEACON_PAYLOAD_LEN_MAX + 64;
const HASH_CONTEXT: &str = "tidings/beacon/1";

#[cfg(test)]
#[path = "beacon_tests.rs"]
mod tests;

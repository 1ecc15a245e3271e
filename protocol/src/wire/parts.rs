//! What frames are made of: names of rooms in a conversation, proofs, knocks, what is wanted.

use crate::codec::{Canonical, CodecError, Reader, Writer};
use crate::id::DeviceId;
use crate::identity::Signature;
use crate::limits::{INTRODUCTION_EVENTS_MAX, KNOCK_LEN_MAX};
use crate::log::Tip;

/// A room in this conversation: the place of its tag in the initiator's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Handle(pub u16);

/// What a room is called towards this peer, in this conversation, by this side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag(pub [u8; 16]);

/// Shows that the sender may see a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The room.
    pub room: Handle,
    /// A device of a member.
    pub device: DeviceId,
    /// Until when it counts, Unix milliseconds.
    pub expires_ms: u64,
    /// By the device, over room, peer and expiry.
    pub signature: Signature,
}

/// What a knock says to those who know the room's secret: who is there, and why it should be let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Knock {
    /// A device that is a member's, or would be.
    pub device: DeviceId,
    /// Until when its word counts, Unix milliseconds.
    pub expires_ms: u64,
    /// By the device, over room, peer and expiry.
    pub signature: Signature,
    /// Events by which the receiver gets to know the device: a Join, as they travel alone.
    pub introduction: Vec<Vec<u8>>,
}

/// A part of a log that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Branch {
    /// From here down: the id tells which log.
    pub top: Tip,
    /// To this seq.
    pub down_to: u64,
}

impl Canonical for Branch {
    fn write(&self, w: &mut Writer) {
        self.top.write(w);
        w.u64(self.down_to);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Branch { top: Tip::read(r)?, down_to: r.u64()? })
    }
}

/// What a kept beacon is called in this conversation: which slot it is in, and which of those that were ever in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BeaconName {
    /// Names the slot.
    pub slot: [u8; 4],
    /// When it was said, Unix milliseconds.
    pub ms: u64,
    /// Tells those of one millisecond apart.
    pub tie: [u8; 2],
}

impl Canonical for BeaconName {
    fn write(&self, w: &mut Writer) {
        w.array(&self.slot);
        w.u64(self.ms);
        w.array(&self.tie);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(BeaconName { slot: r.array()?, ms: r.u64()?, tie: r.array()? })
    }
}

impl Canonical for Proof {
    fn write(&self, w: &mut Writer) {
        self.room.write(w);
        self.device.write(w);
        w.u64(self.expires_ms);
        self.signature.write(w);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        let (room, device) = (Handle::read(r)?, DeviceId::read(r)?);
        Ok(Proof { room, device, expires_ms: r.u64()?, signature: Signature::read(r)? })
    }
}

impl Canonical for Knock {
    fn write(&self, w: &mut Writer) {
        self.device.write(w);
        w.u64(self.expires_ms);
        self.signature.write(w);
        w.length(self.introduction.len());
        self.introduction.iter().for_each(|event| w.bytes(event));
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        let (device, expires_ms, signature) = (DeviceId::read(r)?, r.u64()?, Signature::read(r)?);
        let mut introduction = Vec::new();
        for _ in 0..r.length(INTRODUCTION_EVENTS_MAX)? {
            introduction.push(r.bytes(KNOCK_LEN_MAX)?.to_vec());
        }
        Ok(Knock { device, expires_ms, signature, introduction })
    }
}

impl Canonical for Handle {
    fn write(&self, w: &mut Writer) {
        w.u16(self.0);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Handle(r.u16()?))
    }
}

impl Canonical for Tag {
    fn write(&self, w: &mut Writer) {
        w.array(&self.0);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Tag(r.array()?))
    }
}

//! Events: Draft -> SignedEvent -> VerifiedEvent. The header is what is signed and hashed; the payload lies beside it,
//! committed to with a salt, so that it can be erased and the history still verifies.
//!
//! A `VerifiedEvent` exists only because its hash chain and signature were checked here, or because we signed it.

use crate::codec::{Canonical, CodecError, Reader, Writer, decode, encode};
use crate::content::Content;
use crate::control::kind as control_kind;
use crate::control::payload::Control;
use crate::id::{DeviceId, EventId, RoomId};
use crate::identity::{BadSignature, DeviceKey, Domain, Signature, verify};
use crate::limits::{HEADER_LEN_MAX, PARENTS_MAX, PAYLOAD_LEN_MAX};
use crate::log::Log;
use thiserror::Error;

/// The version of the header's layout.
pub const EVENT_VERSION: u8 = 1;

/// Control events decide who may do what; content events are what is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Room authority: complete on every full node, each event signed.
    Control,
    /// Messages and what belongs to them.
    Content,
}

impl Class {
    /// 0 for control, 1 for content.
    pub fn number(self) -> u8 {
        match self {
            Class::Control => 0,
            Class::Content => 1,
        }
    }
}

impl Canonical for Class {
    fn write(&self, w: &mut Writer) {
        w.u8(self.number());
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        match r.u8()? {
            0 => Ok(Class::Control),
            1 => Ok(Class::Content),
            _ => Err(CodecError::Invalid("class")),
        }
    }
}

/// Hybrid logical clock: 48 bits of Unix milliseconds, 16 bits of counter. Orders the screen, decides nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hlc(pub u64);

impl Hlc {
    /// The first reading of a millisecond; what is past 48 bits is cut to the largest.
    pub fn at_ms(ms: u64) -> Self {
        Hlc(ms.min((1 << 48) - 1) << 16)
    }

    /// Unix milliseconds.
    pub fn ms(self) -> u64 {
        self.0 >> 16
    }

    /// The next reading, given the local time: never goes back, counts within a millisecond.
    pub fn tick(self, now_ms: u64) -> Self {
        Hlc(Hlc::at_ms(now_ms).0.max(self.0.saturating_add(1)))
    }
}

/// What is signed and hashed: 188 bytes, and 32 for each parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Control or content.
    pub class: Class,
    /// What the payload is, by class (`control::kind`, `content::kind`).
    pub kind: u16,
    /// The room; zero in the genesis event, whose id the room is.
    pub room: RoomId,
    /// The device that speaks.
    pub author: DeviceId,
    /// The Genesis, Grant or Join under which it acts; zero in a Genesis or Join, which are their own.
    pub grant: EventId,
    /// 1, 2, 3, ... in this log.
    pub seq: u64,
    /// The previous event of this log; zero at seq 1.
    pub prev: EventId,
    /// Tips of others that the author had seen, strictly ascending.
    pub parents: Vec<EventId>,
    /// When, by the author's clock.
    pub hlc: Hlc,
    /// Bytes of the payload.
    pub payload_len: u32,
    /// BLAKE3 of the payload, keyed by the salt.
    pub payload_commit: [u8; 32],
}

impl Header {
    /// The id: BLAKE3 of the canonical bytes.
    pub fn id(&self) -> EventId {
        EventId(blake3::derive_key(EVENT_ID_CONTEXT, &encode(self)))
    }

    /// Whether this is its own grant.
    pub fn is_grant_root(&self) -> bool {
        self.class == Class::Control && matches!(self.kind, control_kind::GENESIS | control_kind::JOIN)
    }

    /// The room, given this header's id: a genesis names itself.
    pub fn room_of(&self, id: EventId) -> RoomId {
        if self.is_genesis() { id.into() } else { self.room }
    }

    /// The log, given this header's id: a Genesis or Join is its own grant.
    pub fn log_of(&self, id: EventId) -> Log {
        Log { class: self.class, author: self.author, grant: if self.is_grant_root() { id } else { self.grant } }
    }

    /// Checks what the layout alone does not: limits, the order of the parents, and that the fields fit together.
    pub(crate) fn check(&self) -> Result<(), CodecError> {
        if self.payload_len as usize > PAYLOAD_LEN_MAX {
            return Err(CodecError::Long { len: self.payload_len as usize, max: PAYLOAD_LEN_MAX });
        }
        let parents_fit = self.parents.len() <= PARENTS_MAX && self.parents.is_sorted_by(|a, b| a < b);
        if parents_fit && self.is_well_formed() { Ok(()) } else { Err(CodecError::Invalid("header")) }
    }

    fn is_genesis(&self) -> bool {
        self.class == Class::Control && self.kind == control_kind::GENESIS
    }

    /// What no honest author writes: a log that does not begin at its beginning, or ids where none belong.
    fn is_well_formed(&self) -> bool {
        (self.seq == 1) == (self.prev == EventId::ZERO)
            && self.seq > 0
            && (self.room == RoomId::ZERO) == self.is_genesis()
            && (self.grant == EventId::ZERO) == self.is_grant_root()
            && (!self.is_grant_root() || self.seq == 1)
    }
}

impl Canonical for Header {
    fn write(&self, w: &mut Writer) {
        w.u8(EVENT_VERSION);
        self.class.write(w);
        w.u16(self.kind);
        self.room.write(w);
        self.author.write(w);
        self.grant.write(w);
        w.u64(self.seq);
        self.prev.write(w);
        w.list(&self.parents);
        w.u64(self.hlc.0);
        w.u32(self.payload_len);
        w.array(&self.payload_commit);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        if r.u8()? != EVENT_VERSION {
            return Err(CodecError::Invalid("event version"));
        }
        let header = Header {
            class: Class::read(r)?,
            kind: r.u16()?,
            room: RoomId::read(r)?,
            author: DeviceId::read(r)?,
            grant: EventId::read(r)?,
            seq: r.u64()?,
            prev: EventId::read(r)?,
            parents: r.sorted(PARENTS_MAX)?,
            hlc: Hlc(r.u64()?),
            payload_len: r.u32()?,
            payload_commit: r.array()?,
        };
        header.check()?;
        Ok(header)
    }
}

/// A payload and the salt that keeps its commitment from being guessed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// 16 fresh random bytes.
    pub salt: [u8; 16],
    /// What is said, as `content` or `control` reads it.
    pub bytes: Vec<u8>,
}

impl Payload {
    /// What a header commits to.
    pub fn commit(&self) -> [u8; 32] {
        let key = blake3::derive_key(SALT_CONTEXT, &self.salt);
        *blake3::keyed_hash(&key, &self.bytes).as_bytes()
    }
}

/// What lies beside a header: the payload, or nothing where it was erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// The payload is here.
    Kept(Payload),
    /// The payload was erased; the header still commits to it.
    Erased,
}

/// Why bytes are no event, whatever one holds: the sender is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EventError {
    /// Not the canonical bytes of an event.
    #[error("not an event: {0}")]
    Codec(#[from] CodecError),
    /// The payload is not the one that the header commits to.
    #[error("the payload is not the one that was signed")]
    Payload,
    /// The author did not sign this.
    #[error("the signature does not verify")]
    Signature(#[from] BadSignature),
}

/// An event as it came from anywhere, not believed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedEvent {
    /// What is signed.
    pub header: Header,
    /// By the header's author, over the id.
    pub signature: Signature,
    /// What it says.
    pub body: Body,
}

impl SignedEvent {
    /// Reads the bytes of one event: size first, then the one encoding.
    ///
    /// # Errors
    /// `CodecError`.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        decode(bytes, crate::limits::EVENT_LEN_MAX)
    }

    /// Checks the payload's commitment and the signature.
    ///
    /// # Errors
    /// `EventError`.
    pub fn verify(self) -> Result<VerifiedEvent, EventError> {
        self.header.check()?;
        let id = self.header.id();
        check_body(&self.header, &self.body)?;
        verify(self.header.author.as_bytes(), Domain::Event, id.as_bytes(), &self.signature)?;
        Ok(VerifiedEvent { id, header: self.header, signature: Some(self.signature), body: self.body })
    }
}

impl Canonical for SignedEvent {
    fn write(&self, w: &mut Writer) {
        let mut header = Writer::default();
        self.header.write(&mut header);
        w.bytes(&header.into_bytes());
        self.signature.write(w);
        self.body.write(w);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        let header = decode(r.bytes(HEADER_LEN_MAX)?, HEADER_LEN_MAX)?;
        Ok(SignedEvent { header, signature: Signature::read(r)?, body: Body::read(r)? })
    }
}

impl Canonical for Body {
    fn write(&self, w: &mut Writer) {
        match self {
            Body::Kept(payload) => {
                w.u8(1);
                w.array(&payload.salt);
                w.bytes(&payload.bytes);
            }
            Body::Erased => w.u8(0),
        }
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        match r.u8()? {
            0 => Ok(Body::Erased),
            1 => Ok(Body::Kept(Payload { salt: r.array()?, bytes: r.bytes(PAYLOAD_LEN_MAX)?.to_vec() })),
            _ => Err(CodecError::Invalid("body")),
        }
    }
}

/// An event whose id, payload and authorship were checked. Without a signature of its own, a later event vouches for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedEvent {
    pub(crate) id: EventId,
    pub(crate) header: Header,
    pub(crate) signature: Option<Signature>,
    pub(crate) body: Body,
}

impl VerifiedEvent {
    /// The event's id.
    pub fn id(&self) -> EventId {
        self.id
    }

    /// What is signed.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Its own signature, if it has one.
    pub fn signature(&self) -> Option<&Signature> {
        self.signature.as_ref()
    }

    /// What it says, or that it was erased.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// The room it belongs to.
    pub fn room(&self) -> RoomId {
        self.header.room_of(self.id)
    }

    /// The log it stands in.
    pub fn log(&self) -> Log {
        self.header.log_of(self.id)
    }

    /// The event as it travels alone; `None` without a signature of its own.
    pub fn to_signed(&self) -> Option<SignedEvent> {
        let signature = self.signature?;
        Some(SignedEvent { header: self.header.clone(), signature, body: self.body.clone() })
    }
}

/// What we are about to say: a typed local intent, the only thing that is ever signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Control or content.
    pub class: Class,
    /// By class.
    pub kind: u16,
    /// The room; zero for a genesis.
    pub room: RoomId,
    /// The grant; zero for a genesis or join.
    pub grant: EventId,
    /// The next number of our log.
    pub seq: u64,
    /// The log's last event; zero at seq 1.
    pub prev: EventId,
    /// Tips of others that we have seen, in any order.
    pub parents: Vec<EventId>,
    /// When.
    pub hlc: Hlc,
    /// What.
    pub payload: Payload,
}

impl Draft {
    /// Signs the draft. What is signed here, everybody can read: limits and payload are checked first.
    ///
    /// # Errors
    /// `CodecError` when a header or payload like this would be refused everywhere.
    pub fn sign(self, key: &DeviceKey) -> Result<VerifiedEvent, CodecError> {
        let mut event = self.link(key)?;
        event.signature = Some(key.sign(Domain::Event, event.id.as_bytes()));
        Ok(event)
    }

    /// The event without a signature: only for a place in a range whose later event vouches for it.
    pub(crate) fn link(self, key: &DeviceKey) -> Result<VerifiedEvent, CodecError> {
        match self.class {
            Class::Control => drop(Control::decode(self.kind, &self.payload.bytes)?),
            Class::Content => drop(Content::decode(self.kind, &self.payload.bytes)?),
        }
        let mut parents = self.parents;
        parents.sort_unstable();
        parents.dedup();
        parents.truncate(PARENTS_MAX);
        let header = Header {
            class: self.class,
            kind: self.kind,
            room: self.room,
            author: key.device(),
            grant: self.grant,
            seq: self.seq,
            prev: self.prev,
            parents,
            hlc: self.hlc,
            payload_len: u32::try_from(self.payload.bytes.len()).unwrap_or(u32::MAX),
            payload_commit: self.payload.commit(),
        };
        header.check()?;
        Ok(VerifiedEvent { id: header.id(), header, signature: None, body: Body::Kept(self.payload) })
    }
}

fn check_body(header: &Header, body: &Body) -> Result<(), EventError> {
    match body {
        Body::Kept(payload)
            if payload.bytes.len() != header.payload_len as usize || payload.commit() != header.payload_commit =>
        {
            Err(EventError::Payload)
        }
        _ => Ok(()),
    }
}

const EVENT_ID_CONTEXT: &str = "tidings/event id/1";
const SALT_CONTEXT: &str = "tidings/payload salt/1";

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;

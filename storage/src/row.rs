//! The row of an event: its header with everything interned or left out that other rows tell. 18 bytes of it are new
//! per event of a long log, 32 more its id.

use crate::error::Damage;
use crate::key::LogNumber;
use tidings_protocol::codec::{Canonical, CodecError, Reader, Writer, decode, encode};
use tidings_protocol::event::Hlc;
use tidings_protocol::id::EventId;
use tidings_protocol::identity::Signature;
use tidings_protocol::limits::{HEADER_LEN_MAX, PARENTS_MAX};

/// How a row names its predecessor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prev {
    /// There is none: seq 1.
    None,
    /// The event stored just before this one.
    Before,
    /// The event of this local number.
    Number(u64),
    /// An event that was not held when this one came.
    Id(EventId),
}

/// What an erased payload leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Remains {
    pub(crate) len: u32,
    pub(crate) commit: [u8; 32],
}

/// A row of the `event` family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EventRow {
    pub(crate) id: EventId,
    pub(crate) kind: u16,
    pub(crate) log: LogNumber,
    pub(crate) seq: u64,
    pub(crate) prev: Prev,
    pub(crate) hlc: Hlc,
    pub(crate) parents: Vec<EventId>,
    /// Its place on screen, where that is not its hlc.
    pub(crate) clock: Option<u64>,
    pub(crate) signature: Option<Signature>,
    pub(crate) erased: Option<Remains>,
    /// The payload is gone by this node's operator's word alone, and not by an Erase.
    pub(crate) purged: bool,
}

impl EventRow {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, Damage> {
        decode(bytes, ROW_LEN_MAX).map_err(|source| Damage::Row { what: "event", source })
    }

    /// The place on screen.
    pub(crate) fn clock(&self) -> u64 {
        self.clock.unwrap_or(self.hlc.0)
    }

    fn flags(&self) -> u8 {
        let prev = match self.prev {
            Prev::None => 0,
            Prev::Before => 1,
            Prev::Number(_) => 2,
            Prev::Id(_) => 3,
        };
        prev | flag(self.signature.is_some(), SIGNED)
            | flag(self.erased.is_some(), ERASED)
            | flag(self.clock.is_some(), CLOCK)
            | flag(!self.parents.is_empty(), PARENTS)
            | flag(self.purged, PURGED)
    }
}

fn flag(set: bool, bit: u8) -> u8 {
    if set { bit } else { 0 }
}

impl Canonical for EventRow {
    fn write(&self, w: &mut Writer) {
        w.u8(self.flags());
        w.u16(self.kind);
        w.u32(self.log.0);
        w.u64(self.seq);
        w.u64(self.hlc.0);
        if let Some(clock) = self.clock {
            w.u64(clock);
        }
        self.id.write(w);
        match &self.prev {
            Prev::None | Prev::Before => {}
            Prev::Number(number) => w.u64(*number),
            Prev::Id(id) => id.write(w),
        }
        if !self.parents.is_empty() {
            w.list(&self.parents);
        }
        if let Some(signature) = &self.signature {
            signature.write(w);
        }
        if let Some(remains) = &self.erased {
            w.u32(remains.len);
            w.array(&remains.commit);
        }
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        let flags = r.u8()?;
        let has = |bit: u8| flags & bit != 0;
        let (kind, log, seq, hlc) = (r.u16()?, LogNumber(r.u32()?), r.u64()?, Hlc(r.u64()?));
        let clock = if has(CLOCK) { Some(r.u64()?) } else { None };
        let id = EventId::read(r)?;
        let prev = match flags & 3 {
            0 => Prev::None,
            1 => Prev::Before,
            2 => Prev::Number(r.u64()?),
            _ => Prev::Id(EventId::read(r)?),
        };
        let parents = if has(PARENTS) { r.sorted(PARENTS_MAX)? } else { Vec::new() };
        let signature = if has(SIGNED) { Some(Signature::read(r)?) } else { None };
        let erased = if has(ERASED) { Some(Remains { len: r.u32()?, commit: r.array()? }) } else { None };
        Ok(EventRow { id, kind, log, seq, prev, hlc, parents, clock, signature, erased, purged: has(PURGED) })
    }
}

const SIGNED: u8 = 4;
const ERASED: u8 = 8;
const CLOCK: u8 = 16;
const PARENTS: u8 = 32;
const PURGED: u8 = 64;
const ROW_LEN_MAX: usize = HEADER_LEN_MAX + 256;

//! Proving an export offline: every hash, every chain, every signature, and that the room's own rules let its authors in.

use crate::export::{MAGIC, Record};
use std::io::Read;
use thiserror::Error;
use tidings_protocol::codec::{CodecError, decode};
use tidings_protocol::control::evaluate::ControlSet;
use tidings_protocol::control::payload::{Control, ControlEvent};
use tidings_protocol::control::state::RoomState;
use tidings_protocol::event::{Body, Class};
use tidings_protocol::id::{EventId, RoomId};
use tidings_protocol::identity::{Domain, verify};
use tidings_protocol::limits::EVENT_LEN_MAX;
use tidings_protocol::log::Log;

/// Why an export does not prove itself.
#[derive(Debug, Error)]
pub enum ProofError {
    /// Reading the file failed, or it ends too early.
    #[error("reading failed: {0}")]
    Io(#[from] std::io::Error),
    /// It does not begin as an export does.
    #[error("this is not a tidings export, or one of a later version")]
    NotAnExport,
    /// A record does not read.
    #[error("record {record} does not read: {source}")]
    Codec {
        /// Counted from 1.
        record: u64,
        /// Why.
        source: CodecError,
    },
    /// A record is not what was signed, or stands where it may not.
    #[error("record {record} is false: {why}")]
    False {
        /// Counted from 1.
        record: u64,
        /// Why.
        why: &'static str,
    },
}

/// What a proven export holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Proven {
    /// Events, control included.
    pub events: u64,
    /// Logs.
    pub logs: u64,
    /// Signatures checked.
    pub signatures: u64,
    /// Events whose payload was erased.
    pub erased: u64,
    /// Stretches that the exporter did not hold.
    pub holes: u64,
}

/// Proves an export, reading it once, in memory that does not grow with its content.
///
/// # Errors
/// `ProofError` at the first record that is wrong.
pub fn prove(input: &mut dyn Read) -> Result<(RoomId, Proven), ProofError> {
    let mut magic = [0; MAGIC.len()];
    let mut room = [0; 32];
    input.read_exact(&mut magic)?;
    input.read_exact(&mut room)?;
    if magic != MAGIC {
        return Err(ProofError::NotAnExport);
    }
    let room = RoomId(room);
    let mut proof = Proof { room, proven: Proven::default(), at: None, control: ControlSet::new(room), state: None };
    while let Some(bytes) = next_record(input)? {
        let record = proof.proven.events + 1;
        let read = decode(&bytes, EVENT_LEN_MAX).map_err(|source| ProofError::Codec { record, source })?;
        proof.take(read).map_err(|why| ProofError::False { record, why })?;
        proof.proven.events = record;
    }
    let record = proof.proven.events;
    proof.end_log().map_err(|why| ProofError::False { record, why })?;
    Ok((room, proof.proven))
}

fn next_record(input: &mut dyn Read) -> Result<Option<Vec<u8>>, ProofError> {
    let mut len = [0; 4];
    input.read_exact(&mut len)?;
    let len = u32::from_be_bytes(len) as usize;
    if len > EVENT_LEN_MAX {
        return Err(ProofError::NotAnExport);
    }
    let mut bytes = vec![0; len];
    input.read_exact(&mut bytes)?;
    Ok((len > 0).then_some(bytes))
}

struct Proof {
    room: RoomId,
    proven: Proven,
    at: Option<Place>,
    control: ControlSet,
    state: Option<RoomState>,
}

/// Where in a log the reading is: the events of the seq before this one, and of this one.
struct Place {
    log: Log,
    seq: u64,
    below: Vec<Link>,
    here: Vec<Link>,
}

struct Link {
    id: EventId,
    signed: bool,
    /// A later event names it, and so vouches for it.
    vouched: bool,
}

impl Proof {
    fn take(&mut self, record: Record) -> Result<(), &'static str> {
        let id = record.header.id();
        let log = record.header.log_of(id);
        if record.header.room_of(id) != self.room {
            return Err("it belongs to another room");
        }
        match &record.body {
            Body::Kept(payload) => {
                if payload.bytes.len() != record.header.payload_len as usize
                    || payload.commit() != record.header.payload_commit
                {
                    return Err("its payload is not the one that was signed");
                }
            }
            Body::Erased => self.proven.erased += 1,
        }
        if let Some(signature) = &record.signature {
            verify(log.author.as_bytes(), Domain::Event, id.as_bytes(), signature)
                .map_err(|_| "its signature does not verify")?;
            self.proven.signatures += 1;
        } else if log.class == Class::Control {
            return Err("a control event without signature");
        }
        self.move_to(log, record.header.seq)?;
        self.link(id, &record)?;
        if log.class == Class::Control { self.take_control(id, log, record) } else { Ok(()) }
    }

    fn move_to(&mut self, log: Log, seq: u64) -> Result<(), &'static str> {
        match &mut self.at {
            Some(at) if at.log == log && at.seq == seq => Ok(()),
            Some(at) if at.log == log && at.seq < seq => {
                let adjacent = at.seq + 1 == seq;
                check_vouched(&at.below)?;
                at.below = std::mem::take(&mut at.here);
                if !adjacent {
                    check_vouched(&at.below)?;
                    at.below.clear();
                }
                at.seq = seq;
                Ok(())
            }
            Some(at) if at.log >= log => Err("it is out of order"),
            _ => {
                self.end_log()?;
                self.proven.logs += 1;
                if log.class == Class::Content {
                    let state = self.state.get_or_insert_with(|| self.control.evaluate());
                    state.content_author(&log).map_err(|_| "the room does not let its author speak")?;
                }
                self.at = Some(Place { log, seq, below: Vec::new(), here: Vec::new() });
                Ok(())
            }
        }
    }

    fn link(&mut self, id: EventId, record: &Record) -> Result<(), &'static str> {
        let Some(at) = &mut self.at else { return Err("it is out of order") };
        if at.here.last().is_some_and(|last| last.id >= id) {
            return Err("it is out of order");
        }
        match at.below.iter_mut().find(|link| link.id == record.header.prev) {
            Some(prev) => prev.vouched = true,
            None if record.header.seq > 1 => self.proven.holes += 1,
            None => {}
        }
        at.here.push(Link { id, signed: record.signature.is_some(), vouched: false });
        Ok(())
    }

    fn take_control(&mut self, id: EventId, log: Log, record: Record) -> Result<(), &'static str> {
        let Body::Kept(payload) = &record.body else { return Err("a control event without payload") };
        let control = Control::decode(record.header.kind, &payload.bytes).map_err(|_| "its payload does not read")?;
        if let Some(certificate) = control.certificate() {
            certificate.verify().map_err(|_| "its certificate is forged")?;
        }
        let (seq, prev) = (record.header.seq, record.header.prev);
        self.control.insert(ControlEvent { id, log, seq, prev, control });
        Ok(())
    }

    fn end_log(&mut self) -> Result<(), &'static str> {
        let Some(at) = self.at.take() else { return Ok(()) };
        check_vouched(&at.below)?;
        check_vouched(&at.here)
    }
}

fn check_vouched(links: &[Link]) -> Result<(), &'static str> {
    match links.iter().all(|link| link.signed || link.vouched) {
        true => Ok(()),
        false => Err("an event before it has neither a signature nor a later event that vouches for it"),
    }
}

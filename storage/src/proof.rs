//! Proving an export offline: every hash, every chain, every signature, and that the room's own rules let its authors in.

use crate::export::{MAGIC, Record};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use thiserror::Error;
use tidings_protocol::admission::{Admission, WaitFor, admit_control};
use tidings_protocol::codec::{CodecError, decode};
use tidings_protocol::control::payload::{Control, ControlEvent, Erase};
use tidings_protocol::control::rank::Rank;
use tidings_protocol::control::set::ControlSet;
use tidings_protocol::control::state::RoomState;
use tidings_protocol::event::{Body, Class, Header, SignedEvent, VerifiedEvent};
use tidings_protocol::id::{DeviceId, EventId, RoomId};
use tidings_protocol::identity::{Domain, verify};
use tidings_protocol::limits::EVENT_LEN_MAX;
use tidings_protocol::log::Log;

/// Why an export does not prove itself.
#[derive(Debug, Error)]
pub enum ProofError {
    /// Reading the file failed.
    #[error("reading failed: {0}")]
    Io(#[source] std::io::Error),
    /// It ends too early.
    #[error("the file is cut off after {records} whole records")]
    CutOff {
        /// Those that could be read.
        records: u64,
    },
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
    /// Events whose payload the exporter had taken off by its own word: it has to be got elsewhere.
    pub purged: u64,
    /// Stretches that the exporter did not hold.
    pub holes: u64,
}

/// Proves an export, reading it once, in memory that does not grow with its content.
///
/// # Errors
/// `ProofError` at the first record that is wrong.
pub fn prove(input: &mut dyn Read) -> Result<(RoomId, Proven), ProofError> {
    let mut magic = Vec::new();
    Read::take(&mut *input, MAGIC.len() as u64).read_to_end(&mut magic).map_err(ProofError::Io)?;
    if magic != MAGIC {
        return Err(ProofError::NotAnExport);
    }
    let mut room = [0; 32];
    fill(input, &mut room, 0)?;
    let room = RoomId(room);
    let mut proof = Proof::new(room);
    while let Some(bytes) = next_record(input, proof.proven.events)? {
        let record = proof.proven.events + 1;
        let read = decode(&bytes, EVENT_LEN_MAX).map_err(|source| ProofError::Codec { record, source })?;
        proof.take(read).map_err(|why| ProofError::False { record, why })?;
        proof.proven.events = record;
    }
    let record = proof.proven.events;
    proof.end().map_err(|why| ProofError::False { record, why })?;
    if std::io::copy(&mut input.take(1), &mut std::io::sink()).map_err(ProofError::Io)? > 0 {
        return Err(ProofError::False { record, why: "the file goes on behind its end" });
    }
    Ok((room, proof.proven))
}

/// The record after this many.
fn next_record(input: &mut dyn Read, records: u64) -> Result<Option<Vec<u8>>, ProofError> {
    let mut len = [0; 4];
    fill(input, &mut len, records)?;
    let len = u32::from_be_bytes(len) as usize;
    if len > EVENT_LEN_MAX {
        return Err(ProofError::False { record: records + 1, why: "it is longer than an event may be" });
    }
    let mut bytes = vec![0; len];
    fill(input, &mut bytes, records)?;
    Ok((len > 0).then_some(bytes))
}

fn fill(input: &mut dyn Read, buffer: &mut [u8], records: u64) -> Result<(), ProofError> {
    input.read_exact(buffer).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => ProofError::CutOff { records },
        _ => ProofError::Io(error),
    })
}

struct Proof {
    room: RoomId,
    proven: Proven,
    at: Option<Place>,
    control: ControlSet,
    /// Control events that rest on one which stands later in the file, by that one's id.
    waiting: BTreeMap<EventId, Vec<VerifiedEvent>>,
    authority: Option<Authority>,
}

/// What follows from the room's control events, once all of them were read.
struct Authority {
    state: RoomState,
    /// Author, grant, seq and id of what may have been erased, whether or not the erasure counts by now.
    erasable: BTreeSet<(DeviceId, EventId, u64, EventId)>,
}

/// Where in a log the reading is: the events of the seq before this one, and of this one.
struct Place {
    log: Log,
    seq: u64,
    /// What the cuts of the log name, where there are any: nothing else is the end of a branch.
    named: Option<BTreeSet<EventId>>,
    below: Vec<Link>,
    here: Vec<Link>,
}

impl Place {
    /// Checks events above which nothing more comes.
    fn check(&self, links: &[Link]) -> Result<(), &'static str> {
        let mut ends = links.iter().filter(|link| !link.vouched);
        if !ends.clone().all(|link| link.signed) {
            return Err("an event before it has neither a signature nor a later event that vouches for it");
        }
        match &self.named {
            Some(named) if !ends.all(|link| named.contains(&link.id)) => {
                Err("an event before it is not among what was left to its author when they were removed")
            }
            _ => Ok(()),
        }
    }
}

struct Link {
    id: EventId,
    signed: bool,
    /// A later event names it, and so vouches for it.
    vouched: bool,
}

impl Proof {
    fn new(room: RoomId) -> Self {
        let (control, waiting) = (ControlSet::new(room), BTreeMap::new());
        Proof { room, proven: Proven::default(), at: None, control, waiting, authority: None }
    }

    fn take(&mut self, record: Record) -> Result<(), &'static str> {
        let id = record.header.id();
        let log = record.header.log_of(id);
        if record.header.room_of(id) != self.room {
            return Err("it belongs to another room");
        }
        self.move_to(log, record.header.seq)?;
        self.link(id, &record)?;
        match log.class {
            Class::Control => self.take_control(record),
            Class::Content => self.take_content(id, &record),
        }
    }

    fn move_to(&mut self, log: Log, seq: u64) -> Result<(), &'static str> {
        match &mut self.at {
            Some(at) if at.log == log && at.seq == seq => Ok(()),
            Some(at) if at.log == log && at.seq < seq => {
                let adjacent = at.seq.checked_add(1) == Some(seq);
                at.check(&at.below)?;
                at.below = std::mem::take(&mut at.here);
                if !adjacent {
                    at.check(&at.below)?;
                    at.below.clear();
                }
                at.seq = seq;
                Ok(())
            }
            Some(at) if at.log >= log => Err("it is out of order"),
            _ => {
                self.end_log()?;
                self.proven.logs += 1;
                let mut named = None;
                if log.class == Class::Content {
                    let right = self.authority()?.state.content_right(&log);
                    let right = right.map_err(|_| "the room does not let its author speak")?;
                    let ids = || right.cuts.iter().flat_map(|cut| cut.ids.iter().copied()).collect();
                    named = (!right.cuts.is_empty()).then(ids);
                }
                self.at = Some(Place { log, seq, named, below: Vec::new(), here: Vec::new() });
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

    /// Admits a control event, and what waited for it, as a node's one door does.
    fn take_control(&mut self, record: Record) -> Result<(), &'static str> {
        let signature = record.signature.ok_or("a control event without signature")?;
        let event = SignedEvent { header: record.header, signature, body: record.body };
        let mut ready = vec![event.verify().map_err(|_| "its payload or signature does not verify")?];
        self.proven.signatures += 1;
        while let Some(event) = ready.pop() {
            match admit_control(&event, &self.control) {
                (Admission::Admit, Some(control)) => {
                    ready.extend(self.waiting.remove(&control.id).unwrap_or_default());
                    self.control.insert(control);
                }
                (Admission::Wait(WaitFor::Event(on)), _) => self.waiting.entry(on).or_default().push(event),
                _ => return Err("the room does not admit it, or what it completes"),
            }
        }
        Ok(())
    }

    fn take_content(&mut self, id: EventId, record: &Record) -> Result<(), &'static str> {
        let header = &record.header;
        match &record.body {
            Body::Kept(payload) => {
                if payload.bytes.len() != header.payload_len as usize || payload.commit() != header.payload_commit {
                    return Err("its payload is not the one that was signed");
                }
            }
            Body::Erased if record.purged => self.proven.purged += 1,
            Body::Erased if self.authority()?.may_be_erased(id, header) => self.proven.erased += 1,
            Body::Erased => return Err("its payload is missing, and nobody who may has erased it"),
        }
        if let Some(signature) = &record.signature {
            verify(header.author.as_bytes(), Domain::Event, id.as_bytes(), signature)
                .map_err(|_| "its signature does not verify")?;
            self.proven.signatures += 1;
        }
        Ok(())
    }

    /// What follows from the control events, all of which stand before the first content event.
    fn authority(&mut self) -> Result<&Authority, &'static str> {
        self.check_none_waits()?;
        let control = &mut self.control;
        Ok(self.authority.get_or_insert_with(|| {
            control.settle();
            Authority::of(control)
        }))
    }

    fn check_none_waits(&self) -> Result<(), &'static str> {
        match self.waiting.is_empty() {
            true => Ok(()),
            false => Err("the room does not admit a control event before it: what that rests on is missing"),
        }
    }

    fn end(&mut self) -> Result<(), &'static str> {
        self.end_log()?;
        self.check_none_waits()
    }

    fn end_log(&mut self) -> Result<(), &'static str> {
        let Some(at) = self.at.take() else { return Ok(()) };
        at.check(&at.below)?;
        at.check(&at.here)
    }
}

impl Authority {
    fn of(control: &ControlSet) -> Self {
        let state = control.state().clone();
        let erases = control.events().filter_map(|event| match &event.control {
            Control::Erase(erase) if may_erase(control, &state, event, erase) => Some(erase),
            _ => None,
        });
        let erasable = erases.map(|e| (e.author, e.grant, e.seq, e.id)).collect();
        Authority { state, erasable }
    }

    fn may_be_erased(&self, id: EventId, header: &Header) -> bool {
        self.erasable.contains(&(header.author, header.grant, header.seq, id))
    }
}

/// Whether an Erase was permitted when its payload went, which later events may have changed: by its user, or by a
/// moderator no weaker.
pub(crate) fn may_erase(control: &ControlSet, state: &RoomState, event: &ControlEvent, erase: &Erase) -> bool {
    let user = state.speaker(event.log.author, event.log.grant);
    let own = user.is_some() && user == state.speaker(erase.author, erase.grant);
    let (rank, target) = (control.rank_of(event.log.grant), control.rank_of(erase.grant));
    own || (rank.is_some_and(|r| r <= Rank::MODERATOR) && target.is_some() && rank <= target)
}

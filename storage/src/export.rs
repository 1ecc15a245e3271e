//! Exports: a room's history as one file that proves itself offline. Equal histories give equal bytes.
//!
//! A magic line, the room's id, then records: a length and the canonical bytes of header, signature and body, in
//! (log, seq, id) order, control logs first. A length of zero ends the file.

use crate::error::{Damage, StorageError};
use crate::events::StoredEvent;
use crate::key::RoomNumber;
use crate::logs::LogRow;
use crate::proof::may_erase;
use crate::range::Walk;
use crate::store::Store;
use std::collections::BTreeSet;
use std::io::Write;
use thiserror::Error;
use tidings_protocol::codec::{Canonical, CodecError, Reader, Writer, encode};
use tidings_protocol::control::payload::Control;
use tidings_protocol::control::set::ControlSet;
use tidings_protocol::event::{Body, Class, Header};
use tidings_protocol::id::{EventId, RoomId};
use tidings_protocol::identity::Signature;
use tidings_protocol::log::Log;
use tidings_protocol::range::signature_travels;

/// Why an export could not be written.
#[derive(Debug, Error)]
pub enum ExportError {
    /// Writing the file failed.
    #[error("writing failed: {0}")]
    Io(#[from] std::io::Error),
    /// Reading the store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// How an export begins.
pub const MAGIC: &[u8] = b"tidings export 1\n";

/// One event in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What was signed.
    pub header: Header,
    /// A tip's, every 256th's, every control event's.
    pub signature: Option<Signature>,
    /// What it says, or that it was erased.
    pub body: Body,
    /// The exporter has taken off what it said, though nobody has erased it.
    pub purged: bool,
}

impl Store {
    /// Writes what is held of a room and counts at this moment, with what shows that it does; returns how many events that
    /// were. Until it is written nothing goes from the disk.
    ///
    /// # Errors
    /// `ExportError`.
    pub fn export(&self, number: RoomNumber, room: RoomId, out: &mut dyn Write) -> Result<u64, ExportError> {
        self.at_this_moment().export_all(number, room, out)
    }

    fn export_all(&self, number: RoomNumber, room: RoomId, out: &mut dyn Write) -> Result<u64, ExportError> {
        let control = self.control_set(number, room)?;
        let mut kept = control.kept();
        self.keep_excuses(&control, &mut kept)?;
        out.write_all(MAGIC)?;
        out.write_all(room.as_bytes())?;
        let mut events = 0;
        for (_, row) in self.logs(number, Class::Control)? {
            events += self.export_log(room, &row, |event| kept.contains(&event.id), out)?;
        }
        for (log, row) in self.logs(number, Class::Content)? {
            let Ok(right) = control.state().content_right(&log) else { continue };
            if right.cuts.is_empty() {
                events += self.export_log(room, &row, |_| true, out)?;
                continue;
            }
            let kept = self.kept(number, &log, &right)?;
            events += self.export_log(room, &row, |event| kept.shows(event.seq, event.number), out)?;
        }
        out.write_all(&0u32.to_be_bytes())?;
        out.flush()?;
        Ok(events)
    }

    fn export_log(
        &self,
        room: RoomId,
        row: &LogRow,
        is_kept: impl Fn(&StoredEvent) -> bool,
        out: &mut dyn Write,
    ) -> Result<u64, ExportError> {
        let mut events = 0;
        let unproved = self.unproved(row)?;
        let (mut below, mut level): (Level, Level) = (Vec::new(), Vec::new());
        for number in self.numbers_of_log(row.number)? {
            let event = self.event(number?)?.ok_or(StorageError::from(Damage::Missing("an event of a log")))?;
            if !is_kept(&event) || unproved.contains(&event.number) {
                continue;
            }
            let header = self.header(room, &event)?;
            if level.first().is_some_and(|(_, r)| r.header.seq != header.seq) {
                events += write_level(below, &level, out)?;
                below = std::mem::take(&mut level);
            }
            let purged = event.purged;
            level.push((event.id, Record { header, signature: event.signature, body: event.body, purged }));
        }
        events += write_level(below, &level, out)?;
        Ok(events + write_level(level, &Vec::new(), out)?)
    }
}

impl Store {
    /// Erases that do not count any more, but by which payloads went while they did: without them the file would say of
    /// these that nobody who may had erased them.
    fn keep_excuses(&self, control: &ControlSet, kept: &mut BTreeSet<EventId>) -> Result<(), StorageError> {
        for event in control.events().filter(|event| !control.counts(event.id)) {
            let Control::Erase(erase) = &event.control else { continue };
            let log = Log { class: Class::Content, author: erase.author, grant: erase.grant };
            let is_it = |held: &StoredEvent| held.log == log && held.seq == erase.seq && held.body == Body::Erased;
            if !may_erase(control, control.state(), event, erase)
                || !self.event_by_id(erase.id)?.is_some_and(|e| is_it(&e))
            {
                continue;
            }
            let mut next = Some(event);
            while let Some(event) = next.take().filter(|event| kept.insert(event.id)) {
                next = control.event(event.prev).filter(|_| event.seq > 1);
            }
        }
        Ok(())
    }

    /// Events on top of a stretch below a hole that have no signature, and nothing held above that vouches for them: they
    /// came in one range with what is missing now.
    fn unproved(&self, row: &LogRow) -> Result<BTreeSet<u64>, StorageError> {
        let (mut found, mut walk) = (BTreeSet::new(), Walk::new(self)?);
        for tip in row.state.tips() {
            let Some(number) = self.number_of(tip.id)? else { continue };
            let mut next = walk.event(number)?.map(|event| (number, event));
            while let Some((number, event)) = next.take().filter(|(_, event)| event.signature.is_none()) {
                found.insert(number);
                next = walk.below(number, event.prev)?.filter(|(_, below)| below.log == event.log);
            }
        }
        Ok(found)
    }
}

/// The events of one seq: more than one only where the log forked.
type Level = Vec<(EventId, Record)>;

/// Writes the events of one seq. What the file itself names above needs no signature: whether an event is a tip is read
/// off what is written, because more may arrive meanwhile than the log's row said.
fn write_level(mut level: Level, above: &Level, out: &mut dyn Write) -> Result<u64, ExportError> {
    level.sort_unstable_by_key(|(id, _)| *id);
    let count = level.len() as u64;
    for (id, mut record) in level {
        let is_named = above.iter().any(|(_, r)| r.header.prev == id);
        if is_named && !signature_travels(record.header.class, record.header.seq) {
            record.signature = None;
        }
        let bytes = encode(&record);
        out.write_all(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes())?;
        out.write_all(&bytes)?;
    }
    Ok(count)
}

impl Canonical for Record {
    fn write(&self, w: &mut Writer) {
        self.header.write(w);
        w.u8(u8::from(self.signature.is_some()) | if self.purged { PURGED } else { 0 });
        if let Some(signature) = &self.signature {
            signature.write(w);
        }
        self.body.write(w);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        let header = Header::read(r)?;
        let flags = r.u8()?;
        if flags & !(SIGNED | PURGED) != 0 {
            return Err(CodecError::Invalid("flags"));
        }
        let signature = if flags & SIGNED != 0 { Some(Signature::read(r)?) } else { None };
        let (body, purged) = (Body::read(r)?, flags & PURGED != 0);
        if purged && body != Body::Erased {
            return Err(CodecError::Invalid("a payload that was taken off"));
        }
        Ok(Record { header, signature, body, purged })
    }
}

/// Flags of a record.
const SIGNED: u8 = 1;
const PURGED: u8 = 2;

//! What is kept of a room to save disk: the operator's wish, since when its content is here, what trimming left to fetch back,
//! and how the files follow. Payloads and headers go together: a header without its payload takes half the room, and what
//! goes whole is a hole like any other, whose top is named by what stays, so that it verifies when it comes back.

use crate::error::StorageError;
use crate::key::{self, RoomNumber};
use crate::logs::LogRow;
use crate::schema::Family;
use crate::store::Store;
use tidings_protocol::codec::{Canonical, CodecError, Reader, Writer};
use tidings_protocol::event::Class;
use tidings_protocol::id::DeviceId;
use tidings_protocol::log::{Log, Tip};

/// What a node keeps of one room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeepRow {
    /// Bytes of content, before compression, at most; 0 for no bound of its own.
    pub max_bytes: u64,
    /// Days that content is kept; 0 for no bound.
    pub max_days: u32,
    /// Nothing of it goes to save room.
    pub forever: bool,
    /// Content of before this clock may have been trimmed; 0 where nothing was.
    pub since: u64,
}

/// A hole that trimming left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trimmed {
    /// The log.
    pub log: Log,
    /// The highest event that is missing.
    pub top: Tip,
    /// Where the event above it stands on screen.
    pub clock: u64,
}

/// An event of a log, by which one decides how much of it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The seq of the event.
    pub seq: u64,
    /// Its local number.
    pub number: u64,
    /// Where it stands on screen.
    pub clock: u64,
}

impl Store {
    /// What is kept of a room.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn keep(&self, room: RoomNumber) -> Result<KeepRow, StorageError> {
        Ok(self.find_row(Family::Room, &key::keep(room), "keep")?.unwrap_or_default())
    }

    /// Up to which local number some other device has said that it has our events of a room on disk, with all below.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn shared_up_to(&self, room: RoomNumber, us: DeviceId) -> Result<u64, StorageError> {
        let reached = self.reached(room)?.into_iter().filter(|(device, _)| *device != us);
        Ok(reached.map(|(_, reached)| reached.held).max().unwrap_or(0))
    }

    /// The holes that trimming left in a room's content, the newest first.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn trimmed(&self, room: RoomNumber) -> Result<Vec<Trimmed>, StorageError> {
        let mut out = Vec::new();
        for (log, row) in self.logs(room, Class::Content)? {
            for hole in row.state.holes().iter().filter(|hole| row.state.is_trimmed(hole)) {
                out.extend(self.clock_above(&row, hole.top)?.map(|clock| Trimmed { log, top: hole.top, clock }));
            }
        }
        out.sort_unstable_by(|a, b| b.clock.cmp(&a.clock).then(a.top.cmp(&b.top)));
        Ok(out)
    }

    /// Where the event stands on screen that names a missing one as its predecessor.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn clock_above(&self, row: &LogRow, top: Tip) -> Result<Option<u64>, StorageError> {
        for number in self.numbers_at(row.number, top.seq.saturating_add(1))? {
            let Some(event) = self.event_row(number)? else { continue };
            let clock = event.clock();
            if self.prev_id(number, event.prev)? == top.id {
                return Ok(Some(clock));
            }
        }
        Ok(None)
    }

    /// The lowest local number of an event by this device in a room that brings a file, from which on nobody else may have
    /// its bytes.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn own_file_from(&self, room: RoomNumber, us: DeviceId) -> Result<Option<u64>, StorageError> {
        let mut lowest = None;
        for row in self.scan(Family::File, &[], &[])? {
            let (place, _) = row?;
            if place.get(32..36) != Some(room.0.to_be_bytes().as_slice()) {
                continue;
            }
            let number = key::to_number(place.get(36..).unwrap_or_default(), "file key")?;
            if lowest.is_none_or(|lowest| number < lowest)
                && let Some(row) = self.event_row(number)?
                && self.log_of_number(row.log)?.1.author == us
            {
                lowest = Some(number);
            }
        }
        Ok(lowest)
    }

    /// Every `step`th event of a log from a place on, at most `max` of them.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn steps(&self, row: &LogRow, from: (u64, u64), step: usize, max: usize) -> Result<Vec<Step>, StorageError> {
        let places = self.places_of_log(row.number, from, step.saturating_mul(max))?;
        let mut out = Vec::new();
        for (n, (seq, number)) in places.iter().enumerate() {
            if n % step.max(1) == 0
                && let Some(event) = self.event_row(*number)?
            {
                out.push(Step { seq: *seq, number: *number, clock: event.clock() });
            }
        }
        Ok(out)
    }

    /// Bytes of content of a room, before compression, with what finds it again.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn room_bytes(&self, room: RoomNumber) -> Result<u64, StorageError> {
        Ok(self.logs(room, Class::Content)?.iter().map(|(_, row)| row.bytes).sum())
    }
}

impl Canonical for KeepRow {
    fn write(&self, w: &mut Writer) {
        w.u64(self.max_bytes);
        w.u32(self.max_days);
        w.u8(u8::from(self.forever));
        w.u64(self.since);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(KeepRow { max_bytes: r.u64()?, max_days: r.u32()?, forever: r.u8()? == 1, since: r.u64()? })
    }
}

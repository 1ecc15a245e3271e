//! Logs of a room: what is held of each, when it last moved, and what was agreed with whom.

use crate::batch::Batch;
use crate::error::{Damage, StorageError};
use crate::events::StoredEvent;
use crate::key::{self, LogNumber, RoomNumber};
use crate::schema::Family;
use crate::store::Store;
use tidings_protocol::codec::{Canonical, CodecError, Reader, Writer, decode, encode};
use tidings_protocol::event::{Class, Hlc};
use tidings_protocol::id::EventId;
use tidings_protocol::log::{Log, LogState};

/// What the store knows of one log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRow {
    pub(crate) number: LogNumber,
    /// The room's change at which this log last moved.
    pub moved: u64,
    /// The highest clock held of it.
    pub hlc: Hlc,
    /// Bytes of what is held, before compression, with what finds it again.
    pub bytes: u64,
    /// What is held.
    pub state: LogState,
}

/// The last time when we and a peer held the same of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreement {
    /// Names what both held.
    pub token: [u8; 16],
    /// Our room's change then.
    pub change: u64,
}

impl Store {
    /// What is held of a log; `None` when nothing ever was.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn log(&self, room: RoomNumber, log: &Log) -> Result<Option<LogRow>, StorageError> {
        self.find_row(Family::Tips, &key::tips(room, log), "log")
    }

    /// The logs of a room and class, ascending.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn logs(&self, room: RoomNumber, class: Class) -> Result<Vec<(Log, LogRow)>, StorageError> {
        let prefix = key::tips_of(room, class);
        let mut out = Vec::new();
        for entry in self.scan(Family::Tips, &prefix, &prefix)? {
            let (key_bytes, row) = entry?;
            let log = decode(key_bytes.get(4..).unwrap_or_default(), LOG_LEN);
            let log = log.map_err(|source| Damage::Row { what: "log key", source })?;
            out.push((log, decode(&row, usize::MAX).map_err(|source| Damage::Row { what: "log", source })?));
        }
        Ok(out)
    }

    /// What was last agreed with a peer on a room.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn agreement(&self, room: RoomNumber, peer: &[u8]) -> Result<Option<Agreement>, StorageError> {
        self.find_row(Family::Room, &key::agreement(room, peer), "agreement")
    }

    /// The keys of a room's oldest agreements, where one more would be too many.
    pub(crate) fn excess_agreements(&self, room: RoomNumber) -> Result<Vec<Vec<u8>>, StorageError> {
        let prefix = key::agreement(room, &[]);
        let mut found = Vec::new();
        for entry in self.scan(Family::Room, &prefix, &prefix)? {
            let (key, row) = entry?;
            let change = decode::<Agreement>(&row, AGREEMENT_LEN).map_or(0, |agreement| agreement.change);
            found.push((change, key.to_vec()));
        }
        found.sort_unstable();
        found.truncate((found.len() + 1).saturating_sub(AGREEMENTS_MAX));
        Ok(found.into_iter().map(|(_, key)| key).collect())
    }

    pub(crate) fn log_of_number(&self, number: LogNumber) -> Result<(RoomNumber, Log), StorageError> {
        if let Some(found) = self.known_log(number) {
            return Ok(found);
        }
        let row: NamedLog = self
            .find_row(Family::Meta, &key::log_by_number(number), "log number")?
            .ok_or(Damage::Missing("the log of an event"))?;
        self.remember_log(number, (row.room, row.log));
        Ok((row.room, row.log))
    }

    /// The lowest event held of a log.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn first_of_log(&self, room: RoomNumber, log: &Log) -> Result<Option<StoredEvent>, StorageError> {
        Ok(self.events_of_log(room, log, 1)?.into_iter().next())
    }

    /// The events held of a log, by seq, at most `max`.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn events_of_log(&self, room: RoomNumber, log: &Log, max: usize) -> Result<Vec<StoredEvent>, StorageError> {
        let Some(row) = self.log(room, log)? else { return Ok(Vec::new()) };
        let mut out = Vec::new();
        for number in self.numbers_of_log(row.number)?.take(max) {
            out.extend(self.event(number?)?);
        }
        Ok(out)
    }

    /// The log of an event that is held in this room.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn log_of(&self, room: RoomNumber, id: EventId) -> Result<Option<Log>, StorageError> {
        let Some(number) = self.number_of(id)? else { return Ok(None) };
        let Some(row) = self.event_row(number)? else { return Ok(None) };
        let (held_in, log) = self.log_of_number(row.log)?;
        Ok((held_in == room).then_some(log))
    }

    /// The local numbers of the events of a log that have this seq.
    pub(crate) fn numbers_at(&self, log: LogNumber, seq: u64) -> Result<Vec<u64>, StorageError> {
        let from = key::log(log, seq, 0);
        let rows = self.scan(Family::Log, &from[..12], &from)?;
        rows.map(|row| key::to_number(row?.0.get(12..).unwrap_or_default(), "log key").map_err(Into::into)).collect()
    }

    /// Places (seq, local number) of a log's events from one on, at most `max`.
    pub(crate) fn places_of_log(
        &self,
        log: LogNumber,
        from: (u64, u64),
        max: usize,
    ) -> Result<Vec<(u64, u64)>, StorageError> {
        let rows = self.scan(Family::Log, &log.0.to_be_bytes(), &key::log(log, from.0, from.1))?.take(max);
        let place = |row: Result<crate::store::Row, StorageError>| {
            let (place, _) = row?;
            let seq = key::to_number(place.get(4..12).unwrap_or_default(), "log key")?;
            Ok((seq, key::to_number(place.get(12..).unwrap_or_default(), "log key")?))
        };
        rows.map(place).collect()
    }

    /// The local numbers of a log's events, by seq; forks lie side by side.
    pub(crate) fn numbers_of_log(
        &self,
        log: LogNumber,
    ) -> Result<impl Iterator<Item = Result<u64, StorageError>> + '_, StorageError> {
        let prefix = log.0.to_be_bytes();
        let rows = self.scan(Family::Log, &prefix, &prefix)?;
        Ok(rows.map(|row| Ok(key::to_number(row?.0.get(12..).unwrap_or_default(), "log key")?)))
    }
}

impl Batch<'_> {
    /// Remembers what was agreed with a peer. Of a room 1024 are kept, the oldest go.
    ///
    /// # Errors
    /// `Rocks`.
    pub fn agree(&mut self, room: RoomNumber, peer: &[u8], agreement: Agreement) -> Result<(), StorageError> {
        if self.store().agreement(room, peer)?.is_none() {
            for excess in self.store().excess_agreements(room)? {
                self.delete(Family::Room, &excess)?;
            }
        }
        self.put(Family::Room, &key::agreement(room, peer), &encode(&agreement))
    }
}

/// What a log's number stands for.
pub(crate) struct NamedLog {
    pub(crate) room: RoomNumber,
    pub(crate) log: Log,
}

impl Canonical for NamedLog {
    fn write(&self, w: &mut Writer) {
        w.u32(self.room.0);
        self.log.write(w);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(NamedLog { room: RoomNumber(r.u32()?), log: Log::read(r)? })
    }
}

impl Canonical for LogRow {
    fn write(&self, w: &mut Writer) {
        w.u32(self.number.0);
        w.u64(self.moved);
        w.u64(self.hlc.0);
        w.u64(self.bytes);
        self.state.write(w);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        let (number, moved, hlc) = (LogNumber(r.u32()?), r.u64()?, Hlc(r.u64()?));
        Ok(LogRow { number, moved, hlc, bytes: r.u64()?, state: LogState::read(r)? })
    }
}

impl Canonical for Agreement {
    fn write(&self, w: &mut Writer) {
        w.array(&self.token);
        w.u64(self.change);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Agreement { token: r.array()?, change: r.u64()? })
    }
}

const LOG_LEN: usize = 1 + 32 + 32;
const AGREEMENT_LEN: usize = 16 + 8;
/// Agreements kept of a room: with who comes back. Peers that nobody sees again must not fill the disk.
const AGREEMENTS_MAX: usize = 1024;

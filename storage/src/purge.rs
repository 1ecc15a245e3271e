//! What was taken off this node for good, by its operator's word: rooms, and what events said. It changes nothing of what
//! counts: of an event the header stays, so that its log still verifies; it is given to nobody and not asked for again.
//!
//! The word is kept first, then rows go part by part: whoever was cut short finds the word, and goes on.

use crate::error::{Damage, StorageError};
use crate::key::{self, LogNumber, RoomNumber};
use crate::logs::LogRow;
use crate::row::Prev;
use crate::schema::Family;
use crate::store::Store;
use std::collections::BTreeSet;
use tidings_protocol::codec::{Canonical, CodecError, Reader, Writer, decode};
use tidings_protocol::id::{EventId, RoomId, UserId};
use tidings_protocol::log::Tip;

/// What is taken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purged {
    /// A room, whole.
    Room(RoomId),
    /// Everything that a user says in any room.
    User(UserId),
    /// What one event says.
    Event(EventId),
}

/// Since when, and how far it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PurgeRow {
    /// Unix milliseconds.
    pub since_ms: u64,
    /// Whether all of it that was here is gone, from the files, too.
    pub done: bool,
    /// Of a room: the number under which its rows lay here, if it was here.
    pub room: Option<RoomNumber>,
}

/// How far a part of the work went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Events of which something went.
    pub gone: u64,
    /// Where to go on; nothing when it is done.
    pub next: Option<(u64, u64)>,
}

impl Store {
    /// Everything that was taken off and is refused.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn purges(&self) -> Result<Vec<(Purged, PurgeRow)>, StorageError> {
        let mut out = Vec::new();
        for entry in self.scan(Family::Room, key::PURGE, key::PURGE)? {
            let (place, row) = entry?;
            let what = place.get(1..).and_then(of_key).ok_or(Damage::Length("purge key"))?;
            let row = decode(&row, usize::MAX).map_err(|source| Damage::Row { what: "purge", source })?;
            out.push((what, row));
        }
        Ok(out)
    }

    /// The numbers of rooms that are on their way out: a part of their rows is gone already.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn rooms_being_purged(&self) -> Result<BTreeSet<RoomNumber>, StorageError> {
        Ok(self.purges()?.into_iter().filter(|(_, row)| !row.done).filter_map(|(_, row)| row.room).collect())
    }

    /// Since when something is refused, if it is.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn purge(&self, what: Purged) -> Result<Option<PurgeRow>, StorageError> {
        self.find_row(Family::Room, &to_key(what), "purge")
    }

    /// Whether anything that an event of this room said was taken off and did not come back.
    ///
    /// # Errors
    /// `Rocks`.
    pub fn lacks_words(&self, room: RoomNumber) -> Result<bool, StorageError> {
        let prefix = key::wordless_of(room);
        Ok(self.scan(Family::Room, &prefix, &prefix)?.next().transpose()?.is_some())
    }

    /// The same of one log.
    ///
    /// # Errors
    /// `Rocks`.
    pub fn lacks_words_in(&self, room: RoomNumber, log: &LogRow) -> Result<bool, StorageError> {
        let prefix = key::wordless_in(room, log.number);
        Ok(self.scan(Family::Room, &prefix, &prefix)?.next().transpose()?.is_some())
    }

    /// Stretches of a log whose words may come back: the highest event of each, and above which seq it begins.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn wanted_again(&self, room: RoomNumber, row: &LogRow) -> Result<Vec<(Tip, u64)>, StorageError> {
        let mut stretches: Vec<(u64, u64, u64)> = Vec::new();
        if !self.wants_any_again() {
            return Ok(Vec::new());
        }
        for entry in self.wordless(room, row.number)? {
            let (seq, number, state) = entry?;
            let is_full = stretches.len() >= WANTED_AGAIN_MAX;
            match stretches.last_mut() {
                _ if state != WANTED => {}
                Some((_, last, top)) if last.checked_add(1) == Some(seq) => (*last, *top) = (seq, number),
                _ if is_full => break,
                _ => stretches.push((seq, seq, number)),
            }
        }
        let mut out = Vec::with_capacity(stretches.len());
        for (first, last, number) in stretches {
            let top = self.event_row(number)?.map(|row| Tip { seq: last, id: row.id });
            out.extend(top.map(|top| (top, first.saturating_sub(1))));
        }
        Ok(out)
    }

    /// Whether an event is held without its words, and these may come back.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn is_wanted_again(&self, id: EventId) -> Result<bool, StorageError> {
        if !self.wants_any_again() {
            return Ok(false);
        }
        let Some(number) = self.number_of(id)? else { return Ok(false) };
        let Some(row) = self.event_row(number)?.filter(|row| row.purged) else { return Ok(false) };
        let (room, _) = self.log_of_number(row.log)?;
        let state = self.find(Family::Room, &key::wordless(room, row.log, row.seq, number))?;
        Ok(state.is_some_and(|state| *state == [WANTED]))
    }

    /// Of a log, the highest events below each stretch without words that can be told as heads: those with a signature.
    /// Whoever cannot get past the stretch by us gets to what lies below.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn heads_below_purged(&self, room: RoomNumber, row: &LogRow) -> Result<Vec<Tip>, StorageError> {
        let mut out: Vec<Tip> = Vec::new();
        let prefix = key::wordless_in(room, row.number);
        let from = key::after_prefix(&prefix).unwrap_or_default();
        let mut lowest: Option<(u64, u64)> = None;
        for entry in self.scan_back(Family::Room, &prefix, &from)?.take(WORDLESS_LOOKED_AT) {
            let (place, _) = entry?;
            if !place.starts_with(&prefix) {
                continue;
            }
            let (seq, number) = of_wordless(&place)?;
            if let Some((_, bottom)) = lowest.filter(|(above, _)| *above > seq + 1) {
                out.extend(self.signed_below(bottom)?);
            }
            if out.len() >= HEADS_BELOW_MAX {
                break;
            }
            lowest = Some((seq, number));
        }
        if let Some((_, bottom)) = lowest {
            out.extend(self.signed_below(bottom)?);
        }
        out.sort_unstable();
        out.dedup();
        Ok(out)
    }

    /// An event, or the next below it that has its words and a signature: so much of what ends in it others can be shown.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn signed_at_or_below(&self, id: EventId) -> Result<Option<Tip>, StorageError> {
        let Some(number) = self.number_of(id)? else { return Ok(None) };
        match self.event_row(number)? {
            Some(row) if row.signature.is_some() => Ok(Some(Tip { seq: row.seq, id })),
            _ => self.signed_below(number),
        }
    }

    /// The next event below one that has its words and a signature.
    fn signed_below(&self, number: u64) -> Result<Option<Tip>, StorageError> {
        let (mut number, Some(mut row)) = (number, self.event_row(number)?) else { return Ok(None) };
        for _ in 0..SIGNED_LOOKED_AT {
            let below = match row.prev {
                Prev::None => None,
                Prev::Id(id) => self.number_of(id)?,
                Prev::Before => Some(number.saturating_sub(1)),
                Prev::Number(below) => Some(below),
            };
            let Some(below) = below else { return Ok(None) };
            let Some(found) = self.event_row(below)?.filter(|found| found.log == row.log) else { return Ok(None) };
            if found.signature.is_some() && !found.purged {
                return Ok(Some(Tip { seq: found.seq, id: found.id }));
            }
            (number, row) = (below, found);
        }
        Ok(None)
    }

    fn wordless(
        &self,
        room: RoomNumber,
        log: LogNumber,
    ) -> Result<impl Iterator<Item = Result<(u64, u64, u8), StorageError>> + '_, StorageError> {
        let prefix = key::wordless_in(room, log);
        Ok(self.scan(Family::Room, &prefix, &prefix)?.map(|row| {
            let (place, state) = row?;
            let (seq, number) = of_wordless(&place)?;
            Ok((seq, number, state.first().copied().unwrap_or(REFUSED)))
        }))
    }

    /// Whether the words of any event may come back: read once, at the start.
    pub(crate) fn find_wanted_again(&self) -> Result<bool, StorageError> {
        for row in self.scan(Family::Room, key::WORDLESS, key::WORDLESS)? {
            if row?.1.first() == Some(&WANTED) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

pub(crate) fn to_key(what: Purged) -> Vec<u8> {
    let (kind, id) = match what {
        Purged::Room(id) => (b'r', id.0),
        Purged::User(id) => (b'u', id.0),
        Purged::Event(id) => (b'e', id.0),
    };
    [key::PURGE, &[kind], &id].concat()
}

fn of_key(rest: &[u8]) -> Option<Purged> {
    let (kind, id) = rest.split_first()?;
    let id: [u8; 32] = id.try_into().ok()?;
    match kind {
        b'r' => Some(Purged::Room(RoomId(id))),
        b'u' => Some(Purged::User(UserId(id))),
        b'e' => Some(Purged::Event(EventId(id))),
        _ => None,
    }
}

pub(crate) fn of_wordless(place: &[u8]) -> Result<(u64, u64), Damage> {
    let rest = place.get(9..25).ok_or(Damage::Length("wordless key"))?;
    Ok((key::to_number(&rest[..8], "wordless key")?, key::to_number(&rest[8..], "wordless key")?))
}

impl Canonical for PurgeRow {
    fn write(&self, w: &mut Writer) {
        w.u64(self.since_ms);
        w.u8(u8::from(self.done));
        w.u32(self.room.map_or(0, |room| room.0));
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        let (since_ms, done) = (r.u64()?, r.u8()? == 1);
        Ok(PurgeRow { since_ms, done, room: Some(RoomNumber(r.u32()?)).filter(|room| room.0 > 0) })
    }
}

/// What is said of an event without words: that they are refused, or that they may come back.
pub(crate) const REFUSED: u8 = 0;
pub(crate) const WANTED: u8 = 1;
/// Stretches of one log that are asked for at a time; the rest once these are here.
const WANTED_AGAIN_MAX: usize = 256;
/// Rows of a log that are looked through for heads below what was taken off: whoever purged more gives less of it.
const WORDLESS_LOOKED_AT: usize = 4096;
/// Such heads of one log.
const HEADS_BELOW_MAX: usize = 16;
/// Events below one without words among which one with a signature is looked for: every 256th has one.
const SIGNED_LOOKED_AT: usize = 512;

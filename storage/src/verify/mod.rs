//! Verifying a store: every row is read, every hash and signature checked, and that rows and events name each other.
//!
//! What is damaged is told and nothing is changed. An event is true if its bytes have its id and a signature vouches for it: its
//! own, or that of an event further up which names it, one by another. What no signature that is held vouches for, because
//! what lies above it was trimmed or never came, is counted apart: it is as it came, and came beside what vouched for it.

pub(crate) mod logs;
pub(crate) mod rows;
#[cfg(test)]
mod tests;

use crate::key::RoomNumber;
use crate::salvage::Part;
use crate::schema::Family;
use crate::store::{Row, Store};
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;
use tidings_protocol::id::{EventId, RoomId};

/// What was read, and what is wrong with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Rows read, of all families.
    pub rows: u64,
    /// Their keys and values, in bytes.
    pub bytes: u64,
    /// Events whose hash was checked.
    pub events: u64,
    /// Signatures checked.
    pub signatures: u64,
    /// Events for which no signature that is held vouches.
    pub unvouched: u64,
    /// What is damaged: the first `FLAWS_MAX`.
    pub flaws: Vec<Flaw>,
    /// How many there are.
    pub flaw_count: u64,
}

/// Something damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// In which room, where that is known.
    pub room: Option<RoomId>,
    /// Of which event.
    pub event: Option<EventId>,
    /// What.
    pub what: Wrong,
}

/// What can be wrong.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Wrong {
    /// Bytes on disk do not have their checksum, or are not there.
    #[error("rows of \"{family}\" cannot be read behind {after}: {why}")]
    Unreadable {
        /// Which rows.
        family: &'static str,
        /// The last key before them, in hexadecimal digits.
        after: String,
        /// What RocksDB says.
        why: String,
    },
    /// The write-ahead log does not have what had been on disk.
    #[error("the end of the write-ahead log is lost: {rows} rows that had been on disk are not there")]
    Lost {
        /// How many.
        rows: u64,
    },
    /// A row's bytes are not of its form.
    #[error("a row of \"{family}\" does not read: {why}")]
    Row {
        /// Which rows.
        family: &'static str,
        /// Why.
        why: String,
    },
    /// An event that an index names cannot be read.
    #[error("event {number} of this store cannot be read: {why}")]
    Event {
        /// Its local number.
        number: u64,
        /// Why.
        why: String,
    },
    /// What is there has another hash.
    #[error("its bytes are not those that its id names")]
    Id,
    /// The signature is another's, or of something else.
    #[error("its signature does not verify")]
    Signature,
    /// Each control event has its own.
    #[error("its signature is missing")]
    Unsigned,
    /// It stands where it does not belong.
    #[error("its log has it at another place")]
    Place,
    /// An index does not name it.
    #[error("\"{0}\" does not list it")]
    Unlisted(&'static str),
    /// An index names what is not there.
    #[error("\"{family}\" lists event {number}, which is not there")]
    Dangling {
        /// Which index.
        family: &'static str,
        /// The local number.
        number: u64,
    },
    /// It was erased or purged.
    #[error("what was erased of it is still there")]
    NotErased,
    /// The log's own row is not what its events make of it.
    #[error("the row of a log says otherwise than its events: {0}")]
    Log(&'static str),
}

impl Store {
    /// Verifies everything as it is at this moment; until it is done nothing goes from the disk. `go_on` hears now and then of
    /// what was read so far; `None` where it said no.
    #[must_use]
    pub fn verify(&self, go_on: &mut dyn FnMut(&Verified) -> bool) -> Option<Verified> {
        let store = match self.is_read_only() {
            true => self.clone(),
            false => self.at_this_moment(),
        };
        let (found, rooms) = (Verified::default(), BTreeMap::new());
        let purging = store.rooms_being_purged().unwrap_or_default();
        let mut check = Check { store: &store, found, rooms, purging, go_on, told: 0 };
        // A node that runs has dealt with it.
        if store.is_read_only() && store.lost_rows() > 0 {
            check.flaw(None, None, Wrong::Lost { rows: store.lost_rows() });
        }
        check.rows().and_then(|()| check.logs()).ok()?;
        Some(check.found)
    }
}

/// Who watches does not want to know more.
struct Stopped;

struct Check<'a> {
    store: &'a Store,
    found: Verified,
    rooms: BTreeMap<RoomNumber, RoomId>,
    /// Rooms that are on their way out: their rows go one family after the other.
    purging: BTreeSet<RoomNumber>,
    go_on: &'a mut dyn FnMut(&Verified) -> bool,
    /// Rows and events when it was told last.
    told: u64,
}

impl Check<'_> {
    fn flaw(&mut self, room: Option<RoomId>, event: Option<EventId>, what: Wrong) {
        self.found.flaw_count += 1;
        if self.found.flaws.len() < FLAWS_MAX {
            self.found.flaws.push(Flaw { room, event, what });
        }
    }

    fn row_flaw(&mut self, family: Family, why: &dyn std::fmt::Display) {
        self.flaw(None, None, Wrong::Row { family: family.name(), why: why.to_string() });
    }

    /// Looks at every row of a family by parts.
    fn each_part(&mut self, family: Family, mut look: impl FnMut(&mut Self, &[Row])) -> Result<(), Stopped> {
        self.store.each_part(family, |part| {
            match part {
                Part::Rows(rows) => {
                    self.found.rows += rows.len() as u64;
                    self.found.bytes += rows.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum::<u64>();
                    look(self, rows);
                }
                Part::Unreadable { after, why } => {
                    let after = match after {
                        [] => "the beginning".to_owned(),
                        key => key.iter().map(|byte| format!("{byte:02x}")).collect(),
                    };
                    let what = Wrong::Unreadable { family: family.name(), after, why: why.to_string() };
                    self.flaw(None, None, what);
                }
            }
            self.tell()
        })
    }

    fn tell(&mut self) -> Result<(), Stopped> {
        let done = self.found.rows + self.found.events;
        if done - self.told < TELL_EVERY {
            return Ok(());
        }
        self.told = done;
        if (self.go_on)(&self.found) { Ok(()) } else { Err(Stopped) }
    }
}

/// Flaws that are told one by one.
pub const FLAWS_MAX: usize = 1000;
/// Rows and events between two words to who watches.
const TELL_EVERY: u64 = 4096;

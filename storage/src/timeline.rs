//! A room's timeline: pages by cursor, newest first or onwards from a place. A page is one short scan.

use crate::error::{Damage, StorageError};
use crate::key::{self, Position, RoomNumber};
use crate::schema::Family;
use crate::store::{Row, Store};
use tidings_protocol::content::Imported;
use tidings_protocol::event::Hlc;

/// Which way to page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Towards the past, newest first.
    Older,
    /// Towards the present, oldest first.
    Newer,
}

/// One place of the timeline. Several events share it when they are the same imported record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelineEntry {
    /// Where: the cursor to go on from.
    pub position: Position,
    /// The local numbers of the events there, ascending.
    pub numbers: Vec<u64>,
}

impl Store {
    /// What stands at one place.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn place(&self, room: RoomNumber, position: Position) -> Result<Option<TimelineEntry>, StorageError> {
        let Some(numbers) = self.find(Family::Timeline, &key::timeline(room, position))? else { return Ok(None) };
        Ok(Some(TimelineEntry { position, numbers: key::to_numbers(&numbers, "timeline")? }))
    }

    /// Places strictly beyond `from`, in the order of the direction, at most `max`.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn timeline(
        &self,
        room: RoomNumber,
        from: Position,
        direction: Direction,
        max: usize,
    ) -> Result<Vec<TimelineEntry>, StorageError> {
        let prefix = room.0.to_be_bytes();
        let start = key::timeline(room, from);
        let entry = |row: Result<Row, StorageError>| {
            let (key_bytes, numbers) = row?;
            let numbers = key::to_numbers(&numbers, "timeline")?;
            Ok(TimelineEntry { position: key::to_position(&key_bytes)?, numbers })
        };
        let beyond = |e: &Result<TimelineEntry, StorageError>| !e.as_ref().is_ok_and(|e| e.position == from);
        match direction {
            Direction::Older => {
                self.scan(Family::Timeline, &prefix, &start)?.map(entry).filter(beyond).take(max).collect()
            }
            Direction::Newer => {
                self.scan_back(Family::Timeline, &prefix, &start)?.map(entry).filter(beyond).take(max).collect()
            }
        }
    }

    /// The keys of the places of a timeline that have this clock.
    pub(crate) fn places_at(&self, room: RoomNumber, clock: u64) -> Result<Vec<[u8; 20]>, StorageError> {
        let prefix = [room.0.to_be_bytes().as_slice(), &(!clock).to_be_bytes()].concat();
        let rows = self.scan(Family::Timeline, &prefix, &prefix)?;
        let keys = rows.map(|row| Ok(row?.0.as_ref().try_into().map_err(|_| Damage::Length("timeline key"))?));
        keys.collect()
    }
}

/// Where a record claims to stand.
pub(crate) fn claimed_position(record: &Imported) -> Position {
    Position { clock: claimed_clock(record), tie: key::prefix(&record.source_id()) }
}

/// The clock of a record's claimed time and its order within that millisecond; past 65,536 of them it runs into the next.
pub(crate) fn claimed_clock(record: &Imported) -> u64 {
    Hlc::at_ms(record.ms).0.saturating_add(u64::from(record.order))
}

//! Counting rooms anew whose sums are out of date, a few at a time, while the writer has nothing else to do.

use crate::writer::WriteLoop;
use std::time::{Duration, Instant};
use tidings_protocol::id::RoomId;
use tidings_storage::{Durability, StorageError};

impl WriteLoop {
    /// Counts some rooms anew; whether there are more. A crash loses nothing by it: they are out of date then, and counted
    /// again.
    pub(crate) fn recount_some(&mut self) -> Result<bool, StorageError> {
        let now = Instant::now();
        self.rests.retain(|_, until| *until > now);
        let rooms = self.rooms.tally.uncounted.iter().filter(|room| !self.rests.contains_key(room));
        let rooms: Vec<RoomId> = rooms.take(ROOMS_AT_ONCE).copied().collect();
        if rooms.is_empty() {
            return Ok(false);
        }
        for room in rooms {
            let begun = Instant::now();
            self.rooms.tally.uncounted.remove(&room);
            self.rooms.count_anew(self.store.store(), room)?;
            // A room in which much is unread and said would be counted all the time. Whoever asks meanwhile counts for
            // themselves.
            if begun.elapsed() >= LONG {
                self.rests.insert(room, Instant::now() + begun.elapsed().saturating_mul(REST));
            }
        }
        let mut batch = self.store.begin();
        let stale = self.rooms.take_stale(&mut batch)?;
        let written = batch.commit(Durability::Buffered);
        if !self.has_room(written)? {
            self.forget_round()?;
            return Ok(false);
        }
        for (room, row) in stale {
            self.rooms.show(room, row);
        }
        Ok(!self.rooms.tally.uncounted.is_empty())
    }

    /// How long until a room may be counted that waits for it.
    pub(crate) fn until_recount(&self) -> Option<Duration> {
        let waiting = self.rests.iter().filter(|(room, _)| self.rooms.tally.uncounted.contains(room));
        waiting.map(|(_, until)| until.saturating_duration_since(Instant::now())).min()
    }
}

/// Counting that takes as long is put off the next time,
const LONG: Duration = Duration::from_millis(1);
/// by so many times what it took.
const REST: u32 = 50;

/// Rooms counted in one go, between which commands are carried out.
const ROOMS_AT_ONCE: usize = 16;

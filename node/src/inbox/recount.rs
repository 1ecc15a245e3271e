//! Counting rooms anew whose sums are out of date, a few at a time, while the writer has nothing else to do.

use crate::writer::WriteLoop;
use tidings_protocol::id::RoomId;
use tidings_storage::{Durability, StorageError};

impl WriteLoop {
    /// Counts some rooms anew; whether there are more. A crash loses nothing by it: they are out of date then, and counted
    /// again.
    pub(crate) fn recount_some(&mut self) -> Result<bool, StorageError> {
        let rooms: Vec<RoomId> = self.rooms.tally.uncounted.iter().take(ROOMS_AT_ONCE).copied().collect();
        if rooms.is_empty() {
            return Ok(false);
        }
        for room in &rooms {
            self.rooms.tally.uncounted.remove(room);
            self.rooms.count_anew(self.store.store(), *room)?;
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
}

/// Rooms counted in one go, between which commands are carried out.
const ROOMS_AT_ONCE: usize = 16;

//! Carrying out erasures that control events say: when they come, when they are due, and all of them on start.

use super::{DUE_MAX, Stored, WriteLoop};
use crate::clock::now_ms;
use crate::ingest;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tidings_protocol::control::payload::Erase;
use tidings_protocol::id::RoomId;
use tidings_storage::{Durability, StorageError};

impl WriteLoop {
    /// Every erasure of every room: on start, because the last commit may have been the last.
    pub(super) fn all_erasures(&mut self) -> Result<(), StorageError> {
        for room in self.rooms.ids() {
            let places: BTreeSet<Erase> =
                self.rooms.find(room).into_iter().flat_map(|r| r.state.erased.keys().cloned()).collect();
            self.erasures(room, &places)?;
        }
        self.due_erasures()
    }

    /// Drops payloads whose time has come. What hides them may be another Erase by now, or none.
    pub(super) fn due_erasures(&mut self) -> Result<(), StorageError> {
        let mut places: BTreeMap<RoomId, BTreeSet<Erase>> = BTreeMap::new();
        let rooms: HashMap<_, RoomId> =
            self.rooms.ids().into_iter().filter_map(|id| Some((self.rooms.find(id)?.number, id))).collect();
        for id in self.store.store().due_erasures(now_ms(), DUE_MAX)? {
            let Some(event) = self.store.store().event_by_id(id)? else { continue };
            if let Some(room) = rooms.get(&event.room) {
                let place = Erase { author: event.log.author, grant: event.log.grant, seq: event.seq, id };
                places.entry(*room).or_default().insert(place);
            }
        }
        for (room, places) in places {
            self.erasures(room, &places)?;
        }
        Ok(())
    }

    /// Drops payloads at these places that control events erase, and tells which messages look different.
    pub(super) fn erasures(&mut self, room: RoomId, places: &BTreeSet<Erase>) -> Result<(), StorageError> {
        let Some(state) = self.rooms.find(room).map(|r| r.state.clone()) else { return Ok(()) };
        let mut batch = self.store.begin();
        let changed = ingest::apply_erasures(&mut batch, &state, places, now_ms())?;
        if changed.is_empty() {
            return Ok(());
        }
        let committed = batch.commit(Durability::Synced);
        if !self.has_room(committed)? {
            self.erases_late = true;
        } else {
            self.unsynced.notices.push(Stored { changed, ..Stored::nothing(room) });
            self.told();
        }
        Ok(())
    }
}

//! Where what somebody says about a message is found again: edits and reactions behind the message, what moderators fold
//! apart from those, so that no flood of reactions can hide it, and all reports of a room in one place.

use crate::error::StorageError;
use crate::events::StoredEvent;
use crate::key::{self, RoomNumber};
use crate::schema::Family;
use crate::store::Store;
use std::collections::HashSet;
use tidings_protocol::content::Content;
use tidings_protocol::id::EventId;

/// Behind what an event is found, if it is about another.
pub(crate) fn place(content: &Content) -> Option<[u8; 32]> {
    match content {
        Content::Hide(hide) => Some(hides_of(hide.target)),
        Content::Report(_) => Some(REPORTS),
        other => other.target().map(|target| target.0),
    }
}

impl Store {
    /// Of these messages those of which something was said: an edit, a reaction, what stands for them, or folds them.
    ///
    /// # Errors
    /// `Rocks`.
    pub fn talked_of(
        &self,
        room: RoomNumber,
        ids: impl Iterator<Item = EventId>,
    ) -> Result<HashSet<EventId>, StorageError> {
        let mut options = self.read_options();
        options.set_prefix_same_as_start(true);
        // One for all: making it takes longer than looking.
        let mut rows = self.db().raw_iterator_cf_opt(self.family(Family::Relation)?, options);
        let mut found = HashSet::new();
        for id in ids {
            for place in [id.0, hides_of(id)] {
                let prefix = key::relation_prefix(room, &place);
                rows.seek(prefix);
                self.count_rows(1);
                if rows.key().is_some_and(|key| key.starts_with(&prefix)) {
                    found.insert(id);
                }
                rows.status()?;
            }
        }
        Ok(found)
    }

    /// The events that fold a message or unfold it, the last to arrive first, at most `max`.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn hides(&self, room: RoomNumber, target: EventId, max: usize) -> Result<Vec<StoredEvent>, StorageError> {
        self.newest_at(room, &hides_of(target), max)
    }

    /// The reports of a room, the last to arrive first, at most `max`.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn reports(&self, room: RoomNumber, max: usize) -> Result<Vec<StoredEvent>, StorageError> {
        self.newest_at(room, &REPORTS, max)
    }

    fn newest_at(&self, room: RoomNumber, place: &[u8; 32], max: usize) -> Result<Vec<StoredEvent>, StorageError> {
        let prefix = key::relation_prefix(room, place);
        let mut out = Vec::new();
        for entry in self.scan_back(Family::Relation, &prefix, &key::relation(room, place, u64::MAX))?.take(max) {
            let (key_bytes, _) = entry?;
            let number = key::to_number(key_bytes.get(prefix.len()..).unwrap_or_default(), "relation key")?;
            out.extend(self.event(number)?);
        }
        Ok(out)
    }
}

/// No id: the complement of one.
fn hides_of(target: EventId) -> [u8; 32] {
    target.0.map(|byte| !byte)
}

/// The place of all reports; ids are hashes, and none is this.
const REPORTS: [u8; 32] = [0xff; 32];

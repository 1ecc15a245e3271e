//! Which events name which files: a row for each, written and taken away in the batch in which the event's payload comes
//! and goes. So it is always known what a file is referred to by; whatever no row names may be removed from the disk.

use crate::batch::Batch;
use crate::error::{Damage, StorageError};
use crate::events::to_payload;
use crate::key::{self, RoomNumber};
use crate::row::EventRow;
use crate::schema::Family;
use crate::store::Store;
use tidings_protocol::content::{Content, kind};
use tidings_protocol::id::FileHash;

impl Store {
    /// The numbers of the events of a room that name a file, in order of arrival, at most so many.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn naming_file(&self, hash: FileHash, room: RoomNumber, max: usize) -> Result<Vec<u64>, StorageError> {
        let prefix = key::file_in(hash, room);
        let rows = self.scan(Family::File, &prefix, &prefix)?.take(max);
        rows.map(|row| Ok(key::to_number(row?.0.get(prefix.len()..).unwrap_or_default(), "file key")?)).collect()
    }

    /// The rooms of which an event names a file, at most so many.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn rooms_naming_file(&self, hash: FileHash, max: usize) -> Result<Vec<RoomNumber>, StorageError> {
        let mut out = Vec::new();
        let mut from = hash.as_bytes().to_vec();
        while out.len() < max {
            let Some(row) = self.scan(Family::File, hash.as_bytes(), &from)?.next() else { break };
            let (place, _) = row?;
            let room = place.get(32..36).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
            let room = RoomNumber(room.ok_or(Damage::Length("file key"))?);
            out.push(room);
            let Some(next) = key::after_prefix(&key::file_in(hash, room)) else { break };
            from = next;
        }
        Ok(out)
    }

    /// Whether any event that is held names a file, in whatever room, and whether or not it counts.
    ///
    /// # Errors
    /// `Rocks`.
    pub fn names_file(&self, hash: FileHash) -> Result<bool, StorageError> {
        Ok(self.scan(Family::File, hash.as_bytes(), hash.as_bytes())?.next().transpose()?.is_some())
    }

    /// The files that events name, ascending, from one on, at most so many.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn files_named(&self, after: Option<FileHash>, max: usize) -> Result<Vec<FileHash>, StorageError> {
        let mut out: Vec<FileHash> = Vec::new();
        let mut from = match after {
            None => Vec::new(),
            Some(hash) => match key::after_prefix(hash.as_bytes()) {
                Some(from) => from,
                None => return Ok(out),
            },
        };
        while out.len() < max {
            let Some(row) = self.scan(Family::File, &[], &from)?.next() else { break };
            let Some(hash) = row?.0.first_chunk::<32>().map(|hash| FileHash(*hash)) else { break };
            out.push(hash);
            let Some(next) = key::after_prefix(hash.as_bytes()) else { break };
            from = next;
        }
        Ok(out)
    }
}

/// The row by which an event names a file, if it does.
pub(crate) fn row(room: RoomNumber, content: Option<&Content>, number: u64) -> Option<Vec<u8>> {
    Some(key::file(content?.file()?.hash, room, number))
}

impl Batch<'_> {
    /// The payload of an event of this kind goes: what it names it names no more.
    pub(crate) fn drop_file(
        &mut self,
        room: RoomNumber,
        (kind, payload): (u16, &[u8]),
        number: u64,
    ) -> Result<(), StorageError> {
        if !matches!(kind, kind::FILE | kind::ADOPTED) {
            return Ok(());
        }
        match row(room, Content::decode(kind, payload).ok().as_ref(), number) {
            Some(place) => self.delete(Family::File, &place),
            None => Ok(()),
        }
    }

    /// The same of an event in the store, before its payload goes.
    pub(crate) fn drop_file_of(&mut self, room: RoomNumber, row: &EventRow, number: u64) -> Result<(), StorageError> {
        if !matches!(row.kind, kind::FILE | kind::ADOPTED) {
            return Ok(());
        }
        let Some(bytes) = self.store().find(Family::Payload, &key::number(number))? else { return Ok(()) };
        let payload = to_payload(&bytes)?;
        drop(bytes);
        self.drop_file(room, (row.kind, &payload.bytes), number)
    }
}

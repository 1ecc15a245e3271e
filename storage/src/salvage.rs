//! Reading all rows of a family though some of its bytes are damaged: what cannot be read is told, and the next that can be
//! comes behind it.

use crate::error::StorageError;
use crate::schema::Family;
use crate::store::{Row, Store};

/// What comes next of a family.
pub(crate) enum Part<'p> {
    /// Rows, ascending by key.
    Rows(&'p [Row]),
    /// Something that cannot be read.
    Unreadable {
        /// The last key before it; empty where there is none.
        after: &'p [u8],
        /// Why.
        why: StorageError,
    },
}

impl Store {
    /// Hands out every row of a family that can be read, by parts.
    pub(crate) fn each_part<E>(
        &self,
        family: Family,
        mut take: impl FnMut(Part<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut from = Vec::new();
        loop {
            let mut rows = Vec::with_capacity(PART_ROWS);
            let read = self.read_rows(family, &from, &mut rows);
            if !rows.is_empty() {
                take(Part::Rows(&rows))?;
            }
            let last = rows.last().map(|(key, _)| key.to_vec());
            match (read, last) {
                (Err(why), last) => {
                    let after = last.unwrap_or_else(|| from.clone());
                    take(Part::Unreadable { after: &after, why })?;
                    let Some(behind) = self.readable_behind(family, &after) else { return Ok(()) };
                    from = behind;
                }
                // The next key after one is that with a zero behind it.
                (Ok(()), Some(last)) if rows.len() == PART_ROWS => from = [last.as_slice(), &[0]].concat(),
                (Ok(()), _) => return Ok(()),
            }
        }
    }

    fn read_rows(&self, family: Family, from: &[u8], rows: &mut Vec<Row>) -> Result<(), StorageError> {
        for row in self.scan(family, &[], from)?.take(PART_ROWS) {
            rows.push(row?);
        }
        Ok(())
    }

    /// The first place behind a key from which rows can be read again: of events one of the next numbers, as a block has few;
    /// else where another table begins or ends.
    fn readable_behind(&self, family: Family, key: &[u8]) -> Option<Vec<u8>> {
        let can_read = |from: &[u8]| {
            let mut rows = self.scan(family, &[], from).ok()?;
            rows.next().is_none_or(|row| row.is_ok()).then(|| from.to_vec())
        };
        if matches!(family, Family::Event | Family::Payload) {
            let last = key.first_chunk().map_or(0, |number| u64::from_be_bytes(*number));
            let mut numbers = last.saturating_add(1)..last.saturating_add(BLOCK_ROWS_MAX);
            let number = numbers.find(|number| self.find(family, &number.to_be_bytes()).is_ok());
            if let Some(found) = number.and_then(|number| can_read(&number.to_be_bytes())) {
                return Some(found);
            }
        }
        let files = self.db().live_files().ok()?;
        let files = files.into_iter().filter(|file| file.column_family_name == family.name());
        let mut edges: Vec<Vec<u8>> = files.flat_map(|file| [file.start_key, file.end_key]).flatten().collect();
        edges.retain(|edge| edge.as_slice() > key);
        edges.sort_unstable();
        edges.iter().find_map(|edge| can_read(edge))
    }
}

/// Rows that are read together.
const PART_ROWS: usize = 256;
/// More rows of events than a block has.
const BLOCK_ROWS_MAX: u64 = 1024;

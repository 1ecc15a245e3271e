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

    /// The first place behind a key from which rows can be read again: a block has few rows, so the next is not far. Keys are
    /// tried that differ from it as late as can be, then earlier and earlier; in the end, where another table begins or ends.
    fn readable_behind(&self, family: Family, key: &[u8]) -> Option<Vec<u8>> {
        let can_read = |from: &[u8]| {
            let mut rows = self.scan(family, &[], from).ok()?;
            rows.next().is_none_or(|row| row.is_ok()).then(|| from.to_vec())
        };
        let files = self.db().live_files().ok()?;
        let files = files.into_iter().filter(|file| file.column_family_name == family.name());
        let mut edges: Vec<Vec<u8>> = files.flat_map(|file| [file.start_key, file.end_key]).flatten().collect();
        edges.retain(|edge| edge.as_slice() > key);
        edges.sort_unstable();
        let next_edge = edges.iter().find_map(|edge| can_read(edge));
        let len = key.len().min(KEY_LEN_TRIED);
        let tried = (0..len).rev().flat_map(|at| {
            let (before, last) = (key.get(..at).unwrap_or_default(), key.get(at).copied().unwrap_or(u8::MAX));
            (last..u8::MAX).map(move |byte| [before, &[byte + 1]].concat())
        });
        let is_nearer = |from: &Vec<u8>| next_edge.as_ref().is_none_or(|edge| from < edge);
        // None is tried behind the last row: there nothing is left to be read.
        let last = edges.last().cloned().unwrap_or_default();
        let mut unread = key.to_vec();
        for from in tried.filter(|from| is_nearer(from) && *from <= last) {
            if can_read(&from).is_some() {
                return Some(nearer(unread, from, |from| can_read(from).is_some()));
            }
            unread = from;
        }
        next_edge
    }
}

/// A place between one that cannot be read and one that can, from which rows can be read as well: as near to the first as some
/// more bytes tell.
fn nearer(mut unread: Vec<u8>, mut found: Vec<u8>, can_read: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    for _ in 0..BYTES_REFINED {
        // The lowest byte behind it that makes a place which can be read; 256 where none does.
        let (mut below, mut at) = (0_u16, 256_u16);
        while at - below > 1 {
            let middle = u16::midpoint(below, at);
            let place = [unread.as_slice(), &[middle as u8]].concat();
            if can_read(&place) {
                (at, found) = (middle, place);
            } else {
                below = middle;
            }
        }
        unread.push(below as u8);
    }
    found
}

/// Rows that are read together.
const PART_ROWS: usize = 256;
/// Bytes of a key that are varied: those of all keys but names and words.
const KEY_LEN_TRIED: usize = 48;
/// Bytes by which the place to go on from is brought nearer.
const BYTES_REFINED: usize = 12;

//! Making the bytes of what was deleted go from the files. A deleted row is still in the table files and the write-ahead
//! log that it was written to, and the words of a search row may stand in the MANIFEST, which tells between which keys a
//! table file lies. So: everything is flushed, by which the log of before goes; the tables in which such rows lay are
//! rewritten; the MANIFEST begins anew. What is to be done stands in rows that come with the deletion, so a kill only puts
//! it off.

use crate::batch::Batch;
use crate::error::{Damage, StorageError};
use crate::key::{self, RoomNumber};
use crate::schema::Family;
use crate::search::buckets;
use crate::store::Store;
use rocksdb::LiveFile;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

/// An event whose payload was deleted and still lies in files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ToShred {
    /// Its local number.
    pub number: u64,
    /// In which room.
    pub room: RoomNumber,
}

/// Between which keys of a family rows were deleted; the whole of it without an end.
pub(crate) type Stretch = (Family, Vec<u8>, Option<Vec<u8>>);

impl Store {
    /// Whether anything was deleted since this was asked last that may still lie in files: costs nothing to ask.
    pub fn wants_shredding(&self) -> bool {
        self.shreds().swap(false, Ordering::Relaxed)
    }

    /// The first of what was deleted and still lies in files, at most `max`.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn to_shred(&self, max: usize) -> Result<Vec<ToShred>, StorageError> {
        let mut out = Vec::new();
        for row in self.scan(Family::Meta, key::META_SHRED, key::META_SHRED)?.take(max) {
            let (place, room) = row?;
            let number = key::to_number(place.get(key::META_SHRED.len()..).unwrap_or_default(), "shred key")?;
            let room = room[..].try_into().map(u32::from_be_bytes).map_err(|_| Damage::Length("shred row"))?;
            out.push(ToShred { number, room: RoomNumber(room) });
        }
        Ok(out)
    }

    /// Rewrites the files in which the payloads, words and names of these events lay; whether they are in none any more. It
    /// is not so while somebody still reads an old file: then it is to be done again.
    ///
    /// # Errors
    /// `DiskFull`, `Rocks`.
    pub fn shred(&self, gone: &[ToShred]) -> Result<bool, StorageError> {
        let mut stretches = Vec::new();
        for (first, last) in together(gone) {
            let (from, to) = (key::number(first).to_vec(), key::number(last.saturating_add(1)).to_vec());
            stretches.push((Family::Payload, from, Some(to)));
        }
        let buckets = gone.iter().map(|gone| buckets(gone.number, gone.number)).collect::<BTreeMap<_, _>>();
        stretches.extend(buckets.into_iter().map(|(from, to)| (Family::Search, from, Some(to))));
        // Names that were replaced or taken back, one's own among them.
        for room in gone.iter().map(|gone| gone.room).collect::<BTreeSet<_>>() {
            let names = key::profiles_of(room).to_vec();
            let end = key::after_prefix(&names);
            stretches.push((Family::Room, names, end));
        }
        // And the rows that said so the last time.
        for prefix in [key::note(""), key::META_SHRED.to_vec()] {
            let end = key::after_prefix(&prefix);
            stretches.push((Family::Meta, prefix, end));
        }
        self.rewrite(&stretches)
    }

    /// Rewrites everything; whether nothing that was deleted is in any file.
    ///
    /// # Errors
    /// `DiskFull`, `Rocks`.
    pub fn shred_everything(&self) -> Result<bool, StorageError> {
        self.rewrite(&Family::ALL.map(|family| (family, Vec::new(), None)))
    }

    fn rewrite(&self, stretches: &[Stretch]) -> Result<bool, StorageError> {
        // A compaction passes over tables without a key between these, whatever lay there: so each stretch gets one.
        for (family, from, _) in stretches {
            self.db().delete_cf(self.family(*family)?, from)?;
        }
        self.gone_after(stretches, || {
            let mut options = rocksdb::CompactOptions::default();
            options.set_bottommost_level_compaction(rocksdb::BottommostLevelCompaction::ForceOptimized);
            for (family, from, to) in stretches {
                let from = (!from.is_empty()).then_some(from);
                self.db().compact_range_cf_opt(self.family(*family)?, from, to.as_ref(), &options);
            }
            Ok(())
        })
    }

    /// Whether something that rewrites what lies between these keys has left nothing there of what was deleted before.
    pub(crate) fn gone_after(
        &self,
        stretches: &[Stretch],
        rewrite: impl FnOnce() -> Result<(), StorageError>,
    ) -> Result<bool, StorageError> {
        // Who sees the store as it was before keeps what was deleted in the files. So does a copy of it.
        if self.is_seen_as_it_was() || !self.forget_copies() {
            return Ok(false);
        }
        for family in Family::ALL {
            self.db().flush_cf(self.family(family)?)?;
        }
        let before: BTreeSet<u64> = self.db().live_files()?.iter().filter_map(|file| table(&file.name)).collect();
        let failures = self.background_errors()?;
        rewrite()?;
        self.renew_manifest()?;
        // A manual compaction tells nothing of how it ended, so the result is looked at: nothing failed, what was flushed
        // for it went down, and no table that is in no use any more is there still because somebody reads it.
        let live = self.db().live_files()?;
        let is_flushed = |file: &&LiveFile| file.level == 0 && table(&file.name).is_some_and(|n| before.contains(&n));
        let mut left = live.iter().filter(is_flushed);
        let is_left = left.any(|file| stretches.iter().any(|stretch| touches(file, stretch)));
        let live: BTreeSet<u64> = live.iter().filter_map(|file| table(&file.name)).collect();
        // What was made and rewritten in between is among them.
        let newest = live.last().max(before.last()).copied().unwrap_or(0);
        let is_dead = |number: u64| number <= newest && !live.contains(&number);
        let files = std::fs::read_dir(self.path()).into_iter().flatten().flatten();
        let mut tables = files.filter_map(|file| table(file.file_name().to_str()?));
        Ok(!is_left && !tables.any(is_dead) && self.background_errors()? == failures)
    }

    /// Every edit of the MANIFEST begins a new one, which has what was true before that edit: so the second has nothing of
    /// what was true before the first.
    fn renew_manifest(&self) -> Result<(), StorageError> {
        let meta = self.family(Family::Meta)?;
        for _ in 0..MANIFEST_EDITS {
            self.db().put_cf(meta, key::META_RENEWED, [])?;
            self.db().flush_cf(meta)?;
        }
        Ok(())
    }
}

impl Batch<'_> {
    /// Notes that a payload of this batch's deletions is to go from the files.
    pub(crate) fn put_to_shred(&mut self, gone: ToShred) -> Result<(), StorageError> {
        self.shreds = true;
        self.put(Family::Meta, &key::to_shred(gone.number), &gone.room.0.to_be_bytes())
    }

    /// These are in no file any more.
    ///
    /// # Errors
    /// `Rocks`.
    pub fn shredded(&mut self, gone: &[ToShred]) -> Result<(), StorageError> {
        for gone in gone {
            self.delete(Family::Meta, &key::to_shred(gone.number))?;
        }
        Ok(())
    }
}

/// Numbers that lie so close that one range has them.
fn together(gone: &[ToShred]) -> Vec<(u64, u64)> {
    let mut out: Vec<(u64, u64)> = Vec::new();
    for number in gone.iter().map(|gone| gone.number).collect::<BTreeSet<_>>() {
        match out.last_mut() {
            Some((_, last)) if number - *last <= TOGETHER => *last = number,
            _ => out.push((number, number)),
        }
    }
    out
}

/// The number of a table file, by its name.
fn table(name: &str) -> Option<u64> {
    name.trim_start_matches('/').strip_suffix(".sst")?.parse().ok()
}

fn touches(file: &LiveFile, (family, from, to): &Stretch) -> bool {
    let ends_before = file.end_key.as_ref().is_some_and(|end| end < from);
    let begins_after = file.start_key.as_ref().zip(to.as_ref()).is_some_and(|(start, to)| start >= to);
    file.column_family_name == family.name() && !ends_before && !begins_after
}

/// Local numbers at most so far apart are rewritten at once.
const TOGETHER: u64 = 1024;
/// Edits after which nothing of what the MANIFEST said before is in it.
const MANIFEST_EDITS: usize = 2;

#[cfg(test)]
#[path = "shredding_tests.rs"]
mod tests;

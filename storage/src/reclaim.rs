//! Giving the disk back what trimmed rows took: window after window of a family's files, each small enough that what lies
//! there twice meanwhile fits into the reserve of the disk budget.
//!
//! Payloads are found by nobody once their events are trimmed. They are dropped here: files in which no event is left go
//! whole, without being read; others are rewritten once a good part of them is dead. How far that is done is kept in the
//! store, so that a kill in between leaves nothing behind.

use crate::error::StorageError;
use crate::key::{self, RoomNumber};
use crate::schema::Family;
use crate::search::place_of;
use crate::shredding::Stretch;
use crate::store::Store;
use rocksdb::{BottommostLevelCompaction, CompactOptions, LiveFile, WriteBatch};
use tidings_protocol::codec::{Canonical, CodecError, Reader, Writer};

/// What was trimmed and may lie in files still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreclaimed {
    /// Between which numbers payloads are left.
    pub payloads: Option<(u64, u64)>,
    /// Between which numbers words are, in the rows of search.
    pub words: Option<(u64, u64)>,
    /// Of how many events rows of indexes are.
    pub indexed: u64,
    /// Between which numbers payloads may be left in however few places: all that was trimmed since everything last went.
    pub all: (u64, u64),
}

impl Unreclaimed {
    /// The buckets of search in whose rows words are left.
    pub fn buckets(&self) -> impl Iterator<Item = u32> + use<> {
        let bucket = |number| place_of(number).map_or(u32::MAX, |(bucket, _)| bucket);
        self.words.into_iter().flat_map(move |(low, high)| bucket(low)..=bucket(high))
    }

    /// Whether anything is known to be left.
    pub fn is_some(&self) -> bool {
        self.payloads.is_some() || self.indexed > 0
    }
}

/// Files of a family that lie beside each other.
#[derive(Debug, PartialEq, Eq)]
struct Window {
    first: Vec<u8>,
    last: Vec<u8>,
    bytes: u64,
    /// Rows, and the words that some are deleted.
    rows: u64,
}

impl Store {
    /// What was trimmed and may lie in files still.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn unreclaimed(&self) -> Result<Option<Unreclaimed>, StorageError> {
        self.find_row(Family::Meta, key::META_UNRECLAIMED, "unreclaimed")
    }

    /// Whether something was erased in a room, or in any, that may lie in files among what was trimmed: under a number that
    /// nobody knows any more, also where it came back since.
    ///
    /// # Errors
    /// `Rocks`.
    pub fn awaits_trimmed(&self, room: Option<RoomNumber>) -> Result<bool, StorageError> {
        let prefix = room.map_or_else(|| key::META_AWAITS.to_vec(), key::awaits);
        Ok(self.scan(Family::Meta, &prefix, &prefix)?.next().transpose()?.is_some())
    }

    /// Makes everything go from the files that was trimmed, whatever lies beside it; whether it is in none any more. It is not
    /// so while somebody still reads an old file: then it is to be done again.
    ///
    /// # Errors
    /// `DiskFull`, `Rocks`, `Damaged`.
    pub fn reclaim_everything(&self, left: &Unreclaimed, window_len: u64) -> Result<bool, StorageError> {
        let mut everywhere: Vec<Stretch> = INDEXES.map(|family| (family, Vec::new(), None)).to_vec();
        // Others than these stay where they are.
        let (low, high) = left.all;
        let end = key::number(high.saturating_add(1)).to_vec();
        everywhere.push((Family::Payload, key::number(low).to_vec(), Some(end)));
        self.gone_after(&everywhere, || {
            self.reclaim_payloads(left.all, window_len, true)?;
            self.reclaim_indexes(window_len, true)
        })
    }

    /// Drops payloads between these numbers whose events were trimmed, where they are a good part of their files, or
    /// wherever they are; in windows of so many bytes. Says between which numbers some are left.
    ///
    /// # Errors
    /// `DiskFull`, `Rocks`, `Damaged`.
    pub fn reclaim_payloads(
        &self,
        (low, high): (u64, u64),
        window_len: u64,
        all: bool,
    ) -> Result<Option<(u64, u64)>, StorageError> {
        let family = self.family(Family::Payload)?;
        // Files go at once: what took the events off has to be on disk before.
        self.db().flush_wal(true)?;
        self.db().flush_cf(family)?;
        let range = (key::number(low).to_vec(), key::number(high).to_vec());
        let (mut left, mut from) = (None, low);
        let mut windows = self.windows(Family::Payload, Some(&range), window_len)?;
        if let Some(last) = windows.last_mut() {
            last.last = last.last.clone().max(range.1);
        }
        for window in windows {
            let to = key::to_number(&window.last, "payload key")?.min(high);
            let first = key::to_number(&window.first, "payload key")?;
            let live = self.events_between(first.min(from), key::to_number(&window.last, "payload key")?)?;
            let dead = window.rows.saturating_sub(live.len() as u64);
            if from > to {
                continue;
            }
            // How many are dead is an estimate.
            if all || (dead > 0 && dead.saturating_mul(DEAD_SHARE) >= window.rows) {
                self.drop_dead((from, to), &live, all)?;
            } else if dead > 0 {
                left = Some(left.map_or((from, high), |(low, _)| (low, high)));
            }
            from = to.saturating_add(1);
        }
        Ok(left)
    }

    /// Drops all payloads from one number to another but for those of the events that live.
    fn drop_dead(&self, (from, to): (u64, u64), live: &[u64], all: bool) -> Result<(), StorageError> {
        let family = self.family(Family::Payload)?;
        // Nothing lives between the event below and here, and what deleted it once may still lie there in small files.
        let below = self.scan_back(Family::Event, &[], &key::number(from.saturating_sub(1)))?.next().transpose()?;
        let below = below.map(|(number, _)| key::to_number(&number, "event key")).transpose()?;
        let from = below.map_or(0, |number| number.saturating_add(1)).min(from);
        let (mut rows, mut gaps, mut at) = (WriteBatch::default(), Vec::new(), from);
        let ends = live.iter().copied().filter(|number| (from..=to).contains(number));
        for next in ends.chain([to.saturating_add(1)]) {
            if next > at {
                rows.delete_range_cf(family, key::number(at), key::number(next));
                gaps.push((at, next));
            }
            at = next.saturating_add(1);
        }
        // In files of their own: one with fresh rows beside them would reach over everything that is held.
        self.db().flush_cf(family)?;
        self.db().write(rows)?;
        self.db().flush_cf(family)?;
        // Files that go whole go from who sees the store as it was, too.
        gaps.retain(|(first, end)| end - first >= WHOLE_FILES_FROM && !self.is_seen_as_it_was());
        for (first, end) in gaps {
            self.db().delete_file_in_range_cf(family, key::number(first), key::number(end - 1))?;
        }
        let (first, end) = (key::number(from), key::number(to.saturating_add(1)));
        self.db().compact_range_cf_opt(family, Some(first), Some(end), &options(all));
        Ok(())
    }

    /// Has everything flushed where the write-ahead log is longer than this: it counts as disk, and goes only then.
    ///
    /// # Errors
    /// `DiskFull`, `Rocks`.
    pub fn flush_log_above(&self, len_max: u64) -> Result<(), StorageError> {
        let files = std::fs::read_dir(self.path()).into_iter().flatten().flatten();
        let logs = files.filter(|file| file.path().extension().is_some_and(|extension| extension == "log"));
        if logs.filter_map(|file| file.metadata().ok()).map(|found| found.len()).sum::<u64>() <= len_max {
            return Ok(());
        }
        for family in Family::ALL {
            self.db().flush_cf(self.family(family)?)?;
        }
        Ok(())
    }

    /// Rewrites the files of indexes and headers from which rows were deleted, or all of them, in windows of so many bytes.
    ///
    /// # Errors
    /// `DiskFull`, `Rocks`.
    pub fn reclaim_indexes(&self, window_len: u64, all: bool) -> Result<(), StorageError> {
        for family in INDEXES {
            self.db().flush_cf(self.family(family)?)?;
            for window in self.windows(family, None, window_len)? {
                let (first, last) = (Some(&window.first), Some(&window.last));
                self.db().compact_range_cf_opt(self.family(family)?, first, last, &options(all));
            }
        }
        Ok(())
    }

    /// The numbers of the events that are held between two, both included.
    fn events_between(&self, low: u64, high: u64) -> Result<Vec<u64>, StorageError> {
        let mut out = Vec::new();
        for row in self.scan(Family::Event, &[], &key::number(low))? {
            let number = key::to_number(&row?.0, "event key")?;
            if number > high {
                break;
            }
            out.push(number);
        }
        Ok(out)
    }

    fn windows(
        &self,
        family: Family,
        range: Option<&(Vec<u8>, Vec<u8>)>,
        window_len: u64,
    ) -> Result<Vec<Window>, StorageError> {
        let files = self.db().live_files()?.into_iter();
        let files = files.filter(|file| file.column_family_name == family.name());
        let one = |file: LiveFile| {
            Some(Window {
                first: file.start_key?,
                last: file.end_key?,
                bytes: file.size as u64,
                rows: file.num_entries.saturating_sub(file.num_deletions),
            })
        };
        let touches = |w: &Window| range.is_none_or(|(low, high)| w.first <= *high && w.last >= *low);
        Ok(join(files.filter_map(one).filter(touches).collect(), window_len))
    }
}

/// Joins neighbours to windows of about so many bytes. Files of different levels that overlap are in one.
fn join(mut files: Vec<Window>, window_len: u64) -> Vec<Window> {
    files.sort_unstable_by(|a, b| (&a.last, &a.first).cmp(&(&b.last, &b.first)));
    let mut out: Vec<Window> = Vec::new();
    for file in files {
        match out.last_mut().filter(|last| last.bytes.saturating_add(file.bytes) <= window_len) {
            Some(last) => {
                last.first = last.first.clone().min(file.first);
                last.last = file.last;
                last.bytes = last.bytes.saturating_add(file.bytes);
                last.rows = last.rows.saturating_add(file.rows);
            }
            None => out.push(file),
        }
    }
    out
}

impl Canonical for Unreclaimed {
    fn write(&self, w: &mut Writer) {
        w.u64(self.indexed);
        for range in [Some(self.all), self.payloads, self.words] {
            let (low, high) = range.unwrap_or((1, 0));
            w.u64(low);
            w.u64(high);
        }
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        let indexed = r.u64()?;
        let all = (r.u64()?, r.u64()?);
        let mut range = || {
            let (low, high) = (r.u64()?, r.u64()?);
            Ok((low <= high).then_some((low, high)))
        };
        Ok(Unreclaimed { payloads: range()?, words: range()?, indexed, all })
    }
}

fn options(all: bool) -> CompactOptions {
    let mut options = CompactOptions::default();
    // What others bring is written meanwhile.
    options.set_exclusive_manual_compaction(false);
    // A file of the last level is rewritten where something above it has rows in its place, and only there. But what was
    // deleted before it ever came to a file may have gone down as it was, and its key is the word that was deleted.
    let last_level = if all { BottommostLevelCompaction::ForceOptimized } else { BottommostLevelCompaction::Skip };
    options.set_bottommost_level_compaction(last_level);
    options
}

/// The families in which rows lie that trimming deletes one by one.
const INDEXES: [Family; 10] = [
    Family::Event,
    Family::Log,
    Family::Id,
    Family::Timeline,
    Family::Relation,
    Family::Tips,
    Family::Search,
    Family::File,
    Family::Inbox,
    Family::Room,
];
/// A window of payloads is rewritten when one in so many of its rows is dead: so no byte is written more than about four
/// times for that.
const DEAD_SHARE: u64 = 4;
/// So many neighbours may fill a file, which then goes whole.
const WHOLE_FILES_FROM: u64 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn file(first: u8, last: u8, bytes: u64) -> Window {
        Window { first: vec![first], last: vec![last], bytes, rows: bytes }
    }

    #[test]
    fn windows_hold_neighbours_and_are_bounded() {
        let files = vec![file(4, 6, 40), file(1, 3, 50), file(7, 9, 30), file(2, 5, 5), file(10, 12, 200)];
        assert_eq!(join(files, 100), [file(1, 6, 95), file(7, 9, 30), file(10, 12, 200)]);
        assert!(join(Vec::new(), 100).is_empty());
    }
}

//! Importing history from elsewhere: JSON lines become records with an order and an occurrence, so that the same file twice
//! adds nothing and real repetitions are kept.

use crate::command::{Answer, Command};
use crate::handle::{NodeError, NodeHandle};
use serde::Deserialize;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};
use tidings_protocol::content::Imported;
use tidings_protocol::id::RoomId;
use tidings_protocol::limits::{IMPORT_LABEL_LEN_MAX, PAYLOAD_LEN_MAX};

/// One line of the file.
#[derive(Debug, Deserialize)]
struct Line {
    ts: u64,
    author: String,
    text: String,
}

/// An import under way.
pub struct Import {
    node: NodeHandle,
    room: RoomId,
    line: u64,
    records: Records,
    batch: Vec<Imported>,
    /// Records given to the writer, and its answer: the next are read meanwhile.
    writing: Option<(u64, Answer<usize>)>,
    done: Done,
    synced: Instant,
    began: Instant,
}

/// What an import has done so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Done {
    /// New here.
    pub imported: u64,
    /// Were here before.
    pub known: u64,
    /// Did not read.
    pub rejected: u64,
    /// The first of those.
    pub errors: Vec<String>,
}

impl Import {
    /// An import into a room of records that come from `source`.
    ///
    /// # Errors
    /// `NodeError::NotFound`.
    pub fn begin(node: NodeHandle, room: &str, source: &str) -> Result<Self, NodeError> {
        let (room, _) = node.room_view(room)?;
        Ok(Import {
            node,
            room,
            line: 0,
            records: Records::of(source),
            batch: Vec::with_capacity(BATCH_RECORDS),
            writing: None,
            done: Done::default(),
            synced: Instant::now(),
            began: Instant::now(),
        })
    }

    /// Takes the next line; returns how many records are on disk, when that is news.
    ///
    /// # Errors
    /// `NodeError::Refused`: nothing more can be imported.
    pub async fn line(&mut self, line: &[u8]) -> Result<Option<u64>, NodeError> {
        self.line += 1;
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(None);
        }
        match self.records.read(line) {
            Ok(record) => self.batch.push(record),
            Err(why) => {
                self.done.rejected += 1;
                if self.done.errors.len() < ERRORS_SHOWN {
                    self.done.errors.push(format!("line {}: {why}", self.line));
                }
            }
        }
        if self.batch.len() < BATCH_RECORDS {
            return Ok(None);
        }
        self.flush().await?;
        if self.synced.elapsed() < SYNC_EVERY {
            return Ok(None);
        }
        self.sync().await.map(Some)
    }

    /// Ends the import: everything is on disk.
    ///
    /// # Errors
    /// As `line`.
    pub async fn end(mut self) -> Result<(Done, f64), NodeError> {
        self.flush().await?;
        self.sync().await?;
        Ok((self.done, self.began.elapsed().as_secs_f64()))
    }

    async fn flush(&mut self) -> Result<(), NodeError> {
        let records = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH_RECORDS));
        let count = records.len() as u64;
        if count == 0 {
            return Ok(());
        }
        self.written().await?;
        self.node.budget_for_import().await?;
        let room = self.room;
        self.writing = Some((count, self.node.order(|reply| Command::Import { room, records, reply }).await?));
        Ok(())
    }

    /// Waits for what the writer was given.
    async fn written(&mut self) -> Result<(), NodeError> {
        if let Some((count, answer)) = self.writing.take() {
            let new = answer.await.map_err(|_| NodeError::Stopping)?? as u64;
            self.done.imported += new;
            self.done.known += count - new;
        }
        Ok(())
    }

    async fn sync(&mut self) -> Result<u64, NodeError> {
        self.written().await?;
        self.node.write(Command::Sync).await?;
        self.synced = Instant::now();
        Ok(self.done.imported + self.done.known)
    }
}

/// Reads lines as records, and tells those apart that are alike.
pub struct Records {
    source: String,
    so_far: SoFar,
}

impl Records {
    /// Records that come from `source`, of which none was read yet.
    pub fn of(source: &str) -> Self {
        let source = source[..source.floor_char_boundary(IMPORT_LABEL_LEN_MAX)].to_owned();
        Records { source, so_far: SoFar::default() }
    }

    /// Reads the next line, as any bytes may be one.
    ///
    /// # Errors
    /// Why it is no record.
    pub fn read(&mut self, line: &[u8]) -> Result<Imported, String> {
        if line.len() > LINE_LEN_MAX {
            return Err(format!("longer than {LINE_LEN_MAX} bytes"));
        }
        if line.trim_ascii_start().first() != Some(&b'{') {
            return Err(format!("not a record like {EXAMPLE}"));
        }
        let line: Line = serde_json::from_slice(line).map_err(|error| {
            let text = error.to_string();
            let why = text.split(" at line ").next().unwrap_or_default();
            format!("not a record like {EXAMPLE} ({why}, at byte {})", error.column())
        })?;
        if line.author.len() > IMPORT_LABEL_LEN_MAX {
            return Err(format!("the author's name has more than {IMPORT_LABEL_LEN_MAX} bytes"));
        }
        if line.text.len() + line.author.len() + self.source.len() + RECORD_OVERHEAD > PAYLOAD_LEN_MAX {
            return Err(format!("the text has more than {} bytes", PAYLOAD_LEN_MAX - 2 * IMPORT_LABEL_LEN_MAX));
        }
        let mut hasher = DefaultHasher::new();
        (&line.author, line.ts, &line.text).hash(&mut hasher);
        let (order, occurrence) = self.so_far.count(line.ts, hasher.finish());
        let (source, author, text) = (self.source.clone(), line.author, line.text);
        Ok(Imported { source, author, ms: line.ts, order, occurrence, text })
    }
}

/// The records so far, to tell each one's order within its millisecond, and which it is of those with the same author, time
/// and text: exactly, however far apart they come, in 16 bytes a record.
#[derive(Default)]
struct SoFar {
    /// Of the newest records: how many of each millisecond, and of each hash, with those before them.
    of_ms: HashMap<u64, u32>,
    same: HashMap<u64, u32>,
    newest: Vec<(u64, u64)>,
    /// Milliseconds and hashes of those before, sorted, part by part.
    older: Vec<Box<[(u64, u64)]>>,
    /// The latest millisecond of these.
    latest: u64,
}

impl SoFar {
    /// Counts a record by its millisecond, and a hash of its author, time and text.
    fn count(&mut self, ms: u64, hash: u64) -> (u32, u32) {
        let Self { of_ms, same, newest, older, latest } = self;
        // A log is nearly in order: as a rule none of these is as new.
        let parts = || older.iter().filter(|_| ms <= *latest);
        let of_ms = of_ms.entry(ms).or_insert_with(|| {
            sum(parts()
                .map(|part| part.partition_point(|other| other.0 <= ms) - part.partition_point(|other| other.0 < ms)))
        });
        let same = same.entry(hash).or_insert_with(|| {
            let record = (ms, hash);
            sum(parts().map(|part| {
                part.partition_point(|other| *other <= record) - part.partition_point(|other| *other < record)
            }))
        });
        let counted = (count(of_ms), count(same));
        newest.push((ms, hash));
        if newest.len() >= NEWEST_RECORDS {
            self.set_aside();
        }
        counted
    }

    fn set_aside(&mut self) {
        let mut part = std::mem::take(&mut self.newest);
        part.sort_unstable();
        self.latest = self.latest.max(part.last().map_or(0, |(ms, _)| *ms));
        self.older.push(part.into());
        self.of_ms.clear();
        self.same.clear();
    }
}

fn sum(counts: impl Iterator<Item = usize>) -> u32 {
    u32::try_from(counts.sum::<usize>()).unwrap_or(u32::MAX)
}

fn count(so_far: &mut u32) -> u32 {
    let n = *so_far;
    *so_far = n.saturating_add(1);
    n
}

const EXAMPLE: &str = r#"{"ts": 1507466702000, "author": "ada", "text": "hello"}"#;
/// A line that is longer is no record; no more than this and one byte of it is needed to say so.
pub const LINE_LEN_MAX: usize = 256 * 1024;
/// Records in one batch.
const BATCH_RECORDS: usize = 2048;
/// Records that are counted by hash tables; those before lie sorted.
const NEWEST_RECORDS: usize = 16_384;
/// Lines that did not read of which one is told.
const ERRORS_SHOWN: usize = 10;
const SYNC_EVERY: Duration = Duration::from_millis(100);
/// What a record's payload has beside its texts.
const RECORD_OVERHEAD: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_repeats_is_counted_however_far_apart() {
        // Nearly in order; every seventh goes back to the beginning, where many share a millisecond.
        let records = (0..5 * NEWEST_RECORDS as u64).map(|n| match n % 7 {
            0 => (n % 11, n % 5),
            _ => (n / 2, n % 3),
        });
        let (mut so_far, mut of_ms, mut same) = (SoFar::default(), HashMap::new(), HashMap::new());
        for (ms, text) in records {
            let wanted = (count(of_ms.entry(ms).or_default()), count(same.entry((ms, text)).or_default()));
            assert_eq!(so_far.count(ms, ms << 8 | text), wanted);
            assert!(so_far.of_ms.len().max(so_far.same.len()) <= NEWEST_RECORDS);
        }
        assert_eq!(so_far.older.len(), 5);
    }

    proptest! {
        #[test]
        fn any_times_are_counted(records in proptest::collection::vec((any::<u64>(), 0..4u64), 0..64)) {
            let (mut so_far, mut of_ms, mut same) = (SoFar::default(), HashMap::new(), HashMap::new());
            for (ms, text) in records {
                let ms = if ms % 3 == 0 { u64::MAX - ms % 2 } else { ms % 5 };
                let wanted = (count(of_ms.entry(ms).or_default()), count(same.entry((ms, text)).or_default()));
                let hash = ms.wrapping_mul(31) ^ text;
                prop_assert_eq!(so_far.count(ms, hash), wanted);
                so_far.set_aside();
            }
        }
    }
}

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
    source: String,
    line: u64,
    so_far: SoFar,
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
        let source = source[..source.floor_char_boundary(IMPORT_LABEL_LEN_MAX)].to_owned();
        Ok(Import {
            node,
            room,
            source,
            line: 0,
            so_far: SoFar::default(),
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
        match self.record(line) {
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

    fn record(&mut self, line: &[u8]) -> Result<Imported, String> {
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

/// The records of the milliseconds that came last. One that so many others have followed is forgotten: a log is nearly in
/// order, and what comes again so much later is the same record, brought twice.
#[derive(Default)]
struct SoFar {
    young: HashMap<u64, Records>,
    old: HashMap<u64, Records>,
}

/// The records of one millisecond: how many, and how many with the same author and text, by a hash of those.
#[derive(Default)]
struct Records {
    count: u32,
    same: HashMap<u64, u32>,
}

impl SoFar {
    /// Counts a record: its order within its millisecond, and which of those that are the same it is.
    fn count(&mut self, ms: u64, hash: u64) -> (u32, u32) {
        if !self.young.contains_key(&ms) {
            let before = self.old.remove(&ms).unwrap_or_default();
            if self.young.len() >= REMEMBERED {
                self.old = std::mem::take(&mut self.young);
            }
            self.young.insert(ms, before);
        }
        let records = self.young.entry(ms).or_default();
        (count(&mut records.count), count(records.same.entry(hash).or_default()))
    }
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
/// Milliseconds whose records are remembered: at least so many, at most twice.
const REMEMBERED: usize = 8192;
/// Lines that did not read of which one is told.
const ERRORS_SHOWN: usize = 10;
const SYNC_EVERY: Duration = Duration::from_millis(100);
/// What a record's payload has beside its texts.
const RECORD_OVERHEAD: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_repeats_is_counted_and_long_after_it_is_the_same_record() {
        let mut so_far = SoFar::default();
        assert_eq!([so_far.count(5, 1), so_far.count(5, 2), so_far.count(5, 1)], [(0, 0), (1, 0), (2, 1)]);
        for ms in 0..REMEMBERED as u64 {
            so_far.count(100 + ms, 1);
        }
        assert_eq!(so_far.count(5, 1), (3, 2), "it is remembered for as many, in any order");
        for ms in 0..3 * REMEMBERED as u64 {
            assert_eq!(so_far.count(1_000_000 + ms, 1), (0, 0));
            assert!(so_far.young.len() + so_far.old.len() <= 2 * REMEMBERED);
        }
        assert_eq!(so_far.count(5, 1), (0, 0));
        // Where all is said at once nothing is forgotten.
        for n in 0..3 * REMEMBERED as u64 {
            so_far.count(7, n);
        }
        assert_eq!(so_far.count(7, 0).1, 1);
    }
}

//! What the machine itself allows, measured beside the figures: the least that any store with hashes has to do.

use crate::Result;
use crate::data::Data;
use rocksdb::{DB, Options, WriteBatch, WriteOptions};
use std::path::Path;
use std::time::{Duration, Instant};

/// Messages a second of a bare loop: hash each message, put it into a batch under its hash, sync every 100 ms or 8 MiB.
pub fn hash_and_write(data: &Data, folder: &Path) -> Result<f64> {
    let db = open(folder)?;
    let began = Instant::now();
    let (mut batch, mut synced, mut unsynced) = (WriteBatch::default(), Instant::now(), 0);
    for record in &data.records {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&record.ts.to_le_bytes());
        hasher.update(record.author.as_bytes());
        hasher.update(record.text.as_bytes());
        batch.put(hasher.finalize().as_bytes(), record.text.as_bytes());
        if batch.len() == BATCH_RECORDS {
            unsynced += batch.size_in_bytes();
            db.write(std::mem::take(&mut batch))?;
            if unsynced >= SYNC_BYTES || synced.elapsed() >= SYNC_EVERY {
                db.flush_wal(true)?;
                (synced, unsynced) = (Instant::now(), 0);
            }
        }
    }
    db.write(batch)?;
    db.flush_wal(true)?;
    Ok(data.records.len() as f64 / began.elapsed().as_secs_f64())
}

/// Milliseconds that two writes of a message take, each synced before the next, one a store: the least that a message can
/// take to be on two disks. One every `every`, as long as it takes `count`.
pub fn two_syncs(folder: &Path, count: u32, every: Duration) -> Result<Vec<f64>> {
    let stores = [open(&folder.join("one"))?, open(&folder.join("two"))?];
    let mut sync = WriteOptions::default();
    sync.set_sync(true);
    let (mut out, began) = (Vec::new(), Instant::now());
    for n in 0..count {
        std::thread::sleep((every * n).saturating_sub(began.elapsed()));
        let due = began + every * n;
        for store in &stores {
            let mut batch = WriteBatch::default();
            batch.put(n.to_be_bytes(), [7; MESSAGE_LEN]);
            store.write_opt(batch, &sync)?;
        }
        // From when it was due: a store that falls behind makes those after it wait, as it would a sender.
        out.push(due.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(out)
}

fn open(folder: &Path) -> Result<DB> {
    std::fs::create_dir_all(folder)?;
    let mut options = Options::default();
    options.create_if_missing(true);
    Ok(DB::open(&options, folder)?)
}

const BATCH_RECORDS: usize = 1_000;
const SYNC_BYTES: usize = 8 * 1024 * 1024;
const SYNC_EVERY: Duration = Duration::from_millis(100);
/// What a short message takes in a store with its indexes, about.
const MESSAGE_LEN: usize = 300;

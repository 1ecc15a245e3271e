//! What RocksDB and the disk allow without anything of ours: `make measure` runs it beside the figures.
//!
//! bare loop FOLDER < RECORDS           messages a second of a loop that hashes each record and writes it
//! bare syncs FOLDER COUNT EVERY_MS     milliseconds of each of so many pairs of synced writes, a line each
//!
//! RECORDS are pairs of what is hashed and what is written, each a length (u32, little endian) and so many bytes.

use rocksdb::{DB, Options, WriteBatch, WriteOptions};
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["loop", folder] => {
            let mut input = Vec::new();
            std::io::stdin().lock().read_to_end(&mut input)?;
            println!("{}", hash_and_write(&records(&input)?, Path::new(folder))?);
        }
        ["syncs", folder, count, every] => {
            for ms in two_syncs(Path::new(folder), count.parse()?, Duration::from_millis(every.parse()?))? {
                println!("{ms}");
            }
        }
        _ => return Err("say \"loop FOLDER\" or \"syncs FOLDER COUNT EVERY_MS\"".into()),
    }
    Ok(())
}

fn records(mut input: &[u8]) -> Result<Vec<(&[u8], &[u8])>> {
    let mut out = Vec::new();
    while !input.is_empty() {
        out.push((take(&mut input)?, take(&mut input)?));
    }
    Ok(out)
}

fn take<'a>(input: &mut &'a [u8]) -> Result<&'a [u8]> {
    let (len, rest) = input.split_first_chunk().ok_or("a record ends too early")?;
    let (bytes, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize).ok_or("a record ends too early")?;
    *input = rest;
    Ok(bytes)
}

/// Messages a second: hash each message, put it into a batch under its hash, sync every 100 ms or 8 MiB.
fn hash_and_write(records: &[(&[u8], &[u8])], folder: &Path) -> Result<f64> {
    let db = open(folder)?;
    let began = Instant::now();
    let (mut batch, mut synced, mut unsynced) = (WriteBatch::default(), Instant::now(), 0);
    for (hashed, written) in records {
        batch.put(blake3::hash(hashed).as_bytes(), written);
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
    Ok(records.len() as f64 / began.elapsed().as_secs_f64())
}

/// Milliseconds that two writes of a message take, each synced before the next, one a store: the least that a message can
/// take to be on two disks. One every `every`, as long as it takes `count`.
fn two_syncs(folder: &Path, count: u32, every: Duration) -> Result<Vec<f64>> {
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

//! Opening a store, and the reads that all others are made of. One process has it open; any thread may read.

use crate::batch::{Durability, Writer};
use crate::error::{Damage, StorageError};
use crate::kept::Remembered;
use crate::key::{self, LogNumber, RoomNumber};
use crate::mark::Mark;
use crate::migrate;
use crate::moment::Moment;
use crate::schema::{Family, SCHEMA, Sizes, database_options, families};
use crate::tables;
use rocksdb::{ColumnFamily, DB, DBPinnableSlice, Direction, IteratorMode, ReadOptions, WriteBufferManager};
use std::collections::{BTreeSet, HashMap};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tidings_protocol::codec::{Canonical, decode};
use tidings_protocol::log::Log;

/// An open store. Cloning shares it.
#[derive(Clone)]
pub struct Store {
    db: Arc<DB>,
    path: PathBuf,
    logs: Arc<RwLock<KnownLogs>>,
    /// What cuts left of logs, as last found.
    kept: Arc<Mutex<HashMap<LogNumber, Remembered>>>,
    /// How often names were written in a room, since the store was opened.
    profile_changes: Arc<RwLock<HashMap<RoomNumber, u64>>>,
    /// Whether words that were purged may come back.
    wants_again: Arc<AtomicBool>,
    /// Something was deleted that is to go from the files: true at the start, as an earlier run may have left it.
    shreds: Arc<AtomicBool>,
    /// Rows read since it was opened.
    rows_read: Arc<AtomicU64>,
    /// All memtables.
    buffers: WriteBufferManager,
    /// As which moment this sees the store; `None` sees it as it is.
    moment: Option<Arc<Moment>>,
    is_read_only: bool,
    /// Something was read that is damaged.
    is_damaged: Arc<AtomicBool>,
    /// Rows that had been on disk when it was opened, and are not there.
    lost_rows: u64,
    /// The schema that it had before it was opened, where it was another.
    migrated: Option<u32>,
}

type KnownLogs = HashMap<LogNumber, (RoomNumber, Log)>;

impl Store {
    /// Opens the store in this folder, or makes one, and returns it with its only writer.
    ///
    /// # Errors
    /// `Held` while another process has it, `NewerSchema`, `DiskFull`, `Rocks`.
    pub fn open(path: &Path) -> Result<(Store, Writer), StorageError> {
        Store::open_within(path, None)
    }

    /// The same for a node with a disk budget: what RocksDB writes beside the rows is a small part of it.
    ///
    /// # Errors
    /// As `open`.
    pub fn open_within(path: &Path, budget: Option<u64>) -> Result<(Store, Writer), StorageError> {
        Store::open_migrating(path, budget, &[], &mut |_| {})
    }

    /// The same, where a store of an older schema may be met: that it is brought to this one `tell` hears before, with the
    /// schema that it has. As it was it stays beside it, without these notes: what is true of this store alone.
    ///
    /// # Errors
    /// As `open`; `Io`.
    pub fn open_migrating(
        path: &Path,
        budget: Option<u64>,
        but_notes: &[&str],
        tell: &mut dyn FnMut(u32),
    ) -> Result<(Store, Writer), StorageError> {
        // RocksDB would begin anew there, and take away what it does not know.
        if !path.join(CURRENT).exists() && tables::are_in(path) {
            return Err(Damage::Missing("the file CURRENT of the store").into());
        }
        let sizes = Sizes::within(budget);
        let buffers = sizes.write_buffers();
        let db = DB::open_cf_descriptors(&database_options(&sizes, &buffers)?, path, families(&sizes))
            .map_err(|error| newer_schema(path, &error).unwrap_or_else(|| error.into()))?;
        tables::check(&db, path)?;
        let mut store = Store::of(db, path, buffers, false);
        store.lost_rows = Mark::read(path).map_or(0, |mark| mark.saturating_sub(store.db.latest_sequence_number()));
        let found = store.find(Family::Meta, key::META_SCHEMA)?.map(|bytes| check_schema(&bytes)).transpose()?;
        if found.is_none() {
            let mut sync = rocksdb::WriteOptions::default();
            sync.set_sync(true);
            store.db.put_cf_opt(store.family(Family::Meta)?, key::META_SCHEMA, SCHEMA.to_be_bytes(), &sync)?;
        }
        store.migrated = migrate::migrate(&mut Writer::new(store.clone())?, found.unwrap_or(SCHEMA), but_notes, tell)?;
        store.wants_again.store(store.find_wanted_again()?, Ordering::Relaxed);
        let writer = Writer::new(store.clone())?;
        Ok((store, writer))
    }

    /// Opens the store in this folder to read it: not a byte of it changes, and what is damaged keeps nothing else from being
    /// read. Nobody else must have it open.
    ///
    /// # Errors
    /// `Held` while another process has it, `NewerSchema`, `Rocks`: there is none, or so much of it is damaged.
    pub fn open_read_only(path: &Path) -> Result<Store, StorageError> {
        if Store::holder(path).is_some() {
            return Err(StorageError::Held);
        }
        let sizes = Sizes::within(None);
        let buffers = sizes.write_buffers();
        let mut options = database_options(&sizes, &buffers)?;
        options.create_if_missing(false);
        options.create_missing_column_families(false);
        options.set_paranoid_checks(false);
        let db = DB::open_cf_descriptors_read_only(&options, path, families(&sizes), false)
            .map_err(|error| newer_schema(path, &error).unwrap_or_else(|| error.into()))?;
        let mut store = Store::of(db, path, buffers, true);
        store.lost_rows = Mark::read(path).map_or(0, |mark| mark.saturating_sub(store.db.latest_sequence_number()));
        // Where that row is damaged the others say of which schema they are.
        if let Ok(Some(bytes)) = store.find(Family::Meta, key::META_SCHEMA) {
            check_schema(&bytes)?;
        }
        Ok(store)
    }

    fn of(db: DB, path: &Path, buffers: WriteBufferManager, is_read_only: bool) -> Store {
        Store {
            db: Arc::new(db),
            path: path.to_owned(),
            logs: Arc::default(),
            kept: Arc::default(),
            profile_changes: Arc::default(),
            wants_again: Arc::default(),
            shreds: Arc::new(AtomicBool::new(true)),
            rows_read: Arc::default(),
            buffers,
            moment: None,
            is_read_only,
            is_damaged: Arc::default(),
            lost_rows: 0,
            migrated: None,
        }
    }

    /// Rows that had been on disk when it was opened, and are not there any more: the write-ahead log is damaged, or was cut.
    pub fn lost_rows(&self) -> u64 {
        self.lost_rows
    }

    /// The schema from which it was brought to this one when it was opened.
    pub fn migrated(&self) -> Option<u32> {
        self.migrated
    }

    /// Whether something was found damaged in the store in this folder, by whoever had it open last.
    pub fn is_known_damaged(path: &Path) -> bool {
        path.join(DAMAGED).exists()
    }

    /// What was read or written, or why not: where that is damage, the next who opens the store is told.
    pub(crate) fn noted<T>(&self, done: Result<T, StorageError>) -> Result<T, StorageError> {
        if let Err(error) = &done
            && error.is_damage()
            && !self.is_read_only
        {
            self.note_damaged(&error.to_string());
        }
        done
    }

    /// Tells the next who opens the store that it is damaged, and why. On a full disk, or one that can only be read, it is not
    /// told; it is tried again at the next.
    pub fn note_damaged(&self, why: &str) {
        if !self.is_damaged.load(Ordering::Relaxed) && std::fs::write(self.path.join(DAMAGED), why).is_ok() {
            self.is_damaged.store(true, Ordering::Relaxed);
        }
    }

    /// The store as it is now: what is written later is not in it.
    #[must_use]
    pub fn at_this_moment(&self) -> Store {
        let moment = Some(Moment::now(self.db.clone()));
        Store { moment, kept: Arc::default(), ..self.clone() }
    }

    /// The process that has the store in this folder open, where the system tells (Linux does).
    pub fn holder(path: &Path) -> Option<u32> {
        let lock = path.join("LOCK");
        let inode = format!(":{}", std::fs::metadata(&lock).ok()?.ino());
        let locks = std::fs::read_to_string("/proc/locks").ok()?;
        // `1: POSIX  ADVISORY  WRITE 4711 fd:01:1234 0 EOF`. Other disks have the same inodes: ask the process itself.
        let pids = locks.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let pids = pids.filter(|parts| parts.get(5).is_some_and(|place| place.ends_with(&inode)));
        let pids = pids.filter_map(|parts| parts.get(4)?.parse::<u32>().ok());
        let lock = lock.canonicalize().ok()?;
        pids.into_iter().find(|pid| {
            let open = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
            open.into_iter().any(|file| std::fs::read_link(file.path()).is_ok_and(|to| to == lock))
        })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of everything in the store's folder, write-ahead log included, and of copies of it as it was.
    pub fn disk_bytes(&self) -> u64 {
        let files = std::fs::read_dir(&self.path).into_iter().flatten().flatten();
        // Blocks that are set aside count, too.
        let len = |m: std::fs::Metadata| m.len().max(m.blocks() * 512);
        files.filter_map(|f| f.metadata().ok()).filter(std::fs::Metadata::is_file).map(len).sum::<u64>()
            + self.copies_bytes()
    }

    /// Bytes of each family's table files and memtables, by its name.
    ///
    /// # Errors
    /// `Rocks`.
    pub fn family_bytes(&self) -> Result<Vec<(&'static str, u64)>, StorageError> {
        let mut out = Vec::new();
        for family in Family::ALL {
            let property = self.db.property_int_value_cf(self.family(family)?, "rocksdb.total-sst-files-size")?;
            out.push((family.name(), property.unwrap_or(0)));
        }
        Ok(out)
    }

    /// Flushes and compacts everything: for measuring, and before a copy.
    ///
    /// # Errors
    /// `DiskFull`, `Rocks`.
    pub fn compact(&self) -> Result<(), StorageError> {
        for family in Family::ALL {
            let family = self.family(family)?;
            self.db.flush_cf(family)?;
            let mut options = rocksdb::CompactOptions::default();
            options.set_bottommost_level_compaction(rocksdb::BottommostLevelCompaction::ForceOptimized);
            self.db.compact_range_cf_opt(family, None::<&[u8]>, None::<&[u8]>, &options);
        }
        Ok(())
    }

    /// Copies the store as it is now into a folder that is not there yet. Table files are linked where they can be, so on the
    /// same disk it takes little time and room. The copy has not these notes: what is true of this store alone.
    ///
    /// # Errors
    /// `DiskFull`, `Rocks`: what was copied so far is to be taken away.
    pub fn copy_to(&self, folder: &Path, but_notes: &[&str]) -> Result<(), StorageError> {
        rocksdb::checkpoint::Checkpoint::new(&self.db)?.create_checkpoint(folder)?;
        let (_, mut writer) = Store::open(folder)?;
        let mut batch = writer.begin();
        for name in but_notes {
            batch.drop_note(name)?;
        }
        batch.commit(Durability::Synced)
    }

    /// Grows with every name that is written in a room: what was made of its names is good as long as this is the same.
    pub fn profile_changes(&self, room: RoomNumber) -> u64 {
        self.profile_changes.read().unwrap_or_else(PoisonError::into_inner).get(&room).copied().unwrap_or(0)
    }

    pub(crate) fn count_profiles(&self, rooms: &BTreeSet<RoomNumber>) {
        if rooms.is_empty() {
            return;
        }
        let mut changes = self.profile_changes.write().unwrap_or_else(PoisonError::into_inner);
        for room in rooms {
            *changes.entry(*room).or_default() += 1;
        }
    }

    /// Rows read since the store was opened, found or not: what an answer costs, whatever the machine.
    pub fn rows_read(&self) -> u64 {
        self.rows_read.load(Ordering::Relaxed)
    }

    pub(crate) fn count_rows(&self, rows: usize) {
        self.rows_read.fetch_add(rows as u64, Ordering::Relaxed);
    }

    pub(crate) fn note_to_shred(&self) {
        self.shreds.store(true, Ordering::Relaxed);
    }

    pub(crate) fn shreds(&self) -> &AtomicBool {
        &self.shreds
    }

    pub(crate) fn wants_any_again(&self) -> bool {
        self.wants_again.load(Ordering::Relaxed)
    }

    pub(crate) fn note_wanted_again(&self) {
        self.wants_again.store(true, Ordering::Relaxed);
    }

    pub(crate) fn known_log(&self, number: LogNumber) -> Option<(RoomNumber, Log)> {
        self.logs.read().unwrap_or_else(PoisonError::into_inner).get(&number).copied()
    }

    pub(crate) fn remember_log(&self, number: LogNumber, log: (RoomNumber, Log)) {
        let mut logs = self.logs.write().unwrap_or_else(PoisonError::into_inner);
        if logs.len() >= KNOWN_LOGS_MAX {
            logs.clear();
        }
        logs.insert(number, log);
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.is_read_only
    }

    pub(crate) fn kept_logs(&self) -> &Mutex<HashMap<LogNumber, Remembered>> {
        &self.kept
    }

    pub(crate) fn buffers(&self) -> &WriteBufferManager {
        &self.buffers
    }

    pub(crate) fn db(&self) -> &DB {
        &self.db
    }

    pub(crate) fn family(&self, family: Family) -> Result<&ColumnFamily, StorageError> {
        self.db.cf_handle(family.name()).ok_or(StorageError::Damaged(Damage::Missing(family.name())))
    }

    pub(crate) fn read_options(&self) -> ReadOptions {
        let mut options = ReadOptions::default();
        if let Some(moment) = &self.moment {
            moment.see(&mut options);
        }
        options
    }

    pub(crate) fn find(&self, family: Family, key: &[u8]) -> Result<Option<DBPinnableSlice<'_>>, StorageError> {
        self.count_rows(1);
        let row = self.db.get_pinned_cf_opt(self.family(family)?, key, &self.read_options());
        self.noted(row.map_err(StorageError::from))
    }

    /// The rows of many keys, in their order: far cheaper than one by one.
    pub(crate) fn find_many<K: AsRef<[u8]>>(
        &self,
        family: Family,
        keys: &[K],
    ) -> Result<Vec<Option<DBPinnableSlice<'_>>>, StorageError> {
        self.count_rows(keys.len());
        let rows = self.db.batched_multi_get_cf_opt(self.family(family)?, keys, false, &self.read_options());
        rows.into_iter().map(|row| self.noted(row.map_err(StorageError::from))).collect()
    }

    /// A row that reads canonically.
    pub(crate) fn find_row<T: Canonical>(
        &self,
        family: Family,
        key: &[u8],
        what: &'static str,
    ) -> Result<Option<T>, StorageError> {
        let Some(bytes) = self.find(family, key)? else { return Ok(None) };
        let row = decode(&bytes, usize::MAX).map_err(|source| Damage::Row { what, source });
        self.noted(row.map(Some).map_err(StorageError::from))
    }

    /// Rows whose keys begin with `prefix`, ascending, from `from` on.
    pub(crate) fn scan<'s>(
        &'s self,
        family: Family,
        prefix: &[u8],
        from: &[u8],
    ) -> Result<impl Iterator<Item = Result<Row, StorageError>> + use<'s>, StorageError> {
        let mut options = self.read_options();
        options.set_total_order_seek(true);
        if let Some(end) = key::after_prefix(prefix) {
            options.set_iterate_upper_bound(end);
        }
        let mode = IteratorMode::From(from, Direction::Forward);
        let rows = self.db.iterator_cf_opt(self.family(family)?, options, mode);
        Ok(rows.inspect(|_| self.count_rows(1)).map(|row| self.noted(row.map_err(StorageError::from))))
    }

    /// Rows whose keys begin with `prefix`, descending, from `from` on.
    pub(crate) fn scan_back<'s>(
        &'s self,
        family: Family,
        prefix: &[u8],
        from: &[u8],
    ) -> Result<impl Iterator<Item = Result<Row, StorageError>> + use<'s>, StorageError> {
        let mut options = self.read_options();
        options.set_total_order_seek(true);
        options.set_iterate_lower_bound(prefix);
        let mode = IteratorMode::From(from, Direction::Reverse);
        let rows = self.db.iterator_cf_opt(self.family(family)?, options, mode);
        Ok(rows.inspect(|_| self.count_rows(1)).map(|row| self.noted(row.map_err(StorageError::from))))
    }

    /// A small record of the node's own.
    ///
    /// # Errors
    /// `Rocks`.
    pub fn note(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.find(Family::Meta, &key::note(name))?.map(|bytes| bytes.to_vec()))
    }

    /// What the names of small records go on with after `prefix`: the last by name first, at most so many.
    ///
    /// # Errors
    /// `Rocks`.
    pub fn notes_ending(&self, prefix: &str, max: usize) -> Result<Vec<String>, StorageError> {
        let begin = key::note(prefix);
        let Some(end) = key::after_prefix(&begin) else { return Ok(Vec::new()) };
        let mut names = Vec::new();
        for row in self.scan_back(Family::Meta, &begin, &end)?.take(max.saturating_add(1)) {
            let (key, _) = row?;
            // The first key after those may be there itself.
            if let Some(rest) = key.strip_prefix(begin.as_slice()).filter(|_| names.len() < max) {
                names.push(String::from_utf8_lossy(rest).into_owned());
            }
        }
        Ok(names)
    }
}

fn check_schema(bytes: &[u8]) -> Result<u32, StorageError> {
    match bytes.try_into().map(u32::from_be_bytes) {
        Err(_) => Err(Damage::Length("schema").into()),
        Ok(0) => Err(Damage::Missing("the number of the schema").into()),
        Ok(found) if found > SCHEMA => Err(StorageError::NewerSchema { found, known: SCHEMA }),
        Ok(found) => Ok(found),
    }
}

/// The plain reason where RocksDB does not open a store because it has families that this version does not know.
fn newer_schema(path: &Path, error: &rocksdb::Error) -> Option<StorageError> {
    if error.kind() != rocksdb::ErrorKind::InvalidArgument {
        return None;
    }
    let meta = Family::Meta.name();
    let db = DB::open_cf_for_read_only(&rocksdb::Options::default(), path, [meta], false).ok()?;
    let bytes = db.get_cf(db.cf_handle(meta)?, key::META_SCHEMA).ok()??;
    check_schema(&bytes).err()
}

/// Which of its files is RocksDB's list of all.
const CURRENT: &str = "CURRENT";
/// There where something was found damaged: what RocksDB said of it.
const DAMAGED: &str = "DAMAGED";
/// Logs whose numbers are kept in memory: 80 bytes each.
const KNOWN_LOGS_MAX: usize = 65_536;

pub(crate) type Row = (Box<[u8]>, Box<[u8]>);

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;

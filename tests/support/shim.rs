//! A library that is preloaded into a node under test (`shim.c`), and the numbers by which it tells what was under way when
//! the node died, and is told which syncs do nothing or fail, how wrong the clock is, and when it is
//! to die.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The library, built.
pub struct Shim {
    library: PathBuf,
}

impl Shim {
    /// `None` where there is no C compiler.
    pub fn build(folder: &Path) -> Option<Shim> {
        fs::create_dir_all(folder).unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/shim.c");
        let library = folder.join("shim.so");
        let built = Command::new("cc").args(["-shared", "-fPIC", "-O2", "-o"]).args([&library, &source]).status();
        built.is_ok_and(|status| status.success()).then_some(Shim { library })
    }

    /// Preloads it into what this command starts. The numbers begin at 0.
    pub fn preload(&self, command: &mut Command, numbers: &Path) -> Numbers {
        fs::write(numbers, [0; 8 * NUMBERS]).unwrap();
        command.env("LD_PRELOAD", &self.library).env("SHIM_NUMBERS", numbers);
        Numbers(OpenOptions::new().read(true).write(true).open(numbers).unwrap())
    }
}

/// The numbers of one process; it may be gone.
pub struct Numbers(File);

/// Of which more may have begun than ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// A write or a sync of the write-ahead log.
    Batch = 0,
    /// A table of what was in memory.
    Flush = 2,
    /// A table of other tables.
    Compaction = 4,
}

/// Whose sync fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Synced {
    Log = 1,
    Table,
    Manifest,
    /// A file that somebody sent, or the folder of those.
    Sent,
    /// Keys, folders, and what RocksDB keeps beside.
    Other,
}

impl Numbers {
    fn at(&self, which: usize) -> u64 {
        let mut bytes = [0; 8];
        self.0.read_exact_at(&mut bytes, 8 * which as u64).unwrap();
        u64::from_le_bytes(bytes)
    }

    fn set(&self, which: usize, number: u64) {
        self.0.write_all_at(&number.to_le_bytes(), 8 * which as u64).unwrap();
    }

    /// Whether it is under way, or was when the process died.
    pub fn is_inside(&self, work: Work) -> bool {
        self.at(work as usize) > self.at(work as usize + 1)
    }

    /// From now on no sync does anything.
    pub fn stop_syncs(&self) {
        self.set(NO_SYNC, 1);
    }

    /// After so many more syncs of such files one fails.
    pub fn fail_sync(&self, of: Synced, after: u64) {
        self.set(FAIL_AFTER, after);
        self.set(FAIL_KIND, of as u64);
    }

    /// The sync that failed is forgotten: another one may.
    pub fn fail_again(&self) {
        self.set(FAIL_KIND, 0);
        self.set(FAILED, 0);
    }

    /// Whether that sync came and failed.
    pub fn has_failed(&self) -> bool {
        self.at(FAILED) > 0
    }

    /// Syncs of such files after the one that failed.
    pub fn synced_after(&self) -> u64 {
        self.at(SYNCED_AFTER)
    }

    /// How often something was changed on the disk.
    pub fn changes(&self) -> u64 {
        self.at(CHANGES)
    }

    /// Kills the process before the change with this number, counted from 1.
    pub fn die_at(&self, change: u64) {
        self.set(DIE_AT, change);
    }

    /// Sets the clock this far from the true one.
    pub fn set_clock(&self, ahead_s: i64) {
        self.set(CLOCK_S, ahead_s.cast_unsigned());
    }
}

const NO_SYNC: usize = 7;
const FAIL_KIND: usize = 8;
const FAIL_AFTER: usize = 9;
const FAILED: usize = 10;
const SYNCED_AFTER: usize = 11;
const CLOCK_S: usize = 12;
const CHANGES: usize = 13;
const DIE_AT: usize = 14;
/// As many as `shim.c` has.
const NUMBERS: usize = 15;

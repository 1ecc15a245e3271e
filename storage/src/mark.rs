//! How far everything was on disk when it last was, in a file of 16 bytes beside the database. RocksDB leaves out, without a
//! word, whatever stands behind the first record of its write-ahead log that it cannot read: after opening, what it has is
//! compared with this.
//!
//! The file is written after each sync of the log and never synced itself, so it costs nothing and is never ahead of the log: a
//! power cut may leave an older one, which says less.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Where it is written; nothing where it could not be made.
pub(crate) struct Mark(Option<File>);

impl Mark {
    /// The mark of the store in this folder.
    pub(crate) fn of(folder: &Path) -> Self {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        Mark(options.open(folder.join(NAME)).ok())
    }

    /// The number of the last row that was on disk; nothing where there is no mark, or one that does not read.
    pub(crate) fn read(folder: &Path) -> Option<u64> {
        let mut bytes = [0; 16];
        File::open(folder.join(NAME)).and_then(|file| file.read_exact_at(&mut bytes, 0)).ok()?;
        let (number, inverted) = bytes.split_first_chunk::<8>()?;
        let (number, inverted) = (u64::from_be_bytes(*number), u64::from_be_bytes(inverted.try_into().ok()?));
        (number == !inverted).then_some(number)
    }

    /// Everything up to this row is on disk.
    pub(crate) fn set(&self, number: u64) {
        if let Some(file) = &self.0 {
            let bytes = (u128::from(number) << 64 | u128::from(!number)).to_be_bytes();
            // Without it less is known after a crash, and nothing is lost.
            drop(file.write_all_at(&bytes, 0));
        }
    }
}

/// RocksDB leaves files alone whose names it does not know.
const NAME: &str = "MARK";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_set_and_a_damaged_one_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Mark::read(folder.path()), None);
        let mark = Mark::of(folder.path());
        assert_eq!(Mark::read(folder.path()), None);
        for number in [0, 7, u64::MAX] {
            mark.set(number);
            assert_eq!(Mark::read(folder.path()), Some(number));
        }
        for byte in 0..16 {
            mark.set(7);
            let mut bytes = std::fs::read(folder.path().join(NAME)).unwrap();
            bytes[byte] ^= 1;
            std::fs::write(folder.path().join(NAME), bytes).unwrap();
            assert_eq!(Mark::read(folder.path()), None);
        }
    }
}

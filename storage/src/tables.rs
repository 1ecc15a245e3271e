//! The table files of a store, as they lie in its folder.

use crate::error::{Damage, StorageError};
use rocksdb::DB;
use std::path::Path;

/// Whether files of a database lie in a folder.
pub(crate) fn are_in(path: &Path) -> bool {
    let names = std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let is_of_database = |name: &str| name.starts_with("MANIFEST-") || name.ends_with(".sst") || name.ends_with(".log");
    names.filter_map(|name| name.into_string().ok()).any(|name| is_of_database(&name))
}

/// Whether each table is as long as it was when it was written. RocksDB opens the first few of them, and looks at the others
/// when it reads them.
///
/// # Errors
/// `Damaged`, `Rocks`.
pub(crate) fn check(db: &DB, path: &Path) -> Result<(), StorageError> {
    for file in db.live_files()? {
        let len = std::fs::metadata(path.join(file.name.trim_start_matches('/'))).map(|found| found.len());
        if !len.is_ok_and(|len| len == file.size as u64) {
            return Err(Damage::Length("a table").into());
        }
    }
    Ok(())
}

//! What can go wrong with the store, each with what to do about it. Never what a peer did wrong.

use std::path::PathBuf;
use thiserror::Error;
use tidings_protocol::codec::CodecError;
use tidings_protocol::log::LogError;

/// Why the store could not do it.
#[derive(Debug, Error)]
pub enum StorageError {
    /// Another process has the store open.
    #[error("the store is in use by another process")]
    Held,
    /// Written by a later version.
    #[error("the store has schema {found}, this program knows up to {known}: use the newer tidings")]
    NewerSchema {
        /// The store's schema.
        found: u32,
        /// The newest that this program reads.
        known: u32,
    },
    /// The disk has no room left.
    #[error("the disk is full: free some space and start tidings again")]
    DiskFull(#[source] rocksdb::Error),
    /// Reading or writing failed. After a failed sync the process must end: what the kernel kept is unknown.
    #[error("the store failed: {0}")]
    Rocks(#[source] rocksdb::Error),
    /// A folder beside the store cannot be written or taken away.
    #[error("{}: {source}: see to it, and start tidings again", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A record does not read.
    #[error("a record of the store is damaged: {0}")]
    Damaged(#[from] Damage),
    /// A log takes no more branches.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Which record does not read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Damage {
    /// A row is missing that another row names.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A row's bytes are not of its form.
    #[error("{what}: {source}")]
    Row {
        /// Which kind of row.
        what: &'static str,
        /// Why not.
        source: CodecError,
    },
    /// A key or a number has the wrong length.
    #[error("{0} has a wrong length")]
    Length(&'static str),
}

impl StorageError {
    /// Whether bytes on disk are not what was written there, or not there at all: reading or writing again would not help.
    pub fn is_damage(&self) -> bool {
        match self {
            StorageError::Damaged(_) => true,
            StorageError::Rocks(error) => {
                // A file that is not there is one that RocksDB names.
                let is_missing = || error.as_ref().contains("No such file or directory");
                error.kind() == rocksdb::ErrorKind::Corruption || is_missing()
            }
            _ => false,
        }
    }
}

impl From<rocksdb::Error> for StorageError {
    fn from(error: rocksdb::Error) -> Self {
        let text = error.as_ref();
        if text.contains("No space left on device") {
            StorageError::DiskFull(error)
        } else if text.contains("lock hold by current process")
            || text.contains("/LOCK: Resource temporarily unavailable")
        {
            StorageError::Held
        } else {
            StorageError::Rocks(error)
        }
    }
}

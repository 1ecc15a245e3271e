//! The writer without its loop: a simulated world says when it acts, and when what it wrote is put on disk.

use super::WriteLoop;
use crate::command::Command;
use std::time::Duration;
use tidings_storage::StorageError;

impl WriteLoop {
    /// What is done before the first command. From here on nothing is synced by itself.
    pub(crate) fn begin_by_hand(&mut self) -> Result<(), StorageError> {
        self.sync_every = Duration::MAX;
        self.all_erasures()
    }

    /// One round of the loop.
    pub(crate) fn round_by_hand(&mut self, command: Command) -> Result<(), StorageError> {
        self.round(command).map(drop)
    }

    /// Puts everything committed on disk, and tells of it.
    pub(crate) fn sync_by_hand(&mut self) -> Result<(), StorageError> {
        self.sync()
    }

    /// Whether everything committed is on disk.
    pub(crate) fn is_synced(&self) -> bool {
        self.unsynced.since.is_none()
    }
}

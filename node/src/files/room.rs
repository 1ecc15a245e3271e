//! Making room: files of others that were not used for longest go when a new one needs their place, and files that nothing
//! names any more go at once.

use super::{FETCHES_MAX, FileError, Files, NAMING_LOOKED_AT, ROOMS_LOOKED_AT, lock};
use crate::handle::{NodeError, NodeHandle};
use crate::sync::Manager;
use std::sync::PoisonError;
use tidings_protocol::id::FileHash;
use tidings_storage::StorageError;
use tidings_storage::blobs::{BlobError, Found};
use tokio::sync::broadcast::error::RecvError;

/// Takes away files that nothing names any more: on start, and whenever messages were erased.
pub(crate) async fn sweep_always(node: NodeHandle) {
    let mut stored = node.manager.stored.subscribe();
    drop(node.sweep_files().await);
    loop {
        match stored.recv().await {
            Ok(news) if news.changed.is_empty() => {}
            Ok(_) | Err(RecvError::Lagged(_)) => drop(node.sweep_files().await),
            Err(RecvError::Closed) => return,
        }
    }
}

impl NodeHandle {
    /// Takes away files that no event names; whether none is left that anybody else knows of: one is
    /// while it is fetched.
    ///
    /// # Errors
    /// `NodeError::Stopping`, and what the disk says; that is logged.
    pub(crate) async fn sweep_files(&self) -> Result<bool, NodeError> {
        let manager = self.manager.clone();
        let swept = tokio::task::spawn_blocking(move || sweep(&manager)).await.map_err(|_| NodeError::Stopping)?;
        swept.map_err(|error| {
            tracing::error!(%error, "files that nothing names could not be taken away: the next start tries again");
            NodeError::from(FileError::from(error))
        })
    }
}

fn sweep(manager: &Manager) -> Result<bool, BlobError> {
    let files = &manager.files;
    let _no_other_comes_in = files.sweeping.lock().unwrap_or_else(PoisonError::into_inner);
    let mut is_all = true;
    for found in files.blobs.list()? {
        match manager.store.names_file(found.hash) {
            Ok(true) => {}
            Ok(false) if !files.is_busy(found.hash) => drop(files.blobs.remove(found.hash)?),
            // What the user just took in to send is nobody else's.
            Ok(false) => is_all &= !is_coming(files, found.hash),
            // A store that cannot be read says nothing: the file stays.
            Err(_) => is_all = false,
        }
    }
    Ok(is_all)
}

/// Makes room for a file of others.
///
/// # Errors
/// `FileError::OverQuota` where it can never have it, `FileError::Busy` where others are on their way.
pub(super) fn make_room(manager: &Manager, hash: FileHash, len: u64) -> Result<(), FileError> {
    let files = &manager.files;
    let over = FileError::OverQuota { len, max: files.max_bytes };
    if is_own(manager, hash).unwrap_or(false) {
        return Ok(());
    }
    if len > files.max_bytes {
        return Err(over);
    }
    let coming: u64 = lock(&files.fetches).iter().filter(|(other, _)| **other != hash).map(|(_, f)| f.len).sum();
    let mut held: Vec<Found> = files.blobs.list()?;
    held.retain(|found| found.hash != hash && !is_coming(files, found.hash));
    held.retain(|found| !is_own(manager, found.hash).unwrap_or(true));
    let mut taken = held.iter().fold(coming, |sum, found| sum.saturating_add(found.disk_bytes));
    held.sort_by_key(|found| found.used);
    for found in held {
        if taken.saturating_add(len) <= files.max_bytes {
            return Ok(());
        }
        files.blobs.remove(found.hash)?;
        taken = taken.saturating_sub(found.disk_bytes);
    }
    if taken.saturating_add(len) <= files.max_bytes { Ok(()) } else { Err(FileError::Busy) }
}

fn is_coming(files: &Files, hash: FileHash) -> bool {
    lock(&files.fetches).contains_key(&hash)
}

/// Whether the local user sent a file, from whichever device.
pub(super) fn is_own(manager: &Manager, hash: FileHash) -> Result<bool, StorageError> {
    if lock(&manager.files.pins).contains_key(&hash) {
        return Ok(true);
    }
    for room in manager.store.rooms_naming_file(hash, ROOMS_LOOKED_AT)? {
        let Some(view) = manager.store.room(room)?.and_then(|row| manager.views.find(row.room)) else { continue };
        for number in manager.store.naming_file(hash, room, NAMING_LOOKED_AT)? {
            let event = manager.store.event(number)?;
            let user = event.and_then(|event| view.state.content_author(&event.log).ok());
            if user == Some(manager.keys.user) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Whether another file may be fetched at the same time.
pub(super) fn may_begin(files: &Files) -> bool {
    lock(&files.fetches).len() < FETCHES_MAX
}

//! Files: their bytes are fetched on demand from any connected node that has them and shares a room in which they are
//! named, from several at once, and never gossiped. `desk` is what one may ask for, `fetch` gets what is missing, `give`
//! answers peers, `room` makes room. What the bytes are is checked by `tidings_storage::blobs`, piece by piece.

mod board;
mod desk;
mod fetch;
mod give;
mod room;

pub(crate) use desk::shown;
pub(crate) use give::answer_all;
pub(crate) use room::sweep_always;

use crate::effective;
use crate::network::Peer;
use crate::rooms::RoomView;
use crate::sync::Manager;
use crate::writer::WriteError;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use thiserror::Error;
use tidings_protocol::file::File;
use tidings_protocol::id::{FileHash, RoomId};
use tidings_storage::blobs::{BlobError, Blobs};
use tidings_storage::{StorageError, StoredEvent};
use tokio::sync::watch;

/// The files of a node.
pub struct Files {
    blobs: Blobs,
    /// What those of others may take.
    max_bytes: u64,
    /// Files that came in and that nothing names yet, and until when they are kept all the same.
    pins: Mutex<HashMap<FileHash, Instant>>,
    /// Files that are being fetched.
    fetches: Mutex<HashMap<FileHash, Fetching>>,
    /// Held while files that nothing names are taken away, and while one comes in.
    sweeping: Mutex<()>,
}

/// A file that is being fetched.
#[derive(Clone)]
struct Fetching {
    len: u64,
    progress: watch::Receiver<Progress>,
}

/// How far the fetching of a file is.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// Bytes here, checked.
    pub have: u64,
    /// Bytes that came from peers this time.
    pub fetched: u64,
    /// Peers that give it now.
    pub sources: usize,
    /// Who gave how much of that.
    pub from: BTreeMap<Peer, u64>,
    /// How it ended.
    pub ended: Option<Result<(), Arc<FileError>>>,
}

/// Why a file is not to be had, or not to be sent.
#[derive(Debug, Error)]
pub enum FileError {
    /// Its bytes on disk.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// It would take more than it may.
    #[error(
        "this file has {len} bytes, and files of others may take {max} here: set files_max_bytes in config.toml to more and \
         start again"
    )]
    OverQuota {
        /// Its length.
        len: u64,
        /// The quota.
        max: u64,
    },
    /// Others are being fetched.
    #[error("{FETCHES_MAX} files are being fetched already: try again when one of them is here")]
    Busy,
    /// There is no room for it.
    #[error(transparent)]
    NoRoom(#[from] WriteError),
    /// Nobody who has it is there.
    #[error("{have} of {len} bytes are here, and nobody who would give the rest is connected")]
    NoSource {
        /// Bytes here.
        have: u64,
        /// All.
        len: u64,
    },
    /// What named it was erased meanwhile.
    #[error("the message that brought this file is gone, and the file with it")]
    Gone,
    /// A file to be sent is not here.
    #[error("no file \"{0}\" came in to be sent: send it again")]
    NotTaken(FileHash),
    /// The same failure as of whoever began to fetch it.
    #[error("{0}")]
    Shared(Arc<FileError>),
}

/// An event that names a file, and counts.
pub(crate) struct Naming {
    pub(crate) room: RoomId,
    pub(crate) view: Arc<RoomView>,
    pub(crate) event: StoredEvent,
    pub(crate) file: File,
}

impl Files {
    /// The files in this folder.
    ///
    /// # Errors
    /// `BlobError`.
    pub fn open(folder: PathBuf, max_bytes: u64) -> Result<Self, BlobError> {
        Ok(Files {
            blobs: Blobs::open(folder)?,
            max_bytes,
            pins: Mutex::default(),
            fetches: Mutex::default(),
            sweeping: Mutex::default(),
        })
    }

    pub(crate) fn folder(&self) -> &Path {
        self.blobs.folder()
    }

    /// Bytes on disk of all but what is being fetched: that counts as a whole from its beginning.
    pub(crate) fn disk_bytes(&self) -> u64 {
        let coming: Vec<FileHash> = lock(&self.fetches).keys().copied().collect();
        self.blobs.disk_bytes(|hash| !coming.contains(&hash))
    }

    /// Whether all of a file is here.
    pub fn holds(&self, hash: FileHash) -> bool {
        self.blobs.holds(hash)
    }

    /// Whether a file stays though nothing may name it: it came in just now, or is being fetched.
    fn is_busy(&self, hash: FileHash) -> bool {
        let mut pins = lock(&self.pins);
        pins.retain(|_, until| *until > Instant::now());
        pins.contains_key(&hash) || lock(&self.fetches).contains_key(&hash)
    }

    fn pin(&self, hash: FileHash) {
        lock(&self.pins).insert(hash, Instant::now() + PINNED);
    }

    fn unpin(&self, hash: FileHash) {
        lock(&self.pins).remove(&hash);
    }
}

/// What an event says of a file, if it counts and is not erased.
fn file_of(manager: &Manager, view: &RoomView, event: &StoredEvent) -> Result<Option<File>, StorageError> {
    let is_erased = event.purged || view.state.erasure(&event.log, event.seq, event.id).is_some();
    if is_erased || effective::author_of(&manager.store, view, event)?.is_none() {
        return Ok(None);
    }
    Ok(event.content().and_then(|content| content.file()))
}

/// The first event of a room that names a file and counts.
fn naming_in(manager: &Manager, room: RoomId, hash: FileHash) -> Result<Option<Naming>, StorageError> {
    let Some(view) = manager.views.find(room) else { return Ok(None) };
    for number in manager.store.naming_file(hash, view.number, NAMING_LOOKED_AT)? {
        let Some(event) = manager.store.event(number)? else { continue };
        if let Some(file) = file_of(manager, &view, &event)?.filter(|file| file.hash == hash) {
            return Ok(Some(Naming { room, view, event, file }));
        }
    }
    Ok(None)
}

/// Of each room in which a file is named, the first event that counts.
fn namings(manager: &Manager, hash: FileHash) -> Result<Vec<Naming>, StorageError> {
    let mut out = Vec::new();
    for number in manager.store.rooms_naming_file(hash, ROOMS_LOOKED_AT)? {
        let Some(row) = manager.store.room(number)? else { continue };
        out.extend(naming_in(manager, row.room, hash)?);
    }
    Ok(out)
}

/// Whether a peer may have a file of this length: it has proven to share a room with us, now, in which that is named. Only
/// rooms that it shares are looked at, so how long that takes tells nothing of others. `found` is where it was the last time.
fn may_have(manager: &Manager, peer: Peer, (hash, len): (FileHash, u64), found: &mut Option<RoomId>) -> bool {
    let is_named = |room: &RoomId| {
        let naming = naming_in(manager, *room, hash).ok().flatten();
        naming.is_some_and(|naming| naming.file.len == len && !naming.view.row.left && !naming.view.unsure)
    };
    if found.is_some_and(|room| manager.told.shares(room, peer) && is_named(&room)) {
        return true;
    }
    *found = manager.told.stats(peer).rooms.into_iter().find(is_named);
    found.is_some()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Files fetched at once: each has several peers of its own.
const FETCHES_MAX: usize = 4;
/// How long a file that came in waits for the message that brings it.
const PINNED: Duration = Duration::from_secs(600);
/// Events of one room that name the same file and are looked at: one that counts is among the first.
const NAMING_LOOKED_AT: usize = 256;
/// Rooms in which one file is named that are looked at.
const ROOMS_LOOKED_AT: usize = 256;

//! Copying what a running node keeps, as it is at one moment, into a folder: the store, whole files, settings. Keys are no
//! part of it: `key_box`.
//!
//! The folder gets its name once everything in it is on disk; until then it is `NAME.part`, which the next backup takes away.

use crate::clock::now_ms;
use crate::handle::{NodeError, NodeHandle};
use crate::home::{Home, HomeError, explain};
use crate::keys::{ADDRESS_NOTE, BIRTH_NOTE};
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{MutexGuard, TryLockError};
use thiserror::Error;
use tidings_protocol::id::UserId;
use tidings_storage::blobs::{BlobError, Blobs};
use tidings_storage::{SCHEMA, StorageError, Store};

/// What a backup says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Of the folder's layout.
    pub format: u32,
    /// Of the store.
    pub schema: u32,
    /// When it was made, Unix milliseconds.
    pub made_ms: u64,
    /// By which program.
    pub version: String,
    /// Whose node it was.
    pub user: String,
}

/// Why there is no backup.
#[derive(Debug, Error)]
pub enum BackupError {
    /// Something is there already.
    #[error("{0}: there is something already: name a folder that is not there yet")]
    Exists(PathBuf),
    /// It would be a part of what is backed up.
    #[error("{0}: that lies in the home itself: name a folder elsewhere, best on another disk")]
    Inside(PathBuf),
    /// No folder can be made of it.
    #[error("{0}: write the whole path of the folder")]
    Path(PathBuf),
    /// There is nothing to make it in.
    #[error("{0}: there is no such folder: make it first, or name another")]
    NoFolder(PathBuf),
    /// The disk has no room for it.
    #[error("{0}: the disk is full: free some space, or name a folder on another disk")]
    DiskFull(PathBuf),
    /// It cannot be written there.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The store cannot be copied.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The files cannot be copied.
    #[error("the folder of files: {0}")]
    Files(#[from] BlobError),
}

impl Manifest {
    /// That of a backup; nothing where the folder is none.
    ///
    /// # Errors
    /// `HomeError`: it cannot be read, or does not read.
    pub fn of(folder: &Path) -> Result<Option<Manifest>, HomeError> {
        match read_small(&folder.join(MANIFEST))? {
            Some(bytes) => {
                let read = serde_json::from_slice(&bytes).map(Some);
                read.map_err(|_| HomeError::Damaged { path: folder.join(MANIFEST) })
            }
            None => Ok(None),
        }
    }
}

impl NodeHandle {
    /// Held while all that is kept is verified or copied.
    pub(super) fn upkeep(&self) -> Result<MutexGuard<'_, ()>, NodeError> {
        match self.manager.upkeep.try_lock() {
            Ok(held) => Ok(held),
            Err(TryLockError::Poisoned(held)) => Ok(held.into_inner()),
            Err(TryLockError::WouldBlock) => {
                Err(NodeError::Forbidden("the home is being copied or verified: wait for that to end".to_owned()))
            }
        }
    }

    /// Copies everything that this node keeps into a folder, which must not be there yet. One at a time.
    ///
    /// # Errors
    /// `NodeError`: nothing is left there.
    pub fn backup(&self, folder: &Path) -> Result<Manifest, NodeError> {
        let _one_at_a_time = self.upkeep()?;
        let keys = &self.manager.keys;
        Ok(copy(self.store(), self.manager.files.folder(), keys.home(), keys.user, folder)?)
    }
}

fn copy(store: &Store, files: &Path, home: &Home, user: UserId, folder: &Path) -> Result<Manifest, BackupError> {
    let part = prepare(home, folder)?;
    let manifest = Manifest {
        format: FORMAT,
        schema: SCHEMA,
        made_ms: now_ms(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        user: user.to_string(),
    };
    let made = fill(store, files, home, &manifest, &part).and_then(|()| {
        fs::rename(&part, folder).map_err(|e| explain(folder, e))?;
        Ok(sync_parent(folder)?)
    });
    if made.is_err() {
        drop(fs::remove_dir_all(&part));
    }
    match made {
        Err(BackupError::Storage(StorageError::DiskFull(_)) | BackupError::Files(BlobError::DiskFull)) => {
            Err(BackupError::DiskFull(folder.to_owned()))
        }
        other => other.map(|()| manifest),
    }
}

/// The folder in which the backup is made.
fn prepare(home: &Home, folder: &Path) -> Result<PathBuf, BackupError> {
    let (Some(parent), Some(name)) = (folder.parent().filter(|_| folder.is_absolute()), folder.file_name()) else {
        return Err(BackupError::Path(folder.to_owned()));
    };
    let real = parent.canonicalize().map_err(|error| match error.kind() {
        ErrorKind::NotFound => BackupError::NoFolder(parent.to_owned()),
        _ => explain(parent, error).into(),
    })?;
    if real.starts_with(home.path().canonicalize().map_err(|e| explain(home.path(), e))?) {
        return Err(BackupError::Inside(folder.to_owned()));
    }
    if fs::symlink_metadata(folder).is_ok() {
        return Err(BackupError::Exists(folder.to_owned()));
    }
    let mut part_name = name.to_owned();
    part_name.push(".part");
    let part = folder.with_file_name(part_name);
    // Of one that was broken off, and never of anything else.
    if part.join(UNFINISHED).exists() || matches!(Manifest::of(&part), Ok(Some(_))) {
        fs::remove_dir_all(&part).map_err(|e| explain(&part, e))?;
    }
    match DirBuilder::new().mode(0o700).create(&part) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(BackupError::Exists(part)),
        made => made.map_err(|e| explain(&part, e))?,
    }
    File::create(part.join(UNFINISHED)).map_err(|e| explain(&part, e))?;
    Ok(part)
}

fn fill(store: &Store, files: &Path, home: &Home, manifest: &Manifest, part: &Path) -> Result<(), BackupError> {
    // The store first: a file that an event names is on disk before the event is.
    store.copy_to(&part.join(STORE), &[BIRTH_NOTE, ADDRESS_NOTE])?;
    let to = part.join(FILES);
    DirBuilder::new().mode(0o700).create(&to).map_err(|e| explain(&to, e))?;
    let whole = Blobs::look_at(files.to_owned()).list()?.into_iter().filter(|file| file.whole);
    for name in whole.map(|file| file.hash.to_string()) {
        match copy_file(&files.join(&name), &to.join(&name)) {
            // It was erased or made room meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            copied => copied.map_err(|e| explain(&to.join(&name), e))?,
        }
    }
    if home.has(SETTINGS) {
        // Copied and not linked: it may be changed where it is.
        let settings = fs::read(home.path().join(SETTINGS)).map_err(|e| explain(&home.path().join(SETTINGS), e))?;
        write(&part.join(SETTINGS), &settings)?;
    }
    write(&part.join(MANIFEST), &serde_json::to_vec_pretty(manifest).unwrap_or_default())?;
    fs::remove_file(part.join(UNFINISHED)).map_err(|e| explain(part, e))?;
    for folder in [&to, part] {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(|e| explain(folder, e))?;
    }
    Ok(())
}

/// Links a file that never changes, or copies it where it cannot be linked; then it is on disk.
fn copy_file(from: &Path, to: &Path) -> std::io::Result<()> {
    if fs::hard_link(from, to).is_err() {
        fs::copy(from, to)?;
    }
    File::open(to)?.sync_all()
}

pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), HomeError> {
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|e| explain(path, e))
}

/// The bytes of a small file beside a store; nothing where there is none. What is no file of its own is not read.
///
/// # Errors
/// `HomeError`: `Damaged` for a link, or what is longer than such files are.
pub(super) fn read_small(path: &Path) -> Result<Option<Vec<u8>>, HomeError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(explain(path, error)),
        Ok(found) if !found.is_file() || found.len() > SMALL_LEN_MAX => {
            return Err(HomeError::Damaged { path: path.to_owned() });
        }
        Ok(_) => {}
    }
    let mut bytes = Vec::new();
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path);
    let read = opened.and_then(|file| file.take(SMALL_LEN_MAX).read_to_end(&mut bytes));
    read.map_err(|e| explain(path, e))?;
    Ok(Some(bytes))
}

pub(super) fn sync_parent(path: &Path) -> Result<(), HomeError> {
    let Some(parent) = path.parent() else { return Ok(()) };
    File::open(parent).and_then(|folder| folder.sync_all()).map_err(|e| explain(parent, e))
}

/// Keys, settings and the like are shorter.
const SMALL_LEN_MAX: u64 = 256 * 1024;
pub(super) const FORMAT: u32 = 1;
pub(crate) const STORE: &str = "store";
pub(crate) const FILES: &str = "files";
pub(super) const SETTINGS: &str = "config.toml";
const MANIFEST: &str = "backup.json";
/// There while it is being made.
const UNFINISHED: &str = "unfinished";

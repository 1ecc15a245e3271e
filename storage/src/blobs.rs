//! The bytes of files, in a folder of their own: `HASH` is a whole one, `HASH.part` what is fetched of one, and
//! `HASH.outline` what both are checked by. Nothing but its name says that a file is whole, it gets that name after its
//! bytes are on disk, and each piece is checked again whenever it is read. So nothing here has to be believed after a
//! crash: a part is what its pieces hash to.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::SystemTime;
use thiserror::Error;
use tidings_protocol::file::{Outline, Outliner, outline_len, piece_begin, piece_count, piece_len};
use tidings_protocol::id::FileHash;
use tidings_protocol::limits::{FILE_LEN_MAX, FILE_PIECE_LEN};

/// Why the bytes of a file cannot be written or read.
#[derive(Debug, Error)]
pub enum BlobError {
    /// There is too much of it.
    #[error("a file has at most {} bytes: send it in parts", FILE_LEN_MAX)]
    TooLong,
    /// The disk has no room left.
    #[error("the disk is full: free some space and try again")]
    DiskFull,
    /// The bytes are not what they were.
    #[error("this file is damaged on this node's disk: run it again to fetch what is wrong anew")]
    Damaged,
    /// Reading or writing failed.
    #[error("the folder of files: {0}")]
    Io(#[source] io::Error),
}

impl From<io::Error> for BlobError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => BlobError::DiskFull,
            _ => BlobError::Io(error),
        }
    }
}

/// The folder of files. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Blobs {
    folder: PathBuf,
    next: Arc<AtomicU64>,
}

/// Something in the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Which file.
    pub hash: FileHash,
    /// Whether all of it is here.
    pub whole: bool,
    /// Bytes on disk, its outline not counted.
    pub disk_bytes: u64,
    /// When it was last used.
    pub used: SystemTime,
}

impl Blobs {
    /// Opens the folder, or makes it; what a crash left of files on their way in goes.
    ///
    /// # Errors
    /// `BlobError`.
    pub fn open(folder: PathBuf) -> Result<Self, BlobError> {
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|ending| ending == NEW) {
                fs::remove_file(path)?;
            }
        }
        Ok(Blobs { folder, next: Arc::default() })
    }

    /// A folder as it is: nothing of it is made or taken away.
    #[must_use]
    pub fn look_at(folder: PathBuf) -> Self {
        Blobs { folder, next: Arc::default() }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Reads a whole file and returns its length; nothing where it is not here.
    ///
    /// # Errors
    /// `BlobError::Damaged` when it is not what its name says.
    pub fn check(&self, hash: FileHash) -> Result<Option<u64>, BlobError> {
        match OpenOptions::new().read(true).custom_flags(NO_FOLLOW).open(self.whole(hash)) {
            Ok(file) => Ok(Some(outline_of(&file, hash)?.len_bytes())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether all of a file is here, by its name.
    pub fn holds(&self, hash: FileHash) -> bool {
        self.len(hash).is_some()
    }

    /// The length of a file that is here whole.
    pub fn len(&self, hash: FileHash) -> Option<u64> {
        fs::symlink_metadata(self.whole(hash)).ok().filter(fs::Metadata::is_file).map(|found| found.len())
    }

    /// What is here.
    ///
    /// # Errors
    /// `BlobError`.
    pub fn list(&self) -> Result<Vec<Found>, BlobError> {
        let mut out = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let (stem, whole) = match name.strip_suffix(PART) {
                Some(stem) => (stem, false),
                None => (name.as_str(), true),
            };
            let (Ok(hash), Ok(found)) = (stem.parse(), entry.metadata()) else { continue };
            let used = found.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            out.push(Found { hash, whole, disk_bytes: found.blocks().saturating_mul(512), used });
        }
        Ok(out)
    }

    /// Bytes on disk of everything in the folder, but for the files that are not to be counted.
    pub fn disk_bytes(&self, mut counts: impl FnMut(FileHash) -> bool) -> u64 {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let counted = entries.filter(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let stem = name.split_once('.').map_or(name.as_str(), |(stem, _)| stem);
            stem.parse().map_or(true, &mut counts)
        });
        counted.filter_map(|entry| entry.metadata().ok()).map(|found| found.len().max(found.blocks() * 512)).sum()
    }

    /// Begins to take in a file that is sent from here.
    ///
    /// # Errors
    /// `BlobError`.
    pub fn begin(&self) -> Result<Incoming, BlobError> {
        let path = self.folder.join(format!("{}.{NEW}", self.next.fetch_add(1, Ordering::Relaxed)));
        let file = create(&path)?;
        Ok(Incoming { blobs: self.clone(), path, file, outliner: Outliner::default(), piece: Vec::new() })
    }

    /// A whole file, to be read; `None` when it is not here, or has another length.
    ///
    /// # Errors
    /// `BlobError::Damaged` when it is not what its name says.
    pub fn read(&self, hash: FileHash, len: u64) -> Result<Option<Held>, BlobError> {
        let file = match OpenOptions::new().read(true).custom_flags(NO_FOLLOW).open(self.whole(hash)) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if file.metadata()?.len() != len {
            return Ok(None);
        }
        let outline = match self.outline(hash, len)? {
            Some(outline) => outline,
            None => self.outline_anew(&file, hash)?,
        };
        Ok(Some(Held { file, outline }))
    }

    /// A file that is fetched, as far as it is here.
    ///
    /// # Errors
    /// `BlobError`.
    pub fn part(&self, hash: FileHash, len: u64) -> Result<Part, BlobError> {
        let path = self.part_path(hash);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(NO_FOLLOW)
            .open(&path)?;
        if file.metadata()?.len() > len {
            file.set_len(len)?;
        }
        let outline = OnceLock::new();
        if let Some(kept) = self.outline(hash, len)? {
            drop(outline.set(kept));
        }
        Ok(Part { blobs: self.clone(), hash, len, file, outline, keeping: Mutex::default() })
    }

    /// A whole file turned out to be damaged: what is good of it is part of one that is to be fetched.
    ///
    /// # Errors
    /// `BlobError`.
    pub fn demote(&self, hash: FileHash) -> Result<(), BlobError> {
        Ok(fs::rename(self.whole(hash), self.part_path(hash))?)
    }

    /// Takes a file away, whole or in part; whether anything of it was here.
    ///
    /// # Errors
    /// `BlobError`.
    pub fn remove(&self, hash: FileHash) -> Result<bool, BlobError> {
        let mut was_here = false;
        for path in [self.whole(hash), self.part_path(hash), self.outline_path(hash)] {
            match fs::remove_file(path) {
                Ok(()) => was_here = true,
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        if was_here {
            self.sync_folder()?;
        }
        Ok(was_here)
    }

    /// A file was used now.
    pub fn touch(&self, hash: FileHash) {
        let opened = OpenOptions::new().write(true).custom_flags(NO_FOLLOW).open(self.whole(hash));
        drop(opened.and_then(|file| file.set_modified(SystemTime::now())));
    }

    fn outline(&self, hash: FileHash, len: u64) -> Result<Option<Outline>, BlobError> {
        if outline_len(len) == 0 {
            return Ok(Outline::check(hash, len, &[]));
        }
        let mut bytes = Vec::new();
        match OpenOptions::new().read(true).custom_flags(NO_FOLLOW).open(self.outline_path(hash)) {
            Ok(file) => drop(file.take(outline_len(len) as u64 + 1).read_to_end(&mut bytes)?),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        Ok(Outline::check(hash, len, &bytes))
    }

    /// The outline of a whole file, made from its bytes.
    fn outline_anew(&self, file: &File, hash: FileHash) -> Result<Outline, BlobError> {
        let outline = outline_of(file, hash)?;
        self.keep_outline(&outline)?;
        Ok(outline)
    }

    fn keep_outline(&self, outline: &Outline) -> Result<(), BlobError> {
        let bytes = outline.to_bytes();
        if bytes.is_empty() {
            return Ok(());
        }
        let new = self.folder.join(format!("{}.{NEW}", self.next.fetch_add(1, Ordering::Relaxed)));
        let written = create(&new).and_then(|mut file| file.write_all(&bytes));
        let renamed = written.and_then(|()| fs::rename(&new, self.outline_path(outline.hash())));
        if renamed.is_err() {
            drop(fs::remove_file(&new));
        }
        Ok(renamed?)
    }

    fn sync_folder(&self) -> Result<(), BlobError> {
        Ok(File::open(&self.folder)?.sync_all()?)
    }

    fn whole(&self, hash: FileHash) -> PathBuf {
        self.folder.join(hash.to_string())
    }

    fn part_path(&self, hash: FileHash) -> PathBuf {
        self.folder.join(format!("{hash}{PART}"))
    }

    fn outline_path(&self, hash: FileHash) -> PathBuf {
        self.folder.join(format!("{hash}.outline"))
    }
}

fn outline_of(file: &File, hash: FileHash) -> Result<Outline, BlobError> {
    let len = file.metadata()?.len();
    let (mut outliner, mut piece) = (Outliner::default(), Vec::new());
    for index in 0..piece_count(len) {
        piece.resize(piece_len(len, index), 0);
        file.read_exact_at(&mut piece, piece_begin(index))?;
        outliner.push(&piece);
    }
    let outline = outliner.finish();
    if outline.hash() == hash { Ok(outline) } else { Err(BlobError::Damaged) }
}

/// A file on its way in from here. Dropped without `finish`, it leaves nothing.
#[derive(Debug)]
pub struct Incoming {
    blobs: Blobs,
    path: PathBuf,
    file: File,
    outliner: Outliner,
    piece: Vec<u8>,
}

impl Incoming {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// `BlobError`.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), BlobError> {
        while !bytes.is_empty() {
            let room = FILE_PIECE_LEN.saturating_sub(self.piece.len()).min(bytes.len());
            let (now, later) = bytes.split_at(room);
            self.piece.extend_from_slice(now);
            bytes = later;
            if self.piece.len() == FILE_PIECE_LEN {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// All is here: returns once it is on disk. Bytes that were here already take no second place.
    ///
    /// # Errors
    /// `BlobError`.
    pub fn finish(mut self) -> Result<(FileHash, u64), BlobError> {
        self.flush()?;
        let outline = std::mem::take(&mut self.outliner).finish();
        let (hash, len) = (outline.hash(), outline.len_bytes());
        self.blobs.keep_outline(&outline)?;
        self.file.sync_all()?;
        // The same name is the same bytes; those that are here may be damaged, these are not.
        fs::rename(&self.path, self.blobs.whole(hash))?;
        drop(fs::remove_file(self.blobs.part_path(hash)));
        self.blobs.sync_folder()?;
        Ok((hash, len))
    }

    fn flush(&mut self) -> Result<(), BlobError> {
        if self.piece.is_empty() {
            return Ok(());
        }
        if !self.outliner.push(&self.piece) {
            return Err(BlobError::TooLong);
        }
        self.file.write_all(&self.piece)?;
        self.piece.clear();
        Ok(())
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.path));
    }
}

/// A whole file that is read.
#[derive(Debug)]
pub struct Held {
    file: File,
    outline: Outline,
}

impl Held {
    /// Its outline.
    pub fn outline(&self) -> &Outline {
        &self.outline
    }

    /// One of its pieces, checked.
    ///
    /// # Errors
    /// `BlobError::Damaged`.
    pub fn piece(&self, index: u32) -> Result<Vec<u8>, BlobError> {
        let mut piece = vec![0; piece_len(self.outline.len_bytes(), index)];
        match self.file.read_exact_at(&mut piece, piece_begin(index)) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Err(BlobError::Damaged),
            other => other?,
        }
        if self.outline.verifies(index, &piece) { Ok(piece) } else { Err(BlobError::Damaged) }
    }
}

/// A file that is fetched.
#[derive(Debug)]
pub struct Part {
    blobs: Blobs,
    hash: FileHash,
    len: u64,
    file: File,
    outline: OnceLock<Outline>,
    keeping: Mutex<()>,
}

impl Part {
    /// Its outline, once it is here.
    pub fn outline(&self) -> Option<&Outline> {
        self.outline.get()
    }

    /// Takes the outline that somebody gave; whether it is true.
    ///
    /// # Errors
    /// `BlobError`.
    pub fn take_outline(&self, bytes: &[u8]) -> Result<bool, BlobError> {
        let Some(outline) = Outline::check(self.hash, self.len, bytes) else { return Ok(false) };
        let _one_at_a_time = self.keeping.lock().unwrap_or_else(PoisonError::into_inner);
        if self.outline.get().is_none() {
            self.blobs.keep_outline(&outline)?;
            drop(self.outline.set(outline));
        }
        Ok(true)
    }

    /// Whether a piece that lies here is what it should be. What was written and is not on disk after a crash is not.
    ///
    /// # Errors
    /// `BlobError`.
    pub fn holds(&self, index: u32) -> Result<bool, BlobError> {
        let Some(outline) = self.outline() else { return Ok(false) };
        let mut piece = vec![0; piece_len(self.len, index)];
        match self.file.read_exact_at(&mut piece, piece_begin(index)) {
            Ok(()) => Ok(outline.verifies(index, &piece)),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes a piece that somebody gave; whether it is true.
    ///
    /// # Errors
    /// `BlobError`.
    pub fn take(&self, index: u32, bytes: &[u8]) -> Result<bool, BlobError> {
        if !self.outline().is_some_and(|outline| outline.verifies(index, bytes)) {
            return Ok(false);
        }
        self.file.write_all_at(bytes, piece_begin(index))?;
        Ok(true)
    }

    /// All pieces are here: it is a whole file once they are on disk. Where they do not get there it is begun anew: Linux
    /// forgets what it could not write, and takes the next sync for one that went well.
    ///
    /// # Errors
    /// `BlobError`.
    pub fn finish(&self) -> Result<(), BlobError> {
        if let Err(error) = self.file.sync_all() {
            drop(fs::remove_file(self.blobs.part_path(self.hash)));
            // Its bytes were sent from here meanwhile.
            return if self.blobs.holds(self.hash) { Ok(()) } else { Err(error.into()) };
        }
        match fs::rename(self.blobs.part_path(self.hash), self.blobs.whole(self.hash)) {
            // As above.
            Err(error) if error.kind() == ErrorKind::NotFound && self.blobs.holds(self.hash) => {}
            other => other?,
        }
        self.blobs.sync_folder()
    }
}

/// A new file that only its owner may read, from the first byte.
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// What we made ourselves is no link.
const NO_FOLLOW: i32 = libc::O_NOFOLLOW;
const PART: &str = ".part";
const NEW: &str = "new";

#[cfg(test)]
#[path = "blobs_tests.rs"]
mod tests;

//! The home folder of a node: keys, store, socket, and what says who runs it. Folders 0700, files 0600.

use crate::api::types::Running;
use crate::clock::now_ms;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// A home folder that exists and that we may use.
#[derive(Debug, Clone)]
pub struct Home {
    path: PathBuf,
}

/// Why a home cannot be used.
#[derive(Debug, Error)]
pub enum HomeError {
    /// No folder was given and none can be guessed.
    #[error("no home folder: set HOME or TIDINGS_HOME, or pass --home DIR")]
    Nowhere,
    /// The folder or a file in it may not be used.
    #[error("{path}: permission denied: choose another with --home DIR, or make it yours")]
    Permission {
        /// Which.
        path: PathBuf,
    },
    /// It is not a folder.
    #[error("{path}: not a folder: choose another with --home DIR")]
    NotAFolder {
        /// Which.
        path: PathBuf,
    },
    /// The path is longer than the file system takes.
    #[error("{path}: the path is too long: choose a shorter one with --home DIR")]
    TooLong {
        /// Which.
        path: PathBuf,
    },
    /// Somebody else has put a folder where ours should be.
    #[error("{path}: others may write there: remove it, or set XDG_RUNTIME_DIR to a folder of your own")]
    NotOurs {
        /// Which.
        path: PathBuf,
    },
    /// The disk has no room.
    #[error("{path}: the disk is full: free some space and try again")]
    DiskFull {
        /// Which.
        path: PathBuf,
    },
    /// Something else failed.
    #[error("{path}: {source}: look at that path, or choose another folder with --home DIR")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that was written at the first run is not what it should be.
    #[error("{path}: this file is damaged: restore it from a copy, or start over with a fresh --home")]
    Damaged {
        /// Which.
        path: PathBuf,
    },
    /// A key that the history here was made with is gone.
    #[error("{path}: this key file is missing: restore it from a copy, or start over with a fresh --home")]
    Missing {
        /// Which.
        path: PathBuf,
    },
    /// Others than the owner may read a key.
    #[error("{path}: others can read this key: run tidings doctor --fix; whoever has copied it can speak as you")]
    Readable {
        /// Which.
        path: PathBuf,
    },
}

/// A home that nobody else starts with: its lock goes with it, and with the process.
#[derive(Debug)]
pub struct HeldHome(#[expect(dead_code, reason = "held for its lock")] File);

impl Home {
    /// The folder given, else TIDINGS_HOME (the caller has read it), else the XDG data folder.
    ///
    /// # Errors
    /// `HomeError::Nowhere`.
    pub fn locate(given: Option<PathBuf>) -> Result<PathBuf, HomeError> {
        let xdg = || std::env::var_os("XDG_DATA_HOME").filter(|v| !v.is_empty()).map(PathBuf::from);
        let home = || std::env::var_os("HOME").filter(|v| !v.is_empty()).map(|h| PathBuf::from(h).join(".local/share"));
        given.or_else(|| xdg().or_else(home).map(|d| d.join("tidings"))).ok_or(HomeError::Nowhere)
    }

    /// Opens the home at this path, making it on its first use.
    ///
    /// # Errors
    /// `HomeError`.
    pub fn open(path: &Path) -> Result<Self, HomeError> {
        let path = std::path::absolute(path).map_err(|e| explain(path, e))?;
        DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(|e| explain(&path, e))?;
        let home = Home { path };
        if home.read("created")?.is_none() {
            home.write_file("created", now_ms().to_string().as_bytes())?;
        }
        Ok(home)
    }

    /// The home at this path, if there is one that we may look into; nothing is made.
    pub fn existing(path: &Path) -> Option<Self> {
        Home::find(path).ok().flatten()
    }

    /// The home at this path, if there is one; nothing is made.
    ///
    /// # Errors
    /// `HomeError`: there may be one, but not for us.
    pub fn find(path: &Path) -> Result<Option<Self>, HomeError> {
        let path = std::path::absolute(path).map_err(|e| explain(path, e))?;
        match fs::metadata(path.join("created")) {
            Ok(_) => Ok(Some(Home { path })),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(explain(&path, e)),
        }
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the store lies.
    pub fn store_path(&self) -> PathBuf {
        self.path.join("store")
    }

    /// When it was made, Unix milliseconds.
    ///
    /// # Errors
    /// `HomeError`.
    pub fn created_ms(&self) -> Result<u64, HomeError> {
        let text = self.read("created")?.unwrap_or_default();
        let number = String::from_utf8_lossy(&text).trim().parse();
        number.map_err(|_| HomeError::Damaged { path: self.path.join("created") })
    }

    /// Where the API's socket goes: in the home, or, where that path is too long for a socket, in the runtime folder.
    pub fn socket_path(&self) -> PathBuf {
        let here = self.path.join("api.sock");
        let fits = |path: &PathBuf| path.as_os_str().len() < SOCKET_PATH_LEN_MAX;
        if fits(&here) {
            return here;
        }
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").filter(|v| !v.is_empty()).map(PathBuf::from);
        let name = format!("tidings-{}/{}.sock", owner(&self.path), short_name(&self.path));
        let elsewhere = [runtime, Some(std::env::temp_dir())].into_iter().flatten().map(|folder| folder.join(&name));
        elsewhere.into_iter().find(fits).unwrap_or_else(|| Path::new("/tmp").join(&name))
    }

    /// Makes the folder of the socket. One that others may write to is refused: they could put their own socket there.
    ///
    /// # Errors
    /// `HomeError`.
    pub fn make_socket_folder(&self, folder: &Path) -> Result<(), HomeError> {
        if folder == self.path {
            return Ok(());
        }
        use std::os::unix::fs::MetadataExt;
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|e| explain(folder, e))?;
        let found = fs::symlink_metadata(folder).map_err(|e| explain(folder, e))?;
        let is_ours = found.is_dir() && found.uid() == owner(&self.path) && found.mode() & 0o022 == 0;
        if is_ours { Ok(()) } else { Err(HomeError::NotOurs { path: folder.to_owned() }) }
    }

    /// A file's bytes; `None` when it is not there.
    ///
    /// # Errors
    /// `HomeError`: others than its owner may read it, for one.
    pub fn read_secret(&self, name: &str) -> Result<Option<Vec<u8>>, HomeError> {
        let path = self.path.join(name);
        match fs::metadata(&path) {
            Ok(found) if found.permissions().mode() & 0o077 != 0 => Err(HomeError::Readable { path }),
            _ => self.read(name),
        }
    }

    /// What tells a file from every copy of it: its number in the file system, and when it was made there. Both stay when
    /// the home is moved within it, or started anew.
    ///
    /// # Errors
    /// `HomeError`.
    pub fn birth_of(&self, name: &str) -> Result<Vec<u8>, HomeError> {
        use std::os::unix::fs::MetadataExt;
        let path = self.path.join(name);
        let found = fs::metadata(&path).map_err(|e| explain(&path, e))?;
        let made = found.created().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
        let made_ns = made.map_or(0, |since| since.as_nanos());
        Ok([found.ino().to_be_bytes().as_slice(), &made_ns.to_be_bytes()].concat())
    }

    /// Whether there is such a file.
    pub fn has(&self, name: &str) -> bool {
        self.path.join(name).exists()
    }

    /// Takes a file away, if it is there.
    pub fn remove(&self, name: &str) {
        let _ = fs::remove_file(self.path.join(name));
    }

    /// Writes a file that only we may read, whole or not at all, and has it on disk.
    ///
    /// # Errors
    /// `HomeError`.
    pub fn write_secret(&self, name: &str, bytes: &[u8]) -> Result<(), HomeError> {
        self.write_file(name, bytes)
    }

    /// Keeps others from starting with this home, or restoring into it, until the answer is dropped; nothing where somebody
    /// does so now.
    ///
    /// # Errors
    /// `HomeError`.
    pub fn hold(&self) -> Result<Option<HeldHome>, HomeError> {
        let path = self.path.join("starting");
        let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = opened.map_err(|e| explain(&path, e))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(HeldHome(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(explain(&path, error)),
        }
    }

    /// What a running node left here, if one did.
    pub fn running(&self) -> Option<Running> {
        serde_json::from_slice(&self.read(RUNNING).ok()??).ok()
    }

    /// Leaves word of a running node.
    ///
    /// # Errors
    /// `HomeError`.
    pub fn set_running(&self, running: &Running) -> Result<(), HomeError> {
        self.write_file(RUNNING, serde_json::to_string(running).unwrap_or_default().as_bytes())
    }

    /// Takes the word back.
    pub fn clear_running(&self) {
        let _ = fs::remove_file(self.path.join(RUNNING));
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, HomeError> {
        let path = self.path.join(name);
        let mut bytes = Vec::new();
        match File::open(&path).and_then(|f| f.take(FILE_LEN_MAX).read_to_end(&mut bytes)) {
            Ok(_) => Ok(Some(bytes)),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(explain(&path, e)),
        }
    }

    fn write_file(&self, name: &str, bytes: &[u8]) -> Result<(), HomeError> {
        let path = self.path.join(name);
        let write = || -> std::io::Result<()> {
            // Only its owner may read it from the first byte; gone again if anything fails.
            let mut file = tempfile::NamedTempFile::new_in(&self.path)?;
            file.write_all(bytes)?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            File::open(&self.path)?.sync_all()
        };
        write().map_err(|e| explain(&path, e))
    }
}

/// An error of the file system, in words that say what to do.
pub fn explain(path: &Path, source: std::io::Error) -> HomeError {
    let path = path.to_owned();
    match source.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => HomeError::Permission { path },
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => HomeError::DiskFull { path },
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => HomeError::NotAFolder { path },
        ErrorKind::InvalidFilename => HomeError::TooLong { path },
        _ => HomeError::Io { path, source },
    }
}

fn owner(path: &Path) -> u32 {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).map_or(0, |m| m.uid())
}

/// Short, and another for each path.
fn short_name(path: &Path) -> String {
    let hash = blake3::hash(path.as_os_str().as_encoded_bytes());
    tidings_protocol::id::base32::to_text(&hash.as_bytes()[..10])
}

const RUNNING: &str = "node.json";
/// `sun_path` has 108 bytes with its NUL.
const SOCKET_PATH_LEN_MAX: usize = 107;
const FILE_LEN_MAX: u64 = 64 * 1024;

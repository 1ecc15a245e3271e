//! Making a home of a backup: with the keys that were sealed beside it, or with the recovery words. What is restored says what
//! it says from then on as a new device of its user: the log of the old one goes on elsewhere, or went on after the backup,
//! and no place in it is ever used twice.
//!
//! Everything is copied and verified first; the store gets its name last, and only then the home is in use.

use super::backup::{FILES, FORMAT, Manifest, SETTINGS, STORE, read_small, sync_parent};
use super::key_box::{KEYS, KeyBoxError, open_keys};
use super::mend::{OLD, READY};
use super::verify::{VerifyError, verify_copy};
use crate::api::upkeep::{Verified, VerifyProgress};
use crate::home::{HeldHome, Home, HomeError, explain};
use crate::keys::{Keys, host_name};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use thiserror::Error;
use tidings_protocol::identity::RecoveryPhrase;
use tidings_storage::SCHEMA;
use zeroize::Zeroizing;

/// What makes a home of a backup that of its user.
pub enum Who {
    /// The passphrase of the keys beside it.
    Passphrase(Zeroizing<String>),
    /// The recovery words.
    Words(RecoveryPhrase),
}

/// Why nothing was restored.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// The folder is none.
    #[error("{0}: this is no backup: name a folder that `tidings backup` made")]
    NotABackup(PathBuf),
    /// What the backup says of itself does not read.
    #[error("{0}: this file of the backup is damaged: take an older backup, or another copy of this one")]
    Manifest(PathBuf),
    /// A later version made it.
    #[error("{0}: a newer tidings made this backup: use that one")]
    Newer(PathBuf),
    /// What was said from the home stays its own, and so do its keys.
    #[error("{0}: this home is in use: name a fresh one with --home DIR")]
    InUse(PathBuf),
    /// There are no keys beside the backup.
    #[error("{0}: no keys lie beside this backup: give the recovery words with --words-stdin")]
    NoKeys(PathBuf),
    /// They are not those of the backup.
    #[error("these are the words or keys of another user than the backup's")]
    OtherUser,
    /// The keys.
    #[error(transparent)]
    Keys(#[from] KeyBoxError),
    /// The home, or the backup.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The copy cannot be verified.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// The copy is damaged.
    #[error("the backup is damaged in {} places: nothing was restored", .0.damaged_count)]
    Damaged(Verified),
}

/// A backup that may be restored here.
pub struct Restoring {
    from: PathBuf,
    home: Home,
    /// Nobody else starts with it meanwhile.
    _held: HeldHome,
    manifest: Manifest,
}

/// What was restored.
#[derive(Default)]
pub struct Restored {
    /// What was read of it.
    pub verified: Verified,
    /// Settings of the backup that were left out, as they say whom to believe and who may come in.
    pub left_out: Vec<String>,
}

impl Restoring {
    /// Looks at the backup and the home.
    ///
    /// # Errors
    /// `RestoreError`.
    pub fn new(from: &Path, home: &Path) -> Result<Self, RestoreError> {
        let from = from.canonicalize().map_err(|error| match error.kind() {
            ErrorKind::NotFound => RestoreError::NotABackup(from.to_owned()),
            _ => explain(from, error).into(),
        })?;
        let manifest = match Manifest::of(&from) {
            Err(HomeError::Damaged { path }) => return Err(RestoreError::Manifest(path)),
            found => found?.ok_or_else(|| RestoreError::NotABackup(from.clone()))?,
        };
        if manifest.format > FORMAT || manifest.schema > SCHEMA {
            return Err(RestoreError::Newer(from));
        }
        let in_use = || RestoreError::InUse(home.to_owned());
        let is_broken_off = |home: &Home| home.has(COMING) && !home.store_path().exists();
        // A store that is on its way to its place, or was put aside, is somebody's, too.
        let has_stores = |home: &Home| [READY, OLD].into_iter().any(|name| home.has(name));
        let is_taken = |home: &Home| Keys::is_in_use(home) || Keys::are_in(home);
        if Home::find(home)?.is_some_and(|home| has_stores(&home) || (is_taken(&home) && !is_broken_off(&home))) {
            return Err(in_use());
        }
        let opened = Home::open(home)?;
        let held = opened.hold()?.ok_or_else(in_use)?;
        Ok(Restoring { from, home: opened, _held: held, manifest })
    }

    /// Whether sealed keys lie beside the backup.
    pub fn has_keys(&self) -> bool {
        self.from.join(KEYS).exists()
    }

    /// Restores it; `go_on` hears how far it is. Nothing where it said no.
    ///
    /// # Errors
    /// `RestoreError`: the home is not in use, and the same may be tried again.
    pub fn restore(
        &self,
        who: &Who,
        go_on: &mut dyn FnMut(VerifyProgress) -> bool,
    ) -> Result<Option<Restored>, RestoreError> {
        // First what may be refused for what was typed.
        let keys = match who {
            Who::Passphrase(passphrase) => Some(self.keys(passphrase)?),
            Who::Words(phrase) if phrase.user_key().user().to_string() != self.manifest.user => {
                return Err(RestoreError::OtherUser);
            }
            Who::Words(_) => None,
        };
        let (settings, left_out) = self.settings()?;
        let (coming, files) = (self.home.path().join(COMING), self.home.path().join(FILES));
        let copied = self.copy(&coming, &files).and_then(|()| match verify_copy(&coming, &files, go_on)? {
            Some(verified) if verified.damaged_count > 0 => Err(RestoreError::Damaged(verified)),
            other => Ok(other),
        });
        let verified = match copied {
            Ok(Some(verified)) => verified,
            other => {
                drop(fs::remove_dir_all(&coming));
                drop(fs::remove_dir_all(&files));
                return other.map(|_| None);
            }
        };
        match (keys, who) {
            (Some(keys), _) => Keys::restore(&self.home, &keys)?,
            (None, Who::Words(phrase)) => Keys::recover(&self.home, phrase, &host_name())?,
            (None, Who::Passphrase(_)) => {}
        }
        // Where a store is no key is made: this one is, of the node.
        drop(Keys::node_seed(&self.home)?);
        if let Some(settings) = settings {
            self.home.write_secret(SETTINGS, settings.as_bytes())?;
        }
        let store = self.home.store_path();
        fs::rename(&coming, &store).map_err(|e| explain(&store, e))?;
        sync_parent(&store)?;
        Ok(Some(Restored { verified, left_out }))
    }

    /// The settings of the backup, without those by which whoever had it in hand could come in, or speak as others; and which
    /// those are. Nothing where the home has its own.
    fn settings(&self) -> Result<(Option<String>, Vec<String>), RestoreError> {
        let Some(bytes) = read_small(&self.from.join(SETTINGS))?.filter(|_| !self.home.has(SETTINGS)) else {
            return Ok((None, Vec::new()));
        };
        let Some(mut table) = std::str::from_utf8(&bytes).ok().and_then(|text| text.parse::<toml::Table>().ok()) else {
            return Ok((None, vec![SETTINGS.to_owned()]));
        };
        let left_out = LEFT_OUT.into_iter().filter(|name| table.remove(*name).is_some()).map(str::to_owned).collect();
        Ok((Some(table.to_string()), left_out))
    }

    fn keys(&self, passphrase: &str) -> Result<RestoredKeys, RestoreError> {
        let sealed = read_small(&self.from.join(KEYS))?.ok_or_else(|| RestoreError::NoKeys(self.from.clone()))?;
        let keys = open_keys(&sealed, passphrase)?;
        match Keys::user_of(&keys) {
            Some(user) if user.to_string() == self.manifest.user => Ok(keys),
            _ => Err(RestoreError::OtherUser),
        }
    }

    fn copy(&self, store: &Path, files: &Path) -> Result<(), RestoreError> {
        // No node has run here, so what lies there is of a restoring that was broken off.
        for (name, to) in [(STORE, store), (FILES, files)] {
            match fs::remove_dir_all(to) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(explain(to, error).into()),
                _ => copy_folder(&self.from.join(name), to)?,
            }
        }
        Ok(())
    }
}

type RestoredKeys = std::collections::BTreeMap<String, Zeroizing<Vec<u8>>>;

/// Copies the files of a folder, which has no folders; then they are on disk.
fn copy_folder(from: &Path, to: &Path) -> Result<(), HomeError> {
    DirBuilder::new().mode(0o700).create(to).map_err(|e| explain(to, e))?;
    for entry in fs::read_dir(from).map_err(|e| explain(from, e))? {
        let entry = entry.map_err(|e| explain(from, e))?;
        // A link may lead anywhere.
        if !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        // Whoever opens the store makes its lock.
        if entry.file_name() != LOCK {
            copy_file(&entry.path(), &to.join(entry.file_name())).map_err(|e| explain(&entry.path(), e))?;
        }
    }
    File::open(to).and_then(|folder| folder.sync_all()).map_err(|e| explain(to, e))
}

/// Copies bytes into a file that only its owner may read and write, whatever the other one allows.
fn copy_file(from: &Path, to: &Path) -> std::io::Result<()> {
    let mut from = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(from)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    std::io::copy(&mut from, &mut file)?;
    file.sync_all()
}

/// Settings that a backup does not bring: where the API listens, and whom to ask and believe whose a name is.
const LEFT_OUT: [&str; 3] = ["api", "names_at", "names_trust"];
const LOCK: &str = "LOCK";
/// The store while it is being restored, in the home.
const COMING: &str = "restoring";

//! Verifies a store and the files beside it: of a running node as it is at this moment, or of a home in which none runs.

use super::backup::FILES;
use crate::api::upkeep::{Damaged, Verified, VerifyProgress};
use crate::handle::{NodeError, NodeHandle};
use crate::home::Home;
use std::path::Path;
use thiserror::Error;
use tidings_storage::blobs::{BlobError, Blobs};
use tidings_storage::verify::{FLAWS_MAX, Flaw};
use tidings_storage::{StorageError, Store};

/// Why nothing was verified.
#[derive(Debug, Error)]
pub enum VerifyError {
    /// The store cannot be opened, though reading asks for little.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The folder of files cannot be read.
    #[error("the folder of files cannot be read: {0}")]
    Files(#[from] BlobError),
}

/// Verifies a home in which no node runs; not a byte of it changes. `go_on` hears how far it is.
///
/// # Errors
/// `VerifyError`.
pub fn verify_home(
    home: &Home,
    go_on: &mut dyn FnMut(VerifyProgress) -> bool,
) -> Result<Option<Verified>, VerifyError> {
    let store = Store::open_read_only(&home.store_path())?;
    noted(verify(&store, &home.path().join(FILES), go_on)?, &store)
}

/// The same of a store and the files beside it, wherever they lie.
///
/// # Errors
/// `VerifyError`.
pub fn verify_copy(
    store: &Path,
    files: &Path,
    go_on: &mut dyn FnMut(VerifyProgress) -> bool,
) -> Result<Option<Verified>, VerifyError> {
    Ok(verify(&Store::open_read_only(store)?, files, go_on)?.map(|(verified, _)| verified))
}

/// Where the store itself is damaged, the next start makes it anew.
fn noted(found: Option<(Verified, u64)>, store: &Store) -> Result<Option<Verified>, VerifyError> {
    let Some((verified, flaws)) = found else { return Ok(None) };
    if flaws > 0 {
        store.note_damaged("verify found it damaged");
    }
    Ok(Some(verified))
}

/// Verifies a store, and the files in a folder; nothing where `go_on` did not want to know more. Also how many of what it found
/// are of the store.
///
/// # Errors
/// `VerifyError`.
fn verify(
    store: &Store,
    files: &Path,
    go_on: &mut dyn FnMut(VerifyProgress) -> bool,
) -> Result<Option<(Verified, u64)>, VerifyError> {
    let mut tell = |found: &tidings_storage::verify::Verified| {
        go_on(VerifyProgress::Reading { rows: found.rows, events: found.events })
    };
    let Some(found) = store.verify(&mut tell) else { return Ok(None) };
    let mut verified = Verified {
        events: found.events,
        bytes: found.bytes,
        signatures: found.signatures,
        unvouched: found.unvouched,
        files: 0,
        damaged_count: found.flaw_count,
        damaged: found.flaws.iter().map(damaged).collect(),
    };
    if !files.exists() {
        return Ok(Some((verified, found.flaw_count)));
    }
    let blobs = Blobs::look_at(files.to_owned());
    for file in blobs.list()?.into_iter().filter(|file| file.whole) {
        if !go_on(VerifyProgress::Reading { rows: found.rows, events: found.events }) {
            return Ok(None);
        }
        match blobs.check(file.hash) {
            // It went meanwhile.
            Ok(None) => continue,
            Ok(Some(len)) => verified.bytes += len,
            Err(error) => {
                verified.damaged_count += 1;
                let what = format!("a file: {error}");
                let damaged = Damaged { file: Some(file.hash.to_string()), what, ..Damaged::default() };
                verified.damaged.extend((verified.damaged.len() < FLAWS_MAX).then_some(damaged));
            }
        }
        verified.files += 1;
    }
    Ok(Some((verified, found.flaw_count)))
}

fn damaged(flaw: &Flaw) -> Damaged {
    Damaged {
        room: flaw.room.map(|room| room.to_string()),
        event: flaw.event.map(|event| event.to_string()),
        file: None,
        what: flaw.what.to_string(),
    }
}

impl NodeHandle {
    /// Verifies everything that this node keeps, as it is now. One at a time.
    ///
    /// # Errors
    /// `NodeError`: `Refused` while another one is under way.
    pub fn verify_all(&self, go_on: &mut dyn FnMut(VerifyProgress) -> bool) -> Result<Option<Verified>, NodeError> {
        let _one_at_a_time = self.upkeep()?;
        let found = verify(self.store(), self.manager.files.folder(), go_on);
        found.and_then(|found| noted(found, self.store())).map_err(|error| match error {
            VerifyError::Storage(error) => error.into(),
            VerifyError::Files(error) => NodeError::File(error.into()),
        })
    }
}

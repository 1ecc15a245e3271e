//! Opening a store that may be damaged: one that does not open, or of which the last run found something damaged, is made anew of
//! what can be read. What is lost is said, and peers bring it back as anything that is missing.
//!
//! The new store gets its place by two renames, the old one stays beside it under another name; whoever is killed in between
//! is finished by the next start.

use crate::clock::now_ms;
use crate::home::{Home, HomeError, explain};
use crate::inbox::tally::INDEX_NOTE;
use crate::keys::BIRTH_NOTE;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use tidings_protocol::control::payload::RoomKind;
use tidings_protocol::id::UserId;
use tidings_storage::{Durability, Rebuilt, SCHEMA, StorageError, Store, Writer, rebuild};

/// Opens the store of a home.
///
/// # Errors
/// `MendError`.
pub(crate) fn open(home: &Home, user: UserId, budget: Option<u64>) -> Result<(Store, Writer), MendError> {
    let path = home.store_path();
    // Opened first whatever is known of it: then nobody else has it.
    match open_store(&path, budget) {
        Err(error) if error.is_damage() => tracing::error!(%error, "the store does not open"),
        Ok(opened) if Store::is_known_damaged(&path) => drop(opened),
        other => return Ok(other?),
    }
    mend(home, user)?;
    Ok(open_store(&path, budget)?)
}

fn open_store(path: &Path, budget: Option<u64>) -> Result<(Store, Writer), StorageError> {
    let mut tell = |schema| {
        tracing::warn!("the store is brought from schema {schema} to {SCHEMA}, which may take a while");
    };
    // Whoever goes on from the copy is another device: what was said since is not in it.
    let opened = Store::open_migrating(path, budget, &[BIRTH_NOTE], &mut tell)?;
    if let Some(schema) = opened.0.migrated() {
        tracing::warn!(
            "that is done; as it was, the store stays for a week beside it, its name ends with .schema-{schema}"
        );
    }
    Ok(opened)
}

/// Why a store was not opened.
#[derive(Debug, thiserror::Error)]
pub enum MendError {
    /// The store.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The home.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// What a room rests on is not known any more, or how one is in it: nobody can let another device of ours in by that.
    #[error(
        "{}: the store is damaged, and {lost} of the events that say who may do what cannot be read: too many to go on in \
         {room}. Nothing was changed. Restore a backup (tidings --home FRESH restore DIR), or come back by your words and \
         somebody who shares a room with you (tidings --home FRESH id recover --words-stdin --peer ADDRESS)",
        .home.display()
    )]
    Control {
        /// Which home.
        home: PathBuf,
        /// Of which room: what it is called here, or its id.
        room: String,
        /// How many.
        lost: u64,
    },
}

/// Gives a store its place that was made anew when the process ended.
///
/// # Errors
/// `HomeError`.
pub(crate) fn finish(home: &Home) -> Result<(), HomeError> {
    let (store, ready, old) = (home.store_path(), home.path().join(READY), home.path().join(OLD));
    if !ready.exists() {
        return Ok(());
    }
    if store.exists() {
        // What was put aside first is never taken away: all that there was is in it. Of later ones the last stays.
        let old = if old.exists() { home.path().join(OLD_AGAIN) } else { old };
        remove(&old)?;
        fs::rename(&store, &old).map_err(|e| explain(&old, e))?;
    }
    fs::rename(&ready, &store).map_err(|e| explain(&store, e))?;
    super::backup::sync_parent(&store)
}

fn mend(home: &Home, user: UserId) -> Result<(), MendError> {
    let (anew, ready) = (home.path().join(ANEW), home.path().join(READY));
    tracing::warn!("the store is damaged: it is made anew of what can be read, which may take a while");
    remove(&anew)?;
    let made = rebuild(&home.store_path(), &anew, &[INDEX_NOTE], now_ms());
    if made.is_err() {
        drop(fs::remove_dir_all(&anew));
    }
    let made = made?;
    let Rebuilt { events, lost, control_lost, .. } = made;
    if control_lost > 0 {
        if let Some(room) = no_way_back(&anew, user)? {
            remove(&anew)?;
            return Err(MendError::Control { home: home.path().to_owned(), room, lost: control_lost });
        }
        tracing::error!(
            control_lost,
            "events that say who may do what in a room are lost: such a room can be read, and no more until somebody is \
             connected who has them (tidings room list shows which)"
        );
    }
    if !made.is_whole() {
        // Of what this device said something may be lost that others have: its places are never used again.
        let (_, mut writer) = Store::open(&anew)?;
        let mut batch = writer.begin();
        batch.drop_note(BIRTH_NOTE)?;
        batch.commit(Durability::Synced)?;
    }
    tracing::warn!(events, lost, "the store is made anew; what is lost is fetched from peers; the old one is {OLD}");
    fs::rename(&anew, &ready).map_err(|e| explain(&ready, e))?;
    super::backup::sync_parent(&ready)?;
    Ok(finish(home)?)
}

/// A room in which we were and of which so much is lost that nobody would know our next device by what is left.
fn no_way_back(store: &Path, user: UserId) -> Result<Option<String>, StorageError> {
    let store = Store::open_read_only(store)?;
    for number in store.unsure_rooms()? {
        let Some(row) = store.room(number)? else { continue };
        if row.left || row.home_of.is_some_and(|whose| whose != user) {
            continue;
        }
        let set = store.control_set(number, row.room)?;
        let is_in = row.kind == RoomKind::Public || set.state().members.contains_key(&user);
        if set.genesis().is_none() || !is_in {
            let name = if row.alias.is_empty() { row.room.to_string() } else { row.alias };
            return Ok(Some(name));
        }
    }
    Ok(None)
}

fn remove(folder: &Path) -> Result<(), HomeError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(explain(folder, error)),
        _ => Ok(()),
    }
}

/// While it is being made.
const ANEW: &str = "store.anew";
/// It is whole, and goes where the old one is.
pub(super) const READY: &str = "store.ready";
/// What a store was made anew of.
pub(crate) const OLD: &str = "store.damaged";
const OLD_AGAIN: &str = "store.damaged-again";

//! Bringing a store of an older schema to this one. First the store is copied as it was, beside it, as `NAME.schema-N`; then
//! there is one step for each schema in between, and each is done by parts. A part and the place from which to go on are one
//! batch: whoever is killed goes on there.
//!
//! That it is on its way is written first, with the new schema, so that an older program refuses it. The copy is taken away a
//! week later, or as soon as something is to go from the files.

use crate::batch::{Batch, Durability, Writer};
use crate::error::{Damage, StorageError};
use crate::key;
use crate::row::EventRow;
use crate::schema::{Family, SCHEMA};
use crate::store::Store;
use rocksdb::checkpoint::Checkpoint;
use rocksdb::{ColumnFamilyDescriptor, DB, Options, WriteOptions};
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tidings_protocol::codec::{Canonical, CodecError, Reader, Writer as Bytes, encode};
use tidings_protocol::event::{Body, Class};

/// From one schema to the next.
struct Step {
    from: u32,
    /// Does a part, from this place on, which is empty in the beginning.
    part: fn(&mut Batch<'_>, &[u8]) -> Result<Next, StorageError>,
}

/// The place to go on from; nothing where all is done.
type Next = Option<Vec<u8>>;

/// One for each schema before this one.
const STEPS: [Step; SCHEMA as usize - 1] = [
    // How many numbers a column has was changed under the same schema, and rows do not tell which of both they follow.
    Step { from: 1, part: search_anew },
];

/// How far a store is.
#[derive(Debug)]
struct OnItsWay {
    /// The schema that it had.
    began: u32,
    /// The step that is next, by the schema from which it goes.
    from: u32,
    /// Where that goes on.
    place: Vec<u8>,
}

impl Canonical for OnItsWay {
    fn write(&self, w: &mut Bytes) {
        w.u32(self.began);
        w.u32(self.from);
        w.bytes(&self.place);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(OnItsWay { began: r.u32()?, from: r.u32()?, place: r.bytes(PLACE_LEN_MAX)?.to_vec() })
    }
}

impl OnItsWay {
    /// With it the new schema is written.
    fn put(&self, batch: &mut Batch<'_>) -> Result<(), StorageError> {
        batch.put(Family::Meta, key::META_SCHEMA, &SCHEMA.to_be_bytes())?;
        batch.put(Family::Meta, key::META_MIGRATING, &encode(self))
    }
}

/// Brings a store of this schema, or an older one, to this schema; from which, if it was another. `tell` hears of that before
/// it begins. The copy has not these notes: what is true of this store alone.
///
/// # Errors
/// `DiskFull`, `Damaged`, `Rocks`, `Io`: opened again, it goes on where it was.
pub(crate) fn migrate(
    writer: &mut Writer,
    found: u32,
    but_notes: &[&str],
    tell: &mut dyn FnMut(u32),
) -> Result<Option<u32>, StorageError> {
    let Some(mut now) = begin(writer, found, but_notes, tell)? else {
        writer.store().forget_old_copies();
        return Ok(None);
    };
    while let Some(step) = STEPS.iter().find(|step| step.from == now.from) {
        now = one_part(writer, step, now)?;
    }
    let mut batch = writer.begin();
    batch.delete(Family::Meta, key::META_MIGRATING)?;
    batch.commit(Durability::Synced)?;
    Ok(Some(now.began))
}

/// Begins, or finds out where to go on; nothing where the store has this schema.
fn begin(
    writer: &mut Writer,
    found: u32,
    but_notes: &[&str],
    tell: &mut dyn FnMut(u32),
) -> Result<Option<OnItsWay>, StorageError> {
    let store = writer.store().clone();
    let on_its_way = store.find_row::<OnItsWay>(Family::Meta, key::META_MIGRATING, "migrating")?;
    if found == SCHEMA && on_its_way.is_none() {
        return Ok(None);
    }
    tell(on_its_way.as_ref().map_or(found, |now| now.began));
    let now = match on_its_way {
        Some(now) => now,
        None => {
            copy(&store, found, but_notes)?;
            OnItsWay { began: found, from: found, place: Vec::new() }
        }
    };
    let mut batch = writer.begin();
    now.put(&mut batch)?;
    batch.commit(Durability::Synced)?;
    Ok(Some(now))
}

fn one_part(writer: &mut Writer, step: &Step, now: OnItsWay) -> Result<OnItsWay, StorageError> {
    let mut batch = writer.begin();
    let now = match (step.part)(&mut batch, &now.place)? {
        Some(place) => OnItsWay { place, ..now },
        None => OnItsWay { from: now.from + 1, place: Vec::new(), ..now },
    };
    now.put(&mut batch)?;
    batch.commit(Durability::Buffered)?;
    Ok(now)
}

/// Takes away all rows of search, then writes them anew.
fn search_anew(batch: &mut Batch<'_>, place: &[u8]) -> Result<Next, StorageError> {
    if place.is_empty() {
        batch.delete_range(Family::Search, &[], &BEHIND_ALL_KEYS)?;
        return Ok(Some(key::number(0).to_vec()));
    }
    let (store, mut len) = (batch.store().clone(), 0);
    for row in store.scan(Family::Event, &[], place)? {
        let (at, row) = row?;
        if len > PART_LEN {
            return Ok(Some(at.to_vec()));
        }
        len += row.len();
        let (number, row) = (key::to_number(&at, "event key")?, EventRow::from_bytes(&row)?);
        let Some(event) = store.event(number)?.filter(|event| event.log.class == Class::Content) else { continue };
        if let (Body::Kept(payload), Some(content)) = (&event.body, event.content()) {
            len += payload.bytes.len();
            batch.index_words(number, row.log, event.position().clock, &content);
        }
    }
    Ok(None)
}

/// Copies a store as it is, by links where the disk has them, and on the disk when it has its name.
fn copy(store: &Store, schema: u32, but_notes: &[&str]) -> Result<(), StorageError> {
    let to = beside(store.path(), &format!("{COPY}{schema}"));
    let part = beside(store.path(), &format!("{COPY}{schema}.part"));
    for folder in [&part, &to] {
        remove(folder).map_err(|source| StorageError::Io { path: folder.clone(), source })?;
    }
    Checkpoint::new(store.db())?.create_checkpoint(&part)?;
    drop_notes(&part, but_notes)?;
    let named = || {
        fs::rename(&part, &to)?;
        File::open(to.parent().unwrap_or(Path::new("/")))?.sync_all()
    };
    named().map_err(|source| StorageError::Io { path: to.clone(), source })
}

/// A new family is to be dropped here as well: who knew the old schema alone does not open a store that has others.
fn drop_notes(folder: &Path, but_notes: &[&str]) -> Result<(), StorageError> {
    let family = |name: String| {
        // Without what these rows are merged by nothing is to be merged.
        let mut options = Options::default();
        options.set_disable_auto_compactions(true);
        ColumnFamilyDescriptor::new(name, options)
    };
    let names = DB::list_cf(&Options::default(), folder)?;
    let db = DB::open_cf_descriptors(&Options::default(), folder, names.into_iter().map(family))?;
    let meta = db.cf_handle(Family::Meta.name()).ok_or(Damage::Missing(Family::Meta.name()))?;
    let mut synced = WriteOptions::default();
    synced.set_sync(true);
    for name in but_notes {
        db.delete_cf_opt(meta, key::note(name), &synced)?;
    }
    Ok(())
}

impl Store {
    /// Takes away copies of this store, as it was under older schemas, that have been kept long enough.
    pub fn forget_old_copies(&self) {
        for copy in copies(self.path()) {
            let made = fs::metadata(&copy).and_then(|found| found.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
            if made.elapsed().is_ok_and(|age| age > KEPT_FOR) {
                drop(remove(&copy));
            }
        }
    }

    /// Takes away all of them; whether none is left.
    pub(crate) fn forget_copies(&self) -> bool {
        copies(self.path()).iter().all(|copy| remove(copy).is_ok())
    }

    /// The same; whether there were any, and all are gone.
    pub fn make_room_of_copies(&self) -> bool {
        !copies(self.path()).is_empty() && self.forget_copies()
    }

    /// Bytes that they have on the disk and the store has not.
    pub(crate) fn copies_bytes(&self) -> u64 {
        let files = copies(self.path()).into_iter().filter_map(|copy| fs::read_dir(copy).ok()).flatten().flatten();
        files.filter_map(|file| file.metadata().ok()).filter(|m| m.is_file() && m.nlink() == 1).map(|m| m.len()).sum()
    }
}

/// Those beside a store, also one that was begun; what somebody else called nearly so is none.
fn copies(store: &Path) -> Vec<PathBuf> {
    let older = (1..SCHEMA).flat_map(|schema| [format!("{COPY}{schema}"), format!("{COPY}{schema}.part")]);
    older.map(|name| beside(store, &name)).filter(|copy| copy.is_dir()).collect()
}

/// What lies beside a store, by what its name goes on with.
fn beside(store: &Path, with: &str) -> PathBuf {
    let mut name = store.file_name().unwrap_or_default().to_owned();
    name.push(with);
    store.with_file_name(name)
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// What the name of a copy goes on with; behind it, the schema.
const COPY: &str = ".schema-";
/// How long a copy is kept.
const KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// What is read for a part, in bytes.
const PART_LEN: usize = 1 << 20;
const PLACE_LEN_MAX: usize = 64;
/// Longer than any key that begins so.
const BEHIND_ALL_KEYS: [u8; 16] = [0xff; 16];

#[cfg(test)]
#[path = "migrate_tests.rs"]
mod tests;

//! Writing: one writer, one batch at a time; a batch carries events with all their indexes, or nothing.

use crate::counters::Counters;
use crate::error::{Damage, StorageError};
use crate::key::{self, LogNumber, Position, RoomNumber};
use crate::logs::{LogRow, NamedLog};
use crate::mark::Mark;
use crate::rooms::{Profile, RoomRow};
use crate::row::{EventRow, Remains};
use crate::schema::Family;
use crate::search::Pending;
use crate::store::Store;
use rocksdb::{WriteBatch, WriteOptions};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tidings_protocol::codec::encode;
use tidings_protocol::event::{Class, Hlc};
use tidings_protocol::id::{EventId, RoomId, UserId};
use tidings_protocol::log::{Log, LogState, Tip};

/// When a commit returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Once the write-ahead log is on disk: what may be acknowledged, announced, shown.
    Synced,
    /// Once it would survive the process; a later synced commit covers it.
    Buffered,
}

/// The only one who writes the store.
pub struct Writer {
    store: Store,
    counters: Counters,
    /// Flushes and compactions that had failed when a batch was taken.
    pub(crate) failures: u64,
    mark: Mark,
}

impl Writer {
    pub(crate) fn new(store: Store) -> Result<Self, StorageError> {
        let counters = store.find_row(Family::Meta, key::META_NEXT, "counters")?;
        let mark = Mark::of(store.path());
        Ok(Writer { store, counters: counters.unwrap_or(Counters { event: 1, log: 1, room: 1 }), failures: 0, mark })
    }

    /// Begins a batch. Dropped without `commit`, it leaves nothing.
    pub fn begin(&mut self) -> Batch<'_> {
        let counters = self.counters;
        Batch {
            writer: self,
            rows: WriteBatch::default(),
            counters,
            now_ms: 0,
            new_events: HashMap::new(),
            ids: HashMap::new(),
            places: HashMap::new(),
            profiles: HashMap::new(),
            renamed: BTreeSet::new(),
            logs: BTreeMap::new(),
            rooms: BTreeMap::new(),
            search: Pending::default(),
            shreds: false,
        }
    }

    /// The store, for reading.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Puts everything committed so far on disk.
    ///
    /// # Errors
    /// `DiskFull`, `Rocks`: the process must end, what the kernel kept is unknown.
    pub fn sync(&mut self) -> Result<(), StorageError> {
        // Before: what another thread writes meanwhile may not be on disk.
        let number = self.store.db().latest_sequence_number();
        self.store.noted(self.store.db().flush_wal(true).map_err(StorageError::from))?;
        self.mark.set(number);
        Ok(())
    }
}

/// Changes that will be there together or not at all. Reads through the store do not see them yet.
pub struct Batch<'w> {
    writer: &'w mut Writer,
    rows: WriteBatch,
    pub(crate) counters: Counters,
    /// When what is appended came, Unix milliseconds.
    pub(crate) now_ms: u64,
    /// Events of this batch, by id.
    pub(crate) new_events: HashMap<EventId, NewEvent>,
    /// Rows of the `id` family that this batch writes.
    pub(crate) ids: HashMap<[u8; 8], Vec<u64>>,
    /// Timeline rows that this batch has read or written, by key.
    pub(crate) places: HashMap<[u8; 20], Place>,
    /// Profiles of this batch, by key.
    profiles: HashMap<Vec<u8>, Profile>,
    /// Rooms in which somebody's profile comes with this batch.
    renamed: BTreeSet<RoomNumber>,
    logs: BTreeMap<(RoomNumber, Log), LogRow>,
    pub(crate) rooms: BTreeMap<RoomNumber, RoomRow>,
    pub(crate) search: Pending,
    /// It deletes what is to go from the files.
    pub(crate) shreds: bool,
}

/// An event that a batch writes, as it will be read back.
pub(crate) struct NewEvent {
    pub(crate) number: u64,
    pub(crate) room: RoomNumber,
    pub(crate) class: Class,
    pub(crate) row: EventRow,
    /// What its payload leaves when it is erased.
    pub(crate) remains: Remains,
    /// Where it stands in the timeline, if it does.
    pub(crate) place: Position,
    /// The row by which it names a file.
    pub(crate) file: Option<Vec<u8>>,
}

/// By key: neighbours go into a memtable faster.
fn sorted<K: Ord, V>(rows: HashMap<K, V>) -> Vec<(K, V)> {
    let mut rows: Vec<_> = rows.into_iter().collect();
    rows.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    rows
}

/// What stands at one place of a timeline.
#[derive(Default)]
pub(crate) struct Place {
    pub(crate) numbers: Vec<u64>,
    /// The log of each, once that was asked for.
    pub(crate) logs: Vec<LogNumber>,
    pub(crate) changed: bool,
}

impl Batch<'_> {
    /// Whether this number was given to an event by this batch.
    pub fn is_new(&self, number: u64) -> bool {
        number >= self.writer.counters.event
    }

    /// The store as it is without this batch.
    pub fn store(&self) -> &Store {
        &self.writer.store
    }

    /// Bytes to be written so far.
    pub fn len_bytes(&self) -> usize {
        self.rows.size_in_bytes()
    }

    /// Makes a room known.
    ///
    /// # Errors
    /// `Rocks`.
    pub fn add_room(&mut self, room: RoomRow) -> Result<RoomNumber, StorageError> {
        let number = RoomNumber(self.counters.room);
        self.counters.room += 1;
        self.put(Family::Room, &key::room_by_id(room.room), &number.0.to_be_bytes())?;
        self.rooms.insert(number, room);
        Ok(number)
    }

    /// Changes what is local of a room.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn change_room(&mut self, number: RoomNumber, change: impl FnOnce(&mut RoomRow)) -> Result<(), StorageError> {
        let mut row = self.room(number)?;
        let id = row.room;
        change(&mut row);
        row.room = id;
        self.rooms.insert(number, row);
        Ok(())
    }

    /// A room as this batch leaves it.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn room(&self, number: RoomNumber) -> Result<RoomRow, StorageError> {
        match self.rooms.get(&number) {
            Some(row) => Ok(row.clone()),
            None => Ok(self.store().room(number)?.ok_or(Damage::Missing("a room"))?),
        }
    }

    /// A room's number, in the store or made by this batch.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn room_number(&self, room: RoomId) -> Result<Option<RoomNumber>, StorageError> {
        match self.rooms.iter().find(|(_, row)| row.room == room) {
            Some((number, _)) => Ok(Some(*number)),
            None => self.store().room_number(room),
        }
    }

    /// The place to append to in a log, as this batch leaves it; `None` when nothing of it is held.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn top(&self, room: RoomNumber, log: &Log) -> Result<Option<Tip>, StorageError> {
        match self.logs.get(&(room, *log)) {
            Some(row) => Ok(row.state.highest()),
            None => Ok(self.store().log(room, log)?.and_then(|row| row.state.highest())),
        }
    }

    /// Whether two events of a log name the same place, as this batch leaves it.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn is_forked(&self, room: RoomNumber, log: &Log) -> Result<bool, StorageError> {
        Ok(self.held_log_row(room, log)?.is_some_and(|row| row.state.is_forked()))
    }

    /// The room that has this alias, in the store or by this batch.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn room_by_alias(&self, alias: &str) -> Result<Option<RoomNumber>, StorageError> {
        if let Some((number, _)) = self.rooms.iter().find(|(_, row)| row.alias == alias) {
            return Ok(Some(*number));
        }
        let held = self.store().room_by_alias(alias)?;
        Ok(held.filter(|number| !self.rooms.contains_key(number)))
    }

    /// Marks logs of which anything is held as moved, so that peers are told: what counts of them has changed. Returns how
    /// many there are.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn touch<'l>(
        &mut self,
        room: RoomNumber,
        logs: impl IntoIterator<Item = &'l Log>,
    ) -> Result<usize, StorageError> {
        let mut touched = 0;
        for log in logs {
            if let Some(row) = self.held_log_row(room, log)? {
                self.put_log_row(room, log, row)?;
                touched += 1;
            }
        }
        Ok(touched)
    }

    /// Puts an own event where it is kept until somebody was told of it.
    ///
    /// # Errors
    /// `Rocks`.
    pub fn put_outbox(&mut self, number: u64) -> Result<(), StorageError> {
        self.put(Family::Outbox, &key::number(number), &[])
    }

    /// Somebody was told of it.
    ///
    /// # Errors
    /// `Rocks`.
    pub fn clear_outbox(&mut self, number: u64) -> Result<(), StorageError> {
        self.delete(Family::Outbox, &key::number(number))
    }

    /// Notes whether control events of a room were lost, and nobody was found since to have no others.
    ///
    /// # Errors
    /// `Rocks`.
    pub fn put_unsure(&mut self, room: RoomNumber, is_unsure: bool) -> Result<(), StorageError> {
        match is_unsure {
            true => self.put(Family::Meta, &key::unsure(room), &[]),
            false => self.delete(Family::Meta, &key::unsure(room)),
        }
    }

    /// Keeps a small record of the node's own.
    ///
    /// # Errors
    /// `Rocks`.
    pub fn put_note(&mut self, name: &str, value: &[u8]) -> Result<(), StorageError> {
        self.put(Family::Meta, &key::note(name), value)
    }

    /// Keeps a small record no more.
    ///
    /// # Errors
    /// `Rocks`.
    pub fn drop_note(&mut self, name: &str) -> Result<(), StorageError> {
        self.delete(Family::Meta, &key::note(name))
    }

    /// Writes everything of this batch, atomically.
    ///
    /// # Errors
    /// `DiskFull`, `Rocks`: nothing of it is there. After a failed sync the process must end.
    pub fn commit(mut self, durability: Durability) -> Result<(), StorageError> {
        self.put_rooms()?;
        for (place, profile) in std::mem::take(&mut self.profiles) {
            self.put(Family::Room, &place, &encode(&profile))?;
        }
        for ((room, log), row) in std::mem::take(&mut self.logs) {
            self.put(Family::Tips, &key::tips(room, &log), &encode(&row))?;
        }
        for (key_bytes, place) in sorted(std::mem::take(&mut self.places)) {
            if place.changed && place.numbers.is_empty() {
                self.delete(Family::Timeline, &key_bytes)?;
            } else if place.changed {
                self.put(Family::Timeline, &key_bytes, &key::numbers(&place.numbers))?;
            }
        }
        for (id, numbers) in sorted(std::mem::take(&mut self.ids)) {
            match numbers.is_empty() {
                true => self.delete(Family::Id, &id)?,
                false => self.put(Family::Id, &id, &key::numbers(&numbers))?,
            }
        }
        self.put_search()?;
        let counters = self.counters;
        self.put(Family::Meta, key::META_NEXT, &encode(&counters))?;
        let mut options = WriteOptions::default();
        options.set_sync(durability == Durability::Synced);
        let rows = std::mem::take(&mut self.rows);
        let failures = self.writer.wait_for_flushes()?;
        let before = self.writer.store.db().latest_sequence_number();
        let written = self.writer.store.db().write_opt(rows, &options).map_err(StorageError::from);
        self.writer.store.noted(written)?;
        if durability == Durability::Synced {
            // At least as far as before it: the log is synced up to its end.
            self.writer.mark.set(before.saturating_add(1));
        }
        self.writer.failures = failures;
        self.writer.store.count_profiles(&self.renamed);
        if self.shreds {
            self.writer.store.note_to_shred();
        }
        self.writer.counters = self.counters;
        Ok(())
    }

    pub(crate) fn next_number(&mut self) -> u64 {
        let number = self.counters.event;
        self.counters.event += 1;
        number
    }

    pub(crate) fn put_profile(&mut self, room: RoomNumber, user: UserId, profile: Profile) -> Result<(), StorageError> {
        let place = key::profile(room, user);
        let held = self.profile(room, user)?;
        let newest = match held {
            Some(held) => held.or_newer(profile),
            None => profile,
        };
        self.profiles.insert(place, newest);
        self.renamed.insert(room);
        Ok(())
    }

    /// What somebody is called in a room, as this batch leaves it.
    pub(crate) fn profile(&self, room: RoomNumber, user: UserId) -> Result<Option<Profile>, StorageError> {
        let place = key::profile(room, user);
        match self.profiles.get(&place) {
            Some(profile) => Ok(Some(profile.clone())),
            None => self.store().find_row(Family::Room, &place, "profile"),
        }
    }

    /// The rooms' rows, and those of their aliases: every old one goes before a new one comes, so that rooms may swap.
    fn put_rooms(&mut self) -> Result<(), StorageError> {
        let rooms = std::mem::take(&mut self.rooms);
        let mut renamed = Vec::new();
        for (number, row) in &rooms {
            let before = self.store().room(*number)?.map(|held| held.alias).unwrap_or_default();
            if before != row.alias {
                renamed.push((*number, row.alias.clone()));
                if self.store().room_by_alias(&before)? == Some(*number) {
                    self.delete(Family::Room, &key::alias(&before))?;
                }
            }
            self.put(Family::Room, &key::room(*number), &encode(row))?;
        }
        for (number, alias) in renamed.into_iter().filter(|(_, alias)| !alias.is_empty()) {
            self.put(Family::Room, &key::alias(&alias), &number.0.to_be_bytes())?;
        }
        Ok(())
    }

    /// A log as this batch leaves it; a new one gets its number here.
    pub(crate) fn log_row(&mut self, room: RoomNumber, log: &Log) -> Result<LogRow, StorageError> {
        if let Some(row) = self.held_log_row(room, log)? {
            return Ok(row);
        }
        let number = LogNumber(self.counters.log);
        self.counters.log += 1;
        self.put(Family::Meta, &key::log_by_number(number), &encode(&NamedLog { room, log: *log }))?;
        Ok(LogRow { number, moved: 0, hlc: Hlc(0), bytes: 0, state: LogState::default() })
    }

    /// Whether this batch writes to a log of a room.
    pub(crate) fn writes_in(&self, room: RoomNumber) -> bool {
        self.logs.keys().any(|(of, _)| *of == room)
    }

    /// A log of which anything is held, as this batch leaves it.
    pub(crate) fn held_log_row(&self, room: RoomNumber, log: &Log) -> Result<Option<LogRow>, StorageError> {
        match self.logs.get(&(room, *log)) {
            Some(row) => Ok(Some(row.clone())),
            None => self.store().log(room, log),
        }
    }

    /// Takes a log's new state; it has moved with the room's next change.
    pub(crate) fn put_log_row(&mut self, room: RoomNumber, log: &Log, mut row: LogRow) -> Result<(), StorageError> {
        let mut known = self.room(room)?;
        known.change += 1;
        row.moved = known.change;
        self.rooms.insert(room, known);
        self.logs.insert((room, *log), row);
        Ok(())
    }

    /// Takes a log's new state of which nobody is told: what counts of it is as it was.
    pub(crate) fn keep_log_row(&mut self, room: RoomNumber, log: &Log, row: LogRow) {
        self.logs.insert((room, *log), row);
    }

    /// An event is under this number.
    pub(crate) fn add_id(&mut self, id: EventId, number: u64) -> Result<(), StorageError> {
        self.numbers_by_id(id)?.push(number);
        Ok(())
    }

    /// An event is under this number no more.
    pub(crate) fn drop_id(&mut self, id: EventId, number: u64) -> Result<(), StorageError> {
        self.numbers_by_id(id)?.retain(|n| *n != number);
        Ok(())
    }

    fn numbers_by_id(&mut self, id: EventId) -> Result<&mut Vec<u64>, StorageError> {
        let place = key::id(id);
        if !self.ids.contains_key(&place) {
            let held = self.store().find(Family::Id, &place)?;
            let numbers = held.map_or(Ok(Vec::new()), |bytes| key::to_numbers(&bytes, "id"))?;
            self.ids.insert(place, numbers);
        }
        Ok(self.ids.entry(place).or_default())
    }

    /// What this batch would write of a room's row is not written.
    pub(crate) fn drop_room(&mut self, number: RoomNumber) {
        self.rooms.remove(&number);
    }

    pub(crate) fn drop_profile(&mut self, room: RoomNumber, user: UserId) -> Result<(), StorageError> {
        let place = key::profile(room, user);
        self.profiles.remove(&place);
        self.renamed.insert(room);
        self.delete(Family::Room, &place)
    }

    /// Deletes every row whose key begins so.
    pub(crate) fn delete_all(&mut self, family: Family, prefix: &[u8]) -> Result<(), StorageError> {
        if let Some(end) = key::after_prefix(prefix) {
            self.rows.delete_range_cf(self.writer.store.family(family)?, prefix, &end);
        }
        Ok(())
    }

    pub(crate) fn delete_range(&mut self, family: Family, from: &[u8], to: &[u8]) -> Result<(), StorageError> {
        self.rows.delete_range_cf(self.writer.store.family(family)?, from, to);
        Ok(())
    }

    pub(crate) fn put(&mut self, family: Family, key: &[u8], value: &[u8]) -> Result<(), StorageError> {
        self.rows.put_cf(self.writer.store.family(family)?, key, value);
        Ok(())
    }

    /// Adds to a row without reading it.
    pub(crate) fn merge(&mut self, family: Family, key: &[u8], value: &[u8]) -> Result<(), StorageError> {
        self.rows.merge_cf(self.writer.store.family(family)?, key, value);
        Ok(())
    }

    pub(crate) fn delete(&mut self, family: Family, key: &[u8]) -> Result<(), StorageError> {
        self.rows.delete_cf(self.writer.store.family(family)?, key);
        Ok(())
    }
}

//! Making a store anew of what can be read of a damaged one. What of it is true keeps its number and every row by which it is
//! found is derived again; what is not there any more is missing as anything that never came, so that peers give it again.
//!
//! Nothing of the old store is changed. The new one is whole before its caller gives it the old one's place.

mod states;
#[cfg(test)]
mod tests;

use crate::append::{Said, is_message};
use crate::batch::{Batch, Durability, Writer};
use crate::counters::Counters;
use crate::error::{Damage, StorageError};
use crate::events::{StoredEvent, from_payload};
use crate::files;
use crate::key::{self, LogNumber, RoomNumber};
use crate::logs::{LogRow, NamedLog};
use crate::rooms::RoomRow;
use crate::row::{EventRow, Prev};
use crate::salvage::Part;
use crate::schema::{Family, repair_options};
use crate::store::{Row, Store};
use crate::verify::logs::{Verdict, on_all_cores};
use rocksdb::DB;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use tidings_protocol::codec::{decode, encode};
use tidings_protocol::control::kind;
use tidings_protocol::control::payload::{Control, ControlEvent};
use tidings_protocol::enrol::is_self_room;
use tidings_protocol::event::{Body, Class, Header};
use tidings_protocol::id::RoomId;
use tidings_protocol::log::Log;

/// What a store was made anew of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// Events that are in the new store.
    pub events: u64,
    /// Events that the old one said to have, and which are not in the new one.
    pub lost: u64,
    /// Of these, control events: without all of them it is not known who may do what. Their rooms are unsure in the new one.
    pub control_lost: u64,
    /// Stretches of rows that could not be read.
    pub unreadable: u64,
    /// Rows that had been on disk and were not in the old store any more: the end of its write-ahead log was damaged.
    pub rows_lost: u64,
    /// RocksDB's own lists of files had to be made anew first: what it left out nobody knows.
    pub was_repaired: bool,
}

impl Rebuilt {
    /// Whether the old store is known to have lost nothing.
    pub fn is_whole(&self) -> bool {
        self.lost == 0 && self.unreadable == 0 && self.rows_lost == 0 && !self.was_repaired
    }
}

/// Makes a store in a folder that is not there yet, of what can be read of another. Of these notes it has none: what is true
/// of a store only as long as nothing of it is lost.
///
/// # Errors
/// `Rocks` where so much is damaged that the old store does not open; `DiskFull`. What was made so far is to be taken away.
pub fn rebuild(from: &Path, to: &Path, but_notes: &[&str], now_ms: u64) -> Result<Rebuilt, StorageError> {
    let repaired = to.with_extension("repaired");
    let (old, was_repaired) = match Store::open_read_only(from) {
        Err(error) if error.is_damage() => match repair(from, &repaired) {
            Ok(old) => (Ok(old), true),
            Err(StorageError::Damaged(why)) => (Err(why.into()), true),
            Err(_) => (Err(error), true),
        },
        opened => (opened, false),
    };
    let made = old.and_then(|old| rebuild_from(old, to, but_notes, now_ms));
    drop(fs::remove_dir_all(&repaired));
    made.map(|made| Rebuilt { was_repaired, ..made })
}

/// Has RocksDB make its lists of files anew, in a copy of the folder.
fn repair(from: &Path, to: &Path) -> Result<Store, StorageError> {
    drop(fs::remove_dir_all(to));
    let copied = fs::create_dir(to).and_then(|()| {
        for entry in fs::read_dir(from)? {
            let (from, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
            // Table files are never written again, and may be the same.
            let is_table = from.extension().is_some_and(|ending| ending == "sst");
            if !is_table || fs::hard_link(&from, to.join(&name)).is_err() {
                fs::copy(from, to.join(name))?;
            }
        }
        Ok(())
    });
    copied.map_err(|error| match error.kind() {
        std::io::ErrorKind::StorageFull => Damage::Missing("room on the disk for a copy of the store"),
        _ => Damage::Missing("a copy of the store"),
    })?;
    DB::repair(&repair_options()?, to).map_err(StorageError::from).and_then(|()| {
        // Families that have no table are not found by it: they are made here.
        drop(Store::open(to)?);
        Store::open_read_only(to)
    })
}

fn rebuild_from(old: Store, to: &Path, but_notes: &[&str], now_ms: u64) -> Result<Rebuilt, StorageError> {
    let (_, writer) = Store::open(to)?;
    let counters = Counters { event: 1, log: 1, room: 1 };
    let purging = old.rooms_being_purged().unwrap_or_default();
    let done = Rebuilt { rows_lost: old.lost_rows(), ..Rebuilt::default() };
    let mut work = Rebuild {
        old,
        writer,
        now_ms,
        counters,
        rooms: BTreeMap::new(),
        logs: BTreeMap::new(),
        before: BTreeMap::new(),
        kept: Numbers::default(),
        unsure: BTreeSet::new(),
        purging,
        knows_counters: false,
        done,
    };
    work.copy(but_notes)?;
    work.find_logs()?;
    work.find_rooms()?;
    work.events()?;
    work.drop_unfounded()?;
    work.outbox()?;
    work.states()?;
    work.controls()?;
    work.end()
}

struct Rebuild {
    old: Store,
    writer: Writer,
    now_ms: u64,
    counters: Counters,
    rooms: BTreeMap<RoomNumber, RoomId>,
    logs: BTreeMap<LogNumber, (RoomNumber, Log)>,
    /// What the old store said of its logs.
    before: BTreeMap<LogNumber, LogRow>,
    kept: Numbers,
    /// Rooms of which control events are lost.
    unsure: BTreeSet<RoomNumber>,
    /// Rooms of which a part is gone from here on purpose, and the rest is to go.
    purging: BTreeSet<RoomNumber>,
    /// The numbers that were to be given next could be read.
    knows_counters: bool,
    done: Rebuilt,
}

impl Rebuild {
    /// What is of this node alone is taken over as it is.
    fn copy(&mut self, but_notes: &[&str]) -> Result<(), StorageError> {
        let left_out: BTreeSet<Vec<u8>> = but_notes.iter().map(|name| key::note(name)).collect();
        for family in [Family::Meta, Family::Room, Family::Erased, Family::Beacon] {
            self.each_part(family, |work, rows| {
                let mut batch = work.writer.begin();
                for (key, value) in rows {
                    let is_copied = match family {
                        // Those are written with every batch, and at the end; and what is made anew is of this schema.
                        Family::Meta if NOT_COPIED.iter().any(|other| **key == **other) => false,
                        Family::Meta => !left_out.contains(&**key),
                        // What was agreed with a peer is agreed no more where something is lost. A room's row that does
                        // not read is made anew of the room's Genesis.
                        Family::Room if key.starts_with(b"r") => decode::<RoomRow>(value, usize::MAX).is_ok(),
                        Family::Room => !key.starts_with(b"g"),
                        _ => true,
                    };
                    if is_copied {
                        batch.put(family, key, value)?;
                    }
                }
                for (number, row) in rows.iter().filter(|_| family == Family::Room).filter_map(to_room) {
                    batch.put(Family::Room, &key::room_by_id(row.room), &number.0.to_be_bytes())?;
                    batch.put(Family::Room, &key::alias(&row.alias), &number.0.to_be_bytes())?;
                }
                batch.commit(Durability::Buffered)?;
                rows.iter().for_each(|row| work.learn(family, row));
                Ok(())
            })?;
        }
        Ok(())
    }

    fn learn(&mut self, family: Family, row: &Row) {
        let (key, value) = (&*row.0, &*row.1);
        match family {
            Family::Meta if key == key::META_NEXT => {
                if let Ok(counters) = decode::<Counters>(value, usize::MAX) {
                    self.count(counters);
                    self.knows_counters = true;
                }
            }
            Family::Meta if key.starts_with(b"l") => {
                let number = key[1..].try_into().map(u32::from_be_bytes);
                if let (Ok(number), Ok(named)) = (number, decode::<NamedLog>(value, usize::MAX)) {
                    self.logs.insert(LogNumber(number), (named.room, named.log));
                }
            }
            Family::Room => self.rooms.extend(to_room(row).map(|(number, row)| (number, row.room))),
            _ => {}
        }
    }

    /// Numbers that are in use are not given again.
    fn count(&mut self, used: Counters) {
        let Counters { event, log, room } = self.counters;
        self.counters = Counters { event: event.max(used.event), log: log.max(used.log), room: room.max(used.room) };
    }

    /// What logs were, and the numbers of those whose row with the number is lost.
    fn find_logs(&mut self) -> Result<(), StorageError> {
        let known: Vec<_> = self.logs.keys().copied().collect();
        self.each_part(Family::Tips, |work, rows| {
            for (key, value) in rows {
                if let Ok((room, log, row)) = crate::verify::rows::to_log_row(key, value) {
                    work.logs.insert(row.number, (room, log));
                    work.before.insert(row.number, row);
                }
            }
            Ok(())
        })?;
        let mut batch = self.writer.begin();
        for (number, (room, log)) in self.logs.iter().filter(|(number, _)| known.binary_search(number).is_err()) {
            batch.put(Family::Meta, &key::log_by_number(*number), &encode(&NamedLog { room: *room, log: *log }))?;
        }
        batch.commit(Durability::Buffered)?;
        for (number, (room, log)) in self.logs.clone() {
            self.old.remember_log(number, (room, log));
            self.count(Counters { event: 1, log: number.0.saturating_add(1), room: room.0.saturating_add(1) });
        }
        Ok(())
    }

    /// Rooms whose row is lost are what their Genesis says, but for what was local.
    fn find_rooms(&mut self) -> Result<(), StorageError> {
        let missing: BTreeSet<_> = self.logs.values().map(|(room, _)| *room).collect();
        let is_missing = |room: &RoomNumber| !self.rooms.contains_key(room) && !self.purging.contains(room);
        let missing: BTreeSet<_> = missing.into_iter().filter(is_missing).collect();
        if missing.is_empty() {
            return Ok(());
        }
        self.each_part(Family::Event, |work, rows| {
            for (key, value) in rows {
                let Ok(row) = EventRow::from_bytes(value) else { continue };
                let Some((room, log)) = work.logs.get(&row.log).copied() else { continue };
                if row.kind != kind::GENESIS || log.class != Class::Control || !missing.contains(&room) {
                    continue;
                }
                let Ok(number) = key::to_number(key, "event key") else { continue };
                let Ok(Some(event)) = work.old.event(number) else { continue };
                let id = RoomId::from(event.id);
                let Some(signed) = work.old.signed_event(id, &event).ok().flatten() else { continue };
                let Ok(event) = signed.verify() else { continue };
                let Ok(Control::Genesis(genesis)) = ControlEvent::read(&event).map(|read| read.control) else {
                    continue;
                };
                let user = genesis.founders.first().copied();
                let found = RoomRow {
                    alias: format!("found-{}", room.0),
                    home_of: user.filter(|user| is_self_room(&event, *user)),
                    ..RoomRow::new(id, genesis.kind, genesis.secret)
                };
                let mut batch = work.writer.begin();
                batch.put(Family::Room, &key::room(room), &encode(&found))?;
                batch.put(Family::Room, &key::room_by_id(id), &room.0.to_be_bytes())?;
                batch.put(Family::Room, &key::alias(&found.alias), &room.0.to_be_bytes())?;
                batch.commit(Durability::Buffered)?;
                work.rooms.insert(room, id);
            }
            Ok(())
        })
    }

    /// Every event that is true, with the rows by which it is found.
    fn events(&mut self) -> Result<(), StorageError> {
        self.each_part(Family::Event, |work, rows| {
            let numbers = rows.iter().filter_map(|(key, _)| key::to_number(key, "event key").ok());
            let events: Vec<(StoredEvent, Header)> = numbers.filter_map(|number| work.read(number)).collect();
            let verdicts = on_all_cores(&events);
            let is_true = |v: &Verdict| matches!(v, Verdict { has_its_id: true, signed: None | Some(true) });
            let mut batch = work.writer.begin();
            for ((event, header), _) in events.iter().zip(verdicts).filter(|(_, verdict)| is_true(verdict)) {
                let mut row = work.old.event_row(event.number)?.ok_or(Damage::Missing("an event"))?;
                let below = match row.prev {
                    Prev::Before => event.number.checked_sub(1),
                    Prev::Number(below) => Some(below),
                    Prev::None | Prev::Id(_) => None,
                };
                if below.is_some_and(|below| !work.kept.has(below)) {
                    row.prev = Prev::Id(header.prev);
                }
                put(&mut batch, event, &row)?;
                work.kept.add(event.number);
                work.done.events += 1;
                work.counters.event = work.counters.event.max(event.number.saturating_add(1));
            }
            batch.commit(Durability::Buffered)
        })
    }

    /// An event with its header; nothing where it cannot be told.
    fn read(&self, number: u64) -> Option<(StoredEvent, Header)> {
        let event = self.old.event(number).ok()??;
        let room = self.rooms.get(&event.room)?;
        let header = self.old.header(*room, &event).ok()?;
        (header.log_of(event.id) == event.log && header.seq == event.seq).then_some((event, header))
    }

    /// Own events that nobody was told of, as far as they are there.
    fn outbox(&mut self) -> Result<(), StorageError> {
        self.each_part(Family::Outbox, |work, rows| {
            let mut batch = work.writer.begin();
            for (key, value) in rows {
                if key::to_number(key, "outbox key").is_ok_and(|number| work.kept.has(number)) {
                    batch.put(Family::Outbox, key, value)?;
                }
            }
            batch.commit(Durability::Buffered)
        })
    }

    /// What was listed as a room's control events and is not there, whatever the rows of its logs say.
    fn controls(&mut self) -> Result<(), StorageError> {
        let mut missing = 0;
        self.each_part(Family::Control, |work, rows| {
            for (key, _) in rows {
                let Some((room, number)) = key.split_first_chunk::<4>() else { continue };
                let room = RoomNumber(u32::from_be_bytes(*room));
                let is_kept = key::to_number(number, "control key").is_ok_and(|number| work.kept.has(number));
                if !is_kept && !work.purging.contains(&room) {
                    missing += 1;
                    work.unsure.insert(room);
                }
            }
            Ok(())
        })?;
        self.done.control_lost = self.done.control_lost.max(missing);
        self.done.lost = self.done.lost.max(self.done.control_lost);
        Ok(())
    }

    fn end(mut self) -> Result<Rebuilt, StorageError> {
        let counters = self.counters;
        self.done.unreadable += u64::from(!self.knows_counters);
        let mut batch = self.writer.begin();
        batch.counters = counters;
        for room in self.unsure.iter().filter(|room| self.rooms.contains_key(room)) {
            batch.put_unsure(*room, true)?;
        }
        let Rebuilt { events, lost, .. } = self.done;
        batch.put_note(REBUILT_NOTE, format!("{} {events} {lost}", self.now_ms).as_bytes())?;
        batch.commit(Durability::Synced)?;
        Ok(self.done)
    }

    fn each_part(
        &mut self,
        family: Family,
        mut take: impl FnMut(&mut Self, &[Row]) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let old = self.old.clone();
        old.each_part(family, |part| match part {
            Part::Rows(rows) => take(self, rows),
            Part::Unreadable { .. } => {
                self.done.unreadable += 1;
                Ok(())
            }
        })
    }
}

fn to_room((key, value): &Row) -> Option<(RoomNumber, RoomRow)> {
    let number = key.strip_prefix(b"r")?.try_into().map(u32::from_be_bytes).ok()?;
    Some((RoomNumber(number), decode(value, usize::MAX).ok()?))
}

/// An event as it was, and the rows by which it is found.
fn put(batch: &mut Batch<'_>, event: &StoredEvent, row: &EventRow) -> Result<(), StorageError> {
    let number = event.number;
    batch.put(Family::Event, &key::number(number), &row.to_bytes())?;
    batch.add_id(row.id, number)?;
    batch.put(Family::Log, &key::log(row.log, row.seq, number), &[])?;
    let content = event.content();
    if let Body::Kept(payload) = &event.body {
        batch.put(Family::Payload, &key::number(number), &from_payload(payload))?;
        if let Some(place) = files::row(event.room, content.as_ref(), number) {
            batch.put(Family::File, &place, &[])?;
        }
    }
    if event.log.class == Class::Control {
        return batch.put(Family::Control, &key::control(event.room, number), &[]);
    }
    let (is_kept, stands) = (event.body != Body::Erased, is_message(event.kind, content.as_ref()));
    let said = Said { content: content.as_ref(), is_kept, stands };
    batch.index_said(event.room, number, row.log, event.position(), said)
}

/// The note of when a store was made anew (Unix milliseconds), of how many events, and how many were lost.
pub const REBUILT_NOTE: &str = "rebuilt";

/// Rows of `meta` that a new store has of its own.
const NOT_COPIED: [&[u8]; 3] = [key::META_SCHEMA, key::META_NEXT, key::META_MIGRATING];

/// A set of local numbers: a bit for each.
#[derive(Default)]
struct Numbers(Vec<u64>);

impl Numbers {
    fn add(&mut self, number: u64) {
        let at = (number / 64) as usize;
        if self.0.len() <= at {
            self.0.resize(at + 1, 0);
        }
        self.0[at] |= 1 << (number % 64);
    }

    fn drop(&mut self, number: u64) {
        if let Some(bits) = self.0.get_mut((number / 64) as usize) {
            *bits &= !(1 << (number % 64));
        }
    }

    fn has(&self, number: u64) -> bool {
        self.0.get((number / 64) as usize).is_some_and(|bits| bits & (1 << (number % 64)) != 0)
    }
}

//! Making a store anew of what can be read of a damaged one. What of it is true keeps its number and every row by which it is
//! found is derived again; what is not there any more is missing as anything that never came, so that peers give it again.
//!
//! Nothing of the old store is changed. The new one is whole before its caller gives it the old one's place.

use crate::append::{Said, is_message};
use crate::batch::{Batch, Durability, Writer};
use crate::counters::Counters;
use crate::error::{Damage, StorageError};
use crate::events::{StoredEvent, from_payload};
use crate::files;
use crate::key::{self, LogNumber, RoomNumber};
use crate::logs::{LogRow, NamedLog};
use crate::relation;
use crate::rooms::RoomRow;
use crate::row::{EventRow, Prev};
use crate::salvage::Part;
use crate::schema::Family;
use crate::store::{Row, Store};
use crate::timeline::claimed_position;
use crate::trimming::cost;
use crate::verify::logs::{Verdict, on_all_cores};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use tidings_protocol::codec::{decode, encode};
use tidings_protocol::content::Content;
use tidings_protocol::control::kind;
use tidings_protocol::control::payload::Control;
use tidings_protocol::event::{Body, Class, Header, Hlc};
use tidings_protocol::id::{EventId, RoomId};
use tidings_protocol::log::{Log, LogState, Run, Tip, Trim};

/// What a store was made anew of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// Events that are in the new store.
    pub events: u64,
    /// Events that the old one said to have, and which are not in the new one.
    pub lost: u64,
    /// Stretches of rows that could not be read.
    pub unreadable: u64,
}

/// Makes a store in a folder that is not there yet, of what can be read of another. Of these notes it has none: what is true
/// of a store only as long as nothing of it is lost.
///
/// # Errors
/// `Rocks` where so much is damaged that the old store does not open; `DiskFull`. What was made so far is to be taken away.
pub fn rebuild(from: &Path, to: &Path, but_notes: &[&str], now_ms: u64) -> Result<Rebuilt, StorageError> {
    let old = Store::open_read_only(from)?;
    let (_, writer) = Store::open(to)?;
    let counters = Counters { event: 1, log: 1, room: 1 };
    let mut work = Rebuild {
        old,
        writer,
        now_ms,
        counters,
        rooms: BTreeMap::new(),
        logs: BTreeMap::new(),
        before: BTreeMap::new(),
        kept: Numbers::default(),
        done: Rebuilt::default(),
    };
    work.copy(but_notes)?;
    work.find_logs()?;
    work.find_rooms()?;
    work.events()?;
    work.states()?;
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
    done: Rebuilt,
}

impl Rebuild {
    /// What is of this node alone is taken over as it is.
    fn copy(&mut self, but_notes: &[&str]) -> Result<(), StorageError> {
        let left_out: BTreeSet<Vec<u8>> = but_notes.iter().map(|name| key::note(name)).collect();
        for family in [Family::Meta, Family::Room, Family::Erased, Family::Outbox, Family::Beacon] {
            self.each_part(family, |work, rows| {
                let mut batch = work.writer.begin();
                for (key, value) in rows {
                    let is_copied = match family {
                        // Both are written with every batch, and at the end.
                        Family::Meta if **key == *key::META_SCHEMA || **key == *key::META_NEXT => false,
                        Family::Meta => !left_out.contains(&**key),
                        // What was agreed with a peer is agreed no more where something is lost.
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
        let missing: BTreeSet<_> = missing.into_iter().filter(|room| !self.rooms.contains_key(room)).collect();
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
                let Body::Kept(payload) = &event.body else { continue };
                let Ok(Control::Genesis(genesis)) = Control::decode(event.kind, &payload.bytes) else { continue };
                let id = RoomId::from(event.id);
                let found =
                    RoomRow { alias: format!("found-{}", room.0), ..RoomRow::new(id, genesis.kind, genesis.secret) };
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

    /// What is held of each log, from its events.
    fn states(&mut self) -> Result<(), StorageError> {
        for (number, (room, log)) in self.logs.clone() {
            let before = self.before.get(&number).cloned();
            let floor = before.as_ref().map_or(0, |row| row.state.floor());
            let mut row = LogRow { number, moved: 0, hlc: Hlc(0), bytes: 0, state: LogState::default() };
            self.fill(log.class, &mut row, floor)?;
            let held = before.map_or(row.state.held(), |before| before.state.held());
            self.done.lost += held.saturating_sub(row.state.held());
            if row.state.held() > 0 {
                let mut batch = self.writer.begin();
                batch.put_log_row(room, &log, row)?;
                batch.commit(Durability::Buffered)?;
            }
        }
        Ok(())
    }

    /// Takes the events of a log in, the lowest first, as runs of which each event names the one below. Where it is in more
    /// pieces than a log may be, the lowest go, to be fetched again.
    fn fill(&mut self, class: Class, row: &mut LogRow, floor: u64) -> Result<(), StorageError> {
        let store = self.writer.store().clone();
        let mut branches = Branches::new(class, self.now_ms);
        let mut pieces = Vec::new();
        for number in store.numbers_of_log(row.number)? {
            let number = number?;
            let event = store.event_row(number)?.ok_or(Damage::Missing("an event of a log"))?;
            if !branches.holds(event.seq, store.prev_id(number, event.prev)?) && event.seq > 1 {
                pieces.push(event.seq);
            }
            branches.step(Tip { seq: event.seq, id: event.id });
        }
        let lowest = pieces.len().checked_sub(PIECES_MAX).map_or(0, |at| pieces[at]);
        let mut branches = Branches::new(class, self.now_ms);
        let mut batch = self.writer.begin();
        for number in store.numbers_of_log(row.number)? {
            let number = number?;
            let event = store.event_row(number)?.ok_or(Damage::Missing("an event of a log"))?;
            if event.seq < lowest {
                forget(&mut batch, &store, number)?;
                self.done.events -= 1;
                continue;
            }
            let payload = store.find(Family::Payload, &key::number(number))?.map_or(0, |payload| payload.len());
            row.hlc = row.hlc.max(event.hlc);
            row.bytes += cost(event.to_bytes().len(), payload);
            branches.take(Tip { seq: event.seq, id: event.id }, store.prev_id(number, event.prev)?)?;
        }
        batch.commit(Durability::Buffered)?;
        row.state = branches.end(floor)?;
        Ok(())
    }

    fn end(mut self) -> Result<Rebuilt, StorageError> {
        let counters = self.counters;
        let mut batch = self.writer.begin();
        batch.counters = counters;
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

/// Takes an event out again.
fn forget(batch: &mut Batch<'_>, store: &Store, number: u64) -> Result<(), StorageError> {
    let event = store.event(number)?.ok_or(Damage::Missing("an event"))?;
    let row = store.event_row(number)?.ok_or(Damage::Missing("an event"))?;
    let content = event.content();
    for family in [Family::Event, Family::Payload] {
        batch.delete(family, &key::number(number))?;
    }
    batch.drop_id(event.id, number)?;
    batch.delete(Family::Log, &key::log(row.log, row.seq, number))?;
    batch.delete(Family::Control, &key::control(event.room, number))?;
    batch.drop_place(key::timeline(event.room, event.position()), number)?;
    if let Some(Content::Imported(record)) = &content {
        batch.drop_place(key::claimed(event.room, claimed_position(record)), number)?;
    }
    if let Some(place) = files::row(event.room, content.as_ref(), number) {
        batch.delete(Family::File, &place)?;
    }
    if let Some(place) = content.as_ref().and_then(relation::place) {
        batch.delete(Family::Relation, &key::relation(event.room, &place, number))?;
    }
    content.iter().for_each(|content| batch.forget_words(number, content));
    Ok(())
}

/// A log's state, as its events come in by seq.
struct Branches {
    class: Class,
    now_ms: u64,
    state: LogState,
    /// Runs that may go on: what stands highest, and where they began.
    open: Vec<Run>,
    /// Events of the seq that came last, and of the one below it.
    seq: u64,
    here: BTreeSet<EventId>,
    below: BTreeSet<EventId>,
    /// What events name.
    named: BTreeSet<Tip>,
}

impl Branches {
    fn new(class: Class, now_ms: u64) -> Self {
        let (here, below, named) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        Branches { class, now_ms, state: LogState::default(), open: Vec::new(), seq: 0, here, below, named }
    }

    /// Whether an event that an event of this seq names came.
    fn holds(&self, seq: u64, prev: EventId) -> bool {
        match seq.checked_sub(1) {
            Some(below) if below == self.seq => self.here.contains(&prev),
            Some(_) if seq == self.seq => self.below.contains(&prev),
            _ => false,
        }
    }

    fn step(&mut self, at: Tip) {
        if at.seq != self.seq {
            let is_next = self.seq.checked_add(1) == Some(at.seq);
            let here = std::mem::take(&mut self.here);
            self.below = if is_next { here } else { BTreeSet::new() };
            self.seq = at.seq;
        }
        self.here.insert(at.id);
    }

    fn take(&mut self, at: Tip, prev: EventId) -> Result<(), StorageError> {
        let prev_held = self.holds(at.seq, prev);
        self.step(at);
        let below = Tip { seq: at.seq.saturating_sub(1), id: prev };
        match self.open.iter_mut().find(|run| run.top == below) {
            Some(run) => run.top = at,
            None => {
                // What it stands on has to be in the log before it.
                self.close(|open| prev_held && open.first_seq <= below.seq && below.seq <= open.top.seq)?;
                self.open.push(Run { first_seq: at.seq, prev, prev_held, top: at });
                if !prev_held && at.seq > 1 {
                    self.named.insert(below);
                }
            }
        }
        Ok(())
    }

    fn close(&mut self, is_due: impl Fn(&Run) -> bool) -> Result<(), StorageError> {
        let (due, open) = std::mem::take(&mut self.open).into_iter().partition(is_due);
        self.open = open;
        let due: Vec<Run> = due;
        for run in due {
            self.state.insert_of(self.class, run, self.now_ms)?;
        }
        Ok(())
    }

    fn end(mut self, floor: u64) -> Result<LogState, StorageError> {
        self.close(|_| true)?;
        if floor > 0 {
            let kept: Vec<Tip> = self.state.tips().iter().copied().filter(|tip| tip.seq < floor).collect();
            let missing = |tip: &&Tip| self.state.holes().iter().any(|hole| hole.top == **tip);
            let tops: Vec<Tip> = self.named.iter().filter(missing).copied().collect();
            self.state.trim(Trim { below: floor, kept: &kept, tops: &tops, gone: 0 }, self.now_ms);
        }
        Ok(self.state)
    }
}

/// The note of when a store was made anew (Unix milliseconds), of how many events, and how many were lost.
pub const REBUILT_NOTE: &str = "rebuilt";
/// Pieces of a log that are kept, of those that holes divide: fewer than a log may have.
const PIECES_MAX: usize = 32;

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

    fn has(&self, number: u64) -> bool {
        self.0.get((number / 64) as usize).is_some_and(|bits| bits & (1 << (number % 64)) != 0)
    }
}

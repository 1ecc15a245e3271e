//! Appending verified events to a log, with every index that they need, in the batch at hand.

use crate::batch::{Batch, NewEvent, Place};
use crate::error::StorageError;
use crate::events::from_payload;
use crate::files;
use crate::key::{self, LogNumber, Position, RoomNumber};
use crate::logs::LogRow;
use crate::relation;
use crate::rooms::Profile;
use crate::row::{EventRow, Prev, Remains};
use crate::schema::Family;
use crate::timeline::{claimed_clock, claimed_position};
use crate::trimming::cost;
use tidings_protocol::content::{Content, Imported, kind};
use tidings_protocol::event::{Body, Class, Hlc, VerifiedEvent};
use tidings_protocol::id::{EventId, UserId};
use tidings_protocol::limits::CLOCK_AHEAD_MAX_MS;
use tidings_protocol::log::{Log, Run, Tip};

/// A verified and admitted event, and what reading it told.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The event.
    pub event: &'a VerifiedEvent,
    /// What it says; `None` for control events and erased payloads.
    pub content: Option<&'a Content>,
    /// The user for whom its device speaks; needed for profiles.
    pub user: Option<UserId>,
    /// Its payload is to be left out: its user erased it.
    pub erased: bool,
    /// Its payload is to be left out: this node's operator does not want it.
    pub purged: bool,
}

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// New, under this local number.
    Stored(u64),
    /// Held already, under this one.
    Known(u64),
    /// Held under this one, and its payload, which was missing, is back.
    Filled(u64),
    /// Trimmed here, or as old as what was, and nobody reads back that far: it was left out.
    GivenUp,
}

impl Batch<'_> {
    /// Appends consecutive events of one branch of one log, ascending. What is held already is passed over.
    ///
    /// # Errors
    /// `Log` when the log takes no more branches, and what came before in `entries` is in the batch; otherwise `Rocks`, `Damaged`.
    pub fn append(
        &mut self,
        room: RoomNumber,
        entries: &[Entry<'_>],
        now_ms: u64,
    ) -> Result<Vec<Appended>, StorageError> {
        let mut out = Vec::with_capacity(entries.len());
        let mut run_start = 0;
        self.now_ms = now_ms;
        self.new_events.reserve(entries.len());
        self.ids.reserve(entries.len());
        let missing = match entries.first() {
            Some(first) if entries.len() > 1 => self.missing(room, &first.event.log())?,
            _ => Vec::new(),
        };
        let held = self.held_many(entries)?;
        for (n, (entry, held)) in entries.iter().zip(held).enumerate() {
            if let Some(number) = held {
                self.append_run(room, &entries[run_start..n], &mut out, now_ms)?;
                let is_back = self.refill(room, entry, number)?;
                out.push(if is_back { Appended::Filled(number) } else { Appended::Known(number) });
                run_start = n + 1;
            } else if missing.contains(&entry.event.id()) {
                // What another branch waits for ends a run of its own: its hole closes, and what follows is a fork.
                self.append_run(room, &entries[run_start..=n], &mut out, now_ms)?;
                run_start = n + 1;
            }
        }
        self.append_run(room, &entries[run_start..], &mut out, now_ms)?;
        Ok(out)
    }

    /// The events that branches of a log wait for, or would where they were trimmed.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn missing(&self, room: RoomNumber, log: &Log) -> Result<Vec<EventId>, StorageError> {
        let row = self.held_log_row(room, log)?;
        Ok(row.iter().flat_map(|row| row.state.holes()).map(|hole| hole.top.id).collect())
    }

    /// Whether a log lacks anything but what was trimmed.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn lacks(&self, room: RoomNumber, log: &Log) -> Result<bool, StorageError> {
        let row = self.held_log_row(room, log)?;
        Ok(row.is_some_and(|row| row.state.holes().iter().any(|hole| !row.state.is_trimmed(hole))))
    }

    /// The numbers of those events that are in the store or in this batch; remembers what shares the beginning of an id.
    fn held_many(&mut self, entries: &[Entry<'_>]) -> Result<Vec<Option<u64>>, StorageError> {
        let keys: Vec<[u8; 8]> = entries.iter().map(|entry| key::id(entry.event.id())).collect();
        let mut sharing = Vec::new();
        let mut out = Vec::with_capacity(entries.len());
        for ((entry, place), row) in entries.iter().zip(&keys).zip(self.store().find_many(Family::Id, &keys)?) {
            let id = entry.event.id();
            let mut held = self.new_events.get(&id).map(|new| new.number);
            if let (None, Some(row)) = (held, row) {
                let numbers = key::to_numbers(&row, "id")?;
                for number in &numbers {
                    if self.store().event_row(*number)?.is_some_and(|row| row.id == id) {
                        held = Some(*number);
                    }
                }
                sharing.extend(held.is_none().then_some((*place, numbers)));
            }
            out.push(held);
        }
        for (place, numbers) in sharing {
            self.ids.entry(place).or_insert(numbers);
        }
        Ok(out)
    }

    /// The number of an event in the store or in this batch, if it is at this place of this log.
    fn held_at(&self, id: EventId, log: LogNumber, seq: u64) -> Result<Option<u64>, StorageError> {
        if let Some(new) = self.new_events.get(&id) {
            return Ok((new.row.log == log && new.row.seq == seq).then_some(new.number));
        }
        let Some(number) = self.store().number_of(id)? else { return Ok(None) };
        Ok(self.store().event_row(number)?.filter(|row| row.log == log && row.seq == seq).map(|_| number))
    }

    fn append_run(
        &mut self,
        room: RoomNumber,
        entries: &[Entry<'_>],
        out: &mut Vec<Appended>,
        now_ms: u64,
    ) -> Result<(), StorageError> {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return Ok(()) };
        let log = first.event.log();
        let mut row = self.log_row(room, &log)?;
        let prev = first.event.header().prev;
        // A predecessor in another log, or not just below, is a lie, and stays missing.
        let prev_number = match first.event.header().seq.checked_sub(1) {
            Some(below) if prev != EventId::ZERO => self.held_at(prev, row.number, below)?,
            _ => None,
        };
        let run = Run {
            first_seq: first.event.header().seq,
            prev,
            prev_held: prev_number.is_some(),
            top: Tip { seq: last.event.header().seq, id: last.event.id() },
        };
        if row.state.is_given_up(&run) {
            out.extend(entries.iter().map(|_| Appended::GivenUp));
            return Ok(());
        }
        row.state.insert_of(log.class, run, now_ms)?;
        let mut before = match prev_number {
            Some(number) => Prev::Number(number),
            None if prev == EventId::ZERO => Prev::None,
            None => Prev::Id(prev),
        };
        let places: Vec<Position> = entries.iter().map(|entry| place(entry, now_ms)).collect();
        self.load_places(
            entries.iter().zip(&places).filter(|(e, _)| stands_in_timeline(e)).map(|(_, p)| key::timeline(room, *p)),
        )?;
        for (entry, place) in entries.iter().zip(places) {
            let number = self.next_number();
            if before == Prev::Number(number - 1) {
                before = Prev::Before;
            }
            row.hlc = row.hlc.max(entry.event.header().hlc);
            row.bytes += self.put_event(room, entry, &row, place, number, before)?;
            before = Prev::Before;
            out.push(Appended::Stored(number));
        }
        self.put_log_row(room, &log, row)
    }

    fn put_event(
        &mut self,
        room: RoomNumber,
        entry: &Entry<'_>,
        log: &LogRow,
        place: Position,
        number: u64,
        prev: Prev,
    ) -> Result<u64, StorageError> {
        let header = entry.event.header();
        let remains = Remains { len: header.payload_len, commit: header.payload_commit };
        let kept = match entry.event.body() {
            Body::Kept(payload) if is_kept(entry) => Some(payload),
            _ => None,
        };
        let row = EventRow {
            id: entry.event.id(),
            kind: header.kind,
            log: log.number,
            seq: header.seq,
            prev,
            hlc: header.hlc,
            parents: header.parents.clone(),
            clock: (place.clock != header.hlc.0).then_some(place.clock),
            signature: entry.event.signature().copied(),
            erased: kept.is_none().then_some(remains),
            purged: entry.purged && !entry.erased && matches!(entry.event.body(), Body::Kept(_)),
        };
        if row.purged {
            self.list_wordless(room, &row, number)?;
        }
        let row_bytes = row.to_bytes();
        let mut bytes = cost(row_bytes.len(), 0);
        self.put(Family::Event, &key::number(number), &row_bytes)?;
        if let Some(payload) = kept.map(from_payload) {
            bytes += payload.len() as u64;
            self.put(Family::Payload, &key::number(number), &payload)?;
        }
        let file = kept.and_then(|_| files::row(room, entry.content, number));
        if let Some(place) = &file {
            self.put(Family::File, place, &[])?;
        }
        self.ids.entry(key::id(row.id)).or_default().push(number);
        self.new_events.insert(row.id, NewEvent { number, room, class: header.class, row, remains, place, file });
        self.put(Family::Log, &key::log(log.number, header.seq, number), &[])?;
        match header.class {
            Class::Control => self.put(Family::Control, &key::control(room, number), &[])?,
            Class::Content => self.index_content(room, entry, number, log.number, place)?,
        }
        Ok(bytes)
    }

    fn index_content(
        &mut self,
        room: RoomNumber,
        entry: &Entry<'_>,
        number: u64,
        log: LogNumber,
        place: Position,
    ) -> Result<(), StorageError> {
        let said = Said { content: entry.content, is_kept: is_kept(entry), stands: stands_in_timeline(entry) };
        self.index_said(room, number, log, place, said)?;
        if let (Some(Content::Profile { name, home }), Some(user), true) = (entry.content, entry.user, is_kept(entry)) {
            // By a clock that is far ahead nobody could be called anything else later: it counts as said when it came.
            let profile = Profile::new(place.clock, name, *home, self.now_ms);
            self.put_profile(room, user, profile)?;
        }
        Ok(())
    }

    /// The rows by which a content event is found.
    pub(crate) fn index_said(
        &mut self,
        room: RoomNumber,
        number: u64,
        log: LogNumber,
        place: Position,
        said: Said<'_>,
    ) -> Result<(), StorageError> {
        if said.stands {
            self.put_place(key::timeline(room, place), number, log)?;
        }
        if let Some(Content::Imported(record)) = said.content
            && place.clock != claimed_clock(record)
        {
            self.put_place(key::claimed(room, claimed_position(record)), number, log)?;
        }
        if let Some(content) = said.content.filter(|_| said.is_kept) {
            self.index_words(number, log, place.clock, content);
        }
        match said.content.and_then(relation::place) {
            Some(place) => self.put(Family::Relation, &key::relation(room, &place, number), &[]),
            None => Ok(()),
        }
    }

    /// Indexes an event anew whose payload is back, and which stood at `before` without it; where it stands now.
    pub(crate) fn index_again(
        &mut self,
        room: RoomNumber,
        entry: &Entry<'_>,
        number: u64,
        before: [u8; 20],
    ) -> Result<Position, StorageError> {
        let at = place(entry, self.now_ms);
        if key::timeline(room, at) != before {
            self.drop_place(before, number)?;
        }
        let log = self.log_row(room, &entry.event.log())?.number;
        self.index_content(room, entry, number, log, at)?;
        Ok(at)
    }

    pub(crate) fn drop_place(&mut self, place: [u8; 20], number: u64) -> Result<(), StorageError> {
        self.load_places(std::iter::once(place))?;
        let place = self.places.entry(place).or_default();
        if let Some(at) = place.numbers.iter().position(|n| *n == number) {
            place.numbers.remove(at);
            if at < place.logs.len() {
                place.logs.remove(at);
            }
            place.changed = true;
        }
        Ok(())
    }

    /// Lists an event at a place of the timeline, beside those of other logs: whoever writes the same again and again does
    /// not keep others from standing there.
    fn put_place(&mut self, place: [u8; 20], number: u64, log: LogNumber) -> Result<(), StorageError> {
        self.load_places(std::iter::once(place))?;
        let store = self.store().clone();
        let place = self.places.entry(place).or_default();
        while let Some(held) = place.numbers.get(place.logs.len()) {
            place.logs.push(store.event_row(*held)?.map_or(LogNumber(0), |row| row.log));
        }
        let of_log = place.logs.iter().filter(|other| **other == log).count();
        if place.numbers.len() < SAME_PLACE_MAX && of_log < SAME_LOG_MAX && !place.numbers.contains(&number) {
            place.numbers.push(number);
            place.logs.push(log);
            place.changed = true;
        }
        Ok(())
    }

    /// Reads the places of a timeline that this batch does not know yet.
    fn load_places(&mut self, places: impl Iterator<Item = [u8; 20]>) -> Result<(), StorageError> {
        let unknown: Vec<[u8; 20]> = places.filter(|place| !self.places.contains_key(place)).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let mut loaded = Vec::with_capacity(unknown.len());
        for row in self.store().find_many(Family::Timeline, &unknown)? {
            loaded.push(row.map_or(Ok(Vec::new()), |bytes| key::to_numbers(&bytes, "timeline"))?);
        }
        self.places.reserve(unknown.len());
        for (place, numbers) in unknown.into_iter().zip(loaded) {
            self.places.insert(place, Place { numbers, ..Place::default() });
        }
        Ok(())
    }

    /// The numbers of the events that import each of these records, in the store or in this batch.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn imported(&mut self, room: RoomNumber, records: &[Imported]) -> Result<Vec<Vec<u64>>, StorageError> {
        let at: Vec<Position> = records.iter().map(claimed_position).collect();
        self.load_places(at.iter().flat_map(|at| [key::timeline(room, *at), key::claimed(room, *at)]))?;
        let numbers = |place| self.places.get(&place).map(|place| place.numbers.as_slice()).unwrap_or_default();
        Ok(at.iter().map(|at| [numbers(key::timeline(room, *at)), numbers(key::claimed(room, *at))].concat()).collect())
    }
}

/// What is known of what a content event says.
pub(crate) struct Said<'a> {
    pub(crate) content: Option<&'a Content>,
    /// Whether its words stay.
    pub(crate) is_kept: bool,
    /// Whether it is a message of its own.
    pub(crate) stands: bool,
}

/// Whether what an event says is to be kept.
fn is_kept(entry: &Entry<'_>) -> bool {
    !entry.erased && !entry.purged && matches!(entry.event.body(), Body::Kept(_))
}

/// Whether an event is a message of its own. An erased one is told by its kind.
fn stands_in_timeline(entry: &Entry<'_>) -> bool {
    is_message(entry.event.header().kind, entry.content)
}

pub(crate) fn is_message(kind: u16, content: Option<&Content>) -> bool {
    match content {
        Some(content) => content.is_message(),
        // Without its words nobody knows where a quoted message would stand.
        None => kind != kind::ADOPTED && kind::is_message(kind),
    }
}

/// Where an event stands on screen: by its clock, by the time that an imported record claims, or, when its clock is far
/// ahead of ours, where it arrived.
fn place(entry: &Entry<'_>, now_ms: u64) -> Position {
    let hlc = entry.event.header().hlc;
    let ahead = hlc.ms() > now_ms.saturating_add(CLOCK_AHEAD_MAX_MS);
    let clock = if ahead { Hlc::at_ms(now_ms).0 } else { hlc.0 };
    match entry.content {
        Some(Content::Imported(record)) => {
            Position { clock: claimed_clock(record).min(clock), tie: key::prefix(&record.source_id()) }
        }
        // Where the message would stand, that no page shows both.
        Some(Content::Adopted(adopted)) => {
            Position { clock: adopted.hlc().0.min(clock), tie: key::id(adopted.message) }
        }
        _ => Position { clock, tie: key::id(entry.event.id()) },
    }
}

/// Events that one place of the timeline lists: imports of the same record, or ids with the same beginning.
const SAME_PLACE_MAX: usize = 64;
/// Of one log.
pub(crate) const SAME_LOG_MAX: usize = 4;

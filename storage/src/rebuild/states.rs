//! What is held of a log, found out of its events alone: as they come in by seq, in runs of which each names the one below.

use super::Rebuild;
use crate::batch::{Batch, Durability};
use crate::error::{Damage, StorageError};
use crate::files;
use crate::key;
use crate::logs::LogRow;
use crate::relation;
use crate::schema::Family;
use crate::store::Store;
use crate::timeline::claimed_position;
use crate::trimming::cost;
use std::collections::BTreeSet;
use tidings_protocol::content::Content;
use tidings_protocol::event::{Class, Hlc};
use tidings_protocol::id::EventId;
use tidings_protocol::log::{LogState, Run, Tip, Trim};

/// A log's state, as its events come in by seq.
pub(super) struct Branches {
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
    pub(super) fn new(class: Class, now_ms: u64) -> Self {
        let (here, below, named) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        Branches { class, now_ms, state: LogState::default(), open: Vec::new(), seq: 0, here, below, named }
    }

    /// Whether an event that an event of this seq names came.
    pub(super) fn holds(&self, seq: u64, prev: EventId) -> bool {
        match seq.checked_sub(1) {
            Some(below) if below == self.seq => self.here.contains(&prev),
            Some(_) if seq == self.seq => self.below.contains(&prev),
            _ => false,
        }
    }

    pub(super) fn step(&mut self, at: Tip) {
        if at.seq != self.seq {
            let is_next = self.seq.checked_add(1) == Some(at.seq);
            let here = std::mem::take(&mut self.here);
            self.below = if is_next { here } else { BTreeSet::new() };
            self.seq = at.seq;
        }
        self.here.insert(at.id);
    }

    pub(super) fn take(&mut self, at: Tip, prev: EventId) -> Result<(), StorageError> {
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

    pub(super) fn end(mut self, floor: u64) -> Result<LogState, StorageError> {
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

impl Rebuild {
    /// What is held of each log, from its events.
    pub(super) fn states(&mut self) -> Result<(), StorageError> {
        for (number, (room, log)) in self.logs.clone() {
            let before = self.before.get(&number).cloned();
            let floor = before.as_ref().map_or(0, |row| row.state.floor());
            let mut row = LogRow { number, moved: 0, hlc: Hlc(0), bytes: 0, state: LogState::default() };
            self.fill(log.class, &mut row, floor)?;
            let held = before.map_or(row.state.held(), |before| before.state.held());
            let lost = held.saturating_sub(row.state.held());
            self.done.lost += lost;
            if log.class == Class::Control && !self.purging.contains(&room) {
                // A control event comes after all that it rests on: a hole is a loss, also where nothing tells how many there were.
                let lost = lost.max(row.state.holes().len() as u64);
                self.done.control_lost += lost;
                self.unsure.extend((lost > 0).then_some(room));
            }
            if row.state.held() > 0 {
                let mut batch = self.writer.begin();
                batch.put_log_row(room, &log, row)?;
                batch.commit(Durability::Buffered)?;
            }
        }
        Ok(())
    }

    /// Control events that rest on one that is lost go, to come back behind it: who holds them says nothing of what lies below.
    pub(super) fn drop_unfounded(&mut self) -> Result<(), StorageError> {
        let store = self.writer.store().clone();
        for (room, id) in self.rooms.clone() {
            let set = store.control_set(room, id)?;
            let mut batch = self.writer.begin();
            for id in set.waiting() {
                let number = store.number_of(id)?.ok_or(Damage::Missing("an event"))?;
                forget(&mut batch, &store, number)?;
                self.kept.drop(number);
                self.done.events -= 1;
                self.unsure.insert(room);
            }
            batch.commit(Durability::Buffered)?;
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
        let first = pieces.len().saturating_sub(PIECES_MAX);
        // A log that its author forked as often as may be has no room for pieces: then more of them go.
        let bounds = pieces.get(first..).unwrap_or_default().iter().copied();
        let mut bounds = std::iter::once(if first == 0 { 0 } else { pieces[first] }).chain(bounds);
        let (lowest, state) = loop {
            let Some(lowest) = bounds.next() else { break (u64::MAX, LogState::default()) };
            let mut branches = Branches::new(class, self.now_ms);
            let mut taken = Ok(());
            for number in store.numbers_of_log(row.number)? {
                let number = number?;
                let event = store.event_row(number)?.ok_or(Damage::Missing("an event of a log"))?;
                if event.seq >= lowest && taken.is_ok() {
                    taken = branches.take(Tip { seq: event.seq, id: event.id }, store.prev_id(number, event.prev)?);
                }
            }
            match taken.and_then(|()| branches.end(floor)) {
                Err(StorageError::Log(_)) => {}
                ended => break (lowest, ended?),
            }
        };
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
        }
        batch.commit(Durability::Buffered)?;
        row.state = state;
        Ok(())
    }
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

/// Pieces of a log that are kept, of those that holes divide: fewer than a log may have.
const PIECES_MAX: usize = 32;

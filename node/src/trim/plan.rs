//! What of a room goes: its logs are raised step by step, always the one whose lowest event is the oldest, until enough has
//! gone. What nobody else is known to hold stays, and so does the newest page.

use crate::rooms::RoomView;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use tidings_protocol::event::Class;
use tidings_protocol::id::DeviceId;
use tidings_protocol::log::Log;
use tidings_storage::{Direction, LogRow, Position, Step, StorageError, Store};

/// What is to be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// So many bytes go.
    Bytes(u64),
    /// What stands before this clock goes, but for what nobody else is known to hold.
    Before(u64),
    /// What stands before this clock goes.
    Expired(u64),
}

/// How far the logs of a room are raised.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Everything below these goes.
    pub(super) logs: BTreeMap<Log, u64>,
    /// All that is older than this goes, or is not held.
    pub(super) since: u64,
    /// Bytes that go, about.
    pub(super) bytes: u64,
}

struct Cursor {
    log: Log,
    row: LogRow,
    /// What is next to go, ascending.
    steps: Vec<Step>,
    /// Bytes of an event, about.
    event_bytes: u64,
    /// Local numbers from this one on nobody else is known to hold.
    private_from: u64,
}

/// Decides what goes of a room.
pub(super) fn plan(store: &Store, view: &RoomView, us: DeviceId, goal: Goal) -> Result<Plan, StorageError> {
    let newest = store.timeline(view.number, Position::LAST, Direction::Older, NEWEST_KEPT)?;
    let bound = match goal {
        Goal::Before(clock) | Goal::Expired(clock) => clock,
        // With fewer messages than a page nothing goes.
        Goal::Bytes(_) if newest.len() < NEWEST_KEPT => 0,
        Goal::Bytes(_) => newest.last().map_or(0, |place| place.position.clock),
    };
    let shared = store.shared_up_to(view.number, us)?.saturating_add(1);
    let own = store.outbox()?.into_iter().min().unwrap_or(u64::MAX).min(shared);
    // Nobody may ever have asked for the bytes of our files.
    let own = own.min(store.own_file_from(view.number, us)?.unwrap_or(u64::MAX));
    let mut plan = Plan::default();
    let mut cursors = Vec::new();
    let mut oldest = BinaryHeap::new();
    for (log, row) in store.logs(view.number, Class::Content)? {
        let is_private = log.author == us && !matches!(goal, Goal::Expired(_));
        let private_from = if is_private { own } else { u64::MAX };
        let event_bytes = row.bytes / row.state.held().max(1);
        let steps = steps_from(store, &row, (0, 0), STEP_EVENTS, STEPS_READ)?;
        if let Some(first) = steps.first() {
            oldest.push(Reverse((first.clock, cursors.len())));
            cursors.push(Cursor { log, row, steps, event_bytes, private_from });
        }
    }
    while let Some(Reverse((clock, at))) = oldest.pop() {
        let is_enough = matches!(goal, Goal::Bytes(bytes) if plan.bytes >= bytes);
        let Some(cursor) = cursors.get_mut(at).filter(|_| clock < bound && !is_enough) else { break };
        plan.since = plan.since.max(clock);
        if let Some(next) = cursor.raise(store, bound, &mut plan)? {
            oldest.push(Reverse((next, at)));
        }
    }
    if plan.since > 0 {
        close_holes(store, &cursors, &mut plan)?;
    }
    Ok(plan)
}

/// Logs that reach no further back and have a hole below: what is in it is as old as what goes.
fn close_holes(store: &Store, cursors: &[Cursor], plan: &mut Plan) -> Result<(), StorageError> {
    for cursor in cursors {
        if plan.logs.contains_key(&cursor.log) {
            continue;
        }
        let state = &cursor.row.state;
        let holes = state.holes().iter().filter(|hole| !state.is_trimmed(hole));
        let mut floor = None;
        for hole in holes {
            let clock = store.clock_above(&cursor.row, hole.top)?;
            if clock.is_some_and(|clock| clock < plan.since) {
                floor = floor.max(hole.top.seq.checked_add(1));
            }
        }
        // Only where nothing that is held goes by it.
        let lowest = cursor.steps.first().map(|step| step.seq);
        if let Some(floor) = floor.filter(|floor| lowest.is_some_and(|lowest| lowest >= *floor)) {
            plan.logs.insert(cursor.log, floor);
        }
    }
    Ok(())
}

impl Cursor {
    /// Raises the log by a step; where it stands then, if more of it may go.
    fn raise(&mut self, store: &Store, bound: u64, plan: &mut Plan) -> Result<Option<u64>, StorageError> {
        let Some(top) = self.row.state.highest() else { return Ok(None) };
        if self.steps.len() < 2
            && let Some(first) = self.steps.first().copied()
        {
            self.steps = steps_from(store, &self.row, (first.seq, first.number), STEP_EVENTS, STEPS_READ)?;
        }
        let mut steps = self.steps.iter().copied();
        let Some(first) = steps.next() else { return Ok(None) };
        let whole = steps.next().filter(|next| next.clock < bound && next.number < self.private_from);
        let (below, next) = match whole {
            Some(next) => (next.seq, Some(next.clock)),
            // One by one: the step goes too far, or there is none.
            None => (self.edge(store, first, bound)?, None),
        };
        let below = below.min(top.seq);
        self.steps.remove(0);
        if below > first.seq {
            plan.bytes += self.event_bytes.saturating_mul(below - first.seq);
            plan.logs.insert(self.log, below);
        }
        Ok(next)
    }

    /// The first event from here on, within a step, that stays.
    fn edge(&self, store: &Store, first: Step, bound: u64) -> Result<u64, StorageError> {
        let events = steps_from(store, &self.row, (first.seq, first.number), 1, STEP_EVENTS + 1)?;
        let stays = |event: &Step| event.clock >= bound || event.number >= self.private_from;
        let goes = events.iter().position(stays).unwrap_or(events.len());
        let last = events.get(..goes).and_then(<[Step]>::last);
        Ok(last.map_or(first.seq, |last| last.seq.saturating_add(1)))
    }
}

/// Every so many events of a log, each as old as the oldest that follows it: what was said before history was imported goes
/// with that.
fn steps_from(
    store: &Store,
    row: &LogRow,
    from: (u64, u64),
    step: usize,
    max: usize,
) -> Result<Vec<Step>, StorageError> {
    let mut steps = store.steps(row, from, step, max)?;
    let mut oldest = u64::MAX;
    for step in steps.iter_mut().rev() {
        oldest = oldest.min(step.clock);
        step.clock = oldest;
    }
    Ok(steps)
}

/// Messages of a room that stay whatever its size: the page that one sees first.
const NEWEST_KEPT: usize = 50;
/// Events by which a log is raised at a time.
const STEP_EVENTS: usize = 128;
/// Steps of a log that are read at a time.
const STEPS_READ: usize = 8;

//! What is held of a log, found out of its events alone: as they come in by seq, in runs of which each names the one below.

use crate::error::StorageError;
use std::collections::BTreeSet;
use tidings_protocol::event::Class;
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

//! Logs: (class, author, grant) in a room, linked by `prev`. What a node holds of one is described by its tips and
//! its holes: a gap is always known, and a fork makes the log a tree of which every branch counts.
//!
//! Pure bookkeeping: the caller says what it holds, this says what that means. Rows of the store carry it.

use crate::codec::{Canonical, CodecError, Reader, Writer};
use crate::event::Class;
use crate::id::{DeviceId, EventId};
use crate::limits::{CONTROL_TIPS_MAX, TIPS_PER_LOG_MAX};
use thiserror::Error;

/// Which log of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Log {
    /// Control or content.
    pub class: Class,
    /// Whose.
    pub author: DeviceId,
    /// Under which grant: one device may have several.
    pub grant: EventId,
}

impl Canonical for Log {
    fn write(&self, w: &mut Writer) {
        self.class.write(w);
        self.author.write(w);
        self.grant.write(w);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Log { class: Class::read(r)?, author: DeviceId::read(r)?, grant: EventId::read(r)? })
    }
}

/// A place in a log: names everything below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tip {
    /// Its number.
    pub seq: u64,
    /// Its id.
    pub id: EventId,
}

/// A missing stretch: `top` is named by an event that is held, and is not held itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hole {
    /// The highest missing event.
    pub top: Tip,
    /// Nothing of the log is known to be held between this seq and the top; 0 when nothing below is.
    pub above: u64,
    /// When it was first seen, Unix milliseconds of this node.
    pub since_ms: u64,
}

/// Consecutive events of one branch that are about to be held, none of which is held yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The lowest event's number.
    pub first_seq: u64,
    /// What the lowest event names as its predecessor.
    pub prev: EventId,
    /// Whether that predecessor is held.
    pub prev_held: bool,
    /// The highest event.
    pub top: Tip,
}

/// What is held of one log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogState {
    tips: Vec<Tip>,
    holes: Vec<Hole>,
    forked: bool,
    /// Whether seq 1 is held.
    grounded: bool,
    held: u64,
    /// What lies below this seq was given up here, but for heads and what was fetched back; 0 where nothing was.
    floor: u64,
}

/// What goes from the bottom of a log to save room.
#[derive(Debug, Clone, Copy)]
pub struct Trim<'a> {
    /// Everything below this seq goes.
    pub below: u64,
    /// But for these: heads of branches that end below.
    pub kept: &'a [Tip],
    /// What went and is named by an event that stays: the holes that this leaves.
    pub tops: &'a [Tip],
    /// How many events go.
    pub gone: u64,
}

/// Why a run is not taken into a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LogError {
    /// The log has more branches than anybody makes by mistake.
    #[error("this log has {TIPS_PER_LOG_MAX} branches already")]
    TooManyBranches,
}

impl LogState {
    /// The highest events of every branch and stretch held, ascending.
    pub fn tips(&self) -> &[Tip] {
        &self.tips
    }

    /// What is missing, ascending by its top.
    pub fn holes(&self) -> &[Hole] {
        &self.holes
    }

    /// Whether two events held name the same place.
    pub fn is_forked(&self) -> bool {
        self.forked
    }

    /// How many events are held.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// The seq below which this was trimmed; 0 where nothing was.
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// Whether a hole was left by trimming: it is known what it hides, and it is asked for only by whoever reads back.
    pub fn is_trimmed(&self, hole: &Hole) -> bool {
        hole.top.seq < self.floor
    }

    /// Whether a run is of what was trimmed, or as old, and nothing that is held leads to it.
    pub fn is_given_up(&self, run: &Run) -> bool {
        run.top.seq < self.floor && !run.prev_held && self.holes.iter().all(|hole| hole.top != run.top)
    }

    /// Below this seq a tip may be the ancestor of another, by what a hole between them hides; 0 where there is none. What
    /// stands there is told all the same: the hole may never be filled, and what lies below it is history.
    pub fn covered(&self) -> u64 {
        let holes = self.holes.iter().filter(|hole| !self.is_trimmed(hole));
        holes.map(|hole| hole.top.seq).max().unwrap_or(0)
    }

    /// The place to append to: the highest tip, the smallest id among equals.
    pub fn highest(&self) -> Option<Tip> {
        let seq = self.tips.last()?.seq;
        self.tips.iter().copied().find(|t| t.seq == seq)
    }

    /// The seq above which a head of `seq` is missing, as far as numbers can tell.
    pub fn missing_above(&self, seq: u64) -> u64 {
        self.tips.iter().map(|t| t.seq).filter(|s| *s < seq).max().unwrap_or(0)
    }

    /// Takes a run in. `count` events, `top.seq - first_seq + 1`.
    ///
    /// # Errors
    /// `LogError::TooManyBranches`; nothing has changed then.
    pub fn insert(&mut self, run: Run, now_ms: u64) -> Result<(), LogError> {
        self.insert_of(Class::Content, run, now_ms)
    }

    /// Takes a run of a log of this class in. Of control logs the room's rules say which branches are worth having.
    ///
    /// # Errors
    /// `LogError::TooManyBranches`; nothing has changed then.
    pub fn insert_of(&mut self, class: Class, run: Run, now_ms: u64) -> Result<(), LogError> {
        let tips_max = match class {
            Class::Control => CONTROL_TIPS_MAX,
            Class::Content => TIPS_PER_LOG_MAX,
        };
        // By its place as well: who names it at another one names what is not there.
        let fills = self.holes.iter().any(|h| h.top == run.top);
        let extends = self.tips.iter().position(|t| run.prev_held && t.id == run.prev);
        if !fills && extends.is_none() && self.tips.len() >= tips_max {
            return Err(LogError::TooManyBranches);
        }
        self.holes.retain(|h| h.top != run.top);
        match extends {
            Some(at) => drop(self.tips.remove(at)),
            None if run.first_seq == 1 => {
                self.forked |= self.grounded;
                self.grounded = true;
            }
            None if run.prev_held => self.forked = true,
            None => self.open_hole(run, now_ms),
        }
        if !fills {
            let at = self.tips.partition_point(|t| *t < run.top);
            self.tips.insert(at, run.top);
        }
        self.held += run.top.seq.saturating_sub(run.first_seq) + 1;
        self.lower_holes(run);
        Ok(())
    }

    /// Takes note of what went from the bottom. Heads stay what they were.
    pub fn trim(&mut self, trim: Trim<'_>, now_ms: u64) {
        let stays = |tip: &Tip| tip.seq >= trim.below || trim.kept.contains(tip);
        self.tips.retain(stays);
        self.floor = self.floor.max(trim.below);
        self.held = self.held.saturating_sub(trim.gone);
        self.grounded &= trim.below <= 1 || trim.kept.iter().any(|tip| tip.seq == 1);
        // A hole further down was named by what went.
        self.holes.retain(|hole| hole.top.seq.saturating_add(1) >= trim.below || trim.tops.contains(&hole.top));
        for top in trim.tops {
            if self.holes.iter().all(|hole| hole.top != *top) {
                let hole = Hole { top: *top, above: self.missing_above(top.seq), since_ms: now_ms };
                let at = self.holes.partition_point(|h| h.top < hole.top);
                self.holes.insert(at, hole);
            }
        }
        let floor = self.floor;
        for hole in self.holes.iter_mut().filter(|hole| hole.top.seq >= floor) {
            hole.above = hole.above.max(floor - 1);
        }
    }

    /// Takes note of what went from the top: everything above a seq. `at` are the events held there, which nothing stands on
    /// any more. It is as if the rest had never come.
    pub fn keep_to(&mut self, seq: u64, at: &[Tip], gone: u64) {
        self.tips.retain(|tip| tip.seq <= seq);
        self.tips.extend(at.iter().copied());
        self.tips.sort_unstable();
        self.tips.dedup();
        self.holes.retain(|hole| hole.top.seq < seq);
        self.held = self.held.saturating_sub(gone);
        self.grounded &= self.held > 0;
        self.forked &= self.held > 0;
    }

    /// Gives nothing up any more: what was trimmed is missing like anything else.
    pub fn lift_floor(&mut self) {
        self.floor = 0;
    }

    fn open_hole(&mut self, run: Run, now_ms: u64) {
        let top = Tip { seq: run.first_seq - 1, id: run.prev };
        if self.holes.iter().any(|h| h.top == top) {
            self.forked = true;
            return;
        }
        let hole = Hole { top, above: self.missing_above(run.first_seq), since_ms: now_ms };
        let at = self.holes.partition_point(|h| h.top < hole.top);
        self.holes.insert(at, hole);
    }

    /// A run that lies inside a hole's span brings that hole's lower end nearer.
    fn lower_holes(&mut self, run: Run) {
        for hole in &mut self.holes {
            if run.top.seq < hole.top.seq && run.top.seq > hole.above {
                hole.above = run.top.seq;
            }
        }
    }
}

impl Canonical for Tip {
    fn write(&self, w: &mut Writer) {
        w.u64(self.seq);
        self.id.write(w);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Tip { seq: r.u64()?, id: EventId::read(r)? })
    }
}

impl Canonical for Hole {
    fn write(&self, w: &mut Writer) {
        self.top.write(w);
        w.u64(self.above);
        w.u64(self.since_ms);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Hole { top: Tip::read(r)?, above: r.u64()?, since_ms: r.u64()? })
    }
}

impl Canonical for LogState {
    fn write(&self, w: &mut Writer) {
        w.list(&self.tips);
        w.list(&self.holes);
        w.u8(u8::from(self.forked));
        w.u8(u8::from(self.grounded));
        w.u64(self.held);
        w.u64(self.floor);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(LogState {
            tips: r.sorted(CONTROL_TIPS_MAX)?,
            holes: r.sorted(TIPS_PER_LOG_MAX * 2)?,
            forked: r.u8()? == 1,
            grounded: r.u8()? == 1,
            held: r.u64()?,
            floor: r.u64()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn id(n: usize) -> EventId {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&(n as u64 + 1).to_be_bytes());
        EventId(bytes)
    }

    /// Event n of a random tree: its seq and its parent.
    fn tree(choices: &[usize]) -> Vec<(u64, Option<usize>)> {
        let mut events: Vec<(u64, Option<usize>)> = vec![(1, None)];
        for (n, choice) in choices.iter().enumerate() {
            // Mostly the newest, so that there are long runs; sometimes any, or another root.
            let parent = match choice % 10 {
                0 => Some(choice / 10 % (n + 1)),
                1 if *choice > 900 => None,
                _ => Some(n),
            };
            let seq = parent.map_or(1, |p| events[p].0 + 1);
            events.push((seq, parent));
        }
        events
    }

    fn insert(state: &mut LogState, held: &mut BTreeSet<usize>, events: &[(u64, Option<usize>)], n: usize) {
        let (seq, parent) = events[n];
        let run = Run {
            first_seq: seq,
            prev: parent.map_or(EventId::ZERO, id),
            prev_held: parent.is_some_and(|p| held.contains(&p)),
            top: Tip { seq, id: id(n) },
        };
        assert_eq!(state.insert(run, 0), Ok(()));
        held.insert(n);
    }

    proptest! {
        #[test]
        fn any_order_of_delivery_ends_in_the_same_state(choices in prop::collection::vec(0usize..1000, 0..60), order in any::<u64>()) {
            let events = tree(&choices);
            let mut shuffled: Vec<usize> = (0..events.len()).collect();
            shuffled.sort_by_key(|n| blake3::hash(&[order.to_be_bytes(), (*n as u64).to_be_bytes()].concat()).as_bytes().to_owned());
            let (mut state, mut held) = (LogState::default(), BTreeSet::new());
            for n in shuffled {
                insert(&mut state, &mut held, &events, n);
                // Every event held whose parent is not has a hole, and no other hole is there.
                let holes: BTreeSet<EventId> = held.iter().filter_map(|n| events[*n].1).filter(|p| !held.contains(p)).map(id).collect();
                prop_assert_eq!(state.holes().iter().map(|h| h.top.id).collect::<BTreeSet<_>>(), holes);
            }
            let parents: BTreeSet<usize> = events.iter().filter_map(|e| e.1).collect();
            let leaves: BTreeSet<EventId> = (0..events.len()).filter(|n| !parents.contains(n)).map(id).collect();
            let mut children: BTreeMap<Option<usize>, usize> = BTreeMap::new();
            for (_, parent) in &events {
                *children.entry(*parent).or_default() += 1;
            }
            prop_assert_eq!(state.tips().iter().map(|t| t.id).collect::<BTreeSet<_>>(), leaves);
            prop_assert_eq!(state.is_forked(), children.values().any(|n| *n > 1));
            prop_assert_eq!(state.held(), events.len() as u64);
        }
    }

    fn run(first_seq: u64, prev: usize, prev_held: bool, top_seq: u64, top: usize) -> Run {
        Run {
            first_seq,
            prev: if first_seq == 1 { EventId::ZERO } else { id(prev) },
            prev_held,
            top: Tip { seq: top_seq, id: id(top) },
        }
    }

    #[test]
    fn a_suffix_shows_what_is_missing_and_filling_it_leaves_one_tip() {
        let mut log = LogState::default();
        assert_eq!(log.insert(run(1, 0, false, 5, 5), 1), Ok(()));
        assert_eq!(log.insert(run(90, 89, false, 99, 99), 2), Ok(()));
        assert_eq!(log.holes(), [Hole { top: Tip { seq: 89, id: id(89) }, above: 5, since_ms: 2 }]);
        assert_eq!((log.tips().iter().map(|t| t.seq).collect::<Vec<_>>(), log.covered()), (vec![5, 99], 89));
        assert_eq!(log.insert(run(50, 49, false, 89, 89), 3), Ok(()));
        assert_eq!(log.holes()[0].top.seq, 49);
        assert_eq!(log.insert(run(6, 5, true, 49, 49), 4), Ok(()));
        assert_eq!((log.holes().len(), log.tips().len(), log.held(), log.is_forked()), (0, 1, 99, false));
    }

    #[test]
    fn what_is_trimmed_leaves_heads_as_they_were_and_comes_back_from_its_top_down() {
        let mut log = LogState::default();
        assert_eq!(log.insert(run(1, 0, false, 99, 99), 1), Ok(()));
        // Another branch, that ends at 30.
        assert_eq!(log.insert(run(20, 19, true, 30, 1030), 1), Ok(()));
        let heads: Vec<Tip> = log.tips().to_vec();
        let kept = [Tip { seq: 30, id: id(1030) }];
        let tops = [Tip { seq: 29, id: id(1029) }, Tip { seq: 59, id: id(59) }];
        log.trim(Trim { below: 60, kept: &kept, tops: &tops, gone: 69 }, 2);
        assert_eq!(log.tips(), heads);
        assert_eq!((log.floor(), log.held(), log.is_forked()), (60, 41, true));
        assert!(log.holes().iter().all(|hole| log.is_trimmed(hole)));
        // What went comes again unasked, beside what is asked for.
        let stray = run(1, 0, false, 40, 40);
        assert!(log.is_given_up(&stray) && !log.is_given_up(&run(40, 39, false, 59, 59)));
        assert_eq!(log.insert(run(40, 39, false, 59, 59), 3), Ok(()));
        assert!(log.holes().iter().all(|hole| log.is_trimmed(hole)), "{:?}", log.holes());
        assert_eq!(log.insert(run(1, 0, false, 39, 39), 3), Ok(()));
        assert_eq!(log.insert(run(20, 19, true, 29, 1029), 3), Ok(()));
        assert_eq!((log.holes().len(), log.held()), (0, 110));
        assert_eq!(log.tips(), heads);
        assert_eq!(crate::codec::decode::<LogState>(&crate::codec::encode(&log), 4096), Ok(log));
    }

    #[test]
    fn what_goes_from_the_top_comes_again_like_anything_new() {
        let mut log = LogState::default();
        assert_eq!(log.insert(run(1, 0, false, 50, 50), 1), Ok(()));
        assert_eq!(log.insert(run(20, 19, true, 40, 1040), 1), Ok(()));
        assert_eq!(log.insert(run(60, 59, false, 99, 99), 1), Ok(()));
        log.keep_to(30, &[Tip { seq: 30, id: id(30) }, Tip { seq: 30, id: id(1030) }], 70);
        assert_eq!(log.tips().iter().map(|tip| tip.id).collect::<Vec<_>>(), [id(30), id(1030)]);
        assert_eq!((log.held(), log.holes().len()), (41, 0));
        assert_eq!(log.insert(run(31, 30, true, 50, 50), 2), Ok(()));
        assert_eq!(log.insert(run(31, 1030, true, 40, 1040), 2), Ok(()));
        assert_eq!((log.held(), log.tips().len(), log.is_forked()), (71, 2, true));
        log.keep_to(0, &[], 71);
        assert_eq!(log, LogState::default());
    }

    #[test]
    fn a_floor_that_lies_above_a_hole_asks_for_nothing_below() {
        let mut log = LogState::default();
        assert_eq!(log.insert(run(10, 9, false, 20, 20), 1), Ok(()));
        assert_eq!(log.insert(run(50, 49, false, 60, 60), 1), Ok(()));
        log.trim(Trim { below: 50, kept: &[], tops: &[], gone: 11 }, 2);
        assert_eq!((log.holes().len(), log.tips().len()), (1, 1));
        assert!(log.is_trimmed(&log.holes()[0]));
        assert_eq!(log.insert(run(90, 89, false, 99, 99), 3), Ok(()));
        assert_eq!((log.holes()[1].above, log.is_trimmed(&log.holes()[1])), (60, false));
        log.lift_floor();
        assert!(!log.is_trimmed(&log.holes()[0]));
    }

    #[test]
    fn a_flood_of_branches_ends_and_changes_nothing() {
        let mut log = LogState::default();
        assert_eq!(log.insert(run(1, 0, false, 2, 2), 0), Ok(()));
        for n in 0..TIPS_PER_LOG_MAX - 1 {
            assert_eq!(log.insert(run(2, 1, true, 2, 100 + n), 0), Ok(()));
        }
        let before = log.clone();
        assert_eq!(log.insert(run(2, 1, true, 2, 999), 0), Err(LogError::TooManyBranches));
        assert_eq!(log, before);
    }
}

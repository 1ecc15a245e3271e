//! What a room's cuts leave of a content log that is held: which events count, which others show that those do, and
//! which heads to tell. An event that a cut keeps is one that it names, or an ancestor by `prev` of one, however high its
//! number.

use crate::error::StorageError;
use crate::key::{LogNumber, RoomNumber};
use crate::logs::LogRow;
use crate::range::Walk;
use crate::store::Store;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use tidings_protocol::control::cut::Cut;
use tidings_protocol::control::state::ContentRight;
use tidings_protocol::log::{Log, Tip};

/// What is left of one log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// What counts.
    counts: Members,
    /// That, and what lies between it and an event that a cut names.
    shows: Members,
    /// The events named that are held and that no other such lies above.
    heads: Vec<Tip>,
}

/// Events of one log: by number of the log where it never forked, else by local number. Ranges, ascending and apart.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Members {
    Seqs(Vec<(u64, u64)>),
    Numbers(Vec<(u64, u64)>),
}

impl Default for Members {
    fn default() -> Self {
        Members::Seqs(Vec::new())
    }
}

/// An event that a cut names and that is held in the cut's log.
#[derive(Debug, Clone, Copy)]
struct Named {
    tip: Tip,
    number: u64,
}

/// What was found for a log, and of what.
pub(crate) struct Remembered {
    moved: u64,
    cuts: Vec<Cut>,
    kept: Arc<Kept>,
}

impl Kept {
    /// Whether an event of the log counts.
    pub fn counts(&self, seq: u64, number: u64) -> bool {
        self.counts.contains(seq, number)
    }

    /// Whether an event is to be given to others: because it counts, or because it shows that one below it does.
    pub fn shows(&self, seq: u64, number: u64) -> bool {
        self.shows.contains(seq, number)
    }

    /// The heads to tell others.
    pub fn heads(&self) -> &[Tip] {
        &self.heads
    }
}

impl Members {
    fn contains(&self, seq: u64, number: u64) -> bool {
        let (ranges, at) = match self {
            Members::Seqs(ranges) => (ranges, seq),
            Members::Numbers(ranges) => (ranges, number),
        };
        ranges.get(ranges.partition_point(|(_, last)| *last < at)).is_some_and(|(first, _)| *first <= at)
    }
}

impl Store {
    /// What cuts leave of a content log that is held.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn kept(&self, room: RoomNumber, log: &Log, right: &ContentRight<'_>) -> Result<Arc<Kept>, StorageError> {
        let Some(row) = self.log(room, log)? else { return Ok(Arc::default()) };
        if let Some(known) = self.remembered(row.number, row.moved, &right.cuts) {
            return Ok(known);
        }
        let kept = Arc::new(self.find_kept(&row, &right.cuts)?);
        let cuts = right.cuts.iter().map(|cut| (*cut).clone()).collect();
        self.remember_kept(row.number, Remembered { moved: row.moved, cuts, kept: kept.clone() });
        Ok(kept)
    }

    /// Whether an event that is held counts, by what its log's author may say.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn counts(&self, event: &crate::StoredEvent, right: &ContentRight<'_>) -> Result<bool, StorageError> {
        Ok(right.cuts.is_empty() || self.kept(event.room, &event.log, right)?.counts(event.seq, event.number))
    }

    fn find_kept(&self, row: &LogRow, cuts: &[&Cut]) -> Result<Kept, StorageError> {
        let mut named = Vec::with_capacity(cuts.len());
        for cut in cuts {
            named.push(self.named(row.number, cut)?);
        }
        if !self.is_line(row)? {
            self.kept_of_tree(row.number, cuts, &named)
        } else {
            Ok(kept_of_line(row, cuts, &named))
        }
    }

    /// Whether what is held of a log is one line, broken by holes, as far as anybody can tell. Two branches with a hole below
    /// one of them share a number with that hole.
    fn is_line(&self, row: &LogRow) -> Result<bool, StorageError> {
        let holes = row.state.holes();
        if row.state.is_forked() || holes.windows(2).any(|pair| pair[0].top.seq == pair[1].top.seq) {
            return Ok(false);
        }
        for hole in holes {
            if !self.numbers_at(row.number, hole.top.seq)?.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The events that a cut names and that are held in this log.
    fn named(&self, log: LogNumber, cut: &Cut) -> Result<Vec<Named>, StorageError> {
        let mut out = Vec::new();
        for id in &cut.ids {
            let Some(number) = self.number_of(*id)? else { continue };
            if let Some(row) = self.event_row(number)?.filter(|row| row.log == log) {
                out.push(Named { tip: Tip { seq: row.seq, id: *id }, number });
            }
        }
        Ok(out)
    }

    /// Of a log that forked: every way down is walked.
    fn kept_of_tree(&self, log: LogNumber, cuts: &[&Cut], named: &[Vec<Named>]) -> Result<Kept, StorageError> {
        let mut walk = Walk::new(self)?;
        // How many cuts keep an event, and whether any names what lies above it.
        let mut found: BTreeMap<u64, usize> = BTreeMap::new();
        let mut heads: BTreeMap<u64, Tip> = named.iter().flatten().map(|named| (named.number, named.tip)).collect();
        for (cut, named) in cuts.iter().zip(named) {
            let mut on_the_way: BTreeMap<u64, u64> = BTreeMap::new();
            for start in named {
                let mut next = walk.event(start.number)?.map(|row| (start.number, row));
                while let Some((number, row)) = next.take() {
                    if number != start.number {
                        heads.remove(&number);
                    }
                    if on_the_way.insert(number, row.seq).is_some() {
                        break;
                    }
                    let below = walk.below(number, row.prev)?;
                    next = below.filter(|(_, below)| below.log == log && below.seq.checked_add(1) == Some(row.seq));
                }
            }
            for (number, seq) in on_the_way {
                *found.entry(number).or_default() += usize::from(seq <= cut.seq);
            }
        }
        let counts =
            found.iter().filter(|(_, cuts_that_keep)| **cuts_that_keep == cuts.len()).map(|(number, _)| *number);
        let (counts, shows) = (ranges(counts), ranges(found.keys().copied()));
        let heads = heads.into_values().collect();
        Ok(Kept { counts: Members::Numbers(counts), shows: Members::Numbers(shows), heads })
    }

    fn remembered(&self, log: LogNumber, moved: u64, cuts: &[&Cut]) -> Option<Arc<Kept>> {
        let known = self.kept_logs().lock().unwrap_or_else(PoisonError::into_inner);
        let found = known.get(&log).filter(|known| known.moved == moved)?;
        found.cuts.iter().eq(cuts.iter().copied()).then(|| found.kept.clone())
    }

    fn remember_kept(&self, log: LogNumber, found: Remembered) {
        let mut known = self.kept_logs().lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KEPT_LOGS_MAX
            && let Some(one) = known.keys().next().copied()
        {
            known.remove(&one);
        }
        known.insert(log, found);
    }
}

/// Of a log that never forked: its events are a line, broken by holes.
fn kept_of_line(row: &LogRow, cuts: &[&Cut], named: &[Vec<Named>]) -> Kept {
    let bottom =
        |seq: u64| row.state.holes().iter().map(|hole| hole.top.seq).filter(|top| *top < seq).max().unwrap_or(0) + 1;
    let mut counts: Option<Vec<(u64, u64)>> = None;
    for (cut, named) in cuts.iter().zip(named) {
        let spans =
            named.iter().map(|n| (bottom(n.tip.seq), n.tip.seq.min(cut.seq))).filter(|(first, last)| first <= last);
        let spans = merged(spans.collect());
        counts = Some(counts.map_or(spans.clone(), |before| both(&before, &spans)));
    }
    let all: Vec<Named> = named.iter().flatten().copied().collect();
    let shows = merged(all.iter().map(|n| (bottom(n.tip.seq), n.tip.seq)).collect());
    let above = |tip: Tip| all.iter().any(|other| other.tip.seq > tip.seq && bottom(other.tip.seq) <= tip.seq);
    let mut heads: Vec<Tip> = all.iter().map(|named| named.tip).filter(|tip| !above(*tip)).collect();
    heads.sort_unstable();
    heads.dedup();
    Kept { counts: Members::Seqs(counts.unwrap_or_default()), shows: Members::Seqs(shows), heads }
}

/// Ranges, ascending and apart, of what these cover.
fn merged(mut spans: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    spans.sort_unstable();
    let mut out: Vec<(u64, u64)> = Vec::new();
    for (first, last) in spans {
        match out.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => out.push((first, last)),
        }
    }
    out
}

/// What two lists of ranges share.
fn both(a: &[(u64, u64)], b: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let shared = a.iter().flat_map(|x| b.iter().map(|y| (x.0.max(y.0), x.1.min(y.1))));
    merged(shared.filter(|(first, last)| first <= last).collect())
}

/// Ranges of ascending numbers.
fn ranges(numbers: impl Iterator<Item = u64>) -> Vec<(u64, u64)> {
    merged(numbers.map(|number| (number, number)).collect())
}

/// Logs of which is remembered what cuts left: few are cut, and finding it again takes a walk only where one forked.
const KEPT_LOGS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_apart_and_shared_ones_are_what_both_have() {
        assert_eq!(merged(vec![(5, 9), (1, 2), (3, 3), (8, 12), (20, 20)]), [(1, 3), (5, 12), (20, 20)]);
        assert_eq!(both(&[(1, 10), (20, 30)], &[(5, 22), (25, 40)]), [(5, 10), (20, 22), (25, 30)]);
        let members = Members::Seqs(vec![(5, 10), (20, 22)]);
        let inside: Vec<u64> = (0..30).filter(|seq| members.contains(*seq, 99)).collect();
        assert_eq!(inside, [5, 6, 7, 8, 9, 10, 20, 21, 22]);
        assert!(Members::Numbers(vec![(7, 7)]).contains(1, 7) && !Members::Numbers(vec![(7, 7)]).contains(7, 1));
    }
}

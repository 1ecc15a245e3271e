//! What a revocation by us leaves of a log: everything of it that is held, said in a few ids.

use crate::batch::Batch;
use crate::error::{Damage, StorageError};
use crate::key::RoomNumber;
use crate::range::Walk;
use tidings_protocol::control::cut::Cut;
use tidings_protocol::limits::CUT_IDS_MAX;
use tidings_protocol::log::{Log, Tip};

impl Batch<'_> {
    /// The cut that keeps these tips of a log and what lies below them, nothing above `seq_max`. Names the tips and
    /// ancestors of them at growing distances, so that a node that lacks a tip still keeps most. `None` where nothing stays.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn cut(&self, log: Log, mut tips: Vec<Tip>, seq_max: u64) -> Result<Option<Cut>, StorageError> {
        tips.sort_unstable_by(|a, b| b.cmp(a));
        if tips.len() > CUT_IDS_MAX {
            tips = self.branches_to_keep(tips)?;
        }
        let share = CUT_IDS_MAX / tips.len().max(1);
        let (mut seq, mut ids) = (0, Vec::new());
        for tip in tips {
            let named = self.down_from(tip, seq_max, share)?;
            seq = seq.max(named.first().map_or(0, |tip| tip.seq));
            ids.extend(named.iter().map(|tip| tip.id));
        }
        ids.sort_unstable();
        ids.dedup();
        Ok((seq > 0).then_some(Cut { log, seq, ids }))
    }

    /// Of more branches than a cut has ids for: those that were here first, and of the others those that reach furthest. A
    /// thief may fork the log as often as they like and make every branch longer than the one that holds what its owner
    /// said; they cannot make it older. Where it is only full of holes, the highest counts.
    fn branches_to_keep(&self, mut tips: Vec<Tip>) -> Result<Vec<Tip>, StorageError> {
        let mut kept = Vec::new();
        for tip in &tips {
            // What is of this very batch has no row yet.
            if let Some(row) =
                self.store().number_of(tip.id)?.map(|number| self.store().event_row(number)).transpose()?
            {
                let log = row.ok_or(Damage::Missing("the row of an event"))?.log;
                kept = self.store().first_branches(log, FIRST_BRANCHES_MAX)?;
                break;
            }
        }
        tips.retain(|tip| !kept.contains(tip));
        kept.extend(tips);
        kept.truncate(CUT_IDS_MAX);
        Ok(kept)
    }

    /// The highest event not above `seq_max` on the way down from a tip, and then its ancestors 1, 3, 7, 15, ... below it.
    fn down_from(&self, tip: Tip, seq_max: u64, count: usize) -> Result<Vec<Tip>, StorageError> {
        let mut named = Vec::new();
        let mut walk = Walk::new(self.store())?;
        let Some(number) = self.store().number_of(tip.id)? else {
            // It is of this very batch: what lies below it cannot be walked yet.
            named.extend((tip.seq <= seq_max).then_some(tip));
            return Ok(named);
        };
        let mut next = walk.event(number)?.map(|row| (number, row));
        let (mut step, mut due) = (1, seq_max.min(tip.seq));
        while let Some((number, row)) = next.take().filter(|_| named.len() < count) {
            if row.seq <= due {
                named.push(Tip { seq: row.seq, id: row.id });
                due = row.seq.saturating_sub(step);
                step *= 2;
            }
            let below = walk.below(number, row.prev)?;
            next = below.filter(|(_, below)| below.log == row.log && below.seq.checked_add(1) == Some(row.seq));
        }
        Ok(named)
    }

    /// The tips of a log as this batch leaves it, and the highest clock in it; `None` when nothing of it is held.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn tips(&self, room: RoomNumber, log: &Log) -> Result<Option<(Vec<Tip>, u64)>, StorageError> {
        let row = self.held_log_row(room, log)?;
        Ok(row.map(|row| (row.state.tips().to_vec(), row.hlc.0)))
    }
}

/// Branches that a cut keeps because they were here first, where there are more than it can name.
const FIRST_BRANCHES_MAX: usize = CUT_IDS_MAX / 2;

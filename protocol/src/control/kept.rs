//! How much of a log revocations leave, where the log is one line: then each keeps its beginning up to some number, and
//! together they keep up to the smallest. So an event costs one look, however many revocations there are.

use super::cut::Cut;
use super::decide::device_covers;
use super::held::{Held, Slot};
use super::payload::Control;
use super::rank::Rank;
use super::set::ControlSet;
use crate::id::{EventId, UserId};
use crate::log::Log;

/// The highest number of a log that valid revocations keep: those of its user, and those of its device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) by_revokes: u64,
    pub(super) by_device: u64,
}

impl ControlSet {
    /// What is kept of a log that is one line; `None` where it is forked or unknown.
    pub(super) fn kept_of(&self, log: &Log, user: UserId, rank: Option<Rank>) -> Option<Kept> {
        self.relations.logs.get(log).filter(|branches| !branches.is_forked)?;
        if let Some(kept) = self.kept.get(log) {
            return Some(*kept);
        }
        let revokes = self.relations.revokes.get(&user).into_iter().flatten();
        let revokes = revokes.filter_map(|slot| self.forest.find(*slot)).filter(|r| r.is_valid());
        let revokes = revokes.filter(|r| self.covers(r, log, rank)).map(|r| self.kept_by(r, log));
        let devices = self.device_revokes(user, log.author).filter(|r| r.is_valid());
        let devices = devices.filter(|r| device_covers(r, log, rank)).map(|r| self.kept_by(r, log));
        Some(Kept { by_revokes: revokes.min().unwrap_or(u64::MAX), by_device: devices.min().unwrap_or(u64::MAX) })
    }

    /// Writes down what is kept of the log of an event that is to be decided.
    pub(super) fn remember_kept(&mut self, slot: Slot) {
        let Some(held) = self.forest.find(slot) else { return };
        let (log, Some(user)) = (held.event.log, held.user) else { return };
        if !self.kept.contains_key(&log)
            && let Some(kept) = self.kept_of(&log, user, held.rank)
        {
            self.kept.insert(log, kept);
        }
    }

    /// A revocation of this log's user or device counts now, or no longer does.
    pub(super) fn turn_kept(&mut self, revoke: Slot, log: &Log, rank: Option<Rank>, counts: bool) {
        let (Some(mut kept), Some(by)) = (self.kept.remove(log), self.forest.find(revoke)) else { return };
        if !counts {
            return;
        }
        if device_covers(by, log, rank) {
            kept.by_device = kept.by_device.min(self.kept_by(by, log));
        } else if matches!(by.event.control, Control::Revoke(_)) && self.covers(by, log, rank) {
            kept.by_revokes = kept.by_revokes.min(self.kept_by(by, log));
        }
        self.kept.insert(*log, kept);
    }

    /// The highest number of a line that one revocation keeps.
    fn kept_by(&self, revoke: &Held, log: &Log) -> u64 {
        let Some(cut) = Cut::of(revoke.event.control.cuts(), log) else { return 0 };
        let named = |id: &EventId| self.held(*id).filter(|held| held.event.log == *log).map(|held| held.event.seq);
        cut.ids.iter().filter_map(named).max().unwrap_or(0).min(cut.seq)
    }
}

//! Which control events are worth keeping: all that count, and of what does not a little of each account, so that nobody
//! fills a disk. What shows what a valid cut keeps has to be had by everybody, or they would never come to the same.

use super::cut::Cut;
use super::held::Held;
use super::payload::{Control, ControlEvent};
use super::rank::Rank;
use super::set::ControlSet;
use super::state::Void;
use crate::limits::{TIPS_PER_LOG_MAX, VOID_CONTROL_MAX, VOID_WAY_MAX};
use crate::log::Log;

/// Why an event is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unkept {
    /// It does not count, and its account has enough of that kind here.
    Void(Void),
    /// It would count, but begins one more branch of a log than anybody makes by mistake.
    TooManyBranches,
}

impl ControlSet {
    /// Why an event that has all that it rests on is not kept. `is_way`: what came with it shows that it is, or lies below,
    /// an event that a valid cut names.
    ///
    /// # Errors
    /// `Unkept`. Should it count one day, those for whom it does tell us of it.
    pub fn is_worth_keeping(&self, event: &ControlEvent, is_way: bool) -> Result<(), Unkept> {
        if is_way || self.event(event.id).is_some() || self.is_named(&event.log, event.id) {
            return Ok(());
        }
        let Some(why) = self.judge(event) else {
            // Branches that do not count any more take no place from those that do.
            return if self.has_branches_left(event) { Ok(()) } else { Err(Unkept::TooManyBranches) };
        };
        let kept = self.void_beside(event);
        let may_lead = || kept < VOID_WAY_MAX && self.may_lead_to_named(event);
        if kept < VOID_CONTROL_MAX || may_lead() { Ok(()) } else { Err(Unkept::Void(why)) }
    }

    /// The number below which nothing in a control log makes the room read-only here: what a removal by us keeps of it.
    pub fn below_newer(&self, log: &Log) -> u64 {
        let slots = self.relations.logs.get(log).into_iter().flat_map(|branches| &branches.slots);
        let events = slots.filter_map(|slot| self.forest.find(*slot));
        let newer = events.filter(|held| matches!(held.event.control, Control::Unknown { .. }));
        let newer = newer.filter(|held| held.rank <= Some(Rank::ADMIN) && held.rank.is_some());
        newer.map(|held| held.event.seq.saturating_sub(1)).min().unwrap_or(u64::MAX)
    }

    fn has_branches_left(&self, event: &ControlEvent) -> bool {
        let goes_on = event.seq > 1 && self.slot(event.prev).is_some_and(|prev| self.leaves.contains(&prev));
        let leaves = self.relations.logs.get(&event.log).map_or(0, |branches| branches.leaves);
        goes_on || leaves < TIPS_PER_LOG_MAX
    }

    /// Whether a valid cut that reaches as high names an event of this log that is not here.
    fn may_lead_to_named(&self, event: &ControlEvent) -> bool {
        let named = self.relations.named.get(&event.log).into_iter().flatten();
        let missing = named.filter(|(id, _)| self.slot(**id).is_none()).flat_map(|(_, slots)| slots);
        let mut by = missing.filter_map(|slot| self.forest.find(*slot)).filter(|revoke| Held::is_valid(revoke));
        by.any(|revoke| Cut::of(revoke.event.control.cuts(), &event.log).is_some_and(|cut| event.seq <= cut.seq))
    }
}

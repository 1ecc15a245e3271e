//! How much revocations leave of logs, so that an event costs one look, however many revocations there are. Of a user's
//! revocations only those that name a log leave anything of it: once more cover it than name it, it is cut at zero, and
//! nobody looks at it again. Where the log is one line, those that name it leave its beginning, the shortest of all.

use super::cut::Cut;
use super::held::{Held, Slot};
use super::payload::Control;
use super::rank::Rank;
use super::set::ControlSet;
use crate::event::Class;
use crate::id::{DeviceId, EventId, UserId};
use crate::log::Log;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// Whose logs a revocation covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    User(UserId),
    Device(UserId, DeviceId),
}

impl Target {
    pub(super) fn user(self) -> UserId {
        match self {
            Target::User(user) | Target::Device(user, _) => user,
        }
    }

    /// The strongest that a revocation of this rank covers.
    fn from(self, rank: Rank) -> Bound<(Rank, Slot)> {
        match self {
            Target::User(_) => Bound::Excluded((rank, Slot::MAX)),
            Target::Device(..) => Bound::Included((rank, 0)),
        }
    }

    /// The weakest that it does not.
    fn to(self, rank: Rank) -> Bound<(Rank, Slot)> {
        match self {
            Target::User(_) => Bound::Included((rank, Slot::MAX)),
            Target::Device(..) => Bound::Excluded((rank, 0)),
        }
    }
}

/// The valid revocations of one target, and the first events of the logs that they may cover, both by rank.
#[derive(Debug, Clone, Default)]
pub(super) struct Reach {
    valid: BTreeMap<Rank, BTreeSet<Slot>>,
    /// Logs of which another revocation may take something.
    live: BTreeSet<(Rank, Slot)>,
    /// Logs that are cut at zero, of both classes.
    dead: BTreeSet<(Rank, Slot)>,
}

impl Reach {
    fn contains(&self, rank: Rank, slot: Slot) -> bool {
        self.valid.get(&rank).is_some_and(|slots| slots.contains(&slot))
    }

    /// How many are stronger than this, or as strong.
    fn count(&self, to: Bound<Rank>) -> usize {
        self.valid.range((Bound::Unbounded, to)).map(|(_, slots)| slots.len()).sum()
    }

    fn strongest(&self) -> Option<(Rank, Slot)> {
        let (rank, slots) = self.valid.first_key_value()?;
        Some((*rank, *slots.first()?))
    }

    fn turn(&mut self, rank: Rank, slot: Slot, counts: bool) {
        let slots = self.valid.entry(rank).or_default();
        match counts {
            true => drop(slots.insert(slot)),
            false => drop(slots.remove(&slot)),
        }
        if slots.is_empty() {
            self.valid.remove(&rank);
        }
    }
}

/// The valid revocations that cover a log and name it, by what kind they are of.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept {
    revokes: Named,
    devices: Named,
}

/// Those of one kind.
#[derive(Debug, Clone, Default)]
pub(super) struct Named {
    /// The highest number that each keeps of the control log, where that is one line.
    seqs: BTreeMap<Slot, u64>,
    lowest: BTreeSet<(u64, Slot)>,
    /// Those that name the content log.
    content: BTreeSet<Slot>,
}

impl Named {
    fn forget(&mut self, slot: Slot) {
        if let Some(seq) = self.seqs.remove(&slot) {
            self.lowest.remove(&(seq, slot));
        }
    }

    fn set(&mut self, slot: Slot, seq: u64) {
        self.forget(slot);
        self.seqs.insert(slot, seq);
        self.lowest.insert((seq, slot));
    }

    fn is_empty(&self) -> bool {
        self.seqs.is_empty() && self.content.is_empty()
    }
}

impl Kept {
    fn of(&self, target: Target) -> &Named {
        match target {
            Target::User(_) => &self.revokes,
            Target::Device(..) => &self.devices,
        }
    }

    fn of_mut(&mut self, target: Target) -> &mut Named {
        match target {
            Target::User(_) => &mut self.revokes,
            Target::Device(..) => &mut self.devices,
        }
    }
}

/// What the valid revocations of one target leave of a control log.
pub(super) enum Left {
    /// All.
    Whole,
    /// Nothing.
    Nothing,
    /// Of one line what is no higher than this.
    Line(u64),
    /// What lies within all of those that name the log.
    Tree,
}

impl ControlSet {
    /// Whom a revocation, valid or not, covers. The user key's own logs are beyond its user's word on devices.
    pub(super) fn target(&self, revoke: &Held) -> Option<Target> {
        match &revoke.event.control {
            Control::Revoke(r) => Some(Target::User(r.user)),
            Control::RevokeDevice(r) => {
                revoke.user.filter(|user| r.device != (*user).into()).map(|user| Target::Device(user, r.device))
            }
            _ => None,
        }
    }

    /// How many valid revocations of a target cover what is under a grant of this rank; `grant` where it is held.
    pub(super) fn count_covers(&self, target: Target, rank: Option<Rank>, grant: Option<&Held>) -> usize {
        let (Some(reach), Some(rank)) = (self.reach.get(&target), rank) else { return 0 };
        if matches!(target, Target::Device(..)) {
            return reach.count(Bound::Included(rank));
        }
        let stronger = reach.count(Bound::Excluded(rank));
        let lifts = match grant.map(|grant| &grant.event.control) {
            Some(Control::Grant(grant)) if stronger > 0 => &grant.lifts[..],
            _ => &[],
        };
        let is_lifted = |id: &&EventId| {
            let Some(slot) = self.slot(**id) else { return false };
            let by = self.forest.find(slot).and_then(|revoke| revoke.rank);
            by.is_some_and(|by| by < rank && grant.is_some_and(|g| g.rank <= Some(by)) && reach.contains(by, slot))
        };
        stronger.saturating_sub(lifts.iter().filter(is_lifted).count())
    }

    /// What the valid revocations of a target leave of a log under a grant of this rank; `root` is the first event of the
    /// log's branch, where that is held.
    pub(super) fn left_of(&self, target: Target, log: &Log, rank: Option<Rank>, root: Option<Slot>) -> Left {
        let covers = self.count_covers(target, rank, self.held(log.grant));
        if covers == 0 {
            return Left::Whole;
        }
        let Some(root) = root else {
            let is_named = self.naming(target, log, rank, None).len() >= covers;
            return if is_named { Left::Tree } else { Left::Nothing };
        };
        let named = self.kept.get(&root).map(|kept| kept.of(target)).filter(|named| named.seqs.len() >= covers);
        let lowest = named.and_then(|named| named.lowest.first()).map(|(seq, _)| *seq);
        let is_line = self.relations.logs.get(log).is_some_and(|branches| !branches.is_forked);
        lowest.map_or(Left::Nothing, |seq| if is_line { Left::Line(seq) } else { Left::Tree })
    }

    /// The valid revocations of a target that cover a log and name it.
    pub(super) fn naming(&self, target: Target, log: &Log, rank: Option<Rank>, root: Option<Slot>) -> Vec<&Held> {
        if let Some(root) = root {
            let named = self.kept.get(&root).map(|kept| kept.of(target));
            return named.into_iter().flat_map(|n| n.seqs.keys()).filter_map(|slot| self.forest.find(*slot)).collect();
        }
        let naming = self.relations.cutting.get(log).into_iter().flatten().filter_map(|slot| self.forest.find(*slot));
        let naming = naming.filter(|r| r.is_valid() && self.target(r) == Some(target));
        naming.filter(|r| self.covers(r, log, rank)).collect()
    }

    /// Whether a revocation, valid or not, covers the log of this root.
    fn covers_root(&self, revoke: &Held, root: &Held) -> bool {
        let user = self.target(revoke).map(Target::user);
        user.is_some() && user == root.user && self.covers(revoke, &root.event.log, self.rank_of_log(&root.event.log))
    }

    /// Whether another revocation of the target may take something of a log or its content.
    fn is_live(&self, target: Target, root: &Held, slot: Slot) -> bool {
        let log = &root.event.log;
        let covers = self.count_covers(target, self.rank_of_log(log), self.held(log.grant));
        let named = self.kept.get(&slot).map(|kept| kept.of(target));
        covers == named.map_or(0, |n| n.seqs.len()) || covers == named.map_or(0, |n| n.content.len())
    }

    /// A root that has just come: what the valid revocations that name its log keep of it.
    pub(super) fn reach_root(&mut self, slot: Slot) {
        let Some(root) = self.forest.find(slot) else { return };
        let (Some(user), log) = (root.user, root.event.log) else { return };
        for log in [log, content_of(&log)] {
            for by in self.relations.cutting.get(&log).cloned().unwrap_or_default() {
                if self.forest.find(by).is_some_and(Held::is_valid) {
                    self.turn_named(by, slot, &log, true);
                }
            }
        }
        for target in [Target::User(user), Target::Device(user, log.author)] {
            self.place(target, slot);
        }
    }

    fn place(&mut self, target: Target, slot: Slot) {
        let Some(root) = self.forest.find(slot) else { return };
        let Some(rank) = self.rank_of_log(&root.event.log) else { return };
        let is_live = self.is_live(target, root, slot);
        let reach = self.reach.entry(target).or_default();
        let (to, from) = if is_live { (&mut reach.live, &mut reach.dead) } else { (&mut reach.dead, &mut reach.live) };
        from.remove(&(rank, slot));
        to.insert((rank, slot));
    }

    /// What a named event that came late shows.
    pub(super) fn keep_named(&mut self, log: &Log, id: EventId) {
        let naming = self.relations.named.get(log).and_then(|named| named.get(&id)).cloned().unwrap_or_default();
        let valid = |slot: &Slot| self.forest.find(*slot).is_some_and(Held::is_valid);
        let naming: Vec<Slot> = naming.into_iter().filter(valid).collect();
        for root in self.roots_of(log) {
            naming.iter().for_each(|by| self.turn_named(*by, root, log, true));
        }
    }

    /// Writes down whether a valid revocation that names a log keeps something of it.
    fn turn_named(&mut self, by: Slot, root: Slot, log: &Log, counts: bool) {
        let (Some(revoke), Some(held)) = (self.forest.find(by), self.forest.find(root)) else { return };
        let Some(target) = self.target(revoke).filter(|_| self.covers_root(revoke, held)) else { return };
        if Cut::of(revoke.event.control.cuts(), log).is_none_or(Cut::is_zero) {
            return;
        }
        let seq = self.kept_by(revoke, log);
        let named = self.kept.entry(root).or_default().of_mut(target);
        match (log.class, counts) {
            (Class::Control, true) => named.set(by, seq),
            (Class::Control, false) => named.forget(by),
            (Class::Content, true) => drop(named.content.insert(by)),
            (Class::Content, false) => drop(named.content.remove(&by)),
        }
        if self.kept.get(&root).is_some_and(|kept| kept.revokes.is_empty() && kept.devices.is_empty()) {
            self.kept.remove(&root);
        }
    }

    /// The highest number of a line that one revocation keeps.
    fn kept_by(&self, revoke: &Held, log: &Log) -> u64 {
        let Some(cut) = Cut::of(revoke.event.control.cuts(), log) else { return 0 };
        let named = |id: &EventId| self.held(*id).filter(|held| held.event.log == *log).map(|held| held.event.seq);
        cut.ids.iter().filter_map(named).max().unwrap_or(0).min(cut.seq)
    }

    /// The first events of a log's branches.
    fn roots_of(&self, log: &Log) -> Vec<Slot> {
        self.relations.enrolments.get(&(log.author, log.grant)).cloned().unwrap_or_default()
    }

    /// A revocation counts now, or no longer does: returns the events whose answer that may change. Of what it covers only
    /// that is looked at of which something was left, or now is.
    pub(super) fn turn_revocation(&mut self, slot: Slot, counts: bool) -> Vec<Slot> {
        let Some(revoke) = self.forest.find(slot) else { return Vec::new() };
        let (Some(target), Some(rank)) = (self.target(revoke), revoke.rank) else { return Vec::new() };
        let cuts = revoke.event.control.cuts().iter().filter(|cut| !cut.is_zero());
        let logs: Vec<Log> = cuts.map(|cut| cut.log).collect();
        let mut roots: BTreeSet<Slot> = BTreeSet::new();
        if counts {
            let live = self.reach.get(&target).map(|reach| reach.live.range((target.from(rank), Bound::Unbounded)));
            roots.extend(live.into_iter().flatten().map(|(_, root)| *root));
        }
        self.reach.entry(target).or_default().turn(rank, slot, counts);
        for log in &logs {
            for root in self.roots_of(log) {
                self.turn_named(slot, root, log, counts);
                // Of what was dead before a new revocation changes nothing.
                roots.extend((!counts).then_some(root));
            }
        }
        if !counts {
            roots.extend(self.revived(target, rank));
        }
        self.stale.cut(target, slot, &logs);
        self.turn_grants(target, rank, counts);
        self.looks += roots.len() as u64;
        let mut found = Vec::new();
        for root in roots {
            let (Some(revoke), Some(held)) = (self.forest.find(slot), self.forest.find(root)) else { continue };
            if !self.covers_root(revoke, held) || !(counts || self.is_live(target, held, root)) {
                continue;
            }
            self.beyond_cut(revoke, root, counts, &mut found);
            self.stale.cut_root(root, content_of(&held.event.log));
            self.place(target, root);
        }
        found
    }

    /// Logs that were dead, and may not be now that a revocation of this rank counts no longer: what the strongest that is
    /// left does not cover, names, or is lifted by the grant of.
    fn revived(&self, target: Target, rank: Rank) -> Vec<Slot> {
        let Some(reach) = self.reach.get(&target) else { return Vec::new() };
        let Some((strongest, slot)) = reach.strongest() else {
            return reach.dead.range((target.from(rank), Bound::Unbounded)).map(|(_, root)| *root).collect();
        };
        let mut found: Vec<Slot> = Vec::new();
        if strongest > rank {
            found.extend(reach.dead.range((target.from(rank), target.to(strongest))).map(|(_, root)| *root));
        }
        let Some(left) = self.forest.find(slot) else { return found };
        found.extend(left.event.control.cuts().iter().flat_map(|cut| self.roots_of(&cut.log)));
        let lifting = self.relations.lifting.get(&left.event.id).into_iter().flatten();
        let lifting = lifting.filter_map(|grant| self.forest.id(*grant));
        found.extend(lifting.flat_map(|grant| self.relations.enrols.get(&grant).into_iter().flatten()));
        found
    }

    /// Grants that a Revoke which turned may take away or give back.
    fn turn_grants(&mut self, target: Target, rank: Rank, counts: bool) {
        let Target::User(user) = target else { return };
        if counts {
            // Only what is held can be lost.
            let held: Vec<EventId> = self.stale.held_below(user, rank).collect();
            let slots: Vec<Slot> = held.into_iter().filter_map(|id| self.slot(id)).collect();
            self.looks += slots.len() as u64;
            return self.stale.look_at(user, slots);
        }
        let strongest = self.reach.get(&target).and_then(Reach::strongest);
        let to = strongest.map_or(Bound::Unbounded, |(strongest, _)| target.to(strongest));
        let mut slots: Vec<Slot> = Vec::new();
        if let Some(grants) = self.relations.grants.get(&user)
            && strongest.is_none_or(|(strongest, _)| strongest > rank)
        {
            slots.extend(grants.range((target.from(rank), to)).map(|(_, grant)| *grant));
        }
        let left = strongest.and_then(|(_, slot)| self.forest.id(slot));
        let lifting = left.and_then(|id| self.relations.lifting.get(&id)).into_iter().flatten();
        slots.extend(lifting.copied());
        self.looks += slots.len() as u64;
        self.stale.look_at(user, slots);
    }
}

pub(super) fn content_of(log: &Log) -> Log {
    Log { class: Class::Content, ..*log }
}

//! Which control events count. Every question about an event has a smaller measure (rank; Genesis and Join, user key's
//! log, devices' logs; seq), so deciding in the order of that measure finds every answer already there. When an event
//! comes or turns, only those whose answer rests on it are decided anew; from scratch, each is decided once.

use super::held::{Held, Slot, Verdict};
use super::kept::{Left, Target};
use super::payload::{Control, ControlEvent, Erase};
use super::rank::Rank;
use super::set::{ControlSet, payer};
use super::state::Void;
use crate::id::{DeviceId, EventId, UserId};
use crate::log::Log;

/// What one `settle` changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settled {
    /// Whether any event turned.
    pub turned: bool,
    /// Content logs, by device and grant, of which something else counts than before.
    pub content: Vec<(DeviceId, EventId)>,
    /// Places that an Erase names and that another is in force at than before, or none.
    pub erased: Vec<Erase>,
}

/// An event with what decides it, held or about to be.
struct Case<'a> {
    event: &'a ControlEvent,
    is_allowed: bool,
    prev: Option<&'a Held>,
    grant: Option<&'a Held>,
    invite: Option<Slot>,
    user: Option<UserId>,
    /// Whether its predecessor counts, if it has one.
    prev_counts: bool,
    /// What is about to be held at or above it: a cut that names that keeps this.
    coming: Option<EventId>,
}

impl ControlSet {
    /// Decides what the events inserted since the last time change.
    pub fn settle(&mut self) -> Settled {
        let mut settled = Settled::default();
        while let Some((_, _, _, slot)) = self.dirty.pop_first() {
            self.decisions += 1;
            let verdict = match self.forest.find(slot) {
                Some(held) => self.void_because(&self.case(held)).map_or(Verdict::Valid, Verdict::Void),
                None => continue,
            };
            let Some(held) = self.forest.find_mut(slot) else { continue };
            let before = std::mem::replace(&mut held.verdict, verdict);
            if before != verdict {
                self.count_void(slot, before, verdict);
                self.note(slot);
            }
            let (was, counts) = (before == Verdict::Valid, verdict == Verdict::Valid);
            if was != counts {
                settled.turned = true;
                self.turn(slot, counts);
            }
        }
        settled.content = self.derive();
        settled.erased = std::mem::take(&mut self.stale.places).into_iter().collect();
        settled
    }

    /// Why an event that has all that it rests on would not count if it came now.
    pub fn judge(&self, event: &ControlEvent) -> Option<Void> {
        let prev = self.held(event.prev).filter(|_| event.seq > 1);
        let user = match event.root() {
            Some(certificate) => Some(certificate.user()),
            None => prev.and_then(|prev| prev.user),
        };
        let invite = match &event.control {
            Control::Join(join) => self.slot(join.invite),
            _ => None,
        };
        let grant = self.held(event.log.grant).filter(|_| event.log.grant != event.id);
        let (is_allowed, coming) = (self.is_allowed(event), self.slot(event.id).is_none().then_some(event.id));
        let is_shown = is_allowed && prev.is_some_and(|prev| !prev.is_valid()) && self.is_shown_by(event);
        let prev_counts = is_shown || prev.is_none_or(Held::is_valid);
        let grant = grant.filter(|grant| !is_shown || !self.stands_on(event, grant));
        self.void_because(&Case { event, is_allowed, prev, grant, invite, user, prev_counts, coming })
    }

    /// Whether all below an event that comes now would count, by what it shows to lie within cuts that name it.
    fn is_shown_by(&self, event: &ControlEvent) -> bool {
        if self.slot(event.id).is_some() || !self.is_named(&event.log, event.id) {
            return false;
        }
        let Some(prev) = self.slot(event.prev) else { return false };
        let Some(lowest) = self.forest.lowest_void(prev) else { return true };
        let mut at = Some(prev);
        while let Some(held) = at.and_then(|slot| self.forest.find(slot)) {
            let case = self.case(held);
            let grant = case.grant.filter(|grant| !self.stands_on(event, grant));
            let case = Case { prev_counts: true, coming: Some(event.id), grant, ..case };
            if self.void_because(&case).is_some() {
                return false;
            }
            at = held.prev.filter(|_| at != Some(lowest));
        }
        true
    }

    /// Whether the grant of an event that comes now is the Join that its branch begins with: shown with the rest, or not. On
    /// another branch of that log it is as any other.
    fn stands_on(&self, event: &ControlEvent, grant: &Held) -> bool {
        grant.event.log == event.log && self.root_of(event) == self.slot(grant.event.id)
    }

    fn case<'a>(&'a self, held: &'a Held) -> Case<'a> {
        Case {
            event: &held.event,
            is_allowed: held.is_allowed,
            prev: held.prev.and_then(|slot| self.forest.find(slot)),
            grant: held.grant.and_then(|slot| self.forest.find(slot)),
            invite: held.invite,
            user: held.user,
            prev_counts: held.prev.and_then(|slot| self.forest.find(slot)).is_none_or(Held::is_valid),
            coming: None,
        }
    }

    fn void_because(&self, case: &Case<'_>) -> Option<Void> {
        if !case.is_allowed {
            return Some(Void::NotAllowed);
        }
        if !case.prev_counts {
            return Some(Void::Prev);
        }
        if case.grant.is_some_and(|grant| !grant.is_valid()) {
            return Some(Void::Grant);
        }
        if case.prev.is_some_and(|prev| prev.event.control == Control::Leave) {
            return Some(Void::Left);
        }
        if let Some(invite) = case.invite {
            if !self.forest.find(invite).is_some_and(Held::is_valid) {
                return Some(Void::Invite);
            }
            if self.is_closed_without(invite, case.event.id) {
                return Some(Void::Closed);
            }
        }
        self.cut_away(case.event, case.user?, case.coming)
    }

    /// Whether a valid revocation covers the event's log and does not keep the event.
    fn cut_away(&self, event: &ControlEvent, user: UserId, coming: Option<EventId>) -> Option<Void> {
        let rank = match &event.control {
            // Not held yet while it is judged: its rank is its invite's.
            Control::Join(join) => self.held(join.invite).and_then(|held| held.gives),
            _ => self.rank_of_log(&event.log),
        };
        let root = self.root_of(event);
        let is_within = |revoke: &Held| self.is_within(event, revoke.event.control.cuts(), coming);
        let is_cut = |target: Target| match self.left_of(target, &event.log, rank, root) {
            Left::Whole => false,
            Left::Nothing => true,
            Left::Line(seq) if self.is_on_line(event, coming) => event.seq > seq,
            Left::Line(_) | Left::Tree => !self.naming(target, &event.log, rank, root).into_iter().all(is_within),
        };
        if is_cut(Target::User(user)) {
            return Some(Void::Revoked);
        }
        let is_grant = matches!(event.control, Control::Genesis(_) | Control::Join(_));
        (!is_grant && is_cut(Target::Device(user, event.log.author))).then_some(Void::DeviceRevoked)
    }

    /// Whether an event is held, or goes on at the end of a log of one line and no cut names it.
    fn is_on_line(&self, event: &ControlEvent, coming: Option<EventId>) -> bool {
        let last = self.relations.logs.get(&event.log).and_then(|branches| branches.slots.last());
        let named = || self.relations.named.get(&event.log).is_some_and(|named| named.contains_key(&event.id));
        coming.is_none() || (coming == Some(event.id) && last.copied() == self.slot(event.prev) && !named())
    }

    /// The rank of a log's grant.
    pub(super) fn rank_of_log(&self, log: &Log) -> Option<Rank> {
        self.rank_of(log.grant)
    }

    /// Whether a revocation, valid or not, covers a log under a grant of this rank of its user: a Revoke what is weaker and
    /// does not lift it, a RevokeDevice what is no stronger.
    pub(super) fn covers(&self, revoke: &Held, log: &Log, rank: Option<Rank>) -> bool {
        match &revoke.event.control {
            Control::RevokeDevice(r) => r.device == log.author && revoke.rank.is_some() && revoke.rank <= rank,
            _ => revoke.rank.is_some() && revoke.rank < rank && !self.is_lifted(log.grant, revoke),
        }
    }

    /// The first event of its branch, where that is held.
    fn root_of(&self, event: &ControlEvent) -> Option<Slot> {
        let prev = || self.slot(event.prev).filter(|_| event.seq > 1);
        self.forest.root(self.slot(event.id).or_else(prev)?)
    }

    fn is_lifted(&self, grant: EventId, revoke: &Held) -> bool {
        self.held(grant).is_some_and(|grant| lifts(grant, revoke))
    }

    fn is_closed_without(&self, invite: Slot, join: EventId) -> bool {
        let Some(opened) = self.forest.find(invite).filter(|opened| opened.closers > 0) else { return false };
        let listing = self.relations.listed.get(&join).into_iter().flatten().filter_map(|s| self.forest.find(*s));
        !listing.into_iter().any(|closer| closer.is_valid() && self.closes(closer, opened))
    }

    /// Whether a CloseInvite or Revoke, where it is valid, closes this invite.
    fn closes(&self, closer: &Held, opened: &Held) -> bool {
        match &closer.event.control {
            Control::CloseInvite(close) => {
                let (Some(by), Some(issuer)) = (closer.rank, opened.rank) else { return false };
                let same_user = opened.user.is_some() && closer.user == opened.user;
                close.invite == opened.event.id && (by < issuer || (same_user && by <= issuer))
            }
            Control::Revoke(revoke) => {
                Some(revoke.user) == opened.user && self.covers(closer, &opened.event.log, opened.rank)
            }
            _ => false,
        }
    }

    /// Counts the valid closings of an invite that has just come.
    pub(super) fn count_closers(&mut self, invite: Slot) {
        let Some(opened) = self.forest.find(invite) else { return };
        let named = self.relations.closings.get(&opened.event.id).into_iter().flatten();
        let revokes = opened.user.and_then(|user| self.relations.revokes.get(&user)).into_iter().flatten();
        let closers = named.chain(revokes).filter_map(|slot| self.forest.find(*slot));
        let count = closers.filter(|closer| closer.is_valid() && self.closes(closer, opened)).count();
        if let Some(opened) = self.forest.find_mut(invite) {
            opened.closers = u32::try_from(count).unwrap_or(u32::MAX);
        }
    }

    /// What rests on an event that now counts, or no longer does, is decided anew.
    fn turn(&mut self, slot: Slot, counts: bool) {
        self.turn_leaf(slot, counts);
        self.turn_counts(slot, counts);
        let Some(held) = self.forest.find(slot) else { return };
        let mut affected = held.children.clone();
        let event = &held.event;
        if held.is_grant() {
            affected.extend(self.relations.enrols.get(&event.id).into_iter().flatten());
        }
        let closed = match &event.control {
            Control::OpenInvite(_) => {
                affected.extend(self.relations.joins.get(&slot).into_iter().flatten());
                Vec::new()
            }
            Control::CloseInvite(close) => self.slot(close.invite).into_iter().collect(),
            Control::Revoke(revoke) => self.relations.invites.get(&revoke.user).cloned().unwrap_or_default(),
            _ => Vec::new(),
        };
        affected.extend(self.turn_revocation(slot, counts));
        for invite in closed {
            affected.extend(self.turn_closer(slot, invite, counts));
        }
        affected.into_iter().for_each(|slot| self.mark(slot));
    }

    /// A closing of an invite has turned: returns the joins whose answer that may change.
    fn turn_closer(&mut self, closer: Slot, invite: Slot, counts: bool) -> Vec<Slot> {
        let (Some(closing), Some(opened)) = (self.forest.find(closer), self.forest.find(invite)) else {
            return Vec::new();
        };
        if !matches!(opened.event.control, Control::OpenInvite(_)) || !self.closes(closing, opened) {
            return Vec::new();
        }
        let others = opened.closers.saturating_sub(u32::from(!counts));
        let listed = match &closing.event.control {
            Control::CloseInvite(close) => &close.joins[..],
            Control::Revoke(revoke) => &revoke.joins[..],
            _ => &[],
        };
        let lists = |join: &EventId| listed.binary_search(join).is_ok();
        let of_invite = |slot: &Slot| self.forest.find(*slot).is_some_and(|join| join.invite == Some(invite));
        let joins: Vec<Slot> = match others {
            // It closes or opens the invite: all of its joins may turn.
            0 => self.relations.joins.get(&invite).cloned().unwrap_or_default(),
            _ => listed.iter().filter_map(|id| self.slot(*id)).filter(of_invite).collect(),
        };
        let affected = joins.into_iter().filter(|slot| {
            let Some(join) = self.forest.find(*slot) else { return false };
            // Closing voids what is not listed and brings back what is; opening again does the reverse.
            match join.verdict {
                // Closed is said before revoked.
                Verdict::Valid | Verdict::Void(Void::Revoked) => counts != lists(&join.event.id),
                Verdict::Void(Void::Closed) => !counts || lists(&join.event.id),
                Verdict::Void(_) | Verdict::Undecided => false,
            }
        });
        let affected = affected.collect();
        if let Some(opened) = self.forest.find_mut(invite) {
            opened.closers = opened.closers.saturating_add_signed(if counts { 1 } else { -1 });
        }
        self.stale.invites.insert(invite);
        affected
    }

    /// The events of a branch's log whose answer a revocation that has turned may change: on each branch the lowest.
    pub(super) fn beyond_cut(&self, revoke: &Held, root: Slot, counts: bool, found: &mut Vec<Slot>) {
        let cuts = revoke.event.control.cuts();
        let Some(held) = self.forest.find(root) else { return };
        let branches = self.relations.logs.get(&held.event.log);
        if let Some(slots) = branches.filter(|b| !b.is_forked).map(|b| &b.slots) {
            // One line: what stays is its beginning, and every second look halves what is left to search.
            let stays = |slot: &Slot| self.forest.find(*slot).is_some_and(|h| self.is_within(&h.event, cuts, None));
            let first = slots.partition_point(stays);
            let cut = |slot: &&Slot| self.forest.find(**slot).is_some_and(|held| !spares(revoke, held));
            found.extend(slots.iter().skip(first).find(cut));
            return;
        }
        let by_device = matches!(revoke.event.control, Control::RevokeDevice(_));
        let mut open = vec![root];
        while let Some(slot) = open.pop() {
            let Some(held) = self.forest.find(slot) else { continue };
            match held.verdict {
                Verdict::Valid if counts && !self.is_within(&held.event, cuts, None) && !spares(revoke, held) => {
                    found.push(slot);
                }
                // A new word of the device's user changes nothing of what does not count.
                Verdict::Valid if counts && by_device && held.valid_children == 0 => {}
                Verdict::Valid => open.extend(&held.children),
                Verdict::Void(Void::Revoked) if !counts && !by_device => found.push(slot),
                Verdict::Void(Void::DeviceRevoked) if counts != by_device && !spares(revoke, held) => found.push(slot),
                Verdict::Void(_) | Verdict::Undecided => {}
            }
        }
    }

    fn count_void(&mut self, slot: Slot, before: Verdict, after: Verdict) {
        let Some(held) = self.forest.find(slot) else { return };
        let count = self.void_counts.entry(payer(&held.event, held.user)).or_default();
        match (before, after) {
            (Verdict::Undecided | Verdict::Valid, Verdict::Void(_)) => *count += 1,
            (Verdict::Void(_), Verdict::Valid) => *count = count.saturating_sub(1),
            _ => {}
        }
    }
}

/// Whether a grant overrides a Revoke: it names it, and its issuer is no weaker.
fn lifts(grant: &Held, revoke: &Held) -> bool {
    match &grant.event.control {
        Control::Grant(g) => g.lifts.binary_search(&revoke.event.id).is_ok() && grant.rank <= revoke.rank,
        _ => false,
    }
}

/// A RevokeDevice leaves a Genesis or Join, which are grants: what stands above them may still be cut.
fn spares(revoke: &Held, held: &Held) -> bool {
    let is_grant = matches!(held.event.control, Control::Genesis(_) | Control::Join(_));
    is_grant && matches!(revoke.event.control, Control::RevokeDevice(_))
}

//! Which control events count. Every question about an event has a smaller measure (rank; Genesis and Join, user key's
//! log, devices' logs; seq), so deciding in the order of that measure finds every answer already there. When an event
//! comes or turns, only those whose answer rests on it are decided anew; from scratch, each is decided once.

use super::held::{Held, Slot, Verdict};
use super::payload::{Control, ControlEvent};
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
}

/// An event with what decides it, held or about to be.
struct Case<'a> {
    event: &'a ControlEvent,
    is_allowed: bool,
    prev: Option<&'a Held>,
    grant: Option<&'a Held>,
    invite: Option<Slot>,
    user: Option<UserId>,
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
        settled
    }

    /// Why an event that has all that it rests on would not count if it came now.
    pub fn judge(&self, event: &ControlEvent) -> Option<Void> {
        let prev = self.held(event.prev).filter(|_| event.seq > 1);
        let user = match event.control.certificate() {
            Some(certificate) => Some(certificate.user()),
            None => prev.and_then(|prev| prev.user),
        };
        let invite = match &event.control {
            Control::Join(join) => self.slot(join.invite),
            _ => None,
        };
        let grant = self.held(event.log.grant).filter(|_| event.log.grant != event.id);
        self.void_because(&Case { event, is_allowed: self.is_allowed(event), prev, grant, invite, user })
    }

    fn case<'a>(&'a self, held: &'a Held) -> Case<'a> {
        Case {
            event: &held.event,
            is_allowed: held.is_allowed,
            prev: held.prev.and_then(|slot| self.forest.find(slot)),
            grant: held.grant.and_then(|slot| self.forest.find(slot)),
            invite: held.invite,
            user: held.user,
        }
    }

    fn void_because(&self, case: &Case<'_>) -> Option<Void> {
        if !case.is_allowed {
            return Some(Void::NotAllowed);
        }
        if case.prev.is_some_and(|prev| !prev.is_valid()) {
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
        self.cut_away(case.event, case.user?)
    }

    /// Whether a valid revocation covers the event's log and does not keep the event.
    fn cut_away(&self, event: &ControlEvent, user: UserId) -> Option<Void> {
        let mut revokes = self.relations.revokes.get(&user).into_iter().flatten().filter_map(|s| self.forest.find(*s));
        let rank = match &event.control {
            // Not held yet while it is judged: its rank is its invite's.
            Control::Join(join) => self.held(join.invite).and_then(|held| held.gives),
            _ => self.rank_of_log(&event.log),
        };
        if revokes
            .any(|r| r.is_valid() && self.covers(r, &event.log, rank) && !self.is_within(event, r.event.control.cuts()))
        {
            return Some(Void::Revoked);
        }
        if matches!(event.control, Control::Genesis(_) | Control::Join(_)) {
            return None;
        }
        let device = self.device_revokes(user, event.log.author);
        let mut device = device.filter(|r| r.is_valid() && device_covers(r, &event.log, rank));
        device.any(|r| !self.is_within(event, r.event.control.cuts())).then_some(Void::DeviceRevoked)
    }

    /// The rank of a log's grant.
    pub(super) fn rank_of_log(&self, log: &Log) -> Option<Rank> {
        self.rank_of(log.grant)
    }

    /// A user's word on one of their devices. The user key's own log is beyond it.
    pub(super) fn device_revokes(&self, user: UserId, device: DeviceId) -> impl Iterator<Item = &Held> {
        let slots = self.relations.device_revokes.get(&(user, device)).filter(|_| device != user.into());
        slots.into_iter().flatten().filter_map(|slot| self.forest.find(*slot))
    }

    /// Whether a Revoke, valid or not, is stronger than a grant of this rank of its user that does not lift it.
    pub(super) fn covers(&self, revoke: &Held, log: &Log, rank: Option<Rank>) -> bool {
        revoke.rank.is_some() && revoke.rank < rank && !self.is_lifted(log.grant, revoke)
    }

    fn is_lifted(&self, grant: EventId, revoke: &Held) -> bool {
        self.held(grant).is_some_and(|held| match &held.event.control {
            Control::Grant(g) => g.lifts.binary_search(&revoke.event.id).is_ok() && held.rank <= revoke.rank,
            _ => false,
        })
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
            Control::Revoke(revoke) => {
                let logs = self.relations.roots.get(&revoke.user).into_iter().flatten();
                affected.extend(self.beyond_cuts(held, logs, counts));
                self.relations.invites.get(&revoke.user).cloned().unwrap_or_default()
            }
            Control::RevokeDevice(revoke) => {
                let roots = held.user.and_then(|user| self.relations.roots.get(&user)).into_iter().flatten();
                let of_device =
                    roots.filter(|s| self.forest.find(**s).is_some_and(|h| h.event.log.author == revoke.device));
                affected.extend(self.beyond_cuts(held, of_device, counts));
                Vec::new()
            }
            _ => Vec::new(),
        };
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
        let lists = |join: &EventId| match &closing.event.control {
            Control::CloseInvite(close) => close.joins.binary_search(join).is_ok(),
            Control::Revoke(revoke) => revoke.joins.binary_search(join).is_ok(),
            _ => false,
        };
        let joins = self.relations.joins.get(&invite).into_iter().flatten();
        let affected = joins.filter(|slot| {
            let Some(join) = self.forest.find(**slot) else { return false };
            // Closing voids what is not listed and brings back what is; opening again does the reverse.
            match join.verdict {
                Verdict::Valid => counts != lists(&join.event.id),
                Verdict::Void(why) => why == Void::Closed && (!counts || lists(&join.event.id)),
                Verdict::Undecided => false,
            }
        });
        let affected = affected.copied().collect();
        if let Some(opened) = self.forest.find_mut(invite) {
            opened.closers = opened.closers.saturating_add_signed(if counts { 1 } else { -1 });
        }
        self.stale.invites.insert(invite);
        affected
    }

    /// The events of these roots' logs whose answer a revocation that has turned may change: on each branch the lowest.
    fn beyond_cuts<'a>(&self, revoke: &Held, roots: impl Iterator<Item = &'a Slot>, counts: bool) -> Vec<Slot> {
        let mut found = Vec::new();
        for root in roots {
            let Some(held) = self.forest.find(*root) else { continue };
            let rank = self.rank_of_log(&held.event.log);
            let covered = match &revoke.event.control {
                Control::Revoke(_) => self.covers(revoke, &held.event.log, rank),
                _ => {
                    device_covers(revoke, &held.event.log, rank)
                        && Some(held.event.log.author) != held.user.map(DeviceId::from)
                }
            };
            if covered {
                self.beyond_cut(revoke, *root, counts, &mut found);
            }
        }
        found
    }

    fn beyond_cut(&self, revoke: &Held, root: Slot, counts: bool, found: &mut Vec<Slot>) {
        let cuts = revoke.event.control.cuts();
        let Some(held) = self.forest.find(root) else { return };
        let branches = self.relations.logs.get(&held.event.log);
        if let Some(slots) = branches.filter(|b| !b.is_forked).map(|b| &b.slots) {
            // One line: what stays is its beginning, and every second look halves what is left to search.
            let stays = |slot: &Slot| self.forest.find(*slot).is_some_and(|h| self.is_within(&h.event, cuts));
            let first = slots.partition_point(stays);
            // A RevokeDevice leaves a Join or Genesis: the next one may still be cut.
            found.extend(slots.iter().skip(first).take(2));
            return;
        }
        let mut open = vec![root];
        while let Some(slot) = open.pop() {
            let Some(held) = self.forest.find(slot) else { continue };
            match held.verdict {
                Verdict::Valid if counts && !self.is_within(&held.event, cuts) => {
                    found.push(slot);
                    if matches!(held.event.control, Control::Genesis(_) | Control::Join(_)) {
                        open.extend(&held.children);
                    }
                }
                Verdict::Valid => open.extend(&held.children),
                Verdict::Void(Void::Revoked | Void::DeviceRevoked) => found.push(slot),
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

/// Whether a RevokeDevice, valid or not, covers a log of its device under a grant of this rank.
pub(super) fn device_covers(revoke: &Held, log: &Log, rank: Option<Rank>) -> bool {
    let Control::RevokeDevice(r) = &revoke.event.control else { return false };
    r.device == log.author && revoke.rank.is_some() && revoke.rank <= rank
}

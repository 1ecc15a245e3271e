//! What follows for the room from the events that count. Only what rests on events that turned is derived anew.

use super::decide::device_covers;
use super::held::{Held, Slot};
use super::payload::{Control, Erase};
use super::rank::Rank;
use super::set::{ControlSet, names};
use super::state::{DeviceCuts, Enrolment, Erasure, GrantState, Invite, Member, UserCuts};
use crate::event::Class;
use crate::id::{DeviceId, EventId, UserId};
use crate::log::Log;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What has to be derived anew, and what is counted on the way.
#[derive(Debug, Clone, Default)]
pub(super) struct Stale {
    pub(super) users: BTreeSet<UserId>,
    pub(super) invites: BTreeSet<Slot>,
    grants: BTreeSet<Slot>,
    enrolments: BTreeSet<(DeviceId, EventId)>,
    erases: BTreeSet<Slot>,
    keys: BTreeSet<String>,
    settings: BTreeMap<String, Setting>,
    /// The Erases in force at a place: those of the message's own user first.
    erasures: BTreeMap<Erase, BTreeSet<(bool, EventId)>>,
    successors: BTreeSet<(Rank, EventId)>,
    /// Joins that turned, by invite.
    joins: Vec<(Slot, EventId, bool)>,
    /// Valid events of kinds that this version does not know.
    newer: u32,
    /// The genesis is under rules that this version does not know.
    is_later_genesis: bool,
}

/// The valid Sets of one key.
#[derive(Debug, Clone, Default)]
struct Setting {
    /// How many replace each.
    replaced: BTreeMap<EventId, u32>,
    /// Those that none replaces.
    standing: BTreeSet<(Rank, EventId)>,
}

impl ControlSet {
    /// An event has another verdict than before.
    pub(super) fn note(&mut self, slot: Slot) {
        let Some(held) = self.forest.find(slot) else { return };
        let event = &held.event;
        if held.is_grant() {
            self.stale.grants.insert(slot);
            match &event.control {
                Control::Genesis(g) => self.stale.users.extend(&g.founders),
                Control::Grant(g) => drop(self.stale.users.insert(g.user)),
                _ => {}
            }
            self.stale.erases.extend(self.relations.erases.get(&event.id).into_iter().flatten());
        }
        if let Some(certificate) = event.control.certificate() {
            self.stale.users.insert(certificate.user());
            self.stale.enrolments.insert((event.log.author, event.log.grant));
            self.stale.erases.extend(self.relations.erases.get(&event.log.grant).into_iter().flatten());
        }
        match &event.control {
            Control::OpenInvite(_) => drop(self.stale.invites.insert(slot)),
            Control::Revoke(revoke) => drop(self.stale.users.insert(revoke.user)),
            Control::RevokeDevice(_) | Control::Leave => self.stale.users.extend(held.user),
            Control::Set(set) => drop(self.stale.keys.insert(set.key.clone())),
            Control::Erase(_) => drop(self.stale.erases.insert(slot)),
            Control::Unknown { kind: super::kind::GENESIS } => self.stale.is_later_genesis = true,
            _ => {}
        }
    }

    /// An event counts now, or no longer does: keeps what is counted.
    pub(super) fn turn_counts(&mut self, slot: Slot, counts: bool) {
        let Some(held) = self.forest.find(slot) else { return };
        let step = if counts { 1 } else { -1 };
        let (event, rank) = (&held.event, held.rank.unwrap_or(Rank::KEEPER));
        match &event.control {
            Control::Join(_) => self.stale.joins.extend(held.invite.map(|invite| (invite, event.id, counts))),
            Control::Leave => {
                if let Some(user) = held.user {
                    let left = self.relations.left.entry((user, event.log.grant)).or_default();
                    *left = left.saturating_add_signed(step);
                }
            }
            Control::Unknown { .. } => self.stale.newer = self.stale.newer.saturating_add_signed(step),
            Control::Successor(_) if counts => drop(self.stale.successors.insert((rank, event.id))),
            Control::Successor(_) => drop(self.stale.successors.remove(&(rank, event.id))),
            Control::Set(set) => {
                let setting = self.stale.settings.entry(set.key.clone()).or_default();
                for id in &set.replaces {
                    let replaced = setting.replaced.entry(*id).or_default();
                    *replaced = replaced.saturating_add_signed(step);
                }
                let ids: Vec<EventId> = set.replaces.iter().copied().chain([event.id]).collect();
                self.stand(slot, &ids);
            }
            _ => {}
        }
    }

    /// Sets whose being replaced, or valid, has changed.
    fn stand(&mut self, by: Slot, ids: &[EventId]) {
        let Some(Control::Set(set)) = self.forest.find(by).map(|held| held.event.control.clone()) else { return };
        for id in ids {
            let Some(held) = self.held(*id) else { continue };
            let same_key = matches!(&held.event.control, Control::Set(other) if other.key == set.key);
            let (valid, place) = (held.is_valid() && same_key, (held.rank.unwrap_or(Rank::KEEPER), *id));
            let Some(setting) = self.stale.settings.get_mut(&set.key) else { continue };
            match valid && setting.replaced.get(id).is_none_or(|n| *n == 0) {
                true => drop(setting.standing.insert(place)),
                false => drop(setting.standing.remove(&place)),
            }
        }
    }

    /// The valid Sets of a key that none replaces: what a new one has to replace.
    pub fn standing_sets(&self, key: &str) -> Vec<EventId> {
        let standing = self.stale.settings.get(key).into_iter().flat_map(|setting| &setting.standing);
        standing.map(|(_, id)| *id).collect()
    }

    /// Brings the state up to date; returns the content logs of which something else counts than before.
    pub(super) fn derive(&mut self) -> Vec<(DeviceId, EventId)> {
        self.derive_genesis();
        let users = std::mem::take(&mut self.stale.users);
        let before: Vec<_> =
            self.content_logs(&users).into_iter().map(|log| (log, self.state.content_right(&log))).collect();
        let before: Vec<_> = before.into_iter().map(|(log, right)| (log, right.map(|r| r.to_owned()))).collect();
        for slot in std::mem::take(&mut self.stale.grants) {
            self.derive_grant(slot);
        }
        for enrolment in std::mem::take(&mut self.stale.enrolments) {
            self.derive_enrolment(enrolment);
        }
        users.iter().for_each(|user| self.derive_user(*user));
        for slot in std::mem::take(&mut self.stale.invites) {
            self.derive_invite(slot);
        }
        for (invite, join, counts) in std::mem::take(&mut self.stale.joins) {
            self.derive_join(invite, join, counts);
        }
        for key in std::mem::take(&mut self.stale.keys) {
            self.derive_setting(key);
        }
        for slot in std::mem::take(&mut self.stale.erases) {
            self.derive_erase(slot);
        }
        self.state.needs_newer = self.stale.is_later_genesis || self.stale.newer > 0;
        let successor = self.stale.successors.first().and_then(|(_, id)| self.event(*id));
        self.state.successor = successor.and_then(|event| match &event.control {
            Control::Successor(room) => Some(*room),
            _ => None,
        });
        let moved =
            before.into_iter().filter(|(log, right)| self.state.content_right(log).map(|r| r.to_owned()) != *right);
        moved.map(|(log, _)| (log.author, log.grant)).collect()
    }

    fn derive_genesis(&mut self) {
        if self.state.kind.is_none()
            && let Some(genesis) = self.genesis()
        {
            let (kind, secret, invite_rank) = (genesis.kind, genesis.secret, genesis.invite_rank);
            self.state.kind = Some(kind);
            self.state.secret = secret;
            self.state.invite_rank = Some(invite_rank);
        }
    }

    /// The content logs of these users' devices.
    fn content_logs(&self, users: &BTreeSet<UserId>) -> BTreeSet<Log> {
        let roots = users.iter().filter_map(|user| self.relations.roots.get(user)).flatten();
        let roots = roots.filter_map(|slot| self.forest.find(*slot));
        roots.map(|root| Log { class: Class::Content, ..root.event.log }).collect()
    }

    fn derive_grant(&mut self, slot: Slot) {
        let Some(held) = self.forest.find(slot) else { return };
        if let Some(rank) = held.gives {
            let lifts = match &held.event.control {
                Control::Grant(grant) => grant.lifts.clone(),
                _ => Vec::new(),
            };
            let grant = GrantState { rank, issuer: held.rank, valid: held.is_valid(), lifts: lifts.into() };
            self.state.grants.insert(held.event.id, grant);
        }
    }

    fn derive_enrolment(&mut self, (device, grant): (DeviceId, EventId)) {
        let mut users: BTreeMap<UserId, bool> = BTreeMap::new();
        for root in self.relations.enrolments.get(&(device, grant)).into_iter().flatten() {
            if let Some((root, user)) = self.forest.find(*root).and_then(|root| Some((root, root.user?))) {
                *users.entry(user).or_default() |= root.is_valid();
            }
        }
        self.state.enrolments.insert((device, grant), Enrolment { users: users.into_iter().collect() });
    }

    fn derive_user(&mut self, user: UserId) {
        self.derive_cuts(user);
        let grants = self.relations.grants.get(&user).into_iter().flatten().filter_map(|slot| self.forest.find(*slot));
        let active = grants.filter(|grant| self.is_active(grant, user));
        let active: BTreeMap<EventId, Rank> = active.filter_map(|g| Some((g.event.id, g.gives?))).collect();
        let mut devices = BTreeSet::new();
        for root in self.relations.roots.get(&user).into_iter().flatten().filter_map(|slot| self.forest.find(*slot)) {
            let log = &root.event.log;
            let rank = active.get(&log.grant).copied();
            let ended = || self.device_revokes(user, log.author).any(|r| r.is_valid() && device_covers(r, log, rank));
            if root.is_valid() && rank.is_some() && !ended() {
                devices.insert(log.author);
            }
        }
        let before = match active.values().min() {
            Some(rank) => self.state.members.insert(user, Member { rank: *rank, devices: devices.clone() }),
            None => self.state.members.remove(&user),
        };
        self.state.active.retain_user(user, &active);
        for device in before.map(|member| member.devices).unwrap_or_default() {
            self.state.devices.remove(&(device, user));
        }
        if !active.is_empty() {
            self.state.devices.extend(devices.into_iter().map(|device| (device, user)));
        }
    }

    /// A grant that stands, under which the user has not left, and that no valid Revoke covers.
    fn is_active(&self, grant: &Held, user: UserId) -> bool {
        let left = self.relations.left.get(&(user, grant.event.id)).is_some_and(|n| *n > 0);
        let log = Log { class: Class::Control, author: user.into(), grant: grant.event.id };
        let revokes =
            self.relations.revokes.get(&user).into_iter().flatten().filter_map(|slot| self.forest.find(*slot));
        let revoked = || revokes.into_iter().any(|r| r.is_valid() && self.covers(r, &log, grant.gives));
        grant.is_valid() && names(&grant.event.control, user) && !left && !revoked()
    }

    /// What cuts the content of a user.
    fn derive_cuts(&mut self, user: UserId) {
        let mut cuts = UserCuts::default();
        for held in self.relations.revokes.get(&user).into_iter().flatten().filter_map(|slot| self.forest.find(*slot)) {
            if let (true, Some(rank)) = (held.is_valid(), held.rank) {
                cuts.revokes.push((rank, held.event.id, held.event.control.cuts().into()));
            }
        }
        let from = (user, DeviceId([0; 32]));
        for ((_, device), slots) in self.relations.device_revokes.range(from..).take_while(|((u, _), _)| *u == user) {
            for held in slots.iter().filter_map(|slot| self.forest.find(*slot)) {
                if let (true, Some(rank)) = (held.is_valid() && *device != user.into(), held.rank) {
                    let (by, cuts_left) = (held.event.id, held.event.control.cuts().into());
                    cuts.devices.push(DeviceCuts { device: *device, rank, by, cuts: cuts_left });
                }
            }
        }
        cuts.sort();
        match cuts.is_empty() {
            true => drop(self.state.cuts.remove(&user)),
            false => drop(self.state.cuts.insert(user, Arc::new(cuts))),
        }
    }

    fn derive_invite(&mut self, slot: Slot) {
        let Some(held) = self.forest.find(slot) else { return };
        let (Control::OpenInvite(open), Some(issuer)) = (&held.event.control, held.user) else { return };
        let id = held.event.id;
        if !held.is_valid() {
            self.state.invites.remove(&id);
            return;
        }
        let (key, rank, closed) = (open.key, open.rank, held.closers > 0);
        if let Some(invite) = self.state.invites.get_mut(&id) {
            invite.closed = closed;
            return;
        }
        let joins = self.relations.joins.get(&slot).into_iter().flatten().filter_map(|slot| self.forest.find(*slot));
        let joins = joins.filter(|join| join.is_valid()).map(|join| join.event.id).collect();
        self.state.invites.insert(id, Invite { key, rank, issuer, closed, joins });
    }

    fn derive_join(&mut self, invite: Slot, join: EventId, counts: bool) {
        let Some(invite) = self.forest.id(invite).and_then(|id| self.state.invites.get_mut(&id)) else { return };
        match counts {
            true => drop(invite.joins.insert(join)),
            false => drop(invite.joins.remove(&join)),
        }
    }

    fn derive_setting(&mut self, key: String) {
        let best = self.stale.settings.get(&key).and_then(|setting| setting.standing.first());
        match best.and_then(|(_, id)| self.event(*id)).map(|event| &event.control) {
            Some(Control::Set(set)) => drop(self.state.settings.insert(key, set.value.clone())),
            _ => drop(self.state.settings.remove(&key)),
        }
    }

    fn derive_erase(&mut self, slot: Slot) {
        let Some(held) = self.forest.find(slot) else { return };
        let Control::Erase(erase) = &held.event.control else { return };
        let (erase, id) = (erase.clone(), held.event.id);
        let own = self.erases(held, &erase);
        let there = self.stale.erasures.entry(erase.clone()).or_default();
        there.retain(|(_, by)| *by != id);
        there.extend(own.map(|own| (!own, id)));
        match there.first() {
            Some((not_own, by)) => drop(self.state.erased.insert(erase, Erasure { by: *by, own: !not_own })),
            None => drop(self.state.erased.remove(&erase)),
        }
    }

    /// Whether an Erase is in force: as the message's own user's, or as a moderator's.
    fn erases(&self, held: &Held, erase: &Erase) -> Option<bool> {
        let (user, rank) = (held.user?, held.rank?);
        let target = self.held(erase.grant).filter(|grant| grant.is_grant() && grant.is_valid())?.gives?;
        let enrolment = self.state.enrolments.get(&(erase.author, erase.grant));
        let own = enrolment.is_some_and(|e| e.users.iter().any(|(u, valid)| *valid && *u == user));
        (held.is_valid() && (own || (rank <= Rank::MODERATOR && rank <= target))).then_some(own)
    }
}

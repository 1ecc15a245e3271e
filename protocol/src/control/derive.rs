//! What follows for the room from the events that count. Only what rests on events that turned is derived anew.

use super::held::{Held, Slot};
use super::kept::{Target, content_of};
use super::payload::{Control, Erase};
use super::rank::Rank;
use super::set::{ControlSet, names};
use super::state::{Enrolment, Erasure, GrantState, Invite, Member};
use crate::event::Class;
use crate::id::{DeviceId, EventId, UserId};
use crate::log::Log;
use imbl::OrdSet;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// What has to be derived anew, and what is counted on the way.
#[derive(Debug, Clone, Default)]
pub(super) struct Stale {
    pub(super) invites: BTreeSet<Slot>,
    grants: BTreeSet<Slot>,
    /// Grants that their user may have come to hold, or to hold no longer.
    active: BTreeSet<(UserId, Slot)>,
    /// Roots whose device may have begun to speak for a member, or ceased to.
    roots: BTreeSet<Slot>,
    enrolments: BTreeSet<(DeviceId, EventId)>,
    /// Content logs of which something else may count, and of which it surely does.
    logs: BTreeSet<Log>,
    moved: BTreeSet<Log>,
    /// Revocations that turned, with their user.
    cuts: Vec<(UserId, Slot)>,
    erases: BTreeSet<Slot>,
    keys: BTreeSet<String>,
    settings: BTreeMap<String, Setting>,
    /// The Erases in force at a place: those of the message's own user first.
    erasures: BTreeMap<Erase, BTreeSet<(bool, EventId)>>,
    /// Places whose Erase in force is another now.
    pub(super) places: BTreeSet<Erase>,
    successors: BTreeSet<(Rank, EventId)>,
    /// Joins that turned, by invite.
    joins: Vec<(Slot, EventId, bool)>,
    /// The grants that each user holds now.
    held: BTreeMap<UserId, BTreeSet<(Rank, EventId)>>,
    /// In how many logs a device speaks for a user.
    speaking: BTreeMap<(UserId, DeviceId), u32>,
    /// How many valid roots tie a device to users under a grant.
    rooted: BTreeMap<(DeviceId, EventId), BTreeMap<UserId, u32>>,
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

impl Stale {
    /// A revocation has turned that names these logs.
    pub(super) fn cut(&mut self, target: Target, slot: Slot, named: &[Log]) {
        self.cuts.push((target.user(), slot));
        self.moved.extend(named.iter().filter(|log| log.class == Class::Content));
    }

    /// It may have taken something of the log of this root, or given it back.
    pub(super) fn cut_root(&mut self, root: Slot, content: Log) {
        self.roots.insert(root);
        self.logs.insert(content);
    }

    /// The grants that a user holds, as last derived, and that are weaker than this.
    pub(super) fn held_below(&self, user: UserId, rank: Rank) -> impl Iterator<Item = EventId> + '_ {
        let held = self.held.get(&user).into_iter();
        let below = (Bound::Excluded((rank, EventId([255; 32]))), Bound::Unbounded);
        held.flat_map(move |held| held.range(below)).map(|(_, id)| *id)
    }

    /// Grants that a user may hold now, or hold no longer.
    pub(super) fn look_at(&mut self, user: UserId, grants: Vec<Slot>) {
        self.active.extend(grants.into_iter().map(|grant| (user, grant)));
    }
}

impl ControlSet {
    /// An event has another verdict than before.
    pub(super) fn note(&mut self, slot: Slot) {
        let Some(held) = self.forest.find(slot) else { return };
        let (event, stale) = (&held.event, &mut self.stale);
        if held.is_grant() {
            stale.grants.insert(slot);
            stale.active.extend(users_of(&event.control).map(|user| (user, slot)));
            let of_grant = (event.id, DeviceId([0; 32]))..=(event.id, DeviceId([255; 32]));
            stale.erases.extend(self.relations.erases.range(of_grant).flat_map(|(_, slots)| slots));
            let enrols = self.relations.enrols.get(&event.id).into_iter().flatten();
            let enrols = enrols.filter_map(|slot| self.forest.find(*slot));
            stale.logs.extend(enrols.map(|enrol| content_of(&enrol.event.log)));
        }
        if let Some(certificate) = event.root() {
            let place = (event.log.author, event.log.grant);
            stale.roots.insert(slot);
            stale.enrolments.insert(place);
            stale.logs.insert(content_of(&event.log));
            stale.rooted.entry(place).or_default().entry(certificate.user()).or_default();
        }
        match &event.control {
            Control::OpenInvite(_) => drop(stale.invites.insert(slot)),
            Control::Set(set) => drop(stale.keys.insert(set.key.clone())),
            Control::Erase(_) => drop(stale.erases.insert(slot)),
            Control::Unknown { kind: super::kind::GENESIS } => stale.is_later_genesis = true,
            _ => {}
        }
    }

    /// An event counts now, or no longer does: keeps what is counted.
    pub(super) fn turn_counts(&mut self, slot: Slot, counts: bool) {
        let Some(held) = self.forest.find(slot) else { return };
        let step = if counts { 1 } else { -1 };
        let (event, rank) = (&held.event, held.rank.unwrap_or(Rank::KEEPER));
        if let Some(certificate) = event.root() {
            let roots = self.stale.rooted.entry((event.log.author, event.log.grant)).or_default();
            let roots = roots.entry(certificate.user()).or_default();
            *roots = roots.saturating_add_signed(step);
        }
        match &event.control {
            Control::Join(_) => self.stale.joins.extend(held.invite.map(|invite| (invite, event.id, counts))),
            Control::Leave => {
                if let Some(user) = held.user {
                    let left = self.relations.left.entry((user, event.log.grant)).or_default();
                    *left = left.saturating_add_signed(step);
                    self.stale.active.extend(held.grant.map(|grant| (user, grant)));
                }
            }
            // Whoever is weaker could not choose the room's rules either.
            Control::Unknown { .. } if rank <= Rank::ADMIN => {
                self.stale.newer = self.stale.newer.saturating_add_signed(step);
            }
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
        let logs = std::mem::take(&mut self.stale.logs);
        let surely = std::mem::take(&mut self.stale.moved);
        let before = (!logs.is_empty()).then(|| self.state.clone());
        for slot in std::mem::take(&mut self.stale.grants) {
            self.derive_grant(slot);
        }
        for enrolment in std::mem::take(&mut self.stale.enrolments) {
            self.derive_enrolment(enrolment);
        }
        for (user, slot) in std::mem::take(&mut self.stale.cuts) {
            self.derive_cuts(user, slot);
        }
        self.derive_members();
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
        let Some(before) = before else { return Vec::new() };
        // What a revocation that turned names was cut otherwise before: to compare would be to read all that name it.
        let is_other = |log: &Log| before.content_right(log) != self.state.content_right(log);
        let moved = logs.into_iter().filter(|log| surely.contains(log) || is_other(log));
        moved.map(|log| (log.author, log.grant)).collect()
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
        let users = self.stale.rooted.get(&(device, grant)).into_iter().flatten();
        let enrolment = Enrolment { users: users.map(|(user, roots)| (*user, *roots > 0)).collect() };
        if self.state.enrolments.get(&(device, grant)) != Some(&enrolment) {
            self.state.enrolments.insert((device, grant), enrolment);
            let erases = self.relations.erases.get(&(grant, device));
            self.stale.erases.extend(erases.into_iter().flatten());
        }
    }

    /// Who is a member by which grants, and which devices speak for whom.
    fn derive_members(&mut self) {
        let mut users = BTreeSet::new();
        for (user, slot) in std::mem::take(&mut self.stale.active) {
            self.derive_active(user, slot);
            users.insert(user);
        }
        for (user, held) in users.iter().map(|user| (*user, self.stale.held.get(user))) {
            match held.and_then(|held| held.first()) {
                Some((rank, _)) if self.state.members.contains_key(&user) => {
                    self.state.members.get_mut(&user).into_iter().for_each(|member| member.rank = *rank);
                }
                Some((rank, _)) => {
                    drop(self.state.members.insert(user, Member { rank: *rank, devices: OrdSet::new() }));
                }
                None => {}
            }
        }
        for slot in std::mem::take(&mut self.stale.roots) {
            self.derive_root(slot);
        }
        for user in users.iter().filter(|user| !self.stale.held.contains_key(*user)) {
            self.state.members.remove(user);
        }
    }

    /// Whether a grant stands, its user has not left, and no valid Revoke covers it.
    fn derive_active(&mut self, user: UserId, slot: Slot) {
        let Some(grant) = self.forest.find(slot).filter(|grant| names(&grant.event.control, user)) else { return };
        let (id, Some(rank)) = (grant.event.id, grant.gives) else { return };
        let left = self.relations.left.get(&(user, id)).is_some_and(|n| *n > 0);
        let is_active =
            grant.is_valid() && !left && self.count_covers(Target::User(user), grant.gives, Some(grant)) == 0;
        if is_active == self.state.active.contains(user, id) {
            return;
        }
        self.state.active.set(user, id, is_active);
        let held = self.stale.held.entry(user).or_default();
        match is_active {
            true => drop(held.insert((rank, id))),
            false => drop(held.remove(&(rank, id))),
        }
        if held.is_empty() {
            self.stale.held.remove(&user);
        }
        let enrols = self.relations.enrols.get(&id).into_iter().flatten();
        self.stale.roots.extend(enrols.chain(std::iter::once(&slot)));
    }

    /// Whether a device speaks for a member by this root.
    fn derive_root(&mut self, slot: Slot) {
        let Some(root) = self.forest.find(slot) else { return };
        let (Some(user), Some(_)) = (root.user, root.event.root()) else { return };
        let log = root.event.log;
        let ended = self.count_covers(Target::Device(user, log.author), self.rank_of_log(&log), None) > 0;
        let speaks = root.is_valid() && !ended && self.state.active.contains(user, log.grant);
        let Some(root) = self.forest.find_mut(slot) else { return };
        if std::mem::replace(&mut root.speaks, speaks) == speaks {
            return;
        }
        let logs = self.stale.speaking.entry((user, log.author)).or_default();
        *logs = logs.saturating_add_signed(if speaks { 1 } else { -1 });
        let devices = self.state.members.get_mut(&user).map(|member| &mut member.devices);
        match *logs {
            0 => {
                self.stale.speaking.remove(&(user, log.author));
                self.state.devices.remove(&(log.author, user));
                devices.and_then(|devices| devices.remove(&log.author));
            }
            _ => {
                self.state.devices.insert((log.author, user));
                devices.and_then(|devices| devices.insert(log.author));
            }
        }
    }

    /// A revocation of a user, or of a device of theirs, counts now or no longer does.
    fn derive_cuts(&mut self, user: UserId, slot: Slot) {
        let Some(held) = self.forest.find(slot) else { return };
        let (id, Some(rank)) = (held.event.id, held.rank) else { return };
        let cuts = self.state.cuts.entry(user).or_default();
        let left = held.is_valid().then(|| (rank, held.event.control.cuts().into()));
        match (&held.event.control, left) {
            (Control::RevokeDevice(r), Some(left)) => drop(cuts.devices.insert((r.device, id), left)),
            (Control::RevokeDevice(r), None) => drop(cuts.devices.remove(&(r.device, id))),
            (_, Some(left)) => drop(cuts.revokes.insert(id, left)),
            (_, None) => drop(cuts.revokes.remove(&id)),
        }
        if cuts.revokes.is_empty() && cuts.devices.is_empty() {
            self.state.cuts.remove(&user);
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
        let said = match best.and_then(|(_, id)| self.event(*id)).map(|event| (event.id, &event.control)) {
            Some((id, Control::Set(set))) => Some((id, set.value.clone())),
            _ => None,
        };
        match said {
            Some((id, value)) => {
                self.state.settings_by.insert(key.clone(), id);
                self.state.settings.insert(key, value);
            }
            None => {
                self.state.settings_by.remove(&key);
                self.state.settings.remove(&key);
            }
        }
    }

    fn derive_erase(&mut self, slot: Slot) {
        let Some(held) = self.forest.find(slot) else { return };
        let Control::Erase(erase) = &held.event.control else { return };
        let (erase, id) = (erase.clone(), held.event.id);
        let own = self.erases(held, &erase);
        let there = self.stale.erasures.entry(erase.clone()).or_default();
        there.remove(&(true, id));
        there.remove(&(false, id));
        there.extend(own.map(|own| (!own, id)));
        let now = there.first().map(|(not_own, by)| Erasure { by: *by, own: !not_own });
        if now == self.state.erased.get(&erase).copied() {
            return;
        }
        self.stale.places.insert(erase.clone());
        match now {
            Some(now) => drop(self.state.erased.insert(erase, now)),
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

/// The users whom a grant names.
fn users_of(control: &Control) -> impl Iterator<Item = UserId> + '_ {
    let founders = match control {
        Control::Genesis(genesis) => &genesis.founders[..],
        _ => &[],
    };
    let other = match control {
        Control::Grant(grant) => Some(grant.user),
        Control::Join(join) => Some(join.certificate.user()),
        _ => None,
    };
    founders.iter().copied().chain(other)
}

//! What follows for a room from the control events that count: members, devices, invites, settings, erasures, and whose
//! content may stand.

use super::evaluate::{Evaluation, Void};
use super::kind;
use super::payload::{Control, ControlEvent, Erase, RoomKind, Set};
use super::rank::Rank;
use crate::event::Class;
use crate::id::{DeviceId, EventId, InviteKey, UserId};
use crate::log::Log;
use std::collections::{BTreeMap, BTreeSet};

/// The room as everybody with the same control events sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoomState {
    /// Who may see the room; `None` until its genesis is here.
    pub kind: Option<RoomKind>,
    /// Keys tags and digests, as the Genesis says; zero in a public room.
    pub secret: [u8; 32],
    /// The weakest rank that may invite.
    pub invite_rank: Option<Rank>,
    /// Current members: strongest rank of each, and their devices.
    pub members: BTreeMap<UserId, Member>,
    /// The open and closed invites that count.
    pub invites: BTreeMap<EventId, Invite>,
    /// Settings in force (`name`, `topic`, ...).
    pub settings: BTreeMap<String, String>,
    /// Content that is to be hidden, by the place that an Erase names: see `erasure`.
    pub erased: BTreeMap<Erase, Erasure>,
    /// Control events that count.
    pub valid: BTreeSet<EventId>,
    /// Control events that do not, and why.
    pub void: BTreeMap<EventId, Void>,
    /// Rules or kinds of a later version are in use: nothing may be posted from here.
    pub needs_newer: bool,
    grants: BTreeMap<EventId, GrantState>,
    /// Who has left under which grant.
    left: BTreeSet<(UserId, EventId)>,
    /// Devices that a root ties to a user under a grant: the user, and whether the root counts.
    roots: BTreeMap<(DeviceId, EventId), (UserId, bool)>,
}

/// A member of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The strongest rank of the user's grants.
    pub rank: Rank,
    /// Devices enrolled under any of them.
    pub devices: BTreeSet<DeviceId>,
}

/// An invite that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invite {
    /// Its public key.
    pub key: InviteKey,
    /// The rank of who joins by it.
    pub rank: Rank,
    /// Who opened it.
    pub issuer: UserId,
    /// Whether a valid closing names it.
    pub closed: bool,
    /// The valid joins by it.
    pub joins: Vec<EventId>,
}

/// Why a message is hidden, and what becomes of its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Erasure {
    /// The Erase event.
    pub by: EventId,
    /// By the message's own user: its payload goes at once. By a moderator: after a while, if it still counts.
    pub own: bool,
}

/// What stands in the way of a content log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoContent {
    /// The grant is not here yet.
    UnknownGrant,
    /// The grant is here, but not what ties the device to its user.
    NotEnrolled,
    /// It is decided, as things stand, that it does not count.
    Void(Void),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct GrantState {
    rank: Rank,
    valid: bool,
}

impl RoomState {
    /// The user for whom a content log speaks, if its content counts.
    ///
    /// # Errors
    /// `NoContent`.
    pub fn content_author(&self, log: &Log) -> Result<UserId, NoContent> {
        let grant = self.grants.get(&log.grant).ok_or(NoContent::UnknownGrant)?;
        if grant.rank > Rank::MEMBER {
            return Err(NoContent::Void(Void::NotAllowed));
        }
        let (user, enrolled) = self.roots.get(&(log.author, log.grant)).ok_or(NoContent::NotEnrolled)?;
        match (grant.valid, enrolled) {
            (true, true) => Ok(*user),
            (false, _) => Err(NoContent::Void(Void::Grant)),
            (_, false) => Err(NoContent::Void(Void::Prev)),
        }
    }

    /// Why the message at this place is to be hidden, if it is. An Erase that names its id at another place, such as a log
    /// of the eraser's own, says nothing of it.
    pub fn erasure(&self, log: &Log, seq: u64, id: EventId) -> Option<Erasure> {
        self.erased.get(&Erase { author: log.author, grant: log.grant, seq, id }).copied()
    }

    /// Whether a log of either class has anything that counts.
    pub fn is_effective(&self, log: &Log) -> bool {
        match log.class {
            Class::Control => true,
            Class::Content => self.content_author(log).is_ok(),
        }
    }

    /// The user whose current device this is.
    pub fn user_of(&self, device: DeviceId) -> Option<UserId> {
        self.members.iter().find(|(_, m)| m.devices.contains(&device)).map(|(user, _)| *user)
    }

    /// The user whom a device of a log speaks for, current or not.
    pub fn speaker(&self, author: DeviceId, grant: EventId) -> Option<UserId> {
        self.roots.get(&(author, grant)).map(|(user, _)| *user)
    }

    /// The strongest valid grant under which a device is enrolled and that its user has not left, and its rank.
    pub fn grant_of(&self, device: DeviceId) -> Option<(EventId, Rank)> {
        let user = self.user_of(device)?;
        let enrolled = self.roots.iter().filter(|((d, _), (u, valid))| *d == device && *u == user && *valid);
        let grants = enrolled.filter_map(|((_, grant), _)| Some((*grant, self.grants.get(grant)?)));
        let current = grants.filter(|(id, g)| g.valid && !self.left.contains(&(user, *id)));
        current.map(|(id, g)| (id, g.rank)).min_by_key(|(id, rank)| (*rank, *id))
    }

    /// The rank of a grant that counts.
    pub fn rank_of_grant(&self, grant: EventId) -> Option<Rank> {
        self.grants.get(&grant).filter(|g| g.valid).map(|g| g.rank)
    }
}

impl Evaluation<'_> {
    pub(super) fn into_state(self) -> RoomState {
        let mut state = RoomState::default();
        if let Some(genesis) = self.set.genesis() {
            state.kind = Some(genesis.kind);
            state.secret = genesis.secret;
            state.invite_rank = Some(genesis.invite_rank);
        }
        let mut sets: Vec<(Rank, &ControlEvent, &Set)> = Vec::new();
        for event in self.set.events() {
            self.add_grant(&mut state, event);
            match &event.control {
                Control::Set(set) if self.valid.contains(&event.id) => {
                    sets.extend(self.set.rank_of(event.log.grant).map(|rank| (rank, event, set)));
                }
                // What does not count by our rules could count by others only if something unknown here did first.
                Control::Unknown { kind } if *kind == kind::GENESIS || self.valid.contains(&event.id) => {
                    state.needs_newer = true;
                }
                _ => {}
            }
        }
        state.settings = settings(sets);
        self.add_members(&mut state);
        self.add_invites(&mut state);
        self.add_erasures(&mut state);
        state.valid = self.valid;
        state.void = self.void;
        state
    }

    fn add_grant(&self, state: &mut RoomState, event: &ControlEvent) {
        let valid = self.valid.contains(&event.id);
        if matches!(event.control, Control::Genesis(_) | Control::Grant(_) | Control::Join(_))
            && let Some(rank) = self.set.rank_of(event.id)
        {
            state.grants.insert(event.id, GrantState { rank, valid });
        }
        if let Some(certificate) = event.control.certificate() {
            let root = state.roots.entry((event.log.author, event.log.grant)).or_insert((certificate.user(), valid));
            if valid && !root.1 {
                *root = (certificate.user(), true);
            }
        }
    }

    fn add_members(&self, state: &mut RoomState) {
        for event in self.set.events() {
            if event.control == Control::Leave && self.valid.contains(&event.id) {
                state.left.extend(self.users.get(&event.id).map(|user| (*user, event.log.grant)));
            }
        }
        for (grant, found) in state.grants.iter().filter(|(_, g)| g.valid) {
            for user in self.set.users_of(*grant) {
                if !state.left.contains(&(user, *grant)) {
                    let member =
                        state.members.entry(user).or_insert(Member { rank: found.rank, devices: BTreeSet::new() });
                    member.rank = member.rank.min(found.rank);
                }
            }
        }
        for ((device, grant), (user, valid)) in &state.roots {
            let counts =
                *valid && !state.left.contains(&(*user, *grant)) && state.grants.get(grant).is_some_and(|g| g.valid);
            if let Some(member) = state.members.get_mut(user).filter(|_| counts) {
                member.devices.insert(*device);
            }
        }
    }

    fn add_invites(&self, state: &mut RoomState) {
        for event in self.set.events().filter(|e| self.valid.contains(&e.id)) {
            if let (Control::OpenInvite(open), Some(issuer)) = (&event.control, self.users.get(&event.id)) {
                let closed = self.closings(event.id).next().is_some();
                let invite = Invite { key: open.key, rank: open.rank, issuer: *issuer, closed, joins: Vec::new() };
                state.invites.insert(event.id, invite);
            }
        }
        for event in self.set.events().filter(|e| self.valid.contains(&e.id)) {
            if let Control::Join(join) = &event.control
                && let Some(invite) = state.invites.get_mut(&join.invite)
            {
                invite.joins.push(event.id);
            }
        }
    }

    fn add_erasures(&self, state: &mut RoomState) {
        for event in self.set.events().filter(|e| self.valid.contains(&e.id)) {
            let Control::Erase(erase) = &event.control else { continue };
            let (Some(user), Some(rank)) = (self.users.get(&event.id), self.set.rank_of(event.log.grant)) else {
                continue;
            };
            let Some(target) = state.grants.get(&erase.grant).filter(|g| g.valid) else { continue };
            let own = state.roots.get(&(erase.author, erase.grant)).is_some_and(|(u, valid)| *valid && u == user);
            if own || (rank <= Rank::MODERATOR && rank <= target.rank) {
                let erasure = state.erased.entry(erase.clone()).or_insert(Erasure { by: event.id, own });
                if own && !erasure.own {
                    *erasure = Erasure { by: event.id, own };
                }
            }
        }
    }
}

/// Among the Sets of a key that none of the same key replaces: the stronger rank, then the smaller id.
fn settings(mut sets: Vec<(Rank, &ControlEvent, &Set)>) -> BTreeMap<String, String> {
    sets.sort_by_key(|(rank, event, _)| (*rank, event.id));
    let mut replaced: BTreeSet<(&str, EventId)> = BTreeSet::new();
    for (_, _, set) in &sets {
        replaced.extend(set.replaces.iter().map(|id| (set.key.as_str(), *id)));
    }
    let mut best = BTreeMap::new();
    for (_, event, set) in &sets {
        if !replaced.contains(&(set.key.as_str(), event.id)) {
            best.entry(set.key.clone()).or_insert_with(|| set.value.clone());
        }
    }
    best
}

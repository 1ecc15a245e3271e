//! What follows for a room from the control events that count: members, devices, invites, settings, erasures, and whose
//! content may stand. The maps share what did not change, so that a copy for readers costs nothing.

use super::cut::Cut;
use super::payload::{Erase, RoomKind};
use super::rank::Rank;
use crate::event::Class;
use crate::id::{DeviceId, EventId, InviteKey, RoomId, UserId};
use crate::log::Log;
use imbl::{OrdMap, OrdSet};
use std::sync::Arc;

/// Why a control event does not count, or content under its grant does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Void {
    /// Its kind is not allowed to the rank of its grant, or it is not well formed.
    NotAllowed,
    /// Its predecessor does not count.
    Prev,
    /// Its grant does not count.
    Grant,
    /// Its author had left.
    Left,
    /// Its invitation does not count.
    Invite,
    /// Its invitation is closed and does not list it.
    Closed,
    /// Its user was removed, and it is not among what was kept.
    Revoked,
    /// Its user has revoked the device, and it is not among what was kept.
    DeviceRevoked,
}

impl Void {
    /// The reason in plain words.
    pub fn reason(self) -> &'static str {
        match self {
            Void::NotAllowed => "not allowed to this role",
            Void::Prev => "rests on an event that does not count",
            Void::Grant => "the grant does not count",
            Void::Left => "its author had left",
            Void::Invite => "the invitation does not count",
            Void::Closed => "the invitation is closed",
            Void::Revoked => "its author was removed from the room",
            Void::DeviceRevoked => "its device was revoked by its own user",
        }
    }
}

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
    pub members: OrdMap<UserId, Member>,
    /// The open and closed invites that count.
    pub invites: OrdMap<EventId, Invite>,
    /// Settings in force (`name`, `topic`, ...).
    pub settings: OrdMap<String, String>,
    /// The Set that each of them comes from.
    pub settings_by: OrdMap<String, EventId>,
    /// Content that is to be hidden, by the place that an Erase names: see `erasure`.
    pub erased: OrdMap<Erase, Erasure>,
    /// Rules or kinds of a later version are in use: nothing may be posted from here.
    pub needs_newer: bool,
    /// Where the room goes on.
    pub successor: Option<RoomId>,
    pub(super) grants: OrdMap<EventId, GrantState>,
    /// Grants under which a user is a member now.
    pub(super) active: ActiveGrants,
    /// Current devices of current members.
    pub(super) devices: OrdSet<(DeviceId, UserId)>,
    /// Devices that a root ties to users under a grant.
    pub(super) enrolments: OrdMap<(DeviceId, EventId), Enrolment>,
    /// What revocations left of users' logs.
    pub(super) cuts: OrdMap<UserId, UserCuts>,
}

/// A member of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The strongest rank of the user's grants.
    pub rank: Rank,
    /// Devices enrolled under any of them.
    pub devices: OrdSet<DeviceId>,
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
    pub joins: OrdSet<EventId>,
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

/// For whom a content log speaks, and what of it stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentRight<'a> {
    /// The user.
    pub user: UserId,
    /// What counts lies within each of these; all of it where there are none.
    pub cuts: Vec<&'a Cut>,
}

impl ContentRight<'_> {
    /// Whether any of the cuts names this event: then it shows that what lies below it counts, and is kept with it.
    pub fn names(&self, id: EventId) -> bool {
        self.cuts.iter().any(|cut| cut.ids.binary_search(&id).is_ok())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GrantState {
    pub(super) rank: Rank,
    /// The rank of who issued it.
    pub(super) issuer: Option<Rank>,
    pub(super) valid: bool,
    /// Revokes that it overrides, ascending.
    pub(super) lifts: Arc<[EventId]>,
}

/// The users for whom a device speaks under a grant, and whether a valid event says so: nearly always one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Enrolment {
    pub(super) users: Vec<(UserId, bool)>,
}

/// The grants that a user holds now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ActiveGrants(OrdSet<(UserId, EventId)>);

impl ActiveGrants {
    pub(super) fn set(&mut self, user: UserId, grant: EventId, is_active: bool) {
        match is_active {
            true => drop(self.0.insert((user, grant))),
            false => drop(self.0.remove(&(user, grant))),
        }
    }

    pub(super) fn contains(&self, user: UserId, grant: EventId) -> bool {
        self.0.contains(&(user, grant))
    }
}

/// Its author's rank, and what it leaves.
pub(super) type Revoked = (Rank, Arc<[Cut]>);

/// The valid revocations of a user and of their devices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct UserCuts {
    pub(super) revokes: OrdMap<EventId, Revoked>,
    pub(super) devices: OrdMap<(DeviceId, EventId), Revoked>,
}

impl RoomState {
    /// The user for whom a content log speaks, if any of its content counts.
    ///
    /// # Errors
    /// `NoContent`.
    pub fn content_author(&self, log: &Log) -> Result<UserId, NoContent> {
        self.content_right(log).map(|right| right.user)
    }

    /// For whom a content log speaks and what of it counts.
    ///
    /// # Errors
    /// `NoContent`, also where nothing of it counts.
    pub fn content_right(&self, log: &Log) -> Result<ContentRight<'_>, NoContent> {
        let grant = self.grants.get(&log.grant).ok_or(NoContent::UnknownGrant)?;
        if grant.rank > Rank::MEMBER {
            return Err(NoContent::Void(Void::NotAllowed));
        }
        let enrolment = self.enrolments.get(&(log.author, log.grant)).ok_or(NoContent::NotEnrolled)?;
        if !grant.valid {
            return Err(NoContent::Void(Void::Grant));
        }
        let log = Log { class: Class::Content, ..*log };
        let mut why = Void::Prev;
        for (user, _) in enrolment.users.iter().filter(|(_, valid)| *valid) {
            match self.cuts_of(*user, &log, grant) {
                Ok(cuts) => return Ok(ContentRight { user: *user, cuts }),
                Err(void) => why = void,
            }
        }
        Err(NoContent::Void(why))
    }

    /// What cuts a log of a user, or why nothing stays of it.
    fn cuts_of(&self, user: UserId, log: &Log, grant: &GrantState) -> Result<Vec<&Cut>, Void> {
        let mut found = Vec::new();
        let Some(cuts) = self.cuts.get(&user) else { return Ok(found) };
        let lifted = |id: &EventId, rank: Rank| grant.lifts.binary_search(id).is_ok() && grant.issuer <= Some(rank);
        for (_, (_, left)) in cuts.revokes.iter().filter(|(id, (rank, _))| *rank < grant.rank && !lifted(id, *rank)) {
            found.push(Cut::of(left, log).filter(|cut| !cut.is_zero()).ok_or(Void::Revoked)?);
        }
        if log.author == user.into() {
            return Ok(found);
        }
        let of_device = (log.author, EventId::ZERO)..=(log.author, EventId([255; 32]));
        for (_, (_, left)) in cuts.devices.range(of_device).filter(|(_, (rank, _))| *rank <= grant.rank) {
            found.push(Cut::of(left, log).filter(|cut| !cut.is_zero()).ok_or(Void::DeviceRevoked)?);
        }
        Ok(found)
    }

    /// Why the message at this place is to be hidden, if it is. An Erase that names its id at another place, such as a log
    /// of the eraser's own, says nothing of it.
    pub fn erasure(&self, log: &Log, seq: u64, id: EventId) -> Option<Erasure> {
        self.erased.get(&Erase { author: log.author, grant: log.grant, seq, id }).copied()
    }

    /// Whether all content counts that ever did: nobody was removed, no device revoked, no grant lost.
    pub fn takes_nothing_away(&self) -> bool {
        self.cuts.is_empty() && self.grants.values().all(|grant| grant.valid)
    }

    /// Whether a log of either class has anything that counts.
    pub fn is_effective(&self, log: &Log) -> bool {
        match log.class {
            Class::Control => true,
            Class::Content => self.content_right(log).is_ok(),
        }
    }

    /// The user whose current device this is.
    pub fn user_of(&self, device: DeviceId) -> Option<UserId> {
        let of_device = (device, UserId([0; 32]))..=(device, UserId([255; 32]));
        self.devices.range(of_device).next().map(|(_, user)| *user)
    }

    /// Whether a device may be told of the room: it is current; or it was here for a user who is a member again, and is told
    /// control events alone: it has only to begin under the new grant, which it does not know yet. Not once its user has
    /// revoked it under any grant.
    pub fn may_hear(&self, device: DeviceId) -> bool {
        if self.user_of(device).is_some() {
            return true;
        }
        let of_device = (device, EventId::ZERO)..=(device, EventId([255; 32]));
        let tied = self.enrolments.range(of_device).flat_map(|(_, enrolment)| &enrolment.users);
        let mut users = tied.filter(|(user, valid)| *valid && self.members.contains_key(user)).map(|(user, _)| *user);
        users.any(|user| !self.is_revoked_device(user, device))
    }

    /// Whether a valid revocation by the user key ends this device of a user, under any grant.
    pub fn is_revoked_device(&self, user: UserId, device: DeviceId) -> bool {
        let any = (device, EventId::ZERO)..=(device, EventId([255; 32]));
        self.cuts.get(&user).is_some_and(|cuts| cuts.devices.range(any).next().is_some())
    }

    /// The user whom a device of a log speaks for, current or not.
    pub fn speaker(&self, author: DeviceId, grant: EventId) -> Option<UserId> {
        let users = &self.enrolments.get(&(author, grant))?.users;
        let valid = users.iter().find(|(_, valid)| *valid);
        valid.or(users.first()).map(|(user, _)| *user)
    }

    /// The strongest valid grant under which a device is enrolled and that its user holds now, and its rank.
    pub fn grant_of(&self, device: DeviceId) -> Option<(EventId, Rank)> {
        let user = self.user_of(device)?;
        let grants = self.grants_of(device, user).into_iter();
        grants.min_by_key(|(id, rank)| (*rank, *id))
    }

    /// Every grant under which a device is enrolled for this user and that the user holds now.
    pub fn grants_of(&self, device: DeviceId, user: UserId) -> Vec<(EventId, Rank)> {
        let of_device = (device, EventId::ZERO)..=(device, EventId([255; 32]));
        let enrolled = self.enrolments.range(of_device).filter(|(_, e)| e.users.contains(&(user, true)));
        let current = enrolled.filter(|((_, grant), _)| self.active.contains(user, *grant));
        current.filter_map(|((_, id), _)| Some((*id, self.grants.get(id)?.rank))).collect()
    }

    /// Every grant that a user holds now, enrolled or not, and its rank.
    pub fn active_grants(&self, user: UserId) -> Vec<(EventId, Rank)> {
        let held = self.active.0.range((user, EventId::ZERO)..=(user, EventId([255; 32])));
        held.filter_map(|(_, id)| Some((*id, self.grants.get(id)?.rank))).collect()
    }

    /// The rank of a grant that counts.
    pub fn rank_of_grant(&self, grant: EventId) -> Option<Rank> {
        self.grants.get(&grant).filter(|g| g.valid).map(|g| g.rank)
    }

    /// The structural rank of a grant, whether it counts or not.
    pub fn structural_rank(&self, grant: EventId) -> Option<Rank> {
        self.grants.get(&grant).map(|g| g.rank)
    }

    /// The valid Revokes of a user, with the rank of their authors: what a new Grant has to lift.
    pub fn revokes_of(&self, user: UserId) -> Vec<(EventId, Rank)> {
        let cuts = self.cuts.get(&user);
        cuts.into_iter().flat_map(|cuts| &cuts.revokes).map(|(id, (rank, _))| (*id, *rank)).collect()
    }

    /// Users who were removed and are not back, ascending.
    pub fn removed(&self) -> impl Iterator<Item = UserId> + '_ {
        let revoked =
            self.cuts.iter().filter(|(user, cuts)| !cuts.revokes.is_empty() && !self.members.contains_key(*user));
        revoked.map(|(user, _)| *user)
    }

    /// Logs that a user's devices write here under any grant, ascending, with the grant's structural rank.
    pub fn logs_of(&self, user: UserId) -> Vec<(DeviceId, EventId, Rank)> {
        let of_user = self.enrolments.iter().filter(|(_, e)| e.users.iter().any(|(u, _)| *u == user));
        of_user.filter_map(|((device, grant), _)| Some((*device, *grant, self.grants.get(grant)?.rank))).collect()
    }
}

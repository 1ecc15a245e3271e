//! What a room owes its team: who has to go, who may come back. Decided from what both rooms say, by nobody's memory, so
//! that every steward who sees the same decides the same.
//!
//! Three things tell what is the team's doing from what was done on purpose. An invite is the team's where whoever opened
//! it says so in the team. A Revoke or a Grant is the team's where whoever wrote it says so there. All else was done on
//! purpose, and is never touched: who has any grant that is not the team's stays, and who was removed by any Revoke that is
//! not the team's stays out.

use super::book::{Book, Deeds, Seen};
use std::collections::BTreeSet;
use tidings_protocol::control::rank::{Rank, Role};
use tidings_protocol::control::state::RoomState;
use tidings_protocol::event::Hlc;
use tidings_protocol::id::{EventId, RoomId, UserId};
use tidings_protocol::team::is_of_team;
use tidings_storage::{StorageError, Store};

/// What is to be done about somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// To be removed: the team had them, and has them no more.
    Gone,
    /// To be removed: the team never had them, as far as is known here.
    Never,
    /// To be granted this role: the team has them again.
    Back(Role),
}

/// A room beside its team.
pub(crate) struct Case<'a> {
    team: &'a RoomState,
    room: &'a RoomState,
    invites: BTreeSet<EventId>,
    deeds: Deeds,
    /// The steward's rank in the room.
    own: Rank,
}

impl<'a> Case<'a> {
    /// Looks at a room as a steward of this rank.
    pub(crate) fn of(
        store: &Store,
        book: &Book,
        team: &'a RoomState,
        (id, room): (RoomId, Seen<'a>),
        own: Rank,
    ) -> Result<Self, StorageError> {
        let invites = book.invites(id, room.state);
        Ok(Case { team, room: room.state, invites, deeds: book.deeds(store, id, room)?, own })
    }

    /// What is to be done about somebody, if anything.
    pub(crate) fn due(&self, user: UserId) -> Option<Due> {
        let is_of_team = is_of_team(self.team, user);
        match self.room.members.get(&user) {
            Some(member) if !is_of_team && member.rank > self.own && self.came_by_team(user) => {
                let was_of_team = self.team.members.contains_key(&user)
                    || !self.team.revokes_of(user).is_empty()
                    || !self.team.logs_of(user).is_empty();
                Some(if was_of_team { Due::Gone } else { Due::Never })
            }
            None if is_of_team && self.was_removed_by_team(user) => self.role().map(Due::Back),
            _ => None,
        }
    }

    /// Whoever a look at the whole room has to look at.
    pub(crate) fn everybody(&self) -> BTreeSet<UserId> {
        let removed = self.deeds.revokes.values().map(|(user, _)| *user);
        self.room.members.keys().copied().chain(removed).collect()
    }

    /// Whether every grant that somebody holds is the team's.
    fn came_by_team(&self, user: UserId) -> bool {
        let is_teams = |grant: EventId| {
            self.deeds.grants.get(&grant).is_some_and(|(whom, _)| *whom == user) || self.is_join_by_team(grant)
        };
        self.room.active_grants(user).into_iter().all(|(grant, _)| is_teams(grant))
    }

    fn is_join_by_team(&self, grant: EventId) -> bool {
        let mut invites = self.invites.iter().filter_map(|invite| self.room.invites.get(invite));
        invites.any(|invite| invite.joins.contains(&grant))
    }

    /// Whether somebody is out by the team's doing alone. A Revoke that a later grant by the team lifts is none: then they
    /// were in again, and left.
    fn was_removed_by_team(&self, user: UserId) -> bool {
        let revokes = self.room.revokes_of(user);
        let lifts =
            self.deeds.grants.iter().filter(|(id, (whom, _))| *whom == user && self.room.rank_of_grant(**id).is_some());
        let lifted: BTreeSet<EventId> = lifts.flat_map(|(_, (_, lifts))| lifts).copied().collect();
        revokes.iter().any(|(id, _)| !lifted.contains(id))
            && revokes.iter().all(|(id, _)| self.deeds.revokes.get(id).is_some_and(|(whom, _)| *whom == user))
    }

    /// The role that the team gives: of its newest open invite.
    fn role(&self) -> Option<Role> {
        let invites = self.invites.iter().filter_map(|id| self.room.invites.get(id));
        let weakest = |open: bool| invites.clone().filter(|i| i.closed != open).map(|i| i.rank).max();
        let role = weakest(true).or_else(|| weakest(false))?.role();
        role.rank_below(self.own).map(|_| role)
    }

    /// When somebody was removed for the team last, and that counts: what was offered before is known to them.
    fn last_removal(&self) -> Option<Hlc> {
        let standing = |id: &EventId, user: UserId| self.room.revokes_of(user).iter().any(|(revoke, _)| revoke == id);
        self.deeds.revokes.iter().filter(|(id, (user, _))| standing(id, *user)).map(|(_, (_, at))| *at).max()
    }

    /// The team's open invites that somebody knows who is out, of those that a user of our rank may close.
    pub(crate) fn stale_invites(&self, store: &Store, us: UserId) -> Result<Vec<EventId>, StorageError> {
        let Some(last) = self.last_removal() else { return Ok(Vec::new()) };
        let mut stale = Vec::new();
        for (id, invite) in self.invites.iter().filter_map(|id| Some((*id, self.room.invites.get(id)?))) {
            let opened = store.event_by_id(id)?.map(|event| event.hlc);
            let issuers = self.room.members.get(&invite.issuer).map(|member| member.rank);
            let may_close = invite.issuer == us || issuers.is_some_and(|rank| rank > self.own);
            if !invite.closed && may_close && opened.is_some_and(|at| at < last) {
                stale.push(id);
            }
        }
        Ok(stale)
    }

    /// Whether the team's members have a way in that nobody knows who is out.
    pub(crate) fn has_fresh_offer(&self, store: &Store, offered: Option<EventId>) -> Result<bool, StorageError> {
        let Some(invite) = offered.filter(|id| self.invites.contains(id)) else { return Ok(false) };
        let is_open = self.room.invites.get(&invite).is_some_and(|invite| !invite.closed);
        let opened = store.event_by_id(invite)?.map(|event| event.hlc);
        Ok(is_open && opened >= self.last_removal())
    }
}

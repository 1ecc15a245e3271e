//! What the writer does for teams: gives a room its team, and what its stewards write. What is done for the team and the
//! word that says so are one batch: neither is ever without the other.

use super::book::{Book, Seen};
use super::judge::{Case, Due};
use crate::command::Reply;
use crate::keys::random;
use crate::local::Standing;
use crate::refusal::Refusal;
use crate::writer::Desk;
use tidings_protocol::content::Content;
use tidings_protocol::control::payload::{CloseInvite, Control, OpenInvite, RoomKind};
use tidings_protocol::control::rank::{Rank, Role};
use tidings_protocol::id::{EventId, RoomId, UserId};
use tidings_protocol::identity::InviteSecret;
use tidings_protocol::limits::{CLOSE_JOINS_MAX, TEAM_ROOMS_MAX};
use tidings_protocol::team::{TEAM_SETTING, TeamRoom, TeamWord, team_of};
use tidings_storage::StorageError;

/// What is asked of the writer for a team.
pub enum Order {
    /// A room is to have this team, whose members have this role there.
    Begin {
        /// The room.
        room: RoomId,
        /// The team.
        team: RoomId,
        /// The members' role.
        role: Role,
        /// Where we are.
        addresses: Vec<String>,
        /// Done.
        reply: Reply<()>,
    },
    /// A room is to have no team.
    End {
        /// The room.
        room: RoomId,
        /// Done.
        reply: Reply<()>,
    },
    /// Do what is due about somebody in a room, if it still is.
    Settle {
        /// The room.
        room: RoomId,
        /// Who.
        user: UserId,
        /// Done.
        reply: Reply<()>,
    },
    /// Close the invites that those know who are out, and offer a new one.
    Renew {
        /// The room.
        room: RoomId,
        /// Where we are.
        addresses: Vec<String>,
        /// Done.
        reply: Reply<()>,
    },
}

type Done = Result<Result<(), Refusal>, StorageError>;

/// Gives a refusal back to whoever asked.
macro_rules! accept {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(refusal) => return Ok(Err(refusal)),
        }
    };
}

impl Desk<'_, '_> {
    pub(crate) fn team(&mut self, order: Order) -> Result<(), StorageError> {
        let (reply, done) = match order {
            Order::Begin { room, team, role, addresses, reply } => {
                (reply, self.begin_team(room, team, role, addresses)?)
            }
            Order::End { room, reply } => (reply, self.end_team(room)?),
            Order::Settle { room, user, reply } => (reply, self.settle_for_team(room, user)?),
            Order::Renew { room, addresses, reply } => (reply, self.renew_offer(room, addresses)?),
        };
        self.synced(reply, done);
        Ok(())
    }

    fn begin_team(&mut self, room: RoomId, team: RoomId, role: Role, addresses: Vec<String>) -> Done {
        let own = accept!(self.standing(room)?);
        let of_team = accept!(self.standing(team)?);
        if own.rank > Rank::ADMIN {
            return Ok(Err(Refusal::NeedsRole { needs: Role::Admin, are: own.rank.role() }));
        }
        if of_team.rank > Rank::MODERATOR {
            return Ok(Err(Refusal::NeedsRole { needs: Role::Moderator, are: of_team.rank.role() }));
        }
        if room == team {
            return Ok(Err(Refusal::OwnTeam));
        }
        if of_team.state.kind == Some(RoomKind::Public) && own.state.kind != Some(RoomKind::Public) {
            return Ok(Err(Refusal::PublicTeam));
        }
        let rank = accept!(rank_to_give(&own, role));
        let book = self.book(team, &of_team)?;
        let offers = book.offers(&of_team.state);
        if offers.len() >= TEAM_ROOMS_MAX && !offers.contains_key(&room) {
            return Ok(Err(Refusal::TeamFull(TEAM_ROOMS_MAX)));
        }
        if team_of(&own.state).is_some_and(|before| before != team) {
            accept!(self.end_team(room)?);
        }
        if team_of(&own.state) != Some(team) {
            accept!(self.set(room, TEAM_SETTING.to_owned(), team.to_string())?);
        }
        self.offer(room, team, rank, addresses)
    }

    fn end_team(&mut self, room: RoomId) -> Done {
        let own = accept!(self.standing(room)?);
        let Some(team) = team_of(&own.state) else { return Ok(Ok(())) };
        if own.rank > Rank::ADMIN {
            return Ok(Err(Refusal::NeedsRole { needs: Role::Admin, are: own.rank.role() }));
        }
        accept!(self.set(room, TEAM_SETTING.to_owned(), String::new())?);
        // Whoever may not close an invite, or say a word in the team, has taken the setting back, and that is what counts.
        if let Ok(of_team) = self.standing(team)? {
            for invite in self.book(team, &of_team)?.invites(room, &own.state) {
                drop(self.close_for_team(room, &own, invite)?);
            }
            drop(self.say(team, &Content::Team(TeamWord::Without(room)))?);
        }
        Ok(Ok(()))
    }

    fn settle_for_team(&mut self, room: RoomId, user: UserId) -> Done {
        let own = accept!(self.standing(room)?);
        let Some(team) = team_of(&own.state) else { return Ok(Err(Refusal::NothingDue)) };
        let of_team = accept!(self.standing(team)?);
        if own.rank > Rank::MODERATOR || of_team.rank > Rank::MODERATOR {
            return Ok(Err(Refusal::NothingDue));
        }
        let due = self.case(room, &own, &self.book(team, &of_team)?, &of_team)?.due(user);
        let written = match due {
            Some(Due::Gone | Due::Never) => accept!(self.remove(room, user)?),
            Some(Due::Back(role)) => accept!(self.appoint(room, user, role)?),
            None => return Ok(Err(Refusal::NothingDue)),
        };
        // What was asked for is the last; before it are an Enrol and closings.
        if let Some(event) = written.last().copied() {
            accept!(self.say(team, &Content::Team(TeamWord::Deed { room, event }))?);
        }
        Ok(Ok(()))
    }

    fn renew_offer(&mut self, room: RoomId, addresses: Vec<String>) -> Done {
        let own = accept!(self.standing(room)?);
        let Some(team) = team_of(&own.state) else { return Ok(Err(Refusal::NothingDue)) };
        let of_team = accept!(self.standing(team)?);
        if own.rank > Rank::MODERATOR || of_team.rank > Rank::MODERATOR {
            return Ok(Err(Refusal::NothingDue));
        }
        let store = self.batch.store().clone();
        let book = self.book(team, &of_team)?;
        let case = self.case(room, &own, &book, &of_team)?;
        let offered = book.offers(&of_team.state).get(&room).map(|offer| offer.invite);
        let (stale, has_fresh) = (case.stale_invites(&store, self.keys.user)?, case.has_fresh_offer(&store, offered)?);
        let rank = offered.and_then(|id| own.state.invites.get(&id)).map_or(Role::Member, |invite| invite.rank.role());
        for invite in stale {
            drop(self.close_for_team(room, &own, invite)?);
        }
        if has_fresh {
            return Ok(Ok(()));
        }
        let rank = accept!(rank_to_give(&own, rank));
        self.offer(room, team, rank, addresses)
    }

    /// Opens an invite of the room, and offers it to the team.
    fn offer(&mut self, room: RoomId, team: RoomId, rank: Rank, addresses: Vec<String>) -> Done {
        let own = accept!(self.standing(room)?);
        let key = InviteSecret::from_seed(random());
        let opened = accept!(self.rule(room, &Control::OpenInvite(OpenInvite { key: key.key(), rank }))?);
        let row = self.batch.room(own.number)?;
        let name = own.state.settings.get("name").cloned().unwrap_or_default();
        let name = name[..name.floor_char_boundary(tidings_protocol::limits::NAME_LEN_MAX)].to_owned();
        let Some(invite) = opened.last().copied() else { return Ok(Err(Refusal::NothingDue)) };
        let offer = TeamRoom { room, kind: row.kind, secret: row.secret, invite, key, name, addresses };
        Ok(self.say(team, &Content::Team(TeamWord::Room(offer)))?.map(drop))
    }

    fn close_for_team(&mut self, room: RoomId, own: &Standing, invite: EventId) -> Done {
        let Some(found) = own.state.invites.get(&invite).filter(|found| !found.closed) else { return Ok(Ok(())) };
        let joins: Vec<EventId> = found.joins.iter().copied().collect();
        let parts = joins.chunks(CLOSE_JOINS_MAX).map(<[EventId]>::to_vec);
        for joins in parts.chain(joins.is_empty().then(Vec::new)) {
            accept!(self.rule(room, &Control::CloseInvite(CloseInvite { invite, joins }))?);
        }
        Ok(Ok(()))
    }

    fn book(&self, team: RoomId, standing: &Standing) -> Result<Book, StorageError> {
        Book::read(self.batch.store(), Seen { number: standing.number, state: &standing.state }, team)
    }

    fn case<'a>(
        &self,
        room: RoomId,
        own: &'a Standing,
        book: &Book,
        of_team: &'a Standing,
    ) -> Result<Case<'a>, StorageError> {
        let seen = Seen { number: own.number, state: &own.state };
        Case::of(self.batch.store(), book, &of_team.state, (room, seen), own.rank)
    }
}

/// The rank to give to the members of a team.
fn rank_to_give(own: &Standing, role: Role) -> Result<Rank, Refusal> {
    let are = own.rank.role();
    if let Some(needs) = own.state.invite_rank.filter(|needs| own.rank > *needs) {
        return Err(Refusal::NeedsRole { needs: needs.role(), are });
    }
    role.rank_below(own.rank).ok_or(Refusal::NeedsRole { needs: Role::Founder, are })
}

//! Teams: a team is a room whose members other rooms admit. One link to it opens all of them, one removal there closes
//! them. No room's validity depends on another: members' nodes come in by offers that moderators of the team make in it,
//! and the nodes of those who moderate both rooms, the stewards, write what follows as events of their own.
//!
//! `book` is what the team says, `judge` what follows, `desk` what is written, `task` when.

mod book;
mod desk;
mod judge;
mod offers;
mod task;

pub use desk::Order;
pub(crate) use task::run;

use crate::api::types as api;
use crate::beacons::own_addresses;
use crate::command::Command;
use crate::handle::{NodeError, NodeHandle, unknown_role};
use crate::rooms::RoomView;
use book::{Book, Seen, moderates};
use std::sync::Arc;
use tidings_protocol::control::rank::{Rank, Role};
use tidings_protocol::control::state::RoomState;
use tidings_protocol::id::RoomId;
use tidings_protocol::limits::TEAM_ROOMS_MAX;
use tidings_protocol::team::team_of;
use tidings_storage::StorageError;

impl NodeHandle {
    /// Gives a room a team, whose members it admits; or takes it away.
    ///
    /// # Errors
    /// `NodeError`.
    pub async fn set_team(&self, room: &str, team: Option<&str>, role: Option<&str>) -> Result<(), NodeError> {
        let (room, _) = self.room_view(room)?;
        let Some(team) = team else {
            return self.write(|reply| Command::Team(Order::End { room, reply })).await;
        };
        let (team, view) = self.room_view(team)?;
        if view.row.home_of.is_some() {
            return Err(NodeError::Usage("a self-room is no team".to_owned()));
        }
        let role = role.unwrap_or("member");
        let role = Role::from_name(role).ok_or_else(|| unknown_role(role))?;
        let addresses = own_addresses(&self.manager);
        self.write(|reply| Command::Team(Order::Begin { room, team, role, addresses, reply })).await
    }

    /// The team of a room, to be shown.
    pub(crate) fn team_shown(&self, room: RoomId, view: &RoomView) -> Option<api::Team> {
        let team = team_of(&view.state)?;
        let held = self.manager.views.find(team);
        let alias = held.as_ref().map_or(String::new(), |held| held.row.alias.clone());
        let moderated = moderates(&view.state, self.manager.keys.user);
        let rests = match self.stewardship(room) {
            Err(why) if moderated => why.to_owned(),
            _ => String::new(),
        };
        Some(api::Team { room: team.to_string(), alias, rests })
    }

    /// The rooms that admit the members of a room, if it is a team.
    ///
    /// # Errors
    /// `NodeError::Storage`.
    pub(crate) fn rooms_of_team(&self, view: &RoomView) -> Result<Vec<api::TeamRoom>, NodeError> {
        let book = self.book(view)?;
        let offers = book.offers(&view.state);
        let shown = offers.into_values().take(TEAM_ROOMS_MAX).map(|offer| {
            let held = self.manager.views.find(offer.room);
            let member = held.as_ref().and_then(|held| held.state.members.get(&self.manager.keys.user));
            let role = member.map_or("none", |member| member.rank.role().name()).to_owned();
            let alias = held.as_ref().map(|held| held.row.alias.clone()).filter(|alias| !alias.is_empty());
            api::TeamRoom { room: offer.room.to_string(), name: alias.unwrap_or_else(|| offer.name.clone()), role }
        });
        Ok(shown.collect())
    }

    fn book(&self, team: &RoomView) -> Result<Book, StorageError> {
        let seen = Seen { number: team.number, state: &team.state };
        Book::read(&self.manager.store, seen, team.row.room)
    }

    /// What makes this node a steward of a room, or why it is none.
    fn stewardship(&self, room: RoomId) -> Result<Stewardship, &'static str> {
        let manager = &self.manager;
        let device = manager.keys.device().id();
        let found = manager.views.find(room).filter(|view| is_whole(view)).ok_or("this node does not have the room")?;
        let team = team_of(&found.state).ok_or("the room has no team")?;
        let held = manager.views.find(team).filter(|view| is_whole(view));
        let held = held.ok_or("this node does not have the team: nothing is done for it from here")?;
        for state in [&found.state, &held.state] {
            if state.needs_newer {
                return Err("rules of a newer tidings are in use: nothing is done for the team from here. Update");
            }
            if state.successor.is_some() {
                return Err("it goes on in another room: nothing is done for the team any more. Name another team");
            }
        }
        let rank = |state: &RoomState| state.grant_of(device).map(|(_, rank)| rank);
        match (rank(&found.state), rank(&held.state)) {
            (Some(own), Some(of_team)) if own <= Rank::MODERATOR && of_team <= Rank::MODERATOR => {
                Ok(Stewardship { team, view: found, held, rank: own })
            }
            _ => Err("who moderates both the room and the team does what is to be done: this node does not"),
        }
    }
}

/// What a steward looks at.
struct Stewardship {
    team: RoomId,
    /// The room.
    view: Arc<RoomView>,
    /// The team's.
    held: Arc<RoomView>,
    /// The steward's rank in the room.
    rank: Rank,
}

fn is_whole(view: &RoomView) -> bool {
    view.has_genesis && !view.row.left && view.row.home_of.is_none()
}

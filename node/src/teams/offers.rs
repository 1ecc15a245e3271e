//! What a member's node does with a team's offers: comes into the rooms, and never again into one that its user left, or
//! that was taken from this node.

use super::book::Book;
use super::is_whole;
use crate::command::Command;
use crate::handle::{NodeError, NodeHandle};
use crate::rooms::RoomView;
use std::time::Duration;
use tidings_protocol::account::Record;
use tidings_protocol::control::payload::RoomKind;
use tidings_protocol::id::{EventId, RoomId, UserId};
use tidings_protocol::limits::TEAM_ROOMS_MAX;
use tidings_protocol::link::{InviteLink, RoomLink};
use tidings_protocol::team::{TeamRoom, is_of_team};

impl NodeHandle {
    /// The offers of a team that this node should take, and after how long: one device of a user goes first, and the others
    /// learn of the room from it.
    pub(super) fn offers_to_take(&self, team: &RoomView, book: &Book) -> Result<Vec<(TeamRoom, Duration)>, NodeError> {
        let keys = &self.manager.keys;
        let (user, device) = (keys.user, keys.device().id());
        let is_open = is_whole(team) && !team.state.needs_newer && team.state.user_of(device) == Some(user);
        if !is_open || !is_of_team(&team.state, user) {
            return Ok(Vec::new());
        }
        let devices = team.state.members.get(&user).map(|member| member.devices.clone()).unwrap_or_default();
        let before = devices.iter().filter(|other| **other < device && other.0 != user.0).count();
        // The device by which the user came into the team is awake; the others learn of the rooms from it.
        let grant = team.state.grant_of(device).map(|(grant, _)| grant);
        let root = grant.map(|grant| self.manager.store.event_by_id(grant)).transpose()?.flatten();
        let before = match root.map(|event| event.log.author) {
            Some(author) if author == device => 0,
            Some(author) if devices.contains(&author) => before + 1,
            _ => before,
        };
        let wait = DEVICE_PATIENCE.saturating_mul(u32::try_from(before).unwrap_or(u32::MAX));
        let mut wanted = Vec::new();
        for offer in book.offers(&team.state).into_values().take(TEAM_ROOMS_MAX) {
            // What all can read must not open what only members may.
            let is_safe = team.row.kind != RoomKind::Public || offer.kind == RoomKind::Public;
            if is_safe && offer.room != team.row.room && self.wants_in(offer, user)? {
                wanted.push((offer.clone(), wait));
            }
        }
        Ok(wanted)
    }

    /// Whether to come in by an offer.
    pub(super) fn wants_in(&self, offer: &TeamRoom, user: UserId) -> Result<bool, NodeError> {
        let taken = self.taken(offer.room)?;
        let Some(view) = self.manager.views.find(offer.room) else {
            // A room that was entered by the team and is not here any more was taken from this node on purpose.
            return Ok(taken.is_none() && !self.was_left_elsewhere(offer.room)?);
        };
        let state = &view.state;
        if view.row.home_of.is_some() || state.members.contains_key(&user) || !state.revokes_of(user).is_empty() {
            return Ok(false);
        }
        match (&view.row.pending, taken) {
            (Some(pending), _) => Ok(pending.key != [0; 32] && pending.invite != offer.invite),
            (None, Some(taken)) if taken != offer.invite => {
                // The invite was closed before our Join was known. Who was in by it has left on purpose.
                let grants = state.logs_of(user);
                let was_in = state
                    .invites
                    .get(&taken)
                    .is_some_and(|invite| grants.iter().any(|(_, grant, _)| invite.joins.contains(grant)));
                let was_closed = state.invites.get(&taken).is_some_and(|invite| invite.closed);
                Ok(was_closed && !was_in && !self.was_left_elsewhere(offer.room)?)
            }
            _ => Ok(false),
        }
    }

    /// Begins to come in.
    pub(super) async fn take_offer(&self, offer: &TeamRoom) -> Result<(), NodeError> {
        let (name, value) = (taken_note(offer.room), offer.invite.as_bytes().to_vec());
        self.write(|reply| Command::Note { name, value, reply }).await?;
        let link = InviteLink {
            network: self.manager.federation.clone(),
            room: offer.room,
            kind: offer.kind,
            secret: offer.secret,
            invite: offer.invite,
            key: offer.key.clone(),
            expires_ms: 0,
            addresses: offer.addresses.clone(),
        };
        self.begin_join(RoomLink::Invite(link)).await.map(drop)
    }

    /// The invite by which this node came into a room for a team, or tried.
    pub(super) fn taken(&self, room: RoomId) -> Result<Option<EventId>, NodeError> {
        let note = self.manager.store.note(&taken_note(room))?;
        Ok(note.and_then(|bytes| bytes.try_into().ok()).map(EventId))
    }

    /// Whether another device of the user says that they left a room.
    fn was_left_elsewhere(&self, room: RoomId) -> Result<bool, NodeError> {
        let said = self.shared()?.into_iter();
        Ok(said.into_iter().any(|record| matches!(record, Record::Room(id, said) if id == room && said.left)))
    }
}

fn taken_note(room: RoomId) -> String {
    format!("team-taken/{room}")
}

/// How long a device leaves it to each that comes before it to enter a room first.
const DEVICE_PATIENCE: Duration = Duration::from_secs(10);

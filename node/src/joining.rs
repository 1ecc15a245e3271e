//! Coming into rooms by links and going out of them: an invite link lets in whoever has it, a link for somebody who was
//! granted a role lets in nobody else; leaving, for now or for good.

use crate::account::Order;
use crate::api::types as api;
use crate::beacons::own_addresses;
use crate::command::Command;
use crate::handle::{NodeError, NodeHandle, unknown_role};
use crate::local::Intent;
use crate::network::{self, PeerAddress};
use crate::refusal::Refusal;
use crate::resolve;
use crate::rooms::RoomView;
use crate::writer::Desk;
use std::sync::PoisonError;
use std::time::Duration;
use tidings_protocol::account::RoomRecord;
use tidings_protocol::control::rank::Role;
use tidings_protocol::id::{EventId, RoomId};
use tidings_protocol::link::{GrantLink, RoomLink};
use tidings_storage::{RoomRow, StorageError};

impl NodeHandle {
    /// Joins by a link, and waits for the first page.
    ///
    /// # Errors
    /// `NodeError`: a bad link, one for another network, or a closed one.
    pub async fn join(&self, link: &str, wait: Duration) -> Result<api::Joined, NodeError> {
        let link = RoomLink::from_text(link)?;
        link.check_network(&self.manager.federation)?;
        let mut news = self.manager.stored.subscribe();
        let mut peers = self.manager.peers_changed.subscribe();
        let addresses = link.addresses().iter().filter_map(|a| a.parse::<PeerAddress>().ok());
        let tried: Vec<String> = addresses.map(|a| a.address).collect();
        let room = self.begin_join(link).await?;
        let until = tokio::time::Instant::now() + wait;
        loop {
            let Some(view) = self.manager.views.find(room) else { return Err(Refusal::UnknownRoom.into()) };
            let joined = |pending| api::Joined {
                room: room.to_string(),
                alias: view.row.alias.clone(),
                pending,
                tried: tried.clone(),
            };
            if view.row.left {
                let text = "the invitation is closed: ask a member of the room for a new link";
                return Err(NodeError::NotFound(text.to_owned()));
            }
            if view.row.pending.is_none() && !view.row.alias.is_empty() && self.has_first_page(&view)? {
                return Ok(joined(false));
            }
            let something = async {
                tokio::select! {
                    _ = news.recv() => {}
                    _ = peers.recv() => {}
                }
            };
            if tokio::time::timeout_at(until, something).await.is_err() {
                return Ok(joined(true));
            }
        }
    }

    /// Remembers a join, and dials who may let us in. It goes on until somebody does.
    pub(crate) async fn begin_join(&self, link: RoomLink) -> Result<RoomId, NodeError> {
        let addresses: Vec<PeerAddress> = link.addresses().iter().filter_map(|a| a.parse().ok()).collect();
        let link = Box::new(link);
        let room = self.write(|reply| Command::Join { link, reply }).await?;
        {
            let mut redial = self.manager.redial.lock().unwrap_or_else(PoisonError::into_inner);
            addresses.iter().filter(|a| a.peer != self.manager.us).for_each(|a| redial.name(a));
        }
        drop(self.manager.network.send(network::Command::Dial(addresses)).await);
        Ok(room)
    }

    /// Something can be read, or there is nothing to read and we know it.
    fn has_first_page(&self, view: &RoomView) -> Result<bool, NodeError> {
        let page = self.shown_places(view, tidings_storage::Position::LAST, tidings_storage::Direction::Older, 1)?;
        let room = view.row.room;
        let agreed = self.manager.told.has_agreed(room);
        Ok(!page.is_empty() || agreed)
    }

    /// Gives somebody a role in a room. Who has no device there gets a link, by which they alone come in.
    ///
    /// # Errors
    /// `NodeError`.
    pub async fn appoint(&self, room: &str, user: &str, role: &str) -> Result<api::Appointed, NodeError> {
        let (room, view) = self.room_view(room)?;
        let user = resolve::user(self, &view, user).await?;
        let role = Role::from_name(role).ok_or_else(|| unknown_role(role))?;
        if role == Role::Founder {
            return Err(Refusal::Founder.into());
        }
        let id = self.publish(room, Intent::Appoint { user, role }).await?;
        let is_there = view.state.members.get(&user).is_some_and(|member| !member.devices.is_empty());
        let link = (!is_there).then(|| self.grant_link(room, &view, id));
        Ok(api::Appointed { id: id.to_string(), user: user.to_string(), role: role.name().to_owned(), link })
    }

    fn grant_link(&self, room: RoomId, view: &RoomView, grant: EventId) -> String {
        let network = self.manager.federation.clone();
        let addresses = own_addresses(&self.manager);
        GrantLink { network, room, kind: view.row.kind, secret: view.row.secret, grant, addresses }.to_text()
    }

    /// Leaves a room: under every grant, which a new link or grant makes good again.
    ///
    /// # Errors
    /// `NodeError`.
    pub async fn leave(&self, room: &str) -> Result<(), NodeError> {
        let (room, _) = self.room_view(room)?;
        self.write(|reply| Command::Publish { room, intent: Intent::Leave, reply }).await?;
        Ok(())
    }

    /// Goes on in a room of which control events were lost, with those that are here.
    ///
    /// # Errors
    /// `NodeError`; `Refusal::Sure` where none were lost.
    pub async fn resume(&self, room: &str) -> Result<(), NodeError> {
        let (room, view) = self.room_view(room)?;
        // What one's own devices are is found by them, or by the words.
        if !view.unsure || view.row.left || view.row.home_of.is_some() {
            return Err(Refusal::Sure.into());
        }
        tracing::warn!(%room, "it goes on without the control events that were lost");
        self.manager.commands.send(Command::Sure(room)).await.map_err(|_| NodeError::Stopping)?;
        self.write(Command::Sync).await
    }

    /// Leaves a room for good: our invites there are closed, and no device of ours can write there again, by whatever key.
    ///
    /// # Errors
    /// `NodeError`; where the words are needed and not here, the room is left as by `leave`, and what is missing is said.
    pub async fn leave_for_good(&self, room: &str, words: Option<&str>) -> Result<api::Left, NodeError> {
        let (room, _) = self.room_view(room)?;
        let phrase = match (self.manager.keys.phrase_or(words), words) {
            (Ok(phrase), _) => Some(Box::new(phrase)),
            (Err(error), Some(_)) => return Err(error.into()),
            (Err(_), None) => None,
        };
        let for_good = phrase.is_some();
        let devices = self.write(|reply| Command::Account(Order::LeaveForGood(phrase, room, reply))).await?;
        let why = "the recovery words are not here: the grants are left, but this user's devices are not ended there. \
                   Do it again on the device that has the words, or with --words-stdin";
        let why = if for_good { String::new() } else { why.to_owned() };
        Ok(api::Left { for_good, devices: devices.iter().map(ToString::to_string).collect(), why })
    }
}

impl Desk<'_, '_> {
    /// Begins to come in under a grant of ours: by our Enrol, which nobody else could sign.
    pub(crate) fn join_by_grant(&mut self, link: &GrantLink) -> Result<Result<RoomId, Refusal>, StorageError> {
        let room = link.room;
        let said = RoomRecord {
            kind: link.kind,
            secret: link.secret,
            alias: String::new(),
            left: false,
            grant: link.grant,
            addresses: link.addresses.clone(),
        };
        let pending = self.pending_enrol(room, &said)?;
        let Some(live) = self.rooms.find(room) else {
            let row = tidings_storage::RoomRow::new(room, link.kind, link.secret);
            self.add_room(RoomRow { pending, addresses: said.addresses, ..row })?;
            return Ok(Ok(room));
        };
        if live.state.grant_of(self.keys.device().id()).is_some() {
            return Ok(Ok(room));
        }
        self.change_row(room, |row| (row.pending, row.left, row.addresses) = (pending, false, said.addresses))?;
        self.round.controlled.insert(room);
        Ok(Ok(room))
    }
}

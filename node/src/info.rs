//! What a node tells of itself, its peers and its rooms.

use crate::alerts::Ended;
use crate::api::types as api;
use crate::handle::{NodeError, NodeHandle};
use crate::inbox::shown::lacks_nothing_since;
use crate::network;
use crate::room_standing::RoomStanding;
use crate::rooms::RoomView;
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tidings_protocol::beacon::Presence;
use tidings_protocol::event::Hlc;
use tidings_protocol::id::{RoomId, UserId};
use tokio::sync::oneshot;
use tokio::time::Instant;

impl NodeHandle {
    /// The node as a whole.
    ///
    /// # Errors
    /// `NodeError::Storage`.
    pub async fn status(&self) -> Result<api::Status, NodeError> {
        let identity = self.identity()?;
        let (mut behind, ended) = (0, self.ended_users());
        let views = self.manager.views.all();
        for (_, view) in &views {
            behind += usize::from(!self.summary(view, &ended)?.complete);
        }
        Ok(api::Status {
            user: identity.user,
            peer: identity.peer,
            uptime_s: self.started.elapsed().as_secs(),
            peers: self.connected().await.len(),
            rooms: views.iter().filter(|(_, view)| !view.row.left && view.row.home_of.is_none()).count(),
            events: self.manager.store.next_number()?.saturating_sub(1),
            disk_bytes: self.manager.store.disk_bytes() + self.manager.files.disk_bytes(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            behind,
            listen: self.listening(),
            deferred: self.manager.live.deferred(),
            disk_max_bytes: self.manager.budget.max(),
            disk_stuck: self.manager.budget.is_stuck(),
        })
    }

    /// Addresses on which it listens.
    pub fn listening(&self) -> Vec<String> {
        self.manager.listening.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Waits until it listens somewhere and no more addresses come; at most a few seconds.
    pub async fn wait_listening(&self) {
        let mut news = self.manager.peers_changed.subscribe();
        let until = Instant::now() + LISTEN_PATIENCE;
        loop {
            let quiet = if self.listening().is_empty() { until } else { Instant::now() + LISTEN_QUIET };
            if tokio::time::timeout_at(quiet, news.recv()).await.is_err() {
                return;
            }
        }
    }

    async fn connected(&self) -> Vec<network::PeerInfo> {
        let (reply, answer) = oneshot::channel();
        drop(self.manager.network.send(network::Command::Peers(reply)).await);
        answer.await.unwrap_or_default()
    }

    /// The peers connected.
    pub async fn peers(&self) -> Vec<api::Peer> {
        let peer = |info: network::PeerInfo| {
            let mut stats = self.manager.told.stats(info.peer);
            stats.rooms.retain(|room| self.manager.views.find(*room).is_some_and(|v| v.row.home_of.is_none()));
            let via = if info.address.contains("/p2p-circuit") { "relay" } else { "direct" };
            api::Peer {
                peer: info.peer.to_string(),
                address: info.address,
                direction: if info.outbound { "out" } else { "in" }.to_owned(),
                rtt_ms: info.rtt_ms,
                rooms: stats.rooms.len(),
                behind: (stats.rooms.len() - stats.agreed.intersection(&stats.rooms).count()) as u64,
                via: via.to_owned(),
                sync_bytes: stats.traffic.received.load(Ordering::Relaxed) + stats.traffic.sent.load(Ordering::Relaxed),
                event_bytes: stats.traffic.events.load(Ordering::Relaxed),
            }
        };
        self.connected().await.into_iter().map(peer).collect()
    }

    /// The rooms of this node that we have not left; with `all`, those too in which users keep their devices.
    ///
    /// # Errors
    /// `NodeError::Storage`.
    pub fn rooms(&self, all: bool) -> Result<Vec<api::Room>, NodeError> {
        let views = self.manager.views.all();
        let shown = views.iter().filter(|(_, view)| !view.row.left && (all || view.row.home_of.is_none()));
        let ended = (self.ended(), self.ended_users());
        let rooms: Result<Vec<api::Room>, NodeError> =
            shown.map(|(room, view)| self.room_with(*room, view, &ended)).collect();
        let mut rooms = rooms?;
        // What waits comes first, and what is newest before what is older.
        rooms.sort_by_key(|room| (room.mentions == 0, room.unread == 0, Reverse(room.last_ms)));
        Ok(rooms)
    }

    /// One room.
    ///
    /// # Errors
    /// `NodeError::Storage`.
    pub fn room(&self, room: RoomId, view: &RoomView) -> Result<api::Room, NodeError> {
        let (team, rooms) = (self.team_shown(room, view), self.rooms_of_team(view)?);
        let kept = Some(self.kept(view)?);
        Ok(api::Room { team, rooms, kept, ..self.room_with(room, view, &(self.ended(), self.ended_users()))? })
    }

    fn room_with(
        &self,
        room: RoomId,
        view: &RoomView,
        (ended, of_users): &(Ended, BTreeSet<UserId>),
    ) -> Result<api::Room, NodeError> {
        let setting = |key: &str| view.state.settings.get(key).cloned().unwrap_or_default();
        let summary = self.summary(view, of_users)?;
        let role = view.state.members.get(&self.manager.keys.user).map_or("none", |m| m.rank.role().name());
        let standing = RoomStanding::of(&self.manager.views, room, view, self.manager.keys.user);
        Ok(api::Room {
            room: room.to_string(),
            name: setting("name"),
            alias: view.row.alias.clone(),
            kind: view.row.kind.name().to_owned(),
            members: view.state.members.len(),
            unread: summary.unread as usize,
            mentions: summary.mentions as usize,
            last_ms: Hlc(summary.newest).ms(),
            last_user: summary.author.map(|user| user.to_string()),
            role: role.to_owned(),
            complete: summary.complete,
            pending: view.row.pending.is_some(),
            topic: setting("topic"),
            peers: self.manager.told.sharing(room),
            needs_newer: view.state.needs_newer,
            alerts: self.alerts(view, ended)?,
            may: standing.may,
            read_only: standing.read_only,
            slow: standing.slow,
            ignored_settings: standing.ignored,
            successor: standing.successor,
            team: None,
            rooms: Vec::new(),
            kept: None,
        })
    }

    /// Whether nothing of a room is known to be missing that was missed since then (Unix milliseconds).
    pub(crate) fn lacks_nothing_since(&self, view: &RoomView, since_ms: u64) -> Result<bool, NodeError> {
        Ok(lacks_nothing_since(&self.manager.store, view, since_ms)?)
    }

    /// Those who were removed from a room and are not back.
    ///
    /// # Errors
    /// `NodeError`.
    pub fn removed(&self, room: &str) -> Result<Vec<api::Member>, NodeError> {
        let (_, view) = self.room_view(room)?;
        let member = |user: UserId| {
            let (user, name, role) = (user.to_string(), self.name_in(&view, user)?, "none".to_owned());
            Ok(api::Member { user, name, role, ..api::Member::default() })
        };
        view.state.removed().map(member).collect()
    }

    /// The members of a room, strongest first.
    ///
    /// # Errors
    /// `NodeError`.
    pub fn members(&self, room: &str) -> Result<Vec<api::Member>, NodeError> {
        let (_, view) = self.room_view(room)?;
        let mut members: Vec<_> = view.state.members.iter().collect();
        let seen = self.manager.beacons.presence(&view);
        members.sort_by_key(|(user, member)| (member.rank, **user));
        let member = |(user, member): (&UserId, &tidings_protocol::control::state::Member)| {
            let known = self.known(&view, *user)?;
            let you = *user == self.manager.keys.user;
            Ok(api::Member {
                user: user.to_string(),
                name: self.name_in(&view, *user)?,
                role: member.rank.role().name().to_owned(),
                devices: member.devices.iter().filter(|device| device.0 != user.0).count(),
                verified: known.user_verified || you,
                you,
                petname: known.petname,
                lookalike_of: known.lookalike_of,
                blocked: known.blocked,
                presence: seen.get(user).map(|(presence, _)| presence_name(*presence).to_owned()),
                last_seen_ms: seen.get(user).map(|(_, ms)| *ms),
            })
        };
        members.into_iter().map(member).collect()
    }
}

/// What the API calls it.
pub(crate) fn presence_name(presence: Presence) -> &'static str {
    match presence {
        Presence::Away => "away",
        Presence::Online => "online",
    }
}

/// How long to wait for the first address, and for one more.
const LISTEN_PATIENCE: Duration = Duration::from_secs(3);
const LISTEN_QUIET: Duration = Duration::from_millis(50);

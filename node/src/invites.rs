//! Invitations: opening them, listing them, closing them, and closing those whose time is over.

use crate::api::types as api;
use crate::beacons::own_addresses;
use crate::clock::now_ms;
use crate::command::Command;
use crate::handle::{NodeError, NodeHandle, rank_for};
use crate::keys::random;
use crate::local::Intent;
use crate::refusal::Refusal;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tidings_protocol::control::payload::{CloseInvite, Control, OpenInvite};
use tidings_protocol::id::{EventId, RoomId};
use tidings_protocol::identity::InviteSecret;
use tidings_protocol::limits::CLOSE_JOINS_MAX;
use tidings_protocol::link::InviteLink;

/// What this node remembers of an invite that it made.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Made {
    link: String,
    expires_ms: u64,
}

impl NodeHandle {
    /// Opens an invite and makes its link.
    ///
    /// # Errors
    /// `NodeError`: an unknown role, or one that we may not give.
    pub async fn invite(&self, room: &str, wanted: &api::CreateInvite) -> Result<api::Invite, NodeError> {
        let (room, view) = self.room_view(room)?;
        let standing = view.state.grant_of(self.manager.keys.device().id());
        let (_, own) =
            standing.ok_or(if view.row.pending.is_some() { Refusal::Pending } else { Refusal::NotMember })?;
        if let Some(needs) = view.state.invite_rank.filter(|needs| own > *needs) {
            return Err(Refusal::NeedsRole { needs: needs.role(), are: own.role() }.into());
        }
        let rank = rank_for(wanted.role.as_deref().unwrap_or("member"), own)?;
        let secret = InviteSecret::from_seed(random());
        let open = Control::OpenInvite(OpenInvite { key: secret.key(), rank });
        let invite = self.publish(room, Intent::Rule(open)).await?;
        let expires_ms = wanted.expires_ms.map_or(0, |ms| now_ms().saturating_add(ms));
        let addresses = own_addresses(&self.manager);
        let warning = reach_warning(&addresses);
        let link = InviteLink {
            network: self.manager.federation.clone(),
            room,
            kind: view.row.kind,
            secret: view.row.secret,
            invite,
            key: secret,
            expires_ms,
            addresses,
        };
        let link = link.to_text();
        let _one_at_a_time = self.manager.invites.lock().await;
        let mut made = self.made_invites()?;
        made.insert(invite.to_string(), Made { link: link.clone(), expires_ms });
        self.keep_made(&made).await?;
        Ok(api::Invite {
            invite: invite.to_string(),
            room: room.to_string(),
            link: Some(link),
            role: rank.role().name().to_owned(),
            closed: false,
            joins: 0,
            expires_ms,
            warning,
        })
    }

    /// The invites of a room, or of all.
    ///
    /// # Errors
    /// `NodeError`.
    pub fn invites(&self, room: Option<&str>) -> Result<Vec<api::Invite>, NodeError> {
        let rooms = match room {
            Some(text) => vec![self.room_view(text)?],
            None => self.manager.views.all(),
        };
        let made = self.made_invites()?;
        let mut out = Vec::new();
        for (room, view) in rooms {
            for (id, invite) in &view.state.invites {
                let known = made.get(&id.to_string());
                out.push(api::Invite {
                    invite: id.to_string(),
                    room: room.to_string(),
                    link: known.filter(|_| !invite.closed).map(|m| m.link.clone()),
                    role: invite.rank.role().name().to_owned(),
                    closed: invite.closed,
                    joins: invite.joins.len(),
                    expires_ms: known.map_or(0, |m| m.expires_ms),
                    warning: None,
                });
            }
        }
        Ok(out)
    }

    /// Closes an invite: those who joined by it stay, nobody else comes in by it.
    ///
    /// # Errors
    /// `NodeError`.
    pub async fn close_invite(&self, text: &str) -> Result<(), NodeError> {
        let (room, id) = self.event(text)?;
        let view = self.manager.views.find(room).ok_or(Refusal::UnknownRoom)?;
        let Some(invite) = view.state.invites.get(&id) else {
            return Err(NodeError::NotFound(format!("\"{text}\" is no invite: `tidings invite list` shows them")));
        };
        if invite.closed {
            return Ok(());
        }
        self.close(room, id, invite.joins.iter().copied().collect()).await
    }

    /// Lists may span events: the union over all valid closings counts.
    async fn close(&self, room: RoomId, invite: EventId, mut joins: Vec<EventId>) -> Result<(), NodeError> {
        joins.sort_unstable();
        let mut parts: Vec<Vec<EventId>> = joins.chunks(CLOSE_JOINS_MAX).map(<[EventId]>::to_vec).collect();
        if parts.is_empty() {
            parts.push(Vec::new());
        }
        for joins in parts {
            self.publish(room, Intent::Rule(Control::CloseInvite(CloseInvite { invite, joins }))).await?;
        }
        Ok(())
    }

    /// Closes the invites that this node made and whose time is over.
    pub(crate) async fn close_expired_invites(&self) {
        let Ok(made) = self.made_invites() else { return };
        let now = now_ms();
        for (id, _) in made.iter().filter(|(_, m)| m.expires_ms > 0 && m.expires_ms <= now) {
            if let Err(error) = self.close_invite(id).await {
                tracing::warn!(invite = %id, %error, "an expired invite is not closed yet");
            }
        }
    }

    /// The open invites of a room whose links were made here.
    pub(crate) fn links_made(&self, room: RoomId) -> Result<Vec<EventId>, NodeError> {
        let (made, view) = (self.made_invites()?, self.manager.views.find(room));
        let invites = view.iter().flat_map(|view| view.state.invites.iter());
        let open = invites.filter(|(id, invite)| !invite.closed && made.contains_key(&id.to_string()));
        Ok(open.map(|(id, _)| *id).collect())
    }

    /// Forgets the links of a room that were made here: they name it and carry its secret.
    pub(crate) async fn forget_links(&self, room: RoomId) -> Result<(), NodeError> {
        let _one_at_a_time = self.manager.invites.lock().await;
        let mut made = self.made_invites()?;
        let before = made.len();
        made.retain(|_, m| InviteLink::from_text(&m.link).map_or(true, |link| link.room != room));
        if made.len() == before { Ok(()) } else { self.keep_made(&made).await }
    }

    fn made_invites(&self) -> Result<BTreeMap<String, Made>, NodeError> {
        let bytes = self.manager.store.note(INVITES_NOTE)?.unwrap_or_default();
        Ok(serde_json::from_slice(&bytes).unwrap_or_default())
    }

    async fn keep_made(&self, made: &BTreeMap<String, Made>) -> Result<(), NodeError> {
        let (name, value) = (INVITES_NOTE.to_owned(), serde_json::to_vec(made).unwrap_or_default());
        self.write(|reply| Command::Note { name, value, reply }).await
    }
}

fn is_loopback(address: &str) -> bool {
    address.starts_with("/ip4/127.") || address.starts_with("/ip6/::1/")
}

fn reach_warning(addresses: &[String]) -> Option<String> {
    if addresses.is_empty() {
        return Some("this node listens nowhere yet: the link names no address".to_owned());
    }
    if addresses.iter().all(|a| is_loopback(a)) {
        return Some("the link works on this machine only: every address in it is loopback".to_owned());
    }
    let local = |a: &String| {
        let ip = a.split('/').nth(2).and_then(|ip| ip.parse::<std::net::IpAddr>().ok());
        ip.is_some_and(|ip| match ip {
            std::net::IpAddr::V4(ip) => ip.is_private() || ip.is_link_local() || ip.is_loopback(),
            std::net::IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_loopback(),
        })
    };
    let text = "the link works on your local network; from elsewhere only if the port is forwarded to this machine";
    addresses.iter().all(local).then(|| text.to_owned())
}

const INVITES_NOTE: &str = "invites";

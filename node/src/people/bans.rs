//! Peers that this node has nothing to do with: no connection in either direction, and no dialling.

use super::{PEOPLE_MAX, PeopleError};
use crate::api::people as api;
use crate::clock::now_ms;
use crate::command::Command;
use crate::handle::{NodeError, NodeHandle};
use crate::kept::Kept;
use crate::network::{self, Peer};
use std::sync::PoisonError;

impl NodeHandle {
    /// Bans a peer, or lets it in again.
    ///
    /// # Errors
    /// `NodeError::People`.
    pub async fn ban_peer(&self, peer: &str, banned: bool) -> Result<(), NodeError> {
        let peer: Peer = peer.trim().parse().map_err(|_| PeopleError::NoPeer(peer.to_owned()))?;
        if peer == self.manager.us {
            return Err(PeopleError::Yourself.into());
        }
        let people = &self.manager.people;
        let changing = people.changing.lock().await;
        let since = if banned { Some(now_ms()) } else { None };
        let is_new = people.read(|book| !book.bans.contains_key(&peer.to_bytes()));
        if banned && is_new && people.read(|book| book.bans.len()) >= PEOPLE_MAX {
            return Err(PeopleError::Full(PEOPLE_MAX).into());
        }
        let kept = Kept::Ban(peer.to_bytes(), since);
        self.write(|reply| Command::Keep(kept, reply)).await?;
        people.change(|book| match since {
            Some(since) => drop(book.bans.insert(peer.to_bytes(), since)),
            None => drop(book.bans.remove(&peer.to_bytes())),
        });
        drop(changing);
        self.enforce_bans(&[peer], banned).await;
        self.keep_peers().await;
        Ok(())
    }

    /// The peers that are banned.
    pub fn banned_peers(&self) -> Vec<api::Ban> {
        let bans = self.manager.people.read(|book| book.bans.clone());
        let ban = |(peer, since_ms): (Vec<u8>, u64)| {
            Peer::from_bytes(&peer).map(|peer| api::Ban { peer: peer.to_string(), since_ms })
        };
        bans.into_iter().filter_map(ban).collect()
    }

    /// Whether a peer is banned.
    pub(crate) fn is_banned(&self, peer: Peer) -> bool {
        self.manager.people.read(|book| book.bans.contains_key(&peer.to_bytes()))
    }

    /// Bans those of earlier runs, before anybody is dialled.
    pub(crate) async fn enforce_kept_bans(&self) {
        let bans = self.manager.people.read(|book| book.bans.keys().cloned().collect::<Vec<_>>());
        let peers: Vec<Peer> = bans.iter().filter_map(|bytes| Peer::from_bytes(bytes)).collect();
        self.enforce_bans(&peers, true).await;
    }

    async fn enforce_bans(&self, peers: &[Peer], banned: bool) {
        {
            let mut redial = self.manager.redial.lock().unwrap_or_else(PoisonError::into_inner);
            peers.iter().for_each(|peer| if banned { redial.ban(*peer) } else { redial.unban(*peer) });
        }
        let peers = peers.to_vec();
        let command = if banned { network::Command::Ban(peers) } else { network::Command::Unban(peers) };
        drop(self.manager.network.send(command).await);
    }
}

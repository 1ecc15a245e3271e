//! What a user's devices share, from this device's side: the user's self-room is kept, the records sealed in it are read
//! and written, the rooms that they name are entered, and the self-rooms of people in one's rooms are followed.
//!
//! `desk` is what the writer does, `revoke` how a device ends, `leave` how all of them leave a room, `ledger` what is known,
//! `task` carries one to the other, `people` is what names and blocks come to, `follow` chooses whose self-rooms to hold,
//! `quota` what is taken of them.

mod desk;
mod follow;
mod leave;
mod ledger;
mod people;
mod quota;
mod revoke;
mod task;

pub use desk::Order;
pub(crate) use people::{Field, Told};
pub use revoke::{Reach, Revocation};
pub(crate) use task::{Wish, ended_devices, run};

use crate::handle::{NodeError, NodeHandle};
use std::time::Duration;
use tidings_protocol::account::Record;
use tidings_protocol::id::{RoomId, UserId};
use tidings_storage::Purged;
use tokio::sync::oneshot;

/// How far the account of this device's user is here.
#[derive(Debug, Clone, Default)]
pub struct Arrived {
    /// Rooms that are here, whole as far as the peers that are there know.
    pub rooms: usize,
    /// Rooms that are known by name only, so far.
    pub missing: usize,
    /// Whether the user's other devices, or who holds their self-room, have told all that they know.
    pub complete: bool,
}

/// What the task knows when it has done all that there was to do.
#[derive(Debug, Clone, Default)]
pub(crate) struct Summary {
    /// Whether everything that other devices knew can be read here.
    pub(crate) covered: bool,
    /// The rooms of the user, those left not counted.
    pub(crate) rooms: Vec<RoomId>,
}

impl NodeHandle {
    /// Lets the user's other devices know what somebody is called here, or whether they are blocked.
    ///
    /// # Errors
    /// `NodeError::Stopping`: they learn it once this node runs again.
    pub(crate) async fn tell_of_person(&self, user: UserId, field: Field) -> Result<(), NodeError> {
        self.manager.account.send(Wish::Person(user, field)).await.map_err(|_| NodeError::Stopping)
    }

    /// Everything that the user's devices have told one another.
    ///
    /// # Errors
    /// `NodeError::Storage`.
    pub fn shared(&self) -> Result<Vec<Record>, NodeError> {
        let ledger = ledger::Ledger::load(&self.manager.store)?;
        Ok(ledger.account.entries().map(|entry| entry.record()).collect())
    }

    /// Waits until the user's rooms are here, at most so long.
    ///
    /// # Errors
    /// `NodeError`.
    pub async fn wait_for_account(&self, wait: Duration) -> Result<Arrived, NodeError> {
        let (mut news, mut peers) = (self.manager.stored.subscribe(), self.manager.peers_changed.subscribe());
        let until = tokio::time::Instant::now() + wait;
        loop {
            let arrived = self.arrived().await?;
            if arrived.complete && arrived.missing == 0 {
                return Ok(arrived);
            }
            let something = async {
                tokio::select! {
                    _ = news.recv() => {}
                    _ = peers.recv() => {}
                }
            };
            if tokio::time::timeout_at(until, something).await.is_err() {
                return Ok(arrived);
            }
        }
    }

    async fn arrived(&self) -> Result<Arrived, NodeError> {
        let (reply, answer) = oneshot::channel();
        self.manager.account.send(Wish::Settle(reply)).await.map_err(|_| NodeError::Stopping)?;
        let summary = answer.await.map_err(|_| NodeError::Stopping)?;
        let told = &self.manager.told;
        let complete = summary.covered && told.has_agreed(self.manager.keys.self_room());
        let is_here = |room: &RoomId| {
            let view = self.manager.views.find(*room);
            told.has_agreed(*room) && view.is_some_and(|view| view.row.pending.is_none() && view.has_genesis)
        };
        let is_refused = |room: &RoomId| matches!(self.manager.store.purge(Purged::Room(*room)), Ok(Some(_)));
        let wanted: Vec<&RoomId> = summary.rooms.iter().filter(|room| !is_refused(room)).collect();
        let rooms = wanted.iter().filter(|room| is_here(room)).count();
        Ok(Arrived { rooms, missing: wanted.len() - rooms, complete })
    }
}

//! Who fetches which room's content: one conversation at a time, so that a newcomer with three peers does not get
//! everything three times.

use crate::clock::running_for;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tidings_protocol::id::RoomId;
use tokio::sync::broadcast;

/// A peer, and since when, by `running_for`.
type Holder = (Vec<u8>, Duration);

/// The leases of all rooms.
#[derive(Clone)]
pub struct Leases {
    held: Arc<Mutex<HashMap<RoomId, Holder>>>,
    freed: broadcast::Sender<RoomId>,
}

impl Default for Leases {
    fn default() -> Self {
        Leases { held: Arc::default(), freed: broadcast::channel(FREED_MAX).0 }
    }
}

impl Leases {
    /// Takes the room's lease, or keeps it; false while another peer has it, and has not had it for long.
    pub fn take(&self, room: RoomId, peer: &[u8]) -> bool {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let (holder, since) = held.entry(room).or_insert_with(|| (peer.to_vec(), running_for()));
        if *holder != peer && running_for().saturating_sub(*since) > LEASE_MAX {
            (*holder, *since) = (peer.to_vec(), running_for());
        }
        holder == peer
    }

    /// Gives a room's lease back, if this peer has it.
    pub fn free(&self, room: RoomId, peer: &[u8]) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.get(&room).is_some_and(|(holder, _)| holder == peer) {
            held.remove(&room);
            let _ = self.freed.send(room);
        }
    }

    /// Gives back all that this peer has.
    pub fn free_all(&self, peer: &[u8]) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|room, (holder, _)| {
            let other = holder != peer;
            if !other {
                let _ = self.freed.send(*room);
            }
            other
        });
    }

    /// Tells of rooms whose lease is free again.
    pub fn freed(&self) -> broadcast::Receiver<RoomId> {
        self.freed.subscribe()
    }
}

/// A peer that gives little, slowly, or is gone in silence keeps a room no longer from the others.
const LEASE_MAX: Duration = Duration::from_secs(30);
/// Rooms freed that a slow listener may still learn of.
const FREED_MAX: usize = 256;

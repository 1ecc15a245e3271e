//! Heads of a peer that lie as low as what was trimmed here: branches forked down there, which we do not fetch. The peer has
//! told them in this conversation, so to that peer, and only to it, we name them among ours: then both say the same, and the
//! comparison comes to rest. They are heard anew whenever all heads are told, as they may have grown or become none since.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tidings_protocol::event::Class;
use tidings_protocol::id::RoomId;
use tidings_protocol::log::{Log, Tip};
use tidings_protocol::wire::Head;

/// The heads of one peer that are given up here, by room.
#[derive(Default)]
pub struct GivenUp {
    rooms: Mutex<HashMap<RoomId, OfRoom>>,
}

#[derive(Default)]
struct OfRoom {
    heads: BTreeSet<(Log, Tip)>,
    /// What was computed of them: the room's change, and the digest.
    digest: Option<(u64, [u8; 32])>,
}

impl GivenUp {
    /// The peer told of a head that we do not fetch.
    pub fn note(&self, room: RoomId, log: Log, tip: Tip) {
        let mut rooms = self.lock();
        if rooms.values().map(|of| of.heads.len()).sum::<usize>() >= HEADS_KEPT_MAX {
            return;
        }
        let of = rooms.entry(room).or_default();
        if of.heads.insert((log, tip)) {
            of.digest = None;
        }
    }

    /// All heads of the room are told: what is given up of them will be told again.
    pub fn forget(&self, room: RoomId) {
        self.lock().remove(&room);
    }

    /// Those of a room.
    pub fn heads(&self, room: RoomId) -> Vec<(Log, Tip)> {
        self.lock().get(&room).map(|of| of.heads.iter().copied().collect()).unwrap_or_default()
    }

    /// The digest with them, as computed at a change of the room.
    pub fn digest(&self, room: RoomId, change: u64) -> Option<[u8; 32]> {
        self.lock().get(&room)?.digest.filter(|(at, _)| *at == change).map(|(_, digest)| digest)
    }

    /// Keeps a digest with them.
    pub fn keep_digest(&self, room: RoomId, change: u64, digest: [u8; 32]) {
        if let Some(of) = self.lock().get_mut(&room) {
            of.digest = Some((change, digest));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RoomId, OfRoom>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The heads that we tell, and those that the peer told and we do not have.
pub fn with(mut heads: Vec<Head>, given_up: &[(Log, Tip)]) -> Vec<Head> {
    let known: BTreeSet<(Log, Tip)> = heads.iter().map(|head| (head.log(Class::Content), head.tip)).collect();
    for (log, tip) in given_up.iter().filter(|one| !known.contains(one)) {
        let hlc = tidings_protocol::event::Hlc(0);
        heads.push(Head { author: log.author, grant: log.grant, tip: *tip, hlc });
    }
    heads
}

/// Heads of one peer that are remembered: beyond it a comparison with it does not come to rest by them, which only its own
/// bound on exchanges in vain ends.
const HEADS_KEPT_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_protocol::id::{DeviceId, EventId};

    #[test]
    fn what_a_peer_tells_is_kept_within_a_bound_and_forgotten_before_it_tells_all() {
        let given_up = GivenUp::default();
        let (room, log) =
            (RoomId([1; 32]), Log { class: Class::Content, author: DeviceId([2; 32]), grant: EventId([3; 32]) });
        for seq in 0..2000u64 {
            given_up.note(room, log, Tip { seq, id: EventId([4; 32]) });
        }
        assert_eq!(given_up.heads(room).len(), HEADS_KEPT_MAX);
        given_up.keep_digest(room, 7, [5; 32]);
        assert_eq!((given_up.digest(room, 7), given_up.digest(room, 8)), (Some([5; 32]), None));
        given_up.forget(room);
        assert!(given_up.heads(room).is_empty() && given_up.digest(room, 7).is_none());
    }
}

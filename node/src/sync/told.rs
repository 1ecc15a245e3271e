//! Who was told of what we said: the state of one's own messages, since this node started; and figures of each peer.

use super::frames::Traffic;
use crate::network::Peer;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use tidings_protocol::id::{EventId, RoomId};

/// Own events and the peers that were sent them; figures of peers.
#[derive(Clone, Default)]
pub struct Told(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    events: HashMap<EventId, (RoomId, BTreeSet<Peer>)>,
    order: VecDeque<EventId>,
    /// The latest that peers were sent and nobody follows, or not yet: an event goes out before who said it hears of it.
    early: VecDeque<(EventId, Peer)>,
    peers: BTreeMap<Peer, PeerStats>,
}

/// What is known of a conversation with a peer.
#[derive(Clone, Default)]
pub struct PeerStats {
    /// Rooms shared, proven.
    pub rooms: BTreeSet<RoomId>,
    /// Rooms on which both held the same when they last compared.
    pub agreed: BTreeSet<RoomId>,
    /// Bytes on the stream.
    pub traffic: Arc<Traffic>,
}

/// What it means that a peer was sent an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    /// It is an own one, and that this peer has it was not known.
    pub(super) is_news: bool,
    /// Nobody is known to have been sent it before.
    pub(super) is_first: bool,
}

impl Told {
    /// Begins to follow an own event.
    pub fn follow(&self, event: EventId, room: RoomId) {
        let mut inner = self.lock();
        let mut told = BTreeSet::new();
        for (_, peer) in inner.early.iter().filter(|(id, _)| *id == event) {
            note(&mut told, *peer);
        }
        inner.events.insert(event, (room, told));
        inner.order.push_back(event);
        if inner.order.len() > FOLLOWED_MAX
            && let Some(oldest) = inner.order.pop_front()
        {
            inner.events.remove(&oldest);
        }
    }

    /// A peer was sent an event.
    pub(super) fn sent(&self, event: EventId, peer: Peer) -> Sent {
        let mut inner = self.lock();
        if let Some((_, peers)) = inner.events.get_mut(&event) {
            let is_first = peers.is_empty();
            return Sent { is_news: note(peers, peer), is_first };
        }
        let is_first = inner.early.iter().all(|(id, _)| *id != event);
        if inner.early.len() >= EARLY_MAX {
            inner.early.pop_front();
        }
        inner.early.push_back((event, peer));
        Sent { is_news: false, is_first }
    }

    /// A peer holds all that we hold of a room; returns the own events for which that is news.
    pub fn agreed(&self, room: RoomId, peer: Peer) -> Vec<EventId> {
        let mut inner = self.lock();
        inner.peers.entry(peer).or_default().agreed.insert(room);
        let mut news = Vec::new();
        for (id, (_, peers)) in inner.events.iter_mut().filter(|(_, (r, _))| *r == room) {
            if note(peers, peer) {
                news.push(*id);
            }
        }
        news
    }

    /// The peers that were sent an own event; `None` when it is not followed.
    pub fn peers_of(&self, event: EventId) -> Option<Vec<Peer>> {
        self.lock().events.get(&event).map(|(_, peers)| peers.iter().copied().collect())
    }

    /// A conversation begins.
    pub fn begin(&self, peer: Peer, traffic: Arc<Traffic>) {
        self.lock().peers.insert(peer, PeerStats { traffic, ..PeerStats::default() });
    }

    /// A peer may see a room, and has it.
    pub fn shared(&self, room: RoomId, peer: Peer) {
        self.lock().peers.entry(peer).or_default().rooms.insert(room);
    }

    /// Only these rooms are shared with a peer any more.
    pub fn keep(&self, peer: Peer, rooms: &BTreeSet<RoomId>) {
        if let Some(stats) = self.lock().peers.get_mut(&peer) {
            stats.rooms.retain(|room| rooms.contains(room));
            stats.agreed.retain(|room| rooms.contains(room));
        }
    }

    /// A conversation is over.
    pub fn end(&self, peer: Peer) {
        self.lock().peers.remove(&peer);
    }

    /// Figures of a peer.
    pub fn stats(&self, peer: Peer) -> PeerStats {
        self.lock().peers.get(&peer).cloned().unwrap_or_default()
    }

    /// Whether some connected peer and we hold the same of a room.
    pub fn has_agreed(&self, room: RoomId) -> bool {
        self.lock().peers.values().any(|p| p.agreed.contains(&room))
    }

    /// A peer that shares a room with us now: this one, if it does.
    pub fn who_shares(&self, room: RoomId, rather: Peer) -> Option<Peer> {
        let inner = self.lock();
        let shares = |peer: &Peer| inner.peers.get(peer).is_some_and(|p| p.rooms.contains(&room));
        Some(rather).filter(shares).or_else(|| inner.peers.keys().copied().find(shares))
    }

    /// Whether a peer shares a room with us now.
    pub fn shares(&self, room: RoomId, peer: Peer) -> bool {
        self.lock().peers.get(&peer).is_some_and(|p| p.rooms.contains(&room))
    }

    /// The peers that share a room with us now.
    pub fn peers_sharing(&self, room: RoomId) -> Vec<Peer> {
        self.lock().peers.iter().filter(|(_, p)| p.rooms.contains(&room)).map(|(peer, _)| *peer).collect()
    }

    /// Whether any peer shares a room with us now.
    pub fn shared_by_any(&self, room: RoomId) -> bool {
        self.sharing(room) > 0
    }

    /// How many peers share a room with us now.
    pub fn sharing(&self, room: RoomId) -> usize {
        self.lock().peers.values().filter(|p| p.rooms.contains(&room)).count()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds a peer to those that have an event, while they are few enough to be shown; whether it is news.
fn note(peers: &mut BTreeSet<Peer>, peer: Peer) -> bool {
    peers.len() < PEERS_SHOWN_MAX && peers.insert(peer)
}

/// Peers that are remembered to have an own event: whoever makes up a new one each second must not fill our memory.
const PEERS_SHOWN_MAX: usize = 64;
/// Sent events that are remembered until somebody follows them: so many go out between a commit and its answer.
const EARLY_MAX: usize = 256;
/// Own events that are followed.
const FOLLOWED_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u16) -> Peer {
        let [high, low] = n.to_be_bytes();
        Peer::from_bytes(&[&[0x12, 0x20, high, low][..], &[7; 30]].concat()).unwrap()
    }

    #[test]
    fn what_went_out_before_it_is_followed_was_told() {
        let (told, room, id) = (Told::default(), RoomId([1; 32]), EventId([2; 32]));
        let sent = |is_news, is_first| Sent { is_news, is_first };
        assert_eq!([told.sent(id, peer(1)), told.sent(id, peer(2))], [sent(false, true), sent(false, false)]);
        told.follow(id, room);
        assert_eq!(told.peers_of(id).unwrap().len(), 2);
        assert_eq!([told.sent(id, peer(1)), told.sent(id, peer(3))], [sent(false, false), sent(true, false)]);
        told.follow(EventId([4; 32]), room);
        assert_eq!(told.sent(EventId([4; 32]), peer(1)), sent(true, true));
        (0..10_000).for_each(|n| assert!(!told.sent(EventId([3; 32]), peer(n)).is_news));
        assert_eq!(told.lock().early.len(), EARLY_MAX);
    }

    #[test]
    fn however_many_peers_agree_few_are_remembered() {
        let (told, room) = (Told::default(), RoomId([1; 32]));
        told.follow(EventId([2; 32]), room);
        let news = (0..1000).filter(|n| !told.agreed(room, peer(*n)).is_empty()).count();
        assert!(!told.sent(EventId([2; 32]), peer(2000)).is_news);
        assert_eq!((news, told.peers_of(EventId([2; 32])).unwrap().len()), (PEERS_SHOWN_MAX, PEERS_SHOWN_MAX));
    }
}

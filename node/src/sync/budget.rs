//! How many live events are taken at once: of one author, and of one peer in all. What is more is neither false nor lost:
//! it is left to sync, which fetches it in large pieces and under credit, while the events of others go on coming live.

use crate::network::Peer;
use crate::trim::Budget;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tidings_protocol::id::{DeviceId, RoomId};
use tokio::sync::broadcast;
use tokio::time::{Duration, Instant};

/// The budget of a node, and what was left to sync.
pub struct Live {
    per_author: u32,
    disk: Arc<Budget>,
    inner: Mutex<Inner>,
    /// Rooms to be compared at once: with every peer.
    rechecks: broadcast::Sender<()>,
    deferred: AtomicU64,
}

#[derive(Default)]
struct Inner {
    /// What came by gossip, whoever passed it on.
    gossip: Window,
    /// With whom to compare which room, and when.
    due: BTreeMap<(Peer, RoomId), Instant>,
}

/// What came in the second that began then.
#[derive(Default)]
pub(super) struct Window {
    began: Option<Instant>,
    all: u32,
    authors: HashMap<DeviceId, u32>,
}

impl Live {
    /// A budget of so many events of one author in a second.
    pub fn new(per_author: u32, disk: Arc<Budget>) -> Self {
        let (rechecks, _) = broadcast::channel(RECHECKS_MAX);
        Live { per_author, disk, inner: Mutex::default(), rechecks, deferred: AtomicU64::new(0) }
    }

    /// Events that came live over the budget, since the start.
    pub fn deferred(&self) -> u64 {
        self.deferred.load(Ordering::Relaxed)
    }

    /// Every conversation compares its rooms.
    pub(crate) fn recheck_all(&self) {
        let _ = self.rechecks.send(());
    }

    pub(super) fn rechecks(&self) -> broadcast::Receiver<()> {
        self.rechecks.subscribe()
    }

    /// Whether an event that a peer pushed is taken now; otherwise its room is compared with that peer soon.
    pub(super) fn takes_push(&self, window: &mut Window, peer: Peer, room: RoomId, author: DeviceId) -> bool {
        let taken = self.disk.is_open() && window.take(author, self.per_author, Instant::now());
        if !taken {
            self.defer(&mut self.lock(), peer, room);
        }
        taken
    }

    /// The same of an event that a peer passed on by gossip.
    pub(super) fn takes_gossip(&self, peer: Peer, room: RoomId, author: DeviceId) -> bool {
        let mut inner = self.lock();
        let taken = self.disk.is_open() && inner.gossip.take(author, self.per_author, Instant::now());
        if !taken {
            self.defer(&mut inner, peer, room);
        }
        taken
    }

    fn defer(&self, inner: &mut Inner, peer: Peer, room: RoomId) {
        self.deferred.fetch_add(1, Ordering::Relaxed);
        // What does not fit is found by the comparison that is due now and then.
        if inner.due.len() < DUE_MAX {
            inner.due.entry((peer, room)).or_insert_with(|| Instant::now() + WINDOW);
        }
    }

    /// The rooms to compare with a peer now.
    pub(super) fn due(&self, peer: Peer) -> Vec<RoomId> {
        let mut inner = self.lock();
        if inner.due.is_empty() {
            return Vec::new();
        }
        let now = Instant::now();
        let is_due = |((of, _), due): &(&(Peer, RoomId), &Instant)| *of == peer && **due <= now;
        let rooms: Vec<RoomId> = inner.due.iter().filter(is_due).map(|((_, room), _)| *room).collect();
        for room in &rooms {
            inner.due.remove(&(peer, *room));
        }
        rooms
    }

    /// A peer went: whoever begins to talk with it compares anyway.
    pub(super) fn forget(&self, peer: Peer) {
        self.lock().due.retain(|(of, _), _| *of != peer);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Window {
    /// Counts an event; whether it is within the budget. Memory is bounded by what is taken in all.
    fn take(&mut self, author: DeviceId, per_author: u32, now: Instant) -> bool {
        if self.began.is_none_or(|began| now.duration_since(began) >= WINDOW) {
            *self = Window { began: Some(now), ..Window::default() };
        }
        if self.all >= per_author.saturating_mul(AUTHORS_IN_ALL) {
            return false;
        }
        let count = self.authors.entry(author).or_default();
        if *count >= per_author {
            return false;
        }
        (*count, self.all) = (*count + 1, self.all + 1);
        true
    }
}

/// What is counted together, and how long what came too much waits until it is fetched.
const WINDOW: Duration = Duration::from_secs(1);
/// All authors of one peer, or of gossip, together may say as much as so many.
const AUTHORS_IN_ALL: u32 = 10;
/// Rooms and peers that wait to be compared: 80 bytes each.
const DUE_MAX: usize = 4096;
/// Wishes that all compare: one stands for many.
const RECHECKS_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn author(n: u32) -> DeviceId {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&n.to_be_bytes());
        DeviceId(id)
    }

    #[test]
    fn an_author_has_so_many_a_second_and_all_together_ten_times_as_many() {
        let (mut window, begin) = (Window::default(), Instant::now());
        let taken = (0..50).filter(|_| window.take(author(1), 20, begin)).count();
        assert_eq!(taken, 20);
        assert!(window.take(author(2), 20, begin), "another is not held up");
        let others = (0..1000).filter(|n| window.take(author(3 + n), 20, begin)).count();
        assert_eq!((others, window.authors.len()), (200 - 21, 200 - 21 + 2));
        assert!(!window.take(author(2), 20, begin));
        assert!(window.take(author(1), 20, begin + WINDOW), "the next second");
    }
}

//! Sealed tips: all that rooms which are not public say over gossip. "Something moved", readable by current devices alone.
//!
//! Nodes make keys at random and tell them in conversations, to peers whose device is current; of several keys the
//! smallest counts. A key belongs to the set of current devices, its circle, and is passed on only by who sees the very
//! same set: so it never reaches a device that its maker saw go. When a device goes, all keys before are forgotten.

use super::manager::Manager;
use super::offers;
use crate::clock::now_ms;
use crate::effective;
use crate::keys::random;
use crate::network::{self, GossipVerdict, Peer};
use crate::rooms::RoomView;
use crate::writer::Stored;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tidings_protocol::control::payload::RoomKind;
use tidings_protocol::event::{Class, Hlc};
use tidings_protocol::gossip::{SEALED_TIPS_LEN, TIPS_MAX, Tips, circle, sealed_topic};
use tidings_protocol::id::{DeviceId, EventId, RoomId};
use tokio::sync::broadcast;

/// The keys of all rooms, and what waits to be said.
#[derive(Clone)]
pub struct SealedTips {
    inner: Arc<Mutex<Inner>>,
    asks: broadcast::Sender<(RoomId, Peer)>,
}

#[derive(Default)]
struct Inner {
    rooms: HashMap<RoomId, Room>,
    /// Rooms of which something is to be said, and when: few of many.
    due: BTreeMap<RoomId, Instant>,
    topics: HashMap<String, RoomId>,
    /// Counts changes of keys.
    version: u64,
    failures: Failures,
}

struct Room {
    topic: String,
    devices: BTreeSet<DeviceId>,
    circle: [u8; 32],
    key: [u8; 32],
    /// Keys by which others may still seal: of this circle, or of ones before it from which nobody has gone.
    older: VecDeque<[u8; 32]>,
    /// Keys for circles that we do not see yet, or no more, and which device told them.
    early: VecDeque<Early>,
    /// What moved and was not said yet.
    moved: VecDeque<EventId>,
    /// Said lately, by us or others.
    named: VecDeque<EventId>,
    asked: Option<Instant>,
    /// Messages that opened in this second, and since when that is.
    heard: (Option<Instant>, u32),
}

struct Early {
    device: DeviceId,
    circle: [u8; 32],
    key: [u8; 32],
}

/// Messages of this second that did not open, by who passed them on.
#[derive(Default)]
struct Failures {
    since: Option<Instant>,
    peers: HashMap<Peer, u32>,
}

/// What became of a gossip message.
enum Opened {
    Verdict(GossipVerdict),
    Tips(RoomId, Tips),
}

impl Default for SealedTips {
    fn default() -> Self {
        SealedTips { inner: Arc::default(), asks: broadcast::channel(ASKS_MAX).0 }
    }
}

impl SealedTips {
    /// The room's circle and key.
    pub(super) fn key(&self, room: RoomId) -> Option<([u8; 32], [u8; 32])> {
        self.lock().rooms.get(&room).map(|r| (r.circle, r.key))
    }

    /// Changes whenever a key does.
    pub(super) fn version(&self) -> u64 {
        self.lock().version
    }

    /// A current device told us a key for those whom it sees; whether it lacks ours.
    pub(super) fn told(&self, room: RoomId, device: DeviceId, circle: [u8; 32], key: [u8; 32]) -> bool {
        let mut inner = self.lock();
        let Some(found) = inner.rooms.get_mut(&room) else { return false };
        if found.circle != circle {
            found.early.retain(|early| early.device != device);
            found.early.push_back(Early { device, circle, key });
            let excess = found.early.len().saturating_sub(EARLY_MAX);
            found.early.drain(..excess);
        } else if found.devices.contains(&device) && key < found.key {
            found.take(key);
            inner.version += 1;
        } else {
            return key > found.key;
        }
        false
    }

    /// Rooms that a conversation is to compare again, and with whom.
    pub(super) fn asks(&self) -> broadcast::Receiver<(RoomId, Peer)> {
        self.asks.subscribe()
    }

    /// Has a room compared again with some of these peers.
    pub(crate) fn compare_with(&self, room: RoomId, peers: &[Peer]) {
        for peer in peers.iter().take(ASKED_MAX) {
            let _ = self.asks.send((room, *peer));
        }
    }

    /// Whether a topic is of a room that is not public.
    pub(super) fn is_sealed(&self, topic: &str) -> bool {
        self.lock().topics.contains_key(topic)
    }

    /// Brings a room's key in line with who is in it now; what the network is to do.
    fn review(&self, manager: &Manager, room: RoomId, view: &RoomView) -> Option<network::Command> {
        let mut inner = self.lock();
        let is_current = view.state.user_of(manager.keys.device().id()).is_some();
        let takes_part = view.row.kind != RoomKind::Public && !view.row.left && is_current;
        let Some(secret) = takes_part.then(|| offers::inner(room, view, &manager.store)).flatten() else {
            let topic = inner.rooms.remove(&room)?.topic;
            inner.topics.remove(&topic);
            return Some(network::Command::Unsubscribe(topic));
        };
        let devices: BTreeSet<DeviceId> = view.state.members.values().flat_map(|m| m.devices.iter().copied()).collect();
        if let Some(found) = inner.rooms.get_mut(&room) {
            if found.devices != devices {
                found.renew(devices);
                inner.version += 1;
            }
            return None;
        }
        let topic = sealed_topic(&secret);
        inner.topics.insert(topic.clone(), room);
        inner.rooms.insert(room, Room::new(topic.clone(), devices));
        inner.version += 1;
        Some(network::Command::Subscribe(topic))
    }

    /// These are to be said soon, unless somebody else does.
    fn moved(&self, room: RoomId, ids: Vec<EventId>) {
        let mut inner = self.lock();
        let Some(found) = inner.rooms.get_mut(&room).filter(|_| !ids.is_empty()) else { return };
        found.moved.extend(ids);
        let excess = found.moved.len().saturating_sub(TIPS_MAX);
        found.moved.drain(..excess);
        let wait = SAID_AFTER_MIN + (SAID_AFTER_MAX - SAID_AFTER_MIN).mul_f64(rand::random());
        inner.due.entry(room).or_insert_with(|| Instant::now() + wait);
    }

    fn next_due(&self) -> Option<Instant> {
        self.lock().due.values().min().copied()
    }

    fn due(&self) -> Vec<RoomId> {
        let now = Instant::now();
        self.lock().due.extract_if(.., |_, due| *due <= now).map(|(room, _)| room).collect()
    }

    /// What is to be said of a room, if nobody else has said it.
    fn seal(&self, room: RoomId) -> Option<network::Command> {
        let mut inner = self.lock();
        inner.due.remove(&room);
        let found = inner.rooms.get_mut(&room)?;
        let ids: Vec<EventId> = found.moved.drain(..).collect();
        let ids: Vec<EventId> = ids.into_iter().filter(|id| !found.named.contains(id)).collect();
        if ids.is_empty() {
            return None;
        }
        found.name(&ids);
        let data = Tips { ms: now_ms(), ids }.seal(&found.key, room, random());
        Some(network::Command::Publish { topic: found.topic.clone(), data })
    }

    /// Opens a message of a sealed topic; who only sends what does not open is soon not looked at any more.
    fn open(&self, from: Peer, topic: &str, data: &[u8]) -> Opened {
        let ignored = Opened::Verdict(GossipVerdict::Ignore);
        if data.len() != SEALED_TIPS_LEN {
            return Opened::Verdict(GossipVerdict::Reject);
        }
        let mut inner = self.lock();
        if inner.failures.of(from) >= FAILURES_MAX {
            return ignored;
        }
        let Some(room) = inner.topics.get(topic).copied() else { return ignored };
        let Some(found) = inner.rooms.get_mut(&room) else { return ignored };
        let mut keys = std::iter::once(&found.key).chain(&found.older);
        let Some(tips) = keys.find_map(|key| Tips::open(key, room, data)) else {
            inner.failures.add(from);
            return ignored;
        };
        // Honest nodes say together what one of them alone would, some times a second.
        if tips.ms.abs_diff(now_ms()) > RECENT_MS || !found.may_hear() {
            return ignored;
        }
        found.name(&tips.ids);
        Opened::Tips(room, tips)
    }

    /// Asks a peer for what moved, at most so often.
    fn ask(&self, manager: &Manager, room: RoomId, from: Peer) {
        let Some(peer) = manager.told.who_shares(room, from) else { return };
        let mut inner = self.lock();
        let Some(found) = inner.rooms.get_mut(&room) else { return };
        if found.asked.is_none_or(|asked| asked.elapsed() > ASK_EVERY) {
            found.asked = Some(Instant::now());
            let _ = self.asks.send((room, peer));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Room {
    fn new(topic: String, devices: BTreeSet<DeviceId>) -> Self {
        Room {
            topic,
            circle: circle(&devices),
            devices,
            key: random(),
            older: VecDeque::new(),
            early: VecDeque::new(),
            moved: VecDeque::new(),
            named: VecDeque::new(),
            asked: None,
            heard: (None, 0),
        }
    }

    /// Others may listen now. Whoever has gone knows the keys until now, and may have told some for the time after.
    fn renew(&mut self, devices: BTreeSet<DeviceId>) {
        let stays = self.devices.is_subset(&devices);
        (self.circle, self.devices) = (circle(&devices), devices);
        self.early.retain(|early| self.devices.contains(&early.device));
        let told = self.early.iter().filter(|early| early.circle == self.circle).map(|early| early.key).min();
        self.take(told.unwrap_or_else(random));
        self.early.retain(|early| early.circle != self.circle);
        if !stays {
            self.older.clear();
        }
    }

    /// Counts a message that opened; whether it is one of those that are looked at in this second.
    fn may_hear(&mut self) -> bool {
        if self.heard.0.is_none_or(|since| since.elapsed() >= Duration::from_secs(1)) {
            self.heard = (Some(Instant::now()), 0);
        }
        self.heard.1 = self.heard.1.saturating_add(1);
        self.heard.1 <= HEARD_MAX
    }

    fn take(&mut self, key: [u8; 32]) {
        self.older.push_front(std::mem::replace(&mut self.key, key));
        self.older.truncate(OLDER_MAX);
    }

    fn name(&mut self, ids: &[EventId]) {
        self.named.extend(ids);
        let excess = self.named.len().saturating_sub(NAMED_MAX);
        self.named.drain(..excess);
    }
}

impl Failures {
    fn of(&mut self, peer: Peer) -> u32 {
        if self.since.is_none_or(|since| since.elapsed() >= Duration::from_secs(1)) {
            (self.since, self.peers) = (Some(Instant::now()), HashMap::new());
        }
        self.peers.get(&peer).copied().unwrap_or(0)
    }

    fn add(&mut self, peer: Peer) {
        *self.peers.entry(peer).or_default() += 1;
    }
}

/// Says what moves, and keeps the keys, until the node ends.
pub(super) async fn run(manager: Arc<Manager>) {
    let mut stored = manager.stored.subscribe();
    review_all(&manager).await;
    loop {
        let due = manager.tips.next_due();
        let wait = async {
            match due {
                Some(due) => tokio::time::sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            news = stored.recv() => match news {
                Ok(news) => on_stored(&manager, &news).await,
                Err(broadcast::error::RecvError::Lagged(_)) => review_all(&manager).await,
                Err(broadcast::error::RecvError::Closed) => return,
            },
            () = wait => for room in manager.tips.due() {
                // The key is the one for those who are in the room at this moment.
                review(&manager, room).await;
                if let Some(command) = manager.tips.seal(room) {
                    drop(manager.network.send(command).await);
                }
            }
        }
    }
}

async fn review_all(manager: &Manager) {
    for (room, _) in manager.views.all() {
        review(manager, room).await;
    }
}

async fn review(manager: &Manager, room: RoomId) {
    let Some(view) = manager.views.find(room) else { return };
    if let Some(command) = manager.tips.review(manager, room, &view) {
        drop(manager.network.send(command).await);
    }
}

async fn on_stored(manager: &Manager, news: &Stored) {
    let Some(view) = manager.views.find(news.room).filter(|view| view.row.kind != RoomKind::Public) else { return };
    if news.room_changed {
        review(manager, news.room).await;
    }
    let mut ids = Vec::new();
    for number in news.numbers.iter().rev().take(TIPS_MAX).rev() {
        let Ok(Some(event)) = manager.store.event(*number) else { continue };
        let counts = match event.log.class {
            Class::Control => view.control_heads.iter().any(|head| head.tip.id == event.id),
            Class::Content => matches!(effective::author_of(&manager.store, &view, &event), Ok(Some(_))),
        };
        // History that a newcomer gets is news to nobody else.
        if counts && is_recent(event.hlc) {
            ids.push(event.id);
        }
    }
    manager.tips.moved(news.room, ids);
}

/// Whether something is of now.
pub(super) fn is_recent(hlc: Hlc) -> bool {
    hlc.ms().abs_diff(now_ms()) <= RECENT_MS
}

/// Deals with a message of a sealed topic. What opens and is of now is passed on: others may not have heard of it.
pub(super) fn judge(manager: &Manager, from: Peer, topic: &str, data: &[u8]) -> GossipVerdict {
    match manager.tips.open(from, topic, data) {
        Opened::Verdict(verdict) => verdict,
        Opened::Tips(room, tips) => {
            let view = manager.views.find(room);
            let lacks = |id: &EventId| {
                view.as_ref().is_some_and(|view| !effective::holds_in(&manager.store, view, *id).unwrap_or(true))
            };
            if tips.ids.iter().any(lacks) {
                manager.tips.ask(manager, room, from);
            }
            GossipVerdict::Accept
        }
    }
}

/// What moved is said after a random while, when keys have been told: all who hear of it in a conversation wait like that, and who hears it said
/// is silent. So it is said about once, and not by who wrote it.
const SAID_AFTER_MIN: Duration = Duration::from_millis(60);
const SAID_AFTER_MAX: Duration = Duration::from_millis(240);
/// Messages a second from one peer that do not open, after which no more of its are tried in that second. Each takes
/// `OLDER_MAX` and one openings of 300 bytes, a few microseconds.
const FAILURES_MAX: u32 = 32;
/// Messages of a room a second that open and are passed on: several times what busy rooms say. A device that floods it is
/// no current one for long.
const HEARD_MAX: u32 = 32;
/// Keys beside the newest under which messages are opened.
const OLDER_MAX: usize = 3;
/// Keys kept for circles that are not ours: one of each peer that is a little ahead.
const EARLY_MAX: usize = 16;
/// Tips of a room that are remembered as said.
const NAMED_MAX: usize = 256;
/// Sealed tips make us compare a room at most so often.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// Peers that are asked at once about one room.
const ASKED_MAX: usize = 4;
/// Asks that a busy conversation may miss.
const ASKS_MAX: usize = 256;
/// As long as gossipsub knows its duplicates: older messages are replays.
const RECENT_MS: u64 = 10 * 60 * 1000;

#[cfg(test)]
#[path = "tips_tests.rs"]
mod tests;

//! Keeps a conversation with every connected peer, remembers whom to meet again, and deals with gossip.

use super::budget::Live;
use super::deliver::Room;
use super::gossip;
use super::leases::Leases;
use super::talk;
use super::tips::{self, SealedTips};
use super::told::Told;
use crate::account::Wish;
use crate::audit::Audits;
use crate::beacons::{Beacons, Sharing};
use crate::clock::now_ms;
use crate::command::Command;
use crate::effective;
use crate::enrol::Enrolment;
use crate::files::Files;
use crate::keys::Keys;
use crate::lookup::Lookup;
use crate::network::redial::Redial;
use crate::network::{self, Duplex, Event, GossipVerdict, Opener, Peer, PeerAddress};
use crate::people::People;
use crate::rooms::{RoomView, Views};
use crate::sync::holdings::{DigestCache, NodeHoldings};
use crate::trim::{Budget, ReadBack};
use crate::writer::Stored;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tidings_protocol::control::payload::RoomKind;
use tidings_protocol::event::SignedEvent;
use tidings_protocol::id::{EventId, RoomId};
use tidings_protocol::sync::Side;
use tidings_storage::{StorageError, Store, StoredEvent};
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

/// What all conversations share.
pub struct Manager {
    /// This node.
    pub us: Peer,
    /// The federation.
    pub federation: String,
    /// The history.
    pub store: Store,
    /// The rooms.
    pub views: Views,
    /// Our keys.
    pub keys: Arc<Keys>,
    /// The writer.
    pub commands: mpsc::Sender<Command>,
    /// News of the store.
    pub stored: broadcast::Sender<Arc<Stored>>,
    /// The network.
    pub network: mpsc::Sender<network::Command>,
    /// Opens streams.
    pub opener: Opener,
    /// Conversations: whoever stops the node waits for their end.
    pub(crate) talking: TaskTracker,
    /// Who fetches what.
    pub leases: Leases,
    /// For what they fetch.
    pub(crate) room: Room,
    /// Who was told of what.
    pub told: Told,
    /// Digests, while nothing has changed.
    pub digests: DigestCache,
    /// What is said of the day.
    pub beacons: Beacons,
    /// What of it the user shares.
    pub sharing: Sharing,
    /// What rooms that are not public say over gossip.
    pub tips: SealedTips,
    /// Whom to keep.
    pub redial: Arc<Mutex<Redial>>,
    /// Where we listen.
    pub listening: Arc<Mutex<BTreeSet<String>>>,
    /// Where peers said they are.
    pub seen: Arc<Mutex<BTreeMap<Peer, BTreeSet<String>>>>,
    /// Held while the list of invites made here is changed.
    pub invites: tokio::sync::Mutex<()>,
    /// What the user's devices share.
    pub(crate) account: mpsc::Sender<Wish>,
    /// The link for another device that is open.
    pub enrolment: Enrolment,
    /// Peers came or went, or were told something.
    pub peers_changed: broadcast::Sender<PeerNews>,
    /// What this node knows of people by itself.
    pub people: People,
    /// Asks domains whose a name is.
    pub lookup: Lookup,
    /// Held while something is purged.
    pub purging: tokio::sync::Mutex<()>,
    /// Held while all that is kept is verified or copied: one at a time.
    pub upkeep: Mutex<()>,
    /// How many live events are taken at once.
    pub live: Live,
    /// The files.
    pub files: Files,
    /// Asks peers what they hold.
    pub audits: Audits,
    /// How much of the disk may be used.
    pub budget: Arc<Budget>,
    /// What somebody reads back to.
    pub read_back: ReadBack,
    /// Held while somebody does.
    pub reading_back: tokio::sync::Mutex<()>,
}

/// What is new of peers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerNews {
    /// Some came or went.
    Peers,
    /// These own events were sent to one more.
    Told(RoomId, Vec<EventId>),
    /// What this node knows of people by itself changed.
    People,
    /// We are in a room, because a team that we are of lets us in.
    LetIn {
        /// The room.
        room: RoomId,
        /// The team.
        team: RoomId,
    },
}

impl Manager {
    /// What is held, towards one peer.
    pub(crate) fn holdings(&self, peer: Vec<u8>) -> NodeHoldings {
        NodeHoldings {
            store: self.store.clone(),
            views: self.views.clone(),
            peer,
            leases: self.leases.clone(),
            digests: self.digests.clone(),
            beacons: self.beacons.clone(),
            read_back: self.read_back.clone(),
            given_up: crate::sync::given_up::GivenUp::default(),
            budget: self.budget.clone(),
        }
    }

    /// A peer shares a room with us: it is worth meeting again.
    pub(super) fn met(&self, peer: Peer) {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(&peer).cloned().unwrap_or_default();
        let addresses: Vec<_> = seen.into_iter().map(|address| PeerAddress { peer, address }).collect();
        self.remember(peer, &addresses);
        self.redial.lock().unwrap_or_else(PoisonError::into_inner).connected(peer);
        let _ = self.peers_changed.send(PeerNews::Peers);
    }

    /// A peer says where it is. Who has proven to be a member, or was named here, is remembered. Anybody shares a public room:
    /// their word never makes us knock at doors inside our own network, drives nobody out, and is soon forgotten.
    fn remember(&self, peer: Peer, addresses: &[PeerAddress]) {
        let is_member = |room: &RoomId| self.views.find(*room).is_some_and(|view| view.row.kind != RoomKind::Public);
        let is_member = self.told.stats(peer).rooms.iter().any(is_member);
        let may_dial = crate::beacons::may_dial(self);
        let mut redial = self.redial.lock().unwrap_or_else(PoisonError::into_inner);
        for address in addresses {
            if is_member || redial.is_named(peer) {
                redial.remember(address);
            } else if may_dial(address) {
                redial.hint(address, now_ms(), rand::random());
            }
        }
    }

    /// Own events were sent to a peer.
    pub(super) async fn sent(&self, peer: Peer, room: RoomId, events: &[(EventId, u64)]) {
        let (mut news, mut first) = (Vec::new(), Vec::new());
        for (id, number) in events {
            let sent = self.told.sent(*id, peer);
            news.extend(sent.is_news.then_some(*id));
            first.extend(sent.is_first.then_some(*number));
        }
        if !first.is_empty() {
            drop(self.commands.send(Command::Told(first)).await);
        }
        if !news.is_empty() {
            let _ = self.peers_changed.send(PeerNews::Told(room, news));
        }
    }

    /// Whether an event of now is content that is here byte for byte, and counts: it was checked before. One of long ago is
    /// not looked for: who says many of them would have us read the disk for each.
    pub(super) fn is_here(&self, event: &SignedEvent) -> bool {
        if !gossip::is_recent(event) {
            return false;
        }
        let id = event.header.id();
        let room = event.header.room_of(id);
        let is_same = |view: &RoomView, held: &StoredEvent| {
            let counts = effective::author_of(&self.store, view, held)?.is_some();
            Ok::<_, StorageError>(counts && self.store.signed_event(room, held)?.as_ref() == Some(event))
        };
        match (self.views.find(room), self.store.event_by_id(id)) {
            (Some(view), Ok(Some(held))) => matches!(is_same(&view, &held), Ok(true)),
            _ => false,
        }
    }

    /// A peer holds all that we hold of a room.
    pub(super) async fn agreed(&self, peer: Peer, room: RoomId) {
        self.redial.lock().unwrap_or_else(PoisonError::into_inner).agreed(peer);
        let news = self.told.agreed(room, peer);
        self.forget_outbox(room).await;
        let news = if news.is_empty() { PeerNews::Peers } else { PeerNews::Told(room, news) };
        let _ = self.peers_changed.send(news);
    }

    /// Somebody knows what we said in a room.
    pub(super) async fn forget_outbox(&self, room: RoomId) {
        let Some(number) = self.views.find(room).map(|view| view.number) else { return };
        let of_room = |n: &u64| matches!(self.store.event(*n), Ok(Some(event)) if event.room == number);
        let numbers: Vec<u64> = self.store.outbox().unwrap_or_default().into_iter().filter(of_room).collect();
        if !numbers.is_empty() {
            drop(self.commands.send(Command::Told(numbers)).await);
        }
    }
}

/// Runs sync and gossip until the network ends.
pub async fn run(
    manager: Arc<Manager>,
    mut events: mpsc::Receiver<Event>,
    mut incoming: mpsc::Receiver<(Peer, Box<dyn Duplex>)>,
) {
    let mut talks = Talks::default();
    let mut stored = manager.stored.subscribe();
    let mut redial = tokio::time::interval(REDIAL_EVERY);
    let gossip = gossip::start(manager.clone());
    // Dropped with this, and so ended.
    let mut sealed = tokio::task::JoinSet::new();
    sealed.spawn(tips::run(manager.clone()));
    gossip::subscribe_all(&manager).await;
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(event) => on_event(&manager, event, &mut talks, &gossip).await,
                None => break,
            },
            Some((peer, stream)) = incoming.recv() => {
                // The smaller id opens, so that two who open at once do not end each other's conversation.
                if manager.us < peer {
                    continue;
                }
                // It opens a new one when it has lost the last: the new one counts.
                if !talks.may_open(peer) {
                    continue;
                }
                let answering = manager.clone();
                let task = manager.talking.spawn(async move { answer(&answering, peer, stream).await });
                talks.replace(&manager, peer, task);
            }
            news = stored.recv() => match news {
                Ok(news) => gossip::on_stored(&manager, &news).await,
                Err(broadcast::error::RecvError::Lagged(_)) => gossip::subscribe_all(&manager).await,
                Err(broadcast::error::RecvError::Closed) => break,
            },
            _ = redial.tick() => {
                talks.reap();
                let due = manager.redial.lock().unwrap_or_else(PoisonError::into_inner).due(now_ms(), rand::random());
                if !due.is_empty() {
                    drop(manager.network.send(network::Command::Dial(due)).await);
                }
            }
        }
    }
}

/// One conversation a peer. All end with this.
#[derive(Default)]
struct Talks {
    tasks: BTreeMap<Peer, JoinHandle<()>>,
    /// Streams that a peer has opened since then.
    opened: BTreeMap<Peer, (Instant, u32)>,
}

impl Talks {
    /// Whether a peer may open another stream: each costs us signatures, and begins with fresh budgets.
    fn may_open(&mut self, peer: Peer) -> bool {
        let (since, count) = self.opened.entry(peer).or_insert_with(|| (Instant::now(), 0));
        if since.elapsed() > MINUTE {
            (*since, *count) = (Instant::now(), 0);
        }
        *count += 1;
        *count <= STREAMS_A_MINUTE_MAX
    }

    fn replace(&mut self, manager: &Manager, peer: Peer, task: JoinHandle<()>) {
        if let Some(old) = self.tasks.insert(peer, task) {
            old.abort();
            manager.leases.free_all(&peer.to_bytes());
        }
    }

    /// Forgets conversations that have ended by themselves, and counts of minutes that are over: a stream may be taken when
    /// its peer has gone already, and who goes and comes back is counted on.
    fn reap(&mut self) {
        self.tasks.retain(|_, task| !task.is_finished());
        self.opened.retain(|_, (since, _)| since.elapsed() <= MINUTE);
    }

    fn end(&mut self, manager: &Manager, peer: Peer) {
        if let Some(task) = self.tasks.remove(&peer) {
            task.abort();
        }
        manager.leases.free_all(&peer.to_bytes());
    }
}

impl Drop for Talks {
    fn drop(&mut self) {
        self.tasks.values().for_each(JoinHandle::abort);
    }
}

async fn on_event(manager: &Arc<Manager>, event: Event, talks: &mut Talks, gossip: &mpsc::Sender<gossip::Heard>) {
    match event {
        Event::Listening(address) => {
            manager.listening.lock().unwrap_or_else(PoisonError::into_inner).insert(address);
            let _ = manager.peers_changed.send(PeerNews::Peers);
        }
        Event::Connected { peer, address, outbound } => {
            if outbound {
                manager
                    .seen
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .entry(peer)
                    .or_default()
                    .insert(address.address.clone());
            }
            let mut redial = manager.redial.lock().unwrap_or_else(PoisonError::into_inner);
            if outbound && redial.keeps(peer) {
                redial.remember(&address);
            }
            redial.connected(peer);
            drop(redial);
            let _ = manager.peers_changed.send(PeerNews::Peers);
            if manager.us < peer {
                let talking = manager.clone();
                let task = manager.talking.spawn(async move { keep_talking(&talking, peer).await });
                talks.replace(manager, peer, task);
            }
        }
        Event::Disconnected(peer) => {
            talks.end(manager, peer);
            let mut seen = manager.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.remove(&peer);
            drop(seen);
            manager.told.end(peer);
            manager.live.forget(peer);
            let mut redial = manager.redial.lock().unwrap_or_else(PoisonError::into_inner);
            redial.disconnected(peer, now_ms(), rand::random());
            drop(redial);
            let _ = manager.peers_changed.send(PeerNews::Peers);
        }
        Event::Addresses { peer, addresses, local } => on_addresses(manager, peer, addresses, local).await,
        Event::Gossip { ticket, from, topic, data } => {
            if let Err(refused) = gossip.try_send(gossip::Heard { ticket, from, topic, data }) {
                let ticket = refused.into_inner().ticket;
                drop(manager.network.send(network::Command::Report(ticket, GossipVerdict::Ignore)).await);
            }
        }
    }
}

async fn on_addresses(manager: &Manager, peer: Peer, addresses: Vec<PeerAddress>, local: bool) {
    if peer == manager.us {
        return;
    }
    {
        let mut seen = manager.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() < SEEN_PEERS_MAX || seen.contains_key(&peer) {
            let known = seen.entry(peer).or_default();
            let room = SEEN_ADDRESSES_MAX.saturating_sub(known.len());
            known.extend(addresses.iter().map(|a| a.address.clone()).take(room));
        }
    }
    let keeps = manager.redial.lock().unwrap_or_else(PoisonError::into_inner).keeps(peer);
    if keeps {
        manager.remember(peer, &addresses);
        let _ = manager.peers_changed.send(PeerNews::Peers);
    }
    if local {
        drop(manager.network.send(network::Command::Dial(addresses)).await);
    }
}

/// Opens a conversation, and another when it ends, while the peer is connected.
async fn keep_talking(manager: &Manager, peer: Peer) {
    let mut wait = TALK_AGAIN_AFTER;
    loop {
        let began = Instant::now();
        if let Some(stream) = manager.opener.open(peer).await
            && converse(manager, peer, Side::Initiator, stream).await
        {
            // It broke the rules: not again on this connection.
            drop(manager.network.send(network::Command::Disconnect(peer)).await);
            return;
        }
        if began.elapsed() > TALK_AGAIN_MAX {
            wait = TALK_AGAIN_AFTER;
        }
        tokio::time::sleep(wait.mul_f64(0.5 + rand::random::<f64>() / 2.0)).await;
        wait = (wait * 2).min(TALK_AGAIN_MAX);
    }
}

/// Talks with a peer that has opened a conversation.
async fn answer(manager: &Manager, peer: Peer, stream: Box<dyn Duplex>) {
    if converse(manager, peer, Side::Responder, stream).await {
        drop(manager.network.send(network::Command::Disconnect(peer)).await);
    }
}

/// Talks with a peer; whether it broke the rules.
async fn converse(manager: &Manager, peer: Peer, side: Side, stream: Box<dyn Duplex>) -> bool {
    tracing::debug!(%peer, ?side, "conversation begins");
    let ended = talk::talk(manager, peer, side, stream).await;
    manager.told.end(peer);
    let fault = ended.is_fault();
    if fault {
        manager.redial.lock().unwrap_or_else(PoisonError::into_inner).faulted(peer);
        tracing::warn!(%peer, %ended, "conversation ended");
    } else {
        tracing::debug!(%peer, %ended, "conversation ended");
    }
    fault
}

/// How often the list of peers to dial is looked at.
const REDIAL_EVERY: Duration = Duration::from_millis(500);
/// A conversation that ended is begun again after this, doubled each time.
const TALK_AGAIN_AFTER: Duration = Duration::from_millis(500);
const TALK_AGAIN_MAX: Duration = Duration::from_secs(20);
/// Streams that one peer may open in a minute; an honest one opens another when it has lost the last.
const STREAMS_A_MINUTE_MAX: u32 = 20;
const MINUTE: Duration = Duration::from_secs(60);
/// Peers whose addresses are remembered while we run.
const SEEN_PEERS_MAX: usize = 1024;
const SEEN_ADDRESSES_MAX: usize = 16;

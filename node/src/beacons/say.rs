//! What this node says of itself: what its user has read and does (`sharing`), where it is, what it holds. Each is said when
//! it changes, and again before it is forgotten; never more often than the room can bear.

use super::receipts::held_now;
use super::{Beacons, Change, News, hints};
use crate::clock::now_ms;
use crate::command::Command;
use crate::erasing;
use crate::handle::NodeHandle;
use crate::rooms::RoomView;
use crate::sync::holdings::NodeHoldings;
use crate::sync::{Manager, PeerNews};
use crate::writer::{Origin, Stored};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use tidings_protocol::beacon::{Draft, Presence, Signal, kind};
use tidings_protocol::control::payload::RoomKind;
use tidings_protocol::event::{Class, Hlc};
use tidings_protocol::id::{DeviceId, EventId, RoomId};
use tidings_protocol::limits::CLOCK_AHEAD_MAX_MS;
use tidings_protocol::sync::Digests;
use tidings_storage::Reached;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::oneshot;

/// Says something of us in a room, if we are in it.
pub(super) async fn say(manager: &Manager, view: &RoomView, signal: Signal) -> bool {
    let device = manager.keys.device().id();
    if view.row.left || view.state.user_of(device).is_none() {
        return false;
    }
    let before = manager.beacons.said(view.row.room, device, signal.kind()).map_or(Hlc(0), |(hlc, _)| hlc);
    // Typing says a time that counts from its clock.
    let draft = Draft { room: view.row.room, hlc: before.tick(now_ms()), signal };
    match draft.sign(&manager.keys.device().key) {
        Ok(beacon) => {
            let judged = manager.beacons.take(view, vec![beacon]);
            manager.beacons.told(view, judged, None).await;
            true
        }
        Err(error) => {
            tracing::warn!(%error, "a beacon of our own would be refused");
            false
        }
    }
}

impl Beacons {
    /// What we said last by one kind, and when.
    fn said(&self, room: RoomId, device: DeviceId, kind: u16) -> Option<(Hlc, Signal)> {
        let rooms = self.lock();
        let held = rooms.get(&room)?.slots.find(device, kind)?;
        Some((held.signed().hlc, held.signal().clone()))
    }
}

/// Says what there is to say, until the node stops.
pub async fn run(node: NodeHandle) {
    let manager = node.manager.clone();
    let (mut stored, mut news) = (manager.stored.subscribe(), manager.beacons.news());
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let held = manager.holdings(Vec::new());
    let mut speaker = Speaker { node, held, manager, rooms: HashMap::new(), swept: Instant::now(), passed: None };
    speaker.begin().await;
    loop {
        tokio::select! {
            told = stored.recv() => match told {
                Ok(told) => speaker.stored(&told).await,
                Err(RecvError::Lagged(_)) => speaker.everything_moved().await,
                Err(RecvError::Closed) => return,
            },
            told = news.recv() => match told {
                Ok(told) => speaker.heard(&told).await,
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            },
            _ = tick.tick() => speaker.tick().await,
        }
    }
}

struct Speaker {
    node: NodeHandle,
    manager: Arc<Manager>,
    held: NodeHoldings,
    rooms: HashMap<RoomId, Spoken>,
    swept: Instant,
    /// When all rooms were last looked at, and what was to be said then.
    passed: Option<(Instant, Vec<String>, Presence)>,
}

/// What was said of a room, and what is to be said.
#[derive(Default)]
struct Spoken {
    /// Something changed of what we hold: since when, and when it last did.
    moved: Option<(Instant, Instant)>,
    holds: Option<Instant>,
    /// When we last looked at what we hold.
    digest: Option<Instant>,
    read: Option<Instant>,
    /// Up to which number each device had our events when we last told of it.
    reached: HashMap<DeviceId, u64>,
}

impl Speaker {
    /// What others said before we were stopped counts from the start.
    async fn begin(&mut self) {
        for (room, view) in self.manager.views.all() {
            self.manager.beacons.sweep(&view).await;
            self.digest(&view).await;
            self.rooms.entry(room).or_default().moved = Some((Instant::now(), Instant::now()));
            for (device, _, signal) in self.manager.beacons.signals(room, kind::ADDRESSES) {
                self.hint(&view, device, &signal);
            }
            self.follow_own_marks(&view).await;
        }
    }

    async fn everything_moved(&mut self) {
        for (room, view) in self.manager.views.all() {
            self.manager.beacons.sweep(&view).await;
            self.move_room(room);
        }
    }

    fn move_room(&mut self, room: RoomId) {
        let now = Instant::now();
        let moved = &mut self.rooms.entry(room).or_default().moved;
        *moved = Some((moved.map_or(now, |(since, _)| since), now));
    }

    async fn stored(&mut self, told: &Stored) {
        let Some(view) = self.manager.views.find(told.room) else { return };
        self.move_room(told.room);
        if told.room_changed {
            self.manager.beacons.sweep(&view).await;
        }
        if told.origin == Origin::Local {
            for number in &told.numbers {
                if let Ok(Some(event)) = self.held.store.event(*number) {
                    self.manager.beacons.said_here(told.room, *number, event.id);
                }
            }
        }
        // Where more comes than that, no word of another's names what we held between two messages.
        let spoken = self.rooms.entry(told.room).or_default();
        let is_due = spoken.digest.is_none_or(|at| at.elapsed() >= DIGEST_EVERY);
        if !matches!(told.origin, Origin::Bulk(_)) && is_due && self.is_small(&view) && !is_alone(&view) {
            self.digest(&view).await;
        }
    }

    /// Whether a digest costs little: it is read off every log.
    fn is_small(&self, view: &RoomView) -> bool {
        devices(view) <= SMALL_ROOM_DEVICES
    }

    /// Notes what we hold now, and who holds the same.
    async fn digest(&mut self, view: &RoomView) -> Option<Digests> {
        let room = view.row.room;
        let (digests, number) = match self.is_small(view) {
            true => held_now(&self.held, room)?,
            false => tokio::task::block_in_place(|| held_now(&self.held, room))?,
        };
        self.rooms.entry(room).or_default().digest = Some(Instant::now());
        let reached = self.manager.beacons.hold(room, &digests, number);
        for (device, _) in &reached {
            self.reached(view, *device);
        }
        if !reached.is_empty() {
            self.manager.beacons.keep(Change { reached, ..Change::none(view.number) }).await;
        }
        Some(digests)
    }

    /// What another device has of ours since we last looked is shown differently.
    fn reached(&mut self, view: &RoomView, device: DeviceId) {
        let room = view.row.room;
        let Some(number) = self.manager.beacons.reached_by(room, device) else { return };
        let spoken = self.rooms.entry(room).or_default();
        let before = spoken.reached.insert(device, number).unwrap_or(0);
        let said = self.manager.beacons.said_between(room, before, number);
        if device != self.manager.keys.device().id() && !said.is_empty() {
            let _ = self.manager.peers_changed.send(PeerNews::Told(view.row.room, said));
        }
    }

    async fn heard(&mut self, news: &News) {
        let Some(view) = self.manager.views.find(news.room) else { return };
        let own = self.manager.keys.device().id();
        for (device, kind) in news.keys.iter().filter(|(device, _)| *device != own) {
            let Some((_, signal)) = self.manager.beacons.said(news.room, *device, *kind) else { continue };
            match signal {
                Signal::Holds { .. } => {
                    if self.is_small(&view) {
                        self.digest(&view).await;
                    }
                    self.reached(&view, *device);
                }
                Signal::Addresses(_) => self.hint(&view, *device, &signal),
                Signal::Read { .. } => self.follow_own_marks(&view).await,
                _ => {}
            }
        }
    }

    /// Where another device's node may be found.
    fn hint(&self, view: &RoomView, device: DeviceId, signal: &Signal) {
        if device != self.manager.keys.device().id()
            && let Signal::Addresses(addresses) = signal
        {
            hints::take(&self.manager, view, addresses);
        }
    }

    /// What the local user has read at another device is read here.
    async fn follow_own_marks(&self, view: &RoomView) {
        let user = self.manager.keys.user;
        let ours = self.manager.beacons.signals(view.row.room, kind::READ).into_iter();
        let ours = ours.filter(|(device, ..)| view.state.user_of(*device) == Some(user));
        let latest = Hlc::at_ms(now_ms().saturating_add(CLOCK_AHEAD_MAX_MS));
        let marks = ours.filter_map(|(_, _, signal)| match signal {
            Signal::Read { event, at } => Some(self.place_of(event).unwrap_or(at.min(latest).0)),
            _ => None,
        });
        let Some(mark) = marks.max().filter(|mark| *mark > view.row.read_clock) else { return };
        let (room, (reply, done)) = (view.row.room, oneshot::channel());
        let change = Box::new(move |row: &mut tidings_storage::RoomRow| row.read_clock = row.read_clock.max(mark));
        drop(self.manager.commands.send(Command::Change { room, change, reply }).await);
        drop(done);
    }

    /// Where a message stands, if it is here.
    fn place_of(&self, event: EventId) -> Option<u64> {
        let event = self.held.store.event_by_id(event).ok().flatten()?;
        (event.log.class == Class::Content).then_some(event.clock)
    }

    /// Says what is due in rooms where something moved; now and then, and when it has changed, what is of all rooms.
    async fn tick(&mut self) {
        let (listening, presence) = (hints::own_addresses(&self.manager), self.manager.sharing.presence_now());
        for room in self.waiting() {
            let Some(view) = self.manager.views.find(room).filter(|view| self.is_in(view)) else { continue };
            self.say_holds(room, &view).await;
            self.say_read(room, &view).await;
        }
        let is_same = |(at, addresses, said): &(Instant, Vec<String>, Presence)| {
            at.elapsed() < PASS_EVERY && *addresses == listening && *said == presence
        };
        if !self.passed.as_ref().is_some_and(is_same) {
            self.pass(&listening, presence).await;
            self.passed = Some((Instant::now(), listening, presence));
        }
    }

    /// Rooms of which something is to be said.
    fn waiting(&self) -> BTreeSet<RoomId> {
        let moved = self.rooms.iter().filter(|(_, spoken)| spoken.moved.is_some()).map(|(room, _)| *room);
        let wishes = self.manager.sharing.wishes.lock().unwrap_or_else(PoisonError::into_inner);
        moved.chain(wishes.keys().copied()).collect()
    }

    /// Whether we are in the room, and may speak.
    fn is_in(&self, view: &RoomView) -> bool {
        !view.row.left && view.state.user_of(self.manager.keys.device().id()).is_some()
    }

    async fn pass(&mut self, listening: &[String], presence: Presence) {
        let sweeps = self.swept.elapsed() > SWEEP_EVERY;
        if sweeps {
            self.swept = Instant::now();
        }
        let [public, others] = [RoomKind::Public, RoomKind::Members].map(|kind| hints::told(listening, kind));
        for (room, view) in self.manager.views.all() {
            if sweeps {
                self.manager.beacons.sweep(&view).await;
                self.move_room(room);
            }
            if !self.is_in(&view) {
                continue;
            }
            let is_public = view.row.kind == RoomKind::Public;
            self.say_unless_said(&view, Signal::Addresses(if is_public { &public } else { &others }.clone())).await;
            if self.manager.sharing.presence && !is_public {
                self.say_unless_said(&view, Signal::Presence(presence)).await;
            }
        }
    }

    /// Says what we hold, once it is quiet or has moved for long, and once everything of it is on disk.
    async fn say_holds(&mut self, room: RoomId, view: &RoomView) {
        let pace = pace(view);
        let Some(Spoken { moved: Some((since, last)), holds, .. }) = self.rooms.get(&room) else { return };
        let is_due = last.elapsed() >= QUIET || since.elapsed() >= pace;
        if !is_due || holds.is_some_and(|said| said.elapsed() < pace) {
            return;
        }
        // Whatever fills a hole is news, and brings us here again.
        self.rooms.entry(room).or_default().moved = None;
        if is_alone(view) && view.state.erased.is_empty() && !self.said_durable(room) {
            return;
        }
        // Only where nothing is missing below what we hold does a receipt say all that it seems to say. What nobody could give
        // us for long is not waited for: by naming what is not there one member would end the receipts of all.
        let since_ms = now_ms().saturating_sub(GAP_COUNTS_MS);
        let is_trimmed = !matches!(self.manager.store.keep(view.number), Ok(keep) if keep.since == 0);
        let lacks = tokio::task::block_in_place(|| self.node.lacks_nothing_since(view, since_ms));
        let durable = matches!(lacks, Ok(true)) && !is_trimmed;
        // What was said before something was purged or trimmed here is true no more, and has to be taken back.
        let is_less = is_trimmed || matches!(self.manager.store.lacks_words(view.number), Ok(true));
        let takes_back = is_less && self.said_durable(room);
        // Whoever has erased something waits for our word on that, whatever is missing here.
        if !durable && !takes_back && view.state.erased.is_empty() {
            return;
        }
        let Some(digests) = self.digest(view).await else { return };
        // By a view that is no older than what was just named: none of its erasures may be passed over.
        let Some(view) = &self.manager.views.find(room) else { return };
        let erased = erasing::told(&self.held.store, view);
        let signal = Signal::Holds { control: digests.control, content: digests.content, durable, erased };
        if !self.is_to_be_said(view, &signal) {
            return;
        }
        // What was read may be committed and not on disk yet; then it is no receipt.
        self.rooms.entry(room).or_default().holds = Some(Instant::now());
        let (reply, synced) = oneshot::channel();
        let asked = self.manager.commands.send(Command::Sync(reply)).await.is_ok();
        if !asked || !matches!(synced.await, Ok(Ok(()))) {
            return self.move_room(room);
        }
        say(&self.manager, view, signal).await;
    }

    /// Whether this device's word stands that it holds all.
    fn said_durable(&self, room: RoomId) -> bool {
        let said = self.manager.beacons.said(room, self.manager.keys.device().id(), kind::HOLDS);
        matches!(said, Some((_, Signal::Holds { durable: true, .. })))
    }

    async fn say_read(&mut self, room: RoomId, view: &RoomView) {
        let spoken = self.rooms.entry(room).or_default();
        if spoken.read.is_some_and(|said| said.elapsed() < pace(view).min(READ_PACE_MAX)) {
            return;
        }
        let wish = self.manager.sharing.wishes.lock().unwrap_or_else(PoisonError::into_inner).remove(&room);
        let Some((event, at)) = wish else { return };
        let before = self.manager.beacons.said(room, self.manager.keys.device().id(), kind::READ);
        // Never back, whatever else moves the marker.
        if !matches!(before, Some((_, Signal::Read { at: said, .. })) if said >= at) {
            spoken.read = Some(Instant::now());
            say(&self.manager, view, Signal::Read { event, at }).await;
        }
    }

    async fn say_unless_said(&self, view: &RoomView, signal: Signal) {
        if self.is_to_be_said(view, &signal) {
            say(&self.manager, view, signal).await;
        }
    }

    /// Whether it is something else than what was said last, or that will be forgotten soon.
    fn is_to_be_said(&self, view: &RoomView, signal: &Signal) -> bool {
        let said = self.manager.beacons.said(view.row.room, self.manager.keys.device().id(), signal.kind());
        let again_ms = match signal {
            Signal::Presence(Presence::Online) => ONLINE_AGAIN_MS,
            _ => SAY_AGAIN_MS,
        };
        match (said, signal) {
            // Nothing to say, and nothing to take back.
            (None, Signal::Addresses(none)) if none.is_empty() => false,
            (None, Signal::Presence(Presence::Away)) => false,
            (None, _) => true,
            (Some((hlc, said)), _) => said != *signal || now_ms().saturating_sub(hlc.ms()) > again_ms,
        }
    }
}

impl Beacons {
    fn hold(&self, room: RoomId, ours: &Digests, number: u64) -> Vec<(DeviceId, Reached)> {
        let mut rooms = self.lock();
        let of_room = rooms.entry(room).or_default();
        of_room.receipts.hold(ours, number, &of_room.slots)
    }

    /// Whether a digest of control and one of content are among those that we lately had: whoever has it holds nothing that
    /// we lack.
    pub(crate) fn had(&self, room: RoomId, control: &[u8; 32], content: &[u8; 32]) -> (bool, bool) {
        self.lock().get(&room).map_or((false, false), |of_room| of_room.receipts.had(control, content))
    }

    fn said_here(&self, room: RoomId, number: u64, id: EventId) {
        self.lock().entry(room).or_default().receipts.say(number, id);
    }

    fn said_between(&self, room: RoomId, above: u64, number: u64) -> Vec<EventId> {
        self.lock().get(&room).map(|of_room| of_room.receipts.said_between(above, number)).unwrap_or_default()
    }

    fn reached_by(&self, room: RoomId, device: DeviceId) -> Option<u64> {
        self.lock().get(&room)?.receipts.reached.get(&device).map(|reached| reached.held)
    }
}

/// How many devices a room has: all of them may speak.
pub(super) fn devices(view: &RoomView) -> usize {
    view.state.members.values().map(|member| member.devices.len()).sum()
}

/// Whether nobody is there to whom a receipt would say anything. Whoever comes changes the room, and is told then.
fn is_alone(view: &RoomView) -> bool {
    devices(view) <= 1
}

/// How long a device waits until it says the same kind of thing again: all of a room together say at most ten a second.
fn pace(view: &RoomView) -> Duration {
    PACE_MIN.max(Duration::from_millis(100) * u32::try_from(devices(view)).unwrap_or(u32::MAX))
}

/// A gap younger than this stands against receipts: whoever has what is missing is likely to come within it.
const GAP_COUNTS_MS: u64 = 60 * 60 * 1000;
/// How often it is looked whether there is something to say.
const TICK: Duration = Duration::from_millis(250);
/// All rooms are looked at so often, also when nothing has moved.
const PASS_EVERY: Duration = Duration::from_secs(5);
/// What we hold is looked at so often at most while messages come.
const DIGEST_EVERY: Duration = Duration::from_millis(20);
/// What we hold is said when nothing has moved for so long.
const QUIET: Duration = Duration::from_millis(500);
/// At most so often, and in larger rooms less often.
const PACE_MIN: Duration = Duration::from_secs(2);
/// Somebody who waits for being read waits no longer than this.
const READ_PACE_MAX: Duration = Duration::from_secs(60);
/// That one is there is said again after this: well before it is doubted.
const ONLINE_AGAIN_MS: u64 = 4 * 60 * 1000;
/// All else is said again after three of the seven days.
const SAY_AGAIN_MS: u64 = 3 * 24 * 60 * 60 * 1000;
/// What is a week old goes, at most an hour late.
const SWEEP_EVERY: Duration = Duration::from_secs(60 * 60);
/// Rooms in which each new message is worth a digest; in larger ones it is made when we say what we hold.
const SMALL_ROOM_DEVICES: usize = 64;

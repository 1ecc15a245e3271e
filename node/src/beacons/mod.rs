//! The beacons of all rooms, in memory; what is kept of them is written behind. They come by the sync conversation, or
//! are said here (`say`, `sharing`); `receipts` reads off them who has what we said, `hints` where others' nodes are,
//! `marks` who has read what, who types, who is there.

mod hints;
mod marks;
mod receipts;
mod say;
mod sharing;

pub(crate) use hints::{may_dial, own_addresses};
pub use receipts::{Change, NOTHING_WAITS};
pub use say::run;
pub use sharing::Sharing;

use crate::clock::now_ms;
use crate::command::Command;
use crate::rooms::RoomView;
use receipts::Receipts;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tidings_protocol::beacon::{BeaconError, Signal, SignedBeacon, VerifiedBeacon, kind};
use tidings_protocol::id::{DeviceId, RoomId, UserId};
use tidings_protocol::slots::{SlotKey, Slots, Taken, Weighed};
use tidings_storage::{Reached, RoomNumber, StorageError, Store};
use tokio::sync::{broadcast, mpsc};

/// The beacons of all rooms. Cloning shares them.
#[derive(Clone)]
pub struct Beacons {
    rooms: Arc<Mutex<HashMap<RoomId, RoomBeacons>>>,
    news: broadcast::Sender<Arc<News>>,
    commands: mpsc::Sender<Command>,
}

/// Slots that have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// In which room.
    pub room: RoomId,
    /// Who told us; nobody, if it was said here.
    pub from: Option<Vec<u8>>,
    /// Which.
    pub keys: Vec<SlotKey>,
}

/// What is known of one room.
#[derive(Default)]
struct RoomBeacons {
    slots: Slots,
    /// Of what is kept, until that changes.
    fingerprint: Option<[u8; 32]>,
    /// Of devices that our control events do not know yet: they may be on their way. Not verified, not passed on.
    early: VecDeque<SignedBeacon>,
    receipts: Receipts,
}

impl Beacons {
    /// Those that the store has kept.
    ///
    /// # Errors
    /// `StorageError`.
    pub fn load(store: &Store, commands: mpsc::Sender<Command>) -> Result<Self, StorageError> {
        let mut rooms = HashMap::new();
        for (number, row) in store.rooms()? {
            let mut of_room = RoomBeacons::default();
            for beacon in store.beacons(number, row.room)? {
                of_room.slots.take(beacon);
            }
            of_room.receipts.reached = store.reached(number)?.into_iter().collect();
            rooms.insert(row.room, of_room);
        }
        Ok(Beacons { rooms: Arc::new(Mutex::new(rooms)), news: broadcast::channel(NEWS_MAX).0, commands })
    }

    /// Tells of slots that change.
    pub fn news(&self) -> broadcast::Receiver<Arc<News>> {
        self.news.subscribe()
    }

    /// Takes what a peer told. What is old, too far ahead, or of nobody in the room is passed over.
    ///
    /// # Errors
    /// `BeaconError`: one of them is false.
    pub async fn hear(&self, view: &RoomView, from: &[u8], told: Vec<SignedBeacon>) -> Result<(), BeaconError> {
        let taken = tokio::task::block_in_place(|| self.judge(view, told))?;
        self.told(view, taken, Some(from.to_vec())).await;
        Ok(())
    }

    fn judge(&self, view: &RoomView, told: Vec<SignedBeacon>) -> Result<Judged, BeaconError> {
        let (room, now_ms) = (view.row.room, now_ms());
        let current = Current::of(view, told.len());
        let mut worth = Vec::new();
        {
            let mut rooms = self.lock();
            let of_room = rooms.entry(room).or_default();
            for beacon in told {
                match (of_room.slots.weigh(&beacon, now_ms), current.has(beacon.device)) {
                    (Weighed::New, true) => worth.push(beacon),
                    (Weighed::New, false) => of_room.wait(beacon),
                    _ => {}
                }
            }
        }
        // The costly part, without the lock.
        let verified: Result<Vec<_>, _> = worth.into_iter().map(|beacon| beacon.verify(room)).collect();
        Ok(self.take(view, verified?))
    }

    /// Takes verified beacons of current devices.
    fn take(&self, view: &RoomView, beacons: Vec<VerifiedBeacon>) -> Judged {
        let mut judged = Judged::default();
        let mut rooms = self.lock();
        let of_room = rooms.entry(view.row.room).or_default();
        for beacon in beacons {
            let key = (beacon.signed().device, beacon.signed().kind);
            if let Taken::New(gone) = of_room.slots.take(beacon) {
                judged.new.insert(key);
                judged.new.retain(|key| !gone.contains(key));
                judged.gone.extend(gone);
            }
        }
        judged.put = judged.new.iter().filter_map(|key| of_room.find(*key)).collect();
        judged.put.retain(|beacon| kind::is_kept(beacon.kind));
        if !judged.put.is_empty() || !judged.gone.is_empty() {
            of_room.fingerprint = None;
        }
        judged.reached = of_room.receipts.read(&of_room.slots, &judged.new);
        judged
    }

    /// Tells of what is new, and has it written.
    async fn told(&self, view: &RoomView, judged: Judged, from: Option<Vec<u8>>) {
        let Judged { new, put, gone, reached } = judged;
        if !(put.is_empty() && gone.is_empty() && reached.is_empty()) {
            self.keep(Change { room: view.number, put, gone, reached }).await;
        }
        if !new.is_empty() {
            let keys = new.into_iter().collect();
            let _ = self.news.send(Arc::new(News { room: view.row.room, from, keys }));
        }
    }

    async fn keep(&self, change: Change) {
        // The writer is gone when the node stops: what is not written is told again by others.
        drop(self.commands.send(Command::Beacons(change)).await);
    }

    /// Brings a room's slots in line with its control events and the time: those of devices that are no member's go, and
    /// what came too early is looked at again.
    pub async fn sweep(&self, view: &RoomView) {
        let current = Current::of(view, usize::MAX);
        let (gone, early) = {
            let mut rooms = self.lock();
            let of_room = rooms.entry(view.row.room).or_default();
            let gone = of_room.slots.sweep(|device| current.has(device), now_ms());
            if !gone.is_empty() {
                of_room.fingerprint = None;
            }
            let early: Vec<SignedBeacon> =
                of_room.early.iter().filter(|beacon| current.has(beacon.device)).cloned().collect();
            of_room.early.retain(|beacon| !current.has(beacon.device));
            (gone, early)
        };
        if !gone.is_empty() {
            self.keep(Change { room: view.number, gone, ..Change::none(view.number) }).await;
        }
        for beacon in early {
            // A false one is passed over: who told it may be gone long since.
            if let Ok(judged) = tokio::task::block_in_place(|| self.judge(view, vec![beacon])) {
                self.told(view, judged, None).await;
            }
        }
    }

    /// What is in these slots now, as far as it is still worth telling.
    pub fn find(&self, room: RoomId, keys: &[SlotKey]) -> Vec<SignedBeacon> {
        let rooms = self.lock();
        let Some(of_room) = rooms.get(&room) else { return Vec::new() };
        keys.iter().filter_map(|key| of_room.find(*key)).collect()
    }

    /// Slots of the moment that still say something: whoever comes learns of them, too.
    pub fn of_the_moment(&self, room: RoomId) -> Vec<SlotKey> {
        let (rooms, now_ms) = (self.lock(), now_ms());
        let slots = rooms.get(&room).into_iter().flat_map(|of_room| of_room.slots.iter());
        let is_now = |held: &&VerifiedBeacon| match held.signal() {
            Signal::Typing { until_ms } => *until_ms > now_ms,
            _ => !kind::is_kept(held.signed().kind),
        };
        slots.filter(is_now).map(|held| (held.signed().device, held.signed().kind)).collect()
    }

    /// The beacons that are kept, the newest first.
    pub fn kept(&self, room: RoomId) -> Vec<SignedBeacon> {
        self.lock().get(&room).map(|of_room| of_room.slots.kept()).unwrap_or_default()
    }

    /// One hash over them.
    pub fn fingerprint(&self, room: RoomId) -> [u8; 32] {
        let mut rooms = self.lock();
        let of_room = rooms.entry(room).or_default();
        *of_room.fingerprint.get_or_insert_with(|| of_room.slots.fingerprint())
    }

    /// Forgets a room that is here no more.
    pub(crate) fn forget(&self, room: RoomId) {
        self.lock().remove(&room);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RoomId, RoomBeacons>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RoomBeacons {
    fn find(&self, (device, kind): SlotKey) -> Option<SignedBeacon> {
        self.slots.find(device, kind).map(|held| held.signed().clone())
    }

    fn wait(&mut self, beacon: SignedBeacon) {
        let is_same = |other: &SignedBeacon| (other.device, other.kind) == (beacon.device, beacon.kind);
        if self.early.iter().any(|other| is_same(other) && !beacon.replaces(other)) {
            return;
        }
        self.early.retain(|other| !is_same(other));
        if self.early.len() >= EARLY_MAX {
            self.early.pop_front();
        }
        self.early.push_back(beacon);
    }
}

/// What came of some beacons.
#[derive(Default)]
struct Judged {
    new: BTreeSet<SlotKey>,
    put: Vec<SignedBeacon>,
    gone: Vec<SlotKey>,
    reached: Vec<(DeviceId, Reached)>,
}

/// Which devices are members', for a few questions or for many.
enum Current<'v> {
    Few(&'v RoomView),
    Many(BTreeMap<DeviceId, UserId>),
}

impl<'v> Current<'v> {
    fn of(view: &'v RoomView, questions: usize) -> Self {
        if questions <= FEW { Current::Few(view) } else { Current::Many(users(view)) }
    }

    fn has(&self, device: DeviceId) -> bool {
        match self {
            Current::Few(view) => view.state.user_of(device).is_some(),
            Current::Many(devices) => devices.contains_key(&device),
        }
    }
}

/// Whose each current device of a room is.
fn users(view: &RoomView) -> BTreeMap<DeviceId, UserId> {
    let members = view.state.members.iter();
    members.flat_map(|(user, member)| member.devices.iter().map(|device| (*device, *user))).collect()
}

impl Change {
    fn none(room: RoomNumber) -> Change {
        Change { room, put: Vec::new(), gone: Vec::new(), reached: Vec::new() }
    }
}

/// News that a slow listener may still learn of; what it misses, the next Check finds.
const NEWS_MAX: usize = 1024;
/// Beacons of a room that may wait for a device to become known: at about 200 bytes, a few joins at once.
const EARLY_MAX: usize = 32;
/// Questions up to which looking through the members is cheaper than sorting their devices.
const FEW: usize = 8;

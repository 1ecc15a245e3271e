//! Rooms in memory: control events and what follows from them. The writer changes them; everybody else reads views that
//! are exchanged whole, so that a reader never sees half a change.

use crate::purge::Purges;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
use tidings_protocol::control::decide::Settled;
use tidings_protocol::control::payload::ControlEvent;
use tidings_protocol::control::set::ControlSet;
use tidings_protocol::control::state::RoomState;
use tidings_protocol::event::{Class, Hlc};
use tidings_protocol::id::{EventId, RoomId, UserId};
use tidings_protocol::log::{Log, Tip};
use tidings_protocol::wire::Head;
use tidings_storage::{Batch, RoomNumber, RoomRow, StorageError, Store};

/// A room as readers see it: of one moment.
#[derive(Debug, Clone)]
pub struct RoomView {
    /// Its number in the store.
    pub number: RoomNumber,
    /// What is local of it.
    pub row: RoomRow,
    /// What follows from its control events.
    pub state: Arc<RoomState>,
    /// The control events that count and that no other such names as its predecessor.
    pub control_heads: Arc<Vec<Head>>,
    /// Whether its genesis is here.
    pub has_genesis: bool,
}

/// The views of all rooms.
#[derive(Debug, Clone, Default)]
pub struct Views(Arc<RwLock<HashMap<RoomId, Arc<RoomView>>>>);

impl Views {
    /// A room's view.
    pub fn find(&self, room: RoomId) -> Option<Arc<RoomView>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&room).cloned()
    }

    /// The self-room of a user, where it is held: nobody but its Genesis says whose it is.
    pub fn home_of(&self, user: UserId) -> Option<Arc<RoomView>> {
        let views = self.0.read().unwrap_or_else(PoisonError::into_inner);
        views.values().find(|view| view.row.home_of == Some(user) && view.has_genesis).cloned()
    }

    /// Every room's view, by id.
    pub fn all(&self) -> Vec<(RoomId, Arc<RoomView>)> {
        let views = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let sorted: BTreeMap<RoomId, Arc<RoomView>> = views.iter().map(|(id, view)| (*id, view.clone())).collect();
        sorted.into_iter().collect()
    }

    fn remove(&self, room: RoomId) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(&room);
    }

    fn put(&self, room: RoomId, view: RoomView) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(room, Arc::new(view));
    }
}

/// A room as the writer has it.
pub struct LiveRoom {
    /// Its number in the store.
    pub number: RoomNumber,
    /// Every control event held.
    pub control: ControlSet,
    /// What follows from them.
    pub state: Arc<RoomState>,
    /// What others are told of the control logs; nothing while that has to be found anew.
    heads: Option<Arc<Vec<Head>>>,
    /// Clocks of control events, for heads.
    clocks: HashMap<EventId, Hlc>,
}

/// All rooms of the writer.
pub struct Rooms {
    live: HashMap<RoomId, LiveRoom>,
    views: Views,
    /// Rooms whose view is not what the writer has.
    stale: BTreeSet<RoomId>,
    /// What this node's operator does not want.
    pub purges: Purges,
    /// How much of followed self-rooms was taken, by the name of the note that keeps it, where that is known.
    pub(crate) taken: HashMap<String, u64>,
}

impl Rooms {
    /// Loads every room of the store and shows it.
    ///
    /// # Errors
    /// `StorageError`.
    pub fn load(store: &Store, views: Views) -> Result<Self, StorageError> {
        let (purges, taken) = (Purges::default(), HashMap::new());
        let mut rooms = Rooms { live: HashMap::new(), views, stale: BTreeSet::new(), purges, taken };
        rooms.reload(store)?;
        Ok(rooms)
    }

    /// Goes back to what the store has.
    ///
    /// # Errors
    /// `StorageError`.
    pub fn reload(&mut self, store: &Store) -> Result<(), StorageError> {
        self.live.clear();
        self.stale.clear();
        self.purges = Purges::load(store)?;
        self.taken.clear();
        for (number, row) in store.rooms()? {
            let control = store.control_set(number, row.room)?;
            let mut clocks = HashMap::new();
            for (_, held) in store.logs(number, Class::Control)? {
                for tip in held.state.tips() {
                    clocks.insert(tip.id, held.hlc);
                }
            }
            let room = row.room;
            self.live.insert(room, LiveRoom::new(number, control, clocks));
            self.show(room, row);
        }
        Ok(())
    }

    /// The ids of all rooms.
    pub fn ids(&self) -> Vec<RoomId> {
        self.live.keys().copied().collect()
    }

    /// A room.
    pub fn find(&self, room: RoomId) -> Option<&LiveRoom> {
        self.live.get(&room)
    }

    /// Makes a room known that has no events yet.
    pub fn add(&mut self, room: RoomId, number: RoomNumber) {
        self.live.insert(room, LiveRoom::new(number, ControlSet::new(room), HashMap::new()));
        self.stale.insert(room);
    }

    /// The room of a number in the store.
    pub fn of_number(&self, number: RoomNumber) -> Option<RoomId> {
        self.live.iter().find(|(_, live)| live.number == number).map(|(room, _)| *room)
    }

    /// Makes a room unknown.
    pub fn remove(&mut self, room: RoomId) {
        self.live.remove(&room);
        self.stale.remove(&room);
        self.views.remove(room);
    }

    /// Takes a control event in and decides what it changes.
    pub fn insert(&mut self, room: RoomId, event: ControlEvent, hlc: Hlc) -> Settled {
        let Some(live) = self.live.get_mut(&room) else { return Settled::default() };
        self.stale.insert(room);
        live.clocks.insert(event.id, hlc);
        live.heads = None;
        live.control.insert(event);
        let settled = live.control.settle();
        live.state = Arc::new(live.control.state().clone());
        settled
    }

    /// Notes that readers have to see a room anew.
    pub fn changed(&mut self, room: RoomId) {
        self.stale.insert(room);
    }

    /// The rooms whose readers have to see them anew, with their rows as the batch leaves them; `show` each after commit.
    ///
    /// # Errors
    /// `StorageError`.
    pub fn take_stale(&mut self, batch: &Batch<'_>) -> Result<Vec<(RoomId, RoomRow)>, StorageError> {
        let mut out = Vec::new();
        for room in std::mem::take(&mut self.stale) {
            if let Some(live) = self.live.get(&room) {
                out.push((room, batch.room(live.number)?));
            }
        }
        Ok(out)
    }

    /// Lets readers see a room as it is now.
    pub fn show(&mut self, room: RoomId, row: RoomRow) {
        let Some(live) = self.live.get_mut(&room) else { return };
        let view = RoomView {
            number: live.number,
            row,
            state: live.state.clone(),
            control_heads: live.control_heads(),
            has_genesis: live.control.genesis().is_some() || live.state.needs_newer,
        };
        self.views.put(room, view);
    }
}

impl LiveRoom {
    fn new(number: RoomNumber, control: ControlSet, clocks: HashMap<EventId, Hlc>) -> Self {
        let state = Arc::new(control.state().clone());
        LiveRoom { number, control, state, heads: None, clocks }
    }

    /// What others are told of the control logs.
    fn control_heads(&mut self) -> Arc<Vec<Head>> {
        if let Some(heads) = &self.heads {
            return heads.clone();
        }
        let heads = self.control.heads().into_iter().map(|(log, tip)| self.head(log, tip));
        let heads = Arc::new(heads.collect::<Vec<_>>());
        self.heads = Some(heads.clone());
        heads
    }

    fn head(&self, log: Log, tip: Tip) -> Head {
        let hlc = self.clocks.get(&tip.id).copied().unwrap_or(Hlc(0));
        Head { author: log.author, grant: log.grant, tip, hlc }
    }
}

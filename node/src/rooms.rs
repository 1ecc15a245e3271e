//! Rooms in memory: control events and what follows from them. The writer changes them; everybody else reads views that
//! are exchanged whole, so that a reader never sees half a change.

use crate::inbox::tally::Tally;
use crate::purge::Purges;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tidings_protocol::control::decide::Settled;
use tidings_protocol::control::payload::ControlEvent;
use tidings_protocol::control::set::ControlSet;
use tidings_protocol::control::state::RoomState;
use tidings_protocol::event::{Class, Hlc};
use tidings_protocol::id::{EventId, RoomId, UserId};
use tidings_protocol::log::{Log, Tip};
use tidings_protocol::wire::Head;
use tidings_storage::{Batch, RoomNumber, RoomRow, StorageError, Store, Summary};

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
    /// What the room list says of it.
    pub summary: Summary,
    /// Control events of it are lost, and nobody was found since to have no others.
    pub unsure: bool,
}

/// The views of all rooms.
#[derive(Debug, Clone, Default)]
pub struct Views(Arc<RwLock<Shelf>>);

/// The views, and what they are looked for by: a message must cost the same whatever the number of rooms.
#[derive(Debug, Default)]
struct Shelf {
    rooms: HashMap<RoomId, Arc<RoomView>>,
    aliases: HashMap<String, RoomId>,
    /// Rooms that are said to be a user's self-room.
    homes: BTreeSet<(UserId, RoomId)>,
}

impl Shelf {
    fn take(&mut self, room: RoomId) {
        let Some(view) = self.rooms.remove(&room) else { return };
        // Rooms may swap their names: it may be another's by now.
        if self.aliases.get(&view.row.alias) == Some(&room) {
            self.aliases.remove(&view.row.alias);
        }
        if let Some(user) = view.row.home_of {
            self.homes.remove(&(user, room));
        }
    }

    fn put(&mut self, room: RoomId, view: RoomView) {
        self.take(room);
        if !view.row.alias.is_empty() {
            self.aliases.insert(view.row.alias.clone(), room);
        }
        self.homes.extend(view.row.home_of.map(|user| (user, room)));
        self.rooms.insert(room, Arc::new(view));
    }
}

impl Views {
    /// A room's view.
    pub fn find(&self, room: RoomId) -> Option<Arc<RoomView>> {
        self.read().rooms.get(&room).cloned()
    }

    /// The room that this node calls so.
    pub fn of_alias(&self, alias: &str) -> Option<(RoomId, Arc<RoomView>)> {
        let shelf = self.read();
        let room = shelf.aliases.get(alias)?;
        Some((*room, shelf.rooms.get(room)?.clone()))
    }

    /// The self-room of a user, where it is held: nobody but its Genesis says whose it is.
    pub fn home_of(&self, user: UserId) -> Option<Arc<RoomView>> {
        let shelf = self.read();
        let said = shelf.homes.range((user, RoomId([0; 32]))..=(user, RoomId([0xff; 32])));
        let mut views = said.filter_map(|(_, room)| shelf.rooms.get(room));
        views.find(|view| view.has_genesis).cloned()
    }

    /// How many rooms there are.
    pub fn len(&self) -> usize {
        self.read().rooms.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every room's view, by id.
    pub fn all(&self) -> Vec<(RoomId, Arc<RoomView>)> {
        let mut all: Vec<_> = self.read().rooms.iter().map(|(id, view)| (*id, view.clone())).collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all
    }

    fn remove(&self, room: RoomId) {
        self.write().take(room);
    }

    fn put(&self, room: RoomId, view: RoomView) {
        self.write().put(room, view);
    }

    fn read(&self) -> RwLockReadGuard<'_, Shelf> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Shelf> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
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
    /// What the room list says of it.
    pub summary: Summary,
    /// The same as the store has it.
    kept: Option<Summary>,
}

/// All rooms of the writer.
pub struct Rooms {
    live: HashMap<RoomId, LiveRoom>,
    numbers: HashMap<RoomNumber, RoomId>,
    views: Views,
    /// Rooms of which control events are lost.
    unsure: BTreeSet<RoomNumber>,
    /// Rooms whose view is not what the writer has.
    stale: BTreeSet<RoomId>,
    /// What this node's operator does not want.
    pub purges: Purges,
    /// How much of followed self-rooms was taken, by the name of the note that keeps it, where that is known.
    pub(crate) taken: HashMap<String, u64>,
    /// What is summed up of unread messages, mentions and threads.
    pub(crate) tally: Tally,
}

impl Rooms {
    /// Loads every room of the store and shows it.
    ///
    /// # Errors
    /// `StorageError`.
    pub fn load(store: &Store, views: Views) -> Result<Self, StorageError> {
        Self::load_for(store, views, None)
    }

    /// The same, for this user to come back to.
    ///
    /// # Errors
    /// `StorageError`.
    pub fn load_for(store: &Store, views: Views, user: Option<UserId>) -> Result<Self, StorageError> {
        let (purges, taken, tally) = (Purges::default(), HashMap::new(), Tally::load(store, user)?);
        let (live, numbers) = (HashMap::new(), HashMap::new());
        let (unsure, stale) = (BTreeSet::new(), BTreeSet::new());
        let mut rooms = Rooms { live, numbers, views, unsure, stale, purges, taken, tally };
        rooms.reload(store)?;
        Ok(rooms)
    }

    /// Goes back to what the store has.
    ///
    /// # Errors
    /// `StorageError`.
    pub fn reload(&mut self, store: &Store) -> Result<(), StorageError> {
        self.live.clear();
        self.numbers.clear();
        self.stale.clear();
        self.unsure = store.unsure_rooms()?;
        self.purges = Purges::load(store)?;
        self.taken.clear();
        self.tally = Tally::load(store, self.tally.user())?;
        let summaries: HashMap<RoomNumber, Summary> = store.summaries()?.into_iter().collect();
        for (number, row) in store.rooms()? {
            let control = store.control_set(number, row.room)?;
            let mut clocks = HashMap::new();
            for (_, held) in store.logs(number, Class::Control)? {
                for tip in held.state.tips() {
                    clocks.insert(tip.id, held.hlc);
                }
            }
            let room = row.room;
            let kept = summaries.get(&number).copied();
            let live = LiveRoom::new(number, control, clocks);
            self.live.insert(room, LiveRoom { summary: kept.unwrap_or_default(), kept, ..live });
            self.numbers.insert(number, room);
            self.put_view(room, row);
        }
        self.tally.look_for_ended(&self.views);
        Ok(())
    }

    /// What readers see.
    pub fn views(&self) -> &Views {
        &self.views
    }

    /// Takes what the room list says of a room from now on.
    pub(crate) fn set_summary(&mut self, room: RoomId, summary: Summary) {
        if let Some(live) = self.live.get_mut(&room).filter(|live| live.summary != summary) {
            live.summary = summary;
            self.stale.insert(room);
        }
    }

    /// A room as readers see it.
    pub fn view(&self, room: RoomId) -> Option<Arc<RoomView>> {
        self.views.find(room)
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
        self.numbers.insert(number, room);
        self.stale.insert(room);
    }

    /// The room of a number in the store.
    pub fn of_number(&self, number: RoomNumber) -> Option<RoomId> {
        self.numbers.get(&number).copied()
    }

    /// Makes a room unknown.
    pub fn remove(&mut self, room: RoomId) {
        if let Some(live) = self.live.remove(&room) {
            self.numbers.remove(&live.number);
        }
        self.stale.remove(&room);
        self.tally.uncounted.remove(&room);
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

    /// Whether control events of a room are lost.
    pub(crate) fn is_unsure(&self, room: RoomId) -> bool {
        self.live.get(&room).is_some_and(|live| self.unsure.contains(&live.number))
    }

    /// Somebody was found to hold the control events of a room that are here, and no others.
    pub(crate) fn set_sure(&mut self, room: RoomId) {
        if let Some(live) = self.live.get(&room) {
            self.unsure.remove(&live.number);
            self.stale.insert(room);
        }
    }

    /// Notes that readers have to see a room anew.
    pub fn changed(&mut self, room: RoomId) {
        self.stale.insert(room);
    }

    /// The rooms whose readers have to see them anew, with their rows as the batch leaves them; `show` each after commit.
    ///
    /// # Errors
    /// `StorageError`.
    pub fn take_stale(&mut self, batch: &mut Batch<'_>) -> Result<Vec<(RoomId, RoomRow)>, StorageError> {
        let mut out = Vec::new();
        for room in std::mem::take(&mut self.stale) {
            if let Some(live) = self.live.get_mut(&room) {
                if live.kept != Some(live.summary) {
                    batch.put_summary(live.number, &live.summary)?;
                    live.kept = Some(live.summary);
                }
                out.push((room, batch.room(live.number)?));
            }
        }
        self.tally.settle();
        Ok(out)
    }

    /// Lets readers see a room as it is now.
    pub fn show(&mut self, room: RoomId, row: RoomRow) {
        let state = |views: &Views| views.find(room).map(|view| view.state.clone());
        let (before, of_user) = (state(&self.views), row.home_of.is_some());
        self.put_view(room, row);
        let is_same = matches!((before, state(&self.views)), (Some(a), Some(b)) if Arc::ptr_eq(&a, &b));
        if of_user && !is_same {
            self.tally.look_for_ended(&self.views);
        }
    }

    fn put_view(&mut self, room: RoomId, row: RoomRow) {
        let Some(live) = self.live.get_mut(&room) else { return };
        let view = RoomView {
            number: live.number,
            row,
            state: live.state.clone(),
            control_heads: live.control_heads(),
            has_genesis: live.control.genesis().is_some() || live.state.needs_newer,
            summary: live.summary,
            unsure: self.unsure.contains(&live.number),
        };
        match view.summary.stale {
            true => self.tally.uncounted.insert(room),
            false => self.tally.uncounted.remove(&room),
        };
        self.views.put(room, view);
    }
}

impl LiveRoom {
    fn new(number: RoomNumber, control: ControlSet, clocks: HashMap<EventId, Hlc>) -> Self {
        let state = Arc::new(control.state().clone());
        LiveRoom { number, control, state, heads: None, clocks, summary: Summary::default(), kept: None }
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

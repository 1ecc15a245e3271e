//! The one loop that writes the store: takes commands, puts many into one batch, commits, and only then answers and tells.

#[cfg(test)]
mod by_hand;
mod erasures;

use crate::clock::{Clock, now_ms};
use crate::command::{Command, Reply};
use crate::inbox::tally;
use crate::ingest::{Admitted, Verdict};
use crate::keys::Keys;
use crate::local;
use crate::refusal::Refusal;
use crate::rooms::{Rooms, Views};
use crate::trim::Budget;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use thiserror::Error;
use tidings_protocol::control::payload::Erase;
use tidings_protocol::event::{Hlc, VerifiedEvent};
use tidings_protocol::id::{EventId, RoomId};
use tidings_protocol::log::Log;
use tidings_storage::{Batch, Durability, StorageError, Writer};
use tokio::sync::{broadcast, mpsc, oneshot};

/// Where events come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Said here.
    Local,
    /// A peer told us of it as it happened: durable before we tell anybody.
    Live(Vec<u8>),
    /// History that a peer gave us; synced every 100 ms.
    Bulk(Vec<u8>),
}

/// Why a command was not carried out.
#[derive(Debug, Error)]
pub enum WriteError {
    /// The store failed; the node is stopping.
    #[error("the store failed, the node is stopping: see its log")]
    Stopping,
    /// The disk is full; nothing was written.
    #[error("the disk is full: nothing was written")]
    DiskFull,
    /// The disk budget is used up, and nothing more can be trimmed; nothing was written.
    #[error(
        "the disk budget of {max} bytes (disk_max_bytes) is used up and nothing more can go: raise it, or let rooms keep less"
    )]
    Budget {
        /// The budget.
        max: u64,
    },
    /// It may not be done, or makes no sense; nothing was written.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// Something is new in the store, durably.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The room.
    pub room: RoomId,
    /// Local numbers of new events, ascending.
    pub numbers: Vec<u64>,
    /// Whence.
    pub origin: Origin,
    /// The room's control state or local record changed.
    pub room_changed: bool,
    /// Messages that look different though nothing of them is new.
    pub changed: Vec<EventId>,
    /// Messages came or went because others count now: the room has to be read anew.
    pub turned: bool,
    /// What is new, where that is one event: many ask for it, and need not all read it.
    pub only: Option<Outline>,
}

/// What of an event is neither said nor signed.
#[derive(Debug, Clone, Copy)]
pub struct Outline {
    /// The log it stands in.
    pub log: Log,
    /// By class.
    pub kind: u16,
    /// Its time.
    pub hlc: Hlc,
}

/// The writer's state.
pub struct WriteLoop {
    pub(crate) store: Writer,
    pub(crate) rooms: Rooms,
    pub(crate) keys: Arc<Keys>,
    pub(crate) clock: Clock,
    /// Newest content of others, by room: cited as seen by what we say next.
    pub(crate) seen: HashMap<RoomId, VecDeque<EventId>>,
    /// What people should call us; empty until given.
    pub(crate) name: String,
    commands: mpsc::Receiver<Command>,
    stored: broadcast::Sender<Arc<Stored>>,
    unsynced: Unsynced,
    /// How long what is committed may wait for the disk.
    sync_every: Duration,
    /// The last write found no room: reading goes on, and every command tries again.
    is_full: bool,
    /// There was no room to take off what is erased: it is tried again as soon as anything is written.
    erases_late: bool,
    /// Rooms whose counting takes long, and until when it waits.
    pub(crate) rests: HashMap<RoomId, Instant>,
    /// What of the disk may be used.
    budget: Arc<Budget>,
    /// What came for a batch of its own while there was another.
    apart: Option<Command>,
}

/// What was committed and is not on disk yet: told once it is.
#[derive(Default)]
struct Unsynced {
    since: Option<Instant>,
    bytes: usize,
    notices: Vec<Stored>,
}

/// One round of the loop: what is done after its commit.
#[derive(Default)]
pub(crate) struct Round {
    /// Each is told whether the batch is committed; otherwise the disk was full.
    answers: Vec<Box<dyn FnOnce(bool) + Send>>,
    pub(crate) notices: Vec<Stored>,
    pub(crate) controlled: BTreeSet<RoomId>,
    /// Places of messages at which another Erase is in force than before, or none.
    erased: BTreeMap<RoomId, BTreeSet<Erase>>,
    /// Erasures whose time has come are to be looked for.
    due: bool,
    pub(crate) synced: bool,
    /// When the local user said something in a room, in this round: the store does not have it yet.
    pub(crate) said: HashMap<RoomId, Hlc>,
    stop: Option<oneshot::Sender<()>>,
}

impl WriteLoop {
    /// A writer of this store.
    ///
    /// # Errors
    /// `StorageError`.
    pub fn new(
        mut store: Writer,
        keys: Arc<Keys>,
        views: Views,
        commands: mpsc::Receiver<Command>,
        stored: broadcast::Sender<Arc<Stored>>,
        budget: Arc<Budget>,
    ) -> Result<Self, StorageError> {
        let mut rooms = Rooms::load_for(store.store(), views, Some(keys.user))?;
        tally::rebuild(&mut store, &mut rooms)?;
        let name = store.store().note(local::NAME_NOTE)?.unwrap_or_default();
        let mut clock = Clock::default();
        for seen in store.store().recent_clocks()? {
            clock.saw(seen);
        }
        Ok(WriteLoop {
            rooms,
            store,
            keys,
            clock,
            seen: HashMap::new(),
            name: String::from_utf8_lossy(&name).into_owned(),
            commands,
            stored,
            unsynced: Unsynced::default(),
            sync_every: SYNC_EVERY,
            is_full: false,
            erases_late: false,
            rests: HashMap::new(),
            budget,
            apart: None,
        })
    }

    /// Runs until told to stop, or until nobody can command it any more.
    ///
    /// # Errors
    /// `StorageError`: the process has to end; what was acknowledged is on disk.
    pub fn run(mut self, runtime: &tokio::runtime::Handle) -> Result<(), StorageError> {
        self.all_erasures()?;
        loop {
            while self.is_idle() && self.recount_some()? {}
            if let Some(apart) = self.apart.take() {
                if let Some(stopped) = self.round(apart)? {
                    self.sync()?;
                    let _ = stopped.send(());
                    return Ok(());
                }
                continue;
            }
            let until_sync = self.unsynced.since.map(|since| self.sync_every.saturating_sub(since.elapsed()));
            let wait = until_sync.into_iter().chain(self.until_recount()).min();
            let first = runtime.block_on(async {
                match wait {
                    Some(wait) => tokio::time::timeout(wait, self.commands.recv()).await.ok(),
                    None => Some(self.commands.recv().await),
                }
            });
            match first {
                None => self.sync()?,
                Some(None) => return self.sync(),
                Some(Some(command)) => {
                    if let Some(stopped) = self.round(command)? {
                        self.sync()?;
                        let _ = stopped.send(());
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Whether nothing waits to be done.
    fn is_idle(&self) -> bool {
        self.commands.is_empty() && self.unsynced.since.is_none_or(|since| since.elapsed() < self.sync_every)
    }

    /// Carries out the command and those that came meanwhile, all or none.
    fn round(&mut self, first: Command) -> Result<Option<oneshot::Sender<()>>, StorageError> {
        let mut round = Round::default();
        let written = self.write(first, &mut round);
        let bytes = written.as_ref().map_or(0, |bytes| *bytes);
        let is_committed = self.has_room(written.map(drop))?;
        if is_committed {
            self.committed(&mut round, bytes)?;
        } else {
            self.forget_round()?;
        }
        for answer in round.answers {
            answer(is_committed);
        }
        if is_committed {
            for (room, places) in &round.erased {
                self.erasures(*room, places)?;
            }
            if round.due {
                self.due_erasures()?;
            }
            if std::mem::take(&mut self.erases_late) {
                self.all_erasures()?;
            }
        }
        Ok(round.stop)
    }

    /// Whether a write went well; a full disk is no reason to end, for all that is held can still be read.
    pub(crate) fn has_room(&mut self, written: Result<(), StorageError>) -> Result<bool, StorageError> {
        let was_full = self.is_full;
        match written {
            Ok(()) => self.is_full = false,
            Err(StorageError::DiskFull(_)) => self.is_full = true,
            Err(other) => return Err(other),
        }
        match (was_full, self.is_full) {
            (false, true) => tracing::error!("the disk is full: reading goes on, writing waits for room"),
            (true, false) => tracing::warn!("the disk has room again"),
            _ => {}
        }
        Ok(!self.is_full)
    }

    /// What was decided in memory and not committed did not happen.
    pub(crate) fn forget_round(&mut self) -> Result<(), StorageError> {
        self.rooms.reload(self.store.store())?;
        let name = self.store.store().note(local::NAME_NOTE)?.unwrap_or_default();
        self.name = String::from_utf8_lossy(&name).into_owned();
        Ok(())
    }

    /// Returns the batch's bytes.
    fn write(&mut self, first: Command, round: &mut Round) -> Result<usize, StorageError> {
        let WriteLoop { store, rooms, keys, clock, seen, name, commands, apart, .. } = self;
        let mut batch = store.begin();
        let mut desk = Desk { batch: &mut batch, rooms, keys, clock, seen, name, round };
        let mut next = Some(first);
        let mut count = 0;
        while let Some(command) = next.take() {
            if matches!(command, Command::Trim(_)) && count > 0 {
                // It reads what is in the store.
                *apart = Some(command);
                break;
            }
            let is_alone = matches!(command, Command::Trim(_));
            desk.carry_out(command)?;
            count += 1;
            let full = count >= GROUP_COMMANDS_MAX || desk.batch.len_bytes() >= GROUP_BYTES_MAX;
            if !full && !is_alone && desk.round.stop.is_none() {
                next = commands.try_recv().ok();
            }
        }
        desk.follow_up()?;
        let bytes = batch.len_bytes();
        let stale = rooms.take_stale(&mut batch)?;
        let durability = if round.synced { Durability::Synced } else { Durability::Buffered };
        batch.commit(durability)?;
        for (room, row) in stale {
            self.rooms.show(room, row);
        }
        Ok(bytes)
    }

    fn committed(&mut self, round: &mut Round, bytes: usize) -> Result<(), StorageError> {
        self.unsynced.notices.append(&mut round.notices);
        self.budget.wrote(bytes);
        if round.synced {
            self.told();
            return Ok(());
        }
        self.unsynced.since.get_or_insert_with(Instant::now);
        self.unsynced.bytes += bytes;
        let due =
            self.unsynced.since.is_some_and(|s| s.elapsed() >= self.sync_every) || self.unsynced.bytes >= SYNC_BYTES;
        if due { self.sync() } else { Ok(()) }
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        if self.unsynced.since.is_some() {
            // RocksDB recovers by itself from a full disk, and puts on disk what it has in memory. A sync of the log that
            // did not fit would end that; a write is refused until then.
            let synced = if self.is_full { self.store.begin().commit(Durability::Synced) } else { self.store.sync() };
            if !self.has_room(synced)? {
                self.unsynced.since = Some(Instant::now());
                return Ok(());
            }
        }
        self.told();
        Ok(())
    }

    /// Everything committed is on disk: tell of it.
    fn told(&mut self) {
        let Unsynced { notices, .. } = std::mem::take(&mut self.unsynced);
        for notice in notices {
            let _ = self.stored.send(Arc::new(notice));
        }
    }
}

/// What a command works with: the batch at hand and the writer's memory.
pub(crate) struct Desk<'a, 'w> {
    pub(crate) batch: &'a mut Batch<'w>,
    pub(crate) rooms: &'a mut Rooms,
    pub(crate) keys: &'a Keys,
    pub(crate) clock: &'a mut Clock,
    pub(crate) seen: &'a mut HashMap<RoomId, VecDeque<EventId>>,
    pub(crate) name: &'a mut String,
    pub(crate) round: &'a mut Round,
}

impl Desk<'_, '_> {
    fn carry_out(&mut self, command: Command) -> Result<(), StorageError> {
        match command {
            Command::Admit { room, events, origin, reply } => {
                let admitted = self.admit(room, &events, origin)?;
                self.answer(reply, Ok(admitted));
            }
            Command::Publish { room, intent, reply } => {
                let result = self.publish(room, intent)?;
                self.synced(reply, result);
            }
            Command::Import { room, records, reply } => {
                let result = self.import(room, records)?;
                self.answer(reply, result.map_err(WriteError::from));
            }
            Command::Create { room, reply } => {
                let result = self.create(room)?;
                self.synced(reply, result);
            }
            Command::Join { link, reply } => {
                let result = self.join(&link)?;
                self.synced(reply, result);
            }
            Command::Change { room, change, reply } => {
                let result = self.change(room, change)?;
                self.synced(reply, result);
            }
            Command::Agree { room, peer, agreement } => {
                if let Some(number) = self.rooms.find(room).map(|r| r.number) {
                    self.batch.agree(number, &peer, agreement)?;
                }
            }
            Command::Note { name, value, reply } => {
                if name == local::NAME_NOTE {
                    *self.name = String::from_utf8_lossy(&value).into_owned();
                }
                self.batch.put_note(&name, &value)?;
                self.synced(reply, Ok(()));
            }
            // Of a room that was purged meanwhile nothing is written.
            Command::Beacons(change) if self.rooms.of_number(change.room).is_none() => {}
            Command::Beacons(change) => change.write(self.batch)?,
            Command::Keep(what, reply) => self.keep(what, reply)?,
            Command::Account(order) => self.account(order)?,
            Command::Purge(order) => self.purge(order)?,
            Command::Team(order) => self.team(order)?,
            Command::Trim(order) => self.trim(order)?,
            Command::Told(numbers) => {
                for number in numbers {
                    self.batch.clear_outbox(number)?;
                }
            }
            Command::Sure(room) => self.be_sure(room)?,
            Command::Erasures => self.round.due = true,
            Command::Shredded(gone, reply) => self.shredded(&gone, reply)?,
            Command::Sync(reply) => self.synced(reply, Ok(())),
            Command::Stop(stopped) => self.round.stop = Some(stopped),
        }
        Ok(())
    }

    pub(crate) fn answer<T: Send + 'static>(&mut self, reply: Reply<T>, result: Result<T, WriteError>) {
        self.round.answers.push(Box::new(move |is_committed| {
            let kept = result.and_then(|value| if is_committed { Ok(value) } else { Err(WriteError::DiskFull) });
            drop(reply.send(kept));
        }));
    }

    /// Answers once it is on disk.
    pub(crate) fn synced<T: Send + 'static>(&mut self, reply: Reply<T>, result: Result<T, Refusal>) {
        self.round.synced |= result.is_ok();
        self.answer(reply, result.map_err(WriteError::from));
    }

    /// Admits events, and notes what others have to be told of.
    pub(crate) fn admit(
        &mut self,
        room: RoomId,
        events: &[VerifiedEvent],
        origin: Origin,
    ) -> Result<Admitted, StorageError> {
        let admitted = self.admit_watched(room, events, &origin, now_ms())?;
        if admitted.control {
            self.round.controlled.insert(room);
        }
        if !admitted.erased.is_empty() {
            self.round.erased.entry(room).or_default().extend(admitted.erased.iter().cloned());
        }
        if admitted.stored.is_empty() && admitted.filled.is_empty() {
            return Ok(admitted);
        }
        self.note_team_words(room, events)?;
        if let Some(last) = events.last() {
            self.clock.saw(last.header().hlc);
            if origin != Origin::Local && last.header().class == tidings_protocol::event::Class::Content {
                let seen = self.seen.entry(room).or_default();
                seen.push_back(last.id());
                if seen.len() > SEEN_MAX {
                    seen.pop_front();
                }
            }
        }
        self.round.synced |= !matches!(origin, Origin::Bulk(_));
        self.round.notices.push(Stored {
            room,
            numbers: admitted.stored.clone(),
            origin,
            room_changed: admitted.control,
            changed: admitted.filled.clone(),
            turned: admitted.turned,
            only: outline_of(events).filter(|_| admitted.stored.len() == 1),
        });
        debug_assert!(admitted.verdict != Verdict::UnknownRoom);
        Ok(admitted)
    }
}

fn outline_of(events: &[VerifiedEvent]) -> Option<Outline> {
    let [event] = events else { return None };
    Some(Outline { log: event.log(), kind: event.header().kind, hlc: event.header().hlc })
}

/// Commands in one batch at most.
const GROUP_COMMANDS_MAX: usize = 512;
/// Bytes in one batch, about.
const GROUP_BYTES_MAX: usize = 1 << 20;
/// What is committed without waiting for the disk is synced at least so often.
const SYNC_EVERY: Duration = Duration::from_millis(100);
/// And after so many bytes.
const SYNC_BYTES: usize = 8 << 20;
/// Payloads that go at once because their time has come; the others an hour later.
const DUE_MAX: usize = 65_536;
/// Events of others that are remembered to be cited.
const SEEN_MAX: usize = 4;

//! A store in a temporary folder that takes events through admission, as a node's one door does, and the room with two
//! people that most tests begin with.

use super::people::{Pen, Person, START_MS, invite_secret};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tidings_protocol::admission::{Admission, admit_content, admit_control};
use tidings_protocol::content::Content;
use tidings_protocol::control::payload::RoomKind;
use tidings_protocol::control::set::ControlSet;
use tidings_protocol::control::state::{Erasure, RoomState};
use tidings_protocol::event::{Class, VerifiedEvent};
use tidings_protocol::id::{EventId, RoomId, UserId};
use tidings_protocol::limits::MODERATED_ERASE_AFTER_MS;
use tidings_protocol::log::{Log, Tip};
use tidings_protocol::range::{Range, Vouched};
use tidings_storage::{Appended, Batch, Durability, Entry, RoomNumber, RoomRow, Store, Writer};

/// A public room with its founder Ada and its member Bob.
pub struct Duo {
    pub bob: Person,
    pub room: RoomId,
    pub ada_rules: Pen,
    pub ada_says: Pen,
    pub bob_rules: Pen,
    pub bob_says: Pen,
    /// Genesis, name, invite, join.
    pub control: Vec<VerifiedEvent>,
}

impl Duo {
    pub fn new() -> Duo {
        Duo::of(Person::new(1), Person::new(2))
    }

    pub fn of(ada: Person, bob: Person) -> Duo {
        let (genesis, mut ada_rules) = ada.found();
        let room = genesis.room();
        let name = ada_rules.set("name", "lobby", &[]);
        let invite = ada_rules.open_invite(&invite_secret(9), 60);
        let (join, bob_rules) = bob.join(room, invite.id(), &invite_secret(9));
        let (ada_says, bob_says) = (ada.pen(room, ada_rules.grant), bob.pen(room, bob_rules.grant));
        let control = vec![genesis, name, invite, join];
        Duo { bob, room, ada_rules, ada_says, bob_rules, bob_says, control }
    }

    /// A store that holds the room's control events.
    pub fn store(&self) -> TestStore {
        let mut store = TestStore::new(self.room);
        store.append(&self.control);
        store
    }
}

/// A store in a folder of its own, and the number of the room that a test is about.
pub struct TestStore {
    pub store: Store,
    pub writer: Writer,
    pub id: RoomId,
    pub room: RoomNumber,
    path: PathBuf,
    /// Goes with the test; `None` where the folder is somebody else's.
    folder: Option<TempDir>,
}

impl TestStore {
    /// A new store that knows this room and nothing of it.
    pub fn new(room: RoomId) -> TestStore {
        let folder = TempDir::new().unwrap();
        let made = TestStore::open(folder.path(), room);
        TestStore { folder: Some(folder), ..made }
    }

    /// The store in a folder, which is made, and told of the room, when it is not there.
    pub fn open(path: &Path, id: RoomId) -> TestStore {
        let (store, mut writer) = Store::open(path).unwrap();
        let room = store.room_number(id).unwrap().unwrap_or_else(|| {
            let mut batch = writer.begin();
            let number = batch.add_room(room_row(id)).unwrap();
            batch.commit(Durability::Synced).unwrap();
            number
        });
        TestStore { store, writer, id, room, path: path.to_owned(), folder: None }
    }

    /// Closes the store and opens it again.
    pub fn reopen(self) -> TestStore {
        let TestStore { store, writer, id, path, folder, .. } = self;
        drop((store, writer));
        TestStore { folder, ..TestStore::open(&path, id) }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Admits and appends in one synced batch; everything has to be admitted.
    pub fn append(&mut self, events: &[VerifiedEvent]) -> Vec<Appended> {
        self.append_with(events, Durability::Synced, START_MS + YEAR_MS)
    }

    pub fn append_with(&mut self, events: &[VerifiedEvent], durability: Durability, now_ms: u64) -> Vec<Appended> {
        let (id, room) = (self.id, self.room);
        let mut batch = self.writer.begin();
        let out = append_in(&mut batch, room, id, events, now_ms);
        batch.commit(durability).unwrap();
        out
    }

    /// Appends without asking whether the events are admitted.
    pub fn force(&mut self, events: &[VerifiedEvent]) {
        let mut batch = self.writer.begin();
        let contents: Vec<Option<Content>> = events.iter().map(content_of).collect();
        for (event, content) in events.iter().zip(&contents) {
            let entry = Entry { event, content: content.as_ref(), user: None, erased: false, purged: false };
            batch.append(self.room, &[entry], START_MS).unwrap();
        }
        batch.commit(Durability::Synced).unwrap();
    }

    /// The state of the room, from its rows.
    pub fn state(&self) -> RoomState {
        self.store.control_set(self.room, self.id).unwrap().state().clone()
    }

    pub fn range(&self, log: &Log, top: Tip, down_to: u64, len_max: usize) -> Option<Range> {
        self.store.range(self.room, log, top, down_to, len_max).unwrap()
    }

    /// Takes a branch over from another store, newest first, each chunk in a batch of its own.
    pub fn take_branch(&mut self, from: &TestStore, log: &Log, top: Tip, len_max: usize) {
        let (mut next, mut vouched) = (top, Vouched::BySignature);
        while next.seq > 0 && !self.store.holds(next.id).unwrap() {
            let range = from.range(log, next, 1, len_max).unwrap();
            let chunk = range.deflate().unwrap();
            let events = Range::inflate(&chunk).unwrap().verify(self.id, *log, next, vouched).unwrap();
            self.append(&events);
            (next, vouched) = (Tip { seq: range.first_seq - 1, id: range.prev }, Vouched::ByHash);
        }
    }

    /// The export of everything, as bytes.
    pub fn export(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.store.export(self.room, self.id, &mut out).unwrap();
        out
    }
}

/// A room as one that just came to know of it has it.
pub fn room_row(room: RoomId) -> RoomRow {
    RoomRow::new(room, RoomKind::Public, [0; 32])
}

/// Admits events, as a node's one door does, and appends them; those that follow one another in a log together.
pub fn append_in(
    batch: &mut Batch<'_>,
    room: RoomNumber,
    id: RoomId,
    events: &[VerifiedEvent],
    now_ms: u64,
) -> Vec<Appended> {
    let mut set = batch.store().control_set(room, id).unwrap();
    let mut state = set.state().clone();
    let before = erasures(&state);
    let read: Vec<Read> = events.iter().map(|event| admit(event, &mut set, &mut state)).collect();
    let entries: Vec<Entry<'_>> = events.iter().zip(&read).map(|(event, read)| read.entry(event)).collect();
    let follows =
        |a: &Entry<'_>, b: &Entry<'_>| b.event.header().prev == a.event.id() && a.event.log() == b.event.log();
    let out = entries.chunk_by(follows).flat_map(|run| batch.append(room, run, now_ms).unwrap()).collect();
    for (target, erasure) in erasures(&state).into_iter().filter(|new| !before.contains(new)) {
        let due_ms = if erasure.own { 0 } else { now_ms + MODERATED_ERASE_AFTER_MS };
        batch.erase((target, None), erasure.by, due_ms).unwrap();
    }
    out
}

/// What admission read of an event.
struct Read {
    content: Option<Content>,
    user: Option<UserId>,
    erased: bool,
}

impl Read {
    fn entry<'a>(&'a self, event: &'a VerifiedEvent) -> Entry<'a> {
        Entry { event, content: self.content.as_ref(), user: self.user, erased: self.erased, purged: false }
    }
}

fn admit(event: &VerifiedEvent, set: &mut ControlSet, state: &mut RoomState) -> Read {
    let log = event.log();
    if event.header().class == Class::Control {
        let (admission, control) = admit_control(event, set);
        assert_eq!(admission, Admission::Admit, "control event {}", event.id());
        set.insert(control.unwrap());
        set.settle();
        *state = set.state().clone();
        return Read { content: None, user: None, erased: false };
    }
    let (admission, content) = admit_content(event, state);
    assert_eq!(admission, Admission::Admit, "content event {}", event.id());
    let erased = erasure_of(state, &log, event.header().seq, event.id()).is_some_and(|e| e.own);
    Read { content, user: state.speaker(log.author, log.grant), erased }
}

/// Every message that is to be hidden, and why.
pub fn erasures(state: &RoomState) -> Vec<(EventId, Erasure)> {
    state.erased.iter().map(|(place, erasure)| (place.id, *erasure)).collect()
}

/// Why the message at this place is to be hidden, if it is.
pub fn erasure_of(state: &RoomState, log: &Log, seq: u64, id: EventId) -> Option<Erasure> {
    state.erasure(log, seq, id)
}

/// What an event says, without asking whether it may.
pub fn content_of(event: &VerifiedEvent) -> Option<Content> {
    match event.body() {
        tidings_protocol::event::Body::Kept(payload) if event.header().class == Class::Content => {
            Some(Content::decode(event.header().kind, &payload.bytes).unwrap())
        }
        _ => None,
    }
}

pub fn ids(events: &[VerifiedEvent]) -> Vec<EventId> {
    events.iter().map(VerifiedEvent::id).collect()
}

/// Tests look back from a year after everything began, so that no clock is ahead.
pub const YEAR_MS: u64 = 365 * 24 * 60 * 60 * 1000;

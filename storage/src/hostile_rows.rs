//! A store in which any row may say anything, as a fuzz target: whatever is read of it is an answer or an error, and comes to
//! an end. Its corpus lies with those of the other targets (`fuzz/corpus/rows`).

#[allow(dead_code)]
#[path = "../../fuzz/src/protocol/feed.rs"]
mod feed;

use self::feed::Feed;
use crate::batch::Writer;
use crate::fixtures;
use crate::key::RoomNumber;
use crate::schema::Family;
use crate::search::{Accepts, Search, Term};
use crate::store::Store;
use crate::timeline::Direction;
use crate::{Position, StorageError, rebuild};
use proptest::prelude::*;
use std::cell::RefCell;
use std::path::Path;
use tempfile::TempDir;
use tidings_protocol::content::{Content, Text};
use tidings_protocol::event::Class;
use tidings_protocol::id::{EventId, RoomId, UserId};
use tidings_protocol::log::{Log, Tip};

/// A store with a room, and a log of which some events are about others.
struct Held {
    store: Store,
    writer: Writer,
    room: RoomNumber,
    log: Log,
    ids: Vec<EventId>,
    _folder: Option<TempDir>,
}

type Undo = Vec<(Family, Vec<u8>, Option<Vec<u8>>)>;

impl Held {
    fn new() -> Held {
        let folder = tempfile::tempdir().unwrap();
        let held = Held::at(folder.path());
        Held { _folder: Some(folder), ..held }
    }

    fn at(path: &Path) -> Held {
        let (store, mut writer) = Store::open(path).unwrap();
        let room = fixtures::add_room(&mut writer, 1);
        let text = |n: usize| Text::new(format!("message {n} of many"), vec![UserId([n as u8; 32])]);
        let (log, events) = fixtures::said(1, 12, |n, before| match (before, n % 4) {
            (Some(before), 1) => Content::Reply { target: before.id(), root: before.id(), text: text(n) },
            (Some(before), 2) => Content::Reaction { target: before.id(), emoji: "+".into(), removed: false },
            (Some(before), 3) => Content::Edit { target: before.id(), text: text(n) },
            _ => Content::Text(text(n)),
        });
        fixtures::append(&mut writer, room, &events);
        let ids = events.iter().map(|event| event.id()).collect();
        Held { store, writer, room, log, ids, _folder: None }
    }

    /// Changes rows as the bytes say; what undoes it.
    fn change(&self, feed: &mut Feed<'_>) -> Undo {
        let mut undo = Vec::new();
        for _ in 0..CHANGES_MAX {
            if feed.is_empty() {
                break;
            }
            let family = Family::ALL[usize::from(feed.u8()) % Family::ALL.len()];
            let rows: Vec<_> = self.store.scan(family, &[], &[]).unwrap().map(Result::unwrap).collect();
            let (mut key, mut value) = match feed.pick(&rows) {
                Some((key, value)) => (key.to_vec(), value.to_vec()),
                None => (Vec::new(), Vec::new()),
            };
            match feed.u8() % 8 {
                0 => value = feed.piece().to_vec(),
                1 => key = feed.piece().to_vec(),
                2 => value.truncate(usize::from(feed.u8())),
                3 => value.extend_from_slice(feed.piece()),
                4 => set(&mut key, feed),
                5 => {
                    key.truncate(usize::from(feed.u8()));
                }
                _ => set(&mut value, feed),
            }
            // Its words are joined by RocksDB itself, which may refuse what does not join.
            let handle = self.store.family(family).unwrap();
            undo.push((family, key.clone(), self.store.db().get_cf(handle, &key).ok().flatten()));
            self.store.db().put_cf(handle, &key, &value).unwrap();
        }
        undo
    }

    fn undo(&self, undo: Undo) {
        for (family, key, before) in undo.into_iter().rev() {
            let handle = self.store.family(family).unwrap();
            match before {
                Some(value) => self.store.db().put_cf(handle, &key, value).unwrap(),
                None => self.store.db().delete_cf(handle, &key).unwrap(),
            }
        }
    }

    /// Reads everything that can be asked for. Errors are answers.
    fn read(&mut self) {
        self.read_cuts();
        let (store, room) = (&self.store, self.room);
        let found = store.verify(&mut |_| true).unwrap();
        assert!(found.flaws.len() as u64 <= found.flaw_count);
        let _ = self.read_rooms();
        let _ = self.read_events();
        for class in [Class::Control, Class::Content] {
            let _ = self.read_logs(class);
        }
        for direction in [Direction::Older, Direction::Newer] {
            let from = if matches!(direction, Direction::Older) { Position::LAST } else { Position::FIRST };
            let _ = store.timeline(room, from, direction, 100);
            let _ = store.replies(room, self.ids[0], (0, 0), direction, 100);
        }
        let _ = store.mentions((u64::MAX, u64::MAX), 100);
        let _ = store.mentions_in(room, (u64::MAX, u64::MAX), 100);
        let _ = store.threads(room, None, 100);
        let _ = store.waiting(room, self.ids[0]);
        let _ = store.export(room, RoomId([1; 32]), &mut Vec::new());
        for term in [Term::Whole("message".to_owned()), Term::Beginning("ma".to_owned())] {
            let search = Search { terms: vec![term], to_s: u32::MAX, ..Search::default() };
            let Ok(mut hits) = store.search(search, |_, _| Accepts::All) else { continue };
            let count = std::iter::from_fn(|| hits.next_hit().ok().flatten()).take(10_000).count();
            assert!(count < 10_000, "a search has no end");
        }
    }

    /// What a revocation would say, which it asks of a batch.
    fn read_cuts(&mut self) {
        let store = self.store.clone();
        let batch = self.writer.begin();
        for (log, row) in store.logs(self.room, Class::Content).unwrap_or_default() {
            let _ = batch.tips(self.room, &log);
            let _ = batch.cut(log, row.state.tips().to_vec(), u64::MAX);
        }
    }

    fn read_rooms(&self) -> Result<(), StorageError> {
        let (store, room) = (&self.store, self.room);
        let answers = [
            store.rooms().map(drop),
            store.room_number(RoomId([1; 32])).map(drop),
            store.room_by_alias("room1").map(drop),
            store.control_set(room, RoomId([1; 32])).map(drop),
            store.profile_name(room, UserId([1; 32])).map(drop),
            store.profile_home(room, UserId([1; 32])).map(drop),
            store.shown_names(room).map(drop),
            store.people().map(drop),
            store.pins().map(drop),
            store.bans().map(drop),
            store.summaries().map(drop),
            store.purges().map(drop),
            store.keep(room).map(drop),
            store.trimmed(room).map(drop),
            store.room_bytes(room).map(drop),
            store.beacons(room, RoomId([1; 32])).map(drop),
            store.reached(room).map(drop),
            store.due_erasures(u64::MAX, 100).map(drop),
            store.outbox().map(drop),
            store.unreclaimed().map(drop),
            store.to_shred(100).map(drop),
            store.notes_ending("", 100).map(drop),
            store.agreement(room, b"peer").map(drop),
        ];
        answers.into_iter().collect()
    }

    fn read_events(&self) -> Result<(), StorageError> {
        let store = &self.store;
        let answers =
            [store.next_number().map(drop), store.recent_clocks().map(drop), store.arrived_since(0, 100).map(drop)];
        for id in &self.ids {
            let _ = store.erasure(*id);
            let _ = store.relations(self.room, *id, 100);
            let _ = store.edits_of(self.room, *id);
            let _ = store.hides(self.room, *id, 100);
            let _ = store.log_of(self.room, *id);
            let Ok(Some(event)) = store.event_by_id(*id) else { continue };
            let _ = (event.content(), event.position());
            let _ = store.header(RoomId([1; 32]), &event);
            let _ = store.signed_event(RoomId([1; 32]), &event);
            let _ = store.adopted(&event);
        }
        answers.into_iter().collect()
    }

    fn read_logs(&self, class: Class) -> Result<(), StorageError> {
        let (store, room) = (&self.store, self.room);
        let _ = store.first_of_log(room, &self.log);
        for (log, row) in store.logs(room, class)? {
            let _ = store.events_of_log(room, &log, 100);
            let _ = store.steps(&row, (0, 0), 3, 100);
            let _ = store.lacks_words_in(room, &row);
            let _ = store.wanted_again(room, &row);
            for tip in row.state.tips().iter().take(8) {
                let _ = store.clock_above(&row, *tip);
                let _ = store.range(room, &log, *tip, 1, 1 << 14);
            }
        }
        let last = Tip { seq: 12, id: self.ids[11] };
        store.range(room, &self.log, last, 5, 1 << 14).map(drop)
    }
}

fn set(bytes: &mut [u8], feed: &mut Feed<'_>) {
    let at = usize::from(feed.u16()).checked_rem(bytes.len());
    let value = feed.u8();
    at.into_iter().for_each(|at| bytes[at] = value);
}

/// The target.
fn rows(bytes: &[u8]) {
    thread_local! {
        static HELD: RefCell<Option<Held>> = const { RefCell::new(None) };
    }
    HELD.with_borrow_mut(|held| {
        let held = held.get_or_insert_with(Held::new);
        let undo = held.change(&mut Feed::new(bytes));
        held.read();
        held.undo(undo);
    });
}

/// The same rows, of which a store is made anew: that comes to an end, and what it made can be read.
fn rows_made_anew(bytes: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    let held = Held::at(&from);
    held.change(&mut Feed::new(bytes));
    drop(held);
    if rebuild(&from, &to, &[], 5000).is_ok() {
        let (store, _writer) = Store::open(&to).unwrap();
        store.verify(&mut |_| true).unwrap();
    }
}

fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/rows");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| std::fs::read(path).unwrap()).collect()
}

fn cases(fewer: u32) -> ProptestConfig {
    let cases = std::env::var("TIDINGS_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(400);
    ProptestConfig { cases: cases / fewer, failure_persistence: None, ..ProptestConfig::default() }
}

/// Few long inputs: each change of a row takes some four bytes.
fn inputs() -> impl Strategy<Value = Vec<u8>> {
    let small = prop_oneof![3 => 0u8..16, 1 => any::<u8>()];
    prop::collection::vec(small, 0..60)
}

#[test]
fn rows_of_the_fuzz_corpus_are_read() {
    let corpus = corpus();
    assert!(corpus.len() >= 5);
    for bytes in &corpus {
        rows(bytes);
        rows_made_anew(bytes);
    }
}

proptest! {
    #![proptest_config(cases(1))]
    #[test]
    fn fuzzed_rows_are_read_or_told(bytes in inputs()) {
        rows(&bytes);
    }
}

proptest! {
    #![proptest_config(cases(40))]
    #[test]
    fn of_fuzzed_rows_a_store_is_made_anew(bytes in inputs()) {
        rows_made_anew(&bytes);
    }
}

/// Rows that are wrong at once.
const CHANGES_MAX: usize = 12;

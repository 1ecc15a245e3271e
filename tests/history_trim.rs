//! What is trimmed from the bottom of logs leaves a store as if it had been fetched down to there: heads as they were, nothing
//! that is found and is not there, and whatever comes back verifies and fits.

use crate::support::store::{Duo, TestStore, ids};
use crate::support::walk::walk;
use tidings_protocol::content::Imported;
use tidings_protocol::event::VerifiedEvent;
use tidings_protocol::id::EventId;
use tidings_protocol::log::{Log, Tip};
use tidings_protocol::range::Vouched;
use tidings_storage::search::{Accepts, Search, Term};
use tidings_storage::{Appended, Direction, Durability, KeepRow, LogRow, Mention, Position, TrimmedPart, Why};

const CHUNK_LEN: usize = 1 << 14;

/// Trims a log, part by part.
fn trim(store: &mut TestStore, log: &Log, below: u64, max: usize) -> Vec<u64> {
    let heads: Vec<Tip> = row(store, log).state.tips().to_vec();
    let mut gone = Vec::new();
    loop {
        let mut batch = store.writer.begin();
        let TrimmedPart { numbers, more, .. } = batch.trim_log(store.room, log, below, &heads, (max, 7)).unwrap();
        batch.commit(Durability::Synced).unwrap();
        gone.extend(numbers);
        if !more {
            return gone;
        }
    }
}

fn row(store: &TestStore, log: &Log) -> LogRow {
    store.store.log(store.room, log).unwrap().unwrap()
}

/// Fetches what a hole of a log lacks from another store, in one range.
fn fetch_back(store: &mut TestStore, from: &TestStore, log: &Log, top: Tip, down_to: u64) -> Vec<Appended> {
    let range = from.range(log, top, down_to, CHUNK_LEN).unwrap();
    store.append(&range.verify(store.id, *log, top, Vouched::ByHash).unwrap())
}

/// A room in which everything that has an index of its own was said.
fn said() -> (Duo, Vec<VerifiedEvent>) {
    let mut duo = Duo::new();
    let mut events = duo.control.clone();
    let first = duo.ada_says.text("first");
    let others = [
        duo.ada_says.reply(first.id(), "second"),
        duo.ada_says.edit(first.id(), "the first"),
        duo.ada_says.reaction(first.id(), "👍"),
        duo.ada_says.profile("Ada"),
    ];
    events.push(first);
    events.extend(others);
    for n in 0..20 {
        let (source, author, text) = ("irc".to_owned(), "nick".to_owned(), format!("line {n}"));
        let record = Imported { source, author, ms: 1_500_000_000_000 + n, order: 0, occurrence: 0, text };
        events.push(duo.ada_says.imported(&record));
    }
    events.extend(duo.ada_says.run(500));
    (duo, events)
}

#[test]
fn trimming_leaves_heads_and_nothing_else_of_what_went_and_all_of_it_comes_back() {
    let (duo, events) = said();
    let log = duo.ada_says.log();
    let mut whole = TestStore::new(duo.room);
    whole.append(&events);
    let mut store = TestStore::new(duo.room);
    store.append(&events);
    let bytes = store.store.room_bytes(store.room).unwrap();
    let (before, moved) = (row(&store, &log), row(&store, &log).moved);
    let heads = |store: &TestStore| row(store, &log).state.tips().to_vec();

    let gone = trim(&mut store, &log, 400, 64);
    assert_eq!(gone.len(), 399);
    let after = row(&store, &log);
    assert_eq!((after.moved, after.state.held()), (moved, before.state.held() - 399));
    assert_eq!((heads(&store), after.state.floor()), (heads(&whole), 400));
    assert!(store.store.room_bytes(store.room).unwrap() < bytes / 2);
    let content: Vec<EventId> = ids(&events).split_off(duo.control.len());
    for (n, id) in content.iter().enumerate() {
        assert_eq!(store.store.holds(*id).unwrap(), n >= 399, "{n}");
    }
    assert_eq!(walk(&store), walk(&whole).into_iter().filter(|id| store.store.holds(*id).unwrap()).collect::<Vec<_>>());
    assert!(store.store.relations(store.room, content[0], 10).unwrap().is_empty());
    // What is there verifies and ends where the rest is missing.
    let top = heads(&store)[0];
    let range = store.range(&log, top, 1, 1 << 20).unwrap();
    assert_eq!(range.first_seq, 400);
    range.verify(duo.room, log, top, Vouched::BySignature).unwrap();
    let trimmed = store.store.trimmed(store.room).unwrap();
    assert_eq!(trimmed.iter().map(|hole| hole.top).collect::<Vec<_>>(), [Tip { seq: 399, id: content[398] }]);

    // Old words that nobody asked for, and that nothing held leads to, stay out.
    let stray = store.append(&events[duo.control.len()..duo.control.len() + 5]);
    assert_eq!(stray, [Appended::GivenUp; 5]);
    // Once more through a restart, and again by pages.
    store = store.reopen();
    while let Some(hole) = store.store.trimmed(store.room).unwrap().first().copied() {
        let down_to = hole.top.seq.saturating_sub(63).max(1);
        let back = fetch_back(&mut store, &whole, &log, hole.top, down_to);
        assert!(back.iter().all(|one| matches!(one, Appended::Stored(_))), "{back:?}");
        assert_eq!(heads(&store), heads(&whole));
    }
    // A range brings fewer signatures than events that come one by one.
    let filled = row(&store, &log);
    assert!(
        filled.state.held() == before.state.held()
            && (bytes / 2..=bytes).contains(&store.store.room_bytes(store.room).unwrap())
    );
    let sorted = |mut ids: Vec<EventId>| {
        ids.sort_unstable();
        ids
    };
    assert_eq!((sorted(walk(&store)), store.export()), (sorted(walk(&whole)), whole.export()));
    // What came back goes again.
    trim(&mut store, &log, 300, 1000);
    assert_eq!(store.store.trimmed(store.room).unwrap()[0].top.seq, 299);
    assert_eq!(heads(&store), heads(&whole));
}

#[test]
fn branches_that_end_below_keep_their_heads() {
    let mut duo = Duo::new();
    let log = duo.ada_says.log();
    let trunk = duo.ada_says.run(100);
    let mut twin = duo.ada_says.fork_at(&trunk[49]);
    let branch: Vec<VerifiedEvent> = (0..30).map(|n| twin.text(&format!("twin {n}"))).collect();
    let rest: Vec<VerifiedEvent> = (0..100).map(|n| duo.ada_says.text(&format!("rest {n}"))).collect();
    let mut store = TestStore::new(duo.room);
    for part in [&duo.control, &trunk, &branch, &rest] {
        store.append(part);
    }
    let before: Vec<Tip> = row(&store, &log).state.tips().to_vec();
    assert_eq!(before.len(), 2);
    let whole = TestStore::new(duo.room);
    let mut whole = whole;
    for part in [&duo.control, &trunk, &branch, &rest] {
        whole.append(part);
    }
    trim(&mut store, &log, 150, 20);
    assert_eq!(row(&store, &log).state.tips().to_vec(), before);
    assert!(store.store.holds(branch[29].id()).unwrap() && !store.store.holds(branch[28].id()).unwrap());
    while let Some(hole) = store.store.trimmed(store.room).unwrap().first().copied() {
        fetch_back(&mut store, &whole, &log, hole.top, hole.top.seq.saturating_sub(16).max(1));
        assert_eq!(row(&store, &log).state.tips().to_vec(), before);
    }
    assert_eq!(row(&store, &log).state.held(), row(&whole, &log).state.held());
    assert_eq!(store.export(), whole.export());
}

#[test]
fn the_newest_of_a_log_never_goes_and_bounds_are_kept() {
    let (duo, events) = said();
    let mut store = TestStore::new(duo.room);
    store.append(&events);
    let control = store.store.logs(store.room, tidings_protocol::event::Class::Control).unwrap();
    trim(&mut store, &duo.ada_says.log(), u64::MAX, 1000);
    assert_eq!(row(&store, &duo.ada_says.log()).state.held(), 1);
    assert_eq!(walk(&store).split_off(duo.control.len()), [events.last().unwrap().id()]);
    for (log, of) in control {
        assert!(trim(&mut store, &log, u64::MAX, 1000).is_empty());
        assert_eq!(row(&store, &log), of);
    }
    let keep = KeepRow { max_bytes: 5, max_days: 6, forever: true, since: 7 };
    let mut batch = store.writer.begin();
    batch.put_keep(store.room, &keep).unwrap();
    batch.lift_floors(store.room).unwrap();
    batch.commit(Durability::Synced).unwrap();
    store = store.reopen();
    assert_eq!(store.store.keep(store.room).unwrap(), keep);
    assert!(store.store.trimmed(store.room).unwrap().is_empty(), "what went is missing like anything else");
    assert_eq!(row(&store, &duo.ada_says.log()).state.holes().len(), 1);
}

#[test]
fn files_give_back_what_was_trimmed() {
    let mut duo = Duo::new();
    let mut store = TestStore::new(duo.room);
    store.append(&duo.control);
    for part in 0..20u64 {
        let events: Vec<VerifiedEvent> = (0..50)
            .map(|n| {
                let seed = blake3::hash(&(part * 50 + n).to_be_bytes());
                let mut words = vec![0; 6000];
                blake3::Hasher::new_keyed(seed.as_bytes()).finalize_xof().fill(&mut words);
                let text: String = words.iter().map(|byte| char::from(b'a' + byte % 26)).collect();
                duo.ada_says.text(&text)
            })
            .collect();
        store.append(&events);
    }
    store.store.compact().unwrap();
    let tables = |store: &TestStore| store.store.family_bytes().unwrap().iter().map(|(_, bytes)| bytes).sum::<u64>();
    let before = tables(&store);
    let gone = trim(&mut store, &duo.ada_says.log(), 901, 1000);
    // Killed before the files follow: it is known what has to.
    store = store.reopen();
    let left = store.store.unreclaimed().unwrap().unwrap();
    assert_eq!((left.indexed, left.is_some()), (gone.len() as u64, true));
    let range = left.payloads.unwrap();
    assert_eq!(left.words, left.payloads);
    assert_eq!(range, (*gone.first().unwrap(), *gone.last().unwrap()));
    assert_eq!(store.store.reclaim_payloads(range, 1 << 20, false).unwrap(), None);
    for bucket in left.buckets() {
        let mut from = Some(Vec::new());
        while let Some(at) = from {
            let mut batch = store.writer.begin();
            from = batch.strip_words(bucket, &at, 1 << 12).unwrap();
            batch.commit(Durability::Buffered).unwrap();
        }
    }
    store.store.reclaim_indexes(1 << 20, false).unwrap();
    let after = tables(&store);
    assert!(before > 3_000_000 && after < before / 4, "{before} -> {after}");
    assert_eq!(walk(&store).len(), duo.control.len() + 100);
    let mut batch = store.writer.begin();
    batch.put_unreclaimed(None).unwrap();
    batch.commit(Durability::Synced).unwrap();
    store = store.reopen();
    assert_eq!(store.store.unreclaimed().unwrap(), None);
}

#[test]
fn words_threads_and_mentions_of_what_went_go_with_it() {
    let (duo, events) = said();
    let log = duo.ada_says.log();
    let mut store = TestStore::new(duo.room);
    store.append(&events);
    let number = |store: &TestStore, n: usize| {
        let event = store.store.event_by_id(events[duo.control.len() + n].id()).unwrap().unwrap();
        (event.clock, event.number)
    };
    let root = events[duo.control.len()].id();
    let (reply, later) = (number(&store, 1), number(&store, 450));
    let (room, begin) = (store.room, number(&store, 0));
    let mut batch = store.writer.begin();
    batch.put_reply(room, root, reply, None).unwrap();
    batch.put_reply(room, root, later, Some(reply.0)).unwrap();
    for (clock, number) in [begin, reply, later] {
        batch.put_mention(Mention { room, clock, number, why: Why::Mention }).unwrap();
    }
    batch.commit(Durability::Synced).unwrap();
    let found = |store: &TestStore, word: &str| {
        let search = Search { terms: vec![Term::Whole(word.to_owned())], to_s: u32::MAX, ..Search::default() };
        let mut hits = store.store.search(search, |_, _| Accepts::All).unwrap();
        std::iter::from_fn(|| hits.next_hit().unwrap()).count()
    };
    assert_eq!((found(&store, "first"), found(&store, "line")), (2, 20));

    trim(&mut store, &log, 400, 64);
    assert_eq!((found(&store, "first"), found(&store, "line")), (0, 0));
    let last = (u64::MAX, u64::MAX);
    let mentions: Vec<u64> = store.store.mentions(last, 9).unwrap().iter().map(|mention| mention.number).collect();
    assert_eq!(mentions, [later.1]);
    assert_eq!(store.store.mentions_in(store.room, last, 9).unwrap().len(), 1);
    assert_eq!(store.store.replies(store.room, root, last, Direction::Older, 9).unwrap(), [later]);
    assert_eq!(store.store.threads(store.room, None, 9).unwrap(), [(later.0, root)]);
    trim(&mut store, &log, 460, 64);
    assert!(store.store.mentions(last, 9).unwrap().is_empty());
}

#[test]
fn what_does_not_count_goes_from_the_top_and_may_come_again() {
    let mut duo = Duo::new();
    let log = duo.ada_says.log();
    let trunk = duo.ada_says.run(100);
    let mut twin = duo.ada_says.fork_at(&trunk[49]);
    let branch: Vec<VerifiedEvent> = (0..40).map(|n| twin.text(&format!("twin {n}"))).collect();
    let mut store = TestStore::new(duo.room);
    for part in [&duo.control, &trunk, &branch] {
        store.append(part);
    }
    let (before, all) = (row(&store, &log), walk(&store));
    let above = store.store.above(store.room, &log, 60).unwrap();
    assert_eq!((above.events, above.bytes > 70 * 100), (70, true));
    let drop_above = |store: &mut TestStore, seq: u64| {
        let mut parts = 0;
        loop {
            let mut batch = store.writer.begin();
            let part = batch.drop_above(store.room, &log, seq, 16).unwrap();
            batch.commit(Durability::Synced).unwrap();
            parts += 1;
            if !part.more {
                return parts;
            }
        }
    };
    assert!(drop_above(&mut store, 60) > 3);
    let after = row(&store, &log);
    assert_eq!((after.state.held(), after.state.holes().len(), after.state.floor()), (70, 0, 0));
    let tips: Vec<EventId> = after.state.tips().iter().map(|tip| tip.id).collect();
    assert!(tips.len() == 2 && tips.contains(&trunk[59].id()) && tips.contains(&branch[9].id()));
    assert!(!store.store.holds(trunk[60].id()).unwrap() && store.store.holds(trunk[59].id()).unwrap());
    let again = store.append(&trunk[60..]);
    assert!(again.iter().all(|one| matches!(one, Appended::Stored(_))), "{again:?}");
    store.append(&branch[10..]);
    let filled = row(&store, &log);
    // An event that came by itself says whom it follows, one of a run does not.
    assert!(filled.state.tips() == before.state.tips() && filled.bytes.abs_diff(before.bytes) < 100);
    let sorted = |mut ids: Vec<EventId>| {
        ids.sort_unstable();
        ids
    };
    assert_eq!(sorted(walk(&store)), sorted(all));
    // Nothing of it counts.
    drop_above(&mut store, 0);
    assert_eq!(row(&store, &log).state, tidings_protocol::log::LogState::default());
    assert!(store.store.timeline(store.room, Position::LAST, Direction::Older, 9).unwrap().is_empty());
}

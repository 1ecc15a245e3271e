//! Logs: forks lie side by side and each branch is served, suffixes come first and holes close, and every range that a
//! store gives away verifies against its tip on the other side.

use crate::support::people::{Pen, Person};
use crate::support::seeded::Seeded;
use crate::support::store::{Duo, TestStore, ids};
use crate::support::walk::walk;
use proptest::prelude::*;
use std::collections::BTreeMap;
use tidings_protocol::codec::encode;
use tidings_protocol::event::{Body, Class, Hlc, VerifiedEvent};
use tidings_protocol::id::EventId;
use tidings_protocol::limits::{CHUNK_EVENTS_MAX, CHUNK_INFLATED_MAX, PARENTS_MAX, TIPS_PER_LOG_MAX};
use tidings_protocol::log::{Log, LogError, LogState, Tip};
use tidings_protocol::range::{Range, RowBody, Vouched};
use tidings_storage::{Durability, Entry, StorageError};

fn state_of(store: &TestStore, log: &Log) -> LogState {
    store.store.log(store.room, log).unwrap().unwrap().state
}

fn tip(event: &VerifiedEvent) -> Tip {
    Tip { seq: event.header().seq, id: event.id() }
}

/// Reads a branch from its tip to its beginning in chunks, each of which travels and verifies.
fn branch(store: &TestStore, log: &Log, top: Tip, len_max: usize) -> Vec<VerifiedEvent> {
    let (mut next, mut vouched, mut chunks) = (top, Vouched::BySignature, Vec::new());
    while next.seq > 0 {
        let range = store.range(log, next, 1, len_max).unwrap();
        let below = Tip { seq: range.first_seq - 1, id: range.prev };
        let chunk = range.deflate().unwrap();
        chunks.push(Range::inflate(&chunk).unwrap().verify(store.id, *log, next, vouched).unwrap());
        (next, vouched) = (below, Vouched::ByHash);
    }
    assert_eq!(next.id, EventId::ZERO);
    chunks.into_iter().rev().flatten().collect()
}

#[test]
fn both_branches_of_a_fork_are_kept_and_served() {
    let mut duo = Duo::new();
    let mut store = duo.store();
    let trunk = duo.bob_says.run(20);
    let mut other = duo.bob_says.fork();
    let (left, right) = (duo.bob_says.run(30), (0..5).map(|n| other.text(&format!("other {n}"))).collect::<Vec<_>>());
    for part in [&trunk, &right, &left] {
        store.append(part);
    }
    let log = duo.bob_says.log();
    for _ in 0..2 {
        walk(&store);
        let state = state_of(&store, &log);
        assert!(state.is_forked() && state.holes().is_empty());
        assert_eq!(state.tips(), [other.tip(), duo.bob_says.tip()]);
        assert_eq!(state.covered(), 0);
        for (top, tail) in [(duo.bob_says.tip(), &left), (other.tip(), &right)] {
            for len_max in [1, 500, CHUNK_INFLATED_MAX] {
                let read = branch(&store, &log, top, len_max);
                assert_eq!(ids(&read), ids(&[trunk.clone(), tail.clone()].concat()));
            }
        }
        store = store.reopen();
    }
}

#[test]
fn two_beginnings_of_a_log_are_a_fork() {
    let mut duo = Duo::new();
    let mut store = duo.store();
    let mut other = duo.ada_says.fork();
    store.append(&[duo.ada_says.text("one"), duo.ada_says.text("two")]);
    store.append(&[other.text("another one")]);
    assert!(state_of(&store, &other.log()).is_forked());
    assert_eq!(branch(&store, &other.log(), other.tip(), 1000).len(), 1);
    walk(&store);
}

#[test]
fn newest_first_chunks_of_a_long_log_end_without_holes_and_with_one_tip() {
    let mut duo = Duo::new();
    let mut full = duo.store();
    let events = duo.bob_says.run(3000);
    full.append(&events);
    let (log, top) = (duo.bob_says.log(), duo.bob_says.tip());
    for chunk in [100, 256, 1000] {
        let mut store = duo.store();
        for (n, part) in events.rchunks(chunk).enumerate() {
            store.append(part);
            let state = state_of(&store, &log);
            let first = part[0].header();
            let hole = (first.seq > 1).then_some(Tip { seq: first.seq - 1, id: first.prev });
            assert_eq!(state.holes().iter().map(|h| (h.top, h.above)).next(), hole.map(|h| (h, 0)), "chunk {n}");
            assert_eq!(state.tips(), [top]);
            assert_eq!(state.missing_above(top.seq), 0);
        }
        let store = store.reopen();
        let state = state_of(&store, &log);
        assert_eq!((state.holes(), state.tips(), state.held(), state.is_forked()), (&[][..], &[top][..], 3000, false));
        assert_eq!(walk(&store).len(), 3004);
        assert_eq!(ids(&branch(&store, &log, top, CHUNK_INFLATED_MAX)), ids(&events));
    }
    let mut store = duo.store();
    store.take_branch(&full, &log, top, 40_000);
    assert_eq!(store.export(), full.export());
    walk(&store);
}

#[test]
fn a_stretch_in_the_middle_splits_a_hole_and_both_parts_close() {
    let mut duo = Duo::new();
    let mut store = duo.store();
    let events = duo.ada_says.run(90);
    let log = duo.ada_says.log();
    let holes =
        |store: &TestStore| state_of(store, &log).holes().iter().map(|h| (h.above, h.top.seq)).collect::<Vec<_>>();
    for (part, expected) in [
        (0..5, vec![]),
        (80..90, vec![(5, 80)]),
        (40..50, vec![(5, 40), (50, 80)]),
        (70..80, vec![(5, 40), (50, 70)]),
        (5..40, vec![(50, 70)]),
        (50..70, vec![]),
    ] {
        store.append(&events[part]);
        assert_eq!(holes(&store), expected);
        walk(&store);
    }
    assert_eq!(state_of(&store, &log).tips(), [duo.ada_says.tip()]);
}

#[test]
fn a_hole_closes_when_another_branch_brings_what_was_missing() {
    let mut duo = Duo::new();
    let trunk = duo.ada_says.run(5);
    let mut other = duo.ada_says.fork();
    let mine = duo.ada_says.text("six, mine");
    let theirs: Vec<VerifiedEvent> = (6..9).map(|n| other.text(&format!("{n}, theirs"))).collect();
    // The missing event is not the end of what comes, but in its middle.
    let mut store = duo.store();
    store.append(std::slice::from_ref(&mine));
    store.append(&[trunk.clone(), theirs.clone()].concat());
    walk(&store);
    // Two holes at once, and all in one batch.
    let mut third = duo.ada_says.fork_at(&trunk[2]);
    let short = third.text("four, of a third");
    let mut store = duo.store();
    store.append(&[vec![short, theirs[2].clone(), mine], trunk, theirs].concat());
    walk(&store);
    assert!(state_of(&store, &other.log()).is_forked());
}

/// A random tree of texts: mostly the newest goes on, at times any event grows another branch.
fn tree(pen: &Pen, choices: &[u16]) -> Vec<VerifiedEvent> {
    let mut pens: Vec<Pen> = vec![pen.clone()];
    let mut events = Vec::new();
    for (n, choice) in choices.iter().enumerate() {
        let at = if choice % 8 == 0 { *choice as usize / 8 % pens.len() } else { pens.len() - 1 };
        let mut pen = pens[at].clone();
        events.push(pen.text(&format!("{n} {}", "z".repeat(*choice as usize % 97))));
        pens.push(pen);
    }
    events
}

fn few_cases() -> ProptestConfig {
    ProptestConfig { cases: 16, max_shrink_iters: 200, failure_persistence: None, ..Default::default() }
}

proptest! {
    #![proptest_config(few_cases())]
    #[test]
    fn ranges_of_random_forked_logs_travel_and_verify(
        choices in prop::collection::vec(0u16..2000, 1..60), order in any::<u64>(), len_max in 1usize..3000,
    ) {
        let duo = Duo::new();
        let events = tree(&duo.ada_says, &choices);
        let mut store = duo.store();
        let mut random = Seeded::new(order);
        let mut shuffled = events.clone();
        random.shuffle(&mut shuffled);
        let mut rest = &shuffled[..];
        while !rest.is_empty() {
            let (part, after) = rest.split_at(1 + random.below(rest.len().min(12)));
            store.append(part);
            rest = after;
        }
        walk(&store);
        let by_id: BTreeMap<EventId, &VerifiedEvent> = events.iter().map(|e| (e.id(), e)).collect();
        let log = duo.ada_says.log();
        for top in state_of(&store, &log).tips() {
            let read = branch(&store, &log, *top, len_max);
            prop_assert_eq!(read.len() as u64, top.seq);
            for event in read {
                prop_assert_eq!(event.header(), by_id[&event.id()].header());
                prop_assert_eq!(event.body(), by_id[&event.id()].body());
            }
        }
        // From anywhere inside, down to anywhere.
        let from = random.pick(&events);
        let down_to = 1 + random.next() % from.header().seq;
        let range = store.range(&log, tip(from), down_to, CHUNK_INFLATED_MAX).unwrap();
        prop_assert_eq!(range.first_seq, down_to);
        let read = range.verify(duo.room, log, tip(from), Vouched::ByHash).unwrap();
        prop_assert_eq!(read.last().map(VerifiedEvent::id), Some(from.id()));
    }
}

#[test]
fn a_range_never_exceeds_what_was_asked_for_unless_by_one_event() {
    let mut duo = Duo::new();
    let mut store = duo.store();
    duo.ada_says.parents = (0..PARENTS_MAX as u8).map(|n| EventId([n + 1; 32])).collect();
    let events: Vec<VerifiedEvent> = (0..1100).map(|n| duo.ada_says.text(&"y".repeat(700 + n % 7))).collect();
    store.append(&events);
    let (log, top) = (duo.ada_says.log(), duo.ada_says.tip());
    for len_max in [0, 1, 1_100, 1_200, 5_000, 60_000, 300_000, CHUNK_INFLATED_MAX] {
        let range = store.range(&log, top, 1, len_max).unwrap();
        let len = encode(&range).len();
        assert!(len <= len_max || range.rows.len() == 1, "{len} bytes where {len_max} were asked for");
        assert!(range.rows.len() <= CHUNK_EVENTS_MAX);
        assert!(len + 2_000 > len_max || range.rows.len() == CHUNK_EVENTS_MAX, "{len} bytes of {len_max} used");
        assert!(range.deflate().is_some());
    }
    assert_eq!(store.range(&log, top, 1090, CHUNK_INFLATED_MAX).unwrap().rows.len(), 11);
    assert_eq!(store.range(&log, top, u64::MAX, CHUNK_INFLATED_MAX).unwrap().rows.len(), 1);
    assert_eq!(
        store.range(&log, top, 0, 3_000).unwrap().first_seq,
        store.range(&log, top, 1, 3_000).unwrap().first_seq
    );
    let wrong = [Tip { seq: 5, ..top }, Tip { id: EventId([1; 32]), ..top }];
    assert!(wrong.iter().all(|top| store.range(&log, *top, 1, 1000).is_none()));
}

#[test]
fn a_range_ends_where_something_is_missing() {
    let mut duo = Duo::new();
    let mut store = duo.store();
    let events = duo.ada_says.run(30);
    store.append(&events[10..]);
    let (log, top) = (duo.ada_says.log(), duo.ada_says.tip());
    let range = store.range(&log, top, 1, CHUNK_INFLATED_MAX).unwrap();
    assert_eq!((range.first_seq, range.prev, range.rows.len()), (11, events[9].id(), 20));
    assert!(range.verify(duo.room, log, top, Vouched::BySignature).is_ok());
    store.append(&events[..4]);
    let range = store.range(&log, tip(&events[3]), 1, CHUNK_INFLATED_MAX).unwrap();
    assert_eq!(range.rows.len(), 4);
}

/// What a hostile device signs: a place that its predecessor does not have, or a predecessor in another log.
#[test]
fn a_false_predecessor_spoils_no_range_that_we_serve() {
    let duo = Duo::new();
    let mut pen = duo.bob_says.clone();
    let first = pen.text("one");
    let mut draft = pen.draft(1, first_payload("ten"));
    draft.seq = 10;
    let far = pen.sign(draft);
    let ours = duo.ada_says.clone().text("of ada");
    let mut draft = pen.draft(1, first_payload("after ada's"));
    (draft.seq, draft.prev) = (2, ours.id());
    let crossed = pen.sign(draft);
    let orders: [[&VerifiedEvent; 4]; 3] =
        [[&first, &far, &ours, &crossed], [&far, &crossed, &first, &ours], [&crossed, &ours, &far, &first]];
    for (n, order) in orders.into_iter().enumerate() {
        let mut one = duo.store();
        let mut each = duo.store();
        each.append(&order.map(VerifiedEvent::clone));
        for event in order {
            one.append(std::slice::from_ref(event));
        }
        for store in [&one, &each] {
            // Another log's event is missing in this one, whether it came before or after, and stays so.
            let missing = state_of(store, &crossed.log()).holes().iter().any(|hole| hole.top.id == ours.id());
            assert!(missing, "order {n}");
            for event in order {
                let log = event.log();
                let range = store.range(&log, tip(event), 1, CHUNK_INFLATED_MAX).unwrap();
                assert_eq!(range.rows.len(), 1, "order {n}");
                let read = range.verify(duo.room, log, tip(event), Vouched::BySignature);
                assert_eq!(read.map(|e| e[0].id()), Ok(event.id()), "order {n}");
                let stored = store.store.event_by_id(event.id()).unwrap().unwrap();
                assert_eq!(&store.store.header(duo.room, &stored).unwrap(), event.header());
            }
        }
    }
}

fn first_payload(text: &str) -> Vec<u8> {
    tidings_protocol::content::Content::Text(text.into()).encode()
}

#[test]
fn a_log_with_too_many_branches_takes_no_more_and_goes_on_otherwise() {
    let mut duo = Duo::new();
    let mut store = duo.store();
    let root = duo.bob_says.text("root");
    store.append(std::slice::from_ref(&root));
    let mut pens: Vec<Pen> = (0..TIPS_PER_LOG_MAX).map(|_| duo.bob_says.clone()).collect();
    let branches: Vec<VerifiedEvent> =
        pens.iter_mut().enumerate().map(|(n, pen)| pen.text(&format!("branch {n}"))).collect();
    store.append(&branches);
    let before = walk(&store);
    let extra = duo.bob_says.text("one too many");
    let mut batch = store.writer.begin();
    let entry = Entry { event: &extra, content: None, user: None, erased: false, purged: false };
    let refused = batch.append(store.room, &[entry], 0);
    assert!(matches!(refused, Err(StorageError::Log(LogError::TooManyBranches))), "{refused:?}");
    let ours = duo.ada_says.text("unharmed");
    let entry = Entry { event: &ours, content: None, user: None, erased: false, purged: false };
    batch.append(store.room, &[entry], 0).unwrap();
    batch.commit(Durability::Synced).unwrap();
    assert_eq!(walk(&store), [before, ids(&[ours])].concat(), "nothing of what was refused is there");
    let longer: Vec<VerifiedEvent> = pens.iter_mut().map(|pen| pen.text("goes on")).collect();
    store.append(&longer);
    walk(&store);
    assert_eq!(state_of(&store, &duo.bob_says.log()).tips().len(), TIPS_PER_LOG_MAX);
}

#[test]
fn numbers_at_their_ends_are_kept_as_they_are() {
    let mut duo = Duo::new();
    let mut store = duo.store();
    let mut events = Vec::new();
    for (seq, hlc) in [(u64::MAX, 0), (u64::MAX - 1, u64::MAX), (2, 1), (1 << 63, u64::MAX - 1)] {
        let mut draft = duo.bob_says.draft(1, first_payload("extreme"));
        (draft.seq, draft.prev, draft.hlc) = (seq, EventId([seq as u8 | 1; 32]), Hlc(hlc));
        events.push(duo.bob_says.clone().sign(draft));
    }
    for event in &events {
        store.append(std::slice::from_ref(event));
        let range = store.range(&event.log(), tip(event), 1, 1000).unwrap();
        assert!(range.verify(duo.room, event.log(), tip(event), Vouched::BySignature).is_ok());
    }
    assert_eq!(walk(&store.reopen())[4..], ids(&events));
}

#[test]
fn a_reader_beside_the_writer_sees_no_damage() {
    let mut duo = Duo::new();
    let mut store = duo.store();
    let mut phone = Person::at(2, 1).pen(duo.room, duo.bob_says.grant);
    let (enrol, _) = Person::at(2, 1).enrol(duo.room, duo.bob_says.grant);
    let (events, other) = (duo.bob_says.run(1000), phone.run(1000));
    store.append(&[vec![enrol], events.clone()].concat());
    let (log, top) = (duo.bob_says.log(), duo.bob_says.tip());
    let (reader, room) = (store.store.clone(), store.room);
    let numbers = 1..=reader.next_number().unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut erased = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let range = reader.range(room, &log, top, 1, CHUNK_INFLATED_MAX).unwrap().unwrap();
                erased = range.rows.iter().filter(|r| matches!(r.body, RowBody::Erased { .. })).count();
                assert_eq!(range.verify(duo.room, log, top, Vouched::BySignature).unwrap().len(), 1000);
                let kept = numbers.clone().filter_map(|n| reader.event(n).unwrap()).filter(|e| e.body != Body::Erased);
                assert!(kept.count() >= 4);
                if let Some(range) = reader.range(room, &phone.log(), phone.tip(), 1, CHUNK_INFLATED_MAX).unwrap() {
                    assert!(range.verify(duo.room, phone.log(), phone.tip(), Vouched::BySignature).is_ok());
                }
            }
            erased
        });
        for (event, part) in events.iter().zip(other.rchunks(1)) {
            let mut batch = store.writer.begin();
            batch.erase((event.id(), None), EventId([1; 32]), 0).unwrap();
            batch.commit(Durability::Buffered).unwrap();
            store.append_with(part, Durability::Buffered, 0);
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(reading.join().is_ok_and(|erased| erased <= 1000));
    });
    walk(&store);
    let state = state_of(&store, &phone.log());
    assert_eq!((state.held(), state.holes().len(), Class::Content), (1000, 0, log.class));
}

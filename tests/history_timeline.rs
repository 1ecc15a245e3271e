//! The timeline: every message once, in one order, whatever the page and the direction; imported records in their
//! source's order and once each; what changes a message beside it; what is erased gone for good.

use crate::support::people::START_MS;
use crate::support::seeded::Seeded;
use crate::support::store::{Duo, TestStore, YEAR_MS, content_of};
use crate::support::walk::walk;
use std::path::Path;
use tidings_protocol::content::{Content, Imported};
use tidings_protocol::event::{Body, Hlc, VerifiedEvent};
use tidings_protocol::id::EventId;
use tidings_protocol::limits::MODERATED_ERASE_AFTER_MS;
use tidings_protocol::log::Tip;
use tidings_protocol::range::Vouched;
use tidings_storage::{Direction, Durability, Position, TimelineEntry};

/// Where a message belongs, by the words of the design: the author's clock, or the time that a record claims if that is
/// earlier; then the beginning of its id, or of its source's.
fn position(event: &VerifiedEvent) -> Position {
    let clock = event.header().hlc.0;
    match content_of(event) {
        Some(Content::Imported(record)) => {
            let claimed = Hlc::at_ms(record.ms).0 + u64::from(record.order);
            Position { clock: claimed.min(clock), tie: first8(&record.source_id()) }
        }
        _ => Position { clock, tie: first8(event.id().as_bytes()) },
    }
}

fn first8(bytes: &[u8; 32]) -> [u8; 8] {
    std::array::from_fn(|n| bytes[n])
}

fn pages(store: &TestStore, from: Position, direction: Direction, page: usize) -> Vec<TimelineEntry> {
    let mut out: Vec<TimelineEntry> = Vec::new();
    loop {
        let cursor = out.last().map_or(from, |e| e.position);
        let more = store.store.timeline(store.room, cursor, direction, page).unwrap();
        assert!(more.len() <= page);
        if more.is_empty() {
            return out;
        }
        out.extend(more);
    }
}

/// The events of the whole timeline, oldest first.
fn listed(store: &TestStore) -> Vec<Vec<EventId>> {
    let ids = |e: TimelineEntry| e.numbers.iter().map(|n| store.store.event(*n).unwrap().unwrap().id).collect();
    pages(store, Position::FIRST, Direction::Newer, 7).into_iter().map(ids).collect()
}

fn record(ms: u64, order: u32, text: &str) -> Imported {
    Imported { source: "irc".into(), author: "pupp".into(), ms, order, occurrence: 0, text: text.into() }
}

#[test]
fn pages_of_any_size_in_both_directions_cover_everything_once_and_in_order() {
    let mut duo = Duo::new();
    let mut random = Seeded::new(5);
    let mut events: Vec<VerifiedEvent> = Vec::new();
    for n in 0..60 {
        let pen = if random.percent(50) { &mut duo.ada_says } else { &mut duo.bob_says };
        // Clocks that jump about, and many that are equal.
        pen.hlc = Hlc::at_ms(START_MS + 1000 * random.below(20) as u64);
        let (old, record) = (START_MS - 500 * random.below(9) as u64, format!("record {n}"));
        events.push(match random.below(5) {
            0 => pen.imported(&self::record(old, random.below(3) as u32, &record)),
            1 => pen.write(77, b"later"),
            2 if n > 0 => pen.edit(events[0].id(), "edited"),
            3 if n > 0 => pen.reply(events[0].id(), "answer"),
            _ => pen.text(&format!("{n}")),
        });
    }
    let mut store = duo.store();
    events.chunks(9).for_each(|part| drop(store.append(part)));
    let mut expected: Vec<(Position, EventId)> =
        events.iter().filter(|e| content_of(e).unwrap().is_message()).map(|e| (position(e), e.id())).collect();
    expected.sort_unstable();
    let read = |entries: Vec<TimelineEntry>| -> Vec<(Position, EventId)> {
        let id = |n: u64| store.store.event(n).unwrap().unwrap().id;
        entries.iter().flat_map(|e| e.numbers.iter().map(|n| (e.position, id(*n)))).collect()
    };
    for page in [1, 2, 3, 7, 50, 1000] {
        assert_eq!(read(pages(&store, Position::FIRST, Direction::Newer, page)), expected);
        let mut older = read(pages(&store, Position::LAST, Direction::Older, page));
        older.reverse();
        assert_eq!(older, expected);
    }
    for (n, (at, _)) in expected.iter().enumerate() {
        assert_eq!(read(pages(&store, *at, Direction::Newer, 4)), expected[n + 1..]);
        assert_eq!(read(pages(&store, *at, Direction::Older, 4)).len(), n);
    }
    assert_eq!(store.store.timeline(store.room, Position::LAST, Direction::Older, 0).unwrap(), []);
    walk(&store);
}

#[test]
fn imported_records_of_one_moment_keep_their_order_whoever_brings_them_and_when() {
    let mut duo = Duo::new();
    let records: Vec<Imported> = (0..300).map(|n| record(START_MS - 60_000, n, &format!("line {n}"))).collect();
    let mut shuffled = records.clone();
    Seeded::new(8).shuffle(&mut shuffled);
    let mut events: Vec<VerifiedEvent> = Vec::new();
    for (n, record) in shuffled.iter().enumerate() {
        events.push(if n % 3 == 0 { duo.ada_says.imported(record) } else { duo.bob_says.imported(record) });
    }
    let mut store = duo.store();
    events.chunks(50).for_each(|part| drop(store.append(part)));
    let by_text: Vec<String> = listed(&store)
        .into_iter()
        .map(|ids| match content_of(events.iter().find(|e| e.id() == ids[0]).unwrap()) {
            Some(Content::Imported(record)) => record.text,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(by_text, records.iter().map(|r| r.text.clone()).collect::<Vec<_>>());
    let other = record(START_MS - 60_000, 0, "other");
    let held = store.writer.begin().imported(store.room, &[records, vec![other]].concat()).unwrap();
    let counts: Vec<usize> = held.iter().map(Vec::len).collect();
    assert_eq!(counts, [vec![1; 300], vec![0]].concat());
}

#[test]
fn a_record_imported_by_several_people_takes_one_place() {
    let mut duo = Duo::new();
    let one = record(START_MS - 5, 0, "hello");
    let repeated = Imported { occurrence: 1, order: 1, ..one.clone() };
    let mut store = duo.store();
    let events = [
        duo.ada_says.imported(&one),
        duo.bob_says.imported(&one),
        duo.ada_says.imported(&repeated),
        duo.ada_says.imported(&one),
    ];
    store.append(&events[..1]);
    store.append(&events[1..]);
    let [first, second] = &listed(&store)[..] else { panic!("{:?}", listed(&store)) };
    assert_eq!(*first, [events[0].id(), events[1].id(), events[3].id()]);
    assert_eq!(*second, [events[2].id()]);
    assert_eq!(store.writer.begin().imported(store.room, &[one]).unwrap(), [[5, 6, 8]]);
    walk(&store.reopen());
}

#[test]
fn an_imported_record_of_the_future_stands_at_its_import_and_is_known_as_imported() {
    let mut duo = Duo::new();
    let mut store = duo.store();
    let before = duo.ada_says.text("before");
    let futures = [record(START_MS + YEAR_MS, 7, "next year"), record(u64::MAX, u32::MAX, "the end of time")];
    let imports: Vec<VerifiedEvent> = futures.iter().map(|r| duo.ada_says.imported(r)).collect();
    let after = duo.ada_says.text("after");
    let expected = [vec![before.id()], vec![imports[0].id()], vec![imports[1].id()], vec![after.id()]];
    store.append(&[vec![before], imports, vec![after]].concat());
    for _ in 0..2 {
        assert_eq!(listed(&store), expected);
        for (n, record) in futures.iter().enumerate() {
            assert_eq!(
                store.writer.begin().imported(store.room, std::slice::from_ref(record)).unwrap(),
                [[6 + n as u64]]
            );
        }
        walk(&store);
        store = store.reopen();
    }
}

#[test]
fn an_event_far_ahead_stands_where_it_arrived_and_keeps_its_clock() {
    let mut duo = Duo::new();
    let mut store = duo.store();
    let now_ms = START_MS + 60_000;
    duo.bob_says.hlc = Hlc::at_ms(now_ms + YEAR_MS);
    let ahead = duo.bob_says.text("from next year");
    duo.bob_says.hlc = Hlc(u64::MAX - 5);
    let far = duo.bob_says.text("from the end of time");
    duo.ada_says.hlc = Hlc::at_ms(now_ms + 9 * 60_000);
    let nearly = duo.ada_says.text("a few minutes ahead");
    store.append_with(&[ahead.clone(), far.clone(), nearly.clone()], Durability::Synced, now_ms);
    let entries = pages(&store, Position::FIRST, Direction::Newer, 10);
    assert_eq!(
        entries.iter().map(|e| e.position.clock).collect::<Vec<_>>(),
        [Hlc::at_ms(now_ms).0, Hlc::at_ms(now_ms).0, nearly.header().hlc.0]
    );
    for event in [&ahead, &far] {
        let read = store.store.event_by_id(event.id()).unwrap().unwrap();
        assert_eq!((read.hlc, read.clock), (event.header().hlc, Hlc::at_ms(now_ms).0));
    }
    walk(&store);
    let mut later = duo.store();
    later.append_with(&[ahead, far, nearly], Durability::Synced, now_ms + 1000);
    assert_eq!(later.export(), store.export(), "where an event stands here is no part of the history");
}

#[test]
fn edits_and_reactions_are_relations_whatever_comes_first() {
    let mut duo = Duo::new();
    let (target, other) = (duo.ada_says.text("typo"), duo.ada_says.text("other"));
    let edit = duo.ada_says.edit(target.id(), "text");
    let reactions = [duo.bob_says.reaction(target.id(), "👍"), duo.bob_says.reaction(target.id(), "🎉")];
    let reply = duo.bob_says.reply(target.id(), "I see");
    let mut store = duo.store();
    store.append(&[reactions[1].clone(), reactions[0].clone()]);
    assert_eq!(listed(&store), Vec::<Vec<EventId>>::new());
    store.append(std::slice::from_ref(&edit));
    store.append(&[other.clone(), target.clone(), reply.clone()]);
    let related = |id: EventId, max| -> Vec<EventId> {
        store.store.relations(store.room, id, max).unwrap().into_iter().map(|e| e.id).collect()
    };
    assert_eq!(related(target.id(), 10), [reactions[1].id(), reactions[0].id(), edit.id()]);
    assert_eq!(related(target.id(), 1), [reactions[0].id(), edit.id()], "of each log the newest");
    assert_eq!((related(other.id(), 10), related(edit.id(), 10)), (vec![], vec![]));
    let mut expected = [target, other, reply];
    expected.sort_by_key(position);
    assert_eq!(listed(&store).concat(), expected.iter().map(VerifiedEvent::id).collect::<Vec<_>>());
    walk(&store);
}

/// Whether any file of the store has these bytes.
fn on_disk(folder: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(folder).unwrap().any(|file| {
        let content = std::fs::read(file.unwrap().path()).unwrap_or_default();
        content.windows(bytes.len()).any(|window| window == bytes)
    })
}

#[test]
fn an_erased_message_leaves_its_header_and_nothing_else_on_disk() {
    let mut duo = Duo::new();
    let mut store = duo.store();
    let mut random = Seeded::new(2);
    let secret: String = (0..80).map(|_| char::from(b'a' + random.below(26) as u8)).collect();
    let before = duo.bob_says.run(30);
    let target = duo.bob_says.text(&secret);
    let after = duo.bob_says.run(30);
    store.append(&[before, vec![target.clone()], after].concat());
    store.store.compact().unwrap();
    assert!(on_disk(store.path(), secret.as_bytes()), "a control: it was there in plain bytes");
    let erase = duo.bob_rules.erase(&target);
    store.append(std::slice::from_ref(&erase));
    store.store.compact().unwrap();
    for _ in 0..2 {
        let read = store.store.event_by_id(target.id()).unwrap().unwrap();
        assert_eq!(read.body, Body::Erased);
        assert_eq!(store.store.header(store.id, &read).unwrap().id(), target.id());
        assert_eq!(store.store.erasure(target.id()).unwrap(), Some((erase.id(), 0)));
        let (log, top) = (duo.bob_says.log(), duo.bob_says.tip());
        let range = store.range(&log, top, 1, 1 << 20).unwrap();
        assert_eq!(range.verify(store.id, log, top, Vouched::BySignature).unwrap()[30].body(), &Body::Erased);
        assert_eq!(walk(&store).len(), 66);
        assert!(!on_disk(store.path(), secret.as_bytes()));
        store = store.reopen();
    }
    // What is known comes again, with its payload, and stays erased.
    store.append(std::slice::from_ref(&target));
    assert_eq!(store.store.event_by_id(target.id()).unwrap().unwrap().body, Body::Erased);
}

#[test]
fn an_erasure_holds_in_the_batch_of_its_message_before_it_and_after_it() {
    let mut duo = Duo::new();
    let target = duo.bob_says.text("regretted");
    let erase = duo.bob_rules.erase(&target);
    let orders: [&[&[&VerifiedEvent]]; 4] =
        [&[&[&target, &erase]], &[&[&erase, &target]], &[&[&target], &[&erase]], &[&[&erase], &[&target]]];
    for (n, order) in orders.into_iter().enumerate() {
        let mut store = duo.store();
        for batch in order {
            store.append(&batch.iter().map(|e| (*e).clone()).collect::<Vec<_>>());
        }
        let read = store.store.event_by_id(target.id()).unwrap().unwrap();
        assert_eq!(read.body, Body::Erased, "order {n}");
        assert_eq!(store.store.header(store.id, &read).unwrap().id(), target.id());
        assert_eq!(listed(&store), [[target.id()]], "its place is kept");
        walk(&store);
    }
}

#[test]
fn a_moderators_erasure_hides_at_once_and_deletes_later() {
    let mut duo = Duo::new();
    let target = duo.bob_says.text("spam");
    let erase = duo.ada_rules.erase(&target);
    let mut store = duo.store();
    store.append(&[target.clone(), erase.clone()]);
    let body = |store: &TestStore| store.store.event_by_id(target.id()).unwrap().unwrap().body;
    let due_ms = START_MS + YEAR_MS + MODERATED_ERASE_AFTER_MS;
    assert_eq!(store.store.erasure(target.id()).unwrap(), Some((erase.id(), due_ms)));
    assert_eq!(&body(&store), target.body());
    let mut batch = store.writer.begin();
    for _ in 0..2 {
        batch.erase((target.id(), None), erase.id(), 0).unwrap();
    }
    batch.commit(Durability::Synced).unwrap();
    assert_eq!(body(&store.reopen()), Body::Erased);
}

#[test]
fn an_erasure_of_a_control_event_leaves_the_room_readable() {
    let mut duo = Duo::new();
    let mut store = duo.store();
    let state = store.state();
    let topic = duo.ada_rules.set("topic", "unharmed", &[]);
    let mut batch = store.writer.begin();
    crate::support::store::append_in(&mut batch, store.room, store.id, std::slice::from_ref(&topic), START_MS);
    for event in duo.control.iter().chain([&topic]) {
        batch.erase((event.id(), None), EventId([1; 32]), 0).unwrap();
    }
    batch.commit(Durability::Synced).unwrap();
    walk(&store);
    assert_eq!(store.state().members, state.members);
    assert_eq!(store.state().settings["topic"], "unharmed");
}

#[test]
fn a_message_that_arrives_erased_takes_its_place_and_its_log_goes_on() {
    let mut duo = Duo::new();
    let mut full = duo.store();
    let (target, edit) = (duo.bob_says.text("gone"), duo.bob_says.edit(EventId([5; 32]), "gone too"));
    let rest = duo.bob_says.run(3);
    let erases = [duo.bob_rules.erase(&target), duo.bob_rules.erase(&edit)];
    full.append(&[vec![target.clone(), edit], rest, erases.to_vec()].concat());
    let mut store = duo.store();
    store.append(&erases);
    store.take_branch(&full, &duo.bob_says.log(), duo.bob_says.tip(), 1 << 20);
    let read = store.store.event_by_id(target.id()).unwrap().unwrap();
    assert_eq!((read.body, read.clock), (Body::Erased, target.header().hlc.0));
    assert_eq!(listed(&store).concat().len(), 4, "an erased edit is no message");
    walk(&store);
    assert_eq!(store.export(), full.export());
    let second = Tip { seq: 2, id: store.range(&duo.bob_says.log(), duo.bob_says.tip(), 3, 1 << 20).unwrap().prev };
    assert_eq!(store.range(&duo.bob_says.log(), second, 1, 1 << 20).unwrap().rows.len(), 2);
}

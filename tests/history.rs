//! What is appended is there: identically, once, whole batches or nothing, through reopening, and found by number, by
//! id and by the beginning of an id. What a node notes beside it stays too.

use crate::support::people::{Person, START_MS};
use crate::support::seeded::Seeded;
use crate::support::store::{Duo, TestStore, YEAR_MS, append_in, ids, room_row};
use crate::support::walk::{arrived, walk};
use tidings_protocol::event::VerifiedEvent;
use tidings_protocol::id::EventId;
use tidings_storage::{Agreement, Appended, Durability, StorageError, Store};

/// A little of everything: its control events first.
fn story(duo: &mut Duo) -> Vec<VerifiedEvent> {
    let mut events = duo.control.clone();
    let hello = duo.ada_says.text("hello");
    duo.bob_says.parents = vec![hello.id(), events[0].id()];
    let answer = duo.bob_says.reply(hello.id(), "hi there");
    duo.bob_says.parents.clear();
    let edit = duo.ada_says.edit(hello.id(), "hello, all");
    let reaction = duo.bob_says.reaction(hello.id(), "👍");
    let profile = duo.bob_says.profile("Bob");
    let later = duo.bob_says.write(999, b"of a later version");
    let long = duo.ada_says.text(&"x".repeat(40_000));
    let topic = duo.ada_rules.set("topic", "all that is", &[]);
    events.extend([hello, answer, edit, reaction, profile, later, long, topic]);
    events
}

/// Reads each event back and compares all of it.
fn check_reads_back(store: &TestStore, events: &[VerifiedEvent]) {
    for event in events {
        let read = store.store.event_by_id(event.id()).unwrap().unwrap();
        assert_eq!(&store.store.header(store.id, &read).unwrap(), event.header());
        assert_eq!((&read.body, read.signature.as_ref()), (event.body(), event.signature()));
        assert_eq!((read.id, read.log, read.room), (event.id(), event.log(), store.room));
        assert_eq!(store.store.signed_event(store.id, &read).unwrap(), event.to_signed());
    }
}

#[test]
fn what_is_appended_reads_back_identically_through_reopening() {
    let mut duo = Duo::new();
    let events = [story(&mut duo), duo.ada_says.run(600)].concat();
    let mut store = TestStore::new(duo.room);
    let appended = store.append(&events);
    assert!(appended.iter().eq((1..=events.len() as u64).map(Appended::Stored).collect::<Vec<_>>().iter()));
    for _ in 0..3 {
        check_reads_back(&store, &events);
        assert_eq!(walk(&store), ids(&events));
        store = store.reopen();
    }
    store.store.compact().unwrap();
    check_reads_back(&store, &events);
    assert_eq!(walk(&store.reopen()), ids(&events));
}

#[test]
fn a_duplicate_is_known_and_changes_nothing() {
    let mut duo = Duo::new();
    let events = story(&mut duo);
    let mut store = TestStore::new(duo.room);
    let first = store.append(&events);
    let change = store.store.room(store.room).unwrap().unwrap().change;
    for _ in 0..2 {
        let known: Vec<Appended> = (1..=first.len() as u64).map(Appended::Known).collect();
        assert_eq!(store.append(&events), known);
        assert_eq!(store.store.room(store.room).unwrap().unwrap().change, change, "nothing moved");
        assert_eq!(walk(&store), ids(&events));
        store = store.reopen();
    }
}

#[test]
fn a_batch_that_says_the_same_twice_stores_it_once() {
    let mut duo = Duo::new();
    let mut store = duo.store();
    let events: Vec<VerifiedEvent> = (0..6).map(|n| duo.ada_says.text(&format!("{n}"))).collect();
    store.append(&events[2..3]);
    let first = store.store.next_number().unwrap();
    let mut batch = store.writer.begin();
    // Each time with more around it, so that what is known lies at the beginning, in the middle and at the end.
    let mut all = Vec::new();
    for part in [&events[3..4], &events[3..4], &events[..4], &events[1..], &events[..]] {
        all.push(append_in(&mut batch, store.room, store.id, part, START_MS + YEAR_MS));
    }
    batch.commit(Durability::Synced).unwrap();
    assert_eq!(all.concat().iter().filter(|a| matches!(a, Appended::Stored(_))).count(), 5);
    assert!(all[4].iter().all(|a| matches!(a, Appended::Known(_))));
    assert_eq!(store.store.next_number().unwrap(), first + 5);
    walk(&store);
    check_reads_back(&store, &events);
}

#[test]
fn an_uncommitted_batch_leaves_nothing_and_shows_nothing() {
    let mut duo = Duo::new();
    let (control, content) = (duo.control.clone(), duo.ada_says.run(20));
    let mut store = TestStore::new(duo.room);
    store.append(&control);
    let before = walk(&store);
    let (other, _) = Person::new(7).found();
    for _ in 0..3 {
        let mut batch = store.writer.begin();
        append_in(&mut batch, store.room, store.id, &content, START_MS);
        let room = batch.add_room(room_row(other.room())).unwrap();
        batch.put_note("half", b"done").unwrap();
        batch.put_outbox(5).unwrap();
        assert_eq!(batch.room_number(other.room()).unwrap(), Some(room));
        assert!(!batch.store().holds(content[0].id()).unwrap(), "shown before it is committed");
        drop(batch);
        assert_eq!(walk(&store), before);
        assert_eq!(store.store.room_number(other.room()).unwrap(), None);
        assert_eq!((store.store.note("half").unwrap(), store.store.outbox().unwrap()), (None, Vec::new()));
        store = store.reopen();
    }
    store.append(&content);
    assert_eq!(walk(&store), [before, ids(&content)].concat());
}

#[test]
fn a_buffered_commit_is_there_at_once_and_after_reopening() {
    let mut duo = Duo::new();
    let mut store = duo.store();
    let events = duo.bob_says.run(50);
    store.append_with(&events, Durability::Buffered, START_MS + YEAR_MS);
    check_reads_back(&store, &events);
    store.writer.sync().unwrap();
    let store = store.reopen();
    check_reads_back(&store, &events);
    walk(&store);
}

#[test]
fn arrivals_are_gapless_and_in_order_whatever_the_page() {
    let mut duo = Duo::new();
    let events = [story(&mut duo), duo.ada_says.run(40)].concat();
    let mut store = TestStore::new(duo.room);
    for part in events.chunks(7) {
        store.append(part);
    }
    for page in [1, 2, 3, 10, 1000] {
        assert_eq!(arrived(&store.store, page).iter().map(|e| e.id).collect::<Vec<_>>(), ids(&events));
    }
    for cursor in 0..=events.len() {
        let after = store.store.arrived_since(cursor as u64, usize::MAX).unwrap();
        assert!(after.iter().map(|e| e.id).eq(events[cursor..].iter().map(VerifiedEvent::id)));
    }
    assert_eq!(store.store.arrived_since(u64::MAX, 10).unwrap(), []);
    assert_eq!(store.store.arrived_since(0, 0).unwrap(), []);
}

#[test]
fn the_next_number_is_one_past_the_newest_also_in_an_empty_store() {
    let mut duo = Duo::new();
    let mut store = TestStore::new(duo.room);
    assert_eq!(store.store.next_number().unwrap(), 1);
    store.append(&duo.control);
    store.append(&[duo.ada_says.text("one more")]);
    assert_eq!(store.store.next_number().unwrap(), 6);
    assert_eq!(store.reopen().store.next_number().unwrap(), 6);
}

#[test]
fn an_id_is_found_by_any_beginning_of_its_text() {
    let mut duo = Duo::new();
    let events = [duo.control.clone(), duo.ada_says.run(300)].concat();
    let mut store = TestStore::new(duo.room);
    store.append(&events);
    let mut sorted = ids(&events);
    sorted.sort_unstable();
    let check = |text: &str| {
        let expected: Vec<EventId> = sorted.iter().copied().filter(|id| id.to_string().starts_with(text)).collect();
        assert_eq!(store.store.ids_beginning(text, usize::MAX).unwrap(), expected, "{text}");
        let fewer: Vec<EventId> = expected.into_iter().take(2).collect();
        assert_eq!(store.store.ids_beginning(text, 2).unwrap(), fewer, "{text}");
    };
    for id in sorted.iter().step_by(10) {
        let text = id.to_string();
        (1..=text.len()).for_each(|len| check(&text[..len]));
    }
    for first in "abcdefghijklmnopqrstuvwxyz234567".chars() {
        check(&first.to_string());
        check(&format!("{first}{first}"));
        check(&format!("{first}{}", "7".repeat(20)));
    }
    let text = sorted[0].to_string();
    for bad in ["", "1", "A", "é", &text.to_uppercase(), &format!("{text}a"), "%", "a b"] {
        assert_eq!(store.store.ids_beginning(bad, 10).unwrap(), [], "{bad}");
    }
}

#[test]
fn the_newest_profile_wins_in_any_order_and_any_batches() {
    let mut duo = Duo::new();
    let mut phone = Person::at(2, 1).pen(duo.room, duo.bob_says.grant);
    let (enrol, _) = Person::at(2, 1).enrol(duo.room, duo.bob_says.grant);
    let mut profiles: Vec<VerifiedEvent> = (0..4).map(|n| duo.bob_says.profile(&format!("Bob {n}"))).collect();
    phone.hlc = duo.bob_says.hlc;
    phone.hlc.0 -= 1_000 << 16;
    // The same clock as the newest of the other device: the choice must not depend on who came first.
    profiles.push(phone.profile("Bobby"));
    assert_eq!(profiles[3].header().hlc, profiles[4].header().hlc);
    let mut names = Vec::new();
    for seed in 0..12 {
        let mut store = duo.store();
        store.append(std::slice::from_ref(&enrol));
        let mut order = profiles.clone();
        Seeded::new(seed).shuffle(&mut order);
        for part in order.chunks(1 + seed as usize % 5) {
            store.append(part);
        }
        names.push(store.store.profile_name(store.room, duo.bob.user()).unwrap().unwrap());
    }
    assert!(names.iter().all(|name| *name == names[0] && ["Bob 3", "Bobby"].contains(&name.as_str())), "{names:?}");
}

#[test]
fn agreements_with_peers_that_nobody_sees_again_make_room_for_others() {
    let duo = Duo::new();
    let mut store = duo.store();
    for part in 0..4u64 {
        let mut batch = store.writer.begin();
        for n in part * 500..(part + 1) * 500 {
            batch.agree(store.room, &n.to_be_bytes(), Agreement { token: [1; 16], change: n }).unwrap();
        }
        batch.commit(Durability::Buffered).unwrap();
    }
    // The next brings it below the bound, whatever came in one batch.
    let mut batch = store.writer.begin();
    batch.agree(store.room, &3000u64.to_be_bytes(), Agreement { token: [1; 16], change: 3000 }).unwrap();
    batch.commit(Durability::Buffered).unwrap();
    let kept = (0..4000u64).filter(|n| store.store.agreement(store.room, &n.to_be_bytes()).unwrap().is_some());
    let kept: Vec<u64> = kept.collect();
    assert_eq!((kept.len(), kept.last(), kept[0]), (1024, Some(&3000), 977));
}

#[test]
fn agreements_outbox_and_notes_persist() {
    let duo = Duo::new();
    let mut store = duo.store();
    let agreement = Agreement { token: [5; 16], change: 3 };
    let mut batch = store.writer.begin();
    batch.agree(store.room, b"peer", Agreement { token: [4; 16], change: 2 }).unwrap();
    batch.agree(store.room, b"peer", agreement).unwrap();
    for number in [7, 3, 300, 5] {
        batch.put_outbox(number).unwrap();
    }
    batch.clear_outbox(5).unwrap();
    batch.put_note("empty", b"").unwrap();
    batch.put_note("key", &[0, 255]).unwrap();
    batch.put_note("key", &[1, 2, 3]).unwrap();
    batch.commit(Durability::Synced).unwrap();
    for _ in 0..2 {
        store = store.reopen();
        assert_eq!(store.store.agreement(store.room, b"peer").unwrap(), Some(agreement));
        assert_eq!(store.store.agreement(store.room, b"pee").unwrap(), None);
        assert_eq!(store.store.outbox().unwrap(), [3, 7, 300]);
        assert_eq!(store.store.note("key").unwrap(), Some(vec![1, 2, 3]));
        assert_eq!(store.store.note("empty").unwrap(), Some(Vec::new()));
        assert_eq!(store.store.note("absent").unwrap(), None);
    }
}

#[test]
fn an_alias_names_the_room_that_has_it_and_no_other() {
    let mut store = TestStore::new(Duo::new().room);
    let (second, _) = Person::new(7).found();
    let mut batch = store.writer.begin();
    let (one, two) = (store.room, batch.add_room(room_row(second.room())).unwrap());
    batch.change_room(one, |r| r.alias = "a".into()).unwrap();
    batch.change_room(two, |r| r.alias = "b".into()).unwrap();
    batch.commit(Durability::Synced).unwrap();
    let aliases = |store: &Store| ["a", "b", "c", ""].map(|alias| store.room_by_alias(alias).unwrap());
    assert_eq!(aliases(&store.store), [Some(one), Some(two), None, None]);
    // Swapped in one batch, each for a moment with the other's.
    let mut batch = store.writer.begin();
    batch.change_room(one, |r| r.alias = "b".into()).unwrap();
    batch.change_room(two, |r| r.alias = "a".into()).unwrap();
    batch.commit(Durability::Synced).unwrap();
    store = store.reopen();
    assert_eq!(aliases(&store.store), [Some(two), Some(one), None, None]);
    let mut batch = store.writer.begin();
    batch.change_room(one, |r| r.alias = "c".into()).unwrap();
    batch.change_room(two, |r| r.alias = String::new()).unwrap();
    batch.commit(Durability::Synced).unwrap();
    store = store.reopen();
    assert_eq!(aliases(&store.store), [None, None, Some(one), None]);
    // Taken over, and then given up by who had it first.
    for (room, alias) in [(two, "c"), (one, "a")] {
        let mut batch = store.writer.begin();
        batch.change_room(room, |r| r.alias = alias.into()).unwrap();
        batch.commit(Durability::Synced).unwrap();
    }
    assert_eq!(aliases(&store.reopen().store), [Some(one), None, Some(two), None]);
}

#[test]
fn rooms_in_one_store_do_not_mix() {
    let (mut duo, mut other) = (Duo::new(), Duo::of(Person::new(3), Person::new(4)));
    let mut store = duo.store();
    let mut batch = store.writer.begin();
    let number = batch.add_room(room_row(other.room)).unwrap();
    append_in(&mut batch, number, other.room, &other.control, START_MS);
    batch.commit(Durability::Synced).unwrap();
    let (mine, theirs) = (duo.ada_says.run(9), other.bob_says.run(5));
    store.append(&mine);
    let mut batch = store.writer.begin();
    append_in(&mut batch, number, other.room, &theirs, START_MS + YEAR_MS);
    batch.commit(Durability::Synced).unwrap();
    walk(&store);
    let first = store.room;
    (store.room, store.id) = (number, other.room);
    walk(&store);
    assert_eq!(store.store.rooms().unwrap().len(), 2);
    assert_eq!(store.state().members.len(), 2);
    let (log, tip) = (duo.ada_says.log(), duo.ada_says.tip());
    assert_eq!(store.store.log(number, &log).unwrap(), None);
    assert_eq!(store.range(&other.bob_says.log(), tip, 1, 1000), None, "a tip of another log is no top of this one");
    assert_eq!(store.range(&log, tip, 1, 100_000), None, "of the same log in another room neither");
    assert_eq!(store.store.range(first, &log, tip, 1, 100_000).unwrap().unwrap().rows.len(), 9);
}

#[test]
fn a_store_that_is_open_is_held() {
    let store = Duo::new().store();
    assert!(matches!(Store::open(store.path()).map(|_| ()), Err(StorageError::Held)));
    walk(&store.reopen());
}

#[test]
fn notes_are_listed_from_the_last_name_on() {
    let folder = tempfile::tempdir().unwrap();
    let (store, mut writer) = tidings_storage::Store::open(folder.path()).unwrap();
    let mut batch = writer.begin();
    for name in ["word/a/1", "word/a/2", "word/a/3", "word/b/9", "word/a", "word/b"] {
        batch.put_note(name, &[]).unwrap();
    }
    batch.commit(tidings_storage::Durability::Synced).unwrap();
    assert_eq!(store.notes_ending("word/a/", 10).unwrap(), ["3", "2", "1"]);
    assert_eq!(store.notes_ending("word/a/", 2).unwrap(), ["3", "2"]);
    assert_eq!(store.notes_ending("word/c/", 2).unwrap(), [""; 0]);
}

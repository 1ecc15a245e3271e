//! Stores that are damaged: made anew of what can be read of them, with nothing false in it; what is lost is missing as
//! anything that never came, and comes back from whoever has it.

use crate::support::devices::{LISTEN, pair, until, up_with_peer};
use crate::support::nodes::Person;
use crate::support::seeded::Seeded;
use crate::support::store::{Duo, TestStore};
use crate::support::walk::walk;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use tidings_node::home::Home;
use tidings_protocol::content::Imported;
use tidings_protocol::event::{Class, VerifiedEvent};
use tidings_protocol::id::EventId;
use tidings_protocol::log::{Log, Tip};
use tidings_protocol::range::Vouched;
use tidings_storage::search::{Accepts, Search, Term};
use tidings_storage::{Durability, LogRow, Rebuilt, Store, rebuild};

/// A room in which everything that has rows of its own was said, and a branch that forked.
fn said() -> (Duo, Vec<VerifiedEvent>) {
    let mut duo = Duo::new();
    let mut events = duo.control.clone();
    let first = duo.ada_says.text("first of many");
    let more = [
        duo.ada_says.reply(first.id(), "second"),
        duo.ada_says.edit(first.id(), "the first"),
        duo.ada_says.reaction(first.id(), "👍"),
        duo.ada_says.profile("Ada"),
    ];
    events.push(first);
    events.extend(more);
    for n in 0..40 {
        let (source, author, text) = ("irc".to_owned(), "nick".to_owned(), format!("line {n}"));
        let record = Imported { source, author, ms: 1_500_000_000_000 + n, order: 0, occurrence: 0, text };
        events.push(duo.ada_says.imported(&record));
    }
    for n in 0..200 {
        events.push(duo.bob_says.text(&format!("Bob's {n}")));
        events.push(duo.ada_says.text(&format!("Ada's {n} {}", "x".repeat(n % 50))));
    }
    let gone = duo.ada_says.text("to be erased");
    let erase = duo.ada_rules.erase(&gone);
    events.extend([gone, erase]);
    let mut other = duo.bob_says.clone();
    events.extend((0..5).map(|n| duo.bob_says.text(&format!("one way {n}"))));
    events.extend((0..5).map(|n| other.text(&format!("another way {n}"))));
    events.extend(duo.ada_says.run(600));
    (duo, events)
}

/// A store that holds all of it in table files.
fn whole() -> (Duo, TestStore) {
    let (duo, events) = said();
    let mut store = TestStore::new(duo.room);
    for part in events.chunks(100) {
        store.append(part);
    }
    store.store.compact().unwrap();
    (duo, store)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// The store in a folder, made anew in another.
fn anew(from: &Path, to: &Path, store: &TestStore) -> (TestStore, Rebuilt) {
    let rebuilt = rebuild(from, to, &["gone"], 5000).unwrap();
    (TestStore::open(to, store.id), rebuilt)
}

fn states(store: &TestStore) -> Vec<(Log, LogRow)> {
    let logs = [Class::Control, Class::Content].map(|class| store.store.logs(store.room, class).unwrap());
    let mut logs = logs.concat();
    logs.iter_mut().for_each(|(_, row)| row.moved = 0);
    logs
}

fn found(store: &TestStore, word: &str) -> usize {
    let search = Search { terms: vec![Term::Whole(word.to_owned())], to_s: u32::MAX, ..Search::default() };
    let mut hits = store.store.search(search, |_, _| Accepts::All).unwrap();
    std::iter::from_fn(|| hits.next_hit().unwrap()).count()
}

/// Fetches from another store whatever this one lacks, control first.
fn heal(store: &mut TestStore, from: &TestStore) {
    for class in [Class::Control, Class::Content] {
        for (log, theirs) in from.store.logs(from.room, class).unwrap() {
            loop {
                let ours = store.store.log(store.room, &log).unwrap().map(|row| row.state).unwrap_or_default();
                let holes = ours.holes().iter().map(|hole| hole.top);
                let heads = theirs.state.tips().iter().copied();
                let lacks = |tip: &Tip| !store.store.holds(tip.id).unwrap();
                let Some(top) = heads.chain(holes).find(lacks) else { break };
                fetch(store, from, &log, top);
            }
        }
    }
}

fn fetch(store: &mut TestStore, from: &TestStore, log: &Log, top: Tip) {
    let mut next = top;
    while next.seq > 0 && !store.store.holds(next.id).unwrap() {
        let range = from.range(log, next, 1, 1 << 14).unwrap();
        let below = Tip { seq: range.first_seq - 1, id: range.prev };
        store.append(&range.verify(store.id, *log, next, Vouched::ByHash).unwrap());
        next = below;
    }
}

#[test]
fn a_whole_store_made_anew_is_what_it_was() {
    let (_, mut store) = whole();
    let mut batch = store.writer.begin();
    batch.put_note("kept", b"as it is").unwrap();
    batch.put_note("gone", b"with what was lost").unwrap();
    batch.commit(Durability::Synced).unwrap();
    let (ids, export, states_before, found_before) =
        (walk(&store), store.export(), states(&store), ["line", "bob's", "erased"].map(|word| found(&store, word)));
    let next = store.store.next_number().unwrap();
    let folder = TempDir::new().unwrap();
    copy(store.path(), &folder.path().join("old"));
    let (new, rebuilt) = anew(&folder.path().join("old"), &folder.path().join("new"), &store);
    assert_eq!(rebuilt, Rebuilt { events: ids.len() as u64, ..Rebuilt::default() });
    assert_eq!((walk(&new), new.store.next_number().unwrap()), (ids, next));
    assert!(new.export() == export);
    assert_eq!(states(&new), states_before);
    assert_eq!(["line", "bob's", "erased"].map(|word| found(&new, word)), found_before);
    assert_eq!(new.store.note("kept").unwrap().as_deref(), Some(b"as it is".as_slice()));
    assert_eq!(new.store.note("gone").unwrap(), None);
}

#[test]
fn a_trimmed_store_made_anew_asks_for_nothing_that_it_gave_up() {
    let (duo, mut store) = whole();
    let log = duo.ada_says.log();
    let heads: Vec<Tip> = states(&store).iter().find(|(l, _)| *l == log).unwrap().1.state.tips().to_vec();
    let mut batch = store.writer.begin();
    while batch.trim_log(store.room, &log, 500, &heads, (64, 7)).unwrap().more {
        batch.commit(Durability::Synced).unwrap();
        batch = store.writer.begin();
    }
    batch.commit(Durability::Synced).unwrap();
    let (ids, before) = (walk(&store), states(&store));
    let folder = TempDir::new().unwrap();
    copy(store.path(), &folder.path().join("old"));
    let (new, rebuilt) = anew(&folder.path().join("old"), &folder.path().join("new"), &store);
    assert_eq!(rebuilt, Rebuilt { events: ids.len() as u64, ..Rebuilt::default() });
    assert_eq!(walk(&new), ids);
    let summary = |states: Vec<(Log, LogRow)>| -> Vec<_> {
        let of = |row: &LogRow| {
            let holes: Vec<_> = row.state.holes().iter().map(|h| (h.top, row.state.is_trimmed(h))).collect();
            (row.state.tips().to_vec(), holes, row.state.floor(), row.state.held())
        };
        states.iter().map(|(log, row)| (*log, of(row))).collect()
    };
    assert_eq!(summary(states(&new)), summary(before));
}

fn tables(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut tables: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|ending| ending == "sst")).collect();
    tables.sort();
    tables
}

enum Harm {
    Flip(u64),
    Cut(u64),
    Remove,
}

fn harm(path: &Path, harm: &Harm) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    match harm {
        Harm::Flip(at) => {
            let mut byte = [0];
            file.read_exact_at(&mut byte, *at).unwrap();
            file.write_all_at(&[byte[0] ^ 0x20], *at).unwrap();
        }
        Harm::Cut(len) => file.set_len(*len).unwrap(),
        Harm::Remove => fs::remove_file(path).unwrap(),
    }
}

#[test]
fn whatever_table_is_damaged_the_rest_stays_and_what_is_lost_comes_back() {
    let (_, store) = whole();
    let (ids, export) = (walk(&store), store.export());
    let all: BTreeSet<EventId> = ids.iter().copied().collect();
    let folder = TempDir::new().unwrap();
    let pristine = folder.path().join("pristine");
    copy(store.path(), &pristine);
    let (mut lost_some, mut lost_none) = (0, 0);
    for (n, path) in tables(&pristine).into_iter().enumerate() {
        let (name, len) = (path.file_name().unwrap(), fs::metadata(&path).unwrap().len());
        let mut random = Seeded::new(n as u64);
        let mut flip = || Harm::Flip(random.below(usize::try_from(len).unwrap()) as u64);
        for (k, what) in [flip(), flip(), flip(), Harm::Cut(len / 2), Harm::Remove].into_iter().enumerate() {
            let (old, new) = (folder.path().join(format!("old{n}-{k}")), folder.path().join(format!("new{n}-{k}")));
            copy(&pristine, &old);
            harm(&old.join(name), &what);
            let (mut made, rebuilt) = anew(&old, &new, &store);
            let held: BTreeSet<EventId> = walk(&made).into_iter().collect();
            assert!(held.is_subset(&all) && rebuilt.events == held.len() as u64, "table {n}, harm {k}: {rebuilt:?}");
            match held.len() < all.len() {
                true => lost_some += 1,
                false => lost_none += 1,
            }
            heal(&mut made, &store);
            assert!(made.export() == export, "table {n}, harm {k}: {rebuilt:?}");
            walk(&made);
            drop(made);
            fs::remove_dir_all(&old).unwrap();
            fs::remove_dir_all(&new).unwrap();
        }
    }
    assert!(lost_some > 0 && lost_none > 0, "{lost_some} lost something, {lost_none} nothing");
}

#[test]
fn a_store_whose_lists_of_files_are_lost_is_made_anew_of_its_tables() {
    let (_, store) = whole();
    let (ids, export) = (walk(&store), store.export());
    let folder = TempDir::new().unwrap();
    let names = |folder: &Path| -> Vec<String> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let is_list = |name: &&String| name.starts_with("MANIFEST") || *name == "CURRENT";
    for (n, name) in names(store.path()).iter().filter(is_list).enumerate() {
        for (k, what) in [Harm::Flip(7), Harm::Cut(3), Harm::Remove].into_iter().enumerate() {
            let (old, new) = (folder.path().join(format!("old{n}-{k}")), folder.path().join(format!("new{n}-{k}")));
            copy(store.path(), &old);
            harm(&old.join(name), &what);
            assert!(Store::open(&old).is_err_and(|error| error.is_damage()), "{name}, harm {k}");
            let before = names(&old).len();
            let (mut made, rebuilt) = anew(&old, &new, &store);
            assert!(names(&old).len() >= before, "the damaged one is left as it is");
            assert_eq!((rebuilt.events, walk(&made)), (ids.len() as u64, ids.clone()), "{name}, harm {k}");
            heal(&mut made, &store);
            assert!(made.export() == export, "{name}, harm {k}");
        }
    }
}

/// People who share a room with much in it, Bob's node at rest.
fn at_rest(folder: &Path) -> (Person, Person) {
    let (alice, mut bob) = pair(folder);
    for n in 0..60 {
        bob.send("zig", &format!("Bob's {n}"));
        alice.send("zig", &format!("Alice's {n}"));
    }
    until("both hold the same", || alice.history("zig") == bob.history("zig"));
    bob.down();
    // What lay in the write-ahead log goes into tables.
    bob.up().down();
    (alice, bob)
}

#[test]
fn a_node_whose_tables_are_cut_goes_on_with_the_rest_and_is_whole_again_with_a_peer() {
    let folder = TempDir::new().unwrap();
    let (alice, bob) = at_rest(folder.path());
    let room = alice.json(&["room", "show", "zig"])["room"].as_str().unwrap().to_owned();
    let (mut healed, mut refused, mut unsure) = (0, 0, 0);
    for (n, table) in tables(&bob.home.join("store")).into_iter().enumerate() {
        let mut copied = Person::at(folder.path(), &format!("copied{n}"));
        assert!(Command::new("cp").arg("-a").arg(&bob.home).arg(&copied.home).status().unwrap().success());
        let (store, name) = (copied.home.join("store"), table.file_name().unwrap());
        harm(&store.join(name), &Harm::Cut(fs::metadata(&table).unwrap().len() / 2));
        assert_eq!(copied.run(&["--json", "verify"]).status.code(), Some(1), "table {n}");
        let lost = rebuild(&store, &folder.path().join(format!("tried{n}")), &[], 5000).unwrap();
        if lost.control_lost > 0 {
            let up = copied.command(&[&["--json", "up"], &LISTEN[..]].concat());
            if copied.try_up(up).is_err() {
                copied.is_harmed = true;
                let says = ["the store is damaged", "who may do what", "restore DIR", "id recover"];
                copied.refused(1, &[&["up"], &LISTEN[..]].concat(), &says);
                assert!(!copied.home.join("store.damaged").exists(), "nothing was changed");
                refused += 1;
                continue;
            }
            // Alone, it can be read, and nothing is done there by what may not be so.
            let shown = copied.json(&["room", "show", &room]);
            if shown["read_only"] == "unsure" {
                copied.refused(4, &["send", &room, "who may say this?"], &["were lost", "who has them"]);
                assert!(shown["may"].as_array().unwrap().iter().all(|may| may == "leave"), "{shown}");
                unsure += 1;
            }
            copied.down();
        }
        up_with_peer(&mut copied, &alice);
        until("all of it is back", || {
            // By its id: what the room is called here may be lost.
            let held = copied.run(&["export", &room]);
            held.status.success() && held.stdout == alice.history("zig")
        });
        assert!(copied.home.join("store.damaged").exists() && !copied.home.join("store.ready").exists());
        assert_eq!(copied.json(&["verify"])["damaged_count"], 0);
        until("it can be written in again", || copied.run(&["send", &room, "back"]).status.success());
        until("both hold the same", || copied.history(&room) == alice.history("zig"));
        copied.down();
        healed += 1;
    }
    assert!(healed > 5 && refused > 0, "{healed} healed, {unsure} of them unsure of the room, {refused} refused");
}

#[test]
fn what_is_cut_off_the_write_ahead_log_is_noticed_and_comes_back() {
    cut_off(|_| {});
}

#[test]
fn what_is_cut_off_the_write_ahead_log_is_noticed_though_the_store_is_made_anew() {
    cut_off(|store| fs::write(store.join("DAMAGED"), "something was met").unwrap());
}

fn cut_off(and: impl Fn(&Path)) {
    let folder = TempDir::new().unwrap();
    let (alice, mut bob) = at_rest(folder.path());
    let before = fs::read(bob.home.join("device.key")).unwrap();
    up_with_peer(&mut bob, &alice);
    let id = bob.send("zig", "on disk and at Alice's");
    alice.follow("zig").until_id(&id);
    let expected = alice.history("zig");
    bob.kill();
    let logs = fs::read_dir(bob.home.join("store")).unwrap().map(|entry| entry.unwrap().path());
    let log = logs.filter(|path| path.extension().is_some_and(|ending| ending == "log")).max().unwrap();
    let len = fs::metadata(&log).unwrap().len();
    assert!(len > 300, "{len}");
    harm(&log, &Harm::Cut(len / 3));
    let verified: Value = serde_json::from_slice(&bob.run(&["--json", "verify"]).stdout).unwrap();
    let told = verified["damaged"].to_string();
    assert!(told.contains("write-ahead log"), "{verified}");
    and(&bob.home.join("store"));
    up_with_peer(&mut bob, &alice);
    until("it is back", || bob.texts("zig").contains(&"on disk and at Alice's".to_owned()));
    until("both hold the same", || {
        bob.history("zig").starts_with(b"tidings") && bob.history("zig") == alice.history("zig")
    });
    assert_ne!(fs::read(bob.home.join("device.key")).unwrap(), before, "its places are not used again");
    assert!(expected.len() <= alice.history("zig").len());
    assert_eq!(bob.json(&["verify"])["damaged_count"], 0);
}

#[test]
fn a_store_that_is_put_aside_stays_and_an_exchange_that_was_broken_off_is_finished() {
    let folder = TempDir::new().unwrap();
    let mut alice = Person::at(folder.path(), "alice");
    alice.up();
    alice.json(&["room", "create", "zig"]);
    alice.send("zig", "kept");
    alice.down();
    let at = |name: &str| alice.home.join(name);
    let (store, old, again, ready) = (at("store"), at("store.damaged"), at("store.damaged-again"), at("store.ready"));
    let mut seen = |what: &str| {
        alice.up();
        assert_eq!(alice.texts("zig"), ["kept"], "{what}");
        assert!(!ready.exists(), "{what}");
        alice.down();
    };
    fs::write(store.join("DAMAGED"), "").unwrap();
    seen("made anew");
    fs::write(old.join("first"), "").unwrap();
    for n in 0..2 {
        fs::write(store.join("DAMAGED"), "").unwrap();
        seen("made anew again");
        assert!(old.join("first").exists() && again.exists(), "{n}");
    }
    // Killed between the two renames, and before the first.
    fs::rename(&store, &ready).unwrap();
    seen("the old one had gone already");
    copy(&store, &ready);
    fs::write(store.join("old"), "").unwrap();
    seen("both were there");
    assert!(again.join("old").exists() && !store.join("old").exists());
}

#[test]
fn of_two_who_start_with_a_home_at_once_one_is_refused() {
    let folder = TempDir::new().unwrap();
    let mut alice = Person::at(folder.path(), "alice");
    alice.up();
    alice.json(&["room", "create", "zig"]);
    alice.down();
    fs::write(alice.home.join("store/DAMAGED"), "").unwrap();
    // As one that makes the store anew, which takes long.
    let home = Home::open(&alice.home).unwrap();
    let starting = home.hold().unwrap().unwrap();
    alice.refused(1, &[&["up"], &LISTEN[..]].concat(), &["is in use"]);
    assert!(home.hold().unwrap().is_none() && !alice.home.join("store.damaged").exists());
    drop(starting);
    alice.up();
    assert!(alice.home.join("store.damaged").exists() && home.hold().unwrap().is_some());
}

/// Where nobody has what was lost somebody says so, and the room goes on.
fn goes_on_alone(person: &mut Person, room: &str) {
    person.refused(4, &["room", "resume", room], &["say --yes"]);
    person.done(&["room", "resume", room, "--yes"]);
    let said = person.send(room, "with what is here");
    person.down();
    person.up();
    assert_eq!(person.json(&["room", "show", room])["read_only"], Value::Null);
    assert!(person.lines(room).iter().any(|line| line["id"] == said.as_str()));
    person.refused(4, &["room", "resume", room, "--yes"], &["nothing is changed"]);
}

#[test]
fn where_control_events_are_lost_a_room_is_read_alone_and_goes_on_with_a_peer() {
    let folder = TempDir::new().unwrap();
    let (mut alice, mut bob) = pair(folder.path());
    for n in 0..40 {
        alice.json(&["room", "invite", "zig"]);
        bob.send("zig", &format!("Bob's {n}"));
    }
    let room = alice.json(&["room", "show", "zig"])["room"].as_str().unwrap().to_owned();
    until("both hold the same", || alice.history("zig") == bob.history("zig"));
    bob.down();
    bob.up().down();
    alice.down();
    // Of the table in which the events are, a block.
    let found =
        tables(&bob.home.join("store")).into_iter().flat_map(|table| (0..24).map(move |part| (table.clone(), part)));
    let mut unsure = 0;
    for (n, (table, part)) in found.enumerate() {
        let mut copied = Person::at(folder.path(), &format!("copied{n}"));
        assert!(Command::new("cp").arg("-a").arg(&bob.home).arg(&copied.home).status().unwrap().success());
        let path = copied.home.join("store").join(table.file_name().unwrap());
        harm(&path, &Harm::Flip(fs::metadata(&path).unwrap().len() * part / 24));
        let lost = rebuild(&copied.home.join("store"), &folder.path().join(format!("tried{n}")), &[], 5000);
        fs::write(copied.home.join("store/DAMAGED"), "something was met").unwrap();
        let up = copied.command(&[&["--json", "up"], &LISTEN[..]].concat());
        if lost.is_ok_and(|lost| lost.control_lost == 0) || copied.try_up(up).is_err() {
            copied.kill();
            fs::remove_dir_all(&copied.home).unwrap();
            continue;
        }
        let read_only = |person: &Person| person.json(&["room", "show", &room])["read_only"].clone();
        if read_only(&copied) == "unsure" {
            let before = copied.lines(&room).len();
            assert!(
                copied.done(&["room", "show", &room]).contains("read-only: events that say who may do what were lost")
            );
            copied.refused(4, &["send", &room, "who may say this?"], &["were lost", "who has them"]);
            copied.down();
            copied.up();
            assert_eq!((read_only(&copied), copied.lines(&room).len()), ("unsure".into(), before), "it is forgotten");
            unsure += 1;
            if unsure == 2 {
                goes_on_alone(&mut copied, &room);
            }
        }
        copied.down();
        alice.up();
        up_with_peer(&mut copied, &alice);
        until("all of it is back", || {
            let held = copied.run(&["export", &room]);
            held.status.success() && held.stdout == alice.history("zig")
        });
        until("it can be written in again", || copied.run(&["send", &room, "back"]).status.success());
        assert_eq!(read_only(&copied), Value::Null);
        until("both hold the same", || copied.history(&room) == alice.history("zig"));
        alice.down();
        copied.down();
        if unsure == 2 {
            return;
        }
    }
    panic!("no block had some of the control events alone");
}

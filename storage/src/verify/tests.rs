//! Stores in which one row is wrong, or one byte of a table: each is told, and a whole store has no flaw.

use super::{Verified, Wrong};
use crate::batch::Writer;
use crate::fixtures;
use crate::key::{self, RoomNumber};
use crate::row::EventRow;
use crate::schema::Family;
use crate::store::Store;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use tidings_protocol::codec::encode;
use tidings_protocol::content::{Content, Text};
use tidings_protocol::id::RoomId;
use tidings_protocol::identity::Signature;
use tidings_protocol::log::{Log, LogState};

struct Whole {
    folder: tempfile::TempDir,
    store: Store,
    writer: Writer,
    room: RoomNumber,
    log: Log,
}

const COUNT: u64 = 600;

/// A store with a log of 600 events, every other one signed only by those above, as a sync leaves it.
fn whole() -> Whole {
    let folder = tempfile::tempdir().unwrap();
    let (store, mut writer) = Store::open(folder.path()).unwrap();
    let room = fixtures::add_room(&mut writer, 1);
    let text = |n: usize| Content::Text(Text::new(format!("message {n} of many"), Vec::new()));
    let (log, events) = fixtures::said(1, COUNT as usize, |n, _| text(n));
    fixtures::append(&mut writer, room, &events);
    for number in (1..COUNT).filter(|number| number % 2 == 1) {
        change_event(&store, number, |row| row.signature = None);
    }
    Whole { folder, store, writer, room, log }
}

fn put(store: &Store, family: Family, key: &[u8], value: &[u8]) {
    store.db().put_cf(store.family(family).unwrap(), key, value).unwrap();
}

fn delete(store: &Store, family: Family, key: &[u8]) {
    store.db().delete_cf(store.family(family).unwrap(), key).unwrap();
}

fn change_event(store: &Store, number: u64, change: impl FnOnce(&mut EventRow)) {
    let mut row = store.event_row(number).unwrap().unwrap();
    change(&mut row);
    put(store, Family::Event, &key::number(number), &row.to_bytes());
}

fn verify(store: &Store) -> Verified {
    store.verify(&mut |_| true).unwrap()
}

fn wrongs(store: &Store) -> Vec<Wrong> {
    let found = verify(store);
    assert_eq!(found.flaw_count, found.flaws.len() as u64);
    found.flaws.into_iter().map(|flaw| flaw.what).collect()
}

#[test]
fn a_whole_store_has_no_flaw_and_all_of_it_is_read() {
    let whole = whole();
    let found = verify(&whole.store);
    assert_eq!((found.flaw_count, found.flaws.as_slice()), (0, [].as_slice()));
    assert_eq!((found.events, found.signatures, found.unvouched), (COUNT, COUNT / 2, 0));
    assert!(found.rows > COUNT * 5 && found.bytes > COUNT * 200, "{found:?}");
    // The highest is signed: without that nothing vouches for it, nor for the one below, which it names.
    change_event(&whole.store, COUNT, |row| row.signature = None);
    let found = verify(&whole.store);
    assert_eq!((found.flaw_count, found.unvouched), (0, 2));
}

#[test]
fn whoever_watches_may_stop_it() {
    let whole = whole();
    assert_eq!(whole.store.verify(&mut |_| false), None);
}

#[test]
fn each_wrong_row_is_told() {
    type Harm = fn(&Whole);
    let id_of = |whole: &Whole, n| whole.store.event_row(n).unwrap().unwrap().id;
    let cases: &[(&str, Harm, &[Wrong])] = &[
        ("another payload", |w| put(&w.store, Family::Payload, &key::number(300), &[7; 40]), &[Wrong::Id]),
        ("another clock", |w| change_event(&w.store, 300, |row| row.hlc.0 += 1), &[Wrong::Id]),
        (
            "another's signature",
            |w| change_event(&w.store, 300, |row| row.signature = Some(Signature([1; 64]))),
            &[Wrong::Signature],
        ),
        (
            "not of a log",
            |w| delete(&w.store, Family::Log, &log_key(w, 300)),
            &[Wrong::Unlisted("log"), Wrong::Log("how many it has")],
        ),
        ("a log's row", |w| put_log(w, LogState::default()), &[Wrong::Log("how many it has")]),
        ("no id", |w| delete(&w.store, Family::Id, &id_key(w, 300)), &[Wrong::Unlisted("id")]),
        (
            "an id of none",
            |w| put(&w.store, Family::Id, &[9; 8], &key::number(9999)),
            &[Wrong::Dangling { family: "id", number: 9999 }],
        ),
        (
            "a payload of none",
            |w| put(&w.store, Family::Payload, &key::number(9999), &[0; 20]),
            &[Wrong::Dangling { family: "payload", number: 9999 }],
        ),
        ("no place", |w| delete(&w.store, Family::Timeline, &place_key(w, 300)), &[Wrong::Unlisted("timeline")]),
        (
            "a list that is none",
            |w| put(&w.store, Family::Timeline, &place_key(w, 300), &[1, 2, 3]),
            &[
                Wrong::Row { family: "timeline", why: "a number of an event has a wrong length".to_owned() },
                Wrong::Unlisted("timeline"),
            ],
        ),
        ("not erased", |w| put(&w.store, Family::Payload, &key::number(ERASED), &[0; 20]), &[Wrong::NotErased]),
    ];
    for (name, harm, expected) in cases {
        let whole = whole();
        erase(&whole);
        assert_eq!(wrongs(&whole.store), [], "before: {name}");
        harm(&whole);
        let found = verify(&whole.store);
        let wrongs: Vec<Wrong> = found.flaws.iter().map(|flaw| flaw.what.clone()).collect();
        assert_eq!(wrongs, *expected, "{name}");
        for flaw in found.flaws.iter().filter(|flaw| flaw.event.is_some()) {
            let number = if *name == "not erased" { ERASED } else { 300 };
            assert_eq!((flaw.room, flaw.event), (Some(RoomId([1; 32])), Some(id_of(&whole, number))), "{name}");
        }
    }
}

#[test]
fn an_event_that_is_not_there_is_told_with_all_that_lists_it() {
    let whole = whole();
    delete(&whole.store, Family::Event, &key::number(300));
    let wrongs = wrongs(&whole.store);
    let dangling = |family| Wrong::Dangling { family, number: 300 };
    for wrong in ["payload", "id", "log", "timeline"].map(dangling) {
        assert!(wrongs.contains(&wrong), "{wrong:?}: {wrongs:?}");
    }
    // The one above names it by its number, so its own hash cannot be told.
    let above = |wrong: &&Wrong| matches!(wrong, Wrong::Event { number: 301, .. });
    assert_eq!((wrongs.iter().filter(above).count(), wrongs.len()), (1, 5), "{wrongs:?}");
}

/// A byte in each part of each table file is turned round, one at a time: it is told, or what is read is what was written.
#[test]
fn a_byte_that_is_turned_round_is_told_and_the_rest_is_read() {
    let Whole { folder, store, writer, .. } = whole();
    store.compact().unwrap();
    let whole = verify(&store);
    drop((store, writer));
    let (mut told, mut unread) = (0, 0);
    for path in tables(folder.path()) {
        let len = std::fs::metadata(&path).unwrap().len();
        for part in 0..FLIPS {
            flip(&path, part * len / FLIPS);
            match Store::open_read_only(folder.path()) {
                Ok(store) => {
                    let found = verify(&store);
                    let is_told = found.flaw_count > 0;
                    assert!(is_told || found == whole, "{}: {part}: {found:?}", path.display());
                    told += u64::from(is_told);
                }
                Err(_) => unread += 1,
            }
            flip(&path, part * len / FLIPS);
        }
    }
    assert_eq!(verify(&Store::open_read_only(folder.path()).unwrap()), whole);
    assert!(told > 100, "{told} told, {unread} not opened");
}

#[test]
fn a_damaged_block_hides_none_of_the_others() {
    let Whole { folder, store, writer, .. } = whole();
    store.compact().unwrap();
    let of_events = |file: &rocksdb::LiveFile| file.column_family_name == Family::Event.name();
    let file = store.db().live_files().unwrap().into_iter().find(of_events).unwrap();
    drop((store, writer));
    let path = folder.path().join(file.name.trim_start_matches('/'));
    // In the midst of its first block of several.
    flip(&path, 4000);
    let store = Store::open_read_only(folder.path()).unwrap();
    let found = verify(&store);
    let unreadable = found.flaws.iter().filter(|flaw| matches!(flaw.what, Wrong::Unreadable { .. })).count();
    assert_eq!(unreadable, 1, "{:?}", found.flaws);
    assert!(found.events > COUNT / 2 && found.events < COUNT, "{}", found.events);
    drop(store);
    flip(&path, 4000);
    std::fs::remove_file(&path).unwrap();
    let store = Store::open_read_only(folder.path()).unwrap();
    let found = verify(&store);
    assert!(found.flaw_count > 0 && found.events == 0, "{found:?}");
}

fn tables(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut tables: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|ending| ending == "sst")).collect();
    tables.sort();
    tables
}

fn flip(path: &Path, at: u64) {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

fn log_key(whole: &Whole, number: u64) -> [u8; 20] {
    let row = whole.store.event_row(number).unwrap().unwrap();
    key::log(row.log, row.seq, number)
}

fn id_key(whole: &Whole, number: u64) -> [u8; 8] {
    key::id(whole.store.event_row(number).unwrap().unwrap().id)
}

fn place_key(whole: &Whole, number: u64) -> [u8; 20] {
    key::timeline(whole.room, whole.store.event(number).unwrap().unwrap().position())
}

fn put_log(whole: &Whole, state: LogState) {
    let row = whole.store.log(whole.room, &whole.log).unwrap().unwrap();
    let row = crate::logs::LogRow { state, ..row };
    put(&whole.store, Family::Tips, &key::tips(whole.room, &whole.log), &encode(&row));
}

fn erase(whole: &Whole) {
    let Some(event) = whole.store.event(ERASED).unwrap() else { return };
    let header = whole.store.header(RoomId([1; 32]), &event).unwrap();
    let remains = crate::row::Remains { len: header.payload_len, commit: header.payload_commit };
    change_event(&whole.store, ERASED, |row| row.erased = Some(remains));
    delete(&whole.store, Family::Payload, &key::number(ERASED));
}

const ERASED: u64 = 100;
/// Bytes that are turned round in each table.
const FLIPS: u64 = 40;

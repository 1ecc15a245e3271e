//! What is left in the files after an erasure: every byte is looked at.

use super::*;
use crate::batch::{Durability, Writer};
use crate::fixtures::{add_room, append, said};
use std::fs;
use std::path::Path;
use tidings_protocol::content::Content;
use tidings_protocol::event::VerifiedEvent;
use tidings_protocol::id::EventId;

/// It has few letters in common with words that numbers make, and comes last among all words: a table ends with it.
const SECRET: &str = "zzvqxjkwqz";

fn texts(writer: &mut Writer, texts: &[String]) -> Vec<EventId> {
    let room = add_room(writer, 1);
    let (_, events) = said(1, texts.len(), |n, _| Content::Text(texts[n].as_str().into()));
    append(writer, room, &events);
    events.iter().map(VerifiedEvent::id).collect()
}

fn erase(writer: &mut Writer, id: EventId) {
    let mut batch = writer.begin();
    batch.erase((id, None), EventId([9; 32]), 0).unwrap();
    batch.commit(Durability::Synced).unwrap();
}

fn files_with(folder: &Path, word: &str) -> Vec<String> {
    let mut found = Vec::new();
    for file in fs::read_dir(folder).unwrap().flatten() {
        let bytes = fs::read(file.path()).unwrap_or_default();
        if bytes.windows(word.len()).any(|part| part == word.as_bytes()) {
            found.push(file.file_name().into_string().unwrap());
        }
    }
    found
}

fn many() -> Vec<String> {
    let mut texts: Vec<String> = (0..300).map(|n| format!("number {n} of {}", n * 7919)).collect();
    texts[150] = SECRET.to_owned();
    texts
}

#[test]
fn a_word_goes_from_tables_and_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let (store, mut writer) = Store::open(folder.path()).unwrap();
    let ids = texts(&mut writer, &many());
    assert_ne!(files_with(folder.path(), SECRET), [""; 0]);
    assert!(store.wants_shredding(), "at the start nobody knows");
    assert_eq!((store.to_shred(9).unwrap(), store.wants_shredding()), (vec![], false));
    erase(&mut writer, ids[150]);
    assert!(store.wants_shredding());
    let gone = store.to_shred(9).unwrap();
    assert_eq!(gone.len(), 1);
    assert!(store.shred(&gone).unwrap());
    assert_eq!(files_with(folder.path(), SECRET), [""; 0]);
    let mut batch = writer.begin();
    batch.shredded(&gone).unwrap();
    batch.commit(Durability::Synced).unwrap();
    assert_eq!((store.to_shred(9).unwrap(), store.wants_shredding()), (vec![], false));
    for (n, id) in ids.iter().enumerate() {
        let event = store.event_by_id(*id).unwrap().unwrap();
        assert_eq!(event.content().is_some(), n != 150);
    }
}

#[test]
fn a_key_with_which_a_table_ends_goes_from_the_manifest() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _writer) = Store::open(folder.path()).unwrap();
    let key = [&[0xff; 8], SECRET.as_bytes()].concat();
    let search = store.family(Family::Search).unwrap();
    store.db().put_cf(search, &key, [0]).unwrap();
    store.compact().unwrap();
    let before = files_with(folder.path(), SECRET);
    assert!(before.iter().any(|name| name.starts_with("MANIFEST")), "{before:?}");
    store.db().delete_cf(search, &key).unwrap();
    assert!(store.shred_everything().unwrap());
    assert_eq!(files_with(folder.path(), SECRET), [""; 0]);
}

#[test]
fn what_an_earlier_run_erased_is_shredded_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let (store, mut writer) = Store::open(folder.path()).unwrap();
    let ids = texts(&mut writer, &many());
    erase(&mut writer, ids[150]);
    drop((store, writer));
    let (store, writer) = Store::open(folder.path()).unwrap();
    assert!(store.wants_shredding());
    let gone = store.to_shred(9).unwrap();
    assert!(store.shred(&gone).unwrap());
    assert_eq!(files_with(folder.path(), SECRET), [""; 0]);
    drop((store, writer));
    let (store, _writer) = Store::open(folder.path()).unwrap();
    assert_eq!(files_with(folder.path(), SECRET), [""; 0]);
    assert_eq!(store.to_shred(9).unwrap(), gone, "until somebody has said that it is done");
}

#[test]
fn it_is_not_gone_while_somebody_reads_what_was_before() {
    let folder = tempfile::tempdir().unwrap();
    let (store, mut writer) = Store::open(folder.path()).unwrap();
    let ids = texts(&mut writer, &many());
    store.compact().unwrap();
    let mut reader = store.scan(Family::Payload, &[], &[]).unwrap();
    reader.next().unwrap().unwrap();
    erase(&mut writer, ids[150]);
    let gone = store.to_shred(9).unwrap();
    assert!(!store.shred(&gone).unwrap());
    drop(reader);
    assert!(store.shred(&gone).unwrap());
    assert_eq!(files_with(folder.path(), SECRET), [""; 0]);
}

#[test]
fn what_lies_together_is_rewritten_at_once_and_nothing_twice() {
    let place = |number: u64| ToShred { number, room: RoomNumber(0) };
    assert_eq!(together(&[place(5), place(2000), place(1000), place(5000)]), [(5, 2000), (5000, 5000)]);
    assert!(together(&[]).is_empty());
    let folder = tempfile::tempdir().unwrap();
    let (store, mut writer) = Store::open(folder.path()).unwrap();
    let ids = texts(&mut writer, &many());
    erase(&mut writer, ids[0]);
    erase(&mut writer, ids[0]);
    assert_eq!(store.to_shred(9).unwrap().len(), 1);
}

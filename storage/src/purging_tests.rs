//! What is left in the store after a purge: every row is looked at.

use super::*;
use crate::batch::{Durability, Writer};
use crate::fixtures::{GRANT, add_room, append, said};
use crate::store::Store;
use std::collections::BTreeSet;
use tidings_protocol::event::VerifiedEvent;
use tidings_protocol::id::RoomId;
use tidings_protocol::log::Tip;

/// Texts and, behind each third, an edit of it.
fn events(room: u8, count: usize) -> (Log, Vec<VerifiedEvent>) {
    said(room, count, |n, before| match before {
        Some(before) if n % 3 == 2 => Content::Edit { target: before.id(), text: "edited words".into() },
        _ => Content::Text(format!("words {n}").as_str().into()),
    })
}

fn rows(store: &Store) -> BTreeSet<(&'static str, Vec<u8>)> {
    let mut rows = BTreeSet::new();
    for family in Family::ALL {
        for row in store.scan(family, &[], &[]).unwrap() {
            rows.insert((family.name(), row.unwrap().0.to_vec()));
        }
    }
    rows
}

#[test]
fn of_a_room_nothing_is_left_but_the_word_that_it_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (store, mut writer) = Store::open(folder.path()).unwrap();
    let one = add_room(&mut writer, 1);
    append(&mut writer, one, &events(1, 30).1);
    let before = rows(&store);
    let two = add_room(&mut writer, 2);
    let (log, all) = events(2, 70);
    append(&mut writer, two, &all);
    let mut batch = writer.begin();
    batch.put_outbox(store.number_of(all[0].id()).unwrap().unwrap()).unwrap();
    assert!(batch.purge_event(store.number_of(all[1].id()).unwrap().unwrap()).unwrap());
    batch.erase((all[3].id(), None), GRANT, 0).unwrap();
    batch.commit(Durability::Synced).unwrap();
    assert!(store.log(two, &log).unwrap().is_some() && rows(&store).len() > before.len() + 200);

    let what = Purged::Room(RoomId([2; 32]));
    let mut batch = writer.begin();
    batch.put_purge(what, Some(PurgeRow { since_ms: 1, done: false, room: Some(two) })).unwrap();
    batch.hide_room(two).unwrap();
    batch.commit(Durability::Synced).unwrap();
    assert_eq!((store.rooms().unwrap().len(), store.room_by_alias("room2").unwrap()), (1, None));
    let mut gone = 0;
    loop {
        let mut batch = writer.begin();
        let part = batch.purge_room(two, 16).unwrap();
        batch.commit(Durability::Synced).unwrap();
        gone += part;
        // Who looks meanwhile finds nothing wrong.
        assert_eq!(store.verify(&mut |_| true).unwrap().flaws, []);
        if part == 0 {
            break;
        }
    }
    assert_eq!(gone, 70);
    let mut batch = writer.begin();
    batch.shredded(&store.to_shred(9).unwrap()).unwrap();
    batch.commit(Durability::Synced).unwrap();
    let mut after = rows(&store);
    assert_eq!(store.purges().unwrap(), [(what, PurgeRow { since_ms: 1, done: false, room: Some(two) })]);
    assert!(after.remove(&(Family::Room.name(), to_key(what))));
    assert_eq!(after, before);
}

#[test]
fn words_go_come_back_only_when_wanted_and_ranges_stop_above_them() {
    let folder = tempfile::tempdir().unwrap();
    let (store, mut writer) = Store::open(folder.path()).unwrap();
    let room = add_room(&mut writer, 1);
    let (log, all) = events(1, 12);
    append(&mut writer, room, &all);
    let whole = rows(&store);
    let (tip, of_text) = (Tip { seq: 12, id: all[11].id() }, all[4].id());
    let purge = |writer: &mut Writer| {
        let mut batch = writer.begin();
        let gone = batch.purge_with_edits(room, of_text).unwrap();
        batch.commit(Durability::Synced).unwrap();
        gone
    };
    assert_eq!((purge(&mut writer), purge(&mut writer)), (2, 0), "the text and its edit");
    let row = store.log(room, &log).unwrap().unwrap();
    let range = store.range(room, &log, tip, 1, usize::MAX).unwrap().unwrap();
    assert_eq!((range.first_seq, range.prev), (7, all[5].id()), "a range ends above what is gone");
    assert_eq!(store.range(room, &log, Tip { seq: 5, id: of_text }, 1, usize::MAX).unwrap(), None);
    assert_eq!(store.heads_below_purged(room, &row).unwrap(), [Tip { seq: 4, id: all[3].id() }]);
    let event = store.event_by_id(of_text).unwrap().unwrap();
    assert!(event.purged && store.signed_event(RoomId([1; 32]), &event).unwrap().is_none());
    assert_eq!(store.header(RoomId([1; 32]), &event).unwrap().id(), of_text, "the chain holds");
    assert!(store.lacks_words(room).unwrap());

    append(&mut writer, room, &all);
    assert!(store.event_by_id(of_text).unwrap().unwrap().purged, "it does not come back by itself");
    let mut batch = writer.begin();
    let part = batch.want_log_again(room, &log, (0, 0), 100, |id| id == all[5].id()).unwrap();
    batch.commit(Durability::Synced).unwrap();
    assert_eq!((part.gone, part.next), (1, None), "the edit is refused still");
    assert_eq!(store.wanted_again(room, &row).unwrap(), [(Tip { seq: 5, id: of_text }, 4)]);
    append(&mut writer, room, &all);
    assert!(!store.event_by_id(of_text).unwrap().unwrap().purged && !store.is_wanted_again(of_text).unwrap());
    let mut batch = writer.begin();
    batch.want_log_again(room, &log, (0, 0), 100, |_| false).unwrap();
    batch.commit(Durability::Synced).unwrap();
    append(&mut writer, room, &all);
    assert_eq!(rows(&store), whole);
    assert!(!store.lacks_words(room).unwrap());
}

#[test]
fn what_was_purged_and_is_erased_by_who_may_is_as_any_other_that_was() {
    let folder = tempfile::tempdir().unwrap();
    let (store, mut writer) = Store::open(folder.path()).unwrap();
    let room = add_room(&mut writer, 1);
    let (log, all) = events(1, 6);
    append(&mut writer, room, &all);
    let mut batch = writer.begin();
    assert!(batch.purge_event(store.number_of(all[1].id()).unwrap().unwrap()).unwrap());
    batch.commit(Durability::Synced).unwrap();
    let mut batch = writer.begin();
    batch.erase((all[1].id(), None), GRANT, 0).unwrap();
    batch.commit(Durability::Synced).unwrap();
    let event = store.event_by_id(all[1].id()).unwrap().unwrap();
    assert!(!event.purged && event.body == Body::Erased && !store.lacks_words(room).unwrap());
    let range = store.range(room, &log, Tip { seq: 6, id: all[5].id() }, 1, usize::MAX).unwrap().unwrap();
    assert_eq!(range.first_seq, 1, "others may have its header");
}

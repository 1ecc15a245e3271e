//! What the store's own fixtures cannot bring about by saying things: logs with as many branches as may be, and large families
//! in which a byte is damaged.

use super::{Rebuilt, rebuild};
use crate::batch::{Durability, Writer};
use crate::fixtures::{GRANT, add_room, append};
use crate::key;
use crate::salvage::Part;
use crate::schema::Family;
use crate::store::Store;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use tidings_protocol::content::Content;
use tidings_protocol::event::{Class, Draft, Hlc, Payload, VerifiedEvent};
use tidings_protocol::id::{EventId, RoomId};
use tidings_protocol::identity::DeviceKey;
use tidings_protocol::limits::TIPS_PER_LOG_MAX;
use tidings_protocol::range::sign_run;

fn event(seq: u64, prev: EventId, salt: u8) -> VerifiedEvent {
    let content = Content::Text(format!("{seq} {salt}").as_str().into());
    let draft = Draft {
        class: Class::Content,
        kind: content.kind(),
        room: RoomId([1; 32]),
        grant: GRANT,
        seq: 0,
        prev: EventId::ZERO,
        parents: Vec::new(),
        hlc: Hlc::at_ms(1000 + seq),
        payload: Payload { salt: [salt; 16], bytes: content.encode() },
    };
    sign_run(&DeviceKey::from_seed(&[7; 32]), seq, prev, vec![draft]).unwrap().remove(0)
}

fn delete_event(store: &Store, id: EventId) {
    let number = store.number_of(id).unwrap().unwrap();
    store.db().delete_cf(store.family(Family::Event).unwrap(), key::number(number)).unwrap();
}

#[test]
fn a_log_with_as_many_branches_as_may_be_loses_an_event_and_no_more_than_stands_below_it() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    let (store, mut writer) = Store::open(&old).unwrap();
    let room = add_room(&mut writer, 1);
    let first = event(1, EventId::ZERO, 0);
    append(&mut writer, room, std::slice::from_ref(&first));
    for branch in 1..TIPS_PER_LOG_MAX {
        append(&mut writer, room, &[event(2, first.id(), branch as u8)]);
    }
    let mut long = vec![event(2, first.id(), 200)];
    for seq in 3..8 {
        long.push(event(seq, long.last().unwrap().id(), 200));
    }
    append(&mut writer, room, &long);
    // Now the piece above it is one branch too many.
    delete_event(&store, long[2].id());
    drop((store, writer));
    let rebuilt = rebuild(&old, &new, &[], 5).unwrap();
    let (store, _writer) = Store::open(&new).unwrap();
    // The one above it does not know any more which it named.
    assert_eq!((rebuilt.events, rebuilt.is_whole()), (2, false));
    assert!(long[4..].iter().all(|event| store.holds(event.id()).unwrap()));
    assert_eq!(rebuilt.lost, 1 + (TIPS_PER_LOG_MAX as u64 - 1) + 4);
    assert_eq!(store.verify(&mut |_| true).unwrap().flaws, []);
}

#[test]
fn what_was_in_no_table_and_in_no_log_is_no_loss() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    let (_, mut writer) = Store::open(&old).unwrap();
    let room = add_room(&mut writer, 1);
    append(&mut writer, room, &[event(1, EventId::ZERO, 0)]);
    drop(writer);
    let rebuilt = rebuild(&old, &new, &[], 5).unwrap();
    assert_eq!(rebuilt, Rebuilt { events: 1, ..Rebuilt::default() });
    assert!(rebuilt.is_whole());
}

fn fill(writer: &mut Writer, family: Family, keys: impl Iterator<Item = Vec<u8>>) {
    let mut batch = writer.begin();
    for key in keys {
        // What does not compress, so that a block has few.
        batch.put(family, &key, blake3::hash(&key).as_bytes()).unwrap();
    }
    batch.commit(Durability::Synced).unwrap();
}

fn largest_table(folder: &Path) -> PathBuf {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let tables = files.filter(|path| path.extension().is_some_and(|ending| ending == "sst"));
    tables.max_by_key(|path| path.metadata().unwrap().len()).unwrap()
}

/// Families of numbers, of random ids, and of keys of several kinds.
#[test]
fn a_flipped_byte_costs_the_rows_of_its_block_and_hardly_more() {
    type Key = fn(u32) -> Vec<u8>;
    let keys: [(Family, Key); 3] = [
        (Family::Outbox, |n| key::number(u64::from(n)).to_vec()),
        (Family::Erased, |n| blake3::hash(&n.to_be_bytes()).as_bytes().to_vec()),
        (Family::Beacon, |n| [&[(n % 3) as u8][..], &(n / 500).to_be_bytes(), &n.to_be_bytes()].concat()),
    ];
    for (family, key) in keys {
        let folder = tempfile::tempdir().unwrap();
        let (store, mut writer) = Store::open(folder.path()).unwrap();
        fill(&mut writer, family, (0..ROWS).map(key));
        store.compact().unwrap();
        drop((store, writer));
        let table = largest_table(folder.path());
        let file = std::fs::OpenOptions::new().read(true).write(true).open(&table).unwrap();
        let mut byte = [0];
        let at = table.metadata().unwrap().len() / 3;
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 8], at).unwrap();
        let store = Store::open_read_only(folder.path()).unwrap();
        let (mut rows, mut unreadable) = (0, 0);
        let read = store.each_part(family, |part| {
            match part {
                Part::Rows(part) => rows += part.len(),
                Part::Unreadable { .. } => unreadable += 1,
            }
            Ok::<_, ()>(())
        });
        assert_eq!(read, Ok(()));
        let lost = ROWS as usize - rows;
        assert!(unreadable >= 1 && lost > 0 && lost < ROWS as usize / 20, "{}: {lost} lost", family.name());
    }
}

const ROWS: u32 = 20_000;

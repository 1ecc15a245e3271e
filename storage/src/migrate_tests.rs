//! A store of an older schema becomes one of this, wherever it was killed on its way.

use super::*;
use crate::fixtures::{add_room, append, said};
use crate::shredding::ToShred;
use crate::store::Row;
use tidings_protocol::content::Content;

const NOTE: &str = "of this store alone";

fn search_rows(store: &Store) -> Vec<Row> {
    store.scan(Family::Search, &[], &[]).unwrap().map(Result::unwrap).collect()
}

fn schema_of(store: &Store) -> u32 {
    let bytes = store.find(Family::Meta, key::META_SCHEMA).unwrap().unwrap();
    u32::from_be_bytes((*bytes).try_into().unwrap())
}

/// A store of the first schema, whose words are found by rows that nobody reads any more; and what they are to be.
fn old_store(path: &Path) -> (Writer, Vec<Row>) {
    let (store, mut writer) = Store::open(path).unwrap();
    let room = add_room(&mut writer, 1);
    let text = |n: usize| (0..3000).map(|word| format!("w{} ", (n * 31 + word) % 5000)).collect::<String>();
    let (_, events) = said(1, 200, |n, _| Content::Text(text(n).as_str().into()));
    append(&mut writer, room, &events);
    let right = search_rows(&store);
    let mut batch = writer.begin();
    for (n, (at, _)) in right.iter().enumerate().filter(|(n, _)| n % 3 == 0) {
        batch.put(Family::Search, at, &(n as u64).to_be_bytes()).unwrap();
    }
    batch.put(Family::Search, b"a row that nobody knows", b"").unwrap();
    batch.put(Family::Meta, key::META_SCHEMA, &1u32.to_be_bytes()).unwrap();
    batch.put_note(NOTE, b"here").unwrap();
    batch.commit(Durability::Synced).unwrap();
    assert!(search_rows(&store) != right);
    (writer, right)
}

fn open(path: &Path) -> (Store, Writer, Vec<u32>) {
    let mut told = Vec::new();
    let (store, writer) = Store::open_migrating(path, None, &[NOTE], &mut |schema| told.push(schema)).unwrap();
    (store, writer, told)
}

#[test]
fn rows_of_an_older_schema_are_made_anew_and_the_store_as_it_was_stays_beside_it_for_a_while() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let (_, right) = old_store(&path);
    let (store, _, told) = open(&path);
    assert_eq!((told, store.migrated(), schema_of(&store)), (vec![1], Some(1), SCHEMA));
    assert!(search_rows(&store) == right, "the words are not found as they should be");
    assert_eq!(store.note(NOTE).unwrap().as_deref(), Some(b"here".as_slice()));
    let [copy] = &copies(&path)[..] else { panic!("{:?}", copies(&path)) };
    assert!(copy.ends_with("store.schema-1"));
    drop(store);

    let (store, _, told) = open(&path);
    assert_eq!((told, store.migrated()), (vec![], None), "once");
    drop(store);
    let before = Store::open_read_only(copy).unwrap();
    assert_eq!((schema_of(&before), before.note(NOTE).unwrap()), (1, None), "it is another's now");
    assert_eq!(before.next_number().unwrap(), 201);
    drop(before);

    let other = beside(&path, ".schema-1-of-mine");
    fs::create_dir(&other).unwrap();
    let made = SystemTime::now() - KEPT_FOR - Duration::from_secs(60);
    File::open(copy).unwrap().set_modified(made).unwrap();
    drop(open(&path));
    assert!(copies(&path).is_empty() && other.is_dir());
}

#[test]
fn whoever_is_killed_after_any_part_goes_on_there() {
    let mut parts = 0;
    loop {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let (mut writer, right) = old_store(&path);
        let mut now = begin(&mut writer, 1, &[], &mut |_| {}).unwrap().unwrap();
        let mut steps = 0;
        while let Some(step) = STEPS.iter().find(|step| step.from == now.from && steps < parts) {
            now = one_part(&mut writer, step, now).unwrap();
            steps += 1;
        }
        drop(writer);
        let (store, _, told) = open(&path);
        assert_eq!((told, store.migrated(), schema_of(&store)), (vec![1], Some(1), SCHEMA));
        assert!(search_rows(&store) == right, "killed after {parts} parts");
        let before = Store::open_read_only(&beside(&path, ".schema-1")).unwrap();
        assert!(schema_of(&before) == 1 && search_rows(&before) != right, "the copy has changed on the way");
        if steps < parts {
            assert!(parts > 3, "all of it was one part");
            return;
        }
        parts += 1;
    }
}

#[test]
fn what_is_to_go_from_the_files_goes_with_the_copy_and_its_bytes_count() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    drop(old_store(&path));
    let (store, _, _) = open(&path);
    assert!(store.copies_bytes() < 1 << 20, "what is linked lies on the disk once");
    store.compact().unwrap();
    let of_copy: u64 = fs::read_dir(&copies(&path)[0]).unwrap().map(|f| f.unwrap().metadata().unwrap().len()).sum();
    assert!(store.copies_bytes() > of_copy / 2 && store.disk_bytes() > store.copies_bytes());
    let gone = [ToShred { number: 1, room: crate::key::RoomNumber(1) }];
    assert!(store.shred(&gone).unwrap());
    assert_eq!((copies(&path), store.copies_bytes()), (vec![], 0));
}

#[test]
fn a_copy_that_cannot_be_made_leaves_the_store_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let (_, right) = old_store(&path);
    fs::write(beside(&path, ".schema-1"), b"a file in its place").unwrap();
    let refused = Store::open(&path).err();
    assert!(matches!(refused, Some(StorageError::Io { .. })), "{refused:?}");
    let before = Store::open_read_only(&path).unwrap();
    assert!(schema_of(&before) == 1 && search_rows(&before) != right);
    drop(before);
    fs::remove_file(beside(&path, ".schema-1")).unwrap();
    let (store, _, _) = open(&path);
    assert!(search_rows(&store) == right);
}

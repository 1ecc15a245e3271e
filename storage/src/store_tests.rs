//! Which stores open.

use super::*;
use rocksdb::Options;

fn write_schema(store: &Store, schema: u32) {
    store.db.put_cf(store.family(Family::Meta).unwrap(), key::META_SCHEMA, schema.to_be_bytes()).unwrap();
}

fn open(path: &Path) -> Result<Store, StorageError> {
    Store::open(path).map(|(store, _)| store)
}

#[test]
fn a_newer_schema_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    write_schema(&open(folder.path()).unwrap(), SCHEMA + 1);
    for _ in 0..2 {
        let refused = open(folder.path()).err();
        match refused {
            Some(StorageError::NewerSchema { found, known }) => assert_eq!((found, known), (SCHEMA + 1, SCHEMA)),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_newer_schema_with_families_of_its_own_is_refused_in_the_same_words() {
    let folder = tempfile::tempdir().unwrap();
    write_schema(&open(folder.path()).unwrap(), SCHEMA + 7);
    let names = Family::ALL.iter().map(|f| f.name());
    let mut db = DB::open_cf(&Options::default(), folder.path(), names).unwrap();
    db.create_cf("of_a_later_version", &Options::default()).unwrap();
    drop(db);
    let refused = open(folder.path()).err();
    assert!(matches!(refused, Some(StorageError::NewerSchema { found, .. }) if found == SCHEMA + 7), "{refused:?}");
}

#[test]
fn a_family_that_nobody_knows_under_our_schema_is_no_newer_schema() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()).unwrap());
    let names = Family::ALL.iter().map(|f| f.name());
    let mut db = DB::open_cf(&Options::default(), folder.path(), names).unwrap();
    db.create_cf("strange", &Options::default()).unwrap();
    drop(db);
    assert!(matches!(open(folder.path()).err(), Some(StorageError::Rocks(_))));
}

#[test]
fn only_a_store_that_another_has_open_is_held() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    assert!(matches!(open(folder.path()).err(), Some(StorageError::Held)));
    drop(store);
    std::fs::remove_file(folder.path().join("LOCK")).unwrap();
    std::fs::create_dir(folder.path().join("LOCK")).unwrap();
    let refused = open(folder.path()).err();
    assert!(matches!(refused, Some(StorageError::Rocks(_))), "{refused:?}");
}

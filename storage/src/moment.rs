//! A store as it is at one moment: what is written, erased or trimmed later is not in it. For what reads long and has to be of
//! one piece. As long as it lives nothing goes from the files that it sees, so whoever has one lets go of it in time.

use crate::store::Store;
use rocksdb::{DB, ReadOptions, SnapshotWithThreadMode};
use std::sync::Arc;

type Snapshot<'db> = SnapshotWithThreadMode<'db, DB>;

self_cell::self_cell!(
    pub(crate) struct Moment {
        owner: Arc<DB>,
        #[covariant]
        dependent: Snapshot,
    }
);

impl Moment {
    pub(crate) fn now(db: Arc<DB>) -> Arc<Moment> {
        Arc::new(Moment::new(db, |db| db.snapshot()))
    }

    /// Reads by these see the store as it was.
    pub(crate) fn see(&self, options: &mut ReadOptions) {
        options.set_snapshot(self.borrow_dependent());
    }
}

impl Store {
    /// Whether somebody sees the store as it was a while ago: then what was deleted since stays in the files.
    pub(crate) fn is_seen_as_it_was(&self) -> bool {
        !matches!(self.db().property_int_value("rocksdb.num-snapshots"), Ok(Some(0)))
    }
}

#[cfg(test)]
mod tests {
    use crate::fixtures;
    use crate::shredding::ToShred;
    use crate::store::Store;

    #[test]
    fn a_moment_stays_as_it_is_and_what_it_sees_is_not_said_to_be_gone() {
        let folder = tempfile::tempdir().unwrap();
        let (store, mut writer) = Store::open(folder.path()).unwrap();
        let room = fixtures::add_room(&mut writer, 1);
        let before = store.at_this_moment();
        let other = fixtures::add_room(&mut writer, 2);
        let rooms = |store: &Store| store.rooms().unwrap().into_iter().map(|(number, _)| number).collect::<Vec<_>>();
        assert_eq!((rooms(&before), rooms(&store)), (vec![room], vec![room, other]));
        let gone = [ToShred { number: 1, room }];
        assert!(!store.shred(&gone).unwrap());
        drop(before);
        assert!(store.shred(&gone).unwrap());
    }
}

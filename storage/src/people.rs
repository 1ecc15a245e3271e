//! What only this node knows of people and peers: pet names, keys compared, who is blocked; names at domains and the keys
//! that they are pinned to; peers that are banned. None of it comes from events, and none of it leaves.

use crate::batch::Batch;
use crate::error::{Damage, StorageError};
use crate::key::{self, RoomNumber};
use crate::rooms::Profile;
use crate::schema::Family;
use crate::store::Store;
use tidings_protocol::codec::{Canonical, CodecError, Reader, Writer, decode, encode};
use tidings_protocol::id::UserId;
use tidings_protocol::limits::NAME_LEN_MAX;

/// A person as the local user knows them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PersonRow {
    /// What the local user calls them; empty for nothing.
    pub petname: String,
    /// When their key was compared, Unix milliseconds; 0 when it was not.
    pub verified_ms: u64,
    /// Since when what they say is hidden here; 0 when it is shown.
    pub blocked_ms: u64,
}

/// The key that a name at a domain stands for here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PinRow {
    /// Whose the domain said it is, the first time.
    pub user: UserId,
    /// When that was, Unix milliseconds.
    pub pinned_ms: u64,
}

/// The name that somebody shows in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownName {
    /// Who.
    pub user: UserId,
    /// The name.
    pub name: String,
    /// When they first said so by their own clock, as an hlc.
    pub claimed: u64,
    /// When it first came here, Unix milliseconds.
    pub here_ms: u64,
}

impl Store {
    /// Everybody of whom anything is kept.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn people(&self) -> Result<Vec<(UserId, PersonRow)>, StorageError> {
        self.named_rows(key::PERSON, "person", |name| name.try_into().ok().map(UserId))
    }

    /// Every name at a domain that is pinned to a key.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn pins(&self) -> Result<Vec<(String, PinRow)>, StorageError> {
        self.named_rows(key::PIN, "pin", |name| String::from_utf8(name.to_vec()).ok())
    }

    /// Peers that are banned, as bytes, and since when.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn bans(&self) -> Result<Vec<(Vec<u8>, u64)>, StorageError> {
        let rows = self.named_rows::<_, Since>(key::BAN, "ban", |name| Some(name.to_vec()))?;
        Ok(rows.into_iter().map(|(peer, since)| (peer, since.0)).collect())
    }

    /// The names that people show in a room, whoever is a member now or was.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn shown_names(&self, room: RoomNumber) -> Result<Vec<ShownName>, StorageError> {
        let prefix = key::profiles_of(room);
        let mut out = Vec::new();
        for entry in self.scan(Family::Room, &prefix, &prefix)? {
            let (place, row) = entry?;
            let user = place.get(prefix.len()..).and_then(|id| id.try_into().ok()).map(UserId);
            let user = user.ok_or(Damage::Length("profile key"))?;
            let row: Profile = decode(&row, usize::MAX).map_err(|source| Damage::Row { what: "profile", source })?;
            out.push(ShownName { user, name: row.name, claimed: row.since.0, here_ms: row.here_ms });
        }
        Ok(out)
    }

    fn named_rows<N, R: Canonical>(
        &self,
        kind: u8,
        what: &'static str,
        name: impl Fn(&[u8]) -> Option<N>,
    ) -> Result<Vec<(N, R)>, StorageError> {
        let mut out = Vec::new();
        for entry in self.scan(Family::Room, &[kind], &[kind])? {
            let (place, row) = entry?;
            let name = place.get(1..).and_then(&name).ok_or(Damage::Length(what))?;
            out.push((name, decode(&row, usize::MAX).map_err(|source| Damage::Row { what, source })?));
        }
        Ok(out)
    }
}

impl Batch<'_> {
    /// Keeps what is known of a person; a row that says nothing goes.
    ///
    /// # Errors
    /// `Rocks`.
    pub fn put_person(&mut self, user: UserId, row: &PersonRow) -> Result<(), StorageError> {
        let place = key::named(key::PERSON, user.as_bytes());
        match *row == PersonRow::default() {
            true => self.delete(Family::Room, &place),
            false => self.put(Family::Room, &place, &encode(row)),
        }
    }

    /// Pins a name at a domain to a key; `None` forgets it.
    ///
    /// # Errors
    /// `Rocks`.
    pub fn put_pin(&mut self, name: &str, row: Option<PinRow>) -> Result<(), StorageError> {
        self.put_or_delete(key::PIN, name.as_bytes(), row.map(|row| encode(&row)))
    }

    /// Bans a peer since a time; `None` lets it in again.
    ///
    /// # Errors
    /// `Rocks`.
    pub fn put_ban(&mut self, peer: &[u8], since_ms: Option<u64>) -> Result<(), StorageError> {
        self.put_or_delete(key::BAN, peer, since_ms.map(|ms| encode(&Since(ms))))
    }

    fn put_or_delete(&mut self, kind: u8, name: &[u8], row: Option<Vec<u8>>) -> Result<(), StorageError> {
        let place = key::named(kind, name);
        match row {
            Some(row) => self.put(Family::Room, &place, &row),
            None => self.delete(Family::Room, &place),
        }
    }
}

struct Since(u64);

impl Canonical for Since {
    fn write(&self, w: &mut Writer) {
        w.u64(self.0);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Since(r.u64()?))
    }
}

impl Canonical for PersonRow {
    fn write(&self, w: &mut Writer) {
        w.text(&self.petname);
        w.u64(self.verified_ms);
        w.u64(self.blocked_ms);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(PersonRow { petname: r.text(NAME_LEN_MAX)?, verified_ms: r.u64()?, blocked_ms: r.u64()? })
    }
}

impl Canonical for PinRow {
    fn write(&self, w: &mut Writer) {
        self.user.write(w);
        w.u64(self.pinned_ms);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(PinRow { user: UserId::read(r)?, pinned_ms: r.u64()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Durability;

    #[test]
    fn what_is_known_of_people_is_kept_apart_and_goes_when_it_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (ana, ben) = (UserId([1; 32]), UserId([0xff; 32]));
        let row = PersonRow { petname: "Mum".into(), verified_ms: 1, blocked_ms: 2 };
        let pin = PinRow { user: ana, pinned_ms: 3 };
        {
            let (_, mut writer) = Store::open(folder.path()).unwrap();
            let mut batch = writer.begin();
            batch.put_person(ana, &row).unwrap();
            batch.put_person(ben, &PersonRow { blocked_ms: 9, ..PersonRow::default() }).unwrap();
            batch.put_pin("ana@example.org", Some(pin)).unwrap();
            batch.put_pin("ben@example.org", Some(pin)).unwrap();
            batch.put_ban(&[0xff; 38], Some(4)).unwrap();
            batch.put_ban(&[0; 38], Some(5)).unwrap();
            batch.commit(Durability::Synced).unwrap();
            let mut batch = writer.begin();
            batch.put_person(ben, &PersonRow::default()).unwrap();
            batch.put_pin("ben@example.org", None).unwrap();
            batch.put_ban(&[0; 38], None).unwrap();
            batch.commit(Durability::Synced).unwrap();
        }
        let (store, _) = Store::open(folder.path()).unwrap();
        assert_eq!(store.people().unwrap(), [(ana, row)]);
        assert_eq!(store.pins().unwrap(), [("ana@example.org".to_owned(), pin)]);
        assert_eq!(store.bans().unwrap(), [(vec![0xff; 38], 4)]);
    }

    #[test]
    fn a_name_is_as_old_as_its_looks() {
        let folder = tempfile::tempdir().unwrap();
        let (store, mut writer) = Store::open(folder.path()).unwrap();
        let (room, ana) = (RoomNumber(7), UserId([1; 32]));
        let mut say = |now_ms: u64, hlc: u64, name: &str| {
            let before = store.profile_changes(room);
            let mut batch = writer.begin();
            batch.now_ms = now_ms;
            batch.put_profile(room, ana, Profile::new(hlc, name, None, now_ms)).unwrap();
            batch.commit(Durability::Synced).unwrap();
            assert_ne!(store.profile_changes(room), before);
            let shown = store.shown_names(room).unwrap().remove(0);
            (shown.name, shown.claimed, shown.here_ms)
        };
        assert_eq!(say(100, 10, "Ana"), ("Ana".into(), 10, 100));
        assert_eq!(say(200, 20, "ana"), ("ana".into(), 10, 100), "it looks as before");
        assert_eq!(say(300, 5, "Ana"), ("ana".into(), 5, 100), "history that came late");
        assert_eq!(say(400, 6, "Zoe"), ("ana".into(), 5, 100), "an old name");
        assert_eq!(say(500, 50, "Zoe"), ("Zoe".into(), 50, 500), "another name is a new one");
        assert_eq!(store.shown_names(RoomNumber(8)).unwrap(), []);
        assert_eq!(store.profile_changes(RoomNumber(8)), 0);
    }
}

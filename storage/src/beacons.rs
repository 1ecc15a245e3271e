//! The newest beacons of a room, as its node last had them: what is of the moment is never here. And how far each device
//! said that it has our own events.

use crate::batch::Batch;
use crate::error::{Damage, StorageError};
use crate::key::{self, RoomNumber};
use crate::schema::Family;
use crate::store::Store;
use tidings_protocol::beacon::{SignedBeacon, VerifiedBeacon, kind};
use tidings_protocol::codec::{Canonical, CodecError, Reader, Writer, decode, encode};
use tidings_protocol::event::Hlc;
use tidings_protocol::id::{DeviceId, RoomId};

/// How far a device is with us, by its own word, as local numbers of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// It has our events up to this one on its disk.
    pub held: u64,
    /// What Erases up to this one name is in no file of its.
    pub erased: u64,
    /// By its newest word on that: up to which Erase, and the clock of the first that waits there.
    pub waits: (u64, Hlc),
}

impl Default for Reached {
    fn default() -> Self {
        Reached { held: 0, erased: 0, waits: (0, Hlc(0)) }
    }
}

impl Reached {
    /// Whether what an Erase names is gone there: of the author's own words, or by a moderator.
    pub fn has_erased(&self, erase: u64, hlc: Hlc, own: bool) -> bool {
        let (up_to, waits) = self.waits;
        erase <= self.erased || (erase <= up_to && (own || hlc < waits))
    }
}

impl Store {
    /// The beacons kept of a room.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn beacons(&self, number: RoomNumber, room: RoomId) -> Result<Vec<VerifiedBeacon>, StorageError> {
        let damaged = |source| Damage::Row { what: "beacon", source };
        let mut out = Vec::new();
        for row in self.scan(Family::Beacon, &key::slots(number), &key::slots(number))? {
            out.push(SignedBeacon::decode(&row?.1).and_then(|beacon| beacon.kept(room)).map_err(damaged)?);
        }
        Ok(out)
    }

    /// How far each device of a room is.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn reached(&self, number: RoomNumber) -> Result<Vec<(DeviceId, Reached)>, StorageError> {
        let prefix = key::reached_in(number);
        let mut out = Vec::new();
        for row in self.scan(Family::Beacon, &prefix, &prefix)? {
            let (key_bytes, value) = row?;
            let device = key_bytes.get(prefix.len()..).and_then(|bytes| bytes.try_into().ok());
            let device = DeviceId(device.ok_or(Damage::Length("beacon key"))?);
            out.push((device, decode(&value, value.len()).map_err(|source| Damage::Row { what: "reached", source })?));
        }
        Ok(out)
    }
}

impl Batch<'_> {
    /// Puts a beacon in its slot, unless the one there replaces it, or it is of the moment.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn put_beacon(&mut self, room: RoomNumber, beacon: &SignedBeacon) -> Result<(), StorageError> {
        let place = key::slot(room, beacon.device, beacon.kind);
        let held: Option<SignedBeacon> = self.store().find_row(Family::Beacon, &place, "beacon")?;
        if kind::is_kept(beacon.kind) && held.is_none_or(|held| beacon.replaces(&held)) {
            self.put(Family::Beacon, &place, &encode(beacon))?;
        }
        Ok(())
    }

    /// Empties a slot.
    ///
    /// # Errors
    /// `Rocks`.
    pub fn drop_beacon(&mut self, room: RoomNumber, device: DeviceId, kind: u16) -> Result<(), StorageError> {
        self.delete(Family::Beacon, &key::slot(room, device, kind))
    }

    /// A device has our events up to this number.
    ///
    /// # Errors
    /// `Rocks`.
    pub fn put_reached(&mut self, room: RoomNumber, device: DeviceId, reached: Reached) -> Result<(), StorageError> {
        self.put(Family::Beacon, &key::reached(room, device), &encode(&reached))
    }
}

impl Canonical for Reached {
    fn write(&self, w: &mut Writer) {
        [self.held, self.erased, self.waits.0, self.waits.1.0].into_iter().for_each(|n| w.u64(n));
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Reached { held: r.u64()?, erased: r.u64()?, waits: (r.u64()?, Hlc(r.u64()?)) })
    }
}

#[cfg(test)]
mod tests {
    use crate::{Durability, Reached, RoomRow, Store};
    use tidings_protocol::beacon::{Draft, Presence, Signal};
    use tidings_protocol::control::payload::RoomKind;
    use tidings_protocol::event::Hlc;
    use tidings_protocol::id::{EventId, RoomId};
    use tidings_protocol::identity::DeviceKey;

    #[test]
    fn the_newest_stays_over_a_restart_and_the_moment_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let key = DeviceKey::from_seed(&[1; 32]);
        let read = |ms| (Hlc::at_ms(ms), Signal::Read { event: EventId([1; 32]), at: Hlc(1) });
        let say = |(hlc, signal)| Draft { room: ROOM, hlc, signal }.sign(&key).unwrap();
        let (store, mut writer) = Store::open(folder.path()).unwrap();
        let mut batch = writer.begin();
        let room = batch.add_room(row()).unwrap();
        batch.commit(Durability::Buffered).unwrap();
        let moment = [Signal::Typing { until_ms: 9 }, Signal::Presence(Presence::Online)];
        for (hlc, signal) in [read(2), read(1)].into_iter().chain(moment.map(|signal| (Hlc::at_ms(5), signal))) {
            let mut batch = writer.begin();
            batch.put_beacon(room, say((hlc, signal)).signed()).unwrap();
            let reached = Reached { held: hlc.ms(), erased: 7, waits: (8, hlc) };
            batch.put_reached(room, key.device(), reached).unwrap();
            batch.commit(Durability::Buffered).unwrap();
        }
        drop((store, writer));
        let (store, mut writer) = Store::open(folder.path()).unwrap();
        assert_eq!(store.beacons(room, ROOM).unwrap(), [say(read(2))]);
        let [(device, reached)] = store.reached(room).unwrap().try_into().unwrap();
        assert_eq!((device, reached.held, reached.erased, reached.waits.0), (key.device(), 5, 7, 8));
        let mut batch = writer.begin();
        batch.drop_beacon(room, key.device(), tidings_protocol::beacon::kind::READ).unwrap();
        batch.commit(Durability::Synced).unwrap();
        assert_eq!(store.beacons(room, ROOM).unwrap(), []);
    }

    fn row() -> RoomRow {
        RoomRow::new(ROOM, RoomKind::Public, [0; 32])
    }

    const ROOM: RoomId = RoomId([3; 32]);
}

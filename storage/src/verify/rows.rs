//! Every row of every family: that it can be read, that it reads, and that the event rows that it needs or names are there.

use super::{Check, Stopped, Wrong};
use crate::key::{self, LogNumber, RoomNumber};
use crate::logs::{LogRow, NamedLog};
use crate::rooms::RoomRow;
use crate::row::EventRow;
use crate::schema::Family;
use crate::store::Row;
use std::collections::BTreeSet;
use tidings_protocol::beacon::SignedBeacon;
use tidings_protocol::codec::decode;
use tidings_protocol::event::Class;
use tidings_protocol::id::RoomId;
use tidings_protocol::log::Log;

impl Check<'_> {
    pub(super) fn rows(&mut self) -> Result<(), Stopped> {
        // First the rooms: all else is told by their ids.
        self.each_part(Family::Room, Self::look_at_rooms)?;
        for family in Family::ALL.into_iter().filter(|family| *family != Family::Room) {
            self.each_part(family, |check, part| match family {
                Family::Meta => check.look_at_meta(part),
                Family::Event => check.look_at_events(part),
                Family::Payload => check.look_at_payloads(part),
                Family::Id | Family::Timeline => check.look_at_lists(family, part),
                Family::Log => check.look_at_ends(family, part, key_of_log),
                Family::Control => check.look_at_ends(family, part, key_of_control),
                Family::Beacon => check.look_at_beacons(part),
                _ => {}
            })?;
        }
        Ok(())
    }

    fn look_at_rooms(&mut self, part: &[Row]) {
        for (key, row) in part.iter().filter(|(key, _)| key.starts_with(b"r")) {
            let number = key.get(1..).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
            match (number, decode::<RoomRow>(row, usize::MAX)) {
                (Some(number), Ok(row)) => drop(self.rooms.insert(RoomNumber(number), row.room)),
                (None, _) => self.row_flaw(Family::Room, &"its key has a wrong length"),
                (_, Err(error)) => self.row_flaw(Family::Room, &error),
            }
        }
    }

    fn look_at_meta(&mut self, part: &[Row]) {
        for (_, row) in part.iter().filter(|(key, _)| key.starts_with(b"l")) {
            if let Err(error) = decode::<NamedLog>(row, usize::MAX) {
                self.row_flaw(Family::Meta, &error);
            }
        }
    }

    /// Events read, their payloads are there or gone as they say, and what has to list them does.
    fn look_at_events(&mut self, part: &[Row]) {
        let mut events = Vec::with_capacity(part.len());
        for (key, row) in part {
            match (key::to_number(key, "event key"), EventRow::from_bytes(row)) {
                (Ok(number), Ok(row)) => events.push((number, row)),
                (Err(error), _) | (_, Err(error)) => self.row_flaw(Family::Event, &error),
            }
        }
        self.look_for(&events, Family::Log, |n, row, _| key::log(row.log, row.seq, n).to_vec(), |_, _| true);
        self.look_for(&events, Family::Id, |_, row, _| key::id(row.id).to_vec(), lists);
        let control: Vec<_> =
            events.iter().filter(|(_, row)| self.class_of(row.log) == Some(Class::Control)).cloned().collect();
        let key_of_control = |n, _: &EventRow, room: RoomNumber| key::control(room, n).to_vec();
        self.look_for(&control, Family::Control, key_of_control, |_, _| true);
        let whole: Vec<_> = events.iter().filter(|(_, row)| row.erased.is_none()).cloned().collect();
        self.look_for(&whole, Family::Payload, |n, _, _| key::number(n).to_vec(), |_, _| true);
        let erased: Vec<_> = events.into_iter().filter(|(_, row)| row.erased.is_some()).collect();
        let keys: Vec<_> = erased.iter().map(|(number, _)| key::number(*number)).collect();
        let still = self.store.find_many(Family::Payload, &keys).unwrap_or_default();
        let still: Vec<bool> = still.into_iter().map(|row| row.is_some()).collect();
        for ((_, row), _) in erased.iter().zip(still).filter(|(_, is_there)| *is_there) {
            self.flaw(self.room_of(row.log), Some(row.id), Wrong::NotErased);
        }
    }

    /// Looks for the row of another family that belongs to each event.
    fn look_for(
        &mut self,
        events: &[(u64, EventRow)],
        family: Family,
        key: impl Fn(u64, &EventRow, RoomNumber) -> Vec<u8>,
        lists: impl Fn(&[u8], u64) -> bool,
    ) {
        let room = |row: &EventRow| self.store.log_of_number(row.log).map_or(RoomNumber(0), |(room, _)| room);
        let keys: Vec<Vec<u8>> = events.iter().map(|(number, row)| key(*number, row, room(row))).collect();
        // What cannot be read is told where that family is read.
        let Ok(found) = self.store.find_many(family, &keys) else { return };
        let listed: Vec<bool> = found
            .into_iter()
            .zip(events)
            .map(|(found, (number, _))| found.is_some_and(|bytes| lists(&bytes, *number)))
            .collect();
        for ((_, row), _) in events.iter().zip(listed).filter(|(_, is_listed)| !*is_listed) {
            self.flaw(self.room_of(row.log), Some(row.id), Wrong::Unlisted(family.name()));
        }
    }

    fn look_at_payloads(&mut self, part: &[Row]) {
        // What was trimmed goes from here later than its events.
        let trimmed = self.store.unreclaimed().ok().flatten().map_or(0..=0, |left| left.all.0..=left.all.1);
        let numbers = part.iter().map(|(key, _)| key::to_number(key, "payload key").ok());
        let numbers = numbers.filter(|number| number.is_none_or(|number| !trimmed.contains(&number)));
        self.look_for_events(Family::Payload, numbers.collect());
    }

    /// Rows whose values are lists of events.
    fn look_at_lists(&mut self, family: Family, part: &[Row]) {
        let mut numbers = Vec::new();
        for (_, row) in part {
            match key::to_numbers(row, family.name()) {
                Ok(of_row) => numbers.extend(of_row.into_iter().map(Some)),
                Err(_) => numbers.push(None),
            }
        }
        self.look_for_events(family, numbers);
    }

    /// Rows whose keys end with an event.
    fn look_at_ends(&mut self, family: Family, part: &[Row], number: impl Fn(&[u8]) -> Option<u64>) {
        self.look_for_events(family, part.iter().map(|(key, _)| number(key)).collect());
    }

    /// Looks for events that are listed somewhere.
    fn look_for_events(&mut self, family: Family, numbers: Vec<Option<u64>>) {
        if numbers.iter().any(Option::is_none) {
            self.row_flaw(family, &"a number of an event has a wrong length");
        }
        let numbers: Vec<u64> = numbers.into_iter().flatten().collect();
        let keys: Vec<_> = numbers.iter().map(|number| key::number(*number)).collect();
        let Ok(found) = self.store.find_many(Family::Event, &keys) else { return };
        let found: Vec<bool> = found.into_iter().map(|row| row.is_some()).collect();
        if !self.purging.is_empty() {
            // Which of these are of such a room only their events could tell.
            return;
        }
        for (number, _) in numbers.into_iter().zip(found).filter(|(_, is_there)| !*is_there) {
            self.flaw(None, None, Wrong::Dangling { family: family.name(), number });
        }
    }

    fn look_at_beacons(&mut self, part: &[Row]) {
        let mut unknown = BTreeSet::new();
        for (key, row) in part.iter().filter(|(key, _)| key.starts_with(b"s")) {
            let number = key.get(1..5).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
            let Some(room) = number.and_then(|number| self.rooms.get(&RoomNumber(number)).copied()) else {
                unknown.insert(number);
                continue;
            };
            let why = match SignedBeacon::decode(row) {
                Ok(beacon) => beacon.verify(room).err().map(|error| error.to_string()),
                Err(error) => Some(error.to_string()),
            };
            self.found.signatures += 1;
            if let Some(why) = why {
                self.flaw(Some(room), None, Wrong::Row { family: Family::Beacon.name(), why });
            }
        }
        for _ in unknown {
            self.row_flaw(Family::Beacon, &"it is of a room that is not there");
        }
    }

    pub(super) fn room_of(&self, log: LogNumber) -> Option<RoomId> {
        let (room, _) = self.store.log_of_number(log).ok()?;
        self.rooms.get(&room).copied()
    }

    fn class_of(&self, log: LogNumber) -> Option<Class> {
        self.store.log_of_number(log).ok().map(|(_, log)| log.class)
    }
}

/// A log's row, and whose it is.
pub(crate) fn to_log_row(key: &[u8], row: &[u8]) -> Result<(RoomNumber, Log, LogRow), String> {
    let (room, log) = key.split_first_chunk::<4>().ok_or("its key has a wrong length")?;
    let log = decode(log, usize::MAX).map_err(|error| error.to_string())?;
    let row = decode(row, usize::MAX).map_err(|error| error.to_string())?;
    Ok((RoomNumber(u32::from_be_bytes(*room)), log, row))
}

fn lists(bytes: &[u8], number: u64) -> bool {
    key::to_numbers(bytes, "").is_ok_and(|numbers| numbers.contains(&number))
}

fn key_of_log(key: &[u8]) -> Option<u64> {
    key::to_number(key.get(12..)?, "").ok()
}

fn key_of_control(key: &[u8]) -> Option<u64> {
    key::to_number(key.get(4..)?, "").ok()
}

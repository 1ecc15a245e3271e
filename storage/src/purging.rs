//! Taking rooms and words off, part by part: each part is a batch, and may be done again.

use crate::append::Entry;
use crate::batch::Batch;
use crate::error::{Damage, StorageError};
use crate::events::{from_payload, to_payload};
use crate::files;
use crate::key::{self, LogNumber, Position, RoomNumber};
use crate::purge::{Part, PurgeRow, Purged, REFUSED, WANTED, of_wordless, to_key};
use crate::row::{EventRow, Remains};
use crate::schema::Family;
use tidings_protocol::codec::encode;
use tidings_protocol::content::Content;
use tidings_protocol::event::{Body, Class};
use tidings_protocol::id::{EventId, UserId};
use tidings_protocol::log::Log;

impl Batch<'_> {
    /// Keeps the word that something is taken off; `None` takes it back.
    ///
    /// # Errors
    /// `Rocks`.
    pub fn put_purge(&mut self, what: Purged, row: Option<PurgeRow>) -> Result<(), StorageError> {
        let place = to_key(what);
        match row {
            Some(row) => self.put(Family::Room, &place, &encode(&row)),
            None => self.delete(Family::Room, &place),
        }
    }

    /// Takes what an event says off, if it is held and content, and what the edits of it say that are held; how many went.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn purge_with_edits(&mut self, room: RoomNumber, id: EventId) -> Result<u64, StorageError> {
        let Some(number) = self.store().number_of(id)? else { return Ok(0) };
        let mut gone = u64::from(self.purge_event(number)?);
        for event in self.store().edits_of(room, id)? {
            gone += u64::from(self.purge_event(event.number)?);
        }
        Ok(gone)
    }

    /// Takes what an event says off, if it is held and content; whether anything went.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn purge_event(&mut self, number: u64) -> Result<bool, StorageError> {
        let Some(mut row) = self.store().event_row(number)? else { return Ok(false) };
        let (room, log) = self.store().log_of_number(row.log)?;
        if log.class == Class::Control {
            return Ok(false);
        }
        let place = key::wordless(room, row.log, row.seq, number);
        if row.erased.is_some() {
            if row.purged {
                self.put(Family::Room, &place, &[REFUSED])?;
            }
            return Ok(false);
        }
        let bytes = self.store().find(Family::Payload, &key::number(number))?.ok_or(Damage::Missing("a payload"))?;
        let payload = to_payload(&bytes)?;
        drop(bytes);
        let len = u32::try_from(payload.bytes.len()).unwrap_or(u32::MAX);
        row.erased = Some(Remains { len, commit: payload.commit() });
        row.purged = true;
        self.drop_file(room, (row.kind, &payload.bytes), number)?;
        if let Ok(content) = Content::decode(row.kind, &payload.bytes) {
            self.forget_words(number, &content);
            if let Some(target) = content.target() {
                self.delete(Family::Relation, &key::relation(room, target.as_bytes(), number))?;
            }
        }
        self.put(Family::Event, &key::number(number), &row.to_bytes())?;
        self.delete(Family::Payload, &key::number(number))?;
        self.put(Family::Room, &place, &[REFUSED])?;
        Ok(true)
    }

    /// Takes off what a log's events say, from a place on (seq and local number), at most so many.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn purge_log(
        &mut self,
        room: RoomNumber,
        log: &Log,
        from: (u64, u64),
        max: usize,
    ) -> Result<Part, StorageError> {
        let mut part = Part { gone: 0, next: None };
        let Some(row) = self.store().log(room, log)? else { return Ok(part) };
        let places = self.store().places_of_log(row.number, from, max + 1)?;
        part.next = places.get(max).copied();
        for (_, number) in places.into_iter().take(max) {
            part.gone += u64::from(self.purge_event(number)?);
        }
        Ok(part)
    }

    /// Lets the words of a log's events come back, if peers have them, but for those that are refused still; from a place
    /// on, at most so many.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn want_log_again(
        &mut self,
        room: RoomNumber,
        log: &Log,
        from: (u64, u64),
        max: usize,
        is_refused: impl Fn(EventId) -> bool,
    ) -> Result<Part, StorageError> {
        let mut part = Part { gone: 0, next: None };
        let Some(of_log) = self.store().log(room, log)? else { return Ok(part) };
        let begin = key::wordless(room, of_log.number, from.0, from.1);
        let rows = self.store().scan(Family::Room, &key::wordless_in(room, of_log.number), &begin)?;
        let places: Vec<(u64, u64)> =
            rows.take(max + 1).map(|row| Ok(of_wordless(&row?.0)?)).collect::<Result<_, StorageError>>()?;
        part.next = places.get(max).copied();
        for (seq, number) in places.into_iter().take(max) {
            if self.store().event_row(number)?.is_some_and(|row| row.purged && !is_refused(row.id)) {
                self.put(Family::Room, &key::wordless(room, of_log.number, seq, number), &[WANTED])?;
                self.store().note_wanted_again();
                part.gone += 1;
            }
        }
        Ok(part)
    }

    /// Forgets what somebody is called in a room.
    ///
    /// # Errors
    /// `Rocks`.
    pub fn purge_profile(&mut self, room: RoomNumber, user: UserId) -> Result<(), StorageError> {
        self.drop_profile(room, user)
    }

    /// Lists an event that comes while its words are refused.
    pub(crate) fn list_wordless(&mut self, room: RoomNumber, row: &EventRow, number: u64) -> Result<(), StorageError> {
        self.put(Family::Room, &key::wordless(room, row.log, row.seq, number), &[REFUSED])
    }

    /// An event whose words were taken off is erased by who may: it is as any other that was.
    pub(crate) fn unlist_wordless(&mut self, row: &mut EventRow, number: u64) -> Result<(), StorageError> {
        let (room, _) = self.store().log_of_number(row.log)?;
        row.purged = false;
        self.put(Family::Event, &key::number(number), &row.to_bytes())?;
        self.delete(Family::Room, &key::wordless(room, row.log, row.seq, number))
    }

    /// Puts back the words of an event that is held without them, if they are wanted again; whether it did.
    pub(crate) fn refill(&mut self, room: RoomNumber, entry: &Entry<'_>, number: u64) -> Result<bool, StorageError> {
        let Body::Kept(payload) = entry.event.body() else { return Ok(false) };
        if entry.erased || entry.purged || !self.store().wants_any_again() {
            return Ok(false);
        }
        let Some(mut row) = self.store().event_row(number)?.filter(|row| row.purged) else { return Ok(false) };
        let place = key::wordless(room, row.log, row.seq, number);
        if self.store().find(Family::Room, &place)?.is_none_or(|state| *state != [WANTED]) {
            return Ok(false);
        }
        (row.erased, row.purged) = (None, false);
        let before = key::timeline(room, Position { clock: row.clock(), tie: key::id(row.id) });
        let at = self.index_again(room, entry, number, before)?;
        row.clock = (at.clock != row.hlc.0).then_some(at.clock);
        self.put(Family::Event, &key::number(number), &row.to_bytes())?;
        self.put(Family::Payload, &key::number(number), &from_payload(payload))?;
        if let Some(place) = files::row(room, entry.content, number) {
            self.put(Family::File, &place, &[])?;
        }
        self.delete(Family::Room, &place)?;
        Ok(true)
    }

    /// Begins to take a room off: nobody finds it any more.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn hide_room(&mut self, number: RoomNumber) -> Result<(), StorageError> {
        let row = self.room(number)?;
        self.drop_room(number);
        for alias in [&row.alias, &self.store().room(number)?.map(|held| held.alias).unwrap_or_default()] {
            if !alias.is_empty() && self.store().room_by_alias(alias)?.is_none_or(|of| of == number) {
                self.delete(Family::Room, &key::alias(alias))?;
            }
        }
        self.delete(Family::Room, &key::room(number))?;
        self.delete(Family::Room, &key::room_by_id(row.room))
    }

    /// Takes rows of a room off that nobody finds any more, those of about so many events; how many events that were.
    /// Nothing is left of it when that is none.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn purge_room(&mut self, number: RoomNumber, max: usize) -> Result<u64, StorageError> {
        let mut left = max;
        for class in [Class::Control, Class::Content] {
            for (log, row) in self.store().logs(number, class)? {
                if left == 0 {
                    return Ok((max - left) as u64);
                }
                let places = self.store().places_of_log(row.number, (0, 0), left)?;
                let is_last = places.len() < left;
                for (seq, event) in &places {
                    self.drop_event(number, (class, row.number), *seq, *event)?;
                }
                left -= places.len();
                if is_last {
                    self.delete(Family::Tips, &key::tips(number, &log))?;
                    self.delete(Family::Meta, &key::log_by_number(row.number))?;
                }
            }
        }
        self.drop_rows_of(number)?;
        Ok((max - left) as u64)
    }

    fn drop_event(
        &mut self,
        room: RoomNumber,
        (class, log): (Class, LogNumber),
        seq: u64,
        number: u64,
    ) -> Result<(), StorageError> {
        if let Some(row) = self.store().event_row(number)? {
            self.drop_file_of(room, &row, number)?;
            self.drop_id(row.id, number)?;
            self.delete(Family::Erased, row.id.as_bytes())?;
            let payload = self.store().find(Family::Payload, &key::number(number))?;
            let payload = payload.filter(|_| class == Class::Content).map(|bytes| to_payload(&bytes)).transpose()?;
            if let Some(content) = payload.and_then(|payload| Content::decode(row.kind, &payload.bytes).ok()) {
                self.forget_words(number, &content);
            }
        }
        self.delete(Family::Event, &key::number(number))?;
        self.delete(Family::Payload, &key::number(number))?;
        self.delete(Family::Outbox, &key::number(number))?;
        self.delete(Family::Log, &key::log(log, seq, number))
    }

    /// Rows that name a room by its number.
    fn drop_rows_of(&mut self, number: RoomNumber) -> Result<(), StorageError> {
        let own = number.0.to_be_bytes();
        let claimed = (number.0 | 1 << 31).to_be_bytes();
        for prefix in [own, claimed] {
            self.delete_all(Family::Timeline, &prefix)?;
        }
        self.delete_all(Family::Relation, &own)?;
        self.delete_all(Family::Control, &own)?;
        for prefix in key::rows_of_room(number) {
            self.delete_all(Family::Room, &prefix)?;
        }
        self.clear_inbox_of(number)?;
        self.put_unsure(number, false)?;
        self.delete_all(Family::Beacon, &key::slots(number))?;
        self.delete_all(Family::Beacon, &key::reached_in(number))
    }
}

#[cfg(test)]
#[path = "purging_tests.rs"]
mod tests;

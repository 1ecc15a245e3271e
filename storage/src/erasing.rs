//! Hiding messages, and dropping what they said: the payload, and the rows by which its words are found.

use crate::batch::Batch;
use crate::error::{Damage, StorageError};
use crate::events::{StoredEvent, to_payload};
use crate::key::{self, RoomNumber};
use crate::rooms::ErasedRow;
use crate::row::{EventRow, Remains};
use crate::schema::Family;
use crate::shredding::ToShred;
use crate::store::Store;
use tidings_protocol::codec::encode;
use tidings_protocol::content::{Content, kind};
use tidings_protocol::event::Class;
use tidings_protocol::id::{EventId, UserId};
use tidings_protocol::log::Log;

/// An event's place in its log: seq, local number.
type LogPlace = (u64, u64);
/// An event that is held: its local number, in which room and of which class it is, its row.
type Held = (u64, (RoomNumber, Class), EventRow);

impl Store {
    /// The events that put other words to a message, whoever says so: all, however many reactions came after them.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn edits_of(&self, room: RoomNumber, target: EventId) -> Result<Vec<StoredEvent>, StorageError> {
        let prefix = key::relation_prefix(room, target.as_bytes());
        let mut found = Vec::new();
        for entry in self.scan(Family::Relation, &prefix, &prefix)? {
            let (place, _) = entry?;
            let number = key::to_number(place.get(prefix.len()..).unwrap_or_default(), "relation key")?;
            let Some(row) = self.event_row(number)?.filter(|row| row.kind == kind::EDIT) else { continue };
            let event = self.with_body(number, row)?;
            // The key has half of the id.
            if event.content().is_none_or(|content| content.target() == Some(target)) {
                found.push(event);
            }
        }
        Ok(found)
    }

    /// Of a log's events from a place (seq, local number) on those of a kind that have their payloads, of `max` that are
    /// looked at; and where the next of them begins.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn kept_of_kind(
        &self,
        room: RoomNumber,
        log: &Log,
        kind: u16,
        from: LogPlace,
        max: usize,
    ) -> Result<(Vec<StoredEvent>, Option<LogPlace>), StorageError> {
        let Some(row) = self.log(room, log)? else { return Ok((Vec::new(), None)) };
        let places = self.places_of_log(row.number, from, max + 1)?;
        let mut found = Vec::new();
        for (_, number) in places.iter().take(max) {
            if let Some(row) = self.event_row(*number)?.filter(|row| row.kind == kind && row.erased.is_none()) {
                found.push(self.with_body(*number, row)?);
            }
        }
        Ok((found, places.get(max).copied()))
    }
}

impl Batch<'_> {
    /// Hides a content event of a user. With `due_ms` 0 its payload goes now, if it is held; otherwise it is due then.
    /// A control event is never hidden, whatever names it: the room could not be read any more.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn erase(
        &mut self,
        (target, user): (EventId, Option<UserId>),
        by: EventId,
        due_ms: u64,
    ) -> Result<(), StorageError> {
        let held = match self.new_events.get(&target) {
            Some(new) => Some((new.number, (new.room, new.class), new.row.clone())),
            None => self.held_event(target)?,
        };
        if held.as_ref().is_some_and(|(_, (_, class), _)| *class == Class::Control) {
            return Ok(());
        }
        self.put(Family::Erased, target.as_bytes(), &encode(&ErasedRow { by, due_ms }))?;
        let Some((number, (room, _), mut row)) =
            held.filter(|(_, _, row)| due_ms == 0 && (row.erased.is_none() || row.purged))
        else {
            return Ok(());
        };
        if row.purged {
            return self.unlist_wordless(&mut row, number);
        }
        let remains = self.take_words((target, user), &row, number)?;
        row.erased = Some(remains);
        self.put_to_shred(ToShred { number, room })?;
        self.put(Family::Event, &key::number(number), &row.to_bytes())?;
        self.delete(Family::Payload, &key::number(number))?;
        if let Some(new) = self.new_events.get_mut(&target) {
            new.row = row;
        }
        Ok(())
    }

    /// Forgets that a payload is to go: what hid it counts no longer.
    ///
    /// # Errors
    /// `Rocks`.
    pub fn spare(&mut self, target: EventId) -> Result<(), StorageError> {
        self.delete(Family::Erased, target.as_bytes())
    }

    /// An event in the store.
    fn held_event(&self, id: EventId) -> Result<Option<Held>, StorageError> {
        let Some(number) = self.store().number_of(id)? else { return Ok(None) };
        let Some(row) = self.store().event_row(number)? else { return Ok(None) };
        let (room, log) = self.store().log_of_number(row.log)?;
        Ok(Some((number, (room, log.class), row)))
    }

    /// What the payload of an event leaves that goes now. It is found by its words no more, and names no file.
    fn take_words(
        &mut self,
        (target, user): (EventId, Option<UserId>),
        row: &EventRow,
        number: u64,
    ) -> Result<Remains, StorageError> {
        if let Some(new) = self.new_events.get(&target) {
            let (remains, file) = (new.remains, new.file.clone());
            if let Some(place) = file {
                self.delete(Family::File, &place)?;
            }
            self.forget_new_words(number);
            return Ok(remains);
        }
        let (room, _) = self.store().log_of_number(row.log)?;
        let bytes = self.store().find(Family::Payload, &key::number(number))?.ok_or(Damage::Missing("a payload"))?;
        let payload = to_payload(&bytes)?;
        drop(bytes);
        self.drop_file(room, (row.kind, &payload.bytes), number)?;
        if let Ok(content) = Content::decode(row.kind, &payload.bytes) {
            self.forget_words(number, &content);
            if let (Content::Profile { name, .. }, Some(user)) = (&content, user) {
                self.take_name(room, user, (name, row.clock()))?;
            }
        }
        let len = u32::try_from(payload.bytes.len()).unwrap_or(u32::MAX);
        Ok(Remains { len, commit: payload.commit() })
    }

    /// Somebody is called so no more; they may be called something else by now.
    fn take_name(&mut self, room: RoomNumber, user: UserId, (name, clock): (&str, u64)) -> Result<(), StorageError> {
        match self.profile(room, user)? {
            Some(held) if held.name == name && held.hlc.0 == clock => self.drop_profile(room, user),
            _ => Ok(()),
        }
    }
}

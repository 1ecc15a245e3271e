//! Reading events back: by number, by id, in order of arrival, and what changes how a message looks.

use crate::error::{Damage, StorageError};
use crate::key::{self, LogNumber, Position, RoomNumber};
use crate::row::{EventRow, Prev};
use crate::schema::Family;
use crate::store::Store;
use rocksdb::DBPinnableSlice;
use std::collections::HashMap;
use tidings_protocol::content::Content;
use tidings_protocol::event::{Body, Class, Header, Hlc, Payload, SignedEvent};
use tidings_protocol::id::{EventId, RoomId};
use tidings_protocol::identity::Signature;
use tidings_protocol::log::Log;

/// An event as the store has it. It was verified before it came here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its local number: ascends in order of arrival, never reused. The cursor of every stream.
    pub number: u64,
    /// Its id.
    pub id: EventId,
    /// Its room.
    pub room: RoomNumber,
    /// Its log.
    pub log: Log,
    /// The header's kind.
    pub kind: u16,
    /// The header's seq.
    pub seq: u64,
    /// The header's clock.
    pub hlc: Hlc,
    /// The clock by which it stands on screen.
    pub clock: u64,
    /// The header's parents.
    pub parents: Vec<EventId>,
    /// Its own signature, where kept.
    pub signature: Option<Signature>,
    /// Its payload, or that it was erased.
    pub body: Body,
    /// Whether the payload is gone by this node's operator's word alone.
    pub purged: bool,
    prev: Prev,
    remains: Option<(u32, [u8; 32])>,
}

impl Store {
    /// The local number of an event that is held.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn number_of(&self, id: EventId) -> Result<Option<u64>, StorageError> {
        let Some(numbers) = self.find(Family::Id, &key::id(id))? else { return Ok(None) };
        for number in key::to_numbers(&numbers, "id")? {
            if self.event_row(number)?.is_some_and(|row| row.id == id) {
                return Ok(Some(number));
            }
        }
        Ok(None)
    }

    /// Whether an event is held.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn holds(&self, id: EventId) -> Result<bool, StorageError> {
        Ok(self.number_of(id)?.is_some())
    }

    /// The event of a local number.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn event(&self, number: u64) -> Result<Option<StoredEvent>, StorageError> {
        match self.event_row(number)? {
            Some(row) => self.unless_gone(number, row),
            None => Ok(None),
        }
    }

    /// The events of local numbers, in their order: far cheaper than one by one.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn events(&self, numbers: &[u64]) -> Result<Vec<Option<StoredEvent>>, StorageError> {
        let mut events = Vec::with_capacity(numbers.len());
        for numbers in numbers.chunks(READ_TOGETHER) {
            events.extend(self.events_together(numbers)?);
        }
        Ok(events)
    }

    fn events_together(&self, numbers: &[u64]) -> Result<Vec<Option<StoredEvent>>, StorageError> {
        let keys: Vec<[u8; 8]> = numbers.iter().map(|number| key::number(*number)).collect();
        let rows = self.find_many(Family::Event, &keys)?;
        let payloads = self.find_many(Family::Payload, &keys)?;
        let event = |number: u64, row: Option<DBPinnableSlice<'_>>, payload: Option<DBPinnableSlice<'_>>| {
            let Some(row) = row.map(|bytes| EventRow::from_bytes(&bytes)).transpose()? else { return Ok(None) };
            match payload.filter(|_| row.erased.is_none()) {
                Some(bytes) => self.stored(number, row, Body::Kept(to_payload(&bytes)?)).map(Some),
                None => self.unless_gone(number, row),
            }
        };
        let both = rows.into_iter().zip(payloads);
        let each = numbers.iter().zip(both).map(|(number, (row, payload))| match event(*number, row, payload) {
            // It was trimmed while its rows were read, or is damaged: read alone it tells which.
            Err(StorageError::Damaged(_)) => self.event(*number),
            other => other,
        });
        each.collect()
    }

    /// The event of an id.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn event_by_id(&self, id: EventId) -> Result<Option<StoredEvent>, StorageError> {
        match self.number_of(id)? {
            Some(number) => self.event(number),
            None => Ok(None),
        }
    }

    /// Ids of held events whose text form begins so, at most `max`.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn ids_beginning(&self, text: &str, max: usize) -> Result<Vec<EventId>, StorageError> {
        let Some((from, shared)) = base32_prefix(text) else { return Ok(Vec::new()) };
        let mut out = Vec::new();
        for entry in self.scan(Family::Id, &shared, &from)? {
            let (key_bytes, numbers) = entry?;
            let mut may_match = false;
            for number in key::to_numbers(&numbers, "id")? {
                let Some(row) = self.event_row(number)? else { continue };
                if row.id.to_string().starts_with(text) {
                    may_match = true;
                    out.push(row.id);
                }
            }
            if out.len() >= max || (!may_match && key_bytes.as_ref() > from.as_slice() && !out.is_empty()) {
                break;
            }
        }
        out.truncate(max);
        Ok(out)
    }

    /// Events that arrived after the one of number `cursor`, in order of arrival, at most `max`.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn arrived_since(&self, cursor: u64, max: usize) -> Result<Vec<StoredEvent>, StorageError> {
        let from = key::number(cursor.saturating_add(1));
        let mut out = Vec::new();
        for entry in self.scan(Family::Event, &[], &from)?.take(max) {
            let (number, row) = entry?;
            out.extend(self.unless_gone(key::to_number(&number, "event key")?, EventRow::from_bytes(&row)?)?);
        }
        Ok(out)
    }

    /// The numbers of events of a room that arrived after the one of number `cursor`, ascending; and the number up to which
    /// these are all.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn arrived_in(&self, room: RoomNumber, cursor: u64) -> Result<(Vec<u64>, u64), StorageError> {
        let newest = self.next_number()?.saturating_sub(1).max(cursor);
        if newest - cursor > ARRIVED_LOOKED_AT {
            // So much came that little of it is likely to be of this room: its logs tell what is.
            return Ok((self.arrived_in_logs(room, cursor, newest)?, newest));
        }
        let arrived = self.arrived_since(cursor, ARRIVED_LOOKED_AT as usize)?;
        let is_of_room = |event: &StoredEvent| event.room == room && event.number <= newest;
        Ok((arrived.into_iter().filter(is_of_room).map(|event| event.number).collect(), newest))
    }

    fn arrived_in_logs(&self, room: RoomNumber, cursor: u64, newest: u64) -> Result<Vec<u64>, StorageError> {
        let mut numbers = Vec::new();
        for class in [Class::Control, Class::Content] {
            for (_, row) in self.logs(room, class)? {
                for number in self.numbers_of_log(row.number)? {
                    numbers.extend(Some(number?).filter(|number| *number > cursor && *number <= newest));
                }
            }
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The number that the next event gets; every event held has a smaller one.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn next_number(&self) -> Result<u64, StorageError> {
        match self.find(Family::Meta, key::META_NEXT)? {
            // The first of the counters.
            Some(bytes) => Ok(key::to_number(bytes.get(..8).unwrap_or_default(), "next number")?),
            None => Ok(1),
        }
    }

    /// The clocks of the events that arrived last: where our own clock may go on.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn recent_clocks(&self) -> Result<Vec<Hlc>, StorageError> {
        let rows = self.scan_back(Family::Event, &[], &[0xff; 8])?.take(RECENT_EVENTS);
        rows.map(|row| Ok(EventRow::from_bytes(&row?.1)?.hlc)).collect()
    }

    /// The events that change how `target` looks, or stand for it, in order of arrival: of each log the newest `max`, so that
    /// no log takes the place of another's.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn relations(&self, room: RoomNumber, target: EventId, max: usize) -> Result<Vec<StoredEvent>, StorageError> {
        let prefix = key::relation_prefix(room, target.as_bytes());
        let last = [prefix.as_slice(), &[0xff; 8]].concat();
        let mut of_log: HashMap<LogNumber, usize> = HashMap::new();
        let mut out = Vec::new();
        for entry in self.scan_back(Family::Relation, &prefix, &last)?.take(RELATIONS_LOOKED_AT) {
            let (key_bytes, _) = entry?;
            let number = key::to_number(key_bytes.get(prefix.len()..).unwrap_or_default(), "relation key")?;
            let Some(row) = self.event_row(number)? else { continue };
            let count = of_log.entry(row.log).or_default();
            *count += 1;
            if *count <= max {
                out.extend(self.unless_gone(number, row)?);
            }
        }
        out.reverse();
        Ok(out)
    }

    /// An event's header, with what the store leaves out put back.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn header(&self, room: RoomId, event: &StoredEvent) -> Result<Header, StorageError> {
        let (payload_len, payload_commit) = match (&event.body, &event.remains) {
            (Body::Kept(payload), _) => (u32::try_from(payload.bytes.len()).unwrap_or(u32::MAX), payload.commit()),
            (Body::Erased, Some((len, commit))) => (*len, *commit),
            (Body::Erased, None) => return Err(Damage::Missing("the commitment of an erased payload").into()),
        };
        let mut header = Header {
            class: event.log.class,
            kind: event.kind,
            room,
            author: event.log.author,
            grant: event.log.grant,
            seq: event.seq,
            prev: self.prev_id(event.number, event.prev)?,
            parents: event.parents.clone(),
            hlc: event.hlc,
            payload_len,
            payload_commit,
        };
        if header.is_grant_root() {
            header.grant = EventId::ZERO;
        }
        if room == RoomId::from(event.id) {
            header.room = RoomId::ZERO;
        }
        Ok(header)
    }

    /// An event as it travels alone; `None` where its own signature is not kept, or its words were purged here.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn signed_event(&self, room: RoomId, event: &StoredEvent) -> Result<Option<SignedEvent>, StorageError> {
        let Some(signature) = event.signature.filter(|_| !event.purged) else { return Ok(None) };
        Ok(Some(SignedEvent { header: self.header(room, event)?, signature, body: event.body.clone() }))
    }

    /// The id of an event's predecessor; zero at seq 1.
    pub(crate) fn prev_id(&self, number: u64, prev: Prev) -> Result<EventId, StorageError> {
        let prev_number = match prev {
            Prev::None => return Ok(EventId::ZERO),
            Prev::Id(id) => return Ok(id),
            Prev::Before => number.saturating_sub(1),
            Prev::Number(prev) => prev,
        };
        if let Some(row) = self.event_row(prev_number)? {
            return Ok(row.id);
        }
        // It was trimmed after the row had been read: that one names it by its id since.
        match self.event_row(number)?.map(|row| row.prev) {
            Some(Prev::Id(id)) => Ok(id),
            _ => Err(Damage::Missing("the predecessor of an event").into()),
        }
    }

    pub(crate) fn event_row(&self, number: u64) -> Result<Option<EventRow>, StorageError> {
        match self.find(Family::Event, &key::number(number))? {
            Some(bytes) => self.noted(EventRow::from_bytes(&bytes).map(Some).map_err(StorageError::from)),
            None => Ok(None),
        }
    }

    /// An event whose row was read; `None` where it was trimmed meanwhile.
    fn unless_gone(&self, number: u64, row: EventRow) -> Result<Option<StoredEvent>, StorageError> {
        match self.with_body(number, row) {
            Err(StorageError::Damaged(_)) if self.event_row(number)?.is_none() => Ok(None),
            other => other.map(Some),
        }
    }

    pub(crate) fn with_body(&self, number: u64, row: EventRow) -> Result<StoredEvent, StorageError> {
        let body = match &row.erased {
            Some(_) => Body::Erased,
            None => match self.find(Family::Payload, &key::number(number))? {
                Some(bytes) => Body::Kept(to_payload(&bytes)?),
                None => return self.stored(number, self.erased_row(number)?, Body::Erased),
            },
        };
        self.stored(number, row, body)
    }

    /// The row of an event whose payload went after the row had been read: the writer erased it in between.
    pub(crate) fn erased_row(&self, number: u64) -> Result<EventRow, StorageError> {
        let row = self.event_row(number)?.filter(|row| row.erased.is_some());
        Ok(row.ok_or(Damage::Missing("a payload"))?)
    }

    pub(crate) fn stored(&self, number: u64, row: EventRow, body: Body) -> Result<StoredEvent, StorageError> {
        let (room, log) = self.log_of_number(row.log)?;
        Ok(StoredEvent {
            number,
            id: row.id,
            room,
            log,
            kind: row.kind,
            seq: row.seq,
            hlc: row.hlc,
            clock: row.clock(),
            parents: row.parents,
            signature: row.signature,
            body,
            purged: row.purged,
            prev: row.prev,
            remains: row.erased.map(|r| (r.len, r.commit)),
        })
    }
}

impl StoredEvent {
    /// What it says; `None` for control events, and where its payload was erased.
    pub fn content(&self) -> Option<Content> {
        match &self.body {
            Body::Kept(payload) if self.log.class == Class::Content => Content::decode(self.kind, &payload.bytes).ok(),
            _ => None,
        }
    }

    /// Its place in the room's timeline; for an imported record, with its source id where the payload still tells it.
    pub fn position(&self) -> Position {
        let tie = match self.content() {
            Some(Content::Imported(imported)) => key::prefix(&imported.source_id()),
            Some(Content::Adopted(adopted)) => key::id(adopted.message),
            _ => key::id(self.id),
        };
        Position { clock: self.clock, tie }
    }
}

pub(crate) fn to_payload(bytes: &[u8]) -> Result<Payload, Damage> {
    let (salt, rest) = bytes.split_first_chunk::<16>().ok_or(Damage::Length("payload"))?;
    Ok(Payload { salt: *salt, bytes: rest.to_vec() })
}

pub(crate) fn from_payload(payload: &Payload) -> Vec<u8> {
    [payload.salt.as_slice(), &payload.bytes].concat()
}

/// Events whose rows are in memory at once, beside what is made of them.
const READ_TOGETHER: usize = 64;
/// Edits and reactions of one message that are looked at, newest first.
const RELATIONS_LOOKED_AT: usize = 65_536;
/// Events of last arrival that are looked through for those of one room.
const ARRIVED_LOOKED_AT: u64 = 4096;
/// Events of last arrival that tell where the clock stood.
const RECENT_EVENTS: usize = 64;

/// The smallest key of an id that begins with this base32 text, and the bytes that all such keys share.
fn base32_prefix(text: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    if text.is_empty() || text.len() > 52 || !text.bytes().all(|b| b.is_ascii_lowercase() || (b'2'..=b'7').contains(&b))
    {
        return None;
    }
    let padded = format!("{text:a<56}");
    let bytes = tidings_protocol::id::base32::to_bytes(&padded)?;
    let shared = (text.len() * 5 / 8).min(8);
    Some((bytes.get(..8)?.to_vec(), bytes.get(..shared)?.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{add_room, append, said};

    #[test]
    fn what_arrived_in_a_room_is_the_same_either_way() {
        let folder = tempfile::tempdir().unwrap();
        let (store, mut writer) = Store::open(folder.path()).unwrap();
        let rooms = [1, 2].map(|n| add_room(&mut writer, n));
        let [(_, one), (_, other)] = [1, 2].map(|n| said(n, 9, |n, _| Content::Text(format!("{n}").as_str().into())));
        for n in 0..9 {
            append(&mut writer, rooms[0], &one[n..=n]);
            append(&mut writer, rooms[1], &other[n..=n]);
        }
        let newest = store.next_number().unwrap() - 1;
        let (all, through) = store.arrived_in(rooms[0], 0).unwrap();
        assert_eq!((all.len(), through), (9, newest));
        for cursor in 0..=newest {
            let wanted: Vec<u64> = all.iter().copied().filter(|number| *number > cursor).collect();
            assert_eq!(store.arrived_in(rooms[0], cursor).unwrap(), (wanted.clone(), newest));
            assert_eq!(store.arrived_in_logs(rooms[0], cursor, newest).unwrap(), wanted);
        }
        assert_eq!(store.arrived_in(rooms[0], newest + 5).unwrap(), (Vec::new(), newest + 5));
        assert_eq!(store.arrived_in_logs(rooms[0], 0, all[4]).unwrap(), all[..5]);
    }
}

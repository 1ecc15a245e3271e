//! Trimming logs from the bottom, part by part: each part is a batch, and leaves a log as if it had been fetched down to
//! there.

use crate::batch::Batch;
use crate::error::StorageError;
use crate::events::to_payload;
use crate::files;
use crate::inbox::GoneFromInbox;
use crate::key::{self, LogNumber, Position, RoomNumber};
use crate::reclaim::Unreclaimed;
use crate::relation;
use crate::row::{EventRow, Prev};
use crate::schema::Family;
use crate::shredding::ToShred;
use crate::timeline::{claimed_clock, claimed_position};
use crate::trim::KeepRow;
use std::collections::BTreeMap;
use tidings_protocol::codec::encode;
use tidings_protocol::content::{Content, kind};
use tidings_protocol::event::Class;
use tidings_protocol::id::EventId;
use tidings_protocol::log::{Log, Tip, Trim};

/// What a part of trimming did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrimmedPart {
    /// Local numbers of the events that went, ascending.
    pub numbers: Vec<u64>,
    /// Whether more of the log is to go.
    pub more: bool,
    /// Whether something now waits for what went to come back (`Store::waiting`).
    pub waits: bool,
    /// Where the newest name stood that was given in what went.
    pub name: Option<u64>,
}

impl Batch<'_> {
    /// Takes everything below a seq off a content log, but for the heads given; at most about `max` events. What stays is a
    /// log fetched down to there. Has to be the first that a batch does to the log.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn trim_log(
        &mut self,
        room: RoomNumber,
        log: &Log,
        below: u64,
        kept: &[Tip],
        (max, now_ms): (usize, u64),
    ) -> Result<TrimmedPart, StorageError> {
        let mut part = TrimmedPart::default();
        let Some(mut row) = self.held_log_row(room, log)?.filter(|_| log.class == Class::Content) else {
            return Ok(part);
        };
        // The newest stays.
        let wanted = below.min(row.state.highest().map_or(0, |tip| tip.seq));
        let places = self.store().places_of_log(row.number, (0, 0), max.saturating_add(1))?;
        // All branches of a seq go together.
        let below = places.get(max).map_or(wanted, |(seq, _)| wanted.min(*seq));
        let (mut gone, mut bytes, mut inbox) = (BTreeMap::new(), 0, GoneFromInbox::default());
        for (seq, number) in places.into_iter().take_while(|(seq, _)| *seq < below) {
            let Some(event) = self.store().event_row(number)? else { continue };
            if kept.contains(&Tip { seq, id: event.id }) {
                continue;
            }
            gone.insert(event.id, Tip { seq, id: event.id });
            if event.kind == kind::PROFILE {
                part.name = part.name.max(Some(event.clock()));
            }
            bytes += self.drop_content(room, row.number, number, &event, &mut inbox)?;
            part.numbers.push(number);
        }
        part.waits = self.drop_inbox(room, &inbox)?;
        let tops = self.tops_left(row.number, below, kept, &gone)?;
        row.state.trim(Trim { below, kept, tops: &tops, gone: gone.len() as u64 }, now_ms);
        row.bytes = row.bytes.saturating_sub(bytes);
        part.numbers.sort_unstable();
        self.drop_rows(&part.numbers)?;
        // Nothing that peers are told has changed: the log has not moved.
        self.keep_log_row(room, log, row);
        part.more = below < wanted && !part.numbers.is_empty();
        Ok(part)
    }

    /// The events that went and that some event names which stays; that one names it by its id from now on.
    fn tops_left(
        &mut self,
        log: LogNumber,
        below: u64,
        kept: &[Tip],
        gone: &BTreeMap<EventId, Tip>,
    ) -> Result<Vec<Tip>, StorageError> {
        let mut stays = self.store().numbers_at(log, below)?;
        for tip in kept.iter().filter(|tip| tip.seq < below) {
            stays.extend(self.store().number_of(tip.id)?);
        }
        let mut tops = Vec::new();
        for number in stays {
            let Some(mut row) = self.store().event_row(number)?.filter(|row| row.log == log) else { continue };
            let prev = self.store().prev_id(number, row.prev)?;
            let Some(top) = gone.get(&prev) else {
                // What was missing below it before is missing still.
                if row.seq > 1 && self.store().number_of(prev)?.is_none() {
                    tops.push(Tip { seq: row.seq - 1, id: prev });
                }
                continue;
            };
            tops.push(*top);
            row.prev = Prev::Id(prev);
            self.put(Family::Event, &key::number(number), &row.to_bytes())?;
        }
        tops.sort_unstable();
        tops.dedup();
        Ok(tops)
    }

    /// Drops what finds an event; how many bytes of its log that and the event were.
    pub(crate) fn drop_content(
        &mut self,
        room: RoomNumber,
        log: LogNumber,
        number: u64,
        row: &EventRow,
        inbox: &mut GoneFromInbox,
    ) -> Result<u64, StorageError> {
        let bytes = self.store().find(Family::Payload, &key::number(number))?.map(|bytes| bytes.to_vec());
        let content = match &bytes {
            Some(bytes) => Content::decode(row.kind, &to_payload(bytes)?.bytes).ok(),
            None => None,
        };
        self.drop_id(row.id, number)?;
        self.delete(Family::Log, &key::log(log, row.seq, number))?;
        let clock = row.clock();
        inbox.take((clock, number), row.id, content.as_ref());
        self.find_no_more(number);
        if self.store().erasure(row.id)?.is_some_and(|(_, due_ms)| due_ms > 0) {
            // Nobody would find it when it is due. Where it comes back it is hidden anew.
            self.spare(row.id)?;
            self.put_to_shred(ToShred { number, room })?;
            self.delete(Family::Payload, &key::number(number))?;
            content.iter().for_each(|content| self.forget_words(number, content));
        }
        if let Some(place) = files::row(room, content.as_ref(), number) {
            self.delete(Family::File, &place)?;
        }
        match &content {
            Some(Content::Imported(record)) => {
                let at = claimed_position(record);
                self.drop_place(key::timeline(room, Position { clock, tie: at.tie }), number)?;
                if clock != claimed_clock(record) {
                    self.drop_place(key::claimed(room, at), number)?;
                }
            }
            Some(content) if content.is_message() => {
                let tie = match content {
                    Content::Adopted(adopted) => key::id(adopted.message),
                    _ => key::id(row.id),
                };
                self.drop_place(key::timeline(room, Position { clock, tie }), number)?;
            }
            // What it said is gone, and with it where it stands: somewhere at its clock.
            None if kind::is_message(row.kind) => {
                for place in self.store().places_at(room, clock)? {
                    self.drop_place(place, number)?;
                }
            }
            _ => {}
        }
        if let Some(place) = content.as_ref().and_then(relation::place) {
            self.delete(Family::Relation, &key::relation(room, &place, number))?;
        }
        if row.purged {
            self.delete(Family::Room, &key::wordless(room, log, row.seq, number))?;
        }
        Ok(cost(row.to_bytes().len(), bytes.map_or(0, |bytes| bytes.len())))
    }

    /// Drops the rows of events by their numbers, neighbours at once. Their payloads have no event from here on, and go with
    /// the files in which they lie (`reclaim.rs`): what has to be looked through for them is kept in the same batch.
    pub(crate) fn drop_rows(&mut self, numbers: &[u64]) -> Result<(), StorageError> {
        for run in numbers.chunk_by(|a, b| a.checked_add(1) == Some(*b)) {
            let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
            if run.len() >= RANGE_MIN {
                self.delete_range(Family::Event, &key::number(*first), &key::number(last.saturating_add(1)))?;
                continue;
            }
            for number in run {
                self.delete(Family::Event, &key::number(*number))?;
            }
        }
        let (Some(first), Some(last)) = (numbers.first(), numbers.last()) else { return Ok(()) };
        let before = self.store().unreclaimed()?;
        let with = |range: Option<(u64, u64)>| {
            let (low, high) = range.unwrap_or((*first, *last));
            (low.min(*first), high.max(*last))
        };
        self.put_unreclaimed(Some(Unreclaimed {
            all: with(before.map(|before| before.all)),
            payloads: Some(with(before.and_then(|before| before.payloads))),
            words: Some(with(before.and_then(|before| before.words))),
            indexed: before.map_or(0, |before| before.indexed).saturating_add(numbers.len() as u64),
        }))
    }

    /// What was trimmed and may lie in files still. With nothing left, no room waits for it any more.
    ///
    /// # Errors
    /// `Rocks`.
    pub fn put_unreclaimed(&mut self, left: Option<Unreclaimed>) -> Result<(), StorageError> {
        match left {
            Some(left) => self.put(Family::Meta, key::META_UNRECLAIMED, &encode(&left)),
            None => {
                let end = key::after_prefix(key::META_AWAITS).unwrap_or_default();
                self.delete_range(Family::Meta, key::META_AWAITS, &end)?;
                self.delete(Family::Meta, key::META_UNRECLAIMED)
            }
        }
    }

    /// Something was erased in a room: what was trimmed may be it, and has to go from all files before that is said of it.
    /// Has to be in the batch that brings the Erase.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn await_trimmed(&mut self, room: RoomNumber) -> Result<(), StorageError> {
        match self.store().unreclaimed()? {
            Some(_) => self.put(Family::Meta, &key::awaits(room), &[]),
            None => Ok(()),
        }
    }

    /// Keeps what is to be kept of a room.
    ///
    /// # Errors
    /// `Rocks`.
    pub fn put_keep(&mut self, room: RoomNumber, row: &KeepRow) -> Result<(), StorageError> {
        self.put(Family::Room, &key::keep(room), &encode(row))
    }

    /// Gives up nothing of a room's logs any more: what was trimmed is missing, and is fetched where somebody has it.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn lift_floors(&mut self, room: RoomNumber) -> Result<(), StorageError> {
        for (log, mut row) in self.store().logs(room, Class::Content)? {
            if row.state.floor() > 0 {
                row.state.lift_floor();
                self.put_log_row(room, &log, row)?;
            }
        }
        Ok(())
    }
}

/// What an event takes of its room's bytes: its rows, and what finds them.
pub(crate) fn cost(row_len: usize, payload_len: usize) -> u64 {
    (row_len + payload_len + KEYS_LEN) as u64
}

/// Two numbers, an id and its number, a log's key, a place and its number.
const KEYS_LEN: usize = 2 * 8 + 16 + 20 + 28;
/// So many neighbours are dropped as one range: each range is looked at by every read of its file.
const RANGE_MIN: usize = 16;

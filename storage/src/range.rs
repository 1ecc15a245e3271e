//! Ranges to send: walks a branch down from its tip by `prev`, along rows that mostly lie side by side.

use crate::error::{Damage, StorageError};
use crate::events::to_payload;
use crate::key::{self, RoomNumber};
use crate::row::{EventRow, Prev};
use crate::schema::Family;
use crate::store::Store;
use rocksdb::DBRawIterator;
use std::collections::BTreeMap;
use tidings_protocol::event::{Body, Header};
use tidings_protocol::id::EventId;
use tidings_protocol::limits::{CHUNK_EVENTS_MAX, SIGNATURE_EVERY};
use tidings_protocol::log::{Log, Tip};
use tidings_protocol::range::{Range, Row, RowBody, signature_travels};

impl Store {
    /// The events of a branch from `top` down, at most to seq `down_to`, as much as fits a chunk of `len_max` inflated
    /// bytes; one event at least. `None` when `top` is not held in this log. It ends early where something is missing, or
    /// where an author named a predecessor that is none, or above what was purged here: what is served verifies.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn range(
        &self,
        room: RoomNumber,
        log: &Log,
        top: Tip,
        down_to: u64,
        len_max: usize,
    ) -> Result<Option<Range>, StorageError> {
        let Some(number) = self.number_of(top.id)? else { return Ok(None) };
        let mut walk = Walk::new(self)?;
        let Some(row) = walk.event(number)? else { return Ok(None) };
        let log_number = row.log;
        if row.purged || row.seq != top.seq || self.log_of_number(log_number)? != (room, *log) {
            return Ok(None);
        }
        let mut range = Range { first_seq: top.seq, prev: EventId::ZERO, rows: Vec::new() };
        let (mut len, mut next) = (RANGE_OVERHEAD, Some((number, row)));
        while let Some((number, row)) = next.take() {
            let (seq, prev) = (row.seq, row.prev);
            let row = walk.row(log, number, row, range.rows.is_empty())?;
            len += row_len(&row);
            if len > len_max && !range.rows.is_empty() {
                break;
            }
            range.rows.push(row);
            range.first_seq = seq;
            let below = walk.below(number, prev)?;
            range.prev = match (&below, prev) {
                (Some((_, below)), _) => below.id,
                (None, Prev::Id(id)) => id,
                (None, _) => EventId::ZERO,
            };
            let goes_on = range.rows.len() < CHUNK_EVENTS_MAX && seq > down_to.max(1);
            next =
                below.filter(|(_, below)| goes_on && !below.purged && below.log == log_number && below.seq == seq - 1);
        }
        range.rows.reverse();
        Ok(Some(range))
    }
}

impl Store {
    /// What stands above an event of a content log, lowest first, up to the lowest signed event that has it below: that
    /// vouches for it. Nothing, if it is signed itself; `None` where nothing that is held vouches for it.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn evidence(&self, log: &Log, of: EventId) -> Result<Option<Vec<Row>>, StorageError> {
        let Some(number) = self.number_of(of)? else { return Ok(None) };
        let Some(row) = self.event_row(number)? else { return Ok(None) };
        if row.signature.is_some() {
            return Ok(Some(Vec::new()));
        }
        // Every way up, by the number of the event that each stands on.
        let mut ways: BTreeMap<u64, u64> = BTreeMap::from([(number, number)]);
        let (prefix, from) = (row.log.0.to_be_bytes(), key::log(row.log, row.seq.saturating_add(1), 0));
        for entry in self.scan(Family::Log, &prefix, &from)?.take(EVIDENCE_LOOKED_AT) {
            let above = key::to_number(entry?.0.get(12..).unwrap_or_default(), "log key")?;
            let Some(found) = self.event_row(above)? else { continue };
            if found.seq.saturating_sub(row.seq) >= SIGNATURE_EVERY {
                break;
            }
            let below = match found.prev {
                Prev::None => continue,
                Prev::Before => above.saturating_sub(1),
                Prev::Number(below) => below,
                Prev::Id(id) => match self.number_of(id)? {
                    Some(below) => below,
                    None => continue,
                },
            };
            if !ways.contains_key(&below) {
                continue;
            }
            ways.insert(above, below);
            if found.signature.is_some() {
                return self.way_down(log, &ways, above).map(Some);
            }
        }
        Ok(None)
    }

    fn way_down(&self, log: &Log, ways: &BTreeMap<u64, u64>, top: u64) -> Result<Vec<Row>, StorageError> {
        let (mut walk, mut rows, mut at) = (Walk::new(self)?, Vec::new(), top);
        while let Some(below) = ways.get(&at).copied().filter(|below| *below != at) {
            let row = walk.event(at)?.ok_or(Damage::Missing("an event of a log"))?;
            rows.push(walk.row(log, at, row, at == top)?);
            at = below;
        }
        rows.reverse();
        Ok(rows)
    }
}

/// Reads rows by descending number: stepping back is far cheaper than looking up. What was written after the walk began
/// is looked up all the same.
pub(crate) struct Walk<'s> {
    store: &'s Store,
    events: DBRawIterator<'s>,
    payloads: DBRawIterator<'s>,
}

impl<'s> Walk<'s> {
    pub(crate) fn new(store: &'s Store) -> Result<Self, StorageError> {
        Ok(Walk {
            store,
            events: store.db().raw_iterator_cf_opt(store.family(Family::Event)?, store.read_options()),
            payloads: store.db().raw_iterator_cf_opt(store.family(Family::Payload)?, store.read_options()),
        })
    }

    pub(crate) fn event(&mut self, number: u64) -> Result<Option<EventRow>, StorageError> {
        match step_to(&mut self.events, number)? {
            Some(bytes) => Ok(Some(EventRow::from_bytes(bytes)?)),
            None => self.store.event_row(number),
        }
    }

    /// What an event names as its predecessor, where that is held.
    pub(crate) fn below(&mut self, number: u64, prev: Prev) -> Result<Option<(u64, EventRow)>, StorageError> {
        let before = match prev {
            Prev::None => return Ok(None),
            Prev::Before => number.saturating_sub(1),
            Prev::Number(before) => before,
            Prev::Id(id) => match self.store.number_of(id)? {
                Some(before) => before,
                None => return Ok(None),
            },
        };
        let row = self.event(before)?.ok_or(Damage::Missing("the predecessor of an event"))?;
        Ok(Some((before, row)))
    }

    /// An event as it travels.
    fn row(&mut self, log: &Log, number: u64, row: EventRow, is_top: bool) -> Result<Row, StorageError> {
        if row.erased.is_some() {
            return Ok(to_row(log, row, Body::Erased, is_top));
        }
        let payload = match step_to(&mut self.payloads, number)? {
            Some(bytes) => Some(to_payload(bytes)?),
            None => self.store.find(Family::Payload, &key::number(number))?.map(|b| to_payload(&b)).transpose()?,
        };
        match payload {
            Some(payload) => Ok(to_row(log, row, Body::Kept(payload), is_top)),
            None => Ok(to_row(log, self.store.erased_row(number)?, Body::Erased, is_top)),
        }
    }
}

fn to_row(log: &Log, row: EventRow, body: Body, is_top: bool) -> Row {
    let (payload_len, payload_commit) = row.erased.map_or((0, [0; 32]), |r| (r.len, r.commit));
    let signature = row.signature.filter(|_| is_top || signature_travels(log.class, row.seq));
    let header = Header {
        class: log.class,
        kind: row.kind,
        room: tidings_protocol::id::RoomId::ZERO,
        author: log.author,
        grant: log.grant,
        seq: row.seq,
        prev: EventId::ZERO,
        parents: row.parents,
        hlc: row.hlc,
        payload_len,
        payload_commit,
    };
    Row::new(header, body, signature)
}

/// What a row takes inside a range: kind and clock, parents, body, signature (PROTOCOL.md, 10).
fn row_len(row: &Row) -> usize {
    let body = match &row.body {
        RowBody::Kept(payload) => 1 + 16 + 4 + payload.bytes.len(),
        RowBody::Erased { .. } => 1 + 4 + 32,
    };
    let signature = if row.signature.is_some() { 1 + 64 } else { 1 };
    2 + 8 + 4 + 32 * row.parents.len() + body + signature
}

/// The value of a number's row: where the iterator stands, one step before it, or wherever it has to be looked for.
fn step_to<'i>(rows: &'i mut DBRawIterator<'_>, number: u64) -> Result<Option<&'i [u8]>, StorageError> {
    let wanted = key::number(number);
    if rows.key() != Some(&wanted) {
        if rows.valid() {
            rows.prev();
        }
        if rows.key() != Some(&wanted) {
            rows.seek(wanted);
        }
    }
    rows.status()?;
    Ok(if rows.key() == Some(&wanted) { rows.value() } else { None })
}

/// Events above one that are looked at for evidence of it: those up to the next signature that is always there, in a log that
/// grew a few branches.
const EVIDENCE_LOOKED_AT: usize = 2048;
/// First seq, predecessor and count of a range.
const RANGE_OVERHEAD: usize = 8 + 32 + 4;

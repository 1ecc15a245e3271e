//! Ranges to send: walks a branch down from its tip by `prev`, along rows that mostly lie side by side.

use crate::error::{Damage, StorageError};
use crate::events::to_payload;
use crate::key::{self, RoomNumber};
use crate::row::{EventRow, Prev};
use crate::schema::Family;
use crate::store::Store;
use rocksdb::DBRawIterator;
use tidings_protocol::event::{Body, Header};
use tidings_protocol::id::EventId;
use tidings_protocol::limits::CHUNK_EVENTS_MAX;
use tidings_protocol::log::{Log, Tip};
use tidings_protocol::range::{Range, Row, signature_travels};

impl Store {
    /// The events of a branch from `top` down, at most to seq `down_to`, as much as fits a chunk of `len_max` inflated bytes.
    /// `None` when `top` is not held in this log. It ends early where something is missing.
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
        let Some(mut row) = walk.event(number)? else { return Ok(None) };
        if row.seq != top.seq || self.log_of_number(row.log)? != (room, *log) {
            return Ok(None);
        }
        let (mut number, mut rows, mut len) = (number, Vec::new(), 0);
        loop {
            let body = walk.body(number, &row)?;
            len += ROW_OVERHEAD + if let Body::Kept(payload) = &body { payload.bytes.len() } else { 0 };
            let (first_seq, prev) = (row.seq, row.prev);
            rows.push(to_row(log, row, body, rows.is_empty()));
            let next = match prev {
                _ if rows.len() >= CHUNK_EVENTS_MAX || len >= len_max || first_seq <= down_to.max(1) => None,
                Prev::None => None,
                Prev::Before => Some(number.saturating_sub(1)),
                Prev::Number(before) => Some(before),
                Prev::Id(id) => self.number_of(id)?,
            };
            let Some(before) = next else {
                let prev = match prev {
                    Prev::None => EventId::ZERO,
                    Prev::Id(id) => id,
                    Prev::Before => walk.event(number.saturating_sub(1))?.ok_or(MISSING)?.id,
                    Prev::Number(before) => walk.event(before)?.ok_or(MISSING)?.id,
                };
                rows.reverse();
                return Ok(Some(Range { first_seq, prev, rows }));
            };
            row = walk.event(before)?.ok_or(MISSING)?;
            number = before;
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

/// Reads rows by descending number: stepping back is far cheaper than looking up.
struct Walk<'s> {
    events: DBRawIterator<'s>,
    payloads: DBRawIterator<'s>,
}

impl<'s> Walk<'s> {
    fn new(store: &'s Store) -> Result<Self, StorageError> {
        Ok(Walk {
            events: store.db().raw_iterator_cf(store.family(Family::Event)?),
            payloads: store.db().raw_iterator_cf(store.family(Family::Payload)?),
        })
    }

    fn event(&mut self, number: u64) -> Result<Option<EventRow>, StorageError> {
        match step_to(&mut self.events, number)? {
            Some(bytes) => Ok(Some(EventRow::from_bytes(bytes)?)),
            None => Ok(None),
        }
    }

    fn body(&mut self, number: u64, row: &EventRow) -> Result<Body, StorageError> {
        if row.erased.is_some() {
            return Ok(Body::Erased);
        }
        let bytes = step_to(&mut self.payloads, number)?.ok_or(Damage::Missing("a payload"))?;
        Ok(Body::Kept(to_payload(bytes)?))
    }
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

const MISSING: Damage = Damage::Missing("the predecessor of an event");
/// What a row adds to its payload on the wire, about.
const ROW_OVERHEAD: usize = 40;

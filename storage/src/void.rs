//! Dropping what does not count: the upper end of content logs, part by part from the top. What stays is a log of which the
//! rest never came, so it comes again from peers should it count once more.

use crate::batch::Batch;
use crate::error::StorageError;
use crate::inbox::GoneFromInbox;
use crate::key::RoomNumber;
use crate::store::Store;
use crate::trimming::TrimmedPart;
use tidings_protocol::event::Class;
use tidings_protocol::log::{Log, Tip};

/// Events of a log above a place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Above {
    /// How many there are, as far as was counted.
    pub events: u64,
    /// What they take, about, before compression.
    pub bytes: u64,
    /// The local number of the lowest: how early it came.
    pub first: u64,
}

impl Store {
    /// What of a log stands above a seq.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn above(&self, room: RoomNumber, log: &Log, seq: u64) -> Result<Above, StorageError> {
        let Some(row) = self.log(room, log)? else { return Ok(Above::default()) };
        let places = self.places_of_log(row.number, (seq.saturating_add(1), 0), COUNTED_MAX)?;
        let events = places.len() as u64;
        let bytes = (row.bytes / row.state.held().max(1)).saturating_mul(events);
        Ok(Above { events, bytes, first: places.first().map_or(0, |(_, number)| *number) })
    }
}

impl Batch<'_> {
    /// Takes the highest of a content log that stands above a seq, about `max` events. Has to be the first that a batch does
    /// to the log.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn drop_above(
        &mut self,
        room: RoomNumber,
        log: &Log,
        seq: u64,
        max: usize,
    ) -> Result<TrimmedPart, StorageError> {
        let mut part = TrimmedPart::default();
        let Some(mut row) = self.held_log_row(room, log)?.filter(|_| log.class == Class::Content) else {
            return Ok(part);
        };
        // The last of what stands above.
        let (mut places, mut from, mut is_all) = (Vec::new(), (seq.saturating_add(1), 0), true);
        loop {
            let page = self.store().places_of_log(row.number, from, COUNTED_MAX)?;
            let is_last = page.len() < COUNTED_MAX;
            from = page.last().map_or(from, |(seq, number)| (*seq, number.saturating_add(1)));
            places.extend(page);
            is_all &= places.len() <= max;
            places.drain(..places.len().saturating_sub(max));
            if is_last {
                break;
            }
        }
        // All branches of a seq go together: of the lowest here there may be more.
        let lowest = places.first().map_or(seq, |(seq, _)| *seq);
        let mut kept_to = if is_all { seq } else { lowest };
        places.retain(|(seq, _)| *seq > kept_to);
        if places.is_empty() && !is_all {
            kept_to = lowest.saturating_sub(1);
            places = self.store().places_of_log(row.number, (lowest, 0), usize::MAX)?;
        }
        let (mut bytes, mut inbox) = (0, GoneFromInbox::default());
        for (_, number) in &places {
            let Some(event) = self.store().event_row(*number)? else { continue };
            bytes += self.drop_content(room, row.number, *number, &event, &mut inbox)?;
            part.numbers.push(*number);
        }
        part.waits = self.drop_inbox(room, &inbox)?;
        let mut at = Vec::new();
        for number in self.store().numbers_at(row.number, kept_to)? {
            at.extend(self.store().event_row(number)?.map(|event| Tip { seq: kept_to, id: event.id }));
        }
        row.state.keep_to(kept_to, &at, part.numbers.len() as u64);
        row.bytes = row.bytes.saturating_sub(bytes);
        part.numbers.sort_unstable();
        self.drop_rows(&part.numbers)?;
        // It counted for nothing, so nothing that peers are told has changed.
        self.keep_log_row(room, log, row);
        part.more = kept_to > seq && !part.numbers.is_empty();
        Ok(part)
    }
}

/// Events of one log that are looked at at a time.
const COUNTED_MAX: usize = 200_000;

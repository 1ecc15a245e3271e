//! What shows that somebody wrote a message, to be quoted with it: its signature, or the way up to one.

use crate::error::StorageError;
use crate::events::StoredEvent;
use crate::store::Store;
use tidings_protocol::adopted::{Adopted, NotAdoptable};
use tidings_protocol::content::Content;
use tidings_protocol::limits::SIGNATURE_EVERY;
use tidings_protocol::log::Tip;

impl Store {
    /// A content event that is held, quoted with its proof.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`; inside, why it cannot be quoted.
    pub fn adopted(&self, event: &StoredEvent) -> Result<Result<Adopted, NotAdoptable>, StorageError> {
        let Some(top) = self.signed_above(event)? else { return Ok(Err(NotAdoptable::Unsigned)) };
        let range = self.range(event.room, &event.log, top, event.seq, usize::MAX)?;
        Ok(range.ok_or(NotAdoptable::Unsigned).and_then(|range| Adopted::new(&event.log, event.id, top.id, range)))
    }

    /// The first event of its branch, from this one upwards, whose own signature is held.
    fn signed_above(&self, event: &StoredEvent) -> Result<Option<Tip>, StorageError> {
        if event.signature.is_some() {
            return Ok(Some(Tip { seq: event.seq, id: event.id }));
        }
        let Some(log) = self.log(event.room, &event.log)?.map(|row| row.number) else { return Ok(None) };
        // Several branches may lead upwards: of each seq, those that rest on one found below.
        let mut below = vec![event.id];
        for seq in (event.seq.saturating_add(1)..).take(SIGNATURE_EVERY as usize) {
            let mut found = Vec::new();
            for number in self.numbers_at(log, seq)? {
                let Some(row) = self.event_row(number)? else { continue };
                if below.contains(&self.prev_id(number, row.prev)?) {
                    if row.signature.is_some() {
                        return Ok(Some(Tip { seq, id: row.id }));
                    }
                    found.push(row.id);
                }
            }
            if found.is_empty() {
                return Ok(None);
            }
            below = found;
        }
        Ok(None)
    }

    /// The message for which an event that is held stands, if it is such an event and has its words.
    pub fn quoted(event: &StoredEvent) -> Option<Adopted> {
        match event.content()? {
            Content::Adopted(adopted) => Some(*adopted),
            _ => None,
        }
    }
}

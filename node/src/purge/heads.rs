//! What peers are told of logs of which something was purged here. Digests still name every head held, so that whoever has
//! all of it finds nothing to compare; but a head whose words are gone is not told, for nobody could fetch it here. What
//! lies below is told by a head of its own.

use crate::effective;
use crate::rooms::RoomView;
use tidings_protocol::log::Log;
use tidings_protocol::wire::Head;
use tidings_storage::{LogRow, StorageError, Store};

/// The heads of a content log that can be fetched here.
///
/// # Errors
/// `StorageError`.
pub fn heads_to_tell(store: &Store, view: &RoomView, log: &Log, row: &LogRow) -> Result<Vec<Head>, StorageError> {
    let mut heads = effective::heads_of(store, view, log, row)?;
    if heads.is_empty() || !store.lacks_words_in(view.number, row)? {
        return Ok(heads);
    }
    let mut told = Vec::new();
    for head in heads.drain(..) {
        if !store.event_by_id(head.tip.id)?.is_some_and(|event| event.purged) {
            told.push(head);
        }
    }
    if view.state.content_right(log).is_ok_and(|right| right.cuts.is_empty()) {
        let head = |tip| Head { author: log.author, grant: log.grant, tip, hlc: row.hlc };
        told.extend(store.heads_below_purged(view.number, row)?.into_iter().map(head));
    }
    Ok(told)
}

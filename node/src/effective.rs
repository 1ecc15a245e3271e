//! What of the history counts by the room's rules: the only way from a log or event that is held to what is told, shown
//! or given away. Cuts leave of a removed author's log what they name and what lies below it.

use crate::rooms::RoomView;
use std::collections::BTreeSet;
use tidings_protocol::control::state::RoomState;
use tidings_protocol::event::Class;
use tidings_protocol::id::{EventId, UserId};
use tidings_protocol::log::{Hole, Log, Tip};
use tidings_protocol::wire::Head;
use tidings_storage::{LogRow, RoomNumber, StorageError, Store, StoredEvent};

/// The user for whom an event speaks, if it is content that counts.
///
/// # Errors
/// `StorageError`.
pub fn author_of(store: &Store, view: &RoomView, event: &StoredEvent) -> Result<Option<UserId>, StorageError> {
    author_in(store, (view.number, &view.state), event)
}

/// The same, by the state of a room.
///
/// # Errors
/// `StorageError`.
pub fn author_in(
    store: &Store,
    (room, state): (RoomNumber, &RoomState),
    event: &StoredEvent,
) -> Result<Option<UserId>, StorageError> {
    if event.log.class != Class::Content || event.room != room {
        return Ok(None);
    }
    let Ok(right) = state.content_right(&event.log) else { return Ok(None) };
    Ok(store.counts(event, &right)?.then_some(right.user))
}

/// The heads of a content log, to be told.
///
/// # Errors
/// `StorageError`.
pub fn heads_of(store: &Store, view: &RoomView, log: &Log, row: &LogRow) -> Result<Vec<Head>, StorageError> {
    let head = |tip| Head { author: log.author, grant: log.grant, tip, hlc: row.hlc };
    let Ok(right) = view.state.content_right(log) else { return Ok(Vec::new()) };
    if !right.cuts.is_empty() {
        let kept = store.kept(view.number, log, &right)?;
        return Ok(kept.heads().iter().copied().map(head).collect());
    }
    let mut elsewhere = BTreeSet::new();
    for hole in row.state.holes() {
        if store.holds(hole.top.id)? {
            elsewhere.insert(hole.top.id);
        }
    }
    Ok(row.state.heads(|id| elsewhere.contains(&id)).map(head).collect())
}

/// What is missing of a content log below what counts, and is not held in another log by its author's lie.
///
/// # Errors
/// `StorageError`.
pub fn holes_of(store: &Store, view: &RoomView, log: &Log, row: &LogRow) -> Result<Vec<Hole>, StorageError> {
    let Ok(right) = view.state.content_right(log) else { return Ok(Vec::new()) };
    let highest = match right.cuts.is_empty() {
        true => u64::MAX,
        false => store.kept(view.number, log, &right)?.heads().iter().map(|tip| tip.seq).max().unwrap_or(0),
    };
    let mut holes = Vec::new();
    for hole in row.state.holes().iter().filter(|hole| hole.top.seq < highest) {
        if !store.holds(hole.top.id)? {
            holes.push(*hole);
        }
    }
    Ok(holes)
}

/// Whether a head that a peer tells of is one that we want, if we lack it.
pub fn wants(view: &RoomView, log: &Log, tip: Tip) -> bool {
    if log.class == Class::Control {
        return true;
    }
    match view.state.content_right(log) {
        Ok(right) => right.cuts.is_empty() || right.names(tip.id),
        // What cannot be decided yet may count once more is here.
        Err(tidings_protocol::control::state::NoContent::Void(_)) => false,
        Err(_) => true,
    }
}

/// Whether the branch below this event is given to others.
///
/// # Errors
/// `StorageError`.
pub fn gives(store: &Store, view: &RoomView, log: &Log, top: EventId) -> Result<bool, StorageError> {
    if log.class == Class::Control {
        return Ok(true);
    }
    let Ok(right) = view.state.content_right(log) else { return Ok(false) };
    if right.cuts.is_empty() {
        return Ok(true);
    }
    let Some(event) = store.event_by_id(top)? else { return Ok(false) };
    Ok(store.kept(view.number, log, &right)?.shows(event.seq, event.number))
}

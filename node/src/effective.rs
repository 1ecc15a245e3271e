//! What of the history counts by the room's rules: the only way from a log or event that is held to what is told, shown
//! or given away. Cuts leave of a removed author's log what they name and what lies below it.

use crate::rooms::RoomView;
use std::collections::BTreeSet;
use tidings_protocol::control::state::RoomState;
use tidings_protocol::event::Class;
use tidings_protocol::id::{EventId, UserId};
use tidings_protocol::log::{Hole, Log, Tip};
use tidings_protocol::range::Row;
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
    let covered = row.state.covered();
    let mut heads = BTreeSet::new();
    for tip in row.state.tips() {
        // What stands below a hole may have no signature of its own: nobody would believe it.
        heads.extend(if tip.seq > covered { Some(*tip) } else { store.signed_at_or_below(tip.id)? });
    }
    Ok(heads.into_iter().map(head).collect())
}

/// Whether an event is held in this room. Of what is held in other rooms nobody in this one is to learn anything.
///
/// # Errors
/// `StorageError`.
pub fn holds_in(store: &Store, view: &RoomView, id: EventId) -> Result<bool, StorageError> {
    Ok(store.log_of(view.number, id)?.is_some())
}

/// What is missing of a content log below what counts, and is not held in another log of the room by its author's lie.
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
        if !holds_in(store, view, hole.top.id)? && is_hole_wanted(store, view, row, hole)? {
            holes.push(*hole);
        }
    }
    Ok(holes)
}

/// Whether what lies in a hole is wanted by itself: not what was trimmed, nor what is as old as what was.
///
/// # Errors
/// `StorageError`.
pub fn is_hole_wanted(store: &Store, view: &RoomView, row: &LogRow, hole: &Hole) -> Result<bool, StorageError> {
    if row.state.is_trimmed(hole) {
        return Ok(false);
    }
    let since = store.keep(view.number)?.since;
    Ok(since == 0 || store.clock_above(row, hole.top)?.is_none_or(|clock| clock >= since))
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

/// What has to be given with a head of a log that was cut, so that it proves itself: what stands above it up to a signature.
/// Nothing where it is signed, and for all that is no such head; `None` where nothing held vouches for it.
///
/// # Errors
/// `StorageError`.
pub fn evidence_of(store: &Store, view: &RoomView, log: &Log, top: Tip) -> Result<Option<Vec<Row>>, StorageError> {
    let nothing = Ok(Some(Vec::new()));
    if log.class == Class::Control {
        return nothing;
    }
    let Ok(right) = view.state.content_right(log) else { return nothing };
    if right.cuts.is_empty() || !store.kept(view.number, log, &right)?.heads().contains(&top) {
        return nothing;
    }
    store.evidence(log, top.id)
}

//! The one door: every event, whoever brings it, enters the history here or not at all. What comes in was verified
//! (hash, signature); this decides what the room says to it, and puts it with all its indexes into the batch.

use crate::rooms::Rooms;
use std::collections::BTreeSet;
use std::sync::Arc;
use tidings_protocol::admission::{Admission, Rejection, WaitFor, admit_content, admit_control};
use tidings_protocol::content::Content;
use tidings_protocol::control::payload::ControlEvent;
use tidings_protocol::control::set::ControlSet;
use tidings_protocol::control::state::{RoomState, Void};
use tidings_protocol::event::{Class, VerifiedEvent};
use tidings_protocol::id::{DeviceId, EventId, RoomId};
use tidings_protocol::limits::{MODERATED_ERASE_AFTER_MS, VOID_CONTROL_MAX};
use tidings_protocol::log::Log;
use tidings_storage::{Appended, Batch, Entry, RoomNumber, StorageError};

/// What became of the first event that did not simply enter, or `Stored` when all did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// New, and in.
    Stored,
    /// Held already.
    Known,
    /// Not decidable until something else is here.
    Waiting(WaitFor),
    /// It does not count.
    Void(Void),
    /// It is false: the sender is at fault.
    Rejected(Rejection),
    /// The room is not known here.
    UnknownRoom,
    /// The log has too many branches.
    TooManyBranches,
    /// What it says was purged here: at most its header is kept, and it is not passed on.
    Purged,
}

/// What became of a run of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// As a whole.
    pub verdict: Verdict,
    /// Local numbers of what is new.
    pub stored: Vec<u64>,
    /// How many were held already.
    pub known: usize,
    /// The room's control state has changed.
    pub control: bool,
    /// Content that is held counts now, or no longer does.
    pub turned: bool,
    /// Events held whose words, which were missing, are back.
    pub filled: Vec<EventId>,
}

/// Admits consecutive events of one branch of one log, ascending, into the batch.
///
/// # Errors
/// `StorageError`: our failure, not the sender's.
pub fn admit(
    batch: &mut Batch<'_>,
    rooms: &mut Rooms,
    room: RoomId,
    events: &[VerifiedEvent],
    now_ms: u64,
) -> Result<Admitted, StorageError> {
    let mut admitted = Admitted {
        verdict: Verdict::UnknownRoom,
        stored: Vec::new(),
        known: 0,
        control: false,
        turned: false,
        filled: Vec::new(),
    };
    let (Some(first), Some(number)) = (events.first(), rooms.find(room).map(|r| r.number)) else {
        return Ok(admitted);
    };
    if events.iter().any(|event| event.room() != room) {
        admitted.verdict = Verdict::Rejected(Rejection::Misplaced);
        return Ok(admitted);
    }
    admitted.verdict = Verdict::Known;
    match first.header().class {
        Class::Control => admit_controls(batch, rooms, (room, number), events, now_ms, &mut admitted)?,
        Class::Content => admit_contents(batch, rooms, (room, number), events, now_ms, &mut admitted)?,
    }
    if admitted.verdict == Verdict::Known && !admitted.stored.is_empty() {
        admitted.verdict = Verdict::Stored;
    }
    if !admitted.stored.is_empty() || !admitted.filled.is_empty() {
        rooms.changed(room);
    }
    Ok(admitted)
}

fn admit_contents(
    batch: &mut Batch<'_>,
    rooms: &Rooms,
    (room, number): (RoomId, RoomNumber),
    events: &[VerifiedEvent],
    now_ms: u64,
    admitted: &mut Admitted,
) -> Result<(), StorageError> {
    let Some(state) = rooms.find(room).map(|r| r.state.clone()) else { return Ok(()) };
    let kept = events_kept(batch, &state, number, events)?;
    let (events, cut_away) = events.split_at(kept);
    if !cut_away.is_empty() {
        admitted.verdict = Verdict::Void(Void::Revoked);
    }
    let mut contents: Vec<Option<Content>> = Vec::with_capacity(events.len());
    // From the top down, because what is vouched for stands above: a run is cut where its lower part may not enter.
    let mut first = 0;
    for (n, event) in events.iter().enumerate().rev() {
        match admit_content(event, &state) {
            (Admission::Admit, content) => contents.push(content),
            (other, _) => {
                admitted.verdict = verdict(other);
                first = n + 1;
                break;
            }
        }
    }
    contents.reverse();
    let entries: Vec<Entry<'_>> = events[first..]
        .iter()
        .zip(&contents)
        .map(|(event, content)| {
            let user = state.speaker(event.header().author, event.header().grant);
            let purges = &rooms.purges;
            let purged = purges.refuses_event(user, event.id()) || purges.refuses_edit(content.as_ref());
            let content = content.as_ref().filter(|_| !purged);
            let erased = state.erasure(&event.log(), event.header().seq, event.id()).is_some_and(|e| e.own);
            Entry { event, content, user, erased, purged }
        })
        .collect();
    append(batch, number, &entries, now_ms, admitted)?;
    if entries.last().is_some_and(|entry| entry.purged) && matches!(admitted.verdict, Verdict::Known) {
        admitted.verdict = Verdict::Purged;
    }
    Ok(())
}

/// How many of these, from the first, lie within what the cuts of their log leave: up to the highest that a cut names, or
/// that an event held waits for.
fn events_kept(
    batch: &Batch<'_>,
    state: &RoomState,
    number: RoomNumber,
    events: &[VerifiedEvent],
) -> Result<usize, StorageError> {
    let Some(log) = events.first().map(VerifiedEvent::log) else { return Ok(0) };
    let Ok(right) = state.content_right(&log) else { return Ok(events.len()) };
    if right.cuts.is_empty() {
        return Ok(events.len());
    }
    let missing = batch.missing(number, &log)?;
    let stays = |event: &VerifiedEvent| right.names(event.id()) || missing.contains(&event.id());
    Ok(events.iter().rposition(stays).map_or(0, |highest| highest + 1))
}

fn admit_controls(
    batch: &mut Batch<'_>,
    rooms: &mut Rooms,
    (room, number): (RoomId, RoomNumber),
    events: &[VerifiedEvent],
    now_ms: u64,
    admitted: &mut Admitted,
) -> Result<(), StorageError> {
    let mut moved: BTreeSet<Log> = BTreeSet::new();
    for event in events {
        let Some(live) = rooms.find(room) else { return Ok(()) };
        let (admission, read) = admit_control(event, &live.control);
        let Some(read) = read.filter(|_| admission == Admission::Admit) else {
            admitted.verdict = verdict(admission);
            break;
        };
        if let Some(why) = not_worth_keeping(&live.control, &read) {
            admitted.verdict = Verdict::Void(why);
            break;
        }
        let before = admitted.stored.len();
        let entry = Entry { event, content: None, user: None, erased: false, purged: false };
        append(batch, number, &[entry], now_ms, admitted)?;
        if admitted.verdict == Verdict::TooManyBranches {
            break;
        }
        if admitted.stored.len() > before {
            let settled = rooms.insert(room, read, event.header().hlc);
            moved.extend(settled.content.iter().map(|(author, grant)| content_log(*author, *grant)));
            admitted.control = true;
        }
    }
    // Content that counts now and did not before, or the other way, has moved for our peers.
    admitted.turned = batch.touch(number, &moved)? > 0;
    let void = events.last().and_then(|event| rooms.find(room)?.control.void(event.id()));
    if let Some(why) = void.filter(|_| admitted.verdict == Verdict::Known) {
        admitted.verdict = Verdict::Void(why);
    }
    Ok(())
}

/// Why an event is not kept: it does not count, no cut that does names it as a proof, and whoever it comes from has enough
/// of its kind here. Should it count one day, those for whom it does tell us of it.
fn not_worth_keeping(set: &ControlSet, event: &ControlEvent) -> Option<Void> {
    let why = set.judge(event).filter(|_| set.event(event.id).is_none())?;
    (set.void_beside(event) >= VOID_CONTROL_MAX && !set.is_named(&event.log, event.id)).then_some(why)
}

fn content_log(author: DeviceId, grant: EventId) -> Log {
    Log { class: Class::Content, author, grant }
}

fn append(
    batch: &mut Batch<'_>,
    number: RoomNumber,
    entries: &[Entry<'_>],
    now_ms: u64,
    admitted: &mut Admitted,
) -> Result<(), StorageError> {
    match batch.append(number, entries, now_ms) {
        Ok(results) => {
            for (result, entry) in results.into_iter().zip(entries) {
                match result {
                    Appended::Stored(number) => admitted.stored.push(number),
                    Appended::Known(_) => admitted.known += 1,
                    Appended::Filled(_) => admitted.filled.push(entry.event.id()),
                }
            }
            Ok(())
        }
        Err(StorageError::Log(_)) => {
            admitted.verdict = Verdict::TooManyBranches;
            Ok(())
        }
        Err(error) => Err(error),
    }
}

fn verdict(admission: Admission) -> Verdict {
    match admission {
        Admission::Admit => Verdict::Stored,
        Admission::Wait(on) => Verdict::Waiting(on),
        Admission::Void(why) => Verdict::Void(why),
        Admission::Reject(why) => Verdict::Rejected(why),
    }
}

/// Brings the store in line with what the room's control events erase. Safe to repeat: done on start and after changes.
/// Returns the messages that look different now.
///
/// # Errors
/// `StorageError`.
pub fn apply_erasures(
    batch: &mut Batch<'_>,
    state: &Arc<RoomState>,
    now_ms: u64,
) -> Result<Vec<EventId>, StorageError> {
    let mut changed = Vec::new();
    for (place, erasure) in &state.erased {
        let known = batch.store().erasure(place.id)?;
        let due_ms = match known {
            Some((_, 0)) => continue,
            _ if erasure.own => 0,
            Some((_, due_ms)) if due_ms <= now_ms => 0,
            Some(_) => continue,
            None => now_ms.saturating_add(MODERATED_ERASE_AFTER_MS),
        };
        // At another place than the Erase says stands another's message; what is not here yet comes without its words.
        let log = Log { class: Class::Content, author: place.author, grant: place.grant };
        if batch.store().event_by_id(place.id)?.is_some_and(|e| e.log == log && e.seq == place.seq) {
            batch.erase(place.id, erasure.by, due_ms)?;
            changed.push(place.id);
        }
    }
    Ok(changed)
}

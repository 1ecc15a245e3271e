//! The one door: every event, whoever brings it, enters the history here or not at all. What comes in was verified
//! (hash, signature); this decides what the room says to it, and puts it with all its indexes into the batch.

use crate::rooms::Rooms;
use std::collections::BTreeSet;
use tidings_protocol::admission::{Admission, Rejection, WaitFor, admit_content, admit_control};
use tidings_protocol::content::Content;
use tidings_protocol::control::payload::Erase;
use tidings_protocol::control::state::{Erasure, RoomState, Void};
use tidings_protocol::control::worth::Unkept;
use tidings_protocol::event::{Class, VerifiedEvent};
use tidings_protocol::id::{DeviceId, EventId, RoomId};
use tidings_protocol::limits::MODERATED_ERASE_AFTER_MS;
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
    /// Places at which another Erase is in force than before, or none.
    pub erased: BTreeSet<Erase>,
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
        erased: BTreeSet::new(),
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
    rooms: &mut Rooms,
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
    // From the top down, because what is vouched for stands above: a run is cut where its lower part may not enter. What
    // lacks its words and the Erase that explains it stays a hole, and what lies below it is history all the same.
    let (mut first, mut silent) = (0, BTreeSet::new());
    for (n, event) in events.iter().enumerate().rev() {
        match admit_content(event, &state) {
            (Admission::Admit, content) => contents.push(content),
            (other @ Admission::Wait(WaitFor::Erase(_)), _) => {
                admitted.verdict = verdict(other);
                contents.push(None);
                silent.insert(n);
            }
            (other, _) => {
                admitted.verdict = verdict(other);
                first = n + 1;
                break;
            }
        }
    }
    contents.reverse();
    for silent in silent.into_iter().chain([events.len()]) {
        let run = events.get(first..silent).unwrap_or_default();
        let rest = contents.split_off(run.len().min(contents.len()));
        append_contents(batch, rooms, ((room, number), &state), run.iter().zip(&contents), now_ms, admitted)?;
        contents = rest.into_iter().skip(1).collect();
        first = silent + 1;
    }
    Ok(())
}

/// Appends a run that may enter. What a moderator has erased is hidden, and its words are to go.
fn append_contents<'e>(
    batch: &mut Batch<'_>,
    rooms: &mut Rooms,
    ((room, number), state): ((RoomId, RoomNumber), &RoomState),
    run: impl Iterator<Item = (&'e VerifiedEvent, &'e Option<Content>)>,
    now_ms: u64,
    admitted: &mut Admitted,
) -> Result<(), StorageError> {
    let (mut erasures, purges) = (Vec::new(), &rooms.purges);
    let mut entries: Vec<Entry<'_>> = Vec::new();
    for (event, content) in run {
        let header = event.header();
        let erasure = state.erasure(&event.log(), header.seq, event.id());
        let (user, erased) = (state.speaker(header.author, header.grant), erasure.is_some_and(|e| e.own));
        erasures.extend(erasure.map(|erasure| ((event.id(), user), erasure)));
        let purged = purges.refuses_event(user, event.id()) || purges.refuses_edit(content.as_ref());
        entries.push(Entry { event, content: content.as_ref().filter(|_| !purged), user, erased, purged });
    }
    let (first, filled) = (batch.next(), admitted.filled.len());
    append(batch, number, &entries, now_ms, admitted)?;
    rooms.tally(batch, (room, number), state, (&entries, first))?;
    for id in admitted.filled.iter().skip(filled) {
        let entry = entries.iter().find(|entry| entry.event.id() == *id);
        if let (Some(entry), Some(event)) = (entry, batch.store().number_of(*id)?) {
            rooms.tally_filled(batch, (room, number), state, (entry, event))?;
        }
    }
    if admitted.verdict == Verdict::TooManyBranches {
        return Ok(());
    }
    if entries.last().is_some_and(|entry| entry.purged) && matches!(admitted.verdict, Verdict::Known) {
        admitted.verdict = Verdict::Purged;
    }
    for ((id, user), erasure) in erasures {
        if let Some(due_ms) = due_ms(batch.store().erasure(id)?, erasure, now_ms) {
            batch.erase((id, user), erasure.by, due_ms)?;
        }
    }
    Ok(())
}

/// How many of these, from the first, lie within what the cuts of their log leave: up to the highest that a cut names, or
/// that an event held waits for. What a cut names and is not signed is kept with what vouches for it: else it could be
/// shown to nobody.
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
    let Some(highest) = events.iter().rposition(stays) else { return Ok(0) };
    let signed = events.iter().skip(highest).position(|event| event.signature().is_some());
    let evidence = signed.filter(|_| events.get(highest).is_some_and(|event| right.names(event.id())));
    Ok(highest + evidence.unwrap_or(0) + 1)
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
    let mut way = way_end(rooms, room, events);
    for (n, event) in events.iter().enumerate() {
        let Some(live) = rooms.find(room) else { return Ok(()) };
        let (admission, read) = admit_control(event, &live.control);
        let Some(read) = read.filter(|_| admission == Admission::Admit) else {
            admitted.verdict = verdict(admission);
            break;
        };
        match live.control.is_worth_keeping(&read, n < way) {
            Ok(()) => {}
            Err(Unkept::Void(why)) => {
                admitted.verdict = Verdict::Void(why);
                break;
            }
            Err(Unkept::TooManyBranches) => {
                admitted.verdict = Verdict::TooManyBranches;
                break;
            }
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
            if settled.turned {
                way = way_end(rooms, room, events);
            }
            admitted.erased.extend(settled.erased);
            admitted.control = true;
        }
    }
    if admitted.control {
        rooms.tally_control(room);
    }
    if !admitted.erased.is_empty() {
        batch.await_trimmed(number)?;
    }
    // Content that counts now and did not before, or the other way, has moved for our peers.
    admitted.turned = batch.touch(number, &moved)? > 0;
    let void = events.last().and_then(|event| rooms.find(room)?.control.void(event.id()));
    if let Some(why) = void.filter(|_| admitted.verdict == Verdict::Known) {
        admitted.verdict = Verdict::Void(why);
    }
    Ok(())
}

/// How many of these, from the first, lie on the way to an event that a valid cut names, or are it.
fn way_end(rooms: &Rooms, room: RoomId, events: &[VerifiedEvent]) -> usize {
    let Some(live) = rooms.find(room) else { return 0 };
    events.iter().rposition(|event| live.control.is_named(&event.log(), event.id())).map_or(0, |highest| highest + 1)
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
                    Appended::Known(_) | Appended::GivenUp => admitted.known += 1,
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

/// Brings the store in line with the Erase in force at each of these places, or with none. Safe to repeat: done on start
/// and after changes. Returns the messages that look different now.
///
/// # Errors
/// `StorageError`.
pub fn apply_erasures<'a>(
    batch: &mut Batch<'_>,
    state: &RoomState,
    places: impl IntoIterator<Item = &'a Erase>,
    now_ms: u64,
) -> Result<Vec<EventId>, StorageError> {
    let mut changed = Vec::new();
    for place in places {
        // At another place than the Erase says stands another's message; what is not here yet is dealt with as it comes.
        let log = Log { class: Class::Content, author: place.author, grant: place.grant };
        if batch.store().event_by_id(place.id)?.is_none_or(|e| e.log != log || e.seq != place.seq) {
            continue;
        }
        let known = batch.store().erasure(place.id)?;
        match state.erasure(&log, place.seq, place.id) {
            Some(erasure) => {
                let Some(due_ms) = due_ms(known, erasure, now_ms) else { continue };
                let user = state.speaker(place.author, place.grant);
                batch.erase((place.id, user), erasure.by, due_ms)?;
            }
            // What is gone is gone.
            None if known.is_some_and(|(_, due_ms)| due_ms > 0) => batch.spare(place.id)?,
            None => {}
        }
        changed.push(place.id);
    }
    Ok(changed)
}

/// When the payload of a message is to go by the Erase in force, 0 for now; `None` where nothing has changed. Each of a
/// moderator's has seven days of its own.
fn due_ms(known: Option<(EventId, u64)>, erasure: Erasure, now_ms: u64) -> Option<u64> {
    match known {
        Some((_, 0)) => None,
        _ if erasure.own => Some(0),
        Some((by, due_ms)) if by == erasure.by => (due_ms <= now_ms).then_some(0),
        _ => Some(now_ms.saturating_add(MODERATED_ERASE_AFTER_MS)),
    }
}

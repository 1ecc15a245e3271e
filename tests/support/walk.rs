//! A walk over everything that a store holds of a room: every row is read, and every index has to say what the events
//! themselves say. A store that passes has lost nothing that it lists and lists everything that it has.

use super::store::TestStore;
use std::collections::{BTreeMap, BTreeSet};
use tidings_protocol::content::{Content, kind};
use tidings_protocol::event::{Body, Class};
use tidings_protocol::id::EventId;
use tidings_protocol::log::Log;
use tidings_storage::{Direction, Position, REBUILT_NOTE, Store, StoredEvent};

/// Checks everything; returns the ids held, in order of arrival.
pub fn walk(held: &TestStore) -> Vec<EventId> {
    let events = arrived(&held.store, 100);
    for event in &events {
        check_event(held, event);
    }
    let ours: Vec<&StoredEvent> = events.iter().filter(|e| e.room == held.room).collect();
    check_logs(held, &ours);
    check_timeline(held, &ours);
    check_relations(held, &ours);
    let control: BTreeSet<EventId> = ours.iter().filter(|e| e.log.class == Class::Control).map(|e| e.id).collect();
    let set = held.store.control_set(held.room, held.id).unwrap();
    assert_eq!(set.events().map(|e| e.id).collect::<BTreeSet<_>>(), control);
    let verified = held.store.verify(&mut |_| true).unwrap();
    assert_eq!((verified.flaw_count, verified.events), (0, events.len() as u64), "{:#?}", verified.flaws);
    events.iter().map(|e| e.id).collect()
}

/// Whether anything was taken off to save room, or lost: then numbers have gaps, and a fork may be known whose branches are gone.
fn is_trimmed(store: &Store) -> bool {
    store.unreclaimed().unwrap().is_some() || store.note(REBUILT_NOTE).unwrap().is_some()
}

/// Everything in order of arrival, read in pages; numbers have no gap.
pub fn arrived(store: &Store, page: usize) -> Vec<StoredEvent> {
    let mut out: Vec<StoredEvent> = Vec::new();
    loop {
        let cursor = out.last().map_or(0, |e| e.number);
        let more = store.arrived_since(cursor, page).unwrap();
        if more.is_empty() {
            break;
        }
        out.extend(more);
    }
    assert!(out.is_sorted_by(|a, b| a.number < b.number));
    if is_trimmed(store) {
        return out;
    }
    assert!(out.iter().map(|e| e.number).eq(1..=out.len() as u64), "arrival numbers have gaps");
    assert_eq!(store.next_number().unwrap(), out.len() as u64 + 1);
    out
}

fn check_event(held: &TestStore, event: &StoredEvent) {
    assert_eq!(held.store.number_of(event.id).unwrap(), Some(event.number));
    assert_eq!(held.store.event_by_id(event.id).unwrap().as_ref(), Some(event));
    if event.room != held.room {
        return;
    }
    // The id covers every field of the header, and the header the payload.
    assert_eq!(held.store.header(held.id, event).unwrap().id(), event.id);
    if let Some(signed) = held.store.signed_event(held.id, event).unwrap() {
        assert_eq!(signed.verify().unwrap().id(), event.id);
    }
}

/// Tips, holes, forks and counts follow from the events held.
fn check_logs(held: &TestStore, events: &[&StoredEvent]) {
    let mut logs: BTreeMap<Log, Vec<&StoredEvent>> = BTreeMap::new();
    for event in events {
        logs.entry(event.log).or_default().push(event);
    }
    for class in [Class::Control, Class::Content] {
        let listed: Vec<Log> = held.store.logs(held.room, class).unwrap().into_iter().map(|(log, _)| log).collect();
        let expected: Vec<Log> = logs.keys().copied().filter(|l| l.class == class).collect();
        assert_eq!(listed, expected);
    }
    for (log, events) in logs {
        let state = held.store.log(held.room, &log).unwrap().unwrap().state;
        let here: BTreeSet<EventId> = events.iter().map(|e| e.id).collect();
        // By place too: who names an event at another place than its own names what is not there.
        let mut places: BTreeMap<(u64, EventId), usize> = BTreeMap::new();
        for event in &events {
            *places.entry((event.seq - 1, held.store.header(held.id, event).unwrap().prev)).or_default() += 1;
        }
        let children: BTreeSet<EventId> = places.keys().map(|(_, id)| *id).collect();
        let leaves: BTreeSet<EventId> = here.iter().copied().filter(|id| !children.contains(id)).collect();
        let missing: BTreeSet<EventId> =
            children.iter().copied().filter(|id| *id != EventId::ZERO && !here.contains(id)).collect();
        assert_eq!(state.tips().iter().map(|t| t.id).collect::<BTreeSet<_>>(), leaves, "tips of {log:?}");
        assert_eq!(state.holes().iter().map(|h| h.top.id).collect::<BTreeSet<_>>(), missing, "holes of {log:?}");
        let is_forked = places.values().any(|n| *n > 1);
        assert!(state.is_forked() == is_forked || state.is_forked() && is_trimmed(&held.store), "forks of {log:?}");
        assert_eq!(state.held(), events.len() as u64, "count of {log:?}");
    }
}

/// Every message stands in the timeline once, and nothing else does.
fn check_timeline(held: &TestStore, events: &[&StoredEvent]) {
    let mut seen: BTreeMap<u64, Position> = BTreeMap::new();
    for entry in held.store.timeline(held.room, Position::LAST, Direction::Older, usize::MAX).unwrap() {
        for number in entry.numbers {
            assert_eq!(seen.insert(number, entry.position), None, "event {number} stands at two places");
        }
    }
    for event in events.iter().filter(|e| e.log.class == Class::Content) {
        let is_message = match &event.body {
            Body::Kept(payload) => Content::decode(event.kind, &payload.bytes).unwrap().is_message(),
            Body::Erased => !matches!(event.kind, kind::EDIT | kind::REACTION | kind::PROFILE),
        };
        let place = seen.remove(&event.number);
        assert_eq!(place.is_some(), is_message, "event {}", event.number);
        if let (Some(place), Body::Kept(_)) = (place, &event.body) {
            assert_eq!(place, event.position());
        }
    }
    assert!(seen.is_empty(), "what the timeline lists and nobody holds: {seen:?}");
}

fn check_relations(held: &TestStore, events: &[&StoredEvent]) {
    for event in events.iter().filter(|e| e.log.class == Class::Content) {
        let Body::Kept(payload) = &event.body else { continue };
        let Some(target) = Content::decode(event.kind, &payload.bytes).unwrap().target() else { continue };
        let related = held.store.relations(held.room, target, usize::MAX).unwrap();
        assert!(related.contains(event), "event {} is no relation of its target", event.number);
    }
}

//! What cuts leave of content logs whose authors lie about what lies below: predecessors that are none, forks above holes.

use crate::support::people::Pen;
use crate::support::revoking::up_to;
use crate::support::store::{Duo, TestStore};
use tidings_protocol::content::Content;
use tidings_protocol::control::cut::Cut;
use tidings_protocol::control::state::ContentRight;
use tidings_protocol::event::VerifiedEvent;
use tidings_protocol::id::EventId;
use tidings_protocol::log::Log;

/// A text at any place, after anything.
fn at(pen: &Pen, seq: u64, prev: EventId) -> VerifiedEvent {
    let mut pen = pen.clone();
    let mut draft = pen.draft(1, Content::Text("anywhere".into()).encode());
    (draft.seq, draft.prev) = (seq, prev);
    pen.sign(draft)
}

/// Those of these events that a cut keeps.
fn kept(store: &TestStore, duo: &Duo, log: &Log, cut: &Cut, events: &[&VerifiedEvent]) -> Vec<bool> {
    let right = ContentRight { user: duo.bob.user(), cuts: vec![cut] };
    let kept = store.store.kept(store.room, log, &right).unwrap();
    let number = |event: &VerifiedEvent| store.store.number_of(event.id()).unwrap().unwrap();
    events.iter().map(|event| kept.counts(event.header().seq, number(event))).collect()
}

#[test]
fn a_predecessor_at_the_end_of_all_numbers_is_none() {
    let duo = Duo::new();
    let mut store = duo.store();
    let one = duo.bob_says.clone().text("one");
    let last = at(&duo.bob_says, u64::MAX, one.id());
    let (two, three) = (at(&duo.bob_says, 2, last.id()), at(&duo.bob_says, 3, last.id()));
    for event in [&one, &last, &two, &three] {
        store.append(std::slice::from_ref(event));
    }
    let log = one.log();
    let named = Cut { log, seq: u64::MAX, ids: vec![two.id()] };
    assert_eq!(kept(&store, &duo, &log, &named, &[&one, &last, &two, &three]), [false, false, true, false]);
    // Who is to be removed can be: what is held is named, and nothing is added to the highest number there is.
    let batch = store.writer.begin();
    let (tips, _) = batch.tips(store.room, &log).unwrap().unwrap();
    let cut = batch.cut(log, tips, u64::MAX).unwrap().unwrap();
    assert_eq!(cut.seq, u64::MAX);
    drop(batch);
    assert_eq!(kept(&store, &duo, &log, &cut, &[&one, &last]), [true, true]);
}

#[test]
fn a_predecessor_further_down_hides_nothing_from_who_comes_later() {
    let mut duo = Duo::new();
    let mut store = duo.store();
    let events = duo.bob_says.run(10);
    let far = at(&duo.bob_says, 200, events[9].id());
    store.append(&events);
    store.append(std::slice::from_ref(&far));
    let state = store.store.log(store.room, &far.log()).unwrap().unwrap().state;
    assert_eq!(state.tips().len(), 2, "it goes on where it says that it does not");
    assert_eq!(state.holes().iter().map(|hole| hole.top.seq).collect::<Vec<_>>(), [199]);
    // The same when it comes first.
    let mut other = duo.store();
    other.append(std::slice::from_ref(&far));
    other.append(&events);
    let same = other.store.log(other.room, &far.log()).unwrap().unwrap().state;
    assert_eq!((same.tips(), same.held()), (state.tips(), state.held()));
}

#[test]
fn a_branch_above_a_hole_takes_nothing_from_the_line_that_a_cut_names() {
    let mut duo = Duo::new();
    let mut store = duo.store();
    let events = duo.bob_says.run(100);
    let stray = at(&duo.bob_says, 50, EventId([0xee; 32]));
    store.append(&events);
    store.append(std::slice::from_ref(&stray));
    let log = stray.log();
    let cut = up_to(&events[99]);
    let line: Vec<&VerifiedEvent> = events.iter().collect();
    assert!(
        kept(&store, &duo, &log, &cut, &line).iter().all(|counts| *counts),
        "all of what the cut names lies below it"
    );
    assert_eq!(kept(&store, &duo, &log, &cut, &[&stray]), [false], "no cut names it");
    // Two branches, each above a hole of one number.
    let mut other = duo.store();
    let (one, two) = (at(&duo.bob_says, 50, EventId([0xee; 32])), at(&duo.bob_says, 50, EventId([0xdd; 32])));
    [&one, &two].into_iter().for_each(|event| drop(other.append(std::slice::from_ref(event))));
    assert_eq!(kept(&other, &duo, &log, &up_to(&one), &[&one, &two]), [true, false]);
}

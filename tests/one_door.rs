//! What the one door makes of erasures: each change of what is in force touches its own message and nothing else; what
//! lacks its words without a reason is a hole, and no wall before the history below it.

use crate::support::people::START_MS;
use crate::support::store::{Duo, TestStore};
use std::collections::BTreeSet;
use tidings_node::beacons::NOTHING_WAITS;
use tidings_node::erasing::first_waiting;
use tidings_node::ingest::{Admitted, Verdict, admit, apply_erasures};
use tidings_node::rooms::{Rooms, Views};
use tidings_protocol::admission::WaitFor;
use tidings_protocol::control::cut::Cut;
use tidings_protocol::control::payload::{Control, Erase, Revoke};
use tidings_protocol::event::{Body, Hlc, VerifiedEvent};
use tidings_protocol::id::EventId;
use tidings_protocol::limits::MODERATED_ERASE_AFTER_MS;
use tidings_protocol::range::Vouched;
use tidings_storage::Durability;
use tidings_storage::proof::prove;

/// A store and its rooms in memory, as a node has them.
struct Door {
    store: TestStore,
    rooms: Rooms,
}

impl Door {
    fn of(store: TestStore) -> Door {
        let rooms = Rooms::load(&store.store, Views::default()).unwrap();
        Door { store, rooms }
    }

    /// Lets events in, and does what follows for messages.
    fn enter(&mut self, events: &[VerifiedEvent], now_ms: u64) -> Admitted {
        let mut batch = self.store.writer.begin();
        let admitted = admit(&mut batch, &mut self.rooms, self.store.id, events, now_ms).unwrap();
        batch.commit(Durability::Synced).unwrap();
        self.apply(&admitted.erased, now_ms);
        admitted
    }

    fn apply(&mut self, places: &BTreeSet<Erase>, now_ms: u64) -> Vec<EventId> {
        let state = self.rooms.find(self.store.id).unwrap().state.clone();
        let mut batch = self.store.writer.begin();
        let changed = apply_erasures(&mut batch, &state, places, now_ms).unwrap();
        batch.commit(Durability::Synced).unwrap();
        changed
    }

    fn is_silent(&self, id: EventId) -> bool {
        self.store.store.event_by_id(id).unwrap().unwrap().body == Body::Erased
    }

    /// What of the erasures is due now goes.
    fn due(&mut self, words: &VerifiedEvent, now_ms: u64) {
        let due = self.store.store.due_erasures(now_ms, 10).unwrap();
        if due.contains(&words.id()) {
            let header = words.header();
            let place = Erase { author: header.author, grant: header.grant, seq: header.seq, id: words.id() };
            self.apply(&BTreeSet::from([place]), now_ms);
        }
    }
}

fn revoke(duo: &mut Duo, cuts: Vec<Cut>) -> VerifiedEvent {
    duo.ada_rules.rule(Control::Revoke(Revoke { user: duo.bob.user(), cuts, joins: Vec::new() }))
}

#[test]
fn a_control_event_touches_only_the_messages_whose_erasure_it_changes() {
    let mut duo = Duo::new();
    let mut door = Door::of(duo.store());
    let words = duo.bob_says.text("one of many");
    door.enter(std::slice::from_ref(&words), START_MS);
    for n in 0..50 {
        let nowhere = Erase { seq: 1_000 + n, ..crate::support::people::erase_of(&words) };
        let admitted = door.enter(&[duo.bob_rules.rule(Control::Erase(nowhere.clone()))], START_MS);
        assert_eq!(admitted.erased, BTreeSet::from([nowhere]));
    }
    let topic = door.enter(&[duo.ada_rules.set("topic", "new", &[])], START_MS);
    assert!(topic.control && topic.erased.is_empty(), "fifty erasures of nothing are not looked at again");
    let erase = door.enter(&[duo.bob_rules.erase(&words)], START_MS);
    assert_eq!((erase.erased.len(), door.is_silent(words.id())), (1, true));
}

#[test]
fn each_erasure_of_a_moderator_has_seven_days_of_its_own() {
    let mut duo = Duo::new();
    let mut door = Door::of(duo.store());
    let (words, late) = (duo.bob_says.text("spam"), duo.bob_says.text("spam, not here yet"));
    let by_ada = [duo.ada_rules.erase(&words), duo.ada_rules.erase(&late)];
    door.enter(std::slice::from_ref(&words), START_MS);
    door.enter(&by_ada, START_MS);
    door.enter(std::slice::from_ref(&late), START_MS + 5);
    let erasure = |door: &Door, id| door.store.store.erasure(id).unwrap();
    let day = MODERATED_ERASE_AFTER_MS;
    assert_eq!(erasure(&door, words.id()), Some((by_ada[0].id(), START_MS + day)));
    assert_eq!(erasure(&door, late.id()), Some((by_ada[1].id(), START_MS + 5 + day)), "from when its words came");
    // Who takes another's place begins anew.
    let mut batch = door.store.writer.begin();
    batch.erase((words.id(), None), EventId([1; 32]), START_MS + 1).unwrap();
    batch.commit(Durability::Synced).unwrap();
    door.due(&words, START_MS + 2);
    assert_eq!(erasure(&door, words.id()), Some((by_ada[0].id(), START_MS + 2 + day)));
    assert!(!door.is_silent(words.id()));
    door.due(&words, START_MS + 2 + day);
    assert!(door.is_silent(words.id()) && !door.is_silent(late.id()));
    // What no Erase in force names any more is spared.
    let mut batch = door.store.writer.begin();
    let other = duo.bob_says.text("nobody minds");
    batch.erase((other.id(), None), EventId([1; 32]), START_MS + 1).unwrap();
    batch.commit(Durability::Synced).unwrap();
    door.enter(std::slice::from_ref(&other), START_MS);
    door.due(&other, START_MS + 2);
    assert_eq!((erasure(&door, other.id()), door.is_silent(other.id())), (None, false));
}

#[test]
fn nothing_is_said_to_be_gone_before_it_is() {
    let mut duo = Duo::new();
    let mut door = Door::of(duo.store());
    let [own, spam, far] = ["mine", "spam", "spam, not here"].map(|text| duo.bob_says.text(text));
    door.enter(&[own.clone(), spam.clone()], START_MS);
    let said = |door: &Door, now_ms| {
        let rooms = Rooms::load(&door.store.store, Views::default()).unwrap();
        first_waiting(&door.store.store, &rooms.views().find(door.store.id).unwrap(), now_ms).unwrap()
    };
    assert_eq!(said(&door, START_MS), NOTHING_WAITS);
    // The Erase is committed, and what it names goes with the next batch.
    let erase = duo.bob_rules.erase(&own);
    let mut batch = door.store.writer.begin();
    let admitted = admit(&mut batch, &mut door.rooms, door.store.id, &[erase], START_MS).unwrap();
    batch.commit(Durability::Synced).unwrap();
    assert_eq!(said(&door, START_MS), Hlc(0), "it is here still");
    door.apply(&admitted.erased, START_MS);
    assert_eq!((door.is_silent(own.id()), said(&door, START_MS)), (true, Hlc(0)), "files have it still");
    let gone = door.store.store.to_shred(9).unwrap();
    assert!(door.store.store.shred(&gone).unwrap());
    let mut batch = door.store.writer.begin();
    batch.shredded(&gone).unwrap();
    batch.commit(Durability::Synced).unwrap();
    assert_eq!(said(&door, START_MS), NOTHING_WAITS);
    // What a moderator erased waits; also what is not here, and could come.
    let (of_far, of_spam) = (duo.ada_rules.erase(&far), duo.ada_rules.erase(&spam));
    let (first, second) = (of_far.header().hlc, of_spam.header().hlc);
    door.enter(&[of_far, of_spam], START_MS);
    assert_eq!(said(&door, START_MS), first);
    let later = first.ms() + MODERATED_ERASE_AFTER_MS;
    assert_eq!(said(&door, later), second, "nobody takes it any more");
    door.due(&spam, START_MS + MODERATED_ERASE_AFTER_MS);
    assert_eq!((door.is_silent(spam.id()), said(&door, later)), (true, Hlc(0)));
}

#[test]
fn a_message_without_words_and_without_reason_is_a_hole_and_what_lies_below_it_is_had() {
    let mut duo = Duo::new();
    let mut theirs = duo.store();
    let run = duo.bob_says.run(12);
    theirs.append(&run);
    let mut batch = theirs.writer.begin();
    let silent = [&run[4], &run[7]];
    silent.iter().for_each(|event| batch.erase((event.id(), None), EventId([1; 32]), 0).unwrap());
    batch.commit(Durability::Synced).unwrap();
    let (log, top) = (duo.bob_says.log(), duo.bob_says.tip());
    let range = theirs.range(&log, top, 1, 1 << 20).unwrap();
    let events = range.verify(duo.room, log, top, Vouched::BySignature).unwrap();
    let mut door = Door::of(duo.store());
    let admitted = door.enter(&events, START_MS);
    assert_eq!(admitted.verdict, Verdict::Waiting(WaitFor::Erase(silent[0].id())));
    assert_eq!(admitted.stored.len(), 10);
    let holes = |door: &Door| {
        let row = door.store.store.log(door.store.room, &log).unwrap().unwrap();
        row.state.holes().iter().map(|hole| hole.top.id).collect::<Vec<_>>()
    };
    assert_eq!(holes(&door), silent.map(|event| event.id()));
    // What nothing vouches for offline stays out of the file until the hole closes.
    let (_, proven) = prove(&mut door.store.export().as_slice()).unwrap();
    assert_eq!(proven.events, 4 + 4);
    for event in silent {
        door.enter(std::slice::from_ref(event), START_MS);
    }
    assert!(holes(&door).is_empty());
    assert_eq!(prove(&mut door.store.export().as_slice()).unwrap().1.events, 4 + 12);
}

#[test]
fn a_file_proves_what_was_erased_before_the_erasure_was_voided() {
    let mut duo = Duo::new();
    let mut store = duo.store();
    let run = duo.bob_says.run(3);
    store.append(&run);
    let kept = Cut { log: duo.bob_rules.log(), seq: 1, ids: vec![duo.bob_rules.tip().id] };
    let said = Cut { log: duo.bob_says.log(), seq: 3, ids: vec![run[2].id()] };
    store.append(&[duo.bob_rules.erase(&run[1])]);
    let removal = revoke(&mut duo, vec![kept, said]);
    store.append(&[removal]);
    assert!(store.state().erased.is_empty(), "the erasure counts no more");
    let (_, proven) = prove(&mut store.export().as_slice()).unwrap();
    assert_eq!((proven.events, proven.erased), (4 + 2 + 3, 1));
}

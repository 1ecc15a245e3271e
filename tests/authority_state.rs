//! What follows for a room from the control events that count: settings, erasures, whose content enters, what a later
//! version's kinds do; the same for every order of arrival.

use crate::support::people::{Pen, Person, erase_of, invite_secret};
use crate::support::scene::{Scene, holder, members};
use crate::support::seeded::Seeded;
use crate::support::store::Duo;
use std::collections::BTreeMap;
use tidings_protocol::admission::{Admission, Rejection, WaitFor, admit_content};
use tidings_protocol::codec::CodecError;
use tidings_protocol::content::{Content, kind as content_kind};
use tidings_protocol::control::kind;
use tidings_protocol::control::payload::{Control, ControlEvent, Erase, RoomKind};
use tidings_protocol::control::rank::Rank;
use tidings_protocol::control::set::ControlSet;
use tidings_protocol::control::state::Void;
use tidings_protocol::control::state::{Erasure, RoomState};
use tidings_protocol::event::{Body, Class, SignedEvent, VerifiedEvent};
use tidings_protocol::id::{EventId, RoomId};

#[test]
fn among_settings_that_none_replaces_the_stronger_and_then_the_smaller_id_wins() {
    let (genesis, mut founder) = Person::new(1).found();
    let mut scene = Scene::of(&[genesis]);
    let (_, mut admin) = holder(&mut scene, &mut founder, 2, 5);
    let (_, mut other) = holder(&mut scene, &mut founder, 3, 5);
    let (_, mut moderator) = holder(&mut scene, &mut founder, 4, 20);
    let setting = |scene: &Scene, key: &str| scene.state().settings.get(key).cloned();
    let low = moderator.set("topic", "of a moderator", &[]);
    scene.admit(&low);
    assert_eq!(setting(&scene, "topic").as_deref(), Some("of a moderator"));
    let (one, two) = (admin.set("topic", "one", &[]), other.set("topic", "two", &[]));
    scene.admit(&one);
    scene.admit(&two);
    let smaller = if one.id() < two.id() { "one" } else { "two" };
    assert_eq!(setting(&scene, "topic").as_deref(), Some(smaller));
    // Of a weaker rank, but it knew both.
    scene.admit(&moderator.set("topic", "both replaced", &[&one, &two, &low]));
    assert_eq!(setting(&scene, "topic").as_deref(), Some("both replaced"));
    // Of another key: nothing happens to the topic, nor to the name by a topic.
    let name = founder.set("name", "lobby", &[]);
    scene.admit(&name);
    scene.admit(&moderator.set("topic", "and the name", &[&name]));
    scene.admit(&admin.set("retention", "x", &[&one]));
    assert_eq!(setting(&scene, "name").as_deref(), Some("lobby"));
    // Each replaces the other's: nothing is left, until somebody sets it anew.
    let (a, b) = (admin.set("history", "a", &[]), other.set("history", "b", &[]));
    let (over_a, over_b) = (admin.set("history", "c", &[&a, &b]), other.set("history", "d", &[&a, &b]));
    [&a, &b, &over_a, &over_b].into_iter().for_each(|event| scene.admit(event));
    let smaller = if over_a.id() < over_b.id() { "c" } else { "d" };
    assert_eq!(setting(&scene, "history").as_deref(), Some(smaller));
}

#[test]
fn a_setting_that_does_not_count_replaces_nothing() {
    let (genesis, mut founder) = Person::new(1).found_with(Rank::MEMBER, &[]);
    let invite = founder.open_invite(&invite_secret(9), 20);
    let topic = founder.set("topic", "first", &[]);
    let (join, mut bob) = Person::new(2).join(genesis.room(), invite.id(), &invite_secret(9));
    let replacing = bob.set("topic", "second", &[&topic]);
    let mut scene = Scene::of(&[genesis, invite.clone(), topic, join, replacing]);
    assert_eq!(scene.state().settings["topic"], "second");
    scene.admit(&founder.close_invite(invite.id(), &[]));
    assert_eq!(scene.state().settings["topic"], "first");
}

fn erasure_of(state: &RoomState, message: &VerifiedEvent) -> Option<Erasure> {
    crate::support::store::erasure_of(state, &message.log(), message.header().seq, message.id())
}

#[test]
fn a_message_is_erased_by_its_user_or_a_moderator_no_weaker() {
    let (genesis, mut founder) = Person::new(1).found();
    let room = genesis.room();
    let mut scene = Scene::of(&[genesis]);
    let mut people: BTreeMap<&str, (Person, Pen)> = BTreeMap::new();
    for (n, (who, rank)) in
        [("admin", 5), ("moderator", 20), ("equal", 20), ("least", 30), ("senior", 31), ("member", 60)]
            .into_iter()
            .enumerate()
    {
        people.insert(who, holder(&mut scene, &mut founder, 2 + n as u8, rank));
    }
    let words: BTreeMap<&str, VerifiedEvent> =
        people.iter().map(|(who, (person, pen))| (*who, person.pen(room, pen.grant).text(who))).collect();
    for (by, of, erased, own) in [
        ("member", "member", true, true),
        ("moderator", "member", true, false),
        ("moderator", "equal", true, false),
        ("moderator", "admin", false, false),
        ("moderator", "moderator", true, true),
        ("admin", "moderator", true, false),
        ("admin", "admin", true, true),
        ("least", "senior", true, false),
        ("least", "moderator", false, false),
        ("senior", "member", false, false),
        ("member", "senior", false, false),
    ] {
        let mut scene = scene.clone();
        let erase = people[by].1.clone().erase(&words[of]);
        scene.admit(&erase);
        assert_eq!(scene.void(&erase), None, "its target decides no validity");
        let state = scene.state();
        for (who, message) in &words {
            let expected = (erased && *who == of).then_some((own, erase.id()));
            assert_eq!(erasure_of(&state, message).map(|e| (e.own, e.by)), expected, "{by} of {of}");
        }
    }
}

#[test]
fn ones_own_erasure_counts_more_than_a_moderators_and_from_any_device_of_the_user() {
    let mut duo = Duo::new();
    let mut scene = Scene::of(&duo.control);
    let words = duo.bob_says.text("by Bob's laptop");
    let (phone, mut by_phone) = Person::at(2, 1).enrol(duo.room, duo.bob_rules.grant);
    scene.admit(&phone);
    let moderated = duo.ada_rules.erase(&words);
    scene.admit(&moderated);
    assert_eq!(erasure_of(&scene.state(), &words).map(|e| (e.own, e.by)), Some((false, moderated.id())));
    let own = by_phone.erase(&words);
    scene.admit(&own);
    assert_eq!(erasure_of(&scene.state(), &words).map(|e| (e.own, e.by)), Some((true, own.id())));
    // In a log under a grant that nobody knows.
    let mut stray = erase_of(&words);
    stray.grant = EventId([3; 32]);
    let mut duo = Duo::new();
    let mut other = Scene::of(&duo.control);
    other.admit(&duo.ada_rules.rule(Control::Erase(stray)));
    assert!(other.state().erased.is_empty());
}

/// An Erase names log, seq and id together. Naming somebody else's message in one's own log must not touch it.
#[test]
fn nobody_erases_anothers_words_by_claiming_them_for_their_own_log() {
    let mut duo = Duo::new();
    let words = duo.ada_says.text("what Ada said");
    for seq in [1, 7] {
        let mut scene = Scene::of(&duo.control);
        let claim = Erase { author: duo.bob.device(), grant: duo.bob_rules.grant, seq, id: words.id() };
        scene.admit(&duo.bob_rules.clone().rule(Control::Erase(claim)));
        assert!(erasure_of(&scene.state(), &words).is_none(), "a member hid the founder's message");
        let mut erased = words.to_signed().unwrap();
        erased.body = Body::Erased;
        let verdict = admit_content(&erased.verify().unwrap(), &scene.state()).0;
        assert_eq!(verdict, Admission::Wait(WaitFor::Erase(words.id())), "and would have it arrive without its words");
    }
    // Nor does such a claim stand in the way of the right one.
    let mut scene = Scene::of(&duo.control);
    let claim = Erase { author: duo.bob.device(), grant: duo.bob_rules.grant, seq: 1, id: words.id() };
    scene.admit(&duo.bob_rules.rule(Control::Erase(claim)));
    let right = duo.ada_rules.erase(&words);
    scene.admit(&right);
    assert_eq!(erasure_of(&scene.state(), &words).map(|e| e.by), Some(right.id()));
}

#[test]
fn content_enters_with_its_grant_its_enrolment_its_rank_and_its_form() {
    let (genesis, mut founder) = Person::new(1).found();
    let room = genesis.room();
    let mut scene = Scene::of(&[genesis]);
    let grants: Vec<(u8, VerifiedEvent)> =
        [(2, 89), (3, 90), (4, 99)].map(|(n, rank)| (n, founder.grant(Person::new(n).user(), rank))).to_vec();
    for (n, grant) in &grants {
        let mut pen = Person::new(*n).pen(room, grant.id());
        let rank = if *n == 2 { 89 } else { 90 };
        let words = pen.text("hello");
        let verdict = |scene: &Scene, event: &VerifiedEvent| admit_content(event, &scene.state()).0;
        assert_eq!(verdict(&scene, &words), Admission::Wait(WaitFor::Event(grant.id())));
        scene.admit(grant);
        let not_yet = if rank == 89 { Admission::Wait(WaitFor::Enrolment(grant.id())) } else { NOT_ALLOWED };
        assert_eq!(verdict(&scene, &words), not_yet);
        scene.admit(&Person::new(*n).enrol(room, grant.id()).0);
        assert_eq!(verdict(&scene, &words), if rank == 89 { Admission::Admit } else { NOT_ALLOWED });
    }
    let state = scene.state();
    let mut pen = Person::new(2).pen(room, grants[0].1.id());
    let later = pen.write(999, b"whatever");
    assert_eq!(admit_content(&later, &state), (Admission::Admit, Some(Content::Unknown { kind: 999 })));
    // A reader's device, a member's grant; a device that nobody enrolled.
    let crossed = Person::new(3).pen(room, grants[0].1.id()).text("with another's grant");
    assert_eq!(admit_content(&crossed, &state).0, Admission::Wait(WaitFor::Enrolment(grants[0].1.id())));
    let stranger = Person::new(9).pen(room, EventId::from(room)).text("as if founder");
    assert_eq!(admit_content(&stranger, &state).0, Admission::Wait(WaitFor::Enrolment(room.into())));
    let mut silent = pen.text("gone").to_signed().unwrap();
    silent.body = Body::Erased;
    let id = silent.header.id();
    assert_eq!(admit_content(&silent.verify().unwrap(), &state).0, Admission::Wait(WaitFor::Erase(id)));
}

/// A hostile author signs a payload that is not of its kind: our own signer would refuse.
#[test]
fn a_payload_that_does_not_read_is_rejected() {
    let duo = Duo::new();
    let scene = Scene::of(&duo.control);
    let unread = |class: Class, as_kind: u16, bytes: &[u8]| -> VerifiedEvent {
        // Erased, an event verifies whatever its kind; the kind is part of what is signed, so it is signed as another.
        let mut pen = duo.bob.pen_of(class, duo.room, duo.bob_rules.grant);
        (pen.seq, pen.prev) = (1, duo.bob_rules.prev);
        let signed: SignedEvent = pen.write(as_kind, bytes).to_signed().unwrap();
        signed.verify().unwrap()
    };
    let erased_control = {
        let mut event = unread(Class::Control, 500, b"").to_signed().unwrap();
        event.body = Body::Erased;
        event.verify().unwrap()
    };
    let verdict = scene.verdict(&erased_control);
    assert!(matches!(verdict, Admission::Reject(Rejection::Payload(CodecError::Invalid(_)))), "{verdict:?}");
    assert!(Content::decode(content_kind::TEXT, b"\xff").is_err() && Control::decode(kind::LEAVE, b"x").is_err());
}

#[test]
fn a_kind_of_a_later_version_makes_the_room_read_only_here() {
    let mut duo = Duo::new();
    let mut scene = Scene::of(&duo.control);
    assert!(!scene.state().needs_newer);
    // A member's is kept and means nothing: nobody loses the room because of one of many.
    let weak = duo.bob_rules.write(999, b"of a later version");
    scene.admit(&weak);
    assert!(!scene.state().needs_newer && scene.set.counts(weak.id()));
    assert_eq!(scene.set.below_newer(&duo.bob_rules.log()), u64::MAX);
    let (_, mut moderator) = holder(&mut scene, &mut duo.ada_rules, 4, 11);
    scene.admit(&moderator.write(999, b""));
    assert!(!scene.state().needs_newer);
    let (_, mut admin) = holder(&mut scene, &mut duo.ada_rules, 5, 10);
    let later = admin.write(999, b"of a later version");
    scene.admit(&later);
    let state = scene.state();
    assert!(state.needs_newer && scene.set.counts(later.id()) && members(&state).len() == 4);
    assert_eq!(scene.set.below_newer(&admin.log()), 1, "a removal keeps what lies below it");
    scene.admit(&duo.bob_rules.leave());
    assert_eq!(scene.voids(), 0, "the log goes on above it");
}

/// Whoever was shut out may still sign what they like: a link that was closed must not freeze the room for all.
#[test]
fn a_later_kind_by_somebody_who_does_not_count_changes_nothing() {
    let mut duo = Duo::new();
    let closing = duo.ada_rules.close_invite(duo.control[2].id(), &[&duo.control[3]]);
    let mut scene = Scene::of(&[&duo.control[..], &[closing]].concat());
    let (join, mut mallory) = Person::new(6).join(duo.room, duo.control[2].id(), &invite_secret(9));
    let later = mallory.write(999, b"");
    scene.admit(&join);
    scene.admit(&later);
    assert_eq!((scene.void(&join), scene.void(&later)), (Some(Void::Closed), Some(Void::Prev)));
    assert!(!scene.state().needs_newer, "an outsider with an old link froze the room");
}

#[test]
fn a_room_under_later_rules_is_known_and_read_only() {
    let ada = Person::new(1);
    let (genesis, _) = ada.found();
    let Body::Kept(payload) = genesis.body() else { panic!("it was signed just now") };
    let mut bytes = payload.bytes.clone();
    bytes[1] = 2;
    bytes.extend_from_slice(b"and whatever else they hold");
    let mut pen = ada.pen_of(Class::Control, RoomId::ZERO, EventId::ZERO);
    let later = pen.write(kind::GENESIS, &bytes);
    let mut scene = Scene { set: ControlSet::new(later.room()) };
    scene.admit(&later);
    let state = scene.state();
    assert!(state.needs_newer && state.kind.is_none() && state.members.is_empty());
    (pen.room, pen.grant) = (later.room(), later.id());
    assert_eq!(scene.verdict(&pen.set("name", "x", &[])), NOT_ALLOWED);
    assert_eq!(Scene::of(&[genesis]).state().kind, Some(RoomKind::Public));
}

#[test]
fn founders_are_all_founders_and_their_devices_enrol() {
    let (ada, bob) = (Person::new(1), Person::new(2));
    let (genesis, mut ada_rules) = ada.found_with(Rank::ADMIN, &[bob.user()]);
    let mut scene = Scene::of(std::slice::from_ref(&genesis));
    assert_eq!(members(&scene.state()), BTreeMap::from([(ada.user(), 0), (bob.user(), 0)]));
    let (enrol, mut bob_rules) = bob.enrol(genesis.room(), genesis.id());
    scene.admit(&enrol);
    scene.admit(&bob_rules.set("name", "ours", &[]));
    let grant = ada_rules.grant(bob.user(), 50);
    scene.admit(&grant);
    assert_eq!(members(&scene.state())[&bob.user()], 0, "the strongest grant counts");
    // A founder's device that is not among the founders' certificates begins no room.
    let outside = Person::new(3);
    let (foreign, _) = outside.found_with(Rank::ADMIN, &[]);
    let Ok(Control::Genesis(mut false_start)) = Control::decode(kind::GENESIS, payload(&foreign)) else { panic!() };
    false_start.founders = vec![ada.user()];
    let (start, _) = outside.root(RoomId::ZERO, EventId::ZERO, Control::Genesis(false_start));
    let set = ControlSet::new(start.room());
    assert_eq!(Scene { set }.verdict(&start), NOT_ALLOWED);
}

/// Grants and prevs of this room under the name of another, and beginnings of others.
#[test]
fn what_belongs_to_another_room_does_not_enter() {
    let mut duo = Duo::new();
    let scene = Scene::of(&duo.control);
    let (other, _) = Person::new(3).found();
    let mut bytes = payload(&other).to_vec();
    bytes[1] = 2;
    let later = Person::new(3).pen_of(Class::Control, RoomId::ZERO, EventId::ZERO).write(kind::GENESIS, &bytes);
    duo.ada_rules.room = other.room();
    for event in [other, later, duo.ada_rules.set("name", "elsewhere", &[])] {
        assert_ne!(event.room(), duo.room);
        assert_ne!(scene.verdict(&event), Admission::Admit, "kind {}", event.header().kind);
    }
}

fn payload(event: &VerifiedEvent) -> &[u8] {
    match event.body() {
        Body::Kept(payload) => &payload.bytes,
        Body::Erased => &[],
    }
}

/// Evaluation reads whatever the set holds; an export from a stranger once brought it this.
#[test]
fn a_number_at_its_end_does_not_overflow_the_evaluation() {
    let duo = Duo::new();
    let mut scene = Scene::of(&duo.control);
    let expected = members(&scene.state());
    let enrol = ControlEvent::read(&duo.bob.enrol(duo.room, duo.bob_rules.grant).0).unwrap();
    let last = ControlEvent { id: EventId([1; 32]), seq: u64::MAX, prev: EventId([2; 32]), ..enrol.clone() };
    scene.set.insert(ControlEvent { id: EventId([3; 32]), seq: 5, prev: last.id, ..enrol });
    scene.set.insert(last);
    assert_eq!(members(&scene.state()), expected);
}

#[test]
fn every_order_of_arrival_gives_the_same_state() {
    let mut duo = Duo::new();
    let mut scene = Scene::of(&duo.control);
    let mut events = duo.control.clone();
    let (phone, mut by_phone) = Person::at(2, 1).enrol(duo.room, duo.bob_rules.grant);
    let words = duo.bob_says.text("words");
    let mut branch = duo.ada_rules.fork();
    let (join, mut late) = Person::new(6).join(duo.room, duo.control[2].id(), &invite_secret(9));
    events.extend([phone, join.clone(), by_phone.erase(&words), by_phone.leave(), branch.set("name", "other", &[])]);
    events.extend([late.leave(), duo.ada_rules.grant(Person::new(7).user(), 3), duo.ada_rules.erase(&words)]);
    events.push(duo.ada_rules.close_invite(duo.control[2].id(), &[&duo.control[3]]));
    events[4..].iter().for_each(|event| scene.admit(event));
    let expected = scene.state();
    assert_eq!((scene.voids(), scene.set.len()), (2, events.len()));
    for seed in 0..100 {
        let mut random = Seeded::new(seed);
        let (mut waiting, mut held) = (events.clone(), Scene { set: ControlSet::new(duo.room) });
        random.shuffle(&mut waiting);
        // What has to wait comes again, as a peer would send it.
        while !waiting.is_empty() {
            let before = waiting.len();
            waiting.retain(|event| match held.verdict(event) {
                Admission::Admit => {
                    held.admit(event);
                    false
                }
                verdict => {
                    assert!(matches!(verdict, Admission::Wait(WaitFor::Event(_))), "seed {seed}: {verdict:?}");
                    true
                }
            });
            assert!(waiting.len() < before, "seed {seed}: they wait for one another");
        }
        assert_eq!(held.state(), expected, "seed {seed}");
    }
}

const NOT_ALLOWED: Admission = Admission::Void(Void::NotAllowed);

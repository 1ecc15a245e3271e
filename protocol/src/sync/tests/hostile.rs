//! What no honest peer sends ends the conversation, for the right reason; what costs us is bounded.

use super::link::{I, Link, NOW_MS, R, credential, settings};
use super::node::Node;
use super::puppet::{NO_CREDENTIAL, Puppet, ROOM, check, heads, hello, proof, want};
use super::world::{Signed, World};
use crate::control::payload::RoomKind;
use crate::event::{Class, EventError, Hlc};
use crate::id::EventId;
use crate::identity::{BadSignature, Signature};
use crate::limits::{
    CREDIT_MAX, HEADS_LISTED_MAX, HEADS_MAX, HEADS_PER_FRAME_MAX, KNOCKS_MAX, PROOFS_MAX, RECONCILE_ROUNDS_MAX,
    RECONCILE_SHARE_BITS_MAX, RECONCILE_SYMBOLS_MAX, ROOMS_MAX, SYMBOLS_PER_FRAME_MAX, UNKNOWN_HEADS_MAX, UNTRUE_MAX,
    WANTS_MAX,
};
use crate::log::Tip;
use crate::range::RangeError;
use crate::sync::keys::network_name;
use crate::sync::{Conversation, Failure, Holdings, Input, Output};
use crate::wire::{Frame, Handle, Head, Listing, SYNC_VERSION, Tag};
use std::sync::OnceLock;

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| World::new(50, RoomKind::Public, 3, 2000, Signed::Run))
}

/// More logs than are listed, so that sets are reconciled.
fn wide() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| World::new(51, RoomKind::Public, HEADS_LISTED_MAX + 4, 1, Signed::Each))
}

fn list(class: Class, listing: Listing, last: bool, heads: Vec<Head>) -> Frame {
    Frame::Heads { room: ROOM, class, listing, last, heads }
}

fn reconcile(message: &[u8]) -> Frame {
    Frame::Reconcile { room: ROOM, class: Class::Content, message: message.to_vec() }
}

/// Asks for symbols of all heads.
fn ask(from: u32, count: u16) -> Frame {
    reconcile(&[&from.to_be_bytes()[..], &count.to_be_bytes(), &[0; 3]].concat())
}

/// As many symbols as the last frame asks for, of so many items.
fn symbols(asked: &[Frame], items: u32, symbol: [u8; 14]) -> Option<Frame> {
    let Some(Frame::Reconcile { message, .. }) = asked.last() else { return None };
    let count = u16::from_be_bytes([message[4], message[5]]);
    Some(reconcile(&[&items.to_be_bytes()[..], &symbol.repeat(usize::from(count))].concat()))
}

/// An initiator that begins to reconcile, and what it asked for.
fn asking() -> (Puppet, Vec<Frame>) {
    let mut puppet = Puppet::public(I, wide());
    let begun = puppet.hear(list(Class::Content, Listing::Part, true, Vec::new())).unwrap();
    assert!(matches!(begun.last(), Some(Frame::Reconcile { message, .. }) if message.len() == 9), "{begun:?}");
    (puppet, begun)
}

#[test]
fn a_hello_of_another_network_or_version_ends_it() {
    for (side, version, network, failure) in [
        (I, SYNC_VERSION, network_name("other"), Failure::OtherNetwork),
        (R, SYNC_VERSION, network_name("other"), Failure::OtherNetwork),
        (I, 2, network_name(""), Failure::Version(2)),
        (R, 0, network_name("other"), Failure::Version(0)),
    ] {
        let mut puppet = Puppet::new(side, Node::new(), Vec::new());
        let hello = Frame::Hello { version, network, nonce: [8; 16], credit: 1 };
        assert_eq!(puppet.hear(hello), Err(failure));
    }
}

#[test]
fn a_frame_before_hello_and_a_second_hello_end_it() {
    for side in [I, R] {
        let mut puppet = Puppet::new(side, Node::new(), Vec::new());
        assert_eq!(puppet.hear(Frame::Rooms(Vec::new())), Err(Failure::Unexpected("a frame before hello")));
        let mut puppet = Puppet::new(side, Node::new(), Vec::new());
        puppet.hear(hello(1 - side)).unwrap();
        assert_eq!(puppet.hear(hello(1 - side)), Err(Failure::Unexpected("a second hello")));
    }
}

#[test]
fn our_own_nonce_ends_it() {
    let mut puppet = Puppet::new(R, Node::new(), Vec::new());
    assert_eq!(puppet.hear(hello(R)), Err(Failure::Unexpected("our own nonce")));
}

#[test]
fn events_that_nobody_asked_for_end_it() {
    for (last, chunk) in [(true, Vec::new()), (false, vec![1; 100])] {
        let mut puppet = Puppet::public(R, world());
        let events = Frame::Events { request: 1, last, chunk };
        assert_eq!(puppet.hear(events), Err(Failure::Unexpected("events that nobody asked for")));
    }
}

#[test]
fn wants_beyond_the_limit_end_it() {
    let mut puppet = Puppet::public(R, world());
    let top = Tip { seq: 2000, id: world().logs[0][1999].id() };
    let mut ask = |request| puppet.hear(want(request, top, 1));
    // The first are answered until the credit is used up; then as many may wait as the limit says.
    let answered = (0..).take_while(|n| !ask(*n).unwrap().is_empty()).count() as u32;
    assert!((2..20).contains(&answered), "{answered}");
    for n in 2..WANTS_MAX as u32 {
        assert_eq!(ask(answered + n), Ok(Vec::new()));
    }
    assert_eq!((0..2).find_map(|n| ask(1000 + n).err()), Some(Failure::Budget("wants")));
}

#[test]
fn more_credit_than_there_may_be_ends_it() {
    for credit in [1, CREDIT_MAX, u32::MAX] {
        let mut puppet = Puppet::public(R, world());
        assert_eq!(puppet.hear(Frame::Credit(credit)), Err(Failure::Budget("credit")));
    }
}

/// Lets a newcomer ask for a long log, and returns its first request.
fn newcomer() -> (Puppet, u32) {
    let node = Node::new();
    let offer = node.offer(world(), None);
    let (mut puppet, _) = Puppet::greeted(R, node, vec![offer], world());
    puppet.node.take(&world().control);
    let head = Head { author: world().key(0).device(), grant: world().log(0).grant, tip: tip(), hlc: Hlc(9) };
    let frames = puppet.hear(list(Class::Content, Listing::Moved, true, vec![head])).unwrap();
    let Some(Frame::Want { request, .. }) = frames.last() else { panic!("{frames:?}") };
    let request = *request;
    (puppet, request)
}

fn tip() -> Tip {
    Tip { seq: 2000, id: world().logs[0][1999].id() }
}

#[test]
fn more_events_than_the_credit_allows_end_it() {
    let (mut puppet, request) = newcomer();
    let held = Node::with(world());
    let mut top = tip();
    let mut sent = 0;
    let failure = loop {
        let chunk = held.chunk(world().room, top, top.seq - 9).unwrap().unwrap();
        top = Tip { seq: chunk.first_seq - 1, id: chunk.prev };
        if let Err(failure) = puppet.hear(Frame::Events { request, last: false, chunk: chunk.bytes }) {
            break failure;
        }
        sent += 1;
    };
    // Small chunks count as larger ones, so that only so many wait to be dealt with.
    assert_eq!((failure, sent), (Failure::Budget("credit"), 64));
}

#[test]
fn a_chunk_that_is_none_ends_it() {
    for (chunk, failure) in [
        (Vec::new(), Failure::Unexpected("an empty chunk")),
        (vec![0; 10], Failure::Range(RangeError::Inflate)),
        (zstd::bulk::compress(&vec![0; 1 << 26], 19).unwrap(), Failure::Range(RangeError::Inflate)),
    ] {
        let (mut puppet, request) = newcomer();
        assert_eq!(puppet.hear(Frame::Events { request, last: false, chunk }), Err(failure));
    }
}

#[test]
fn a_tip_without_its_signature_or_with_a_false_one_ends_it() {
    let world = World::new(52, RoomKind::Public, 1, 5, Signed::Each);
    for (signature, error) in [
        (None, RangeError::Unsigned),
        (Some(Signature([1; 64])), RangeError::Event(EventError::Signature(BadSignature))),
    ] {
        let mut link = Link::public([Node::new(), Node::with(&world)], &world);
        link.ends[R].node.forged_tip = Some(signature);
        link.pump();
        assert_eq!(link.failures()[I], Some(Failure::Range(error)));
        assert_eq!(link.ends[I].node.ids(world.room).len(), 2, "control came, nothing of the false log was kept");
    }
}

#[test]
fn heads_beyond_the_limit_end_it() {
    let mut puppet = Puppet::public(R, world());
    for n in 0..HEADS_MAX / HEADS_PER_FRAME_MAX {
        let part = heads(n * HEADS_PER_FRAME_MAX, HEADS_PER_FRAME_MAX);
        puppet.hear(list(Class::Content, Listing::Part, false, part)).unwrap();
    }
    let one = puppet.hear(list(Class::Content, Listing::Part, false, heads(HEADS_MAX, 1)));
    assert_eq!(one, Err(Failure::Budget("heads")));
    // A second list, while what the first brought is still being fetched.
    let mut puppet = Puppet::public(R, world());
    puppet.hear(list(Class::Content, Listing::Part, true, heads(0, 1))).unwrap();
    let again = puppet.hear(list(Class::Content, Listing::Part, true, Vec::new()));
    assert_eq!(again, Err(Failure::Budget("heads")));
}

#[test]
fn content_that_waits_for_a_control_log_is_bounded() {
    let mut puppet = Puppet::public(R, world());
    puppet.hear(list(Class::Control, Listing::Part, false, Vec::new())).unwrap();
    let part = list(Class::Content, Listing::Part, false, heads(0, HEADS_PER_FRAME_MAX));
    let (kept, failure) = (0..).find_map(|n| Some((n, puppet.hear(part.clone()).err()?))).unwrap();
    assert_eq!(failure, Failure::Budget("lists that wait for a control log"));
    assert!((HEADS_MAX / HEADS_PER_FRAME_MAX..HEADS_MAX / HEADS_PER_FRAME_MAX + 8).contains(&kept), "{kept}");
}

#[test]
fn a_flood_of_announcements_is_passed_over() {
    let mut puppet = Puppet::public(R, world());
    for n in 0..2 * HEADS_MAX / HEADS_PER_FRAME_MAX {
        let part = heads(n * HEADS_PER_FRAME_MAX, HEADS_PER_FRAME_MAX);
        puppet.hear(list(Class::Content, Listing::Moved, true, part)).unwrap();
    }
    assert_eq!(puppet.talk.fetcher.waiting_count(), HEADS_MAX);
}

#[test]
fn chunks_of_which_nothing_can_be_kept_are_not_followed_downwards() {
    for kept in [true, false] {
        let (mut puppet, request) = newcomer();
        let chunk = Node::with(world()).chunk(world().room, tip(), 1990).unwrap().unwrap();
        let bottom = (chunk.prev, chunk.first_seq);
        // Its request is answered to the end of the first slice, and below it is more.
        let rest = Node::with(world()).chunk(world().room, Tip { seq: chunk.first_seq - 1, id: chunk.prev }, 1937);
        let bytes = [chunk.bytes, rest.unwrap().unwrap().bytes];
        let mut told = Vec::new();
        for (n, chunk) in bytes.into_iter().enumerate() {
            told.extend(puppet.hear(Frame::Events { request, last: n == 1, chunk }).unwrap());
        }
        let bottoms = [bottom, (world().logs[0][1935].id(), 1937)];
        for bottom in bottoms {
            told.extend(puppet.input(Input::Delivered { request, bytes: 4096, new: kept, kept, bottom }).unwrap());
        }
        assert_eq!(told.iter().any(|f| matches!(f, Frame::Want { .. })), kept, "{told:?}");
    }
    let (mut puppet, request) = newcomer();
    let bottom = (EventId([1; 32]), 7);
    let dealt = || Input::Delivered { request, bytes: 0, new: false, kept: false, bottom };
    let failure = (1..).find_map(|n| Some((n, puppet.input(dealt()).err()?)));
    assert_eq!(failure, Some((UNTRUE_MAX + 1, Failure::Budget("false events"))));
}

#[test]
fn one_control_log_of_many_says_once_that_it_is_the_same() {
    let mut link = Link::public([Node::with(world()), Node::new()], world());
    link.pump().assert_agreed(world().room);
    assert_eq!(link.ends.iter().map(|end| end.same_control).collect::<Vec<_>>(), [1, 1]);
    let more = &world().more_control(1)[0];
    link.say(I, more, super::link::Tell::Push);
    link.input(I, Input::Gap(world().room));
    link.pump().assert_agreed(world().room);
    assert_eq!(link.ends[I].same_control, 2, "who has said it knows that it is there");
}

#[test]
fn few_heads_wait_of_authors_that_nobody_knows() {
    let mut puppet = Puppet::public(R, world());
    puppet.node.knows_no_author = true;
    puppet.hear(list(Class::Content, Listing::Moved, true, heads(0, HEADS_PER_FRAME_MAX))).unwrap();
    assert_eq!(puppet.talk.fetcher.waiting_count(), UNKNOWN_HEADS_MAX - WANTS_MAX / 2);
    // Those that somebody may have said are not kept waiting by them.
    puppet.node.knows_no_author = false;
    puppet.hear(list(Class::Content, Listing::Moved, true, heads(HEADS_PER_FRAME_MAX, 100))).unwrap();
    assert_eq!(puppet.talk.fetcher.waiting_count(), UNKNOWN_HEADS_MAX - WANTS_MAX / 2 + 100);
}

#[test]
fn an_initiator_that_reconciles_for_ever_ends_it() {
    let mut puppet = Puppet::public(R, wide());
    let failure = (0..).find_map(|n| Some((n, puppet.hear(ask(n, 1)).err()?)));
    assert_eq!(failure, Some((RECONCILE_ROUNDS_MAX, Failure::Budget("rounds of reconciliation"))));
}

#[test]
fn symbols_that_may_not_be_asked_for_end_it() {
    let most = SYMBOLS_PER_FRAME_MAX as u16;
    // None; too many at once; beyond the last; not the next; a part that is none.
    let part = reconcile(&[&[0, 0, 0, 0, 0, 1][..], &[2, 0, 4]].concat());
    let bits = reconcile(&[&[0, 0, 0, 0, 0, 1][..], &[RECONCILE_SHARE_BITS_MAX + 1, 0, 0]].concat());
    for wrong in [ask(0, 0), ask(0, most + 1), ask(RECONCILE_SYMBOLS_MAX, 1), ask(u32::MAX, 1), ask(5, 1), part, bits] {
        let mut puppet = Puppet::public(R, wide());
        let failure = puppet.hear(wrong.clone());
        assert_eq!(failure, Err(Failure::Unexpected("a false message of reconciliation")), "{wrong:?}");
    }
    let mut puppet = Puppet::public(R, wide());
    puppet.hear(ask(0, 5)).unwrap();
    puppet.hear(ask(5, most)).unwrap();
    assert!(puppet.hear(ask(5, most)).is_err());
}

#[test]
fn a_responder_that_reconciles_for_ever_ends_it() {
    let (mut puppet, mut asked) = asking();
    let failure = loop {
        // In each as many as in none of ours, so that nothing comes out, and nothing is told at the end.
        match puppet.hear(symbols(&asked, 260, [7; 14]).unwrap()) {
            Ok(next) => asked = next,
            Err(failure) => break failure,
        }
    };
    assert_eq!(failure, Failure::Budget("rounds of reconciliation"));
}

#[test]
fn more_or_fewer_symbols_than_were_asked_for_end_it() {
    for len in [3, 4 + 14 * 79, 4 + 14 * 80 + 1, 4 + 14 * 81] {
        let failure = asking().0.hear(reconcile(&vec![0; len]));
        assert_eq!(failure, Err(Failure::Unexpected("a false message of reconciliation")), "{len}");
    }
}

#[test]
fn who_says_to_have_nothing_is_told_each_head_once() {
    let (mut puppet, mut told) = asking();
    while let Some(nothing) = symbols(&told, 0, [0; 14]) {
        told = puppet.hear(nothing).unwrap();
    }
    let count = told.iter().map(|f| if let Frame::Heads { heads, .. } = f { heads.len() } else { 0 }).sum::<usize>();
    assert_eq!(count, wide().logs.len());
}

#[test]
fn items_that_nobody_reconciles_end_it() {
    for side in [I, R] {
        let mut puppet = Puppet::public(side, wide());
        let lack = Frame::Lack { room: ROOM, class: Class::Content, items: vec![1; 5] };
        assert_eq!(puppet.hear(lack), Err(Failure::Unexpected("items that nobody reconciles")));
    }
}

#[test]
fn comparing_again_and_again_for_nothing_ends_it_but_slowly_is_fine() {
    let ask = list(Class::Content, Listing::Whole, true, Vec::new());
    let mut puppet = Puppet::public(R, wide());
    let failure = (0..1000).find_map(|_| puppet.hear(ask.clone()).err());
    assert_eq!(failure, Some(Failure::Budget("comparisons that bring nothing")));
    assert!(puppet.node.work.get() < 130 * 2 * wide().logs.len());
    let mut puppet = Puppet::public(R, wide());
    for n in 0..1000 {
        puppet.now_ms = NOW_MS + n * 1000;
        puppet.hear(ask.clone()).unwrap();
    }
}

#[test]
fn false_checks_cost_no_more_than_a_few_comparisons() {
    let mut puppet = Puppet::public(R, wide());
    let before = puppet.node.work.get();
    for _ in 0..1000 {
        puppet.hear(check(1)).unwrap();
        puppet.hear(check(2)).unwrap();
    }
    assert!(puppet.node.work.get() - before <= 2 * wide().logs.len());
}

#[test]
fn checks_that_always_say_something_new_are_not_followed_for_ever() {
    let mut puppet = Puppet::public(R, world());
    let mut begun = 0;
    for n in 0..200 {
        let told = puppet.hear(check(n)).unwrap();
        if let Some(Frame::Heads { class, .. }) = told.last() {
            begun += 1;
            puppet.hear(list(*class, Listing::Part, true, Vec::new())).unwrap();
        }
    }
    assert_eq!(begun, 32);
    puppet.now_ms += 60_000;
    assert!(matches!(puppet.hear(check(201)).unwrap().last(), Some(Frame::Heads { .. })), "a minute later it goes on");
}

#[test]
fn tags_beyond_the_limit_end_it_and_cost_a_look_each() {
    let mut puppet = Puppet::public(R, world());
    let tags: Vec<Tag> =
        (0..ROOMS_MAX as u64 - 1).map(|n| Tag([n.to_be_bytes(), [1; 8]].concat().try_into().unwrap())).collect();
    assert_eq!(puppet.hear(Frame::Rooms(tags)), Ok(Vec::new()));
    assert_eq!(puppet.hear(Frame::Rooms(vec![Tag([2; 16])])), Err(Failure::Budget("rooms")));
}

#[test]
fn a_head_at_the_end_of_numbers_is_only_not_found() {
    for seq in [0, 1, u64::MAX] {
        let mut puppet = Puppet::public(R, world());
        let mut head = heads(1, 1)[0];
        head.tip.seq = seq;
        let asked = puppet.hear(list(Class::Content, Listing::Moved, true, vec![head])).unwrap();
        let Some(Frame::Want { request, .. }) = asked.last() else { panic!("{asked:?}") };
        puppet.hear(Frame::Events { request: *request, last: true, chunk: Vec::new() }).unwrap();
        let top = Tip { seq, id: EventId([1; 32]) };
        for down_to in [0, u64::MAX] {
            let answer = puppet.hear(want(9, top, down_to)).unwrap();
            assert_eq!(answer, [Frame::Events { request: 9, last: true, chunk: Vec::new() }]);
        }
    }
}

#[test]
fn a_store_that_fails_ends_it_without_blaming_the_peer() {
    let mut link = Link::public([Node::with(world()), Node::new()], world());
    link.trip();
    link.ends[I].node.broken = true;
    link.pump();
    assert!(matches!(link.failures()[I], Some(Failure::Unavailable(_))));
}

#[test]
fn a_peer_that_owes_an_answer_is_known_to() {
    let talk = Conversation::new(settings(I), Vec::new());
    assert!(talk.is_waiting(), "for its hello");
    let mut puppet = Puppet::public(R, world());
    assert!(!puppet.talk.is_waiting());
    puppet.hear(check(1)).unwrap();
    assert!(puppet.talk.is_waiting(), "for its list");
    puppet.hear(list(Class::Control, Listing::Part, true, heads(0, 1))).unwrap();
    assert!(puppet.talk.is_waiting(), "for events");
}

#[test]
fn only_what_is_owed_counts_as_progress() {
    let mut puppet = Puppet::public(R, world());
    assert_eq!(puppet.talk.waiting_since_ms(), None);
    let mut at = |ms: u64, frame: Frame| {
        puppet.now_ms = NOW_MS + ms;
        puppet.hear(frame).unwrap();
        puppet.talk.waiting_since_ms().map(|since| since - NOW_MS)
    };
    let ask = list(Class::Content, Listing::Moved, true, heads(0, 40));
    assert_eq!(at(1, ask), Some(1));
    assert_eq!(at(2, Frame::Credit(0)), Some(1));
    assert_eq!(at(3, list(Class::Content, Listing::Moved, true, heads(50, 1))), Some(1));
    assert_eq!(at(4, Frame::Events { request: 1, last: true, chunk: Vec::new() }), Some(1), "nothing is no progress");
    assert_eq!(at(5, check(1)), Some(1));
}

#[test]
fn a_peer_that_tells_heads_and_has_none_of_their_events_is_left() {
    let mut puppet = Puppet::public(R, world());
    for n in 0..3 {
        let part = heads(n * HEADS_PER_FRAME_MAX, HEADS_PER_FRAME_MAX);
        puppet.hear(list(Class::Content, Listing::Moved, true, part)).unwrap();
    }
    let nothing = |request| Frame::Events { request, last: true, chunk: Vec::new() };
    let failure = (1..).find_map(|n| Some((n, puppet.hear(nothing(n)).err()?)));
    assert_eq!(failure, Some((UNTRUE_MAX + 1, Failure::Budget("heads of which it has no events"))));
}

#[test]
fn proofs_and_knocks_are_looked_at_only_so_often() {
    let world = World::new(53, RoomKind::Members, 2, 1, Signed::Each);
    for unknown in [ROOM, Handle(77)] {
        let mut node = Node::with(&world);
        node.current.insert(world.key(1).device());
        let offer = node.offer(&world, Some(credential(&world, R, &world.key(0))));
        let (mut puppet, _) = Puppet::greeted(R, node, vec![offer], &world);
        // Those for rooms that are not here count as well.
        for _ in 0..PROOFS_MAX {
            let Frame::Proof(proof) = proof(NO_CREDENTIAL) else { unreachable!() };
            let proof = Frame::Proof(crate::wire::Proof { room: unknown, ..proof });
            assert_eq!(puppet.hear(proof), Ok(vec![Frame::Refused(unknown)]));
        }
        let good = puppet.proof(credential(&world, I, &world.key(1)));
        assert_eq!(puppet.hear(good), Ok(vec![Frame::Refused(ROOM)]), "not even looked at");
        let long = crate::sync::Credential::issue(&world.key(1), world.room, &super::link::peer(I), NOW_MS + 100_000);
        let knock = puppet.knock(&world, long, Vec::new());
        for _ in 0..KNOCKS_MAX {
            puppet.hear(Frame::Knock { tag: Tag([9; 16]), sealed: vec![9; 300] }).unwrap();
        }
        assert_eq!(puppet.hear(knock.clone()), Ok(Vec::new()), "not even looked at");
        puppet.now_ms += 60_000;
        assert_eq!(puppet.hear(proof(long)).map(|f| f.len()), Ok(2));
        assert_eq!(puppet.hear(knock).map(|f| f.len()), Ok(1), "the tag is told again");
    }
}

#[test]
fn frames_of_rooms_that_nobody_has_are_refused() {
    let mut puppet = Puppet::public(R, world());
    let check =
        Frame::Check { room: Handle(9), control: [0; 16], content: [0; 16], agreement: [0; 16], beacons: [0; 8] };
    assert_eq!(puppet.hear(check), Ok(vec![Frame::Refused(Handle(9))]));
    assert_eq!(puppet.hear(Frame::Refused(Handle(9))), Ok(Vec::new()));
    assert_eq!(puppet.input(Input::Introduced(world().room)), Ok(Vec::new()));
    assert!(!puppet.others.iter().any(|o| matches!(o, Output::Refused(_))));
}

//! Beacons between two whole nodes: all of them once, then what changes, and nothing to whom it is none of their business.

use super::link::{I, Link, NOW_MS, R, credential};
use super::node::Node;
use super::puppet::{Puppet, ROOM};
use super::world::{Signed, World};
use crate::beacon::{Draft, Presence, Signal, SignedBeacon};
use crate::codec::encode;
use crate::control::payload::RoomKind;
use crate::event::Hlc;
use crate::id::{DeviceId, EventId, RoomId};
use crate::identity::{DeviceKey, Signature};
use crate::limits::{
    BEACON_KINDS_MAX, BEACONS_HEARD_MAX, BEACONS_TOLD_MAX, FRAME_LEN_MAX, SLOT_LISTS_HEARD_MAX, SLOT_LISTS_TOLD_MAX,
};
use crate::slots::Slots;
use crate::sync::keys::Keys;
use crate::sync::{Failure, Input, Output, Side};
use crate::wire::{BeaconName, Frame};

fn say(world: &World, author: usize, ms: u64, signal: Signal) -> crate::beacon::VerifiedBeacon {
    let hlc = Hlc::at_ms(NOW_MS + ms);
    Draft { room: world.room, hlc, signal }.sign(&world.key(author)).unwrap()
}

fn read(n: u8) -> Signal {
    Signal::Read { event: EventId([n; 32]), at: Hlc(5) }
}

fn holds() -> Signal {
    Signal::Holds { control: [1; 32], content: [2; 32], durable: true, erased: Hlc(0) }
}

fn two(world: &World) -> [Node; 2] {
    [Node::with(world), Node::with(world)]
}

/// A beacon that nobody signed, for what ends before its signature is looked at.
fn unsigned(n: usize) -> SignedBeacon {
    let device = DeviceKey::from_seed(&[(n / 200) as u8; 32]).device();
    SignedBeacon {
        device,
        kind: (n % 200) as u16 + 100,
        hlc: Hlc(1),
        payload: Vec::new(),
        signature: Signature([0; 64]),
    }
}

#[test]
fn whoever_agrees_learns_what_the_other_keeps_and_no_more_is_said_of_it() {
    for kind in [RoomKind::Public, RoomKind::Members] {
        let world = World::new(120, kind, 3, 5, Signed::Each);
        let mut nodes = two(&world);
        // One both have; one that is newer at R; one that only I has.
        for (side, beacon) in [(I, say(&world, 0, 1, holds())), (R, say(&world, 0, 1, holds()))] {
            nodes[side].slots.take(beacon);
        }
        nodes[I].slots.take(say(&world, 1, 1, read(1)));
        nodes[R].slots.take(say(&world, 1, 2, read(2)));
        nodes[I].slots.take(say(&world, 2, 1, read(3)));
        let mut link =
            if kind == RoomKind::Public { Link::public(nodes, &world) } else { Link::members(nodes, &world) };
        link.pump().assert_agreed(world.room);
        let [at_i, at_r] = [I, R].map(|side| link.ends[side].node.slots.kept());
        assert_eq!((at_i.len(), &at_i), (3, &at_r));
        assert_eq!([I, R].map(|side| link.ends[side].news.len()), [1, 1]);
        let told = |side: usize| link.ends[side].heard.iter().filter(|bytes| bytes[0] == 13).count();
        assert_eq!([I, R].map(told), [1, 1], "what is older does not travel");
        let longest = [I, R].map(|side| link.ends[side].heard.iter().filter(|b| b[0] == 13).map(Vec::len).max());
        assert!(longest.iter().all(|len| len.unwrap() < 7 + 2 * 150), "{longest:?}: one beacon each");
        let before = link.bytes().0;
        link.input(I, Input::Recheck(world.room));
        link.pump();
        assert_eq!(link.bytes().0 - before, CHECK_LEN, "equal: a Check, and no answer");
    }
}

#[test]
fn what_changes_is_told_at_once_and_only_after_an_agreement() {
    let world = World::new(121, RoomKind::Public, 2, 5, Signed::Each);
    let mut link = Link::public(two(&world), &world);
    let beacon = say(&world, 0, 1, Signal::Presence(Presence::Online));
    let tell = |beacon: &SignedBeacon| Input::Beacons { room: world.room, beacons: vec![beacon.clone()] };
    link.input(I, tell(beacon.signed()));
    assert_eq!(link.ends[I].talk.beacons_left(world.room, NOW_MS), None);
    link.pump().assert_agreed(world.room);
    assert!(link.ends[R].news.is_empty(), "nothing before");
    link.input(I, tell(beacon.signed()));
    link.pump();
    assert_eq!(link.ends[R].news, [beacon.signed().clone()]);
    assert_eq!(link.ends[I].talk.beacons_left(world.room, NOW_MS), Some(BEACONS_TOLD_MAX as usize - 1));
}

#[test]
fn a_beacon_that_got_lost_is_found_by_the_next_check() {
    let world = World::new(122, RoomKind::Public, 2, 5, Signed::Each);
    for side in [I, R] {
        let mut link = Link::public(two(&world), &world);
        link.pump().assert_agreed(world.room);
        link.ends[side].node.slots.take(say(&world, 0, 1, holds()));
        for checks in [I, R] {
            link.input(checks, Input::Recheck(world.room));
            link.pump();
        }
        assert_eq!(link.ends[1 - side].news.len(), 1, "{side}");
    }
}

#[test]
fn many_slots_fill_frames_and_are_all_told() {
    let world = World::new(123, RoomKind::Public, 1, 1, Signed::Each);
    let mut nodes = two(&world);
    let long = Signal::Addresses(vec!["a".repeat(250); 3]);
    for n in 0..450u16 {
        let key = DeviceKey::from_seed(&[[(n >> 8) as u8, n as u8].as_slice(), &[7; 30]].concat().try_into().unwrap());
        let draft = Draft { room: world.room, hlc: Hlc::at_ms(NOW_MS), signal: long.clone() };
        nodes[R].slots.take(draft.sign(&key).unwrap());
    }
    let mut link = Link::public(nodes, &world);
    link.pump().assert_agreed(world.room);
    assert_eq!(link.ends[I].news.len(), 450);
    let frames = link.ends[I].heard.iter().filter(|bytes| bytes[0] == 13).map(Vec::len).collect::<Vec<_>>();
    assert!(frames.len() == 3 && frames.iter().all(|len| *len < FRAME_LEN_MAX), "{frames:?}");
}

#[test]
fn strangers_and_those_who_were_removed_are_told_nothing() {
    let world = World::new(124, RoomKind::Members, 2, 5, Signed::Each);
    let mut nodes = two(&world);
    nodes[I].slots.take(say(&world, 0, 1, holds()));
    // A stranger: no proof holds.
    let offers = [I, R].map(|side| vec![nodes[side].offer(&world, None)]);
    let mut link = Link::new(nodes.clone(), offers);
    link.pump();
    link.input(I, Input::Beacons { room: world.room, beacons: vec![say(&world, 0, 1, holds()).signed().clone()] });
    link.pump();
    assert!(link.ends[R].news.is_empty());
    // A member until now.
    let mut link = Link::members(nodes, &world);
    link.pump().assert_agreed(world.room);
    link.ends[I].node.current.remove(&world.key(R).device());
    let news = say(&world, 0, 9, holds());
    link.ends[I].node.slots.take(news.clone());
    let heard = link.ends[R].news.len();
    link.input(I, Input::Beacons { room: world.room, beacons: vec![news.signed().clone()] });
    link.pump();
    assert_eq!((link.ends[R].news.len(), link.ends[R].refused.len()), (heard, 0));
    let offer = link.ends[I].node.offer(&world, Some(credential(&world, I, &world.key(I))));
    link.input(I, Input::Offer(offer));
    link.pump();
    assert_eq!((link.ends[R].news.len(), link.ends[R].refused.is_empty()), (heard, false));
}

#[test]
fn of_a_room_that_is_not_open_beacons_are_refused_like_all_else() {
    let world = World::new(125, RoomKind::Members, 2, 5, Signed::Each);
    let node = Node::with(&world);
    let offer = node.offer(&world, None);
    let (mut puppet, _) = Puppet::greeted(R, node, vec![offer], &world);
    for frame in [
        Frame::Beacons { room: ROOM, beacons: vec![unsigned(1)] },
        Frame::Slots { room: ROOM, names: Vec::new() },
        Frame::Beacons { room: crate::wire::Handle(7), beacons: Vec::new() },
    ] {
        assert!(matches!(puppet.hear(frame).unwrap()[..], [Frame::Refused(_)]));
    }
    assert!(!puppet.others.iter().any(|output| matches!(output, Output::Beacons { .. })));
}

#[test]
fn a_flood_is_passed_over_and_at_last_a_fault() {
    let world = World::new(126, RoomKind::Public, 2, 5, Signed::Each);
    let mut puppet = Puppet::public(R, &world);
    let flood = || Frame::Beacons { room: ROOM, beacons: (0..200).map(unsigned).collect() };
    let mut frames = 0;
    let failure = loop {
        frames += 1;
        if let Err(failure) = puppet.hear(flood()) {
            break failure;
        }
    };
    assert_eq!((failure, frames), (Failure::Budget("beacons"), 4 * BEACONS_HEARD_MAX / 200 + 1));
    let taken = puppet.others.iter().map(|output| match output {
        Output::Beacons { beacons, .. } => beacons.len(),
        _ => 0,
    });
    assert_eq!(taken.sum::<usize>(), BEACONS_HEARD_MAX as usize);
}

#[test]
fn asking_again_and_again_gets_few_answers_and_at_last_a_fault() {
    let world = World::new(127, RoomKind::Public, 2, 5, Signed::Each);
    let mut node = Node::with(&world);
    for author in 0..2 {
        node.slots.take(say(&world, author, 1, holds()));
    }
    let offer = node.offer(&world, None);
    let (mut puppet, _) = Puppet::greeted(R, node, vec![offer], &world);
    let (mut asked, mut beacons, mut lists) = (0, 0, 0);
    let failure = loop {
        asked += 1;
        match puppet.hear(Frame::Slots { room: ROOM, names: vec![BeaconName { slot: [9; 4], ms: 9, tie: [9; 2] }] }) {
            Ok(frames) => frames.iter().for_each(|frame| match frame {
                Frame::Beacons { .. } => beacons += 1,
                Frame::Slots { .. } => lists += 1,
                other => panic!("{other:?}"),
            }),
            Err(failure) => break failure,
        }
    };
    assert_eq!((failure, asked), (Failure::Budget("lists of slots"), 4 * SLOT_LISTS_HEARD_MAX + 1));
    assert_eq!((beacons, lists), (SLOT_LISTS_HEARD_MAX, 1), "our own list goes out once a Check");
    assert!(lists <= SLOT_LISTS_TOLD_MAX && BEACON_KINDS_MAX > 0);
    puppet.now_ms += 60_000;
}

#[test]
fn known_values_are_those_of_the_protocols_description() {
    let keys = Keys { initiator: [1; 16], responder: [2; 16] };
    let (room, secret, nothing) = (RoomId([5; 32]), [6; 32], Slots::default().fingerprint());
    let beacon = SignedBeacon {
        device: DeviceId([7; 32]),
        kind: 5,
        hlc: Hlc::at_ms(NOW_MS),
        payload: Vec::new(),
        signature: Signature([8; 64]),
    };
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(
        [
            hex(&nothing),
            hex(&keys.beacons(Side::Initiator, room, &secret, &nothing)),
            hex(&beacon.hash()),
            hex(&encode(&keys.beacon_name(&beacon))),
        ],
        [
            "411bb61e126b6d8764c9fdd011a65678f4c3dd72b27730b60162b96d863521ea",
            "f7339810995effc1",
            "b293b349708397ba251ce876203446d322dddc6aff7526f58097f8f896644000",
            "f51e37300000018bcfe56800d578",
        ]
    );
}

/// A Check on the stream: length, type, handle, two digests, agreement, beacons.
const CHECK_LEN: usize = 4 + 1 + 2 + 16 + 16 + 16 + 8;

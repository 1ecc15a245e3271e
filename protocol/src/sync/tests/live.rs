//! While a conversation lasts: what is said meanwhile, leases, rooms that come and go.

use super::link::{I, Link, NOW_MS, R, Tell, credential};
use super::node::Node;
use super::puppet::{Puppet, ROOM};
use super::world::{Signed, World};
use crate::control::payload::RoomKind;
use crate::event::Class;
use crate::limits::CREDENTIAL_MS_MAX;
use crate::log::Tip;
use crate::sync::{Input, Offer, Output};
use crate::wire::{Frame, Listing};

/// One trip at a time until a side has some content, and lacks more.
fn until_under_way(link: &mut Link, world: &World, newcomer: usize) {
    let count = |link: &Link| link.ends[newcomer].node.ids(world.room).len();
    let control = world.control.len();
    while count(link) <= control {
        link.trip();
    }
    assert!(count(link) < control + world.logs.iter().map(Vec::len).sum::<usize>());
}

fn long(number: u8, kind: RoomKind) -> World {
    World::new(number, kind, 2, 6000, Signed::Run)
}

#[test]
fn what_is_said_while_a_fetch_is_under_way_arrives() {
    let world = long(100, RoomKind::Public);
    for (newcomer, tell) in [(I, Tell::Push), (R, Tell::Push), (I, Tell::Moved), (R, Tell::Moved), (I, Tell::Nothing)] {
        let mut nodes = [Node::with(&world), Node::with(&world)];
        nodes[newcomer] = Node::new();
        let mut link = Link::public(nodes, &world);
        until_under_way(&mut link, &world, newcomer);
        link.say(1 - newcomer, &world.more(0, 1)[0], tell);
        link.pump().assert_agreed(world.room);
        assert_eq!(link.ends[newcomer].node.ids(world.room).len(), 3 + 12_001);
    }
}

#[test]
fn between_equal_nodes_a_push_is_one_frame_and_an_announcement_a_short_fetch() {
    let world = World::new(101, RoomKind::Public, 2, 5, Signed::Each);
    for (tell, frames) in [(Tell::Push, 1), (Tell::Moved, 4)] {
        let mut link = Link::public([Node::with(&world), Node::with(&world)], &world);
        link.pump().assert_agreed(world.room);
        let before = link.ends[I].sent.frames + link.ends[R].sent.frames;
        link.say(I, &world.more(0, 1)[0], tell);
        link.pump().assert_equal(world.room);
        assert_eq!(link.ends[I].sent.frames + link.ends[R].sent.frames - before, frames, "{tell:?}");
    }
}

#[test]
fn a_check_that_comes_while_something_is_fetched_is_answered_afterwards() {
    let world = World::new(102, RoomKind::Public, 2, 5, Signed::Each);
    let mut puppet = Puppet::public(R, &world);
    let head = Node::with(&world).heads_of(world.room, &world.log(0))[0];
    let head = crate::wire::Head { tip: Tip { seq: 6, id: world.more(0, 1)[0].id() }, ..head };
    let asked = puppet
        .hear(Frame::Heads {
            room: ROOM,
            class: Class::Content,
            listing: Listing::Moved,
            last: true,
            heads: vec![head],
        })
        .unwrap();
    assert!(matches!(asked[..], [Frame::Want { request: 1, .. }]));
    assert!(puppet.hear(super::puppet::check(1)).unwrap().is_empty());
    let answer = puppet.hear(Frame::Events { request: 1, last: true, chunk: Vec::new() }).unwrap();
    assert!(matches!(answer[..], [Frame::Heads { class: Class::Control, .. }]), "{answer:?}");
}

#[test]
fn a_leased_room_waits_and_goes_on_when_the_lease_is_free() {
    let world = long(103, RoomKind::Public);
    for newcomer in [I, R] {
        let mut nodes = [Node::with(&world), Node::with(&world)];
        nodes[newcomer] = Node::new();
        nodes[newcomer].leased.insert(world.room);
        let mut link = Link::public(nodes, &world);
        link.pump();
        assert_eq!(link.ends[newcomer].node.ids(world.room).len(), 3, "control is for everybody");
        assert!(!link.ends[newcomer].talk.is_waiting(), "the peer owes nothing");
        link.ends[newcomer].node.leased.clear();
        link.input(newcomer, Input::Resume(world.room));
        link.pump().assert_agreed(world.room);
    }
}

#[test]
fn what_another_conversation_brought_is_not_asked_for_again() {
    let world = long(104, RoomKind::Public);
    let mut nodes = [Node::new(), Node::with(&world)];
    nodes[I].leased.insert(world.room);
    let mut link = Link::public(nodes, &world);
    link.pump();
    link.ends[I].node.take(&world.logs[0]);
    // Of the second log, only the newest page came.
    link.ends[I].node.take(&world.logs[1][5000..]);
    link.ends[I].node.leased.clear();
    link.input(I, Input::Resume(world.room));
    link.pump().assert_agreed(world.room);
    let fetched: usize = link.ends[I].ranges.iter().filter(|r| r.0.class == Class::Content).map(|r| r.2).sum();
    assert_eq!(fetched, 5000);
}

#[test]
fn a_lease_is_given_back_whenever_nothing_is_left_to_fetch() {
    let world = World::new(105, RoomKind::Public, 2, 5, Signed::Each);
    let mut link = Link::public([Node::new(), Node::with(&world)], &world);
    link.pump().assert_agreed(world.room);
    assert_eq!(link.ends[I].rested, [world.room, world.room], "after control, and after content");
    assert_eq!(link.ends[R].rested, []);
    link.say(R, &world.more(0, 1)[0], Tell::Moved);
    link.pump();
    assert_eq!(link.ends[I].rested.len(), 3);
}

#[test]
fn a_withdrawn_room_is_over_for_both_and_others_go_on() {
    let (gone, stays) = (long(106, RoomKind::Public), long(107, RoomKind::Public));
    for (newcomer, withdraws) in [(I, I), (I, R), (R, I), (R, R)] {
        let mut nodes = [Node::with(&gone), Node::with(&gone)];
        for node in &mut nodes {
            node.take(&stays.control);
            node.take(&stays.logs[0]);
        }
        nodes[newcomer] = Node::new();
        let offers = [I, R].map(|side| vec![nodes[side].offer(&gone, None), nodes[side].offer(&stays, None)]);
        let mut link = Link::new(nodes, offers);
        until_under_way(&mut link, &gone, newcomer);
        link.input(withdraws, Input::Withdraw(gone.room));
        let had = link.ends[newcomer].node.ids(gone.room).len();
        link.say(1 - withdraws, &gone.more(0, 1)[0], Tell::Push);
        link.pump().assert_agreed(stays.room);
        assert!(link.ends[newcomer].node.ids(gone.room).len() <= had + 2 * 1024, "it ended soon");
        let refused = &link.ends[1 - withdraws].refused;
        assert!(!refused.is_empty() && refused.iter().all(|room| *room == gone.room));
        for side in [I, R] {
            assert_eq!(link.ends[side].talk.shared().collect::<Vec<_>>(), [stays.room]);
            assert_eq!(link.ends[side].agreed.get(&gone.room), None);
            assert!(
                link.ends[side].node.ids(gone.room).is_empty()
                    || side == 1 - newcomer
                    || link.ends[side].rested.contains(&gone.room)
            );
        }
    }
}

#[test]
fn a_room_that_is_offered_again_goes_on() {
    for kind in [RoomKind::Public, RoomKind::Members] {
        let world = long(108, kind);
        for (newcomer, withdraws) in [(I, I), (I, R), (R, I), (R, R)] {
            let mut nodes = [Node::with(&world), Node::with(&world)];
            nodes[newcomer] = Node::new();
            let mut link =
                if kind == RoomKind::Public { Link::public(nodes, &world) } else { Link::members(nodes, &world) };
            until_under_way(&mut link, &world, newcomer);
            link.input(withdraws, Input::Withdraw(world.room));
            link.pump();
            let offer =
                link.ends[withdraws].node.offer(&world, Some(credential(&world, withdraws, &world.key(withdraws))));
            link.input(withdraws, Input::Offer(offer));
            link.pump().assert_agreed(world.room);
        }
    }
}

#[test]
fn a_room_that_is_offered_later_is_found_by_both() {
    for kind in [RoomKind::Public, RoomKind::Members] {
        let (early, late) =
            (World::new(109, RoomKind::Public, 1, 1, Signed::Each), World::new(110, kind, 2, 5, Signed::Each));
        for order in [[I, R], [R, I]] {
            let mut nodes = [Node::with(&late), Node::new()];
            nodes.iter_mut().for_each(|n| n.current.extend([I, R].map(|side| late.key(side).device())));
            let offers = [I, R].map(|side| vec![nodes[side].offer(&early, None)]);
            let mut link = Link::new(nodes, offers);
            // A room that went before the hello leaves no place in the list of tags.
            link.input(
                R,
                Input::Offer(Node::new().offer(&World::new(111, RoomKind::Public, 0, 0, Signed::Each), None)),
            );
            for side in order {
                let offer = link.ends[side].node.offer(&late, Some(credential(&late, side, &late.key(side))));
                link.input(side, Input::Offer(offer));
                link.trip();
            }
            link.pump().assert_agreed(late.room);
        }
    }
}

#[test]
fn a_room_withdrawn_before_the_hello_leaves_no_gap_among_the_tags() {
    let worlds = [112, 113, 114].map(|n| World::new(n, RoomKind::Public, 1, 2, Signed::Each));
    let mut nodes = [Node::with(&worlds[2]), Node::new()];
    nodes[R].take(&worlds[1].control);
    let offers = [I, R].map(|side| worlds.iter().map(|w| nodes[side].offer(w, None)).collect());
    let mut link = Link::new(nodes, offers);
    link.input(I, Input::Withdraw(worlds[0].room));
    link.pump();
    link.assert_agreed(worlds[1].room);
    link.assert_agreed(worlds[2].room);
}

/// Two members of a room, one of whom does not know the other's device yet.
fn unknown_to(ignorant: usize, world: &World) -> Link {
    let mut nodes = [Node::with(world), Node::with(world)];
    nodes.iter_mut().for_each(|n| n.current.extend([I, R].map(|side| world.key(side).device())));
    nodes[ignorant].current.remove(&world.key(1 - ignorant).device());
    let mut link = Link::new(nodes, [I, R].map(|side| vec![member_offer(world, side)]));
    link.pump();
    assert!(!link.ends[1 - ignorant].refused.is_empty());
    assert_eq!(link.ends[I].talk.shared().count() + link.ends[R].talk.shared().count(), 0);
    link
}

fn member_offer(world: &World, side: usize) -> Offer {
    Node::with(world).offer(world, Some(credential(world, side, &world.key(side))))
}

#[test]
fn a_peer_whose_device_was_unknown_is_let_in_once_it_is_known() {
    let world = World::new(115, RoomKind::Members, 2, 5, Signed::Each);
    for ignorant in [I, R] {
        let mut link = unknown_to(ignorant, &world);
        link.input(ignorant, Input::Offer(member_offer(&world, ignorant)));
        link.pump();
        assert!(link.ends[I].agreed.is_empty(), "nothing more is known yet");
        link.ends[ignorant].node.current.insert(world.key(1 - ignorant).device());
        link.input(ignorant, Input::Offer(member_offer(&world, ignorant)));
        link.pump().assert_agreed(world.room);
    }
}

#[test]
fn a_recheck_shows_the_initiators_proof_again() {
    let world = World::new(118, RoomKind::Members, 2, 5, Signed::Each);
    for ignorant in [I, R] {
        let mut link = unknown_to(ignorant, &world);
        link.ends[ignorant].node.current.insert(world.key(1 - ignorant).device());
        link.input(I, Input::Recheck(world.room));
        link.pump().assert_agreed(world.room);
    }
}

#[test]
fn a_stranger_is_not_told_that_the_room_has_changed() {
    let world = World::new(119, RoomKind::Members, 2, 1, Signed::Each);
    let (mut puppet, _) = Puppet::greeted(R, Node::with(&world), vec![member_offer(&world, R)], &world);
    puppet.hear(puppet.proof(credential(&world, I, &world.key(1)))).unwrap();
    assert_eq!(puppet.input(Input::Offer(member_offer(&world, R))), Ok(Vec::new()));
    puppet.node.current.insert(world.key(1).device());
    assert_eq!(
        puppet.input(Input::Offer(member_offer(&world, R))),
        Ok(vec![Frame::Rooms(vec![puppet.responder_tag(&world)])])
    );
}

#[test]
fn a_credential_counts_for_as_long_as_it_says() {
    let world = World::new(116, RoomKind::Members, 2, 1, Signed::Each);
    for (late_ms, lets_in) in [(0, true), (999, true), (1000, false), (CREDENTIAL_MS_MAX, false)] {
        let mut node = Node::with(&world);
        node.current.insert(world.key(1).device());
        let offer = node.offer(&world, Some(credential(&world, R, &world.key(0))));
        let (mut puppet, _) = Puppet::greeted(R, node, vec![offer], &world);
        puppet.now_ms = NOW_MS + late_ms;
        puppet.hear(puppet.proof(credential(&world, I, &world.key(1)))).unwrap();
        assert_eq!(puppet.others.iter().any(|o| matches!(o, Output::Shared(_))), lets_in, "{late_ms}");
    }
}

#[test]
fn rechecks_while_much_is_under_way_do_no_harm() {
    let world = long(117, RoomKind::Public);
    for newcomer in [I, R] {
        let mut nodes = [Node::with(&world), Node::with(&world)];
        nodes[newcomer] = Node::new();
        let mut link = Link::public(nodes, &world);
        for _ in 0..200 {
            link.trip();
            [I, R].iter().for_each(|side| link.input(*side, Input::Recheck(world.room)));
        }
        link.pump().assert_agreed(world.room);
    }
}

//! Every branch of a forked log arrives, and holes are filled from whoever can.

use super::link::{I, Link, R};
use super::node::Node;
use super::world::{Event, Signed, World};
use crate::control::payload::RoomKind;
use crate::event::Class;
use crate::sync::keys::agreement_token;
use crate::sync::{Agreed, Holdings, Input};
use crate::wire::Frame;

/// A log of 200, and a branch of `len` that leaves it above `at`.
fn forked(number: u8, at: usize, len: usize) -> (World, Vec<Event>) {
    let world = World::new(number, RoomKind::Public, 2, 200, Signed::Each);
    let branch = world.branch(0, at as u64 + 1, world.logs[0][at - 1].id(), len, Signed::Each, 7);
    (world, branch)
}

#[test]
fn both_branches_of_a_fork_arrive() {
    // Short and long branches, forking below what numbers let one expect: 150 below the other side's tip.
    for (number, at, len) in [(70, 190, 5), (71, 190, 300), (72, 5, 2), (73, 5, 190), (74, 50, 150)] {
        let (world, branch) = forked(number, at, len);
        let mut with_branch = Node::with(&world).only(|e| e.log() != world.log(0) || e.header().seq <= at as u64);
        with_branch.take(&branch);
        for swap in [false, true] {
            let mut nodes = [Node::with(&world), with_branch.clone()];
            if swap {
                nodes.swap(I, R);
            }
            let mut link = Link::public(nodes, &world);
            link.pump().assert_agreed(world.room);
            assert_eq!(link.ends[I].node.ids(world.room).len(), 3 + 400 + len);
            assert!(link.ends[R].node.state(world.room, &world.log(0)).unwrap().is_forked());
        }
    }
}

#[test]
fn a_newcomer_gets_all_branches() {
    let (world, branch) = forked(75, 100, 100);
    let mut whole = Node::with(&world);
    whole.take(&branch);
    let mut link = Link::public([Node::new(), whole], &world);
    link.pump().assert_agreed(world.room);
    assert_eq!(link.ends[I].node.ids(world.room).len(), 3 + 400 + 100);
}

/// A node that lacks the middle of log 0.
fn holey(world: &World, lacks: std::ops::RangeInclusive<u64>) -> Node {
    Node::with(world).only(|e| e.log() != world.log(0) || !lacks.contains(&e.header().seq))
}

#[test]
fn holes_are_filled_whether_or_not_the_heads_are_equal() {
    let world = World::new(76, RoomKind::Public, 2, 200, Signed::Each);
    let lacks =
        [(50..=60, 0..=0, false), (0..=0, 1..=199, true), (2..=100, 150..=160, false), (1..=100, 1..=150, true)];
    for (i, r, equal) in lacks {
        let mut link = Link::public([holey(&world, i), holey(&world, r.clone())], &world);
        let [ours, theirs] = [I, R].map(|side| link.ends[side].node.digests(world.room).unwrap().content);
        assert_eq!(ours == theirs, equal);
        link.pump();
        if r.contains(&1) && r.contains(&100) && r != (1..=199) {
            // What nobody has stays a hole.
            let left = [I, R].map(|side| link.ends[side].node.state(world.room, &world.log(0)).unwrap().holes().len());
            assert_eq!((link.failures(), left), ([None, None], [1, 1]));
        }
        link.assert_agreed(world.room);
    }
}

#[test]
fn a_hole_that_nobody_here_could_fill_is_asked_for_again_by_a_recheck() {
    let world = World::new(77, RoomKind::Public, 1, 50, Signed::Each);
    let mut link = Link::public([holey(&world, 10..=20), holey(&world, 10..=20)], &world);
    link.pump().assert_agreed(world.room);
    link.ends[R].node.take(&world.logs[0][9..20]);
    link.input(I, Input::Recheck(world.room));
    link.pump().assert_agreed(world.room);
    assert_eq!(link.ends[I].node.ids(world.room).len(), 2 + 50);
}

/// Found by the simulation (world 4): two conversations of a node that took turns with its lease each took the other's end, and
/// their own, for a reason to ask again, as fast as the network went.
#[test]
fn what_a_peer_does_not_have_it_is_asked_for_once_until_a_recheck() {
    let world = World::new(85, RoomKind::Public, 1, 50, Signed::Each);
    let mut link = Link::public([holey(&world, 10..=20), holey(&world, 10..=20)], &world);
    let wants = |link: &Link| link.ends[R].heard.iter().filter(|frame| is_want(frame)).count();
    for recheck in 1..=3 {
        for _ in 0..50 {
            // As a node that frees the lease of a room, and tells all its conversations.
            let rested = link.ends[I].rested.len();
            link.trip();
            if link.ends[I].rested.len() > rested {
                link.input(I, Input::Resume(world.room));
            }
            // While it asks, another conversation ends.
            link.input(I, Input::Resume(world.room));
        }
        assert_eq!(wants(&link), recheck);
        link.input(I, Input::Recheck(world.room));
    }
    link.pump().assert_agreed(world.room);
}

fn is_want(frame: &[u8]) -> bool {
    matches!(Frame::from_bytes(frame), Ok(Frame::Want { .. }))
}

#[test]
fn a_hole_that_hides_a_branch_is_filled_although_digests_never_get_equal_before() {
    let (world, branch) = forked(78, 5, 3);
    for side in [I, R] {
        let mut whole = Node::with(&world);
        whole.take(&branch);
        let gap = whole.only(|e| e.log() != world.log(0) || !(50..=60).contains(&e.header().seq));
        let mut nodes = [whole.clone(), whole];
        nodes[side] = gap;
        assert_ne!(nodes[I].digests(world.room).unwrap().content, nodes[R].digests(world.room).unwrap().content);
        let mut link = Link::public(nodes, &world);
        link.pump().assert_agreed(world.room);
    }
}

#[test]
fn a_branch_that_a_hole_may_hide_is_told_at_once() {
    let (world, branch) = forked(82, 5, 3);
    for side in [I, R] {
        let mut nodes = [Node::with(&world), Node::with(&world)];
        nodes[side] = holey(&world, 50..=60);
        nodes[side].take(&branch);
        let mut link = Link::public(nodes, &world);
        link.pump().assert_agreed(world.room);
        assert_eq!(link.ends[1 - side].node.ids(world.room).len(), 3 + 400 + 3);
    }
}

#[test]
fn a_peer_that_has_only_a_suffix_gives_what_it_has() {
    let world = World::new(79, RoomKind::Public, 1, 500, Signed::Each);
    let mut link = Link::public([Node::new(), holey(&world, 1..=300)], &world);
    link.pump().assert_agreed(world.room);
    let state = link.ends[I].node.state(world.room, &world.log(0)).unwrap();
    assert_eq!((state.held(), state.holes().len()), (200, 1));
}

/// Found by the simulation (world 4): what lies below an event that nobody has any more, or that its author made up, is history.
#[test]
fn what_lies_below_a_hole_that_nobody_can_fill_arrives() {
    let world = World::new(83, RoomKind::Public, 1, 600, Signed::Each);
    let mut link = Link::public([Node::new(), holey(&world, 300..=310)], &world);
    link.pump().assert_agreed(world.room);
    assert_eq!(link.ends[I].node.ids(world.room).len(), 2 + 600 - 11);
}

/// Its highest event is not signed by itself, and what vouched for it is gone: others get what lies below the next that is.
#[test]
fn below_a_hole_others_get_what_a_signature_vouches_for() {
    let world = World::new(84, RoomKind::Public, 1, 600, Signed::Run);
    let signed =
        world.logs[0].iter().filter(|e| e.signature().is_some() && e.header().seq < 300).map(|e| e.header().seq);
    let highest = usize::try_from(signed.max().unwrap()).unwrap();
    let mut link = Link::public([Node::new(), holey(&world, 300..=310)], &world);
    link.pump();
    assert_eq!(link.failures(), [None, None]);
    assert_eq!(link.ends[I].node.ids(world.room).len(), 2 + highest + (600 - 310));
    let [ours, theirs] = [I, R].map(|side| link.ends[side].node.digests(world.room).unwrap().content);
    assert_eq!(ours, theirs);
}

#[test]
fn an_agreement_that_the_peer_does_not_remember_is_no_agreement() {
    let world = World::new(80, RoomKind::Public, 260, 1, Signed::Each);
    for side in [I, R] {
        let mut nodes = [Node::with(&world), Node::with(&world)];
        let digests = nodes[side].digests(world.room).unwrap();
        let agreed = Agreed { token: agreement_token(&digests), change: digests.change };
        nodes[side].agreements.insert(world.room, agreed);
        // The peer has lost everything since.
        nodes[1 - side] = Node::with(&world).only(|e| e.header().class == Class::Control);
        nodes[1 - side].take(&world.logs[0]);
        let mut link = Link::public(nodes, &world);
        link.pump().assert_agreed(world.room);
    }
}

/// All ways in which each side may tell its list: by what moved, whole, or by reconciling.
#[test]
fn every_way_of_telling_meets_every_other() {
    let world = World::new(81, RoomKind::Public, 270, 1, Signed::Each);
    let part = |count: usize| {
        let mut node = Node::new();
        node.take(&world.control);
        for log in world.logs.iter().rev().take(count) {
            node.take(log);
        }
        node
    };
    for (i, r) in [(10, 20), (10, 265), (265, 10), (265, 260)] {
        for remembers in [[true, false], [false, true], [true, true], [false, false]] {
            let mut nodes = [part(i), part(r)];
            // An agreement from when both held nothing of content. It is told in the first check; when the list is
            // begun, one side may know it no more.
            let mut then = part(0).digests(world.room).unwrap();
            then.change = 1;
            for side in [I, R] {
                nodes[side].take(&world.logs[side]);
                let agreed = Agreed { token: agreement_token(&then), change: then.change };
                nodes[side].agreements.insert(world.room, agreed);
                nodes[side].remembers.set(if remembers[side] { usize::MAX } else { 1 });
            }
            let mut link = Link::public(nodes, &world);
            link.pump().assert_agreed(world.room);
        }
    }
}

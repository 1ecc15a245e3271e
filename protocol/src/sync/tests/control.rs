//! Control before content: no content comes before the control events that say whose it is.

use super::link::{I, Link, R};
use super::node::Node;
use super::puppet::{Puppet, ROOM, heads};
use super::world::{Signed, World};
use crate::control::payload::RoomKind;
use crate::event::Class;
use crate::sync::Input;
use crate::wire::{Frame, Listing};

#[test]
fn content_comes_after_the_control_events_that_it_needs() {
    // More control events than fit a chunk, at one side; the other has content that the first lacks, and fewer grants.
    let world = World::new(60, RoomKind::Public, 60, 1, Signed::Each);
    let knows = |grants: usize| {
        let mut node = Node::new();
        node.chunk_events_max = Some(10);
        node.take(&world.control[..=grants]);
        for log in &world.logs[..grants] {
            node.take(log);
        }
        node
    };
    for (i, r) in [(60, 10), (10, 60), (60, 0)] {
        let mut link = Link::public([knows(i), knows(r)], &world);
        link.pump().assert_agreed(world.room);
        assert_eq!(link.ends.each_ref().map(|end| end.node.came_early), [0, 0]);
    }
}

#[test]
fn content_is_not_asked_for_while_control_is_compared_or_fetched() {
    let world = World::new(61, RoomKind::Public, 2, 2, Signed::Each);
    let mut puppet = Puppet::public(R, &world);
    let list = |class, listing, last, n| Frame::Heads { room: ROOM, class, listing, last, heads: heads(n, 1) };
    let wants = |frames: Vec<Frame>| {
        frames
            .into_iter()
            .filter_map(|f| if let Frame::Want { request, .. } = f { Some(request) } else { None })
            .collect::<Vec<_>>()
    };
    // Content was announced, and nothing else is under way.
    assert_eq!(wants(puppet.hear(list(Class::Content, Listing::Moved, true, 1)).unwrap()), [1]);
    // A list of control has begun, and content is listed before it ends; it has ended, and its events have not come.
    assert_eq!(wants(puppet.hear(list(Class::Control, Listing::Part, false, 2)).unwrap()), [2]);
    assert_eq!(wants(puppet.hear(list(Class::Content, Listing::Part, true, 3)).unwrap()), []);
    assert_eq!(wants(puppet.hear(list(Class::Content, Listing::Moved, true, 4)).unwrap()), []);
    assert_eq!(wants(puppet.hear(list(Class::Control, Listing::Part, true, 5)).unwrap()), [3]);
    let nothing = |request| Frame::Events { request, last: true, chunk: Vec::new() };
    assert_eq!(wants(puppet.hear(nothing(2)).unwrap()), []);
    assert_eq!(wants(puppet.hear(nothing(3)).unwrap()), [4], "control is done with, and the early list is looked at");
}

/// One side begins with control, the other, which has heard older news, with content: each answers the other.
#[test]
fn sides_that_begin_with_different_classes_do_not_wait_for_each_other() {
    let world = World::new(62, RoomKind::Public, 4, 4, Signed::Each);
    for (first, control_moves) in [(I, I), (I, R), (R, I), (R, R)] {
        let mut nodes = [Node::with(&world), Node::with(&world)];
        nodes[I].take(&world.more(0, 1));
        nodes[R].take(&world.more(1, 1));
        let mut link = Link::public(nodes, &world);
        // Up to where the responder's check is under way to the initiator, and the initiator's has been read.
        (0..3).for_each(|_| link.trip());
        link.ends[control_moves].node.take(&world.more_control(1));
        link.input(first, Input::Recheck(world.room));
        link.pump().assert_agreed(world.room);
    }
}

#[test]
fn a_difference_in_control_that_cannot_be_mended_does_not_keep_content_apart() {
    let world = World::new(63, RoomKind::Public, 4, 4, Signed::Each);
    let mut nodes = [Node::with(&world), Node::with(&world)];
    nodes[I].take(&world.more_control(1));
    nodes[R].refuses = Some(Class::Control);
    nodes[I].take(&world.more(0, 3));
    nodes[R].take(&world.more(1, 3));
    let mut link = Link::public(nodes, &world);
    link.pump();
    assert_eq!(link.failures(), [None, None]);
    for side in [I, R] {
        assert_eq!(link.ends[side].node.heads_of(world.room, &world.log(0))[0].tip.seq, 7);
        assert_eq!(link.ends[side].node.heads_of(world.room, &world.log(1))[0].tip.seq, 7);
        assert!(link.ends[side].agreed.is_empty(), "they do not hold the same");
        assert!(!link.ends[side].rested.is_empty(), "they gave up for now");
    }
    assert!(link.bytes().0 < 20_000, "{}", link.bytes().0);
}

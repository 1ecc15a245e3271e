//! Who has nothing gets everything, the newest first, in whichever direction it lies.

use super::link::{I, Link, R};
use super::node::Node;
use super::world::{Signed, World};
use crate::control::payload::RoomKind;
use crate::event::Class;
use crate::limits::{FIRST_SLICE_EVENTS, HEADS_LISTED_MAX};
use std::sync::OnceLock;

/// One author's log of 20,000 events.
fn long() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| World::new(10, RoomKind::Public, 1, 20_000, Signed::Run))
}

/// 300 logs, more than are listed: 30 events each.
fn wide() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| World::new(11, RoomKind::Public, 300, 30, Signed::Run))
}

#[test]
fn a_newcomer_gets_a_long_log_whole_and_its_newest_page_first() {
    for newcomer in [I, R] {
        let mut nodes = [Node::with(long()), Node::with(long())];
        nodes[newcomer] = Node::new();
        let mut link = Link::public(nodes, long());
        link.pump().assert_agreed(long().room);
        let end = &link.ends[newcomer];
        assert_eq!(end.node.ids(long().room).len(), 20_002);
        let spans = end.spans(Class::Content);
        assert_eq!(spans[0], (20_001 - FIRST_SLICE_EVENTS, 20_000), "the first chunk is the newest page");
        assert!(spans.is_sorted_by(|a, b| a.0 > b.1), "newest first, nothing twice: {spans:?}");
        assert_eq!(end.node.state(long().room, &long().log(0)).map(|s| s.holes().len()), Some(0));
        println!("20,000 events, newcomer is side {newcomer}: {:?} bytes (all, not events)", link.bytes());
    }
}

#[test]
fn a_newcomer_gets_many_logs_the_newest_first() {
    assert!(wide().logs.len() > HEADS_LISTED_MAX);
    for newcomer in [I, R] {
        let mut nodes = [Node::with(wide()), Node::with(wide())];
        nodes[newcomer] = Node::new();
        let mut link = Link::public(nodes, wide());
        link.pump().assert_agreed(wide().room);
        let end = &link.ends[newcomer];
        assert_eq!(end.ranges.iter().filter(|r| r.0.class == Class::Content).count(), 300, "each log once");
        let clock = |id| end.node.event(wide().room, id).unwrap().header().hlc;
        let clocks: Vec<_> = end.ranges.iter().skip(1).map(|(_, top, _)| clock(top.id)).collect();
        assert!(clocks.is_sorted_by(|a, b| a >= b), "newest first");
        println!("300 logs, newcomer is side {newcomer}: {:?} bytes (all, not events)", link.bytes());
    }
}

#[test]
fn both_get_what_only_the_other_has_at_once() {
    let world = wide();
    let half = |odd: usize| Node::with(world).only(|e| world.author(e).is_none_or(|author| author % 2 == odd));
    let mut link = Link::public([half(0), half(1)], world);
    link.pump().assert_agreed(world.room);
    assert_eq!(link.ends[I].node.ids(world.room).len(), 301 + 300 * 30);
}

#[test]
fn a_newcomer_to_a_members_room_gets_everything() {
    let world = World::new(12, RoomKind::Members, 5, 200, Signed::Each);
    for newcomer in [I, R] {
        let mut nodes = [Node::with(&world), Node::with(&world)];
        nodes[newcomer] = Node::new();
        let mut link = Link::members(nodes, &world);
        link.pump().assert_agreed(world.room);
        assert_eq!(link.ends[newcomer].node.ids(world.room).len(), 6 + 5 * 200);
    }
}

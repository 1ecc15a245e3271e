//! Nodes that differ end up equal, and finding out what differs costs by the logs that moved.

use super::link::{I, Link, R, Tell};
use super::node::Node;
use super::world::{Signed, World};
use crate::control::payload::RoomKind;
use crate::sync::Input;
use std::sync::OnceLock;

/// As many logs as the IRC channel in the data has authors.
fn wide() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| World::new(20, RoomKind::Public, 1542, 1, Signed::Each))
}

/// Moves 20 logs that lie all over, at one side or half of them at each.
fn move_twenty(nodes: &mut [Node; 2], sides: [usize; 2]) {
    for n in 0..20 {
        nodes[sides[n % 2]].take(&wide().more(n * 77, 1));
    }
}

#[test]
fn disjoint_logs_meet() {
    let world = World::new(21, RoomKind::Public, 40, 10, Signed::Each);
    let part = |odd: usize| Node::with(&world).only(|e| world.author(e).is_none_or(|author| author % 2 == odd));
    let mut link = Link::public([part(0), part(1)], &world);
    link.pump().assert_agreed(world.room);
    assert_eq!(link.ends[I].node.ids(world.room).len(), 41 + 400);
}

#[test]
fn after_an_agreement_twenty_moved_logs_of_1542_cost_less_than_4_kb() {
    for sides in [[I, I], [R, R], [I, R]] {
        let mut link = Link::public([Node::with(wide()), Node::with(wide())], wide());
        link.pump().assert_agreed(wide().room);
        let mut nodes = link.ends.map(|end| end.node);
        move_twenty(&mut nodes, sides);
        let mut link = Link::public(nodes, wide());
        link.pump().assert_agreed(wide().room);
        println!("agreed before, 20 of 1,542 logs moved at {sides:?}: {:?} bytes (all, not events)", link.bytes());
        assert!(link.bytes().1 < 4048, "100 a log and 2 KB");
    }
}

#[test]
fn between_strangers_twenty_moved_logs_of_1542_are_found_by_reconciling() {
    for sides in [[I, I], [R, R], [I, R]] {
        let mut nodes = [Node::with(wide()), Node::with(wide())];
        move_twenty(&mut nodes, sides);
        let mut link = Link::public(nodes, wide());
        link.pump().assert_agreed(wide().room);
        println!("strangers, 20 of 1,542 logs differ at {sides:?}: {:?} bytes (all, not events)", link.bytes());
        assert!(link.bytes().1 < 10_000);
    }
}

#[test]
fn in_one_conversation_the_second_difference_costs_no_reconciliation() {
    for (mover, checker) in [(I, I), (I, R), (R, I), (R, R)] {
        let mut link = Link::public([Node::with(wide()), Node::with(wide())], wide());
        link.pump().assert_agreed(wide().room);
        let before = link.bytes().1;
        for event in (0..20).map(|n| wide().more(n * 77, 1)) {
            link.say(mover, &event[0], Tell::Nothing);
        }
        link.input(checker, Input::Recheck(wide().room));
        link.pump().assert_agreed(wide().room);
        assert!(link.bytes().1 - before < 4048, "{mover} {checker}: {}", link.bytes().1 - before);
    }
}

/// A log that begins to count without having moved is in no list of what moved since.
#[test]
fn what_an_agreement_hides_is_found_in_the_end() {
    for (number, authors) in [(22, 5), (23, 270)] {
        let world = World::new(number, RoomKind::Public, authors, 1, Signed::Each);
        for side in [I, R] {
            let lacks = Node::with(&world).only(|e| world.author(e) != Some(0));
            let mut link = Link::public([lacks.clone(), lacks], &world);
            link.pump().assert_agreed(world.room);
            link.ends[side].node.take(&world.logs[0]);
            link.ends[side].node.hide_moves(world.room);
            link.input(side, Input::Recheck(world.room));
            link.pump().assert_agreed(world.room);
            assert_eq!(link.ends[1 - side].node.ids(world.room).len(), 1 + 2 * authors);
        }
    }
}

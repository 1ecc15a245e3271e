//! Nodes that hold the same find out in two round trips, for a few hundred bytes.

use super::link::{I, Link, R};
use super::node::Node;
use super::world::{Signed, World};
use crate::control::payload::RoomKind;

/// One-way trips until a side has agreed.
fn trips(link: &mut Link, world: &World) -> [usize; 2] {
    let mut agreed = [0; 2];
    for trip in 1..20 {
        link.trip();
        for side in [I, R] {
            if agreed[side] == 0 && link.ends[side].agreed.contains_key(&world.room) {
                agreed[side] = trip;
            }
        }
    }
    agreed
}

#[test]
fn equal_nodes_agree_in_two_round_trips_in_a_public_room() {
    let world = World::new(1, RoomKind::Public, 3, 20, Signed::Run);
    let mut link = Link::public([Node::with(&world), Node::with(&world)], &world);
    assert_eq!(trips(&mut link, &world), [4, 3]);
    link.assert_agreed(world.room);
    println!("equal, public: {} bytes in all", link.bytes().0);
    assert!(link.bytes().0 < 500);
}

#[test]
fn equal_nodes_agree_in_two_round_trips_in_a_members_room() {
    let world = World::new(2, RoomKind::Members, 3, 20, Signed::Run);
    let mut link = Link::members([Node::with(&world), Node::with(&world)], &world);
    // The responder's turn to be shown a proof comes last, so it learns of it half a round trip later.
    assert_eq!(trips(&mut link, &world), [4, 5]);
    link.assert_agreed(world.room);
    println!("equal, members: {} bytes in all", link.bytes().0);
    assert!(link.bytes().0 < 500);
}

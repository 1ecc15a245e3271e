//! Whatever bytes come: an error at most, never a panic.

use super::link::{I, Link, R};
use super::node::Node;
use super::puppet::{Puppet, hello};
use super::world::{Signed, World};
use crate::control::payload::RoomKind;
use crate::wire::Frame;
use proptest::prelude::*;
use std::sync::OnceLock;

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| World::new(120, RoomKind::Public, 260, 2, Signed::Each))
}

/// What each side said in whole conversations of many kinds, in order: [what went to the initiator, to the responder].
fn recorded() -> &'static [[Vec<Vec<u8>>; 2]] {
    static FRAMES: OnceLock<Vec<[Vec<Vec<u8>>; 2]>> = OnceLock::new();
    FRAMES.get_or_init(|| {
        let some =
            |count: u64| Node::with(world()).only(|e| e.header().grant.0[0] as u64 % count != 1 || e.header().seq == 1);
        [[some(1), some(3)], [Node::new(), some(1)], [some(1), Node::new()], [some(2), some(5)]]
            .map(|nodes| {
                let mut link = Link::public(nodes, world());
                link.pump().assert_agreed(world().room);
                link.ends.map(|end| end.heard)
            })
            .into()
    })
}

/// Replays a recorded conversation with one frame changed, to the side that heard it.
fn replay(which: usize, side: usize, frame: usize, change: &[(usize, u8)], cut: usize) {
    let recorded = &recorded()[which % recorded().len()][side];
    let changed_at = frame % recorded.len();
    let node = Node::with(world()).only(|e| e.header().grant.0[0] % 7 != 3);
    let offer = node.offer(world(), None);
    let mut puppet = Puppet::new(side, node, vec![offer]);
    for (n, bytes) in recorded.iter().enumerate() {
        let mut bytes = bytes.clone();
        if n == changed_at {
            for (at, value) in change {
                let at = at % bytes.len();
                bytes[at] = *value;
            }
            let len = bytes.len();
            bytes.truncate(len.saturating_sub(cut % (len + 1)).max(1));
        }
        // What does not read ends a real conversation; here the rest goes on, to get further.
        let Ok(frame) = Frame::from_bytes(&bytes) else { continue };
        if puppet.hear(frame).is_err() {
            return;
        }
        puppet.deal();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_no_frame_or_one(bytes in prop::collection::vec(any::<u8>(), 0..300), kind in 0u8..17) {
        for bytes in [bytes.clone(), [vec![kind], bytes].concat()] {
            if let Ok(frame) = Frame::from_bytes(&bytes) {
                prop_assert_eq!(frame.to_bytes(), bytes);
            }
        }
    }

    #[test]
    fn random_frames_never_panic(frames in prop::collection::vec((1u8..16, prop::collection::vec(any::<u8>(), 0..120), any::<bool>()), 0..40), side in 0usize..2) {
        let mut puppet = Puppet::public(side, world());
        for (kind, bytes, in_room) in frames {
            // Handles are two bytes behind the type: the first room's, so that it gets somewhere.
            let head = if in_room { vec![kind, 0, 0] } else { vec![kind] };
            if let Ok(frame) = Frame::from_bytes(&[head, bytes].concat()) && puppet.hear(frame).is_err() {
                puppet = Puppet::public(side, world());
            }
        }
    }

    #[test]
    fn random_reconciliation_never_panics(messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..10), side in 0usize..2) {
        let mut puppet = Puppet::public(side, world());
        for (n, mut message) in messages.into_iter().enumerate() {
            // What is asked for first, and as many symbols as are asked for first, get somewhere.
            if n % 2 == 0 && side == super::link::R {
                message = vec![0, 0, 0, 0, 0, message.len() as u8, 0, 0, 0];
            } else if n % 2 == 0 && !message.is_empty() {
                message = message.into_iter().cycle().take(4 + 14 * 80).collect();
            }
            let frame = Frame::Reconcile { room: super::puppet::ROOM, class: crate::event::Class::Content, message };
            if puppet.hear(frame).is_err() {
                puppet = Puppet::public(side, world());
            }
        }
    }

    #[test]
    fn a_conversation_with_a_changed_frame_never_panics(
        which in 0usize..4,
        side in 0usize..2,
        frame in any::<usize>(),
        change in prop::collection::vec((any::<usize>(), any::<u8>()), 0..4),
        cut in prop_oneof![Just(0), 0usize..100],
    ) {
        replay(which, side, frame, &change, cut);
    }
}

#[test]
fn a_recorded_conversation_replays() {
    for which in 0..recorded().len() {
        for side in [I, R] {
            replay(which, side, 0, &[], 0);
        }
    }
    assert!(recorded().iter().all(|sides| sides.iter().all(|frames| frames.len() > 5)));
    assert_eq!(recorded()[0][R][0], hello(I).to_bytes());
}

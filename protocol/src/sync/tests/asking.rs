//! Asking what a peer holds: answered to whom the room is open, as asked, and not without end.

use super::link::R;
use super::node::Node;
use super::puppet::{Puppet, ROOM};
use super::world::{Signed, World};
use crate::answer::{Draft, SignedAnswer};
use crate::control::payload::RoomKind;
use crate::event::Hlc;
use crate::limits::{ASKS_HEARD_MAX, ASKS_TOLD_MAX};
use crate::sync::{Failure, Input, Output};
use crate::wire::{Frame, Handle};

fn answer(world: &World, nonce: [u8; 16]) -> SignedAnswer {
    let (control, content) = ([1; 32], [2; 32]);
    Draft { room: world.room, nonce, hlc: Hlc(1), control, content, durable: true }.sign(&world.key(1))
}

fn asked(puppet: &Puppet) -> usize {
    puppet.others.iter().filter(|output| matches!(output, Output::Asked { .. })).count()
}

fn answered(puppet: &Puppet) -> Vec<[u8; 16]> {
    let nonce = |output: &Output| match output {
        Output::Answered { answer, .. } => Some(answer.nonce),
        _ => None,
    };
    puppet.others.iter().filter_map(nonce).collect()
}

#[test]
fn only_the_last_question_has_an_answer_and_only_one() {
    let world = World::new(140, RoomKind::Public, 2, 5, Signed::Each);
    let mut puppet = Puppet::public(R, &world);
    let hears = |puppet: &mut Puppet, n| {
        let frame = Frame::Answer { room: ROOM, answer: answer(&world, [n; 16]) };
        puppet.hear(frame).unwrap();
        answered(puppet)
    };
    assert_eq!(hears(&mut puppet, 1), [[0; 16]; 0], "nothing was asked");
    for nonce in [[1; 16], [2; 16]] {
        let frames = puppet.input(Input::Ask { room: world.room, nonce }).unwrap();
        assert!(matches!(frames[..], [Frame::Ask { nonce: told, .. }] if told == nonce));
    }
    assert_eq!(hears(&mut puppet, 1), [[0; 16]; 0], "it was asked again since");
    assert_eq!(hears(&mut puppet, 2), [[2; 16]]);
    assert_eq!(hears(&mut puppet, 2), [[2; 16]], "it was answered");
}

#[test]
fn of_a_room_that_is_not_open_nothing_is_asked_or_answered() {
    let world = World::new(141, RoomKind::Members, 2, 5, Signed::Each);
    let node = Node::with(&world);
    let offer = node.offer(&world, None);
    let (mut puppet, _) = Puppet::greeted(R, node, vec![offer], &world);
    let (ask, told) = (Frame::Ask { room: ROOM, nonce: [1; 16] }, answer(&world, [1; 16]));
    let other = Frame::Ask { room: Handle(7), nonce: [1; 16] };
    for frame in [ask, other, Frame::Answer { room: ROOM, answer: told }] {
        assert!(matches!(puppet.hear(frame).unwrap()[..], [Frame::Refused(_)]));
    }
    assert_eq!((asked(&puppet), answered(&puppet).len()), (0, 0));
    for input in [Input::Ask { room: world.room, nonce: [1; 16] }, Input::Answer { room: world.room, answer: told }] {
        assert_eq!(puppet.input(input).unwrap(), []);
    }
}

#[test]
fn who_asks_again_and_again_is_passed_over_and_at_last_at_fault() {
    let world = World::new(142, RoomKind::Public, 2, 5, Signed::Each);
    let mut puppet = Puppet::public(R, &world);
    let mut frames = 0;
    let failure = loop {
        frames += 1;
        if let Err(failure) = puppet.hear(Frame::Ask { room: ROOM, nonce: [1; 16] }) {
            break failure;
        }
    };
    assert_eq!((failure, frames), (Failure::Budget("questions"), 4 * ASKS_HEARD_MAX + 1));
    assert_eq!(asked(&puppet), ASKS_HEARD_MAX as usize);
    let mut puppet = Puppet::public(R, &world);
    let mut told = 0;
    for _ in 0..100 {
        told += puppet.input(Input::Ask { room: world.room, nonce: [1; 16] }).unwrap().len();
    }
    assert_eq!(told, ASKS_TOLD_MAX as usize);
    puppet.now_ms += 60_000;
    assert_eq!(puppet.input(Input::Ask { room: world.room, nonce: [1; 16] }).unwrap().len(), 1);
}

//! Who is neither in nor out: whom a joiner trusts for want of knowing better, and a device that is on its way back.

use super::link::{I, R, credential};
use super::node::Node;
use super::puppet::{Puppet, ROOM, check, heads, want};
use super::strangers::{knowing_a_link, member, world};
use super::world::{Event, World};
use crate::codec::encode;
use crate::event::Class;
use crate::log::Tip;
use crate::sync::{Input, Offer, Output};
use crate::wire::{Frame, Listing};

#[test]
fn a_device_that_is_on_its_way_back_is_told_how_and_nothing_else() {
    let world = world();
    let mut node = member(&world);
    let device = world.key(3).device();
    node.returning.insert(device);
    let offer = node.offer(&world, Some(credential(&world, R, &world.key(0))));
    let (mut puppet, _) = Puppet::greeted(R, node, vec![offer.clone()], &world);
    let told = puppet.hear(puppet.proof(credential(&world, I, &world.key(3)))).unwrap();
    assert!(matches!(told[..], [Frame::Proof(_), Frame::Check { .. }]), "{told:?}");
    let top = |events: &[Event]| {
        let last = events.last().unwrap();
        Tip { seq: last.header().seq, id: last.id() }
    };
    let gives = |frames: &[Frame]| frames.iter().any(|f| matches!(f, Frame::Events { chunk, .. } if !chunk.is_empty()));
    assert!(gives(&puppet.hear(want(1, top(&world.control), 1)).unwrap()));
    assert!(!gives(&puppet.hear(want(2, top(&world.logs[0]), 1)).unwrap()));
    let (room, listing, last) = (ROOM, Listing::Whole, true);
    for (class, some) in [(Class::Control, true), (Class::Content, false)] {
        let told = puppet.hear(Frame::Heads { room, class, listing, last, heads: Vec::new() }).unwrap();
        let tells = |f: &Frame| matches!(f, Frame::Heads { heads, .. } if !heads.is_empty());
        assert_eq!(told.iter().any(tells), some, "{told:?}");
    }
    let event = |event: &Event| encode(&event.to_signed().unwrap());
    let [rule, word] = [&world.more_control(1)[0], &world.more(0, 1)[0]].map(event);
    let id = world.room;
    assert!(matches!(puppet.input(Input::Push { room: id, event: rule }).unwrap()[..], [Frame::Push { .. }]));
    for input in [
        Input::Push { room: id, event: word.clone() },
        Input::Moved { room: id, class: Class::Content, heads: heads(0, 1) },
        Input::Key { room: id, circle: [1; 32], key: [2; 32] },
    ] {
        assert_eq!(puppet.input(input), Ok(Vec::new()));
    }
    let slots = Frame::Slots { room, names: Vec::new() };
    assert_eq!(puppet.hear(slots), Ok(Vec::new()));
    // Nor does a Check tell that something was said.
    let checks = |puppet: &mut Puppet| puppet.input(Input::Recheck(id)).unwrap().into_iter().find(is_check);
    let before = checks(&mut puppet);
    puppet.node.take(&world.more(0, 1));
    assert!(before.is_some() && checks(&mut puppet) == before);
    // Once it is back, it is told of all.
    puppet.node.current.insert(device);
    let told = puppet.input(Input::Offer(offer)).unwrap();
    assert!(told.iter().any(is_check), "{told:?}");
    assert!(gives(&puppet.hear(want(3, top(&world.logs[0]), 1)).unwrap()));
    assert!(matches!(puppet.input(Input::Push { room: id, event: word }).unwrap()[..], [Frame::Push { .. }]));
}

/// A joiner, and a peer that it has let in on trust; the joiner's offer.
fn trusting(world: &World) -> (Puppet, Offer) {
    let node = Node::new();
    let offer = node.offer(world, Some(credential(world, R, &world.joiner(7))));
    let (mut puppet, _) = knowing_a_link(R, node, offer.clone(), world);
    let frames = puppet.hear(puppet.proof(credential(world, I, &world.key(3)))).unwrap();
    assert!(matches!(frames[..], [Frame::Proof(_), Frame::Check { .. }]));
    (puppet, offer)
}

fn is_check(frame: &Frame) -> bool {
    matches!(frame, Frame::Check { .. })
}

#[test]
fn who_is_let_in_on_trust_hears_of_no_change_and_is_out_once_the_control_logs_are_here() {
    let world = world();
    let (mut puppet, offer) = trusting(&world);
    let nothing = |class| Frame::Heads { room: ROOM, class, listing: Listing::Part, last: true, heads: Vec::new() };
    let mut told = Vec::new();
    for n in 0..3 {
        told.extend(puppet.hear(check(n)).unwrap());
        told.extend(puppet.hear(nothing(Class::Control)).unwrap());
        told.extend(puppet.hear(nothing(Class::Content)).unwrap());
        told.extend(puppet.input(Input::Recheck(world.room)).unwrap());
    }
    // The history comes from somebody else: while control is compared with the peer, it may be in what is still missing.
    told.extend(puppet.hear(check(9)).unwrap());
    puppet.node.take(&world.control);
    puppet.node.current.insert(world.key(1).device());
    let renewed = puppet.node.renewed(&offer).unwrap();
    told.extend(puppet.input(Input::Offer(renewed.clone())).unwrap());
    assert_eq!(puppet.talk.shared().count(), 1);
    assert!(!told.iter().any(|f| is_check(f) || matches!(f, Frame::Refused(_))), "{told:?}");
    told = puppet.hear(nothing(Class::Control)).unwrap();
    assert!(told.contains(&Frame::Refused(ROOM)) && !told.iter().any(is_check), "{told:?}");
    puppet.node.take(&world.logs[0]);
    assert_eq!(puppet.input(Input::Recheck(world.room)), Ok(Vec::new()));
    assert_eq!(puppet.hear(check(1)).unwrap(), [Frame::Refused(ROOM)]);
    // Nor was it ever one of the room's peers.
    assert!(puppet.talk.shared().next().is_none());
    assert!(!puppet.others.iter().any(|o| matches!(o, Output::Shared(_))));
    // Where nothing is compared it is out at once.
    let (mut puppet, _) = trusting(&world);
    puppet.node.take(&world.control);
    let told = puppet.input(Input::Offer(renewed)).unwrap();
    assert!(told.contains(&Frame::Refused(ROOM)) && !told.iter().any(is_check), "{told:?}");
}

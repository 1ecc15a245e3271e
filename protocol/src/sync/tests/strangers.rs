//! Who is not admitted learns nothing: the answer is that of an unknown room.

use super::link::{I, Link, NOW_MS, R, credential};
use super::node::Node;
use super::puppet::{NO_CREDENTIAL, Puppet, ROOM, check, heads, hello, proof, want};
use super::world::{Signed, World};
use crate::codec::encode;
use crate::control::payload::RoomKind;
use crate::event::Class;
use crate::id::EventId;
use crate::limits::CREDENTIAL_MS_MAX;
use crate::log::Tip;
use crate::sync::{Credential, Input, Output, Side};
use crate::wire::{Frame, Listing, Tag};

fn world() -> World {
    World::new(40, RoomKind::Members, 4, 3, Signed::Each)
}

/// A node of a member (author 0) that knows authors 0 to 2 as current devices; author 3 was removed.
fn member(world: &World) -> Node {
    let mut node = Node::with(world);
    node.current.extend((0..3).map(|author| world.key(author).device()));
    node
}

/// All frames that a stranger could try, its proof first.
fn attempts(proof: Option<Frame>) -> Vec<Frame> {
    let top = Tip { seq: 3, id: EventId([1; 32]) };
    let ask = |class, listing| Frame::Heads { room: ROOM, class, listing, last: true, heads: heads(0, 3) };
    let mut frames: Vec<Frame> = proof.into_iter().collect();
    frames.extend([
        check(1),
        ask(Class::Control, Listing::Whole),
        ask(Class::Content, Listing::Moved),
        Frame::Reconcile { room: ROOM, class: Class::Control, message: Vec::new() },
        Frame::Lack { room: ROOM, class: Class::Content, ids: Vec::new() },
        want(7, top, 1),
        Frame::Push { room: ROOM, event: vec![1, 2, 3] },
        Frame::Credit(0),
        Frame::Refused(ROOM),
    ]);
    frames
}

/// What each frame is answered with, as bytes.
fn answers(puppet: &mut Puppet, frames: Vec<Frame>) -> Vec<Vec<u8>> {
    frames.into_iter().flat_map(|f| puppet.hear(f).unwrap()).map(|f| f.to_bytes()).collect()
}

#[test]
fn a_stranger_is_answered_as_if_the_room_were_unknown() {
    let world = world();
    let issue = |author: usize, them: usize, expires_ms| {
        Credential::issue(&world.key(author), world.room, &super::link::peer(them), expires_ms)
    };
    let soon = NOW_MS + 1000;
    let mut forged = issue(1, I, soon);
    forged.signature = issue(2, I, soon).signature;
    let proofs = [
        ("no proof", None),
        ("nonsense", Some(NO_CREDENTIAL)),
        ("another's signature", Some(forged)),
        ("of another peer", Some(issue(1, R, soon))),
        ("expired", Some(issue(1, I, NOW_MS))),
        ("for too long", Some(issue(1, I, NOW_MS + CREDENTIAL_MS_MAX + 1))),
        ("of a removed device", Some(issue(3, I, soon))),
    ];
    for (what, credential) in proofs {
        let node = member(&world);
        let offer = node.offer(&world, Some(self::credential(&world, R, &world.key(0))));
        let (mut knows, after_tags) = Puppet::greeted(R, node, vec![offer], &world);
        let (mut unknown, after_tags_too) = Puppet::greeted(R, Node::new(), Vec::new(), &world);
        let frames = attempts(credential.map(|c| proof(c, Vec::new())));
        let told = answers(&mut knows, frames.clone());
        assert_eq!(told, answers(&mut unknown, frames), "{what}");
        assert_eq!(after_tags, after_tags_too);
        assert!(knows.others.iter().all(|o| matches!(o, Output::Refused(_))), "{what}");
        assert_eq!(knows.talk.shared().count(), 0);
        assert!(knows.input(Input::Push { room: world.room, event: vec![1] }).unwrap().is_empty());
    }
}

#[test]
fn a_member_is_answered_with_a_check() {
    let world = world();
    let node = member(&world);
    let offer = node.offer(&world, Some(credential(&world, R, &world.key(0))));
    let (mut puppet, after_tags) = Puppet::greeted(R, node, vec![offer], &world);
    assert!(after_tags.is_empty(), "the responder waits for the initiator's proof");
    let frames = puppet.hear(puppet.proof(credential(&world, I, &world.key(1)))).unwrap();
    assert!(matches!(frames[..], [Frame::Proof(_), Frame::Check { .. }]), "control of the tests above");
}

#[test]
fn an_initiator_shows_its_proof_and_nothing_else_to_a_stranger() {
    let world = world();
    let node = member(&world);
    let offer = node.offer(&world, Some(credential(&world, I, &world.key(0))));
    let (mut puppet, after_tags) = Puppet::greeted(I, node, vec![offer], &world);
    assert!(matches!(after_tags[..], [Frame::Proof(_)]));
    for frame in attempts(Some(proof(NO_CREDENTIAL, Vec::new()))) {
        let frames = puppet.hear(frame).unwrap();
        let tells = |f: &Frame| {
            !matches!(f, Frame::Refused(_)) && !matches!(f, Frame::Events { chunk, .. } if chunk.is_empty())
        };
        assert!(!frames.iter().any(tells), "{frames:?}");
    }
}

#[test]
fn tags_and_proofs_that_are_echoed_match_nothing() {
    let world = world();
    for side in [I, R] {
        let node = member(&world);
        let offer = node.offer(&world, Some(credential(&world, side, &world.key(0))));
        let mut puppet = Puppet::new(side, node, vec![offer]);
        let told = puppet.hear(hello(1 - side)).unwrap();
        let tags: Vec<Tag> = told
            .iter()
            .filter_map(|f| if let Frame::Rooms(t) = f { Some(t.clone()) } else { None })
            .flatten()
            .collect();
        assert_eq!(tags.len(), 1);
        assert!(puppet.hear(Frame::Rooms(tags)).unwrap().is_empty());
        assert_eq!(puppet.hear(check(1)).unwrap(), [Frame::Refused(ROOM)]);
        // A proof that was shown to us speaks for the one who showed it.
        let (mut puppet, _) = Puppet::greeted(side, member(&world), vec![member(&world).offer(&world, None)], &world);
        let echo = puppet.proof(credential(&world, side, &world.key(0)));
        assert_eq!(puppet.hear(echo).unwrap(), [Frame::Refused(ROOM)]);
    }
}

#[test]
fn an_echoed_check_agrees_to_nothing() {
    let world = World::new(41, RoomKind::Public, 1, 1, Signed::Each);
    let node = Node::with(&world);
    let offer = node.offer(&world, None);
    let (mut puppet, told) = Puppet::greeted(R, node, vec![offer], &world);
    let check = told.into_iter().find(|f| matches!(f, Frame::Check { .. })).unwrap();
    puppet.hear(check).unwrap();
    assert!(!puppet.others.iter().any(|o| matches!(o, Output::Agreed { .. })));
}

#[test]
fn a_room_and_its_tag_look_different_to_each_peer_side_and_conversation() {
    let world = world();
    let mut puppet = Puppet::new(R, Node::new(), Vec::new());
    let tag = puppet.tag(&world);
    assert_ne!(puppet.keys.tag(Side::Responder, world.room, &world.secret), tag);
    assert_ne!(puppet.keys.tag(Side::Initiator, world.room, &[0; 32]), tag);
    puppet.keys.responder = [77; 16];
    assert_ne!(puppet.tag(&world), tag);
}

#[test]
fn a_joiner_is_let_in_by_its_introduction_and_before_that_gets_nothing() {
    let world = world();
    for joiner in [I, R] {
        let mut nodes = [member(&world), member(&world)];
        nodes[joiner] = Node::new();
        let join = world.join(7);
        let offers = [I, R].map(|side| {
            let key = if side == joiner { world.joiner(7) } else { world.key(0) };
            let mut offer = nodes[side].offer(&world, Some(credential(&world, side, &key)));
            offer.introduction.extend((side == joiner).then(|| encode(&join.to_signed().unwrap())));
            vec![offer]
        });
        let mut link = Link::new(nodes, offers);
        link.ends[1 - joiner].holds_introductions = true;
        link.pump();
        assert_eq!(link.ends[1 - joiner].shared, []);
        assert_eq!(link.ends[1 - joiner].sent.events, 0);
        assert_eq!(link.ends[joiner].node.ids(world.room).len(), 0);
        assert_eq!(link.ends[joiner].refused, []);
        link.ends[1 - joiner].holds_introductions = false;
        link.pump().assert_agreed(world.room);
        assert_eq!(link.ends[joiner].node.ids(world.room).len(), 5 + 4 * 3 + 1);
    }
}

#[test]
fn an_introduction_that_is_not_admitted_is_answered_as_if_the_room_were_unknown() {
    let world = world();
    let stranger = credential(&world, I, &world.joiner(8));
    let frames = [proof(stranger, vec![vec![1; 100]]), check(1), check(2)];
    let node = member(&world);
    let offer = node.offer(&world, Some(credential(&world, R, &world.key(0))));
    let (mut knows, _) = Puppet::greeted(R, node, vec![offer], &world);
    let mut told = answers(&mut knows, frames.to_vec());
    assert!(matches!(knows.others[..], [Output::Introduce { .. }]));
    assert!(told.is_empty());
    told.extend(knows.input(Input::Introduced(world.room)).unwrap().iter().map(Frame::to_bytes));
    let (mut unknown, _) = Puppet::greeted(R, Node::new(), Vec::new(), &world);
    assert_eq!(told, answers(&mut unknown, frames.to_vec()));
    // Introductions cost work, so that only a few are looked at.
    for _ in 0..10 {
        knows.hear(frames[0].clone()).unwrap();
        knows.input(Input::Introduced(world.room)).unwrap();
    }
    assert_eq!(knows.others.iter().filter(|o| matches!(o, Output::Introduce { .. })).count(), 4);
}

#[test]
fn whoever_a_joiner_lets_in_on_trust_may_give_but_not_take() {
    let world = world();
    let node = Node::new();
    let mut offer = node.offer(&world, Some(credential(&world, R, &world.joiner(7))));
    assert!(offer.joining);
    let (mut puppet, _) = Puppet::greeted(R, node, vec![offer.clone()], &world);
    let frames = puppet.hear(puppet.proof(credential(&world, I, &world.key(1)))).unwrap();
    assert!(matches!(frames[..], [Frame::Proof(_), Frame::Check { .. }]));
    // The history came by another way meanwhile, and the peer turned out to be no member.
    puppet.node.take(&world.control);
    puppet.node.take(&world.logs[0]);
    let top = Tip { seq: 3, id: world.logs[0][2].id() };
    let mut told = puppet.hear(want(1, top, 1)).unwrap();
    told.extend(
        puppet
            .hear(Frame::Heads {
                room: ROOM,
                class: Class::Content,
                listing: Listing::Whole,
                last: true,
                heads: Vec::new(),
            })
            .unwrap(),
    );
    told.extend(puppet.hear(Frame::Reconcile { room: ROOM, class: Class::Control, message: Vec::new() }).unwrap());
    told.extend(puppet.input(Input::Push { room: world.room, event: vec![1] }).unwrap());
    offer.joining = false;
    told.extend(puppet.input(Input::Offer(offer)).unwrap());
    let tells = |f: &Frame| match f {
        Frame::Events { chunk, .. } => !chunk.is_empty(),
        Frame::Heads { heads, .. } => !heads.is_empty(),
        Frame::Reconcile { message, .. } => !message.is_empty(),
        Frame::Push { .. } => true,
        _ => false,
    };
    assert!(!told.iter().any(tells), "{told:?}");
    // Once its device is known to be a member's, it is told like any other.
    puppet.node.current.insert(world.key(1).device());
    let told = puppet.hear(want(2, top, 1)).unwrap();
    assert!(told.iter().any(tells), "{told:?}");
}

#[test]
fn a_device_that_is_removed_while_we_talk_gets_nothing_more() {
    let world = World::new(42, RoomKind::Members, 3, 2000, Signed::Run);
    let node = member(&world);
    let offer = node.offer(&world, Some(credential(&world, R, &world.key(0))));
    let (mut puppet, _) = Puppet::greeted(R, node, vec![offer], &world);
    puppet.hear(puppet.proof(credential(&world, I, &world.key(1)))).unwrap();
    let top = Tip { seq: 2000, id: world.logs[2][1999].id() };
    let ask = |request| want(request, top, 1);
    let gets = |frames: &[Frame]| frames.iter().any(|f| matches!(f, Frame::Events { chunk, .. } if !chunk.is_empty()));
    assert!(gets(&puppet.hear(ask(1)).unwrap()));
    // What it asked for before, but was not sent for want of credit, is not sent either.
    let mut asked = 2;
    while gets(&puppet.hear(ask(asked)).unwrap()) {
        asked += 1;
    }
    puppet.node.current.remove(&world.key(1).device());
    assert!(!gets(&puppet.hear(Frame::Credit(1)).unwrap()));
    assert!(!gets(&puppet.hear(ask(99)).unwrap()));
    assert_eq!(puppet.talk.shared().count(), 0);
    assert!(puppet.input(Input::Push { room: world.room, event: vec![1] }).unwrap().is_empty());
    assert_eq!(puppet.hear(check(1)).unwrap(), [Frame::Refused(ROOM)]);
}

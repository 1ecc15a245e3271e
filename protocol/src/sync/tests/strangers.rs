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
use crate::sync::{Credential, Input, Offer, Output, Side};
use crate::wire::{Frame, Handle, Listing, Proof, Tag};

pub(super) fn world() -> World {
    World::new(40, RoomKind::Members, 4, 3, Signed::Each)
}

/// A node of a member (author 0) that knows authors 0 to 2 as current devices; author 3 was removed.
pub(super) fn member(world: &World) -> Node {
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
        Frame::Lack { room: ROOM, class: Class::Content, items: Vec::new() },
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
        let frames = attempts(credential.map(proof));
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
    for frame in attempts(Some(proof(NO_CREDENTIAL))) {
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

/// A member's node that a stranger has greeted, of whom it knows nothing yet.
fn greeted_by_a_link(side: usize, node: Node, world: &World) -> (Puppet, Vec<Frame>) {
    let offer = node.offer(world, Some(credential(world, side, &world.key(0))));
    knowing_a_link(side, node, offer, world)
}

pub(super) fn knowing_a_link(side: usize, node: Node, offer: Offer, world: &World) -> (Puppet, Vec<Frame>) {
    let mut puppet = Puppet::new(side, node, vec![offer]);
    let mut told = puppet.hear(hello(1 - side)).unwrap();
    let tag = puppet.outer_tag(world);
    told.extend(puppet.hear(Frame::Rooms(vec![tag])).unwrap());
    (puppet, told)
}

#[test]
fn who_has_the_link_alone_cannot_tell_who_has_the_room() {
    let world = world();
    for side in [I, R] {
        let (mut puppet, told) = greeted_by_a_link(side, member(&world), &world);
        // Its one tag is none that the link's secret makes, and nothing answers ours.
        let [.., Frame::Rooms(tags)] = &told[..] else { panic!("{told:?}") };
        let ours = [Side::Initiator, Side::Responder].map(|s| puppet.keys.tag(s, world.room, &world.secret));
        assert!(tags.len() == 1 && !ours.contains(&tags[0]));
        let with_proof = Some(proof(credential(&world, 1 - side, &world.joiner(8))));
        let (mut unknown, _) =
            greeted_by_a_link(side, Node::new(), &self::World::new(44, RoomKind::Members, 1, 1, Signed::Each));
        for frame in attempts(with_proof) {
            assert_eq!(puppet.hear(frame.clone()).unwrap(), unknown.hear(frame).unwrap());
        }
        assert_eq!(puppet.talk.shared().count(), 0);
        // Control: those who were let in once find it by its inner name.
        let tag = puppet.tag(&world);
        puppet.hear(Frame::Rooms(vec![tag])).unwrap();
        let held = credential(&world, 1 - side, &world.key(1));
        let handle = if side == I { ROOM } else { Handle(1) };
        let Frame::Proof(shown) = proof(held) else { unreachable!() };
        let told = puppet.hear(Frame::Proof(Proof { room: handle, ..shown })).unwrap();
        assert!(matches!(told.last(), Some(Frame::Check { .. })), "{told:?}");
    }
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
        // Once the history tells.
        nodes[joiner].current.extend([world.key(0).device(), world.joiner(7).device()]);
        let mut link = Link::new(nodes, offers);
        link.ends[1 - joiner].holds_introductions = true;
        link.pump();
        assert_eq!(link.ends[1 - joiner].shared, []);
        assert_eq!(link.ends[1 - joiner].sent.events, 0);
        // A hello and the one tag: it does not even know that the room is there.
        assert_eq!(link.ends[1 - joiner].sent.frames, 2);
        assert_eq!(link.ends[joiner].node.ids(world.room).len(), 0);
        assert_eq!(link.ends[joiner].refused, []);
        link.ends[1 - joiner].holds_introductions = false;
        link.pump().assert_agreed(world.room);
        assert_eq!(link.ends[joiner].node.ids(world.room).len(), 5 + 4 * 3 + 1);
    }
}

#[test]
fn a_member_whose_device_is_not_known_yet_introduces_itself() {
    let world = world();
    for newer in [I, R] {
        let mut nodes = [member(&world), member(&world)];
        let join = world.join(7);
        nodes[newer].take(std::slice::from_ref(&join));
        nodes[newer].current.insert(world.joiner(7).device());
        let offers = [I, R].map(|side| {
            let key = if side == newer { world.joiner(7) } else { world.key(0) };
            let mut offer = nodes[side].offer(&world, Some(credential(&world, side, &key)));
            offer.introduction.extend((side == newer).then(|| encode(&join.to_signed().unwrap())));
            vec![offer]
        });
        let mut link = Link::new(nodes, offers);
        link.pump().assert_agreed(world.room);
    }
}

#[test]
fn who_was_refused_introduces_itself_as_soon_as_it_can() {
    let world = world();
    for newer in [I, R] {
        let nodes = [member(&world), member(&world)];
        let join = world.join(7);
        let offers = [I, R].map(|side| {
            let key = if side == newer { world.joiner(7) } else { world.key(0) };
            vec![nodes[side].offer(&world, Some(credential(&world, side, &key)))]
        });
        let mut link = Link::new(nodes, offers);
        // It has the room, and has not come in yet: there is nothing to introduce it by.
        link.pump();
        assert!(!link.ends[newer].refused.is_empty());
        assert_eq!(link.ends[1 - newer].shared, []);
        link.ends[newer].node.take(std::slice::from_ref(&join));
        link.ends[newer].node.current.insert(world.joiner(7).device());
        let mut offer = link.ends[newer].node.offer(&world, Some(credential(&world, newer, &world.joiner(7))));
        offer.introduction.push(encode(&join.to_signed().unwrap()));
        link.input(newer, Input::Offer(offer));
        link.pump().assert_agreed(world.room);
    }
}

#[test]
fn a_knock_that_lets_nobody_in_has_no_answer() {
    let world = world();
    let stranger = credential(&world, I, &world.joiner(8));
    let node = member(&world);
    let offer = node.offer(&world, Some(credential(&world, R, &world.key(0))));
    let (mut knows, _) = Puppet::greeted(R, node, vec![offer], &world);
    let mut expired = credential(&world, I, &world.key(1));
    expired.expires_ms = NOW_MS;
    let bad = [
        knows.knock(&world, NO_CREDENTIAL, vec![vec![1; 100]]),
        knows.knock(&world, expired, Vec::new()),
        knows.knock(&world, credential(&world, I, &world.key(3)), Vec::new()),
        knows.knock(&world, credential(&world, R, &world.key(1)), Vec::new()),
        Frame::Knock { tag: knows.outer_tag(&world), sealed: vec![7; 200] },
        Frame::Knock { tag: Tag([7; 16]), sealed: Vec::new() },
    ];
    for knock in bad {
        assert_eq!(knows.hear(knock), Ok(Vec::new()));
    }
    assert!(knows.others.is_empty());
    // Introductions cost work, so that only a few are looked at.
    for _ in 0..10 {
        let knock = knows.knock(&world, stranger, vec![vec![1; 100]]);
        assert_eq!(knows.hear(knock), Ok(Vec::new()));
        assert_eq!(knows.input(Input::Introduced(world.room)), Ok(Vec::new()));
    }
    assert_eq!(knows.others.iter().filter(|o| matches!(o, Output::Introduce { .. })).count(), 4);
    // Control: a member's device is let in.
    let knock = knows.knock(&world, credential(&world, I, &world.key(1)), Vec::new());
    assert!(matches!(knows.hear(knock).unwrap()[..], [Frame::Rooms(_)]));
}

#[test]
fn a_key_of_sealed_tips_goes_to_current_devices_alone() {
    let world = world();
    let mut link = Link::members([member(&world), member(&world)], &world);
    link.pump().assert_agreed(world.room);
    let key = |n: u8| Input::Key { room: world.room, circle: [n; 32], key: [n + 1; 32] };
    link.input(R, key(1));
    link.pump();
    assert_eq!(link.ends[I].keys, [(world.key(1).device(), [1; 32], [2; 32])]);
    // Neither a device that was removed, nor a stranger, nor anybody in a public room.
    link.ends[R].node.current.remove(&world.key(0).device());
    link.input(R, key(3));
    link.pump();
    assert_eq!(link.ends[I].keys.len(), 1);
    let (mut puppet, _) = greeted_by_a_link(R, member(&world), &world);
    assert_eq!(puppet.input(key(1)), Ok(Vec::new()));
    let public = World::new(45, RoomKind::Public, 1, 1, Signed::Each);
    let mut puppet = Puppet::public(R, &public);
    assert_eq!(puppet.input(Input::Key { room: public.room, circle: [1; 32], key: [2; 32] }), Ok(Vec::new()));
}

#[test]
fn whoever_a_joiner_lets_in_on_trust_may_give_but_not_take() {
    let world = world();
    let node = Node::new();
    let mut offer = node.offer(&world, Some(credential(&world, R, &world.joiner(7))));
    assert!(offer.joining);
    let (mut puppet, told) = knowing_a_link(R, node, offer.clone(), &world);
    assert!(matches!(told[..], [Frame::Hello { .. }, Frame::Rooms(_), Frame::Knock { .. }]), "{told:?}");
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
    assert_eq!(puppet.hear(check(1)).unwrap(), []);
    // Whatever comes first, the word by which it is out still reaches it: no other, and nothing once that was said.
    let said = encode(&world.logs[0][1999].to_signed().unwrap());
    assert_eq!(puppet.input(Input::Push { room: world.room, event: said }).unwrap(), []);
    let word = || encode(&world.control[0].to_signed().unwrap());
    let told = puppet.input(Input::Push { room: world.room, event: word() }).unwrap();
    assert_eq!(told, [Frame::Push { room: ROOM, event: word() }]);
    let offer = puppet.node.offer(&world, Some(credential(&world, R, &world.key(0))));
    let told = puppet.input(Input::Offer(offer)).unwrap();
    assert!(!gets(&told) && told.last() == Some(&Frame::Refused(ROOM)), "{told:?}");
    assert_eq!(puppet.talk.shared().count(), 0);
    assert_eq!(puppet.input(Input::Push { room: world.room, event: word() }).unwrap(), []);
    assert_eq!(puppet.hear(check(1)).unwrap(), [Frame::Refused(ROOM)]);
}

#[test]
fn what_is_queued_for_a_device_that_is_removed_meanwhile_is_not_sent() {
    let world = world();
    for removed in [false, true] {
        let node = member(&world);
        let offer = node.offer(&world, Some(credential(&world, R, &world.key(0))));
        let (mut puppet, _) = Puppet::greeted(R, node, vec![offer], &world);
        puppet.hear(puppet.proof(credential(&world, I, &world.key(1)))).unwrap();
        let room = world.room;
        let top = Tip { seq: 3, id: world.logs[2][2].id() };
        let inputs = [
            Input::Moved { room, class: Class::Content, heads: heads(0, 3) },
            Input::Push { room, event: vec![1] },
            Input::Key { room, circle: [1; 32], key: [2; 32] },
            Input::Recheck(room),
            Input::Frame(want(7, top, 1)),
        ];
        // The node is busy: nothing is taken of what is to be sent, until the room has changed.
        for input in inputs {
            puppet.talk.handle(input, &puppet.node, NOW_MS).unwrap();
        }
        if removed {
            puppet.node.current.remove(&world.key(1).device());
        }
        let mut sent = Vec::new();
        while let Some(output) = puppet.talk.next_output(&puppet.node).unwrap() {
            sent.push(output);
        }
        let tells = |output: &Output| match output {
            Output::Send(Frame::Events { chunk, .. }) => !chunk.is_empty(),
            Output::Send(Frame::Refused(_)) => false,
            Output::Send(_) => true,
            _ => false,
        };
        assert_eq!(sent.iter().filter(|o| tells(o)).count(), if removed { 0 } else { 5 }, "{sent:?}");
    }
}

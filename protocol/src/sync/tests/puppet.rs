//! A peer that sends whatever frames a test makes up, to a conversation of a real node.

use super::link::{NOW_MS, settings};
use super::node::{Node, verify};
use super::world::World;
use crate::codec::encode;
use crate::control::payload::RoomKind;
use crate::id::{DeviceId, EventId};
use crate::identity::Signature;
use crate::log::Tip;
use crate::sync::keys::{Keys, network_name};
use crate::sync::{Conversation, Credential, Failure, Input, Offer, Output, Side};
use crate::wire::{Branch, Frame, Handle, Head, Knock, Proof, SYNC_VERSION, Tag};

/// The conversation under test, and what a peer needs to talk to it.
pub(super) struct Puppet {
    pub(super) talk: Conversation,
    pub(super) node: Node,
    pub(super) keys: Keys,
    /// What it did besides sending.
    pub(super) others: Vec<Output>,
    pub(super) now_ms: u64,
    side: usize,
}

impl Puppet {
    /// The conversation as this side, before anything was said.
    pub(super) fn new(side: usize, node: Node, offers: Vec<Offer>) -> Puppet {
        let talk = Conversation::new(settings(side), offers);
        let keys = Keys { initiator: settings(0).nonce, responder: settings(1).nonce };
        let mut puppet = Puppet { talk, node, keys, others: Vec::new(), now_ms: NOW_MS, side };
        puppet.outputs().unwrap();
        puppet
    }

    /// After the hellos, with the room's tag told; and what it answered to that.
    pub(super) fn greeted(side: usize, node: Node, offers: Vec<Offer>, world: &World) -> (Puppet, Vec<Frame>) {
        let mut puppet = Puppet::new(side, node, offers);
        puppet.hear(hello(puppet.them())).unwrap();
        let tag = puppet.tag(world);
        let answers = puppet.hear(Frame::Rooms(vec![tag])).unwrap();
        (puppet, answers)
    }

    /// A public room shared with a node that holds all of it.
    pub(super) fn public(side: usize, world: &World) -> Puppet {
        let node = Node::with(world);
        let offer = node.offer(world, None);
        Puppet::greeted(side, node, vec![offer], world).0
    }

    /// Our tag for a room, as those say it who were let in.
    pub(super) fn tag(&self, world: &World) -> Tag {
        let inner = if world.kind == RoomKind::Public { world.secret } else { world.inner() };
        self.keys.tag(self.side_of_them(), world.room, &inner)
    }

    /// Our tag for a room that we know by its link alone.
    pub(super) fn outer_tag(&self, world: &World) -> Tag {
        self.keys.tag(self.side_of_them(), world.room, &world.secret)
    }

    /// What the responder calls a room.
    pub(super) fn responder_tag(&self, world: &World) -> Tag {
        self.keys.tag(Side::Responder, world.room, &world.inner())
    }

    /// A knock by us at a room, of which we know the link.
    pub(super) fn knock(&self, world: &World, credential: Credential, introduction: Vec<Vec<u8>>) -> Frame {
        let Credential { device, expires_ms, signature } = credential;
        let text = encode(&Knock { device, expires_ms, signature, introduction });
        let sealed = self.keys.seal_knock(self.side_of_them(), world.room, &world.secret, &text);
        Frame::Knock { tag: self.outer_tag(world), sealed }
    }

    fn side_of_them(&self) -> Side {
        [Side::Initiator, Side::Responder][self.them()]
    }

    fn them(&self) -> usize {
        1 - self.side
    }

    /// Gives it a frame; the frames that it sends then.
    pub(super) fn hear(&mut self, frame: Frame) -> Result<Vec<Frame>, Failure> {
        self.input(Input::Frame(frame))
    }

    pub(super) fn input(&mut self, input: Input) -> Result<Vec<Frame>, Failure> {
        self.talk.handle(input, &self.node, self.now_ms)?;
        self.outputs()
    }

    /// Deals with all ranges that it delivered, as far as they are true.
    pub(super) fn deal(&mut self) {
        for output in std::mem::take(&mut self.others) {
            let Output::Deliver { request, room, log, top, vouched, range, bytes } = output else { continue };
            let bottom = (range.prev, range.first_seq);
            let Ok(events) = verify(room, log, top, vouched, range) else { continue };
            let new = self.node.take(&events);
            let kept = events.iter().any(|event| self.node.event(room, event.id()).is_some());
            if self.input(Input::Delivered { request, bytes, new, kept, bottom }).is_err() {
                return;
            }
        }
    }

    fn outputs(&mut self) -> Result<Vec<Frame>, Failure> {
        let mut frames = Vec::new();
        while let Some(output) = self.talk.next_output(&self.node)? {
            match output {
                Output::Send(frame) | Output::Farewell(frame) => frames.push(frame),
                other => self.others.push(other),
            }
        }
        Ok(frames)
    }

    /// A proof that the peer of this conversation's other side speaks for a device.
    pub(super) fn proof(&self, credential: Credential) -> Frame {
        proof(credential)
    }
}

/// A proof for the first room.
pub(super) fn proof(credential: Credential) -> Frame {
    let Credential { device, expires_ms, signature } = credential;
    Frame::Proof(Proof { room: ROOM, device, expires_ms, signature })
}

/// A want of one branch of the first room.
pub(super) fn want(request: u32, top: Tip, down_to: u64) -> Frame {
    Frame::Want { request, room: ROOM, branches: vec![Branch { top, down_to }] }
}

/// A side's hello.
pub(super) fn hello(side: usize) -> Frame {
    let (network, nonce) = (network_name(""), settings(side).nonce);
    Frame::Hello { version: SYNC_VERSION, network, nonce, credit: crate::limits::CREDIT_MAX }
}

/// A check of nonsense, so that everything differs.
pub(super) fn check(n: u8) -> Frame {
    Frame::Check { room: ROOM, control: [n; 16], content: [n; 16], agreement: [0; 16], beacons: [0; 8] }
}

/// Heads that nobody has.
pub(super) fn heads(from: usize, count: usize) -> Vec<Head> {
    let id = |n: usize| {
        let mut id = [9; 32];
        id[..8].copy_from_slice(&(n as u64).to_be_bytes());
        id
    };
    let head = |n| Head {
        author: DeviceId(id(n)),
        grant: EventId(id(n)),
        tip: Tip { seq: 1000, id: EventId(id(n)) },
        hlc: crate::event::Hlc(n as u64),
    };
    (from..from + count).map(head).collect()
}

/// A credential that says nothing true.
pub(super) const NO_CREDENTIAL: Credential =
    Credential { device: DeviceId([3; 32]), expires_ms: NOW_MS + 1, signature: Signature([0; 64]) };
/// The handle of the first room.
pub(super) const ROOM: Handle = Handle(0);

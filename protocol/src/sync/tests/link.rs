//! Two conversations and what lies between them: queues that count bytes, and the work that each node does for its own.

use super::node::{Node, verify, verify_alone};
use super::world::World;
use crate::beacon::SignedBeacon;
use crate::codec::encode;
use crate::event::Class;
use crate::id::RoomId;
use crate::identity::DeviceKey;
use crate::limits::{CHUNK_LEN_MAX, CREDIT_MAX, FRAME_LEN_MAX, WANTS_MAX};
use crate::log::{Log, Tip};
use crate::range::{Range, Vouched};
use crate::slots::Weighed;
use crate::sync::serve::cost;
use crate::sync::{Agreed, Conversation, Credential, Failure, Input, Offer, Output, Settings, Side};
use crate::wire::Frame;
use std::collections::{BTreeMap, VecDeque};

/// One end: a node, its side of the conversation, and what came of it.
pub(super) struct End {
    pub(super) node: Node,
    pub(super) talk: Conversation,
    pub(super) failure: Option<Failure>,
    /// The last agreement on each room, in this conversation.
    pub(super) agreed: BTreeMap<RoomId, Agreed>,
    pub(super) shared: Vec<RoomId>,
    pub(super) refused: Vec<RoomId>,
    /// How often it found that both have the same control events.
    pub(super) same_control: usize,
    pub(super) rested: Vec<RoomId>,
    /// Ranges in the order in which they came.
    pub(super) ranges: Vec<(Log, Tip, usize)>,
    /// What was sent: all bytes, those of frames of events, and frames.
    pub(super) sent: Sent,
    /// The frames that it got.
    pub(super) heard: Vec<Vec<u8>>,
    /// Beacons that it got and did not have.
    pub(super) news: Vec<SignedBeacon>,
    /// Introductions wait until the test lets them in.
    pub(super) holds_introductions: bool,
    /// The keys of sealed tips that it was told, and by which device.
    pub(super) keys: Vec<(crate::id::DeviceId, [u8; 32], [u8; 32])>,
    /// What it offers of rooms that it is joining.
    joins: Vec<Offer>,
    inbox: VecDeque<Vec<u8>>,
    todo: VecDeque<Todo>,
}

/// Bytes with their length prefixes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sent {
    pub(super) all: usize,
    pub(super) events: usize,
    pub(super) frames: usize,
    /// Most of it that was under way at once.
    pub(super) in_flight_max: i64,
    in_flight: i64,
    asked: usize,
}

/// What a conversation asked its node to do.
enum Todo {
    Deliver { request: u32, room: RoomId, log: Log, top: Tip, vouched: Vouched, range: Range, bytes: u32 },
    Introduce { room: RoomId, events: Vec<Vec<u8>> },
    Pushed { event: Vec<u8> },
    Beacons { room: RoomId, beacons: Vec<SignedBeacon> },
}

/// Two ends.
pub(super) struct Link {
    pub(super) ends: [End; 2],
    pub(super) now_ms: u64,
}

pub(super) const I: usize = 0;
pub(super) const R: usize = 1;

impl Link {
    pub(super) fn new(nodes: [Node; 2], offers: [Vec<Offer>; 2]) -> Link {
        let mut offers = offers.into_iter();
        let mut side = 0;
        let ends = nodes.map(|node| {
            side += 1;
            let offers = offers.next().unwrap();
            let joins = offers.iter().filter(|offer| offer.joining).cloned().collect();
            End { joins, ..End::new(node, Conversation::new(settings(side - 1), offers)) }
        });
        let mut link = Link { ends, now_ms: NOW_MS };
        link.drain(I);
        link
    }

    /// Two nodes that both offer a world's public room.
    pub(super) fn public(nodes: [Node; 2], world: &World) -> Link {
        let offers = [vec![nodes[0].offer(world, None)], vec![nodes[1].offer(world, None)]];
        Link::new(nodes, offers)
    }

    /// Two nodes that offer a members' room, each as the device of one of its authors.
    pub(super) fn members(mut nodes: [Node; 2], world: &World) -> Link {
        let offers = [I, R].map(|side| vec![nodes[side].offer(world, Some(credential(world, side, &world.key(side))))]);
        nodes.iter_mut().for_each(|n| n.current.extend([world.key(I).device(), world.key(R).device()]));
        Link::new(nodes, offers)
    }

    /// Delivers and performs everything, in turns, until nothing moves.
    pub(super) fn pump(&mut self) -> &mut Link {
        for _ in 0..STEPS_MAX {
            let moved = [I, R].map(|side| self.perform(side) | self.receive(side));
            if moved == [false, false] {
                return self;
            }
        }
        panic!("still talking after {STEPS_MAX} steps");
    }

    /// Delivers what is under way now, both ways, and nothing that is sent meanwhile.
    pub(super) fn trip(&mut self) {
        let counts = [I, R].map(|side| self.ends[side].inbox.len());
        for side in [I, R] {
            for _ in 0..counts[side] {
                self.receive(side);
            }
            while self.perform(side) {}
        }
    }

    /// Whether an end could do something now: (a frame waits, work waits).
    pub(super) fn waits(&self, side: usize) -> (bool, bool) {
        let end = &self.ends[side];
        let works = end.failure.is_none();
        let held = end.holds_introductions && matches!(end.todo.front(), Some(Todo::Introduce { .. }));
        (works && !end.inbox.is_empty(), works && !end.todo.is_empty() && !held)
    }

    /// Gives an end its next frame.
    pub(super) fn receive(&mut self, side: usize) -> bool {
        if !self.waits(side).0 {
            return false;
        }
        let Some(bytes) = self.ends[side].inbox.pop_front() else { return false };
        let frame = Frame::from_bytes(&bytes).unwrap();
        self.ends[side].heard.push(bytes);
        let sent = &mut self.ends[side].sent;
        match &frame {
            Frame::Events { last: true, .. } => sent.asked -= 1,
            Frame::Credit(bytes) => sent.in_flight -= i64::from(*bytes),
            _ => {}
        }
        self.input(side, Input::Frame(frame));
        true
    }

    /// Does the next work that an end's conversation asked for.
    pub(super) fn perform(&mut self, side: usize) -> bool {
        if !self.waits(side).1 {
            return false;
        }
        let Some(todo) = self.ends[side].todo.pop_front() else { return false };
        self.work(side, todo);
        // A node whose genesis has come calls the room as members do.
        for renewed in self.ends[side].renewed() {
            self.input(side, Input::Offer(renewed));
        }
        true
    }

    fn work(&mut self, side: usize, todo: Todo) {
        let end = &mut self.ends[side];
        match todo {
            Todo::Deliver { request, room, log, top, vouched, range, bytes } => {
                let bottom = (range.prev, range.first_seq);
                end.ranges.push((log, top, range.rows.len()));
                match verify(room, log, top, vouched, range) {
                    Ok(events) => {
                        let new = end.node.take(&events);
                        let kept = events.iter().any(|event| end.node.event(room, event.id()).is_some());
                        self.input(side, Input::Delivered { request, bytes, new, kept, bottom });
                    }
                    Err(error) if error.may_be_honest(vouched) => self.input(side, Input::Untrue { request, bytes }),
                    Err(error) => end.failure = Some(error.into()),
                }
            }
            Todo::Introduce { room, events } => {
                for event in events {
                    let event = verify_alone(&event);
                    end.node.current.insert(event.header().author);
                    end.node.take(&[event]);
                }
                self.input(side, Input::Introduced(room));
            }
            Todo::Beacons { room, beacons } => {
                for beacon in beacons {
                    if end.node.slots.weigh(&beacon, self.now_ms) == Weighed::New {
                        end.news.push(beacon.clone());
                        end.node.slots.take(beacon.verify(room).unwrap());
                    }
                }
            }
            Todo::Pushed { event } => {
                let event = verify_alone(&event);
                let (room, early) = (event.room(), end.node.came_early);
                end.node.take(&[event]);
                // What it waits for is missing here, so compare.
                if end.node.came_early > early {
                    self.input(side, Input::Gap(room));
                }
            }
        }
    }

    /// Gives a conversation an input, and sends what it wants sent.
    pub(super) fn input(&mut self, side: usize, input: Input) {
        let end = &mut self.ends[side];
        if end.failure.is_some() {
            return;
        }
        end.failure = end.talk.handle(input, &end.node, self.now_ms).err();
        self.drain(side);
    }

    fn drain(&mut self, side: usize) {
        while self.ends[side].failure.is_none() {
            let end = &mut self.ends[side];
            match end.talk.next_output(&end.node) {
                Ok(Some(Output::Send(frame) | Output::Farewell(frame))) => self.send(side, &frame),
                Ok(Some(output)) => end.note(output),
                Ok(None) => return,
                Err(failure) => end.failure = Some(failure),
            }
        }
    }

    fn send(&mut self, side: usize, frame: &Frame) {
        let bytes = frame.to_bytes();
        assert!(bytes.len() <= FRAME_LEN_MAX);
        assert_eq!(Frame::from_bytes(&bytes).as_ref(), Ok(frame));
        let sent = &mut self.ends[side].sent;
        sent.all += bytes.len() + 4;
        sent.frames += 1;
        match frame {
            Frame::Events { chunk, .. } => {
                sent.events += bytes.len() + 4;
                sent.in_flight += if chunk.is_empty() { 0 } else { i64::from(cost(chunk)) };
                sent.in_flight_max = sent.in_flight_max.max(sent.in_flight);
            }
            Frame::Want { branches, .. } => sent.asked += branches.len(),
            _ => {}
        }
        assert!(sent.in_flight <= i64::from(CREDIT_MAX) + CHUNK_LEN_MAX as i64, "{sent:?}");
        assert!(sent.asked <= WANTS_MAX);
        self.ends[1 - side].inbox.push_back(bytes);
    }

    /// Logs an event at a node; tells the peer by a push, an announcement, or not at all.
    pub(super) fn say(&mut self, side: usize, event: &super::world::Event, tell: Tell) {
        let (room, log) = (event.room(), event.log());
        self.ends[side].node.take(std::slice::from_ref(event));
        match tell {
            Tell::Push => {
                let event = encode(&event.to_signed().unwrap());
                self.input(side, Input::Push { room, event });
            }
            Tell::Moved => {
                let heads = self.ends[side].node.heads_of(room, &log);
                self.input(side, Input::Moved { room, class: log.class, heads });
            }
            Tell::Nothing => {}
        }
    }

    /// That nothing failed, both hold the same of the room, and both know it.
    pub(super) fn assert_agreed(&self, room: RoomId) {
        self.assert_equal(room);
        for side in [I, R] {
            let end = &self.ends[side];
            let now = crate::sync::Holdings::digests(&end.node, room).unwrap();
            let agreed = end.agreed.get(&room).unwrap_or_else(|| panic!("side {side} did not agree"));
            assert_eq!(agreed.token, crate::sync::keys::agreement_token(&now), "side {side} agreed on something else");
            assert!(!end.talk.is_waiting());
        }
    }

    /// That nothing failed and both hold the same of the room.
    pub(super) fn assert_equal(&self, room: RoomId) {
        assert_eq!(self.failures(), [None, None]);
        let [a, b] = [I, R].map(|side| self.ends[side].node.ids(room));
        assert_eq!((a.difference(&b).count(), b.difference(&a).count()), (0, 0));
    }

    pub(super) fn failures(&self) -> [Option<Failure>; 2] {
        [self.ends[I].failure, self.ends[R].failure]
    }

    /// Bytes of both sides: all, and those that are not frames of events.
    pub(super) fn bytes(&self) -> (usize, usize) {
        let all = self.ends[I].sent.all + self.ends[R].sent.all;
        (all, all - self.ends[I].sent.events - self.ends[R].sent.events)
    }
}

/// How a peer gets to know of a new event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tell {
    Push,
    Moved,
    Nothing,
}

impl End {
    fn new(node: Node, talk: Conversation) -> End {
        End {
            node,
            talk,
            failure: None,
            agreed: BTreeMap::new(),
            shared: Vec::new(),
            refused: Vec::new(),
            same_control: 0,
            rested: Vec::new(),
            ranges: Vec::new(),
            sent: Sent::default(),
            heard: Vec::new(),
            news: Vec::new(),
            holds_introductions: false,
            keys: Vec::new(),
            joins: Vec::new(),
            inbox: VecDeque::new(),
            todo: VecDeque::new(),
        }
    }

    fn note(&mut self, output: Output) {
        match output {
            Output::Send(_) | Output::Farewell(_) | Output::Closed(_) => {}
            Output::Asked { .. } | Output::Answered { .. } => {}
            Output::SameControl(_) => self.same_control += 1,
            Output::Deliver { request, room, log, top, vouched, range, bytes } => {
                self.todo.push_back(Todo::Deliver { request, room, log, top, vouched, range, bytes });
            }
            Output::Introduce { room, events } => self.todo.push_back(Todo::Introduce { room, events }),
            Output::Pushed { event, .. } => self.todo.push_back(Todo::Pushed { event }),
            Output::Beacons { room, beacons } => self.todo.push_back(Todo::Beacons { room, beacons }),
            Output::Shared(room) => self.shared.push(room),
            Output::Refused(room) => self.refused.push(room),
            Output::Rested(room) => self.rested.push(room),
            Output::Key { device, circle, key, .. } => self.keys.push((device, circle, key)),
            Output::Agreed { room, agreed } => {
                self.agreed.insert(room, agreed);
                self.node.agreements.insert(room, agreed);
            }
        }
    }

    fn renewed(&mut self) -> Vec<Offer> {
        let renewed: Vec<Offer> = self.joins.iter().filter_map(|offer| self.node.renewed(offer)).collect();
        self.joins.retain(|offer| renewed.iter().all(|r| r.room != offer.room));
        renewed
    }

    /// Seqs of the content ranges of a log, in the order in which they came: (lowest, highest).
    pub(super) fn spans(&self, class: Class) -> Vec<(u64, u64)> {
        let spans = self.ranges.iter().filter(|(log, ..)| log.class == class);
        spans.map(|(_, top, count)| (top.seq + 1 - *count as u64, top.seq)).collect()
    }
}

/// What each side of a test's conversation says of itself.
pub(super) fn settings(side: usize) -> Settings {
    Settings {
        side: [Side::Initiator, Side::Responder][side],
        network: String::new(),
        nonce: [side as u8 + 1; 16],
        us: peer(side),
        them: peer(1 - side),
    }
}

/// The PeerId of a side.
pub(super) fn peer(side: usize) -> Vec<u8> {
    vec![side as u8; 38]
}

/// A device's word for the peer of a side.
pub(super) fn credential(world: &World, side: usize, key: &DeviceKey) -> Credential {
    Credential::issue(key, world.room, &peer(side), NOW_MS + 1000)
}

pub(super) const NOW_MS: u64 = 1_700_000_000_000;
const STEPS_MAX: usize = 2_000_000;

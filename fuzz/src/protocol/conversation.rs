//! One side of a whole sync conversation, against a peer that the bytes drive. The peer is a real conversation, too, so that
//! honest frames come in good order; the bytes say which of them come changed, twice, late or never, and what else comes.
//!
//! It has to end; nothing gets in that nobody said; each input is answered by little; and a stranger is told nothing.

use super::feed::Feed;
use super::made::{Known, made};
use super::node::Node;
use super::world::{NOW_MS, WORLDS, Who, World, peer};
use std::collections::VecDeque;
use tidings_protocol::answer;
use tidings_protocol::codec::encode;
use tidings_protocol::event::{Class, Hlc, SignedEvent};
use tidings_protocol::limits::{CHUNK_LEN_MAX, CREDIT_MAX, FRAME_LEN_MAX, RECONCILE_LEN_MAX};
use tidings_protocol::sync::{Conversation, Failure, Holdings, Input, Output, Settings, Side};
use tidings_protocol::wire::Frame;

/// What became of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Why, if the conversation ended it.
    pub failure: Option<Failure>,
    /// Whether both hold the same, and something.
    pub is_equal: bool,
    /// Frames that it heard.
    pub heard: usize,
}

/// The target.
pub fn conversation(bytes: &[u8]) {
    let _ended = talk(bytes);
}

/// Plays what the bytes say.
pub fn talk(bytes: &[u8]) -> Ended {
    let mut feed = Feed::new(bytes);
    let mut table = Table::laid(&mut feed);
    for _ in 0..TURNS_MAX {
        if feed.is_empty() || table.subject.failure.is_some() {
            break;
        }
        table.turn(&mut feed);
    }
    let Table { subject, twin, heard, .. } = table;
    let is_equal = subject.node.ids() == twin.node.ids() && !subject.node.ids().is_empty();
    Ended { failure: subject.failure, is_equal, heard }
}

/// Both ends.
struct Table {
    world: &'static World,
    subject: End,
    /// The honest peer, as long as it bears what it hears.
    twin: End,
    is_stranger: bool,
    /// Frames of the twin that the subject has not heard.
    inbox: VecDeque<Frame>,
    known: Known,
    now_ms: u64,
    heard: usize,
}

/// One end.
struct End {
    talk: Conversation,
    node: Node,
    failure: Option<Failure>,
    side: usize,
    who: Who,
}

impl Table {
    /// Two bytes say who talks about what, and what each holds.
    fn laid(feed: &mut Feed<'_>) -> Table {
        let (how, what) = (feed.u8(), feed.u8());
        let side = usize::from(how & 1);
        let (world, whos) = match (how >> 1) % 4 {
            0 => (&WORLDS[0], [Who::Member, Who::Member]),
            1 => (&WORLDS[1], [Who::Member, Who::Member]),
            2 => (&WORLDS[1], [Who::Member, Who::Stranger]),
            _ => (&WORLDS[1], [Who::Newcomer, Who::Member]),
        };
        let is_stranger = whos[1] == Who::Stranger;
        let subject = End::new(world, side, whos[0], what);
        let twin = End::new(world, 1 - side, whos[1], what >> 4);
        let mut table = Table {
            world,
            subject,
            twin,
            is_stranger,
            inbox: VecDeque::new(),
            known: Known::default(),
            now_ms: NOW_MS,
            heard: 0,
        };
        table.drain();
        table.drain_twin();
        table
    }

    fn turn(&mut self, feed: &mut Feed<'_>) {
        match feed.u8() % 16 {
            0..=3 => self.hear_next(),
            4 => (0..feed.u8() % 64).for_each(|_| self.hear_next()),
            5 | 6 => {
                if let Some(frame) = self.inbox.pop_front() {
                    self.hear_changed(&frame, feed);
                }
            }
            7 => {
                if let Some(frame) = self.inbox.front().cloned() {
                    self.hear(frame);
                }
            }
            8 => drop(self.inbox.pop_front()),
            9 => {
                let late = self.inbox.pop_front();
                self.inbox.extend(late);
            }
            // What does not read would end a real conversation; here it goes on, to get further.
            10 => self.hear_bytes(feed.piece()),
            11..=13 => {
                let frame = made(feed, self.world, &self.known);
                // Too many of something can be built, and not sent.
                self.hear_bytes(&frame.to_bytes());
            }
            14 => self.node_says(feed),
            _ => self.peer_says(feed),
        }
    }

    fn hear_next(&mut self) {
        if let Some(frame) = self.inbox.pop_front() {
            self.hear(frame);
        }
    }

    fn hear_changed(&mut self, frame: &Frame, feed: &mut Feed<'_>) {
        let mut bytes = frame.to_bytes();
        for _ in 0..feed.u8() % 4 {
            let at = usize::from(feed.u16()) % bytes.len();
            bytes[at] = feed.u8();
        }
        self.hear_bytes(&bytes);
    }

    fn hear_bytes(&mut self, bytes: &[u8]) {
        if let Ok(frame) = Frame::from_bytes(bytes) {
            self.hear(frame);
        }
    }

    fn hear(&mut self, frame: Frame) {
        self.known.heard(&frame);
        self.heard += 1;
        self.input(Input::Frame(frame));
    }

    /// Gives the subject an input, and performs all that it wants done.
    fn input(&mut self, input: Input) {
        if self.subject.failure.is_none() {
            self.subject.failure = self.subject.talk.handle(input, &self.subject.node, self.now_ms).err();
        }
        self.drain();
        self.drain_twin();
    }

    fn drain(&mut self) {
        let (mut count, mut len, mut work) = (0, 0, VecDeque::new());
        while self.subject.failure.is_none() {
            match self.subject.talk.next_output(&self.subject.node) {
                Ok(Some(Output::Send(frame) | Output::Farewell(frame))) => {
                    count += 1;
                    len += self.sent(frame);
                    assert!(count <= ANSWERS_MAX && len <= ANSWERS_LEN_MAX, "{count} frames of {len} bytes at once");
                }
                Ok(Some(output)) => {
                    assert!(!self.is_stranger || !matches!(output, Output::Shared(_) | Output::Agreed { .. }));
                    work.push_back(output);
                    assert!(work.len() <= ANSWERS_MAX, "{} things to do at once", work.len());
                }
                Ok(None) => break,
                Err(failure) => self.subject.failure = Some(failure),
            }
        }
        for output in work {
            if let Some(input) = self.subject.perform(self.world, output) {
                self.input(input);
            }
        }
        self.subject.renew(self.world, self.now_ms);
    }

    /// A frame by the subject: reads as what it is, says nothing to a stranger; and the twin hears it.
    fn sent(&mut self, frame: Frame) -> usize {
        let bytes = frame.to_bytes();
        assert!(bytes.len() <= FRAME_LEN_MAX);
        assert_eq!(Frame::from_bytes(&bytes).as_ref(), Ok(&frame));
        if self.is_stranger {
            let is_empty = matches!(&frame, Frame::Events { chunk, .. } if chunk.is_empty());
            let is_open = matches!(frame, Frame::Hello { .. } | Frame::Rooms(_) | Frame::Refused(_) | Frame::Credit(_));
            assert!(is_empty || is_open, "a stranger is told {frame:?}");
        }
        self.known.sent(&frame);
        self.twin.hear(frame, self.now_ms);
        bytes.len()
    }

    fn drain_twin(&mut self) {
        for _ in 0..ANSWERS_MAX {
            if self.twin.failure.is_some() {
                return;
            }
            match self.twin.talk.next_output(&self.twin.node) {
                Ok(Some(Output::Send(frame) | Output::Farewell(frame))) => self.inbox.push_back(frame),
                Ok(Some(output)) => {
                    let input = self.twin.perform(self.world, output);
                    input.into_iter().for_each(|input| self.twin.input(input, self.now_ms));
                }
                Ok(None) => break,
                Err(failure) => self.twin.failure = Some(failure),
            }
        }
        self.twin.renew(self.world, self.now_ms);
    }

    /// Something happens on the subject's node.
    fn node_says(&mut self, feed: &mut Feed<'_>) {
        let (world, room) = (self.world, self.world.room);
        let class = if feed.u8().is_multiple_of(2) { Class::Content } else { Class::Control };
        let at = usize::from(feed.u8());
        let event = &world.events[at % world.events.len()];
        let input = match feed.u8() % 14 {
            0 => Input::Recheck(room),
            1 => Input::Gap(room),
            2 => Input::Moved { room, class, heads: self.subject.node.heads(room, class, 0).unwrap_or_default() },
            3 | 4 => {
                self.subject.node.take(event);
                let Some(signed) = event.to_signed() else { return };
                Input::Push { room, event: encode(&signed) }
            }
            5 => Input::Key { room, circle: [1; 32], key: [2; 32] },
            6 => Input::Beacons { room, beacons: world.beacons.clone() },
            7 => Input::Offer(world.offer(self.subject.side, self.subject.who)),
            8 => Input::Withdraw(room),
            9 => Input::Introduced(room),
            10 => {
                self.subject.node.leased = !self.subject.node.leased;
                Input::Resume(room)
            }
            // A member is removed, or the disk fails.
            11 => {
                let device = world.members().nth(at % 4).unwrap();
                if !self.subject.node.current.remove(&device) {
                    self.subject.node.current.insert(device);
                }
                Input::Offer(world.offer(self.subject.side, self.subject.who))
            }
            12 => Input::Ask { room, nonce: [feed.u8(); 16] },
            _ => {
                self.subject.node.broken.set(at > 250);
                Input::Recheck(room)
            }
        };
        self.input(input);
    }

    /// Something happens on the peer's node, or time passes.
    fn peer_says(&mut self, feed: &mut Feed<'_>) {
        let (world, room) = (self.world, self.world.room);
        let at = usize::from(feed.u8());
        let event = &world.events[at % world.events.len()];
        let input = match feed.u8() % 7 {
            0 => Input::Recheck(room),
            1 | 2 => {
                self.twin.node.take(event);
                let heads = self.twin.node.heads(room, event.log().class, 0).unwrap_or_default();
                Input::Moved { room, class: event.log().class, heads }
            }
            3 => Input::Beacons { room, beacons: world.beacons.clone() },
            4 => Input::Offer(world.offer(self.twin.side, self.twin.who)),
            5 => Input::Ask { room, nonce: [feed.u8(); 16] },
            _ => {
                self.now_ms += at as u64 * 1000;
                Input::Recheck(room)
            }
        };
        self.twin.input(input, self.now_ms);
        self.drain_twin();
    }
}

impl End {
    fn new(world: &'static World, side: usize, who: Who, what: u8) -> End {
        let mut node = Node::new(world);
        let beacons = usize::from(what & 7);
        let seq_max = if what & 8 == 0 { u64::MAX } else { 9 };
        let is_of = |n: usize| world.by_id.len() > n;
        match (who, what % 4) {
            (Who::Newcomer | Who::Stranger, _) => {}
            (_, 0) => node.take_some(|_| is_of(0), beacons),
            (_, 1) => node.take_some(
                |event| event.header().seq <= seq_max && event.id().0[0] % 3 != 1 || is_control(event),
                beacons,
            ),
            (_, 2) => node.take_some(is_control, beacons),
            // Of a public room nothing is a beginning, too.
            _ if world.kind == tidings_protocol::control::payload::RoomKind::Public => {}
            _ => node.take_some(|event| event.header().seq <= 5, beacons),
        }
        let side_of = [Side::Initiator, Side::Responder];
        let nonce = [side as u8 + 1; 16];
        let settings =
            Settings { side: side_of[side], network: String::new(), nonce, us: peer(side), them: peer(1 - side) };
        let talk = Conversation::new(settings, vec![world.offer(side, who)]);
        End { talk, node, failure: None, side, who }
    }

    fn hear(&mut self, frame: Frame, now_ms: u64) {
        self.input(Input::Frame(frame), now_ms);
    }

    fn input(&mut self, input: Input, now_ms: u64) {
        if self.failure.is_none() {
            self.failure = self.talk.handle(input, &self.node, now_ms).err();
        }
    }

    /// What a node does for its conversation; what it has to tell it then.
    fn perform(&mut self, world: &World, output: Output) -> Option<Input> {
        match output {
            Output::Deliver { request, room, log, top, vouched, range, bytes } => {
                let bottom = (range.prev, range.first_seq);
                match range.verify(room, log, top, vouched) {
                    Ok(events) => {
                        let new = events.iter().filter(|event| self.node.take(event)).count() > 0;
                        let kept = events.iter().any(|event| self.node.ids().contains(&event.id()));
                        Some(Input::Delivered { request, bytes, new, kept, bottom })
                    }
                    Err(error) if error.may_be_honest(vouched) => Some(Input::Untrue { request, bytes }),
                    Err(error) => {
                        self.failure = Some(error.into());
                        None
                    }
                }
            }
            // Of a room that is not public nobody is let in by a word that no invite stands behind.
            Output::Introduce { room, .. } => Some(Input::Introduced(room)),
            Output::Pushed { event, .. } => {
                match SignedEvent::decode(&event).ok().and_then(|event| event.verify().ok()) {
                    Some(event) if event.room() != world.room || encode(&event.to_signed()?) == world.join => None,
                    Some(event) if self.node.take(&event) => None,
                    Some(_) => Some(Input::Gap(world.room)),
                    None => {
                        self.failure = Some(Failure::Unexpected("a false event"));
                        None
                    }
                }
            }
            Output::Beacons { beacons, .. } => {
                if beacons.into_iter().any(|beacon| self.node.take_beacon(beacon).is_err()) {
                    self.failure = Some(Failure::Unexpected("a false beacon"));
                }
                None
            }
            Output::Asked { room, nonce } => {
                let digests = self.node.digests(room).ok()?;
                let (hlc, control, content) = (Hlc::at_ms(1), digests.control, digests.content);
                let draft = answer::Draft { room, nonce, hlc, control, content, durable: true };
                Some(Input::Answer { room, answer: draft.sign(&world.key(self.side as u8)) })
            }
            Output::Answered { room, answer } => {
                self.failure = answer.verify(room).err().map(|_| Failure::Unexpected("a false answer"));
                None
            }
            Output::Agreed { agreed, .. } => {
                self.node.agreed = Some(agreed);
                None
            }
            _ => None,
        }
    }

    /// A node whose genesis has come calls the room as members do.
    fn renew(&mut self, world: &World, now_ms: u64) {
        if self.who == Who::Newcomer && self.node.ids().contains(&world.room.into()) {
            self.who = Who::Member;
            self.input(Input::Offer(world.offer(self.side, self.who)), now_ms);
        }
    }
}

fn is_control(event: &tidings_protocol::event::VerifiedEvent) -> bool {
    event.header().class == Class::Control
}

/// Turns of one input.
const TURNS_MAX: usize = 400;
/// Frames by which one input is answered, and things to be done for it: the wants of a peer all at once, its room closed.
const ANSWERS_MAX: usize = 160;
/// Their bytes: what credit allows, one chunk more, and symbols.
const ANSWERS_LEN_MAX: usize = CREDIT_MAX as usize + CHUNK_LEN_MAX + 2 * RECONCILE_LEN_MAX;

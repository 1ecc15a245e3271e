//! The conversation as a whole: hello, what comes in, and what is to be done in which order.

use super::budget::PerMinute;
use super::fetch::Fetcher;
use super::keys::{Keys, network_name};
use super::rooms::Room;
use super::serve::{Server, Wanted};
use super::{Failure, Holdings, Input, Offer, Output, Settings, Side};
use crate::control::payload::RoomKind;
use crate::event::Class;
use crate::id::RoomId;
use crate::limits::{CREDIT_MAX, ROOMS_MAX};
use crate::wire::{Branch, Frame, Handle, SYNC_VERSION, Tag};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Tags that one side has told, and the first place of each.
#[derive(Default)]
pub(super) struct Tags {
    pub(super) places: BTreeMap<Tag, u16>,
    count: usize,
}

impl Tags {
    /// A tag is told, perhaps again: its place stays the first.
    pub(super) fn tell(&mut self, tag: Tag) {
        let place = u16::try_from(self.count).unwrap_or(u16::MAX);
        self.places.entry(tag).or_insert(place);
        self.count = self.count.saturating_add(1);
    }
}

/// One side of a conversation with one peer.
pub struct Conversation {
    pub(super) settings: Settings,
    pub(super) keys: Option<Keys>,
    /// Boxed: a map has room for eleven from its first entry on, and a conversation often has one.
    pub(super) rooms: BTreeMap<RoomId, Box<Room>>,
    pub(super) handles: BTreeMap<Handle, RoomId>,
    /// Our rooms that wait for the hellos.
    pub(super) early_rooms: Vec<RoomId>,
    /// What the other side would call our rooms.
    pub(super) expected: BTreeMap<Tag, RoomId>,
    /// What the other side would call rooms into which it asks to be let.
    pub(super) knocks: BTreeMap<Tag, RoomId>,
    /// Our tags and the other side's, and their first places among all told.
    pub(super) our_tags: Tags,
    pub(super) their_tags: Tags,
    /// Proofs that opened nothing, and knocks.
    pub(super) proofs: PerMinute,
    pub(super) knocked: PerMinute,
    pub(super) fetcher: Fetcher,
    pub(super) server: Server,
    /// Bytes of frames that wait for a control log, of all rooms.
    pub(super) early_len: usize,
    pub(super) now_ms: u64,
    pub(super) out: VecDeque<Output>,
}

impl Conversation {
    /// A conversation about these rooms. The initiator's first outputs are there at once.
    pub fn new(settings: Settings, offers: Vec<Offer>) -> Self {
        let mut conversation = Conversation {
            keys: None,
            rooms: BTreeMap::new(),
            handles: BTreeMap::new(),
            early_rooms: Vec::new(),
            expected: BTreeMap::new(),
            knocks: BTreeMap::new(),
            our_tags: Tags::default(),
            their_tags: Tags::default(),
            proofs: PerMinute::default(),
            knocked: PerMinute::default(),
            fetcher: Fetcher::default(),
            server: Server::default(),
            early_len: 0,
            now_ms: 0,
            out: VecDeque::new(),
            settings,
        };
        for offer in offers.into_iter().take(ROOMS_MAX) {
            conversation.early_rooms.push(offer.room);
            conversation.rooms.insert(offer.room, Box::new(Room::new(offer)));
        }
        if conversation.settings.side == Side::Initiator {
            conversation.send(conversation.hello());
        }
        conversation
    }

    /// Takes an input; what is to be done is in `next_output`.
    ///
    /// # Errors
    /// `Failure`: the conversation is over; the connection may be too.
    pub fn handle(&mut self, input: Input, held: &dyn Holdings, now_ms: u64) -> Result<(), Failure> {
        self.now_ms = now_ms;
        match input {
            Input::Frame(frame) => self.frame(frame, held)?,
            Input::Offer(offer) => self.offer(offer, held)?,
            Input::Withdraw(room) => self.withdraw(room),
            Input::Introduced(room) => self.introduced(room, held)?,
            Input::Delivered { request, bytes, new, kept, bottom } => {
                self.delivered(request, bytes, new, (kept, bottom), held)?;
            }
            Input::Untrue { request, bytes } => self.untrue(request, bytes, held)?,
            Input::Resume(room) => self.resume(room, held)?,
            Input::Moved { room, class, heads } => {
                if let Some(handle) = self.audience_of(room, class, held)? {
                    self.tell_moved(handle, class, &heads);
                }
            }
            Input::Push { room, event } => self.push(room, event, held)?,
            Input::Key { room, circle, key } => {
                let told = self.rooms.get(&room).is_some_and(|r| r.offer.kind != RoomKind::Public);
                if let Some(room) = self.full_audience(room, held)?.filter(|_| told) {
                    self.send(Frame::Key { room, circle, key });
                }
            }
            Input::Recheck(room) => {
                if let Some(room) = self.rooms.get_mut(&room) {
                    room.holes_asked = false;
                    room.lacked.clear();
                }
                self.recheck(room, held)?;
            }
            Input::Gap(room) => self.recheck(room, held)?,
            Input::Beacons { room, beacons } => self.tell_beacons(room, beacons, held)?,
            Input::Ask { room, nonce } => self.tell_ask(room, nonce, held)?,
            Input::Answer { room, answer } => self.tell_answer(room, answer, held)?,
        }
        // What is passed over may end an exchange, and that may find more to ask for.
        loop {
            let passed = self.ask(held)?;
            if passed.is_empty() {
                return Ok(());
            }
            for room in passed {
                self.settle(Some(room), held)?;
            }
        }
    }

    /// What is to be done next, in order. Answers to wants are made only when all else was taken.
    ///
    /// # Errors
    /// `Failure::Unavailable`.
    pub fn next_output(&mut self, held: &dyn Holdings) -> Result<Option<Output>, Failure> {
        while let Some(output) = self.out.pop_front() {
            // Between the thought and the word the peer may have been shut out.
            if !self.is_overtaken(&output, held)? {
                return Ok(Some(output));
            }
        }
        let rooms = &self.rooms;
        let sees = |id, class| match (rooms.get(&id), class) {
            (Some(room), Class::Control) => room.sees(held),
            (Some(room), Class::Content) => room.sees_content(held),
            (None, _) => Ok(false),
        };
        let Some((id, frame)) = self.server.next(held, sees)? else { return Ok(None) };
        let serves = matches!(&frame, Frame::Events { chunk, .. } if !chunk.is_empty());
        if let Some(room) = self.rooms.get_mut(&id).filter(|_| serves) {
            room.exchanges.served(self.now_ms);
        }
        Ok(Some(Output::Send(frame)))
    }

    /// Whether the next output may be a piece of history, which takes long to make.
    pub fn is_serving(&self) -> bool {
        self.server.is_busy()
    }

    /// Whether this would tell a peer of a room that it may no longer see.
    fn is_overtaken(&self, output: &Output, held: &dyn Holdings) -> Result<bool, Failure> {
        let Output::Send(frame) = output else { return Ok(false) };
        let room = frame.tells_of().and_then(|handle| self.rooms.get(self.handles.get(&handle)?));
        match room.filter(|room| room.offer.kind != RoomKind::Public) {
            Some(room) => Ok(!room.is_heard(held)?),
            None => Ok(false),
        }
    }

    /// Whether the peer owes us an answer.
    pub fn is_waiting(&self) -> bool {
        self.keys.is_none() || self.waiting_since_ms().is_some()
    }

    /// Since when, after its hello, the peer has sent nothing of what it owes us. Other frames do not count.
    pub fn waiting_since_ms(&self) -> Option<u64> {
        let lists = self.rooms.values().filter_map(|r| r.exchanges.waiting_since_ms());
        lists.chain(self.fetcher.waiting_since_ms()).min()
    }

    /// Rooms that the peer may see and has.
    pub fn shared(&self) -> impl Iterator<Item = RoomId> + '_ {
        self.rooms.iter().filter(|(_, r)| r.proven && r.handle.is_some()).map(|(id, _)| *id)
    }

    /// Whether the other side is in this room, and holds the same control events.
    pub fn agrees_on_control(&self, room: RoomId) -> bool {
        self.rooms.get(&room).is_some_and(|r| r.shared && r.same_control.is_some())
    }

    pub(super) fn send(&mut self, frame: Frame) {
        self.out.push_back(Output::Send(frame));
    }

    fn hello(&self) -> Frame {
        let network = network_name(&self.settings.network);
        Frame::Hello { version: SYNC_VERSION, network, nonce: self.settings.nonce, credit: CREDIT_MAX }
    }

    fn frame(&mut self, frame: Frame, held: &dyn Holdings) -> Result<(), Failure> {
        if self.keys.is_none() {
            return self.first_frame(frame);
        }
        match frame {
            Frame::Hello { .. } => Err(Failure::Unexpected("a second hello")),
            Frame::Rooms(tags) => self.take_tags(tags, held),
            Frame::Proof(proof) => self.take_proof(proof, held),
            Frame::Refused(handle) => {
                self.refused(handle);
                Ok(())
            }
            Frame::Credit(bytes) => self.server.add_credit(bytes),
            Frame::Events { request, last, chunk } => {
                let lacked = self.fetcher.expected(request).filter(|_| chunk.is_empty());
                let output = self.fetcher.events(request, last, &chunk, self.now_ms)?;
                self.out.extend(output);
                if let Some((id, top)) = lacked {
                    self.note_lacked(id, top);
                }
                self.settle(None, held)
            }
            Frame::Want { request, room, branches } => self.take_want(request, room, &branches, held),
            Frame::Push { room, event } => {
                match self.open_room(room, held)? {
                    Some(id) => self.out.push_back(Output::Pushed { room: id, event }),
                    None => self.not_open(room),
                }
                Ok(())
            }
            Frame::Knock { tag, sealed } => self.take_knock(tag, &sealed, held),
            Frame::Key { room, circle, key } => {
                match self.open_room(room, held)? {
                    Some(id) => self.take_key(id, circle, key),
                    None => self.not_open(room),
                }
                Ok(())
            }
            Frame::Beacons { room, beacons } => match self.open_room(room, held)? {
                Some(id) => self.take_beacons(id, beacons),
                None => {
                    self.not_open(room);
                    Ok(())
                }
            },
            Frame::Slots { room, names } => match self.open_room(room, held)? {
                Some(id) => self.take_slots(id, &names, held),
                None => {
                    self.not_open(room);
                    Ok(())
                }
            },
            Frame::Ask { room, nonce } => match self.open_room(room, held)? {
                Some(id) => self.take_ask(id, nonce, held),
                None => {
                    self.not_open(room);
                    Ok(())
                }
            },
            Frame::Answer { room, answer } => {
                match self.open_room(room, held)? {
                    Some(id) => self.take_answer(id, answer),
                    None => self.not_open(room),
                }
                Ok(())
            }
            Frame::Check { room, .. }
            | Frame::Heads { room, .. }
            | Frame::Reconcile { room, .. }
            | Frame::Lack { room, .. } => {
                match self.open_room(room, held)? {
                    Some(id) => self.compare_frame(id, frame, held)?,
                    None => self.not_open(room),
                }
                Ok(())
            }
        }
    }

    fn first_frame(&mut self, frame: Frame) -> Result<(), Failure> {
        let Frame::Hello { version, network, nonce, credit } = frame else {
            return Err(Failure::Unexpected("a frame before hello"));
        };
        if version != SYNC_VERSION {
            return Err(Failure::Version(version));
        }
        if network != network_name(&self.settings.network) {
            return Err(Failure::OtherNetwork);
        }
        self.server.add_credit(credit.min(CREDIT_MAX))?;
        let ours = self.settings.nonce;
        if nonce == ours {
            return Err(Failure::Unexpected("our own nonce"));
        }
        self.keys = Some(match self.settings.side {
            Side::Initiator => Keys { initiator: ours, responder: nonce },
            Side::Responder => Keys { initiator: nonce, responder: ours },
        });
        if self.settings.side == Side::Responder {
            self.send(self.hello());
        }
        let rooms = std::mem::take(&mut self.early_rooms);
        self.tell_tags(&rooms);
        rooms.into_iter().for_each(|room| self.knock(room));
        Ok(())
    }

    fn take_want(
        &mut self,
        request: u32,
        handle: Handle,
        branches: &[Branch],
        held: &dyn Holdings,
    ) -> Result<(), Failure> {
        let id = self.handles.get(&handle).copied();
        let told = id.map(|id| self.audience(id, held)).transpose()?.flatten();
        let id = id.filter(|_| told.is_some());
        for (n, Branch { top, down_to }) in (0..).zip(branches) {
            let request = request.wrapping_add(n);
            match id {
                Some(room) => self.server.want(Wanted { request, room, log: None, top: *top, down_to: *down_to })?,
                None => self.send(Frame::Events { request, last: true, chunk: Vec::new() }),
            }
        }
        Ok(())
    }

    /// Sends the requests that may be under way now. Content waits for the control logs, and for its lease. Returns the
    /// rooms of which something needs not be asked for any more.
    fn ask(&mut self, held: &dyn Holdings) -> Result<BTreeSet<RoomId>, Failure> {
        let mut passed = BTreeSet::new();
        let (rooms, now_ms) = (&self.rooms, self.now_ms);
        let may_ask = |id: RoomId, class: Class| {
            let room = rooms.get(&id).filter(|r| r.proven)?;
            let waits = class == Class::Content && (room.exchanges.is_open(Class::Control) || !held.may_fetch(id));
            if waits { None } else { room.handle }
        };
        let mut asked: Option<(u32, Handle, Vec<Branch>)> = None;
        while let Some((request, handle, branch)) = self.fetcher.next(may_ask, held, &mut passed, now_ms)? {
            match &mut asked {
                Some((_, room, branches)) if *room == handle => branches.push(branch),
                _ => self.out.extend(asked.replace((request, handle, vec![branch])).map(want)),
            }
        }
        self.out.extend(asked.map(want));
        Ok(passed)
    }
}

fn want((request, room, branches): (u32, Handle, Vec<Branch>)) -> Output {
    Output::Send(Frame::Want { request, room, branches })
}

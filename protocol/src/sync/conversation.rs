//! The conversation as a whole: hello, which rooms both have, who proved what, and whose turn it is.

use super::compare::Exchange;
use super::fetch::Fetcher;
use super::keys::{Credential, Keys, network_name};
use super::serve::{Server, Wanted};
use super::{Failure, Holdings, Input, Offer, Output, Settings, Side};
use crate::control::payload::RoomKind;
use crate::event::Class;
use crate::id::{DeviceId, RoomId};
use crate::limits::{CREDIT_MAX, ROOMS_MAX};
use crate::wire::{Frame, Handle, Proof, SYNC_VERSION, Tag};
use std::collections::{BTreeMap, VecDeque};

/// One side of a conversation with one peer.
pub struct Conversation {
    pub(super) settings: Settings,
    pub(super) keys: Option<Keys>,
    pub(super) rooms: BTreeMap<RoomId, Room>,
    handles: BTreeMap<Handle, RoomId>,
    /// The initiator's rooms, in the order of their tags.
    own_order: Vec<RoomId>,
    /// The other side's tags, and their places.
    their_tags: BTreeMap<Tag, u16>,
    their_count: usize,
    pub(super) fetcher: Fetcher,
    pub(super) server: Server,
    pub(super) out: VecDeque<Output>,
}

/// A room in this conversation.
pub(super) struct Room {
    pub(super) offer: Offer,
    pub(super) handle: Option<Handle>,
    /// They may see it, and so we may speak of it.
    pub(super) proven: bool,
    /// We sent our proof.
    shown: bool,
    /// The device whose introduction is being admitted.
    introducing: Option<DeviceId>,
    /// What our last Check said, and theirs.
    pub(super) sent: Option<([u8; 16], [u8; 16])>,
    pub(super) theirs: Option<TheirCheck>,
    pub(super) exchange: Option<Exchange>,
    /// What came of content before our control logs were compared.
    pub(super) early: Vec<Frame>,
    /// Exchanges of each class that brought nothing, since something last did.
    pub(super) fruitless: [u32; 2],
    /// Whether the exchange under way has brought anything.
    pub(super) brought: bool,
    /// Whether our own holes were asked for in this conversation.
    pub(super) holes_asked: bool,
}

/// The other side's last Check.
#[derive(Debug, Clone, Copy)]
pub(super) struct TheirCheck {
    pub(super) digests: ([u8; 16], [u8; 16]),
    pub(super) agreement: [u8; 16],
    /// Nothing was exchanged since.
    pub(super) fresh: bool,
}

impl Conversation {
    /// A conversation about these rooms. The initiator's first outputs are there at once.
    pub fn new(settings: Settings, offers: Vec<Offer>) -> Self {
        let mut conversation = Conversation {
            keys: None,
            rooms: BTreeMap::new(),
            handles: BTreeMap::new(),
            own_order: Vec::new(),
            their_tags: BTreeMap::new(),
            their_count: 0,
            fetcher: Fetcher::default(),
            server: Server::default(),
            out: VecDeque::new(),
            settings,
        };
        for offer in offers.into_iter().take(ROOMS_MAX) {
            conversation.own_order.push(offer.room);
            conversation.rooms.insert(offer.room, Room::new(offer));
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
        match input {
            Input::Frame(frame) => self.frame(frame, held, now_ms)?,
            Input::Offer(offer) => self.offer(offer, held)?,
            Input::Withdraw(room) => self.withdraw(room),
            Input::Introduced(room) => self.introduced(room, held)?,
            Input::Delivered { request, bytes, new, bottom } => self.delivered(request, bytes, new, bottom, held)?,
            Input::Resume(_) => {}
            Input::Moved { room, class, heads } => self.tell_moved(room, class, heads),
            Input::Push { room, event } => {
                if let Some(handle) = self.open_handle(room) {
                    self.send(Frame::Push { room: handle, event });
                }
            }
            Input::Recheck(room) => self.recheck(room, held)?,
        }
        self.ask(held);
        Ok(())
    }

    /// What is to be done next, in order. Answers to wants are made only when all else was taken.
    ///
    /// # Errors
    /// `Failure::Unavailable`.
    pub fn next_output(&mut self, held: &dyn Holdings) -> Result<Option<Output>, Failure> {
        if let Some(output) = self.out.pop_front() {
            return Ok(Some(output));
        }
        Ok(self.server.next(held)?.map(Output::Send))
    }

    /// Whether the peer owes us an answer.
    pub fn is_waiting(&self) -> bool {
        self.keys.is_none() || self.fetcher.is_waiting()
    }

    /// Rooms that the peer may see and has.
    pub fn shared(&self) -> impl Iterator<Item = RoomId> + '_ {
        self.rooms.iter().filter(|(_, r)| r.proven && r.handle.is_some()).map(|(id, _)| *id)
    }

    pub(super) fn send(&mut self, frame: Frame) {
        self.out.push_back(Output::Send(frame));
    }

    fn hello(&self) -> Frame {
        let network = network_name(&self.settings.network);
        Frame::Hello { version: SYNC_VERSION, network, nonce: self.settings.nonce, credit: CREDIT_MAX }
    }

    fn frame(&mut self, frame: Frame, held: &dyn Holdings, now_ms: u64) -> Result<(), Failure> {
        if self.keys.is_none() {
            return self.first_frame(frame);
        }
        match frame {
            Frame::Hello { .. } => Err(Failure::Unexpected("a second hello")),
            Frame::Rooms(tags) => self.take_tags(tags, held),
            Frame::Proof(proof) => self.take_proof(proof, held, now_ms),
            Frame::Refused(handle) => {
                if let Some(room) = self.handles.get(&handle) {
                    self.out.push_back(Output::Refused(*room));
                }
                Ok(())
            }
            Frame::Credit(bytes) => self.server.add_credit(bytes),
            Frame::Events { request, last, chunk } => {
                let deliver = self.fetcher.events(request, last, &chunk)?;
                self.out.extend(deliver);
                self.settle(held)
            }
            Frame::Want { request, room, log, top, down_to } => {
                let Some(room) = self.open_room(room) else {
                    self.send(Frame::Events { request, last: true, chunk: Vec::new() });
                    return Ok(());
                };
                self.server.want(Wanted { request, room, log, top, down_to })
            }
            Frame::Push { room, event } => {
                let room = self.open_room(room).ok_or(Failure::Unexpected("a push for a room not shared"))?;
                self.out.push_back(Output::Pushed { room, event });
                Ok(())
            }
            Frame::Check { room, .. }
            | Frame::Heads { room, .. }
            | Frame::Reconcile { room, .. }
            | Frame::Lack { room, .. } => match self.open_room(room) {
                Some(id) => self.compare_frame(id, frame, held),
                None => {
                    self.send(Frame::Refused(room));
                    Ok(())
                }
            },
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
        let tags = self.own_order.clone().into_iter().filter_map(|room| self.own_tag(room)).collect();
        self.send(Frame::Rooms(tags));
        Ok(())
    }

    fn own_tag(&self, room: RoomId) -> Option<Tag> {
        let offer = &self.rooms.get(&room)?.offer;
        Some(self.keys?.tag(self.settings.side, room, &offer.secret))
    }

    fn take_tags(&mut self, tags: Vec<Tag>, held: &dyn Holdings) -> Result<(), Failure> {
        for tag in tags {
            if self.their_count >= ROOMS_MAX {
                return Err(Failure::Budget("rooms"));
            }
            self.their_tags.insert(tag, u16::try_from(self.their_count).unwrap_or(u16::MAX));
            self.their_count += 1;
        }
        for room in self.own_order.clone() {
            self.match_room(room, held)?;
        }
        Ok(())
    }

    /// Finds out whether the other side has this room too.
    fn match_room(&mut self, id: RoomId, held: &dyn Holdings) -> Result<(), Failure> {
        let Some(keys) = self.keys else { return Ok(()) };
        let theirs = if self.settings.side == Side::Initiator { Side::Responder } else { Side::Initiator };
        let own_place = self.own_order.iter().position(|r| *r == id).and_then(|n| u16::try_from(n).ok());
        let Some(room) = self.rooms.get_mut(&id).filter(|r| r.handle.is_none()) else { return Ok(()) };
        let Some(their_place) = self.their_tags.get(&keys.tag(theirs, id, &room.offer.secret)) else { return Ok(()) };
        let place = if self.settings.side == Side::Initiator { own_place } else { Some(*their_place) };
        let Some(handle) = place.map(Handle) else { return Ok(()) };
        room.handle = Some(handle);
        self.handles.insert(handle, id);
        if room.offer.kind == RoomKind::Public {
            self.open(id, held)
        } else {
            if self.settings.side == Side::Initiator {
                self.show_proof(id);
            }
            Ok(())
        }
    }

    fn show_proof(&mut self, id: RoomId) {
        let Some(room) = self.rooms.get_mut(&id).filter(|r| !r.shown) else { return };
        let (Some(handle), Some(credential)) = (room.handle, room.offer.credential) else { return };
        room.shown = true;
        let proof = Proof {
            room: handle,
            device: credential.device,
            expires_ms: credential.expires_ms,
            signature: credential.signature,
            introduction: room.offer.introduction.clone(),
        };
        self.send(Frame::Proof(proof));
    }

    fn take_proof(&mut self, proof: Proof, held: &dyn Holdings, now_ms: u64) -> Result<(), Failure> {
        let found = self.handles.get(&proof.room).copied();
        let Some((id, room)) = found.and_then(|id| Some((id, self.rooms.get(&id)?))) else {
            self.send(Frame::Refused(proof.room));
            return Ok(());
        };
        let Proof { device, expires_ms, signature, .. } = proof;
        let credential = Credential { device, expires_ms, signature };
        let speaks = credential.verify(id, &self.settings.them, now_ms).is_ok();
        if speaks && (room.offer.joining || held.is_current_device(id, device)?) {
            return self.proof_holds(id, held);
        }
        if speaks && !proof.introduction.is_empty() {
            self.rooms.entry(id).and_modify(|r| r.introducing = Some(device));
            self.out.push_back(Output::Introduce { room: id, events: proof.introduction });
            return Ok(());
        }
        self.send(Frame::Refused(proof.room));
        Ok(())
    }

    fn introduced(&mut self, id: RoomId, held: &dyn Holdings) -> Result<(), Failure> {
        let Some(room) = self.rooms.get_mut(&id) else { return Ok(()) };
        let (Some(device), Some(handle)) = (room.introducing.take(), room.handle) else { return Ok(()) };
        if held.is_current_device(id, device)? {
            return self.proof_holds(id, held);
        }
        self.send(Frame::Refused(handle));
        Ok(())
    }

    fn proof_holds(&mut self, id: RoomId, held: &dyn Holdings) -> Result<(), Failure> {
        self.show_proof(id);
        self.open(id, held)
    }

    /// The other side may see the room: say what we hold.
    fn open(&mut self, id: RoomId, held: &dyn Holdings) -> Result<(), Failure> {
        let Some(room) = self.rooms.get_mut(&id).filter(|r| !r.proven) else { return Ok(()) };
        room.proven = true;
        self.out.push_back(Output::Shared(id));
        self.send_check(id, held)
    }

    fn offer(&mut self, offer: Offer, held: &dyn Holdings) -> Result<(), Failure> {
        let id = offer.room;
        if let Some(room) = self.rooms.get_mut(&id) {
            room.offer = offer;
            return Ok(());
        }
        if self.own_order.len() >= ROOMS_MAX {
            return Ok(());
        }
        self.own_order.push(id);
        self.rooms.insert(id, Room::new(offer));
        if let Some(tag) = self.own_tag(id) {
            self.send(Frame::Rooms(vec![tag]));
        }
        self.match_room(id, held)
    }

    /// Its place in the list of tags stays taken.
    fn withdraw(&mut self, id: RoomId) {
        if let Some(handle) = self.rooms.remove(&id).and_then(|r| r.handle) {
            self.handles.remove(&handle);
        }
        self.fetcher.forget(id);
        self.server.forget(id);
    }

    /// The room of a handle, if the other side may speak of it.
    fn open_room(&self, handle: Handle) -> Option<RoomId> {
        let id = self.handles.get(&handle)?;
        self.rooms.get(id).filter(|r| r.proven).map(|_| *id)
    }

    pub(super) fn open_handle(&self, id: RoomId) -> Option<Handle> {
        self.rooms.get(&id).filter(|r| r.proven)?.handle
    }

    /// Sends the requests that may be under way now.
    fn ask(&mut self, held: &dyn Holdings) {
        let rooms = &self.rooms;
        let handle = |id: RoomId, class: Class| {
            let room = rooms.get(&id).filter(|r| r.proven)?;
            if class == Class::Content && !held.may_fetch(id) { None } else { room.handle }
        };
        while let Some(want) = self.fetcher.next(handle) {
            self.out.push_back(Output::Send(want));
        }
    }
}

impl Room {
    fn new(offer: Offer) -> Self {
        Room {
            offer,
            handle: None,
            proven: false,
            shown: false,
            introducing: None,
            sent: None,
            theirs: None,
            exchange: None,
            early: Vec::new(),
            fruitless: [0; 2],
            brought: false,
            holes_asked: false,
        }
    }
}

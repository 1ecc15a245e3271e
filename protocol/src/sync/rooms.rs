//! Which rooms both sides have, and who may see them: tags, proofs, introductions; offers that come and go.

use super::budget::PerMinute;
use super::compare::TheirCheck;
use super::conversation::Conversation;
use super::exchange::Exchanges;
use super::keys::Credential;
use super::{Agreed, Failure, Holdings, Offer, Output, Side, Unavailable};
use crate::control::payload::RoomKind;
use crate::id::{DeviceId, RoomId};
use crate::limits::{HELD_BACK_MAX, INTRODUCTIONS_MAX, PROOFS_MAX, ROOMS_MAX};
use crate::wire::{Frame, Handle, Proof, Tag};

/// A room in this conversation.
pub(super) struct Room {
    pub(super) offer: Offer,
    pub(super) handle: Option<Handle>,
    /// They may speak of it: it is public, or they showed a credential.
    pub(super) proven: bool,
    /// The device whose credential they showed; none in a public room.
    device: Option<DeviceId>,
    /// Let in because we held nothing: may give, but not take until its device turns out to be a member's.
    on_trust: bool,
    /// We sent our proof, and it was not refused.
    shown: bool,
    /// Our introduction went with a proof: it would say nothing new.
    introduced: bool,
    /// Whose proof we refused only because we do not know the device: to be shown again when we do.
    unheard: Option<DeviceId>,
    introducing: Option<Introducing>,
    /// Proofs whose signature we checked, and introductions among them.
    proofs: PerMinute,
    introductions: PerMinute,
    /// What our last Check said, and theirs.
    pub(super) sent: Option<([u8; 16], [u8; 16])>,
    pub(super) theirs: Option<TheirCheck>,
    /// The last agreement in this conversation.
    pub(super) agreed: Option<Agreed>,
    pub(super) exchanges: Exchanges,
    /// What came of content before our control logs were compared.
    pub(super) early: Vec<Frame>,
    /// Whether our own holes were asked for since they were last looked at, and whether that is under way.
    pub(super) holes_asked: bool,
    pub(super) filling: bool,
}

/// An introduction that is being admitted.
struct Introducing {
    device: DeviceId,
    /// Refusals owed if it is not: an unknown room would have answered each frame.
    refusals: u32,
}

impl Room {
    pub(super) fn new(offer: Offer) -> Self {
        Room {
            offer,
            handle: None,
            proven: false,
            device: None,
            on_trust: false,
            shown: false,
            introduced: false,
            unheard: None,
            introducing: None,
            proofs: PerMinute::default(),
            introductions: PerMinute::default(),
            sent: None,
            theirs: None,
            agreed: None,
            exchanges: Exchanges::default(),
            early: Vec::new(),
            holes_asked: false,
            filling: false,
        }
    }

    /// Whether they may be told of the room now.
    pub(super) fn sees(&self, held: &dyn Holdings) -> Result<bool, Unavailable> {
        match self.device {
            Some(device) => Ok(self.proven && held.is_current_device(self.offer.room, device)?),
            None => Ok(self.proven),
        }
    }
}

impl Conversation {
    /// Tells what we call these rooms, and learns what the other side would.
    pub(super) fn tell_tags(&mut self, rooms: Vec<RoomId>) {
        let Some(keys) = self.keys else { return };
        let mut tags = Vec::with_capacity(rooms.len());
        for id in rooms {
            let Some(secret) = self.rooms.get(&id).map(|r| r.offer.secret) else { continue };
            tags.push(keys.tag(self.settings.side, id, &secret));
            self.expected.insert(keys.tag(self.settings.side.other(), id, &secret), id);
        }
        self.send(Frame::Rooms(tags));
    }

    pub(super) fn take_tags(&mut self, tags: Vec<Tag>, held: &dyn Holdings) -> Result<(), Failure> {
        for tag in tags {
            // A tag told again is a room offered again, or to be proven again: its place stays the first.
            let place = u16::try_from(self.their_count).unwrap_or(u16::MAX);
            self.their_tags.entry(tag).or_insert(place);
            if self.their_tags.len() > ROOMS_MAX {
                return Err(Failure::Budget("rooms"));
            }
            self.their_count = self.their_count.saturating_add(1);
            if let Some(id) = self.expected.get(&tag).copied() {
                self.match_room(id, held)?;
            }
        }
        Ok(())
    }

    /// Finds out whether the other side has this room too; if so, opens it or shows that we may see it.
    pub(super) fn match_room(&mut self, id: RoomId, held: &dyn Holdings) -> Result<(), Failure> {
        let (Some(keys), Some(room)) = (self.keys, self.rooms.get_mut(&id)) else { return Ok(()) };
        let side = self.settings.side;
        if room.handle.is_none() {
            let tag = keys.tag(side.other(), id, &room.offer.secret);
            let Some(their_place) = self.their_tags.get(&tag).copied() else { return Ok(()) };
            let own_place = || self.own_order.iter().position(|r| *r == id).and_then(|n| u16::try_from(n).ok());
            let place = if side == Side::Initiator { own_place() } else { Some(their_place) };
            let Some(handle) = place.map(Handle) else { return Ok(()) };
            room.handle = Some(handle);
            self.handles.insert(handle, id);
        }
        if room.offer.kind == RoomKind::Public {
            return self.open(id, held);
        }
        if side == Side::Initiator {
            self.show_proof(id);
        }
        Ok(())
    }

    /// Shows that we may see the room. Most peers know our device already, so we introduce it only where that cannot be, or
    /// after a refusal.
    fn show_proof(&mut self, id: RoomId) {
        let introduces = self.rooms.get(&id).is_some_and(|r| r.offer.joining);
        self.show_proof_with(id, introduces);
    }

    fn show_proof_with(&mut self, id: RoomId, introduces: bool) {
        let Some(room) = self.rooms.get_mut(&id).filter(|r| !r.shown) else { return };
        let (Some(handle), Some(credential)) = (room.handle, room.offer.credential) else { return };
        room.shown = true;
        let introduction = if introduces { room.offer.introduction.clone() } else { Vec::new() };
        room.introduced |= !introduction.is_empty();
        let proof = Proof {
            room: handle,
            device: credential.device,
            expires_ms: credential.expires_ms,
            signature: credential.signature,
            introduction,
        };
        self.send(Frame::Proof(proof));
    }

    pub(super) fn take_proof(&mut self, proof: Proof, held: &dyn Holdings) -> Result<(), Failure> {
        let found = self.handles.get(&proof.room).copied().and_then(|id| Some((id, self.rooms.get_mut(&id)?)));
        let Some((id, room)) = found else {
            self.send(Frame::Refused(proof.room));
            return Ok(());
        };
        if room.offer.kind == RoomKind::Public {
            return Ok(());
        }
        let Proof { device, expires_ms, signature, .. } = proof;
        let credential = Credential { device, expires_ms, signature };
        let is_heard = room.introducing.is_none() && room.proofs.add(self.now_ms) <= PROOFS_MAX;
        let speaks = is_heard && credential.verify(id, &self.settings.them, self.now_ms).is_ok();
        let is_current = speaks && held.is_current_device(id, device)?;
        if is_current || (speaks && room.offer.joining) {
            room.on_trust = !is_current;
            return self.proof_holds(id, device, held);
        }
        if speaks && !proof.introduction.is_empty() && room.introductions.add(self.now_ms) <= INTRODUCTIONS_MAX {
            room.introducing = Some(Introducing { device, refusals: 1 });
            self.out.push_back(Output::Introduce { room: id, events: proof.introduction });
            return Ok(());
        }
        if speaks {
            room.unheard = Some(device);
        }
        self.refuse(id, 1);
        Ok(())
    }

    pub(super) fn introduced(&mut self, id: RoomId, held: &dyn Holdings) -> Result<(), Failure> {
        let Some(room) = self.rooms.get_mut(&id) else { return Ok(()) };
        let Some(device) = room.introducing.as_ref().map(|i| i.device) else { return Ok(()) };
        if held.is_current_device(id, device)? {
            (room.introducing, room.on_trust) = (None, false);
            return self.proof_holds(id, device, held);
        }
        room.unheard = Some(device);
        self.refuse(id, 0);
        Ok(())
    }

    /// Refuses to speak of a room. Who is refused starts anew, and so do we, or one would wait for what the other has said.
    fn refuse(&mut self, id: RoomId, times: u32) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        let Some(handle) = room.handle else { return };
        let owed = times + room.introducing.take().map_or(0, |i| i.refusals);
        self.reset(id);
        (0..owed).for_each(|_| self.send(Frame::Refused(handle)));
    }

    fn proof_holds(&mut self, id: RoomId, device: DeviceId, held: &dyn Holdings) -> Result<(), Failure> {
        if let Some(room) = self.rooms.get_mut(&id) {
            room.device = Some(device);
        }
        self.show_proof(id);
        self.open(id, held)
    }

    /// The other side may speak of the room: say what we hold.
    fn open(&mut self, id: RoomId, held: &dyn Holdings) -> Result<(), Failure> {
        let Some(room) = self.rooms.get_mut(&id).filter(|r| !r.proven) else { return Ok(()) };
        room.proven = true;
        self.out.push_back(Output::Shared(id));
        self.review(id, held)
    }

    /// A frame for a room that is not open: the answer is that of an unknown room, unless an introduction may open it yet.
    pub(super) fn not_open(&mut self, handle: Handle, frame: &Frame) {
        let found = self.handles.get(&handle).copied().and_then(|id| Some((id, self.rooms.get_mut(&id)?)));
        let Some((id, room)) = found else { return self.send(Frame::Refused(handle)) };
        match (&mut room.introducing, frame) {
            (Some(introducing), Frame::Check { control, content, agreement, .. })
                if introducing.refusals < HELD_BACK_MAX =>
            {
                introducing.refusals += 1;
                let digests = (*control, *content);
                room.theirs = Some(TheirCheck { digests, agreement: *agreement, fresh: true });
            }
            _ => self.refuse(id, 1),
        }
    }

    /// A new room, or what has changed of one.
    pub(super) fn offer(&mut self, offer: Offer, held: &dyn Holdings) -> Result<(), Failure> {
        let id = offer.room;
        let key = |offer: &Offer| (offer.kind, offer.secret);
        if self.rooms.get(&id).is_some_and(|room| key(&room.offer) != key(&offer)) {
            // Who may see it is another question now, and it is called something else: as a new room.
            self.withdraw(id);
            self.own_order.iter_mut().filter(|room| **room == id).for_each(|room| *room = RoomId::ZERO);
            self.expected.retain(|_, room| *room != id);
        }
        if let Some(room) = self.rooms.get_mut(&id) {
            room.introduced &= room.offer.introduction == offer.introduction;
            room.offer = offer;
            let known = room.unheard.map(|device| held.is_current_device(id, device)).transpose()?.unwrap_or(false);
            if known {
                room.unheard = None;
            }
            if known && self.settings.side == Side::Responder {
                self.tell_tags(vec![id]);
            }
            self.audience(id, held)?;
            return self.match_room(id, held);
        }
        if self.own_order.len() >= ROOMS_MAX {
            return Ok(());
        }
        self.own_order.push(id);
        self.rooms.insert(id, Room::new(offer));
        if self.keys.is_some() {
            self.tell_tags(vec![id]);
        }
        self.match_room(id, held)
    }

    /// Says so to a peer that had the room open.
    pub(super) fn withdraw(&mut self, id: RoomId) {
        self.close(id);
        if let Some(handle) = self.rooms.remove(&id).and_then(|r| r.handle) {
            self.handles.remove(&handle);
        }
        if self.keys.is_none() {
            self.own_order.retain(|r| *r != id);
        }
    }

    /// The other side has no such room any more, or does not let us see it: perhaps it has not heard of our device yet.
    pub(super) fn refused(&mut self, handle: Handle) {
        let Some(id) = self.handles.get(&handle).copied() else { return };
        let can_introduce = |r: &Room| r.shown && !r.introduced && !r.offer.introduction.is_empty();
        let introduces = self.rooms.get(&id).is_some_and(can_introduce);
        self.reset(id);
        if introduces {
            self.show_proof_with(id, true);
        } else {
            self.out.push_back(Output::Refused(id));
        }
    }

    /// The room of a handle, if the other side may speak of it. A public room that it had refused is open again.
    pub(super) fn open_room(&mut self, handle: Handle, held: &dyn Holdings) -> Result<Option<RoomId>, Failure> {
        let Some(id) = self.handles.get(&handle).copied() else { return Ok(None) };
        if self.rooms.get(&id).is_some_and(|r| r.offer.kind == RoomKind::Public) {
            self.open(id, held)?;
        }
        self.audience(id, held)?;
        Ok(self.open_handle(id).map(|_| id))
    }

    pub(super) fn open_handle(&self, id: RoomId) -> Option<Handle> {
        self.rooms.get(&id).filter(|r| r.proven)?.handle
    }

    /// The handle of a room of which the other side may be told now. Closes one whose device is no member's any more.
    pub(super) fn audience(&mut self, id: RoomId, held: &dyn Holdings) -> Result<Option<Handle>, Failure> {
        let Some(room) = self.rooms.get_mut(&id).filter(|r| r.proven) else { return Ok(None) };
        if room.sees(held)? {
            room.on_trust = false;
            return Ok(room.handle);
        }
        if !room.on_trust {
            self.close(id);
        }
        Ok(None)
    }

    /// Tells a peer that had the room open that it is no longer.
    fn close(&mut self, id: RoomId) {
        let times = self.rooms.get(&id).map_or(0, |r| u32::from(r.proven));
        self.refuse(id, times);
    }

    /// Ends what is under way of a room; nothing more is said of it until it is opened again.
    fn reset(&mut self, id: RoomId) {
        if self.fetcher.forget(id) {
            self.out.push_back(Output::Rested(id));
        }
        let unanswered = self.server.forget(id);
        unanswered.into_iter().for_each(|frame| self.send(frame));
        self.drop_early(id);
        if let Some(room) = self.rooms.get_mut(&id) {
            let new = Room::new(room.offer.clone());
            *room = Room {
                handle: room.handle,
                introduced: room.introduced,
                unheard: room.unheard,
                proofs: room.proofs,
                introductions: room.introductions,
                exchanges: room.exchanges.budget(),
                ..new
            };
        }
    }
}

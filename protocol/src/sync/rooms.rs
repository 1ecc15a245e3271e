//! Which rooms both sides have, and who may see them: tags, proofs; offers that come and go.
//!
//! Whoever is refused is to learn nothing from it, neither from the bytes nor from the time: a proof is answered after the
//! same work whether the room is here or not.

use super::asking::AskRoom;
use super::beacons::BeaconRoom;
use super::budget::PerMinute;
use super::compare::TheirCheck;
use super::conversation::{Conversation, Tags};
use super::exchange::Exchanges;
use super::keys::Credential;
use super::{Agreed, Failure, Holdings, Offer, Output, Side, Unavailable};
use crate::control::payload::RoomKind;
use crate::event::{Class, SignedEvent};
use crate::id::{DeviceId, EventId, RoomId};
use crate::limits::{KEYS_MAX, PROOFS_MAX, ROOMS_MAX};
use crate::wire::{Frame, Handle, Proof, Tag};
use std::collections::BTreeSet;

/// A room in this conversation.
pub(super) struct Room {
    pub(super) offer: Offer,
    pub(super) handle: Option<Handle>,
    /// They may speak of it: it is public, or they showed a credential.
    pub(super) proven: bool,
    /// The device whose credential they showed; none in a public room.
    device: Option<DeviceId>,
    /// Let in because we held nothing: may give, but not take until its device turns out to be a member's. It ends, one
    /// way or the other, when we hold the room's control logs.
    on_trust: bool,
    /// That they have it open was said.
    pub(super) shared: bool,
    /// Our last Check said nothing of content, as theirs is no current device.
    pub(super) told_little: bool,
    /// We sent our proof, and it was not refused.
    shown: bool,
    /// Our introduction was told by a knock: another would say nothing new.
    pub(super) introduced: bool,
    /// Our proof was refused, and we had nothing to introduce us by.
    unwelcome: bool,
    /// Whose proof we refused only because we do not know the device: to be shown again when we do.
    pub(super) unheard: Option<DeviceId>,
    /// Whose introduction is being admitted.
    pub(super) introducing: Option<DeviceId>,
    pub(super) introductions: PerMinute,
    /// Keys of sealed tips that they told.
    keys: PerMinute,
    /// What our last Check said, and theirs.
    pub(super) sent: Option<([u8; 16], [u8; 16])>,
    pub(super) theirs: Option<TheirCheck>,
    /// The control events that both were last found to hold.
    pub(super) same_control: Option<[u8; 32]>,
    /// The last agreement in this conversation.
    pub(super) agreed: Option<Agreed>,
    pub(super) exchanges: Exchanges,
    /// What came of content before our control logs were compared.
    pub(super) early: Vec<Frame>,
    /// Whether our own holes were asked for since they were last looked at; the tops of those that this peer did not have
    /// since a timer last ran out; and whether that is under way.
    pub(super) holes_asked: bool,
    pub(super) lacked: BTreeSet<EventId>,
    pub(super) filling: bool,
    pub(super) beacons: BeaconRoom,
    pub(super) asks: AskRoom,
}

impl Offer {
    /// The secret by which those who may see the room call it.
    pub(super) fn calls(&self) -> &[u8; 32] {
        self.inner.as_ref().unwrap_or(&self.secret)
    }
}

impl Room {
    pub(super) fn new(offer: Offer) -> Self {
        Room {
            offer,
            handle: None,
            proven: false,
            device: None,
            on_trust: false,
            shared: false,
            told_little: false,
            shown: false,
            introduced: false,
            unwelcome: false,
            unheard: None,
            introducing: None,
            introductions: PerMinute::default(),
            keys: PerMinute::default(),
            sent: None,
            theirs: None,
            same_control: None,
            agreed: None,
            exchanges: Exchanges::default(),
            early: Vec::new(),
            holes_asked: false,
            lacked: BTreeSet::new(),
            filling: false,
            beacons: BeaconRoom::default(),
            asks: AskRoom::default(),
        }
    }

    /// Whether they may be told of the room now.
    pub(super) fn sees(&self, held: &dyn Holdings) -> Result<bool, Unavailable> {
        match self.device {
            Some(device) => Ok(self.proven && held.may_hear(self.offer.room, device)?),
            None => Ok(self.proven),
        }
    }

    /// Whether they may be told all of it, and not only how their device gets back in.
    pub(super) fn sees_content(&self, held: &dyn Holdings) -> Result<bool, Unavailable> {
        match self.device {
            Some(device) => Ok(self.proven && held.is_current_device(self.offer.room, device)?),
            None => Ok(self.proven),
        }
    }

    /// Whether they are only trusted to be members.
    pub(super) fn on_trust(&self) -> bool {
        self.on_trust
    }

    /// Whether what was said to them a moment ago may still reach them.
    pub(super) fn is_heard(&self, held: &dyn Holdings) -> Result<bool, Unavailable> {
        Ok(self.proven && (self.on_trust || self.sees(held)?))
    }
}

impl Conversation {
    /// Tells what we call these rooms, and learns what the other side would.
    pub(super) fn tell_tags(&mut self, rooms: &[RoomId]) {
        let Some(keys) = self.keys else { return };
        let (side, other) = (self.settings.side, self.settings.side.other());
        let mut tags = Vec::with_capacity(rooms.len());
        for id in rooms {
            let Some(offer) = self.rooms.get(id).map(|r| &r.offer) else { continue };
            tags.push(keys.tag(side, *id, offer.calls()));
            self.expected.insert(keys.tag(other, *id, offer.calls()), *id);
            if offer.kind != RoomKind::Public && !offer.joining {
                self.knocks.insert(keys.tag(other, *id, &offer.secret), *id);
            }
        }
        tags.iter().for_each(|tag| self.our_tags.tell(*tag));
        self.send(Frame::Rooms(tags));
    }

    pub(super) fn take_tags(&mut self, tags: Vec<Tag>, held: &dyn Holdings) -> Result<(), Failure> {
        for tag in tags {
            // A tag told again is a room offered again, or to be proven again.
            self.their_tags.tell(tag);
            if self.their_tags.places.len() > ROOMS_MAX {
                return Err(Failure::Budget("rooms"));
            }
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
        let mut matched = None;
        // By the link's secret only where both have told that tag; a later name counts.
        for secret in [&room.offer.secret, room.offer.calls()] {
            let place = |tags: &Tags, side| tags.places.get(&keys.tag(side, id, secret)).copied();
            let places = [place(&self.our_tags, side), place(&self.their_tags, side.other())];
            if let [Some(ours), Some(theirs)] = places {
                let handle = Handle(if side == Side::Initiator { ours } else { theirs });
                self.handles.insert(handle, id);
                matched = Some(handle);
            }
        }
        if matched.is_none() {
            return Ok(());
        }
        room.handle = matched;
        if room.offer.kind == RoomKind::Public {
            return self.open(id, held);
        }
        if side == Side::Initiator {
            self.show_proof(id);
        }
        Ok(())
    }

    /// Shows that we may see the room.
    fn show_proof(&mut self, id: RoomId) {
        let Some(room) = self.rooms.get_mut(&id).filter(|r| !r.shown) else { return };
        let (Some(handle), Some(credential)) = (room.handle, room.offer.credential) else { return };
        room.shown = true;
        let Credential { device, expires_ms, signature } = credential;
        self.send(Frame::Proof(Proof { room: handle, device, expires_ms, signature }));
    }

    pub(super) fn take_proof(&mut self, proof: Proof, held: &dyn Holdings) -> Result<(), Failure> {
        let found = self.handles.get(&proof.room).copied().filter(|id| self.rooms.contains_key(id));
        let kind = found.and_then(|id| self.rooms.get(&id)).map(|r| r.offer.kind);
        if kind == Some(RoomKind::Public) {
            return Ok(());
        }
        let Proof { device, expires_ms, signature, .. } = proof;
        let credential = Credential { device, expires_ms, signature };
        // Of a room that is not here the same is asked: the answer must not come sooner.
        let named = found.unwrap_or(RoomId::ZERO);
        let is_heard = self.proofs.count(self.now_ms) < PROOFS_MAX;
        let speaks = is_heard && credential.verify(named, &self.settings.them, self.now_ms).is_ok();
        let is_current = held.may_hear(named, device)? && speaks;
        let Some((id, room)) = found.and_then(|id| Some((id, self.rooms.get_mut(&id)?))) else {
            self.proofs.add(self.now_ms);
            self.send(Frame::Refused(proof.room));
            return Ok(());
        };
        let holds = is_current || (speaks && room.offer.joining);
        if !holds || room.proven {
            self.proofs.add(self.now_ms);
        }
        if holds {
            room.on_trust = !is_current;
            room.shared &= is_current;
            room.device = Some(device);
            self.show_proof(id);
            return self.open(id, held);
        }
        if speaks {
            room.unheard = Some(device);
        }
        self.refuse(id, 1);
        Ok(())
    }

    /// A key by which the peer seals tips, or has them from others.
    pub(super) fn take_key(&mut self, id: RoomId, circle: [u8; 32], key: [u8; 32]) {
        let now_ms = self.now_ms;
        let Some(room) = self.rooms.get_mut(&id) else { return };
        if let Some(device) = room.device
            && room.keys.add(now_ms) <= KEYS_MAX
        {
            self.out.push_back(Output::Key { room: id, device, circle, key });
        }
    }

    /// Refuses to speak of a room. Who is refused starts anew, and so do we, or one would wait for what the other has said.
    fn refuse(&mut self, id: RoomId, times: u32) {
        let Some(handle) = self.rooms.get(&id).and_then(|r| r.handle) else { return };
        self.reset(id);
        (0..times).for_each(|_| self.send(Frame::Refused(handle)));
    }

    /// The other side may speak of the room: say what we hold.
    fn open(&mut self, id: RoomId, held: &dyn Holdings) -> Result<(), Failure> {
        let Some(room) = self.rooms.get_mut(&id).filter(|r| !r.proven) else { return Ok(()) };
        room.proven = true;
        self.share(id);
        self.review(id, held)
    }

    /// The peer counts as one of the room's, unless it is only trusted to be.
    fn share(&mut self, id: RoomId) {
        let Some(room) = self.rooms.get_mut(&id).filter(|r| r.proven && !r.on_trust && !r.shared) else { return };
        room.shared = true;
        self.out.push_back(Output::Shared(id));
    }

    /// A frame for a room that is not open: the answer is that of an unknown room.
    pub(super) fn not_open(&mut self, handle: Handle) {
        match self.handles.get(&handle).copied().filter(|id| self.rooms.contains_key(id)) {
            Some(id) => {
                self.reset(id);
                self.send(Frame::Refused(handle));
            }
            None => self.send(Frame::Refused(handle)),
        }
    }

    /// A new room, or what has changed of one.
    pub(super) fn offer(&mut self, offer: Offer, held: &dyn Holdings) -> Result<(), Failure> {
        let id = offer.room;
        let key = |offer: &Offer| (offer.kind, offer.secret);
        if self.rooms.get(&id).is_some_and(|room| key(&room.offer) != key(&offer)) {
            // Who may see it is another question now, and it is called something else: as a new room.
            self.withdraw(id);
            self.expected.retain(|_, room| *room != id);
            self.knocks.retain(|_, room| *room != id);
        }
        if let Some(room) = self.rooms.get_mut(&id) {
            room.introduced &= room.offer.introduction == offer.introduction;
            // Whoever is no longer joining can let others in.
            let is_renamed = room.offer.inner != offer.inner || room.offer.joining != offer.joining;
            room.offer = offer;
            let known = room.unheard.map(|device| held.may_hear(id, device)).transpose()?.unwrap_or(false);
            if known {
                room.unheard = None;
            }
            if is_renamed || (known && self.settings.side == Side::Responder) {
                self.tell_tags(&[id]);
            }
            self.audience(id, held)?;
            self.close_shut(id, held)?;
            self.match_room(id, held)?;
            self.introduce_late(id);
            return self.tell_all(id, held);
        }
        if self.our_tags.places.len() + self.early_rooms.len() >= ROOMS_MAX {
            return Ok(());
        }
        self.rooms.insert(id, Box::new(Room::new(offer)));
        if self.keys.is_none() {
            self.early_rooms.push(id);
            return Ok(());
        }
        self.tell_tags(&[id]);
        self.knock(id);
        self.match_room(id, held)
    }

    /// Introduces us where we were refused before there was anything to do so by: only just have we come in.
    fn introduce_late(&mut self, id: RoomId) {
        let can = |r: &Room| r.unwelcome && !r.proven && !r.offer.introduction.is_empty();
        if let Some(room) = self.rooms.get_mut(&id).filter(|r| can(r)) {
            room.unwelcome = false;
            self.introduce(id);
        }
    }

    /// A device that was told of control alone is a member's again: says what we hold of all.
    fn tell_all(&mut self, id: RoomId, held: &dyn Holdings) -> Result<(), Failure> {
        let told_little = self.rooms.get(&id).is_some_and(|room| room.told_little);
        if told_little && self.full_audience(id, held)?.is_some() {
            return self.review(id, held);
        }
        Ok(())
    }

    /// Says so to a peer that had the room open.
    pub(super) fn withdraw(&mut self, id: RoomId) {
        self.close(id);
        if self.rooms.remove(&id).is_some_and(|r| r.handle.is_some()) {
            self.handles.retain(|_, room| *room != id);
        }
        self.early_rooms.retain(|room| *room != id);
    }

    /// The other side has no such room any more, or does not let us see it: perhaps it has not heard of our device yet.
    pub(super) fn refused(&mut self, handle: Handle) {
        let Some(id) = self.handles.get(&handle).copied() else { return };
        let can_introduce = |r: &Room| r.shown && !r.introduced && !r.offer.introduction.is_empty();
        let introduces = self.rooms.get(&id).is_some_and(|r| can_introduce(r));
        let unwelcome = self.rooms.get(&id).is_some_and(|r| r.shown && r.offer.introduction.is_empty());
        if self.rooms.get(&id).is_some_and(|room| room.theirs.is_some()) {
            self.out.push_back(Output::Closed(id));
        }
        self.reset(id);
        if let Some(room) = self.rooms.get_mut(&id) {
            room.unwelcome |= unwelcome;
        }
        if introduces {
            self.introduce(id);
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

    /// The handle of a room of which the other side may be told now.
    pub(super) fn audience(&mut self, id: RoomId, held: &dyn Holdings) -> Result<Option<Handle>, Failure> {
        let Some(room) = self.rooms.get_mut(&id).filter(|r| r.proven) else { return Ok(None) };
        if room.sees(held)? {
            room.on_trust = false;
            let handle = room.handle;
            self.share(id);
            return Ok(handle);
        }
        // Trust is for as long as we cannot know: the device may be in what is still missing of the control logs.
        let knows = !room.offer.joining && !room.exchanges.is_open(Class::Control);
        if room.on_trust && knows && !self.fetcher.has(id, Class::Control) {
            self.close(id);
        }
        Ok(None)
    }

    /// Whether the room is open for a device that may see it no more. It stays so, and nothing is said of it but by which
    /// word that is, until the room's offer changes with it: whatever else happens first must not come before that word.
    ///
    /// # Errors
    /// `Unavailable`.
    pub fn is_shut(&self, id: RoomId, held: &dyn Holdings) -> Result<bool, Unavailable> {
        match self.rooms.get(&id).filter(|room| room.proven && !room.on_trust) {
            Some(room) => Ok(!room.sees(held)?),
            None => Ok(false),
        }
    }

    /// Closes a room whose device may see it no more.
    pub(super) fn close_shut(&mut self, id: RoomId, held: &dyn Holdings) -> Result<(), Failure> {
        if self.is_shut(id, held)? {
            self.close(id);
        }
        Ok(())
    }

    /// As `audience`, of those who may be told more than control events.
    pub(super) fn full_audience(&mut self, id: RoomId, held: &dyn Holdings) -> Result<Option<Handle>, Failure> {
        let handle = self.audience(id, held)?;
        let room = self.rooms.get(&id).filter(|_| handle.is_some());
        let sees = room.map(|room| room.sees_content(held)).transpose()?.unwrap_or(false);
        Ok(handle.filter(|_| sees))
    }

    /// Who may be told of events of a class.
    pub(super) fn audience_of(
        &mut self,
        id: RoomId,
        class: Class,
        held: &dyn Holdings,
    ) -> Result<Option<Handle>, Failure> {
        match class {
            Class::Control => self.audience(id, held),
            Class::Content => self.full_audience(id, held),
        }
    }

    /// Tells of a new event. A device that is out is told of control events alone: by which it is, and what that rests on.
    pub(super) fn push(&mut self, id: RoomId, event: Vec<u8>, held: &dyn Holdings) -> Result<(), Failure> {
        let is_control = || SignedEvent::decode(&event).is_ok_and(|signed| signed.header.class == Class::Control);
        if self.is_shut(id, held)? {
            if let Some(room) = self.open_handle(id).filter(|_| is_control()) {
                self.out.push_back(Output::Farewell(Frame::Push { room, event }));
            }
            return Ok(());
        }
        let Some(room) = self.audience(id, held)? else { return Ok(()) };
        if self.full_audience(id, held)?.is_some() || is_control() {
            self.send(Frame::Push { room, event });
        }
        Ok(())
    }

    /// Tells a peer that had the room open that it is no longer.
    fn close(&mut self, id: RoomId) {
        let times = self.rooms.get(&id).map_or(0, |r| u32::from(r.proven));
        if let Some(room) = self.rooms.get_mut(&id) {
            // Should it be let in again, it is called.
            room.unheard = room.device.or(room.unheard);
        }
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
            **room = Room {
                handle: room.handle,
                introduced: room.introduced,
                unwelcome: room.unwelcome,
                unheard: room.unheard,
                introducing: room.introducing,
                introductions: room.introductions,
                keys: room.keys,
                exchanges: room.exchanges.budget(),
                beacons: room.beacons.budget(),
                asks: room.asks.budget(),
                ..new
            };
        }
    }
}

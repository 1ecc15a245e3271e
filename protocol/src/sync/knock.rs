//! How somebody gets in who has a room's link and nothing else of it: they knock, by a word that only members can read,
//! and hear nothing unless they are let in. Members call the room by what no link carries, so that a link alone tells
//! nobody who has the room.

use super::conversation::Conversation;
use super::keys::Credential;
use super::{Failure, Holdings, Output, Side};
use crate::codec::{decode, encode};
use crate::control::payload::RoomKind;
use crate::id::RoomId;
use crate::limits::{INTRODUCTIONS_MAX, KNOCK_LEN_MAX, KNOCKS_MAX};
use crate::wire::{Frame, Knock, Tag};

impl Conversation {
    /// Asks to be let into a room of which we hold nothing yet.
    pub(super) fn knock(&mut self, id: RoomId) {
        let joins = self.rooms.get(&id).is_some_and(|r| r.offer.joining && r.offer.kind != RoomKind::Public);
        if joins {
            self.introduce(id);
        }
    }

    /// Tells who we are to members who do not know our device.
    pub(super) fn introduce(&mut self, id: RoomId) {
        let side = self.settings.side;
        let (Some(keys), Some(room)) = (self.keys, self.rooms.get_mut(&id)) else { return };
        let Some(Credential { device, expires_ms, signature }) = room.offer.credential else { return };
        room.introduced = true;
        let knock = Knock { device, expires_ms, signature, introduction: room.offer.introduction.clone() };
        let sealed = keys.seal_knock(side, id, &room.offer.secret, &encode(&knock));
        let tag = keys.tag(side, id, &room.offer.secret);
        if sealed.len() <= KNOCK_LEN_MAX {
            self.send(Frame::Knock { tag, sealed });
        }
    }

    /// Somebody asks to be let in. The same is done, and nothing is said, whether the room is here or not.
    pub(super) fn take_knock(&mut self, tag: Tag, sealed: &[u8], held: &dyn Holdings) -> Result<(), Failure> {
        let Some(keys) = self.keys else { return Ok(()) };
        if self.knocked.add(self.now_ms) > KNOCKS_MAX {
            return Ok(());
        }
        let found = self.knocks.get(&tag).and_then(|id| Some((*id, self.rooms.get(id)?.offer.secret)));
        let (named, secret) = found.unwrap_or((RoomId::ZERO, [0; 32]));
        let text = keys.open_knock(self.settings.side.other(), named, &secret, sealed);
        let knock = text.and_then(|text| decode::<Knock>(&text, KNOCK_LEN_MAX).ok()).filter(|_| found.is_some());
        let credential = knock.as_ref().map_or(Credential::NONE, |Knock { device, expires_ms, signature, .. }| {
            Credential { device: *device, expires_ms: *expires_ms, signature: *signature }
        });
        let speaks = credential.verify(named, &self.settings.them, self.now_ms).is_ok();
        let is_current = held.may_hear(named, credential.device)?;
        let Some(knock) = knock.filter(|_| speaks) else { return Ok(()) };
        if is_current {
            return self.let_in(named, held);
        }
        let now_ms = self.now_ms;
        let Some(room) = self.rooms.get_mut(&named).filter(|r| r.introducing.is_none()) else { return Ok(()) };
        if !knock.introduction.is_empty() && room.introductions.add(now_ms) <= INTRODUCTIONS_MAX {
            room.introducing = Some(knock.device);
            self.out.push_back(Output::Introduce { room: named, events: knock.introduction });
        }
        Ok(())
    }

    /// An introduction was admitted, or not: then nothing is said.
    pub(super) fn introduced(&mut self, id: RoomId, held: &dyn Holdings) -> Result<(), Failure> {
        let Some(device) = self.rooms.get_mut(&id).and_then(|r| r.introducing.take()) else { return Ok(()) };
        if held.may_hear(id, device)? { self.let_in(id, held) } else { Ok(()) }
    }

    /// Whoever knocked is a member: says what we call the room, so that it can show its proof.
    fn let_in(&mut self, id: RoomId, held: &dyn Holdings) -> Result<(), Failure> {
        let side = self.settings.side;
        let (Some(keys), Some(room)) = (self.keys, self.rooms.get_mut(&id)) else { return Ok(()) };
        room.unheard = None;
        // Who holds nothing of the room knows it by its link alone.
        let tag = keys.tag(side, id, &room.offer.secret);
        if room.handle.is_none() || self.our_tags.places.contains_key(&tag) {
            self.expected.insert(keys.tag(side.other(), id, &room.offer.secret), id);
            self.our_tags.tell(tag);
            self.send(Frame::Rooms(vec![tag]));
        } else if side == Side::Responder {
            self.tell_tags(&[id]);
        }
        self.match_room(id, held)
    }
}

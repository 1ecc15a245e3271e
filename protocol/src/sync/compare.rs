//! Finding what differs: digests, then heads, control before content. Each side tells what the other may lack, fetches
//! what it lacks itself, and says what it holds when it is done; equal digests end it.
//!
//! An exchange of a class is one list each way. Either side may begin it, and both may at once; a list is always answered
//! by a list, whatever else is under way, so that no two sides ever wait for each other.

use super::conversation::Conversation;
use super::exchange::Exchange;
use super::keys::{Macs, agreement_token};
use super::{Agreed, Digests, Failure, Holdings, Output, Side};
use crate::event::Class;
use crate::id::{EventId, RoomId};
use crate::limits::{EARLY_LEN_MAX, HEADS_LISTED_MAX, HEADS_MAX, HEADS_PER_FRAME_MAX};
use crate::wire::{Frame, Handle, Head, Listing};
use std::collections::BTreeSet;

/// The other side's last Check.
#[derive(Debug, Clone, Copy)]
pub(super) struct TheirCheck {
    pub(super) digests: Macs,
    pub(super) agreement: [u8; 16],
    pub(super) beacons: [u8; 8],
    /// Nothing was exchanged since.
    pub(super) fresh: bool,
}

/// What is held of a room now, and how each side would say so.
struct Now {
    digests: Digests,
    /// What we say is all of it; else nothing of content.
    is_told_all: bool,
    ours: Macs,
    theirs: Macs,
}

impl Conversation {
    /// Says what we hold of a room.
    fn send_check(&mut self, id: RoomId, held: &dyn Holdings) -> Result<(), Failure> {
        // Who is trusted to be a member is told once that we hold nothing, and nothing of what comes then.
        let has_heard = self.rooms.get(&id).is_some_and(|r| r.sent.is_some());
        if has_heard && self.audience(id, held)?.is_none() {
            return Ok(());
        }
        let now = self.now(id, held)?;
        let (Some(handle), Some(room)) = (self.open_handle(id), self.rooms.get_mut(&id)) else { return Ok(()) };
        room.sent = Some(now.ours);
        room.told_little = !now.is_told_all;
        let agreed = if room.agreed.is_some() { room.agreed } else { held.agreement(id)? };
        let agreement = agreed.map_or([0; 16], |a| a.token);
        room.beacons.check_sent();
        let (control, content) = now.ours;
        let beacons = self.beacons_digest(id, self.settings.side, held)?;
        self.send(Frame::Check { room: handle, control, content, agreement, beacons });
        Ok(())
    }

    /// Compares again; a room that is not open yet may have become so.
    pub(super) fn recheck(&mut self, id: RoomId, held: &dyn Holdings) -> Result<(), Failure> {
        let Some(room) = self.rooms.get_mut(&id) else { return Ok(()) };
        if !room.proven {
            self.knock(id);
            return self.match_room(id, held);
        }
        room.exchanges.take_heart();
        self.audience(id, held)?;
        self.close_shut(id, held)?;
        if self.is_exchanging(id) {
            return Ok(());
        }
        self.send_check(id, held)?;
        self.review(id, held)
    }

    /// Another conversation has stopped fetching: what it brought, we need not ask for; what it left, we may.
    pub(super) fn resume(&mut self, id: RoomId, held: &dyn Holdings) -> Result<(), Failure> {
        let Some(room) = self.rooms.get_mut(&id) else { return Ok(()) };
        room.holes_asked = false;
        self.settle(Some(id), held)
    }

    /// Tells the peer of logs that moved.
    pub(super) fn tell_moved(&mut self, room: Handle, class: Class, heads: &[Head]) {
        for part in heads.chunks(HEADS_PER_FRAME_MAX) {
            self.send(Frame::Heads { room, class, listing: Listing::Moved, last: true, heads: part.to_vec() });
        }
    }

    pub(super) fn compare_frame(&mut self, id: RoomId, frame: Frame, held: &dyn Holdings) -> Result<(), Failure> {
        let compares_control = self.rooms.get(&id).is_some_and(|r| r.exchanges.is_open(Class::Control));
        match frame {
            Frame::Check { control, content, agreement, beacons, .. } => {
                let digests = (control, content);
                self.take_check(id, TheirCheck { digests, agreement, beacons, fresh: true }, held)
            }
            // What moved meanwhile will be found when content is compared.
            Frame::Heads { class: Class::Content, listing: Listing::Moved, .. } if compares_control => Ok(()),
            Frame::Heads { class: Class::Content, .. } | Frame::Reconcile { class: Class::Content, .. }
                if compares_control =>
            {
                self.keep_early(id, frame)
            }
            Frame::Heads { class, listing: Listing::Moved, heads, .. } => {
                self.fetch_filled(id, class, &heads, held)?;
                self.fetch_missing(id, class, &heads, held)
            }
            Frame::Heads { class, listing, last, heads, .. } => self.take_heads(id, class, listing, last, heads, held),
            Frame::Reconcile { class, message, .. } => self.take_reconcile(id, class, &message, held),
            Frame::Lack { class, items, .. } => self.take_lack(id, class, &items, held),
            _ => Ok(()),
        }
    }

    fn is_exchanging(&self, id: RoomId) -> bool {
        self.rooms.get(&id).is_some_and(|r| r.exchanges.any_open())
    }

    fn keep_early(&mut self, id: RoomId, frame: Frame) -> Result<(), Failure> {
        let Some(room) = self.rooms.get_mut(&id) else { return Ok(()) };
        self.early_len += early_len(&frame);
        if self.early_len > EARLY_LEN_MAX {
            return Err(Failure::Budget("lists that wait for a control log"));
        }
        room.early.push(frame);
        Ok(())
    }

    /// What came before the control logs were compared.
    pub(super) fn drop_early(&mut self, id: RoomId) -> Vec<Frame> {
        let early = self.rooms.get_mut(&id).map(|r| std::mem::take(&mut r.early)).unwrap_or_default();
        self.early_len -= early.iter().map(early_len).sum::<usize>();
        early
    }

    fn now(&self, id: RoomId, held: &dyn Holdings) -> Result<Now, Failure> {
        let digests = held.digests(id)?;
        let secret = self.rooms.get(&id).map_or([0; 32], |r| r.offer.secret);
        let side = self.settings.side;
        let macs = |side, digests| self.keys.map_or(Macs::default(), |keys| keys.digests(side, id, &secret, digests));
        let is_told_all = match self.rooms.get(&id).filter(|r| !r.on_trust()) {
            Some(room) => room.sees_content(held)?,
            None => true,
        };
        let told = Digests { content: if is_told_all { digests.content } else { [0; 32] }, ..digests };
        Ok(Now { digests, is_told_all, ours: macs(side, &told), theirs: macs(side.other(), &digests) })
    }

    fn take_check(&mut self, id: RoomId, theirs: TheirCheck, held: &dyn Holdings) -> Result<(), Failure> {
        let Some(room) = self.rooms.get_mut(&id) else { return Ok(()) };
        if room.theirs.is_none_or(|before| before.digests != theirs.digests) {
            room.exchanges.take_heart();
        }
        room.theirs = Some(theirs);
        room.beacons.check_came();
        self.review(id, held)
    }

    /// Where nothing is under way: says what we hold if they have not heard, and begins to exchange what differs.
    pub(super) fn review(&mut self, id: RoomId, held: &dyn Holdings) -> Result<(), Failure> {
        if self.open_handle(id).is_none() || self.is_exchanging(id) || self.fetcher.is_asking(id) {
            return Ok(());
        }
        let now = self.now(id, held)?;
        if self.rooms.get(&id).is_some_and(|r| r.sent != Some(now.ours)) {
            self.send_check(id, held)?;
        }
        let Some(room) = self.rooms.get_mut(&id) else { return Ok(()) };
        let Some(theirs) = &mut room.theirs else { return Ok(()) };
        if theirs.digests.0 == now.theirs.0
            && room.same_control.replace(now.digests.control) != Some(now.digests.control)
        {
            self.out.push_back(Output::SameControl(id));
        }
        if theirs.digests == now.theirs {
            theirs.fresh = false;
            return self.agree(id, now.digests, held);
        }
        if !theirs.fresh {
            return Ok(());
        }
        let differs = [theirs.digests.0 != now.theirs.0, theirs.digests.1 != now.theirs.1];
        match room.exchanges.hope(differs, self.now_ms) {
            Some(class) => self.begin(id, class, held),
            None => {
                theirs.fresh = false;
                self.out.push_back(Output::Rested(id));
                Ok(())
            }
        }
    }

    /// Both hold the same: remembers it, and asks for what is known to be missing all the same.
    fn agree(&mut self, id: RoomId, digests: Digests, held: &dyn Holdings) -> Result<(), Failure> {
        let Some(room) = self.rooms.get_mut(&id) else { return Ok(()) };
        let agreed = Agreed { token: agreement_token(&digests), change: digests.change };
        let is_news = room.agreed.replace(agreed) != Some(agreed);
        room.exchanges.take_heart();
        if is_news {
            self.out.push_back(Output::Agreed { room: id, agreed });
        }
        self.compare_beacons(id, held)?;
        self.ask_holes(id, held)
    }

    /// Asks for our own holes, once: the peer's heads do not tell whether it has what is in them. That a conversation, this
    /// or another, is done is no reason to ask the peer again for what it did not have.
    fn ask_holes(&mut self, id: RoomId, held: &dyn Holdings) -> Result<(), Failure> {
        let Some(room) = self.rooms.get_mut(&id).filter(|r| !r.holes_asked) else { return Ok(()) };
        room.holes_asked = true;
        if room.lacked.len() >= LACKED_MAX {
            return Ok(());
        }
        for hole in held.holes(id, None)?.into_iter().filter(|hole| !room.lacked.contains(&hole.top.id)) {
            room.filling = true;
            self.fetcher.add(id, hole);
        }
        Ok(())
    }

    /// The peer was asked for what ends in this event, and does not have it.
    pub(super) fn note_lacked(&mut self, id: RoomId, top: EventId) {
        if let Some(room) = self.rooms.get_mut(&id).filter(|room| room.lacked.len() < LACKED_MAX) {
            room.lacked.insert(top);
        }
    }

    /// Tells our heads: what moved since the last agreement, all when they are few, else by reconciling sets.
    fn begin(&mut self, id: RoomId, class: Class, held: &dyn Holdings) -> Result<(), Failure> {
        let may_tell = self.audience_of(id, class, held)?.is_some();
        let now_ms = self.now_ms;
        let Some(room) = self.rooms.get_mut(&id).filter(|r| r.proven) else { return Ok(()) };
        let their_agreement = room.theirs.as_mut().map(|theirs| {
            theirs.fresh = false;
            theirs.agreement
        });
        room.exchanges.begin(class, now_ms)?;
        if !may_tell {
            return self.tell(id, class, Listing::Whole, Vec::new());
        }
        let is_last_hope = room.exchanges.is_last_hope(class);
        // What we saw them agree to in this conversation they have; what we remember from before, only if they do, too.
        let agreed = match room.agreed {
            _ if is_last_hope => None,
            Some(agreed) => Some(agreed),
            None => held.agreement(id)?.filter(|a| Some(a.token) == their_agreement),
        };
        if let Some(agreed) = agreed {
            let moved = held.heads(id, class, agreed.change)?;
            if moved.len() <= HEADS_MAX {
                return self.tell(id, class, Listing::Part, moved);
            }
        }
        let heads = held.heads(id, class, 0)?;
        match self.settings.side {
            _ if heads.len() <= HEADS_LISTED_MAX => self.tell(id, class, Listing::Whole, heads),
            Side::Initiator => self.begin_reconcile(id, class, heads),
            Side::Responder => {
                self.ask_reconcile(id, class);
                Ok(())
            }
        }
    }

    /// Tells a list, newest first. What is beyond the limit is found by the next comparison.
    pub(super) fn tell(
        &mut self,
        id: RoomId,
        class: Class,
        listing: Listing,
        mut heads: Vec<Head>,
    ) -> Result<(), Failure> {
        let Some(room) = self.open_handle(id) else { return Ok(()) };
        if let Some(exchange) = self.exchange(id, class) {
            exchange.told = Some(listing);
        }
        heads.sort_unstable_by_key(|h| (std::cmp::Reverse(h.hlc), h.tip));
        heads.truncate(HEADS_MAX);
        let count = heads.len().div_ceil(HEADS_PER_FRAME_MAX).max(1);
        for n in 1..=count {
            let rest = heads.split_off(heads.len().min(HEADS_PER_FRAME_MAX));
            let heads = std::mem::replace(&mut heads, rest);
            self.send(Frame::Heads { room, class, listing, last: n == count, heads });
        }
        Ok(())
    }

    pub(super) fn exchange(&mut self, id: RoomId, class: Class) -> Option<&mut Exchange> {
        self.rooms.get_mut(&id)?.exchanges.of(class)
    }

    /// The exchange of this class, begun now if the peer saw first that something differs.
    pub(super) fn answer(
        &mut self,
        id: RoomId,
        class: Class,
        held: &dyn Holdings,
    ) -> Result<Option<&mut Exchange>, Failure> {
        if self.exchange(id, class).is_none() {
            self.begin(id, class, held)?;
        }
        Ok(self.exchange(id, class))
    }

    fn take_heads(
        &mut self,
        id: RoomId,
        class: Class,
        listing: Listing,
        last: bool,
        heads: Vec<Head>,
        held: &dyn Holdings,
    ) -> Result<(), Failure> {
        let now_ms = self.now_ms;
        let Some(exchange) = self.answer(id, class, held)? else { return Ok(()) };
        exchange.listed += heads.len();
        if exchange.heard || exchange.listed > HEADS_MAX {
            return Err(Failure::Budget("heads"));
        }
        exchange.heard = last;
        exchange.moved_ms = now_ms;
        // Their whole list tells what they lack, where we have not told it yet.
        if listing == Listing::Whole && exchange.told.is_none() {
            exchange.reconcile = None;
            let mut lacked = match exchange.lacked.take() {
                Some(lacked) => lacked,
                None => held.heads(id, class, 0)?.into_iter().map(|h| (h.tip.id, h)).collect(),
            };
            for head in &heads {
                lacked.remove(&head.tip.id);
            }
            if last {
                self.tell(id, class, Listing::Part, lacked.into_values().collect())?;
            } else {
                exchange.lacked = Some(lacked);
            }
        }
        self.fetch_missing(id, class, &heads, held)?;
        if !last {
            return Ok(());
        }
        // What they said before they listed is told by the list; when they are done they will say what they hold then.
        if let Some(theirs) = self.rooms.get_mut(&id).and_then(|r| r.theirs.as_mut()) {
            theirs.fresh = false;
        }
        self.settle(Some(id), held)
    }

    fn fetch_missing(&mut self, id: RoomId, class: Class, heads: &[Head], held: &dyn Holdings) -> Result<(), Failure> {
        for missing in held.missing(id, class, heads)? {
            self.fetcher.add(id, missing);
        }
        Ok(())
    }

    /// A log moved: what was missing of it may be there now. That its head is missing, too, is no reason to wait: nothing
    /// may tell us of the log again.
    fn fetch_filled(&mut self, id: RoomId, class: Class, heads: &[Head], held: &dyn Holdings) -> Result<(), Failure> {
        let mut logs = BTreeSet::new();
        for head in heads {
            if class == Class::Control || !logs.insert(head.log(class)) {
                continue;
            }
            for hole in held.holes(id, Some(&head.log(class)))? {
                if let Some(room) = self.rooms.get_mut(&id) {
                    room.filling = true;
                }
                self.fetcher.add(id, hole);
            }
        }
        Ok(())
    }

    pub(super) fn untrue(&mut self, request: u32, bytes: u32, held: &dyn Holdings) -> Result<(), Failure> {
        let credit = self.fetcher.untrue(request, bytes)?;
        self.out.extend(credit.map(Output::Send));
        self.settle(None, held)
    }

    pub(super) fn delivered(
        &mut self,
        request: u32,
        bytes: u32,
        new: bool,
        (kept, bottom): (bool, (EventId, u64)),
        held: &dyn Holdings,
    ) -> Result<(), Failure> {
        let of = self.fetcher.is_of(request);
        let credit = self.fetcher.delivered(request, bytes, kept, bottom)?;
        self.out.extend(credit.map(Output::Send));
        if let Some((id, class)) = of
            && let Some(room) = self.rooms.get_mut(&id).filter(|_| new)
        {
            room.exchanges.brought(class);
        }
        self.settle(None, held)
    }

    /// Ends what has been answered, in this room and wherever a request ended.
    pub(super) fn settle(&mut self, id: Option<RoomId>, held: &dyn Holdings) -> Result<(), Failure> {
        let mut rooms = self.fetcher.settle(held)?;
        rooms.extend(id);
        for id in rooms {
            self.settle_room(id, held)?;
        }
        Ok(())
    }

    /// Where both have told and nothing is left to fetch, says what we hold now, and compares again.
    fn settle_room(&mut self, id: RoomId, held: &dyn Holdings) -> Result<(), Failure> {
        let (mut ended, mut barren) = (false, false);
        for class in [Class::Control, Class::Content].into_iter().filter(|class| !self.fetcher.has(id, *class)) {
            let Some(brought) = self.rooms.get_mut(&id).and_then(|r| r.exchanges.end(class)) else { continue };
            ended = true;
            barren |= class == Class::Content && !brought;
        }
        let rests = self.fetcher.takes_rest(id);
        if rests {
            self.out.push_back(Output::Rested(id));
        }
        if self.rooms.get(&id).is_some_and(|r| r.on_trust()) {
            self.audience(id, held)?;
        }
        if self.rooms.get(&id).is_some_and(|r| !r.exchanges.is_open(Class::Control)) {
            for frame in self.drop_early(id) {
                self.compare_frame(id, frame, held)?;
            }
        }
        if barren {
            // Branches that one of our holes hides may be all that differs.
            self.ask_holes(id, held)?;
        }
        if ended && !self.is_exchanging(id) {
            self.send_check(id, held)?;
        }
        let Some(room) = self.rooms.get_mut(&id) else { return Ok(()) };
        // What came by an announcement is no reason to compare; a filled hole may have laid a fork bare.
        let filled = rests && std::mem::take(&mut room.filling);
        let owes = room.theirs.is_some_and(|theirs| theirs.fresh);
        if ended || filled || owes { self.review(id, held) } else { Ok(()) }
    }
}

fn early_len(frame: &Frame) -> usize {
    let len = match frame {
        Frame::Heads { heads, .. } => heads.len() * HEAD_LEN,
        Frame::Reconcile { message, .. } => message.len(),
        _ => 0,
    };
    len + FRAME_COST
}

/// Holes of a room that a peer did not have: when there are so many it is asked for none until a recheck.
const LACKED_MAX: usize = 4096;
/// A head on the wire.
const HEAD_LEN: usize = 112;
/// What keeping a frame takes besides.
const FRAME_COST: usize = 64;

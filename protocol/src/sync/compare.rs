//! Finding what differs: digests, then heads, control before content. Each side fetches what it lacks, and says what it
//! holds when it is done; equal digests end it.

use super::conversation::{Conversation, TheirCheck};
use super::keys::agreement_token;
use super::{Agreed, Digests, Failure, Holdings, Missing, Output, Side};
use crate::event::Class;
use crate::id::{EventId, RoomId};
use crate::limits::{
    FRUITLESS_ROUNDS_MAX, HEADS_LISTED_MAX, HEADS_MAX, HEADS_PER_FRAME_MAX, RECONCILE_LEN_MAX, RECONCILE_ROUNDS_MAX,
};
use crate::wire::{Frame, Head, Listing};
use negentropy::{Id, Negentropy, NegentropyStorageVector};
use std::collections::{BTreeMap, BTreeSet};

/// MACs of what is held: control, content.
type Macs = ([u8; 16], [u8; 16]);

/// An exchange of heads of one class of a room.
pub(super) struct Exchange {
    class: Class,
    /// What we have told: all, or the part that they may lack.
    told: Option<Listing>,
    /// Their list has ended.
    heard: bool,
    theirs: Vec<Head>,
    reconcile: Option<Reconcile>,
}

/// Set reconciliation under way.
struct Reconcile {
    sets: Negentropy<'static, NegentropyStorageVector>,
    heads: BTreeMap<[u8; 32], Head>,
    /// Heads that the other side lacks, so far.
    have: Vec<Head>,
    /// Items that we lack, so far.
    need: Vec<[u8; 32]>,
    rounds: u32,
}

impl Conversation {
    /// Says what we hold of a room.
    pub(super) fn send_check(&mut self, id: RoomId, held: &dyn Holdings) -> Result<(), Failure> {
        let (digests, macs) = self.digests(id, held)?;
        let agreement = held.agreement(id)?.map_or([0; 16], |a| a.token);
        let Some(handle) = self.open_handle(id) else { return Ok(()) };
        if let Some(room) = self.rooms.get_mut(&id) {
            room.sent = Some(macs);
        }
        self.send(Frame::Check { room: handle, control: macs.0, content: macs.1, agreement });
        self.agree_if_equal(id, &digests, macs, held)?;
        Ok(())
    }

    pub(super) fn recheck(&mut self, id: RoomId, held: &dyn Holdings) -> Result<(), Failure> {
        let Some(room) = self.rooms.get_mut(&id).filter(|r| r.proven && r.exchange.is_none()) else { return Ok(()) };
        room.fruitless = [0; 2];
        room.holes_asked = false;
        self.send_check(id, held)
    }

    /// Tells the peer of logs that moved.
    pub(super) fn tell_moved(&mut self, id: RoomId, class: Class, heads: Vec<Head>) {
        let Some(handle) = self.open_handle(id) else { return };
        for part in heads.chunks(HEADS_PER_FRAME_MAX) {
            let (listing, heads) = (Listing::Moved, part.to_vec());
            self.send(Frame::Heads { room: handle, class, listing, last: true, heads });
        }
    }

    pub(super) fn compare_frame(&mut self, id: RoomId, frame: Frame, held: &dyn Holdings) -> Result<(), Failure> {
        match frame {
            Frame::Check { control, content, agreement, .. } => {
                self.take_check(id, TheirCheck { digests: (control, content), agreement, fresh: true }, held)
            }
            Frame::Heads { class: Class::Content, .. } | Frame::Reconcile { class: Class::Content, .. }
                if self.is_comparing(id, Class::Control) =>
            {
                self.keep_for_later(id, frame)
            }
            Frame::Heads { class, listing: Listing::Moved, heads, .. } => self.fetch_missing(id, class, &heads, held),
            Frame::Heads { class, listing, last, heads, .. } => self.take_heads(id, class, listing, last, heads, held),
            Frame::Reconcile { class, message, .. } => self.take_reconcile(id, class, &message, held),
            Frame::Lack { class, ids, .. } => self.take_lack(id, class, &ids, held),
            _ => Ok(()),
        }
    }

    fn is_comparing(&self, id: RoomId, class: Class) -> bool {
        self.rooms.get(&id).and_then(|r| r.exchange.as_ref()).is_some_and(|e| e.class == class)
    }

    fn keep_for_later(&mut self, id: RoomId, frame: Frame) -> Result<(), Failure> {
        let Some(room) = self.rooms.get_mut(&id) else { return Ok(()) };
        if room.early.len() >= HEADS_MAX / HEADS_PER_FRAME_MAX {
            return Err(Failure::Budget("heads"));
        }
        room.early.push(frame);
        Ok(())
    }

    fn digests(&self, id: RoomId, held: &dyn Holdings) -> Result<(Digests, Macs), Failure> {
        let digests = held.digests(id)?;
        let secret = self.rooms.get(&id).map_or([0; 32], |r| r.offer.secret);
        let macs = self.keys.map_or(([0; 16], [0; 16]), |keys| keys.digests(id, &secret, &digests));
        Ok((digests, macs))
    }

    fn take_check(&mut self, id: RoomId, theirs: TheirCheck, held: &dyn Holdings) -> Result<(), Failure> {
        let (_, macs) = self.digests(id, held)?;
        let Some(room) = self.rooms.get_mut(&id) else { return Ok(()) };
        room.theirs = Some(theirs);
        if room.exchange.is_none() && room.sent != Some(macs) {
            self.send_check(id, held)?;
        }
        self.compare(id, held)
    }

    /// Equal: remembers it, and asks for what both know to be missing here. Returns whether it was.
    fn agree_if_equal(
        &mut self,
        id: RoomId,
        digests: &Digests,
        macs: ([u8; 16], [u8; 16]),
        held: &dyn Holdings,
    ) -> Result<bool, Failure> {
        let Some(room) = self.rooms.get_mut(&id) else { return Ok(false) };
        if room.theirs.is_none_or(|t| t.digests != macs) {
            return Ok(false);
        }
        room.fruitless = [0; 2];
        let agreed = Agreed { token: agreement_token(digests), change: digests.change };
        let ask_holes = !std::mem::replace(&mut room.holes_asked, true);
        self.out.push_back(Output::Agreed { room: id, agreed });
        if ask_holes {
            for hole in held.holes(id)? {
                self.fetcher.add(id, hole);
            }
        }
        Ok(true)
    }

    /// Begins an exchange of what differs, if nothing is under way and both have said what they hold.
    fn compare(&mut self, id: RoomId, held: &dyn Holdings) -> Result<(), Failure> {
        let (digests, macs) = self.digests(id, held)?;
        let Some(room) = self.rooms.get(&id) else { return Ok(()) };
        let Some(theirs) = room.theirs.filter(|t| t.fresh) else { return Ok(()) };
        if room.exchange.is_some() || room.sent.is_none() || !self.fetcher.is_idle(id) {
            return Ok(());
        }
        if self.agree_if_equal(id, &digests, macs, held)? {
            return Ok(());
        }
        let Some(room) = self.rooms.get(&id) else { return Ok(()) };
        let differs = [theirs.digests.0 != macs.0, theirs.digests.1 != macs.1];
        let hopeful = |class: usize| differs[class] && room.fruitless[class] < FRUITLESS_ROUNDS_MAX;
        match (hopeful(0), hopeful(1)) {
            (true, _) => self.begin(id, Class::Control, held),
            (false, true) => self.begin(id, Class::Content, held),
            _ => {
                self.out.push_back(Output::Rested(id));
                Ok(())
            }
        }
    }

    /// Tells our heads: what moved since the last agreement, all when they are few, else by reconciling sets.
    fn begin(&mut self, id: RoomId, class: Class, held: &dyn Holdings) -> Result<(), Failure> {
        let agreement = held.agreement(id)?;
        let Some(room) = self.rooms.get_mut(&id) else { return Ok(()) };
        let their_agreement = room.theirs.map_or([0; 16], |t| t.agreement);
        if let Some(theirs) = &mut room.theirs {
            theirs.fresh = false;
        }
        room.brought = false;
        room.exchange = Some(Exchange { class, told: None, heard: false, theirs: Vec::new(), reconcile: None });
        let since = agreement.filter(|a| a.token == their_agreement).map(|a| a.change);
        let heads = held.heads(id, class, since.unwrap_or(0))?;
        if since.is_some() {
            return self.tell(id, class, Listing::Part, heads);
        }
        if heads.len() <= HEADS_LISTED_MAX {
            return self.tell(id, class, Listing::Whole, heads);
        }
        match self.settings.side {
            Side::Initiator => self.begin_reconcile(id, class, heads),
            // The initiator begins: it may not know yet that there is something to compare.
            Side::Responder => self.send_check(id, held),
        }
    }

    fn tell(&mut self, id: RoomId, class: Class, listing: Listing, heads: Vec<Head>) -> Result<(), Failure> {
        let Some(handle) = self.open_handle(id) else { return Ok(()) };
        if let Some(exchange) = self.rooms.get_mut(&id).and_then(|r| r.exchange.as_mut()) {
            exchange.told = Some(listing);
        }
        let mut parts: Vec<&[Head]> = heads.chunks(HEADS_PER_FRAME_MAX).collect();
        if parts.is_empty() {
            parts.push(&[]);
        }
        let count = parts.len();
        for (n, part) in parts.into_iter().enumerate() {
            let (last, heads) = (n + 1 == count, part.to_vec());
            self.send(Frame::Heads { room: handle, class, listing, last, heads });
        }
        Ok(())
    }

    /// The exchange of this class, begun now if the peer saw first that something differs.
    fn exchange(&mut self, id: RoomId, class: Class, held: &dyn Holdings) -> Result<Option<&mut Exchange>, Failure> {
        if self.rooms.get(&id).is_some_and(|r| r.exchange.is_none()) {
            self.begin(id, class, held)?;
        }
        let exchange = self.rooms.get_mut(&id).and_then(|r| r.exchange.as_mut());
        Ok(exchange.filter(|e| e.class == class))
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
        let Some(exchange) = self.exchange(id, class, held)? else {
            return self.fetch_missing(id, class, &heads, held);
        };
        if exchange.heard || exchange.theirs.len() + heads.len() > HEADS_MAX {
            return Err(Failure::Budget("heads"));
        }
        exchange.theirs.extend(heads);
        if !last {
            return Ok(());
        }
        exchange.heard = true;
        let theirs = std::mem::take(&mut exchange.theirs);
        // Their whole list tells what they lack, whatever else we were about to do.
        if listing == Listing::Whole && exchange.told != Some(Listing::Whole) {
            exchange.reconcile = None;
            let known: BTreeSet<EventId> = theirs.iter().map(|h| h.tip.id).collect();
            let lacked = held.heads(id, class, 0)?.into_iter().filter(|h| !known.contains(&h.tip.id)).collect();
            self.tell(id, class, Listing::Part, lacked)?;
        }
        self.fetch_missing(id, class, &theirs, held)?;
        self.settle(held)
    }

    fn fetch_missing(&mut self, id: RoomId, class: Class, heads: &[Head], held: &dyn Holdings) -> Result<(), Failure> {
        let missing: Vec<Missing> = held.missing(id, class, heads)?;
        for m in missing {
            self.fetcher.add(id, m);
        }
        Ok(())
    }

    fn begin_reconcile(&mut self, id: RoomId, class: Class, heads: Vec<Head>) -> Result<(), Failure> {
        let mut reconcile = self.reconcile(heads)?;
        let message = reconcile.sets.initiate().map_err(|_| Failure::Unexpected("reconciliation"))?;
        if let Some(exchange) = self.rooms.get_mut(&id).and_then(|r| r.exchange.as_mut()) {
            exchange.reconcile = Some(reconcile);
        }
        if let Some(room) = self.open_handle(id) {
            self.send(Frame::Reconcile { room, class, message });
        }
        Ok(())
    }

    fn reconcile(&self, heads: Vec<Head>) -> Result<Reconcile, Failure> {
        let broken = |_| Failure::Unexpected("reconciliation");
        let mut sets = NegentropyStorageVector::with_capacity(heads.len());
        let mut by_item = BTreeMap::new();
        for head in heads {
            let item = self.keys.map_or([0; 32], |keys| keys.item(&head));
            sets.insert(0, Id::from_byte_array(item)).map_err(broken)?;
            by_item.insert(item, head);
        }
        sets.seal().map_err(broken)?;
        let sets = Negentropy::owned(sets, RECONCILE_LEN_MAX as u64 / 2).map_err(broken)?;
        Ok(Reconcile { sets, heads: by_item, have: Vec::new(), need: Vec::new(), rounds: 0 })
    }

    fn take_reconcile(&mut self, id: RoomId, class: Class, message: &[u8], held: &dyn Holdings) -> Result<(), Failure> {
        let side = self.settings.side;
        let Some(exchange) = self.exchange(id, class, held)? else { return Ok(()) };
        if exchange.told.is_some() {
            // Our list is on its way, and makes reconciling needless.
            return Ok(());
        }
        let mut reconcile = match exchange.reconcile.take() {
            Some(reconcile) => reconcile,
            None if side == Side::Responder => self.reconcile(held.heads(id, class, 0)?)?,
            None => return Err(Failure::Unexpected("reconciliation")),
        };
        reconcile.rounds += 1;
        if reconcile.rounds > RECONCILE_ROUNDS_MAX {
            return Err(Failure::Budget("rounds of reconciliation"));
        }
        let false_message = |_| Failure::Unexpected("a false message of reconciliation");
        let (answer, result) = match side {
            Side::Responder => (Some(reconcile.sets.reconcile(message).map_err(false_message)?), None),
            Side::Initiator => {
                let (mut have, mut need) = (Vec::new(), Vec::new());
                let next = reconcile.sets.reconcile_with_ids(message, &mut have, &mut need).map_err(false_message)?;
                (next, Some((have, need)))
            }
        };
        let Some(room) = self.open_handle(id) else { return Ok(()) };
        if let Some((have, need)) = result {
            reconcile.collect(have, need)?;
        }
        match answer {
            Some(message) => {
                self.send(Frame::Reconcile { room, class, message });
                if let Some(exchange) = self.rooms.get_mut(&id).and_then(|r| r.exchange.as_mut()) {
                    exchange.reconcile = Some(reconcile);
                }
                Ok(())
            }
            None => self.end_reconcile(id, class, reconcile),
        }
    }

    fn end_reconcile(&mut self, id: RoomId, class: Class, done: Reconcile) -> Result<(), Failure> {
        let Some(room) = self.open_handle(id) else { return Ok(()) };
        for part in done.need.chunks(HEADS_PER_FRAME_MAX) {
            self.send(Frame::Lack { room, class, ids: part.to_vec() });
        }
        if done.need.len().is_multiple_of(HEADS_PER_FRAME_MAX) {
            self.send(Frame::Lack { room, class, ids: Vec::new() });
        }
        self.tell(id, class, Listing::Part, done.have)
    }

    /// Heads that the initiator lacks; a list shorter than a frame's limit ends them.
    fn take_lack(&mut self, id: RoomId, class: Class, ids: &[[u8; 32]], held: &dyn Holdings) -> Result<(), Failure> {
        let Some(exchange) = self.exchange(id, class, held)? else { return Ok(()) };
        let Some(reconcile) = exchange.reconcile.as_mut().filter(|_| exchange.told.is_none()) else { return Ok(()) };
        let found: Vec<Head> = ids.iter().filter_map(|item| reconcile.heads.get(item).copied()).collect();
        reconcile.have.extend(found);
        if ids.len() < HEADS_PER_FRAME_MAX {
            let heads = std::mem::take(&mut reconcile.have);
            self.tell(id, class, Listing::Part, heads)?;
            self.settle(held)?;
        }
        Ok(())
    }

    pub(super) fn delivered(
        &mut self,
        request: u32,
        bytes: u32,
        new: bool,
        bottom: (EventId, u64),
        held: &dyn Holdings,
    ) -> Result<(), Failure> {
        let credit = self.fetcher.delivered(request, bytes, bottom);
        self.out.extend(credit.map(Output::Send));
        if let Some(room) = self.fetcher.room_of(request).and_then(|id| self.rooms.get_mut(&id)) {
            room.brought |= new;
        }
        self.settle(held)
    }

    /// Ends what has been answered; where nothing is left to fetch, says what we hold now.
    pub(super) fn settle(&mut self, held: &dyn Holdings) -> Result<(), Failure> {
        let mut rooms = self.fetcher.settle(held)?;
        rooms.extend(self.rooms.iter().filter(|(_, r)| r.exchange.is_some()).map(|(id, _)| *id));
        for id in rooms {
            if !self.fetcher.is_idle(id) {
                continue;
            }
            let Some(room) = self.rooms.get_mut(&id) else { continue };
            let Some(exchange) = room.exchange.take_if(|e| e.told.is_some() && e.heard) else { continue };
            let class = usize::from(exchange.class.number());
            room.fruitless[class] = if room.brought { 0 } else { room.fruitless[class] + 1 };
            let early = std::mem::take(&mut room.early);
            self.send_check(id, held)?;
            for frame in early {
                self.compare_frame(id, frame, held)?;
            }
            self.compare(id, held)?;
        }
        Ok(())
    }
}

impl Reconcile {
    fn collect(&mut self, have: Vec<Id>, need: Vec<Id>) -> Result<(), Failure> {
        let heads = &self.heads;
        self.have.extend(have.iter().filter_map(|id| heads.get(id.as_bytes().as_slice()).copied()));
        for id in need {
            self.need.push(*id.as_bytes());
        }
        if self.need.len() > HEADS_MAX { Err(Failure::Budget("heads")) } else { Ok(()) }
    }
}

//! Beacons in a conversation: compared whenever both agree on a room's history, told as they change. Who agrees for the
//! first time learns all that is kept; two that lack nothing of each other say eight bytes more in a Check, and no more.

use super::budget::PerMinute;
use super::conversation::Conversation;
use super::{Failure, Holdings, Output, Side, Unavailable};
use crate::beacon::SignedBeacon;
use crate::id::RoomId;
use crate::limits::{
    BEACONS_HEARD_MAX, BEACONS_PER_FRAME_MAX, BEACONS_TOLD_MAX, SLOT_LISTS_HEARD_MAX, SLOT_LISTS_TOLD_MAX, SLOTS_MAX,
};
use crate::wire::{BeaconName, Frame};
use std::collections::BTreeMap;

/// What a conversation knows of a room's beacons: nothing but how much was said of them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct BeaconRoom {
    /// Their last Check is still to be looked at; what it says is soon no longer true.
    fresh: bool,
    /// Our slots were named since a Check came or went.
    named: bool,
    told: PerMinute,
    heard: PerMinute,
    lists_told: PerMinute,
    lists_heard: PerMinute,
}

impl BeaconRoom {
    /// A Check went out: it may be answered by a list.
    pub(super) fn check_sent(&mut self) {
        self.named = false;
    }

    /// A Check came.
    pub(super) fn check_came(&mut self) {
        (self.fresh, self.named) = (true, false);
    }

    /// The same budgets, and nothing else.
    pub(super) fn budget(&self) -> BeaconRoom {
        BeaconRoom { fresh: false, named: false, ..*self }
    }
}

impl Conversation {
    /// How many beacons of a room may still be told to the peer in this minute; `None` before both have agreed once.
    pub fn beacons_left(&self, id: RoomId, now_ms: u64) -> Option<usize> {
        let room = self.rooms.get(&id).filter(|room| room.proven && room.agreed.is_some())?;
        Some(BEACONS_TOLD_MAX.saturating_sub(room.beacons.told.count(now_ms)) as usize)
    }

    /// What `side` says of the beacons that we keep.
    pub(super) fn beacons_digest(&self, id: RoomId, side: Side, held: &dyn Holdings) -> Result<[u8; 8], Unavailable> {
        let (Some(keys), Some(room)) = (self.keys, self.rooms.get(&id)) else { return Ok([0; 8]) };
        Ok(keys.beacons(side, id, &room.offer.secret, &held.beacons_fingerprint(id)?))
    }

    /// Both hold the same history: where they keep different beacons, names ours.
    pub(super) fn compare_beacons(&mut self, id: RoomId, held: &dyn Holdings) -> Result<(), Failure> {
        let Some(room) = self.rooms.get_mut(&id) else { return Ok(()) };
        let Some(theirs) = room.theirs.filter(|_| std::mem::take(&mut room.beacons.fresh)) else { return Ok(()) };
        if theirs.beacons == self.beacons_digest(id, self.settings.side.other(), held)? {
            return Ok(());
        }
        self.name_slots(id, held)
    }

    fn name_slots(&mut self, id: RoomId, held: &dyn Holdings) -> Result<(), Failure> {
        let told = self.full_audience(id, held)?;
        let now_ms = self.now_ms;
        let (Some(keys), Some(handle), Some(room)) = (self.keys, told, self.rooms.get_mut(&id)) else { return Ok(()) };
        if room.beacons.named || room.beacons.lists_told.add(now_ms) > SLOT_LISTS_TOLD_MAX {
            return Ok(());
        }
        room.beacons.named = true;
        let names = held.beacons(id)?.iter().take(SLOTS_MAX).map(|beacon| keys.beacon_name(beacon)).collect();
        self.send(Frame::Slots { room: handle, names });
        Ok(())
    }

    /// The peer names what it keeps: it gets the rest, and names what it has that we lack by our own list.
    pub(super) fn take_slots(&mut self, id: RoomId, names: &[BeaconName], held: &dyn Holdings) -> Result<(), Failure> {
        let now_ms = self.now_ms;
        let Some(room) = self.rooms.get_mut(&id) else { return Ok(()) };
        let lists = room.beacons.lists_heard.add(now_ms);
        if lists > SLOT_LISTS_HEARD_MAX * FAULT_TIMES {
            return Err(Failure::Budget("lists of slots"));
        }
        let told = self.full_audience(id, held)?.is_some();
        let Some(keys) = self.keys.filter(|_| told && lists <= SLOT_LISTS_HEARD_MAX) else { return Ok(()) };
        let mut theirs: BTreeMap<[u8; 4], BeaconName> = names.iter().map(|name| (name.slot, *name)).collect();
        let mut lacked = Vec::new();
        for beacon in held.beacons(id)? {
            let ours = keys.beacon_name(&beacon);
            // What stays in `theirs` is newer there, or not here at all. Of one moment, each gets the other's.
            let known = theirs.remove(&ours.slot);
            if known.is_none_or(|known| known != ours && known.ms <= ours.ms) {
                lacked.push(beacon);
            }
            theirs.extend(known.filter(|known| *known != ours && known.ms >= ours.ms).map(|known| (known.slot, known)));
        }
        if !theirs.is_empty() {
            self.name_slots(id, held)?;
        }
        self.send_beacons(id, lacked, held)
    }

    /// Some changed. Before the first agreement nothing is said of them: that will compare all.
    pub(super) fn tell_beacons(
        &mut self,
        id: RoomId,
        beacons: Vec<SignedBeacon>,
        held: &dyn Holdings,
    ) -> Result<(), Failure> {
        if self.rooms.get(&id).is_some_and(|room| room.agreed.is_some()) {
            self.send_beacons(id, beacons, held)?;
        }
        Ok(())
    }

    fn send_beacons(&mut self, id: RoomId, mut beacons: Vec<SignedBeacon>, held: &dyn Holdings) -> Result<(), Failure> {
        let Some(handle) = self.full_audience(id, held)? else { return Ok(()) };
        let now_ms = self.now_ms;
        let Some(room) = self.rooms.get_mut(&id) else { return Ok(()) };
        let left = BEACONS_TOLD_MAX.saturating_sub(room.beacons.told.count(now_ms)) as usize;
        beacons.truncate(left);
        room.beacons.told.add_many(beacons.len(), now_ms);
        while !beacons.is_empty() {
            let rest = beacons.split_off(beacons.len().min(BEACONS_PER_FRAME_MAX));
            let beacons = std::mem::replace(&mut beacons, rest);
            self.send(Frame::Beacons { room: handle, beacons });
        }
        Ok(())
    }

    pub(super) fn take_beacons(&mut self, id: RoomId, mut beacons: Vec<SignedBeacon>) -> Result<(), Failure> {
        let now_ms = self.now_ms;
        let Some(room) = self.rooms.get_mut(&id) else { return Ok(()) };
        let before = room.beacons.heard.count(now_ms);
        if room.beacons.heard.add_many(beacons.len(), now_ms) > BEACONS_HEARD_MAX * FAULT_TIMES {
            return Err(Failure::Budget("beacons"));
        }
        beacons.truncate(BEACONS_HEARD_MAX.saturating_sub(before) as usize);
        if !beacons.is_empty() {
            self.out.push_back(Output::Beacons { room: id, beacons });
        }
        Ok(())
    }
}

/// What is over a budget is passed over; so many times as much is no mistake any more.
const FAULT_TIMES: u32 = 4;

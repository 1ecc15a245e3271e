//! The slots of a room's beacons: of each device and kind the newest. Whatever the order in which beacons come, the same
//! remain, also where there are more than the limits allow: then the newest stay.

use crate::beacon::{SignedBeacon, VerifiedBeacon, kind};
use crate::event::Hlc;
use crate::id::DeviceId;
use crate::limits::{BEACON_KINDS_MAX, BEACON_MS_MAX, CLOCK_AHEAD_MAX_MS, SLOTS_MAX};
use std::collections::{BTreeMap, BTreeSet};

/// A slot of a room.
pub type SlotKey = (DeviceId, u16);

/// The newest beacons of one room.
#[derive(Debug, Clone, Default)]
pub struct Slots {
    held: BTreeMap<SlotKey, VerifiedBeacon>,
    /// Oldest first, so that who is to go is found at once. Between equal clocks the slot decides, not what is in it: a
    /// slot never gets older, and so the order of arrival never matters.
    ages: BTreeSet<(Hlc, SlotKey)>,
}

/// What became of a beacon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// It is in, and these had to go: others of the device, or the oldest of the room.
    New(Vec<SlotKey>),
    /// It is held, or one that replaces it is, or newer ones take all the room that there is.
    Passed,
}

/// Whether a beacon is worth a look at its signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weighed {
    /// It may be new.
    New,
    /// It is not: held, older than what is held, over a week old.
    Old,
    /// Its clock is too far ahead of ours.
    Ahead,
}

impl Slots {
    /// Looks at a beacon before anything of it was checked: most that come twice end here, for the price of a lookup.
    pub fn weigh(&self, beacon: &SignedBeacon, now_ms: u64) -> Weighed {
        if beacon.hlc.ms() > now_ms.saturating_add(CLOCK_AHEAD_MAX_MS) {
            return Weighed::Ahead;
        }
        let held = self.held.get(&(beacon.device, beacon.kind));
        let is_news = held.is_none_or(|held| beacon.replaces(held.signed()));
        if is_news && !is_expired(beacon, now_ms) { Weighed::New } else { Weighed::Old }
    }

    /// Takes a beacon of a device that is a member's.
    pub fn take(&mut self, beacon: VerifiedBeacon) -> Taken {
        let key = (beacon.signed().device, beacon.signed().kind);
        if self.held.get(&key).is_some_and(|held| !beacon.signed().replaces(held.signed())) {
            return Taken::Passed;
        }
        self.remove(key);
        self.ages.insert((beacon.signed().hlc, key));
        self.held.insert(key, beacon);
        let mut gone = Vec::new();
        if self.of_device(key.0).count() > BEACON_KINDS_MAX {
            let oldest = self.of_device(key.0).map(|held| (held.signed().hlc, held.signed().kind)).min();
            gone.extend(oldest.map(|(_, kind)| (key.0, kind)));
        }
        if self.held.len() - gone.len() > SLOTS_MAX {
            gone.extend(self.ages.first().map(|(_, key)| *key));
        }
        gone.iter().for_each(|key| self.remove(*key));
        if gone.contains(&key) { Taken::Passed } else { Taken::New(gone) }
    }

    /// Drops the slots of devices that are no member's any more, and what is over a week old.
    pub fn sweep(&mut self, is_current: impl Fn(DeviceId) -> bool, now_ms: u64) -> Vec<SlotKey> {
        let goes = |held: &VerifiedBeacon| is_expired(held.signed(), now_ms) || !is_current(held.signed().device);
        let gone: Vec<SlotKey> = self.held.iter().filter(|(_, held)| goes(held)).map(|(key, _)| *key).collect();
        gone.iter().for_each(|key| self.remove(*key));
        gone
    }

    /// What is in a slot.
    pub fn find(&self, device: DeviceId, kind: u16) -> Option<&VerifiedBeacon> {
        self.held.get(&(device, kind))
    }

    /// All that a device has said.
    pub fn of_device(&self, device: DeviceId) -> impl Iterator<Item = &VerifiedBeacon> {
        self.held.range((device, 0)..=(device, u16::MAX)).map(|(_, held)| held)
    }

    /// All slots, by device and kind.
    pub fn iter(&self) -> impl Iterator<Item = &VerifiedBeacon> {
        self.held.values()
    }

    /// Those that outlive a conversation, the newest first.
    pub fn kept(&self) -> Vec<SignedBeacon> {
        let newest = self.ages.iter().rev().filter(|(_, (_, kind))| kind::is_kept(*kind));
        newest.filter_map(|(_, key)| Some(self.held.get(key)?.signed().clone())).collect()
    }

    /// One hash over those; the same where the same is kept.
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key(FINGERPRINT_CONTEXT);
        for beacon in self.held.values().filter(|held| kind::is_kept(held.signed().kind)) {
            hasher.update(&beacon.signed().hash());
        }
        *hasher.finalize().as_bytes()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    fn remove(&mut self, key: SlotKey) {
        if let Some(held) = self.held.remove(&key) {
            self.ages.remove(&(held.signed().hlc, key));
        }
    }
}

fn is_expired(beacon: &SignedBeacon, now_ms: u64) -> bool {
    beacon.hlc.ms().saturating_add(BEACON_MS_MAX) < now_ms
}

const FINGERPRINT_CONTEXT: &str = "tidings/slots/1";

#[cfg(test)]
#[path = "slots_tests.rs"]
mod tests;

//! What beacons say of people: who has read how far, who types, who is there. Claims of their devices, shown as such.

use super::{Beacons, users};
use crate::clock::now_ms;
use crate::rooms::RoomView;
use std::collections::BTreeMap;
use tidings_protocol::beacon::{Presence, Signal, kind};
use tidings_protocol::event::Hlc;
use tidings_protocol::id::{DeviceId, EventId, RoomId, UserId};
use tidings_protocol::limits::{PRESENCE_MS_MAX, TYPING_MS_MAX};
use tidings_storage::Reached;

/// Whether somebody is there, and when they last said something about it, Unix milliseconds by their clock.
pub type Seen = (Presence, u64);

impl Beacons {
    /// The users who have read up to a place in a room's timeline, without one.
    pub fn read_by(&self, view: &RoomView, clock: u64, without: UserId) -> Vec<UserId> {
        let devices: Vec<DeviceId> = {
            let rooms = self.lock();
            let slots = rooms.get(&view.row.room).into_iter().flat_map(|of_room| of_room.slots.iter());
            let readers = slots.filter(|held| matches!(held.signal(), Signal::Read { at, .. } if at.0 >= clock));
            readers.map(|held| held.signed().device).collect()
        };
        let users = devices.into_iter().filter_map(|device| view.state.user_of(device));
        let mut readers: Vec<UserId> = users.filter(|user| *user != without).collect();
        readers.sort_unstable();
        readers.dedup();
        readers
    }

    /// Whether each user who says so is there.
    pub fn presence(&self, view: &RoomView) -> BTreeMap<UserId, Seen> {
        let (users, now_ms) = (users(view), now_ms());
        let mut out: BTreeMap<UserId, Seen> = BTreeMap::new();
        for (device, said_ms, signal) in self.signals(view.row.room, kind::PRESENCE) {
            let (Some(user), Signal::Presence(said)) = (users.get(&device), signal) else { continue };
            let is_lately = now_ms.saturating_sub(said_ms) < PRESENCE_MS_MAX;
            let presence = if is_lately { said } else { Presence::Away };
            let seen = out.entry(*user).or_insert((presence, said_ms));
            // One device is enough to be there.
            let is_online = [seen.0, presence].contains(&Presence::Online);
            *seen = (if is_online { Presence::Online } else { Presence::Away }, seen.1.max(said_ms));
        }
        out
    }

    /// How far a device says that its user has read.
    pub fn mark_of(&self, room: RoomId, device: DeviceId) -> Option<(EventId, Hlc)> {
        let rooms = self.lock();
        match rooms.get(&room)?.slots.find(device, kind::READ)?.signal() {
            Signal::Read { event, at } => Some((*event, *at)),
            _ => None,
        }
    }

    /// Until when a device says that its user types, Unix milliseconds; none if it does not. Whatever its clock says, it is
    /// never longer than somebody may type at a time.
    pub fn types_until_ms(&self, room: RoomId, device: DeviceId) -> Option<u64> {
        let rooms = self.lock();
        match rooms.get(&room)?.slots.find(device, kind::TYPING)?.signal() {
            Signal::Typing { until_ms } => Some((*until_ms).min(now_ms().saturating_add(TYPING_MS_MAX))),
            _ => None,
        }
    }

    /// The devices that say they have our events of a room up to this local number on disk, without ourselves.
    pub fn holders(&self, view: &RoomView, number: u64, us: DeviceId) -> Vec<(DeviceId, UserId)> {
        let reached: Vec<DeviceId> = match self.lock().get(&view.row.room) {
            Some(room) => {
                room.receipts.reached.iter().filter(|(_, reached)| reached.held >= number).map(|(d, _)| *d).collect()
            }
            None => Vec::new(),
        };
        let others = reached.into_iter().filter(|device| *device != us);
        others.filter_map(|device| Some((device, view.state.user_of(device)?))).collect()
    }

    /// How far a device is with us, and when it last said so, Unix milliseconds.
    pub fn reached(&self, room: RoomId, device: DeviceId) -> (Reached, Option<u64>) {
        let rooms = self.lock();
        let Some(of_room) = rooms.get(&room) else { return (Reached::default(), None) };
        let said = of_room.slots.find(device, kind::HOLDS).map(|held| held.signed().hlc.ms());
        (of_room.receipts.reached.get(&device).copied().unwrap_or_default(), said)
    }

    /// What each device says by one kind of beacon, and when it said so.
    pub(super) fn signals(&self, room: RoomId, kind: u16) -> Vec<(DeviceId, u64, Signal)> {
        let rooms = self.lock();
        let slots = rooms.get(&room).into_iter().flat_map(|of_room| of_room.slots.iter());
        let of_kind = slots.filter(|held| held.signed().kind == kind);
        of_kind.map(|held| (held.signed().device, held.signed().hlc.ms(), held.signal().clone())).collect()
    }
}

//! Who has on disk what we said, by their own word: a device whose Holds names content that was ours once we had said
//! something has that, too. In the same way who has nothing any more of what was erased. And what of beacons is written.

use crate::sync::holdings::NodeHoldings;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tidings_protocol::beacon::{Signal, SignedBeacon, kind};
use tidings_protocol::event::Hlc;
use tidings_protocol::id::{DeviceId, EventId, RoomId};
use tidings_protocol::slots::{SlotKey, Slots};
use tidings_protocol::sync::{Digests, Holdings};
use tidings_storage::{Batch, Reached, RoomNumber, StorageError};

/// What is to be written of a room's beacons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The room.
    pub room: RoomNumber,
    /// New in their slots.
    pub put: Vec<SignedBeacon>,
    /// Slots to be emptied.
    pub gone: Vec<SlotKey>,
    /// Devices, and how far they are.
    pub reached: Vec<(DeviceId, Reached)>,
}

impl Change {
    /// Puts it into a batch.
    ///
    /// # Errors
    /// `StorageError`.
    pub fn write(&self, batch: &mut Batch<'_>) -> Result<(), StorageError> {
        for (device, kind) in &self.gone {
            batch.drop_beacon(self.room, *device, *kind)?;
        }
        for beacon in &self.put {
            batch.put_beacon(self.room, beacon)?;
        }
        for (device, reached) in &self.reached {
            batch.put_reached(self.room, *device, *reached)?;
        }
        Ok(())
    }
}

/// Of one room.
#[derive(Default)]
pub(super) struct Receipts {
    /// Digests that we have had, and the last local number that each covers, oldest first.
    content: Covered,
    control: Covered,
    /// How far each device is.
    pub(super) reached: BTreeMap<DeviceId, Reached>,
    /// What was said here, newest last: those whose looks change when a receipt comes.
    said: VecDeque<(u64, EventId)>,
}

/// Digests of one class that we have had.
#[derive(Default)]
struct Covered(VecDeque<([u8; 32], u64)>);

impl Covered {
    fn note(&mut self, digest: [u8; 32], number: u64) {
        match self.0.back_mut() {
            Some((last, covers)) if *last == digest => *covers = number.max(*covers),
            _ => self.0.push_back((digest, number)),
        }
        if self.0.len() > OURS_MAX {
            self.0.pop_front();
        }
    }

    /// What whoever has this digest has.
    fn by(&self, digest: &[u8; 32]) -> Option<u64> {
        self.0.iter().rev().find(|(ours, _)| ours == digest).map(|(_, number)| *number)
    }
}

impl Receipts {
    /// What we hold now. Returns the devices that turn out to hold the same, and how far that reaches.
    pub(super) fn hold(&mut self, ours: &Digests, number: u64, slots: &Slots) -> Vec<(DeviceId, Reached)> {
        self.content.note(ours.content, number);
        self.control.note(ours.control, number);
        let of_all = slots.iter().map(|held| (held.signed().device, held.signed().kind)).collect();
        self.read(slots, &of_all)
    }

    /// Reads off new slots how far they reach.
    pub(super) fn read(&mut self, slots: &Slots, keys: &BTreeSet<SlotKey>) -> Vec<(DeviceId, Reached)> {
        let mut news = Vec::new();
        for (device, kind) in keys.iter().filter(|(_, kind)| *kind == kind::HOLDS) {
            let signal = slots.find(*device, *kind).map(|beacon| beacon.signal());
            let Some(Signal::Holds { control, content, durable, erased }) = signal else { continue };
            let before = self.reached.get(device).copied().unwrap_or_default();
            let mut reached = before;
            if let Some(number) = self.content.by(content).filter(|_| *durable) {
                reached.held = number.max(reached.held);
            }
            match self.control.by(control).filter(|_| *erased > Hlc(0)) {
                Some(number) if *erased == NOTHING_WAITS => reached.erased = number.max(reached.erased),
                Some(number) if number >= reached.waits.0 => reached.waits = (number, *erased),
                _ => {}
            }
            if reached != before {
                self.reached.insert(*device, reached);
                news.push((*device, reached));
            }
        }
        news
    }

    /// Whether these are digests that we have had.
    pub(super) fn had(&self, control: &[u8; 32], content: &[u8; 32]) -> (bool, bool) {
        (self.control.by(control).is_some(), self.content.by(content).is_some())
    }

    /// Something was said here.
    pub(super) fn say(&mut self, number: u64, id: EventId) {
        self.said.push_back((number, id));
        if self.said.len() > SAID_MAX {
            self.said.pop_front();
        }
    }

    /// What was said here lately, above one number and up to another.
    pub(super) fn said_between(&self, above: u64, number: u64) -> Vec<EventId> {
        self.said.iter().filter(|(n, _)| *n > above && *n <= number).map(|(_, id)| *id).collect()
    }
}

/// What a room's digest of content is now, and the last number that it surely covers; nothing where it cannot be read.
pub(super) fn held_now(held: &NodeHoldings, room: RoomId) -> Option<(Digests, u64)> {
    // What is committed meanwhile is covered by the next.
    let number = held.store.next_number().ok()?.saturating_sub(1);
    Some((held.digests(room).ok()?, number))
}

/// What Holds says as `erased` where nothing waits.
pub const NOTHING_WAITS: Hlc = Hlc(u64::MAX);
/// Digests of our own that are remembered: what others name is seconds old.
const OURS_MAX: usize = 64;
/// Own events of a room of which a screen is told that a receipt came.
const SAID_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_protocol::beacon::Draft;
    use tidings_protocol::identity::DeviceKey;

    fn ours(control: u8, content: u8) -> Digests {
        Digests { control: [control; 32], content: [content; 32], change: 0 }
    }

    fn say(slots: &mut Slots, ms: u64, (control, content): (u8, u8), durable: bool, erased: Hlc) -> BTreeSet<SlotKey> {
        let key = DeviceKey::from_seed(&[1; 32]);
        let signal = Signal::Holds { control: [control; 32], content: [content; 32], durable, erased };
        let draft = Draft { room: RoomId([1; 32]), hlc: Hlc::at_ms(ms), signal };
        slots.take(draft.sign(&key).unwrap());
        BTreeSet::from([(key.device(), kind::HOLDS)])
    }

    fn holds(slots: &mut Slots, ms: u64, content: u8, durable: bool) -> BTreeSet<SlotKey> {
        say(slots, ms, (0, content), durable, Hlc(0))
    }

    fn held(held: u64) -> Reached {
        Reached { held, ..Reached::default() }
    }

    #[test]
    fn a_receipt_reaches_as_far_as_what_we_had_then_and_never_back() {
        let (mut receipts, mut slots) = (Receipts::default(), Slots::default());
        let device = DeviceKey::from_seed(&[1; 32]).device();
        assert_eq!(receipts.hold(&ours(0, 1), 10, &slots), []);
        let key = holds(&mut slots, 1, 1, true);
        assert_eq!(receipts.read(&slots, &key), [(device, held(10))]);
        receipts.hold(&ours(0, 2), 20, &slots);
        assert_eq!(receipts.reached[&device], held(10), "what it holds is not what we have now");
        let key = holds(&mut slots, 2, 3, true);
        assert_eq!(receipts.read(&slots, &key), [], "nor what we ever had");
        assert_eq!(receipts.hold(&ours(0, 3), 30, &slots), [(device, held(30))], "until we have it, too");
        let key = holds(&mut slots, 3, 1, true);
        assert_eq!((receipts.read(&slots, &key), receipts.reached[&device]), (vec![], held(30)));
    }

    #[test]
    fn what_has_holes_is_no_receipt() {
        let (mut receipts, mut slots) = (Receipts::default(), Slots::default());
        receipts.hold(&ours(0, 1), 10, &slots);
        let key = holds(&mut slots, 1, 1, false);
        assert_eq!((receipts.read(&slots, &key), receipts.reached.len()), (vec![], 0));
    }

    #[test]
    fn what_is_erased_is_gone_where_a_device_says_so_of_our_control_events() {
        let (mut receipts, mut slots) = (Receipts::default(), Slots::default());
        let device = DeviceKey::from_seed(&[1; 32]).device();
        receipts.hold(&ours(1, 1), 10, &slots);
        receipts.hold(&ours(2, 1), 20, &slots);
        let mut hears = |ms, control, erased| {
            let key = say(&mut slots, ms, (control, 9), false, erased);
            receipts.read(&slots, &key);
            receipts.reached.get(&device).copied().unwrap_or_default()
        };
        assert_eq!(hears(1, 2, Hlc(0)), Reached::default(), "it says nothing");
        assert_eq!(hears(2, 3, NOTHING_WAITS), Reached::default(), "of control events that we never had");
        // A moderator's erasure, number 10 of clock 50, waits there; the next one of the author's own does not.
        let reached = hears(3, 2, Hlc(50));
        assert_eq!((reached.has_erased(10, Hlc(50), false), reached.has_erased(10, Hlc(49), false)), (false, true));
        assert_eq!((reached.has_erased(15, Hlc(60), true), reached.has_erased(21, Hlc(60), true)), (true, false));
        let reached = hears(4, 2, NOTHING_WAITS);
        assert!(reached.has_erased(10, Hlc(50), false) && !reached.has_erased(21, Hlc(1), false));
        let reached = hears(5, 1, Hlc(1));
        assert!(reached.has_erased(20, Hlc(50), false), "what is gone is gone");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut receipts, slots) = (Receipts::default(), Slots::default());
        for n in 0..1000u64 {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&n.to_be_bytes());
            receipts.hold(&Digests { control: digest, content: digest, change: 0 }, n, &slots);
            receipts.say(n, EventId([1; 32]));
        }
        assert_eq!((receipts.content.0.len(), receipts.control.0.len(), receipts.said.len()), (64, 64, 64));
    }
}

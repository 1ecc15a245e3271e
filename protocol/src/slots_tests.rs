//! Any order of arrival ends in the same slots; the bounds hold whatever comes.

use super::*;
use crate::beacon::{Draft, Presence, Signal};
use crate::codec::encode;
use crate::event::Hlc;
use crate::id::{EventId, RoomId};
use crate::identity::{DeviceKey, Signature};
use proptest::prelude::*;

fn beacon(device: u8, kind: u16, hlc: u64, says: u8) -> VerifiedBeacon {
    // What `kept` takes is not verified again: a thousand signatures would say nothing about slots.
    let signature = Signature([says; 64]);
    let signed = SignedBeacon { device: DeviceId([device; 32]), kind, hlc: Hlc(hlc), payload: vec![says], signature };
    signed.kept(RoomId([1; 32])).unwrap()
}

fn bytes(slots: &Slots) -> Vec<Vec<u8>> {
    slots.iter().map(|held| encode(held.signed())).collect()
}

fn filled(beacons: &[VerifiedBeacon]) -> Slots {
    let mut slots = Slots::default();
    for beacon in beacons {
        slots.take(beacon.clone());
    }
    slots
}

fn some_beacons() -> impl Strategy<Value = Vec<VerifiedBeacon>> {
    // Few clocks, so that ties are common; more kinds than a device may have.
    let one =
        (0u8..4, 100u16..114, 0u64..6, 0u8..3).prop_map(|(device, kind, hlc, says)| beacon(device, kind, hlc, says));
    proptest::collection::vec(one, 0..120)
}

proptest! {
    #[test]
    fn any_order_ends_in_the_same_slots(beacons in some_beacons(), seed in any::<u64>()) {
        let slots = filled(&beacons);
        let mut shuffled = beacons.clone();
        // Twice each, in another order.
        shuffled.extend(beacons);
        shuffled.sort_by_cached_key(|b| *blake3::hash(&[&encode(b.signed())[..], &seed.to_be_bytes()].concat()).as_bytes());
        let others = filled(&shuffled);
        prop_assert_eq!(bytes(&slots), bytes(&others));
        prop_assert_eq!(slots.fingerprint(), others.fingerprint());
    }

    #[test]
    fn a_device_never_has_more_kinds_than_allowed(beacons in some_beacons()) {
        let slots = filled(&beacons);
        for device in 0..4 {
            let device = DeviceId([device; 32]);
            prop_assert!(slots.of_device(device).count() <= BEACON_KINDS_MAX);
        }
        prop_assert_eq!(slots.ages.len(), slots.len());
    }
}

#[test]
fn the_newest_of_a_room_stay_whatever_comes() {
    let all = |n: u16| {
        let mut device = [0; 32];
        device[..2].copy_from_slice(&(n / 8).to_be_bytes());
        let signed =
            SignedBeacon { device: DeviceId(device), ..beacon(0, 100 + n % 8, u64::from(n), 1).signed().clone() };
        signed.kept(RoomId([1; 32])).unwrap()
    };
    let count = u16::try_from(SLOTS_MAX).unwrap() + 500;
    let ascending: Vec<VerifiedBeacon> = (0..count).map(all).collect();
    let descending: Vec<VerifiedBeacon> = ascending.iter().rev().cloned().collect();
    let slots = filled(&ascending);
    assert_eq!((slots.len(), slots.ages.first().unwrap().0), (SLOTS_MAX, Hlc(500)));
    assert_eq!(bytes(&slots), bytes(&filled(&descending)));
}

#[test]
fn thousands_of_kinds_leave_eight_and_no_trace() {
    let mut slots = Slots::default();
    for kind in 100..5000 {
        slots.take(beacon(1, kind, 7, 1));
    }
    assert_eq!((slots.len(), slots.ages.len()), (BEACON_KINDS_MAX, BEACON_KINDS_MAX));
}

#[test]
fn what_is_too_old_or_too_far_ahead_is_told_before_anything_is_checked() {
    let now_ms = 100 * BEACON_MS_MAX;
    let at = |ms: u64| beacon(1, 100, Hlc::at_ms(ms).0, 1);
    let mut slots = Slots::default();
    assert_eq!(slots.weigh(at(now_ms + CLOCK_AHEAD_MAX_MS).signed(), now_ms), Weighed::New);
    assert_eq!(slots.weigh(at(now_ms + CLOCK_AHEAD_MAX_MS + 1).signed(), now_ms), Weighed::Ahead);
    assert_eq!(slots.weigh(at(now_ms - BEACON_MS_MAX).signed(), now_ms), Weighed::New);
    assert_eq!(slots.weigh(at(now_ms - BEACON_MS_MAX - 1).signed(), now_ms), Weighed::Old);
    assert_eq!(slots.take(at(now_ms)), Taken::New(Vec::new()));
    assert_eq!(slots.weigh(at(now_ms).signed(), now_ms), Weighed::Old);
    assert_eq!(slots.weigh(at(now_ms - 1).signed(), now_ms), Weighed::Old);
}

#[test]
fn slots_go_with_their_device_and_after_a_week() {
    let mut slots = filled(&[beacon(1, 100, Hlc::at_ms(5).0, 1), beacon(2, 100, Hlc::at_ms(9).0, 1)]);
    assert_eq!(slots.clone().sweep(|device| device == DeviceId([2; 32]), 10), [(DeviceId([1; 32]), 100)]);
    assert_eq!(slots.sweep(|_| true, 6 + BEACON_MS_MAX), [(DeviceId([1; 32]), 100)]);
    assert_eq!(slots.sweep(|_| true, 10 + BEACON_MS_MAX), [(DeviceId([2; 32]), 100)]);
    assert!(slots.is_empty() && slots.ages.is_empty());
}

#[test]
fn what_is_of_the_moment_is_in_no_comparison() {
    let key = DeviceKey::from_seed(&[1; 32]);
    let say = |signal| Draft { room: RoomId([1; 32]), hlc: Hlc::at_ms(5), signal }.sign(&key).unwrap();
    let read = say(Signal::Read { event: EventId([1; 32]), at: Hlc(1) });
    let kept = filled(std::slice::from_ref(&read));
    let all = filled(&[read, say(Signal::Typing { until_ms: 6 }), say(Signal::Presence(Presence::Online))]);
    assert_eq!((all.len(), all.kept(), all.fingerprint()), (3, kept.kept(), kept.fingerprint()));
    assert_ne!(kept.fingerprint(), Slots::default().fingerprint());
}

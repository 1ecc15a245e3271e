//! Keys of sealed tips come to one among those who stay, and go from those who have gone.

use super::*;
use crate::network::peer_of;

const ROOM: RoomId = RoomId([5; 32]);

fn devices(numbers: &[u8]) -> BTreeSet<DeviceId> {
    numbers.iter().map(|n| DeviceId([*n; 32])).collect()
}

fn peer(n: u8) -> Peer {
    peer_of([n; 32]).unwrap()
}

/// A node that takes part in a room with these devices.
fn node(numbers: &[u8]) -> SealedTips {
    let tips = SealedTips::default();
    let mut inner = tips.lock();
    inner.topics.insert("topic".into(), ROOM);
    inner.rooms.insert(ROOM, Room::new("topic".into(), devices(numbers)));
    drop(inner);
    tips
}

fn renew(tips: &SealedTips, numbers: &[u8]) {
    tips.lock().rooms.get_mut(&ROOM).unwrap().renew(devices(numbers));
}

fn tell(from: &SealedTips, device: u8, to: &SealedTips) -> bool {
    let (circle, key) = from.key(ROOM).unwrap();
    to.told(ROOM, DeviceId([device; 32]), circle, key)
}

fn says(tips: &SealedTips, id: u8) -> Vec<u8> {
    tips.moved(ROOM, vec![EventId([id; 32])]);
    match tips.seal(ROOM) {
        Some(network::Command::Publish { data, .. }) => data,
        other => panic!("{other:?}"),
    }
}

fn opens(tips: &SealedTips, data: &[u8]) -> bool {
    matches!(tips.open(peer(1), "topic", data), Opened::Tips(..))
}

#[test]
fn who_see_the_same_devices_come_to_one_key() {
    let (a, b) = (node(&[1, 2]), node(&[1, 2]));
    let first_is_larger = a.key(ROOM) > b.key(ROOM);
    assert_eq!(tell(&a, 1, &b), first_is_larger, "who tells a larger key lacks the smaller");
    assert!(!tell(&b, 2, &a));
    assert_eq!(a.key(ROOM), b.key(ROOM));
    assert!(opens(&b, &says(&a, 1)));
    assert!(!opens(&node(&[1, 2]), &says(&a, 2)), "who was told nothing reads nothing");
}

#[test]
fn whoever_has_gone_reads_nothing_more_and_cannot_choose_the_next_key() {
    let (a, gone) = (node(&[1, 2, 3]), node(&[1, 2, 3]));
    tell(&a, 1, &gone);
    tell(&gone, 3, &a);
    let before = says(&gone, 1);
    assert!(opens(&a, &before));
    // It sees its going before others do, and tells them a key for the time after.
    let next = circle(&devices(&[1, 2]));
    a.told(ROOM, DeviceId([3; 32]), next, [0; 32]);
    a.told(ROOM, DeviceId([2; 32]), next, [7; 32]);
    renew(&a, &[1, 2]);
    assert_eq!(a.key(ROOM), Some((next, [7; 32])), "by one who stays");
    assert!(!opens(&gone, &says(&a, 2)));
    assert!(!opens(&a, &says(&gone, 3)), "nor is it heard");
    assert!(!opens(&a, &before));
}

#[test]
fn a_key_of_other_devices_is_kept_and_not_told_further() {
    let (a, b) = (node(&[1, 2]), node(&[1, 2, 3]));
    let own = a.key(ROOM);
    assert!(!tell(&b, 2, &a));
    assert_eq!(a.key(ROOM), own);
    // Once the third has come here, too, it is the key; and what is said by the old one still opens.
    let old = says(&a, 1);
    renew(&a, &[1, 2, 3]);
    assert_eq!(a.key(ROOM), b.key(ROOM));
    assert!(opens(&a, &old));
}

#[test]
fn what_somebody_has_said_is_not_said_again() {
    let (a, b) = (node(&[1, 2]), node(&[1, 2]));
    tell(&a, 1, &b);
    tell(&b, 2, &a);
    let data = says(&a, 1);
    b.moved(ROOM, vec![EventId([1; 32])]);
    assert!(b.next_due().is_some());
    assert!(opens(&b, &data));
    assert!(b.seal(ROOM).is_none() && b.next_due().is_none());
    // Once said, it is not said again either.
    a.moved(ROOM, vec![EventId([1; 32])]);
    assert!(a.seal(ROOM).is_none());
}

#[test]
fn a_flood_of_what_does_not_open_is_tried_only_so_often() {
    let (a, b) = (node(&[1, 2]), node(&[1, 2]));
    tell(&a, 1, &b);
    tell(&b, 2, &a);
    for _ in 0..FAILURES_MAX {
        assert!(!opens(&b, &[7; SEALED_TIPS_LEN]));
    }
    let data = says(&a, 1);
    assert!(!opens(&b, &data), "not even tried");
    assert!(matches!(b.open(peer(2), "topic", &data), Opened::Tips(..)), "others are heard");
    assert!(matches!(b.open(peer(2), "topic", &data[1..]), Opened::Verdict(GossipVerdict::Reject)));
    assert!(matches!(b.open(peer(2), "other", &data), Opened::Verdict(GossipVerdict::Ignore)));
}

#[test]
fn a_flood_of_what_opens_is_passed_on_only_so_often() {
    let a = node(&[1, 2]);
    let (_, key) = a.key(ROOM).unwrap();
    let heard = (0..100).filter(|n| {
        let data = Tips { ms: now_ms(), ids: vec![EventId([1; 32])] }.seal(&key, ROOM, [*n; 24]);
        opens(&a, &data)
    });
    // A second may end meanwhile.
    assert!((HEARD_MAX as usize..=2 * HEARD_MAX as usize).contains(&heard.count()));
}

#[test]
fn a_replay_is_ignored() {
    let a = node(&[1, 2]);
    let (_, key) = a.key(ROOM).unwrap();
    let ids = vec![EventId([1; 32])];
    for (ms, is_now) in [(now_ms(), true), (now_ms() - RECENT_MS - 1000, false), (now_ms() + RECENT_MS + 1000, false)] {
        let data = Tips { ms, ids: ids.clone() }.seal(&key, ROOM, [1; 24]);
        assert_eq!(opens(&a, &data), is_now);
    }
}

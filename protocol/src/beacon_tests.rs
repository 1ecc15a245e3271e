//! What a beacon has to be, and that nothing else passes.

use super::*;
use proptest::prelude::*;

fn key() -> DeviceKey {
    DeviceKey::from_seed(&[7; 32])
}

fn signals() -> Vec<Signal> {
    vec![
        Signal::Read { event: EventId([9; 32]), at: Hlc::at_ms(77) },
        Signal::Typing { until_ms: NOW_MS + TYPING_MS_MAX },
        Signal::Presence(Presence::Away),
        Signal::Presence(Presence::Online),
        Signal::Addresses(vec!["/ip4/203.0.113.7/tcp/4001/p2p/12D3KooWExample".into(), String::new()]),
        Signal::Addresses(Vec::new()),
        Signal::Holds { control: [1; 32], content: [2; 32], durable: true, erased: Hlc(3) },
    ]
}

fn signed(signal: Signal) -> SignedBeacon {
    Draft { room: ROOM, hlc: HLC, signal }.sign(&key()).unwrap().signed().clone()
}

#[test]
fn every_kind_travels_and_verifies() {
    for signal in signals() {
        let beacon = signed(signal.clone());
        let bytes = encode(&beacon);
        assert!(bytes.len() <= BEACON_LEN_MAX);
        let read = SignedBeacon::decode(&bytes).unwrap();
        assert_eq!((&read, read.hash()), (&beacon, beacon.hash()));
        let verified = read.verify(ROOM).unwrap();
        assert_eq!((verified.signal(), verified.room()), (&signal, ROOM));
    }
}

#[test]
fn a_beacon_counts_in_its_room_only_and_not_with_another_word() {
    let beacon = signed(Signal::Presence(Presence::Online));
    assert_eq!(beacon.clone().verify(RoomId([4; 32])), Err(BadSignature.into()));
    let other = SignedBeacon { payload: vec![0], ..beacon.clone() };
    assert_eq!(other.verify(ROOM), Err(BadSignature.into()));
    let later = SignedBeacon { hlc: Hlc(HLC.0 + 1), ..beacon.clone() };
    assert_eq!(later.verify(ROOM), Err(BadSignature.into()));
    let device = DeviceKey::from_seed(&[8; 32]).device();
    assert_eq!(SignedBeacon { device, ..beacon }.verify(ROOM), Err(BadSignature.into()));
}

#[test]
fn what_says_too_much_is_neither_signed_nor_taken() {
    let sign = |signal| Draft { room: ROOM, hlc: HLC, signal }.sign(&key());
    assert!(sign(Signal::Typing { until_ms: NOW_MS + TYPING_MS_MAX + 1 }).is_err());
    assert!(sign(Signal::Addresses(vec!["a".into(); BEACON_ADDRESSES_MAX + 1])).is_err());
    assert!(sign(Signal::Addresses(vec!["a".repeat(ADDRESS_LEN_MAX + 1)])).is_err());
    assert!(sign(Signal::Addresses(vec!["a".repeat(ADDRESS_LEN_MAX); 4])).is_err(), "1 KiB and the lengths");
    assert!(sign(Signal::Unknown).is_err());
    for (kind, payload) in [
        (kind::READ, vec![0; 39]),
        (kind::TYPING, (NOW_MS + TYPING_MS_MAX + 1).to_be_bytes().to_vec()),
        (kind::PRESENCE, vec![2]),
        (kind::PRESENCE, vec![1, 0]),
        (kind::ADDRESSES, vec![0, 0, 0, 9]),
        (kind::HOLDS, vec![2; 65]),
        (999, vec![0; BEACON_PAYLOAD_LEN_MAX + 1]),
    ] {
        let beacon = SignedBeacon { kind, payload, ..signed(Signal::Presence(Presence::Away)) };
        assert!(matches!(beacon.verify(ROOM), Err(BeaconError::Codec(_))), "{kind}");
    }
}

#[test]
fn a_kind_of_a_later_version_verifies_and_means_nothing() {
    let mut beacon = SignedBeacon { kind: 999, payload: vec![5; 9], ..signed(Signal::Presence(Presence::Away)) };
    beacon.signature = key().sign(Domain::Beacon, &beacon.claim(ROOM));
    assert_eq!(beacon.verify(ROOM).unwrap().signal(), &Signal::Unknown);
}

#[test]
fn of_two_with_one_clock_the_larger_bytes_win() {
    let (away, online) = (signed(Signal::Presence(Presence::Away)), signed(Signal::Presence(Presence::Online)));
    assert!(encode(&online) > encode(&away));
    assert!(online.replaces(&away) && !away.replaces(&online) && !away.replaces(&away));
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_are_canonical(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(beacon) = SignedBeacon::decode(&bytes) {
            prop_assert_eq!(encode(&beacon), bytes);
            prop_assert!(beacon.verify(ROOM).is_err());
        }
    }

    #[test]
    fn a_payload_reads_only_as_it_is_written(kind in 0u16..7, payload in proptest::collection::vec(any::<u8>(), 0..80)) {
        match Signal::decode(kind, &payload) {
            Ok(Signal::Unknown) | Err(_) => {}
            Ok(signal) => prop_assert_eq!(signal.encode(), payload),
        }
    }
}

const ROOM: RoomId = RoomId([3; 32]);
const NOW_MS: u64 = 1_700_000_000_000;
const HLC: Hlc = Hlc(NOW_MS << 16);

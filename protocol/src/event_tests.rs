//! Tests of `event`.

use super::*;

fn draft() -> Draft {
    Draft {
        class: Class::Content,
        kind: 1,
        room: RoomId([1; 32]),
        grant: EventId([2; 32]),
        seq: 1,
        prev: EventId::ZERO,
        parents: vec![EventId([9; 32]), EventId([3; 32]), EventId([9; 32])],
        hlc: Hlc::at_ms(1_700_000_000_000),
        payload: Payload { salt: [4; 16], bytes: Content::Text("hello".into()).encode() },
    }
}

fn signed() -> SignedEvent {
    let key = DeviceKey::from_seed(&[7; 32]);
    draft().sign(&key).ok().and_then(|e| e.to_signed()).unwrap_or_else(|| unreachable!("it was signed"))
}

#[test]
fn a_signed_event_survives_the_wire_and_verifies() {
    let event = signed();
    let bytes = encode(&event);
    let verified = SignedEvent::decode(&bytes).map(SignedEvent::verify);
    assert_eq!(verified.map(|v| v.map(|v| v.to_signed())), Ok(Ok(Some(event))));
}

#[test]
fn a_wrong_byte_anywhere_is_refused() {
    let bytes = encode(&signed());
    for at in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        let accepted = SignedEvent::decode(&bad).is_ok_and(|e| e.verify().is_ok());
        assert!(!accepted, "byte {at} may be changed");
    }
}

#[test]
fn a_signature_by_another_key_is_refused() {
    let mut event = signed();
    event.header.author = DeviceKey::from_seed(&[8; 32]).device();
    assert_eq!(event.verify().err(), Some(EventError::Signature(BadSignature)));
}

#[test]
fn an_erased_event_keeps_its_id() {
    let mut event = signed();
    let id = event.header.id();
    event.body = Body::Erased;
    assert_eq!(event.verify().map(|v| v.id()), Ok(id));
}

#[test]
fn headers_that_no_honest_author_writes_are_refused() {
    let good = signed().header;
    let broken: [fn(&mut Header); 6] = [
        |h| h.seq = 0,
        |h| h.seq = 2,
        |h| h.prev = EventId([1; 32]),
        |h| h.room = RoomId::ZERO,
        |h| h.grant = EventId::ZERO,
        |h| h.parents.reverse(),
    ];
    assert!(decode::<Header>(&encode(&good), HEADER_LEN_MAX).is_ok());
    for (n, change) in broken.iter().enumerate() {
        let mut header = good.clone();
        change(&mut header);
        assert!(decode::<Header>(&encode(&header), HEADER_LEN_MAX).is_err(), "change {n}");
    }
}

#[test]
fn what_nobody_could_read_is_not_signed() {
    let key = DeviceKey::from_seed(&[7; 32]);
    let mut long = draft();
    long.kind = 999;
    long.payload.bytes = vec![0; PAYLOAD_LEN_MAX + 1];
    let mut broken = draft();
    broken.payload.bytes.push(0);
    let mut nowhere = draft();
    nowhere.seq = 0;
    for draft in [long, broken, nowhere] {
        assert!(draft.sign(&key).is_err());
    }
}

#[test]
fn the_clock_never_goes_back() {
    let first = Hlc::at_ms(1000);
    assert_eq!(first.tick(999).0, first.0 + 1);
    assert_eq!(first.tick(1001), Hlc::at_ms(1001));
    assert_eq!(Hlc(u64::MAX).tick(0), Hlc(u64::MAX));
}

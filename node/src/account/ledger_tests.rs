//! The ledger on its own: it is kept and read back, and takes only what was sealed to this device, in this room.

use super::*;
use tidings_protocol::identity::RecoveryPhrase;

fn record(n: u8) -> Entry {
    Entry::new(&Record::Block(UserId([n; 32]), true), Hlc::at_ms(u64::from(n)))
}

fn sealed(entries: Vec<Entry>, whole: bool, to: &[SealingId], place: Place) -> Sealed {
    Sealed::seal(&Bundle { whole, entries }.to_bytes(), to, place, &mut || [7; 32]).unwrap()
}

#[test]
fn what_was_sealed_for_this_device_is_taken_once_and_kept() {
    let (own, words) = (SealingKey::from_seed(&[1; 32]), RecoveryPhrase::from_entropy([2; 32]).sealing_key());
    let place = Place { room: RoomId([3; 32]), author: DeviceId([4; 32]) };
    let elsewhere = Place { room: RoomId([5; 32]), ..place };
    let mut ledger = Ledger::default();
    let bundle = sealed(vec![record(1), record(2)], true, &[own.id(), words.id()], place);
    assert_eq!(ledger.take_sealed(&bundle, elsewhere, &[&own], 10), []);
    assert_eq!(ledger.take_sealed(&bundle, place, &[&SealingKey::from_seed(&[9; 32])], 10), []);
    assert!(!ledger.covers(own.id()));
    assert_eq!(ledger.take_sealed(&bundle, place, &[&own], 10), [record(1), record(2)]);
    assert_eq!(ledger.take_sealed(&bundle, place, &[&words], 10), []);
    assert!(ledger.covers(own.id()));
    ledger.through = 17;
    ledger.sealing.insert(place.author, own.id());
    let (_, bytes) = ledger.to_note();
    assert_eq!(decode::<Ledger>(&bytes, usize::MAX), Ok(ledger));
}

#[test]
fn a_device_that_was_not_told_everything_is_uncovered() {
    let [own, words, other] = [1, 2, 3].map(|n| SealingKey::from_seed(&[n; 32]).id());
    let mut ledger = Ledger::default();
    assert!(!ledger.is_uncovered(&[own, words], own, words));
    assert!(ledger.is_uncovered(&[own, words, other], own, words));
    ledger.covered.insert(other);
    assert!(!ledger.is_uncovered(&[own, words, other], own, words));
}

#[test]
fn what_a_thief_told_is_taken_back_when_the_device_is_revoked() {
    let own = SealingKey::from_seed(&[1; 32]);
    let place = Place { room: RoomId([3; 32]), author: DeviceId([4; 32]) };
    let mut ledger = Ledger::default();
    ledger.take_sealed(&sealed(vec![record(1)], true, &[own.id()], place), place, &[&own], 10);
    assert!(ledger.anew(&BTreeSet::new()).is_none());
    let ended = BTreeSet::from([DeviceId([9; 32])]);
    let mut anew = ledger.anew(&ended).unwrap();
    assert_eq!((anew.through, anew.rooms().len(), anew.covers(own.id())), (0, 0, false));
    assert!(anew.anew(&ended).is_none());
    anew.take_sealed(&sealed(vec![record(1), record(2)], true, &[own.id()], place), place, &[&own], 10);
    assert_eq!(anew.beyond(&ledger), [record(2)]);
    let (_, bytes) = anew.to_note();
    assert_eq!(decode::<Ledger>(&bytes, usize::MAX), Ok(anew));
}

#[test]
fn a_key_with_which_nobody_agrees_on_anything_is_nobodys() {
    assert!(SealingKey::from_seed(&[1; 32]).id().is_usable());
    assert!(!SealingId([0; 32]).is_usable());
}

//! What a revocation leaves of somebody's words reaches everybody, also from a node that has no signature of the last of
//! them: what stands above vouches for it, though it does not count.

use crate::support::nodes::Person;
use crate::support::store::Duo;
use std::time::{Duration, Instant};
use tidings_protocol::limits::CHUNK_INFLATED_MAX;
use tidings_protocol::log::Tip;
use tidings_protocol::range::{Range, Vouched};

#[test]
fn evidence_is_what_stands_above_up_to_the_next_signature() {
    let mut duo = Duo::new();
    let mut store = duo.store();
    let trunk = duo.bob_says.run(50);
    let mut other = duo.bob_says.fork();
    let run = duo.bob_says.run(300);
    // A branch beside it, signed at once, vouches for what both stand on.
    let beside = other.run(20);
    let log = duo.bob_says.log();
    store.append(&[trunk.clone(), run.clone()].concat());
    let count = |store: &crate::support::store::TestStore, seq: u64| {
        let of = [trunk.as_slice(), &run].concat()[seq as usize - 1].id();
        store.store.evidence(&log, of).unwrap().map(|rows| rows.len())
    };
    assert_eq!([1, 50, 100, 255, 256, 257, 350].map(|seq| count(&store, seq)), [49, 0, 156, 1, 0, 93, 0].map(Some));
    store.append(&beside);
    assert_eq!([60, 70].map(|seq| count(&store, seq)), [196, 186].map(Some), "not of another branch");
    // It travels with a range that ends below, and proves it.
    for seq in [100, 255, 300] {
        let top = Tip { seq, id: run[seq as usize - 51].id() };
        let mut range = store.range(&log, top, seq - 10, CHUNK_INFLATED_MAX).unwrap();
        assert!(range.clone().verify(store.id, log, top, Vouched::BySignature).is_err());
        range.rows.extend(store.store.evidence(&log, top.id).unwrap().unwrap());
        let chunk = range.deflate().unwrap();
        assert!(Range::inflate(&chunk).unwrap().verify(store.id, log, top, Vouched::BySignature).is_ok());
    }
    // Where nothing above was kept there is none.
    let mut short = duo.store();
    short.append(&trunk);
    short.append(&run[..60]);
    assert_eq!(count(&short, 80), None);
}

#[test]
fn what_is_left_reaches_who_asks_somebody_without_a_signature_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut people = ["alice", "bob", "carol", "dave"].map(|name| Person::at(folder.path(), name));
    for (person, name) in people.iter_mut().zip(["alice", "bob", "carol", "dave"]) {
        person.up();
        person.done(&["id", "name", name]);
    }
    // They come back where they were, so that they find one another.
    let at: Vec<String> = people.iter().map(|person| person.ready["listen"][0].as_str().unwrap().to_owned()).collect();
    let at: Vec<&str> = at.iter().map(|address| address.split("/p2p/").next().unwrap()).collect();
    let [alice, bob, carol, dave] = &mut people;
    alice.json(&["room", "create", "lab"]);
    let link = alice.link("lab");
    for person in [&*bob, carol, dave] {
        assert_eq!(person.json(&["room", "join", &link])["pending"], false);
    }
    for person in [&*alice, bob, carol, dave] {
        until("all are connected", || person.json(&["peers"]).as_array().unwrap().len() == 3);
    }
    carol.down();
    dave.down();
    say(bob, 1..=50);
    alice.until_shown("lab", 50);
    alice.down();
    say(bob, 51..=60);
    // Carol gets all of it as one range, of which only the last is signed.
    carol.up_with(&["--listen", at[2]]);
    carol.until_shown("lab", 60);
    carol.down();
    bob.down();
    alice.up_with(&["--listen", at[0]]);
    alice.json(&["room", "revoke", "lab", "bob"]);
    carol.up_with(&["--listen", at[2]]);
    until("Carol knows", || carol.texts("lab").len() == 50);
    alice.down();
    dave.up_with(&["--listen", at[3]]);
    dave.until_shown("lab", 50);
    // What he has of it he can show as well.
    carol.down();
    alice.up_with(&["--listen", at[0]]);
    until("they agree", || {
        let peers = dave.json(&["peers"]);
        peers[0]["rooms"] == 1 && peers[0]["behind"] == 0
    });
    assert_eq!(alice.texts("lab").len(), 50);
}

fn say(person: &Person, numbers: std::ops::RangeInclusive<u32>) {
    for n in numbers {
        person.send("lab", &format!("word {n}"));
    }
}

/// Waits until something holds; fails after a minute.
fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(60), "not after a minute: {what}");
    }
}

//! All data lost, keys kept: everything that a peer holds comes back, and what is said then is said by a new device, so that
//! no place in the old one's logs is used twice.

use crate::support::devices::{device, pair, until, until_home_is_held, up_with_peer};
use crate::support::fault::Fault;
use crate::support::nodes::Person;
use crate::support::seeded::Seeded;
use std::fs;
use std::path::Path;

fn one(folder: &Path, seed: u64, fault: &mut Fault) {
    let mut dice = Seeded::new(seed);
    let (mut alice, bob) = pair(folder);
    let mut said = Vec::new();
    for n in 0..5 + dice.below(40) {
        let room = *dice.pick(&["zig", "square"]);
        said.push((room, alice.send(room, &format!("Alice's {n}"))));
        bob.send(room, &format!("Bob's {n}"));
    }
    let (file, brought) = (folder.join("file"), folder.join("brought"));
    fs::write(&file, vec![b'f'; 200_000]).unwrap();
    let sent = bob.json(&["send", "zig", "--file", file.to_str().unwrap()])["id"].as_str().unwrap().to_owned();
    until_home_is_held(&alice, &bob);
    let same = |alice: &Person, room: &str| bob.history(room) == alice.history(room);
    until("both hold the same", || same(&alice, "zig") && same(&alice, "square"));
    let (before, user) = (device(&alice), alice.json(&["id"])["user"].clone());
    if dice.percent(50) {
        alice.kill()
    } else {
        alice.down()
    }
    fs::remove_dir_all(alice.home.join("store")).unwrap();
    fs::remove_dir_all(alice.home.join("files")).unwrap();

    up_with_peer(&mut alice, &bob);
    for room in ["zig", "square"] {
        until("the room is back", || {
            alice.json(&["room", "list"]).to_string().contains(&format!("\"alias\":\"{room}\""))
        });
        until("its history is back", || same(&alice, room));
    }
    for (room, id) in &said {
        assert!(alice.lines(room).iter().any(|line| line["id"] == id.as_str()), "seed {seed}: {id} is lost");
    }
    fault.acknowledged += said.len() as u64;
    alice.json(&["file", "get", &sent, "--output", brought.to_str().unwrap()]);
    assert_eq!(fs::read(&brought).unwrap(), fs::read(&file).unwrap());
    assert_eq!(alice.json(&["id"])["user"], user);
    assert_ne!(device(&alice), before, "seed {seed}: the lost device's places are used again");
    let new = alice.send("zig", "back again");
    bob.follow("zig").until_id(&new);
}

#[test]
fn who_lost_everything_but_the_keys_gets_back_what_a_peer_holds() {
    let mut fault = Fault::of("total-loss", 1);
    for seed in fault.seeds() {
        fault.begin(seed);
        one(tempfile::tempdir().unwrap().path(), seed, &mut fault);
    }
    fault.report();
}

//! Names and blocks that a person gives on one device are on their others: the newest counts, also for a device that comes
//! later or comes back from the words. Keys compared count where they were compared.

use crate::support::devices::{address, linked, pair, recovered, until, up_with_peer, words};
use crate::support::nodes::Person;
use crate::support::people::Person as Key;
use serde_json::Value;
use std::fs;
use std::process::Command;

fn known(person: &Person, user: &str) -> Option<Value> {
    person.json(&["people"]).as_array().unwrap().iter().find(|p| p["user"] == user).cloned()
}

fn petname(person: &Person, user: &str) -> String {
    known(person, user).and_then(|p| p["petname"].as_str().map(str::to_owned)).unwrap_or_default()
}

fn is_blocked(person: &Person, user: &str) -> bool {
    known(person, user).is_some_and(|p| p["blocked"] == true)
}

fn key_of(number: u8) -> String {
    Key::new(number).user().to_string()
}

/// Events of a room, as an export of it says.
fn events(person: &Person, room: &str) -> u64 {
    let file = person.home.join("room.tidings");
    person.done(&["export", room, "--output", file.to_str().unwrap()]);
    person.json(&["verify", file.to_str().unwrap()])["events"].as_u64().unwrap()
}

fn self_room(person: &Person) -> String {
    let shown = person.json(&["room", "list"]);
    let is_shown = |id: &Value| shown.as_array().unwrap().iter().any(|r| r["room"] == *id);
    let all = person.json(&["room", "list", "--all"]);
    let own: Vec<&Value> = all.as_array().unwrap().iter().filter(|r| !is_shown(&r["room"])).collect();
    let role = |room: &&&Value| room["role"] == "founder";
    own.iter().find(role).unwrap()["room"].as_str().unwrap().to_owned()
}

#[test]
fn names_and_blocks_follow_to_every_device_and_the_newest_counts() {
    let folder = tempfile::tempdir().unwrap();
    let (mut alice, bob) = pair(folder.path());
    let bobs = bob.json(&["id"])["user"].as_str().unwrap().to_owned();
    let mut phone = linked(&alice, folder.path(), "phone");
    phone.up();
    alice.done(&["people", "name", &bobs, "Bobby"]);
    until("the name follows", || petname(&phone, &bobs) == "Bobby");
    assert_eq!(phone.lines("zig").last().unwrap()["petname"], "Bobby");
    phone.done(&["people", "block", "bobby"]);
    until("the block follows", || is_blocked(&alice, &bobs));
    assert!(!alice.texts("zig").contains(&"hello Alice".to_owned()));
    alice.done(&["people", "unblock", &bobs]);
    phone.done(&["people", "name", &bobs, "Robert"]);
    until("the newest counts", || petname(&alice, &bobs) == "Robert" && !is_blocked(&phone, &bobs));

    // That keys were compared is no word that another device could give.
    let code = alice.json(&["people", "verify", &bobs])["code"].as_str().unwrap().to_owned();
    alice.done(&["people", "verify", &bobs, "--code", &code]);
    // Many at once are few events.
    let (home, before) = (self_room(&alice), events(&alice, &self_room(&alice)));
    let keys: Vec<String> = (100..130).map(key_of).collect();
    for (n, key) in keys.iter().enumerate() {
        alice.done(&["people", "name", key, &format!("friend {n}")]);
    }
    alice.done(&["people", "block", &keys[0]]);
    until("all of them follow", || petname(&phone, &keys[29]) == "friend 29" && is_blocked(&phone, &keys[0]));
    let made = events(&alice, &home) - before;
    assert!(made < 25, "{made} events for 31 changes");
    assert_eq!(known(&alice, &bobs).unwrap()["verified"], true);
    assert_eq!(known(&phone, &bobs).unwrap()["verified"], false);

    // What is given up is given up everywhere; what stopped before it could be told is told at the next start.
    alice.done(&["people", "name", &keys[1], ""]);
    alice.done(&["people", "name", &keys[2], "last words"]);
    alice.kill();
    alice.up();
    until("the last words follow", || {
        petname(&phone, &keys[2]) == "last words" && petname(&phone, &keys[1]).is_empty()
    });

    // A device that comes later, and one that comes back from the words and a friend.
    let mut tablet = linked(&alice, folder.path(), "tablet");
    tablet.up();
    let is_whole = |person: &Person| {
        petname(person, &bobs) == "Robert" && petname(person, &keys[29]) == "friend 29" && is_blocked(person, &keys[0])
    };
    until("the tablet knows them", || is_whole(&tablet));
    let last = alice.send("zig", "the last that is said here");
    bob.follow("zig").until_id(&last);
    until("Bob's self-rooms are whole", || {
        bob.json(&["peers"]).as_array().unwrap().iter().all(|peer| peer["behind"] == 0)
    });
    let words = words(&alice);
    for mut person in [alice, phone, tablet] {
        person.kill();
        fs::remove_dir_all(&person.home).unwrap();
    }
    let mut anew = recovered(&words, folder.path(), "anew", &address(&bob));
    up_with_peer(&mut anew, &bob);
    until("the words bring them back", || is_whole(&anew));
}

#[test]
fn two_names_that_look_alike_and_were_given_apart_come_to_the_same_on_both() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, _bob) = pair(folder.path());
    let mut phone = linked(&alice, folder.path(), "phone");
    phone.up_by(isolated(&phone));
    let (one, two) = (key_of(100), key_of(101));
    alice.done(&["people", "name", &one, "Carla"]);
    phone.done(&["people", "name", &two, "CARLA"]);
    phone.down();
    up_with_peer(&mut phone, &alice);
    for person in [&alice, &phone] {
        until("the one given last stands", || petname(person, &two) == "CARLA" && petname(person, &one).is_empty());
    }
    alice.done(&["people", "name", &two, "somebody"]);
    for person in [&alice, &phone] {
        until("and the other once it may", || petname(person, &two) == "somebody" && petname(person, &one) == "Carla");
    }
}

/// A node that reaches nobody.
fn isolated(person: &Person) -> Command {
    let mut command = person.command(&["--json", "up", "--no-mdns", "--listen", "/ip4/127.0.0.1/tcp/0"]);
    command.env("TIDINGS_FEDERATION", "nowhere");
    command
}

#[test]
fn what_a_revoked_device_says_of_people_counts_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bob) = pair(folder.path());
    let bobs = bob.json(&["id"])["user"].as_str().unwrap().to_owned();
    let mut phone = linked(&alice, folder.path(), "phone");
    phone.up();
    phone.done(&["people", "name", &bobs, "Bobby"]);
    until("what it said before stays", || petname(&alice, &bobs) == "Bobby");
    phone.down();
    phone.up_by(isolated(&phone));
    let other = key_of(100);
    phone.done(&["people", "name", &bobs, "Mallory"]);
    phone.done(&["people", "block", &other]);
    phone.down();
    alice.json(&["id", "revoke", "phone"]);
    up_with_peer(&mut phone, &bob);
    until("it learns that it was revoked", || phone.run(&["send", "zig", "x"]).status.code() == Some(4));
    let last = bob.send("zig", "somebody else's, later");
    alice.follow("zig").until_id(&last);
    let mut tablet = linked(&alice, folder.path(), "tablet");
    tablet.up();
    until("the tablet is told", || petname(&tablet, &bobs) == "Bobby");
    for person in [&alice, &tablet] {
        assert_eq!((petname(person, &bobs).as_str(), is_blocked(person, &other)), ("Bobby", false));
    }
}

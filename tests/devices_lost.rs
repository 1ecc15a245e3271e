//! Devices that are lost, stolen or copied: what they write after that counts nowhere, however it is dated, and no copy of a
//! home takes the place of what another has written.

use crate::support::devices::{device, linked, pair, until, until_home_is_held, up_with_peer, with_words, words};
use crate::support::nodes::Person;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

fn copy(from: &Person, folder: &Path, name: &str) -> Person {
    let person = Person::at(folder, name);
    let done = Command::new("cp").arg("-a").arg(&from.home).arg(&person.home).status().unwrap();
    assert!(done.success());
    person
}

/// A copy that nothing on this disk tells from the original, as a snapshot of a whole machine is.
fn snapshot(from: &Person, folder: &Path, name: &str) -> Person {
    let person = copy(from, folder, name);
    fs::remove_file(person.home.join("device.key")).unwrap();
    fs::hard_link(from.home.join("device.key"), person.home.join("device.key")).unwrap();
    person
}

fn says(person: &Person, room: &str, text: &str) -> bool {
    person.texts(room).iter().any(|t| t == text)
}

fn devices_of(person: &Person, room: &str, name: &str) -> u64 {
    let members = person.json(&["room", "members", room]);
    let named = members.as_array().unwrap().iter().find(|m| m["name"] == name);
    named.map_or(0, |member| member["devices"].as_u64().unwrap())
}

#[test]
fn nothing_that_a_revoked_device_writes_counts_however_dated() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bob) = pair(folder.path());
    let mut phone = linked(&alice, folder.path(), "phone");
    phone.up();
    let kept = phone.send("zig", "seen by all before it was lost");
    let invite = phone.json(&["room", "invite", "zig"]);
    alice.follow("zig").until_id(&kept);
    bob.follow("zig").until_id(&kept);
    until("all have its invite", || {
        alice.json(&["invite", "list"]).as_array().unwrap().iter().any(|i| i["invite"] == invite["invite"])
    });
    phone.down();
    // What it says while nobody hears it is dated before the revocation.
    phone.up_by(isolated(&phone));
    phone.send("zig", "dated before");
    phone.down();

    let revoked = alice.json(&["id", "revoke", "phone"]);
    let rooms = revoked["rooms"].as_array().unwrap();
    assert_eq!(rooms.len(), 3, "{revoked}");
    assert!(rooms.iter().all(|room| room["done"] == true), "{revoked}");
    let listed = alice.json(&["id", "devices"]);
    let of_phone = listed.as_array().unwrap().iter().find(|d| d["name"] == "phone").unwrap().clone();
    assert_eq!(of_phone["revoked"], true);
    until("Bob knows", || devices_of(&bob, "zig", "Alice") == 1 && devices_of(&bob, "square", "Alice") == 1);

    up_with_peer(&mut phone, &bob);
    until("it learns that it was revoked", || {
        let said = phone.run(&["send", "zig", "dated after"]);
        let text = String::from_utf8_lossy(&said.stderr).into_owned();
        said.status.code() == Some(4) && text.contains("revoked by its user")
    });
    // Whatever still comes from it has come when something later of somebody else has.
    let after = bob.send("zig", "somebody else's, later");
    alice.follow("zig").until_id(&after);
    for person in [&alice, &bob] {
        assert!(says(person, "zig", "seen by all before it was lost"));
        assert!(
            !says(person, "zig", "dated before") && !says(person, "zig", "dated after"),
            "{:?}",
            person.texts("zig")
        );
    }
    assert_eq!(alice.history("zig"), bob.history("zig"));
    // Its links let nobody in any more.
    let open = |i: &Value| i["invite"] == invite["invite"] && i["closed"] == false;
    assert!(!alice.json(&["invite", "list"]).as_array().unwrap().iter().any(open));
}

/// A node that reaches nobody: it forgets whom it knew.
fn isolated(person: &Person) -> Command {
    let mut command = person.command(&["--json", "up", "--no-mdns", "--listen", "/ip4/127.0.0.1/tcp/0"]);
    command.env("TIDINGS_FEDERATION", "nowhere");
    command
}

#[test]
fn a_device_without_the_words_takes_them_to_revoke_and_to_add() {
    let folder = tempfile::tempdir().unwrap();
    let (mut alice, bob) = pair(folder.path());
    let mut phone = linked(&alice, folder.path(), "phone");
    up_with_peer(&mut phone, &bob);
    let words = words(&alice);
    let first = device(&alice);
    assert!(phone.fails(4, &["id", "revoke", &first]).contains("--words-stdin"));
    let output = with_words(&self::words(&bob), phone.command(&["id", "revoke", &first, "--words-stdin"]));
    assert_eq!(output.status.code(), Some(4), "{}", String::from_utf8_lossy(&output.stderr));
    alice.kill();
    let output = with_words(&words, phone.command(&["--json", "id", "revoke", &first, "--words-stdin"]));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    until("Bob knows", || devices_of(&bob, "zig", "Alice") == 1);
    phone.send("zig", "I go on from here");
    bob.until_shown("zig", 3);
    assert!(phone.fails(4, &["id", "add", "--yes"]).contains("--words-stdin"));
    phone.fails(5, &["id", "revoke", "no-such-device"]);
}

#[test]
fn a_copy_of_a_home_goes_on_as_another_device_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let (mut alice, bob) = pair(folder.path());
    let before = device(&alice);
    alice.down();
    let mut copied = copy(&alice, folder.path(), "copied");
    up_with_peer(&mut alice, &bob);
    let id = alice.send("zig", "by the original");
    bob.follow("zig").until_id(&id);
    alice.down();

    up_with_peer(&mut copied, &bob);
    until("the copy is another device", || device(&copied) != before);
    let id = copied.send("zig", "by the copy");
    bob.follow("zig").until_id(&id);
    assert!(says(&copied, "zig", "by the original"));
    until("both hold the same", || copied.history("zig") == bob.history("zig"));
    assert!(says(&bob, "zig", "by the original") && says(&bob, "zig", "by the copy"));
    // The original was not touched, and goes on as what it was.
    copied.down();
    up_with_peer(&mut alice, &bob);
    let id = alice.send("zig", "by the original again");
    bob.follow("zig").until_id(&id);
    assert_eq!(device(&alice), before);
    assert_eq!(alice.texts("zig").len(), 5);
}

#[test]
fn what_two_copies_wrote_at_once_stays_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (mut alice, bob) = pair(folder.path());
    let before = device(&alice);
    alice.down();
    let mut copied = snapshot(&alice, folder.path(), "copied");
    alice.up_by(isolated(&alice));
    alice.send("zig", "by the original, alone");
    alice.down();
    copied.up_by(isolated(&copied));
    copied.send("zig", "by the copy, alone");
    copied.down();
    for person in [&mut alice, &mut copied] {
        up_with_peer(person, &bob);
        let id = person.send("zig", "met Bob again");
        bob.follow("zig").until_id(&id);
        until("it holds what Bob holds", || person.history("zig") == bob.history("zig"));
        person.down();
    }
    up_with_peer(&mut alice, &bob);
    until("the original holds everything, too", || alice.history("zig") == bob.history("zig"));
    for text in ["by the original, alone", "by the copy, alone"] {
        assert!(says(&bob, "zig", text) && says(&alice, "zig", text), "{text}");
    }
    until("nobody goes on as the device that both were", || device(&alice) != before);
    assert_ne!(device(&copied), before);
    assert_ne!(device(&copied), device(&alice));
}

#[test]
fn a_copy_without_the_words_says_what_to_do_and_writes_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bob) = pair(folder.path());
    let mut phone = linked(&alice, folder.path(), "phone");
    let mut copied = copy(&phone, folder.path(), "copied");
    let mut twin = snapshot(&phone, folder.path(), "twin");
    up_with_peer(&mut phone, &bob);
    let id = phone.send("zig", "by the phone");
    bob.follow("zig").until_id(&id);
    phone.down();
    // A copy of the files is known for one before it writes anything; a snapshot when it meets what the other wrote.
    up_with_peer(&mut copied, &bob);
    assert!(copied.fails(4, &["send", "square", "by the copy"]).contains("tidings id add"));
    assert!(copied.fails(4, &["room", "create", "attic"]).contains("tidings id add"));
    until("it still hears", || says(&copied, "zig", "by the phone"));
    // Both have the node key of the phone: Bob talks with one at a time.
    copied.down();
    up_with_peer(&mut twin, &bob);
    until("the snapshot refuses", || {
        let said = twin.run(&["send", "square", "by the snapshot"]);
        said.status.code() == Some(4) && String::from_utf8_lossy(&said.stderr).contains("tidings id add")
    });
}

#[test]
fn where_a_room_has_not_heard_of_a_revocation_its_moderators_are_told_and_the_device_is_hidden() {
    let folder = tempfile::tempdir().unwrap();
    let (mut alice, bob) = pair(folder.path());
    let words = words(&alice);
    let (mut phone, mut tablet) = (linked(&alice, folder.path(), "phone"), linked(&alice, folder.path(), "tablet"));
    up_with_peer(&mut phone, &bob);
    until("Bob has heard of the phone", || devices_of(&bob, "zig", "Alice") == 3);
    // A room that the phone gets to know, and the tablet does not.
    alice.json(&["room", "create", "attic"]);
    bob.json(&["room", "join", &alice.link("attic")]);
    until("the phone is in it", || devices_of(&bob, "attic", "Alice") == 2);
    // Bob keeps for the tablet what Alice's node has told it of the attic.
    until_home_is_held(&alice, &bob);
    alice.down();
    // And one that only the phone gets to know.
    bob.json(&["room", "create", "garden"]);
    phone.json(&["room", "join", &bob.link("garden")]);
    let id = phone.send("garden", "before it was lost");
    bob.follow("garden").until_id(&id);
    phone.down();
    // The tablet does not have the words, so that it mends nothing by itself later.
    tablet.up_by(isolated(&tablet));
    let output = with_words(&words, tablet.command(&["--json", "id", "revoke", "phone", "--words-stdin", "--now"]));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    tablet.down();
    phone.up_by(isolated(&phone));
    let late = phone.send("garden", "by who found it");
    phone.down();

    let alerts = || bob.json(&["room", "show", "garden"])["alerts"].as_array().unwrap().clone();
    assert_eq!(alerts(), [Value::Null; 0]);
    up_with_peer(&mut phone, &bob);
    bob.follow("garden").until_id(&late);
    phone.down();
    up_with_peer(&mut tablet, &bob);
    until("Bob is told", || !alerts().is_empty());
    let alert = alerts()[0].clone();
    assert!(alert["command"].as_str().unwrap().starts_with("tidings room revoke garden did:key:"), "{alert}");
    let lines = bob.lines("garden");
    let hidden = |id: &str| lines.iter().find(|line| line["id"] == id).unwrap()["hidden"].clone();
    assert_eq!((hidden(&id), hidden(&late)), (Value::Null, "device_revoked".into()));
    assert!(!bob.done(&["read", "garden"]).contains("by who found it"));
    // Where the words are, it is done in rooms that the tablet did not know, as soon as that is heard of.
    until("the tablet is in the attic, too", || devices_of(&bob, "attic", "Alice") == 3);
    up_with_peer(&mut alice, &bob);
    until("the attic counts the phone no more", || devices_of(&bob, "attic", "Alice") == 2);
}

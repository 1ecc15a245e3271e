//! A person with several devices: a second one has everything, and the words and a friend bring all of it back.

use crate::support::devices::{
    LISTEN, address, device, linked, mark_read, offer, pair, recovered, unread, until, up_with_peer, with_words, words,
};
use crate::support::nodes::Person;
use std::fs;

#[test]
fn a_second_device_has_all_rooms_history_names_and_read_marks() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bob) = pair(folder.path());
    alice.done(&["room", "alias", "zig", "compilers"]);
    let ids = alice.until_shown("compilers", 2);
    mark_read(&alice, "compilers", &ids[0]);
    assert_eq!(unread(&alice, "compilers"), 1);

    let mut phone = linked(&alice, folder.path(), "phone");
    phone.up();
    assert_eq!(phone.json(&["id"])["name"], "Alice");
    assert_eq!(phone.json(&["id"])["user"], alice.json(&["id"])["user"]);
    assert_ne!(device(&phone), device(&alice));
    for room in ["compilers", "square"] {
        assert_eq!(phone.texts(room), alice.texts(room), "{room}");
    }
    assert_eq!((unread(&phone, "compilers"), unread(&phone, "square")), (1, unread(&alice, "square")));

    let (mut at_bob, mut at_alice) = (bob.follow("zig"), alice.follow("compilers"));
    let id = phone.send("compilers", "from the phone");
    let seen = at_bob.until_id(&id);
    assert_eq!((&seen["name"], &seen["device"]), (&"Alice".into(), &device(&phone).into()));
    at_alice.until_id(&id);
    until("all hold the same", || phone.history("compilers") == bob.history("zig"));
    assert_eq!(alice.history("compilers"), bob.history("zig"));

    // What is done later on one device is so on the other.
    phone.done(&["room", "alias", "square", "market"]);
    until("the alias follows", || alice.run(&["room", "show", "market"]).status.success());
    alice.json(&["room", "create", "later"]);
    alice.send("later", "a room made afterwards");
    until("the room follows", || phone.run(&["room", "show", "later"]).status.success());
    phone.until_shown("later", 1);
    phone.send("later", "and the phone is in it");
    alice.until_shown("later", 2);
    let members = bob.json(&["room", "members", "zig"]);
    let of_alice = members.as_array().unwrap().iter().find(|m| m["name"] == "Alice").unwrap();
    assert_eq!(of_alice["devices"], 2);
}

#[test]
fn devices_are_listed_and_self_rooms_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bob) = pair(folder.path());
    let phone = linked(&alice, folder.path(), "phone");
    let listed = alice.json(&["id", "devices"]);
    let listed = listed.as_array().unwrap();
    assert_eq!(listed.len(), 2);
    assert_eq!((&listed[0]["device"], &listed[0]["current"]), (&device(&alice).into(), &true.into()));
    assert_eq!((&listed[1]["name"], &listed[1]["current"]), (&"phone".into(), &false.into()));
    assert!(listed.iter().all(|d| d["revoked"] == false && d["created_ms"].as_u64().unwrap() > 0));
    assert_eq!(alice.json(&["room", "list"]).as_array().unwrap().len(), 2);
    assert_eq!(alice.json(&["status"])["rooms"], 2);
    until("Bob holds Alice's self-room for her", || {
        bob.json(&["room", "list", "--all"]).as_array().unwrap().len() == 4
    });
    // The words are where the user was made, and nowhere else.
    assert!(phone.fails(4, &["--json", "id", "words"]).contains("does not have the recovery words"));
}

#[test]
fn a_link_is_used_once_by_a_fresh_home_and_somebody_has_to_look() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bob) = pair(folder.path());
    assert!(alice.fails(4, &["id", "add"]).contains("--yes"));
    let (mut child, _lines, link) = offer(&alice, &[]);
    assert!(bob.fails(4, &["id", "link", &link]).contains("fresh"));
    let phone = Person::at(folder.path(), "phone");
    phone.fails(2, &["id", "link", &link[..link.len() - 4]]);
    phone.fails(2, &["id", "link", &alice.link("zig")]);
    phone.json(&[&["id", "link", &link], &LISTEN[..]].concat());
    assert!(child.wait().unwrap().success());
    let again = Person::at(folder.path(), "again");
    assert!(again.fails(4, &[&["id", "link", &link], &LISTEN[..]].concat()).contains("was used"));
}

#[test]
fn words_and_a_friends_address_bring_everything_back() {
    let folder = tempfile::tempdir().unwrap();
    let (mut alice, bob) = pair(folder.path());
    let words = words(&alice);
    until("Bob holds Alice's self-room for her", || {
        bob.json(&["room", "list", "--all"]).as_array().unwrap().len() == 4
    });
    // The last thing that Alice says is in her self-room, and Bob has it when he has this.
    alice.done(&["room", "alias", "zig", "compilers"]);
    let last = alice.send("compilers", "the last words of this machine");
    bob.follow("zig").until_id(&last);
    let (history, lost) = (bob.history("zig"), device(&alice));
    until("Bob's self-rooms are whole", || bob.json(&["peers"])[0]["behind"] == 0);
    alice.kill();
    fs::remove_dir_all(&alice.home).unwrap();

    let mut anew = recovered(&words, folder.path(), "anew", &address(&bob));
    up_with_peer(&mut anew, &bob);
    assert_eq!(anew.json(&["id"])["name"], "Alice");
    assert_ne!(device(&anew), lost);
    anew.until_shown("compilers", 3);
    anew.until_shown("square", 2);
    let id = anew.send("compilers", "I am back");
    bob.follow("zig").until_id(&id);
    assert_eq!(anew.json(&["room", "show", "compilers"])["role"], "founder");
    assert!(bob.history("zig").len() > history.len());
    // The words are there, too, and never taken from an argument.
    assert_eq!(anew.json(&["id", "words"])["words"], words.as_str());
    let wrong = Person::at(folder.path(), "wrong");
    let output = with_words("abandon abandon", wrong.command(&["id", "recover", "--words-stdin"]));
    assert_eq!(output.status.code(), Some(2));
    let output = with_words(&words, anew.command(&["id", "recover", "--words-stdin"]));
    assert_eq!(output.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--home"));
}

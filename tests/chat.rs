//! Two people on two nodes talk: the whole straight line through the real binary, as a person would use it.

use crate::support::devices::address;
use crate::support::nodes::Person;
use serde_json::Value;
use std::fs;
use std::path::Path;

fn pair(folder: &Path) -> (Person, Person) {
    let (mut alice, mut bob) = (Person::at(folder, "alice"), Person::at(folder, "bob"));
    alice.up();
    bob.up();
    alice.done(&["id", "name", "Alice"]);
    bob.done(&["id", "name", "Bob"]);
    (alice, bob)
}

fn joined(folder: &Path, room: &[&str]) -> (Person, Person) {
    let (alice, bob) = pair(folder);
    alice.json(&[&["room", "create", "zig"], room].concat());
    let link = alice.link("zig");
    assert_eq!(bob.json(&["room", "join", &link])["pending"], false);
    (alice, bob)
}

#[test]
fn two_people_talk_and_hold_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bob) = pair(folder.path());
    alice.json(&["room", "create", "zig"]);
    let first = alice.send("zig", "said before Bob came");
    let link = alice.link("zig");
    bob.json(&["room", "join", &link, "--wait", "30s"]);
    assert_eq!(bob.texts("zig"), ["said before Bob came"]);

    let (mut at_alice, mut at_bob) = (alice.follow("zig"), bob.follow("zig"));
    let hello = bob.send("zig", "hello Alice");
    assert_eq!(at_alice.until_id(&hello)["name"], "Bob");
    let answer = alice.json(&["send", "zig", "hello Bob", "--reply", &hello])["id"].as_str().unwrap().to_owned();
    let seen = at_bob.until_id(&answer);
    assert_eq!(
        (&seen["kind"], &seen["reply_to"], &seen["thread"]),
        (&"reply".into(), &hello.clone().into(), &hello.into())
    );

    alice.done(&["edit", &answer, "hello again"]);
    at_bob.until(|line| line["id"] == answer.as_str() && line["edited"] == true && line["text"] == "hello again");
    bob.done(&["react", &answer, "👍"]);
    at_alice.until(|line| line["id"] == answer.as_str() && line["reactions"]["👍"].is_array());
    alice.done(&["erase", &first]);
    at_bob.until(|line| line["id"] == first.as_str() && line["erased"] == true && line["text"] == "");

    let (a, b) = (folder.path().join("a.export"), folder.path().join("b.export"));
    alice.done(&["export", "zig", "-o", a.to_str().unwrap()]);
    bob.done(&["export", "zig", "-o", b.to_str().unwrap()]);
    assert_eq!(fs::read(&a).unwrap(), fs::read(&b).unwrap());
    assert_eq!(bob.json(&["verify", b.to_str().unwrap()])["erased"], 1);
    let bytes = fs::read(&a).unwrap();
    assert!(!bytes.windows(20).any(|w| w == b"said before Bob came"), "the erased text is still there");
}

#[test]
fn a_public_room_is_heard_by_gossip_and_sync() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bob) = joined(folder.path(), &["--public"]);
    let mut at_alice = alice.follow("zig");
    let id = bob.send("zig", "in the open");
    assert_eq!(at_alice.until_id(&id)["text"], "in the open");
}

#[test]
fn what_was_acknowledged_survives_kill_9_and_both_meet_again() {
    let folder = tempfile::tempdir().unwrap();
    let (mut alice, mut bob) = joined(folder.path(), &[]);
    let before = alice.send("zig", "before the crash");
    alice.kill();
    bob.kill();
    alice.up();
    assert_eq!(alice.lines("zig").last().unwrap()["id"], before.as_str());
    let after = alice.send("zig", "after the crash");
    bob.up_with(&["--listen", "/ip4/127.0.0.1/tcp/0", "--peer", alice.ready["listen"][0].as_str().unwrap()]);
    let mut at_bob = bob.follow("zig");
    at_bob.until_id(&before);
    at_bob.until_id(&after);
}

#[test]
fn a_third_gets_it_from_the_second_while_the_first_is_away() {
    let folder = tempfile::tempdir().unwrap();
    let (mut alice, bob) = joined(folder.path(), &["--invite-rank", "member"]);
    let id = alice.send("zig", "for whoever comes");
    bob.follow("zig").until_id(&id);
    alice.down();
    let mut carol = Person::at(folder.path(), "carol");
    carol.up();
    carol.json(&["room", "join", &bob.link("zig")]);
    assert_eq!(carol.texts("zig"), ["for whoever comes"]);
    let here = carol.send("zig", "I am here");
    bob.follow("zig").until_id(&here);
}

#[test]
fn who_was_away_lets_in_whom_nobody_else_is_there_to_vouch_for() {
    let folder = tempfile::tempdir().unwrap();
    let (mut alice, mut bob) = joined(folder.path(), &[]);
    bob.follow("zig").until_id(&alice.send("zig", "hello"));
    bob.down();
    // Bob has heard neither of this link nor of Carol, and Alice goes before he comes.
    let mut carol = Person::at(folder.path(), "carol");
    carol.up();
    assert_eq!(carol.json(&["room", "join", &alice.link("zig"), "--wait", "30s"])["pending"], false);
    alice.down();
    bob.up();
    bob.done(&["peers", "add", &address(&carol)]);
    let id = carol.send("zig", "let me in");
    bob.follow("zig").until_id(&id);
    assert_eq!(bob.json(&["room", "show", "zig"])["members"], 3);
}

#[test]
fn imported_history_is_kept_whole_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bob) = joined(folder.path(), &[]);
    let file = folder.path().join("log.jsonl");
    let mut text = String::new();
    for n in 0..3000u64 {
        // Shared timestamps, blank texts and exact repetitions, as real logs have them.
        let line = serde_json::json!({ "ts": 1_500_000_000_000 + n / 3, "author": "ada", "text": if n % 10 == 0 { "" } else { "same" } });
        text.push_str(&format!("{line}\n"));
    }
    fs::write(&file, &text).unwrap();
    let path = file.to_str().unwrap();
    let first = alice.json(&["import", "zig", path]);
    assert_eq!((&first["imported"], &first["known"]), (&3000.into(), &0.into()));
    let again = alice.json(&["import", "zig", path]);
    assert_eq!((&again["imported"], &again["known"]), (&0.into(), &3000.into()));

    let newest = alice.lines("zig").last().unwrap()["id"].as_str().unwrap().to_owned();
    bob.follow("zig").until_id(&newest);
    let end = alice.send("zig", "the end");
    bob.follow("zig").until_id(&end);

    fs::write(&file, format!("{text}this is no JSON\n")).unwrap();
    let error = alice.fails(1, &["import", "zig", path]);
    assert!(error.contains("line 3001"), "{error}");
}

#[test]
fn control_characters_never_reach_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bob) = joined(folder.path(), &[]);
    let id = alice.send("zig", "\u{1b}[2Jgone\u{202e}evil\u{9b}31m");
    bob.follow("zig").until_id(&id);
    let shown = bob.done(&["read", "zig"]);
    assert!(!shown.contains(['\u{1b}', '\u{202e}', '\u{9b}']), "{shown:?}");
    assert!(shown.contains("gone"));
    let raw: Value = serde_json::from_str(bob.done(&["--json", "read", "zig"]).lines().last().unwrap()).unwrap();
    assert_eq!(raw["text"], "\u{1b}[2Jgone\u{202e}evil\u{9b}31m");
}

#[test]
fn exit_codes_are_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = Person::at(folder.path(), "nobody");
    assert!(nobody.fails(3, &["status"]).contains("start it: tidings chat, or tidings up"));
    nobody.fails(2, &["no-such-command"]);
    let (mut alice, bob) = joined(folder.path(), &[]);
    let held = alice.fails(1, &["up"]);
    assert!(
        held.contains(&alice.json(&["status"])["user"].as_str().map(|_| "in use by process").unwrap().to_owned()),
        "{held}"
    );
    alice.fails(5, &["read", "nowhere"]);
    alice.fails(5, &["edit", "aaaaaaaa", "text"]);
    alice.fails(4, &["room", "create", "secret", "--private"]);
    assert!(bob.fails(4, &["room", "invite", "zig"]).contains("needs moderator; you are member"));
    bob.fails(2, &["room", "join", "https://example.org"]);
    bob.fails(2, &["room", "join", &alice.link("zig")[..60]]);
    bob.fails(2, &["send", "zig", &"x".repeat(60_000)]);
    let id = alice.send("zig", "mine");
    bob.follow("zig").until_id(&id);
    bob.fails(4, &["edit", &id, "yours"]);
    bob.fails(4, &["erase", &id]);
    alice.down();
    alice.fails(3, &["read", "zig"]);
}

#[test]
fn a_closed_link_lets_nobody_in() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bob) = joined(folder.path(), &[]);
    let invite = alice.json(&["room", "invite", "zig"]);
    alice.done(&["invite", "close", invite["invite"].as_str().unwrap()]);
    let mut mallory = Person::at(folder.path(), "mallory");
    mallory.up();
    let error = mallory.fails(6, &["room", "join", invite["link"].as_str().unwrap(), "--wait", "3s"]);
    assert!(error.contains("still trying"), "{error}");
    assert_eq!(alice.json(&["room", "members", "zig"]).as_array().unwrap().len(), 2);
    assert_eq!(bob.json(&["room", "members", "zig"]).as_array().unwrap().len(), 2);
}

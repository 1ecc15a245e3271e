//! What waits for somebody: unread messages, mentions, answers and threads, through the program as people run it.

use crate::support::nodes::Person;
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};

/// Alice, who made the lab, and Bob, who is in it and knows everybody's name.
fn pair(folder: &Path) -> (Person, Person) {
    let (mut alice, mut bob) = (Person::at(folder, "alice"), Person::at(folder, "bob"));
    for (person, name) in [(&mut alice, "Alice"), (&mut bob, "Bob Stone")] {
        person.up();
        person.done(&["id", "name", name]);
    }
    alice.json(&["room", "create", "lab"]);
    assert_eq!(bob.json(&["room", "join", &alice.link("lab")])["pending"], false);
    for person in [&alice, &bob] {
        until("both know both names", || {
            let called = person.json(&["room", "members", "lab"]).to_string();
            called.contains("\"Alice\"") && called.contains("\"Bob Stone\"")
        });
    }
    (alice, bob)
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(60), "not after a minute: {what}");
    }
}

fn room(person: &Person) -> (u64, u64) {
    let list = person.json(&["room", "list"]);
    let room = list.as_array().unwrap().iter().find(|room| room["alias"] == "lab").unwrap().clone();
    waiting(&room)
}

fn waiting(room: &Value) -> (u64, u64) {
    (room["unread"].as_u64().unwrap(), room["mentions"].as_u64().unwrap())
}

/// Both ways of asking say so, in the end: more may come between two questions.
fn until_room(person: &Person, unread: u64, mentions: u64) {
    let wanted = (unread, mentions);
    until(&format!("{unread} unread, {mentions} for one"), || {
        room(person) == wanted && waiting(&person.json(&["room", "show", "lab"])) == wanted
    });
}

fn lines(person: &Person, arguments: &[&str]) -> Vec<Value> {
    let text = person.done(&[&["--json"], arguments].concat());
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn ids(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["id"].as_str().unwrap()).collect()
}

#[test]
fn who_is_named_or_answered_finds_it_in_the_inbox() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, mut bob) = pair(folder.path());
    assert_eq!(room(&bob), (0, 0));
    let own = bob.send("lab", "my own words are never unread");
    alice.until_shown("lab", 1);
    let named = alice.send("lab", "look, @bob stone: an inbox");
    let plain = alice.send("lab", "nobody is named here, not even me@bob.example");
    let answer = alice.json(&["send", "lab", "to you", "--reply", &own])["id"].as_str().unwrap().to_owned();
    until_room(&bob, 3, 2);
    assert_eq!(room(&alice), (1, 0), "what Bob said");
    let inbox = lines(&bob, &["inbox"]);
    assert_eq!(ids(&inbox), [answer.as_str(), named.as_str()], "newest first");
    assert_eq!((&inbox[0]["why"], &inbox[1]["why"]), (&serde_json::json!(["reply"]), &serde_json::json!(["mention"])));
    assert_eq!((&inbox[0]["unread"], &inbox[0]["alias"]), (&Value::Bool(true), &Value::from("lab")));
    assert_eq!(inbox[1]["mentions"], serde_json::json!([bob.ready["user"]]));
    assert_eq!(ids(&lines(&bob, &["inbox", "--limit", "1"])), [answer.as_str()]);
    assert_eq!(ids(&lines(&bob, &["inbox", "--before", &answer])), [named.as_str()]);
    assert!(lines(&alice, &["inbox"]).is_empty());

    // Read by either way of asking.
    let unread = lines(&bob, &["read", "lab", "--unread"]);
    assert_eq!(ids(&unread), [named.as_str(), plain.as_str(), answer.as_str()]);
    assert_eq!(ids(&lines(&bob, &["read", "lab", "--mentions"])), [named.as_str(), answer.as_str()]);
    assert_eq!(ids(&lines(&bob, &["read", "lab", "--mentions", "--after", &named])), [answer.as_str()]);
    // Another name changes nothing about who is meant; a kill loses nothing.
    bob.done(&["id", "name", "Robert"]);
    bob.kill();
    bob.up();
    assert_eq!((room(&bob), lines(&bob, &["inbox", "--unread"]).len()), ((3, 2), 2));
    lines(&bob, &["read", "lab", "--unread", "--limit", "2", "--mark"]);
    assert_eq!((room(&bob), ids(&lines(&bob, &["inbox", "--unread"]))), ((1, 1), vec![answer.as_str()]));
    lines(&bob, &["read", "lab", "--mark"]);
    assert_eq!((room(&bob), lines(&bob, &["inbox", "--unread"]).len()), ((0, 0), 0));
    assert_eq!(lines(&bob, &["inbox"]).len(), 2, "what is read stays in the inbox");
}

#[test]
fn what_does_not_show_does_not_wait() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bob) = pair(folder.path());
    let texts = ["@Bob Stone one", "@Bob Stone two", "@Bob Stone three", "four"];
    let said = texts.map(|text| alice.send("lab", text));
    until_room(&bob, 4, 3);
    alice.done(&["erase", &said[0]]);
    until_room(&bob, 3, 2);
    alice.done(&["hide", &said[1]]);
    until_room(&bob, 2, 1);
    alice.done(&["edit", &said[2], "three, for nobody"]);
    until_room(&bob, 2, 0);
    assert!(lines(&bob, &["inbox"]).is_empty());
    alice.done(&["edit", &said[3], "four, for @Bob Stone"]);
    until_room(&bob, 2, 1);
    assert_eq!(ids(&lines(&bob, &["inbox"])), [said[3].as_str()], "an edit that names");
    alice.done(&["hide", &said[1], "--undo"]);
    until_room(&bob, 3, 2);
    bob.done(&["people", "block", alice.ready["user"].as_str().unwrap()]);
    assert_eq!((room(&bob), lines(&bob, &["inbox"]).len()), ((0, 0), 0));
    bob.done(&["people", "unblock", alice.ready["user"].as_str().unwrap()]);
    assert_eq!((room(&bob), lines(&bob, &["inbox"]).len()), ((3, 2), 2));
}

#[test]
fn what_a_removed_person_said_waits_for_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, mut bob) = pair(folder.path());
    alice.send("lab", "before");
    bob.until_shown("lab", 1);
    let kept = bob.send("lab", "@Alice kept");
    until_room(&alice, 1, 1);
    // What Bob says while Alice cannot hear it is said too late.
    bob.down();
    alice.json(&["room", "revoke", "lab", bob.ready["user"].as_str().unwrap()]);
    assert_eq!((room(&alice), ids(&lines(&alice, &["inbox"]))), ((1, 1), vec![kept.as_str()]));
    alice.done(&["erase", &kept]);
    until_room(&alice, 0, 0);
    assert!(lines(&alice, &["inbox"]).is_empty());
}

#[test]
fn imported_history_names_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bob) = pair(folder.path());
    let file = folder.path().join("old.jsonl");
    let record =
        |n: u64| format!("{{\"ts\":{},\"author\":\"zed\",\"text\":\"@Bob Stone, line {n}\"}}\n", 1_500_000_000_000 + n);
    std::fs::write(&file, (0..20).map(record).collect::<String>()).unwrap();
    let imported = alice.json(&["import", "lab", file.to_str().unwrap()]);
    assert_eq!(imported["imported"], 20, "{imported}");
    until("Bob has it", || room(&bob).0 == 20);
    assert_eq!((room(&alice), room(&bob)), ((0, 0), (20, 0)));
    assert!(lines(&bob, &["inbox"]).is_empty());
}

#[test]
fn threads_are_listed_read_and_followed() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bob) = pair(folder.path());
    let (first, second) = (alice.send("lab", "who is in?"), alice.send("lab", "and where?"));
    bob.until_shown("lab", 2);
    let reply = |person: &Person, to: &str, text: &str| {
        person.json(&["send", "lab", text, "--reply", to])["id"].as_str().unwrap().to_owned()
    };
    let yes = reply(&bob, &first, "me");
    let here = reply(&bob, &second, "here");
    alice.until_shown("lab", 4);
    let also = reply(&alice, &yes, "and me");
    bob.until_shown("lab", 5);
    let threads = bob.json(&["threads", "lab"]);
    let told = |n: usize| (threads[n]["root"].clone(), threads[n]["replies"].clone(), threads[n]["unread"].clone());
    assert_eq!(told(0), (Value::from(first.as_str()), Value::from(2), Value::from(1)), "the newest reply first");
    assert_eq!(told(1), (Value::from(second.as_str()), Value::from(1), Value::from(0)));
    assert_eq!(threads[0]["last_user"], alice.ready["user"]);
    assert_eq!(bob.json(&["threads", "lab", "--before", &first])[0]["root"], Value::from(second.as_str()));
    for event in [&first, &also] {
        let thread = lines(&bob, &["read", "lab", "--thread", event]);
        assert_eq!(ids(&thread), [first.as_str(), yes.as_str(), also.as_str()]);
    }
    assert_eq!(ids(&lines(&bob, &["read", "lab", "--thread", &first, "--limit", "1"])), [also.as_str()]);
    assert_eq!(ids(&lines(&bob, &["read", "lab", "--thread", &first, "--before", &also])).len(), 2);
    assert_eq!(ids(&lines(&bob, &["read", "lab", "--thread", &first, "--after", &first])), [&yes, &also]);
    // An erased reply is no reply any more.
    bob.done(&["erase", &here]);
    until("one thread", || alice.json(&["threads", "lab"]).as_array().unwrap().len() == 1);

    let mut follow = bob.follow_with("lab", &["--thread", &yes]);
    follow.until_id(&also);
    alice.send("lab", "elsewhere");
    let last = reply(&alice, &first, "all of us");
    let next = follow.until(|line| line["thread"] != first.as_str() || line["id"] == last.as_str());
    assert_eq!(next["id"], Value::from(last.as_str()), "and nothing of elsewhere");
}

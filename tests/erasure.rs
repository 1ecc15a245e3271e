//! What is erased goes: text, its edits, files, names; from every file of every node, also of one that was away; nobody
//! brings it back, the history is proven all the same, and everybody says by their own signed word that it is gone.

use crate::support::nodes::{Person, refused};
use crate::support::scan::files_with;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// What is to go: said nowhere else, and like nothing else.
const TEXT: &str = "vqzx7jkw3pthm9rb2ncd8fgy";
const FIRST_TEXT: &str = "b8wqk2zvj6xn4tmh9cgr5pdy";
const EDIT: &str = "tj5xm8qvw2zkb7hn4rpc9dgf";
const FILE_NAME: &str = "wz6kq9xjv3bm8tn2hrpc7dgf";
const NAME: &str = "xk4vz8qjw7mb3tn9hrcp2dfg";
/// What stays beside it, by which a search of the disk shows that it finds things.
const KEPT: &str = "jw3xq7zvk9bn5tm2hrcp8dfg";

fn person(folder: &Path, name: &str, called: &str) -> Person {
    let mut person = Person::at(folder, name);
    person.up();
    person.done(&["id", "name", called]);
    person
}

fn joins(person: &Person, host: &Person) {
    assert_eq!(person.json(&["room", "join", &host.link("lab"), "--wait", "60s"])["pending"], false);
}

/// Bytes like those of no other file.
fn noise(seed: u32) -> Vec<u8> {
    let mut state = seed;
    (0..700_000)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (state >> 11) as u8
        })
        .collect()
}

fn erased(person: &Person, event: &str) -> Value {
    person.json(&["erased", event])
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(90), "not after a minute and a half: {what}");
    }
}

#[test]
fn what_is_erased_is_in_no_file_of_three_nodes_one_of_which_was_away() {
    let folder = tempfile::tempdir().unwrap();
    let mut alice = person(folder.path(), "alice", NAME);
    let (mut bob, mut carol) = (person(folder.path(), "bob", "Bob"), person(folder.path(), "carol", "Carol"));
    alice.json(&["room", "create", "lab"]);
    [&bob, &carol].into_iter().for_each(|person| joins(person, &alice));

    let text = alice.send("lab", TEXT);
    let edited = alice.send("lab", FIRST_TEXT);
    alice.done(&["edit", &edited, EDIT]);
    let (file, bytes) = (folder.path().join(FILE_NAME), noise(7));
    fs::write(&file, &bytes).unwrap();
    let sent = alice.json(&["send", "lab", "--file", file.to_str().unwrap()]);
    let sent = sent["id"].as_str().unwrap().to_owned();
    alice.done(&["id", "name", "Alice"]);
    alice.send("lab", KEPT);
    let needles = [TEXT, FIRST_TEXT, EDIT, FILE_NAME, NAME].map(str::as_bytes);
    let needles = [&needles[..], &[&bytes[300_000..300_064]]].concat();
    for person in [&bob, &carol] {
        person.until_shown("lab", 4);
        let fetched = person.home.with_extension("fetched");
        person.done(&["file", "get", &sent, "--output", fetched.to_str().unwrap()]);
        until("the name is heard of", || person.done(&["room", "members", "lab"]).contains("Alice"));
    }
    for person in [&alice, &bob, &carol] {
        for n in 0..needles.len() {
            let found = files_with(&person.home, &needles[n..=n]);
            assert!(!found.is_empty(), "needle {n} is nowhere to begin with: {}", person.home.display());
        }
    }

    carol.kill();
    // The word that a message is gone covers what was erased before it.
    alice.done(&["id", "name", "Alice", "--erase-former"]);
    alice.done(&["erase", &edited]);
    alice.done(&["erase", &sent]);
    alice.done(&["erase", &text]);
    until("Bob says that it is gone", || {
        [&text, &edited, &sent].into_iter().all(|event| {
            let erased = erased(&alice, event);
            let gone = erased["devices"].as_array().unwrap().iter().filter(|answer| answer["gone"] == true).count();
            erased["here"] == true && gone == 1
        })
    });
    let silent = alice.fails(6, &["erased", &text, "--wait", "1s"]);
    assert!(silent.contains("1 of 2 other devices have not said yet"), "{silent}");
    let shown = alice.done(&["erased", &text]);
    assert!(shown.contains("gone from Bob's device") && shown.contains("no word yet from Carol's"), "{shown}");
    for person in [&alice, &bob] {
        assert_eq!(files_with(&person.home, &needles), [], "{}", person.home.display());
        assert_ne!(files_with(&person.home, &[KEPT.as_bytes()]), [], "what stays is found");
    }
    assert_ne!(files_with(&carol.home, &needles), [], "who was away has it still");

    // Who comes back brings nothing back, and has it no more in a while.
    carol.up();
    for event in [&text, &edited, &sent] {
        let answer = alice.json(&["erased", event, "--wait", "90s"]);
        assert!(answer["devices"].as_array().unwrap().iter().all(|answer| answer["gone"] == true), "{answer}");
    }
    for person in [&alice, &bob, &carol] {
        assert_eq!(files_with(&person.home, &needles), [], "{}", person.home.display());
        assert_eq!(person.texts("lab"), ["", "", "", KEPT]);
    }
    // What is proven of it is the same everywhere; also after a start from what is on disk.
    assert_eq!(alice.history("lab"), bob.history("lab"));
    assert_eq!(alice.history("lab"), carol.history("lab"));
    for person in [&mut alice, &mut bob, &mut carol] {
        fs::remove_file(person.home.with_extension("export")).unwrap();
        person.down();
        assert_eq!(files_with(&person.home, &needles), []);
        person.up();
        assert_eq!(files_with(&person.home, &needles), []);
        assert_eq!(erased(person, &text)["here"], true);
    }
}

#[test]
fn a_moderators_erasure_hides_at_once_and_says_when_bytes_go() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bob) = (person(folder.path(), "alice", "Alice"), person(folder.path(), "bob", "Bob"));
    alice.json(&["room", "create", "lab"]);
    joins(&bob, &alice);
    let text = bob.send("lab", TEXT);
    alice.until_shown("lab", 1);
    refused(5, &["nobody has erased", "tidings erase"], || alice.command(&["erased", &text]));
    refused(5, &["there is no message"], || alice.command(&["erased", "abcdefgh"]));
    let said = alice.fails(6, &["erase", &text, "--wait", "1s"]);
    assert!(said.contains("by a moderator's word its bytes go on"), "{said}");
    let erased = erased(&alice, &text);
    assert_eq!((&erased["own"], &erased["here"]), (&Value::Bool(false), &Value::Bool(false)));
    let days = (erased["due_ms"].as_u64().unwrap() - erased["ms"].as_u64().unwrap()) / (24 * 3600 * 1000);
    assert!((6..=7).contains(&days), "{erased}");
    assert_eq!(alice.texts("lab"), [""]);
    // The author need not wait for that.
    until("Bob sees it", || bob.texts("lab") == [""]);
    bob.done(&["erase", &text, "--wait", "90s"]);
    for person in [&alice, &bob] {
        assert_eq!(files_with(&person.home, &[TEXT.as_bytes()]), []);
    }
}

//! Keeping a room in order, among real nodes: what one may do and why not, slow mode, folding, reports, and rooms that go on
//! elsewhere. None of it changes what counts.

use crate::support::nodes::Person;
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};

/// People in one room, the first of whom made it, each at a node of their own; the second moderates.
fn room(folder: &Path, names: &[&str], kind: &[&str]) -> Vec<Person> {
    let mut people: Vec<Person> = names.iter().map(|name| Person::at(folder, name)).collect();
    for (person, name) in people.iter_mut().zip(names) {
        person.up();
        person.done(&["id", "name", name]);
    }
    people[0].json(&[&["room", "create", "lab"], kind].concat());
    let link = people[0].link("lab");
    for person in &people[1..] {
        assert_eq!(person.json(&["room", "join", &link])["pending"], false);
    }
    for person in &people {
        let called = || person.json(&["room", "members", "lab"]).to_string();
        until("all know one another's names", || names.iter().all(|name| called().contains(&format!("\"{name}\""))));
    }
    people[0].json(&["room", "grant", "lab", names[1], "--role", "moderator"]);
    for person in &people {
        until("all know the moderator", || {
            person.json(&["room", "members", "lab"]).to_string().contains("\"moderator\"")
        });
    }
    people
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(60), "not after a minute: {what}");
    }
}

fn show(person: &Person) -> Value {
    person.json(&["room", "show", "lab"])
}

/// Why a message is hidden, as somebody's screen has it, and what it says there.
fn hidden(person: &Person, id: &str) -> (Value, Value) {
    let line = person.lines("lab").into_iter().find(|line| line["id"] == id).unwrap_or_default();
    (line["hidden"].clone(), line["text"].clone())
}

#[test]
fn a_room_says_what_one_may_do_and_why_not() {
    let folder = tempfile::tempdir().unwrap();
    let people = room(folder.path(), &["alice", "bob", "carol"], &[]);
    let [alice, bob, carol] = people.as_slice() else { panic!() };
    let may = |person: &Person| show(person)["may"].to_string();
    assert!(may(alice).contains("\"successor\""), "{}", may(alice));
    let moderator = r#"["post","report","invite","grant","remove","erase","hide","topic","leave"]"#;
    assert_eq!((may(bob), may(carol)), (moderator.to_owned(), r#"["post","report","leave"]"#.to_owned()));
    assert_eq!(show(carol)["read_only"], Value::Null);
    bob.json(&["room", "grant", "lab", "carol", "--role", "reader"]);
    until("carol reads", || show(carol)["read_only"] == "reader");
    assert_eq!(may(carol), r#"["leave"]"#);
    let said = carol.done(&["room", "show", "lab"]);
    assert!(said.contains("may     leave") && said.contains("read-only: your role is to read"), "{said}");
    bob.json(&["room", "revoke", "lab", "carol"]);
    until("carol is out", || show(carol)["read_only"] == "removed");
    assert_eq!((may(carol), show(carol)["role"].clone()), ("[]".to_owned(), "none".into()));
    bob.done(&["room", "leave", "lab"]);
    let room = show(alice)["room"].as_str().unwrap().to_owned();
    assert_eq!(bob.json(&["room", "show", &room])["read_only"], "left");
}

#[test]
fn what_a_moderator_folds_is_folded_everywhere_and_unfolded_again() {
    let folder = tempfile::tempdir().unwrap();
    let people = room(folder.path(), &["alice", "bob", "carol"], &["--public"]);
    let [alice, bob, carol] = people.as_slice() else { panic!() };
    let rude = carol.send("lab", "something rude");
    let strong = alice.send("lab", "the founder speaks");
    bob.until_shown("lab", 2);
    carol.until_shown("lab", 2);
    carol.refused(4, &["hide", &strong], &["needs moderator; you are member"]);
    bob.refused(4, &["hide", &strong], &["rank"]);
    bob.refused(5, &["hide", "aaaaaaaa"], &["no message"]);
    assert_eq!(bob.texts("lab").len(), 2, "nothing was signed");

    let hide = bob.json(&["hide", &rude]);
    assert_eq!(hide["durable"], true);
    for person in &people {
        until("folded", || hidden(person, &rude) == ("moderator".into(), "".into()));
    }
    let line = alice.lines("lab").into_iter().find(|line| line["id"] == rude.as_str()).unwrap();
    assert_eq!(line["hidden_by_name"], "bob");
    assert!(alice.done(&["read", "lab"]).contains("(hidden by bob: --hidden shows it)"));
    let told = alice.done(&["--json", "read", "lab", "--hidden"]);
    assert!(told.contains("something rude") && told.contains("\"hidden\":\"moderator\""), "{told}");
    assert!(alice.done(&["read", "lab", "--hidden"]).contains("(hidden by bob) something rude"));
    // An edit does not unfold it, and a hide of a hide is nothing.
    carol.done(&["edit", &rude, "still rude"]);
    bob.refused(5, &["hide", hide["id"].as_str().unwrap()], &["no such message"]);
    until("edited", || alice.done(&["read", "lab", "--hidden"]).contains("still rude"));
    assert_eq!(hidden(alice, &rude).0, "moderator");

    alice.json(&["hide", &rude, "--undo"]);
    for person in &people {
        until("shown", || hidden(person, &rude) == (Value::Null, "still rude".into()));
    }
    bob.json(&["hide", &rude]);
    until("folded again", || hidden(carol, &rude).0 == "moderator");
    // Who moderates no more folds nothing any more; who does again, does again.
    alice.json(&["room", "grant", "lab", "bob", "--role", "member"]);
    for person in &people {
        until("shown without its moderator", || hidden(person, &rude) == (Value::Null, "still rude".into()));
    }
    until("one history", || carol.history("lab") == alice.history("lab"));
}

#[test]
fn slow_mode_refuses_here_and_folds_what_other_programs_say() {
    let folder = tempfile::tempdir().unwrap();
    let people = room(folder.path(), &["alice", "bob", "carol"], &[]);
    let [alice, bob, carol] = people.as_slice() else { panic!() };
    let before = [carol.send("lab", "before one"), carol.send("lab", "before two")];
    alice.until_shown("lab", 2);
    bob.refused(4, &["room", "set", "lab", "slow", "30s"], &["needs admin; you are moderator"]);
    for wrong in ["soon", "25h", "3 d", ""] {
        alice.refused(2, &["room", "set", "lab", "slow", wrong], &["no time for slow mode"]);
    }
    alice.json(&["room", "set", "lab", "slow", "1h"]);
    for person in &people {
        until("slow", || show(person)["slow"] == 3600);
    }
    assert!(carol.done(&["room", "show", "lab"]).contains("3600 seconds between two messages"));
    let first = carol.send("lab", "first");
    carol.refused(4, &["send", "lab", "second"], &["slow mode: 3600 seconds", "wait 3"]);
    carol.refused(4, &["send", "lab", "an answer", "--reply", &before[0]], &["slow mode"]);
    carol.done(&["edit", &first, "first, mended"]);
    carol.done(&["react", &before[0], "+"]);
    for text in ["bob one", "bob two"] {
        bob.send("lab", text);
    }
    alice.until_shown("lab", 5);
    for id in [&before[0], &before[1], &first] {
        assert_eq!(hidden(alice, id).0, Value::Null, "what came before slow mode, and the first after it, is shown");
    }
    // What came while there was none: as if said by a program that does not wait.
    alice.json(&["room", "set", "lab", "slow", "off"]);
    until("off", || show(carol)["slow"] == 0);
    let (second, third) = (carol.send("lab", "second"), carol.send("lab", "third"));
    alice.json(&["room", "set", "lab", "slow", "3600"]);
    until("on", || show(carol)["slow"] == 3600 && show(bob)["slow"] == 3600);
    alice.until_shown("lab", 7);
    // Slow mode counts from when it was set last.
    assert_eq!((hidden(alice, &second).0, hidden(alice, &third).0), (Value::Null, Value::Null));
    let free = carol.send("lab", "first after that");
    carol.refused(4, &["send", "lab", "too soon"], &["slow mode"]);
    // A moderator need not wait: and what she says then binds her when she is a member again.
    alice.json(&["room", "grant", "lab", "carol", "--role", "moderator"]);
    until("carol moderates", || show(carol)["role"] == "moderator");
    let soon = carol.send("lab", "too soon for a member");
    alice.until_shown("lab", 9);
    assert_eq!(hidden(alice, &soon).0, Value::Null);
    alice.json(&["room", "grant", "lab", "carol", "--role", "member"]);
    for person in &people {
        until("folded", || hidden(person, &soon) == ("slow".into(), "".into()));
        assert_eq!(hidden(person, &free).0, Value::Null);
    }
    assert!(bob.done(&["read", "lab"]).contains("(too soon for slow mode: --hidden shows it)"));
    assert!(bob.done(&["read", "lab", "--hidden"]).contains("(too soon for slow mode) too soon for a member"));
}

#[test]
fn reports_are_read_by_those_who_moderate_alone() {
    let folder = tempfile::tempdir().unwrap();
    let people = room(folder.path(), &["alice", "bob", "carol", "dave"], &["--public"]);
    let [alice, bob, carol, dave] = people.as_slice() else { panic!() };
    let spam = dave.send("lab", "buy this");
    let rude = bob.send("lab", "a moderator is rude");
    carol.until_shown("lab", 2);
    alice.until_shown("lab", 2);
    dave.refused(4, &["report", &spam, "--reason", "mine"], &["your own message"]);
    carol.refused(2, &["report", &spam, "--reason", " "], &["a reason is one line"]);
    carol.refused(2, &["report", &spam, "--reason", &"x".repeat(1001)], &["1000 bytes"]);
    carol.refused(4, &["room", "reports", "lab"], &["needs moderator; you are member"]);

    let report = carol.json(&["report", &spam, "--reason", "the third time today"]);
    carol.json(&["report", &rude, "--reason", "look at bob"]);
    carol.json(&["report", &spam, "--reason", "the fourth time today"]);
    until("alice has them", || {
        let listed = alice.json(&["room", "reports", "lab"]);
        listed.as_array().unwrap().len() == 2 && listed.to_string().contains("the fourth time")
    });
    let listed = alice.json(&["room", "reports", "lab"]);
    assert_eq!((&listed[0]["name"], &listed[0]["author_name"]), (&"carol".into(), &"bob".into()));
    assert_eq!((&listed[1]["reason"], &listed[1]["text"]), (&"the fourth time today".into(), &"buy this".into()));
    assert_eq!(listed[1]["event"], spam.as_str());
    let said = alice.done(&["room", "reports", "lab"]);
    assert!(said.contains("carol reports") && said.contains("of dave: the fourth time today"), "{said}");
    // Bob moderates, and reads what is not about him.
    until("bob has his", || bob.json(&["room", "reports", "lab"]).as_array().unwrap().len() == 1);
    assert_eq!(bob.json(&["room", "reports", "lab"])[0]["event"], spam.as_str());

    // Others hold it, and see nothing of it: not as a message, nor in what they can export.
    until("dave holds all", || dave.history("lab") == alice.history("lab"));
    let history = dave.history("lab");
    for word in ["the third time", "look at bob"] {
        assert!(!history.windows(word.len()).any(|w| w == word.as_bytes()), "{word}");
    }
    assert_eq!(dave.texts("lab"), ["buy this", "a moderator is rude"]);
    assert!(show(dave)["unread"].as_u64().unwrap() <= 2, "it is no message either");
    alice.refused(5, &["hide", report["id"].as_str().unwrap()], &["no such message"]);
    // Who is blocked is not heard.
    alice.done(&["people", "block", carol.json(&["id"])["user"].as_str().unwrap()]);
    assert_eq!(alice.json(&["room", "reports", "lab"]), serde_json::json!([]));
    // The founder alone in a room has nobody to report to.
    alice.json(&["room", "create", "den"]);
    let own = alice.send("den", "mine");
    alice.refused(4, &["report", &own, "--reason", "x"], &["your own message"]);
}

#[test]
fn reports_of_a_reader_and_of_the_only_moderator_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let people = room(folder.path(), &["alice", "bob", "carol"], &[]);
    let [alice, bob, carol] = people.as_slice() else { panic!() };
    let said = alice.send("lab", "hello");
    for person in [bob, carol] {
        person.until_shown("lab", 1);
    }
    // About the founder there is one who may read it; about her with no moderator, nobody.
    carol.json(&["report", &said, "--reason", "to bob"]);
    alice.json(&["room", "grant", "lab", "bob", "--role", "member"]);
    until("bob is a member", || !carol.json(&["room", "members", "lab"]).to_string().contains("moderator"));
    carol.refused(4, &["report", &said, "--reason", "to nobody"], &["nobody to report it to"]);
    alice.json(&["room", "grant", "lab", "carol", "--role", "reader"]);
    until("carol reads", || show(carol)["role"] == "reader");
    carol.refused(4, &["report", &said, "--reason", "as a reader"], &["needs member; you are reader"]);
}

#[test]
fn a_room_goes_on_in_another_and_two_that_name_one_another_stay_open() {
    let folder = tempfile::tempdir().unwrap();
    let people = room(folder.path(), &["alice", "bob"], &[]);
    let [alice, bob] = people.as_slice() else { panic!() };
    alice.json(&["room", "create", "next"]);
    let next = alice.json(&["room", "show", "next"])["room"].as_str().unwrap().to_owned();
    alice.refused(4, &["room", "successor", "lab", "lab"], &["cannot go on in itself"]);
    alice.refused(5, &["room", "successor", "lab", "nowhere"], &["no room"]);
    bob.json(&["room", "create", "bobs"]);
    bob.refused(4, &["room", "successor", "lab", "bobs"], &["needs admin; you are moderator"]);
    let said = alice.done(&["room", "successor", "lab", "next"]);
    assert!(said.contains("Nobody is moved") && said.contains("tidings room invite next"), "{said}");
    let successor = |person: &Person| show(person)["successor"].clone();
    assert_eq!(successor(alice), serde_json::json!({ "room": next, "alias": "next", "comes_back": false }));
    assert_eq!(show(alice)["read_only"], "successor");
    until("bob knows", || successor(bob)["room"] == next.as_str());
    assert_eq!(successor(bob)["alias"], Value::Null);
    assert!(bob.done(&["room", "show", "lab"]).contains("which is not here: ask for a link"));
    bob.json(&["room", "join", &alice.link("next")]);
    assert_eq!(successor(bob)["alias"], "next");
    // What counts has not changed: the last word can still be said.
    bob.send("lab", "see you there");

    let lab = show(alice)["room"].as_str().unwrap().to_owned();
    alice.json(&["room", "successor", "next", &lab]);
    for room in ["lab", "next"] {
        let shown = alice.json(&["room", "show", room]);
        assert_eq!((&shown["successor"]["comes_back"], &shown["read_only"]), (&true.into(), &Value::Null), "{room}");
    }
    assert!(alice.done(&["room", "show", "lab"]).contains("neither is closed"));
}

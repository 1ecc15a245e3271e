//! Who may do what, among real nodes: removing, bringing back, changing roles; and five people cut apart who meet again.

use crate::support::healing::{can_be_alone, up_alone};
use crate::support::nodes::Person;
use crate::support::skip;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

/// People in one room, the first of whom made it, each at a node of their own.
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
    people
}

fn user(person: &Person) -> String {
    person.json(&["id"])["user"].as_str().unwrap().to_owned()
}

/// The role of each member, by name, as somebody sees it.
fn roles(person: &Person) -> BTreeSet<(String, String)> {
    let members = person.json(&["room", "members", "lab"]);
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    members.as_array().unwrap().iter().map(|m| (text(&m["user"]), text(&m["role"]))).collect()
}

/// Waits until something holds; fails after a minute.
fn until(what: &str, holds: impl Fn() -> bool) -> Duration {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(60), "not after a minute: {what}");
    }
    began.elapsed()
}

#[test]
fn who_is_removed_keeps_what_was_said_and_says_nothing_more() {
    let folder = tempfile::tempdir().unwrap();
    let people = room(folder.path(), &["alice", "bob", "carol"], &[]);
    let [alice, bob, carol] = people.as_slice() else { panic!() };
    bob.send("lab", "bob was here");
    carol.until_shown("lab", 1);
    alice.until_shown("lab", 1);
    let removed = alice.json(&["room", "revoke", "lab", "bob"]);
    assert_eq!((&removed["user"], &removed["role"]), (&user(bob).into(), &"none".into()));
    until("bob knows", || roles(bob).len() == 2);
    let error = bob.fails(4, &["send", "lab", "still here?"]);
    assert!(error.contains("not a member"), "{error}");
    until("carol knows", || roles(carol).len() == 2);
    alice.send("lab", "after bob");
    carol.until_shown("lab", 2);
    assert_eq!(carol.texts("lab"), ["bob was here", "after bob"]);
    assert_eq!(bob.texts("lab"), ["bob was here"], "he gets nothing newer");
    let listed = carol.json(&["room", "members", "lab", "--removed"]);
    assert_eq!(listed[0]["user"], user(bob).as_str());
    // The link by which he came does not bring him back.
    let link = alice.link("lab");
    let again = bob.run(&["--json", "room", "join", &link, "--wait", "3s"]);
    assert!(!again.status.success());
    assert_eq!(roles(carol).len(), 2);

    // A grant by somebody no weaker than who removed him does.
    alice.json(&["room", "grant", "lab", &user(bob)]);
    until("bob is back", || bob.run(&["send", "lab", "thank you"]).status.success());
    for person in [alice, carol, bob] {
        person.until_shown("lab", 3);
        assert_eq!(person.texts("lab"), ["bob was here", "after bob", "thank you"]);
    }
    assert_eq!(alice.history("lab"), carol.history("lab"));
}

#[test]
fn roles_are_given_and_taken_by_those_who_are_stronger() {
    let folder = tempfile::tempdir().unwrap();
    let people = room(folder.path(), &["alice", "bob", "carol"], &["--public"]);
    let [alice, bob, carol] = people.as_slice() else { panic!() };
    let error = bob.fails(4, &["room", "revoke", "lab", "carol"]);
    assert!(error.contains("needs moderator; you are member"), "{error}");
    let error = bob.fails(4, &["room", "set", "lab", "topic", "mine"]);
    assert!(error.contains("needs moderator; you are member"), "{error}");
    bob.refused(5, &["room", "grant", "lab", "nobody"], &["nobody is called"]);
    bob.refused(2, &["room", "grant", "lab", "carol", "--role", "king"], &["is no role"]);

    alice.json(&["room", "grant", "lab", "bob", "--role", "moderator"]);
    until("bob moderates", || bob.run(&["room", "set", "lab", "topic", "ours"]).status.success());
    let error = bob.fails(4, &["room", "grant", "lab", "carol", "--role", "admin"]);
    assert!(error.contains("needs founder; you are moderator"), "{error}");
    let error = bob.fails(4, &["room", "revoke", "lab", "alice"]);
    assert!(error.contains("founder"), "{error}");
    until("all see the topic", || carol.json(&["room", "show", "lab"])["topic"] == "ours");

    carol.send("lab", "as a member");
    bob.until_shown("lab", 1);
    bob.json(&["room", "grant", "lab", "carol", "--role", "reader"]);
    until("carol reads only", || carol.json(&["room", "show", "lab"])["role"] == "reader");
    let error = carol.fails(4, &["send", "lab", "as a reader"]);
    assert!(error.contains("needs member; you are reader"), "{error}");
    bob.send("lab", "can you read this?");
    carol.until_shown("lab", 2);
    assert_eq!(carol.texts("lab"), ["as a member", "can you read this?"], "what she said before stays");

    // Who gave her less may give it back; he himself falls with the word of somebody stronger.
    bob.json(&["room", "grant", "lab", "carol"]);
    until("carol is back", || carol.run(&["send", "lab", "as a member again"]).status.success());
    alice.json(&["room", "grant", "lab", "bob", "--role", "member"]);
    until("bob knows", || bob.json(&["room", "show", "lab"])["role"] == "member");
    for person in [alice, bob, carol] {
        person.until_shown("lab", 3);
        until("all see the same", || roles(person) == roles(alice));
    }
    until("one history", || bob.history("lab") == alice.history("lab") && carol.history("lab") == alice.history("lab"));
}

#[test]
fn who_cannot_give_the_rest_takes_nothing_away() {
    let folder = tempfile::tempdir().unwrap();
    let people = room(folder.path(), &["alice", "bob", "carol"], &[]);
    let [alice, bob, carol] = people.as_slice() else { panic!() };
    alice.json(&["room", "grant", "lab", "carol", "--role", "admin"]);
    alice.json(&["room", "revoke", "lab", "bob"]);
    alice.json(&["room", "grant", "lab", &user(bob), "--role", "moderator"]);
    until("carol sees it", || roles(carol) == roles(alice) && roles(carol).contains(&(user(bob), "moderator".into())));
    // To make him a member she would have to lift what a founder has said.
    let error = carol.fails(4, &["room", "grant", "lab", &user(bob), "--role", "member"]);
    assert!(error.contains("needs founder; you are admin"), "{error}");
    assert!(roles(carol).contains(&(user(bob), "moderator".into())), "he was not removed on the way");
}

#[test]
fn what_a_removal_did_not_know_is_adopted_with_its_author() {
    if !can_be_alone() {
        return skip("no network namespaces of one's own here");
    }
    let folder = tempfile::tempdir().unwrap();
    let mut people = room(folder.path(), &["alice", "bob", "carol"], &[]);
    people[0].json(&["room", "grant", "lab", "bob", "--role", "moderator"]);
    people[2].send("lab", "before");
    for person in &people {
        person.until_shown("lab", 1);
        until("bob moderates", || roles(person).contains(&(user(&people[1]), "moderator".into())));
    }
    // Bob is alone when he removes Carol: he has not seen what she told Alice meanwhile.
    people[1].down();
    up_alone(&mut people[1]);
    people[2].send("lab", "found the bug");
    people[2].send("lab", "never mind");
    people[0].until_shown("lab", 3);
    people[1].json(&["room", "revoke", "lab", "carol"]);
    people[1].down();
    people[1].up();
    let [alice, bob, carol] = people.as_slice() else { panic!() };
    until("alice knows", || roles(alice).len() == 2);
    assert_eq!(alice.texts("lab"), ["before"]);
    let void: Vec<serde_json::Value> = alice
        .done(&["--json", "read", "lab", "--void"])
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let listed: Vec<_> = void.iter().map(|line| (line["text"].clone(), line["void"].clone())).collect();
    let why = serde_json::Value::from("its author was removed from the room");
    assert_eq!(listed, [("found the bug".into(), why.clone()), ("never mind".into(), why)]);

    let message = void[0]["id"].as_str().unwrap().to_owned();
    alice.json(&["adopt", &message]);
    for person in [bob, alice] {
        person.until_shown("lab", 2);
        let shown = &person.lines("lab")[1];
        assert_eq!((&shown["text"], &shown["user"]), (&"found the bug".into(), &user(carol).into()));
        assert_eq!(shown["adopted"]["user"], user(alice).as_str());
        assert_eq!(shown["adopted"]["message"], message.as_str());
    }
    assert!(bob.done(&["read", "lab"]).contains("carol (adopted by alice): found the bug"));
    let error = alice.fails(4, &["adopt", &message]);
    assert!(error.contains("shown already"), "{error}");
    let error = alice.fails(4, &["adopt", alice.lines("lab")[0]["id"].as_str().unwrap()]);
    assert!(error.contains("shown already"), "{error}");
    let error = bob.fails(5, &["adopt", &message]);
    assert!(error.contains("no message"), "{error}");
    // An answer to it finds it, wherever it was read.
    let shown = bob.lines("lab")[1]["id"].as_str().unwrap().to_owned();
    bob.json(&["send", "lab", "well found", "--reply", &shown]);
    alice.until_shown("lab", 3);
    assert_eq!(bob.history("lab"), alice.history("lab"));
}

#[test]
fn five_people_cut_apart_meet_again_and_agree() {
    if !can_be_alone() {
        return skip("no network namespaces of one's own here");
    }
    let folder = tempfile::tempdir().unwrap();
    let mut people = room(folder.path(), &["alice", "bob", "carol", "dave", "erin"], &[]);
    people[0].json(&["room", "grant", "lab", "bob", "--role", "moderator"]);
    people[0].json(&["room", "grant", "lab", "carol", "--role", "moderator"]);
    let invite = people[0].json(&["room", "invite", "lab"]);
    let (link, invite) = (invite["link"].as_str().unwrap().to_owned(), invite["invite"].as_str().unwrap().to_owned());
    for person in &people {
        person.send("lab", "together");
    }
    for person in &people {
        person.until_shown("lab", 5);
        until("roles", || {
            roles(person) == roles(&people[0]) && roles(person).iter().filter(|r| r.1 == "moderator").count() == 2
        });
    }
    // Carol and Dave are each alone; the others see one another.
    let (carol, dave) = (2, 3);
    for at in [carol, dave] {
        people[at].down();
        up_alone(&mut people[at]);
    }
    people[1].json(&["room", "revoke", "lab", "dave"]);
    people[0].json(&["invite", "close", &invite]);
    people[carol].json(&["invite", "close", &invite]);
    people[carol].json(&["room", "revoke", "lab", "erin"]);
    for n in 0..6 {
        people[dave].send("lab", &format!("dave does not know {n}"));
        people[4].send("lab", &format!("erin does not know {n}"));
        people[carol].send("lab", &format!("carol alone {n}"));
        people[0].send("lab", &format!("alice meanwhile {n}"));
    }
    assert_eq!(people[dave].texts("lab").len(), 11);
    for at in [carol, dave] {
        people[at].down();
        people[at].up();
    }
    let everyone: Vec<&Person> = people.iter().collect();
    let same = |person: &Person| {
        let (texts, alices) = (person.texts("lab"), everyone[0].texts("lab"));
        roles(person) == roles(everyone[0]) && texts == alices && alices.len() == 17
    };
    let healed = until("members see one order", || [carol, 1].iter().all(|at| same(everyone[*at])));
    println!("healed after {} ms", healed.as_millis());
    assert_eq!(roles(everyone[0]).len(), 3, "dave and erin are out");
    assert_eq!(everyone[carol].history("lab"), everyone[0].history("lab"));
    assert_eq!(everyone[1].history("lab"), everyone[0].history("lab"));
    let texts = everyone[0].texts("lab");
    assert!(!texts.iter().any(|text| text.contains("does not know")), "{texts:?}");
    drop(link);
}

//! Who people are to one another, through the real program: pet names, keys compared, names that look alike, people who are
//! blocked and peers that are banned. All of it is this node's own; nothing of it changes what is held.

use crate::support::nodes::Person;
use serde_json::Value;
use std::path::Path;

/// A room of Alice's with these others in it, each under a name; and their keys.
fn room(folder: &Path, names: &[&str]) -> (Vec<Person>, Vec<String>) {
    let mut people = Vec::new();
    for (n, name) in names.iter().enumerate() {
        let mut person = Person::at(folder, &format!("p{n}"));
        person.up();
        person.done(&["id", "name", name]);
        people.push(person);
    }
    people[0].json(&["room", "create", "zig", "--invite-rank", "member"]);
    let link = people[0].link("zig");
    for person in &people[1..] {
        assert_eq!(person.json(&["room", "join", &link])["pending"], false);
        until_members(&people[0], &person.json(&["id"])["user"]);
    }
    let keys = people.iter().map(|p| p.json(&["id"])["user"].as_str().unwrap().to_owned()).collect();
    (people, keys)
}

/// Waits until somebody is in the room with a name of their own.
fn until_members(person: &Person, user: &Value) {
    let known = |m: &Value| m["user"] == *user && !m["name"].as_str().unwrap().starts_with('…');
    while !person.json(&["room", "members", "zig"]).as_array().unwrap().iter().any(known) {}
}

fn member(person: &Person, user: &str) -> Value {
    let members = person.json(&["room", "members", "zig"]);
    members.as_array().unwrap().iter().find(|m| m["user"] == user).unwrap().clone()
}

#[test]
fn a_pet_name_is_seen_here_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let (mut people, keys) = room(folder.path(), &["Alice", "Bob"]);
    let id = people[1].send("zig", "hello");
    people[0].follow("zig").until_id(&id);
    let named = people[0].json(&["people", "name", &keys[1], "Bobby"]);
    assert_eq!((&named["user"], &named["petname"]), (&keys[1].clone().into(), &"Bobby".into()));
    people[0].kill();
    people[0].up();
    let (alice, bob) = (&people[0], &people[1]);
    assert_eq!(member(alice, &keys[1])["petname"], "Bobby");
    assert_eq!(member(alice, &keys[1])["name"], "Bob");
    assert_eq!(member(alice, &keys[0])["petname"], Value::Null);
    let line = alice.lines("zig").pop().unwrap();
    assert_eq!((&line["name"], &line["petname"]), (&"Bob".into(), &"Bobby".into()));
    assert!(alice.done(&["read", "zig"]).contains(" Bobby: hello"));
    assert!(alice.done(&["room", "members", "zig"]).contains("Bobby"));
    assert!(bob.done(&["read", "zig"]).contains(" Bob: hello"));
    assert_eq!(bob.json(&["people"]), Value::Array(vec![]));
    // It stands for the key, whatever the case of its letters, and no other name may read like it.
    assert_eq!(alice.json(&["people", "name", "bobby", "Bob B."])["user"], keys[1].as_str());
    let carla = crate::support::people::Person::new(7).user().to_string();
    alice.refused(4, &["people", "name", &carla, "B\u{43e}b b."], &["reads like \"Bob B.\"", &keys[1]]);
    for bad in ["a\u{1b}b", "two\nlines", "\u{202e}x", "a@b", "did:key:z6Mk", "\u{2713}", &"x".repeat(65)] {
        alice.refused(2, &["people", "name", &keys[1], bad], &["a pet name has 1 to 64 bytes on one line"]);
    }
    alice.refused(4, &["people", "name", &keys[0], "Me"], &["that is you"]);
    alice.refused(5, &["people", "name", "Bob", "x"], &["\"Bob\" is nobody here", "did:key:z6Mk"]);
    assert_eq!(alice.json(&["people", "name", &keys[1], ""])["petname"], Value::Null);
    assert_eq!(alice.json(&["people"]), Value::Array(vec![]));
    assert!(alice.done(&["read", "zig"]).contains(" Bob: hello"));
}

#[test]
fn keys_are_compared_by_a_code_that_both_see() {
    let folder = tempfile::tempdir().unwrap();
    let (people, keys) = room(folder.path(), &["Alice", "Bob", "Mallory"]);
    let (alice, bob, mallory) = (&people[0], &people[1], &people[2]);
    let of_alice = alice.json(&["people", "verify", &keys[1]]);
    let code = of_alice["code"].as_str().unwrap();
    assert_eq!(bob.json(&["people", "verify", &keys[0]])["code"], code);
    assert_eq!(code.split(' ').map(str::len).collect::<Vec<_>>(), [5; 12]);
    assert!(alice.done(&["people", "verify", &keys[1]]).contains(&code[..23]));

    // Mallory's own codes, with either of them, prove nothing.
    for (who, other) in [(alice, &keys[1]), (bob, &keys[0])] {
        for theirs in [&keys[0], &keys[1]] {
            let wrong = mallory.json(&["people", "verify", theirs])["code"].as_str().unwrap().to_owned();
            who.refused(4, &["people", "verify", other, "--code", &wrong], &["the codes differ", "is not verified"]);
        }
        who.refused(2, &["people", "verify", other, "--code", &code[..50]], &["a code has 60 digits"]);
    }
    let link = |by: &Person, of: &str| by.json(&["people", "verify", of])["link"].as_str().unwrap().to_owned();
    let mallorys = link(mallory, &keys[0]);
    alice.refused(4, &["people", "verify", &keys[1], "--code", &mallorys], &["is for the key", &keys[1], &keys[2]]);
    bob.refused(4, &["people", "verify", &mallorys], &["not for you"]);
    bob.refused(2, &["people", "verify", &mallorys[..60]], &["scan or copy all of it"]);
    alice.refused(4, &["people", "verify", &keys[0]], &["that is you"]);
    for (who, whom) in [(alice, &keys[1]), (bob, &keys[0]), (alice, &keys[2])] {
        assert_eq!(member(who, whom)["verified"], false);
    }

    // The right one does, however it is written; on one side alone.
    let spaced = code.replace(' ', "  \n");
    assert_eq!(alice.json(&["people", "verify", &keys[1], "--code", &spaced])["verified"], true);
    assert_eq!(
        (&member(alice, &keys[1])["verified"], &member(bob, &keys[0])["verified"]),
        (&true.into(), &false.into())
    );
    let scanned = link(alice, &keys[1]).to_uppercase();
    assert_eq!(bob.json(&["people", "verify", &scanned])["user"], keys[0].as_str());
    assert_eq!(member(bob, &keys[0])["verified"], true);
    let id = bob.send("zig", "it is me");
    assert_eq!(alice.follow("zig").until_id(&id)["user_verified"], true);
    assert!(alice.done(&["read", "zig"]).contains(" Bob ✓: it is me"));
    assert_eq!(alice.json(&["people", "verify", &keys[1], "--forget"])["verified"], false);
    assert_eq!(member(alice, &keys[1])["verified"], false);
}

#[test]
fn who_looks_like_somebody_else_is_marked() {
    let folder = tempfile::tempdir().unwrap();
    // Bob is the one who looks; the third has a cyrillic letter, the fourth gives himself our mark and is Bob, nearly.
    let (people, keys) = room(folder.path(), &["Alice", "Bob", "\u{410}lice", "Bob \u{2713}"]);
    let (bob, evil, double) = (&people[1], &people[2], &people[3]);
    until_members(bob, &keys[2].clone().into());
    until_members(bob, &keys[3].clone().into());
    assert_eq!(member(bob, &keys[0])["lookalike_of"], Value::Null);
    let third = member(bob, &keys[2]);
    assert_eq!(third["lookalike_of"], keys[0].as_str(), "{third}");
    assert_eq!(member(bob, &keys[3])["lookalike_of"], keys[1].as_str());
    let first = evil.send("zig", "send me money");
    let second = double.send("zig", "I am Bob");
    let mut follow = bob.follow("zig");
    assert_eq!(follow.until_id(&first)["lookalike_of"], keys[0].as_str());
    assert_eq!(follow.until_id(&second)["lookalike_of"], keys[1].as_str());
    let read = bob.done(&["read", "zig"]);
    let end = &keys[2][keys[2].len() - 8..];
    assert!(read.contains(&format!("⚠ \u{410}lice (did:key…{end}): send me money")), "{read}");
    assert!(!read.contains('\u{2713}'), "{read}");
    assert!(bob.done(&["room", "members", "zig"]).contains("⚠ \u{410}lice"));

    // Whose key was compared keeps the name, whoever came first.
    let code = evil.json(&["people", "verify", &keys[1]])["code"].as_str().unwrap().to_owned();
    bob.done(&["people", "verify", &keys[2], "--code", &code]);
    assert_eq!(member(bob, &keys[2])["lookalike_of"], Value::Null);
    assert_eq!(member(bob, &keys[0])["lookalike_of"], keys[2].as_str());
    // And so does who has a pet name; two whom one knows are marked no more.
    bob.done(&["people", "name", &keys[0], "Alice (work)"]);
    assert_eq!(member(bob, &keys[0])["lookalike_of"], Value::Null);
    // A pet name is guarded, too.
    double.done(&["id", "name", "alice (w0rk)"]);
    while member(bob, &keys[3])["lookalike_of"] != keys[0].as_str() {}
}

#[test]
fn who_comes_back_with_another_key_is_marked() {
    let folder = tempfile::tempdir().unwrap();
    let (mut people, keys) = room(folder.path(), &["Alice", "Bob"]);
    let id = people[1].send("zig", "see you");
    people[0].follow("zig").until_id(&id);
    people[1].done(&["room", "leave", "zig"]);
    let mut again = Person::at(folder.path(), "again");
    again.up();
    again.done(&["id", "name", "bob"]);
    again.json(&["room", "join", &people[0].link("zig")]);
    let user = again.json(&["id"])["user"].clone();
    let alice = people.remove(0);
    until_members(&alice, &user);
    assert_eq!(member(&alice, user.as_str().unwrap())["lookalike_of"], keys[1].as_str());
    let code = again.json(&["people", "verify", &keys[0]])["code"].as_str().unwrap().to_owned();
    alice.done(&["people", "verify", user.as_str().unwrap(), "--code", &code]);
    assert_eq!(member(&alice, user.as_str().unwrap())["lookalike_of"], Value::Null);
    assert_eq!(alice.lines("zig")[0]["lookalike_of"], user, "what the old key said");
}

#[test]
fn what_a_blocked_person_says_is_hidden_here_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (people, keys) = room(folder.path(), &["Alice", "Bob"]);
    let (alice, bob) = (&people[0], &people[1]);
    let mine = alice.send("zig", "mine");
    let rude = bob.send("zig", "rude");
    let mut follow = alice.follow("zig");
    follow.until_id(&rude);
    let blocked = alice.json(&["people", "block", &keys[1]]);
    assert_eq!(blocked["blocked"], true);
    assert_eq!(alice.texts("zig"), ["mine"]);
    let output = alice.run(&["read", "zig"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("1 messages here are of people whom you blocked"));
    let all = alice.done(&["--json", "read", "zig", "--blocked"]);
    let all: Vec<Value> = all.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(all.iter().map(|l| l["blocked"].as_bool().unwrap()).collect::<Vec<_>>(), [false, true]);
    assert!(alice.done(&["read", "zig", "--blocked"]).contains("Bob [blocked]: rude"));
    assert_eq!(member(alice, &keys[1])["blocked"], true);

    // No notice, no unread, no reaction; and yet all of it is held.
    bob.follow("zig").until_id(&mine);
    bob.done(&["react", &mine, "👎"]);
    let again = bob.send("zig", "rude again");
    let held = |text: &str| {
        let all = alice.done(&["--json", "read", "zig", "--blocked"]);
        all.lines().any(|line| serde_json::from_str::<Value>(line).unwrap()["text"] == text)
    };
    while !held("rude again") {}
    let last = alice.send("zig", "mine again");
    let seen = follow.until(|line| line["id"] == last.as_str() || line["id"] == again.as_str());
    assert_eq!(seen["id"], last.as_str());
    assert_eq!(alice.json(&["room", "show", "zig"])["unread"], 0, "one's own are never unread");
    assert_eq!(alice.texts("zig"), ["mine", "mine again"]);
    assert_eq!(alice.lines("zig")[0]["reactions"], serde_json::json!({}));
    bob.follow("zig").until_id(&last);
    assert!(alice.history("zig") == bob.history("zig"), "what is held differs");
    assert_eq!(bob.texts("zig").len(), 4);

    alice.done(&["people", "unblock", &keys[1]]);
    assert_eq!(alice.texts("zig"), ["mine", "rude", "rude again", "mine again"]);
    assert_eq!(alice.lines("zig")[0]["reactions"]["👎"], serde_json::json!([keys[1]]));
    alice.refused(4, &["people", "block", &keys[0]], &["that is you"]);
}

#[test]
fn a_banned_peer_is_cut_off_in_both_directions_until_it_is_let_in_again() {
    let folder = tempfile::tempdir().unwrap();
    let (mut people, _) = room(folder.path(), &["Alice", "Bob"]);
    let peer = people[1].ready["peer"].as_str().unwrap().to_owned();
    let is_connected = |person: &Person| !person.json(&["peers"]).as_array().unwrap().is_empty();
    assert!(is_connected(&people[0]));
    people[0].done(&["peers", "ban", &peer]);
    assert_eq!(people[0].json(&["peers", "banned"])[0]["peer"], peer.as_str());
    while is_connected(&people[0]) || is_connected(&people[1]) {}
    people[0].kill();
    people[0].up();
    // Bob dials, and is not let in; Alice does not dial.
    let door = people[0].ready["listen"][0].as_str().unwrap().to_owned();
    people[1].done(&["peers", "add", &door]);
    let theirs = people[1].ready["listen"][0].as_str().unwrap().to_owned();
    people[0].refused(4, &["peers", "add", &theirs], &["is banned here", "peers unban"]);
    let said = people[1].send("zig", "let me in");
    // Longer than the first tries to dial again.
    for _ in 0..60 {
        assert!(!is_connected(&people[0]), "a banned peer is connected");
    }
    assert_eq!(people[0].texts("zig"), [""; 0]);
    for bad in ["", "x", "12D3KooW", "did:key:z6Mk"] {
        people[0].refused(5, &["peers", "ban", bad], &["is no peer"]);
    }
    let own = people[0].ready["peer"].as_str().unwrap().to_owned();
    people[0].refused(4, &["peers", "ban", &own], &["that is you"]);

    people[0].done(&["peers", "unban", &peer]);
    assert_eq!(people[0].json(&["peers", "banned"]), Value::Array(vec![]));
    people[0].done(&["peers", "add", &theirs]);
    people[0].follow("zig").until_id(&said);
}

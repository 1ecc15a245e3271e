//! Keepers hold a room for others and have no say in it; readers read. Histories pass by a keeper between people who are
//! never online together.

use crate::support::nodes::Person as Home;
use std::path::Path;
use std::time::{Duration, Instant};

fn up(folder: &Path, name: &str) -> Home {
    let mut home = Home::at(folder, name);
    home.up();
    home
}

fn address(home: &Home) -> String {
    home.ready["listen"][0].as_str().unwrap().to_owned()
}

fn link(home: &Home, role: &str) -> String {
    home.json(&["room", "invite", "secret", "--role", role])["link"].as_str().unwrap().to_owned()
}

fn joins(home: &Home, link: &str) {
    assert_eq!(home.json(&["room", "join", link])["pending"], false);
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "not after a minute: {what}");
    }
}

#[test]
fn histories_pass_by_a_keeper_between_people_who_never_meet() {
    let folder = tempfile::tempdir().unwrap();
    let (mut alice, mut bob) = (up(folder.path(), "alice"), up(folder.path(), "bob"));
    let keeper = up(folder.path(), "keeper");
    alice.json(&["room", "create", "secret"]);
    for n in 0..100 {
        alice.send("secret", &format!("before anybody came {n}"));
    }
    joins(&keeper, &link(&alice, "keeper"));
    let for_bob = link(&alice, "member");
    until("the keeper holds it", || keeper.texts("secret").len() == 100);
    alice.down();

    // Bob is let in by the keeper, and gets everything from it.
    bob.done(&["peers", "add", &address(&keeper)]);
    joins(&bob, &for_bob);
    bob.until_shown("secret", 100);
    bob.send("secret", "I never saw Alice");
    until("the keeper holds Bob's", || keeper.texts("secret").len() == 101);
    bob.down();

    alice.up();
    alice.done(&["peers", "add", &address(&keeper)]);
    alice.until_shown("secret", 101);
    assert_eq!(alice.texts("secret").last().unwrap(), "I never saw Alice");
    alice.send("secret", "nor I Bob");
    until("the keeper holds Alice's", || keeper.texts("secret").len() == 102);
    let hers = alice.history("secret");
    alice.down();
    bob.up();
    bob.done(&["peers", "add", &address(&keeper)]);
    bob.until_shown("secret", 102);
    until("all hold the same", || bob.history("secret") == hers && keeper.history("secret") == hers);
}

#[test]
fn a_keeper_is_called_so_and_has_no_say() {
    let folder = tempfile::tempdir().unwrap();
    let alice = up(folder.path(), "alice");
    let keeper = up(folder.path(), "keeper");
    keeper.done(&["id", "name", "Attic"]);
    alice.json(&["room", "create", "secret"]);
    let id = alice.send("secret", "keep this");
    joins(&keeper, &link(&alice, "keeper"));
    assert_eq!(keeper.json(&["room", "show", "secret"])["role"], "keeper");
    until("Alice knows the keeper", || alice.json(&["room", "members", "secret"]).as_array().unwrap().len() == 2);
    let members = alice.json(&["room", "members", "secret"]);
    let roles: Vec<&str> = members.as_array().unwrap().iter().map(|m| m["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["founder", "keeper"]);
    keeper.until_shown("secret", 1);
    keeper.refused(4, &["send", "secret", "may I?"], &["needs member; you are keeper"]);
    keeper.refused(4, &["react", &id, "+1"], &["needs member; you are keeper"]);
    keeper.refused(4, &["room", "invite", "secret"], &["you are keeper"]);
    keeper.refused(4, &["erase", &id], &["you are keeper"]);
    assert_eq!(alice.texts("secret"), ["keep this"]);
}

#[test]
fn a_reader_reads_and_cannot_post() {
    let folder = tempfile::tempdir().unwrap();
    let alice = up(folder.path(), "alice");
    let reader = up(folder.path(), "reader");
    alice.json(&["room", "create", "secret"]);
    alice.send("secret", "read this");
    joins(&reader, &link(&alice, "reader"));
    reader.until_shown("secret", 1);
    assert_eq!(reader.texts("secret"), ["read this"]);
    let mut looks_on = reader.follow("secret");
    let id = alice.send("secret", "and this");
    looks_on.until_id(&id);
    assert_eq!(reader.json(&["room", "show", "secret"])["role"], "reader");
    reader.refused(4, &["send", "secret", "may I?"], &["needs member; you are reader"]);
    reader.refused(4, &["react", &id, "+1"], &["needs member; you are reader"]);
    assert_eq!(alice.texts("secret"), ["read this", "and this"]);
}

const PATIENCE: Duration = Duration::from_secs(60);

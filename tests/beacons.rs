//! What nodes tell of the day: who has read, who types, who is there, who has it on disk, where everybody is. Through the
//! real program, between two, three, and two devices of one person.

use crate::support::nodes::Person;
use crate::support::stranger::{LOOPBACK, within};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use tidings_node::api::client::{Client, Events};
use tidings_node::api::types::{Happened, Typing};
use tidings_node::home::Home;

fn person(folder: &Path, name: &str) -> Person {
    let mut person = Person::at(folder, name);
    person.up();
    person.done(&["id", "name", name]);
    person
}

/// Alice and Bob in a room that is not public.
fn pair(folder: &Path) -> (Person, Person) {
    let (alice, bob) = (person(folder, "alice"), person(folder, "bob"));
    alice.json(&["room", "create", "zig", "--invite-rank", "member"]);
    join(&bob, &alice.link("zig"));
    (alice, bob)
}

fn join(who: &Person, link: &str) {
    assert_eq!(who.json(&["room", "join", link, "--wait", "30s"])["pending"], false);
}

fn user(who: &Person) -> Value {
    who.json(&["id"])["user"].clone()
}

/// Looks until something holds.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(60), "not within a minute: {what}");
    }
}

/// A message as somebody's node shows it; nothing while it is not there.
fn shown(who: &Person, id: &str) -> Value {
    who.lines("zig").into_iter().find(|line| line["id"] == id).unwrap_or_default()
}

fn mark(who: &Person) {
    who.done(&["read", "zig", "--mark"]);
}

fn client(who: &Person) -> Client {
    Client::new(Home::open(&who.home).unwrap().socket_path())
}

async fn types(who: &Person, typing: bool) {
    let _: Value = client(who).post("/v1/rooms/zig/typing", &Typing { typing }).await.unwrap();
}

/// The next thing that happens for which `wanted` says something.
async fn next<T>(events: &mut Events, wanted: impl Fn(Happened) -> Option<T>) -> T {
    within(async {
        loop {
            let notice = events.next().await.unwrap().unwrap();
            if let Some(found) = wanted(notice.what) {
                return found;
            }
        }
    })
    .await
}

#[test]
fn a_message_is_held_and_read_by_those_who_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let (mut alice, bob) = pair(folder.path());
    let id = alice.send("zig", "can you see this?");
    until("Bob's receipt", || shown(&alice, &id)["delivery"]["state"] == "held");
    let seen = shown(&alice, &id);
    let device = bob.json(&["id"])["device"].clone();
    assert_eq!(seen["delivery"]["nodes"], serde_json::json!([{ "device": device, "user": user(&bob) }]));
    assert_eq!(seen["read_by"], serde_json::json!([]), "on disk is not read");
    until("the message", || !shown(&bob, &id).is_null());
    mark(&bob);
    until("Bob's mark", || shown(&alice, &id)["read_by"] == serde_json::json!([user(&bob)]));
    assert_eq!((&shown(&bob, &id)["read_by"], &shown(&bob, &id)["delivery"]), (&serde_json::json!([]), &Value::Null));
    // What others said stays said while one is away.
    alice.kill();
    alice.up();
    let seen = shown(&alice, &id);
    assert_eq!((&seen["delivery"]["state"], &seen["read_by"]), (&"held".into(), &serde_json::json!([user(&bob)])));
    let later = alice.send("zig", "and this?");
    assert_eq!(shown(&alice, &later)["read_by"], serde_json::json!([]));
}

#[test]
fn a_beacon_passes_through_who_stands_between() {
    let folder = tempfile::tempdir().unwrap();
    let (mut alice, bob) = pair(folder.path());
    let first = alice.send("zig", "from Alice");
    let mut carol = person(folder.path(), "carol");
    join(&carol, &bob.link("zig"));
    until("Alice's message at Carol", || !shown(&carol, &first).is_null());
    alice.down();
    let second = bob.send("zig", "from Bob");
    until("Bob's message at Carol", || !shown(&carol, &second).is_null());
    mark(&carol);
    until("Carol's mark at Bob", || shown(&bob, &second)["read_by"] == serde_json::json!([user(&carol)]));
    let carols = user(&carol);
    carol.down();
    // Alice has never been there together with that mark's author.
    alice.up();
    until("Carol's mark at Alice", || {
        shown(&alice, &first)["read_by"].as_array().is_some_and(|readers| readers.contains(&carols))
    });
}

#[test]
fn what_one_has_read_at_one_device_is_read_at_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bob) = pair(folder.path());
    // Bob's other device: his words, and keys of its own.
    let mut phone = Person::at(folder.path(), "phone");
    fs::create_dir(&phone.home).unwrap();
    fs::copy(bob.home.join("user.key"), phone.home.join("user.key")).unwrap();
    phone.up();
    assert_eq!(user(&phone), user(&bob));
    join(&phone, &alice.link("zig"));
    let id = alice.send("zig", "for Bob, wherever he is");
    for device in [&bob, &phone] {
        until("the message", || !shown(device, &id).is_null());
        assert_ne!(device.json(&["room", "show", "zig"])["unread"], 0);
    }
    mark(&phone);
    until("read at the other device", || bob.json(&["room", "show", "zig"])["unread"] == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_types_is_told_at_once_and_is_forgotten_with_the_day() {
    let folder = tempfile::tempdir().unwrap();
    let (mut alice, mut bob) = pair(folder.path());
    let id = alice.send("zig", "hello");
    until("both agree", || shown(&alice, &id)["delivery"]["state"] == "held");
    let mut at_bob = client(&bob).events(None).await.unwrap();
    let typing = |what| if let Happened::Typing { name, until_ms, .. } = what { Some((name, until_ms)) } else { None };
    types(&alice, true).await;
    let (name, until_ms) = next(&mut at_bob, typing).await;
    assert!(name == "alice" && until_ms > 0);
    types(&alice, false).await;
    assert_eq!(next(&mut at_bob, typing).await, ("alice".to_owned(), 0));
    types(&alice, true).await;
    assert!(next(&mut at_bob, typing).await.1 > 0);

    bob.down();
    alice.down();
    bob.up();
    let mut at_bob = client(&bob).events(None).await.unwrap();
    alice.up_with(&["--listen", LOOPBACK, "--peer", bob.ready["listen"][0].as_str().unwrap()]);
    let id = alice.send("zig", "I was about to say");
    let nobody = next(&mut at_bob, |what| match what {
        Happened::Typing { until_ms, .. } => Some(until_ms == 0),
        Happened::Message { message } if message.id == id => Some(true),
        _ => None,
    });
    assert!(nobody.await, "nothing of it was kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_is_told_on_the_stream() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bob) = pair(folder.path());
    let mut at_alice = client(&alice).events(None).await.unwrap();
    let id = alice.send("zig", "hello");
    until("the message", || !shown(&bob, &id).is_null());
    mark(&bob);
    let read = next(&mut at_alice, |what| match what {
        Happened::Read { user, event, .. } => Some((user, event)),
        _ => None,
    });
    assert_eq!(read.await, (user(&bob).as_str().unwrap().to_owned(), id));
}

#[test]
fn who_is_there_is_told_only_by_those_who_want_it() {
    let folder = tempfile::tempdir().unwrap();
    let alice = person(folder.path(), "alice");
    let mut bob = Person::at(folder.path(), "bob");
    fs::create_dir(&bob.home).unwrap();
    fs::write(bob.home.join("config.toml"), "share_presence = true\nshare_read = false\n").unwrap();
    bob.up();
    assert_eq!(bob.json(&["config", "show", "--origin"])["origin"]["share_presence"], "file");
    alice.json(&["room", "create", "zig"]);
    join(&bob, &alice.link("zig"));
    let id = bob.send("zig", "I am here");
    let bobs = user(&bob);
    let seen = || {
        let members = alice.json(&["room", "members", "zig"]);
        members.as_array().unwrap().iter().find(|member| member["user"] == bobs).cloned().unwrap_or_default()
    };
    until("Bob is there", || seen()["presence"] == "online");
    assert!(seen()["last_seen_ms"].as_u64().unwrap() > 0);
    until("the message", || !shown(&alice, &id).is_null());
    // Alice shares her marks and not her presence, Bob the other way round.
    mark(&alice);
    let hers = alice.send("zig", "so am I");
    until("her mark", || shown(&bob, &id)["read_by"] == serde_json::json!([user(&alice)]));
    until("her message", || !shown(&bob, &hers).is_null());
    mark(&bob);
    until("his receipt", || shown(&alice, &hers)["delivery"]["state"] == "held");
    assert_eq!(shown(&alice, &hers)["read_by"], serde_json::json!([]));
    let others = bob.json(&["room", "members", "zig"]);
    let hers = others.as_array().unwrap().iter().find(|member| member["user"] == user(&alice)).unwrap();
    assert_eq!(hers["presence"], Value::Null);
}

#[test]
fn in_a_public_room_nobody_is_told_what_one_reads() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bob) = (person(folder.path(), "alice"), person(folder.path(), "bob"));
    alice.json(&["room", "create", "zig", "--public"]);
    join(&bob, &alice.link("zig"));
    let id = alice.send("zig", "to everybody");
    until("the message", || !shown(&bob, &id).is_null());
    mark(&bob);
    assert_eq!(bob.json(&["room", "show", "zig"])["unread"], 0);
    // What is said later comes later: a mark would be there with the receipt for this.
    let answer = alice.send("zig", "anybody?");
    until("his receipt", || shown(&alice, &answer)["delivery"]["state"] == "held");
    assert_eq!(shown(&alice, &id)["read_by"], serde_json::json!([]));
}

#[test]
fn nodes_find_each_other_by_what_they_say_in_the_room() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bob) = pair(folder.path());
    let carol = person(folder.path(), "carol");
    // The link leads to Bob alone.
    join(&carol, &bob.link("zig"));
    let hers = alice.json(&["status"])["peer"].clone();
    until("Carol meets Alice", || {
        carol.json(&["peers"]).as_array().unwrap().iter().any(|peer| peer["peer"] == hers && peer["rooms"] == 1)
    });
}

//! Whoever pours live events faster than a node takes them is slowed, and nobody else is: nothing is refused as false,
//! nothing is lost, and what others say is not held up behind it.

use crate::support::devices::until;
use crate::support::nodes::Person;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Instant;
use tidings_node::api::client::Client;

/// A hub, and others who know nobody but it, in one room.
fn star(folder: &Path, public: bool) -> Vec<Person> {
    let mut people: Vec<Person> = ["hub", "flooder", "author", "reader"].map(|name| Person::at(folder, name)).into();
    let mut hub = people[0].command(&["--json", "up", "--no-mdns", "--listen", "/ip4/127.0.0.1/tcp/0"]);
    hub.env("TIDINGS_LIVE_PER_SECOND", "20");
    people[0].up_by(hub);
    for person in &mut people[1..] {
        person.up();
    }
    let peers: Vec<String> = people.iter().map(|p| p.ready["peer"].as_str().unwrap().to_owned()).collect();
    for (n, person) in people.iter().enumerate().skip(1) {
        for (_, peer) in peers.iter().enumerate().filter(|(other, _)| *other > 0 && *other != n) {
            person.done(&["peers", "ban", peer]);
        }
    }
    let kind: &[&str] = if public { &["--public"] } else { &[] };
    people[0].json(&[&["room", "create", "zig"], kind].concat());
    let link = people[0].link("zig");
    for person in &people[1..] {
        assert_eq!(person.json(&["room", "join", &link, "--wait", "30s"])["pending"], false);
    }
    people
}

/// Says so many messages at one node, as fast as it takes them.
fn flood(person: &Person, count: usize) {
    let node: Value = serde_json::from_slice(&std::fs::read(person.home.join("node.json")).unwrap()).unwrap();
    let client = Client::new(node["socket"].as_str().unwrap().into());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for part in (0..count).collect::<Vec<_>>().chunks(50) {
            let said = part.iter().map(|n| {
                let (client, body) = (&client, json!({ "text": format!("flood {n}") }));
                async move {
                    let sent: Value = client.post("/v1/rooms/zig/messages", &body).await.unwrap();
                    sent
                }
            });
            futures::future::join_all(said).await;
        }
    });
}

fn deferred(person: &Person) -> u64 {
    person.json(&["status"])["deferred"].as_u64().unwrap()
}

fn is_slowed_and_holds_nobody_up(public: bool) {
    let folder = tempfile::tempdir().unwrap();
    let people = star(folder.path(), public);
    let [hub, flooder, author, reader] = people.as_slice() else { panic!() };
    let mut at_reader = reader.follow("zig");
    let began = Instant::now();
    std::thread::scope(|scope| {
        let pouring = scope.spawn(|| flood(flooder, FLOOD));
        until("the hub has had too much", || deferred(hub) > 100);
        let (sent, said) = (began.elapsed(), author.send("zig", "not held up"));
        let before = std::cell::Cell::new(0u64);
        let seen = at_reader.until(|line| {
            before.set(before.get() + u64::from(line["text"].as_str().is_some_and(|text| text.starts_with("flood"))));
            line["id"] == said.as_str()
        });
        let before = before.get();
        let took = began.elapsed() - sent;
        assert_eq!(seen["text"], "not held up");
        println!("public {public}: said after {sent:?}, seen {took:?} later, {before} of the flood were shown before");
        assert!(before < FLOOD as u64, "it waited for the whole flood");
        pouring.join().unwrap();
        println!("poured in {:?}", began.elapsed());
    });
    until("all of it is everywhere", || {
        let all = [hub, author, reader].map(|person| person.history("zig"));
        all.iter().all(|history| *history == flooder.history("zig"))
    });
    println!("everywhere after {:?}, {} were left to sync", began.elapsed(), deferred(hub));
    let file = flooder.home.with_extension("export");
    let proven = flooder.json(&["verify", file.to_str().unwrap()]);
    assert!(proven["events"].as_u64().unwrap() > FLOOD as u64 && proven["holes"] == 0, "{proven}");
    // Nobody was taken for a liar: all are connected still, and equal.
    until("all agree", || {
        let peers = hub.json(&["peers"]);
        let peers = peers.as_array().unwrap();
        peers.len() == 3 && peers.iter().all(|peer| peer["behind"] == 0)
    });
    let peak_mib = hub.peak_memory_kib() / 1024;
    println!("the hub had {peak_mib} MiB at most");
    assert!(peak_mib < 300, "{peak_mib} MiB");
}

#[test]
fn a_flood_by_push_is_slowed_and_arrives_whole() {
    is_slowed_and_holds_nobody_up(false);
}

#[test]
fn a_flood_by_gossip_is_slowed_and_arrives_whole() {
    is_slowed_and_holds_nobody_up(true);
}

#[test]
fn the_budget_can_be_set_and_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let person = Person::at(folder.path(), "home");
    std::fs::create_dir_all(&person.home).unwrap();
    assert_eq!(person.json(&["config", "show"])["settings"]["live_per_second"], 250);
    std::fs::write(person.home.join("config.toml"), "live_per_second = 7\n").unwrap();
    assert_eq!(person.json(&["config", "show"])["settings"]["live_per_second"], 7);
    for bad in ["live_per_second = 0\n", "live_per_second = 1000000\n"] {
        std::fs::write(person.home.join("config.toml"), bad).unwrap();
        person.refused(2, &["config", "show"], &["1 to 100000"]);
    }
}

/// Far more than the hub takes live while it comes.
const FLOOD: usize = 5000;

//! A node with a small disk budget, under several times as much: the disk is sampled all the while and never over, the newest
//! is there, the old comes back from who has it and verifies, and nobody finds anything to argue about.

use crate::support::devices::{address, until};
use crate::support::hostile::{now_ms, signed};
use crate::support::insider::Insider;
use crate::support::nodes::Person;
use crate::support::people;
use crate::support::scan::files_with;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tidings_protocol::codec::encode;
use tidings_protocol::event::{Class, Hlc};
use tidings_protocol::link::InviteLink;
use tidings_storage::Store;

const BUDGET: u64 = 20_000_000;
/// From there on such a node trims: a twenty-fifth below the half that it leaves free.
const TRIMMED_FROM: u64 = BUDGET / 2 - BUDGET / 25;

/// The budget and how many records are imported: `make soak` asks for 200 MB and a gigabyte.
fn size() -> (u64, u64) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    (number("TIDINGS_TRIM_BUDGET").unwrap_or(40_000_000), number("TIDINGS_TRIM_RECORDS").unwrap_or(40_000))
}

/// Walks a node's home again and again; the most that lay in it, and how much lay there in the mean.
struct Sampler {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<Vec<u64>>,
}

impl Sampler {
    fn start(person: &Person) -> Sampler {
        let folder = person.home.clone();
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut samples = Vec::new();
            while let Err(mpsc::RecvTimeoutError::Timeout) = stopped.recv_timeout(Duration::from_millis(20)) {
                samples.push(bytes_in(&folder));
            }
            samples
        });
        Sampler { stop, thread }
    }

    fn samples(self) -> Vec<u64> {
        drop(self.stop);
        let samples = self.thread.join().unwrap();
        assert!(samples.len() > 10, "{samples:?}");
        samples
    }

    fn most(self) -> u64 {
        self.samples().into_iter().max().unwrap()
    }
}

fn bytes_in(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    // A file may go between being listed and being looked at.
    let files = entries.filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)));
    let bytes = files.map(|(path, meta)| match meta.is_dir() {
        true => bytes_in(&path),
        false => meta.len().max(meta.blocks() * 512),
    });
    bytes.sum()
}

/// Records that no compression makes much smaller.
fn records(path: &Path, count: u64, len: usize, seed: u64) -> String {
    records_from(path, (0, count), len, seed)
}

fn records_from(path: &Path, (first, count): (u64, u64), len: usize, seed: u64) -> String {
    let mut state = seed | 1;
    let mut file = BufWriter::new(File::create(path).unwrap());
    for n in first..first + count {
        let words: String = (0..len)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                char::from(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 -"[(state >> 58) as usize])
            })
            .collect();
        let line = json!({ "ts": 1_500_000_000_000u64 + n * 1000, "author": "ada", "text": format!("{n} {words}") });
        writeln!(file, "{line}").unwrap();
    }
    file.flush().unwrap();
    path.to_str().unwrap().to_owned()
}

fn up_with_budget(person: &mut Person, budget: u64) {
    let mut up: Command = person.command(&["--json", "up", "--no-mdns", "--listen", "/ip4/127.0.0.1/tcp/0"]);
    up.env("TIDINGS_DISK_MAX_BYTES", budget.to_string());
    person.up_by(up);
}

fn kept(person: &Person) -> Value {
    person.json(&["room", "show", "zig"])["kept"].clone()
}

fn newest(person: &Person, count: usize) -> Vec<Value> {
    let text = person.done(&["--json", "read", "zig", "--limit", &count.to_string()]);
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn page_before(person: &Person, id: &str, count: usize) -> Vec<Value> {
    let text = person.done(&["--json", "read", "zig", "--before", id, "--limit", &count.to_string()]);
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn texts(lines: &[Value]) -> Vec<String> {
    lines.iter().map(|line| line["text"].as_str().unwrap_or("(gap)").to_owned()).collect()
}

/// Waits until two nodes hold the same, as far as each wants it, and are quiet.
fn until_agreed(one: &Person, other: &Person) {
    let began = Instant::now();
    let agree = || {
        let behind = |person: &Person| {
            let peers = person.json(&["peers"]);
            let peers = peers.as_array().unwrap();
            !peers.is_empty() && peers.iter().all(|peer| peer["behind"] == 0)
        };
        let lacks = |person: &Person| person.json(&["status"])["behind"] != 0;
        behind(one)
            && behind(other)
            && !lacks(one)
            && !lacks(other)
            && texts(&newest(one, 1000)) == texts(&newest(other, 1000))
    };
    let patience = Duration::from_millis(2 * size().1).max(Duration::from_secs(180));
    while !agree() {
        let how = |person: &Person| (kept(person), person.json(&["status"]), person.json(&["peers"]));
        assert!(began.elapsed() < patience, "the nodes do not agree: {:?} and {:?}", how(one), how(other));
    }
}

/// One with all of a long history, and one with a budget that has taken as much of it as it may.
fn long_history(folder: &Path, budget: u64, count: u64) -> (Person, Person, Vec<u64>) {
    let mut alice = Person::at(folder, "alice");
    let mut bob = Person::at(folder, "bob");
    alice.up();
    up_with_budget(&mut bob, budget);
    alice.json(&["room", "create", "zig"]);
    let sampler = Sampler::start(&bob);
    bob.json(&["room", "join", &alice.link("zig"), "--wait", "30s"]);
    alice.done(&["import", "zig", &records(&folder.join("log.jsonl"), count, 1000, 7), "--source", "log"]);
    alice.send("zig", "the newest");
    until_agreed(&alice, &bob);
    (alice, bob, sampler.samples())
}

#[test]
fn a_node_stays_within_its_budget_and_what_it_trimmed_comes_back_from_who_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let (budget, count) = size();
    let (mut alice, bob, samples) = long_history(folder.path(), budget, count);
    let (most, last) = (samples.iter().max().unwrap(), &samples[samples.len() / 2..]);
    let mean = last.iter().sum::<u64>() / last.len() as u64;
    println!("of {budget} bytes at most {most} were used, in the mean {mean}");
    assert!(alice.json(&["status"])["disk_bytes"].as_u64().unwrap() > count * 650);
    assert!(*most < budget, "{most} bytes lay on the disk");
    assert!(
        mean > budget / 100 * if budget < 100_000_000 { 35 } else { 75 },
        "only {mean} bytes of {budget} were used in the mean"
    );
    let of_room = kept(&bob);
    assert!(of_room["since_ms"].as_u64().is_some() && of_room["bytes"].as_u64().unwrap() > 4_000_000, "{of_room}");
    until("what was trimmed is not missing", || bob.json(&["status"])["behind"] == 0);
    assert_eq!(texts(&newest(&bob, 40)), texts(&newest(&alice, 40)));
    bob.history("zig");

    // Reading back past what is held.
    let all = newest(&bob, 1000);
    let sampler = Sampler::start(&bob);
    let (mut at, mut pages) = (all[0]["id"].as_str().unwrap().to_owned(), 0);
    while pages < 4 {
        let since = kept(&bob)["since_ms"].as_u64().unwrap();
        // Trimming may have to make room first.
        let mut page = Vec::new();
        until("there is room to read back", || {
            page = page_before(&bob, &at, 200);
            page[0]["gap"].is_null()
        });
        let oldest = page[0]["ms"].as_u64().unwrap();
        assert_eq!(texts(&page), texts(&page_before(&alice, &at, 200)));
        at = page[0]["id"].as_str().unwrap().to_owned();
        if oldest < since {
            pages += 1;
        }
    }
    assert!(sampler.most() < budget);
    bob.history("zig");

    // Nobody is there who has it.
    alice.down();
    let mut lines = newest(&bob, 1000);
    while lines[0]["gap"]["why"] != "trimmed" {
        at = lines.iter().find_map(|line| line["id"].as_str()).unwrap().to_owned();
        lines = page_before(&bob, &at, 1000);
    }
    assert_eq!(lines[0]["gap"]["why"], "trimmed");
    at = lines.iter().find_map(|line| line["id"].as_str()).unwrap_or(&at).to_owned();
    let words = bob.done(&["read", "zig", "--before", &at, "--limit", "5"]);
    assert!(words.contains("older messages were trimmed here; nobody who has them is connected"), "{words}");
}

#[test]
fn killed_while_it_trims_a_node_loses_nothing_that_it_keeps() {
    let folder = tempfile::tempdir().unwrap();
    let mut alice = Person::at(folder.path(), "alice");
    let mut bob = Person::at(folder.path(), "bob");
    alice.up();
    up_with_budget(&mut bob, BUDGET);
    alice.json(&["room", "create", "zig"]);
    bob.json(&["room", "join", &alice.link("zig"), "--wait", "30s"]);
    let peer = address(&alice);
    for part in 0..4 {
        // What a log brings at its end is the newest: it goes from its bottom, whatever its clocks.
        let file = records_from(&folder.path().join("log.jsonl"), (part * 4_500, 4_500), 1000, 100 + part);
        alice.done(&["import", "zig", &file, "--source", &format!("log {part}")]);
        if part > 0 {
            until("it trims", || kept(&bob)["since_ms"].as_u64().is_some());
        }
        bob.kill();
        let sampler = Sampler::start(&bob);
        up_with_budget(&mut bob, BUDGET);
        bob.done(&["peers", "add", &peer]);
        until_agreed(&alice, &bob);
        assert!(sampler.most() < BUDGET);
        bob.history("zig");
    }
    assert_eq!(texts(&newest(&bob, 100)), texts(&newest(&alice, 100)));
}

#[test]
fn two_nodes_that_trimmed_differently_agree_and_say_little() {
    let folder = tempfile::tempdir().unwrap();
    let (mut alice, bob, _) = long_history(folder.path(), BUDGET, 14_000);
    let mut carol = Person::at(folder.path(), "carol");
    up_with_budget(&mut carol, BUDGET - 4_000_000);
    carol.json(&["room", "join", &alice.link("zig"), "--wait", "30s"]);
    carol.done(&["peers", "add", &address(&bob)]);
    until_agreed(&bob, &carol);
    assert!(kept(&carol)["since_ms"].as_u64() >= kept(&bob)["since_ms"].as_u64());
    alice.down();
    until_agreed(&bob, &carol);
    let said = |person: &Person| {
        let peers = person.json(&["peers"]);
        peers.as_array().unwrap().iter().map(|peer| peer["sync_bytes"].as_u64().unwrap()).sum::<u64>()
    };
    let before = said(&bob);
    let id = carol.send("zig", "still here");
    bob.follow("zig").until_id(&id);
    until_agreed(&bob, &carol);
    let spent = said(&bob) - before;
    assert!(spent < 20_000, "{spent} bytes for one message");
    // Nor does a restart bring back what went, or make more go. What is being merged may still be on the disk twice.
    until("nothing is to be trimmed", || bob.json(&["status"])["disk_bytes"].as_u64().unwrap() <= TRIMMED_FROM);
    let (since, mut bob) = (kept(&bob)["since_ms"].clone(), bob);
    bob.down();
    up_with_budget(&mut bob, BUDGET);
    bob.done(&["peers", "add", &address(&carol)]);
    until_agreed(&bob, &carol);
    assert_eq!(kept(&bob)["since_ms"], since);
}

#[test]
fn rooms_keep_what_their_moderators_and_the_operator_say() {
    let folder = tempfile::tempdir().unwrap();
    let mut alice = Person::at(folder.path(), "alice");
    let mut bob = Person::at(folder.path(), "bob");
    alice.up();
    bob.up();
    alice.json(&["room", "create", "zig"]);
    bob.json(&["room", "join", &alice.link("zig"), "--wait", "30s"]);
    alice.done(&["import", "zig", &records(&folder.path().join("log.jsonl"), 2000, 300, 3), "--source", "log"]);
    alice.send("zig", "of today");
    until_agreed(&alice, &bob);
    assert_eq!(kept(&bob)["since_ms"], Value::Null);

    // The operator of one node: it keeps at least the newest page.
    bob.done(&["room", "keep", "zig", "--max-bytes", "200kB"]);
    until("the room is within its bound", || kept(&bob)["bytes"].as_u64().unwrap() <= 200_000);
    assert_eq!(kept(&bob)["max_bytes"], 200_000);
    assert_eq!(texts(&newest(&bob, 50)), texts(&newest(&alice, 50)));
    bob.done(&["room", "keep", "zig", "--forever"]);
    until("all of it is back", || kept(&bob)["since_ms"] == Value::Null && bob.json(&["status"])["behind"] == 0);
    assert_eq!(texts(&newest(&bob, 1000)), texts(&newest(&alice, 1000)));
    bob.done(&["room", "keep", "zig"]);

    // The room: everybody's node.
    bob.refused(4, &["room", "set", "zig", "keep", "90d"], &["needs admin"]);
    alice.refused(2, &["room", "set", "zig", "keep", "soon"], &["write 90d, or forever"]);
    bob.refused(2, &["room", "keep", "zig", "--max-bytes", "lots"], &["no number of bytes"]);
    alice.done(&["room", "set", "zig", "keep", "90d"]);
    until("both have trimmed", || {
        [&alice, &bob].iter().all(|person| person.texts("zig").contains(&"of today".to_owned()))
            && [&alice, &bob].iter().all(|person| newest(person, 1000).len() <= 3)
    });
    until_agreed(&alice, &bob);
    assert_eq!(kept(&bob)["max_days"], 90);
}

#[test]
fn what_a_room_keeps_no_longer_goes_from_its_author_too_and_a_budget_drops_nothing_that_nobody_else_has() {
    let folder = tempfile::tempdir().unwrap();
    let [mut alice, mut bob] = ["alice", "bob"].map(|name| Person::at(folder.path(), name));
    alice.up();
    bob.up();
    alice.json(&["room", "create", "zig"]);
    bob.json(&["room", "join", &alice.link("zig"), "--wait", "30s"]);
    let log = folder.path().join("log.jsonl");
    alice.done(&["import", "zig", &records(&log, 600, 500, 3), "--source", "log"]);
    until_agreed(&alice, &bob);
    alice.done(&["room", "keep", "zig", "--max-bytes", "100kB"]);
    until("alice trims what bob has", || kept(&alice)["since_ms"].as_u64().is_some());
    // From here on bob says nothing of what he has.
    bob.done(&["room", "keep", "zig", "--max-bytes", "100kB"]);
    until("bob trims", || kept(&bob)["since_ms"].as_u64().is_some());
    alice.done(&["import", "zig", &records_from(&log, (600, 300), 500, 5), "--source", "log"]);
    alice.send("zig", "of today");
    until_agreed_on(&alice, &bob);
    let of_alice = kept(&alice)["bytes"].as_u64().unwrap();
    assert!(of_alice > 300 * 500, "{of_alice}");
    alice.done(&["room", "set", "zig", "keep", "90d"]);
    until("all that is older has gone", || {
        [&alice, &bob].iter().all(|person| kept(person)["bytes"].as_u64().unwrap() < 20_000)
    });
    for person in [&alice, &bob] {
        assert!(person.texts("zig").contains(&"of today".to_owned()));
        assert!(newest(person, 1000).len() <= 3);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_branch_forked_below_a_floor_is_nothing_to_argue_about() {
    let folder = tempfile::tempdir().unwrap();
    let [alice, mut bob, mut carol] = three_in_a_room(folder.path(), ["alice", "bob", "carol"]);
    carol.done(&["import", "zig", &records(&folder.path().join("log.jsonl"), 600, 500, 3), "--source", "log"]);
    until_agreed(&alice, &carol);
    until_agreed(&alice, &bob);
    carol.down();
    bob.done(&["room", "keep", "zig", "--max-bytes", "100kB"]);
    until("bob trims", || kept(&bob)["since_ms"].as_u64().is_some());

    // Carol's device begins its log anew, and only alice hears of it.
    let room = InviteLink::from_text(&alice.link("zig")).unwrap().room;
    let insider = Insider::of(&carol, room);
    let device = people::Person::of_home(&carol.home).device();
    let grant = {
        let (store, _writer) = Store::open(&carol.home.join("store")).unwrap();
        let logs = store.logs(store.room_number(room).unwrap().unwrap(), Class::Content).unwrap();
        logs.iter().find(|(log, _)| log.author == device).unwrap().0.grant
    };
    bob.down();
    let mut pen = people::Person::of_home(&carol.home).pen_of(Class::Content, room, grant);
    pen.hlc = Hlc::at_ms(now_ms());
    let twin = pen.text("of a twin");
    let mut talk = insider.talk(&address(&alice)).await;
    talk.push(&encode(&signed(&twin))).await;
    until("alice has it", || alice.texts("zig").contains(&"of a twin".to_owned()));
    drop(talk);
    bob.up();
    bob.done(&["peers", "add", &address(&alice)]);
    until_agreed_on(&alice, &bob);
    assert!(!bob.texts("zig").contains(&"of a twin".to_owned()), "it was not fetched");
    let id = alice.send("zig", "still here");
    bob.follow("zig").until_id(&id);
    until_agreed_on(&alice, &bob);
}

/// The first has the room zig, the others have come in.
fn three_in_a_room(folder: &Path, names: [&str; 3]) -> [Person; 3] {
    let mut people = names.map(|name| Person::at(folder, name));
    for person in &mut people {
        person.up();
    }
    let [first, others @ ..] = &people;
    first.json(&["room", "create", "zig"]);
    for other in others {
        other.json(&["room", "join", &first.link("zig"), "--wait", "30s"]);
    }
    people
}

/// Waits until each finds the other to hold the same.
fn until_agreed_on(one: &Person, other: &Person) {
    until("they agree", || {
        [one, other].iter().all(|person| {
            let peers = person.json(&["peers"]);
            let peers = peers.as_array().unwrap();
            !peers.is_empty() && peers.iter().all(|peer| peer["behind"] == 0)
        })
    });
}

#[test]
fn what_a_removed_member_said_goes_first_and_takes_little() {
    let folder = tempfile::tempdir().unwrap();
    let [mut alice, mut bob, mut mallory] = three_in_a_room(folder.path(), ["alice", "bob", "mallory"]);
    let id = mallory.send("zig", "hello");
    alice.follow("zig").until_id(&id);
    bob.follow("zig").until_id(&id);
    // A flood that whoever removes its author never saw.
    alice.down();
    mallory.done(&["peers", "add", &address(&bob)]);
    mallory.done(&["import", "zig", &records(&folder.path().join("log.jsonl"), 8000, 1000, 5), "--source", "log"]);
    until("bob has the flood", || texts(&newest(&bob, 20)) == texts(&newest(&mallory, 20)));
    until("bob has all of it", || bob.json(&["room", "show", "zig"])["complete"] == true);
    assert!(kept(&bob)["bytes"].as_u64().unwrap() > 8_000_000);
    let user = mallory.json(&["id"])["user"].as_str().unwrap().to_owned();
    mallory.down();
    bob.down();
    alice.up();
    alice.done(&["room", "revoke", "zig", &user]);
    bob.up();
    bob.done(&["peers", "add", &address(&alice)]);
    until("what does not count has gone", || kept(&bob)["bytes"].as_u64().unwrap() < 4_500_000);
    assert!(bob.texts("zig").contains(&"hello".to_owned()), "what counts is there");
    until_agreed_on(&alice, &bob);
}

#[test]
fn a_name_does_not_go_with_what_is_trimmed() {
    let folder = tempfile::tempdir().unwrap();
    let [mut alice, mut bob, mut carol] = ["alice", "bob", "carol"].map(|name| Person::at(folder.path(), name));
    for person in [&mut alice, &mut bob, &mut carol] {
        person.up();
    }
    alice.done(&["id", "name", "Alice of Zig"]);
    alice.json(&["room", "create", "zig"]);
    bob.json(&["room", "join", &alice.link("zig"), "--wait", "30s"]);
    alice.done(&["import", "zig", &records(&folder.path().join("log.jsonl"), 900, 500, 3), "--source", "log"]);
    until_agreed(&alice, &bob);
    // Ours goes only where somebody said to have it.
    alice.done(&["room", "keep", "zig", "--max-bytes", "100kB"]);
    until("alice has trimmed what she said first", || kept(&alice)["since_ms"].as_u64().is_some());
    until_agreed_on(&alice, &bob);
    bob.down();
    carol.json(&["room", "join", &alice.link("zig"), "--wait", "30s"]);
    let named = |person: &Person| person.done(&["room", "members", "zig"]).contains("Alice of Zig");
    until("who comes later learns the name", || named(&carol));
    assert!(named(&alice));
}

#[test]
fn what_was_trimmed_is_said_to_be_erased_once_it_is_in_no_file() {
    const TEXT: &str = "vqzx7jkw3pthm9rb2ncd8fgy";
    let folder = tempfile::tempdir().unwrap();
    let [mut alice, mut bob] = ["alice", "bob"].map(|name| Person::at(folder.path(), name));
    alice.up();
    bob.up();
    alice.json(&["room", "create", "zig"]);
    bob.json(&["room", "join", &alice.link("zig"), "--wait", "30s"]);
    let id = alice.send("zig", TEXT);
    bob.follow("zig").until_id(&id);
    alice.done(&["import", "zig", &records(&folder.path().join("log.jsonl"), 900, 500, 3), "--source", "log"]);
    until_agreed(&alice, &bob);
    assert_ne!(files_with(&bob.home, &[TEXT.as_bytes()]), []);
    bob.done(&["room", "keep", "zig", "--max-bytes", "100kB"]);
    until("bob has trimmed it", || kept(&bob)["since_ms"].as_u64().is_some());
    assert!(!bob.texts("zig").contains(&TEXT.to_owned()));
    alice.done(&["erase", &id]);
    until("bob says that it is gone", || {
        alice.json(&["erased", &id])["devices"].as_array().unwrap().iter().any(|answer| answer["gone"] == true)
    });
    assert_eq!(files_with(&bob.home, &[TEXT.as_bytes()]), []);
}

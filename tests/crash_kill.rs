//! kill -9 of a node that takes in messages, at seeded moments and inside of batches, flushes and compactions: what was
//! acknowledged is there, no log has a hole, and no place in one is used twice.

use crate::support::devices::address;
use crate::support::fault::{Fault, lost};
use crate::support::kill::{Oracle, kill};
use crate::support::load::talk;
use crate::support::nodes::Person;
use crate::support::seeded::Seeded;
use crate::support::shim::{Numbers, Shim, Work};
use crate::support::skip;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};
use tidings_protocol::id::EventId;

/// Small enough for a flush at every other megabyte, and never used up.
const BUDGET: &str = "64000000";
/// With so much in it a home has had its kills.
const HOME_LEN_MAX: u64 = 24_000_000;

fn up(person: &mut Person, shim: &Shim, numbers: &Path, peer: &str) -> Numbers {
    let mut up = person.command(&["--json", "up", "--no-mdns", "--listen", "/ip4/127.0.0.1/tcp/0", "--peer", peer]);
    up.env("TIDINGS_DISK_MAX_BYTES", BUDGET);
    let numbers = shim.preload(&mut up, numbers);
    person.up_by(up);
    numbers
}

fn len_of(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).unwrap().filter_map(|entry| entry.unwrap().metadata().ok());
    files.map(|file| file.len()).sum()
}

/// Kills one node again and again while another listens, until it holds much or the seeds are used up; what both hold in the
/// end is the same.
fn rounds(shim: &Shim, fault: &mut Fault, seeds: &mut dyn Iterator<Item = u64>) {
    let folder = tempfile::tempdir().unwrap();
    let (mut alice, mut bob) = (Person::at(folder.path(), "alice"), Person::at(folder.path(), "bob"));
    bob.up();
    bob.json(&["room", "create", "zig", "--public"]);
    let link = bob.link("zig");
    let mut acknowledged: BTreeSet<EventId> = BTreeSet::new();
    for seed in seeds {
        fault.begin(seed);
        let numbers = up(&mut alice, shim, &folder.path().join("numbers"), &address(&bob));
        if acknowledged.is_empty() {
            alice.json(&["room", "join", &link, "--wait", "30s"]);
        }
        let (mut dice, oracle) = (Seeded::new(seed), Oracle::new());
        let due = Duration::from_millis(20 + dice.next() % 500);
        let aim = [None, Some(Work::Batch), Some(Work::Flush), Some(Work::Compaction)][(seed % 4) as usize];
        let death = std::thread::scope(|scope| {
            talk(scope, &alice, "zig", seed, &oracle);
            kill(&mut alice, &numbers, due, aim)
        });
        fault.died(&death);
        let heard: Vec<EventId> = oracle.noted().iter().map(|id| id.parse().unwrap()).collect();
        fault.acknowledged += heard.len() as u64;
        acknowledged.extend(heard);
        println!("{aim:?}: {death:?}, {} acknowledged in this home", acknowledged.len());
        assert_eq!(lost(&alice.home, &acknowledged), [], "seed {seed}: acknowledged and lost");
        if len_of(&alice.home.join("store")) > HOME_LEN_MAX {
            break;
        }
    }
    // Who comes back 20 times in a minute is not listened to for the rest of it; a new process has not counted.
    bob.down();
    bob.up();
    up(&mut alice, shim, &folder.path().join("numbers"), &address(&bob));
    let began = Instant::now();
    // What both hold is compared once they may be equal: that costs.
    let count = |person: &Person| person.json(&["status"])["events"].clone();
    let mut both = (count(&alice), count(&bob));
    while both.0 != both.1 {
        both = (count(&alice), count(&bob));
        assert!(began.elapsed() < Duration::from_secs(60), "they do not hold the same after a minute: {both:?}");
    }
    println!("both hold {} after {} ms", both.0, began.elapsed().as_millis());
    while alice.history("zig") != bob.history("zig") {
        assert!(began.elapsed() < Duration::from_secs(60), "they do not hold the same after a minute");
    }
    for mut person in [alice, bob] {
        person.down();
        assert_eq!(lost(&person.home, &acknowledged), [], "in the end");
    }
}

#[test]
fn kills_inside_batches_flushes_and_compactions_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let Some(shim) = Shim::build(folder.path()) else { return skip("no C compiler") };
    let mut fault = Fault::of("kill", 20);
    let mut seeds = fault.seeds().peekable();
    while seeds.peek().is_some() {
        rounds(&shim, &mut fault, &mut seeds);
    }
    if fault.is_long() {
        let inside = (fault.in_batch, fault.in_flush, fault.in_compaction);
        assert!(inside.0 > 0 && inside.1 > 0 && inside.2 > 0, "kills inside of each: {inside:?}");
        assert!(fault.acknowledged > 0);
    }
    fault.report();
}

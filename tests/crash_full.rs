//! A disk that runs full while a node takes in what a peer has, a file, a backup, or what is said: it says so, loses nothing
//! that it acknowledged, lets people read, and goes on when there is room. (`bad_input/disk.rs` has import and the rest.)

use crate::support::devices::{LISTEN, address, until};
use crate::support::disk::Disk;
use crate::support::fault::{Fault, lost};
use crate::support::kill::Oracle;
use crate::support::load::{talk, words};
use crate::support::nodes::Person;
use crate::support::seeded::Seeded;
use crate::support::skip;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use tidings_protocol::id::EventId;

const FULL: &str = "the disk is full";

fn write_records(path: &Path, count: u64, dice: &mut Seeded) {
    let line = |n: u64, text: String| {
        format!("{{\"ts\": {}, \"author\": \"a\", \"text\": \"{text}\"}}\n", 1_500_000_000_000 + n)
    };
    fs::write(path, (0..count).map(|n| line(n, words(dice))).collect::<String>()).unwrap();
}

fn spin(ms: u64) {
    let until = Instant::now() + Duration::from_millis(ms);
    while Instant::now() < until {
        std::hint::spin_loop();
    }
}

fn up_small(person: &mut Person, peer: Option<&Person>) {
    let mut up = person.command(&[&["--json", "up"], &LISTEN[..]].concat());
    if let Some(peer) = peer {
        up.args(["--peer", &address(peer)]);
    }
    // Flushes begin at a few megabytes, so that they meet the full disk as well.
    person.up_by({
        up.env("TIDINGS_DISK_MAX_BYTES", "256000000");
        up
    });
}

/// Sends until one is refused for want of room: what RocksDB had set aside is used up first.
fn until_refused(disk: &Disk, person: &Person) {
    let long = "no room ".repeat(4_000);
    loop {
        disk.fill();
        let output = person.run(&["send", "zig", &long]);
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.code() == Some(1) && error.contains(FULL), "{output:?}");
            return;
        }
    }
}

fn until_there_is_room(person: &Person) {
    until("it writes again", || person.run(&["send", "zig", "there is room"]).status.success());
}

fn sync(folder: &Path, disk: &Disk, dice: &mut Seeded) -> u64 {
    let mut alice = Person::at(folder, "alice");
    alice.up().json(&["room", "create", "zig", "--public"]);
    let records = folder.join("records");
    write_records(&records, 8_000, dice);
    alice.json(&["import", "zig", records.to_str().unwrap()]);
    let mut bob = Person::at(&disk.path, "bob");
    up_small(&mut bob, None);
    let mut join = bob.command(&["room", "join", &alice.link("zig"), "--wait", "60s"]);
    let mut joining = join.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    until("it has begun", || bob.json(&["room", "list"]).to_string().contains("zig"));
    spin(dice.next() % 800);
    until_refused(disk, &bob);
    joining.kill().unwrap();
    joining.wait().unwrap();
    let held = bob.json(&["status"])["events"].as_u64().unwrap();
    bob.done(&["read", "zig"]);
    disk.empty();
    until_there_is_room(&bob);
    let events = |person: &Person| person.json(&["room", "show", "zig"])["complete"] == true;
    until("it is complete", || events(&bob) && alice.history("zig") == bob.history("zig"));
    assert!(bob.json(&["status"])["events"].as_u64().unwrap() >= held);
    held
}

fn file(folder: &Path, disk: &Disk, dice: &mut Seeded) -> u64 {
    let mut alice = Person::at(&disk.path, "alice");
    up_small(&mut alice, None);
    alice.json(&["room", "create", "zig"]);
    let kept = alice.send("zig", "kept");
    let (large, brought) = (folder.join("large"), folder.join("brought"));
    fs::write(&large, (0..600_000).flat_map(|_| dice.next().to_le_bytes()).collect::<Vec<u8>>()).unwrap();
    disk.fill();
    let refused = alice.fails(1, &["send", "zig", "--file", large.to_str().unwrap()]);
    assert!(refused.contains(FULL), "{refused}");
    assert!(alice.lines("zig").iter().any(|line| line["id"] == kept.as_str()));
    disk.empty();
    until_there_is_room(&alice);
    let sent = alice.json(&["send", "zig", "--file", large.to_str().unwrap()]);
    alice.json(&["file", "get", sent["id"].as_str().unwrap(), "--output", brought.to_str().unwrap()]);
    assert!(fs::read(&brought).unwrap() == fs::read(&large).unwrap());
    alice.down();
    let ids = [kept.as_str(), sent["id"].as_str().unwrap()].map(|id| id.parse().unwrap());
    assert_eq!(lost(&alice.home, &ids.into_iter().collect()), []);
    2
}

fn backup(folder: &Path, disk: &Disk, dice: &mut Seeded) -> u64 {
    let mut alice = Person::at(folder, "alice");
    alice.up().json(&["room", "create", "zig"]);
    let records = folder.join("records");
    write_records(&records, 2_000, dice);
    alice.json(&["import", "zig", records.to_str().unwrap()]);
    disk.fill();
    let to = disk.path.join("saved");
    let backup = ["backup", to.to_str().unwrap(), "--without-keys"];
    let refused = alice.fails(1, &backup);
    assert!(refused.contains(FULL) && !to.exists(), "{refused}");
    let kept = alice.send("zig", "the home goes on");
    disk.empty();
    let made = alice.json(&backup);
    assert_eq!((&made["damaged_count"], &made["verified"]), (&0.into(), &true.into()), "{made}");
    assert!(!to.with_extension("part").exists());
    alice.down();
    assert_eq!(lost(&alice.home, &BTreeSet::from([kept.parse().unwrap()])), []);
    2_001
}

fn talking(disk: &Disk, dice: &mut Seeded, seed: u64) -> u64 {
    let (mut alice, oracle) = (Person::at(&disk.path, "alice"), Oracle::new());
    up_small(&mut alice, None);
    alice.json(&["room", "create", "zig"]);
    let told = std::thread::scope(|scope| {
        let talking = talk(scope, &alice, "zig", seed, &oracle);
        spin(dice.next() % 1_000);
        while !talking.is_finished() {
            disk.fill();
        }
        talking.join().unwrap()
    });
    let told = told.unwrap().to_string();
    assert!(told.contains(FULL), "seed {seed}: {told}");
    alice.done(&["read", "zig"]);
    disk.empty();
    until_there_is_room(&alice);
    alice.down();
    let heard: BTreeSet<EventId> = oracle.noted().iter().map(|id| id.parse().unwrap()).collect();
    assert_eq!(lost(&alice.home, &heard), [], "seed {seed}: acknowledged and lost");
    heard.len() as u64
}

#[test]
fn whatever_is_written_when_the_disk_runs_full_is_refused_in_words_and_goes_on_later() {
    let mut fault = Fault::of("disk-full", 4);
    for seed in fault.seeds() {
        fault.begin(seed);
        let folder = tempfile::tempdir().unwrap();
        let mount = folder.path().join("disk");
        fs::create_dir(&mount).unwrap();
        let Some(disk) = Disk::in_memory(&mount, 96) else {
            return skip("no file system can be mounted here (unshare -Urm)");
        };
        let mut dice = Seeded::new(seed);
        fault.acknowledged += match seed % 4 {
            0 => sync(folder.path(), &disk, &mut dice),
            1 => file(folder.path(), &disk, &mut dice),
            2 => backup(folder.path(), &disk, &mut dice),
            _ => talking(&disk, &mut dice, seed),
        };
    }
    fault.report();
}

//! A sync that fails: the process ends and says what to do, acknowledges nothing any more and does not try again; what it
//! acknowledged before is there.

use crate::support::devices::{LISTEN, address, pair};
use crate::support::fault::{Fault, lost};
use crate::support::kill::Oracle;
use crate::support::load::talk;
use crate::support::nodes::Person;
use crate::support::seeded::Seeded;
use crate::support::shim::{Shim, Synced};
use crate::support::skip;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use tidings_protocol::id::EventId;

fn one(folder: &Path, shim: &Shim, seed: u64, fault: &mut Fault) {
    let (mut dice, mut alice, oracle) = (Seeded::new(seed), Person::at(folder, "alice"), Oracle::new());
    let (of, after) = match seed % 3 {
        0 => (Synced::Log, dice.below(60)),
        1 => (Synced::Table, dice.below(6)),
        _ => (Synced::Manifest, dice.below(4)),
    };
    let said = folder.join("said");
    let mut up = alice.command(&[&["--json", "up"], &LISTEN[..]].concat());
    // Small enough for a flush at every other megabyte, and never used up.
    // Nobody reads its stdout after the first line: what failed is told all the same.
    up.env("TIDINGS_DISK_MAX_BYTES", "64000000").stderr(File::create(&said).unwrap());
    let numbers = shim.preload(&mut up, &folder.join("numbers"));
    alice.up_by(up);
    alice.json(&["room", "create", "zig"]);
    let code = std::thread::scope(|scope| {
        numbers.fail_sync(of, after as u64);
        talk(scope, &alice, "zig", seed, &oracle);
        alice.ended()
    });
    let said = fs::read_to_string(said).unwrap();
    assert!(numbers.has_failed(), "seed {seed}: it ended before: {said}");
    assert_eq!(code, Some(1), "seed {seed}: {said}");
    for words in ["what was acknowledged is on disk", "mend it and start again"] {
        assert!(said.contains(words), "seed {seed}: not {words:?} but {said}");
    }
    assert!(!said.contains("panicked"), "{said}");
    let heard: BTreeSet<EventId> = oracle.noted().iter().map(|id| id.parse().unwrap()).collect();
    println!("{of:?} {after}: {} acknowledged, {} synced after: {said}", heard.len(), numbers.synced_after());
    if of == Synced::Log {
        assert_eq!(numbers.synced_after(), 0, "seed {seed}: it was tried again");
    }
    fault.acknowledged += heard.len() as u64;
    assert_eq!(lost(&alice.home, &heard), [], "seed {seed}: acknowledged and lost");
    alice.up();
    alice.send("zig", "mended");
    alice.down();
    assert_eq!(lost(&alice.home, &heard), [], "seed {seed}: in the end");
}

#[test]
fn after_a_sync_that_failed_the_process_ends_and_nothing_acknowledged_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let Some(shim) = Shim::build(folder.path()) else { return skip("no C compiler") };
    let mut fault = Fault::of("failed-sync", 6);
    for seed in fault.seeds() {
        fault.begin(seed);
        let place = folder.path().join(seed.to_string());
        fs::create_dir(&place).unwrap();
        one(&place, &shim, seed, &mut fault);
        fs::remove_dir_all(place).unwrap();
    }
    fault.report();
}

const EIO: &str = "Input/output error";
/// Whose syncs a start may need.
const AT_START: [Synced; 4] = [Synced::Log, Synced::Table, Synced::Manifest, Synced::Other];

/// Starts a node of which one sync fails; whether it was needed for that. One whose start it does not reach has started.
fn starts_until(alice: &mut Person, shim: &Shim, of: Synced, after: u64, numbers: &Path) -> bool {
    let mut up = alice.command(&[&["--json", "up"], &LISTEN[..]].concat());
    let numbers = shim.preload(&mut up, numbers);
    numbers.fail_sync(of, after);
    let refused = alice.try_up(up);
    if let Err((code, said)) = &refused {
        let what = format!("{of:?} {after}: {said}");
        assert!(numbers.has_failed(), "{what}");
        assert_eq!(*code, Some(1), "{what}");
        assert!(
            said.contains(EIO) && said.matches("error: While").count() <= 1 && !said.contains("panicked"),
            "{what}"
        );
    } else if numbers.has_failed() {
        println!("{of:?} {after}: it starts all the same");
    }
    alice.kill();
    numbers.has_failed()
}

#[test]
fn a_first_start_whose_sync_fails_says_so_and_the_next_one_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let Some(shim) = Shim::build(folder.path()) else { return skip("no C compiler") };
    let numbers = folder.path().join("numbers");
    let mut failed = 0;
    for of in AT_START {
        for after in 0.. {
            let mut alice = Person::at(folder.path(), &format!("fresh-{of:?}-{after}"));
            let has_failed = starts_until(&mut alice, &shim, of, after, &numbers);
            alice.up();
            alice.json(&["room", "create", "zig"]);
            alice.send("zig", "hello");
            alice.down();
            if !has_failed {
                break;
            }
            failed += 1;
        }
    }
    println!("{failed} syncs of a first start failed");
    assert!(failed > 10, "{failed}: nothing to fail");
}

#[test]
fn a_start_after_a_kill_whose_sync_fails_says_so_and_the_next_one_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let Some(shim) = Shim::build(folder.path()) else { return skip("no C compiler") };
    let (numbers, mut failed) = (folder.path().join("numbers"), 0);
    let mut alice = Person::at(folder.path(), "alice");
    let id = alice.up().json(&["id"]);
    alice.json(&["room", "create", "zig"]);
    let mut heard = BTreeSet::new();
    for of in AT_START {
        for after in 0.. {
            heard.insert(alice.send("zig", &format!("{of:?} {after}")).parse::<EventId>().unwrap());
            // What was said since is in the write-ahead log alone.
            alice.kill();
            let has_failed = starts_until(&mut alice, &shim, of, after, &numbers);
            alice.up();
            if !has_failed {
                break;
            }
            failed += 1;
        }
    }
    assert_eq!(alice.json(&["id"])["device"], id["device"], "the same user and device still");
    alice.down();
    assert_eq!(lost(&alice.home, &heard), [], "acknowledged and lost");
    println!("{failed} syncs of a start after a kill failed");
    assert!(failed > 5, "{failed}: nothing to fail");
}

#[test]
fn a_file_whose_sync_fails_is_refused_and_is_whole_at_the_next_try() {
    let folder = tempfile::tempdir().unwrap();
    let Some(shim) = Shim::build(folder.path()) else { return skip("no C compiler") };
    let (mut alice, mut bob) = pair(folder.path());
    let bytes: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let file = folder.path().join("numbers.bin");
    fs::write(&file, &bytes).unwrap();
    let peer = address(&bob);
    alice.down();
    let mut up = alice.command(&[&["--json", "up", "--peer", &peer], &LISTEN[..]].concat());
    let numbers = shim.preload(&mut up, &folder.path().join("of-alice"));
    alice.up_by(up);
    let mut sent = String::new();
    let send = ["--json", "send", "zig", "--file", file.to_str().unwrap()];
    for after in 0.. {
        numbers.fail_sync(Synced::Sent, after);
        let output = alice.run(&send);
        if output.status.success() {
            sent =
                serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()["id"].as_str().unwrap().to_owned();
            assert!(!numbers.has_failed(), "acknowledged, and not on the disk");
            break;
        }
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(numbers.has_failed() && said.contains(EIO), "{after}: {said}");
        assert!(after < 10, "{said}");
        numbers.fail_again();
    }
    bob.until_shown("zig", 3);
    let peer = address(&alice);
    bob.down();
    let mut up = bob.command(&[&["--json", "up", "--peer", &peer], &LISTEN[..]].concat());
    let numbers = shim.preload(&mut up, &folder.path().join("of-bob"));
    bob.up_by(up);
    let (out, mut failed) = (folder.path().join("out"), 0);
    for after in 0.. {
        numbers.fail_sync(Synced::Sent, after);
        let output = bob.run(&["file", "get", &sent, "--output", out.to_str().unwrap()]);
        if output.status.success() {
            break;
        }
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(numbers.has_failed() && said.contains(EIO), "{after}: {said}");
        assert!(!out.exists() && after < 10, "{said}");
        let left = fs::read_dir(bob.home.join("files")).unwrap().map(|entry| entry.unwrap().file_name());
        let left: Vec<String> = left.map(|name| name.into_string().unwrap()).collect();
        // Linux would take the next sync of the same file for one that went well.
        let is_fetched_anew = !left.iter().any(|name| name.ends_with(".part"));
        assert!(is_fetched_anew, "{after}: {left:?}");
        failed += 1;
        numbers.fail_again();
    }
    assert!(failed >= 2, "the file and the folder");
    assert!(fs::read(out).unwrap() == bytes);
    for person in [&alice, &bob] {
        let verified = person.json(&["verify"]);
        assert_eq!(verified["damaged_count"], 0, "{verified}");
    }
}

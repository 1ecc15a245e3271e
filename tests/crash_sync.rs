//! A sync that fails: the process ends and says what to do, acknowledges nothing any more and does not try again; what it
//! acknowledged before is there.

use crate::support::devices::LISTEN;
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

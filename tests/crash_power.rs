//! Power cuts: what was acknowledged is on the disk. With syncs that do nothing something must be lost, or this would prove
//! nothing.

use crate::support::devices::LISTEN;
use crate::support::disk::Power;
use crate::support::fault::{Fault, lost};
use crate::support::kill::{Oracle, under_way};
use crate::support::load::talk;
use crate::support::nodes::Person;
use crate::support::seeded::Seeded;
use crate::support::shim::{Numbers, Shim, Work};
use crate::support::skip;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};
use tidings_protocol::id::EventId;
use tidings_storage::Store;

fn up(person: &mut Person, shim: &Shim, folder: &Path) -> Numbers {
    let mut up = person.command(&[&["--json", "up"], &LISTEN[..]].concat());
    // Small enough for a flush at every other megabyte, and never used up.
    up.env("TIDINGS_DISK_MAX_BYTES", "64000000");
    let numbers = shim.preload(&mut up, &folder.join("numbers"));
    person.up_by(up);
    numbers
}

/// Talks until the power is cut, and ends the node: at once, or once it has found out by itself. Returns what was acknowledged.
fn cut(alice: &mut Person, power: &mut Power, numbers: &Numbers, seed: u64, fault: &mut Fault) -> BTreeSet<EventId> {
    let (mut dice, oracle) = (Seeded::new(seed), Oracle::new());
    let due = Duration::from_millis(100 + dice.next() % 700);
    let aim = [None, Some(Work::Batch), Some(Work::Flush), Some(Work::Compaction)][dice.below(4)];
    let is_killed = dice.percent(50);
    std::thread::scope(|scope| {
        talk(scope, alice, "zig", seed, &oracle);
        let began = Instant::now();
        while began.elapsed() < due || aim.is_some_and(|work| !numbers.is_inside(work) && began.elapsed() < 2 * due) {
            std::hint::spin_loop();
        }
        fault.died(&under_way(numbers, began.elapsed()));
        // A machine without power acknowledges nothing. This one goes on, and under load Linux answers the sync that the cut
        // falls into with success, and does not have it on the disk: so it does to any program that syncs in a loop.
        oracle.seal();
        power.cut();
        if is_killed {
            alice.kill();
        } else {
            assert_eq!(alice.ended(), Some(1), "seed {seed}: it goes on without a disk");
        }
    });
    power.back();
    oracle.noted().iter().map(|id| id.parse().unwrap()).collect()
}

/// A node whose syncs do nothing, and how much of what it acknowledged is lost.
fn control(folder: &Path, shim: &Shim, seed: u64, fault: &mut Fault) -> u64 {
    let mut power = Power::of(&folder.join("control")).unwrap();
    let mut alice = Person::at(power.path(), "alice");
    // Damaged, or not there at all.
    alice.is_harmed = true;
    let numbers = up(&mut alice, shim, folder);
    alice.json(&["room", "create", "zig"]);
    numbers.stop_syncs();
    let oracle = Oracle::new();
    std::thread::scope(|scope| {
        talk(scope, &alice, "zig", seed, &oracle);
        while oracle.noted().len() < 100 {}
        power.cut();
        alice.kill();
    });
    power.back();
    fault.control_runs += 1;
    let store = Store::open_read_only(&alice.home.join("store"));
    let held = |id: &str| store.as_ref().is_ok_and(|store| store.holds(id.parse().unwrap()).unwrap());
    oracle.noted().iter().filter(|id| !held(id)).count() as u64
}

#[test]
fn what_was_acknowledged_survives_power_cuts_and_without_syncs_it_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let Some(shim) = Shim::build(folder.path()) else { return skip("no C compiler") };
    if Power::of(&folder.path().join("tried")).is_none() {
        return skip("no ext4 whose power can be cut (one has to be root, with loop devices)");
    }
    let mut fault = Fault::of("power-cut", 5);
    let mut seeds = fault.seeds().peekable();
    while let Some(first) = seeds.peek().copied() {
        // A disk and a home for some of the cuts.
        let place = folder.path().join(first.to_string());
        let mut power = Power::of(&place).unwrap();
        let mut alice = Person::at(power.path(), "alice");
        let mut acknowledged = BTreeSet::new();
        for seed in seeds.by_ref().take(CUTS) {
            fault.begin(seed);
            let numbers = up(&mut alice, &shim, &place);
            if acknowledged.is_empty() && !alice.json(&["room", "list"]).to_string().contains("zig") {
                alice.json(&["room", "create", "zig"]);
            }
            let heard = cut(&mut alice, &mut power, &numbers, seed, &mut fault);
            println!("{} acknowledged", heard.len());
            fault.acknowledged += heard.len() as u64;
            acknowledged.extend(heard);
            assert_eq!(lost(&alice.home, &acknowledged), [], "seed {seed}: acknowledged and lost");
        }
        up(&mut alice, &shim, &place);
        alice.down();
        assert_eq!(lost(&alice.home, &acknowledged), [], "in the end");
        drop((alice, power));
        let lost = control(&place, &shim, first, &mut fault);
        assert!(lost > 0, "seed {first}: without syncs nothing was lost, so the cuts prove nothing");
        println!("control: {lost} lost");
        fault.control_lost += lost;
        std::fs::remove_dir_all(place).unwrap();
    }
    assert!(fault.acknowledged > 0);
    fault.report();
}

const CUTS: usize = 5;

//! Clocks that are wrong by ten years, and that jump back while a node runs and between its starts: nothing is lost, and what
//! was shown stays in its order; others hold the same. (What is far ahead of whom it reaches is shown there at its arrival.)

use crate::support::devices::{LISTEN, address, until};
use crate::support::fault::Fault;
use crate::support::nodes::Person;
use crate::support::seeded::Seeded;
use crate::support::shim::{Numbers, Shim};
use crate::support::skip;
use std::collections::BTreeSet;
use std::path::Path;

fn up(person: &mut Person, shim: &Shim, folder: &Path, ahead_s: i64, peer: &str) -> Numbers {
    let mut up = person.command(&[&["--json", "up"], &LISTEN[..], &["--peer", peer]].concat());
    let numbers = shim.preload(&mut up, &folder.join("numbers"));
    numbers.set_clock(ahead_s);
    person.up_by(up);
    numbers
}

fn shown(person: &Person) -> Vec<String> {
    person.lines("zig").iter().filter_map(|line| line["id"].as_str().map(str::to_owned)).collect()
}

/// Whether all of `some` stand in `all` in their order.
fn in_order(some: &[String], all: &[String]) -> bool {
    let mut all = all.iter();
    some.iter().all(|id| all.any(|other| other == id))
}

fn one(folder: &Path, shim: &Shim, seed: u64, fault: &mut Fault) {
    let mut dice = Seeded::new(seed);
    let (mut alice, mut bob) = (Person::at(folder, "alice"), Person::at(folder, "bob"));
    bob.up();
    let mut clock = up(&mut alice, shim, folder, 0, &address(&bob));
    alice.json(&["room", "create", "zig"]);
    bob.json(&["room", "join", &alice.link("zig"), "--wait", "30s"]);
    let mut said: Vec<String> = Vec::new();
    let mut before = [Vec::new(), Vec::new()];
    for step in 0..STEPS {
        let years = dice.below(2001) as i64 - 1000;
        let ahead_s = if step + 1 == STEPS { 0 } else { years * YEAR_S / 100 };
        if dice.percent(50) {
            clock.set_clock(ahead_s);
        } else {
            if dice.percent(50) {
                alice.kill()
            } else {
                alice.down()
            }
            clock = up(&mut alice, shim, folder, ahead_s, &address(&bob));
        }
        for n in 0..3 {
            said.push(alice.send("zig", &format!("step {step}, {n}, {ahead_s} s ahead")));
            said.push(bob.send("zig", &format!("meanwhile {step}, {n}")));
        }
        for (person, before) in [&alice, &bob].into_iter().zip(&mut before) {
            let now = shown(person);
            assert!(in_order(before, &now), "seed {seed}, step {step}: the order has changed: {before:?} {now:?}");
            *before = now;
        }
    }
    fault.acknowledged += said.len() as u64;
    alice.kill();
    up(&mut alice, shim, folder, 0, &address(&bob));
    let everything: BTreeSet<String> = said.into_iter().collect();
    for (person, before) in [&alice, &bob].into_iter().zip(&before) {
        until("all are there", || shown(person).into_iter().collect::<BTreeSet<_>>() == everything);
        assert!(in_order(before, &shown(person)), "seed {seed}: the order has changed in the end");
    }
    assert_eq!(alice.history("zig"), bob.history("zig"), "seed {seed}");
}

#[test]
fn with_clocks_that_jump_ten_years_nothing_is_lost_and_the_order_stays() {
    let folder = tempfile::tempdir().unwrap();
    let Some(shim) = Shim::build(folder.path()) else { return skip("no C compiler") };
    let mut fault = Fault::of("clock", 5);
    for seed in fault.seeds() {
        fault.begin(seed);
        let place = folder.path().join(seed.to_string());
        std::fs::create_dir(&place).unwrap();
        one(&place, &shim, seed, &mut fault);
        std::fs::remove_dir_all(place).unwrap();
    }
    fault.report();
}

const STEPS: usize = 6;
const YEAR_S: i64 = 31_557_600;

//! Whole worlds of nodes, simulated from a seed: the real store, writer, rules and conversations of 3 to 50 nodes in one thread,
//! without sockets, and with a clock and entropy that the seed gives. Frames are lost, late, and sent again; gossip comes
//! twice and in any order; directions are cut; power goes, and with it what was not on disk; up to a third of the nodes
//! breaks the rules. What must hold is checked all the time (`check.rs`), and in the end all who keep to the rules hold the same.
//!
//! `fate` is time and chance, `plan` all that is to happen, `world` what comes next, `roads` what is under way, `node` a node,
//! `talk` one side of a conversation as `sync/talk.rs` keeps it, `deeds` what people do, `audits` what they ask one another, `traitor` those who mean ill, `shrink`
//! makes a failure smaller.
//!
//! `TIDINGS_SEED=17 TIDINGS_SEEDS=1` runs the world 17 alone; a failure is made smaller and told with all that happened, or,
//! with `TIDINGS_WHOLE=1`, told as it is. `TIDINGS_TWICE_EVERY=16` runs only every sixteenth world twice.

mod audits;
mod check;
mod deeds;
mod fate;
mod node;
mod plan;
mod roads;
mod shrink;
mod talk;
mod traitor;
mod world;

use crate::sync::Leases;
use check::{Kind, Violation};
pub(crate) use fate::{fill, now_ms, running_for};
use plan::{Plan, Sabotage};
use std::panic::{AssertUnwindSafe, catch_unwind};
use tidings_protocol::id::RoomId;
use world::{Figures, World};

/// A world from its plan to its end: its trace, or what went wrong; and what it went through.
fn run(plan: Plan) -> (Result<[u8; 32], Violation>, Figures) {
    let mut world = World::new(plan, false);
    let done = catch_unwind(AssertUnwindSafe(|| world.run()));
    let done = done.unwrap_or_else(|panic| Err(Violation::new(Kind::Panicked, text_of(panic.as_ref()))));
    (done, world.figures)
}

/// The same with a journal of all that happened.
fn journal_of(plan: Plan) -> Vec<String> {
    let mut world = World::new(plan, true);
    drop(catch_unwind(AssertUnwindSafe(|| world.run())));
    world.journal.unwrap_or_default()
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

/// Runs the worlds of a share of the seeds, and each, or as many as are asked for, twice; returns what all went through.
fn worlds(share: u64) -> Figures {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let (first, count) = (number("TIDINGS_SEED").unwrap_or(0), number("TIDINGS_SEEDS").unwrap_or(SEEDS));
    let twice_every = number("TIDINGS_TWICE_EVERY").unwrap_or(1);
    let mut all = Figures::default();
    for seed in (first..first + count).filter(|seed| seed % SHARES == share) {
        let (done, figures) = run(Plan::of(seed));
        match done {
            Ok(trace) if seed % twice_every == 0 => {
                let again = run(Plan::of(seed));
                assert_eq!((again.0.unwrap(), again.1), (trace, figures), "world {seed} took another course");
            }
            Ok(_) => {}
            Err(violation) => fail(Plan::of(seed), violation),
        }
        all.add(&figures);
    }
    println!("{all:?}");
    all
}

fn fail(plan: Plan, violation: Violation) -> ! {
    let seed = plan.seed;
    eprintln!("world {seed}: {violation}\nmaking it smaller");
    if std::env::var_os("TIDINGS_WHOLE").is_some() {
        journal_of(plan).iter().for_each(|line| println!("{line}"));
        panic!("world {seed}: {violation}");
    }
    let (small, violation) = shrink::shrink(plan, violation);
    let journal = journal_of(small.clone());
    println!("{small:#?}");
    journal.iter().take(JOURNAL_LINES).for_each(|line| println!("{line}"));
    panic!("world {seed}: {violation}; again with TIDINGS_SEED={seed} TIDINGS_SEEDS=1");
}

macro_rules! shares {
    ($($name:ident: $share:expr,)*) => {
        $(#[test]
        fn $name() {
            let figures = worlds($share);
            // Where few worlds are run, these may have been spared some of it.
            if std::env::var_os("TIDINGS_SEEDS").is_none() {
                assert!(figures.crashes > 0 && figures.torn > 0 && figures.lost > 0 && figures.forged > 0, "{figures:?}");
                assert!(figures.agreed > 0 && figures.agreed < figures.audits, "{figures:?}");
            }
        })*
    };
}

shares! {
    simulated_worlds_keep_all_promises_1_of_8: 0,
    simulated_worlds_keep_all_promises_2_of_8: 1,
    simulated_worlds_keep_all_promises_3_of_8: 2,
    simulated_worlds_keep_all_promises_4_of_8: 3,
    simulated_worlds_keep_all_promises_5_of_8: 4,
    simulated_worlds_keep_all_promises_6_of_8: 5,
    simulated_worlds_keep_all_promises_7_of_8: 6,
    simulated_worlds_keep_all_promises_8_of_8: 7,
}

/// The first of these worlds in which a mistake that is built in is found, and as what.
fn found(sabotage: Sabotage) -> Kind {
    for seed in 0..20 {
        let plan = Plan { sabotage: Some(sabotage), ..Plan::of(seed) };
        match (run(plan.clone()).0, sabotage) {
            (Err(violation), _) => return violation.kind,
            (Ok(trace), Sabotage::Chance) if run(plan).0.unwrap() != trace => return Kind::OtherTrace,
            _ => {}
        }
    }
    panic!("{sabotage:?} was never found");
}

#[test]
fn mistakes_that_are_built_in_are_found() {
    let wanted = [
        (Sabotage::Forgets, Kind::Lost),
        (Sabotage::Mute, Kind::Unequal),
        (Sabotage::OpenDoor, Kind::Unauthorised),
        (Sabotage::OwnRules, Kind::OtherState),
        (Sabotage::YesMan, Kind::FalseAudit),
        (Sabotage::Chance, Kind::OtherTrace),
    ];
    for (sabotage, kind) in wanted {
        assert_eq!(found(sabotage), kind, "{sabotage:?}");
    }
}

/// They went by the machine's time once: then a world took another course where the machine was busy.
#[test]
fn a_lease_ends_by_the_time_of_the_world() {
    let (leases, mut dice, room) = (Leases::default(), fate::Dice::of(1, 1), RoomId([1; 32]));
    let mut takes = |peer: u8, world_ms| fate::with((7, world_ms), &mut dice, || leases.take(room, &[peer]));
    assert!(takes(1, 1_000) && !takes(2, 31_000) && takes(1, 31_000));
    assert!(takes(2, 31_001) && !takes(1, 31_002));
}

/// Worlds in the test suite.
const SEEDS: u64 = 200;
/// Tests that they are dealt out to.
const SHARES: u64 = 8;
/// Lines of the journal that are shown of a failure, made smaller.
const JOURNAL_LINES: usize = 1_000;

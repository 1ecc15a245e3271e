//! What tests share.

use std::io::Write;

pub mod asks;
pub mod big_room;
pub mod crash;
pub mod devices;
pub mod disk;
pub mod domain;
pub mod fault;
pub mod fixture_rooms;
pub mod healing;
pub mod hostile;
pub mod insider;
pub mod kill;
pub mod load;
pub mod nodes;
pub mod people;
pub mod random_deeds;
pub mod random_room;
pub mod revoking;
pub mod room_causes;
pub mod room_verdict;
pub mod scan;
pub mod scene;
pub mod seeded;
pub mod shim;
pub mod store;
pub mod stranger;
pub mod walk;

/// Says that a test cannot run on this machine, and why. `TIDINGS_SKIPS` names a file that gathers it.
pub fn skip(why: &str) {
    // The test runner names the thread after the test.
    let test = std::thread::current().name().unwrap_or("?").to_owned();
    println!("skipped: {test}: {why}");
    if let Some(path) = std::env::var_os("TIDINGS_SKIPS") {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(file, "{test}: {why}").unwrap();
    }
}

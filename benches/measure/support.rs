//! What the tests have already: nodes as people run them, kills, cuts, strangers.

#[path = "../../tests/support/asks.rs"]
pub mod asks;
#[path = "../../tests/support/big_room.rs"]
pub mod big_room;
#[path = "../../tests/support/crash.rs"]
pub mod crash;
#[path = "../../tests/support/healing.rs"]
pub mod healing;
#[allow(dead_code, reason = "tests use more of it")]
#[path = "../../tests/support/hostile.rs"]
pub mod hostile;
#[allow(dead_code, reason = "tests use more of it")]
#[path = "../../tests/support/insider.rs"]
pub mod insider;
#[allow(dead_code, reason = "tests use more of it")]
#[path = "../../tests/support/kill.rs"]
pub mod kill;
#[allow(dead_code, reason = "tests use more of it")]
#[path = "../../tests/support/nodes.rs"]
pub mod nodes;
#[allow(dead_code, reason = "tests use more of it")]
#[path = "../../tests/support/people.rs"]
pub mod people;
#[allow(dead_code, reason = "tests use more of it")]
#[path = "../../tests/support/seeded.rs"]
pub mod seeded;
#[allow(dead_code, reason = "tests use more of it")]
#[path = "../../tests/support/shim.rs"]
pub mod shim;
#[allow(dead_code, reason = "tests use more of it")]
#[path = "../../tests/support/stranger.rs"]
pub mod stranger;

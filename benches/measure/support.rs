//! What the tests have already: nodes as people run them, kills, cuts.

#[path = "../../tests/support/crash.rs"]
pub mod crash;
#[path = "../../tests/support/healing.rs"]
pub mod healing;
#[allow(dead_code, reason = "tests use more of it")]
#[path = "../../tests/support/nodes.rs"]
pub mod nodes;
#[allow(dead_code, reason = "tests use more of it")]
#[path = "../../tests/support/seeded.rs"]
pub mod seeded;

//! What tidings nodes say to one another, as pure functions: no I/O, no clock, no async, no randomness of its own.
//! Time, entropy and what is held come in as arguments; verdicts and bytes go out.
//!
//! Keys make certificates (`identity`), certificates speak events (`event`, `content`), events stand in logs (`log`),
//! control logs make a room (`control`, `admission`), and two nodes compare what they hold (`wire`, `sync`).

pub mod admission;
pub mod codec;
pub mod content;
pub mod control;
pub mod event;
pub mod gossip;
pub mod id;
pub mod identity;
pub mod limits;
pub mod link;
pub mod log;
pub mod range;
pub mod sync;
pub mod wire;

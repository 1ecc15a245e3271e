//! What tidings nodes say to one another, as pure functions: no I/O, no clock, no async, no randomness of its own.
//! Time, entropy and what is held come in as arguments; verdicts and bytes go out.
//!
//! Keys make certificates (`identity`), certificates speak events (`event`, `content`, `adopted`), events stand in logs (`log`),
//! control logs make a room (`control`, `admission`), and two nodes compare what they hold (`wire`, `sync`). Beside the
//! history stand beacons, of which the newest is enough (`beacon`, `slots`), and answers to who asks (`answer`). Who people are to one another is told by
//! `verification`, `lookalike` and `at_name`. A user's own room holds what their devices share (`account`, `sealed`), and
//! lets another device in (`enrol`). Files are checked piece by piece (`file`), and get names that are safe (`file_name`, by
//! what is `invisible`). How a room is kept in order, on screens alone, is `moderation`.

pub mod account;
pub mod admission;
pub mod adopted;
pub mod answer;
pub mod at_name;
pub mod beacon;
pub mod codec;
pub mod content;
pub mod control;
pub mod enrol;
pub mod event;
pub mod file;
pub mod file_name;
pub mod gossip;
pub mod id;
pub mod identity;
pub mod invisible;
pub mod limits;
pub mod link;
pub mod log;
pub mod lookalike;
pub mod moderation;
pub mod range;
pub mod seal;
pub mod sealed;
pub mod slots;
pub mod sync;
pub mod team;
pub mod verification;
pub mod wire;

//! Targets that need the protocol alone: cheap enough to be built once more, with coverage, for libFuzzer.
//!
//! `event`, `frames` and `link` are readers of bytes; `conversation` is a node's side of a whole sync conversation, with a
//! peer that is honest as far as the bytes let it (`peer`), over rooms of a `world` that a `node` holds parts of.

mod conversation;
mod event;
mod feed;
mod frames;
mod link;
mod made;
mod node;
mod world;

pub use conversation::talk;

/// A target and its name, which is that of its folder of the corpus, too.
type Named = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Named] = &[
    ("conversation", conversation::conversation),
    ("event", event::event),
    ("frames", frames::frames),
    ("link", link::link),
];

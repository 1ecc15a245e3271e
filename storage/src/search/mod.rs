//! Finding messages by their words. The rows are written in the same batch as the event, and go in the same batch as its
//! words: what a search finds is neither more nor less than what is held.
//!
//! Events are taken in buckets of 65,536 by their local number. Of a bucket each word has one row with the places at which
//! it occurs; rows of a bucket lie together, so that history that is complete is not written again. Columns beside them
//! tell when and by whom each event was said, so that most of what is found need not be read. A batch adds to rows by
//! merging, without reading them; only what is taken off reads them.

mod index;
mod query;
mod rows;
mod tokens;

pub use query::{Accepts, Hit, Hits, Search, Term};
pub use tokens::{Atom, AtomKind, TOKEN_LEN_MAX, atoms, fold, terms};

pub(crate) use index::Pending;
pub(crate) use rows::{buckets, merge, place_of};

#[cfg(test)]
mod tests;

//! The terminal chat: a map of its files.
//!
//! It reaches the node through its public API alone, like any other program. Everything up to `update` and `view` is
//! pure: an input changes the [`state::State`] and brings forth effects, and a state is drawn. Only `run`, `perform`
//! and `screen` act.
//!
//! ```text
//! keys, answers, notices -> Input -> update -> State -> view -> terminal
//!          ^                            |
//!          '------- perform <- Effects -'
//! ```

// Leaves: what a timeline is made of.
pub mod body;
pub mod complete;
pub mod draft;
pub mod effect;
pub mod field;
pub mod jump;
pub mod names;
pub mod open;
pub mod theme;
pub mod time;
pub mod window;
pub mod wrap;

// The state, and how it changes.
mod answers;
pub mod command;
mod compose;
mod movement;
mod rooms;
pub mod select;
pub mod state;
mod update;

// The screen.
pub mod areas;
mod bars;
mod overlay;
pub mod scene;
pub mod scroll;
pub mod view;

// What acts.
mod perform;
pub mod run;
mod screen;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod state_tests;
#[cfg(test)]
mod view_tests;

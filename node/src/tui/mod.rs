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
mod body;
mod complete;
mod draft;
pub mod effect;
mod field;
mod jump;
mod names;
mod open;
pub mod theme;
pub mod time;
mod window;
mod wrap;

// The state, and how it changes.
mod answers;
mod command;
mod compose;
mod inbox;
mod moderation;
mod movement;
mod notices;
mod people;
mod rooms;
mod search;
mod select;
pub mod state;
mod update;

// The screen.
mod areas;
mod bars;
mod overlay;
mod scene;
mod scroll;
pub mod view;

// What acts.
mod perform;
mod presence;
pub mod run;
mod screen;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod movement_tests;
#[cfg(test)]
mod state_tests;
#[cfg(test)]
mod view_tests;

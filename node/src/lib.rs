//! A tidings node as a library: start a `node::Node` in a `home::Home`, and talk to it through its `handle::NodeHandle`.
//!
//! `network` brings bytes, `ingest` is the one door by which events enter, `writer` is the one loop that writes, `sync`
//! keeps peers equal, `local` signs what the local user says, `beacons` has what is said of the day; `api`, `cli` and `tui` are the screens, and reach the node
//! only through its HTTP API.

pub mod account;
mod adoption;
mod alerts;
pub mod api;
pub mod audit;
pub mod beacons;
pub mod cli;
pub mod clock;
pub mod command;
pub mod config;
mod devices;
mod effective;
pub mod enrol;
pub mod erasing;
pub mod files;
mod folding;
pub mod handle;
pub mod home;
pub mod import;
pub mod inbox;
mod info;
pub mod ingest;
mod invites;
mod joining;
mod kept;
pub mod keys;
pub mod local;
mod looks;
pub mod lookup;
mod membership;
pub mod memory;
mod mentions;
mod moderation;
pub mod network;
pub mod node;
pub mod notices;
pub mod page;
pub mod people;
pub mod purge;
mod qr;
pub mod refusal;
mod reports;
mod resolve;
mod room_standing;
pub mod rooms;
mod search;
#[cfg(test)]
mod simulation;
mod slow;
pub mod sync;
mod teams;
pub mod text;
pub mod trim;
pub mod tui;
pub mod upkeep;
pub mod writer;

//! A tidings node as a library: start a `node::Node` in a `home::Home`, and talk to it through its `handle::NodeHandle`.
//!
//! `network` brings bytes, `ingest` is the one door by which events enter, `writer` is the one loop that writes, `sync`
//! keeps peers equal, `local` signs what the local user says; `api`, `cli` and `tui` are the screens, and reach the node
//! only through its HTTP API.

pub mod api;
pub mod cli;
pub mod clock;
pub mod config;
mod effective;
pub mod handle;
pub mod home;
pub mod import;
mod info;
pub mod ingest;
mod invites;
pub mod keys;
pub mod local;
mod membership;
pub mod memory;
mod moderation;
pub mod network;
pub mod node;
pub mod notices;
pub mod page;
mod resolve;
pub mod rooms;
pub mod sync;
pub mod text;
pub mod tui;
pub mod writer;

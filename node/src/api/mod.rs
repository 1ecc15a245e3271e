//! The HTTP API: the only place that names axum. Our own screens use it as anybody would.
//!
//! `types`, `audit`, `people`, `purge`, `inbox`, `erasures`, `search` and `upkeep` are the shapes, `server` the routes, `guard` decides who may
//! ask, `problem` says what went wrong, `client` is what our commands and chat use.

pub mod audit;
pub mod client;
mod device_types;
mod devices;
pub mod erasures;
pub mod file_types;
mod files;
mod guard;
pub mod inbox;
mod json;
pub mod keep;
mod moderation_routes;
pub mod people;
mod people_routes;
mod problem;
pub mod purge;
mod room_types;
pub mod search;
pub mod server;
mod streams;
pub mod types;
pub mod upkeep;

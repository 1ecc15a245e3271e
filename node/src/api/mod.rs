//! The HTTP API: the only place that names axum. Our own screens use it as anybody would.
//!
//! `types` are the shapes, `server` the routes, `guard` decides who may ask, `problem` says what went wrong, `client` is
//! what our commands and chat use.

pub mod client;
mod guard;
mod problem;
pub mod server;
mod streams;
pub mod types;

//! Targets that need the node: run by the tests of the workspace alone, as RocksDB and libp2p are built with it.

mod api;
mod config;
mod import;

/// A target and its name, which is that of its folder of the corpus, too.
type Named = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Named] = &[("api", api::api), ("config", config::config), ("import", import::import)];

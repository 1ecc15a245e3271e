//! The one integration-test binary: RocksDB and libp2p are linked once. A file per promise.

mod authority;
mod authority_model;
mod authority_state;
mod bad_input;
mod chat;
mod conformance;
mod faults;
mod gossip;
mod history;
mod history_crash;
mod history_logs;
mod history_proof;
mod history_timeline;
mod moderation;
mod strangers;
mod support;
mod terminal;
mod tidy;

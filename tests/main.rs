//! The one integration-test binary: RocksDB and libp2p are linked once. A file per promise.

mod chat;
mod conformance;
mod support;
mod tidy;

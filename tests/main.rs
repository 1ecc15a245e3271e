//! The one integration-test binary: RocksDB and libp2p are linked once. A file per promise.

mod conformance;
mod tidy;

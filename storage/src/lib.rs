//! What a tidings node keeps: a content-addressed history in RocksDB, and what is derived from it.
//!
//! One `Store` is open per folder; anybody may read through it, one `Writer` writes, one `Batch` at a time, atomically.
//! What can be derived is rebuilt from events, never repaired in place. This is the only crate that names rocksdb.

mod adopt;
mod append;
mod batch;
mod beacons;
pub mod blobs;
mod branches;
mod counters;
mod cuts;
mod empty;
mod erasing;
mod error;
mod events;
pub mod export;
mod files;
#[cfg(test)]
mod fixtures;
mod flushing;
#[cfg(test)]
mod hostile_rows;
mod inbox;
mod kept;
mod key;
mod logs;
mod mark;
mod migrate;
mod moment;
mod people;
pub mod proof;
mod purge;
mod purging;
mod range;
mod rebuild;
mod reclaim;
mod relation;
mod rooms;
mod row;
mod salvage;
mod schema;
pub mod search;
mod shredding;
mod store;
mod tables;
mod timeline;
mod trim;
mod trimming;
pub mod verify;
mod void;

pub use append::{Appended, Entry};
pub use batch::{Batch, Durability, Writer};
pub use beacons::Reached;
pub use error::{Damage, StorageError};
pub use events::StoredEvent;
pub use flushing::RECOVERY_REST;
pub use inbox::{At, Mention, Placed, Summary, Waiting, Why};
pub use kept::Kept;
pub use key::{Position, RoomNumber};
pub use logs::{Agreement, LogRow};
pub use people::{PersonRow, PinRow, ShownName};
pub use purge::{Part, PurgeRow, Purged};
pub use rebuild::{REBUILT_NOTE, Rebuilt, rebuild};
pub use reclaim::Unreclaimed;
pub use rooms::{PendingJoin, RoomRow};
pub use schema::{SCHEMA, SLOWED_FROM};
pub use shredding::ToShred;
pub use store::Store;
pub use timeline::{Direction, TimelineEntry};
pub use trim::{KeepRow, Step, Trimmed};
pub use trimming::TrimmedPart;
pub use void::Above;

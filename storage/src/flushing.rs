//! How much waits in memory to be flushed, and who waits for that: the writer, before it hands RocksDB a batch. RocksDB itself
//! is told to stop no writes (`schema.rs`). One that it stops waits at the head of the queue through which its recovery from a
//! full disk must pass: where a flush fails for want of room while a write is stopped, neither ever goes on, also not once
//! there is room again.

use crate::batch::Writer;
use crate::error::StorageError;
use crate::schema::Family;
use crate::store::Store;
use rocksdb::properties;
use std::time::{Duration, Instant};

impl Store {
    /// Bytes in memory that were not flushed yet.
    pub(crate) fn unflushed_bytes(&self) -> usize {
        self.buffers().get_usage()
    }

    /// From how many on a batch waits.
    pub(crate) fn unflushed_bytes_max(&self) -> usize {
        self.buffers().get_buffer_size().saturating_mul(UNFLUSHED_BUFFERS_MAX)
    }

    /// Whether memtables are being flushed, or wait for that.
    pub(crate) fn is_flushing(&self) -> Result<bool, StorageError> {
        Ok(self.is_above_zero(properties::NUM_RUNNING_FLUSHES)?
            || self.is_above_zero_somewhere(properties::MEM_TABLE_FLUSH_PENDING)?)
    }

    /// Whether tables are being written or merged, or wait for that: what is merged lies on the disk twice meanwhile, so that
    /// less will lie there soon.
    ///
    /// # Errors
    /// `Rocks`.
    pub fn is_merging(&self) -> Result<bool, StorageError> {
        Ok(self.is_above_zero(properties::NUM_RUNNING_COMPACTIONS)?
            || self.is_flushing()?
            || self.is_above_zero_somewhere(properties::COMPACTION_PENDING)?)
    }

    /// Flushes and compactions that failed since the store was opened.
    pub(crate) fn background_errors(&self) -> Result<u64, StorageError> {
        Ok(self.db().property_int_value(properties::BACKGROUND_ERRORS)?.unwrap_or(0))
    }

    fn is_above_zero(&self, property: &properties::PropName) -> Result<bool, StorageError> {
        Ok(self.db().property_int_value(property)?.unwrap_or(0) > 0)
    }

    fn is_above_zero_somewhere(&self, property: &properties::PropName) -> Result<bool, StorageError> {
        for family in Family::ALL {
            if self.db().property_int_value_cf(self.family(family)?, property)?.unwrap_or(0) > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Writer {
    /// Waits until little enough is in memory for another batch. It does not wait where no flush is to come that would make it
    /// less, nor where one failed since a batch was taken, or none has come to an end for long: then it is for RocksDB to take
    /// this one or to say what is wrong. Returns how many had failed.
    pub(crate) fn wait_for_flushes(&self) -> Result<u64, StorageError> {
        let store = self.store();
        let (mut failures, mut least, mut until) = (self.failures, usize::MAX, Instant::now());
        loop {
            let unflushed = store.unflushed_bytes();
            if unflushed <= store.unflushed_bytes_max() || !store.is_flushing()? {
                return Ok(failures);
            }
            if unflushed < least {
                (least, until) = (unflushed, Instant::now() + PATIENCE);
            }
            failures = store.background_errors()?;
            if failures != self.failures || Instant::now() > until {
                return Ok(failures);
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}

/// How long whoever failed to flush or to rewrite leaves the store alone: after a full disk RocksDB goes on once there is room,
/// but only while nobody asks it to flush.
pub const RECOVERY_REST: Duration = Duration::from_secs(10);
/// Of what memtables are to take: as much again may wait to be flushed.
const UNFLUSHED_BUFFERS_MAX: usize = 2;
/// A flush of one family takes some milliseconds.
const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// So long at most nothing is flushed while somebody waits for it; RocksDB does not count every failure.
const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use crate::batch::Durability;
    use crate::schema::Family;
    use crate::store::Store;
    use rocksdb::Env;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// RocksDB flushes nothing while this is there: its threads are those of the process.
    struct NoThreads;

    impl NoThreads {
        fn set(count: i32) {
            let mut env = Env::new().unwrap();
            env.set_background_threads(count);
            env.set_high_priority_background_threads(count);
        }
    }

    impl Drop for NoThreads {
        fn drop(&mut self) {
            NoThreads::set(2);
        }
    }

    #[test]
    fn while_flushes_are_slow_the_writer_waits_and_rocksdb_s_own_queue_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let (store, mut writer) = Store::open_within(folder.path(), Some(16_000_000)).unwrap();
        let no_threads = NoThreads;
        let done = AtomicUsize::new(0);
        let most = std::thread::scope(|scope| {
            let writing = scope.spawn(|| {
                let mut most = 0;
                for n in 0..BATCHES {
                    let mut batch = writer.begin();
                    batch.put_note(&n.to_string(), &[7; BATCH_LEN]).unwrap();
                    batch.commit(Durability::Buffered).unwrap();
                    most = most.max(store.unflushed_bytes());
                    done.store(n + 1, Ordering::Relaxed);
                }
                most
            });
            while store.unflushed_bytes() <= store.unflushed_bytes_max() && !writing.is_finished() {
                // Whoever opens a store in the same process brings threads.
                NoThreads::set(0);
            }
            // As recovery from a full disk would: it passes through the same queue.
            for n in 0_u32..1_000 {
                store.db().put_cf(store.family(Family::Outbox).unwrap(), n.to_be_bytes(), []).unwrap();
            }
            assert!(done.load(Ordering::Relaxed) < BATCHES);
            assert_eq!(store.db().property_int_value("rocksdb.is-write-stopped").unwrap(), Some(0));
            drop(no_threads);
            writing.join().unwrap()
        });
        assert!(most <= store.unflushed_bytes_max() + 4 * BATCH_LEN, "{most} bytes were in memory");
        assert_eq!(store.note(&(BATCHES - 1).to_string()).unwrap().map(|note| note.len()), Some(BATCH_LEN));
    }

    const BATCH_LEN: usize = 100_000;
    const BATCHES: usize = 200;
}

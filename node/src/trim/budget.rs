//! The disk budget: how much is used, and who waits. Trimming begins at a mark below it, because files that are being
//! rewritten lie on the disk twice; at another, what others bring waits; at the last one's own words wait, too, as long as
//! anything can go.

use super::back::Reads;
use crate::writer::WriteError;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// The budget of a node, and what of it is used.
pub struct Budget {
    max: Option<u64>,
    inner: Mutex<Inner>,
    /// Counts measurements: whoever waits looks again.
    measured: watch::Sender<u64>,
    /// Counts how often there was room again after somebody had been refused.
    opened: watch::Sender<u64>,
}

#[derive(Default)]
struct Inner {
    /// Of the history, as last measured, with what was written since.
    store: u64,
    /// Of files, but for those that are being fetched.
    files: u64,
    /// What files that are being fetched will take.
    files_coming: u64,
    /// Of what was let in and is not written yet.
    coming: u64,
    /// Written since the start.
    written: u64,
    /// Nothing more can go.
    is_stuck: bool,
    /// Somebody was told that nothing is taken now.
    has_refused: bool,
}

impl Inner {
    fn used(&self) -> u64 {
        self.store.saturating_add(self.files).saturating_add(self.files_coming)
    }
}

/// Room for something that comes, until it is written.
pub struct Room {
    budget: Arc<Budget>,
    bytes: u64,
    is_file: bool,
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut inner = self.budget.lock();
        match self.is_file {
            true => inner.files_coming = inner.files_coming.saturating_sub(self.bytes),
            false => inner.coming = inner.coming.saturating_sub(self.bytes),
        }
        drop(inner);
        self.budget.tell_if_open();
    }
}

impl Budget {
    /// A budget of so many bytes; none is no budget.
    pub fn new(max: Option<u64>) -> Self {
        Budget { max, inner: Mutex::default(), measured: watch::channel(0).0, opened: watch::channel(0).0 }
    }

    /// The budget.
    pub fn max(&self) -> Option<u64> {
        self.max
    }

    /// Bytes used, as last measured, with what was written since.
    pub fn used(&self) -> u64 {
        self.lock().used()
    }

    /// Of them those of the history.
    pub(super) fn store(&self) -> u64 {
        self.lock().store
    }

    /// Nothing more can go, though the budget is all but used up.
    pub fn is_stuck(&self) -> bool {
        self.lock().is_stuck
    }

    /// Room is set aside for files that are being fetched, or waited for.
    pub(super) fn expects_files(&self) -> bool {
        self.lock().files_coming > 0
    }

    pub(super) fn set_stuck(&self, is_stuck: bool) {
        self.lock().is_stuck = is_stuck;
        self.look_again();
    }

    /// So much is used by the history, and by files that are not being fetched.
    pub(super) fn measured(&self, store: u64, files: u64) {
        let mut inner = self.lock();
        (inner.store, inner.files) = (store, files);
        drop(inner);
        self.look_again();
    }

    fn look_again(&self) {
        self.measured.send_modify(|count| *count = count.wrapping_add(1));
        self.tell_if_open();
    }

    /// Who was refused goes on.
    fn tell_if_open(&self) {
        let Some(max) = self.max else { return };
        let mut inner = self.lock();
        if inner.has_refused && inner.used() + inner.coming < Budget::stop_at(max) {
            inner.has_refused = false;
            drop(inner);
            self.opened.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    /// Says when there is room again.
    pub fn opened(&self) -> watch::Receiver<u64> {
        self.opened.subscribe()
    }

    /// So much was written since the last measurement.
    pub(crate) fn wrote(&self, bytes: usize) {
        if self.max.is_some() {
            let mut inner = self.lock();
            inner.store = inner.store.saturating_add(bytes as u64);
            inner.written = inner.written.saturating_add(bytes as u64);
        }
    }

    /// The mark at which what others bring waits.
    fn stop_at(max: u64) -> u64 {
        max - Budget::reserve(max)
    }

    /// What is left free above that mark.
    fn reserve(max: u64) -> u64 {
        (max / 100 * RESERVE_PERCENT).max(RESERVE_MIN).min(max / 2)
    }

    /// The mark at which one's own words wait.
    fn own_stop_at(max: u64) -> u64 {
        Budget::stop_at(max) + Budget::reserve(max) / 4
    }

    /// The mark at which trimming begins, and how far it goes.
    pub(super) fn marks(max: u64) -> (u64, u64) {
        let begin = Budget::stop_at(max) - max / 100 * BEFORE_PERCENT;
        (begin, begin - (max / 100 * STEP_PERCENT).max(STEP_MIN))
    }

    /// How much is to go, if trimming is due. While somebody reads back, what they read is let be as long as it can: it is the
    /// oldest, so it would go first. And a start by itself brings no trimming about, however often: what RocksDB writes then
    /// is no history.
    pub(super) fn excess(&self, reads: Reads) -> Option<u64> {
        let max = self.max?;
        let (begin, end) = Budget::marks(max);
        let (begin, end) = match reads {
            Reads::On => (Budget::stop_at(max) - max / 100, Budget::stop_at(max) - max / 50),
            Reads::Not if self.lock().written < max / STARTED_SHARE => (Budget::stop_at(max), end),
            Reads::Not | Reads::Begin => (begin, end),
        };
        let used = self.used();
        (used > begin).then(|| used.saturating_sub(end))
    }

    /// Whether what others bring is taken now.
    pub fn is_open(&self) -> bool {
        let Some(max) = self.max else { return true };
        let mut inner = self.lock();
        let is_open = inner.used() + inner.coming < Budget::stop_at(max);
        inner.has_refused |= !is_open;
        is_open
    }

    /// Waits until there is room for so many bytes that others bring.
    pub async fn admit(self: Arc<Self>, bytes: u64) -> Room {
        let mut measured = self.measured.subscribe();
        loop {
            if let Some(room) = self.try_admit(bytes) {
                return room;
            }
            // The sender is ours: it does not go while we wait.
            let _ = measured.changed().await;
        }
    }

    fn try_admit(self: &Arc<Self>, bytes: u64) -> Option<Room> {
        let room = |bytes| Room { budget: self.clone(), bytes, is_file: false };
        let Some(max) = self.max else { return Some(room(0)) };
        let mut inner = self.lock();
        let after = inner.used() + inner.coming + bytes;
        let is_alone = inner.coming == 0 && inner.used() < Budget::stop_at(max);
        (after <= Budget::stop_at(max) || is_alone).then(|| {
            inner.coming += bytes;
            room(bytes)
        })
    }

    /// What files of others may take at most of the budget; no bound where there is none.
    pub fn files_max(&self) -> u64 {
        self.max.map_or(u64::MAX, |max| max / FILES_SHARE)
    }

    /// Sets aside what a file will take that is fetched, and waits until as much of the rest has gone.
    ///
    /// # Errors
    /// `WriteError::Budget` when not enough can go.
    pub async fn admit_file(self: Arc<Self>, bytes: u64) -> Result<Room, WriteError> {
        self.lock().files_coming += bytes;
        let room = Room { budget: self.clone(), bytes, is_file: true };
        let Some(max) = self.max else { return Ok(room) };
        self.wait_below(max, Budget::stop_at(max)).await?;
        Ok(room)
    }

    /// Waits until something of one's own may be written.
    ///
    /// # Errors
    /// `WriteError::Budget` when nothing more can go.
    pub async fn admit_own(&self) -> Result<(), WriteError> {
        let Some(max) = self.max else { return Ok(()) };
        self.wait_below(max, Budget::own_stop_at(max)).await
    }

    async fn wait_below(&self, max: u64, mark: u64) -> Result<(), WriteError> {
        let (mut measured, until) = (self.measured.subscribe(), Instant::now() + OWN_PATIENCE);
        loop {
            {
                let inner = self.lock();
                if inner.used() <= mark {
                    return Ok(());
                }
                if inner.is_stuck {
                    return Err(WriteError::Budget { max });
                }
            }
            if tokio::time::timeout_at(until, measured.changed()).await.is_err() {
                return Err(WriteError::Budget { max });
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// So much below the mark at which others wait trimming begins, and by how much it goes below that: small steps, so that
/// little more goes than has to.
const BEFORE_PERCENT: u64 = 4;
const STEP_PERCENT: u64 = 3;
/// The same where the budget is small: each step writes tables and syncs them.
const STEP_MIN: u64 = 1_500_000;
/// Before one in so many bytes of the budget was written, trimming begins at the mark at which others wait.
const STARTED_SHARE: u64 = 100;
/// What stays free above that mark, but for a quarter that one's own words may take: for the write-ahead log, for what is
/// written between two measurements, and for files that are written anew while the old ones are still there. The store's
/// sizes under a budget bound all of it.
const RESERVE_PERCENT: u64 = 16;
/// The same where the budget is small: single batches of a megabyte do not become smaller with it.
const RESERVE_MIN: u64 = 15_000_000;
/// Files of others take at most one in so many bytes of the budget.
const FILES_SHARE: u64 = 2;
/// How long one's own words wait for room: trimming that gets nowhere for so long is stuck.
const OWN_PATIENCE: Duration = Duration::from_secs(30);
/// With less nothing would be left for content beside what RocksDB keeps for itself.
pub const BUDGET_MIN: u64 = 16_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_others_bring_waits_until_there_is_room() {
        let budget = Arc::new(Budget::new(Some(100_000_000)));
        let (begin, end) = Budget::marks(100_000_000);
        assert!(end < begin && begin >= 75_000_000, "most of it is to be used");
        budget.measured(80_000_000, 3_000_000);
        assert!(budget.is_open() && budget.excess(Reads::Not).is_none(), "a start brings no trimming about");
        budget.wrote(1_000_000);
        budget.measured(80_000_000, 3_000_000);
        assert!(budget.is_open() && budget.excess(Reads::Not).is_some());
        assert!(budget.excess(Reads::On).is_none());
        let room = budget.clone().admit(900_000).await;
        assert!(budget.try_admit(900_000).is_none(), "what comes counts");
        drop(room);
        drop(budget.try_admit(900_000).unwrap());
        budget.wrote(2_000_000);
        assert!(!budget.is_open() && budget.try_admit(1).is_none());
        budget.measured(10_000_000, 0);
        assert!(budget.excess(Reads::Not).is_none());
        assert!(Budget::new(None).is_open());
        // Who was refused is told, once.
        let mut opened = budget.opened();
        budget.measured(90_000_000, 0);
        assert!(!budget.is_open() && !opened.has_changed().unwrap());
        budget.measured(10_000_000, 0);
        assert!(opened.has_changed().unwrap());
        opened.mark_unchanged();
        budget.measured(11_000_000, 0);
        assert!(!opened.has_changed().unwrap());
    }

    #[tokio::test]
    async fn own_words_wait_as_long_as_anything_can_go() {
        let budget = Arc::new(Budget::new(Some(100_000_000)));
        budget.measured(86_000_000, 0);
        assert!(!budget.is_open() && budget.admit_own().await.is_ok(), "they have a part of the reserve");
        budget.measured(90_000_000, 0);
        let waits = tokio::spawn({
            let budget = budget.clone();
            async move { budget.admit_own().await }
        });
        tokio::task::yield_now().await;
        assert!(!waits.is_finished());
        budget.measured(80_000_000, 0);
        assert!(waits.await.unwrap().is_ok());
        budget.measured(90_000_000, 0);
        budget.set_stuck(true);
        assert!(matches!(budget.admit_own().await, Err(WriteError::Budget { .. })));
    }

    #[tokio::test]
    async fn a_file_that_comes_counts_before_it_is_here() {
        let budget = Arc::new(Budget::new(Some(100_000_000)));
        budget.measured(60_000_000, 0);
        let room = budget.clone().admit_file(20_000_000).await.unwrap();
        assert!(budget.used() == 80_000_000 && budget.expects_files());
        drop(room);
        assert!(budget.used() == 60_000_000 && !budget.expects_files());
        budget.set_stuck(true);
        assert!(budget.clone().admit_file(30_000_000).await.is_err());
        assert_eq!(budget.used(), 60_000_000);
    }
}

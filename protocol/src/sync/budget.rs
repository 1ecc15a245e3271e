//! How often a peer may make us do what costs something.

/// Counts what happens within a minute.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PerMinute {
    count: u32,
    since_ms: u64,
}

impl PerMinute {
    /// Counts one more; how many there were since the minute began.
    pub(super) fn add(&mut self, now_ms: u64) -> u32 {
        self.add_many(1, now_ms)
    }

    /// Counts so many more; how many there were since the minute began.
    pub(super) fn add_many(&mut self, count: usize, now_ms: u64) -> u32 {
        if now_ms.saturating_sub(self.since_ms) >= MINUTE_MS {
            *self = PerMinute { count: 0, since_ms: now_ms };
        }
        self.count = self.count.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        self.count
    }

    /// How many there are in this minute.
    pub(super) fn count(&self, now_ms: u64) -> u32 {
        if now_ms.saturating_sub(self.since_ms) >= MINUTE_MS { 0 } else { self.count }
    }
}

const MINUTE_MS: u64 = 60_000;

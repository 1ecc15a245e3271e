//! The node's time: Unix milliseconds, and the hybrid clock of what it says.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tidings_protocol::event::Hlc;
use tidings_protocol::limits::CLOCK_AHEAD_MAX_MS;

/// Unix milliseconds; 0 on a machine whose clock stands before 1970.
pub fn now_ms() -> u64 {
    #[cfg(test)]
    if let Some(simulated) = crate::simulation::now_ms() {
        return simulated;
    }
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

/// How long this process runs: whoever sets a clock does not shift it.
pub fn running_for() -> Duration {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    #[cfg(test)]
    if let Some(simulated) = crate::simulation::running_for() {
        return simulated;
    }
    BEGAN.get_or_init(Instant::now).elapsed()
}

/// The clock of what this device says: never goes back, and is never behind what it has seen, unless that is absurd.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Hlc);

impl Default for Clock {
    fn default() -> Self {
        Clock(Hlc(0))
    }
}

impl Clock {
    /// The next reading.
    pub fn tick(&mut self) -> Hlc {
        self.0 = self.0.tick(now_ms());
        self.0
    }

    /// Takes note of a clock that was seen; one far ahead of ours is not believed.
    pub fn saw(&mut self, seen: Hlc) {
        if seen.ms() <= now_ms().saturating_add(CLOCK_AHEAD_MAX_MS) {
            self.0 = self.0.max(seen);
        }
    }
}

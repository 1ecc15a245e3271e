//! What a conversation does about events that came too early or could not be kept, and about rooms that were left: both
//! bounded, or told, until it is certain.

use super::{Ended, Talk};
use std::time::Duration;
use tidings_protocol::id::RoomId;
use tidings_protocol::sync::Input;
use tokio::time::Instant;

/// Counts, within a minute, what cost us work and brought nothing.
pub(super) struct Barren {
    since: Instant,
    count: u32,
}

impl Default for Barren {
    fn default() -> Self {
        Barren { since: Instant::now(), count: 0 }
    }
}

impl Barren {
    pub(super) fn add(&mut self) {
        if self.since.elapsed() >= MINUTE {
            *self = Barren::default();
        }
        self.count = self.count.saturating_add(1);
    }

    pub(super) fn is_enough(&self) -> bool {
        self.count >= BARREN_PUSHES_MAX && self.since.elapsed() < MINUTE
    }
}

impl Talk<'_> {
    /// Compares rooms of which something came too early, at most every few seconds each: anybody can bring it about.
    pub(super) async fn fill_gaps(&mut self) -> Result<(), Ended> {
        let is_due = |at: Option<&Instant>| at.is_none_or(|at| at.elapsed() >= GAP_EVERY);
        let due: Vec<RoomId> = self.gaps.iter().copied().filter(|room| is_due(self.compared.get(room))).collect();
        for room in due {
            self.gaps.remove(&room);
            self.compared.insert(room, Instant::now());
            self.input(Input::Gap(room)).await?;
        }
        Ok(())
    }

    /// Speaks no more of rooms that we have left, once the peer knows that we have.
    pub(super) async fn part(&mut self) -> Result<(), Ended> {
        for room in std::mem::take(&mut self.parted) {
            self.manager.forget_outbox(room).await;
            self.input(Input::Withdraw(room)).await?;
        }
        Ok(())
    }
}

/// A room is compared at most so often because something came too early.
const GAP_EVERY: Duration = Duration::from_secs(2);
const MINUTE: Duration = Duration::from_secs(60);
/// Pushed events in a minute of which nothing could be kept, after which no more are looked at in it: each costs a signature
/// and the writer a turn. Comparing brings what is true.
const BARREN_PUSHES_MAX: u32 = 64;

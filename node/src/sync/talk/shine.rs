//! Beacons that changed, told to the peer when they are due.

use super::{Ended, Talk};
use crate::beacons;
use crate::clock::now_ms;
use std::time::Duration;
use tidings_protocol::beacon::kind;
use tidings_protocol::id::RoomId;
use tidings_protocol::slots::SlotKey;
use tidings_protocol::sync::Input;
use tokio::time::Instant;

impl Talk<'_> {
    /// Beacons changed: what was said here, or is of the moment, is told at the next turn; the rest may change again soon.
    pub(super) fn lit(&mut self, news: &beacons::News) {
        if news.from.as_ref() == Some(&self.peer_bytes) {
            return;
        }
        for key in &news.keys {
            let is_urgent = news.from.is_none() || !kind::is_kept(key.1);
            let due = Instant::now() + if is_urgent { Duration::ZERO } else { SHINE_EVERY };
            self.lit.entry((news.room, *key)).or_insert(due);
        }
    }

    /// Tells of the beacons that are due, as far as the peer may be told so many.
    pub(super) async fn shine(&mut self) -> Result<(), Ended> {
        let now = Instant::now();
        let due: Vec<(RoomId, SlotKey)> = self.lit.iter().filter(|(_, due)| **due <= now).map(|(k, _)| *k).collect();
        for keys in due.chunk_by(|a, b| a.0 == b.0) {
            let room = keys[0].0;
            let left = self.conversation.beacons_left(room, now_ms());
            // Before both have agreed nothing is told; that compares all.
            let keys = &keys[..keys.len().min(left.unwrap_or(usize::MAX))];
            for key in keys {
                self.lit.remove(key);
            }
            let slots: Vec<SlotKey> = keys.iter().filter(|_| left.is_some()).map(|(_, slot)| *slot).collect();
            let beacons = self.manager.beacons.find(room, &slots);
            if !beacons.is_empty() {
                self.input(Input::Beacons { room, beacons }).await?;
            }
        }
        Ok(())
    }
}

/// Beacons that others said and that are kept are gathered for so long.
const SHINE_EVERY: Duration = Duration::from_millis(500);

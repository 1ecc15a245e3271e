//! The work of trimming: measures, decides, has the writer take part after part off, and then has the files rewritten. One
//! thing at a time, and never more than a slice of what is held.

use super::Order;
use super::back::Reads;
use super::plan::{Goal, Plan, plan};
use super::void::{self, VOID_LEN_MAX};
use crate::clock::now_ms;
use crate::command::Command;
use crate::handle::{NodeError, NodeHandle};
use crate::rooms::RoomView;
use crate::sync::Manager;
use std::sync::Arc;
use std::time::Duration;
use tidings_protocol::event::{Class, Hlc};
use tidings_protocol::id::RoomId;
use tidings_storage::{KeepRow, RECOVERY_REST, SLOWED_FROM, StorageError, Unreclaimed};
use tokio::time::Instant;

/// Keeps the node within its budget and rooms within theirs, until the node ends.
pub(crate) async fn run(node: NodeHandle) {
    if node.manager.budget.max().is_some() {
        let measure = async {
            let mut tick = tokio::time::interval(MEASURE_EVERY);
            let (mut was_open, mut files) = (true, FileBytes::default());
            loop {
                tick.tick().await;
                measure_with(node.manager.as_ref(), &mut files).await;
                let is_open = node.manager.budget.is_open();
                if is_open && !was_open {
                    // What waited is asked for again.
                    node.manager.live.recheck_all();
                }
                was_open = is_open;
            }
        };
        tokio::join!(measure, trim(&node));
    } else {
        trim(&node).await;
    }
}

async fn trim(node: &NodeHandle) {
    let mut work = Work::default();
    // What a kill left.
    if matches!(node.manager.store.unreclaimed(), Ok(Some(left)) if left.is_some())
        && let Err(error) = work.reclaim(node, false).await
    {
        tracing::error!(%error, "what was trimmed before the start still lies on the disk: it goes with the next");
    }
    loop {
        match work.round(node).await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(NodeError::Stopping) => return,
            Err(error) => {
                tracing::error!(%error, "trimming failed: it is tried again");
                tokio::time::sleep(RECOVERY_REST).await;
                continue;
            }
        }
        let wait = match node.manager.budget.max() {
            Some(_) if node.manager.budget.is_stuck() => STUCK_WAIT,
            Some(_) => LOOK_EVERY,
            None => CLEAN_EVERY,
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = node.manager.read_back.woken() => work.capped = None,
        }
    }
}

/// What is remembered from one round to the next.
#[derive(Default)]
struct Work {
    /// When the rooms' own bounds were looked at.
    capped: Option<Instant>,
    /// Since when it is waited for files that are being merged.
    settles_since: Option<Instant>,
    /// Until when it is not made again that all of what was trimmed goes from the files: that takes long.
    cleaned_until: Option<Instant>,
}

impl Work {
    /// Does what is most urgent; whether there may be more.
    async fn round(&mut self, node: &NodeHandle) -> Result<bool, NodeError> {
        if self.capped.is_none_or(|at| at.elapsed() >= CAPS_EVERY) {
            self.capped = Some(Instant::now());
            self.caps(node).await?;
        }
        self.clean(node).await?;
        let (budget, reads) = (&node.manager.budget, node.manager.read_back.reads());
        if budget.excess(reads).is_some() && self.is_to_settle(node, reads).await? {
            return Ok(false);
        }
        let Some(excess) = budget.excess(reads) else {
            self.settles_since = None;
            node.manager.read_back.room_is_made();
            budget.set_stuck(false);
            return Ok(false);
        };
        self.settles_since = None;
        let gone = self.shrink(node, excess).await?;
        if reads == Reads::Begin {
            if !gone {
                node.manager.read_back.room_is_made();
            }
            return Ok(true);
        }
        let was_stuck = budget.is_stuck();
        budget.set_stuck(!gone);
        if !gone && !was_stuck {
            tracing::warn!(
                used = node.manager.budget.used(),
                "the disk budget is nearly used up, and nothing more can go"
            );
        }
        Ok(gone)
    }

    /// Whether less will be on the disk soon without anything having to go: what is being merged lies there twice. If not, it
    /// is measured anew. What others bring stays below its mark meanwhile.
    async fn is_to_settle(&mut self, node: &NodeHandle, reads: Reads) -> Result<bool, NodeError> {
        let budget = &node.manager.budget;
        // Where the budget is larger writes are slowed instead; and no merge makes room for a file that somebody waits for.
        if budget.max().is_none_or(|max| max >= SLOWED_FROM) || budget.is_stuck() || budget.expects_files() {
            return Ok(false);
        }
        let patience = if reads == Reads::Not { SETTLE_PATIENCE } else { SETTLE_PATIENCE_READING };
        let since = *self.settles_since.get_or_insert_with(Instant::now);
        if since.elapsed() < patience && node.manager.store.is_merging()? {
            return Ok(true);
        }
        measure(&node.manager).await;
        Ok(false)
    }

    /// Rooms that have bounds of their own.
    async fn caps(&mut self, node: &NodeHandle) -> Result<(), NodeError> {
        for (room, view) in node.manager.views.all() {
            if view.row.home_of.is_some() {
                continue;
            }
            self.drop_void(node, room, &view, VOID_LEN_MAX).await?;
            let keep = node.manager.store.keep(view.number)?;
            if keep.forever {
                continue;
            }
            let before = |days: u32| Hlc::at_ms(now_ms().saturating_sub(u64::from(days) * DAY_MS)).0;
            // What its moderators set is for everybody's words, whoever else has them; what one says oneself is not.
            if let Some(days) = set_days(&view) {
                self.carry_out(node, room, &view, Goal::Expired(before(days))).await?;
            }
            if keep.max_days > 0 {
                self.carry_out(node, room, &view, Goal::Before(before(keep.max_days))).await?;
            }
            if keep.max_bytes == 0 {
                continue;
            }
            let bytes = node.manager.store.room_bytes(view.number)?;
            if bytes > keep.max_bytes {
                // A little more than it takes, so that it does not begin anew with every message.
                let goal = bytes - keep.max_bytes + keep.max_bytes / 16;
                self.carry_out(node, room, &view, Goal::Bytes(goal)).await?;
            }
        }
        Ok(())
    }

    /// Takes something off the largest room; whether anything went.
    async fn shrink(&mut self, node: &NodeHandle, excess: u64) -> Result<bool, NodeError> {
        // What is kept for whoever wants to go back goes first.
        if tokio::task::block_in_place(|| node.manager.store.make_room_of_copies()) {
            measure(&node.manager).await;
            return Ok(true);
        }
        // Before anything that counts.
        for (room, view) in node.manager.views.all() {
            if view.row.home_of.is_none() && self.drop_void(node, room, &view, 0).await? {
                return Ok(true);
            }
        }
        let mut rooms: Vec<(u64, RoomId, Arc<RoomView>)> = Vec::new();
        let mut all = 0;
        for (room, view) in node.manager.views.all() {
            let bytes = node.manager.store.room_bytes(view.number)?;
            all += bytes;
            if view.row.home_of.is_none() && !node.manager.store.keep(view.number)?.forever {
                rooms.push((bytes, room, view));
            }
        }
        rooms.sort_unstable_by_key(|(bytes, room, _)| (u64::MAX - *bytes, *room));
        // Rows before compression take more than files.
        let ratio = all as f64 / node.manager.budget.store().max(1) as f64;
        let wanted = ((excess as f64) * ratio.clamp(0.5, 8.0)) as u64;
        for (n, (bytes, room, view)) in rooms.iter().enumerate() {
            // Down to the size of the next room, but a good piece at least.
            let next = rooms.get(n + 1).map_or(0, |(next, ..)| *next);
            let goal = wanted.min((bytes - next).max(wanted / 4)).max(1);
            if self.carry_out(node, *room, view, Goal::Bytes(goal)).await? {
                return Ok(true);
            }
        }
        // Nothing can go; but what went before may still lie in files.
        let is_left = node.manager.store.unreclaimed()?.is_some_and(|left| left.is_some());
        Ok(is_left && self.reclaim_all(node).await? && node.manager.budget.excess(Reads::Not).is_none())
    }

    /// Drops what does not count of a room, but for so much; whether anything went.
    async fn drop_void(
        &mut self,
        node: &NodeHandle,
        room: RoomId,
        view: &Arc<RoomView>,
        max: u64,
    ) -> Result<bool, NodeError> {
        let (of, seen) = (node.clone(), view.clone());
        let found = tokio::task::spawn_blocking(move || void::excess(&of, &seen, max)).await;
        let mut gone = 0;
        for excess in found.map_err(|_| NodeError::Stopping)?? {
            let (log, above) = (excess.log, excess.above);
            loop {
                let part = node.write(|reply| Command::Trim(Order::Void { room, log, above, reply })).await?;
                gone += part.numbers.len() as u64;
                if !part.more {
                    break;
                }
            }
        }
        if gone > 0 {
            tracing::debug!(%room, events = gone, "dropped what does not count");
            self.went(node).await?;
        }
        Ok(gone > 0)
    }

    /// Makes all of what was trimmed go from the files where something was erased that may be among it.
    async fn clean(&mut self, node: &NodeHandle) -> Result<(), NodeError> {
        if node.manager.store.awaits_trimmed(None)? {
            self.reclaim_all(node).await?;
        }
        Ok(())
    }

    /// Makes all of what was trimmed go from the files, unless that was done a moment ago; whether it was done now.
    async fn reclaim_all(&mut self, node: &NodeHandle) -> Result<bool, NodeError> {
        if self.cleaned_until.is_some_and(|until| Instant::now() < until) {
            return Ok(false);
        }
        let begun = Instant::now();
        self.reclaim(node, true).await?;
        self.cleaned_until = Some(Instant::now() + begun.elapsed().saturating_mul(CLEAN_REST).max(CLEAN_EVERY));
        Ok(true)
    }

    /// Something went: the files follow.
    async fn went(&mut self, node: &NodeHandle) -> Result<(), NodeError> {
        self.reclaim(node, false).await?;
        // The bytes of files that nothing names any more.
        drop(node.sweep_files().await);
        Ok(())
    }

    /// Does what a plan says; whether anything went.
    async fn carry_out(
        &mut self,
        node: &NodeHandle,
        room: RoomId,
        view: &Arc<RoomView>,
        goal: Goal,
    ) -> Result<bool, NodeError> {
        let (store, seen, us) = (node.manager.store.clone(), view.clone(), node.manager.keys.device().id());
        let planned = tokio::task::spawn_blocking(move || plan(&store, &seen, us, goal)).await;
        let Plan { logs, since, .. } = planned.map_err(|_| NodeError::Stopping)??;
        let mut gone = 0;
        for (log, below) in logs {
            loop {
                let order = |reply| Command::Trim(Order::Part { room, log, below, since, reply });
                let part = node.write(order).await?;
                self.flush_log(node).await?;
                gone += part.numbers.len() as u64;
                if !part.more {
                    break;
                }
            }
        }
        if gone == 0 {
            return Ok(false);
        }
        let used = node.manager.budget.used();
        self.went(node).await?;
        tracing::debug!(%room, events = gone, used, "trimmed, and {} are used now", node.manager.budget.used());
        Ok(true)
    }

    /// Takes the words of what was trimmed off the rows of search, part by part.
    async fn strip_words(&mut self, node: &NodeHandle, left: &Unreclaimed) -> Result<(), NodeError> {
        for bucket in left.buckets() {
            let mut from = Some(Vec::new());
            while let Some(at) = from {
                from = node.write(|reply| Command::Trim(Order::Words { bucket, from: at, reply })).await?;
                self.flush_log(node).await?;
            }
        }
        Ok(())
    }

    /// Lets files follow what trimming writes: the write-ahead log counts, too.
    async fn flush_log(&mut self, node: &NodeHandle) -> Result<(), NodeError> {
        let Some(max) = node.manager.budget.max() else { return Ok(()) };
        let store = node.manager.store.clone();
        let flushed = tokio::task::spawn_blocking(move || store.flush_log_above(max / LOG_SHARE));
        Ok(flushed.await.map_err(|_| NodeError::Stopping)??)
    }

    /// Gives the disk back what went: where it is a good part of files, or wherever it is.
    async fn reclaim(&mut self, node: &NodeHandle, all: bool) -> Result<(), NodeError> {
        let store = node.manager.store.clone();
        let Some(before) = store.unreclaimed()? else { return Ok(()) };
        // The indexes lie in another order: they are rewritten once a good part of them is gone.
        let mut held = 0;
        for (_, view) in node.manager.views.all() {
            let logs = store.logs(view.number, Class::Content)?;
            held += logs.iter().map(|(_, row)| row.state.held()).sum::<u64>();
        }
        let indexes = all || before.indexed * INDEX_SHARE >= held;
        if indexes {
            self.strip_words(node, &before).await?;
        }
        let window_len =
            node.manager.budget.max().map_or(WINDOW_LEN_MAX, |max| (max / 32).clamp(1 << 20, WINDOW_LEN_MAX));
        // What was trimmed may have brought files.
        let is_swept = all && node.sweep_files().await?;
        let reclaimed = tokio::task::spawn_blocking(move || {
            if all {
                let is_all = store.reclaim_everything(&before, window_len)? && is_swept;
                return Ok((!is_all).then_some(before));
            }
            let payloads = before.payloads.map(|range| store.reclaim_payloads(range, window_len, false)).transpose()?;
            if indexes && before.indexed > 0 {
                store.reclaim_indexes(window_len, false)?;
            }
            let (indexed, words) = if indexes { (0, None) } else { (before.indexed, before.words) };
            Ok::<_, StorageError>(Some(Unreclaimed { payloads: payloads.flatten(), words, indexed, ..before }))
        });
        let left = reclaimed.await.map_err(|_| NodeError::Stopping)??;
        if left != Some(before) {
            node.write(|reply| Command::Trim(Order::Reclaimed { done: Some(before), left, reply })).await?;
        }
        measure(&node.manager).await;
        Ok(())
    }
}

/// How many bytes files take, and when that was looked at.
#[derive(Default)]
struct FileBytes {
    bytes: u64,
    at: Option<Instant>,
    took: Duration,
}

/// Measures what is used now.
pub(super) async fn measure(manager: &Manager) {
    measure_with(manager, &mut FileBytes::default()).await;
}

async fn measure_with(manager: &Manager, files: &mut FileBytes) {
    tokio::task::block_in_place(|| {
        // A folder of many files is not looked through all the time.
        if files.at.is_none_or(|at| at.elapsed() >= files.took * 20) {
            let began = Instant::now();
            files.bytes = manager.files.disk_bytes();
            (files.at, files.took) = (Some(began), began.elapsed());
        }
        manager.budget.measured(manager.store.disk_bytes(), files.bytes);
    });
}

/// Days that content of a room is kept here: the shorter of what its moderators set and its keeper here says.
pub(super) fn kept_days(view: &RoomView, keep: &KeepRow) -> u32 {
    let own = Some(keep.max_days).filter(|days| *days > 0);
    set_days(view).into_iter().chain(own).min().unwrap_or(0)
}

/// Days that its moderators set for a room, if they did.
fn set_days(view: &RoomView) -> Option<u32> {
    view.state.settings.get(RETENTION).and_then(|days| days.parse().ok()).filter(|days| *days > 0)
}

/// What is set of a room for a time that was typed: `90d`, or `forever`.
///
/// # Errors
/// `NodeError::Usage`.
pub(crate) fn retention_value(text: &str) -> Result<String, NodeError> {
    let days = match text.trim() {
        "forever" => Some(0),
        text => text.strip_suffix('d').and_then(|days| days.parse::<u32>().ok()).filter(|days| *days > 0),
    };
    let wrong = || NodeError::Usage(format!("\"{text}\" is no time for keeping: write 90d, or forever"));
    days.map(|days| days.to_string()).ok_or_else(wrong)
}

/// The room setting by which its moderators say how long its content is kept, in days.
pub(crate) const RETENTION: &str = "retention";
/// Between two measurements no more is written than the reserve holds.
const MEASURE_EVERY: Duration = Duration::from_millis(50);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Where nothing could go it is tried again after this.
const STUCK_WAIT: Duration = Duration::from_secs(1);
/// Before each step so long is waited at most for files that are being merged: on a busy machine, or a disk that is full, that
/// may take as long as one writes.
const SETTLE_PATIENCE: Duration = Duration::from_secs(4);
/// The same while somebody reads back, who waits no longer than five seconds for room.
const SETTLE_PATIENCE_READING: Duration = Duration::from_millis(1500);
/// The bounds of single rooms are looked at so often.
const CAPS_EVERY: Duration = Duration::from_secs(20);
/// It is looked so often whether what was erased waits for what was trimmed; and how much longer it rests than that took, so
/// that nobody who erases without end has more than a tenth of the disk.
const CLEAN_EVERY: Duration = Duration::from_secs(5);
const CLEAN_REST: u32 = 9;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// Indexes are rewritten when one in so many of their rows was trimmed.
const INDEX_SHARE: u64 = 4;
/// The write-ahead log may be one in so many bytes of the budget before more is trimmed.
const LOG_SHARE: u64 = 16;
/// What is rewritten at a time where there is no budget.
const WINDOW_LEN_MAX: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_a_room_is_kept_reads_as_it_is_typed() {
        assert_eq!((retention_value("90d").unwrap(), retention_value("forever").unwrap()), ("90".into(), "0".into()));
        for text in ["", "d", "0d", "90", "-1d", "soon", "99999999999d"] {
            assert!(retention_value(text).is_err(), "{text}");
        }
    }
}

//! Making the bytes of what was erased go from the files, a little later and together with what else was; never so often
//! that the disk does nothing else, whoever erases how much.

use crate::command::{Command, Reply};
use crate::handle::{NodeError, NodeHandle};
use crate::writer::{Desk, Stored};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tidings_storage::{RECOVERY_REST, StorageError, ToShred};

/// Does it whenever something was erased, and goes on with what an earlier run left.
pub(crate) async fn shred_always(node: NodeHandle) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut is_wanted, mut rests_until, mut failed) = (false, Instant::now(), false);
    loop {
        tick.tick().await;
        is_wanted |= node.manager.store.wants_shredding();
        if !is_wanted || Instant::now() < rests_until {
            continue;
        }
        let begun = Instant::now();
        match node.shred().await {
            Ok(is_all) => (is_wanted, failed) = (!is_all, false),
            Err(NodeError::Stopping) => return,
            // A full disk, most likely: tried again until it works, and told once.
            Err(error) if !failed => {
                failed = true;
                tracing::error!(%error, "what was erased is still in files: it is tried again");
            }
            Err(_) => {}
        }
        let rest = if failed { RECOVERY_REST } else { begun.elapsed().saturating_mul(REST).max(REST_MIN) };
        rests_until = Instant::now() + rest;
    }
}

impl NodeHandle {
    /// Makes the bytes of what was erased so far go from the files; whether that is all.
    async fn shred(&self) -> Result<bool, NodeError> {
        let store = self.manager.store.clone();
        let shredded = tokio::task::spawn_blocking(move || {
            let gone = store.to_shred(SHRED_MAX)?;
            let is_done = gone.is_empty() || store.shred(&gone)?;
            Ok::<_, StorageError>((gone, is_done))
        });
        let (gone, is_done) = shredded.await.map_err(|_| NodeError::Stopping)??;
        // What was erased may have brought a file.
        if gone.is_empty() || !is_done || !self.sweep_files().await? {
            return Ok(gone.is_empty());
        }
        let is_all = gone.len() < SHRED_MAX;
        self.write(|reply| Command::Shredded(gone, reply)).await?;
        Ok(is_all)
    }

    /// Makes the bytes of what was purged go from the files, and returns when they have: those of one event, or of
    /// everything that was ever deleted.
    pub(crate) async fn shred_purged(&self, event: Option<ToShred>) -> Result<(), NodeError> {
        loop {
            let store = self.manager.store.clone();
            let shredded = tokio::task::spawn_blocking(move || match event {
                Some(event) => store.shred(&[event]),
                None => store.shred_everything(),
            });
            if shredded.await.map_err(|_| NodeError::Stopping)?? && self.sweep_files().await? {
                return Ok(());
            }
            // Somebody reads what was there before, as an export does, or fetches a file of it.
            tokio::time::sleep(TICK).await;
        }
    }
}

impl Desk<'_, '_> {
    /// These are in no file any more: their rooms are told, which say so to others.
    pub(crate) fn shredded(&mut self, gone: &[ToShred], reply: Reply<()>) -> Result<(), StorageError> {
        self.batch.shredded(gone)?;
        for number in gone.iter().map(|gone| gone.room).collect::<BTreeSet<_>>() {
            if let Some(room) = self.rooms.of_number(number) {
                self.round.notices.push(Stored::nothing(room));
            }
        }
        self.synced(reply, Ok(()));
        Ok(())
    }
}

/// How often it is looked whether anything was erased, which costs nothing.
const TICK: Duration = Duration::from_secs(1);
/// Events whose bytes go at once.
const SHRED_MAX: usize = 65_536;
/// How much longer it rests than it worked: whoever erases without end has a tenth of the disk.
const REST: u32 = 9;
/// What is erased within this goes together.
const REST_MIN: Duration = Duration::from_secs(2);

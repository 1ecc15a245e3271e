//! What the operator and the screens learn and say of what is kept.

use super::Order;
use super::back::whole_since;
use super::work::kept_days;
use crate::api::keep as api;
use crate::command::Command;
use crate::handle::{NodeError, NodeHandle};
use crate::rooms::RoomView;
use std::time::Duration;
use tidings_protocol::event::Hlc;
use tidings_storage::KeepRow;

impl NodeHandle {
    /// Says how much of a room this node keeps.
    ///
    /// # Errors
    /// `NodeError::Usage`, `NodeError::NotFound`.
    pub async fn keep_room(&self, room: &str, wish: &api::Keep) -> Result<api::Kept, NodeError> {
        let (id, view) = self.room_view(room)?;
        if view.row.home_of.is_some() {
            return Err(NodeError::Usage("this is where a user's devices are listed: it is kept".to_owned()));
        }
        if wish.forever && (wish.max_bytes.is_some() || wish.max_days.is_some()) {
            return Err(NodeError::Usage("kept for ever excludes other bounds".to_owned()));
        }
        if wish.max_bytes.is_some_and(|bytes| bytes < ROOM_BYTES_MIN) {
            return Err(NodeError::Usage(format!("a room needs {ROOM_BYTES_MIN} bytes at least")));
        }
        let keep = KeepRow {
            max_bytes: wish.max_bytes.unwrap_or(0),
            max_days: wish.max_days.unwrap_or(0),
            forever: wish.forever,
            since: 0,
        };
        self.write(|reply| Command::Trim(Order::Keep { room: id, keep, reply })).await?;
        self.manager.read_back.wake();
        self.manager.read_back.ask(id);
        self.kept(&view)
    }

    /// Waits a while until there is room for records that are imported.
    ///
    /// # Errors
    /// `NodeError::Budget`.
    pub(crate) async fn budget_for_import(&self) -> Result<(), NodeError> {
        let budget = self.manager.budget.clone();
        let Some(max) = budget.max() else { return Ok(()) };
        match tokio::time::timeout(IMPORT_PATIENCE, budget.admit(IMPORT_BATCH_LEN)).await {
            Ok(_) => Ok(()),
            Err(_) => Err(NodeError::Budget { max }),
        }
    }

    /// What is kept of a room.
    ///
    /// # Errors
    /// `NodeError::Storage`.
    pub fn kept(&self, view: &RoomView) -> Result<api::Kept, NodeError> {
        let store = &self.manager.store;
        let keep = store.keep(view.number)?;
        Ok(api::Kept {
            bytes: store.room_bytes(view.number)?,
            max_bytes: Some(keep.max_bytes).filter(|bytes| *bytes > 0),
            max_days: Some(kept_days(view, &keep)).filter(|days| *days > 0),
            forever: keep.forever,
            since_ms: whole_since(store, view)?.map(|clock| Hlc(clock).ms()),
        })
    }
}

/// A smaller bound would keep hardly more than the newest page.
const ROOM_BYTES_MIN: u64 = 100_000;
/// What a batch of records takes, about.
const IMPORT_BATCH_LEN: u64 = 1 << 20;
/// Long enough for what can go to go.
const IMPORT_PATIENCE: Duration = Duration::from_secs(20);

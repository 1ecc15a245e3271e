//! Erasing what one was called.

use crate::handle::{NodeError, NodeHandle};
use crate::local::Intent;
use crate::rooms::RoomView;
use tidings_protocol::content::kind;
use tidings_protocol::event::Class;
use tidings_protocol::id::{EventId, RoomId};

impl NodeHandle {
    /// Erases every name that the local user gave in their rooms but the newest in each; how many went.
    ///
    /// # Errors
    /// `NodeError`.
    pub async fn erase_former_names(&self) -> Result<u64, NodeError> {
        let mut gone = 0;
        for (room, view) in self.manager.views.all() {
            for name in self.former_names(&view)? {
                gone += u64::from(self.erase_name(room, name).await?);
            }
        }
        Ok(gone)
    }

    /// Whether it went: where one may not speak any more, it stays.
    async fn erase_name(&self, room: RoomId, name: EventId) -> Result<bool, NodeError> {
        match self.publish(room, Intent::Erase(name)).await {
            Ok(_) => Ok(true),
            Err(NodeError::Refused(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The events by which the local user gave themselves a name in a room, but the newest. Found by looking through all
    /// that they have said there: names have no index, because nobody else asks for old ones.
    fn former_names(&self, view: &RoomView) -> Result<Vec<EventId>, NodeError> {
        let store = &self.manager.store;
        let mut names = Vec::new();
        for (log, _) in store.logs(view.number, Class::Content)? {
            if view.state.speaker(log.author, log.grant) != Some(self.manager.keys.user) {
                continue;
            }
            let mut from = Some((0, 0));
            while let Some(begin) = from {
                let (found, next) = store.kept_of_kind(view.number, &log, kind::PROFILE, begin, LOOKED_AT)?;
                names.extend(found.into_iter().map(|event| (event.hlc, event.id)));
                from = next;
            }
        }
        names.sort_unstable();
        names.pop();
        Ok(names.into_iter().map(|(_, id)| id).collect())
    }
}

/// Events of a log that are looked at between two questions to the store.
const LOOKED_AT: usize = 4096;

//! What becomes of what was erased: its bytes go from the files of this node (`shred`), and others say, each by their own
//! signed word, that they went from theirs (`Holds`, read by `beacons/receipts.rs`). `names` erases what one was called.

mod names;
mod shred;

pub(crate) use shred::shred_always;

use crate::api::erasures as api;
use crate::beacons::NOTHING_WAITS;
use crate::handle::{NodeError, NodeHandle};
use crate::rooms::RoomView;
use tidings_protocol::event::Hlc;
use tidings_protocol::id::UserId;
use tidings_storage::{StorageError, Store, StoredEvent};

/// What is in no file here any more of what a room's control events erase, as Holds says it.
pub(crate) fn told(store: &Store, view: &RoomView) -> Hlc {
    if view.state.erased.is_empty() {
        return NOTHING_WAITS;
    }
    tokio::task::block_in_place(|| first_waiting(store, view)).unwrap_or_else(|error| {
        tracing::warn!(%error, "what is erased cannot be read");
        Hlc(0)
    })
}

/// The clock of the first moderator's Erase of which the payload is still to go; zero while anything that was deleted
/// still lies in files.
fn first_waiting(store: &Store, view: &RoomView) -> Result<Hlc, StorageError> {
    let left = store.to_shred(LEFT_LOOKED_AT)?;
    // Of what was trimmed the bytes may be there until they are reclaimed, and anything may be erased of that.
    let is_left = left.len() >= LEFT_LOOKED_AT || left.iter().any(|left| left.room == view.number);
    if is_left || store.unreclaimed()?.is_some() {
        return Ok(Hlc(0));
    }
    let mut first = NOTHING_WAITS;
    for (place, erasure) in view.state.erased.iter() {
        let Some((by, due_ms)) = store.erasure(place.id)? else { continue };
        if due_ms > 0 && !erasure.own {
            first = first.min(store.event_by_id(by)?.map_or(Hlc(1), |event| event.hlc));
        } else if due_ms > 0 {
            // It goes with the writer's next round.
            return Ok(Hlc(0));
        }
    }
    Ok(first)
}

impl NodeHandle {
    /// What became of a message that was erased: here, and on the devices of the room's members.
    ///
    /// # Errors
    /// `NodeError::NotFound` for what is not here, or not erased.
    pub fn erasure(&self, event: &str) -> Result<api::Erasure, NodeError> {
        let (room, id) = self.event(event)?;
        let store = &self.manager.store;
        let none = || NodeError::NotFound(format!("there is no message \"{event}\" here"));
        let view = self.manager.views.find(room).ok_or_else(none)?;
        let erased = store.event_by_id(id)?.ok_or_else(none)?;
        let Some(erasure) = view.state.erasure(&erased.log, erased.seq, id) else {
            let text = format!("nobody has erased \"{event}\": tidings erase {event} does");
            return Err(NodeError::NotFound(text));
        };
        let by = store.event_by_id(erasure.by)?.ok_or_else(none)?;
        let (_, due_ms) = store.erasure(id)?.unwrap_or((erasure.by, 0));
        let is_left = store.to_shred(LEFT_LOOKED_AT)?.iter().any(|left| left.number == erased.number);
        let whose = view.state.speaker(by.log.author, by.log.grant);
        Ok(api::Erasure {
            id: id.to_string(),
            room: room.to_string(),
            erase: erasure.by.to_string(),
            by: whose.map(|user| user.to_string()).unwrap_or_default(),
            name: self.shown_name(&view, whose)?,
            ms: by.hlc.ms(),
            own: erasure.own,
            due_ms: (due_ms > 0).then_some(due_ms),
            here: due_ms == 0 && !is_left,
            devices: self.answers(&view, &by, erasure.own)?,
        })
    }

    /// What the other devices of a room say of what an Erase names.
    fn answers(&self, view: &RoomView, erase: &StoredEvent, own: bool) -> Result<Vec<api::Answer>, NodeError> {
        let us = self.manager.keys.device().id();
        let mut out = Vec::new();
        for (user, member) in view.state.members.iter() {
            let name = self.shown_name(view, Some(*user))?;
            for device in member.devices.iter().filter(|device| **device != us) {
                let (reached, heard_ms) = self.manager.beacons.reached(view.row.room, *device);
                let gone = reached.has_erased(erase.number, erase.hlc, own);
                let (device, user) = (device.to_string(), user.to_string());
                out.push(api::Answer { device, user, name: name.clone(), gone, heard_ms });
            }
        }
        Ok(out)
    }

    fn shown_name(&self, view: &RoomView, user: Option<UserId>) -> Result<String, StorageError> {
        let Some(user) = user else { return Ok(String::new()) };
        Ok(self.manager.store.profile_name(view.number, user)?.unwrap_or_default())
    }
}

/// Events whose bytes are still to go that are looked through for those of one room; with more, nothing is said of any.
const LEFT_LOOKED_AT: usize = 1024;

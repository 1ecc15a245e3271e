//! What becomes of what was erased: its bytes go from the files of this node (`shred`), and others say, each by their own
//! signed word, that they went from theirs (`Holds`, read by `beacons/receipts.rs`). `names` erases what one was called.

mod names;
mod shred;

pub(crate) use shred::shred_always;

use crate::api::erasures as api;
use crate::beacons::NOTHING_WAITS;
use crate::clock::now_ms;
use crate::handle::{NodeError, NodeHandle};
use crate::rooms::RoomView;
use tidings_protocol::control::payload::Erase;
use tidings_protocol::event::{Class, Hlc};
use tidings_protocol::id::UserId;
use tidings_protocol::limits::MODERATED_ERASE_AFTER_MS;
use tidings_protocol::log::Log;
use tidings_storage::{StorageError, Store, StoredEvent};

/// What is in no file here any more of what a room's control events erase, as Holds says it.
pub(crate) fn told(store: &Store, view: &RoomView) -> Hlc {
    if view.state.erased.is_empty() {
        return NOTHING_WAITS;
    }
    tokio::task::block_in_place(|| first_waiting(store, view, now_ms())).unwrap_or_else(|error| {
        tracing::warn!(%error, "what is erased cannot be read");
        Hlc(0)
    })
}

/// The clock of the first moderator's Erase of which the payload may be here still, or may come yet; zero while anything
/// that was to go may lie in files.
///
/// # Errors
/// `StorageError`.
pub fn first_waiting(store: &Store, view: &RoomView, now_ms: u64) -> Result<Hlc, StorageError> {
    let mut first = NOTHING_WAITS;
    for (place, erasure) in view.state.erased.iter() {
        let by = || Ok::<_, StorageError>(store.event_by_id(erasure.by)?.map_or(Hlc(1), |event| event.hlc));
        match store.erasure(place.id)? {
            Some((_, 0)) => {}
            // It goes with the writer's next round.
            Some(_) if erasure.own => return Ok(Hlc(0)),
            Some(_) => first = first.min(by()?),
            // The Erase is here a moment before it is carried out.
            None if is_there(store, view, place)? => return Ok(Hlc(0)),
            None => {
                let hlc = by()?;
                // What its author erased is never taken any more; what a moderator did is, as long as that may turn out void.
                if !erasure.own && hlc.ms().saturating_add(MODERATED_ERASE_AFTER_MS) > now_ms {
                    first = first.min(hlc);
                }
            }
        }
    }
    // Last, because what is found erased above has its row among these from the same moment on, and an Erase that may name
    // what was trimmed has one that came with it.
    let left = store.to_shred(LEFT_LOOKED_AT)?;
    let is_left = left.len() >= LEFT_LOOKED_AT || left.iter().any(|left| left.room == view.number);
    Ok(if is_left || store.awaits_trimmed(Some(view.number))? { Hlc(0) } else { first })
}

/// Whether the message that an Erase names is here, at the place that it says.
fn is_there(store: &Store, view: &RoomView, place: &Erase) -> Result<bool, StorageError> {
    let log = Log { class: Class::Content, author: place.author, grant: place.grant };
    let event = store.event_by_id(place.id)?;
    Ok(event.is_some_and(|event| event.room == view.number && event.log == log && event.seq == place.seq))
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
            here: due_ms == 0 && !is_left && !store.awaits_trimmed(Some(view.number))?,
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

//! Standing for a message that a removal took away: quoting it with its proof, and showing it while the message itself
//! does not count.

use crate::effective;
use crate::local::Intent;
use crate::refusal::Refusal;
use crate::rooms::RoomView;
use crate::writer::Desk;
use tidings_protocol::adopted::{Adopted, NotAdoptable};
use tidings_protocol::content::Content;
use tidings_protocol::control::rank::{Rank, Role};
use tidings_protocol::control::state::{NoContent, RoomState, Void};
use tidings_protocol::event::Class;
use tidings_protocol::id::{EventId, RoomId, UserId};
use tidings_protocol::limits::PAYLOAD_LEN_MAX;
use tidings_storage::{RoomNumber, StorageError, Store, StoredEvent};

impl Desk<'_, '_> {
    /// Quotes a message that does not count, so that it is shown again, as adopted by us.
    pub(crate) fn adopt(
        &mut self,
        room: RoomId,
        message: EventId,
    ) -> Result<Result<Vec<EventId>, Refusal>, StorageError> {
        let standing = match self.standing(room)? {
            Ok(standing) => standing,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if standing.rank > Rank::MEMBER {
            return Ok(Err(Refusal::NeedsRole { needs: Role::Member, are: standing.rank.role() }));
        }
        let here = (standing.number, &*standing.state);
        let store = self.batch.store();
        let event = store.event_by_id(message)?.filter(|event| event.room == standing.number);
        let Some(event) = event.filter(|event| event.log.class == Class::Content) else {
            return Ok(Err(Refusal::UnknownEvent));
        };
        if effective::author_in(store, here, &event)?.is_some() || adopted_already(store, here, message)? {
            return Ok(Err(Refusal::Counts));
        }
        if standing.state.erasure(&event.log, event.seq, event.id).is_some() {
            return Ok(Err(Refusal::NotAdoptable(NotAdoptable::NoMessage)));
        }
        let adopted = match store.adopted(&event)? {
            Ok(adopted) => adopted,
            Err(why) => return Ok(Err(Refusal::NotAdoptable(why))),
        };
        let content = Content::Adopted(Box::new(adopted));
        let len = content.encode().len();
        if len > PAYLOAD_LEN_MAX {
            return Ok(Err(Refusal::TooLong { len, max: PAYLOAD_LEN_MAX }));
        }
        self.publish(room, Intent::Say(content))
    }
}

/// Whether somebody whose content counts stands for a message already.
fn adopted_already(store: &Store, here: (RoomNumber, &RoomState), message: EventId) -> Result<bool, StorageError> {
    for event in store.relations(here.0, message, RELATIONS_MAX)? {
        if Store::quoted(&event).is_some_and(|adopted| adopted.message == message)
            && effective::author_in(store, here, &event)?.is_some()
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The user who wrote the message for which an event stands. `None` while it is not to be shown: the message counts by
/// itself, was erased, or its author's device is not known here.
///
/// # Errors
/// `StorageError`.
pub fn shown_author(store: &Store, view: &RoomView, adopted: &Adopted) -> Result<Option<UserId>, StorageError> {
    let log = adopted.log();
    if view.state.erasure(&log, adopted.seq(), adopted.message).is_some() {
        return Ok(None);
    }
    if let Some(message) = store.event_by_id(adopted.message)?
        && effective::author_of(store, view, &message)?.is_some()
    {
        return Ok(None);
    }
    Ok(view.state.speaker(log.author, log.grant))
}

/// Why a content event that is held does not count; `None` when it does.
///
/// # Errors
/// `StorageError`.
pub fn why_void(store: &Store, view: &RoomView, event: &StoredEvent) -> Result<Option<&'static str>, StorageError> {
    if effective::author_of(store, view, event)?.is_some() {
        return Ok(None);
    }
    Ok(Some(match view.state.content_right(&event.log) {
        Err(NoContent::Void(why)) => why.reason(),
        Err(NoContent::UnknownGrant | NoContent::NotEnrolled) => "what lets its author in is not here",
        Ok(_) => Void::Revoked.reason(),
    }))
}

/// Edits, reactions and adoptions of one message by one log that are looked at.
const RELATIONS_MAX: usize = 64;

//! Messages that screens fold, though they count: folded by who moderates, or sent too soon for slow mode. Their text is
//! told all the same; whoever shows it says why it is folded.

use crate::api::types as api;
use crate::effective;
use crate::handle::{NodeError, NodeHandle};
use crate::local::Intent;
use crate::looks::Seen;
use crate::rooms::RoomView;
use crate::slow::Slow;
use std::collections::HashSet;
use tidings_protocol::content::Content;
use tidings_protocol::event::{Body, Hlc};
use tidings_protocol::id::{EventId, UserId};
use tidings_protocol::moderation::{Hide, may_hide};
use tidings_storage::{StorageError, Store, StoredEvent};

impl NodeHandle {
    /// Folds a message on everybody's screens, or unfolds it.
    ///
    /// # Errors
    /// `NodeError::Refused` for who does not moderate, or is weaker than the message's author.
    pub async fn hide(&self, event: &str, hidden: bool) -> Result<api::Sent, NodeError> {
        let (room, target) = self.event(event)?;
        self.sent(room, Intent::Say(Content::Hide(Hide { target, hidden }))).await
    }

    /// Of these messages, ascending by place, those that came too soon for slow mode.
    pub(crate) fn too_soon(&self, view: &RoomView, messages: &[StoredEvent]) -> Result<HashSet<EventId>, NodeError> {
        match Slow::of(&self.manager.store, view.number, &view.state)? {
            Some(slow) => Ok(slow.too_soon(messages)?),
            None => Ok(HashSet::new()),
        }
    }

    /// Marks a message that screens fold.
    pub(crate) fn fold(
        &self,
        view: &RoomView,
        message: &mut api::Message,
        (target, author): (EventId, UserId),
        seen: Seen,
    ) -> Result<(), NodeError> {
        if message.erased || message.hidden.is_some() {
            return Ok(());
        }
        let by = if seen.talked_of { folded_by(&self.manager.store, view, target, author)? } else { None };
        if let Some(by) = by {
            message.hidden = Some(api::HIDDEN_BY_MODERATOR.to_owned());
            message.hidden_by = Some(by.to_string());
            message.hidden_by_name = Some(self.name_in(view, by)?);
        } else if seen.too_soon {
            message.hidden = Some(api::HIDDEN_BY_SLOW_MODE.to_owned());
        }
        Ok(())
    }
}

/// Who folds a message of this author, if anybody does: of those who may now, the last to have said so counts.
///
/// # Errors
/// `StorageError`.
pub(crate) fn folded_by(
    store: &Store,
    view: &RoomView,
    target: EventId,
    author: UserId,
) -> Result<Option<UserId>, StorageError> {
    let mut newest: Option<((Hlc, EventId), UserId, bool)> = None;
    for event in store.hides(view.number, target, HIDES_MAX)? {
        let Body::Kept(payload) = &event.body else { continue };
        let Ok(Content::Hide(hide)) = Content::decode(event.kind, &payload.bytes) else { continue };
        let Some(by) = effective::author_of(store, view, &event)? else { continue };
        let at = (event.hlc, event.id);
        let is_newer = newest.as_ref().is_none_or(|(newest, ..)| at > *newest);
        if hide.target == target && is_newer && may_hide(&view.state, by, author) {
            newest = Some((at, by, hide.hidden));
        }
    }
    Ok(newest.and_then(|(_, by, hidden)| hidden.then_some(by)))
}

/// Events that fold or unfold one message that are looked at, the last to arrive first: who moderates can always say so
/// again, however many others have said that they may not.
const HIDES_MAX: usize = 256;

//! What people type for a room or a message: a name of this node's, an id, or an unambiguous beginning of one.

use crate::handle::{NodeError, NodeHandle};
use crate::people::PeopleError;
use crate::rooms::{RoomView, Views};
use std::sync::Arc;
use tidings_protocol::id::{EventId, RoomId, UserId};
use tidings_storage::Store;

/// The room of an alias, id or beginning of an id. A room that one may not see and none at all have one answer.
///
/// # Errors
/// `NodeError::NotFound`, `NodeError::Ambiguous`.
pub fn room(views: &Views, text: &str) -> Result<(RoomId, Arc<RoomView>), NodeError> {
    if let Some(found) = views.of_alias(text) {
        return Ok(found);
    }
    if let Some(found) = text.parse().ok().and_then(|id| Some((id, views.find(id)?))) {
        return Ok(found);
    }
    let all = if text.len() >= PREFIX_LEN_MIN { views.all() } else { Vec::new() };
    let begins: Vec<&(RoomId, Arc<RoomView>)> = all.iter().filter(|(id, _)| id.to_string().starts_with(text)).collect();
    match begins.as_slice() {
        [one] => Ok((*one).clone()),
        [] => Err(NodeError::NotFound(format!(
            "there is no room \"{text}\" here: `tidings room list` shows those there are"
        ))),
        many => Err(NodeError::Ambiguous {
            given: text.to_owned(),
            candidates: many.iter().map(|(id, v)| format!("{} ({id})", v.row.alias)).collect(),
        }),
    }
}

/// The user of an id, of a pet name, of a name at a domain, or of what one who is or was in the room is called there.
///
/// # Errors
/// `NodeError::NotFound`, `NodeError::Ambiguous`, and why a domain did not tell.
pub async fn user(node: &NodeHandle, view: &RoomView, text: &str) -> Result<UserId, NodeError> {
    match node.user(text).await {
        Err(NodeError::People(PeopleError::Nobody(_))) => in_room(node, view, text),
        other => other,
    }
}

fn in_room(node: &NodeHandle, view: &RoomView, text: &str) -> Result<UserId, NodeError> {
    let mut called = Vec::new();
    for user in view.state.members.keys().copied().chain(view.state.removed()) {
        if node.name_in(view, user)? == text {
            called.push(user);
        }
    }
    match called.as_slice() {
        // Who only looks like another is meant by nobody who types a name.
        [one] => match node.doubles(view)?.of(*one) {
            Some(other) => Err(NodeError::Ambiguous {
                given: text.to_owned(),
                candidates: vec![one.to_string(), format!("{other} (the first one who was called so)")],
            }),
            None => Ok(*one),
        },
        [] => Err(NodeError::NotFound(format!(
            "nobody is called \"{text}\" in this room: `tidings room members` shows who is there"
        ))),
        many => {
            let candidates = many.iter().take(CANDIDATES_MAX).map(ToString::to_string).collect();
            Err(NodeError::Ambiguous { given: text.to_owned(), candidates })
        }
    }
}

/// The event of an id or beginning of an id, and its room.
///
/// # Errors
/// `NodeError::NotFound`, `NodeError::Ambiguous`.
pub fn event(store: &Store, text: &str) -> Result<(RoomId, EventId), NodeError> {
    let candidates = match text.parse::<EventId>() {
        Ok(id) => vec![id],
        Err(_) if text.len() >= PREFIX_LEN_MIN => store.ids_beginning(text, CANDIDATES_MAX)?,
        Err(_) => Vec::new(),
    };
    let none = || NodeError::NotFound(format!("there is no message \"{text}\" here"));
    match candidates.as_slice() {
        [id] => {
            let event = store.event_by_id(*id)?.ok_or_else(none)?;
            let row = store.room(event.room)?.ok_or_else(none)?;
            Ok((row.room, *id))
        }
        [] => Err(none()),
        many => Err(NodeError::Ambiguous {
            given: text.to_owned(),
            candidates: many.iter().map(ToString::to_string).collect(),
        }),
    }
}

/// Fewer characters of an id are no way to name anything.
const PREFIX_LEN_MIN: usize = 4;
const CANDIDATES_MAX: usize = 8;

//! How a message looks by what was said of it: its edits and reactions.

use crate::effective;
use crate::handle::{NodeError, NodeHandle};
use crate::rooms::RoomView;
use std::collections::BTreeMap;
use tidings_protocol::content::{Content, Text};
use tidings_protocol::event::{Body, Hlc};
use tidings_protocol::id::{EventId, UserId};

/// What was found out of a message before it is made, of a page at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    /// It came too soon for slow mode.
    pub(crate) too_soon: bool,
    /// Something may have been said of it: an edit, a reaction, or what folds it.
    pub(crate) talked_of: bool,
}

/// What edits and reactions make of a message.
#[derive(Default)]
pub(crate) struct Looks {
    /// What it says now, if it was changed.
    pub(crate) text: Option<Text>,
    /// Who reacts, by what.
    pub(crate) reactions: BTreeMap<String, Vec<String>>,
}

impl NodeHandle {
    /// What edits and reactions make of a message: of each kind the newest of a user counts.
    pub(crate) fn looks(&self, view: &RoomView, target: EventId, author: UserId) -> Result<Looks, NodeError> {
        let mut edit: Option<((Hlc, EventId), Text)> = None;
        let mut reactions: BTreeMap<(String, UserId), ((Hlc, EventId), bool)> = BTreeMap::new();
        for event in self.manager.store.relations(view.number, target, RELATIONS_MAX)? {
            let Some(user) = effective::author_of(&self.manager.store, view, &event)? else { continue };
            let Body::Kept(payload) = &event.body else { continue };
            if self.hidden(view, user, event.log.author, event.hlc)?.is_some() {
                continue;
            }
            let at = (event.hlc, event.id);
            match Content::decode(event.kind, &payload.bytes) {
                Ok(Content::Edit { target: t, text })
                    if t == target && user == author && edit.as_ref().is_none_or(|(newest, _)| at > *newest) =>
                {
                    edit = Some((at, text));
                }
                Ok(Content::Reaction { target: t, emoji, removed })
                    if t == target && !self.manager.people.is_blocked(user) =>
                {
                    let newest = reactions.entry((emoji, user)).or_insert((at, removed));
                    if at > newest.0 {
                        *newest = (at, removed);
                    }
                }
                _ => {}
            }
        }
        let mut looks = Looks { text: edit.map(|(_, text)| text), reactions: BTreeMap::new() };
        for ((emoji, user), (_, removed)) in reactions {
            if !removed {
                looks.reactions.entry(emoji).or_default().push(user.to_string());
            }
        }
        Ok(looks)
    }
}

/// Edits and reactions of one message by one log that are looked at.
const RELATIONS_MAX: usize = 64;

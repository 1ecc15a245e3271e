//! Pages of a room that show only some of its messages: what is unread, what is for the local user, a thread.

use crate::api::types as api;
use crate::handle::{NodeError, NodeHandle};
use crate::inbox::LAST;
use crate::inbox::shown::{Shown, root_of};
use crate::page::From;
use crate::rooms::RoomView;
use std::collections::BTreeSet;
use tidings_protocol::content::Content;
use tidings_protocol::id::{EventId, UserId};
use tidings_storage::{At, Direction, Position, StoredEvent};

/// Which messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Those of others after the read marker.
    Unread,
    /// Those that name the local user or answer theirs.
    Mentions,
    /// The thread that a message began or is in.
    Thread(EventId),
}

/// Messages found, and what it took.
struct Found {
    events: Vec<StoredEvent>,
    limit: usize,
    looked_at: usize,
}

impl NodeHandle {
    /// At most `limit` such messages of a room, oldest first. Without a place to read from: the first that are unread; the
    /// newest of the others.
    ///
    /// # Errors
    /// `NodeError::NotFound` for an event that is not here.
    pub fn page_of(
        &self,
        view: &RoomView,
        which: Which,
        from: From,
        limit: usize,
    ) -> Result<Vec<api::Line>, NodeError> {
        let ended = self.ended_users();
        let events = match which {
            Which::Unread => self.unread(view, &ended, from, limit)?,
            Which::Mentions => self.mentions(view, &ended, from, limit)?,
            Which::Thread(event) => {
                let held = self.manager.store.event_by_id(event)?.filter(|event| event.room == view.number);
                // The first message of a thread need not be here, nor may it ever come.
                let root = held.as_ref().and_then(|event| root_of(said(event).as_ref())).unwrap_or(event);
                if held.is_none()
                    && self.manager.store.replies(view.number, root, LAST, Direction::Older, 1)?.is_empty()
                {
                    return Err(NodeError::NotFound(format!("there is no message \"{event}\" in this room")));
                }
                self.in_thread(view, &ended, root, (from, limit))?
            }
        };
        self.lines(view, events)
    }

    fn unread(
        &self,
        view: &RoomView,
        ended: &BTreeSet<UserId>,
        from: From,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, NodeError> {
        let read = Position { clock: view.row.read_clock, tie: [0xff; 8] };
        let (mut at, direction) = match from {
            From::Newest => (read, Direction::Newer),
            From::After(id) => (self.position(id)?.max(read), Direction::Newer),
            From::Before(id) => (self.position(id)?, Direction::Older),
        };
        let mut found = Found::new(limit);
        while found.goes_on() {
            let places = self.manager.store.timeline(view.number, at, direction, PLACES_AT_ONCE)?;
            let is_last = places.len() < PLACES_AT_ONCE;
            for place in places {
                at = place.position;
                if at <= read {
                    return Ok(found.ascending(direction));
                }
                let said = self.look(view, ended, |shown| Ok(shown.at(&place)?.filter(|said| shown.is_news(said))))?;
                found.take(said.map(|said| said.event));
            }
            if is_last {
                break;
            }
        }
        Ok(found.ascending(direction))
    }

    fn mentions(
        &self,
        view: &RoomView,
        ended: &BTreeSet<UserId>,
        from: From,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, NodeError> {
        let (mut before, after) = match from {
            From::Newest => (LAST, (0, 0)),
            From::Before(id) => (self.place(id)?, (0, 0)),
            From::After(id) => (LAST, self.place(id)?),
        };
        // The index lies newest first: what comes next after a place is the end of what lies before it.
        let wanted = if after == (0, 0) { limit } else { MENTIONS_AFTER_MAX };
        let mut found = Found::new(wanted);
        'rows: while found.goes_on() {
            let rows = self.manager.store.mentions_in(view.number, before, PLACES_AT_ONCE)?;
            for row in &rows {
                let at = (row.clock, row.number);
                if at <= after {
                    break 'rows;
                }
                if at != before {
                    let said = self.look(view, ended, |shown| shown.for_the_user(row.number))?;
                    found.take(said.map(|(said, _)| said.event));
                }
                before = at;
            }
            if rows.len() < PLACES_AT_ONCE {
                break;
            }
        }
        let mut events = found.ascending(Direction::Older);
        events.truncate(limit);
        Ok(events)
    }

    fn in_thread(
        &self,
        view: &RoomView,
        ended: &BTreeSet<UserId>,
        root: EventId,
        (from, limit): (From, usize),
    ) -> Result<Vec<StoredEvent>, NodeError> {
        // Where the first message stands says nothing: clocks differ, and it comes before its answers.
        let (mut at, direction): (At, Direction) = match from {
            From::Newest => (LAST, Direction::Older),
            From::After(id) if id == root => ((0, 0), Direction::Newer),
            From::After(id) => (self.place(id)?, Direction::Newer),
            From::Before(id) if id == root => return Ok(Vec::new()),
            From::Before(id) => (self.place(id)?, Direction::Older),
        };
        let message = |shown: &Shown<'_>, number| Ok(shown.message(number)?.map(|said| said.event));
        let mut found = Found::new(limit);
        while found.goes_on() {
            let replies = self.manager.store.replies(view.number, root, at, direction, PLACES_AT_ONCE)?;
            for (clock, number) in &replies {
                at = (*clock, *number);
                found.take(self.look(view, ended, |shown| message(shown, *number))?);
            }
            if replies.len() < PLACES_AT_ONCE {
                if direction == Direction::Older
                    && let Some(number) = self.manager.store.number_of(root)?
                {
                    found.take(self.look(view, ended, |shown| message(shown, number))?);
                }
                break;
            }
        }
        Ok(found.ascending(direction))
    }
}

impl Found {
    fn new(limit: usize) -> Self {
        Found { events: Vec::new(), limit, looked_at: 0 }
    }

    fn goes_on(&self) -> bool {
        self.events.len() < self.limit && self.looked_at < LOOKED_AT_MAX
    }

    fn take(&mut self, event: Option<StoredEvent>) {
        self.looked_at += 1;
        if self.events.len() < self.limit {
            self.events.extend(event);
        }
    }

    fn ascending(mut self, direction: Direction) -> Vec<StoredEvent> {
        if direction == Direction::Older {
            self.events.reverse();
        }
        self.events
    }
}

/// What an event says, or the message that it quotes.
fn said(event: &StoredEvent) -> Option<Content> {
    match event.content()? {
        Content::Adopted(adopted) => adopted.said(),
        content => Some(content),
    }
}

const PLACES_AT_ONCE: usize = 100;
/// Places that one page looks at, where most are not to be shown.
const LOOKED_AT_MAX: usize = 20_000;
/// Mentions newer than a place that are looked through for those next to it.
const MENTIONS_AFTER_MAX: usize = 5_000;

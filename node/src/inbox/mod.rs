//! What waits for the local user: unread messages, messages that name them or answer theirs, and threads. The indexes are
//! only where to look; whatever is told of them is what counts and shows at that moment.

pub mod pages;
mod recount;
pub mod shown;
pub mod tally;

use crate::api::inbox as api;
use crate::api::types::Message;
use crate::effective;
use crate::handle::{NodeError, NodeHandle};
use crate::rooms::RoomView;
use shown::Shown;
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use tidings_protocol::event::Hlc;
use tidings_protocol::id::{EventId, UserId};
use tidings_storage::{At, Direction, RoomNumber, StorageError, Summary, Why};

impl NodeHandle {
    /// Looks at a room as the local user sees it.
    pub(crate) fn look<T>(
        &self,
        view: &RoomView,
        ended: &BTreeSet<UserId>,
        look: impl FnOnce(&Shown<'_>) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let is_blocked = |user| self.manager.people.is_blocked(user);
        let (store, views, user) = (&self.manager.store, &self.manager.views, self.manager.keys.user);
        look(&Shown { store, views, view, user, is_blocked: &is_blocked, ended })
    }

    /// What the room list says of a room: as it is kept, or counted where that is out of date.
    pub(crate) fn summary(&self, view: &RoomView, ended: &BTreeSet<UserId>) -> Result<Summary, StorageError> {
        match view.summary.stale {
            false => Ok(view.summary),
            true => self.look(view, ended, |shown| shown.summary()),
        }
    }

    /// Users who have revoked a device of theirs.
    pub(crate) fn ended_users(&self) -> BTreeSet<UserId> {
        tally::ended_users(&self.manager.views)
    }

    /// Messages of all rooms that name the local user or answer theirs, newest first, before a message; where that is
    /// asked for, only those after the read markers.
    ///
    /// # Errors
    /// `NodeError::NotFound` for an event that is not here.
    pub fn inbox(&self, before: Option<EventId>, unread: bool, limit: usize) -> Result<Vec<api::InboxLine>, NodeError> {
        let mut before = match before {
            Some(id) => self.place(id)?,
            None => LAST,
        };
        let ended = self.ended_users();
        let mut rooms: HashMap<RoomNumber, Option<Arc<RoomView>>> = HashMap::new();
        let (mut lines, mut looked_at) = (Vec::new(), 0);
        while lines.len() < limit && looked_at < LOOKED_AT_MAX {
            let rows = self.manager.store.mentions(before, ROWS_AT_ONCE)?;
            looked_at += ROWS_AT_ONCE;
            for row in &rows {
                let is_other = before.1 != row.number;
                before = (row.clock, row.number);
                let view = match rooms.entry(row.room) {
                    Entry::Occupied(found) => found.into_mut(),
                    Entry::Vacant(new) => new.insert(self.view_of(row.room)?),
                };
                let Some(view) = view.as_ref().filter(|view| is_other && !view.row.left) else { continue };
                let is_unread = row.clock > view.row.read_clock;
                if unread && !is_unread {
                    continue;
                }
                if let Some(line) = self.inbox_line(view, &ended, row.number, is_unread)? {
                    lines.push(line);
                }
                if lines.len() >= limit {
                    break;
                }
            }
            if rows.len() < ROWS_AT_ONCE {
                break;
            }
        }
        Ok(lines)
    }

    fn inbox_line(
        &self,
        view: &RoomView,
        ended: &BTreeSet<UserId>,
        number: u64,
        unread: bool,
    ) -> Result<Option<api::InboxLine>, NodeError> {
        let Some((said, why)) = self.look(view, ended, |shown| shown.for_the_user(number))? else { return Ok(None) };
        let Some(message) = self.message_of(view, said.event.id)? else { return Ok(None) };
        let why = why.into_iter().map(|why| why_name(why).to_owned()).collect();
        Ok(Some(api::InboxLine { message, why, unread, alias: view.row.alias.clone() }))
    }

    /// Threads of a room, those with the newest replies first, before the thread of a message.
    ///
    /// # Errors
    /// `NodeError::NotFound` for an event that is not here.
    pub fn threads(
        &self,
        view: &RoomView,
        before: Option<EventId>,
        limit: usize,
    ) -> Result<Vec<api::Thread>, NodeError> {
        let store = &self.manager.store;
        let mut before = match before {
            Some(root) => {
                let newest = store.replies(view.number, root, LAST, Direction::Older, 1)?;
                let none = || NodeError::NotFound(format!("no thread begins with \"{root}\" here"));
                Some((newest.first().ok_or_else(none)?.0, root))
            }
            None => None,
        };
        let ended = self.ended_users();
        let (mut threads, mut looked_at) = (Vec::new(), 0);
        while threads.len() < limit && looked_at < LOOKED_AT_MAX {
            let roots = store.threads(view.number, before, limit)?;
            looked_at += limit;
            for (_, root) in &roots {
                if threads.len() < limit {
                    threads.extend(self.thread(view, &ended, *root)?);
                }
            }
            before = roots.last().copied();
            if roots.len() < limit {
                break;
            }
        }
        Ok(threads)
    }

    /// One thread; `None` where no reply of it shows.
    fn thread(
        &self,
        view: &RoomView,
        ended: &BTreeSet<UserId>,
        root: EventId,
    ) -> Result<Option<api::Thread>, NodeError> {
        let read = view.row.read_clock;
        let (mut newest, mut count, mut unread) = (None, 0, 0);
        let replies = self.manager.store.replies(view.number, root, LAST, Direction::Older, REPLIES_MAX)?;
        for (clock, number) in replies {
            let Some(said) = self.look(view, ended, |shown| shown.message(number))?.filter(|said| said.has_words)
            else {
                continue;
            };
            count += 1;
            unread += usize::from(clock > read && said.user != self.manager.keys.user);
            newest.get_or_insert((clock, said.user));
        }
        let Some((clock, user)) = newest else { return Ok(None) };
        Ok(Some(api::Thread {
            root: root.to_string(),
            first: self.message_of(view, root)?,
            replies: count,
            unread,
            last_ms: Hlc(clock).ms(),
            last_user: user.to_string(),
            last_name: self.name_in(view, user)?,
        }))
    }

    /// Says of a message whom it names, and why it is for the local user.
    pub(crate) fn name_readers(
        &self,
        view: &RoomView,
        message: &mut Message,
        (author, mentions, answers): (UserId, &[UserId], Option<EventId>),
    ) -> Result<(), NodeError> {
        message.mentions = mentions.iter().map(ToString::to_string).collect();
        let me = self.manager.keys.user;
        if author == me {
            return Ok(());
        }
        if mentions.contains(&me) {
            message.for_you.push(why_name(Why::Mention).to_owned());
        }
        if let Some(target) = answers
            && let Some(answered) = self.manager.store.event_by_id(target)?
            && effective::author_of(&self.manager.store, view, &answered)? == Some(me)
        {
            message.for_you.push(why_name(Why::Reply).to_owned());
        }
        Ok(())
    }

    /// The view of a room by its number, while it is here.
    fn view_of(&self, room: RoomNumber) -> Result<Option<Arc<RoomView>>, StorageError> {
        let row = self.manager.store.room(room)?;
        Ok(row.and_then(|row| self.manager.views.find(row.room)))
    }

    /// Where an event stands in the indexes.
    pub(crate) fn place(&self, id: EventId) -> Result<At, NodeError> {
        let event = self.manager.store.event_by_id(id)?;
        let none = || NodeError::NotFound(format!("there is no message \"{id}\" here"));
        event.map(|event| (event.clock, event.number)).ok_or_else(none)
    }
}

/// What the API calls it.
pub(crate) fn why_name(why: Why) -> &'static str {
    match why {
        Why::Mention => "mention",
        Why::Reply => "reply",
    }
}

/// After everything.
pub(crate) const LAST: At = (u64::MAX, u64::MAX);
/// Rows of an index read in one go.
const ROWS_AT_ONCE: usize = 100;
/// Rows that one answer looks at, where most are not to be shown.
const LOOKED_AT_MAX: usize = 20_000;
/// Replies of one thread that are counted.
const REPLIES_MAX: usize = 1000;

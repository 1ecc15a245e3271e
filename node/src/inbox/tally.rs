//! What the writer keeps of unread messages, mentions and threads, in the batch of the events themselves. A message that
//! simply comes is added up; after anything that a sum cannot follow (a cut, an erasure, an edit, a read marker) the room's
//! summary is stale: it is counted anew (`shown.rs`) by whoever asks, and by the writer once it has nothing else to do.

use crate::effective;
use crate::inbox::shown::{Shown, UNREAD_MAX, root_of};
use crate::rooms::{RoomView, Rooms, Views};
use std::collections::{BTreeSet, HashMap, HashSet};
use tidings_protocol::content::{Content, Text};
use tidings_protocol::control::state::RoomState;
use tidings_protocol::event::Class;
use tidings_protocol::id::{EventId, RoomId, UserId};
use tidings_storage::{
    At, Batch, Direction, Durability, Entry, Mention, Placed, RoomNumber, StorageError, Store, Summary, Waiting, Why,
    Writer,
};

/// What the writer knows of the local user and of what this batch brings.
#[derive(Debug, Default)]
pub struct Tally {
    user: Option<UserId>,
    blocked: BTreeSet<UserId>,
    /// Users who have revoked a device, as far as their self-rooms are here.
    ended: BTreeSet<UserId>,
    /// Whether anything held is about an event that is not.
    waits: bool,
    /// Own messages of this batch.
    own: HashSet<EventId>,
    /// What this batch brings about events that are not here.
    waiting: HashMap<(RoomNumber, EventId), Vec<(At, Waiting)>>,
    /// The newest reply of each thread that this batch touches.
    newest: HashMap<(RoomNumber, EventId), u64>,
    /// Rooms whose summaries are to be counted anew.
    pub(crate) uncounted: BTreeSet<RoomId>,
}

/// An event to be indexed.
struct New<'e> {
    id: EventId,
    at: At,
    user: Option<UserId>,
    content: Option<&'e Content>,
}

/// What indexing an event found.
#[derive(Default)]
struct Found {
    /// It is for the local user.
    for_the_user: bool,
    /// It changes how others look, or others were here that change how it does.
    changes: bool,
}

impl Tally {
    /// What the store has of it.
    ///
    /// # Errors
    /// `StorageError`.
    pub fn load(store: &Store, user: Option<UserId>) -> Result<Self, StorageError> {
        let people = store.people()?.into_iter().filter(|(_, row)| row.blocked_ms > 0);
        let blocked = people.map(|(user, _)| user).collect();
        Ok(Tally { user, blocked, waits: store.waits_for_any()?, ..Tally::default() })
    }

    /// The local user.
    pub fn user(&self) -> Option<UserId> {
        self.user
    }

    /// The batch is at its end.
    pub(crate) fn settle(&mut self) {
        self.own.clear();
        self.waiting.clear();
        self.newest.clear();
    }

    /// Finds anew who has revoked a device.
    pub(crate) fn look_for_ended(&mut self, views: &Views) {
        self.ended = ended_users(views);
    }

    /// Whether somebody is blocked, or no longer; whether that is news.
    fn set_blocked(&mut self, user: UserId, blocked: bool) -> bool {
        if blocked { self.blocked.insert(user) } else { self.blocked.remove(&user) }
    }

    /// Lists a content event in the indexes.
    fn index(
        &mut self,
        batch: &mut Batch<'_>,
        (room, state): (RoomNumber, &RoomState),
        new: &New<'_>,
    ) -> Result<Found, StorageError> {
        let is_own = new.user.is_some() && new.user == self.user;
        let mut found = Found { changes: self.take_waiting(batch, room, new, is_own)?, for_the_user: false };
        let quoted = match new.content {
            Some(Content::Adopted(adopted)) => adopted.said(),
            _ => None,
        };
        let content = quoted.as_ref().or(new.content);
        if is_own && content.is_some_and(Content::is_message) {
            self.own.insert(new.id);
        }
        if let Some(root) = root_of(content) {
            self.reply(batch, room, root, new.at)?;
        }
        if let Some((text, None)) = content.and_then(Content::words) {
            found.for_the_user = self.names(text);
        }
        match content {
            Some(Content::Reply { .. } | Content::File(_))
                if let Some((text, Some((target, _)))) = content.and_then(Content::words) =>
            {
                let answers = self.answers(batch, (room, state), target, new.at)?;
                if answers && !is_own {
                    batch.put_mention(mention(room, new.at, Why::Reply))?;
                }
                found.for_the_user = answers || self.names(text);
                if self.names(text) && !is_own {
                    batch.put_mention(mention(room, new.at, Why::Mention))?;
                }
                found.for_the_user &= !is_own;
                return Ok(found);
            }
            Some(Content::Edit { target, text }) => {
                found.changes = true;
                let what = if self.names(text) { Waiting::EditThatNames } else { Waiting::Change };
                match place_of(batch, room, *target)? {
                    Some(at) if what == Waiting::EditThatNames => {
                        batch.put_mention(mention(room, at, Why::Mention))?;
                    }
                    Some(_) => {}
                    None => self.wait(batch, room, *target, (new.at, what))?,
                }
            }
            Some(Content::Hide(hide)) => {
                found.changes = true;
                if place_of(batch, room, hide.target)?.is_none() {
                    self.wait(batch, room, hide.target, (new.at, Waiting::Change))?;
                }
            }
            _ => {}
        }
        found.for_the_user &= !is_own;
        if found.for_the_user {
            batch.put_mention(mention(room, new.at, Why::Mention))?;
        }
        Ok(found)
    }

    fn names(&self, text: &Text) -> bool {
        self.user.is_some_and(|user| text.mentions.binary_search(&user).is_ok())
    }

    /// Whether a reply answers the local user; while its target is not here it waits for that.
    fn answers(
        &mut self,
        batch: &mut Batch<'_>,
        (room, state): (RoomNumber, &RoomState),
        target: EventId,
        at: At,
    ) -> Result<bool, StorageError> {
        if self.own.contains(&target) {
            return Ok(true);
        }
        if let Some(event) = batch.store().event_by_id(target)? {
            let author = effective::author_in(batch.store(), (room, state), &event)?;
            let speaker = author.or(state.speaker(event.log.author, event.log.grant));
            return Ok(event.room == room && speaker.is_some() && speaker == self.user);
        }
        if batch.placed(room, target).is_none() {
            self.wait(batch, room, target, (at, Waiting::Reply))?;
        }
        Ok(false)
    }

    fn wait(
        &mut self,
        batch: &mut Batch<'_>,
        room: RoomNumber,
        target: EventId,
        (at, what): (At, Waiting),
    ) -> Result<(), StorageError> {
        self.waits = true;
        self.waiting.entry((room, target)).or_default().push((at, what));
        batch.put_waiting(room, target, at, what)
    }

    /// What was here before the event that it is about; whether there was any.
    fn take_waiting(
        &mut self,
        batch: &mut Batch<'_>,
        room: RoomNumber,
        new: &New<'_>,
        is_own: bool,
    ) -> Result<bool, StorageError> {
        if !self.waits {
            return Ok(false);
        }
        let mut waiting = batch.store().waiting(room, new.id)?;
        waiting.extend(self.waiting.remove(&(room, new.id)).unwrap_or_default());
        for (at, what) in &waiting {
            match what {
                Waiting::EditThatNames => batch.put_mention(mention(room, new.at, Why::Mention))?,
                Waiting::Reply if is_own => batch.put_mention(mention(room, *at, Why::Reply))?,
                Waiting::Reply | Waiting::Change => {}
            }
            batch.drop_waiting(room, new.id, at.1)?;
        }
        Ok(!waiting.is_empty())
    }

    fn reply(&mut self, batch: &mut Batch<'_>, room: RoomNumber, root: EventId, at: At) -> Result<(), StorageError> {
        let known = match self.newest.get(&(room, root)) {
            Some(newest) => Some(*newest),
            None => {
                let last = batch.store().replies(room, root, (u64::MAX, u64::MAX), Direction::Older, 1)?;
                last.first().map(|(clock, _)| *clock)
            }
        };
        batch.put_reply(room, root, at, known)?;
        self.newest.insert((room, root), known.map_or(at.0, |newest| newest.max(at.0)));
        Ok(())
    }
}

impl Rooms {
    /// Takes in what was appended to a content log from this number on.
    ///
    /// # Errors
    /// `StorageError`.
    pub(crate) fn tally(
        &mut self,
        batch: &mut Batch<'_>,
        (room, number): (RoomId, RoomNumber),
        state: &RoomState,
        (entries, first): (&[Entry<'_>], u64),
    ) -> Result<(), StorageError> {
        let Some(log) = entries.first().map(|entry| entry.event.log()) else { return Ok(()) };
        let read_clock = batch.room(number)?.read_clock;
        let right = state.content_right(&log).ok().filter(|right| right.cuts.is_empty()).map(|right| right.user);
        let mut summary = self.find(room).map(|live| live.summary).unwrap_or_default();
        for entry in entries {
            let id = entry.event.id();
            let Some(placed) = batch.placed(number, id).filter(|placed| placed.number >= first) else { continue };
            let new = New { id, at: (placed.clock, placed.number), user: entry.user, content: entry.content };
            let found = self.tally.index(batch, (number, state), &new)?;
            let is_message = match entry.content {
                Some(content) => content.is_message(),
                None => tidings_protocol::content::kind::is_message(entry.event.header().kind),
            };
            summary.stale |= found.changes;
            if is_message && !summary.stale {
                let erased = state.erasure(&log, entry.event.header().seq, id).is_some();
                let plain = matches!(
                    entry.content,
                    Some(Content::Text(_) | Content::Reply { .. } | Content::Imported(_) | Content::File(_))
                );
                match right.filter(|user| plain && !erased && !self.tally.ended.contains(user)) {
                    Some(user) => self.tally.add(&mut summary, (user, placed, found.for_the_user), read_clock),
                    None => summary.stale = true,
                }
            }
        }
        summary.stale |= !summary.complete || batch.lacks(number, &log)?;
        self.set_summary(room, summary);
        Ok(())
    }

    /// Lists an event whose words are back.
    ///
    /// # Errors
    /// `StorageError`.
    pub(crate) fn tally_filled(
        &mut self,
        batch: &mut Batch<'_>,
        (room, number): (RoomId, RoomNumber),
        state: &RoomState,
        (entry, event): (&Entry<'_>, u64),
    ) -> Result<(), StorageError> {
        let at = (entry.event.header().hlc.0, event);
        let new = New { id: entry.event.id(), at, user: entry.user, content: entry.content };
        self.tally.index(batch, (number, state), &new)?;
        self.recount(room);
        Ok(())
    }

    /// The read marker of a room has moved.
    pub fn tally_read(&mut self, room: RoomId, read_clock: u64) {
        let Some(mut summary) = self.find(room).map(|live| live.summary) else { return };
        match !summary.stale && read_clock >= summary.newest {
            true => (summary.unread, summary.mentions) = (0, 0),
            false => summary.stale = true,
        }
        self.set_summary(room, summary);
    }

    /// A room has to be counted anew.
    pub(crate) fn recount(&mut self, room: RoomId) {
        if let Some(summary) = self.find(room).map(|live| live.summary) {
            self.set_summary(room, Summary { stale: true, ..summary });
        }
    }

    /// Counts a room by what is committed, where its sums are out of date.
    ///
    /// # Errors
    /// `StorageError`.
    pub fn count_anew(&mut self, store: &Store, room: RoomId) -> Result<(), StorageError> {
        if let Some(view) = self.views().find(room).filter(|view| view.summary.stale) {
            let summary = self.tally.count(store, self.views(), &view)?;
            self.set_summary(room, summary);
        }
        Ok(())
    }

    /// Somebody is blocked here, or no longer.
    pub fn block(&mut self, user: UserId, blocked: bool) {
        if self.tally.set_blocked(user, blocked) {
            self.recount_all();
        }
    }

    /// Control events came: what counts may be others, and where it is a self-room, what its user says anywhere.
    pub(crate) fn tally_control(&mut self, room: RoomId) {
        self.recount(room);
        let Some(user) = self.views().find(room).and_then(|view| view.row.home_of) else { return };
        for other in self.ids() {
            let knows = self.find(other).is_some_and(|live| live.state.members.contains_key(&user));
            if knows && other != room {
                self.recount(other);
            }
        }
    }

    /// Something waits for an event that went and may come back.
    pub(crate) fn note_waiting(&mut self) {
        self.tally.waits = true;
    }

    /// Everything has to be counted anew.
    pub(crate) fn recount_all(&mut self) {
        for room in self.ids() {
            self.recount(room);
        }
    }
}

impl Tally {
    /// Adds a message that simply came.
    fn add(&self, summary: &mut Summary, (user, placed, for_the_user): (UserId, Placed, bool), read_clock: u64) {
        if !placed.alone || placed.clock == summary.newest {
            summary.stale = true;
            return;
        }
        if self.blocked.contains(&user) {
            return;
        }
        if placed.clock > summary.newest {
            (summary.newest, summary.author) = (placed.clock, Some(user));
        }
        if Some(user) != self.user && placed.clock > read_clock {
            summary.unread = (summary.unread + 1).min(UNREAD_MAX);
            summary.mentions = (summary.mentions + u32::from(for_the_user)).min(UNREAD_MAX);
        }
    }

    /// Counts a room, by what is committed.
    ///
    /// # Errors
    /// `StorageError`.
    fn count(&self, store: &Store, views: &Views, view: &RoomView) -> Result<Summary, StorageError> {
        let user = self.user.unwrap_or(UserId([0; 32]));
        let is_blocked = |user| self.blocked.contains(&user);
        Shown { store, views, view, user, is_blocked: &is_blocked, ended: &self.ended }.summary()
    }
}

/// Users who have revoked a device of theirs, as far as their self-rooms are here.
pub fn ended_users(views: &Views) -> BTreeSet<UserId> {
    let homes = views.all().into_iter().filter(|(_, view)| view.has_genesis && !view.state.takes_nothing_away());
    homes.filter_map(|(_, view)| view.row.home_of).collect()
}

/// Makes the indexes from the events, where they are not there or are another user's.
///
/// # Errors
/// `StorageError`.
pub fn rebuild(writer: &mut Writer, rooms: &mut Rooms) -> Result<(), StorageError> {
    let Some(user) = rooms.tally.user else { return Ok(()) };
    let made_for = [user.as_bytes().as_slice(), &[INDEX_VERSION]].concat();
    if writer.store().note(INDEX_NOTE)?.as_deref() == Some(&made_for) {
        return Ok(());
    }
    let mut batch = writer.begin();
    batch.clear_inbox()?;
    batch.commit(Durability::Buffered)?;
    let (store, mut cursor) = (writer.store().clone(), 0);
    loop {
        let events = store.arrived_since(cursor, EVENTS_AT_ONCE)?;
        let Some(last) = events.last() else { break };
        cursor = last.number;
        let mut batch = writer.begin();
        for event in events.iter().filter(|event| event.log.class == Class::Content) {
            let Some(state) = rooms.of_number(event.room).and_then(|room| rooms.find(room)).map(|r| r.state.clone())
            else {
                continue;
            };
            let content = event.content();
            let user = state.speaker(event.log.author, event.log.grant);
            let new = New { id: event.id, at: (event.clock, event.number), user, content: content.as_ref() };
            rooms.tally.index(&mut batch, (event.room, &state), &new)?;
        }
        batch.commit(Durability::Buffered)?;
        rooms.tally.settle();
    }
    let mut batch = writer.begin();
    batch.put_note(INDEX_NOTE, &made_for)?;
    batch.commit(Durability::Synced)?;
    rooms.recount_all();
    Ok(())
}

fn mention(room: RoomNumber, (clock, number): At, why: Why) -> Mention {
    Mention { room, clock, number, why }
}

/// Where an event stands that is held in this room, or comes with this batch.
fn place_of(batch: &Batch<'_>, room: RoomNumber, id: EventId) -> Result<Option<At>, StorageError> {
    if let Some(placed) = batch.placed(room, id) {
        return Ok(Some((placed.clock, placed.number)));
    }
    let event = batch.store().event_by_id(id)?.filter(|event| event.room == room);
    Ok(event.map(|event| (event.clock, event.number)))
}

/// The note that says whose indexes these are, and how they were made.
pub(crate) const INDEX_NOTE: &str = "inbox";
const INDEX_VERSION: u8 = 1;
/// Events indexed in one batch.
const EVENTS_AT_ONCE: usize = 1000;

//! What this node's operator takes off it for good: rooms, people's words, single events. An act of this node alone: it
//! changes nothing of what counts. The word is kept before anything goes, so that whatever cuts the work short, it is
//! done at the next start; and from that word on nothing of it comes in.
//!
//! `work` is what the handle does, and what goes on at a start; `heads` what peers are told instead.

mod heads;
mod work;

pub use heads::heads_to_tell;
pub(crate) use work::resume;

use crate::clock::now_ms;
use crate::command::Reply;
use crate::refusal::Refusal;
use crate::writer::{Desk, Stored};
use std::collections::BTreeSet;
use tidings_protocol::content::Content;
use tidings_protocol::event::Class;
use tidings_protocol::id::{EventId, RoomId, UserId};
use tidings_protocol::log::Log;
use tidings_storage::{Part, PurgeRow, Purged, RoomNumber, StorageError, Store};

/// What is refused, in the writer's memory.
#[derive(Debug, Default)]
pub struct Purges(BTreeSet<Purged>);

impl Purges {
    /// As the store has them.
    ///
    /// # Errors
    /// `StorageError`.
    pub fn load(store: &Store) -> Result<Self, StorageError> {
        Ok(Purges(store.purges()?.into_iter().map(|(what, _)| what).collect()))
    }

    /// Whether a room is refused.
    pub fn refuses_room(&self, room: RoomId) -> bool {
        self.0.contains(&Purged::Room(room))
    }

    /// Whether what an event says is refused because it puts other words to one that is.
    pub fn refuses_edit(&self, content: Option<&Content>) -> bool {
        matches!(content, Some(Content::Edit { target, .. }) if self.0.contains(&Purged::Event(*target)))
    }

    /// Whether what an event says is refused.
    pub fn refuses_event(&self, user: Option<UserId>, id: EventId) -> bool {
        !self.0.is_empty()
            && (self.0.contains(&Purged::Event(id)) || user.is_some_and(|user| self.0.contains(&Purged::User(user))))
    }
}

/// What is asked of the writer.
pub enum Order {
    /// Keep the word.
    Begin(Purged, Reply<PurgeRow>),
    /// Do a part of the work.
    Part(Work, Reply<Part>),
    /// All of it is done.
    Done(Purged, Reply<()>),
    /// Refuse it no more.
    Undo(Purged, Reply<()>),
}

/// A part of the work.
#[derive(Debug, Clone, Copy)]
pub enum Work {
    /// Rows of a room that nobody finds any more.
    Room(RoomNumber),
    /// What the events of a log say, from a place on.
    Log(RoomId, Log, (u64, u64)),
    /// What of them is refused no more may come back.
    Again(RoomId, Log, (u64, u64)),
    /// What an event and its edits say.
    Event(EventId),
    /// What a user is called in a room.
    Name(RoomId, UserId),
}

impl Desk<'_, '_> {
    pub(crate) fn purge(&mut self, order: Order) -> Result<(), StorageError> {
        match order {
            Order::Begin(what, reply) => {
                let begun = self.begin_purge(what)?;
                self.synced(reply, begun);
            }
            Order::Part(work, reply) => {
                let part = self.purge_part(work)?;
                self.synced(reply, Ok(part));
            }
            Order::Done(what, reply) => {
                if let Some(row) = self.batch.store().purge(what)? {
                    self.batch.put_purge(what, Some(PurgeRow { done: true, room: None, ..row }))?;
                }
                self.synced(reply, Ok(()));
            }
            Order::Undo(what, reply) => {
                self.batch.put_purge(what, None)?;
                self.rooms.purges.0.remove(&what);
                self.synced(reply, Ok(()));
            }
        }
        Ok(())
    }

    fn begin_purge(&mut self, what: Purged) -> Result<Result<PurgeRow, Refusal>, StorageError> {
        if let Some(refusal) = self.not_to_purge(what)? {
            return Ok(Err(refusal));
        }
        let mut row = PurgeRow { since_ms: now_ms(), done: false, room: None };
        if let Purged::Room(room) = what {
            row.room = self.rooms.find(room).map(|live| live.number);
            // Asked for again while the first time is not done: its rows lie under the number of then.
            row.room = row.room.or(self.batch.store().purge(what)?.and_then(|before| before.room));
            if let Some(number) = self.rooms.find(room).map(|live| live.number) {
                self.batch.hide_room(number)?;
                self.rooms.remove(room);
                self.seen.remove(&room);
                self.round.controlled.remove(&room);
                self.round.notices.push(Stored { room_changed: true, ..Stored::nothing(room) });
            }
        }
        self.batch.put_purge(what, Some(row))?;
        self.rooms.purges.0.insert(what);
        Ok(Ok(row))
    }

    fn not_to_purge(&self, what: Purged) -> Result<Option<Refusal>, StorageError> {
        if self.rooms.purges.0.len() >= PURGES_MAX && !self.rooms.purges.0.contains(&what) {
            return Ok(Some(Refusal::NotToPurge("so much is refused already that no more is kept: undo some of it")));
        }
        let why = match what {
            Purged::Room(room) if room == self.keys.self_room() => {
                "this is the room in which your own devices are listed"
            }
            Purged::User(user) if user == self.keys.user => "that is you: tidings erase takes back what you said",
            Purged::Event(id) => match self.batch.store().event_by_id(id)? {
                Some(event) if event.log.class == Class::Control => {
                    "it decides who may do what: without it nobody could say who is in. Purge the room"
                }
                _ => return Ok(None),
            },
            _ => return Ok(None),
        };
        Ok(Some(Refusal::NotToPurge(why)))
    }

    fn purge_part(&mut self, work: Work) -> Result<Part, StorageError> {
        let none = Part { gone: 0, next: None };
        match work {
            Work::Room(number) => {
                let gone = self.batch.purge_room(number, PART_EVENTS)?;
                Ok(Part { gone, next: (gone > 0).then_some((0, 0)) })
            }
            Work::Log(room, log, from) => {
                let Some(number) = self.rooms.find(room).map(|live| live.number) else { return Ok(none) };
                let part = self.batch.purge_log(number, &log, from, PART_EVENTS)?;
                self.turned(room, part.gone);
                Ok(part)
            }
            Work::Again(room, log, from) => {
                let Some(live) = self.rooms.find(room) else { return Ok(none) };
                let user = live.state.speaker(log.author, log.grant);
                let is_refused = |id| self.rooms.purges.refuses_event(user, id);
                self.batch.want_log_again(live.number, &log, from, PART_EVENTS, is_refused)
            }
            Work::Event(id) => {
                let Some(event) = self.batch.store().event_by_id(id)? else { return Ok(none) };
                let gone = self.batch.purge_with_edits(event.room, id)?;
                if let Some(room) = self.rooms.of_number(event.room) {
                    self.rooms.recount(room);
                    self.round.notices.push(Stored { changed: vec![id], ..Stored::nothing(room) });
                }
                Ok(Part { gone, next: None })
            }
            Work::Name(room, user) => {
                if let Some(number) = self.rooms.find(room).map(|live| live.number) {
                    self.batch.purge_profile(number, user)?;
                }
                Ok(none)
            }
        }
    }

    /// Screens have to read a room anew.
    fn turned(&mut self, room: RoomId, gone: u64) {
        if gone > 0 {
            self.rooms.recount(room);
            self.round.notices.push(Stored { turned: true, ..Stored::nothing(room) });
        }
    }
}

/// Events that one part of the work deals with: a batch as large as others, between which the writer does other things.
const PART_EVENTS: usize = 1000;
/// What can be refused at a time: all of it is in memory.
const PURGES_MAX: usize = 10_000;

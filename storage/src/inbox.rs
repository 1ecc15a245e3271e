//! Indexes for who comes back: what a room list says of each room, which messages name the local user or answer theirs,
//! and the replies of each thread. They are written with the events; what of them counts is for the reader to say.
//!
//! Rows of the `inbox` family, told apart by their first byte:
//!
//! ```text
//! s room                          -> Summary
//! m !clock !number why            -> room             newest first, of all rooms
//! r room !clock !number why       ->                  the same of one room
//! w room target number            -> what, clock      what is about an event that is not here yet
//! t room root[..16] clock number  ->                  replies of a thread, oldest first
//! n room !clock root[..16]        -> root             threads, by their newest reply
//! ```

use crate::batch::Batch;
use crate::error::{Damage, StorageError};
use crate::key::{self, RoomNumber};
use crate::schema::Family;
use crate::store::{Row, Store};
use crate::timeline::Direction;
use std::collections::{BTreeMap, BTreeSet};
use tidings_protocol::codec::{Canonical, CodecError, Reader, Writer, decode, encode};
use tidings_protocol::content::{Content, kind};
use tidings_protocol::id::{EventId, UserId};

/// What a room list says of a room without looking into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Messages of others after the read marker; counting stops at a bound.
    pub unread: u32,
    /// Those of them that name the local user or answer theirs.
    pub mentions: u32,
    /// The clock of the newest message; 0 when there is none.
    pub newest: u64,
    /// Who wrote it.
    pub author: Option<UserId>,
    /// Whether nothing of the room is known to be missing.
    pub complete: bool,
    /// It has to be counted anew: something came that a sum cannot follow.
    pub stale: bool,
}

impl Default for Summary {
    fn default() -> Self {
        Summary { unread: 0, mentions: 0, newest: 0, author: None, complete: false, stale: true }
    }
}

/// Why a message is for the local user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// It names them.
    Mention,
    /// It answers a message of theirs.
    Reply,
}

/// A message that may be for the local user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mention {
    /// Its room.
    pub room: RoomNumber,
    /// Its clock on screen.
    pub clock: u64,
    /// Its local number.
    pub number: u64,
    /// Why.
    pub why: Why,
}

/// What is about an event that is not here yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// An edit that names the local user.
    EditThatNames,
    /// Anything else that changes how it looks.
    Change,
    /// An answer.
    Reply,
}

/// A place in an index: a clock, and the local number of the event there.
pub type At = (u64, u64);

/// Where an event of a batch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// Its local number.
    pub number: u64,
    /// Its clock on screen.
    pub clock: u64,
    /// Whether nothing else stands at its place of the timeline.
    pub alone: bool,
}

impl Store {
    /// The summaries of all rooms: one scan.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn summaries(&self) -> Result<Vec<(RoomNumber, Summary)>, StorageError> {
        let row = |row: Result<Row, StorageError>| {
            let (place, row) = row?;
            let summary = decode(&row, SUMMARY_LEN).map_err(|source| Damage::Row { what: "summary", source })?;
            Ok((room_at(&place, 1)?, summary))
        };
        self.scan(Family::Inbox, b"s", b"s")?.map(row).collect()
    }

    /// Messages of all rooms that may be for the local user, newest first, strictly before a place, at most `max`.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn mentions(&self, before: At, max: usize) -> Result<Vec<Mention>, StorageError> {
        let row = |row: Result<Row, StorageError>| {
            let (place, room) = row?;
            let room = RoomNumber(u32::from_be_bytes(room[..].try_into().map_err(|_| Damage::Length("mention"))?));
            mention(room, place.get(1..))
        };
        let rows = self.scan(Family::Inbox, b"m", &down(b"m", before))?.map(row);
        rows.filter(|row| row.as_ref().map_or(true, |m| (m.clock, m.number) != before)).take(max).collect()
    }

    /// The same of one room.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn mentions_in(&self, room: RoomNumber, before: At, max: usize) -> Result<Vec<Mention>, StorageError> {
        let prefix = of_room(b'r', room);
        let row = |row: Result<Row, StorageError>| mention(room, row?.0.get(5..));
        let rows = self.scan(Family::Inbox, &prefix, &down(&prefix, before))?.map(row);
        rows.filter(|row| row.as_ref().map_or(true, |m| (m.clock, m.number) != before)).take(max).collect()
    }

    /// What is about an event that was not here: the place of each, and what it is.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn waiting(&self, room: RoomNumber, target: EventId) -> Result<Vec<(At, Waiting)>, StorageError> {
        let prefix = [of_room(b'w', room).as_slice(), target.as_bytes()].concat();
        let row = |row: Result<Row, StorageError>| {
            let (place, value) = row?;
            let (what, clock) = value.split_first().ok_or(Damage::Length("waiting"))?;
            let number = key::to_number(place.get(37..).unwrap_or_default(), "waiting key")?;
            Ok(((key::to_number(clock, "waiting")?, number), Waiting::of(*what)))
        };
        self.scan(Family::Inbox, &prefix, &prefix)?.take(WAITING_MAX).map(row).collect()
    }

    /// Whether anything is about an event that is not here.
    ///
    /// # Errors
    /// `Rocks`.
    pub fn waits_for_any(&self) -> Result<bool, StorageError> {
        Ok(self.scan(Family::Inbox, b"w", b"w")?.next().transpose()?.is_some())
    }

    /// Replies of a thread strictly beyond a place, in the order of the direction, at most `max`.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn replies(
        &self,
        room: RoomNumber,
        root: EventId,
        from: At,
        direction: Direction,
        max: usize,
    ) -> Result<Vec<At>, StorageError> {
        let prefix = of_thread(room, root);
        let start = [prefix.as_slice(), &from.0.to_be_bytes(), &from.1.to_be_bytes()].concat();
        let row = |row: Result<Row, StorageError>| at(row?.0.get(prefix.len()..).unwrap_or_default());
        let beyond = |row: &Result<At, StorageError>| row.as_ref().map_or(true, |at| *at != from);
        match direction {
            Direction::Newer => self.scan(Family::Inbox, &prefix, &start)?.map(row).filter(beyond).take(max).collect(),
            Direction::Older => {
                self.scan_back(Family::Inbox, &prefix, &start)?.map(row).filter(beyond).take(max).collect()
            }
        }
    }

    /// The threads of a room by their newest reply held, newest first: its clock, and the first message. Strictly after
    /// `before` in that order, at most `max`.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn threads(
        &self,
        room: RoomNumber,
        before: Option<(u64, EventId)>,
        max: usize,
    ) -> Result<Vec<(u64, EventId)>, StorageError> {
        let prefix = of_room(b'n', room);
        let start = match before {
            Some((clock, root)) => thread_place(room, clock, root),
            None => prefix.to_vec(),
        };
        let row = |row: Result<Row, StorageError>| {
            let (place, root) = row?;
            let clock = !key::to_number(place.get(5..13).unwrap_or_default(), "thread key")?;
            Ok((clock, EventId(root[..].try_into().map_err(|_| Damage::Length("thread"))?)))
        };
        let beyond = |row: &Result<_, StorageError>| row.as_ref().map_or(true, |found| Some(*found) != before);
        self.scan(Family::Inbox, &prefix, &start)?.map(row).filter(beyond).take(max).collect()
    }
}

impl Batch<'_> {
    /// The number that the next event of this batch gets.
    pub fn next(&self) -> u64 {
        self.counters.event
    }

    /// Where an event of this batch stands.
    pub fn placed(&self, room: RoomNumber, id: EventId) -> Option<Placed> {
        let new = self.new_events.get(&id)?;
        let alone = self.places.get(&key::timeline(room, new.place)).is_some_and(|place| place.numbers.len() == 1);
        Some(Placed { number: new.number, clock: new.row.clock(), alone })
    }

    /// Keeps what the room list says of a room.
    ///
    /// # Errors
    /// `Rocks`.
    pub fn put_summary(&mut self, room: RoomNumber, summary: &Summary) -> Result<(), StorageError> {
        self.put(Family::Inbox, &of_room(b's', room), &encode(summary))
    }

    /// Lists a message as one that may be for the local user.
    ///
    /// # Errors
    /// `Rocks`.
    pub fn put_mention(&mut self, mention: Mention) -> Result<(), StorageError> {
        let Mention { room, clock, number, why } = mention;
        let why = [why as u8];
        self.put(Family::Inbox, &[down(b"m", (clock, number)).as_slice(), &why].concat(), &room.0.to_be_bytes())?;
        let of_room = down(&of_room(b'r', room), (clock, number));
        self.put(Family::Inbox, &[of_room.as_slice(), &why].concat(), &[])
    }

    /// Remembers what is about an event that is not here; and that is under this number and clock.
    ///
    /// # Errors
    /// `Rocks`.
    pub fn put_waiting(
        &mut self,
        room: RoomNumber,
        target: EventId,
        (clock, number): At,
        what: Waiting,
    ) -> Result<(), StorageError> {
        let value = [&[what as u8], clock.to_be_bytes().as_slice()].concat();
        self.put(Family::Inbox, &waiting(room, target, number), &value)
    }

    /// What it is about has come.
    ///
    /// # Errors
    /// `Rocks`.
    pub fn drop_waiting(&mut self, room: RoomNumber, target: EventId, number: u64) -> Result<(), StorageError> {
        self.delete(Family::Inbox, &waiting(room, target, number))
    }

    /// Lists a reply in its thread, whose newest reply so far has this clock.
    ///
    /// # Errors
    /// `Rocks`.
    pub fn put_reply(
        &mut self,
        room: RoomNumber,
        root: EventId,
        (clock, number): At,
        newest: Option<u64>,
    ) -> Result<(), StorageError> {
        let place = [of_thread(room, root).as_slice(), &clock.to_be_bytes(), &number.to_be_bytes()].concat();
        self.put(Family::Inbox, &place, &[])?;
        if newest.is_some_and(|newest| newest >= clock) {
            return Ok(());
        }
        if let Some(newest) = newest {
            self.delete(Family::Inbox, &thread_place(room, newest, root))?;
        }
        self.put(Family::Inbox, &thread_place(room, clock, root), root.as_bytes())
    }

    /// Forgets all of it, to be made anew from the events.
    ///
    /// # Errors
    /// `Rocks`.
    pub fn clear_inbox(&mut self) -> Result<(), StorageError> {
        for kind in *b"smrwtn" {
            self.delete_all(Family::Inbox, &[kind])?;
        }
        Ok(())
    }

    /// Forgets what is of events that go to save room. A message that an edit of it makes one for the local user is known by
    /// the edit again when it comes back.
    pub(crate) fn drop_inbox(&mut self, room: RoomNumber, gone: &GoneFromInbox) -> Result<bool, StorageError> {
        let (Some((first, _)), Some((last, _))) = (gone.messages.first_key_value(), gone.messages.last_key_value())
        else {
            return Ok(false);
        };
        let mut waits = false;
        let (store, prefix) = (self.store().clone(), of_room(b'r', room));
        for row in store.scan(Family::Inbox, &prefix, &down(&prefix, *last))? {
            let found = mention(room, row?.0.get(5..))?;
            let place = (found.clock, found.number);
            if place < *first {
                break;
            }
            let Some(id) = gone.messages.get(&place) else { continue };
            let why = [found.why as u8];
            self.delete(Family::Inbox, &[down(b"m", place).as_slice(), &why].concat())?;
            self.delete(Family::Inbox, &[down(&prefix, place).as_slice(), &why].concat())?;
            if found.why == Why::Mention {
                for edit in store.relations(room, *id, EDITS_LOOKED_AT)? {
                    if edit.kind == kind::EDIT && !gone.messages.contains_key(&(edit.clock, edit.number)) {
                        self.put_waiting(room, *id, (edit.clock, edit.number), Waiting::EditThatNames)?;
                        waits = true;
                    }
                }
            }
        }
        for (target, number) in &gone.waiting {
            self.drop_waiting(room, *target, *number)?;
        }
        for (root, replies) in &gone.replies {
            self.drop_replies(room, *root, replies)?;
        }
        Ok(waits)
    }

    fn drop_replies(&mut self, room: RoomNumber, root: EventId, gone: &BTreeSet<At>) -> Result<(), StorageError> {
        let prefix = of_thread(room, root);
        for (clock, number) in gone {
            self.delete(Family::Inbox, &[prefix.as_slice(), &clock.to_be_bytes(), &number.to_be_bytes()].concat())?;
        }
        let most = gone.len().saturating_add(1);
        let held = self.store().replies(room, root, (u64::MAX, u64::MAX), Direction::Older, most)?;
        let Some((newest, _)) = held.first() else { return Ok(()) };
        match held.iter().find(|at| !gone.contains(at)) {
            Some((clock, _)) if clock == newest => Ok(()),
            left => {
                self.delete(Family::Inbox, &thread_place(room, *newest, root))?;
                match left {
                    Some((clock, _)) => self.put(Family::Inbox, &thread_place(room, *clock, root), root.as_bytes()),
                    None => Ok(()),
                }
            }
        }
    }

    /// Forgets what is of one room.
    pub(crate) fn clear_inbox_of(&mut self, room: RoomNumber) -> Result<(), StorageError> {
        let mut from = (u64::MAX, u64::MAX);
        loop {
            let mentions = self.store().mentions_in(room, from, CLEARED_AT_ONCE)?;
            for mention in &mentions {
                from = (mention.clock, mention.number);
                for why in [Why::Mention as u8, Why::Reply as u8] {
                    self.delete(Family::Inbox, &[down(b"m", from).as_slice(), &[why]].concat())?;
                }
            }
            if mentions.is_empty() {
                break;
            }
        }
        for kind in *b"srwtn" {
            self.delete_all(Family::Inbox, &of_room(kind, room))?;
        }
        Ok(())
    }
}

/// Events that go to save room, as the indexes know them.
#[derive(Default)]
pub(crate) struct GoneFromInbox {
    messages: BTreeMap<At, EventId>,
    /// Replies, by the first message of their thread.
    replies: BTreeMap<EventId, BTreeSet<At>>,
    /// What they were about, and their numbers.
    waiting: Vec<(EventId, u64)>,
}

impl GoneFromInbox {
    pub(crate) fn take(&mut self, at: At, id: EventId, content: Option<&Content>) {
        self.messages.insert(at, id);
        let Some(content) = content else { return };
        let quoted = match content {
            Content::Adopted(adopted) => adopted.said(),
            _ => None,
        };
        if let Some((_, Some((target, root)))) = quoted.as_ref().unwrap_or(content).words() {
            self.replies.entry(root).or_default().insert(at);
            self.waiting.push((target, at.1));
        }
        self.waiting.extend(content.target().map(|target| (target, at.1)));
    }
}

impl Waiting {
    fn of(byte: u8) -> Self {
        match byte {
            0 => Waiting::EditThatNames,
            1 => Waiting::Change,
            _ => Waiting::Reply,
        }
    }
}

fn of_room(kind: u8, room: RoomNumber) -> [u8; 5] {
    let mut out = [kind; 5];
    out[1..].copy_from_slice(&room.0.to_be_bytes());
    out
}

fn room_at(place: &[u8], at: usize) -> Result<RoomNumber, Damage> {
    let room = place.get(at..at + 4).and_then(|room| room.try_into().ok());
    Ok(RoomNumber(u32::from_be_bytes(room.ok_or(Damage::Length("inbox key"))?)))
}

/// A place in an index that lies newest first.
fn down(prefix: &[u8], (clock, number): At) -> Vec<u8> {
    [prefix, &(!clock).to_be_bytes(), &(!number).to_be_bytes()].concat()
}

fn at(bytes: &[u8]) -> Result<At, StorageError> {
    let (clock, number) = bytes.split_at_checked(8).ok_or(Damage::Length("inbox key"))?;
    Ok((key::to_number(clock, "inbox key")?, key::to_number(number, "inbox key")?))
}

fn mention(room: RoomNumber, rest: Option<&[u8]>) -> Result<Mention, StorageError> {
    let (why, place) = rest.and_then(<[u8]>::split_last).ok_or(Damage::Length("mention key"))?;
    let (clock, number) = at(place)?;
    let why = if *why == Why::Mention as u8 { Why::Mention } else { Why::Reply };
    Ok(Mention { room, clock: !clock, number: !number, why })
}

fn waiting(room: RoomNumber, target: EventId, number: u64) -> Vec<u8> {
    [of_room(b'w', room).as_slice(), target.as_bytes(), &number.to_be_bytes()].concat()
}

fn of_thread(room: RoomNumber, root: EventId) -> Vec<u8> {
    [of_room(b't', room).as_slice(), &root.as_bytes()[..16]].concat()
}

fn thread_place(room: RoomNumber, clock: u64, root: EventId) -> Vec<u8> {
    [of_room(b'n', room).as_slice(), &(!clock).to_be_bytes(), &root.as_bytes()[..16]].concat()
}

impl Canonical for Summary {
    fn write(&self, w: &mut Writer) {
        w.u32(self.unread);
        w.u32(self.mentions);
        w.u64(self.newest);
        w.u8(u8::from(self.author.is_some()));
        self.author.iter().for_each(|author| author.write(w));
        w.u8(u8::from(self.complete));
        w.u8(u8::from(self.stale));
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        let (unread, mentions, newest) = (r.u32()?, r.u32()?, r.u64()?);
        let author = if r.u8()? == 1 { Some(UserId::read(r)?) } else { None };
        Ok(Summary { unread, mentions, newest, author, complete: r.u8()? == 1, stale: r.u8()? == 1 })
    }
}

/// A summary's bytes at most.
const SUMMARY_LEN: usize = 64;
/// Events about one that was not here that are looked at when it comes: more than anybody means, and a flood costs no more.
const WAITING_MAX: usize = 4096;
/// Edits of one message that goes that are looked at.
const EDITS_LOOKED_AT: usize = 64;
/// Mentions of a room that is taken off, read at once.
const CLEARED_AT_ONCE: usize = 1024;

//! Asking for what is missing: newest first, each branch from its top down, the first page of every log before the rest
//! of any, and never more requests under way than the other side has to remember.

use super::{Failure, Holdings, Missing, Output};
use crate::event::Class;
use crate::id::{EventId, RoomId};
use crate::limits::{CHUNK_LEN_MAX, CREDIT_MAX, CREDIT_STEP, FIRST_SLICE_EVENTS, WANTS_MAX};
use crate::log::Tip;
use crate::range::{Range, Vouched};
use crate::wire::{Frame, Handle};
use std::collections::{BTreeMap, BTreeSet};

/// What is under way and what waits to be asked for, of all rooms of a conversation.
#[derive(Debug)]
pub(super) struct Fetcher {
    waiting: BTreeMap<Priority, (RoomId, Missing)>,
    asked: BTreeMap<u32, Asked>,
    tops: BTreeSet<EventId>,
    next_request: u32,
    next_order: u64,
    /// Bytes that the peer may still send; below zero by what its last chunk overdrew.
    window: i64,
    /// Bytes committed whose credit was not returned yet.
    owed: u32,
}

/// Smaller is asked first: first slices, then by clock, newest first, then in order of arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Priority {
    remainder: bool,
    not_hlc: u64,
    order: u64,
}

/// A request under way.
#[derive(Debug)]
struct Asked {
    room: RoomId,
    missing: Missing,
    down_to: u64,
    /// What the next chunk has to end at.
    expected: Tip,
    vouched: Vouched,
    /// Chunks that came and were not dealt with yet.
    pending: u32,
    last_came: bool,
    /// The lowest event dealt with: its predecessor and its seq.
    bottom: Option<(EventId, u64)>,
}

impl Default for Fetcher {
    fn default() -> Self {
        Fetcher {
            waiting: BTreeMap::new(),
            asked: BTreeMap::new(),
            tops: BTreeSet::new(),
            next_request: 1,
            next_order: 0,
            window: i64::from(CREDIT_MAX),
            owed: 0,
        }
    }
}

impl Fetcher {
    /// Whether nothing of this room is under way or waiting.
    pub(super) fn is_idle(&self, room: RoomId) -> bool {
        !self.asked.values().any(|a| a.room == room) && !self.waiting.values().any(|(r, _)| *r == room)
    }

    /// Whether something was asked for and has not come.
    pub(super) fn is_waiting(&self) -> bool {
        self.asked.values().any(|a| !a.last_came)
    }

    /// Adds what is missing; what is being fetched already is passed over.
    pub(super) fn add(&mut self, room: RoomId, missing: Missing) {
        if self.tops.insert(missing.top.id) {
            self.push(room, missing, false);
        }
    }

    /// Drops what waits of a room; what is under way is answered by the peer all the same.
    pub(super) fn forget(&mut self, room: RoomId) {
        let tops = &mut self.tops;
        self.waiting.retain(|_, (r, m)| {
            let keep = *r != room;
            if !keep {
                tops.remove(&m.top.id);
            }
            keep
        });
    }

    fn push(&mut self, room: RoomId, missing: Missing, remainder: bool) {
        self.next_order += 1;
        let priority = Priority { remainder, not_hlc: !missing.hlc.0, order: self.next_order };
        self.waiting.insert(priority, (room, missing));
    }

    /// The next request to send, while few enough are under way. `handle` names the rooms that may be fetched now.
    pub(super) fn next(&mut self, handle: impl Fn(RoomId, Class) -> Option<Handle>) -> Option<Frame> {
        if self.asked.len() >= WANTS_MAX / 2 {
            return None;
        }
        let found = self.waiting.iter().find_map(|(p, (room, m))| Some((*p, handle(*room, m.log.class)?)));
        let (priority, handle) = found?;
        let (room, missing) = self.waiting.remove(&priority)?;
        let down_to = match (missing.log.class, priority.remainder) {
            (Class::Content, false) => missing.top.seq.saturating_sub(FIRST_SLICE_EVENTS - 1).max(missing.above + 1),
            _ => missing.above + 1,
        };
        let request = self.next_request;
        self.next_request = self.next_request.wrapping_add(1);
        let (expected, vouched) = (missing.top, missing.vouched);
        self.asked.insert(
            request,
            Asked { room, missing, down_to, expected, vouched, pending: 0, last_came: false, bottom: None },
        );
        Some(Frame::Want { request, room: handle, log: missing.log, top: missing.top, down_to })
    }

    /// A chunk came.
    pub(super) fn events(&mut self, request: u32, last: bool, chunk: &[u8]) -> Result<Option<Output>, Failure> {
        let asked = self.asked.get_mut(&request).filter(|a| !a.last_came);
        let asked = asked.ok_or(Failure::Unexpected("events that nobody asked for"))?;
        asked.last_came = last;
        if chunk.is_empty() {
            return if last { Ok(None) } else { Err(Failure::Unexpected("an empty chunk")) };
        }
        let bytes = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
        // The sender may overdraw what is left of its credit by one chunk, and then has to wait.
        let allowed = self.window > 0 && chunk.len() <= CHUNK_LEN_MAX;
        if !allowed {
            return Err(Failure::Budget("credit"));
        }
        self.window -= i64::from(bytes);
        let range = Range::inflate(chunk)?;
        let top = asked.expected;
        // Not verified yet; but ranges are verified in order, and a false one ends the conversation.
        asked.expected = Tip { seq: range.first_seq.saturating_sub(1), id: range.prev };
        let vouched = std::mem::replace(&mut asked.vouched, Vouched::ByHash);
        asked.pending += 1;
        Ok(Some(Output::Deliver { request, room: asked.room, log: asked.missing.log, top, vouched, range, bytes }))
    }

    /// A chunk was committed: credit to return, if enough has gathered.
    pub(super) fn delivered(&mut self, request: u32, bytes: u32, bottom: (EventId, u64)) -> Option<Frame> {
        if let Some(asked) = self.asked.get_mut(&request) {
            asked.pending = asked.pending.saturating_sub(1);
            asked.bottom = Some(bottom);
        }
        self.owed = self.owed.saturating_add(bytes);
        if self.owed < CREDIT_STEP && self.window > i64::from(CREDIT_MAX / 2) && self.is_waiting() {
            return None;
        }
        let owed = std::mem::take(&mut self.owed);
        self.window += i64::from(owed);
        (owed > 0).then_some(Frame::Credit(owed))
    }

    /// The room of a request under way.
    pub(super) fn room_of(&self, request: u32) -> Option<RoomId> {
        self.asked.get(&request).map(|a| a.room)
    }

    /// Ends the requests that are answered and dealt with; goes on below where something is still missing.
    /// Returns the rooms of which a request ended.
    pub(super) fn settle(&mut self, held: &dyn Holdings) -> Result<BTreeSet<RoomId>, Failure> {
        let done: Vec<u32> =
            self.asked.iter().filter(|(_, a)| a.last_came && a.pending == 0).map(|(request, _)| *request).collect();
        let mut rooms = BTreeSet::new();
        for request in done {
            let Some(asked) = self.asked.remove(&request) else { continue };
            rooms.insert(asked.room);
            self.tops.remove(&asked.missing.top.id);
            let Some((prev, first_seq)) = asked.bottom else { continue };
            let ended_early = first_seq > asked.down_to;
            if prev == EventId::ZERO || first_seq <= 1 || ended_early || held.holds(prev)? {
                continue;
            }
            // Either the rest after the first slice, or, below what numbers told, a fork whose foot is not known.
            let top = Tip { seq: first_seq - 1, id: prev };
            let above = if top.seq > asked.missing.above {
                asked.missing.above
            } else {
                top.seq - FIRST_SLICE_EVENTS.min(top.seq)
            };
            let rest = Missing { top, above, vouched: Vouched::ByHash, ..asked.missing };
            if self.tops.insert(top.id) {
                self.push(asked.room, rest, true);
            }
        }
        Ok(rooms)
    }
}

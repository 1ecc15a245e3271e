//! Asking for what is missing: newest first, each branch from its top down, the first page of every log before the rest
//! of any, and never more requests under way than the other side has to remember.

use super::serve::cost;
use super::{Failure, Holdings, Missing, Output, Unavailable};
use crate::event::Class;
use crate::id::{EventId, RoomId};
use crate::limits::{
    CHUNK_LEN_MAX, CREDIT_MAX, CREDIT_STEP, FIRST_SLICE_EVENTS, HEADS_MAX, SLICE_EVENTS_MAX, UNKNOWN_HEADS_MAX,
    UNTRUE_MAX, WANTS_MAX,
};
use crate::log::Tip;
use crate::range::{Range, Vouched};
use crate::wire::{Branch, Frame, Handle};
use std::collections::{BTreeMap, BTreeSet};

/// What is under way and what waits to be asked for, of all rooms of a conversation.
#[derive(Debug)]
pub(super) struct Fetcher {
    waiting: BTreeMap<(RoomId, Class), BTreeMap<Priority, Missing>>,
    waiting_count: usize,
    /// Those of authors who may say nothing as far as is known.
    unknown_count: usize,
    asked: BTreeMap<u32, Asked>,
    tops: BTreeSet<EventId>,
    /// Rooms of which something was missing, until nothing of them waits or is under way.
    busy: BTreeSet<RoomId>,
    next_request: u32,
    next_order: u64,
    /// Bytes that the peer may still send; below zero by what its last chunk overdrew.
    window: i64,
    /// Bytes committed whose credit was not returned yet.
    owed: u32,
    /// When something last came of what was asked for, or was asked for while nothing was.
    moved_ms: u64,
    /// Heads that the peer told and then did not have, since it last had one.
    untrue: u32,
}

/// Smaller is asked first: control, oldest first, since what is newer rests on it; then content: first slices, then by
/// clock, newest first; then in order of arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Priority {
    class: Class,
    remainder: bool,
    clock: u64,
    order: u64,
}

/// A request under way.
#[derive(Debug)]
struct Asked {
    /// None once the room is no longer talked of: what comes is passed over.
    room: Option<RoomId>,
    missing: Missing,
    down_to: u64,
    /// What the next chunk has to end at.
    expected: Tip,
    vouched: Vouched,
    /// Chunks that came and were not dealt with yet.
    pending: u32,
    /// One of them was not what it had to be: nothing more is asked below.
    untrue: bool,
    last_came: bool,
    /// The lowest event dealt with: its predecessor and its seq.
    bottom: Option<(EventId, u64)>,
}

impl Default for Fetcher {
    fn default() -> Self {
        Fetcher {
            waiting: BTreeMap::new(),
            waiting_count: 0,
            unknown_count: 0,
            asked: BTreeMap::new(),
            tops: BTreeSet::new(),
            busy: BTreeSet::new(),
            next_request: 1,
            next_order: 0,
            window: i64::from(CREDIT_MAX),
            owed: 0,
            moved_ms: 0,
            untrue: 0,
        }
    }
}

impl Fetcher {
    #[cfg(test)]
    pub(super) fn waiting_count(&self) -> usize {
        assert_eq!(self.waiting_count, self.waiting.values().map(BTreeMap::len).sum::<usize>());
        self.waiting_count
    }

    /// Whether something of this room is under way.
    pub(super) fn is_asking(&self, room: RoomId) -> bool {
        self.asked.values().any(|a| a.room == Some(room))
    }

    /// Whether something of this room and class is under way or waits.
    pub(super) fn has(&self, room: RoomId, class: Class) -> bool {
        let asked = |a: &Asked| a.room == Some(room) && a.missing.log.class == class;
        self.waiting.contains_key(&(room, class)) || self.asked.values().any(asked)
    }

    /// Whether nothing of this room is left, for the first time since something was.
    pub(super) fn takes_rest(&mut self, room: RoomId) -> bool {
        !self.has(room, Class::Control) && !self.has(room, Class::Content) && self.busy.remove(&room)
    }

    /// Since when nothing came of what was asked for.
    pub(super) fn waiting_since_ms(&self) -> Option<u64> {
        self.is_waiting().then_some(self.moved_ms)
    }

    fn is_waiting(&self) -> bool {
        self.asked.values().any(|a| !a.last_came)
    }

    /// Adds what is missing. What is being fetched already is passed over, and what is too much for now: comparing again
    /// will find it.
    pub(super) fn add(&mut self, room: RoomId, missing: Missing) {
        let has_room = missing.known || self.unknown_count < UNKNOWN_HEADS_MAX;
        if self.waiting_count < HEADS_MAX && has_room && self.tops.insert(missing.top.id) {
            self.push(room, missing, false);
        }
    }

    /// Drops what waits of a room; what is under way will be answered, and passed over. Whether there was anything.
    pub(super) fn forget(&mut self, room: RoomId) -> bool {
        for class in [Class::Control, Class::Content] {
            let group = self.waiting.remove(&(room, class)).unwrap_or_default();
            for missing in group.values() {
                self.uncount(missing);
                self.tops.remove(&missing.top.id);
            }
        }
        for asked in self.asked.values_mut().filter(|a| a.room == Some(room)) {
            asked.room = None;
            self.tops.remove(&asked.missing.top.id);
        }
        self.busy.remove(&room)
    }

    fn uncount(&mut self, missing: &Missing) {
        self.waiting_count -= 1;
        self.unknown_count -= usize::from(!missing.known);
    }

    fn push(&mut self, room: RoomId, missing: Missing, remainder: bool) {
        self.next_order += 1;
        let class = missing.log.class;
        let clock = if class == Class::Control { missing.hlc.0 } else { !missing.hlc.0 };
        let priority = Priority { class, remainder, clock, order: self.next_order };
        self.waiting_count += 1;
        self.unknown_count += usize::from(!missing.known);
        self.waiting.entry((room, class)).or_default().insert(priority, missing);
        self.busy.insert(room);
    }

    /// The next request to send, while few enough are under way. `may_ask` names the rooms that may be fetched now; a
    /// room's content waits until nothing is missing of its control logs. What came by another way meanwhile is passed
    /// over, and its room is noted in `passed`.
    pub(super) fn next(
        &mut self,
        may_ask: impl Fn(RoomId, Class) -> Option<Handle>,
        held: &dyn Holdings,
        passed: &mut BTreeSet<RoomId>,
        now_ms: u64,
    ) -> Result<Option<(u32, Handle, Branch)>, Unavailable> {
        while self.asked.len() < WANTS_MAX / 2 {
            let Some((priority, room, handle)) = self.best(&may_ask) else { break };
            let Some(missing) = self.pop(room, priority) else { break };
            let is_held = !priority.remainder && held.holds(room, missing.top.id)?;
            if is_held || !is_wanted(held, room, &missing)? {
                self.tops.remove(&missing.top.id);
                passed.insert(room);
                continue;
            }
            return Ok(Some(self.request(room, handle, priority.remainder, missing, now_ms)));
        }
        Ok(None)
    }

    fn best(&self, may_ask: impl Fn(RoomId, Class) -> Option<Handle>) -> Option<(Priority, RoomId, Handle)> {
        let mut best: Option<(Priority, RoomId, Handle)> = None;
        for ((room, class), group) in &self.waiting {
            let Some((priority, _)) = group.first_key_value() else { continue };
            let is_better = best.is_none_or(|(b, ..)| *priority < b);
            let waits = *class == Class::Content && self.has(*room, Class::Control);
            if is_better
                && !waits
                && let Some(handle) = may_ask(*room, *class)
            {
                best = Some((*priority, *room, handle));
            }
        }
        best
    }

    fn request(
        &mut self,
        room: RoomId,
        handle: Handle,
        remainder: bool,
        missing: Missing,
        now_ms: u64,
    ) -> (u32, Handle, Branch) {
        let lowest = missing.above.saturating_add(1);
        let down_to = match (missing.log.class, remainder) {
            (Class::Content, false) => missing.top.seq.saturating_sub(FIRST_SLICE_EVENTS - 1).max(lowest),
            // Between two slices it may turn out that nobody wants the rest.
            (Class::Content, true) => missing.top.seq.saturating_sub(SLICE_EVENTS_MAX - 1).max(lowest),
            (Class::Control, _) => lowest,
        };
        if !self.is_waiting() {
            self.moved_ms = now_ms;
        }
        let request = self.next_request;
        self.next_request = self.next_request.wrapping_add(1);
        let (top, vouched) = (missing.top, missing.vouched);
        let asked = Asked {
            room: Some(room),
            missing,
            down_to,
            expected: top,
            vouched,
            pending: 0,
            untrue: false,
            last_came: false,
            bottom: None,
        };
        self.asked.insert(request, asked);
        (request, handle, Branch { top, down_to })
    }

    fn pop(&mut self, room: RoomId, priority: Priority) -> Option<Missing> {
        let group = self.waiting.get_mut(&(room, priority.class))?;
        let missing = group.remove(&priority)?;
        if group.is_empty() {
            self.waiting.remove(&(room, priority.class));
        }
        self.uncount(&missing);
        Some(missing)
    }

    /// A chunk came.
    pub(super) fn events(
        &mut self,
        request: u32,
        last: bool,
        chunk: &[u8],
        now_ms: u64,
    ) -> Result<Option<Output>, Failure> {
        let asked = self.asked.get_mut(&request).filter(|a| !a.last_came);
        let asked = asked.ok_or(Failure::Unexpected("events that nobody asked for"))?;
        asked.last_came = last;
        if chunk.is_empty() {
            self.untrue += u32::from(asked.vouched == Vouched::BySignature && asked.room.is_some());
            return match last {
                false => Err(Failure::Unexpected("an empty chunk")),
                true if self.untrue > UNTRUE_MAX => Err(Failure::Budget("heads of which it has no events")),
                true => Ok(None),
            };
        }
        self.moved_ms = now_ms;
        // The sender may overdraw what is left of its credit by one chunk, and then has to wait.
        if self.window <= 0 || chunk.len() > CHUNK_LEN_MAX {
            return Err(Failure::Budget("credit"));
        }
        let bytes = cost(chunk);
        self.window -= i64::from(bytes);
        let Some(room) = asked.room else { return Ok(self.return_credit(bytes).map(Output::Send)) };
        let range = Range::inflate(chunk)?;
        let top = asked.expected;
        // Not verified yet; but ranges are verified in order, and a false one ends the conversation.
        asked.expected = Tip { seq: range.first_seq.saturating_sub(1), id: range.prev };
        let vouched = std::mem::replace(&mut asked.vouched, Vouched::ByHash);
        asked.pending += 1;
        Ok(Some(Output::Deliver { request, room, log: asked.missing.log, top, vouched, range, bytes }))
    }

    /// What a request is of, while its room is talked of.
    pub(super) fn is_of(&self, request: u32) -> Option<(RoomId, Class)> {
        let asked = self.asked.get(&request)?;
        Some((asked.room?, asked.missing.log.class))
    }

    /// What the next chunk of a request has to end at, and in which room.
    pub(super) fn expected(&self, request: u32) -> Option<(RoomId, EventId)> {
        let asked = self.asked.get(&request)?;
        Some((asked.room?, asked.expected.id))
    }

    /// A chunk was dealt with: credit to return, if enough has gathered.
    pub(super) fn delivered(
        &mut self,
        request: u32,
        bytes: u32,
        kept: bool,
        bottom: (EventId, u64),
    ) -> Result<Option<Frame>, Failure> {
        if !kept {
            return self.untrue(request, bytes);
        }
        if let Some(asked) = self.asked.get_mut(&request) {
            asked.pending = asked.pending.saturating_sub(1);
            asked.bottom = Some(bottom);
            self.untrue = 0;
        }
        Ok(self.return_credit(bytes))
    }

    /// A chunk was not what the hash named it to be, or nothing of it could be kept: what is below is not asked for.
    pub(super) fn untrue(&mut self, request: u32, bytes: u32) -> Result<Option<Frame>, Failure> {
        if let Some(asked) = self.asked.get_mut(&request) {
            asked.pending = asked.pending.saturating_sub(1);
            asked.untrue = true;
        }
        self.untrue += 1;
        if self.untrue > UNTRUE_MAX { Err(Failure::Budget("false events")) } else { Ok(self.return_credit(bytes)) }
    }

    fn return_credit(&mut self, bytes: u32) -> Option<Frame> {
        self.owed = self.owed.saturating_add(bytes);
        if self.owed < CREDIT_STEP && self.window > i64::from(CREDIT_MAX / 2) && self.is_waiting() {
            return None;
        }
        let owed = std::mem::take(&mut self.owed);
        self.window += i64::from(owed);
        (owed > 0).then_some(Frame::Credit(owed))
    }

    /// Ends the requests that are answered and dealt with; goes on below where something is still missing.
    /// Returns the rooms of which a request ended.
    pub(super) fn settle(&mut self, held: &dyn Holdings) -> Result<BTreeSet<RoomId>, Failure> {
        let done: Vec<u32> =
            self.asked.iter().filter(|(_, a)| a.last_came && a.pending == 0).map(|(request, _)| *request).collect();
        let mut rooms = BTreeSet::new();
        for request in done {
            let Some(asked) = self.asked.remove(&request) else { continue };
            let Some(room) = asked.room else { continue };
            rooms.insert(room);
            self.tops.remove(&asked.missing.top.id);
            let Some((prev, first_seq)) = asked.bottom.filter(|_| !asked.untrue) else { continue };
            let ended_early = first_seq > asked.down_to;
            if prev == EventId::ZERO || first_seq <= 1 || ended_early || held.holds(room, prev)? {
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
            if is_wanted(held, room, &rest)? && self.tops.insert(top.id) {
                self.push(room, rest, true);
            }
        }
        Ok(rooms)
    }
}

fn is_wanted(held: &dyn Holdings, room: RoomId, missing: &Missing) -> Result<bool, Unavailable> {
    Ok(missing.log.class == Class::Control || held.wants(room, &missing.log, missing.top)?)
}

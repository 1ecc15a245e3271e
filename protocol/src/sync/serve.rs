//! Answering wants: in the order in which they were asked, chunk by chunk, as far as the peer's credit goes.

use super::{Failure, Holdings, Unavailable};
use crate::event::Class;
use crate::id::{EventId, RoomId};
use crate::limits::{CHUNK_COST_MIN, CREDIT_MAX, WANTS_MAX};
use crate::log::{Log, Tip};
use crate::wire::Frame;
use std::collections::VecDeque;

/// A want that is being answered.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) request: u32,
    pub(super) room: RoomId,
    /// The log of its first chunk.
    pub(super) log: Option<Log>,
    pub(super) top: Tip,
    pub(super) down_to: u64,
}

/// What we owe the peer.
#[derive(Debug, Default)]
pub(super) struct Server {
    wanted: VecDeque<Wanted>,
    /// Bytes that the peer is ready to take; below zero by what the last chunk overdrew.
    credit: i64,
}

impl Server {
    /// The peer is ready to take so many more bytes.
    pub(super) fn add_credit(&mut self, bytes: u32) -> Result<(), Failure> {
        self.credit += i64::from(bytes);
        if self.credit > i64::from(CREDIT_MAX) { Err(Failure::Budget("credit")) } else { Ok(()) }
    }

    pub(super) fn want(&mut self, wanted: Wanted) -> Result<(), Failure> {
        if self.wanted.len() >= WANTS_MAX {
            return Err(Failure::Budget("wants"));
        }
        self.wanted.push_back(wanted);
        Ok(())
    }

    /// Whether a chunk would be made if the next was asked for.
    pub(super) fn is_busy(&self) -> bool {
        self.credit > 0 && !self.wanted.is_empty()
    }

    /// Drops the wants of a room; what answers them.
    pub(super) fn forget(&mut self, room: RoomId) -> Vec<Frame> {
        let unanswered = self.wanted.iter().filter(|w| w.room == room).map(|w| not_held(w.request)).collect();
        self.wanted.retain(|w| w.room != room);
        unanswered
    }

    /// The next frame to send, while there is credit, and its room. The last chunk may overdraw what is left: it is at
    /// most one chunk. `sees` says whether the peer may still see what is of a class of a room.
    pub(super) fn next(
        &mut self,
        held: &dyn Holdings,
        sees: impl Fn(RoomId, Class) -> Result<bool, Unavailable>,
    ) -> Result<Option<(RoomId, Frame)>, Failure> {
        if self.credit <= 0 {
            return Ok(None);
        }
        let Some(wanted) = self.wanted.front_mut() else { return Ok(None) };
        let (request, room) = (wanted.request, wanted.room);
        let chunk = if sees(room, Class::Control)? { held.chunk(room, wanted.top, wanted.down_to)? } else { None };
        let class = chunk.as_ref().map_or(Class::Control, |chunk| chunk.log.class);
        let chunk = if sees(room, class)? { chunk } else { None };
        // Where an author named a predecessor of another log, the branch ends.
        let Some(chunk) = chunk.filter(|chunk| wanted.log.is_none_or(|log| log == chunk.log)) else {
            self.wanted.pop_front();
            return Ok(Some((room, not_held(request))));
        };
        let last = chunk.first_seq <= wanted.down_to.max(1) || chunk.prev == EventId::ZERO;
        wanted.log = Some(chunk.log);
        wanted.top = Tip { seq: chunk.first_seq.saturating_sub(1), id: chunk.prev };
        if last {
            self.wanted.pop_front();
        }
        self.credit -= i64::from(cost(&chunk.bytes));
        Ok(Some((room, Frame::Events { request, last, chunk: chunk.bytes })))
    }
}

/// What a chunk takes of the credit: its bytes, and never so little that very many could be under way.
pub(super) fn cost(chunk: &[u8]) -> u32 {
    u32::try_from(chunk.len()).unwrap_or(u32::MAX).max(CHUNK_COST_MIN)
}

fn not_held(request: u32) -> Frame {
    Frame::Events { request, last: true, chunk: Vec::new() }
}

//! Answering wants: in the order in which they were asked, chunk by chunk, as far as the peer's credit goes.

use super::{Failure, Holdings};
use crate::id::{EventId, RoomId};
use crate::limits::{CREDIT_MAX, WANTS_MAX};
use crate::log::{Log, Tip};
use crate::wire::Frame;
use std::collections::VecDeque;

/// A want that is being answered.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) request: u32,
    pub(super) room: RoomId,
    pub(super) log: Log,
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

    pub(super) fn forget(&mut self, room: RoomId) {
        self.wanted.retain(|w| w.room != room);
    }

    /// The next frame to send, while there is credit. The last chunk may overdraw what is left: it is at most one chunk.
    pub(super) fn next(&mut self, held: &dyn Holdings) -> Result<Option<Frame>, Failure> {
        if self.credit <= 0 {
            return Ok(None);
        }
        let Some(wanted) = self.wanted.front_mut() else { return Ok(None) };
        let request = wanted.request;
        let Some(chunk) = held.chunk(wanted.room, &wanted.log, wanted.top, wanted.down_to)? else {
            self.wanted.pop_front();
            return Ok(Some(Frame::Events { request, last: true, chunk: Vec::new() }));
        };
        let last = chunk.first_seq <= wanted.down_to.max(1) || chunk.prev == EventId::ZERO;
        wanted.top = Tip { seq: chunk.first_seq.saturating_sub(1), id: chunk.prev };
        if last {
            self.wanted.pop_front();
        }
        self.credit -= chunk.bytes.len() as i64;
        Ok(Some(Frame::Events { request, last, chunk: chunk.bytes }))
    }
}

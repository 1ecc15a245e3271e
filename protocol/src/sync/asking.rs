//! Asking the peer what it holds at this moment, and its signed answer (`answer.rs`). Comparing tells as much, but not when:
//! two that hold the same say nothing.

use super::budget::PerMinute;
use super::conversation::Conversation;
use super::{Failure, Holdings, Output};
use crate::answer::SignedAnswer;
use crate::id::RoomId;
use crate::limits::{ASKS_HEARD_MAX, ASKS_TOLD_MAX};
use crate::wire::Frame;

/// What was asked of a room.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct AskRoom {
    /// Our last question, until it is answered.
    open: Option<[u8; 16]>,
    told: PerMinute,
    heard: PerMinute,
}

impl AskRoom {
    /// The same budgets, and nothing else.
    pub(super) fn budget(&self) -> AskRoom {
        AskRoom { open: None, ..*self }
    }
}

impl Conversation {
    /// Asks, where the peer would be told as much and was not asked too often.
    pub(super) fn tell_ask(&mut self, id: RoomId, nonce: [u8; 16], held: &dyn Holdings) -> Result<(), Failure> {
        let Some(handle) = self.full_audience(id, held)? else { return Ok(()) };
        let now_ms = self.now_ms;
        let Some(room) = self.rooms.get_mut(&id) else { return Ok(()) };
        if room.asks.told.add(now_ms) <= ASKS_TOLD_MAX {
            room.asks.open = Some(nonce);
            self.send(Frame::Ask { room: handle, nonce });
        }
        Ok(())
    }

    pub(super) fn take_ask(&mut self, id: RoomId, nonce: [u8; 16], held: &dyn Holdings) -> Result<(), Failure> {
        let now_ms = self.now_ms;
        let Some(room) = self.rooms.get_mut(&id) else { return Ok(()) };
        let asks = room.asks.heard.add(now_ms);
        if asks > ASKS_HEARD_MAX * FAULT_TIMES {
            return Err(Failure::Budget("questions"));
        }
        if asks <= ASKS_HEARD_MAX && self.full_audience(id, held)?.is_some() {
            self.out.push_back(Output::Asked { room: id, nonce });
        }
        Ok(())
    }

    pub(super) fn tell_answer(&mut self, id: RoomId, answer: SignedAnswer, held: &dyn Holdings) -> Result<(), Failure> {
        if let Some(room) = self.full_audience(id, held)? {
            self.send(Frame::Answer { room, answer });
        }
        Ok(())
    }

    /// What answers nothing, or what was asked before the last question, is passed over.
    pub(super) fn take_answer(&mut self, id: RoomId, answer: SignedAnswer) {
        let Some(room) = self.rooms.get_mut(&id).filter(|room| room.asks.open == Some(answer.nonce)) else { return };
        room.asks.open = None;
        self.out.push_back(Output::Answered { room: id, answer });
    }
}

/// What is over a budget is passed over; so many times as much is no mistake any more.
const FAULT_TIMES: u32 = 4;

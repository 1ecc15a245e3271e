//! What moderators and user keys write when they take something away, and give it back.

use super::people::Pen;
use tidings_protocol::control::cut::Cut;
use tidings_protocol::control::payload::{Control, Grant, Revoke, RevokeDevice};
use tidings_protocol::control::rank::Rank;
use tidings_protocol::event::{Class, VerifiedEvent};
use tidings_protocol::id::{DeviceId, EventId, RoomId, UserId};
use tidings_protocol::log::Log;

impl Pen {
    pub fn revoke(&mut self, user: UserId, cuts: &[Cut], joins: &[&VerifiedEvent]) -> VerifiedEvent {
        self.rule(Control::Revoke(Revoke { user, cuts: sorted(cuts), joins: ids(joins) }))
    }

    pub fn revoke_device(&mut self, device: DeviceId, cuts: &[Cut]) -> VerifiedEvent {
        self.rule(Control::RevokeDevice(RevokeDevice { device, cuts: sorted(cuts) }))
    }

    pub fn grant_lifting(&mut self, user: UserId, rank: u8, lifts: &[&VerifiedEvent]) -> VerifiedEvent {
        self.rule(Control::Grant(Grant { user, rank: Rank::new(rank).unwrap(), lifts: ids(lifts) }))
    }

    pub fn succeed(&mut self, room: RoomId) -> VerifiedEvent {
        self.rule(Control::Successor(room))
    }
}

/// A cut that keeps a log up to an event.
pub fn up_to(event: &VerifiedEvent) -> Cut {
    Cut { log: event.log(), seq: event.header().seq, ids: vec![event.id()] }
}

/// The same author's content under the same grant.
pub fn content_of(log: Log) -> Log {
    Log { class: Class::Content, ..log }
}

fn sorted(cuts: &[Cut]) -> Vec<Cut> {
    let mut cuts = cuts.to_vec();
    cuts.sort_unstable();
    cuts
}

fn ids(events: &[&VerifiedEvent]) -> Vec<EventId> {
    let mut ids: Vec<EventId> = events.iter().map(|e| e.id()).collect();
    ids.sort_unstable();
    ids
}

//! Leaving a room for good: every device of the user ends there, by the user key, with what it said so far; the user's
//! invites are closed, and the grants left. A Leave alone would end one log under one grant.

use super::revoke::UserPen;
use crate::refusal::Refusal;
use crate::writer::Desk;
use std::collections::{BTreeMap, BTreeSet};
use tidings_protocol::control::payload::{CloseInvite, Control, RevokeDevice};
use tidings_protocol::control::rank::Rank;
use tidings_protocol::control::state::RoomState;
use tidings_protocol::event::Class;
use tidings_protocol::id::{DeviceId, EventId, RoomId, UserId};
use tidings_protocol::identity::RecoveryPhrase;
use tidings_protocol::limits::CLOSE_JOINS_MAX;
use tidings_protocol::log::Log;
use tidings_storage::{RoomNumber, StorageError};

impl Desk<'_, '_> {
    /// Leaves a room, for good where the words are here; the devices that were ended.
    pub(crate) fn leave_for_good(
        &mut self,
        phrase: Option<&RecoveryPhrase>,
        room: RoomId,
    ) -> Result<Result<Vec<DeviceId>, Refusal>, StorageError> {
        let Some((number, state)) = self.rooms.find(room).map(|r| (r.number, r.state.clone())) else {
            return Ok(Err(Refusal::UnknownRoom));
        };
        if self.batch.room(number)?.home_of.is_some() {
            return Ok(Err(Refusal::UnknownRoom));
        }
        if state.needs_newer {
            return Ok(Err(Refusal::NeedsNewer));
        }
        let Some(phrase) = phrase else {
            self.close_own_invites(room, &state)?;
            return Ok(self.leave(room)?.map(|_| Vec::new()));
        };
        let pen = UserPen::of(phrase);
        let devices = self.devices_to_end(&state);
        for (grant, rank) in grants_to_leave(&state, self.keys.user) {
            if self.has_ended(room, number, grant)? {
                continue;
            }
            let mut controls = Vec::new();
            for device in &devices {
                controls.extend(self.closings(&state, *device, grant)?);
            }
            for device in &devices {
                let cuts = self.cuts(room, number, &state, *device, rank)?;
                controls.push(Control::RevokeDevice(RevokeDevice { device: *device, cuts }));
            }
            controls.push(Control::Leave);
            if let Err(refusal) = self.write_all_as_user((room, number), &pen, grant, controls.into_iter())? {
                return Ok(Err(refusal));
            }
        }
        self.change_row(room, |row| (row.left, row.pending) = (true, None))?;
        Ok(Ok(devices))
    }

    /// The user's devices that write in a room, this one last: with its end peers stop to listen to us.
    fn devices_to_end(&self, state: &RoomState) -> Vec<DeviceId> {
        let (user, own) = (self.keys.user, self.keys.device().id());
        let named: BTreeSet<DeviceId> = state.logs_of(user).into_iter().map(|(device, _, _)| device).collect();
        let others = named.iter().copied().filter(|device| *device != own && device.0 != user.0);
        others.chain(named.contains(&own).then_some(own)).collect()
    }

    /// Whether the user key's log under a grant ends with a Leave: nothing counts after it.
    fn has_ended(&self, room: RoomId, number: RoomNumber, grant: EventId) -> Result<bool, StorageError> {
        let log = Log { class: Class::Control, author: self.keys.user.into(), grant };
        let Some(top) = self.batch.top(number, &log)? else { return Ok(false) };
        let last = self.rooms.find(room).and_then(|live| live.control.event(top.id));
        Ok(last.is_some_and(|event| event.control == Control::Leave))
    }

    /// What can be closed without the user key.
    fn close_own_invites(&mut self, room: RoomId, state: &RoomState) -> Result<(), StorageError> {
        let own = state.invites.iter().filter(|(_, invite)| !invite.closed && invite.issuer == self.keys.user);
        let own: Vec<(EventId, Vec<EventId>)> =
            own.map(|(id, invite)| (*id, invite.joins.iter().copied().collect())).collect();
        for (invite, joins) in own {
            let parts = joins.chunks(CLOSE_JOINS_MAX).map(<[EventId]>::to_vec);
            let empty = joins.is_empty().then(Vec::new);
            for joins in parts.chain(empty) {
                // One that may not be closed from here stays; leaving does not wait for it.
                drop(self.rule(room, &Control::CloseInvite(CloseInvite { invite, joins }))?);
            }
        }
        Ok(())
    }
}

/// Every grant of a user that counts, those left before among them: only under them the user key can say something.
fn grants_to_leave(state: &RoomState, user: UserId) -> BTreeMap<EventId, Rank> {
    let named = state.logs_of(user).into_iter().map(|(_, grant, _)| grant);
    let all = named.chain(state.active_grants(user).into_iter().map(|(grant, _)| grant));
    all.filter_map(|grant| Some((grant, state.rank_of_grant(grant)?))).collect()
}

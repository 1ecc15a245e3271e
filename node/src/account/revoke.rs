//! Revoking a device: in every room that it is in, by the user key, in that key's own log under each of the user's grants.
//! What this node holds of the device stays; nothing else that it ever wrote or will write counts.

use crate::api::types::RevokedIn;
use crate::ingest::Verdict;
use crate::keys::random;
use crate::local::{Refusal, refusal};
use crate::moderation::below_blind_closing;
use crate::writer::{Desk, Origin};
use tidings_protocol::control::cut::Cut;
use tidings_protocol::control::payload::{CloseInvite, Control, RevokeDevice};
use tidings_protocol::control::rank::Rank;
use tidings_protocol::control::state::RoomState;
use tidings_protocol::event::{Class, Draft, Payload};
use tidings_protocol::id::{DeviceId, EventId, RoomId};
use tidings_protocol::identity::{DeviceCertificate, DeviceKey, RecoveryPhrase};
use tidings_protocol::limits::{CLOSE_JOINS_MAX, CUTS_MAX};
use tidings_protocol::log::Log;
use tidings_storage::{RoomNumber, StorageError};

/// The user key as an author.
struct UserPen {
    key: DeviceKey,
    certificate: DeviceCertificate,
}

impl Desk<'_, '_> {
    /// Revokes a device of this user in every room that counts it; what became of each.
    pub(crate) fn revoke(&mut self, phrase: &RecoveryPhrase, device: DeviceId) -> Result<Vec<RevokedIn>, StorageError> {
        let user = phrase.user_key();
        let pen = UserPen { key: user.own_log_key(), certificate: user.certify(user.user().into(), "", 0) };
        let mut done = Vec::new();
        // The self-room first: there everybody looks, and from there it is done again where this is cut short.
        let home = self.keys.self_room();
        let others = self.rooms.ids().into_iter().filter(|room| *room != home);
        for room in std::iter::once(home).chain(others.collect::<Vec<_>>()) {
            let Some((number, state)) = self.rooms.find(room).map(|r| (r.number, r.state.clone())) else { continue };
            let counts = state.members.get(&self.keys.user).is_some_and(|member| member.devices.contains(&device));
            let row = self.batch.room(number)?;
            if !counts || row.home_of.is_some_and(|owner| owner != self.keys.user) {
                continue;
            }
            let result = match state.needs_newer {
                true => Err(Refusal::NeedsNewer),
                false => self.revoke_in(room, number, &state, &pen, device)?,
            };
            let (is_done, why) = match result {
                Ok(()) => (true, String::new()),
                Err(refusal) => (false, refusal.to_string()),
            };
            done.push(RevokedIn { room: room.to_string(), alias: row.alias, done: is_done, why });
        }
        Ok(done)
    }

    fn revoke_in(
        &mut self,
        room: RoomId,
        number: RoomNumber,
        state: &RoomState,
        pen: &UserPen,
        device: DeviceId,
    ) -> Result<Result<(), Refusal>, StorageError> {
        for (grant, rank) in state.active_grants(self.keys.user) {
            let cuts = self.cuts(room, number, state, device, rank)?;
            let revoke = Control::RevokeDevice(RevokeDevice { device, cuts });
            let own = Log { class: Class::Control, author: pen.key.device(), grant };
            let enrol = Control::Enrol(pen.certificate.clone());
            let begun = self.batch.top(number, &own)?.is_some();
            let closings = self.closings(state, device, grant)?;
            for control in (!begun).then_some(enrol).into_iter().chain([revoke]).chain(closings) {
                if let Err(refusal) = self.write_as_user(room, number, pen, &own, &control)? {
                    return Ok(Err(refusal));
                }
            }
        }
        Ok(Ok(()))
    }

    /// What stays of the device's logs under grants that a revocation of this rank covers: what is held here.
    fn cuts(
        &self,
        room: RoomId,
        number: RoomNumber,
        state: &RoomState,
        device: DeviceId,
        rank: Rank,
    ) -> Result<Vec<Cut>, StorageError> {
        let mut cuts: Vec<(u64, Cut)> = Vec::new();
        let Some(control) = self.rooms.find(room).map(|live| &live.control) else { return Ok(Vec::new()) };
        let of_device = state.logs_of(self.keys.user).into_iter().filter(|(d, _, r)| *d == device && *r >= rank);
        for (author, grant, _) in of_device {
            for class in [Class::Control, Class::Content] {
                let log = Log { class, author, grant };
                let Some((tips, clock)) = self.batch.tips(number, &log)? else { continue };
                let seq_max = match class {
                    Class::Control => below_blind_closing(control, &log),
                    Class::Content => u64::MAX,
                };
                cuts.extend(self.batch.cut(log, tips, seq_max)?.map(|cut| (clock, cut)));
            }
        }
        // Of more logs than one revocation can name, those that were written last.
        cuts.sort_unstable_by_key(|(clock, _)| std::cmp::Reverse(*clock));
        let mut cuts: Vec<Cut> = cuts.into_iter().take(CUTS_MAX).map(|(_, cut)| cut).collect();
        cuts.sort_unstable();
        Ok(cuts)
    }

    /// Closings of the invites that the device opened under a grant: whoever has the device has their links.
    fn closings(&self, state: &RoomState, device: DeviceId, grant: EventId) -> Result<Vec<Control>, StorageError> {
        let mut closings = Vec::new();
        for (id, invite) in state.invites.iter().filter(|(_, invite)| !invite.closed) {
            let log = self.batch.store().event_by_id(*id)?.map(|event| event.log);
            if log.is_none_or(|log| log.author != device || log.grant != grant) {
                continue;
            }
            let joins: Vec<EventId> = invite.joins.iter().copied().collect();
            let parts = joins.chunks(CLOSE_JOINS_MAX).map(<[EventId]>::to_vec);
            let empty = joins.is_empty().then(Vec::new);
            closings.extend(parts.chain(empty).map(|joins| Control::CloseInvite(CloseInvite { invite: *id, joins })));
        }
        Ok(closings)
    }

    fn write_as_user(
        &mut self,
        room: RoomId,
        number: RoomNumber,
        pen: &UserPen,
        log: &Log,
        control: &Control,
    ) -> Result<Result<(), Refusal>, StorageError> {
        let top = self.batch.top(number, log)?;
        let draft = Draft {
            class: Class::Control,
            kind: control.kind(),
            room,
            grant: log.grant,
            seq: top.map_or(1, |top| top.seq + 1),
            prev: top.map_or(EventId::ZERO, |top| top.id),
            parents: Vec::new(),
            hlc: self.clock.tick(),
            payload: Payload { salt: random(), bytes: control.encode() },
        };
        let Ok(event) = draft.sign(&pen.key) else { return Ok(Err(Refusal::Void("it does not fit one event"))) };
        let admitted = self.admit(room, &[event], Origin::Local)?;
        for stored in &admitted.stored {
            self.batch.put_outbox(*stored)?;
        }
        Ok(match admitted.verdict {
            Verdict::Stored => Ok(()),
            other => refusal(other).map_or(Ok(()), Err),
        })
    }
}

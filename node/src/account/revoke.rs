//! Revoking a device: in every room that it is in, by the user key, in that key's own log under each of the user's grants.
//! What this node holds of the device stays; nothing else that it ever wrote or will write counts. So it is written where
//! somebody else was found to hold the same, or where the user says so.

use crate::api::types::RevokedIn;
use crate::ingest::Verdict;
use crate::keys::random;
use crate::moderation::below_blind_closing;
use crate::refusal::{Refusal, refusal};
use crate::writer::{Desk, Origin};
use std::collections::BTreeSet;
use tidings_protocol::control::cut::Cut;
use tidings_protocol::control::payload::{CloseInvite, Control, RevokeDevice};
use tidings_protocol::control::rank::Rank;
use tidings_protocol::control::set::ControlSet;
use tidings_protocol::control::state::RoomState;
use tidings_protocol::event::{Class, Draft, Payload};
use tidings_protocol::id::{DeviceId, EventId, RoomId};
use tidings_protocol::identity::{DeviceCertificate, DeviceKey, RecoveryPhrase};
use tidings_protocol::limits::{CLOSE_JOINS_MAX, CUTS_MAX};
use tidings_protocol::log::Log;
use tidings_storage::{RoomNumber, StorageError};

/// A device of this user that is to end.
pub struct Revocation {
    /// What makes the user key.
    pub phrase: RecoveryPhrase,
    /// Which.
    pub device: DeviceId,
    /// In which rooms it may be written now. What is not held when it is written counts no more, for anybody and for good.
    pub reach: Reach,
}

/// How far a revocation goes at once. The self-room is in reach always.
pub enum Reach {
    /// Every room.
    All,
    /// These, which somebody else held just so when they were last compared; and those in which there is nobody else.
    Compared(BTreeSet<RoomId>),
}

/// The user key as an author.
pub(super) struct UserPen {
    key: DeviceKey,
    certificate: DeviceCertificate,
}

impl UserPen {
    pub(super) fn of(phrase: &RecoveryPhrase) -> Self {
        let user = phrase.user_key();
        UserPen { key: user.own_log_key(), certificate: user.certify(user.user().into(), "", 0) }
    }
}

impl Desk<'_, '_> {
    /// Revokes a device of this user in every room that counts it; what became of each.
    pub(crate) fn revoke(&mut self, wish: &Revocation) -> Result<Vec<RevokedIn>, StorageError> {
        let (user, device) = (wish.phrase.user_key(), wish.device);
        if device == user.user().into() {
            return Ok(Vec::new());
        }
        let pen = UserPen::of(&wish.phrase);
        let mut done = Vec::new();
        // The self-room first: there everybody looks, and from there it is done again where this is cut short.
        let home = self.keys.self_room();
        let others = self.rooms.ids().into_iter().filter(|room| *room != home);
        for room in std::iter::once(home).chain(others.collect::<Vec<_>>()) {
            let Some((number, state)) = self.rooms.find(room).map(|r| (r.number, r.state.clone())) else { continue };
            let row = self.batch.room(number)?;
            let grants = match room == home {
                true => self.unrevoked(room, &pen, device, vec![(room.into(), Rank::FOUNDER)]),
                false if row.home_of.is_some() || state.user_of(device) != Some(self.keys.user) => continue,
                false => self.unrevoked(room, &pen, device, state.active_grants(self.keys.user)),
            };
            if grants.is_empty() {
                continue;
            }
            let is_compared = match &wish.reach {
                Reach::All => true,
                Reach::Compared(rooms) => room == home || rooms.contains(&room) || self.is_alone(&state, device),
            };
            // What a device says under rules that this version does not know can be taken away by those that it knows.
            let knows_rules = self.rooms.find(room).is_some_and(|live| live.control.genesis().is_some());
            let result = match (knows_rules, is_compared) {
                (false, _) => Err(Refusal::NeedsNewer),
                (true, false) => Err(Refusal::NotCompared),
                (true, true) => self.revoke_in(room, number, &state, &pen, device, grants)?,
            };
            let (is_done, why) = match result {
                Ok(()) => (true, String::new()),
                Err(refusal) => (false, refusal.to_string()),
            };
            done.push(RevokedIn { room: room.to_string(), alias: row.alias, done: is_done, why });
        }
        Ok(done)
    }

    /// Those of the user's grants under which the user key has not yet written that the device is revoked: once is enough,
    /// and a second time would take away what came in between.
    fn unrevoked(
        &self,
        room: RoomId,
        pen: &UserPen,
        device: DeviceId,
        mut grants: Vec<(EventId, Rank)>,
    ) -> Vec<(EventId, Rank)> {
        let Some(live) = self.rooms.find(room) else { return Vec::new() };
        if !live.state.logs_of(self.keys.user).iter().any(|(enrolled, _, _)| *enrolled == device) {
            return Vec::new();
        }
        for event in live.control.events().filter(|event| event.log.author == pen.key.device()) {
            if matches!(&event.control, Control::RevokeDevice(revoke) if revoke.device == device) {
                grants.retain(|(grant, _)| *grant != event.log.grant);
            }
        }
        grants
    }

    /// Whether nobody but this device could hold more of the room.
    fn is_alone(&self, state: &RoomState, revoked: DeviceId) -> bool {
        let (user, own) = (self.keys.user, self.keys.device().id());
        let mut devices = state.members.values().flat_map(|member| &member.devices);
        state.members.len() == 1 && devices.all(|d| [own, revoked, user.into()].contains(d))
    }

    fn revoke_in(
        &mut self,
        room: RoomId,
        number: RoomNumber,
        state: &RoomState,
        pen: &UserPen,
        device: DeviceId,
        grants: Vec<(EventId, Rank)>,
    ) -> Result<Result<(), Refusal>, StorageError> {
        for (grant, rank) in grants {
            let cuts = self.cuts(room, number, state, device, rank)?;
            let revoke = Control::RevokeDevice(RevokeDevice { device, cuts });
            let closings = self.closings(state, device, grant)?;
            let controls = std::iter::once(revoke).chain(closings);
            if let Err(refusal) = self.write_all_as_user((room, number), pen, grant, controls)? {
                return Ok(Err(refusal));
            }
        }
        Ok(Ok(()))
    }

    /// Writes these in the user key's log under a grant, which an Enrol begins.
    pub(super) fn write_all_as_user(
        &mut self,
        (room, number): (RoomId, RoomNumber),
        pen: &UserPen,
        grant: EventId,
        controls: impl Iterator<Item = Control>,
    ) -> Result<Result<(), Refusal>, StorageError> {
        let own = Log { class: Class::Control, author: pen.key.device(), grant };
        let enrol = Control::Enrol(pen.certificate.clone());
        let begun = self.batch.top(number, &own)?.is_some();
        for control in (!begun).then_some(enrol).into_iter().chain(controls) {
            if let Err(refusal) = self.write_as_user(room, number, pen, &own, &control)? {
                return Ok(Err(refusal));
            }
        }
        Ok(Ok(()))
    }

    /// What stays of the device's logs under grants that a revocation of this rank covers: what is held here.
    pub(super) fn cuts(
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
                    // Nothing that a device decides about the self-room is wanted, but that it is one of the user's.
                    Class::Control if room == self.keys.self_room() => 1,
                    Class::Control => below_blind_closing(control, &log).min(below_unknown(control, &log)),
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
    pub(super) fn closings(
        &self,
        state: &RoomState,
        device: DeviceId,
        grant: EventId,
    ) -> Result<Vec<Control>, StorageError> {
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
            seq: top.map_or(1, |top| top.seq.saturating_add(1)),
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

/// The place in a control log up to which a revocation keeps it: below what this version cannot read, which makes the room
/// read-only for as long as it counts.
fn below_unknown(set: &ControlSet, log: &Log) -> u64 {
    let unknown = set.events().filter(|event| event.log == *log && matches!(event.control, Control::Unknown { .. }));
    unknown.map(|event| event.seq - 1).min().unwrap_or(u64::MAX)
}

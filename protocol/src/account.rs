//! What a user's devices share: the self-room that the words alone name, and the records that stand sealed in it (rooms,
//! what was read, names given to people). Of each subject the newest record counts, in whatever order they come.

use crate::codec::{Canonical, CodecError, Reader, Writer, decode, encode};
use crate::control::payload::{Control, Genesis, RoomKind};
use crate::control::rank::Rank;
use crate::event::{Class, Draft, Hlc, Payload, VerifiedEvent};
use crate::id::{DeviceId, EventId, RoomId, UserId};
use crate::identity::RecoveryPhrase;
use crate::limits::{
    ADDRESS_LEN_MAX, ALIAS_LEN_MAX, CLOCK_AHEAD_MAX_MS, NAME_LEN_MAX, PEOPLE_RECORDS_MAX, RECORD_ADDRESSES_MAX,
    RECORD_LEN_MAX, RECORDS_MAX, SEALED_LEN_MAX,
};
use std::collections::BTreeMap;

/// The event that founds the self-room of these words: the same every time, so that whoever has the words knows the room.
///
/// # Errors
/// `CodecError`: never, as its parts are of known length.
pub fn self_room(phrase: &RecoveryPhrase) -> Result<VerifiedEvent, CodecError> {
    let key = phrase.user_key();
    let user = key.user();
    let genesis = Control::Genesis(Genesis {
        kind: RoomKind::Public,
        founders: vec![user],
        invite_rank: Rank::FOUNDER,
        secret: [0; 32],
        certificate: key.certify(DeviceId::from(user), "", 0),
    });
    let draft = Draft {
        class: Class::Control,
        kind: genesis.kind(),
        room: RoomId::ZERO,
        grant: EventId::ZERO,
        seq: 1,
        prev: EventId::ZERO,
        parents: Vec::new(),
        hlc: Hlc(0),
        payload: Payload { salt: phrase.self_room_salt(), bytes: genesis.encode() },
    };
    draft.sign(&key.own_log_key())
}

/// Whether a genesis founds the self-room of this user: made as `self_room` makes it, but for the salt, which only the words
/// tell.
pub fn founds_self_room(author: DeviceId, genesis: &Genesis, user: UserId) -> bool {
    let key = DeviceId::from(user);
    let certificate = &genesis.certificate;
    let is_certified = (certificate.user(), certificate.device()) == (user, key);
    let is_plain = certificate.name().is_empty() && certificate.created_ms() == 0;
    let is_room = genesis.kind == RoomKind::Public && genesis.founders == [user] && genesis.secret == [0; 32];
    is_room && genesis.invite_rank == Rank::FOUNDER && author == key && is_certified && is_plain
}

/// What is said about a room: how to enter it, and what this user calls it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomRecord {
    /// Who may see it.
    pub kind: RoomKind,
    /// Its secret; zero in a public room.
    pub secret: [u8; 32],
    /// What this user calls it.
    pub alias: String,
    /// Whether they have left it.
    pub left: bool,
    /// The grant under which their devices enrol; zero where none is known.
    pub grant: EventId,
    /// Where members' nodes were.
    pub addresses: Vec<String>,
}

/// A record, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A room of this user.
    Room(RoomId, RoomRecord),
    /// Everything up to the record's clock is read in this room.
    Read(RoomId),
    /// What this user calls somebody; empty: nothing of their own.
    PetName(UserId, String),
    /// Whether somebody is blocked.
    Block(UserId, bool),
    /// A kind of a later version: kept, and passed on to other devices.
    Unknown,
}

/// A record as it travels: the newest of a kind and subject counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    subject: Subject,
    /// When it was said; of `Read`, the clock of what was read last.
    hlc: Hlc,
    body: Vec<u8>,
}

/// What a record is about: its kind, and a room or person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    kind: u16,
    about: [u8; 32],
}

impl Subject {
    /// The record of a room.
    pub fn room(room: RoomId) -> Self {
        Subject { kind: kind::ROOM, about: room.0 }
    }

    /// What was read of a room.
    pub fn read(room: RoomId) -> Self {
        Subject { kind: kind::READ, about: room.0 }
    }
}

impl Entry {
    /// A record said at this time.
    pub fn new(record: &Record, hlc: Hlc) -> Self {
        let mut w = Writer::default();
        let (kind, about) = match record {
            Record::Room(room, said) => {
                said.write(&mut w);
                (kind::ROOM, room.0)
            }
            Record::Read(room) => (kind::READ, room.0),
            Record::PetName(user, name) => {
                w.text(name);
                (kind::PET_NAME, user.0)
            }
            Record::Block(user, blocked) => {
                w.u8(u8::from(*blocked));
                (kind::BLOCK, user.0)
            }
            Record::Unknown => (0, [0; 32]),
        };
        Entry { subject: Subject { kind, about }, hlc, body: w.into_bytes() }
    }

    /// What it is about.
    pub fn subject(&self) -> Subject {
        self.subject
    }

    /// When it was said.
    pub fn hlc(&self) -> Hlc {
        self.hlc
    }

    /// What it says; unknown where it does not read as its kind.
    pub fn record(&self) -> Record {
        let about = self.subject.about;
        let read = match self.subject.kind {
            kind::ROOM => decode(&self.body, RECORD_LEN_MAX).map(|said| Record::Room(RoomId(about), said)),
            kind::READ if self.body.is_empty() => Ok(Record::Read(RoomId(about))),
            kind::PET_NAME => decode::<Name>(&self.body, RECORD_LEN_MAX).map(|n| Record::PetName(UserId(about), n.0)),
            kind::BLOCK if matches!(self.body.as_slice(), [0 | 1]) => {
                Ok(Record::Block(UserId(about), self.body == [1]))
            }
            _ => Ok(Record::Unknown),
        };
        read.unwrap_or(Record::Unknown)
    }
}

/// All records of a user, of each subject the newest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account(BTreeMap<Subject, Entry>);

impl Account {
    /// Takes a record in; whether it is news. One that is far ahead of our clock, or one too many, is not taken: it would
    /// stand in the way of all that follow.
    pub fn merge(&mut self, entry: Entry, now_ms: u64) -> bool {
        let ahead = entry.hlc.ms() > now_ms.saturating_add(CLOCK_AHEAD_MAX_MS);
        let older = |held: &Entry| (held.hlc, &held.body) >= (entry.hlc, &entry.body);
        let held = self.0.get(&entry.subject);
        if ahead || held.is_some_and(older) || (held.is_none() && self.is_full(entry.subject)) {
            return false;
        }
        self.0.insert(entry.subject, entry);
        true
    }

    fn is_full(&self, subject: Subject) -> bool {
        let of_people = |subject: &Subject| matches!(subject.kind, kind::PET_NAME | kind::BLOCK);
        let crowd = of_people(&subject) && self.0.keys().filter(|s| of_people(s)).count() >= PEOPLE_RECORDS_MAX;
        crowd || self.0.len() >= RECORDS_MAX
    }

    /// The newest record of a subject.
    pub fn find(&self, subject: Subject) -> Option<&Entry> {
        self.0.get(&subject)
    }

    /// Every record, ascending by its subject.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.0.values()
    }
}

/// Records that are sealed together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// A part of all that is known, so that a new device needs nothing older.
    pub whole: bool,
    /// The records.
    pub entries: Vec<Entry>,
}

impl Bundle {
    /// Bundles that each can be sealed at once.
    pub fn parts(whole: bool, entries: impl IntoIterator<Item = Entry>) -> Vec<Bundle> {
        let mut parts = Vec::new();
        let (mut part, mut len) = (Vec::new(), 0);
        for entry in entries {
            let entry_len = encode(&entry).len();
            if len + entry_len > BUNDLE_LEN_MAX {
                parts.push(Bundle { whole, entries: std::mem::take(&mut part) });
                len = 0;
            }
            len += entry_len;
            part.push(entry);
        }
        if !part.is_empty() {
            parts.push(Bundle { whole, entries: part });
        }
        parts
    }

    /// What is sealed.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads what was sealed.
    ///
    /// # Errors
    /// `CodecError`: another version, or nothing that a device of ours would say.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        decode(bytes, SEALED_LEN_MAX)
    }
}

/// Numbers of record kinds.
mod kind {
    pub(super) const ROOM: u16 = 1;
    pub(super) const READ: u16 = 2;
    pub(super) const PET_NAME: u16 = 3;
    pub(super) const BLOCK: u16 = 4;
}

impl Canonical for Bundle {
    fn write(&self, w: &mut Writer) {
        w.u8(BUNDLE_VERSION);
        w.u8(u8::from(self.whole));
        w.list(&self.entries);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        if r.u8()? != BUNDLE_VERSION {
            return Err(CodecError::Invalid("bundle version"));
        }
        let whole = match r.u8()? {
            n @ 0..=1 => n == 1,
            _ => return Err(CodecError::Invalid("whole")),
        };
        Ok(Bundle { whole, entries: r.list(SEALED_LEN_MAX / ENTRY_LEN_MIN)? })
    }
}

impl Canonical for Entry {
    fn write(&self, w: &mut Writer) {
        w.u16(self.subject.kind);
        w.array(&self.subject.about);
        w.u64(self.hlc.0);
        w.bytes(&self.body);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        let subject = Subject { kind: r.u16()?, about: r.array()? };
        Ok(Entry { subject, hlc: Hlc(r.u64()?), body: r.bytes(RECORD_LEN_MAX)?.to_vec() })
    }
}

impl Canonical for RoomRecord {
    fn write(&self, w: &mut Writer) {
        self.kind.write(w);
        w.array(&self.secret);
        w.text(&self.alias);
        w.u8(u8::from(self.left));
        self.grant.write(w);
        w.length(self.addresses.len());
        self.addresses.iter().for_each(|address| w.text(address));
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        let (kind, secret, alias) = (RoomKind::read(r)?, r.array()?, r.text(ALIAS_LEN_MAX)?);
        let left = match r.u8()? {
            n @ 0..=1 => n == 1,
            _ => return Err(CodecError::Invalid("left")),
        };
        let grant = EventId::read(r)?;
        let mut addresses = Vec::new();
        for _ in 0..r.length(RECORD_ADDRESSES_MAX)? {
            addresses.push(r.text(ADDRESS_LEN_MAX)?);
        }
        Ok(RoomRecord { kind, secret, alias, left, grant, addresses })
    }
}

struct Name(String);

impl Canonical for Name {
    fn write(&self, w: &mut Writer) {
        w.text(&self.0);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Name(r.text(NAME_LEN_MAX)?))
    }
}

const BUNDLE_VERSION: u8 = 1;
/// Kind, subject, clock and the length of a body.
const ENTRY_LEN_MIN: usize = 2 + 32 + 8 + 4;
/// Entries of a bundle: what is sealed has its own length, version, flag and count before them.
const BUNDLE_LEN_MAX: usize = SEALED_LEN_MAX - 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::payload::ControlEvent;
    use crate::control::set::ControlSet;

    fn room(n: u8, alias: &str) -> Record {
        let addresses = vec!["/ip4/192.0.2.1/tcp/1/p2p/x".to_owned()];
        let kind = RoomKind::Members;
        let said =
            RoomRecord { kind, secret: [n; 32], alias: alias.into(), left: false, grant: EventId([n; 32]), addresses };
        Record::Room(RoomId([n; 32]), said)
    }

    fn samples() -> Vec<Record> {
        let user = UserId([9; 32]);
        vec![
            room(1, "zig"),
            Record::Read(RoomId([1; 32])),
            Record::PetName(user, "Mum".into()),
            Record::Block(user, true),
            Record::Block(UserId([8; 32]), false),
        ]
    }

    #[test]
    fn the_words_alone_make_the_self_room() {
        let phrase = RecoveryPhrase::from_entropy([3; 32]);
        let founded = self_room(&phrase).unwrap();
        assert_eq!(founded, self_room(&RecoveryPhrase::from_words(&phrase.words()).unwrap()).unwrap());
        assert_ne!(founded.id(), self_room(&RecoveryPhrase::from_entropy([4; 32])).unwrap().id());
        let signed = founded.to_signed().unwrap();
        assert_eq!(signed.verify().unwrap(), founded);
        let user = phrase.user_key().user();
        let read = ControlEvent::read(&founded).unwrap();
        let Control::Genesis(genesis) = &read.control else { panic!("{read:?}") };
        assert!(founds_self_room(founded.header().author, genesis, user));
        assert!(!founds_self_room(founded.header().author, genesis, UserId([1; 32])));
        let mut set = ControlSet::new(founded.room());
        set.insert(read.clone());
        set.settle();
        assert!(set.counts(founded.id()));
    }

    #[test]
    fn records_round_trip_and_what_is_unknown_is_kept() {
        for record in samples() {
            assert_eq!(Entry::new(&record, Hlc(5)).record(), record);
        }
        let later = Entry { subject: Subject { kind: 77, about: [1; 32] }, hlc: Hlc(1), body: vec![1, 2, 3] };
        let bundle = Bundle { whole: true, entries: vec![later.clone()] };
        let read = Bundle::from_bytes(&bundle.to_bytes()).unwrap();
        assert_eq!((read.whole, &read.entries[0]), (true, &later));
        assert_eq!(later.record(), Record::Unknown);
    }

    #[test]
    fn the_newest_counts_in_whatever_order_they_come() {
        let entries: Vec<Entry> = [(room(1, "a"), 1), (room(1, "b"), 3), (room(1, "c"), 2), (room(1, "d"), 3)]
            .iter()
            .map(|(record, ms)| Entry::new(record, Hlc::at_ms(*ms)))
            .collect();
        let merged = |order: &[usize]| {
            let mut account = Account::default();
            for n in order {
                account.merge(entries[*n].clone(), 0);
            }
            account
        };
        let all = merged(&[0, 1, 2, 3]);
        for order in [[3, 2, 1, 0], [1, 3, 0, 2], [2, 0, 3, 1]] {
            assert_eq!(merged(&order), all);
        }
        assert_eq!(all.find(Subject::room(RoomId([1; 32]))).unwrap().record(), room(1, "d"));
        assert!(!merged(&[1]).merge(entries[1].clone(), 0));
    }

    #[test]
    fn what_comes_from_the_future_or_in_floods_is_not_taken() {
        let mut account = Account::default();
        let ahead = Entry::new(&room(1, "a"), Hlc::at_ms(CLOCK_AHEAD_MAX_MS + 2));
        assert!(!account.merge(ahead.clone(), 1) && account.merge(ahead, 2));
        for n in 0..RECORDS_MAX as u64 + 10 {
            let mut about = [0; 32];
            about[..8].copy_from_slice(&n.to_be_bytes());
            account.merge(Entry::new(&Record::Block(UserId(about), true), Hlc(1)), 0);
        }
        assert_eq!(account.entries().count(), PEOPLE_RECORDS_MAX + 1);
        for n in 0..RECORDS_MAX as u64 {
            let mut about = [0; 32];
            about[..8].copy_from_slice(&n.to_be_bytes());
            account.merge(Entry::new(&Record::Read(RoomId(about)), Hlc(1)), 0);
        }
        assert_eq!(account.entries().count(), RECORDS_MAX);
    }

    #[test]
    fn bundles_fit_what_can_be_sealed() {
        let many = (0..200u8).flat_map(|n| vec![Entry::new(&room(n, &"x".repeat(ALIAS_LEN_MAX)), Hlc(1)); 3]);
        let parts = Bundle::parts(true, many);
        assert!(parts.len() > 1);
        assert_eq!(parts.iter().map(|p| p.entries.len()).sum::<usize>(), 600);
        for part in parts {
            assert!(part.to_bytes().len() <= SEALED_LEN_MAX - 4);
            assert_eq!(Bundle::from_bytes(&part.to_bytes()), Ok(part));
        }
        assert_eq!(Bundle::parts(false, []), []);
    }
}

//! Keys, as bytes that sort as they are read. Numbers are big endian; newest-first orders store the complement.

use crate::error::Damage;
use tidings_protocol::codec::encode;
use tidings_protocol::event::Class;
use tidings_protocol::id::{DeviceId, EventId, FileHash, RoomId, UserId};
use tidings_protocol::log::Log;

/// A room, interned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomNumber(pub u32);

/// A log, interned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LogNumber(pub u32);

/// A place in a room's timeline: by clock, then by the beginning of an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// 48 bits of Unix milliseconds and 16 of counter, as an hlc.
    pub clock: u64,
    /// The first bytes of the event's id; of an imported record's source id.
    pub tie: [u8; 8],
}

impl Position {
    /// Before everything.
    pub const FIRST: Position = Position { clock: 0, tie: [0; 8] };
    /// After everything.
    pub const LAST: Position = Position { clock: u64::MAX, tie: [0xff; 8] };
}

pub(crate) const RELATION_PREFIX_LEN: usize = 4 + 16;

pub(crate) fn number(n: u64) -> [u8; 8] {
    n.to_be_bytes()
}

pub(crate) fn to_number(bytes: &[u8], what: &'static str) -> Result<u64, Damage> {
    bytes.try_into().map(u64::from_be_bytes).map_err(|_| Damage::Length(what))
}

/// The numbers of a list value: 8 bytes each.
pub(crate) fn to_numbers(bytes: &[u8], what: &'static str) -> Result<Vec<u64>, Damage> {
    if !bytes.len().is_multiple_of(8) {
        return Err(Damage::Length(what));
    }
    bytes.chunks_exact(8).map(|c| to_number(c, what)).collect()
}

pub(crate) fn numbers(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_be_bytes()).collect()
}

pub(crate) fn id(id: EventId) -> [u8; 8] {
    prefix(id.as_bytes())
}

/// The first 8 bytes.
pub(crate) fn prefix(bytes: &[u8; 32]) -> [u8; 8] {
    let mut out = [0; 8];
    out.copy_from_slice(&bytes[..8]);
    out
}

pub(crate) fn log(log: LogNumber, seq: u64, number: u64) -> [u8; 20] {
    let mut out = [0; 20];
    out[..4].copy_from_slice(&log.0.to_be_bytes());
    out[4..12].copy_from_slice(&seq.to_be_bytes());
    out[12..].copy_from_slice(&number.to_be_bytes());
    out
}

pub(crate) fn timeline(room: RoomNumber, at: Position) -> [u8; 20] {
    let mut out = [0; 20];
    out[..4].copy_from_slice(&room.0.to_be_bytes());
    out[4..12].copy_from_slice(&(!at.clock).to_be_bytes());
    for (to, from) in out[12..].iter_mut().zip(at.tie) {
        *to = !from;
    }
    out
}

/// Where an imported record would stand by the time it claims, when it stands elsewhere: a page never comes here, because
/// no room's number has this bit.
pub(crate) fn claimed(room: RoomNumber, at: Position) -> [u8; 20] {
    timeline(RoomNumber(room.0 | 1 << 31), at)
}

pub(crate) fn to_position(key: &[u8]) -> Result<Position, Damage> {
    let rest = key.get(4..20).ok_or(Damage::Length("timeline key"))?;
    let clock = !to_number(&rest[..8], "timeline key")?;
    let mut tie = [0; 8];
    for (to, from) in tie.iter_mut().zip(&rest[8..]) {
        *to = !from;
    }
    Ok(Position { clock, tie })
}

pub(crate) fn tips(room: RoomNumber, log: &Log) -> Vec<u8> {
    [room.0.to_be_bytes().as_slice(), &encode(log)].concat()
}

pub(crate) fn tips_of(room: RoomNumber, class: Class) -> Vec<u8> {
    [room.0.to_be_bytes().as_slice(), &[class.number()]].concat()
}

/// The events that change how a message looks lie behind the first 16 bytes of its id.
pub(crate) fn relation_prefix(room: RoomNumber, target: &[u8; 32]) -> [u8; RELATION_PREFIX_LEN] {
    let mut out = [0; RELATION_PREFIX_LEN];
    out[..4].copy_from_slice(&room.0.to_be_bytes());
    out[4..].copy_from_slice(&target[..16]);
    out
}

pub(crate) fn relation(room: RoomNumber, target: &[u8; 32], number: u64) -> Vec<u8> {
    [relation_prefix(room, target).as_slice(), &number.to_be_bytes()].concat()
}

pub(crate) fn control(room: RoomNumber, number: u64) -> [u8; 12] {
    let mut out = [0; 12];
    out[..4].copy_from_slice(&room.0.to_be_bytes());
    out[4..].copy_from_slice(&number.to_be_bytes());
    out
}

/// Rows of the `room` family, told apart by their first byte.
pub(crate) fn room_by_id(id: RoomId) -> Vec<u8> {
    [b"i".as_slice(), id.as_bytes()].concat()
}

pub(crate) fn room(room: RoomNumber) -> Vec<u8> {
    [b"r".as_slice(), &room.0.to_be_bytes()].concat()
}

pub(crate) fn alias(alias: &str) -> Vec<u8> {
    [b"a", alias.as_bytes()].concat()
}

pub(crate) fn profile(room: RoomNumber, user: UserId) -> Vec<u8> {
    [profiles_of(room).as_slice(), user.as_bytes()].concat()
}

pub(crate) fn profiles_of(room: RoomNumber) -> [u8; 5] {
    let mut out = [b'p'; 5];
    out[1..].copy_from_slice(&room.0.to_be_bytes());
    out
}

/// Rows of people, pins and bans: their kind, and then a name to the end of the key.
pub(crate) fn named(kind: u8, name: &[u8]) -> Vec<u8> {
    [&[kind], name].concat()
}

pub(crate) const PERSON: u8 = b'u';
pub(crate) const PIN: u8 = b'd';
pub(crate) const BAN: u8 = b'b';

/// What was taken off this node; events whose words were, by room, log, seq and number.
pub(crate) const PURGE: &[u8] = b"x";
pub(crate) const WORDLESS: &[u8] = b"y";

pub(crate) fn wordless_of(room: RoomNumber) -> Vec<u8> {
    [WORDLESS, &room.0.to_be_bytes()].concat()
}

pub(crate) fn wordless_in(room: RoomNumber, log: LogNumber) -> Vec<u8> {
    [WORDLESS, &room.0.to_be_bytes(), &log.0.to_be_bytes()].concat()
}

pub(crate) fn wordless(room: RoomNumber, log: LogNumber, seq: u64, number: u64) -> Vec<u8> {
    [wordless_in(room, log).as_slice(), &seq.to_be_bytes(), &number.to_be_bytes()].concat()
}

/// What is kept of a room.
pub(crate) fn keep(room: RoomNumber) -> Vec<u8> {
    [b"k".as_slice(), &room.0.to_be_bytes()].concat()
}

/// How the keys of the `room` family begin that name a room by its number, but for its own row.
pub(crate) fn rows_of_room(room: RoomNumber) -> [Vec<u8>; 4] {
    let agreements = [b"g".as_slice(), &room.0.to_be_bytes()].concat();
    [profiles_of(room).to_vec(), agreements, wordless_of(room), keep(room)]
}

pub(crate) fn agreement(room: RoomNumber, peer: &[u8]) -> Vec<u8> {
    [b"g".as_slice(), &room.0.to_be_bytes(), peer].concat()
}

/// Rows of the `beacon` family, told apart by their first byte: a slot, and how far a device has our events.
pub(crate) fn slot(room: RoomNumber, device: DeviceId, kind: u16) -> Vec<u8> {
    [b"s".as_slice(), &room.0.to_be_bytes(), device.as_bytes(), &kind.to_be_bytes()].concat()
}

pub(crate) fn slots(room: RoomNumber) -> Vec<u8> {
    [b"s".as_slice(), &room.0.to_be_bytes()].concat()
}

pub(crate) fn reached(room: RoomNumber, device: DeviceId) -> Vec<u8> {
    [b"h".as_slice(), &room.0.to_be_bytes(), device.as_bytes()].concat()
}

pub(crate) fn reached_in(room: RoomNumber) -> Vec<u8> {
    [b"h".as_slice(), &room.0.to_be_bytes()].concat()
}

/// Rows of the `file` family: a file, a room, and the event there that names it.
pub(crate) fn file(hash: FileHash, room: RoomNumber, number: u64) -> Vec<u8> {
    [file_in(hash, room).as_slice(), &number.to_be_bytes()].concat()
}

pub(crate) fn file_in(hash: FileHash, room: RoomNumber) -> Vec<u8> {
    [hash.as_bytes().as_slice(), &room.0.to_be_bytes()].concat()
}

/// Rows of the `meta` family.
pub(crate) const META_SCHEMA: &[u8] = b"schema";
/// Rooms of which control events were lost: behind it a room.
pub(crate) const META_UNSURE: &[u8] = b"d";

pub(crate) fn unsure(room: RoomNumber) -> Vec<u8> {
    [META_UNSURE, &room.0.to_be_bytes()].concat()
}

/// How far a store is on its way from an older schema.
pub(crate) const META_MIGRATING: &[u8] = b"migrating";
pub(crate) const META_NEXT: &[u8] = b"next";
/// Events whose deleted payloads still lie in files: behind it a local number.
pub(crate) const META_SHRED: &[u8] = b"g";
/// Written to have the MANIFEST written anew.
pub(crate) const META_RENEWED: &[u8] = b"renewed";

pub(crate) fn to_shred(number: u64) -> Vec<u8> {
    [META_SHRED, &number.to_be_bytes()].concat()
}
pub(crate) const META_UNRECLAIMED: &[u8] = b"unreclaimed";
/// Rooms in which something was erased that may lie among what was trimmed: behind it a room.
pub(crate) const META_AWAITS: &[u8] = b"w";

pub(crate) fn awaits(room: RoomNumber) -> Vec<u8> {
    [META_AWAITS, &room.0.to_be_bytes()].concat()
}

pub(crate) fn log_by_number(log: LogNumber) -> Vec<u8> {
    [b"l".as_slice(), &log.0.to_be_bytes()].concat()
}

/// A free row for the node: its own small records.
pub(crate) fn note(name: &str) -> Vec<u8> {
    [b"n", name.as_bytes()].concat()
}

/// The first key after every key with this prefix; `None` when there is none.
pub(crate) fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut out = prefix.to_vec();
    while let Some(last) = out.last_mut() {
        if *last < u8::MAX {
            *last += 1;
            return Some(out);
        }
        out.pop();
    }
    None
}

//! Rooms as an adversary would shape them, to see what evaluating them costs: each for three sizes.

use crate::support::big_room::{BigRoom, Writer, certificate, key_certificate, user};
use tidings_protocol::control::cut::Cut;
use tidings_protocol::control::payload::{Control, RevokeDevice};
use tidings_protocol::event::Class;
use tidings_protocol::id::EventId;
use tidings_protocol::log::Log;

/// A shape: what it is, by whom, for which sizes, and how it is made: the room, and how many of its events came before.
pub struct Shape {
    pub name: &'static str,
    pub sizes: [u32; 3],
    pub make: fn(u32) -> (BigRoom, usize),
    /// With which power of the size the time may grow, with some allowance for caches.
    pub exponent: f64,
}

impl Shape {
    pub fn promised(&self) -> &'static str {
        if self.exponent < 2.0 { "one by one, at once: near-linear" } else { "one by one, at once: quadratic" }
    }
}

pub const SHAPES: [Shape; 18] = [
    Shape { name: "forks of a member's log", sizes: LARGE, make: forks, exponent: NEAR_LINEAR },
    Shape { name: "a member enrols devices", sizes: LARGE, make: devices, exponent: NEAR_LINEAR },
    Shape { name: "one user joins by a link, again and again", sizes: LARGE, make: joins, exponent: NEAR_LINEAR },
    Shape { name: "joins, then closed with lists in ten events", sizes: LARGE, make: closed, exponent: NEAR_LINEAR },
    Shape {
        name: "a member erases one message, again and again",
        sizes: LARGE,
        make: one_erasure,
        exponent: NEAR_LINEAR,
    },
    Shape {
        name: "a member erases, then enrols devices",
        sizes: LARGE,
        make: erasures_and_devices,
        exponent: NEAR_LINEAR,
    },
    Shape { name: "a member leaves a grant of every fork", sizes: LARGE, make: leaves, exponent: NEAR_LINEAR },
    Shape {
        name: "a member revokes a device with many forks",
        sizes: MIDDLE,
        make: device_revokes,
        exponent: NEAR_LINEAR,
    },
    Shape {
        name: "a member revokes one device, then it writes",
        sizes: MIDDLE,
        make: words_after_revokes,
        exponent: NEAR_LINEAR,
    },
    Shape {
        name: "a member joins, then revokes that device",
        sizes: LARGE,
        make: joins_then_revokes,
        exponent: NEAR_LINEAR,
    },
    Shape {
        name: "a member revokes a device, then joins by it",
        sizes: LARGE,
        make: revokes_then_joins,
        exponent: NEAR_LINEAR,
    },
    Shape { name: "a moderator revokes many grants, often", sizes: LARGE, make: many_grants, exponent: NEAR_LINEAR },
    Shape { name: "an admin voids a moderator's Revokes", sizes: LARGE, make: voided_revokes, exponent: NEAR_LINEAR },
    Shape { name: "a moderator sets the topic", sizes: LARGE, make: sets, exponent: NEAR_LINEAR },
    Shape { name: "a moderator revokes one user with 64 cuts", sizes: SMALL, make: revokes, exponent: 2.5 },
    Shape { name: "a moderator's cuts name deep ids", sizes: SMALL, make: deep_ids, exponent: NEAR_LINEAR },
    Shape { name: "a moderator cuts a log of many deep forks", sizes: SMALL, make: deep_forks, exponent: NEAR_LINEAR },
    Shape { name: "an admin revokes and lifts one user", sizes: SMALL, make: lifts, exponent: 2.5 },
];

const NEAR_LINEAR: f64 = 1.6;
const LARGE: [u32; 3] = [1_000, 3_000, 10_000];
const MIDDLE: [u32; 3] = [500, 1_500, 5_000];
const SMALL: [u32; 3] = [100, 300, 1_000];

/// A room with a moderator, an admin and a member of rank 60 with one device and a user key.
struct Stage {
    room: BigRoom,
    moderator: Writer,
    admin: Writer,
    member: Writer,
    key: Writer,
    grant: EventId,
}

fn stage() -> Stage {
    let (mut room, mut founder) = BigRoom::found();
    let moderator = room.holder(&mut founder, 1, 20);
    let admin = room.holder(&mut founder, 2, 5);
    let grant = room.grant(&mut founder, user(3), 60, Vec::new());
    let member = room.enrol(3, 0, grant);
    let key = room.enrol_as(key_certificate(3), grant);
    Stage { room, moderator, admin, member, key, grant }
}

fn forks(n: u32) -> (BigRoom, usize) {
    let Stage { mut room, member, .. } = stage();
    let before = room.events.len();
    (0..n).for_each(|n| _ = room.erase(&mut member.clone(), u64::from(n)));
    (room, before)
}

fn leaves(n: u32) -> (BigRoom, usize) {
    let Stage { mut room, member, .. } = stage();
    let before = room.events.len();
    (0..n).for_each(|_| _ = room.say(&mut member.clone(), Control::Leave));
    (room, before)
}

fn devices(n: u32) -> (BigRoom, usize) {
    let Stage { mut room, grant, .. } = stage();
    let before = room.events.len();
    (0..n).for_each(|n| _ = room.enrol(3, n + 1, grant));
    (room, before)
}

fn joins(n: u32) -> (BigRoom, usize) {
    let Stage { mut room, mut moderator, .. } = stage();
    let invite = room.invite(&mut moderator, 60);
    let (before, certificate) = (room.events.len(), certificate(7, 0));
    (0..n).for_each(|_| _ = room.join_as(certificate.clone(), invite));
    (room, before)
}

fn closed(n: u32) -> (BigRoom, usize) {
    let Stage { mut room, mut moderator, .. } = stage();
    let invite = room.invite(&mut moderator, 60);
    let joins: Vec<EventId> = (0..n).map(|n| room.join(100 + n, invite).prev).collect();
    let before = room.events.len();
    joins.chunks(joins.len().div_ceil(10)).for_each(|part| _ = room.close(&mut moderator, invite, part.to_vec()));
    (room, before)
}

fn one_erasure(n: u32) -> (BigRoom, usize) {
    let Stage { mut room, mut member, .. } = stage();
    let before = room.events.len();
    (0..n).for_each(|_| _ = room.erase(&mut member, 1));
    (room, before)
}

fn erasures_and_devices(n: u32) -> (BigRoom, usize) {
    let Stage { mut room, mut member, grant, .. } = stage();
    let before = room.events.len();
    (0..n / 2).for_each(|n| _ = room.erase(&mut member, u64::from(n)));
    (0..n / 2).for_each(|n| _ = room.enrol(3, n + 1, grant));
    (room, before)
}

/// Half of the events are forks of the device's log, the others revoke it and keep its first event.
fn device_revokes(n: u32) -> (BigRoom, usize) {
    let Stage { mut room, member, mut key, .. } = stage();
    let before = room.events.len();
    (0..n / 2).for_each(|n| _ = room.erase(&mut member.clone(), u64::from(n)));
    (0..n / 2).for_each(|_| revoke_device(&mut room, &mut key, &member, vec![member.prev]));
    (room, before)
}

/// Half of the events revoke a device but keep its log so far, which is as long.
fn words_after_revokes(n: u32) -> (BigRoom, usize) {
    let Stage { mut room, mut member, mut key, .. } = stage();
    let before = room.events.len();
    let first = member.clone();
    (0..n / 2).for_each(|n| _ = room.erase(&mut member, u64::from(n)));
    let tip = Writer { log: first.log, ..member };
    (0..n / 2).for_each(|_| revoke_device(&mut room, &mut key, &tip, vec![tip.prev]));
    // The revocations come first.
    room.events[before..].rotate_left(n as usize / 2);
    (room, before)
}

/// Half of the events are joins by one device, the others revoke it.
fn joins_then_revokes(n: u32) -> (BigRoom, usize) {
    let Stage { mut room, mut moderator, member, mut key, .. } = stage();
    let invite = room.invite(&mut moderator, 60);
    let (before, certificate) = (room.events.len(), certificate(3, 0));
    (0..n / 2).for_each(|_| _ = room.join_as(certificate.clone(), invite));
    (0..n / 2).for_each(|_| revoke_device(&mut room, &mut key, &member, vec![member.prev]));
    (room, before)
}

fn revokes_then_joins(n: u32) -> (BigRoom, usize) {
    let (mut room, before) = joins_then_revokes(n);
    room.events[before..].rotate_left(n as usize / 2);
    (room, before)
}

/// Half of the events are grants of one user, the others take them away. The admin who granted is told, too.
fn granted(n: u32) -> (BigRoom, usize, Writer) {
    let Stage { mut room, mut moderator, mut admin, member, .. } = stage();
    let before = room.events.len();
    (0..n / 2).for_each(|n| _ = room.grant(&mut admin, member.user, 60 + (n % 20) as u8, Vec::new()));
    (0..n / 2).for_each(|_| _ = room.revoke(&mut moderator, member.user, Vec::new()));
    (room, before, admin)
}

fn many_grants(n: u32) -> (BigRoom, usize) {
    let (room, before, _) = granted(n);
    (room, before)
}

fn voided_revokes(n: u32) -> (BigRoom, usize) {
    let (mut room, before, mut admin) = granted(n);
    room.revoke(&mut admin, user(1), Vec::new());
    (room, before)
}

fn revoke_device(room: &mut BigRoom, key: &mut Writer, of: &Writer, ids: Vec<EventId>) {
    let cuts = vec![Cut { log: of.log, seq: of.seq, ids }];
    room.say(key, Control::RevokeDevice(RevokeDevice { device: of.log.author, cuts }));
}

fn sets(n: u32) -> (BigRoom, usize) {
    let Stage { mut room, mut moderator, .. } = stage();
    let (before, mut made) = (room.events.len(), Vec::new());
    for _ in 0..n {
        let mut replaces: Vec<EventId> = made.iter().rev().take(64).copied().collect();
        replaces.sort_unstable();
        made.push(room.set(&mut moderator, "topic", replaces));
    }
    (room, before)
}

/// Each with 64 cuts of 8 ids, of which nobody has but one.
fn revokes(n: u32) -> (BigRoom, usize) {
    let Stage { mut room, mut moderator, member, .. } = stage();
    let before = room.events.len();
    for n in 0..n {
        let cut = |log: u8| {
            let ids = (0..8)
                .map(|i| EventId([n as u8 ^ (i * 8), (n >> 8) as u8, log, i].repeat(8).try_into().unwrap_or([0; 32])));
            let mut ids: Vec<EventId> = ids.collect();
            ids.sort_unstable();
            let log = Log { class: Class::Control, author: member.log.author, grant: EventId([log; 32]) };
            Cut { log, seq: 9, ids }
        };
        let kept = Cut { log: member.log, seq: 1, ids: vec![member.prev] };
        let cuts = (0..63).map(cut).chain([kept]).collect();
        room.revoke(&mut moderator, member.user, cuts);
    }
    (room, before)
}

fn deep_ids(n: u32) -> (BigRoom, usize) {
    let Stage { mut room, mut moderator, mut member, .. } = stage();
    let ids: Vec<EventId> = (0..10_000).map(|n| room.erase(&mut member, n)).collect();
    let before = room.events.len();
    for n in 0..n as usize {
        let mut named: Vec<EventId> = (0..8).map(|i| ids[(n * 7 + i * 1_200) % ids.len()]).collect();
        named.sort_unstable();
        let cut = Cut { log: member.log, seq: 20_000 - n as u64, ids: named };
        room.revoke(&mut moderator, member.user, vec![cut]);
    }
    (room, before)
}

/// A hundred forks, each of a hundred events.
fn deep_forks(n: u32) -> (BigRoom, usize) {
    let Stage { mut room, mut moderator, member, .. } = stage();
    let mut tips = Vec::new();
    for fork in 0..100 {
        let mut branch = member.clone();
        (0..100).for_each(|n| _ = room.erase(&mut branch, fork * 100 + n));
        tips.push(branch.prev);
    }
    let before = room.events.len();
    for n in 0..n as usize {
        let mut ids: Vec<EventId> = (0..8).map(|i| tips[(n + i * 11) % tips.len()]).collect();
        ids.sort_unstable();
        room.revoke(&mut moderator, member.user, vec![Cut { log: member.log, seq: 200, ids }]);
    }
    (room, before)
}

fn lifts(n: u32) -> (BigRoom, usize) {
    let Stage { mut room, mut admin, member, .. } = stage();
    let (before, mut revokes) = (room.events.len(), Vec::new());
    for _ in 0..n {
        revokes.push(room.revoke(&mut admin, member.user, Vec::new()));
        let mut lifts: Vec<EventId> = revokes.iter().rev().take(64).copied().collect();
        lifts.sort_unstable();
        room.grant(&mut admin, member.user, 60, lifts);
    }
    (room, before)
}

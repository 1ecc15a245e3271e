//! What deciding costs, counted and not timed: an event on top of a room of a thousand members touches at most ten, and
//! from scratch each event is decided once. `make measure` has the times.

use crate::support::big_room::{BigRoom, Writer, certificate, key_certificate, user};
use tidings_protocol::control::cut::Cut;
use tidings_protocol::control::payload::{Control, RevokeDevice};
use tidings_protocol::control::set::ControlSet;
use tidings_protocol::event::Class;
use tidings_protocol::id::EventId;
use tidings_protocol::log::Log;

/// A room and what of it is decided.
struct Stage {
    room: BigRoom,
    set: ControlSet,
}

impl Stage {
    /// How many events are decided when what was said since comes, at most at a time.
    fn most(&mut self) -> u64 {
        let said = self.room.events[self.set.len()..].to_vec();
        let mut cost = |event| {
            let before = self.set.decisions();
            self.set.insert(event);
            self.set.settle();
            self.set.decisions() - before
        };
        said.into_iter().map(&mut cost).max().unwrap()
    }
}

#[test]
fn a_new_event_on_top_of_a_large_room_touches_at_most_ten() {
    let (room, mut founder) = BigRoom::of_members(1000);
    let set = room.settled();
    assert_eq!(set.decisions(), set.len() as u64, "from scratch each event is decided once");
    let mut stage = Stage { room, set };
    let room = &mut stage.room;
    let mut moderator = room.holder(&mut founder, 70, 20);
    let invite = room.invite(&mut moderator, 60);
    let mut members: Vec<Writer> = (0..200).map(|n| room.join(5_000 + n, invite)).collect();
    let mut key = room.enrol_as(key_certificate(5_000), members[0].log.grant);
    assert!(stage.most() <= 10, "grants, enrolments, an invite and joins");
    let room = &mut stage.room;
    let grant = room.grant(&mut founder, user(9_000), 60, Vec::new());
    room.enrol(9_000, 0, grant);
    room.set(&mut founder, "name", Vec::new());
    members.iter_mut().for_each(|member| _ = room.erase(member, 1));
    room.say(&mut members[1], Control::Leave);
    assert!(stage.most() <= 10, "settings, erasures, a leave");
    // A closing that lists every join, in as many events as it takes: the first voids those that it does not list.
    let joins: Vec<EventId> = members.iter().map(|member| member.log.grant).collect();
    stage.room.close(&mut moderator, invite, joins);
    assert!(stage.most() <= 10, "a closing that lists all");
    // One member of many is removed, with what they wrote or without.
    let kept = |member: &Writer| Cut { log: member.log, seq: member.seq, ids: vec![member.prev] };
    let cut = kept(&members[2]);
    stage.room.revoke(&mut moderator, members[2].user, vec![cut]);
    stage.room.revoke(&mut moderator, members[3].user, Vec::new());
    assert!(stage.most() <= 10, "a member is removed");
    // And a device that has written much; the user key enrolled as another device of theirs.
    for _ in 0..300 {
        stage.room.erase(&mut members[0], 1);
    }
    let (log, ids) = (members[0].log, vec![members[0].prev]);
    let content = Log { class: Class::Content, ..log };
    let cuts = vec![Cut { log, seq: members[0].seq, ids }, Cut { log: content, seq: 9, ids: vec![EventId([1; 32])] }];
    let device = certificate(5_000, 0).device();
    stage.room.say(&mut key, Control::RevokeDevice(RevokeDevice { device, cuts }));
    stage.room.erase(&mut members[0], 1);
    assert!(stage.most() <= 10, "a device is revoked, and goes on");
    let set = &stage.set;
    assert!(!set.counts(stage.room.events.last().unwrap().id) && set.counts(joins_of(&members)[0]));
    assert!(set.from_scratch().state() == set.state());
}

/// What a revocation that cuts away much touches is what it cuts away, and no more.
#[test]
fn cutting_a_long_log_away_touches_that_log_alone() {
    let (mut room, mut founder) = BigRoom::of_members(500);
    let mut moderator = room.holder(&mut founder, 70, 20);
    let grant = room.grant(&mut founder, user(71), 60, Vec::new());
    let mut member = room.enrol(71, 0, grant);
    (0..300).for_each(|n| _ = room.erase(&mut member, n));
    let mut stage = Stage { set: room.settled(), room };
    stage.room.revoke(&mut moderator, user(71), Vec::new());
    assert!((301..=303).contains(&stage.most()), "one look at each of its events");
    // Once it is away, another revocation of the same changes next to nothing.
    stage.room.revoke(&mut moderator, user(71), Vec::new());
    assert!(stage.most() <= 10);
}

/// A member joins by one link again and again, and revokes the device as often: each log is looked at once, whatever comes
/// first, and a stronger word that voids it all looks once more.
#[test]
fn revocations_look_only_at_what_they_can_change() {
    for is_first in [false, true] {
        let (mut room, mut founder) = BigRoom::found();
        let mut admin = room.holder(&mut founder, 2, 5);
        let mut moderator = room.holder(&mut founder, 1, 20);
        let invite = room.invite(&mut moderator, 60);
        let first = room.join(3, invite);
        let mut key = room.enrol_as(key_certificate(3), first.log.grant);
        let device = certificate(3, 0).device();
        let revoke = |room: &mut BigRoom, key: &mut Writer, moderator: &mut Writer| {
            for _ in 0..300 {
                room.say(key, Control::RevokeDevice(RevokeDevice { device, cuts: Vec::new() }));
                room.revoke(moderator, user(4), Vec::new());
            }
        };
        if is_first {
            revoke(&mut room, &mut key, &mut moderator);
        }
        for n in 0..300 {
            room.join_as(certificate(3, 0), invite);
            room.grant(&mut admin, user(4), 60 + (n % 20) as u8, Vec::new());
            room.join_as(certificate(4, n), invite);
        }
        if !is_first {
            revoke(&mut room, &mut key, &mut moderator);
        }
        let kept = Cut { log: key.log, seq: 1, ids: vec![first.log.grant] };
        room.revoke(&mut moderator, user(3), vec![kept]);
        room.revoke(&mut admin, user(1), Vec::new());
        let mut stage = Stage { set: ControlSet::new(room.id), room };
        stage.most();
        let (set, events) = (&stage.set, stage.room.events.len() as u64);
        assert!(set.looks() <= 4 * events, "{} looks for {events} events", set.looks());
        assert!(set.from_scratch().state() == set.state());
    }
}

fn joins_of(members: &[Writer]) -> Vec<EventId> {
    members.iter().map(|member| member.log.grant).collect()
}

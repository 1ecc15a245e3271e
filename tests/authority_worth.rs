//! Which control events a node keeps: whatever came first, what a valid removal names gets in everywhere, and what does not
//! count fills nobody's disk.

use crate::support::big_room::{BigRoom, Writer, user};
use tidings_protocol::control::cut::Cut;
use tidings_protocol::control::set::ControlSet;
use tidings_protocol::control::state::Void;
use tidings_protocol::control::worth::Unkept;
use tidings_protocol::id::EventId;
use tidings_protocol::limits::{TIPS_PER_LOG_MAX, VOID_CONTROL_MAX, VOID_WAY_MAX};

/// A founder, a moderator and a member of whom much is written.
struct Stage {
    room: BigRoom,
    moderator: Writer,
    member: Writer,
    set: ControlSet,
}

impl Stage {
    fn new() -> Stage {
        let (mut room, mut founder) = BigRoom::found();
        let moderator = room.holder(&mut founder, 1, 20);
        let member = room.holder(&mut founder, 3, 60);
        let set = room.settled();
        Stage { room, moderator, member, set }
    }

    /// Takes the last events in as a node does, those that it keeps, and says what of the last one it said. `way`: they came
    /// in one range, whose last event a cut names.
    fn offer(&mut self, count: usize, way: bool) -> Result<(), Unkept> {
        let events = self.room.events[self.room.events.len() - count..].to_vec();
        let mut last = Ok(());
        for event in events {
            last = self.set.is_worth_keeping(&event, way);
            if last.is_err() {
                break;
            }
            self.set.insert(event);
            self.set.settle();
        }
        last
    }

    fn remove(&mut self, seq: u64, ids: Vec<EventId>) {
        let cut = Cut { log: self.member.log, seq, ids };
        self.room.revoke(&mut self.moderator, user(3), vec![cut]);
        assert_eq!(self.offer(1, false), Ok(()));
    }
}

#[test]
fn branches_that_count_no_more_make_room_for_those_that_a_removal_names() {
    let mut stage = Stage::new();
    let honest = stage.member.clone();
    for n in 0..TIPS_PER_LOG_MAX as u64 {
        stage.room.erase(&mut honest.clone(), n);
        assert_eq!(stage.offer(1, false), Ok(()), "branch {n}");
    }
    let mut other = honest.clone();
    stage.room.erase(&mut other, 1_000);
    assert_eq!(stage.offer(1, false), Err(Unkept::TooManyBranches));
    // Somebody who has that branch removes her, and keeps it.
    stage.room.events.pop();
    let named = other.prev;
    stage.remove(other.seq, vec![named]);
    let mut branch = honest.clone();
    stage.room.erase(&mut branch, 1_001);
    let mut event = stage.room.events.pop().unwrap();
    event.id = named;
    stage.room.events.push(event);
    assert_eq!(stage.offer(1, false), Ok(()));
    assert!(stage.set.counts(named), "what one keeps, all keep");
    assert!(stage.set.from_scratch().state() == stage.set.state());
}

#[test]
fn a_branch_that_a_removal_names_gets_in_beside_all_that_count() {
    let (mut room, mut founder) = BigRoom::found();
    let moderator = room.holder(&mut founder, 1, 20);
    // What a removal by somebody weaker names of a log takes nothing away, and is kept by all the same.
    let strong = room.holder(&mut founder, 3, 15);
    let set = room.settled();
    let mut stage = Stage { room, moderator, member: strong.clone(), set };
    for n in 0..TIPS_PER_LOG_MAX as u64 {
        stage.room.erase(&mut strong.clone(), n);
        assert_eq!(stage.offer(1, false), Ok(()), "branch {n}");
    }
    let mut other = strong.clone();
    stage.room.erase(&mut other, 1_000);
    assert_eq!(stage.offer(1, false), Err(Unkept::TooManyBranches));
    let named = stage.room.events.pop().unwrap();
    stage.remove(other.seq, vec![named.id]);
    stage.room.events.push(named);
    assert_eq!(stage.offer(1, false), Ok(()));
    assert!(stage.set.counts(other.prev));
}

#[test]
fn what_does_not_count_is_kept_up_to_a_number_but_for_the_way_to_what_a_cut_names() {
    let mut stage = Stage::new();
    let first = stage.member.prev;
    let mut branch = stage.member.clone();
    stage.remove(1, vec![first]);
    for n in 0..u64::from(VOID_CONTROL_MAX) {
        stage.room.erase(&mut branch, n);
        assert_eq!(stage.offer(1, false), Ok(()), "{n}");
    }
    stage.room.erase(&mut branch, 1_000);
    assert_eq!(stage.offer(1, false), Err(Unkept::Void(Void::Prev)));
    // Another removal, which does not know of the first, keeps much more: the way there comes in one range, or in many.
    let top = EventId([9; 32]);
    let event = stage.room.events.pop().unwrap();
    stage.room.revoke(&mut stage.moderator, user(3), vec![Cut { log: stage.member.log, seq: 100_000, ids: vec![top] }]);
    assert_eq!(stage.offer(1, false), Ok(()));
    stage.room.events.push(event);
    let mut in_one = Stage {
        room: stage.room.clone(),
        moderator: stage.moderator.clone(),
        member: branch.clone(),
        set: stage.set.clone(),
    };
    assert_eq!(stage.offer(1, false), Ok(()), "it may be the way");
    assert_eq!(in_one.offer(1, true), Ok(()), "it is");
    // One more is kept already, and the enrolment does not count any more.
    for n in u64::from(VOID_CONTROL_MAX)..u64::from(VOID_WAY_MAX) - 2 {
        stage.room.erase(&mut branch, n);
        assert_eq!(stage.offer(1, false), Ok(()), "{n}");
    }
    stage.room.erase(&mut branch, 2_000);
    assert_eq!(stage.offer(1, false), Err(Unkept::Void(Void::Prev)), "a name that nobody has opens no disk");
    assert_eq!(stage.offer(1, true), Ok(()));
}

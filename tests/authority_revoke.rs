//! Taking away, scene by scene: what a Revoke and a RevokeDevice cover and keep, what lifts them, and what comes back when
//! they turn out void themselves. One rule in each.

use crate::support::big_room::{BigRoom, user};
use crate::support::people::{Pen, Person, invite_secret};
use crate::support::revoking::{content_of, up_to};
use crate::support::scene::{Scene, holder, members};
use tidings_protocol::admission::{Admission, admit_content};
use tidings_protocol::control::cut::Cut;
use tidings_protocol::control::rank::Rank;
use tidings_protocol::control::set::ControlSet;
use tidings_protocol::control::state::Void;
use tidings_protocol::event::VerifiedEvent;
use tidings_protocol::id::{DeviceId, EventId, RoomId};

/// A founder, two moderators of one rank, and Bob, a member who has set foot in the room.
struct Stage {
    scene: Scene,
    founder: Pen,
    judge: Pen,
    equal: Pen,
    bob: Person,
    rules: Pen,
    says: Pen,
    /// What Bob's control log holds: his Enrol and two more.
    bobs: Vec<VerifiedEvent>,
}

impl Stage {
    fn set() -> Stage {
        let (genesis, mut founder) = Person::new(1).found_with(Rank::MEMBER, &[]);
        let mut scene = Scene::of(&[genesis]);
        let (_, judge) = holder(&mut scene, &mut founder, 3, 20);
        let (_, equal) = holder(&mut scene, &mut founder, 4, 20);
        let bob = Person::new(2);
        let grant = founder.grant(bob.user(), 60);
        let (enrol, mut rules) = bob.enrol(founder.room, grant.id());
        let says = bob.pen(founder.room, grant.id());
        let (one, two) = (rules.open_invite(&invite_secret(7), 80), rules.grant(Person::new(9).user(), 70));
        let bobs = vec![enrol, one, two];
        scene.admit(&grant);
        bobs.iter().for_each(|event| scene.admit(event));
        Stage { scene, founder, judge, equal, bob, rules, says, bobs }
    }

    fn voids(&self) -> Vec<Option<Void>> {
        self.bobs.iter().map(|event| self.scene.void(event)).collect()
    }

    fn is_member(&self, who: &Person) -> bool {
        self.scene.state().members.contains_key(&who.user())
    }

    fn admits(&self, event: &VerifiedEvent) -> bool {
        admit_content(event, &self.scene.state()).0 == Admission::Admit
    }
}

const NOTHING: [Option<Void>; 3] = [None; 3];

#[test]
fn a_cut_keeps_what_lies_below_it_and_nothing_above() {
    let mut stage = Stage::set();
    let revoke = stage.judge.revoke(stage.bob.user(), &[up_to(&stage.bobs[1])], &[]);
    stage.scene.admit(&revoke);
    assert_eq!(stage.voids(), [None, None, Some(Void::Revoked)]);
    assert!(!stage.is_member(&stage.bob), "what he did stays, he does not");
}

#[test]
fn a_log_that_no_cut_names_is_cut_at_zero() {
    let mut stage = Stage::set();
    let mut words = stage.says.clone();
    assert!(stage.admits(&words.text("before")));
    stage.scene.admit(&stage.judge.clone().revoke(stage.bob.user(), &[], &[]));
    assert_eq!(stage.voids(), [Some(Void::Revoked), Some(Void::Prev), Some(Void::Prev)]);
    assert!(!stage.admits(&words.text("after")));
    // Nor is there anything in the logs of a device that nobody has seen yet.
    let (phone, _) = Person::at(2, 5).enrol(stage.founder.room, stage.rules.grant);
    stage.scene.admit(&phone);
    assert_eq!(stage.scene.void(&phone), Some(Void::Revoked));
}

#[test]
fn content_is_cut_as_control_is() {
    let mut stage = Stage::set();
    let words = [stage.says.text("one"), stage.says.text("two"), stage.says.text("three")];
    let cuts = [up_to(&stage.bobs[2]), up_to(&words[1])];
    stage.scene.admit(&stage.judge.revoke(stage.bob.user(), &cuts, &[]));
    let state = stage.scene.state();
    let right = state.content_right(&words[0].log()).unwrap();
    assert_eq!((right.user, right.cuts), (stage.bob.user(), vec![&cuts[1]]));
    // Without its enrolment, which is void, nothing of it stays whatever a cut of it says.
    stage.scene.admit(&stage.equal.revoke(stage.bob.user(), &[up_to(&words[1])], &[]));
    assert!(stage.scene.state().content_right(&words[0].log()).is_err());
}

#[test]
fn of_two_revokes_both_have_to_keep_it() {
    let mut stage = Stage::set();
    stage.scene.admit(&stage.judge.clone().revoke(stage.bob.user(), &[up_to(&stage.bobs[2])], &[]));
    assert_eq!(stage.voids(), NOTHING);
    stage.scene.admit(&stage.equal.revoke(stage.bob.user(), &[up_to(&stage.bobs[0])], &[]));
    assert_eq!(stage.voids(), [None, Some(Void::Revoked), Some(Void::Prev)]);
}

#[test]
fn a_cut_names_one_branch_of_a_fork() {
    let mut stage = Stage::set();
    let mut fork = stage.rules.fork_at(&stage.bobs[0]);
    let (branch, above) = (fork.grant(Person::new(8).user(), 77), fork.leave());
    [&branch, &above].into_iter().for_each(|event| stage.scene.admit(event));
    stage.scene.admit(&stage.judge.revoke(stage.bob.user(), &[up_to(&branch)], &[]));
    assert_eq!(stage.voids(), [None, Some(Void::Revoked), Some(Void::Prev)]);
    assert_eq!((stage.scene.void(&branch), stage.scene.void(&above)), (None, Some(Void::Revoked)));
}

#[test]
fn the_seq_of_a_cut_bounds_it_whatever_it_names() {
    let mut stage = Stage::set();
    let short = Cut { seq: 2, ..up_to(&stage.bobs[2]) };
    stage.scene.admit(&stage.judge.revoke(stage.bob.user(), &[short], &[]));
    assert_eq!(stage.voids(), [None, None, Some(Void::Revoked)]);
}

#[test]
fn who_lacks_the_tip_keeps_what_the_lower_ids_show_and_all_of_it_once_the_tip_comes() {
    let mut stage = Stage::set();
    let later = stage.rules.set("topic", "not allowed to him", &[]);
    let (tip, mut ids) = (stage.rules.fork_at(&stage.bobs[2]).leave(), vec![]);
    ids.extend([tip.id(), stage.bobs[0].id()]);
    ids.sort_unstable();
    let cut = Cut { log: tip.log(), seq: 4, ids };
    stage.scene.admit(&stage.judge.revoke(stage.bob.user(), &[cut], &[]));
    assert_eq!(stage.voids(), [None, Some(Void::Revoked), Some(Void::Prev)]);
    assert_eq!(stage.scene.verdict(&later), Admission::Void(Void::NotAllowed));
    stage.scene.admit(&tip);
    assert_eq!((stage.voids(), stage.scene.void(&tip)), (NOTHING.to_vec(), None));
}

#[test]
fn equal_rank_cannot_revoke_and_a_weaker_one_even_less() {
    let mut stage = Stage::set();
    let judges: Vec<EventId> = vec![stage.judge.prev];
    let (other, equal) = (Person::new(3), stage.equal.revoke(Person::new(3).user(), &[], &[]));
    stage.scene.admit(&equal);
    assert_eq!(stage.scene.void(&equal), None, "its target decides no validity");
    assert!(stage.is_member(&other) && judges.iter().all(|id| stage.scene.set.counts(*id)));
    let member = stage.rules.revoke(Person::new(9).user(), &[], &[]);
    assert_eq!(stage.scene.verdict(&member), Admission::Void(Void::NotAllowed));
    let founder = stage.judge.revoke(Person::new(1).user(), &[], &[]);
    stage.scene.admit(&founder);
    assert!(stage.is_member(&Person::new(1)), "founders are irrevocable");
}

#[test]
fn a_revoke_leaves_the_grants_of_its_own_rank_and_stronger() {
    let mut stage = Stage::set();
    let strong = stage.founder.grant(stage.bob.user(), 20);
    let (enrol, _) = stage.bob.enrol(stage.founder.room, strong.id());
    [&strong, &enrol].into_iter().for_each(|event| stage.scene.admit(event));
    stage.scene.admit(&stage.judge.revoke(stage.bob.user(), &[], &[]));
    assert_eq!(stage.voids()[0], Some(Void::Revoked));
    assert_eq!(members(&stage.scene.state())[&stage.bob.user()], 20);
    assert_eq!(stage.scene.void(&enrol), None);
}

#[test]
fn a_grant_that_lifts_brings_back_and_an_older_or_weaker_one_does_not() {
    let mut stage = Stage::set();
    let revoke = stage.judge.revoke(stage.bob.user(), &[], &[]);
    stage.scene.admit(&revoke);
    let plain = stage.founder.grant(stage.bob.user(), 60);
    stage.scene.admit(&plain);
    assert!(!stage.is_member(&stage.bob), "it keeps out until it is lifted");
    let (_, mut weaker) = holder(&mut stage.scene, &mut stage.founder, 6, 21);
    stage.scene.admit(&weaker.grant_lifting(stage.bob.user(), 60, &[&revoke]));
    assert!(!stage.is_member(&stage.bob), "by a weaker issuer than who revoked");
    let lifting = stage.equal.grant_lifting(stage.bob.user(), 60, &[&revoke]);
    stage.scene.admit(&lifting);
    assert!(stage.is_member(&stage.bob));
    // What he wrote under the old grant stays away; he goes on under the new one.
    assert_eq!(stage.voids()[0], Some(Void::Revoked));
    let (enrol, _) = stage.bob.enrol(stage.founder.room, lifting.id());
    stage.scene.admit(&enrol);
    assert_eq!(stage.scene.void(&enrol), None);
    // The next one is another matter.
    stage.scene.admit(&stage.judge.revoke(stage.bob.user(), &[], &[]));
    assert!(!stage.is_member(&stage.bob));
}

#[test]
fn invites_of_who_was_removed_close_and_the_joins_listed_stay() {
    let mut stage = Stage::set();
    let (room, invite) = (stage.founder.room, stage.bobs[1].id());
    let joins: Vec<VerifiedEvent> =
        [10, 11].map(|n| Person::new(n).join(room, invite, &invite_secret(7)).0).into_iter().collect();
    joins.iter().for_each(|join| stage.scene.admit(join));
    let revoke = stage.judge.revoke(stage.bob.user(), &[up_to(&stage.bobs[2])], &[&joins[0]]);
    stage.scene.admit(&revoke);
    assert_eq!((stage.scene.void(&joins[0]), stage.scene.void(&joins[1])), (None, Some(Void::Closed)));
    // Another closing lists more: the union counts.
    stage.scene.admit(&stage.equal.close_invite(invite, &[&joins[1]]));
    assert_eq!((stage.scene.void(&joins[0]), stage.scene.void(&joins[1])), (None, None));
    // Where the invite itself is cut away, so is every join.
    stage.scene.admit(&stage.equal.revoke(stage.bob.user(), &[], &[&joins[0]]));
    assert_eq!(stage.scene.void(&joins[0]), Some(Void::Invite));
}

#[test]
fn who_was_removed_cannot_come_back_by_a_link() {
    let mut stage = Stage::set();
    let link = stage.founder.open_invite(&invite_secret(5), 60);
    stage.scene.admit(&link);
    stage.scene.admit(&stage.judge.revoke(stage.bob.user(), &[], &[]));
    let (join, _) = Person::at(2, 4).join(stage.founder.room, link.id(), &invite_secret(5));
    stage.scene.admit(&join);
    assert_eq!(stage.scene.void(&join), Some(Void::Revoked));
}

#[test]
fn a_cut_that_turns_out_void_gives_everything_back() {
    let mut stage = Stage::set();
    let words = stage.says.text("hello");
    let revoke = stage.judge.revoke(stage.bob.user(), &[], &[]);
    stage.scene.admit(&revoke);
    assert!(!stage.is_member(&stage.bob) && !stage.admits(&words));
    // The founder removes the moderator, as of before that.
    stage.scene.admit(&stage.founder.revoke(Person::new(3).user(), &[], &[]));
    assert_eq!((stage.scene.void(&revoke), stage.voids()), (Some(Void::Prev), NOTHING.to_vec()));
    assert!(stage.is_member(&stage.bob) && stage.admits(&words));
}

#[test]
fn two_moderators_who_remove_each_other_stay_both_and_an_admin_decides() {
    let mut stage = Stage::set();
    let (one, two) = (Person::new(3), Person::new(4));
    stage.scene.admit(&stage.judge.clone().revoke(two.user(), &[], &[]));
    stage.scene.admit(&stage.equal.clone().revoke(one.user(), &[], &[]));
    assert!(stage.is_member(&one) && stage.is_member(&two));
    let (_, mut admin) = holder(&mut stage.scene, &mut stage.founder, 6, 10);
    stage.scene.admit(&admin.revoke(one.user(), &[], &[]));
    assert!(!stage.is_member(&one) && stage.is_member(&two));
}

#[test]
fn what_a_void_removal_alone_reached_comes_back_and_what_a_weaker_one_reaches_stays_away() {
    let mut stage = Stage::set();
    let strong = stage.founder.grant(stage.bob.user(), 15);
    let (enrol, _) = Person::at(2, 1).enrol(stage.founder.room, strong.id());
    [&strong, &enrol].into_iter().for_each(|event| stage.scene.admit(event));
    let (admin, mut rules) = holder(&mut stage.scene, &mut stage.founder, 6, 10);
    // The moderator is too weak for Bob's strong grant, the admin is not.
    let (by_moderator, by_admin) =
        (stage.judge.revoke(stage.bob.user(), &[], &[]), rules.revoke(stage.bob.user(), &[], &[]));
    [&by_moderator, &by_admin].into_iter().for_each(|event| stage.scene.admit(event));
    assert_eq!((stage.scene.void(&enrol), stage.voids()[0]), (Some(Void::Revoked), Some(Void::Revoked)));
    stage.scene.admit(&stage.founder.revoke(admin.user(), &[], &[]));
    assert_eq!((stage.scene.void(&enrol), stage.voids()[0]), (None, Some(Void::Revoked)));
    assert!(stage.is_member(&stage.bob));
}

/// Bob's second device and his user key, enrolled.
fn phone_and_key(stage: &mut Stage) -> (VerifiedEvent, Pen, Pen) {
    let (phone, by_phone) = Person::at(2, 1).enrol(stage.founder.room, stage.rules.grant);
    let (key, by_key) = Person::at_key(2).enrol(stage.founder.room, stage.rules.grant);
    stage.scene.admit(&phone);
    stage.scene.admit(&key);
    (phone, by_phone, by_key)
}

#[test]
fn a_device_is_revoked_by_its_own_users_key_alone() {
    let mut stage = Stage::set();
    let (phone, mut by_phone, mut by_key) = phone_and_key(&mut stage);
    let by_device = stage.rules.clone().revoke_device(phone.log().author, &[]);
    assert_eq!(stage.scene.verdict(&by_device), Admission::Void(Void::NotAllowed), "not by a device");
    let (other_key, mut stranger) = Person::at_key(9).enrol(stage.founder.room, stage.bobs[2].id());
    stage.scene.admit(&other_key);
    stage.scene.admit(&stranger.revoke_device(phone.log().author, &[]));
    assert_eq!(stage.scene.void(&phone), None, "not by another user's key");
    let last = by_phone.leave();
    stage.scene.admit(&by_key.revoke_device(phone.log().author, &[up_to(&phone)]));
    stage.scene.admit(&last);
    assert_eq!((stage.scene.void(&phone), stage.scene.void(&last)), (None, Some(Void::DeviceRevoked)));
    assert_eq!(stage.voids(), NOTHING, "other devices go on");
    let state = stage.scene.state();
    assert!(!state.members[&stage.bob.user()].devices.contains(&phone.log().author));
    assert!(state.members[&stage.bob.user()].devices.contains(&stage.bob.device()));
}

#[test]
fn a_device_revoked_without_cuts_loses_its_enrolment_and_its_words() {
    let mut stage = Stage::set();
    let (phone, by_phone, mut by_key) = phone_and_key(&mut stage);
    let words = Person::at(2, 1).pen(stage.founder.room, by_phone.grant).text("by phone");
    assert!(stage.admits(&words));
    stage.scene.admit(&by_key.revoke_device(phone.log().author, &[]));
    assert_eq!(stage.scene.void(&phone), Some(Void::DeviceRevoked));
    assert!(!stage.admits(&words) && stage.is_member(&stage.bob));
}

#[test]
fn the_user_keys_own_log_is_never_cut_by_a_device_revocation() {
    let mut stage = Stage::set();
    let (_, _, mut by_key) = phone_and_key(&mut stage);
    let revoke = by_key.revoke_device(stage.bob.user().into(), &[]);
    let next = by_key.set("topic", "x", &[]);
    stage.scene.admit(&revoke);
    assert_eq!(stage.scene.void(&revoke), None);
    assert_eq!(stage.scene.verdict(&next), Admission::Void(Void::NotAllowed), "for its rank alone");
    assert!(stage.scene.set.counts(by_key.fork_at(&revoke).prev));
}

#[test]
fn a_device_revocation_spares_the_join_which_is_a_grant() {
    let mut stage = Stage::set();
    let room = stage.founder.room;
    let carol = Person::new(10);
    let (join, mut rules) = carol.join(room, stage.bobs[1].id(), &invite_secret(7));
    let (key, mut by_key) = Person::at_key(10).enrol(room, join.id());
    let last = rules.leave();
    [&join, &key, &last].into_iter().for_each(|event| stage.scene.admit(event));
    assert!(!stage.is_member(&carol), "she left");
    stage.scene.admit(&by_key.revoke_device(carol.device(), &[]));
    assert_eq!((stage.scene.void(&join), stage.scene.void(&last)), (None, Some(Void::DeviceRevoked)));
    assert!(stage.is_member(&carol), "not she: her device did");
    assert!(stage.scene.state().members[&carol.user()].devices.contains(&DeviceId::from(carol.user())));
    let words = carol.pen(room, join.id()).text("from the lost device");
    assert!(!stage.admits(&words));
}

#[test]
fn branches_cut_with_their_device_say_so_until_their_user_is_removed() {
    let mut stage = Stage::set();
    let (phone, by_phone, mut by_key) = phone_and_key(&mut stage);
    let branches = [by_phone.fork_at(&phone).leave(), by_phone.fork_at(&phone).grant(Person::new(8).user(), 77)];
    branches.iter().for_each(|event| stage.scene.admit(event));
    let lost = by_key.revoke_device(phone.log().author, &[up_to(&phone)]);
    stage.scene.admit(&lost);
    let voids = |stage: &Stage| [0, 1].map(|n: usize| stage.scene.void(&branches[n]));
    assert_eq!(voids(&stage), [Some(Void::DeviceRevoked); 2]);
    let removed = stage.judge.revoke(stage.bob.user(), &[up_to(&phone), up_to(&lost)], &[]);
    stage.scene.admit(&removed);
    assert_eq!((voids(&stage), stage.scene.void(&lost)), ([Some(Void::Revoked); 2], None));
}

#[test]
fn a_device_revocation_reaches_no_stronger_grant() {
    let mut stage = Stage::set();
    let (phone, _, mut by_key) = phone_and_key(&mut stage);
    let strong = stage.founder.grant(stage.bob.user(), 40);
    let (again, _) = Person::at(2, 1).enrol(stage.founder.room, strong.id());
    [&strong, &again].into_iter().for_each(|event| stage.scene.admit(event));
    stage.scene.admit(&by_key.revoke_device(phone.log().author, &[]));
    assert_eq!((stage.scene.void(&phone), stage.scene.void(&again)), (Some(Void::DeviceRevoked), None));
}

#[test]
fn the_room_goes_on_where_the_strongest_valid_successor_says() {
    let mut stage = Stage::set();
    let (_, mut admin) = holder(&mut stage.scene, &mut stage.founder, 6, 5);
    assert_eq!(stage.scene.verdict(&stage.judge.succeed(RoomId([1; 32]))), Admission::Void(Void::NotAllowed));
    stage.scene.admit(&admin.succeed(RoomId([2; 32])));
    assert_eq!(stage.scene.state().successor, Some(RoomId([2; 32])));
    stage.scene.admit(&stage.founder.clone().succeed(RoomId([3; 32])));
    assert_eq!(stage.scene.state().successor, Some(RoomId([3; 32])));
    let mut other = Stage::set();
    let (enrolled, mut admin) = holder(&mut other.scene, &mut other.founder, 6, 5);
    other.scene.admit(&admin.succeed(RoomId([2; 32])));
    other.scene.admit(&other.founder.revoke(enrolled.user(), &[], &[]));
    assert_eq!(other.scene.state().successor, None, "with its author's word it goes");
}

/// What is told to others holds the way down from what a cut names, and not where nothing of it counts.
#[test]
fn proofs_are_told_with_what_counts() {
    let mut stage = Stage::set();
    let cut = Cut { seq: 2, ..up_to(&stage.bobs[2]) };
    stage.scene.admit(&stage.judge.revoke(stage.bob.user(), &[cut], &[]));
    let tells = |stage: &Stage, event: &VerifiedEvent| stage.scene.set.heads().iter().any(|h| h.1.id == event.id());
    assert!(tells(&stage, &stage.bobs[2]) && !tells(&stage, &stage.bobs[1]));
    assert!(stage.scene.set.is_named(&stage.bobs[2].log(), stage.bobs[2].id()));
    stage.scene.admit(&stage.founder.revoke(stage.bob.user(), &[], &[]));
    assert!(stage.bobs.iter().all(|event| !tells(&stage, event)));
    assert_eq!(content_of(stage.bobs[0].log()), stage.says.log());
}

/// Of two removals the one that kept less turns out void: what the other kept is back, on one line as on a fork.
#[test]
fn what_a_void_removal_kept_bounds_nothing_any_more() {
    for is_forked in [false, true] {
        let (mut room, mut founder) = BigRoom::found();
        let [mut one, mut other] = [1, 2].map(|person| room.holder(&mut founder, person, 20));
        let mut member = room.holder(&mut founder, 3, 60);
        let start = member.clone();
        let ids: Vec<EventId> = (0..5).map(|n| room.erase(&mut member, n)).collect();
        if is_forked {
            room.erase(&mut start.clone(), 9);
        }
        let cut = |n: usize| vec![Cut { log: start.log, seq: n as u64 + 2, ids: vec![ids[n]] }];
        room.revoke(&mut one, member.user, cut(1));
        room.revoke(&mut other, member.user, cut(3));
        let mut set = room.settled();
        let counting = |set: &ControlSet| ids.iter().filter(|id| set.counts(**id)).count();
        assert_eq!(counting(&set), 2);
        room.revoke(&mut founder, one.user, Vec::new());
        set.insert(room.events.last().unwrap().clone());
        set.settle();
        assert_eq!(counting(&set), 4);
        assert_eq!(counting(&set.from_scratch()), 4);
    }
}

/// A grant that lifts one removal and is taken by another is held again once that turns out void.
#[test]
fn a_grant_that_lifts_comes_back_when_what_took_it_is_void() {
    let (mut room, mut founder) = BigRoom::found();
    let [mut one, mut other] = [1, 2].map(|person| room.holder(&mut founder, person, 20));
    room.holder(&mut founder, 3, 60);
    let lifted = room.revoke(&mut other, user(3), Vec::new());
    room.grant(&mut founder, user(3), 60, vec![lifted]);
    let mut set = room.settled();
    assert!(set.state().members.contains_key(&user(3)));
    for (by, is_member) in [(&mut one, false), (&mut founder, true)] {
        let whom = if is_member { user(1) } else { user(3) };
        room.revoke(by, whom, Vec::new());
        set.insert(room.events.last().unwrap().clone());
        set.settle();
        assert_eq!(set.state().members.contains_key(&user(3)), is_member);
        assert!(set.from_scratch().state() == set.state());
    }
}

/// A log that comes after the removal that keeps some of it is no less cut by the next.
#[test]
fn what_came_after_one_removal_is_cut_by_the_next() {
    let (mut room, mut founder) = BigRoom::found();
    let mut judge = room.holder(&mut founder, 1, 20);
    let mut member = room.holder(&mut founder, 3, 60);
    let ids: Vec<EventId> = (0..3).map(|n| room.erase(&mut member, n)).collect();
    room.revoke(&mut judge, user(3), vec![Cut { log: member.log, seq: 3, ids: vec![ids[1]] }]);
    let (theirs, rest): (Vec<_>, Vec<_>) = room.events.iter().cloned().partition(|event| event.log == member.log);
    let mut set = ControlSet::new(room.id);
    let counting = |set: &ControlSet| ids.iter().filter(|id| set.counts(**id)).count();
    for event in rest.into_iter().chain(theirs) {
        set.insert(event);
        set.settle();
    }
    assert_eq!(counting(&set), 2);
    room.revoke(&mut judge, user(3), Vec::new());
    set.insert(room.events.last().unwrap().clone());
    set.settle();
    assert_eq!((counting(&set), counting(&set.from_scratch())), (0, 0));
}

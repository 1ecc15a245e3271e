//! Room authority, scene by scene: who may do what, what does not count, and why. `authority_state` has what follows for
//! the room, `authority_model` compares random rooms with the executable model.

use crate::support::people::{Pen, Person, erase_of, invite_secret};
use crate::support::scene::{Scene, holder, members};
use crate::support::store::Duo;
use std::collections::{BTreeMap, BTreeSet};
use tidings_protocol::admission::{Admission, Rejection, WaitFor, admit_content};
use tidings_protocol::control::kind;
use tidings_protocol::control::payload::{Control, Join};
use tidings_protocol::control::rank::Rank;
use tidings_protocol::control::state::Void;
use tidings_protocol::event::{Class, VerifiedEvent};
use tidings_protocol::id::{DeviceId, EventId, RoomId};
use tidings_protocol::identity::BadSignature;

#[test]
fn each_rank_may_do_what_the_table_says_and_no_more() {
    let (genesis, mut founder) = Person::new(1).found_with(Rank::MODERATOR, &[]);
    let mut scene = Scene::of(&[genesis]);
    for (n, rank) in [1, 9, 10, 11, 29, 30, 31, 60, 89, 90, 98, 99].into_iter().enumerate() {
        let (_, pen) = holder(&mut scene, &mut founder, 20 + n as u8, rank);
        let may = |allowed: bool| if allowed { Admission::Admit } else { Admission::Void(Void::NotAllowed) };
        let verdict = |deed: &dyn Fn(&mut Pen) -> VerifiedEvent| scene.verdict(&deed(&mut pen.clone()));
        for offered in [0, 1, 10, 29, 30, 31, 60, 89, 98, 99] {
            let expected = may(rank <= 30 && offered > rank);
            let user = Person::new(9).user();
            assert_eq!(verdict(&|p| p.grant(user, offered)), expected, "{rank} grants {offered}");
            assert_eq!(verdict(&|p| p.open_invite(&invite_secret(3), offered)), expected, "{rank} invites {offered}");
        }
        for key in ["name", "retention", "TOPIC", ""] {
            assert_eq!(verdict(&|p| p.set(key, "x", &[])), may(rank <= 10), "{rank} sets {key}");
        }
        assert_eq!(verdict(&|p| p.set("topic", "x", &[])), may(rank <= 30), "{rank} sets the topic");
        // Their targets decide what these do, not whether they are allowed.
        assert_eq!(verdict(&|p| p.leave()), Admission::Admit);
        assert_eq!(verdict(&|p| p.close_invite(EventId([7; 32]), &[])), Admission::Admit);
        assert_eq!(verdict(&|p| p.write(999, b"later")), Admission::Admit);
    }
    for rank in [0, 1, 99] {
        let verdict = scene.verdict(&founder.clone().grant(Person::new(9).user(), rank));
        assert_eq!(verdict == Admission::Admit, rank > 0, "the founder grants {rank}");
    }
}

#[test]
fn the_weakest_rank_that_invites_is_the_rooms_choice() {
    for weakest in [0, 10, 89] {
        let (genesis, mut founder) = Person::new(1).found_with(Rank::new(weakest).unwrap(), &[]);
        let mut scene = Scene::of(&[genesis]);
        for (n, rank) in [5, 10, 11, 89, 90].into_iter().enumerate() {
            let (_, pen) = holder(&mut scene, &mut founder, 20 + n as u8, rank);
            let invited = scene.verdict(&pen.clone().open_invite(&invite_secret(3), 99));
            assert_eq!(invited == Admission::Admit, rank <= weakest, "{rank} of {weakest}");
        }
    }
}

#[test]
fn a_grant_speaks_of_its_user_and_is_taken_up_by_their_devices_alone() {
    let duo = Duo::new();
    let mut scene = Scene::of(&duo.control);
    let (carol, dave) = (Person::new(3), Person::new(4));
    let grant = duo.ada_rules.clone().grant(carol.user(), 40);
    let (enrol, carol_rules) = carol.enrol(duo.room, grant.id());
    assert_eq!(scene.verdict(&enrol), Admission::Wait(WaitFor::Event(grant.id())));
    scene.admit(&grant);
    assert_eq!(members(&scene.state())[&carol.user()], 40);
    assert!(scene.state().members[&carol.user()].devices.is_empty());
    let not_allowed = Admission::Void(Void::NotAllowed);
    assert_eq!(scene.verdict(&dave.enrol(duo.room, grant.id()).0), not_allowed, "another user's device");
    assert_eq!(scene.verdict(&dave.enrol(duo.room, duo.ada_rules.grant).0), not_allowed, "no founder");
    let stolen = Control::Enrol(carol.certificate().clone());
    let forged = Admission::Reject(Rejection::Forged(BadSignature));
    assert_eq!(scene.verdict(&dave.root(duo.room, grant.id(), stolen.clone()).0), forged, "another's certificate");
    let mut late = carol_rules.clone();
    assert_eq!(scene.verdict(&late.rule(stolen)), Admission::Wait(WaitFor::Event(enrol.id())));
    scene.admit(&enrol);
    assert_eq!(scene.verdict(&carol_rules.clone().rule(Control::Enrol(carol.certificate().clone()))), not_allowed);
    scene.admit(&Person::at(3, 1).enrol(duo.room, grant.id()).0);
    let state = scene.state();
    let devices: BTreeSet<DeviceId> = state.members[&carol.user()].devices.iter().copied().collect();
    assert_eq!(devices, BTreeSet::from([carol.device(), Person::at(3, 1).device()]));
    assert_eq!(state.user_of(carol.device()), Some(carol.user()));
    assert_eq!(state.grant_of(carol.device()), Some((grant.id(), Rank::new(40).unwrap())));
    assert_eq!((state.user_of(dave.device()), state.grant_of(dave.device())), (None, None));
}

#[test]
fn a_certificate_with_one_changed_bit_is_forged() {
    let duo = Duo::new();
    let mut scene = Scene::of(&duo.control);
    let grant = duo.ada_rules.clone().grant(Person::new(3).user(), 40);
    scene.admit(&grant);
    let good = Control::Enrol(Person::new(3).certificate().clone());
    let bytes = good.encode();
    for at in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        let mut pen = Person::new(3).pen_of(Class::Control, duo.room, grant.id());
        let Ok(control) = Control::decode(kind::ENROL, &bad) else { continue };
        let verdict = scene.verdict(&pen.rule(control));
        assert!(matches!(verdict, Admission::Reject(Rejection::Forged(_))), "byte {at}: {verdict:?}");
    }
}

#[test]
fn a_join_needs_the_link_the_room_and_ones_own_certificate() {
    let duo = Duo::new();
    let scene = Scene::of(&duo.control);
    let (carol, invite) = (Person::new(3), duo.control[2].id());
    let verdict = |event: &VerifiedEvent| scene.verdict(event);
    let forged = Admission::Reject(Rejection::Forged(BadSignature));
    assert_eq!(verdict(&carol.join(duo.room, invite, &invite_secret(9)).0), Admission::Admit);
    assert_eq!(verdict(&carol.join(duo.room, invite, &invite_secret(8)).0), forged, "another key");
    let unknown = EventId([5; 32]);
    assert_eq!(verdict(&carol.join(duo.room, unknown, &invite_secret(9)).0), Admission::Wait(WaitFor::Event(unknown)));
    for not_an_invite in [duo.control[0].id(), duo.control[1].id(), duo.control[3].id()] {
        let (join, _) = carol.join(duo.room, not_an_invite, &invite_secret(9));
        assert_eq!(verdict(&join), Admission::Reject(Rejection::Misplaced));
    }
    // A proof for another room, and one for another person.
    let elsewhere = Join::new(RoomId([7; 32]), invite, carol.certificate().clone(), &invite_secret(9));
    assert_eq!(verdict(&carol.root(duo.room, EventId::ZERO, Control::Join(elsewhere)).0), forged);
    let mut of_bob = Join::new(duo.room, invite, duo.bob.certificate().clone(), &invite_secret(9));
    assert_eq!(verdict(&carol.root(duo.room, EventId::ZERO, Control::Join(of_bob.clone())).0), forged);
    of_bob.certificate = carol.certificate().clone();
    assert_eq!(verdict(&carol.root(duo.room, EventId::ZERO, Control::Join(of_bob)).0), forged);
}

#[test]
fn what_a_closing_lists_counts_and_the_union_of_closings_does() {
    let mut duo = Duo::new();
    let invite = duo.control[2].id();
    let joins: Vec<(VerifiedEvent, Pen)> =
        (10..14).map(|n| Person::new(n).join(duo.room, invite, &invite_secret(9))).collect();
    let mut scene = Scene::of(&duo.control);
    joins.iter().for_each(|(join, _)| scene.admit(join));
    let counting = |scene: &Scene| joins.iter().map(|(join, _)| scene.void(join).is_none()).collect::<Vec<_>>();
    assert_eq!((counting(&scene), scene.state().invites[&invite].closed), (vec![true; 4], false));
    scene.admit(&duo.ada_rules.close_invite(invite, &[&joins[0].0]));
    assert_eq!(counting(&scene), [true, false, false, false]);
    assert_eq!(scene.void(&joins[1].0), Some(Void::Closed));
    scene.admit(&duo.ada_rules.close_invite(invite, &[&joins[2].0, &duo.control[3]]));
    assert_eq!(counting(&scene), [true, false, true, false]);
    assert_eq!(members(&scene.state()).len(), 4);
    let state = scene.state();
    assert!(state.invites[&invite].closed);
    let mut listed = vec![joins[0].0.id(), joins[2].0.id(), duo.control[3].id()];
    listed.sort_unstable();
    assert_eq!(state.invites[&invite].joins, listed.into());
    // What rests on a join that does not count: their deeds, their words.
    let (mut late, who) = (joins[1].1.clone(), Person::new(11));
    let set = late.leave();
    scene.admit(&set);
    assert_eq!(scene.void(&set), Some(Void::Prev));
    let words = who.pen(duo.room, joins[1].0.id()).text("hello?");
    assert_eq!(admit_content(&words, &scene.state()).0, Admission::Void(Void::Grant));
}

#[test]
fn only_who_opened_an_invite_and_who_is_stronger_closes_it() {
    let (genesis, mut founder) = Person::new(1).found_with(Rank::MEMBER, &[]);
    let room = genesis.room();
    let mut scene = Scene::of(&[genesis]);
    let (_, mut opener) = holder(&mut scene, &mut founder, 2, 20);
    let (_, equal) = holder(&mut scene, &mut founder, 3, 20);
    let (_, weaker) = holder(&mut scene, &mut founder, 4, 40);
    let (_, stronger) = holder(&mut scene, &mut founder, 5, 19);
    let invite = opener.open_invite(&invite_secret(9), 50);
    scene.admit(&invite);
    // The opener once more: another device under the same grant, and under a weaker and a stronger one.
    let (phone, same) = Person::at(2, 1).enrol(room, opener.grant);
    scene.admit(&phone);
    let mut under = |rank: u8| {
        let grant = founder.grant(Person::new(2).user(), rank);
        let (enrol, pen) = Person::new(2).enrol(room, grant.id());
        scene.admit(&grant);
        scene.admit(&enrol);
        pen
    };
    let (demoted, promoted) = (under(21), under(19));
    for (who, pen, closes) in [
        ("the opener", &opener, true),
        ("their other device", &same, true),
        ("under a weaker grant", &demoted, false),
        ("under a stronger grant", &promoted, true),
        ("an equal", &equal, false),
        ("a weaker one", &weaker, false),
        ("a stronger one", &stronger, true),
        ("the founder", &founder, true),
    ] {
        let mut scene = scene.clone();
        let closing = pen.clone().close_invite(invite.id(), &[]);
        scene.admit(&closing);
        assert_eq!(scene.void(&closing), None, "its target decides no validity");
        assert_eq!(scene.state().invites[&invite.id()].closed, closes, "{who}");
        let (join, _) = Person::new(8).join(room, invite.id(), &invite_secret(9));
        scene.admit(&join);
        assert_eq!(scene.void(&join), closes.then_some(Void::Closed), "{who}");
    }
}

#[test]
fn what_rests_on_a_closed_way_in_falls_with_it_and_says_why() {
    let (genesis, mut founder) = Person::new(1).found_with(Rank::MEMBER, &[]);
    let room = genesis.room();
    let invite = founder.open_invite(&invite_secret(9), 20);
    let (join, mut bob) = Person::new(2).join(room, invite.id(), &invite_secret(9));
    let grant = bob.grant(Person::new(3).user(), 40);
    let (enrol, mut carol) = Person::new(3).enrol(room, grant.id());
    let second = carol.open_invite(&invite_secret(8), 50);
    let (second_join, dave) = Person::new(4).join(room, second.id(), &invite_secret(8));
    let topic = bob.set("topic", "mine", &[]);
    let all =
        [genesis, invite.clone(), join.clone(), grant.clone(), enrol.clone(), second.clone(), second_join.clone()];
    let mut scene = Scene::of(&[&all[..], std::slice::from_ref(&topic)].concat());
    assert_eq!((scene.voids(), members(&scene.state()).len()), (0, 4));
    scene.admit(&founder.close_invite(invite.id(), &[]));
    for (event, why) in [
        (&join, Void::Closed),
        (&grant, Void::Prev),
        (&enrol, Void::Grant),
        (&second, Void::Prev),
        (&second_join, Void::Invite),
        (&topic, Void::Prev),
    ] {
        assert_eq!(scene.void(event), Some(why));
    }
    let state = scene.state();
    assert_eq!(members(&state), BTreeMap::from([(Person::new(1).user(), 0)]));
    assert!(state.settings.is_empty() && state.invites.len() == 1);
    let words = Person::new(4).pen(room, dave.grant).text("and I?");
    assert_eq!(admit_content(&words, &state).0, Admission::Void(Void::Grant));
}

#[test]
fn leaving_ends_ones_log_and_membership_and_nothing_else() {
    let mut duo = Duo::new();
    let mut scene = Scene::of(&duo.control);
    let (phone, mut phone_rules) = Person::at(2, 1).enrol(duo.room, duo.bob_rules.grant);
    scene.admit(&phone);
    let mut branch = duo.bob_rules.fork();
    let left = duo.bob_rules.leave();
    let after = duo.bob_rules.write(kind::ERASE, &Control::Erase(erase_of(&duo.control[1])).encode());
    let later = duo.bob_rules.leave();
    [&left, &after, &later].into_iter().for_each(|event| scene.admit(event));
    assert_eq!([scene.void(&left), scene.void(&after), scene.void(&later)], [None, Some(Void::Left), Some(Void::Prev)]);
    let beside = branch.close_invite(EventId([3; 32]), &[]);
    let by_phone = phone_rules.close_invite(EventId([3; 32]), &[]);
    scene.admit(&beside);
    scene.admit(&by_phone);
    assert_eq!([scene.void(&beside), scene.void(&by_phone)], [None, None]);
    let state = scene.state();
    assert!(!state.members.contains_key(&duo.bob.user()) && state.user_of(Person::at(2, 1).device()).is_none());
    assert_eq!(admit_content(&duo.bob_says.text("said before"), &state).0, Admission::Admit);
    // Back under another grant: that one counts, the one that was left does not, though it is stronger.
    let again = duo.ada_rules.grant(duo.bob.user(), 70);
    let (enrol, _) = duo.bob.enrol(duo.room, again.id());
    scene.admit(&again);
    scene.admit(&enrol);
    let state = scene.state();
    assert_eq!(members(&state)[&duo.bob.user()], 70);
    assert!(state.members[&duo.bob.user()].devices.iter().eq([&duo.bob.device()]));
    assert_eq!(state.grant_of(duo.bob.device()), Some((again.id(), Rank::new(70).unwrap())));
}

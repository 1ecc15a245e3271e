//! Random adversarial rooms of fifty devices and more: forks, backdating, races, stolen devices, cuts that name what
//! nobody has. The state is the same for every order of delivery, step by step as from scratch; nothing is voided but for
//! the causes that the model lists; whoever was removed does nothing more; what is told to others is all that they need.
//!
//! `TIDINGS_SEEDS` says how many rooms, `TIDINGS_SEED` where they begin: a failure names the one to begin at.

use crate::support::random_deeds::Making;
use crate::support::random_room::{
    DEVICES, NEW_DEVICE, RandomRoom, Said, USERS_MAX, certificate, owner, place_of, user_id,
};
use crate::support::room_causes::{Causes, OWN_KEY};
use crate::support::room_verdict::{effective, settled, text_void};
use crate::support::seeded::Seeded;
use std::collections::{BTreeMap, BTreeSet};
use tidings_protocol::control::payload::{Control, ControlEvent, Join};
use tidings_protocol::control::rank::Rank;
use tidings_protocol::control::set::ControlSet;
use tidings_protocol::control::state::Void;
use tidings_protocol::id::{DeviceId, EventId, UserId};
use tidings_protocol::identity::Signature;
use tidings_protocol::log::{Log, Tip};

/// Each test checks a share of the seeds, so that they run side by side.
macro_rules! shares {
    ($($name:ident: $share:literal,)*) => {
        $(
            #[test]
            fn $name() {
                check_share($share);
            }
        )*
    };
}

shares! {
    random_rooms_keep_the_rules_1_of_8: 0,
    random_rooms_keep_the_rules_2_of_8: 1,
    random_rooms_keep_the_rules_3_of_8: 2,
    random_rooms_keep_the_rules_4_of_8: 3,
    random_rooms_keep_the_rules_5_of_8: 4,
    random_rooms_keep_the_rules_6_of_8: 5,
    random_rooms_keep_the_rules_7_of_8: 6,
    random_rooms_keep_the_rules_8_of_8: 7,
}

fn check_share(share: u64) {
    let number = |name: &str| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok());
    let first = number("TIDINGS_SEED").unwrap_or(0);
    let mut met = BTreeMap::new();
    for seed in (first..first + number("TIDINGS_SEEDS").unwrap_or(ROOMS)).filter(|seed| seed % SHARES == share) {
        println!("room {seed}: begin there with TIDINGS_SEED={seed} TIDINGS_SEEDS=1");
        let room = if seed % 2 == 0 { RandomRoom::new(seed) } else { RandomRoom::wild(seed) };
        check(&room, &mut met);
    }
    println!("{met:?}");
    let rooms = met.get("rooms").copied().unwrap_or(0);
    let rare = |what: &&str| !met.contains_key(*what) && (rooms >= 2_000 || !RARE.contains(what));
    let missing: Vec<&str> = MET.split('|').filter(rare).collect();
    assert!(met.get("rooms").is_none_or(|n| *n < 200) || missing.is_empty(), "too seldom: {missing:?} of {met:?}");
}

type Met = BTreeMap<&'static str, usize>;

fn check(room: &RandomRoom, met: &mut Met) {
    *met.entry("rooms").or_default() += 1;
    let devices: BTreeSet<DeviceId> = room.said.iter().map(|said| said.author).collect();
    assert!(devices.len() >= 50, "only {} devices", devices.len());
    let set = settled(room, 0);
    for order in 1..3 {
        same(&settled(room, order), &set, &format!("order {order}"));
    }
    deliver(room, 2, &set, met);
    if (room.seed / SHARES).is_multiple_of(4) {
        deliver(room, 3, &set, met);
    }
    removed_people_do_nothing(room, &set, met);
    founders_are_never_voided(room, &set);
    listed_joins_stay(room, &set, met);
    what_is_told_is_enough(room, &set);
    leaves_do_not_matter(room, &set);
}

/// Two sets come to the same: state, verdicts and heads.
fn same(one: &ControlSet, other: &ControlSet, what: &str) {
    let verdicts = |set: &ControlSet| set.verdicts().collect::<BTreeMap<EventId, Option<Void>>>();
    let (left, right) = (verdicts(one), verdicts(other));
    for id in left.keys().chain(right.keys()) {
        assert_eq!(left.get(id), right.get(id), "{what}: verdict of {:?}", one.event(*id).or(other.event(*id)));
    }
    let heads = |set: &ControlSet| set.heads().into_iter().collect::<BTreeSet<(Log, Tip)>>();
    let (left, right) = (heads(one), heads(other));
    assert!(left == right, "{what}: heads {:?}, {:?}", &left - &right, &right - &left);
    assert!(one.state() == other.state(), "{what}: state {:#?}, {:#?}", one.state(), other.state());
}

/// What everybody sees of a room, and what of its content counts.
#[derive(Debug, PartialEq)]
struct Seen {
    members: Vec<(UserId, Rank, BTreeSet<DeviceId>)>,
    invites: Vec<(EventId, bool, BTreeSet<EventId>)>,
    settings: Vec<(String, String)>,
    erased: BTreeSet<EventId>,
    rest: (bool, Option<EventId>),
    valid: BTreeSet<EventId>,
}

impl Seen {
    fn of(room: &RandomRoom, set: &ControlSet) -> Seen {
        let state = set.state();
        let members = state.members.iter().map(|(user, m)| (*user, m.rank, m.devices.iter().copied().collect()));
        let invites = state.invites.iter().map(|(id, i)| (*id, i.closed, i.joins.iter().copied().collect()));
        Seen {
            members: members.collect(),
            invites: invites.collect(),
            settings: state.settings.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
            erased: state.erased.values().map(|erasure| erasure.by).collect(),
            rest: (state.needs_newer, state.successor.map(EventId::from)),
            valid: valid(room, &room.by_id(), set),
        }
    }
}

/// What counts, of both classes.
fn valid(room: &RandomRoom, held: &BTreeMap<EventId, &Said>, set: &ControlSet) -> BTreeSet<EventId> {
    let counts = |said: &&Said| match said.is_text() {
        true => held.contains_key(&said.id) && text_void(said, held, set).is_none(),
        false => set.counts(said.id),
    };
    room.said.iter().filter(counts).map(|said| said.id).collect()
}

/// One event after another: decided as from scratch each time, and whatever is voided has a cause.
fn deliver(room: &RandomRoom, order: u64, whole: &ControlSet, met: &mut Met) {
    let mut set = ControlSet::new(room.id);
    let (mut held, mut before, mut awaited) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
    for said in room.in_order(order) {
        held.insert(said.id, said);
        if let Some(event) = said.control() {
            let judged = (stands(&set, said) && !awaited.contains(&said.id)).then(|| set.judge(&event));
            awaited.extend([said.prev, said.grant, said.invite()].into_iter().flatten());
            set.insert(event);
            set.settle();
            if let Some(judged) = judged {
                assert_eq!(judged, set.void(said.id), "judged before it was inserted");
                *met.entry("judged").or_default() += 1;
            }
            let scratch = set.from_scratch();
            assert_eq!(scratch.decisions(), scratch.len() as u64, "from scratch, some are decided twice");
            same(&set, &scratch, "step by step, and from scratch");
        }
        let now = valid(room, &held, &set);
        let causes = Causes { by_id: held.clone(), set: &set };
        let of = |ids: BTreeSet<EventId>| ids.iter().map(|id| held[id]).collect::<Vec<&Said>>();
        let (new, lost) = (of(&now - &before), of(&before - &now));
        for gone in &lost {
            let cause = causes.explain(gone, &new, &lost);
            let cause = cause.unwrap_or_else(|| panic!("{} was voided by {} for no cause", gone.id, said.id));
            assert!(causes.rank(gone) != Some(Rank::FOUNDER) || cause == OWN_KEY, "a founder voided by {cause}");
            *met.entry(cause).or_default() += 1;
        }
        before = now;
    }
    same(&set, whole, "step by step, and at once");
    for event in room.said.iter().filter_map(Said::control) {
        assert_eq!(set.void_beside(&event), whole.void_beside(&event), "voids of one account");
    }
}

/// Whether all that an event rests on is here.
fn stands(set: &ControlSet, said: &Said) -> bool {
    [said.prev, said.grant, said.invite()].into_iter().flatten().all(|id| set.event(id).is_some())
}

/// Those whom a valid Revoke or RevokeDevice covers go on writing: nothing of it counts, or moves anything else.
fn removed_people_do_nothing(room: &RandomRoom, set: &ControlSet, met: &mut Met) {
    let seen = Seen::of(room, set);
    let causes = Causes::of(room, set);
    for by in room.said.iter().filter(|said| set.counts(said.id)) {
        let mut random = Seeded::new(room.seed ^ 0xdead ^ u64::from(by.id.as_bytes()[0]));
        let mut making = Making::after(room, Seeded::new(random.next()));
        match &by.what {
            Some(Control::Revoke(r)) => {
                revoked_user_writes(&causes, by, place_of(r.user.into()).0, &mut random, &mut making)
            }
            Some(Control::RevokeDevice(r)) if r.device != by.author => {
                revoked_device_writes(&causes, by, r.device, &mut random, &mut making);
            }
            _ => continue,
        }
        let made: Vec<Said> = making.said.split_off(room.said.len());
        let (mut after, held) = (set.clone(), room.by_id().into_iter().chain(made.iter().map(|s| (s.id, s))).collect());
        for event in made.iter().filter_map(Said::control) {
            if [event.prev, event.log.grant].iter().all(|id| set.event(*id).is_some()) {
                assert!(set.judge(&event).is_some(), "{} would be let in after {}", event.id, by.id);
            }
            after.insert(event);
        }
        after.settle();
        for said in &made {
            let counts = if said.is_text() { text_void(said, &held, &after).is_none() } else { after.counts(said.id) };
            assert!(!counts, "somebody removed by {} acts: {} {:?}", by.id, said.id, said.what);
        }
        assert_eq!(Seen::of(room, &after), seen, "somebody removed by {} interferes", by.id);
        let what = if matches!(by.what, Some(Control::Revoke(_))) { "after a Revoke" } else { "after a RevokeDevice" };
        *met.entry(what).or_default() += made.len();
    }
}

/// The user's devices, one of them new, write in chains under every kind of grant that the Revoke covers.
fn revoked_user_writes(causes: &Causes<'_>, by: &Said, user: usize, random: &mut Seeded, making: &mut Making) {
    let rank = causes.rank(by).unwrap();
    let lifts = |said: &Said| match &said.what {
        Some(Control::Grant(g)) => g.lifts.contains(&by.id) && causes.rank(said) <= Some(rank),
        _ => false,
    };
    let gives = |id: EventId| causes.set.rank_of(id);
    let said: Vec<&Said> = causes.by_id.values().copied().collect();
    let of_user = |said: &&&Said| match &said.what {
        Some(Control::Grant(g)) => g.user == user_id(user),
        Some(Control::Join(j)) => j.certificate.user() == user_id(user),
        _ => false,
    };
    let covered = said.iter().filter(of_user).filter(|s| gives(s.id) > Some(rank) && !lifts(s));
    let mut grants: Vec<EventId> = covered.map(|said| said.id).collect();
    for open in &said {
        let Some(Control::OpenInvite(invite)) = &open.what else { continue };
        let issued = owner(open.author) == user_id(user) && causes.set.event(open.id).is_some();
        let issued =
            issued && causes.rank(open) > Some(rank) && !causes.by_id.get(&open.log().grant).is_some_and(|g| lifts(g));
        if invite.rank <= rank {
            continue;
        }
        for who in (0..USERS_MAX).filter(|who| *who == user || issued) {
            let certificate = certificate(who, NEW_DEVICE).clone();
            let join = Join { invite: open.id, certificate, proof: Signature([0; 64]) };
            let joined = making.say(who * DEVICES + NEW_DEVICE, None, None, Some(Control::Join(join)));
            grants.extend((who == user).then_some(joined));
        }
    }
    grants.sort_unstable();
    for _ in 0..if grants.is_empty() { 0 } else { 12 } {
        let (grant, device) = (*random.pick(&grants), user * DEVICES + random.below(DEVICES));
        let view = making.said.clone();
        making.act_honestly(&view, device, grant);
    }
}

/// The device writes for the user who revoked it, under grants no stronger than the one that it was revoked under.
fn revoked_device_writes(causes: &Causes<'_>, by: &Said, device: DeviceId, random: &mut Seeded, making: &mut Making) {
    let (rank, (user, number)) = (causes.rank(by), place_of(device));
    if by.author != user_id(user).into() {
        return;
    }
    let of_user = |said: &&&Said| crate::support::random_deeds::speaks_of(said, user);
    let said: Vec<&Said> = causes.by_id.values().copied().collect();
    let covered = said.iter().filter(of_user).filter(|s| causes.set.rank_of(s.id) >= rank);
    let grants: Vec<EventId> = covered.map(|said| said.id).collect();
    for _ in 0..if grants.is_empty() { 0 } else { 12 } {
        let (grant, view) = (*random.pick(&grants), making.said.clone());
        making.act_honestly(&view, user * DEVICES + number, grant);
    }
}

/// What a founder wrote is void only by the own user key, below a Leave or something that is not allowed.
fn founders_are_never_voided(room: &RandomRoom, set: &ControlSet) {
    for event in set.events().filter(|e| set.rank_of(e.log.grant) == Some(Rank::FOUNDER) && !set.counts(e.id)) {
        let mut chain: Vec<&ControlEvent> = vec![event];
        while let Some(below) = set.event(chain[chain.len() - 1].prev) {
            chain.push(below);
        }
        let own = owner(event.log.author);
        let revokes =
            |e: &&ControlEvent| matches!(&e.control, Control::RevokeDevice(r) if r.device == event.log.author);
        let by_own_key = set.events().filter(revokes).any(|e| set.counts(e.id) && e.log.author == own.into());
        let after_leave = chain[1..].iter().any(|e| e.control == Control::Leave);
        let unsound = chain.iter().any(|e| !set.is_allowed(e));
        assert!(by_own_key || after_leave || unsound, "seed {}: a founder's {} is void", room.seed, event.id);
    }
}

/// A closing never voids a join that it lists.
fn listed_joins_stay(room: &RandomRoom, set: &ControlSet, met: &mut Met) {
    for (invite, opened) in &set.state().invites {
        let issuer = set.event(*invite).and_then(|e| set.rank_of(e.log.grant));
        let closes = |said: &&Said| match &said.what {
            Some(Control::CloseInvite(c)) if c.invite == *invite => {
                let by = set.rank_of(said.log().grant);
                by < issuer || (by == issuer && owner(said.author) == opened.issuer)
            }
            _ => false,
        };
        for closing in room.said.iter().filter(|said| set.counts(said.id)).filter(closes) {
            assert!(opened.closed);
            let Some(Control::CloseInvite(c)) = &closing.what else { continue };
            let of_invite = |id: &&EventId| {
                set.event(**id).is_some_and(|e| matches!(&e.control, Control::Join(j) if j.invite == *invite))
            };
            for join in c.joins.iter().filter(of_invite) {
                *met.entry("listed joins").or_default() += 1;
                let why = set.void(*join);
                assert!(matches!(why, None | Some(Void::Revoked | Void::NotAllowed)), "listed and void: {why:?}");
            }
        }
    }
}

/// A new node that is told the heads, and gets what lies below them, comes to the same.
fn what_is_told_is_enough(room: &RandomRoom, set: &ControlSet) {
    let told = effective(set);
    let mut fresh = ControlSet::new(room.id);
    let events = room.in_order(7).into_iter().filter(|said| told.contains(&said.id));
    events.filter_map(Said::control).for_each(|event| fresh.insert(event));
    fresh.settle();
    assert_eq!(Seen::of(room, &fresh), Seen::of(room, set), "effective logs and proofs give another state");
    let heads = |set: &ControlSet| set.heads().into_iter().collect::<BTreeSet<(Log, Tip)>>();
    let (theirs, ours) = (heads(&fresh), heads(set));
    assert!(theirs == ours, "told on: {:?}, not told: {:?}", &theirs - &ours, &ours - &theirs);
}

/// Without some events that only say something of themselves, all others count as before.
fn leaves_do_not_matter(room: &RandomRoom, set: &ControlSet) {
    let mut used: BTreeSet<EventId> = BTreeSet::new();
    for said in room.said.iter().filter(|said| !said.is_text()) {
        used.extend([said.prev, said.grant, said.invite()].into_iter().flatten());
        let cuts = said.what.iter().flat_map(|control| control.cuts());
        used.extend(cuts.flat_map(|cut| cut.ids.iter().copied()));
    }
    let mut random = Seeded::new(room.seed ^ 0x1eaf);
    let may_go = |said: &Said| {
        let mild = matches!(said.what, Some(Control::Enrol(_) | Control::Set(_) | Control::Erase(_) | Control::Leave));
        mild && !used.contains(&said.id)
    };
    let mut fresh = ControlSet::new(room.id);
    room.said
        .iter()
        .filter(|said| !may_go(said) || random.percent(50))
        .filter_map(Said::control)
        .for_each(|e| fresh.insert(e));
    fresh.settle();
    for (id, void) in fresh.verdicts() {
        assert_eq!(set.void(id), void, "leaves matter");
    }
}

const SHARES: u64 = 8;
const ROOMS: u64 = 2000;
/// Causes so rare that an eighth of the rooms may have none of them; the long run has to meet them.
const RARE: [&str; 3] = ["issuer's user key", "invite closed by Revoke", "closing that listed it voided"];
const MET: &str = "judged|after a Revoke|after a RevokeDevice|listed joins|Revoke|own user key|issuer's user key|CloseInvite|invite closed by Revoke|closing that listed it voided";

/// A room in which a second Enrol in a log, certified by another user, once had that user's revocations take the log.
#[test]
fn a_second_enrol_in_a_log_ties_it_to_nobody_else() {
    check(&RandomRoom::wild(36_587), &mut BTreeMap::new());
}

/// A room in which an event above an Enrol, in a log that begins with a Join as well, was once judged as if it showed that
/// Join to be kept.
#[test]
fn what_is_shown_on_one_branch_is_not_shown_of_the_join_on_another() {
    check(&RandomRoom::wild(44_517), &mut BTreeMap::new());
}

/// Rooms that tell apart what few others do: an event that shows all below it to be kept, up to the lowest that is void (1,384),
/// and the Join with which its own branch begins (2,511).
#[test]
fn what_is_shown_is_shown_of_all_below_and_of_the_join_that_a_branch_begins_with() {
    check(&RandomRoom::new(1384), &mut BTreeMap::new());
    check(&RandomRoom::wild(2511), &mut BTreeMap::new());
}

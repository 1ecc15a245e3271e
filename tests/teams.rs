//! Teams among real nodes: one link opens twelve rooms, one removal closes them; what was done on purpose stays done. Links
//! for who was granted, and leaving for good.

use crate::support::devices::{address, device, linked, until};
use crate::support::nodes::Person;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};
use tidings_protocol::content::Content;
use tidings_protocol::event::Body;
use tidings_protocol::link::InviteLink;
use tidings_protocol::team::TeamWord;
use tidings_storage::Store;

const ROOMS: [&str; 12] =
    ["bakery", "bar", "cellar", "desk", "door", "floor", "garden", "kitchen", "laundry", "office", "roof", "yard"];

fn up(folder: &Path, name: &str) -> Person {
    let mut person = Person::at(folder, name);
    person.up();
    person.done(&["id", "name", name]);
    person
}

fn user(person: &Person) -> String {
    person.json(&["id"])["user"].as_str().unwrap().to_owned()
}

/// Who is in a room, as somebody sees it.
fn users(person: &Person, room: &str) -> BTreeSet<String> {
    let members = person.json(&["room", "members", room]);
    members.as_array().unwrap().iter().map(|m| m["user"].as_str().unwrap().to_owned()).collect()
}

fn has_room(person: &Person, room: &str) -> bool {
    person.run(&["room", "show", room]).status.success()
}

/// The role of whose node it is.
fn role(person: &Person, room: &str) -> String {
    person.json(&["room", "show", room])["role"].as_str().unwrap_or_default().to_owned()
}

fn joins(person: &Person, link: &str) {
    assert_eq!(person.json(&["room", "join", link])["pending"], false);
}

/// Waits until all of these see this of each room; how long it took.
fn everywhere(what: &str, people: &[&Person], rooms: &[&str], holds: impl Fn(&Person, &str) -> bool) -> Duration {
    let began = Instant::now();
    for person in people {
        for room in rooms {
            until(&format!("{what}: {room}"), || holds(person, room));
        }
    }
    println!("{what}: {:.1} s", began.elapsed().as_secs_f64());
    began.elapsed()
}

/// A founder with a team that has these rooms, and a steward: moderator of the team and of each room.
struct Crew {
    founder: Person,
    steward: Person,
    link: String,
}

impl Crew {
    fn new(folder: &Path, rooms: &[&str]) -> Crew {
        let (founder, steward) = (up(folder, "founder"), up(folder, "steward"));
        founder.json(&["room", "create", "crew"]);
        let link = |room: &str, role: &str| {
            founder.json(&["room", "invite", room, "--role", role])["link"].as_str().unwrap().to_owned()
        };
        joins(&steward, &link("crew", "moderator"));
        for room in rooms {
            founder.json(&["room", "create", room]);
            joins(&steward, &link(room, "moderator"));
            founder.done(&["room", "team", room, "crew"]);
        }
        let link = link("crew", "member");
        Crew { founder, steward, link }
    }

    /// Somebody joins the team, and nothing else.
    fn joined_by(&self, person: &Person, rooms: &[&str]) {
        joins(person, &self.link);
        everywhere("let in by one link", &[person], rooms, |p, room| has_room(p, room) && role(p, room) == "member");
    }
}

#[test]
fn one_link_opens_twelve_rooms_and_one_removal_closes_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut crew = Crew::new(folder.path(), &ROOMS);
    let (bea, cid) = (up(folder.path(), "bea"), up(folder.path(), "cid"));
    crew.joined_by(&bea, &ROOMS);
    crew.joined_by(&cid, &ROOMS);
    let who = user(&bea);
    {
        let all = [&crew.founder, &crew.steward, &cid];
        everywhere("all see both in all rooms", &all, &ROOMS, |p, room| users(p, room).len() == 4);
        assert_eq!(crew.founder.json(&["room", "show", "yard"])["team"]["alias"], "crew");
        assert_eq!(cid.json(&["room", "show", "crew"])["rooms"].as_array().unwrap().len(), 12);
        assert!(cid.json(&["room", "list"])[0].get("rooms").is_none(), "lists stay as they were");
        bea.send("yard", "in by the crew");

        crew.founder.json(&["room", "revoke", "crew", &who]);
        everywhere("one removal is true in twelve rooms on all nodes", &all, &ROOMS, |p, room| {
            !users(p, room).contains(&who)
        });
        until("bea cannot speak", || !bea.run(&["send", "yard", "still here?"]).status.success());

        crew.founder.json(&["room", "grant", "crew", &who]);
        let back = [&crew.founder, &crew.steward, &cid, &bea];
        everywhere("one grant brings back into twelve rooms", &back, &ROOMS, |p, room| users(p, room).contains(&who));
        until("bea speaks again", || bea.run(&["send", "yard", "thank you"]).status.success());
    }
    // Who was let in and whoever comes now use an invite that the removed one never saw.
    let dan = up(folder.path(), "dan");
    crew.joined_by(&dan, &ROOMS);

    // The same with all stewards away while it happens in the team: it is done when one is back.
    crew.steward.down();
    let founder = &mut crew.founder;
    let gone = user(&dan);
    founder.json(&["room", "revoke", "crew", &gone]);
    founder.kill();
    crew.steward.up();
    crew.steward.done(&["peers", "add", &address(&cid)]);
    founder.up();
    founder.done(&["peers", "add", &address(&crew.steward)]);
    founder.done(&["peers", "add", &address(&cid)]);
    everywhere("done by whoever is back", &[&crew.steward, &cid], &ROOMS, |p, room| !users(p, room).contains(&gone));
}

#[test]
fn what_is_done_on_purpose_is_not_undone_by_the_team() {
    let folder = tempfile::tempdir().unwrap();
    let rooms = ["bar", "yard"];
    let crew = Crew::new(folder.path(), &rooms);
    let (bea, cid, eve) = (up(folder.path(), "bea"), up(folder.path(), "cid"), up(folder.path(), "eve"));
    crew.joined_by(&bea, &rooms);
    crew.joined_by(&cid, &rooms);
    let all = [&crew.founder, &crew.steward];
    let who = user(&bea);
    // Eve is in one room by an invitation of her own, and never was of the team.
    joins(&eve, &crew.founder.link("bar"));
    // Bea is removed from one room, and Cid leaves one, while both are of the team.
    everywhere("bea is known", &all, &rooms, |p, room| users(p, room).contains(&who));
    crew.steward.json(&["room", "revoke", "bar", &who]);
    cid.done(&["room", "leave", "yard"]);
    everywhere("bea is out", &all, &["bar"], |p, room| !users(p, room).contains(&who));

    // Out of the team and back in it: into the one room, and not into the other.
    crew.founder.json(&["room", "revoke", "crew", &who]);
    everywhere("bea is out of the other", &all, &["yard"], |p, room| !users(p, room).contains(&who));
    crew.founder.json(&["room", "grant", "crew", &who]);
    everywhere("bea is back in the other", &all, &["yard"], |p, room| users(p, room).contains(&who));
    until("at her node, too", || bea.run(&["send", "yard", "back"]).status.success());
    crew.founder.until_shown("yard", 1);
    for person in all {
        assert!(!users(person, "bar").contains(&who), "removed on purpose, so she stays out");
        assert!(!users(person, "yard").contains(&user(&cid)), "left on purpose, so he stays out");
        assert!(users(person, "bar").contains(&user(&eve)), "came otherwise, so she stays in");
    }
    assert_eq!(role(&cid, "yard"), "none");

    // Without its team a room is as any other: who came by it stays.
    crew.founder.done(&["room", "team", "yard", "--none"]);
    assert!(crew.founder.json(&["room", "show", "yard"]).get("team").is_none());
    crew.founder.json(&["room", "revoke", "crew", &who]);
    everywhere("the team knows", &all, &["crew"], |p, room| !users(p, room).contains(&who));
    let marker = crew.founder.send("yard", "is bea still here?");
    bea.follow("yard").until_id(&marker);
    assert!(users(&crew.founder, "yard").contains(&who));
}

#[test]
fn two_devices_of_one_person_come_in_by_one_join_and_two_stewards_agree() {
    let folder = tempfile::tempdir().unwrap();
    let mut crew = Crew::new(folder.path(), &["bar"]);
    let bea = up(folder.path(), "bea");
    let mut phone = linked(&bea, folder.path(), "phone");
    phone.up();
    crew.joined_by(&bea, &["bar"]);
    everywhere("the phone follows", &[&phone], &["crew", "bar"], |p, room| {
        has_room(p, room) && p.run(&["send", room, "hello"]).status.success()
    });
    let joined = |person: &Person| {
        let invites = person.json(&["invite", "list", "bar"]);
        invites.as_array().unwrap().iter().map(|i| i["joins"].as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!(joined(&crew.founder), 2, "the steward, and the two devices by one Join");

    // A steward who was away while somebody was out and in again finds her in, and leaves her in.
    let who = user(&bea);
    crew.steward.down();
    crew.founder.json(&["room", "revoke", "crew", &who]);
    everywhere("out", &[&crew.founder], &["bar"], |p, room| !users(p, room).contains(&who));
    crew.founder.json(&["room", "grant", "crew", &who]);
    everywhere("in again", &[&crew.founder, &bea, &phone], &["bar"], |p, room| users(p, room).contains(&who));
    crew.steward.up();
    crew.steward.done(&["peers", "add", &address(&crew.founder)]);
    let last = crew.founder.send("bar", "what the steward hears last");
    crew.steward.follow("bar").until_id(&last);
    until("the steward has the team whole", || users(&crew.steward, "crew").contains(&who));
    until("bea is in everywhere", || [&crew.founder, &crew.steward].iter().all(|p| users(p, "bar").contains(&who)));
    until("and speaks with both devices", || {
        [&bea, &phone].iter().all(|p| p.run(&["send", "bar", "here"]).status.success())
    });
}

#[test]
fn who_comes_by_a_team_s_invite_and_is_not_of_it_is_thrown_out() {
    let folder = tempfile::tempdir().unwrap();
    let crew = Crew::new(folder.path(), &["bar"]);
    let mut bea = up(folder.path(), "bea");
    crew.joined_by(&bea, &["bar"]);
    let invites = crew.founder.json(&["invite", "list", "bar"]);
    let open = |value: &serde_json::Value| value.as_array().unwrap().iter().filter(|i| i["closed"] == false).count();
    let before = open(&invites);
    // Bea's program gives the invite away, as it stands in the crew's history.
    bea.down();
    let leaked = leaked_link(&bea);
    let mallory = up(folder.path(), "mallory");
    mallory.run(&["room", "join", &leaked, "--wait", "20s"]);
    let who = user(&mallory);
    until("mallory was seen and is out", || {
        let removed = crew.founder.json(&["room", "members", "bar", "--removed"]).to_string();
        removed.contains(&who) && !users(&crew.founder, "bar").contains(&who)
    });
    until("the invite is another", || {
        let now = crew.founder.json(&["invite", "list", "bar"]);
        now.as_array().unwrap().len() > invites.as_array().unwrap().len() && open(&now) == before
    });
    // It does not let anybody in any more.
    let oscar = up(folder.path(), "oscar");
    oscar.fails(6, &["room", "join", &leaked, "--wait", "2s"]);
    assert!(!users(&crew.founder, "bar").contains(&user(&oscar)));
}

/// A link made of what a team says to its members, as it stands in the home of one whose node is down.
fn leaked_link(home: &Person) -> String {
    let (store, _writer) = Store::open(&home.home.join("store")).unwrap();
    let mut words = store.arrived_since(0, 10_000).unwrap().into_iter().filter_map(|event| {
        let Body::Kept(payload) = &event.body else { return None };
        match Content::decode(event.kind, &payload.bytes) {
            Ok(Content::Team(TeamWord::Room(offer))) if event.log.class.number() == 1 => Some(offer),
            _ => None,
        }
    });
    let offer = words.next_back().unwrap();
    let link = InviteLink {
        network: String::new(),
        room: offer.room,
        kind: offer.kind,
        secret: offer.secret,
        invite: offer.invite,
        key: offer.key,
        expires_ms: 0,
        addresses: offer.addresses,
    };
    link.to_text()
}

#[test]
fn who_was_granted_comes_in_by_their_link_and_nobody_else_does() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bea, mallory) = (up(folder.path(), "alice"), up(folder.path(), "bea"), up(folder.path(), "mallory"));
    alice.json(&["room", "create", "secret"]);
    alice.send("secret", "among us");
    let granted = alice.json(&["room", "grant", "secret", &user(&bea), "--role", "moderator"]);
    let link = granted["link"].as_str().unwrap();
    assert!(alice.done(&["room", "grant", "secret", &user(&bea), "--role", "reader"]).contains("tidings://join/"));
    alice.json(&["room", "grant", "secret", &user(&bea), "--role", "moderator"]);

    // Whoever else has it hears what one hears of a room that there is not.
    mallory.fails(6, &["room", "join", link, "--wait", "2s"]);
    let waiting = mallory.json(&["room", "list"]);
    assert_eq!(
        (&waiting[0]["pending"], &waiting[0]["name"], &waiting[0]["members"]),
        (&true.into(), &"".into(), &0.into())
    );

    let last = alice.json(&["room", "grant", "secret", &user(&bea), "--role", "member"]);
    let link = last["link"].as_str().unwrap();
    joins(&bea, link);
    bea.until_shown("secret", 1);
    assert_eq!(role(&bea, "secret"), "member");
    bea.send("secret", "thank you");
    alice.until_shown("secret", 2);
    assert_eq!(users(&alice, "secret"), BTreeSet::from([user(&alice), user(&bea)]));
    assert!(alice.json(&["room", "grant", "secret", "bea", "--role", "moderator"]).get("link").is_none());
    assert!(!users(&bea, "secret").contains(&user(&mallory)));

    // In a public room one comes in by it, too, with the role that was given.
    alice.json(&["room", "create", "square", "--public"]);
    let granted = alice.json(&["room", "grant", "square", &user(&bea), "--role", "moderator"]);
    joins(&bea, granted["link"].as_str().unwrap());
    until("bea moderates the square", || role(&bea, "square") == "moderator");
}

#[test]
fn leaving_for_good_ends_every_device_in_the_room() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bea) = (up(folder.path(), "alice"), up(folder.path(), "bea"));
    alice.json(&["room", "create", "lab", "--invite-rank", "member"]);
    joins(&bea, &alice.link("lab"));
    let mut phone = linked(&bea, folder.path(), "phone");
    phone.up();
    phone.send("lab", "from the phone");
    bea.send("lab", "from the desk");
    alice.until_shown("lab", 2);
    let own = bea.link("lab");
    // Without the words one leaves, and is told what is missing.
    let invites = || alice.json(&["invite", "list", "lab"]);
    until("alice knows the invite", || invites().as_array().unwrap().len() == 2);

    let left = bea.json(&["room", "leave", "lab", "--for-good"]);
    assert_eq!((&left["for_good"], left["devices"].as_array().unwrap().len()), (&true.into(), 2));
    assert_eq!(left["devices"][1], device(&bea).as_str());
    until("alice is alone", || users(&alice, "lab").len() == 1);
    until("bea's invite is closed", || {
        invites().as_array().unwrap().iter().filter(|i| i["closed"] == true).count() == 1
    });
    until("the phone leaves, too", || phone.json(&["room", "list"]).as_array().unwrap().is_empty());
    for home in [&bea, &phone] {
        assert!(!home.run(&["send", "lab", "back again"]).status.success());
    }
    assert_eq!(alice.texts("lab"), ["from the phone", "from the desk"]);
    let late = up(folder.path(), "late");
    late.fails(6, &["room", "join", &own, "--wait", "2s"]);
    // Not even a new link brings these devices back: who takes it is let in, and has no device that could come.
    let again = bea.run(&["--json", "room", "join", &alice.link("lab"), "--wait", "3s"]);
    assert!(!again.status.success() && !bea.run(&["send", "lab", "back again"]).status.success());
    let members = alice.json(&["room", "members", "lab"]);
    assert!(members.as_array().unwrap().iter().all(|m| m["user"] == user(&alice).as_str() || m["devices"] == 0));
    assert_eq!(alice.texts("lab"), ["from the phone", "from the desk"]);
}

#[test]
fn leaving_for_good_without_the_words_says_so_and_leaves() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bea) = (up(folder.path(), "alice"), up(folder.path(), "bea"));
    alice.json(&["room", "create", "lab"]);
    joins(&bea, &alice.link("lab"));
    let mut phone = linked(&bea, folder.path(), "phone");
    phone.up();
    phone.send("lab", "from the phone");
    alice.until_shown("lab", 1);
    let left = phone.json(&["room", "leave", "lab", "--for-good"]);
    assert!(left["for_good"] == false && left["why"].as_str().unwrap().contains("recovery words"));
    until("alice is alone", || users(&alice, "lab").len() == 1);
    until("the desk left, too", || bea.json(&["room", "list"]).as_array().unwrap().is_empty());
    // The device that has the words makes it good.
    let left = bea.json(&["room", "leave", "lab", "--for-good"]);
    assert_eq!(left["for_good"], true);
}

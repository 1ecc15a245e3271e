//! A device that was stolen, and a member who means ill, against what a user's devices share: the account, the rooms and what
//! was said in them stay the user's.

use crate::support::devices::{LISTEN, address, device, home_of, linked, offer, pair, until, up_with_peer};
use crate::support::nodes::Person;
use crate::support::people::{self, Pen, START_MS};
use crate::support::store::{Duo, TestStore, YEAR_MS};
use crate::support::stranger::Stranger;
use serde_json::Value;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};
use tidings_protocol::account::{Bundle, Entry, Record, RoomRecord};
use tidings_protocol::content::Content;
use tidings_protocol::control::payload::RoomKind;
use tidings_protocol::event::{Class, Hlc, VerifiedEvent};
use tidings_protocol::id::{EventId, RoomId};
use tidings_protocol::identity::DeviceKey;
use tidings_protocol::limits::CUT_IDS_MAX;
use tidings_protocol::sealed::{Place, Sealed, SealingId};

fn id_of(person: &Person, room: &str) -> RoomId {
    person.json(&["room", "show", room])["room"].as_str().unwrap().parse().unwrap()
}

/// What the device of a home says next in a log of its own; its node is down.
fn pen(of: &Person, class: Class, room: RoomId, grant: EventId) -> Pen {
    let mut store = TestStore::open(&of.home.join("store"), room);
    let mut pen = people::Person::of_home(&of.home).pen_of(class, room, grant);
    let number = store.room;
    if let Some(top) = store.writer.begin().top(number, &pen.log()).unwrap() {
        (pen.seq, pen.prev) = (top.seq, top.id);
    }
    pen.hlc = Hlc::at_ms(now_ms());
    pen
}

fn put(into: &Person, room: RoomId, events: &[VerifiedEvent]) {
    let now_ms = now_ms();
    TestStore::open(&into.home.join("store"), room).append_with(events, tidings_storage::Durability::Synced, now_ms);
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis().try_into().unwrap()
}

fn sealing(of: &Person) -> SealingId {
    let seed = std::fs::read(of.home.join("device.key")).unwrap().try_into().unwrap();
    DeviceKey::from_seed(&seed).sealing_key().id()
}

fn devices_of(person: &Person, room: &str, name: &str) -> u64 {
    let members = person.json(&["room", "members", room]);
    let named = members.as_array().unwrap().iter().find(|m| m["name"] == name);
    named.map_or(0, |member| member["devices"].as_u64().unwrap())
}

fn says(person: &Person, room: &str, text: &str) -> bool {
    person.texts(room).iter().any(|t| t == text)
}

fn rooms(person: &Person) -> Vec<RoomId> {
    let listed = person.json(&["room", "list", "--all"]);
    listed.as_array().unwrap().iter().map(|room| room["room"].as_str().unwrap().parse().unwrap()).collect()
}

fn is_revoked(person: &Person, name: &str) -> bool {
    let listed = person.json(&["id", "devices"]);
    listed.as_array().unwrap().iter().find(|d| d["name"] == name).unwrap()["revoked"] == true
}

/// A node that reaches nobody: it forgets whom it knew.
fn isolated(person: &Person) -> Command {
    let mut command = person.command(&["--json", "up", "--no-mdns", "--listen", "/ip4/127.0.0.1/tcp/0"]);
    command.env("TIDINGS_FEDERATION", "nowhere");
    command
}

#[test]
fn a_stolen_device_that_leaves_where_devices_are_listed_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bob) = pair(folder.path());
    let home = home_of(&alice);
    assert!(alice.fails(4, &["room", "leave", &home.to_string()]).contains("devices"));
    alice.fails(4, &["send", &home.to_string(), "hello"]);
    let mut phone = linked(&alice, folder.path(), "phone");
    up_with_peer(&mut phone, &alice);
    until("Bob has heard of the phone", || devices_of(&bob, "zig", "Alice") == 2);
    phone.down();
    let mut rules = pen(&phone, Class::Control, home, home.into());
    put(&phone, home, &[rules.write(999, b"of a later version"), rules.leave()]);
    up_with_peer(&mut phone, &alice);
    let of_home = home.to_string();
    until("it is heard of", || alice.history(&of_home) == phone.history(&of_home));

    let id = alice.send("zig", "I go on");
    bob.follow("zig").until_id(&id);
    assert_eq!((devices_of(&bob, "zig", "Alice"), is_revoked(&alice, "phone")), (2, false));
    let revoked = alice.json(&["id", "revoke", "phone"]);
    let done = revoked["rooms"].as_array().unwrap();
    assert!(done.len() == 3 && done.iter().all(|room| room["done"] == true), "{revoked}");
    until("Bob knows", || devices_of(&bob, "zig", "Alice") == 1);
    assert!(is_revoked(&alice, "phone") && alice.json(&["id", "revoke", "phone"])["rooms"] == Value::Array(Vec::new()));
    // The account is whole again: another device comes in, and learns of everything.
    let mut tablet = linked(&alice, folder.path(), "tablet");
    up_with_peer(&mut tablet, &alice);
    assert!(says(&tablet, "zig", "I go on"));
    alice.done(&["room", "alias", "square", "market"]);
    until("the alias follows", || tablet.run(&["room", "show", "market"]).status.success());
}

#[test]
fn what_others_say_where_devices_are_listed_is_not_the_users_word() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, mut bob) = pair(folder.path());
    let (home, zig) = (home_of(&alice), id_of(&alice, "zig"));
    let mut phone = linked(&alice, folder.path(), "phone");
    phone.up();
    let to = [sealing(&alice), sealing(&phone)];
    phone.down();
    bob.down();
    // The thief lets Bob in, and Bob tells Alice's devices that she has left a room.
    let mallory = people::Person::of_home(&bob.home);
    let grant = pen(&phone, Class::Control, home, home.into()).grant(mallory.user(), 31);
    let (enrol, _) = mallory.enrol(home, grant.id());
    let left = RoomRecord {
        kind: RoomKind::Members,
        secret: [0; 32],
        alias: "zig".into(),
        left: true,
        grant: EventId::ZERO,
        addresses: Vec::new(),
    };
    let entry = Entry::new(&Record::Room(zig, left), Hlc::at_ms(now_ms() + 60_000));
    let bundle = Bundle { whole: true, entries: vec![entry] }.to_bytes();
    let place = Place { room: home, author: mallory.device() };
    let mut n = 0;
    let mut entropy = || {
        n += 1;
        [n; 32]
    };
    let sealed = Sealed::seal(&bundle, &to, place, &mut entropy).unwrap();
    let told = mallory.pen(home, grant.id()).say(Content::Sealed(sealed));
    put(&phone, home, &[grant, enrol, told]);
    up_with_peer(&mut phone, &alice);
    let of_home = home.to_string();
    until("it is heard of", || alice.history(&of_home) == phone.history(&of_home));
    // Something later that is hers.
    phone.done(&["room", "alias", "square", "market"]);
    until("her word is heard", || alice.run(&["room", "show", "market"]).status.success());
    for person in [&alice, &phone] {
        assert_eq!(person.json(&["room", "list"]).as_array().unwrap().len(), 2);
        person.send("zig", "still here");
    }
    assert_eq!(alice.json(&["id", "devices"]).as_array().unwrap().len(), 2);
}

#[test]
fn a_device_is_revoked_only_where_what_it_said_is_known_to_be_here() {
    let folder = tempfile::tempdir().unwrap();
    let (mut alice, bob) = pair(folder.path());
    let mut tablet = linked(&alice, folder.path(), "tablet");
    up_with_peer(&mut tablet, &bob);
    until("Bob has heard of the tablet", || devices_of(&bob, "zig", "Alice") == 2);
    alice.down();
    let id = tablet.send("zig", "while the desktop was off");
    bob.follow("zig").until_id(&id);
    tablet.down();
    alice.up_by(isolated(&alice));
    let output = alice.run(&["--json", "id", "revoke", "tablet"]);
    assert_eq!(output.status.code(), Some(4));
    let revoked: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rooms = revoked["rooms"].as_array().unwrap();
    let done: Vec<bool> = rooms.iter().map(|room| room["done"] == true).collect();
    assert_eq!(done, [true, false, false], "{revoked}");
    assert!(rooms[1]["why"].as_str().unwrap().contains("--now"), "{revoked}");
    alice.down();
    // It follows by itself, and keeps what came meanwhile.
    up_with_peer(&mut alice, &bob);
    until("Bob knows", || devices_of(&bob, "zig", "Alice") == 1 && devices_of(&bob, "square", "Alice") == 1);
    until("nothing is lost", || says(&alice, "zig", "while the desktop was off"));
    assert!(says(&bob, "zig", "while the desktop was off"));
}

#[test]
fn who_names_other_rooms_as_a_self_room_takes_one_place_and_keeps_nobody_out() {
    let folder = tempfile::tempdir().unwrap();
    let (mut alice, mut bob) = pair(folder.path());
    let (home, zig) = (home_of(&alice), id_of(&alice, "zig"));
    alice.json(&["room", "create", "attic"]);
    let attic = id_of(&alice, "attic");
    let of_bob = home_of(&bob).to_string();
    until("Alice holds Bob's self-room", || rooms(&alice).len() == 5 && alice.history(&of_bob) == bob.history(&of_bob));
    bob.down();
    let grant = {
        let store = TestStore::open(&bob.home.join("store"), zig);
        store.state().grant_of(people::Person::of_home(&bob.home).device()).unwrap().0
    };
    let mut pen = pen(&bob, Class::Content, zig, grant);
    let mut carol = Person::at(folder.path(), "carol");
    carol.up();
    // What Bob's own program would say comes by way of Alice, who goes on knowing what Bob named first.
    let mut names = |alice: &mut Person, carol: &Person, room: RoomId| {
        alice.down();
        put(alice, zig, &[pen.say(Content::Profile { name: "Bob".into(), home: Some(room) })]);
        alice.up();
        carol.done(&["peers", "add", &address(alice)]);
    };
    names(&mut alice, &carol, home);
    carol.json(&["room", "join", &alice.link("zig")]);
    let of_home = home.to_string();
    until("Carol holds Alice's self-room", || {
        rooms(&carol).contains(&home) && carol.history(&of_home) == alice.history(&of_home)
    });
    names(&mut alice, &carol, attic);
    until("Carol has heard of it", || rooms(&carol).contains(&attic));
    let joined = carol.json(&["room", "join", &alice.link("attic")]);
    assert_eq!(joined["pending"], false, "{joined}");
    let id = carol.send("attic", "here I am");
    alice.follow("attic").until_id(&id);
    let before = rooms(&carol).len();
    for n in [8, 9] {
        names(&mut alice, &carol, RoomId([n; 32]));
        until("it takes the place of the one before", || {
            let now = rooms(&carol);
            now.contains(&RoomId([n; 32])) && now.len() == before + 1
        });
    }
    assert!(!rooms(&alice).contains(&RoomId([9; 32])));
}

#[test]
fn history_cannot_be_buried_under_forks_before_a_device_is_revoked() {
    let duo = Duo::new();
    let mut store = duo.store();
    let mut honest = duo.bob_says.clone();
    let said: Vec<VerifiedEvent> = (0..5).map(|n| honest.text(&format!("said {n}"))).collect();
    store.append(&said);
    for branch in 0..20 {
        let mut fork = honest.fork_at(&said[0]);
        let long: Vec<VerifiedEvent> = (0..10).map(|n| fork.text(&format!("buries {branch} {n}"))).collect();
        store.append(&long);
    }
    let number = store.room;
    let batch = store.writer.begin();
    let (tips, _) = batch.tips(number, &honest.log()).unwrap().unwrap();
    assert_eq!(tips.len(), 21);
    let cut = batch.cut(honest.log(), tips, u64::MAX).unwrap().unwrap();
    assert!(cut.ids.contains(&said[4].id()) && cut.ids.len() == CUT_IDS_MAX && cut.seq == 11, "{cut:?}");
}

#[test]
fn a_name_from_the_future_gives_way_to_the_next() {
    let duo = Duo::new();
    let mut store = duo.store();
    let mut says = duo.bob_says.clone();
    says.hlc = Hlc(u64::MAX - (1 << 30));
    let future = says.profile("for ever");
    store.append(&[future]);
    says.hlc = Hlc::at_ms(START_MS + YEAR_MS);
    let next = says.profile("Bob");
    store.append_with(&[next], tidings_storage::Durability::Synced, START_MS + YEAR_MS + 5000);
    let name = store.store.profile_name(store.room, duo.bob.user()).unwrap();
    assert_eq!(name.as_deref(), Some("Bob"));
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_who_hold_streams_open_keep_no_device_out() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, _bob) = pair(folder.path());
    let (mut child, _lines, link) = offer(&alice, &[]);
    let address = alice.ready["listen"][0].as_str().unwrap().to_owned();
    let mut held = Vec::new();
    for _ in 0..9 {
        let mut stranger = Stranger::new().await;
        let node = stranger.dial(&address).await;
        let streams = [stranger.open(node, "/tidings/enrol/1").await, stranger.open(node, "/tidings/enrol/1").await];
        held.push((stranger, streams));
    }
    let phone = Person::at(folder.path(), "phone");
    phone.fails(2, &[&["id", "link", &link, "--name", "a\u{1b}[8m"], &LISTEN[..]].concat());
    let value = phone.json(&[&["id", "link", &link], &LISTEN[..]].concat());
    assert_eq!(value["complete"], true, "{value}");
    assert!(child.wait().unwrap().success());
    assert_ne!(device(&alice), value["device"].as_str().unwrap());
    drop(held);
}

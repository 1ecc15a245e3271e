//! What an operator takes off a node for good is off it, whatever peers have and however the node is stopped; nobody else
//! loses anything, and nodes that hold different things leave one another in peace.

use crate::support::devices::{address, until, up_with_peer};
use crate::support::nodes::Person;
use crate::support::scan::files_with;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tidings_storage::Store;

/// People in a members room and a public one, all by the first's links.
fn people(folder: &Path, names: &[&str]) -> Vec<Person> {
    let mut people: Vec<Person> = names.iter().map(|name| Person::at(folder, name)).collect();
    for (person, name) in people.iter_mut().zip(names) {
        person.up();
        person.done(&["id", "name", name]);
    }
    people[0].json(&["room", "create", "zig"]);
    people[0].json(&["room", "create", "square", "--public"]);
    for room in ["zig", "square"] {
        let link = people[0].link(room);
        for person in &people[1..] {
            assert_eq!(person.json(&["room", "join", &link, "--wait", "30s"])["pending"], false);
        }
    }
    people
}

/// Whether these words lie anywhere in a person's home.
fn has_on_disk(person: &Person, words: &str) -> bool {
    !files_with(&person.home, &[words.as_bytes()]).is_empty()
}

fn line(person: &Person, room: &str, id: &str) -> Value {
    person.lines(room).into_iter().find(|line| line["id"] == id).unwrap_or(Value::Null)
}

fn says(person: &Person, room: &str, text: &str) -> bool {
    person.texts(room).iter().any(|t| t == text)
}

fn user(person: &Person) -> String {
    person.json(&["id"])["user"].as_str().unwrap().to_owned()
}

fn verified(person: &Person, room: &str) -> Value {
    let file = person.home.with_extension("export");
    person.done(&["export", room, "--output", file.to_str().unwrap()]);
    person.json(&["verify", file.to_str().unwrap()])
}

/// That two who are connected say next to nothing to one another for a while.
fn stay_quiet(person: &Person) {
    let bytes = || -> u64 {
        let peers = person.json(&["peers"]);
        peers.as_array().unwrap().iter().map(|peer| peer["sync_bytes"].as_u64().unwrap()).sum()
    };
    // Whatever is under way ends.
    let (mut last, mut since) = (bytes(), Instant::now());
    let began = Instant::now();
    while since.elapsed() < Duration::from_secs(6) {
        assert!(began.elapsed() < Duration::from_secs(60), "they never stop talking");
        let now = bytes();
        if now > last + 400 {
            since = Instant::now();
        }
        last = now;
    }
}

#[test]
fn the_words_of_an_event_go_and_everything_else_stays() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = people(folder.path(), &["alice", "bob"]);
    let texts = ["first", "second", "the-unspeakable-words-4711", "fourth", "fifth"];
    let ids: Vec<String> = texts.iter().map(|text| all[0].send("zig", text)).collect();
    let (alice, bob) = (&all[0], &all[1]);
    bob.follow("zig").until_id(&ids[4]);
    bob.done(&["react", &ids[2], "👎"]);
    alice.done(&["edit", &ids[2], "an-edit-of-them-4712"]);
    until("the edit is here", || says(bob, "zig", "an-edit-of-them-4712"));
    until("Bob is known to hold the last", || line(alice, "zig", &ids[4])["delivery"]["state"] == "held");
    assert!(has_on_disk(bob, "the-unspeakable-words-4711"));

    bob.refused(4, &["purge", "event", &ids[2]], &["--yes"]);
    let purged = bob.json(&["purge", "event", &ids[2], "--yes"]);
    assert_eq!((&purged["done"], &purged["events"]), (&true.into(), &2.into()), "it and its edit: {purged}");
    for words in ["the-unspeakable-words-4711", "an-edit-of-them-4712"] {
        assert!(!has_on_disk(bob, words), "{words} lies somewhere");
    }
    let shown = line(bob, "zig", &ids[2]);
    assert_eq!((&shown["purged"], &shown["erased"], &shown["text"]), (&true.into(), &false.into(), &"".into()));
    assert_eq!(shown["reactions"]["👎"], json!([user(bob)]));
    assert!(bob.done(&["read", "zig"]).contains("(purged on this node)"));
    assert!(says(alice, "zig", "an-edit-of-them-4712"), "others keep it");
    let listed = bob.json(&["purge", "list"]);
    assert_eq!((&listed[0]["kind"], &listed[0]["target"]), (&"event".into(), &ids[2].clone().into()));

    // Other words for it do not come in either, and replies to it do.
    alice.done(&["edit", &ids[2], "other-words-4713"]);
    let reply = alice.json(&["send", "zig", "an answer", "--reply", &ids[2]])["id"].as_str().unwrap().to_owned();
    bob.follow("zig").until_id(&reply);
    assert_eq!(line(bob, "zig", &reply)["reply_to"], ids[2].as_str());
    assert!(!has_on_disk(bob, "other-words-4713"));
    // The chain holds; what is missing is said.
    assert_eq!(verified(bob, "zig")["purged"], 3);
    assert!(bob.done(&["verify", bob.home.with_extension("export").to_str().unwrap()]).contains("had purged"));
    assert_eq!(verified(alice, "zig")["purged"], 0);
    // It does not say that it holds all.
    assert_eq!(bob.json(&["room", "show", "zig"])["complete"], false);
    stay_quiet(alice);
    assert_ne!(line(alice, "zig", &reply)["delivery"]["state"], "held");
    assert_eq!(alice.json(&["peers"])[0]["behind"], 0);

    // Who has only Bob gets all but that, and the two of them come to rest.
    let link = all[0].link("zig");
    until("Bob knows of the link", || all[1].json(&["invite", "list"]).as_array().unwrap().len() == 3);
    all[0].down();
    let mut carol = Person::at(folder.path(), "carol");
    up_with_peer(&mut carol, &all[1]);
    carol.json(&["room", "join", &link, "--wait", "30s"]);
    until("Carol has what lies above and below", || says(&carol, "zig", "first") && says(&carol, "zig", "an answer"));
    assert_eq!(line(&carol, "zig", &ids[2]), Value::Null);
    assert!(carol.lines("zig").iter().any(|line| line["gap"].is_object()), "a gap is shown: {:?}", carol.texts("zig"));
    stay_quiet(&carol);
    all[0].up();
    carol.done(&["peers", "add", &address(&all[0])]);
    until("Carol gets it elsewhere", || says(&carol, "zig", "other-words-4713"));
    // The word stands after a restart, with all peers there; until it is taken back.
    all[1].kill();
    up_with_peer(&mut all[1], &carol);
    let bob = &all[1];
    until("they agree", || bob.json(&["peers"]).as_array().unwrap().iter().any(|peer| peer["behind"] == 0));
    assert_eq!(line(bob, "zig", &ids[2])["purged"], true);
    assert!(!has_on_disk(bob, "unspeakable-words") && !has_on_disk(bob, "other-words-4713"));
    bob.refused(5, &["purge", "undo", "event", &ids[3]], &["purge list"]);
    bob.done(&["purge", "undo", "event", &ids[2]]);
    assert_eq!(bob.json(&["purge", "list"]), json!([]));
    until("it is back", || says(bob, "zig", "other-words-4713"));
    assert_eq!(bob.history("zig"), carol.history("zig"));
    until("and it holds all again", || bob.json(&["room", "show", "zig"])["complete"] == true);
}

#[test]
fn a_users_words_go_now_and_later_and_their_control_events_stay() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = people(folder.path(), &["alice", "bob", "mallory"]);
    let mallorys = user(&all[2]);
    for room in ["zig", "square"] {
        let id = all[2].send(room, &format!("mallory-before-{room}"));
        all[1].follow(room).until_id(&id);
    }
    all[0].done(&["room", "grant", "zig", &mallorys, "--role", "admin"]);
    let (alice, bob, mallory) = (&all[0], &all[1], &all[2]);
    bob.refused(4, &["purge", "user", &user(bob), "--yes"], &["that is you"]);
    let purged = bob.json(&["purge", "user", &mallorys, "--yes"]);
    assert_eq!(purged["done"], true, "{purged}");
    assert!(purged["events"].as_u64().unwrap() >= 4, "a name and a message in each room: {purged}");
    assert!(!has_on_disk(bob, "mallory-before"));
    until("she is admin", || mallory.json(&["room", "show", "zig"])["role"] == "admin");
    mallory.done(&["room", "set", "zig", "topic", "by mallory"]);
    for room in ["zig", "square"] {
        let id = mallory.send(room, &format!("mallory-after-{room}"));
        alice.follow(room).until_id(&id);
        let last = alice.send(room, "somebody else's, later");
        bob.follow(room).until_id(&last);
        until("its header is here, for the chain", || line(bob, room, &id)["purged"] == true);
    }
    until("what decides counts", || bob.json(&["room", "show", "zig"])["topic"] == "by mallory");
    assert!(!has_on_disk(bob, "mallory-after"));
    let members = bob.json(&["room", "members", "zig"]);
    let hers = members.as_array().unwrap().iter().find(|m| m["user"] == mallorys.as_str()).unwrap();
    assert!(hers["name"].as_str().unwrap().starts_with('…'), "{hers}");
    stay_quiet(bob);
    all[1].down();
    all[1].up();
    let (bob, mallory) = (&all[1], &all[2]);
    let last = mallory.send("zig", "mallory-once-more");
    until("nothing of hers after a restart either", || line(bob, "zig", &last)["purged"] == true);
    assert!(!has_on_disk(bob, "mallory-once-more"));
    bob.done(&["purge", "undo", "user", &mallorys]);
    for room in ["zig", "square"] {
        until("all of it is back", || {
            says(bob, room, &format!("mallory-before-{room}")) && says(bob, room, &format!("mallory-after-{room}"))
        });
    }
    until("and the histories are equal", || bob.history("zig") == all[0].history("zig"));
}

#[test]
fn a_room_goes_whole_and_is_refused_until_that_is_undone() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = people(folder.path(), &["alice", "bob"]);
    let id = all[0].send("zig", "words-of-the-room-4720");
    all[1].follow("zig").until_id(&id);
    all[1].send("square", "said-in-the-square");
    let room = all[1].json(&["room", "show", "zig"])["room"].as_str().unwrap().to_owned();
    let link = all[0].link("zig");
    // Links that nobody could close any more are not forgotten silently.
    all[0].refused(4, &["purge", "room", "zig", "--yes"], &["are open", "--keep-invites"]);
    let purged = all[1].json(&["purge", "room", "zig", "--yes"]);
    assert_eq!((&purged["target"], &purged["done"]), (&room.clone().into(), &true.into()), "{purged}");
    for again in [false, true] {
        let bob = &all[1];
        assert!(!has_on_disk(bob, "words-of-the-room-4720"));
        assert!(bob.run(&["room", "show", &room]).status.code() == Some(5));
        bob.refused(4, &["room", "join", &link], &["was purged here", "purge undo room"]);
        assert_eq!(bob.json(&["purge", "list"])[0]["target"], room.as_str());
        let last = all[0].send("zig", "nothing of this comes in");
        let here = all[0].send("square", "and the square goes on");
        bob.follow("square").until_id(&here);
        assert!(!has_on_disk(bob, "nothing of this comes in"), "{last}");
        assert!(says(bob, "square", "said-in-the-square"));
        if !again {
            all[1].kill();
            all[1].up();
        }
    }
    let bob = &all[1];
    bob.done(&["purge", "undo", "room", &room[..12]]);
    assert!(!bob.json(&["room", "list"]).to_string().contains(&room), "nothing comes back by itself");
    bob.json(&["room", "join", &link, "--wait", "30s"]);
    until("by a link it is here again", || says(bob, "zig", "words-of-the-room-4720"));
    until("whole", || bob.history("zig") == all[0].history("zig"));
    bob.send("zig", "I am back");
    all[0].until_shown("zig", 4);
    all[0].done(&["purge", "room", "zig", "--yes", "--keep-invites"]);
    assert!(!all[0].json(&["invite", "list"]).to_string().contains(&room));
}

/// A room with so many imported messages at the first, and the second about to get them.
fn big_room(folder: &Path, messages: usize) -> (Vec<Person>, String) {
    let all = people(folder, &["alice", "bob"]);
    all[0].json(&["room", "create", "archive"]);
    let lines: String = (0..messages)
        .map(|n| {
            format!(
                "{{\"ts\":{},\"author\":\"a{}\",\"text\":\"archived-words {n}\"}}\n",
                1_600_000_000_000u64 + n as u64,
                n % 7
            )
        })
        .collect();
    let file = folder.join("archive.jsonl");
    fs::write(&file, lines).unwrap();
    all[0].done(&["import", "archive", file.to_str().unwrap()]);
    fs::remove_file(file).unwrap();
    let link = all[0].link("archive");
    (all, link)
}

/// Kills a node while it purges, at another moment each time, until a purge was done before it came to that.
#[test]
fn a_purge_that_is_cut_short_goes_on_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let (mut all, link) = big_room(folder.path(), 20_000);
    let bob = &mut all[1];
    bob.json(&["room", "join", &link, "--wait", "60s"]);
    until("all of it is here", || bob.json(&["room", "show", "archive"])["complete"] == true);
    let room = bob.json(&["room", "show", "archive"])["room"].as_str().unwrap().to_owned();
    let number = {
        bob.down();
        let (store, _) = Store::open(&bob.home.join("store")).unwrap();
        store.rooms().unwrap().into_iter().find(|(_, row)| row.room.to_string() == room).unwrap().0
    };
    bob.up();
    let mut child = bob.command(&["purge", "room", "archive", "--yes"]).stderr(Stdio::null()).spawn().unwrap();
    until("it has begun", || bob.json(&["purge", "list"]) != json!([]));
    bob.kill();
    child.wait().unwrap();
    let mut unfinished = 0;
    loop {
        {
            // Whatever was done so far, nobody finds the room.
            let (store, _) = Store::open(&bob.home.join("store")).unwrap();
            assert!(store.rooms().unwrap().iter().all(|(_, row)| row.room.to_string() != room));
            unfinished += u32::from(store.purges().unwrap().iter().any(|(_, row)| !row.done));
        }
        bob.up();
        if bob.json(&["purge", "list"])[0]["done"] == true || unfinished > 10 {
            break;
        }
        bob.kill();
    }
    println!("cut short {unfinished} times");
    assert!(unfinished > 0, "no kill came in the middle");
    until("it is done", || bob.json(&["purge", "list"])[0]["done"] == true);
    assert!(!has_on_disk(bob, "archived-words"));
    let here = bob.send("square", "and the rest goes on");
    all[0].follow("square").until_id(&here);
    all[1].down();
    let (store, _) = Store::open(&all[1].home.join("store")).unwrap();
    for event in store.arrived_since(0, usize::MAX).unwrap() {
        assert_ne!(event.room, number, "an event of it is left");
    }
}

#[test]
fn a_room_that_is_being_fetched_can_be_purged() {
    let folder = tempfile::tempdir().unwrap();
    let (mut all, link) = big_room(folder.path(), 30_000);
    drop(all[1].run(&["room", "join", &link, "--wait", "0s"]));
    let room = |person: &Person| {
        let rooms = person.json(&["room", "list"]);
        let of_archive = |room: &&Value| room["name"] == "archive" || room["alias"] == "archive";
        rooms.as_array().unwrap().iter().find(of_archive).map(|room| room["room"].as_str().unwrap().to_owned())
    };
    until("some of it is here", || {
        room(&all[1]).is_some_and(|room| all[1].json(&["room", "show", &room])["last_ms"].as_u64().unwrap() > 0)
    });
    let id = room(&all[1]).unwrap();
    let was_whole = all[1].json(&["room", "show", &id])["complete"] == true;
    println!("purged while it was fetched: {}", !was_whole);
    all[1].done(&["purge", "room", &id, "--yes"]);
    let here = all[0].send("square", "meanwhile");
    all[1].follow("square").until_id(&here);
    let last = all[0].send("archive", "nothing of this comes in");
    stay_quiet(&all[1]);
    assert!(!has_on_disk(&all[1], "archived-words") && !has_on_disk(&all[1], &last));
    all[1].down();
    let (store, _) = Store::open(&all[1].home.join("store")).unwrap();
    assert!(store.rooms().unwrap().iter().all(|(_, row)| row.room.to_string() != id));
    assert!(store.arrived_since(0, usize::MAX).unwrap().len() < 1000, "rows of it are left");
}

//! A person with several devices, through the real program.

use super::nodes::Person;
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tidings_node::api::types::MarkRead;
use tidings_protocol::account::self_room;
use tidings_protocol::id::RoomId;
use tidings_protocol::identity::RecoveryPhrase;

pub const LISTEN: [&str; 3] = ["--no-mdns", "--listen", "/ip4/127.0.0.1/tcp/0"];

/// Alice and Bob in a members room and a public one, with something said in both.
pub fn pair(folder: &Path) -> (Person, Person) {
    let (mut alice, mut bob) = (Person::at(folder, "alice"), Person::at(folder, "bob"));
    alice.up();
    bob.up();
    alice.done(&["id", "name", "Alice"]);
    bob.done(&["id", "name", "Bob"]);
    alice.json(&["room", "create", "zig"]);
    alice.json(&["room", "create", "square", "--public"]);
    for room in ["zig", "square"] {
        alice.send(room, "said before Bob came");
        bob.json(&["room", "join", &alice.link(room)]);
        bob.send(room, "hello Alice");
        alice.until_shown(room, 2);
    }
    (alice, bob)
}

/// A link for another device, and the command that waits for it.
pub fn offer(first: &Person, arguments: &[&str]) -> (Child, BufReader<ChildStdout>, String) {
    let mut command = first.command(&[&["--json", "id", "add", "--yes"], arguments].concat());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    if !arguments.is_empty() {
        writeln!(child.stdin.take().unwrap(), "{}", words(first)).unwrap();
    }
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    let value: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no link: {line}"));
    (child, lines, value["link"].as_str().unwrap().to_owned())
}

pub fn words(person: &Person) -> String {
    person.json(&["id", "words"])["words"].as_str().unwrap().to_owned()
}

/// Makes a home another device of a running person.
pub fn linked(first: &Person, folder: &Path, name: &str) -> Person {
    let (mut child, mut lines, link) = offer(first, &[]);
    let second = Person::at(folder, name);
    let value = second.json(&[&["id", "link", &link, "--name", name], &LISTEN[..]].concat());
    assert_eq!((&value["complete"], &value["missing"]), (&true.into(), &0.into()), "{value}");
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    let done: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&done["name"], &done["device"]), (&name.into(), &value["device"]));
    assert!(child.wait().unwrap().success());
    second
}

/// Runs a command that reads the words.
pub fn with_words(words: &str, mut command: Command) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "{words}").unwrap();
    child.wait_with_output().unwrap()
}

pub fn recovered(words: &str, folder: &Path, name: &str, peer: &str) -> Person {
    let person = Person::at(folder, name);
    let arguments = [&["--json", "id", "recover", "--words-stdin", "--peer", peer], &LISTEN[..]].concat();
    let output = with_words(words, person.command(&arguments));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    person
}

pub fn address(person: &Person) -> String {
    person.ready["listen"][0].as_str().unwrap().to_owned()
}

pub fn device(person: &Person) -> String {
    person.json(&["id"])["device"].as_str().unwrap().to_owned()
}

/// Where a person's devices are listed.
pub fn home_of(person: &Person) -> RoomId {
    self_room(&RecoveryPhrase::from_words(&words(person)).unwrap()).unwrap().room()
}

/// Waits until somebody holds all of a person's self-room.
pub fn until_home_is_held(person: &Person, by: &Person) {
    let home = home_of(person).to_string();
    until("the self-room is held elsewhere", || {
        let rooms = by.json(&["room", "list", "--all"]);
        let is_there = rooms.as_array().unwrap().iter().any(|room| room["room"] == home.as_str());
        is_there && by.history(&home) == person.history(&home)
    });
}

/// Starts a node that knows where another is.
pub fn up_with_peer(person: &mut Person, peer: &Person) {
    person.up_with(&["--listen", "/ip4/127.0.0.1/tcp/0", "--peer", &address(peer)]);
}

/// Asks until it is so. Fails after a minute.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(60), "not after a minute: {what}");
    }
}

/// Everything up to this message is read.
pub fn mark_read(person: &Person, room: &str, event: &str) {
    let client = person.client();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let body = MarkRead { event: event.to_owned() };
    let _: Value = runtime.block_on(client.post(&format!("/v1/rooms/{room}/read"), &body)).unwrap();
}

pub fn unread(person: &Person, room: &str) -> u64 {
    person.json(&["room", "show", room])["unread"].as_u64().unwrap()
}

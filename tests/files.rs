//! Files: sent, found on whatever node has them, whole after any crash, and gone when their message is.

use crate::support::devices::{address, until, up_with_peer};
use crate::support::nodes::{Person, refused};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// Bytes that repeat nowhere, the same in every run.
fn bytes(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(len);
    out
}

fn file_at(folder: &Path, name: &str, len: usize) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, bytes(len)).unwrap();
    path
}

/// People in a members room, all by the first's link.
fn people(folder: &Path, names: &[&str]) -> Vec<Person> {
    let mut people: Vec<Person> = names.iter().map(|name| Person::at(folder, name)).collect();
    people[0].up();
    people[0].json(&["room", "create", "zig"]);
    let link = people[0].link("zig");
    for n in 1..people.len() {
        let (before, person) = people.split_at_mut(n);
        up_with_peer(&mut person[0], &before[0]);
        assert_eq!(person[0].json(&["room", "join", &link, "--wait", "30s"])["pending"], false);
    }
    people
}

/// Sends a file; its message.
fn send(person: &Person, file: &Path, more: &[&str]) -> String {
    let sent = person.json(&[&["send", "zig", "--file", file.to_str().unwrap()], more].concat());
    assert_eq!(sent["durable"], true);
    sent["id"].as_str().unwrap().to_owned()
}

/// Gets a file to a place.
fn get(person: &Person, event: &str, to: &Path) -> Value {
    person.json(&["file", "get", event, "--output", to.to_str().unwrap()])
}

/// What lies in a person's folder of files, and how much of the disk it takes.
fn on_disk(person: &Person) -> Vec<(String, u64)> {
    let entries = fs::read_dir(person.home.join("files")).unwrap().map(Result::unwrap);
    let found = entries.filter_map(|e| Some((e.file_name().into_string().unwrap(), e.metadata().ok()?.blocks() * 512)));
    found.collect()
}

fn part_bytes(person: &Person) -> u64 {
    on_disk(person).iter().filter(|(name, _)| name.ends_with(".part")).map(|(_, len)| *len).sum()
}

fn shown(person: &Person, event: &str) -> Value {
    person.lines("zig").into_iter().find(|line| line["id"] == event).unwrap_or(Value::Null)
}

#[test]
fn what_one_sends_another_gets_whole_and_nothing_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let all = people(folder.path(), &["alice", "bob"]);
    let (alice, bob) = (&all[0], &all[1]);
    let sent = file_at(folder.path(), "holiday photo.jpg", 3_000_001);
    let event = send(alice, &sent, &["the \u{1b}[31mlake"]);
    let (empty, small) = (file_at(folder.path(), "empty", 0), file_at(folder.path(), "note.txt", 5));
    let (empty, small) = (send(alice, &empty, &[]), send(alice, &small, &["--reply", &event]));
    bob.follow("zig").until_id(&small);
    let line = shown(bob, &event);
    let hash = line["file"]["hash"].as_str().unwrap().to_owned();
    assert_eq!((&line["kind"], &line["text"]), (&"file".into(), &"the \u{1b}[31mlake".into()));
    let expected = json!({
        "name": "holiday photo.jpg", "len": 3_000_001, "media": "image/jpeg", "hash": hash, "here": false
    });
    assert_eq!(line["file"], expected);
    assert_eq!(shown(bob, &small)["reply_to"], event.as_str());
    let plain = bob.done(&["read", "zig"]);
    assert!(plain.contains("[file: holiday photo.jpg, 3.0 MB, not here yet] the \u{fffd}[31mlake"), "{plain}");

    let to = folder.path().join("got.jpg");
    let got = get(bob, &event, &to);
    assert_eq!((&got["bytes"], &got["fetched"]), (&3_000_001.into(), &3_000_001.into()), "{got}");
    assert_eq!(fs::read(&to).unwrap(), fs::read(&sent).unwrap());
    assert_eq!(fs::metadata(&to).unwrap().mode() & 0o777, 0o600);
    assert_eq!(shown(bob, &event)["file"]["here"], true);
    assert_eq!(get(bob, &hash, &folder.path().join("again.jpg"))["fetched"], 0, "it is here");
    for (event, len) in [(&empty, 0), (&small, 5)] {
        let to = folder.path().join(event);
        get(bob, event, &to);
        assert_eq!(fs::read(&to).unwrap().len(), len);
    }
    let listed = bob.json(&["file", "list"]);
    let names: Vec<&str> = listed.as_array().unwrap().iter().map(|f| f["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["holiday photo.jpg", "empty", "note.txt"]);
    assert!(bob.done(&["file", "list"]).contains("here     holiday photo.jpg"));

    // Nothing that is there goes, but by one's word.
    let output = to.to_str().unwrap();
    fs::write(&to, "mine").unwrap();
    refused(4, &["there is such a file already", "--force"], || bob.command(&["file", "get", &event, "-o", output]));
    assert_eq!(fs::read(&to).unwrap(), b"mine");
    bob.done(&["file", "get", &event, "-o", output, "--force"]);
    assert_eq!(fs::read(&to).unwrap().len(), 3_000_001);
    fs::remove_file(&to).unwrap();
    symlink(folder.path().join("elsewhere"), &to).unwrap();
    for force in [&["--json"][..], &["--force"]] {
        bob.fails(4, &[&["file", "get", &event, "-o", output], force].concat());
    }
    assert!(!folder.path().join("elsewhere").exists());
    fs::remove_file(&to).unwrap();
    fs::write(folder.path().join("got.jpg.part"), "mine, too").unwrap();
    bob.fails(4, &["file", "get", &event, "-o", output]);
    assert_eq!(fs::read(folder.path().join("got.jpg.part")).unwrap(), b"mine, too");

    refused(5, &["brings a file"], || bob.command(&["file", "get", "nonsense"]));
    refused(2, &["not a file"], || bob.command(&["send", "zig", "--file", "/dev/null"]));
    refused(1, &["no such file"], || bob.command(&["send", "zig", "--file", "/nowhere/at/all"]));
    refused(5, &[], || bob.command(&["send", "zog", "--file", sent.to_str().unwrap()]));
}

#[test]
fn the_same_bytes_take_one_place_and_go_with_the_last_message_that_brings_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = people(folder.path(), &["alice", "bob"]);
    let file = file_at(folder.path(), "a.bin", 700_000);
    let (first, second) = (send(&all[0], &file, &[]), send(&all[0], &file, &["again"]));
    all[1].follow("zig").until_id(&second);
    get(&all[1], &first, &folder.path().join("b.bin"));
    for person in &all {
        assert_eq!(on_disk(person).len(), 2, "the file and its outline: {:?}", on_disk(person));
    }
    all[0].done(&["erase", &first]);
    until("the message is gone", || shown(&all[1], &first)["erased"] == true);
    assert_eq!(get(&all[1], &second, &folder.path().join("c.bin"))["bytes"], 700_000);
    assert_eq!(shown(&all[1], &first)["file"], Value::Null);
    // Bob is not there when the other goes.
    all[1].down();
    all[0].done(&["erase", &second]);
    until("the bytes are gone", || on_disk(&all[0]).is_empty());
    let (before, bob) = all.split_at_mut(1);
    up_with_peer(&mut bob[0], &before[0]);
    until("they are gone at Bob's, too", || on_disk(&bob[0]).is_empty());
    bob[0].fails(5, &["file", "get", &second]);
    // What an operator takes off goes with its bytes; others keep theirs.
    let third = send(&all[0], &file, &[]);
    all[1].follow("zig").until_id(&third);
    get(&all[1], &third, &folder.path().join("d.bin"));
    all[1].done(&["purge", "event", &third, "--yes"]);
    assert_eq!((on_disk(&all[1]).len(), on_disk(&all[0]).len()), (0, 2));
}

#[test]
fn a_file_comes_from_several_at_once_and_from_whoever_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = people(folder.path(), &["alice", "bob", "carol"]);
    let link = all[0].link("zig");
    let len = 48 << 20;
    let file = file_at(folder.path(), "film.mp4", len);
    let event = send(&all[0], &file, &[]);
    all[1].follow("zig").until_id(&event);
    get(&all[1], &event, &folder.path().join("bobs"));
    all[2].follow("zig").until_id(&event);
    all[2].done(&["peers", "add", &address(&all[1])]);
    until("Carol talks with both", || {
        all[2].send("zig", "who has it?");
        let is_told = |line: &Value| line["delivery"]["peers"].as_array().is_some_and(|peers| peers.len() == 2);
        all[2].lines("zig").iter().any(is_told)
    });
    let got = get(&all[2], &event, &folder.path().join("carols"));
    let from: Vec<u64> = got["from"].as_array().unwrap().iter().map(|one| one["bytes"].as_u64().unwrap()).collect();
    assert!(from.len() == 2 && from.iter().all(|bytes| *bytes > 1 << 20), "from both: {got}");
    // Each piece once, unless it was late.
    assert!(got["fetched"].as_u64().unwrap() < len as u64 + (8 << 20), "{got}");
    assert_eq!(fs::read(folder.path().join("carols")).unwrap(), fs::read(&file).unwrap());

    // Who sent it goes away for good; a newcomer gets it from the others.
    all[0].kill();
    let mut dave = Person::at(folder.path(), "dave");
    up_with_peer(&mut dave, &all[2]);
    dave.done(&["peers", "add", &address(&all[1])]);
    dave.json(&["room", "join", &link, "--wait", "30s"]);
    dave.follow("zig").until_id(&event);
    assert_eq!(get(&dave, &event, &folder.path().join("daves"))["bytes"], len);
}

/// Begins to get a file, and returns once so many of its bytes are on disk.
fn begun(person: &Person, event: &str, bytes: u64) -> Child {
    let to = person.home.with_extension("begun");
    let mut command = person.command(&["file", "get", event, "--force", "--wait", "2s", "-o", to.to_str().unwrap()]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let began = Instant::now();
    while part_bytes(person) < bytes {
        assert!(began.elapsed() < Duration::from_secs(60), "nothing comes");
    }
    child
}

#[test]
fn a_kill_of_either_side_midway_costs_nothing_that_was_here() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = people(folder.path(), &["alice", "bob"]);
    let len = 160u64 << 20;
    let file = file_at(folder.path(), "big.bin", len as usize);
    let calm = all[0].peak_memory_kib();
    let event = send(&all[0], &file, &[]);
    assert!(all[0].peak_memory_kib() < calm + MEMORY_KIB, "it is sent in constant memory");
    all[1].follow("zig").until_id(&event);

    // Who gets it is killed.
    let mut command = begun(&all[1], &event, 16 << 20);
    all[1].kill();
    assert!(!command.wait().unwrap().success());
    let here = part_bytes(&all[1]);
    assert!(here < len, "it was here before it could be killed");
    let (before, bob) = all.split_at_mut(1);
    up_with_peer(&mut bob[0], &before[0]);

    // Who gives it is killed, once more has come.
    let mut command = begun(&all[1], &event, here + (16 << 20));
    all[0].kill();
    assert!(!command.wait().unwrap().success());
    let now_here = part_bytes(&all[1]);
    assert!(now_here < len, "it was here before it could be killed");
    let error = all[1].fails(6, &["file", "get", &event, "--wait", "1s", "-o", "/nowhere/x"]);
    assert!(error.contains("bytes are here"), "{error}");
    all[0].up();
    all[1].done(&["peers", "add", &address(&all[0])]);

    let to = folder.path().join("got");
    let got = all[1].json(&["file", "get", &event, "--wait", "60s", "-o", to.to_str().unwrap()]);
    let fetched = got["fetched"].as_u64().unwrap();
    // A piece that was being written when it was killed counts as not here; file systems count whole blocks.
    assert!(fetched <= len - now_here + (2 << 20), "{fetched} fetched though {now_here} of {len} were here");
    assert!(fs::read(&to).unwrap() == fs::read(&file).unwrap());
    for person in &all {
        assert!(person.peak_memory_kib() < calm + MEMORY_KIB, "{} KiB", person.peak_memory_kib());
    }
}

#[test]
fn files_of_others_take_no_more_than_they_may() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = people(folder.path(), &["alice", "bob"]);
    all[1].down();
    fs::write(all[1].home.join("config.toml"), "files_max_bytes = 1500000\n").unwrap();
    assert_eq!(all[1].json(&["config", "show"])["settings"]["files_max_bytes"], 1_500_000);
    let (before, bob) = all.split_at_mut(1);
    up_with_peer(&mut bob[0], &before[0]);
    let (alice, bob) = (&all[0], &all[1]);
    let sent = |person: &Person, name: &str, len| send(person, &file_at(folder.path(), name, len), &[]);
    let (first, second) = (sent(alice, "1", 600_001), sent(alice, "2", 600_002));
    let (third, large) = (sent(alice, "3", 600_003), sent(alice, "4", 1_500_001));
    // Bob's own is not counted.
    sent(bob, "5", 2_000_000);
    bob.follow("zig").until_id(&large);
    for event in [&first, &second] {
        get(bob, event, &folder.path().join(event));
    }
    assert_eq!(get(bob, &first, &folder.path().join("used again"))["fetched"], 0);
    get(bob, &third, &folder.path().join("third"));
    let here: Vec<bool> = [&first, &second, &third].map(|e| shown(bob, e)["file"]["here"] == true).to_vec();
    assert_eq!(here, [true, false, true], "what was not used for longest went");
    bob.refused(4, &["file", "get", &large], &["files_max_bytes"]);
    assert_eq!(get(bob, &second, &folder.path().join("second again"))["fetched"], 600_002);
}

/// What a node may take more while a file of whatever length comes or goes: pieces, windows of streams, and the allocator.
const MEMORY_KIB: u64 = 96 << 10;

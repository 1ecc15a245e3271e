//! A bit that flips, a sector that is empty, or an end that is cut off, in each kind of file of a home and of a backup: it is
//! found, nothing wrong is served, and what is lost comes back from a peer, or one is told what to do.

use crate::support::devices::{LISTEN, address, pair, until, with_words};
use crate::support::fault::Fault;
use crate::support::nodes::Person;
use crate::support::seeded::Seeded;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const PASSPHRASE: &str = "correct horse battery staple";
/// Each is found in its folder by the beginning and the end of its name; one without is the whole of it.
const KINDS: [(&str, &str, &str); 18] = [
    ("store", "0", ".log"),
    ("store", "0", ".sst"),
    ("store", "MANIFEST-", ""),
    ("store", "CURRENT", ""),
    ("store", "OPTIONS-", ""),
    ("store", "IDENTITY", ""),
    ("store", "MARK", ""),
    ("files", "", ""),
    ("", "user.key", ""),
    ("", "device.key", ""),
    ("", "device.cert", ""),
    ("", "node.key", ""),
    ("", "config.toml", ""),
    ("", "created", ""),
    ("saved", "backup.json", ""),
    ("saved", "keys", ""),
    ("saved/store", "0", ".sst"),
    ("saved/files", "", ""),
];
static FILE: [u8; 300_000] = [b'f'; 300_000];
const SECTOR: usize = 512;
/// So many homes are copied from one: each copy is another device of its user.
const COPIES: u64 = 6;

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

/// One of the files of a kind.
fn file_of(home: &Path, (folder, begins, ends): (&str, &str, &str), dice: &mut Seeded) -> PathBuf {
    let entries = fs::read_dir(home.join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    let is_it = |path: &PathBuf| path.is_file() && name(path).starts_with(begins) && name(path).ends_with(ends);
    let mut files: Vec<PathBuf> = entries.filter(is_it).filter(|path| fs::metadata(path).unwrap().len() > 0).collect();
    files.sort();
    assert!(!files.is_empty(), "no file {folder}/{begins}*{ends}");
    dice.pick(&files).clone()
}

/// Harms a file, and says how.
fn harm(path: &Path, dice: &mut Seeded) -> String {
    let mut bytes = fs::read(path).unwrap();
    let at = dice.below(bytes.len());
    let how = match dice.below(10) {
        0..5 => {
            bytes[at] ^= 1 << dice.below(8);
            format!("a bit of byte {at} of {} has flipped", bytes.len())
        }
        5..8 => {
            bytes.truncate(at);
            format!("what is behind byte {at} is cut off")
        }
        // As a disk leaves it whose power went in the middle of it.
        _ => {
            let sector = at / SECTOR * SECTOR..bytes.len().min((at / SECTOR + 1) * SECTOR);
            bytes[sector].fill(0);
            format!("the sector of byte {at} of {} is empty", bytes.len())
        }
    };
    // What is linked elsewhere stays as it is there.
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
    assert!(Command::new("chmod").arg("600").arg(path).status().unwrap().success());
    how
}

/// People with a history, Bob's node killed: some of what he holds is in tables, some in the write-ahead log; and his backup.
fn scene(folder: &Path) -> (Person, Person) {
    let (alice, mut bob) = pair(folder);
    let file = folder.join("file");
    fs::write(&file, FILE).unwrap();
    let sent = bob.json(&["send", "zig", "--file", file.to_str().unwrap()]);
    alice.until_shown("zig", 1);
    alice.done(&["file", "get", sent["id"].as_str().unwrap(), "--output", folder.join("got").to_str().unwrap()]);
    for n in 0..10 {
        bob.send("zig", &format!("Bob's {n}"));
        alice.send("square", &format!("Alice's {n}"));
    }
    fs::write(bob.home.join("config.toml"), "share_read = false\n# with a word about it\n").unwrap();
    let equal =
        |alice: &Person, bob: &Person| ["zig", "square"].iter().all(|room| alice.history(room) == bob.history(room));
    until("both hold the same", || equal(&alice, &bob));
    let saved = bob.home.with_extension("saved");
    let backup = bob.command(&["backup", saved.to_str().unwrap(), "--passphrase-stdin"]);
    assert!(with_words(PASSPHRASE, backup).status.success());
    bob.down();
    bob.up();
    for n in 0..5 {
        bob.send("zig", &format!("Bob's last {n}"));
    }
    until("both hold the same", || equal(&alice, &bob));
    bob.kill();
    fs::rename(saved, bob.home.join("saved")).unwrap();
    (alice, bob)
}

/// What Alice shows, by id.
fn true_words(alice: &Person, rooms: &[&str]) -> BTreeMap<String, Value> {
    let lines = rooms.iter().flat_map(|room| alice.lines(room));
    lines.filter_map(|line| Some((line["id"].as_str()?.to_owned(), line["text"].clone()))).collect()
}

/// Nothing is shown but what was said.
fn shows_only(person: &Person, room: &str, words: &BTreeMap<String, Value>, what: &str) {
    let output = person.run(&["--json", "read", room, "--limit", "1000"]);
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if let Some(id) = line["id"].as_str() {
            assert_eq!(words.get(id), Some(&line["text"]), "{what}: something false is shown");
        }
    }
}

/// One is told in words, not by a panic.
fn is_told(code: Option<i32>, error: &str, what: &str) {
    let is_clear = code.is_some_and(|code| (1..=6).contains(&code)) && !error.contains("panicked");
    assert!(is_clear && error.trim().len() > 20, "{what}: {code:?} {error}");
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// All of it is there again.
    Whole,
    /// The start was refused, with what to do.
    Refused,
}

fn of_a_home(bob: &mut Person, alice: &Person, what: &str) -> End {
    let (rooms, user) = (["zig", "square"], alice_knows(alice));
    let ids: Vec<String> =
        rooms.iter().map(|room| alice.json(&["room", "show", room])["room"].as_str().unwrap().to_owned()).collect();
    let words = true_words(alice, &rooms);
    let verified = bob.run(&["--json", "verify"]);
    assert!(!String::from_utf8_lossy(&verified.stderr).contains("panicked"), "{what}: {verified:?}");
    // What nobody has read yet is found by who reads everything, and mended by the next start.
    for _ in 0..2 {
        let mut up = bob.command(&[&["--json", "up"], &LISTEN[..]].concat());
        up.args(["--peer", &address(alice)]);
        if let Err((code, error)) = bob.try_up(up) {
            is_told(code, &error, what);
            println!("{what}: refused: {}", error.trim());
            return End::Refused;
        }
        let own = bob.json(&["id"])["user"].as_str().unwrap().to_owned();
        assert!(user.contains(&own), "{what}: somebody else starts from this home: {own}");
        for room in &ids {
            shows_only(bob, room, &words, what);
        }
        until(&format!("{what}: all of it is back"), || {
            ids.iter().all(|room| {
                let held = bob.run(&["export", room]);
                held.status.success() && held.stdout == alice.history(room)
            })
        });
        for room in &ids {
            shows_only(bob, room, &words, what);
        }
        brings(bob, what);
        bob.down();
        let verified = bob.run(&["verify"]);
        if verified.status.success() {
            return End::Whole;
        }
        let error = String::from_utf8_lossy(&verified.stderr);
        is_told(verified.status.code(), &error, what);
        println!("{what}: found in the end: {}", error.trim());
    }
    panic!("{what}: it was started again, and is damaged still");
}

/// The file that a message brought is as it was: one that is damaged is found when it is asked for, and fetched again.
fn brings(bob: &Person, what: &str) {
    let (files, out) = (bob.json(&["file", "list"]), bob.home.with_extension("brought"));
    let get = ["file", "get", files[0]["event"].as_str().unwrap(), "--output", out.to_str().unwrap(), "--force"];
    bob.done(&get);
    assert!(fs::read(out).unwrap() == FILE, "{what}: another file");
}

/// Who is in the room.
fn alice_knows(alice: &Person) -> String {
    alice.json(&["room", "members", "zig"]).to_string()
}

fn of_a_backup(folder: &Path, bob: &Person, what: &str) -> End {
    let mut again = Person::at(folder, "again");
    let from = bob.home.join("saved");
    let restore = again.command(&["restore", from.to_str().unwrap(), "--passphrase-stdin"]);
    let output = with_words(PASSPHRASE, restore);
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        is_told(output.status.code(), &error, what);
        assert!(!again.home.join("store").exists(), "{what}");
        println!("{what}: refused: {}", error.trim());
        return End::Refused;
    }
    // What does not count was harmed: all of it verifies.
    again.up();
    // What was said since may have come from Alice by now.
    let is_saved = |text: &&String| text.starts_with("Bob's ") && !text.starts_with("Bob's last");
    assert_eq!(again.texts("zig").iter().filter(is_saved).count(), 10, "{what}");
    End::Whole
}

#[test]
fn flipped_bits_and_lost_ends_are_found_in_every_kind_of_file() {
    let mut fault = Fault::of("damaged-bytes", KINDS.len() as u64);
    let mut ends = Vec::new();
    let mut seeds = fault.seeds().peekable();
    while seeds.peek().is_some() {
        let folder = tempfile::tempdir().unwrap();
        let (alice, mut pristine) = scene(folder.path());
        pristine.is_harmed = true;
        for seed in seeds.by_ref().take(COPIES as usize) {
            fault.begin(seed);
            let (mut dice, kind) = (Seeded::new(seed), KINDS[(seed % KINDS.len() as u64) as usize]);
            let place = folder.path().join(seed.to_string());
            fs::create_dir(&place).unwrap();
            let mut bob = Person::at(&place, "bob");
            copy(&pristine.home, &bob.home);
            let path = file_of(&bob.home, kind, &mut dice);
            let how = harm(&path, &mut dice);
            let what = format!("seed {seed}: {}: {how}", path.strip_prefix(&bob.home).unwrap().display());
            bob.is_harmed = true;
            let end = if kind.0.starts_with("saved") {
                of_a_backup(&place, &bob, &what)
            } else {
                of_a_home(&mut bob, &alice, &what)
            };
            bob.is_harmed = end == End::Refused || kind.0.starts_with("saved");
            println!("{what}: {end:?}");
            ends.push(end);
            fault.acknowledged += true_words(&alice, &["zig", "square"]).len() as u64;
            drop(bob);
            fs::remove_dir_all(place).unwrap();
        }
    }
    if fault.is_long() || ends.len() == KINDS.len() {
        assert!(ends.contains(&End::Whole) && ends.contains(&End::Refused));
    }
    fault.report();
}

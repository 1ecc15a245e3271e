//! Homes of every schema that there was (`fixtures/schema-N.tar.gz`, made by the last program that wrote it) are read by this
//! program as they were, wherever it is killed on the way; and they stay beside it as they were, for a while.

use crate::support::devices::{LISTEN, until, with_words, words};
use crate::support::fault::{Fault, lost};
use crate::support::nodes::Person;
use crate::support::seeded::Seeded;
use crate::support::shim::{Numbers, Shim};
use crate::support::skip;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tidings_protocol::id::EventId;
use tidings_storage::SCHEMA;

/// Those of fixtures, and some that are in none of them.
const SEARCHED: [&str; 9] = ["heron", "rail", "crane", "coot", "ibis", "物語", "strasse", "albatross", "notes"];

/// What a fixture showed when it was made: rooms, and in each the messages with their ids.
type Shown = BTreeMap<String, Vec<(String, String)>>;

/// The home of a fixture, as somebody's.
fn of_schema(folder: &Path, schema: u32) -> (Person, Shown) {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/schema-{schema}.tar.gz"));
    let unpacked = Command::new("tar").arg("-xzpf").arg(&fixture).arg("-C").arg(folder).status().unwrap();
    assert!(unpacked.success(), "{}", fixture.display());
    let person = Person::at(folder, &format!("schema-{schema}"));
    let shown = person.home.join("shown.json");
    let read = serde_json::from_slice(&fs::read(&shown).unwrap()).unwrap();
    fs::remove_file(shown).unwrap();
    (person, read)
}

fn copies(person: &Person) -> Vec<PathBuf> {
    let entries = fs::read_dir(&person.home).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("store.schema-")).collect()
}

/// All that was shown is shown as it was, is found by its words, and verifies.
fn is_as_it_was(person: &Person, shown: &Shown) {
    for (room, messages) in shown {
        let is_text =
            |line: &Value| Some((line["id"].as_str()?.to_owned(), line["text"].as_str().unwrap_or("").to_owned()));
        let lines: Vec<_> = person.lines(room).iter().filter_map(is_text).collect();
        assert!(lines.starts_with(messages), "{room}: {lines:?}");
    }
    for word in SEARCHED {
        let has = |text: &String| text.to_lowercase().replace('ß', "ss").contains(word);
        let said = shown.values().flatten().filter(|(_, text)| has(text)).map(|(id, _)| id.clone());
        let text = person.done(&["--json", "search", word, "--limit", "1000"]);
        let found = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let found: BTreeSet<String> = found.map(|line| line["id"].as_str().unwrap().to_owned()).collect();
        let said: BTreeSet<String> = said.collect();
        assert!(!said.is_empty() && found == said, "{word}: {} are found, {} said", found.len(), said.len());
    }
    // By when they were said, and by whom: as `fixtures/make` has it.
    let herons = |of: &dyn Fn(usize) -> bool| (0..700).filter(|n| (n % 7 == 0 || n % 5 == 0) && of(*n)).count();
    let first_s = 1_600_000_000 % 86_400;
    let of_the_day = herons(&|n| first_s + n * 60 < 86_400);
    let by_a1 = herons(&|n| n % 9 == 1);
    for (query, count) in
        [("heron from:a1", by_a1), ("heron before:2020-09-13", 0), ("heron before:2020-09-14", of_the_day)]
    {
        let text = person.done(&["--json", "search", query, "--limit", "1000"]);
        assert_eq!(text.lines().count(), count, "{query}");
    }
    let verified = person.json(&["verify"]);
    assert_eq!(verified["damaged_count"], 0, "{verified}");
}

#[test]
fn a_home_of_each_schema_is_read_as_it_was_and_stays_beside_it_until_something_is_to_go() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    for schema in 1..=SCHEMA {
        assert!(
            fixtures.join(format!("schema-{schema}.tar.gz")).exists(),
            "make one: tests/fixtures/make PROGRAM {schema}"
        );
        let folder = tempfile::tempdir().unwrap();
        let (mut alice, shown) = of_schema(folder.path(), schema);
        // Also without a node.
        let output = alice.run(&["--json", "verify"]);
        assert!(output.status.success(), "{output:?}");
        alice.up();
        is_as_it_was(&alice, &shown);
        let copy = alice.home.join(format!("store.schema-{schema}"));
        assert_eq!(copies(&alice), if schema < SCHEMA { vec![copy] } else { vec![] });
        let said = alice.send("zig", "a heron of today");
        let files = alice.json(&["file", "list"]);
        let out = folder.path().join("notes");
        alice.done(&["file", "get", files[0]["event"].as_str().unwrap(), "--output", out.to_str().unwrap()]);
        assert_eq!(fs::read(out).unwrap(), [b'f'; 30_000]);
        alice.down();
        alice.up();
        assert_eq!(copies(&alice).len(), usize::from(schema < SCHEMA), "a start is no reason to take it away");
        assert!(alice.done(&["search", "today"]).contains("a heron of today"));
        // Where the home was copied, the device that it was says nothing any more.
        assert!(matches!(alice.run(&["erase", &said]).status.code(), Some(0 | 6)));
        until("what is to go from the disk is in the copy, too", || copies(&alice).is_empty());
    }
}

#[test]
fn whoever_goes_back_to_the_store_as_it_was_is_another_device_and_uses_no_place_twice() {
    let folder = tempfile::tempdir().unwrap();
    let (mut alice, shown) = of_schema(folder.path(), 1);
    alice.up();
    let device = alice.json(&["id"])["device"].clone();
    alice.send("zig", "said by the new program");
    alice.down();
    let store = alice.home.join("store");
    fs::rename(&store, folder.path().join("new")).unwrap();
    fs::rename(&copies(&alice)[0], &store).unwrap();
    alice.up();
    is_as_it_was(&alice, &shown);
    assert_ne!(alice.json(&["id"])["device"], device);
    assert!(!alice.texts("zig").contains(&"said by the new program".to_owned()));
}

#[test]
fn a_backup_of_an_older_schema_is_restored() {
    let folder = tempfile::tempdir().unwrap();
    let (mut alice, shown) = of_schema(folder.path(), 1);
    let old = folder.path().join("old");
    assert!(Command::new("cp").arg("-a").args([&alice.home.join("store"), &old]).status().unwrap().success());
    alice.up();
    let (secret, saved) = (words(&alice), folder.path().join("saved"));
    alice.json(&["backup", saved.to_str().unwrap(), "--without-keys"]);
    alice.down();
    // As the old program would have made it.
    fs::remove_dir_all(saved.join("store")).unwrap();
    fs::rename(old, saved.join("store")).unwrap();
    let mut manifest: Value = serde_json::from_slice(&fs::read(saved.join("backup.json")).unwrap()).unwrap();
    assert_eq!(manifest["schema"], SCHEMA);
    manifest["schema"] = 1.into();
    fs::write(saved.join("backup.json"), manifest.to_string()).unwrap();
    let mut again = Person::at(folder.path(), "again");
    let output = with_words(&secret, again.command(&["restore", saved.to_str().unwrap(), "--words-stdin"]));
    assert!(output.status.success(), "{output:?}");
    again.up();
    is_as_it_was(&again, &shown);
}

/// Starts a node that dies before it changes anything on the disk for so many times; whether it did before it was ready.
fn dies_at(person: &Person, shim: &Shim, numbers: &Path, change: u64) -> (bool, Numbers) {
    let mut up = person.command(&[&["--json", "up"], &LISTEN[..]].concat());
    let numbers = shim.preload(&mut up, numbers);
    numbers.die_at(change);
    let mut node = up.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut ready = String::new();
    BufReader::new(node.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    // One that is ready is killed now.
    node.kill().unwrap();
    node.wait().unwrap();
    (ready.is_empty(), numbers)
}

#[test]
fn whoever_is_killed_on_the_way_to_a_schema_goes_on_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let Some(shim) = Shim::build(folder.path()) else { return skip("no C compiler") };
    let numbers = folder.path().join("numbers");
    let changes = {
        let (alice, _) = of_schema(folder.path(), 1);
        let changes = dies_at(&alice, &shim, &numbers, 0).1.changes();
        fs::remove_dir_all(&alice.home).unwrap();
        changes
    };
    assert!(changes > 100, "{changes}");
    let mut fault = Fault::of("kill-in-migration", 6);
    for seed in fault.seeds() {
        fault.begin(seed);
        let place = folder.path().join(seed.to_string());
        fs::create_dir(&place).unwrap();
        let (mut alice, shown) = of_schema(&place, 1);
        let mut dice = Seeded::new(seed);
        // Once, or again on the way to where it goes on.
        let mut died = 0;
        for _ in 0..1 + dice.below(3) {
            died += u64::from(dies_at(&alice, &shim, &numbers, 1 + dice.next() % changes).0);
        }
        alice.up();
        is_as_it_was(&alice, &shown);
        println!("seed {seed}: killed {died} times on the way");
        alice.down();
        let ids: BTreeSet<EventId> = shown.values().flatten().map(|(id, _)| id.parse().unwrap()).collect();
        assert_eq!(lost(&alice.home, &ids), [], "seed {seed}");
        assert!(!alice.home.join("store.schema-1.part").exists(), "seed {seed}");
        fault.acknowledged += ids.len() as u64;
        fs::remove_dir_all(place).unwrap();
    }
    fault.report();
}

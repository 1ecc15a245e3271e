//! A disk that runs full under a node: it says what to do, loses nothing that it acknowledged, lets people read, and
//! goes on when there is room.

use crate::support::disk::Disk;
use crate::support::nodes::{Person, refused};
use crate::support::skip;
use std::fs;
use std::path::Path;

/// Records that fill a disk: half of each text is left however well it is compressed, and more than 20 MB of all.
fn records(count: u64) -> String {
    let mut seed = 88_172_645_463_325_252_u64;
    let mut text = String::new();
    for n in 0..count {
        text.push_str(&format!("{{\"ts\": {}, \"author\": \"ada\", \"text\": \"{n} ", 1_500_000_000_000 + n));
        for _ in 0..75 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            text.push_str(&format!("{seed:016x}"));
        }
        text.push_str("\"}\n");
    }
    text
}

/// Says or makes one after the other until one is refused for want of room, in words and then in JSON, and returns how many
/// were not: merging tables makes room again, some seconds after the disk was full.
fn until_refused(disk: &Disk, person: &Person, arguments: impl Fn(usize) -> Vec<String>) -> usize {
    let mut done = 0;
    let mut refused = |json: &[&str]| loop {
        disk.fill();
        let arguments = arguments(done);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).chain(json.iter().copied()).collect();
        let output = person.run(&arguments);
        if !output.status.success() {
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            return output;
        }
        done += 1;
    };
    let plain = refused(&[]);
    let error = String::from_utf8(plain.stderr).unwrap();
    assert!(plain.stdout.is_empty() && !error.contains("panicked"), "{error}");
    assert!(FULL.iter().all(|word| error.contains(word)), "{error}");
    let value: serde_json::Value = serde_json::from_slice(&refused(&["--json"]).stdout).unwrap();
    let told = format!("{} {}", value["error"]["title"], value["error"]["detail"]);
    assert_eq!(value["error"]["exit"], 1, "{value}");
    assert!(FULL.iter().all(|word| told.contains(word)), "{told}");
    done
}

/// A node on a disk that is too small for what is imported, and then is not: what holds whatever its settings.
fn fills_up_and_goes_on(
    folder: &Path,
    (small, large): (usize, usize),
    up: impl Fn(&mut Person),
) -> Option<(Disk, Person)> {
    let mount = folder.join("disk");
    fs::create_dir(&mount).unwrap();
    let Some(mut disk) = Disk::in_memory(&mount, small) else {
        skip("no file system can be mounted here (unshare -Urm)");
        return None;
    };
    let mut alice = Person::at(&disk.path, "alice");
    up(&mut alice);
    alice.json(&["room", "create", "zig"]);
    let first = alice.send("zig", "before");
    let file = folder.join("large.jsonl");
    fs::write(&file, records(RECORDS)).unwrap();

    let import = ["--json", "import", "zig", file.to_str().unwrap(), "--progress"];
    let output = alice.run(&import);
    let (told, error) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(FULL.iter().all(|word| error.contains(word)), "{error}");
    let lines: Vec<serde_json::Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let acknowledged = lines.iter().filter_map(|line| line["acknowledged"].as_u64()).max().unwrap();
    assert!(lines.last().unwrap()["error"]["title"].as_str().unwrap().contains("the disk is full"), "{told}");

    // One cannot write, and can read.
    // Long words: RocksDB may have set some megabytes aside for its log, and those are used up first.
    let words = |n: usize| format!("no room for {n} {}", "and for this ".repeat(3_000));
    let texts = until_refused(&disk, &alice, |n| vec!["send".to_owned(), "zig".to_owned(), words(n)]);
    let rooms = until_refused(&disk, &alice, |n| vec!["room".to_owned(), "create".to_owned(), format!("zag{n}")]);
    until_refused(&disk, &alice, |n| vec!["id".to_owned(), "name".to_owned(), format!("Alice {n}")]);
    let lines = alice.lines("zig");
    assert_eq!(lines[lines.len() - texts - 1]["id"], first.as_str());
    assert_eq!(alice.json(&["room", "list"]).as_array().unwrap().len(), 1 + rooms);
    let held = alice.json(&["status"])["events"].as_u64().unwrap();
    assert!(held >= acknowledged, "{held} events are held of {acknowledged} acknowledged");
    let exported = folder.join("full.export");
    alice.done(&["export", "zig", "-o", exported.to_str().unwrap()]);
    let proven = alice.json(&["verify", exported.to_str().unwrap()]);
    assert!(proven["events"].as_u64().unwrap() > acknowledged, "{proven}");

    disk.resize(large);
    while !alice.run(&["send", "zig", "there is room"]).status.success() {
        std::thread::yield_now();
    }
    alice.json(&["room", "create", &format!("zag{rooms}")]);
    let done = alice.json(&import[1..4]);
    assert_eq!(done["imported"].as_u64().unwrap() + done["known"].as_u64().unwrap(), RECORDS, "{done}");
    assert!(done["known"].as_u64().unwrap() >= acknowledged, "{done}");

    // What is held now survives the end of the process.
    let history = |alice: &Person| {
        alice.done(&["export", "zig", "-o", exported.to_str().unwrap()]);
        alice.done(&["verify", exported.to_str().unwrap()]);
        fs::read(&exported).unwrap()
    };
    let before = history(&alice);
    alice.kill();
    up(&mut alice);
    assert!(history(&alice) == before, "the history has changed");
    assert_eq!(alice.texts("zig").last().unwrap(), "there is room");
    assert!(!alice.texts("zig").contains(&words(texts)));
    Some((disk, alice))
}

const RECORDS: u64 = 24_000;
/// What one is told.
const FULL: [&str; 3] = ["the disk is full: nothing was written", "free some space and try again", "reading goes on"];

#[test]
fn a_full_disk_is_recovered_from_under_a_budget_that_it_does_not_have() {
    // With one of this size RocksDB slows writes.
    let up = |person: &mut Person| {
        let mut up = person.command(&["--json", "up", "--no-mdns", "--listen", "/ip4/127.0.0.1/tcp/0"]);
        up.env("TIDINGS_DISK_MAX_BYTES", "64000000");
        person.up_by(up);
    };
    let folder = tempfile::tempdir().unwrap();
    // The node goes before the disk does.
    let Some((_disk, _alice)) = fills_up_and_goes_on(folder.path(), (20, 96), up) else { return };
}

#[test]
fn a_full_disk_loses_nothing_and_is_recovered_from() {
    let folder = tempfile::tempdir().unwrap();
    let up = |person: &mut Person| {
        person.up();
    };
    let Some((disk, alice)) = fills_up_and_goes_on(folder.path(), (20, 96), up) else { return };

    // And where there is no room to begin with, that is said.
    disk.fill();
    let bob = Person::at(&disk.path, "bob");
    let up = ["up", "--no-mdns", "--listen", "/ip4/127.0.0.1/tcp/0"];
    refused(1, &["the disk is full: free some space"], || bob.command(&up));
    // What she tells of the day has begun a log, for which RocksDB has set some megabytes aside: those are used up first.
    let long = "full again ".repeat(4_000);
    while alice.run(&["send", "zig", &long]).status.success() {}
    alice.refused(1, &["send", "zig", &long], &[]);
}

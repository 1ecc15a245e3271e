//! Keeping a home whole: what is kept is verified, backed up while it is used, and restored elsewhere as another device.

use crate::support::devices::{
    LISTEN, device, linked, pair, until, until_home_is_held, up_with_peer, with_words, words,
};
use crate::support::nodes::Person;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

const PASSPHRASE: &str = "correct horse battery staple";

/// Every file below a folder, and its bytes.
fn files_in(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        match entry.is_dir() {
            true => found.extend(files_in(&entry)),
            false => drop(found.insert(entry.clone(), fs::read(entry).unwrap_or_default())),
        }
    }
    found
}

fn flip(path: &Path, at: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 4], at).unwrap();
}

fn numbers(verified: &Value) -> (u64, u64, u64) {
    let number = |name: &str| verified[name].as_u64().unwrap_or_else(|| panic!("no {name}: {verified}"));
    assert!(verified["damaged"].is_array(), "{verified}");
    (number("events"), number("files"), number("damaged_count"))
}

fn backup(person: &Person, to: &Path) -> Value {
    let output =
        with_words(PASSPHRASE, person.command(&["--json", "backup", to.to_str().unwrap(), "--passphrase-stdin"]));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn restore(folder: &Path, name: &str, from: &Path, flag: &str, secret: &str) -> (Person, Output) {
    let person = Person::at(folder, name);
    let output = with_words(secret, person.command(&["--json", "restore", from.to_str().unwrap(), flag]));
    (person, output)
}

fn restored(folder: &Path, name: &str, from: &Path, flag: &str, secret: &str) -> Person {
    let (person, output) = restore(folder, name, from, flag, secret);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(numbers(&value).2, 0);
    person
}

fn failed(output: &Output, code: i32, says: &str) {
    let (error, out) = (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    assert_eq!(output.status.code(), Some(code), "{error}");
    assert!(error.contains(says) && !error.contains("panicked"), "not {says:?} but {error}");
    let value: Value = serde_json::from_str(&out).unwrap();
    assert!(value["error"]["exit"] == code || value["damaged_count"].as_u64() > Some(0), "{out}");
}

#[test]
fn what_is_kept_is_verified_while_a_node_runs_and_when_none_does() {
    let folder = tempfile::tempdir().unwrap();
    let mut alice = Person::at(folder.path(), "alice");
    alice.refused(1, &["verify"], &["there is no history here", "--home"]);
    alice.up();
    alice.json(&["room", "create", "zig"]);
    for n in 0..20 {
        alice.send("zig", &format!("message {n}"));
    }
    let file = folder.path().join("notes.txt");
    fs::write(&file, vec![b'n'; 300_000]).unwrap();
    alice.json(&["send", "zig", "--file", file.to_str().unwrap()]);
    let running = alice.json(&["verify"]);
    let (events, files, damaged) = numbers(&running);
    assert!(events > 21, "{running}");
    assert_eq!((files, damaged), (1, 0), "{running}");
    assert!(running["bytes"].as_u64() > Some(300_000) && running["signatures"].as_u64() >= Some(events), "{running}");
    alice.down();
    // What lay in the write-ahead log goes into tables at the next start.
    alice.up().down();
    let before = files_in(&alice.home);
    let resting = alice.json(&["verify"]);
    assert_eq!(numbers(&resting), (events, 1, 0), "{resting}");
    assert!(files_in(&alice.home) == before, "looking at it has changed it");
    assert!(alice.done(&["verify"]).contains("nothing is damaged"));

    // A table, then a file.
    let of_kind = |ending: &str, least: u64| {
        let is_it =
            |path: &&PathBuf| path.to_string_lossy().ends_with(ending) && fs::metadata(path).unwrap().len() >= least;
        before.keys().filter(is_it).max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap().clone()
    };
    let blob = before.keys().find(|path| path.parent().unwrap().ends_with("files")).unwrap().clone();
    for (path, at, says) in [(of_kind(".sst", 500), 100, "cannot be read"), (blob, 150_000, "a file: ")] {
        flip(&path, at);
        let output = alice.run(&["--json", "verify"]);
        failed(&output, 1, "copy the home");
        let value: Value = serde_json::from_slice(&output.stdout).unwrap();
        let damaged = value["damaged"].as_array().unwrap();
        assert!(damaged.iter().any(|d| d["what"].as_str().unwrap().contains(says)), "{says}: {value}");
        let plain = alice.run(&["verify"]);
        assert!(String::from_utf8_lossy(&plain.stdout).contains("damaged: "), "{plain:?}");
        flip(&path, at);
    }
    assert_eq!(numbers(&alice.json(&["verify"])), (events, 1, 0));
}

#[test]
fn a_backup_of_a_busy_node_is_restored_as_another_device_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bob) = pair(folder.path());
    let file = folder.path().join("notes.txt");
    fs::write(&file, vec![b'n'; 300_000]).unwrap();
    alice.json(&["send", "zig", "--file", file.to_str().unwrap()]);
    let before = alice.send("zig", "before the backup");
    let records = folder.path().join("records.jsonl");
    let record =
        |n: u64| format!("{{\"ts\": {}, \"author\": \"a\", \"text\": \"record {n}\"}}\n", 1_500_000_000_000 + n);
    fs::write(&records, (0..20_000).map(record).collect::<String>()).unwrap();
    let mut import = alice.command(&["import", "zig", records.to_str().unwrap()]);
    let mut importing = import.stdout(Stdio::null()).spawn().unwrap();
    let to = folder.path().join("saved");
    let made = backup(&alice, &to);
    assert!(importing.wait().unwrap().success());
    let (events, files, damaged) = numbers(&made);
    assert!(events > 10 && (files, damaged) == (1, 0), "{made}");
    assert_eq!((&made["keys"], &made["verified"]), (&true.into(), &true.into()));
    assert_eq!(fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(to.join("keys")).unwrap().permissions().mode() & 0o777, 0o600);
    for secret in [fs::read(alice.home.join("user.key")).unwrap(), fs::read(alice.home.join("device.key")).unwrap()] {
        let has = |bytes: &[u8]| bytes.windows(secret.len()).any(|window| window == secret);
        assert!(files_in(&to).values().all(|bytes| !has(bytes)), "a key lies in the backup as it is");
    }

    // What is said after the backup is said by a device that the backup knows.
    let after = alice.send("zig", "after the backup");
    bob.follow("zig").until_id(&after);
    let mut elsewhere = restored(folder.path(), "elsewhere", &to, "--passphrase-stdin", PASSPHRASE);
    up_with_peer(&mut elsewhere, &bob);
    assert_ne!(device(&elsewhere), device(&alice));
    assert_eq!(elsewhere.json(&["id"])["user"], alice.json(&["id"])["user"]);
    assert_ne!(elsewhere.ready["peer"], alice.ready["peer"]);
    elsewhere.follow("zig").until_id(&after);
    let new = elsewhere.send("zig", "by who was restored");
    bob.follow("zig").until_id(&new);
    alice.follow("zig").until_id(&new);
    let again = alice.send("zig", "by the original");
    elsewhere.follow("zig").until_id(&again);
    until("all hold the same", || {
        let history = bob.history("zig");
        alice.history("zig") == history && elsewhere.history("zig") == history
    });
    let brought = folder.path().join("brought.txt");
    let sent = alice.lines("zig").into_iter().find(|line| line["file"].is_object()).unwrap();
    elsewhere.json(&["file", "get", sent["id"].as_str().unwrap(), "--output", brought.to_str().unwrap()]);
    assert_eq!(fs::read(brought).unwrap(), fs::read(file).unwrap());
    assert!(elsewhere.lines("zig").iter().any(|line| line["id"] == before.as_str()));
}

#[test]
fn a_backup_without_keys_needs_the_words_and_one_without_words_is_only_read() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bob) = pair(folder.path());
    until_home_is_held(&alice, &bob);
    let to = folder.path().join("saved");
    let made = alice.json(&["backup", to.to_str().unwrap(), "--without-keys", "--no-verify"]);
    assert_eq!((&made["keys"], &made["verified"]), (&false.into(), &false.into()));
    let nobody = Person::at(folder.path(), "nobody");
    nobody.refused(1, &["restore", to.to_str().unwrap()], &["no keys lie beside this backup", "--words-stdin"]);
    let (_, output) = restore(folder.path(), "other", &to, "--words-stdin", &words(&bob));
    failed(&output, 4, "another user");
    let mut again = restored(folder.path(), "again", &to, "--words-stdin", &words(&alice));
    up_with_peer(&mut again, &bob);
    let id = again.send("square", "by the words");
    bob.follow("square").until_id(&id);

    let mut phone = linked(&alice, folder.path(), "phone");
    phone.up();
    let to = folder.path().join("phone-saved");
    backup(&phone, &to);
    phone.down();
    let mut silent = restored(folder.path(), "silent", &to, "--passphrase-stdin", PASSPHRASE);
    up_with_peer(&mut silent, &bob);
    assert!(silent.texts("square").contains(&"hello Alice".to_owned()));
    assert!(silent.fails(4, &["send", "square", "by the copy"]).contains("tidings id add"));
    // Whatever was in the home: a fresh key there must not speak for the one that is restored.
    let other = Person::at(folder.path(), "other home");
    other.done(&["id"]);
    let (_, output) = restore(folder.path(), "other home", &to, "--passphrase-stdin", PASSPHRASE);
    failed(&output, 4, "this home is in use");
    assert!(!other.home.join("store").exists());
}

#[test]
fn a_backup_that_was_in_other_hands_brings_no_settings_that_open_the_node() {
    let folder = tempfile::tempdir().unwrap();
    let mut alice = Person::at(folder.path(), "alice");
    alice.up();
    alice.json(&["room", "create", "zig"]);
    alice.send("zig", "kept");
    let settings = "share_presence = true\nnames_trust = [\"/tmp/ca.pem\"]\n";
    fs::write(alice.home.join("config.toml"), settings).unwrap();
    let to = folder.path().join("saved");
    backup(&alice, &to);
    // A link of the same file would change with it.
    fs::write(alice.home.join("config.toml"), "share_presence = false\n").unwrap();
    assert_eq!(fs::read_to_string(to.join("config.toml")).unwrap(), settings);
    // As from a medium that can only be read.
    for path in files_in(&to).into_keys() {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
    }
    let (mut home, output) = restore(folder.path(), "elsewhere", &to, "--passphrase-stdin", PASSPHRASE);
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["settings_left_out"], serde_json::json!(["names_trust"]), "{output:?}");
    assert_eq!(fs::read_to_string(home.home.join("config.toml")).unwrap().trim(), "share_presence = true");
    for path in files_in(&home.home.join("store")).into_keys() {
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
    }
    home.up_with(&LISTEN[1..]);
    assert_eq!(home.texts("zig"), ["kept"]);

    // What is no file of its own is not read.
    fs::remove_file(to.join("config.toml")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", to.join("config.toml")).unwrap();
    let (home, output) = restore(folder.path(), "nowhere", &to, "--passphrase-stdin", PASSPHRASE);
    failed(&output, 1, "config.toml");
    assert!(!home.home.join("store").exists() && !home.home.join("user.key").exists());
}

#[test]
fn backups_and_restores_that_cannot_be() {
    let folder = tempfile::tempdir().unwrap();
    let mut alice = Person::at(folder.path(), "alice");
    alice.refused(3, &["backup", "anywhere", "--without-keys"], &["no node is running"]);
    alice.up();
    alice.json(&["room", "create", "zig"]);
    alice.send("zig", "kept");
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let refused = |code, to: &str, says: &[&str]| alice.refused(code, &["backup", to, "--without-keys"], says);
    refused(2, &at("alice"), &["there is something already"]);
    refused(2, &at("alice/saved"), &["in the home itself", "elsewhere"]);
    refused(2, &at("none/saved"), &["there is no such folder"]);
    refused(2, "/", &["whole path"]);
    alice.refused(2, &["backup", &at("saved")], &["--passphrase-stdin", "--without-keys"]);
    let short = with_words("short", alice.command(&["--json", "backup", &at("saved"), "--passphrase-stdin"]));
    failed(&short, 2, "10 characters");
    // Of one that was broken off; and a folder that only has its name.
    fs::create_dir(at("saved.part")).unwrap();
    fs::write(at("saved.part/mine"), "mine").unwrap();
    refused(2, &at("saved"), &["saved.part: there is something already"]);
    assert_eq!(fs::read(at("saved.part/mine")).unwrap(), b"mine");
    fs::write(at("saved.part/unfinished"), "").unwrap();
    let to = PathBuf::from(at("saved"));
    backup(&alice, &to);
    assert!(!Path::new(&at("saved.part")).exists());

    let from = to.to_str().unwrap();
    alice.refused(4, &["restore", from], &["this home is in use", "--home"]);
    let nobody = Person::at(folder.path(), "nobody");
    nobody.refused(1, &["restore", folder.path().to_str().unwrap()], &["this is no backup"]);
    nobody.refused(1, &["restore", &at("none")], &["this is no backup"]);
    nobody.refused(2, &["restore", from], &["--passphrase-stdin", "--words-stdin"]);
    let (_, output) = restore(folder.path(), "nobody", &to, "--passphrase-stdin", "another passphrase");
    failed(&output, 1, "does not open the keys");
    let (_, output) = restore(folder.path(), "nobody", &to, "--words-stdin", "no words at all");
    failed(&output, 2, "words");
    let manifest = fs::read_to_string(to.join("backup.json")).unwrap();
    for (newer, says) in [("\"format\": 2", "a newer tidings"), ("\"format\": no", "damaged")] {
        fs::write(to.join("backup.json"), manifest.replace("\"format\": 1", newer)).unwrap();
        nobody.refused(1, &["restore", from], &[says]);
    }
    fs::write(to.join("backup.json"), &manifest).unwrap();
    let table = files_in(&to).into_keys().filter(|path| path.to_string_lossy().ends_with(".sst"));
    let table = table.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    // The home shares its tables with the backup, as they are on the same disk.
    fs::write(table.with_extension("copy"), fs::read(&table).unwrap()).unwrap();
    fs::rename(table.with_extension("copy"), &table).unwrap();
    flip(&table, 100);
    let (home, output) = restore(folder.path(), "nobody", &to, "--passphrase-stdin", PASSPHRASE);
    failed(&output, 1, "nothing was restored");
    assert!(!home.home.join("store").exists() && !home.home.join("user.key").exists());
    flip(&table, 100);
    // What was refused is no hindrance.
    let mut home = restored(folder.path(), "nobody", &to, "--passphrase-stdin", PASSPHRASE);
    home.up_with(&LISTEN[1..]);
    assert_eq!(home.texts("zig"), ["kept"]);
}

//! Files that cannot be imported, or are no proof.

use super::{goes_on, somebody};
use crate::support::nodes::{Person, refused};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Imports a file of which something cannot be taken in: exit 1, what on stderr, and one JSON value that says as much.
fn import_in_part(person: &Person, file: &Path, says: &[&str]) -> Value {
    let output = person.run(&["--json", "import", "zig", file.to_str().unwrap()]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    for word in says {
        assert!(error.contains(word), "does not say {word:?} but: {error}");
    }
    assert!(!value["errors"].as_array().unwrap().is_empty(), "{value}");
    value
}

fn record(n: u64) -> Vec<u8> {
    format!("{{\"ts\": {n}, \"author\": \"ada\", \"text\": \"number {n}\"}}\n").into_bytes()
}

#[test]
fn lines_that_are_no_records_are_told_and_the_others_are_in() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, _) = somebody(folder.path());
    let long = format!("{{\"ts\": 1, \"author\": \"ada\", \"text\": \"{}\"}}", "x".repeat(600_000));
    let label = format!("{{\"ts\": 1, \"author\": \"{}\", \"text\": \"\"}}", "x".repeat(5000));
    let wrong: [(&[u8], &str); 14] = [
        (b"this is no JSON", "line 2: not a record"),
        (b"{\"ts\": 1, \"author\": \"ada\"}", "line 4: not a record"),
        (b"{\"author\": \"ada\", \"text\": \"\"}", "missing field `ts`"),
        (b"{\"ts\": \"1\", \"author\": \"ada\", \"text\": \"\"}", "line 8: not a record"),
        (b"{\"ts\": -1, \"author\": \"ada\", \"text\": \"\"}", "line 10: not a record"),
        (b"{\"ts\": 1.5, \"author\": \"ada\", \"text\": \"\"}", "line 12: not a record"),
        (b"{\"ts\": 1, \"author\": null, \"text\": \"\"}", "line 14: not a record"),
        (b"{\"ts\": 1, \"author\": \"ada\", \"text\": [\"\"]}", "line 16: not a record"),
        (b"[1, \"ada\", \"text\"]", "line 18: not a record"),
        (b"{\"ts\": 1, \"author\": \"ada\", \"text\": \"caf\xe9\"}", "line 20: not a record"),
        (b"{\"ts\": 1, \"author\": \"ada\", \"text\": \"\"} and more", ""),
        (b"{\"ts\": 1, \"author\": \"ada\", \"text\": \"", ""),
        (long.as_bytes(), ""),
        (label.as_bytes(), ""),
    ];
    let mut bytes = record(0);
    for ((line, _), n) in wrong.iter().zip(1..) {
        bytes.extend([line, b"\n".as_slice(), &record(n)].concat());
    }
    let file = folder.path().join("log.jsonl");
    fs::write(&file, &bytes).unwrap();
    let says: Vec<&str> =
        wrong.iter().map(|(_, says)| *says).chain(["14 lines", "mend them and run it again"]).collect();
    let done = import_in_part(&alice, &file, &says);
    assert_eq!((&done["imported"], &done["rejected"]), (&15.into(), &14.into()));
    let texts = alice.texts("zig");
    let expected: Vec<String> = (0..15).map(|n| format!("number {n}")).chain(["said before".to_owned()]).collect();
    assert_eq!(texts, expected);
    let history = alice.history("zig");
    let again = import_in_part(&alice, &file, &[]);
    assert_eq!((&again["imported"], &again["known"]), (&0.into(), &15.into()));
    goes_on(&alice, &history);
}

#[test]
fn a_compressed_file_that_was_cut_off_is_no_whole_import() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, _) = somebody(folder.path());
    let plain = folder.path().join("log.jsonl");
    fs::write(&plain, (0..5000).flat_map(record).collect::<Vec<u8>>()).unwrap();
    let packed = Command::new("gzip").arg("-c").arg(&plain).output().unwrap().stdout;
    let file = folder.path().join("log.jsonl.gz");
    let mut known = 0;
    for len in [3, 15, packed.len() / 2, packed.len() - 6] {
        fs::write(&file, &packed[..len]).unwrap();
        let done = import_in_part(&alice, &file, &["not all of it could be read", "cut off", "get a whole copy"]);
        known = done["imported"].as_u64().unwrap() + done["known"].as_u64().unwrap();
    }
    assert!(known > 4000, "what could be read is kept");
    let mut damaged = packed.clone();
    damaged[packed.len() / 2] ^= 0x55;
    fs::write(&file, &damaged).unwrap();
    import_in_part(&alice, &file, &["not all of it could be read", "get a whole copy"]);
    fs::write(&file, &packed).unwrap();
    let known_before = alice.texts("zig").len();
    assert!(known_before > 0);
    let output = alice.run(&["--json", "import", "zig", file.to_str().unwrap()]);
    let whole: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(whole["imported"].as_u64().unwrap() + whole["known"].as_u64().unwrap(), 5000);
    let history = alice.history("zig");
    goes_on(&alice, &history);
}

#[test]
fn files_that_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, history) = somebody(folder.path());
    let here = folder.path().to_str().unwrap();
    let absent = folder.path().join("absent.jsonl");
    let absent = absent.to_str().unwrap();
    for command in [&["import", "zig"][..], &["verify"]] {
        alice.refused(1, &[command, &[absent]].concat(), &["absent.jsonl", "no such file"]);
        alice.refused(1, &[command, &[here]].concat(), &[here, "that is a folder: name a file"]);
    }
    alice.refused(1, &["export", "zig", "-o", here], &[here, "that is a folder: name a file"]);
    alice.refused(1, &["export", "zig", "-o", &format!("{here}/no/where")], &["no such file or folder"]);
    alice.refused(5, &["import", "nowhere", &format!("{here}/alice.export")], &["there is no room"]);
    goes_on(&alice, &history);
}

#[test]
fn exports_that_were_changed_prove_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, history) = somebody(folder.path());
    let file = folder.path().join("changed.export");
    let verify = |bytes: &[u8], says: &[&str]| {
        fs::write(&file, bytes).unwrap();
        let says: Vec<&str> = says.iter().chain(&["changed.export", "do not trust it"]).copied().collect();
        refused(1, &says, || alice.command(&["verify", file.to_str().unwrap()]));
    };
    for at in [history.len() / 3, history.len() / 2, history.len() - 10] {
        let mut bytes = history.clone();
        bytes[at] ^= 1;
        verify(&bytes, &[]);
    }
    for len in [20, history.len() / 2, history.len() - 1] {
        verify(&history[..len], &["the file is cut off after"]);
    }
    verify(&[&history[..], b"more"].concat(), &["goes on behind its end"]);
    for other in [
        b"".as_slice(),
        b"text",
        b"{\"ts\": 1, \"author\": \"ada\", \"text\": \"longer than what begins an export\"}\n",
    ] {
        verify(other, &["this is not a tidings export"]);
    }
    goes_on(&alice, &history);
}

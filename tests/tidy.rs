//! The house rules that a machine can check: who may know whom, how long a file may be, what opens it.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file of the project, by its path from the root, with its text.
fn sources() -> Vec<(String, String)> {
    let mut out = Vec::new();
    for folder in ["protocol", "storage", "node", "tests", "examples", "benches", "fuzz"] {
        walk(&root().join(folder), &mut out);
    }
    assert!(out.len() > 50, "the sources were not found");
    out
}

fn walk(folder: &Path, out: &mut Vec<(String, String)>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.map(|e| e.unwrap().path()) {
        if path.is_dir() && path.file_name().is_some_and(|n| n != "target") {
            walk(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let name = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
            out.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
}

/// The lines of code that name something, comments and test modules left out.
fn naming<'a>(text: &'a str, words: &[&str]) -> Vec<&'a str> {
    let code = text.split("#[cfg(test)]").next().unwrap_or(text);
    let is_code = |l: &&str| !l.trim_start().starts_with("//");
    code.lines().filter(is_code).filter(|l| words.iter().any(|w| l.contains(w))).collect()
}

#[test]
fn arrows_point_one_way() {
    let walls: [(&str, &[&str], &[&str]); 10] = [
        // What is named, by whom alone, where it is looked for.
        ("bincode", &["protocol/src/codec.rs"], &["protocol/", "storage/", "node/"]),
        (
            "rocksdb",
            &["storage/", "tests/tidy.rs"],
            &["protocol/", "storage/", "node/", "benches/", "tests/", "examples/", "fuzz/"],
        ),
        ("libp2p", &["node/src/network/"], &["protocol/", "storage/", "node/"]),
        ("axum", &["node/src/api/"], &["protocol/", "storage/", "node/"]),
        // The one place from which anything but peers is asked.
        ("rustls", &["node/src/lookup/"], &["protocol/", "storage/", "node/"]),
        ("tidings_storage", &["storage/", "node/"], &["protocol/"]),
        ("tidings_node", &["node/"], &["protocol/", "storage/"]),
        ("tokio::", &["node/"], &["protocol/", "storage/"]),
        ("std::net", &["node/"], &["protocol/", "storage/"]),
        ("std::fs", &["node/", "storage/"], &["protocol/"]),
    ];
    let sources = sources();
    for (what, allowed, looked) in walls {
        for (name, text) in sources.iter().filter(|(n, _)| looked.iter().any(|l| n.starts_with(l))) {
            if !allowed.iter().any(|a| name.starts_with(a)) {
                assert_eq!(naming(text, &[what]), [""; 0], "{name} names {what}");
            }
        }
    }
}

#[test]
fn rooms_of_the_node_keep_their_doors_shut() {
    for (name, text) in sources() {
        let in_node = |part: &str| name.starts_with(&format!("node/src/{part}"));
        if in_node("network/") {
            assert_eq!(
                naming(&text, &["tidings_storage", "crate::writer", "crate::rooms"]),
                [""; 0],
                "{name}: the store"
            );
        }
        if in_node("ingest.rs") {
            assert_eq!(naming(&text, &["crate::network"]), [""; 0], "{name}: the network");
        }
        if in_node("tui/") {
            let inner = ["crate::handle", "crate::node", "crate::writer", "crate::rooms", "tidings_storage"];
            assert_eq!(naming(&text, &inner), [""; 0], "{name}: reaches past the API");
        }
    }
}

#[test]
fn protocol_has_no_clock_and_no_chance() {
    for (name, text) in sources().iter().filter(|(n, _)| n.starts_with("protocol/src/") && !n.contains("/tests/")) {
        assert_eq!(naming(text, &["SystemTime", "Instant::now", "rand::", "getrandom", "HashMap"]), [""; 0], "{name}");
    }
}

#[test]
fn files_are_short_and_say_what_they_are() {
    for (name, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= 500, "{name} has {lines} lines, at most 500: cut it by meaning");
        assert!(text.starts_with("//!"), "{name} does not open with //! and what it is");
    }
}

#[test]
fn every_test_file_is_part_of_the_one_binary() {
    let main = fs::read_to_string(root().join("tests/main.rs")).unwrap();
    for entry in fs::read_dir(root().join("tests")).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        if path.extension().is_some_and(|e| e == "rs") && stem != "main" {
            assert!(main.contains(&format!("mod {stem};")), "tests/{stem}.rs is not declared in tests/main.rs");
        }
    }
}

#[test]
fn no_test_is_ignored_and_none_sleeps() {
    for (name, text) in sources().iter().filter(|(n, _)| n.starts_with("tests/") && n != "tests/tidy.rs") {
        assert_eq!(naming(text, &["#[ignore", "thread::sleep", "time::sleep"]), [""; 0], "{name}");
    }
}

//! What people give a node that makes no sense: every time a plain answer, an exit code of the contract, and everything
//! else as it was before.

mod disk;
mod files;
mod home;
mod links;
mod ports;
mod requests;

use crate::support::nodes::{Person, refused};
use std::path::Path;
use std::process::Stdio;

/// A node with a room in which something was said, and all that it holds of it.
fn somebody(folder: &Path) -> (Person, Vec<u8>) {
    let mut alice = Person::at(folder, "alice");
    alice.up();
    alice.json(&["room", "create", "zig"]);
    alice.send("zig", "said before");
    let history = alice.history("zig");
    (alice, history)
}

/// The node goes on, and its history is what it was.
fn goes_on(person: &Person, history: &[u8]) {
    assert!(person.history("zig") == history, "the history has changed");
    person.send("zig", "said after");
    assert_eq!(person.texts("zig").last().unwrap(), "said after");
}

#[test]
fn texts_that_cannot_be_sent() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, history) = somebody(folder.path());
    let id = alice.lines("zig").last().unwrap()["id"].as_str().unwrap().to_owned();
    let long = "x".repeat(60_000);
    for text in ["", "  \n ", "\u{1b}\u{7}", "\u{200b}\u{202e}"] {
        alice.refused(2, &["send", "zig", text], &["there is nothing to say"]);
        alice.refused(2, &["edit", &id, text], &["there is nothing to say"]);
    }
    alice.refused(2, &["send", "zig", &long], &["more than 48896 bytes", "nothing was sent", "send it in parts"]);
    alice.refused(2, &["edit", &id, &long], &["more than 48896 bytes", "send it in parts"]);
    alice.refused(2, &["react", &id, &long], &["one emoji or short word"]);
    alice.refused(5, &["send", "zig", "text", "--reply", "aaaaaaaa"], &["there is no message \"aaaaaaaa\" here"]);
    let typed = |bytes: &'static [u8]| {
        let file = folder.path().join("typed");
        std::fs::write(&file, bytes).unwrap();
        let mut command = alice.command(&["send", "zig"]);
        command.stdin(Stdio::from(std::fs::File::open(&file).unwrap()));
        command
    };
    refused(2, &["not UTF-8", "nothing was sent"], || typed(b"caf\xe9"));
    refused(2, &["there is nothing to say"], || typed(b"\n"));
    let piped = Vec::leak(vec![b'x'; 200_000]);
    refused(2, &["more than 48896 bytes", "send it in parts"], || typed(piped));
    goes_on(&alice, &history);
}

#[test]
fn names_that_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, history) = somebody(folder.path());
    let long = "x".repeat(65);
    let id = alice.json(&["room", "show", "zig"])["room"].as_str().unwrap().to_owned();
    for name in ["", "a\u{1b}[2Jb", "two\nlines", "\u{202e}giz", &long, &id] {
        let says = ["cannot be used", "1 to 64 bytes on one line", "no control characters"];
        alice.refused(2, &["room", "create", name], &says);
        alice.refused(2, &["room", "alias", "zig", name], &says);
    }
    for name in ["", &long] {
        alice.refused(2, &["id", "name", name], &["a name has 1 to 64 bytes"]);
    }
    alice.refused(2, &["id", "name", "a\u{1b}b"], &["without control characters"]);
    alice.refused(2, &["room", "create", "zag", "--invite-rank", "king"], &["\"king\" is no role: use one of"]);
    assert_eq!(alice.json(&["room", "list"]).as_array().unwrap().len(), 1);
    goes_on(&alice, &history);
}

#[test]
fn rooms_and_messages_that_are_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, history) = somebody(folder.path());
    for arguments in [
        &["read", "nowhere"][..],
        &["send", "nowhere", "text"],
        &["room", "show", "nowhere"],
        &["room", "members", "../zig"],
        &["room", "invite", ""],
        &["room", "leave", "."],
        &["export", "nowhere"],
    ] {
        alice.refused(5, arguments, &["there is no room", "tidings room list"]);
    }
    for id in ["aaaaaaaa", "aaa", "", "\u{1b}", "%00"] {
        alice.refused(5, &["edit", id, "text"], &["there is no message"]);
    }
    alice.refused(5, &["read", "zig", "--before", &"a".repeat(3000)], &["there is no message"]);
    goes_on(&alice, &history);
}

#[test]
fn the_beginning_of_an_id_that_several_messages_have() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, _) = somebody(folder.path());
    // Of 6000 ids, some two share their first 4 letters, of which there are a million, but for a chance of e^-17.
    let line = |n: u64| format!("{{\"ts\": {n}, \"author\": \"ada\", \"text\": \"{n}\"}}\n");
    let file = folder.path().join("many.jsonl");
    std::fs::write(&file, (0..6000).map(line).collect::<String>()).unwrap();
    alice.done(&["import", "zig", file.to_str().unwrap()]);
    let history = alice.history("zig");
    let mut ids = Vec::new();
    let mut before: Vec<String> = Vec::new();
    loop {
        let from: Vec<&str> = before.iter().flat_map(|id| ["--before", id]).collect();
        let page = alice.done(&[&["--json", "read", "zig", "--limit", "1000"], &from[..]].concat());
        let page: Vec<serde_json::Value> = page.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let Some(oldest) = page.first() else { break };
        before = vec![oldest["id"].as_str().unwrap().to_owned()];
        ids.extend(page.iter().map(|line| line["id"].as_str().unwrap().to_owned()));
    }
    assert_eq!(ids.len(), 6001);
    ids.sort();
    let pair = ids.windows(2).find(|pair| pair[0][..4] == pair[1][..4]).expect("two ids that begin alike");
    let says = ["may be any of", &pair[0], &pair[1], "write more of it"];
    alice.refused(2, &["edit", &pair[0][..4], "text"], &says);
    alice.refused(2, &["send", "zig", "text", "--reply", &pair[0][..4]], &says);
    goes_on(&alice, &history);
}

#[test]
fn links_that_lead_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, _) = somebody(folder.path());
    let link = alice.link("zig");
    let history = alice.history("zig");
    let (begin, end) = (&link[..60], &link[60..]);
    let changed = format!("{begin}{}{}", if end.starts_with('a') { "b" } else { "a" }, &end[1..]);
    let elsewhere = Person::at(folder.path(), "elsewhere");
    let mut bob = Person::at(folder.path(), "bob");
    bob.up();
    for text in ["", "zig", "https://example.org/join", "tidings:/join/abc"] {
        bob.refused(2, &["room", "join", text], &["an invite link begins with tidings://join/"]);
    }
    for text in ["tidings://join/", begin, &changed, "tidings://join/!!", &format!("{link}{end}")] {
        bob.refused(2, &["room", "join", text], &["damaged or incomplete", "copy all of it"]);
    }
    bob.refused(2, &["room", "join", &link, "--wait", "soon"], &["\"soon\" is no time", "write 90s"]);
    bob.refused(2, &["room", "join", &link, "--wait", "999999999999999999999d"], &["is no time"]);
    elsewhere.refused(3, &["room", "join", &link], &["no node is running", "tidings up"]);
    assert_eq!(bob.json(&["room", "list"]).as_array().unwrap().len(), 0);

    let mut config = Person::at(folder.path(), "other");
    std::fs::create_dir(&config.home).unwrap();
    std::fs::write(config.home.join("config.toml"), "federation = \"other\"\n").unwrap();
    config.up();
    let says = ["for the network \"\"", "this node is in \"other\"", "run a node with that federation"];
    config.refused(2, &["room", "join", &link], &says);
    goes_on(&alice, &history);
}

#[test]
fn commands_that_make_no_sense() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = Person::at(folder.path(), "nobody");
    nobody.refused(2, &["no-such-command"], &["no-such-command"]);
    nobody.refused(2, &["send"], &["required"]);
    nobody.refused(2, &["read", "zig", "--limit", "many"], &["many"]);
    nobody.refused(2, &["import", "zig", "file", "--format", "csv"], &["\"csv\" is no format: use jsonl"]);
    nobody.refused(3, &["status"], &["no node is running", "start it: tidings chat, or tidings up"]);
    nobody.refused(4, &["room", "create", "zig", "--private"], &["not built yet", "tidings room create NAME"]);
    nobody.refused(1, &["chat"], &["the chat needs a terminal", "tidings read ROOM"]);
    assert!(!nobody.home.exists(), "a refused command has made a home");
}

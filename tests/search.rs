//! Searching through the real program: what is found is what is shown, in whatever words it is asked for, and what was
//! taken away is found by nobody and lies in no file.

use crate::support::devices::until;
use crate::support::nodes::{Person, refused};
use crate::support::scan::files_with;
use crate::support::seeded::Seeded;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

fn alone(folder: &Path) -> Person {
    let mut alice = Person::at(folder, "alice");
    alice.up();
    alice.done(&["id", "name", "Alice"]);
    alice.json(&["room", "create", "zig"]);
    alice
}

/// Alice and Bob in Alice's room.
fn pair(folder: &Path) -> (Person, Person) {
    let alice = alone(folder);
    let mut bob = Person::at(folder, "bob");
    bob.up();
    bob.done(&["id", "name", "Bob"]);
    assert_eq!(bob.json(&["room", "join", &alice.link("zig"), "--wait", "30s"])["pending"], false);
    (alice, bob)
}

/// What a search prints.
fn hits(person: &Person, arguments: &[&str]) -> Vec<Value> {
    let text = person.done(&[&["--json", "search"], arguments].concat());
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The texts that a search finds, the first first.
fn found(person: &Person, arguments: &[&str]) -> Vec<String> {
    hits(person, arguments).iter().map(|hit| hit["text"].as_str().unwrap().to_owned()).collect()
}

/// Whether these words lie anywhere in a person's home.
fn has_on_disk(person: &Person, words: &str) -> bool {
    !files_with(&person.home, &[words.as_bytes()]).is_empty()
}

fn import(person: &Person, room: &str, records: &[Value]) -> Value {
    let file = person.home.with_extension("jsonl");
    fs::write(&file, records.iter().map(|record| format!("{record}\n")).collect::<String>()).unwrap();
    person.json(&["import", room, file.to_str().unwrap(), "--source", "irc"])
}

#[test]
fn words_phrases_beginnings_and_scripts_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let alice = alone(folder.path());
    let texts = [
        "The Compiler crashes on Straße",
        "compiling the tests of the compiler",
        "東京都に行きます",
        "std.mem.copy(u8, a, b)",
        "ﬁne Ünïcode e\u{301}te\u{301}",
        "nothing of that",
    ];
    for text in texts {
        alice.send("zig", text);
    }
    let finds = |query: &str, wanted: &[usize]| {
        let wanted: Vec<&str> = wanted.iter().map(|n| texts[*n]).collect();
        assert_eq!(found(&alice, &[query]), wanted, "{query}");
    };
    finds("compiler", &[1, 0]);
    finds("the COMPILER tests", &[1]);
    finds("\"the compiler\"", &[1, 0]);
    finds("\"compiler the\"", &[]);
    finds("compil*", &[1, 0]);
    finds("compil", &[]);
    finds("\"tests of the comp\"*", &[1]);
    finds("STRASSE", &[0]);
    finds("京都", &[2]);
    finds("京", &[2]);
    finds("行きます", &[2]);
    finds("東都", &[]);
    finds("mem.copy", &[3]);
    finds("copy.mem", &[]);
    finds("fine ÉTÉ", &[4]);
    finds("compiler nonsense", &[]);

    let [hit] = hits(&alice, &["mem"]).try_into().unwrap();
    let line = alice.lines("zig").into_iter().find(|line| line["id"] == hit["id"]).unwrap();
    for (field, value) in line.as_object().unwrap() {
        assert_eq!(&hit[field], value, "as read gives it: {field}");
    }
    assert!(hit["score"].as_f64().unwrap() > 0.0);
    assert_eq!(hit["room_alias"], "zig");
    assert_eq!(hit["snippet"][1], json!({ "text": "mem", "match": true }));
    let shown = alice.done(&["search", "mem"]);
    assert!(shown.contains("#zig Alice: std.mem.copy(u8, a, b)"), "{shown}");
    assert!(alice.run(&["search", "nonsense"]).status.success());
}

#[test]
fn rooms_people_and_days_narrow_a_search() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bob) = pair(folder.path());
    alice.json(&["room", "create", "garden"]);
    alice.send("garden", "apples of Alice");
    alice.send("zig", "more apples");
    let last = bob.send("zig", "apples of Bob");
    alice.follow("zig").until_id(&last);
    let records = [
        json!({ "ts": 1_507_466_702_000u64, "author": "Pupp", "text": "old apples" }),
        json!({ "ts": 1_577_836_800_000u64, "author": "andrew", "text": "apples of 2020" }),
    ];
    import(&alice, "garden", &records);
    let finds = |arguments: &[&str], wanted: &[&str]| assert_eq!(found(&alice, arguments), wanted, "{arguments:?}");
    let all = ["apples of Bob", "more apples", "apples of Alice", "apples of 2020", "old apples"];
    finds(&["apples"], &all);
    finds(&["apples", "--limit", "2"], &all[..2]);
    finds(&["in:garden apples"], &all[2..]);
    finds(&["apples", "--room", "zig"], &all[..2]);
    finds(&["from:bob apples"], &all[..1]);
    finds(&["from:me apples"], &all[1..3]);
    finds(&["apples from:Alice in:garden"], &all[2..3]);
    finds(&["from:pupp"], &all[4..]);
    finds(&["apples from:pupp from:Bob"], &["apples of Bob", "old apples"]);
    let key = bob.json(&["id"])["user"].as_str().unwrap().to_owned();
    finds(&["apples", "--from", &key], &all[..1]);
    alice.done(&["people", "name", &key, "Bobby Tables"]);
    finds(&["from:\"bobby tables\""], &all[..1]);
    finds(&["apples before:2018"], &all[4..]);
    finds(&["apples after:2020 before:2020-02"], &all[3..4]);
    finds(&["apples", "--after", "1d"], &all[..3]);
    finds(&["from:nobody apples"], &[]);
    let best = found(&alice, &["old apples", "--sort", "best"]);
    assert_eq!(best, ["old apples"]);
    alice.send("zig", "apples apples apples");
    assert_eq!(found(&alice, &["apples", "--sort", "best"])[0], "apples apples apples");
    refused(5, &["there is no room"], || alice.command(&["search", "in:nowhere apples"]));
}

#[test]
fn what_is_found_is_what_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bob) = pair(folder.path());
    let edited = bob.send("zig", "the first wording");
    let erased = bob.send("zig", "wording to erase");
    let folded = bob.send("zig", "wording to fold");
    alice.follow("zig").until_id(&folded);
    assert_eq!(found(&alice, &["wording"]).len(), 3);
    bob.done(&["edit", &edited, "another draft"]);
    until("the edit is found", || found(&alice, &["draft"]) == ["another draft"]);
    assert_eq!(found(&alice, &["first"]), [""; 0], "what it said before");
    let [hit] = hits(&alice, &["draft"]).try_into().unwrap();
    assert_eq!((&hit["id"], &hit["edited"]), (&edited.into(), &true.into()));
    bob.done(&["erase", &erased]);
    alice.done(&["hide", &folded]);
    until("all is gone", || found(&alice, &["wording"]).is_empty());
    alice.done(&["hide", &folded, "--undo"]);
    assert_eq!(found(&alice, &["wording"]), ["wording to fold"]);
    let key = bob.json(&["id"])["user"].as_str().unwrap().to_owned();
    alice.done(&["people", "block", &key]);
    assert_eq!(found(&alice, &["wording"]), [""; 0]);
    alice.done(&["people", "unblock", &key]);
    assert_eq!(found(&alice, &["wording"]).len(), 1);
    // Who leaves keeps what is held.
    bob.done(&["room", "leave", "zig"]);
    assert_eq!(found(&bob, &["draft"]), ["another draft"]);
}

#[test]
fn what_was_taken_away_is_in_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bob) = pair(folder.path());
    let erased = bob.send("zig", "unspeakable4711 common");
    let purged = bob.send("zig", "unthinkable4712 common");
    bob.done(&["edit", &purged, "unbearable4713 common"]);
    bob.send("zig", "untouched4714 common");
    bob.json(&["room", "create", "cellar"]);
    bob.send("cellar", "underground4715 common");
    let last = alice.send("zig", "unloved4716 common");
    bob.follow("zig").until_id(&last);
    import(&bob, "cellar", &[json!({ "ts": 1_577_836_800_000u64, "author": "unnamed4717", "text": "common" })]);
    let words =
        ["unspeakable4711", "unthinkable4712", "unbearable4713", "underground4715", "unloved4716", "unnamed4717"];
    for word in words {
        assert!(has_on_disk(&bob, word), "{word} is nowhere to begin with");
    }
    bob.done(&["erase", &erased]);
    bob.done(&["purge", "event", &purged, "--yes"]);
    bob.done(&["purge", "user", alice.json(&["id"])["user"].as_str().unwrap(), "--yes"]);
    bob.done(&["purge", "room", "cellar", "--yes"]);
    for word in words {
        assert_eq!(found(&bob, &[word]), [""; 0]);
        assert!(!has_on_disk(&bob, word), "{word} lies somewhere");
    }
    assert_eq!(found(&bob, &["common"]), ["untouched4714 common"]);
    assert_eq!(found(&bob, &["from:unnamed4717"]), [""; 0]);
}

#[test]
fn what_is_no_query_costs_nothing_and_says_what_to_write() {
    let folder = tempfile::tempdir().unwrap();
    let alice = alone(folder.path());
    alice.send("zig", "a word and another word");
    let long = "x".repeat(100_000);
    let many = "x ".repeat(400);
    for (query, says) in [
        ("", "write one or more words"),
        ("   ", "write one or more words"),
        ("*", "write letters or digits"),
        ("\"\"", "write letters or digits"),
        ("\u{202e}\u{200b}", "write letters or digits"),
        ("🎉", "write letters or digits"),
        ("a*", "at least two letters before a *"),
        ("word before:tomorrow", "is no day: write"),
        ("in: word", "in: needs something right behind it"),
        (&long, "at most 1024 bytes"),
        (&many, "at most 32 words"),
    ] {
        refused(2, &[says], || alice.command(&["search", query]));
    }
    refused(2, &["is no day"], || alice.command(&["search", "word", "--after", "x"]));
    // What only looks hostile is an ordinary query.
    assert_eq!(found(&alice, &["wo\u{200b}rd \u{202e}another ***"]), ["a word and another word"]);
    assert_eq!(found(&alice, &["a"]), ["a word and another word"]);
    assert_eq!(found(&alice, &["\"word and"]), ["a word and another word"]);
    assert_eq!(found(&alice, &["' OR 1=1; --"]), [""; 0]);
    assert_eq!(found(&alice, &["word", "--limit", "0"]).len(), 1);
}

const VOCABULARY: [&str; 12] =
    ["zig", "Zig", "build", "builder", "error", "the", "a", "東京", "京都", "é", "error-set", "std.mem"];

/// Words as a reader sees them: letters and digits, small; pairs of characters where no spaces stand.
fn seen(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect()
}

fn is_seen(text: &str, unit: &str, is_open: bool) -> bool {
    let (text, unit) = (seen(text), seen(unit));
    text.windows(unit.len()).any(|part| {
        part.iter().zip(&unit).enumerate().all(|(n, (there, wanted))| match is_open && n + 1 == unit.len() {
            true => there.starts_with(wanted.as_str()),
            false => there == wanted,
        })
    })
}

#[test]
fn a_search_finds_what_a_look_at_every_message_finds() {
    let folder = tempfile::tempdir().unwrap();
    let alice = alone(folder.path());
    let mut random = Seeded::new(20_261_122);
    let text = |random: &mut Seeded| {
        let words: Vec<&str> = (0..1 + random.below(6)).map(|_| *random.pick(&VOCABULARY)).collect();
        words.join([" ", ", "][random.below(2)])
    };
    let records: Vec<Value> = (0..400)
        .map(|n| json!({ "ts": 1_500_000_000_000u64 + n * 60_000, "author": "x", "text": text(&mut random) }))
        .collect();
    import(&alice, "zig", &records);
    for _ in 0..12 {
        let id = alice.send("zig", &text(&mut random));
        match random.below(3) {
            0 => drop(alice.done(&["edit", &id, &text(&mut random)])),
            1 => drop(alice.done(&["erase", &id])),
            _ => {}
        }
    }
    let shown = alice.lines("zig");
    assert_eq!(shown.len(), 412);
    for _ in 0..60 {
        let mut units: Vec<(String, bool)> = Vec::new();
        for _ in 0..1 + random.below(3) {
            let mut unit = *random.pick(&VOCABULARY);
            let other = *random.pick(&VOCABULARY);
            units.push(match random.below(4) {
                0 => (format!("{unit} {other}"), false),
                1 if unit.is_ascii() && unit.len() > 2 => {
                    unit = &unit[..2 + random.below(unit.len() - 2)];
                    (unit.to_owned(), seen(unit).last().is_some_and(|word| word.len() > 1 && unit.ends_with(word)))
                }
                _ => (unit.to_owned(), false),
            });
        }
        let show = |(unit, is_open): &(String, bool)| format!("\"{unit}\"{}", if *is_open { "*" } else { "" });
        let query = units.iter().map(show).collect::<Vec<_>>().join(" ");
        let matches = |line: &&Value| {
            let text = line["text"].as_str().unwrap();
            line["erased"] == false && units.iter().all(|(unit, is_open)| is_seen(text, unit, *is_open))
        };
        let ids = |lines: Vec<&Value>| -> Vec<String> {
            lines.iter().map(|line| line["id"].as_str().unwrap().to_owned()).collect()
        };
        let wanted = ids(shown.iter().rev().filter(matches).collect());
        let newest = hits(&alice, &[&query, "--limit", "1000"]);
        assert_eq!(ids(newest.iter().collect()), wanted, "{query}");
        let best = hits(&alice, &[&query, "--limit", "1000", "--sort", "best"]);
        let set = |ids: Vec<String>| ids.into_iter().collect::<BTreeSet<_>>();
        assert_eq!(set(ids(best.iter().collect())), set(wanted), "{query}");
    }
}

#[test]
fn after_a_kill_in_the_middle_of_an_import_what_is_held_is_found_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let mut alice = alone(folder.path());
    let file = folder.path().join("all.jsonl");
    let record =
        |n: usize| json!({ "ts": 1_500_000_000_000u64 + n as u64, "author": "x", "text": format!("common n{n}") });
    const COUNT: usize = 100_000;
    fs::write(&file, (0..COUNT).map(|n| format!("{}\n", record(n))).collect::<String>()).unwrap();
    let arguments = ["--json", "import", "zig", file.to_str().unwrap(), "--source", "irc", "--progress"];
    let mut importing = alice.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut acknowledged = 0;
    for line in BufReader::new(importing.stdout.take().unwrap()).lines().map_while(Result::ok) {
        let line: Value = serde_json::from_str(&line).unwrap();
        acknowledged = usize::try_from(line["acknowledged"].as_u64().unwrap_or(0)).unwrap();
        if acknowledged > 20_000 {
            alice.kill();
            break;
        }
    }
    drop(importing.kill());
    drop(importing.wait());
    assert!(acknowledged > 20_000 && acknowledged < COUNT, "killed too late: {acknowledged}");
    alice.up();
    let is_found = |n: usize| !hits(&alice, &[&format!("common n{n}")]).is_empty();
    let mut random = Seeded::new(4);
    for n in [0, 1, acknowledged - 1].into_iter().chain((0..60).map(|_| random.below(acknowledged))) {
        assert!(is_found(n), "record {n} of {acknowledged}");
    }
    // Events without their rows, or rows without their events, would show at the edge.
    let newest = alice.json(&["read", "zig", "--limit", "1"])["text"].as_str().unwrap().to_owned();
    let last: usize = newest.strip_prefix("common n").unwrap().parse().unwrap();
    assert_eq!(found(&alice, &["common", "--limit", "1"]), [newest]);
    for n in last.saturating_sub(20)..last + 20 {
        assert_eq!(is_found(n), n <= last, "record {n}, the last is {last}");
    }
    alice.done(&["import", "zig", file.to_str().unwrap(), "--source", "irc"]);
    assert!(is_found(COUNT - 1) && is_found(last + 1));
}

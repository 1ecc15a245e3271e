//! Crashes: what was acknowledged is there after a SIGKILL, and everything that is there is whole. A store belongs to one
//! process at a time.
//!
//! The processes that are killed are this test binary itself, running `a_process_of_its_own` alone.

use crate::support::people::Pen;
use crate::support::seeded::Seeded;
use crate::support::store::{Duo, TestStore};
use crate::support::walk::walk;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use tempfile::TempDir;
use tidings_protocol::event::VerifiedEvent;
use tidings_protocol::id::EventId;
use tidings_storage::{StorageError, Store};

/// Runs `a_process_of_its_own` in one, with a role and a folder.
fn start(role: &str, folder: &Path) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "history_crash::a_process_of_its_own", "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap());
    (child, lines)
}

/// No test: what the tests below run beside themselves.
#[test]
fn a_process_of_its_own() {
    let (Ok(role), Some(folder)) = (std::env::var(ROLE), std::env::var_os(FOLDER)) else { return };
    let folder = Path::new(&folder);
    // The harness's own words end here.
    say("");
    match role.as_str() {
        "write" => write_for_ever(folder, u64::MAX),
        "lie" => write_for_ever(folder, 3),
        "open" => say(match Store::open(folder) {
            Ok(_) => "opened",
            Err(StorageError::Held) => "held",
            Err(_) => "failed",
        }),
        other => panic!("no role {other}"),
    }
}

/// Appends synced batches of control and content of two people, and says each id once it is committed; of the batch
/// numbered `lie`, before, and dies.
fn write_for_ever(folder: &Path, lie: u64) {
    let mut duo = Duo::new();
    let mut store = TestStore::open(folder, duo.room);
    store.append(&duo.control);
    let mut random = Seeded::new(store.store.next_number().unwrap());
    for pen in [&mut duo.ada_rules, &mut duo.ada_says, &mut duo.bob_says] {
        go_on(pen, &store);
    }
    for batch in 0..u64::MAX {
        let mut events: Vec<VerifiedEvent> = Vec::new();
        for _ in 0..1 + random.below(12) {
            let text = format!("{} {}", random.next(), "x".repeat(random.below(3000)));
            let last = events.last().map_or(duo.ada_says.prev, VerifiedEvent::id);
            events.push(match random.below(8) {
                0 => duo.ada_rules.set("topic", &text[..10], &[]),
                1 => duo.bob_says.edit(last, &text),
                2..5 => duo.ada_says.text(&text),
                _ => duo.bob_says.reply(last, &text),
            });
        }
        if batch != lie {
            store.append(&events);
        }
        events.iter().for_each(|event| say(&format!("ack {}", event.id())));
        if batch == lie {
            std::process::abort();
        }
        if random.percent(4) {
            store.store.compact().unwrap();
        }
    }
}

/// Takes a log up where the store has it.
fn go_on(pen: &mut Pen, store: &TestStore) {
    if let Some(row) = store.store.log(store.room, &pen.log()).unwrap() {
        let tip = row.state.highest().unwrap();
        (pen.seq, pen.prev, pen.hlc) = (tip.seq, tip.id, row.hlc);
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}

/// Listens to a process until it dies, by our hand once it has acknowledged so many; whatever it still said counts.
fn acknowledged_by(role: &str, folder: &Path, lines_max: usize) -> BTreeSet<EventId> {
    let (mut child, lines) = start(role, folder);
    let mut heard = BTreeSet::new();
    for line in lines.lines() {
        if let Some(id) = line.unwrap().strip_prefix("ack ") {
            heard.insert(id.parse().unwrap());
            if heard.len() == lines_max {
                child.kill().unwrap();
            }
        }
    }
    assert!(!child.wait().unwrap().success(), "it ended by itself");
    heard
}

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let folder = TempDir::new().unwrap();
    let duo = Duo::new();
    let mut acknowledged: BTreeSet<EventId> = BTreeSet::new();
    for seed in 0..ROUNDS {
        let lines_max = 1 + Seeded::new(seed).below(250);
        let heard = acknowledged_by("write", folder.path(), lines_max);
        assert!(heard.len() >= lines_max, "seed {seed}");
        acknowledged.extend(heard);
        let store = TestStore::open(folder.path(), duo.room);
        let held: BTreeSet<EventId> = walk(&store).into_iter().collect();
        let lost = acknowledged.difference(&held).count();
        assert_eq!(lost, 0, "seed {seed}: so many of {} acknowledged", acknowledged.len());
        for log in [duo.ada_rules.log(), duo.ada_says.log(), duo.bob_says.log()] {
            let state = store.store.log(store.room, &log).unwrap().map(|row| row.state).unwrap_or_default();
            assert!(state.tips().len() <= 1 && state.holes().is_empty() && !state.is_forked(), "seed {seed}");
        }
    }
}

#[test]
fn a_process_that_acknowledges_too_early_is_found_out() {
    let folder = TempDir::new().unwrap();
    let heard = acknowledged_by("lie", folder.path(), usize::MAX);
    let store = TestStore::open(folder.path(), Duo::new().room);
    let held: BTreeSet<EventId> = walk(&store).into_iter().collect();
    assert!(!held.is_disjoint(&heard) && !heard.is_subset(&held));
}

#[test]
fn a_store_is_held_by_one_process_until_it_ends_however_it_ends() {
    let folder = TempDir::new().unwrap();
    let answer = || -> String {
        let (mut child, lines) = start("open", folder.path());
        let said = lines.lines().map(Result::unwrap).find(|l| ["opened", "held", "failed"].contains(&l.as_str()));
        child.wait().unwrap();
        said.unwrap_or_default()
    };
    let store = TestStore::open(folder.path(), Duo::new().room);
    assert_eq!(answer(), "held");
    drop(store);
    assert_eq!(answer(), "opened");
    let (mut writer, mut lines) = start("write", folder.path());
    let mut line = String::new();
    while !line.starts_with("ack ") {
        line.clear();
        lines.read_line(&mut line).unwrap();
    }
    assert!(matches!(Store::open(folder.path()).map(|_| ()), Err(StorageError::Held)));
    writer.kill().unwrap();
    writer.wait().unwrap();
    assert_eq!(answer(), "opened");
}

const ROLE: &str = "TIDINGS_TEST_ROLE";
const FOLDER: &str = "TIDINGS_TEST_FOLDER";
const ROUNDS: u64 = 5;

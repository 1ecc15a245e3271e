//! kill -9 in the middle of an import, a sync, a conversation, an erasure, a backup, a restore: what was acknowledged holds,
//! and the same may be done again.

use crate::support::crash;
use crate::support::devices::{LISTEN, with_words, words};
use crate::support::fault::{Fault, lost};
use crate::support::kill::{Oracle, kill};
use crate::support::nodes::Person;
use crate::support::scan::files_with;
use crate::support::seeded::Seeded;
use crate::support::shim::{Shim, Work};
use crate::support::skip;
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

const RECORDS: usize = 4_000;

fn record(n: usize) -> String {
    let text = format!("record {n} {}", "and more ".repeat(n % 20));
    format!("{{\"ts\": {}, \"author\": \"a{}\", \"text\": \"{text}\"}}\n", 1_500_000_000_000 + n as u64 * 700, n % 50)
}

/// Alice with some history, her writes watched.
fn at_work(folder: &Path, shim: &Shim) -> (Person, crate::support::shim::Numbers) {
    let mut alice = Person::at(folder, "alice");
    let mut up = alice.command(&[&["--json", "up"], &LISTEN[..]].concat());
    let numbers = shim.preload(&mut up, &folder.join("numbers"));
    alice.up_by(up);
    alice.json(&["room", "create", "zig"]);
    (alice, numbers)
}

fn import(folder: &Path, alice: &Person) {
    let records = folder.join("records");
    fs::write(&records, (0..RECORDS).map(record).collect::<String>()).unwrap();
    alice.json(&["import", "zig", records.to_str().unwrap()]);
}

fn erase(folder: &Path, shim: &Shim, seed: u64, fault: &mut Fault) {
    let (mut dice, oracle) = (Seeded::new(seed), Oracle::new());
    let (mut alice, numbers) = at_work(folder, shim);
    let secret =
        |n: usize| format!("{:016x}{:016x}", Seeded::new(seed + n as u64).next(), Seeded::new(!seed - n as u64).next());
    let said: Vec<String> = (0..30).map(|n| alice.send("zig", &secret(n))).collect();
    let due = Duration::from_millis(10 + dice.next() % 600);
    let death = std::thread::scope(|scope| {
        let (commands, oracle) = (said.iter().map(|id| alice.command(&["erase", id])).collect::<Vec<_>>(), &oracle);
        let ids = &said;
        scope.spawn(move || {
            for (mut command, id) in commands.into_iter().zip(ids) {
                let output = command.stderr(Stdio::null()).output().unwrap();
                // Its bytes may go later; the erasure is acknowledged all the same.
                match output.status.code() {
                    Some(0 | 6) => oracle.note(id),
                    _ => break,
                }
            }
        });
        kill(&mut alice, &numbers, due, dice.percent(50).then_some(Work::Batch))
    });
    fault.died(&death);
    let erased: BTreeSet<String> = oracle.noted().into_iter().collect();
    fault.acknowledged += erased.len() as u64;
    assert_eq!(lost(&alice.home, &said.iter().map(|id| id.parse().unwrap()).collect()), []);
    alice.up();
    let mut gone = Vec::new();
    for (n, line) in alice.lines("zig").iter().enumerate() {
        let text = line["text"].as_str().unwrap();
        assert!(text.is_empty() || text == secret(n), "seed {seed}: {line}");
        assert!(text.is_empty() || !erased.contains(line["id"].as_str().unwrap()), "seed {seed}: it is back: {line}");
        gone.extend(text.is_empty().then(|| secret(n)));
    }
    let needles: Vec<&[u8]> = gone.iter().map(String::as_bytes).collect();
    let began = Instant::now();
    while !files_with(&alice.home, &needles).is_empty() {
        assert!(began.elapsed() < Duration::from_secs(60), "seed {seed}: its bytes are still there");
    }
    println!("erase: {death:?}, {} acknowledged, {} gone", erased.len(), gone.len());
}

fn backup(folder: &Path, shim: &Shim, seed: u64, fault: &mut Fault) {
    let mut dice = Seeded::new(seed);
    let (mut alice, numbers) = at_work(folder, shim);
    import(folder, &alice);
    let kept = alice.send("zig", "kept");
    let to = folder.join("saved");
    let mut command = alice.command(&["backup", to.to_str().unwrap(), "--without-keys"]);
    let mut backing = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let death = kill(&mut alice, &numbers, Duration::from_millis(dice.next() % 250), None);
    let is_done = backing.wait().unwrap().success();
    fault.died(&death);
    fault.acknowledged += 1;
    println!("backup: {death:?}, there: {}, done: {is_done}", to.exists());
    assert!(to.exists() || !is_done, "seed {seed}: it said that it was done");
    assert_eq!(lost(&alice.home, &BTreeSet::from([kept.parse().unwrap()])), [], "seed {seed}");
    alice.up();
    // What has its name is whole; else the same may be done again.
    if !to.exists() {
        alice.json(&["backup", to.to_str().unwrap(), "--without-keys"]);
    }
    assert!(!folder.join("saved.part").exists());
    let mut again = Person::at(folder, "again");
    let output = with_words(&words(&alice), again.command(&["restore", to.to_str().unwrap(), "--words-stdin"]));
    assert!(output.status.success(), "seed {seed}: {output:?}");
    alice.down();
    again.up();
    assert!(again.lines("zig").iter().any(|line| line["id"] == kept.as_str()), "seed {seed}");
}

fn restore(folder: &Path, shim: &Shim, seed: u64, fault: &mut Fault) {
    let mut dice = Seeded::new(seed);
    let (mut alice, _) = at_work(folder, shim);
    import(folder, &alice);
    let (kept, secret, to) = (alice.send("zig", "kept"), words(&alice), folder.join("saved"));
    alice.json(&["backup", to.to_str().unwrap(), "--without-keys"]);
    alice.down();
    let mut again = Person::at(folder, "again");
    let restore = || again.command(&["restore", to.to_str().unwrap(), "--words-stdin"]);
    let mut command = restore();
    let mut restoring = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    writeln!(restoring.stdin.take().unwrap(), "{secret}").unwrap();
    let until = Instant::now() + Duration::from_millis(dice.next() % 250);
    while Instant::now() < until {
        std::hint::spin_loop();
    }
    restoring.kill().unwrap();
    let is_done = restoring.wait().unwrap().success();
    println!("restore: done: {is_done}, there: {}", again.home.join("store").exists());
    // What was restored has its name last.
    if !again.home.join("store").exists() {
        assert!(!is_done, "seed {seed}: it said that it was done");
        let output = with_words(&secret, restore());
        assert!(output.status.success(), "seed {seed}: {output:?}");
    }
    fault.acknowledged += 1;
    again.up();
    assert!(again.lines("zig").iter().any(|line| line["id"] == kept.as_str()), "seed {seed}");
    again.send("zig", "by who was restored");
}

#[test]
fn whatever_a_kill_falls_into_is_done_or_may_be_done_again() {
    let folder = tempfile::tempdir().unwrap();
    let Some(shim) = Shim::build(folder.path()) else { return skip("no C compiler") };
    let killer = crash::Killer::new(&folder.path().join("killer"), (0..20_000).map(record).collect()).unwrap();
    let mut fault = Fault::of("kill-in-deed", 6);
    for seed in fault.seeds() {
        fault.begin(seed);
        let place = folder.path().join(seed.to_string());
        fs::create_dir(&place).unwrap();
        match seed % 4 {
            0 => erase(&place, &shim, seed, &mut fault),
            1 => backup(&place, &shim, seed, &mut fault),
            2 => restore(&place, &shim, seed, &mut fault),
            // Import, sync, conversation: of every kind, aimed and not.
            _ => {
                let killed = killer.kill(seed / 4);
                println!("{killed:?}");
                fault.in_batch += u64::from(killed.inside);
                fault.acknowledged += killed.acknowledged as u64;
                fs::remove_dir_all(folder.path().join("killer").join((seed / 4).to_string())).unwrap();
            }
        }
        fs::remove_dir_all(place).unwrap();
    }
    fault.report();
}

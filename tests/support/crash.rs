//! Ends a node with SIGKILL at seeded moments of an import, a sync or a conversation, and asks it afterwards for everything
//! that it had acknowledged. What was acknowledged is written down outside the store, on another file system where there is
//! one. A library preloaded into the node counts its log's writes and syncs: it tells which kills fell inside a batch.

use super::kill::{Oracle, kill};
use super::nodes::{Person, binary};
use super::seeded::Seeded;
use super::shim::{Numbers, Shim, Work};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What was under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    Import,
    Sync,
    Chat,
}

/// One kill, after which everything acknowledged was found again.
#[derive(Debug)]
pub struct Killed {
    pub moment: Moment,
    /// The write-ahead log was being written or synced.
    pub inside: bool,
    /// Messages acknowledged before.
    pub acknowledged: usize,
    pub after_ms: u64,
}

/// What kills and watches; `None` where there is no C compiler.
pub struct Killer {
    shim: Shim,
    folder: PathBuf,
    /// Of the records to import, as JSON lines.
    records: Vec<String>,
}

impl Killer {
    pub fn new(folder: &Path, records: Vec<String>) -> Option<Killer> {
        Some(Killer { shim: Shim::build(folder)?, folder: folder.to_owned(), records })
    }

    /// One kill; what it hits, when, and whether it waits for a batch, is the seed's. Fails when anything is lost.
    pub fn kill(&self, seed: u64) -> Killed {
        let folder = self.folder.join(seed.to_string());
        fs::create_dir_all(&folder).unwrap();
        let mut scene = Scene { dice: Seeded::new(seed), seed, folder, killer: self };
        match seed % 3 {
            0 => scene.import(),
            1 => scene.sync(),
            _ => scene.chat(),
        }
    }

    fn write_records(&self, count: usize, to: &Path) {
        fs::write(to, self.records[..count].concat()).unwrap();
    }
}

struct Scene<'k> {
    dice: Seeded,
    seed: u64,
    folder: PathBuf,
    killer: &'k Killer,
}

impl Scene<'_> {
    /// Starts a node whose writes are counted.
    fn up_watched(&self, person: &mut Person) -> Numbers {
        let mut command = person.command(&["--json", "up", "--no-mdns", "--listen", "/ip4/127.0.0.1/tcp/0"]);
        let numbers = self.killer.shim.preload(&mut command, &self.folder.join("numbers"));
        person.up_by(command);
        numbers
    }

    /// Kills after the seed's delay, or, for every second round of seeds, as soon after it as a write is under way.
    fn kill(&mut self, person: &mut Person, numbers: &Numbers, delay_ms: u64) -> (bool, u64) {
        let due = Duration::from_millis(10 + self.dice.next() % delay_ms);
        let death = kill(person, numbers, due, (self.seed % 6 < 3).then_some(Work::Batch));
        (death.in_batch, death.after_ms)
    }

    fn people(&self) -> (Person, Person) {
        (Person::at(&self.folder, "alice"), Person::at(&self.folder, "bob"))
    }

    fn import(&mut self) -> Killed {
        let (mut alice, mut bob) = self.people();
        let numbers = self.up_watched(&mut alice);
        alice.done(&["room", "create", "zig"]);
        let (all, oracle) = (self.folder.join("all.jsonl"), Oracle::new());
        self.killer.write_records(self.killer.records.len(), &all);
        let arguments = ["--json", "import", "zig", &all.to_string_lossy(), "--source", "log", "--progress"];
        let mut import = alice.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(import.stdout.take().unwrap()).lines();
        let (inside, after_ms) = std::thread::scope(|scope| {
            scope.spawn(|| {
                for line in lines.map_while(Result::ok) {
                    let line: Value = serde_json::from_str(&line).unwrap();
                    let count = line["acknowledged"].as_u64().or(line["imported"].as_u64());
                    count.iter().for_each(|count| oracle.note(&count.to_string()));
                }
            });
            self.kill(&mut alice, &numbers, 600)
        });
        import.wait().unwrap();
        let acknowledged: usize = oracle.noted().last().map_or(0, |n| n.parse().unwrap());

        alice.up();
        let first = self.folder.join("first.jsonl");
        self.killer.write_records(acknowledged, &first);
        let again = alice.json(&["import", "zig", &first.to_string_lossy(), "--source", "log"]);
        assert_eq!(again["imported"], 0, "seed {}: acknowledged and lost: {again}", self.seed);
        alice.done(&["import", "zig", &all.to_string_lossy(), "--source", "log"]);
        bob.up().done(&["room", "join", &alice.link("zig"), "--wait", "10s"]);
        self.until_equal(&alice, &bob);
        Killed { moment: Moment::Import, inside, acknowledged, after_ms }
    }

    fn sync(&mut self) -> Killed {
        let (mut alice, mut bob) = self.people();
        let all = self.folder.join("all.jsonl");
        self.killer.write_records(self.killer.records.len(), &all);
        alice.up().done(&["room", "create", "zig"]);
        alice.done(&["import", "zig", &all.to_string_lossy()]);
        let link = alice.link("zig");
        let numbers = self.up_watched(&mut bob);
        let mut join = bob.command(&["room", "join", &link, "--wait", "10s"]);
        let mut joining = join.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // What a reader was shown, newest first: it was on disk before.
        let oracle = Oracle::new();
        let watched = bob.command(&["--json", "status"]);
        let (inside, after_ms) = std::thread::scope(|scope| {
            let (oracle, mut watched) = (&oracle, watched);
            scope.spawn(move || {
                while let Some(events) = held(&mut watched) {
                    oracle.note(&events.to_string());
                }
            });
            self.kill(&mut bob, &numbers, 900)
        });
        joining.kill().unwrap();
        joining.wait().unwrap();
        let acknowledged: usize = oracle.noted().iter().map(|n| n.parse().unwrap()).max().unwrap_or(0);

        bob.up();
        let events = bob.json(&["status"])["events"].as_u64().unwrap();
        assert!(events >= acknowledged as u64, "seed {}: {acknowledged} events were held, now {events}", self.seed);
        if !bob.run(&["room", "show", "zig"]).status.success() {
            bob.done(&["room", "join", &link, "--wait", "10s"]);
        }
        self.until_equal(&alice, &bob);
        Killed { moment: Moment::Sync, inside, acknowledged, after_ms }
    }

    fn chat(&mut self) -> Killed {
        let (mut alice, mut bob) = self.people();
        let kills_alice = self.seed.is_multiple_of(2);
        let numbers = if kills_alice {
            bob.up();
            self.up_watched(&mut alice)
        } else {
            alice.up();
            self.up_watched(&mut bob)
        };
        alice.done(&["room", "create", "zig"]);
        bob.done(&["room", "join", &alice.link("zig"), "--wait", "10s"]);
        let (said, heard) = (Oracle::new(), Oracle::new());
        let mut follow = bob.follow("zig");
        let (inside, after_ms) = std::thread::scope(|scope| {
            for speaker in 0..SPEAKERS {
                let (alice, said) = (&alice.command(&[]), &said);
                let arguments: Vec<_> = alice.get_args().map(ToOwned::to_owned).collect();
                scope.spawn(move || {
                    for n in 0.. {
                        let mut send = Command::new(binary());
                        send.args(&arguments).args(["--json", "send", "zig", &format!("{speaker}: {n}")]);
                        let Some(id) = sent(&mut send) else { break };
                        said.note(&id);
                        if said.is_closed() {
                            break;
                        }
                    }
                });
            }
            scope.spawn(|| {
                while let Some(line) = follow.next_line().filter(|line| line["text"] != THE_END) {
                    line["id"].as_str().iter().for_each(|id| heard.note(id));
                }
            });
            let victim = if kills_alice { &mut alice } else { &mut bob };
            let killed = self.kill(victim, &numbers, 900);
            said.close();
            if kills_alice {
                bob.send("zig", THE_END);
            }
            killed
        });
        let (victim, noted) = if kills_alice { (&mut alice, said.noted()) } else { (&mut bob, heard.noted()) };
        victim.up();
        let shown: BTreeSet<String> = victim.until_shown("zig", noted.len()).into_iter().collect();
        let lost: Vec<_> = noted.iter().filter(|id| !shown.contains(*id)).collect();
        assert_eq!(lost, Vec::<&String>::new(), "seed {}: acknowledged and lost", self.seed);
        self.until_equal(&alice, &bob);
        Killed { moment: Moment::Chat, inside, acknowledged: noted.len(), after_ms }
    }

    /// Waits until both hold the same, byte for byte, and what they hold proves true.
    fn until_equal(&self, alice: &Person, bob: &Person) {
        let file = |name: &str| self.folder.join(name).to_string_lossy().into_owned();
        let (hers, his) = (file("alice.export"), file("bob.export"));
        let began = Instant::now();
        loop {
            alice.done(&["export", "zig", "--output", &hers]);
            bob.done(&["export", "zig", "--output", &his]);
            if fs::read(&hers).unwrap() == fs::read(&his).unwrap() {
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "seed {}: not equal after a minute", self.seed);
        }
        alice.done(&["verify", &hers]);
    }
}

/// Events that a node says it holds; none when it is gone.
fn held(status: &mut Command) -> Option<u64> {
    let output = status.output().unwrap();
    serde_json::from_slice::<Value>(&output.stdout).ok()?["events"].as_u64()
}

/// The id of a message that was acknowledged; none when the node is gone.
fn sent(send: &mut Command) -> Option<String> {
    let output = send.stderr(Stdio::null()).output().unwrap();
    let sent: Value = serde_json::from_slice(&output.stdout).ok()?;
    Some(sent["id"].as_str()?.to_owned())
}

const SPEAKERS: usize = 3;
const THE_END: &str = "the end";

//! A node with a disk budget under several times as much: what lies on its disk all the while, what that costs, what comes
//! back when one reads back, and whether nodes that hold different parts come to rest.

use crate::Result;
use crate::data::{Data, Record};
use crate::report::Report;
use crate::support::nodes::Person;
use serde_json::Value;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tidings_storage::Store;

pub fn run(report: &mut Report, data: &Data, folder: &Path) -> Result<()> {
    report.part("A disk budget of 200 MB under 1 GB of text (messages of 2 to 40 kB, made of the log)");
    std::fs::create_dir_all(folder)?;
    let mut alice = Person::at(folder, "alice");
    let mut bob = Person::at(folder, "bob");
    alice.up();
    up(&mut bob, BUDGET);
    alice.json(&["room", "create", "zig"]);
    let link = alice.link("zig");
    bob.json(&["room", "join", &link, "--wait", "30s"]);
    let peer = address(&alice);

    let began = Instant::now();
    let mut sampled = Vec::new();
    let mut watch = Watch::start(&bob);
    let mut maker = Maker { data, next: 0, seed: 7, count: 0 };
    for part in 0..PARTS {
        let file = folder.join("part.jsonl");
        maker.write(&file, TEXT_LEN / PARTS)?;
        alice.done(&["import", "zig", file.to_str().ok_or("a path")?, "--source", &format!("log {part}")]);
        if part == PARTS / 2 {
            // In the middle of trimming, as it has been over its mark for long.
            bob.kill();
            sampled.push(watch.end()?);
            watch = Watch::start(&bob);
            let again = Instant::now();
            up(&mut bob, BUDGET);
            bob.done(&["peers", "add", &peer]);
            report.note(&format!("killed and up again in {} ms", again.elapsed().as_millis()));
            bob.history("zig");
        }
    }
    let last = alice.send("zig", "the newest");
    until("the newest is there", || newest(&bob, 1).first().is_some_and(|line| line["id"] == last.as_str()))?;
    until("nothing is missing", || bob.json(&["status"])["behind"] == 0)?;
    let took = began.elapsed();
    sampled.push(watch.end()?);
    tell_disk(report, &sampled, &alice, took);
    report.note(&format!("{} messages; {} MB of text and headers here still", maker.count, held(&bob) / 1_000_000));
    let same = ids(&newest(&bob, 200)) == ids(&newest(&alice, 200));
    report.figure("the newest 200", if same { "the same on both" } else { "differ" }, "the same", same);

    read_back(report, &alice, &bob)?;
    let mut carol = Person::at(folder, "carol");
    up(&mut carol, BUDGET / 2);
    carol.json(&["room", "join", &link, "--wait", "30s"]);
    carol.done(&["peers", "add", &address(&bob)]);
    until("the third has the newest", || ids(&newest(&carol, 50)) == ids(&newest(&alice, 50)))?;
    let agrees = |person: &Person| {
        let peers = person.json(&["peers"]);
        peers.as_array().is_some_and(|peers| peers.iter().all(|peer| peer["behind"] == 0))
    };
    until("all three agree", || [&alice, &bob, &carol].into_iter().all(agrees))?;
    rest(report, &[&alice, &bob, &carol]);

    alice.done(&["room", "set", "zig", "keep", "90d"]);
    let due = now_ms() - 90 * DAY_MS;
    let within = |person: &Person| since(person).is_some_and(|since| since >= due);
    let before = held(&alice);
    let kept = until("all three keep 90 days", || [&alice, &bob, &carol].into_iter().all(within));
    let mb = |person: &Person| held(person) / 1_000_000;
    let text = format!(
        "{}, {} and {} MB are held; by the first {} MB before",
        mb(&alice),
        mb(&bob),
        mb(&carol),
        before / 1_000_000
    );
    report.figure("after room set zig keep 90d", &text, "of those days only", kept.is_ok());
    rest(report, &[&alice, &bob, &carol]);
    Ok(())
}

fn tell_disk(report: &mut Report, sampled: &[Watched], alice: &Person, took: Duration) {
    let samples: Vec<u64> = sampled.iter().flat_map(|one| one.samples.iter().copied()).collect();
    let most = samples.iter().max().copied().unwrap_or(0);
    let over = samples.iter().filter(|bytes| **bytes > BUDGET).count();
    let value = format!("{over} of {} samples over, {} MB at most", samples.len(), most / 1_000_000);
    report.figure("the home of the node, every 100 ms", &value, "never over 200 MB", over == 0);
    let full: Vec<u64> = samples.into_iter().skip_while(|bytes| *bytes < BUDGET / 100 * 70).collect();
    let mean = full.iter().sum::<u64>() / full.len().max(1) as u64;
    let share = mean * 100 / BUDGET;
    report.figure("used in the mean, once full", &format!("{share} % of the budget"), "70 % at least", share >= 70);
    let written: u64 = sampled.iter().map(|one| one.written).sum();
    let stored = alice.json(&["status"])["disk_bytes"].as_u64().unwrap_or(1);
    report.note(&format!(
        "{} MB of text in {} s; written to the disk by the node with a budget: {} MB, {:.1} times the text, {:.1} times what \
         all of it takes without one ({} MB)",
        TEXT_LEN / 1_000_000,
        took.as_secs(),
        written / 1_000_000,
        written as f64 / TEXT_LEN as f64,
        written as f64 / stored as f64,
        stored / 1_000_000
    ));
}

/// Scrolls back past what is held.
fn read_back(report: &mut Report, alice: &Person, bob: &Person) -> Result<()> {
    let held_before = held(bob) / 1_000_000;
    let since = since(bob).ok_or("nothing was trimmed")?;
    let watch = Watch::start(bob);
    let found = newest(alice, PAGE);
    let mut at = found.first().and_then(|line| line["id"].as_str()).ok_or("no message")?.to_owned();
    let (mut pages, mut longest, mut differ) = (0, Duration::ZERO, 0);
    loop {
        let theirs = before(alice, &at, PAGE);
        let oldest = theirs.first().and_then(|line| line["ms"].as_u64()).ok_or("the history ends")?;
        if oldest < since {
            let began = Instant::now();
            differ += usize::from(ids(&before(bob, &at, PAGE)) != ids(&theirs));
            longest = longest.max(began.elapsed());
            pages += 1;
        }
        at = theirs.first().and_then(|line| line["id"].as_str()).ok_or("a gap")?.to_owned();
        if pages == PAGES {
            break;
        }
    }
    bob.history("zig");
    let watched = watch.end()?;
    let most = watched.samples.iter().max().copied().unwrap_or(0);
    let value =
        format!("{pages} pages of {PAGE} from another node, {differ} differ, {} ms at most", longest.as_millis());
    report.figure("read --before past what is held", &value, "0 differ", differ == 0);
    let value =
        format!("{} MB at most; {held_before} MB held before, {} after", most / 1_000_000, held(bob) / 1_000_000);
    report.figure("meanwhile on the disk", &value, "never over 200 MB", most <= BUDGET);
    Ok(())
}

/// Lets nodes come to rest, and counts what they say then.
fn rest(report: &mut Report, people: &[&Person]) {
    std::thread::sleep(REST / 2);
    let said = || people.iter().map(|person| sync_bytes(person)).sum::<u64>();
    let before = said();
    std::thread::sleep(REST);
    let bytes = said() - before;
    let text = format!("{bytes} bytes in {} s, all connections and both ways", REST.as_secs());
    report.figure("three nodes that hold different parts, at rest", &text, "less than 20000", bytes < 20_000);
}

fn up(person: &mut Person, budget: u64) {
    let mut up: Command = person.command(&["--json", "up", "--no-mdns", "--listen", "/ip4/127.0.0.1/tcp/0"]);
    up.env("TIDINGS_DISK_MAX_BYTES", budget.to_string());
    person.up_by(up);
}

fn address(person: &Person) -> String {
    person.ready["listen"][0].as_str().map(str::to_owned).unwrap_or_default()
}

fn sync_bytes(person: &Person) -> u64 {
    let peers = person.json(&["peers"]);
    peers.as_array().into_iter().flatten().filter_map(|peer| peer["sync_bytes"].as_u64()).sum()
}

/// Bytes of the room that are held, before compression.
fn held(person: &Person) -> u64 {
    person.json(&["room", "show", "zig"])["kept"]["bytes"].as_u64().unwrap_or(0)
}

fn since(person: &Person) -> Option<u64> {
    person.json(&["room", "show", "zig"])["kept"]["since_ms"].as_u64()
}

fn newest(person: &Person, count: usize) -> Vec<Value> {
    lines(&person.done(&["--json", "read", "zig", "--limit", &count.to_string()]))
}

fn before(person: &Person, id: &str, count: usize) -> Vec<Value> {
    lines(&person.done(&["--json", "read", "zig", "--before", id, "--limit", &count.to_string()]))
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn ids(lines: &[Value]) -> Vec<String> {
    lines.iter().filter_map(|line| line["id"].as_str()).map(str::to_owned).collect()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) -> Result<()> {
    let began = Instant::now();
    while !holds() {
        if began.elapsed() > PATIENCE {
            return Err(format!("{what}: not within {} s", PATIENCE.as_secs()).into());
        }
        std::thread::sleep(SAMPLE_EVERY);
    }
    Ok(())
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(0))
}

/// Makes long messages of the log's lines.
struct Maker<'d> {
    data: &'d Data,
    next: usize,
    seed: u64,
    count: u64,
}

impl Maker<'_> {
    fn write(&mut self, file: &Path, len: u64) -> Result<()> {
        let mut out = BufWriter::new(std::fs::File::create(file)?);
        let (mut written, records) = (0, &self.data.records);
        let begin = now_ms() - 180 * DAY_MS;
        while written < len {
            self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let wanted = 2_000 + usize::try_from(self.seed >> 33).unwrap_or(0) % 38_000;
            let mut text = String::new();
            while text.len() < wanted {
                let record = &records[self.next % records.len()];
                self.next += 1;
                text.push_str(&record.text);
                text.push('\n');
            }
            text.truncate(text.floor_char_boundary(wanted));
            written += text.len() as u64;
            // Half a year, as far as the text goes.
            let ts = begin + self.count * 180 * DAY_MS * 21_000 / TEXT_LEN;
            self.count += 1;
            let record = Record { ts: ts.min(now_ms()), author: "ada".to_owned(), text };
            writeln!(out, "{}", serde_json::to_string(&record)?)?;
        }
        Ok(out.flush()?)
    }
}

/// Looks at the disk of a node all the while.
struct Watch {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<Watched>,
}

struct Watched {
    samples: Vec<u64>,
    /// Bytes that the process has given to the disk since.
    written: u64,
}

impl Watch {
    fn start(person: &Person) -> Watch {
        let home: PathBuf = person.home.clone();
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let (mut samples, mut first, mut last) = (Vec::new(), None, 0);
            while let Err(mpsc::RecvTimeoutError::Timeout) = stopped.recv_timeout(SAMPLE_EVERY) {
                samples.push(bytes_in(&home));
                if let Some(now) = Store::holder(&home.join("store")).and_then(written_by) {
                    first.get_or_insert(now);
                    last = now;
                }
            }
            Watched { samples, written: last - first.unwrap_or(last) }
        });
        Watch { stop, thread }
    }

    fn end(self) -> Result<Watched> {
        drop(self.stop);
        self.thread.join().map_err(|_| "the watch failed".into())
    }
}

fn written_by(pid: u32) -> Option<u64> {
    let io = std::fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    io.lines().find_map(|line| line.strip_prefix("write_bytes: "))?.trim().parse().ok()
}

fn bytes_in(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let files = entries.filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)));
    let bytes = files.map(|(path, meta)| match meta.is_dir() {
        true => bytes_in(&path),
        false => meta.len().max(meta.blocks() * 512),
    });
    bytes.sum()
}

const BUDGET: u64 = 200_000_000;
const TEXT_LEN: u64 = 1_000_000_000;
const PARTS: u64 = 10;
const PAGES: usize = 6;
/// What a screen shows, about: 12 MB may be between where trimming begins and where others wait.
const PAGE: usize = 25;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;
const SAMPLE_EVERY: Duration = Duration::from_millis(100);
const REST: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(600);

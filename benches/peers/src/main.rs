//! Runs tidings beside its peers on the same real messages, in turns, and prints what each takes as a table of ratios.
//!
//! tidings-bench --tidings PROGRAM --data FILE [--rounds N] [--short] [--json FILE] [P1 ... P9]
//! `--short` takes 5,000 messages once, made up where there is no file, to show that it runs. `relay FOLDER` is the signed relay, run by this program itself.

mod bulk;
mod compare;
mod contender;
mod data;
#[cfg(feature = "search")]
mod engines;
mod families;
mod find;
mod floor;
mod holdings;
mod latency;
mod live;
mod machine;
mod memory;
mod nats;
mod node;
mod process;
mod prosody;
mod relay;
mod rooms;
mod stats;
mod table;

use data::Message;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use table::Figure;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What all parts need.
pub struct Bench {
    pub program: PathBuf,
    pub messages: Vec<Message>,
    pub rounds: usize,
    pub is_short: bool,
    pub folder: tempfile::TempDir,
    pub figures: Vec<Figure>,
    /// What to know beside the figures: what was skipped, what failed.
    pub notes: Vec<String>,
    pub began: Instant,
}

impl Bench {
    pub fn note(&mut self, line: String) {
        eprintln!("{line}");
        if !self.notes.contains(&line) {
            self.notes.push(line);
        }
    }

    /// How much of something, in full and in short.
    pub fn size(&self, full: usize, short: usize) -> usize {
        if self.is_short { short } else { full }
    }

    /// A part that failed leaves a line; the others run all the same.
    fn settle(&mut self, part: &str, ended: std::result::Result<Result<()>, Elapsed>) {
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.note(format!("{FAILED} {part}: {error}")),
            Err(_) => self.note(format!("{FAILED} {part}: no end after {} s", PART_MAX.as_secs())),
        }
    }

    /// Says how far it is.
    pub fn progress(&self, part: &str, round: usize) {
        eprintln!("{part}: round {} of {}, {} s", round + 1, self.rounds, self.began.elapsed().as_secs());
    }
}

/// What was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wanted {
    program: PathBuf,
    file: PathBuf,
    json: Option<PathBuf>,
    rounds: Option<usize>,
    is_short: bool,
    parts: Vec<String>,
}

impl Wanted {
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Wanted> {
        let mut wanted = Wanted::default();
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "--tidings" => wanted.program = value()?.into(),
                "--data" => wanted.file = value()?.into(),
                "--rounds" => wanted.rounds = Some(value()?.parse()?),
                "--json" => wanted.json = Some(value()?.into()),
                "--short" => wanted.is_short = true,
                part if PARTS.contains(&part) => wanted.parts.push(argument),
                other => return Err(format!("\"{other}\" is no part: {}", PARTS.join(", ")).into()),
            }
        }
        Ok(wanted)
    }

    fn any(&self, parts: &[&str]) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|p| parts.contains(&p.as_str()))
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [what, folder] = arguments.as_slice()
        && what == "relay"
    {
        return relay::serve(folder).await;
    }
    let wanted = Wanted::parse(arguments.into_iter())?;
    let is_made_up = wanted.is_short && !wanted.file.exists();
    let mut messages = if is_made_up { data::made_up(SHORT_MESSAGES) } else { data::read(&wanted.file)? };
    let rounds = wanted.rounds.unwrap_or(if wanted.is_short { 1 } else { ROUNDS }).max(1);
    if wanted.is_short {
        messages.truncate(SHORT_MESSAGES);
    }
    let mut bench = Bench {
        program: wanted.program.clone(),
        messages,
        rounds,
        is_short: wanted.is_short,
        folder: tempfile::tempdir()?,
        figures: Vec::new(),
        notes: Vec::new(),
        began: Instant::now(),
    };
    if is_made_up {
        bench.note(format!("no file {}: the messages are made up, the figures say nothing", wanted.file.display()));
    }
    let version = process::installed(&wanted.program.to_string_lossy(), &["version"]).await;
    let version = version.ok_or(format!("{}: is no tidings program", wanted.program.display()))?;
    let version = version.lines().next().unwrap_or_default().to_owned();
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let before = machine::load();
    println!("{version} on {cpus} processors, {}, load {before} before", machine::total_memory());
    println!("{} messages, {rounds} rounds in turns, medians; {PEERS}", bench.messages.len());
    let mut ends = signal(SignalKind::terminate())?;
    // What is dropped here ends its processes and takes its folders away.
    let ended = tokio::select! {
        () = parts(&wanted, &mut bench) => false,
        _ = ends.recv() => true,
        _ = tokio::signal::ctrl_c() => true,
    };
    if ended {
        leave(bench.folder.path()).await;
        return Err("stopped".into());
    }
    table::print(&bench.figures, &bench.notes);
    let (after, took) = (machine::load(), bench.began.elapsed().as_secs());
    println!("load {after} after {took} s");
    if let Some(file) = &wanted.json {
        let header = json!({"tidings": version, "processors": cpus, "memory": machine::total_memory(), "rounds": rounds,
            "short": bench.is_short, "load_before": before, "load_after": after, "seconds": took, "peers": PEERS});
        std::fs::write(file, table::json(&bench.figures, &header, &bench.notes).to_string())?;
    }
    let failed = bench.notes.iter().any(|note| note.starts_with(FAILED));
    if failed { Err("a part failed: see above".into()) } else { Ok(()) }
}

/// Takes the folder away, and again while processes that are about to end write to it.
async fn leave(folder: &Path) {
    for _ in 0..50 {
        drop(std::fs::remove_dir_all(folder));
        tokio::time::sleep(Duration::from_millis(100)).await;
        if !folder.exists() {
            return;
        }
    }
}

/// Runs what is wanted.
async fn parts(wanted: &Wanted, bench: &mut Bench) {
    if wanted.any(&["P1"]) {
        let ended = timeout(PART_MAX, latency::run(bench)).await;
        bench.settle("P1", ended);
    }
    if wanted.any(&["P2"]) {
        let ended = timeout(PART_MAX, live::run(bench)).await;
        bench.settle("P2", ended);
    }
    if wanted.any(&["P3"]) {
        let ended = timeout(PART_MAX, compare::run(bench)).await;
        bench.settle("P3", ended);
    }
    if wanted.any(&["P4", "P6", "P7", "P8"]) {
        let ended = timeout(PART_MAX, bulk::run(bench)).await;
        bench.settle("P4 P6 P7 P8", ended);
    }
    if wanted.any(&["P7"]) {
        let ended = timeout(PART_MAX, memory::run(bench)).await;
        bench.settle("P7", ended);
    }
    if wanted.any(&["P5"]) {
        let ended = timeout(PART_MAX, find::run(bench)).await;
        bench.settle("P5", ended);
    }
    if wanted.any(&["P9"]) {
        let ended = timeout(PART_MAX, rooms::run(bench)).await;
        bench.settle("P9", ended);
    }
}

const PARTS: [&str; 9] = ["P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8", "P9"];
const PEERS: &str = "the signed relay is nostr-relay-builder 0.44 over nostr-lmdb 0.44: it checks each signature, and syncs before it acknowledges";
const FAILED: &str = "failed: part";
const ROUNDS: usize = 5;
const SHORT_MESSAGES: usize = 5_000;
/// The longest that anything of others is waited for.
pub const WAIT_MAX: Duration = Duration::from_secs(60);
const PART_MAX: Duration = Duration::from_secs(1_800);

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Wanted> {
        Wanted::parse(text.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn arguments_read() {
        let wanted = parse("--tidings t --data d --rounds 3 P5 P1 --short").unwrap();
        assert_eq!((wanted.rounds, wanted.is_short), (Some(3), true));
        assert!(wanted.any(&["P1"]) && wanted.any(&["P4", "P5"]) && !wanted.any(&["P2"]));
        assert!(parse("").unwrap().any(&["P9"]));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["P10", "--rounds x", "--data", "live"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}

//! Runs tidings beside its peers on the same real messages, alternating, and prints what it takes as ratios.
//!
//! tidings-bench --tidings PROGRAM --data FILE [--rounds N] [--short] [--json FILE] [PART...]
//! Parts: live bulk start. `relay FOLDER` is the peer, run by this program itself.

mod bulk;
mod live;
mod machine;
mod node;
mod relay;
mod table;

use serde_json::json;
use std::io::Read;
use std::path::PathBuf;

pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What all parts need.
pub struct Bench {
    pub program: PathBuf,
    pub file: PathBuf,
    pub messages: Vec<Message>,
    pub rounds: usize,
    pub is_short: bool,
    pub folder: tempfile::TempDir,
    pub figures: Vec<table::Figure>,
}

/// A line of real chat.
pub struct Message {
    pub author: String,
    pub text: String,
    pub ts: u64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [what, folder] = arguments.as_slice()
        && what == "relay"
    {
        return relay::serve(folder).await;
    }
    let mut bench = Bench {
        program: PathBuf::new(),
        file: PathBuf::new(),
        messages: Vec::new(),
        rounds: 5,
        is_short: false,
        folder: tempfile::tempdir()?,
        figures: Vec::new(),
    };
    let (mut parts, mut output) = (Vec::new(), None);
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--tidings" => bench.program = value()?.into(),
            "--data" => bench.file = value()?.into(),
            "--rounds" => bench.rounds = value()?.parse()?,
            "--json" => output = Some(value()?),
            "--short" => bench.is_short = true,
            part if PARTS.contains(&part) => parts.push(argument),
            other => return Err(format!("\"{other}\" is no part: {}", PARTS.join(", ")).into()),
        }
    }
    if bench.is_short {
        bench.rounds = 1;
    }
    bench.messages = read(&bench.file)?;
    let version = std::process::Command::new(&bench.program).arg("version").output()?;
    let version = String::from_utf8_lossy(&version.stdout).lines().next().unwrap_or_default().to_owned();
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    println!("{version}; peer: nostr-relay-builder 0.44 over nostr-lmdb 0.44, synced before it acknowledges");
    println!(
        "{cpus} processors, load {} before; {} messages; {} rounds, alternating, medians",
        machine::load(),
        bench.messages.len(),
        bench.rounds
    );
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|p| p == part);
    if wanted("live") {
        live::run(&mut bench).await?;
    }
    if wanted("bulk") {
        bulk::run(&mut bench).await?;
    }
    let skipped = SKIPPED.map(str::to_owned);
    table::print(&bench.figures, &skipped);
    println!("load {} after", machine::load());
    if let Some(file) = output {
        let header = json!({"tidings": version, "processors": cpus, "rounds": bench.rounds, "short": bench.is_short, "load": machine::load()});
        std::fs::write(file, table::json(&bench.figures, &header).to_string())?;
    }
    Ok(())
}

fn read(file: &std::path::Path) -> Result<Vec<Message>> {
    let mut text = String::new();
    let opened =
        std::fs::File::open(file).map_err(|e| format!("{}: {e}: give chat with --data FILE", file.display()))?;
    flate2::read::GzDecoder::new(opened).read_to_string(&mut text)?;
    let message = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).ok()?;
        let text_of = |key: &str| Some(value.get(key)?.as_str()?.to_owned());
        Some(Message { author: text_of("author")?, text: text_of("text")?, ts: value.get("ts")?.as_u64()? })
    };
    Ok(text.lines().filter_map(message).collect())
}

const PARTS: [&str; 2] = ["live", "bulk"];
/// What is not measured yet.
const SKIPPED: [&str; 3] = [
    "P1 beside NATS: Debian's nats-server 2.9 cannot sync each message; `make measure latency` has two synced writes beside it",
    "P3 and P5: `make measure authors` has comparisons; search and its peers are not here yet",
    "P2 beside Prosody and NATS: not written yet",
];

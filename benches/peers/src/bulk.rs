//! P4, P6, P7, P8: years of history in one go: taken in, given to somebody new, its disk and memory, the start with it.

use crate::contender::{Contender, Kind, line_up};
use crate::data::{self, Message};
use crate::node::Node;
use crate::relay::{self, Relay};
use crate::table::{Figure, Target};
use crate::{Bench, Result, families, machine};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The history in one size.
struct History {
    name: String,
    file: PathBuf,
    count: f64,
    text_len: f64,
    zstd_len: f64,
}

/// What each round brought of one size.
#[derive(Default)]
struct Taken {
    import: Vec<f64>,
    import_micros: Vec<f64>,
    sync: Vec<f64>,
    sync_micros: Vec<f64>,
    wire: Vec<f64>,
    disk: Vec<f64>,
    search: Vec<f64>,
    start: Vec<f64>,
    /// Resident a minute after the last event, and at most.
    memory: Vec<(f64, f64)>,
}

/// What each round brought of the relay.
struct Relayed {
    import: f64,
    given: f64,
    disk: f64,
    start: f64,
    memory: (f64, f64),
}

pub async fn run(bench: &mut Bench) -> Result<()> {
    let mut histories = vec![history(bench, 1)?];
    if !bench.is_short {
        histories.push(history(bench, COPIES)?);
    }
    let mut ours: Vec<Taken> = histories.iter().map(|_| Taken::default()).collect();
    let mut peers: Vec<Contender<Relayed>> = line_up(bench, "P4", &[Kind::Relay]).await;
    let little = bench.folder.path().join("little");
    little_home(bench, &little).await?;
    let mut little_start = Vec::new();
    for round in 0..bench.rounds {
        bench.progress("P4 P6 P7 P8", round);
        let folder = bench.folder.path().join(format!("bulk-{round}"));
        for (history, taken) in histories.iter().zip(&mut ours) {
            let waits = round + 1 == bench.rounds && !bench.is_short;
            of_nodes(bench, history, &folder.join("nodes"), waits, taken).await?;
        }
        little_start.push(start(bench, &little).await?);
        for peer in &mut peers {
            let events = bench.messages.iter().filter(|m| !m.text.is_empty()).take(RELAY_EVENTS).collect();
            let run = of_relay(events, folder.join("relay"));
            peer.round(&mut bench.notes, "P4", run).await;
        }
        std::fs::remove_dir_all(folder)?;
    }
    for (history, taken) in histories.iter().zip(&ours) {
        figures(&mut bench.figures, history, taken, peers.first());
        let beside =
            Figure::alone("P8", "start to the first page", "ms", taken.start.clone(), Target::ratio_at_most(1.2));
        let what = format!("{}, {} messages", beside.what, history.name);
        bench.figures.push(Figure { what, ..beside }.beside("tidings with 10,000", little_start.clone()));
    }
    Ok(())
}

fn history(bench: &Bench, copies: u64) -> Result<History> {
    let messages = data::copies(&bench.messages, copies);
    let file = bench.folder.path().join(format!("history-{copies}.jsonl"));
    data::write(&messages, &file)?;
    Ok(History {
        name: messages.len().to_string(),
        file,
        count: messages.len() as f64,
        text_len: data::text_len(&messages),
        zstd_len: data::zstd_len(&messages)?,
    })
}

fn figures(out: &mut Vec<Figure>, history: &History, taken: &Taken, relay: Option<&Contender<Relayed>>) {
    let mut figure = |part, what: &str, unit, ours: &[f64], target, of: fn(&Relayed) -> f64| {
        let figure = Figure::alone(part, &format!("{what}, {} messages", history.name), unit, ours.to_vec(), target);
        let theirs = relay.map(|r| (&r.name, r.taken.iter().map(of).collect::<Vec<_>>()));
        out.push(match theirs.filter(|(_, theirs)| !theirs.is_empty()) {
            Some((name, theirs)) => figure.beside(name, theirs),
            None => figure,
        });
    };
    figure("P4", "history taken in", "/s", &taken.import, Target::at_least(120_000.0), |r| r.import);
    figure("P4", "cold sync, durable", "/s", &taken.sync, Target::at_least(120_000.0), |r| r.given);
    figure("P4", "cold sync beside the relay", "/s", &taken.sync, Target::ratio_at_least(20.0), |r| r.given);
    figure("P6", "disk beyond author and text, without search", "B", &taken.disk, Target::at_most(90.0), |r| r.disk);
    figure("P6", "the same beside the relay", "B", &taken.disk, Target::ratio_at_most(0.15), |r| r.disk);
    figure("P8", "start to the first page beside the relay", "ms", &taken.start, Target::at_most(150.0), |r| r.start);
    let (resident, most): (Vec<f64>, Vec<f64>) = taken.memory.iter().copied().unzip();
    figure("P7", "resident with it, a minute later", "MB", &resident, Target::at_most(120.0), |r| r.memory.0);
    figure("P7", "memory at most, taking it", "MB", &most, Target::at_most(120.0), |r| r.memory.1);
    let mut alone = |part, what: &str, unit, ours: &[f64]| {
        let what = format!("{what}, {} messages", history.name);
        out.push(Figure::alone(part, &what, unit, ours.to_vec(), Target::STATED));
    };
    alone("P4", "processor time a message taken in", "us", &taken.import_micros);
    alone("P4", "processor time a message synced, both nodes", "us", &taken.sync_micros);
    alone("P6", "the search index", "B", &taken.search);
    let wire = format!("bytes on the stream, {} messages", history.name);
    let wire = Figure::alone("P4", &wire, "B", taken.wire.clone(), Target::ratio_at_most(1.3));
    out.push(wire.beside("zstd -3 of times, authors and texts", vec![history.zstd_len]));
}

async fn of_nodes(bench: &Bench, history: &History, folder: &Path, waits: bool, taken: &mut Taken) -> Result<()> {
    let alice = Node::start(&bench.program, &folder.join("alice")).await?;
    alice.run(&["room", "create", "zig"]).await?;
    let (file, before, began) = (history.file.to_string_lossy(), alice.cpu_seconds(), Instant::now());
    let done = alice.run(&["import", "zig", &file]).await?;
    taken.import.push(history.count / began.elapsed().as_secs_f64());
    taken.import_micros.push((alice.cpu_seconds() - before) * 1e6 / history.count);
    if done["imported"].as_f64() != Some(history.count) {
        return Err(format!("imported {} of {}", done["imported"], history.count).into());
    }
    let bob = Node::start(&bench.program, &folder.join("bob")).await?;
    let (link, wanted) = (alice.link("zig").await?, alice.events().await?);
    let cpu = || alice.cpu_seconds() + bob.cpu_seconds();
    let (before, began) = (cpu(), Instant::now());
    bob.join(&link).await?;
    while bob.events().await? < wanted {
        if began.elapsed() > SYNC_MAX {
            return Err("the history did not come".into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    taken.sync.push(history.count / began.elapsed().as_secs_f64());
    taken.sync_micros.push((cpu() - before) * 1e6 / history.count);
    taken.wire.push(traffic(&bob).await?);
    if waits {
        tokio::time::sleep(RESTS).await;
    }
    if waits || bench.is_short {
        taken.memory.push(machine::memory(bob.pid()));
    }
    bob.stop().await?;
    compact(&alice).await?;
    let home = alice.home.clone();
    alice.stop().await?;
    let (all, search) = (machine::disk(&home.join("store")), families::disk(&home.join("store"), "search")?);
    taken.disk.push((all.saturating_sub(search) as f64 - history.text_len) / history.count);
    taken.search.push(search as f64 / history.count);
    taken.start.push(start(bench, &home).await?);
    Ok(std::fs::remove_dir_all(folder)?)
}

/// Milliseconds from the start of a stopped node to its first page.
async fn start(bench: &Bench, home: &Path) -> Result<f64> {
    let began = Instant::now();
    let node = Node::start(&bench.program, home).await?;
    node.get("/v1/rooms/zig/messages?limit=50").await?;
    let took = began.elapsed().as_secs_f64() * 1000.0;
    node.stop().await?;
    Ok(took)
}

/// A stopped node with little history.
async fn little_home(bench: &Bench, home: &Path) -> Result<()> {
    let messages = &bench.messages[..bench.messages.len().min(10_000)];
    let file = bench.folder.path().join("little.jsonl");
    data::write(messages, &file)?;
    let node = Node::start(&bench.program, home).await?;
    node.run(&["room", "create", "zig"]).await?;
    node.run(&["import", "zig", &file.to_string_lossy()]).await?;
    node.stop().await
}

/// Has all of the store compacted: that is how a node takes a purged room's bytes from its files.
async fn compact(node: &Node) -> Result<()> {
    let made = node.run(&["room", "create", "scratch"]).await?;
    let room = made["room"].as_str().ok_or("no room was made")?;
    node.run(&["purge", "room", room, "--yes"]).await.map(drop)
}

/// Bytes of the conversation with the only peer, both ways, once nothing more moves.
async fn traffic(node: &Node) -> Result<f64> {
    let (mut last, mut since, began) = (0.0, Instant::now(), Instant::now());
    while last == 0.0 || since.elapsed() < Duration::from_secs(1) {
        let peers = node.get("/v1/peers").await?;
        let now = peers[0]["sync_bytes"].as_f64().unwrap_or(0.0);
        if now != last {
            (last, since) = (now, Instant::now());
        }
        if began.elapsed() > crate::WAIT_MAX {
            return Err("the conversation does not come to rest".into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(last)
}

async fn of_relay(messages: Vec<&Message>, folder: PathBuf) -> Result<Relayed> {
    let events = relay::sign(messages.iter().map(|m| (m.author.as_str(), m.text.as_str(), m.ts)), false)?;
    let relay = Relay::start(&folder).await?;
    let began = Instant::now();
    relay.publish(&events, |_| began).await?;
    let count = events.len() as f64;
    let import = count / began.elapsed().as_secs_f64();
    // Who is new takes each event, checks it and syncs it: the slower of giving and taking in.
    let began = Instant::now();
    let came = relay.fetch().await?;
    let given = (came as f64 / began.elapsed().as_secs_f64()).min(import);
    let memory = machine::memory(relay.pid());
    relay.stop().await?;
    let text_len: usize = messages.iter().map(|m| m.author.len() + m.text.len()).sum();
    let disk = (machine::disk(&folder) as f64 - text_len as f64) / count;
    let began = Instant::now();
    let relay = Relay::start(&folder).await?;
    relay.page().await?;
    let start = began.elapsed().as_secs_f64() * 1000.0;
    relay.stop().await?;
    Ok(Relayed { import, given, disk, start, memory })
}

/// The relay is given a part of the history: all of it would take minutes, and its cost an event does not fall.
const RELAY_EVENTS: usize = 20_000;
/// Makes a million of the log.
pub const COPIES: u64 = 4;
const SYNC_MAX: Duration = Duration::from_secs(300);
/// How long after the last event memory is looked at.
const RESTS: Duration = Duration::from_secs(60);

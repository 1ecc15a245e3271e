//! P4, P6, P7, P8: years of history in one go: taken in, given to somebody new, its disk and memory, the start with it.

use crate::node::Node;
use crate::relay::{self, Relay};
use crate::table::Figure;
use crate::{Bench, Result, machine};
use std::path::Path;
use std::time::{Duration, Instant};

#[derive(Default)]
struct Taken {
    import: Vec<f64>,
    sync: Vec<f64>,
    disk: Vec<f64>,
    idle: Vec<f64>,
    resident: Vec<f64>,
    start: Vec<f64>,
}

pub async fn run(bench: &mut Bench) -> Result<()> {
    let (mut ours, mut theirs) = (Taken::default(), Taken::default());
    for round in 0..bench.rounds {
        let folder = bench.folder.path().join(format!("bulk-{round}"));
        of_nodes(bench, &folder.join("nodes"), &mut ours).await?;
        of_relay(bench, &folder.join("relay"), &mut theirs).await?;
        std::fs::remove_dir_all(folder)?;
    }
    let mut figure = |part, what: &str, unit, ours, theirs, promised, holds| {
        let (what, peer) = (what.to_owned(), "signed relay".to_owned());
        bench.figures.push(Figure { part, what, unit, peer, ours, theirs, promised, holds });
    };
    figure("P4", "history taken in", "/s", ours.import, theirs.import, "", |_| true);
    figure("P4", "history given to somebody new, on disk there", "/s", ours.sync, theirs.sync, "20", |r| r >= 20.0);
    figure("P6", "disk beyond author and text", "B/message", ours.disk, theirs.disk, "0.15", |r| r <= 0.15);
    figure("P7", "memory, nothing held", "MB", ours.idle, theirs.idle, "", |_| true);
    figure("P7", "memory with all of it, resident", "MB", ours.resident, theirs.resident, "", |_| true);
    figure("P8", "start to the first page", "ms", ours.start, theirs.start, "", |_| true);
    Ok(())
}

/// Bytes of author and text of so many messages.
fn text_len(bench: &Bench, count: usize) -> f64 {
    bench.messages.iter().take(count).map(|m| m.author.len() + m.text.len()).sum::<usize>() as f64
}

async fn of_nodes(bench: &Bench, folder: &Path, taken: &mut Taken) -> Result<()> {
    let alice = Node::start(&bench.program, &folder.join("alice")).await?;
    taken.idle.push(machine::memory(alice.pid()).0);
    alice.run(&["room", "create", "zig"]).await?;
    let file = bench.file.to_str().ok_or("the file's name is no UTF-8")?;
    let began = Instant::now();
    let done = alice.run(&["import", "zig", file]).await?;
    let count = done["imported"].as_f64().ok_or("nothing was imported")?;
    taken.import.push(count / began.elapsed().as_secs_f64());
    let bob = Node::start(&bench.program, &folder.join("bob")).await?;
    let link = alice.run(&["room", "invite", "zig"]).await?;
    let began = Instant::now();
    bob.run(&["room", "join", link["link"].as_str().ok_or("no link")?, "--wait", "10s"]).await?;
    let wanted = alice.get("/v1/status").await?["events"].as_u64().unwrap_or(0);
    while bob.get("/v1/status").await?["events"].as_u64().unwrap_or(0) < wanted {
        if began.elapsed() > ALL_MAX {
            return Err("the history did not come".into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    taken.sync.push(count / began.elapsed().as_secs_f64());
    taken.resident.push(machine::memory(bob.pid()).0);
    let home = alice.home.clone();
    alice.stop().await?;
    taken.disk.push((machine::disk(&home.join("store")) as f64 - text_len(bench, count as usize)) / count);
    let began = Instant::now();
    let again = Node::start(&bench.program, &home).await?;
    again.get("/v1/rooms/zig/messages?limit=50").await?;
    taken.start.push(began.elapsed().as_secs_f64() * 1000.0);
    again.stop().await?;
    bob.stop().await
}

async fn of_relay(bench: &Bench, folder: &Path, taken: &mut Taken) -> Result<()> {
    let count = if bench.is_short { 200 } else { bench.messages.len().min(RELAY_EVENTS) };
    let messages = bench.messages.iter().filter(|m| !m.text.is_empty()).take(count);
    let events = relay::sign(messages.map(|m| (m.author.as_str(), m.text.as_str(), m.ts)), false)?;
    let relay = Relay::start(&folder.join("one")).await?;
    taken.idle.push(machine::memory(relay.pid()).0);
    let began = Instant::now();
    relay.publish(&events).await?;
    let rate = events.len() as f64 / began.elapsed().as_secs_f64();
    taken.import.push(rate);
    // Who is new takes each event, checks it and syncs it: the slower of giving and taking in.
    let began = Instant::now();
    let came = relay.fetch().await?;
    let given = came as f64 / began.elapsed().as_secs_f64();
    taken.sync.push(given.min(rate));
    taken.resident.push(machine::memory(relay.pid()).0);
    drop(relay);
    taken.disk.push((machine::disk(&folder.join("one")) as f64 - text_len(bench, count)) / events.len() as f64);
    let began = Instant::now();
    let relay = Relay::start(&folder.join("one")).await?;
    relay.page().await?;
    taken.start.push(began.elapsed().as_secs_f64() * 1000.0);
    Ok(())
}

/// The relay is given a part of the history: all of it would take minutes, and its cost an event does not fall.
const RELAY_EVENTS: usize = 50_000;
const ALL_MAX: Duration = Duration::from_secs(600);

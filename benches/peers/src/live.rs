//! P2: messages said live, signed by who says them, checked one by one, on disk, and told to 1 and to 10 who listen.

use crate::contender::{Contender, Kind, line_up};
use crate::nats::Nats;
use crate::node::{Node, numbered};
use crate::prosody::Prosody;
use crate::relay::{self, Relay};
use crate::table::{Figure, Target};
use crate::{Bench, Result, machine};
use std::path::Path;
use std::time::Instant;

/// A rate, the processor time of a message, and the most memory that the servers took.
pub struct Taken {
    per_second: f64,
    pub micros: f64,
    memory: f64,
}

pub async fn run(bench: &mut Bench) -> Result<()> {
    bench.note(
        "P2, P9: nodes with live_per_second at its most, so that each message comes, is checked and synced live"
            .to_owned(),
    );
    for (listeners, full) in [(1, 20_000), (10, 10_000)] {
        let count = bench.size(full, 200);
        let texts = numbered(bench.messages.iter().map(|m| m.text.as_str()), count);
        let mut peers = line_up(bench, "P2", &[Kind::Relay, Kind::Nats, Kind::Prosody]).await;
        let mut ours: Vec<Taken> = Vec::new();
        for round in 0..bench.rounds {
            bench.progress("P2", round);
            let folder = bench.folder.path().join(format!("live-{listeners}-{round}"));
            ours.push(of_nodes(bench, &folder.join("nodes"), &texts, listeners).await?);
            for peer in &mut peers {
                let (folder, notes) = (folder.join(format!("{:?}", peer.kind)), &mut bench.notes);
                match peer.kind {
                    Kind::Relay => peer.round(notes, "P2", of_relay(&folder, &texts, listeners)).await,
                    Kind::Nats => peer.round(notes, "P2", of_nats(&folder, &texts, listeners)).await,
                    Kind::Prosody => {
                        let few = &texts[..count.min(PROSODY_MESSAGES)];
                        peer.round(notes, "P2", of_prosody(&folder, few, listeners)).await;
                    }
                }
            }
            std::fs::remove_dir_all(folder)?;
        }
        peers.iter().for_each(|peer| figures(&mut bench.figures, listeners, &ours, peer));
    }
    Ok(())
}

fn figures(out: &mut Vec<Figure>, listeners: usize, ours: &[Taken], peer: &Contender<Taken>) {
    // Only the relay checks who says what, as we do: the others are stated.
    let promised = |target| if peer.kind == Kind::Relay { target } else { Target::STATED };
    let mut figure = |what: &str, unit, of: fn(&Taken) -> f64, target| {
        let all = |taken: &[Taken]| taken.iter().map(of).collect::<Vec<f64>>();
        let what = format!("live to {listeners}: {what}");
        out.push(Figure::alone("P2", &what, unit, all(ours), target).beside(&peer.name, all(&peer.taken)));
    };
    figure("messages", "/s", |t| t.per_second, promised(Target::ratio_at_least(3.0)));
    figure("processor time a message, all nodes", "us", |t| t.micros, promised(Target::ratio_at_most(0.5)));
    figure("memory at most, all nodes", "MB", |t| t.memory, Target::STATED);
}

fn taken(count: usize, began: Instant, last: Instant, cpu_seconds: f64, memory: f64) -> Taken {
    let per_second = count as f64 / last.saturating_duration_since(began).as_secs_f64();
    Taken { per_second, micros: cpu_seconds * 1e6 / count as f64, memory }
}

/// Said by one node at a public room that as many others listen to, each of them a whole node.
pub async fn of_nodes(bench: &Bench, folder: &Path, texts: &[String], listeners: usize) -> Result<Taken> {
    let mut nodes = vec![Node::start_without_budget(&bench.program, &folder.join("alice")).await?];
    nodes[0].run(&["room", "create", "talk", "--public"]).await?;
    let link = nodes[0].link("talk").await?;
    let mut hearing = Vec::new();
    for n in 0..listeners {
        let other = Node::start_without_budget(&bench.program, &folder.join(format!("listener-{n}"))).await?;
        other.join(&link).await?;
        hearing.push(other.hears(texts.len()).await?);
        nodes.push(other);
    }
    nodes[0].settled(listeners as u64).await?;
    let cpu = |nodes: &[Node]| nodes.iter().map(Node::cpu_seconds).sum::<f64>();
    let (before, began) = (cpu(&nodes), Instant::now());
    nodes[0].say("talk", texts, move |_| began).await?;
    let mut last = began;
    for task in hearing {
        last = task.await??.into_iter().max().unwrap_or(last).max(last);
    }
    let seconds = cpu(&nodes) - before;
    let memory = nodes.iter().map(|n| machine::memory(n.pid()).1).sum();
    for node in nodes {
        node.stop().await?;
    }
    Ok(taken(texts.len(), began, last, seconds, memory))
}

async fn of_relay(folder: &Path, texts: &[String], listeners: usize) -> Result<Taken> {
    let relay = Relay::start(folder).await?;
    let events = relay::sign(texts.iter().map(|text| ("one", text.as_str(), 0)), true)?;
    let hearing = relay.subscribers(listeners, events.len()).await?;
    let (before, began) = (relay.cpu_seconds(), Instant::now());
    relay.publish(&events, |_| began).await?;
    let mut last = began;
    for task in hearing {
        last = task.await?.ok_or("a subscriber did not hear everything")?.into_iter().max().unwrap_or(last).max(last);
    }
    let (seconds, memory) = (relay.cpu_seconds() - before, machine::memory(relay.pid()).1);
    relay.stop().await?;
    Ok(taken(texts.len(), began, last, seconds, memory))
}

async fn of_nats(folder: &Path, texts: &[String], listeners: usize) -> Result<Taken> {
    let nats = Nats::start(folder).await?;
    let hearing = nats.subscribers(listeners, texts.len()).await?;
    let (before, began) = (nats.server.cpu_seconds(), Instant::now());
    nats.publish(texts, WINDOW, |_| began).await?;
    let mut last = began;
    for task in hearing {
        last = task.await?.ok_or("a subscriber did not hear everything")?.into_iter().max().unwrap_or(last).max(last);
    }
    let (seconds, memory) = (nats.server.cpu_seconds() - before, machine::memory(nats.server.pid()).1);
    nats.server.stop().await?;
    Ok(taken(texts.len(), began, last, seconds, memory))
}

async fn of_prosody(folder: &Path, texts: &[String], listeners: usize) -> Result<Taken> {
    let prosody = Prosody::start(folder).await?;
    let hearing = prosody.listeners(listeners, texts.len()).await?;
    let (before, began) = (prosody.server.cpu_seconds(), Instant::now());
    prosody.say(texts, WINDOW).await?;
    let mut last = Instant::now();
    for task in hearing {
        last = last.max(task.await?.ok_or("a listener did not hear everything")?);
    }
    let (seconds, memory) = (prosody.server.cpu_seconds() - before, machine::memory(prosody.server.pid()).1);
    prosody.server.stop().await?;
    Ok(taken(texts.len(), began, last, seconds, memory))
}

/// Messages under way to a peer.
const WINDOW: usize = 256;
/// It is given fewer: at 700 a second all of them would take a minute.
const PROSODY_MESSAGES: usize = 5_000;

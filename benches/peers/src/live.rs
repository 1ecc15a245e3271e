//! P2: messages said live, signed by who says them, checked one by one, on disk, and told to 1 and to 10 who listen.

use crate::node::Node;
use crate::relay::{self, Relay};
use crate::table::Figure;
use crate::{Bench, Result};
use std::time::Instant;

/// A rate, and the processor time of a message.
struct Taken {
    per_second: f64,
    micros: f64,
}

pub async fn run(bench: &mut Bench) -> Result<()> {
    for listeners in [1, 10] {
        let (mut ours, mut theirs): (Vec<Taken>, Vec<Taken>) = (Vec::new(), Vec::new());
        for round in 0..bench.rounds {
            ours.push(of_nodes(bench, listeners, round).await?);
            theirs.push(of_relay(bench, listeners, round).await?);
        }
        let rate = |all: &[Taken]| all.iter().map(|t| t.per_second).collect();
        let cost = |all: &[Taken]| all.iter().map(|t| t.micros).collect();
        bench.figures.push(Figure {
            part: "P2",
            what: format!("live messages to {listeners}"),
            unit: "/s",
            peer: "signed relay".to_owned(),
            ours: rate(&ours),
            theirs: rate(&theirs),
            promised: "3",
            holds: |ratio| ratio >= 3.0,
        });
        bench.figures.push(Figure {
            part: "P2",
            what: format!("processor time a live message to {listeners}, all nodes"),
            unit: "us",
            peer: "signed relay".to_owned(),
            ours: cost(&ours),
            theirs: cost(&theirs),
            promised: "0.5",
            holds: |ratio| ratio <= 0.5,
        });
    }
    Ok(())
}

fn count(bench: &Bench) -> usize {
    if bench.is_short { 200 } else { 20_000 }
}

async fn of_nodes(bench: &Bench, listeners: usize, round: usize) -> Result<Taken> {
    let folder = bench.folder.path().join(format!("live-{listeners}-{round}"));
    let alice = Node::start(&bench.program, &folder.join("alice")).await?;
    alice.run(&["room", "create", "talk", "--public"]).await?;
    let link = alice.run(&["room", "invite", "talk"]).await?;
    let link = link["link"].as_str().ok_or("no link")?.to_owned();
    let mut others = Vec::new();
    for n in 0..listeners {
        let other = Node::start(&bench.program, &folder.join(format!("listener-{n}"))).await?;
        other.run(&["room", "join", &link, "--wait", "10s"]).await?;
        others.push(other);
    }
    let texts: Vec<String> = bench
        .messages
        .iter()
        .filter(|m| !m.text.trim().is_empty())
        .take(count(bench))
        .map(|m| m.text.clone())
        .collect();
    let mut hearing = Vec::new();
    for other in &others {
        hearing.push(other.hears(texts.len()).await?);
    }
    let cpu = |alice: &Node, others: &[Node]| alice.cpu_seconds() + others.iter().map(Node::cpu_seconds).sum::<f64>();
    let (before, began) = (cpu(&alice, &others), Instant::now());
    alice.say("talk", &texts).await?;
    let mut last = began;
    for task in hearing {
        last = last.max(task.await?.ok_or("a listener did not hear everything")?);
    }
    let taken = cpu(&alice, &others) - before;
    let out = Taken {
        per_second: texts.len() as f64 / (last - began).as_secs_f64(),
        micros: taken * 1e6 / texts.len() as f64,
    };
    for node in std::iter::once(alice).chain(others) {
        node.stop().await?;
    }
    std::fs::remove_dir_all(folder)?;
    Ok(out)
}

async fn of_relay(bench: &Bench, listeners: usize, round: usize) -> Result<Taken> {
    let folder = bench.folder.path().join(format!("relay-{listeners}-{round}"));
    let relay = Relay::start(&folder).await?;
    let messages = bench.messages.iter().filter(|m| !m.text.trim().is_empty()).take(count(bench));
    let events = relay::sign(messages.map(|m| ("one", m.text.as_str(), m.ts)), true)?;
    let hearing = relay.subscribers(listeners, events.len()).await?;
    let (before, began) = (relay.cpu_seconds(), Instant::now());
    relay.publish(&events).await?;
    let mut last = began;
    for task in hearing {
        last = last.max(task.await?.ok_or("a subscriber did not hear everything")?);
    }
    let taken = relay.cpu_seconds() - before;
    std::fs::remove_dir_all(folder)?;
    Ok(Taken {
        per_second: events.len() as f64 / (last - began).as_secs_f64(),
        micros: taken * 1e6 / events.len() as f64,
    })
}

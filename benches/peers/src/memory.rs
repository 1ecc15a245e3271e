//! P7: what a node takes that has nothing to do, alone and with peers.

use crate::node::Node;
use crate::relay::Relay;
use crate::table::{Figure, Target};
use crate::{Bench, Result, machine};
use std::time::Duration;

pub async fn run(bench: &mut Bench) -> Result<()> {
    let folder = bench.folder.path().join("memory");
    let rests = Duration::from_secs(bench.size(60, 1) as u64);
    let hub = Node::start(&bench.program, &folder.join("hub")).await?;
    let relay = Relay::start(&folder.join("relay")).await?;
    tokio::time::sleep(rests).await;
    let (alone, most) = machine::memory(hub.pid());
    let theirs = machine::memory(relay.pid());
    relay.stop().await?;
    let status = hub.get("/v1/status").await?;
    let address = status["listen"][0].as_str().ok_or("it listens nowhere")?.to_owned();
    let count = bench.size(PEERS, 2);
    let mut peers = Vec::new();
    for n in 0..count {
        let arguments = ["--peer", address.as_str()];
        peers.push(Node::start_with(&bench.program, &folder.join(format!("peer-{n}")), &arguments, &[]).await?);
    }
    hub.settled(count as u64).await?;
    tokio::time::sleep(rests / 2).await;
    let each = (machine::memory(hub.pid()).0 - alone) * 1e6 / 1024.0 / count as f64;
    for node in peers.into_iter().chain([hub]) {
        node.stop().await?;
    }
    let figure = |what: &str, ours, target| Figure::alone("P7", what, "MB", vec![ours], target);
    let relay = crate::contender::RELAY;
    bench.figures.push(figure("idle, resident", alone, Target::at_most(40.0)).beside(relay, vec![theirs.0]));
    bench.figures.push(figure("idle, at most", most, Target::at_most(40.0)).beside(relay, vec![theirs.1]));
    let what = format!("resident for each of {count} idle peers");
    bench.figures.push(Figure::alone("P7", &what, "KB", vec![each], Target::at_most(40.0)));
    Ok(std::fs::remove_dir_all(folder)?)
}

/// Enough that what an allocator rounds up does not show.
const PEERS: usize = 24;

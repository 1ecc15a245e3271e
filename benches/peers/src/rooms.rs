//! P9: what a message costs in one room and in ten thousand, with one who listens and with many.

use crate::live::of_nodes;
use crate::node::{Node, numbered};
use crate::table::{Figure, Target};
use crate::{Bench, Result};
use serde_json::json;
use std::path::Path;
use std::time::Instant;

pub async fn run(bench: &mut Bench) -> Result<()> {
    let count = bench.size(5_000, 200);
    let texts = numbered(bench.messages.iter().map(|m| m.text.as_str()), count);
    let sizes = if bench.is_short { vec![1, 20] } else { vec![1, 100, 10_000] };
    let mut nodes = Vec::new();
    for rooms in &sizes {
        nodes.push(with_rooms(bench, &bench.folder.path().join(format!("rooms-{rooms}")), *rooms).await?);
    }
    let mut alone: Vec<Vec<f64>> = vec![Vec::new(); sizes.len()];
    for round in 0..bench.rounds {
        bench.progress("P9 rooms", round);
        for ((node, names), taken) in nodes.iter().zip(&mut alone) {
            let (before, began) = (node.cpu_seconds(), Instant::now());
            node.say_in(names, &texts, move |_| began).await?;
            taken.push((node.cpu_seconds() - before) * 1e6 / texts.len() as f64);
        }
    }
    for (node, _) in nodes {
        node.stop().await?;
    }
    let listeners = if bench.is_short { vec![1, 2] } else { vec![1, 2, 4, 8] };
    let mut told: Vec<Vec<f64>> = vec![Vec::new(); listeners.len()];
    for round in 0..bench.rounds {
        bench.progress("P9 peers", round);
        for (listeners, taken) in listeners.iter().zip(&mut told) {
            let folder = bench.folder.path().join(format!("told-{listeners}-{round}"));
            taken.push(to_peers(bench, &folder, &texts, *listeners).await?);
        }
    }
    figures(&mut bench.figures, "processor time a message", "rooms", &sizes, &alone);
    figures(&mut bench.figures, "processor time a message and node", "listening nodes", &listeners, &told);
    Ok(())
}

/// Each size beside the smallest.
fn figures(out: &mut Vec<Figure>, what: &str, of: &str, sizes: &[usize], taken: &[Vec<f64>]) {
    for (size, values) in sizes.iter().zip(taken) {
        let what = format!("{what}, {size} {of}");
        let first = *size == sizes[0];
        let target = if first { Target::STATED } else { Target::ratio_at_most(FLAT) };
        let figure = Figure::alone("P9", &what, "us", values.clone(), target);
        out.push(if first { figure } else { figure.beside(&format!("tidings with {}", sizes[0]), taken[0].clone()) });
    }
}

/// A node with so many rooms, and their names.
async fn with_rooms(bench: &Bench, home: &Path, rooms: usize) -> Result<(Node, Vec<String>)> {
    let node = Node::start(&bench.program, home).await?;
    let names: Vec<String> = (0..rooms).map(|n| format!("room{n}")).collect();
    let mut tasks = tokio::task::JoinSet::new();
    for part in names.chunks(rooms.div_ceil(MAKERS)) {
        let (part, mut connection) = (part.to_vec(), node.connection().await?);
        tasks.spawn(async move {
            for name in part {
                connection.ask("POST", "/v1/rooms", &json!({"name": name}).to_string()).await?;
            }
            Result::Ok(())
        });
    }
    while let Some(made) = tasks.join_next().await {
        made??;
    }
    Ok((node, names))
}

/// Processor time of a message at each of the nodes that have it, the speaker's among them.
async fn to_peers(bench: &Bench, folder: &Path, texts: &[String], listeners: usize) -> Result<f64> {
    let taken = of_nodes(bench, folder, texts, listeners).await?;
    std::fs::remove_dir_all(folder)?;
    Ok(taken.micros / (listeners + 1) as f64)
}

/// Flat, with what a measurement of the same thing varies by.
const FLAT: f64 = 1.25;
/// Connections over which rooms are made at once.
const MAKERS: usize = 64;

//! P1: from saying something to its being on disk and read by another, 200 a second, beside what two synced writes take.

use crate::contender::{Contender, Kind, line_up};
use crate::nats::Nats;
use crate::node::{Node, numbered};
use crate::relay::{self, Relay};
use crate::stats::quantile;
use crate::table::{Figure, Target};
use crate::{Bench, Result, floor};
use std::path::Path;
use std::time::{Duration, Instant};

pub async fn run(bench: &mut Bench) -> Result<()> {
    let count = bench.size(2_000, 200);
    let texts = numbered(bench.messages.iter().map(|m| m.text.as_str()), count);
    let mut peers: Vec<Contender<Vec<f64>>> = line_up(bench, "P1", &[Kind::Relay, Kind::Nats]).await;
    let (mut ours, mut alone) = (Vec::new(), Vec::new());
    for round in 0..bench.rounds {
        bench.progress("P1", round);
        let folder = bench.folder.path().join(format!("latency-{round}"));
        let bare = folder.join("bare");
        alone.push(tokio::task::spawn_blocking(move || floor::two_syncs(&bare, count, EVERY)).await??);
        ours.push(of_nodes(bench, &folder.join("nodes"), &texts).await?);
        for peer in &mut peers {
            let folder = folder.join(format!("{:?}", peer.kind));
            match peer.kind {
                Kind::Relay => peer.round(&mut bench.notes, "P1", of_relay(&folder, &texts)).await,
                _ => peer.round(&mut bench.notes, "P1", of_nats(&folder, &texts)).await,
            }
        }
        std::fs::remove_dir_all(folder)?;
    }
    for (name, part, most) in [("p50", 0.5, 2.5), ("p99", 0.99, 4.0)] {
        let of = |rounds: &[Vec<f64>]| rounds.iter().map(|r| quantile(r, part)).collect::<Vec<f64>>();
        let what = format!("said to durable at both and read by the other, 200/s, {name}");
        let figure = |target| Figure::alone("P1", &what, "ms", of(&ours), target);
        bench
            .figures
            .push(figure(Target::ratio_at_most(most)).beside("two group-committed fdatasyncs of 4 KiB", of(&alone)));
        for peer in &peers {
            bench.figures.push(figure(Target::STATED).beside(&format!("{}, one server", peer.name), of(&peer.taken)));
        }
    }
    Ok(())
}

/// When message `n` is due; a little later than now, so that the first is not late.
fn pace() -> impl Fn(usize) -> Instant + Send + Sync + Clone + 'static {
    let began = Instant::now() + EVERY * 4;
    move |n| began + EVERY * u32::try_from(n).unwrap_or(u32::MAX)
}

/// From when each was due to the later of its acknowledgement and its being heard.
fn taken(due: impl Fn(usize) -> Instant, acked: &[Instant], heard: &[Instant]) -> Vec<f64> {
    let both = acked.iter().zip(heard).enumerate();
    both.map(|(n, (acked, heard))| acked.max(heard).saturating_duration_since(due(n)).as_secs_f64() * 1000.0).collect()
}

async fn of_nodes(bench: &Bench, folder: &Path, texts: &[String]) -> Result<Vec<f64>> {
    let alice = Node::start(&bench.program, &folder.join("alice")).await?;
    let bob = Node::start(&bench.program, &folder.join("bob")).await?;
    alice.run(&["room", "create", "talk"]).await?;
    bob.join(&alice.link("talk").await?).await?;
    let hearing = bob.hears(texts.len()).await?;
    alice.settled(1).await?;
    let due = pace();
    let acked = alice.say("talk", texts, due.clone()).await?;
    let heard = hearing.await??;
    alice.stop().await?;
    bob.stop().await?;
    Ok(taken(due, &acked, &heard))
}

async fn of_relay(folder: &Path, texts: &[String]) -> Result<Vec<f64>> {
    let relay = Relay::start(folder).await?;
    let events = relay::sign(texts.iter().map(|text| ("one", text.as_str(), 0)), true)?;
    let hearing = relay.subscribers(1, events.len()).await?;
    let due = pace();
    let acked = relay.publish(&events, due.clone()).await?;
    let mut heard = Vec::new();
    for task in hearing {
        heard = task.await?.ok_or("the subscriber did not hear everything")?;
    }
    relay.stop().await?;
    Ok(taken(due, &acked, &heard))
}

async fn of_nats(folder: &Path, texts: &[String]) -> Result<Vec<f64>> {
    let nats = Nats::start(folder).await?;
    let hearing = nats.subscribers(1, texts.len()).await?;
    let due = pace();
    let acked = nats.publish(texts, texts.len(), due.clone()).await?;
    let mut heard = Vec::new();
    for task in hearing {
        heard = task.await?.ok_or("the subscriber did not hear everything")?;
    }
    nats.server.stop().await?;
    Ok(taken(due, &acked, &heard))
}

const EVERY: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_of_both_counts_from_when_it_was_due() {
        let began = Instant::now();
        let at = |ms| began + Duration::from_millis(ms);
        let due = |n: usize| at(10 * n as u64);
        assert_eq!(taken(due, &[at(3), at(11)], &[at(2), at(14)]), [3.0, 4.0]);
    }
}

//! Memory over a long conversation: two nodes that say 250 messages a second each, real text, one screen; as many as come
//! live of one author (`live_per_second`). `TIDINGS_MINUTES` says for how long; 30 is what is promised.

use crate::Result;
use crate::data::Data;
use crate::report::Report;
use crate::support::nodes::Person;
use crate::watch::{client, memory, until_complete};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tidings_node::api::client::Client;
use tidings_node::api::types::{SendMessage, Sent, Status};
use tokio::sync::Semaphore;

/// Both say 250 things a second; once a second both are looked at.
pub fn run(report: &mut Report, data: &Data, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let minutes: u32 = std::env::var("TIDINGS_MINUTES").ok().and_then(|n| n.parse().ok()).unwrap_or(2);
    report.part(&format!("Memory over {minutes} minutes of {RATE} messages a second"));
    let (mut alice, mut bob) = (Person::at(folder, "alice"), Person::at(folder, "bob"));
    alice.up().done(&["room", "create", "talk"]);
    bob.up().done(&["room", "join", &alice.link("talk"), "--wait", "10s"]);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let texts = data.records.iter().map(|record| record.text.clone()).filter(|text| !text.is_empty());
    let (samples, said, held) = runtime.block_on(talk(&alice, &bob, texts.collect(), minutes * 60))?;
    let rate = said as f64 / f64::from(minutes * 60);
    report.figure(
        "messages a second",
        &format!("{rate:.0}, {said} in all"),
        &format!("{RATE}"),
        rate > RATE as f64 * 0.99,
    );
    report.figure("events that both hold", &format!("{held}"), "all that was said", held >= said);
    for (name, column) in [("Alice", 0), ("Bob", 1)] {
        let of_node: Vec<f64> = samples.iter().map(|sample| sample[column]).collect();
        let quarter = |n: usize| &of_node[of_node.len() * n / 4..of_node.len() * (n + 1) / 4];
        let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len().max(1) as f64;
        let quarters: Vec<String> = (0..4).map(|n| format!("{:.1}", mean(quarter(n)))).collect();
        let slope = slope(&of_node[of_node.len() / 2..]) * 60_000.0;
        let value = format!("{} MB by quarters, {slope:+.0} kB a minute in the second half", quarters.join(", "));
        let is_flat = mean(quarter(3)) <= mean(quarter(1)) * 1.05;
        report.figure(
            &format!("{name}'s VmRSS"),
            &value,
            "flat: the last quarter at most 5 % over the second",
            is_flat,
        );
    }
    Ok(())
}

/// Megabytes of both, second by second.
type Samples = Vec<[f64; 2]>;

async fn talk(alice: &Person, bob: &Person, texts: Vec<String>, seconds: u32) -> Result<(Samples, u64, u64)> {
    let (hers, his) = (client(alice)?, client(bob)?);
    let mut news = his.events(None).await?;
    // A screen, which reads whatever comes.
    let listening = tokio::spawn(async move { while let Ok(Some(_)) = news.next().await {} });
    let texts = Arc::new(texts);
    let first = tokio::spawn(say(hers.clone(), texts.clone(), seconds));
    let second = tokio::spawn(say(his.clone(), texts, seconds));
    let mut samples = Vec::new();
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    while !(first.is_finished() && second.is_finished()) {
        tick.tick().await;
        samples.push([memory(alice).0, memory(bob).0]);
    }
    let said = first.await?? + second.await??;
    let mut held = u64::MAX;
    for client in [hers, his] {
        until_complete(&client, "talk", said).await?;
        held = held.min(client.get::<Status>("/v1/status").await?.events);
    }
    listening.abort();
    Ok((samples, said, held))
}

async fn say(client: Client, texts: Arc<Vec<String>>, seconds: u32) -> std::result::Result<u64, String> {
    let (begun, at_once) = (Instant::now(), Arc::new(Semaphore::new(AT_ONCE)));
    let said = Arc::new(AtomicU64::new(0));
    let count = RATE / 2 * u64::from(seconds);
    for (n, text) in (0..count).zip(texts.iter().cycle()) {
        tokio::time::sleep(Duration::from_micros(2_000_000 / RATE * n).saturating_sub(begun.elapsed())).await;
        let place = at_once.clone().acquire_owned().await.map_err(|e| e.to_string())?;
        let (client, said) = (client.clone(), said.clone());
        let message = SendMessage { text: text.clone(), reply_to: None, file: None };
        tokio::spawn(async move {
            if client.post::<_, Sent>("/v1/rooms/talk/messages", &message).await.is_ok() {
                said.fetch_add(1, Ordering::Relaxed);
            }
            drop(place);
        });
    }
    drop(at_once.acquire_many(AT_ONCE as u32).await.map_err(|e| e.to_string())?);
    Ok(said.load(Ordering::Relaxed))
}

/// By how much a series grows from one to the next, by least squares.
fn slope(series: &[f64]) -> f64 {
    let n = series.len() as f64;
    let (mean_x, mean_y) = ((n - 1.0) / 2.0, series.iter().sum::<f64>() / n);
    let (mut with, mut of) = (0.0, 0.0);
    for (x, y) in series.iter().enumerate() {
        with += (x as f64 - mean_x) * (y - mean_y);
        of += (x as f64 - mean_x).powi(2);
    }
    with / of
}

const RATE: u64 = 500;
/// Requests to one node at a time.
const AT_ONCE: usize = 64;

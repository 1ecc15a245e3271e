//! Looking at running nodes: their API, their memory, their disk.

use crate::Result;
use crate::support::nodes::Person;
use std::path::Path;
use std::time::{Duration, Instant};
use tidings_node::api::client::Client;
use tidings_node::api::types::{Line, Message, Peer, Room, Status};
use tidings_node::home::Home;

/// A running node's API.
pub fn client(person: &Person) -> Result<Client> {
    Ok(Client::new(Home::open(&person.home)?.socket_path()))
}

/// Waits until something holds; how long that took.
pub async fn until<F: AsyncFnMut() -> Result<bool>>(what: &str, within: Duration, mut holds: F) -> Result<Duration> {
    let began = Instant::now();
    while !holds().await? {
        if began.elapsed() > within {
            return Err(format!("{what}: not within {} s", within.as_secs()).into());
        }
        tokio::time::sleep(POLL_EVERY).await;
    }
    Ok(began.elapsed())
}

/// The newest messages of a room, oldest first.
pub async fn newest(client: &Client, room: &str, count: usize) -> Result<Vec<Message>> {
    let lines: Vec<Line> = client.get(&format!("/v1/rooms/{room}/messages?limit={count}")).await?;
    let message = |line| if let Line::Message(message) = line { Some(*message) } else { None };
    Ok(lines.into_iter().filter_map(message).collect())
}

/// Waits until a node holds as much as another and knows of nothing missing.
pub async fn until_complete(client: &Client, room: &str, events: u64) -> Result<Duration> {
    until("all of the history", Duration::from_secs(300), async || {
        let status: Status = client.get("/v1/status").await?;
        let room: Room = client.get(&format!("/v1/rooms/{room}")).await?;
        Ok(status.events >= events && room.complete)
    })
    .await
}

/// Bytes of the conversation with the only peer, both ways, and those of them that are events, once nothing more moves.
pub async fn traffic(client: &Client) -> Result<(u64, u64)> {
    let (mut last, mut since) = ((0, 0), Instant::now());
    let began = Instant::now();
    while last.0 == 0 || since.elapsed() < QUIET {
        let peers: Vec<Peer> = client.get("/v1/peers").await?;
        let now = peers.first().map_or((0, 0), |p| (p.sync_bytes, p.event_bytes));
        if now != last {
            (last, since) = (now, Instant::now());
        }
        if began.elapsed() > Duration::from_secs(60) {
            return Err("the conversation does not come to rest".into());
        }
        tokio::time::sleep(POLL_EVERY).await;
    }
    Ok(last)
}

/// Megabytes of a process: resident now, and at most.
pub fn memory(person: &Person) -> (f64, f64) {
    let pid = Home::existing(&person.home).and_then(|home| home.running()).map_or(0, |running| running.pid);
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|l| l.strip_prefix(name)).unwrap_or("0");
        line.trim_start_matches(':').trim().split(' ').next().and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0)
            / 1000.0
    };
    (field("VmRSS") * 1.024, field("VmHWM") * 1.024)
}

/// Bytes of a folder's files.
pub fn disk(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|e| e.metadata().ok()).map(|m| m.len()).sum()
}

/// The value below which `part` of all lie, sorted on the way.
pub fn percentile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(((values.len() - 1) as f64 * part).round() as usize).copied().unwrap_or(f64::NAN)
}

const POLL_EVERY: Duration = Duration::from_millis(10);
const QUIET: Duration = Duration::from_secs(2);

//! The signed relay: nostr-relay-builder over nostr-lmdb, in a process of its own. Events are signed by their authors, checked
//! one by one, and in LMDB (synced) before they are acknowledged. Driven by bare frames, so that the driver costs little.

use crate::node::number;
use crate::{Result, WAIT_MAX, machine};
use futures_util::{SinkExt, StreamExt};
use nostr::{EventBuilder, JsonUtil, Keys, Timestamp};
use nostr_lmdb::NostrLMDB;
use nostr_relay_builder::LocalRelay;
use nostr_relay_builder::builder::{RateLimit, RelayBuilder};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Instant;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Runs a relay until it is killed. Says on one line where it is.
pub async fn serve(folder: &str) -> Result<()> {
    let limit = RateLimit { max_reqs: 1000, notes_per_minute: u32::MAX };
    let builder =
        RelayBuilder::default().database(NostrLMDB::open(folder)?).rate_limit(limit).default_filter_limit(2_000_000);
    let relay = LocalRelay::new(builder);
    relay.run().await?;
    println!("{}", relay.url().await);
    std::future::pending::<()>().await;
    Ok(())
}

/// A running relay.
pub struct Relay {
    process: Child,
    url: String,
}

impl Relay {
    pub async fn start(folder: &Path) -> Result<Relay> {
        let program = std::env::current_exe()?;
        let mut command = Command::new(program);
        command.args(["relay".as_ref(), folder.as_os_str()]).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn()?;
        let mut lines = BufReader::new(process.stdout.take().ok_or("no output")?).lines();
        let url = timeout(WAIT_MAX, lines.next_line()).await??.ok_or("the relay did not start")?;
        Ok(Relay { process, url })
    }

    pub fn pid(&self) -> u32 {
        self.process.id().unwrap_or(0)
    }

    async fn connect(&self) -> Result<Socket> {
        Ok(tokio_tungstenite::connect_async(self.url.trim_end_matches('/')).await?.0)
    }

    /// Subscribers that wait for so many events, each then says when it had each, by the number that its text begins with.
    pub async fn subscribers(&self, count: usize, events: usize) -> Result<Vec<JoinHandle<Option<Vec<Instant>>>>> {
        let mut out = Vec::new();
        for _ in 0..count {
            let mut socket = self.connect().await?;
            socket.send(Message::text(format!(r#"["REQ","s",{{"kinds":[1],"since":{}}}]"#, LIVE_SINCE))).await?;
            until(&mut socket, |text| text.starts_with(r#"["EOSE""#)).await?;
            out.push(tokio::spawn(async move {
                let mut heard = vec![Instant::now(); events];
                for _ in 0..events {
                    let text = until(&mut socket, |text| text.starts_with(r#"["EVENT""#)).await.ok()?;
                    *heard.get_mut(number(between(&text, r#""content":""#, '"')?)?)? = Instant::now();
                }
                Some(heard)
            }));
        }
        Ok(out)
    }

    /// Publishes signed events with so many under way, none before it is due; when each was acknowledged.
    pub async fn publish(&self, events: &[String], due: impl Fn(usize) -> Instant) -> Result<Vec<Instant>> {
        let (mut sink, mut stream) = self.connect().await?.split();
        let permits = Arc::new(Semaphore::new(WINDOW));
        let freed = permits.clone();
        let id = |(n, event): (usize, &String)| Some((between(event, r#""id":""#, '"')?.to_owned(), n));
        let mut waiting: HashMap<String, usize> = events.iter().enumerate().filter_map(id).collect();
        let mut acked = vec![Instant::now(); events.len()];
        let reader = tokio::spawn(async move {
            while !waiting.is_empty() {
                let Some(Ok(message)) = stream.next().await else { return None };
                let Ok(text) = message.to_text() else { continue };
                if let Some(id) = text.strip_prefix(r#"["OK",""#).and_then(|t| t.split('"').next())
                    && text.contains(",true,")
                    && let Some(n) = waiting.remove(id)
                {
                    acked[n] = Instant::now();
                    freed.add_permits(1);
                }
            }
            Some(acked)
        });
        for (n, event) in events.iter().enumerate() {
            tokio::time::sleep_until(due(n).into()).await;
            timeout(WAIT_MAX, permits.acquire()).await.map_err(|_| "the relay does not acknowledge")??.forget();
            sink.send(Message::text(format!(r#"["EVENT",{event}]"#))).await?;
        }
        Ok(timeout(WAIT_MAX, reader).await??.ok_or("the relay hung up")?)
    }

    /// Fetches all events, as one who was not there; how many came.
    pub async fn fetch(&self) -> Result<usize> {
        let mut socket = self.connect().await?;
        socket.send(Message::text(r#"["REQ","all",{"kinds":[1],"limit":2000000}]"#)).await?;
        let mut count = 0;
        loop {
            let text = until(&mut socket, |_| true).await?;
            match text {
                _ if text.starts_with(r#"["EVENT""#) => count += 1,
                _ if text.starts_with(r#"["EOSE""#) => return Ok(count),
                _ => {}
            }
        }
    }

    /// The newest 50.
    pub async fn page(&self) -> Result<()> {
        let mut socket = self.connect().await?;
        socket.send(Message::text(r#"["REQ","page",{"kinds":[1],"limit":50}]"#)).await?;
        until(&mut socket, |text| text.starts_with(r#"["EOSE""#)).await?;
        Ok(())
    }

    pub fn cpu_seconds(&self) -> f64 {
        machine::cpu_seconds(self.pid())
    }

    /// Ends it and waits until it has ended.
    pub async fn stop(mut self) -> Result<()> {
        self.process.start_kill()?;
        timeout(WAIT_MAX, self.process.wait()).await??;
        Ok(())
    }
}

async fn until(socket: &mut Socket, is_it: impl Fn(&str) -> bool) -> Result<String> {
    loop {
        let message = timeout(WAIT_MAX, socket.next()).await?.ok_or("the relay hung up")??;
        if let Message::Text(text) = message
            && is_it(text.as_str())
        {
            return Ok(text.as_str().to_owned());
        }
    }
}

/// What stands between a beginning and the next of these.
fn between<'t>(text: &'t str, begin: &str, end: char) -> Option<&'t str> {
    text.split_once(begin)?.1.split(end).next()
}

/// Signs messages as their authors would. In the past, so that a subscriber to what is new is told none of these.
pub fn sign<'a>(messages: impl Iterator<Item = (&'a str, &'a str, u64)>, live: bool) -> Result<Vec<String>> {
    let mut keys: BTreeMap<String, Keys> = BTreeMap::new();
    let mut out = Vec::new();
    for (n, (author, text, ts)) in (0_u64..).zip(messages) {
        let keys = keys.entry(author.to_owned()).or_insert_with(Keys::generate);
        let at = if live { LIVE_SINCE + n } else { ts / 1000 };
        // Two lines of one author in one second are two events.
        let tag = nostr::Tag::parse(["n", n.to_string().as_str()])?;
        let event =
            EventBuilder::text_note(text).tag(tag).custom_created_at(Timestamp::from(at)).sign_with_keys(keys)?;
        out.push(event.as_json());
    }
    Ok(out)
}

/// Events under way to the relay.
const WINDOW: usize = 256;
/// Later than the history of before.
const LIVE_SINCE: u64 = 1_750_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_numbers_are_found_in_events() {
        let events = sign([("ann", "17 hello \"there\"", 5)].into_iter(), false).unwrap();
        assert_eq!(between(&events[0], r#""id":""#, '"').map(str::len), Some(64));
        assert_eq!(between(&events[0], r#""content":""#, '"').and_then(number), Some(17));
        assert_eq!(between("{}", r#""id":""#, '"'), None);
    }
}

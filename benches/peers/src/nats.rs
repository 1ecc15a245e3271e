//! NATS JetStream as Debian has it, or a newer one on the PATH: one server, a stream in files, spoken to by its text protocol.
//! It verifies nobody's signature. From 2.10 on it syncs each message before it acknowledges; before, the page cache has them.

use crate::process::{Server, free_port, installed};
use crate::{Result, WAIT_MAX};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// A running server with a stream.
pub struct Nats {
    pub server: Server,
    port: u16,
}

/// The installed server's version, and how durable it can be made.
pub async fn version() -> Result<(String, bool)> {
    let said = installed("nats-server", &["--version"]).await.ok_or(MISSING)?;
    let version = said.rsplit(['v', ' ']).next().unwrap_or_default().trim().to_owned();
    let syncs = syncs_always(&version);
    Ok((version, syncs))
}

/// What to call it in a table.
pub async fn name() -> Result<String> {
    let (version, syncs) = version().await?;
    Ok(format!("NATS {version}, {}", if syncs { "synced" } else { "page cache" }))
}

fn syncs_always(version: &str) -> bool {
    let mut numbers = version.split('.').map(|n| n.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (2, 10)
}

impl Nats {
    pub async fn start(folder: &Path) -> Result<Nats> {
        std::fs::create_dir_all(folder)?;
        let (_, syncs) = version().await?;
        let port = free_port()?;
        let sync = if syncs { ", sync_interval: always" } else { "" };
        let store = folder.join("store");
        let config = format!("listen: 127.0.0.1:{port}\njetstream {{store_dir: {store:?}{sync}}}\n");
        let file = folder.join("nats.conf");
        std::fs::write(&file, config)?;
        let server = Server::spawn("nats-server", &["-c".as_ref(), file.as_os_str()], folder)?;
        server.listens(port).await?;
        let nats = Nats { server, port };
        let made =
            nats.request("$JS.API.STREAM.CREATE.talk", r#"{"name":"talk","subjects":["talk"],"storage":"file"}"#);
        let made = made.await?;
        if made.contains(r#""error""#) {
            return Err(format!("nats-server made no stream: {made}").into());
        }
        Ok(nats)
    }

    async fn connect(&self) -> Result<(Reader, OwnedWriteHalf)> {
        let stream = timeout(WAIT_MAX, TcpStream::connect(("127.0.0.1", self.port))).await??;
        stream.set_nodelay(true)?;
        let (read, mut write) = stream.into_split();
        write.write_all(b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\n").await?;
        Ok((Reader(BufReader::new(read)), write))
    }

    async fn request(&self, subject: &str, body: &str) -> Result<String> {
        let (mut reader, mut write) = self.connect().await?;
        let ask = format!("SUB answer 1\r\nPUB {subject} answer {}\r\n{body}\r\n", body.len());
        write.write_all(ask.as_bytes()).await?;
        let (_, answer) = timeout(WAIT_MAX, reader.message()).await??;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// Subscribers to what the stream has kept; each says when it had each of so many, by the number that a message begins with.
    pub async fn subscribers(&self, count: usize, events: usize) -> Result<Vec<JoinHandle<Option<Vec<Instant>>>>> {
        let mut out = Vec::new();
        for n in 0..count {
            let (mut reader, mut write) = self.connect().await?;
            write.write_all(format!("SUB deliver.{n} 1\r\nPING\r\n").as_bytes()).await?;
            let consumer = format!(
                r#"{{"stream_name":"talk","config":{{"deliver_subject":"deliver.{n}","deliver_policy":"all","ack_policy":"none"}}}}"#
            );
            let made = self.request("$JS.API.CONSUMER.CREATE.talk", &consumer).await?;
            if made.contains(r#""error""#) {
                return Err(format!("nats-server made no consumer: {made}").into());
            }
            out.push(tokio::spawn(async move {
                let _write = write;
                let mut heard = vec![Instant::now(); events];
                for _ in 0..events {
                    let (_, body) = timeout(WAIT_MAX, reader.message()).await.ok()?.ok()?;
                    *heard.get_mut(number(&body)?)? = Instant::now();
                }
                Some(heard)
            }));
        }
        Ok(out)
    }

    /// Publishes with at most `window` unacknowledged, each not before it is due; when each was acknowledged.
    pub async fn publish(
        &self,
        texts: &[String],
        window: usize,
        due: impl Fn(usize) -> Instant,
    ) -> Result<Vec<Instant>> {
        let (mut reader, mut write) = self.connect().await?;
        write.write_all(b"SUB ack.* 1\r\n").await?;
        let permits = Arc::new(Semaphore::new(window));
        let (freed, count) = (permits.clone(), texts.len());
        let acks = tokio::spawn(async move {
            let mut acked = vec![Instant::now(); count];
            for _ in 0..count {
                let (subject, body) = reader.message().await.ok()?;
                let at = subject.strip_prefix("ack.").and_then(|n| n.parse::<usize>().ok())?;
                if !body.starts_with(b"{\"stream\"") {
                    return None;
                }
                *acked.get_mut(at)? = Instant::now();
                freed.add_permits(1);
            }
            Some(acked)
        });
        for (n, text) in texts.iter().enumerate() {
            tokio::time::sleep_until(due(n).into()).await;
            timeout(WAIT_MAX, permits.acquire()).await??.forget();
            let body = format!("{n} {text}");
            write.write_all(format!("PUB talk ack.{n} {}\r\n{body}\r\n", body.len()).as_bytes()).await?;
        }
        Ok(timeout(WAIT_MAX, acks).await??.ok_or("nats-server did not acknowledge everything")?)
    }
}

fn number(body: &[u8]) -> Option<usize> {
    std::str::from_utf8(body.split(|b| *b == b' ').next()?).ok()?.parse().ok()
}

struct Reader(BufReader<OwnedReadHalf>);

impl Reader {
    /// The next message: its subject and body.
    async fn message(&mut self) -> Result<(String, Vec<u8>)> {
        let mut line = String::new();
        loop {
            line.clear();
            if self.0.read_line(&mut line).await? == 0 {
                return Err("nats-server hung up".into());
            }
            let Some((subject, len)) = message_line(&line) else {
                if line.starts_with("-ERR") {
                    return Err(format!("nats-server: {}", line.trim()).into());
                }
                continue;
            };
            let subject = subject.to_owned();
            let mut body = vec![0; len.min(BODY_LEN_MAX) + 2];
            self.0.read_exact(&mut body).await?;
            body.truncate(body.len() - 2);
            return Ok((subject, body));
        }
    }
}

/// `MSG subject sid [reply] length`.
fn message_line(line: &str) -> Option<(&str, usize)> {
    let mut words = line.strip_prefix("MSG ")?.split_whitespace();
    Some((words.next()?, words.next_back()?.parse().ok()?))
}

/// More than any message here has.
const BODY_LEN_MAX: usize = 1 << 20;
const MISSING: &str = "nats-server is not installed (Debian: apt-get install nats-server)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_lines_read_with_and_without_a_reply() {
        assert_eq!(message_line("MSG talk 1 12\r\n"), Some(("talk", 12)));
        assert_eq!(message_line("MSG talk 1 $JS.ACK.x 7\r\n"), Some(("talk", 7)));
        assert_eq!(message_line("PING\r\n"), None);
        assert_eq!(message_line("MSG talk\r\n"), None);
    }

    #[test]
    fn versions_that_sync_are_known() {
        assert!(!syncs_always("2.9.10") && syncs_always("2.10.0") && syncs_always("3.0.1") && !syncs_always(""));
    }

    #[test]
    fn the_number_stands_first() {
        assert_eq!(number(b"17 hello there"), Some(17));
        assert_eq!(number(b"hello"), None);
    }
}

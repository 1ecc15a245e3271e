//! tidings as people run it: the program with a home of its own, on loopback, spoken to over its socket.

use crate::{Result, WAIT_MAX, machine};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// A running node.
pub struct Node {
    program: PathBuf,
    pub home: PathBuf,
    process: Child,
    socket: PathBuf,
}

impl Node {
    /// As it comes, on a port that is free.
    pub async fn start(program: &Path, home: &Path) -> Result<Node> {
        Node::start_with(program, home, &[], &[]).await
    }

    /// Takes all that is said live, however fast it comes: as it comes, more than 250 a second are left to sync, in large pieces.
    pub async fn start_without_budget(program: &Path, home: &Path) -> Result<Node> {
        Node::start_with(program, home, &[], &[("TIDINGS_LIVE_PER_SECOND", "100000")]).await
    }

    pub async fn start_with(
        program: &Path,
        home: &Path,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<Node> {
        let mut command = Command::new(program);
        command.args(["--json", "--home"]).arg(home).envs(environment.iter().copied());
        command.args(["up", "--no-mdns", "--listen", "/ip4/127.0.0.1/tcp/0"]).args(arguments);
        if let Some(folder) = home.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let log = std::fs::File::create(home.with_extension("log"))?;
        let mut process = command.stdout(Stdio::piped()).stderr(log).kill_on_drop(true).spawn()?;
        let mut lines = BufReader::new(process.stdout.take().ok_or("no output")?).lines();
        let began = timeout(WAIT_MAX, lines.next_line()).await??;
        began.ok_or_else(|| std::fs::read_to_string(home.with_extension("log")).unwrap_or_default())?;
        let running: Value = serde_json::from_slice(&std::fs::read(home.join("node.json"))?)?;
        let socket = running["socket"].as_str().ok_or("node.json names no socket")?.into();
        Ok(Node { program: program.to_owned(), home: home.to_owned(), process, socket })
    }

    pub fn pid(&self) -> u32 {
        self.process.id().unwrap_or(0)
    }

    pub fn cpu_seconds(&self) -> f64 {
        machine::cpu_seconds(self.pid())
    }

    /// Ends as `tidings down` does.
    pub async fn stop(mut self) -> Result<()> {
        self.run(&["down"]).await?;
        timeout(WAIT_MAX, self.process.wait()).await??;
        Ok(())
    }

    /// Runs a command in this home; what it prints as JSON.
    pub async fn run(&self, arguments: &[&str]) -> Result<Value> {
        let mut command = Command::new(&self.program);
        command.args(["--json", "--home"]).arg(&self.home).args(arguments).kill_on_drop(true);
        let output = timeout(ALL_MAX, command.output()).await.map_err(|_| format!("tidings {arguments:?} hangs"))??;
        if !output.status.success() {
            return Err(format!("tidings {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr)).into());
        }
        Ok(serde_json::from_slice(&output.stdout).unwrap_or(Value::Null))
    }

    pub async fn get(&self, path: &str) -> Result<Value> {
        Connection::open(&self.socket).await?.ask("GET", path, "").await
    }

    /// A connection of its own to this node's API.
    pub async fn connection(&self) -> Result<Connection> {
        Connection::open(&self.socket).await
    }

    /// A link into a room.
    pub async fn link(&self, room: &str) -> Result<String> {
        let link = self.run(&["room", "invite", room]).await?;
        Ok(link["link"].as_str().ok_or("no link")?.to_owned())
    }

    pub async fn join(&self, link: &str) -> Result<()> {
        self.run(&["room", "join", link, "--wait", "30s"]).await.map(drop)
    }

    /// Waits until so many peers are connected, and for two more heartbeats of the mesh between them.
    pub async fn settled(&self, peers: u64) -> Result<()> {
        let began = Instant::now();
        while self.get("/v1/status").await?["peers"].as_u64().unwrap_or(0) < peers {
            if began.elapsed() > WAIT_MAX {
                return Err("the peers did not connect".into());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        tokio::time::sleep(SETTLES).await;
        Ok(())
    }

    /// Events held.
    pub async fn events(&self) -> Result<u64> {
        Ok(self.get("/v1/status").await?["events"].as_u64().unwrap_or(0))
    }

    /// Says these in a room over several connections at once, none before it is due; when each was on disk here.
    pub async fn say(
        &self,
        room: &str,
        texts: &[String],
        due: impl Fn(usize) -> Instant + Send + Sync + Clone + 'static,
    ) -> Result<Vec<Instant>> {
        let rooms = [room.to_owned()];
        self.say_in(&rooms, texts, due).await
    }

    /// As `say`, message by message in the next of several rooms.
    pub async fn say_in(
        &self,
        rooms: &[String],
        texts: &[String],
        due: impl Fn(usize) -> Instant + Send + Sync + Clone + 'static,
    ) -> Result<Vec<Instant>> {
        let mut tasks = Vec::new();
        for sender in 0..SENDERS {
            let part: Vec<(usize, String, String)> = (sender..texts.len())
                .step_by(SENDERS)
                .map(|n| (n, rooms[n % rooms.len()].clone(), texts[n].clone()))
                .collect();
            let (socket, due) = (self.socket.clone(), due.clone());
            tasks.push(tokio::spawn(async move {
                let mut connection = Connection::open(&socket).await?;
                let mut acked = Vec::with_capacity(part.len());
                for (n, room, text) in part {
                    tokio::time::sleep_until(due(n).into()).await;
                    let body = json!({"text": text}).to_string();
                    connection.ask("POST", &format!("/v1/rooms/{room}/messages"), &body).await?;
                    acked.push((n, Instant::now()));
                }
                Result::Ok(acked)
            }));
        }
        let mut out = vec![Instant::now(); texts.len()];
        for task in tasks {
            task.await??.into_iter().for_each(|(n, at)| out[n] = at);
        }
        Ok(out)
    }

    /// Waits until this node's screens have been told of so many messages of the room `talk`; when that was of each, by the number that it begins
    /// with.
    pub async fn hears(&self, count: usize) -> Result<JoinHandle<Result<Vec<Instant>>>> {
        let mut stream = BufReader::new(UnixStream::connect(&self.socket).await?);
        // Of this version the answer is not cut into chunks.
        stream.get_mut().write_all(b"GET /v1/events HTTP/1.0\r\nhost: localhost\r\n\r\n").await?;
        let (mut line, socket) = (String::new(), self.socket.clone());
        while timeout(WAIT_MAX, stream.read_line(&mut line)).await?? > 2 {
            line.clear();
        }
        Ok(tokio::spawn(async move {
            let mut heard = vec![None; count];
            // What keeps the stream alive must not keep this waiting.
            let ended = timeout(HEAR_MAX, hear(&mut stream, &socket, &mut heard)).await;
            let missing = heard.iter().filter(|at| at.is_none()).count();
            let problem = match ended {
                Ok(Ok(())) => String::new(),
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("{} s passed", HEAR_MAX.as_secs()),
            };
            let all: Option<Vec<Instant>> = heard.into_iter().collect();
            all.ok_or_else(|| format!("a listener was not told {missing} of {count} messages: {problem}").into())
        }))
    }
}

/// Notes when each message came, until all have or the stream ends.
async fn hear(stream: &mut BufReader<UnixStream>, socket: &Path, heard: &mut [Option<Instant>]) -> Result<()> {
    let (mut line, mut came) = (Vec::new(), false);
    while heard.iter().any(Option::is_none) {
        // What is read of a line stays in it when the time is over.
        match timeout(QUIET, stream.read_until(b'\n', &mut line)).await {
            Ok(Ok(0)) => return Err("the node hung up".into()),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(error.into()),
            // Nothing more comes: what came with others lies further back.
            Err(_) => {
                if std::mem::take(&mut came) {
                    read_pages(socket, heard).await?;
                }
                continue;
            }
        }
        let text = std::mem::take(&mut line);
        let Some(text) = text.strip_prefix(b"data: ") else { continue };
        let notice: Value = serde_json::from_slice(text)?;
        match notice["type"].as_str() {
            Some("message") => note(&notice["message"], heard),
            // Several came at once: whoever shows the room reads its newest page.
            Some("backfill") => drop(read_page(&mut Connection::open(socket).await?, heard, "").await?),
            _ => continue,
        }
        came = true;
    }
    Ok(())
}

/// Reads all of a room's pages.
async fn read_pages(socket: &Path, heard: &mut [Option<Instant>]) -> Result<()> {
    let (mut connection, mut before) = (Connection::open(socket).await?, String::new());
    while let Some(first) = read_page(&mut connection, heard, &before).await? {
        before = format!("&before={first}");
    }
    Ok(())
}

/// Reads a page; the id of its first message, none where it is empty.
async fn read_page(connection: &mut Connection, heard: &mut [Option<Instant>], before: &str) -> Result<Option<String>> {
    let page = connection.ask("GET", &format!("/v1/rooms/talk/messages?limit=1000{before}"), "").await?;
    let lines = page.as_array().map(Vec::as_slice).unwrap_or_default();
    lines.iter().for_each(|message| note(message, heard));
    Ok(lines.iter().find_map(|line| line["id"].as_str()).map(str::to_owned))
}

fn note(message: &Value, heard: &mut [Option<Instant>]) {
    let number = message["text"].as_str().and_then(number);
    if let Some(at) = number.and_then(|n| heard.get_mut(n)).filter(|at| at.is_none()) {
        *at = Some(Instant::now());
    }
}

/// So many texts that are not empty, each with its number before it: who hears it knows which it was.
pub fn numbered<'a>(texts: impl Iterator<Item = &'a str>, count: usize) -> Vec<String> {
    let texts = texts.map(str::trim).filter(|text| !text.is_empty() && !text.starts_with('/'));
    // Line by line, as the frames of others are.
    texts.take(count).enumerate().map(|(n, text)| format!("{n} {}", text.replace(['\r', '\n'], " "))).collect()
}

/// The number that a text begins with.
pub fn number(text: &str) -> Option<usize> {
    text.split(' ').next()?.parse().ok()
}

/// A connection over which one question follows another.
pub struct Connection(BufReader<UnixStream>);

impl Connection {
    pub async fn open(socket: &Path) -> Result<Self> {
        Ok(Connection(BufReader::new(UnixStream::connect(socket).await?)))
    }

    /// Asks one question; the answer as JSON.
    pub async fn ask(&mut self, method: &str, path: &str, body: &str) -> Result<Value> {
        Ok(serde_json::from_slice(&self.ask_bytes(method, path, body).await?).unwrap_or(Value::Null))
    }

    /// The same, as it came.
    pub async fn ask_bytes(&mut self, method: &str, path: &str, body: &str) -> Result<Vec<u8>> {
        timeout(WAIT_MAX, self.exchange(method, path, body)).await.map_err(|_| format!("{path}: no answer"))?
    }

    async fn exchange(&mut self, method: &str, path: &str, body: &str) -> Result<Vec<u8>> {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.0.get_mut().write_all(head.as_bytes()).await?;
        let (mut line, mut len, mut status) = (String::new(), 0, String::new());
        loop {
            line.clear();
            if self.0.read_line(&mut line).await? == 0 {
                return Err("the node hung up".into());
            }
            let lower = line.to_ascii_lowercase();
            if lower.starts_with("http/") {
                status = line.split(' ').nth(1).unwrap_or_default().to_owned();
            } else if let Some(text) = lower.strip_prefix("content-length:") {
                len = text.trim().parse()?;
            } else if line.trim().is_empty() {
                break;
            }
        }
        let mut answer = vec![0; len];
        self.0.read_exact(&mut answer).await?;
        if !status.starts_with('2') {
            return Err(format!("{path}: {status} {}", String::from_utf8_lossy(&answer)).into());
        }
        Ok(answer)
    }
}

/// Connections over which is said at once, one message under way on each.
const SENDERS: usize = 64;
/// Importing a million on a slow disk.
const ALL_MAX: Duration = Duration::from_secs(600);
/// When nothing has come for so long, what is missing is looked for.
const QUIET: Duration = Duration::from_millis(500);
/// Until a message takes the shortest way: before, what is said comes with the history.
const SETTLES: Duration = Duration::from_secs(2);
/// Until the last message is heard, counted from before the first: half a minute on a quiet machine.
const HEAR_MAX: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_numbered_and_numbers_found() {
        let texts = numbered(["", "one\ntwo", "/me goes", " three "].into_iter(), 9);
        assert_eq!(texts, ["0 one two", "1 three"]);
        assert_eq!(texts.iter().map(|t| number(t)).collect::<Vec<_>>(), [Some(0), Some(1)]);
        assert_eq!(number("hello"), None);
    }
}

//! tidings as people run it: the program with a home of its own, on loopback, spoken to over its socket.

use crate::{Result, machine};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

/// A running node.
pub struct Node {
    program: PathBuf,
    pub home: PathBuf,
    process: Child,
    socket: PathBuf,
}

impl Node {
    pub async fn start(program: &Path, home: &Path) -> Result<Node> {
        let mut command = Command::new(program);
        command.args(["--json", "--home"]).arg(home);
        command.args(["up", "--no-mdns", "--listen", "/ip4/127.0.0.1/tcp/0"]);
        let mut process = command.stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let mut lines = BufReader::new(process.stdout.take().ok_or("no output")?).lines();
        lines.next_line().await?.ok_or("the node did not start")?;
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
        self.process.wait().await?;
        Ok(())
    }

    /// Runs a command in this home; what it prints as JSON.
    pub async fn run(&self, arguments: &[&str]) -> Result<Value> {
        let output =
            Command::new(&self.program).args(["--json", "--home"]).arg(&self.home).args(arguments).output().await?;
        if !output.status.success() {
            return Err(format!("tidings {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr)).into());
        }
        Ok(serde_json::from_slice(&output.stdout).unwrap_or(Value::Null))
    }

    pub async fn get(&self, path: &str) -> Result<Value> {
        Connection::open(&self.socket).await?.ask("GET", path, "").await
    }

    /// Says these in a room over several connections at once; returns once all are on disk here.
    pub async fn say(&self, room: &str, texts: &[String]) -> Result<()> {
        let path = format!("/v1/rooms/{room}/messages");
        let parts: Vec<Vec<String>> =
            (0..SENDERS).map(|n| texts.iter().skip(n).step_by(SENDERS).cloned().collect()).collect();
        let mut tasks = Vec::new();
        for part in parts {
            let (path, socket) = (path.clone(), self.socket.clone());
            tasks.push(tokio::spawn(async move {
                let mut connection = Connection::open(&socket).await.map_err(|e| e.to_string())?;
                for text in part {
                    let body = json!({"text": text}).to_string();
                    connection.ask("POST", &path, &body).await.map_err(|e| e.to_string())?;
                }
                Ok::<(), String>(())
            }));
        }
        for task in tasks {
            task.await??;
        }
        Ok(())
    }

    /// Waits until this node's screens have been told of so many messages; when that was.
    pub async fn hears(&self, count: usize) -> Result<tokio::task::JoinHandle<Option<Instant>>> {
        let mut stream = BufReader::new(UnixStream::connect(&self.socket).await?);
        // Of this version the answer is not cut into chunks.
        stream.get_mut().write_all(b"GET /v1/events HTTP/1.0\r\nhost: localhost\r\n\r\n").await?;
        let mut line = String::new();
        while stream.read_line(&mut line).await? > 2 {
            line.clear();
        }
        Ok(tokio::spawn(async move {
            let mut heard = std::collections::HashSet::new();
            while heard.len() < count {
                let mut line = String::new();
                if tokio::time::timeout(HEAR_MAX, stream.read_line(&mut line)).await.ok()?.ok()? == 0 {
                    return None;
                }
                let Some(text) = line.strip_prefix("data: ") else { continue };
                let notice: Value = serde_json::from_str(text).ok()?;
                if notice["type"] == "message" {
                    heard.insert(notice["message"]["id"].as_str()?.to_owned());
                }
            }
            Some(Instant::now())
        }))
    }
}

/// A connection over which one question follows another.
struct Connection(BufReader<UnixStream>);

impl Connection {
    async fn open(socket: &Path) -> Result<Self> {
        Ok(Connection(BufReader::new(UnixStream::connect(socket).await?)))
    }

    async fn ask(&mut self, method: &str, path: &str, body: &str) -> Result<Value> {
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
        Ok(serde_json::from_slice(&answer).unwrap_or(Value::Null))
    }
}

/// Connections over which is said at once, one message under way on each.
const SENDERS: usize = 64;
const HEAR_MAX: Duration = Duration::from_secs(120);

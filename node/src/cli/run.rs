//! Running a node, and how it is.

use super::Context;
use super::args::{ConfigCommand, PeersCommand, UpArgs};
use super::exit::{Failure, with_causes};
use super::output::{short, time};
use crate::api::client::{Client, segment};
use crate::api::people::Ban;
use crate::api::server::{ServeError, Server};
use crate::api::types::{AddPeer, Peer, Status};
use crate::config::{Resolved, Settings};
use crate::home::{Home, explain};
use crate::network::NetworkError;
use crate::node::{Node, StartError};
use crate::tui::run::ChatError;
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tidings_storage::{StorageError, Store};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match &error {
            StartError::Peer(_) | StartError::Names(_) | StartError::Network(NetworkError::Malformed(_)) => {
                Failure::usage(error.to_string())
            }
            StartError::Storage(source @ (StorageError::Rocks(_) | StorageError::DiskFull(_)))
                if !source.is_damage() =>
            {
                Failure::failed(
                    with_causes(source),
                    format!("{ACKNOWLEDGED_IS_SAFE}; `tidings doctor` looks for the cause"),
                )
            }
            StartError::Storage(source) => Failure::failed(with_causes(source), "`tidings doctor` looks for the cause"),
            _ => Failure::failed(error.to_string(), ""),
        }
    }
}

impl From<ServeError> for Failure {
    fn from(error: ServeError) -> Self {
        match &error {
            ServeError::Address(_) | ServeError::NotLoopback(_) => Failure::usage(error.to_string()),
            _ => Failure::failed(error.to_string(), ""),
        }
    }
}

/// Logs go to stderr; `TIDINGS_LOG` says how much.
pub(super) fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("TIDINGS_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    drop(tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).try_init());
}

/// The chat owns the screen: logs go to a file in the home, begun anew each time.
fn log_to_file(home: &Home) -> Result<(), Failure> {
    let path = home.path().join("chat.log");
    let file = std::fs::File::create(&path).map_err(|e| explain(&path, e))?;
    let filter = EnvFilter::try_from_env("TIDINGS_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    drop(tracing_subscriber::fmt().with_env_filter(filter).with_writer(file).with_ansi(false).try_init());
    Ok(())
}

pub(super) fn resolve(context: &Context, args: UpArgs) -> Result<Resolved, Failure> {
    let flags = Settings {
        listen: args.listen,
        peers: args.peer,
        api: args.api,
        no_mdns: args.no_mdns,
        disk_max_bytes: args.disk_max_bytes,
        ..Settings::default()
    };
    Settings::resolve(&context.home, flags).map_err(|e| Failure::usage(e.to_string()))
}

pub(super) async fn up(context: &Context, args: UpArgs) -> Result<ExitCode, Failure> {
    log_to_stderr();
    let home = Home::open(&context.home)?;
    let settings = resolve(context, args)?.settings;
    let (node, server) = start(&home, &settings).await?;
    let handle = node.handle();
    handle.wait_listening().await;
    let identity = handle.identity().map_err(|e| Failure::failed(e.to_string(), ""))?;
    let ready = json!({
        "ready": true, "user": identity.user, "peer": identity.peer, "listen": handle.listening(),
        "api": server.running.api,
    });
    context.out.show(&ready, |_| {
        let listen = handle.listening().join("\n        ");
        format!(
            "running as {}\nhome    {}\nlisten  {listen}\napi     {}\nstop it with Ctrl-C, or tidings down",
            if identity.name.is_empty() { short(&identity.user) } else { identity.name.clone() },
            home.path().display(),
            server.running.api
        )
    });
    let failed = until_stopped(&node, &server).await;
    server.stop();
    node.stop().await;
    match failed {
        None => Ok(ExitCode::SUCCESS),
        Some(reason) => Err(Failure::failed(reason, ACKNOWLEDGED_IS_SAFE)),
    }
}

async fn until_stopped(node: &Node, server: &Server) -> Option<String> {
    let mut stop = server.stop_asked.clone();
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return Some("no signals can be handled".to_owned());
    };
    tokio::select! {
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
        _ = stop.wait_for(|stop| *stop) => None,
        reason = node.failed() => Some(reason),
    }
}

pub(super) async fn chat(context: &Context, room: Option<String>, args: UpArgs) -> Result<ExitCode, Failure> {
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        return Err(Failure::failed("the chat needs a terminal", NO_TERMINAL));
    }
    let home = Home::open(&context.home)?;
    log_to_file(&home)?;
    if let Ok(client) = context.client()
        && client.get::<Status>("/v1/status").await.is_ok()
    {
        return run_chat(client, room).await;
    }
    let settings = resolve(context, args)?.settings;
    show_words_once(&home)?;
    let (node, server) = start(&home, &settings).await?;
    let mut stop = server.stop_asked.clone();
    let result = tokio::select! {
        result = run_chat(Client::new(server.running.socket.clone().into()), room) => result,
        _ = stop.wait_for(|stop| *stop) => Ok(ExitCode::SUCCESS),
        reason = node.failed() => Err(Failure::failed(reason, ACKNOWLEDGED_IS_SAFE)),
    };
    eprintln!("the node stops too; to keep it running for others and for the next time: tidings up");
    server.stop();
    node.stop().await;
    result
}

/// Starts a node and its API. On a busy disk that takes seconds: people are told what they wait for.
async fn start(home: &Home, settings: &Settings) -> Result<(Node, Server), Failure> {
    let path = home.path().display().to_string();
    let patience = tokio::spawn(async move {
        tokio::time::sleep(START_QUIET).await;
        eprintln!("opening {path}, which takes longer while the disk is busy");
    });
    let node = Node::start(home, settings).await;
    patience.abort();
    let node = node?;
    match Server::start(home, node.handle(), settings.api.as_deref()).await {
        Ok(server) => Ok((node, server)),
        Err(error) => {
            node.stop().await;
            Err(error.into())
        }
    }
}

async fn run_chat(client: Client, room: Option<String>) -> Result<ExitCode, Failure> {
    let todo = |error: &ChatError| match error {
        ChatError::Terminal(_) => NO_TERMINAL,
        ChatError::Broken => "chat.log in the home may say more",
        ChatError::Unsent(_) => "send it again: tidings send ROOM TEXT",
    };
    match crate::tui::run::run(client, room).await {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(Failure::failed(with_causes(&error), todo(&error))),
    }
}

/// The recovery words are shown once, before the chat draws.
fn show_words_once(home: &Home) -> Result<(), Failure> {
    if home.read_secret("words-shown")?.is_some() {
        return Ok(());
    }
    let Some(phrase) = crate::keys::Keys::open(home)?.phrase else { return Ok(()) };
    eprintln!("Whoever has these 24 words is you. Write them down, show nobody (again: tidings id words):\n");
    eprintln!("{}\n", phrase.words().as_str());
    eprintln!("Press Enter to go on.");
    std::io::stdin().read_line(&mut String::new())?;
    Ok(home.write_secret("words-shown", b"")?)
}

pub(super) async fn down(context: &Context) -> Result<ExitCode, Failure> {
    let client = context.client()?;
    let _: Value = client.post("/v1/stop", &Value::Null).await?;
    // The node takes back its word, ends what is under way, and closes the store: only then may the next one start.
    let home = Home::open(&context.home)?;
    let is_there = || home.running().is_some() || Store::holder(&home.store_path()).is_some();
    let begun = Instant::now();
    while is_there() && begun.elapsed() < STOP_PATIENCE {
        tokio::time::sleep(STOP_POLL).await;
    }
    if is_there() {
        let what = "the node has not stopped yet";
        return Err(Failure::unfinished(what, "wait a little, or end its process: tidings doctor"));
    }
    context.out.show(&json!({}), |_| "stopped".to_owned());
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn status(context: &Context) -> Result<ExitCode, Failure> {
    let status: Status = context.client()?.get("/v1/status").await?;
    context.out.show(&status, |s| {
        format!(
            "running for {} s, version {}\n{} peers, {} rooms{}, {} events, {:.1} MB{} on disk\n{}",
            s.uptime_s,
            s.version,
            s.peers,
            s.rooms,
            if s.behind > 0 { format!(" ({} with something missing)", s.behind) } else { String::new() },
            s.events,
            s.disk_bytes as f64 / 1e6,
            s.disk_max_bytes.map(|max| format!(" of {}", super::keep::size(max))).unwrap_or_default(),
            s.listen.join("\n")
        )
    });
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn peers(context: &Context, command: Option<PeersCommand>) -> Result<ExitCode, Failure> {
    let client = context.client()?;
    if let Some(command) = command {
        return change_peers(context, &client, command).await;
    }
    let peers: Vec<Peer> = client.get("/v1/peers").await?;
    context.out.show(&peers, |peers| {
        let line = |p: &Peer| {
            let rtt = p.rtt_ms.map(|ms| format!("{ms:.1} ms")).unwrap_or_else(|| "-".to_owned());
            format!(
                "{} {:<3} {rtt:<8} {} rooms shared, {} behind  {}",
                short(&p.peer),
                p.direction,
                p.rooms,
                p.behind,
                p.address
            )
        };
        if peers.is_empty() {
            "no peers connected".to_owned()
        } else {
            peers.iter().map(line).collect::<Vec<_>>().join("\n")
        }
    });
    Ok(ExitCode::SUCCESS)
}

async fn change_peers(context: &Context, client: &Client, command: PeersCommand) -> Result<ExitCode, Failure> {
    match command {
        PeersCommand::Add { address } => {
            let _: Value = client.post("/v1/peers", &AddPeer { address }).await?;
            context.out.show(&json!({}), |_| "dialling; it is dialled again whenever it is lost".to_owned());
        }
        PeersCommand::Ban { peer } => {
            let _: Value = client.post(&format!("/v1/bans/{}", segment(&peer)), &Value::Null).await?;
            context.out.show(&json!({}), |_| format!("{peer} is banned: no connection in either direction"));
        }
        PeersCommand::Unban { peer } => {
            let _: Value = client.delete(&format!("/v1/bans/{}", segment(&peer))).await?;
            context.out.show(&json!({}), |_| format!("{peer} may connect again"));
        }
        PeersCommand::Banned => {
            let bans: Vec<Ban> = client.get("/v1/bans").await?;
            context.out.show(&bans, |bans| {
                let line = |ban: &Ban| format!("{}  since {}", ban.peer, time(ban.since_ms));
                if bans.is_empty() { "none".to_owned() } else { bans.iter().map(line).collect::<Vec<_>>().join("\n") }
            });
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn doctor(context: &Context, fix: bool) -> Result<ExitCode, Failure> {
    let checks = super::doctor::checks(context, fix).await;
    let bad = checks.iter().any(|c| !c.ok);
    context.out.show(&json!({ "checks": checks }), |_| {
        let line = |c: &super::doctor::Check| {
            let mark = if c.ok { "ok  " } else { "FAIL" };
            let fix = if c.ok || c.fix.is_empty() { String::new() } else { format!("\n     {}", c.fix) };
            format!("{mark} {}: {}{fix}", c.name, c.detail)
        };
        checks.iter().map(line).collect::<Vec<_>>().join("\n")
    });
    Ok(if bad { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

pub(super) fn config(context: &Context, command: &ConfigCommand) -> Result<ExitCode, Failure> {
    let ConfigCommand::Show { origin } = command;
    let resolved = resolve(context, UpArgs::default())?;
    let settings = serde_json::to_value(&resolved.settings).unwrap_or_default();
    let mut value = json!({ "settings": settings, "home": context.home });
    if *origin {
        let sources: serde_json::Map<String, Value> =
            resolved.sources.iter().map(|(name, source)| ((*name).to_owned(), json!(source.name()))).collect();
        value["origin"] = Value::Object(sources);
    }
    context.out.show(&value, |_| {
        let mut text = format!("home = {}", context.home.display());
        for (name, source) in &resolved.sources {
            text.push_str(&format!("\n{name} = {}", settings[*name]));
            if *origin {
                text.push_str(&format!("  # {}", source.name()));
            }
        }
        text
    });
    Ok(ExitCode::SUCCESS)
}

const ACKNOWLEDGED_IS_SAFE: &str = "what was acknowledged is on disk; mend it and start again";
const NO_TERMINAL: &str = "without one: tidings up, tidings read ROOM and tidings send ROOM TEXT";
/// How long a start may take without a word.
const START_QUIET: Duration = Duration::from_secs(2);
/// Longer than a node takes to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(40);
const STOP_POLL: Duration = Duration::from_millis(20);

pub(super) fn version(context: &Context) -> Result<ExitCode, Failure> {
    let value = json!({
        "version": env!("CARGO_PKG_VERSION"), "sync": tidings_protocol::wire::SYNC_VERSION,
        "rules": tidings_protocol::control::RULES,
    });
    context.out.show(&value, |_| format!("tidings {}", env!("CARGO_PKG_VERSION")));
    Ok(ExitCode::SUCCESS)
}

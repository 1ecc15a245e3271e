//! The command line: one module for each group of commands. Commands reach a node only through its API; `up` and `chat`
//! also start one.
//!
//! Names, JSON and exit codes are a contract; human text is not. Nothing but the answer goes to stdout.

pub mod args;
mod audit;
mod delivery;
mod devices;
mod doctor;
mod erasures;
mod exit;
pub mod files;
mod history;
mod identity;
mod inbox;
mod keep;
mod messages;
mod moderation;
mod output;
mod people;
pub mod purge;
mod room_args;
mod rooms;
mod run;
pub mod search;
mod upkeep;

use self::args::{Cli, Command};
use self::exit::Failure;
use self::output::Output;
use crate::api::client::Client;
use crate::api::types::Running;
use crate::home::Home;
use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tidings_storage::Store;

/// Runs the command that was typed; the exit code says how it went.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return not_understood(&error),
    };
    let out = Output { json: cli.json };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::failed(format!("no runtime: {error}"), "try again").report(out),
    };
    let result = runtime.block_on(dispatch(cli));
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    match result {
        Ok(code) => code,
        Err(failure) => failure.report(out),
    }
}

/// Help and version were asked for, or it makes no sense: with --json that is said as JSON too.
fn not_understood(error: &clap::Error) -> ExitCode {
    let json = error.use_stderr() && std::env::args_os().any(|argument| argument == "--json");
    if json {
        let text = error.to_string();
        // Its first paragraph: what is wrong, and, set in below, with what.
        let lines: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
        let title = lines.join(" ").trim_start_matches("error: ").to_owned();
        return Failure::usage(title).with_todo("tidings help lists the commands").report(Output { json });
    }
    drop(error.print());
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// What every command knows.
struct Context {
    home: PathBuf,
    out: Output,
}

impl Context {
    /// A client of the node that runs in this home.
    fn client(&self) -> Result<Client, Failure> {
        let home = Home::find(&self.home)?.ok_or_else(Failure::not_running)?;
        let running = match home.running() {
            Some(running) => running,
            None => wait_for_start(&home).ok_or_else(Failure::not_running)?,
        };
        Ok(Client::new(running.socket.into()))
    }
}

/// Where a process has the store and has left no word yet, a node is starting, which takes seconds on a busy disk.
fn wait_for_start(home: &Home) -> Option<Running> {
    let begun = Instant::now();
    let mut is_told = false;
    while begun.elapsed() < START_PATIENCE {
        Store::holder(&home.store_path())?;
        if begun.elapsed() > START_QUIET && !is_told {
            eprintln!("the node is starting or stopping, waiting for it");
            is_told = true;
        }
        std::thread::sleep(START_POLL);
        if let Some(running) = home.running() {
            return Some(running);
        }
    }
    None
}

/// How long a command waits for a node that is starting, and when it says so.
const START_PATIENCE: Duration = Duration::from_secs(30);
const START_QUIET: Duration = Duration::from_secs(1);
const START_POLL: Duration = Duration::from_millis(20);

async fn dispatch(cli: Cli) -> Result<ExitCode, Failure> {
    let home = Home::locate(cli.home)?;
    let context = Context { home, out: Output { json: cli.json } };
    match cli.command {
        Command::Up(args) => run::up(&context, args).await,
        Command::Chat { room, run } => run::chat(&context, room, run).await,
        command => {
            run::log_to_stderr();
            ask(&context, command).await
        }
    }
}

async fn ask(context: &Context, command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Down => run::down(context).await,
        Command::Status => run::status(context).await,
        Command::Doctor { fix } => run::doctor(context, fix).await,
        Command::Peers { command } => run::peers(context, command).await,
        Command::Config { command } => run::config(context, &command),
        Command::Version => run::version(context),
        Command::Id { command } => identity::id(context, command).await,
        Command::People { command } => people::people(context, command).await,
        Command::Room { command } => rooms::room(context, command).await,
        Command::Invite { command } => rooms::invite(context, command).await,
        Command::Dm { .. } => Err(Failure::refused("direct rooms are not built yet: make a room and invite them")),
        Command::Send(args) => messages::send(context, args).await,
        Command::Read(args) => messages::read(context, args).await,
        Command::Edit { event, text } => messages::edit(context, &event, text).await,
        Command::Adopt { event } => messages::adopt(context, &event).await,
        Command::Erase { event, wait } => erasures::erase(context, &event, wait.as_deref()).await,
        Command::Erased { event, wait } => erasures::erased(context, &event, wait.as_deref()).await,
        Command::Hide { event, undo } => moderation::hide(context, &event, undo).await,
        Command::Report { event, reason } => moderation::report(context, &event, reason).await,
        Command::React { event, emoji, remove } => messages::react(context, &event, &emoji, remove).await,
        Command::File { command } => files::file(context, command).await,
        Command::Import(args) => history::import(context, args).await,
        Command::Export { room, output } => history::export(context, &room, output).await,
        Command::Purge { command } => purge::purge(context, command).await,
        Command::Audit { room, wait } => audit::audit(context, &room, &wait).await,
        Command::Verify { file: Some(file) } => history::verify(context, &file),
        Command::Verify { file: None } => upkeep::verify(context).await,
        Command::Backup(args) => upkeep::backup(context, args).await,
        Command::Restore(args) => upkeep::restore(context, &args),
        Command::Inbox(args) => inbox::inbox(context, args).await,
        Command::Threads(args) => inbox::threads(context, args).await,
        Command::Search(args) => search::search(context, args).await,
        Command::Up(_) | Command::Chat { .. } => Ok(ExitCode::SUCCESS),
    }
}

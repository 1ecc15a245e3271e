//! The command line: one module for each group of commands. Commands reach a node only through its API; `up` and `chat`
//! also start one.
//!
//! Names, JSON and exit codes are a contract; human text is not. Nothing but the answer goes to stdout.

pub mod args;
mod doctor;
mod exit;
mod history;
mod identity;
mod messages;
mod output;
mod rooms;
mod run;

use self::args::{Cli, Command};
use self::exit::Failure;
use self::output::Output;
use crate::api::client::Client;
use crate::home::Home;
use std::path::PathBuf;
use std::process::ExitCode;

/// Runs a command; the exit code says how it went.
pub fn main(cli: Cli) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::failed(format!("no runtime: {error}"), "try again").report(),
    };
    let result = runtime.block_on(dispatch(cli));
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    match result {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

/// What every command knows.
struct Context {
    home: PathBuf,
    out: Output,
}

impl Context {
    /// A client of the node that runs in this home.
    fn client(&self) -> Result<Client, Failure> {
        let home = Home::existing(&self.home).ok_or_else(Failure::not_running)?;
        let running = home.running().ok_or_else(Failure::not_running)?;
        Ok(Client::new(running.socket.into()))
    }
}

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
        Command::Room { command } => rooms::room(context, command).await,
        Command::Invite { command } => rooms::invite(context, command).await,
        Command::Dm { .. } => Err(Failure::refused("direct rooms are not built yet: make a room and invite them")),
        Command::Send(args) => messages::send(context, args).await,
        Command::Read(args) => messages::read(context, args).await,
        Command::Edit { event, text } => messages::edit(context, &event, text).await,
        Command::Erase { event } => messages::erase(context, &event).await,
        Command::React { event, emoji, remove } => messages::react(context, &event, &emoji, remove).await,
        Command::Import(args) => history::import(context, args).await,
        Command::Export { room, output } => history::export(context, &room, output).await,
        Command::Verify { file } => history::verify(context, file),
        Command::Up(_) | Command::Chat { .. } => Ok(ExitCode::SUCCESS),
    }
}

//! Taking rooms, people's words and single events off this node for good.

use super::Context;
use super::exit::Failure;
use super::output::{is_agreed, short, time};
use crate::api::client::segment;
use crate::api::purge::{Purge, Purged};
use clap::{Subcommand, ValueEnum};
use std::process::ExitCode;

/// What can be done about it.
#[derive(Debug, Subcommand)]
pub enum PurgeCommand {
    /// Take a room off this node, and refuse it from then on.
    Room {
        /// The room.
        room: String,
        /// Invitations made here that are open stay open: from here nobody can close them any more.
        #[arg(long)]
        keep_invites: bool,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Take off what a user said in any room, and keep nothing that they will say.
    User {
        /// Whom.
        user: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Take off what one event says, here already or not.
    Event {
        /// The event.
        event: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Show what is refused here.
    List,
    /// Refuse it no more: peers that have it may bring it back.
    Undo {
        /// What it is.
        kind: Kind,
        /// Which.
        target: String,
    },
}

/// What can be taken off.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Kind {
    /// A room.
    Room,
    /// A user.
    User,
    /// An event.
    Event,
}

pub(super) async fn purge(context: &Context, command: PurgeCommand) -> Result<ExitCode, Failure> {
    let (kind, target, keep_invites, yes) = match command {
        PurgeCommand::Room { room, keep_invites, yes } => (Kind::Room, room, keep_invites, yes),
        PurgeCommand::User { user, yes } => (Kind::User, user, false, yes),
        PurgeCommand::Event { event, yes } => (Kind::Event, event, false, yes),
        PurgeCommand::List => return list(context).await,
        PurgeCommand::Undo { kind, target } => return undo(context, kind, &target).await,
    };
    let client = context.client()?;
    let what = match kind {
        Kind::Room => "the whole room",
        Kind::User => "everything that they said, in every room,",
        Kind::Event => "what it says",
    };
    let question = format!("Take {what} off this node for good ({target})? Others keep it.");
    if !yes && !is_agreed(&question, "this takes it off this node for good, and somebody has to say so")? {
        return Err(Failure::refused("nothing was purged"));
    }
    let body = Purge { kind: name(kind).to_owned(), target, keep_invites };
    let done: Purged = client.post("/v1/purges", &body).await?;
    context.out.show(&done, |done| {
        let events = done.events.unwrap_or(0);
        let what = match kind {
            Kind::Room => format!("{events} events of it are gone, and it is refused from now on"),
            Kind::User => format!("what they said in {events} events is gone, and nothing that they say is kept"),
            Kind::Event if events == 0 => "it was not here, and will not be kept".to_owned(),
            Kind::Event => "what it said is gone".to_owned(),
        };
        format!("purged {} {}: {what}\nothers have it still: this node alone has forgotten it", done.kind, done.target)
    });
    Ok(ExitCode::SUCCESS)
}

async fn list(context: &Context) -> Result<ExitCode, Failure> {
    let purged: Vec<Purged> = context.client()?.get("/v1/purges").await?;
    context.out.show(&purged, |purged| {
        let row = |p: &Purged| {
            let state = if p.done { "" } else { "  not done yet" };
            format!("{:<5} {}  since {}{state}", p.kind, p.target, time(p.since_ms))
        };
        if purged.is_empty() { "nothing".to_owned() } else { purged.iter().map(row).collect::<Vec<_>>().join("\n") }
    });
    Ok(ExitCode::SUCCESS)
}

async fn undo(context: &Context, kind: Kind, target: &str) -> Result<ExitCode, Failure> {
    let path = format!("/v1/purges/{}/{}", name(kind), segment(target));
    let undone: Purged = context.client()?.delete(&path).await?;
    context.out.show(&undone, |undone| {
        let how = match kind {
            Kind::Room => "join it by a link to have it again",
            _ => "what peers have of it is asked for again",
        };
        format!("{} {} is refused no more: {how}", undone.kind, short(&undone.target))
    });
    Ok(ExitCode::SUCCESS)
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Room => "room",
        Kind::User => "user",
        Kind::Event => "event",
    }
}

//! What waits: messages that name me or answer me, threads, and what of a room `read` shows when asked for those alone.

use super::Context;
use super::args::{InboxArgs, ReadArgs, ThreadsArgs};
use super::exit::Failure;
use super::output::{line, name_of_others, one_line, time};
use crate::api::client::{Client, segment};
use crate::api::inbox::{InboxLine, Thread};
use crate::api::types::{Identity, Line, Message};
use std::process::ExitCode;

pub(super) async fn inbox(context: &Context, args: InboxArgs) -> Result<ExitCode, Failure> {
    let before = args.before.map(|event| format!("&before={}", segment(&event))).unwrap_or_default();
    let path = format!("/v1/inbox?limit={}&unread={}{before}", args.limit, args.unread);
    let lines: Vec<InboxLine> = context.client()?.get(&path).await?;
    if lines.is_empty() && !context.out.json {
        line("nothing here names you or answers you");
    }
    lines.iter().for_each(|line| context.out.show(line, human));
    Ok(ExitCode::SUCCESS)
}

fn human(line: &InboxLine) -> String {
    let new = if line.unread { "*" } else { " " };
    let (id, name) = (short_id(&line.message.id), name_of_others(&line.message.name));
    let why = if line.why.iter().any(|why| why == "mention") { "names you" } else { "answers you" };
    let (when, room, text) = (time(line.message.ms), one_line(&line.alias), one_line(&line.message.text));
    format!("{new} {when} {id} {room} {name} {why}: {text}")
}

pub(super) async fn threads(context: &Context, args: ThreadsArgs) -> Result<ExitCode, Failure> {
    let before = args.before.map(|event| format!("&before={}", segment(&event))).unwrap_or_default();
    let path = format!("/v1/rooms/{}/threads?limit={}{before}", segment(&args.room), args.limit);
    let threads: Vec<Thread> = context.client()?.get(&path).await?;
    context.out.show(&threads, |threads| match threads.is_empty() {
        true => "no threads here yet: tidings send ROOM TEXT --reply EVENT begins one".to_owned(),
        false => threads.iter().map(thread).collect::<Vec<_>>().join("\n"),
    });
    Ok(ExitCode::SUCCESS)
}

fn thread(thread: &Thread) -> String {
    let id = short_id(&thread.root);
    let first = match &thread.first {
        Some(message) => format!("{}: {}", name_of_others(&message.name), one_line(&message.text)),
        None => "(its first message is not here)".to_owned(),
    };
    let unread = if thread.unread > 0 { format!(", {} unread", thread.unread) } else { String::new() };
    let (count, name) = (thread.replies, name_of_others(&thread.last_name));
    format!("{id} {first}\n    {count} replies{unread}, the last {} by {name}", time(thread.last_ms))
}

fn short_id(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

/// Which messages of a room `read` shows.
#[derive(Debug, Default)]
pub(super) struct Only {
    /// The same, as a query.
    pub(super) query: String,
    /// Those of the thread that this message began.
    thread: Option<String>,
    /// Those that are for me.
    mentions: bool,
    /// Those of others than this user.
    unread_of: Option<String>,
}

impl Only {
    pub(super) async fn of(client: &Client, room: &str, args: &ReadArgs) -> Result<Self, Failure> {
        if let Some(event) = &args.thread {
            let query = format!("&thread={}", segment(event));
            let newest: Vec<Line> = client.get(&format!("/v1/rooms/{room}/messages?limit=1{query}")).await?;
            let root = newest.into_iter().find_map(|line| match line {
                Line::Message(message) => Some(message.thread.unwrap_or(message.id)),
                Line::Gap { .. } => None,
            });
            return Ok(Only { query, thread: root.or_else(|| Some(event.clone())), ..Only::default() });
        }
        if args.unread {
            let me: Identity = client.get("/v1/id").await?;
            return Ok(Only { query: "&unread=true".to_owned(), unread_of: Some(me.user), ..Only::default() });
        }
        let query = if args.mentions { "&mentions=true" } else { "" };
        Ok(Only { query: query.to_owned(), mentions: args.mentions, ..Only::default() })
    }

    /// Whether a message that comes while following is one of them.
    pub(super) fn takes(&self, message: &Message) -> bool {
        let of_thread = |root: &String| message.id == *root || message.thread.as_ref() == Some(root);
        self.thread.as_ref().is_none_or(of_thread)
            && (!self.mentions || !message.for_you.is_empty())
            && self.unread_of.as_ref().is_none_or(|me| message.user != *me)
    }
}

//! Saying things and reading them.

use super::Context;
use super::args::{ReadArgs, SendArgs};
use super::delivery::Watch;
use super::exit::Failure;
use super::inbox::Only;
use crate::api::client::{Client, segment};
use crate::api::types::{Happened, Line, MarkRead, React, Room, SendMessage, Sent};
use serde_json::Value;
use std::collections::HashSet;
use std::io::Read;
use std::process::ExitCode;
use tidings_protocol::limits::PAYLOAD_LEN_MAX;

pub(super) async fn send(context: &Context, args: SendArgs) -> Result<ExitCode, Failure> {
    if let Some(path) = args.file.clone() {
        return super::files::send(context, args, &path).await;
    }
    let body = SendMessage { text: text_of(args.text)?, reply_to: args.reply, file: None };
    let path = format!("/v1/rooms/{}/messages", segment(&args.room));
    let client = context.client()?;
    let watch = Watch::begin(&client, args.wait.as_deref(), args.copies).await?;
    watch.follow(context, &client, client.post(&path, &body).await?).await
}

pub(super) async fn edit(context: &Context, event: &str, new: Option<String>) -> Result<ExitCode, Failure> {
    let body = SendMessage { text: text_of(new)?, reply_to: None, file: None };
    sent(context, context.client()?.post(&format!("/v1/events/{}/edit", segment(event)), &body).await?)
}

pub(super) async fn adopt(context: &Context, event: &str) -> Result<ExitCode, Failure> {
    sent(context, context.client()?.post(&format!("/v1/events/{}/adopt", segment(event)), &Value::Null).await?)
}

pub(super) async fn react(context: &Context, event: &str, emoji: &str, remove: bool) -> Result<ExitCode, Failure> {
    let body = React { emoji: emoji.to_owned(), remove };
    sent(context, context.client()?.post(&format!("/v1/events/{}/react", segment(event)), &body).await?)
}

pub(super) fn sent(context: &Context, sent: Sent) -> Result<ExitCode, Failure> {
    context.out.show(&sent, |s| s.id.clone());
    Ok(ExitCode::SUCCESS)
}

/// The text given, or all of standard input without its last newline.
pub(super) fn text_of(given: Option<String>) -> Result<String, Failure> {
    let text = match given {
        Some(text) => text,
        None => {
            let mut bytes = Vec::new();
            let limit = PAYLOAD_LEN_MAX as u64 + 1;
            std::io::stdin().take(limit).read_to_end(&mut bytes)?;
            if bytes.len() > TEXT_LEN_MAX + 1 {
                return Err(too_long());
            }
            let text = String::from_utf8(bytes);
            let text = text.map_err(|_| Failure::usage("the text is not UTF-8: convert it; nothing was sent"))?;
            text.strip_suffix('\n').map(str::to_owned).unwrap_or(text)
        }
    };
    if text.trim().is_empty() {
        return Err(Failure::usage("there is nothing to say: the text is empty"));
    }
    if text.len() > TEXT_LEN_MAX {
        return Err(too_long());
    }
    Ok(text)
}

fn too_long() -> Failure {
    let what = format!("the text has more than {TEXT_LEN_MAX} bytes, the most for one message; nothing was sent");
    Failure::usage(what).with_todo("send it in parts")
}

pub(super) async fn read(context: &Context, args: ReadArgs) -> Result<ExitCode, Failure> {
    let client = context.client()?;
    let room: Room = client.get(&format!("/v1/rooms/{}", segment(&args.room))).await?;
    // The stream stands before the page is read, so that nothing falls between the two.
    let mut events = if args.follow { Some(client.events(None).await?) } else { None };
    let which = if args.void { "void" } else { "blocked" };
    let mut path = format!("/v1/rooms/{}/messages?limit={}&{which}=true", room.room, args.limit);
    let only = Only::of(&client, &room.room, &args).await?;
    path.push_str(&only.query);
    if let Some(event) = &args.before {
        path.push_str(&format!("&before={}", segment(event)));
    }
    if let Some(event) = &args.after {
        path.push_str(&format!("&after={}", segment(event)));
    }
    let mut follow = Follow { seen: HashSet::new(), newest: None, cursor: 0, folded: args.hidden, only };
    let mut hidden = 0usize;
    for line in client.get::<Vec<Line>>(&path).await? {
        match &line {
            Line::Message(message) if message.known.blocked && !args.blocked && !args.void => hidden += 1,
            _ => follow.show(context, line),
        }
    }
    if hidden > 0 {
        eprintln!("note: {hidden} messages here are of people whom you blocked: --blocked shows them");
    }
    if let Some(event) = follow.newest.clone().filter(|_| args.mark) {
        let _: Value = client.post(&format!("/v1/rooms/{}/read", room.room), &MarkRead { event }).await?;
    }
    while let Some(events) = &mut events {
        let notice = tokio::select! {
            notice = events.next() => notice?,
            _ = tokio::signal::ctrl_c() => return Ok(ExitCode::SUCCESS),
        };
        match notice.map(|n| n.what) {
            None => return Err(Failure::not_running()),
            Some(Happened::Message { message }) if message.room == room.room && follow.only.takes(&message) => {
                follow.show(context, Line::Message(message));
            }
            Some(Happened::Backfill { room: id, .. }) if id == room.room => {
                follow.catch_up(context, &client, &room.room).await?;
            }
            Some(_) => {}
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What was shown while following.
struct Follow {
    seen: HashSet<String>,
    newest: Option<String>,
    /// Of what was shown, the last to arrive here.
    cursor: u64,
    /// What folded messages say is shown, too.
    folded: bool,
    /// Which messages are shown.
    only: Only,
}

impl Follow {
    fn show(&mut self, context: &Context, mut line: Line) {
        if let Line::Message(message) = &mut line {
            // With --json every change is told; people are shown a message once.
            let new = self.seen.insert(message.id.clone());
            if !new && !context.out.json {
                return;
            }
            if new {
                self.newest = Some(message.id.clone());
                self.cursor = self.cursor.max(message.cursor);
            }
            if message.hidden.is_some() && !self.folded {
                message.text.clear();
                message.file = None;
            }
        }
        context.out.timeline(&line);
        if self.seen.len() > SEEN_MAX {
            self.seen.clear();
        }
    }

    /// Much has come at once: pages from the newest shown on, and then what was said earlier and came late, as far as it
    /// stands on the newest page.
    async fn catch_up(&mut self, context: &Context, client: &Client, room: &str) -> Result<(), Failure> {
        let cursor = self.cursor;
        loop {
            let after = self.newest.as_ref().map(|id| format!("&after={id}")).unwrap_or_default();
            let page: Vec<Line> =
                client.get(&format!("/v1/rooms/{room}/messages?limit={PAGE}{after}{}", self.only.query)).await?;
            let new = |line: &&Line| match line {
                Line::Message(m) => !self.seen.contains(&m.id),
                Line::Gap { .. } => false,
            };
            let fresh: Vec<Line> = page.iter().filter(new).cloned().collect();
            let is_all = fresh.is_empty() || page.len() < PAGE;
            for line in fresh {
                self.show(context, line);
            }
            if is_all {
                break;
            }
        }
        let newest = self.newest.clone();
        let page: Vec<Line> = client.get(&format!("/v1/rooms/{room}/messages?limit={PAGE}{}", self.only.query)).await?;
        let late = |line: &&Line| match line {
            Line::Message(m) => m.cursor > cursor && !self.seen.contains(&m.id),
            Line::Gap { .. } => false,
        };
        let late: Vec<Line> = page.iter().filter(late).cloned().collect();
        late.into_iter().for_each(|line| self.show(context, line));
        self.newest = newest.or(self.newest.take());
        Ok(())
    }
}

/// Messages told of while following that are remembered, so that none is shown twice.
const SEEN_MAX: usize = 100_000;
const PAGE: usize = 200;
/// A text's bytes: the payload's limit without what stands around the text.
const TEXT_LEN_MAX: usize = PAYLOAD_LEN_MAX - 256;

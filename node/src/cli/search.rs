//! Looking for messages.

use super::Context;
use super::exit::Failure;
use super::output::{is_terminal, line, name_of_others, one_line, person, time};
use crate::api::search::{Found, Hit, Piece, Search, Sort};
use clap::{Args, ValueEnum};
use std::process::ExitCode;

/// Of `search`.
#[derive(Debug, Args)]
pub struct SearchArgs {
    /// Words that must all occur, "\"words one behind the other\"", begin*, in:ROOM, from:NAME, before:DAY, after:DAY.
    #[arg(required_unless_present_any = ["room", "from", "before", "after"], num_args = 0..)]
    pub query: Vec<String>,
    /// In this room; others in: the query.
    #[arg(long, value_name = "ROOM")]
    pub room: Option<String>,
    /// Said by somebody of this name, pet name or key; me is myself.
    #[arg(long, value_name = "USER")]
    pub from: Option<String>,
    /// Before this day begins: 2026, 2026-11, 2026-11-22, today, 7d (UTC).
    #[arg(long, value_name = "DAY")]
    pub before: Option<String>,
    /// On this day or later.
    #[arg(long, value_name = "DAY")]
    pub after: Option<String>,
    /// How many messages.
    #[arg(long, default_value_t = 50)]
    pub limit: usize,
    /// What comes first.
    #[arg(long, value_enum, default_value_t = Order::Newest)]
    pub sort: Order,
}

/// What comes first.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Order {
    /// The newest.
    Newest,
    /// What fits best.
    Best,
}

pub(super) async fn search(context: &Context, args: SearchArgs) -> Result<ExitCode, Failure> {
    let wanted = Search {
        query: args.query.join(" "),
        room: args.room,
        from: args.from,
        before: args.before,
        after: args.after,
        limit: Some(args.limit),
        sort: match args.sort {
            Order::Newest => Sort::Newest,
            Order::Best => Sort::Best,
        },
        typing: false,
    };
    let found: Found = context.client()?.post("/v1/search", &wanted).await?;
    let marks = if is_terminal() && std::env::var_os("NO_COLOR").is_none() { BOLD } else { ["", ""] };
    for hit in &found.hits {
        match context.out.json {
            true => context.out.show(hit, |_| String::new()),
            false => line(&human(hit, marks)),
        }
    }
    if found.hits.is_empty() {
        eprintln!("nothing was found");
    } else if found.more {
        eprintln!("note: there may be more: --limit shows more, and more words, in:, from:, before: narrow it");
    }
    Ok(ExitCode::SUCCESS)
}

/// A message on one line: what others wrote is made safe, piece by piece, before marks of ours come between.
fn human(hit: &Hit, [on, off]: [&str; 2]) -> String {
    let message = &hit.message;
    let name = match &message.imported {
        Some(imported) => name_of_others(&imported.author),
        None => person(&message.name, &message.user, &message.known),
    };
    let show = |piece: &Piece| match piece.is_match {
        true => format!("{on}{}{off}", one_line(&piece.text)),
        false => one_line(&piece.text),
    };
    let text: String = hit.snippet.iter().map(show).collect();
    let id = message.id.get(..8).unwrap_or(&message.id);
    format!("{} {id} #{} {}: {text}", time(message.ms), one_line(&hit.room_alias), one_line(&name))
}

const BOLD: [&str; 2] = ["\u{1b}[1m", "\u{1b}[0m"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_stays_on_its_line_and_moves_no_cursor() {
        let hit = serde_json::json!({
            "id": "qmobpbjd", "room": "r", "user": "did:key:zM", "name": "M\u{1b}[2J", "device": "d", "ms": 0,
            "kind": "text", "text": "x", "reply_to": null, "thread": null, "edited": false, "erased": false,
            "imported": null, "reactions": {}, "file": null, "delivery": null, "verified": true, "cursor": 1,
            "room_alias": "zig", "score": 1.5,
            "snippet": [{"text": "a\n2026 b \u{202e}"}, {"text": "wo\u{1b}rd", "match": true}]
        });
        let hit: Hit = serde_json::from_value(hit).unwrap();
        let text = human(&hit, ["<", ">"]);
        assert_eq!(text, "1970-01-01 00:00 qmobpbjd #zig M\u{fffd}[2J: a 2026 b \u{fffd}<wo\u{fffd}rd>");
    }
}

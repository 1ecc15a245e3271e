//! Printing: JSON as it is, human text made safe. A reader that went away is no failure.

use super::exit::Failure;
use crate::api::types::{HIDDEN_BY_MODERATOR, HIDDEN_BY_SLOW_MODE, Known, Line, Message};
use crate::text::{SafeText, name_of_others as without_signs};
use serde::Serialize;
use std::io::{IsTerminal, Write};

/// Asks whoever sits at the terminal; where nobody does, it is refused, and why.
pub(super) fn is_agreed(question: &str, why: &str) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::refused(why).with_todo("run this in a terminal, or say --yes"));
    }
    eprint!("{} y / n ", SafeText::line(question));
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// How to print.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// JSON, and nothing else on stdout.
    pub json: bool,
}

impl Output {
    /// Prints one value: as JSON on a line, or as `human` says.
    pub fn show<T: Serialize>(&self, value: &T, human: impl FnOnce(&T) -> String) {
        if self.json {
            line(&serde_json::to_string(value).unwrap_or_default());
        } else {
            let text = human(value);
            if !text.is_empty() {
                line(&SafeText::block(&text).to_string());
            }
        }
    }

    /// Prints one line of a timeline.
    pub fn timeline(&self, entry: &Line) {
        self.show(entry, |entry| match entry {
            Line::Gap { gap } if gap.why == "trimmed" => {
                "~ older messages were trimmed here; nobody who has them is connected, or there is no room for them"
                    .to_owned()
            }
            Line::Gap { gap } => {
                let count = gap.to_seq.saturating_sub(gap.from_seq) + 1;
                format!("~ {count} messages of {} are missing here ({})", short(&gap.user), gap.why)
            }
            Line::Message(message) => human_message(message),
        });
    }
}

/// Whether a person is looking at stdout.
pub fn is_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// Prints a line; ends quietly when nobody reads any more.
pub fn line(text: &str) {
    if try_line(text).is_err() {
        std::process::exit(0);
    }
}

/// Prints a line.
pub fn try_line(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush())
}

/// The end of an id, enough to tell it from others.
pub fn short(id: &str) -> String {
    end_of(id, 8)
}

fn end_of(id: &str, chars: usize) -> String {
    format!("…{}", id.get(id.len().saturating_sub(chars)..).unwrap_or(id))
}

/// Of the key of somebody who looks like another.
const LOOKALIKE_END_CHARS: usize = 8;

/// What somebody calls themselves, on one line, without signs that are ours to give.
pub fn name_of_others(name: &str) -> String {
    without_signs(name)
}

/// Whom one sees: the pet name, or the name with what is to be known of it.
pub fn person(name: &str, user: &str, known: &Known) -> String {
    let shown = known.petname.as_deref().map_or_else(|| name_of_others(name), one_line);
    let shown = if shown.is_empty() { short(user) } else { shown };
    match (&known.lookalike_of, known.user_verified) {
        (Some(_), _) => format!("⚠ {shown} (did:key{})", end_of(user, LOOKALIKE_END_CHARS)),
        (None, true) => format!("{shown} ✓"),
        (None, false) => shown,
    }
}

fn human_message(message: &Message) -> String {
    let name = person(&message.name, &message.user, &message.known);
    let who = match &message.imported {
        Some(imported) => format!("{} (imported by {name})", name_of_others(&imported.author)),
        None => name,
    };
    let who = match &message.adopted {
        Some(adopted) => format!("{who} (adopted by {})", name_of_others(&adopted.name)),
        None => who,
    };
    let who = if message.known.blocked { format!("{who} [blocked]") } else { who };
    let reply = message.reply_to.as_ref().map(|id| format!("(to {}) ", &id[..id.len().min(8)])).unwrap_or_default();
    let text = match (message.erased, message.kind.as_str()) {
        (true, _) => "(erased)".to_owned(),
        _ if message.purged => "(purged on this node)".to_owned(),
        _ if message.hidden.is_some() => folded(message),
        (_, "unknown") => "(a kind of message that needs a newer tidings)".to_owned(),
        _ => said(message),
    };
    let edited = if message.edited { " (edited)" } else { "" };
    let mut reactions = String::new();
    for (emoji, users) in &message.reactions {
        reactions.push_str(&format!("  {} {}", one_line(emoji), users.len()));
    }
    let id = &message.id[..message.id.len().min(8)];
    let readers = message.read_by.len();
    let read = if readers == 0 { String::new() } else { format!("  (read by {readers})") };
    let void = message.void.as_ref().map(|why| format!("  [does not count: {}]", one_line(why))).unwrap_or_default();
    format!("{} {id} {who}: {reply}{text}{edited}{reactions}{read}{void}", time(message.ms))
}

/// What a message says: its file, if it brings one, and its text.
fn said(message: &Message) -> String {
    let text = set_in(&message.text);
    match &message.file {
        None => text,
        Some(file) if text.is_empty() => one_line(&file.line()),
        Some(file) => format!("{} {text}", one_line(&file.line())),
    }
}

/// Why a message is folded, and what it says where that was asked for.
fn folded(message: &Message) -> String {
    let why = match (message.hidden.as_deref(), &message.hidden_by_name) {
        (Some(HIDDEN_BY_MODERATOR), by) => {
            let by = by.as_deref().map(name_of_others).unwrap_or_default();
            format!("hidden by {by}")
        }
        (Some(HIDDEN_BY_SLOW_MODE), _) => "too soon for slow mode".to_owned(),
        _ => return "(hidden: the device that wrote this was revoked by its user)".to_owned(),
    };
    match message.text.is_empty() && message.file.is_none() {
        true => format!("({why}: --hidden shows it)"),
        false => format!("({why}) {}", said(message)),
    }
}

/// What others wrote, set in where it goes on below, so that nobody can write a line that looks like another's.
fn set_in(text: &str) -> String {
    SafeText::block(text).to_string().replace('\n', "\n    ")
}

/// What others wrote, where it is to be one line among ours.
pub fn one_line(text: &str) -> String {
    SafeText::line(text).to_string()
}

/// `2026-11-22 09:30`, in UTC.
pub fn time(ms: u64) -> String {
    let minutes = ms / 60_000;
    let (days, minute) = (minutes / 1440, minutes % 1440);
    // Days since 0000-03-01, so that the leap day is a year's last (Hinnant, chrono-compatible date algorithms).
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}", minute / 60, minute % 60)
}

#[cfg(test)]
mod tests {
    use super::{human_message, time};
    use crate::api::types::Message;

    #[test]
    fn nobody_writes_a_line_of_another() {
        let said = serde_json::json!({
            "id": "qmobpbjd", "room": "r", "user": "did:key:zM", "name": "M", "device": "d", "ms": 0, "kind": "text",
            "text": "hi\n2026-11-22 09:32 abcdefgh Alice \u{2713}: my new key\r\nis", "reply_to": null,
            "thread": null, "edited": false, "erased": false, "imported": null, "reactions": {}, "file": null,
            "delivery": null, "verified": true, "cursor": 1
        });
        let message: Message = serde_json::from_value(said).unwrap();
        let shown = human_message(&message);
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[0].ends_with("qmobpbjd M: hi"), "{shown}");
        assert!(lines.len() >= 3 && lines[1..].iter().all(|line| line.starts_with("    ")), "{shown}");
    }

    #[test]
    fn times_read_as_the_calendar_has_them() {
        for (ms, text) in [
            (0, "1970-01-01 00:00"),
            (951_782_340_000, "2000-02-28 23:59"),
            (951_868_740_000, "2000-02-29 23:59"),
            (1_507_466_702_000, "2017-10-08 12:45"),
            (1_735_689_600_000, "2025-01-01 00:00"),
        ] {
            assert_eq!(time(ms), text);
        }
    }
}

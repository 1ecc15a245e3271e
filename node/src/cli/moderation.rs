//! Keeping a room in order: folding messages on screens, reporting them, and saying where a room goes on.

use super::Context;
use super::exit::Failure;
use super::output::{name_of_others, short, time};
use crate::api::client::segment;
use crate::api::types::{Report, Room, SendReport, Sent, SetHidden, SetSuccessor};
use std::process::ExitCode;

pub(super) async fn hide(context: &Context, event: &str, undo: bool) -> Result<ExitCode, Failure> {
    let path = format!("/v1/events/{}/hide", segment(event));
    let sent: Sent = context.client()?.post(&path, &SetHidden { hidden: !undo }).await?;
    context.out.show(&sent, |sent| match undo {
        true => sent.id.clone(),
        false => {
            format!("{}\nfolded on screens; it still counts, and tidings hide {event} --undo shows it again", sent.id)
        }
    });
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn report(context: &Context, event: &str, reason: String) -> Result<ExitCode, Failure> {
    let path = format!("/v1/events/{}/report", segment(event));
    let sent: Sent = context.client()?.post(&path, &SendReport { reason }).await?;
    context.out.show(&sent, |sent| format!("{}\nreported: only those who moderate the room can read it", sent.id));
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn reports(context: &Context, room: &str) -> Result<ExitCode, Failure> {
    let reports: Vec<Report> = context.client()?.get(&format!("/v1/rooms/{}/reports", segment(room))).await?;
    context.out.show(&reports, |reports| match reports.is_empty() {
        true => "nothing was reported, as far as this device can read it".to_owned(),
        false => reports.iter().map(line).collect::<Vec<_>>().join("\n"),
    });
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn successor(context: &Context, room: &str, next: String) -> Result<ExitCode, Failure> {
    let path = format!("/v1/rooms/{}/successor", segment(room));
    let sent: Sent = context.client()?.post(&path, &SetSuccessor { room: next.clone() }).await?;
    context.out.show(&sent, |_| {
        format!(
            "{room} goes on in {next}: screens say so and take no more messages in {room}. Nobody is moved: give its \
             members a link, tidings room invite {next}"
        )
    });
    Ok(ExitCode::SUCCESS)
}

/// What `room show` says beyond the room's row.
pub(super) fn standing(room: &Room) -> String {
    let mut out = String::new();
    let may = if room.may.is_empty() { "nothing".to_owned() } else { room.may.join(", ") };
    out.push_str(&format!("\nmay     {may}"));
    if let Some(why) = &room.read_only {
        out.push_str(&format!("\nread-only: {}", why_read_only(why)));
    }
    if room.slow > 0 {
        out.push_str(&format!("\nslow    {} seconds between two messages of one member", room.slow));
    }
    for setting in &room.ignored_settings {
        out.push_str(&format!("\n! the setting {} makes no sense and is ignored: \"{}\"", setting.key, setting.value));
    }
    if let Some(next) = &room.successor {
        let name = next.alias.clone().unwrap_or_else(|| format!("{}, which is not here: ask for a link", next.room));
        out.push_str(&format!("\ngoes on in {name}"));
        if next.comes_back {
            out.push_str("\n! that room goes on in this one: neither is closed, one of them should be set right");
        }
    }
    out
}

fn why_read_only(why: &str) -> &str {
    match why {
        "pending" => "nobody has let us in yet",
        "left" => "you left it",
        "removed" => "you were removed from it",
        "not_member" => "you are no member of it",
        "reader" => "your role is to read",
        "keeper" => "your role is to hold it for others",
        "needs_newer" => "it uses rules of a newer tidings: update to post",
        "unsure" => {
            "events that say who may do what were lost; it goes on once somebody is connected who has \
             them, or without them by tidings room resume"
        }
        "successor" => "it goes on in another room",
        other => other,
    }
}

fn line(report: &Report) -> String {
    let id = &report.event[..report.event.len().min(8)];
    let name = |name: &str, user: &str| match name_of_others(name) {
        name if name.is_empty() => short(user),
        name => name,
    };
    let author = match (&report.author_name, &report.author) {
        (Some(author), Some(user)) => name(author, user),
        _ => "somebody".to_owned(),
    };
    let text = match (&report.text, report.erased) {
        (_, true) => "(erased)".to_owned(),
        (Some(text), _) => text.replace('\n', " "),
        (None, _) => "(not here)".to_owned(),
    };
    let who = name(&report.name, &report.user);
    format!("{} {who} reports {id} of {author}: {}\n    {text}", time(report.ms), report.reason)
}

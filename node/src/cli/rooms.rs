//! Rooms and invites.

use super::Context;
use super::exit::Failure;
use super::moderation;
use super::output::{is_agreed, is_terminal, one_line, person, short, time};
use super::room_args::{InviteCommand, RoomCommand};
use crate::api::client::segment;
use crate::api::keep::Keep;
use crate::api::types::{
    Alert, Appoint, Appointed, CreateInvite, CreateRoom, Invite, JoinRoom, Joined, Known, LeaveRoom, Left, Member,
    Room, RoomCreated, SetAlias, SetSetting, SetTeam,
};
use crate::qr::qr_code;
use serde_json::Value;
use std::process::ExitCode;
use std::time::Duration;

pub(super) async fn room(context: &Context, command: RoomCommand) -> Result<ExitCode, Failure> {
    match command {
        RoomCommand::Create { private: true, .. } => Err(Failure::refused(
            "private rooms are not built yet. A members room is closed to others, but not end-to-end encrypted: \
             tidings room create NAME",
        )),
        RoomCommand::Create { name, public, invite_rank, .. } => {
            let body = CreateRoom { name, public, invite_rank };
            let room: RoomCreated = context.client()?.post("/v1/rooms", &body).await?;
            context.out.show(&room, |r| {
                let note = if r.kind == "members" { ", for members only; not end-to-end encrypted" } else { "" };
                format!("made {} ({}{note})\ninvite somebody: tidings room invite {}", r.alias, r.kind, r.alias)
            });
            Ok(ExitCode::SUCCESS)
        }
        RoomCommand::List { all } => list(context, all).await,
        RoomCommand::Show { room } => {
            let room: Room = context.client()?.get(&format!("/v1/rooms/{}", segment(&room))).await?;
            context.out.show(&room, |r| {
                let alert = |a: &Alert| format!("\n! {}\n  {}", one_line(&a.text), one_line(&a.command));
                let alerts: String = r.alerts.iter().map(alert).collect();
                let topic = one_line(&r.topic);
                let (standing, team) = (moderation::standing(r), team(r));
                let kept = r.kept.as_ref().map(super::keep::kept).unwrap_or_default();
                format!("{}\nid      {}\ntopic   {topic}{kept}{standing}{team}{alerts}", row(r), r.room)
            });
            Ok(ExitCode::SUCCESS)
        }
        RoomCommand::Members { room, removed } => {
            let which = if removed { "removed" } else { "members" };
            let members: Vec<Member> = context.client()?.get(&format!("/v1/rooms/{}/{which}", segment(&room))).await?;
            context.out.show(&members, |members| members.iter().map(member).collect::<Vec<_>>().join("\n"));
            Ok(ExitCode::SUCCESS)
        }
        RoomCommand::Invite { approve: true, .. } => Err(Failure::refused("--approve is not built yet")),
        RoomCommand::Invite { room, role, expires, .. } => new_invite(context, &room, role, expires).await,
        RoomCommand::Join { link, wait } => join(context, link, &wait).await,
        RoomCommand::Grant { room, user, role } => {
            let path = format!("/v1/rooms/{}/members", segment(&room));
            let body = Appoint { user, role };
            let done: Appointed = context.client()?.post(&path, &body).await?;
            context.out.show(&done, |d| {
                let link = |link: &String| format!("\nthey come in by this link, and nobody else does:\n{link}");
                format!("{} is {} of {room} now{}", d.user, d.role, d.link.as_ref().map(link).unwrap_or_default())
            });
            Ok(ExitCode::SUCCESS)
        }
        RoomCommand::Revoke { room, user } => {
            let path = format!("/v1/rooms/{}/members/{}", segment(&room), segment(&user));
            let done: Appointed = context.client()?.delete(&path).await?;
            context.out.show(&done, |d| {
                let back = format!("tidings room grant {room} {}", d.user);
                format!("removed {}: what they said so far stays, nothing later counts\nlift it: {back}", d.user)
            });
            Ok(ExitCode::SUCCESS)
        }
        RoomCommand::Set { room, key, value } => {
            let path = format!("/v1/rooms/{}/settings", segment(&room));
            let body = SetSetting { key: key.clone(), value: value.clone() };
            let _: Value = context.client()?.post(&path, &body).await?;
            context.out.show(&serde_json::json!({}), |_| format!("the {key} of {room} is \"{value}\" now"));
            Ok(ExitCode::SUCCESS)
        }
        RoomCommand::Successor { room, next } => moderation::successor(context, &room, next).await,
        RoomCommand::Reports { room } => moderation::reports(context, &room).await,
        RoomCommand::Team { room, team, role, .. } => {
            let path = format!("/v1/rooms/{}/team", segment(&room));
            let _: Value = context.client()?.post(&path, &SetTeam { team: team.clone(), role }).await?;
            context.out.show(&serde_json::json!({}), |_| match &team {
                Some(team) => format!("{room} admits the members of {team} now"),
                None => format!("{room} has no team any more; who came by it stays"),
            });
            Ok(ExitCode::SUCCESS)
        }
        RoomCommand::Leave { room, for_good: true, words_stdin } => leave_for_good(context, &room, words_stdin).await,
        RoomCommand::Leave { room, .. } => {
            let _: Value = context.client()?.post(&format!("/v1/rooms/{}/leave", segment(&room)), &Value::Null).await?;
            context.out.show(&serde_json::json!({}), |_| format!("left {room}; its history stays here"));
            Ok(ExitCode::SUCCESS)
        }
        RoomCommand::Keep { room, max_bytes, days, forever } => {
            let max_bytes = max_bytes.as_deref().map(super::keep::bytes).transpose()?;
            super::keep::keep(context, &room, Keep { max_bytes, max_days: days, forever }).await
        }
        RoomCommand::Resume { room, yes } => resume(context, &room, yes).await,
        RoomCommand::Alias { room, name } => {
            let path = format!("/v1/rooms/{}/alias", segment(&room));
            let _: Value = context.client()?.post(&path, &SetAlias { alias: name.clone() }).await?;
            context.out.show(&serde_json::json!({}), |_| format!("{room} is called {name} here now"));
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn resume(context: &Context, room: &str, yes: bool) -> Result<ExitCode, Failure> {
    let client = context.client()?;
    let question = format!(
        "Go on in {room} without what was lost? Removals, closed links and ended devices among it count no more, and whoever \
         came in by it stays outside."
    );
    if !yes && !is_agreed(&question, "removals may be among what was lost, and somebody has to say that it goes on")? {
        return Err(Failure::refused("nothing was changed"));
    }
    let _: Value = client.post(&format!("/v1/rooms/{}/resume", segment(room)), &serde_json::json!({})).await?;
    context.out.show(&serde_json::json!({}), |_| {
        format!(
            "{room} goes on with what is here: look at `tidings room members {room}` and `tidings invite list {room}`, and \
             end what should not be"
        )
    });
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn invite(context: &Context, command: InviteCommand) -> Result<ExitCode, Failure> {
    match command {
        InviteCommand::List { room } => {
            let path = match room {
                Some(room) => format!("/v1/rooms/{}/invites", segment(&room)),
                None => "/v1/invites".to_owned(),
            };
            let invites: Vec<Invite> = context.client()?.get(&path).await?;
            context.out.show(&invites, |invites| {
                let line = |i: &Invite| {
                    let state = if i.closed { "closed" } else { "open" };
                    let room = short(&i.room);
                    format!("{} {state:<7} {:<10} joins {:<4} room {room}", i.invite, i.role, i.joins)
                };
                invites.iter().map(line).collect::<Vec<_>>().join("\n")
            });
        }
        InviteCommand::Close { invite } => {
            let _: Value = context.client()?.delete(&format!("/v1/invites/{}", segment(&invite))).await?;
            context.out.show(&serde_json::json!({}), |_| "closed: nobody else comes in by it".to_owned());
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn leave_for_good(context: &Context, room: &str, words_stdin: bool) -> Result<ExitCode, Failure> {
    let words = super::devices::words(words_stdin)?.map(|words| words.as_str().to_owned());
    let path = format!("/v1/rooms/{}/leave", segment(room));
    let left: Left = context.client()?.post(&path, &LeaveRoom { for_good: true, words }).await?;
    if !left.why.is_empty() {
        eprintln!("note: {}", left.why);
    }
    context.out.show(&left, |l| match l.for_good {
        true => format!("left {room} for good; {} devices ended there; its history stays here", l.devices.len()),
        false => format!("left {room}, not for good; its history stays here"),
    });
    Ok(ExitCode::SUCCESS)
}

async fn list(context: &Context, all: bool) -> Result<ExitCode, Failure> {
    let rooms: Vec<Room> = context.client()?.get(if all { "/v1/rooms?all=true" } else { "/v1/rooms" }).await?;
    context.out.show(&rooms, |rooms| {
        if rooms.is_empty() {
            return "no rooms yet: tidings room create NAME, or tidings room join LINK".to_owned();
        }
        rooms.iter().map(row).collect::<Vec<_>>().join("\n")
    });
    Ok(ExitCode::SUCCESS)
}

fn member(member: &Member) -> String {
    let known = Known {
        petname: member.petname.clone(),
        user_verified: member.verified && !member.you,
        lookalike_of: member.lookalike_of.clone(),
        blocked: member.blocked,
    };
    let mut about = vec![member.user.clone()];
    about.extend(member.lookalike_of.as_ref().map(|user| format!("looks like {}", short(user))));
    about.extend(member.blocked.then(|| "blocked".to_owned()));
    about.extend(match (member.presence.as_deref(), member.last_seen_ms) {
        (Some("online"), _) => Some("here".to_owned()),
        (Some(_), Some(ms)) => Some(format!("away since {}", time(ms))),
        _ => None,
    });
    format!("{:<10} {:<24} {}", member.role, person(&member.name, &member.user, &known), about.join("  "))
}

/// The team of a room, and the rooms of a team.
fn team(room: &Room) -> String {
    let mut text = String::new();
    if let Some(team) = &room.team {
        let name = if team.alias.is_empty() { short(&team.room) } else { team.alias.clone() };
        text.push_str(&format!("\nteam    {name}"));
        if !team.rests.is_empty() {
            text.push_str(&format!("\n        {}", team.rests));
        }
    }
    if !room.rooms.is_empty() {
        text.push_str("\na team: its members are let into");
    }
    for open in &room.rooms {
        text.push_str(&format!("\n        {:<20} {}", open.name, open.role));
    }
    text
}

fn row(room: &Room) -> String {
    let name = if room.alias.is_empty() { short(&room.room) } else { room.alias.clone() };
    let state = match (room.pending, room.complete) {
        (true, _) => "joining: nobody has let us in yet",
        _ if room.read_only.as_deref() == Some("unsure") => "read-only: some of its history is lost",
        (_, true) => "complete",
        (_, false) => "fetching what is missing",
    };
    let last = if room.last_ms == 0 { "-".to_owned() } else { time(room.last_ms) };
    let mentions = if room.mentions > 0 { format!(" ({} for you)", room.mentions) } else { String::new() };
    format!(
        "{name:<20} {:<8} {:<10} {} members, {} unread{mentions}, last {last}, {state}",
        room.kind, room.role, room.members, room.unread
    )
}

async fn new_invite(
    context: &Context,
    room: &str,
    role: Option<String>,
    expires: Option<String>,
) -> Result<ExitCode, Failure> {
    let expires_ms = expires.as_deref().map(duration).transpose()?.map(|d| d.as_millis() as u64);
    let body = CreateInvite { role, expires_ms };
    let invite: Invite = context.client()?.post(&format!("/v1/rooms/{}/invites", segment(room)), &body).await?;
    if let Some(warning) = &invite.warning {
        eprintln!("note: {warning}");
    }
    context.out.show(&invite, |i| {
        let link = i.link.clone().unwrap_or_default();
        let qr = if is_terminal() { qr_code(&link) } else { String::new() };
        if qr.is_empty() { link } else { format!("{link}\n\n{qr}") }
    });
    Ok(ExitCode::SUCCESS)
}

async fn join(context: &Context, link: String, wait: &str) -> Result<ExitCode, Failure> {
    let wait_ms = duration(wait)?.as_millis() as u64;
    let joined: Joined = context.client()?.post("/v1/join", &JoinRoom { link, wait_ms }).await?;
    if joined.pending {
        let tried = if joined.tried.is_empty() { "none in the link".to_owned() } else { joined.tried.join(", ") };
        if context.out.json {
            context.out.show(&joined, |_| String::new());
        }
        let todo = "it goes on while the node runs; if nobody lets you in, ask a member of the room for a new link";
        let what = format!("accepted, still trying; addresses tried: {tried}");
        return Err(Failure::unfinished(what, todo).answered());
    }
    context.out.show(&joined, |j| format!("joined {}\nread it: tidings read {}", j.alias, j.alias));
    Ok(ExitCode::SUCCESS)
}

/// `90s`, `30m`, `12h`, `7d`.
pub(super) fn duration(text: &str) -> Result<Duration, Failure> {
    let wrong = || Failure::usage(format!("\"{text}\" is no time: write 90s, 30m, 12h or 7d"));
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let seconds = match unit {
        "s" => number,
        "m" => number.saturating_mul(60),
        "h" => number.saturating_mul(3600),
        "d" => number.saturating_mul(86_400),
        _ => return Err(wrong()),
    };
    Ok(Duration::from_secs(seconds.min(YEARS_10_S)))
}

const YEARS_10_S: u64 = 10 * 365 * 86_400;

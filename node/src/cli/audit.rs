//! `audit`: whether a room's history is whole, and who says so.

use super::Context;
use super::exit::Failure;
use super::output::{name_of_others, short, time};
use super::rooms::duration;
use crate::api::audit::{
    Audit, Audited, STATE_AGREES, STATE_DIFFERS, STATE_LACKS, WHY_DIFFERS, WHY_GAPS, WHY_JOINING, WHY_UNASKED,
};
use crate::api::client::segment;
use crate::api::types::Gap;
use std::process::ExitCode;

pub(super) async fn audit(context: &Context, room: &str, wait: &str) -> Result<ExitCode, Failure> {
    let wait_ms = duration(wait)?.as_millis();
    let path = format!("/v1/rooms/{}/audit?wait_ms={wait_ms}", segment(room));
    let audit: Audit = context.client()?.get(&path).await?;
    context.out.show(&audit, human);
    let (what, todo) = match audit.why.as_deref() {
        None => return Ok(ExitCode::SUCCESS),
        Some(WHY_GAPS) => {
            ("something is missing here", "stay connected: what others have is fetched; look again later")
        }
        Some(WHY_DIFFERS) => (
            "somebody holds what is not here, or is cut off from others",
            "wait a little and audit again: what differs is being compared",
        ),
        Some(WHY_UNASKED) => (
            "nobody who shares the room has answered",
            "connect to somebody who is in the room, and audit again: tidings peers",
        ),
        Some(WHY_JOINING) => ("nothing of the room is here yet", "wait until whoever invited you is connected"),
        Some(_) => ("it is not complete", "audit again with the newest tidings"),
    };
    Err(Failure::unfinished(what, todo).answered())
}

fn human(audit: &Audit) -> String {
    let mut lines = Vec::new();
    lines.push(match (audit.complete, audit.through_ms) {
        (true, Some(ms)) if audit.devices.is_empty() => format!("complete through {}: nobody else is here", time(ms)),
        (true, Some(ms)) => {
            format!("complete through {}, agreed by {} of {} asked", time(ms), audit.agreed, audit.asked)
        }
        _ => format!("not known to be complete; {} of {} asked agree", audit.agreed, audit.asked),
    });
    lines.extend(audit.gaps.iter().map(|gap| missing(gap, &audit.devices)));
    lines.extend(audit.devices.iter().map(line));
    lines.join("\n")
}

fn missing(gap: &Gap, devices: &[Audited]) -> String {
    match gap.why.as_str() {
        "trimmed" => "missing: older messages, trimmed to the room's budget on this node".to_owned(),
        "purged" => "missing: what was purged on this node".to_owned(),
        why => {
            let of = devices.iter().find(|device| device.user == gap.user).map(name);
            let of = of.unwrap_or_else(|| short(&gap.user));
            match gap.from_seq == gap.to_seq {
                true => format!("missing: message {} of {of} ({why})", gap.from_seq),
                false => format!("missing: messages {} to {} of {of} ({why})", gap.from_seq, gap.to_seq),
            }
        }
    }
}

fn line(device: &Audited) -> String {
    let of = format!("{}'s device {}", name(device), short(&device.device));
    match (device.state.as_str(), device.ms) {
        (STATE_AGREES, _) => format!("agrees: {of}"),
        (STATE_LACKS, _) => format!("agrees: {of}, which lacks something itself"),
        (STATE_DIFFERS, _) => format!("differs: {of} holds what is not here"),
        (_, Some(ms)) => format!("away: {of}, last heard {}", time(ms)),
        (_, None) => format!("away: {of}"),
    }
}

fn name(device: &Audited) -> String {
    let name = name_of_others(&device.name);
    if name.is_empty() { short(&device.user) } else { name }
}

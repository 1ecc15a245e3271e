//! Erasing messages and former names, and who says that they are gone.

use super::Context;
use super::exit::Failure;
use super::output::{name_of_others, short, time};
use super::rooms::duration;
use crate::api::client::{Client, segment};
use crate::api::erasures::{Answer, Erasure, NamesErased};
use crate::api::types::Sent;
use serde_json::Value;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Erases a message; with a time to wait, until everybody has said that it is gone.
pub(super) async fn erase(context: &Context, event: &str, wait: Option<&str>) -> Result<ExitCode, Failure> {
    let wait = wait.map(duration).transpose()?;
    let client = context.client()?;
    let sent: Sent = client.post(&format!("/v1/events/{}/erase", segment(event)), &Value::Null).await?;
    match wait {
        None => super::messages::sent(context, sent),
        Some(wait) => follow(context, &client, event, wait).await,
    }
}

/// Where an erased message is gone.
pub(super) async fn erased(context: &Context, event: &str, wait: Option<&str>) -> Result<ExitCode, Failure> {
    let wait = wait.map(duration).transpose()?.unwrap_or_default();
    let client = context.client()?;
    if wait.is_zero() {
        context.out.show(&client.get::<Erasure>(&path(event)).await?, human);
        return Ok(ExitCode::SUCCESS);
    }
    follow(context, &client, event, wait).await
}

async fn follow(context: &Context, client: &Client, event: &str, wait: Duration) -> Result<ExitCode, Failure> {
    let begun = Instant::now();
    loop {
        let erasure: Erasure = client.get(&path(event)).await?;
        let silent = erasure.devices.iter().filter(|answer| !answer.gone).count();
        let is_gone = erasure.here && silent == 0;
        if !is_gone && begun.elapsed() < wait {
            tokio::time::sleep(ASK_EVERY.min(wait)).await;
            continue;
        }
        context.out.show(&erasure, human);
        if is_gone {
            return Ok(ExitCode::SUCCESS);
        }
        let what = match (erasure.due_ms, silent) {
            (Some(due_ms), _) => format!("it is hidden; by a moderator's word its bytes go on {}", time(due_ms)),
            (None, 0) => "it is hidden; files of this node still have its bytes".to_owned(),
            (None, n) => format!(
                "it is hidden; {n} of {} other devices have not said yet that it is gone",
                erasure.devices.len()
            ),
        };
        let todo = "look again later: tidings erased EVENT; who is away says so when they are back";
        return Err(Failure::unfinished(what, todo).answered());
    }
}

fn path(event: &str) -> String {
    format!("/v1/events/{}/erasure", segment(event))
}

fn human(erasure: &Erasure) -> String {
    let who = if erasure.name.is_empty() { short(&erasure.by) } else { name_of_others(&erasure.name) };
    let mut text = format!("erased {} by {who}\n", time(erasure.ms));
    text.push_str(&match (erasure.here, erasure.due_ms) {
        (true, _) => "gone from every file of this node".to_owned(),
        (false, Some(due_ms)) => format!("hidden; its bytes go from this node on {}", time(due_ms)),
        (false, None) => "hidden; its bytes are just going from this node's files".to_owned(),
    });
    for answer in &erasure.devices {
        text.push('\n');
        text.push_str(&line(answer));
    }
    text
}

fn line(answer: &Answer) -> String {
    let name = if answer.name.is_empty() { short(&answer.user) } else { name_of_others(&answer.name) };
    let device = short(&answer.device);
    match (answer.gone, answer.heard_ms) {
        (true, _) => format!("gone from {name}'s device {device}, by its word"),
        (false, Some(ms)) => format!("no word yet from {name}'s device {device}, last heard {}", time(ms)),
        (false, None) => format!("no word yet from {name}'s device {device}"),
    }
}

/// Erases what one was called before.
pub(super) async fn former_names(context: &Context) -> Result<u64, Failure> {
    let erased: NamesErased = context.client()?.post("/v1/id/former-names/erase", &Value::Null).await?;
    Ok(erased.erased)
}

/// How often it is looked who has answered.
const ASK_EVERY: Duration = Duration::from_millis(500);

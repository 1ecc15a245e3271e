//! What the API says of keeping a home whole: `POST /v1/store/verify`, which answers with lines, and `POST /v1/store/backup`.

use super::json::Json;
use super::problem::Failed;
use super::server::{Answer, App, Node};
use crate::handle::NodeError;
use crate::upkeep::Manifest;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures::stream;
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// What was read of what a node keeps, and what is wrong with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// Events whose hash was checked.
    pub events: u64,
    /// Bytes read: rows of the store before compression, and files.
    pub bytes: u64,
    /// Signatures checked.
    pub signatures: u64,
    /// Events for which no signature that is held vouches: what lies above them was trimmed, or has not come yet.
    pub unvouched: u64,
    /// Files checked.
    pub files: u64,
    /// How much is damaged.
    pub damaged_count: u64,
    /// What: the first 1,000.
    pub damaged: Vec<Damaged>,
}

/// Something damaged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damaged {
    /// In which room, where that is known.
    pub room: Option<String>,
    /// Of which event.
    pub event: Option<String>,
    /// Of which file.
    pub file: Option<String>,
    /// What.
    pub what: String,
}

/// A line of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum VerifyProgress {
    /// The last line.
    Done(Verified),
    /// How far it is.
    Reading {
        /// Rows read.
        rows: u64,
        /// Events checked.
        events: u64,
    },
}

/// A backup that is to be made, on the machine of the node.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MakeBackup {
    /// The whole path of a folder that is not there yet.
    pub folder: PathBuf,
}

pub(super) fn routes() -> Router<App> {
    Router::new().route("/v1/store/verify", post(verify)).route("/v1/store/backup", post(backup))
}

/// Goes on though nobody waits for it.
async fn backup(node: Node, Json(wish): Json<MakeBackup>) -> Answer<Manifest> {
    let node = node.0;
    let made = tokio::task::spawn_blocking(move || node.backup(&wish.folder)).await;
    Ok(Json(made.unwrap_or(Err(NodeError::Stopping))?))
}

/// Goes on as long as somebody reads.
async fn verify(node: Node) -> Response {
    let node = node.0;
    let (lines, queue) = mpsc::channel::<Vec<u8>>(LINES_MAX);
    tokio::task::spawn_blocking(move || {
        let mut told = Instant::now();
        let mut go_on = |progress: VerifyProgress| {
            if told.elapsed() < TELL_EVERY {
                return !lines.is_closed();
            }
            told = Instant::now();
            // Who reads slowly hears less of it.
            !matches!(lines.try_send(to_line(&progress)), Err(TrySendError::Closed(_)))
        };
        let last = match node.verify_all(&mut go_on) {
            Ok(None) => return,
            Ok(Some(verified)) => to_line(&VerifyProgress::Done(verified)),
            Err(error) => to_line(&Failed::from(error).0),
        };
        drop(lines.blocking_send(last));
    });
    let lines = stream::unfold(queue, |mut queue| async move {
        let line = queue.recv().await?;
        Some((Ok::<_, Infallible>(Bytes::from(line)), queue))
    });
    ([("content-type", "application/x-ndjson")], Body::from_stream(lines)).into_response()
}

fn to_line(value: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line
}

const LINES_MAX: usize = 8;
const TELL_EVERY: Duration = Duration::from_millis(200);

//! What the HTTP API says of mentions and threads, and its routes.

use super::json::Json;
use super::server::{Answer, App, Node, PAGE_MAX};
use super::types::Message;
use crate::handle::{NodeError, NodeHandle};
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::routing::get;
use serde::{Deserialize, Serialize};
use tidings_protocol::id::EventId;

/// One of `GET /v1/inbox?limit=&before=&unread=`, newest first: a message that names the local user or answers theirs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InboxLine {
    /// The message.
    #[serde(flatten)]
    pub message: Message,
    /// `mention`, `reply`.
    pub why: Vec<String>,
    /// Whether it stands after the room's read marker.
    pub unread: bool,
    /// What this node calls the room.
    pub alias: String,
}

/// One of `GET /v1/rooms/ROOM/threads?limit=&before=`, those with the newest replies first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Thread {
    /// The first message's id.
    pub root: String,
    /// The first message; none where it is not here or does not count.
    pub first: Option<Message>,
    /// Replies; counting stops at 1,000.
    pub replies: usize,
    /// Those of others after the read marker.
    pub unread: usize,
    /// The newest reply's time.
    pub last_ms: u64,
    /// Who wrote it.
    pub last_user: String,
    /// What they want to be called here.
    pub last_name: String,
}

#[derive(Deserialize)]
struct Page {
    limit: Option<usize>,
    before: Option<String>,
    #[serde(default)]
    unread: bool,
}

pub(super) fn routes() -> Router<App> {
    Router::new().route("/v1/inbox", get(inbox)).route("/v1/rooms/{room}/threads", get(threads))
}

async fn inbox(State(node): Node, Query(page): Query<Page>) -> Answer<Vec<InboxLine>> {
    let before = page.before.map(|event| node.event(&event)).transpose()?.map(|(_, id)| id);
    Ok(Json(node.inbox(before, page.unread, page.limit.unwrap_or(50).clamp(1, PAGE_MAX))?))
}

async fn threads(State(node): Node, Path(room): Path<String>, Query(page): Query<Page>) -> Answer<Vec<Thread>> {
    let (_, view) = node.room_view(&room)?;
    let before = page.before.map(|event| id_of(&node, &event)).transpose()?;
    Ok(Json(node.threads(&view, before, page.limit.unwrap_or(20).clamp(1, THREADS_MAX))?))
}

/// The id of a message that need not be here when it is written whole.
pub(super) fn id_of(node: &NodeHandle, event: &str) -> Result<EventId, NodeError> {
    event.parse().or_else(|_| node.event(event).map(|(_, id)| id))
}

/// Threads in one answer: each is counted.
const THREADS_MAX: usize = 100;

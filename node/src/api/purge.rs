//! What the API says of purges.

use super::json::Json;
use super::server::{Answer, App, Node};
use axum::Router;
use axum::extract::Path;
use axum::routing::{delete, get};
use serde::{Deserialize, Serialize};

/// What is to be taken off this node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Purge {
    /// `room`, `user` or `event`.
    pub kind: String,
    /// Which.
    pub target: String,
    /// Of a room: links made here that are open stay so.
    #[serde(default)]
    pub keep_invites: bool,
}

/// What is refused here.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Purged {
    /// `room`, `user` or `event`.
    pub kind: String,
    /// Its id.
    pub target: String,
    /// Since when, Unix milliseconds.
    pub since_ms: u64,
    /// Whether all of it that was here is gone, from the files, too.
    pub done: bool,
    /// Events of which something went just now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<u64>,
}

pub(super) fn routes() -> Router<App> {
    Router::new().route("/v1/purges", get(list).post(purge)).route("/v1/purges/{kind}/{target}", delete(undo))
}

async fn list(node: Node) -> Answer<Vec<Purged>> {
    Ok(Json(node.purged()?))
}

async fn purge(node: Node, Json(body): Json<Purge>) -> Answer<Purged> {
    Ok(Json(node.purge(&body).await?))
}

async fn undo(node: Node, Path((kind, target)): Path<(String, String)>) -> Answer<Purged> {
    Ok(Json(node.undo_purge(&kind, &target).await?))
}

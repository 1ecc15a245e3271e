//! What the API says of searches.

use super::json::Json;
use super::problem::Failed;
use super::server::{Answer, App, Node};
use super::types::Message;
use crate::handle::NodeError;
use axum::Router;
use axum::routing::post;
use serde::{Deserialize, Serialize};

/// `POST /v1/search`: what is looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Search {
    /// Words, `"words one behind the other"`, `begin*`, `in:ROOM`, `from:NAME`, `before:DAY`, `after:DAY`.
    pub query: String,
    /// As `in:`.
    pub room: Option<String>,
    /// As `from:`.
    pub from: Option<String>,
    /// As `before:`.
    pub before: Option<String>,
    /// As `after:`.
    pub after: Option<String>,
    /// How many messages at most; 50 unless said.
    pub limit: Option<usize>,
    /// What comes first.
    pub sort: Sort,
    /// The query is being typed: its last word may go on.
    pub typing: bool,
}

/// What comes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sort {
    /// The newest.
    #[default]
    Newest,
    /// What fits best: where the rarer words occur more often in shorter texts.
    Best,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// The messages.
    pub hits: Vec<Hit>,
    /// There may be more than these.
    pub more: bool,
}

/// A message that was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hit {
    /// The message as it looks now.
    #[serde(flatten)]
    pub message: Message,
    /// What its room is called here.
    pub room_alias: String,
    /// How well it fits, compared with others of this answer.
    pub score: f64,
    /// The part of the text around what matched, as others wrote it: whoever shows it makes it safe, piece by piece.
    pub snippet: Vec<Piece>,
}

/// A piece of a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// What it says.
    pub text: String,
    /// Whether it is what was looked for.
    #[serde(default, rename = "match")]
    pub is_match: bool,
}

pub(super) fn routes() -> Router<App> {
    Router::new().route("/v1/search", post(search))
}

async fn search(node: Node, Json(body): Json<Search>) -> Answer<Found> {
    let node = node.0;
    // It reads the disk: others are served meanwhile.
    let found = tokio::task::spawn_blocking(move || node.search(&body)).await;
    Ok(Json(found.map_err(|_| Failed::from(NodeError::Stopping))??))
}

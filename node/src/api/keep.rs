//! What the API says of what is kept of a room: `GET` and `POST /v1/rooms/ROOM/keep`.

use super::json::Json;
use super::server::{Answer, App, Node};
use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use serde::{Deserialize, Serialize};

/// How much of a room this node is to keep; nothing said is no bound of its own.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keep {
    /// Bytes of content, before compression.
    pub max_bytes: Option<u64>,
    /// Days.
    pub max_days: Option<u32>,
    /// Nothing goes, whatever the node's budget.
    pub forever: bool,
}

/// What is kept of a room.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// Bytes of its content, before compression.
    pub bytes: u64,
    /// At most so many.
    pub max_bytes: Option<u64>,
    /// For so many days: by this node's setting or by the room's, whichever is shorter.
    pub max_days: Option<u32>,
    /// Nothing goes.
    pub forever: bool,
    /// Since when all of it is here, Unix milliseconds; older messages were trimmed. Nothing where none were.
    pub since_ms: Option<u64>,
}

pub(super) fn routes() -> Router<App> {
    Router::new().route("/v1/rooms/{room}/keep", get(kept).post(keep))
}

async fn kept(node: Node, Path(room): Path<String>) -> Answer<Kept> {
    let (_, view) = node.room_view(&room)?;
    Ok(Json(node.kept(&view)?))
}

async fn keep(node: Node, Path(room): Path<String>, Json(wish): Json<Keep>) -> Answer<Kept> {
    Ok(Json(node.keep_room(&room, &wish).await?))
}

//! What the HTTP API says of what became of erased messages, and its routes.

use super::json::Json;
use super::server::{Answer as Shown, App, Node};
use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};

/// `GET /v1/events/EVENT/erasure`: where an erased message is gone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Erasure {
    /// The message.
    pub id: String,
    /// Its room.
    pub room: String,
    /// The event that erases it.
    pub erase: String,
    /// Who wrote that.
    pub by: String,
    /// What they want to be called here.
    pub name: String,
    /// When, by their clock, Unix milliseconds.
    pub ms: u64,
    /// The author's own doing; else a moderator's, which takes the bytes seven days later.
    pub own: bool,
    /// When its bytes go from this node, Unix milliseconds; none when that is now or was.
    pub due_ms: Option<u64>,
    /// No file of this node has them any more.
    pub here: bool,
    /// The other devices of the room's members.
    pub devices: Vec<Answer>,
}

/// What a device says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Its key.
    pub device: String,
    /// Whose it is.
    pub user: String,
    /// What they want to be called here.
    pub name: String,
    /// No file of its node has what was erased, by its signed word.
    pub gone: bool,
    /// When it last said anything of what its node holds, Unix milliseconds.
    pub heard_ms: Option<u64>,
}

/// Answer of `POST /v1/id/former-names/erase`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NamesErased {
    /// How many were erased: one for each time that one was called something, in each room.
    pub erased: u64,
}

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/v1/events/{event}/erasure", get(erasure))
        .route("/v1/id/former-names/erase", post(former_names))
}

async fn erasure(State(node): Node, Path(event): Path<String>) -> Shown<Erasure> {
    Ok(Json(node.erasure(&event)?))
}

async fn former_names(State(node): Node) -> Shown<NamesErased> {
    Ok(Json(NamesErased { erased: node.erase_former_names().await? }))
}

//! What the HTTP API says of whether a room's history is whole: `GET /v1/rooms/ROOM/audit?wait_ms=10000`.

use super::json::Json;
use super::server::{Answer, App, Node};
use super::types::Gap;
use axum::Router;
use axum::extract::{Path, Query};
use axum::routing::get;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Whether a room's history is whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Audit {
    /// Nothing is missing, and all who answered hold nothing that is not here.
    pub complete: bool,
    /// What those who agree held then is here, Unix milliseconds; none where it is not complete.
    pub through_ms: Option<u64>,
    /// Devices that agree, by their signed word.
    pub agreed: usize,
    /// Peers that were asked: those connected that share the room.
    pub asked: usize,
    /// Why it is not complete: `gaps`, `differs`, `unasked`, `joining`.
    pub why: Option<String>,
    /// What is known to be missing.
    pub gaps: Vec<Gap>,
    /// The other devices of the room's members.
    pub devices: Vec<Audited>,
}

/// Something is known to be missing.
pub const WHY_GAPS: &str = "gaps";
/// A peer holds what is not here, and has not given it yet.
pub const WHY_DIFFERS: &str = "differs";
/// Nobody has answered.
pub const WHY_UNASKED: &str = "unasked";
/// Nothing of the room is here yet.
pub const WHY_JOINING: &str = "joining";

/// A device, and what it answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Audited {
    /// Its key.
    pub device: String,
    /// Whose it is.
    pub user: String,
    /// What they want to be called here.
    pub name: String,
    /// `agrees`; `lacks`: it agrees, and says that it lacks something itself; `differs`: it holds what is not here; `away`: it
    /// did not answer.
    pub state: String,
    /// When it was asked; or, where it did not answer, when it last said what it holds; Unix milliseconds.
    pub ms: Option<u64>,
}

/// All that it holds is here.
pub const STATE_AGREES: &str = "agrees";
/// All that it holds is here, and it lacks something.
pub const STATE_LACKS: &str = "lacks";
/// It holds what is not here.
pub const STATE_DIFFERS: &str = "differs";
/// It did not answer.
pub const STATE_AWAY: &str = "away";

/// How long to wait for peers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wait {
    wait_ms: Option<u64>,
}

pub(super) fn routes() -> Router<App> {
    Router::new().route("/v1/rooms/{room}/audit", get(audit))
}

async fn audit(node: Node, Path(room): Path<String>, Query(wait): Query<Wait>) -> Answer<Audit> {
    let wait = wait.wait_ms.map_or(WAIT, Duration::from_millis);
    Ok(Json(node.audit(&room, wait).await?))
}

/// Unless said otherwise.
const WAIT: Duration = Duration::from_secs(10);

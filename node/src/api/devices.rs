//! Routes for the user's devices.

use super::json::Json;
use super::problem::Failed;
use super::types as api;
use crate::handle::NodeHandle;
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use std::time::Duration;

type Answer<T> = Result<Json<T>, Failed>;
type Node = State<NodeHandle>;

pub(super) async fn list(State(node): Node) -> Answer<Vec<api::Device>> {
    Ok(Json(node.devices()?))
}

pub(super) async fn offer(State(node): Node, Json(body): Json<api::WithWords>) -> Answer<api::DeviceOffer> {
    Ok(Json(node.offer_device(body.words.as_deref())?))
}

#[derive(Deserialize)]
pub(super) struct After {
    /// What the asker knows already.
    #[serde(default)]
    after: String,
    #[serde(default)]
    wait_ms: u64,
}

pub(super) async fn standing(State(node): Node, Query(after): Query<After>) -> Answer<api::OfferStanding> {
    let wait = Duration::from_millis(after.wait_ms).min(WAIT_MAX);
    Ok(Json(node.device_offer(&after.after, wait).await))
}

pub(super) async fn decide(State(node): Node, Json(body): Json<api::Decide>) -> Answer<serde_json::Value> {
    node.decide_device(body.accept, &body.device)?;
    Ok(Json(serde_json::json!({})))
}

pub(super) async fn revoke(
    State(node): Node,
    Path(device): Path<String>,
    Json(body): Json<api::RevokeDevice>,
) -> Answer<api::DeviceRevoked> {
    Ok(Json(node.revoke_device(&device, &body).await?))
}

pub(super) async fn close(State(node): Node) -> Answer<serde_json::Value> {
    node.close_device_offer();
    Ok(Json(serde_json::json!({})))
}

/// The longest that a request waits.
const WAIT_MAX: Duration = Duration::from_secs(600);

//! The routes for keeping a room in order: folding messages, reports, and where a room goes on.

use super::json::Json;
use super::server::{Answer, App, Node, done};
use super::types as api;
use axum::Router;
use axum::extract::Path;
use axum::routing::{get, post};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/v1/rooms/{room}/successor", post(succeed))
        .route("/v1/rooms/{room}/resume", post(resume))
        .route("/v1/rooms/{room}/reports", get(reports))
        .route("/v1/events/{event}/hide", post(hide))
        .route("/v1/events/{event}/report", post(report))
}

async fn succeed(node: Node, Path(room): Path<String>, Json(body): Json<api::SetSuccessor>) -> Answer<api::Sent> {
    Ok(Json(node.succeed(&room, &body.room).await?))
}

async fn resume(node: Node, Path(room): Path<String>) -> Answer<serde_json::Value> {
    node.resume(&room).await?;
    done()
}

async fn reports(node: Node, Path(room): Path<String>) -> Answer<Vec<api::Report>> {
    Ok(Json(node.reports(&room)?))
}

async fn hide(node: Node, Path(event): Path<String>, Json(body): Json<api::SetHidden>) -> Answer<api::Sent> {
    Ok(Json(node.hide(&event, body.hidden).await?))
}

async fn report(node: Node, Path(event): Path<String>, Json(body): Json<api::SendReport>) -> Answer<api::Sent> {
    Ok(Json(node.report(&event, &body.reason).await?))
}

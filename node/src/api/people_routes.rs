//! The routes for people, names at domains and banned peers.

use super::json::Json;
use super::people as api;
use super::problem::Failed;
use super::server::{Answer, App, Node, done};
use axum::Router;
use axum::extract::Path;
use axum::routing::{delete, get, post};
use serde_json::Value;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/v1/people", get(people))
        .route("/v1/people/{user}/name", post(name))
        .route("/v1/people/{user}/code", get(code))
        .route("/v1/people/{user}/verify", post(verify).delete(unverify))
        .route("/v1/people/{user}/block", post(block).delete(unblock))
        .route("/v1/verify", post(verify_link))
        .route("/v1/pins", post(pin))
        .route("/v1/pins/{name}", delete(unpin))
        .route("/v1/bans", get(bans))
        .route("/v1/bans/{peer}", post(ban).delete(unban))
}

async fn people(node: Node) -> Answer<Vec<api::Person>> {
    Ok(Json(node.people()?))
}

async fn name(node: Node, Path(user): Path<String>, Json(body): Json<api::SetPetname>) -> Answer<api::Person> {
    Ok(Json(node.name_person(&user, &body.name).await?))
}

async fn code(node: Node, Path(user): Path<String>) -> Answer<api::Code> {
    Ok(Json(node.verify_code(&user).await?))
}

async fn verify(node: Node, Path(user): Path<String>, Json(body): Json<api::Verify>) -> Answer<api::Person> {
    Ok(Json(node.verify(&user, &body.code).await?))
}

async fn verify_link(node: Node, Json(body): Json<api::Verify>) -> Answer<api::Person> {
    Ok(Json(node.verify_link(&body.code).await?))
}

async fn unverify(node: Node, Path(user): Path<String>) -> Answer<api::Person> {
    Ok(Json(node.unverify(&user).await?))
}

async fn block(node: Node, Path(user): Path<String>) -> Answer<api::Person> {
    Ok(Json(node.block_person(&user, true).await?))
}

async fn unblock(node: Node, Path(user): Path<String>) -> Answer<api::Person> {
    Ok(Json(node.block_person(&user, false).await?))
}

async fn pin(node: Node, Json(body): Json<api::SetPin>) -> Answer<api::Pin> {
    Ok(Json(node.pin(&body.name, body.replace).await?))
}

async fn unpin(node: Node, Path(name): Path<String>) -> Answer<Value> {
    node.unpin(&name).await?;
    done()
}

async fn bans(node: Node) -> Result<Json<Vec<api::Ban>>, Failed> {
    Ok(Json(node.banned_peers()))
}

async fn ban(node: Node, Path(peer): Path<String>) -> Answer<Value> {
    node.ban_peer(&peer, true).await?;
    done()
}

async fn unban(node: Node, Path(peer): Path<String>) -> Answer<Value> {
    node.ban_peer(&peer, false).await?;
    done()
}

//! The routes of files. Bytes go through in both directions as streams, a piece at a time.

use super::file_types as api;
use super::json::Json;
use super::problem::Failed;
use super::server::{Answer, App, Node};
use crate::files::{FileError, Progress};
use crate::handle::NodeError;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures::{StreamExt, stream};
use serde::Deserialize;
use std::convert::Infallible;
use std::time::Duration;
use tidings_protocol::file::piece_count;
use tokio::sync::{mpsc, watch};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/v1/files", get(list).post(take_in).layer(DefaultBodyLimit::disable()))
        .route("/v1/files/{file}", get(one))
        .route("/v1/files/{file}/fetch", post(fetch))
        .route("/v1/files/{file}/content", get(content))
}

#[derive(Deserialize)]
struct Page {
    after: Option<String>,
    limit: Option<usize>,
}

/// `GET /v1/files?after=HASH&limit=`.
async fn list(State(node): Node, Query(page): Query<Page>) -> Answer<Vec<api::Listed>> {
    let limit = page.limit.unwrap_or(LISTED_MAX).clamp(1, LISTED_MAX);
    Ok(Json(tokio::task::block_in_place(|| node.files(page.after.as_deref(), limit))?))
}

async fn one(State(node): Node, Path(file): Path<String>) -> Answer<api::Listed> {
    Ok(Json(node.file(&file)?))
}

/// `POST /v1/files`: its bytes in, its hash out. All of the body is read even where it cannot be kept, or the answer would
/// not arrive.
async fn take_in(State(node): Node, body: Body) -> Answer<api::Taken> {
    let mut incoming = Some(node.take_in()?);
    let mut failed = None;
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|e| NodeError::Usage(format!("the file broke off: {e}")))?;
        if incoming.is_some()
            && let Err(error) = node.room_for_file(chunk.len()).await
        {
            failed = Some(error);
            incoming = None;
        }
        if let Some(file) = &mut incoming
            && let Err(error) = tokio::task::block_in_place(|| file.write(&chunk))
        {
            failed = Some(NodeError::from(FileError::from(error)));
            incoming = None;
        }
    }
    match (incoming, failed) {
        (Some(incoming), _) => Ok(Json(node.taken_in(incoming).await?)),
        (None, Some(error)) => Err(error.into()),
        (None, None) => Err(NodeError::Stopping.into()),
    }
}

#[derive(Deserialize)]
struct Patience {
    wait_ms: Option<u64>,
}

/// `POST /v1/files/FILE/fetch?wait_ms=`: gets what is missing of it, and says how far that is, in lines; a problem is the
/// last. It gives up when nothing has come for so long; what is here by then stays.
async fn fetch(State(node): Node, Path(file): Path<String>, Query(wait): Query<Patience>) -> Result<Response, Failed> {
    let patience = wait.wait_ms.map_or(PATIENCE, Duration::from_millis).min(PATIENCE_MAX);
    let (file, progress) = tokio::task::block_in_place(|| node.fetch_file(&file, patience))?;
    let lines = stream::unfold(Some((progress, true)), move |state| {
        let len = file.len;
        async move { next_line(state?, len).await }
    });
    Ok(([("content-type", "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

type Watched = (watch::Receiver<Progress>, bool);

async fn next_line(
    (mut progress, is_first): Watched,
    len: u64,
) -> Option<(Result<Bytes, Infallible>, Option<Watched>)> {
    if !is_first {
        tokio::time::sleep(LINE_EVERY).await;
        if progress.changed().await.is_err() && progress.borrow().ended.is_none() {
            return None;
        }
    }
    let now = progress.borrow_and_update().clone();
    let mut line = match &now.ended {
        Some(Err(error)) => {
            let Failed(problem) = NodeError::from(FileError::from(error.clone())).into();
            serde_json::to_vec(&problem)
        }
        ended => {
            let given = now.from.iter().map(|(peer, bytes)| api::Given { peer: peer.to_string(), bytes: *bytes });
            let (have, fetched, sources, from) = (now.have, now.fetched, now.sources, given.collect());
            serde_json::to_vec(&api::Fetched { have, len, fetched, sources, from, done: ended.is_some() })
        }
    }
    .unwrap_or_default();
    line.push(b'\n');
    let next = now.ended.is_none().then_some((progress, false));
    Some((Ok(Bytes::from(line)), next))
}

/// `GET /v1/files/FILE/content`: its bytes, each piece checked before it is given. A body that breaks off says that the
/// file is damaged here.
async fn content(State(node): Node, Path(file): Path<String>) -> Result<Response, Failed> {
    let reading = tokio::task::block_in_place(|| node.read_file(&file))?;
    let len = reading.len_bytes();
    let (pieces, queue) = mpsc::channel::<Result<Bytes, std::io::Error>>(PIECES_MAX);
    tokio::task::spawn_blocking(move || {
        for index in 0..piece_count(len) {
            let piece = reading.piece(index).map(Bytes::from).map_err(std::io::Error::other);
            let is_over = piece.is_err();
            if pieces.blocking_send(piece).is_err() || is_over {
                return;
            }
        }
    });
    let pieces = stream::unfold(queue, |mut queue| async move { Some((queue.recv().await?, queue)) });
    // Whatever a sender calls its media type, no browser takes it for a page of ours.
    let headers = [
        ("content-type", "application/octet-stream".to_owned()),
        ("content-length", len.to_string()),
        ("content-disposition", "attachment".to_owned()),
        ("x-content-type-options", "nosniff".to_owned()),
    ];
    Ok((headers, Body::from_stream(pieces)).into_response())
}

/// Files in one answer.
const LISTED_MAX: usize = 1000;
/// How long nothing may come before it is given up, unless said; and at most.
const PATIENCE: Duration = Duration::from_secs(30);
const PATIENCE_MAX: Duration = Duration::from_secs(3600);
/// Lines of progress are no faster than eyes.
const LINE_EVERY: Duration = Duration::from_millis(50);
/// Pieces of a file on their way to who reads it: with 256 KiB each, a megabyte.
const PIECES_MAX: usize = 4;

//! The answers and requests that are streams: what happens, imports, exports.

use super::problem::Failed;
use super::types::{ImportProgress, Notice};
use crate::handle::{NodeError, NodeHandle};
use crate::import::{Import, LINE_LEN_MAX};
use crate::notices::Notices;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt, stream};
use serde::Deserialize;
use std::convert::Infallible;
use std::io::Write;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::SendTimeoutError;

#[derive(Deserialize)]
pub(super) struct Since {
    since: Option<u64>,
}

/// `GET /v1/events?since=CURSOR`; `Last-Event-ID` says the same after a reconnect.
pub(super) async fn events(
    State(node): State<NodeHandle>,
    Query(query): Query<Since>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Failed> {
    let last = headers.get("last-event-id").and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
    let notices = node.notices(last.or(query.since))?;
    let events = stream::unfold(notices, |mut notices: Notices| async move {
        let notice = notices.next().await?;
        Some((Ok(to_event(&notice)), notices))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

fn to_event(notice: &Notice) -> Event {
    let event = Event::default().id(notice.cursor.to_string());
    event.json_data(notice).unwrap_or_else(|_| Event::default().comment("a notice that is no JSON"))
}

#[derive(Deserialize)]
pub(super) struct Source {
    source: Option<String>,
}

/// `POST /v1/rooms/ROOM/import?source=NAME`: JSON lines in, progress lines out.
pub(super) async fn import(
    State(node): State<NodeHandle>,
    Path(room): Path<String>,
    Query(query): Query<Source>,
    body: Body,
) -> Result<Response, Failed> {
    let import = Import::begin(node, &room, query.source.as_deref().unwrap_or("jsonl"))?;
    let (progress, lines) = mpsc::channel::<ImportProgressOrProblem>(PROGRESS_MAX);
    tokio::spawn(run_import(import, body, progress));
    let lines = stream::unfold(lines, |mut lines| async move {
        let line = lines.recv().await?;
        let mut text = match line {
            Ok(progress) => serde_json::to_vec(&progress).unwrap_or_default(),
            Err(Failed(problem)) => serde_json::to_vec(&problem).unwrap_or_default(),
        };
        text.push(b'\n');
        Some((Ok::<_, Infallible>(Bytes::from(text)), lines))
    });
    Ok(([("content-type", "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

type ImportProgressOrProblem = Result<ImportProgress, Failed>;

async fn run_import(mut import: Import, body: Body, progress: mpsc::Sender<ImportProgressOrProblem>) {
    let mut chunks = body.into_data_stream();
    let result = async {
        let mut rest: Vec<u8> = Vec::new();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|e| NodeError::Usage(format!("the file broke off: {e}")))?;
            for piece in chunk.split_inclusive(|b| *b == b'\n') {
                // The beginning of a line that is too long is enough to refuse it.
                rest.extend_from_slice(&piece[..piece.len().min((LINE_LEN_MAX + 1).saturating_sub(rest.len()))]);
                if piece.ends_with(b"\n") {
                    if let Some(acknowledged) = import.line(&rest).await? {
                        drop(progress.send(Ok(ImportProgress::Acknowledged { acknowledged })).await);
                    }
                    rest.clear();
                }
            }
        }
        if !rest.is_empty() {
            import.line(&rest).await?;
        }
        let (done, seconds) = import.end().await?;
        Ok::<_, NodeError>(ImportProgress::Done {
            imported: done.imported,
            known: done.known,
            rejected: done.rejected,
            seconds,
            errors: done.errors,
        })
    };
    let last = result.await.map_err(Failed::from);
    drop(progress.send(last).await);
    // The answer ends when the request has: closing a connection on which the other side still writes takes from it what
    // it has not read yet. Who has read the last line need not go on.
    while let Some(Ok(_)) = chunks.next().await {}
}

/// `GET /v1/rooms/ROOM/export`: the room's history as a file that proves itself.
pub(super) async fn export(State(node): State<NodeHandle>, Path(room): Path<String>) -> Result<Response, Failed> {
    let (room, view) = node.room_view(&room)?;
    let (pieces, queue) = mpsc::channel::<Result<Bytes, std::io::Error>>(PIECES_MAX);
    let store = node.store().clone();
    tokio::task::spawn_blocking(move || {
        let runtime = Handle::current();
        let mut out = Pieces { queue: pieces.clone(), buffer: Vec::with_capacity(PIECE_LEN), runtime };
        if let Err(error) = store.export(view.number, room, &mut out) {
            tracing::warn!(%room, %error, "an export was broken off");
            // The broken body tells the reader that the file is not whole.
            drop(pieces.blocking_send(Err(std::io::Error::other(error))));
        }
    });
    let pieces = stream::unfold(queue, |mut queue| async move { Some((queue.recv().await?, queue)) });
    Ok(([("content-type", "application/octet-stream")], Body::from_stream(pieces)).into_response())
}

/// Writes into a channel, piece by piece.
struct Pieces {
    queue: mpsc::Sender<Result<Bytes, std::io::Error>>,
    buffer: Vec<u8>,
    runtime: Handle,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE_LEN {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let piece = Bytes::from(std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE_LEN)));
        let sent = self.runtime.block_on(self.queue.send_timeout(Ok(piece), STALL_MAX));
        sent.map_err(|error| match error {
            SendTimeoutError::Timeout(_) => std::io::ErrorKind::TimedOut.into(),
            SendTimeoutError::Closed(_) => std::io::ErrorKind::BrokenPipe.into(),
        })
    }
}

const PROGRESS_MAX: usize = 64;
const PIECES_MAX: usize = 8;
const PIECE_LEN: usize = 64 * 1024;
/// A reader that takes nothing for so long is given up: what it sees of the store cannot go from the disk.
const STALL_MAX: Duration = Duration::from_secs(30);

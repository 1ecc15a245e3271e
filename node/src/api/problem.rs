//! What went wrong, as RFC 9457 problem+json with stable codes.

use super::types::Problem;
use crate::files::FileError;
use crate::handle::NodeError;
use crate::lookup::LookupError;
use crate::people::PeopleError;
use crate::refusal::Refusal;
use crate::upkeep::BackupError;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tidings_storage::blobs::BlobError;

/// An answer that says what went wrong.
pub struct Failed(pub Problem);

impl Failed {
    /// A problem of this kind.
    pub fn new(status: StatusCode, code: &str, title: impl Into<String>, detail: impl Into<String>) -> Self {
        let (title, detail) = (title.into(), detail.into());
        Failed(Problem { status: status.as_u16(), code: code.to_owned(), title, detail })
    }
}

impl From<NodeError> for Failed {
    fn from(error: NodeError) -> Self {
        let title = error.to_string();
        let (status, code, detail) = match &error {
            NodeError::Refused(Refusal::UnknownRoom | Refusal::UnknownEvent) | NodeError::NotFound(_) => {
                (StatusCode::NOT_FOUND, "not_found", "")
            }
            NodeError::Refused(Refusal::TooLong { .. } | Refusal::BadName(_) | Refusal::AliasTaken(_)) => {
                (StatusCode::BAD_REQUEST, "usage", "nothing was written")
            }
            NodeError::Refused(_) | NodeError::Forbidden(_) => {
                (StatusCode::FORBIDDEN, "refused", "nothing was written")
            }
            NodeError::Ambiguous { .. } => (StatusCode::BAD_REQUEST, "ambiguous", "write more of it"),
            NodeError::File(error) => file(error.root()),
            NodeError::Backup(error) => backup(error),
            NodeError::People(error) => person(error),
            NodeError::Lookup(error) => lookup(error),
            NodeError::Usage(_) | NodeError::Address(_) => (StatusCode::BAD_REQUEST, "usage", ""),
            NodeError::Link(_) => (StatusCode::BAD_REQUEST, "link", ""),
            NodeError::Storage(error) if error.is_damage() => (StatusCode::INTERNAL_SERVER_ERROR, "failed", DAMAGED),
            NodeError::Storage(_) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "failed", "`tidings doctor` looks for the cause")
            }
            NodeError::DiskFull => (
                StatusCode::INSUFFICIENT_STORAGE,
                "failed",
                "free some space and try again; reading goes on, and what was acknowledged is on disk",
            ),
            NodeError::Budget { .. } => {
                (StatusCode::INSUFFICIENT_STORAGE, "failed", "reading goes on; nothing was lost")
            }
            NodeError::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "failed", "start it again"),
        };
        Failed::new(status, code, title, detail)
    }
}

fn file(error: &FileError) -> (StatusCode, &'static str, &'static str) {
    match error {
        FileError::Blob(BlobError::TooLong) => (StatusCode::PAYLOAD_TOO_LARGE, "usage", "nothing was sent"),
        FileError::Blob(BlobError::DiskFull) => (StatusCode::INSUFFICIENT_STORAGE, "failed", "reading goes on"),
        FileError::OverQuota { .. } => (StatusCode::FORBIDDEN, "refused", "nothing was fetched"),
        FileError::Busy => (StatusCode::TOO_MANY_REQUESTS, "failed", "tidings file list shows what is here"),
        FileError::NoSource { .. } => {
            (StatusCode::GATEWAY_TIMEOUT, "unfinished", "run it again when they are: it goes on with what is here")
        }
        FileError::Gone | FileError::NotTaken(_) => (StatusCode::NOT_FOUND, "not_found", ""),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "failed", ""),
    }
}

fn backup(error: &BackupError) -> (StatusCode, &'static str, &'static str) {
    match error {
        BackupError::Exists(_) | BackupError::Inside(_) | BackupError::Path(_) | BackupError::NoFolder(_) => {
            (StatusCode::BAD_REQUEST, "usage", "nothing was written")
        }
        BackupError::DiskFull(_) => (StatusCode::INSUFFICIENT_STORAGE, "failed", "nothing is left of it"),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "failed", "nothing is left of it"),
    }
}

fn person(error: &PeopleError) -> (StatusCode, &'static str, &'static str) {
    match error {
        PeopleError::Nobody(_) | PeopleError::NotPinned(_) | PeopleError::NoPeer(_) => {
            (StatusCode::NOT_FOUND, "not_found", "")
        }
        PeopleError::BadPetname | PeopleError::NotACode(_) | PeopleError::AtName(_) => {
            (StatusCode::BAD_REQUEST, "usage", "")
        }
        PeopleError::Link(_) => (StatusCode::BAD_REQUEST, "link", ""),
        _ => (StatusCode::FORBIDDEN, "refused", ""),
    }
}

fn lookup(error: &LookupError) -> (StatusCode, &'static str, &'static str) {
    match error {
        LookupError::Unknown { .. } => (StatusCode::NOT_FOUND, "not_found", ""),
        LookupError::NotPublic { .. } => (StatusCode::FORBIDDEN, "refused", ""),
        _ => (StatusCode::BAD_GATEWAY, "failed", "try again later, or ask the person for their key (tidings id)"),
    }
}

/// A request that does not even read is refused before it comes to a route, in plain text: that becomes a problem too.
pub(super) async fn explain_refusal(response: Response) -> Response {
    let status = response.status();
    let is_plain =
        response.headers().get(header::CONTENT_TYPE).is_some_and(|v| v.as_bytes().starts_with(b"text/plain"));
    if !status.is_client_error() || !is_plain {
        return response;
    }
    let said = axum::body::to_bytes(response.into_body(), REFUSAL_LEN_MAX).await.unwrap_or_default();
    let title = String::from_utf8_lossy(&said).into_owned();
    Failed::new(status, "usage", title, "nothing was done: mend the request").into_response()
}

const DAMAGED: &str = "stop the node and start it again (tidings down, tidings up): it keeps what can be read and fetches the \
    rest from peers";
/// What is refused is said in a sentence.
const REFUSAL_LEN_MAX: usize = 4096;

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self.0)).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }
}

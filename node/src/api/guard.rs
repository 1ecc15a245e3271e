//! Who may ask. Over the Unix socket: whoever may open it, which is its owner alone. Over TCP: whoever shows the token,
//! at a Host that is this machine, from no page of another origin. Localhost is not trusted.

use super::problem::Failed;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// What a request over TCP has to show.
#[derive(Clone)]
pub(super) struct Guard {
    pub(super) token: String,
}

pub(super) async fn check(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    if !is_this_machine(headers) {
        let title = "the Host is not this machine, or the Origin is another page";
        return Failed::new(StatusCode::FORBIDDEN, "unauthorized", title, "ask 127.0.0.1 directly").into_response();
    }
    if !has_token(headers, &guard.token) {
        let detail = "send Authorization: Bearer TOKEN; the token is in node.json of the home";
        return Failed::new(StatusCode::UNAUTHORIZED, "unauthorized", "no valid token", detail).into_response();
    }
    next.run(request).await
}

fn is_this_machine(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).map(|v: &axum::http::HeaderValue| v.to_str().unwrap_or("?"));
    let host_is_local = |host: &str| {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        matches!(name, "127.0.0.1" | "localhost" | "[::1]")
    };
    let origin_is_local = |origin: &str| origin.strip_prefix("http://").is_some_and(host_is_local);
    text(header::HOST).is_some_and(host_is_local) && text(header::ORIGIN).is_none_or(origin_is_local)
}

fn has_token(headers: &HeaderMap, token: &str) -> bool {
    let given = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
    let given = given.and_then(|v| v.strip_prefix("Bearer ")).unwrap_or_default();
    // Compared by hash, so that the time it takes tells nothing of the token.
    blake3::hash(given.as_bytes()) == blake3::hash(token.as_bytes())
}

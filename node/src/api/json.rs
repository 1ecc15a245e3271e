//! JSON as bodies: read as axum reads it, and written into a plain buffer, which is faster than its own way of writing.

use super::problem::Failed;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, OptionalFromRequest, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// A body of JSON.
pub struct Json<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        let mut body = Vec::with_capacity(LEN_USUAL);
        if let Err(error) = serde_json::to_writer(&mut body, &self.0) {
            let title = "the answer cannot be written as JSON";
            return Failed::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", title, error.to_string()).into_response();
        }
        ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
    }
}

impl<S: Send + Sync, T> FromRequest<S> for Json<T>
where
    axum::Json<T>: FromRequest<S, Rejection = JsonRejection>,
{
    type Rejection = JsonRejection;

    async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
        <axum::Json<T> as FromRequest<S>>::from_request(request, state).await.map(|axum::Json(value)| Json(value))
    }
}

impl<S: Send + Sync, T> OptionalFromRequest<S> for Json<T>
where
    axum::Json<T>: OptionalFromRequest<S, Rejection = JsonRejection>,
{
    type Rejection = JsonRejection;

    async fn from_request(request: Request, state: &S) -> Result<Option<Self>, Self::Rejection> {
        let found = <axum::Json<T> as OptionalFromRequest<S>>::from_request(request, state).await?;
        Ok(found.map(|axum::Json(value)| Json(value)))
    }
}

/// Bytes of a usual answer.
const LEN_USUAL: usize = 1024;

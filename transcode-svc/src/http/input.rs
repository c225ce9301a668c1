//! What requests say: bodies of a bounded size, queries, names of jobs.
//!
//! Owns how a request's parts are read, and that what cannot be read is a problem with a reason.

use super::Shared;
use super::problem::Problem;
use crate::job::JobId;
use axum::body::to_bytes;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;
use std::time::Duration;

/// How long a body of JSON may take to arrive.
const ARRIVING: Duration = Duration::from_secs(30);

/// A body of JSON, as text.
pub(super) struct Text(pub(super) String);

impl FromRequest<Shared> for Text {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Shared) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            let detail = "the body has to be JSON: send Content-Type: application/json";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail));
        }
        let limit = api.settings.json_limit;
        let bytes = match tokio::time::timeout(ARRIVING, to_bytes(request.into_body(), limit)).await {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(error)) if is_too_large(&error) => {
                let detail = format!("the body is larger than the {limit} bytes that are taken here");
                return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail));
            }
            Ok(Err(_)) => return Err(Problem::wrong("the body ended early")),
            Err(_) => {
                let detail = format!("the body did not arrive within {} s", ARRIVING.as_secs());
                return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", detail));
            }
        };
        match String::from_utf8(bytes.into()) {
            Ok(text) => Ok(Self(text)),
            Err(_) => Err(Problem::wrong("the body is no UTF-8, which JSON has to be")),
        }
    }
}

/// A body of JSON, read into a type.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Shared> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Shared) -> Result<Self, Problem> {
        let Text(text) = Text::from_request(request, api).await?;
        let read = serde_json::from_str(&text);
        read.map(Self).map_err(|error| Problem::wrong(format!("the body cannot be read: {error}")))
    }
}

/// Whether a body says that it is JSON; one without a type is taken for it. What browsers send without asking first
/// (forms, plain text) is not.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else { return true };
    let kind = kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let kind = kind.to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

fn is_too_large(error: &axum::Error) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if error.to_string().contains("length limit exceeded") {
            return true;
        }
        next = error.source();
    }
    false
}

/// A query, read into a type.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<Shared> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Shared) -> Result<Self, Problem> {
        let read: Result<Query<T>, QueryRejection> = Query::from_request_parts(parts, api).await;
        read.map(|query| Self(query.0)).map_err(|error| Problem::wrong(error.body_text()))
    }
}

/// Parts of the path, read into a type.
pub(super) struct At<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Shared> for At<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Shared) -> Result<Self, Problem> {
        let read: Result<Path<T>, PathRejection> = Path::from_request_parts(parts, api).await;
        read.map(|path| Self(path.0)).map_err(|error| Problem::nothing(error.body_text()))
    }
}

/// The job that a path names.
pub(super) struct Named(pub(super) JobId);

impl FromRequestParts<Shared> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Shared) -> Result<Self, Problem> {
        let At(name) = At::<String>::from_request_parts(parts, api).await?;
        job_id(&name).map(Self)
    }
}

/// The name of a job that a client wrote.
pub(super) fn job_id(name: &str) -> Result<JobId, Problem> {
    name.parse().map_err(|error: crate::job::InvalidId| {
        Problem::new(StatusCode::NOT_FOUND, "unknown-job", error.to_string())
    })
}

//! What went wrong, as a client is told: problem details (RFC 9457), whatever the route.
//!
//! Owns the names of the problems, which are part of the API, and how errors of the other rooms become one.
//! Says nothing of this machine that a client needs not know: causes go to the log.

use crate::dispatch::DispatchError;
use crate::job::{JobId, Unreadable};
use crate::ledger::LedgerError;
use crate::queue::QueueError;
use crate::words::chain;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};
use transcode_core::sink::SinkError;
use utoipa::ToSchema;

/// The media type of a problem.
pub(super) const PROBLEM: &str = "application/problem+json";

/// What went wrong. As JSON: `type`, `title`, `status`, `detail`.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    status: StatusCode,
    kind: &'static str,
    detail: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    more: Map<String, Value>,
}

/// Problem details (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemBody {
    /// Names the kind of problem: `urn:transcode:problem:unknown-job`.
    #[serde(rename = "type")]
    kind: String,
    /// The kind in a few words, always the same for it.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What is wrong this time, and what to do.
    detail: String,
}

impl Problem {
    /// A problem of that kind; `detail` is for the person who must act.
    pub(super) fn new(status: StatusCode, kind: &'static str, detail: impl Into<String>) -> Self {
        Self { status, kind, detail: detail.into(), headers: Vec::new(), more: Map::new() }
    }

    /// The request says something that cannot be.
    pub(super) fn wrong(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "wrong-request", detail)
    }

    /// There is no such job.
    pub(super) fn unknown_job(id: &JobId) -> Self {
        Self::new(StatusCode::NOT_FOUND, "unknown-job", format!("there is no job {id}"))
    }

    /// There is nothing here.
    pub(super) fn nothing(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", detail)
    }

    /// A fault of ours; the cause is in the log.
    pub(super) fn ours(cause: &dyn std::fmt::Display) -> Self {
        log::error!("a request failed: {cause}");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "this server made a mistake; its log says more",
        )
    }

    /// Something behind this server is away; it may be back soon.
    pub(super) fn away(what: &str, cause: &dyn std::fmt::Display) -> Self {
        log::warn!("{what} is away: {cause}");
        let detail = format!("the {what} does not answer or refuses; try again in a moment");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "away", detail).header(header::RETRY_AFTER, "5")
    }

    /// The same with a header.
    pub(super) fn header(mut self, name: HeaderName, value: &str) -> Self {
        self.headers.extend(HeaderValue::from_str(value).ok().map(|value| (name, value)));
        self
    }

    /// The same with a member more.
    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.more.insert(name.to_owned(), value.into());
        self
    }

    /// What is wrong this time.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// What a status that some layer answered with means here.
    pub(super) fn of_status(status: StatusCode) -> Self {
        let (kind, detail) = match status {
            StatusCode::NOT_FOUND => {
                ("not-found", "there is nothing at this address; /api lists what there is")
            }
            StatusCode::METHOD_NOT_ALLOWED => (
                "method-not-allowed",
                "this address does not take that method; the header Allow lists those it does",
            ),
            StatusCode::PAYLOAD_TOO_LARGE => ("too-large", "the body is larger than this server takes"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                ("unsupported-media-type", "the body has to be application/json")
            }
            StatusCode::RANGE_NOT_SATISFIABLE => ("range", "the object has no such bytes"),
            StatusCode::BAD_REQUEST => ("wrong-request", "the request cannot be understood"),
            _ => ("error", status.canonical_reason().unwrap_or("something went wrong")),
        };
        Self::new(status, kind, detail)
    }

    fn title(&self) -> &'static str {
        match self.kind {
            "unknown-job" => "There is no such job",
            "wrong-job" => "This is no job that can be done",
            "taken" => "The name belongs to another job",
            "key-reused" => "The idempotency key belongs to another request",
            "state" => "The job's state does not allow it",
            "away" => "Something behind this server is away",
            "rate" => "Too many requests",
            "token" => "A token is needed",
            "scope" => "The token may not do that",
            "origin" => "Pages of that origin may not do that",
            "expired" => "The address has expired",
            "offset" => "The upload is at another offset",
            "not-offered" => "This store cannot do that",
            _ => self.status.canonical_reason().unwrap_or("Error"),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = ProblemBody {
            kind: format!("urn:transcode:problem:{}", self.kind),
            title: self.title().to_owned(),
            status: self.status.as_u16(),
            detail: self.detail,
        };
        let mut body = serde_json::to_value(body).unwrap_or_default();
        if let Value::Object(object) = &mut body {
            object.extend(self.more);
        }
        let mut response = (self.status, [(header::CONTENT_TYPE, PROBLEM)], body.to_string()).into_response();
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response.headers_mut().extend(self.headers);
        response
    }
}

impl From<LedgerError> for Problem {
    fn from(error: LedgerError) -> Self {
        match &error {
            LedgerError::Unknown { job } => Self::unknown_job(job),
            LedgerError::Taken { .. } => Self::new(StatusCode::CONFLICT, "taken", error.to_string()),
            LedgerError::State { state, .. } => {
                let state = state.name();
                Self::new(StatusCode::CONFLICT, "state", error.to_string()).with("state", state)
            }
            LedgerError::NoNotice { .. } => Self::nothing(error.to_string()),
            LedgerError::Contended { .. } | LedgerError::Failed { .. } => {
                Self::away("ledger", &chain(&error))
            }
            _ => Self::ours(&chain(&error)),
        }
    }
}

impl From<QueueError> for Problem {
    fn from(error: QueueError) -> Self {
        Self::away("queue", &chain(&error))
    }
}

impl From<DispatchError> for Problem {
    fn from(error: DispatchError) -> Self {
        match error {
            DispatchError::Ledger(error) => error.into(),
            DispatchError::Queue(error) => error.into(),
        }
    }
}

impl From<Unreadable> for Problem {
    fn from(error: Unreadable) -> Self {
        match &error {
            Unreadable::NotJson { .. } => Self::wrong(error.to_string()),
            _ => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "wrong-job", error.to_string()),
        }
    }
}

impl From<SinkError> for Problem {
    fn from(error: SinkError) -> Self {
        Self::away("store", &error)
    }
}

//! Whether this server lives, whether it can work, and what it has counted.

use super::Shared;
use super::problem::Problem;
use crate::ledger::Filter;
use crate::words::chain;
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;
use utoipa::ToSchema;

/// How long a part may take to answer; whoever asks waits ten seconds as a rule.
const PATIENCE: Duration = Duration::from_secs(5);

/// The server lives
#[utoipa::path(
    get, path = "/healthz",
    responses((status = 200, description = "It does: `ok`", content_type = "text/plain", body = String))
)]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// What can be reached.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Ready {
    /// Whether all can.
    ready: bool,
    /// `store`, `queue` and `ledger`: `ok`, or that it cannot be reached; the log says why.
    parts: BTreeMap<&'static str, &'static str>,
}

/// The server can work
#[utoipa::path(
    get, path = "/readyz",
    responses(
        (status = 200, description = "Store, queue and ledger can be reached", body = Ready),
        (status = 503, description = "One of them cannot; says which", body = Ready),
    )
)]
pub(super) async fn readyz(State(api): State<Shared>) -> Response {
    let ledger = api.blocking(|parts| {
        let one = Filter { limit: 1, ..Filter::default() };
        parts.dispatch.ledger().list(&one).map(drop).map_err(|error| chain(&error))
    });
    let queue = api.blocking(|parts| parts.dispatch.queue().depth().map(drop).map_err(|error| chain(&error)));
    let store = api.blocking(|parts| parts.objects.check().map_err(|error| chain(&error)));
    let (ledger, queue, store) = tokio::join!(asked(ledger), asked(queue), asked(store));
    let said = |name, answer: Result<(), String>| match answer {
        Ok(()) => (name, "ok"),
        Err(why) => {
            log::warn!("not ready: the {name} cannot be reached: {why}");
            (name, "cannot be reached")
        }
    };
    let parts = BTreeMap::from([said("ledger", ledger), said("queue", queue), said("store", store)]);
    let ready = parts.values().all(|said| *said == "ok");
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CACHE_CONTROL, "no-store")], Json(Ready { ready, parts })).into_response()
}

async fn asked(answer: impl Future<Output = Result<Result<(), String>, Problem>>) -> Result<(), String> {
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(problem)) => Err(problem.detail().to_owned()),
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

/// Metrics for Prometheus
#[utoipa::path(
    get, path = "/metrics",
    responses((status = 200, description = "OpenMetrics 1.0", content_type = "application/openmetrics-text", body = String))
)]
pub(super) async fn metrics(State(api): State<Shared>) -> Response {
    // A queue that is away must not hide the rest.
    let depth = api.blocking(|parts| parts.dispatch.queue().depth());
    match tokio::time::timeout(PATIENCE, depth).await {
        Ok(Ok(Ok(depth))) => api.parts.metrics.depth(&depth, api.parts.dispatch.ledger().now()),
        Ok(Ok(Err(error))) => log::warn!("the queue's depth is not known: {}", chain(&error)),
        _ => log::warn!("the queue's depth is not known: no answer in time"),
    }
    ([(header::CONTENT_TYPE, crate::metrics::CONTENT_TYPE)], api.parts.metrics.text()).into_response()
}

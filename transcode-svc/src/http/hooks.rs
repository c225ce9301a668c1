//! The messages about a job: what was sent, what was answered, and once more.

use super::Shared;
use super::input::{At, Named, job_id};
use super::problem::Problem;
use crate::job::JobId;
use crate::ledger::{Notice, NoticeState, Record};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// The messages about a job.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WebhookList {
    /// In the order in which they are sent.
    webhooks: Vec<WebhookView>,
}

/// A message about a job.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WebhookView {
    /// The `webhook-id`: the same for every try.
    id: String,
    /// Where it goes, without the query, which may hold a secret.
    url: String,
    /// `due`, `delivered` or `given-up`.
    state: &'static str,
    /// When it is sent next, or was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    /// How often it was sent.
    tries: u32,
    /// Why it was not taken so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// What is posted.
    body: String,
}

impl WebhookView {
    fn of(notice: &Notice) -> Self {
        let (state, at, why) = match &notice.state {
            NoticeState::Due(at) => ("due", Some(at.to_string()), None),
            NoticeState::Delivered(at) => ("delivered", Some(at.to_string()), None),
            NoticeState::GivenUp(why) => ("given-up", None, Some(why.clone())),
        };
        Self {
            id: notice.id.clone(),
            url: super::view::without_query(&notice.url),
            state,
            at,
            tries: notice.tries,
            reason: why.or_else(|| notice.last.clone()),
            body: notice.body.clone(),
        }
    }
}

fn list(record: &Record) -> WebhookList {
    WebhookList { webhooks: record.outbox.iter().map(WebhookView::of).collect() }
}

/// List the messages about a job
#[utoipa::path(
    get, path = "/api/v1/jobs/{id}/webhooks",
    params(("id" = String, Path, description = "The job's name")),
    responses((status = 200, description = "In the order in which they are sent", body = WebhookList))
)]
pub(super) async fn list_webhooks(
    State(api): State<Shared>,
    Named(id): Named,
) -> Result<Json<WebhookList>, Problem> {
    Ok(Json(list(&api.record(&id).await?)))
}

/// Send a message about a job once more
///
/// With the same id, and from the first try on.
#[utoipa::path(
    post, path = "/api/v1/jobs/{id}/webhooks/{webhook}/redeliver",
    params(
        ("id" = String, Path, description = "The job's name"),
        ("webhook" = String, Path, description = "The message's id"),
    ),
    responses((status = 202, description = "It is due", body = WebhookList))
)]
pub(super) async fn redeliver_webhook(
    State(api): State<Shared>,
    At((job, webhook)): At<(String, String)>,
) -> Result<Response, Problem> {
    let id: JobId = job_id(&job)?;
    let name = id.clone();
    api.blocking(move |parts| parts.dispatch.ledger().redeliver(&name, &webhook)).await??;
    Ok((StatusCode::ACCEPTED, Json(list(&api.record(&id).await?))).into_response())
}

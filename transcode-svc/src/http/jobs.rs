//! Our own API of jobs: create, look, list, cancel, try again, hurry.
//!
//! Owns what each of these answers, and the cursor of the list. What a job may be is `job`'s affair.

use super::Shared;
use super::input::{Asked, Json as Body, Named, Text};
use super::problem::Problem;
use super::view::{JobList, JobView};
use crate::job::{Job, Priority, read_submission};
use crate::ledger::{Cancelling, Filter, LedgerError, Record, State as JobState};
use crate::time::Timestamp;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use utoipa::{IntoParams, PartialSchema, ToSchema};

/// Records read from the ledger at once, and looked at for one page at most: a rare filter must not read all.
const BLOCK: usize = 200;
const LOOKED_AT: usize = 5_000;

/// A job of our own format; its schema is that of `transcode schema job`.
pub(super) struct JobBody;

impl PartialSchema for JobBody {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        utoipa::openapi::Ref::from_schema_name("Job").into()
    }
}

impl ToSchema for JobBody {
    fn name() -> std::borrow::Cow<'static, str> {
        "JobBody".into()
    }
}

/// Create a job
///
/// A second request with the same idempotency key is the first one again, and is answered with its job. What the Redis
/// workers' API takes is taken here as well.
#[utoipa::path(
    post, path = "/api/v1/jobs",
    params(("Idempotency-Key" = Option<String>, Header, description = "In place of the job's `idempotency_key`; 1 to 200 bytes")),
    request_body(content = inline(JobBody), content_type = "application/json"),
    responses(
        (status = 201, description = "It was taken in", body = JobView, headers(("Location" = String, description = "Where to look at it"))),
        (status = 200, description = "It had been taken in before", body = JobView),
        (status = 409, description = "The name belongs to another job"),
        (status = 422, description = "This is no job that can be done, or the key belongs to another request"),
    )
)]
pub(super) async fn create_job(
    State(api): State<Shared>,
    headers: HeaderMap,
    Text(text): Text,
) -> Result<Response, Problem> {
    let mut job = read_submission(&text, &api.parts.rules)?;
    if let Some(key) = headers.get("idempotency-key") {
        let key = key.to_str().ok().map(unquoted).filter(|key| (1..=200).contains(&key.len()));
        let key =
            key.ok_or_else(|| Problem::wrong("Idempotency-Key has to be 1 to 200 visible ASCII characters"))?;
        if job.idempotency_key.as_ref().is_some_and(|other| other != key) {
            return Err(Problem::wrong(
                "Idempotency-Key and the field `idempotency_key` differ; send one of them",
            ));
        }
        job.idempotency_key = Some(key.to_owned());
    }
    let wanted = job.clone();
    let submitted = api.blocking(move |parts| parts.dispatch.submit(job)).await??;
    let record = submitted.record;
    let repeated = wanted.idempotency_key.is_some() && record.job.idempotency_key == wanted.idempotency_key;
    if !submitted.fresh && repeated && !same_request(&record.job, &wanted) {
        let detail = format!(
            "the idempotency key was used for job {}, which is another one; use a new key for a new job",
            record.id
        );
        let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "key-reused", detail);
        return Err(problem.with("job", record.id.to_string()));
    }
    let location = api.address(&format!("/api/v1/jobs/{}", super::encoded(record.id.as_str())));
    let status = if submitted.fresh { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, [(header::LOCATION, location)], Json(JobView::of(&record, &api))).into_response())
}

/// The draft of the header has it as a quoted text, most clients send it plain.
fn unquoted(key: &str) -> &str {
    key.strip_prefix('"').and_then(|key| key.strip_suffix('"')).unwrap_or(key)
}

/// Whether two requests ask for the same. The name is not compared where one was made, and priority may have been
/// changed since.
fn same_request(one: &Job, other: &Job) -> bool {
    let essence = |job: &Job| Job { id: None, priority: Priority::Normal, ..job.clone() };
    essence(one) == essence(other) && other.id.as_ref().is_none_or(|id| one.id.as_ref() == Some(id))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Only those in this state: `queued`, `processing`, `committing`, `complete`, `failed`, `dead`, `cancelled`.
    #[param(value_type = Option<String>)]
    state: Option<JobState>,
    /// Only those of this priority: `high`, `normal`, `low`.
    #[param(value_type = Option<String>)]
    priority: Option<Priority>,
    /// Only those of this profile.
    profile: Option<String>,
    /// Only those in this worker's hands.
    worker: Option<String>,
    /// Jobs a page, 1 to 200.
    #[serde(default = "fifty")]
    limit: usize,
    /// From the page before.
    cursor: Option<String>,
}

fn fifty() -> usize {
    50
}

/// List jobs, the newest first
///
/// A page may have fewer jobs than were asked for, or none, and a cursor all the same: then a filter fits few, and the next
/// page goes on looking.
#[utoipa::path(
    get, path = "/api/v1/jobs", params(Wanted),
    responses((status = 200, description = "A page", body = JobList))
)]
pub(super) async fn list_jobs(
    State(api): State<Shared>,
    Asked(wanted): Asked<Wanted>,
) -> Result<Json<JobList>, Problem> {
    if !(1..=200).contains(&wanted.limit) {
        return Err(Problem::wrong(format!("`limit` is {}; allowed are 1 to 200", wanted.limit)));
    }
    let after = wanted.cursor.as_deref().map(read_cursor).transpose()?;
    let (records, next) = api.blocking(move |parts| page(&wanted, after, parts)).await??;
    let jobs = records.iter().map(|record| JobView::of(record, &api)).collect();
    Ok(Json(JobList { jobs, cursor: next }))
}

fn page(
    wanted: &Wanted,
    mut after: Option<(Timestamp, crate::job::JobId)>,
    parts: &super::Parts,
) -> Result<(Vec<Record>, Option<String>), LedgerError> {
    let plain = wanted.priority.is_none() && wanted.profile.is_none() && wanted.worker.is_none();
    let mut found = Vec::new();
    let mut seen = 0;
    loop {
        // One more than is shown tells whether there is a next page.
        let limit = if plain { wanted.limit + 1 } else { BLOCK };
        let filter = Filter { state: wanted.state, after: after.take(), limit };
        let block = parts.dispatch.ledger().list(&filter)?;
        let last = block.len() < limit;
        for record in block {
            if found.len() == wanted.limit {
                return Ok((found, after.as_ref().map(cursor)));
            }
            after = Some((record.created, record.id.clone()));
            seen += 1;
            if wanted.fits(&record) {
                found.push(record);
            }
        }
        if last {
            return Ok((found, None));
        }
        if seen >= LOOKED_AT {
            return Ok((found, after.as_ref().map(cursor)));
        }
    }
}

impl Wanted {
    fn fits(&self, record: &Record) -> bool {
        self.priority.is_none_or(|priority| record.job.priority == priority)
            && self.profile.as_ref().is_none_or(|profile| record.job.profile == *profile)
            && self
                .worker
                .as_ref()
                .is_none_or(|worker| record.lease.as_ref().is_some_and(|holder| holder.worker == *worker))
    }
}

/// The last job that was looked at, so that clients have nothing to build themselves.
fn cursor((created, id): &(Timestamp, crate::job::JobId)) -> String {
    super::settings::hex(format!("{}:{id}", created.millis()).as_bytes())
}

fn read_cursor(text: &str) -> Result<(Timestamp, crate::job::JobId), Problem> {
    let read = || {
        let text = String::from_utf8(super::settings::from_hex(text)?).ok()?;
        let (created, id) = text.split_once(':')?;
        Some((Timestamp::from_millis(created.parse().ok()?), id.parse().ok()?))
    };
    read().ok_or_else(|| Problem::wrong("this `cursor` was not made here; take the one of the page before"))
}

/// Look at a job
#[utoipa::path(
    get, path = "/api/v1/jobs/{id}",
    params(("id" = String, Path, description = "The job's name")),
    responses((status = 200, description = "The job", body = JobView))
)]
pub(super) async fn get_job(State(api): State<Shared>, Named(id): Named) -> Result<Json<JobView>, Problem> {
    let record = api.record(&id).await?;
    Ok(Json(JobView::of(&record, &api)))
}

/// Cancel a job
///
/// One that nobody works on is cancelled when this is answered (200); the worker of one that is being made is told at
/// its next renewal (202). What was stored stays.
#[utoipa::path(
    post, path = "/api/v1/jobs/{id}/cancel",
    params(("id" = String, Path, description = "The job's name")),
    responses(
        (status = 200, description = "It is cancelled", body = JobView),
        (status = 202, description = "Its worker is told", body = JobView),
        (status = 409, description = "It is over, or being published"),
    )
)]
pub(super) async fn cancel_job(State(api): State<Shared>, Named(id): Named) -> Result<Response, Problem> {
    let name = id.clone();
    let cancelling = api.blocking(move |parts| parts.dispatch.ledger().cancel(&name)).await??;
    let record = api.record(&id).await?;
    let status = match cancelling {
        Cancelling::Done => StatusCode::OK,
        Cancelling::Asked => StatusCode::ACCEPTED,
        // Asked twice, it is as asked for.
        Cancelling::TooLate if record.state == JobState::Cancelled => StatusCode::OK,
        Cancelling::TooLate => {
            let detail = format!("job {id} is {}: it cannot be cancelled any more", record.state);
            return Err(
                Problem::new(StatusCode::CONFLICT, "state", detail).with("state", record.state.name())
            );
        }
        Cancelling::Unknown => return Err(Problem::unknown_job(&id)),
    };
    Ok((status, Json(JobView::of(&record, &api))).into_response())
}

/// Try a job again
///
/// For one that failed, is dead or was cancelled. It goes on from what is stored.
#[utoipa::path(
    post, path = "/api/v1/jobs/{id}/retry",
    params(("id" = String, Path, description = "The job's name")),
    responses(
        (status = 202, description = "It is in the queue", body = JobView),
        (status = 409, description = "It is in another state"),
    )
)]
pub(super) async fn retry_job(State(api): State<Shared>, Named(id): Named) -> Result<Response, Problem> {
    let name = id.clone();
    api.blocking(move |parts| parts.dispatch.retry(&name)).await??;
    let record = api.record(&id).await?;
    Ok((StatusCode::ACCEPTED, Json(JobView::of(&record, &api))).into_response())
}

/// What can be changed of a job that waits.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    /// The line it waits in: `high`, `normal`, `low`.
    #[schema(value_type = String)]
    priority: Priority,
}

/// Change a job's priority
///
/// Of a job that waits. It stands at the end of its new line then.
#[utoipa::path(
    patch, path = "/api/v1/jobs/{id}",
    params(("id" = String, Path, description = "The job's name")),
    request_body(content = Change, content_type = "application/json"),
    responses(
        (status = 200, description = "It is changed", body = JobView),
        (status = 409, description = "It does not wait any more"),
    )
)]
pub(super) async fn change_job(
    State(api): State<Shared>,
    Named(id): Named,
    Body(change): Body<Change>,
) -> Result<Json<JobView>, Problem> {
    let name = id.clone();
    api.blocking(move |parts| parts.dispatch.set_priority(&name, change.priority)).await??;
    let record = api.record(&id).await?;
    Ok(Json(JobView::of(&record, &api)))
}

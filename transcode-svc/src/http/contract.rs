//! The API of the Redis workers, to the letter: their clients and dashboards stay as they are.
//!
//! Owns three routes and their JSON. Errors are problem details here as well, with `success` and `error` beside
//! them, where such clients look.

use super::Shared;
use super::input::{Asked, Named, Text};
use super::problem::Problem;
use super::view::{OutputView, outputs};
use crate::job::read_submission;
use crate::ledger::{Filter, Record};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Records read from the ledger at once, on the way to a page.
const BLOCK: usize = 500;

/// The largest page.
const LARGEST: usize = 100;

/// The job was taken in.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Submitted {
    /// True.
    success: bool,
    /// Its name.
    #[schema(example = "job_1791036309_k3v9x1m4q7z0")]
    job_id: String,
    /// `queued`.
    status: &'static str,
}

/// What is wanted.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `job::read_submission` reads")]
#[schema(rename_all = "camelCase")]
pub(super) struct Submission {
    /// The key of the video in the store.
    #[schema(example = "uploads/game.mp4")]
    input_key: String,
    /// The profile; `roku-hls` where it is absent: four rungs, an MP4 file each.
    #[schema(example = "roku-hls")]
    profile: Option<String>,
    /// Where the output goes, in the store.
    #[schema(example = "games/7")]
    output_prefix: String,
}

/// Where a job stands.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct StatusView {
    /// Its name.
    job_id: String,
    /// `queued`, `processing`, `complete` or `failed`.
    status: &'static str,
    /// What came out; empty before it is complete.
    outputs: Vec<OutputView>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// A page of jobs.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct JobPage {
    /// The newest first.
    jobs: Vec<JobLine>,
}

/// A job in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct JobLine {
    /// Its name.
    id: String,
    /// `queued`, `processing`, `complete` or `failed`.
    status: &'static str,
    /// When it was taken in.
    created: String,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Page {
    /// Which page, from 0.
    #[serde(default)]
    page: usize,
    /// Jobs a page, 1 to 100.
    #[serde(default = "size")]
    size: usize,
}

fn size() -> usize {
    20
}

/// The same problem, with what these clients look for.
fn theirs(problem: Problem) -> Problem {
    let detail = problem.detail().to_owned();
    problem.with("success", false).with("error", detail)
}

/// Submit a job
///
/// Takes our own jobs as well.
#[utoipa::path(
    post, path = "/api/transcode/submit",
    request_body(content = inline(Submission), content_type = "application/json"),
    responses((status = 200, description = "It is in the queue", body = Submitted))
)]
pub(super) async fn submit(
    State(api): State<Shared>,
    text: Result<Text, Problem>,
) -> Result<Json<Submitted>, Problem> {
    let Text(text) = text.map_err(theirs)?;
    let job = read_submission(&text, &api.parts.rules).map_err(|error| theirs(error.into()))?;
    let submitted =
        api.blocking(move |parts| parts.dispatch.submit(job)).await?.map_err(|error| theirs(error.into()))?;
    let record = submitted.record;
    Ok(Json(Submitted { success: true, job_id: record.id.to_string(), status: record.state.contract() }))
}

/// Where a job stands
#[utoipa::path(
    get, path = "/api/transcode/status/{jobId}",
    params(("jobId" = String, Path, description = "The job's name")),
    responses((status = 200, description = "The job", body = StatusView))
)]
pub(super) async fn status(
    State(api): State<Shared>,
    id: Result<Named, Problem>,
) -> Result<Json<StatusView>, Problem> {
    let Named(id) = id.map_err(theirs)?;
    let record = api.record(&id).await.map_err(theirs)?;
    let failed = record.state.contract() == "failed";
    Ok(Json(StatusView {
        job_id: record.id.to_string(),
        status: record.state.contract(),
        outputs: outputs(&record),
        error: record.error.filter(|_| failed),
    }))
}

/// Jobs, page by page
#[utoipa::path(
    get, path = "/api/transcode/jobs", params(Page),
    responses((status = 200, description = "A page; empty behind the last one", body = JobPage))
)]
pub(super) async fn page_of_jobs(
    State(api): State<Shared>,
    page: Result<Asked<Page>, Problem>,
) -> Result<Json<JobPage>, Problem> {
    let Asked(Page { page, size }) = page.map_err(theirs)?;
    if !(1..=LARGEST).contains(&size) {
        return Err(theirs(Problem::wrong(format!("`size` is {size}; allowed are 1 to {LARGEST}"))));
    }
    let skip = page.saturating_mul(size);
    let listed = api
        .blocking(move |parts| {
            let (mut skip, mut after, mut found) = (skip, None, Vec::new());
            loop {
                let limit = BLOCK.min(skip.saturating_add(size - found.len()));
                let block = parts.dispatch.ledger().list(&Filter { state: None, after, limit })?;
                let last = block.len() < limit;
                after = block.last().map(|record| (record.created, record.id.clone()));
                let passed = skip.min(block.len());
                skip -= passed;
                found.extend(block.iter().skip(passed).take(size - found.len()).map(JobLine::of));
                if last || found.len() == size {
                    return Ok(found);
                }
            }
        })
        .await?;
    let jobs = listed.map_err(|error: crate::ledger::LedgerError| theirs(error.into()))?;
    Ok(Json(JobPage { jobs }))
}

impl JobLine {
    fn of(record: &Record) -> Self {
        Self {
            id: record.id.to_string(),
            status: record.state.contract(),
            created: record.created.to_string(),
        }
    }
}

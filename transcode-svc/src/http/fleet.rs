//! The fleet: who works on what, how full the queue is, what was laid aside.

use super::Shared;
use super::input::At;
use super::problem::Problem;
use crate::job::{self, Message, Priority};
use crate::ledger::WorkerCard;
use crate::queue::DeadLetter;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use std::time::Duration;
use utoipa::ToSchema;

/// A worker says that it is there at least every minute; after three it is called silent.
const SILENT: Duration = Duration::from_secs(180);

/// Dead letters shown at once.
const LETTERS: usize = 1_000;

/// The workers.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WorkerList {
    /// Those seen within a day, by name.
    workers: Vec<WorkerView>,
}

/// A worker.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WorkerView {
    /// Its name.
    name: String,
    /// The machine.
    host: String,
    /// The program's version.
    version: String,
    /// The platform that it uses, after its first job.
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<String>,
    /// `working`, `idle`, `stopping`, or `silent`: nothing was heard of it for three minutes.
    state: &'static str,
    /// The job in its hands.
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<String>,
    /// Since when it has it, or has none.
    since: String,
    /// Since when it runs.
    started: String,
    /// When it was last heard of.
    seen: String,
}

/// List workers
#[utoipa::path(
    get, path = "/api/v1/workers",
    responses((status = 200, description = "Who works, on what, since when", body = WorkerList))
)]
pub(super) async fn list_workers(State(api): State<Shared>) -> Result<Json<WorkerList>, Problem> {
    let (cards, now) = api
        .blocking(|parts| {
            let ledger = parts.dispatch.ledger();
            ledger.workers().map(|cards| (cards, ledger.now()))
        })
        .await??;
    let view = |card: WorkerCard| {
        let state = match &card {
            card if now.since(card.seen) > SILENT => "silent",
            card if card.stopping => "stopping",
            card if card.job.is_some() => "working",
            _ => "idle",
        };
        WorkerView {
            name: card.name,
            host: card.host,
            version: card.version,
            platform: Some(card.platform).filter(|platform| !platform.is_empty()),
            state,
            job: card.job.map(|job| job.to_string()),
            since: card.since.to_string(),
            started: card.started.to_string(),
            seen: card.seen.to_string(),
        }
    };
    Ok(Json(WorkerList { workers: cards.into_iter().map(view).collect() }))
}

/// How full the queue is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct QueueView {
    /// Messages that wait, by line.
    waiting: Waiting,
    /// In a worker's hands.
    held: u64,
    /// Given back for later.
    delayed: u64,
    /// Laid aside.
    dead: u64,
    /// Seconds that the oldest has waited; absent where none waits, or the queue does not know.
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_seconds: Option<u64>,
}

/// Messages that wait.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Waiting {
    /// With priority high.
    high: u64,
    /// With priority normal.
    normal: u64,
    /// With priority low.
    low: u64,
    /// All of them.
    total: u64,
}

/// How full the queue is
#[utoipa::path(
    get, path = "/api/v1/queue",
    responses((status = 200, description = "Depth and age", body = QueueView))
)]
pub(super) async fn get_queue(State(api): State<Shared>) -> Result<Json<QueueView>, Problem> {
    let depth = api.blocking(|parts| parts.dispatch.queue().depth()).await??;
    let now = api.parts.dispatch.ledger().now();
    let [high, normal, low] = Priority::ALL.map(|line| depth.waiting(line));
    Ok(Json(QueueView {
        waiting: Waiting { high, normal, low, total: high + normal + low },
        held: depth.held,
        delayed: depth.delayed,
        dead: depth.dead,
        oldest_seconds: depth.oldest.map(|oldest| now.since(oldest).as_secs()),
    }))
}

/// Dead letters.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeadList {
    /// The oldest first.
    dead: Vec<DeadView>,
}

/// A message that was laid aside.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeadView {
    /// Names it.
    number: u64,
    /// The line it came from.
    priority: &'static str,
    /// When it was laid aside.
    at: String,
    /// Why.
    reason: String,
    /// The job it asks for, where it asks for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<String>,
    /// What it says.
    body: String,
}

impl DeadView {
    fn of(letter: DeadLetter, rules: &job::Rules) -> Self {
        let job = match job::read(&letter.body, rules) {
            Ok(Message::Jobs(jobs)) if jobs.len() == 1 => jobs.into_iter().next().and_then(|job| job.id),
            _ => None,
        };
        Self {
            number: letter.number,
            priority: letter.priority.name(),
            at: letter.at.to_string(),
            reason: letter.reason,
            job: job.map(|id| id.to_string()),
            body: letter.body,
        }
    }
}

/// List dead letters
///
/// Messages that nobody could make anything of, and jobs that were tried too often; a thousand at most.
#[utoipa::path(
    get, path = "/api/v1/dead",
    responses((status = 200, description = "The oldest first", body = DeadList))
)]
pub(super) async fn list_dead(State(api): State<Shared>) -> Result<Json<DeadList>, Problem> {
    let letters = api.blocking(|parts| parts.dispatch.queue().dead_letters(LETTERS)).await??;
    let dead = letters.into_iter().map(|letter| DeadView::of(letter, &api.parts.rules)).collect();
    Ok(Json(DeadList { dead }))
}

/// Look at a dead letter
#[utoipa::path(
    get, path = "/api/v1/dead/{number}",
    params(("number" = u64, Path, description = "Names it")),
    responses((status = 200, description = "The letter", body = DeadView))
)]
pub(super) async fn get_dead(
    State(api): State<Shared>,
    At(number): At<u64>,
) -> Result<Json<DeadView>, Problem> {
    let letter = find(&api, number).await?;
    Ok(Json(DeadView::of(letter, &api.parts.rules)))
}

/// Put a dead letter into its line again
///
/// A job that is dead, failed or was cancelled is tried again; any other message is read again as it is.
#[utoipa::path(
    post, path = "/api/v1/dead/{number}/requeue",
    params(("number" = u64, Path, description = "Names it")),
    responses((status = 202, description = "It is in its line", body = DeadView))
)]
pub(super) async fn requeue_dead(
    State(api): State<Shared>,
    At(number): At<u64>,
) -> Result<Response, Problem> {
    let letter = find(&api, number).await?;
    let body = letter.body.clone();
    let revived = api
        .blocking(move |parts| {
            // The ledger first: a message whose job is dead would be laid aside again.
            if let Ok(Message::Jobs(jobs)) = job::read(&body, &parts.rules) {
                for id in jobs.into_iter().filter_map(|job| job.id) {
                    let ledger = parts.dispatch.ledger();
                    let over = ledger.get(&id)?.is_some_and(|record| {
                        use crate::ledger::State;
                        matches!(record.state, State::Dead | State::Failed | State::Cancelled)
                    });
                    if over {
                        ledger.retry(&id)?;
                        ledger.announced(&id)?;
                    }
                }
            }
            Ok::<_, crate::dispatch::DispatchError>(parts.dispatch.queue().revive(number)?)
        })
        .await??;
    if !revived {
        return Err(Problem::nothing(format!("there is no dead letter {number} any more")));
    }
    Ok((StatusCode::ACCEPTED, Json(DeadView::of(letter, &api.parts.rules))).into_response())
}

async fn find(api: &Shared, number: u64) -> Result<DeadLetter, Problem> {
    let letters = api.blocking(|parts| parts.dispatch.queue().dead_letters(usize::MAX)).await??;
    letters
        .into_iter()
        .find(|letter| letter.number == number)
        .ok_or_else(|| Problem::nothing(format!("there is no dead letter {number}")))
}

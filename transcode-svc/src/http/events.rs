//! Events as they happen: server-sent events of a job, or of the whole fleet.
//!
//! Owns what is told under which name, and how it is found out: workers of this process tell the [`Hub`]; what
//! others do is seen in the ledger, which is read once a second for as long as somebody watches. There is
//! no replay: whoever connects again asks for the state first (a job's stream begins with it), so `Last-Event-ID` is not
//! needed and not looked at. Watchers are counted; a slow one is told how much it missed.
//!
//! [`Hub`]: crate::events::Hub

use super::input::Named;
use super::problem::Problem;
use super::view::{JobView, ProgressView};
use super::{Closing, Parts, Shared};
use crate::events::{JobEvent, What};
use crate::job::JobId;
use crate::ledger::{Filter, LedgerError, Progress, Record, State as JobState};
use crate::time::Timestamp;
use crate::words::chain;
use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};

/// How often the ledger is read while somebody watches.
const LOOK: Duration = Duration::from_secs(1);

/// A comment is sent so often where nothing happens, so that nobody on the way takes the connection for dead.
const STILL_HERE: Duration = Duration::from_secs(15);

/// Events that a watcher may be behind before some are left out.
const BEHIND: usize = 512;

/// Jobs in work that are looked at for those who watch the fleet, and the newest beside them.
const ACTIVE: usize = 500;
const NEWEST: usize = 100;

/// Jobs whose last state is remembered.
const REMEMBERED: usize = 5_000;

/// One event, ready to be sent.
#[derive(Debug, Clone)]
struct Told {
    job: JobId,
    name: &'static str,
    data: Arc<str>,
    last: bool,
}

/// Who watches, and what they are told.
pub(super) struct Watch {
    told: broadcast::Sender<Told>,
    room: Arc<Semaphore>,
    most: usize,
    watched: Mutex<Watched>,
    last: Mutex<HashMap<JobId, Last>>,
}

#[derive(Default)]
struct Watched {
    fleet: usize,
    jobs: HashMap<JobId, usize>,
    /// Whether somebody reads the ledger for them.
    looking: bool,
}

impl Watch {
    pub(super) fn new(watchers: usize) -> Self {
        Self {
            told: broadcast::channel(BEHIND).0,
            room: Arc::new(Semaphore::new(watchers)),
            most: watchers,
            watched: Mutex::default(),
            last: Mutex::default(),
        }
    }
}

/// A watcher; counted until it is dropped.
struct Watcher {
    api: Shared,
    job: Option<JobId>,
    _room: OwnedSemaphorePermit,
}

impl Watcher {
    fn new(api: &Shared, job: Option<JobId>) -> Result<Self, Problem> {
        let room = Arc::clone(&api.watch.room).try_acquire_owned().map_err(|_| {
            let detail = format!("{} connections watch already, which is as many as may", api.watch.most);
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "watchers", detail)
                .header(header::RETRY_AFTER, "10")
        })?;
        let mut watched = api.watch.watched.lock().unwrap_or_else(PoisonError::into_inner);
        match &job {
            Some(id) => *watched.jobs.entry(id.clone()).or_default() += 1,
            None => watched.fleet += 1,
        }
        if !std::mem::replace(&mut watched.looking, true) {
            tokio::spawn(look(api.clone()));
        }
        drop(watched);
        api.parts.metrics.watching(1);
        Ok(Self { api: api.clone(), job, _room: room })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.api.parts.metrics.watching(-1);
        let mut watched = self.api.watch.watched.lock().unwrap_or_else(PoisonError::into_inner);
        match &self.job {
            None => watched.fleet = watched.fleet.saturating_sub(1),
            Some(id) => {
                if let Some(count) = watched.jobs.get_mut(id) {
                    *count -= 1;
                    if *count == 0 {
                        watched.jobs.remove(id);
                    }
                }
            }
        }
    }
}

/// Watch the fleet
///
/// `state`, `progress`, `segment`, `fallback` and `log` events of all jobs; `missed` where this connection was too slow. Segments
/// and log lines are those of this process's own workers; states and progress are everybody's.
#[utoipa::path(
    get, path = "/api/v1/events",
    responses(
        (status = 200, description = "Until the connection ends", content_type = "text/event-stream", body = String),
        (status = 503, description = "Too many watch"),
    )
)]
pub(super) async fn watch_fleet(
    State(api): State<Shared>,
    closing: Option<Extension<Closing>>,
) -> Result<Response, Problem> {
    let receiver = api.watch.told.subscribe();
    let watcher = Watcher::new(&api, None)?;
    Ok(stream(watcher, receiver, None, closing))
}

/// Watch a job
///
/// Begins with a `job` event: the job as it is. Then as for the fleet, until the job is over: the last event is `end`, with the
/// job as it is then, and the connection ends.
#[utoipa::path(
    get, path = "/api/v1/jobs/{id}/events",
    params(("id" = String, Path, description = "The job's name")),
    responses(
        (status = 200, description = "Until the job is over", content_type = "text/event-stream", body = String),
        (status = 503, description = "Too many watch"),
    )
)]
pub(super) async fn watch_job(
    State(api): State<Shared>,
    Named(id): Named,
    closing: Option<Extension<Closing>>,
) -> Result<Response, Problem> {
    // Listening before looking, so that nothing falls in between.
    let receiver = api.watch.told.subscribe();
    let watcher = Watcher::new(&api, Some(id.clone()))?;
    let record = api.record(&id).await?;
    // From here on a change is news.
    let mut last = api.watch.last.lock().unwrap_or_else(PoisonError::into_inner);
    last.entry(id).or_insert_with(|| Last::of(&record));
    drop(last);
    Ok(stream(watcher, receiver, Some(record), closing))
}

/// What a connection is in.
struct Sending {
    watcher: Watcher,
    receiver: broadcast::Receiver<Told>,
    closing: Option<Closing>,
    /// What is sent next, whatever happens.
    next: Vec<Event>,
    over: bool,
}

fn stream(
    watcher: Watcher,
    receiver: broadcast::Receiver<Told>,
    record: Option<Record>,
    closing: Option<Extension<Closing>>,
) -> Response {
    let over = record.as_ref().is_some_and(|record| record.state.is_final());
    let mut next = Vec::new();
    if let Some(record) = &record {
        // The last one is sent first.
        next.extend(over.then(|| event("end", &job_text(record, &watcher.api))));
        next.push(event("job", &job_text(record, &watcher.api)));
    }
    let closing = closing.map(|closing| closing.0);
    let sending = Sending { watcher, receiver, closing, next, over };
    let events = futures::stream::unfold(sending, |mut sending| async move {
        let event = sending.event().await?;
        Some((Ok::<_, Infallible>(event), sending))
    });
    let keep = KeepAlive::new().interval(STILL_HERE).text("still here");
    // Proxies of nginx' kind collect answers unless they are told not to.
    let unbuffered = [(HeaderName::from_static("x-accel-buffering"), "no")];
    (unbuffered, Sse::new(events).keep_alive(keep)).into_response()
}

impl Sending {
    async fn event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.next.pop() {
                return Some(event);
            }
            if self.over {
                return None;
            }
            let closed = async {
                match &mut self.closing {
                    Some(Closing(closing)) => drop(closing.wait_for(|closing| *closing).await),
                    None => std::future::pending().await,
                }
            };
            let told = tokio::select! {
                biased;
                () = closed => return None,
                told = self.receiver.recv() => told,
            };
            let told = match told {
                Ok(told) => told,
                Err(RecvError::Lagged(count)) => {
                    return Some(event("missed", &json!({ "events": count }).to_string()));
                }
                Err(RecvError::Closed) => return None,
            };
            if self.watcher.job.as_ref().is_some_and(|job| *job != told.job) {
                continue;
            }
            if told.last && self.watcher.job.is_some() {
                self.over = true;
                let record = self.watcher.api.record(&told.job).await.ok();
                self.next.extend(record.map(|record| event("end", &job_text(&record, &self.watcher.api))));
            }
            return Some(event(told.name, &told.data));
        }
    }
}

fn event(name: &str, data: &str) -> Event {
    Event::default().event(name).data(data)
}

fn job_text(record: &Record, api: &Shared) -> String {
    serde_json::to_string(&JobView::of(record, api)).unwrap_or_default()
}

impl Told {
    fn new(job: &JobId, at: Timestamp, epoch: u64, name: &'static str, more: Value) -> Self {
        let mut data = Map::new();
        data.insert("job".to_owned(), job.as_str().into());
        data.insert("at".to_owned(), at.to_string().into());
        data.insert("epoch".to_owned(), epoch.into());
        if let Value::Object(more) = more {
            data.extend(more);
        }
        Self { job: job.clone(), name, data: Value::Object(data).to_string().into(), last: false }
    }

    fn state(job: &JobId, at: Timestamp, epoch: u64, state: JobState, error: Option<&str>) -> Self {
        let mut more = json!({ "state": state.name() });
        if let Some(error) = error {
            more["error"] = error.into();
        }
        Self { last: state.is_final(), ..Self::new(job, at, epoch, "state", more) }
    }

    fn progress(job: &JobId, at: Timestamp, epoch: u64, progress: &Progress) -> Self {
        let view = ProgressView::of(progress.percent, Some(progress));
        Self::new(job, at, epoch, "progress", serde_json::to_value(view).unwrap_or_default())
    }

    fn of(event: &JobEvent) -> Self {
        let JobEvent { job, at, epoch, what } = event;
        let new = |name, more| Self::new(job, *at, *epoch, name, more);
        match what {
            What::State { state, error } => Self::state(job, *at, *epoch, *state, error.as_deref()),
            What::Progress(progress) => Self::progress(job, *at, *epoch, progress),
            What::Segment { rung, index, key, bytes } => {
                new("segment", json!({ "rung": rung, "index": index, "key": key, "bytes": bytes }))
            }
            What::Fallback { from, to, why } => {
                new("fallback", json!({ "from": from, "to": to, "why": why }))
            }
            What::Log { level, text } => new("log", json!({ "level": level, "text": text })),
        }
    }
}

/// What was told last of a job.
#[derive(Clone, PartialEq)]
struct Last {
    state: JobState,
    progress: Option<Progress>,
    created: Timestamp,
    updated: Timestamp,
}

impl Last {
    fn of(record: &Record) -> Self {
        let Record { state, created, updated, .. } = *record;
        Self { state, progress: record.progress.clone(), created, updated }
    }
}

/// Read the ledger, and hear what this process's workers say, until nobody watches any more.
async fn look(api: Shared) {
    let mut hub = api.parts.hub.watch();
    let mut tick = tokio::time::interval(LOOK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut fleet_known = false;
    loop {
        tokio::select! {
            heard = hub.recv() => match heard {
                Ok(event) => {
                    let mut last = api.watch.last.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Some(last) = last.get_mut(&event.job) {
                        match &event.what {
                            What::State { state, .. } => last.state = *state,
                            What::Progress(progress) => last.progress = Some(progress.clone()),
                            _ => {}
                        }
                    }
                    drop(last);
                    tell(&api, Told::of(&event));
                    continue;
                }
                Err(RecvError::Lagged(_)) => continue,
                // The hub lives in `api`.
                Err(RecvError::Closed) => {}
            },
            _ = tick.tick() => {}
        }
        let (fleet, jobs) = {
            let mut watched = api.watch.watched.lock().unwrap_or_else(PoisonError::into_inner);
            if watched.fleet == 0 && watched.jobs.is_empty() {
                watched.looking = false;
                api.watch.last.lock().unwrap_or_else(PoisonError::into_inner).clear();
                return;
            }
            (watched.fleet > 0, watched.jobs.keys().cloned().collect::<Vec<_>>())
        };
        let active = {
            let last = api.watch.last.lock().unwrap_or_else(PoisonError::into_inner);
            last.iter().filter(|(_, last)| !last.state.is_final()).map(|(id, _)| id.clone()).collect()
        };
        let read = api.blocking(move |parts| records(parts, fleet, jobs, active)).await;
        let records = match read {
            Ok(Ok(records)) => records,
            Ok(Err(error)) => {
                log::debug!("events: {}", chain(&error));
                continue;
            }
            Err(_) => continue,
        };
        // What is there when somebody begins to watch the fleet is no news.
        let news = fleet_known;
        fleet_known = fleet;
        compare(&api, records, news);
    }
}

fn compare(api: &Shared, records: Vec<Record>, news: bool) {
    let mut last = api.watch.last.lock().unwrap_or_else(PoisonError::into_inner);
    for record in records {
        let now = Last::of(&record);
        if last.get(&record.id).is_some_and(|before| before.updated > now.updated) {
            // It was read before somebody else read it.
            continue;
        }
        let before = last.insert(record.id.clone(), now.clone());
        let (id, at, epoch) = (&record.id, record.updated, record.epoch);
        let changed = before.as_ref().map_or(news, |before| before.state != now.state);
        let moved = before.as_ref().is_some_and(|before| before.progress != now.progress);
        if let Some(progress) = now.progress.as_ref().filter(|_| moved) {
            tell(api, Told::progress(id, at, epoch, progress));
        }
        if changed {
            tell(api, Told::state(id, at, epoch, now.state, record.error.as_deref()));
        }
    }
    if last.len() > REMEMBERED {
        let mut over: Vec<_> = last
            .iter()
            .filter(|(_, last)| last.state.is_final())
            .map(|(id, last)| (last.created, id.clone()))
            .collect();
        over.sort();
        over.truncate(last.len() - REMEMBERED / 2);
        over.iter().for_each(|(_, id)| drop(last.remove(id)));
    }
}

fn tell(api: &Shared, told: Told) {
    let _nobody_watches = api.watch.told.send(told);
}

/// All jobs that those who watch may want to hear of.
fn records(
    parts: &Parts,
    fleet: bool,
    jobs: Vec<JobId>,
    active: Vec<JobId>,
) -> Result<Vec<Record>, LedgerError> {
    let ledger = parts.dispatch.ledger();
    let mut found: HashMap<JobId, Record> = HashMap::new();
    if fleet {
        // The newest last: they are as true as the others, and read later.
        for (state, limit) in
            [(Some(JobState::Processing), ACTIVE), (Some(JobState::Committing), ACTIVE), (None, NEWEST)]
        {
            let listed = ledger.list(&Filter { state, after: None, limit })?;
            found.extend(listed.into_iter().map(|record| (record.id.clone(), record)));
        }
    }
    // What was in work a moment ago and is in none of these lists has ended, or waits again.
    let asked = jobs.into_iter().chain(active.into_iter().filter(|_| fleet).take(ACTIVE));
    for id in asked {
        if !found.contains_key(&id) {
            found.extend(ledger.get(&id)?.map(|record| (id, record)));
        }
    }
    let mut found: Vec<Record> = found.into_values().collect();
    found.sort_by(|one, other| (one.updated, &one.id).cmp(&(other.updated, &other.id)));
    Ok(found)
}

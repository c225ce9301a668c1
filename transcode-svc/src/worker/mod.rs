//! Workers: one job at a time, from the queue to its end, under a lease.
//!
//! Owns the loop (take, keep, make, tell), what happens to the lease meanwhile, and how a worker goes. Who may have
//! a job is the ledger's affair, how it is made the engine's.
//!
//! ```text
//! take ─► lease ─► look ─► plan ─► segments … ─► verified ─► commit ─► playlists ─► MP4 ─► complete
//!           └─ renewed at a third of its time; lost, late or cancelled: the graph is killed, nothing is written
//! ```

mod fence;
mod keeper;
mod places;
mod report;
pub(crate) mod spot;
mod stop;

pub use stop::Stop;

use crate::child;
use crate::dispatch::{Dispatch, DispatchError, Work};
use crate::engine::{Made, Order, platforms};
use crate::events::{Hub, What};
use crate::job::{Job, JobId, Mp4, Output};
use crate::ledger::{LedgerError, Next, State, WorkerCard};
use crate::metrics::Metrics;
use crate::store::Stores;
use crate::words::{chain, kind_name};
use fence::Fence;
use keeper::{Ended, Keeper};
use places::JobPlaces;
use report::Report;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use transcode_core::sink::SinkError;
use transcode_core::{Cancel, Error, ErrorKind};

/// How a worker works.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its name, another for each worker that shares a queue.
    pub name: String,
    /// How long a lease lasts between two renewals; at least a second.
    pub lease: Duration,
    /// How long one look at the queue waits for a message.
    pub poll: Duration,
    /// Platforms to try in this order: `auto`, names, or files.
    pub platforms: Vec<String>,
    /// Graphs side by side; absent: as many as this machine is worth.
    pub jobs: Option<u32>,
    /// Where players fetch the store from, where a job does not say it; with it, playlists hold absolute addresses.
    pub base_url: Option<String>,
}

/// What all workers of a process share.
#[derive(Clone)]
pub struct Kit {
    /// Where jobs come from and go to.
    pub dispatch: Dispatch,
    /// Sources and destinations.
    pub stores: Arc<Stores>,
    /// The configured store, as it was named.
    pub store: Option<String>,
    /// How children are started.
    pub child: child::Settings,
    /// Who watches this process.
    pub hub: Hub,
    /// What is counted.
    pub metrics: Metrics,
}

impl std::fmt::Debug for Kit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kit").field("store", &self.store).finish_non_exhaustive()
    }
}

/// Names an attempt in every line about it.
#[derive(Debug, Clone)]
struct Tag {
    job: JobId,
    epoch: u64,
    attempt: u32,
}

/// How long a queue that does not answer is left alone, at most.
const AWAY: Duration = Duration::from_secs(15);

/// How often a worker says that it is there.
const CARD: Duration = Duration::from_secs(20);

/// A worker.
#[derive(Debug)]
pub struct Worker {
    kit: Kit,
    settings: Settings,
    card: Mutex<WorkerCard>,
}

impl Worker {
    /// A worker that has nothing to do yet.
    pub fn new(kit: Kit, settings: Settings) -> Self {
        let now = kit.dispatch.ledger().now();
        let card = WorkerCard {
            name: settings.name.clone(),
            host: host(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            platform: String::new(),
            started: now,
            seen: now,
            job: None,
            since: now,
            stopping: false,
        };
        Self { kit, settings, card: Mutex::new(card) }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Work until somebody says stop. Whatever goes wrong with a job or a server, it goes on.
    pub fn run(&self, stop: &Stop) {
        let gone = Cancel::new();
        std::thread::scope(|scope| {
            scope.spawn(|| self.show(stop, &gone));
            self.take_all(stop);
            gone.cancel();
        });
        if let Err(error) = self.kit.dispatch.ledger().worker_gone(&self.settings.name) {
            log::debug!("worker {}: its card stays: {error}", self.settings.name);
        }
    }

    fn take_all(&self, stop: &Stop) {
        let mut away = Duration::from_millis(500);
        while !stop.asked().is_cancelled() {
            let Settings { name, lease, poll, .. } = &self.settings;
            match self.kit.dispatch.next(name, *lease, *poll) {
                Ok(Some(work)) => {
                    away = Duration::from_millis(500);
                    self.kit.metrics.took(work.record.job.priority);
                    self.kit.metrics.lease_granted();
                    self.attempt(work, stop);
                    self.kit.metrics.lease_ended();
                }
                Ok(None) => away = Duration::from_millis(500),
                Err(error) => {
                    log::warn!(
                        "worker {name}: {}; the next look is in {:.1} s",
                        chain(&error),
                        away.as_secs_f64()
                    );
                    let _asked = stop.asked().sleep(away);
                    away = (away * 2).min(AWAY);
                }
            }
        }
    }

    /// One attempt at a job, to whatever end.
    fn attempt(&self, work: Work, stop: &Stop) {
        let tag = Tag::of(&work);
        let job = work.record.job.clone();
        self.busy(Some(&tag.job));
        if work.record.attempts > 0 || work.record.epoch > 1 {
            tag.info(&format!("taken up again by {}; what is stored stays", self.settings.name));
        }
        let state = work.record.state;
        self.kit.tell(&tag, What::State { state, error: None });
        let cancel = stop.at_once().child();
        let fence = Arc::new(Fence::new(work.lease.deadline));
        let keeper = Keeper::new(&self.kit, &tag, work, fence.clone(), cancel.clone());
        let commit = || keeper.begin_commit();
        let report = Report::new(&self.kit, &tag, &commit);
        let over = Cancel::new();
        let made = std::thread::scope(|scope| {
            scope.spawn(|| keeper.keep(&report, stop, &over, &|platform| self.platform(platform)));
            let made = self.make(&tag, &job, &report, fence, &cancel);
            over.cancel();
            made
        });
        report.ended();
        self.conclude(&tag, &job, keeper, made, stop);
        self.busy(None);
    }

    fn make(
        &self,
        tag: &Tag,
        job: &Job,
        report: &Report<'_>,
        fence: Arc<Fence>,
        cancel: &Cancel,
    ) -> Result<Made, Error> {
        let wrong = |error: crate::job::Unreadable| Error::Config {
            what: "the job".to_owned(),
            reason: error.to_string(),
        };
        let [source] = &job.sources[..] else {
            return Err(Error::Config {
                what: "sources".to_owned(),
                reason: format!("{} chapters; this version reads one source a job", job.sources.len()),
            });
        };
        let mut spec = job.spec().map_err(wrong)?;
        if let (None, Some(base)) = (&spec.base_url, &self.settings.base_url) {
            spec.base_url = Some(format!("{}/{}", base.trim_end_matches('/'), job.key_prefix()));
        }
        let mp4: &[String] = match job.packages() {
            Mp4::None => &[],
            Mp4::All => &["all".to_owned()],
        };
        let places = JobPlaces { stores: &self.kit.stores, base: self.kit.store.as_deref(), fence };
        let about = child::About { job: tag.job.to_string(), attempt: tag.attempt, epoch: tag.epoch };
        let child = child::Settings { about: Some(about), ..self.kit.child.clone() };
        let order = Order {
            places: &places,
            child: &child,
            input: source,
            candidates: platforms::load(&self.settings.platforms)?,
            spec: &spec,
            destination: &job.destination,
            overwrite: false,
            mp4,
            jobs: self.settings.jobs,
            cancel,
        };
        order.make(report)
    }

    /// Tell the ledger, and whoever watches, how it ended.
    fn conclude(&self, tag: &Tag, job: &Job, keeper: Keeper<'_>, made: Result<Made, Error>, stop: &Stop) {
        let (work, ended) = keeper.end();
        let outputs = match (made, ended) {
            (_, Ended::Lost(why)) => {
                // Another has it, or soon will: nothing of this attempt counts any more.
                tag.warn(&format!("the lease is lost, the work was stopped: {why}"));
                self.kit.tell(tag, What::Log { level: "warn", text: format!("the lease is lost: {why}") });
                return;
            }
            // A rung that the source is too small for was left out, unless every name was asked for.
            (Ok(made), _) => {
                let mut outputs = job.outputs().unwrap_or_default();
                outputs
                    .retain(|output| output.profile == "hls" || made.report.rung(&output.profile).is_some());
                outputs
            }
            (Err(error), ended) => {
                let error = if matches!(ended, Ended::Cancelled) { Error::Interrupted } else { error };
                return self.failed(tag, &work, &error, stop);
            }
        };
        self.complete(tag, &work, &outputs);
    }

    /// Say that it is done, for as long as the lease lasts: the output is there, only the ledger may be away.
    fn complete(&self, tag: &Tag, work: &Work, outputs: &[Output]) {
        let done = insist(work.lease.deadline, || self.kit.dispatch.complete(work, outputs));
        match done {
            Ok(()) => {
                tag.info("complete");
                self.kit.metrics.removed();
                self.ended(tag, State::Complete, "none", None);
            }
            Err(error) => tag.error(&format!(
                "all is published, and the ledger could not be told; whoever gets the job next tells it: {}",
                chain(&error)
            )),
        }
    }

    fn failed(&self, tag: &Tag, work: &Work, error: &Error, stop: &Stop) {
        let (kind, reason) = (blame(error), error.chain());
        let going = stop.asked().is_cancelled() && kind == ErrorKind::Interrupted;
        let next = insist(work.lease.deadline, || self.kit.dispatch.fail(work, kind, &reason));
        match next {
            Ok(Next::Again { .. }) if going => {
                tag.info("handed over: this worker goes; what is stored stays");
                self.kit.tell(tag, What::State { state: State::Queued, error: None });
            }
            Ok(Next::Again { at }) => {
                tag.warn(&format!("it failed and is tried again from {at} on: {reason}"));
                self.kit.tell(tag, What::State { state: State::Queued, error: Some(reason) });
            }
            Ok(Next::Failed) => {
                tag.error(&format!("failed: {reason}"));
                self.kit.metrics.removed();
                self.ended(tag, State::Failed, kind_name(kind), Some(reason));
            }
            Ok(Next::Dead) => {
                tag.error(&format!("dead, a person has to look: {reason}"));
                self.ended(tag, State::Dead, kind_name(kind), Some(reason));
            }
            Ok(Next::Cancelled) => {
                tag.info("cancelled");
                self.kit.metrics.removed();
                self.ended(tag, State::Cancelled, "none", None);
            }
            Err(error) => {
                tag.error(&format!("{reason}; and the ledger could not be told: {}", chain(&error)))
            }
        }
    }

    fn ended(&self, tag: &Tag, state: State, kind: &str, error: Option<String>) {
        self.kit.metrics.job_ended(state.name(), kind);
        self.kit.tell(tag, What::State { state, error });
    }

    fn busy(&self, job: Option<&JobId>) {
        let now = self.kit.dispatch.ledger().now();
        self.change(|card| (card.job, card.since) = (job.cloned(), now));
    }

    fn platform(&self, name: &str) {
        if !name.is_empty() {
            self.change(|card| name.clone_into(&mut card.platform));
        }
    }

    /// Change the card, and show it where that is news.
    fn change(&self, change: impl FnOnce(&mut WorkerCard)) {
        let mut card = self.card.lock().unwrap_or_else(PoisonError::into_inner);
        let before = card.clone();
        change(&mut card);
        let now = card.clone();
        drop(card);
        if now != before {
            self.put(now);
        }
    }

    fn put(&self, card: WorkerCard) {
        if let Err(error) = self.kit.dispatch.ledger().worker_seen(card) {
            log::debug!("worker {}: its card could not be written: {error}", self.settings.name);
        }
    }

    /// Say now and then that it is there.
    fn show(&self, stop: &Stop, gone: &Cancel) {
        let mut stopping = false;
        let mut shown: Option<Instant> = None;
        while !gone.sleep(Duration::from_millis(500)) {
            let now_stopping = stop.asked().is_cancelled();
            if shown.is_none_or(|shown| shown.elapsed() >= CARD) || now_stopping != stopping {
                (stopping, shown) = (now_stopping, Some(Instant::now()));
                let mut card = self.card.lock().unwrap_or_else(PoisonError::into_inner);
                card.stopping = stopping;
                let card = card.clone();
                self.put(card);
            }
        }
    }
}

/// Who is at fault, for the ledger: what a store refuses for good is the request's or its credentials' fault, and
/// trying again changes nothing.
fn blame(error: &Error) -> ErrorKind {
    match error {
        Error::Sink(SinkError::Refused { .. }) => ErrorKind::Usage,
        other => other.kind(),
    }
}

/// Do it again while the ledger is away and the lease lasts.
fn insist<T>(deadline: Instant, call: impl Fn() -> Result<T, DispatchError>) -> Result<T, DispatchError> {
    let mut pause = Duration::from_millis(200);
    loop {
        match call() {
            Err(DispatchError::Ledger(LedgerError::Failed { .. }) | DispatchError::Queue(_))
                if Instant::now() + pause < deadline =>
            {
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_secs(5));
            }
            other => return other,
        }
    }
}

/// This machine's name.
pub(crate) fn host() -> String {
    let read = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = read.trim();
    if name.is_empty() { "localhost".to_owned() } else { name.to_owned() }
}

//! What a job's making looks like from outside: figures for the ledger, events for whoever watches, counters.

use super::{Kit, Tag};
use crate::dispatch::Work;
use crate::engine::{Snapshot, Start, Watch};
use crate::events::{JobEvent, What};
use crate::ledger::{Playable, Progress, Stage};
use crate::time::{Clock as _, SystemClock};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use transcode_core::Error;
use transcode_core::event::{Fallback, SegmentFacts};
use transcode_core::package::{Packaged, Progress as FileProgress};

/// Between two events of progress, at least.
const EVERY: Duration = Duration::from_millis(500);

/// Watches one attempt.
pub(super) struct Report<'a> {
    pub(super) kit: &'a Kit,
    pub(super) tag: &'a Tag,
    state: Mutex<State>,
    /// Asks the ledger for the right to publish.
    commit: &'a (dyn Fn() -> Result<(), Error> + Sync),
}

struct State {
    progress: Progress,
    told: Option<Instant>,
    stage_began: Instant,
}

impl<'a> Report<'a> {
    pub(super) fn new(
        kit: &'a Kit,
        tag: &'a Tag,
        commit: &'a (dyn Fn() -> Result<(), Error> + Sync),
    ) -> Self {
        let state = State { progress: Progress::default(), told: None, stage_began: Instant::now() };
        Self { kit, tag, state: Mutex::new(state), commit }
    }

    /// What the next renewal says.
    pub(super) fn progress(&self) -> Progress {
        self.lock().progress.clone()
    }

    /// The attempt is over: its last stage is, too.
    pub(super) fn ended(&self) {
        self.stage(Stage::Probe);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stage(&self, stage: Stage) {
        let mut state = self.lock();
        let before = state.progress.stage;
        if before == stage && stage != Stage::Probe {
            return;
        }
        self.kit.metrics.stage(before, state.stage_began.elapsed());
        state.stage_began = Instant::now();
        state.progress.stage = stage;
    }

    fn tell(&self, what: What) {
        self.kit.tell(self.tag, what);
    }
}

impl Watch for Report<'_> {
    fn planned(&self, start: &Start<'_>) {
        self.stage(Stage::Encode);
        let mut state = self.lock();
        let platform = start.platform;
        platform.name.clone_into(&mut state.progress.platform);
        self.kit.metrics.platform(&platform.name, &platform.encode.element);
        let segments = start.plan.timeline.expected_segments();
        let rungs = start.plan.rungs.iter();
        state.progress.rungs =
            rungs.map(|rung| Playable { rung: rung.name.clone(), playable: 0, segments }).collect();
        drop(state);
        let missing: usize = start.missing.iter().map(|run| run.segments().len()).sum();
        let all = segments.map_or("open-ended".to_owned(), |segments| format!("{segments} segments"));
        self.tag.info(&format!(
            "{} → {}: {} rungs, {all}, {missing} to be made, on platform {}",
            start.plan.source.uri,
            start.destination,
            start.plan.rungs.len(),
            platform.name
        ));
    }

    fn progress(&self, snapshot: &Snapshot) {
        let mut state = self.lock();
        let progress = &mut state.progress;
        // What is made is not yet published: 100 is for the end.
        progress.percent = snapshot.percent().map_or(0, |percent| percent.clamp(0.0, 99.0) as u8);
        progress.speed_percent = (snapshot.speed * 100.0).clamp(0.0, 1e9) as u32;
        progress.seconds_to_go = snapshot.eta.map(|eta| eta.clamp(0.0, 1e9) as u64);
        for (rung, news) in progress.rungs.iter_mut().zip(&snapshot.rungs) {
            (rung.playable, rung.segments) = (news.playable, news.segments);
        }
        let due = state.told.is_none_or(|told| told.elapsed() >= EVERY);
        if due {
            state.told = Some(Instant::now());
            let progress = state.progress.clone();
            drop(state);
            self.kit.metrics.speed(&progress.platform, f64::from(progress.speed_percent) / 100.0);
            self.tell(What::Progress(progress));
        }
    }

    fn segment(&self, key: &str, facts: &SegmentFacts) {
        self.kit.metrics.segment_stored(facts.bytes);
        self.tell(What::Segment {
            rung: facts.rung.clone(),
            index: facts.index.0,
            key: key.to_owned(),
            bytes: facts.bytes,
        });
    }

    fn warning(&self, text: &str) {
        self.tag.warn(text);
        self.tell(What::Log { level: "warn", text: text.to_owned() });
    }

    fn fallback(&self, fallback: &Fallback) {
        self.tag.warn(&fallback.to_string());
        self.kit.metrics.fallback(&fallback.from, &fallback.to);
        self.lock().progress.platform.clone_from(&fallback.to);
        let Fallback { from, to, why, .. } = fallback.clone();
        self.tell(What::Fallback { from, to, why });
    }

    fn committing(&self) -> Result<(), Error> {
        (self.commit)()?;
        self.stage(Stage::Publish);
        Ok(())
    }

    fn packaging(&self, _location: &str, _progress: FileProgress) {
        self.stage(Stage::Package);
    }

    fn packaged(&self, file: &Packaged) {
        self.stage(Stage::Package);
        self.tag.info(&format!("{}: {} bytes", file.location, file.bytes));
    }
}

impl Kit {
    /// Tell whoever watches this process.
    pub(super) fn tell(&self, tag: &Tag, what: What) {
        self.hub.tell(JobEvent { job: tag.job.clone(), at: SystemClock.now(), epoch: tag.epoch, what });
    }
}

impl Tag {
    pub(super) fn of(work: &Work) -> Self {
        let (job, epoch) = (work.lease.job.clone(), work.lease.epoch);
        Self { job, epoch, attempt: work.record.attempts + 1 }
    }

    pub(super) fn info(&self, text: &str) {
        log::info!(job = self.job.as_str(), attempt = self.attempt, epoch = self.epoch; "{text}");
    }

    pub(super) fn warn(&self, text: &str) {
        log::warn!(job = self.job.as_str(), attempt = self.attempt, epoch = self.epoch; "{text}");
    }

    pub(super) fn error(&self, text: &str) {
        log::error!(job = self.job.as_str(), attempt = self.attempt, epoch = self.epoch; "{text}");
    }
}

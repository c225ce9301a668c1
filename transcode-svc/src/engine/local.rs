//! The local engine: what is missing of a plan, made by child processes side by side.
//!
//! Runs are taken in order, so that playlists grow from the beginning; each child makes one after the
//! other. Right before a run the store is asked once more: what another process has made meanwhile is
//! adopted. The first failure stops the others; what is stored stays, and the next attempt goes on.

use crate::child::{Session, Settings};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use transcode_core::event::{ChunkReport, SegmentFacts};
use transcode_core::plan::{Chunk, Plan};
use transcode_core::platform::Platform;
use transcode_core::run::{ChunkRequest, Publisher};
use transcode_core::sink::Sink;
use transcode_core::source::Source;
use transcode_core::{Cancel, Error, Event};

/// What the engine tells while it works; from several threads.
#[derive(Debug)]
pub enum Told {
    /// Somebody else has made this segment.
    Found(SegmentFacts),
    /// Something happened in a run.
    Run {
        /// Tells the runs apart; counts from 0.
        number: usize,
        /// What.
        event: Event,
    },
}

/// Everything that a run needs.
pub struct Local<'a> {
    /// Of what.
    pub plan: &'a Plan,
    /// How this machine does things.
    pub platform: &'a Platform,
    /// Where it is read.
    pub source: Arc<dyn Source>,
    /// Where it goes.
    pub sink: Arc<dyn Sink>,
    /// How children are started.
    pub child: &'a Settings,
    /// Stops all of it; set by the first failure.
    pub cancel: &'a Cancel,
}

impl std::fmt::Debug for Local<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Local").field("location", &self.sink.location()).finish_non_exhaustive()
    }
}

impl Local<'_> {
    /// Make `runs` with `jobs` children; `session` is the first of them. Reports are in the order of
    /// the timeline.
    ///
    /// # Errors
    /// The first failure, as [`Session::run`] gives it.
    pub fn run(
        &self,
        session: Session,
        runs: &[Chunk],
        jobs: usize,
        tell: &(dyn Fn(Told) + Sync),
    ) -> Result<Vec<ChunkReport>, Error> {
        let work = Work {
            // What was looked at a moment ago need not be looked at again.
            fresh: runs.first().cloned(),
            waiting: Mutex::new(runs.iter().cloned().collect()),
            reports: Mutex::default(),
            failure: Mutex::default(),
            number: AtomicUsize::new(0),
            tell,
        };
        std::thread::scope(|scope| {
            for _ in 1..jobs {
                scope.spawn(|| {
                    self.work(&work, || Session::start(self.child, self.source.clone(), self.cancel))
                });
            }
            self.work(&work, || Ok(session));
        });
        if let Some(error) = work.failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        let mut reports = work.reports.into_inner().unwrap_or_else(PoisonError::into_inner);
        reports.sort_by_key(|(first, _)| *first);
        Ok(reports.into_iter().map(|(_, report)| report).collect())
    }

    fn work(&self, work: &Work<'_>, session: impl FnOnce() -> Result<Session, Error>) {
        if let Err(error) = self.take_all(work, session) {
            self.cancel.cancel();
            work.fail(error);
        }
    }

    fn take_all(&self, work: &Work<'_>, start: impl FnOnce() -> Result<Session, Error>) -> Result<(), Error> {
        let mut start = Some(start);
        let mut session: Option<Session> = None;
        while let Some(run) = work.next() {
            for part in self.still_missing(work, run)? {
                let session = match (&mut session, start.take()) {
                    (Some(session), _) => session,
                    (none, Some(start)) => none.insert(start()?),
                    // Started once, above.
                    (None, None) => return Err(Error::Interrupted),
                };
                let number = work.number.fetch_add(1, Ordering::Relaxed);
                let request = ChunkRequest { plan: self.plan, chunk: &part, platform: self.platform };
                let report = session
                    .run(request, self.sink.clone(), &|event| (work.tell)(Told::Run { number, event }))?;
                work.reports.lock().unwrap_or_else(PoisonError::into_inner).push((part.first, report));
            }
        }
        Ok(())
    }

    /// What nobody else has made meanwhile.
    fn still_missing(&self, work: &Work<'_>, run: Chunk) -> Result<Vec<Chunk>, Error> {
        if work.fresh.as_ref() == Some(&run) || self.plan.timeline.open_ended {
            return Ok(vec![run]);
        }
        let (found, missing) = Publisher::look_again(self.plan, &run, &*self.sink, self.cancel)?;
        found.into_iter().for_each(|facts| (work.tell)(Told::Found(facts)));
        Ok(missing)
    }
}

/// What the threads share.
struct Work<'a> {
    fresh: Option<Chunk>,
    waiting: Mutex<VecDeque<Chunk>>,
    reports: Mutex<Vec<(transcode_core::units::SegmentIndex, ChunkReport)>>,
    failure: Mutex<Option<Error>>,
    number: AtomicUsize,
    tell: &'a (dyn Fn(Told) + Sync),
}

impl Work<'_> {
    fn next(&self) -> Option<Chunk> {
        let failed = self.failure.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if failed { None } else { self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front() }
    }

    /// The first failure counts; the others were stopped because of it.
    fn fail(&self, error: Error) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        let stopped = matches!(failure.as_ref(), None | Some(Error::Interrupted));
        if stopped && !(failure.is_some() && matches!(error, Error::Interrupted)) {
            *failure = Some(error);
        }
    }
}

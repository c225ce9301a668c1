//! The local engine: what is missing of a plan, made by child processes side by side.
//!
//! Runs are taken in order, so that playlists grow from the beginning; each child makes one after the
//! other. Right before a run the store is asked once more: what another process has made meanwhile is
//! adopted.
//!
//! Platforms are a list, best first. What the machine is to blame for (an element that fails, a graph
//! that stands still, a child that crashes, a segment that is not what the plan says) ends that graph
//! and its process; what it has stored stays, and the rest of its run is made on the next platform, as
//! is everything that begins later. On the last platform a child that crashed or hung gets one more
//! try for each run. All else stops the others; what is stored stays, and the next attempt goes on.

use super::fallback::{Next, Progress, Rest};
use crate::child::{Session, Settings};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use transcode_core::event::{ChunkReport, Fallback, SegmentFacts};
use transcode_core::plan::{Chunk, Plan};
use transcode_core::platform::Platform;
use transcode_core::run::{ChunkRequest, Publisher};
use transcode_core::sink::Sink;
use transcode_core::source::Source;
use transcode_core::units::SegmentIndex;
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
    /// A run has failed, and what is left of it will be made by other runs.
    Broken {
        /// Which.
        number: usize,
        /// Slots of it that are stored in every rung, from its first without a gap.
        slots: u64,
    },
    /// A platform has failed; all that is not under way is made on the next one.
    Fallback(Fallback),
}

/// Everything that a run needs.
pub struct Local<'a> {
    /// Of what.
    pub plan: &'a Plan,
    /// How this machine may do things, best first; never empty. The plan can be made on each.
    pub platforms: &'a [Platform],
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

/// A run, or the rest of one.
struct Piece {
    chunk: Chunk,
    /// A child has crashed on it before, on the last platform.
    retried: bool,
}

impl Local<'_> {
    /// Make `runs` with `jobs` children; `session` is the first of them. Reports are in the order of
    /// the timeline; a run that failed and was gone on with has none.
    ///
    /// # Errors
    /// The failure of the last platform, as [`Session::run`] gives it, or one that no platform can
    /// help with.
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
            platform: Mutex::new(0),
            tell,
        };
        std::thread::scope(|scope| {
            for _ in 1..jobs {
                scope.spawn(|| self.work(&work, None));
            }
            self.work(&work, Some(session));
        });
        if let Some(error) = work.failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        let mut reports = work.reports.into_inner().unwrap_or_else(PoisonError::into_inner);
        reports.sort_by_key(|(first, _)| *first);
        Ok(reports.into_iter().map(|(_, report)| report).collect())
    }

    fn work(&self, work: &Work<'_>, session: Option<Session>) {
        if let Err(error) = self.take_all(work, session) {
            self.cancel.cancel();
            work.fail(error);
        }
    }

    fn take_all(&self, work: &Work<'_>, mut session: Option<Session>) -> Result<(), Error> {
        while let Some(run) = work.next() {
            let parts = self.still_missing(work, run)?.into_iter();
            let mut parts: VecDeque<Piece> = parts.map(|chunk| Piece { chunk, retried: false }).collect();
            while let Some(part) = parts.pop_front() {
                let mut child = match session.take() {
                    Some(child) => child,
                    None => Session::start(self.child, self.source.clone(), self.cancel)?,
                };
                let number = work.number.fetch_add(1, Ordering::Relaxed);
                let at = *lock(&work.platform);
                let progress = Mutex::new(Progress::new(self.plan, &part.chunk));
                let request =
                    ChunkRequest { plan: self.plan, chunk: &part.chunk, platform: &self.platforms[at] };
                let heard = |event: Event| {
                    if let Event::Segment(facts) = &event {
                        lock(&progress).stored(facts);
                    }
                    (work.tell)(Told::Run { number, event });
                };
                match child.run(request, self.sink.clone(), &heard) {
                    Ok(report) => {
                        lock(&work.reports).push((part.chunk.first, report));
                        session = Some(child);
                    }
                    Err(error) => {
                        let (next, rest) = self.after(work, at, &part, &error, &child, &lock(&progress))?;
                        let begin = |first| self.plan.timeline.slots_of(first).start;
                        let slots = begin(rest.first).saturating_sub(begin(part.chunk.first));
                        (work.tell)(Told::Broken { number, slots });
                        let retried = next == Next::Again;
                        let rests = rest.chunks.into_iter().rev();
                        rests.for_each(|chunk| parts.push_front(Piece { chunk, retried }));
                    }
                }
            }
        }
        Ok(())
    }

    /// What is done about a failure on platform number `at`.
    fn after(
        &self,
        work: &Work<'_>,
        at: usize,
        part: &Piece,
        error: &Error,
        child: &Session,
        progress: &Progress,
    ) -> Result<(Next, Rest), Error> {
        if self.cancel.is_cancelled() {
            return Err(error.clone());
        }
        let next = Next::after(error, child.is_dead(), part.retried, at + 1 < self.platforms.len());
        let rest = progress.rest();
        match next {
            Next::Fail => return Err(error.clone()),
            Next::Platform => {
                let mut current = lock(&work.platform);
                // Another child may have found out before.
                if *current == at {
                    *current = at + 1;
                    let (from, to) = (&self.platforms[at].name, &self.platforms[at + 1].name);
                    (work.tell)(Told::Fallback(Fallback {
                        from: from.clone(),
                        to: to.clone(),
                        why: error.chain(),
                        segment: Some(rest.first),
                    }));
                }
            }
            Next::Again => {
                let text = format!("{}; it is tried once more from segment {}", error.chain(), rest.first);
                (work.tell)(Told::Run { number: 0, event: Event::Warning { text } });
            }
        }
        Ok((next, rest))
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the threads share.
struct Work<'a> {
    fresh: Option<Chunk>,
    waiting: Mutex<VecDeque<Chunk>>,
    reports: Mutex<Vec<(SegmentIndex, ChunkReport)>>,
    failure: Mutex<Option<Error>>,
    number: AtomicUsize,
    /// The platform that is used from here on.
    platform: Mutex<usize>,
    tell: &'a (dyn Fn(Told) + Sync),
}

impl Work<'_> {
    fn next(&self) -> Option<Chunk> {
        if lock(&self.failure).is_some() { None } else { lock(&self.waiting).pop_front() }
    }

    /// The first failure counts; the others were stopped because of it.
    fn fail(&self, error: Error) {
        let mut failure = lock(&self.failure);
        let stopped = matches!(failure.as_ref(), None | Some(Error::Interrupted));
        if stopped && !(failure.is_some() && matches!(error, Error::Interrupted)) {
            *failure = Some(error);
        }
    }
}

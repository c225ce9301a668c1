//! A whole job on threads of its own, for those who embed the library.
//!
//! One thread runs the graph, one publishes, so that a slow store holds up neither the graph's
//! driver nor the events. What is told waits in a queue that stays small when nobody listens: news
//! of progress replaces older news of progress.

use super::publish::{Opened, Publisher, joined};
use super::report::JobReport;
use super::{ChunkRequest, run, same_source};
use crate::cancel::Cancel;
use crate::error::Error;
use crate::event::{Event, RungProgress, SegmentFacts};
use crate::plan::{Chunk, Plan};
use crate::platform::Platform;
use crate::sink::Sink;
use crate::source::Source;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long dropping a job waits for its threads: the graph is down within a second.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// Warnings that wait unheard, or to be reported, at most.
const WARNINGS: usize = 100;

/// How a job is started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Replace what the destination holds; otherwise another job's output is refused.
    pub overwrite: bool,
}

/// What a running job tells. Plain data; times are on the plan's clock.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum JobEvent {
    /// What is going to be made.
    Planned {
        /// The runs of segments, of all rungs, in order.
        runs: Vec<Chunk>,
        /// An earlier attempt left the others.
        resumed: bool,
    },
    /// How far each rung's encoder is; several times a second.
    Progress {
        /// By rung, in the plan's order.
        rungs: Vec<RungProgress>,
    },
    /// A segment is stored, whole.
    Segment(SegmentFacts),
    /// The preview picture is stored.
    Thumbnail {
        /// The slot it shows.
        slot: u64,
        /// Bytes of the JPEG.
        bytes: u64,
    },
    /// Something a person should know; the job goes on.
    Warning {
        /// What, where, with which value.
        text: String,
    },
    /// Everything is published; the last event.
    Done(Box<JobReport>),
    /// The job failed or was stopped; the last event. What is published stays playable, and the same
    /// job started again goes on where this one ended.
    Failed(Error),
}

impl JobEvent {
    /// Whether this is the last event of a job.
    pub const fn is_last(&self) -> bool {
        matches!(self, Self::Done(_) | Self::Failed(_))
    }
}

/// A running job: an iterator of events that ends with [`JobEvent::Done`] or [`JobEvent::Failed`].
///
/// Dropping it stops the job: the graph is down within a second and no thread is left, unless a
/// codec or the store does not let go of one.
#[derive(Debug)]
pub struct Job {
    cancel: Cancel,
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

/// Run a plan: make what is missing at the destination, publish as it grows, verify, finish.
///
/// Returns at once; the rest is told by the [`Job`].
///
/// # Errors
/// [`Error::Source`] where the source is not the one that the plan was made for, [`Error::Platform`]
/// where no thread can be started.
pub fn start(
    plan: Plan,
    platform: Platform,
    source: Arc<dyn Source>,
    sink: Arc<dyn Sink>,
    options: Options,
) -> Result<Job, Error> {
    same_source(&plan, &*source)?;
    let cancel = Cancel::new();
    let queue = Arc::new(Queue::default());
    let work = Work { plan, platform, source, sink, options, cancel: cancel.clone(), queue: queue.clone() };
    let name = work.platform.name.clone();
    let thread = std::thread::Builder::new().name("transcode-job".to_owned()).spawn(move || work.work());
    let thread = thread.map_err(|error| Error::Platform {
        platform: name,
        reason: format!("no thread can be started: {error}"),
    })?;
    Ok(Job { cancel, queue, thread: Some(thread) })
}

impl Job {
    /// A handle that stops the job from elsewhere; [`JobEvent::Failed`] with
    /// [`Error::Interrupted`] is then the last event.
    pub fn cancel_handle(&self) -> Cancel {
        self.cancel.clone()
    }

    /// Wait for the end, without a look at what happens on the way.
    ///
    /// # Errors
    /// Why the job failed.
    pub fn wait(mut self) -> Result<JobReport, Error> {
        loop {
            match self.next() {
                Some(JobEvent::Done(report)) => return Ok(*report),
                Some(JobEvent::Failed(error)) => return Err(error),
                Some(_) => {}
                // Somebody took the last event before.
                None => return Err(Error::Interrupted),
            }
        }
    }

    /// The next event, if one comes within `time`; `None` also after the last.
    pub fn next_within(&mut self, time: Duration) -> Option<JobEvent> {
        self.queue.pop(Some(time))
    }
}

impl Iterator for Job {
    type Item = JobEvent;

    /// Blocks until something happens; `None` after the last event.
    fn next(&mut self) -> Option<JobEvent> {
        self.queue.pop(None)
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.cancel.cancel();
        let Some(thread) = self.thread.take() else { return };
        let begun = Instant::now();
        while !thread.is_finished() && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
        }
        if !thread.is_finished() {
            log::warn!("a stopped job does not end; its threads are left to themselves");
        } else if thread.join().is_err() {
            log::error!("a job's thread panicked");
        }
    }
}

/// Events on their way to whoever listens.
#[derive(Debug, Default)]
struct Queue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct QueueState {
    events: VecDeque<JobEvent>,
    warnings: usize,
    closed: bool,
}

impl Queue {
    fn lock(&self) -> std::sync::MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, event: JobEvent) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        match &event {
            JobEvent::Progress { .. } => state.events.retain(|e| !matches!(e, JobEvent::Progress { .. })),
            JobEvent::Warning { .. } if state.warnings >= WARNINGS => return,
            JobEvent::Warning { .. } => state.warnings += 1,
            _ => {}
        }
        state.closed = event.is_last();
        state.events.push_back(event);
        drop(state);
        self.changed.notify_all();
    }

    fn pop(&self, within: Option<Duration>) -> Option<JobEvent> {
        let begun = Instant::now();
        let mut state = self.lock();
        loop {
            if let Some(event) = state.events.pop_front() {
                if matches!(event, JobEvent::Warning { .. }) {
                    state.warnings -= 1;
                }
                return Some(event);
            }
            if state.closed {
                return None;
            }
            let left = match within {
                Some(time) => time.checked_sub(begun.elapsed()).filter(|left| !left.is_zero())?,
                None => Duration::from_secs(3_600),
            };
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// A panic on the job's thread must not leave its listener waiting for ever.
struct LastWord(Arc<Queue>);

impl Drop for LastWord {
    fn drop(&mut self) {
        self.0.push(JobEvent::Failed(Error::Stalled { reason: "the job's thread panicked".to_owned() }));
    }
}

/// Everything that the job's thread owns.
struct Work {
    plan: Plan,
    platform: Platform,
    source: Arc<dyn Source>,
    sink: Arc<dyn Sink>,
    options: Options,
    cancel: Cancel,
    queue: Arc<Queue>,
}

impl Work {
    fn work(self) {
        // After the last event the queue takes no more: this only speaks where there was none.
        let _last_word = LastWord(self.queue.clone());
        let last = match self.job() {
            Ok(report) => JobEvent::Done(report),
            Err(_) if self.cancel.is_cancelled() => JobEvent::Failed(Error::Interrupted),
            Err(error) => JobEvent::Failed(error),
        };
        let queue = self.queue.clone();
        // Let go of source and sink before the listener hears that it is over.
        drop(self);
        queue.push(last);
    }

    fn job(&self) -> Result<Box<JobReport>, Error> {
        let opened =
            Publisher::open(self.plan.clone(), self.sink.clone(), self.options.overwrite, &self.cancel)?;
        let (mut publisher, resumed) = match opened {
            Opened::Fresh(publisher) => (publisher, false),
            Opened::Resume(publisher) => (publisher, true),
            Opened::Finished(report) => return Ok(report),
        };
        let runs = joined(publisher.missing());
        self.queue.push(JobEvent::Planned { runs: runs.clone(), resumed });
        for text in publisher.warnings() {
            self.queue.push(JobEvent::Warning { text: text.clone() });
        }
        // A publisher that fails stops the run, and only the run.
        let stop = self.cancel.child();
        let (news, heard) = channel();
        let (made, published) = std::thread::scope(|scope| {
            let publisher = &mut publisher;
            let for_publisher = stop.clone();
            let publishing = scope.spawn(move || publish_all(publisher, &heard, &for_publisher));
            let warnings = AtomicUsize::new(0);
            let tell = move |event: Event| {
                let counts = match &event {
                    Event::Segment(_) => true,
                    Event::Warning { .. } => warnings.fetch_add(1, Ordering::Relaxed) < WARNINGS,
                    _ => false,
                };
                if counts {
                    // It only goes away when publishing has failed, which stops this run too.
                    let _gone = news.send(event.clone());
                }
                self.queue.push(told(event));
            };
            let make = |chunk: &Chunk| {
                let request = ChunkRequest { plan: &self.plan, chunk, platform: &self.platform };
                run(request, self.source.clone(), self.sink.clone(), &tell, &stop)
            };
            let made: Result<Vec<_>, Error> = runs.iter().map(make).collect();
            drop(tell);
            let published = publishing.join().unwrap_or_else(|_| {
                Err(Error::Stalled { reason: "the publisher's thread panicked".to_owned() })
            });
            (made, published)
        });
        published?;
        publisher.finish(&made?).map(Box::new)
    }
}

/// Publish whatever has come since the last time, until the run is over.
fn publish_all(publisher: &mut Publisher, heard: &Receiver<Event>, stop: &Cancel) -> Result<(), Error> {
    while let Ok(event) = heard.recv() {
        publisher.note(&event);
        while let Ok(event) = heard.try_recv() {
            publisher.note(&event);
        }
        if let Err(error) = publisher.publish() {
            stop.cancel();
            return Err(error);
        }
    }
    Ok(())
}

fn told(event: Event) -> JobEvent {
    match event {
        Event::Progress { rungs } => JobEvent::Progress { rungs },
        Event::Segment(facts) => JobEvent::Segment(facts),
        Event::Thumbnail { slot, bytes } => JobEvent::Thumbnail { slot, bytes },
        Event::Warning { text } => JobEvent::Warning { text },
        // A job of this kind has one platform; should there ever be another, it is worth a word.
        Event::Fallback(fallback) => JobEvent::Warning { text: fallback.to_string() },
    }
}

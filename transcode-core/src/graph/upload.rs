//! Carries finished objects to the sink while the next ones are being made.
//!
//! A fixed number of threads, a bounded number of objects: who hands one over while all places are
//! taken waits, and with it the encoder. A place is taken by a finished object only, never by one
//! that is still growing: rungs that held places while they grew would lock each other out.

use crate::cancel::Cancel;
use crate::error::Error;
use crate::event::{Event, SegmentFacts};
use crate::plan::Plan;
use crate::segment;
use crate::sink::{Created, ObjectKind, Sink};
use std::collections::VecDeque;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Threads that talk to the sink. A store answers in tens of milliseconds and a 6 s segment of four
/// rungs comes every second or so: four keep up with a slow store without a crowd of connections.
const THREADS: usize = 4;

/// An object on its way.
pub(super) enum Item {
    Segment { key: String, bytes: Vec<u8>, facts: SegmentFacts },
    Thumbnail { slot: u64, bytes: Vec<u8> },
}

pub(super) struct Uploader {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    plan: Arc<Plan>,
    sink: Arc<dyn Sink>,
    cancel: Cancel,
    events: Sender<Event>,
    /// Objects waiting or on the wire, at most.
    places: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Item>,
    on_the_wire: usize,
    closed: bool,
    error: Option<Error>,
    stored: Vec<SegmentFacts>,
    waited: Duration,
}

impl Uploader {
    pub(super) fn start(plan: Arc<Plan>, sink: Arc<dyn Sink>, cancel: Cancel, events: Sender<Event>) -> Self {
        // One finished segment of every rung beside those on the wire.
        let places = THREADS + plan.rungs.len();
        let shared = Arc::new(Shared {
            plan,
            sink,
            cancel,
            events,
            places,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let threads = (0..THREADS)
            .filter_map(|number| {
                let shared = shared.clone();
                let name = format!("upload-{number}");
                std::thread::Builder::new().name(name).spawn(move || shared.work()).ok()
            })
            .collect();
        Self { shared, threads }
    }

    /// A handle for the threads that make objects.
    pub(super) fn handle(&self) -> Handle {
        Handle(self.shared.clone())
    }

    /// What has been stored so far.
    pub(super) fn stored(&self) -> Vec<SegmentFacts> {
        self.shared.lock().stored.clone()
    }

    /// The first failure, if there was one.
    pub(super) fn error(&self) -> Option<Error> {
        self.shared.lock().error.clone()
    }

    /// How long makers have waited for a place, summed.
    pub(super) fn waited(&self) -> Duration {
        self.shared.lock().waited
    }

    /// Objects handed over and not stored yet.
    pub(super) fn pending(&self) -> usize {
        let state = self.shared.lock();
        state.waiting.len() + state.on_the_wire
    }
}

impl Drop for Uploader {
    /// Ends the threads; what still waits is dropped, what is on the wire is waited for (the sink
    /// returns soon after a cancellation).
    fn drop(&mut self) {
        {
            let mut state = self.shared.lock();
            state.closed = true;
            state.waiting.clear();
        }
        self.shared.changed.notify_all();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                log::error!("an upload thread panicked");
            }
        }
    }
}

/// Hands objects over.
#[derive(Clone)]
pub(super) struct Handle(Arc<Shared>);

impl Handle {
    /// Hand over a finished object; waits for a place. False where it will not be stored, because
    /// the run is being stopped or has failed.
    pub(super) fn submit(&self, item: Item) -> bool {
        let begin = Instant::now();
        let mut state = self.0.lock();
        while state.waiting.len() + state.on_the_wire >= self.0.places {
            if state.closed || state.error.is_some() || self.0.cancel.is_cancelled() {
                return false;
            }
            let (next, _) = self
                .0
                .changed
                .wait_timeout(state, Duration::from_millis(50))
                .unwrap_or_else(PoisonError::into_inner);
            state = next;
        }
        state.waited += begin.elapsed();
        if state.closed || state.error.is_some() || self.0.cancel.is_cancelled() {
            return false;
        }
        state.waiting.push_back(item);
        drop(state);
        self.0.changed.notify_all();
        true
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        loop {
            let item = {
                let mut state = self.lock();
                loop {
                    if let Some(item) = state.waiting.pop_front() {
                        state.on_the_wire += 1;
                        break item;
                    }
                    if state.closed {
                        return;
                    }
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            };
            let result = self.store(item);
            let mut state = self.lock();
            state.on_the_wire -= 1;
            match result {
                Ok(Some(facts)) => state.stored.push(facts),
                Ok(None) => {}
                Err(error) if state.error.is_none() => state.error = Some(error),
                Err(_) => {}
            }
            drop(state);
            self.changed.notify_all();
        }
    }

    fn say(&self, event: Event) {
        // The receiver goes first only when the run is over; nobody is left to tell then.
        let _nobody_listens = self.events.send(event);
    }

    fn store(&self, item: Item) -> Result<Option<SegmentFacts>, Error> {
        match item {
            Item::Thumbnail { slot, bytes } => {
                let key = crate::plan::keys::THUMBNAIL;
                self.sink.replace(key, ObjectKind::Image, &bytes, &self.cancel)?;
                self.say(Event::Thumbnail { slot, bytes: bytes.len() as u64 });
                Ok(None)
            }
            Item::Segment { key, bytes, facts } => {
                let created = self.sink.create(&key, ObjectKind::Segment, &bytes, &self.cancel)?;
                let facts = match created {
                    Created::New => facts,
                    Created::Existed => self.adopt(&key, &bytes, facts)?,
                };
                self.say(Event::Segment(facts.clone()));
                Ok(Some(facts))
            }
        }
    }

    /// Somebody stored this segment before. If it is what the plan says, it stays and counts; if it
    /// is damaged or foreign, ours takes its place.
    fn adopt(&self, key: &str, bytes: &[u8], ours: SegmentFacts) -> Result<SegmentFacts, Error> {
        let stored = self.sink.read(key, &self.cancel)?.unwrap_or_default();
        match segment::facts(&stored, &self.plan, &ours.rung, ours.index) {
            Ok(facts) => Ok(SegmentFacts { adopted: true, ..facts }),
            Err(error) => {
                self.say(Event::Warning {
                    text: format!(
                        "{key} was there already and is not this plan's segment ({error}); it was made again"
                    ),
                });
                self.sink.replace(key, ObjectKind::Segment, bytes, &self.cancel)?;
                Ok(ours)
            }
        }
    }
}

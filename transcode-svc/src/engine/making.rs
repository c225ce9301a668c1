//! One run of what is missing: graphs in children, one or several side by side, and playlists that grow with
//! their segments.
//!
//! Playlists are written here, on a thread of their own, so that a slow store holds up neither the children nor
//! the showing. Wall time is measured for showing only.

use super::{Local, Machine, Told, Tracker, Watch, divided, jobs};
use crate::child::Session;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use transcode_core::event::{Fallback, SegmentFacts};
use transcode_core::plan::{Chunk, Plan};
use transcode_core::platform::Platform;
use transcode_core::run::{JobReport, Publisher};
use transcode_core::{Cancel, Error, Event};

/// What is missing, for so many graphs side by side as were asked for or this machine is good for, and why
/// not as many as were asked for.
pub(super) fn shared_out(
    plan: &Plan,
    missing: &[Chunk],
    asked: Option<u32>,
    platform: Option<&Platform>,
) -> (Vec<Chunk>, usize, Option<String>) {
    let free_end = plan.timeline.open_ended || plan.allow_truncated;
    let segments = missing.iter().map(|run| run.segments().len()).sum();
    let most = if free_end { 1 } else { segments };
    let sessions = platform.and_then(|platform| platform.encode.sessions).map(u64::from);
    let (jobs, why) = jobs(plan, most, asked, Machine { sessions, ..Machine::here() });
    (divided(missing, jobs), jobs, why)
}

/// What the threads of a run share.
pub(super) struct Making<'a> {
    pub(super) watch: &'a dyn Watch,
    pub(super) graphs: &'a Cancel,
    pub(super) engine: Local<'a>,
    pub(super) jobs: usize,
    pub(super) on_fallback: &'a (dyn Fn(&Fallback) + Sync),
}

impl Making<'_> {
    /// Have the runs made, publish as they go, and finish; `commit` is asked right before what is final.
    pub(super) fn make(
        &self,
        session: Session,
        runs: &[Chunk],
        publisher: &mut Publisher,
        commit: &dyn Fn() -> Result<(), Error>,
    ) -> Result<JobReport, Error> {
        let begun = Instant::now();
        let tracker = Mutex::new(Tracker::new(self.engine.plan, runs));
        let (sender, receiver) = channel();
        let (watch, graphs, plan) = (self.watch, self.graphs, self.engine.plan);
        let writer = &mut *publisher;
        let (ran, published) = std::thread::scope(|scope| {
            let publishing = scope.spawn(move || {
                let published = publish(writer, plan, &receiver, watch);
                if published.is_err() {
                    graphs.cancel();
                }
                published
            });
            let tell = |told: Told| {
                let mut tracker = tracker.lock().unwrap_or_else(PoisonError::into_inner);
                let event = match told {
                    Told::Broken { number, slots } => {
                        tracker.broken(number, slots);
                        return;
                    }
                    Told::Fallback(fallback) => Event::Fallback(fallback),
                    Told::Found(facts) => {
                        tracker.found(&facts);
                        Event::Segment(facts)
                    }
                    Told::Run { number, event } => {
                        if let Event::Progress { rungs } = &event {
                            tracker.progress(number, rungs);
                        }
                        event
                    }
                };
                match &event {
                    Event::Segment(facts) => tracker.stored(&facts.rung, facts.index),
                    Event::Warning { text } => watch.warning(text),
                    Event::Fallback(fallback) => (self.on_fallback)(fallback),
                    _ => {}
                }
                if matches!(event, Event::Progress { .. } | Event::Segment(_)) {
                    watch.progress(&tracker.snapshot(begun.elapsed()));
                }
                // Progress is shown, not published. The others are few and small: as many as segments.
                if !matches!(event, Event::Progress { .. }) {
                    let _publishing_failed = sender.send(event);
                }
            };
            let ran = self.engine.run(session, runs, self.jobs, &tell);
            drop(sender);
            (ran, publishing.join())
        });
        // Where publishing failed, the graphs were stopped because of that.
        match published {
            Ok(published) => published?,
            Err(panic) => std::panic::resume_unwind(panic),
        }
        let report = publisher.verify(&ran?)?;
        commit()?;
        publisher.publish_finished(&report)?;
        Ok(report)
    }
}

/// Write playlists as segments come: one round for all that came while the last was written.
fn publish(
    publisher: &mut Publisher,
    plan: &Plan,
    events: &Receiver<Event>,
    watch: &dyn Watch,
) -> Result<(), Error> {
    while let Ok(first) = events.recv() {
        let mut segments: Vec<SegmentFacts> = Vec::new();
        for event in std::iter::once(first).chain(events.try_iter()) {
            publisher.note(&event);
            if let Event::Segment(facts) = event {
                segments.push(facts);
            }
        }
        publisher.publish()?;
        for facts in &segments {
            watch.segment(&plan.segment_key(&facts.rung, facts.index), facts);
        }
    }
    Ok(())
}

//! `transcode run`: probe, plan, and what is missing of the plan, made, published, and packaged.
//!
//! Graphs run in children, one or several side by side; playlists are written here, on a thread of
//! their own, so that a slow store holds up neither the children nor the showing. Wall time is
//! measured for showing only.

mod movies;

use super::args::Run;
use super::output::{Bars, End, Json, Lines, Output, Start, Tracker};
use super::probe::Looked;
use super::{Context, platforms, probe, profiles};
use crate::child::Session;
use crate::engine::{Local, Machine, Told, divided, jobs};
use movies::Movies;
use std::io::IsTerminal;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use transcode_core::event::{Fallback, SegmentFacts};
use transcode_core::plan::{Chunk, Plan, keys};
use transcode_core::platform::Platform;
use transcode_core::run::{JobReport, Opened, Publisher};
use transcode_core::sink::Sink;
use transcode_core::spec::JobSpec;
use transcode_core::{Cancel, Error, Event};

/// Make the ladder.
pub(super) fn run(context: &Context, run: &Run) -> Result<(), Error> {
    let begun = Instant::now();
    let asked = &run.asked;
    let output: Box<dyn Output> = if asked.input.json {
        Box::new(Json::default())
    } else if std::io::stderr().is_terminal() && !context.quiet {
        Box::new(Bars::new())
    } else {
        Box::new(Lines::default())
    };
    let spec = profiles::job(asked, &asked.choice)?;
    // Stops the graphs alone: when one fails, when publishing fails, or with everything else.
    let graphs = context.cancel.child();
    let mut looked = probe::look(context, &asked.input, &graphs)?;
    let planned = looked.plan(&spec)?;
    let movies = movies::names(&run.mp4, &planned)?;
    let sink = context.stores()?.open_sink(&run.output, &context.cancel)?;
    let destination = sink.location();
    let (plan, opened) = open(planned, &looked, &spec, run, &sink, &context.cancel)?;
    let child = context.child(&asked.input)?;
    let source = looked.source.clone();
    let (report, found_finished) = match opened {
        Opened::Finished(report) => {
            output.planned(&Start { destination: &destination, plan: &plan, missing: &[], jobs: 0 });
            (report, true)
        }
        Opened::Fresh(mut publisher) | Opened::Resume(mut publisher) => {
            let (runs, jobs, why) =
                shared_out(&plan, publisher.missing(), run.jobs, looked.platforms.first());
            output.planned(&Start { destination: &destination, plan: &plan, missing: &runs, jobs });
            publisher.warnings().iter().chain(&why).for_each(|text| output.warning(text));
            for fallback in looked.fallbacks {
                output.fallback(&fallback);
                publisher.note(&Event::Fallback(fallback));
            }
            let engine = Local {
                plan: &plan,
                platforms: &looked.platforms,
                source: looked.source,
                sink,
                child: &child,
                cancel: &graphs,
            };
            let on_fallback = |fallback: &Fallback| {
                platforms::note_failure(&fallback.from, &looked.key);
                output.fallback(fallback);
            };
            let making =
                Making { output: &*output, graphs: &graphs, engine, jobs, on_fallback: &on_fallback };
            (making.make(looked.session, &runs, &mut publisher)?.into(), false)
        }
    };
    let making = Movies {
        context,
        output: &*output,
        json: asked.input.json,
        platforms: &looked.platforms,
        source,
        child: &child,
        destination: &run.output,
        jobs: run.jobs,
    };
    making.make(&movies)?;
    let master = format!("{}/{}", destination.trim_end_matches('/'), keys::MASTER);
    output.done(&End {
        destination: &destination,
        master: &master,
        report: &report,
        found_finished,
        elapsed: begun.elapsed(),
        play: play_command(&run.output),
    });
    Ok(())
}

/// What is missing, for so many graphs side by side as were asked for or this machine is good for, and why
/// not as many as were asked for.
fn shared_out(
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

/// Take the destination. What it holds may have been planned by another platform, or before this
/// machine had measured what a start costs: where nothing else differs, what is stored is gone on with.
fn open(
    plan: Plan,
    looked: &Looked,
    spec: &JobSpec,
    run: &Run,
    sink: &Arc<dyn Sink>,
    cancel: &Cancel,
) -> Result<(Plan, Opened), Error> {
    let refused = match Publisher::open(plan.clone(), sink.clone(), run.overwrite, cancel) {
        Err(error @ Error::Occupied { .. }) => error,
        other => return Ok((plan, other?)),
    };
    let stored = sink.read(keys::PLAN, cancel)?.and_then(|bytes| Plan::from_json(&bytes).ok());
    let Some(stored) = stored else { return Err(refused) };
    let others = platforms::every()?;
    let all = looked.platforms.iter().chain(&others);
    let same = all.filter_map(|platform| transcode_core::plan::plan(&looked.info, spec, platform).ok()).any(
        |mut plan| {
            if spec.chunk.is_none() {
                plan.chunks.clone_from(&stored.chunks);
            }
            plan == stored
        },
    );
    if !same {
        return Err(refused);
    }
    Ok((stored.clone(), Publisher::open(stored, sink.clone(), run.overwrite, cancel)?))
}

/// What the threads of a run share.
struct Making<'a> {
    output: &'a dyn Output,
    graphs: &'a Cancel,
    engine: Local<'a>,
    jobs: usize,
    on_fallback: &'a (dyn Fn(&Fallback) + Sync),
}

impl Making<'_> {
    /// Have the runs made, publish as they go, and finish.
    fn make(&self, session: Session, runs: &[Chunk], publisher: &mut Publisher) -> Result<JobReport, Error> {
        let begun = Instant::now();
        let tracker = Mutex::new(Tracker::new(self.engine.plan, runs));
        let (sender, receiver) = channel();
        let (output, graphs, plan) = (self.output, self.graphs, self.engine.plan);
        let writer = &mut *publisher;
        let (ran, published) = std::thread::scope(|scope| {
            let publishing = scope.spawn(move || {
                let published = publish(writer, plan, &receiver, output);
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
                    Event::Warning { text } => output.warning(text),
                    Event::Fallback(fallback) => (self.on_fallback)(fallback),
                    _ => {}
                }
                if matches!(event, Event::Progress { .. } | Event::Segment(_)) {
                    output.progress(&tracker.snapshot(begun.elapsed()));
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
        publisher.finish(&ran?)
    }
}

/// Write playlists as segments come: one round for all that came while the last was written.
fn publish(
    publisher: &mut Publisher,
    plan: &Plan,
    events: &Receiver<Event>,
    output: &dyn Output,
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
            output.segment(&plan.segment_key(&facts.rung, facts.index), facts);
        }
    }
    Ok(())
}

/// `transcode play DIR`, for destinations that are directories.
fn play_command(destination: &str) -> Option<String> {
    if destination.contains("://") {
        return None;
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/+=,@".contains(c);
    let quoted = if !destination.is_empty() && destination.chars().all(plain) {
        destination.to_owned()
    } else {
        format!("'{}'", destination.replace('\'', r"'\''"))
    };
    Some(format!("transcode play {quoted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_that_plays_it_can_be_pasted_into_a_shell() {
        assert_eq!(play_command("out/7").as_deref(), Some("transcode play out/7"));
        assert_eq!(play_command("it's mine").as_deref(), Some(r"transcode play 'it'\''s mine'"));
        assert_eq!(play_command("s3://bucket/out"), None);
    }
}

//! A job from its source to its finished output: look, plan, make what is missing, publish, package.
//!
//! Owns the order of these steps; the command line and the worker both have a job made here, and differ in who
//! watches. Wall time is not measured here.

use super::look::{Looked, look};
use super::making::{Making, shared_out};
use super::movies::{self, Movies};
use super::platforms::{self, Candidate};
use super::{Local, Places, Start, Watch};
use crate::child::Settings;
use std::sync::Arc;
use transcode_core::event::Fallback;
use transcode_core::plan::{Plan, keys};
use transcode_core::run::{JobReport, Opened, Publisher};
use transcode_core::sink::Sink;
use transcode_core::spec::JobSpec;
use transcode_core::{Cancel, Error, Event};

/// What is wanted, and with what it is made.
pub(crate) struct Order<'a> {
    /// Opens the source and the destination.
    pub(crate) places: &'a dyn Places,
    /// How children are started.
    pub(crate) child: &'a Settings,
    /// The source, as it was named.
    pub(crate) input: &'a str,
    /// Platforms that may be used.
    pub(crate) candidates: Vec<Candidate>,
    /// What is made of it.
    pub(crate) spec: &'a JobSpec,
    /// Where it goes, as it was named.
    pub(crate) destination: &'a str,
    /// Whether something else at the destination is replaced.
    pub(crate) overwrite: bool,
    /// The rungs of which MP4 files are wanted; `all` means each.
    pub(crate) mp4: &'a [String],
    /// Graphs side by side that somebody asked for.
    pub(crate) jobs: Option<u32>,
    /// Stops all of it.
    pub(crate) cancel: &'a Cancel,
}

/// What came of an order.
pub(crate) struct Made {
    /// The destination, as a path or address.
    pub(crate) location: String,
    /// Everything that was counted.
    pub(crate) report: JobReport,
    /// All of it was there before.
    pub(crate) found_finished: bool,
}

impl Order<'_> {
    /// Make it. What is stored already is not made again.
    ///
    /// # Errors
    /// Whatever goes wrong on the way; its kind says who has to act. What is stored stays.
    pub(crate) fn make(self, watch: &dyn Watch) -> Result<Made, Error> {
        let Self { places, child, spec, destination, cancel, .. } = self;
        // Stops the graphs alone: when one fails, when publishing fails, or with everything else.
        let graphs = cancel.child();
        let mut looked = look(places, self.input, child, self.candidates, &graphs)?;
        let planned = looked.plan(spec)?;
        let movies = movies::names(self.mp4, &planned)?;
        let sink: Arc<dyn Sink> = places.destination(destination, cancel)?;
        let location = sink.location();
        let (plan, opened) = open(planned, &looked, spec, self.overwrite, &sink, cancel)?;
        let start = |missing: &_, jobs| {
            watch.planned(&Start {
                destination: &location,
                plan: &plan,
                missing,
                jobs,
                platform: &looked.platforms[0],
            })
        };
        let source = looked.source.clone();
        let (report, found_finished) = match opened {
            Opened::Finished(report) => {
                start(&[], 0);
                watch.committing()?;
                (*report, true)
            }
            Opened::Fresh(mut publisher) | Opened::Resume(mut publisher) => {
                let (runs, jobs, why) =
                    shared_out(&plan, publisher.missing(), self.jobs, looked.platforms.first());
                start(&runs, jobs);
                publisher.warnings().iter().chain(&why).for_each(|text| watch.warning(text));
                for fallback in looked.fallbacks {
                    watch.fallback(&fallback);
                    publisher.note(&Event::Fallback(fallback));
                }
                let engine = Local {
                    plan: &plan,
                    platforms: &looked.platforms,
                    source: looked.source,
                    sink,
                    child,
                    cancel: &graphs,
                };
                let on_fallback = |fallback: &Fallback| {
                    platforms::note_failure(&fallback.from, &looked.key);
                    watch.fallback(fallback);
                };
                let making = Making { watch, graphs: &graphs, engine, jobs, on_fallback: &on_fallback };
                let commit = || watch.committing();
                (making.make(looked.session, &runs, &mut publisher, &commit)?, false)
            }
        };
        let making = Movies {
            places,
            watch,
            platforms: &looked.platforms,
            source,
            child,
            destination,
            jobs: self.jobs,
            cancel,
        };
        making.make(&movies)?;
        Ok(Made { location, report, found_finished })
    }
}

impl Made {
    /// The master playlist, as a path or address.
    pub(crate) fn master(&self) -> String {
        format!("{}/{}", self.location.trim_end_matches('/'), keys::MASTER)
    }
}

/// Take the destination. What it holds may have been planned by another platform, or before this
/// machine had measured what a start costs: where nothing else differs, what is stored is gone on with.
fn open(
    plan: Plan,
    looked: &Looked,
    spec: &JobSpec,
    overwrite: bool,
    sink: &Arc<dyn Sink>,
    cancel: &Cancel,
) -> Result<(Plan, Opened), Error> {
    let refused = match Publisher::open(plan.clone(), sink.clone(), overwrite, cancel) {
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
    Ok((stored.clone(), Publisher::open(stored, sink.clone(), overwrite, cancel)?))
}

//! MP4 files of a job's rungs, packaged from its segments once it is finished.
//!
//! Owns which are made, and what is done about a rung that two encoders have made, as a fallback in mid-job
//! leaves it: one MP4 has one set of parameters. Such a rung is made again as a whole by the platform that
//! ended the job, beside the job (`remade/RUNG`), packaged from there, and removed. The playlists keep
//! the segments that they name, and their discontinuity.

use super::making::{Making, shared_out};
use super::{Local, Places, Snapshot, Start, Watch};
use crate::child::{Session, Settings};
use crate::store::location;
use std::sync::Arc;
use transcode_core::event::SegmentFacts;
use transcode_core::package::{FinishedJob, Format, Packaged, Request};
use transcode_core::plan::Plan;
use transcode_core::platform::Platform;
use transcode_core::run::{Opened, Publisher};
use transcode_core::sink::{Sink, StreamSink};
use transcode_core::source::Source;
use transcode_core::{Cancel, Error};

/// Every rung's, in the place of names.
const ALL: &str = "all";

/// The rungs that are meant, best first, each once.
pub(super) fn names(asked: &[String], plan: &Plan) -> Result<Vec<String>, Error> {
    let known: Vec<&str> = plan.rungs.iter().map(|rung| rung.name.as_str()).collect();
    if let Some(unknown) = asked.iter().find(|name| *name != ALL && !known.contains(&name.as_str())) {
        return Err(Error::Config {
            what: format!("--mp4 {unknown}"),
            reason: format!(
                "there is no such rung; this job has {}, and `{ALL}` means each",
                known.join(", ")
            ),
        });
    }
    let meant = |name: &&str| asked.iter().any(|asked| asked == ALL || asked == name);
    Ok(known.into_iter().filter(meant).map(ToOwned::to_owned).collect())
}

/// What it takes to make them.
pub(super) struct Movies<'a> {
    pub(super) places: &'a dyn Places,
    pub(super) watch: &'a dyn Watch,
    pub(super) platforms: &'a [Platform],
    pub(super) source: Arc<dyn Source>,
    pub(super) child: &'a Settings,
    /// As it was asked for.
    pub(super) destination: &'a str,
    pub(super) jobs: Option<u32>,
    pub(super) cancel: &'a Cancel,
}

impl Movies<'_> {
    /// Make those that are not there.
    pub(super) fn make(&self, names: &[String]) -> Result<(), Error> {
        if names.is_empty() {
            return Ok(());
        }
        let cancel = self.cancel;
        let to = self.places.destination(self.destination, cancel)?;
        let job = FinishedJob::open(to.clone(), cancel)?;
        for name in names {
            let request = Request::new(name, Format::Progressive);
            if job.is_of_one_encoder(name) {
                self.watch.packaged(&self.package(&job, &request, &*to)?);
            } else if to.size_of(&request.key, cancel)?.is_some() {
                // It was complete before it had its name. What it was made of is gone.
                log::info!("{}: there before", location(&*to, &request.key));
            } else {
                self.watch.packaged(&self.again(&job, &request, &*to)?);
            }
        }
        Ok(())
    }

    fn package(&self, job: &FinishedJob, request: &Request, to: &dyn StreamSink) -> Result<Packaged, Error> {
        let location = location(to, &request.key);
        let progress = |progress| self.watch.packaging(&location, progress);
        transcode_core::package::package(job, request, to, &progress, self.cancel)
    }

    /// Make the rung by one encoder, package that, and leave nothing else behind.
    fn again(&self, job: &FinishedJob, request: &Request, to: &dyn StreamSink) -> Result<Packaged, Error> {
        let name = &request.rung;
        let last = job.report().fallbacks.last().map(|fallback| fallback.to.as_str());
        let named = self.platforms.iter().find(|platform| Some(platform.name.as_str()) == last);
        let Some(platform) = named.or_else(|| self.platforms.first()) else {
            return Err(Error::Config { what: "--platform".to_owned(), reason: "there is none".to_owned() });
        };
        self.watch.warning(&format!(
            "rung {name}: two encoders have made its segments, which one MP4 cannot hold; for {} it is made again \
             as a whole on platform {}",
            request.key, platform.name
        ));
        let beside = format!("{}/remade/{name}", self.destination.trim_end_matches('/'));
        let cancel = self.cancel;
        let sink: Arc<dyn Sink> = self.places.destination(&beside, cancel)?;
        let Some(plan) = job.plan().alone(name) else {
            return Err(Error::Config {
                what: format!("rung `{name}`"),
                reason: "it is not there".to_owned(),
            });
        };
        self.run(&plan, platform, &sink, cancel)?;
        let packaged = self.package(&FinishedJob::open(sink.clone(), cancel)?, request, to)?;
        self.clear(&plan, &beside, &*sink);
        Ok(packaged)
    }

    /// Make all of `plan` on one platform.
    fn run(
        &self,
        plan: &Plan,
        platform: &Platform,
        sink: &Arc<dyn Sink>,
        cancel: &Cancel,
    ) -> Result<(), Error> {
        // From the beginning: what a killed attempt has left may be another platform's.
        let opened = Publisher::open(plan.clone(), sink.clone(), true, cancel)?;
        let (Opened::Fresh(mut publisher) | Opened::Resume(mut publisher)) = opened else { return Ok(()) };
        let (runs, jobs, _) = shared_out(plan, publisher.missing(), self.jobs, Some(platform));
        let graphs = cancel.child();
        let session = Session::start(self.child, self.source.clone(), &graphs)?;
        let engine = Local {
            plan,
            platforms: std::slice::from_ref(platform),
            source: self.source.clone(),
            sink: sink.clone(),
            child: self.child,
            cancel: &graphs,
        };
        let unseen = Unseen(self.watch);
        let making = Making { watch: &unseen, graphs: &graphs, engine, jobs, on_fallback: &|_| {} };
        making.make(session, &runs, &mut publisher, &|| Ok(())).map(drop)
    }

    /// Remove what was made for the MP4 alone. Where that may not be, it is told and does no harm.
    fn clear(&self, plan: &Plan, beside: &str, sink: &dyn Sink) {
        if let Err(error) = transcode_core::run::remove(plan, sink, self.cancel) {
            self.watch.warning(&format!("{beside} is of no use any more and could not be removed: {error}"));
        }
        // A directory's folders; objects have none.
        let folder = std::path::Path::new(beside);
        if !beside.contains("://") && std::fs::remove_dir_all(folder).is_ok() {
            let _others_may_be_in_it = folder.parent().map(std::fs::remove_dir);
        }
    }
}

/// A rung that is made beside the job: only what a person should know is shown of it.
struct Unseen<'a>(&'a dyn Watch);

impl Watch for Unseen<'_> {
    fn planned(&self, _: &Start<'_>) {}
    fn progress(&self, _: &Snapshot) {}
    fn segment(&self, _: &str, _: &SegmentFacts) {}
    fn warning(&self, text: &str) {
        self.0.warning(text);
    }
}

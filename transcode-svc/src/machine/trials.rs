//! Trials of a platform, each in a process of its own.
//!
//! A trial is a job like any other: a child probes one of the compiled-in clips, makes a ladder of it
//! through the graph that a real job uses, and hands out its segments; a driver that crashes or hangs
//! takes that child with it. What came out is judged in this process, with software decoders. Wall time
//! is measured for the figures; media times are seconds.

use super::memory::{MOST_SESSIONS, Pair, Verdict, digest};
use crate::child::{Session, Settings};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::{Duration, Instant};
use transcode_core::event::ChunkReport;
use transcode_core::plan::{Chunk, Plan};
use transcode_core::platform::Platform;
use transcode_core::run::ChunkRequest;
use transcode_core::sink::MemorySink;
use transcode_core::spec::{JobSpec, Profile};
use transcode_core::trial::{self, Clip};
use transcode_core::units::{MediaTime, SegmentIndex};
use transcode_core::{Cancel, Error, ErrorKind};

/// Silence after which a child at a trial is killed: two seconds of small pictures take less.
const STALL: Duration = Duration::from_secs(10);

/// How long one trial may take in all.
const LIMIT: Duration = Duration::from_secs(60);

/// Encode sessions that are tried at once.
const SESSIONS: [u32; 3] = [2, 4, MOST_SESSIONS];

/// How much is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Depth {
    /// Whether it works: every kind of source.
    #[default]
    Works,
    /// And how fast it is.
    Speed,
    /// And where it ends: sessions, large pictures.
    Limits,
}

/// Try a platform; `tell` hears what is tried.
///
/// # Errors
/// [`Error::Interrupted`]. Whatever else goes wrong is the verdict.
pub fn verdict(
    platform: &Platform,
    depth: Depth,
    child: &Settings,
    tell: &dyn Fn(&str),
    cancel: &Cancel,
) -> Result<Verdict, Error> {
    let child = Settings { stall: STALL, ..child.clone() };
    let tried = Tried { platform, child: &child, cancel };
    let mut verdict = Verdict { file: digest(platform), depth, ..Verdict::default() };
    for clip in trial::clips() {
        tell(clip.title);
        let result = tried.judged(clip);
        if cancel.is_cancelled() {
            return Err(Error::Interrupted);
        }
        let (judged, why) = match result {
            Ok(judged) => (Some(judged), None),
            Err(error) => (None, Some(error.chain())),
        };
        let (name, codec) = (clip.name.to_owned(), clip.codec.to_owned());
        verdict.pairs.push(Pair { clip: name, codec, judged, why });
        // What cannot do the first cannot be used at all.
        if !verdict.passed() {
            return Ok(verdict);
        }
    }
    if depth >= Depth::Speed {
        tell("speed");
        match tried.speed() {
            Ok((speed, start_ms)) => (verdict.speed, verdict.start_ms) = (Some(speed), Some(start_ms)),
            Err(error) => log::debug!("{}: speed: {}", platform.name, error.chain()),
        }
    }
    if depth >= Depth::Limits {
        tell("limits");
        for count in SESSIONS {
            match tried.run(&trial::clips()[0], &trial::sessions_job(count)?, |plan| plan.whole()) {
                Ok(_) => verdict.sessions = Some(count),
                Err(error) => {
                    log::debug!("{}: {count} sessions: {}", platform.name, error.chain());
                    break;
                }
            }
        }
        for clip in trial::large_clips() {
            let size = || Some(clip.title.to_owned());
            let tried = |job: JobSpec| {
                let made = tried.run(clip, &job, |plan| plan.whole());
                made.inspect_err(|error| log::debug!("{}: {}: {}", platform.name, clip.name, error.chain()))
            };
            if tried(trial::small_job()?).is_ok() {
                verdict.decodes = size();
            }
            if tried(trial::large_job()?).is_ok() {
                verdict.encodes = size();
            }
        }
    }
    if cancel.is_cancelled() { Err(Error::Interrupted) } else { Ok(verdict) }
}

struct Tried<'a> {
    platform: &'a Platform,
    child: &'a Settings,
    cancel: &'a Cancel,
}

/// What a child made.
struct Made {
    plan: Plan,
    sink: MemorySink,
    report: ChunkReport,
    /// From the start of the process to the first picture in the encoders.
    started: Duration,
}

impl Tried<'_> {
    fn judged(&self, clip: &Clip) -> Result<trial::Judged, Error> {
        let made = self.run(clip, &trial::job()?, |plan| plan.whole())?;
        trial::judge(clip, &made.plan, &made.sink)
    }

    /// Seconds of `abr` ladder a second, and what a chunk in the middle costs to start, in ms.
    fn speed(&self) -> Result<(f64, u64), Error> {
        let clip = trial::speed_clip();
        let mut profile = Profile::builtin("abr")?;
        // The clip has two seconds.
        let second = MediaTime::new(1, 1).unwrap_or(MediaTime::ZERO);
        (profile.segment, profile.encoding.key_interval) = (second, second);
        let job = JobSpec::new(profile);
        let whole = self.run(&clip, &job, |plan| plan.whole())?;
        let timings = &whole.report.timings;
        // From the first picture on: the start is told beside it.
        let took = timings.total_ms.saturating_sub(timings.first_picture_ms).max(1);
        let speed = whole.plan.timeline.duration().as_secs_f64() * 1_000.0 / took as f64;
        let behind = |plan: &Plan| Chunk { first: SegmentIndex(1), ..plan.whole() };
        let part = self.run(&clip, &job, behind)?;
        let start = u64::try_from(part.started.as_millis()).unwrap_or(0);
        // In steps that do not change a plan with every measurement.
        Ok((speed, start.div_ceil(50) * 50))
    }

    /// One job in a child of its own, which has a minute for it.
    fn run(&self, clip: &Clip, job: &JobSpec, chunk: impl FnOnce(&Plan) -> Chunk) -> Result<Made, Error> {
        let cancel = self.cancel.child();
        let over = Cancel::new();
        std::thread::scope(|scope| {
            let (end, stop) = (over.clone(), cancel.clone());
            scope.spawn(move || {
                if !end.sleep(LIMIT) {
                    stop.cancel();
                }
            });
            let made = self.within(clip, job, chunk, &cancel);
            over.cancel();
            match made {
                Err(error) if error.kind() == ErrorKind::Interrupted && !self.cancel.is_cancelled() => {
                    Err(Error::Stalled {
                        reason: format!("the trial was not done after {} s and was killed", LIMIT.as_secs()),
                    })
                }
                other => other,
            }
        })
    }

    fn within(
        &self,
        clip: &Clip,
        job: &JobSpec,
        chunk: impl FnOnce(&Plan) -> Chunk,
        cancel: &Cancel,
    ) -> Result<Made, Error> {
        let mut session = Session::start(self.child, clip.source(), cancel)?;
        let info = session.probe(self.platform)?;
        let plan = transcode_core::plan(&info, job, self.platform)?;
        drop(session);
        let sink = MemorySink::new();
        let chunk = chunk(&plan);
        // A chunk begins with a process of its own: that is what its start costs.
        let begun = Instant::now();
        let mut session = Session::start(self.child, clip.source(), cancel)?;
        let request = ChunkRequest { plan: &plan, chunk: &chunk, platform: self.platform };
        let report = session.run(request, Arc::new(sink.clone()), &|_| {})?;
        // The graph counts from its own start; the process began before that.
        let all = begun.elapsed();
        let own = Duration::from_millis(report.timings.total_ms);
        let started = all.saturating_sub(own) + Duration::from_millis(report.timings.first_picture_ms);
        Ok(Made { plan, sink, report, started })
    }
}

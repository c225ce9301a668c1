//! A finished job, found at its destination: what can be packaged.
//!
//! Owns the look at `plan.json`, `report.json` and the playlists, and reading segments. A job that is
//! not finished is told with what is missing of it; nothing is changed.

use crate::cancel::Cancel;
use crate::error::Error;
use crate::plan::{Plan, Rung, keys};
use crate::playlist;
use crate::run::{JobReport, SegmentRow, plan_digest};
use crate::sink::Sink;
use crate::units::SegmentIndex;
use std::sync::Arc;

/// A job that was verified and published.
pub struct FinishedJob {
    sink: Arc<dyn Sink>,
    plan: Plan,
    report: JobReport,
}

impl std::fmt::Debug for FinishedJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FinishedJob").field("location", &self.sink.location()).finish_non_exhaustive()
    }
}

impl FinishedJob {
    /// Look at what `sink` holds.
    ///
    /// # Errors
    /// [`Error::Input`] with what is missing where there is no job, or an unfinished one;
    /// [`Error::Sink`] where the destination cannot be read.
    pub fn open(sink: Arc<dyn Sink>, cancel: &Cancel) -> Result<Self, Error> {
        let location = sink.location();
        let unfinished = |reason: String| Error::Input { uri: location.clone(), reason };
        let go_on = "only a finished job can be packaged: run it to its end with `transcode run`";
        let Some(plan) = sink.read(keys::PLAN, cancel)? else {
            return Err(unfinished(format!(
                "there is no {}, so this is not the destination of a job; name the one given to `transcode \
                 run --output`",
                keys::PLAN
            )));
        };
        let plan = Plan::from_json(&plan).map_err(|error| unfinished(error.chain()))?;
        let Some(report) = sink.read(keys::REPORT, cancel)? else {
            return Err(unfinished(format!("{} is missing; {go_on}", keys::REPORT)));
        };
        let report = JobReport::read(&report, &plan).ok_or_else(|| {
            unfinished(format!(
                "{} is not about the plan that is stored ({}); {go_on}",
                keys::REPORT,
                plan_digest(&plan)
            ))
        })?;
        Ok(Self { sink, plan, report })
    }

    /// The plan.
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The figures.
    pub const fn report(&self) -> &JobReport {
        &self.report
    }

    /// The names of the rungs, best first.
    pub fn rungs(&self) -> Vec<&str> {
        self.plan.rungs.iter().map(|rung| rung.name.as_str()).collect()
    }

    /// Whether all segments of the rung have the same parameter sets, as one MP4 needs. Segments of
    /// which they are not known, and rungs that there are not, are taken for good: [`package`](super::package)
    /// looks.
    pub fn is_of_one_encoder(&self, name: &str) -> bool {
        let rows = self.report.rung(name).map(|made| &made.segments[..]).unwrap_or_default();
        let mut sets = rows.iter().filter_map(|row| row.parameter_sets);
        let first = sets.next();
        sets.all(|other| Some(other) == first)
    }

    /// The rung of that name, and its segments.
    ///
    /// # Errors
    /// [`Error::Config`] with the rungs that there are.
    pub(super) fn rung(&self, name: &str) -> Result<(&Rung, &[SegmentRow]), Error> {
        let unknown = || Error::Config {
            what: format!("rung `{name}`"),
            reason: format!(
                "the job at {} has no such rung; it has {}",
                self.sink.location(),
                self.rungs().join(", ")
            ),
        };
        let rung = self.plan.rung(name).ok_or_else(unknown)?;
        let made = self.report.rung(name).ok_or_else(unknown)?;
        Ok((rung, &made.segments))
    }

    /// The rung's playlist is a finished one, and names the segments that the report has.
    pub(super) fn is_published(
        &self,
        rung: &Rung,
        rows: &[SegmentRow],
        cancel: &Cancel,
    ) -> Result<(), Error> {
        let key = self.plan.playlist_key(&rung.name);
        let wrong = |reason: String| Err(Error::Input { uri: self.at(&key), reason });
        let again = "run the job again with `transcode run`: it publishes what is there";
        let Some(text) = self.sink.read(&key, cancel)? else {
            return wrong(format!("the playlist is missing; {again}"));
        };
        let text = String::from_utf8_lossy(&text);
        let named = match playlist::read_media(&text) {
            Ok(named) => named,
            Err(error) => return wrong(format!("{error}; {again}")),
        };
        if !text.contains("#EXT-X-ENDLIST") {
            return wrong(format!(
                "the playlist is not finished: it has {} segments so far; {again}",
                named.len()
            ));
        }
        let in_order = (0u32..).zip(rows).all(|(index, row)| row.index == SegmentIndex(index));
        if named.len() != rows.len() || !in_order {
            return wrong(format!("it names {} segments, the report {}; {again}", named.len(), rows.len()));
        }
        Ok(())
    }

    /// A segment's bytes.
    pub(super) fn segment(&self, rung: &str, index: SegmentIndex, cancel: &Cancel) -> Result<Vec<u8>, Error> {
        let key = self.plan.segment_key(rung, index);
        match self.sink.read(&key, cancel)? {
            Some(bytes) => Ok(bytes),
            None => Err(self.bad_segment(rung, index, "it is missing")),
        }
    }

    /// A segment that is not the job's.
    pub(super) fn bad_segment(&self, rung: &str, index: SegmentIndex, reason: &str) -> Error {
        Error::Input {
            uri: self.at(&self.plan.segment_key(rung, index)),
            reason: format!(
                "segment {index} of rung {rung}: {reason}; remove what is left of it and run the job again: \
                 only what is missing is made"
            ),
        }
    }

    fn at(&self, key: &str) -> String {
        format!("{}/{key}", self.sink.location().trim_end_matches('/'))
    }
}

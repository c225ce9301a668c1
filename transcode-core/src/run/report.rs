//! `report.json`: the figures of a finished job.
//!
//! Owns the report's shape and how it is put together from what the runs counted. It is stored when
//! the verification has passed and before anything is published as finished: whoever finds it knows
//! that only publishing may be left. Times are on the plan's clock, costs in milliseconds.

use super::verify::Verified;
use crate::event::{ChunkReport, Fallback, SegmentFacts, Timings};
use crate::media::SourceIdentity;
use crate::plan::{Plan, PlanReport};
use crate::playlist::{self, Bandwidth};
use crate::segment::{Buffer, Vbv};
use crate::units::{MediaTime, SegmentIndex};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The format of `report.json`; a stored report of another version is not believed.
pub const REPORT_VERSION: u32 = 1;

/// Everything that a finished job has to tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobReport {
    /// [`REPORT_VERSION`] of the program that made it.
    pub version: u32,
    /// [`plan_digest`] of the plan it reports on.
    pub plan: String,
    /// The bytes that were encoded.
    pub source: SourceIdentity,
    /// The profile's name.
    pub profile: String,
    /// How long the output lasts.
    pub duration: MediaTime,
    /// Where the source ended before the plan did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncated: Option<Truncated>,
    /// The rungs, in the plan's order.
    pub rungs: Vec<RungSummary>,
    /// The first segment that the last run made; what lies before was there already.
    pub resumed_at: SegmentIndex,
    /// What the last run counted.
    pub counts: Counts,
    /// What the last run cost.
    pub timings: Timings,
    /// What was kept, clamped or dropped in planning, and why.
    pub planning: PlanReport,
    /// What a person should know, in the order it happened; repeated ones once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Platforms that gave up in the last run, in the order it happened. What they had stored stayed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallbacks: Vec<Fallback>,
}

/// A source that ended early, published as far as it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Truncated {
    /// How much of it could be decoded.
    pub decoded: MediaTime,
    /// How much it promised.
    pub planned: MediaTime,
}

/// One rung as it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RungSummary {
    /// Its name.
    pub rung: String,
    /// Measured; absent where all segments were there already and the store tells no sizes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<Bandwidth>,
    /// How its pictures fit the buffer that it declares; absent where it declares none (ABR) or where
    /// the last run made nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vbv: Option<Vbv>,
    /// Its segments, from 0 without a gap.
    pub segments: Vec<SegmentRow>,
}

/// One stored segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentRow {
    /// Its number.
    pub index: SegmentIndex,
    /// How long it lasts.
    pub duration: MediaTime,
    /// Bytes; unknown where it was there already and the store tells no sizes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// CRC-32 (ISO-HDLC) of the bytes; known where the last run made it or read it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crc32: Option<u32>,
    /// CRC-32 of its SPS and PPS; unknown as above, and absent without video.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameter_sets: Option<u32>,
    /// Who made it.
    pub origin: Origin,
}

/// Who made a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The last run.
    Made,
    /// Somebody else, at the same time or before; the last run made it again, read the stored one
    /// back, found it to be the plan's, and left it.
    Adopted,
    /// An earlier run; the last run left it out.
    Resumed,
}

impl SegmentRow {
    /// The row of a segment that a run made or adopted.
    pub fn of(facts: &SegmentFacts) -> Self {
        Self {
            index: facts.index,
            duration: facts.duration,
            bytes: Some(facts.bytes),
            crc32: Some(facts.crc32),
            parameter_sets: facts.parameter_sets,
            origin: if facts.adopted { Origin::Adopted } else { Origin::Made },
        }
    }
}

/// The gates' figures, summed over the chunks of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Pictures that came out of the decoder.
    pub decoded: u64,
    /// Of those, decoded only to get to the first slot, or past the last.
    pub outside: u64,
    /// Of those, dropped because another picture has their slot.
    pub dropped: u64,
    /// Slots filled by showing the picture before once more.
    pub repeated: u64,
    /// Slots sent to the encoders.
    pub emitted: u64,
    /// Audio samples sent to the encoders.
    pub samples: u64,
    /// Of those, silence put in.
    pub silence: u64,
}

impl Counts {
    /// The sum over several chunks.
    pub fn sum(reports: &[ChunkReport]) -> Self {
        reports.iter().fold(Self::default(), |sum, report| Self {
            decoded: sum.decoded + report.decoded,
            outside: sum.outside + report.outside,
            dropped: sum.dropped + report.dropped,
            repeated: sum.repeated + report.repeated,
            emitted: sum.emitted + report.emitted,
            samples: sum.samples + report.samples,
            silence: sum.silence + report.silence,
        })
    }
}

impl JobReport {
    /// The report of a job whose verification has passed.
    pub(super) fn new(
        plan: &Plan,
        reports: &[ChunkReport],
        verified: Verified,
        resumed_at: SegmentIndex,
        mut warnings: Vec<String>,
    ) -> Self {
        let rungs: Vec<_> = verified
            .rungs
            .into_iter()
            .map(|(rung, rows)| {
                let vbv = buffer(plan, reports, &rung, &rows);
                warnings.extend(vbv.as_ref().and_then(|vbv| vbv.warning(&rung)));
                RungSummary { vbv, ..summary(rung, rows) }
            })
            .collect();
        warnings.extend(verified.notes);
        let unknown = rungs.iter().flat_map(|rung| &rung.segments).filter(|row| row.bytes.is_none()).count();
        if unknown > 0 {
            warnings.push(format!(
                "the store does not tell the sizes of {unknown} segments that were there already; \
                 bit rates are measured from the others"
            ));
        }
        Self {
            version: REPORT_VERSION,
            plan: plan_digest(plan),
            source: plan.source.clone(),
            profile: plan.profile.clone(),
            duration: verified.duration,
            truncated: verified.truncated,
            rungs,
            resumed_at,
            counts: Counts::sum(reports),
            timings: total(reports),
            planning: plan.report.clone(),
            warnings,
            fallbacks: Vec::new(),
        }
    }

    /// The rung of that name.
    pub fn rung(&self, name: &str) -> Option<&RungSummary> {
        self.rungs.iter().find(|rung| rung.rung == name)
    }

    /// As it is stored.
    pub fn to_json(&self) -> String {
        // Plain data with text keys: nothing in it can fail to serialise.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// What is stored, if it is a report on exactly this plan.
    pub(crate) fn read(bytes: &[u8], plan: &Plan) -> Option<Self> {
        let report: Self = serde_json::from_slice(bytes).ok()?;
        let complete = report.rungs.len() == plan.rungs.len()
            && report.rungs.iter().zip(&plan.rungs).all(|(made, rung)| made.rung == rung.name)
            && report.rungs.iter().all(|rung| !rung.segments.is_empty());
        (report.version == REPORT_VERSION && report.plan == plan_digest(plan) && complete).then_some(report)
    }

    /// By rung, for the final master; rungs without a known size are left out.
    pub(super) fn bandwidths(&self) -> BTreeMap<String, Bandwidth> {
        self.rungs.iter().filter_map(|rung| Some((rung.rung.clone(), rung.bandwidth?))).collect()
    }
}

fn summary(rung: String, segments: Vec<SegmentRow>) -> RungSummary {
    let known = || segments.iter().filter_map(|row| Some((row.bytes?, row.duration)));
    let bandwidth = known().next().is_some().then(|| playlist::measure(known()));
    RungSummary { rung, bandwidth, vbv: None, segments }
}

/// The leaky bucket over a rung's segments, whoever made them.
fn buffer(plan: &Plan, reports: &[ChunkReport], rung: &str, rows: &[SegmentRow]) -> Option<Vbv> {
    let buffer = Buffer::of(plan.rung(rung)?.video.as_ref()?, plan.timeline.rate)?;
    let made: Vec<&[SegmentFacts]> = reports
        .iter()
        .flat_map(|report| &report.rungs)
        .filter(|made| made.rung == rung)
        .map(|made| made.segments.as_slice())
        .collect();
    let known: BTreeMap<SegmentIndex, &SegmentFacts> =
        made.iter().flat_map(|facts| facts.iter()).map(|facts| (facts.index, facts)).collect();
    let first = |facts: &&[SegmentFacts]| facts.iter().map(|facts| facts.index).min();
    let joints: BTreeSet<SegmentIndex> = made.iter().filter_map(first).filter(|at| at.0 > 0).collect();
    let segments = rows.iter().map(|row| {
        let bucket = known.get(&row.index).and_then(|facts| facts.bucket.as_ref());
        (row.index, bucket)
    });
    buffer.run(segments, |index| joints.contains(&index))
}

/// One after the other: the first chunk's latencies, everybody's costs.
fn total(reports: &[ChunkReport]) -> Timings {
    let mut sum = reports.first().map(|report| report.timings.clone()).unwrap_or_default();
    for timings in reports.iter().skip(1).map(|report| &report.timings) {
        sum.total_ms += timings.total_ms;
        sum.cpu_ms += timings.cpu_ms;
        sum.sink_wait_ms += timings.sink_wait_ms;
        sum.source_bytes += timings.source_bytes;
        sum.source_reads += timings.source_reads;
    }
    sum
}

/// What tells one plan from another in a report: 64-bit FNV-1a over the plan's JSON, as sixteen
/// hexadecimal digits. No protection against forgery.
pub fn plan_digest(plan: &Plan) -> String {
    digest(plan.to_json().as_bytes())
}

/// 64-bit FNV-1a of some bytes, as sixteen hexadecimal digits. No protection against forgery.
pub fn digest(bytes: &[u8]) -> String {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    format!("{:016x}", bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold))
}

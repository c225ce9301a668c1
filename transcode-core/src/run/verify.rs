//! Holds what was made against the plan, before anything is published as finished.
//!
//! A pure function of (plan, what the runs counted, what was there already). It proves that nothing
//! was lost on the way: decoded − outside − dropped + repeated = emitted = encoded = muxed, for
//! every rung; that every segment begins where the plan says, picture and sound alike; and that the
//! source went as far as the plan. Times are on the plan's clock; those read back from a segment may
//! be a millisecond off, all else is exact.

use super::report::{SegmentRow, Truncated};
use crate::error::Error;
use crate::event::{ChunkReport, RungReport, SegmentFacts};
use crate::plan::{AudioRung, Plan, Rung};
use crate::units::{MediaTime, SegmentIndex};
use std::collections::BTreeMap;

/// How far a time read back from a segment may be from the plan's. GStreamer counts nanoseconds and
/// MPEG-TS 90 kHz ticks, so rounding stays below 0.02 ms; the smallest real fault, a picture at
/// 240 pictures a second, is 4.2 ms.
fn rounding() -> MediaTime {
    MediaTime::new(1, 1_000).unwrap_or(MediaTime::ZERO)
}

/// How much of the end of a source may be missing and shown as its last picture instead: containers
/// round their durations, and state a longest track that is a little longer than its pictures. From
/// half a second on (one slot, where that is longer) the source counts as cut short.
fn allowed_short(plan: &Plan) -> MediaTime {
    plan.timeline.rate.time_of(1).max(half_a_second())
}

/// Also how much silence put in is worth a word.
fn half_a_second() -> MediaTime {
    MediaTime::new(1, 2).unwrap_or(MediaTime::ZERO)
}

/// Faults named in an error; the rest are counted.
const NAMED: usize = 4;

/// What the verification found to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// By rung in the plan's order: its segments, from 0 without a gap.
    pub rungs: Vec<(String, Vec<SegmentRow>)>,
    /// How long all of it lasts.
    pub duration: MediaTime,
    /// Where the source ended before the plan did, and that was allowed.
    pub truncated: Option<Truncated>,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// Hold what the runs of some chunks counted, and the segments that were there already (by rung),
/// against the plan. Where a segment is in both, what a run read back counts.
///
/// # Errors
/// [`Error::Input`] where the source ended before the plan and the plan does not allow that,
/// [`Error::Verification`] with the figures that do not fit.
pub fn verify(
    plan: &Plan,
    reports: &[ChunkReport],
    resumed: &BTreeMap<String, Vec<SegmentRow>>,
) -> Result<Verified, Error> {
    let mut faults = Faults::default();
    // Figures that do not add up say nothing about the source.
    reports.iter().for_each(|report| gate(plan, report, &mut faults));
    std::mem::take(&mut faults).into_result()?;
    let truncated = source_end(plan, reports, resumed)?;
    for report in reports {
        for rung in &plan.rungs {
            match report.rungs.iter().find(|made| made.rung == rung.name) {
                Some(made) => counts(plan, rung, report, made, &mut faults),
                None => faults.add(format!("rung {} is not in the run's figures", rung.name)),
            }
        }
    }
    let mut rungs = Vec::new();
    for rung in &plan.rungs {
        let none = Vec::new();
        let rows = rows(plan, rung, reports, resumed.get(&rung.name).unwrap_or(&none), &mut faults);
        rungs.push((rung.name.clone(), rows));
    }
    same_boundaries(&rungs, &mut faults);
    let duration = total(rungs.first().map_or(&[], |(_, rows)| rows));
    if !plan.timeline.open_ended && truncated.is_none() && faults.is_empty() {
        let planned = plan.timeline.duration();
        if duration != planned {
            faults.add(format!("the segments last {} s, the plan {} s", secs(duration), secs(planned)));
        }
    }
    faults.into_result()?;
    Ok(Verified { rungs, duration, truncated, notes: notes(plan, reports, truncated) })
}

/// What does not fit.
#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn add(&mut self, fault: String) {
        self.0.push(fault);
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn into_result(self) -> Result<(), Error> {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut reason = self.0.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; ");
        if self.0.len() > NAMED {
            reason.push_str(&format!("; and {} more", self.0.len() - NAMED));
        }
        Err(Error::Verification { reason })
    }
}

/// Whether the last segment may be shorter than the plan's.
const fn end_is_free(plan: &Plan) -> bool {
    plan.timeline.open_ended || plan.allow_truncated
}

/// Whether the source went as far as the plan; how far it went, where it did not and that is allowed.
fn source_end(
    plan: &Plan,
    reports: &[ChunkReport],
    resumed: &BTreeMap<String, Vec<SegmentRow>>,
) -> Result<Option<Truncated>, Error> {
    let timeline = &plan.timeline;
    // The run that came nearest to the end says how the source ended.
    let Some(last) = reports.iter().max_by_key(|report| first_segment(report)) else { return Ok(None) };
    let reached = match first_segment(last) {
        Some(first) => timeline.slots_of(first).start + slots(plan, last),
        None => 0,
    };
    if reached == 0 {
        let reason = "nothing in it could be decoded; check the file in a player".to_owned();
        return Err(Error::Input { uri: plan.source.uri.clone(), reason });
    }
    if timeline.open_ended {
        return Ok(None);
    }
    // What comes next was there: whoever made the end has held it against the source.
    let next = timeline.segment_of(reached);
    let is_there =
        |rung: &Rung| resumed.get(&rung.name).is_some_and(|rows| rows.iter().any(|row| row.index == next));
    if reached < timeline.slots && timeline.slots_of(next).start == reached && plan.rungs.iter().all(is_there)
    {
        return Ok(None);
    }
    // Slots filled with the last picture (or with silence) are not the source's.
    let planned = timeline.duration();
    let end = if plan.input.video.is_some() { last.source_end } else { last.audio_end };
    let end = end.map_or(timeline.rate.time_of(reached), |end| end - timeline.start).max(MediaTime::ZERO);
    let decoded = end.min(timeline.rate.time_of(reached)).min(planned);
    if reached >= timeline.slots && planned - decoded <= allowed_short(plan) {
        return Ok(None);
    }
    if plan.allow_truncated {
        return Ok(Some(Truncated { decoded, planned }));
    }
    Err(Error::Input {
        uri: plan.source.uri.clone(),
        reason: format!(
            "it ends early: {} s of {} s could be decoded; fetch it again, or publish what is there \
             with --allow-truncated",
            secs(decoded),
            secs(planned)
        ),
    })
}

/// Slots that a run sent to the encoders: pictures, or whole AAC packets where there are none.
fn slots(plan: &Plan, report: &ChunkReport) -> u64 {
    if plan.input.video.is_some() {
        return report.emitted;
    }
    report.rungs.iter().map(|rung| rung.audio_packets).max().unwrap_or(0)
}

/// The gate: what came out of the decoder, and what went on.
fn gate(plan: &Plan, report: &ChunkReport, faults: &mut Faults) {
    if plan.input.video.is_none() {
        return;
    }
    let ChunkReport { decoded, outside, dropped, repeated, emitted, .. } = report;
    if decoded + repeated != outside + dropped + emitted {
        faults.add(format!(
            "{decoded} decoded − {outside} outside − {dropped} dropped + {repeated} repeated pictures \
             are not the {emitted} that were sent to the encoders"
        ));
    }
}

/// One rung of one run: emitted = encoded = muxed.
fn counts(plan: &Plan, rung: &Rung, report: &ChunkReport, made: &RungReport, faults: &mut Faults) {
    let name = &rung.name;
    if rung.video.is_some() {
        if made.encoded != report.emitted {
            faults.add(format!("rung {name}: {} of {} pictures encoded", made.encoded, report.emitted));
        }
        let muxed: u64 = made.segments.iter().map(|facts| facts.pictures).sum();
        if muxed != made.encoded {
            faults.add(format!("rung {name}: {muxed} of {} encoded pictures are in segments", made.encoded));
        }
    }
    let muxed: u64 = made.segments.iter().map(|facts| facts.audio_packets).sum();
    let encoded = made.audio_packets.min(packets_in_reach(plan, rung, report));
    if muxed != encoded {
        faults.add(format!("rung {name}: {muxed} of {encoded} audio packets are in segments"));
    }
    let expected: u64 = made.segments.iter().map(|facts| planned_packets(plan, rung, facts)).sum();
    if made.audio_packets != expected && !end_is_free(plan) {
        faults.add(format!("rung {name}: {} of {expected} audio packets encoded", made.audio_packets));
    }
    // No packet without the samples that it was made of.
    let needed = made.audio_packets * u64::from(AudioRung::PACKET);
    if needed > report.samples {
        faults.add(format!(
            "rung {name}: {} audio packets need {needed} samples, {} were sent to the encoders",
            made.audio_packets, report.samples
        ));
    }
}

/// AAC packets that belong to a segment at all: where pictures end before the plan does, sound that
/// goes on behind the last one is left out with nothing lost.
fn packets_in_reach(plan: &Plan, rung: &Rung, report: &ChunkReport) -> u64 {
    let first = first_segment(report).map(|first| plan.timeline.slots_of(first).start);
    match (&rung.audio, first) {
        (Some(audio), Some(first)) if rung.video.is_some() && end_is_free(plan) => {
            let end = audio.packets_before(&plan.timeline, first + report.emitted);
            end - audio.packets_before(&plan.timeline, first)
        }
        _ => u64::MAX,
    }
}

/// The first segment that a run made.
fn first_segment(report: &ChunkReport) -> Option<SegmentIndex> {
    report.rungs.iter().filter_map(|rung| rung.segments.iter().map(|facts| facts.index).min()).min()
}

/// AAC packets that belong to a segment, by the plan.
fn planned_packets(plan: &Plan, rung: &Rung, facts: &SegmentFacts) -> u64 {
    let slots = plan.timeline.slots_of(facts.index);
    rung.audio.as_ref().map_or(0, |audio| {
        audio.packets_before(&plan.timeline, slots.end) - audio.packets_before(&plan.timeline, slots.start)
    })
}

/// All segments of a rung in order, each held against the plan.
fn rows(
    plan: &Plan,
    rung: &Rung,
    reports: &[ChunkReport],
    resumed: &[SegmentRow],
    faults: &mut Faults,
) -> Vec<SegmentRow> {
    let mut by_index: BTreeMap<u32, SegmentRow> =
        resumed.iter().map(|row| (row.index.0, row.clone())).collect();
    let made = reports.iter().flat_map(|report| &report.rungs).filter(|made| made.rung == rung.name);
    let made: BTreeMap<u32, &SegmentFacts> =
        made.flat_map(|made| &made.segments).map(|facts| (facts.index.0, facts)).collect();
    let last = made.keys().chain(by_index.keys()).max().copied();
    for (index, facts) in &made {
        segment(plan, rung, facts, Some(*index) == last, faults);
        by_index.insert(*index, SegmentRow::of(facts));
    }
    let end = if end_is_free(plan) { last.map_or(0, |last| last + 1) } else { plan.timeline.segment_count() };
    let missing: Vec<String> =
        (0..end).filter(|index| !by_index.contains_key(index)).map(|index| index.to_string()).collect();
    if !missing.is_empty() {
        let some = missing.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        faults.add(format!("rung {}: {} segments are missing ({some})", rung.name, missing.len()));
    }
    by_index.into_values().collect()
}

/// One segment against the plan.
fn segment(plan: &Plan, rung: &Rung, facts: &SegmentFacts, last: bool, faults: &mut Faults) {
    let timeline = &plan.timeline;
    let what = format!("rung {} segment {}", rung.name, facts.index);
    let slots = timeline.slots_of(facts.index);
    let planned = slots.end - slots.start;
    if facts.bytes == 0 {
        faults.add(format!("{what} is empty"));
    }
    let has = if rung.video.is_some() { facts.pictures } else { facts.audio_packets };
    let may_be_shorter = last && end_is_free(plan);
    if has > planned || has == 0 || (has < planned && !may_be_shorter) {
        faults.add(format!("{what} has {has} of {planned} slots"));
    }
    if facts.duration != timeline.rate.time_of(has) {
        let (told, right) = (secs(facts.duration), secs(timeline.rate.time_of(has)));
        faults.add(format!("{what} is said to last {told} s, its {has} slots last {right} s"));
    }
    if rung.video.is_some() {
        begins(&what, "picture", facts.video_start, timeline.begin(facts.index), faults);
    }
    let Some(audio) = &rung.audio else {
        if facts.audio_packets > 0 {
            faults.add(format!("{what} has {} audio packets, the plan none", facts.audio_packets));
        }
        return;
    };
    let expected = planned_packets(plan, rung, facts);
    if facts.audio_packets != expected && !may_be_shorter {
        faults.add(format!("{what} has {} of {expected} audio packets", facts.audio_packets));
    }
    if facts.audio_packets > 0 {
        let first = audio.packets_before(timeline, slots.start);
        let begin = crate::units::FrameRate::new(audio.sample_rate, AudioRung::PACKET)
            .map_or(MediaTime::ZERO, |packets| packets.time_of(first));
        begins(&what, "sound", facts.audio_start, begin, faults);
    }
}

fn begins(what: &str, of: &str, found: Option<MediaTime>, planned: MediaTime, faults: &mut Faults) {
    let Some(found) = found else {
        faults.add(format!("{what}: its {of} has no time"));
        return;
    };
    let (early, late) = (planned - found, found - planned);
    if early.max(late) > rounding() {
        let direction = if late > early { "late" } else { "early" };
        let by = early.max(late).nanos() / 1_000;
        faults.add(format!(
            "{what}: its {of} begins {}.{:03} ms {direction}, at {} s instead of {} s",
            by / 1_000,
            by % 1_000,
            secs(found),
            secs(planned)
        ));
    }
}

/// Boundaries are those of the plan in every rung; at a free end they must still agree.
fn same_boundaries(rungs: &[(String, Vec<SegmentRow>)], faults: &mut Faults) {
    let Some(((first, reference), others)) = rungs.split_first() else { return };
    for (name, rows) in others {
        let (left, right) = (total(reference), total(rows));
        if rows.len() != reference.len() || left != right {
            faults.add(format!(
                "rungs {first} and {name} do not end together: {} segments of {} s and {} of {} s",
                reference.len(),
                secs(left),
                rows.len(),
                secs(right)
            ));
        }
    }
}

fn total(rows: &[SegmentRow]) -> MediaTime {
    rows.iter().fold(MediaTime::ZERO, |sum, row| sum + row.duration)
}

/// What is right and still worth a word.
fn notes(plan: &Plan, reports: &[ChunkReport], truncated: Option<Truncated>) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(Truncated { decoded, planned }) = truncated {
        notes.push(format!(
            "the source ends early: {} s of {} s could be decoded and are published",
            secs(decoded),
            secs(planned)
        ));
    }
    if let Some(audio) = plan.audio_encodes().first() {
        let silence = reports.iter().map(|report| report.silence).sum::<u64>();
        let seconds =
            i64::try_from(silence).ok().and_then(|samples| MediaTime::new(samples, audio.sample_rate));
        if let Some(seconds) = seconds.filter(|seconds| *seconds > half_a_second()) {
            notes.push(format!("{} s of silence stand where the source has no sound", secs(seconds)));
        }
    }
    notes
}

/// For people: seconds with milliseconds.
fn secs(time: MediaTime) -> String {
    let millis = time.ticks(1_000);
    let sign = if millis < 0 { "-" } else { "" };
    format!("{sign}{}.{:03}", millis.abs() / 1_000, millis.abs() % 1_000)
}

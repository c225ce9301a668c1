//! The sample tables: all that is kept of a rung between the two passes over its segments.
//!
//! Owns the compact form (four bytes a sample, two more a picture), the order of samples in the file,
//! and what the tables say when they are asked. Pictures and packets are numbered from 0 over the whole
//! timeline; the priming packet stands before packet 0. A *run* is about a second of pictures and the
//! packets that begin in it, side by side in the file, so that a player finds both without seeking.

use super::avc::Avc;
use super::samples::Samples;
use crate::plan::{AudioRung, Plan, Rung};
use crate::segment::AudioFormat;
use crate::units::SegmentIndex;
use std::ops::Range;

/// What stands side by side in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    /// Pictures; empty without video.
    pub(super) video: Range<u64>,
    /// Packets.
    pub(super) audio: Range<u64>,
}

/// The tables of one rung.
#[derive(Debug)]
pub(super) struct Tables<'a> {
    plan: &'a Plan,
    rung: &'a Rung,
    /// Segments in all.
    segments: u32,
    /// Bytes of each picture, and its place as shown less its place as decoded.
    pub(super) pictures: Vec<u32>,
    pub(super) shifts: Vec<i16>,
    /// Bytes of each packet, priming left out.
    pub(super) packets: Vec<u32>,
    pub(super) avc: Option<Avc>,
    pub(super) format: Option<AudioFormat>,
}

impl<'a> Tables<'a> {
    /// Empty ones for so many segments of a rung.
    pub(super) fn new(plan: &'a Plan, rung: &'a Rung, segments: u32) -> Self {
        Self {
            plan,
            rung,
            segments,
            pictures: Vec::new(),
            shifts: Vec::new(),
            packets: Vec::new(),
            avc: None,
            format: None,
        }
    }

    /// Take the next segment's sizes; its bytes are not kept.
    ///
    /// # Errors
    /// What does not fit to those before, for people.
    pub(super) fn add(&mut self, index: SegmentIndex, samples: &Samples) -> Result<(), String> {
        fits(self.plan, self.rung, index, self.segments, samples)?;
        same_encoder(&self.avc, samples)?;
        self.avc = self.avc.take().or_else(|| samples.avc.clone());
        self.format = self.format.or(samples.format);
        self.pictures.extend_from_slice(&samples.video.sizes);
        self.shifts.extend_from_slice(&samples.shifts);
        self.packets.extend_from_slice(&samples.audio.sizes);
        Ok(())
    }

    /// How many places a picture may be shown before it is decoded: with so many added, none is.
    pub(super) fn delay(&self) -> u32 {
        delay(&self.shifts)
    }

    /// The runs of a segment.
    pub(super) fn runs(&self, index: SegmentIndex) -> impl Iterator<Item = Run> + use<'_> {
        let timeline = &self.plan.timeline;
        let is_last = index.0 + 1 == self.segments;
        let (has_video, packets) = (self.rung.video.is_some(), self.packets.len() as u64);
        let there = if has_video { self.pictures.len() as u64 } else { packets };
        let slots = timeline.slots_of(index);
        let slots = slots.start.min(there)..slots.end.min(there);
        let step = u64::from(timeline.rate.num().div_ceil(timeline.rate.den()).max(1));
        let end = slots.end;
        (slots.start..slots.end).step_by(usize::try_from(step).unwrap_or(usize::MAX)).map(move |first| {
            let behind = (first + step).min(end);
            if !has_video {
                return Run { video: 0..0, audio: first..behind };
            }
            let before = |slot| self.rung.audio.as_ref().map_or(0, |a| a.packets_before(timeline, slot));
            // What goes on behind the last picture is the last run's.
            let until = if is_last && behind == end { packets } else { before(behind).min(packets) };
            Run { video: first..behind, audio: before(first).min(packets)..until }
        })
    }

    /// The runs of all segments.
    pub(super) fn all_runs(&self) -> impl Iterator<Item = Run> + use<'_> {
        (0..self.segments).flat_map(|index| self.runs(SegmentIndex(index)))
    }

    /// Bytes of a range of pictures.
    pub(super) fn video_bytes(&self, pictures: &Range<u64>) -> u64 {
        sum(&self.pictures, pictures)
    }

    /// Bytes of a range of packets.
    pub(super) fn audio_bytes(&self, packets: &Range<u64>) -> u64 {
        sum(&self.packets, packets)
    }
}

/// How many places the pictures of these shifts have to be shown later, so that none is shown before
/// it is decoded.
pub(super) fn delay(shifts: &[i16]) -> u32 {
    shifts.iter().map(|shift| u32::from(shift.min(&0).unsigned_abs())).max().unwrap_or(0)
}

/// Every segment but the last has all that the plan says.
pub(super) fn fits(
    plan: &Plan,
    rung: &Rung,
    index: SegmentIndex,
    segments: u32,
    samples: &Samples,
) -> Result<(), String> {
    if index.0 + 1 >= segments {
        return Ok(());
    }
    let slots = plan.timeline.slots_of(index);
    let planned = slots.end - slots.start;
    let packets = |audio: &AudioRung| {
        audio.packets_before(&plan.timeline, slots.end) - audio.packets_before(&plan.timeline, slots.start)
    };
    let counts = [
        ("pictures", samples.video.sizes.len() as u64, rung.video.as_ref().map_or(0, |_| planned)),
        ("audio packets", samples.audio.sizes.len() as u64, rung.audio.as_ref().map_or(0, packets)),
    ];
    match counts.into_iter().find(|(_, found, expected)| found != expected) {
        Some((what, found, expected)) => {
            Err(format!("it has {found} of {expected} {what} and is not the last"))
        }
        None => Ok(()),
    }
}

/// An MP4 has one description of its pictures: every segment's must be that of the first.
pub(super) fn same_encoder(first: &Option<Avc>, samples: &Samples) -> Result<(), String> {
    match (first, &samples.avc) {
        (Some(first), Some(found)) if first.sets != found.sets => Err(
            "its SPS or PPS differ from those of the first segment, so another encoder made it; an MP4 has \
             one set of them: the job's `transcode run … --mp4` makes the rung again as a whole for it"
                .to_owned(),
        ),
        _ => Ok(()),
    }
}

fn sum(sizes: &[u32], range: &Range<u64>) -> u64 {
    let at = |place: u64| usize::try_from(place).unwrap_or(usize::MAX).min(sizes.len());
    sizes[at(range.start)..at(range.end).max(at(range.start))].iter().map(|size| u64::from(*size)).sum()
}

//! The sample tables of an MP4's track (ISO/IEC 14496-12 §8.6–8.7), understood.
//!
//! Owns the arithmetic from tables to what is wanted: rate, key frames, stream times with the edit
//! list applied, and which samples lie beyond the end of the file. Tables stay run-length coded, so
//! that a hostile count costs nothing. Times: ticks of the track's clock, stream times where said.

use super::boxes::{be32, find};
use super::mp4::{Row, time};
use super::rate::{Rate, Step, fit};
use crate::media::KeyFrames;
use crate::units::MediaTime;

/// What a track's tables say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Samples {
    /// Samples in the tables.
    pub(super) count: u64,
    /// The rate of pictures, or of audio packets; `None` where no time passes.
    pub(super) rate: Option<Rate>,
    /// Stream time of the first sample that is shown.
    pub(super) start: MediaTime,
    /// Stream time at which the last ends.
    pub(super) end: MediaTime,
    /// How often it can be entered.
    pub(super) keys: KeyFrames,
    /// What the end of the file cut off.
    pub(super) lost: Option<Lost>,
}

/// What the end of the file cut off of a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lost {
    /// Bytes between the end of the file and the end of the track's last sample.
    pub(super) bytes: u64,
    /// Stream time before which every sample is there.
    pub(super) from: MediaTime,
}

/// How large samples are.
pub(super) enum Sizes<'a> {
    /// All alike.
    Equal { size: u32, count: u64 },
    /// Four bytes each.
    Listed(&'a [u8]),
}

impl<'a> Sizes<'a> {
    /// From the `stsz` box; `None` where there is none that can be read (`stz2` is not).
    pub(super) fn read(stbl: &'a [u8]) -> Option<Self> {
        let stsz = find(stbl, b"stsz")?;
        let (size, count) = (be32(stsz, 4)?, be32(stsz, 8)?);
        if size > 0 {
            return Some(Self::Equal { size, count: u64::from(count) });
        }
        let length = usize::try_from(count).ok()?.checked_mul(4)?;
        stsz.get(12..)?.get(..length).map(Self::Listed)
    }

    fn count(&self) -> u64 {
        match self {
            Self::Equal { count, .. } => *count,
            Self::Listed(table) => table.len() as u64 / 4,
        }
    }

    /// Bytes of the samples `first..first + count`, which exist.
    fn sum(&self, first: u64, count: u64) -> u64 {
        match self {
            Self::Equal { size, .. } => count.saturating_mul(u64::from(*size)),
            Self::Listed(_) => {
                (first..first.saturating_add(count)).map(|at| self.one(at)).fold(0, u64::saturating_add)
            }
        }
    }

    fn one(&self, index: u64) -> u64 {
        match self {
            Self::Equal { size, .. } => u64::from(*size),
            Self::Listed(table) => {
                let at = usize::try_from(index).ok().and_then(|index| index.checked_mul(4));
                at.and_then(|at| be32(table, at)).map_or(0, u64::from)
            }
        }
    }

    /// How many of `first..first + count` end within `bytes` of the first one's beginning.
    fn whole_within(&self, first: u64, count: u64, bytes: u64) -> u64 {
        match self {
            Self::Equal { size, .. } => (bytes / u64::from((*size).max(1))).min(count),
            Self::Listed(_) => {
                let mut left = bytes;
                let fits = |at: &u64| match left.checked_sub(self.one(*at)) {
                    Some(rest) => {
                        left = rest;
                        true
                    }
                    None => false,
                };
                (first..first.saturating_add(count)).take_while(fits).count() as u64
            }
        }
    }
}

/// When samples are shown: the edit list (§8.6.6), or the plain track where there is none.
pub(super) struct Presentation {
    spans: Vec<Span>,
    /// Ticks a second of the track's clock.
    clock: u32,
    /// One tick of the movie's clock, on which edits are rounded.
    tick: MediaTime,
}

/// A part of the track that is shown.
struct Span {
    /// Stream time.
    at: MediaTime,
    /// Ticks of the track.
    from: i64,
    /// `None` is to the end.
    length: Option<MediaTime>,
}

impl Presentation {
    /// Of an edit list on the clocks of the movie and the track.
    pub(super) fn new(rows: &[Row], movie_clock: u32, clock: u32) -> Self {
        let mut spans = Vec::new();
        let mut at = MediaTime::ZERO;
        for row in rows {
            let length = time(i128::from(row.duration), movie_clock);
            if let Some(from) = row.media_time {
                spans.push(Span { at, from, length: (row.duration > 0).then_some(length) });
            }
            at = at + length;
        }
        // No list, or nothing but a pause.
        if spans.is_empty() {
            spans.push(Span { at, from: 0, length: None });
        }
        Self { spans, clock, tick: time(1, movie_clock) }
    }

    fn time(&self, ticks: i128) -> MediaTime {
        time(ticks, self.clock)
    }

    /// Stream times of the beginning and the end of a track whose samples last from `first` to `end`.
    fn extent(&self, first: i128, end: i128) -> (MediaTime, MediaTime) {
        let mut extent: Option<(MediaTime, MediaTime)> = None;
        for span in &self.spans {
            let from = i128::from(span.from);
            let rest = self.time((end - from).max(0));
            let length = match span.length {
                // A movie's clock is coarse: a tick less is rounding, not a cut.
                Some(length) if rest > length + self.tick => length,
                _ => rest,
            };
            let before = self.time((first - from).max(0));
            if before >= length {
                continue;
            }
            let begin = extent.map_or(span.at + before, |(begin, _)| begin);
            extent = Some((begin, span.at + length));
        }
        extent.unwrap_or((MediaTime::ZERO, MediaTime::ZERO))
    }

    /// The stream time up to which everything is shown if the track is known only before `ticks`.
    fn known_before(&self, ticks: i128) -> MediaTime {
        let mut reached = MediaTime::ZERO;
        for span in &self.spans {
            let shown = self.time((ticks - i128::from(span.from)).max(0));
            match span.length {
                Some(length) if shown >= length => reached = span.at + length,
                _ => return span.at + shown,
            }
        }
        reached
    }
}

/// Samples at equal distances with equal offsets between decoding and showing.
struct Run {
    first: u64,
    count: u64,
    /// Decoding time of the first.
    at: i128,
    delta: u32,
    offset: i32,
}

impl Run {
    /// When the sample with this number is shown, in ticks.
    fn shown(&self, index: u64) -> i128 {
        self.at + i128::from(index - self.first) * i128::from(self.delta) + i128::from(self.offset)
    }
}

/// The two time tables in step, for the first `count` samples; never stored, they may be long.
fn runs(tables: &mp4parse::Track, count: u64) -> impl Iterator<Item = Run> {
    let steps = tables.stts.iter().flat_map(|table| table.samples.iter());
    let mut steps = steps.map(|row| (u64::from(row.sample_count), row.sample_delta));
    let mut offsets = tables.ctts.iter().flat_map(|table| table.samples.iter()).map(|row| {
        let offset = match row.time_offset {
            mp4parse::TimeOffsetVersion::Version0(offset) => i32::try_from(offset).unwrap_or(i32::MAX),
            mp4parse::TimeOffsetVersion::Version1(offset) => offset,
        };
        (u64::from(row.sample_count), offset)
    });
    let (mut first, mut at) = (0u64, 0i128);
    let (mut step, mut offset) = ((0u64, 0u32), (0u64, 0i32));
    std::iter::from_fn(move || {
        if first >= count {
            return None;
        }
        while step.0 == 0 {
            step = steps.next()?;
        }
        while offset.0 == 0 {
            // A table that ends early, or none: no offset.
            offset = offsets.next().unwrap_or((u64::MAX, 0));
        }
        let length = step.0.min(offset.0).min(count - first);
        let run = Run { first, count: length, at, delta: step.1, offset: offset.1 };
        first += length;
        at += i128::from(length) * i128::from(step.1);
        step.0 -= length;
        offset.0 -= length;
        Some(run)
    })
}

impl Samples {
    /// From a track's tables; `None` where they are not there.
    pub(super) fn understand(
        tables: &mp4parse::Track,
        sizes: &Sizes<'_>,
        presentation: &Presentation,
        file: u64,
        remarks: &mut Vec<String>,
        id: u32,
    ) -> Option<Self> {
        let stts = tables.stts.as_ref()?.samples.as_slice();
        let timed = stts.iter().map(|row| u64::from(row.sample_count)).fold(0, u64::saturating_add);
        let count = timed.min(sizes.count());
        if timed != sizes.count() {
            remarks.push(format!(
                "the tables of track {id} disagree: {timed} samples have a time, {} a size",
                sizes.count()
            ));
        }
        let steps =
            stts.iter().map(|row| Step { count: row.sample_count.into(), delta: row.sample_delta.into() });
        let first = runs(tables, count).map(|run| run.shown(run.first)).min().unwrap_or(0);
        // The last sample of a run ends where the next would begin.
        let end = runs(tables, count).map(|run| run.shown(run.first + run.count)).max().unwrap_or(0);
        let (start, end) = presentation.extent(first, end);
        let lost = missing(tables, sizes, count, file).map(|(sample, bytes)| {
            let behind = runs(tables, count).filter(|run| run.first + run.count > sample);
            let first = behind.map(|run| run.shown(run.first.max(sample))).min();
            Lost { bytes, from: first.map_or(start, |ticks| presentation.known_before(ticks)) }
        });
        Some(Self {
            count,
            rate: fit(steps, u64::from(presentation.clock), 1),
            start,
            end,
            keys: keys(tables, count),
            lost,
        })
    }
}

fn keys(tables: &mp4parse::Track, count: u64) -> KeyFrames {
    let Some(table) = &tables.stss else {
        // Without the table every sample is one (§8.6.2).
        return KeyFrames { count, longest_gap: u64::from(count > 0) };
    };
    let mut numbers: Vec<u64> = table
        .samples
        .iter()
        .map(|number| u64::from(*number))
        .filter(|number| (1..=count).contains(number))
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    let ends = numbers.iter().skip(1).copied().chain([count + 1]);
    let longest_gap = numbers.iter().zip(ends).map(|(from, to)| to - from).max().unwrap_or(0);
    KeyFrames { count: numbers.len() as u64, longest_gap }
}

/// The first sample that does not end within `file` bytes, and how far beyond the last one ends.
fn missing(tables: &mp4parse::Track, sizes: &Sizes<'_>, count: u64, file: u64) -> Option<(u64, u64)> {
    let offsets = &tables.stco.as_ref()?.offsets;
    let rows = &tables.stsc.as_ref()?.samples;
    let (mut row, mut sample) = (0, 0u64);
    let (mut first, mut furthest) = (None, 0u64);
    for (chunk, offset) in (1u64..).zip(offsets.iter()) {
        while rows.get(row + 1).is_some_and(|next| u64::from(next.first_chunk) <= chunk) {
            row += 1;
        }
        let samples = u64::from(rows.get(row)?.samples_per_chunk).min(count - sample);
        let end = offset.saturating_add(sizes.sum(sample, samples));
        if end > file && samples > 0 {
            let there = file.saturating_sub(*offset);
            let whole = if *offset > file { 0 } else { sizes.whole_within(sample, samples, there) };
            let cut = sample + whole;
            first = Some(first.map_or(cut, |known: u64| known.min(cut)));
            furthest = furthest.max(end);
        }
        sample += samples;
        if sample >= count {
            break;
        }
    }
    first.map(|sample| (sample, furthest - file))
}

#[cfg(test)]
mod tests;

//! What is done about a failed run, and what is left of it.
//!
//! Pure: knows plans, errors and what was told as stored; no children and no store.

use std::collections::{BTreeMap, BTreeSet};
use transcode_core::event::SegmentFacts;
use transcode_core::plan::{Chunk, Plan};
use transcode_core::units::SegmentIndex;
use transcode_core::{Error, ErrorKind};

/// What comes after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// The next platform makes the rest.
    Platform,
    /// The same platform makes the rest, in a new process.
    Again,
    /// The job fails.
    Fail,
}

impl Next {
    /// After `error`: the child `died` (crashed or hung), the run was `retried` before, there is
    /// `another` platform.
    pub(super) fn after(error: &Error, died: bool, retried: bool, another: bool) -> Self {
        match error.kind() {
            ErrorKind::Machine if another => Self::Platform,
            ErrorKind::Machine if died && !retried => Self::Again,
            // The input, the store, the caller: another platform would meet the same.
            _ => Self::Fail,
        }
    }
}

/// What of a run is stored, by its own events.
#[derive(Debug)]
pub(super) struct Progress {
    chunk: Chunk,
    /// By rung.
    stored: BTreeMap<String, BTreeSet<u32>>,
}

/// What is left of a run.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rest {
    /// The first segment of it.
    pub(super) first: SegmentIndex,
    /// In order; never nothing.
    pub(super) chunks: Vec<Chunk>,
}

impl Progress {
    pub(super) fn new(plan: &Plan, chunk: &Chunk) -> Self {
        let stored = plan.rungs.iter().map(|rung| (rung.name.clone(), BTreeSet::new())).collect();
        Self { chunk: chunk.clone(), stored }
    }

    /// A segment of this run is stored.
    pub(super) fn stored(&mut self, facts: &SegmentFacts) {
        if let Some(stored) = self.stored.get_mut(&facts.rung) {
            stored.insert(facts.index.0);
        }
    }

    /// Every segment that some rung lacks, of all rungs. Where all are stored and the run failed all
    /// the same, the last is made once more, for the figures about the end.
    pub(super) fn rest(&self) -> Rest {
        let lacks = |index: &u32| self.stored.values().any(|stored| !stored.contains(index));
        let mut chunks: Vec<Chunk> = Vec::new();
        // Behind the last segment that any rung has, everything is missing; a source of unknown
        // length has a very long plan.
        let known = self.stored.values().filter_map(|stored| stored.last()).max();
        let behind = known.map_or(self.chunk.first.0, |last| last + 1).min(self.chunk.end.0);
        for index in (self.chunk.first.0..behind).filter(lacks) {
            let (first, end) = (SegmentIndex(index), SegmentIndex(index + 1));
            match chunks.last_mut().filter(|last| last.end == first) {
                Some(last) => last.end = end,
                None => chunks.push(Chunk { index: self.chunk.index, first, end }),
            }
        }
        let (first, end) = (SegmentIndex(behind), self.chunk.end);
        match chunks.last_mut().filter(|last| last.end == first) {
            Some(last) => last.end = end,
            None if first < end => chunks.push(Chunk { index: self.chunk.index, first, end }),
            None => {}
        }
        if chunks.is_empty() {
            let last = SegmentIndex(end.0.saturating_sub(1));
            chunks.push(Chunk { index: self.chunk.index, first: last, end });
        }
        let first = chunks.first().map_or(end, |chunk| chunk.first);
        Rest { first, chunks }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use transcode_core::sink::SinkError;
    use transcode_core::units::MediaTime;

    fn chunk(first: u32, end: u32) -> Chunk {
        Chunk { index: 3, first: SegmentIndex(first), end: SegmentIndex(end) }
    }

    fn progress(first: u32, end: u32, stored: &[(&str, &[u32])]) -> Progress {
        let mut progress = Progress {
            chunk: chunk(first, end),
            stored: [("high", BTreeSet::new()), ("low", BTreeSet::new())]
                .map(|(rung, set)| (rung.to_owned(), set))
                .into(),
        };
        for (rung, indices) in stored {
            for index in *indices {
                progress.stored(&SegmentFacts {
                    rung: (*rung).to_owned(),
                    index: SegmentIndex(*index),
                    bytes: 188,
                    pictures: 1,
                    audio_packets: 0,
                    video_start: None,
                    audio_start: None,
                    duration: MediaTime::ZERO,
                    crc32: 0,
                    parameter_sets: None,
                    bucket: None,
                    adopted: false,
                });
            }
        }
        progress
    }

    #[test]
    fn what_every_rung_has_is_not_made_again() {
        let both: &[u32] = &[4, 5];
        let rest = progress(4, 9, &[("high", both), ("low", &[4, 5, 6])]).rest();
        assert_eq!(rest, Rest { first: SegmentIndex(6), chunks: vec![chunk(6, 9)] });
        assert_eq!(progress(4, 9, &[]).rest().chunks, [chunk(4, 9)]);
        let gap = progress(4, 9, &[("high", &[4, 6]), ("low", &[4, 5, 6])]).rest();
        assert_eq!(gap.chunks, [chunk(5, 6), chunk(7, 9)]);
    }

    #[test]
    fn a_run_that_fails_after_its_last_segment_makes_that_once_more() {
        let all: &[u32] = &[4, 5, 6];
        let rest = progress(4, 7, &[("high", all), ("low", all)]).rest();
        assert_eq!(rest, Rest { first: SegmentIndex(6), chunks: vec![chunk(6, 7)] });
    }

    #[test]
    fn a_plan_without_an_end_has_one_rest() {
        let rest = progress(0, u32::MAX, &[("high", &[0, 1]), ("low", &[0])]).rest();
        assert_eq!(rest.chunks, [chunk(1, u32::MAX)]);
    }

    #[test]
    fn only_the_machines_failures_go_to_the_next_platform() {
        let machine = [
            Error::Platform { platform: "a".into(), reason: "b".into() },
            Error::Stalled { reason: "a".into() },
            Error::Verification { reason: "a".into() },
        ];
        for error in &machine {
            assert_eq!(Next::after(error, false, false, true), Next::Platform, "{error}");
            assert_eq!(Next::after(error, true, true, true), Next::Platform, "{error}");
            assert_eq!(Next::after(error, false, false, false), Next::Fail, "{error}");
            assert_eq!(Next::after(error, true, false, false), Next::Again, "{error}");
            assert_eq!(Next::after(error, true, true, false), Next::Fail, "{error}");
        }
        let others = [
            Error::Input { uri: "a".into(), reason: "b".into() },
            Error::Sink(SinkError::Refused { location: "a".into(), reason: "b".into() }),
            Error::Config { what: "a".into(), reason: "b".into() },
            Error::Interrupted,
        ];
        for error in &others {
            assert_eq!(Next::after(error, true, false, true), Next::Fail, "{error}");
        }
    }
}

//! From the graph's counters to a person's figures: how much is playable, how fast, how long still.
//!
//! Pure but for the elapsed time that it is given. Slots are the plan's; seconds are for showing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use transcode_core::event::{RungProgress, SegmentFacts};
use transcode_core::plan::{Chunk, Plan};
use transcode_core::units::SegmentIndex;

/// Gathers the events of all runs of a job.
pub(crate) struct Tracker {
    rungs: Vec<Rung>,
    /// Slots that were there before.
    there: u64,
    /// Slots to be made, and of the whole timeline, as far as the source's length is known.
    slots: Option<u64>,
    all: Option<u64>,
    /// Segments of the whole timeline, as far as the source's length is known.
    segments: Option<u32>,
    /// Seconds a slot.
    slot: f64,
}

struct Rung {
    name: String,
    /// Slots encoded, by run.
    encoded: BTreeMap<usize, u64>,
    /// Slots that somebody else made meanwhile.
    found: u64,
    /// Segments from the timeline's beginning without a gap.
    playable: u32,
    /// Segments that are stored beyond a gap.
    ahead: BTreeSet<u32>,
}

impl Rung {
    fn done(&self) -> u64 {
        self.encoded.values().sum::<u64>() + self.found
    }
}

/// How far a job is.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub(crate) struct Snapshot {
    /// Wall time since the run began, in seconds.
    pub(crate) elapsed: f64,
    /// Media time that the slowest rung has encoded in this run, in seconds.
    pub(crate) encoded: f64,
    /// Media time that this run has to encode, in seconds; absent where the source does not tell.
    pub(crate) wanted: Option<f64>,
    /// Length of the whole timeline, in seconds; absent where the source does not tell.
    pub(crate) duration: Option<f64>,
    /// Seconds of media a second of wall time.
    pub(crate) speed: f64,
    /// Seconds of wall time until the end at this speed; absent while there is no speed yet.
    pub(crate) eta: Option<f64>,
    /// By rung, in the plan's order.
    pub(crate) rungs: Vec<RungSnapshot>,
}

/// How far one rung is.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub(crate) struct RungSnapshot {
    /// Its name.
    pub(crate) rung: String,
    /// Media time encoded on the whole timeline, what was there before included, in seconds.
    pub(crate) encoded: f64,
    /// Segments from the beginning without a gap: what can be played.
    pub(crate) playable: u32,
    /// Segments in all; absent where the source does not tell its length.
    pub(crate) segments: Option<u32>,
}

impl Tracker {
    /// For these runs, in order; what lies outside of them is there.
    pub(crate) fn new(plan: &Plan, runs: &[Chunk]) -> Self {
        let timeline = &plan.timeline;
        let all = timeline.expected_slots();
        let slots_of = |run: &Chunk| {
            let first = timeline.slots_of(run.first).start;
            let end = timeline.slots_of(SegmentIndex(run.end.0.saturating_sub(1))).end;
            end.min(all.unwrap_or(u64::MAX)).saturating_sub(first)
        };
        let first = runs.first().map_or(0, |run| run.first.0);
        let end = timeline.expected_segments().unwrap_or(first);
        let missing = |index: &u32| runs.iter().any(|run| run.segments().contains(index));
        let ahead: BTreeSet<u32> = (first..end).filter(|index| !missing(index)).collect();
        let rung = |name: &String| Rung {
            name: name.clone(),
            encoded: BTreeMap::new(),
            found: 0,
            playable: first,
            ahead: ahead.clone(),
        };
        let slots = all.map(|_| runs.iter().map(slots_of).sum::<u64>());
        let first_slot = timeline.slots_of(SegmentIndex(first)).start;
        Self {
            rungs: plan.rungs.iter().map(|planned| rung(&planned.name)).collect(),
            there: all.zip(slots).map_or(first_slot, |(all, slots)| all.saturating_sub(slots)),
            slots,
            all,
            segments: timeline.expected_segments(),
            slot: timeline.rate.time_of(1).as_secs_f64(),
        }
    }

    /// What the encoders of a run count.
    pub(crate) fn progress(&mut self, run: usize, news: &[RungProgress]) {
        for told in news {
            if let Some(rung) = self.rungs.iter_mut().find(|rung| rung.name == told.rung) {
                let encoded = rung.encoded.entry(run).or_default();
                *encoded = told.encoded.max(*encoded);
            }
        }
    }

    /// A run has failed, and so many slots of it are stored; others make the rest.
    pub(crate) fn broken(&mut self, run: usize, slots: u64) {
        for rung in &mut self.rungs {
            rung.encoded.insert(run, slots);
        }
    }

    /// A segment that was to be made, and that somebody else has made meanwhile.
    pub(crate) fn found(&mut self, facts: &SegmentFacts) {
        if let Some(rung) = self.rungs.iter_mut().find(|rung| rung.name == facts.rung) {
            rung.found += if facts.pictures > 0 { facts.pictures } else { facts.audio_packets };
        }
    }

    /// A segment is stored.
    pub(crate) fn stored(&mut self, rung: &str, index: SegmentIndex) {
        let Some(rung) = self.rungs.iter_mut().find(|known| known.name == rung) else { return };
        rung.ahead.insert(index.0);
        while rung.ahead.remove(&rung.playable) {
            rung.playable += 1;
        }
    }

    /// How far it is, so long after the run began.
    pub(crate) fn snapshot(&self, elapsed: Duration) -> Snapshot {
        let elapsed = elapsed.as_secs_f64();
        let seconds = |slots: u64| slots as f64 * self.slot;
        let bounded = |rung: &Rung| rung.done().min(self.slots.unwrap_or(u64::MAX));
        let encoded = seconds(self.rungs.iter().map(bounded).min().unwrap_or(0));
        let wanted = self.slots.map(seconds);
        let speed = if elapsed > 0.0 { encoded / elapsed } else { 0.0 };
        let rungs = self.rungs.iter().map(|rung| RungSnapshot {
            rung: rung.name.clone(),
            encoded: seconds(self.there + bounded(rung)),
            playable: rung.playable,
            segments: self.segments,
        });
        Snapshot {
            elapsed,
            encoded,
            wanted,
            duration: self.all.map(seconds),
            speed,
            eta: wanted.filter(|_| speed > 0.0).map(|wanted| (wanted - encoded) / speed),
            rungs: rungs.collect(),
        }
    }
}

impl Snapshot {
    /// The encoded part of what this run has to do, in percent; `None` where that is not known.
    pub(crate) fn percent(&self) -> Option<f64> {
        let wanted = self.wanted?;
        Some(if wanted > 0.0 { 100.0 * self.encoded / wanted } else { 100.0 })
    }
}

impl RungSnapshot {
    /// `3/12`, or `3` where the whole is not known.
    pub(crate) fn of_all(&self) -> String {
        self.segments.map_or_else(|| self.playable.to_string(), |all| format!("{}/{all}", self.playable))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 10 segments of 24 slots at 24 a second; the first four are there.
    fn tracker() -> Tracker {
        let rung = |name: &str| Rung {
            name: name.to_owned(),
            encoded: BTreeMap::new(),
            found: 0,
            playable: 4,
            ahead: BTreeSet::new(),
        };
        let rungs = vec![rung("720p"), rung("360p")];
        let (slots, all) = (Some(144), Some(240));
        Tracker { rungs, there: 96, slots, all, segments: Some(10), slot: 1.0 / 24.0 }
    }

    fn told(rung: &str, encoded: u64) -> RungProgress {
        RungProgress { rung: rung.to_owned(), encoded, segments: 0 }
    }

    #[test]
    fn speed_and_rest_follow_the_slowest_rung() {
        let mut tracker = tracker();
        assert_eq!(tracker.snapshot(Duration::from_secs(1)).eta, None, "no speed yet");
        tracker.progress(0, &[told("720p", 40), told("360p", 80)]);
        tracker.progress(1, &[told("720p", 8), told("360p", 16)]);
        let snapshot = tracker.snapshot(Duration::from_secs(1));
        assert!((snapshot.speed - 2.0).abs() < 1e-9, "{snapshot:?}");
        assert!(snapshot.eta.is_some_and(|eta| (eta - 2.0).abs() < 1e-9), "{snapshot:?}");
        assert!((snapshot.rungs[1].encoded - 8.0).abs() < 1e-9, "what was there counts: {snapshot:?}");
    }

    #[test]
    fn only_what_has_no_gap_before_it_is_playable() {
        let mut tracker = tracker();
        for index in [4, 6] {
            tracker.stored("720p", SegmentIndex(index));
        }
        let playable = |tracker: &Tracker| tracker.snapshot(Duration::from_secs(1)).rungs[0].playable;
        assert_eq!(playable(&tracker), 5);
        tracker.stored("720p", SegmentIndex(5));
        assert_eq!(playable(&tracker), 7);
    }

    #[test]
    fn a_source_without_a_length_has_no_percentage_and_no_rest() {
        let mut tracker = Tracker { slots: None, all: None, segments: None, ..tracker() };
        tracker.progress(0, &[told("720p", 480), told("360p", 480)]);
        tracker.stored("720p", SegmentIndex(4));
        let snapshot = tracker.snapshot(Duration::from_secs(2));
        assert!((snapshot.speed - 10.0).abs() < 1e-9, "{snapshot:?}");
        assert_eq!((snapshot.percent(), snapshot.eta), (None, None));
        assert_eq!(snapshot.rungs[0].of_all(), "5");
    }
}

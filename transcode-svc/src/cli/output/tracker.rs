//! From the graph's counters to a person's figures: how much is playable, how fast, how long still.
//!
//! Pure but for the elapsed time that it is given. Slots are the plan's; seconds are for showing.

use std::time::Duration;
use transcode_core::event::RungProgress;
use transcode_core::plan::{Chunk, Plan};
use transcode_core::units::SegmentIndex;

/// Gathers the events of one run.
pub(crate) struct Tracker {
    rungs: Vec<Rung>,
    /// The run's first slot, and how many it has.
    first_slot: u64,
    slots: u64,
    /// Slots of the whole timeline.
    all: u64,
    /// Segments that were there before.
    first: u32,
    segments: u32,
    /// Seconds a slot.
    slot: f64,
}

struct Rung {
    name: String,
    encoded: u64,
    /// Which segments of the run are stored, by number from the run's first.
    stored: Vec<bool>,
}

/// How far a run is.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub(crate) struct Snapshot {
    /// Wall time since the run began, in seconds.
    pub(crate) elapsed: f64,
    /// Media time that the slowest rung has encoded in this run, in seconds.
    pub(crate) encoded: f64,
    /// Media time that this run has to encode, in seconds.
    pub(crate) wanted: f64,
    /// Length of the whole timeline, in seconds.
    pub(crate) duration: f64,
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
    /// Segments in all.
    pub(crate) segments: u32,
}

impl Tracker {
    /// For a run of `chunk`; what lies before it is there.
    pub(crate) fn new(plan: &Plan, chunk: &Chunk) -> Self {
        let timeline = &plan.timeline;
        let first_slot = timeline.slots_of(chunk.first).start;
        let end = timeline.slots_of(SegmentIndex(chunk.end.0.saturating_sub(1))).end;
        let own = chunk.segments().len();
        let rung = |name: &String| Rung { name: name.clone(), encoded: 0, stored: vec![false; own] };
        Self {
            rungs: plan.rungs.iter().map(|planned| rung(&planned.name)).collect(),
            first_slot,
            slots: end.saturating_sub(first_slot),
            all: timeline.slots,
            first: chunk.first.0,
            segments: timeline.segment_count(),
            slot: timeline.rate.time_of(1).as_secs_f64(),
        }
    }

    /// What the encoders count.
    pub(crate) fn progress(&mut self, news: &[RungProgress]) {
        for told in news {
            if let Some(rung) = self.rungs.iter_mut().find(|rung| rung.name == told.rung) {
                rung.encoded = rung.encoded.max(told.encoded);
            }
        }
    }

    /// A segment is stored.
    pub(crate) fn stored(&mut self, rung: &str, index: SegmentIndex) {
        let Some(at) = index.0.checked_sub(self.first) else { return };
        let rung = self.rungs.iter_mut().find(|known| known.name == rung);
        if let Some(stored) = rung.and_then(|rung| rung.stored.get_mut(at as usize)) {
            *stored = true;
        }
    }

    /// How far it is, so long after the run began.
    pub(crate) fn snapshot(&self, elapsed: Duration) -> Snapshot {
        let elapsed = elapsed.as_secs_f64();
        let slowest = self.rungs.iter().map(|rung| rung.encoded.min(self.slots)).min().unwrap_or(0);
        let (encoded, wanted) = (slowest as f64 * self.slot, self.slots as f64 * self.slot);
        let speed = if elapsed > 0.0 { encoded / elapsed } else { 0.0 };
        let eta = (speed > 0.0).then(|| (wanted - encoded) / speed);
        let rungs = self.rungs.iter().map(|rung| {
            let own = rung.stored.iter().take_while(|stored| **stored).count();
            RungSnapshot {
                rung: rung.name.clone(),
                encoded: (self.first_slot + rung.encoded.min(self.slots)) as f64 * self.slot,
                playable: self.first + u32::try_from(own).unwrap_or(u32::MAX),
                segments: self.segments,
            }
        });
        Snapshot {
            elapsed,
            encoded,
            wanted,
            duration: self.all as f64 * self.slot,
            speed,
            eta,
            rungs: rungs.collect(),
        }
    }
}

impl Snapshot {
    /// The encoded part of what this run has to do, in percent.
    pub(crate) fn percent(&self) -> f64 {
        if self.wanted > 0.0 { 100.0 * self.encoded / self.wanted } else { 100.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 10 segments of 24 slots at 24 a second; the first four are there.
    fn tracker() -> Tracker {
        let rung = |name: &str| Rung { name: name.to_owned(), encoded: 0, stored: vec![false; 6] };
        let rungs = vec![rung("720p"), rung("360p")];
        Tracker { rungs, first_slot: 96, slots: 144, all: 240, first: 4, segments: 10, slot: 1.0 / 24.0 }
    }

    fn told(rung: &str, encoded: u64) -> RungProgress {
        RungProgress { rung: rung.to_owned(), encoded, segments: 0 }
    }

    #[test]
    fn speed_and_rest_follow_the_slowest_rung() {
        let mut tracker = tracker();
        assert_eq!(tracker.snapshot(Duration::from_secs(1)).eta, None, "no speed yet");
        tracker.progress(&[told("720p", 48), told("360p", 96)]);
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
}

//! The exact list of segment boundaries.
//!
//! The timeline is a grid of *slots*: pictures, or AAC packets where there is no video. Segments
//! are whole numbers of slots, so no boundary is ever rounded.
//!
//! **Open ends.** Some sources cannot state their length: an MPEG-TS or FLV recording, a bare MP3
//! or AAC stream, a header that was never finished. Their timeline is open-ended: `slots` is then an
//! upper bound that no such source reaches, `expected` is what it is thought to have (for progress
//! and ETA, never for a cut), and the run ends with the last picture that there is. Segments beyond
//! it are never made, the last one made may be shorter, and playlists follow what is stored. A plan
//! that is not open-ended has exactly `slots` slots, and a source with fewer is a fault.

use crate::units::{FrameRate, MediaTime, SegmentIndex};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Segment boundaries on the grid of slots, shared by all rungs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timeline {
    /// Slots a second: the frame rate, or sample rate / 1024 in an audio ladder.
    pub rate: FrameRate,
    /// Slots in all; an upper bound where `open_ended`.
    pub slots: u64,
    /// Slots a segment; the last segment may have fewer.
    pub segment_slots: u32,
    /// Stream time of the source at slot 0.
    pub start: MediaTime,
    /// The source could not state its length (or may be longer): the last segment ends where it does.
    pub open_ended: bool,
    /// Slots that an open-ended source is thought to have, for progress and ETA only; absent where
    /// `slots` says it or nothing is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<u64>,
}

impl Timeline {
    /// How many segments there are; an upper bound where the timeline is open-ended.
    pub fn segment_count(&self) -> u32 {
        self.segments_in(self.slots)
    }

    fn segments_in(&self, slots: u64) -> u32 {
        u32::try_from(slots.div_ceil(u64::from(self.segment_slots.max(1)))).unwrap_or(u32::MAX)
    }

    /// For showing only: slots that there will be, as far as that is known; `None` where it is not.
    pub fn expected_slots(&self) -> Option<u64> {
        if self.open_ended { self.expected } else { Some(self.slots) }
    }

    /// For showing only: segments that there will be, as far as that is known.
    pub fn expected_segments(&self) -> Option<u32> {
        self.expected_slots().map(|slots| self.segments_in(slots))
    }

    /// For showing only: how long all of it will last, as far as that is known.
    pub fn expected_duration(&self) -> Option<MediaTime> {
        self.expected_slots().map(|slots| self.rate.time_of(slots))
    }

    /// The slots of a segment; empty past the end.
    pub fn slots_of(&self, index: SegmentIndex) -> Range<u64> {
        let first = u64::from(index.0) * u64::from(self.segment_slots);
        first.min(self.slots)..(first + u64::from(self.segment_slots)).min(self.slots)
    }

    /// The segment that holds a slot.
    pub fn segment_of(&self, slot: u64) -> SegmentIndex {
        SegmentIndex(u32::try_from(slot / u64::from(self.segment_slots.max(1))).unwrap_or(u32::MAX))
    }

    /// Where a segment begins, on the plan's clock.
    pub fn begin(&self, index: SegmentIndex) -> MediaTime {
        self.rate.time_of(self.slots_of(index).start)
    }

    /// How long a segment lasts.
    pub fn length(&self, index: SegmentIndex) -> MediaTime {
        let slots = self.slots_of(index);
        self.rate.time_of(slots.end - slots.start)
    }

    /// How long all of it lasts; an upper bound where the timeline is open-ended.
    pub fn duration(&self) -> MediaTime {
        self.rate.time_of(self.slots)
    }

    /// Audio samples from the beginning up to `slot`, rounded to the nearest.
    pub fn samples_before(&self, slot: u64, sample_rate: u32) -> u64 {
        u64::try_from(self.rate.time_of(slot).ticks(sample_rate)).unwrap_or(0)
    }
}

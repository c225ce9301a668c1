//! How the timeline is divided into chunks: the units of work, of retry and of distribution.
//!
//! A chunk costs a start (open the source, seek, decode up to its first picture, fill an encoder's
//! look-ahead), and the longer it is, the more is in flight when its process dies. The best length
//! for work that is checkpointed at a cost, and lost now and then, is √(2 · cost · mean time between
//! losses) (J. W. Young, "A first order approximation to the optimum checkpoint interval", 1974),
//! which is taken here in seconds of media: at realtime it is the optimum, on a faster machine the
//! starts weigh a little more, on a slower one a little less.
//!
//! The first chunk is one segment long and the next ones double up to that length, so that playback
//! starts early however many processes share the work. Whoever makes several chunks in a row may
//! make them in one go: chunks say where work may be divided, not that it must.

use super::{Chunk, Timeline};
use crate::units::{MediaTime, SegmentIndex};

/// Mean time between losses of a process, in milliseconds: an hour. Spot machines are taken away
/// less often, deployments and crashes come on top; ten times more or less changes the length by
/// a factor of three, and the cost of both together hardly at all.
const BETWEEN_LOSSES_MS: u64 = 3_600_000;

/// Where the end is not known (a source that cannot state its length, one that may have been cut off)
/// there is one chunk: nobody could say whether a later one has anything to make.
pub(super) fn chunks(
    timeline: &Timeline,
    free_end: bool,
    start_cost: MediaTime,
    asked: Option<MediaTime>,
) -> Vec<Chunk> {
    let count = timeline.segment_count();
    if free_end || timeline.open_ended {
        return number(&[count]);
    }
    let segment = timeline.rate.time_of(u64::from(timeline.segment_slots));
    let segments = |length: MediaTime| {
        // Both are above zero: a segment has a slot, a chunk a length that was checked.
        let (length, segment) = (length.nanos().max(1), segment.nanos().max(1));
        u32::try_from((length + segment - 1) / segment).unwrap_or(u32::MAX).max(1)
    };
    let (full, mut next) = match asked {
        Some(length) => (segments(length), segments(length)),
        None => (segments(best_length(start_cost)), 1),
    };
    let (mut lengths, mut left) = (Vec::new(), count);
    while left > 0 {
        let length = next.min(left);
        lengths.push(length);
        left -= length;
        next = next.saturating_mul(2).min(full);
    }
    // A short rest is not worth a start of its own.
    if let [.., before, rest] = lengths[..] {
        if asked.is_none() && rest * 2 < before {
            lengths.pop();
            if let Some(last) = lengths.last_mut() {
                *last += rest;
            }
        }
    }
    number(&lengths)
}

/// √(2 · cost · mean time between losses).
fn best_length(start_cost: MediaTime) -> MediaTime {
    let cost = u64::try_from(start_cost.nanos() / 1_000_000).unwrap_or(0).min(60_000);
    let millis = (2 * cost * BETWEEN_LOSSES_MS).isqrt();
    i64::try_from(millis).ok().and_then(|millis| MediaTime::new(millis, 1_000)).unwrap_or(MediaTime::ZERO)
}

fn number(lengths: &[u32]) -> Vec<Chunk> {
    let mut first = 0;
    let chunk = |(index, length): (u32, &u32)| {
        let chunk = Chunk { index, first: SegmentIndex(first), end: SegmentIndex(first + length) };
        first += length;
        chunk
    };
    (0u32..).zip(lengths).map(chunk).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::FrameRate;
    use proptest::prelude::*;

    fn timeline(segments: u32, open_ended: bool) -> Timeline {
        Timeline {
            rate: FrameRate::new(30_000, 1_001).expect("29.97"),
            slots: u64::from(segments) * 180 - 7,
            segment_slots: 180,
            start: MediaTime::ZERO,
            open_ended,
            expected: None,
        }
    }

    fn lengths(segments: u32, cost: &str, asked: Option<&str>) -> Vec<usize> {
        let time = |text: &str| text.parse().expect("a time");
        let chunks = chunks(&timeline(segments, false), false, time(cost), asked.map(time));
        chunks.iter().map(|chunk| chunk.segments().len()).collect()
    }

    #[test]
    fn the_first_chunks_are_small_and_the_rest_as_long_as_a_start_is_worth() {
        // √(2 · 0.4 s · 3600 s) = 53.7 s: nine segments of 6.006 s.
        assert_eq!(lengths(40, "400ms", None), [1, 2, 4, 8, 9, 9, 7]);
        assert_eq!(lengths(36, "400ms", None), [1, 2, 4, 8, 9, 12], "three are not worth a start");
        assert_eq!(lengths(40, "1ms", None)[..4], [1, 1, 1, 1], "a start that costs nothing");
        assert_eq!(lengths(2, "400ms", None), [1, 1]);
        assert_eq!(lengths(1, "400ms", None), [1]);
    }

    #[test]
    fn chunks_of_an_asked_length_are_that_long_and_never_shorter_than_a_segment() {
        assert_eq!(lengths(7, "400ms", Some("12s")), [2, 2, 2, 1]);
        assert_eq!(lengths(3, "400ms", Some("250ms")), [1, 1, 1]);
        assert_eq!(lengths(3, "400ms", Some("36000s")), [3]);
    }

    #[test]
    fn a_source_whose_end_is_not_known_is_one_chunk() {
        assert_eq!(chunks(&timeline(40, true), false, MediaTime::ZERO, None).len(), 1);
        assert_eq!(chunks(&timeline(40, false), true, MediaTime::ZERO, None).len(), 1);
    }

    proptest! {
        #[test]
        fn chunks_tile_the_timeline(segments in 1u32..20_000, cost in 0i64..60_000, asked in proptest::option::of(1i64..10_000_000)) {
            let time = |millis| MediaTime::new(millis, 1_000).expect("a time");
            let timeline = timeline(segments, false);
            let chunks = chunks(&timeline, false, time(cost), asked.map(time));
            let mut next = 0;
            for (number, chunk) in (0u32..).zip(&chunks) {
                prop_assert_eq!(chunk.index, number);
                prop_assert_eq!(chunk.first.0, next);
                prop_assert!(chunk.end > chunk.first);
                next = chunk.end.0;
            }
            prop_assert_eq!(next, timeline.segment_count());
        }
    }
}

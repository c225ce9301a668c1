//! A leaky bucket over finished segments (H.264 Annex C): does a decoder's buffer that is filled at the
//! declared rate ever run empty, and what does a joint of two encoders cost?
//!
//! Owns the model and its summary of a segment. Pure. Unit: a [`Bucket`]'s numbers are bits times the
//! numerator of the frame rate, so that what a buffer gains from one picture to the next
//! (bit rate × denominator / numerator) is a whole number.
//!
//! **The model.** The buffer holds `x`. A picture of `b` bits is taken out at its decoding time: it
//! holds `x − b`. Up to the next picture it gains `r`, but never holds more than its size `S`:
//! `min(S, x + r)`. A decoder would wait where a picture is not whole in time; here `x` is allowed below
//! zero instead, which says how many bits were late.
//!
//! **Segments.** Each of these steps is a function of the form `x ↦ min(cap, x + delta)`, and so is one
//! after another: `(c₁, d₁)` then `(c₂, d₂)` is `(min(c₂, c₁ + d₂), d₁ + d₂)`. The lowest that `x`
//! becomes on the way is a minimum of such functions, which is another. So four numbers say all that a
//! segment does to any buffer, and segments made anywhere, in any order, are put together exactly.

use crate::plan::VideoRung;
use crate::spec::RateControl;
use crate::units::{FrameRate, SegmentIndex};
use serde::{Deserialize, Serialize};

/// `x ↦ min(cap, x + delta)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What it never gets beyond.
    pub cap: i64,
    /// What is gained where that does not matter; lost, below zero.
    pub delta: i64,
}

impl Step {
    const fn of(self, x: i64) -> i64 {
        let moved = x.saturating_add(self.delta);
        if moved < self.cap { moved } else { self.cap }
    }

    fn then(self, next: Self) -> Self {
        let cap = next.cap.min(self.cap.saturating_add(next.delta));
        Self { cap, delta: self.delta.saturating_add(next.delta) }
    }

    fn least(self, other: Self) -> Self {
        Self { cap: self.cap.min(other.cap), delta: self.delta.min(other.delta) }
    }
}

/// What the pictures of a segment do to a buffer. In bits times the frame rate's numerator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    /// What it holds before the next segment's first picture, of what it held before the first.
    pub end: Step,
    /// The lowest on the way, right after a picture was taken out.
    pub lowest: Step,
}

/// A buffer and what fills it, as a rung declares them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buffer {
    /// Bits it holds.
    pub bits: u64,
    /// Bits a second that fill it.
    pub rate: u64,
    /// Pictures a second that empty it.
    pub pictures: FrameRate,
}

impl Buffer {
    /// The buffer that a rung promises to fit; `None` for rungs that promise none.
    pub fn of(rung: &VideoRung, pictures: FrameRate) -> Option<Self> {
        let rate = rung.bitrate.bits_per_second();
        let bits = u32::try_from(rate).ok().and_then(|rate| u64::try_from(rung.vbv.ticks(rate)).ok());
        match rung.rate_control {
            RateControl::Abr => None,
            RateControl::Cbr | RateControl::CappedCrf { .. } => Some(Self { bits: bits?, rate, pictures }),
        }
    }

    fn scaled(&self, bits: u64) -> i64 {
        i64::try_from(i128::from(bits) * i128::from(self.pictures.num())).unwrap_or(i64::MAX)
    }

    /// What some pictures do to it, by their bytes in decoding order.
    pub fn pour(&self, pictures: impl Iterator<Item = u64>) -> Bucket {
        let size = self.scaled(self.bits);
        let gain = i64::try_from(i128::from(self.rate) * i128::from(self.pictures.den()));
        let fill = Step { cap: size, delta: gain.unwrap_or(i64::MAX) };
        // It never holds more than its size: before the first picture, nothing is changed by this.
        let nothing = Step { cap: size, delta: 0 };
        let start = Bucket { end: nothing, lowest: nothing };
        pictures.fold(start, |so_far, bytes| {
            let taken = so_far.end.then(Step { cap: size, delta: -self.scaled(bytes.saturating_mul(8)) });
            Bucket { end: taken.then(fill), lowest: so_far.lowest.least(taken) }
        })
    }

    /// Fill and empty it by segments in order. `None` for a segment says that nothing is known of it:
    /// the buffer is then taken to be as full as at the beginning. `joint` says where another run took
    /// over.
    pub fn run<'a>(
        &self,
        segments: impl Iterator<Item = (SegmentIndex, Option<&'a Bucket>)>,
        joint: impl Fn(SegmentIndex) -> bool,
    ) -> Option<Vbv> {
        let begin = self.scaled(self.bits) / 10 * INITIAL_TENTHS;
        let mut held = begin;
        let mut found: Option<(i64, SegmentIndex)> = None;
        let (mut late, mut late_at_joints, mut known, mut first) = (0, 0, 0, None);
        for (index, bucket) in segments {
            let Some(bucket) = bucket else {
                held = begin;
                continue;
            };
            known += 1;
            let lowest = bucket.lowest.of(held);
            if found.is_none_or(|(least, _)| lowest < least) {
                found = Some((lowest, index));
            }
            if lowest < 0 {
                late += 1;
                late_at_joints += u32::from(joint(index));
                first = first.or(Some(index));
            }
            held = bucket.end.of(held);
        }
        let (lowest, lowest_at) = found?;
        let bits = lowest.div_euclid(i64::from(self.pictures.num()));
        Some(Vbv {
            buffer: self.bits,
            lowest: bits,
            lowest_at,
            underflows: late,
            at_joints: late_at_joints,
            first_underflow: first,
            segments: known,
        })
    }
}

/// How full a decoder lets it become before it takes the first picture: x264's own `vbv-init`.
const INITIAL_TENTHS: i64 = 9;

/// How a rung's pictures fit the buffer that it declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vbv {
    /// The buffer's size in bits.
    pub buffer: u64,
    /// The least that it held right after a picture was taken out, in bits; below zero, that many were
    /// late, and as many are sent above the declared rate over some stretch.
    pub lowest: i64,
    /// In which segment that was.
    pub lowest_at: SegmentIndex,
    /// Segments in which bits were late.
    pub underflows: u32,
    /// Of those, at whose beginning another run took over.
    pub at_joints: u32,
    /// The first of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_underflow: Option<SegmentIndex>,
    /// Segments that could be counted: what an earlier attempt has left is not read again.
    pub segments: u32,
}

impl Vbv {
    /// What a person should know of it: nothing where every picture is whole in time.
    pub fn warning(&self, rung: &str) -> Option<String> {
        let first = self.first_underflow?;
        Some(format!(
            "rung {rung}: in {} of {} segments (the first is {first}) a player whose buffer is the {} kbit that \
             the rung declares waits for bits; at the worst {} kbit are late, in segment {}; {} of these segments \
             are where another run took over; a higher bit rate or a longer vbv helps",
            self.underflows,
            self.segments,
            self.buffer / 1_000,
            self.lowest.unsigned_abs().div_ceil(1_000),
            self.lowest_at,
            self.at_joints,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn buffer(bits: u64, rate: u64) -> Buffer {
        Buffer { bits, rate, pictures: FrameRate::new(30_000, 1_001).expect("29.97") }
    }

    /// Picture by picture, in exact numbers: the lowest in each segment, and what is left.
    fn plain(buffer: &Buffer, segments: &[Vec<u64>], mut held: i128) -> (Vec<i128>, i128) {
        let scale = i128::from(buffer.pictures.num());
        let (size, gain) =
            (i128::from(buffer.bits) * scale, i128::from(buffer.rate) * i128::from(buffer.pictures.den()));
        let lowest = segments
            .iter()
            .map(|pictures| {
                let mut least = i128::MAX;
                for bytes in pictures {
                    held -= i128::from(*bytes) * 8 * scale;
                    least = least.min(held);
                    held = size.min(held + gain);
                }
                least
            })
            .collect();
        (lowest, held)
    }

    proptest! {
        #[test]
        fn a_summary_says_what_its_pictures_do_to_any_buffer(
            segments in prop::collection::vec(prop::collection::vec(0u64..40_000, 1..40), 1..12),
            bits in 10_000u64..4_000_000,
            rate in 10_000u64..6_000_000,
            tenths in 0u64..=10,
        ) {
            let buffer = buffer(bits, rate);
            let mut held = buffer.scaled(bits) / 10 * tenths as i64;
            let (lowest, end) = plain(&buffer, &segments, i128::from(held));
            for (pictures, least) in segments.iter().zip(lowest) {
                let bucket = buffer.pour(pictures.iter().copied());
                prop_assert_eq!(i128::from(bucket.lowest.of(held)), least);
                held = bucket.end.of(held);
            }
            prop_assert_eq!(i128::from(held), end);
            // All as one segment leaves as much.
            let all = buffer.pour(segments.iter().flatten().copied());
            let begin = buffer.scaled(bits) / 10 * tenths as i64;
            prop_assert_eq!(i128::from(all.end.of(begin)), end);
        }
    }

    #[test]
    fn an_underflow_is_found_where_it_is() {
        // 1 Mbit/s, a second of buffer: 4,170 bytes a picture are a little less than what comes in.
        let buffer = buffer(1_000_000, 1_000_000);
        let calm = buffer.pour(std::iter::repeat_n(4_000, 30));
        // The smaller ones behind it let the buffer fill again.
        let burst = buffer.pour([130_000].into_iter().chain(std::iter::repeat_n(3_000, 29)));
        let segments = [calm, calm, burst, calm];
        let numbered = || (0u32..).map(SegmentIndex).zip(segments.iter().map(Some));
        let found = buffer.run(numbered(), |index| index.0 == 2).expect("there are segments");
        assert_eq!((found.underflows, found.at_joints, found.first_underflow), (1, 1, Some(SegmentIndex(2))));
        assert_eq!((found.lowest_at, found.segments), (SegmentIndex(2), 4));
        assert!(found.lowest < 0 && found.lowest > -60_000, "{}", found.lowest);
        let said = found.warning("720p").expect("bits are late");
        assert!(said.contains("rung 720p: in 1 of 4 segments (the first is 2)"), "{said}");
        let calm = buffer.run(numbered().take(2), |_| true).expect("two");
        assert_eq!((calm.underflows, calm.warning("720p")), (0, None));
    }
}

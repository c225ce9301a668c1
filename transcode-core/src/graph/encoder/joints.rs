//! What an encoder's buffer (VBV) has to do with the encoders before and behind it on the timeline.
//!
//! Owns how much one leaves to the next. Bits, milliseconds of them, and times on the timeline. Why:
//! docs/decisions/0009.

use crate::plan::VideoRung;
use crate::units::{Bitrate, MediaTime};

/// What stands beside an encoder's pictures, on the timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::graph) struct Joints {
    /// Another encoder's pictures stand before its own, and have left the buffer as it is.
    pub(in crate::graph) before: bool,
    /// Another's will stand behind: how long its own last.
    pub(in crate::graph) after: Option<MediaTime>,
}

/// What of its buffer (VBV) an encoder leaves to the next one, and takes for granted where one has been
/// before: two fifths. x264's own 0.9 is more than another encoder leaves behind.
const LEFT: (i64, i64) = (2, 5);

/// The buffer of an encoder, in the encoder's terms: bits a second, its size in ms of those, and the
/// kbit that are in it before the first picture (absent: x264's own 0.9).
///
/// Who is followed by another keeps to a buffer smaller by what it has to leave, at a rate lower by as much as
/// fills that over its length. Then the real buffer holds at least as much more than the encoder
/// believes in the end: either it was filled to the brim and had the larger size, or it gained at the
/// higher rate all the way.
pub(super) fn vbv(rung: &VideoRung, joints: Joints) -> (Bitrate, i64, Option<i64>) {
    let size = rung.vbv.ticks(1_000).max(1);
    let rate = i64::try_from(rung.bitrate.bits_per_second()).unwrap_or(i64::MAX);
    let left = size * LEFT.0 / LEFT.1;
    let filled = joints.before.then(|| (left.saturating_mul(rate) / 1_000_000).max(2));
    let Some(length) = joints.after.map(|length| length.ticks(1_000)) else {
        return (rung.bitrate, size.clamp(1, 10_000), filled);
    };
    // Pieces shorter than that are no longer than the buffer.
    let left = left.min(length / 2);
    let lower = i128::from(rate) * i128::from(length - left) / i128::from(length.max(1));
    let lower = u64::try_from(lower).ok().and_then(Bitrate::new).unwrap_or(rung.bitrate);
    let kept = i128::from(size - left) * i128::from(rate) / i128::from(lower.bits_per_second().max(1));
    (lower, i64::try_from(kept).unwrap_or(size).clamp(1, 10_000), filled)
}

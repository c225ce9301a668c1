//! The bit rates that a finished rung really has (RFC 8216 §4.1).

use crate::units::{Bitrate, MediaTime};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// What a network must carry for a rung, transport stream and all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bandwidth {
    /// `BANDWIDTH`: no stretch of about a target duration needs more.
    pub peak: Bitrate,
    /// `AVERAGE-BANDWIDTH`: over the whole.
    pub average: Bitrate,
}

const NANOS: u128 = 1_000_000_000;

/// The bandwidth of segments given as bytes and length, in order.
///
/// The peak is the largest bit rate of any contiguous set of segments that lasts between 0.5 and 1.5
/// target durations (RFC 8216 §4.1), so a last segment of a few pictures, all key frame, does not
/// count alone. Where no set is that long, it is the average. The target duration is the longest
/// segment's, to the nearest second. Both are rounded up to whole bit/s.
///
/// ```
/// use transcode_core::{playlist::measure, units::MediaTime};
/// let seconds = |n| MediaTime::new(n, 1).unwrap_or(MediaTime::ZERO);
/// let found = measure([(750_000, seconds(6)), (1_500_000, seconds(6))].into_iter());
/// assert_eq!(found.peak.bits_per_second(), 2_000_000);
/// assert_eq!(found.average.bits_per_second(), 1_500_000);
/// ```
pub fn measure(segments: impl Iterator<Item = (u64, MediaTime)>) -> Bandwidth {
    let segments: Vec<(u128, u128)> = segments
        .map(|(bytes, length)| (u128::from(bytes), u128::try_from(length.nanos()).unwrap_or(0)))
        .collect();
    let longest = segments.iter().map(|(_, nanos)| *nanos).max().unwrap_or(0);
    let target = ((longest + NANOS / 2) / NANOS).max(1) * NANOS;
    let (bytes, nanos) = segments.iter().fold((0, 0), |(b, n), (bytes, nanos)| (b + bytes, n + nanos));
    let average = rate(bytes, nanos);

    // Every set, by its last segment: `open` holds those that may begin one.
    let mut peak: Option<u128> = None;
    let mut open: VecDeque<(u128, u128)> = VecDeque::new();
    for segment in &segments {
        open.push_back(*segment);
        while open.iter().map(|(_, nanos)| nanos).sum::<u128>() * 2 > target * 3 {
            open.pop_front();
        }
        let (mut bytes, mut nanos) = (0, 0);
        for (more, longer) in open.iter().rev() {
            bytes += more;
            nanos += longer;
            if nanos * 2 >= target {
                peak = peak.max(Some(rate(bytes, nanos)));
            }
        }
    }
    Bandwidth { peak: bitrate(peak.unwrap_or(average).max(average)), average: bitrate(average) }
}

/// Bits a second, rounded up.
fn rate(bytes: u128, nanos: u128) -> u128 {
    (bytes * 8 * NANOS).div_ceil(nanos.max(1))
}

/// The nearest bit rate that there is.
pub(super) fn bitrate(bits_per_second: u128) -> Bitrate {
    let clamped = u64::try_from(bits_per_second.clamp(1_000, 1_000_000_000)).unwrap_or(1_000);
    Bitrate::new(clamped).expect("1k to 1G is what a bit rate may be")
}

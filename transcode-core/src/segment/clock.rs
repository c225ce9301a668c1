//! The 90 kHz clock of MPEG-TS: 33 bits, and mpegtsmux begins it at 3600 s.

use crate::units::MediaTime;

/// Ticks a second (ISO/IEC 13818-1 §2.4.3.7: the system clock's 27 MHz by 300).
pub(crate) const RATE: u32 = 90_000;

/// What mpegtsmux adds to every running time, so that decoding times before zero can be written.
pub(crate) const BASE: i64 = 3_600 * RATE as i64;

const WRAP: i64 = 1 << 33;

/// The time stamp of a time on the plan's clock.
pub(crate) fn stamp(time: MediaTime) -> u64 {
    u64::try_from((BASE + time.ticks(RATE)).rem_euclid(WRAP)).unwrap_or(0)
}

/// `a − b` where both lie within 13 h of each other; the clock starts again every 26.5 h.
pub(crate) fn difference(a: u64, b: u64) -> i64 {
    let forward = (i64::try_from(a).unwrap_or(0) - i64::try_from(b).unwrap_or(0)).rem_euclid(WRAP);
    if forward >= WRAP / 2 { forward - WRAP } else { forward }
}

/// The time stamp `samples` of a clock with `rate` ticks a second after another.
pub(crate) fn later(stamp: u64, samples: i64, rate: u32) -> u64 {
    let ticks = MediaTime::new(samples, rate).unwrap_or(MediaTime::ZERO).ticks(RATE);
    u64::try_from((i64::try_from(stamp).unwrap_or(0) + ticks).rem_euclid(WRAP)).unwrap_or(0)
}

/// The time on the plan's clock of a time stamp close to `near`.
pub(crate) fn time(found: u64, near: MediaTime) -> MediaTime {
    let ticks = near.ticks(RATE) + difference(found, stamp(near));
    MediaTime::new(ticks, RATE).unwrap_or(MediaTime::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_stamps_run_on_where_the_clock_starts_again() {
        // 2^33 ticks less the hour of the muxer: 91 843.7 s.
        let last = MediaTime::new(91_843, 1).expect("a time");
        let next = MediaTime::new(91_844, 1).expect("a time");
        assert!(stamp(next) < stamp(last));
        assert_eq!(difference(stamp(next), stamp(last)), 90_000);
        assert_eq!(difference(stamp(last), stamp(next)), -90_000);
        assert_eq!(time(stamp(next), last), next);
        assert_eq!(stamp(MediaTime::ZERO), 324_000_000);
    }
}

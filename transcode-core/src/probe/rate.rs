//! Which exact frame rate time stamps keep, and whether they keep it.
//!
//! Owns the list of usual rates and the fit. Input: where pictures begin, on any clock; a clock too
//! coarse for its rate (milliseconds at 29.97) rounds each of them by up to a tick, and that is not
//! called variable. Exact arithmetic throughout. Knows nothing of containers.

use crate::units::FrameRate;

/// Rates that cameras and editors use, the likeliest first.
const USUAL: [(u32, u32); 22] = [
    (30_000, 1_001),
    (25, 1),
    (24, 1),
    (30, 1),
    (24_000, 1_001),
    (60_000, 1_001),
    (50, 1),
    (60, 1),
    (48, 1),
    (48_000, 1_001),
    (15, 1),
    (15_000, 1_001),
    (12_000, 1_001),
    (12, 1),
    (25, 2),
    (10, 1),
    (5, 1),
    (1, 1),
    (120_000, 1_001),
    (120, 1),
    (100, 1),
    (240, 1),
];

/// Nominal rates are kept within this: what lies above is a damaged table or a camera's slow motion
/// that nothing plays.
const MOST: u32 = 240;

/// A rate, and whether pictures keep it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    pub(super) rate: FrameRate,
    pub(super) variable: bool,
}

/// Pictures at equal distances: one row of a time-to-sample table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    /// Pictures in the row.
    pub(super) count: u64,
    /// Ticks from each to the next.
    pub(super) delta: u64,
}

/// The rate of pictures with these distances, on a clock of `clock` ticks a second, each stamp right
/// within `tolerance` ticks. `None` where nothing moves.
pub(super) fn fit<S>(steps: S, clock: u64, tolerance: u64) -> Option<Rate>
where
    S: Iterator<Item = Step> + Clone,
{
    let pictures: u64 = steps.clone().map(|step| step.count).fold(0, u64::saturating_add);
    let lengths = steps.clone().map(|step| u128::from(step.count).saturating_mul(u128::from(step.delta)));
    let total = lengths.fold(0, u128::saturating_add);
    if clock == 0 || pictures == 0 || total == 0 {
        return None;
    }
    if pictures == 1 {
        // One picture's length is all that there is.
        let rate = usual_near(ratio(u128::from(clock), total)?, 1_000);
        return Some(Rate { rate, variable: false });
    }
    let usual = USUAL.iter().filter_map(|(num, den)| FrameRate::new(*num, *den));
    let constant = usual
        .filter_map(|rate| {
            deviation(steps.clone(), clock, rate, tolerance).map(|deviation| (rate, deviation))
        })
        // The first of equals: the likelier.
        .min_by(|(a, x), (b, y)| (x * i128::from(b.num())).cmp(&(y * i128::from(a.num()))));
    if let Some((rate, _)) = constant {
        return Some(Rate { rate, variable: false });
    }
    let (share, delta) = commonest(steps.clone());
    if share == pictures || all_but_last(steps) {
        let rate = ratio(u128::from(clock), u128::from(delta))?;
        return Some(if rate.num() / rate.den() < MOST { Rate { rate, variable: false } } else { capped() });
    }
    // The one most pictures keep, or else the mean.
    let nominal = if share.saturating_mul(5) >= pictures.saturating_mul(2) {
        ratio(u128::from(clock), u128::from(delta))?
    } else {
        ratio(u128::from(clock) * u128::from(pictures), total)?
    };
    if nominal.num() / nominal.den() >= MOST {
        return Some(capped());
    }
    Some(Rate { rate: usual_near(nominal, 100), variable: true })
}

/// The rate of pictures at these times in nanoseconds, in order; `tolerance` in nanoseconds.
pub(super) fn fit_times(times: &[i64], tolerance: u64) -> Option<Rate> {
    // Two pictures are one distance, which fits anything.
    if times.len() < 3 {
        return None;
    }
    fit(steps_of(times), 1_000_000_000, tolerance)
}

/// Whether pictures at these times in nanoseconds keep `rate`.
pub(super) fn times_keep(times: &[i64], rate: FrameRate, tolerance: u64) -> bool {
    deviation(steps_of(times), 1_000_000_000, rate, tolerance).is_some()
}

fn steps_of(times: &[i64]) -> impl Iterator<Item = Step> + Clone {
    let distances = times.windows(2).map(|pair| pair[1].saturating_sub(pair[0]).max(0).unsigned_abs());
    // The last picture's length is not known; its beginning is what is looked at.
    let last = distances.clone().next_back();
    distances.chain(last).map(|delta| Step { count: 1, delta })
}

/// What is told where time stamps say nothing at all: 25 pictures a second.
pub(super) fn fallback() -> FrameRate {
    FrameRate::new(25, 1).expect("neither side is zero")
}

fn capped() -> Rate {
    Rate { rate: FrameRate::new(MOST, 1).expect("neither side is zero"), variable: true }
}

/// How far beginnings stray from `rate`'s grid, from the earliest to the latest, in ticks times the
/// rate's numerator; `None` beyond the tolerance. Distances within a step are equal, so its two ends
/// say all.
fn deviation(steps: impl Iterator<Item = Step>, clock: u64, rate: FrameRate, tolerance: u64) -> Option<i128> {
    let most = i128::from(tolerance) * i128::from(rate.num());
    let (num, den) = (i128::from(rate.num()), i128::from(rate.den()).checked_mul(i128::from(clock))?);
    let (mut index, mut ticks) = (0i128, 0i128);
    let (mut low, mut high) = (0i128, 0i128);
    for step in steps.filter(|step| step.count > 0) {
        let (count, delta) = (i128::from(step.count), i128::from(step.delta));
        for within in [0, count - 1] {
            let at = ticks.checked_add(delta.checked_mul(within)?)?;
            let away = at.checked_mul(num)?.checked_sub((index + within).checked_mul(den)?)?;
            (low, high) = (low.min(away), high.max(away));
            if high - low > most {
                return None;
            }
        }
        index += count;
        ticks = ticks.checked_add(delta.checked_mul(count)?)?;
    }
    Some(high - low)
}

/// How many pictures keep the commonest distance, and that distance. Of a table with thousands of
/// different ones only the first are told apart: none of them is common.
fn commonest(steps: impl Iterator<Item = Step>) -> (u64, u64) {
    let mut counts = std::collections::HashMap::<u64, u64>::new();
    for step in steps {
        if counts.len() < 4096 || counts.contains_key(&step.delta) {
            let count = counts.entry(step.delta).or_default();
            *count = count.saturating_add(step.count);
        }
    }
    let best =
        counts.into_iter().filter(|(delta, _)| *delta > 0).max_by_key(|(delta, count)| (*count, *delta));
    best.map_or((0, 1), |(delta, count)| (count, delta))
}

/// One distance, but for the last picture's length.
fn all_but_last(steps: impl Iterator<Item = Step>) -> bool {
    let mut rows = steps.filter(|step| step.count > 0);
    let Some(first) = rows.next() else { return false };
    let rest: Vec<_> = rows.take(2).collect();
    first.delta > 0 && first.count > 1 && (rest.is_empty() || (rest.len() == 1 && rest[0].count == 1))
}

/// `num / den` pictures a second, to a millionth where the exact fraction is too fine.
fn ratio(num: u128, den: u128) -> Option<FrameRate> {
    if den == 0 {
        return None;
    }
    let exact = (u32::try_from(num).ok(), u32::try_from(den).ok());
    if let (Some(num), Some(den)) = exact {
        return FrameRate::new(num, den);
    }
    let millionths = num.checked_mul(1_000_000)?.checked_add(den / 2)? / den;
    FrameRate::new(u32::try_from(millionths).ok()?.max(1), 1_000_000)
}

/// The usual rate within one part in `fineness` of `rate`, or `rate` itself, in thousandths where it
/// is no simple fraction.
fn usual_near(rate: FrameRate, fineness: u128) -> FrameRate {
    let product = |a: u32, b: u32| u128::from(a) * u128::from(b);
    let near = USUAL
        .iter()
        .filter_map(|(num, den)| FrameRate::new(*num, *den))
        .map(|usual| {
            let (left, right) = (product(usual.num(), rate.den()), product(rate.num(), usual.den()));
            // Distance relative to `rate`, in billionths.
            (left.abs_diff(right).saturating_mul(1_000_000_000) / right.max(1), usual)
        })
        .min_by_key(|(distance, _)| *distance);
    match near {
        Some((distance, usual)) if distance * fineness <= 1_000_000_000 => usual,
        _ if rate.den() <= 1_001 => rate,
        _ => {
            let thousandths =
                (product(rate.num(), 1_000) + u128::from(rate.den()) / 2) / u128::from(rate.den());
            u32::try_from(thousandths).ok().and_then(|num| FrameRate::new(num.max(1), 1_000)).unwrap_or(rate)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(steps: &[Step], clock: u64, tolerance: u64) -> Option<Rate> {
        super::fit(steps.iter().copied(), clock, tolerance)
    }

    fn rate(num: u32, den: u32) -> FrameRate {
        FrameRate::new(num, den).expect("not zero")
    }

    fn constant(num: u32, den: u32) -> Option<Rate> {
        Some(Rate { rate: rate(num, den), variable: false })
    }

    fn row(count: u64, delta: u64) -> Step {
        Step { count, delta }
    }

    /// Rounded down to a coarse clock, as muxers do.
    fn rounded(num: u64, den: u64, clock: u64, pictures: u64) -> Vec<Step> {
        let at = |index: u64| index * den * clock / num;
        (0..pictures).map(|index| row(1, at(index + 1) - at(index))).collect()
    }

    #[test]
    fn exact_distances_give_exact_rates() {
        assert_eq!(fit(&[row(362, 3003)], 90_000, 1), constant(30_000, 1_001));
        assert_eq!(fit(&[row(720, 512)], 12_288, 1), constant(24, 1));
        assert_eq!(fit(&[row(50, 20)], 600, 1), constant(30, 1));
        assert_eq!(fit(&[row(100, 1000)], 17_000, 1), constant(17, 1));
        assert_eq!(fit(&[row(99, 1000), row(1, 1777)], 17_000, 1), constant(17, 1));
    }

    #[test]
    fn a_coarse_clock_is_not_a_variable_rate() {
        for (num, den) in [(30_000, 1_001), (24_000, 1_001), (24, 1), (30, 1), (60_000, 1_001), (25, 1)] {
            let found = fit(&rounded(num, den, 1000, 400), 1000, 1);
            assert_eq!(found, constant(num as u32, den as u32), "{num}/{den}");
        }
    }

    #[test]
    fn a_hole_is_a_variable_rate_with_the_rate_of_the_rest() {
        let found = fit(&[row(100, 3003), row(1, 9009), row(100, 3003)], 90_000, 1);
        assert_eq!(found, Some(Rate { rate: rate(30_000, 1_001), variable: true }));
        let found = fit(&[row(100, 1000), row(60, 2000)], 30_000, 1);
        assert_eq!(found, Some(Rate { rate: rate(30, 1), variable: true }));
    }

    #[test]
    fn a_jittering_phone_has_the_mean_rate() {
        let steps: Vec<Step> = (0..300u64).map(|index| row(1, 2940 + index * 37 % 120)).collect();
        let found = fit(&steps, 90_000, 1).expect("a rate");
        assert!(found.variable);
        assert_eq!(found.rate, rate(30, 1));
    }

    #[test]
    fn senseless_tables_give_no_rate_or_a_bounded_one() {
        assert_eq!(fit(&[], 1000, 1), None);
        assert_eq!(fit(&[row(10, 0)], 1000, 1), None);
        assert_eq!(fit(&[row(10, 1)], 0, 1), None);
        assert_eq!(fit(&[row(1000, 1)], 90_000, 1), Some(Rate { rate: rate(240, 1), variable: true }));
        let huge = fit(&[row(u64::MAX, u64::MAX), row(u64::MAX, 3)], u64::MAX, 1);
        assert!(huge.is_none_or(|found| found.rate.num() / found.rate.den() <= 240));
    }

    #[test]
    fn seen_times_snap_to_the_usual_rates() {
        let millis = |num: i64, den: i64| -> Vec<i64> {
            (0..60).map(|index| index * den * 1000 / num * 1_000_000).collect()
        };
        assert_eq!(fit_times(&millis(30_000, 1_001), 1_000_000), constant(30_000, 1_001));
        assert_eq!(fit_times(&millis(30, 1), 1_000_000), constant(30, 1));
        assert_eq!(fit_times(&millis(25, 1), 1_000_000), constant(25, 1));
        assert_eq!(fit_times(&[0, 40_000_000], 1_000_000).map(|found| found.rate), None);
        let uneven: Vec<i64> = (0..60i64).map(|index| (index + index / 7) * 40_000_000).collect();
        assert_eq!(fit_times(&uneven, 1_000_000), Some(Rate { rate: rate(25, 1), variable: true }));
    }
}

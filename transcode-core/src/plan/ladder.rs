//! The ladder: which renditions become rungs, how large, and what each is scaled from.
//!
//! - A rendition's number counts the *shorter side* of the picture as shown: lines of a landscape
//!   picture, columns of an upright one. The other side follows the picture's aspect. Both are even
//!   (4:2:0 chroma), at least 2×2, the smallest that x264 takes.
//! - Nothing is scaled up. Of the renditions above the source, the lowest is made at the source's
//!   size, with fewer bits, unless another rung has that size anyway; the rest are dropped.
//! - Best first: by pixels, then by bit rate.
//!
//! Sizes in pixels, square after planning; bit rates in bit/s. Knows no time.

use super::report::{PlanReport, Reason};
use crate::spec::Rendition;
use crate::units::{Bitrate, Resolution};
use std::cmp::Reverse;

/// The smallest side that x264 takes (tried: 1×1 fails, 2×2 is encoded and plays).
const SMALLEST: u32 = 2;

/// No rung has fewer bit/s; also the least that a rendition may ask for.
const LEAST: u64 = 10_000;

/// A rendition that becomes a rung.
pub(super) struct Sized<'a> {
    pub(super) rendition: &'a Rendition,
    pub(super) size: Resolution,
    pub(super) bitrate: Bitrate,
}

/// The rungs of a source that is shown at `display`, best first; with `every` of the renditions among them.
pub(super) fn sized<'a>(
    renditions: &'a [Rendition],
    display: Resolution,
    every: bool,
    report: &mut PlanReport,
) -> Vec<Sized<'a>> {
    let short = display.width().min(display.height());
    let source = even_source(display);
    if display.height() > display.width() {
        report.add(Reason::Upright { source: display });
    }
    let size_of = |rendition: &Rendition| match rendition.height {
        None => Some(source),
        Some(lines) if lines > short => None,
        Some(lines) => Some(scaled(display, lines)),
    };
    let mut rungs: Vec<Sized<'a>> = renditions
        .iter()
        .filter_map(|rendition| {
            size_of(rendition).map(|size| Sized { rendition, size, bitrate: rendition.video })
        })
        .collect();
    let mut notes: Vec<(&str, Vec<Reason>)> =
        rungs.iter().map(|rung| (rung.rendition.name.as_str(), vec![Reason::Kept])).collect();

    let above =
        || renditions.iter().filter_map(|r| r.height.filter(|lines| *lines > short).map(|lines| (lines, r)));
    let mut top = rungs.iter().find(|rung| rung.size == source).map(|rung| rung.rendition.name.clone());
    // From the lowest; the first of equals is the better one.
    let mut higher: Vec<_> = above().collect();
    higher.sort_by_key(|(lines, _)| *lines);
    for (asked, rendition) in higher {
        if let Some(instead) = top.clone().filter(|_| !every) {
            notes.push((&rendition.name, vec![Reason::AboveSource { asked, source: short, instead }]));
            continue;
        }
        let below = rungs.iter().map(|rung| rung.bitrate).max();
        let fewer = fewer_bits(rendition.video, short, asked);
        let bitrate = below.map_or(fewer, |below| fewer.max(below)).min(rendition.video);
        let reason = Reason::ClampedToSource { asked, size: source, bitrate_asked: rendition.video, bitrate };
        notes.push((&rendition.name, vec![reason]));
        rungs.push(Sized { rendition, size: source, bitrate });
        top = Some(rendition.name.clone());
    }
    for rung in rungs.iter().filter(|rung| rung.size == source && source != display) {
        let reason = if short < SMALLEST {
            Reason::SmallestSize { source: display, size: source }
        } else {
            Reason::EvenSides { source: display, size: source }
        };
        if let Some((_, reasons)) = notes.iter_mut().find(|(name, _)| *name == rung.rendition.name) {
            reasons.push(reason);
        }
    }
    // The report names the renditions in the order in which they were asked for.
    for rendition in renditions {
        for (_, reasons) in notes.iter_mut().filter(|(name, _)| *name == rendition.name) {
            reasons.drain(..).for_each(|reason| report.about(&rendition.name, reason));
        }
    }
    rungs.sort_by_key(|rung| Reverse((rung.size.pixels(), rung.bitrate)));
    rungs
}

/// The source's own size: odd sides lose a line or a column, which are scaled in, not cut off.
fn even_source(display: Resolution) -> Resolution {
    let even = |side: u32| (side & !1).max(SMALLEST);
    Resolution::new(even(display.width()), even(display.height())).unwrap_or(display)
}

/// At most `lines` on the shorter side, even, in the picture's aspect.
fn scaled(display: Resolution, lines: u32) -> Resolution {
    let source = even_source(display);
    let (width, height) = (u64::from(display.width()), u64::from(display.height()));
    let landscape = width >= height;
    let (long, short) = if landscape { (width, height) } else { (height, width) };
    let (most_long, most_short) =
        if landscape { (source.width(), source.height()) } else { (source.height(), source.width()) };
    let small = nearest_even(u64::from(lines), 1).min(most_short);
    let large = if small == most_short {
        most_long
    } else {
        nearest_even(long * u64::from(small), short).min(most_long)
    };
    let size = if landscape { Resolution::new(large, small) } else { Resolution::new(small, large) };
    size.unwrap_or(source)
}

/// The source's size, or less where its shorter side has more than `lines`.
pub(super) fn at_most(display: Resolution, lines: u32) -> Resolution {
    if display.width().min(display.height()) > lines { scaled(display, lines) } else { even_source(display) }
}

/// The even number nearest to `num / den`, a tie upwards, never below the smallest side.
fn nearest_even(num: u64, den: u64) -> u32 {
    let half = (num + den) / (2 * den.max(1));
    u32::try_from(half * 2).unwrap_or(u32::MAX - 1).max(SMALLEST)
}

/// Bits for `lines` instead of `asked` lines: by the power 1.5 of their ratio, which is the power
/// 0.75 of the pixels' (larger pictures need fewer bits a pixel). The ladder of the built-in profile
/// `abr` falls a little faster than that: 8M at 1080 would be 4.4M at 720. Exact: the root of a
/// whole number, to 10 kbit/s.
fn fewer_bits(rate: Bitrate, lines: u32, asked: u32) -> Bitrate {
    let cube = |side: u32| u128::from(side.min(1 << 16)).pow(3);
    let square = u128::from(rate.bits_per_second()).pow(2) * cube(lines) / cube(asked).max(1);
    let bits = u64::try_from(square.isqrt()).unwrap_or(u64::MAX).min(rate.bits_per_second());
    let step = if bits >= 100_000 { 10_000 } else { 1_000 };
    Bitrate::new((bits / step * step).max(LEAST)).unwrap_or(rate)
}

/// The rung to scale rung `at` from; `None` is the source. `rungs` is best first; `parents` holds
/// what was decided for those before `at`.
///
/// The rule: from the smallest rung before it that is itself scaled and at least 1.9 times as large
/// on both sides, or has the very same size; otherwise from the source.
///
/// Each resampling softens the finest details that its output can hold. Halving throws exactly those
/// away, so a step of 2:1 more costs little and saves much: four times fewer pixels are read. A
/// step of 1.3:1 or 1.5:1 keeps them and softens them again. Measured on a 1080p24 clip (VMAF after
/// encoding, with Catmull-Rom): 360 lines by way of 720 score 64.8, by way of 480 only 60.8, with 65.6
/// for ffmpeg's bicubic from 1080. A 1080p ladder therefore goes 1080 → 720 → 360, and 1080 → 480.
pub(super) fn scale_from(rungs: &[Sized<'_>], at: usize, display: Resolution) -> Option<String> {
    let source = even_source(display);
    let size = rungs.get(at)?.size;
    if size == source {
        return None;
    }
    let large_enough = |from: Resolution| {
        let enough = |from: u32, to: u32| u64::from(from) * 10 >= u64::from(to) * 19;
        from == size || (enough(from.width(), size.width()) && enough(from.height(), size.height()))
    };
    let before = rungs.iter().take(at).filter(|from| from.size != source && large_enough(from.size));
    before.min_by_key(|from| from.size.pixels()).map(|from| from.rendition.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Profile;

    fn size(text: &str) -> Resolution {
        text.parse().expect("size")
    }

    fn ladder(display: &str, rungs: &[&str]) -> Vec<(String, String, String, Option<String>)> {
        let renditions: Vec<Rendition> = rungs.iter().map(|text| text.parse().expect("rung")).collect();
        let sized = sized(&renditions, size(display), false, &mut PlanReport::default());
        let from = |at| scale_from(&sized, at, size(display));
        let row = |(at, rung): (usize, &Sized<'_>)| {
            (rung.rendition.name.clone(), rung.size.to_string(), rung.bitrate.to_string(), from(at))
        };
        sized.iter().enumerate().map(row).collect()
    }

    fn abr(display: &str) -> Vec<String> {
        let profile = Profile::builtin("abr").expect("profile");
        let sized = sized(&profile.renditions, size(display), false, &mut PlanReport::default());
        let from = |at| scale_from(&sized, at, size(display)).unwrap_or_else(|| "source".into());
        let rows = sized.iter().enumerate();
        rows.map(|(at, rung)| {
            format!("{} {} {} < {}", rung.rendition.name, rung.size, rung.bitrate, from(at))
        })
        .collect()
    }

    #[test]
    fn a_1080_ladder_is_scaled_as_measured() {
        assert_eq!(
            abr("1920x1080"),
            [
                "1080p 1920x1080 8M < source",
                "720p 1280x720 4M < source",
                "480p 854x480 2M < source",
                "360p 640x360 800k < 720p"
            ]
        );
    }

    #[test]
    fn a_4k_source_is_scaled_down_once_at_full_size() {
        assert_eq!(
            abr("3840x2160"),
            [
                "1080p 1920x1080 8M < source",
                "720p 1280x720 4M < source",
                "480p 854x480 2M < 1080p",
                "360p 640x360 800k < 720p"
            ]
        );
    }

    #[test]
    fn an_upright_picture_counts_columns() {
        assert_eq!(
            abr("1080x1920"),
            [
                "1080p 1080x1920 8M < source",
                "720p 720x1280 4M < source",
                "480p 480x854 2M < source",
                "360p 360x640 800k < 720p"
            ]
        );
    }

    #[test]
    fn every_name_that_was_asked_for_is_there_if_it_has_to_be() {
        let profile = Profile::builtin("abr").expect("profile");
        let mut report = PlanReport::default();
        let sized = sized(&profile.renditions, size("854x480"), true, &mut report);
        let rungs: Vec<_> =
            sized.iter().map(|rung| format!("{} {}", rung.rendition.name, rung.size)).collect();
        assert_eq!(rungs, ["1080p 854x480", "720p 854x480", "480p 854x480", "360p 640x360"]);
        let said = report.notes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert!(said.contains("1080p") && said.contains("854x480"), "{said}");
    }

    #[test]
    fn what_is_above_the_source_is_clamped_once() {
        // 2M · (400/480)^1.5 = 1.52M
        assert_eq!(abr("640x400"), ["480p 640x400 1.52M < source", "360p 576x360 800k < source"]);
        assert_eq!(abr("854x480"), ["480p 854x480 2M < source", "360p 640x360 800k < source"]);
        assert_eq!(abr("160x120"), ["360p 160x120 150k < source"]);
        assert_eq!(abr("1x1"), ["360p 2x2 10k < source"]);
    }

    #[test]
    fn a_clamped_rung_has_no_fewer_bits_than_the_one_below() {
        let rows = ladder("1300x722", &["1080p:1080:3M:64k", "720p:720:2900k:64k"]);
        assert_eq!(rows[0].2, "2.9M");
        // And never more than were asked for.
        let rows = ladder("1300x722", &["1080p:1080:3M:64k", "720p:720:4M:64k"]);
        assert_eq!((rows[0].0.as_str(), rows[0].2.as_str()), ("1080p", "3M"));
    }

    #[test]
    fn equal_sizes_are_scaled_once() {
        let rows = ladder("1920x1080", &["good:720:4M:64k", "poor:720:2M:64k", "top:source:8M:64k"]);
        let from: Vec<_> = rows.iter().map(|(name, _, _, from)| (name.as_str(), from.as_deref())).collect();
        assert_eq!(from, [("top", None), ("good", None), ("poor", Some("good"))]);
    }

    #[test]
    fn odd_and_extreme_sizes_stay_even_and_inside() {
        for (display, lines, expected) in [
            ("641x359", 359, "640x358"),
            ("641x359", 240, "428x240"),
            ("641x359", 241, "432x242"),
            ("4000x3", 3, "4000x2"),
            ("4000x10", 4, "1600x4"),
            ("3x4000", 2, "2x4000"),
        ] {
            assert_eq!(scaled(size(display), lines).to_string(), expected, "{display} at {lines}");
        }
    }
}

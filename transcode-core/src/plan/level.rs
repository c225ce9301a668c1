//! H.264 profile and level: what a decoder must be able to do.
//!
//! Owns the limits of ITU-T H.264 Table A-1 and x264's habits that decide which of them a stream
//! needs: how many pictures its presets keep for reference. Bit rates in bit/s, buffers in bits,
//! sizes in macroblocks (16×16 pixels), levels as ten times their number.

use crate::spec::{Preset, Tune};
use crate::units::{FrameRate, Resolution};
use std::collections::BTreeMap;

/// One row of Table A-1.
struct Limits {
    /// Ten times the level's number.
    level: u8,
    /// MaxMBPS: macroblocks a second.
    rate: u64,
    /// MaxFS: macroblocks a picture.
    picture: u64,
    /// MaxDpbMbs: macroblocks in the decoded picture buffer.
    buffer: u64,
    /// MaxBR, in units of 1000 bit/s (Baseline, Main) or 1250 bit/s (High): §A.3.1 and §A.3.3.
    bitrate: u64,
    /// MaxCPB, in the same units of bits.
    coded: u64,
}

const fn row(level: u8, rate: u64, picture: u64, buffer: u64, bitrate: u64, coded: u64) -> Limits {
    Limits { level, rate, picture, buffer, bitrate, coded }
}

/// ITU-T H.264 Table A-1, without 1b (x264 does not pick it by itself, and RFC 6381 strings for it
/// are read differently by players).
const TABLE: [Limits; 19] = [
    row(10, 1_485, 99, 396, 64, 175),
    row(11, 3_000, 396, 900, 192, 500),
    row(12, 6_000, 396, 2_376, 384, 1_000),
    row(13, 11_880, 396, 2_376, 768, 2_000),
    row(20, 11_880, 396, 2_376, 2_000, 2_000),
    row(21, 19_800, 792, 4_752, 4_000, 4_000),
    row(22, 20_250, 1_620, 8_100, 4_000, 4_000),
    row(30, 40_500, 1_620, 8_100, 10_000, 10_000),
    row(31, 108_000, 3_600, 18_000, 14_000, 14_000),
    row(32, 216_000, 5_120, 20_480, 20_000, 20_000),
    row(40, 245_760, 8_192, 32_768, 20_000, 25_000),
    row(41, 245_760, 8_192, 32_768, 50_000, 62_500),
    row(42, 522_240, 8_704, 34_816, 50_000, 62_500),
    row(50, 589_824, 22_080, 110_400, 135_000, 135_000),
    row(51, 983_040, 36_864, 184_320, 240_000, 240_000),
    row(52, 2_073_600, 36_864, 184_320, 240_000, 240_000),
    row(60, 4_177_920, 139_264, 696_320, 240_000, 240_000),
    row(61, 8_355_840, 139_264, 696_320, 480_000, 480_000),
    row(62, 16_711_680, 139_264, 696_320, 800_000, 800_000),
];

/// What a stream asks of its decoder.
pub(super) struct Needs<'a> {
    pub(super) size: Resolution,
    pub(super) rate: FrameRate,
    /// As [`profile`] names it.
    pub(super) profile: &'a str,
    /// Average or ceiling, bit/s. An ABR stream may go above it for a while: then nothing bounds it,
    /// and the average is what a level can be chosen by.
    pub(super) bitrate: u64,
    /// The VBV buffer where the encoder keeps to one, in bits.
    pub(super) coded_buffer: Option<u64>,
    /// Pictures in the decoded picture buffer: [`reference_pictures`].
    pub(super) pictures: u64,
}

/// The lowest level that takes such a stream; `None` beyond level 6.2.
pub(super) fn level(needs: &Needs<'_>) -> Option<u8> {
    let (width, height) =
        (u64::from(needs.size.width().div_ceil(16)), u64::from(needs.size.height().div_ceil(16)));
    let picture = width * height;
    let unit = if needs.profile == HIGH { 1_250 } else { 1_000 };
    let fits = |limits: &&Limits| {
        picture <= limits.picture
            // §A.3.1 f, g: neither side is longer than √(8 · MaxFS).
            && width.max(height).pow(2) <= 8 * limits.picture
            && picture * u64::from(needs.rate.num()) <= limits.rate * u64::from(needs.rate.den())
            && picture * needs.pictures <= limits.buffer
            && needs.bitrate <= limits.bitrate * unit
            && needs.coded_buffer.is_none_or(|bits| bits <= limits.coded * unit)
    };
    TABLE.iter().find(fits).map(|limits| limits.level)
}

/// Whether a level holds so many pictures of a size for reference (MaxDpbMbs).
pub(super) fn holds(level: u8, size: Resolution, pictures: u32) -> bool {
    let picture = u64::from(size.width().div_ceil(16)) * u64::from(size.height().div_ceil(16));
    let limits = TABLE.iter().find(|limits| limits.level == level);
    limits.is_some_and(|limits| picture.saturating_mul(u64::from(pictures)) <= limits.buffer)
}

pub(super) const HIGH: &str = "high";
const CONSTRAINED_BASELINE: &str = "constrained-baseline";

/// The profile of x264's stream with this preset and these fine settings.
///
/// `ultrafast` turns CABAC, the 8×8 transform, B-pictures and weighted prediction off; x264 then
/// signals Constrained Baseline whatever is asked for. All other presets use the 8×8 transform, with
/// every tune, which is High. (Tried with x264 0.164.) The encoder is held to the profile, so
/// `ultrafast` with one of these tools turned on by hand asks for High; what it then signals may be
/// less, never more.
pub(super) fn profile(preset: Preset, tuning: &BTreeMap<String, String>) -> &'static str {
    let tools = ["8x8dct", "cabac", "bframes", "weightp", "interlaced"];
    if preset == Preset::Ultrafast && !options(tuning).any(|(name, _)| tools.contains(&name)) {
        CONSTRAINED_BASELINE
    } else {
        HIGH
    }
}

/// Pictures that a decoder keeps: `max_num_ref_frames` of x264's sequence parameter set.
///
/// x264 writes the most of: its `ref`; 4 with a pyramid of B-pictures (any two or more of them, by
/// default); 2 with one B-picture. `ref` by preset: 1 1 1 2 2 3 5 8 16 from ultrafast to veryslow,
/// doubled by `tune=animation`, which also adds two B-pictures; `ultrafast` (held to Constrained
/// Baseline) and `tune=zerolatency` have none. (Read back from streams of every preset, x264 0.164.)
pub(super) fn reference_pictures(preset: Preset, tune: Tune, tuning: &BTreeMap<String, String>) -> u64 {
    let mut references = match preset {
        Preset::Ultrafast | Preset::Superfast | Preset::Veryfast => 1,
        Preset::Faster | Preset::Fast => 2,
        Preset::Medium => 3,
        Preset::Slow => 5,
        Preset::Slower => 8,
        Preset::Veryslow => 16,
    };
    let mut bidirectional = match preset {
        Preset::Ultrafast => 0,
        Preset::Veryslow => 8,
        _ => 3,
    };
    let mut pyramid = true;
    match tune {
        Tune::Animation => {
            references = if references > 1 { references * 2 } else { references };
            bidirectional += if preset == Preset::Ultrafast { 0 } else { 2 };
        }
        Tune::Zerolatency => bidirectional = 0,
        _ => {}
    }
    for (name, value) in options(tuning) {
        match name {
            "ref" | "frameref" => references = value.parse().unwrap_or(references),
            "bframes" => bidirectional = value.parse().unwrap_or(bidirectional),
            "b-pyramid" => pyramid = !matches!(value, "0" | "none" | "no"),
            _ => {}
        }
    }
    let reordered = match bidirectional {
        0 => 0,
        1 => 2,
        _ if pyramid => 4,
        _ => 2,
    };
    references.max(reordered).clamp(1, 16)
}

/// The fine settings for x264, one by one; a word alone is `1`. Spelt with `-`: x264 takes `_` too.
fn options(tuning: &BTreeMap<String, String>) -> impl Iterator<Item = (&str, &str)> {
    let text = tuning.get("x264").map(String::as_str).unwrap_or_default();
    text.split(':')
        .filter(|option| !option.is_empty())
        .map(|option| option.split_once('=').unwrap_or((option, "1")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(size: &str, rate: &str, bitrate: u64, preset: Preset) -> Option<u8> {
        let none = BTreeMap::new();
        level(&Needs {
            size: size.parse().expect("size"),
            rate: rate.parse().expect("rate"),
            profile: profile(preset, &none),
            bitrate,
            coded_buffer: None,
            pictures: reference_pictures(preset, Tune::None, &none),
        })
    }

    #[test]
    fn usual_rungs_have_their_usual_levels() {
        assert_eq!(of("1920x1080", "24", 8_000_000, Preset::Veryfast), Some(40));
        assert_eq!(of("1920x1080", "30", 8_000_000, Preset::Veryfast), Some(40));
        assert_eq!(of("1920x1080", "60000/1001", 8_000_000, Preset::Veryfast), Some(42));
        assert_eq!(of("1280x720", "30000/1001", 4_000_000, Preset::Veryfast), Some(31));
        assert_eq!(of("1280x720", "60", 4_000_000, Preset::Veryfast), Some(32));
        assert_eq!(of("854x480", "24", 2_000_000, Preset::Veryfast), Some(30));
        assert_eq!(of("854x480", "30", 2_000_000, Preset::Veryfast), Some(31), "48,600 macroblocks a second");
        assert_eq!(of("640x360", "24", 800_000, Preset::Veryfast), Some(30));
        assert_eq!(of("3840x2160", "60", 20_000_000, Preset::Veryfast), Some(52));
        assert_eq!(of("2x2", "24", 50_000, Preset::Ultrafast), Some(10));
    }

    #[test]
    fn every_limit_can_be_the_one_that_decides() {
        // Rate: 8,160 macroblocks at 30.12 a second are 245,779.
        assert_eq!(of("1920x1080", "3012/100", 8_000_000, Preset::Ultrafast), Some(42));
        // Bits: High may have 1.25 times as many as Baseline.
        assert_eq!(of("1280x720", "24", 17_500_000, Preset::Superfast), Some(31));
        assert_eq!(of("1280x720", "24", 17_500_000, Preset::Ultrafast), Some(32));
        assert_eq!(of("1280x720", "24", 17_500_001, Preset::Superfast), Some(32));
        // Reference pictures.
        assert_eq!(of("1920x1080", "24", 8_000_000, Preset::Slow), Some(50));
        assert_eq!(of("1920x1080", "24", 8_000_000, Preset::Veryslow), Some(51));
        // A side: 8,208 pixels are 513 macroblocks, and 8 · 22,080 is 420 squared.
        assert_eq!(of("8208x16", "1", 50_000, Preset::Ultrafast), Some(51));
        // Beyond the table.
        assert_eq!(of("16384x8192", "24", 50_000_000, Preset::Ultrafast), None);
    }

    #[test]
    fn a_buffer_that_is_kept_to_counts() {
        let needs = |coded_buffer| {
            level(&Needs {
                size: Resolution::new(1280, 720).expect("size"),
                rate: FrameRate::new(24, 1).expect("rate"),
                profile: HIGH,
                bitrate: 4_000_000,
                coded_buffer,
                pictures: 4,
            })
        };
        assert_eq!(
            (needs(None), needs(Some(17_500_000)), needs(Some(17_500_001))),
            (Some(31), Some(31), Some(32))
        );
    }

    #[test]
    fn fine_settings_count_for_profile_and_references() {
        let tuning = |text: &str| BTreeMap::from([("x264".to_owned(), text.to_owned())]);
        assert_eq!(profile(Preset::Ultrafast, &tuning("me=dia")), "constrained-baseline");
        assert_eq!(profile(Preset::Ultrafast, &tuning("me=dia:8x8dct")), "high");
        assert_eq!(reference_pictures(Preset::Veryfast, Tune::None, &tuning("ref=6")), 6);
        assert_eq!(reference_pictures(Preset::Veryfast, Tune::None, &tuning("b-pyramid=none")), 2);
        assert_eq!(reference_pictures(Preset::Veryfast, Tune::None, &tuning("bframes=0")), 1);
        assert_eq!(reference_pictures(Preset::Medium, Tune::Animation, &tuning("")), 6);
        assert_eq!(reference_pictures(Preset::Medium, Tune::Zerolatency, &tuning("")), 3);
        assert_eq!(reference_pictures(Preset::Veryslow, Tune::Animation, &tuning("")), 16);
    }
}

//! Colour: one colorimetry for all rungs, pinned from the decoder to the encoder.
//!
//! Owns the guess where a source does not say its colours, and what is made of those that it says.
//! Names and numbers are GStreamer's (`GstVideoColorimetry`): a known name, or
//! `range:matrix:transfer:primaries`. Left unpinned, every scaler and converter guesses for itself,
//! by the size at hand, and converts: 1080 lines and 480 lines then differ in colour.
//!
//! HDR is kept, not mapped: GStreamer 1.22 has no tone mapper on the CPU (its `gamma-mode=remap`
//! comes out very dark). The output is 8-bit H.264 tagged as what it is, so that a screen with HDR
//! shows it right and one without shows it flat; the report says so.

use super::report::Reason;
use crate::media::{DynamicRange, VideoTrack};

/// What was decided.
pub(super) struct Pinned {
    /// What decoded pictures are taken for, where they do not say themselves.
    pub(super) input: String,
    /// What is encoded and tagged: video range, a YUV matrix, nothing unknown.
    pub(super) output: String,
    /// Why.
    pub(super) reasons: Vec<Reason>,
}

/// `range:matrix:transfer:primaries`; 0 is unknown.
type Numbers = [u8; 4];

const NAMED: [(&str, Numbers); 8] = [
    ("bt709", [2, 3, 5, 1]),
    ("bt601", [2, 4, 16, 4]),
    ("smpte240m", [2, 5, 6, 5]),
    ("sRGB", [1, 1, 7, 1]),
    ("bt2020", [2, 6, 11, 7]),
    ("bt2020-10", [2, 6, 13, 7]),
    ("bt2100-pq", [2, 6, 14, 7]),
    ("bt2100-hlg", [2, 6, 15, 7]),
];

const BT709: Numbers = NAMED[0].1;
const BT601: Numbers = NAMED[1].1;
const SMPTE240M: Numbers = NAMED[2].1;
const BT2020: Numbers = NAMED[4].1;
const PQ: Numbers = NAMED[6].1;
const HLG: Numbers = NAMED[7].1;

const FULL_RANGE: u8 = 1;
const VIDEO_RANGE: u8 = 2;
const RGB_MATRIX: u8 = 1;

fn numbers(text: &str) -> Option<Numbers> {
    if let Some((_, numbers)) = NAMED.iter().find(|(name, _)| *name == text) {
        return Some(*numbers);
    }
    let mut parts = text.split(':').map(|part| part.parse::<u8>().ok());
    let numbers = [parts.next()??, parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(numbers)
}

fn text(numbers: Numbers) -> String {
    match NAMED.iter().find(|(_, known)| *known == numbers) {
        Some((name, _)) => (*name).to_owned(),
        None => numbers.map(|number| number.to_string()).join(":"),
    }
}

/// What untold colours are taken for: BT.709 from 1280 columns or more than 576 lines on (above
/// every standard-definition raster), below that BT.601. GStreamer's own guess goes by lines alone
/// and takes 2160 of them for BT.2020, which 4K in 8 bits hardly ever is.
fn guess(track: &VideoTrack) -> Numbers {
    match track.colour.range_kind {
        DynamicRange::Hlg => HLG,
        DynamicRange::Pq => PQ,
        DynamicRange::Sdr if track.coded.width() >= 1_280 || track.coded.height() > 576 => BT709,
        DynamicRange::Sdr => BT601,
    }
}

/// What a matrix goes with, where the rest is untold.
fn family(matrix: u8) -> Option<Numbers> {
    match matrix {
        3 => Some(BT709),
        2 | 4 => Some(BT601),
        5 => Some(SMPTE240M),
        6 => Some(BT2020),
        _ => None,
    }
}

/// One colorimetry for the whole job.
pub(super) fn pin(track: &VideoTrack) -> Pinned {
    let mut reasons = Vec::new();
    let told = numbers(&track.colour.colorimetry).filter(|numbers| numbers[1..] != [0, 0, 0]);
    let guess = guess(track);
    let input = match told {
        None => {
            reasons.push(Reason::ColourAssumed { colorimetry: text(guess) });
            guess
        }
        Some(told) => {
            let rest = match track.colour.range_kind {
                DynamicRange::Sdr => family(told[1]).unwrap_or(guess),
                _ => guess,
            };
            let pick = |at: usize| if told[at] == 0 { rest[at] } else { told[at] };
            let whole = [pick(0), pick(1), pick(2), pick(3)];
            if whole != told {
                let (told, colorimetry) = (track.colour.colorimetry.clone(), text(whole));
                reasons.push(Reason::ColourCompleted { told, colorimetry });
            }
            whole
        }
    };
    let mut output = input;
    if input[1] == RGB_MATRIX {
        // Red, green and blue as they are have no place in 4:2:0.
        output[1] = guess[1];
    }
    if input[0] == FULL_RANGE {
        output[0] = VIDEO_RANGE;
        reasons.push(Reason::RangeReduced);
    }
    if track.colour.range_kind != DynamicRange::Sdr {
        reasons.push(Reason::HdrKept { colorimetry: text(output) });
    }
    Pinned { input: text(input), output: text(output), reasons }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{Colour, Rotation, Scan};
    use crate::units::{FrameRate, MediaTime, Resolution};

    fn pinned(size: &str, range_kind: DynamicRange, colorimetry: &str) -> (String, String, usize) {
        let coded: Resolution = size.parse().expect("size");
        let pinned = pin(&VideoTrack {
            pad: "video_0".into(),
            codec: "h264".into(),
            profile: None,
            coded,
            pixel_aspect: (1, 1),
            rotation: Rotation::None,
            display: coded,
            frame_rate: FrameRate::new(25, 1).expect("rate"),
            variable_rate: false,
            bit_depth: 8,
            chroma: "4:2:0".into(),
            colour: Colour { range_kind, colorimetry: colorimetry.into() },
            scan: Scan::Progressive,
            start: MediaTime::ZERO,
            duration: None,
            pictures: None,
            key_frames: None,
            edits: Vec::new(),
        });
        (pinned.input, pinned.output, pinned.reasons.len())
    }

    fn same(name: &str, reasons: usize) -> (String, String, usize) {
        (name.into(), name.into(), reasons)
    }

    #[test]
    fn untold_colours_are_guessed_by_size() {
        let sdr = |size| pinned(size, DynamicRange::Sdr, "");
        assert_eq!(sdr("720x576"), same("bt601", 1));
        assert_eq!(sdr("1280x534"), same("bt709", 1));
        assert_eq!(sdr("720x1280"), same("bt709", 1));
        assert_eq!(sdr("3840x2160"), same("bt709", 1));
        assert_eq!(pinned("720x576", DynamicRange::Sdr, "0:0:0:0"), same("bt601", 1));
        assert_eq!(pinned("720x576", DynamicRange::Sdr, "no such thing"), same("bt601", 1));
    }

    #[test]
    fn told_colours_are_kept() {
        assert_eq!(pinned("1920x1080", DynamicRange::Sdr, "bt601"), same("bt601", 0));
        assert_eq!(pinned("720x576", DynamicRange::Sdr, "2:4:16:3"), same("2:4:16:3", 0));
        assert_eq!(pinned("1920x1080", DynamicRange::Sdr, "2:3:5:1"), same("bt709", 0));
    }

    #[test]
    fn half_told_colours_are_completed_from_their_matrix() {
        assert_eq!(pinned("1920x1080", DynamicRange::Sdr, "2:4:0:0"), same("bt601", 1));
        assert_eq!(pinned("1920x1080", DynamicRange::Hlg, "2:6:0:7"), same("bt2100-hlg", 2));
        assert_eq!(pinned("3840x2160", DynamicRange::Pq, ""), same("bt2100-pq", 2));
    }

    #[test]
    fn the_output_is_video_range_and_never_rgb() {
        let (input, output, _) = pinned("640x480", DynamicRange::Sdr, "1:4:0:0");
        assert_eq!((input.as_str(), output.as_str()), ("1:4:16:4", "bt601"));
        let (input, output, _) = pinned("1920x1080", DynamicRange::Sdr, "sRGB");
        assert_eq!((input.as_str(), output.as_str()), ("sRGB", "2:3:7:1"));
    }
}

//! The `CODECS` attribute: what a decoder must be able to do (RFC 8216 §4.3.4.2, RFC 6381 §3).

use crate::plan::{Rung, VideoRung};
use crate::spec::{Preset, Tune};
use std::fmt;

/// AAC-LC: object type indication 0x40 (MPEG-4 audio), audio object type 2.
const AAC_LC: &str = "mp4a.40.2";

const BASELINE: u8 = 66;
const MAIN: u8 = 77;
const HIGH: u8 = 100;

/// Profile, constraint flags and level of H.264: the three bytes behind an SPS's header, which an
/// `avc1` codec string repeats in hexadecimal (ISO/IEC 14496-15, RFC 6381 §3.3).
///
/// ```
/// use transcode_core::playlist::Avc;
/// let avc = Avc { profile: 100, constraints: 0, level: 40 };
/// assert_eq!(avc.to_string(), "avc1.640028");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Avc {
    /// `profile_idc`: 66 baseline, 77 main, 100 high.
    pub profile: u8,
    /// `constraint_set0_flag` is the highest bit, down to `constraint_set5_flag`; two zero bits.
    pub constraints: u8,
    /// `level_idc`: ten times the level.
    pub level: u8,
}

impl fmt::Display for Avc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "avc1.{:02x}{:02x}{:02x}", self.profile, self.constraints, self.level)
    }
}

impl Avc {
    /// What x264 writes into the SPS for this rung.
    ///
    /// The plan's profile is a ceiling. x264 signals the lowest profile that has the tools in use:
    /// high where the 8×8 transform is on, main where CABAC, B-pictures or weighted prediction are,
    /// else baseline. `ultrafast` turns all of them off, so its streams are baseline whatever was
    /// asked for. Flags: set 0 for baseline, set 1 for baseline and main, because x264 has none of
    /// the tools that baseline has and main has not; none for high.
    pub fn of(video: &VideoRung) -> Self {
        let ceiling = match video.profile.as_str() {
            "baseline" | "constrained-baseline" => BASELINE,
            "main" => MAIN,
            _ => HIGH,
        };
        let profile = ceiling.min(lowest(video));
        let constraints = match profile {
            BASELINE => 0b1100_0000,
            MAIN => 0b0100_0000,
            _ => 0,
        };
        Self { profile, constraints, level: video.level }
    }

    /// Whether a decoder that takes streams of `self` takes those of `other`: the same level, and the
    /// same profile or a subset of it (ITU-T H.264 §A.2). Flags that `other` sets beyond those of
    /// `self` only say that it uses less.
    pub fn takes(self, other: Self) -> bool {
        // Bit 6 is constraint_set1_flag: the stream keeps to the main profile.
        let fits_main = other.profile == MAIN || other.constraints & 0b0100_0000 != 0;
        let profile = match self.profile {
            HIGH => other.profile == HIGH || fits_main,
            MAIN => fits_main,
            _ => other.profile == self.profile && self.constraints & !other.constraints == 0,
        };
        profile && self.level == other.level
    }
}

/// The lowest profile with the tools that the preset, the tune and the fine settings turn on.
fn lowest(video: &VideoRung) -> u8 {
    let none = video.preset == Preset::Ultrafast;
    let (mut transform, mut cabac) = (!none, !none && video.tune != Tune::Fastdecode);
    let mut bidirectional = !none && video.tune != Tune::Zerolatency;
    let mut weighted = !none && video.tune != Tune::Fastdecode;
    let options = video.tuning.get("x264").map(String::as_str).unwrap_or_default();
    for option in options.split(':') {
        let (name, value) = option.split_once('=').unwrap_or((option, "1"));
        let on = !matches!(value, "0" | "false" | "no");
        match name {
            "8x8dct" => transform = on,
            "no-8x8dct" => transform = !on,
            "cabac" => cabac = on,
            "no-cabac" => cabac = !on,
            "bframes" => bidirectional = on,
            "weightp" => weighted = on,
            _ => {}
        }
    }
    match (transform, cabac || bidirectional || weighted) {
        (true, _) => HIGH,
        (false, true) => MAIN,
        (false, false) => BASELINE,
    }
}

/// The `CODECS` of a rung, video before audio: `avc1.64001f,mp4a.40.2`.
pub fn codecs(rung: &Rung) -> String {
    let video = rung.video.as_ref().map(|video| Avc::of(video).to_string());
    let audio = rung.audio.as_ref().map(|_| AAC_LC.to_owned());
    video.into_iter().chain(audio).collect::<Vec<_>>().join(",")
}

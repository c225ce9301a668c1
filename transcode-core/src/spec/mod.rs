//! What is asked for: a profile's renditions and settings, a clip window, a job's overrides.
//!
//! Owns the request as data, before anything is known of the source. Knows units, nothing else.

mod profile;

pub use profile::{Profile, builtin_profiles};

use crate::units::{Bitrate, MediaTime};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::str::FromStr;

/// One row of the ladder as it is asked for; after planning it is a rung.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Rendition {
    /// Names the folder and the rung: `720p`. Letters, digits, `-` and `_`.
    pub name: String,
    /// The shorter side of the picture as shown, before rounding to even: rows of a landscape picture,
    /// columns of an upright one. Absent = the source's own size. 2 to 4320.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// Video bit rate: the average for ABR, the ceiling for capped CRF.
    pub video: Bitrate,
    /// Audio bit rate.
    pub audio: Bitrate,
    /// Settings that differ from the profile's for this rendition.
    #[serde(default, skip_serializing_if = "EncodingOverride::is_empty")]
    pub encoding: EncodingOverride,
}

/// `NAME:HEIGHT:VIDEO:AUDIO`, such as `720p:720:4M:128k`; HEIGHT `source` keeps the source's size.
impl FromStr for Rendition {
    type Err = crate::units::UnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || crate::units::UnitError {
            text: text.to_owned(),
            what: "a rung",
            allowed: "write NAME:HEIGHT:VIDEO:AUDIO, such as 720p:720:4M:128k (HEIGHT may be `source`)",
        };
        let parts: Vec<&str> = text.split(':').collect();
        let [name, height, video, audio] = parts[..] else { return Err(error()) };
        let height = match height {
            "source" => None,
            rows => Some(rows.trim_end_matches('p').parse::<u32>().map_err(|_| error())?),
        };
        if !is_name(name) || height == Some(0) {
            return Err(error());
        }
        Ok(Self {
            name: name.to_owned(),
            height,
            video: video.parse()?,
            audio: audio.parse()?,
            encoding: EncodingOverride::default(),
        })
    }
}

/// Fit for a folder, a playlist and a log line alike.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=32).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

/// How bits are shared out over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RateControl {
    /// Average bit rate over the whole; no bound on a short stretch.
    Abr,
    /// Constant quality `crf`, never above the rung's bit rate (over `vbv` of time).
    CappedCrf {
        /// Quantiser 0–51; lower is better. 23 is x264's default.
        crf: u8,
    },
    /// Constant bit rate, over `vbv` of time.
    Cbr,
}

impl RateControl {
    /// Which of them, as platform files key it.
    pub const fn mode(self) -> RateMode {
        match self {
            Self::Abr => RateMode::Abr,
            Self::CappedCrf { .. } => RateMode::CappedCrf,
            Self::Cbr => RateMode::Cbr,
        }
    }
}

/// The modes of [`RateControl`], without their figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum RateMode {
    Abr,
    Cbr,
    CappedCrf,
}

/// x264's names for speed against compression, which other encoders' presets are mapped from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Preset {
    Ultrafast,
    Superfast,
    Veryfast,
    Faster,
    Fast,
    Medium,
    Slow,
    Slower,
    Veryslow,
}

/// What the encoder is tuned for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Tune {
    #[default]
    None,
    Zerolatency,
    Film,
    Animation,
    Grain,
    Fastdecode,
    Stillimage,
}

/// Settings of an encode, complete: a profile's defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Encoding {
    /// Speed against compression.
    pub preset: Preset,
    /// What to tune for.
    #[serde(default)]
    pub tune: Tune,
    /// How bits are shared out.
    pub rate_control: RateControl,
    /// The VBV buffer as time at the rung's bit rate; used by CBR and capped CRF.
    pub vbv: MediaTime,
    /// Longest distance between key frames; segments are whole numbers of it.
    pub key_interval: MediaTime,
    /// The encoder's threads, 1 to 64; absent = one a megapixel of the picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<u32>,
    /// Fine settings by encoder family (`x264`), in that encoder's own words: `me=dia:subme=1`.
    /// An encoder of another family ignores them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tuning: BTreeMap<String, String>,
}

/// The settings that a rendition or a job changes; absent = as the profile has it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[allow(missing_docs)]
pub struct EncodingOverride {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tune: Option<Tune>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_control: Option<RateControl>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vbv: Option<MediaTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_interval: Option<MediaTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<u32>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tuning: BTreeMap<String, String>,
}

impl EncodingOverride {
    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// `base` with what is changed here.
    pub fn over(&self, base: &Encoding) -> Encoding {
        let mut tuning = base.tuning.clone();
        tuning.extend(self.tuning.clone());
        Encoding {
            preset: self.preset.unwrap_or(base.preset),
            tune: self.tune.unwrap_or(base.tune),
            rate_control: self.rate_control.unwrap_or(base.rate_control),
            vbv: self.vbv.unwrap_or(base.vbv),
            key_interval: self.key_interval.unwrap_or(base.key_interval),
            threads: self.threads.or(base.threads),
            tuning,
        }
    }
}

/// Whether the output has sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AudioPolicy {
    /// The first audio track, where there is one.
    #[default]
    First,
    /// No sound, even where the source has it.
    None,
}

/// How objects are named below the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// `{rung}/playlist.m3u8`, `{rung}/00000.ts`.
    #[default]
    Folders,
    /// `output.m3u8`, `output_00000.ts`: one rendition, as the match workers' users have it.
    Flat,
}

/// A part of the source; absent ends are the source's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clip {
    /// Stream time of the first picture wanted; moved to the next picture of the source's grid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<MediaTime>,
    /// Stream time of the end, itself not shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<MediaTime>,
}

/// One request: what to make, as a profile and what the job changes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSpec {
    /// The profile, whole.
    pub profile: Profile,
    /// The part of the source that is wanted.
    pub clip: Clip,
    /// Publish what is there of a source that ends early, instead of failing.
    pub allow_truncated: bool,
    /// Length of a chunk, rounded up to whole segments; absent = what a start is worth here.
    pub chunk: Option<MediaTime>,
    /// Every rendition becomes a rung, because somebody looks each up by its name: those above the
    /// source are made at the source's size. Without it, one of them is, and only where no other has that
    /// size.
    pub every_name: bool,
    /// Where players fetch the destination from: with it, playlists hold absolute addresses, as some players
    /// want. Without it they are relative, and the output can be moved.
    pub base_url: Option<String>,
}

impl JobSpec {
    /// The whole source, as `profile` asks.
    pub fn new(profile: Profile) -> Self {
        let clip = Clip::default();
        Self { profile, clip, allow_truncated: false, chunk: None, every_name: false, base_url: None }
    }
}

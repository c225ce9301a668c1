//! What is known of a source before planning: plain data, the result of a probe.
//!
//! Owns the description of containers and tracks. Knows nothing of how it was found out.
//! All times are stream times: what a player shows, edit lists applied, 0 = start of playback.

use crate::units::{FrameRate, MediaTime, Resolution};
use serde::{Deserialize, Serialize};

/// What tells one source from another, so that a stored plan is never run on changed bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceIdentity {
    /// Where it is, without credentials or query: `file:///…`, `s3://bucket/key`, `https://…`.
    pub uri: String,
    /// Bytes.
    pub size: u64,
    /// The entity tag (HTTP, S3), or a file's modification time; absent where neither is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// The containers that are let in; anything else is refused before a demuxer sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum Container {
    Mp4,
    QuickTime,
    Matroska,
    WebM,
    MpegTs,
    MpegPs,
    Avi,
    Flv,
    Ogg,
    Wav,
    Mp3,
    Adts,
    Flac,
}

/// Everything a plan needs to know of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MediaInfo {
    /// Which bytes these are.
    pub source: SourceIdentity,
    /// Found from the first bytes, never from the name.
    pub container: Container,
    /// The longest track's end; `None` where the container cannot say.
    pub duration: Option<MediaTime>,
    /// Video tracks in the container's order, cover pictures left out.
    pub video: Vec<VideoTrack>,
    /// Audio tracks in the container's order.
    pub audio: Vec<AudioTrack>,
    /// Tracks that are neither (time codes, telemetry, subtitles): named, not used.
    #[serde(default)]
    pub other: Vec<OtherTrack>,
    /// What the end of the file cut off; absent where everything that its tables name is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncated: Option<Truncated>,
    /// What a person should know: tables that disagree, a file that ends early.
    #[serde(default)]
    pub remarks: Vec<String>,
}

/// A file that ends before its own tables do: an upload or a copy that was cut off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Truncated {
    /// Bytes from the end of the file to the end of the last sample that its tables name.
    pub missing_bytes: u64,
    /// Stream time up to which every sample of every video and audio track is there.
    pub playable: MediaTime,
}

/// One video track.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VideoTrack {
    /// The demuxer's pad, which is how the graph finds the track again: `video_0`.
    pub pad: String,
    /// The codec's short name as platform files key it: `h264`, `hevc`, `vp9`, `av1`, `mpeg2`,
    /// `mpeg4`, `vp8`, `mjpeg`, `prores`, `raw`, …
    pub codec: String,
    /// The codec's profile where it is told: `high`, `main-10`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Stored size in pixels, before pixel aspect and rotation.
    pub coded: Resolution,
    /// Pixel aspect ratio, width to height.
    pub pixel_aspect: (u32, u32),
    /// How the player turns the picture.
    pub rotation: Rotation,
    /// Size as a player shows it: square pixels, after rotation.
    pub display: Resolution,
    /// Nominal rate: the constant one, or the one most pictures keep.
    pub frame_rate: FrameRate,
    /// True where pictures do not keep `frame_rate`.
    pub variable_rate: bool,
    /// Bits a sample: 8, 10, 12.
    pub bit_depth: u8,
    /// Chroma subsampling: `4:2:0`, `4:2:2`, `4:4:4`.
    pub chroma: String,
    /// Colour description.
    pub colour: Colour,
    /// Progressive or interlaced.
    pub scan: Scan,
    /// Stream time of the first picture.
    pub start: MediaTime,
    /// From `start` to the end of the last picture; `None` where the container cannot say.
    pub duration: Option<MediaTime>,
    /// Pictures in the container's table; `None` without such a table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pictures: Option<u64>,
    /// Key frames in the container's table; `None` without such a table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_frames: Option<KeyFrames>,
    /// The edit list, where there is one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edits: Vec<Edit>,
}

/// One audio track.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AudioTrack {
    /// The demuxer's pad: `audio_0`.
    pub pad: String,
    /// Short name as platform files key it: `aac`, `mp3`, `ac3`, `eac3`, `opus`, `vorbis`, `flac`,
    /// `pcm`, …
    pub codec: String,
    /// Samples a second.
    pub sample_rate: u32,
    /// Channels.
    pub channels: u32,
    /// `mono`, `stereo`, `5.1`, …
    pub layout: String,
    /// ISO 639-2 code where it is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Stream time of the first sample.
    pub start: MediaTime,
    /// From `start` to the last sample; `None` where the container cannot say.
    pub duration: Option<MediaTime>,
    /// The edit list, where there is one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edits: Vec<Edit>,
}

/// A track that is named and not used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OtherTrack {
    /// What it is, as the container calls it: `tmcd`, `gpmd`, `subtitle`.
    pub kind: String,
}

/// How often a track can be entered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyFrames {
    /// How many.
    pub count: u64,
    /// The longest way from one to the next, in pictures.
    pub longest_gap: u64,
}

/// One row of an edit list (ISO/IEC 14496-12 §8.6.6).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// How long the row lasts on the presentation's clock; zero in a list that lasts "to the end".
    pub duration: MediaTime,
    /// Where in the track it begins; `None` is an empty edit, a pause before the track.
    pub media_time: Option<MediaTime>,
}

/// How a player turns a stored picture before showing it, clockwise, mirrored last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum Rotation {
    #[default]
    None,
    Clockwise90,
    Half,
    Clockwise270,
    Mirror,
    MirrorClockwise90,
    MirrorHalf,
    MirrorClockwise270,
}

impl Rotation {
    /// Whether width and height change places.
    pub const fn swaps_sides(self) -> bool {
        matches!(
            self,
            Self::Clockwise90 | Self::Clockwise270 | Self::MirrorClockwise90 | Self::MirrorClockwise270
        )
    }
}

/// Colour description, each as GStreamer's colorimetry names it; `unknown` where untold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Colour {
    /// SDR, or which HDR.
    pub range_kind: DynamicRange,
    /// The full description, such as `bt709`, `bt601`, `bt2100-pq`, `2:3:5:1`; empty where untold.
    pub colorimetry: String,
}

/// Standard or high dynamic range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DynamicRange {
    /// BT.709, BT.601, sRGB, or untold.
    Sdr,
    /// Hybrid log-gamma (ARIB STD-B67).
    Hlg,
    /// Perceptual quantiser (SMPTE ST 2084).
    Pq,
}

/// Progressive or interlaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scan {
    /// Whole pictures.
    Progressive,
    /// Two fields a picture.
    Interlaced,
    /// Both in one stream.
    Mixed,
}

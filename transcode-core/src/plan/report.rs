//! The plan's report: what was kept, clamped or dropped, and why.
//!
//! Owns the typed reasons and their sentences. Reasons carry figures, so that a program can act on
//! them; `Display` is one sentence for a person. Times are stream times of the source.

use crate::units::{Bitrate, FrameRate, MediaTime, Resolution};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Every decision that a person could wonder about, in the order it was made.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanReport {
    /// The notes.
    pub notes: Vec<Note>,
}

/// One decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Note {
    /// The rendition it is about; absent where it is about the whole job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rung: Option<String>,
    /// What was decided and why.
    pub reason: Reason,
}

impl PlanReport {
    /// A note on the whole job.
    pub(super) fn add(&mut self, reason: Reason) {
        self.notes.push(Note { rung: None, reason });
    }

    /// A note on one rendition.
    pub(super) fn about(&mut self, rung: &str, reason: Reason) {
        self.notes.push(Note { rung: Some(rung.to_owned()), reason });
    }
}

/// `720p: as asked for`.
impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.rung {
            Some(rung) => write!(f, "{rung}: {}", self.reason),
            None => self.reason.fmt(f),
        }
    }
}

/// Why something is as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Reason {
    /// The rendition is a rung, as asked for.
    Kept,
    /// The rendition asks for more than the source has; it is made at the source's size, with fewer
    /// bits.
    ClampedToSource {
        /// Rows (columns of an upright picture) that were asked for.
        asked: u32,
        /// The size it has.
        size: Resolution,
        /// The bit rate that was asked for.
        bitrate_asked: Bitrate,
        /// The bit rate it has.
        bitrate: Bitrate,
    },
    /// The rendition asks for more than the source has, and another rung has the source's size: dropped.
    AboveSource {
        /// Rows (columns of an upright picture) that were asked for.
        asked: u32,
        /// Rows (columns of an upright picture) of the source.
        source: u32,
        /// The rung with the source's size.
        instead: String,
    },
    /// No video: the rendition is its sound alone.
    SoundOnly,
    /// No video, and another rung has the same sound: dropped.
    SameSound {
        /// The other rung.
        instead: String,
    },
    /// H.264 in 4:2:0 has even sides: the source's size is rounded.
    EvenSides {
        /// The source's size as shown.
        source: Resolution,
        /// The size it has.
        size: Resolution,
    },
    /// The source is smaller than the smallest picture that can be encoded.
    SmallestSize {
        /// The source's size as shown.
        source: Resolution,
        /// The size it has.
        size: Resolution,
    },
    /// More audio bits than these channels can use.
    AudioRateCapped {
        /// The bit rate that was asked for.
        asked: Bitrate,
        /// The bit rate it has.
        bitrate: Bitrate,
        /// Channels of the sound.
        channels: u32,
    },
    /// The picture is higher than wide: a rung's number counts columns.
    Upright {
        /// The source's size as shown.
        source: Resolution,
    },
    /// A track cannot be used and is passed over.
    TrackPassedOver {
        /// The track's pad.
        pad: String,
        /// Its codec.
        codec: String,
        /// It has no pictures or samples; otherwise its codec is not decoded here.
        empty: bool,
    },
    /// A setting that the platform's encoder has nothing for.
    LeftOut {
        /// The setting: `tune film`, `quality 23`.
        setting: String,
        /// The platform.
        platform: String,
    },
    /// The platform's first decoder for the codec does not take this stream.
    NextDecoder {
        /// The decoder that does.
        element: String,
        /// The one before it.
        instead_of: String,
        /// What of the stream that one does not take.
        why: String,
    },
    /// Tracks that could be used as well and are not.
    TracksLeft {
        /// The kind: `video` or `audio`.
        of: String,
        /// The track that is used.
        used: String,
        /// How many are not.
        left: u32,
    },
    /// Tracks of other kinds (time codes, subtitles, telemetry) are left out.
    OtherTracks {
        /// Their kinds, as the container calls them.
        kinds: Vec<String>,
    },
    /// The source has no video: an audio ladder.
    NoVideo,
    /// The source has no audio: a silent ladder.
    NoAudio,
    /// The profile wants no sound, and the source has some.
    AudioOff,
    /// Pictures come at a variable rate; they are put on a constant one.
    VariableRate {
        /// The source's nominal rate.
        nominal: FrameRate,
        /// The rate of the grid.
        rate: FrameRate,
    },
    /// More pictures than HLS players are held to show: every so manieth is kept.
    RateDivided {
        /// The source's rate.
        source: FrameRate,
        /// The rate of the grid.
        rate: FrameRate,
        /// One of so many pictures is kept.
        keep_one_of: u32,
    },
    /// The stated rate is no picture rate; the grid's is taken instead.
    RateNotBelieved {
        /// The source's rate.
        source: FrameRate,
        /// The rate of the grid.
        rate: FrameRate,
    },
    /// Fewer than one picture a second: each is shown several times.
    RateRaised {
        /// The source's rate.
        source: FrameRate,
        /// The rate of the grid.
        rate: FrameRate,
    },
    /// Segments are whole numbers of pictures and of key-frame distances, so a little longer than asked.
    SegmentRounded {
        /// The length that was asked for.
        asked: MediaTime,
        /// The length of every segment but the last.
        length: MediaTime,
    },
    /// The clip begins with the first picture at or after the time asked for.
    ClipMoved {
        /// The time that was asked for.
        asked: MediaTime,
        /// The time of the first picture.
        start: MediaTime,
    },
    /// The clip was to end after the source does.
    ClipEndsWithSource {
        /// The end that was asked for.
        asked: MediaTime,
        /// The source's end.
        end: MediaTime,
    },
    /// The first picture comes later than time zero; the output begins with it.
    PicturesBeginLate {
        /// The first picture's time.
        start: MediaTime,
    },
    /// Sound before the first picture is left out.
    SoundBeforePictures {
        /// How much.
        length: MediaTime,
    },
    /// Silence stands before the first sample.
    SoundBeginsLate {
        /// How much.
        length: MediaTime,
    },
    /// Sound after the last picture is left out.
    SoundAfterPictures {
        /// How much.
        length: MediaTime,
    },
    /// Silence stands after the last sample.
    SoundEndsEarly {
        /// How much.
        length: MediaTime,
    },
    /// The source cannot state its length: the last segment ends where it does.
    OpenEnded {
        /// The length it is thought to have, where anything is known of it.
        expected: Option<MediaTime>,
    },
    /// The file was cut off; what is there is published.
    Truncated {
        /// Bytes that its tables name and that are not there.
        missing_bytes: u64,
        /// Stream time up to which it plays.
        playable: MediaTime,
        /// The length that its tables state, where they state one.
        stated: Option<MediaTime>,
    },
    /// The file was cut off after the part that is wanted.
    TruncatedLater {
        /// Bytes that its tables name and that are not there.
        missing_bytes: u64,
        /// Stream time up to which it plays.
        playable: MediaTime,
    },
    /// Fields are woven into whole pictures, one for two fields.
    Deinterlaced,
    /// The source does not say its colours: taken for these, by its size.
    ColourAssumed {
        /// Colorimetry as GStreamer names it.
        colorimetry: String,
    },
    /// The source says its colours in part, or in a way that video pictures cannot have.
    ColourCompleted {
        /// What it says.
        told: String,
        /// What is used.
        colorimetry: String,
    },
    /// Full range is brought to video range, which every player expects of H.264.
    RangeReduced,
    /// High dynamic range stays as it is, in 8 bits and tagged.
    HdrKept {
        /// Colorimetry as GStreamer names it.
        colorimetry: String,
    },
    /// More than 8 bits a sample are rounded to 8.
    DepthReduced {
        /// Bits a sample of the source.
        bits: u8,
    },
    /// Colour at full or half width is reduced to 4:2:0.
    ChromaReduced {
        /// Subsampling of the source.
        chroma: String,
    },
    /// Channels are mixed down to stereo.
    MixedDown {
        /// Channels of the source.
        channels: u32,
        /// Their layout.
        layout: String,
    },
    /// Sound is resampled.
    Resampled {
        /// Samples a second of the source.
        source: u32,
        /// Samples a second of the output.
        rate: u32,
    },
    /// What the probe found worth a word.
    Remark {
        /// The remark.
        text: String,
    },
}

/// For people: seconds, to a millisecond at most.
pub(super) fn seconds(time: MediaTime) -> String {
    let millis = time.ticks(1_000);
    let (sign, millis) = (if millis < 0 { "-" } else { "" }, millis.unsigned_abs());
    let text = format!("{sign}{}.{:03}", millis / 1_000, millis % 1_000);
    format!("{} s", text.trim_end_matches('0').trim_end_matches('.'))
}

/// For people: 30000/1001 is 29.97.
pub(super) fn per_second(rate: FrameRate) -> String {
    if rate.den() == 1 {
        return rate.num().to_string();
    }
    let text = format!("{:.3}", rate.as_f64());
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kept => write!(f, "as asked for"),
            Self::ClampedToSource { asked, size, bitrate_asked, bitrate } => write!(
                f,
                "the source has fewer than {asked} lines: made at its size, {size}, with {bitrate} \
                 instead of {bitrate_asked}"
            ),
            Self::AboveSource { asked, source, instead } => write!(
                f,
                "dropped: {asked} lines are more than the source's {source}, and {instead} has its size"
            ),
            Self::SoundOnly => write!(f, "sound alone"),
            Self::SameSound { instead } => write!(f, "dropped: {instead} has the same sound"),
            Self::EvenSides { source, size } => {
                write!(f, "sides are even: {source} becomes {size}")
            }
            Self::SmallestSize { source, size } => {
                write!(f, "{source} is smaller than can be encoded: {size}")
            }
            Self::AudioRateCapped { asked, bitrate, channels } => {
                let what = if *channels == 1 { "one channel needs" } else { "AAC can use" };
                write!(f, "audio: no more than {bitrate} of the {asked} asked for, which is all that {what}")
            }
            Self::Upright { source } => write!(
                f,
                "the picture is upright ({source}): a rung's number counts its shorter side, the columns"
            ),
            Self::TrackPassedOver { pad, codec, empty: true } => {
                write!(f, "track {pad} ({codec}) is empty and passed over")
            }
            Self::TrackPassedOver { pad, codec, empty: false } => {
                write!(f, "track {pad} is passed over: {codec} is not decoded here")
            }
            Self::LeftOut { setting, platform } => {
                write!(f, "platform {platform} encodes without {setting}: it has nothing of the kind")
            }
            Self::NextDecoder { element, instead_of, why } => {
                write!(f, "{why} is nothing that {instead_of} decodes: {element} instead")
            }
            Self::TracksLeft { of, used, left } => {
                let tracks = if *left == 1 { "track is" } else { "tracks are" };
                write!(f, "{used} is used; {left} other {of} {tracks} left out")
            }
            Self::OtherTracks { kinds } => {
                write!(f, "tracks that are neither video nor audio are left out: {}", kinds.join(", "))
            }
            Self::NoVideo => write!(f, "the source has no video: an audio ladder"),
            Self::NoAudio => write!(f, "the source has no audio: a silent ladder"),
            Self::AudioOff => write!(f, "the profile wants no sound"),
            Self::VariableRate { nominal, rate } => write!(
                f,
                "pictures come at a variable rate around {}: put on a grid of {} a second",
                per_second(*nominal),
                per_second(*rate)
            ),
            Self::RateDivided { source, rate, keep_one_of } => write!(
                f,
                "{} pictures a second are more than HLS players show: one of {keep_one_of} is kept, {} a second",
                per_second(*source),
                per_second(*rate)
            ),
            Self::RateNotBelieved { source, rate } => write!(
                f,
                "{} a second is no rate of pictures: put on a grid of {} a second",
                per_second(*source),
                per_second(*rate)
            ),
            Self::RateRaised { source, rate } => write!(
                f,
                "pictures that come less than once a second ({source}) are shown again, {} a second",
                per_second(*rate)
            ),
            Self::SegmentRounded { asked, length } => write!(
                f,
                "segments last {} instead of {}: whole pictures and whole key-frame distances",
                seconds(*length),
                seconds(*asked)
            ),
            Self::ClipMoved { asked, start } => write!(
                f,
                "begins at {}, with the first picture at or after {}",
                seconds(*start),
                seconds(*asked)
            ),
            Self::ClipEndsWithSource { asked, end } => write!(
                f,
                "ends with the source, at {}, before the {} that were asked for",
                seconds(*end),
                seconds(*asked)
            ),
            Self::PicturesBeginLate { start } => {
                write!(f, "begins with the first picture, at {} of the source", seconds(*start))
            }
            Self::SoundBeforePictures { length } => {
                write!(f, "{} of sound before the first picture are left out", seconds(*length))
            }
            Self::SoundBeginsLate { length } => {
                write!(f, "sound begins late: {} of silence before it", seconds(*length))
            }
            Self::SoundAfterPictures { length } => {
                write!(f, "{} of sound after the last picture are left out", seconds(*length))
            }
            Self::SoundEndsEarly { length } => {
                write!(f, "sound ends early: {} of silence behind it", seconds(*length))
            }
            Self::OpenEnded { expected: Some(length) } => write!(
                f,
                "this kind of source cannot state its length (about {}): it ends where its bytes do",
                seconds(*length)
            ),
            Self::OpenEnded { expected: None } => {
                write!(f, "the source does not state its length: it ends where its bytes do")
            }
            Self::Truncated { missing_bytes, playable, stated } => write!(
                f,
                "the file was cut off: {}{} are there ({missing_bytes} bytes are missing) and are published",
                seconds(*playable),
                stated.map(|stated| format!(" of {}", seconds(stated))).unwrap_or_default()
            ),
            Self::TruncatedLater { missing_bytes, playable } => write!(
                f,
                "the file was cut off at {} ({missing_bytes} bytes are missing), after the part that is wanted",
                seconds(*playable)
            ),
            Self::Deinterlaced => write!(f, "interlaced: two fields become one picture"),
            Self::ColourAssumed { colorimetry } => {
                write!(f, "colours are not told: taken for {colorimetry} by the picture's size")
            }
            Self::ColourCompleted { told, colorimetry } => {
                write!(f, "colours are told as {told}: taken for {colorimetry}")
            }
            Self::RangeReduced => write!(f, "full range becomes video range"),
            Self::HdrKept { colorimetry } => write!(
                f,
                "HDR is kept as it is ({colorimetry}, 8 bits, tagged) and not mapped to SDR: a screen \
                 without HDR shows it flat"
            ),
            Self::DepthReduced { bits } => write!(f, "{bits} bits a sample are rounded to 8"),
            Self::ChromaReduced { chroma } => write!(f, "colour in {chroma} is reduced to 4:2:0"),
            Self::MixedDown { channels, layout } => {
                write!(f, "{channels} channels ({layout}) are mixed down to stereo")
            }
            Self::Resampled { source, rate } => {
                write!(f, "sound at {source} Hz is resampled to {rate} Hz")
            }
            Self::Remark { text } => write!(f, "{text}"),
        }
    }
}

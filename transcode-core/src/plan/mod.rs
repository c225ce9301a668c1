//! The plan: every decision, made before anything runs.
//!
//! Owns the plan as immutable data and the pure function that makes it of (media info, job,
//! platform). No GStreamer, no clock, no I/O, no randomness: planning again changes nothing.
//! Times are exact; the plan's clock starts at 0 with the first picture of the output.

mod build;
mod chunks;
mod colour;
mod diff;
mod explain;
mod ladder;
mod level;
mod report;
mod schedule;
mod sound;
mod stored;
mod timeline;
mod tracks;

pub use build::plan;
pub use diff::Difference;
pub use report::{Note, PlanReport, Reason};
pub use timeline::Timeline;

use crate::media::{Container, Rotation, SourceIdentity};
use crate::platform::CodedVideo;
use crate::spec::{Layout, Preset, RateControl, Tune};
use crate::units::{Bitrate, MediaTime, Resolution, SegmentIndex};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;

/// The format of `plan.json`; a stored plan of another version is refused.
pub const PLAN_VERSION: u32 = 3;

/// Everything that running needs to know, decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// [`PLAN_VERSION`] of the program that made it.
    pub version: u32,
    /// The bytes it was made for.
    pub source: SourceIdentity,
    /// The profile's name.
    pub profile: String,
    /// How objects are named.
    pub layout: Layout,
    /// What is taken from the source and how.
    pub input: Input,
    /// Segment boundaries, shared by all rungs.
    pub timeline: Timeline,
    /// The rungs, best first; at least one.
    pub rungs: Vec<Rung>,
    /// The preview picture; absent for sources without video.
    pub thumbnail: Option<Thumbnail>,
    /// Runs of segments, in order, together the whole timeline: where work may be divided.
    pub chunks: Vec<Chunk>,
    /// A source that ends early is published as far as it goes.
    pub allow_truncated: bool,
    /// What stands before every address in a playlist, without a slash at its end; absent: they are relative.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// What was kept, clamped, dropped, and why.
    pub report: PlanReport,
}

/// What is taken from the source and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Picks the demuxer.
    pub container: Container,
    /// The video track; absent for an audio ladder.
    pub video: Option<VideoInput>,
    /// The audio track; absent for a silent ladder.
    pub audio: Option<AudioInput>,
}

/// The video track that is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VideoInput {
    /// The demuxer's pad.
    pub pad: String,
    /// Picks the decoder, together with the next four.
    pub codec: String,
    /// The codec's profile where it is told: `high-10`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Stored size in pixels, before rotation.
    pub coded: Resolution,
    /// Chroma subsampling: `4:2:0`; empty where untold.
    pub chroma: String,
    /// Bits a sample.
    pub bit_depth: u8,
    /// Turned so before scaling.
    pub rotation: Rotation,
    /// Fields are woven into whole pictures, one for two fields, before scaling.
    pub deinterlace: bool,
    /// Size before scaling, after rotation; square pixels not assumed.
    pub size: Resolution,
    /// What decoded YUV pictures that do not say their colours are taken for: colorimetry as
    /// GStreamer names it. Without it a converter guesses by the number of lines.
    pub colorimetry: String,
}

impl VideoInput {
    /// What its decoder has to cope with.
    pub fn coded_video(&self) -> CodedVideo<'_> {
        CodedVideo {
            codec: &self.codec,
            profile: self.profile.as_deref(),
            coded: self.coded,
            chroma: &self.chroma,
            bit_depth: self.bit_depth,
            interlaced: self.deinterlace,
        }
    }
}

/// The audio track that is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AudioInput {
    /// The demuxer's pad.
    pub pad: String,
    /// Picks the decoder.
    pub codec: String,
    /// Time of the track's first sample in the source: with it, a stamp that its container has rounded
    /// tells which packet it belongs to.
    pub start: MediaTime,
}

/// One rendition, planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rung {
    /// Names the folder: `720p`.
    pub name: String,
    /// The picture; absent in an audio ladder.
    pub video: Option<VideoRung>,
    /// The sound; absent in a silent ladder.
    pub audio: Option<AudioRung>,
}

/// The video of a rung.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VideoRung {
    /// Even sides, square pixels, never above the source.
    pub size: Resolution,
    /// The rung whose pictures are scaled to make these; absent = the source's.
    pub scale_from: Option<String>,
    /// H.264 profile: `high`, `main`, `constrained-baseline`.
    pub profile: String,
    /// H.264 level as ten times its number: 40 is level 4.
    pub level: u8,
    /// Average (ABR, CBR) or ceiling (capped CRF).
    pub bitrate: Bitrate,
    /// How bits are shared out.
    pub rate_control: RateControl,
    /// VBV buffer as time at `bitrate`; used by CBR and capped CRF.
    pub vbv: MediaTime,
    /// Pictures from key frame to key frame; divides the timeline's segment.
    pub gop: u32,
    /// The encoder's threads. In the plan because they change what it makes.
    pub threads: u32,
    /// Speed against compression.
    pub preset: Preset,
    /// What the encoder is tuned for.
    pub tune: Tune,
    /// Fine settings by encoder family.
    pub tuning: BTreeMap<String, String>,
    /// Colorimetry as GStreamer names it, pinned from here to the encoder: `bt709`.
    pub colorimetry: String,
}

impl VideoRung {
    /// Whether the level's decoded picture buffer holds so many pictures of a size (ITU-T H.264 Table
    /// A-1, MaxDpbMbs).
    pub(crate) fn level_holds(&self, size: Resolution, pictures: u32) -> bool {
        level::holds(self.level, size, pictures)
    }
}

/// The audio of a rung: AAC-LC. Rungs with equal values share one encode.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AudioRung {
    /// Bit rate.
    pub bitrate: Bitrate,
    /// Samples a second.
    pub sample_rate: u32,
    /// 1 or 2.
    pub channels: u32,
}

impl AudioRung {
    /// Samples in an AAC-LC packet (ISO/IEC 14496-3).
    pub const PACKET: u32 = 1_024;

    /// AAC packets that begin before `slot`: packet *n* begins at sample 1024 · *n* of the plan's
    /// clock, and belongs to the segment that its beginning falls into.
    pub fn packets_before(&self, timeline: &Timeline, slot: u64) -> u64 {
        let packets = crate::units::FrameRate::new(self.sample_rate, Self::PACKET);
        let first = packets.map(|packets| packets.ceil(timeline.rate.time_of(slot)));
        first.and_then(|first| u64::try_from(first).ok()).unwrap_or(0)
    }
}

/// The preview picture, taken from the decoded pictures of the job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thumbnail {
    /// The picture that is tried first: at 10 % of the duration, at most 10 s in.
    pub frame: u64,
    /// How often another is tried while all were black, in pictures.
    pub retry_every: u64,
    /// The last picture that is tried; the brightest is taken then.
    pub last: u64,
    /// The JPEG's size.
    pub size: Resolution,
}

/// A run of consecutive segments of all rungs, made by one graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chunk {
    /// Its number, from 0.
    pub index: u32,
    /// The first segment.
    pub first: SegmentIndex,
    /// The segment after the last.
    pub end: SegmentIndex,
}

impl Chunk {
    /// The segments' numbers.
    pub fn segments(&self) -> Range<u32> {
        self.first.0..self.end.0
    }
}

impl Plan {
    /// The rung of that name.
    pub fn rung(&self, name: &str) -> Option<&Rung> {
        self.rungs.iter().find(|rung| rung.name == name)
    }

    /// The plan of one of its rungs by itself, scaled from the source and without a preview image: for a
    /// rung that is made again as a whole. `None` where there is no such rung.
    pub fn alone(&self, rung: &str) -> Option<Self> {
        let mut alone = self.clone();
        alone.rungs.retain(|other| other.name == rung);
        alone.thumbnail = None;
        let video = alone.rungs.first_mut()?.video.as_mut();
        if let Some(video) = video {
            video.scale_from = None;
        }
        Some(alone)
    }

    /// The key of a rung's media playlist: `720p/playlist.m3u8`.
    pub fn playlist_key(&self, rung: &str) -> String {
        match self.layout {
            Layout::Folders => format!("{rung}/playlist.m3u8"),
            Layout::Flat => "output.m3u8".to_owned(),
        }
    }

    /// How a playlist names an object: below the destination's own address, or relative to the playlist,
    /// which lies in `folder`.
    pub(crate) fn address(&self, folder: &str, key: &str) -> String {
        match &self.base_url {
            Some(base) => format!("{base}/{key}"),
            None => key.strip_prefix(folder).unwrap_or(key).trim_start_matches('/').to_owned(),
        }
    }

    /// The key of a segment: `720p/00003.ts`.
    pub fn segment_key(&self, rung: &str, index: SegmentIndex) -> String {
        match self.layout {
            Layout::Folders => format!("{rung}/{:05}.ts", index.0),
            Layout::Flat => format!("output_{:05}.ts", index.0),
        }
    }

    /// The keys of the MP4s that may be packaged of a rung: progressive `720p.mp4`, fragmented
    /// `720p.fragmented.mp4`.
    pub fn movie_keys(rung: &str) -> [String; 2] {
        [format!("{rung}.mp4"), format!("{rung}.fragmented.mp4")]
    }

    /// Every distinct audio encode, in the order of the rungs that first ask for it.
    pub fn audio_encodes(&self) -> Vec<&AudioRung> {
        let mut distinct: Vec<&AudioRung> = Vec::new();
        for audio in self.rungs.iter().filter_map(|rung| rung.audio.as_ref()) {
            if !distinct.contains(&audio) {
                distinct.push(audio);
            }
        }
        distinct
    }

    /// One chunk over the whole timeline: a plain local run.
    pub fn whole(&self) -> Chunk {
        Chunk { index: 0, first: SegmentIndex(0), end: SegmentIndex(self.timeline.segment_count()) }
    }
}

/// Keys of the objects that every job has.
pub mod keys {
    /// The master playlist.
    pub const MASTER: &str = "master.m3u8";
    /// The preview picture.
    pub const THUMBNAIL: &str = "thumbnail.jpg";
    /// The plan, created once.
    pub const PLAN: &str = "plan.json";
    /// Figures of the finished job.
    pub const REPORT: &str = "report.json";
    /// Which pieces of the source there are, where it was split.
    pub const PIECES: &str = "chunks/source.json";

    /// A piece of the source: `chunks/source/00003.mkv`.
    pub fn piece(chunk: u32) -> String {
        format!("chunks/source/{chunk:05}.mkv")
    }
}

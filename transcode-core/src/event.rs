//! What a running job says: plain data, the same in process, over the child's socket and as JSON.

use crate::segment::Bucket;
use crate::units::{MediaTime, SegmentIndex};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One thing that happened while a chunk was made. Times are on the plan's clock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Event {
    /// How far each rung's encoder is; several times a second.
    Progress {
        /// By rung, in the plan's order.
        rungs: Vec<RungProgress>,
    },
    /// A segment is in the store, whole.
    Segment(SegmentFacts),
    /// The preview picture is in the store.
    Thumbnail {
        /// The slot it shows.
        slot: u64,
        /// Bytes of the JPEG.
        bytes: u64,
    },
    /// Something a person should know; the job goes on.
    Warning {
        /// What, where, with which value.
        text: String,
    },
    /// A platform has given up, and another goes on. Told by whoever holds several platforms, never by
    /// a run itself.
    Fallback(Fallback),
}

/// One platform gave up, and the next of the list went on from there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fallback {
    /// The platform that failed.
    pub from: String,
    /// The platform that goes on.
    pub to: String,
    /// What failed: the error and its causes, on one line.
    pub why: String,
    /// The first segment that the other one makes; absent where nothing had been planned yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<SegmentIndex>,
}

/// `platform nvidia gave up at segment 7, software goes on: …`.
impl std::fmt::Display for Fallback {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { from, to, why, segment } = self;
        let at = segment.map(|segment| format!(" at segment {segment}")).unwrap_or_default();
        write!(f, "platform {from} gave up{at}, {to} goes on: {why}")
    }
}

/// How far one rung is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RungProgress {
    /// The rung.
    pub rung: String,
    /// Slots encoded in this chunk.
    pub encoded: u64,
    /// Segments stored in this chunk.
    pub segments: u32,
}

/// One stored segment, as read back from its own bytes before it was stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentFacts {
    /// The rung.
    pub rung: String,
    /// Its number.
    pub index: SegmentIndex,
    /// Bytes.
    pub bytes: u64,
    /// Access units of video; 0 without video.
    pub pictures: u64,
    /// AAC packets; 0 without audio.
    pub audio_packets: u64,
    /// The first picture's presentation time.
    pub video_start: Option<MediaTime>,
    /// The first audio packet's presentation time.
    pub audio_start: Option<MediaTime>,
    /// How long it lasts: its pictures (or packets) at the timeline's rate.
    pub duration: MediaTime,
    /// CRC-32 (ISO-HDLC) of the bytes, to tell a foreign or damaged one.
    pub crc32: u32,
    /// CRC-32 of its SPS and PPS: where it changes from one segment to the next, another encoder took
    /// over, and players must be told (RFC 8216 §4.3.2.3). Absent without video.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameter_sets: Option<u32>,
    /// What its pictures do to the buffer that the rung declares; absent where it declares none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<Bucket>,
    /// It had been there before, made by somebody else.
    pub adopted: bool,
}

/// What one run of a chunk counted; the input of the verification.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ChunkReport {
    /// Pictures that came out of the decoder.
    pub decoded: u64,
    /// Of those, before the chunk's first slot or after its last: decoded to get there, not wanted.
    pub outside: u64,
    /// Of those, dropped because another picture has their slot (a faster or variable rate).
    pub dropped: u64,
    /// Slots filled by showing the picture before once more.
    pub repeated: u64,
    /// Slots sent to the encoders: decoded − outside − dropped + repeated.
    pub emitted: u64,
    /// Stream time right after the last picture that came out of the decoder.
    pub source_end: Option<MediaTime>,
    /// Stream time right after the last sample that came out of the audio decoder.
    pub audio_end: Option<MediaTime>,
    /// Audio samples sent to the encoders.
    pub samples: u64,
    /// Of those, silence put in where the source had none.
    pub silence: u64,
    /// By rung.
    pub rungs: Vec<RungReport>,
    /// Stage costs, for `report.json`.
    pub timings: Timings,
}

/// What one rung counted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RungReport {
    /// The rung.
    pub rung: String,
    /// Pictures out of its encoder.
    pub encoded: u64,
    /// AAC packets out of its encoder, priming left out.
    pub audio_packets: u64,
    /// Every segment it made.
    pub segments: Vec<SegmentFacts>,
}

/// What a run cost; milliseconds of wall time, and of CPU where it says so.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Timings {
    /// From the start to the first picture in the encoders.
    pub first_picture_ms: u64,
    /// From the start to the first stored segment.
    pub first_segment_ms: u64,
    /// The whole run.
    pub total_ms: u64,
    /// CPU of the process, user and system.
    pub cpu_ms: u64,
    /// Waiting for the sink, summed over its callers.
    pub sink_wait_ms: u64,
    /// Bytes asked of the source.
    pub source_bytes: u64,
    /// Reads asked of the source.
    pub source_reads: u64,
    /// CPU by stage, where the system tells the threads apart: `demux`, `decode`, `audio`, `mux`,
    /// `store`, and `encode 720p` (scaling included) for each rung.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub stages: BTreeMap<String, u64>,
}

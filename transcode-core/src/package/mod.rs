//! MP4 files out of the segments of a finished job: no decoder, no encoder.
//!
//! - [`FinishedJob`] finds a job at its destination, or says what is missing of it.
//! - [`package`] makes one MP4 of one rung: [`Format::Progressive`] in two passes over the segments
//!   (the first keeps nothing but the sample tables, the second writes header and samples in order),
//!   [`Format::Fragmented`] in one, a fragment for each segment.
//!
//! Owns the MP4's bytes (ISO/IEC 14496-12, -14 and -15). Knows the plan, the report, the strict
//! reader of segments, and the traits that bytes cross; no network, no GStreamer. Times are exact on
//! the plan's grid: the stamps of the segments are compared with it and then not needed. The same
//! segments always give the same bytes. Memory: the tables (four bytes a sample, two more a picture,
//! and the header made of them) and a few segments; no disk.
//!
//! ```no_run
//! use std::sync::Arc;
//! use transcode_core::package::{FinishedJob, Format, Request, package};
//! use transcode_core::{Cancel, DirSink};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (out, cancel) = (Arc::new(DirSink::open("out")?), Cancel::new());
//! let job = FinishedJob::open(out.clone(), &cancel)?;
//! let request = Request::new("720p", Format::Progressive);
//! let made = package(&job, &request, &*out, &|_| {}, &cancel)?;
//! println!("{} pictures, {} bytes", made.pictures, made.bytes);
//! # Ok(())
//! # }
//! ```

mod aac;
mod avc;
mod boxes;
mod compare;
mod fragmented;
mod header;
mod job;
mod make;
mod ordered;
mod progressive;
mod samples;
mod tables;
#[cfg(test)]
mod tests;

pub use job::FinishedJob;
pub use make::package;

use crate::units::MediaTime;
use serde::Serialize;

/// How an MP4 is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// One header in front that lists every sample (*faststart*): what is downloaded and edited.
    Progressive,
    /// A short header, then a fragment for each segment: what can be appended to and read as it comes.
    Fragmented,
}

impl Format {
    /// The key of a rung's MP4, where none is asked for: `720p.mp4`, `720p.fragmented.mp4`.
    pub fn key(self, rung: &str) -> String {
        let [progressive, fragmented] = crate::plan::Plan::movie_keys(rung);
        match self {
            Self::Progressive => progressive,
            Self::Fragmented => fragmented,
        }
    }
}

/// Which MP4 is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The rung.
    pub rung: String,
    /// How it is laid out.
    pub format: Format,
    /// The key that it is stored under.
    pub key: String,
    /// Replace what is stored under that key.
    pub overwrite: bool,
}

impl Request {
    /// A rung in this format, under its usual key.
    pub fn new(rung: &str, format: Format) -> Self {
        Self { rung: rung.to_owned(), format, key: format.key(rung), overwrite: false }
    }
}

/// How far a packaging is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// What is done.
    pub step: Step,
    /// Segments that are through this step.
    pub segments: u32,
    /// Segments in all.
    pub of: u32,
    /// Bytes of the MP4 so far.
    pub bytes: u64,
}

/// The steps of a packaging.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// The segments are read for their tables.
    Read,
    /// The MP4 is written.
    Write,
    /// The MP4 is there; it is held against the segments.
    Compare,
}

/// A finished MP4.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Packaged {
    /// The rung.
    pub rung: String,
    /// Its layout.
    pub format: Format,
    /// Where it is: a path or an address.
    pub location: String,
    /// It was there before, and is what these segments make.
    pub found: bool,
    /// Its bytes.
    pub bytes: u64,
    /// How long its longer track is shown.
    pub duration: MediaTime,
    /// Segments that it was made of.
    pub segments: u32,
    /// Pictures.
    pub pictures: u64,
    /// AAC packets that are heard; the priming packet is one more.
    pub audio_packets: u64,
    /// Pictures between decoding and showing: what the video's edit list skips.
    pub reordering_delay: u32,
    /// Samples that the audio's edit list skips; 0 where it is fragmented.
    pub priming: u32,
}

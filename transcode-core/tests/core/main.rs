//! Tests of the library against real files and the real GStreamer.
//!
//! Media come from the repository, from the folder that `scripts/media` fills, and from `ffmpeg`,
//! which makes odd ones into a folder that goes away with the test.
#![allow(clippy::unwrap_used)]

mod probe;
mod support;

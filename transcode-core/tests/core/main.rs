//! Tests of the library through its public face, in one binary.
//!
//! Media come from the repository, from the folder that `scripts/media` fills, and from `ffmpeg`,
//! which makes odd ones into a folder that goes away with the test.
#![allow(clippy::unwrap_used)]

mod chunks;
mod muxed;
mod package;
mod plan;
mod plan_rules;
mod plans;
mod playlist;
mod power;
mod probe;
mod run;
mod segment;
mod support;

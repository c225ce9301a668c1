//! Tests of the library through its public face, in one binary.
#![allow(clippy::unwrap_used)]

mod muxed;
mod plans;
mod playlist;
mod run;
mod segment;

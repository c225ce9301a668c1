//! The `transcode` command from outside: its exit codes, its output, its processes.
//!
//! Every command is run under a time-out that kills it, so that a hang is a failure with its output
//! rather than a test run that never ends.

#![forbid(unsafe_code)]
#![allow(missing_docs, clippy::unwrap_used)]

mod bad_input;
mod bad_store;
mod board_faults;
mod chunks;
mod commands;
mod containers;
mod destination;
mod doctor;
mod fallback;
mod full_disk;
mod interruption;
mod json;
mod package;
mod play;
mod process;
mod sandbox;
mod split;
mod support;

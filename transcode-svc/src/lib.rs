//! The service around `transcode-core`: stores, the child process, the command line.

#![forbid(unsafe_code)]

pub mod child;
pub mod cli;
pub mod config;
pub mod store;

//! The service around `transcode-core`: configuration, stores, the child process, the engine, the command line.
#![forbid(unsafe_code)]

pub mod child;
pub mod cli;
pub mod config;
pub mod engine;
pub mod job;
pub mod machine;
pub mod store;

//! The service around `transcode-core`: configuration and stores.
#![forbid(unsafe_code)]

pub mod config;
pub mod store;

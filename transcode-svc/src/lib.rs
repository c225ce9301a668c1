//! The service around `transcode-core`: configuration, stores, the child process, the engine, the command line.
#![forbid(unsafe_code)]

#[cfg(feature = "redis")]
pub mod broker;
pub mod child;
pub mod cli;
pub mod config;
pub mod database;
pub mod dispatch;
pub mod engine;
pub mod events;
pub mod guard;
pub mod http;
pub mod job;
pub mod ledger;
pub mod machine;
pub mod metrics;
pub mod queue;
pub mod service;
pub mod store;
pub mod time;
pub mod webhook;
mod words;
pub mod worker;

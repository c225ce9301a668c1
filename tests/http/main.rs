//! The HTTP API: a real server on loopback, asked as its clients ask it, with a small client that can also
//! break off.
#![allow(clippy::unwrap_used)]

mod access;
#[path = "../support/browser.rs"]
mod browser;
mod client;
mod contract;
mod described;
mod events;
mod jobs;
mod pages;
mod play;
#[path = "../support/redis.rs"]
mod redis_server;
mod s3;
mod server;
#[path = "../support/servers.rs"]
mod servers;
mod uploads;

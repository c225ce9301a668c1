//! Engines: what runs a plan's chunks.
//!
//! Owns the one that uses this machine's processes ([`Local`]) and how many of them side by side are
//! worth it (`jobs`). Knows plans and children; neither profiles nor terminals, and it writes no
//! playlist: what is made is told, and whoever holds the job publishes it.

mod fallback;
mod jobs;
mod local;

pub(crate) use jobs::bytes;
pub use jobs::{Machine, divided, jobs};
pub use local::{Local, Told};

//! This machine: what it has, what it is allowed, and what was found out about its platforms.
//!
//! Owns the reading of devices and control groups, the trials of platforms ([`trials`]), and the file
//! that remembers them ([`Keeper`]). Knows children and the core's trial; no command line, no terminal.

mod cgroup;
mod devices;
mod health;
mod memory;
pub mod trials;

pub use cgroup::Cgroup;
pub use devices::Devices;
pub use health::{ASIDE, FAILURES, Health, WINDOW};
pub use memory::{Keeper, Key, Memory, Pair, Verdict, digest};

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

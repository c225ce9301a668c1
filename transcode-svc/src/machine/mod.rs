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

/// Bytes of memory that this process and its children may use together: what the machine has, or what its control
/// group is given. `None` where neither is told.
pub fn memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let all = line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1_024)?;
    Some(Cgroup::here().memory_limit().map_or(all, |limit| limit.min(all)))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_machine_has_memory() {
        assert!(super::memory().is_some_and(|bytes| bytes > 64 << 20));
    }
}

//! A platform that fails again and again is set aside for a while, and then tried again.
//!
//! Pure: the time is handed in, as seconds since 1970, because what is remembered outlives the process.

use serde::{Deserialize, Serialize};

/// So many failures …
pub const FAILURES: usize = 3;

/// … within so many seconds set a platform aside …
pub const WINDOW: u64 = 3_600;

/// … for so long.
pub const ASIDE: u64 = 900;

/// What is remembered of a platform's failures in mid-job.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Health {
    /// When it failed, newest last; none older than the window.
    pub failures: Vec<u64>,
    /// Until when it is not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aside_until: Option<u64>,
}

impl Health {
    /// It failed, now.
    pub fn failed(&mut self, now: u64) {
        // A clock that was set back leaves times that have not come yet.
        self.failures.retain(|at| *at <= now && now - at < WINDOW);
        self.failures.push(now);
        if self.failures.len() >= FAILURES {
            self.aside_until = Some(now + ASIDE);
        }
    }

    /// For how many seconds it is still set aside.
    pub fn aside(&self, now: u64) -> Option<u64> {
        let left = self.aside_until?.checked_sub(now)?;
        (1..=ASIDE).contains(&left).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: u64 = 1_700_000_000;

    fn failed(at: &[u64]) -> Health {
        let mut health = Health::default();
        at.iter().for_each(|at| health.failed(NOON + at));
        health
    }

    #[test]
    fn three_failures_in_an_hour_set_a_platform_aside_for_a_quarter_of_one() {
        assert_eq!(failed(&[0, 10]).aside(NOON + 11), None);
        let health = failed(&[0, 10, 20]);
        assert_eq!(health.aside(NOON + 20), Some(ASIDE));
        assert_eq!(health.aside(NOON + 20 + ASIDE - 1), Some(1));
        assert_eq!(health.aside(NOON + 20 + ASIDE), None, "it is tried again");
    }

    #[test]
    fn failures_that_lie_far_apart_do_not_count_together() {
        assert_eq!(failed(&[0, WINDOW, 2 * WINDOW]).aside(NOON + 2 * WINDOW), None);
        assert_eq!(failed(&[0, 1, WINDOW - 1]).aside(NOON + WINDOW), Some(ASIDE - 1));
    }

    #[test]
    fn one_that_fails_when_tried_again_goes_aside_at_once() {
        let health = failed(&[0, 10, 20, 20 + ASIDE]);
        assert_eq!(health.aside(NOON + 21 + ASIDE), Some(ASIDE - 1));
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_set_aside_for_years() {
        let health = failed(&[1_000_000, 1_000_001, 1_000_002]);
        assert_eq!(health.aside(NOON), None);
        let mut health = health;
        health.failed(NOON);
        assert_eq!(health.failures, [NOON]);
    }
}

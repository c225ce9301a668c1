//! How a worker is told to go: politely, with a time until it must be gone, and at last at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use transcode_core::Cancel;

/// Tells the workers of this process to go. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    asked: Cancel,
    now: Cancel,
    by: Arc<Mutex<Option<Instant>>>,
}

impl Stop {
    /// Nobody wants anything yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Take no more jobs, and be done or hand over within `grace`.
    pub fn within(&self, grace: Duration) {
        self.by.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(Instant::now() + grace);
        self.asked.cancel();
    }

    /// Hand over what is in work.
    pub fn now(&self) {
        self.within(Duration::ZERO);
        self.now.cancel();
    }

    /// Set when no more jobs shall be taken.
    pub fn asked(&self) -> &Cancel {
        &self.asked
    }

    /// Set when work shall stop.
    pub fn at_once(&self) -> &Cancel {
        &self.now
    }

    /// How long a job may still go on; `None`: as long as it takes.
    pub fn left(&self) -> Option<Duration> {
        let by = *self.by.lock().unwrap_or_else(PoisonError::into_inner);
        by.map(|by| by.saturating_duration_since(Instant::now()))
    }
}

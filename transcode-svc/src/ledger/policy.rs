//! What happens after a failure, and when: figures and one pure function.

use crate::time::Timestamp;
use std::time::Duration;
use transcode_core::ErrorKind;

/// A job that stands in no queue for so long was forgotten: putting it there takes a second.
pub(super) const STRANDED: Duration = Duration::from_secs(60);

/// How often and when a job, or a webhook, is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// So many failures that may pass make a job dead (`MAX_RETRIES` of the SQS workers).
    pub failures: usize,
    /// So many workers that died on it make a job dead, too.
    pub deaths: usize,
    /// How long to wait after the store's first, second, … failure; the last one stands for all that follow.
    /// Within an attempt a store has been tried for a minute already.
    pub store: Vec<Duration>,
    /// The same for a machine's failures: another machine may do at once what this one cannot.
    pub machine: Vec<Duration>,
    /// For so long the worker that failed by its machine's fault leaves the job to others.
    pub elsewhere: Duration,
    /// When a webhook is tried again after its first, second, … failure; after the last it is given up.
    pub webhook: Vec<Duration>,
}

impl Default for Policy {
    fn default() -> Self {
        let seconds = |list: &[u64]| list.iter().copied().map(Duration::from_secs).collect();
        const HOUR: u64 = 3_600;
        Self {
            failures: 3,
            deaths: 3,
            store: seconds(&[30, 300]),
            machine: seconds(&[5, 60]),
            elsewhere: Duration::from_secs(120),
            // The schedule that Standard Webhooks recommends: ten tries in 75 hours.
            webhook: seconds(&[
                5,
                300,
                HOUR / 2,
                2 * HOUR,
                5 * HOUR,
                10 * HOUR,
                14 * HOUR,
                20 * HOUR,
                24 * HOUR,
            ]),
        }
    }
}

/// What happens next to a job that went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Nothing: it failed, and whoever sent it has to act.
    Failed,
    /// It is tried again.
    Again {
        /// Not before.
        at: Timestamp,
    },
    /// Nothing: it was tried often enough, and a person has to look.
    Dead,
    /// Nothing: somebody had cancelled it.
    Cancelled,
}

impl Policy {
    /// How long to wait after failure number `count` (from 1) of that kind; `None`: it is not tried again.
    pub(super) fn wait(&self, kind: ErrorKind, count: usize) -> Option<Duration> {
        let list = match kind {
            ErrorKind::Usage | ErrorKind::Input => return None,
            ErrorKind::Interrupted => return Some(Duration::ZERO),
            ErrorKind::Store => &self.store,
            _ => &self.machine,
        };
        Some(list.get(count.saturating_sub(1)).or(list.last()).copied().unwrap_or_default())
    }
}

//! What happens in this process, for whoever watches: jobs, segments, lines of the log.
//!
//! Owns the channel between workers and those who show; nothing waits for a slow watcher, who is told how much
//! was missed. What other processes do is known from the ledger.

use crate::job::JobId;
use crate::ledger::{Progress, State};
use crate::time::Timestamp;
use serde::Serialize;
use tokio::sync::broadcast;

/// Events that a slow watcher may be behind before some are left out.
const BEHIND: usize = 1024;

/// Something happened to a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JobEvent {
    /// The job.
    pub job: JobId,
    /// When, by this machine's clock.
    pub at: Timestamp,
    /// Under which lease; 0 without one.
    pub epoch: u64,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What happened. JSON: `{"event": "segment", …}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum What {
    /// It has another state.
    State {
        /// Which.
        state: State,
        /// Why, where it ended without an output.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// It is so far.
    Progress(Progress),
    /// A segment is stored and named in its playlist.
    Segment {
        /// The rung.
        rung: String,
        /// Its number.
        index: u32,
        /// Below the destination.
        key: String,
        /// Its size.
        bytes: u64,
    },
    /// A platform has failed, and another goes on.
    Fallback {
        /// The one that failed.
        from: String,
        /// The one that goes on.
        to: String,
        /// Why.
        why: String,
    },
    /// A line that a person should read.
    Log {
        /// `info`, `warn` or `error`.
        level: &'static str,
        /// The line.
        text: String,
    },
}

/// Where events come together. Clones share it.
#[derive(Debug, Clone)]
pub struct Hub {
    sender: broadcast::Sender<JobEvent>,
}

impl Default for Hub {
    fn default() -> Self {
        Self { sender: broadcast::channel(BEHIND).0 }
    }
}

impl Hub {
    /// Tell whoever watches; nobody may.
    pub fn tell(&self, event: JobEvent) {
        let _nobody_watches = self.sender.send(event);
    }

    /// Everything from now on.
    pub fn watch(&self) -> broadcast::Receiver<JobEvent> {
        self.sender.subscribe()
    }
}

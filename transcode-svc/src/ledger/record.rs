//! The record of a job: plain data, stored as JSON.

use super::Due;
use super::policy::STRANDED;
use super::progress::Progress;
use crate::job::{Job, JobId, Output, Priority};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use transcode_core::ErrorKind;

/// All that is known of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The job's name.
    pub id: JobId,
    /// What was asked for.
    pub job: Job,
    /// Where it stands.
    pub state: State,
    /// When it was taken in.
    pub created: Timestamp,
    /// When its record last changed.
    pub updated: Timestamp,
    /// Whether it was put into a queue.
    pub announced: bool,
    /// The number of leases granted so far; the latest one's epoch.
    pub epoch: u64,
    /// Who has it, while somebody has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Holder>,
    /// Leases that ended with the job, with a failure or with a death; a hand-over is none.
    pub attempts: u32,
    /// What went wrong, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<Failure>,
    /// How many of `failures` do not count any more, since somebody asked to try again.
    #[serde(default)]
    pub forgiven: usize,
    /// Its priority was changed while it waited: messages of other lines do not count until it was taken from
    /// this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<Priority>,
    /// Nobody gets it before that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// This worker failed on it and does not get it before that: it shall be tried elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avoid: Option<(String, Timestamp)>,
    /// How far the work is, in per cent.
    #[serde(default)]
    pub percent: u8,
    /// What its worker said of it last; absent before the first renewal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// What came out, when it is complete.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<Output>,
    /// Why there is none, when it failed, is dead or was cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Somebody wants it stopped.
    #[serde(default)]
    pub cancel: bool,
    /// Who is told what, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outbox: Vec<Notice>,
}

/// Where a job stands. `Display` and JSON: lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Waits for a worker.
    Queued,
    /// A worker has it, or had it and died.
    Processing,
    /// Verified; its last playlists are being published.
    Committing,
    /// Done.
    Complete,
    /// Cannot be done: the input's or the request's fault.
    Failed,
    /// Was tried too often, or killed too many workers; a person has to look.
    Dead,
    /// Somebody stopped it.
    Cancelled,
}

impl State {
    /// Whether nothing more happens by itself.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Complete | Self::Failed | Self::Dead | Self::Cancelled)
    }

    /// As JSON has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Processing => "processing",
            Self::Committing => "committing",
            Self::Complete => "complete",
            Self::Failed => "failed",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
        }
    }

    /// One of the four states that the Redis workers' readers know.
    pub const fn contract(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Processing | Self::Committing => "processing",
            Self::Complete => "complete",
            Self::Failed | Self::Dead | Self::Cancelled => "failed",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Who has a job, and how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The worker.
    pub worker: String,
    /// Since then.
    #[serde(default)]
    pub since: Timestamp,
    /// Until then.
    pub until: Timestamp,
}

/// Something that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Under which lease.
    pub epoch: u64,
    /// Whose.
    pub worker: String,
    /// When it was known.
    pub at: Timestamp,
    /// What kind of thing.
    pub cause: FailureCause,
    /// In words.
    pub reason: String,
}

/// What kind of thing went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureCause {
    /// The worker said so.
    Error(ErrorKind),
    /// The worker said nothing more until its lease ran out.
    Died,
}

/// One message of the outbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// The `webhook-id`: the same for every try.
    pub id: String,
    /// Where it goes.
    pub url: String,
    /// What it says: JSON.
    pub body: String,
    /// How often it was sent.
    pub tries: u32,
    /// What the last try brought that was not taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
    /// Whether it still has to be sent.
    pub state: NoticeState,
}

/// Whether a notice still has to be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoticeState {
    /// It has, at that time; or somebody is sending it, until that time.
    Due(Timestamp),
    /// It was taken.
    Delivered(Timestamp),
    /// Nobody takes it; why.
    GivenUp(String),
}

impl Record {
    /// The record of a new job.
    pub(super) fn new(id: JobId, job: Job, now: Timestamp, announced: bool) -> Self {
        Self {
            id,
            job,
            state: State::Queued,
            created: now,
            updated: now,
            announced,
            epoch: 0,
            lease: None,
            attempts: 0,
            failures: Vec::new(),
            forgiven: 0,
            line: None,
            not_before: None,
            avoid: None,
            percent: 0,
            progress: None,
            outputs: Vec::new(),
            error: None,
            cancel: false,
            outbox: Vec::new(),
        }
    }

    /// When it needs `what` without being asked; `None`: it does not.
    pub fn due(&self, what: Due) -> Option<Timestamp> {
        match what {
            Due::Queue => (!self.announced && self.state == State::Queued).then(|| self.updated + STRANDED),
            // Only the first: they go out in order.
            Due::Webhook => self.outbox.iter().find_map(|notice| match notice.state {
                NoticeState::Due(at) => Some(at),
                _ => None,
            }),
        }
    }
}

impl Job {
    /// The field by which another job of the same name is not this one.
    pub(super) fn difference(&self, other: &Self) -> Option<&'static str> {
        if self.sources != other.sources {
            Some("source")
        } else if self.destination != other.destination {
            Some("destination")
        } else if self.clip != other.clip {
            Some("clip")
        } else {
            None
        }
    }
}

//! What a ledger says when it does not do what was asked.

use super::State;
use crate::job::JobId;

/// The ledger did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// It cannot be reached, or refuses. Trying again later is right.
    #[error("the ledger {ledger} failed to {what}")]
    Failed {
        /// Which ledger, without credentials.
        ledger: String,
        /// What was asked.
        what: &'static str,
        /// What it said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What is stored cannot be read: somebody else wrote it, or a newer program.
    #[error("the record of job {job} cannot be read: {reason}")]
    Unreadable {
        /// The job.
        job: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The lease is not good any more: its time ran out, or another has one. Nothing was written; the
    /// work must stop.
    #[error("the lease on job {job} with epoch {epoch} is lost: {reason}")]
    Lost {
        /// The job.
        job: JobId,
        /// The epoch that was used.
        epoch: u64,
        /// What is true instead.
        reason: String,
    },
    /// A job of that name is there already, and it is another one.
    #[error("a job {job} is there already with another {field}: a job's name is used once")]
    Taken {
        /// The name.
        job: JobId,
        /// What differs.
        field: &'static str,
    },
    /// The state does not allow it.
    #[error("job {job} is {state}: it cannot {what}")]
    State {
        /// The job.
        job: JobId,
        /// Its state.
        state: State,
        /// What was asked.
        what: &'static str,
    },
    /// There is no such job.
    #[error("there is no job {job}")]
    Unknown {
        /// Its name.
        job: JobId,
    },
    /// The job has no such webhook.
    #[error("job {job} has no webhook {notice}")]
    NoNotice {
        /// The job.
        job: JobId,
        /// The `webhook-id` that was asked for.
        notice: String,
    },
    /// Others wrote the record again and again in between.
    #[error("the record of job {job} changes too often to be written")]
    Contended {
        /// The job.
        job: JobId,
    },
}

//! Every change that a record can undergo: pure, from a record and a time to the next record.
//!
//! The one place for the rules; no implementation has any of its own. A change that is refused leaves
//! the record as it was.

use super::policy::{Next, Policy};
use super::progress::Progress;
use super::record::{Failure, FailureCause, Holder, Record, State};
use super::{Cancelling, Lease, LedgerError};
use crate::job::{Output, Priority};
use crate::time::Timestamp;
use std::time::Duration;
use transcode_core::ErrorKind;

/// What came of asking for a lease.
pub(super) enum Granted {
    Yes(Box<Record>),
    Busy(Timestamp),
    Later(Timestamp),
    Over(State),
}

impl Record {
    pub(super) fn grant(
        &mut self,
        worker: &str,
        length: Duration,
        now: Timestamp,
        policy: &Policy,
    ) -> Granted {
        if let Some(holder) = &self.lease {
            if holder.until > now {
                return Granted::Busy(holder.until);
            }
            self.bury_worker(now, policy);
        }
        if self.state.is_final() {
            return Granted::Over(self.state);
        }
        let avoided = self.avoid.as_ref().filter(|(avoided, _)| avoided == worker).map(|(_, until)| *until);
        if let Some(at) = self.not_before.max(avoided).filter(|at| *at > now) {
            return Granted::Later(at);
        }
        self.epoch += 1;
        self.lease = Some(Holder { worker: worker.to_owned(), since: now, until: now + length });
        self.announced = true;
        self.not_before = None;
        self.line = None;
        if self.state == State::Queued {
            self.state = State::Processing;
        }
        self.updated = now;
        Granted::Yes(Box::new(self.clone()))
    }

    /// The lease ran out without a word: its worker counts as dead.
    fn bury_worker(&mut self, now: Timestamp, policy: &Policy) {
        let stage = self.state;
        let doing = self.progress.as_ref().map(|progress| format!(" ({})", progress.stage.name()));
        let reason = format!(
            "the lease ran out while the job was {stage}{}, at {} %",
            doing.unwrap_or_default(),
            self.percent
        );
        self.record_failure(FailureCause::Died, &reason, now);
        if self.cancel && self.state != State::Committing {
            self.end(State::Cancelled, Some("it was cancelled".to_owned()), now);
            return;
        }
        let deaths = self.counted(|cause| cause == FailureCause::Died);
        if deaths >= policy.deaths {
            self.end(
                State::Dead,
                Some(format!("{deaths} workers died on it: {}", self.what_was_seen())),
                now,
            );
        }
    }

    /// Whether `lease` may write.
    pub(super) fn hold(&self, lease: &Lease, now: Timestamp) -> Result<(), LedgerError> {
        let lost = |reason: String| LedgerError::Lost { job: self.id.clone(), epoch: lease.epoch, reason };
        if self.epoch != lease.epoch {
            return Err(lost(format!("the epoch is {} now", self.epoch)));
        }
        match &self.lease {
            Some(holder) if holder.until > now => Ok(()),
            Some(holder) => Err(lost(format!("it ended at {}", holder.until))),
            None => Err(lost(format!("it was given up; the job is {}", self.state))),
        }
    }

    pub(super) fn held_by(&self, worker: &str) -> bool {
        self.lease.as_ref().is_some_and(|holder| holder.worker == worker)
    }

    /// Whether that worker had a lease that was still good.
    pub(super) fn end_lease_of(&mut self, worker: &str, now: Timestamp) -> bool {
        let Some(holder) = self.lease.as_mut().filter(|holder| holder.worker == worker && holder.until > now)
        else {
            return false;
        };
        holder.until = now;
        self.updated = now;
        true
    }

    pub(super) fn renew(
        &mut self,
        length: Duration,
        progress: &Progress,
        now: Timestamp,
    ) -> (Timestamp, bool) {
        let until = now + length;
        if let Some(holder) = &mut self.lease {
            holder.until = until;
        }
        self.percent = progress.percent.min(100);
        self.progress = Some(progress.clone());
        self.updated = now;
        (until, self.cancel && self.state == State::Processing)
    }

    pub(super) fn begin_commit(&mut self, now: Timestamp) -> Result<(), LedgerError> {
        if self.cancel && self.state == State::Processing {
            let what = "be published: it was cancelled";
            return Err(LedgerError::State { job: self.id.clone(), state: self.state, what });
        }
        self.state = State::Committing;
        self.updated = now;
        Ok(())
    }

    pub(super) fn complete(&mut self, outputs: &[Output], now: Timestamp) -> Result<(), LedgerError> {
        if self.state != State::Committing {
            let what = "be complete before its commit has begun";
            return Err(LedgerError::State { job: self.id.clone(), state: self.state, what });
        }
        self.attempts += 1;
        self.percent = 100;
        self.outputs = outputs.to_vec();
        self.end(State::Complete, None, now);
        Ok(())
    }

    pub(super) fn fail(&mut self, kind: ErrorKind, reason: &str, now: Timestamp, policy: &Policy) -> Next {
        let worker = self.lease.as_ref().map(|holder| holder.worker.clone()).unwrap_or_default();
        if kind != ErrorKind::Interrupted {
            self.record_failure(FailureCause::Error(kind), reason, now);
        }
        let committing = self.state == State::Committing;
        if self.cancel && !committing {
            self.end(State::Cancelled, Some("it was cancelled".to_owned()), now);
            return Next::Cancelled;
        }
        let count = self.counted(|cause| cause != FailureCause::Died);
        let Some(wait) = policy.wait(kind, count) else {
            self.end(State::Failed, Some(reason.to_owned()), now);
            return Next::Failed;
        };
        if kind != ErrorKind::Interrupted && count >= policy.failures {
            self.end(State::Dead, Some(format!("it failed {count} times: {}", self.what_was_seen())), now);
            return Next::Dead;
        }
        let at = now + wait;
        self.lease = None;
        self.not_before = (!wait.is_zero()).then_some(at);
        let elsewhere = !matches!(kind, ErrorKind::Interrupted | ErrorKind::Store);
        self.avoid = elsewhere.then(|| (worker, now + policy.elsewhere));
        if !committing {
            self.state = State::Queued;
        }
        self.updated = now;
        Next::Again { at }
    }

    pub(super) fn cancel(&mut self, now: Timestamp) -> Cancelling {
        if self.state.is_final() || self.state == State::Committing {
            return Cancelling::TooLate;
        }
        if self.lease.as_ref().is_some_and(|holder| holder.until > now) {
            if !self.cancel {
                self.cancel = true;
                self.updated = now;
            }
            return Cancelling::Asked;
        }
        self.end(State::Cancelled, Some("it was cancelled".to_owned()), now);
        Cancelling::Done
    }

    /// Let it wait in another line; gives back the one before.
    pub(super) fn set_priority(
        &mut self,
        priority: Priority,
        now: Timestamp,
    ) -> Result<Priority, LedgerError> {
        if self.state != State::Queued {
            let what = "change its line: only what waits can";
            return Err(LedgerError::State { job: self.id.clone(), state: self.state, what });
        }
        let before = std::mem::replace(&mut self.job.priority, priority);
        if before != priority {
            self.line = Some(priority);
            self.updated = now;
        }
        Ok(before)
    }

    /// A final state, and the message about it.
    fn end(&mut self, state: State, error: Option<String>, now: Timestamp) {
        self.state = state;
        self.error = error;
        self.lease = None;
        self.not_before = None;
        self.avoid = None;
        self.updated = now;
        self.tell(now);
    }

    fn record_failure(&mut self, cause: FailureCause, reason: &str, now: Timestamp) {
        let worker = self.lease.take().map(|holder| holder.worker).unwrap_or_default();
        self.attempts += 1;
        self.failures.push(Failure { epoch: self.epoch, worker, at: now, cause, reason: reason.to_owned() });
    }

    fn counted(&self, which: impl Fn(FailureCause) -> bool) -> usize {
        self.failures.iter().skip(self.forgiven).filter(|failure| which(failure.cause)).count()
    }

    /// What each worker saw, for whoever has to look.
    fn what_was_seen(&self) -> String {
        let seen = self.failures.iter().skip(self.forgiven);
        let seen =
            seen.map(|failure| format!("{} (epoch {}): {}", failure.worker, failure.epoch, failure.reason));
        seen.collect::<Vec<_>>().join("; ")
    }
}

pub(super) fn retry(record: &mut Record, now: Timestamp) -> Result<(), LedgerError> {
    if !matches!(record.state, State::Failed | State::Dead | State::Cancelled) {
        let what = "be tried again: only what failed, is dead or was cancelled can";
        return Err(LedgerError::State { job: record.id.clone(), state: record.state, what });
    }
    record.state = State::Queued;
    record.forgiven = record.failures.len();
    record.error = None;
    record.cancel = false;
    record.announced = false;
    record.percent = 0;
    record.progress = None;
    record.updated = now;
    Ok(())
}

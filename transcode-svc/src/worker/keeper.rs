//! Keeps the lease of one job while it is made, and ends the work when it cannot be kept.
//!
//! Owns the renewals and the reasons for which work is stopped early: the lease is lost, its time runs out by
//! this machine's monotonic clock, somebody cancelled the job, the worker has to go.

use super::fence::Fence;
use super::report::Report;
use super::{Kit, Stop, Tag};
use crate::dispatch::{DispatchError, Work};
use crate::ledger::LedgerError;
use crate::words::chain;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use transcode_core::{Cancel, Error};

/// How often it is looked whether something has to happen.
const TICK: Duration = Duration::from_millis(100);

/// Whether the work was stopped early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended {
    /// Nobody stopped it, or the worker goes.
    ByItself,
    /// Somebody cancelled the job.
    Cancelled,
    /// Another may have it: nothing may be written any more.
    Lost(String),
}

/// Keeps one lease.
pub(super) struct Keeper<'a> {
    kit: &'a Kit,
    tag: &'a Tag,
    work: Mutex<Work>,
    fence: Arc<Fence>,
    /// Stops the making.
    cancel: Cancel,
    ended: Mutex<Ended>,
    length: Duration,
}

impl<'a> Keeper<'a> {
    pub(super) fn new(kit: &'a Kit, tag: &'a Tag, work: Work, fence: Arc<Fence>, cancel: Cancel) -> Self {
        let length = work.lease.length;
        let ended = Mutex::new(Ended::ByItself);
        Self { kit, tag, work: Mutex::new(work), fence, cancel, ended, length }
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first reason counts.
    fn stop(&self, why: Ended) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if *ended == Ended::ByItself {
            *ended = why;
        }
        self.cancel.cancel();
    }

    /// The work is stopped so long before the lease ends: a child that is killed takes half a second to be gone.
    fn margin(&self) -> Duration {
        (self.length / 10).clamp(Duration::from_millis(100), Duration::from_secs(3))
    }

    /// Renew until `over`; two threads, so that a ledger that does not answer cannot hold up the clock.
    pub(super) fn keep(
        &self,
        report: &Report<'_>,
        stop: &Stop,
        over: &Cancel,
        platform: &(dyn Fn(&str) + Sync),
    ) {
        std::thread::scope(|scope| {
            scope.spawn(|| self.renew_all(report, over, platform));
            while !over.sleep(TICK) {
                let left = self.fence.deadline().saturating_duration_since(Instant::now());
                if left <= self.margin() {
                    self.stop(Ended::Lost("it could not be renewed in time".to_owned()));
                    return;
                }
                if self.has_to_go(report, stop) {
                    // Not lost: it is handed over with the lease still good.
                    self.cancel.cancel();
                    return;
                }
            }
        });
    }

    /// Whether the worker has to go before the job is done: then the sooner the better.
    fn has_to_go(&self, report: &Report<'_>, stop: &Stop) -> bool {
        let Some(left) = stop.left() else { return false };
        let needed = report.progress().seconds_to_go.map(Duration::from_secs);
        left < Duration::from_secs(3) || needed.is_none_or(|needed| needed + Duration::from_secs(3) > left)
    }

    fn renew_all(&self, report: &Report<'_>, over: &Cancel, platform: &(dyn Fn(&str) + Sync)) {
        let third = self.length / 3;
        let mut pause = third;
        while !over.sleep(pause) && !self.cancel.is_cancelled() {
            let progress = report.progress();
            platform(&progress.platform);
            let renewed = {
                let mut work = self.work();
                let renewed = self.kit.dispatch.renew_with(&mut work, &progress);
                self.fence.extend(work.lease.deadline);
                renewed
            };
            pause = third;
            match renewed {
                Ok(renewed) if renewed.cancelled => self.stop(Ended::Cancelled),
                Ok(_) => {}
                Err(DispatchError::Ledger(error @ LedgerError::Lost { .. })) => {
                    self.stop(Ended::Lost(error.to_string()));
                }
                Err(error) => {
                    // It holds until its deadline; sooner than in a third.
                    self.kit.metrics.renewal_missed();
                    self.tag.warn(&format!("the lease could not be renewed: {}", chain(&error)));
                    pause = (self.length / 12).max(TICK);
                }
            }
        }
    }

    /// Ask for the right to publish.
    pub(super) fn begin_commit(&self) -> Result<(), Error> {
        let deadline = self.fence.deadline();
        let asked = super::insist(deadline, || self.kit.dispatch.begin_commit(&self.work()));
        match asked {
            Ok(()) => Ok(()),
            Err(DispatchError::Ledger(LedgerError::State { .. })) => {
                self.stop(Ended::Cancelled);
                Err(Error::Interrupted)
            }
            Err(error) => {
                self.stop(Ended::Lost(error.to_string()));
                Err(Error::Interrupted)
            }
        }
    }

    /// The work as it stands, and how it ended.
    pub(super) fn end(self) -> (Work, Ended) {
        let work = self.work.into_inner().unwrap_or_else(PoisonError::into_inner);
        (work, self.ended.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

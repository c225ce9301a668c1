//! A ledger whose answers get lost, at every single call: the same result, once.

use crate::{Bench, Kind, LEDGERS, seconds};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use transcode_svc::job::{Job, JobId};
use transcode_svc::ledger::{
    Due, Filter, Grant, Ledger, LedgerError, Policy, Record, Records, State, Stored, Version, WorkerCard,
};
use transcode_svc::time::Timestamp;

/// When the one fault comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The call is not done, and fails.
    Before,
    /// The call is done, and its answer is lost.
    After,
}

/// Records whose call number `at` goes wrong.
struct Flaky {
    inner: Arc<dyn Records>,
    at: u32,
    fault: Fault,
    calls: AtomicU32,
}

impl Flaky {
    fn call<T>(&self, call: impl FnOnce() -> Result<T, LedgerError>) -> Result<T, LedgerError> {
        let wrong = self.calls.fetch_add(1, Ordering::SeqCst) == self.at;
        let done = if wrong && self.fault == Fault::Before { None } else { Some(call()?) };
        let broken = || LedgerError::Failed { ledger: "flaky".into(), what: "answer", source: "cut".into() };
        done.filter(|_| !wrong).ok_or_else(broken)
    }
}

impl Records for Flaky {
    fn read(&self, id: &JobId) -> Result<Option<Stored>, LedgerError> {
        self.call(|| self.inner.read(id))
    }
    fn create(&self, record: &Record) -> Result<Option<Stored>, LedgerError> {
        self.call(|| self.inner.create(record))
    }
    fn replace(&self, version: &Version, record: &Record) -> Result<bool, LedgerError> {
        self.call(|| self.inner.replace(version, record))
    }
    fn list(&self, filter: &Filter) -> Result<Vec<Record>, LedgerError> {
        self.call(|| self.inner.list(filter))
    }
    fn due(&self, what: Due, now: Timestamp, limit: usize) -> Result<Vec<JobId>, LedgerError> {
        self.call(|| self.inner.due(what, now, limit))
    }
    fn put_worker(&self, card: &WorkerCard) -> Result<(), LedgerError> {
        self.call(|| self.inner.put_worker(card))
    }
    fn remove_worker(&self, name: &str) -> Result<(), LedgerError> {
        self.call(|| self.inner.remove_worker(name))
    }
    fn workers(&self) -> Result<Vec<WorkerCard>, LedgerError> {
        self.call(|| self.inner.workers())
    }
}

/// All that a worker does with a job; from the start, whatever was done before.
fn whole(ledger: &Ledger, job: &Job) -> Result<(), LedgerError> {
    let id = ledger.admit(job.clone())?.record.id;
    match ledger.grant(&id, "worker", seconds(60))? {
        Grant::Granted { mut lease, .. } => {
            ledger.renew(&mut lease, 50)?;
            ledger.begin_commit(&lease)?;
            ledger.complete(&lease, &job.outputs().unwrap())
        }
        Grant::Over { state } => {
            assert_eq!(state, State::Complete);
            Ok(())
        }
        other => panic!("{other:?}"),
    }
}

fn survives(kind: Kind, at: u32, fault: Fault) -> bool {
    let bench = Bench::new(kind);
    let job = bench.job("a");
    let flaky = Arc::new(Flaky { inner: bench.records(), at, fault, calls: AtomicU32::new(0) });
    let ledger = Ledger::new(flaky.clone(), bench.clock.clone(), Policy::default());
    if whole(&ledger, &job).is_err() {
        bench.clock.advance(seconds(61));
        whole(&ledger, &job).unwrap();
    }
    let record = bench.ledger().get(job.id.as_ref().unwrap()).unwrap().unwrap();
    assert_eq!(record.state, State::Complete, "{kind:?} {fault:?} {at}");
    assert_eq!(record.outbox.len(), 1, "{kind:?} {fault:?} {at}: one message");
    assert!(record.epoch <= 2, "{kind:?} {fault:?} {at}");
    flaky.calls.load(Ordering::SeqCst) > at
}

#[test]
fn a_lost_answer_at_any_call_leads_to_the_same_end() {
    for kind in LEDGERS {
        for fault in [Fault::Before, Fault::After] {
            let calls = (0..).take_while(|at| survives(kind, *at, fault)).count();
            assert!(calls >= 9, "{kind:?}: {calls} calls were hit");
        }
    }
}

//! Any run of calls by several workers, on every ledger, held against a model of who may do what.

use crate::{Bench, Kind, seconds};
use proptest::prelude::*;
use transcode_core::ErrorKind;
use transcode_svc::job::JobId;
use transcode_svc::ledger::{Cancelling, Filter, Grant, Lease, LedgerError, Next, State};

const JOBS: usize = 3;
const WORKERS: usize = 3;
const LEASE: u64 = 30;

#[derive(Debug, Clone)]
enum Op {
    Grant(usize, usize),
    Renew(prop::sample::Index),
    Commit(prop::sample::Index),
    Complete(prop::sample::Index),
    Fail(prop::sample::Index, ErrorKind),
    Release(prop::sample::Index),
    Cancel(usize),
    Retry(usize),
    /// The job's message is delivered once more.
    Again(usize),
    Pass(u64),
    /// Whoever has the ledger open dies, and another opens it.
    Crash,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let which = || any::<prop::sample::Index>();
    let kinds = [ErrorKind::Input, ErrorKind::Store, ErrorKind::Machine, ErrorKind::Interrupted];
    let op = prop_oneof![
        8 => (0..JOBS, 0..WORKERS).prop_map(|(job, worker)| Op::Grant(job, worker)),
        4 => which().prop_map(Op::Renew),
        4 => which().prop_map(Op::Commit),
        4 => which().prop_map(Op::Complete),
        3 => (which(), prop::sample::select(kinds.to_vec())).prop_map(|(which, kind)| Op::Fail(which, kind)),
        1 => which().prop_map(Op::Release),
        1 => (0..JOBS).prop_map(Op::Cancel),
        1 => (0..JOBS).prop_map(Op::Retry),
        1 => (0..JOBS).prop_map(Op::Again),
        5 => prop::sample::select(vec![1, 10, 29, 31, 130, 400]).prop_map(Op::Pass),
        1 => Just(Op::Crash),
    ];
    prop::collection::vec(op, 1..70)
}

/// A job as the documentation has it.
#[derive(Debug, Clone)]
struct Model {
    state: State,
    epoch: u64,
    /// The worker and when its lease ends.
    held: Option<(usize, u64)>,
    not_before: u64,
    avoid: Option<(usize, u64)>,
    deaths: usize,
    errors: usize,
    cancel: bool,
    notices: usize,
}

impl Model {
    fn new() -> Self {
        let (held, avoid) = (None, None);
        Self {
            state: State::Queued,
            epoch: 0,
            held,
            not_before: 0,
            avoid,
            deaths: 0,
            errors: 0,
            cancel: false,
            notices: 0,
        }
    }

    fn end(&mut self, state: State) {
        (self.state, self.held) = (state, None);
        self.notices += 1;
    }

    fn good(&self, epoch: u64, now: u64) -> bool {
        self.epoch == epoch && self.held.is_some_and(|(_, until)| until > now)
    }

    /// The epoch, or who stands in the way.
    fn grant(&mut self, worker: usize, now: u64) -> Result<u64, &'static str> {
        match self.held {
            Some((_, until)) if until > now => return Err("busy"),
            Some(_) => {
                self.held = None;
                self.deaths += 1;
                if self.cancel && self.state != State::Committing {
                    self.end(State::Cancelled);
                } else if self.deaths == 3 {
                    self.end(State::Dead);
                }
            }
            None => {}
        }
        if self.state.is_final() {
            return Err("over");
        }
        if self.not_before > now
            || self.avoid.is_some_and(|(avoided, until)| avoided == worker && until > now)
        {
            return Err("later");
        }
        self.epoch += 1;
        self.held = Some((worker, now + LEASE));
        if self.state == State::Queued {
            self.state = State::Processing;
        }
        Ok(self.epoch)
    }

    fn fail(&mut self, kind: ErrorKind, now: u64) -> &'static str {
        let (worker, _) = self.held.take().expect("a good lease");
        self.errors += usize::from(kind != ErrorKind::Interrupted);
        if self.cancel && self.state != State::Committing {
            self.end(State::Cancelled);
            return "cancelled";
        }
        if kind == ErrorKind::Input {
            self.end(State::Failed);
            return "failed";
        }
        if kind != ErrorKind::Interrupted && self.errors >= 3 {
            self.end(State::Dead);
            return "dead";
        }
        self.not_before = now
            + match (kind, self.errors) {
                (ErrorKind::Store, 1) => 30,
                (ErrorKind::Store, _) => 300,
                (ErrorKind::Machine, 1) => 5,
                (ErrorKind::Machine, _) => 60,
                _ => 0,
            };
        self.avoid = (kind == ErrorKind::Machine).then_some((worker, now + 120));
        if self.state == State::Processing {
            self.state = State::Queued;
        }
        "again"
    }
}

fn lost<T>(done: &Result<T, LedgerError>) -> bool {
    matches!(done, Err(LedgerError::Lost { .. }))
}

fn same(kind: Kind, ops: &[Op]) -> Result<(), TestCaseError> {
    let bench = Bench::new(kind);
    let mut ledger = bench.ledger();
    let jobs: Vec<_> = (0..JOBS).map(|n| bench.job(&format!("job{n}"))).collect();
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id.clone().unwrap()).collect();
    for job in &jobs {
        prop_assert!(ledger.submit(job.clone()).unwrap().fresh);
    }
    let mut models = vec![Model::new(); JOBS];
    let mut leases: Vec<(usize, Lease)> = Vec::new();
    let mut now = 0;
    for op in ops {
        let chosen = |which: &prop::sample::Index| (!leases.is_empty()).then(|| which.index(leases.len()));
        match op {
            Op::Grant(job, worker) => {
                let granted = ledger.grant(&ids[*job], &format!("worker {worker}"), seconds(LEASE)).unwrap();
                let expected = models[*job].grant(*worker, now);
                let found = match &granted {
                    Grant::Granted { lease, .. } => Ok(lease.epoch),
                    Grant::Busy { .. } => Err("busy"),
                    Grant::Later { .. } => Err("later"),
                    Grant::Over { .. } => Err("over"),
                    Grant::Unknown => Err("unknown"),
                };
                prop_assert_eq!(found, expected);
                if let Grant::Granted { lease, .. } = granted {
                    leases.push((*job, lease));
                }
            }
            Op::Renew(which) => {
                let Some(at) = chosen(which) else { continue };
                let (job, lease) = &mut leases[at];
                let model = &mut models[*job];
                let good = model.good(lease.epoch, now);
                let done = ledger.renew(lease, 50);
                prop_assert_eq!(lost(&done), !good, "{:?}", done);
                if good {
                    model.held = model.held.map(|(worker, _)| (worker, now + LEASE));
                    prop_assert_eq!(
                        done.unwrap().cancelled,
                        model.cancel && model.state == State::Processing
                    );
                }
            }
            Op::Commit(which) => {
                let Some(at) = chosen(which) else { continue };
                let (job, lease) = &leases[at];
                let model = &mut models[*job];
                let good = model.good(lease.epoch, now);
                let refused = model.cancel && model.state == State::Processing;
                let done = ledger.begin_commit(lease);
                prop_assert_eq!(lost(&done), !good, "{:?}", done);
                prop_assert_eq!(done.is_ok(), good && !refused);
                if done.is_ok() {
                    model.state = State::Committing;
                }
            }
            Op::Complete(which) => {
                let Some(at) = chosen(which) else { continue };
                let (job, lease) = &leases[at];
                let model = &mut models[*job];
                let outputs = jobs[*job].outputs().unwrap();
                let done = ledger.complete(lease, &outputs);
                if model.state == State::Complete && model.epoch == lease.epoch {
                    prop_assert!(done.is_ok(), "saying it twice is fine: {:?}", done);
                } else {
                    let good = model.good(lease.epoch, now);
                    prop_assert_eq!(lost(&done), !good, "{:?}", done);
                    prop_assert_eq!(done.is_ok(), good && model.state == State::Committing);
                    if done.is_ok() {
                        model.end(State::Complete);
                    }
                }
            }
            Op::Fail(which, kind) => {
                let Some(at) = chosen(which) else { continue };
                let (job, lease) = &leases[at];
                let model = &mut models[*job];
                let done = ledger.fail(lease, *kind, "it broke");
                prop_assert_eq!(lost(&done), !model.good(lease.epoch, now), "{:?}", done);
                if let Ok(next) = done {
                    let found = match next {
                        Next::Failed => "failed",
                        Next::Again { .. } => "again",
                        Next::Dead => "dead",
                        Next::Cancelled => "cancelled",
                    };
                    prop_assert_eq!(found, model.fail(*kind, now));
                }
            }
            Op::Release(which) => {
                let Some(at) = chosen(which) else { continue };
                let (job, lease) = &leases[at];
                let good = models[*job].good(lease.epoch, now);
                prop_assert_eq!(lost(&ledger.release(lease)), !good);
                if good {
                    models[*job].fail(ErrorKind::Interrupted, now);
                }
            }
            Op::Cancel(job) => {
                let model = &mut models[*job];
                let expected = if model.state.is_final() || model.state == State::Committing {
                    Cancelling::TooLate
                } else if model.held.is_some_and(|(_, until)| until > now) {
                    model.cancel = true;
                    Cancelling::Asked
                } else {
                    model.end(State::Cancelled);
                    Cancelling::Done
                };
                prop_assert_eq!(ledger.cancel(&ids[*job]).unwrap(), expected);
            }
            Op::Retry(job) => {
                let model = &mut models[*job];
                let may = matches!(model.state, State::Failed | State::Dead | State::Cancelled);
                prop_assert_eq!(ledger.retry(&ids[*job]).is_ok(), may);
                if may {
                    (model.state, model.cancel, model.avoid, model.not_before) =
                        (State::Queued, false, None, 0);
                    (model.deaths, model.errors) = (0, 0);
                }
            }
            Op::Again(job) => prop_assert!(!ledger.admit(jobs[*job].clone()).unwrap().fresh),
            Op::Pass(time) => {
                now += time;
                bench.clock.advance(seconds(*time));
            }
            Op::Crash => ledger = bench.ledger(),
        }
        for (model, id) in models.iter().zip(&ids) {
            let record = ledger.get(id).unwrap().expect("no job is lost");
            prop_assert_eq!((record.state, record.epoch), (model.state, model.epoch), "{:?}", op);
            prop_assert_eq!(record.outbox.len(), model.notices, "one message for each end: {:?}", op);
            prop_assert_eq!(record.outputs.is_empty(), model.state != State::Complete);
        }
    }
    let all = ledger.list(&Filter { limit: 1_000_000, ..Filter::default() }).unwrap();
    for (model, id) in models.iter().zip(&ids) {
        let listed: Vec<_> = all.iter().filter(|record| record.id == *id).collect();
        prop_assert_eq!(listed.len(), 1);
        prop_assert_eq!(listed[0].state, model.state);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_ledger_does_what_the_model_does(ops in ops()) {
        for kind in [Kind::Sqlite, Kind::Redis] {
            same(kind, &ops)?;
        }
    }
}

proptest! {
    // A run takes a second there.
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn a_ledger_of_objects_does_what_the_model_does(ops in ops()) {
        same(Kind::Minio, &ops)?;
    }
}

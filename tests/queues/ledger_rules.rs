//! What a person counts on, each by itself, on every ledger.

use crate::{Bench, EXCLUSIVE, LEDGERS, START, seconds};
use transcode_core::ErrorKind;
use transcode_svc::job::JobId;
use transcode_svc::ledger::{
    FailureCause, Filter, Grant, Lease, Ledger, LedgerError, Next, State, WorkerCard,
};
use transcode_svc::time::{Clock as _, Timestamp};

fn granted(ledger: &Ledger, id: &JobId, worker: &str) -> Lease {
    match ledger.grant(id, worker, seconds(60)).unwrap() {
        Grant::Granted { lease, .. } => lease,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_sleeper_whose_lease_ran_out_writes_nothing() {
    for kind in LEDGERS {
        let bench = Bench::new(kind);
        let (sleeper, awake) = (bench.ledger(), bench.ledger());
        let id = sleeper.submit(bench.job("a")).unwrap().record.id;
        let mut old = granted(&sleeper, &id, "sleeper");
        bench.clock.advance(seconds(61));
        let new = granted(&awake, &id, "awake");
        assert_eq!((old.epoch, new.epoch), (1, 2), "{kind:?}");
        let before = awake.get(&id).unwrap();
        let lost = |done: Result<(), LedgerError>| {
            let error = done.unwrap_err();
            assert!(matches!(error, LedgerError::Lost { .. }), "{kind:?}: {error}");
            assert!(error.to_string().contains("the epoch is 2 now"), "{error}");
        };
        lost(sleeper.renew(&mut old, 99).map(drop));
        lost(sleeper.begin_commit(&old));
        lost(sleeper.complete(&old, &[]));
        lost(sleeper.fail(&old, ErrorKind::Input, "no").map(drop));
        lost(sleeper.release(&old));
        assert_eq!(awake.get(&id).unwrap(), before, "{kind:?}: nothing was changed");
    }
}

#[test]
fn a_renewed_lease_lasts_however_long_the_job_is() {
    for kind in LEDGERS {
        let bench = Bench::new(kind);
        let ledger = bench.ledger();
        let id = ledger.submit(bench.job("match")).unwrap().record.id;
        let mut lease = granted(&ledger, &id, "jetson");
        for minute in 0..180 {
            bench.clock.advance(seconds(60 / 3));
            assert!(
                matches!(ledger.grant(&id, "other", seconds(60)).unwrap(), Grant::Busy { .. }),
                "{minute}"
            );
            let deadline = lease.deadline;
            assert!(!ledger.renew(&mut lease, 50).unwrap().cancelled);
            assert!(lease.deadline >= deadline);
        }
        assert_eq!(ledger.get(&id).unwrap().unwrap().epoch, 1, "{kind:?}");
    }
}

#[test]
fn three_dead_workers_make_a_job_dead_and_what_each_saw_is_kept() {
    for kind in LEDGERS {
        let bench = Bench::new(kind);
        let ledger = bench.ledger();
        let id = ledger.submit(bench.job("poison")).unwrap().record.id;
        for worker in ["jetson", "t4", "spot"] {
            let mut lease = granted(&ledger, &id, worker);
            ledger.renew(&mut lease, 12).unwrap();
            bench.clock.advance(seconds(61));
        }
        assert_eq!(ledger.grant(&id, "next", seconds(60)).unwrap(), Grant::Over { state: State::Dead });
        let record = ledger.get(&id).unwrap().unwrap();
        assert!(record.failures.iter().all(|failure| failure.cause == FailureCause::Died));
        let error = record.error.unwrap();
        for word in ["3 workers died", "jetson (epoch 1)", "t4 (epoch 2)", "spot (epoch 3)", "at 12 %"] {
            assert!(error.contains(word), "{kind:?}: {word}: {error}");
        }
        assert_eq!(record.outbox.len(), 1, "{kind:?}: and whoever waits for it is told");
        ledger.retry(&id).unwrap();
        assert_eq!(granted(&ledger, &id, "spot").epoch, 4, "{kind:?}: a person may let it live");
    }
}

#[test]
fn whose_fault_it_is_decides_what_happens() {
    for kind in LEDGERS {
        let bench = Bench::new(kind);
        let ledger = bench.ledger();
        let start = |name: &str| {
            let id = ledger.submit(bench.job(name)).unwrap().record.id;
            granted(&ledger, &id, "worker")
        };
        let lease = start("input");
        assert_eq!(ledger.fail(&lease, ErrorKind::Input, "moov is missing").unwrap(), Next::Failed);
        assert_eq!(ledger.get(&lease.job).unwrap().unwrap().error.as_deref(), Some("moov is missing"));

        let lease = start("store");
        let again = ledger.fail(&lease, ErrorKind::Store, "503").unwrap();
        assert_eq!(again, Next::Again { at: START + seconds(30) }, "{kind:?}");
        assert!(matches!(ledger.grant(&lease.job, "any", seconds(60)).unwrap(), Grant::Later { .. }));

        let lease = start("machine");
        ledger.fail(&lease, ErrorKind::Machine, "nvh264dec: out of memory").unwrap();
        bench.clock.advance(seconds(6));
        let later = ledger.grant(&lease.job, "worker", seconds(60)).unwrap();
        assert_eq!(later, Grant::Later { at: START + seconds(120) }, "{kind:?}: not where it failed");
        granted(&ledger, &lease.job, "elsewhere");

        let lease = start("hand-over");
        ledger.release(&lease).unwrap();
        assert_eq!(granted(&ledger, &lease.job, "other").epoch, 2, "{kind:?}: at once");
        let record = ledger.get(&lease.job).unwrap().unwrap();
        assert_eq!((record.attempts, record.failures.len()), (0, 0), "a hand-over is no failure");
    }
}

#[test]
fn who_finds_a_commit_begun_repeats_the_rest() {
    for kind in LEDGERS {
        let bench = Bench::new(kind);
        let ledger = bench.ledger();
        let job = bench.job("a");
        let outputs = job.outputs().unwrap();
        let id = ledger.submit(job).unwrap().record.id;
        ledger.begin_commit(&granted(&ledger, &id, "first")).unwrap();
        bench.clock.advance(seconds(61));
        let Grant::Granted { lease, record } = ledger.grant(&id, "second", seconds(60)).unwrap() else {
            panic!()
        };
        assert_eq!(record.state, State::Committing, "{kind:?}");
        ledger.complete(&lease, &outputs).unwrap();
        ledger.complete(&lease, &outputs).unwrap();
        let record = ledger.get(&id).unwrap().unwrap();
        assert_eq!(
            (record.state, record.outbox.len()),
            (State::Complete, 1),
            "{kind:?}: once, with one message"
        );
        assert_eq!(record.outputs, outputs);
        assert_eq!(ledger.grant(&id, "third", seconds(60)).unwrap(), Grant::Over { state: State::Complete });
    }
}

#[test]
fn the_same_idempotency_key_is_the_same_job() {
    for kind in LEDGERS {
        let bench = Bench::new(kind);
        let ledger = bench.ledger();
        let mut job = bench.job("a");
        job.id = None;
        job.idempotency_key = Some("key".to_owned());
        let first = ledger.submit(job.clone()).unwrap();
        bench.clock.advance(seconds(100));
        let second = bench.ledger().submit(job.clone()).unwrap();
        assert!(first.fresh && !second.fresh, "{kind:?}");
        assert_eq!(first.record.id, second.record.id);
        job.idempotency_key = Some("other".to_owned());
        assert!(ledger.submit(job).unwrap().fresh, "{kind:?}: another key is another job");
    }
}

#[test]
fn a_name_is_used_once() {
    for kind in LEDGERS {
        let bench = Bench::new(kind);
        let ledger = bench.ledger();
        let job = bench.job("a");
        assert!(ledger.admit(job.clone()).unwrap().fresh);
        assert!(!ledger.admit(job.clone()).unwrap().fresh, "{kind:?}: delivered twice is one job");
        let other = transcode_svc::job::Job { sources: vec!["s3://in/another.mp4".to_owned()], ..job };
        let error = ledger.admit(other).unwrap_err();
        assert!(matches!(error, LedgerError::Taken { field: "source", .. }), "{kind:?}: {error}");
    }
}

#[test]
fn a_job_that_no_queue_got_is_found_after_a_minute() {
    for kind in LEDGERS {
        let bench = Bench::new(kind);
        let ledger = bench.ledger();
        let id = ledger.submit(bench.job("forgotten")).unwrap().record.id;
        let known = ledger.submit(bench.job("announced")).unwrap().record.id;
        ledger.announced(&known).unwrap();
        let ours = |ledger: &Ledger| {
            ledger.stranded(10).unwrap().into_iter().map(|record| record.id).collect::<Vec<_>>()
        };
        assert!(ours(&ledger).is_empty(), "{kind:?}: it may be on its way");
        bench.clock.advance(seconds(60));
        assert_eq!(ours(&bench.ledger()), std::slice::from_ref(&id), "{kind:?}");
        ledger.announced(&id).unwrap();
        assert!(ours(&ledger).is_empty(), "{kind:?}");
    }
}

#[test]
fn jobs_are_listed_newest_first_page_by_page_and_by_state() {
    for kind in LEDGERS {
        let bench = Bench::new(kind);
        let ledger = bench.ledger();
        let mut expected = Vec::new();
        for n in 0..7 {
            expected.insert(0, ledger.submit(bench.job(&n.to_string())).unwrap().record.id);
            if n % 2 == 0 {
                bench.clock.advance(seconds(1));
            }
        }
        let mut found = Vec::new();
        let mut filter = Filter { limit: 3, ..Filter::default() };
        while found.len() < 7 {
            let page = ledger.list(&filter).unwrap();
            filter.after = page.last().map(|record| (record.created, record.id.clone()));
            found.extend(page.into_iter().map(|record| record.id));
        }
        assert_eq!(found[..7], expected, "{kind:?}");
        granted(&ledger, &expected[3], "worker");
        let processing = Filter { state: Some(State::Processing), after: None, limit: 1 };
        assert_eq!(ledger.list(&processing).unwrap()[0].id, expected[3], "{kind:?}");
    }
}

/// What `call` gives in eight threads at once, each with a ledger of its own.
fn at_once<T: Send>(bench: &Bench, call: impl Fn(Ledger, usize) -> T + Sync) -> Vec<T> {
    let start = std::sync::Barrier::new(8);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|n| {
                let (ledger, start, call) = (bench.ledger(), &start, &call);
                scope.spawn(move || {
                    start.wait();
                    call(ledger, n)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn of_eight_that_ask_at_once_one_gets_the_lease() {
    for kind in EXCLUSIVE {
        let bench = Bench::new(kind);
        for round in 0..20 {
            let id = bench.ledger().submit(bench.job(&format!("{round}"))).unwrap().record.id;
            let grants =
                at_once(&bench, |ledger, n| ledger.grant(&id, &format!("{n}"), seconds(60)).unwrap());
            let granted = grants.iter().filter(|grant| matches!(grant, Grant::Granted { .. })).count();
            assert_eq!(granted, 1, "{kind:?}: {grants:?}");
            assert_eq!(bench.ledger().get(&id).unwrap().unwrap().epoch, 1, "{kind:?}");
        }
    }
}

#[test]
fn of_eight_that_submit_at_once_one_makes_the_job() {
    for kind in EXCLUSIVE {
        let bench = Bench::new(kind);
        for round in 0..20 {
            let mut job = bench.job("a");
            (job.id, job.idempotency_key) = (None, Some(format!("key {round}")));
            let all = at_once(&bench, |ledger, _| ledger.submit(job.clone()).unwrap());
            assert_eq!(all.iter().filter(|submitted| submitted.fresh).count(), 1, "{kind:?}");
            assert!(all.iter().all(|submitted| submitted.record.id == all[0].record.id), "{kind:?}");
        }
    }
}

#[test]
fn workers_are_listed_until_they_go_or_are_silent_for_a_day() {
    for kind in LEDGERS {
        let bench = Bench::new(kind);
        let ledger = bench.ledger();
        let card = |name: &str, job: Option<&str>| WorkerCard {
            name: name.to_owned(),
            host: "clubhouse".to_owned(),
            version: "1.0".to_owned(),
            platform: "software".to_owned(),
            started: bench.clock.now(),
            seen: Timestamp::default(),
            job: job.map(|job| job.parse().unwrap()),
            since: bench.clock.now(),
            stopping: false,
        };
        ledger.worker_seen(card("two", None)).unwrap();
        ledger.worker_seen(card("one", None)).unwrap();
        bench.clock.advance(seconds(5));
        ledger.worker_seen(card("one", Some("j"))).unwrap();
        let workers = bench.ledger().workers().unwrap();
        let shown: Vec<_> =
            workers.iter().map(|card| (card.name.as_str(), card.job.is_some(), card.seen)).collect();
        assert_eq!(shown, [("one", true, START + seconds(5)), ("two", false, START)], "{kind:?}");
        ledger.worker_gone("one").unwrap();
        assert_eq!(ledger.workers().unwrap().len(), 1, "{kind:?}");
        bench.clock.advance(seconds(25 * 3_600));
        assert_eq!(ledger.workers().unwrap(), [], "{kind:?}");
    }
}

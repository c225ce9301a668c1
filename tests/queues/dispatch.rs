//! The way of a job through a queue and a ledger, on every pair of them.

use crate::{Bench, Kind, seconds};
use std::sync::Arc;
use std::time::Duration;
use transcode_core::ErrorKind;
use transcode_svc::dispatch::{Dispatch, Work};
use transcode_svc::job::{Job, JobId, Priority, Rule, Rules};
use transcode_svc::ledger::{Next, State};
use transcode_svc::queue::{DeadLetter, Delivery, Depth, Hold, Queue, QueueError};

const LITERAL: &str = r#"{"id":"a","input_bucket":"in","input_key":"a.mp4","output_prefix":"a"}"#;

fn next(dispatch: &Dispatch, worker: &str) -> Option<Work> {
    dispatch.next(worker, seconds(60), Duration::ZERO).unwrap()
}

fn state(dispatch: &Dispatch, id: &JobId) -> State {
    dispatch.ledger().get(id).unwrap().unwrap().state
}

fn counts(dispatch: &Dispatch) -> (u64, u64, u64, u64) {
    let Depth { high, normal, low, held, delayed, dead, .. } = dispatch.queue().depth().unwrap();
    (high + normal + low, held, delayed, dead)
}

/// Queue and ledger need not be of one kind.
const PAIRS: [(Kind, Kind); 6] = [
    (Kind::Sqlite, Kind::Sqlite),
    (Kind::Sqlite, Kind::Redis),
    (Kind::Redis, Kind::Sqlite),
    (Kind::Redis, Kind::Redis),
    (Kind::Sqlite, Kind::Versity),
    (Kind::Sqs, Kind::Minio),
];

/// So much faster do the tests' minutes pass where a queue's clock cannot be turned.
const HURRY: u32 = 10;

/// A queue whose times are a tenth of what they are said to be.
struct Hurried(Box<dyn Queue>);

impl Queue for Hurried {
    fn push(&self, priority: Priority, body: &str) -> Result<(), QueueError> {
        self.0.push(priority, body)
    }
    fn take(&self, worker: &str, hold: Duration, wait: Duration) -> Result<Option<Delivery>, QueueError> {
        self.0.take(worker, hold / HURRY, wait)
    }
    fn extend(&self, delivery: &Delivery, hold: Duration) -> Result<Hold, QueueError> {
        self.0.extend(delivery, hold / HURRY)
    }
    fn remove(&self, delivery: &Delivery) -> Result<Hold, QueueError> {
        self.0.remove(delivery)
    }
    fn give_back(&self, delivery: &Delivery, after: Duration) -> Result<Hold, QueueError> {
        self.0.give_back(delivery, after / HURRY)
    }
    fn bury(&self, delivery: &Delivery, reason: &str) -> Result<Hold, QueueError> {
        self.0.bury(delivery, reason)
    }
    fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
        self.0.dead_letters(limit)
    }
    fn revive(&self, number: u64) -> Result<bool, QueueError> {
        self.0.revive(number)
    }
    fn depth(&self) -> Result<Depth, QueueError> {
        self.0.depth()
    }
}

fn at_every_pair(test: impl Fn(&Dispatch, &dyn Fn(u64), &str)) {
    for (queue, ledger) in PAIRS {
        let (queues, ledgers) = (Bench::new(queue), Bench::new(ledger));
        let rule: Rule = toml::from_str("prefix = \"in/\"\noutput-prefix = \"out/\"").unwrap();
        let rules = Rules { objects: vec![rule], ..Rules::default() };
        let real = queue == Kind::Sqs;
        let opened: Arc<dyn Queue> =
            if real { Arc::new(Hurried(queues.queue())) } else { Arc::from(queues.queue()) };
        let dispatch = Dispatch::new(opened, ledgers.ledger(), rules);
        let pass = |time: u64| {
            queues.clock.advance(seconds(time));
            ledgers.clock.advance(seconds(time));
            if real {
                // Its holds and delays are whole seconds, rounded up.
                std::thread::sleep(seconds(time) / HURRY + Duration::from_millis(300));
            }
        };
        test(&dispatch, &pass, &format!("{queue:?} and {ledger:?}"));
    }
}

#[test]
fn a_submitted_job_is_worked_on_and_leaves_the_queue() {
    at_every_pair(|dispatch, pass, pair| {
        let job = Job { id: None, priority: Priority::High, ..Bench::new(Kind::Sqlite).job("a") };
        let outputs = job.outputs().unwrap();
        let id = dispatch.submit(job).unwrap().record.id;
        let mut work = next(dispatch, "worker").expect("the job");
        assert_eq!((&work.lease.job, next(dispatch, "other")), (&id, None), "{pair}");
        pass(20);
        dispatch.renew(&mut work, 30).unwrap();
        pass(50);
        assert_eq!(next(dispatch, "other"), None, "{pair}: it was renewed");
        dispatch.begin_commit(&work).unwrap();
        dispatch.complete(&work, &outputs).unwrap();
        assert_eq!((state(dispatch, &id), counts(dispatch)), (State::Complete, (0, 0, 0, 0)), "{pair}");
    });
}

#[test]
fn a_message_that_comes_ten_times_is_one_job() {
    at_every_pair(|dispatch, pass, pair| {
        (0..10).for_each(|_| dispatch.queue().push(Priority::Normal, LITERAL).unwrap());
        let work = next(dispatch, "worker").expect("the job");
        assert_eq!(next(dispatch, "other"), None, "{pair}: the others are put aside");
        dispatch.begin_commit(&work).unwrap();
        dispatch.complete(&work, &[]).unwrap();
        pass(30);
        assert_eq!(next(dispatch, "other"), None, "{pair}");
        assert_eq!(counts(dispatch), (0, 0, 0, 0), "{pair}: and taken away");
        assert_eq!(dispatch.ledger().get(&work.lease.job).unwrap().unwrap().epoch, 1);
    });
}

#[test]
fn what_is_no_job_goes_to_the_dead_letters_and_blocks_nothing() {
    at_every_pair(|dispatch, _, pair| {
        let test = r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"b"}"#;
        let taken = LITERAL.replace("a.mp4", "another.mp4");
        for text in ["nonsense", test, LITERAL, &taken] {
            dispatch.queue().push(Priority::Normal, text).unwrap();
        }
        let first = next(dispatch, "worker").expect("the third message");
        assert_eq!(first.lease.job.as_str(), "a", "{pair}");
        assert_eq!(next(dispatch, "worker"), None, "{pair}");
        let letters = dispatch.queue().dead_letters(10).unwrap();
        let mut reasons: Vec<_> = letters.iter().map(|letter| letter.reason.as_str()).collect();
        reasons.sort();
        assert!(
            reasons.len() == 2 && reasons[0].contains("another source") && reasons[1].contains("no JSON"),
            "{pair}: {reasons:?}"
        );
    });
}

#[test]
fn an_event_of_three_objects_becomes_three_jobs() {
    at_every_pair(|dispatch, _, pair| {
        let record = |n: u32| {
            format!(
                r#"{{"eventTime":"2026-10-03T14:05:09Z","eventName":"ObjectCreated:Put",
                    "s3":{{"bucket":{{"name":"b"}},"object":{{"key":"in/{n}.mp4","sequencer":"{n}"}}}}}}"#
            )
        };
        let event = format!(r#"{{"Records":[{},{},{}]}}"#, record(1), record(2), record(3));
        // Delivered twice, as events may be.
        (0..2).for_each(|_| dispatch.queue().push(Priority::Normal, &event).unwrap());
        let mut sources: Vec<_> = std::iter::from_fn(|| next(dispatch, "worker"))
            .map(|work| work.record.job.sources[0].clone())
            .collect();
        sources.sort();
        assert_eq!(sources, ["s3://b/in/1.mp4", "s3://b/in/2.mp4", "s3://b/in/3.mp4"], "{pair}");
    });
}

#[test]
fn a_failed_attempt_is_made_elsewhere_and_the_third_is_the_last() {
    at_every_pair(|dispatch, pass, pair| {
        dispatch.queue().push(Priority::Normal, LITERAL).unwrap();
        for (worker, wait) in [("one", 6), ("two", 61)] {
            let work = next(dispatch, worker).expect("the job");
            let after = dispatch.fail(&work, ErrorKind::Machine, "the encoder is gone").unwrap();
            assert!(matches!(after, Next::Again { .. }), "{pair}: {after:?}");
            pass(wait);
            assert_eq!(next(dispatch, worker), None, "{pair}: not where it failed");
            // Put aside for a moment, so that others find it.
            pass(11);
        }
        let work = next(dispatch, "three").expect("the job");
        assert_eq!(dispatch.fail(&work, ErrorKind::Machine, "the encoder is gone").unwrap(), Next::Dead);
        assert_eq!(counts(dispatch), (0, 0, 0, 1), "{pair}");
        let letter = &dispatch.queue().dead_letters(1).unwrap()[0];
        assert_eq!(letter.body, LITERAL);
        assert!(letter.reason.contains("job a is dead: the encoder is gone"), "{pair}: {}", letter.reason);
        dispatch.retry(&work.lease.job).unwrap();
        assert!(next(dispatch, "four").is_some(), "{pair}: a person may try again");
    });
}

#[test]
fn poison_is_laid_aside_by_the_worker_that_finds_three_dead() {
    at_every_pair(|dispatch, pass, pair| {
        dispatch.queue().push(Priority::Normal, LITERAL).unwrap();
        for worker in ["one", "two", "three"] {
            assert!(next(dispatch, worker).is_some(), "{pair}: {worker}");
            pass(61);
        }
        assert_eq!(next(dispatch, "four"), None, "{pair}");
        assert_eq!(counts(dispatch), (0, 0, 0, 1), "{pair}");
        assert!(dispatch.queue().dead_letters(1).unwrap()[0].reason.contains("3 workers died on it"));
    });
}

#[test]
fn a_hand_over_goes_to_another_at_once() {
    at_every_pair(|dispatch, _, pair| {
        dispatch.queue().push(Priority::Normal, LITERAL).unwrap();
        let work = next(dispatch, "spot").expect("the job");
        dispatch.release(&work).unwrap();
        let again = next(dispatch, "jetson").expect("the job");
        assert_eq!((again.lease.epoch, again.record.failures.len()), (2, 0), "{pair}");
    });
}

#[test]
fn a_job_whose_submitter_died_half_way_is_swept_into_the_queue() {
    at_every_pair(|dispatch, pass, pair| {
        let job = Bench::new(Kind::Sqlite).job("a");
        assert!(dispatch.ledger().submit(job.clone()).unwrap().fresh);
        assert_eq!((dispatch.sweep().unwrap(), next(dispatch, "worker")), (0, None), "{pair}");
        pass(61);
        assert_eq!(dispatch.sweep().unwrap(), 1, "{pair}");
        assert_eq!(dispatch.sweep().unwrap(), 0, "{pair}: once");
        assert_eq!(next(dispatch, "worker").expect("the job").record.job, job, "{pair}");
    });
}

#[test]
fn a_cancelled_job_is_taken_away_when_its_turn_comes() {
    at_every_pair(|dispatch, _, pair| {
        let id = dispatch.submit(Bench::new(Kind::Sqlite).job("a")).unwrap().record.id;
        dispatch.ledger().cancel(&id).unwrap();
        assert_eq!(next(dispatch, "worker"), None, "{pair}");
        assert_eq!((state(dispatch, &id), counts(dispatch)), (State::Cancelled, (0, 0, 0, 0)), "{pair}");
    });
}

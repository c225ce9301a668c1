//! How workers go: asked to, stopped for too long, killed, without their servers.

use crate::fleet::{Fleet, KINDS, Kind, segments};
use crate::support::{is_finished, lives};
use crate::web;
use serde_json::{Value, json};
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use transcode_svc::ledger::{Cancelling, State};

const LEASE: (&str, &str) = ("TRANSCODE_LEASE", "3s");

/// A job that takes long enough to be disturbed: the clip in two rungs, one of them large.
pub fn long(fleet: &Fleet, name: &str) -> Value {
    let mut job = fleet.job(name);
    job["ladder"] = json!([
        {"name": "1080p", "height": 1080, "video": "3M", "audio": "96k"},
        {"name": "240p", "height": 240, "video": "300k", "audio": "64k"},
    ]);
    job["every_name"] = json!(true);
    job
}

/// Wait until a graph works on it, and so much of it is stored.
fn under_way(fleet: &Fleet, id: &str, stored: usize) {
    fleet.until(id, "it is worked on", |record| record.state == State::Processing);
    let began = Instant::now();
    while segments(&fleet.store()).len() < stored {
        assert!(began.elapsed() < crate::fleet::PATIENCE, "{}", fleet.logs());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn sigterm_hands_the_job_over_and_the_next_worker_goes_on() {
    for kind in KINDS {
        let fleet = Fleet::new(kind);
        // Not enough time for the job to be done.
        let mut first = fleet.worker("first", &[("TRANSCODE_WORKER_GRACE", "2s")]);
        let id = fleet.submit(&long(&fleet, "a"));
        under_way(&fleet, id.as_str(), 1);
        let graph = first.graph();
        first.signal("TERM");
        assert_eq!(first.ended(Duration::from_secs(25)), Some(0), "{}", first.text());
        let record = fleet.record("a").unwrap();
        assert_eq!((record.state, record.lease.is_some()), (State::Queued, false), "{kind:?}: {record:#?}");
        assert_eq!(record.attempts, 0, "a hand-over is no failure");
        assert!(graph.is_none_or(|graph| !lives(graph)), "its graph is gone");
        let stored = segments(&fleet.store());
        assert!(!stored.is_empty());
        let _second = fleet.worker("second", &[]);
        let record = fleet.complete("a");
        assert_eq!((record.attempts, record.epoch), (1, 2), "{record:#?}");
        let after = segments(&fleet.store());
        for (path, identity) in &stored {
            let same = after.iter().any(|(other, now)| other == path && now == identity);
            assert!(same, "{kind:?}: {} was made again", path.display());
        }
        is_finished(&fleet.store().join("out/a"), 3);
    }
}

#[test]
fn a_spot_notice_is_as_good_as_a_sigterm() {
    let fleet = Fleet::new(Kind::Sqlite);
    let wanted = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let metadata = {
        let wanted = wanted.clone();
        web::Web::start(move |_, request| match (request.method.as_str(), request.target.as_str()) {
            ("PUT", "/latest/api/token") => web::Reply::status(200, "token"),
            ("GET", "/latest/meta-data/spot/instance-action")
                if request.header("x-aws-ec2-metadata-token") == Some("token")
                    && wanted.load(std::sync::atomic::Ordering::SeqCst) =>
            {
                web::Reply::status(200, r#"{"action": "terminate", "time": "2026-10-03T14:07:09Z"}"#)
            }
            _ => web::Reply::status(404, ""),
        })
    };
    let address = metadata.endpoint();
    let settings = [("TRANSCODE_WORKER_SPOT_NOTICES", address.as_str()), ("TRANSCODE_WORKER_GRACE", "2s")];
    let mut worker = fleet.worker("spot", &settings);
    fleet.submit(&long(&fleet, "a"));
    under_way(&fleet, "a", 1);
    wanted.store(true, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(worker.ended(Duration::from_secs(25)), Some(0), "{}", worker.text());
    assert!(worker.text().contains("taken back"), "{}", worker.text());
    let state = fleet.record("a").unwrap().state;
    assert!(matches!(state, State::Queued | State::Complete), "{state}: handed over, or done in time");
}

#[test]
fn a_worker_that_was_stopped_past_its_lease_writes_nothing() {
    for kind in KINDS {
        let fleet = Fleet::new(kind);
        let sleeper = fleet.worker("sleeper", &[LEASE]);
        fleet.submit(&long(&fleet, "a"));
        under_way(&fleet, "a", 1);
        sleeper.signal("STOP");
        let graph = sleeper.graph();
        let _awake = fleet.worker("awake", &[LEASE]);
        let record = fleet.complete("a");
        assert_eq!(record.failures.len(), 1, "{record:#?}");
        assert_eq!(record.failures[0].worker, "sleeper");
        let files = |fleet: &Fleet| -> Vec<(std::path::PathBuf, Vec<u8>)> {
            let mut all = Vec::new();
            let mut folders = vec![fleet.store().join("out")];
            while let Some(folder) = folders.pop() {
                for entry in fs::read_dir(folder).unwrap().flatten() {
                    if entry.path().is_dir() {
                        folders.push(entry.path());
                    } else if !entry.file_name().to_string_lossy().starts_with(".tmp-") {
                        // What was being written when it was stopped had no name yet, and is cleared away.
                        all.push((entry.path(), fs::read(entry.path()).unwrap()));
                    }
                }
            }
            all.sort();
            all
        };
        let published = files(&fleet);
        sleeper.signal("CONT");
        let began = Instant::now();
        while !sleeper.text().contains("the lease is lost") {
            assert!(began.elapsed() < Duration::from_secs(30), "{}", fleet.logs());
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(graph.is_none_or(|graph| !lives(graph)), "its graph is gone");
        let (now, then) = (files(&fleet), published);
        let differs = |one: &[(std::path::PathBuf, Vec<u8>)], other: &[(std::path::PathBuf, Vec<u8>)]| {
            let gone = one.iter().filter(|file| !other.contains(file));
            gone.map(|(path, bytes)| format!("{}: {} bytes", path.display(), bytes.len())).collect::<Vec<_>>()
        };
        assert_eq!(
            (differs(&now, &then), differs(&then, &now)),
            (Vec::new(), Vec::new()),
            "{kind:?}: it wrote (what is there now, what was there before)\n{}",
            fleet.logs()
        );
        let after = fleet.record("a").unwrap();
        assert_eq!(after, record, "{kind:?}: nor in the ledger");
    }
}

#[test]
fn a_killed_workers_job_is_taken_up_within_a_lease_and_a_poll_and_told_of_once() {
    for kind in KINDS {
        let fleet = Fleet::new(kind);
        let heard: Arc<Mutex<Vec<(String, Value)>>> = Arc::default();
        let receiver = {
            let heard = heard.clone();
            web::Web::start(move |_, request| {
                let id = request.header("webhook-id").unwrap_or_default().to_owned();
                heard.lock().unwrap().push((id, serde_json::from_slice(&request.body).unwrap()));
                web::Reply::status(200, "")
            })
        };
        let settings = [LEASE, ("TRANSCODE_WEBHOOK_ALLOW", "127.0.0.1")];
        let mut first = fleet.worker("first", &settings);
        let mut job = long(&fleet, "a");
        job["webhook"] = json!({"url": format!("{}/done", receiver.endpoint()), "shape": "redis-worker"});
        fleet.submit(&job);
        under_way(&fleet, "a", 1);
        first.kill();
        let _second = fleet.worker("second", &settings);
        let record = fleet.complete("a");
        assert_eq!((record.epoch, record.attempts, record.failures.len()), (2, 2, 1), "{record:#?}");
        let began = Instant::now();
        while heard.lock().unwrap().is_empty() {
            assert!(began.elapsed() < Duration::from_secs(30), "{}", fleet.logs());
            std::thread::sleep(Duration::from_millis(50));
        }
        // Long enough for a second one to come.
        std::thread::sleep(Duration::from_secs(3));
        let heard = heard.lock().unwrap();
        assert_eq!(heard.len(), 1, "{heard:#?}");
        assert_eq!(heard[0].1["job_id"], "a");
        assert_eq!(heard[0].1["status"], "complete");
        assert_eq!(heard[0].1["outputs"][0], json!({"profile": "1080p", "key": "out/a/1080p/playlist.m3u8"}));
    }
}

#[test]
fn a_cancelled_job_stops_and_its_worker_goes_on() {
    for kind in KINDS {
        let fleet = Fleet::new(kind);
        let worker = fleet.worker("one", &[LEASE]);
        let id = fleet.submit(&long(&fleet, "a"));
        under_way(&fleet, "a", 1);
        assert_eq!(fleet.dispatch.ledger().cancel(&id).unwrap(), Cancelling::Asked);
        let record = fleet.over("a");
        assert_eq!(record.state, State::Cancelled, "{record:#?}");
        fleet.submit(&fleet.job("b"));
        fleet.complete("b");
        assert!(worker.graph().is_none_or(lives));
        // Once more, from what is stored.
        fleet.dispatch.retry(&id).unwrap();
        fleet.complete("a");
    }
}

#[test]
fn a_broker_that_restarts_in_the_middle_costs_nothing() {
    for kind in [Kind::Redis, Kind::Sqs] {
        let fleet = Fleet::alone(kind);
        let _worker = fleet.worker("one", &[("TRANSCODE_LEASE", "20s")]);
        fleet.submit(&long(&fleet, "a"));
        fleet.submit(&fleet.job("b"));
        under_way(&fleet, "a", 1);
        fleet.restart_broker(Duration::from_secs(2));
        let record = fleet.complete("a");
        assert_eq!((record.epoch, record.attempts), (1, 1), "{kind:?}: the lease outlasted it: {record:#?}");
        fleet.complete("b");
    }
}

#[test]
fn a_job_that_kills_three_workers_is_dead_with_what_each_saw() {
    for kind in KINDS {
        let fleet = Fleet::new(kind);
        fleet.submit(&long(&fleet, "poison"));
        for number in 1..=3 {
            let mut worker = fleet.worker(&format!("w{number}"), &[("TRANSCODE_LEASE", "1s")]);
            fleet.until("poison", "it is taken", |record| {
                record.epoch == number
                    && record.lease.as_ref().is_some_and(|holder| holder.worker == format!("w{number}"))
            });
            worker.kill();
        }
        let _last = fleet.worker("last", &[("TRANSCODE_LEASE", "1s")]);
        let record = fleet.over("poison");
        assert_eq!(record.state, State::Dead, "{kind:?}: {record:#?}");
        let error = record.error.unwrap();
        assert!(["w1", "w2", "w3"].iter().all(|name| error.contains(name)), "{error}");
        let dead = fleet.until_dead();
        assert!(dead.contains("poison"), "{dead}");
        // The neighbours are unharmed.
        fleet.submit(&fleet.job("good"));
        fleet.complete("good");
    }
}

impl Fleet {
    /// The reason of the one dead letter.
    fn until_dead(&self) -> String {
        let began = Instant::now();
        loop {
            let dead = self.dispatch.queue().dead_letters(10).unwrap();
            if let [letter] = &dead[..] {
                return letter.reason.clone();
            }
            assert!(began.elapsed() < Duration::from_secs(30), "{dead:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

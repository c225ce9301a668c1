//! Workers killed at random moments: every job complete once, no segment published twice, one message each.
//!
//! The seed is printed, and taken from `TRANSCODE_SEED`. How many jobs and kills: `TRANSCODE_CHAOS` (`jobs,kills`);
//! `scripts/chaos` runs it with fifty jobs.

use crate::fleet::{Fleet, Identity, KINDS, Kind, PATIENCE, Worker, segments};
use crate::web;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use transcode_svc::ledger::{Filter, State};

/// xorshift64*: the same numbers for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(2_685_821_657_736_338_717) >> 33) % end
    }
}

fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[test]
fn workers_killed_at_random_lose_no_job_and_publish_nothing_twice() {
    let seed = setting("TRANSCODE_SEED").and_then(|text| text.parse().ok()).unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        now.as_nanos() as u64 | 1
    });
    let sizes = setting("TRANSCODE_CHAOS").unwrap_or_else(|| "6,8".to_owned());
    let (jobs, kills) = sizes.split_once(',').expect("TRANSCODE_CHAOS=jobs,kills");
    let (jobs, kills) = (jobs.parse().expect("jobs"), kills.parse().expect("kills"));
    println!("TRANSCODE_SEED={seed} TRANSCODE_CHAOS={sizes}");
    for kind in KINDS {
        chaos(kind, seed, jobs, kills);
    }
}

fn chaos(kind: Kind, seed: u64, jobs: usize, kills: usize) {
    let fleet = Fleet::new(kind);
    let mut dice = Dice(seed);
    let heard: Arc<Mutex<Vec<(String, Value)>>> = Arc::default();
    let receiver = {
        let heard = heard.clone();
        web::Web::start(move |_, request| {
            let id = request.header("webhook-id").unwrap_or_default().to_owned();
            heard.lock().unwrap().push((id, serde_json::from_slice(&request.body).unwrap()));
            web::Reply::status(200, "")
        })
    };
    let settings = [
        ("TRANSCODE_LEASE", "2s"),
        // Whoever is killed at random is not poison.
        ("TRANSCODE_WORKER_DEATHS", "1000"),
        ("TRANSCODE_WORKER_JOBS", "1"),
        ("TRANSCODE_WEBHOOK_ALLOW", "127.0.0.1"),
    ];
    for number in 0..jobs {
        let mut job = fleet.job(&format!("j{number}"));
        job["mp4"] = json!("all");
        job["webhook"] = json!({"url": receiver.endpoint(), "shape": "redis-worker"});
        fleet.submit(&job);
    }
    let start = |number: usize| fleet.worker(&format!("w{number}"), &settings);
    let mut workers: Vec<Worker> = (0..3).map(start).collect();
    let mut seen: BTreeMap<PathBuf, Identity> = BTreeMap::new();
    let (mut killed, mut on_graph) = (0, 0);
    let mut next = Instant::now() + Duration::from_millis(500);
    let began = Instant::now();
    loop {
        for (path, identity) in segments(&fleet.store()) {
            let first = *seen.entry(path.clone()).or_insert(identity);
            assert_eq!(first, identity, "{kind:?}, seed {seed}: {} was published twice", path.display());
        }
        let records = fleet.dispatch.ledger().list(&Filter { limit: 1_000, ..Filter::default() }).unwrap();
        if records.iter().all(|record| record.state.is_final()) {
            break;
        }
        assert!(began.elapsed() < PATIENCE * 4, "{kind:?}, seed {seed}: {records:#?}\n{}", fleet.logs());
        if killed < kills && Instant::now() >= next {
            let victim = dice.below(3) as usize;
            on_graph += usize::from(workers[victim].graph().is_some());
            workers[victim].kill();
            workers[victim] = start(victim);
            killed += 1;
            next = Instant::now() + Duration::from_millis(200 + dice.below(1_500));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    println!(
        "{kind:?}: {killed} kills, {on_graph} of them with a running graph, {:.1} s",
        began.elapsed().as_secs_f64()
    );
    let mut stages: BTreeMap<String, usize> = BTreeMap::new();
    for record in fleet.dispatch.ledger().list(&Filter { limit: 1_000, ..Filter::default() }).unwrap() {
        for failure in &record.failures {
            let stage = failure.reason.split(" was ").nth(1).and_then(|rest| rest.split(',').next());
            *stages.entry(stage.unwrap_or(&failure.reason).to_owned()).or_default() += 1;
        }
    }
    println!("{kind:?}: leases that ran out, by stage as last told: {stages:?}");
    for number in 0..jobs {
        let record = fleet.complete(&format!("j{number}"));
        assert_eq!(record.outbox.len(), 1, "{record:#?}");
        assert!(fleet.store().join(format!("out/j{number}/240p.mp4")).is_file());
        assert_eq!(record.state, State::Complete);
    }
    // Webhooks come at least once, each job's always under the same id.
    let until = Instant::now() + Duration::from_secs(30);
    let ids = || -> BTreeMap<String, BTreeSet<String>> {
        let mut ids: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (id, body) in heard.lock().unwrap().iter() {
            ids.entry(body["job_id"].as_str().unwrap().to_owned()).or_default().insert(id.clone());
        }
        ids
    };
    while ids().len() < jobs {
        assert!(Instant::now() < until, "{kind:?}, seed {seed}: only {:?}\n{}", ids(), fleet.logs());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(ids().values().all(|ids| ids.len() == 1), "{:?}", ids());
}

//! Processes that are killed and stopped: whatever happens to a worker, no job is lost and none is done
//! twice.
//!
//! The workers are this very test program, started as [`child`]. They work as a worker does, but for the pictures:
//! take, admit, grant, renew, commit, complete, remove; and write a line into a journal at each stage.

use crate::server::RedisServer;
use crate::{KINDS, Kind, database, seconds};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use transcode_svc::broker::Redis;
use transcode_svc::job::{self, Message, Priority, Rules};
use transcode_svc::ledger::{Filter, Grant, Ledger, LedgerError, Policy, RedisRecords, SqliteRecords, State};
use transcode_svc::queue::{Hold, Lines, Queue, RedisQueue, SqliteQueue};
use transcode_svc::time::{Clock, SystemClock};

/// Short, so that the test is; long against what a call takes.
const LEASE: Duration = Duration::from_millis(1_500);

/// Where a worker can be when it dies.
const STAGES: [&str; 7] = ["taken", "admitted", "granted", "working", "committing", "completed", "removed"];

/// A queue and a ledger that several processes share.
struct Place {
    kind: Kind,
    directory: PathBuf,
    url: String,
}

impl Place {
    fn open(&self) -> (Box<dyn Queue>, Ledger) {
        // So many kills would make any job poison.
        let policy = Policy { deaths: 1_000, ..Policy::default() };
        match self.kind {
            Kind::Sqlite => {
                let (database, clock) = (database(&self.directory), Arc::new(SystemClock));
                let records = Arc::new(SqliteRecords::new(database.clone()));
                (Box::new(SqliteQueue::new(database, clock.clone())), Ledger::new(records, clock, policy))
            }
            Kind::Redis => {
                let redis = Arc::new(Redis::new(&self.url).unwrap());
                let clock: Arc<dyn Clock> = redis.clone();
                let records = Arc::new(RedisRecords::new(redis.clone()));
                (
                    Box::new(RedisQueue::new(redis, clock.clone(), Lines::default())),
                    Ledger::new(records, clock, policy),
                )
            }
        }
    }

    fn start(&self, task: &str, name: &str, pause: &str) -> Worker {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "crash::child", "--ignored", "--nocapture", "--test-threads=1"]);
        command.env("TRANSCODE_TEST_TASK", task).env("TRANSCODE_TEST_NAME", name);
        command.env("TRANSCODE_TEST_PAUSE", pause).env("TRANSCODE_TEST_DIRECTORY", &self.directory);
        command.env("TRANSCODE_TEST_URL", &self.url).stdin(Stdio::null()).stdout(Stdio::null());
        Worker(command.spawn().unwrap())
    }

    fn journal(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.directory.join("journal")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn wait_for(&self, what: &str, found: impl Fn(&[String]) -> bool) {
        let started = Instant::now();
        while !found(&self.journal()) {
            assert!(started.elapsed() < seconds(60), "{:?}: {what}: {:#?}", self.kind, self.journal());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A process that ends with its value.
struct Worker(Child);

impl Worker {
    fn kill(&mut self) {
        // SIGKILL; it may have ended by itself.
        let _ended = self.0.kill();
        self.0.wait().unwrap();
    }

    fn signal(&self, signal: &str) {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Run `test` with a place of each kind.
fn at_every_place(test: impl Fn(&Place)) {
    for kind in KINDS {
        let directory = tempfile::tempdir().unwrap();
        let server = (kind == Kind::Redis).then(RedisServer::start);
        let url = server.as_ref().map(RedisServer::url).unwrap_or_default();
        test(&Place { kind, directory: directory.path().to_owned(), url });
    }
}

fn message(id: &str) -> String {
    format!(
        r#"{{"id":"{id}","input_bucket":"in","input_key":"{id}.mp4","output_prefix":"{id}","webhook_url":"https://example.org"}}"#
    )
}

#[test]
#[ignore = "the process that the other tests start and kill"]
fn child() {
    let Ok(task) = std::env::var("TRANSCODE_TEST_TASK") else { return };
    let set = |name: &str| std::env::var(format!("TRANSCODE_TEST_{name}")).unwrap();
    let (directory, url, name, pause) =
        (PathBuf::from(set("DIRECTORY")), set("URL"), set("NAME"), set("PAUSE"));
    let kind = if url.is_empty() { Kind::Sqlite } else { Kind::Redis };
    let journal = Journal { path: directory.join("journal"), name, pause };
    let (queue, ledger) = Place { kind, directory, url }.open();
    if task == "push" {
        for n in 0.. {
            queue.push(Priority::Normal, &n.to_string()).unwrap();
            journal.write("pushed", &n.to_string(), 0);
        }
    }
    loop {
        work(&*queue, &ledger, &journal);
    }
}

struct Journal {
    path: PathBuf,
    name: String,
    pause: String,
}

impl Journal {
    /// One line; then stay there where that was asked for, until there is a file `go`.
    fn write(&self, stage: &str, job: &str, epoch: u64) {
        let mut file = std::fs::File::options().create(true).append(true).open(&self.path).unwrap();
        file.write_all(format!("{stage} {job} {epoch} {}\n", self.name).as_bytes()).unwrap();
        while stage == self.pause && !self.path.with_file_name("go").exists() {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// What a worker does with the next message.
fn work(queue: &dyn Queue, ledger: &Ledger, journal: &Journal) {
    let Some(delivery) = queue.take(&journal.name, LEASE, seconds(1)).unwrap() else { return };
    let Ok(Message::Jobs(jobs)) = job::read(&delivery.body, &Rules::default()) else {
        panic!("{}", delivery.body)
    };
    let id = jobs[0].id.clone().unwrap();
    journal.write("taken", id.as_str(), 0);
    ledger.admit(jobs[0].clone()).unwrap();
    journal.write("admitted", id.as_str(), 0);
    let (mut lease, record) = match ledger.grant(&id, &journal.name, LEASE).unwrap() {
        Grant::Granted { lease, record } => (lease, record),
        Grant::Over { .. } => {
            // It was done, and its worker died before it could take the message away.
            let _held = queue.remove(&delivery).unwrap();
            return;
        }
        _ => {
            let _held = queue.give_back(&delivery, Duration::from_millis(200)).unwrap();
            return;
        }
    };
    let lost = |done: Result<(), LedgerError>| match done {
        Ok(()) => false,
        Err(LedgerError::Lost { .. }) => {
            journal.write("lost", id.as_str(), record.epoch);
            true
        }
        Err(error) => panic!("{error:?}"),
    };
    journal.write("granted", id.as_str(), lease.epoch);
    if record.state != State::Committing {
        for step in 0..4 {
            std::thread::sleep(Duration::from_millis(15));
            if lost(ledger.renew(&mut lease, step * 25).map(drop)) {
                return;
            }
            let _held = queue.extend(&delivery, LEASE).unwrap();
            journal.write("working", id.as_str(), lease.epoch);
        }
    }
    if lost(ledger.begin_commit(&lease)) {
        return;
    }
    journal.write("committing", id.as_str(), lease.epoch);
    if lost(ledger.complete(&lease, &jobs[0].outputs().unwrap())) {
        return;
    }
    journal.write("completed", id.as_str(), lease.epoch);
    if queue.remove(&delivery).unwrap() == Hold::Kept {
        journal.write("removed", id.as_str(), lease.epoch);
    }
}

/// Every job is complete, once, with one message about it, and the queue is empty in the end.
fn all_done(place: &Place, jobs: usize) {
    let (queue, ledger) = place.open();
    let started = Instant::now();
    let records = loop {
        let records = ledger.list(&Filter { limit: 1_000, ..Filter::default() }).unwrap();
        let depth = queue.depth().unwrap();
        let empty = depth.high + depth.normal + depth.low + depth.held + depth.delayed == 0;
        if empty && records.len() == jobs && records.iter().all(|record| record.state.is_final()) {
            break records;
        }
        assert!(started.elapsed() < seconds(60), "{:?}: {depth:?} {:#?}", place.kind, place.journal());
        std::thread::sleep(Duration::from_millis(50));
    };
    let journal = place.journal();
    for record in records {
        assert_eq!(record.state, State::Complete, "{record:?}");
        assert_eq!(record.outbox.len(), 1, "{record:?}");
        let heard: Vec<_> =
            journal.iter().filter(|line| line.starts_with(&format!("completed {} ", record.id))).collect();
        // Who was killed right after its write had no time to tell.
        assert!(heard.len() <= 1, "{:?}: completed twice: {heard:?}", place.kind);
        assert!(
            heard.iter().all(|line| line.contains(&format!(" {} ", record.epoch))),
            "{heard:?} {record:?}"
        );
    }
}

#[test]
fn a_worker_killed_at_any_stage_loses_nothing_and_does_nothing_twice() {
    at_every_place(|place| {
        let (queue, _) = place.open();
        for stage in STAGES {
            queue.push(Priority::Normal, &message(stage)).unwrap();
            let mut first = place.start("work", &format!("killed-{stage}"), stage);
            place.wait_for(stage, |lines| {
                lines.iter().any(|line| line.starts_with(&format!("{stage} {stage} ")))
            });
            first.kill();
            // Whoever comes next finishes it, or finds it finished.
            let _second = place.start("work", &format!("after-{stage}"), "");
            let done =
                |lines: &[String]| lines.iter().any(|line| line.starts_with(&format!("completed {stage} ")));
            place.wait_for("the second worker", done);
        }
        let _last = place.start("work", "last", "");
        all_done(place, STAGES.len());
    });
}

#[test]
fn thirty_jobs_and_three_workers_survive_random_kills() {
    at_every_place(|place| {
        let seed = SystemClock.now().millis();
        println!("seed {seed}");
        let mut random = seed | 1;
        let mut next = |below: u64| {
            // xorshift (Marsaglia 2003).
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        let (queue, _) = place.open();
        (0..30).for_each(|n| queue.push(Priority::Normal, &message(&format!("j{n}"))).unwrap());
        let mut number = 0;
        let mut start = || {
            number += 1;
            place.start("work", &format!("w{number}"), "")
        };
        let mut workers: Vec<_> = (0..3).map(|_| start()).collect();
        let mut hit = 0;
        for _ in 0..15 {
            std::thread::sleep(Duration::from_millis(100 + next(250)));
            let which = next(3) as usize;
            workers[which].kill();
            let last = place.journal();
            hit += usize::from(last.last().is_some_and(|line| !line.starts_with("removed")));
            workers[which] = start();
        }
        all_done(place, 30);
        println!("{:?}: {hit} of 15 kills while the last line of the journal was a job's", place.kind);
    });
}

#[test]
fn a_worker_that_slept_past_its_lease_writes_nothing() {
    at_every_place(|place| {
        let (queue, ledger) = place.open();
        queue.push(Priority::Normal, &message("a")).unwrap();
        let sleeper = place.start("work", "sleeper", "working");
        place.wait_for("work", |lines| lines.iter().any(|line| line == "working a 1 sleeper"));
        sleeper.signal("-STOP");
        let _other = place.start("work", "awake", "");
        place.wait_for("the other", |lines| lines.iter().any(|line| line == "removed a 2 awake"));
        let before = ledger.get(&"a".parse().unwrap()).unwrap();
        std::fs::write(place.directory.join("go"), "").unwrap();
        sleeper.signal("-CONT");
        place.wait_for("the sleeper", |lines| lines.iter().any(|line| line == "lost a 1 sleeper"));
        assert_eq!(ledger.get(&"a".parse().unwrap()).unwrap(), before, "{:?}", place.kind);
        all_done(place, 1);
    });
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    at_every_place(|place| {
        let mut pusher = place.start("push", "pusher", "");
        place.wait_for("some pushes", |lines| lines.len() > 50);
        pusher.kill();
        let acknowledged = place.journal().len() as u64;
        let (queue, _) = place.open();
        let found = queue.depth().unwrap().normal;
        // One more may have been stored before it could be told of.
        assert!(
            (acknowledged..=acknowledged + 1).contains(&found),
            "{:?}: {acknowledged} {found}",
            place.kind
        );
        for n in 0..found {
            let taken =
                queue.take("reader", seconds(60), Duration::ZERO).unwrap().expect("as many as there are");
            assert_eq!(taken.body, n.to_string(), "{:?}", place.kind);
        }
    });
}

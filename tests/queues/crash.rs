//! Processes that are killed and stopped: whatever happens to a worker, no job is lost and none is done
//! twice.
//!
//! The workers are this very test program, started as [`child`]. They work as a worker does, but for the pictures:
//! take, admit, grant, renew, commit, complete, remove; and write a line into a journal at each stage.

use crate::elasticmq::ElasticMq;
use crate::server::RedisServer;
use crate::servers::Minio;
use crate::{Kind, QUEUES, database, objects, seconds, sqs};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use transcode_svc::broker::Redis;
use transcode_svc::dispatch::{Dispatch, DispatchError};
use transcode_svc::job::{JobId, Priority, Rules};
use transcode_svc::ledger::{
    Due, Filter, Ledger, LedgerError, Policy, Record, Records, RedisRecords, SqliteRecords, State, Stored,
    Version, WorkerCard,
};
use transcode_svc::queue::{
    DeadLetter, Delivery, Depth, Hold, Lines, Queue, QueueError, RedisQueue, SqliteQueue, SqsQueue,
};
use transcode_svc::time::{Clock, SystemClock, Timestamp};

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
    fn parts(&self) -> (Box<dyn Queue>, Arc<dyn Records>, Arc<dyn Clock>) {
        match self.kind {
            Kind::Sqlite => {
                let (database, clock) = (database(&self.directory), Arc::new(SystemClock));
                let records = Arc::new(SqliteRecords::new(database.clone()));
                (Box::new(SqliteQueue::new(database, clock.clone())), records, clock)
            }
            Kind::Redis => {
                let redis = Arc::new(Redis::new(&self.url).unwrap());
                let records = Arc::new(RedisRecords::new(redis.clone()));
                (Box::new(RedisQueue::new(redis.clone(), redis.clone(), Lines::default())), records, redis)
            }
            Kind::Minio | Kind::Versity => panic!("a store is no queue"),
            Kind::Sqs => {
                // Its URL, the ledger's store and the bucket there.
                let parts: Vec<_> = self.url.split(' ').collect();
                let records = Arc::new(objects(parts[1], parts[2], &self.directory));
                (Box::new(SqsQueue::new(sqs(parts[0])).unwrap()), records, Arc::new(SystemClock))
            }
        }
    }

    fn open(&self) -> (Box<dyn Queue>, Ledger) {
        let (queue, records, clock) = self.parts();
        (queue, Ledger::new(records, clock, policy()))
    }

    fn start(&self, task: &str, name: &str, pause: &str) -> Worker {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "crash::child", "--ignored", "--nocapture", "--test-threads=1"]);
        command.env("TRANSCODE_TEST_TASK", task).env("TRANSCODE_TEST_NAME", name);
        command.env("TRANSCODE_TEST_PAUSE", pause).env("TRANSCODE_TEST_DIRECTORY", &self.directory);
        command.env("TRANSCODE_TEST_KIND", format!("{:?}", self.kind));
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

/// So many kills would make any job poison.
fn policy() -> Policy {
    Policy { deaths: 1_000, ..Policy::default() }
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
    for kind in QUEUES {
        let directory = tempfile::tempdir().unwrap();
        let server = (kind == Kind::Redis).then(RedisServer::start);
        let others = (kind == Kind::Sqs).then(|| (ElasticMq::shared(), Minio::shared()));
        let other = others.as_ref().map(|(queue, store)| {
            static NUMBER: AtomicU32 = AtomicU32::new(0);
            let bucket = format!("crash{}", NUMBER.fetch_add(1, Ordering::Relaxed));
            store.create_bucket(&bucket);
            format!("{} {} {bucket}", queue.lines(), store.endpoint())
        });
        let url = server.as_ref().map(RedisServer::url).or(other).unwrap_or_default();
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
    let kind = QUEUES.into_iter().find(|kind| format!("{kind:?}") == set("KIND")).unwrap();
    let journal = Arc::new(Journal { path: directory.join("journal"), name, pause });
    let (inner, records, clock) = Place { kind, directory, url }.parts();
    if task == "push" {
        for n in 0.. {
            inner.push(Priority::Normal, &n.to_string()).unwrap();
            journal.write("pushed", &n.to_string(), 0);
        }
    }
    let queue = Arc::new(StagedQueue { inner, journal: journal.clone() });
    let records = Arc::new(StagedRecords { inner: records, journal: journal.clone() });
    let dispatch = Dispatch::new(queue, Ledger::new(records, clock, policy()), Rules::default());
    loop {
        work(&dispatch, &journal);
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

/// What a worker does with the next job.
fn work(dispatch: &Dispatch, journal: &Journal) {
    let Some(mut work) = dispatch.next(&journal.name, LEASE, seconds(1)).unwrap() else { return };
    let (id, epoch) = (work.lease.job.clone(), work.lease.epoch);
    let lost = |done: Result<(), DispatchError>| match done {
        Ok(()) => false,
        Err(DispatchError::Ledger(LedgerError::Lost { .. })) => {
            journal.write("lost", id.as_str(), epoch);
            true
        }
        Err(error) => panic!("{error:?}"),
    };
    journal.write("granted", id.as_str(), epoch);
    if work.record.state != State::Committing {
        for step in 0..4 {
            std::thread::sleep(Duration::from_millis(15));
            if lost(dispatch.renew(&mut work, step * 25).map(drop)) {
                return;
            }
            journal.write("working", id.as_str(), epoch);
        }
    }
    if lost(dispatch.begin_commit(&work)) {
        return;
    }
    journal.write("committing", id.as_str(), epoch);
    let outputs = work.record.job.outputs().unwrap();
    lost(dispatch.complete(&work, &outputs));
}

/// A queue that writes into the journal what was taken and removed.
struct StagedQueue {
    inner: Box<dyn Queue>,
    journal: Arc<Journal>,
}

impl StagedQueue {
    fn write(&self, stage: &str, delivery: &Delivery) {
        let body: serde_json::Value = serde_json::from_str(&delivery.body).unwrap();
        self.journal.write(stage, body["id"].as_str().unwrap(), 0);
    }
}

impl Queue for StagedQueue {
    fn push(&self, priority: Priority, body: &str) -> Result<(), QueueError> {
        self.inner.push(priority, body)
    }
    fn take(&self, worker: &str, hold: Duration, wait: Duration) -> Result<Option<Delivery>, QueueError> {
        let taken = self.inner.take(worker, hold, wait)?;
        taken.iter().for_each(|delivery| self.write("taken", delivery));
        Ok(taken)
    }
    fn extend(&self, delivery: &Delivery, hold: Duration) -> Result<Hold, QueueError> {
        self.inner.extend(delivery, hold)
    }
    fn remove(&self, delivery: &Delivery) -> Result<Hold, QueueError> {
        let removed = self.inner.remove(delivery)?;
        self.write("removed", delivery);
        Ok(removed)
    }
    fn give_back(&self, delivery: &Delivery, after: Duration) -> Result<Hold, QueueError> {
        // Tests wait for nobody for long.
        self.inner.give_back(delivery, after.min(LEASE / 5))
    }
    fn bury(&self, delivery: &Delivery, reason: &str) -> Result<Hold, QueueError> {
        self.inner.bury(delivery, reason)
    }
    fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
        self.inner.dead_letters(limit)
    }
    fn revive(&self, number: u64) -> Result<bool, QueueError> {
        self.inner.revive(number)
    }
    fn depth(&self) -> Result<Depth, QueueError> {
        self.inner.depth()
    }
}

/// Records that write into the journal what was admitted and completed.
struct StagedRecords {
    inner: Arc<dyn Records>,
    journal: Arc<Journal>,
}

impl Records for StagedRecords {
    fn read(&self, id: &JobId) -> Result<Option<Stored>, LedgerError> {
        self.inner.read(id)
    }
    fn create(&self, record: &Record) -> Result<Option<Stored>, LedgerError> {
        let known = self.inner.create(record)?;
        self.journal.write("admitted", record.id.as_str(), 0);
        Ok(known)
    }
    fn replace(&self, version: &Version, record: &Record) -> Result<bool, LedgerError> {
        let done = self.inner.replace(version, record)?;
        if done && record.state == State::Complete {
            self.journal.write("completed", record.id.as_str(), record.epoch);
        }
        Ok(done)
    }
    fn list(&self, filter: &Filter) -> Result<Vec<Record>, LedgerError> {
        self.inner.list(filter)
    }
    fn due(&self, what: Due, now: Timestamp, limit: usize) -> Result<Vec<JobId>, LedgerError> {
        self.inner.due(what, now, limit)
    }
    fn put_worker(&self, card: &WorkerCard) -> Result<(), LedgerError> {
        self.inner.put_worker(card)
    }
    fn remove_worker(&self, name: &str) -> Result<(), LedgerError> {
        self.inner.remove_worker(name)
    }
    fn workers(&self) -> Result<Vec<WorkerCard>, LedgerError> {
        self.inner.workers()
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
        let open: Vec<_> = records.iter().filter(|record| !record.state.is_final()).collect();
        let (kind, count) = (place.kind, records.len());
        assert!(
            started.elapsed() < seconds(60),
            "{kind:?}: {depth:?} {count} {open:?} {:#?}",
            place.journal()
        );
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
        // Where the machine is slow its lease may run out too: then it has a later epoch.
        let by_the_other = |line: &String| line.starts_with("completed a ") && line.ends_with(" awake");
        place.wait_for("the other", |lines| lines.iter().any(by_the_other));
        let before = ledger.get(&"a".parse().unwrap()).unwrap();
        assert_eq!(before.as_ref().map(|record| record.state), Some(State::Complete));
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
        let take = || queue.take("reader", seconds(60), Duration::ZERO).unwrap();
        let mut bodies: Vec<u64> = (0..found).map(|_| take().expect("it").body.parse().unwrap()).collect();
        if place.kind == Kind::Sqs {
            bodies.sort();
        }
        assert_eq!(bodies, (0..found).collect::<Vec<_>>(), "{:?}", place.kind);
    });
}

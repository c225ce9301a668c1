//! A queue, a ledger, a store in a directory, and workers that are processes of their own.

use crate::elasticmq::ElasticMq;
use crate::redis_server::RedisServer;
use crate::servers::{ACCESS_KEY, Minio, S3Server, SECRET_KEY};
use crate::support::{children, clip, send, transcode};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use transcode_svc::broker::Redis;
use transcode_svc::config::{Config, Credentials, Secret};
use transcode_svc::database::Database;
use transcode_svc::dispatch::Dispatch;
use transcode_svc::job::{Job, JobId, Rules, read_submission};
use transcode_svc::ledger::{Ledger, ObjectRecords, Policy, Record, RedisRecords, SqliteRecords, State};
use transcode_svc::queue::{Lines, RedisQueue, SqliteQueue, SqsQueue, SqsSettings};
use transcode_svc::store::Stores;
use transcode_svc::time::SystemClock;

/// Far beyond what a job of these tests takes; whatever reaches it hangs.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Which queue and ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Sqlite,
    Redis,
    /// With the ledger in a bucket.
    Sqs,
}

pub const KINDS: [Kind; 3] = [Kind::Sqlite, Kind::Redis, Kind::Sqs];

/// A queue that speaks as SQS does, and a bucket for the ledger.
pub struct Sqs {
    pub server: Arc<ElasticMq>,
    store: Arc<S3Server>,
    queue: String,
    ledger: String,
}

impl Sqs {
    fn new(server: Arc<ElasticMq>) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let (store, queue) = (Minio::shared(), server.lines());
        let bucket = format!("fleet{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        store.create_bucket(&bucket);
        Self { server, store, queue, ledger: format!("s3://{bucket}/transcode/ledger") }
    }

    fn dispatch(&self, dir: &Path) -> Dispatch {
        let secret_access_key = Secret::new("queue");
        let keys = Credentials { access_key_id: "queue".to_owned(), secret_access_key, session_token: None };
        let poll = Duration::from_secs(1);
        let settings = SqsSettings { credentials: Some(keys), poll, ..SqsSettings::new(&self.queue) };
        let config = Config::from_parts(None, &store_variables(&self.store).into(), dir).unwrap();
        let records = ObjectRecords::open(&Stores::new(&config).unwrap(), &self.ledger).unwrap();
        let ledger = Ledger::new(Arc::new(records), Arc::new(SystemClock), Policy::default());
        Dispatch::new(Arc::new(SqsQueue::new(settings).unwrap()), ledger, Rules::default())
    }

    /// The keys of queue and store are not the same.
    fn variables(&self) -> Vec<(String, String)> {
        let own = [
            ("SQS_TRANSCODE_QUEUE_URL", self.queue.as_str()),
            ("TRANSCODE_QUEUE_POLL", "1s"),
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ACCESS_KEY_ID", "queue"),
            ("AWS_SECRET_ACCESS_KEY", "queue"),
            ("TRANSCODE_LEDGER_URL", self.ledger.as_str()),
        ];
        let own = own.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        own.chain(store_variables(&self.store)).collect()
    }
}

/// What tells the product of this store.
pub fn store_variables(store: &S3Server) -> [(String, String); 3] {
    [
        ("TRANSCODE_STORE_ENDPOINT", store.endpoint()),
        ("TRANSCODE_STORE_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
        ("TRANSCODE_STORE_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
}

/// Everything but the workers.
pub struct Fleet {
    pub kind: Kind,
    pub dir: tempfile::TempDir,
    pub redis: Option<RedisServer>,
    pub sqs: Option<Sqs>,
    pub dispatch: Dispatch,
}

impl Fleet {
    pub fn new(kind: Kind) -> Self {
        Self::with(kind, ElasticMq::shared)
    }

    /// With a queue's server that no other test uses.
    pub fn alone(kind: Kind) -> Self {
        Self::with(kind, || Arc::new(ElasticMq::start()))
    }

    fn with(kind: Kind, elasticmq: impl FnOnce() -> Arc<ElasticMq>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("store/in")).unwrap();
        fs::copy(clip("gopro-karma.mp4"), dir.path().join("store/in/karma.mp4")).unwrap();
        let redis = (kind == Kind::Redis).then(RedisServer::start);
        let sqs = (kind == Kind::Sqs).then(|| Sqs::new(elasticmq()));
        let dispatch = match (&redis, &sqs) {
            (Some(server), _) => {
                let redis = Arc::new(Redis::new(&server.url()).unwrap());
                let records = Arc::new(RedisRecords::new(redis.clone()));
                let ledger = Ledger::new(records, redis.clone(), Policy::default());
                let queue = RedisQueue::new(redis.clone(), redis, Lines::default());
                Dispatch::new(Arc::new(queue), ledger, Rules::default())
            }
            (_, Some(sqs)) => sqs.dispatch(dir.path()),
            (None, None) => {
                fs::create_dir_all(dir.path().join("data")).unwrap();
                let database = Database::open(&dir.path().join("data/transcode.sqlite")).unwrap();
                let (database, clock) = (Arc::new(database), Arc::new(SystemClock));
                let records = Arc::new(SqliteRecords::new(database.clone()));
                let ledger = Ledger::new(records, clock.clone(), Policy::default());
                Dispatch::new(Arc::new(SqliteQueue::new(database, clock)), ledger, Rules::default())
            }
        };
        Self { kind, dir, redis, sqs, dispatch }
    }

    /// End the queue's server as a power cut would, and start it again some time later.
    pub fn restart_broker(&self, away: Duration) {
        if let Some(server) = &self.redis {
            server.kill();
            std::thread::sleep(away);
            server.start_again();
        }
        if let Some(Sqs { server, .. }) = &self.sqs {
            server.kill();
            std::thread::sleep(away);
            server.start_again();
        }
    }

    pub fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    /// A small job of the clip under that name: a rung of 240 lines, six segments.
    pub fn job(&self, name: &str) -> Value {
        json!({
            "version": 1, "id": name, "sources": ["in/karma.mp4"], "profile": "abr",
            "ladder": [{"name": "240p", "height": 240, "video": "300k", "audio": "64k"}],
            "destination": format!("out/{name}"),
        })
    }

    /// Take a job in, as the API does.
    pub fn submit(&self, job: &Value) -> JobId {
        let job: Job = read_submission(&job.to_string(), &Rules::default()).unwrap();
        self.dispatch.submit(job).unwrap().record.id
    }

    /// Start a worker with these settings.
    pub fn worker(&self, name: &str, settings: &[(&str, &str)]) -> Worker {
        Worker::start(self, name, settings)
    }

    pub fn record(&self, id: &str) -> Option<Record> {
        // A ledger that is away for a moment says nothing; whoever waits asks again.
        self.dispatch.ledger().get(&id.parse().unwrap()).ok().flatten()
    }

    /// Wait until it is over; its record.
    #[track_caller]
    pub fn over(&self, id: &str) -> Record {
        self.until(id, "it is over", |record| record.state.is_final())
    }

    #[track_caller]
    pub fn until(&self, id: &str, what: &str, so: impl Fn(&Record) -> bool) -> Record {
        let began = Instant::now();
        loop {
            let record = self.record(id);
            if let Some(record) = record.as_ref().filter(|record| so(record)) {
                return record.clone();
            }
            assert!(
                began.elapsed() < PATIENCE,
                "{:?}: never: {what}: {record:#?}\n{}",
                self.kind,
                self.logs()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// It is over and complete.
    #[track_caller]
    pub fn complete(&self, id: &str) -> Record {
        let record = self.over(id);
        assert_eq!(record.state, State::Complete, "{:?}: {record:#?}\n{}", self.kind, self.logs());
        record
    }

    /// What the workers wrote.
    pub fn logs(&self) -> String {
        let entries = fs::read_dir(self.dir.path()).unwrap().flatten();
        let logs =
            entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "log"));
        let text = |path: PathBuf| {
            format!("--- {}\n{}", path.display(), fs::read_to_string(&path).unwrap_or_default())
        };
        logs.map(text).collect()
    }
}

/// Variables that would lead a worker to a person's own queue.
pub const QUEUES: [&str; 5] =
    ["QUEUE_NAME", "REDIS_URL", "UPSTASH_REDIS_URL", "SQS_TRANSCODE_QUEUE_URL", "WEBHOOK_URL"];

/// A worker's process; killed when dropped.
pub struct Worker {
    child: Child,
    pub log: PathBuf,
}

impl Worker {
    fn start(fleet: &Fleet, name: &str, settings: &[(&str, &str)]) -> Self {
        let mut command = transcode(["worker", "--name", name, "--platform", "software", "--store"]);
        command.arg(fleet.store());
        for name in QUEUES {
            command.env_remove(name);
        }
        match (&fleet.redis, &fleet.sqs) {
            (Some(server), _) => command.env("REDIS_URL", server.url()),
            (_, Some(sqs)) => command.envs(sqs.variables()),
            (None, None) => command.env("TRANSCODE_DATA", fleet.dir.path().join("data")),
        };
        command.envs(settings.iter().copied());
        Self::launch(command, fleet.dir.path().join(format!("{name}.log")))
    }

    /// Start this command, with its lines in a file.
    pub fn launch(mut command: std::process::Command, log: PathBuf) -> Self {
        let file = File::options().create(true).append(true).open(&log).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        Self { child: command.spawn().unwrap(), log }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The process of its graph, where there is one.
    pub fn graph(&self) -> Option<u32> {
        children(self.id()).first().copied()
    }

    pub fn signal(&self, signal: &str) {
        send(self.id(), signal);
    }

    /// End it as a power cut would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Wait until it has ended by itself; its exit code.
    #[track_caller]
    pub fn ended(&mut self, limit: Duration) -> Option<i32> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(began.elapsed() < limit, "it does not end: {}", self.text());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn text(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// The segments below a directory, with what tells one writing from another.
pub fn segments(store: &Path) -> Vec<(PathBuf, Identity)> {
    let mut found = Vec::new();
    let mut folders = vec![store.join("out")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "ts") {
                found.extend(Identity::of(&path).map(|identity| (path, identity)));
            }
        }
    }
    found
}

/// Tells a file from another of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    inode: u64,
    modified: i64,
    size: u64,
}

impl Identity {
    fn of(path: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt as _;
        let data = fs::metadata(path).ok()?;
        Some(Self {
            inode: data.ino(),
            modified: data.mtime_nsec() + data.mtime() * 1_000_000_000,
            size: data.size(),
        })
    }
}

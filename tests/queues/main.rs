//! Queues and ledgers: one suite for each trait, run on every implementation and held against a small
//! model; then what is special about each, and processes that are killed.
#![allow(clippy::unwrap_used)]

mod crash;
mod delivery;
mod dispatch;
#[path = "../support/elasticmq.rs"]
mod elasticmq;
mod faults;
mod ledger_model;
mod ledger_rules;
mod queue_model;
mod queue_rules;
mod redis_only;
#[path = "../support/redis.rs"]
mod server;
mod sqs_model;
mod sqs_only;
#[path = "../support/web.rs"]
mod web;
mod webhooks;

use elasticmq::ElasticMq;
use server::RedisServer;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use transcode_svc::broker::Redis;
use transcode_svc::config::{Credentials, Secret};
use transcode_svc::database::Database;
use transcode_svc::job::{self, Job, Message, Rules};
use transcode_svc::ledger::{Ledger, Policy, Records, RedisRecords, SqliteRecords};
use transcode_svc::queue::{Lines, Queue, RedisQueue, SqliteQueue, SqsQueue, SqsSettings};
use transcode_svc::time::{Clock, ManualClock, Timestamp};

/// Some day in 2026.
const START: Timestamp = Timestamp::from_millis(1_791_036_309_000);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The implementations that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sqlite,
    Redis,
    /// A queue alone. Its clock is its own.
    Sqs,
}

/// Where there is a queue.
const QUEUES: [Kind; 3] = [Kind::Sqlite, Kind::Redis, Kind::Sqs];

/// Where messages come in the order in which they were pushed, and the clock can be turned by hand.
const ORDERED: [Kind; 2] = [Kind::Sqlite, Kind::Redis];

/// Where there is a ledger.
const LEDGERS: [Kind; 2] = [Kind::Sqlite, Kind::Redis];

/// A place for one queue and one ledger, empty at first, with a clock that is turned by hand.
struct Bench {
    kind: Kind,
    clock: Arc<ManualClock>,
    directory: tempfile::TempDir,
    server: Option<Arc<RedisServer>>,
    /// Its server and the queue's URL.
    sqs: Option<(Arc<ElasticMq>, String)>,
    /// Keeps benches on one server apart: each has a database of its own.
    number: u32,
}

impl Bench {
    fn new(kind: Kind) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let sqs = (kind == Kind::Sqs).then(ElasticMq::shared);
        Self {
            kind,
            clock: Arc::new(ManualClock::new(START)),
            directory: tempfile::tempdir().unwrap(),
            server: (kind == Kind::Redis).then(RedisServer::shared),
            sqs: sqs.map(|server| {
                let url = server.lines();
                (server, url)
            }),
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
        }
    }

    fn server(&self) -> &RedisServer {
        self.server.as_deref().expect("a bench on Redis")
    }

    /// Open the queue; what was opened before is as another process's.
    fn queue(&self) -> Box<dyn Queue> {
        let clock: Arc<dyn Clock> = self.clock.clone();
        match self.kind {
            Kind::Sqlite => Box::new(SqliteQueue::new(self.database(), clock)),
            Kind::Redis => Box::new(RedisQueue::new(self.redis(), clock, Lines::default())),
            Kind::Sqs => Box::new(SqsQueue::new(self.sqs()).unwrap()),
        }
    }

    fn records(&self) -> Arc<dyn Records> {
        match self.kind {
            Kind::Sqlite => Arc::new(SqliteRecords::new(self.database())),
            Kind::Redis => Arc::new(RedisRecords::new(self.redis())),
            Kind::Sqs => panic!("SQS is no ledger"),
        }
    }

    /// How its SQS queue is reached.
    fn sqs(&self) -> SqsSettings {
        sqs(&self.sqs.as_ref().expect("a bench on SQS").1)
    }

    /// Open the ledger; as with the queue.
    fn ledger(&self) -> Ledger {
        Ledger::new(self.records(), self.clock.clone(), Policy::default())
    }

    fn database(&self) -> Arc<Database> {
        database(self.directory.path())
    }

    fn redis(&self) -> Arc<Redis> {
        Arc::new(Redis::new(&self.url()).unwrap())
    }

    /// Where its Redis is.
    fn url(&self) -> String {
        format!("{}/{}", self.server().url(), self.number)
    }

    /// A job, as the Redis workers' producers write it.
    fn job(&self, name: &str) -> Job {
        let text = format!(
            r#"{{"id":"{name}","input_bucket":"in","input_key":"{name}.mp4","output_bucket":"out",
                "output_prefix":"{name}","webhook_url":"https://example.org/{name}"}}"#
        );
        let Message::Jobs(mut jobs) = job::read(&text, &Rules::default()).unwrap() else { panic!("a job") };
        jobs.remove(0)
    }
}

fn database(directory: &Path) -> Arc<Database> {
    Arc::new(Database::open(&directory.join("transcode.sqlite")).unwrap())
}

fn sqs(url: &str) -> SqsSettings {
    let secret_access_key = Secret::new("any");
    let keys = Credentials { access_key_id: "any".to_owned(), secret_access_key, session_token: None };
    SqsSettings { credentials: Some(keys), ..SqsSettings::new(url) }
}

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
mod objects_only;
mod queue_model;
mod queue_rules;
mod redis_only;
#[path = "../support/redis.rs"]
mod server;
#[path = "../support/servers.rs"]
mod servers;
mod sqs_model;
mod sqs_only;
#[path = "../support/web.rs"]
mod web;
mod webhooks;

use elasticmq::ElasticMq;
use server::RedisServer;
use servers::{Minio, S3Server, Versity};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use transcode_svc::broker::Redis;
use transcode_svc::config::{Config, Credentials, Secret};
use transcode_svc::database::Database;
use transcode_svc::job::{self, Job, Message, Rules};
use transcode_svc::ledger::{Ledger, ObjectRecords, Policy, Records, RedisRecords, SqliteRecords};
use transcode_svc::queue::{Lines, Queue, RedisQueue, SqliteQueue, SqsQueue, SqsSettings};
use transcode_svc::store::Stores;
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
    /// A ledger alone, as objects.
    Minio,
    /// The same in another store.
    Versity,
}

/// Where there is a queue.
const QUEUES: [Kind; 3] = [Kind::Sqlite, Kind::Redis, Kind::Sqs];

/// Where messages come in the order in which they were pushed, and the clock can be turned by hand.
const ORDERED: [Kind; 2] = [Kind::Sqlite, Kind::Redis];

/// Where there is a ledger.
const LEDGERS: [Kind; 4] = [Kind::Sqlite, Kind::Redis, Kind::Minio, Kind::Versity];

/// Where of several writers at the same moment one gets through: versitygw does not promise that.
const EXCLUSIVE: [Kind; 3] = [Kind::Sqlite, Kind::Redis, Kind::Minio];

/// A place for one queue and one ledger, empty at first, with a clock that is turned by hand.
struct Bench {
    kind: Kind,
    clock: Arc<ManualClock>,
    directory: tempfile::TempDir,
    server: Option<Arc<RedisServer>>,
    /// Its server and the queue's URL.
    sqs: Option<(Arc<ElasticMq>, String)>,
    /// Its server, with a bucket for each bench.
    store: Option<Arc<S3Server>>,
    /// Keeps benches on one server apart: each has a database of its own.
    number: u32,
}

impl Bench {
    fn new(kind: Kind) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let sqs = (kind == Kind::Sqs).then(ElasticMq::shared);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let store = match kind {
            Kind::Minio => Some(Minio::shared()),
            Kind::Versity => Some(Versity::shared()),
            _ => None,
        };
        store.iter().for_each(|store| store.create_bucket(&format!("ledger{number}")));
        Self {
            kind,
            clock: Arc::new(ManualClock::new(START)),
            directory: tempfile::tempdir().unwrap(),
            server: (kind == Kind::Redis).then(RedisServer::shared),
            sqs: sqs.map(|server| {
                let url = server.lines();
                (server, url)
            }),
            store,
            number,
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
            Kind::Minio | Kind::Versity => panic!("a store is no queue"),
        }
    }

    fn records(&self) -> Arc<dyn Records> {
        match self.kind {
            Kind::Sqlite => Arc::new(SqliteRecords::new(self.database())),
            Kind::Redis => Arc::new(RedisRecords::new(self.redis())),
            Kind::Sqs => panic!("SQS is no ledger"),
            Kind::Minio | Kind::Versity => Arc::new(self.objects()),
        }
    }

    /// The ledger in its bucket.
    fn objects(&self) -> ObjectRecords {
        let store = self.store.as_deref().expect("a bench on a store");
        objects(&store.endpoint(), &format!("ledger{}", self.number), self.directory.path())
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

/// The ledger in a bucket of the tests' own servers.
fn objects(endpoint: &str, bucket: &str, directory: &Path) -> ObjectRecords {
    let variables = [
        ("AWS_ACCESS_KEY_ID", servers::ACCESS_KEY),
        ("AWS_SECRET_ACCESS_KEY", servers::SECRET_KEY),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ENDPOINT_URL", endpoint),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let config = Config::from_parts(None, &variables, directory).unwrap();
    let stores = Stores::new(&config).unwrap();
    ObjectRecords::open(&stores, &format!("s3://{bucket}/transcode/ledger")).unwrap()
}

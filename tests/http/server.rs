//! A server of one's own: loopback, a directory as store, SQLite or Redis behind it.

use crate::client::{Answer, Begun, ask, begin};
use crate::redis_server::RedisServer;
use crate::servers::S3Server;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use transcode_svc::broker::Redis;
use transcode_svc::config::{Config, Variables};
use transcode_svc::database::Database;
use transcode_svc::dispatch::{Dispatch, Work};
use transcode_svc::events::Hub;
use transcode_svc::http::{Api, Objects, Parts, Settings, serve};
use transcode_svc::job::Rules;
use transcode_svc::ledger::{Ledger, Policy, RedisRecords, SqliteRecords};
use transcode_svc::metrics::Metrics;
use transcode_svc::queue::{Lines, RedisQueue, SqliteQueue};
use transcode_svc::store::Stores;
use transcode_svc::time::SystemClock;

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) parts: Parts,
    pub(crate) directory: tempfile::TempDir,
    pub(crate) description: Value,
    runtime: Option<tokio::runtime::Runtime>,
    stop: Option<oneshot::Sender<()>>,
    ended: Option<tokio::task::JoinHandle<std::io::Result<()>>>,
    _redis: Option<Arc<RedisServer>>,
}

impl Server {
    /// With the settings of one machine.
    pub(crate) fn plain() -> Self {
        Self::with(Settings::default())
    }

    pub(crate) fn with(settings: Settings) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let dispatch = sqlite(&directory);
        Self::over(directory, dispatch, settings, None, None)
    }

    /// With a bucket as the store, at `home`.
    pub(crate) fn on_bucket(server: &S3Server, home: &str, settings: Settings) -> Self {
        let mut variables: Variables = server.variables().into_iter().collect();
        // What is gone is not waited for in a test.
        variables.insert("TRANSCODE_STORE_RETRY_TIME".to_owned(), "1s".to_owned());
        let directory = tempfile::tempdir().unwrap();
        let config = Config::from_parts(None, &variables, directory.path()).unwrap();
        let objects = Arc::new(Objects::new(Arc::new(Stores::new(&config).unwrap()), home));
        let dispatch = sqlite(&directory);
        Self::over(directory, dispatch, settings, None, Some(objects))
    }

    pub(crate) fn on_redis() -> Self {
        let server = Arc::new(RedisServer::start());
        let redis = Arc::new(Redis::new(&server.url()).unwrap());
        let clock = Arc::new(SystemClock);
        let queue = Arc::new(RedisQueue::new(Arc::clone(&redis), clock.clone(), Lines::default()));
        let ledger = Ledger::new(Arc::new(RedisRecords::new(redis)), clock, Policy::default());
        let dispatch = Dispatch::new(queue, ledger, Rules::default());
        Self::over(tempfile::tempdir().unwrap(), dispatch, Settings::default(), Some(server), None)
    }

    fn over(
        directory: tempfile::TempDir,
        dispatch: Dispatch,
        settings: Settings,
        redis: Option<Arc<RedisServer>>,
        objects: Option<Arc<Objects>>,
    ) -> Self {
        let store = directory.path().join("store");
        std::fs::create_dir(&store).unwrap();
        let objects = objects.unwrap_or_else(|| {
            let stores = Arc::new(Stores::new(&Config::default()).unwrap());
            Arc::new(Objects::new(stores, store.to_str().unwrap()))
        });
        let (hub, metrics) = (Hub::default(), Metrics::new());
        let parts = Parts { dispatch, rules: Arc::new(Rules::default()), hub, metrics, objects };
        let api = Api::new(parts.clone(), settings);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (stop, stopped) = oneshot::channel();
        let (address, ended) = runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let stopped = async { drop(stopped.await) };
            (address, tokio::spawn(serve(listener, api.router(), stopped)))
        });
        Self {
            address,
            parts,
            directory,
            description: api.description(),
            runtime: Some(runtime),
            stop: Some(stop),
            ended: Some(ended),
            _redis: redis,
        }
    }

    /// Where the store is.
    pub(crate) fn store(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    /// Put an object there.
    pub(crate) fn put(&self, key: &str, bytes: &[u8]) {
        let path = self.store().join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    pub(crate) fn get(&self, target: &str) -> Answer {
        ask(self.address, "GET", target, &[], b"")
    }

    pub(crate) fn post(&self, target: &str, body: &str) -> Answer {
        ask(self.address, "POST", target, &[("content-type", "application/json")], body.as_bytes())
    }

    pub(crate) fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        ask(self.address, method, target, headers, body)
    }

    pub(crate) fn begin(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> Begun {
        begin(self.address, method, target, headers)
    }

    /// Submit a job of that name, to the folder of that name.
    pub(crate) fn submit(&self, name: &str) {
        let answer = self.post("/api/v1/jobs", &job(name));
        answer.is(201);
    }

    /// What a worker of that name gets next.
    pub(crate) fn take(&self, worker: &str) -> Option<Work> {
        self.parts.dispatch.next(worker, Duration::from_secs(60), Duration::from_millis(200)).unwrap()
    }

    /// End it, as somebody who asks it to; how that went.
    pub(crate) fn end(&mut self) -> std::io::Result<()> {
        drop(self.stop.take());
        let ended = self.ended.take().unwrap();
        self.runtime.as_ref().unwrap().block_on(ended).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn sqlite(directory: &tempfile::TempDir) -> Dispatch {
    let database = Arc::new(Database::open(&directory.path().join("transcode.sqlite")).unwrap());
    let clock = Arc::new(SystemClock);
    let queue = Arc::new(SqliteQueue::new(Arc::clone(&database), clock.clone()));
    let ledger = Ledger::new(Arc::new(SqliteRecords::new(database)), clock, Policy::default());
    Dispatch::new(queue, ledger, Rules::default())
}

/// A job of our own format.
pub(crate) fn job(name: &str) -> String {
    format!(
        r#"{{"version":1,"id":"{name}","sources":["in/{name}.mp4"],"destination":"out/{name}","profile":"abr"}}"#
    )
}

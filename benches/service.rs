//! The service under load: a thousand jobs at once by the HTTP API, then the API while they are worked on.
//!
//! `cargo bench -p transcode-svc --bench service`
//!
//! For each queue, in a process of its own (so that memory is that queue's): eight connections submit a thousand
//! jobs; one taker takes some of them and gives them back; then four workers bring all to their end, each with the
//! ledger's and the queue's steps of a real job (take, one renewal, begin of the publication, end) and a segment of
//! 100 kB with its playlist written to a directory, synced, in the place of a graph. Meanwhile four clients ask for
//! a job, a page of jobs, the queue and the metrics, 25 times a second each; a request's time counts from when it
//! was due, so that one that is late makes the next ones late. Clients, workers, and API share the machine and the
//! process. Queues whose servers are not installed are named and left out.

#[path = "../tests/support/elasticmq.rs"]
mod elasticmq;
#[path = "../tests/support/redis.rs"]
mod redis;
#[path = "../tests/support/servers.rs"]
mod servers;

use elasticmq::ElasticMq;
use redis::RedisServer;
use servers::Minio;
use std::error::Error;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use transcode_core::Cancel;
use transcode_core::sink::{DirSink, ObjectKind, Sink as _};
use transcode_svc::broker::Redis;
use transcode_svc::config::{Config, Credentials, Secret};
use transcode_svc::database::Database;
use transcode_svc::dispatch::Dispatch;
use transcode_svc::events::Hub;
use transcode_svc::http::{Api, Objects, Parts, Settings, serve};
use transcode_svc::job::Rules;
use transcode_svc::ledger::{Ledger, ObjectRecords, Policy, Progress, RedisRecords, SqliteRecords};
use transcode_svc::metrics::Metrics;
use transcode_svc::queue::{Lines, Queue, RedisQueue, SqliteQueue, SqsQueue, SqsSettings};
use transcode_svc::store::Stores;
use transcode_svc::time::SystemClock;

const JOBS: usize = 1_000;
/// Connections that submit at the same time.
const SUBMITTERS: usize = 8;
/// Messages that are taken and given back before the work begins.
const TAKES: usize = 300;
const WORKERS: usize = 4;
/// What a watcher asks for; each has a connection and a pace of its own.
const WATCHED: [&str; 4] = ["/api/v1/jobs/", "/api/v1/jobs?limit=50", "/api/v1/queue", "/metrics"];
/// Between two requests of a watcher: together they send 100 a second.
const PACE: Duration = Duration::from_millis(40);
const LEASE: Duration = Duration::from_secs(60);
static SEGMENT: [u8; 100_000] = [0x47; 100_000];
const PLAYLIST: &str =
    "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:6\n#EXTINF:6.0,\n00000.ts\n#EXT-X-ENDLIST\n";

type Done<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// The queues, by the names under which they are measured.
const QUEUES: [&str; 3] = ["SQLite", "Redis", "SQS + MinIO"];

fn main() -> ExitCode {
    let asked: Vec<String> = std::env::args().collect();
    if let Some(at) = asked.iter().position(|word| word == "--only") {
        return match measure(asked.get(at + 1).map_or("", String::as_str)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        };
    }
    println!(
        "| queue and ledger | submitted | taken | whole jobs | API p50 | p99 | longest | memory before | after | at most |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
    let mut good = true;
    for name in QUEUES {
        match missing(name) {
            Some(missing) => println!("| {name} | not measured: {missing} |"),
            None => good &= alone(name),
        }
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Measure one queue in a process of its own; whether that went well.
fn alone(name: &str) -> bool {
    let program = std::env::current_exe();
    let ended = program.and_then(|program| Command::new(program).args(["--only", name]).status());
    ended.is_ok_and(|status| status.success())
}

/// What is not installed here that this queue needs.
fn missing(name: &str) -> Option<&'static str> {
    let runs = |program: &str, option: &str| Command::new(program).arg(option).output().is_ok();
    let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache");
    match name {
        "Redis" if !runs("redis-server", "--version") => {
            Some("redis-server is missing: run scripts/setup test")
        }
        "SQS + MinIO" if !runs("java", "-version") => Some("java is missing: run scripts/setup test"),
        "SQS + MinIO" if !cache.join("elasticmq").exists() => {
            Some("ElasticMQ is missing: run scripts/servers-build")
        }
        "SQS + MinIO" if !cache.join("bin/minio").exists() => Some("minio is missing: run scripts/setup"),
        _ => None,
    }
}

/// Servers that run as long as they are measured.
type Running = Vec<Box<dyn std::any::Any>>;

fn open(name: &str, directory: &Path) -> Done<(Dispatch, Running)> {
    let clock = Arc::new(SystemClock);
    let mut running = Running::new();
    let (queue, ledger): (Arc<dyn Queue>, Ledger) = match name {
        "SQLite" => {
            let database = Arc::new(Database::open(&directory.join("transcode.sqlite"))?);
            let records = Arc::new(SqliteRecords::new(database.clone()));
            let ledger = Ledger::new(records, clock.clone(), Policy::default());
            (Arc::new(SqliteQueue::new(database, clock)), ledger)
        }
        "Redis" => {
            let server = RedisServer::start();
            let redis = Arc::new(Redis::new(&server.url())?);
            running.push(Box::new(server));
            let records = Arc::new(RedisRecords::new(redis.clone()));
            let ledger = Ledger::new(records, redis.clone(), Policy::default());
            (Arc::new(RedisQueue::new(redis.clone(), redis, Lines::default())), ledger)
        }
        "SQS + MinIO" => {
            let (server, store) = (ElasticMq::start(), Minio::start());
            store.create_bucket("ledger");
            let keys = Credentials {
                access_key_id: "any".to_owned(),
                secret_access_key: Secret::new("any"),
                session_token: None,
            };
            let settings = SqsSettings { credentials: Some(keys), ..SqsSettings::new(&server.lines()) };
            let variables = store.variables().into_iter().collect();
            let stores = Stores::new(&Config::from_parts(None, &variables, directory)?)?;
            let records = Arc::new(ObjectRecords::open(&stores, "s3://ledger/transcode/ledger")?);
            running.extend([Box::new(server) as Box<dyn std::any::Any>, Box::new(store)]);
            (Arc::new(SqsQueue::new(settings)?), Ledger::new(records, clock, Policy::default()))
        }
        other => return Err(format!("there is no queue {other:?}; allowed are {}", QUEUES.join(", ")).into()),
    };
    Ok((Dispatch::new(queue, ledger, Rules::default()), running))
}

/// Measure one queue and print its row, with the API's times by route below on stderr.
fn measure(name: &str) -> Done<()> {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let (dispatch, _running) = open(name, directory.path())?;
    let store = directory.path().join("store");
    std::fs::create_dir(&store)?;
    let (address, _runtime) = api(&dispatch, &store)?;
    let before = memory("VmRSS")?;

    let began = Instant::now();
    submit_all(address)?;
    let submitted = rate(JOBS, began);

    let began = Instant::now();
    let held: Vec<_> = (0..TAKES)
        .filter_map(|_| dispatch.queue().take("taker", LEASE, Duration::from_secs(1)).transpose())
        .collect::<Result<_, _>>()?;
    let taken = rate(held.len(), began);
    for delivery in &held {
        let _kept = dispatch.queue().give_back(delivery, Duration::ZERO)?;
    }

    let left = AtomicUsize::new(JOBS);
    let over = AtomicBool::new(false);
    let began = Instant::now();
    let (worked, times) = std::thread::scope(|scope| -> Done<(String, Vec<Vec<Duration>>)> {
        let watchers: Vec<_> =
            WATCHED.iter().map(|route| scope.spawn(|| watch(address, route, &over))).collect();
        let workers: Vec<_> = (0..WORKERS)
            .map(|number| {
                let (dispatch, store, left) = (&dispatch, &store, &left);
                scope.spawn(move || work(dispatch, &format!("worker-{number}"), store, left))
            })
            .collect();
        let ended: Vec<_> =
            workers.into_iter().map(|worker| worker.join().map_err(|_| "a worker panicked")).collect();
        let worked = rate(JOBS, began);
        over.store(true, Ordering::Relaxed);
        let times: Vec<_> =
            watchers.into_iter().map(|watcher| watcher.join().map_err(|_| "a client panicked")).collect();
        ended.into_iter().try_for_each(|ended| ended?)?;
        Ok((worked, times.into_iter().map(|times| times?).collect::<Done<_>>()?))
    })?;

    let all = Times::of(times.iter().flatten().copied().collect());
    println!(
        "| {name} | {submitted} | {taken} | {worked} | {} | {} | {} | {} | {} | {} |",
        millis(all.at(50)),
        millis(all.at(99)),
        millis(all.at(100)),
        mebibytes(before),
        mebibytes(memory("VmRSS")?),
        mebibytes(memory("VmHWM")?),
    );
    for (route, times) in WATCHED.iter().zip(times) {
        let times = Times::of(times);
        eprintln!(
            "    {name}, GET {route}: {} requests, p50 {}, p99 {}, longest {}",
            times.0.len(),
            millis(times.at(50)),
            millis(times.at(99)),
            millis(times.at(100))
        );
    }
    Ok(())
}

/// The API on a port of loopback, as `transcode serve` has it, but for the rate that one client may have.
fn api(dispatch: &Dispatch, store: &Path) -> Done<(SocketAddr, tokio::runtime::Runtime)> {
    let stores = Arc::new(Stores::new(&Config::default())?);
    let parts = Parts {
        dispatch: dispatch.clone(),
        rules: Arc::new(Rules::default()),
        hub: Hub::default(),
        metrics: Metrics::new(),
        objects: Arc::new(Objects::new(stores, &store.display().to_string())),
    };
    let router = Api::new(parts, Settings { rate: None, ..Settings::default() }).router();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    runtime.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        serve(listener, router, std::future::pending()).await
    });
    Ok((address, runtime))
}

fn submit_all(address: SocketAddr) -> Done<()> {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..SUBMITTERS)
            .map(|_| {
                scope.spawn(|| -> Done<()> {
                    let mut client = Client::connect(address)?;
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= JOBS {
                            return Ok(());
                        }
                        let body = format!(
                            r#"{{"version":1,"id":"load-{number}","sources":["in/{number}.mp4"],"destination":"out/{number}","profile":"match"}}"#
                        );
                        client.ask("POST", "/api/v1/jobs", &body)?;
                    }
                })
            })
            .collect();
        clients.into_iter().try_for_each(|client| client.join().map_err(|_| "a client panicked")?)
    })
}

/// Bring jobs to their end until none is left.
fn work(dispatch: &Dispatch, worker: &str, store: &Path, left: &AtomicUsize) -> Done<()> {
    let cancel = Cancel::new();
    while left.load(Ordering::Relaxed) > 0 {
        let Some(mut work) = dispatch.next(worker, LEASE, Duration::from_secs(1))? else { continue };
        dispatch.renew_with(&mut work, &Progress::at(50))?;
        let sink = DirSink::create(store.join(&work.record.job.destination))?;
        let _new = sink.create("00000.ts", ObjectKind::Segment, &SEGMENT, &cancel)?;
        dispatch.begin_commit(&work)?;
        sink.replace("playlist.m3u8", ObjectKind::FinalPlaylist, PLAYLIST.as_bytes(), &cancel)?;
        dispatch.complete(&work, &work.record.job.outputs()?)?;
        left.fetch_sub(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Ask for a route again and again; how long each answer took, from when it was due.
fn watch(address: SocketAddr, route: &str, over: &AtomicBool) -> Done<Vec<Duration>> {
    let mut client = Client::connect(address)?;
    let began = Instant::now();
    let mut times = Vec::new();
    for number in 0_u32.. {
        let due = began + PACE * number;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if over.load(Ordering::Relaxed) {
            break;
        }
        // A job here, a job there.
        let job = number as usize * 7 % JOBS;
        let target = if route.ends_with('/') { format!("{route}load-{job}") } else { route.to_owned() };
        client.ask("GET", &target, "")?;
        times.push(due.elapsed());
    }
    Ok(times)
}

/// A connection that is kept.
struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    fn connect(address: SocketAddr) -> Done<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Ask, and read the answer to its end.
    fn ask(&mut self, method: &str, target: &str, body: &str) -> Done<()> {
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        let (mut status, mut length) = (String::new(), None);
        self.stream.read_line(&mut status)?;
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            let line = line.trim().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(text) = line.strip_prefix("content-length:") {
                length = Some(text.trim().parse::<usize>()?);
            }
        }
        let mut answer = vec![0; length.ok_or_else(|| format!("{target}: an answer without a length"))?];
        self.stream.read_exact(&mut answer)?;
        if !status.starts_with("HTTP/1.1 20") {
            return Err(format!("{method} {target}: {status}{}", String::from_utf8_lossy(&answer)).into());
        }
        Ok(())
    }
}

/// Times in order.
struct Times(Vec<Duration>);

impl Times {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// So many per cent of the times are not longer.
    fn at(&self, percent: usize) -> Duration {
        let at = (self.0.len() * percent).div_ceil(100).max(1) - 1;
        self.0.get(at).copied().unwrap_or_default()
    }
}

/// A figure of this process in KiB (proc(5)).
fn memory(field: &str) -> Done<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let text =
        line.and_then(|line| line.trim().strip_suffix(" kB")).ok_or("no such line in /proc/self/status")?;
    Ok(text.parse()?)
}

fn rate(count: usize, began: Instant) -> String {
    format!("{:.0}/s", count as f64 / began.elapsed().as_secs_f64())
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1_000.0)
}

fn mebibytes(kibibytes: u64) -> String {
    format!("{:.0} MiB", kibibytes as f64 / 1_024.0)
}

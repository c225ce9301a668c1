//! How many jobs a second go through each queue and ledger, on this machine's disk.
//!
//! `cargo bench -p transcode-svc --bench queues`
//!
//! A thousand jobs are submitted at once, then taken by one worker and by four, each to its end with three
//! renewals and nothing in between: what the book-keeping costs, and so what it can hold. SQLite syncs each
//! commit; the Redis is Debian's `redis-server` on loopback with `appendfsync always`, which syncs as well.

#[path = "../tests/support/redis.rs"]
mod server;

use server::RedisServer;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use transcode_svc::broker::Redis;
use transcode_svc::database::Database;
use transcode_svc::dispatch::Dispatch;
use transcode_svc::job::{Job, Rules, read_submission};
use transcode_svc::ledger::{Ledger, Policy, RedisRecords, SqliteRecords};
use transcode_svc::queue::{Lines, RedisQueue, SqliteQueue};
use transcode_svc::time::SystemClock;

const JOBS: usize = 1_000;

fn sqlite(directory: &Path) -> Dispatch {
    let database = Arc::new(Database::open(&directory.join("bench.sqlite")).expect("a database"));
    let (clock, records) = (Arc::new(SystemClock), Arc::new(SqliteRecords::new(database.clone())));
    let ledger = Ledger::new(records, clock.clone(), Policy::default());
    Dispatch::new(Arc::new(SqliteQueue::new(database, clock)), ledger, Rules::default())
}

fn redis(url: &str) -> Dispatch {
    let redis = Arc::new(Redis::new(url).expect("an address"));
    let records = Arc::new(RedisRecords::new(redis.clone()));
    let ledger = Ledger::new(records, redis.clone(), Policy::default());
    Dispatch::new(Arc::new(RedisQueue::new(redis.clone(), redis, Lines::default())), ledger, Rules::default())
}

fn job(n: usize) -> Job {
    let text = format!(r#"{{"inputKey":"in/{n}.mp4","profile":"roku-hls","outputPrefix":"out/{n}"}}"#);
    read_submission(&text, &Rules::default()).expect("a job")
}

/// Take jobs until `count` are done; the longest time that one took.
fn work(dispatch: &Dispatch, worker: &str, count: usize) -> Duration {
    let mut longest = Duration::ZERO;
    for _ in 0..count {
        let began = Instant::now();
        let taken =
            dispatch.next(worker, Duration::from_secs(60), Duration::from_secs(5)).expect("the queue");
        let mut work = taken.expect("a job");
        for percent in [25, 50, 75] {
            dispatch.renew(&mut work, percent).expect("renew");
        }
        dispatch.begin_commit(&work).expect("commit");
        dispatch.complete(&work, &work.record.job.outputs().expect("outputs")).expect("complete");
        longest = longest.max(began.elapsed());
    }
    longest
}

fn rate(count: usize, began: Instant) -> String {
    format!("{:.0}/s", count as f64 / began.elapsed().as_secs_f64())
}

fn measure(name: &str, open: impl Fn() -> Dispatch + Sync) {
    for workers in [1, 4] {
        let dispatch = open();
        let began = Instant::now();
        (0..JOBS).for_each(|n| drop(dispatch.submit(job(n)).expect("submit")));
        let submitted = rate(JOBS, began);
        // The queue alone, as many as there are.
        let began = Instant::now();
        let held: Vec<_> = (0..JOBS)
            .map(|_| dispatch.queue().take("worker", Duration::from_secs(60), Duration::ZERO).expect("take"))
            .collect();
        let taken = rate(JOBS, began);
        held.iter().flatten().for_each(|held| {
            let _held = dispatch.queue().give_back(held, Duration::ZERO).expect("give back");
        });
        let began = Instant::now();
        let longest = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..workers)
                .map(|n| {
                    let open = &open;
                    scope.spawn(move || work(&open(), &format!("worker {n}"), JOBS / workers))
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("a worker")).max()
        });
        let done = rate(JOBS, began);
        let longest = longest.unwrap_or_default().as_millis();
        println!("| {name} | {workers} | {submitted} | {taken} | {done} | {longest} ms |");
    }
}

fn main() {
    println!("| queue and ledger | workers | submitted | taken | whole jobs | the longest job |");
    println!("|---|--:|--:|--:|--:|--:|");
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let one = sqlite(directory.path());
    measure("SQLite, in one process", || one.clone());
    measure("SQLite, as many processes", || sqlite(directory.path()));
    let server = RedisServer::start();
    measure("Redis", || redis(&server.url()));
}

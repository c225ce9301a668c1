//! `transcode worker`: jobs of a queue, until it is told to stop.

use super::Context;
use super::args::Worker;
use crate::config::Config;
use crate::service::Service;
use crate::worker::Stop;
use transcode_core::{Cancel, Error};

/// Work.
pub(super) fn worker(context: &Context, worker: &Worker) -> Result<(), Error> {
    let mut config = Config::load(context.config.as_deref())?;
    let options = [
        ("service.store", "--store", worker.store.clone()),
        ("service.workers", "--workers", worker.workers.map(|count| count.to_string())),
        ("worker.platform", "--platform", worker.platform.clone()),
        ("worker.name", "--name", worker.name.clone()),
    ];
    for (path, option, value) in options {
        if let Some(value) = value {
            config.service.set(path, &value, option);
        }
    }
    let settings = &config.service;
    let store = store(&config);
    let service = Service::open(&config, store.clone(), context.children()?)?;
    let count = settings.number("service.workers")?.unwrap_or(1).max(1) as usize;
    log::info!(
        "{count} worker{}: {}, store {}",
        if count == 1 { "" } else { "s" },
        service.backend,
        store.as_deref().unwrap_or("none: jobs have to name buckets")
    );
    let stop = Stop::new();
    let grace = settings.period("worker.grace")?;
    let (over, cancel) = (Cancel::new(), context.cancel.clone());
    std::thread::scope(|scope| {
        scope.spawn(|| service.sweep(&over));
        scope.spawn(|| {
            while !over.sleep(TICK) {
                if cancel.is_cancelled() && !stop.asked().is_cancelled() {
                    log::info!("no more jobs are taken; done or handed over within {} s", grace.as_secs());
                    stop.within(grace);
                }
            }
        });
        let done = service.work(count, &stop);
        over.cancel();
        done
    })
}

/// How often it is looked whether a signal came.
const TICK: std::time::Duration = std::time::Duration::from_millis(100);

/// Where keys without an address are.
pub(super) fn store(config: &Config) -> Option<String> {
    let bucket = || config.service.get("jobs.bucket").map(|bucket| format!("s3://{bucket}"));
    config.service.get("service.store").map(ToOwned::to_owned).or_else(bucket)
}

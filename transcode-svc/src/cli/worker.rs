//! `transcode worker` and `transcode serve`: jobs of a queue, until told to stop; `serve` answers HTTP as well.
//!
//! Owns the order of starting and stopping: the API before the workers, so that `ready` means all; and it goes on to
//! answer until the last worker is gone.

use super::Context;
use super::args::{Serve, Worker};
use super::output::to_stdout;
use super::play::hls_js;
use crate::config::Config;
use crate::http::{Api, serve as answer};
use crate::service::Service;
use crate::worker::Stop;
use std::net::SocketAddr;
use std::time::Duration;
use transcode_core::{Cancel, Error};

/// How often it is looked whether a signal came.
const TICK: Duration = Duration::from_millis(100);

/// Work.
pub(super) fn worker(context: &Context, worker: &Worker) -> Result<(), Error> {
    let mut config = Config::load(context.config.as_deref())?;
    let options = [
        ("service.store", "--store", worker.store.clone()),
        ("service.workers", "--workers", worker.workers.map(|count| count.to_string())),
        ("worker.platform", "--platform", worker.platform.clone()),
        ("worker.name", "--name", worker.name.clone()),
    ];
    set(&mut config, options);
    let store = store(&config);
    let count = config.service.number("service.workers")?.unwrap_or(1).max(1) as usize;
    let service = Service::open(&config, store, context.children()?)?;
    run(context, &config, &service, Running { count, alone: false, api: None })
}

/// Work, and answer HTTP.
pub(super) fn serve(context: &Context, serve: &Serve) -> Result<(), Error> {
    let mut config = Config::load(context.config.as_deref())?;
    let options = [
        ("service.data", "--data", serve.data.as_ref().map(|path| path.display().to_string())),
        ("service.store", "--store", serve.store.clone()),
        ("service.workers", "--workers", serve.workers.map(|count| count.to_string())),
        ("worker.platform", "--platform", serve.platform.clone()),
        ("api.listen", "--listen", serve.listen.map(|address| address.to_string())),
    ];
    set(&mut config, options);
    let data = config.service.data();
    let beside = || data.join("store").display().to_string();
    let store = store(&config).unwrap_or_else(beside);
    if !store.contains("://") {
        std::fs::create_dir_all(&store)
            .map_err(|error| Error::Config { what: store.clone(), reason: error.to_string() })?;
    }
    let count = config.service.number("service.workers")?.unwrap_or(1) as usize;
    let address = config.service.address("api.listen")?;
    let service = Service::open(&config, Some(store), context.children()?)?;
    let settings = service.api_settings(hls_js(serve.hls_js.as_deref())?)?;
    let (Some(address), Some(parts)) = (address, service.api_parts()) else {
        return Err(Error::Config {
            what: "api.listen".to_owned(),
            reason: "no address is given".to_owned(),
        });
    };
    settings.check(address).map_err(|reason| Error::Config { what: "api.listen".to_owned(), reason })?;
    // With a queue of a fleet, others may have workers of these names.
    let own = ["queue.url", "ledger.url"].iter().all(|key| config.service.get(key).is_none());
    let lock = lock(&data).filter(|_| own);
    let api = Some((address, Api::new(parts, settings)));
    let done = run(context, &config, &service, Running { count, alone: lock.is_some(), api });
    drop(lock);
    done
}

/// Whether this is the only `transcode serve` on that data, for as long as the file is open.
fn lock(data: &std::path::Path) -> Option<std::fs::File> {
    let path = data.join("serve.lock");
    let file = std::fs::File::options().create(true).append(true).open(&path).ok()?;
    match file.try_lock() {
        Ok(()) => Some(file),
        Err(error) => {
            log::debug!("{}: {error}; another process uses this data", path.display());
            None
        }
    }
}

/// What is run.
struct Running {
    /// Workers.
    count: usize,
    /// No other process has workers of the same names.
    alone: bool,
    api: Option<(SocketAddr, Api)>,
}

fn set<const N: usize>(config: &mut Config, options: [(&str, &str, Option<String>); N]) {
    for (path, option, value) in options {
        if let Some(value) = value {
            config.service.set(path, &value, option);
        }
    }
}

/// Where keys without an address are.
fn store(config: &Config) -> Option<String> {
    let bucket = || config.service.get("jobs.bucket").map(|bucket| format!("s3://{bucket}"));
    config.service.get("service.store").map(ToOwned::to_owned).or_else(bucket)
}

/// Run until a signal says otherwise.
fn run(
    context: &Context,
    config: &Config,
    service: &Service,
    Running { count, alone, api }: Running,
) -> Result<(), Error> {
    let grace = config.service.period("worker.grace")?;
    let (stop, over, cancel) = (Stop::new(), Cancel::new(), context.cancel.clone());
    let sender = service.sender()?;
    let sending = sender.start(service.kit.dispatch.ledger().clone())?;
    let server = api.map(|(address, api)| Server::start(address, &api)).transpose()?;
    log::info!(
        "{count} worker{}: {}, store {}",
        if count == 1 { "" } else { "s" },
        service.backend,
        service.kit.store.as_deref().unwrap_or("none: jobs have to name buckets")
    );
    if let Some(server) = &server {
        to_stdout(&format!("{}\n", server.opening()));
    }
    notify("READY=1");
    let done = std::thread::scope(|scope| {
        scope.spawn(|| service.sweep(&sender, &over));
        scope.spawn(|| {
            while !over.sleep(TICK) {
                if cancel.is_cancelled() && !stop.asked().is_cancelled() {
                    notify("STOPPING=1");
                    log::info!("no more jobs are taken; done or handed over within {} s", grace.as_secs());
                    stop.within(grace);
                }
            }
        });
        scope.spawn(|| watchdog(&over));
        let done = if count == 0 {
            while !cancel.sleep(Duration::from_secs(3_600)) {}
            Ok(())
        } else {
            service.work(count, alone, &stop)
        };
        over.cancel();
        done
    });
    drop(server);
    drop(sending);
    done
}

/// Tell systemd, where it started this process (sd_notify(3)).
fn notify(state: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let told = std::os::unix::net::UnixDatagram::unbound().and_then(|socket| {
        use std::os::linux::net::SocketAddrExt as _;
        use std::os::unix::ffi::OsStrExt as _;
        let address = match path.as_bytes().strip_prefix(b"@") {
            Some(name) => std::os::unix::net::SocketAddr::from_abstract_name(name)?,
            None => std::os::unix::net::SocketAddr::from_pathname(&path)?,
        };
        socket.send_to_addr(state.as_bytes(), &address)
    });
    if let Err(error) = told {
        log::debug!("systemd is not told {state}: {error}");
    }
}

/// Say that this process lives, as often as systemd wants to hear it.
fn watchdog(over: &Cancel) {
    let wanted = std::env::var("WATCHDOG_USEC").ok().and_then(|text| text.parse::<u64>().ok());
    let Some(wanted) = wanted.filter(|micros| *micros > 0) else { return };
    loop {
        notify("WATCHDOG=1");
        if over.sleep(Duration::from_micros(wanted / 3)) {
            return;
        }
    }
}

/// The HTTP server, on threads of its own; ends with its value.
struct Server {
    address: SocketAddr,
    end: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    fn start(listen: SocketAddr, api: &Api) -> Result<Self, Error> {
        let cannot = |error: std::io::Error| Error::Config {
            what: format!("--listen {listen}"),
            reason: format!("{error}; give another address or port, port 0 takes a free one"),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("http")
            .enable_all()
            .build()
            .map_err(cannot)?;
        let listener = runtime.block_on(tokio::net::TcpListener::bind(listen)).map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let router = api.router();
        let run = move || {
            let until = async {
                let _dropped = ended.await;
            };
            if let Err(error) = runtime.block_on(answer(listener, router, until)) {
                log::error!("the API has ended: {error}");
            }
            runtime.shutdown_timeout(Duration::from_secs(1));
        };
        let thread = std::thread::Builder::new().name("api".to_owned()).spawn(run).map_err(cannot)?;
        Ok(Self { address, end: Some(end), thread: Some(thread) })
    }

    /// The first line is the address, so that scripts find it.
    fn opening(&self) -> String {
        let url = format!("http://{}", self.address);
        format!(
            "{url}\n  {url}/                    the fleet\n  {url}/api                 the API, to read\n  \
             {url}/metrics             for Prometheus\n  Ctrl-C ends it; jobs go on with the next start"
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(Err(_)) = self.thread.take().map(std::thread::JoinHandle::join) {
            log::error!("the API's thread has panicked");
        }
    }
}

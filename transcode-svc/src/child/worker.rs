//! The child's own life: take requests from the socket, run the core, tell what came of it.
//!
//! Runs in a process without credentials. Ends at once when the socket does, because then the parent
//! has gone and nobody wants the work any more. Ignores SIGINT and SIGTERM: the parent decides when
//! to stop, and is told by a terminal or a service manager itself.

use super::confine::confine;
use super::protocol::{Examined, ToChild, ToParent, Work, read_body, read_header};
use super::remote::{Link, SocketSink, SocketSource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};
use transcode_core::platform::Platform;
use transcode_core::run::{self, ChunkRequest};
use transcode_core::source::{CacheOptions, CachedSource, Source};
use transcode_core::{Cancel, Error, Event, probe, trial};

/// While a request starts, and for so long at most, a sign of life is given every second; afterwards
/// the graph's own progress shows that it lives.
const STARTING: Duration = Duration::from_secs(120);

/// Turns a demuxer's tiny reads into a few questions to the parent, which has its own, larger cache
/// where the source is far away: eight places that are read in turn, and a little ahead of each:
/// a hundred questions a second at 100 Mbit/s.
const CACHE: CacheOptions = CacheOptions { block: 128 << 10, capacity: 4 << 20, threads: 2, read_ahead: 4 };

/// Status of a child whose parent has gone, or that was never given a socket.
const ORPHANED: i32 = 1;

/// The whole life of the child: serves the socket that is its standard input until that closes.
pub fn work() -> i32 {
    log_to_stderr();
    // As long as this thread is alone: the others inherit it.
    confine();
    use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
    for signal in [SIGINT, SIGTERM, SIGXFSZ] {
        if let Err(error) = signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false))) {
            log::warn!("signal {signal} cannot be ignored: {error}");
        }
    }
    match serve() {
        Ok(never) => never,
        Err(error) => {
            log::error!(
                "`transcode child` is started by transcode itself, with a socket as its input: {error}"
            );
            ORPHANED
        }
    }
}

fn serve() -> io::Result<i32> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    socket.peer_addr()?;
    let link = Arc::new(Link::new(socket.try_clone()?));
    let cancel = Cancel::new();
    let (requests, inbox) = channel();
    let (reader_link, reader_cancel) = (link.clone(), cancel.clone());
    std::thread::Builder::new()
        .name("socket".to_owned())
        .spawn(move || read_forever(socket, &reader_link, &reader_cancel, &requests))?;
    Ok(serve_requests(&link, &inbox, &cancel))
}

/// A request with its body.
type Request = (ToChild, Vec<u8>);

/// Take frames from the socket until it ends, and the process with it: without its exit handlers,
/// which could wait for a thread that hangs.
fn read_forever(mut socket: UnixStream, link: &Link, cancel: &Cancel, requests: &Sender<Request>) {
    loop {
        let frame = read_header(&mut socket).and_then(|header| match header {
            Some((header, length)) => read_body(&mut socket, length).map(|body| Some((header, body))),
            None => Ok(None),
        });
        match frame {
            Ok(Some((ToChild::Answer { id, answer }, body))) => link.answered(id, answer, body),
            Ok(Some((ToChild::Cancel, _))) => cancel.cancel(),
            Ok(Some(request)) => {
                let _never_gone = requests.send(request);
            }
            Ok(None) => signal_hook::low_level::exit(0),
            Err(error) => {
                log::debug!("the socket broke: {error}");
                signal_hook::low_level::exit(ORPHANED);
            }
        }
    }
}

fn serve_requests(link: &Arc<Link>, inbox: &Receiver<Request>, cancel: &Cancel) -> i32 {
    let mut source: Option<Arc<dyn Source>> = None;
    while let Ok((request, body)) = inbox.recv() {
        let outcome = match (request, &source) {
            (ToChild::Source { identity, size }, _) => {
                let socket: Arc<dyn Source> = Arc::new(SocketSource { link: link.clone(), identity, size });
                source = Some(Arc::new(CachedSource::new(socket, CACHE)));
                continue;
            }
            (ToChild::Examine, _) => alive_meanwhile(link, |_| {
                let platforms: Vec<Platform> = parse(&body)?;
                let missing = platforms.iter().map(transcode_core::missing).collect::<Result<_, _>>()?;
                let examined = Examined { gstreamer: trial::gstreamer_version()?, missing };
                Ok((ToParent::Examined, print(&examined)?))
            }),
            (ToChild::Probe, Some(source)) => alive_meanwhile(link, |_| {
                let platform: Platform = parse(&body)?;
                let info = probe::probe(source.clone(), &platform, cancel)?;
                Ok((ToParent::Probed, print(&info)?))
            }),
            (ToChild::Run, Some(source)) => alive_meanwhile(link, |running| {
                let Work { plan, chunk, platform, stall_ms } = parse(&body)?;
                let request = ChunkRequest { plan: &plan, chunk: &chunk, platform: &platform };
                let sink = Arc::new(SocketSink { link: link.clone() });
                let events = |event: Event| {
                    // Its events show from here on that the graph lives.
                    running.store(true, Ordering::SeqCst);
                    if let Err(error) = link.tell(&ToParent::Event { event }, b"") {
                        log::debug!("an event is lost: {error}");
                    }
                };
                let stall = Duration::from_millis(stall_ms);
                let report = run::run_within(request, source.clone(), sink, &events, cancel, stall)?;
                Ok((ToParent::Done, print(&report)?))
            }),
            (other, _) => Err(broken(&format!("{other:?} makes no sense here"))),
        };
        let (said, body) =
            outcome.unwrap_or_else(|error: Error| (ToParent::Failed { error: error.into() }, Vec::new()));
        if let Err(error) = link.tell(&said, &body) {
            log::debug!("nobody hears how it ended: {error}");
            return ORPHANED;
        }
    }
    ORPHANED
}

/// Do `task`, and say every second that this process lives until the task says it runs.
fn alive_meanwhile<T>(link: &Arc<Link>, task: impl FnOnce(&AtomicBool) -> T) -> T {
    let running = AtomicBool::new(false);
    let ended = Cancel::new();
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("alive".to_owned()).spawn_scoped(scope, || {
            let begun = Instant::now();
            while !ended.sleep(Duration::from_secs(1)) {
                if running.load(Ordering::SeqCst) || begun.elapsed() > STARTING {
                    return;
                }
                if link.tell(&ToParent::Alive, b"").is_err() {
                    return;
                }
            }
        });
        if let Err(error) = thread {
            log::debug!("no thread to say that this process lives: {error}");
        }
        let result = task(&running);
        ended.cancel();
        result
    })
}

fn broken(reason: &str) -> Error {
    Error::Platform {
        platform: "child".to_owned(),
        reason: format!("the two halves of this program do not understand each other: {reason}"),
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|error| broken(&error.to_string()))
}

fn print<T: Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|error| broken(&error.to_string()))
}

/// Log lines as the parent reads them: `LEVEL target text`, one line each.
fn log_to_stderr() {
    let logger = env_logger::Builder::from_default_env()
        .format(|out, record| {
            let text = record.args().to_string().replace('\n', " ");
            writeln!(out, "{} {} {text}", record.level(), record.target())
        })
        .write_style(env_logger::WriteStyle::Never)
        .try_init();
    if logger.is_err() {
        log::debug!("there was a logger already");
    }
}

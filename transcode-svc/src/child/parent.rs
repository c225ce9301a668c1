//! The supervisor: starts the child, gives it work, listens for life, and knows what its death means.
//!
//! One [`Session`] is one child for one source: a probe, then a chunk, or either alone. The calling
//! thread waits here and is called back for events; threads behind it serve the child. Whatever
//! happens, the child is dead and reaped when the session is dropped. Knows nothing of profiles,
//! playlists or terminals.

use super::process::Process;
use super::protocol::{Examined, ToChild, ToParent, Work, read_body, read_header};
use super::sandbox::{Sandbox, Watch};
use super::serve::{Question, Servers, Shared};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use transcode_core::event::ChunkReport;
use transcode_core::media::{MediaInfo, SourceIdentity};
use transcode_core::plan::{Chunk, Plan};
use transcode_core::platform::Platform;
use transcode_core::run::ChunkRequest;
use transcode_core::sink::Sink;
use transcode_core::source::{Source, SourceError};
use transcode_core::{Cancel, Error, Event};

/// How often the supervisor looks whether it was cancelled, and whether the child lives.
const TICK: Duration = Duration::from_millis(20);

/// How long a child that was told to stop may take. It has nothing to lose, so this is short: on a
/// busy machine the whole stop still takes less than a second.
const GRACE: Duration = Duration::from_millis(400);

/// Events between the socket and the caller; a caller that is slower makes the child wait.
const EVENTS: usize = 256;

/// How a child is started and how long it may be silent.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The `transcode` binary; its hidden subcommand `child` is called.
    pub program: PathBuf,
    /// `RUST_LOG` of the child; its lines go to this process's log.
    pub log: String,
    /// Wall time without a sign of life, while nothing is owed to the child, after which it is
    /// killed. At least a second more than the second between two signs; 30 s is the default.
    pub stall: Duration,
    /// The file that GStreamer keeps its list of plugins in; its own where absent.
    pub registry: Option<PathBuf>,
    /// What it may do and take.
    pub sandbox: Sandbox,
    /// The job that its lines are about, where there is one.
    pub about: Option<About>,
}

/// What a child works on, as every line about it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// The job.
    pub job: String,
    /// Which attempt at it, from 1.
    pub attempt: u32,
    /// Under which lease.
    pub epoch: u64,
}

impl Settings {
    /// This very binary, with the default patience of 30 s, and with the sandbox that `TRANSCODE_SANDBOX` says: none,
    /// where it says nothing, because what a person gives to a command line is that person's own, and so are
    /// GStreamer's switches for looking into it, which write files.
    ///
    /// # Errors
    /// [`Error::Platform`] where the system does not tell which file this process runs, [`Error::Config`] where the
    /// variable says nonsense.
    pub fn this_binary() -> Result<Self, Error> {
        let program = std::env::current_exe()
            .map_err(|error| machine(format!("this program's own file is not known: {error}")))?;
        let sandbox = Sandbox::from_environment()
            .map_err(|reason| Error::Config { what: Sandbox::VARIABLE.to_owned(), reason })?;
        Ok(Self {
            program,
            log: "warn".to_owned(),
            stall: Duration::from_secs(30),
            registry: None,
            sandbox,
            about: None,
        })
    }
}

impl Settings {
    /// The same for media that others send: in the sandbox of a service, with `memory` bytes for a child, unless
    /// `TRANSCODE_SANDBOX` says otherwise.
    #[must_use]
    pub fn for_service(self, memory: Option<u64>) -> Self {
        // What the variable says was read when these were made.
        let said = std::env::var_os(Sandbox::VARIABLE).is_some();
        let sandbox = if said { self.sandbox } else { Sandbox::for_service(memory) };
        Self { sandbox, ..self }
    }
}

/// A child at work on one source.
pub struct Session {
    process: Process,
    socket: UnixStream,
    shared: Arc<Shared>,
    servers: Arc<Servers>,
    frames: Sender<(ToChild, Vec<u8>)>,
    heard: Receiver<Heard>,
    stall: Duration,
    watch: Watch,
    uri: String,
    /// The name of the platform that the request under way is for.
    platform: String,
    cancel: Cancel,
    /// The child has died or was killed.
    dead: bool,
}

/// What the socket's reader hands to the supervisor.
enum Heard {
    Said(ToParent, Vec<u8>),
    /// The socket has ended; with a reason where it did not end between two frames.
    End(Option<String>),
}

fn machine(reason: String) -> Error {
    Error::Platform { platform: "child".to_owned(), reason }
}

fn to_json(value: &impl Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|error| machine(format!("a request cannot be written: {error}")))
}

fn from_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body)
        .map_err(|error| machine(format!("the child's answer is not understood: {error}")))
}

impl Session {
    /// Start a child for `source`. Everything in it stops soon after `cancel` is set.
    ///
    /// # Errors
    /// [`Error::Platform`] where the process or its threads cannot be started.
    pub fn start(settings: &Settings, source: Arc<dyn Source>, cancel: &Cancel) -> Result<Self, Error> {
        let cannot = |error: std::io::Error| {
            machine(format!(
                "{} cannot be started as the graph's process: {error}",
                settings.program.display()
            ))
        };
        let Settings { program, log, registry, sandbox, about, .. } = settings;
        if sandbox.confine {
            prepare(settings, cancel)?;
        }
        let (process, socket) =
            Process::start(program, log, registry.as_deref(), sandbox.confine, about.clone())
                .map_err(cannot)?;
        let watch = Watch::new(sandbox.clone(), process.id());
        let (identity, size) = (source.identity(), source.size());
        let uri = identity.uri.clone();
        let out = socket.try_clone().map_err(cannot)?;
        let shared = Arc::new(Shared::new(out, source, cancel.child()));
        let servers = Arc::new(Servers::start(shared.clone()).map_err(cannot)?);
        let (sender, heard) = sync_channel(EVENTS);
        let reader = Reader {
            input: socket.try_clone().map_err(cannot)?,
            shared: shared.clone(),
            servers: servers.clone(),
            sender,
        };
        std::thread::Builder::new()
            .name("child-socket".to_owned())
            .spawn(move || reader.run())
            .map_err(cannot)?;
        let (frames, outbox) = channel::<(ToChild, Vec<u8>)>();
        let talker = shared.clone();
        let talk = move || outbox.iter().for_each(|(header, body)| talker.say(&header, &body));
        std::thread::Builder::new().name("child-say".to_owned()).spawn(talk).map_err(cannot)?;
        let (stall, cancel, platform) = (settings.stall, cancel.clone(), String::new());
        let dead = false;
        let session = Self {
            process,
            socket,
            shared,
            servers,
            frames,
            heard,
            stall,
            watch,
            uri,
            platform,
            cancel,
            dead,
        };
        session.say(ToChild::Source { identity, size }, Vec::new());
        Ok(session)
    }

    /// Have the child look what the source is.
    ///
    /// # Errors
    /// What the probe says; [`Error::Platform`] where the child crashed, which blames the machine's
    /// decoders rather than the input: it is they who have to be mended. [`Error::Stalled`] where it
    /// fell silent.
    pub fn probe(&mut self, platform: &Platform) -> Result<MediaInfo, Error> {
        self.platform.clone_from(&platform.name);
        self.say(ToChild::Probe, to_json(platform)?);
        self.watch.begin(Some(0), self.shared.received());
        match self.wait("looking at", &|_| {})? {
            (ToParent::Probed, body) => from_json(&body),
            (other, _) => Err(machine(format!("the child answered a probe with {other:?}"))),
        }
    }

    /// Have the child look which elements of these platforms are installed.
    ///
    /// # Errors
    /// [`Error::Platform`] where GStreamer does not start, else as [`Session::probe`].
    pub fn examine(&mut self, platforms: &[Platform]) -> Result<Examined, Error> {
        "any".clone_into(&mut self.platform);
        self.say(ToChild::Examine, to_json(&platforms)?);
        self.watch.begin(Some(0), self.shared.received());
        match self.wait("looking what is installed, before", &|_| {})? {
            (ToParent::Examined, body) => from_json(&body),
            (other, _) => Err(machine(format!("the child answered with {other:?}"))),
        }
    }

    /// Have the child make a chunk into `sink`; `events` is called on this thread.
    ///
    /// # Errors
    /// What the run says; [`Error::Platform`] where the child crashed, [`Error::Stalled`] where it
    /// fell silent, [`Error::Interrupted`] within a second of the cancellation.
    pub fn run(
        &mut self,
        request: ChunkRequest<'_>,
        sink: Arc<dyn Sink>,
        events: &dyn Fn(Event),
    ) -> Result<ChunkReport, Error> {
        self.shared.set_sink(Some(sink));
        let ChunkRequest { plan, chunk, platform } = request;
        let last = chunk.end.0.saturating_sub(1);
        let last = if plan.timeline.open_ended { "on".to_owned() } else { format!("to {last}") };
        let doing = format!("making segments {} {last} of", chunk.first);
        self.platform.clone_from(&platform.name);
        // A graph that reports that it stands still says where; so it gets twice the time that this
        // process waits in silence.
        let stall_ms = u64::try_from(self.stall.as_millis() * 2).unwrap_or(u64::MAX);
        let work = Work { plan: plan.clone(), chunk: chunk.clone(), platform: platform.clone(), stall_ms };
        self.say(ToChild::Run, to_json(&work)?);
        self.watch.begin(length(plan, chunk), self.shared.received());
        let ended = self.wait(&doing, events);
        self.shared.set_sink(None);
        match ended? {
            (ToParent::Done, body) => from_json(&body),
            (other, _) => Err(machine(format!("the child answered a run with {other:?}"))),
        }
    }

    /// Whether the child crashed or hung, rather than told what went wrong.
    pub const fn is_dead(&self) -> bool {
        self.dead
    }

    /// Send a frame in its turn, from a thread of its own: a child that stands still must not make
    /// us stand still.
    fn say(&self, header: ToChild, body: Vec<u8>) {
        if self.frames.send((header, body)).is_err() {
            log::debug!("the thread that talks to the child has ended");
        }
    }

    /// Pass events on until the request ends, one way or another.
    fn wait(&mut self, doing: &str, events: &dyn Fn(Event)) -> Result<(ToParent, Vec<u8>), Error> {
        let mut told_to_stop: Option<Instant> = None;
        let mut silence = Silence::new(self.shared.life().0);
        loop {
            match self.heard.recv_timeout(TICK) {
                Ok(Heard::Said(ToParent::Event { event }, _)) => events(event),
                Ok(Heard::Said(ToParent::Failed { error }, _)) => {
                    return Err(if self.cancel.is_cancelled() { Error::Interrupted } else { error.into() });
                }
                Ok(Heard::Said(ToParent::Alive, _)) => {}
                Ok(Heard::Said(ended, body)) => return Ok((ended, body)),
                Ok(Heard::End(reason)) => return Err(self.died(doing, reason)),
                Err(RecvTimeoutError::Disconnected) => return Err(self.died(doing, None)),
                Err(RecvTimeoutError::Timeout) => {
                    if silence.lasts(self.shared.life()) > self.stall {
                        self.process.kill();
                        self.dead = true;
                        return Err(self.stalled(doing));
                    }
                }
            }
            if let Some(breach) = self.watch.breach(self.shared.received(), self.shared.life().1) {
                self.process.kill();
                self.dead = true;
                return Err(self.went_too_far(doing, &breach));
            }
            match told_to_stop {
                None if self.cancel.is_cancelled() => {
                    told_to_stop = Some(Instant::now());
                    self.say(ToChild::Cancel, Vec::new());
                }
                Some(at) if at.elapsed() > GRACE => {
                    log::debug!("the graph's process does not stop; it is killed");
                    self.process.kill();
                    return Err(Error::Interrupted);
                }
                _ => {}
            }
        }
    }

    fn died(&mut self, doing: &str, reason: Option<String>) -> Error {
        self.dead = true;
        if self.cancel.is_cancelled() {
            return Error::Interrupted;
        }
        if let Some(reason) = reason {
            log::debug!("the child's socket broke: {reason}");
        }
        let obituary = self.process.obituary();
        if self.cancel.is_cancelled() {
            return Error::Interrupted;
        }
        let reason = format!(
            "the graph's process, {doing} {}, {obituary}. What is stored stays; the same command goes on from there",
            self.uri
        );
        Error::Platform { platform: self.platform.clone(), reason }
    }

    fn went_too_far(&self, doing: &str, breach: &str) -> Error {
        let reason = format!(
            "the graph's process, {doing} {}, {breach}, and was killed. What is stored stays; the same command goes \
             on from there, and a machine with more may do it",
            self.uri
        );
        Error::Platform { platform: self.platform.clone(), reason }
    }

    fn stalled(&self, doing: &str) -> Error {
        Error::Stalled {
            reason: format!(
                "the graph's process, {doing} {}, was silent for {} s and was killed. What is stored stays; the \
                 same command goes on from there",
                self.uri,
                self.stall.as_secs_f64()
            ),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shared.cancel.cancel();
        self.servers.close();
        // The child ends at once when its socket does; one that hangs is killed with `process`.
        if self.socket.shutdown(Shutdown::Both).is_ok() {
            let _ended = self.process.wait(Duration::from_millis(200));
        }
    }
}

/// Measures how long the child has been silent, in ticks of this loop rather than by the clock: when
/// this process itself was stopped for a while (Ctrl-Z), that is not the child's silence.
struct Silence {
    signs: u64,
    at: Instant,
    sum: Duration,
}

impl Silence {
    fn new(signs: u64) -> Self {
        Self { signs, at: Instant::now(), sum: Duration::ZERO }
    }

    fn lasts(&mut self, (signs, owed): (u64, bool)) -> Duration {
        let passed = self.at.elapsed().min(TICK * 5);
        self.at = Instant::now();
        self.sum = if owed || signs != self.signs { Duration::ZERO } else { self.sum + passed };
        self.signs = signs;
        self.sum
    }
}

/// Reads the child's frames and deals them out.
struct Reader {
    input: UnixStream,
    shared: Arc<Shared>,
    servers: Arc<Servers>,
    sender: SyncSender<Heard>,
}

impl Reader {
    fn run(mut self) {
        let end = loop {
            match self.next() {
                Ok(true) => {}
                Ok(false) => break None,
                Err(error) => break Some(error.to_string()),
            }
        };
        self.servers.close();
        let _nobody_waits = self.sender.send(Heard::End(end));
    }

    /// Take one frame; false at the end.
    fn next(&mut self) -> std::io::Result<bool> {
        let Some((header, length)) = read_header::<ToParent>(&mut self.input)? else { return Ok(false) };
        self.shared.sign();
        match header {
            ToParent::Read { id, offset, length: wanted } => {
                read_body(&mut self.input, length)?;
                self.servers.asked();
                Ok(self.servers.serve(Question::Read { id, offset, length: wanted }))
            }
            ToParent::Object { id, call, key } => {
                self.servers.asked();
                if !self.servers.wait_for_room() {
                    return Ok(false);
                }
                self.shared.receives(length.into());
                let bytes = read_body(&mut self.input, length)?;
                Ok(self.servers.serve(Question::Object { id, call, key, bytes }))
            }
            said => {
                let body = read_body(&mut self.input, length)?;
                Ok(self.sender.send(Heard::Said(said, body)).is_ok())
            }
        }
    }
}

/// Seconds of the timeline that a chunk has, rounded up; `None` where the source's end is not known.
fn length(plan: &Plan, chunk: &Chunk) -> Option<u64> {
    let timeline = &plan.timeline;
    let nanos = timeline.begin(chunk.end).nanos().saturating_sub(timeline.begin(chunk.first).nanos());
    (!timeline.open_ended).then(|| u64::try_from(nanos).unwrap_or_default().div_ceil(1_000_000_000))
}

/// Have GStreamer bring its list of plugins up to date, once in this process for each list: a confined child can
/// neither write it nor start the program that looks at plugins.
fn prepare(settings: &Settings, cancel: &Cancel) -> Result<(), Error> {
    static PREPARED: Mutex<BTreeSet<(PathBuf, Option<PathBuf>)>> = Mutex::new(BTreeSet::new());
    let key = (settings.program.clone(), settings.registry.clone());
    // Others wait: they would do the same.
    let mut prepared = PREPARED.lock().unwrap_or_else(PoisonError::into_inner);
    if prepared.contains(&key) {
        return Ok(());
    }
    let free = Settings { sandbox: Sandbox::default(), ..settings.clone() };
    Session::start(&free, Arc::new(NoSource), cancel)?.examine(&[])?;
    prepared.insert(key);
    Ok(())
}

/// The source of a child that looks at none.
struct NoSource;

impl Source for NoSource {
    fn identity(&self) -> SourceIdentity {
        SourceIdentity { uri: "any source".to_owned(), size: 0, version: None }
    }

    fn size(&self) -> u64 {
        0
    }

    fn read_at(&self, _: u64, _: &mut [u8], _: &Cancel) -> Result<usize, SourceError> {
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_counts_only_while_nothing_is_owed_and_nothing_is_heard() {
        let mut silence = Silence::new(0);
        let pause = || std::thread::sleep(Duration::from_millis(2));
        pause();
        let first = silence.lasts((0, false));
        pause();
        assert!(silence.lasts((0, false)) > first, "it adds up");
        assert_eq!(silence.lasts((1, false)), Duration::ZERO, "a sign of life ends it");
        pause();
        assert_eq!(silence.lasts((1, true)), Duration::ZERO, "the child waits for us");
    }

    #[test]
    fn a_pause_of_this_process_is_not_the_childs_silence() {
        let mut silence = Silence::new(0);
        silence.at = Instant::now().checked_sub(Duration::from_secs(3_600)).expect("an hour ago");
        assert!(silence.lasts((0, false)) < Duration::from_secs(1));
    }
}

//! The child as an operating system's process: started, listened to on stderr, killed, reaped.
//!
//! Knows nothing of what is said over the socket. The child leads a process group of its own, so
//! that a terminal's Ctrl-C reaches the parent alone, which then asks the child to stop.

use super::{About, confine, environment};
use std::collections::{BTreeSet, VecDeque};
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines of stderr that are kept for the message when the child dies.
const KEPT_LINES: usize = 4;

/// Bytes of one such line.
const LINE: u64 = 2_000;

/// A running child; killed and reaped when dropped.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    tail: Arc<Mutex<VecDeque<String>>>,
    /// Closed when stderr is.
    stderr_end: Receiver<()>,
}

impl Process {
    /// Start `program child`, one end of a socket pair as its stdin; the other end is returned.
    /// `registry` is where its GStreamer keeps the list of its plugins. With `confined` it gives up its rights
    /// before it begins.
    pub(super) fn start(
        program: &Path,
        log_filter: &str,
        registry: Option<&Path>,
        confined: bool,
        about: Option<About>,
    ) -> io::Result<(Self, UnixStream)> {
        let (ours, theirs) = UnixStream::pair()?;
        let mut child = Command::new(program)
            .arg("child")
            .env_clear()
            .envs(environment::for_child())
            .env("RUST_LOG", log_filter)
            .envs(registry.map(|registry| ("GST_REGISTRY", registry)))
            .envs(confined.then_some((confine::VARIABLE, "1")))
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let tail = Arc::new(Mutex::new(VecDeque::new()));
        let (closed, stderr_end) = channel();
        if let Some(stderr) = child.stderr.take() {
            let kept = tail.clone();
            std::thread::Builder::new().name("child-log".to_owned()).spawn(move || {
                listen(stderr, &kept, about.as_ref());
                drop(closed);
            })?;
        }
        log::debug!("the graph's process is {}", child.id());
        Ok((Self { child, tail, stderr_end }, ours))
    }

    /// Its number.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kill it, if it lives, and reap it.
    pub(super) fn kill(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait().map(drop)) {
            log::warn!("the graph's process {} cannot be killed: {error}", self.child.id());
        }
    }

    /// Wait for it to end by itself; `None` where it does not in that time.
    pub(super) fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let begun = Instant::now();
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if begun.elapsed() < patience => std::thread::sleep(Duration::from_millis(5)),
                Ok(None) | Err(_) => return None,
            }
        }
    }

    /// How it ended and what it said last, for a person: `died of SIGSEGV; its last lines: …`.
    /// Kills it where it goes on without its socket.
    pub(super) fn obituary(&mut self) -> String {
        let how = match self.wait(Duration::from_secs(1)) {
            Some(status) => describe(status),
            None => {
                self.kill();
                "closed its socket and was killed".to_owned()
            }
        };
        // What it wrote may still be on its way; grandchildren may hold the pipe open for ever.
        let _closed_or_late = self.stderr_end.recv_timeout(Duration::from_millis(200));
        let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        if tail.is_empty() {
            return format!("{how}, without a word");
        }
        let lines: Vec<&str> = tail.iter().map(String::as_str).collect();
        format!("{how}; its last lines: {}", lines.join(" | "))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.wait(Duration::ZERO).is_none() {
            self.kill();
        }
    }
}

/// `died of SIGSEGV`, `ended with status 101`.
fn describe(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => {
            let name = signal_hook::low_level::signal_name(signal);
            let name = name.map_or_else(|| format!("signal {signal}"), str::to_owned);
            let hint = if name == "SIGKILL" { " (out of memory?)" } else { "" };
            format!("died of {name}{hint}")
        }
        (None, Some(code)) => format!("ended with status {code}"),
        (None, None) => "ended".to_owned(),
    }
}

/// Pass the child's lines on to the log. Its own logger writes `LEVEL target text`; other lines come
/// from libraries.
fn listen(stderr: ChildStderr, tail: &Mutex<VecDeque<String>>, about: Option<&About>) {
    let mut input = BufReader::new(stderr);
    let mut line = Vec::new();
    loop {
        line.clear();
        match input.by_ref().take(LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        // The rest of a line that is too long is not another line.
        if !line.ends_with(b"\n") && input.skip_until(b'\n').is_err() {
            return;
        }
        if text.is_empty() {
            continue;
        }
        let mut words = text.splitn(3, ' ');
        let parsed = words.next().and_then(|word| word.parse::<log::Level>().ok());
        match (parsed, words.next(), words.next()) {
            (Some(level), Some(target), Some(message)) if is_news(target, message) => {
                pass_on(target, level, message, about);
            }
            (Some(_), Some(target), Some(message)) => pass_on(target, log::Level::Debug, message, about),
            _ if std::env::var_os("GST_DEBUG").is_some() => eprintln!("{text}"),
            _ => pass_on(module_path!(), log::Level::Debug, &text, about),
        }
        let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
        if tail.len() == KEPT_LINES {
            tail.pop_front();
        }
        tail.push_back(text);
    }
}

/// Into this process's log, with the job that it is about.
fn pass_on(target: &str, level: log::Level, message: &str, about: Option<&About>) {
    match about {
        None => log::log!(target: target, level, "{message}"),
        Some(About { job, attempt, epoch }) => {
            log::log!(target: target, level, job = job.as_str(), attempt = *attempt, epoch = *epoch; "{message}");
        }
    }
}

/// Whether it has to be said: what this kernel does not offer, every child finds out.
fn is_news(target: &str, message: &str) -> bool {
    static TOLD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    !target.ends_with("::confine")
        || TOLD.lock().unwrap_or_else(PoisonError::into_inner).insert(message.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_death_is_told_by_its_signal_or_status() {
        assert_eq!(describe(ExitStatus::from_raw(11)), "died of SIGSEGV");
        assert_eq!(describe(ExitStatus::from_raw(101 << 8)), "ended with status 101");
        assert!(describe(ExitStatus::from_raw(9)).contains("out of memory"));
    }
}

//! The sender of webhooks: from the ledger's outbox to whoever wants to know.
//!
//! Owns the request, its signature, and what an answer means. What is said, when it is said again and in which
//! order is the ledger's ([`Ledger::take_webhook`]). Seconds of a request are wall time; all else goes by the ledger's
//! clock.
//!
//! # What is promised
//! At least once: whoever dies between sending and writing down what came of it is followed by another that sends the
//! same again, with the same `webhook-id`. In order for each job; jobs side by side.
//!
//! Headers are those of [Standard Webhooks](https://www.standardwebhooks.com). An address must be one that
//! the [`Guard`] lets through, and an answer that sends on to another (3xx) is a failure.

mod post;
mod sign;

pub use sign::Signer;

use crate::config::Secret;
use crate::guard::Guard;
use crate::ledger::{Delivered, Ledger, LedgerError, NoticeState, Outgoing};
use crate::words::chain;
use post::Post;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use transcode_core::{Cancel, Error};

/// How webhooks are sent.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What requests are signed with: `whsec_` and 24 to 64 bytes in Base64. With several, a request carries a signature
    /// of each, so that receivers can change over; with none, requests are not signed.
    pub secrets: Vec<Secret>,
    /// Where requests may go.
    pub guard: Guard,
    /// How long one request may take, from the look-up of the name to the answer's status. 20 s by default;
    /// Standard Webhooks recommends 15 to 30 s.
    pub timeout: Duration,
    /// How many requests are under way at once, each for another job: 8 by default, at least 1.
    pub parallel: usize,
    /// How often the ledger is asked whether something is due: 1 s by default.
    pub poll: Duration,
}

impl Settings {
    /// The defaults, behind `guard`.
    pub fn new(guard: Guard) -> Self {
        Self {
            secrets: Vec::new(),
            guard,
            timeout: Duration::from_secs(20),
            parallel: 8,
            poll: Duration::from_secs(1),
        }
    }
}

/// What a sender has done since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Requests that were taken (2xx).
    pub delivered: u64,
    /// Requests that were not; each is sent again, or given up.
    pub failed: u64,
    /// Messages that nobody will send again: tried too often, or the receiver is gone (410).
    pub given_up: u64,
}

#[derive(Debug, Default)]
struct Counters {
    delivered: AtomicU64,
    failed: AtomicU64,
    given_up: AtomicU64,
}

/// Sends what is due; clones are one sender.
#[derive(Clone)]
pub struct Sender(Arc<Inner>);

struct Inner {
    post: Post,
    parallel: usize,
    poll: Duration,
    /// So long nobody else sends what this sender has taken: longer than a request can take.
    hold: Duration,
    counters: Counters,
    /// The last trouble with the ledger that was told, so that it is told once.
    told: Mutex<Option<String>>,
}

impl Sender {
    /// A sender that has not begun.
    ///
    /// # Errors
    /// [`Error::Config`] for a secret that is none, and where the machine has no certificates or no threads.
    pub fn new(settings: &Settings) -> Result<Self, Error> {
        let signer = Signer::new(&settings.secrets)?;
        let post = Post::new(signer, settings.guard.clone(), settings.timeout)?;
        Ok(Self(Arc::new(Inner {
            post,
            parallel: settings.parallel.max(1),
            poll: settings.poll,
            hold: settings.timeout * 2,
            counters: Counters::default(),
            told: Mutex::default(),
        })))
    }

    /// What it has done so far.
    pub fn counts(&self) -> Counts {
        let Counters { delivered, failed, given_up } = &self.0.counters;
        let [delivered, failed, given_up] =
            [delivered, failed, given_up].map(|counter| counter.load(Ordering::Relaxed));
        Counts { delivered, failed, given_up }
    }

    /// Send from a thread of its own until the value is dropped.
    ///
    /// # Errors
    /// [`Error::Config`] where the system gives no thread.
    pub fn start(&self, ledger: Ledger) -> Result<Sending, Error> {
        let (cancel, sender) = (Cancel::new(), self.clone());
        let stop = cancel.clone();
        let work = move || {
            while !stop.is_cancelled() {
                match sender.send_due(&ledger, &stop) {
                    Ok(_) => sender.trouble(None),
                    Err(error) => sender.trouble(Some(&error)),
                }
                stop.sleep(sender.0.poll);
            }
        };
        let thread = std::thread::Builder::new().name("webhooks".to_owned()).spawn(work);
        let thread = thread.map_err(|error| Error::Config {
            what: "the webhooks' thread".to_owned(),
            reason: format!("it cannot be started: {error}"),
        })?;
        Ok(Sending { cancel, thread: Some(thread) })
    }

    /// Send what is due, several at a time, until nothing is, and say how many requests that were. Ends soon
    /// after `cancel` is set; what was under way then is sent again later.
    ///
    /// # Errors
    /// [`LedgerError::Failed`] where the ledger does not say what is due.
    pub fn send_due(&self, ledger: &Ledger, cancel: &Cancel) -> Result<usize, LedgerError> {
        let inner = &*self.0;
        let (done, ended) = channel();
        let mut sent = 0;
        std::thread::scope(|scope| {
            let mut under_way = 0;
            loop {
                while under_way < inner.parallel && !cancel.is_cancelled() {
                    let Some(outgoing) = ledger.take_webhook(inner.hold)? else { break };
                    let done = done.clone();
                    let work = move || {
                        // A panic costs this try and not the sender: it is sent again when its hold has run out.
                        let send = AssertUnwindSafe(|| inner.send(ledger, &outgoing, cancel));
                        if catch_unwind(send).is_err() {
                            log::error!("job {}: sending webhook {} has panicked", outgoing.job, outgoing.id);
                        }
                        let _heard = done.send(());
                    };
                    // Without a thread it is sent again when its hold has run out.
                    let thread = std::thread::Builder::new().name("webhook".to_owned());
                    match thread.spawn_scoped(scope, work) {
                        Ok(_) => (under_way, sent) = (under_way + 1, sent + 1),
                        Err(error) => {
                            log::warn!("a webhook waits: there is no thread for it: {error}");
                            break;
                        }
                    }
                }
                if under_way == 0 {
                    return Ok(sent);
                }
                // With one that ends, the next of the same job may be due; others are in the meantime.
                match ended.recv_timeout(inner.poll) {
                    Ok(()) => under_way -= 1,
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
                }
            }
        })
    }

    /// Tell trouble with the ledger once, and its end.
    fn trouble(&self, error: Option<&LedgerError>) {
        let now = error.map(|error| chain(error));
        let mut told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*told, &now) {
            (_, Some(now)) if told.as_ref() != Some(now) => log::warn!("no webhooks are sent: {now}"),
            (Some(_), None) => log::info!("webhooks are sent again"),
            _ => {}
        }
        *told = now;
    }
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

impl Inner {
    /// One request, and what came of it.
    fn send(&self, ledger: &Ledger, outgoing: &Outgoing, cancel: &Cancel) {
        let Outgoing { job, id, tries, .. } = outgoing;
        let Some(delivered) = self.post.send(outgoing, ledger.now(), cancel) else { return };
        match &delivered {
            Delivered::Yes => log::info!("job {job}: webhook {id} was delivered, try {}", tries + 1),
            Delivered::No { reason, .. } => {
                log::warn!("job {job}: webhook {id} was not delivered, try {}: {reason}", tries + 1);
            }
            Delivered::Gone => {
                log::warn!("job {job}: the receiver of webhook {id} is gone (410); it gets no more of it");
            }
        }
        let taken = delivered == Delivered::Yes;
        let counter = if taken { &self.counters.delivered } else { &self.counters.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        match ledger.webhook_sent(outgoing, delivered) {
            Ok(Some(NoticeState::GivenUp(reason))) => {
                self.counters.given_up.fetch_add(1, Ordering::Relaxed);
                log::error!("job {job}: webhook {id} is given up: {reason}");
            }
            Ok(_) => {}
            Err(error) => log::warn!(
                "job {job}: that webhook {id} was sent cannot be written down, so it is sent again: {}",
                chain(&error)
            ),
        }
    }
}

/// A sender at work; ends with its value, within a moment. What is under way then is sent again by whoever comes
/// next.
#[derive(Debug)]
pub struct Sending {
    cancel: Cancel,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.cancel.cancel();
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            log::error!("the webhooks' thread has panicked");
        }
    }
}

//! The queue in Amazon SQS, or what speaks as it does, beside producers that stay as they are.
//!
//! The queue that is named is the normal line; `…_high` and `…_low` beside it are the others, where they exist.
//! A message is held by its visibility time-out, from the moment it is received. Holds are whole seconds,
//! rounded up. Whether one is still good is counted by the monotonic clock of whoever has it, because SQS
//! takes a delete with an old receipt and does nothing. Works on its own thread; blocks as every
//! [`Queue`] does.
//!
//! # What is weaker than elsewhere
//! - SQS promises no order, and may deliver twice. The ledger knows what was done.
//! - Each process counts the [`rota`]'s turns for itself.
//! - SQS counts every receive, and moves a message to the dead letters when there were too many. So what is given
//!   back is put there as a new message, with its delay, and the old one is deleted: only those who died count.
//!   A death in between leaves two. What is given back for longer than the 15 minutes that SQS delays
//!   a message for stays the same message, invisible for so long.
//! - No hold lasts longer than 12 hours. Shortly before, a copy is put there that appears when the hold
//!   would have ended, and the message is deleted: who works goes on under the ledger's lease, and whoever gets the
//!   copy finds the job busy, or over.
//! - Dead letters go to the queue that the redrive policy names, else to `…_dead`; where there is neither,
//!   [`bury`](Queue::bury) writes the message to the log and deletes it. Their numbers are made of the messages' ids,
//!   and do not grow. Who lists them hides them from others for a moment.
//! - [`depth`](Queue::depth) is what SQS calls approximate, and does not know the oldest.
//!
//! # Attributes of a message
//! | name | means |
//! |---|---|
//! | `Priority` | `high`, `normal` or `low`, where there is no queue for it; in the normal queue `low` is moved to `…_low` |
//! | `VisibilityTimeout` | seconds; how long it is held where heartbeats are off |
//! | `TranscodeReason`, `TranscodeLine`, `TranscodeBuried` | of dead letters: why, from which line, when (ms since 1970) |

mod client;
mod hold;
mod letters;
mod lines;

use super::{DeadLetter, Delivery, Depth, Hold, Queue, QueueError, rota};
use crate::config::{Credentials, Variables};
use crate::job::Priority;
use aws_sdk_sqs::types::{MessageAttributeValue, MessageSystemAttributeName, QueueAttributeName};
use client::{Api, Refusal};
use hold::{Attributes, FIXED_LARGE, Held, Known, LONGEST, Receipts, whole_seconds};
use lines::Lines;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The longest poll that SQS has.
const LONGEST_POLL: Duration = Duration::from_secs(20);

/// Where there are three lines, so long is waited at the normal one before the others are looked at.
const SLICE: Duration = Duration::from_secs(5);

/// The longest delay that SQS has for a new message.
const LONGEST_DELAY: Duration = Duration::from_secs(900);

/// Which queues there are is believed for so long.
const BELIEVED: Duration = Duration::from_secs(300);

/// A message that is about to be deleted is held for so long: for a few requests.
const MOMENT: i32 = 30;

/// How to reach a queue. `Debug` masks what is secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqsSettings {
    /// The URL of the normal line (`SQS_TRANSCODE_QUEUE_URL`).
    pub queue_url: String,
    /// Another server than the one in the URL.
    pub endpoint: Option<String>,
    /// The region that requests are signed for, where the URL names none.
    pub region: String,
    /// The keys; `None` for those of the machine.
    pub credentials: Option<Credentials>,
    /// The variables that point to a machine's own credentials, lower case, as
    /// [`StoreConfig::ambient`](crate::config::StoreConfig::ambient).
    pub ambient: Variables,
    /// Whether plain HTTP is let through beyond loopback.
    pub allow_http: bool,
    /// Whether `…_high` and `…_low` are served too; false pins the worker to the one queue.
    pub siblings: bool,
    /// Whether holds are as asked for and can be extended. Without, each message is held once: for its attribute
    /// `VisibilityTimeout`, else 300 s below 100 MB and 1,200 s above.
    pub heartbeat: bool,
    /// How long one poll waits; 0 to 20 s.
    pub poll: Duration,
    /// How long after its receipt a message is replaced by a copy. SQS ends every hold after 12 hours.
    pub cap: Duration,
}

impl SqsSettings {
    /// The queue at that URL with the defaults: heartbeats, all three lines, polls of 20 s, replaced ten minutes before
    /// SQS would end the hold, the machine's own keys.
    pub fn new(queue_url: &str) -> Self {
        Self {
            queue_url: queue_url.to_owned(),
            endpoint: None,
            region: "us-east-1".to_owned(),
            credentials: None,
            ambient: Variables::new(),
            allow_http: false,
            siblings: true,
            heartbeat: true,
            poll: LONGEST_POLL,
            cap: LONGEST - Duration::from_secs(600),
        }
    }
}

/// How many messages this process received and deleted; one for one, in the long run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SqsTraffic {
    /// Messages received.
    pub received: u64,
    /// Messages deleted: done with, or replaced by a copy.
    pub deleted: u64,
}

/// The queue in SQS.
pub struct SqsQueue {
    api: Api,
    settings: SqsSettings,
    lines: Mutex<Option<(Instant, Lines)>>,
    receipts: Receipts,
    turn: AtomicU64,
    received: AtomicU64,
    deleted: AtomicU64,
    /// One look through the dead letters at a time: each hides them from the other.
    looking: Mutex<()>,
}

impl SqsQueue {
    /// The queue of those settings. Asks nothing yet.
    ///
    /// # Errors
    /// [`QueueError::Unusable`] for settings that cannot be.
    pub fn new(settings: SqsSettings) -> Result<Self, QueueError> {
        let unusable = |reason| QueueError::Unusable { queue: settings.queue_url.clone(), reason };
        if settings.queue_url.ends_with(".fifo") {
            return Err(unusable(
                "a FIFO queue delays no message by itself; make a standard queue".to_owned(),
            ));
        }
        let api = Api::new(&settings).map_err(unusable)?;
        Ok(Self {
            api,
            settings,
            lines: Mutex::default(),
            receipts: Receipts::default(),
            turn: AtomicU64::new(0),
            received: AtomicU64::new(0),
            deleted: AtomicU64::new(0),
            looking: Mutex::default(),
        })
    }

    /// What was received and deleted so far.
    pub fn traffic(&self) -> SqsTraffic {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SqsTraffic { received: count(&self.received), deleted: count(&self.deleted) }
    }

    /// What makes it lose jobs or lay them aside too soon, in words for whoever runs it.
    ///
    /// # Errors
    /// [`QueueError`].
    pub fn weaknesses(&self) -> Result<Vec<String>, QueueError> {
        let (lines, queue) = (self.lines()?, &self.settings.queue_url);
        let mut found = Vec::new();
        if lines.dead.is_none() {
            found.push(format!(
                "{queue}: there is no queue for dead letters: messages that nobody understands are written to the log and \
                 deleted; make one and name it in the redrive policy, or call it like this one with _dead behind"
            ));
        }
        match lines.receives {
            Some(receives) if receives < 3 => found.push(format!(
                "{queue}: `maxReceiveCount` is {receives}: SQS lays a job aside before three workers have died on it; set it \
                 to 3 or more"
            )),
            _ => {}
        }
        if !self.settings.heartbeat {
            found.push(format!(
                "{queue}: heartbeats are off: a job that takes longer than its visibility time-out is delivered again, and a \
                 crash is noticed only then"
            ));
        }
        Ok(found)
    }

    fn failed(&self, what: &'static str, refusal: Refusal) -> QueueError {
        let queue = self.settings.queue_url.clone();
        match refusal.advice() {
            Some(advice) => {
                QueueError::Unusable { queue, reason: format!("it cannot {what}: {advice} [{refusal}]") }
            }
            None => QueueError::Failed { queue, what, source: refusal.into() },
        }
    }

    fn lines(&self) -> Result<Lines, QueueError> {
        let mut known = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, lines)) = &*known {
            if at.elapsed() < BELIEVED {
                return Ok(lines.clone());
            }
        }
        let found = Lines::find(&self.api, &self.settings.queue_url, self.settings.siblings);
        let found = found.map_err(|refusal| self.failed("say which queues there are", refusal))?;
        *known = Some((Instant::now(), found.clone()));
        Ok(found)
    }

    /// The next message of one queue, held.
    fn receive(
        &self,
        lines: &Lines,
        line: Priority,
        hold: Duration,
        poll: Duration,
    ) -> Result<Option<Delivery>, QueueError> {
        let hand_out = "hand out a message";
        let url = lines.queue(line);
        let first = if self.settings.heartbeat { hold.max(Duration::from_secs(1)) } else { FIXED_LARGE };
        loop {
            let asked = Instant::now();
            let request = self.api.client.receive_message().queue_url(url).max_number_of_messages(1);
            let request = request.wait_time_seconds(i32::try_from(poll.as_secs()).unwrap_or(0));
            let request = request.visibility_timeout(whole_seconds(first)).message_attribute_names("All");
            let answer = self.api.call(request.send()).map_err(|refusal| self.failed(hand_out, refusal))?;
            let Some(message) = answer.messages.unwrap_or_default().pop() else { return Ok(None) };
            self.received.fetch_add(1, Ordering::Relaxed);
            let (handle, body) =
                (message.receipt_handle.unwrap_or_default(), message.body.unwrap_or_default());
            let attributes = message.message_attributes.unwrap_or_default();
            let wanted = hold::text(&attributes, "Priority").and_then(priority);
            let receipt = format!("{}:{handle}", number(line));
            let hold = if self.settings.heartbeat { hold } else { hold::fixed(&attributes, &body) };
            let mut begun = asked;
            // After a long poll nobody knows when the hold began; a new one begins with a short request.
            if hold != first || asked.elapsed() > Duration::from_secs(1) {
                begun = Instant::now();
                if self.visible_in(url, &handle, whole_seconds(hold), hand_out)? == Hold::Lost {
                    continue;
                }
            }
            self.receipts
                .add(&receipt, Held { received: asked, until: begun + hold, attributes: attributes.clone() });
            let mut delivery = Delivery { receipt, priority: line, body };
            match (line, wanted, lines.own(Priority::Low)) {
                (Priority::Normal, Some(Priority::Low), Some(low)) => {
                    self.replace(&delivery.receipt, low, &delivery.body, attributes, Duration::ZERO)
                        .map_err(|refusal| self.failed(hand_out, refusal))?;
                    continue;
                }
                (Priority::Normal, Some(wanted), _) => delivery.priority = wanted,
                _ => {}
            }
            return Ok(Some(delivery));
        }
    }

    /// Make a message visible in so many seconds; `Lost` where SQS does not take the receipt.
    fn visible_in(
        &self,
        url: &str,
        handle: &str,
        seconds: i32,
        what: &'static str,
    ) -> Result<Hold, QueueError> {
        let request = self.api.client.change_message_visibility().queue_url(url).receipt_handle(handle);
        self.kept(what, self.api.call(request.visibility_timeout(seconds).send()))
    }

    fn kept<T>(&self, what: &'static str, done: Result<T, Refusal>) -> Result<Hold, QueueError> {
        match done {
            Ok(_) => Ok(Hold::Kept),
            Err(refusal) if refusal.is_stale() => Ok(Hold::Lost),
            Err(refusal) => Err(self.failed(what, refusal)),
        }
    }

    /// Put a message into a queue.
    fn send(&self, url: &str, body: &str, attributes: Attributes, after: Duration) -> Result<(), Refusal> {
        let request = self.api.client.send_message().queue_url(url).message_body(body);
        let request = request.delay_seconds(whole_seconds(after.min(LONGEST_DELAY)));
        let attributes = (!attributes.is_empty()).then_some(attributes);
        self.api.call(request.set_message_attributes(attributes).send()).map(drop)
    }

    /// Delete a message that is held.
    fn delete(&self, receipt: &str) -> Result<(), Refusal> {
        let (url, handle) = self.parts(receipt);
        self.api.call(self.api.client.delete_message().queue_url(url).receipt_handle(handle).send())?;
        self.deleted.fetch_add(1, Ordering::Relaxed);
        self.receipts.end(receipt);
        Ok(())
    }

    /// Put a copy of a held message somewhere, then delete it.
    fn replace(
        &self,
        receipt: &str,
        url: &str,
        body: &str,
        attributes: Attributes,
        after: Duration,
    ) -> Result<(), Refusal> {
        self.send(url, body, attributes, after)?;
        match self.delete(receipt) {
            // It ran out while the copy was made: there are two, and the ledger knows the job.
            Err(refusal) if refusal.is_stale() => {
                self.receipts.end(receipt);
                Ok(())
            }
            done => done,
        }
    }

    /// The queue from which a message came, and its receipt handle.
    fn parts<'a>(&self, receipt: &'a str) -> (String, &'a str) {
        let (line, handle) = receipt.split_once(':').unwrap_or(("2", receipt));
        let suffix = match line {
            "1" => "_high",
            "3" => "_low",
            _ => "",
        };
        (format!("{}{suffix}", self.settings.queue_url), handle)
    }

    /// Make sure that a message is held, for a moment more; its attributes, or `None` where it is lost.
    fn grip(&self, receipt: &str, what: &'static str) -> Result<Option<Attributes>, QueueError> {
        let attributes = match self.receipts.known(receipt) {
            Known::Over => return Ok(None),
            Known::Good(held) => held.attributes,
            Known::Unknown => Attributes::new(),
        };
        let (url, handle) = self.parts(receipt);
        Ok(match self.visible_in(&url, handle, MOMENT, what)? {
            Hold::Kept => Some(attributes),
            Hold::Lost => None,
        })
    }
}

impl Queue for SqsQueue {
    fn push(&self, priority: Priority, body: &str) -> Result<(), QueueError> {
        let mut attributes = Attributes::new();
        if priority != Priority::Normal {
            attributes.extend(attribute("Priority", name(priority)));
        }
        let lines = self.lines()?;
        let done = self.send(lines.queue(priority), body, attributes, Duration::ZERO);
        done.map_err(|refusal| self.failed("take a message in", refusal))
    }

    fn take(&self, _worker: &str, hold: Duration, wait: Duration) -> Result<Option<Delivery>, QueueError> {
        let until = Instant::now() + wait;
        let lines = self.lines()?;
        let longest = self.settings.poll.min(LONGEST_POLL);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let poll = if lines.is_one() { left.min(longest) } else { left.min(longest).min(SLICE) };
            let turn = self.turn.load(Ordering::Relaxed);
            let short = rota::order(turn).into_iter().filter(|line| lines.own(*line).is_some());
            // The long poll is on the normal line; by itself that needs no short one before it.
            let mut looks: Vec<_> = short.map(|line| (line, Duration::ZERO)).collect();
            if poll >= Duration::from_secs(1) {
                looks.retain(|_| !lines.is_one());
                looks.push((Priority::Normal, poll));
            }
            for (line, poll) in looks {
                if let Some(taken) = self.receive(&lines, line, hold, poll)? {
                    self.turn.fetch_add(1, Ordering::Relaxed);
                    return Ok(Some(taken));
                }
            }
            if left.is_zero() {
                return Ok(None);
            }
            if poll < Duration::from_secs(1) {
                std::thread::sleep(left.min(Duration::from_secs(1)));
            }
        }
    }

    fn extend(&self, delivery: &Delivery, hold: Duration) -> Result<Hold, QueueError> {
        let what = "hold a message longer";
        let known = self.receipts.known(&delivery.receipt);
        let held = match known {
            Known::Over => return Ok(Hold::Lost),
            Known::Good(held) => Some(held),
            Known::Unknown => None,
        };
        if !self.settings.heartbeat {
            return Ok(Hold::Kept);
        }
        let (url, handle) = self.parts(&delivery.receipt);
        if let Some(held) = held.filter(|held| held.received.elapsed() + hold > self.settings.cap) {
            let Some(_) = self.grip(&delivery.receipt, what)? else { return Ok(Hold::Lost) };
            let done = self.replace(&delivery.receipt, &url, &delivery.body, held.attributes, hold);
            done.map_err(|refusal| self.failed(what, refusal))?;
            log::info!("{url}: a message was held for as long as SQS allows and goes on as a copy");
            return Ok(Hold::Kept);
        }
        let asked = Instant::now();
        let done = self.visible_in(&url, handle, whole_seconds(hold), what)?;
        self.receipts.hold(&delivery.receipt, if done == Hold::Kept { asked + hold } else { asked });
        Ok(done)
    }

    fn remove(&self, delivery: &Delivery) -> Result<Hold, QueueError> {
        let what = "remove a message";
        match self.receipts.known(&delivery.receipt) {
            Known::Over => return Ok(Hold::Lost),
            Known::Good(_) => {}
            // SQS would say yes to any receipt that ever was.
            Known::Unknown => {
                let Some(_) = self.grip(&delivery.receipt, what)? else { return Ok(Hold::Lost) };
            }
        }
        self.kept(what, self.delete(&delivery.receipt))
    }

    fn give_back(&self, delivery: &Delivery, after: Duration) -> Result<Hold, QueueError> {
        let what = "take a message back";
        let Some(attributes) = self.grip(&delivery.receipt, what)? else { return Ok(Hold::Lost) };
        let (url, handle) = self.parts(&delivery.receipt);
        if after <= LONGEST_DELAY {
            match self.replace(&delivery.receipt, &url, &delivery.body, attributes, after) {
                Ok(()) => return Ok(Hold::Kept),
                Err(refusal) if refusal.is_forbidden() => {
                    log::warn!(
                        "{url}: these keys may not SendMessage: what is given back counts as received"
                    );
                }
                Err(refusal) => return Err(self.failed(what, refusal)),
            }
        }
        let done = self.visible_in(&url, handle, whole_seconds(after), what)?;
        self.receipts.end(&delivery.receipt);
        Ok(done)
    }

    fn bury(&self, delivery: &Delivery, reason: &str) -> Result<Hold, QueueError> {
        let what = "lay a message aside";
        let Some(attributes) = self.grip(&delivery.receipt, what)? else { return Ok(Hold::Lost) };
        match self.lines()?.dead {
            Some(dead) => {
                let attributes = letters::addressed(attributes, delivery.priority, reason);
                let done = self.replace(&delivery.receipt, &dead, &delivery.body, attributes, Duration::ZERO);
                done.map_err(|refusal| self.failed(what, refusal))?;
                Ok(Hold::Kept)
            }
            None => {
                log::error!(
                    "{}: there is no queue for dead letters; this message is deleted ({reason}): {}",
                    self.settings.queue_url,
                    delivery.body
                );
                self.kept(what, self.delete(&delivery.receipt))
            }
        }
    }

    fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
        self.letters(limit)
    }

    fn revive(&self, number: u64) -> Result<bool, QueueError> {
        self.revived(number)
    }

    fn depth(&self) -> Result<Depth, QueueError> {
        let lines = self.lines()?;
        let mut depth = Depth::default();
        for priority in Priority::ALL {
            let Some(url) = lines.own(priority) else { continue };
            let [waiting, held, delayed] = self.counts(url)?;
            match priority {
                Priority::High => depth.high = waiting,
                Priority::Normal => depth.normal = waiting,
                Priority::Low => depth.low = waiting,
            }
            depth.held += held;
            depth.delayed += delayed;
        }
        if let Some(dead) = &lines.dead {
            depth.dead = self.counts(dead)?.iter().sum();
        }
        Ok(depth)
    }
}

impl SqsQueue {
    /// Messages of a queue: visible, in somebody's hands, delayed.
    fn counts(&self, url: &str) -> Result<[u64; 3], QueueError> {
        let names = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
            QueueAttributeName::ApproximateNumberOfMessagesDelayed,
        ];
        let request = self.api.client.get_queue_attributes().queue_url(url);
        let request = request.set_attribute_names(Some(names.to_vec()));
        let found =
            self.api.call(request.send()).map_err(|refusal| self.failed("count its messages", refusal))?;
        let found = found.attributes.unwrap_or_default();
        Ok(names.map(|name| found.get(&name).and_then(|text| text.parse().ok()).unwrap_or_default()))
    }
}

/// An attribute of text, ready to be added.
fn attribute(name: &str, text: &str) -> Option<(String, MessageAttributeValue)> {
    let value = MessageAttributeValue::builder().data_type("String").string_value(text).build();
    Some((name.to_owned(), value.ok()?))
}

const fn name(priority: Priority) -> &'static str {
    match priority {
        Priority::High => "high",
        Priority::Normal => "normal",
        Priority::Low => "low",
    }
}

fn priority(text: &str) -> Option<Priority> {
    Priority::ALL.into_iter().find(|priority| name(*priority).eq_ignore_ascii_case(text.trim()))
}

/// Lines as receipts have them.
const fn number(line: Priority) -> u8 {
    match line {
        Priority::High => 1,
        Priority::Normal => 2,
        Priority::Low => 3,
    }
}

/// The system's own attribute of a message.
const SENT: MessageSystemAttributeName = MessageSystemAttributeName::SentTimestamp;

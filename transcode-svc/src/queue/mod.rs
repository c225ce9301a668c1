//! Queues: messages that wait for a worker.
//!
//! Owns the order in which they are taken, and that none is lost: one that is taken is *held* for a
//! time, and comes back when that runs out. Knows no jobs: what a message means is `job`'s affair, who
//! may work on it the `ledger`'s. Times are those of the queue's [`Clock`](crate::time::Clock), but for
//! how long [`take`](Queue::take) waits, which is real time.
//!
//! # What every queue keeps
//! The suite in `tests/queues` holds each implementation to it.
//! - A message is there from `push` until `remove` or `bury` by whoever holds it. It may come more than
//!   once: the ledger knows what has been done.
//! - Within a priority, first come, first taken. What comes back (given back, or its hold ran out) stands in
//!   front of its line again, the longest due before the others. SQS alone promises no order within a line.
//! - Between priorities: [`rota`]. The lower lines have a quota, so that nothing starves.
//! - Whoever lost a hold changes nothing any more.
//! - Nothing is fetched ahead: a worker takes a message when it is free.

#[cfg(feature = "redis")]
mod redis;
pub mod rota;
mod sqlite;
#[cfg(feature = "sqs")]
mod sqs;

#[cfg(feature = "redis")]
pub use self::redis::{Lines, RedisQueue};
pub use sqlite::SqliteQueue;
#[cfg(feature = "sqs")]
pub use sqs::{SqsQueue, SqsSettings, SqsTraffic};

use crate::job::Priority;
use crate::time::Timestamp;
use std::time::Duration;

/// A queue. Calls block; all may be made from any thread.
pub trait Queue: Send + Sync {
    /// Put a message at the end of its line. When this returns, it is there for good.
    ///
    /// # Errors
    /// [`QueueError`]; the message may be there all the same, where the answer was lost.
    fn push(&self, priority: Priority, body: &str) -> Result<(), QueueError>;

    /// The next message, held for `hold`; none where nothing came within `wait`. `worker` names who
    /// takes it, and must be another for each that takes at the same time.
    ///
    /// # Errors
    /// [`QueueError`]; a message that was taken all the same comes back after `hold`.
    fn take(&self, worker: &str, hold: Duration, wait: Duration) -> Result<Option<Delivery>, QueueError>;

    /// Hold it for `hold` from now on.
    ///
    /// # Errors
    /// [`QueueError`]; then it is unknown whether it is held.
    fn extend(&self, delivery: &Delivery, hold: Duration) -> Result<Hold, QueueError>;

    /// It is done with: take it away.
    ///
    /// # Errors
    /// [`QueueError`]; then it may come again.
    fn remove(&self, delivery: &Delivery) -> Result<Hold, QueueError>;

    /// Let others have it, `after` a time.
    ///
    /// # Errors
    /// [`QueueError`]; then it comes back when the hold runs out.
    fn give_back(&self, delivery: &Delivery, after: Duration) -> Result<Hold, QueueError>;

    /// Lay it aside, with the reason: nobody can make anything of it.
    ///
    /// # Errors
    /// [`QueueError`]; then it may come again.
    fn bury(&self, delivery: &Delivery, reason: &str) -> Result<Hold, QueueError>;

    /// A worker is known to be dead: what it holds comes back now and not when its time runs out. Where a queue cannot
    /// tell who holds what, nothing happens.
    ///
    /// # Errors
    /// [`QueueError`]; then it comes back when the hold runs out.
    fn let_go(&self, worker: &str) -> Result<(), QueueError> {
        let _its_time_runs_out = worker;
        Ok(())
    }

    /// Dead letters, the oldest first, `limit` at most.
    ///
    /// # Errors
    /// [`QueueError`].
    fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, QueueError>;

    /// Put a dead letter at the end of its line again; false where there is none of that number.
    ///
    /// # Errors
    /// [`QueueError`].
    fn revive(&self, number: u64) -> Result<bool, QueueError>;

    /// How many messages are where.
    ///
    /// # Errors
    /// [`QueueError`].
    fn depth(&self) -> Result<Depth, QueueError>;
}

/// A message in somebody's hands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Proves who holds it; another one for each take.
    pub receipt: String,
    /// The line it waited in.
    pub priority: Priority,
    /// What was pushed.
    pub body: String,
}

/// Whether a message was still held by who acted on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Hold {
    /// It was, and what was asked for is done.
    Kept,
    /// It was not: the time ran out. Nothing was changed.
    Lost,
}

impl Hold {
    /// `Kept` where `yes`.
    const fn kept(yes: bool) -> Self {
        if yes { Self::Kept } else { Self::Lost }
    }
}

/// A message that was laid aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Names it in this queue; grows, but in SQS.
    pub number: u64,
    /// The line it came from.
    pub priority: Priority,
    /// What was pushed.
    pub body: String,
    /// Why it was laid aside.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// How many messages are where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Depth {
    /// Waiting with priority high.
    pub high: u64,
    /// Waiting with priority normal.
    pub normal: u64,
    /// Waiting with priority low.
    pub low: u64,
    /// In somebody's hands; also those whose time ran out, until the next take notices.
    pub held: u64,
    /// Given back, and not due yet or not noticed yet.
    pub delayed: u64,
    /// Laid aside.
    pub dead: u64,
    /// When the oldest that waits was pushed; `None` where none waits, and where the queue does not know
    /// (Redis' producers write no time).
    pub oldest: Option<Timestamp>,
}

impl Depth {
    /// The count of a line.
    pub const fn waiting(&self, priority: Priority) -> u64 {
        match priority {
            Priority::High => self.high,
            Priority::Normal => self.normal,
            Priority::Low => self.low,
        }
    }
}

/// The queue did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// It cannot be reached, or refuses. Trying again later is right.
    #[error("the queue {queue} failed to {what}")]
    Failed {
        /// Which queue, without credentials.
        queue: String,
        /// What was asked.
        what: &'static str,
        /// What it said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It cannot be opened as it is. Trying again changes nothing.
    #[error("the queue {queue} cannot be used: {reason}")]
    Unusable {
        /// Which queue, without credentials.
        queue: String,
        /// What is wrong, and what to do.
        reason: String,
    },
}

//! The ledger: what is true about each job.
//!
//! Owns a job's state, who has the lease, what was tried, what came out and who is told. Knows no
//! queue and runs nothing. Times are those of the ledger's [`Clock`].
//!
//! # How it is built
//! A job is one [`Record`]. Every change is a pure function from a record and a time to the next record
//! (`change`), written back only if nobody else has written in between ([`Records::replace`]). So there is one
//! set of rules for all implementations, and these are small: read, create, compare and set, list. The outbox of
//! webhooks is part of the record: a state and the message about it are one write.
//!
//! # Leases
//! Each grant makes the **epoch** one larger. Every later write under the lease says its epoch, and is refused
//! with [`LedgerError::Lost`] once another grant was made or the time ran out. A worker stops its work
//! before its own clock says so: [`Lease::deadline`] is monotonic, and was read before the lease was asked for.
//!
//! ```text
//! queued ── grant ─► processing ── begin_commit ─► committing ── complete ─► complete
//!    ▲                │    │                            │
//!    │  release, fail ┘    └ fail ► failed, dead        └ time ran out: granted again, still committing
//!    └ retry ◄── failed, dead, cancelled
//! ```

mod change;
mod error;
mod objects;
mod policy;
mod progress;
mod record;
#[cfg(feature = "redis")]
mod redis;
mod sqlite;
mod status;
mod webhook;

#[cfg(feature = "redis")]
pub use self::redis::RedisRecords;
pub use error::LedgerError;
pub use objects::ObjectRecords;
pub use policy::{Next, Policy};
pub use progress::{Playable, Progress, Stage, WorkerCard};
pub use record::{Failure, FailureCause, Notice, NoticeState, Record, State};
pub use sqlite::SqliteRecords;
pub use status::status_fields;
pub use webhook::{Delivered, Outgoing};

use crate::job::{Job, JobId, Output, Priority};
use crate::time::{Clock, Timestamp};
use std::sync::Arc;
use std::time::{Duration, Instant};
use transcode_core::ErrorKind;

/// Where records are kept: what an implementation owes. All calls block.
pub trait Records: Send + Sync {
    /// The record of a job.
    ///
    /// # Errors
    /// [`LedgerError::Failed`], [`LedgerError::Unreadable`].
    fn read(&self, id: &JobId) -> Result<Option<Stored>, LedgerError>;

    /// Store a first record, unless there is one of that id or of that idempotency key: that one is
    /// given back then.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    fn create(&self, record: &Record) -> Result<Option<Stored>, LedgerError>;

    /// Put `record` in the place of what was read as `version`; false, and nothing changed, where
    /// somebody else did so since. Durable when this returns.
    ///
    /// # Errors
    /// As [`read`](Self::read); then it is unknown whether it was stored.
    fn replace(&self, version: &Version, record: &Record) -> Result<bool, LedgerError>;

    /// Records that fit, the newest first.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    fn list(&self, filter: &Filter) -> Result<Vec<Record>, LedgerError>;

    /// Jobs that [need](Record::due) `what` not later than `now`, the longest due first, `limit` at most.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    fn due(&self, what: Due, now: Timestamp, limit: usize) -> Result<Vec<JobId>, LedgerError>;

    /// Put a worker's card in the place of its last one.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    fn put_worker(&self, card: &WorkerCard) -> Result<(), LedgerError>;

    /// Take a worker's card away; nothing where there is none.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    fn remove_worker(&self, name: &str) -> Result<(), LedgerError>;

    /// All workers' cards, in any order. One that cannot be read is left out.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    fn workers(&self) -> Result<Vec<WorkerCard>, LedgerError>;
}

/// A worker that has said nothing for so long is gone; its card is taken away.
const GONE: Duration = Duration::from_secs(24 * 3_600);

/// What a job can need without anybody asking for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// To be put into a queue: nobody has.
    Queue,
    /// To have a webhook sent.
    Webhook,
}

/// A record and which writing of it this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The record.
    pub record: Record,
    /// Its version.
    pub version: Version,
}

/// Tells one writing of a record from all others; opaque but to the implementation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version(String);

/// Which records to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Only those in this state.
    pub state: Option<State>,
    /// Only those older than this one: the last of the page before.
    pub after: Option<(Timestamp, JobId)>,
    /// How many at most.
    pub limit: usize,
}

/// A worker's timed right to a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The job.
    pub job: JobId,
    /// Who has it.
    pub worker: String,
    /// Grows with each grant; every write carries it.
    pub epoch: u64,
    /// How long it lasts from a grant or a renewal.
    pub length: Duration,
    /// When it ends by the ledger's clock.
    pub until: Timestamp,
    /// When it ends by the worker's own monotonic clock, counted from before it was asked for: by then
    /// the work must have stopped.
    pub deadline: Instant,
}

/// What came of asking for a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// It is yours.
    Granted {
        /// The lease.
        lease: Lease,
        /// The job and all that is known of it.
        record: Box<Record>,
    },
    /// Somebody has it.
    Busy {
        /// Until then, if it is not renewed.
        until: Timestamp,
    },
    /// Not yet, or not for this worker yet: it failed a moment ago.
    Later {
        /// When to ask again.
        at: Timestamp,
    },
    /// It needs nobody any more.
    Over {
        /// Its state, which is final.
        state: State,
    },
    /// There is no such job.
    Unknown,
}

/// A renewed lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renewed {
    /// Somebody cancelled the job: stop, and [`fail`](Ledger::fail) as interrupted.
    pub cancelled: bool,
}

/// What came of cancelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelling {
    /// Nobody worked on it: it is cancelled.
    Done,
    /// Its worker is told at the next renewal.
    Asked,
    /// It is over already, or being published.
    TooLate,
    /// There is no such job.
    Unknown,
}

/// A job that was taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// Its record: the first one, where it was known.
    pub record: Record,
    /// Whether it was not known.
    pub fresh: bool,
}

/// How often a write is tried again because another came in between. Two workers and an API meet
/// once or twice; this many in a row is a fault.
const TRIES: usize = 50;

/// The ledger, over any [`Records`].
#[derive(Clone)]
pub struct Ledger {
    records: Arc<dyn Records>,
    clock: Arc<dyn Clock>,
    policy: Policy,
}

impl Ledger {
    /// A ledger.
    pub fn new(records: Arc<dyn Records>, clock: Arc<dyn Clock>, policy: Policy) -> Self {
        Self { records, clock, policy }
    }

    /// What time it is for this ledger.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Take a job in that has still to be put into a queue; say [`announced`](Self::announced) after that.
    /// One that has no name gets one. The same idempotency key, or the same name, gives the job that is
    /// there.
    ///
    /// # Errors
    /// [`LedgerError::Taken`] where the name belongs to another job, [`LedgerError::Failed`].
    pub fn submit(&self, job: Job) -> Result<Submitted, LedgerError> {
        let named = job.id.is_some();
        loop {
            let submitted = self.enter(job.clone(), false);
            match submitted {
                // A name that we made ourselves can meet another one: make another.
                Err(LedgerError::Taken { .. }) if !named => {}
                other => return other,
            }
        }
    }

    /// Take a job in that came by a queue, so that nobody needs to put it there.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn admit(&self, job: Job) -> Result<Submitted, LedgerError> {
        self.enter(job, true)
    }

    fn enter(&self, mut job: Job, announced: bool) -> Result<Submitted, LedgerError> {
        let now = self.clock.now();
        let id = job.id.get_or_insert_with(|| JobId::made(now.seconds())).clone();
        let key = job.idempotency_key.clone();
        let record = Record::new(id.clone(), job, now, announced);
        let Some(Stored { record: known, .. }) = self.records.create(&record)? else {
            return Ok(Submitted { record, fresh: true });
        };
        let again = key.is_some() && known.job.idempotency_key == key;
        match known.job.difference(&record.job) {
            Some(field) if !again => Err(LedgerError::Taken { job: id, field }),
            _ => Ok(Submitted { record: known, fresh: false }),
        }
    }

    /// The job stands in a queue.
    ///
    /// # Errors
    /// [`LedgerError::Unknown`], [`LedgerError::Failed`].
    pub fn announced(&self, id: &JobId) -> Result<(), LedgerError> {
        self.change(id, |record, _| {
            record.announced = true;
            Ok(())
        })
    }

    /// Jobs that were taken in a while ago and that nobody has put into a queue: whoever took them in
    /// died in between. Put them there, and say [`announced`](Self::announced).
    ///
    /// # Errors
    /// [`LedgerError::Failed`].
    pub fn stranded(&self, limit: usize) -> Result<Vec<Record>, LedgerError> {
        let now = self.clock.now();
        let mut stranded = Vec::new();
        for id in self.records.due(Due::Queue, now, limit)? {
            let record = self.records.read(&id)?.map(|stored| stored.record);
            stranded.extend(record.filter(|record| record.due(Due::Queue).is_some_and(|at| at <= now)));
        }
        Ok(stranded)
    }

    /// Ask for the lease on a job.
    ///
    /// # Errors
    /// [`LedgerError::Failed`]; a lease that was granted all the same runs out by itself.
    pub fn grant(&self, id: &JobId, worker: &str, length: Duration) -> Result<Grant, LedgerError> {
        let asked = Instant::now();
        let granted = self.change(id, |record, now| Ok(record.grant(worker, length, now, &self.policy)));
        match granted {
            Ok(change::Granted::Yes(record)) => {
                let until = record.lease.as_ref().map_or_else(Timestamp::default, |lease| lease.until);
                let (job, worker, epoch) = (id.clone(), worker.to_owned(), record.epoch);
                let lease = Lease { job, worker, epoch, length, until, deadline: asked + length };
                Ok(Grant::Granted { lease, record })
            }
            Ok(change::Granted::Busy(until)) => Ok(Grant::Busy { until }),
            Ok(change::Granted::Later(at)) => Ok(Grant::Later { at }),
            Ok(change::Granted::Over(state)) => Ok(Grant::Over { state }),
            Err(LedgerError::Unknown { .. }) => Ok(Grant::Unknown),
            Err(error) => Err(error),
        }
    }

    /// Hold the lease for its whole length from now on, and say how far the work is (0 to 100 %).
    ///
    /// # Errors
    /// [`LedgerError::Lost`]: stop at once. [`LedgerError::Failed`]: it still holds until its deadline.
    pub fn renew(&self, lease: &mut Lease, percent: u8) -> Result<Renewed, LedgerError> {
        self.renew_with(lease, &Progress::at(percent))
    }

    /// The same, with all that the worker can say.
    ///
    /// # Errors
    /// As [`renew`](Self::renew).
    pub fn renew_with(&self, lease: &mut Lease, progress: &Progress) -> Result<Renewed, LedgerError> {
        let asked = Instant::now();
        let (until, cancelled) =
            self.under(lease, |record, now| Ok(record.renew(lease.length, progress, now)))?;
        lease.until = until;
        lease.deadline = asked + lease.length;
        Ok(Renewed { cancelled })
    }

    /// A worker is known to be dead: its leases end now, and not when their time runs out. How many there were.
    ///
    /// # Errors
    /// [`LedgerError::Failed`].
    pub fn orphaned(&self, worker: &str) -> Result<usize, LedgerError> {
        let mut ended = 0;
        for state in [State::Processing, State::Committing] {
            let held = self.records.list(&Filter { state: Some(state), after: None, limit: 1_000 })?;
            for id in held.into_iter().filter(|record| record.held_by(worker)).map(|record| record.id) {
                let now_ended = self.change(&id, |record, now| Ok(record.end_lease_of(worker, now)))?;
                ended += usize::from(now_ended);
            }
        }
        Ok(ended)
    }

    /// From here on the output is published, whoever does it: the job cannot be cancelled any more, and who gets
    /// the next lease repeats the rest.
    ///
    /// # Errors
    /// [`LedgerError::Lost`], [`LedgerError::State`] where it was cancelled, [`LedgerError::Failed`].
    pub fn begin_commit(&self, lease: &Lease) -> Result<(), LedgerError> {
        self.under(lease, |record, now| record.begin_commit(now))
    }

    /// The output is published. Saying it twice under one epoch is fine.
    ///
    /// # Errors
    /// [`LedgerError::Lost`], [`LedgerError::State`] before [`begin_commit`](Self::begin_commit),
    /// [`LedgerError::Failed`].
    pub fn complete(&self, lease: &Lease, outputs: &[Output]) -> Result<(), LedgerError> {
        self.change(&lease.job, |record, now| {
            if record.state == State::Complete && record.epoch == lease.epoch {
                return Ok(());
            }
            record.hold(lease, now)?;
            record.complete(outputs, now)
        })
    }

    /// It went wrong. What happens next follows from who is at fault: [`Policy`].
    ///
    /// # Errors
    /// [`LedgerError::Lost`], [`LedgerError::Failed`].
    pub fn fail(&self, lease: &Lease, kind: ErrorKind, reason: &str) -> Result<Next, LedgerError> {
        self.under(lease, |record, now| Ok(record.fail(kind, reason, now, &self.policy)))
    }

    /// Hand the lease back: this worker has to go, and nothing was wrong.
    ///
    /// # Errors
    /// [`LedgerError::Lost`], [`LedgerError::Failed`].
    pub fn release(&self, lease: &Lease) -> Result<(), LedgerError> {
        self.fail(lease, ErrorKind::Interrupted, "").map(drop)
    }

    /// Nobody wants it any more.
    ///
    /// # Errors
    /// [`LedgerError::Failed`].
    pub fn cancel(&self, id: &JobId) -> Result<Cancelling, LedgerError> {
        match self.change(id, |record, now| Ok(record.cancel(now))) {
            Err(LedgerError::Unknown { .. }) => Ok(Cancelling::Unknown),
            other => other,
        }
    }

    /// Once more, from what is stored: of a job that failed, is dead or was cancelled. It has to be put
    /// into a queue after that, as after [`submit`](Self::submit).
    ///
    /// # Errors
    /// [`LedgerError::State`] for a job in another state, [`LedgerError::Unknown`], [`LedgerError::Failed`].
    pub fn retry(&self, id: &JobId) -> Result<(), LedgerError> {
        self.change(id, change::retry)
    }

    /// Let a job that waits wait in another line; gives back the one before. A message has to be put into the new line
    /// where it is to be taken earlier.
    ///
    /// # Errors
    /// [`LedgerError::State`] for a job that does not wait, [`LedgerError::Unknown`], [`LedgerError::Failed`].
    pub fn set_priority(&self, id: &JobId, priority: Priority) -> Result<Priority, LedgerError> {
        self.change(id, |record, now| record.set_priority(priority, now))
    }

    /// The message of a job whose priority was changed stands in its new line now.
    ///
    /// # Errors
    /// [`LedgerError::Unknown`], [`LedgerError::Failed`].
    pub fn moved(&self, id: &JobId) -> Result<(), LedgerError> {
        self.change(id, |record, _| {
            record.line = None;
            Ok(())
        })
    }

    /// All that is known of a job.
    ///
    /// # Errors
    /// [`LedgerError::Failed`].
    pub fn get(&self, id: &JobId) -> Result<Option<Record>, LedgerError> {
        Ok(self.records.read(id)?.map(|stored| stored.record))
    }

    /// Jobs, the newest first.
    ///
    /// # Errors
    /// [`LedgerError::Failed`].
    pub fn list(&self, filter: &Filter) -> Result<Vec<Record>, LedgerError> {
        self.records.list(filter)
    }

    /// A worker is there, and this is what it does. To be said now and then.
    ///
    /// # Errors
    /// [`LedgerError::Failed`].
    pub fn worker_seen(&self, card: WorkerCard) -> Result<(), LedgerError> {
        self.records.put_worker(&WorkerCard { seen: self.clock.now(), ..card })
    }

    /// A worker goes.
    ///
    /// # Errors
    /// [`LedgerError::Failed`].
    pub fn worker_gone(&self, name: &str) -> Result<(), LedgerError> {
        self.records.remove_worker(name)
    }

    /// The workers that were seen within a day, by name.
    ///
    /// # Errors
    /// [`LedgerError::Failed`].
    pub fn workers(&self) -> Result<Vec<WorkerCard>, LedgerError> {
        let now = self.clock.now();
        let (gone, mut here): (Vec<_>, Vec<_>) =
            self.records.workers()?.into_iter().partition(|card| now.since(card.seen) > GONE);
        gone.iter().try_for_each(|card| self.records.remove_worker(&card.name))?;
        here.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(here)
    }

    /// The next webhook that is due, which nobody else gets for `hold`. Those of a job come in order.
    ///
    /// # Errors
    /// [`LedgerError::Failed`].
    pub fn take_webhook(&self, hold: Duration) -> Result<Option<Outgoing>, LedgerError> {
        // Others may have taken the first ones in between: look at some more.
        for id in self.records.due(Due::Webhook, self.clock.now(), 32)? {
            let taken = self.change(&id, |record, now| Ok(record.take_notice(now, hold)));
            match taken {
                Ok(None) | Err(LedgerError::Unknown { .. }) => {}
                other => return other,
            }
        }
        Ok(None)
    }

    /// What came of sending it; says what becomes of it, or `None` where nobody waits for it any more.
    ///
    /// # Errors
    /// [`LedgerError::Failed`]; then it is sent again, with the same id.
    pub fn webhook_sent(
        &self,
        outgoing: &Outgoing,
        delivered: Delivered,
    ) -> Result<Option<NoticeState>, LedgerError> {
        self.change(&outgoing.job, |record, now| {
            Ok(record.notice_sent(&outgoing.id, delivered.clone(), now, &self.policy))
        })
    }

    /// Have a webhook sent once more, with the same id and from the first try on: whether it was taken, given up or
    /// still waits. Earlier ones of the job that wait go first. [`get`](Self::get) lists them: [`Record::outbox`].
    ///
    /// # Errors
    /// [`LedgerError::Unknown`], [`LedgerError::NoNotice`], [`LedgerError::Failed`].
    pub fn redeliver(&self, id: &JobId, notice: &str) -> Result<(), LedgerError> {
        self.change(id, |record, now| {
            let there = record.redeliver(notice, now);
            let none = || LedgerError::NoNotice { job: id.clone(), notice: notice.to_owned() };
            there.then_some(()).ok_or_else(none)
        })
    }

    /// A change under a lease that must be good.
    fn under<T>(
        &self,
        lease: &Lease,
        change: impl Fn(&mut Record, Timestamp) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        self.change(&lease.job, |record, now| {
            record.hold(lease, now)?;
            change(record, now)
        })
    }

    /// Read, change, and write if nobody wrote in between; else once more.
    fn change<T>(
        &self,
        id: &JobId,
        change: impl Fn(&mut Record, Timestamp) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        for _ in 0..TRIES {
            let stored = self.records.read(id)?.ok_or_else(|| LedgerError::Unknown { job: id.clone() })?;
            let mut record = stored.record.clone();
            let done = change(&mut record, self.clock.now())?;
            if record == stored.record || self.records.replace(&stored.version, &record)? {
                return Ok(done);
            }
        }
        Err(LedgerError::Contended { job: id.clone() })
    }
}

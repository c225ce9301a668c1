//! A queue and a ledger together: how a job gets in, to a worker, and out again.
//!
//! Owns the order of the steps, so that a death between any two of them loses nothing: into the ledger before
//! the queue, out of the queue only after the ledger knows the end. Knows nothing of pictures; who works on
//! what it hands out is the worker's affair. Every step may be repeated.

use crate::job::{self, Job, JobId, Message, Output, Priority, Rules};
use crate::ledger::{Grant, Lease, Ledger, LedgerError, Next, Progress, Record, Renewed, State, Submitted};
use crate::queue::{Delivery, Hold, Queue, QueueError};
use std::sync::Arc;
use std::time::{Duration, Instant};
use transcode_core::ErrorKind;

/// A message is given back for so long when its job is in other hands, or the ledger is away: long enough
/// to ask seldom, short against what a job takes.
const ASIDE: Duration = Duration::from_secs(10);

/// Hands jobs from those who want them to those who work on them.
#[derive(Clone)]
pub struct Dispatch {
    queue: Arc<dyn Queue>,
    ledger: Ledger,
    rules: Arc<Rules>,
}

/// A job in a worker's hands: the lease on it, and the message by which it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// The right to it.
    pub lease: Lease,
    /// All that is known of it. In state [`State::Committing`] only its publication is left.
    pub record: Record,
    delivery: Delivery,
}

/// The queue or the ledger did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DispatchError {
    /// The queue.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The ledger; [`LedgerError::Lost`] means: stop.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl Dispatch {
    /// Between that queue and that ledger; `rules` say what others' messages leave open.
    pub fn new(queue: Arc<dyn Queue>, ledger: Ledger, rules: Rules) -> Self {
        Self { queue, ledger, rules: Arc::new(rules) }
    }

    /// The ledger.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The queue.
    pub fn queue(&self) -> &dyn Queue {
        &*self.queue
    }

    /// Take a job in. When this returns, it is done some day, or fails with a reason. The same name or
    /// idempotency key is the job that is there.
    ///
    /// # Errors
    /// [`DispatchError`]; then it may be there all the same, and is put into the queue by [`sweep`](Self::sweep).
    pub fn submit(&self, job: Job) -> Result<Submitted, DispatchError> {
        let submitted = self.ledger.submit(job)?;
        if submitted.fresh {
            self.announce(&submitted.record)?;
        }
        Ok(submitted)
    }

    /// Try a job again that failed, is dead or was cancelled.
    ///
    /// # Errors
    /// [`LedgerError::State`], [`LedgerError::Unknown`], [`DispatchError`].
    pub fn retry(&self, id: &JobId) -> Result<(), DispatchError> {
        self.ledger.retry(id)?;
        match self.ledger.get(id)? {
            Some(record) => self.announce(&record),
            None => Ok(()),
        }
    }

    /// Let a job that waits wait in another line.
    ///
    /// No queue can move a message. Into a more urgent line goes a second one: who takes the first finds the
    /// job taken or over. For a less urgent one it is enough that the ledger knows: the message is put there when it
    /// comes up.
    ///
    /// # Errors
    /// [`LedgerError::State`] for a job that does not wait, [`LedgerError::Unknown`], [`DispatchError`].
    pub fn set_priority(&self, id: &JobId, priority: Priority) -> Result<(), DispatchError> {
        let before = self.ledger.set_priority(id, priority)?;
        if priority < before {
            if let Some(record) = self.ledger.get(id)? {
                self.put(&record.job)?;
            }
        }
        Ok(())
    }

    /// Put into the queue what should stand there for a minute and does not: whoever took it in died.
    /// To be called now and then; how many there were.
    ///
    /// # Errors
    /// [`DispatchError`].
    pub fn sweep(&self) -> Result<usize, DispatchError> {
        let stranded = self.ledger.stranded(100)?;
        stranded.iter().try_for_each(|record| self.announce(record))?;
        Ok(stranded.len())
    }

    /// A worker is known to be dead: whoever asks next gets its jobs. How many there were.
    ///
    /// # Errors
    /// [`DispatchError`]; then they come back when their time runs out.
    pub fn orphaned(&self, worker: &str) -> Result<usize, DispatchError> {
        let ended = self.ledger.orphaned(worker)?;
        self.queue.let_go(worker)?;
        Ok(ended)
    }

    /// Twice in the queue does no harm, not at all would: so the ledger hears of it last.
    fn announce(&self, record: &Record) -> Result<(), DispatchError> {
        self.put(&record.job)?;
        Ok(self.ledger.announced(&record.id)?)
    }

    fn put(&self, job: &Job) -> Result<(), DispatchError> {
        let text = serde_json::to_string(job).map_err(|error| LedgerError::Unreadable {
            job: job.id.as_ref().map(ToString::to_string).unwrap_or_default(),
            reason: format!("it cannot be written as JSON: {error}"),
        })?;
        Ok(self.queue.push(job.priority, &text)?)
    }

    /// The next job, leased for `lease`; none where none came within `wait`. What is no job on the way there
    /// is put where it belongs.
    ///
    /// # Errors
    /// [`DispatchError`]; what was taken comes back.
    pub fn next(&self, worker: &str, lease: Duration, wait: Duration) -> Result<Option<Work>, DispatchError> {
        let until = Instant::now() + wait;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Some(delivery) = self.queue.take(worker, lease, left)? else { return Ok(None) };
            match self.sort(worker, lease, &delivery) {
                Ok(None) => {}
                Ok(Some((lease, record))) => return Ok(Some(Work { lease, record, delivery })),
                Err(error) => {
                    // As a courtesy: it comes back by itself when its time runs out.
                    let _tried = self.queue.give_back(&delivery, ASIDE);
                    return Err(error);
                }
            }
        }
    }

    /// What a message is good for; none: not for work, and it was put where it belongs.
    fn sort(
        &self,
        worker: &str,
        length: Duration,
        delivery: &Delivery,
    ) -> Result<Option<(Lease, Record)>, DispatchError> {
        let mut jobs = match job::read(&delivery.body, &self.rules) {
            Ok(Message::Jobs(jobs)) => jobs,
            Ok(Message::Nothing { why }) => {
                log::info!("a message asks for nothing: {why}");
                note(self.queue.remove(delivery)?);
                return Ok(None);
            }
            Err(error) => {
                log::warn!("a message is laid aside: {error}");
                note(self.queue.bury(delivery, &error.to_string())?);
                return Ok(None);
            }
        };
        if jobs.len() > 1 {
            // One message, one lease: each goes into the queue by itself. Should this end half-way, the
            // message comes again and the jobs have the same names.
            for job in &jobs {
                self.put(job)?;
            }
            note(self.queue.remove(delivery)?);
            return Ok(None);
        }
        let Some(job) = jobs.pop() else { return Ok(None) };
        let id = match self.ledger.admit(job) {
            Ok(Submitted { record, .. }) => {
                let elsewhere = record.line.is_some_and(|line| line != delivery.priority);
                if elsewhere && record.state == State::Queued {
                    // Once: where a queue has one line only, the message comes back by the same.
                    self.put(&record.job)?;
                    self.ledger.moved(&record.id)?;
                    note(self.queue.remove(delivery)?);
                    return Ok(None);
                }
                record.id
            }
            Err(error @ LedgerError::Taken { .. }) => {
                log::warn!("a message is laid aside: {error}");
                note(self.queue.bury(delivery, &error.to_string())?);
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        match self.ledger.grant(&id, worker, length)? {
            Grant::Granted { lease, record } => return Ok(Some((lease, *record))),
            // Whoever has it has a message of its own, or this one before its time ran out. It is asked again,
            // in case that one dies.
            // Later may mean later for this worker: others shall find it soon.
            Grant::Busy { until: at } | Grant::Later { at } => {
                // By a moment longer, so that it is not too early by a rounding.
                let wait = at.since(self.ledger.now()) + Duration::from_millis(50);
                note(self.queue.give_back(delivery, wait.min(ASIDE))?);
            }
            Grant::Over { state } => self.clear(&id, state, delivery)?,
            Grant::Unknown => note(self.queue.give_back(delivery, ASIDE)?),
        }
        Ok(None)
    }

    /// The job is over: so is its message. What is dead is kept for whoever has to look.
    fn clear(&self, id: &JobId, state: State, delivery: &Delivery) -> Result<(), DispatchError> {
        if state != State::Dead {
            note(self.queue.remove(delivery)?);
            return Ok(());
        }
        let reason = self.ledger.get(id)?.and_then(|record| record.error).unwrap_or_default();
        note(self.queue.bury(delivery, &format!("job {id} is dead: {reason}"))?);
        Ok(())
    }

    /// Keep the job, and say how far it is (0 to 100 %). To be called at a third of the lease.
    ///
    /// # Errors
    /// [`LedgerError::Lost`]: stop at once. Anything else: the lease holds until its deadline.
    pub fn renew(&self, work: &mut Work, percent: u8) -> Result<Renewed, DispatchError> {
        self.renew_with(work, &Progress::at(percent))
    }

    /// The same, with all that the worker can say.
    ///
    /// # Errors
    /// As [`renew`](Self::renew).
    pub fn renew_with(&self, work: &mut Work, progress: &Progress) -> Result<Renewed, DispatchError> {
        let renewed = self.ledger.renew_with(&mut work.lease, progress)?;
        // Where the message was lost, whoever gets it next finds the job busy and gives it back.
        note(self.queue.extend(&work.delivery, work.lease.length)?);
        Ok(renewed)
    }

    /// The output is about to be published.
    ///
    /// # Errors
    /// As [`Ledger::begin_commit`].
    pub fn begin_commit(&self, work: &Work) -> Result<(), DispatchError> {
        Ok(self.ledger.begin_commit(&work.lease)?)
    }

    /// The output is published.
    ///
    /// # Errors
    /// As [`Ledger::complete`]. That the queue could not be told is none: the next one to get the message
    /// finds the job over.
    pub fn complete(&self, work: &Work, outputs: &[Output]) -> Result<(), DispatchError> {
        self.ledger.complete(&work.lease, outputs)?;
        self.told(self.queue.remove(&work.delivery));
        Ok(())
    }

    /// It went wrong; by whose fault decides what happens.
    ///
    /// # Errors
    /// As [`Ledger::fail`].
    pub fn fail(&self, work: &Work, kind: ErrorKind, reason: &str) -> Result<Next, DispatchError> {
        let next = self.ledger.fail(&work.lease, kind, reason)?;
        self.told(match &next {
            Next::Failed | Next::Cancelled => self.queue.remove(&work.delivery),
            Next::Again { at } => self.queue.give_back(&work.delivery, at.since(self.ledger.now())),
            Next::Dead => {
                self.queue.bury(&work.delivery, &format!("job {} is dead: {reason}", work.lease.job))
            }
        });
        Ok(next)
    }

    /// Hand the job over to another worker: this one has to go.
    ///
    /// # Errors
    /// As [`Ledger::release`].
    pub fn release(&self, work: &Work) -> Result<(), DispatchError> {
        self.fail(work, ErrorKind::Interrupted, "").map(drop)
    }

    /// The ledger knows; that the queue does not is put right when the message comes again.
    fn told(&self, done: Result<Hold, QueueError>) {
        match done {
            Ok(hold) => note(hold),
            Err(error) => log::warn!("{error}; the message comes again and is recognised"),
        }
    }
}

/// A hold that was lost changes nothing here: the ledger decides who works.
fn note(hold: Hold) {
    if hold == Hold::Lost {
        log::debug!("a message was held too long and goes to another");
    }
}

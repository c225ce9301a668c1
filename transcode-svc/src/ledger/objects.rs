//! Records in an S3-compatible object store: a small object a job, changed by If-Match and If-None-Match.
//!
//! With SQS, a Jetson and the cloud need nothing but the queue and the store. Below one prefix:
//!
//! | key | holds |
//! |---|---|
//! | `jobs/{id}.json` | the record, and the name of this writing of it |
//! | `index/{time}-{id}~` | nothing; its name places the job, the newest first |
//! | `due/queue/{time}-{id}` | nothing: a mark that the job has to be put into a queue |
//! | `due/webhook/{time}-{id}` | nothing: a mark that a webhook of the job has to be sent |
//! | `keys/{key}.json` | the job that was made with this idempotency key |
//! | `workers/{name}.json` | a worker's card |
//! | `probe.json` | nothing; tells at the start what the store does |
//!
//! Names are escaped (`=2F`); times are milliseconds since 1970 in sixteen digits, in the index counted
//! backwards.
//!
//! # Several objects, one truth
//! The record is the truth, and one object. Places and marks are written before it and taken away after it, so a
//! death in between leaves too many and never too few; who reads one looks at the record. A mark that the
//! record does not bear out is taken away ten minutes later: its writer may just be about to write.
//!
//! # What is weaker than elsewhere
//! Looked for at the start, told by [`weaknesses`](ObjectRecords::weaknesses):
//! - Where conditions are ignored, or the store is not known to keep them for requests that come at the same
//!   moment (versitygw looks, and writes then), a record is read again after it was written; a first record
//!   and a grant wait a quarter of a second in between, so that the later of two writers is seen by the earlier. Two
//!   may still believe in one lease if a write takes longer than that. What they publish is the same.
//! - Where listing is not allowed, lists and what is due come from what this process has seen.
//! - Where deleting is not allowed, marks stay.
//! - A list with a filter reads each record on the way.

mod names;
mod probe;

use super::record::Record;
use super::{Due, Filter, LedgerError, Records, Stored, Version, WorkerCard};
use crate::job::JobId;
use crate::store::{Found, Objects, Stores, When, Written};
use crate::time::Timestamp;
use names::{INDEX, WORKERS, folder, mark, marked, place, placed};
use probe::{Abilities, Conditions, probe};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Names that are listed, and records that are read, in one go.
const BATCH: usize = 100;

/// Where conditions are not trusted: how long a grant waits before it believes itself.
const SETTLE: Duration = Duration::from_millis(250);

/// After so long nobody is about to write the record for which a mark was made.
const STALE: Duration = Duration::from_secs(600);

/// A write that took longer than this makes its marks again: somebody may have found them stale.
const LONG: Duration = Duration::from_secs(60);

/// How long an idempotency key is believed whose job is not there yet; then its maker is dead.
const PATIENCE: Duration = Duration::from_secs(2);

/// Jobs that a process remembers where it may not list.
const REMEMBERED: usize = 10_000;

const KINDS: [Due; 2] = [Due::Queue, Due::Webhook];

/// The records below a prefix of an object store.
pub struct ObjectRecords {
    objects: Objects,
    abilities: Abilities,
    /// Tells this value's writings from all others'.
    writer: String,
    writings: AtomicU64,
    seen: Mutex<Seen>,
}

/// What this process has seen.
#[derive(Default)]
struct Seen {
    /// By place in the index, where it may not list: the job and when it is due for what.
    jobs: BTreeMap<String, (JobId, [Option<Timestamp>; 2])>,
    workers: BTreeMap<String, WorkerCard>,
    /// Marks that mean nothing and cannot be taken away.
    stale: HashSet<String>,
}

/// What an object in `jobs/` holds.
#[derive(Serialize, Deserialize)]
struct Paper<R> {
    /// Another for each writing, so that no two are the same bytes.
    writing: String,
    record: R,
}

/// What an object in `keys/` holds.
#[derive(Serialize, Deserialize)]
struct Key {
    job: JobId,
}

/// A [`Version`].
#[derive(Serialize, Deserialize)]
struct Read {
    tag: String,
    writing: String,
    epoch: u64,
    due: [Option<Timestamp>; 2],
}

impl ObjectRecords {
    /// The records below `s3://bucket/prefix`, in the configured store. Writes and asks a few times to find
    /// out what the store does.
    ///
    /// # Errors
    /// [`LedgerError::Failed`] for an address that cannot be, and for a store that does not answer or refuses.
    pub fn open(stores: &Stores, address: &str) -> Result<Self, LedgerError> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| LedgerError::Failed {
            ledger: address.to_owned(),
            what: "be opened",
            source,
        };
        let objects = stores.objects(address).map_err(|error| failed(error.into()))?;
        let abilities = probe(&objects).map_err(|error| failed(error.into()))?;
        let writer = format!("{:016x}", RandomState::new().hash_one(address));
        Ok(Self { objects, abilities, writer, writings: AtomicU64::new(0), seen: Mutex::default() })
    }

    /// What is weaker than it should be, in words for whoever runs it; empty where nothing is.
    pub fn weaknesses(&self) -> Vec<String> {
        self.abilities.weaknesses(&self.objects.location())
    }

    fn failed<T, E>(&self, what: &'static str, done: Result<T, E>) -> Result<T, LedgerError>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let ledger = || self.objects.location();
        done.map_err(|error| LedgerError::Failed { ledger: ledger(), what, source: error.into() })
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remember a record where it cannot be found by listing.
    fn remember(&self, record: &Record) {
        if self.abilities.lists {
            return;
        }
        let mut seen = self.seen();
        seen.jobs.insert(place(record.created, &record.id), (record.id.clone(), dues(record)));
        if seen.jobs.len() > REMEMBERED {
            seen.jobs.pop_last();
        }
    }

    /// Write the bytes of a record under a condition; whether it was met. `read` is the writing to be replaced.
    fn write(&self, record: &Record, read: Option<&Read>) -> Result<bool, LedgerError> {
        let what = "write a record";
        let writing = format!("{}-{}", self.writer, self.writings.fetch_add(1, Ordering::Relaxed));
        let bytes = serde_json::to_vec(&Paper { writing, record }).map_err(|error| {
            unreadable(record.id.as_str(), format!("it cannot be written as JSON: {error}"))
        })?;
        let key = names::record(&record.id);
        match self.abilities.conditions {
            Conditions::Honoured | Conditions::Unproven => {
                let when = read.map_or(When::Absent, |read| When::Is(&read.tag));
                match self.failed(what, self.objects.put(&key, &bytes, when))? {
                    Written::Yes => {}
                    Written::No => return Ok(false),
                    Written::Refused(reason) => return self.failed(what, Err(reason)),
                }
            }
            Conditions::Refused | Conditions::Ignored | Conditions::Unmatched => {
                let there = self.failed(what, self.objects.get(&key))?;
                let there = there.map(|found| paper(&record.id, &found)).transpose()?;
                if there.map(|there| there.writing).as_ref() != read.map(|read| &read.writing) {
                    return Ok(false);
                }
                self.failed(what, self.objects.put(&key, &bytes, When::Always))?;
            }
        }
        if self.abilities.conditions == Conditions::Honoured {
            return Ok(true);
        }
        if read.is_none_or(|read| record.epoch > read.epoch) {
            std::thread::sleep(SETTLE);
        }
        Ok(self.failed(what, self.objects.get(&key))?.is_some_and(|found| found.bytes == bytes))
    }

    /// Mark when the record is due, where `old` was not due then.
    fn mark(&self, record: &Record, old: &[Option<Timestamp>; 2]) -> Result<(), LedgerError> {
        for ((what, new), old) in KINDS.into_iter().zip(dues(record)).zip(old) {
            if let Some(at) = new.filter(|at| Some(*at) != *old) {
                let key = format!("{}/{}", folder(what), mark(at, &record.id));
                self.failed("mark what is due", self.objects.put(&key, b"", When::Always))?;
            }
        }
        Ok(())
    }

    /// Take away the marks of `old` that the record does not bear out. What fails here is found stale later.
    fn unmark(&self, id: &JobId, old: [Option<Timestamp>; 2], new: [Option<Timestamp>; 2]) {
        if !self.abilities.deletes {
            return;
        }
        for ((what, old), new) in KINDS.into_iter().zip(old).zip(new) {
            if let Some(at) = old.filter(|at| Some(*at) != new) {
                let _tried = self.objects.delete(&format!("{}/{}", folder(what), mark(at, id)));
            }
        }
    }

    /// Write a first record; the one that was there instead.
    fn enter(&self, record: &Record) -> Result<Option<Stored>, LedgerError> {
        let (begun, dues) = (Instant::now(), dues(record));
        self.mark(record, &[None, None])?;
        let place = format!("{INDEX}/{}", place(record.created, &record.id));
        self.failed("take a job in", self.objects.put(&place, b"", When::Always))?;
        if self.write(record, None)? {
            if begun.elapsed() > LONG {
                self.mark(record, &[None, None])?;
            }
            self.remember(record);
            return Ok(None);
        }
        let known = self.read(&record.id)?.ok_or_else(|| LedgerError::Failed {
            ledger: self.objects.location(),
            what: "read a record that is there",
            source: "these keys may write and not read; allow GetObject".into(),
        })?;
        self.unmark(&record.id, dues, self::dues(&known.record));
        if self.abilities.deletes && known.record.created != record.created {
            let _tried = self.objects.delete(&place);
        }
        Ok(Some(known))
    }

    /// The job that was made with a key; made now, where its maker died after it had taken the key.
    fn by_key(&self, key: &str, record: &Record) -> Result<Option<Stored>, LedgerError> {
        let Some(found) = self.failed("look for a key", self.objects.get(key))? else { return Ok(None) };
        let Key { job } =
            serde_json::from_slice(&found.bytes).map_err(|error| unreadable(key, error.to_string()))?;
        let asked = Instant::now();
        loop {
            if let Some(stored) = self.read(&job)? {
                return Ok(Some(stored));
            }
            if asked.elapsed() > PATIENCE {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let mut adopted = record.clone();
        adopted.id = job.clone();
        adopted.job.id = Some(job.clone());
        match self.enter(&adopted)? {
            Some(known) => Ok(Some(known)),
            None => self.read(&job)?.map(Some).ok_or(LedgerError::Unknown { job }),
        }
    }

    /// The records of several jobs, in order; those that are not there are left out.
    fn records(&self, ids: &[JobId]) -> Result<Vec<Record>, LedgerError> {
        let keys: Vec<_> = ids.iter().map(names::record).collect();
        let found = self.failed("read records", self.objects.get_many(&keys))?;
        let read = ids.iter().zip(found).filter_map(|(id, found)| Some(paper(id, &found?)));
        read.map(|paper| paper.map(|paper| paper.record)).collect()
    }

    /// The next places of the index after `after`.
    fn places(&self, after: Option<&str>) -> Result<Vec<String>, LedgerError> {
        if self.abilities.lists {
            let names = self.failed("list its records", self.objects.list(INDEX, after, BATCH))?;
            return Ok(names.unwrap_or_default());
        }
        let seen = self.seen();
        let later = seen.jobs.keys().filter(|place| after.is_none_or(|after| place.as_str() > after));
        Ok(later.take(BATCH).cloned().collect())
    }

    /// The marks of what is due up to `now`, the longest due first, as far as they are not known to be stale.
    fn marks(&self, what: Due, now: Timestamp, after: Option<&str>) -> Result<Vec<String>, LedgerError> {
        if self.abilities.lists {
            let names = self.failed("say what is due", self.objects.list(folder(what), after, BATCH))?;
            return Ok(names.unwrap_or_default());
        }
        let which = KINDS.iter().position(|kind| *kind == what).unwrap_or_default();
        let seen = self.seen();
        let due =
            seen.jobs.values().filter_map(|(id, dues)| Some(mark(dues[which].filter(|at| *at <= now)?, id)));
        let mut due: Vec<_> = due.filter(|mark| after.is_none_or(|after| mark.as_str() > after)).collect();
        due.sort();
        due.truncate(BATCH);
        Ok(due)
    }

    /// A mark that its record does not bear out: gone, where it is old enough and may be taken away.
    fn clear(&self, what: Due, name: &str, at: Timestamp, now: Timestamp) {
        if now.since(at) < STALE || !self.abilities.lists {
            return;
        }
        let key = format!("{}/{name}", folder(what));
        if !self.abilities.deletes || !self.objects.delete(&key).unwrap_or(true) {
            self.seen().stale.insert(key);
        }
    }
}

impl Records for ObjectRecords {
    fn read(&self, id: &JobId) -> Result<Option<Stored>, LedgerError> {
        let found = self.failed("read a record", self.objects.get(&names::record(id)))?;
        let Some(found) = found else { return Ok(None) };
        let Paper { writing, record } = paper(id, &found)?;
        self.remember(&record);
        let read = Read { tag: found.tag, writing, epoch: record.epoch, due: dues(&record) };
        let version =
            serde_json::to_string(&read).map_err(|error| unreadable(id.as_str(), error.to_string()))?;
        Ok(Some(Stored { record, version: Version(version) }))
    }

    fn create(&self, record: &Record) -> Result<Option<Stored>, LedgerError> {
        let key = record.job.idempotency_key.as_deref().map(names::idempotency);
        if let Some(known) = key.as_ref().map(|key| self.by_key(key, record)).transpose()?.flatten() {
            return Ok(Some(known));
        }
        // A message that comes again is the usual case, and needs no writing.
        if let Some(known) = self.read(&record.id)? {
            return Ok(Some(known));
        }
        if let Some(key) = key {
            let named = serde_json::to_vec(&Key { job: record.id.clone() }).unwrap_or_default();
            let ours = self.failed("take a key", self.objects.put(&key, &named, When::Absent))?;
            // Where conditions are ignored, the last one's stands, and all look whose it is.
            if ours != Written::Yes || self.abilities.conditions != Conditions::Honoured {
                if matches!(ours, Written::Refused(_)) {
                    self.failed("take a key", self.objects.put(&key, &named, When::Always))?;
                }
                if self.abilities.conditions != Conditions::Honoured {
                    std::thread::sleep(SETTLE);
                }
                let there = self.failed("look for a key", self.objects.get(&key))?;
                if there.is_none_or(|there| there.bytes != named) {
                    let known = self.by_key(&key, record)?;
                    return known.map(Some).ok_or_else(|| LedgerError::Contended { job: record.id.clone() });
                }
            }
        }
        self.enter(record)
    }

    fn replace(&self, version: &Version, record: &Record) -> Result<bool, LedgerError> {
        let read: Read = serde_json::from_str(&version.0)
            .map_err(|error| unreadable(record.id.as_str(), format!("its version: {error}")))?;
        let begun = Instant::now();
        self.mark(record, &read.due)?;
        if !self.write(record, Some(&read))? {
            return Ok(false);
        }
        if begun.elapsed() > LONG {
            self.mark(record, &read.due)?;
        }
        self.unmark(&record.id, read.due, dues(record));
        self.remember(record);
        Ok(true)
    }

    fn list(&self, filter: &Filter) -> Result<Vec<Record>, LedgerError> {
        let mut after = filter.after.as_ref().map(|(created, id)| place(*created, id));
        let mut found = Vec::new();
        while found.len() < filter.limit {
            let names = self.places(after.as_deref())?;
            let Some(last) = names.last() else { break };
            after = Some(last.clone());
            let jobs: Vec<_> = names.iter().filter_map(|name| placed(name)).collect();
            let ids: BTreeSet<_> = jobs.iter().map(|(_, id)| id.clone()).collect();
            let records = self.records(&ids.into_iter().collect::<Vec<_>>())?;
            let records: BTreeMap<_, _> =
                records.into_iter().map(|record| (record.id.clone(), record)).collect();
            found.extend(jobs.into_iter().filter_map(|(created, id)| {
                // A place that the record does not bear out is what a race or a death has left.
                let record = records.get(&id).filter(|record| record.created == created)?;
                filter.state.is_none_or(|state| state == record.state).then(|| record.clone())
            }));
        }
        found.truncate(filter.limit);
        Ok(found)
    }

    fn due(&self, what: Due, now: Timestamp, limit: usize) -> Result<Vec<JobId>, LedgerError> {
        let mut due = Vec::new();
        let mut after = None;
        while due.len() < limit {
            let names = self.marks(what, now, after.as_deref())?;
            let Some(last) = names.last() else { break };
            after = Some(last.clone());
            let stale = |name: &String| self.seen().stale.contains(&format!("{}/{name}", folder(what)));
            let marks =
                names.iter().filter(|name| !stale(name)).filter_map(|name| Some((name, marked(name)?)));
            let (marks, later): (Vec<_>, Vec<_>) = marks.partition(|(_, (at, _))| *at <= now);
            let ids: Vec<_> = marks.iter().map(|(_, (_, id))| id.clone()).collect();
            let records: BTreeMap<_, _> =
                self.records(&ids)?.into_iter().map(|record| (record.id.clone(), record)).collect();
            for (name, (at, id)) in marks {
                if records.get(&id).and_then(|record| record.due(what)) == Some(at) {
                    due.push(id);
                } else {
                    self.clear(what, name, at, now);
                }
            }
            if !later.is_empty() {
                break;
            }
        }
        due.truncate(limit);
        Ok(due)
    }

    fn put_worker(&self, card: &WorkerCard) -> Result<(), LedgerError> {
        let bytes = serde_json::to_vec(card).unwrap_or_default();
        self.failed("note a worker", self.objects.put(&names::worker(&card.name), &bytes, When::Always))?;
        self.seen().workers.insert(card.name.clone(), card.clone());
        Ok(())
    }

    fn remove_worker(&self, name: &str) -> Result<(), LedgerError> {
        self.seen().workers.remove(name);
        // Where these keys may not delete, the card is a day old some day and not shown.
        self.failed("forget a worker", self.objects.delete(&names::worker(name))).map(drop)
    }

    fn workers(&self) -> Result<Vec<WorkerCard>, LedgerError> {
        if !self.abilities.lists {
            return Ok(self.seen().workers.values().cloned().collect());
        }
        let what = "list workers";
        let names = self.failed(what, self.objects.list(WORKERS, None, usize::MAX))?.unwrap_or_default();
        let keys: Vec<_> = names.iter().map(|name| format!("{WORKERS}/{name}")).collect();
        let found = self.failed(what, self.objects.get_many(&keys))?;
        Ok(found
            .into_iter()
            .flatten()
            .filter_map(|found| serde_json::from_slice(&found.bytes).ok())
            .collect())
    }
}

fn dues(record: &Record) -> [Option<Timestamp>; 2] {
    KINDS.map(|what| record.due(what))
}

fn paper(id: &JobId, found: &Found) -> Result<Paper<Record>, LedgerError> {
    serde_json::from_slice(&found.bytes).map_err(|error| unreadable(id.as_str(), error.to_string()))
}

fn unreadable(id: &str, reason: String) -> LedgerError {
    LedgerError::Unreadable { job: id.to_owned(), reason }
}

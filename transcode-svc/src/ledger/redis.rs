//! Records in Redis, with the status hash that existing readers know.
//!
//! | key | holds |
//! |---|---|
//! | `transcode:job:{id}` | the record and its version |
//! | `transcode:jobs` | all jobs by age |
//! | `transcode:due:queue` | which jobs have to be put into a queue, and when |
//! | `transcode:due:webhook` | which jobs have a webhook to be sent, and when |
//! | `transcode:idempotency:{key}` | the job that was made with this key |
//! | `transcode:workers` | the workers' cards by name |
//! | `job:{id}` | the status for readers: written together with the record, never read here |

use super::record::Record;
use super::{Due, Filter, LedgerError, Records, Stored, Version, WorkerCard, status_fields};
use crate::broker::Redis;
use crate::job::JobId;
use crate::time::Timestamp;
use redis::{RedisResult, Script};
use std::sync::Arc;
use std::time::Duration;

/// Records read at once while a list is filtered.
const BATCH: usize = 100;

/// The records of a [`Redis`].
pub struct RedisRecords {
    redis: Arc<Redis>,
    create: Script,
    replace: Script,
}

/// The status is written first: where `job:{id}` is something else than a hash the script ends there,
/// before anything else is changed.
const STATUS: &str = r"
local function status(from)
  for i = from, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
end
local function wake(key, id, at)
  if at == '' then redis.call('ZREM', key, id) else redis.call('ZADD', key, at, id) end
end
";

/// KEYS: record, status, jobs, due for a queue and for a webhook, idempotency. ARGV: id, record, place among
/// the jobs, both dues, whether a key was given, then the status.
const CREATE: &str = r"
if ARGV[6] == '1' then
  local known = redis.call('GET', KEYS[6])
  if known then return known end
end
if redis.call('EXISTS', KEYS[1]) == 1 then return ARGV[1] end
status(7)
redis.call('HSET', KEYS[1], 'version', 1, 'record', ARGV[2])
redis.call('ZADD', KEYS[3], 0, ARGV[3])
wake(KEYS[4], ARGV[1], ARGV[4])
wake(KEYS[5], ARGV[1], ARGV[5])
if ARGV[6] == '1' then redis.call('SET', KEYS[6], ARGV[1]) end
return nil
";

/// KEYS: record, status, jobs, both dues. ARGV: id, record, version, both dues, then the status.
const REPLACE: &str = r"
if redis.call('HGET', KEYS[1], 'version') ~= ARGV[3] then return 0 end
status(6)
redis.call('HSET', KEYS[1], 'record', ARGV[2])
redis.call('HINCRBY', KEYS[1], 'version', 1)
wake(KEYS[4], ARGV[1], ARGV[4])
wake(KEYS[5], ARGV[1], ARGV[5])
return 1
";

const JOBS: &str = "transcode:jobs";
const WORKERS: &str = "transcode:workers";
const fn due_key(what: Due) -> &'static str {
    match what {
        Due::Queue => "transcode:due:queue",
        Due::Webhook => "transcode:due:webhook",
    }
}

impl RedisRecords {
    /// The records of that server.
    pub fn new(redis: Arc<Redis>) -> Self {
        let script = |text: &str| Script::new(&format!("{STATUS}{text}"));
        Self { redis, create: script(CREATE), replace: script(REPLACE) }
    }

    fn failed<T>(&self, what: &'static str, done: RedisResult<T>) -> Result<T, LedgerError> {
        done.map_err(|error| LedgerError::Failed {
            ledger: self.redis.name().to_owned(),
            what,
            source: error.into(),
        })
    }
}

impl Records for RedisRecords {
    fn read(&self, id: &JobId) -> Result<Option<Stored>, LedgerError> {
        let key = record_key(id);
        let read: RedisResult<(Option<String>, Option<String>)> = self.redis.call(Duration::ZERO, |server| {
            redis::cmd("HMGET").arg(key).arg("version").arg("record").query(server)
        });
        let (Some(version), Some(text)) = self.failed("read a record", read)? else { return Ok(None) };
        Ok(Some(Stored { record: parsed(id.as_str(), &text)?, version: Version(version) }))
    }

    fn create(&self, record: &Record) -> Result<Option<Stored>, LedgerError> {
        let id = record.id.as_str();
        let key = record.job.idempotency_key.as_deref();
        let mut call = self.create.prepare_invoke();
        call.key(record_key(&record.id))
            .key(format!("job:{id}"))
            .key(JOBS)
            .key(due_key(Due::Queue))
            .key(due_key(Due::Webhook));
        call.key(format!("transcode:idempotency:{}", key.unwrap_or_default()));
        call.arg(id)
            .arg(written(record)?)
            .arg(place(record.created, id))
            .arg(due(record, Due::Queue))
            .arg(due(record, Due::Webhook))
            .arg(u8::from(key.is_some()));
        for (name, value) in status_fields(record) {
            call.arg(name).arg(value);
        }
        let known: RedisResult<Option<String>> =
            self.redis.call(Duration::ZERO, |server| call.invoke(server));
        let Some(known) = self.failed("take a job in", known)? else { return Ok(None) };
        let known = known.parse().map_err(|error| unreadable(&known, format!("its name: {error}")))?;
        self.read(&known)
    }

    fn replace(&self, version: &Version, record: &Record) -> Result<bool, LedgerError> {
        let id = record.id.as_str();
        let mut call = self.replace.prepare_invoke();
        call.key(record_key(&record.id))
            .key(format!("job:{id}"))
            .key(JOBS)
            .key(due_key(Due::Queue))
            .key(due_key(Due::Webhook));
        call.arg(id)
            .arg(written(record)?)
            .arg(&version.0)
            .arg(due(record, Due::Queue))
            .arg(due(record, Due::Webhook));
        for (name, value) in status_fields(record) {
            call.arg(name).arg(value);
        }
        let done: RedisResult<u8> = self.redis.call(Duration::ZERO, |server| call.invoke(server));
        self.failed("write a record", done).map(|done| done == 1)
    }

    fn list(&self, filter: &Filter) -> Result<Vec<Record>, LedgerError> {
        let mut end = filter
            .after
            .as_ref()
            .map_or("+".to_owned(), |(created, id)| format!("({}", place(*created, id.as_str())));
        let mut found = Vec::new();
        while found.len() < filter.limit {
            let count = if filter.state.is_none() { BATCH.min(filter.limit - found.len()) } else { BATCH };
            let places: RedisResult<Vec<String>> = self.redis.call(Duration::ZERO, |server| {
                redis::cmd("ZREVRANGEBYLEX")
                    .arg(JOBS)
                    .arg(&end)
                    .arg("-")
                    .arg("LIMIT")
                    .arg(0)
                    .arg(count)
                    .query(server)
            });
            let places = self.failed("list its records", places)?;
            let Some(last) = places.last() else { break };
            end = format!("({last}");
            let ids: Vec<&str> = places
                .iter()
                .map(|place| place.split_once(':').map_or(place.as_str(), |(_, id)| id))
                .collect();
            // All at once: with a log that is synced, each answer waits for the disk.
            let mut ask = redis::pipe();
            for id in &ids {
                ask.hget(format!("transcode:job:{id}"), "record");
            }
            let texts: RedisResult<Vec<Option<String>>> =
                self.redis.call(Duration::ZERO, |server| ask.query(server));
            for (id, text) in ids.iter().zip(self.failed("list its records", texts)?) {
                let record = text.map(|text| parsed(id, &text)).transpose()?;
                found.extend(record.filter(|record| filter.state.is_none_or(|state| state == record.state)));
            }
        }
        found.truncate(filter.limit);
        Ok(found)
    }

    fn due(&self, what: Due, now: Timestamp, limit: usize) -> Result<Vec<JobId>, LedgerError> {
        let due: RedisResult<Vec<String>> = self.redis.call(Duration::ZERO, |server| {
            let mut ask = redis::cmd("ZRANGEBYSCORE");
            ask.arg(due_key(what)).arg("-inf").arg(now.millis()).arg("LIMIT").arg(0).arg(limit).query(server)
        });
        let read = |id: String| id.parse().map_err(|error| unreadable(&id, format!("its name: {error}")));
        self.failed("say what is due", due)?.into_iter().map(read).collect()
    }

    fn put_worker(&self, card: &WorkerCard) -> Result<(), LedgerError> {
        let text = serde_json::to_string(card).unwrap_or_default();
        let done: RedisResult<()> = self.redis.call(Duration::ZERO, |server| {
            redis::cmd("HSET").arg(WORKERS).arg(&card.name).arg(&text).query(server)
        });
        self.failed("note a worker", done)
    }

    fn remove_worker(&self, name: &str) -> Result<(), LedgerError> {
        let done: RedisResult<()> =
            self.redis.call(Duration::ZERO, |server| redis::cmd("HDEL").arg(WORKERS).arg(name).query(server));
        self.failed("forget a worker", done)
    }

    fn workers(&self) -> Result<Vec<WorkerCard>, LedgerError> {
        let cards: RedisResult<Vec<String>> =
            self.redis.call(Duration::ZERO, |server| redis::cmd("HVALS").arg(WORKERS).query(server));
        let cards = self.failed("list workers", cards)?;
        Ok(cards.iter().filter_map(|card| serde_json::from_str(card).ok()).collect())
    }
}

fn record_key(id: &JobId) -> String {
    format!("transcode:job:{id}")
}

/// Sorts by age as text.
fn place(created: Timestamp, id: &str) -> String {
    format!("{:016}:{id}", created.millis())
}

fn due(record: &Record, what: Due) -> String {
    record.due(what).map_or(String::new(), |at| at.millis().to_string())
}

fn parsed(id: &str, text: &str) -> Result<Record, LedgerError> {
    serde_json::from_str(text).map_err(|error| unreadable(id, error.to_string()))
}

fn written(record: &Record) -> Result<String, LedgerError> {
    serde_json::to_string(record)
        .map_err(|error| unreadable(record.id.as_str(), format!("it cannot be written as JSON: {error}")))
}

fn unreadable(id: &str, reason: String) -> LedgerError {
    LedgerError::Unreadable { job: id.to_owned(), reason }
}

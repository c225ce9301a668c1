//! Records in a SQLite file.

use super::record::Record;
use super::{Due, Filter, LedgerError, Records, Stored, Version, WorkerCard};
use crate::database::Database;
use crate::job::JobId;
use crate::time::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params, params_from_iter, types::Value};
use std::sync::Arc;

/// The records of a [`Database`].
pub struct SqliteRecords {
    database: Arc<Database>,
}

impl SqliteRecords {
    /// The records of that database.
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    fn failed<T>(&self, what: &'static str, done: rusqlite::Result<T>) -> Result<T, LedgerError> {
        done.map_err(|error| LedgerError::Failed {
            ledger: self.database.path().display().to_string(),
            what,
            source: error.into(),
        })
    }
}

impl Records for SqliteRecords {
    fn read(&self, id: &JobId) -> Result<Option<Stored>, LedgerError> {
        let row = self.database.read(|db| row(db, "id", id.as_str()));
        self.failed("read a record", row)?.map(stored).transpose()
    }

    fn create(&self, record: &Record) -> Result<Option<Stored>, LedgerError> {
        let text = written(record)?;
        let done = self.database.write(|db| {
            // The key first: it names the job that is meant, whatever name this one was given.
            let key = record.job.idempotency_key.as_deref();
            let known = key.map(|key| row(db, "idempotency", key)).transpose()?.flatten();
            if let Some(known) = known.or(row(db, "id", record.id.as_str())?) {
                return Ok(Some(known));
            }
            db.prepare_cached(
                "INSERT INTO job (id, version, state, created, queue_due, webhook_due, idempotency, record)
                 VALUES (?, 1, ?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![
                record.id.as_str(),
                record.state.name(),
                millis(record.created),
                record.due(Due::Queue).map(millis),
                record.due(Due::Webhook).map(millis),
                key,
                text
            ])?;
            Ok(None)
        });
        self.failed("take a job in", done)?.map(stored).transpose()
    }

    fn replace(&self, version: &Version, record: &Record) -> Result<bool, LedgerError> {
        let text = written(record)?;
        let done = self.database.write(|db| {
            db.prepare_cached(
                "UPDATE job SET version = version + 1, state = ?, queue_due = ?, webhook_due = ?, record = ?
                 WHERE id = ? AND version = ?",
            )?
            .execute(params![
                record.state.name(),
                record.due(Due::Queue).map(millis),
                record.due(Due::Webhook).map(millis),
                text,
                record.id.as_str(),
                version.0.parse::<i64>().unwrap_or(-1)
            ])
        });
        self.failed("write a record", done).map(|rows| rows == 1)
    }

    fn list(&self, filter: &Filter) -> Result<Vec<Record>, LedgerError> {
        let mut query = "SELECT id, version, record FROM job WHERE true".to_owned();
        let mut values = Vec::new();
        if let Some(state) = filter.state {
            query.push_str(" AND state = ?");
            values.push(Value::from(state.name().to_owned()));
        }
        if let Some((created, id)) = &filter.after {
            query.push_str(" AND (created, id) < (?, ?)");
            values.push(Value::from(millis(*created)));
            values.push(Value::from(id.to_string()));
        }
        query.push_str(" ORDER BY created DESC, id DESC LIMIT ?");
        values.push(Value::from(i64::try_from(filter.limit).unwrap_or(i64::MAX)));
        let rows = self.database.read(|db| {
            let mut query = db.prepare_cached(&query)?;
            let rows = query
                .query_map(params_from_iter(values), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        });
        let rows = self.failed("list its records", rows)?.into_iter();
        rows.map(|row| stored(row).map(|stored| stored.record)).collect()
    }

    fn due(&self, what: Due, now: Timestamp, limit: usize) -> Result<Vec<JobId>, LedgerError> {
        let rows = self.database.read(|db| {
            let mut query = db.prepare_cached(match what {
                Due::Queue => "SELECT id FROM job WHERE queue_due <= ? ORDER BY queue_due, id LIMIT ?",
                Due::Webhook => "SELECT id FROM job WHERE webhook_due <= ? ORDER BY webhook_due, id LIMIT ?",
            })?;
            let rows = query.query_map([millis(now), i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
                row.get::<_, String>(0)
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        });
        let read = |id: String| {
            id.parse::<JobId>()
                .map_err(|error| LedgerError::Unreadable { job: id, reason: format!("its name: {error}") })
        };
        self.failed("say what is due", rows)?.into_iter().map(read).collect()
    }

    fn put_worker(&self, card: &WorkerCard) -> Result<(), LedgerError> {
        let text = serde_json::to_string(card).unwrap_or_default();
        let done = self.database.write(|db| {
            db.prepare_cached("INSERT OR REPLACE INTO worker (name, card) VALUES (?, ?)")?
                .execute([card.name.as_str(), &text])
        });
        self.failed("note a worker", done).map(drop)
    }

    fn remove_worker(&self, name: &str) -> Result<(), LedgerError> {
        let done = self.database.write(|db| db.execute("DELETE FROM worker WHERE name = ?", [name]));
        self.failed("forget a worker", done).map(drop)
    }

    fn workers(&self) -> Result<Vec<WorkerCard>, LedgerError> {
        let rows = self.database.read(|db| {
            let mut query = db.prepare_cached("SELECT card FROM worker")?;
            let rows = query.query_map([], |row| row.get::<_, String>(0))?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        });
        let cards = self.failed("list workers", rows)?;
        Ok(cards.iter().filter_map(|card| serde_json::from_str(card).ok()).collect())
    }
}

/// Name, version and text of a record.
type Row = (String, i64, String);

fn row(db: &Connection, column: &str, value: &str) -> rusqlite::Result<Option<Row>> {
    db.prepare_cached(&format!("SELECT id, version, record FROM job WHERE {column} = ?"))?
        .query_row([value], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()
}

fn stored((id, version, text): Row) -> Result<Stored, LedgerError> {
    let record = serde_json::from_str(&text)
        .map_err(|error| LedgerError::Unreadable { job: id, reason: error.to_string() })?;
    Ok(Stored { record, version: Version(version.to_string()) })
}

fn written(record: &Record) -> Result<String, LedgerError> {
    serde_json::to_string(record).map_err(|error| LedgerError::Unreadable {
        job: record.id.to_string(),
        reason: format!("it cannot be written as JSON: {error}"),
    })
}

fn millis(time: Timestamp) -> i64 {
    i64::try_from(time.millis()).unwrap_or(i64::MAX)
}

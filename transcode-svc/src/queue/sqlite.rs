//! The queue in a SQLite file: for one machine, with nothing else to install.

use super::{DeadLetter, Delivery, Depth, Hold, Queue, QueueError, rota};
use crate::database::Database;
use crate::job::Priority;
use crate::time::{Clock, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often an empty queue is looked at: other processes push too, and SQLite tells nobody. A look is
/// one read of an index, some 20 µs.
const LOOK: Duration = Duration::from_millis(50);

/// The queue in a [`Database`].
pub struct SqliteQueue {
    database: Arc<Database>,
    clock: Arc<dyn Clock>,
}

impl SqliteQueue {
    /// The queue of that database.
    pub fn new(database: Arc<Database>, clock: Arc<dyn Clock>) -> Self {
        Self { database, clock }
    }

    fn failed<T>(&self, what: &'static str, done: rusqlite::Result<T>) -> Result<T, QueueError> {
        done.map_err(|error| QueueError::Failed {
            queue: self.database.path().display().to_string(),
            what,
            source: error.into(),
        })
    }

    /// Change the row of a receipt that is still good.
    fn held(
        &self,
        what: &'static str,
        delivery: &Delivery,
        change: impl FnOnce(&Transaction<'_>, i64, i64) -> rusqlite::Result<()>,
    ) -> Result<Hold, QueueError> {
        let Ok(receipt) = delivery.receipt.parse::<i64>() else { return Ok(Hold::Lost) };
        let now = millis(self.clock.now());
        let done = self.database.write(|db| {
            let row: Option<i64> = db
                .prepare_cached(
                    "SELECT id FROM message WHERE receipt = ? AND worker IS NOT NULL AND due > ?",
                )?
                .query_row(params![receipt, now], |row| row.get(0))
                .optional()?;
            row.map(|row| change(db, row, now)).transpose()
        });
        self.failed(what, done).map(|done| Hold::kept(done.is_some()))
    }

    fn anything(&self, now: i64) -> rusqlite::Result<bool> {
        self.database.read(|db| {
            db.prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM message WHERE due IS NULL) OR EXISTS (SELECT 1 FROM message WHERE due <= ?)",
            )?
            .query_row([now], |row| row.get(0))
        })
    }
}

impl Queue for SqliteQueue {
    fn push(&self, priority: Priority, body: &str) -> Result<(), QueueError> {
        let now = millis(self.clock.now());
        let done = self.database.write(|db| push(db, line(priority), body, now));
        self.failed("take a message in", done)
    }

    fn take(&self, worker: &str, hold: Duration, wait: Duration) -> Result<Option<Delivery>, QueueError> {
        let until = Instant::now() + wait;
        loop {
            let now = self.clock.now();
            // Looking first: a writer's lock for nothing, twenty times a second, would be in others' way.
            let ready = self.anything(millis(now));
            if self.failed("say what waits", ready)? {
                let taken = self.database.write(|db| take(db, worker, millis(now), millis(now + hold)));
                if let Some(delivery) = self.failed("hand out a message", taken)? {
                    return Ok(Some(delivery));
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            std::thread::sleep(left.min(LOOK));
        }
    }

    fn extend(&self, delivery: &Delivery, hold: Duration) -> Result<Hold, QueueError> {
        let until = millis(self.clock.now() + hold);
        self.held("hold a message longer", delivery, |db, row, _| {
            db.execute("UPDATE message SET due = ? WHERE id = ?", [until, row]).map(drop)
        })
    }

    fn remove(&self, delivery: &Delivery) -> Result<Hold, QueueError> {
        self.held("remove a message", delivery, |db, row, _| {
            db.execute("DELETE FROM message WHERE id = ?", [row]).map(drop)
        })
    }

    fn give_back(&self, delivery: &Delivery, after: Duration) -> Result<Hold, QueueError> {
        let due = millis(self.clock.now() + after);
        self.held("take a message back", delivery, |db, row, _| {
            db.execute("UPDATE message SET due = ?, worker = NULL WHERE id = ?", [due, row]).map(drop)
        })
    }

    fn bury(&self, delivery: &Delivery, reason: &str) -> Result<Hold, QueueError> {
        self.held("lay a message aside", delivery, |db, row, now| {
            db.execute(
                "INSERT INTO dead_letter (line, body, reason, at) SELECT line, body, ?, ? FROM message WHERE id = ?",
                params![reason, now, row],
            )?;
            db.execute("DELETE FROM message WHERE id = ?", [row]).map(drop)
        })
    }

    fn let_go(&self, worker: &str) -> Result<(), QueueError> {
        let now = millis(self.clock.now());
        let done = self.database.write(|db| {
            db.execute(
                "UPDATE message SET due = ? WHERE worker = ? AND due IS NOT NULL",
                params![now, worker],
            )
        });
        self.failed("take a dead worker's messages back", done).map(drop)
    }

    fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
        let read = self.database.read(|db| {
            let mut query = db.prepare_cached(
                "SELECT number, line, body, reason, at FROM dead_letter ORDER BY number LIMIT ?",
            )?;
            let letters = query.query_map([i64::try_from(limit).unwrap_or(i64::MAX)], dead_letter)?;
            letters.collect()
        });
        self.failed("list its dead letters", read)
    }

    fn revive(&self, number: u64) -> Result<bool, QueueError> {
        let Ok(number) = i64::try_from(number) else { return Ok(false) };
        let now = millis(self.clock.now());
        let done = self.database.write(|db| {
            let letter: Option<(i64, String)> = db
                .query_row("DELETE FROM dead_letter WHERE number = ? RETURNING line, body", [number], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })
                .optional()?;
            letter.map(|(line, body)| push(db, line, &body, now)).transpose()
        });
        self.failed("revive a dead letter", done).map(|done| done.is_some())
    }

    fn depth(&self) -> Result<Depth, QueueError> {
        let read = self.database.read(|db| {
            let count = |what: &str| -> rusqlite::Result<u64> {
                db.prepare_cached(&format!("SELECT count(*) FROM {what}"))?
                    .query_row([], |row| unsigned(row, 0))
            };
            let oldest: Option<i64> = db
                .prepare_cached("SELECT min(pushed) FROM message WHERE due IS NULL")?
                .query_row([], |row| row.get(0))?;
            Ok(Depth {
                high: count("message WHERE due IS NULL AND line = 0")?,
                normal: count("message WHERE due IS NULL AND line = 1")?,
                low: count("message WHERE due IS NULL AND line = 2")?,
                held: count("message WHERE due IS NOT NULL AND worker IS NOT NULL")?,
                delayed: count("message WHERE due IS NOT NULL AND worker IS NULL")?,
                dead: count("dead_letter")?,
                oldest: oldest.map(timestamp),
            })
        });
        self.failed("count its messages", read)
    }
}

fn push(db: &Connection, line: i64, body: &str, now: i64) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO message (line, place, body, pushed)
         VALUES (?1, (SELECT coalesce(max(place), 0) + 1 FROM message WHERE line = ?1 AND due IS NULL), ?2, ?3)",
    )?
    .execute(params![line, body, now])
    .map(drop)
}

fn take(db: &Connection, worker: &str, now: i64, until: i64) -> rusqlite::Result<Option<Delivery>> {
    come_back(db, now)?;
    let turn: u64 = db
        .prepare_cached("SELECT value FROM counter WHERE name = 'turn'")?
        .query_row([], |row| unsigned(row, 0))?;
    for priority in rota::order(turn) {
        let mut front = db.prepare_cached(
            "SELECT id, body FROM message WHERE line = ? AND due IS NULL ORDER BY place LIMIT 1",
        )?;
        let found: Option<(i64, String)> =
            front.query_row([line(priority)], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let Some((row, body)) = found else { continue };
        db.prepare_cached("UPDATE counter SET value = value + 1")?.execute([])?;
        let receipt: i64 = db
            .prepare_cached("SELECT value FROM counter WHERE name = 'receipt'")?
            .query_row([], |row| row.get(0))?;
        db.prepare_cached("UPDATE message SET receipt = ?, worker = ?, due = ? WHERE id = ?")?
            .execute(params![receipt, worker, until, row])?;
        return Ok(Some(Delivery { receipt: receipt.to_string(), priority, body }));
    }
    Ok(None)
}

/// Whose time has come stands in front of its line again, the longest due before the others.
fn come_back(db: &Connection, now: i64) -> rusqlite::Result<()> {
    let mut due =
        db.prepare_cached("SELECT id, line FROM message WHERE due <= ? ORDER BY due DESC, receipt DESC")?;
    let due: Vec<(i64, i64)> =
        due.query_map([now], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
    for (row, line) in due {
        db.prepare_cached(
            "UPDATE message SET due = NULL, receipt = NULL, worker = NULL,
                 place = (SELECT coalesce(min(place), 1) - 1 FROM message WHERE line = ?2 AND due IS NULL)
             WHERE id = ?1",
        )?
        .execute([row, line])?;
    }
    Ok(())
}

/// SQLite's integers are signed; ours that count are not.
fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or_default())
}

fn dead_letter(row: &Row<'_>) -> rusqlite::Result<DeadLetter> {
    Ok(DeadLetter {
        number: unsigned(row, 0)?,
        priority: Priority::ALL[usize::try_from(row.get::<_, i64>(1)?.clamp(0, 2)).unwrap_or(1)],
        body: row.get(2)?,
        reason: row.get(3)?,
        at: timestamp(row.get(4)?),
    })
}

const fn line(priority: Priority) -> i64 {
    match priority {
        Priority::High => 0,
        Priority::Normal => 1,
        Priority::Low => 2,
    }
}

/// The year 292 million is far.
fn millis(time: Timestamp) -> i64 {
    i64::try_from(time.millis()).unwrap_or(i64::MAX)
}

fn timestamp(millis: i64) -> Timestamp {
    Timestamp::from_millis(u64::try_from(millis).unwrap_or_default())
}

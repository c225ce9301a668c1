//! The SQLite file that a single machine has for a queue and a ledger.
//!
//! Owns how it is opened and what its tables are; the queue's and the ledger's own files know the rows. What was
//! acknowledged survives a power cut: WAL with `synchronous=FULL` syncs before a commit returns. Several
//! processes may have it open; one writes at a time, the others wait. Whoever reads waits for no writer: reading has a
//! connection of its own, and sees all that was committed before it began.

use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long a writer waits for another one. A commit takes a few milliseconds, on a slow SD card a
/// few hundred.
const PATIENCE: Duration = Duration::from_secs(10);

/// Version of the tables, in `PRAGMA user_version`.
const VERSION: i64 = 1;

const TABLES: &str = "
CREATE TABLE message (
    id      INTEGER PRIMARY KEY,
    line    INTEGER NOT NULL,          -- 0 high, 1 normal, 2 low
    place   INTEGER NOT NULL,          -- in its line; smaller is nearer to its front
    body    TEXT    NOT NULL,
    pushed  INTEGER NOT NULL,
    due     INTEGER,                   -- when it comes back; NULL: it waits
    receipt INTEGER,                   -- of the last take
    worker  TEXT                       -- who holds it; NULL: nobody
) STRICT;
CREATE INDEX message_waiting ON message (line, place) WHERE due IS NULL;
CREATE INDEX message_due ON message (due, receipt) WHERE due IS NOT NULL;
CREATE UNIQUE INDEX message_receipt ON message (receipt) WHERE receipt IS NOT NULL;
CREATE TABLE dead_letter (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    line   INTEGER NOT NULL,
    body   TEXT    NOT NULL,
    reason TEXT    NOT NULL,
    at     INTEGER NOT NULL
) STRICT;
CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO counter VALUES ('turn', 0), ('receipt', 0);
CREATE TABLE job (
    id          TEXT PRIMARY KEY,
    version     INTEGER NOT NULL,
    state       TEXT    NOT NULL,
    created     INTEGER NOT NULL,
    queue_due   INTEGER,               -- when it has to be put into a queue, if nobody has
    webhook_due INTEGER,               -- when its next webhook has to be sent
    idempotency TEXT UNIQUE,
    record      TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE worker (name TEXT PRIMARY KEY, card TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX job_created ON job (created, id);
CREATE INDEX job_state ON job (state, created, id);
CREATE INDEX job_queue_due ON job (queue_due, id) WHERE queue_due IS NOT NULL;
CREATE INDEX job_webhook_due ON job (webhook_due, id) WHERE webhook_due IS NOT NULL;
";

/// An open database. Clones of an `Arc` of it share its connections.
#[derive(Debug)]
pub struct Database {
    path: PathBuf,
    /// Held through a commit, which waits for the disk.
    writer: Mutex<Connection>,
    reader: Mutex<Connection>,
}

/// The database cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// SQLite says no.
    #[error("the database {path} cannot be opened", path = path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The file was written by a newer program.
    #[error("the database {path} has tables of version {found}, this program knows {VERSION}: use a newer program", path = path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
    /// The file system does not carry a write-ahead log.
    #[error("the database {path} cannot have a write-ahead log (its journal stays `{found}`): use a local file system", path = path.display())]
    NoLog {
        /// The file.
        path: PathBuf,
        /// The journal mode that SQLite kept.
        found: String,
    },
}

impl Database {
    /// Open the database at `path`, made where it is missing.
    ///
    /// # Errors
    /// [`DatabaseError`]: the directory is missing or may not be written, the file is something else, or
    /// newer than this program.
    pub fn open(path: &Path) -> Result<Self, DatabaseError> {
        let failed = |source| DatabaseError::Sqlite { path: path.to_owned(), source };
        let mut connection = Connection::open(path).map_err(failed)?;
        connection.busy_timeout(PATIENCE).map_err(failed)?;
        let journal: String =
            connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(failed)?;
        if journal != "wal" {
            return Err(DatabaseError::NoLog { path: path.to_owned(), found: journal });
        }
        connection.execute_batch("PRAGMA synchronous = FULL").map_err(failed)?;
        let change = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let found: i64 = change.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)?;
        if found > VERSION {
            return Err(DatabaseError::Newer { path: path.to_owned(), found });
        }
        if found == 0 {
            change.execute_batch(TABLES).map_err(failed)?;
            change.execute_batch(&format!("PRAGMA user_version = {VERSION}")).map_err(failed)?;
        }
        change.commit().map_err(failed)?;
        let reader = Connection::open(path).map_err(failed)?;
        reader.busy_timeout(PATIENCE).map_err(failed)?;
        reader.execute_batch("PRAGMA synchronous = FULL; PRAGMA query_only = ON").map_err(failed)?;
        Ok(Self { path: path.to_owned(), writer: Mutex::new(connection), reader: Mutex::new(reader) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Read something: all of it as it was at one moment.
    pub(crate) fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let connection = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let moment = connection.unchecked_transaction()?;
        work(&moment)
    }

    /// Change something: all of it or nothing, and for good when this returns. The lock is taken at the
    /// beginning, so that what was read still holds when it is written.
    pub(crate) fn write<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let mut connection = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let done = work(&change)?;
        change.commit()?;
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("transcode.sqlite");
        (directory, path)
    }

    #[test]
    fn what_is_acknowledged_was_synced() {
        let (_directory, path) = place();
        let database = Database::open(&path).expect("open");
        let ask = |pragma: &str| {
            let query = format!("PRAGMA {pragma}");
            database.write(|db| db.query_row(&query, [], |row| row.get::<_, i64>(0))).expect(pragma)
        };
        // 2 is FULL: the log is synced before a commit returns.
        assert_eq!((ask("synchronous"), ask("user_version")), (2, VERSION));
    }

    #[test]
    fn reading_waits_for_no_writer_and_sees_what_was_committed() {
        let (_directory, path) = place();
        let database = Database::open(&path).expect("open");
        let turn = || {
            let query = "SELECT value FROM counter WHERE name = 'turn'";
            database.read(|db| db.query_row(query, [], |row| row.get::<_, i64>(0))).expect("read")
        };
        let inside = database.write(|db| {
            db.execute("UPDATE counter SET value = 7", [])?;
            // With one connection this would wait for itself.
            Ok(turn())
        });
        assert_eq!((inside.ok(), turn()), (Some(0), 7));
    }

    #[test]
    fn a_database_of_a_newer_program_is_left_alone() {
        let (_directory, path) = place();
        let database = Database::open(&path).expect("open");
        database.write(|db| db.execute_batch("PRAGMA user_version = 2")).expect("write");
        let error = Database::open(&path).expect_err("it is newer").to_string();
        assert!(error.contains("version 2") && error.contains("newer program"), "{error}");
    }

    #[test]
    fn what_is_no_database_is_told_with_its_path() {
        let (directory, path) = place();
        std::fs::write(
            &path,
            "something else, and long enough for a header of SQLite's, which has 100 bytes",
        )
        .expect("write");
        for wrong in [&path, &directory.path().join("missing/transcode.sqlite")] {
            let error = Database::open(wrong).expect_err("it cannot be opened").to_string();
            assert!(error.contains(&wrong.display().to_string()), "{error}");
        }
    }

    #[test]
    fn a_change_that_fails_changes_nothing() {
        let (_directory, path) = place();
        let database = Database::open(&path).expect("open");
        let done = database.write(|db| {
            db.execute("UPDATE counter SET value = 7", [])?;
            db.execute("UPDATE nonsense SET value = 7", [])
        });
        assert!(done.is_err());
        let sum = database
            .read(|db| db.query_row("SELECT sum(value) FROM counter", [], |row| row.get::<_, i64>(0)));
        assert_eq!(sum.ok(), Some(0));
    }
}

//! A Redis server, as the queue and the ledger use it: connections, its clock, what it promises.
//!
//! Knows no keys. Connections are made when they are needed, kept for the next call, and all thrown away
//! when one fails: the next call finds out whether the server is back. Nothing is repeated by itself,
//! because a command whose answer was lost may have been done.

use crate::time::{Clock, Timestamp};
use redis::{Connection, IntoConnectionInfo as _, RedisResult};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long connecting and any answer may take, beside what a command waits by itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the difference to the server's clock is believed. Two quartz clocks drift apart by some
/// 0.1 ms a second, so by a few milliseconds in this time.
const BELIEVED: Duration = Duration::from_secs(60);

/// A Redis server, or one that speaks as it does.
pub struct Redis {
    client: redis::Client,
    shown: String,
    idle: Mutex<Vec<Connection>>,
    time: Mutex<Option<(Instant, Timestamp)>>,
}

impl Redis {
    /// The server at `redis://[user:password@]host[:port][/database]`, or `rediss://…` with TLS. Asks
    /// nothing yet.
    ///
    /// # Errors
    /// What is wrong with the address; it is not repeated, because it may hold a password.
    pub fn new(url: &str) -> Result<Self, String> {
        // TLS needs a provider of ciphers; where the program has chosen one, that stands.
        let _chosen = rustls::crypto::ring::default_provider().install_default();
        let wrong = |error: redis::RedisError| {
            format!(
                "this is no address of a Redis ({}); write it like redis://host:6379 or rediss://host:6379",
                error.category()
            )
        };
        let info = url.into_connection_info().map_err(wrong)?;
        let shown = format!("redis://{}", info.addr());
        let client = redis::Client::open(info).map_err(wrong)?;
        Ok(Self { client, shown, idle: Mutex::default(), time: Mutex::default() })
    }

    /// Its address without credentials.
    pub fn name(&self) -> &str {
        &self.shown
    }

    /// What makes it lose jobs, in words for whoever runs it; empty where nothing is known to.
    ///
    /// # Errors
    /// It does not answer.
    pub fn weaknesses(&self) -> RedisResult<Vec<String>> {
        let setting = |name: &str| {
            let read: RedisResult<Vec<String>> =
                self.call(Duration::ZERO, |server| redis::cmd("CONFIG").arg("GET").arg(name).query(server));
            match read {
                Ok(pair) => Ok(pair.into_iter().nth(1)),
                // Hosted servers do not tell.
                Err(error) if error.is_io_error() => Err(error),
                Err(_) => Ok(None),
            }
        };
        let mut found = Vec::new();
        if setting("appendonly")?.is_some_and(|value| value != "yes") {
            found.push(format!(
                "{}: `appendonly` is off: a restart loses what was queued since the last snapshot",
                self.shown
            ));
        }
        if let Some(policy) = setting("maxmemory-policy")?.filter(|policy| policy != "noeviction") {
            let limited = setting("maxmemory")?.is_some_and(|bytes| bytes != "0");
            if limited {
                found.push(format!(
                    "{}: `maxmemory-policy` is {policy}: under pressure jobs are thrown away; set noeviction",
                    self.shown
                ));
            }
        }
        Ok(found)
    }

    /// Do `work` with a connection; `blocking` is how long its command may wait by itself.
    pub(crate) fn call<T>(
        &self,
        blocking: Duration,
        work: impl FnOnce(&mut Connection) -> RedisResult<T>,
    ) -> RedisResult<T> {
        let kept = self.idle().pop();
        let mut connection = match kept {
            Some(connection) => connection,
            None => {
                let connection = self.client.get_connection_with_timeout(PATIENCE)?;
                connection.set_write_timeout(Some(PATIENCE))?;
                connection
            }
        };
        connection.set_read_timeout(Some(PATIENCE + blocking))?;
        let done = work(&mut connection);
        match &done {
            Err(error) if error.is_io_error() || error.is_unrecoverable_error() => self.idle().clear(),
            _ => self.idle().push(connection),
        }
        done
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server's clock, so that all workers of a fleet have the same.
    fn measured(&self) -> RedisResult<Timestamp> {
        let (seconds, micros): (u64, u64) =
            self.call(Duration::ZERO, |server| redis::cmd("TIME").query(server))?;
        Ok(Timestamp::from_millis(seconds * 1_000 + micros / 1_000))
    }
}

impl Clock for Redis {
    fn now(&self) -> Timestamp {
        let mut known = self.time.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_none_or(|(at, _)| at.elapsed() > BELIEVED) {
            // Where it does not answer, what was measured before goes on, by our monotonic clock.
            if let Ok(time) = self.measured() {
                *known = Some((Instant::now(), time));
            }
        }
        match *known {
            Some((at, time)) => time + at.elapsed(),
            None => crate::time::SystemClock.now(),
        }
    }
}

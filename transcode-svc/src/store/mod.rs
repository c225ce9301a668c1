//! Stores: from what a user writes (`s3://…`, `https://…`, a path) to a source or a sink.
//!
//! Owns the addresses, the small async runtime under the remote stores, and one client for each
//! bucket. The traits are synchronous: a call blocks its thread, waits for the network on the
//! runtime's threads, and ends soon after its [`Cancel`] is set. Knows no video.
//!
//! No call here may be made from a task of an async runtime.

mod client;
mod clock;
mod http;
mod incoming;
mod objects;
mod retry;
mod s3;
mod sink;
mod source;
mod upload;

pub(crate) use incoming::Incoming;
pub(crate) use objects::{Found, Objects, When, Written};

use crate::config::{Config, StoreConfig};
use crate::guard::Guard;
use s3::Bucket;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use transcode_core::sink::{DirSink, Sink, StreamSink};
use transcode_core::source::{CacheOptions, CachedSource, FileSource, Source};
use transcode_core::{Cancel, Error};
use url::Url;

/// How long opening is tried where a store does not answer: before a job has begun nothing is lost
/// by saying so soon. The configured retry time where that is shorter.
const OPENING: Duration = Duration::from_secs(10);

/// Opens sources and sinks; cheap to share, and what it opened may outlive it.
pub struct Stores {
    runtime: Arc<Runtime>,
    config: Config,
    guards: Guards,
    buckets: Mutex<HashMap<(Side, String), Arc<Bucket>>>,
}

/// Which requests go only where they are let; none, by default.
#[derive(Debug, Default)]
struct Guards {
    /// Those to `http(s)://` sources.
    sources: Option<Guard>,
    /// Those to S3 endpoints.
    endpoints: Option<Guard>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Side {
    Store,
    Source,
}

impl Stores {
    /// Stores for this configuration. Nothing is asked yet.
    ///
    /// # Errors
    /// [`Error::Config`] where the system gives no threads.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let runtime = Runtime::new().map_err(|error| Error::Config {
            what: "the network threads".to_owned(),
            reason: format!("they cannot be started: {error}"),
        })?;
        Ok(Self {
            runtime: Arc::new(runtime),
            config: config.clone(),
            guards: Guards::default(),
            buckets: Mutex::default(),
        })
    }

    /// The same, with `http(s)://` sources only where `guard` lets them lead: for a service, whose sources are
    /// named by others. What a person names at a command line is theirs to name.
    #[must_use]
    pub fn guarded(mut self, guard: Guard) -> Self {
        self.guards.sources = Some(guard);
        self
    }

    /// The same, with S3 endpoints only where `guard` lets them lead: for a configuration whose endpoint a
    /// job has named. Those of the service's own configuration are not guarded.
    #[must_use]
    pub fn with_guarded_endpoints(mut self, guard: Guard) -> Self {
        self.guards.endpoints = Some(guard);
        self
    }

    /// The video that `input` names: a path, `file://…`, `http(s)://…` or `s3://bucket/key`. Remote
    /// ones come with a block cache and read-ahead; a file does not need them.
    ///
    /// # Errors
    /// Its kind tells who has to act: [`Error::Config`] for an address that cannot be (usage),
    /// [`Error::Source`] for one that cannot be read (input), or whose store does not answer (store).
    pub fn open_source(&self, input: &str, cancel: &Cancel) -> Result<Arc<dyn Source>, Error> {
        let config = &self.config.source;
        let bound = config.retry_time.min(OPENING);
        let runtime = Arc::clone(&self.runtime);
        let remote: Arc<dyn Source> = match scheme(input) {
            None => return Ok(Arc::new(FileSource::open(input)?)),
            Some("file") => return Ok(Arc::new(FileSource::open(file_path(input)?)?)),
            Some("http" | "https") => {
                let url = Url::parse(input).map_err(|error| Error::Config {
                    what: input.split(['?', '#']).next().unwrap_or_default().to_owned(),
                    reason: format!("this is no URL: {error}"),
                })?;
                let guard = self.guards.sources.as_ref();
                Arc::new(http::HttpSource::open(runtime, url, config, guard, bound, cancel)?)
            }
            Some("s3") => {
                let (bucket, key) = s3::address(input)?;
                if key.is_empty() || key.ends_with('/') {
                    return Err(Error::Config {
                        what: input.to_owned(),
                        reason: "this names no object; write s3://bucket/key".to_owned(),
                    });
                }
                let bucket = self.bucket(Side::Source, bucket, config)?;
                Arc::new(source::S3Source::open(runtime, bucket, key, bound, cancel)?)
            }
            Some(other) => return Err(unknown(other, "a path, file://, https://, http:// and s3://")),
        };
        let options = CacheOptions::with_capacity(self.config.cache_size);
        Ok(Arc::new(CachedSource::new(remote, options)))
    }

    /// The destination that `dest` names: a directory (made where it is missing) or
    /// `s3://bucket/prefix`. A missing bucket, wrong keys and a directory that may not be written are
    /// told here, before a job begins.
    ///
    /// # Errors
    /// [`Error::Config`] for an address that cannot be or missing keys (usage), [`Error::Sink`] for a
    /// destination that refuses or does not answer (store).
    pub fn open_sink(&self, dest: &str, cancel: &Cancel) -> Result<Arc<dyn Sink>, Error> {
        Ok(self.open_stream_sink(dest, cancel)?)
    }

    /// The same, for objects that are written piece by piece.
    ///
    /// # Errors
    /// As [`open_sink`](Self::open_sink).
    pub fn open_stream_sink(&self, dest: &str, cancel: &Cancel) -> Result<Arc<dyn StreamSink>, Error> {
        match scheme(dest) {
            None if dest.is_empty() => Err(Error::Config {
                what: "the destination".to_owned(),
                reason: "it is empty; write a directory or s3://bucket/prefix".to_owned(),
            }),
            None => Ok(Arc::new(DirSink::create(dest)?)),
            Some("file") => Ok(Arc::new(DirSink::create(file_path(dest)?)?)),
            Some("s3") => Ok(Arc::new(self.prefix(dest, cancel)?)),
            Some(other) => Err(unknown(other, "a directory, file:// and s3://")),
        }
    }

    /// The destination of a job that was run before, as it is: a directory is neither made nor probed.
    ///
    /// # Errors
    /// [`Error::Input`] for a directory that is not there (input), else as [`open_sink`](Self::open_sink).
    pub fn open_job(&self, dest: &str, cancel: &Cancel) -> Result<Arc<dyn StreamSink>, Error> {
        let path = match scheme(dest) {
            None => PathBuf::from(dest),
            Some("file") => file_path(dest)?,
            Some(_) => return self.open_stream_sink(dest, cancel),
        };
        let open = DirSink::open(&path).map_err(|error| Error::Input {
            uri: dest.to_owned(),
            reason: format!("this is not the destination of a job ({error})"),
        })?;
        Ok(Arc::new(open))
    }

    fn prefix(&self, dest: &str, cancel: &Cancel) -> Result<sink::S3Sink, Error> {
        let config = &self.config.store;
        let (bucket, prefix) = s3::address(dest)?;
        let bucket = self.bucket(Side::Store, bucket, config)?;
        let bound = config.retry_time.min(OPENING);
        Ok(sink::S3Sink::open(Arc::clone(&self.runtime), bucket, prefix, bound, cancel)?)
    }

    fn bucket(&self, side: Side, name: &str, config: &StoreConfig) -> Result<Arc<Bucket>, Error> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = buckets.get(&(side, name.to_owned())) {
            return Ok(Arc::clone(known));
        }
        let section = if side == Side::Store { "store" } else { "source" };
        let bucket = Arc::new(Bucket::new(name, config, section, self.guards.endpoints.as_ref())?);
        buckets.insert((side, name.to_owned()), Arc::clone(&bucket));
        Ok(bucket)
    }
}

impl std::fmt::Debug for Stores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stores").field("config", &self.config).finish_non_exhaustive()
    }
}

/// The threads that wait for the network; they end with the last source or sink.
#[derive(Debug)]
struct Runtime(Option<tokio::runtime::Runtime>, Handle);

impl Runtime {
    fn new() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .max_blocking_threads(4)
            .thread_name("store")
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        Ok(Self(Some(runtime), handle))
    }

    fn handle(&self) -> &Handle {
        &self.1
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Not waiting: name look-ups cannot be ended, and this may be a thread that must go on.
            runtime.shutdown_background();
        }
    }
}

/// An object of a destination, as a path or address.
pub(crate) fn location(to: &dyn StreamSink, key: &str) -> String {
    format!("{}/{key}", to.location().trim_end_matches('/'))
}

/// `scheme` of `scheme://…`; `None` for a path.
fn scheme(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once("://")?;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    (scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(fits)).then_some(scheme)
}

fn file_path(text: &str) -> Result<PathBuf, Error> {
    Url::parse(text).ok().and_then(|url| url.to_file_path().ok()).ok_or_else(|| Error::Config {
        what: text.to_owned(),
        reason: "this names no file of this machine; write file:///path/to/it, or the path alone".to_owned(),
    })
}

fn unknown(scheme: &str, allowed: &str) -> Error {
    Error::Config {
        what: format!("{scheme}://"),
        reason: format!("this is not known here; allowed are {allowed}"),
    }
}

//! Small objects that are read whole and changed under a condition: what a ledger needs of a bucket.
//!
//! Owns the requests and what their answers mean; knows no jobs. A call is tried again for a few
//! seconds and then fails: who keeps a lease cannot wait for a minute.

use super::client::{Told, client, transport};
use super::retry::{Failure, GaveUp, persist};
use super::s3::{self, Bucket, failed, path, within};
use super::sink::{Condition, condition, is_missing};
use super::{Runtime, Side, Stores};
use bytes::Bytes;
use futures::StreamExt as _;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, GetOptions, ObjectStore as _, ObjectStoreExt as _, PutMode, PutOptions,
    UpdateVersion,
};
use reqwest::header::SERVER;
use reqwest::redirect::Policy;
use std::sync::Arc;
use std::time::Duration;
use transcode_core::sink::SinkError;
use transcode_core::{Cancel, Error};

/// How long one call may take, tries and all.
const PATIENCE: Duration = Duration::from_secs(10);

/// Objects that are read at the same time.
const AT_ONCE: usize = 16;

/// The objects below one prefix of a bucket.
#[derive(Debug)]
pub(crate) struct Objects {
    runtime: Arc<Runtime>,
    bucket: Arc<Bucket>,
    /// Without slashes around it.
    prefix: String,
}

/// An object.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// What it holds.
    pub(crate) bytes: Bytes,
    /// Its ETag; empty where the store tells none.
    pub(crate) tag: String,
}

/// When an object is to be written.
#[derive(Debug, Clone, Copy)]
pub(crate) enum When<'a> {
    /// In any case.
    Always,
    /// If there is none (If-None-Match).
    Absent,
    /// If it has this ETag (If-Match).
    Is(&'a str),
}

/// What came of writing an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Written {
    /// It is there.
    Yes,
    /// The condition was not met; nothing was written, now or by an earlier try of the same call.
    No,
    /// The store does not know the condition: its words.
    Refused(String),
}

impl Stores {
    /// The objects below `s3://bucket/prefix`, in the configured store.
    ///
    /// # Errors
    /// [`Error::Config`] for an address that cannot be, and for missing keys.
    pub(crate) fn objects(&self, address: &str) -> Result<Objects, Error> {
        let (bucket, prefix) = s3::address(address)?;
        let bucket = self.bucket(Side::Store, bucket, &self.config.store)?;
        Ok(Objects {
            runtime: Arc::clone(&self.runtime),
            bucket,
            prefix: prefix.trim_matches('/').to_owned(),
        })
    }
}

impl Objects {
    /// `s3://bucket/prefix`.
    pub(crate) fn location(&self) -> String {
        format!("s3://{}/{}", self.bucket.name, self.prefix)
    }

    fn path(&self, key: &str) -> Result<Path, SinkError> {
        let whole = if self.prefix.is_empty() { key.to_owned() } else { format!("{}/{key}", self.prefix) };
        path(&whole).map_err(|reason| SinkError::Refused { location: self.location(), reason })
    }

    fn silence(&self) -> Duration {
        self.bucket.config.request_timeout.min(PATIENCE)
    }

    fn try_for<T>(
        &self,
        action: &str,
        attempt: impl AsyncFnMut(u32) -> Result<T, Failure<Told>>,
    ) -> Result<T, SinkError> {
        let bound = self.bucket.config.retry_time.min(PATIENCE);
        let location = self.location();
        let done = persist(self.runtime.handle(), bound, &Cancel::new(), &location, attempt);
        done.map_err(|error| match error {
            GaveUp::Cancelled => SinkError::Cancelled,
            GaveUp::Unavailable(reason) => SinkError::Unavailable { location, reason },
            GaveUp::Final(Told::Answer(answer)) => {
                SinkError::Refused { location, reason: answer.advice(&self.bucket.name, action) }
            }
            GaveUp::Final(Told::Text(reason)) => SinkError::Refused { location, reason },
        })
    }

    async fn fetch(&self, path: &Path) -> Result<Option<Found>, Failure<Told>> {
        let asked = self.bucket.store.get_opts(path, GetOptions::default());
        match failed(within(self.silence(), asked).await?) {
            Ok(found) => {
                let tag = found.meta.e_tag.clone().unwrap_or_default();
                let bytes = failed(within(self.silence(), found.bytes()).await?)?;
                Ok(Some(Found { bytes, tag }))
            }
            Err(Failure::Final(Told::Answer(answer))) if is_missing(&answer) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// The object, where it is there and may be read.
    pub(crate) fn get(&self, key: &str) -> Result<Option<Found>, SinkError> {
        let path = self.path(key)?;
        self.try_for("read there", async |_| self.fetch(&path).await)
    }

    /// Several at once, in the order of `keys`.
    pub(crate) fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Found>>, SinkError> {
        let paths = keys.iter().map(|key| self.path(key)).collect::<Result<Vec<_>, _>>()?;
        self.try_for("read there", async |_| {
            let all = futures::stream::iter(&paths).map(|path| self.fetch(path)).buffered(AT_ONCE);
            all.collect::<Vec<_>>().await.into_iter().collect()
        })
    }

    /// Write an object.
    pub(crate) fn put(&self, key: &str, bytes: &[u8], when: When) -> Result<Written, SinkError> {
        let path = self.path(key)?;
        let bytes = Bytes::copy_from_slice(bytes);
        self.try_for("write there", async |_| self.store(&path, &bytes, when).await)
    }

    async fn store(&self, path: &Path, bytes: &Bytes, when: When<'_>) -> Result<Written, Failure<Told>> {
        let mode = match when {
            When::Always => PutMode::Overwrite,
            When::Absent => PutMode::Create,
            When::Is(tag) => PutMode::Update(UpdateVersion { e_tag: Some(tag.to_owned()), version: None }),
        };
        let attributes = Attributes::from_iter([
            (Attribute::ContentType, "application/json"),
            (Attribute::CacheControl, "no-store"),
        ]);
        let options = PutOptions { mode, attributes, ..PutOptions::default() };
        let put = self.bucket.store.put_opts(path, bytes.clone().into(), options);
        let answer = match failed(within(self.silence(), put).await?) {
            Ok(_) => return Ok(Written::Yes),
            Err(Failure::Final(Told::Answer(answer))) => answer,
            Err(failure) => return Err(failure),
        };
        match condition(&answer) {
            kind @ (Condition::Failed | Condition::Racing) => {
                let found = self.fetch(path).await?;
                // Ours all the same, where the answer to an earlier try was lost.
                if found.as_ref().is_some_and(|found| found.bytes == bytes) {
                    return Ok(Written::Yes);
                }
                let as_wanted = match when {
                    When::Absent => found.is_none(),
                    When::Is(tag) => found.is_some_and(|found| found.tag == tag),
                    When::Always => true,
                };
                if kind == Condition::Racing && as_wanted {
                    return Err(Failure::passing(answer.to_string()));
                }
                Ok(Written::No)
            }
            Condition::Refused if !matches!(when, When::Always) => Ok(Written::Refused(answer.to_string())),
            // What was to be changed is gone.
            _ if matches!(when, When::Is(_)) && answer.status == 404 && is_missing(&answer) => {
                Ok(Written::No)
            }
            _ => Err(Failure::Final(Told::Answer(answer))),
        }
    }

    /// What the store calls itself (the header `Server`); empty where it does not.
    pub(crate) fn server(&self) -> Result<String, SinkError> {
        let config = &self.bucket.config;
        let address = match &config.endpoint {
            Some(endpoint) => endpoint.as_str().to_owned(),
            None => format!("https://s3.{}.amazonaws.com", config.region),
        };
        let wrong = |reason: String| SinkError::Refused { location: self.location(), reason };
        let url = url::Url::parse(&address).map_err(|error| wrong(error.to_string()))?;
        let client = client(config, &url, Policy::none(), None).map_err(|error| wrong(error.to_string()))?;
        self.try_for("ask who it is", async |_| {
            let asked = within(self.silence(), client.head(url.clone()).send()).await?;
            let answer = asked.map_err(|error| Failure::passing(transport(error)))?;
            let server = answer.headers().get(SERVER).and_then(|name| name.to_str().ok());
            Ok(server.unwrap_or_default().to_owned())
        })
    }

    /// Remove an object; false where these keys may not. One that is not there is removed.
    pub(crate) fn delete(&self, key: &str) -> Result<bool, SinkError> {
        let path = self.path(key)?;
        self.try_for("remove there", async |_| {
            match failed(within(self.silence(), self.bucket.store.delete(&path)).await?) {
                Ok(()) => Ok(true),
                Err(Failure::Final(Told::Answer(answer))) if is_missing(&answer) => Ok(answer.status == 404),
                Err(failure) => Err(failure),
            }
        })
    }

    /// The first `limit` names in a folder, by their bytes, after `after`; `None` where these keys may not list.
    pub(crate) fn list(
        &self,
        folder: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Option<Vec<String>>, SinkError> {
        let whole = self.path(folder)?;
        let after = after.map(|name| self.path(&format!("{folder}/{name}"))).transpose()?;
        self.try_for("list there", async |_| {
            let mut pages = match &after {
                Some(after) => self.bucket.store.list_with_offset(Some(&whole), after),
                None => self.bucket.store.list(Some(&whole)),
            };
            let mut names = Vec::new();
            while names.len() < limit {
                let Some(object) = within(self.silence(), pages.next()).await? else { break };
                match failed(object) {
                    Ok(meta) => names.extend(meta.location.filename().map(str::to_owned)),
                    Err(Failure::Final(Told::Answer(answer))) if is_missing(&answer) => return Ok(None),
                    Err(failure) => return Err(failure),
                }
            }
            Ok(Some(names))
        })
    }
}

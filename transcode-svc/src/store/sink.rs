//! A prefix in an S3 bucket as a sink.
//!
//! Owns how an object is created once: with If-None-Match where the store honours it, by looking
//! first where it does not; which of the two is found out with the first object and remembered for
//! the bucket. Keys that may only GET and PUT are enough: a 403 on what may be missing is "not known",
//! which counts as missing.

use super::Runtime;
use super::client::{Answer, Told};
use super::retry::{Failure, GaveUp, persist};
use super::s3::{Bucket, Once, failed, path, within};
use bytes::Bytes;
use futures::StreamExt as _;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, GetOptions, GetRange, ObjectStore as _, ObjectStoreExt as _, PutMode, PutOptions,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use transcode_core::Cancel;
use transcode_core::sink::{Created, ObjectKind, Sink, SinkError, check_key};

/// Objects under one prefix of a bucket.
pub(super) struct S3Sink {
    pub(super) runtime: Arc<Runtime>,
    pub(super) bucket: Arc<Bucket>,
    /// Without slashes around it; may be empty.
    prefix: String,
}

impl S3Sink {
    /// Use `prefix`. One small read tells a missing bucket and wrong keys before a job begins;
    /// `bound` limits how long that is tried.
    pub(super) fn open(
        runtime: Arc<Runtime>,
        bucket: Arc<Bucket>,
        prefix: &str,
        bound: Duration,
        cancel: &Cancel,
    ) -> Result<Self, SinkError> {
        let sink = Self { runtime, bucket, prefix: prefix.trim_matches('/').to_owned() };
        let path = sink.path("plan.json")?;
        let asked = persist(sink.runtime.handle(), bound, cancel, &sink.location(), async |_| {
            sink.bucket.keys().await.map_err(|failure| failure.map(Told::Text))?;
            let first = GetOptions { range: Some(GetRange::Bounded(0..1)), ..GetOptions::default() };
            match sink.get(&path, first).await {
                Ok(_) => Ok(()),
                Err(Failure::Final(Told::Answer(answer))) if answer.status == 416 || is_missing(&answer) => {
                    Ok(())
                }
                Err(failure) => Err(failure),
            }
        });
        asked.map_err(|error| sink.lost(error, &sink.location(), "use it"))?;
        Ok(sink)
    }

    fn key(&self, key: &str) -> String {
        if self.prefix.is_empty() { key.to_owned() } else { format!("{}/{key}", self.prefix) }
    }

    pub(super) fn path(&self, key: &str) -> Result<Path, SinkError> {
        check_key(key)?;
        let whole = self.key(key);
        path(&whole).map_err(|reason| SinkError::Refused { location: self.object(key), reason })
    }

    pub(super) fn object(&self, key: &str) -> String {
        format!("s3://{}/{}", self.bucket.name, self.key(key))
    }

    pub(super) fn try_for<T>(
        &self,
        key: &str,
        action: &str,
        cancel: &Cancel,
        attempt: impl AsyncFnMut(u32) -> Result<T, Failure<Told>>,
    ) -> Result<T, SinkError> {
        let object = self.object(key);
        persist(self.runtime.handle(), self.bucket.config.retry_time, cancel, &object, attempt)
            .map_err(|error| self.lost(error, &object, action))
    }

    pub(super) fn lost(&self, error: GaveUp<Told>, location: &str, action: &str) -> SinkError {
        let location = location.to_owned();
        match error {
            GaveUp::Cancelled => SinkError::Cancelled,
            GaveUp::Unavailable(reason) => SinkError::Unavailable { location, reason },
            GaveUp::Final(Told::Answer(answer)) => {
                SinkError::Refused { location, reason: answer.advice(&self.bucket.name, action) }
            }
            GaveUp::Final(Told::Text(reason)) => SinkError::Refused { location, reason },
        }
    }

    async fn put(
        &self,
        path: &Path,
        kind: ObjectKind,
        bytes: &Bytes,
        mode: PutMode,
    ) -> Result<(), Failure<Told>> {
        let attributes = Attributes::from_iter([
            (Attribute::ContentType, kind.content_type()),
            (Attribute::CacheControl, kind.cache_control()),
        ]);
        let options = PutOptions { mode, attributes, ..PutOptions::default() };
        // A second more for every 64 KiB: half a megabit a second is slow, not silent.
        let silence = self.bucket.config.request_timeout + Duration::from_millis(bytes.len() as u64 / 64);
        let put = self.bucket.store.put_opts(path, bytes.clone().into(), options);
        failed(within(silence, put).await?).map(drop)
    }

    pub(super) async fn get(&self, path: &Path, options: GetOptions) -> Result<Bytes, Failure<Told>> {
        let silence = self.bucket.config.request_timeout;
        let found = failed(within(silence, self.bucket.store.get_opts(path, options)).await?)?;
        let silence = silence + Duration::from_millis(found.meta.size / 64);
        failed(within(silence, found.bytes()).await?)
    }

    /// The size of an object, or `None` where it is missing or may not be known.
    pub(super) async fn head(&self, path: &Path) -> Result<Option<u64>, Failure<Told>> {
        let head = GetOptions { head: true, ..GetOptions::default() };
        let silence = self.bucket.config.request_timeout;
        match failed(within(silence, self.bucket.store.get_opts(path, head)).await?) {
            Ok(found) => Ok(Some(found.meta.size)),
            Err(Failure::Final(Told::Answer(answer))) if is_missing(&answer) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    async fn create_once(
        &self,
        path: &Path,
        kind: ObjectKind,
        bytes: &Bytes,
        tries: u32,
    ) -> Result<Created, Failure<Told>> {
        if self.bucket.once() != Once::Ignored {
            match self.put(path, kind, bytes, PutMode::Create).await {
                Ok(()) => {
                    if self.bucket.once() == Once::Unknown {
                        self.find_out(path, kind, bytes).await;
                    }
                    return Ok(Created::New);
                }
                Err(Failure::Final(Told::Answer(answer))) => match condition(&answer) {
                    Condition::Failed => {
                        self.bucket.honours();
                        return self.whose(path, bytes, tries).await;
                    }
                    Condition::Racing => return Err(Failure::passing(answer.to_string())),
                    Condition::Refused => self.bucket.ignores(&format!("refuses If-None-Match [{answer}]")),
                    Condition::Other => return Err(Failure::Final(Told::Answer(answer))),
                },
                Err(failure) => return Err(failure),
            }
        }
        if self.head(path).await?.is_some() {
            return self.whose(path, bytes, tries).await;
        }
        self.put(path, kind, bytes, PutMode::Overwrite).await.map(|()| Created::New)
    }

    /// An object was there. If an earlier try of ours broke off, it may be that one that arrived.
    async fn whose(&self, path: &Path, bytes: &Bytes, tries: u32) -> Result<Created, Failure<Told>> {
        if tries == 0 {
            return Ok(Created::Existed);
        }
        match self.get(path, GetOptions::default()).await {
            Ok(stored) if stored == *bytes => Ok(Created::New),
            Ok(_) | Err(Failure::Final(_)) => Ok(Created::Existed),
            Err(failure) => Err(failure),
        }
    }

    /// Create the object that was just created once more, with the same bytes: a store that lets that
    /// through ignores the condition, and nothing was lost.
    async fn find_out(&self, path: &Path, kind: ObjectKind, bytes: &Bytes) {
        match self.put(path, kind, bytes, PutMode::Create).await {
            Ok(()) => self.bucket.ignores("ignores If-None-Match"),
            Err(Failure::Final(Told::Answer(answer))) if condition(&answer) == Condition::Failed => {
                self.bucket.honours();
            }
            // Not known yet; the next object will tell.
            Err(failure) => log::debug!("s3://{}: If-None-Match: {failure:?}", self.bucket.name),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// The object is there.
    Failed,
    /// Somebody is making it right now (S3's 409 ConditionalRequestConflict).
    Racing,
    /// This store does not know the condition.
    Refused,
    /// It is about something else.
    Other,
}

pub(super) fn condition(answer: &Answer) -> Condition {
    match (answer.status, answer.code.as_str()) {
        (412 | 304, _) => Condition::Failed,
        (409, _) => Condition::Racing,
        (501, _) | (400, "NotImplemented" | "InvalidArgument" | "InvalidRequest" | "UnsupportedHeader") => {
            Condition::Refused
        }
        _ => Condition::Other,
    }
}

/// Whether an object is not there as far as these keys can know: who may not list is told 403 instead
/// of 404. A missing bucket and wrong keys are something else, whatever the status (versitygw answers
/// 404 `XAdminUserNotFound` to an unknown access key).
pub(super) fn is_missing(answer: &Answer) -> bool {
    match answer.status {
        404 => {
            matches!(answer.code.as_str(), "" | "NoSuchKey" | "NoSuchObject" | "NotFound" | "NoSuchVersion")
        }
        403 => !answer.blames_keys(),
        _ => false,
    }
}

impl Sink for S3Sink {
    fn create(
        &self,
        key: &str,
        kind: ObjectKind,
        bytes: &[u8],
        cancel: &Cancel,
    ) -> Result<Created, SinkError> {
        let path = self.path(key)?;
        let bytes = Bytes::copy_from_slice(bytes);
        self.try_for(key, "write there", cancel, async |tries| {
            self.create_once(&path, kind, &bytes, tries).await
        })
    }

    fn replace(&self, key: &str, kind: ObjectKind, bytes: &[u8], cancel: &Cancel) -> Result<(), SinkError> {
        let path = self.path(key)?;
        let bytes = Bytes::copy_from_slice(bytes);
        self.try_for(key, "write there", cancel, async |_| {
            self.put(&path, kind, &bytes, PutMode::Overwrite).await
        })
    }

    fn read(&self, key: &str, cancel: &Cancel) -> Result<Option<Vec<u8>>, SinkError> {
        let path = self.path(key)?;
        self.try_for(key, "read there", cancel, async |_| {
            match self.get(&path, GetOptions::default()).await {
                Ok(bytes) => Ok(Some(bytes.into())),
                Err(Failure::Final(Told::Answer(answer))) if is_missing(&answer) => Ok(None),
                Err(failure) => Err(failure),
            }
        })
    }

    fn size_of(&self, key: &str, cancel: &Cancel) -> Result<Option<u64>, SinkError> {
        let path = self.path(key)?;
        self.try_for(key, "read there", cancel, async |_| self.head(&path).await)
    }

    fn list(&self, cancel: &Cancel) -> Result<Option<BTreeMap<String, u64>>, SinkError> {
        let prefix = (!self.prefix.is_empty())
            .then(|| path(&self.prefix))
            .transpose()
            .map_err(|reason| SinkError::Refused { location: self.location(), reason })?;
        self.try_for("", "list it", cancel, async |_| {
            let mut pages = self.bucket.store.list(prefix.as_ref());
            let mut found = BTreeMap::new();
            loop {
                let silence = self.bucket.config.request_timeout;
                let Some(object) = within(silence, pages.next()).await? else {
                    return Ok(Some(found));
                };
                match failed(object) {
                    Ok(meta) => {
                        let whole = meta.location.as_ref();
                        let key = whole.strip_prefix(&self.prefix).unwrap_or(whole).trim_start_matches('/');
                        found.insert(key.to_owned(), meta.size);
                    }
                    // Keys that may GET and PUT only.
                    Err(Failure::Final(Told::Answer(answer))) if is_missing(&answer) => return Ok(None),
                    Err(failure) => return Err(failure),
                }
            }
        })
    }

    fn remove(&self, key: &str, cancel: &Cancel) -> Result<(), SinkError> {
        let path = self.path(key)?;
        self.try_for(key, "remove there", cancel, async |_| {
            let silence = self.bucket.config.request_timeout;
            match failed(within(silence, self.bucket.store.delete(&path)).await?) {
                Err(Failure::Final(Told::Answer(answer))) if answer.status == 404 && is_missing(&answer) => {
                    Ok(())
                }
                other => other,
            }
        })
    }

    fn location(&self) -> String {
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        format!("s3://{}/{}{slash}", self.bucket.name, self.prefix)
    }
}

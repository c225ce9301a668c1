//! An object in an S3 bucket as a source.
//!
//! Owns range reads pinned to one version of the object (If-Match on its entity tag, which is also
//! compared where a store ignores the condition). A read that breaks off goes on where it stopped.

use super::Runtime;
use super::client::Told;
use super::retry::{Failure, GaveUp, persist};
use super::s3::{Bucket, failed, path, within};
use futures::StreamExt as _;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore as _};
use std::sync::Arc;
use std::time::Duration;
use transcode_core::Cancel;
use transcode_core::media::SourceIdentity;
use transcode_core::source::{Source, SourceError};

/// One object.
pub(super) struct S3Source {
    runtime: Arc<Runtime>,
    bucket: Arc<Bucket>,
    path: Path,
    identity: SourceIdentity,
}

impl S3Source {
    /// Look at the object `key`: its first byte tells its size, its version, and whether these
    /// credentials may read it. `bound` limits how long that is tried.
    pub(super) fn open(
        runtime: Arc<Runtime>,
        bucket: Arc<Bucket>,
        key: &str,
        bound: Duration,
        cancel: &Cancel,
    ) -> Result<Self, SourceError> {
        let uri = format!("s3://{}/{key}", bucket.name);
        let path = path(key).map_err(|reason| SourceError::Unreadable { uri: uri.clone(), reason })?;
        let silence = bucket.config.request_timeout;
        let looked = persist(runtime.handle(), bound, cancel, &uri, async |_| {
            bucket.keys().await.map_err(|failure| failure.map(Told::Text))?;
            let first = GetOptions { range: Some(GetRange::Bounded(0..1)), ..GetOptions::default() };
            match failed(within(silence, bucket.store.get_opts(&path, first)).await?) {
                Ok(found) => Ok((found.meta.size, found.meta.e_tag)),
                // An empty object has no first byte.
                Err(Failure::Final(Told::Answer(answer))) if answer.status == 416 => {
                    let head = GetOptions { head: true, ..GetOptions::default() };
                    let found = failed(within(silence, bucket.store.get_opts(&path, head)).await?)?;
                    Ok((found.meta.size, found.meta.e_tag))
                }
                Err(failure) => Err(failure),
            }
        });
        let (size, version) = looked.map_err(|error| lost(error, &bucket, &uri, 0, false))?;
        let identity = SourceIdentity { uri, size, version };
        Ok(Self { runtime, bucket, path, identity })
    }
}

impl Source for S3Source {
    fn identity(&self) -> SourceIdentity {
        self.identity.clone()
    }

    fn size(&self) -> u64 {
        self.identity.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8], cancel: &Cancel) -> Result<usize, SourceError> {
        if cancel.is_cancelled() {
            return Err(SourceError::Cancelled);
        }
        let left = usize::try_from(self.identity.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        if wanted == 0 {
            return Ok(0);
        }
        let SourceIdentity { uri, size, version } = &self.identity;
        let config = &self.bucket.config;
        let end = offset + wanted as u64;
        let mut done = 0;
        let what = format!("reading {uri} at byte {offset}");
        let read = persist(self.runtime.handle(), config.retry_time, cancel, &what, async |_| {
            let options = GetOptions {
                range: Some(GetRange::Bounded(offset + done as u64..end)),
                if_match: version.clone(),
                ..GetOptions::default()
            };
            let found =
                within(config.request_timeout, self.bucket.store.get_opts(&self.path, options)).await?;
            let found = failed(found)?;
            if found.meta.size != *size || (version.is_some() && found.meta.e_tag != *version) {
                return Err(Failure::Final(Told::Text(CHANGED.to_owned())));
            }
            let mut body = found.into_stream();
            while let Some(bytes) = within(config.request_timeout, body.next()).await? {
                let bytes = failed(bytes)?;
                let room = &mut buffer[done..wanted];
                let fits = bytes.len().min(room.len());
                room[..fits].copy_from_slice(&bytes[..fits]);
                done += fits;
            }
            if done < wanted {
                return Err(Failure::passing(format!("the answer ended {} bytes early", wanted - done)));
            }
            Ok(())
        });
        read.map_err(|error| lost(error, &self.bucket, uri, offset, true))?;
        Ok(wanted)
    }
}

const CHANGED: &str = "it has another size or entity tag now; start again when it is complete";

/// A failure in the words of a source; `opened` where it had been readable before.
fn lost(error: GaveUp<Told>, bucket: &Bucket, uri: &str, offset: u64, opened: bool) -> SourceError {
    let uri = uri.to_owned();
    match error {
        GaveUp::Cancelled => SourceError::Cancelled,
        GaveUp::Unavailable(reason) => SourceError::Unavailable { uri, offset, reason },
        GaveUp::Final(Told::Answer(answer)) if opened && matches!(answer.status, 404 | 412 | 416) => {
            let reason = if answer.status == 404 { "it is gone now" } else { CHANGED };
            SourceError::Changed { uri, reason: format!("{reason} [{answer}]") }
        }
        GaveUp::Final(Told::Answer(answer)) => {
            SourceError::Unreadable { uri, reason: answer.advice(&bucket.name, "read it") }
        }
        GaveUp::Final(Told::Text(reason)) if opened && reason == CHANGED => {
            SourceError::Changed { uri, reason }
        }
        GaveUp::Final(Told::Text(reason)) => SourceError::Unreadable { uri, reason },
    }
}

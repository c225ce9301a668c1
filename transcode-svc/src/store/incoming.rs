//! Large objects that come in over several requests: multipart uploads that outlive this process.
//!
//! Owns the bare steps (begin, a part, complete, take back) and addresses that let others upload by themselves.
//! Who uploads remembers the upload's name and its parts' tags. Sizes are bytes.

use super::Stores;
use super::client::Told;
use super::retry::Failure;
use super::s3::{failed, within};
use super::sink::S3Sink;
use bytes::Bytes;
use object_store::MultipartId;
use object_store::multipart::{MultipartStore as _, PartId};
use object_store::signer::Signer as _;
use std::time::Duration;
use transcode_core::sink::{SinkError, StreamSink};
use transcode_core::{Cancel, Error};

/// A prefix in a bucket that takes large objects.
pub(crate) struct Incoming {
    sink: S3Sink,
    cancel: Cancel,
}

impl Stores {
    /// The prefix `s3://bucket/prefix` of the store, for uploads; `None` where that names no bucket.
    ///
    /// # Errors
    /// As [`open_sink`](Self::open_sink).
    pub(crate) fn open_incoming(&self, home: &str, cancel: &Cancel) -> Result<Option<Incoming>, Error> {
        if super::scheme(home) != Some("s3") {
            return Ok(None);
        }
        Ok(Some(Incoming { sink: self.prefix(home, cancel)?, cancel: cancel.clone() }))
    }
}

impl Incoming {
    /// The same prefix, for small objects.
    pub(crate) fn sink(&self) -> &dyn StreamSink {
        &self.sink
    }

    /// Begin the upload of `key`; its name.
    pub(crate) fn begin(&self, key: &str) -> Result<String, SinkError> {
        let path = self.sink.path(key)?;
        let (store, silence) = (&self.sink.bucket.store, self.sink.bucket.config.request_timeout);
        self.sink.try_for(key, "write there", &self.cancel, async |_| {
            failed(within(silence, store.create_multipart(&path)).await?)
        })
    }

    /// Store the part number `index`, from 0; its tag. Again, it takes the place of the first.
    pub(crate) fn part(
        &self,
        key: &str,
        upload: &str,
        index: usize,
        part: Bytes,
    ) -> Result<String, SinkError> {
        let path = self.sink.path(key)?;
        let upload: MultipartId = upload.to_owned();
        let store = &self.sink.bucket.store;
        // A second more for every 64 KiB: half a megabit a second is slow, not silent.
        let silence = self.sink.bucket.config.request_timeout + Duration::from_millis(part.len() as u64 / 64);
        self.sink.try_for(key, "write there", &self.cancel, async |_| {
            let put = store.put_part(&path, &upload, index, part.clone().into());
            failed(within(silence, put).await?).map(|part| part.content_id)
        })
    }

    /// All parts are there: make the object visible.
    pub(crate) fn complete(&self, key: &str, upload: &str, tags: &[String]) -> Result<(), SinkError> {
        let path = self.sink.path(key)?;
        let upload: MultipartId = upload.to_owned();
        let (store, silence) = (&self.sink.bucket.store, self.sink.bucket.config.request_timeout);
        self.sink.try_for(key, "write there", &self.cancel, async |tries| {
            let parts = tags.iter().map(|tag| PartId { content_id: tag.clone() }).collect();
            match failed(within(silence, store.complete_multipart(&path, &upload, parts)).await?) {
                Ok(_) => Ok(()),
                // The answer to an earlier try may have been lost on its way: then the object is there.
                Err(Failure::Final(Told::Answer(answer)))
                    if tries > 0 && answer.status == 404 && self.sink.head(&path).await?.is_some() =>
                {
                    Ok(())
                }
                Err(failure) => Err(failure),
            }
        })
    }

    /// Take back what was sent.
    pub(crate) fn take_back(&self, key: &str, upload: &str) -> Result<(), SinkError> {
        let path = self.sink.path(key)?;
        let upload: MultipartId = upload.to_owned();
        let (store, silence) = (&self.sink.bucket.store, self.sink.bucket.config.request_timeout);
        self.sink.try_for(key, "remove there", &self.cancel, async |_| {
            match failed(within(silence, store.abort_multipart(&path, &upload)).await?) {
                Err(Failure::Final(Told::Answer(answer))) if answer.status == 404 => Ok(()),
                other => other,
            }
        })
    }

    /// An address to which anybody may PUT the object `key` for so long.
    pub(crate) fn presigned_put(&self, key: &str, lifetime: Duration) -> Result<String, SinkError> {
        let path = self.sink.path(key)?;
        self.sink.try_for(key, "write there", &self.cancel, async |_| {
            let store = &self.sink.bucket.store;
            failed(store.signed_url(reqwest::Method::PUT, &path, lifetime).await).map(String::from)
        })
    }
}

//! Large objects into an S3 bucket: multipart uploads.
//!
//! Owns how parts are cut and sent side by side, and that an upload that is not finished is taken
//! back: no object, no parts. An object is created once by looking before the upload and again
//! before it is made visible. Sizes are bytes.

use super::client::Told;
use super::retry::{Failure, GaveUp, cancelled};
use super::s3::{failed, within};
use super::sink::{S3Sink, is_missing};
use bytes::Bytes;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, GetOptions, GetRange, MultipartUpload, ObjectStore as _, PutMultipartOptions,
};
use std::future::Future;
use std::time::Duration;
use tokio::task::JoinSet;
use transcode_core::Cancel;
use transcode_core::sink::{Created, ObjectKind, ObjectWriter, Sink as _, SinkError, StreamSink, Writing};

/// The smallest part that is sent, but for the last: S3 takes none below 5 MiB.
const PART: u64 = 8 << 20;

/// S3 takes 10,000 parts; some are left for objects that get larger than was thought.
const PARTS: u64 = 9_000;

/// Parts under way at once.
const AT_ONCE: usize = 4;

/// How long taking an upload back may last when somebody waits for the process to end.
const TAKING_BACK: Duration = Duration::from_secs(5);

/// How long parts under way may take to arrive before what was sent is taken back.
const ARRIVING: Duration = Duration::from_millis(500);

impl StreamSink for S3Sink {
    fn begin<'a>(
        &'a self,
        key: &str,
        kind: ObjectKind,
        about: u64,
        writing: Writing,
        cancel: &Cancel,
    ) -> Result<Box<dyn ObjectWriter + 'a>, SinkError> {
        let path = self.path(key)?;
        if cancel.is_cancelled() {
            return Err(SinkError::Cancelled);
        }
        // Whole mebibytes; all parts of one size, as some stores want it.
        let part = about.div_ceil(PARTS).max(PART).next_multiple_of(1 << 20);
        Ok(Box::new(Parts {
            sink: self,
            key: key.to_owned(),
            path,
            kind,
            writing,
            part: usize::try_from(part).unwrap_or(usize::MAX),
            total: 0,
            waiting: Vec::new(),
            upload: None,
            sent: JoinSet::new(),
            cancel: cancel.clone(),
        }))
    }

    fn read_at(
        &self,
        key: &str,
        offset: u64,
        buffer: &mut [u8],
        cancel: &Cancel,
    ) -> Result<Option<usize>, SinkError> {
        let path = self.path(key)?;
        let end = offset.saturating_add(buffer.len() as u64);
        let read = self.try_for(key, "read there", cancel, async |_| {
            let range = GetOptions { range: Some(GetRange::Bounded(offset..end)), ..GetOptions::default() };
            match self.get(&path, range).await {
                Ok(bytes) => Ok(Some(bytes)),
                Err(Failure::Final(Told::Answer(answer))) if answer.status == 416 => Ok(Some(Bytes::new())),
                Err(Failure::Final(Told::Answer(answer))) if is_missing(&answer) => Ok(None),
                Err(failure) => Err(failure),
            }
        })?;
        Ok(read.map(|bytes| {
            let count = bytes.len().min(buffer.len());
            buffer[..count].copy_from_slice(&bytes[..count]);
            count
        }))
    }
}

/// An object on its way.
struct Parts<'a> {
    sink: &'a S3Sink,
    key: String,
    path: Path,
    kind: ObjectKind,
    writing: Writing,
    /// Bytes a part.
    part: usize,
    /// Bytes written.
    total: u64,
    /// The next part, as far as it is there.
    waiting: Vec<u8>,
    /// Begun with the first whole part.
    upload: Option<Box<dyn MultipartUpload>>,
    sent: JoinSet<object_store::Result<()>>,
    cancel: Cancel,
}

impl Parts<'_> {
    /// Wait for `work`, until somebody asks to stop.
    fn wait<T>(&self, work: impl Future<Output = Result<T, Failure<Told>>>) -> Result<T, SinkError> {
        self.sink.runtime.handle().block_on(async {
            tokio::select! {
                biased;
                () = cancelled(&self.cancel) => Err(SinkError::Cancelled),
                done = work => done.map_err(|failure| self.lost(failure)),
            }
        })
    }

    fn lost(&self, failure: Failure<Told>) -> SinkError {
        let gave_up = match failure {
            Failure::Passing { reason, .. } => GaveUp::Unavailable(reason),
            Failure::Final(told) => GaveUp::Final(told),
        };
        self.sink.lost(gave_up, &self.sink.object(&self.key), "write there")
    }

    /// The longest that a request for so many bytes may take, all its tries together.
    fn patience(&self, bytes: usize) -> Duration {
        let config = &self.sink.bucket.config;
        config.retry_time + config.request_timeout + Duration::from_millis(bytes as u64 / 64)
    }

    /// Send a part; wait while too many are under way.
    fn send(&mut self, part: Vec<u8>) -> Result<(), SinkError> {
        if self.upload.is_none() {
            let attributes = Attributes::from_iter([
                (Attribute::ContentType, self.kind.content_type()),
                (Attribute::CacheControl, self.kind.cache_control()),
            ]);
            let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
            let begin = self.sink.bucket.uploads.put_multipart_opts(&self.path, options);
            let patience = self.patience(0);
            self.upload = Some(self.wait(async { failed(within(patience, begin).await?) })?);
        }
        self.settle(AT_ONCE - 1)?;
        let patience = self.patience(part.len());
        if let Some(upload) = &mut self.upload {
            let put = upload.put_part(Bytes::from(part).into());
            let put = async move {
                tokio::time::timeout(patience, put).await.unwrap_or_else(|_| {
                    let source = format!("no answer within {:.0} s", patience.as_secs_f64()).into();
                    Err(object_store::Error::Generic { store: "S3", source })
                })
            };
            self.sent.spawn_on(put, self.sink.runtime.handle());
        }
        Ok(())
    }

    /// Wait until at most so many parts are under way.
    fn settle(&mut self, most: usize) -> Result<(), SinkError> {
        while self.sent.len() > most {
            let mut sent = std::mem::take(&mut self.sent);
            let one = self.wait(async {
                match sent.join_next().await {
                    Some(Ok(done)) => failed(done),
                    Some(Err(broken)) => Err(Failure::passing(broken.to_string())),
                    None => Ok(()),
                }
            });
            self.sent = sent;
            one?;
        }
        Ok(())
    }

    /// Everything is there: make it visible, unless something else is.
    fn complete(&mut self) -> Result<Created, SinkError> {
        let bytes = std::mem::take(&mut self.waiting);
        if !bytes.is_empty() {
            self.send(bytes)?;
        }
        self.settle(0)?;
        if self.writing == Writing::Once && self.sink.read_at(&self.key, 0, &mut [0], &self.cancel)?.is_some()
        {
            return Ok(Created::Existed);
        }
        let Some(mut upload) = self.upload.take() else { return Ok(Created::Existed) };
        let patience = self.patience(0);
        let done = self.wait(async { failed(within(patience, upload.complete()).await?) });
        match done {
            Ok(_) => Ok(Created::New),
            // The answer may have been lost on its way. Nothing was there a moment ago.
            Err(_)
                if self.writing == Writing::Once
                    && self
                        .sink
                        .size_of(&self.key, &self.cancel)
                        .is_ok_and(|size| size == Some(self.total)) =>
            {
                Ok(Created::New)
            }
            Err(error) => {
                self.upload = Some(upload);
                Err(error)
            }
        }
    }

    /// Take back what was sent: parts that nobody finishes are paid for and not seen.
    fn take_back(&mut self) {
        let Some(mut upload) = self.upload.take() else { return };
        let mut sent = std::mem::take(&mut self.sent);
        let object = self.sink.object(&self.key);
        self.sink.runtime.handle().block_on(async {
            // A part that arrives after the end would stay, and a request that is given up may be at work
            // in the store still: what is nearly there is waited for.
            let done = async { while sent.join_next().await.is_some() {} };
            if tokio::time::timeout(ARRIVING, done).await.is_err() {
                sent.shutdown().await;
            }
            match tokio::time::timeout(TAKING_BACK, upload.abort()).await {
                Ok(Ok(())) => log::debug!("{object}: the upload is taken back"),
                Ok(Err(error)) => log::warn!(
                    "{object}: the upload cannot be taken back ({}); let the bucket remove unfinished ones",
                    super::client::innermost(&error)
                ),
                Err(_) => log::warn!(
                    "{object}: the store does not answer, so the upload is not taken back; let the bucket \
                     remove unfinished ones"
                ),
            }
        });
    }
}

impl ObjectWriter for Parts<'_> {
    fn write(&mut self, mut bytes: &[u8]) -> Result<(), SinkError> {
        if self.cancel.is_cancelled() {
            return Err(SinkError::Cancelled);
        }
        self.total += bytes.len() as u64;
        while !bytes.is_empty() {
            if self.waiting.capacity() == 0 {
                self.waiting.reserve_exact(self.part);
            }
            let (now, later) = bytes.split_at(bytes.len().min(self.part - self.waiting.len()));
            self.waiting.extend_from_slice(now);
            bytes = later;
            if self.waiting.len() == self.part {
                let part = std::mem::take(&mut self.waiting);
                self.send(part)?;
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Created, SinkError> {
        if self.upload.is_none() {
            // It fits into one request, which can be created once by the store itself.
            let bytes = std::mem::take(&mut self.waiting);
            return match self.writing {
                Writing::Once => self.sink.create(&self.key, self.kind, &bytes, &self.cancel),
                Writing::Replace => {
                    self.sink.replace(&self.key, self.kind, &bytes, &self.cancel)?;
                    Ok(Created::New)
                }
            };
        }
        self.complete()
    }
}

impl Drop for Parts<'_> {
    fn drop(&mut self) {
        self.take_back();
    }
}

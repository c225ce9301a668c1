//! The fence around a job's destination: who has lost the lease writes nothing any more.
//!
//! Owns the moment at which the right to write ends, by this machine's monotonic clock, and the sink that looks at
//! it before every write. A process that was stopped (SIGSTOP, a frozen machine) and goes on after its lease ran out
//! finds the fence before it finds anything else. What was on its way to the store at that moment arrives;
//! segments are created once, so that is no harm.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use transcode_core::Cancel;
use transcode_core::sink::{Created, ObjectKind, ObjectWriter, Sink, SinkError, StreamSink, Writing};

/// When the right to write ends.
#[derive(Debug)]
pub(super) struct Fence(Mutex<Instant>);

impl Fence {
    pub(super) fn new(deadline: Instant) -> Self {
        Self(Mutex::new(deadline))
    }

    /// The lease was renewed.
    pub(super) fn extend(&self, deadline: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = deadline;
    }

    pub(super) fn deadline(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self) -> Result<(), SinkError> {
        if Instant::now() < self.deadline() { Ok(()) } else { Err(SinkError::Cancelled) }
    }
}

/// A destination behind a fence.
pub(super) struct Fenced {
    inner: Arc<dyn StreamSink>,
    fence: Arc<Fence>,
}

impl Fenced {
    pub(super) fn new(inner: Arc<dyn StreamSink>, fence: Arc<Fence>) -> Self {
        Self { inner, fence }
    }
}

impl Sink for Fenced {
    fn create(
        &self,
        key: &str,
        kind: ObjectKind,
        bytes: &[u8],
        cancel: &Cancel,
    ) -> Result<Created, SinkError> {
        self.fence.check()?;
        self.inner.create(key, kind, bytes, cancel)
    }

    fn replace(&self, key: &str, kind: ObjectKind, bytes: &[u8], cancel: &Cancel) -> Result<(), SinkError> {
        self.fence.check()?;
        self.inner.replace(key, kind, bytes, cancel)
    }

    fn read(&self, key: &str, cancel: &Cancel) -> Result<Option<Vec<u8>>, SinkError> {
        self.inner.read(key, cancel)
    }

    fn size_of(&self, key: &str, cancel: &Cancel) -> Result<Option<u64>, SinkError> {
        self.inner.size_of(key, cancel)
    }

    fn list(&self, cancel: &Cancel) -> Result<Option<BTreeMap<String, u64>>, SinkError> {
        self.inner.list(cancel)
    }

    fn remove(&self, key: &str, cancel: &Cancel) -> Result<(), SinkError> {
        self.fence.check()?;
        self.inner.remove(key, cancel)
    }

    fn location(&self) -> String {
        self.inner.location()
    }
}

impl StreamSink for Fenced {
    fn begin<'a>(
        &'a self,
        key: &str,
        kind: ObjectKind,
        about: u64,
        writing: Writing,
        cancel: &Cancel,
    ) -> Result<Box<dyn ObjectWriter + 'a>, SinkError> {
        self.fence.check()?;
        let inner = self.inner.begin(key, kind, about, writing, cancel)?;
        Ok(Box::new(FencedWriter { inner, fence: &self.fence }))
    }

    fn read_at(
        &self,
        key: &str,
        offset: u64,
        buffer: &mut [u8],
        cancel: &Cancel,
    ) -> Result<Option<usize>, SinkError> {
        self.inner.read_at(key, offset, buffer, cancel)
    }
}

struct FencedWriter<'a> {
    inner: Box<dyn ObjectWriter + 'a>,
    fence: &'a Fence,
}

impl ObjectWriter for FencedWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        self.fence.check()?;
        self.inner.write(bytes)
    }

    fn finish(self: Box<Self>) -> Result<Created, SinkError> {
        self.fence.check()?;
        self.inner.finish()
    }
}

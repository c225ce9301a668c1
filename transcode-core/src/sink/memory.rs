//! A sink that keeps its objects in memory: for tests, and for embedders who want the bytes.
//!
//! Owns the objects; knows no disk and no bound on what it keeps.

use super::{Created, ObjectKind, ObjectWriter, Sink, SinkError, StreamSink, Writing, check_key};
use crate::cancel::Cancel;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One object of a [`MemorySink`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryObject {
    /// What it was stored as, last.
    pub kind: ObjectKind,
    /// Its bytes.
    pub bytes: Arc<[u8]>,
    /// How often it was stored: 1 for what is created once.
    pub writes: u32,
}

/// Objects in memory; clones share them.
///
/// ```
/// use transcode_core::sink::{Created, MemorySink, ObjectKind, Sink as _};
/// let (sink, cancel) = (MemorySink::new(), Default::default());
/// assert_eq!(sink.create("360p/00000.ts", ObjectKind::Segment, b"one", &cancel)?, Created::New);
/// assert_eq!(sink.create("360p/00000.ts", ObjectKind::Segment, b"two", &cancel)?, Created::Existed);
/// assert_eq!(&*sink.objects()["360p/00000.ts"].bytes, b"one");
/// # Ok::<(), transcode_core::sink::SinkError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct MemorySink {
    objects: Arc<Mutex<BTreeMap<String, MemoryObject>>>,
}

impl MemorySink {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// All objects as they are now, by key.
    pub fn objects(&self) -> BTreeMap<String, MemoryObject> {
        self.lock().clone()
    }

    /// The object under `key` as it is now.
    pub fn get(&self, key: &str) -> Option<MemoryObject> {
        self.lock().get(key).cloned()
    }

    /// The keys in order.
    pub fn keys(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, MemoryObject>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn allowed(key: &str, cancel: &Cancel) -> Result<(), SinkError> {
    check_key(key)?;
    if cancel.is_cancelled() { Err(SinkError::Cancelled) } else { Ok(()) }
}

impl Sink for MemorySink {
    fn create(
        &self,
        key: &str,
        kind: ObjectKind,
        bytes: &[u8],
        cancel: &Cancel,
    ) -> Result<Created, SinkError> {
        allowed(key, cancel)?;
        let mut objects = self.lock();
        if objects.contains_key(key) {
            return Ok(Created::Existed);
        }
        objects.insert(key.to_owned(), MemoryObject { kind, bytes: bytes.into(), writes: 1 });
        Ok(Created::New)
    }

    fn replace(&self, key: &str, kind: ObjectKind, bytes: &[u8], cancel: &Cancel) -> Result<(), SinkError> {
        allowed(key, cancel)?;
        let mut objects = self.lock();
        let writes = objects.get(key).map_or(0, |object| object.writes) + 1;
        objects.insert(key.to_owned(), MemoryObject { kind, bytes: bytes.into(), writes });
        Ok(())
    }

    fn read(&self, key: &str, cancel: &Cancel) -> Result<Option<Vec<u8>>, SinkError> {
        allowed(key, cancel)?;
        Ok(self.lock().get(key).map(|object| object.bytes.to_vec()))
    }

    fn size_of(&self, key: &str, cancel: &Cancel) -> Result<Option<u64>, SinkError> {
        allowed(key, cancel)?;
        Ok(self.lock().get(key).map(|object| object.bytes.len() as u64))
    }

    fn list(&self, cancel: &Cancel) -> Result<Option<BTreeMap<String, u64>>, SinkError> {
        if cancel.is_cancelled() {
            return Err(SinkError::Cancelled);
        }
        let sizes = |(key, object): (&String, &MemoryObject)| (key.clone(), object.bytes.len() as u64);
        Ok(Some(self.lock().iter().map(sizes).collect()))
    }

    fn remove(&self, key: &str, cancel: &Cancel) -> Result<(), SinkError> {
        allowed(key, cancel)?;
        self.lock().remove(key);
        Ok(())
    }

    fn location(&self) -> String {
        "memory".to_owned()
    }
}

impl StreamSink for MemorySink {
    fn begin<'a>(
        &'a self,
        key: &str,
        kind: ObjectKind,
        _: u64,
        writing: Writing,
        cancel: &Cancel,
    ) -> Result<Box<dyn ObjectWriter + 'a>, SinkError> {
        allowed(key, cancel)?;
        let (key, cancel) = (key.to_owned(), cancel.clone());
        Ok(Box::new(MemoryWriter { sink: self, key, kind, bytes: Vec::new(), writing, cancel }))
    }

    fn read_at(
        &self,
        key: &str,
        offset: u64,
        buffer: &mut [u8],
        cancel: &Cancel,
    ) -> Result<Option<usize>, SinkError> {
        allowed(key, cancel)?;
        Ok(self.get(key).map(|object| {
            let from = usize::try_from(offset).unwrap_or(usize::MAX).min(object.bytes.len());
            let there = &object.bytes[from..];
            let count = there.len().min(buffer.len());
            buffer[..count].copy_from_slice(&there[..count]);
            count
        }))
    }
}

/// An object that is written piece by piece.
struct MemoryWriter<'a> {
    sink: &'a MemorySink,
    key: String,
    kind: ObjectKind,
    bytes: Vec<u8>,
    writing: Writing,
    cancel: Cancel,
}

impl ObjectWriter for MemoryWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        allowed(&self.key, &self.cancel)?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Created, SinkError> {
        match self.writing {
            Writing::Once => self.sink.create(&self.key, self.kind, &self.bytes, &self.cancel),
            Writing::Replace => {
                self.sink.replace(&self.key, self.kind, &self.bytes, &self.cancel)?;
                Ok(Created::New)
            }
        }
    }
}

//! The store as the API uses it: what players read and what people upload.
//!
//! Owns which place a job's destination is, and how a directory or a bucket takes an object over several
//! requests: in parts of one size, of which each is durable before it is counted, and a shorter rest. All
//! calls block. Sizes and offsets are bytes.

use crate::store::{Incoming, Stores};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use transcode_core::sink::{ObjectKind, SinkError, StreamSink, check_key};
use transcode_core::{Cancel, Error};

/// Where uploads are remembered, in the store.
const MEMORY: &str = ".uploads";

/// Buckets that are kept open; a fleet writes into one or two.
const OPEN: usize = 32;

/// An upload that nobody has gone on with for so long is thrown away.
const FORGOTTEN: Duration = Duration::from_secs(3 * 24 * 3_600);

/// The store.
pub struct Objects {
    stores: Arc<Stores>,
    home: String,
    /// By bucket; the store itself under its own name.
    opened: Mutex<HashMap<String, Arc<dyn StreamSink>>>,
    incoming: Mutex<Option<Arc<Incoming>>>,
    /// Uploads that a request is writing to.
    busy: Arc<Mutex<HashSet<String>>>,
    cancel: Cancel,
}

/// An object that is read.
pub(super) struct Object {
    sink: Arc<dyn StreamSink>,
    key: String,
    pub(super) size: u64,
}

impl Object {
    /// Bytes from `offset` on, fewer than `length` only at the end.
    pub(super) fn read(&self, offset: u64, length: usize) -> Result<Bytes, SinkError> {
        let mut buffer = vec![0; length];
        let count = self.sink.read_at(&self.key, offset, &mut buffer, &Cancel::new())?;
        buffer.truncate(count.unwrap_or_default());
        Ok(buffer.into())
    }

    /// All of it, as it is now.
    pub(super) fn whole(&self) -> Result<Option<Vec<u8>>, SinkError> {
        self.sink.read(&self.key, &Cancel::new())
    }
}

/// What is remembered of an upload between requests.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Upload {
    /// Its name.
    pub(super) id: String,
    /// The object that it becomes.
    pub(super) key: String,
    /// How large that will be; `None` until the end is known.
    pub(super) size: Option<u64>,
    /// Size of a part.
    part: u64,
    /// Tags of the parts that are stored.
    tags: Vec<String>,
    /// Bytes behind the last part.
    rest: u64,
    /// The store's name for it.
    multipart: Option<String>,
    /// Whether the object is there.
    pub(super) complete: bool,
}

impl Upload {
    /// Bytes that are stored for good.
    pub(super) fn offset(&self) -> u64 {
        self.tags.len() as u64 * self.part + self.rest
    }

    fn memory(&self, kind: &str) -> String {
        format!("{MEMORY}/{}.{kind}", self.id)
    }
}

/// An upload in the hands of one request.
pub(super) struct Writing {
    place: Place,
    pub(super) upload: Upload,
    _busy: Busy,
}

struct Busy(Arc<Mutex<HashSet<String>>>, String);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}

enum Place {
    Directory(PathBuf, Arc<dyn StreamSink>),
    Bucket(Arc<Incoming>),
}

/// Why an upload cannot be opened.
#[derive(Debug)]
pub(super) enum NotOpen {
    Unknown,
    Busy,
    Failed(String),
}

impl<E: std::fmt::Display> From<E> for NotOpen {
    fn from(error: E) -> Self {
        Self::Failed(error.to_string())
    }
}

impl std::fmt::Debug for Objects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Objects").field("home", &self.home).finish_non_exhaustive()
    }
}

impl Objects {
    /// The store at `home`: a directory, or `s3://bucket/prefix`. Nothing is asked yet.
    pub fn new(stores: Arc<Stores>, home: &str) -> Self {
        Self {
            stores,
            home: home.trim_end_matches('/').to_owned(),
            opened: Mutex::default(),
            incoming: Mutex::default(),
            busy: Arc::default(),
            cancel: Cancel::new(),
        }
    }

    /// Whether it can be reached.
    pub(super) fn check(&self) -> Result<(), Error> {
        match self.directory() {
            Some(_) => self.stores.open_job(&self.home, &self.cancel).map(drop),
            None => self.stores.open_stream_sink(&self.home, &self.cancel).map(drop),
        }
    }

    fn directory(&self) -> Option<PathBuf> {
        match self.home.split_once("://") {
            None => Some(PathBuf::from(&self.home)),
            Some(("file", _)) => url::Url::parse(&self.home).ok()?.to_file_path().ok(),
            Some(_) => None,
        }
    }

    /// The object `key` below a job's `destination`; `None` where there is none.
    pub(super) fn find(&self, destination: &str, key: &str) -> Result<Option<Object>, Error> {
        let (place, prefix) = match destination.strip_prefix("s3://") {
            Some(rest) => {
                let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                (format!("s3://{bucket}"), prefix)
            }
            None => (self.home.clone(), destination),
        };
        let prefix = prefix.trim_matches('/');
        let key = if prefix.is_empty() { key.to_owned() } else { format!("{prefix}/{key}") };
        if check_key(&key).is_err() {
            return Ok(None);
        }
        let sink = self.open(&place)?;
        Ok(sink.size_of(&key, &self.cancel)?.map(|size| Object { sink, key, size }))
    }

    fn open(&self, place: &str) -> Result<Arc<dyn StreamSink>, Error> {
        let known = self.opened.lock().unwrap_or_else(PoisonError::into_inner).get(place).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let sink = self.stores.open_stream_sink(place, &self.cancel)?;
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if opened.len() >= OPEN {
            opened.clear();
        }
        opened.insert(place.to_owned(), Arc::clone(&sink));
        Ok(sink)
    }

    fn place(&self) -> Result<Place, Error> {
        if let Some(directory) = self.directory() {
            return Ok(Place::Directory(directory, self.open(&self.home)?));
        }
        let mut incoming = self.incoming.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &*incoming {
            return Ok(Place::Bucket(Arc::clone(known)));
        }
        let opened = self.stores.open_incoming(&self.home, &self.cancel)?.ok_or_else(|| Error::Config {
            what: self.home.clone(),
            reason: "this store takes no uploads; use a directory or s3://bucket/prefix".to_owned(),
        })?;
        Ok(Place::Bucket(Arc::clone(incoming.insert(Arc::new(opened)))))
    }

    /// An address to which anybody may PUT `key` for so long; `None` where this store has no such thing.
    pub(super) fn presigned_put(&self, key: &str, lifetime: Duration) -> Result<Option<String>, Error> {
        match self.place()? {
            Place::Directory(..) => Ok(None),
            Place::Bucket(bucket) => Ok(Some(bucket.presigned_put(key, lifetime)?)),
        }
    }

    /// Begin an upload that becomes `key`.
    pub(super) fn begin(&self, id: &str, key: &str, size: Option<u64>) -> Result<Writing, Error> {
        check_key(key)?;
        let place = self.place()?;
        let multipart = match &place {
            Place::Directory(directory, _) => {
                forget(&directory.join(MEMORY));
                None
            }
            Place::Bucket(bucket) => Some(bucket.begin(key)?),
        };
        let upload = Upload {
            id: id.to_owned(),
            key: key.to_owned(),
            size,
            part: part_size(size),
            tags: Vec::new(),
            rest: 0,
            multipart,
            complete: false,
        };
        let writing = Writing { place, upload, _busy: self.seize(id).ok_or_else(|| taken(id))? };
        writing.remember()?;
        Ok(writing)
    }

    /// What is known of an upload.
    pub(super) fn look(&self, id: &str) -> Result<Upload, NotOpen> {
        if !is_id(id) {
            return Err(NotOpen::Unknown);
        }
        let place = self.place()?;
        let read = place.sink().read(&format!("{MEMORY}/{id}.json"), &self.cancel)?;
        Ok(serde_json::from_slice(&read.ok_or(NotOpen::Unknown)?)?)
    }

    /// Go on with an upload; nobody else can meanwhile.
    pub(super) fn resume(&self, id: &str) -> Result<Writing, NotOpen> {
        let busy = self.seize(id).ok_or(NotOpen::Busy)?;
        let upload = self.look(id)?;
        Ok(Writing { place: self.place()?, upload, _busy: busy })
    }

    fn seize(&self, id: &str) -> Option<Busy> {
        let free = self.busy.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned());
        free.then(|| Busy(Arc::clone(&self.busy), id.to_owned()))
    }
}

fn taken(id: &str) -> Error {
    Error::Config { what: format!("upload {id}"), reason: "another request is writing to it".to_owned() }
}

/// Names of uploads are ours: 32 hexadecimal digits.
pub(super) fn is_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// 8 MiB; more where the object would have more than 9,000 parts (S3 takes 10,000), whole mebibytes.
fn part_size(size: Option<u64>) -> u64 {
    match size {
        Some(size) => size.div_ceil(9_000).max(8 << 20).next_multiple_of(1 << 20),
        None => 16 << 20,
    }
}

impl Place {
    fn sink(&self) -> &dyn StreamSink {
        match self {
            Self::Directory(_, sink) => &**sink,
            Self::Bucket(bucket) => bucket.sink(),
        }
    }
}

impl Writing {
    /// Size of a part: all but the last have it.
    pub(super) fn part_size(&self) -> usize {
        usize::try_from(self.upload.part).unwrap_or(usize::MAX)
    }

    /// What stands behind the last part; it comes again, in front of what follows.
    pub(super) fn take_rest(&mut self) -> Result<Vec<u8>, Error> {
        let rest = usize::try_from(std::mem::take(&mut self.upload.rest)).unwrap_or_default();
        if rest == 0 {
            return Ok(Vec::new());
        }
        let mut bytes = vec![0; rest];
        match &self.place {
            Place::Directory(..) => {
                self.file()?.read_exact_at(&mut bytes, self.upload.offset()).map_err(disk)?
            }
            Place::Bucket(bucket) => {
                let found =
                    bucket.sink().read(&self.upload.memory("rest"), &Cancel::new())?.unwrap_or_default();
                if found.len() < rest {
                    return Err(disk("the end of what was uploaded is gone"));
                }
                bytes.copy_from_slice(&found[..rest]);
            }
        }
        Ok(bytes)
    }

    /// Store a part, which has the size of one unless it is the last.
    pub(super) fn part(&mut self, part: Bytes) -> Result<(), Error> {
        let tag = match &self.place {
            Place::Directory(..) => {
                let file = self.file()?;
                file.write_all_at(&part, self.upload.offset())
                    .and_then(|()| file.sync_data())
                    .map_err(disk)?;
                String::new()
            }
            Place::Bucket(bucket) => {
                let multipart = self.upload.multipart.as_deref().unwrap_or_default();
                bucket.part(&self.upload.key, multipart, self.upload.tags.len(), part)?
            }
        };
        self.upload.tags.push(tag);
        self.remember()
    }

    /// Store what is too short for a part: the request has ended, and the upload has not.
    pub(super) fn rest(&mut self, rest: &[u8]) -> Result<(), Error> {
        match &self.place {
            Place::Directory(..) => {
                let file = self.file()?;
                file.write_all_at(rest, self.upload.offset())
                    .and_then(|()| file.sync_data())
                    .map_err(disk)?;
            }
            Place::Bucket(bucket) if !rest.is_empty() => {
                let key = self.upload.memory("rest");
                bucket.sink().replace(&key, ObjectKind::Piece, rest, &Cancel::new())?;
            }
            Place::Bucket(_) => {}
        }
        self.upload.rest = rest.len() as u64;
        self.remember()
    }

    /// Everything is there, with `last` behind the parts: make the object visible.
    pub(super) fn finish(&mut self, last: Vec<u8>) -> Result<(), Error> {
        let total = self.upload.tags.len() as u64 * self.upload.part + last.len() as u64;
        match &self.place {
            Place::Directory(directory, _) => {
                let file = self.file()?;
                let stored = file
                    .write_all_at(&last, total - last.len() as u64)
                    .and_then(|()| file.set_len(total))
                    .and_then(|()| file.sync_all());
                stored.map_err(disk)?;
                let path = directory.join(&self.upload.key);
                publish(&directory.join(self.upload.memory("part")), &path).map_err(disk)?;
            }
            // An object without bytes, or of one short piece: S3 takes no upload without a part.
            Place::Bucket(bucket) => {
                let multipart = self.upload.multipart.clone().unwrap_or_default();
                let mut tags = self.upload.tags.clone();
                if !last.is_empty() || tags.is_empty() {
                    tags.push(bucket.part(&self.upload.key, &multipart, tags.len(), last.into())?);
                }
                bucket.complete(&self.upload.key, &multipart, &tags)?;
            }
        }
        self.upload.size = Some(total);
        self.upload.complete = true;
        self.remember()?;
        if let Place::Bucket(bucket) = &self.place {
            // Keys that may not delete leave a few megabytes behind.
            let _left = bucket.sink().remove(&self.upload.memory("rest"), &Cancel::new());
        }
        Ok(())
    }

    /// Nobody wants it any more.
    pub(super) fn abandon(self) -> Result<(), Error> {
        if !self.upload.complete {
            match &self.place {
                Place::Directory(directory, _) => {
                    let part = directory.join(self.upload.memory("part"));
                    match fs::remove_file(part) {
                        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(disk(error)),
                        _ => {}
                    }
                }
                Place::Bucket(bucket) => {
                    if let Some(multipart) = &self.upload.multipart {
                        bucket.take_back(&self.upload.key, multipart)?;
                    }
                    bucket.sink().remove(&self.upload.memory("rest"), &Cancel::new())?;
                }
            }
        }
        Ok(self.place.sink().remove(&self.upload.memory("json"), &Cancel::new())?)
    }

    fn remember(&self) -> Result<(), Error> {
        let text = serde_json::to_vec(&self.upload).map_err(disk)?;
        let key = self.upload.memory("json");
        Ok(self.place.sink().replace(&key, ObjectKind::Document, &text, &Cancel::new())?)
    }

    fn file(&self) -> Result<File, Error> {
        let Place::Directory(directory, _) = &self.place else { return Err(disk("no directory")) };
        let path = directory.join(self.upload.memory("part"));
        File::options().create(true).truncate(false).read(true).write(true).open(path).map_err(disk)
    }
}

/// Let the whole file appear under its name, for good.
fn publish(from: &Path, to: &Path) -> io::Result<()> {
    let parent = to.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent)?;
    fs::rename(from, to)?;
    File::open(parent)?.sync_all()
}

/// Throw away what nobody has gone on with.
fn forget(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let old = entry
            .metadata()
            .and_then(|about| about.modified())
            .is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age > FORGOTTEN));
        if old {
            if let Err(error) = fs::remove_file(entry.path()) {
                log::warn!("{} cannot be removed: {error}", entry.path().display());
            }
        }
    }
}

fn disk(error: impl std::fmt::Display) -> Error {
    Error::Sink(SinkError::Refused { location: "the upload".to_owned(), reason: error.to_string() })
}

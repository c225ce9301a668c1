//! A sink that is a directory.
//!
//! Owns the atomic ways into it: an object is written under a temporary name in the same directory,
//! made durable (`fsync`), and then linked or renamed into place, so that no reader ever sees half of
//! one. Temporary names start with `.tmp-`; one that a killed process left behind is never read and
//! may be deleted at any time. Knows no content types: who serves the directory decides those.

use super::{Created, ObjectKind, ObjectWriter, Sink, SinkError, StreamSink, Writing, check_key};
use crate::cancel::Cancel;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Bytes written between two looks at the cancellation handle.
const STEP: usize = 1 << 20;

/// The start of every temporary name.
const TEMPORARY: &str = ".tmp-";

/// Objects as files under one directory.
#[derive(Debug)]
pub struct DirSink {
    root: PathBuf,
    location: String,
    /// Set once this file system refused a hard link; then a name is looked up before it is taken.
    no_links: AtomicBool,
}

impl DirSink {
    /// Use the directory at `path`; it and its parents are made where they are missing. A small file
    /// is written and removed, so that a job does not find out later that it may not write.
    ///
    /// # Errors
    /// [`SinkError::Refused`]: not a directory, not writable, or the disk is full.
    ///
    /// ```
    /// use transcode_core::sink::{DirSink, ObjectKind, Sink as _};
    /// let dir = std::env::temp_dir().join(format!("ladder-{}", std::process::id()));
    /// let (sink, cancel) = (DirSink::create(&dir)?, Default::default());
    /// sink.create("360p/00000.ts", ObjectKind::Segment, b"bytes", &cancel)?;
    /// assert_eq!(sink.size_of("360p/00000.ts", &cancel)?, Some(5));
    /// # std::fs::remove_dir_all(dir).ok();
    /// # Ok::<(), transcode_core::sink::SinkError>(())
    /// ```
    pub fn create(path: impl AsRef<Path>) -> Result<Self, SinkError> {
        let sink = Self::at(path.as_ref());
        sink.check().map_err(|error| refusal(&sink.location, &error))?;
        Ok(sink)
    }

    /// Use the directory at `path` as it is: for reading what is there. It is neither made nor
    /// probed; who may not write is told with the first object.
    ///
    /// # Errors
    /// [`SinkError::Refused`] where there is no such directory.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, SinkError> {
        let sink = Self::at(path.as_ref());
        match fs::metadata(&sink.root) {
            Ok(found) if found.is_dir() => Ok(sink),
            Ok(_) => Err(refusal(&sink.location, &io::ErrorKind::NotADirectory.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(SinkError::Refused {
                location: sink.location,
                reason: "there is no such directory".to_owned(),
            }),
            Err(error) => Err(refusal(&sink.location, &error)),
        }
    }

    fn at(path: &Path) -> Self {
        let root = path.to_path_buf();
        let mut location = root.display().to_string();
        if !location.ends_with('/') {
            location.push('/');
        }
        Self { root, location, no_links: AtomicBool::new(false) }
    }

    fn check(&self) -> io::Result<()> {
        fs::create_dir_all(&self.root)?;
        let mut probe = Temporary::create(&self.root)?;
        probe.file.write_all(b"may this be written?\n")
    }

    fn path(&self, key: &str) -> Result<PathBuf, SinkError> {
        check_key(key)?;
        if key.split('/').any(|part| part.starts_with(TEMPORARY)) {
            return Err(SinkError::Refused {
                location: format!("{}{key}", self.location),
                reason: format!("names that start with {TEMPORARY} are for files being written"),
            });
        }
        Ok(self.root.join(key))
    }

    /// A temporary file beside `path` that holds `bytes`, durable.
    fn write(&self, path: &Path, bytes: &[u8], cancel: &Cancel) -> io::Result<Temporary> {
        let mut temporary = self.temporary(path)?;
        for step in bytes.chunks(STEP) {
            stop(cancel)?;
            temporary.file.write_all(step)?;
        }
        temporary.file.sync_data()?;
        stop(cancel)?;
        Ok(temporary)
    }

    /// An empty temporary file beside `path`.
    fn temporary(&self, path: &Path) -> io::Result<Temporary> {
        let parent = path.parent().unwrap_or(&self.root);
        match Temporary::create(parent) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(parent)?;
                if let Some(above) = parent.parent() {
                    sync(above)?;
                }
                Temporary::create(parent)
            }
            other => other,
        }
    }

    fn create_once(&self, path: &Path, bytes: &[u8], cancel: &Cancel) -> io::Result<Created> {
        if taken(path)? {
            return Ok(Created::Existed);
        }
        let temporary = self.write(path, bytes, cancel)?;
        self.place(temporary, path)
    }

    /// Give a file that is whole and durable its name, unless the name is taken.
    fn place(&self, temporary: Temporary, path: &Path) -> io::Result<Created> {
        if !self.no_links.load(Ordering::Relaxed) {
            match fs::hard_link(&temporary.path, path) {
                Ok(()) => {
                    sync(path.parent().unwrap_or(&self.root))?;
                    return Ok(Created::New);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(Created::Existed),
                // FAT, some network and FUSE file systems.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported
                    ) =>
                {
                    if !self.no_links.swap(true, Ordering::Relaxed) {
                        log::warn!(
                            "{}: no hard links here ({error}); two jobs that write the same segment at the \
                             same moment will both believe that it was theirs",
                            self.location
                        );
                    }
                }
                Err(error) => return Err(error),
            }
        }
        if taken(path)? {
            return Ok(Created::Existed);
        }
        temporary.rename(path)?;
        sync(path.parent().unwrap_or(&self.root))?;
        Ok(Created::New)
    }

    fn failed(&self, key: &str, error: &io::Error) -> SinkError {
        if error.kind() == io::ErrorKind::Interrupted {
            return SinkError::Cancelled;
        }
        refusal(&format!("{}{key}", self.location), error)
    }
}

/// Files below `directory`, by their path from `root`; those that are being written are left out.
fn list_into(
    found: &mut BTreeMap<String, u64>,
    directory: &Path,
    folder: &str,
    cancel: &Cancel,
) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        stop(cancel)?;
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| !name.starts_with(TEMPORARY)) else { continue };
        let key = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
        // One that somebody removes meanwhile is not there.
        let Some(metadata) = present(entry.metadata())? else { continue };
        if metadata.is_dir() {
            list_into(found, &entry.path(), &key, cancel)?;
        } else {
            found.insert(key, metadata.len());
        }
    }
    Ok(())
}

impl Sink for DirSink {
    fn create(&self, key: &str, _: ObjectKind, bytes: &[u8], cancel: &Cancel) -> Result<Created, SinkError> {
        let path = self.path(key)?;
        stop(cancel)
            .and_then(|()| self.create_once(&path, bytes, cancel))
            .map_err(|error| self.failed(key, &error))
    }

    fn replace(&self, key: &str, _: ObjectKind, bytes: &[u8], cancel: &Cancel) -> Result<(), SinkError> {
        let path = self.path(key)?;
        stop(cancel)
            .and_then(|()| self.write(&path, bytes, cancel)?.rename(&path))
            .and_then(|()| sync(path.parent().unwrap_or(&self.root)))
            .map_err(|error| self.failed(key, &error))
    }

    fn read(&self, key: &str, cancel: &Cancel) -> Result<Option<Vec<u8>>, SinkError> {
        let path = self.path(key)?;
        present(stop(cancel).and_then(|()| fs::read(path))).map_err(|error| self.failed(key, &error))
    }

    fn size_of(&self, key: &str, cancel: &Cancel) -> Result<Option<u64>, SinkError> {
        let path = self.path(key)?;
        let found = present(stop(cancel).and_then(|()| fs::metadata(path)));
        let found = found.map_err(|error| self.failed(key, &error))?;
        Ok(found.filter(fs::Metadata::is_file).map(|file| file.len()))
    }

    fn list(&self, cancel: &Cancel) -> Result<Option<BTreeMap<String, u64>>, SinkError> {
        let mut found = BTreeMap::new();
        list_into(&mut found, &self.root, "", cancel).map_err(|error| self.failed("", &error))?;
        Ok(Some(found))
    }

    fn remove(&self, key: &str, cancel: &Cancel) -> Result<(), SinkError> {
        let path = self.path(key)?;
        let gone = present(stop(cancel).and_then(|()| fs::remove_file(path)));
        gone.map(drop).map_err(|error| self.failed(key, &error))
    }

    fn location(&self) -> String {
        self.location.clone()
    }
}

impl StreamSink for DirSink {
    fn begin<'a>(
        &'a self,
        key: &str,
        _: ObjectKind,
        _: u64,
        writing: Writing,
        cancel: &Cancel,
    ) -> Result<Box<dyn ObjectWriter + 'a>, SinkError> {
        let path = self.path(key)?;
        let temporary = stop(cancel).and_then(|()| self.temporary(&path));
        let temporary = temporary.map_err(|error| self.failed(key, &error))?;
        let (key, cancel) = (key.to_owned(), cancel.clone());
        Ok(Box::new(DirWriter { sink: self, key, path, temporary, writing, cancel }))
    }

    fn read_at(
        &self,
        key: &str,
        offset: u64,
        buffer: &mut [u8],
        cancel: &Cancel,
    ) -> Result<Option<usize>, SinkError> {
        let path = self.path(key)?;
        let read = || {
            stop(cancel)?;
            let file = File::open(path)?;
            let mut done = 0;
            while done < buffer.len() {
                match file.read_at(&mut buffer[done..], offset.saturating_add(done as u64)) {
                    Ok(0) => break,
                    Ok(more) => done += more,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(done)
        };
        present(read()).map_err(|error| self.failed(key, &error))
    }
}

/// A file that is written piece by piece.
struct DirWriter<'a> {
    sink: &'a DirSink,
    key: String,
    path: PathBuf,
    temporary: Temporary,
    writing: Writing,
    cancel: Cancel,
}

impl ObjectWriter for DirWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        for step in bytes.chunks(STEP) {
            stop(&self.cancel)
                .and_then(|()| self.temporary.file.write_all(step))
                .map_err(|error| self.sink.failed(&self.key, &error))?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Created, SinkError> {
        let Self { sink, key, path, temporary, writing, cancel } = *self;
        let done = || {
            stop(&cancel)?;
            temporary.file.sync_data()?;
            stop(&cancel)?;
            if writing == Writing::Once {
                return sink.place(temporary, &path);
            }
            temporary.rename(&path)?;
            sync(path.parent().unwrap_or(&sink.root))?;
            Ok(Created::New)
        };
        done().map_err(|error| sink.failed(&key, &error))
    }
}

/// A file under a temporary name; removed when dropped.
struct Temporary {
    file: File,
    path: PathBuf,
}

impl Temporary {
    fn create(directory: &Path) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            // The process and a counter; a stale file of a process with the same number is stepped over.
            let next = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = directory.join(format!("{TEMPORARY}{}-{next}", std::process::id()));
            match File::options().write(true).create_new(true).open(&path) {
                Ok(file) => return Ok(Self { file, path }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn rename(self, path: &Path) -> io::Result<()> {
        // Dropped after: its name is gone by then, and removing what is gone is no error here.
        fs::rename(&self.path, path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _gone = fs::remove_file(&self.path);
    }
}

/// `Interrupted` once somebody asked to stop; no system call used here ends with it otherwise.
fn stop(cancel: &Cancel) -> io::Result<()> {
    if cancel.is_cancelled() { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
}

/// Make a new name durable. Where a file system cannot sync a directory, its names are its own affair.
fn sync(directory: &Path) -> io::Result<()> {
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    match File::open(directory)?.sync_all() {
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {
            Ok(())
        }
        other => other,
    }
}

fn taken(path: &Path) -> io::Result<bool> {
    present(fs::symlink_metadata(path)).map(|found| found.is_some())
}

fn present<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn refusal(location: &str, error: &io::Error) -> SinkError {
    use io::ErrorKind as Kind;
    let what_to_do = match error.kind() {
        Kind::PermissionDenied => {
            "this user may not write here; change its permissions or choose another place"
        }
        Kind::ReadOnlyFilesystem => "this file system is mounted read-only; choose another place",
        Kind::StorageFull | Kind::QuotaExceeded => "the disk or the quota is full; make room and run again",
        Kind::FileTooLarge => "the file is larger than this system allows; raise the limit",
        Kind::NotADirectory | Kind::AlreadyExists => {
            "there is a file where a directory is needed; choose another place"
        }
        Kind::IsADirectory | Kind::DirectoryNotEmpty => {
            "there is a directory where a file is needed; choose another place"
        }
        Kind::InvalidInput | Kind::InvalidFilename => "this name is not possible here; choose another place",
        _ => "look at the disk or the network mount, then run again",
    };
    let reason = format!("{error}: {what_to_do}");
    let location = location.to_owned();
    match error.kind() {
        Kind::PermissionDenied
        | Kind::ReadOnlyFilesystem
        | Kind::StorageFull
        | Kind::QuotaExceeded
        | Kind::FileTooLarge
        | Kind::NotADirectory
        | Kind::AlreadyExists
        | Kind::IsADirectory
        | Kind::DirectoryNotEmpty
        | Kind::InvalidInput
        | Kind::InvalidFilename => SinkError::Refused { location, reason },
        _ => SinkError::Unavailable { location, reason },
    }
}

//! A source that is a file of this machine.
//!
//! Owns opening, what is refused, and positioned reads (`pread`, so that threads do not share a file
//! position). Knows no cache: the system keeps pages. Offsets and sizes are bytes.

use super::{Source, SourceError};
use crate::cancel::Cancel;
use crate::media::SourceIdentity;
use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::Path;
use std::time::UNIX_EPOCH;

/// A regular file, read where it lies.
#[derive(Debug)]
pub struct FileSource {
    file: File,
    identity: SourceIdentity,
}

impl FileSource {
    /// Open the file at `path`. Its version is the modification time, in seconds and nanoseconds
    /// since 1970 (`1732184400.250000000`).
    ///
    /// # Errors
    /// [`SourceError::Unreadable`]: there is no such file, it may not be read, or it is not a regular
    /// file (a pipe cannot be read twice, and a demuxer has to).
    ///
    /// ```
    /// use transcode_core::source::{FileSource, Source as _};
    /// let source = FileSource::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))?;
    /// let mut start = [0; 9];
    /// assert_eq!(source.read_at(0, &mut start, &Default::default())?, 9);
    /// assert_eq!(&start, b"[package]");
    /// assert!(FileSource::open("no/such/file.mp4").is_err());
    /// # Ok::<(), transcode_core::source::SourceError>(())
    /// ```
    pub fn open(path: impl AsRef<Path>) -> Result<Self, SourceError> {
        let path = path.as_ref();
        let refused = |reason: &str| SourceError::Unreadable {
            uri: path.display().to_string(),
            reason: reason.to_owned(),
        };
        // Asked before opening: to open a pipe is to wait for whoever writes it.
        let found = std::fs::metadata(path).map_err(|error| refused(&why_not(&error)))?;
        let kind = found.file_type();
        let other = if kind.is_dir() {
            Some("this is a directory; give the video file in it")
        } else if kind.is_fifo() {
            Some("this is a named pipe; a video is read at many places, so save it as a file first")
        } else if kind.is_socket() {
            Some("this is a socket; give a regular file")
        } else if kind.is_char_device() || kind.is_block_device() {
            Some("this is a device; give a regular file")
        } else {
            None
        };
        if let Some(reason) = other {
            return Err(refused(reason));
        }
        let file = File::open(path).map_err(|error| refused(&why_not(&error)))?;
        let opened = file.metadata().map_err(|error| refused(&why_not(&error)))?;
        if !opened.is_file() {
            return Err(refused("this is not a regular file any more"));
        }
        let version = opened
            .modified()
            .ok()
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
            .map(|time| format!("{}.{:09}", time.as_secs(), time.subsec_nanos()));
        let absolute = std::path::absolute(path).map_err(|error| refused(&why_not(&error)))?;
        let identity = SourceIdentity { uri: file_uri(&absolute), size: opened.len(), version };
        Ok(Self { file, identity })
    }
}

impl Source for FileSource {
    fn identity(&self) -> SourceIdentity {
        self.identity.clone()
    }

    fn size(&self) -> u64 {
        self.identity.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8], cancel: &Cancel) -> Result<usize, SourceError> {
        let left = usize::try_from(self.identity.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let mut done = 0;
        while done < wanted {
            if cancel.is_cancelled() {
                return Err(SourceError::Cancelled);
            }
            let at = offset + done as u64;
            match self.file.read_at(&mut buffer[done..wanted], at) {
                Ok(0) => {
                    return Err(SourceError::Changed {
                        uri: self.identity.uri.clone(),
                        reason: format!(
                            "it ends at byte {at} now and had {} bytes when it was opened; \
                             wait until it is written and start again",
                            self.identity.size
                        ),
                    });
                }
                Ok(more) => done += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(SourceError::Unavailable {
                        uri: self.identity.uri.clone(),
                        offset: at,
                        reason: format!("the system answers: {error}; look at the disk or the network mount"),
                    });
                }
            }
        }
        Ok(done)
    }
}

fn why_not(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file; look at the path".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "this user may not read it; change its permissions or run as somebody who may".to_owned()
        }
        io::ErrorKind::NotADirectory => "a part of the path is a file, not a directory".to_owned(),
        _ => format!("it cannot be opened: {error}"),
    }
}

/// `file:///…` with every byte outside RFC 3986's unreserved set escaped, slashes kept.
fn file_uri(path: &Path) -> String {
    let mut uri = String::from("file://");
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                uri.push(char::from(byte));
            }
            other => drop(write!(uri, "%{other:02X}")),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn reason(path: &Path) -> String {
        match FileSource::open(path) {
            Err(SourceError::Unreadable { uri, reason }) => {
                assert_eq!(uri, path.display().to_string());
                reason
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_regular_files_are_let_in_and_a_pipe_does_not_hang() {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(reason(dir.path()).contains("directory"));
        assert!(reason(&dir.path().join("none.mp4")).contains("no such file"));
        let pipe = dir.path().join("pipe.mp4");
        assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
        assert!(reason(&pipe).contains("named pipe"));
        assert!(reason(Path::new("/dev/zero")).contains("device"));
        assert!(reason(&dir.path().join("a\0b")).contains("cannot be opened"));
    }

    #[test]
    fn a_changed_file_has_another_version_and_a_strange_name_is_escaped() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("ü 1%.mp4");
        std::fs::write(&path, b"one").expect("written");
        let first = FileSource::open(&path).expect("open").identity();
        assert!(first.uri.starts_with("file:///") && first.uri.ends_with("/%C3%BC%201%25.mp4"), "{first:?}");
        let file = File::options().write(true).open(&path).expect("open");
        file.set_modified(UNIX_EPOCH + std::time::Duration::from_nanos(1_500_000_000)).expect("set");
        let second = FileSource::open(&path).expect("open").identity();
        assert_eq!(second.version.as_deref(), Some("1.500000000"));
        assert_ne!(first, second);
    }

    #[test]
    fn a_file_that_shrank_is_told_and_never_padded() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a");
        std::fs::write(&path, vec![7; 1000]).expect("written");
        let source = FileSource::open(&path).expect("open");
        File::options().write(true).open(&path).expect("open").set_len(400).expect("cut");
        let mut buffer = [0; 1000];
        let error = source.read_at(0, &mut buffer, &Cancel::new()).expect_err("short");
        assert!(matches!(error, SourceError::Changed { .. }), "{error}");
        assert!(error.to_string().contains("byte 400"), "{error}");
        assert_eq!(source.read_at(1000, &mut buffer, &Cancel::new()).expect("the end"), 0);
    }
}

//! Where the output goes: one trait for segments, playlists, images and documents.
//!
//! Owns [`Sink`], its addition for large objects ([`StreamSink`]), its errors, the content types and cache rules of each kind of object, and two
//! implementations: a directory ([`DirSink`]) and memory ([`MemorySink`]). Knows no network: S3
//! lives in the service. Keys are relative to the job's destination: `720p/00003.ts`.

mod dir;
mod memory;
mod stream;

pub use dir::DirSink;
pub use memory::{MemoryObject, MemorySink};
pub use stream::{ObjectWriter, StreamSink, Writing};

use crate::cancel::Cancel;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What an object is; decides its content type and how long caches may keep it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ObjectKind {
    /// A media segment: made once, never changed.
    Segment,
    /// A playlist that still grows.
    LivePlaylist,
    /// A playlist that is finished.
    FinalPlaylist,
    /// `thumbnail.jpg`.
    Image,
    /// An MP4 packaged from segments.
    Movie,
    /// A piece of the source, in Matroska.
    Piece,
    /// `plan.json`, `report.json`.
    Document,
}

impl ObjectKind {
    /// The `Content-Type` to store and serve it under.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Segment => "video/mp2t",
            Self::LivePlaylist | Self::FinalPlaylist => "application/x-mpegURL",
            Self::Image => "image/jpeg",
            Self::Movie => "video/mp4",
            Self::Piece => "video/x-matroska",
            Self::Document => "application/json",
        }
    }

    /// The `Cache-Control` to store and serve it under. A growing playlist must be asked for again
    /// (RFC 8216 §6.3.4: clients reload it every target duration); a segment never changes.
    pub const fn cache_control(self) -> &'static str {
        match self {
            Self::Segment => "public, max-age=31536000, immutable",
            Self::LivePlaylist | Self::Document | Self::Piece => "no-cache",
            Self::FinalPlaylist | Self::Image | Self::Movie => "public, max-age=60",
        }
    }
}

/// Whether `key` may name an object: relative, parts separated by `/`, none of them empty, `.` or
/// `..`, no control characters, at most 900 bytes (S3 allows 1024 with the destination's prefix).
///
/// # Errors
/// [`SinkError::Refused`] with the key and what is allowed.
pub fn check_key(key: &str) -> Result<(), SinkError> {
    let parts_fit = key.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if parts_fit && key.len() <= 900 && !key.chars().any(char::is_control) {
        return Ok(());
    }
    Err(SinkError::Refused {
        location: format!("{key:?}"),
        reason: "this cannot be an object's key; allowed are relative names like 720p/00003.ts, \
                 without empty parts, `.` or `..`, and at most 900 bytes"
            .to_owned(),
    })
}

/// What [`Sink::create`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// The object is new.
    New,
    /// Somebody made it before; it was left as it is.
    Existed,
}

/// A place for the objects of one job; called from several threads at once.
///
/// Every call blocks until the object is durable as the store understands it, retries what is
/// worth retrying, and returns [`SinkError::Cancelled`] soon after `cancel` is set.
pub trait Sink: Send + Sync {
    /// Store `bytes` under `key` unless something is there already (if-none-match in a store that
    /// honours it, an atomic link in a directory). No reader ever sees half an object.
    ///
    /// # Errors
    /// [`SinkError`], told apart by who has to act.
    fn create(
        &self,
        key: &str,
        kind: ObjectKind,
        bytes: &[u8],
        cancel: &Cancel,
    ) -> Result<Created, SinkError>;

    /// Store `bytes` under `key`, in place of what may be there, atomically.
    ///
    /// # Errors
    /// [`SinkError`].
    fn replace(&self, key: &str, kind: ObjectKind, bytes: &[u8], cancel: &Cancel) -> Result<(), SinkError>;

    /// The object under `key`, whole; `None` where there is none. For playlists and documents.
    ///
    /// # Errors
    /// [`SinkError`].
    fn read(&self, key: &str, cancel: &Cancel) -> Result<Option<Vec<u8>>, SinkError>;

    /// How many bytes the object under `key` has; `None` where there is none, or where these
    /// credentials may not know (a HEAD that answers 403).
    ///
    /// # Errors
    /// [`SinkError`].
    fn size_of(&self, key: &str, cancel: &Cancel) -> Result<Option<u64>, SinkError>;

    /// Every object of the destination with its size in bytes, by key; `None` where these
    /// credentials may not list, or the sink cannot.
    ///
    /// # Errors
    /// [`SinkError`].
    fn list(&self, cancel: &Cancel) -> Result<Option<BTreeMap<String, u64>>, SinkError> {
        let _not_known_here = cancel;
        Ok(None)
    }

    /// Remove the object under `key`; no error where there is none.
    ///
    /// # Errors
    /// [`SinkError`].
    fn remove(&self, key: &str, cancel: &Cancel) -> Result<(), SinkError>;

    /// Where this is, for people, without credentials: `./out/`, `s3://bucket/prefix/`.
    fn location(&self) -> String;
}

/// Why an object could not be stored or read back.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// The destination itself is wrong: no such bucket, not writable, wrong credentials, full.
    #[error("{location}: {reason}")]
    Refused {
        /// The destination or the object.
        location: String,
        /// What the store answered, and what to do.
        reason: String,
    },
    /// The store does not answer any more.
    #[error("storing {location}: {reason}")]
    Unavailable {
        /// Which object.
        location: String,
        /// The last answer, after all retries.
        reason: String,
    },
    /// The store has something else under a key of ours.
    #[error("{location} holds something else: {reason}")]
    Conflict {
        /// Which object.
        location: String,
        /// What differs, and what to do.
        reason: String,
    },
    /// Somebody asked to stop.
    #[error("storing was cancelled")]
    Cancelled,
}

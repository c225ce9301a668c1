//! Objects that are too large for memory: written piece by piece, read in ranges.
//!
//! Owns [`StreamSink`], an addition to [`Sink`] for those who package MP4 files. A store that only
//! takes segments and playlists does not need it. Offsets and lengths are bytes.

use super::{Created, ObjectKind, Sink, SinkError};
use crate::cancel::Cancel;

/// What happens where something is stored under the key already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writing {
    /// It is left as it is, as by [`Sink::create`].
    Once,
    /// It is replaced, as by [`Sink::replace`].
    Replace,
}

/// A sink that takes objects in pieces.
pub trait StreamSink: Sink {
    /// Begin the object `key` of at most `about` bytes (a store may size its parts by that; more is
    /// taken as long as its limits allow). Nobody sees it before [`ObjectWriter::finish`].
    ///
    /// # Errors
    /// [`SinkError`].
    fn begin<'a>(
        &'a self,
        key: &str,
        kind: ObjectKind,
        about: u64,
        writing: Writing,
        cancel: &Cancel,
    ) -> Result<Box<dyn ObjectWriter + 'a>, SinkError>;

    /// Fill `buffer` from byte `offset` on; says how many bytes there were, fewer than asked for only
    /// at the object's end. `None` where there is no such object, or where these credentials may not
    /// know.
    ///
    /// # Errors
    /// [`SinkError`].
    fn read_at(
        &self,
        key: &str,
        offset: u64,
        buffer: &mut [u8],
        cancel: &Cancel,
    ) -> Result<Option<usize>, SinkError>;
}

/// An object on its way. Dropped before it is finished, it leaves nothing behind.
pub trait ObjectWriter: Send {
    /// Append `bytes`. Blocks while too much is under way.
    ///
    /// # Errors
    /// [`SinkError`]; the object cannot be finished then.
    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError>;

    /// Make it durable and visible, all at once.
    ///
    /// # Errors
    /// [`SinkError`]; nothing is visible then.
    fn finish(self: Box<Self>) -> Result<Created, SinkError>;
}

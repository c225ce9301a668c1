//! Where the bytes of a video come from: one trait, and what every implementation shares.
//!
//! Owns [`Source`], its errors, and the block cache with parallel read-ahead ([`CachedSource`])
//! that stands between a demuxer's thousands of tiny reads and a store. Knows no network: HTTP and
//! S3 sources live in the service, a custom one takes twenty lines (`examples/custom_source.rs`).

mod ahead;
mod cache;
mod file;

pub use cache::{CacheOptions, CacheStats, CachedSource};
pub use file::FileSource;

use crate::cancel::Cancel;
use crate::media::SourceIdentity;

/// Random access to the bytes of one video; called from several threads at once.
pub trait Source: Send + Sync {
    /// Which bytes these are: stored in the plan, compared before a plan is run again.
    fn identity(&self) -> SourceIdentity;

    /// Bytes in all; constant over the life of the source.
    fn size(&self) -> u64;

    /// Fill `buffer` from `offset`; shorter only at the end of the source, 0 at or past it.
    ///
    /// Blocks; retries what is worth retrying; returns [`SourceError::Cancelled`] soon after
    /// `cancel` is set.
    ///
    /// # Errors
    /// [`SourceError`], told apart by who has to act.
    fn read_at(&self, offset: u64, buffer: &mut [u8], cancel: &Cancel) -> Result<usize, SourceError>;
}

/// Why a source could not be read.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// There is no such object, or these credentials may not read it.
    #[error("{uri}: {reason}")]
    Unreadable {
        /// Which source.
        uri: String,
        /// What the store or the system answered, and what to do.
        reason: String,
    },
    /// It is there, but its store does not answer any more.
    #[error("reading {uri} at byte {offset}: {reason}")]
    Unavailable {
        /// Which source.
        uri: String,
        /// Where in it.
        offset: u64,
        /// The last answer, after all retries.
        reason: String,
    },
    /// The bytes are not those that the size or the entity tag promised.
    #[error("{uri} changed while it was being read: {reason}")]
    Changed {
        /// Which source.
        uri: String,
        /// What was different.
        reason: String,
    },
    /// Somebody asked to stop.
    #[error("reading was cancelled")]
    Cancelled,
}

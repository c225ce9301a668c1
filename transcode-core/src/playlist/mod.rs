//! Playlists: text out of the plan and the stored segments, and back in again for resuming.
//!
//! Owns every line of `master.m3u8` and of the media playlists (RFC 8216), and the measuring of bit
//! rates that the master states. Pure functions of (plan, stored segments): no I/O, no clock, no
//! GStreamer. Lengths are exact seconds; bit rates are bit/s.

mod codecs;
mod master;
mod measure;
mod media;
mod read;

pub use codecs::{Avc, codecs};
pub use master::{declared, master};
pub use measure::{Bandwidth, measure};
pub use media::{Checked, Entry, State, media, target_duration};
pub use read::{PlaylistError, read_media};

/// `EXT-X-VERSION` of all playlists: 3 is the lowest that has decimals in EXTINF, and nothing here
/// needs more (RFC 8216 §7).
const VERSION: u32 = 3;

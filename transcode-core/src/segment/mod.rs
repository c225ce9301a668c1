//! A strict reader of finished MPEG-TS segments.
//!
//! Owns the way from a segment's bytes to what is in them ([`inspect()`]), and the comparison of that
//! with the plan ([`check()`]). It reads what mpegtsmux inside hlssink2 writes: H.264 as a byte stream
//! with delimiters, AAC in ADTS, either alone; and it refuses whatever a player could stumble over,
//! because every segment passes here before it is stored. Knows no GStreamer and does no I/O.
//!
//! Clock: PTS and DTS are ticks of 90 kHz modulo 2³³, as they stand in the bytes; mpegtsmux adds
//! 3600 s to the plan's clock. One pass over the bytes, one copy of each PES packet.

mod adts;
mod bits;
mod bucket;
mod check;
pub(crate) mod clock;
mod crc;
mod error;
mod h264;
mod inspect;
mod pes;
mod sps;
mod tables;
mod ts;

pub use adts::AudioFormat;
pub use bucket::{Bucket, Buffer, Step, Vbv};
pub use check::{check, facts};
pub use crc::crc32;
pub use error::SegmentError;
pub use h264::PictureKind;
pub(crate) use h264::nal_units;
pub use inspect::{AudioPacket, AudioStream, Inspected, Picture, VideoStream, inspect};
pub(crate) use inspect::{Piece, first_picture, inspect_with};
pub use sps::{Sps, SpsColour};

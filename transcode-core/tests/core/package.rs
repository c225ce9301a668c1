//! MP4 files out of the segments of finished jobs: what is in them, what players make of them, and
//! what is refused.

mod contents;
mod refused;
mod support;

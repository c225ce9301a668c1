//! The GStreamer graph of one chunk. The one room that spells GStreamer's names.
//!
//! Owns the pipeline from source bytes to finished segments: building it ([`assemble`]), driving it
//! ([`drive`]), and everything in between. Knows the plan, a platform file, and the two traits that
//! bytes cross. Decides nothing: what, how many, how large is all in the plan.

mod assemble;
mod audio_gate;
mod caps;
mod clock;
mod closing;
mod colours;
mod copy;
mod describe;
mod drive;
mod encoder;
mod examine;
mod follow;
mod fragments;
mod grid;
mod hold;
mod init;
mod notes;
mod parameters;
mod pictures;
mod range;
mod samples;
mod scaler;
mod slots;
mod source_element;
#[cfg(test)]
mod tests;
mod thumbnail;
mod upload;
mod video_gate;
mod viewer;
mod ways;
mod wiring;
mod witness;

pub(crate) use caps::{AudioFacts, Facts, VideoFacts};
pub(crate) use copy::{Copied, CopyRun, Part, copy_pieces};
pub use describe::describe;
pub(crate) use drive::{ChunkRun, run_chunk};
pub(crate) use examine::{Examination, Examined, SMALL, examine};
pub(crate) use init::{init, version};
pub(crate) use notes::{Look, SeenTrack};
pub(crate) use pictures::{faded, pictures, psnr};
pub use ways::{missing, not_installed};

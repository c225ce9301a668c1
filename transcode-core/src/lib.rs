//! Video in, HLS ladder out.
#![forbid(unsafe_code)]

pub mod cancel;
pub mod error;
pub mod event;
pub mod graph;
pub mod media;
pub mod plan;
pub mod platform;
pub mod playlist;
pub mod probe;
pub mod run;
pub mod segment;
pub mod sink;
pub mod source;
pub mod spec;
pub mod units;

pub use cancel::Cancel;
pub use error::{Error, ErrorKind};
pub use event::Event;

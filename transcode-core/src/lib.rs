//! Video in, HLS ladder out: plans a ladder and builds the GStreamer graph for it, in-process.
//!
//! Probe a source, plan a ladder, start the job, and watch it: a running job is an iterator of plain
//! events, and dropping it stops the graph.
//!
//! ```no_run
//! use std::sync::Arc;
//! use transcode_core::{Cancel, FileSource, DirSink, JobSpec, Options, Platform, Profile};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let source = Arc::new(FileSource::open("film.mp4")?);
//! let platform = Platform::builtin("software")?;
//! let media = transcode_core::probe(source.clone(), &platform, &Cancel::new())?;
//! let plan = transcode_core::plan(&media, &JobSpec::new(Profile::builtin("abr")?), &platform)?;
//! let sink = Arc::new(DirSink::create("out")?);
//! for event in transcode_core::start(plan, platform, source, sink, Options::default())? {
//!     println!("{event:?}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The first segments are playable seconds later, at `out/master.m3u8`. The same call over the same
//! destination goes on where an earlier one ended, and finds a finished job finished.
//!
//! # Rooms
//!
//! Each may know only those above it.
//!
//! | room | owns |
//! |---|---|
//! | [`units`] | exact quantities: times are rationals, a float never decides a cut |
//! | [`spec`], [`media`] | what is asked for; what is known of a source |
//! | [`platform`] | which elements do it on a kind of machine, as data |
//! | [`mod@plan`] | every decision, made before anything runs: pure, stored, compared |
//! | `graph` | the GStreamer pipeline of one chunk; the only room that spells its names |
//! | [`run`](mod@run) | the order of things: run a chunk, publish, resume, verify, report |
//! | [`trial`] | a few pictures through the very same graph, and whether they are right |
//! | [`package`] | MP4 files out of the segments of a finished job |
//! | [`mod@split`] | the source in pieces, a chunk each, copied and not decoded |
//!
//! Beside them: [`source`] and [`sink`], the two traits through which every byte comes and goes,
//! [`playlist`] and [`segment`], which write and read what is stored, and [`mod@probe`].
//!
//! # What it does not do
//!
//! No network, no async runtime, no printing, no exit, no global state but GStreamer's own
//! (`gst_init`). Logging goes through the `log` crate. Sources and sinks for HTTP and S3 live in the
//! service; one of your own takes twenty lines (`examples/custom_source.rs`,
//! `examples/memory_sink.rs`).
#![forbid(unsafe_code)]

pub mod cancel;
pub mod error;
pub mod event;
mod graph;
pub mod media;
pub mod package;
pub mod plan;
pub mod platform;
pub mod playlist;
pub mod probe;
pub mod run;
pub mod segment;
pub mod sink;
pub mod source;
pub mod spec;
pub mod split;
pub mod trial;
pub mod units;

pub use cancel::Cancel;
pub use error::{Error, ErrorKind};
pub use event::Event;
pub use graph::{describe, missing, not_installed};
pub use media::MediaInfo;
pub use plan::{Plan, plan};
pub use platform::Platform;
pub use probe::probe;
pub use run::{Job, JobEvent, JobReport, Options, start};
pub use sink::{DirSink, MemorySink, Sink};
pub use source::{CachedSource, FileSource, Source};
pub use spec::{JobSpec, Profile};

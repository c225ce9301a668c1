//! Runs a plan: the one entry point that makes segments, and what turns them into a finished job.
//!
//! - [`run`] makes every segment of one chunk and says what happens; it writes no playlist.
//! - [`Publisher`] writes the playlists and documents of a job, in an order that survives a crash.
//! - [`verify()`] proves that nothing was lost before anything is published as finished.
//! - [`start`] puts these together on a thread of its own: a running [`Job`] is an iterator of plain
//!   events, and dropping it stops it.
//!
//! Owns the order of things. Knows no element's name; times are on the plan's clock, costs in
//! milliseconds of wall time and of CPU.

mod cost;
mod destination;
mod job;
mod publish;
mod report;
mod resume;
mod verify;

pub use job::{Job, JobEvent, Options, start};
pub use publish::{Opened, Publisher, joined};
pub use report::{
    Counts, JobReport, Origin, REPORT_VERSION, RungSummary, SegmentRow, Truncated, digest, plan_digest,
};
pub use verify::{Verified, verify};

use crate::cancel::Cancel;
use crate::error::Error;
use crate::event::{ChunkReport, Event};
use crate::graph::{ChunkRun, run_chunk};
use crate::plan::{Chunk, Plan};
use crate::platform::Platform;
use crate::sink::Sink;
use crate::source::{Source, SourceError};
use std::sync::Arc;
use std::time::Duration;

/// Nothing moves for so long, and nobody waits for the source or the sink: the graph hangs. A working
/// decoder moves many times a second; this leaves room for a machine that swaps or is overcommitted.
pub const STALL: Duration = Duration::from_secs(60);

/// Remove a job's output: what players load first, `plan.json` last.
///
/// # Errors
/// [`Error::Sink`] where something may not be removed; [`Error::Interrupted`].
pub fn remove(plan: &Plan, sink: &dyn Sink, cancel: &Cancel) -> Result<(), Error> {
    destination::clear(plan, Some(b""), sink, cancel)
}

/// Which chunk of which plan is to be made, and how.
#[derive(Debug, Clone, Copy)]
pub struct ChunkRequest<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// One of its chunks, or any other run of its segments.
    pub chunk: &'a Chunk,
    /// Which elements do it on this machine.
    pub platform: &'a Platform,
}

/// Make every segment of a chunk, of all rungs, and store each as soon as it is whole.
///
/// Blocks until all are stored. `events` is called on this thread, in order; a slow listener slows
/// the run. Segments that are stored already are left as they are and counted as adopted.
///
/// # Errors
/// - [`Error::Config`] where the chunk is not within the plan;
/// - [`Error::Source`] where the source is not (or not any more) the one that the plan was made for,
///   or cannot be read;
/// - [`Error::Input`] where it cannot be decoded;
/// - [`Error::Sink`] where a segment cannot be stored;
/// - [`Error::Platform`], [`Error::Stalled`] where the graph fails and the input is not to blame;
/// - [`Error::Verification`] where a segment is not what the plan says;
/// - [`Error::Interrupted`] soon after `cancel` is set.
///
/// On every way out the graph is down, or its threads are left to themselves after a time-out.
pub fn run(
    request: ChunkRequest<'_>,
    source: Arc<dyn Source>,
    sink: Arc<dyn Sink>,
    events: &(dyn Fn(Event) + Send + Sync),
    cancel: &Cancel,
) -> Result<ChunkReport, Error> {
    run_within(request, source, sink, events, cancel, STALL)
}

/// [`run`] with another patience than [`STALL`]: nothing may stand still for longer than `stall`.
///
/// # Errors
/// As [`run`].
pub fn run_within(
    request: ChunkRequest<'_>,
    source: Arc<dyn Source>,
    sink: Arc<dyn Sink>,
    events: &(dyn Fn(Event) + Send + Sync),
    cancel: &Cancel,
    stall: Duration,
) -> Result<ChunkReport, Error> {
    let ChunkRequest { plan, chunk, platform } = request;
    if cancel.is_cancelled() {
        return Err(Error::Interrupted);
    }
    let count = plan.timeline.segment_count();
    if chunk.first >= chunk.end || chunk.end.0 > count {
        return Err(Error::Config {
            what: format!("chunk {}", chunk.index),
            reason: format!(
                "segments {} to {} are not a part of the plan's 0 to {count}",
                chunk.first, chunk.end
            ),
        });
    }
    same_source(plan, &*source)?;
    let costs = cost::Costs::begin(plan);
    let watched = |event: Event| {
        if matches!(event, Event::Progress { .. }) {
            costs.look();
        }
        events(event);
    };
    let chunk_run = ChunkRun { plan, chunk, platform, source, sink, events: &watched, cancel, stall };
    let result = run_chunk(&chunk_run);
    match result {
        Ok(mut report) => {
            costs.report(&mut report.timings);
            Ok(report)
        }
        // Whatever broke while somebody asked to stop broke because of that.
        Err(_) if cancel.is_cancelled() => Err(Error::Interrupted),
        Err(error) => Err(error),
    }
}

/// A plan is only run on the bytes that it was made for.
fn same_source(plan: &Plan, source: &dyn Source) -> Result<(), Error> {
    let (planned, found) = (&plan.source, source.identity());
    let text = |version: &Option<String>| version.clone().unwrap_or_else(|| "none".to_owned());
    let reason = if planned.uri != found.uri {
        format!("the plan is for {}", planned.uri)
    } else if planned.size != found.size {
        format!("the plan is for {} bytes, there are {}", planned.size, found.size)
    } else if planned.version != found.version {
        format!("the plan is for version {}, there is {}", text(&planned.version), text(&found.version))
    } else {
        return Ok(());
    };
    Err(Error::Source(SourceError::Changed { uri: found.uri, reason: format!("{reason}; plan again") }))
}

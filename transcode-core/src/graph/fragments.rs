//! The in-memory streams that hlssink2 writes fragments into, and when a fragment is finished.
//!
//! hlssink2 asks for a stream when a fragment begins, writes, flushes when it is whole, and never
//! closes it. It also flushes when it is being stopped: so the first non-empty flush finishes a
//! fragment, once, and none does while the run is being aborted. A finished fragment is read back,
//! held against the plan and handed to the uploader on the same thread, which is what makes a slow
//! store slow the encoder.

use super::upload::{Handle, Item, Uploader};
use super::witness::Witness;
use crate::error::Error;
use crate::plan::{Chunk, Plan, Rung};
use crate::segment;
use crate::units::{MediaTime, SegmentIndex};
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// One rung's way from fragments to segments.
pub(super) struct RungOutput {
    pub(super) rung: String,
    pub(super) plan: Arc<Plan>,
    pub(super) chunk: Chunk,
    pub(super) uploader: Handle,
    /// Set before the graph is stopped for any reason but its end.
    pub(super) aborting: Arc<AtomicBool>,
    /// Compares what was encoded with what went in, where the encoder is not believed.
    pub(super) witness: Option<Arc<Witness>>,
    /// The first thing that was wrong with a fragment.
    pub(super) error: Arc<Mutex<Option<Error>>>,
    /// The slot where the pictures (or packets) ended; [`UNENDED`] while they go on. Known before
    /// the last fragment is finished.
    pub(super) ended: AtomicU64,
    /// Fragments finished.
    pub(super) finished: AtomicU32,
    /// Size of the last fragment: what to reserve for the next.
    pub(super) last_size: Mutex<usize>,
}

/// No end is known yet.
const UNENDED: u64 = u64::MAX;

impl RungOutput {
    /// One for every rung, in the plan's order. They share whether the run is aborted, and its first error.
    pub(super) fn all(
        plan: &Arc<Plan>,
        chunk: &Chunk,
        uploader: &Uploader,
        witness: Option<&Arc<Witness>>,
        aborting: &Arc<AtomicBool>,
        error: &Arc<Mutex<Option<Error>>>,
    ) -> Vec<Arc<Self>> {
        let one = |rung: &Rung| {
            Arc::new(Self {
                rung: rung.name.clone(),
                plan: plan.clone(),
                chunk: chunk.clone(),
                uploader: uploader.handle(),
                aborting: aborting.clone(),
                witness: witness.cloned(),
                error: error.clone(),
                ended: AtomicU64::new(UNENDED),
                finished: AtomicU32::new(0),
                last_size: Mutex::new(0),
            })
        };
        plan.rungs.iter().map(one).collect()
    }

    /// Everything that will come has gone by, and lasted so long.
    pub(super) fn ended(&self, length: MediaTime) {
        let first = self.plan.timeline.slots_of(self.chunk.first).start;
        let slots = u64::try_from(self.plan.timeline.rate.nearest(length)).unwrap_or(0);
        self.ended.store(first + slots, Ordering::SeqCst);
    }

    /// Whether every fragment that there will be is finished.
    pub(super) fn is_finished(&self) -> bool {
        let timeline = &self.plan.timeline;
        let ended = self.ended.load(Ordering::SeqCst);
        let made = self.chunk.segments().map(SegmentIndex);
        let wanted = made.take_while(|index| timeline.slots_of(*index).start < ended);
        usize::try_from(self.finished.load(Ordering::SeqCst)).is_ok_and(|done| done >= wanted.count())
    }

    /// The stream for hlssink2's fragment `number`.
    pub(super) fn fragment(self: &Arc<Self>, number: u32) -> Fragment {
        let reserve = *self.last_size.lock().unwrap_or_else(PoisonError::into_inner);
        Fragment {
            output: self.clone(),
            number,
            bytes: Vec::with_capacity(reserve + reserve / 8),
            done: false,
        }
    }

    fn finish(&self, number: u32, bytes: Vec<u8>) -> bool {
        let index = SegmentIndex(self.chunk.first.0 + number);
        let slots = self.plan.timeline.slots_of(index);
        let ended = self.ended.load(Ordering::SeqCst);
        if index >= self.chunk.end || slots.start >= ended {
            // Sound beyond the last picture.
            return true;
        }
        *self.last_size.lock().unwrap_or_else(PoisonError::into_inner) = bytes.len();
        let may_end = self.plan.timeline.open_ended || self.plan.allow_truncated;
        if ended < slots.end && !may_end {
            // The source ended early. That is for the verification to say, which knows all figures.
            self.finished.fetch_add(1, Ordering::SeqCst);
            return true;
        }
        let checked = segment::facts(&bytes, &self.plan, &self.rung, index)
            .map_err(|error| Error::Verification {
                reason: format!("rung {} segment {index}: {error}", self.rung),
            })
            .and_then(|facts| self.bear_witness(index, &bytes).map(|()| facts));
        match checked {
            Ok(facts) => {
                let key = self.plan.segment_key(&self.rung, index);
                let taken = self.uploader.submit(Item::Segment { key, bytes, facts });
                self.finished.fetch_add(1, Ordering::SeqCst);
                taken
            }
            Err(error) => {
                self.error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                false
            }
        }
    }

    /// Where the encoder is not believed, its picture is compared.
    fn bear_witness(&self, index: SegmentIndex, bytes: &[u8]) -> Result<(), Error> {
        let has_pictures = self.plan.input.video.is_some();
        match self.witness.as_ref().filter(|_| has_pictures) {
            Some(witness) => witness.check(&self.rung, index, bytes),
            None => Ok(()),
        }
    }
}

/// One fragment while it is written.
pub(super) struct Fragment {
    output: Arc<RungOutput>,
    number: u32,
    bytes: Vec<u8>,
    done: bool,
}

impl Write for Fragment {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        if self.output.aborting.load(Ordering::SeqCst) {
            return Ok(data.len());
        }
        self.bytes.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        if self.done || self.bytes.is_empty() || self.output.aborting.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.done = true;
        let bytes = std::mem::take(&mut self.bytes);
        if self.output.finish(self.number, bytes) {
            return Ok(());
        }
        Err(std::io::Error::other("the segment was not taken"))
    }
}

/// What hlssink2 thinks is its playlist; ours is rendered from the plan and the stored segments.
pub(super) struct Discard;

impl Write for Discard {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        Ok(data.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

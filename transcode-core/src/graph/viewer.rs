//! Who looks at pictures on their way to the encoders, and how they come to see them.
//!
//! Two look: the preview's chooser, and the witness. In system memory they look in the gate. Where
//! pictures live on a device, a branch behind the gate lets through those that somebody wants, and
//! they are brought from there: one in hundreds. Clock: the gate's, so a picture's time is its slot.

use super::thumbnail::Chooser;
use super::witness::Witness;
use crate::units::{FrameRate, MediaTime};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use std::sync::Arc;

/// Those who look.
#[derive(Default)]
pub(super) struct Eyes {
    pub(super) chooser: Option<Arc<Chooser>>,
    pub(super) witness: Option<Arc<Witness>>,
}

impl Eyes {
    /// Somebody looks.
    pub(super) fn are_open(&self) -> bool {
        self.chooser.is_some() || self.witness.is_some()
    }

    fn want(&self, slot: u64) -> bool {
        self.chooser.as_ref().is_some_and(|chooser| chooser.wants(slot))
            || self.witness.as_ref().is_some_and(|witness| witness.wants(slot))
    }

    /// One picture, in system memory.
    pub(super) fn look(&self, slot: u64, picture: &gst::Buffer, caps: &gst::Caps) {
        if let Some(chooser) = self.chooser.as_ref().filter(|chooser| chooser.wants(slot)) {
            chooser.look(slot, picture, caps);
        }
        if let Some(witness) = self.witness.as_ref().filter(|witness| witness.wants(slot)) {
            witness.look(slot, picture, caps);
        }
    }
}

fn slot_of(buffer: &gst::BufferRef, rate: FrameRate) -> Option<u64> {
    let nanos = i64::try_from(buffer.pts()?.nseconds()).ok()?;
    u64::try_from(rate.nearest(MediaTime::from_nanos(nanos))).ok()
}

/// Let through what somebody wants to see, and nothing else.
pub(super) fn let_through(queue: &gst::Element, eyes: Arc<Eyes>, rate: FrameRate) {
    let Some(pad) = queue.static_pad("sink") else { return };
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let wanted = match &info.data {
            Some(gst::PadProbeData::Buffer(buffer)) => {
                slot_of(buffer, rate).is_some_and(|slot| eyes.want(slot))
            }
            _ => true,
        };
        if wanted {
            return gst::PadProbeReturn::Ok;
        }
        info.data = None;
        gst::PadProbeReturn::Handled
    });
}

/// Show what arrives at the end of the branch.
pub(super) fn connect(sink: &gst::Element, eyes: Arc<Eyes>, rate: FrameRate) {
    // Nothing may ever come, and the pipeline must not wait for it.
    sink.set_property("async", false);
    sink.set_property("sync", false);
    let Some(sink) = sink.downcast_ref::<gst_app::AppSink>() else { return };
    let show = move |sink: &gst_app::AppSink| {
        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
        if let (Some(buffer), Some(caps)) = (sample.buffer_owned(), sample.caps_owned()) {
            if let Some(slot) = slot_of(&buffer, rate) {
                eyes.look(slot, &buffer, &caps);
            }
        }
        Ok(gst::FlowSuccess::Ok)
    };
    sink.set_callbacks(gst_app::AppSinkCallbacks::builder().new_sample(show).build());
}

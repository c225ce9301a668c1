//! Holds back what muxers write until the pipeline plays.
//!
//! A sink that is on its way to PLAYING takes data as soon as that is where it is to go, before it has
//! got there. What is small, as sound is, may be through by then, its end included; and a sink that comes to
//! play and finds its end says so once more (GStreamer 1.22, `gst_base_sink_change_state`). splitmuxsink
//! takes this for another fragment that is closed, which hlssink2 knows nothing of: an error, of a job that
//! is well. It takes a machine that is busy with other things. So nothing comes to a sink before it plays.
//!
//! Only the first fragment is held: for every other, splitmuxsink takes its sink all the way itself, while
//! nothing comes. Knows nothing of fragments, and no clock.

use gstreamer as gst;
use gstreamer::prelude::*;

/// A sink that gets nothing until it is let go, or taken down.
pub(super) struct Hold {
    pad: gst::Pad,
    probe: gst::PadProbeId,
}

impl Hold {
    /// Hold back what comes to this sink; `None` where it has no pad for anything to come to.
    pub(super) fn back(sink: &gst::Element) -> Option<Self> {
        let pad = sink.static_pad("sink")?;
        let probe = pad.add_probe(gst::PadProbeType::BLOCK_DOWNSTREAM, |_, _| gst::PadProbeReturn::Ok)?;
        Some(Self { pad, probe })
    }

    /// Let it come.
    pub(super) fn let_go(self) {
        self.pad.remove_probe(self.probe);
    }
}

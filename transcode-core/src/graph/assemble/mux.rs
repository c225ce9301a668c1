//! From encoded tracks to fragments: one hlssink2 a rung, and where it cuts.

use super::{Builder, Role};
use crate::error::Error;
use crate::graph::closing::{self, Boundaries};
use crate::graph::fragments::{Discard, RungOutput};
use crate::graph::hold::Hold;
use crate::plan::Rung;
use crate::units::MediaTime;
use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use std::sync::Arc;

impl Builder<'_> {
    fn link_request(&self, from: &gst::Element, to: &gst::Element, pad: &str) -> Result<(), Error> {
        from.link_pads(Some("src"), to, Some(pad))
            .map_err(|_| self.wrong(&format!("`{}` does not link to {pad} of `{}`", from.name(), to.name())))
    }

    /// Feed a track into its muxer.
    pub(super) fn mux(
        &self,
        queue: &gst::Element,
        sink: &gst::Element,
        pad: &str,
        role: Role,
        rung: &str,
    ) -> Result<(), Error> {
        self.link_request(queue, sink, pad)?;
        let output = self.outputs.iter().find(|output| output.rung == rung).cloned();
        let (Role::Cuts, Some(output)) = (role, output) else { return Ok(()) };
        let entry = queue.static_pad("sink").ok_or_else(|| self.wrong("a queue has no sink pad"))?;
        let boundaries = Boundaries { timeline: self.plan.timeline.clone(), first: output.chunk.first };
        closing::close_fragments(&entry, &self.splitter(sink)?, boundaries, move |length| {
            let nanos = i64::try_from(length.nseconds()).unwrap_or(i64::MAX);
            output.ended(MediaTime::from_nanos(nanos));
        });
        Ok(())
    }

    /// The element inside hlssink2 that cuts.
    fn splitter(&self, sink: &gst::Element) -> Result<gst::Element, Error> {
        let bin = sink.downcast_ref::<gst::Bin>().ok_or_else(|| self.wrong("hlssink2 is not a bin"))?;
        bin.children()
            .into_iter()
            .find(|child| child.factory().is_some_and(|factory| factory.name() == "splitmuxsink"))
            .ok_or_else(|| self.wrong("hlssink2 has no splitmuxsink inside"))
    }

    pub(super) fn hls_sink(&self, rung: &Rung, output: &Arc<RungOutput>) -> Result<gst::Element, Error> {
        let sink = self.add("hlssink2", &format!("{}-hls", rung.name))?;
        // The default deletes the segment before the last ten, and there is no file to delete. (Its
        // playlist is thrown away: five entries are quickest.)
        sink.set_property("max-files", 0u32);
        sink.set_property("send-keyframe-requests", false);
        sink.set_property("location", "%05d");
        let splitter = self.splitter(&sink)?;
        // hlssink2 would have it split by length, in whole seconds; it is told every cut instead.
        splitter.set_property("max-size-time", 0u64);
        let muxer = splitter.property::<Option<gst::Element>>("muxer");
        closing::take_out_marks(&muxer.ok_or_else(|| self.wrong("hlssink2 has no muxer inside"))?);
        let writer = splitter.property::<Option<gst::Element>>("sink");
        let hold = writer.as_ref().and_then(Hold::back);
        self.holds.borrow_mut().push(hold.ok_or_else(|| self.wrong("hlssink2 has no sink inside"))?);
        let fragments = output.clone();
        sink.connect("get-fragment-stream", false, move |arguments| {
            let location = arguments.get(1).and_then(|value| value.get::<String>().ok());
            let number = location.and_then(|location| location.parse().ok())?;
            Some(stream(fragments.fragment(number)))
        });
        sink.connect("get-playlist-stream", false, |_| Some(stream(Discard)));
        Ok(sink)
    }
}

fn stream(writer: impl std::io::Write + Send + 'static) -> glib::Value {
    gio::WriteOutputStream::new(writer).upcast::<gio::OutputStream>().to_value()
}

//! What the driver makes of an error on the bus, and of nothing happening at all.

use super::{Activity, Driver};
use crate::error::Error;
use crate::event::Event;
use crate::graph::assemble::INPUT;
use crate::graph::audio_gate::{AudioGate, position_time};
use gstreamer as gst;
use gstreamer::prelude::*;

impl Driver<'_> {
    /// What cannot be decoded is the end of the source, where a truncated one is allowed and there was
    /// something before. The demuxer sends the end of the stream down its other tracks; the decoder
    /// that failed sends none.
    ///
    /// The demuxer stops because of the decoder, with an error of its own. That one is judged with the
    /// decoder's, however few pictures have come by then: sound runs ahead of them.
    pub(super) fn end_before(&mut self, error: Error, path: &str) -> Result<(), Error> {
        let video = self.assembly.video_gate.as_ref();
        let audio = self.assembly.audio_gate.as_ref();
        let Error::Input { reason, .. } = &error else { return Err(error) };
        let follows = self.cut.is_some() && !is_of_track(path, "video") && !is_of_track(path, "audio");
        if !self.run.plan.allow_truncated || !(follows || self.has_begun(path)) {
            return Err(error);
        }
        if self.cut.is_none() {
            (self.run.events)(Event::Warning { text: format!("{reason}; taken for the end of the source") });
            self.cut = Some(error);
        }
        // Any error before the pipeline plays keeps it from playing, and one comes seldom alone.
        if self.assembly.pipeline.set_state(gst::State::Playing).is_err() {
            log::debug!("the pipeline does not go on after an error");
        }
        let failed = [("video", video.map(Cast::upcast_ref)), ("audio", audio.map(Cast::upcast_ref))];
        for (track, gate) in failed {
            let gate: Option<&gst::Element> = gate;
            if let Some(gate) = gate.filter(|_| is_of_track(path, track)) {
                // On another thread, because the end waits for what is on its way through the gate.
                gate.call_async(|gate| {
                    if let Some(pad) = gate.static_pad("sink") {
                        pad.send_event(gst::event::Eos::new());
                    }
                });
            }
        }
        Ok(())
    }

    /// Something of what is wanted has been decoded: pictures, where there are any; or sound, where it is
    /// sound that cannot be decoded any more, which runs ahead of the pictures.
    fn has_begun(&self, path: &str) -> bool {
        let first = self.run.plan.timeline.slots_of(self.run.chunk.first).start;
        let pictures = self.assembly.video_gate.as_ref().map(|gate| gate.position() > first);
        let of_sound = pictures.is_none() || is_of_track(path, "audio");
        let sound = of_sound && self.assembly.audio_gate.as_ref().is_some_and(AudioGate::has_begun);
        sound || pictures.unwrap_or(false)
    }

    /// Whose fault an error on the bus is. What the source or the sink said counts more than what
    /// an element made of it.
    pub(super) fn blame(&self, _bus: &gst::Bus, error: &gst::message::Error) -> Error {
        if let Some(error) = self.source.failure() {
            return Error::Source(error);
        }
        if let Err(error) = self.check_others() {
            return error;
        }
        if self.run.cancel.is_cancelled() {
            return Error::Interrupted;
        }
        let element = error.src().map(|src| src.path_string().to_string()).unwrap_or_default();
        let name = element.rsplit('/').next().unwrap_or_default().to_owned();
        let detail = error.debug().map(|debug| one_line(debug.as_str())).unwrap_or_default();
        let text = format!("{} ({name}: {detail})", one_line(error.error().message()));
        if element.contains(INPUT) {
            let at = if is_of_track(&element, "audio") {
                let rate = self.run.plan.audio_encodes().first().map_or(1, |audio| audio.sample_rate);
                let audio = self.assembly.audio_gate.as_ref();
                audio.and_then(AudioGate::position).map(|at| position_time(at, rate))
            } else {
                let video = self.assembly.video_gate.as_ref();
                video.map(|gate| self.run.plan.timeline.rate.time_of(gate.position()))
            };
            let at = at.map(|at| format!(" after {:.1} s", at.as_secs_f64())).unwrap_or_default();
            let or = if self.run.plan.allow_truncated || !self.has_begun(&element) {
                ""
            } else {
                "; fetch it again, or publish what is there with --allow-truncated"
            };
            return Error::Input {
                uri: self.run.plan.source.uri.clone(),
                reason: format!("decoding failed{at}: {text}{or}"),
            };
        }
        self.platform_error(&text)
    }

    pub(super) fn bus_error(&self, bus: &gst::Bus) -> Option<Error> {
        let message =
            bus.timed_pop_filtered(gst::ClockTime::from_mseconds(200), &[gst::MessageType::Error])?;
        match message.view() {
            gst::MessageView::Error(error) => Some(self.blame(bus, error)),
            _ => None,
        }
    }

    pub(super) fn platform_error(&self, reason: &str) -> Error {
        Error::Platform { platform: self.run.platform.name.clone(), reason: reason.to_owned() }
    }

    pub(super) fn stalled(&self, at: Activity) -> Error {
        let slot = self.run.plan.timeline.rate.time_of(at.slot);
        let rungs: Vec<String> = self
            .progress_of_rungs()
            .iter()
            .map(|rung| format!("{} encoded {}", rung.rung, rung.encoded))
            .collect();
        Error::Stalled {
            reason: format!(
                "nothing moved for {} s at {:.1} s of the source ({}); a decoder or an encoder hangs",
                self.run.stall.as_secs(),
                slot.as_secs_f64(),
                rungs.join(", ")
            ),
        }
    }
}

/// Whether an element, by its path, is between the demuxer and that track's gate.
fn is_of_track(path: &str, track: &str) -> bool {
    path.contains(&format!("{INPUT}{track}"))
}

/// Bus texts come with line breaks and source positions.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

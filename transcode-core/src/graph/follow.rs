//! Follows each pad of a demuxer with its parser, and nothing behind that.
//!
//! Owns which parser, from the platform's file, and the probes that write down what passes. Runs in
//! streaming threads: an error is written down too, the driver finds it.

use super::caps::{self, Facts};
use super::init::make;
use super::notes::{Note, Notes, SeenTrack};
use crate::error::Error;
use crate::media::Rotation;
use crate::platform::Platform;
use gstreamer as gst;
use gstreamer::prelude::*;
use std::sync::Arc;

/// What follows a demuxer's pad.
pub(super) struct Follow {
    pub(super) pipeline: gst::glib::WeakRef<gst::Pipeline>,
    pub(super) platform: Platform,
    /// For streams without a container: the audio codec whose parser takes the bytes.
    pub(super) elementary: Option<String>,
    pub(super) notes: Arc<Notes>,
}

impl Follow {
    /// Called where the demuxer shows a pad, from its own thread.
    pub(super) fn pad(&self, pad: &gst::Pad) {
        if let Err(error) = self.try_pad(pad) {
            self.notes.lock().failure.get_or_insert(error);
        }
    }

    fn try_pad(&self, pad: &gst::Pad) -> Result<(), Error> {
        let Some(pipeline) = self.pipeline.upgrade() else { return Ok(()) };
        let wrong = |reason: &str| platform_error(&self.platform, reason);
        let facts = pad.current_caps().map_or(Facts::Other(String::new()), |caps| caps::facts(&caps));
        let sink = make(&self.platform, "fakesink")?;
        sink.set_property("sync", false);
        sink.set_property("async", false);
        sink.set_property("enable-last-sample", false);
        let mut chain = Vec::new();
        let of_audio = |codec: &String| {
            self.platform.decode_audio.get(codec).and_then(|decoder| decoder.parse.as_deref())
        };
        let parser = match (&self.elementary, &facts) {
            (Some(codec), _) => of_audio(codec),
            (None, Facts::Video(video)) => self.platform.parser_of(&video.codec),
            (None, Facts::Audio(audio)) => of_audio(&audio.codec),
            (None, Facts::Other(_)) => None,
        };
        if let Some(parse) = parser {
            chain.push(make(&self.platform, parse)?);
        }
        if matches!(&facts, Facts::Video(video) if video.codec == "h264") && !chain.is_empty() {
            // In this form the header is in the caps.
            let filter = make(&self.platform, "capsfilter")?;
            let form =
                gst::Caps::builder("video/x-h264").field("stream-format", "avc").field("alignment", "au");
            filter.set_property("caps", form.build());
            chain.push(filter);
        }
        chain.push(sink);
        pipeline.add_many(&chain).map_err(|_| wrong("a parser cannot be added"))?;
        gst::Element::link_many(&chain).map_err(|_| wrong("a parser cannot be linked"))?;
        let pads = |element: &gst::Element| {
            element.static_pad("sink").ok_or_else(|| wrong("an element has no sink pad"))
        };
        let first = pads(&chain[0])?;
        let last = pads(&chain[chain.len() - 1])?;
        let track = {
            let mut state = self.notes.lock();
            let seen = SeenTrack {
                pad: pad.name().to_string(),
                id: None,
                facts,
                rotation: Rotation::None,
                language: None,
                first: None,
                stamps: Vec::new(),
                buffers: 0,
                last: None,
                ended: false,
            };
            state.tracks.push(Note::new(seen));
            state.tracks.len() - 1
        };
        // Tags are read where they come in: not every parser passes all of them on.
        if first != last {
            let notes = self.notes.clone();
            first.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
                match info.event().map(|event| event.type_()) {
                    Some(gst::EventType::Tag) => {
                        info.event().into_iter().for_each(|event| notes.event(track, event))
                    }
                    Some(gst::EventType::Caps) => notes.keep_colour_from_parser(track, info),
                    _ => {}
                }
                gst::PadProbeReturn::Ok
            });
        }
        let notes = self.notes.clone();
        let kinds = gst::PadProbeType::BUFFER
            | gst::PadProbeType::BUFFER_LIST
            | gst::PadProbeType::EVENT_DOWNSTREAM
            | gst::PadProbeType::EVENT_FLUSH;
        last.add_probe(kinds, move |_, info| {
            match &info.data {
                Some(gst::PadProbeData::Buffer(buffer)) => notes.buffer(track, buffer),
                Some(gst::PadProbeData::BufferList(list)) => {
                    list.iter().for_each(|buffer| notes.buffer(track, buffer))
                }
                // A seek waits for the thread that waits here.
                Some(gst::PadProbeData::Event(event)) if event.type_() == gst::EventType::FlushStart => {
                    notes.end_look();
                }
                Some(gst::PadProbeData::Event(event)) => notes.event(track, event),
                _ => {}
            }
            gst::PadProbeReturn::Ok
        });
        for element in chain.iter().rev() {
            element.sync_state_with_parent().map_err(|_| wrong("a parser does not start"))?;
        }
        pad.link(&first)
            .map_err(|error| wrong(&format!("the parser of pad {} cannot be linked: {error}", pad.name())))?;
        Ok(())
    }
}

/// A failure that is the platform's.
pub(super) fn platform_error(platform: &Platform, reason: &str) -> Error {
    Error::Platform { platform: platform.name.clone(), reason: reason.to_owned() }
}

//! The packets of a source in the order of their times, from a demuxer that gives them in the file's.
//!
//! Owns the pipeline up to the packets, and how many of them wait. Pictures keep the order in which they
//! are decoded; a packet of sound comes before the first picture that is not shown before it.

use super::{CopyRun, Kind, Packet, STALL, TICK, WAITING, platform_error, refused};
use crate::error::Error;
use crate::graph::assemble::INPUT;
use crate::graph::clock::{Clock, UNDECIDED};
use crate::graph::init::make;
use crate::graph::source_element::{Watched, source_element};
use crate::units::MediaTime;
use gstreamer as gst;
use gstreamer::prelude::*;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// With so many bytes waiting the demuxer waits too, unless one track still has nothing.
const ENOUGH: u64 = 16 << 20;

/// Of the pictures the time of the first is known, in whatever order they come, once so many are there:
/// more than codecs reorder (16, H.264 A.3.1).
const REORDERED: usize = 20;

/// A packet, and the time of the one that follows it in its track.
pub(super) struct Next {
    pub(super) packet: Packet,
    pub(super) following: Option<MediaTime>,
    /// None follows.
    pub(super) is_last: bool,
    /// The tracks that there are packets of from here on, and what they are.
    pub(super) tracks: Vec<(Kind, gst::Caps)>,
}

/// The packets of a track that wait.
struct Track {
    kind: Kind,
    packets: VecDeque<Packet>,
    /// Of the last packet that was taken.
    caps: Option<gst::Caps>,
    ended: bool,
}

impl Track {
    fn has(&self, count: usize) -> bool {
        self.ended || self.packets.len() >= count
    }

    fn is_over(&self) -> bool {
        self.ended && self.packets.is_empty()
    }

    /// What its packets are, unless there are no more or none has come yet.
    fn caps(&self) -> Option<(Kind, gst::Caps)> {
        let next = self.packets.front().map(|packet| &packet.caps);
        let caps = next.or(self.caps.as_ref()).filter(|_| !self.is_over())?;
        Some((self.kind, caps.clone()))
    }
}

#[derive(Default)]
struct State {
    tracks: Vec<Track>,
    bytes: u64,
    /// Packets that have come.
    come: u64,
    /// Why it cannot be divided.
    fault: Option<String>,
    /// Nobody takes any more.
    closed: bool,
}

impl State {
    /// Whether the next packet is known, whatever comes.
    fn is_ready(&self, count: usize) -> bool {
        self.bytes > WAITING || self.tracks.iter().all(|track| track.has(count))
    }
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The source on its way; taken down when dropped.
pub(super) struct Reader<'a> {
    run: &'a CopyRun<'a>,
    pipeline: gst::Pipeline,
    source: Arc<Watched>,
    shared: Arc<Shared>,
}

impl<'a> Reader<'a> {
    /// Build the pipeline and start it.
    pub(super) fn start(run: &'a CopyRun<'a>) -> Result<Self, Error> {
        let (plan, platform) = (run.plan, run.platform);
        let wrong = |reason: &str| platform_error(platform, reason);
        let pipeline = gst::Pipeline::new();
        let add = |factory: &str, name: &str| {
            let element = make(platform, factory)?;
            element.set_property("name", name);
            pipeline.add(&element).map_err(|_| wrong(&format!("`{factory}` cannot be added")))?;
            Ok::<_, Error>(element)
        };
        let source = Watched::new(run.source.clone());
        let element = source_element(source.clone(), run.cancel.child())?;
        pipeline.add(&element).map_err(|_| wrong("the source cannot be added"))?;
        let key = match serde_json::to_value(plan.input.container) {
            Ok(serde_json::Value::String(key)) => key,
            _ => String::new(),
        };
        let factory =
            platform.demux.get(&key).ok_or_else(|| wrong(&format!("its file has no demuxer for {key}")))?;
        let demuxer = add(factory, &format!("{INPUT}demux"))?;
        element.link(&demuxer).map_err(|_| wrong("the demuxer cannot be linked"))?;
        let muxer = make(platform, "matroskamux")?;

        let shared = Arc::new(Shared::default());
        let mut entries = Vec::new();
        let video = plan.input.video.as_ref().map(|input| {
            let decoder = platform.decode.get(&input.codec).and_then(|decoders| decoders.first());
            (Kind::Video, &input.pad, &input.codec, decoder.and_then(|decoder| decoder.parse.as_ref()))
        });
        let audio = plan.input.audio.as_ref().map(|input| {
            let decoder = platform.decode_audio.get(&input.codec);
            (Kind::Audio, &input.pad, &input.codec, decoder.and_then(|decoder| decoder.parse.as_ref()))
        });
        for (kind, pad, codec, parse) in video.into_iter().chain(audio) {
            let (word, template) = match kind {
                Kind::Video => ("video", "video_%u"),
                Kind::Audio => ("audio", "audio_%u"),
            };
            // A parser puts it into the form that fits into a piece.
            let filter = add("capsfilter", &format!("{word}-form"))?;
            let caps = muxer.pad_template(template).map(|template| template.caps().clone());
            filter.set_property("caps", caps);
            // Nothing arrives there.
            let sink = add("fakesink", &format!("{word}-end"))?;
            sink.set_property("async", false);
            filter.link(&sink).map_err(|_| wrong("an output cannot be linked"))?;
            let exit = filter.static_pad("src").ok_or_else(|| wrong("an element has no exit"))?;
            follow(&exit, kind, Clock::of(plan.input.container), &shared);
            let mut entry = filter.clone();
            if let Some(parse) = parse {
                entry = add(parse, &format!("{INPUT}{word}-parse"))?;
                let misfit = || refused(plan, format!("{codec} cannot be put into Matroska"));
                entry.link(&filter).map_err(|_| misfit())?;
            }
            let entry = entry.static_pad("sink").ok_or_else(|| wrong("an element has no entry"))?;
            entries.push((pad.clone(), entry.downgrade()));
        }
        connect(&demuxer, entries, &shared);
        let reader = Self { run, pipeline, source, shared };
        // What it says is on the bus.
        let _started = reader.pipeline.set_state(gst::State::Playing);
        Ok(reader)
    }

    /// The time of what is shown or heard first.
    pub(super) fn first(&self) -> Result<MediaTime, Error> {
        let state = self.wait(REORDERED)?;
        let times = state.tracks.iter().flat_map(|track| &track.packets).map(|packet| packet.time);
        Ok(times.min().unwrap_or(MediaTime::ZERO))
    }

    /// The next packet; `None` at the end.
    pub(super) fn next(&self) -> Result<Option<Next>, Error> {
        let mut state = self.wait(2)?;
        let head = |kind| {
            let at = state.tracks.iter().position(|track| track.kind == kind)?;
            Some((at, state.tracks[at].packets.front()?.time))
        };
        let at = match (head(Kind::Video), head(Kind::Audio)) {
            (Some((at, picture)), Some((_, sound))) if picture <= sound => at,
            (_, Some((at, _))) | (Some((at, _)), None) => at,
            (None, None) => return Ok(None),
        };
        let tracks = state.tracks.iter().filter_map(Track::caps).collect();
        let track = &mut state.tracks[at];
        let Some(packet) = track.packets.pop_front() else { return Ok(None) };
        track.caps = Some(packet.caps.clone());
        let (following, is_last) = (track.packets.front().map(|packet| packet.time), track.is_over());
        state.bytes = state.bytes.saturating_sub(packet.buffer.size() as u64);
        drop(state);
        self.shared.changed.notify_all();
        Ok(Some(Next { packet, following, is_last, tracks }))
    }

    /// Until each track has so many packets or is at its end.
    fn wait(&self, count: usize) -> Result<MutexGuard<'_, State>, Error> {
        let input = |reason: String| Error::Input { uri: self.run.plan.source.uri.clone(), reason };
        let bus = self.pipeline.bus().ok_or_else(|| platform_error(self.run.platform, "no bus"))?;
        let (mut moved, mut seen) = (Instant::now(), (0, 0));
        let mut state = self.shared.lock();
        loop {
            if self.run.cancel.is_cancelled() {
                return Err(Error::Interrupted);
            }
            if let Some(fault) = state.fault.take() {
                return Err(refused(self.run.plan, fault));
            }
            if state.is_ready(count) {
                // Reading that failed may look like an end.
                match self.source.failure() {
                    Some(failure) => return Err(Error::Source(failure)),
                    None => return Ok(state),
                }
            }
            if let Some(message) = bus.pop_filtered(&[gst::MessageType::Error]) {
                if let Some(failure) = self.source.failure() {
                    return Err(Error::Source(failure));
                }
                if let gst::MessageView::Error(error) = message.view() {
                    return Err(input(error.error().message().replace('\n', " ")));
                }
            }
            let now = (self.source.reads(), state.come);
            if now != seen || self.source.is_reading() {
                (seen, moved) = (now, Instant::now());
            }
            if moved.elapsed() >= STALL {
                let reason = format!("nothing came out of the source for {} s", STALL.as_secs());
                return Err(Error::Stalled { reason });
            }
            let waited = self.shared.changed.wait_timeout(state, TICK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
        super::muxer::take_down(self.pipeline.clone());
    }
}

/// Link the demuxer's pads as they appear.
fn connect(
    demuxer: &gst::Element,
    entries: Vec<(String, gst::glib::WeakRef<gst::Pad>)>,
    shared: &Arc<Shared>,
) {
    let weak = Arc::downgrade(shared);
    demuxer.connect_pad_added(move |_, pad| {
        let entry =
            entries.iter().find(|(name, _)| *name == pad.name()).and_then(|(_, entry)| entry.upgrade());
        let Some(entry) = entry.filter(|entry| !entry.is_linked()) else { return };
        if let (Err(error), Some(shared)) = (pad.link(&entry), weak.upgrade()) {
            shared.lock().fault =
                Some(format!("its track {} cannot be put into Matroska ({error})", pad.name()));
            shared.changed.notify_all();
        }
    });
}

/// Take a track's packets as they come: before any sink, which would leave out what a segment does not show.
fn follow(pad: &gst::Pad, kind: Kind, clock: Clock, shared: &Arc<Shared>) {
    let at = {
        let mut state = shared.lock();
        state.tracks.push(Track { kind, packets: VecDeque::new(), caps: None, ended: false });
        state.tracks.len() - 1
    };
    let shared = shared.clone();
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    pad.add_probe(kinds, move |pad, info| {
        match info.data.take() {
            Some(gst::PadProbeData::Buffer(buffer)) => {
                let packet = packet(pad, buffer, kind, clock);
                let mut state = shared.lock();
                match packet {
                    Ok(Some(packet)) => {
                        state.bytes += packet.buffer.size() as u64;
                        state.come += 1;
                        state.tracks[at].packets.push_back(packet);
                    }
                    Ok(None) => {}
                    Err(fault) => {
                        state.fault.get_or_insert(fault);
                    }
                }
                shared.changed.notify_all();
                // The driver has what it needs to go on: wait for it.
                while !state.closed && state.bytes > ENOUGH && state.is_ready(REORDERED) {
                    state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                // (`Drop` would have it released twice.)
                gst::PadProbeReturn::Handled
            }
            data => {
                if let Some(gst::PadProbeData::Event(event)) = &data {
                    if event.type_() == gst::EventType::Eos {
                        shared.lock().tracks[at].ended = true;
                        shared.changed.notify_all();
                    }
                }
                info.data = data;
                gst::PadProbeReturn::Ok
            }
        }
    });
}

/// What a buffer is; `None` for sound that an edit list hides.
fn packet(pad: &gst::Pad, buffer: gst::Buffer, kind: Kind, clock: Clock) -> Result<Option<Packet>, String> {
    let word = match kind {
        Kind::Video => "a picture",
        Kind::Audio => "a packet of sound",
    };
    let caps = pad.current_caps().ok_or_else(|| format!("{word} comes before what it is"))?;
    let segment = pad.sticky_event::<gst::event::Segment>(0);
    let segment = segment.as_ref().and_then(|event| event.segment().downcast_ref::<gst::ClockTime>());
    let segment = segment.ok_or_else(|| format!("{word} comes before what its time means"))?;
    let stamp = buffer.pts().ok_or_else(|| format!("{word} has no time of its own"))?;
    let time = clock.time(segment, stamp);
    if clock == Clock::Stream {
        let undecided = gst::ClockTime::from_nseconds(UNDECIDED.unsigned_abs());
        let end = stamp + buffer.duration().unwrap_or(gst::ClockTime::ZERO);
        let before = segment.start().is_some_and(|start| match kind {
            Kind::Video => stamp + undecided < start,
            Kind::Audio => end <= start + undecided,
        });
        let behind = segment.stop().is_some_and(|stop| stamp + undecided >= stop);
        match kind {
            Kind::Video if before || behind => {
                return Err(format!(
                    "an edit list hides a picture at {time} s that others may need, and a piece cannot hide it"
                ));
            }
            Kind::Audio if before || behind => return Ok(None),
            _ => {}
        }
    }
    let is_key = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
    Ok(Some(Packet { kind, time, is_key, buffer, caps }))
}

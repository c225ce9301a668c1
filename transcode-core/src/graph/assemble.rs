//! Builds the pipeline of one chunk: from the plan's words to linked elements.
//!
//! ```text
//! source ! demux ─ queue ! parse ! decode ! (deinterlace) ! (flip) ! convert ! GATE ! tee ─┬ queue ! scale ! x264 ! parse ! queue ─ hlssink2
//!                │                                                                      └ …a branch a rung; small rungs scale from bigger ones
//!                └ queue ! parse ! decode ! convert ! resample ! GATE ! tee ─ queue ! aac ! tee ─ queue ─ hlssink2
//! ```

use super::audio_gate::{self, AAC_FRAME, AtItsEnd, AudioGate, position_time};
use super::clock::{Clock, clock};
use super::closing::{self, Boundaries};
use super::colours;
use super::encoder::{self, Joints};
use super::fragments::{Discard, RungOutput};
use super::grid;
use super::init::make;
use super::scaler::Scaler;
use super::video_gate::{self, VideoGate};
use crate::error::Error;
use crate::media::Rotation;
use crate::plan::{AudioInput, AudioRung, Chunk, Plan, Rung, VideoInput, VideoRung};
use crate::platform::Platform;
use crate::units::MediaTime;
use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Every element whose failure is the input's fault has a name that begins so.
pub(super) const INPUT: &str = "input-";

/// Pictures that may wait before an encoder, a branch. Two keep both sides busy; at 1080p each
/// costs 3 MB, and eight a branch cost 20 MB for nothing (measured).
const RAW_BUFFERS: u32 = 2;

/// Encoded video and audio that may wait before a muxer, as seconds of the rung's bit rate. A muxer
/// that waits for one track holds back a whole GOP of the other, an encoder another two seconds of
/// look-ahead: less than their sum is the deadlock of a default queue. Bounded by bytes, because
/// time stamps jump at B-frames.
const ENCODED_SECONDS: u64 = 20;

/// Compressed bytes that may wait before a decoder: two to three pictures of a 4K intra codec.
const COMPRESSED_BYTES: u32 = 8 << 20;

/// AAC packets encoded before the chunk's first and thrown away, so that the encoder's state at a
/// joint is that of a run that came from further back. Measured: two are enough, from one the encoder
/// is 50 dB off for a packet; two more are for sources that are harder.
const AUDIO_PREROLL: u64 = 4;

/// Packets of sound behind the chunk's last one: half of the first completes that one, and by the
/// second the encoder chooses its window. A window that does not know of a knock right behind the joint
/// does not fit the next chunk's first (13 dB of signal to noise there instead of 26).
pub(super) const AUDIO_POSTROLL: u64 = 2;

/// The pipeline and what the driver needs to hold of it.
pub(super) struct Assembly {
    pub(super) pipeline: gst::Pipeline,
    /// Gives the pads that the gates are fed from; the source itself for elementary streams.
    pub(super) demuxer: gst::Element,
    /// Demuxer pads by name, and where each is to be linked.
    pub(super) inputs: BTreeMap<String, gst::Pad>,
    pub(super) video_gate: Option<VideoGate>,
    pub(super) audio_gate: Option<AudioGate>,
    /// Sound is held back until the seek has come; unset it where none comes.
    pub(super) wait: Arc<AtomicBool>,
    /// By rung: pictures out of its encoder.
    pub(super) encoded: Vec<Arc<AtomicU64>>,
    /// By rung: AAC packets out of its encoder, without priming and pre-roll.
    pub(super) packets: Vec<Arc<AtomicU64>>,
}

/// What assembling needs besides the plan.
pub(super) struct Parts<'a> {
    pub(super) plan: &'a Plan,
    pub(super) chunk: &'a Chunk,
    pub(super) platform: &'a Platform,
    pub(super) source: gst::Element,
    pub(super) outputs: &'a [Arc<RungOutput>],
    pub(super) watcher: video_gate::Watcher,
    pub(super) need_earlier: Box<dyn Fn() + Send + Sync>,
    pub(super) wait_for_seek: bool,
}

/// Whether segments are cut by a track's key frames.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// They are.
    Cuts,
    /// It follows.
    Follows,
}

struct Builder<'a> {
    plan: &'a Plan,
    outputs: &'a [Arc<RungOutput>],
    platform: &'a Platform,
    joints: Joints,
    pipeline: gst::Pipeline,
}

/// Build the whole pipeline, in state NULL.
pub(super) fn assemble(parts: Parts<'_>) -> Result<Assembly, Error> {
    let Parts { plan, chunk, platform, source, outputs, watcher, need_earlier, wait_for_seek } = parts;
    let begin = plan.timeline.begin(chunk.first);
    let followed = chunk.end.0 < plan.timeline.segment_count();
    let after = followed.then(|| plan.timeline.begin(chunk.end) - begin);
    let joints = Joints { before: chunk.first.0 > 0, after };
    let builder = Builder { plan, outputs, platform, joints, pipeline: gst::Pipeline::new() };
    builder.pipeline.add(&source).map_err(|_| builder.wrong("the source cannot be added"))?;
    let container = container_key(plan);
    let demuxer = match platform.demux.get(&container) {
        Some(factory) => {
            let demuxer = builder.add(factory, &format!("{INPUT}demux"))?;
            builder.link(&source, &demuxer)?;
            demuxer
        }
        None => source,
    };

    let sinks = plan
        .rungs
        .iter()
        .zip(outputs)
        .map(|(rung, output)| builder.hls_sink(rung, output))
        .collect::<Result<Vec<_>, _>>()?;
    let mut inputs = BTreeMap::new();
    let counters = || plan.rungs.iter().map(|_| Arc::new(AtomicU64::new(0))).collect::<Vec<_>>();
    let (encoded, packets) = (counters(), counters());
    let slots = plan.timeline.slots_of(chunk.first).start
        ..plan.timeline.slots_of(crate::units::SegmentIndex(chunk.end.0.saturating_sub(1))).end;

    let mut video_gate = None;
    if let Some(input) = &plan.input.video {
        let gate = VideoGate::make(video_gate::Settings {
            rate: plan.timeline.rate,
            start: plan.timeline.start,
            clock: Clock::of(plan.input.container),
            slots: slots.clone(),
            wait_for_seek,
            need_earlier,
            watcher,
        });
        builder.pipeline.add(&gate).map_err(|_| builder.wrong("the gate cannot be added"))?;
        inputs.insert(input.pad.clone(), builder.video_input(input, gate.upcast_ref())?);
        builder.video_branches(gate.upcast_ref(), &sinks, &encoded)?;
        video_gate = Some(gate);
    }
    let mut audio_gate = None;
    let wait = Arc::new(AtomicBool::new(wait_for_seek));
    if let (Some(input), Some(format)) = (&plan.input.audio, plan.audio_encodes().first()) {
        let run = AudioRun::of(plan, format, &slots);
        let gate = AudioGate::make(audio_gate::Settings {
            rate: format.sample_rate,
            channels: format.channels,
            start: plan.timeline.start,
            clock: Clock::of(plan.input.container),
            samples: run.samples.clone(),
            wait_for_seek,
            at_its_end: if plan.input.video.is_some() {
                AtItsEnd::Wait
            } else if plan.timeline.open_ended || plan.allow_truncated {
                AtItsEnd::End
            } else {
                AtItsEnd::Fill
            },
        });
        builder.pipeline.add(&gate).map_err(|_| builder.wrong("the gate cannot be added"))?;
        inputs
            .insert(input.pad.clone(), builder.audio_input(input, format, gate.upcast_ref(), wait.clone())?);
        builder.audio_branches(gate.upcast_ref(), &run, &sinks, &packets)?;
        audio_gate = Some(gate);
    }
    Ok(Assembly {
        pipeline: builder.pipeline,
        demuxer,
        inputs,
        video_gate,
        audio_gate,
        wait,
        encoded,
        packets,
    })
}

/// The container as platform files key it.
fn container_key(plan: &Plan) -> String {
    match serde_json::to_value(plan.input.container) {
        Ok(serde_json::Value::String(key)) => key,
        _ => String::new(),
    }
}

/// Which samples and packets a chunk is made of.
struct AudioRun {
    /// Sent to the encoders: pre-roll, the chunk, post-roll.
    samples: std::ops::Range<u64>,
    /// Kept of what comes out.
    packets: std::ops::Range<u64>,
}

impl AudioRun {
    fn of(plan: &Plan, format: &AudioRung, slots: &std::ops::Range<u64>) -> Self {
        let packets = format.packets_before(&plan.timeline, slots.start)
            ..format.packets_before(&plan.timeline, slots.end);
        let begin = packets.start.saturating_sub(AUDIO_PREROLL);
        Self { samples: begin * AAC_FRAME..(packets.end + AUDIO_POSTROLL) * AAC_FRAME, packets }
    }
}

impl Builder<'_> {
    fn wrong(&self, reason: &str) -> Error {
        Error::Platform { platform: self.platform.name.clone(), reason: reason.to_owned() }
    }

    fn add(&self, factory: &str, name: &str) -> Result<gst::Element, Error> {
        let element = make(&self.platform.name, factory)?;
        if !name.is_empty() {
            element.set_property("name", name);
        }
        self.pipeline.add(&element).map_err(|_| self.wrong(&format!("`{factory}` cannot be added")))?;
        Ok(element)
    }

    fn link(&self, from: &gst::Element, to: &gst::Element) -> Result<(), Error> {
        from.link(to).map_err(|_| self.wrong(&format!("`{}` does not link to `{}`", from.name(), to.name())))
    }

    fn chain(&self, elements: &[gst::Element]) -> Result<(), Error> {
        elements.windows(2).try_for_each(|pair| self.link(&pair[0], &pair[1]))
    }

    /// A queue bounded by one thing; zero is no bound.
    fn queue(&self, name: &str, buffers: u32, bytes: u32) -> Result<gst::Element, Error> {
        let queue = self.add("queue", name)?;
        queue.set_property("max-size-buffers", buffers);
        queue.set_property("max-size-bytes", bytes);
        queue.set_property("max-size-time", 0u64);
        Ok(queue)
    }

    fn caps(&self, name: &str, caps: &gst::Caps) -> Result<gst::Element, Error> {
        let filter = self.add("capsfilter", name)?;
        filter.set_property("caps", caps);
        Ok(filter)
    }

    /// From the demuxer's pad to the gate; gives the pad to link the demuxer to.
    fn video_input(&self, input: &VideoInput, gate: &gst::Element) -> Result<gst::Pad, Error> {
        let missing = || self.wrong(&format!("no decoder is named for video codec `{}`", input.codec));
        let decoder = self.platform.decode.get(&input.codec).ok_or_else(missing)?;
        let mut chain = vec![self.queue(&format!("{INPUT}video-queue"), 0, COMPRESSED_BYTES)?];
        if let Some(parse) = &decoder.parse {
            chain.push(self.add(parse, &format!("{INPUT}video-parse"))?);
        }
        if let Some(element) = &decoder.element {
            let element = self.add(element, &format!("{INPUT}video-decode"))?;
            encoder::set_all(self.platform, &element, &decoder.properties)?;
            chain.push(element);
        }
        if input.deinterlace {
            let element = self.add("deinterlace", "deinterlace")?;
            // One picture for two fields keeps the source's rate; its default doubles it.
            encoder::set(self.platform, &element, "fields", "top")?;
            encoder::set(self.platform, &element, "method", "yadif")?;
            chain.push(element);
        }
        if let Some(direction) = flip(input.rotation) {
            let element = self.add("videoflip", "flip")?;
            encoder::set(self.platform, &element, "video-direction", direction)?;
            chain.push(element);
        }
        let convert = self.add("videoconvert", "convert")?;
        colours::take_for(&convert, &input.colorimetry).ok_or_else(|| {
            self.wrong(&format!("`{}` is no colorimetry that this GStreamer knows", input.colorimetry))
        })?;
        let colorimetry =
            self.plan.rungs.iter().find_map(|rung| rung.video.as_ref()).map(|v| v.colorimetry.clone());
        let caps = gst::Caps::builder("video/x-raw").field("format", self.platform.encode.format.as_str());
        let caps = caps.field("colorimetry", colorimetry.unwrap_or_default()).build();
        chain.extend([convert, self.caps("pinned", &caps)?, gate.clone()]);
        self.chain(&chain)?;
        chain[0].static_pad("sink").ok_or_else(|| self.wrong("a queue has no sink pad"))
    }

    /// One branch a rung behind the gate.
    fn video_branches(
        &self,
        gate: &gst::Element,
        sinks: &[gst::Element],
        encoded: &[Arc<AtomicU64>],
    ) -> Result<(), Error> {
        let tee = self.add("tee", "pictures")?;
        self.link(gate, &tee)?;
        let mut tees: BTreeMap<&str, gst::Element> = BTreeMap::new();
        for ((rung, sink), counter) in self.plan.rungs.iter().zip(sinks).zip(encoded) {
            let Some(video) = &rung.video else { continue };
            let from = match &video.scale_from {
                None => &tee,
                Some(name) => tees.get(name.as_str()).ok_or_else(|| {
                    self.wrong(&format!(
                        "rung {} scales from {name}, which is not a rung above it",
                        rung.name
                    ))
                })?,
            };
            let name = &rung.name;
            let size = video.size;
            let side = |pixels: u32| i32::try_from(pixels).unwrap_or(i32::MAX);
            let caps = gst::Caps::builder("video/x-raw")
                .field("format", self.platform.encode.format.as_str())
                .field("width", side(size.width()))
                .field("height", side(size.height()))
                .build();
            let queue = self.queue(&format!("{name}-pictures"), RAW_BUFFERS, 0)?;
            let scaler = Scaler::make();
            self.pipeline.add(&scaler).map_err(|_| self.wrong("the scaler cannot be added"))?;
            let sized = self.caps(&format!("{name}-size"), &caps)?;
            self.chain(&[from.clone(), queue, scaler, sized.clone()])?;
            let has_children = self
                .plan
                .rungs
                .iter()
                .any(|r| r.video.as_ref().and_then(|v| v.scale_from.as_ref()) == Some(name));
            let last = if has_children {
                let split = self.add("tee", &format!("{name}-split"))?;
                let queue = self.queue(&format!("{name}-own"), RAW_BUFFERS, 0)?;
                self.chain(&[sized, split.clone(), queue.clone()])?;
                tees.insert(name, split);
                queue
            } else {
                sized
            };
            self.encode_video(rung, video, &last, sink, counter)?;
        }
        Ok(())
    }

    fn encode_video(
        &self,
        rung: &Rung,
        video: &VideoRung,
        from: &gst::Element,
        sink: &gst::Element,
        counter: &Arc<AtomicU64>,
    ) -> Result<(), Error> {
        let name = &rung.name;
        let encoder = encoder::video(self.platform, video, self.joints)?;
        encoder.set_property("name", format!("{name}-encode"));
        self.pipeline.add(&encoder).map_err(|_| self.wrong("the encoder cannot be added"))?;
        let profile = self.caps(&format!("{name}-profile"), &encoder::output_caps(video))?;
        let parse = self.add("h264parse", &format!("{name}-parse"))?;
        parse.set_property("config-interval", -1i32);
        let framing = gst::Caps::builder("video/x-h264")
            .field("stream-format", "byte-stream")
            .field("alignment", "au")
            .build();
        let framing = self.caps(&format!("{name}-framing"), &framing)?;
        let queue =
            self.queue(&format!("{name}-video"), 0, encoded_bytes(video.bitrate.bits_per_second()))?;
        self.chain(&[from.clone(), encoder.clone(), profile, parse, framing, queue.clone()])?;
        self.mux(&queue, sink, "video", Role::Cuts, name)?;
        let counter = counter.clone();
        let pad = encoder.static_pad("src").ok_or_else(|| self.wrong("the encoder has no source pad"))?;
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            counter.fetch_add(1, Ordering::Relaxed);
            gst::PadProbeReturn::Ok
        });
        Ok(())
    }

    fn link_request(&self, from: &gst::Element, to: &gst::Element, pad: &str) -> Result<(), Error> {
        from.link_pads(Some("src"), to, Some(pad))
            .map_err(|_| self.wrong(&format!("`{}` does not link to {pad} of `{}`", from.name(), to.name())))
    }

    fn audio_input(
        &self,
        input: &AudioInput,
        format: &AudioRung,
        gate: &gst::Element,
        wait: Arc<AtomicBool>,
    ) -> Result<gst::Pad, Error> {
        let missing = || self.wrong(&format!("no decoder is named for audio codec `{}`", input.codec));
        let decoder = self.platform.decode_audio.get(&input.codec).ok_or_else(missing)?;
        let mut chain = vec![self.queue(&format!("{INPUT}audio-queue"), 0, COMPRESSED_BYTES)?];
        if let Some(parse) = &decoder.parse {
            chain.push(self.add(parse, &format!("{INPUT}audio-parse"))?);
        }
        if let Some(element) = &decoder.element {
            let element = self.add(element, &format!("{INPUT}audio-decode"))?;
            encoder::set_all(self.platform, &element, &decoder.properties)?;
            drop_priming(&element)?;
            if grid::is_rounded(self.plan.input.container, &input.codec) {
                grid::unround(&element, input);
            }
            chain.push(element);
        }
        let side = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
        let mut caps = gst::Caps::builder("audio/x-raw")
            .field("format", self.platform.encode_audio.format.as_str())
            .field("layout", "interleaved")
            .field("rate", side(format.sample_rate))
            .field("channels", side(format.channels));
        if format.channels == 2 {
            caps = caps.field("channel-mask", gst::Bitmask::new(0x3));
        }
        let resampler = self.add("audioresample", "audio-resample")?;
        let clock = Clock::of(self.plan.input.container);
        grid::begin_whole(&resampler, clock, self.plan.timeline.start, format.sample_rate, wait);
        chain.extend([
            self.add("audioconvert", "audio-convert")?,
            resampler,
            self.caps("audio-format", &caps.build())?,
            gate.clone(),
        ]);
        self.chain(&chain)?;
        chain[0].static_pad("sink").ok_or_else(|| self.wrong("a queue has no sink pad"))
    }

    /// One encode for every distinct audio rung, muxed into every rendition that has it.
    fn audio_branches(
        &self,
        gate: &gst::Element,
        run: &AudioRun,
        sinks: &[gst::Element],
        packets: &[Arc<AtomicU64>],
    ) -> Result<(), Error> {
        let samples = self.add("tee", "samples")?;
        self.link(gate, &samples)?;
        for (number, audio) in self.plan.audio_encodes().into_iter().enumerate() {
            let queue = self.queue(&format!("audio-{number}-samples"), 0, 1 << 20)?;
            let encoder = encoder::audio(self.platform, audio)?;
            encoder.set_property("name", format!("audio-{number}-encode"));
            self.pipeline.add(&encoder).map_err(|_| self.wrong("the encoder cannot be added"))?;
            let split = self.add("tee", &format!("audio-{number}-split"))?;
            self.chain(&[samples.clone(), queue, encoder.clone(), split.clone()])?;
            let users: Vec<usize> =
                (0..sinks.len()).filter(|at| self.plan.rungs[*at].audio.as_ref() == Some(audio)).collect();
            let counters = users.iter().map(|at| packets[*at].clone()).collect();
            self.restamp(&encoder, audio, run, counters)?;
            for at in users {
                let bytes = encoded_bytes(audio.bitrate.bits_per_second()).max(2 << 20);
                let queue = self.queue(&format!("{}-audio", self.plan.rungs[at].name), 0, bytes)?;
                self.link(&split, &queue)?;
                let role = if self.plan.rungs[at].video.is_some() { Role::Follows } else { Role::Cuts };
                self.mux(&queue, &sinks[at], "audio", role, &self.plan.rungs[at].name)?;
            }
        }
        Ok(())
    }

    /// Stamp AAC packets from their number, and keep those of the chunk only.
    ///
    /// The encoder gives its first packet the first sample's time, but what that packet decodes to
    /// lies `delay` samples earlier: without this, sound is 21 ms late in every player.
    fn restamp(
        &self,
        encoder: &gst::Element,
        audio: &AudioRung,
        run: &AudioRun,
        counters: Vec<Arc<AtomicU64>>,
    ) -> Result<(), Error> {
        let first = i64::try_from(run.samples.start / AAC_FRAME).unwrap_or(0)
            - i64::from(self.platform.encode_audio.delay) / AAC_FRAME as i64;
        let (rate, keep) = (audio.sample_rate, run.packets.clone());
        let number = AtomicU64::new(0);
        let pad = encoder.static_pad("src").ok_or_else(|| self.wrong("the encoder has no source pad"))?;
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            let packet = first + i64::try_from(number.fetch_add(1, Ordering::Relaxed)).unwrap_or(i64::MAX);
            let wanted = u64::try_from(packet).ok().filter(|packet| keep.contains(packet));
            let Some(packet) = wanted else {
                info.data = None;
                return gst::PadProbeReturn::Handled;
            };
            if let Some(gst::PadProbeData::Buffer(buffer)) = &mut info.data {
                let buffer = buffer.make_mut();
                let begin = clock(position_time(packet * AAC_FRAME, rate));
                buffer.set_pts(begin);
                buffer.set_dts(begin);
                buffer.set_duration(clock(position_time((packet + 1) * AAC_FRAME, rate)) - begin);
            }
            counters.iter().for_each(|counter| {
                counter.fetch_add(1, Ordering::Relaxed);
            });
            gst::PadProbeReturn::Ok
        });
        Ok(())
    }

    /// Feed a track into its muxer.
    fn mux(
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

    fn hls_sink(&self, rung: &Rung, output: &Arc<RungOutput>) -> Result<gst::Element, Error> {
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

fn encoded_bytes(bits_per_second: u64) -> u32 {
    u32::try_from((bits_per_second * ENCODED_SECONDS / 8).clamp(2 << 20, 256 << 20)).unwrap_or(u32::MAX)
}

/// At the start of a file, packets that end before the edit list's begin give no output, and the
/// AAC decoder then stamps everything behind them too early: they are not sent to it.
fn drop_priming(decoder: &gst::Element) -> Result<(), Error> {
    let Some(pad) = decoder.static_pad("sink") else { return Ok(()) };
    pad.add_probe(gst::PadProbeType::BUFFER, |pad, info| {
        let segment = pad.sticky_event::<gst::event::Segment>(0);
        let segment = segment.as_ref().and_then(|event| event.segment().downcast_ref::<gst::ClockTime>());
        let priming = match (&info.data, segment) {
            (Some(gst::PadProbeData::Buffer(buffer)), Some(segment))
                if segment.time().is_none_or(|t| t.is_zero()) =>
            {
                let end = buffer.pts().zip(buffer.duration()).map(|(pts, duration)| pts + duration);
                end.zip(segment.start()).is_some_and(|(end, start)| end <= start)
            }
            _ => false,
        };
        if priming {
            info.data = None;
            return gst::PadProbeReturn::Handled;
        }
        gst::PadProbeReturn::Ok
    });
    Ok(())
}

/// Our rotation as videoflip names it.
const fn flip(rotation: Rotation) -> Option<&'static str> {
    match rotation {
        Rotation::None => None,
        Rotation::Clockwise90 => Some("90r"),
        Rotation::Half => Some("180"),
        Rotation::Clockwise270 => Some("90l"),
        Rotation::Mirror => Some("horiz"),
        Rotation::MirrorHalf => Some("vert"),
        Rotation::MirrorClockwise90 => Some("ur-ll"),
        Rotation::MirrorClockwise270 => Some("ul-lr"),
    }
}

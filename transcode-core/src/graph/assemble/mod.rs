//! Builds the pipeline of one chunk: from the plan's words to linked elements.
//!
//! ```text
//! source ! demux ─ queue ! parse ! decode ! (deinterlace) ! (flip) ! convert ! GATE ! tee ─┬ queue ! scale ! x264 ! parse ! queue ─ hlssink2
//!                │                                                                      └ …a branch a rung; small rungs scale from bigger ones
//!                └ queue ! parse ! decode ! convert ! resample ! GATE ! tee ─ queue ! aac ! tee ─ queue ─ hlssink2
//! ```

mod audio;
mod mux;
mod video;

pub(super) use audio::AUDIO_POSTROLL;

use super::audio_gate::{self, AtItsEnd, AudioGate};
use super::clock::Clock;
use super::encoder::Joints;
use super::fragments::RungOutput;
use super::hold::Hold;
use super::init::make;
use super::video_gate::{self, VideoGate};
use super::viewer::Eyes;
use super::ways;
use super::wiring::watcher;
use crate::error::Error;
use crate::plan::{Chunk, Plan};
use crate::platform::{Pictures, Platform};
use audio::AudioRun;
use gstreamer as gst;
use gstreamer::prelude::*;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Instant;

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

/// The pipeline and what the driver needs to hold of it.
pub(super) struct Assembly {
    pub(super) pipeline: gst::Pipeline,
    /// Gives the pads that the gates are fed from; the source itself for elementary streams.
    pub(super) demuxer: gst::Element,
    /// Demuxer pads by name, and where each is to be linked.
    pub(super) inputs: BTreeMap<String, gst::Pad>,
    pub(super) video_gate: Option<VideoGate>,
    pub(super) audio_gate: Option<AudioGate>,
    /// By rung: pictures out of its encoder.
    pub(super) encoded: Vec<Arc<AtomicU64>>,
    /// By rung: AAC packets out of its encoder, without priming and pre-roll.
    pub(super) packets: Vec<Arc<AtomicU64>>,
    /// The sinks that get nothing until the pipeline plays.
    pub(super) holds: Vec<Hold>,
    /// What is done otherwise than the platform's file wants it first, for people.
    pub(super) notes: Vec<String>,
}

/// What assembling needs besides the plan.
pub(super) struct Parts<'a> {
    pub(super) plan: &'a Plan,
    pub(super) chunk: &'a Chunk,
    pub(super) platform: &'a Platform,
    pub(super) source: gst::Element,
    pub(super) outputs: &'a [Arc<RungOutput>],
    /// Sets down when the first picture came; how many milliseconds after `begun`.
    pub(super) first_picture: Arc<AtomicU64>,
    pub(super) begun: Instant,
    /// Who looks at pictures.
    pub(super) eyes: Arc<Eyes>,
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
    /// The way that pictures take.
    way: &'a Pictures,
    eyes: Arc<Eyes>,
    joints: Joints,
    pipeline: gst::Pipeline,
    holds: RefCell<Vec<Hold>>,
    notes: RefCell<Vec<String>>,
}

/// Build the whole pipeline, in state NULL.
pub(super) fn assemble(parts: Parts<'_>) -> Result<Assembly, Error> {
    let Parts {
        plan,
        chunk,
        platform,
        source,
        outputs,
        first_picture,
        begun,
        eyes,
        need_earlier,
        wait_for_seek,
    } = parts;
    let (way, why) = ways::choose(platform);
    let way = way.ok_or_else(|| Error::Platform {
        platform: platform.name.clone(),
        reason: "its file does not say where pictures live".to_owned(),
    })?;
    let encodes = plan.rungs.iter().filter(|rung| rung.video.is_some()).count();
    if let Some(most) = platform.encode.sessions.filter(|most| encodes > *most as usize) {
        return Err(Error::Platform {
            platform: platform.name.clone(),
            reason: format!(
                "{encodes} rungs are wanted at once, and `{}` encodes {most} here; ask for fewer, or raise \
                 `sessions` in the platform's file",
                platform.encode.element
            ),
        });
    }
    let (notes, holds) = (RefCell::new(Vec::new()), RefCell::new(Vec::new()));
    let begin = plan.timeline.begin(chunk.first);
    let followed = chunk.end.0 < plan.timeline.segment_count();
    let after = followed.then(|| plan.timeline.begin(chunk.end) - begin);
    let joints = Joints { before: chunk.first.0 > 0, after };
    let pipeline = gst::Pipeline::new();
    let builder = Builder { plan, outputs, platform, way, eyes, joints, pipeline, holds, notes };
    if let Some(why) = why.filter(|_| plan.input.video.is_some()) {
        builder.note(why);
    }
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
            watcher: watcher(way.memory.is_system().then(|| builder.eyes.clone()), first_picture, begun),
        });
        gate.set_property("name", "gate");
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
        gate.set_property("name", "audio-gate");
        builder.pipeline.add(&gate).map_err(|_| builder.wrong("the gate cannot be added"))?;
        inputs.insert(input.pad.clone(), builder.audio_input(input, format, gate.upcast_ref(), wait)?);
        builder.audio_branches(gate.upcast_ref(), &run, &sinks, &packets)?;
        audio_gate = Some(gate);
    }
    Ok(Assembly {
        pipeline: builder.pipeline,
        demuxer,
        inputs,
        video_gate,
        audio_gate,
        encoded,
        packets,
        holds: builder.holds.into_inner(),
        notes: builder.notes.into_inner(),
    })
}

/// The container as platform files key it.
fn container_key(plan: &Plan) -> String {
    match serde_json::to_value(plan.input.container) {
        Ok(serde_json::Value::String(key)) => key,
        _ => String::new(),
    }
}

impl Builder<'_> {
    fn wrong(&self, reason: &str) -> Error {
        Error::Platform { platform: self.platform.name.clone(), reason: reason.to_owned() }
    }

    /// Something that people should know.
    fn note(&self, text: String) {
        self.notes.borrow_mut().push(text);
    }

    fn add(&self, factory: &str, name: &str) -> Result<gst::Element, Error> {
        let element = make(self.platform, factory)?;
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
}

fn encoded_bytes(bits_per_second: u64) -> u32 {
    u32::try_from((bits_per_second * ENCODED_SECONDS / 8).clamp(2 << 20, 256 << 20)).unwrap_or(u32::MAX)
}

//! The sound of a chunk: from the demuxer's pad to the gate, and one encode for every distinct rung.

use super::{Builder, COMPRESSED_BYTES, INPUT, Role, encoded_bytes};
use crate::error::Error;
use crate::graph::audio_gate::{AAC_FRAME, position_time};
use crate::graph::clock::{Clock, clock};
use crate::graph::{encoder, grid};
use crate::plan::{AudioInput, AudioRung, Plan};
use gstreamer as gst;
use gstreamer::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// AAC packets encoded before the chunk's first and thrown away, so that the encoder's state at a
/// joint is that of a run that came from further back. Measured: two are enough, from one the encoder
/// is 50 dB off for a packet; two more are for sources that are harder.
const AUDIO_PREROLL: u64 = 4;

/// Packets of sound behind the chunk's last one: half of the first completes that one, and by the
/// second the encoder chooses its window. A window that does not know of a knock right behind the joint
/// does not fit the next chunk's first (13 dB of signal to noise there instead of 26).
pub(in crate::graph) const AUDIO_POSTROLL: u64 = 2;

/// Which samples and packets a chunk is made of.
pub(super) struct AudioRun {
    /// Sent to the encoders: pre-roll, the chunk, post-roll.
    pub(super) samples: std::ops::Range<u64>,
    /// Kept of what comes out.
    pub(super) packets: std::ops::Range<u64>,
}

impl AudioRun {
    pub(super) fn of(plan: &Plan, format: &AudioRung, slots: &std::ops::Range<u64>) -> Self {
        let packets = format.packets_before(&plan.timeline, slots.start)
            ..format.packets_before(&plan.timeline, slots.end);
        let begin = packets.start.saturating_sub(AUDIO_PREROLL);
        Self { samples: begin * AAC_FRAME..(packets.end + AUDIO_POSTROLL) * AAC_FRAME, packets }
    }
}

impl Builder<'_> {
    pub(super) fn audio_input(
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
    pub(super) fn audio_branches(
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

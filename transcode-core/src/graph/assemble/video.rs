//! The pictures of a chunk: from the demuxer's pad to the gate, and a branch a rung behind it.
//!
//! Pictures live where the platform says, from the decoder to the encoders. What works elsewhere gets
//! them moved there and back; where the encoder wants them elsewhere, they are moved once, scaled.

use super::{Builder, COMPRESSED_BYTES, INPUT, RAW_BUFFERS, Role, encoded_bytes};
use crate::error::Error;
use crate::graph::scaler::Scaler;
use crate::graph::{colours, encoder, init, parameters, viewer};
use crate::media::Rotation;
use crate::plan::{Rung, VideoInput, VideoRung};
use crate::platform::{EncoderFamily, Memory, Pictures, Step, VideoDecoder};
use crate::units::Resolution;
use gstreamer as gst;
use gstreamer::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Elements in a row, and where the pictures lie behind the last.
struct Chain {
    elements: Vec<gst::Element>,
    at: Memory,
}

/// Caps of raw pictures, in a memory.
fn in_memory(memory: &Memory, caps: gst::caps::Builder<gst::caps::NoFeature>) -> gst::Caps {
    let mut caps = caps.build();
    if let Memory::Device(feature) = memory {
        caps.make_mut().set_features(0, Some(gst::CapsFeatures::new([feature.as_str()])));
    }
    caps
}

fn raw() -> gst::caps::Builder<gst::caps::NoFeature> {
    gst::Caps::builder("video/x-raw")
}

impl Builder<'_> {
    /// The decoder for the source: the first that takes it and is installed.
    fn decoder(&self, input: &VideoInput) -> Result<&VideoDecoder, Error> {
        let choice = self.platform.decoder_for(&input.coded_video()).map_err(|reason| self.wrong(&reason))?;
        for decoder in choice.decoders {
            let Some(element) = decoder.element.as_ref().filter(|_| decoder.optional) else {
                return Ok(decoder);
            };
            if init::is_installed(element) {
                return Ok(decoder);
            }
            self.note(format!("`{element}` is not there; the next decoder is used"));
        }
        Err(self.wrong(&format!("no decoder for {} is installed", input.codec)))
    }

    /// From the demuxer's pad to the gate; gives the pad to link the demuxer to.
    pub(super) fn video_input(&self, input: &VideoInput, gate: &gst::Element) -> Result<gst::Pad, Error> {
        let way = self.way;
        let decoder = self.decoder(input)?;
        let mut chain = Chain {
            elements: vec![self.queue(&format!("{INPUT}video-queue"), 0, COMPRESSED_BYTES)?],
            at: decoder.memory.clone(),
        };
        if let Some(parse) = &decoder.parse {
            chain.elements.push(self.add(parse, &format!("{INPUT}video-parse"))?);
        }
        if let Some(element) = &decoder.element {
            // What a decoder says that is not the platform's last word may be the device's fault.
            let last = self.platform.decode.get(&input.codec).and_then(|list| list.last());
            let believed = last.is_some_and(|last| std::ptr::eq(last, decoder));
            let name = if believed { format!("{INPUT}video-decode") } else { "video-decode".to_owned() };
            let element = self.add(element, &name)?;
            encoder::set_all(self.platform, &element, &decoder.properties)?;
            encoder::set_known(self.platform, &element, &decoder.optional_properties)?;
            chain.elements.push(element);
        }
        let direction = way.flip.direction.as_ref().and_then(|words| words.values.get(&input.rotation));
        let turns = input.rotation != Rotation::None;
        let steps = [("deinterlace", &way.deinterlace, input.deinterlace), ("flip", &way.flip, turns)];
        let here = |step: &Step| step.memory.as_ref().is_none_or(|memory| *memory == way.memory);
        let used = |local: bool| steps.iter().filter(move |(_, step, used)| *used && here(step) == local);
        let colorimetry =
            self.plan.rungs.iter().find_map(|rung| rung.video.as_ref()).map(|v| v.colorimetry.clone());
        let pinned = |memory: &Memory| {
            let caps = raw().field("format", way.format.as_str());
            in_memory(memory, caps.field("colorimetry", colorimetry.clone().unwrap_or_default()))
        };
        if chain.at.is_system() && !way.memory.is_system() {
            // Decoded by the CPU, in any format there is: the CPU makes of it what the device takes.
            for (name, step, _) in used(false) {
                chain.elements.push(self.step(step, name, direction)?);
            }
            let convert = self.converter(self.add("videoconvert", "convert")?, input)?;
            chain.elements.extend([convert, self.caps("converted", &pinned(&Memory::System))?]);
            self.go(&mut chain, &way.memory, "upload")?;
            chain.elements.push(self.caps("pinned", &pinned(&way.memory))?);
            for (name, step, _) in used(true) {
                chain.elements.push(self.step(step, name, direction)?);
                chain.elements.push(self.caps(&format!("behind-{name}"), &pinned(&way.memory))?);
            }
        } else {
            self.go(&mut chain, &way.memory, "decoded")?;
            // What a device has decoded may have 10 bits, which not everything turns: 8 first.
            let first = decoder.memory.is_system();
            for (name, step, _) in used(true).filter(|_| first) {
                chain.elements.push(self.step(step, name, direction)?);
            }
            let convert = self.converter(self.step(&way.convert, "convert", None)?, input)?;
            chain.elements.extend([convert, self.caps("pinned", &pinned(&way.memory))?]);
            for (name, step, _) in used(false) {
                self.go(&mut chain, &Memory::System, &format!("to-{name}"))?;
                chain.elements.push(self.caps(&format!("for-{name}"), &pinned(&Memory::System))?);
                chain.elements.push(self.step(step, name, direction)?);
                self.go(&mut chain, &way.memory, &format!("from-{name}"))?;
                chain.elements.push(self.caps(&format!("behind-{name}"), &pinned(&way.memory))?);
            }
            for (name, step, _) in used(true).filter(|_| !first) {
                chain.elements.push(self.step(step, name, direction)?);
                chain.elements.push(self.caps(&format!("behind-{name}"), &pinned(&way.memory))?);
            }
        }
        chain.elements.push(gate.clone());
        self.chain(&chain.elements)?;
        chain.elements[0].static_pad("sink").ok_or_else(|| self.wrong("a queue has no sink pad"))
    }

    /// Have a converter take pictures for what the plan says they are.
    fn converter(&self, convert: gst::Element, input: &VideoInput) -> Result<gst::Element, Error> {
        colours::take_for(&convert, &input.colorimetry).ok_or_else(|| {
            self.wrong(&format!("`{}` is no colorimetry that this GStreamer knows", input.colorimetry))
        })?;
        Ok(convert)
    }

    /// Move the pictures, unless they are there.
    fn go(&self, chain: &mut Chain, to: &Memory, name: &str) -> Result<(), Error> {
        if chain.at == *to {
            return Ok(());
        }
        let step = if to.is_system() { &self.way.download } else { &self.way.upload };
        let step = step
            .as_ref()
            .ok_or_else(|| self.wrong(&format!("nothing moves pictures from {} to {to} memory", chain.at)))?;
        chain.elements.push(self.step(step, name, None)?);
        chain.at = to.clone();
        Ok(())
    }

    /// One of the platform's elements for raw pictures.
    fn step(
        &self,
        step: &Step,
        name: &str,
        direction: Option<&crate::platform::OneOrMany<String>>,
    ) -> Result<gst::Element, Error> {
        if step.element == Pictures::BUILT_IN {
            let scaler = Scaler::make();
            scaler.set_property("name", name);
            self.pipeline.add(&scaler).map_err(|_| self.wrong("the scaler cannot be added"))?;
            return Ok(scaler);
        }
        let element = self.add(&step.element, name)?;
        encoder::set_all(self.platform, &element, &step.properties)?;
        encoder::set_known(self.platform, &element, &step.optional_properties)?;
        if let (Some(mapped), Some(words)) = (&step.direction, direction) {
            encoder::set_known_as(self.platform, &element, mapped.property.as_ref(), false, words)?;
        }
        Ok(element)
    }

    /// One branch a rung behind the gate.
    pub(super) fn video_branches(
        &self,
        gate: &gst::Element,
        sinks: &[gst::Element],
        encoded: &[Arc<AtomicU64>],
    ) -> Result<(), Error> {
        let tee = self.add("tee", "pictures")?;
        self.link(gate, &tee)?;
        self.view(&tee)?;
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
            let has_children = self
                .plan
                .rungs
                .iter()
                .any(|r| r.video.as_ref().and_then(|v| v.scale_from.as_ref()) == Some(name));
            let (memory, format) = self.encoder_wants();
            // One element scales and moves, where it can and nobody else needs the scaled pictures.
            let at_once = !has_children && self.way.scale.transfers;
            let way = (&self.way.memory, self.way.format.as_str());
            let (at, kept) = if at_once { (memory, format) } else { way };
            let queue = self.queue(&format!("{name}-pictures"), RAW_BUFFERS, 0)?;
            let scaler = self.step(&self.way.scale, &format!("{name}-scale"), None)?;
            let sized = self.caps(&format!("{name}-size"), &sized(at, kept, video.size))?;
            self.chain(&[from.clone(), queue, scaler, sized.clone()])?;
            let mut last = if has_children {
                let split = self.add("tee", &format!("{name}-split"))?;
                let queue = self.queue(&format!("{name}-own"), RAW_BUFFERS, 0)?;
                self.chain(&[sized, split.clone(), queue.clone()])?;
                tees.insert(name, split);
                queue
            } else {
                sized
            };
            if (at, kept) != (memory, format) {
                let mut chain = Chain { elements: vec![last], at: at.clone() };
                self.go(&mut chain, memory, &format!("{name}-move"))?;
                let moved = self.caps(&format!("{name}-moved"), &self::sized(memory, format, video.size))?;
                chain.elements.push(moved.clone());
                self.chain(&chain.elements)?;
                last = moved;
            }
            self.encode_video(rung, video, &last, sink, counter)?;
        }
        Ok(())
    }

    /// Where and how the encoder wants its pictures: as they are, if it takes them so.
    fn encoder_wants(&self) -> (&Memory, &str) {
        let encode = &self.platform.encode;
        let memory = if encode.memory.contains(&self.way.memory) {
            &self.way.memory
        } else {
            encode.memory.first().unwrap_or(&self.way.memory)
        };
        let format = if encode.format.contains(&self.way.format) {
            &self.way.format
        } else {
            encode.format.first().unwrap_or(&self.way.format)
        };
        (memory, format)
    }

    /// Where pictures live on a device, those that somebody looks at are brought from there, by a
    /// branch of their own; in system memory they are looked at in the gate.
    fn view(&self, tee: &gst::Element) -> Result<(), Error> {
        if self.way.memory.is_system() || !self.eyes.are_open() {
            return Ok(());
        }
        let queue = self.queue("view-queue", RAW_BUFFERS, 0)?;
        viewer::let_through(&queue, self.eyes.clone(), self.plan.timeline.rate);
        let mut chain = Chain { elements: vec![tee.clone(), queue], at: self.way.memory.clone() };
        self.go(&mut chain, &Memory::System, "view-move")?;
        let convert = self.add("videoconvert", "view-convert")?;
        let caps = raw().field("format", "I420").build();
        let sink = self.add("appsink", "view")?;
        viewer::connect(&sink, self.eyes.clone(), self.plan.timeline.rate);
        chain.elements.extend([convert, self.caps("view-format", &caps)?, sink]);
        self.chain(&chain.elements)
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
        let profile = self.caps(&format!("{name}-profile"), &encoder::output_caps(self.platform, video))?;
        let parse = self.add("h264parse", &format!("{name}-parse"))?;
        parse.set_property("config-interval", -1i32);
        let framing = gst::Caps::builder("video/x-h264")
            .field("stream-format", "byte-stream")
            .field("alignment", "au")
            .build();
        let framing = self.caps(&format!("{name}-framing"), &framing)?;
        if self.platform.encode.family != EncoderFamily::X264 {
            let pad = framing.static_pad("src").ok_or_else(|| self.wrong("a filter has no source pad"))?;
            parameters::keep_to_plan(&pad, video);
        }
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
}

/// Raw pictures of a size, in square pixels: scalers that are left the choice make up for a size that was
/// rounded to whole pixels with pixels that are not.
fn sized(memory: &Memory, format: &str, size: Resolution) -> gst::Caps {
    let side = |pixels: u32| i32::try_from(pixels).unwrap_or(i32::MAX);
    let caps = raw().field("format", format).field("pixel-aspect-ratio", gst::Fraction::new(1, 1));
    in_memory(memory, caps.field("width", side(size.width())).field("height", side(size.height())))
}

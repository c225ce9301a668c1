//! What the benches share: a clip, its plan, a run of it, decoding alone, and the CPU of this process.

use gstreamer as gst;
use gstreamer::prelude::*;
use std::fmt::Write;
use std::sync::Arc;
use transcode_core::plan::Plan;
use transcode_core::run::{ChunkRequest, run};
use transcode_core::{Cancel, FileSource, JobSpec, MemorySink, Platform, Profile};

pub(crate) type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

/// The plan of a clip for a profile that is compiled in.
pub(crate) fn plan_of(clip: &str, profile: Profile, platform: &Platform) -> Fallible<Plan> {
    let info = transcode_core::probe(Arc::new(FileSource::open(clip)?), platform, &Cancel::new())?;
    Ok(transcode_core::plan(&info, &JobSpec::new(profile), platform)?)
}

/// Everything that running does, but for the store: segments stay in memory.
pub(crate) fn make(clip: &str, plan: &Plan, platform: &Platform) -> Fallible<()> {
    let chunk = plan.whole();
    let request = ChunkRequest { plan, chunk: &chunk, platform };
    let source = Arc::new(FileSource::open(clip)?);
    run(request, source, Arc::new(MemorySink::new()), &|_| {}, &Cancel::new())?;
    Ok(())
}

/// Ticks of `/proc/self/stat` a second (`getconf CLK_TCK`, 100 on every Linux that matters).
const TICKS: f64 = 100.0;

/// CPU seconds of this process so far, its ended threads included.
pub(crate) fn cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name in brackets, which may hold spaces: state is field 3, utime 14, stime 15.
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / TICKS
}

/// Runs a pipeline to its end.
pub(crate) fn play(pipeline: &gst::Pipeline) -> Fallible<()> {
    pipeline.set_state(gst::State::Playing)?;
    let bus = pipeline.bus().ok_or("a pipeline has a bus")?;
    let wanted = [gst::MessageType::Eos, gst::MessageType::Error];
    let message = bus.timed_pop_filtered(gst::ClockTime::from_seconds(600), &wanted);
    let error = match message.as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Eos(_)) => None,
        Some(gst::MessageView::Error(error)) => Some(error.error().to_string()),
        _ => Some("the pipeline does not end".to_owned()),
    };
    pipeline.set_state(gst::State::Null)?;
    error.map_or(Ok(()), |error| Err(error.into()))
}

/// A pipeline from its text.
pub(crate) fn launch(text: &str) -> Fallible<gst::Pipeline> {
    gst::init()?;
    let pipeline = gst::parse::launch(text).map_err(|error| format!("`{text}`: {error}"))?;
    pipeline.downcast().map_err(|_| format!("`{text}` is one element").into())
}

/// From the file to decoded pictures, as launch text that `more` goes on.
pub(crate) fn decoding(clip: &str, plan: &Plan, platform: &Platform, more: &str) -> Fallible<String> {
    let key = serde_json::to_value(plan.input.container)?;
    let demux = &platform.demux[key.as_str().unwrap_or_default()];
    let input = plan.input.video.as_ref().ok_or("the clip has no picture")?;
    let choice = platform.decoder_for(&input.coded_video())?;
    gst::init()?;
    let there = |element: &String| gst::ElementFactory::find(element).is_some();
    let decoder = choice.decoders.iter().find(|decoder| decoder.element.iter().all(there));
    let decoder = decoder.ok_or("no decoder for the clip is installed")?;
    let mut text = format!("filesrc location=\"{clip}\" ! {demux} name=demux demux.{} ! queue", input.pad);
    for element in decoder.parse.iter().chain(&decoder.element) {
        write!(text, " ! {element}")?;
    }
    Ok(text + " ! " + more)
}

/// Decodes the clip's pictures and drops them.
pub(crate) fn decode(clip: &str, plan: &Plan, platform: &Platform) -> Fallible<()> {
    play(&launch(&decoding(clip, plan, platform, "fakesink sync=false")?)?)
}

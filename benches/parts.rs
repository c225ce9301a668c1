//! The parts of the ladder, each alone: what the whole cannot cost less than.
//!
//! Decoding, scaling and each encode run in pipelines of their own, over pictures that wait in
//! memory; CPU is user + system of this process, from /proc (ticks of 10 ms). The settings are those
//! of the plan. Software platforms only: they are spelt for x264enc here.

use crate::work::{cpu, decode, decoding, launch, make, plan_of, play};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use std::fmt::Write;
use transcode_core::Profile;
use transcode_core::plan::VideoRung;
use transcode_core::platform::Platform;
use transcode_core::spec::RateControl;

/// All pictures that a pipeline ending in `appsink name=out` makes.
fn collect(text: &str) -> Vec<gst::Sample> {
    let pipeline = launch(text).expect("the pipeline is there");
    let sink = pipeline.by_name("out").and_then(|sink| sink.downcast::<gst_app::AppSink>().ok());
    let sink = sink.expect("the text ends in an appsink");
    pipeline.set_state(gst::State::Playing).expect("the pipeline starts");
    let mut found = Vec::new();
    while let Ok(sample) = sink.pull_sample() {
        // Its own memory: a decoder's pool must not be emptied.
        let buffer = sample.buffer().expect("a picture has bytes").copy_deep().expect("there is memory");
        let caps = sample.caps().map(|caps| caps.to_owned());
        let sample = gst::Sample::builder().buffer(&buffer).caps_if_some(caps.as_ref()).build();
        found.push(sample);
    }
    pipeline.set_state(gst::State::Null).expect("the pipeline stops");
    found
}

/// Sends pictures through `text` between an appsrc and a fakesink; gives the CPU seconds.
fn through(pictures: &[gst::Sample], elements: Vec<gst::Element>) -> f64 {
    let pipeline = gst::Pipeline::new();
    let caps = pictures[0].caps().map(|caps| caps.to_owned()).expect("pictures have caps");
    let source = gst_app::AppSrc::builder().format(gst::Format::Time).max_bytes(64 << 20).block(true);
    let source = source.caps(&caps).build();
    let sink =
        gst::ElementFactory::make("fakesink").property("sync", false).build().expect("fakesink is there");
    let mut chain = vec![source.clone().upcast::<gst::Element>()];
    chain.extend(elements);
    chain.push(sink);
    pipeline.add_many(&chain).expect("elements can be added");
    gst::Element::link_many(&chain).expect("elements link");
    let begin = cpu();
    let pictures = pictures.to_vec();
    let feeder = std::thread::spawn(move || {
        for picture in &pictures {
            if source.push_sample(picture).is_err() {
                break;
            }
        }
        let _ending = source.end_of_stream();
    });
    play(&pipeline).expect("it runs to its end");
    feeder.join().expect("the feeder ends");
    cpu() - begin
}

/// The scaler of the graph. It is registered when the graph is first used, and has no factory.
fn scaler(rung: &VideoRung) -> Vec<gst::Element> {
    let kind = gst::glib::Type::from_name("TranscodeScaler").expect("a graph has run before");
    let scaler = gst::glib::Object::with_type(kind).downcast::<gst::Element>().expect("it is an element");
    let (width, height) = (rung.size.width() as i32, rung.size.height() as i32);
    let caps = gst::Caps::builder("video/x-raw").field("width", width).field("height", height).build();
    let filter = gst::ElementFactory::make("capsfilter").property("caps", caps).build();
    vec![scaler, filter.expect("capsfilter is there")]
}

/// The rung's encoder as the plan has it.
fn encoder(rung: &VideoRung) -> gst::Element {
    assert_eq!(rung.rate_control, RateControl::Abr, "only ABR is spelt here");
    let preset = serde_json::to_value(rung.preset).expect("a preset is a word");
    let mut options = format!("scenecut=0:open-gop=0:keyint-min={}", rung.gop);
    let _infallible = write!(options, ":level={}.{}", rung.level / 10, rung.level % 10);
    if let Some(tuning) = rung.tuning.get("x264") {
        let _infallible = write!(options, ":{tuning}");
    }
    gst::ElementFactory::make("x264enc")
        .property_from_str("speed-preset", preset.as_str().unwrap_or_default())
        .property("bitrate", rung.bitrate.kbits_per_second() as u32)
        .property("vbv-buf-capacity", 0u32)
        .property("key-int-max", rung.gop)
        .property("option-string", &options)
        .build()
        .expect("x264enc is there")
}

/// Prints one JSON object: CPU seconds of each part, alone.
///
/// `FLOOR_CLIP` names the clip. Needs memory for all its decoded pictures: 2.3 GB for 30 s of 1080p24.
pub(crate) fn floor(platform: &Platform) {
    let clip = std::env::var("FLOOR_CLIP").unwrap_or_else(|_| super::CLIP.to_owned());
    let planned = |clip: &str| {
        let profile = Profile::builtin("abr").expect("the profile is compiled in");
        plan_of(clip, profile, platform).expect("the clip can be planned")
    };
    let plan = planned(&clip);
    // Registers the scaler, and warms what is loaded once.
    make(super::CLIP, &planned(super::CLIP), platform).expect("the clip can be encoded");

    let begin = cpu();
    decode(&clip, &plan, platform).expect("it decodes");
    let mut found = vec![("decode".to_owned(), cpu() - begin)];
    let all = "video/x-raw,format=I420 ! appsink name=out sync=false max-buffers=4";
    let pictures = collect(&decoding(&clip, &plan, platform, all).expect("it can be decoded"));
    let mut made: Vec<(String, Vec<gst::Sample>)> = Vec::new();
    let feeding = |pictures: &[gst::Sample]| through(pictures, Vec::new());
    for rung in &plan.rungs {
        let Some(video) = &rung.video else { continue };
        let from = video.scale_from.as_ref().and_then(|name| made.iter().find(|(known, _)| known == name));
        let from = from.map_or(&pictures, |(_, pictures)| pictures);
        let input = plan.input.video.as_ref().expect("the clip has a picture");
        if video.size == input.size {
            let cost = through(from, vec![encoder(video)]) - feeding(from);
            found.push((format!("encode {}", rung.name), cost));
            continue;
        }
        found.push((format!("scale {}", rung.name), through(from, scaler(video)) - feeding(from)));
        let scaled = scale(from, video);
        found.push((
            format!("encode {}", rung.name),
            through(&scaled, vec![encoder(video)]) - feeding(&scaled),
        ));
        made.push((rung.name.clone(), scaled));
    }
    let object: serde_json::Map<_, _> = found.into_iter().map(|(key, value)| (key, value.into())).collect();
    println!("{}", serde_json::Value::Object(object));
}

/// The pictures at the rung's size.
fn scale(pictures: &[gst::Sample], rung: &VideoRung) -> Vec<gst::Sample> {
    let pipeline = gst::Pipeline::new();
    let caps = pictures[0].caps().map(|caps| caps.to_owned()).expect("pictures have caps");
    let source = gst_app::AppSrc::builder().format(gst::Format::Time).max_bytes(64 << 20).block(true);
    let source = source.caps(&caps).build();
    let sink = gst_app::AppSink::builder().sync(false).max_buffers(4).build();
    let mut chain = vec![source.clone().upcast::<gst::Element>()];
    chain.extend(scaler(rung));
    chain.push(sink.clone().upcast());
    pipeline.add_many(&chain).expect("elements can be added");
    gst::Element::link_many(&chain).expect("elements link");
    pipeline.set_state(gst::State::Playing).expect("the pipeline starts");
    let pictures = pictures.to_vec();
    let feeder = std::thread::spawn(move || {
        for picture in &pictures {
            if source.push_sample(picture).is_err() {
                break;
            }
        }
        let _ending = source.end_of_stream();
    });
    let mut found = Vec::new();
    while let Ok(sample) = sink.pull_sample() {
        found.push(sample);
    }
    feeder.join().expect("the feeder ends");
    pipeline.set_state(gst::State::Null).expect("the pipeline stops");
    found
}

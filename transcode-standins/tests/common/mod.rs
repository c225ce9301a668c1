//! Small pipelines around one stand-in, and what comes out of them.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

/// What a pipeline made: bytes of every buffer at its `appsink name=out`, the caps, and the error that
/// ended it.
#[derive(Debug, Default)]
pub struct Made {
    pub units: Vec<Vec<u8>>,
    pub caps: Option<gst::Caps>,
    pub error: Option<String>,
    pub error_from: Option<String>,
}

/// How long a pipeline of a few seconds may take on a busy machine.
pub const LONG: Duration = Duration::from_secs(60);

/// Runs a description to its end or its first error; no end within `limit` is an error `no end`.
pub fn run_for(description: &str, limit: Duration) -> Made {
    gst::init().expect("GStreamer");
    let pipeline = gst::parse::launch(description).unwrap_or_else(|err| panic!("{description}: {err}"));
    let pipeline = pipeline.downcast::<gst::Pipeline>().expect("a description of more than one element");
    let made = std::sync::Arc::new(std::sync::Mutex::new(Made::default()));
    if let Some(sink) = pipeline.by_name("out") {
        let sink = sink.downcast::<gst_app::AppSink>().expect("out is an appsink");
        sink.set_property("sync", false);
        let into = std::sync::Arc::clone(&made);
        sink.set_callbacks(
            gst_app::AppSinkCallbacks::builder()
                .new_sample(move |sink| {
                    let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                    let buffer = sample.buffer().expect("a sample of a buffer");
                    let mut into = into.lock().expect("no test panics here");
                    into.units.push(buffer.map_readable().expect("readable").to_vec());
                    into.caps = sample.caps_owned();
                    Ok(gst::FlowSuccess::Ok)
                })
                .build(),
        );
    }
    let bus = pipeline.bus().expect("a pipeline has a bus");
    let started = pipeline.set_state(gst::State::Playing);
    let deadline = std::time::Instant::now() + limit;
    let mut ended = false;
    let mut error = None;
    while !ended && std::time::Instant::now() < deadline {
        let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
        let Some(message) = bus.timed_pop_filtered(gst::ClockTime::from_mseconds(100), &kinds) else {
            if started.is_err() {
                break;
            }
            continue;
        };
        if let gst::MessageView::Error(failed) = message.view() {
            let from = failed.src().map(|src| src.name().to_string());
            error = Some((format!("{}: {:?}", failed.error(), failed.debug()), from));
        }
        ended = true;
    }
    // On a thread of its own: a stand-in that stalls must let go of its stream when it is told to stop.
    let (done, stopped) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let _ = pipeline.set_state(gst::State::Null);
        let _ = done.send(());
    });
    stopped.recv_timeout(LONG).expect("the pipeline stops");
    let mut made = std::mem::take(&mut *made.lock().expect("no test panics here"));
    match error {
        Some((text, from)) => (made.error, made.error_from) = (Some(text), from),
        None if !ended => made.error = Some("no end".to_owned()),
        None => {}
    }
    made
}

/// Runs a description that must end well.
pub fn run(description: &str) -> Made {
    let made = run_for(description, LONG);
    assert_eq!(made.error, None, "{description}");
    made
}

/// The types of the NAL units of an access unit in a byte stream.
pub fn nal_types(unit: &[u8]) -> Vec<u8> {
    unit.windows(4).filter(|w| w[..3] == [0, 0, 1]).map(|w| w[3] & 0x1f).collect()
}

/// The indices of the access units with a NAL unit of this type.
pub fn with(made: &Made, kind: u8) -> Vec<usize> {
    let of = |unit: &[u8]| nal_types(unit).contains(&kind);
    made.units.iter().enumerate().filter(|(_, unit)| of(unit)).map(|(n, _)| n).collect()
}

/// 25 pictures a second of the ball pattern.
pub fn pictures(count: u32, format: &str, size: &str) -> String {
    let (width, height) = size.split_once('x').expect("WxH");
    format!(
        "videotestsrc num-buffers={count} pattern=ball ! \
         video/x-raw,format={format},width={width},height={height},framerate=25/1"
    )
}

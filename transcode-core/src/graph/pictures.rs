//! Decodes a small video into plain pictures, with software decoders alone: what a platform's output is
//! compared with, and the output itself.
//!
//! Owns its few elements' names. For clips of our own and what was made of them: nothing else is let in.
//! Pictures are I420 without padding, at the size that is asked for, in the order they are shown.

use super::init::init;
use crate::error::Error;
use crate::units::Resolution;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::{AppSink, AppSrc};
use gstreamer_video::prelude::*;

/// How long one picture may take.
const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(20);

/// All pictures of a video; `container` and `codec` as platform files key them.
///
/// # Errors
/// [`Error::Platform`] where a decoder is missing, fails, or does not come to an end.
pub(crate) fn pictures(
    bytes: Vec<u8>,
    container: &str,
    codec: &str,
    size: Resolution,
) -> Result<Vec<Vec<u8>>, Error> {
    init()?;
    let failed = |reason: String| Error::Platform {
        platform: "software".to_owned(),
        reason: format!("a picture cannot be compared: {reason}"),
    };
    let demuxer = match container {
        "mpeg-ts" => "tsdemux",
        _ => "qtdemux",
    };
    let decoder = match codec {
        "hevc" => "h265parse ! avdec_h265",
        "vp9" => "vp9parse ! avdec_vp9",
        "av1" => "av1parse ! av1dec",
        "mpeg2" => "mpegvideoparse ! avdec_mpeg2video",
        _ => "h264parse ! avdec_h264",
    };
    let (width, height) = (size.width(), size.height());
    let text = format!(
        "appsrc name=in format=bytes ! {demuxer} ! {decoder} ! videoconvert ! videoscale ! \
         video/x-raw,format=I420,width={width},height={height},pixel-aspect-ratio=1/1 ! \
         appsink name=out sync=false max-buffers=8"
    );
    let element = gst::parse::launch(&text).map_err(|error| failed(error.to_string()))?;
    let none = || failed("a pipeline has lost its ends".to_owned());
    let pipeline = element.downcast::<gst::Pipeline>().map_err(|_| none())?;
    let input = pipeline.by_name("in").and_then(|input| input.downcast::<AppSrc>().ok()).ok_or_else(none)?;
    let output = pipeline.by_name("out").and_then(|out| out.downcast::<AppSink>().ok()).ok_or_else(none)?;
    let read = || -> Result<Vec<Vec<u8>>, Error> {
        pipeline.set_state(gst::State::Playing).map_err(|error| failed(error.to_string()))?;
        input.push_buffer(gst::Buffer::from_slice(bytes)).map_err(|error| failed(error.to_string()))?;
        input.end_of_stream().map_err(|error| failed(error.to_string()))?;
        let mut pictures = Vec::new();
        while let Some(sample) = output.try_pull_sample(PATIENCE) {
            pictures.push(plain(&sample, size).ok_or_else(|| failed("its layout is odd".to_owned()))?);
        }
        if output.is_eos() {
            return Ok(pictures);
        }
        let bus = pipeline.bus();
        let error = bus.and_then(|bus| bus.pop_filtered(&[gst::MessageType::Error]));
        Err(failed(match error.as_ref().map(|message| message.view()) {
            Some(gst::MessageView::Error(error)) => error.error().message().to_owned(),
            _ => "decoding it does not come to an end".to_owned(),
        }))
    };
    let result = read();
    if pipeline.set_state(gst::State::Null).is_err() {
        log::debug!("a pipeline for comparing does not go down");
    }
    result
}

/// A picture without the padding of its rows.
fn plain(sample: &gst::Sample, size: Resolution) -> Option<Vec<u8>> {
    let info = gstreamer_video::VideoInfo::from_caps(sample.caps()?).ok()?;
    let frame = gstreamer_video::VideoFrameRef::from_buffer_ref_readable(sample.buffer()?, &info).ok()?;
    let (width, height) = (usize::try_from(size.width()).ok()?, usize::try_from(size.height()).ok()?);
    let mut bytes = Vec::with_capacity(width * height * 3 / 2);
    for (plane, (width, height)) in
        [(width, height), (width / 2, height / 2), (width / 2, height / 2)].into_iter().enumerate()
    {
        let stride = usize::try_from(*frame.plane_stride().get(plane)?).ok()?;
        let data = frame.plane_data(u32::try_from(plane).ok()?).ok()?;
        for row in data.chunks(stride).take(height) {
            bytes.extend_from_slice(row.get(..width)?);
        }
    }
    Some(bytes)
}

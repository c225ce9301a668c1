//! Decodes a small video into plain pictures, with software decoders alone: what a platform's output is
//! compared with, and the output itself.
//!
//! The decoders are those of platform `software`. For clips of our own and what was made of them: nothing else is let in.
//! Pictures are I420 without padding, at the size that is asked for, in the order they are shown.

use super::init::init;
use crate::error::Error;
use crate::platform::Platform;
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
    let software = Platform::builtin("software")?;
    let lacks = |what: &str, key: &str| failed(format!("software has no {what} for {key}"));
    let demuxer = software.demux.get(container).ok_or_else(|| lacks("demuxer", container))?;
    let decoder = software.decode.get(codec).and_then(|decoders| decoders.first());
    let decoder = decoder.ok_or_else(|| lacks("decoder", codec))?;
    let chain: Vec<&str> = decoder.parse.iter().chain(&decoder.element).map(String::as_str).collect();
    let decoder = chain.join(" ! ");
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

/// Peak signal to noise of 8-bit samples, in dB: infinite where they are equal, 0 where they are not as
/// many.
pub(crate) fn psnr(left: &[u8], right: &[u8]) -> f64 {
    if left.len() != right.len() || left.is_empty() {
        return 0.0;
    }
    let squares = left.iter().zip(right).map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2)).sum::<u64>();
    if squares == 0 {
        return f64::INFINITY;
    }
    10.0 * (255.0 * 255.0 * left.len() as f64 / squares as f64).log10()
}

/// Whether a chroma plane of 8 bits has lost its colours: it had some, three levels from the middle as root
/// mean square, and less than half of that is left. Pale pictures differ too little from grey ones for
/// [`psnr`] to tell: at six levels it is 32 dB.
pub(crate) fn faded(before: &[u8], after: &[u8]) -> bool {
    let strength = |plane: &[u8]| plane.iter().map(|byte| u64::from(byte.abs_diff(128)).pow(2)).sum::<u64>();
    let (had, left) = (strength(before), strength(after));
    had >= 9 * before.len() as u64 && had > 4 * left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pale_colours_that_are_lost_are_noticed_and_paler_ones_are_not_missed() {
        let (pale, grey, coded) = ([122u8, 134].repeat(50), [128u8; 100], [124u8, 131].repeat(50));
        assert!(psnr(&pale, &grey) > 30.0, "otherwise this says nothing");
        assert!(faded(&pale, &grey));
        assert!(!faded(&pale, &pale) && !faded(&pale, &coded) && !faded(&grey, &pale));
        assert!(!faded(&[126, 130].repeat(50), &grey), "two levels are what coding costs");
    }

    #[test]
    fn noise_is_measured_in_decibels() {
        assert!((psnr(&[0; 100], &[255; 100])).abs() < 1e-9);
        assert!((psnr(&[100; 100], &[101; 100]) - 48.13).abs() < 0.01);
        assert!(psnr(&[7; 10], &[7; 10]).is_infinite());
        assert!(psnr(&[7; 10], &[7; 9]).abs() < 1e-9, "another size is another picture");
    }
}

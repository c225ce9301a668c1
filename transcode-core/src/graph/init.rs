//! `gst::init`, once, and what may never be plugged.

use crate::error::Error;
use crate::platform::Platform;
use gstreamer as gst;
use gstreamer::prelude::*;

/// Demuxers that would follow addresses found inside a file. Nothing here plugs by rank, but an
/// element inside GStreamer might: a playlist named `.mp4` made one fetch what it named.
const NEVER: [&str; 7] =
    ["hlsdemux", "hlsdemux2", "dashdemux", "dashdemux2", "mssdemux", "mssdemux2", "sdpdemux"];

/// Initialise GStreamer; later calls cost nothing.
///
/// # Errors
/// [`Error::Platform`] where GStreamer does not start.
pub(crate) fn init() -> Result<(), Error> {
    gst::init().map_err(|error| Error::Platform {
        platform: "any".to_owned(),
        reason: format!("GStreamer does not start: {error}; is it installed completely?"),
    })?;
    let registry = gst::Registry::get();
    for name in NEVER {
        if let Some(feature) = registry.lookup_feature(name) {
            feature.set_rank(gst::Rank::NONE);
        }
    }
    Ok(())
}

/// Load the plugins of the elements that most runs on this platform have, those that are quick to load
/// first: loading takes a lock, and whoever needs one of these meanwhile waits for all that began before.
pub(crate) fn load(platform: &Platform) {
    if init().is_err() {
        // Whoever needs it says so.
        return;
    }
    let video = platform.decode.get("h264");
    let audio = platform.decode_audio.get("aac");
    let usual = [
        platform.demux.get("mp4"),
        video.and_then(|video| video.parse.as_ref()),
        audio.and_then(|audio| audio.parse.as_ref()),
        Some(&platform.encode.element),
        video.and_then(|video| video.element.as_ref()),
        Some(&platform.encode_audio.element),
    ];
    let ours = ["queue", "videoconvert", "audioconvert", "audioresample", "hlssink2", "mpegtsmux"];
    let (quick, slow) = usual.split_at(4);
    let names = quick.iter().flatten().map(|name| name.as_str()).chain(ours);
    for name in names.chain(slow.iter().flatten().map(|name| name.as_str())) {
        if gst::ElementFactory::find(name).and_then(|factory| factory.load().ok()).is_none() {
            log::debug!("element `{name}` cannot be loaded beforehand");
        }
    }
}

/// An element by its factory's name.
///
/// # Errors
/// [`Error::Platform`] with the package that usually brings it.
pub(crate) fn make(platform: &str, factory: &str) -> Result<gst::Element, Error> {
    gst::ElementFactory::make(factory).build().map_err(|_| Error::Platform {
        platform: platform.to_owned(),
        reason: format!(
            "element `{factory}` is not installed; on Debian it comes with {}",
            package_of(factory)
        ),
    })
}

/// The Debian package that brings an element.
fn package_of(factory: &str) -> &'static str {
    match factory {
        name if name.starts_with("avdec_") || name.starts_with("avenc_") => "gstreamer1.0-libav",
        "x264enc" => "gstreamer1.0-plugins-ugly",
        "qtdemux" | "matroskademux" | "avidemux" | "flvdemux" | "wavparse" | "videoflip" | "deinterlace"
        | "jpegenc" | "aacparse" | "ac3parse" | "mpegaudioparse" | "flacparse" => "gstreamer1.0-plugins-good",
        "tsdemux" | "mpegpsdemux" | "hlssink2" | "mpegtsmux" | "h264parse" | "h265parse" | "vp9parse"
        | "av1parse" | "av1dec" | "jpegparse" | "mpegvideoparse" | "mpeg4videoparse" | "opusparse" => {
            "gstreamer1.0-plugins-bad"
        }
        _ => "gstreamer1.0-plugins-base",
    }
}

//! `gst::init`, once, and what may never be plugged.

use crate::error::Error;
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

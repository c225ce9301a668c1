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

/// GStreamer's version: `1.22.0`.
///
/// # Errors
/// As [`init`].
pub(crate) fn version() -> Result<String, Error> {
    init()?;
    let (major, minor, micro, _) = gst::version();
    Ok(format!("{major}.{minor}.{micro}"))
}

/// Whether there is such an element.
pub(crate) fn is_installed(factory: &str) -> bool {
    gst::ElementFactory::find(factory).is_some()
}

/// An element by its factory's name.
///
/// # Errors
/// [`Error::Platform`] with the package or driver that brings it.
pub(crate) fn make(platform: &Platform, factory: &str) -> Result<gst::Element, Error> {
    gst::ElementFactory::make(factory).build().map_err(|_| Error::Platform {
        platform: platform.name.clone(),
        reason: if is_installed(factory) {
            format!("element `{factory}` is installed and cannot be made; is its driver loaded?")
        } else {
            format!("element `{factory}` is not installed; it comes with {}", package_of(platform, factory))
        },
    })
}

/// What brings an element: the platform's word, or the Debian package of GStreamer's own.
pub(crate) fn package_of(platform: &Platform, factory: &str) -> String {
    if let Some(package) = platform.package_of(factory) {
        return package.to_owned();
    }
    let package = match factory {
        name if name.starts_with("avdec_") || name.starts_with("avenc_") => "gstreamer1.0-libav",
        "x264enc" => "gstreamer1.0-plugins-ugly",
        "qtdemux" | "matroskademux" | "avidemux" | "flvdemux" | "wavparse" | "videoflip" | "deinterlace"
        | "jpegenc" | "aacparse" | "ac3parse" | "mpegaudioparse" | "flacparse" | "splitmuxsink" => {
            "gstreamer1.0-plugins-good"
        }
        "tsdemux" | "mpegpsdemux" | "hlssink2" | "mpegtsmux" | "h264parse" | "h265parse" | "vp9parse"
        | "av1parse" | "av1dec" | "jpegparse" | "mpegvideoparse" | "mpeg4videoparse" | "opusparse" => {
            "gstreamer1.0-plugins-bad"
        }
        _ => "gstreamer1.0-plugins-base",
    };
    format!("{package} (Debian's name)")
}

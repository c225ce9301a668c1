//! Which of a platform's elements are installed here.

use super::init::{init, package_of};
use crate::error::Error;
use crate::platform::{Missing, Platform};
use gstreamer as gst;

/// What a platform cannot do without and is not there: its encoders.
pub(crate) fn missing(platform: &Platform) -> Result<Vec<Missing>, Error> {
    init()?;
    let elements = [&platform.encode.element, &platform.encode_audio.element];
    let gone = elements.into_iter().filter(|name| gst::ElementFactory::find(name).is_none());
    Ok(gone.map(|name| Missing { element: name.clone(), package: package_of(name).to_owned() }).collect())
}

/// GStreamer's version: `1.22.0`.
pub(crate) fn version() -> Result<String, Error> {
    init()?;
    let (major, minor, micro, _) = gst::version();
    Ok(format!("{major}.{minor}.{micro}"))
}

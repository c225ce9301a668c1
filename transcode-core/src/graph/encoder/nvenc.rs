//! NVENC: with a quality to keep, the average must be unset, and the ceiling is the maximum alone.

use super::set_in_unit;
use crate::error::Error;
use crate::plan::VideoRung;
use crate::platform::Platform;
use crate::spec::RateControl;
use gstreamer as gst;

pub(super) fn adapt(platform: &Platform, encoder: &gst::Element, rung: &VideoRung) -> Result<(), Error> {
    if matches!(rung.rate_control, RateControl::CappedCrf { .. }) {
        set_in_unit(platform, encoder, &platform.encode.bitrate, 0)?;
    }
    Ok(())
}

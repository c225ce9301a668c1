//! NVIDIA's encoder on Jetson boards: no constant quality, so a ceiling without an average becomes VBR
//! with the ceiling as its peak; and its peak is at least its average, or it is refused.

use super::{rate_in, set_in_unit};
use crate::error::Error;
use crate::plan::VideoRung;
use crate::platform::Platform;
use crate::spec::RateControl;
use gstreamer as gst;

pub(super) fn adapt(platform: &Platform, encoder: &gst::Element, rung: &VideoRung) -> Result<(), Error> {
    if matches!(rung.rate_control, RateControl::CappedCrf { .. }) {
        // The vendor's own default is a peak of 1.2 times the average.
        let average = rate_in(platform.encode.bitrate.unit, rung.bitrate) * 5 / 6;
        set_in_unit(platform, encoder, &platform.encode.bitrate, average)?;
    }
    Ok(())
}

//! VA-API's encoders: `bitrate` of VBR is the highest rate, and a share of it is aimed at. So for an
//! average, the highest is half as much again, and the share the element's own 66 %.

use super::{rate_in, set, set_in_unit};
use crate::error::Error;
use crate::plan::VideoRung;
use crate::platform::Platform;
use crate::spec::RateControl;
use gstreamer as gst;
use gstreamer::prelude::*;

/// Percent of the highest rate (gstvah264enc.c:3726, `target-percentage`, 50 to 100).
const SHARE: u64 = 66;

pub(super) fn adapt(platform: &Platform, encoder: &gst::Element, rung: &VideoRung) -> Result<(), Error> {
    let rate = rate_in(platform.encode.bitrate.unit, rung.bitrate);
    match rung.rate_control {
        RateControl::Abr => set_in_unit(platform, encoder, &platform.encode.bitrate, rate * 100 / SHARE)?,
        RateControl::Cbr | RateControl::CappedCrf { .. } => {}
    }
    if encoder.find_property("target-percentage").is_some() {
        set(platform, encoder, "target-percentage", &SHARE.to_string())?;
    }
    Ok(())
}

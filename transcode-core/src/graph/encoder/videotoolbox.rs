//! VideoToolbox: nothing that a table cannot say; profile and level are asked for in the caps.

use super::{buffers, tune, tuning};
use crate::error::Error;
use crate::plan::VideoRung;
use crate::platform::Platform;
use gstreamer as gst;

pub(super) fn adapt(platform: &Platform, encoder: &gst::Element, rung: &VideoRung) -> Result<(), Error> {
    tune(platform, encoder, rung)?;
    buffers(platform, encoder, rung)?;
    tuning(platform, encoder, rung)
}

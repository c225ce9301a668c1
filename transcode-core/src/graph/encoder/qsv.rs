//! Quick Sync: nothing that a table cannot say; GOPs are closed where there are no B-frames.

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

//! NVENC after GStreamer 1.22: a process of its own, since it excludes the T4 of 1.22.
#![allow(clippy::unwrap_used)]

use gstreamer as gst;
use gstreamer::prelude::*;
use transcode_standins::{Board, register};

#[test]
fn the_later_element_has_presets_p1_to_p7_and_the_t4_of_1_22_has_not() {
    register(Board::NvidiaLater).unwrap();
    let encoder = gst::ElementFactory::make("nvcudah264enc").build().unwrap();
    encoder.set_property_from_str("preset", "p7");
    encoder.set_property_from_str("tune", "high-quality");
    encoder.set_property_from_str("multi-pass", "two-pass-quarter");
    assert!(gst::ElementFactory::find("nvh264enc").is_none());
    assert!(register(Board::NvidiaT4).unwrap_err().to_string().contains("nvidia-t4 in another"));
}

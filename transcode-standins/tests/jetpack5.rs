//! JetPack 5's generation of the L4T elements: a process of its own, since it excludes JetPack 6.
#![allow(clippy::unwrap_used)]

mod common;

use common::{pictures, run, with};
use gstreamer as gst;
use gstreamer::prelude::*;
use transcode_standins::{Board, JetPack, register};

#[test]
fn a_process_has_one_jetpack() {
    register(Board::JetsonNvenc(JetPack::Five)).unwrap();
    register(Board::JetsonOrinNano(JetPack::Five)).unwrap();
    let err = register(Board::JetsonNvenc(JetPack::Six)).unwrap_err().to_string();
    assert!(err.contains("jetson-nvenc:6 in another"), "{err}");
}

#[test]
fn properties_that_only_jetpack_6_surely_has_are_missing() {
    register(Board::JetsonNvenc(JetPack::Five)).unwrap();
    let encoder = gst::ElementFactory::make("nvv4l2h264enc").build().unwrap();
    for name in ["poc-type", "disable-cabac", "num-Ref-Frames", "cabac-entropy-coding"] {
        assert!(encoder.find_property(name).is_none(), "{name}");
    }
    for name in
        ["bitrate", "iframeinterval", "idrinterval", "insert-sps-pps", "maxperf-enable", "preset-level"]
    {
        assert!(encoder.find_property(name).is_some(), "{name}");
    }
}

#[test]
fn the_whole_way_of_a_jetson_runs() {
    register(Board::JetsonNvenc(JetPack::Five)).unwrap();
    let made = run(&format!(
        "{} ! x264enc speed-preset=ultrafast ! h264parse ! nvv4l2decoder enable-max-performance=true \
         num-extra-surfaces=8 ! nvvidconv interpolation-method=5-Tap ! \
         video/x-raw(memory:NVMM),format=NV12,width=160,height=120 ! \
         nvv4l2h264enc iframeinterval=10 idrinterval=10 insert-sps-pps=true ! appsink name=out",
        pictures(30, "I420", "320x240")
    ));
    assert_eq!((made.units.len(), with(&made, 5), with(&made, 7)), (30, vec![0, 10, 20], vec![0, 10, 20]));
}

//! What a graph may rely on from the stand-ins of the data-centre, VA and JetPack 6 boards.
#![allow(clippy::unwrap_used)]

mod common;

use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use common::{Made, nal_types, pictures, run, run_for, with};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use transcode_standins::{Board, Fault, JetPack, clear_faults, open_sessions, register, set_fault};

const BOARDS: [Board; 5] = [
    Board::NvidiaT4,
    Board::NvidiaDataCentre,
    Board::Va,
    Board::JetsonNvenc(JetPack::Six),
    Board::JetsonOrinNano(JetPack::Six),
];

fn boards() {
    for board in BOARDS {
        register(board).unwrap();
    }
}

/// Faults and sessions are the process's: tests that use them take turns.
static TURN: Mutex<()> = Mutex::new(());

fn with_fault(element: &str, fault: Fault, description: &str, limit: Duration) -> Made {
    let _turn = TURN.lock().unwrap_or_else(|e| e.into_inner());
    set_fault(element, fault);
    let made = run_for(description, limit);
    clear_faults();
    made
}

/// Without a fault of another test.
fn undisturbed(description: &str) -> Made {
    let _turn = TURN.lock().unwrap_or_else(|e| e.into_inner());
    run(description)
}

fn links(description: &str) -> bool {
    gst::parse::launch(description).is_ok()
}

#[test]
fn every_element_of_every_board_is_there_with_the_properties_of_its_table() {
    boards();
    for board in BOARDS {
        for name in board.elements() {
            let element = gst::ElementFactory::make(name).build().unwrap();
            for spec in element.list_properties() {
                if spec.flags().contains(gst::glib::ParamFlags::READABLE) {
                    let value = element.property_value(spec.name());
                    assert_eq!(value.type_(), spec.value_type(), "{name}.{}", spec.name());
                }
            }
        }
    }
    let encoder = gst::ElementFactory::make("nvh264enc").build().unwrap();
    assert_eq!(encoder.property::<i32>("gop-size"), 75);
    assert_eq!(encoder.property::<u32>("bitrate"), 0);
    assert!(encoder.find_property("repeat-sequence-header").is_none(), "1.22's older element has none");
    let decoder = gst::ElementFactory::make("nvv4l2decoder").build().unwrap();
    // Declared as 24, yet a new one has 1.
    assert_eq!(decoder.property::<u32>("num-extra-surfaces"), 1);
    let encoder = gst::ElementFactory::make("nvv4l2h264enc").build().unwrap();
    assert_eq!(encoder.property::<u32>("bitrate"), 4_000_000);
    assert_eq!(
        (encoder.property::<u32>("iframeinterval"), encoder.property::<u32>("idrinterval")),
        (30, 256)
    );
}

#[test]
fn a_board_lacks_what_it_lacks() {
    assert!(!Board::JetsonOrinNano(JetPack::Six).elements().contains(&"nvv4l2h264enc"));
    assert!(!Board::NvidiaDataCentre.elements().contains(&"nvh264enc"));
    assert!(!Board::NvidiaNoNvrtc.elements().contains(&"cudascale"));
    assert!(!Board::NvidiaT4.elements().contains(&"nvav1dec"));
    for board in Board::ALL {
        assert_eq!(board.to_string().parse::<Board>().unwrap(), board);
    }
    let err = "jetson-nano".parse::<Board>().unwrap_err().to_string();
    assert!(err.contains("nvidia-t4"), "{err}");
}

#[test]
fn pictures_in_the_wrong_memory_do_not_link() {
    boards();
    assert!(!links("videotestsrc ! nvv4l2h264enc ! fakesink"));
    assert!(!links("videotestsrc ! cudascale ! fakesink"));
    assert!(!links("nvv4l2decoder ! x264enc"));
    assert!(!links("cudascale ! x264enc"));
    assert!(!links("cudascale ! vapostproc"));
    assert!(!links("nvv4l2decoder ! cudascale"));
    // These take or give system memory too, as the vendor's do.
    assert!(links("videotestsrc ! vapostproc ! fakesink"));
    assert!(links("videotestsrc ! nvh264enc ! fakesink"));
    assert!(links("nvh264dec ! x264enc"));
    assert!(links("nvv4l2decoder ! nvvidconv ! x264enc"));
}

#[test]
fn memory_features_hold_along_a_running_graph() {
    boards();
    let made = undisturbed(&format!(
        "{} ! cudaupload ! cudaconvertscale ! video/x-raw(memory:CUDAMemory),format=NV12,width=160,height=120 ! \
         appsink name=out",
        pictures(5, "I420", "320x240")
    ));
    assert_eq!(made.units.len(), 5);
    assert_eq!(made.units[0].len(), 160 * 120 * 3 / 2);
    let caps = made.caps.unwrap();
    assert!(caps.features(0).unwrap().contains("memory:CUDAMemory"), "{caps}");
    let made = undisturbed(&format!(
        "{} ! cudaupload ! cudascale ! video/x-raw(memory:CUDAMemory),width=160,height=120 ! cudadownload ! \
         video/x-raw ! appsink name=out",
        pictures(5, "I420", "320x240")
    ));
    assert_eq!(made.caps.unwrap().features(0).unwrap().to_string(), "memory:SystemMemory");
}

#[test]
fn the_older_nvenc_element_keeps_the_gop_and_writes_headers_once() {
    boards();
    let made = undisturbed(&format!(
        "{} ! cudaupload ! nvh264enc gop-size=10 bitrate=500 rc-mode=cbr ! appsink name=out",
        pictures(35, "NV12", "320x240")
    ));
    assert_eq!(made.units.len(), 35);
    assert_eq!(with(&made, 5), [0, 10, 20, 30]);
    assert_eq!(with(&made, 7), [0], "SPS with the first picture alone: a parser has to repeat it");
}

#[test]
fn the_newer_nvenc_element_repeats_headers_when_told() {
    boards();
    let make = |more: &str| {
        undisturbed(&format!(
            "{} ! cudaupload ! nvcudah264enc gop-size=10 {more} ! video/x-h264,stream-format=byte-stream ! \
             appsink name=out",
            pictures(25, "NV12", "320x240")
        ))
    };
    assert_eq!(with(&make(""), 7), [0]);
    assert_eq!(with(&make("repeat-sequence-header=true"), 7), [0, 10, 20]);
}

#[test]
fn the_l4t_encoder_makes_idr_pictures_by_idrinterval_alone() {
    boards();
    let make = |more: &str| {
        undisturbed(&format!(
            "{} ! nvvidconv ! video/x-raw(memory:NVMM),format=NV12 ! nvv4l2h264enc {more} ! appsink name=out",
            pictures(45, "I420", "320x240")
        ))
    };
    let made = make("iframeinterval=10");
    assert_eq!(with(&made, 5), [0], "idrinterval is 256 by default");
    let made = make("iframeinterval=10 idrinterval=20");
    assert_eq!(with(&made, 5), [0, 20, 40]);
    assert_eq!(with(&made, 7), [0]);
    let made = make("iframeinterval=20 idrinterval=20 insert-sps-pps=true");
    assert_eq!(with(&made, 7), [0, 20, 40]);
    assert_eq!(with(&made, 8), [0, 20, 40]);
}

#[test]
fn bit_rates_are_in_the_vendors_units() {
    boards();
    // Noise takes every bit it is given.
    let noise = "videotestsrc num-buffers=50 pattern=snow ! video/x-raw,format=NV12,width=320,height=240,framerate=25/1";
    let kbit = |description: &str| {
        let made = undisturbed(&format!("{noise} ! {description} ! appsink name=out"));
        made.units.iter().map(Vec::len).sum::<usize>() * 8 / 2 / 1000
    };
    let l4t = kbit(
        "nvvidconv ! video/x-raw(memory:NVMM) ! nvv4l2h264enc bitrate=1000000 vbv-size=500000 idrinterval=25",
    );
    let nv = kbit("cudaupload ! nvh264enc bitrate=1000 rc-mode=cbr gop-size=25");
    let va = kbit("vapostproc ! vah264enc bitrate=1000 rate-control=cbr key-int-max=25");
    for (name, rate) in [("nvv4l2h264enc", l4t), ("nvh264enc", nv), ("vah264enc", va)] {
        assert!((600..1500).contains(&rate), "{name}: {rate} kbit/s where 1000 were asked");
    }
}

#[test]
fn the_l4t_converter_takes_the_nearest_pixel_unless_told() {
    boards();
    let levels = |more: &str| {
        let made = undisturbed(&format!(
            "videotestsrc num-buffers=1 pattern=checkers-8 ! video/x-raw,format=GRAY8,width=320,height=240 ! \
             nvvidconv {more} ! video/x-raw(memory:NVMM),format=GRAY8,width=212,height=158 ! nvvidconv ! \
             video/x-raw,format=GRAY8 ! appsink name=out"
        ));
        let mut levels = made.units[0].clone();
        levels.sort_unstable();
        levels.dedup();
        levels.len()
    };
    assert!(levels("interpolation-method=Bilinear") > levels("") + 2, "bilinear makes levels between");
}

#[test]
fn the_l4t_converter_turns_pictures() {
    boards();
    let made = undisturbed(&format!(
        "{} ! nvvidconv flip-method=clockwise ! video/x-raw(memory:NVMM),format=NV12 ! nvvidconv ! video/x-raw ! \
         appsink name=out",
        pictures(1, "NV12", "320x240")
    ));
    let caps = made.caps.unwrap();
    let size = caps.structure(0).unwrap();
    assert_eq!((size.get::<i32>("width").unwrap(), size.get::<i32>("height").unwrap()), (240, 320));
}

/// An L4T decoder whose pictures are held by an appsink.
fn holding(extra: u32) -> (gst::Pipeline, gst_app::AppSink) {
    let pipeline = gst::parse::launch(&format!(
        "{} ! x264enc speed-preset=ultrafast bframes=0 key-int-max=10 ! h264parse ! \
         nvv4l2decoder num-extra-surfaces={extra} ! appsink name=out sync=false",
        pictures(40, "I420", "320x240")
    ))
    .unwrap()
    .downcast::<gst::Pipeline>()
    .unwrap();
    let sink = pipeline.by_name("out").unwrap().downcast::<gst_app::AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    (pipeline, sink)
}

#[test]
fn a_graph_that_holds_more_pictures_than_surfaces_stalls() {
    boards();
    let _turn = TURN.lock().unwrap_or_else(|e| e.into_inner());
    let (pipeline, sink) = holding(3);
    let wait = gst::ClockTime::from_seconds(20);
    let held: Vec<_> = (0..5).map(|_| sink.try_pull_sample(wait).expect("the first pictures come")).collect();
    assert!(sink.try_pull_sample(gst::ClockTime::from_seconds(2)).is_none(), "the pool is empty");
    drop(held);
    let rest = std::iter::from_fn(|| sink.try_pull_sample(wait)).count();
    assert_eq!(rest, 35, "given back, the surfaces carry the rest");
    pipeline.set_state(gst::State::Null).unwrap();
    // A pool that is empty does not keep the pipeline from stopping.
    let (pipeline, sink) = holding(0);
    let held: Vec<_> = (0..2).map(|_| sink.try_pull_sample(wait).expect("the first pictures come")).collect();
    pipeline.set_state(gst::State::Null).unwrap();
    drop(held);
}

#[test]
fn decoders_give_what_the_hardware_gives() {
    boards();
    let decode = |encode: &str, decode: &str| {
        let made = undisturbed(&format!("{encode} ! {decode} ! appsink name=out"));
        let caps = made.caps.unwrap();
        let feature = caps.features(0).unwrap().to_string();
        let format = caps.structure(0).unwrap().get::<String>("format").unwrap();
        (made.units.len(), feature, format)
    };
    let h264 = format!("{} ! x264enc speed-preset=ultrafast ! h264parse", pictures(10, "I420", "320x240"));
    let hevc10 =
        format!("{} ! x265enc speed-preset=ultrafast ! h265parse", pictures(10, "I420_10LE", "320x240"));
    let vp9 = format!("{} ! vp9enc deadline=1 cpu-used=8 ! vp9parse", pictures(10, "I420", "320x240"));
    // GStreamer's own MPEG-2 encoders hang (mpeg2enc) or refuse every frame rate (libav's) in 1.22.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("clip.m2v");
    let picture =
        ["-f", "lavfi", "-i", "testsrc=size=320x240:rate=25", "-frames:v", "10", "-c:v", "mpeg2video"];
    let made = Command::new("ffmpeg").args(["-v", "error"]).args(picture).arg(&file).status();
    assert!(made.expect("ffmpeg is installed by scripts/setup").success());
    let mpeg2 = format!("filesrc location={} ! mpegvideoparse", file.display());
    let nvmm = |format: &str| (10, "memory:NVMM".to_owned(), format.to_owned());
    for stream in [&h264, &vp9, &mpeg2] {
        assert_eq!(decode(stream, "nvv4l2decoder"), nvmm("NV12"), "{stream}");
    }
    assert_eq!(decode(&hevc10, "nvv4l2decoder"), nvmm("P010_10LE"));
    let cuda = "memory:CUDAMemory";
    let to_cuda = "! video/x-raw(memory:CUDAMemory)";
    assert_eq!(decode(&h264, &format!("nvh264dec {to_cuda}")), (10, cuda.into(), "NV12".into()));
    assert_eq!(decode(&hevc10, &format!("nvh265dec {to_cuda}")), (10, cuda.into(), "P010_10LE".into()));
    assert_eq!(decode(&vp9, &format!("nvvp9dec {to_cuda}")), (10, cuda.into(), "NV12".into()));
    assert_eq!(decode(&mpeg2, &format!("nvmpeg2videodec {to_cuda}")), (10, cuda.into(), "NV12".into()));
    let va = "memory:VAMemory";
    assert_eq!(decode(&h264, "vah264dec ! video/x-raw(memory:VAMemory)"), (10, va.into(), "NV12".into()));
    assert_eq!(
        decode(&hevc10, "vah265dec ! video/x-raw(memory:VAMemory)"),
        (10, va.into(), "P010_10LE".into())
    );
}

#[test]
fn what_the_hardware_cannot_decode_is_refused() {
    boards();
    let fails = |encode: &str, decoder: &str| {
        let made = run_for(&format!("{encode} ! {decoder} ! appsink name=out"), common::LONG);
        assert!(made.error.is_some() && made.units.is_empty(), "{encode} ! {decoder}: {:?}", made.error);
    };
    let h264_422 = format!("{} ! x264enc speed-preset=ultrafast ! h264parse", pictures(5, "Y42B", "320x240"));
    fails(&h264_422, "nvh264dec");
    fails(&h264_422, "vah264dec");
    fails(&h264_422, "nvv4l2decoder");
    let tiny = format!("{} ! x264enc speed-preset=ultrafast ! h264parse", pictures(5, "I420", "32x32"));
    fails(&tiny, "nvh264dec");
}

#[test]
fn values_outside_the_vendors_range_are_refused() {
    boards();
    let refused = |element: &'static str, set: fn(&gst::Element)| {
        let element = gst::ElementFactory::make(element).build().unwrap();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| set(&element)));
        assert!(outcome.is_err(), "{}", element.name());
    };
    refused("nvv4l2decoder", |e| e.set_property("num-extra-surfaces", 99u32));
    refused("nvh264enc", |e| e.set_property("bitrate", 3_000_000u32));
    refused("vah264enc", |e| e.set_property("target-usage", 9u32));
    refused("nvh264enc", |e| e.set_property("repeat-sequence-header", true));
    refused("nvh264enc", |e| e.set_property_from_str("preset", "p4"));
    refused("nvvidconv", |e| e.set_property_from_str("interpolation-method", "Lanczos"));
    refused("nvv4l2h264enc", |e| e.set_property_from_str("control-rate", "cbr"));
    // As in the source: unsigned there, so a plain int is the wrong type.
    refused("vah264enc", |e| e.set_property("bitrate", 1000i32));
}

#[test]
fn faults_break_the_encoder_as_they_say() {
    boards();
    let encode = |count| {
        format!(
            "{} ! cudaupload ! nvh264enc gop-size=10 ! appsink name=out",
            pictures(count, "NV12", "320x240")
        )
    };
    let made = with_fault("nvh264enc", Fault::Error { at: 12 }, &encode(40), common::LONG);
    assert!(made.error.as_deref().is_some_and(|text| text.contains("frame 12")), "{:?}", made.error);
    assert!(
        made.error_from.as_deref().is_some_and(|name| name.starts_with("nvh264enc")),
        "{:?}",
        made.error_from
    );
    assert!(made.units.len() <= 12, "{}", made.units.len());

    let made = with_fault("nvh264enc", Fault::Stall { at: 12 }, &encode(40), Duration::from_secs(3));
    assert_eq!(made.error.as_deref(), Some("no end"));
    assert!(made.units.len() <= 12, "{}", made.units.len());

    let made = with_fault("nvh264enc", Fault::IgnoreGop, &encode(25), common::LONG);
    assert_eq!((made.error.clone(), with(&made, 5)), (None, vec![0]));

    let made = with_fault("nvh264enc", Fault::DieAtReady, &encode(5), common::LONG);
    assert!(made.error.as_deref().is_some_and(|text| text.contains("does not open")), "{:?}", made.error);

    let two = format!(
        "{} ! tee name=t ! queue ! nvh264enc ! fakesink t. ! queue ! nvh264enc ! fakesink",
        pictures(5, "NV12", "320x240")
    );
    let made = with_fault("nvh264enc", Fault::Sessions { at_most: 1 }, &two, common::LONG);
    assert!(made.error.as_deref().is_some_and(|text| text.contains("session")), "{:?}", made.error);
    assert_eq!(open_sessions("nvh264enc"), 0, "closed elements give their sessions back");
    let made = with_fault("nvh264enc", Fault::Sessions { at_most: 2 }, &two, common::LONG);
    assert_eq!(made.error, None);
}

#[test]
fn green_pictures_are_green() {
    boards();
    let description = format!(
        "{} ! cudaupload ! nvh264enc gop-size=5 ! h264parse ! avdec_h264 ! videoconvert ! video/x-raw,format=I420 ! \
         appsink name=out",
        pictures(10, "NV12", "320x240")
    );
    let made = with_fault("nvh264enc", Fault::Green { at: 5 }, &description, common::LONG);
    let mean = |unit: &Vec<u8>| unit.iter().map(|b| u64::from(*b)).sum::<u64>() / unit.len() as u64;
    assert_eq!((made.error.clone(), made.units.len()), (None, 10));
    assert!(
        mean(&made.units[2]) > 40 && mean(&made.units[8]) < 10,
        "{:?}",
        made.units.iter().map(mean).collect::<Vec<_>>()
    );
}

#[test]
fn grey_pictures_keep_their_luma_alone() {
    boards();
    let description = "videotestsrc num-buffers=4 pattern=smpte ! video/x-raw,format=NV12,width=320,height=240,framerate=25/1 ! \
         cudaupload ! nvh264enc gop-size=2 bitrate=4000 ! h264parse ! avdec_h264 ! appsink name=out";
    let made = with_fault("nvh264enc", Fault::Grey { at: 2 }, description, common::LONG);
    assert_eq!((made.error.clone(), made.units.len()), (None, 4));
    let (luma, chroma) = made.units[3].split_at(320 * 240);
    assert!(luma.iter().max() > Some(&150) && chroma.iter().all(|byte| (126..=130).contains(byte)));
    assert!(made.units[1][320 * 240..].iter().any(|byte| !(100..=156).contains(byte)));
}

#[test]
fn every_row_says_where_it_was_read() {
    let lines = transcode_standins::citations().unwrap();
    assert!(lines.len() > 200, "{}", lines.len());
    for line in &lines {
        let (_, cite) = line.split_once(": ").expect("a row has a citation");
        assert!(!cite.trim().is_empty(), "{line}");
        if line.starts_with("qsv-1.22.0")
            || line.starts_with("nvcodec-1.22.0")
            || line.starts_with("va-1.22.0")
        {
            assert!(cite.contains("sys/") || cite.contains("gst-libs/"), "{line}");
        }
    }
    assert_eq!(nal_types(&[0, 0, 0, 1, 0x67, 1, 0, 0, 1, 0x65]), [7, 5]);
}

//! What pictures look like behind the graph, and what they bring along.

use super::support::*;
use crate::units::{MediaTime, Resolution};
use std::process::Command;
use std::sync::Arc;

/// Mean of each plane of the first picture.
fn planes(path: &std::path::Path, size: (usize, usize)) -> [usize; 3] {
    let decoded = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(path)
        .args(["-frames:v", "1", "-pix_fmt", "yuv420p", "-f", "rawvideo", "-"])
        .output()
        .unwrap();
    let luma = size.0 * size.1;
    let mean = |from: usize, length: usize| {
        decoded.stdout[from..from + length].iter().map(|byte| usize::from(*byte)).sum::<usize>() / length
    };
    [mean(0, luma), mean(luma, luma / 4), mean(luma * 5 / 4, luma / 4)]
}

/// Luma of a point in the left half and of one in the right half of the first picture, 320×180.
fn extremes(path: &std::path::Path) -> (u8, u8) {
    // No conversion of ranges: the samples as they are.
    let decoded = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(path)
        .args(["-frames:v", "1", "-f", "rawvideo", "-"])
        .output()
        .unwrap();
    (decoded.stdout[90 * 320 + 80], decoded.stdout[90 * 320 + 240])
}

/// A wide film of 534 lines without a word about its colours is BT.709 by its width; GStreamer takes
/// it for BT.601 by its lines, and converts.
///
/// Remedy: `colours::take_for`. Without: "[81, 90, 240] became [61, 102, 240]".
#[test]
fn untold_colours_are_what_the_plan_takes_them_for() {
    let red = ["-f", "lavfi", "-i", "color=red:s=1280x534:r=30000/1001:d=2", "-pix_fmt", "yuv420p"];
    let file = ffmpeg(&[&red[..], &["-c:v", "libx264", "-preset", "ultrafast"]].concat(), ".mp4");
    let mut plan = karma(vec![rung("268p", (640, 268), None, 60, 0)], 59, 60, MediaTime::ZERO);
    plan.input.audio = None;
    plan.thumbnail = None;
    plan.input.video.as_mut().unwrap().size = Resolution::new(1_280, 534).unwrap();
    let objects = Arc::new(Objects::default());
    let source = Arc::new(Clip(std::fs::read(file.path()).unwrap()));
    run(&plan, &plan.whole(), source, objects.clone()).result.unwrap();
    let (before, after) =
        (planes(file.path(), (1_280, 534)), planes(join(&objects, "268p").path(), (640, 268)));
    let close = before.iter().zip(&after).all(|(before, after)| before.abs_diff(*after) <= 1);
    assert!(close, "{before:?} became {after:?}");
}

/// Action cameras store the full range; H.264 of a ladder is of the limited one, and says so.
///
/// Remedy: `range`. Without: black and white of the first column come out as they were, 0 and 255.
#[test]
fn the_full_range_becomes_the_limited_one() {
    for (format, bars) in
        [("yuvj420p", "bt709"), ("yuvj422p", "bt709"), ("yuvj420p", "bt470bg"), ("yuv420p10le", "bt709")]
    {
        let ten = format.ends_with("10le");
        let picture = "color=white:s=640x360:r=30000/1001:d=2,drawbox=w=320:h=360:color=black:t=fill";
        let filter = format!("{picture},scale=out_range=pc:out_color_matrix=bt709,format={format}");
        let range = format!("colorprim=bt709:transfer=bt709:colormatrix={bars}:range=pc");
        let file = ffmpeg(
            &[
                "-f",
                "lavfi",
                "-i",
                &filter,
                "-c:v",
                "libx264",
                "-preset",
                "ultrafast",
                "-x264-params",
                &range,
            ],
            ".mp4",
        );
        let mut plan = karma(vec![rung("180p", (320, 180), None, 60, 0)], 59, 60, MediaTime::ZERO);
        plan.input.audio = None;
        plan.thumbnail = None;
        let input = plan.input.video.as_mut().unwrap();
        input.size = Resolution::new(640, 360).unwrap();
        input.bit_depth = if ten { 10 } else { 8 };
        input.colorimetry = if bars == "bt709" { "1:3:5:1" } else { "1:4:5:1" }.to_owned();
        let objects = Arc::new(Objects::default());
        let source = Arc::new(Clip(std::fs::read(file.path()).unwrap()));
        run(&plan, &plan.whole(), source, objects.clone()).result.unwrap();
        let (least, most) = extremes(join(&objects, "180p").path());
        assert!(
            (15..=17).contains(&least) && (233..=236).contains(&most),
            "{format}, {bars}: {least} to {most}"
        );
    }
}

/// An SEI message with one pair of CEA-608 caption bytes (ATSC A/53 part 4) before every picture.
fn captioned(stream: &[u8]) -> Vec<u8> {
    let message = [
        0, 0, 1, 6, 4, 14, 0xB5, 0, 0x31, b'G', b'A', b'9', b'4', 3, 0xC1, 0xFF, 0xFC, 0x94, 0x20, 0xFF, 0x80,
    ];
    let mut out = Vec::with_capacity(stream.len() * 2);
    for (at, byte) in stream.iter().enumerate() {
        let picture = stream[at..].starts_with(&[0, 0, 1])
            && matches!(stream.get(at + 3), Some(kind) if matches!(kind & 31, 1 | 5));
        if picture {
            out.extend_from_slice(&message);
        }
        out.push(*byte);
    }
    out
}

/// The master says CLOSED-CAPTIONS=NONE, and so it is: x264enc writes what the decoder finds.
///
/// Remedy: `without_captions` in the gate. Without: 59 of 59.
#[test]
fn captions_of_the_source_are_not_passed_on() {
    let clip = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/media/gopro-karma.mp4");
    let plain = ["-i", clip, "-t", "2", "-an", "-vf", "scale=426:240", "-c:v", "libx264"];
    let single = ["-preset", "ultrafast", "-x264-params", "slices=1:threads=1:sliced-threads=0"];
    let stream = ffmpeg(&[&plain[..], &single[..]].concat(), ".h264");
    std::fs::write(stream.path(), captioned(&std::fs::read(stream.path()).unwrap())).unwrap();
    let name = stream.path().to_str().unwrap();
    let file = ffmpeg(&["-r", "30000/1001", "-i", name, "-c", "copy"], ".mp4");
    let source = Arc::new(Clip(std::fs::read(file.path()).unwrap()));
    let captions = |bytes: &[u8]| bytes.windows(4).filter(|window| window == b"GA94").count();
    assert!(captions(&source.0) >= 59, "the source has {}", captions(&source.0));
    let mut plan = karma(vec![rung("240p", (426, 240), None, 60, 0)], 59, 60, MediaTime::ZERO);
    plan.input.audio = None;
    plan.thumbnail = None;
    let objects = Arc::new(Objects::default());
    run(&plan, &plan.whole(), source, objects.clone()).result.unwrap();
    let passed: usize = objects.stored.lock().unwrap().values().map(|bytes| captions(bytes)).sum();
    assert_eq!(passed, 0);
}

//! Key frames, pictures and samples stand where the plan says, whatever the source shows.

use super::support::*;
use crate::segment;
use crate::units::MediaTime;
use std::process::Command;
use std::sync::Arc;

/// Where a rung's key frames stand, counted in pictures from the beginning.
fn key_frames(objects: &Objects, rung: &str) -> Vec<usize> {
    let mut at = 0;
    let mut keys = Vec::new();
    for (key, bytes) in objects.stored.lock().unwrap().iter() {
        if !key.starts_with(&format!("{rung}/")) {
            continue;
        }
        let mut pictures = segment::inspect(bytes).unwrap().video.unwrap().pictures;
        pictures.sort_by_key(|picture| picture.pts);
        keys.extend((at..).zip(&pictures).filter(|(_, picture)| picture.idr).map(|(at, _)| at));
        at += pictures.len();
    }
    keys
}

/// A hard cut every 25 pictures: an encoder left alone puts key frames there.
#[test]
fn key_frames_stand_on_the_grid_and_nowhere_else() {
    let cuts =
        ["-t", "8", "-vf", "scale=426:240,negate=enable='lt(mod(n,50),25)'", "-crf", "18", "-c:a", "copy"];
    let rungs = vec![rung("240p", (426, 240), None, 30, 64_000), rung("120p", (214, 120), None, 60, 64_000)];
    let plan = karma(rungs, 230, 60, MediaTime::ZERO);
    let objects = Arc::new(Objects::default());
    run(&plan, &plan.whole(), made(&cuts, ".mp4"), objects.clone()).result.unwrap();
    assert_eq!(key_frames(&objects, "240p"), [0, 30, 60, 90, 120, 150, 180, 210]);
    assert_eq!(key_frames(&objects, "120p"), [0, 60, 120, 180]);
}

/// A segment of 50 pictures lasts 1.668333… s: counted in nanoseconds some are longer than others.
#[test]
fn boundaries_between_two_nanoseconds_are_kept() {
    let plan = karma(vec![rung("240p", (426, 240), None, 10, 64_000)], 362, 50, MediaTime::ZERO);
    let outcome = run(&plan, &plan.whole(), Clip::open("gopro-karma.mp4"), Arc::new(Objects::default()));
    let pictures: Vec<_> =
        outcome.result.unwrap().rungs[0].segments.iter().map(|segment| segment.pictures).collect();
    assert_eq!(pictures, [50, 50, 50, 50, 50, 50, 50, 12]);
}

/// Where a tone begins in what was made, in samples.
fn tone_begins(source: Arc<Clip>, slots: u64) -> usize {
    let plan = karma(vec![rung("72p", (128, 72), None, 60, 64_000)], slots, 60, MediaTime::ZERO);
    let objects = Arc::new(Objects::default());
    run(&plan, &plan.whole(), source, objects.clone()).result.unwrap();
    let decoded = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(join(&objects, "72p").path())
        .args(["-map", "0:a", "-ac", "1", "-f", "s16le", "-"])
        .output()
        .unwrap();
    let loud = |sample: &[u8]| i16::from_le_bytes([sample[0], sample[1]]).unsigned_abs() > 3_000;
    decoded.stdout.chunks_exact(2).position(loud).unwrap()
}

/// A tone begins 3 s after the first picture, and so it does in what is made; also where the file
/// has been cut and its edit list leaves out the first second of the packets.
#[test]
fn sound_lies_where_it_lay_in_the_source() {
    let tone = "aevalsrc='if(gte(t,3),0.5*sin(2*PI*1000*t),0)':s=48000:d=12:c=stereo";
    let picture = "color=gray:s=128x72:r=30000/1001:d=12";
    let inputs = ["-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", tone];
    let coded = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "60", "-c:a", "aac"];
    let whole = ffmpeg(&[&inputs[..], &coded[..]].concat(), ".mp4");
    let name = whole.path().to_str().unwrap();
    let cut = ffmpeg(&["-ss", "1.5", "-i", name, "-c", "copy"], ".mp4");
    for (file, slots, expected) in [(whole.path(), 360, 3 * 48_000), (cut.path(), 312, 3 * 48_000 / 2)] {
        let begin = tone_begins(Arc::new(Clip(std::fs::read(file).unwrap())), slots);
        assert!(begin.abs_diff(expected) < 128, "sound begins at sample {begin}, not at {expected}");
    }
}

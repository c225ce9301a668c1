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

/// The clip's sound begins 3 s after its first picture, to the sample.
#[test]
fn sound_lies_where_it_lay_in_the_source() {
    let tone = [
        "-f",
        "lavfi",
        "-i",
        "aevalsrc='if(gte(t,3),0.5*sin(2*PI*1000*t),0)':s=48000:d=12:c=stereo",
        "-map",
        "0:v",
        "-map",
        "1:a",
        "-c:v",
        "copy",
        "-c:a",
        "aac",
    ];
    let plan = small();
    let objects = Arc::new(Objects::default());
    run(&plan, &plan.whole(), made(&tone, ".mp4"), objects.clone()).result.unwrap();
    let file = join(&objects, "240p");
    let decoded = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(file.path())
        .args(["-map", "0:a", "-ac", "1", "-f", "s16le", "-"])
        .output()
        .unwrap();
    let loud = |sample: &[u8]| i16::from_le_bytes([sample[0], sample[1]]).unsigned_abs() > 3_000;
    let begin = decoded.stdout.chunks_exact(2).position(loud).unwrap();
    assert!(begin.abs_diff(3 * 48_000) < 256, "sound begins at sample {begin}");
}

//! Every kind of container that is let in becomes a ladder, whole and cut off anywhere.

use crate::support::{QUICK, clip, finish, is_finished, made, renditions, run, segments};
use std::path::Path;

/// Name, and how ffmpeg makes it.
const KINDS: [(&str, &str); 13] = [
    ("a.mp4", "-c copy -movflags +faststart"),
    ("fragmented.mp4", "-c copy -movflags frag_keyframe+empty_moov"),
    ("a.mov", "-s 320x180 -c:v mjpeg -q:v 3 -c:a pcm_s16le -movflags +faststart"),
    ("a.mkv", "-c copy"),
    ("a.webm", "-s 320x180 -c:v libvpx -deadline realtime -cpu-used 8 -b:v 500k -c:a libopus"),
    ("a.ts", "-c copy"),
    ("a.mpg", "-s 320x180 -c:v mpeg2video -c:a mp2"),
    ("a.avi", "-s 320x180 -c:v mpeg4 -c:a mp3"),
    ("a.flv", "-c copy"),
    ("a.ogv", "-s 320x180 -c:v libtheora -c:a libvorbis"),
    ("a.wav", "-vn -c:a pcm_s16le"),
    ("a.mp3", "-vn -c:a libmp3lame"),
    ("a.flac", "-vn -c:a flac"),
];

/// The first four seconds of a clip in that container.
fn four_seconds(dir: &Path, (name, how): (&str, &str)) -> String {
    let clip = clip("gopro-karma.mp4");
    let source = ["-i", &clip, "-t", "4", "-map", "0:v:0", "-map", "0:a:0"];
    // Without pictures the first stream is not wanted.
    let source = if how.starts_with("-vn") { &source[..4] } else { &source[..] };
    made(dir, name, &[source, &how.split(' ').collect::<Vec<_>>()].concat())
}

#[test]
fn every_container_becomes_a_ladder() {
    let dir = tempfile::tempdir().unwrap();
    for kind in KINDS {
        let out = dir.path().join(format!("{}.out", kind.0));
        finish(run(&four_seconds(dir.path(), kind), &out, &QUICK)).succeeded();
        let count = segments(&renditions(&out)[0]).len();
        assert!((4..=5).contains(&count), "{}: {count} segments", kind.0);
        is_finished(&out, count);
    }
}

/// Wherever it is cut, what is there is published; sound may end long before the pictures then.
#[test]
fn every_container_may_be_cut_off_anywhere() {
    let dir = tempfile::tempdir().unwrap();
    for kind in KINDS {
        let whole = std::fs::read(four_seconds(dir.path(), kind)).unwrap();
        for percent in [30, 57, 84] {
            let name = format!("{percent}-{}", kind.0);
            let input = dir.path().join(&name);
            std::fs::write(&input, &whole[..whole.len() * percent / 100]).unwrap();
            let out = dir.path().join(format!("{name}.out"));
            let options = [&QUICK[..], &["--allow-truncated"]].concat();
            finish(run(input.to_str().unwrap(), &out, &options)).succeeded();
            let count = segments(&renditions(&out)[0]).len();
            assert!((1..=4).contains(&count), "{name}: {count} segments");
            is_finished(&out, count);
        }
    }
}

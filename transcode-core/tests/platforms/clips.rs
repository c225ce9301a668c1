//! Short clips of what people send: made once by `ffmpeg` into the build folder.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use transcode_core::plan::{Plan, plan};
use transcode_core::source::{FileSource, Source};
use transcode_core::{Cancel, JobSpec, Platform, Profile, probe};

/// Part of every name: a change of how they are made makes them anew.
const VERSION: &str = "1";

/// A clip's name, and how `ffmpeg` makes it of its test picture and a tone.
pub(crate) const CLIPS: [(&str, &str, &str); 6] = [
    (
        "h264-1080p",
        "testsrc2=size=1920x1080:rate=24:duration=2",
        "-c:v libx264 -preset ultrafast -pix_fmt yuv420p",
    ),
    (
        "hevc-4k-10-bit",
        "testsrc2=size=3840x2160:rate=24:duration=1.25",
        "-c:v libx265 -preset ultrafast -x265-params log-level=error -pix_fmt yuv420p10le -tag:v hvc1",
    ),
    ("vp9", "testsrc2=size=640x360:rate=25:duration=2", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8"),
    (
        "interlaced",
        "testsrc2=size=720x576:rate=50:duration=2,interlace=scan=tff",
        "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -flags +ilme+ildct -x264-params tff=1",
    ),
    (
        "rotated",
        "testsrc2=size=640x360:rate=25:duration=2",
        "-c:v libx264 -preset ultrafast -pix_fmt yuv420p",
    ),
    (
        "29.97",
        "testsrc2=size=854x480:rate=30000/1001:duration=2.002",
        "-c:v libx264 -preset ultrafast -pix_fmt yuv420p",
    ),
];

fn ffmpeg(arguments: &[&str]) {
    let output = Command::new("ffmpeg").args(["-v", "error", "-y", "-nostdin"]).args(arguments).output();
    let output = output.expect("ffmpeg is installed by scripts/setup");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The file of a clip; made, if it is not there.
pub(crate) fn file(name: &str) -> PathBuf {
    let (_, picture, video) = CLIPS.iter().find(|(known, ..)| *known == name).unwrap();
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(&folder).unwrap();
    let extension = if name == "vp9" { "webm" } else { "mp4" };
    let path = folder.join(format!("platform-{name}-{VERSION}.{extension}"));
    if path.exists() {
        return path;
    }
    // Under a name of this process's own first: another may be making the same.
    let half = folder.join(format!("half-{}-{name}.{extension}", std::process::id()));
    let audio = if name == "vp9" { "libopus" } else { "aac" };
    let mut arguments =
        vec!["-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"];
    arguments.extend(video.split(' '));
    arguments.extend(["-c:a", audio, "-shortest", half.to_str().unwrap()]);
    ffmpeg(&arguments);
    if name == "rotated" {
        let upright = folder.join(format!("upright-{}.mp4", std::process::id()));
        let (from, to) = (half.to_str().unwrap(), upright.to_str().unwrap());
        ffmpeg(&["-i", from, "-c", "copy", "-metadata:s:v", "rotate=90", to]);
        std::fs::rename(upright, &half).unwrap();
    }
    std::fs::rename(half, &path).unwrap();
    path
}

/// Two small rungs, one scaled from the other, in segments of a second.
const PROFILE: &str = r#"
name = "boards"
description = "small and quick"
segment = "1s"

[encoding]
preset = "ultrafast"
rate-control = "abr"
vbv = "1s"
key-interval = "1s"

[[rendition]]
name = "360p"
height = 360
video = "700k"
audio = "64k"

[[rendition]]
name = "270p"
height = 270
video = "500k"
audio = "64k"

[[rendition]]
name = "180p"
height = 180
video = "300k"
audio = "64k"
"#;

/// A source, and its plan on a platform.
pub(crate) fn job(name: &str, platform: &Platform) -> (Arc<dyn Source>, Plan) {
    let source: Arc<dyn Source> = Arc::new(FileSource::open(file(name)).unwrap());
    let info = probe(source.clone(), platform, &Cancel::new()).unwrap();
    let spec = JobSpec::new(Profile::parse("the boards' profile", PROFILE).unwrap());
    let plan = plan(&info, &spec, platform).unwrap_or_else(|error| panic!("{name}: {}", error.chain()));
    (source, plan)
}

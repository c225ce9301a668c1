//! The clips these tests show: a real one made long, and one with its picture's number drawn in.
//!
//! Owns drawing the number and reading it back. The number is 16 bits: a row of blocks, white for
//! one and black for zero, the highest first, over a row of the same bits turned round. A
//! picture whose two rows disagree is unreadable, not a wrong number.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const WIDTH: usize = 960;
const HEIGHT: usize = 540;
const BITS: usize = 16;

/// A clip whose pictures carry their number.
pub struct Numbered {
    pub path: PathBuf,
    pub pictures: u32,
    /// Pictures a second, as a fraction.
    pub rate: (f64, f64),
}

/// The repository's file under a path relative to its root.
pub fn repository(path: &Path) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The clip `times` over, its packets copied, its tables in front.
pub fn looped(clip: &Path, times: u32, folder: &Path) -> PathBuf {
    let path = folder.join("long.mp4");
    ffmpeg(
        Command::new("ffmpeg")
            .args(["-stream_loop", &(times - 1).to_string(), "-i"])
            .arg(repository(clip))
            .args(["-map", "0:v:0", "-map", "0:a:0", "-c", "copy", "-movflags", "+faststart"]),
        &path,
        |_| {},
    );
    path
}

/// Twenty seconds at 30000/1001 with a tone: three whole segments and a rest.
pub fn numbered(folder: &Path) -> Numbered {
    let (path, pictures) = (folder.join("numbered.mp4"), 600);
    let size = format!("{WIDTH}x{HEIGHT}");
    let mut command = Command::new("ffmpeg");
    command.args(["-f", "rawvideo", "-pix_fmt", "gray", "-r", "30000/1001", "-s", &size, "-i", "-"]);
    command.args(["-f", "lavfi", "-i", "sine=440:r=48000", "-shortest", "-pix_fmt", "yuv420p"]);
    command.args(["-c:v", "libx264", "-preset", "ultrafast", "-crf", "16", "-c:a", "aac"]);
    ffmpeg(&mut command, &path, |to| {
        for number in 0..pictures {
            to.write_all(&draw(number)).expect("ffmpeg takes the pictures");
        }
    });
    Numbered { path, pictures, rate: (30_000.0, 1_001.0) }
}

/// One picture: two rows of blocks over a slope that moves, so that there is something to encode.
fn draw(number: u32) -> Vec<u8> {
    let mut picture = Vec::with_capacity(WIDTH * HEIGHT);
    for y in 0..HEIGHT {
        for x in 0..WIDTH {
            let one = number >> (BITS - 1 - x * BITS / WIDTH) & 1 == 1;
            picture.push(match y * 10 / HEIGHT {
                3 | 4 => {
                    if one {
                        235
                    } else {
                        16
                    }
                }
                5 | 6 => {
                    if one {
                        16
                    } else {
                        235
                    }
                }
                _ => u8::try_from((x / 4 + y / 2 + number as usize) % 200).unwrap_or(0) + 20,
            });
        }
    }
    picture
}

/// Reads the number back in the page. `looks` collects every picture that is shown; `shownAt` goes
/// to a time and gives the picture that then stands on the screen.
pub const READER: &str = r#"(() => {
  if (window.looks) return;
  const video = transcodePlayer.video;
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [320, 180];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const read = () => {
    context.drawImage(video, 0, 0, 320, 180);
    const light = (bit, y) => context.getImageData(bit * 20 + 10, y, 1, 1).data[1] > 128;
    let number = 0;
    for (let bit = 0; bit < 16; bit += 1) {
      const [one, turned] = [light(bit, 72), light(bit, 108)];
      if (one === turned) return null;
      number = number * 2 + one;
    }
    return number;
  };
  window.looks = [];
  const look = (_, { mediaTime, height }) => {
    looks.push({ number: read(), mediaTime, height, time: video.currentTime });
    video.requestVideoFrameCallback(look);
  };
  video.requestVideoFrameCallback(look);
  const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
  window.shownAt = async (time) => {
    looks.length = 0;
    video.currentTime = time;
    while (video.seeking || !looks.length) await sleep(20);
    // Whatever else is on its way to the screen.
    for (let count = -1; count !== looks.length; await sleep(150)) count = looks.length;
    return { ...looks.at(-1), number: read() };
  };
})()"#;

fn ffmpeg(command: &mut Command, output: &Path, feed: impl FnOnce(&mut std::process::ChildStdin)) {
    command.args(["-v", "error", "-y"]).arg(output).stdin(Stdio::piped());
    let mut child = command.spawn().expect("ffmpeg starts: run scripts/setup test");
    feed(&mut child.stdin.take().expect("stdin is piped"));
    let status = child.wait().expect("ffmpeg ends");
    assert!(status.success(), "ffmpeg could not make {}: {status}", output.display());
}

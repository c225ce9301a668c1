//! Clips that say which picture is which: its number stands in every picture as sixteen blocks, and
//! the sound is a waveform that is known sample by sample.
//!
//! Made once by `ffmpeg` into the build folder, under a name that changes with how they are made.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use transcode_core::units::MediaTime;

/// Part of every name: a change of the pattern or the sound makes all clips anew.
const VERSION: &str = "3";

/// Pixels of a picture, and of the four by four blocks in it.
pub(crate) const SIZE: (usize, usize) = (192, 108);

/// Seconds of most clips.
const SECONDS: usize = 21;

/// How a clip is made.
#[derive(Clone, Copy)]
pub(crate) struct Recipe {
    pub(crate) name: &'static str,
    pub(crate) rate: (u32, u32),
    /// x264's settings.
    x264: &'static str,
    audio: &'static str,
    /// The sound's rate and channels as it is put in.
    sound: (u32, u32),
    /// Options of the muxing, or of a second, copying pass.
    copy: &'static str,
    extension: &'static str,
    /// Only these pictures are in the file.
    keep: fn(usize) -> bool,
    /// Ticks of 1/24000 s by which a picture is off its place.
    jitter: fn(usize) -> i64,
    /// Pictures before this one are not in the file, or cannot be shown.
    first: usize,
}

const CLOSED: Recipe = Recipe {
    name: "closed",
    rate: (24, 1),
    x264: "keyint=48:min-keyint=48:scenecut=0:open-gop=0:bframes=3",
    audio: "-c:a aac -b:a 192k",
    sound: (48_000, 2),
    copy: "",
    extension: "mp4",
    keep: |_| true,
    jitter: |_| 0,
    first: 0,
};

/// Every clip there is.
pub(crate) const RECIPES: [Recipe; 14] = [
    CLOSED,
    Recipe { name: "open-gop", x264: "keyint=60:min-keyint=60:scenecut=0:open-gop=1:bframes=3", ..CLOSED },
    Recipe { name: "long-open-gop", x264: "keyint=250:scenecut=0:open-gop=1:bframes=3", ..CLOSED },
    Recipe {
        name: "pyramid",
        x264: "keyint=96:scenecut=0:open-gop=1:bframes=7:b-adapt=0:b-pyramid=normal:ref=5",
        ..CLOSED
    },
    // Begins in the middle of a group of pictures; an edit list hides what lies before picture 55.
    Recipe { name: "edit-list", copy: "-ss 2.291667", first: 55, ..CLOSED },
    // Begins with pictures that refer to some that are not there; 72 is the first that is shown.
    Recipe {
        name: "late-key",
        x264: "keyint=72:min-keyint=72:scenecut=0:open-gop=0:bframes=0",
        copy: "-bsf:v noise=drop='lt(n\\,20)' -copyinkf",
        first: 72,
        ..CLOSED
    },
    Recipe { name: "ntsc", rate: (30_000, 1_001), x264: "keyint=90:scenecut=0:bframes=3", ..CLOSED },
    // Irregular: pictures are missing, the others off their places by up to 18 ms.
    Recipe {
        name: "variable",
        x264: "keyint=60:scenecut=0:bframes=3",
        keep: |n| n % 7 != 3 && n % 11 != 5 && !(200..215).contains(&n),
        jitter: |n| ((n * n * 7_919) % 860) as i64 - 430,
        ..CLOSED
    },
    // Stands still for three seconds and more.
    Recipe {
        name: "still",
        x264: "keyint=250:scenecut=0:bframes=3",
        keep: |n| n < 30 || (120..126).contains(&n) || (n >= 216 && n % 2 == 0),
        ..CLOSED
    },
    Recipe { name: "late-sound", copy: "late-sound", ..CLOSED },
    Recipe { name: "mono-441", sound: (44_100, 1), audio: "-c:a aac -b:a 96k", ..CLOSED },
    Recipe { name: "resampled", sound: (32_000, 2), ..CLOSED },
    Recipe { name: "matroska", extension: "mkv", ..CLOSED },
    Recipe { name: "transport-stream", extension: "ts", x264: "keyint=48:scenecut=0:bframes=3", ..CLOSED },
];

/// The recipe of that name.
pub(crate) fn recipe(name: &str) -> Recipe {
    *RECIPES.iter().find(|recipe| recipe.name == name).unwrap_or_else(|| panic!("no clip {name}"))
}

impl Recipe {
    /// The file, made where it is not there yet.
    pub(crate) fn file(&self) -> PathBuf {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("numbered");
        std::fs::create_dir_all(&folder).unwrap();
        let text = format!("{} {} {} {:?}", self.x264, self.audio, self.copy, self.sound);
        let hash = transcode_core::segment::crc32(text.as_bytes());
        let path = folder.join(format!("{}-{VERSION}-{hash:08x}.{}", self.name, self.extension));
        if !path.exists() {
            self.make(&folder, &path);
        }
        path
    }

    fn pictures(&self) -> usize {
        SECONDS * self.rate.0 as usize / self.rate.1 as usize
    }

    /// Each picture that is shown: its number, and its time from picture 0 on.
    pub(crate) fn shown(&self) -> Vec<(usize, MediaTime)> {
        (0..self.pictures())
            .filter(|n| *n >= self.first && (self.keep)(*n))
            .map(|n| {
                let place = MediaTime::new(n as i64 * i64::from(self.rate.1), self.rate.0).unwrap();
                (n, place + MediaTime::new((self.jitter)(n), 24_000).unwrap())
            })
            .collect()
    }

    fn make(&self, folder: &Path, path: &Path) {
        let raw = folder.join(format!("{}.y4m", self.name));
        let sound = folder.join(format!("{}.pcm", self.name));
        let coded = folder.join(format!("{}-coded.{}", self.name, self.extension));
        let times = folder.join(format!("{}.times", self.name));
        self.write_pictures(&raw, &times);
        std::fs::write(&sound, waveform(SECONDS * self.sound.0 as usize, self.sound)).unwrap();
        // Pictures that are left out or moved: ffmpeg reads them at an even rate and sets the time of
        // each from the table.
        let even = (0..self.pictures()).all(|n| (self.keep)(n) && (self.jitter)(n) == 0);
        let table = std::fs::read_to_string(&times).unwrap();
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-nostdin", "-y", "-i"]).arg(&raw);
        if self.copy == "late-sound" {
            command.args(["-itsoffset", "3.7"]);
        }
        command.args(["-f", "s16le", "-ar", &self.sound.0.to_string(), "-ac", &self.sound.1.to_string()]);
        command.arg("-i").arg(&sound);
        if !even {
            command.args(["-vf", &format!("settb=1/24000,setpts='{table}'"), "-enc_time_base", "1:24000"]);
            command.args(["-vsync", "passthrough", "-video_track_timescale", "24000"]);
        }
        command.args(["-c:v", "libx264", "-preset", "veryfast", "-crf", "14", "-threads", "1"]);
        command.args(["-x264-params", self.x264]).args(self.audio.split_whitespace()).arg(&coded);
        done(command);
        if self.copy.is_empty() || self.copy == "late-sound" {
            std::fs::rename(&coded, path).unwrap();
        } else {
            let mut command = Command::new("ffmpeg");
            command.args(["-v", "error", "-nostdin", "-y"]);
            let (before, after): (Vec<&str>, Vec<&str>) = match self.copy.starts_with("-ss") {
                true => (self.copy.split(' ').collect(), Vec::new()),
                false => (Vec::new(), self.copy.split(' ').collect()),
            };
            let copied = folder.join(format!("{}-copied.{}", self.name, self.extension));
            command.args(before).arg("-i").arg(&coded).args(["-c", "copy"]).args(after).arg(&copied);
            done(command);
            std::fs::rename(&copied, path).unwrap();
        }
    }

    fn write_pictures(&self, raw: &Path, times: &Path) {
        let mut out = std::io::BufWriter::new(std::fs::File::create(raw).unwrap());
        let (width, height) = SIZE;
        writeln!(out, "YUV4MPEG2 W{width} H{height} F{}:{} Ip A1:1 C420jpeg", self.rate.0, self.rate.1)
            .unwrap();
        let mut expression = String::new();
        let kept: Vec<usize> = (0..self.pictures()).filter(|n| (self.keep)(*n)).collect();
        for n in &kept {
            out.write_all(b"FRAME\n").unwrap();
            out.write_all(&picture(*n)).unwrap();
        }
        // A binary decision by N, so that the nesting stays shallow.
        let ticks: Vec<i64> = kept
            .iter()
            .map(|n| {
                *n as i64 * 24_000 * i64::from(self.rate.1) / i64::from(self.rate.0) + (self.jitter)(*n)
                    - (self.jitter)(0)
            })
            .collect();
        decide(&ticks, 0, &mut expression);
        std::fs::write(times, expression).unwrap();
    }
}

fn decide(ticks: &[i64], from: usize, out: &mut String) {
    if ticks.len() == 1 {
        out.push_str(&ticks[0].to_string());
        return;
    }
    let half = ticks.len() / 2;
    out.push_str(&format!("if(lt(N,{}),", from + half));
    decide(&ticks[..half], from, out);
    out.push(',');
    decide(&ticks[half..], from + half, out);
    out.push(')');
}

fn done(mut command: Command) {
    let output = command.output().expect("ffmpeg starts; run scripts/setup");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {complaint}");
}

/// Twelve bits of the number, and four that check them.
fn bits(number: usize) -> usize {
    let check = (number ^ (number >> 4) ^ (number >> 8) ^ 0b1010) & 15;
    (number << 4) | check
}

/// One I420 picture: bright and dark blocks, and some texture that moves, so that the encoder has
/// something to do.
fn picture(number: usize) -> Vec<u8> {
    let (width, height) = SIZE;
    let bits = bits(number);
    let mut bytes = Vec::with_capacity(width * height * 3 / 2);
    for y in 0..height {
        for x in 0..width {
            let block = (y * 4 / height) * 4 + x * 4 / width;
            let base = if bits >> block & 1 == 1 { 205 } else { 50 };
            let texture = ((x * 3 + y * 5 + number * 2) % 29) + ((x ^ y) + number) % 13;
            bytes.push((base + texture - 20) as u8);
        }
    }
    bytes.resize(width * height * 3 / 2, 128);
    bytes
}

/// The number of each grey picture; `None` where its blocks say nothing.
pub(crate) fn numbers(grey: &[u8]) -> Vec<Option<usize>> {
    let (width, height) = SIZE;
    grey.chunks_exact(width * height)
        .map(|picture| {
            let mut found = 0usize;
            for block in 0..16 {
                let (column, row) = (block % 4, block / 4);
                let (left, top) = (column * width / 4, row * height / 4);
                // The middle of the block, away from its edges.
                let middle = (top + 6..top + height / 4 - 6)
                    .flat_map(|y| (left + 10..left + width / 4 - 10).map(move |x| (x, y)));
                let (sum, count) = middle.fold((0u64, 0u64), |(sum, count), (x, y)| {
                    (sum + u64::from(picture[y * width + x]), count + 1)
                });
                match sum / count {
                    0..=90 => {}
                    165..=255 => found |= 1 << block,
                    _ => return None,
                }
            }
            Some(found >> 4).filter(|number| bits(*number) == found)
        })
        .collect()
}

/// Tones, one of them rising through the whole clip, and a short knock every 0.73 s.
pub(crate) fn waveform(samples: usize, (rate, channels): (u32, u32)) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(samples * channels as usize * 2);
    let tau = std::f64::consts::TAU;
    for n in 0..samples {
        let t = n as f64 / f64::from(rate);
        let knock = {
            let since = t % 0.73;
            if since < 0.004 { (1.0 - since / 0.004) * (since * 2_900.0 * tau).sin() * 0.5 } else { 0.0 }
        };
        for channel in 0..channels {
            let tone = if channel == 0 {
                // From 200 Hz upwards, 150 Hz a second.
                (tau * (200.0 * t + 75.0 * t * t)).sin() * 0.25
            } else {
                (tau * 440.0 * t).sin() * 0.2 + (tau * 1_337.0 * t).sin() * 0.1
            };
            bytes.extend_from_slice(&(((tone + knock) * 32_767.0) as i16).to_le_bytes());
        }
    }
    bytes
}

/// Bytes that a program prints; it must succeed without a word on its other output.
pub(crate) fn bytes_of(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}; run scripts/setup"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaint.is_empty(), "{program} {arguments:?}: {complaint}");
    output.stdout
}

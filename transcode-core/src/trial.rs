//! Trials: a platform is believed when it has made a few pictures, and they are right.
//!
//! Owns the clips that every platform has to decode and encode, the job that is made of each, and the
//! judgement on what came out. The graph is the one that [`run`](mod@crate::run) builds, and each
//! segment passes the check that every segment passes; what is added here is the look at the pictures:
//! they are compared with the clip's own, decoded by software, so that an encoder that makes green
//! pictures of the right number, size and time is found out.
//!
//! A driver may crash or hang: whoever tries a platform that is not trusted does it in another process
//! and only judges here. Sizes are bytes, peak signal to noise is in dB; floats are for judging alone.

use crate::cancel::Cancel;
use crate::error::Error;
use crate::event::ChunkReport;
use crate::graph::{self, faded, pictures, psnr};
use crate::media::SourceIdentity;
use crate::plan::{Plan, plan};
use crate::platform::Platform;
use crate::probe::probe;
use crate::run::{ChunkRequest, run};
use crate::segment::inspect;
use crate::sink::MemorySink;
use crate::source::{Source, SourceError};
use crate::spec::{JobSpec, Profile};
use crate::units::{Resolution, SegmentIndex};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A small video that is compiled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clip {
    /// Its name: the codec as platform files key it, `-10` behind it for ten bits; sizes for the large.
    pub name: &'static str,
    /// For people: `HEVC 10 bit`.
    pub title: &'static str,
    /// The codec as platform files key it.
    pub codec: &'static str,
    /// The container as platform files key it.
    pub container: &'static str,
    bytes: &'static [u8],
}

macro_rules! clip {
    ($name:literal, $title:literal, $codec:literal, $container:literal, $file:literal) => {
        Clip {
            name: $name,
            title: $title,
            codec: $codec,
            container: $container,
            bytes: include_bytes!(concat!("../../pipelines/trial/", $file)),
        }
    };
}

/// What a platform may be asked to decode; the first is what nearly every source is. 640×360, two
/// seconds at 30 pictures a second. Made by `scripts/trial-clips`.
const CLIPS: [Clip; 6] = [
    clip!("h264", "H.264", "h264", "mp4", "h264.mp4"),
    clip!("hevc", "HEVC", "hevc", "mp4", "hevc.mp4"),
    clip!("hevc-10", "HEVC 10 bit", "hevc", "mp4", "hevc-10.mp4"),
    clip!("vp9", "VP9", "vp9", "mp4", "vp9.mp4"),
    clip!("av1", "AV1", "av1", "mp4", "av1.mp4"),
    clip!("mpeg2", "MPEG-2", "mpeg2", "mpeg-ts", "mpeg2.ts"),
];

const SPEED: Clip = clip!("1080p30", "1080p30", "h264", "mp4", "1080p30.mp4");

const LARGE: [Clip; 2] = [
    clip!("2160p", "3840x2160", "h264", "mp4", "2160p.mp4"),
    clip!("4320p", "7680x4320", "hevc", "mp4", "4320p.mp4"),
];

/// The clips of the trial proper, one for each kind of source.
pub const fn clips() -> &'static [Clip] {
    &CLIPS
}

/// Two seconds of 1080p30, for the speed.
pub const fn speed_clip() -> Clip {
    SPEED
}

/// A few pictures of 3840×2160 and of 7680×4320, for the limits.
pub const fn large_clips() -> &'static [Clip] {
    &LARGE
}

impl Clip {
    /// As the source of a job.
    pub fn source(&self) -> Arc<dyn Source> {
        Arc::new(ClipSource(*self))
    }
}

struct ClipSource(Clip);

impl Source for ClipSource {
    fn identity(&self) -> SourceIdentity {
        SourceIdentity {
            uri: format!("trial:{}", self.0.name),
            size: self.size(),
            version: Some(crate_version()),
        }
    }

    fn size(&self) -> u64 {
        self.0.bytes.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8], _: &Cancel) -> Result<usize, SourceError> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(self.0.bytes.len());
        let rest = &self.0.bytes[from..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

fn crate_version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}

/// Bit rate of the larger rung in a trial, in kbit/s.
const KBITS: u32 = 1_500;

/// The job of a trial: the clip's own size and half of it, in segments of a second.
///
/// # Errors
/// [`Error::Config`] never, unless the profile's shape changes.
pub fn job() -> Result<JobSpec, Error> {
    ladder(&[("own", "", KBITS), ("half", "height = 180", KBITS / 3)])
}

/// A job of one rung of 180 lines: for large clips, where the decoder alone is meant.
///
/// # Errors
/// As [`job`].
pub fn small_job() -> Result<JobSpec, Error> {
    ladder(&[("half", "height = 180", KBITS / 3)])
}

/// A job of one rung as large as the clip.
///
/// # Errors
/// As [`job`].
pub fn large_job() -> Result<JobSpec, Error> {
    ladder(&[("own", "", 8 * KBITS)])
}

/// A job of so many rungs of the clip's size, each with an encoder of its own.
///
/// # Errors
/// As [`job`].
pub fn sessions_job(count: u32) -> Result<JobSpec, Error> {
    let names: Vec<String> = (0..count).map(|number| format!("n{number}")).collect();
    let rungs: Vec<_> = names.iter().map(|name| (name.as_str(), "height = 180", KBITS / 3)).collect();
    ladder(&rungs)
}

fn ladder(rungs: &[(&str, &str, u32)]) -> Result<JobSpec, Error> {
    let mut text = "name = \"trial\"\ndescription = \"a few pictures\"\nsegment = \"1s\"\n[encoding]\n\
                    preset = \"veryfast\"\nrate-control = \"abr\"\nvbv = \"2s\"\nkey-interval = \"1s\"\n"
        .to_owned();
    for (name, height, kbits) in rungs {
        text.push_str(&format!(
            "[[rendition]]\nname = \"{name}\"\n{height}\nvideo = \"{kbits}k\"\naudio = \"64k\"\n"
        ));
    }
    Ok(JobSpec::new(Profile::parse("the trial's profile", &text)?))
}

/// What a platform made of a clip, and that it is right.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// Pictures of the largest rung.
    pub pictures: u64,
    /// Its bit rate, the transport stream included.
    pub bits_per_second: u64,
    /// Peak signal to noise of the picture that fits least, over all samples of all rungs, in dB.
    pub psnr: f64,
}

/// Under this, in dB, a picture is another one. x264 makes the clips with 39 to 40; with the two seconds
/// of one swapped, it has 24.
pub const LEAST_PSNR: f64 = 30.0;

/// How often the asked bit rate may be exceeded: two seconds are short for an encoder that has to find
/// its rate, and the transport stream adds a tenth.
const MOST_BITS: u64 = 2;

/// Hold what was made of a clip against the clip: pictures, bit rate, and every picture's looks.
/// Decodes in this process, with software decoders.
///
/// # Errors
/// [`Error::Verification`] with the figure that does not fit, [`Error::Platform`] where this machine
/// has no software decoder to compare with.
pub fn judge(clip: &Clip, plan: &Plan, made: &MemorySink) -> Result<Judged, Error> {
    let wrong = |reason: String| Err(Error::Verification { reason });
    let mut judged = Judged { pictures: 0, bits_per_second: 0, psnr: f64::INFINITY };
    let slots = plan.timeline.slots;
    for rung in &plan.rungs {
        let Some(video) = &rung.video else { continue };
        let (mut stream, mut count) = (Vec::new(), 0u64);
        for index in 0..plan.timeline.segment_count() {
            let key = plan.segment_key(&rung.name, SegmentIndex(index));
            let object = match made.get(&key) {
                Some(object) => object,
                // A transport stream does not tell its length; that nothing is lost is seen below.
                None if plan.timeline.open_ended && index > 0 => break,
                None => return wrong(format!("{key} was not made")),
            };
            let inspected = inspect(&object.bytes)
                .map_err(|error| Error::Verification { reason: format!("{key}: {error}") })?;
            let pictures = inspected.video.map(|video| video.pictures).unwrap_or_default();
            if !pictures.first().is_some_and(|first| first.idr) {
                return wrong(format!("{key} does not begin with an IDR picture"));
            }
            count += pictures.len() as u64;
            stream.extend_from_slice(&object.bytes);
        }
        if count != slots && !plan.timeline.open_ended {
            return wrong(format!("rung {}: {count} of {slots} pictures", rung.name));
        }
        let nanos = u128::try_from(plan.timeline.rate.time_of(count).nanos()).unwrap_or(1).max(1);
        let bits = stream.len() as u128 * 8 * 1_000_000_000 / nanos;
        let bits = u64::try_from(bits).unwrap_or(u64::MAX);
        let asked = video.bitrate.bits_per_second();
        if bits > asked * MOST_BITS {
            return wrong(format!("rung {}: {bits} bit/s where {asked} were asked for", rung.name));
        }
        if judged.pictures == 0 {
            (judged.pictures, judged.bits_per_second) = (count, bits);
        }
        let least = compare(clip, stream, video.size)?;
        if least.1 < LEAST_PSNR {
            return wrong(format!(
                "rung {}: picture {} is not the clip's: {:.1} dB, at least {LEAST_PSNR} are expected",
                rung.name, least.0, least.1
            ));
        }
        judged.psnr = judged.psnr.min(least.1);
    }
    Ok(judged)
}

/// The picture that fits least, and its PSNR.
fn compare(clip: &Clip, made: Vec<u8>, size: Resolution) -> Result<(usize, f64), Error> {
    let wanted = pictures(clip.bytes.to_vec(), clip.container, clip.codec, size)?;
    let made = pictures(made, "mpeg-ts", "h264", size)?;
    if made.len() != wanted.len() {
        return Err(Error::Verification {
            reason: format!("{} pictures can be decoded, the clip has {}", made.len(), wanted.len()),
        });
    }
    // Chroma planes are judged by themselves: a picture is mostly luma.
    let luma = size.width() as usize * size.height() as usize;
    let planes = |picture: &[u8]| -> Option<[Vec<u8>; 3]> {
        let (luma, chroma) = picture.split_at_checked(luma)?;
        let (blue, red) = chroma.split_at_checked(chroma.len() / 2)?;
        Some([luma.to_vec(), blue.to_vec(), red.to_vec()])
    };
    for (number, pair) in wanted.iter().zip(&made).enumerate() {
        let Some((wanted, made)) = planes(pair.0).zip(planes(pair.1)) else { continue };
        if wanted.iter().zip(&made).skip(1).any(|(wanted, made)| faded(wanted, made)) {
            return Err(Error::Verification { reason: format!("picture {number} has lost its colours") });
        }
    }
    let each = wanted.iter().zip(&made).map(|(wanted, made)| psnr(wanted, made)).enumerate();
    Ok(each.fold((0, f64::INFINITY), |least, one| if one.1 < least.1 { one } else { least }))
}

/// The version of GStreamer that is used: `1.22.0`.
///
/// # Errors
/// [`Error::Platform`] where GStreamer does not start.
pub fn gstreamer_version() -> Result<String, Error> {
    graph::version()
}

/// A trial from beginning to end, in this process: for embedders who trust the driver.
///
/// # Errors
/// What the probe, the plan, the run and [`judge`] say.
///
/// ```no_run
/// use transcode_core::{Cancel, Platform, trial};
///
/// let platform = Platform::builtin("software")?;
/// let (judged, _) = trial::of(&platform, &trial::clips()[0], &Cancel::new())?;
/// assert!(judged.psnr > trial::LEAST_PSNR);
/// # Ok::<(), transcode_core::Error>(())
/// ```
pub fn of(platform: &Platform, clip: &Clip, cancel: &Cancel) -> Result<(Judged, ChunkReport), Error> {
    let info = probe(clip.source(), platform, cancel)?;
    let plan = plan(&info, &job()?, platform)?;
    let sink = MemorySink::new();
    let request = ChunkRequest { plan: &plan, chunk: &plan.whole(), platform };
    let report = run(request, clip.source(), Arc::new(sink.clone()), &|_| {}, cancel)?;
    Ok((judge(clip, &plan, &sink)?, report))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clips_are_small_enough_to_be_carried_along() {
        let all = clips().iter().chain(large_clips()).chain([&SPEED]);
        assert!(all.map(|clip| clip.bytes.len()).sum::<usize>() <= 400 << 10);
    }

    #[test]
    fn a_clip_reads_like_any_source() {
        let source = clips()[0].source();
        let size = source.size();
        let mut buffer = [0; 16];
        let mut read = |at| source.read_at(at, &mut buffer, &Cancel::new()).expect("memory");
        assert_eq!([read(0), read(size - 3), read(size), read(u64::MAX)], [16, 3, 0, 0]);
    }

    #[test]
    fn software_passes_every_trial() {
        let platform = Platform::builtin("software").expect("built in");
        for clip in clips() {
            let (judged, _) = of(&platform, clip, &Cancel::new())
                .unwrap_or_else(|error| panic!("{}: {}", clip.title, error.chain()));
            assert_eq!(judged.pictures, 60, "{}", clip.title);
        }
    }

    #[test]
    fn well_formed_pictures_of_something_else_do_not_pass() {
        use crate::sink::{ObjectKind, Sink};
        let platform = Platform::builtin("software").expect("built in");
        let (clip, cancel) = (&clips()[0], Cancel::new());
        let info = probe(clip.source(), &platform, &cancel).expect("a clip");
        let plan = plan(&info, &job().expect("a job"), &platform).expect("a plan");
        let sink = MemorySink::new();
        let request = ChunkRequest { plan: &plan, chunk: &plan.whole(), platform: &platform };
        run(request, clip.source(), Arc::new(sink.clone()), &|_| {}, &cancel).expect("made");
        judge(clip, &plan, &sink).expect("these are right");
        // The second second in place of the first, and the other way round.
        let swapped = MemorySink::new();
        for rung in &plan.rungs {
            for (from, to) in [(0, 1), (1, 0)] {
                let object = sink.get(&plan.segment_key(&rung.name, SegmentIndex(from))).expect("made");
                let key = plan.segment_key(&rung.name, SegmentIndex(to));
                swapped.create(&key, ObjectKind::Segment, &object.bytes, &cancel).expect("memory");
            }
        }
        let error = judge(clip, &plan, &swapped).expect_err("other pictures").to_string();
        assert!(error.contains("dB") || error.contains("can be decoded"), "{error}");
    }
}

//! Puts a plan together.

use super::report::{PlanReport, Reason};
use super::sound::Format;
use super::{
    AudioInput, AudioRung, Input, PLAN_VERSION, Plan, Rung, Thumbnail, Timeline, VideoInput, VideoRung,
    chunks, colour, ladder, level, schedule, tracks,
};
use crate::error::Error;
use crate::media::{MediaInfo, Scan, VideoTrack};
use crate::platform::{EncoderFamily, OneOrMany, Platform};
use crate::spec::{Encoding, JobSpec, RateControl, Rendition, Tune};
use crate::units::{FrameRate, MediaTime, Resolution};

/// The plan for `spec` of the source that `info` describes, on `platform`.
///
/// Pure: the same three give the same plan. Everything that a person could wonder about is in its
/// report.
///
/// # Errors
/// [`Error::Input`] where the source has nothing to encode, was cut off (and the job does not allow
/// that), or has a codec or container that the platform does not know; [`Error::Config`] where the
/// request does not fit it: a clip window outside the source, settings that cannot be, a preset or
/// tune that the platform's encoder does not have.
///
/// ```no_run
/// use transcode_core::media::MediaInfo;
/// use transcode_core::plan::plan;
/// use transcode_core::platform::Platform;
/// use transcode_core::spec::{JobSpec, Profile};
///
/// # fn example(info: MediaInfo) -> Result<(), transcode_core::Error> {
/// let spec = JobSpec::new(Profile::builtin("abr")?);
/// let plan = plan(&info, &spec, &Platform::builtin("software")?)?;
/// println!("{}", plan.explain());
/// # Ok(())
/// # }
/// ```
pub fn plan(info: &MediaInfo, spec: &JobSpec, platform: &Platform) -> Result<Plan, Error> {
    let profile = &spec.profile;
    let config = |reason: String| Error::Config { what: format!("profile {}", profile.name), reason };
    profile.check().map_err(config)?;
    let mut report = PlanReport::default();
    for text in &info.remarks {
        report.add(Reason::Remark { text: text.clone() });
    }
    let tracks = tracks::choose(info, spec, platform, &mut report)?;
    let format = tracks.audio.map(|audio| Format::of(audio, &mut report));
    let (timeline, rungs, thumbnail, video) = match tracks.video {
        Some(track) => {
            let job = VideoJob { info, spec, platform, track };
            let (timeline, rungs, input) = job.rungs(&tracks, format, &mut report)?;
            let thumbnail = thumbnail(&timeline, track.display);
            (timeline, rungs, Some(thumbnail), Some(input))
        }
        None => {
            let format = format.unwrap_or(Format { sample_rate: 48_000, channels: 2 });
            let rate = schedule::packet_rate(format.sample_rate);
            let (segment_slots, _) = schedule::segment_slots(rate, profile.segment, &[]).map_err(config)?;
            let extent = schedule::Extent { info, spec, tracks: &tracks, rate, segment_slots };
            let timeline = schedule::timeline(&extent, &mut report)?;
            (timeline, sound_alone(&profile.renditions, format, &mut report), None, None)
        }
    };
    schedule::compare_sound(info, &tracks, &timeline, spec, &mut report);
    let chunks = chunks::chunks(&timeline, spec.allow_truncated, platform.chunk.start, spec.chunk);
    Ok(Plan {
        version: PLAN_VERSION,
        source: info.source.clone(),
        profile: profile.name.clone(),
        layout: profile.layout,
        input: Input {
            container: info.container,
            video,
            audio: tracks.audio.map(|audio| AudioInput {
                pad: audio.pad.clone(),
                codec: audio.codec.clone(),
                start: audio.start,
            }),
        },
        timeline,
        rungs,
        thumbnail,
        chunks,
        allow_truncated: spec.allow_truncated,
        base_url: spec.base_url.as_deref().map(|url| url.trim_end_matches('/').to_owned()),
        report,
    })
}

/// The rungs of an audio ladder, best first; equal ones are made once.
fn sound_alone(renditions: &[Rendition], format: Format, report: &mut PlanReport) -> Vec<Rung> {
    let mut rungs: Vec<(Rung, AudioRung)> = Vec::new();
    for rendition in renditions {
        let mut capped = PlanReport::default();
        let audio = format.rung(rendition, &mut capped);
        match rungs.iter().find(|(_, other)| *other == audio) {
            Some((other, _)) => {
                report.about(&rendition.name, Reason::SameSound { instead: other.name.clone() })
            }
            None => {
                report.about(&rendition.name, Reason::SoundOnly);
                report.notes.append(&mut capped.notes);
                rungs.push((
                    Rung { name: rendition.name.clone(), video: None, audio: Some(audio.clone()) },
                    audio,
                ));
            }
        }
    }
    rungs.sort_by_key(|(_, audio)| std::cmp::Reverse(audio.bitrate));
    rungs.into_iter().map(|(rung, _)| rung).collect()
}

/// The preview: at 10 % of what is thought to be there, at most 10 s in; while pictures are black,
/// another every second, for half a minute at most.
fn thumbnail(timeline: &Timeline, display: Resolution) -> Thumbnail {
    let in_seconds = |seconds: i64| {
        let time = MediaTime::new(seconds, 1).unwrap_or(MediaTime::ZERO);
        u64::try_from(timeline.rate.ceil(time)).unwrap_or(1).max(1)
    };
    let last = timeline.slots.saturating_sub(1);
    let frame = (timeline.expected_slots().unwrap_or(0) / 10).min(in_seconds(10)).min(last);
    Thumbnail {
        frame,
        retry_every: in_seconds(1),
        last: (frame + in_seconds(30)).min(last),
        size: ladder::at_most(display, THUMBNAIL_LINES),
    }
}

/// Shorter side of the preview, in pixels; less where the source has less.
const THUMBNAIL_LINES: u32 = 720;

/// Threads of an encoder that nobody has asked for: one a megapixel. The count belongs to the plan
/// and not to the machine, so that every machine makes the same; more cores are used by more rungs
/// at once, and by more chunks. Fewer threads need less memory and spend bits better.
fn threads_for(size: Resolution) -> u32 {
    let pixels = u64::from(size.width()) * u64::from(size.height());
    u32::try_from(pixels.div_ceil(1 << 20)).unwrap_or(u32::MAX).clamp(1, 16)
}

/// A job with pictures.
struct VideoJob<'a> {
    info: &'a MediaInfo,
    spec: &'a JobSpec,
    platform: &'a Platform,
    track: &'a VideoTrack,
}

impl VideoJob<'_> {
    fn rungs(
        &self,
        tracks: &tracks::Tracks<'_>,
        format: Option<Format>,
        report: &mut PlanReport,
    ) -> Result<(Timeline, Vec<Rung>, VideoInput), Error> {
        let Self { info, spec, track, .. } = self;
        let profile = &spec.profile;
        let (rate, reason) = schedule::picture_rate(track);
        reason.into_iter().for_each(|reason| report.add(reason));
        let colours = colour::pin(track);
        self.pictures(colours.reasons, report);

        let sized = ladder::sized(&profile.renditions, track.display, spec.every_name, report);
        let encodings: Vec<Encoding> =
            sized.iter().map(|rung| rung.rendition.encoding.over(&profile.encoding)).collect();
        let keys: Vec<MediaTime> = encodings.iter().map(|encoding| encoding.key_interval).collect();
        let (segment_slots, gops) = schedule::segment_slots(rate, profile.segment, &keys)
            .map_err(|reason| Error::Config { what: format!("profile {}", profile.name), reason })?;
        let length = rate.time_of(u64::from(segment_slots));
        if length != profile.segment {
            report.add(Reason::SegmentRounded { asked: profile.segment, length });
        }
        let extent = schedule::Extent { info, spec, tracks, rate, segment_slots };
        let timeline = schedule::timeline(&extent, report)?;

        let mut rungs = Vec::new();
        for (at, ((rung, encoding), gop)) in sized.iter().zip(encodings).zip(gops).enumerate() {
            let scale_from = ladder::scale_from(&sized, at, track.display);
            for setting in self.left_out(&encoding) {
                let platform = self.platform.name.clone();
                report.about(&rung.rendition.name, Reason::LeftOut { setting, platform });
            }
            let video = self.video(rung, encoding, rate, gop, scale_from, &colours.output)?;
            let audio = format.map(|format| format.rung(rung.rendition, report));
            rungs.push(Rung { name: rung.rendition.name.clone(), video: Some(video), audio });
        }
        let turned = if track.rotation.swaps_sides() {
            Resolution::new(track.coded.height(), track.coded.width())
        } else {
            None
        };
        let input = VideoInput {
            pad: track.pad.clone(),
            codec: track.codec.clone(),
            profile: track.profile.clone(),
            coded: track.coded,
            chroma: track.chroma.clone(),
            bit_depth: track.bit_depth,
            rotation: track.rotation,
            deinterlace: track.scan != Scan::Progressive,
            size: turned.unwrap_or(track.coded),
            colorimetry: colours.input,
        };
        self.decoder(&input, report)?;
        Ok((timeline, rungs, input))
    }

    /// Settings that the encoder has nothing for.
    fn left_out(&self, encoding: &Encoding) -> Vec<String> {
        let encoder = &self.platform.encode;
        let mut settings = Vec::new();
        // x264's other group of tunes has a property that its adapter knows.
        let silent = |words: &OneOrMany<String>| words.iter().all(String::is_empty);
        if encoding.tune != Tune::None
            && encoder.family != EncoderFamily::X264
            && encoder.tune.values.get(&encoding.tune).is_some_and(silent)
        {
            settings.push(format!("tune {}", name(&encoding.tune)));
        }
        if let (RateControl::CappedCrf { crf }, None) = (encoding.rate_control, &encoder.rate_control.quality)
        {
            settings.push(format!("quality {crf}"));
        }
        settings
    }

    /// Which decoder takes it, and a word on those that do not.
    fn decoder(&self, input: &VideoInput, report: &mut PlanReport) -> Result<(), Error> {
        let choice = self.platform.decoder_for(&input.coded_video()).map_err(|reason| Error::Input {
            uri: self.info.source.uri.clone(),
            reason: format!("{reason}; convert it first"),
        })?;
        for over in &choice.passed_over {
            report.add(Reason::NextDecoder {
                element: choice.element().to_owned(),
                instead_of: over.element.clone(),
                why: over.why.clone(),
            });
        }
        Ok(())
    }

    /// What happens to the pictures themselves.
    fn pictures(&self, colours: Vec<Reason>, report: &mut PlanReport) {
        if self.track.scan != Scan::Progressive {
            report.add(Reason::Deinterlaced);
        }
        colours.into_iter().for_each(|reason| report.add(reason));
        if self.track.bit_depth > 8 {
            report.add(Reason::DepthReduced { bits: self.track.bit_depth });
        }
        if self.track.chroma.starts_with("4:2:2") || self.track.chroma.starts_with("4:4:4") {
            report.add(Reason::ChromaReduced { chroma: self.track.chroma.clone() });
        }
    }

    /// One rung's encoder.
    fn video(
        &self,
        rung: &ladder::Sized<'_>,
        encoding: Encoding,
        rate: FrameRate,
        gop: u32,
        scale_from: Option<String>,
        colorimetry: &str,
    ) -> Result<VideoRung, Error> {
        let Encoding { preset, tune, rate_control, vbv, threads, tuning, .. } = encoding;
        let what = || format!("rendition {}", rung.rendition.name);
        let config = |reason: String| Error::Config { what: what(), reason };
        let encoder = &self.platform.encode;
        if !encoder.preset.values.contains_key(&preset) {
            return Err(config(self.not_here("preset", &preset, encoder.preset.values.keys())));
        }
        if tune != Tune::None && !encoder.tune.values.contains_key(&tune) {
            return Err(config(self.not_here("tune", &tune, encoder.tune.values.keys())));
        }
        let mode = rate_control.mode();
        if !encoder.rate_control.values.contains_key(&mode) {
            return Err(config(self.not_here("rate control", &mode, encoder.rate_control.values.keys())));
        }
        let profile = level::profile(preset, &tuning);
        let coded_buffer = match rate_control {
            RateControl::Abr => None,
            RateControl::Cbr | RateControl::CappedCrf { .. } => {
                let bits = u32::try_from(rung.bitrate.bits_per_second()).ok().map(|bits| vbv.ticks(bits));
                bits.and_then(|bits| u64::try_from(bits).ok())
            }
        };
        let needs = level::Needs {
            size: rung.size,
            rate,
            profile,
            bitrate: rung.bitrate.bits_per_second(),
            coded_buffer,
            pictures: level::reference_pictures(preset, tune, &tuning),
        };
        let level = level::level(&needs).ok_or_else(|| {
            config(format!(
                "{} at {rate} pictures a second and {} bit/s is beyond H.264 level 6.2; give it a height, \
                 such as 2160, or fewer bits",
                rung.size, rung.bitrate
            ))
        })?;
        Ok(VideoRung {
            size: rung.size,
            scale_from,
            profile: profile.to_owned(),
            level,
            bitrate: rung.bitrate,
            rate_control,
            vbv,
            gop,
            threads: threads.unwrap_or_else(|| threads_for(rung.size)),
            preset,
            tune,
            tuning,
            colorimetry: colorimetry.to_owned(),
        })
    }

    /// A term that the platform's encoder has no word for.
    fn not_here<'t, T: serde::Serialize + 't>(
        &self,
        what: &str,
        term: &T,
        known: impl Iterator<Item = &'t T>,
    ) -> String {
        let known: Vec<String> = known.map(name).collect();
        format!(
            "{what} `{}` is not to be had on platform {}; choose one of {}",
            name(term),
            self.platform.name,
            known.join(", ")
        )
    }
}

/// A term as files spell it.
fn name<T: serde::Serialize>(term: &T) -> String {
    match serde_json::to_value(term) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}

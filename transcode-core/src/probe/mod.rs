//! What is in a source: container, tracks, times. No decision is made here, that is the plan's.
//!
//! Owns the order of looking: first bytes (`sniff`), tables of an MP4 (`mp4`), then the demuxer
//! and parsers through `graph`; and the joining of what each of them knows. What is no media
//! container never reaches a demuxer. All times in the result are stream times, exact where tables
//! tell them, on the container's clock otherwise.

mod boxes;
mod declared;
mod describe;
mod language;
mod mp4;
mod rate;
mod samples;
mod sniff;
mod stream;

pub use describe::describe;

use crate::cancel::Cancel;
use crate::error::Error;
use crate::graph::{self, AudioFacts, Examination, Examined, Facts, Look, SeenTrack, VideoFacts};
use crate::media::{AudioTrack, Container, MediaInfo, OtherTrack, Rotation, Truncated, VideoTrack};
use crate::platform::Platform;
use crate::source::Source;
use crate::units::{MediaTime, Resolution};
use rate::Rate;
use std::sync::Arc;

/// Time stamps of containers with a clock of milliseconds are off by up to one of them.
const STAMP_TOLERANCE: u64 = 1_000_001;

/// Look into a source.
///
/// Reads the header and at most a few seconds of media; decodes nothing. Elements come from
/// `platform`; a codec that the platform cannot decode is described all the same.
///
/// # Errors
/// [`Error::Input`] where it is no media container that is let in, is damaged, or has neither video
/// nor audio; [`Error::Source`] where it cannot be read; [`Error::Platform`] where an element is not
/// installed; [`Error::Stalled`] where one hangs; [`Error::Interrupted`] soon after `cancel` is set.
pub fn probe(source: Arc<dyn Source>, platform: &Platform, cancel: &Cancel) -> Result<MediaInfo, Error> {
    interruptible(look(&source, platform, cancel), cancel)
}

/// A read that was cancelled is an interruption, whoever noticed first.
fn interruptible<T>(result: Result<T, Error>, cancel: &Cancel) -> Result<T, Error> {
    result.map_err(|error| if cancel.is_cancelled() { Error::Interrupted } else { error })
}

fn look(source: &Arc<dyn Source>, platform: &Platform, cancel: &Cancel) -> Result<MediaInfo, Error> {
    let container = sniff::sniff(source.as_ref(), cancel)?;
    let movie = match container {
        Container::Mp4 | Container::QuickTime => Some(mp4::read(source.as_ref(), cancel)?),
        _ => None,
    };
    let truncated = movie.as_ref().and_then(truncation);
    if let Some(movie) = &movie {
        refuse_empty(movie).map_err(|reason| Error::Input { uri: source.identity().uri, reason })?;
    }
    let tables = movie.as_ref().is_some_and(|movie| {
        let used = |track: &&mp4::Track| track.is_video() || track.is_audio();
        !movie.fragmented && movie.tracks.iter().filter(used).all(|track| track.samples.is_some())
    });
    let elementary = stream::codec(container);
    let whole = declared::beyond_the_end(container, source.as_ref(), cancel)?;
    let examination = Examination {
        source: source.clone(),
        platform,
        container: key(container),
        look: match elementary {
            _ if tables => Look::Streams,
            // A guess would have to be made of where its end is, and the whole of it read.
            Some(_) if source.size() > graph::SMALL => Look::Beginning,
            _ => Look::BothEnds,
        },
        whole,
        elementary,
        cancel,
    };
    let examined = graph::examine(&examination).map_err(|error| match (error, &truncated) {
        (Error::Input { uri, reason }, Some(truncated)) => Error::Input {
            uri,
            reason: format!("the file was cut off, {} bytes are missing: {reason}", truncated.missing_bytes),
        },
        (error, _) => error,
    })?;
    let stated = match &movie {
        // What a file says that was cut off is not what it is.
        _ if whole.is_some() => None,
        Some(movie) => movie.stated.or(examined.duration),
        None => stream::stated_length(container, source.as_ref(), examined.duration, cancel)?,
    };
    let joiner = Joiner { container, movie: movie.as_ref(), examined: &examined, stated };
    let mut info = MediaInfo {
        source: source.identity(),
        container,
        duration: None,
        video: Vec::new(),
        audio: Vec::new(),
        other: Vec::new(),
        truncated,
        remarks: Vec::new(),
    };
    joiner.join(&mut info);
    if let Some(whole) = whole {
        info.truncated = Some(cut_short(&info, whole));
    }
    if info.video.is_empty() && info.audio.is_empty() {
        let others: Vec<&str> = info.other.iter().map(|track| track.kind.as_str()).collect();
        let others = if others.is_empty() {
            String::new()
        } else {
            format!(", only tracks of kind {}", others.join(", "))
        };
        let reason = format!("there is neither a video nor an audio track in it{others}");
        return Err(Error::Input { uri: info.source.uri, reason });
    }
    Ok(info)
}

/// The container as platform files key it.
fn key(container: Container) -> &'static str {
    match container {
        Container::Mp4 => "mp4",
        Container::QuickTime => "quick-time",
        Container::Matroska => "matroska",
        Container::WebM => "web-m",
        Container::MpegTs => "mpeg-ts",
        Container::MpegPs => "mpeg-ps",
        Container::Avi => "avi",
        Container::Flv => "flv",
        Container::Ogg => "ogg",
        Container::Wav => "wav",
        Container::Mp3 => "mp3",
        Container::Adts => "adts",
        Container::Flac => "flac",
    }
}

/// A header that lists no sample at all is not worth a demuxer's time.
fn refuse_empty(movie: &mp4::Movie) -> Result<(), String> {
    let mut used = movie.tracks.iter().filter(|track| track.is_video() || track.is_audio()).peekable();
    let empty = |track: &mp4::Track| track.samples.as_ref().is_some_and(|samples| samples.count == 0);
    if movie.fragmented || used.peek().is_none() || !used.all(empty) {
        return Ok(());
    }
    Err("its tracks are empty: the header (moov) lists not one picture or sample; \
         the recording stopped before it began"
        .to_owned())
}

/// What the end of the file cut off of the tracks that are used.
fn truncation(movie: &mp4::Movie) -> Option<Truncated> {
    let used = movie.tracks.iter().filter(|track| track.is_video() || track.is_audio());
    let lost: Vec<_> = used.filter_map(|track| track.samples.as_ref()?.lost).collect();
    let missing_bytes = lost.iter().map(|lost| lost.bytes).max()?;
    let playable = lost.iter().map(|lost| lost.from).min()?;
    Some(Truncated { missing_bytes, playable })
}

/// What the end of a file without tables cut off: it plays as far as its tracks were seen to go.
fn cut_short(info: &MediaInfo, whole: u64) -> Truncated {
    let video = info.video.iter().map(|track| (track.start, track.duration));
    let audio = info.audio.iter().map(|track| (track.start, track.duration));
    let ends = video.chain(audio).map(|(start, duration)| start + duration.unwrap_or(MediaTime::ZERO));
    Truncated {
        missing_bytes: whole.saturating_sub(info.source.size),
        playable: ends.min().unwrap_or(MediaTime::ZERO),
    }
}

/// Joins what the tables say with what the demuxer and the parsers say.
struct Joiner<'a> {
    container: Container,
    movie: Option<&'a mp4::Movie>,
    examined: &'a Examined,
    /// What a header says of the whole, where it may be believed.
    stated: Option<MediaTime>,
}

impl Joiner<'_> {
    fn join(&self, info: &mut MediaInfo) {
        if let Some(movie) = self.movie {
            info.remarks.extend(movie.remarks.iter().cloned());
        }
        let covers_only = self.examined.tracks.iter().all(|seen| self.is_cover(seen));
        for seen in &self.examined.tracks {
            if seen.buffers > 0 && seen.first.is_none() && !matches!(seen.facts, Facts::Other(_)) {
                info.remarks.push(format!("the demuxer finds no time on track {}", seen.pad));
            }
            match &seen.facts {
                _ if self.is_empty(seen) => {
                    info.remarks.push(format!("track {} is empty and left out", seen.pad));
                }
                Facts::Video(video) if self.is_cover(seen) && !covers_only => {
                    info.remarks.push(format!("the cover picture ({}) is left out", video.codec));
                }
                Facts::Video(video) => match self.video(seen, video, &mut info.remarks) {
                    Some(track) => info.video.push(track),
                    None => info.remarks.push(format!(
                        "the picture size of video track {} ({}) cannot be found out, it is left out",
                        seen.pad, video.codec
                    )),
                },
                Facts::Audio(audio) => info.audio.push(self.audio(seen, audio)),
                Facts::Other(kind) if self.movie.is_none() => {
                    info.other.push(OtherTrack { kind: kind.clone() })
                }
                Facts::Other(_) => {}
            }
        }
        if let Some(movie) = self.movie {
            self.unseen(movie, info);
        }
        let ends = info.video.iter().map(|track| (track.start, track.duration));
        let ends = ends.chain(info.audio.iter().map(|track| (track.start, track.duration)));
        let longest = ends.filter_map(|(start, duration)| duration.map(|duration| start + duration)).max();
        info.duration = longest.or(self.stated);
    }

    /// Tracks of an MP4 that the demuxer does not show.
    fn unseen(&self, movie: &mp4::Movie, info: &mut MediaInfo) {
        for track in &movie.tracks {
            let shown = self.examined.tracks.iter().any(|seen| seen.id == Some(track.id));
            let kind = name(&track.format).unwrap_or_else(|| name(&track.handler).unwrap_or_default());
            if !track.is_video() && !track.is_audio() {
                info.other.push(OtherTrack { kind });
            } else if !shown {
                let what = if track.is_video() { "video" } else { "audio" };
                let why = match &track.samples {
                    Some(samples) if samples.count == 0 => "is empty",
                    _ => "cannot be read",
                };
                info.remarks.push(format!("{what} track {} ({kind}) {why} and is left out", track.id));
            }
        }
    }

    fn table(&self, seen: &SeenTrack) -> Option<&mp4::Track> {
        self.movie?.tracks.iter().find(|track| Some(track.id) == seen.id)
    }

    fn samples(&self, seen: &SeenTrack) -> Option<&samples::Samples> {
        let movie = self.movie.filter(|movie| !movie.fragmented);
        movie.and(self.table(seen)).and_then(|table| table.samples.as_ref())
    }

    fn is_empty(&self, seen: &SeenTrack) -> bool {
        match self.samples(seen) {
            Some(samples) => samples.count == 0,
            None => seen.ended && seen.buffers == 0,
        }
    }

    /// A still picture beside other tracks.
    fn is_cover(&self, seen: &SeenTrack) -> bool {
        let Facts::Video(video) = &seen.facts else { return false };
        let pictures = match self.samples(seen) {
            Some(samples) => samples.count,
            None if seen.ended => seen.buffers,
            None => u64::MAX,
        };
        let still = matches!(video.codec.as_str(), "mjpeg" | "png" | "bmp" | "gif");
        still && pictures <= 1
    }

    /// Stream times of the beginning and, where it is known, of the end.
    fn extent(&self, seen: &SeenTrack, unit: Option<MediaTime>) -> (MediaTime, Option<MediaTime>) {
        if let Some(samples) = self.samples(seen) {
            return (samples.start, Some(samples.end - samples.start));
        }
        let start = seen.first.map_or(MediaTime::ZERO, MediaTime::from_nanos);
        let last = seen.last.map(|(at, length)| {
            let length = length.filter(|length| *length > 0).map(MediaTime::from_nanos);
            MediaTime::from_nanos(at) + length.or(unit).unwrap_or(MediaTime::ZERO)
        });
        // The only track ends where the whole does. Bare streams state samples, their last packet may
        // not be full.
        let alone = self.stated.filter(|_| self.examined.tracks.len() == 1);
        let end = if stream::is_bare(self.container) { alone.or(last) } else { last.or(alone) };
        (start, end.filter(|end| *end > start).map(|end| end - start))
    }

    fn video(&self, seen: &SeenTrack, facts: &VideoFacts, remarks: &mut Vec<String>) -> Option<VideoTrack> {
        let coded = facts.coded?;
        let table = self.table(seen);
        let samples = self.samples(seen);
        let rotation = match table.map(|table| table.rotation) {
            None => seen.rotation,
            Some(Some(rotation)) => rotation,
            Some(None) => {
                remarks.push(format!("track {} is turned by an odd angle, which is left out", seen.pad));
                Rotation::None
            }
        };
        let rate = self.rate(seen, facts);
        let unit = MediaTime::new(i64::from(rate.rate.den()), rate.rate.num());
        let (start, duration) = self.extent(seen, unit);
        Some(VideoTrack {
            pad: seen.pad.clone(),
            codec: facts.codec.clone(),
            profile: facts.profile.clone(),
            coded,
            pixel_aspect: facts.pixel_aspect,
            rotation,
            display: display(coded, facts.pixel_aspect, rotation),
            frame_rate: rate.rate,
            variable_rate: rate.variable,
            bit_depth: facts.bit_depth,
            chroma: facts.chroma.clone(),
            colour: facts.colour.clone(),
            scan: facts.scan,
            start,
            duration,
            pictures: samples.map(|samples| samples.count),
            key_frames: samples.map(|samples| samples.keys.clone()),
            edits: table.map(|table| table.edits.clone()).unwrap_or_default(),
        })
    }

    fn rate(&self, seen: &SeenTrack, facts: &VideoFacts) -> Rate {
        let stated = facts.rate.map(|rate| Rate { rate, variable: false });
        let fallback = Rate { rate: rate::fallback(), variable: true };
        if let Some(samples) = self.samples(seen) {
            return samples.rate.or(stated).unwrap_or(fallback);
        }
        let found = rate::fit_times(&seen.stamps, STAMP_TOLERANCE);
        match (found, stated) {
            // MPEG-2 states the rate that it is shown at; time stamps are on some pictures only and
            // are guessed for the others.
            (_, Some(stated)) if facts.codec == "mpeg2" => stated,
            // An AVI has no time stamps: its header's rate is the clock.
            (Some(found), Some(stated)) if found.variable && self.container == Container::Avi => stated,
            // Seen for a moment only, several rates may fit; the stated one is chosen if it is one.
            (Some(_), Some(stated)) if rate::times_keep(&seen.stamps, stated.rate, STAMP_TOLERANCE) => stated,
            (found, stated) => found.or(stated).unwrap_or(fallback),
        }
    }

    fn audio(&self, seen: &SeenTrack, facts: &AudioFacts) -> AudioTrack {
        let table = self.table(seen);
        let (start, duration) = self.extent(seen, None);
        let language = match table {
            Some(table) => table.language.clone(),
            None => seen.language.as_deref().and_then(language::three_letters),
        };
        AudioTrack {
            pad: seen.pad.clone(),
            codec: facts.codec.clone(),
            sample_rate: facts.sample_rate,
            channels: facts.channels,
            layout: facts.layout.clone(),
            language,
            start,
            duration,
            edits: table.map(|table| table.edits.clone()).unwrap_or_default(),
        }
    }
}

/// A four-letter name as text; `None` where it is none.
fn name(name: &boxes::Name) -> Option<String> {
    let text: String = name.iter().map(|byte| char::from(*byte)).collect();
    text.chars().all(|letter| letter.is_ascii_graphic() || letter == ' ').then(|| text.trim_end().to_owned())
}

/// The size a player shows: rows stay, columns follow the pixel aspect, sides change places with a
/// quarter turn.
fn display(coded: Resolution, (num, den): (u32, u32), rotation: Rotation) -> Resolution {
    let wide = u64::from(coded.width()) * u64::from(num);
    let den = u64::from(den.max(1));
    let width = u32::try_from((wide + den / 2) / den).unwrap_or(u32::MAX).clamp(1, 65_535);
    let (width, height) =
        if rotation.swaps_sides() { (coded.height(), width) } else { (width, coded.height()) };
    Resolution::new(width, height).unwrap_or(coded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(width: u32, height: u32) -> Resolution {
        Resolution::new(width, height).expect("not zero")
    }

    #[test]
    fn display_sizes_are_square_and_turned() {
        assert_eq!(display(size(1440, 1080), (4, 3), Rotation::None), size(1920, 1080));
        assert_eq!(display(size(720, 480), (8, 9), Rotation::None), size(640, 480));
        assert_eq!(display(size(1920, 1080), (1, 1), Rotation::Clockwise90), size(1080, 1920));
        assert_eq!(display(size(176, 144), (128, 117), Rotation::MirrorHalf), size(193, 144));
        assert_eq!(display(size(1, 1), (1, u32::MAX), Rotation::None), size(1, 1));
        assert_eq!(display(size(9000, 1), (u32::MAX, 1), Rotation::None), size(65_535, 1));
    }

    #[test]
    fn containers_have_the_names_that_platform_files_use() {
        for container in
            [Container::Mp4, Container::QuickTime, Container::WebM, Container::MpegTs, Container::Adts]
        {
            assert_eq!(serde_json::to_value(container).unwrap(), key(container));
        }
    }
}

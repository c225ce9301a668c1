//! Says what a probe found, for a terminal: several lines, no colours, no trailing line break.

use crate::media::{AudioTrack, Container, DynamicRange, MediaInfo, Rotation, Scan, VideoTrack};
use crate::units::MediaTime;
use std::fmt::Write;

/// A readable summary of several lines, without a line break at the end.
///
/// ```
/// # use transcode_core::media::{Container, MediaInfo, SourceIdentity};
/// let info = MediaInfo {
///     source: SourceIdentity { uri: "file:///a.mp4".into(), size: 4_134_647, version: None },
///     container: Container::Mp4,
///     duration: "12s".parse().ok(),
///     video: vec![],
///     audio: vec![],
///     other: vec![],
///     truncated: None,
///     remarks: vec!["a remark".into()],
/// };
/// let text = transcode_core::probe::describe(&info);
/// assert_eq!(text, "file:///a.mp4\n  MP4, 0:12.000, 4.1 MB\n  remark: a remark");
/// ```
pub fn describe(info: &MediaInfo) -> String {
    let mut text = info.source.uri.clone();
    let length = info.duration.map_or_else(|| "length unknown".to_owned(), clock);
    let _never_fails =
        write!(text, "\n  {}, {length}, {}", container(info.container), bytes(info.source.size));
    for (number, track) in info.video.iter().enumerate() {
        let _never_fails = write!(text, "\n  video {}: {}", number + 1, video(track));
    }
    for (number, track) in info.audio.iter().enumerate() {
        let _never_fails = write!(text, "\n  audio {}: {}", number + 1, audio(track));
    }
    if !info.other.is_empty() {
        let kinds: Vec<&str> = info.other.iter().map(|track| track.kind.as_str()).collect();
        let _never_fails = write!(text, "\n  not used: {}", kinds.join(", "));
    }
    if let Some(cut) = &info.truncated {
        let (missing, playable) = (cut.missing_bytes, cut.playable.as_secs_f64());
        let _never_fails = write!(
            text,
            "\n  remark: the file was cut off: {missing} bytes are missing, it plays up to {playable:.3} s"
        );
    }
    for remark in &info.remarks {
        let _never_fails = write!(text, "\n  remark: {remark}");
    }
    text
}

fn container(container: Container) -> &'static str {
    match container {
        Container::Mp4 => "MP4",
        Container::QuickTime => "QuickTime",
        Container::Matroska => "Matroska",
        Container::WebM => "WebM",
        Container::MpegTs => "MPEG-TS",
        Container::MpegPs => "MPEG-PS",
        Container::Avi => "AVI",
        Container::Flv => "FLV",
        Container::Ogg => "Ogg",
        Container::Wav => "WAV",
        Container::Mp3 => "MP3",
        Container::Adts => "AAC (ADTS)",
        Container::Flac => "FLAC",
    }
}

/// Hours are left out where there are none.
fn clock(time: MediaTime) -> String {
    let millis = time.ticks(1_000).max(0);
    let (hours, minutes) = (millis / 3_600_000, millis / 60_000 % 60);
    let (seconds, millis) = (millis / 1_000 % 60, millis % 1_000);
    match hours {
        0 => format!("{minutes}:{seconds:02}.{millis:03}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}.{millis:03}"),
    }
}

fn bytes(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

fn video(track: &VideoTrack) -> String {
    let mut parts = vec![match &track.profile {
        Some(profile) => format!("{} ({profile})", track.codec),
        None => track.codec.clone(),
    }];
    let mut size = track.display.to_string();
    if track.display != track.coded {
        let _never_fails = write!(size, " (stored as {})", track.coded);
    }
    parts.push(size);
    let fps = track.frame_rate.as_f64();
    let fps = if fps.fract() == 0.0 { format!("{fps:.0}") } else { format!("{fps:.3}") };
    parts.push(format!("{}{fps} fps", if track.variable_rate { "variable, about " } else { "" }));
    parts.push(format!("{} bit {}", track.bit_depth, track.chroma));
    parts.extend(match track.colour.range_kind {
        DynamicRange::Sdr => None,
        DynamicRange::Hlg => Some("HDR (HLG)".to_owned()),
        DynamicRange::Pq => Some("HDR (PQ)".to_owned()),
    });
    if !track.colour.colorimetry.is_empty() {
        parts.push(track.colour.colorimetry.clone());
    }
    parts.extend(match track.scan {
        Scan::Progressive => None,
        Scan::Interlaced => Some("interlaced".to_owned()),
        Scan::Mixed => Some("partly interlaced".to_owned()),
    });
    parts.extend(turned(track.rotation).map(str::to_owned));
    parts.extend(track.pictures.map(|pictures| format!("{pictures} pictures")));
    parts.extend(track.key_frames.as_ref().map(|keys| match keys.count {
        1 => "1 key frame".to_owned(),
        count => format!("{count} key frames, at most {} apart", keys.longest_gap),
    }));
    parts.extend(begins(track.start, !track.edits.is_empty()));
    parts.join(", ")
}

fn turned(rotation: Rotation) -> Option<&'static str> {
    match rotation {
        Rotation::None => None,
        Rotation::Clockwise90 => Some("turned 90° clockwise"),
        Rotation::Half => Some("turned 180°"),
        Rotation::Clockwise270 => Some("turned 90° anticlockwise"),
        Rotation::Mirror => Some("mirrored"),
        Rotation::MirrorClockwise90 => Some("turned 90° clockwise and mirrored"),
        Rotation::MirrorHalf => Some("turned 180° and mirrored"),
        Rotation::MirrorClockwise270 => Some("turned 90° anticlockwise and mirrored"),
    }
}

fn audio(track: &AudioTrack) -> String {
    let mut parts = vec![track.codec.clone(), track.layout.clone(), format!("{} Hz", track.sample_rate)];
    parts.extend(track.language.clone());
    parts.extend(begins(track.start, !track.edits.is_empty()));
    parts.join(", ")
}

fn begins(start: MediaTime, edited: bool) -> Option<String> {
    match (start == MediaTime::ZERO, edited) {
        (true, false) => None,
        (true, true) => Some("edit list".to_owned()),
        (false, false) => Some(format!("begins at {:.3} s", start.as_secs_f64())),
        (false, true) => Some(format!("edit list, begins at {:.3} s", start.as_secs_f64())),
    }
}

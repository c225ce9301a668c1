//! Which tracks are used: the first of each kind that has something in it and can be decoded here.

use super::report::{PlanReport, Reason};
use crate::error::Error;
use crate::media::{AudioTrack, Container, MediaInfo, VideoTrack};
use crate::platform::Platform;
use crate::spec::{AudioPolicy, JobSpec};
use crate::units::MediaTime;
use std::collections::BTreeMap;

/// What is taken from the source; at least one of them is there.
pub(super) struct Tracks<'a> {
    pub(super) video: Option<&'a VideoTrack>,
    pub(super) audio: Option<&'a AudioTrack>,
}

/// What is the same for both kinds of track.
struct Candidate<'a, T> {
    track: &'a T,
    pad: &'a str,
    codec: &'a str,
    empty: bool,
}

/// Choose.
///
/// # Errors
/// [`Error::Input`] where nothing is left, or a codec or the container is not known to the platform.
pub(super) fn choose<'a>(
    info: &'a MediaInfo,
    spec: &JobSpec,
    platform: &Platform,
    report: &mut PlanReport,
) -> Result<Tracks<'a>, Error> {
    let input = |reason: String| Error::Input { uri: info.source.uri.clone(), reason };
    demuxer(info.container, platform).map_err(input)?;
    let empty = |duration: Option<MediaTime>| duration.is_some_and(|duration| duration <= MediaTime::ZERO);
    let videos = info.video.iter().map(|track| Candidate {
        track,
        pad: &track.pad,
        codec: &track.codec,
        // A single picture may last no time at all.
        empty: track.pictures == Some(0) || (track.pictures.is_none() && empty(track.duration)),
    });
    let audios = info.audio.iter().map(|track| Candidate {
        track,
        pad: &track.pad,
        codec: &track.codec,
        empty: empty(track.duration) || track.sample_rate == 0 || track.channels == 0,
    });
    let video = first("video", videos.collect(), &platform.decode, platform, report).map_err(input)?;
    let audio = match spec.profile.audio {
        AudioPolicy::First => first("audio", audios.collect(), &platform.decode_audio, platform, report)
            .map_err(|reason| {
                input(format!("{reason}; or leave the sound out with `audio = \"none\"` in the profile"))
            })?,
        AudioPolicy::None => None,
    };
    match (video, audio) {
        (None, None) if !info.audio.is_empty() && spec.profile.audio == AudioPolicy::None => {
            return Err(input(
                "it has no video, and the profile wants no sound: nothing is left to make".to_owned(),
            ));
        }
        (None, None) => {
            let reason = "it has neither a picture nor a sample of sound; check the file in a player";
            return Err(input(reason.to_owned()));
        }
        (None, Some(_)) => report.add(Reason::NoVideo),
        (Some(_), None) if spec.profile.audio == AudioPolicy::First => report.add(Reason::NoAudio),
        (Some(_), None) if !info.audio.is_empty() => report.add(Reason::AudioOff),
        _ => {}
    }
    if !info.other.is_empty() {
        report
            .add(Reason::OtherTracks { kinds: info.other.iter().map(|track| track.kind.clone()).collect() });
    }
    Ok(Tracks { video, audio })
}

/// The first that can be used. An empty track is passed over; a codec that is not decoded here only
/// where another track takes its place.
fn first<'a, T, D>(
    kind: &str,
    candidates: Vec<Candidate<'a, T>>,
    decoders: &BTreeMap<String, D>,
    platform: &Platform,
    report: &mut PlanReport,
) -> Result<Option<&'a T>, String> {
    let known = |candidate: &&Candidate<'a, T>| decoders.contains_key(candidate.codec);
    let used = candidates.iter().filter(|candidate| !candidate.empty).find(known);
    let Some(used) = used else {
        let Some(unknown) = candidates.iter().find(|candidate| !candidate.empty) else {
            passed_over(&candidates, report);
            return Ok(None);
        };
        let decodes: Vec<&str> = decoders.keys().map(String::as_str).collect();
        return Err(format!(
            "its {kind} is {}, which platform {} does not decode (it decodes {}); convert it first",
            unknown.codec,
            platform.name,
            decodes.join(", ")
        ));
    };
    let at = candidates.iter().position(|candidate| candidate.pad == used.pad).unwrap_or(0);
    let (before, after) = candidates.split_at(at);
    passed_over(before, report);
    let left = after.iter().skip(1).filter(|candidate| !candidate.empty).count();
    if left > 0 {
        let left = u32::try_from(left).unwrap_or(u32::MAX);
        report.add(Reason::TracksLeft { of: kind.to_owned(), used: used.pad.to_owned(), left });
    }
    Ok(Some(used.track))
}

fn passed_over<T>(candidates: &[Candidate<'_, T>], report: &mut PlanReport) {
    for Candidate { pad, codec, empty, .. } in candidates {
        let (pad, codec) = ((*pad).to_owned(), (*codec).to_owned());
        report.add(Reason::TrackPassedOver { pad, codec, empty: *empty });
    }
}

/// Elementary streams need no demuxer; any other container needs one here.
fn demuxer(container: Container, platform: &Platform) -> Result<(), String> {
    if matches!(container, Container::Mp3 | Container::Adts | Container::Flac) {
        return Ok(());
    }
    let key = match serde_json::to_value(container) {
        Ok(serde_json::Value::String(key)) => key,
        _ => String::new(),
    };
    if platform.demux.contains_key(&key) {
        return Ok(());
    }
    let known: Vec<&str> = platform.demux.keys().map(String::as_str).collect();
    Err(format!("platform {} does not open {key} containers, only {}", platform.name, known.join(", ")))
}

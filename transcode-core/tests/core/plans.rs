//! Plans written out by hand, for rooms that take a plan as it is.

use std::collections::BTreeMap;
use transcode_core::media::{Container, SourceIdentity};
use transcode_core::plan::{AudioRung, Input, PLAN_VERSION, Plan, PlanReport, Rung, Timeline, VideoRung};
use transcode_core::spec::{Layout, Preset, RateControl, Tune};
use transcode_core::units::{FrameRate, MediaTime, Resolution};

/// A timeline that starts at 0 and ends where it says.
pub(crate) fn timeline(rate: (u32, u32), slots: u64, segment_slots: u32) -> Timeline {
    Timeline {
        rate: FrameRate::new(rate.0, rate.1).unwrap(),
        slots,
        segment_slots,
        start: MediaTime::ZERO,
        open_ended: false,
        expected: None,
    }
}

/// A plan of these rungs, in folders.
pub(crate) fn plan(timeline: Timeline, rungs: Vec<Rung>) -> Plan {
    let mut plan = Plan {
        version: PLAN_VERSION,
        source: SourceIdentity { uri: "file:///clip.mp4".to_owned(), size: 1, version: None },
        profile: "abr".to_owned(),
        layout: Layout::Folders,
        input: Input { container: Container::Mp4, video: None, audio: None },
        timeline,
        rungs,
        thumbnail: None,
        chunks: Vec::new(),
        allow_truncated: false,
        base_url: None,
        report: PlanReport::default(),
    };
    plan.chunks = vec![plan.whole()];
    plan
}

/// H.264 high, veryfast, ABR.
pub(crate) fn video(size: &str, bitrate: &str, level: u8, gop: u32) -> VideoRung {
    VideoRung {
        size: size.parse::<Resolution>().unwrap(),
        scale_from: None,
        profile: "high".to_owned(),
        level,
        bitrate: bitrate.parse().unwrap(),
        rate_control: RateControl::Abr,
        vbv: "2s".parse().unwrap(),
        gop,
        threads: 1,
        preset: Preset::Veryfast,
        tune: Tune::None,
        tuning: BTreeMap::new(),
        colorimetry: "bt709".to_owned(),
    }
}

/// AAC-LC in stereo.
pub(crate) fn audio(bitrate: &str, sample_rate: u32) -> AudioRung {
    AudioRung { bitrate: bitrate.parse().unwrap(), sample_rate, channels: 2 }
}

/// A rung.
pub(crate) fn rung(name: &str, video: Option<VideoRung>, audio: Option<AudioRung>) -> Rung {
    Rung { name: name.to_owned(), video, audio }
}

/// The ladder of the `abr` profile, whole, for `slots` pictures at 30000/1001 in 180 a segment.
pub(crate) fn abr(slots: u64) -> Plan {
    let row = |name, size, bits, level, sound| {
        rung(name, Some(video(size, bits, level, 180)), Some(audio(sound, 48_000)))
    };
    plan(
        timeline((30_000, 1_001), slots, 180),
        vec![
            row("1080p", "1920x1080", "8M", 40, "192k"),
            row("720p", "1280x720", "4M", 31, "128k"),
            row("480p", "854x480", "2M", 31, "96k"),
            row("360p", "640x360", "800k", 30, "64k"),
        ],
    )
}

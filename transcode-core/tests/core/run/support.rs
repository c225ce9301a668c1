//! Plans written by hand, the figures of a perfect run of them, and sinks that misbehave.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use transcode_core::event::{ChunkReport, Event, RungReport, SegmentFacts};
use transcode_core::media::{Container, Rotation, SourceIdentity};
use transcode_core::plan::*;
use transcode_core::sink::{Created, MemorySink, ObjectKind, Sink, SinkError};
use transcode_core::spec::{Layout, Preset, RateControl, Tune};
use transcode_core::units::{Bitrate, FrameRate, MediaTime, Resolution, SegmentIndex};
use transcode_core::{Cancel, Error};

pub(crate) fn seconds(num: i64, den: u32) -> MediaTime {
    MediaTime::new(num, den).unwrap()
}

fn rung(name: &str, size: (u32, u32), audio: u64) -> Rung {
    let video = VideoRung {
        size: Resolution::new(size.0, size.1).unwrap(),
        scale_from: None,
        profile: "high".to_owned(),
        level: 31,
        bitrate: Bitrate::new(600_000).unwrap(),
        rate_control: RateControl::Abr,
        vbv: seconds(2, 1),
        gop: 60,
        threads: 1,
        preset: Preset::Ultrafast,
        tune: Tune::None,
        tuning: BTreeMap::new(),
        colorimetry: "bt709".to_owned(),
    };
    let audio = AudioRung { bitrate: Bitrate::new(audio).unwrap(), sample_rate: 48_000, channels: 2 };
    Rung { name: name.to_owned(), video: Some(video), audio: Some(audio) }
}

/// Two rungs at 29.97, 400 slots in three segments of 180, 180 and 40; picture and sound.
pub(crate) fn two_rungs() -> Plan {
    let mut plan = Plan {
        version: PLAN_VERSION,
        source: SourceIdentity { uri: "memory:clip".to_owned(), size: 1_000, version: None },
        profile: "test".to_owned(),
        layout: Layout::Folders,
        input: Input {
            container: Container::Mp4,
            video: Some(VideoInput {
                pad: "video_0".to_owned(),
                codec: "h264".to_owned(),
                profile: None,
                coded: Resolution::new(854, 480).unwrap(),
                chroma: "4:2:0".to_owned(),
                bit_depth: 8,
                rotation: Rotation::None,
                deinterlace: false,
                size: Resolution::new(854, 480).unwrap(),
                colorimetry: "bt709".to_owned(),
            }),
            audio: Some(AudioInput {
                pad: "audio_0".to_owned(),
                codec: "aac".to_owned(),
                start: MediaTime::ZERO,
            }),
        },
        timeline: Timeline {
            rate: FrameRate::new(30_000, 1_001).unwrap(),
            slots: 400,
            segment_slots: 180,
            start: MediaTime::ZERO,
            open_ended: false,
            expected: None,
        },
        rungs: vec![rung("360p", (640, 360), 96_000), rung("180p", (320, 180), 64_000)],
        thumbnail: None,
        chunks: Vec::new(),
        allow_truncated: false,
        base_url: None,
        report: PlanReport::default(),
    };
    plan.chunks = vec![plan.whole()];
    plan
}

/// The same without pictures: slots are AAC packets.
pub(crate) fn sound_only() -> Plan {
    let mut plan = two_rungs();
    plan.input.video = None;
    plan.rungs.iter_mut().for_each(|rung| rung.video = None);
    plan.timeline.rate = FrameRate::new(48_000, AudioRung::PACKET).unwrap();
    plan
}

/// What a perfect run of the segments from `first` to the slot `end` counts.
pub(crate) fn perfect(plan: &Plan, first: u32, end: u64) -> ChunkReport {
    let timeline = &plan.timeline;
    let begin = timeline.slots_of(SegmentIndex(first)).start;
    let has_video = plan.input.video.is_some();
    let segments = |rung: &Rung| -> Vec<SegmentFacts> {
        let audio = rung.audio.as_ref().unwrap();
        let packets = FrameRate::new(audio.sample_rate, AudioRung::PACKET).unwrap();
        (first..)
            .map(|index| (index, timeline.slots_of(SegmentIndex(index))))
            .take_while(|(_, slots)| slots.start < end)
            .map(|(index, slots)| {
                let last = slots.end.min(end);
                let from = audio.packets_before(timeline, slots.start);
                SegmentFacts {
                    rung: rung.name.clone(),
                    index: SegmentIndex(index),
                    bytes: bytes(&rung.name, index).len() as u64,
                    pictures: if has_video { last - slots.start } else { 0 },
                    audio_packets: audio.packets_before(timeline, last) - from,
                    video_start: has_video.then(|| timeline.rate.time_of(slots.start)),
                    // As read from 90 kHz time stamps: rounded.
                    audio_start: Some(seconds(packets.time_of(from).ticks(90_000), 90_000)),
                    duration: timeline.rate.time_of(last - slots.start),
                    crc32: transcode_core::segment::crc32(&bytes(&rung.name, index)),
                    parameter_sets: has_video.then_some(7),
                    bucket: None,
                    adopted: false,
                }
            })
            .collect()
    };
    let rungs: Vec<RungReport> = plan
        .rungs
        .iter()
        .map(|rung| {
            let segments = segments(rung);
            RungReport {
                rung: rung.name.clone(),
                encoded: segments.iter().map(|facts| facts.pictures).sum(),
                audio_packets: segments.iter().map(|facts| facts.audio_packets).sum(),
                segments,
            }
        })
        .collect();
    let emitted = if has_video { end - begin } else { 0 };
    let reached = Some(timeline.start + timeline.rate.time_of(end));
    ChunkReport {
        decoded: emitted,
        emitted,
        source_end: reached.filter(|_| has_video),
        audio_end: reached,
        samples: (rungs[0].audio_packets + 5) * 1_024,
        rungs,
        ..ChunkReport::default()
    }
}

/// The bytes of a made-up segment: different for each, and of different sizes.
pub(crate) fn bytes(rung: &str, index: u32) -> Vec<u8> {
    format!("{rung} {index} ").repeat(20_000 + index as usize * 1_000).into_bytes()
}

/// Stores what a run of the publisher's missing chunk would, and tells it; rungs take turns.
pub(crate) fn play(
    plan: &Plan,
    report: &ChunkReport,
    sink: &dyn Sink,
    mut tell: impl FnMut(&Event) -> Result<(), Error>,
) -> Result<(), Error> {
    let cancel = Cancel::new();
    let longest = report.rungs.iter().map(|rung| rung.segments.len()).max().unwrap_or(0);
    for at in 0..longest {
        for facts in report.rungs.iter().filter_map(|rung| rung.segments.get(at)) {
            let key = plan.segment_key(&facts.rung, facts.index);
            sink.create(&key, ObjectKind::Segment, &bytes(&facts.rung, facts.index.0), &cancel)?;
            tell(&Event::Segment(facts.clone()))?;
        }
    }
    Ok(())
}

/// Breaks off at the `n`-th call that would change something, and at every one after it.
pub(crate) struct Breaks<S> {
    pub(crate) inner: S,
    pub(crate) left: AtomicUsize,
    /// What was changed, in order.
    pub(crate) changes: Mutex<Vec<String>>,
    /// Sizes are not told, as by keys that allow GET and PUT only.
    pub(crate) tells: bool,
}

impl<S: Sink> Breaks<S> {
    pub(crate) fn after(inner: S, changes: usize) -> Self {
        Self { inner, left: AtomicUsize::new(changes), changes: Mutex::default(), tells: true }
    }

    pub(crate) fn never(inner: S) -> Self {
        Self::after(inner, usize::MAX)
    }

    fn change(&self, what: String) -> Result<(), SinkError> {
        let lower = |left: usize| left.checked_sub(1);
        if self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, lower).is_err() {
            let reason = "the test pulled the plug".to_owned();
            return Err(SinkError::Unavailable { location: what, reason });
        }
        self.changes.lock().unwrap().push(what);
        Ok(())
    }
}

impl<S: Sink> Sink for Breaks<S> {
    fn create(&self, key: &str, kind: ObjectKind, bytes: &[u8], c: &Cancel) -> Result<Created, SinkError> {
        self.change(format!("create {key}"))?;
        self.inner.create(key, kind, bytes, c)
    }
    fn replace(&self, key: &str, kind: ObjectKind, bytes: &[u8], c: &Cancel) -> Result<(), SinkError> {
        self.change(format!("replace {key}"))?;
        self.inner.replace(key, kind, bytes, c)
    }
    fn read(&self, key: &str, c: &Cancel) -> Result<Option<Vec<u8>>, SinkError> {
        self.inner.read(key, c)
    }
    fn size_of(&self, key: &str, c: &Cancel) -> Result<Option<u64>, SinkError> {
        if self.tells { self.inner.size_of(key, c) } else { Ok(None) }
    }
    fn remove(&self, key: &str, c: &Cancel) -> Result<(), SinkError> {
        self.change(format!("remove {key}"))?;
        self.inner.remove(key, c)
    }
    fn location(&self) -> String {
        self.inner.location()
    }
}

/// Everything in a memory sink as text, the report's and the segments' own left out.
pub(crate) fn texts(sink: &MemorySink) -> BTreeMap<String, String> {
    let all = sink.objects();
    let texts = all.into_iter().filter(|(key, _)| !key.ends_with(".ts") && !key.ends_with(".jpg"));
    texts.map(|(key, object)| (key, String::from_utf8(object.bytes.to_vec()).unwrap())).collect()
}

/// A file of `tests/media`.
pub(crate) fn clip(name: &str) -> std::path::PathBuf {
    std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/media").join(name)
}

/// Two small rungs of `gopro-karma.mp4` (362 pictures at 29.97, stereo): seven segments of two
/// seconds, the last of two pictures.
pub(crate) fn karma(source: SourceIdentity) -> Plan {
    let mut plan = two_rungs();
    plan.source = source;
    plan.timeline.slots = 362;
    plan.timeline.segment_slots = 60;
    let size = Resolution::new(320, 180).unwrap();
    plan.thumbnail = Some(Thumbnail { frame: 36, retry_every: 30, last: 180, size });
    plan.chunks = vec![plan.whole()];
    plan
}

/// Every object of a job's destination is whole and says the same: each segment is held against the
/// plan, each playlist is read by a parser that did not write it.
pub(crate) fn sound(plan: &Plan, sink: &dyn Sink, finished: bool) {
    let cancel = Cancel::new();
    let read = |key: &str| sink.read(key, &cancel).unwrap();
    for rung in &plan.rungs {
        let Some(text) = read(&plan.playlist_key(&rung.name)) else {
            // What broke the job off may have come before its first segment.
            assert!(!finished, "{} has no playlist", rung.name);
            assert!(read(keys::MASTER).is_none(), "the master names {}, which has no playlist", rung.name);
            continue;
        };
        let (rest, list) = m3u8_rs::parse_media_playlist(&text).unwrap();
        assert!(rest.is_empty());
        assert_eq!(list.end_list, finished);
        let kind = if finished { m3u8_rs::MediaPlaylistType::Vod } else { m3u8_rs::MediaPlaylistType::Event };
        assert_eq!(list.playlist_type, Some(kind));
        for (index, segment) in (0u32..).zip(&list.segments) {
            let key = plan.segment_key(&rung.name, SegmentIndex(index));
            assert!(key.ends_with(&segment.uri), "{key} {}", segment.uri);
            let bytes = read(&key).unwrap_or_else(|| panic!("{key} is named and not stored"));
            let inside = transcode_core::segment::inspect(&bytes).unwrap();
            transcode_core::segment::check(&inside, plan, &rung.name, SegmentIndex(index)).unwrap();
        }
    }
    let Some(master) = read(keys::MASTER) else {
        assert!(!finished, "there is no master");
        return;
    };
    let (_, master) = m3u8_rs::parse_master_playlist(&master).unwrap();
    assert_eq!(master.variants.len(), plan.rungs.len());
}

/// What a program prints on its standard output; it must succeed without a word on the other.
pub(crate) fn output(program: &str, arguments: &[&str]) -> String {
    let output = std::process::Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}; run scripts/setup"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaint.is_empty(), "{program} {arguments:?}: {complaint}");
    String::from_utf8(output.stdout).unwrap()
}

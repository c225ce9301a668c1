//! Plans written by hand, a sink in memory, a source in memory: the graph with nothing around it.

use crate::cancel::Cancel;
use crate::error::Error;
use crate::event::{ChunkReport, Event};
use crate::graph::{ChunkRun, run_chunk};
use crate::media::{Container, Rotation, SourceIdentity};
use crate::plan::*;
use crate::platform::Platform;
use crate::sink::{Created, ObjectKind, Sink, SinkError};
use crate::source::{Source, SourceError};
use crate::spec::{Layout, Preset, RateControl, Tune};
use crate::units::{Bitrate, FrameRate, MediaTime, Resolution, SegmentIndex};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A file of `tests/media`, whole in memory.
pub(in crate::graph) struct Clip(pub(in crate::graph) Vec<u8>);

impl Clip {
    pub(in crate::graph) fn open(name: &str) -> Arc<Self> {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/media").join(name);
        Arc::new(Self(std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))))
    }
}

impl Source for Clip {
    fn identity(&self) -> SourceIdentity {
        SourceIdentity { uri: "memory:clip".into(), size: self.size(), version: None }
    }
    fn size(&self) -> u64 {
        self.0.len() as u64
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8], _: &Cancel) -> Result<usize, SourceError> {
        let from = self.0.len().min(usize::try_from(offset).unwrap());
        let read = buffer.len().min(self.0.len() - from);
        buffer[..read].copy_from_slice(&self.0[from..from + read]);
        Ok(read)
    }
}

/// Objects in memory; may be made slow.
#[derive(Default)]
pub(in crate::graph) struct Objects {
    pub(in crate::graph) stored: Mutex<BTreeMap<String, Vec<u8>>>,
    pub(in crate::graph) delay: Duration,
}

impl Objects {
    /// Segments stored.
    pub(in crate::graph) fn segments(&self) -> usize {
        self.stored.lock().unwrap().keys().filter(|key| key.ends_with(".ts")).count()
    }
}

impl Sink for Objects {
    fn create(&self, key: &str, _: ObjectKind, bytes: &[u8], cancel: &Cancel) -> Result<Created, SinkError> {
        if cancel.sleep(self.delay) {
            return Err(SinkError::Cancelled);
        }
        let mut stored = self.stored.lock().unwrap();
        if stored.contains_key(key) {
            return Ok(Created::Existed);
        }
        stored.insert(key.to_owned(), bytes.to_vec());
        Ok(Created::New)
    }
    fn replace(&self, key: &str, _: ObjectKind, bytes: &[u8], _: &Cancel) -> Result<(), SinkError> {
        self.stored.lock().unwrap().insert(key.to_owned(), bytes.to_vec());
        Ok(())
    }
    fn read(&self, key: &str, _: &Cancel) -> Result<Option<Vec<u8>>, SinkError> {
        Ok(self.stored.lock().unwrap().get(key).cloned())
    }
    fn size_of(&self, key: &str, _: &Cancel) -> Result<Option<u64>, SinkError> {
        Ok(self.stored.lock().unwrap().get(key).map(|bytes| bytes.len() as u64))
    }
    fn remove(&self, key: &str, _: &Cancel) -> Result<(), SinkError> {
        self.stored.lock().unwrap().remove(key);
        Ok(())
    }
    fn location(&self) -> String {
        "memory:".into()
    }
}

pub(in crate::graph) fn rate(num: u32, den: u32) -> FrameRate {
    FrameRate::new(num, den).unwrap()
}

/// A rung of the tests: small and quick.
pub(in crate::graph) fn rung(name: &str, size: (u32, u32), from: Option<&str>, gop: u32, audio: u64) -> Rung {
    Rung {
        name: name.into(),
        video: Some(VideoRung {
            size: Resolution::new(size.0, size.1).unwrap(),
            scale_from: from.map(str::to_owned),
            profile: "high".into(),
            level: 31,
            bitrate: Bitrate::new(600_000).unwrap(),
            rate_control: RateControl::Abr,
            vbv: MediaTime::new(2, 1).unwrap(),
            gop,
            threads: 1,
            preset: Preset::Superfast,
            tune: Tune::None,
            tuning: BTreeMap::new(),
            colorimetry: "bt709".into(),
        }),
        audio: (audio > 0).then(|| AudioRung {
            bitrate: Bitrate::new(audio).unwrap(),
            sample_rate: 48_000,
            channels: 2,
        }),
    }
}

/// gopro-karma.mp4: 362 pictures at 30000/1001, stereo AAC.
pub(in crate::graph) fn karma(rungs: Vec<Rung>, slots: u64, segment_slots: u32, start: MediaTime) -> Plan {
    let mut plan = Plan {
        version: PLAN_VERSION,
        source: SourceIdentity { uri: "memory:clip".into(), size: 4_134_647, version: None },
        profile: "test".into(),
        layout: Layout::Folders,
        input: Input {
            container: Container::Mp4,
            video: Some(VideoInput {
                pad: "video_0".into(),
                codec: "h264".into(),
                profile: None,
                coded: Resolution::new(854, 480).unwrap(),
                chroma: "4:2:0".into(),
                bit_depth: 8,
                rotation: Rotation::None,
                deinterlace: false,
                size: Resolution::new(854, 480).unwrap(),
                colorimetry: "bt709".into(),
            }),
            audio: Some(AudioInput { pad: "audio_0".into(), codec: "aac".into(), start: MediaTime::ZERO }),
        },
        timeline: Timeline {
            rate: rate(30_000, 1_001),
            slots,
            segment_slots,
            start,
            open_ended: false,
            expected: None,
        },
        rungs,
        thumbnail: Some(Thumbnail {
            frame: slots / 10,
            retry_every: 30,
            last: slots / 2,
            size: Resolution::new(426, 240).unwrap(),
        }),
        chunks: Vec::new(),
        allow_truncated: false,
        base_url: None,
        report: PlanReport::default(),
    };
    plan.chunks = vec![plan.whole()];
    plan
}

/// Six segments of one small rung.
pub(in crate::graph) fn small() -> Plan {
    karma(vec![rung("240p", (426, 240), None, 60, 64_000)], 360, 60, MediaTime::ZERO)
}

/// A clip made with ffmpeg out of one of ours, in memory.
pub(in crate::graph) fn made(arguments: &[&str], extension: &str) -> Arc<Clip> {
    let clip = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/media/gopro-karma.mp4");
    let file = ffmpeg(&[&["-i", clip], arguments].concat(), extension);
    Arc::new(Clip(std::fs::read(file.path()).unwrap()))
}

/// What ffmpeg makes, as a file.
pub(in crate::graph) fn ffmpeg(arguments: &[&str], extension: &str) -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new().suffix(extension).tempfile().unwrap();
    let output = std::process::Command::new("ffmpeg")
        .args(["-v", "error", "-y"])
        .args(arguments)
        .arg(file.path())
        .output()
        .expect("ffmpeg is installed by scripts/setup");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    file
}

/// What came of one run.
pub(in crate::graph) struct Outcome {
    pub(in crate::graph) result: Result<ChunkReport, Error>,
    pub(in crate::graph) events: Vec<Event>,
}

pub(in crate::graph) fn run(
    plan: &Plan,
    chunk: &Chunk,
    source: Arc<dyn Source>,
    sink: Arc<dyn Sink>,
) -> Outcome {
    run_with(plan, chunk, source, sink, &Cancel::new(), Duration::from_secs(20))
}

pub(in crate::graph) fn run_with(
    plan: &Plan,
    chunk: &Chunk,
    source: Arc<dyn Source>,
    sink: Arc<dyn Sink>,
    cancel: &Cancel,
    stall: Duration,
) -> Outcome {
    run_on(&Platform::builtin("software").unwrap(), plan, chunk, source, sink, cancel, stall)
}

/// The same on another platform.
pub(in crate::graph) fn run_on(
    platform: &Platform,
    plan: &Plan,
    chunk: &Chunk,
    source: Arc<dyn Source>,
    sink: Arc<dyn Sink>,
    cancel: &Cancel,
    stall: Duration,
) -> Outcome {
    let _logs = env_logger::builder().is_test(true).try_init();
    let events = Mutex::new(Vec::new());
    let listener = |event| events.lock().unwrap().push(event);
    let result =
        run_chunk(&ChunkRun { plan, chunk, platform, source, sink, events: &listener, cancel, stall });
    Outcome { result, events: events.into_inner().unwrap() }
}

/// A chunk of some segments.
pub(in crate::graph) fn chunk(first: u32, end: u32) -> Chunk {
    Chunk { index: 0, first: SegmentIndex(first), end: SegmentIndex(end) }
}

/// Write one rendition's segments as one file, and what `ffprobe`/`ffmpeg` say of it.
pub(in crate::graph) fn join(objects: &Objects, rung: &str) -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new().suffix(".ts").tempfile().unwrap();
    let mut bytes = Vec::new();
    for (key, object) in objects.stored.lock().unwrap().iter() {
        if key.starts_with(&format!("{rung}/")) && key.ends_with(".ts") {
            bytes.extend_from_slice(object);
        }
    }
    std::fs::write(file.path(), bytes).unwrap();
    file
}

/// `ffmpeg -xerror` reads all of it without a word.
pub(in crate::graph) fn reads_cleanly(path: &std::path::Path) {
    let output = std::process::Command::new("ffmpeg")
        .args(["-v", "error", "-xerror", "-i"])
        .arg(path)
        .args(["-f", "null", "-"])
        .output()
        .expect("ffmpeg is installed by scripts/setup");
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

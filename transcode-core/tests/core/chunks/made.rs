//! A plan made in pieces: which runs, in which order, and what came of them.

use super::clips::{Recipe, bytes_of, numbers};
use std::path::PathBuf;
use std::sync::Arc;
use transcode_core::event::{ChunkReport, SegmentFacts};
use transcode_core::plan::{Chunk, Plan, plan};
use transcode_core::platform::Platform;
use transcode_core::playlist::{self, Entry, State};
use transcode_core::run::{ChunkRequest, run};
use transcode_core::segment::Inspected;
use transcode_core::sink::{MemorySink, Sink};
use transcode_core::source::{FileSource, Source};
use transcode_core::spec::{JobSpec, Profile};
use transcode_core::units::SegmentIndex;
use transcode_core::{Cancel, probe};

/// One small rung at the source's size, in segments of a second.
pub(crate) const PROFILE: &str = r#"
name = "joints"
description = "short segments"
segment = "1s"

[encoding]
preset = "superfast"
rate-control = "abr"
vbv = "1s"
key-interval = "1s"

[[rendition]]
name = "small"
video = "300k"
audio = "128k"
"#;

pub(crate) fn software() -> Platform {
    Platform::builtin("software").unwrap()
}

/// A source and its plan.
pub(crate) struct Job {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) plan: Plan,
}

impl Job {
    pub(crate) fn of(recipe: &Recipe) -> Self {
        Self::with(recipe.file(), PROFILE)
    }

    pub(crate) fn with(path: PathBuf, profile: &str) -> Self {
        let source: Arc<dyn Source> = Arc::new(FileSource::open(&path).unwrap());
        let info = probe(source.clone(), &software(), &Cancel::new()).unwrap();
        let spec = JobSpec::new(Profile::parse("the tests' profile", profile).unwrap());
        let plan = plan(&info, &spec, &software()).unwrap_or_else(|error| panic!("{}", error.chain()));
        Self { source, plan }
    }

    /// How many segments there will be.
    pub(crate) fn segments(&self) -> u32 {
        self.plan.timeline.expected_segments().unwrap()
    }

    /// Runs of about equal length that cover the timeline; the last goes to its very end.
    pub(crate) fn split(&self, pieces: u32) -> Vec<Chunk> {
        let (count, end) = (self.segments(), self.plan.whole().end);
        let pieces = pieces.min(count);
        (0..pieces)
            .map(|index| Chunk {
                index,
                first: SegmentIndex(index * count / pieces),
                end: if index + 1 == pieces { end } else { SegmentIndex((index + 1) * count / pieces) },
            })
            .collect()
    }

    /// Make these chunks in this order, each by a run of its own, into one sink.
    pub(crate) fn make(&self, chunks: &[Chunk]) -> Made {
        let sink = MemorySink::new();
        let _logs = env_logger::builder().is_test(true).try_init();
        let reports = chunks
            .iter()
            .map(|chunk| {
                let request = ChunkRequest { plan: &self.plan, chunk, platform: &software() };
                let sink: Arc<dyn Sink> = Arc::new(sink.clone());
                run(request, self.source.clone(), sink, &|_| {}, &Cancel::new())
                    .unwrap_or_else(|error| panic!("{chunk:?}: {}", error.chain()))
            })
            .collect();
        Made { plan: self.plan.clone(), sink, reports, chunks: chunks.to_vec() }
    }
}

/// What some runs have made.
pub(crate) struct Made {
    pub(crate) plan: Plan,
    pub(crate) sink: MemorySink,
    pub(crate) reports: Vec<ChunkReport>,
    pub(crate) chunks: Vec<Chunk>,
}

impl Made {
    /// A rung's segments in order.
    pub(crate) fn facts(&self, rung: &str) -> Vec<SegmentFacts> {
        let rungs = self.reports.iter().flat_map(|report| &report.rungs).filter(|made| made.rung == rung);
        let mut facts: Vec<_> = rungs.flat_map(|made| made.segments.clone()).collect();
        facts.sort_by_key(|facts| facts.index);
        facts
    }

    pub(crate) fn bytes(&self, rung: &str, index: SegmentIndex) -> Arc<[u8]> {
        self.sink.get(&self.plan.segment_key(rung, index)).unwrap().bytes
    }

    pub(crate) fn inspected(&self, rung: &str) -> Vec<Inspected> {
        self.facts(rung)
            .iter()
            .map(|facts| transcode_core::segment::inspect(&self.bytes(rung, facts.index)).unwrap())
            .collect()
    }

    /// Where a run takes over from another: the first segment of every chunk but the first.
    pub(crate) fn joints(&self) -> Vec<SegmentIndex> {
        let mut joints: Vec<_> = self.chunks.iter().map(|c| c.first).filter(|first| first.0 > 0).collect();
        joints.sort();
        joints
    }

    /// The playlist and its segments in a folder.
    pub(crate) fn folder(&self, rung: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let facts = self.facts(rung);
        let durations: Vec<Entry> = facts.iter().map(|facts| facts.duration.into()).collect();
        let list = folder.path().join(self.plan.playlist_key(rung));
        std::fs::create_dir_all(list.parent().unwrap()).unwrap();
        std::fs::write(&list, playlist::media(&self.plan, rung, &durations, State::Vod)).unwrap();
        for facts in &facts {
            let key = self.plan.segment_key(rung, facts.index);
            std::fs::write(folder.path().join(key), self.bytes(rung, facts.index)).unwrap();
        }
        (folder, list)
    }

    /// What ffmpeg makes of the playlist: the number in every picture, and the samples (interleaved).
    /// It must not say a word.
    pub(crate) fn played(&self, rung: &str) -> (Vec<Option<usize>>, Vec<f32>) {
        let (grey, sound) = self.shown(rung);
        (numbers(&grey), sound)
    }

    /// As [`Self::played`], with the pictures themselves, in grey.
    pub(crate) fn shown(&self, rung: &str) -> (Vec<u8>, Vec<f32>) {
        let (folder, list) = self.folder(rung);
        let sound = folder.path().join("sound.f32");
        let begin = ["-v", "error", "-xerror", "-nostdin", "-i", list.to_str().unwrap(), "-map", "0:v"];
        let pictures = ["-vsync", "passthrough", "-f", "rawvideo", "-pix_fmt", "gray", "-"];
        let samples = ["-map", "0:a?", "-f", "f32le", sound.to_str().unwrap()];
        let grey = bytes_of("ffmpeg", &[&begin[..], &pictures, &samples].concat());
        let sound = std::fs::read(sound).unwrap_or_default();
        let sound = sound.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        (grey, sound)
    }
}

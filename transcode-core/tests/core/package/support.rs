//! Finished jobs to package, and an MP4 read back.

use crate::run::support::{clip, karma};
use std::sync::{Arc, Mutex, OnceLock};
use transcode_core::package::{FinishedJob, Format, Packaged, Request, package};
use transcode_core::plan::Plan;
use transcode_core::platform::Platform;
use transcode_core::run::{Options, start};
use transcode_core::sink::{MemorySink, ObjectKind, Sink};
use transcode_core::source::{FileSource, Source};
use transcode_core::spec::Preset;
use transcode_core::{Cancel, Error};

/// Two rungs of `gopro-karma.mp4`: 362 pictures at 29.97 with reordering, 567 packets at 48 kHz, in
/// seven segments.
pub(crate) fn reordered() -> Plan {
    let mut plan = karma(source().identity());
    plan.thumbnail = None;
    for video in plan.rungs.iter_mut().filter_map(|rung| rung.video.as_mut()) {
        video.preset = Preset::Veryfast;
    }
    plan
}

pub(crate) fn source() -> Arc<dyn Source> {
    Arc::new(FileSource::open(clip("gopro-karma.mp4")).unwrap())
}

/// A finished job of this plan.
pub(crate) fn finished(plan: &Plan) -> MemorySink {
    let sink = MemorySink::new();
    let platform = Platform::builtin("software").unwrap();
    let job = start(plan.clone(), platform, source(), Arc::new(sink.clone()), Options::default()).unwrap();
    job.wait().unwrap();
    sink
}

/// That of [`reordered`]: a copy of its own for each test.
pub(crate) fn ladder() -> MemorySink {
    static LADDER: OnceLock<MemorySink> = OnceLock::new();
    copy(LADDER.get_or_init(|| finished(&reordered())))
}

fn copy(from: &MemorySink) -> MemorySink {
    let to = MemorySink::new();
    for (key, object) in from.objects() {
        to.replace(&key, object.kind, &object.bytes, &Cancel::new()).unwrap();
    }
    to
}

/// Put other bytes in the place of an object.
pub(crate) fn put(sink: &MemorySink, key: &str, bytes: &[u8]) {
    sink.replace(key, ObjectKind::Segment, bytes, &Cancel::new()).unwrap();
}

/// The report without the sizes and checksums of the segments, as of a store that tells none.
pub(crate) fn forget_sizes(sink: &MemorySink) {
    let report = sink.get("report.json").unwrap();
    let mut report: serde_json::Value = serde_json::from_slice(&report.bytes).unwrap();
    for rung in report["rungs"].as_array_mut().unwrap() {
        for segment in rung["segments"].as_array_mut().unwrap() {
            let segment = segment.as_object_mut().unwrap();
            segment.remove("bytes");
            segment.remove("crc32");
        }
    }
    put(sink, "report.json", report.to_string().as_bytes());
}

pub(crate) fn pack(sink: &MemorySink, request: &Request) -> Result<Packaged, Error> {
    let cancel = Cancel::new();
    let job = FinishedJob::open(Arc::new(sink.clone()), &cancel)?;
    let last = Mutex::new(0);
    let told = |progress: transcode_core::package::Progress| *last.lock().unwrap() = progress.segments;
    let made = package(&job, request, sink, &told, &cancel)?;
    assert_eq!(*last.lock().unwrap(), made.segments, "progress goes to the end");
    Ok(made)
}

/// Make it, and give its bytes.
pub(crate) fn made(sink: &MemorySink, rung: &str, format: Format) -> (Packaged, Vec<u8>) {
    let request = Request::new(rung, format);
    let made = pack(sink, &request).unwrap();
    let object = sink.get(&request.key).unwrap();
    assert_eq!((object.kind, object.writes), (ObjectKind::Movie, 1));
    assert_eq!(made.bytes, object.bytes.len() as u64);
    (made, object.bytes.to_vec())
}

/// A box: its name, where its content begins, and its content.
pub(crate) struct Found<'a> {
    pub(crate) name: [u8; 4],
    pub(crate) at: usize,
    pub(crate) content: &'a [u8],
}

/// The boxes that stand side by side in `bytes`, which begin at `at` in the file; they fill them.
pub(crate) fn boxes(bytes: &[u8], at: usize) -> Vec<Found<'_>> {
    let (mut found, mut rest, mut at) = (Vec::new(), bytes, at);
    while !rest.is_empty() {
        let size = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
        assert!((8..=rest.len()).contains(&size), "a box of {size} bytes in {}", rest.len());
        found.push(Found { name: rest[4..8].try_into().unwrap(), at: at + 8, content: &rest[8..size] });
        (rest, at) = (&rest[size..], at + size);
    }
    found
}

/// The samples of a progressive MP4's track by its tables, each as bytes of the file.
pub(crate) fn samples<'a>(track: &mp4parse::Track, file: &'a [u8]) -> Vec<&'a [u8]> {
    let (stsc, stsz) = (track.stsc.as_ref().unwrap(), track.stsz.as_ref().unwrap());
    let mut sizes = stsz.sample_sizes.iter();
    let mut found = Vec::new();
    for (chunk, offset) in (1u32..).zip(track.stco.as_ref().unwrap().offsets.iter()) {
        let entry = stsc.samples.iter().filter(|entry| entry.first_chunk <= chunk).last().unwrap();
        let mut at = usize::try_from(*offset).unwrap();
        for _ in 0..entry.samples_per_chunk {
            let size = *sizes.next().unwrap() as usize;
            found.push(&file[at..at + size]);
            at += size;
        }
    }
    assert_eq!(sizes.next(), None, "every sample is in a chunk");
    found
}

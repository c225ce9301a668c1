//! What needs no GStreamer: planning, playlists, and reads through the block cache.
//!
//! `cargo bench -p transcode-core --bench pure`

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;
use transcode_core::media::SourceIdentity;
use transcode_core::plan::Plan;
use transcode_core::playlist::{self, State};
use transcode_core::source::{CacheOptions, SourceError};
use transcode_core::units::{MediaTime, SegmentIndex};
use transcode_core::{CachedSource, Cancel, FileSource, JobSpec, MediaInfo, Platform, Profile, Source};

const CLIP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/media/gopro-karma.mp4");

/// Hours of film that the long plan and its playlists cover.
const HOURS: i64 = 12;

fn platform() -> Platform {
    Platform::builtin("software").expect("the platform is compiled in")
}

/// The clip as probed, and the same claiming to be twelve hours long.
fn media() -> (MediaInfo, MediaInfo) {
    let source = Arc::new(FileSource::open(CLIP).expect("the clip is in the repository"));
    let short = transcode_core::probe(source, &platform(), &Cancel::new()).expect("the clip can be probed");
    let mut long = short.clone();
    long.duration = MediaTime::new(HOURS * 3600, 1);
    for track in &mut long.video {
        track.duration = long.duration;
    }
    for track in &mut long.audio {
        track.duration = long.duration;
    }
    (short, long)
}

fn plan_of(info: &MediaInfo) -> Plan {
    let spec = JobSpec::new(Profile::builtin("abr").expect("the profile is compiled in"));
    transcode_core::plan(info, &spec, &platform()).expect("the clip can be planned")
}

fn plans(c: &mut Criterion) {
    let (short, long) = media();
    let (platform, profile) = (platform(), Profile::builtin("abr").expect("the profile is compiled in"));
    let spec = JobSpec::new(profile);
    let mut group = c.benchmark_group("plan");
    group.bench_function("12 s", |b| b.iter(|| transcode_core::plan(black_box(&short), &spec, &platform)));
    group.bench_function("12 h", |b| b.iter(|| transcode_core::plan(black_box(&long), &spec, &platform)));
    let plan = plan_of(&long);
    let text = plan.to_json();
    group.bench_function("write plan.json", |b| b.iter(|| black_box(&plan).to_json()));
    group.bench_function("read plan.json", |b| b.iter(|| Plan::from_json(black_box(text.as_bytes()))));
    group.bench_function("profile from TOML", |b| b.iter(|| Profile::builtin(black_box("abr"))));
    group.finish();
}

fn playlists(c: &mut Criterion) {
    let (_, long) = media();
    let plan = plan_of(&long);
    let rung = plan.rungs[0].name.clone();
    let lengths: Vec<MediaTime> =
        (0..plan.timeline.segment_count()).map(|index| plan.timeline.length(SegmentIndex(index))).collect();
    let entries: Vec<playlist::Entry> = lengths.iter().map(|length| (*length).into()).collect();
    let mut group = c.benchmark_group("playlist");
    group.throughput(Throughput::Elements(lengths.len() as u64));
    group.bench_function("media, 12 h", |b| {
        b.iter(|| playlist::media(black_box(&plan), &rung, &entries, State::Vod));
    });
    let text = playlist::media(&plan, &rung, &entries, State::Vod);
    group.bench_function("read media, 12 h", |b| b.iter(|| playlist::read_media(black_box(&text))));
    group.bench_function("measure, 12 h", |b| {
        b.iter(|| playlist::measure(lengths.iter().map(|length| (black_box(4 << 20), *length))));
    });
    group.finish();
    c.bench_function("playlist/master", |b| {
        b.iter(|| playlist::master(black_box(&plan), None::<&BTreeMap<_, _>>))
    });
}

/// Bytes that take as long as a store's: what the cache hides.
struct Remote {
    inner: FileSource,
    latency: Duration,
}

impl Source for Remote {
    fn identity(&self) -> SourceIdentity {
        self.inner.identity()
    }

    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8], cancel: &Cancel) -> Result<usize, SourceError> {
        std::thread::sleep(self.latency);
        self.inner.read_at(offset, buffer, cancel)
    }
}

/// The whole clip in reads as small as a demuxer's.
fn read_through(source: &dyn Source, size: u64) -> u64 {
    let (cancel, mut buffer, mut at) = (Cancel::new(), [0u8; 4096], 0);
    while at < size {
        match source.read_at(at, &mut buffer, &cancel) {
            Ok(0) | Err(_) => break,
            Ok(count) => at += count as u64,
        }
    }
    at
}

fn sources(c: &mut Criterion) {
    let size = std::fs::metadata(CLIP).map_or(0, |data| data.len());
    let open = || FileSource::open(CLIP).expect("the clip is in the repository");
    let mut group = c.benchmark_group("source");
    group.throughput(Throughput::Bytes(size));
    group.sample_size(10);
    group.bench_function("file, 4 KiB reads", |b| b.iter(|| read_through(&open(), size)));
    let cached = |latency| {
        move || {
            let remote = Remote { inner: open(), latency };
            CachedSource::new(Arc::new(remote), CacheOptions::default())
        }
    };
    group.bench_function("cached, cold", |b| {
        b.iter_batched(cached(Duration::ZERO), |source| read_through(&source, size), BatchSize::PerIteration);
    });
    group.bench_function("cached, cold, 20 ms a request", |b| {
        let make = cached(Duration::from_millis(20));
        b.iter_batched(make, |source| read_through(&source, size), BatchSize::PerIteration);
    });
    let warm = cached(Duration::ZERO)();
    group.bench_function("cached, warm", |b| b.iter(|| read_through(&warm, size)));
    group.finish();
}

criterion_group!(benches, plans, playlists, sources);
criterion_main!(benches);

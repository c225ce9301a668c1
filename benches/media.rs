//! What needs GStreamer: decoding alone, one rung, the ladder.
//!
//! `cargo bench -p transcode-core --bench media`
//!
//! `TRANSCODE_PLATFORM` names the platform (default `software`): run it on the board that you have.
//! With `--floor` it measures the ladder's parts, each alone, as CPU seconds: see `parts`.

mod parts;

use criterion::{Criterion, Throughput};
use std::sync::Arc;
use std::time::Duration;
use transcode_core::plan::Plan;
use transcode_core::run::{ChunkRequest, run};
use transcode_core::{Cancel, FileSource, JobSpec, MemorySink, Platform, Profile};

const CLIP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/media/gopro-karma.mp4");

/// The platform that `TRANSCODE_PLATFORM` names.
fn platform() -> Platform {
    let name = std::env::var("TRANSCODE_PLATFORM").unwrap_or_else(|_| "software".to_owned());
    Platform::builtin(&name).expect("TRANSCODE_PLATFORM names a platform that is compiled in")
}

fn profile(name: &str) -> Profile {
    Profile::builtin(name).expect("the profile is compiled in")
}

fn source(clip: &str) -> Arc<FileSource> {
    Arc::new(FileSource::open(clip).expect("the clip can be opened"))
}

fn plan_of(clip: &str, profile: Profile, platform: &Platform) -> Plan {
    let info = transcode_core::probe(source(clip), platform, &Cancel::new()).expect("the clip can be probed");
    transcode_core::plan(&info, &JobSpec::new(profile), platform).expect("the clip can be planned")
}

/// Everything that running does, but for the store: segments stay in memory.
fn make(clip: &str, plan: &Plan, platform: &Platform) -> u64 {
    let chunk = plan.whole();
    let request = ChunkRequest { plan, chunk: &chunk, platform };
    let report = run(request, source(clip), Arc::new(MemorySink::new()), &|_| {}, &Cancel::new());
    report.expect("the clip can be encoded").emitted
}

fn media(c: &mut Criterion) {
    let platform = platform();
    let ladder = plan_of(CLIP, profile("abr"), &platform);
    let mut group = c.benchmark_group(format!("media, {}", platform.name));
    group.sample_size(10).measurement_time(Duration::from_secs(20));
    group.throughput(Throughput::Elements(ladder.timeline.expected_slots().unwrap_or(0)));
    group.bench_function("decode", |b| b.iter(|| parts::decode(CLIP, &ladder, &platform)));
    let mut one = profile("abr");
    one.renditions.retain(|rendition| rendition.name == "480p");
    let one = plan_of(CLIP, one, &platform);
    group.bench_function("one rung, 480p", |b| b.iter(|| make(CLIP, &one, &platform)));
    let flat = plan_of(CLIP, profile("match"), &platform);
    group.bench_function("match", |b| b.iter(|| make(CLIP, &flat, &platform)));
    group.bench_function("the ladder", |b| b.iter(|| make(CLIP, &ladder, &platform)));
    group.finish();
}

fn main() {
    if std::env::args().any(|argument| argument == "--floor") {
        parts::floor(&platform());
        return;
    }
    let mut criterion = Criterion::default().configure_from_args();
    media(&mut criterion);
    criterion.final_summary();
}

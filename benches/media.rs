//! What needs GStreamer: decoding alone, one rung, the ladder.
//!
//! `cargo bench -p transcode-core --bench media`
//!
//! `TRANSCODE_PLATFORM` names the platform (default `software`): run it on the board that you have.
//! With `--floor` it measures the ladder's parts, each alone, as CPU seconds: see `parts`.

mod parts;
mod work;

use criterion::{Criterion, Throughput};
use std::time::Duration;
use transcode_core::Platform;
use transcode_core::Profile;
use transcode_core::plan::Plan;
use work::{decode, make};

const CLIP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/media/gopro-karma.mp4");

/// The platform that `TRANSCODE_PLATFORM` names.
fn platform() -> Platform {
    let name = std::env::var("TRANSCODE_PLATFORM").unwrap_or_else(|_| "software".to_owned());
    Platform::builtin(&name).expect("TRANSCODE_PLATFORM names a platform that is compiled in")
}

fn profile(name: &str) -> Profile {
    Profile::builtin(name).expect("the profile is compiled in")
}

fn plan_of(profile: Profile, platform: &Platform) -> Plan {
    work::plan_of(CLIP, profile, platform).expect("the clip can be planned")
}

fn media(c: &mut Criterion) {
    let platform = platform();
    let ladder = plan_of(profile("abr"), &platform);
    let mut group = c.benchmark_group(format!("media, {}", platform.name));
    group.sample_size(10).measurement_time(Duration::from_secs(20));
    group.throughput(Throughput::Elements(ladder.timeline.expected_slots().unwrap_or(0)));
    group.bench_function("decode", |b| b.iter(|| decode(CLIP, &ladder, &platform).expect("it decodes")));
    let mut one = profile("abr");
    one.renditions.retain(|rendition| rendition.name == "480p");
    let one = plan_of(one, &platform);
    group.bench_function("one rung, 480p", |b| b.iter(|| make(CLIP, &one, &platform).expect("it encodes")));
    let flat = plan_of(profile("match"), &platform);
    group.bench_function("match", |b| b.iter(|| make(CLIP, &flat, &platform).expect("it encodes")));
    group.bench_function("the ladder", |b| b.iter(|| make(CLIP, &ladder, &platform).expect("it encodes")));
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

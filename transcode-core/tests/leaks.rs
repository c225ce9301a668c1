//! Nothing is left behind by a job that is dropped. In a process of its own: it counts threads.
#![allow(clippy::unwrap_used)]

#[path = "core/run/support.rs"]
#[allow(dead_code)]
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};
use transcode_core::platform::Platform;
use transcode_core::run::{JobEvent, Options, start};
use transcode_core::sink::MemorySink;
use transcode_core::source::{FileSource, Source};

fn threads() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(|entry| std::fs::read_to_string(entry.ok()?.path().join("comm")).ok())
        .map(|name| name.trim().to_owned())
        .collect();
    names.sort();
    names
}

/// Threads that end take a moment to be gone from the list; GLib keeps one or two of its pool for a
/// while, under the names of what they did last.
fn settled(at_most: usize) -> Vec<String> {
    let begun = Instant::now();
    loop {
        let now = threads();
        if now.len() <= at_most || begun.elapsed() > Duration::from_secs(10) {
            return now;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_dropped_job_stops_within_a_second_and_leaves_no_thread() {
    let begin = |store: &MemorySink| {
        let source = Arc::new(FileSource::open(support::clip("gopro-karma.mp4")).unwrap());
        let plan = support::karma(source.identity());
        let platform = Platform::builtin("software").unwrap();
        start(plan, platform, source, Arc::new(store.clone()), Options::default()).unwrap()
    };
    let before = threads().len();
    // What GLib keeps: a worker and an idle thread of its pool.
    let allowed = before + 2;
    begin(&MemorySink::new()).wait().unwrap();
    assert!(settled(allowed).len() <= allowed, "{:?}", threads());
    let stops: [fn(&JobEvent) -> bool; 4] = [
        |event| matches!(event, JobEvent::Planned { .. }),
        |event| matches!(event, JobEvent::Progress { .. }),
        |event| matches!(event, JobEvent::Segment(_)),
        |event| matches!(event, JobEvent::Segment(facts) if facts.index.0 == 4),
    ];
    for stop in stops.iter().cycle().take(12) {
        let store = MemorySink::new();
        let mut job = begin(&store);
        let found = job.any(|event| stop(&event));
        assert!(found, "the event came before the end");
        let begun = Instant::now();
        drop(job);
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        let stored = store.keys().len();
        let left = settled(allowed);
        assert!(left.len() <= allowed, "{left:?}");
        assert_eq!(store.keys().len(), stored, "something is still stored");
    }
}

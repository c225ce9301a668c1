//! Sources and sinks that fail in mid-job, slow stores, and files that end early.

use super::support::{clip, karma, output, seconds, sound};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use transcode_core::media::SourceIdentity;
use transcode_core::plan::{Plan, keys};
use transcode_core::platform::Platform;
use transcode_core::run::{JobEvent, JobReport, Options, start};
use transcode_core::sink::{Created, MemorySink, ObjectKind, Sink, SinkError};
use transcode_core::source::{Source, SourceError};
use transcode_core::{Cancel, Error, ErrorKind};

/// Bytes in memory; may stop to answer in the middle.
struct Bytes {
    bytes: Vec<u8>,
    /// Reads that touch a byte from here on fail.
    good: u64,
}

impl Bytes {
    fn of(name: &str) -> Self {
        let bytes = std::fs::read(clip(name)).unwrap();
        Self { good: bytes.len() as u64, bytes }
    }

    /// `gopro-karma.mp4` with its tables in front.
    fn front() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (clip("gopro-karma.mp4"), folder.path().join("front.mp4"));
        let (from, to) = (from.to_str().unwrap(), to.to_str().unwrap());
        let kept = ["-map", "0:v:0", "-map", "0:a:0", "-c", "copy", "-movflags", "+faststart"];
        output("ffmpeg", &[&["-v", "error", "-i", from], &kept[..], &[to]].concat());
        let bytes = std::fs::read(to).unwrap();
        Self { good: bytes.len() as u64, bytes }
    }
}

impl Source for Bytes {
    fn identity(&self) -> SourceIdentity {
        SourceIdentity { uri: "memory:clip".to_owned(), size: self.size(), version: None }
    }
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8], _: &Cancel) -> Result<usize, SourceError> {
        let from = self.bytes.len().min(usize::try_from(offset).unwrap());
        let length = buffer.len().min(self.bytes.len() - from);
        if from as u64 + length as u64 > self.good {
            let reason = "the test pulled the plug".to_owned();
            return Err(SourceError::Unavailable { uri: "memory:clip".to_owned(), offset, reason });
        }
        buffer[..length].copy_from_slice(&self.bytes[from..from + length]);
        Ok(length)
    }
}

/// Stores segments not yet, or no more of them; counts what is on its way.
#[derive(Default)]
struct Slow {
    store: MemorySink,
    /// Segments that are taken; zero is no bound.
    takes: usize,
    taken: AtomicUsize,
    /// Holds every segment until this is no longer so, or until stopped.
    hangs: AtomicBool,
    on_the_wire: AtomicUsize,
    in_flight: AtomicU64,
    most: AtomicU64,
}

impl Sink for Slow {
    fn create(&self, key: &str, kind: ObjectKind, bytes: &[u8], c: &Cancel) -> Result<Created, SinkError> {
        if kind == ObjectKind::Segment {
            if self.takes > 0 && self.taken.fetch_add(1, Ordering::SeqCst) >= self.takes {
                let reason = "the test pulled the plug".to_owned();
                return Err(SinkError::Unavailable { location: key.to_owned(), reason });
            }
            let now = self.in_flight.fetch_add(bytes.len() as u64, Ordering::SeqCst) + bytes.len() as u64;
            self.most.fetch_max(now, Ordering::SeqCst);
            self.on_the_wire.fetch_add(1, Ordering::SeqCst);
            let mut stopped = c.is_cancelled();
            while self.hangs.load(Ordering::SeqCst) && !stopped {
                stopped = c.sleep(Duration::from_millis(5));
            }
            self.on_the_wire.fetch_sub(1, Ordering::SeqCst);
            self.in_flight.fetch_sub(bytes.len() as u64, Ordering::SeqCst);
            if stopped {
                return Err(SinkError::Cancelled);
            }
        }
        self.store.create(key, kind, bytes, c)
    }
    fn replace(&self, key: &str, kind: ObjectKind, bytes: &[u8], c: &Cancel) -> Result<(), SinkError> {
        self.store.replace(key, kind, bytes, c)
    }
    fn read(&self, key: &str, c: &Cancel) -> Result<Option<Vec<u8>>, SinkError> {
        self.store.read(key, c)
    }
    fn size_of(&self, key: &str, c: &Cancel) -> Result<Option<u64>, SinkError> {
        self.store.size_of(key, c)
    }
    fn remove(&self, key: &str, c: &Cancel) -> Result<(), SinkError> {
        self.store.remove(key, c)
    }
    fn location(&self) -> String {
        "memory".to_owned()
    }
}

fn run(plan: &Plan, source: Bytes, sink: Arc<dyn Sink>) -> Result<JobReport, Error> {
    let platform = Platform::builtin("software").unwrap();
    start(plan.clone(), platform, Arc::new(source), sink, Options::default()).unwrap().wait()
}

/// A source that answers as far as it is good, and then only once every rung's playlist names a segment:
/// that it is gone.
struct Leaves {
    source: Bytes,
    plan: Plan,
    store: MemorySink,
}

/// Segments that a rung's playlist names.
fn named(store: &MemorySink, plan: &Plan, rung: &str) -> usize {
    let list = store.get(&plan.playlist_key(rung)).map(|object| object.bytes.to_vec()).unwrap_or_default();
    String::from_utf8(list).unwrap().matches("#EXTINF").count()
}

impl Source for Leaves {
    fn identity(&self) -> SourceIdentity {
        self.source.identity()
    }
    fn size(&self) -> u64 {
        self.source.size()
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8], c: &Cancel) -> Result<usize, SourceError> {
        let result = self.source.read_at(offset, buffer, c);
        let patience = Instant::now() + Duration::from_secs(20);
        while result.is_err()
            && Instant::now() < patience
            && self.plan.rungs.iter().any(|rung| named(&self.store, &self.plan, &rung.name) == 0)
        {
            if c.sleep(Duration::from_millis(5)) {
                return Err(SourceError::Cancelled);
            }
        }
        result
    }
}

#[test]
fn a_source_that_goes_away_leaves_what_plays_and_is_named() {
    let mut source = Bytes::front();
    let plan = karma(source.identity());
    source.good = source.size() * 2 / 3;
    let store = MemorySink::new();
    let leaves = Leaves { source, plan: plan.clone(), store: store.clone() };
    let platform = Platform::builtin("software").unwrap();
    let sink: Arc<dyn Sink> = Arc::new(store.clone());
    let error = start(plan.clone(), platform, Arc::new(leaves), sink, Options::default())
        .unwrap()
        .wait()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Store, "{}", error.chain());
    assert!(error.chain().contains("pulled the plug"), "{}", error.chain());
    sound(&plan, &store, false);
    for rung in &plan.rungs {
        let named = named(&store, &plan, &rung.name);
        assert!((1..plan.timeline.segment_count() as usize).contains(&named), "{named} segments are named");
    }
    assert!(store.get(keys::MASTER).is_some());
    assert!(store.get(keys::REPORT).is_none());
    run(&plan, Bytes::front(), Arc::new(store.clone())).unwrap();
    sound(&plan, &store, true);
}

#[test]
fn a_sink_that_goes_away_leaves_what_plays_and_is_named() {
    let source = Bytes::of("gopro-karma.mp4");
    let plan = karma(source.identity());
    let slow = Arc::new(Slow { takes: 6, ..Slow::default() });
    let error = run(&plan, source, slow.clone()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Store, "{}", error.chain());
    assert!(error.chain().contains("pulled the plug"), "{}", error.chain());
    sound(&plan, &slow.store, false);
}

#[test]
fn a_playlist_that_cannot_be_stored_stops_the_job() {
    use super::support::Breaks;
    let source = Bytes::of("gopro-karma.mp4");
    let plan = karma(source.identity());
    let store = MemorySink::new();
    // The plan, the first segments, and not much more.
    let error = run(&plan, source, Arc::new(Breaks::after(store.clone(), 5))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Store, "{}", error.chain());
    run(&plan, Bytes::of("gopro-karma.mp4"), Arc::new(store.clone())).unwrap();
    sound(&plan, &store, true);
}

/// Four may be on the wire, and one of each rung wait: then the encoders stand still, and go on when
/// the store does.
#[test]
fn a_slow_store_slows_the_encoder_and_fills_no_memory() {
    let source = Bytes::of("gopro-karma.mp4");
    let plan = karma(source.identity());
    let slow = Arc::new(Slow { hangs: AtomicBool::new(true), ..Slow::default() });
    let platform = Platform::builtin("software").unwrap();
    let mut job = start(plan.clone(), platform, Arc::new(source), slow.clone(), Options::default()).unwrap();
    let (mut finished, mut still) = (0, 0);
    while still < 8 {
        let Some(JobEvent::Progress { rungs }) = job.next_within(Duration::from_secs(20)) else { continue };
        let now: u32 = rungs.iter().map(|rung| rung.segments).sum();
        still = if now == finished && slow.on_the_wire.load(Ordering::SeqCst) == 4 { still + 1 } else { 0 };
        finished = now;
    }
    let all = plan.timeline.segment_count() * plan.rungs.len() as u32;
    assert!(finished <= 4 + plan.rungs.len() as u32 && finished < all, "{finished} of {all} wait in memory");
    slow.hangs.store(false, Ordering::SeqCst);
    let report = job.wait().unwrap();
    sound(&plan, &slow.store, true);
    let sizes: Vec<u64> =
        report.rungs.iter().flat_map(|rung| &rung.segments).filter_map(|row| row.bytes).collect();
    let largest = sizes.iter().max().unwrap();
    assert!(slow.most.load(Ordering::SeqCst) <= largest * 4, "no more than four at once");
    assert!(report.timings.sink_wait_ms > 0, "nobody waited for the store");
}

#[test]
fn a_stopped_job_does_not_wait_for_a_store_that_hangs() {
    let source = Bytes::of("gopro-karma.mp4");
    let plan = karma(source.identity());
    let hanging = Arc::new(Slow { hangs: AtomicBool::new(true), ..Slow::default() });
    let platform = Platform::builtin("software").unwrap();
    let mut job = start(plan, platform, Arc::new(source), hanging.clone(), Options::default()).unwrap();
    while hanging.in_flight.load(Ordering::SeqCst) == 0 {
        assert!(job.next_within(Duration::from_secs(20)).is_some(), "no segment came");
    }
    drop(job);
    assert_eq!(hanging.in_flight.load(Ordering::SeqCst), 0, "the upload was let go of");
}

/// Cut after two thirds.
fn cut() -> Bytes {
    let mut source = Bytes::front();
    source.bytes.truncate(source.bytes.len() * 2 / 3);
    source.good = source.size();
    source
}

#[test]
fn a_file_cut_short_is_the_inputs_fault_and_says_how_much_there_was() {
    let source = cut();
    let plan = karma(source.identity());
    let store = MemorySink::new();
    let error = run(&plan, source, Arc::new(store.clone())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input, "{}", error.chain());
    let text = error.chain();
    assert!(text.contains("of 12.079 s") && text.contains("--allow-truncated"), "{text}");
    sound(&plan, &store, false);
    assert!(store.get(keys::REPORT).is_none());
}

#[test]
fn a_file_cut_short_is_published_as_far_as_it_goes_where_that_is_allowed() {
    let source = cut();
    let mut plan = karma(source.identity());
    plan.allow_truncated = true;
    let store = MemorySink::new();
    let report = run(&plan, source, Arc::new(store.clone())).unwrap();
    let truncated = report.truncated.unwrap();
    assert_eq!(truncated.planned, plan.timeline.duration());
    assert!(truncated.decoded > seconds(6, 1) && truncated.decoded < seconds(10, 1), "{truncated:?}");
    // The source's clock counts nanoseconds, the plan's counts pictures.
    let rate = plan.timeline.rate;
    assert_eq!(report.duration, rate.time_of(rate.nearest(truncated.decoded) as u64));
    sound(&plan, &store, true);
    // Started again it is found finished.
    assert_eq!(run(&plan, cut(), Arc::new(store.clone())).unwrap(), report);
}

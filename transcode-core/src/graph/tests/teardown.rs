//! How a run ends that does not end by itself: stopped, held up, or without hearing of its own end.

use super::support::*;
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind};
use crate::source::{Source, SourceError};
use crate::units::MediaTime;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Six segments of six GOPs: the splitter hands a fragment on GOP by GOP, so that most of the time one
/// is half written.
fn small_gops() -> crate::plan::Plan {
    karma(vec![rung("240p", (426, 240), None, 10, 64_000)], 360, 60, MediaTime::ZERO)
}

/// Everything that is stored is a whole segment of the plan.
fn whole_segments_only(plan: &crate::plan::Plan, objects: &Objects) {
    for (key, bytes) in objects.stored.lock().unwrap().iter().filter(|(key, _)| key.ends_with(".ts")) {
        let index = crate::units::SegmentIndex(key[5..10].parse().unwrap());
        crate::segment::facts(bytes, plan, "240p", index).unwrap_or_else(|error| panic!("{key}: {error}"));
    }
}

/// hlssink2 flushes the fragment that is being written when it is stopped, as if it were whole.
///
/// Two remedies, either is enough: `aborting` in `Fragment::flush`, and `segment::facts` before anything
/// is stored. Without both: "240p/00002.ts: 10 pictures, expected 60".
#[test]
fn a_run_that_fails_stores_whole_segments_only() {
    let plan = small_gops();
    let objects = Arc::new(Objects::default());
    let stored = objects.clone();
    let two = move || stored.segments() >= 2;
    let source = Breaks(Slow(Clip::open("gopro-karma.mp4"), Duration::from_millis(2)), two);
    run(&plan, &plan.whole(), Arc::new(source), objects.clone()).result.unwrap_err();
    assert!((2..6).contains(&objects.segments()));
    whole_segments_only(&plan, &objects);
}

/// Who is stopped stops at once and leaves nothing half.
///
/// Remedy: the driver's loop looks at the handle. Without: nothing moved for 20 s, and an error of the
/// machine instead of an interruption; the source alone was told to stop, and says nothing.
#[test]
fn a_stopped_run_stores_whole_segments_only_and_stops_within_a_second() {
    let plan = small_gops();
    let objects = Arc::new(Objects::default());
    let cancel = Cancel::new();
    let stopper = {
        let (cancel, objects) = (cancel.clone(), objects.clone());
        std::thread::spawn(move || {
            while objects.segments() < 2 {
                std::thread::sleep(Duration::from_millis(5));
            }
            cancel.cancel();
            Instant::now()
        })
    };
    let source = Arc::new(Slow(Clip::open("gopro-karma.mp4"), Duration::from_millis(2)));
    let outcome = run_with(&plan, &plan.whole(), source, objects.clone(), &cancel, Duration::from_secs(20));
    let stopped = Instant::now();
    let asked = stopper.join().unwrap();
    assert_eq!(outcome.result.unwrap_err().kind(), ErrorKind::Interrupted);
    // A second, and some for a busy machine: less than anything that is waited for otherwise.
    assert!(stopped - asked < Duration::from_secs(5), "{:?}", stopped - asked);
    whole_segments_only(&plan, &objects);
}

/// A source that answers slowly.
struct Slow(Arc<Clip>, Duration);

impl Source for Slow {
    fn identity(&self) -> crate::media::SourceIdentity {
        self.0.identity()
    }
    fn size(&self) -> u64 {
        self.0.size()
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8], cancel: &Cancel) -> Result<usize, SourceError> {
        if cancel.sleep(self.1) {
            return Err(SourceError::Cancelled);
        }
        self.0.read_at(offset, buffer, cancel)
    }
}

/// A source that answers so many reads; the next takes ten seconds and listens to nobody.
struct Deaf {
    clip: Arc<Clip>,
    left: AtomicUsize,
    asked: std::sync::atomic::AtomicBool,
}

impl Source for Deaf {
    fn identity(&self) -> crate::media::SourceIdentity {
        self.clip.identity()
    }
    fn size(&self) -> u64 {
        self.clip.size()
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8], cancel: &Cancel) -> Result<usize, SourceError> {
        if self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err() {
            self.asked.store(true, Ordering::SeqCst);
            std::thread::sleep(Duration::from_secs(10));
        }
        self.clip.read_at(offset, buffer, cancel)
    }
}

/// The change to NULL waits for every streaming thread, and so for whatever one of them waits for.
///
/// Remedy: a thread of its own for the change, and a bound on waiting for it. With `set_state(Null)` in
/// the driver's own thread: 10.0 s.
#[test]
fn a_thread_that_never_comes_back_does_not_hold_up_a_stop() {
    let plan = small();
    let source = Arc::new(Deaf {
        clip: Clip::open("gopro-karma.mp4"),
        left: AtomicUsize::new(200),
        asked: false.into(),
    });
    let cancel = Cancel::new();
    let stopper = {
        let (cancel, source) = (cancel.clone(), source.clone());
        std::thread::spawn(move || {
            while !source.asked.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
            }
            cancel.cancel();
            Instant::now()
        })
    };
    let sink = Arc::new(Objects::default());
    let outcome = run_with(&plan, &plan.whole(), source, sink, &cancel, Duration::from_secs(20));
    let stopped = Instant::now();
    let asked = stopper.join().unwrap();
    assert_eq!(outcome.result.unwrap_err().kind(), ErrorKind::Interrupted);
    // 0.8 s, and some for a busy machine: less than the ten seconds of the thread that does not come back.
    assert!(stopped - asked < Duration::from_secs(5), "{:?}", stopped - asked);
}

/// A source that fails as soon as something is the case.
struct Breaks<F>(Slow, F);

impl<F: Fn() -> bool + Send + Sync> Source for Breaks<F> {
    fn identity(&self) -> crate::media::SourceIdentity {
        self.0.identity()
    }
    fn size(&self) -> u64 {
        self.0.size()
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8], cancel: &Cancel) -> Result<usize, SourceError> {
        if (self.1)() {
            let reason = "the store is gone".to_owned();
            return Err(SourceError::Unavailable { uri: "memory:clip".into(), offset, reason });
        }
        self.0.read_at(offset, buffer, cancel)
    }
}

/// What GStreamer makes of a failed read is "internal data stream error"; the cause is kept.
///
/// Remedy: `blame` asks the source first. Without: Err(Platform { … "Could not read from resource" }).
#[test]
fn a_source_that_fails_is_named_and_not_the_video() {
    for reads in [0, 40, 700] {
        let plan = small();
        let left = AtomicUsize::new(reads);
        let gone = move || {
            left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err()
        };
        let source = Breaks(Slow(Clip::open("gopro-karma.mp4"), Duration::ZERO), gone);
        let outcome = run(&plan, &plan.whole(), Arc::new(source), Arc::new(Objects::default()));
        match outcome.result {
            Err(Error::Source(SourceError::Unavailable { reason, .. })) => assert!(reason.contains("gone")),
            other => panic!("after {reads} reads: {other:?}"),
        }
    }
}

//! GStreamer's traps, one by one. Every comment says which remedy to take out of the code to see the
//! test fail.

use super::support::*;
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::source::{Source, SourceError};
use crate::units::MediaTime;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

fn small() -> crate::plan::Plan {
    karma(vec![rung("240p", (426, 240), None, 60, 64_000)], 360, 60, MediaTime::ZERO)
}

/// hlssink2 keeps ten fragments by default and deletes the eleventh-last: an error where there is
/// no file. To see it: leave `max-files` as it is in `hls_sink`.
#[test]
fn more_than_ten_segments_are_kept() {
    let plan = karma(vec![rung("240p", (426, 240), None, 15, 64_000)], 362, 15, MediaTime::ZERO);
    let objects = Arc::new(Objects::default());
    let report = run(&plan, &plan.whole(), Clip::open("gopro-karma.mp4"), objects.clone()).result.unwrap();
    assert_eq!(report.rungs[0].segments.len(), 25);
    assert!(objects.stored.lock().unwrap().contains_key("240p/00000.ts"));
}

/// The splitter holds a whole GOP of video, the encoder its look-ahead on top: audio waits in its
/// queue meanwhile, and must find room there. To see it: `ENCODED_SECONDS = 0` and a time bound of one
/// second on the queue (its default) stand still before the second segment.
#[test]
fn a_long_gop_with_look_ahead_and_audio_does_not_lock_up() {
    let mut long = rung("240p", (426, 240), None, 180, 64_000);
    if let Some(video) = &mut long.video {
        video.tuning.insert("x264".into(), "rc-lookahead=180:bframes=8:b-adapt=2".into());
    }
    let plan = karma(vec![long], 362, 180, MediaTime::ZERO);
    let report = run(&plan, &plan.whole(), Clip::open("gopro-karma.mp4"), Arc::new(Objects::default()));
    assert_eq!(report.result.unwrap().rungs[0].segments.len(), 3);
}

/// (qtdemux takes a track shorter than a fifth of the film for a preview and shows no pad.)
/// A requested muxer pad that gets no data holds up all others for ever. To see it: take the call of
/// `feed_silence` out of the driver, and these runs end as stalled.
#[test]
fn audio_that_ends_early_or_begins_late_becomes_silence() {
    let early = ["-c:v", "copy", "-c:a", "aac", "-af", "atrim=0:6"];
    let late = ["-c:v", "copy", "-c:a", "aac", "-af", "atrim=8"];
    for arguments in [early, late] {
        let plan = small();
        let outcome = run(&plan, &plan.whole(), made(&arguments, ".mp4"), Arc::new(Objects::default()));
        let report = outcome.result.unwrap();
        assert!(report.silence > 48_000, "silence {}", report.silence);
        let packets: u64 = report.rungs[0].audio_packets;
        assert_eq!(packets, plan.rungs[0].audio.as_ref().unwrap().packets_before(&plan.timeline, 360));
    }
}

/// hlssink2 flushes the fragment that is being written when it is stopped, as if it were whole.
/// To see it: take the test of `aborting` out of `Fragment::flush`.
#[test]
fn a_stopped_run_stores_whole_segments_only_and_stops_within_a_second() {
    let plan = small();
    let objects = Arc::new(Objects::default());
    let cancel = Cancel::new();
    let stopper = {
        let (cancel, objects) = (cancel.clone(), objects.clone());
        std::thread::spawn(move || {
            while objects.stored.lock().unwrap().keys().filter(|key| key.ends_with(".ts")).count() < 2 {
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
    assert!(stopped - asked < Duration::from_secs(1), "{:?}", stopped - asked);
    for (key, bytes) in objects.stored.lock().unwrap().iter().filter(|(key, _)| key.ends_with(".ts")) {
        let index = crate::units::SegmentIndex(key[5..10].parse().unwrap());
        crate::segment::facts(bytes, &plan, "240p", index).unwrap_or_else(|error| panic!("{key}: {error}"));
    }
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

/// A source that fails after so many reads, or answers no more.
struct Breaks {
    clip: Arc<Clip>,
    left: AtomicUsize,
}

impl Source for Breaks {
    fn identity(&self) -> crate::media::SourceIdentity {
        self.clip.identity()
    }
    fn size(&self) -> u64 {
        self.clip.size()
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8], cancel: &Cancel) -> Result<usize, SourceError> {
        if self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err() {
            let reason = "the store is gone".to_owned();
            return Err(SourceError::Unavailable { uri: "memory:clip".into(), offset, reason });
        }
        self.clip.read_at(offset, buffer, cancel)
    }
}

/// What GStreamer makes of a failed read is "internal data stream error"; the cause is kept. To see it:
/// take the question to the source out of `blame`.
#[test]
fn a_source_that_fails_is_named_and_not_the_video() {
    for reads in [0, 40, 700] {
        let plan = small();
        let source = Arc::new(Breaks { clip: Clip::open("gopro-karma.mp4"), left: AtomicUsize::new(reads) });
        let outcome = run(&plan, &plan.whole(), source, Arc::new(Objects::default()));
        match outcome.result {
            Err(Error::Source(SourceError::Unavailable { reason, .. })) => assert!(reason.contains("gone")),
            other => panic!("after {reads} reads: {other:?}"),
        }
    }
}

/// A slow store slows the encoder; nothing piles up. To see it: make `places` in the uploader a thousand.
#[test]
fn a_slow_sink_bounds_what_waits() {
    struct Counting {
        inner: Objects,
        now: AtomicUsize,
        most: AtomicUsize,
    }
    impl crate::sink::Sink for Counting {
        fn create(
            &self,
            key: &str,
            kind: crate::sink::ObjectKind,
            bytes: &[u8],
            cancel: &Cancel,
        ) -> Result<crate::sink::Created, crate::sink::SinkError> {
            let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(now, Ordering::SeqCst);
            let result = self.inner.create(key, kind, bytes, cancel);
            self.now.fetch_sub(1, Ordering::SeqCst);
            result
        }
        fn replace(
            &self,
            key: &str,
            kind: crate::sink::ObjectKind,
            bytes: &[u8],
            cancel: &Cancel,
        ) -> Result<(), crate::sink::SinkError> {
            self.inner.replace(key, kind, bytes, cancel)
        }
        fn read(&self, key: &str, cancel: &Cancel) -> Result<Option<Vec<u8>>, crate::sink::SinkError> {
            self.inner.read(key, cancel)
        }
        fn size_of(&self, key: &str, cancel: &Cancel) -> Result<Option<u64>, crate::sink::SinkError> {
            self.inner.size_of(key, cancel)
        }
        fn remove(&self, key: &str, cancel: &Cancel) -> Result<(), crate::sink::SinkError> {
            self.inner.remove(key, cancel)
        }
        fn location(&self) -> String {
            self.inner.location()
        }
    }
    let plan = karma(vec![rung("240p", (426, 240), None, 10, 64_000)], 362, 10, MediaTime::ZERO);
    let inner = Objects { delay: Duration::from_millis(300), ..Objects::default() };
    let sink = Arc::new(Counting { inner, now: AtomicUsize::new(0), most: AtomicUsize::new(0) });
    let outcome = run(&plan, &plan.whole(), Clip::open("gopro-karma.mp4"), sink.clone());
    let report = outcome.result.unwrap();
    assert_eq!(report.rungs[0].segments.len(), 37);
    assert!(sink.most.load(Ordering::SeqCst) <= 4);
    assert!(report.timings.sink_wait_ms > 100, "the encoder waited {} ms", report.timings.sink_wait_ms);
}

/// Without a picture the splitter cuts by packets: the plan's slots are packets then. To see it: leave
/// `close_last_fragment` out, and the last segment is glued to the one before.
#[test]
fn an_audio_ladder_is_cut_on_whole_packets() {
    let mut plan = small();
    plan.input.video = None;
    plan.thumbnail = None;
    plan.rungs[0].video = None;
    plan.timeline.rate = rate(48_000, 1_024);
    plan.timeline.slots = 563;
    plan.timeline.segment_slots = 281;
    plan.chunks = vec![plan.whole()];
    let report = run(&plan, &plan.whole(), Clip::open("gopro-karma.mp4"), Arc::new(Objects::default()));
    let report = report.result.unwrap();
    assert_eq!(report.rungs[0].audio_packets, 563);
    assert_eq!(report.rungs[0].segments.len(), 3);
}

/// Video alone needs no audio pad. To see it: request one anyway in `audio_branches`.
#[test]
fn a_silent_source_makes_a_silent_ladder() {
    let mut plan = small();
    plan.input.audio = None;
    plan.rungs[0].audio = None;
    let report =
        run(&plan, &plan.whole(), made(&["-c", "copy", "-an"], ".mp4"), Arc::new(Objects::default()));
    assert_eq!(report.result.unwrap().rungs[0].segments.len(), 6);
}

/// Two to four pictures of an odd width once failed with "can not initialize x264 encoder", and an
/// unpinned format came out as High 4:4:4. To see it: leave `format` out of the branch's caps.
#[test]
fn every_source_format_is_encoded_as_four_two_zero() {
    let plan = small();
    let arguments = [
        "-t",
        "2",
        "-vf",
        "scale=427:241",
        "-pix_fmt",
        "yuv444p",
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-c:a",
        "copy",
    ];
    let mut plan =
        crate::plan::Plan { timeline: crate::plan::Timeline { slots: 59, ..plan.timeline.clone() }, ..plan };
    plan.thumbnail = None;
    let objects = Arc::new(Objects::default());
    let outcome = run(&plan, &plan.whole(), made(&arguments, ".mp4"), objects.clone());
    outcome.result.unwrap();
    let file = join(&objects, "240p");
    let output = Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-select_streams",
            "v",
            "-show_entries",
            "stream=pix_fmt,width,height",
            "-of",
            "csv=p=0",
        ])
        .arg(file.path())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().next(), Some("426,240,yuv420p"));
}

/// A run says what happens while it happens.
#[test]
fn events_tell_of_progress_every_segment_and_the_thumbnail() {
    let plan = small();
    let outcome = run(&plan, &plan.whole(), Clip::open("gopro-karma.mp4"), Arc::new(Objects::default()));
    outcome.result.unwrap();
    let count = |is: fn(&Event) -> bool| outcome.events.iter().filter(|event| is(event)).count();
    assert_eq!(count(|event| matches!(event, Event::Segment(_))), 6);
    assert_eq!(count(|event| matches!(event, Event::Thumbnail { .. })), 1);
    assert!(count(|event| matches!(event, Event::Progress { .. })) > 0);
}

//! GStreamer's traps, one by one: what stands still for ever, and what is lost. Every comment says
//! which remedy was taken out of the code, and what was seen then (GStreamer 1.22.0).

use super::support::*;
use crate::cancel::Cancel;
use crate::event::Event;
use crate::units::MediaTime;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// hlssink2 keeps ten fragments by default and deletes the eleventh-last: an error where there is
/// no file.
///
/// Remedy: `max-files=0` in `hls_sink`. Without: "Failed to delete fragment file '00000'".
#[test]
fn more_than_ten_segments_are_kept() {
    let plan = karma(vec![rung("240p", (426, 240), None, 15, 64_000)], 362, 15, MediaTime::ZERO);
    let objects = Arc::new(Objects::default());
    let report = run(&plan, &plan.whole(), Clip::open("gopro-karma.mp4"), objects.clone()).result.unwrap();
    assert_eq!(report.rungs[0].segments.len(), 25);
    assert!(objects.stored.lock().unwrap().contains_key("240p/00000.ts"));
}

/// A rung whose encoder looks ahead as far as a whole segment, which x264 does for its macroblock
/// tree only, and a source whose sound is so fat (4.6 MB a second) that it cannot wait undecoded.
fn far_ahead(plan: &mut crate::plan::Plan, rungs: &[&str]) -> Arc<Clip> {
    for rung in plan.rungs.iter_mut().filter(|rung| rungs.contains(&rung.name.as_str())) {
        let tuning = "mbtree=1:rc-lookahead=180:bframes=8:b-adapt=2";
        rung.video.as_mut().unwrap().tuning.insert("x264".into(), tuning.into());
    }
    plan.input.container = crate::media::Container::Matroska;
    plan.input.audio.as_mut().unwrap().codec = "pcm".into();
    made(&["-c:v", "copy", "-ac", "6", "-ar", "96000", "-c:a", "pcm_f64le"], ".mkv")
}

/// The splitter lets sound go no further than pictures, and these come out of an encoder as late as
/// it looks ahead: sound waits in its queues meanwhile, and must find room there, or the demuxer
/// stands still and no more pictures come.
///
/// Remedy: the encoded queues are bounded by bytes (`ENCODED_SECONDS`). With `max-size-time` of one
/// second on `{rung}-video` and `{rung}-audio`, which is a queue's default: nothing moved for 20 s at
/// 5.9 s of the source. With the same on every queue, at 3.4 s.
#[test]
fn a_long_look_ahead_and_audio_do_not_lock_up() {
    let mut plan = karma(vec![rung("240p", (426, 240), None, 180, 64_000)], 362, 180, MediaTime::ZERO);
    let source = far_ahead(&mut plan, &["240p"]);
    let report = run(&plan, &plan.whole(), source, Arc::new(Objects::default()));
    assert_eq!(report.result.unwrap().rungs[0].segments.len(), 3);
}

/// What one branch of a tee waits for must not keep the others from getting theirs: here the rung that
/// looks ahead takes no sound for 6 s.
///
/// Remedy: a queue behind the tee for every rung's sound. With `identity` in the place of the queue
/// `{rung}-audio`: nothing moved for 20 s at 4.9 s of the source. (Behind the tees on pictures queues
/// only keep several cores busy: with `identity` there the test passes.)
#[test]
fn rungs_that_share_sound_do_not_wait_for_each_other() {
    let rungs = vec![
        rung("360p", (640, 360), None, 180, 64_000),
        rung("240p", (426, 240), Some("360p"), 180, 64_000),
    ];
    let mut plan = karma(rungs, 362, 180, MediaTime::ZERO);
    let source = far_ahead(&mut plan, &["240p"]);
    let report = run(&plan, &plan.whole(), source, Arc::new(Objects::default()));
    assert!(report.result.unwrap().rungs.iter().all(|rung| rung.segments.len() == 3));
}

/// (qtdemux takes a track shorter than a fifth of the film for a preview and shows no pad.)
/// A requested muxer pad that gets no data holds up all others for ever.
///
/// Remedy: silence up to where the pictures are. Without the call of `follow_with_silence` in the
/// driver: nothing moved for 20 s at 12.0 s of the source, for the sound that ends early.
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

/// A chunk behind the end of the sound gets not one packet.
///
/// Remedy: silence up to where the pictures are. Without the call of `follow_with_silence` in the
/// driver: nothing moved for 20 s at 12.0 s of the source.
#[test]
fn a_chunk_behind_the_end_of_the_sound_is_silent() {
    let plan = small();
    let early = made(&["-c:v", "copy", "-c:a", "aac", "-af", "atrim=0:6"], ".mp4");
    let report = run(&plan, &chunk(4, 6), early, Arc::new(Objects::default())).result.unwrap();
    assert_eq!(report.rungs[0].segments.len(), 2);
    assert_eq!(report.silence, report.samples);
}

/// Noise fills the queues: some 30 s before the decoder, as much before the muxer. Sound that begins
/// later never comes, because the demuxer cannot get there.
///
/// Remedy: silence while everything stands still. Without the call of `feed_silence` in the driver:
/// nothing moved for 20 s at 35.0 s of the source.
#[test]
fn audio_that_begins_later_than_pictures_can_wait_becomes_silence() {
    let noise = "color=gray:s=128x72:r=30000/1001:d=100,noise=alls=100:allf=t";
    let late = ["-f", "lavfi", "-i", noise, "-itsoffset", "90", "-f", "lavfi", "-i", "sine=d=10"];
    let coded = ["-c:v", "libx264", "-preset", "ultrafast", "-qp", "0", "-c:a", "aac", "-ac", "2"];
    let file = ffmpeg(&[&late[..], &coded[..]].concat(), ".mkv");
    let source = Arc::new(Clip(std::fs::read(file.path()).unwrap()));
    let mut plan = karma(vec![rung("72p", (128, 72), None, 180, 64_000)], 2_997, 180, MediaTime::ZERO);
    plan.input.container = crate::media::Container::Matroska;
    plan.thumbnail = None;
    let report = run(&plan, &plan.whole(), source, Arc::new(Objects::default())).result.unwrap();
    assert_eq!(report.rungs[0].segments.len(), 17);
    assert!(report.silence.abs_diff(90 * 48_000) < 4_096, "silence {}", report.silence);
}

/// A slow store slows the encoder; nothing piles up.
///
/// Remedy: the uploader's `places`. With a thousand of them: "the encoder waited 0 ms".
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

/// Without a picture the splitter cuts by packets: the plan's slots are packets then.
///
/// Remedy: `close_last_fragment`. Without: "segment 1: 282 audio packets, expected 281", because the
/// last packet is glued to the segment before it.
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

/// A silent source gets no audio pad at the muxer.
///
/// With `request_pad_simple("audio")` on every `hlssink2`: nothing moved for 20 s at 12.0 s of the source.
#[test]
fn a_silent_source_makes_a_silent_ladder() {
    let mut plan = small();
    plan.input.audio = None;
    plan.rungs[0].audio = None;
    let report =
        run(&plan, &plan.whole(), made(&["-c", "copy", "-an"], ".mp4"), Arc::new(Objects::default()));
    assert_eq!(report.result.unwrap().rungs[0].segments.len(), 6);
}

/// What is decoded as 4:4:4 is encoded as 4:2:0 all the same, and odd sizes as even ones.
///
/// Remedy: `format` in the caps `pinned` before the gate. Without: "reason not-negotiated", because the
/// scaler takes nothing else (without our scaler x264enc takes it, as High 4:4:4 Predictive).
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

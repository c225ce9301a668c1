//! A fragment is closed where it ends, not where the next one does.

use super::support::*;
use crate::cancel::Cancel;
use crate::media::SourceIdentity;
use crate::plan::Plan;
use crate::source::{Source, SourceError};
use crate::spec::Tune;
use crate::units::MediaTime;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Long enough that what decoder and encoder hold back, on many cores too, is less.
const SEGMENT: u32 = 150;

/// Less than the shortest group of pictures below.
const MORE: u32 = 70;

/// A clip whose bytes from one place on come only when it is let go.
struct Held {
    clip: Arc<Clip>,
    from: u64,
    let_go: AtomicBool,
}

impl Held {
    /// gopro-karma.mp4 with its tables in front, up to the packet of picture `pictures`.
    fn at_picture(pictures: u32) -> Arc<Self> {
        let clip = made(&["-c", "copy", "-movflags", "+faststart"], ".mp4");
        let file = tempfile::Builder::new().suffix(".mp4").tempfile().unwrap();
        std::fs::write(file.path(), &clip.0).unwrap();
        let output = Command::new("ffprobe")
            .args(["-v", "error", "-select_streams", "v", "-show_entries", "packet=pos", "-of", "csv=p=0"])
            .arg(file.path())
            .output()
            .expect("ffprobe is installed by scripts/setup");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let from = text.lines().nth(pictures as usize).unwrap().trim_end_matches(',').parse().unwrap();
        Arc::new(Self { clip, from, let_go: AtomicBool::new(false) })
    }
}

impl Source for Held {
    fn identity(&self) -> SourceIdentity {
        self.clip.identity()
    }
    fn size(&self) -> u64 {
        self.clip.size()
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8], cancel: &Cancel) -> Result<usize, SourceError> {
        while offset + buffer.len() as u64 > self.from && !self.let_go.load(Ordering::SeqCst) {
            if cancel.sleep(Duration::from_millis(5)) {
                return Err(SourceError::Cancelled);
            }
        }
        self.clip.read_at(offset, buffer, cancel)
    }
}

/// Whether segment 0 is stored though the source has given but [`MORE`] pictures of segment 1, and
/// that the run ends well when it gives the rest.
fn is_closed_early(plan: &Plan) -> bool {
    let source = Held::at_picture(SEGMENT + MORE);
    let objects = Arc::new(Objects::default());
    let looker = {
        let (source, objects) = (source.clone(), objects.clone());
        std::thread::spawn(move || {
            let begun = Instant::now();
            let stored = || objects.stored.lock().unwrap().contains_key("240p/00000.ts");
            while !stored() && begun.elapsed() < Duration::from_secs(15) {
                std::thread::sleep(Duration::from_millis(10));
            }
            let early = stored();
            source.let_go.store(true, Ordering::SeqCst);
            early
        })
    };
    let outcome = run(plan, &plan.whole(), source, objects.clone());
    assert_eq!(outcome.result.unwrap().rungs[0].segments.len(), 3);
    reads_cleanly(join(&objects, "240p").path());
    looker.join().unwrap()
}

fn plan(tune: Tune, gop: u32, audio: u64) -> Plan {
    let mut rung = rung("240p", (426, 240), None, gop, audio);
    if let Some(video) = &mut rung.video {
        video.tune = tune;
    }
    let mut plan = karma(vec![rung], 362, SEGMENT, MediaTime::ZERO);
    if audio == 0 {
        plan.input.audio = None;
    }
    plan
}

/// To see it: let `cut` send no marks. The splitter then waits for the next group to be whole, and
/// segment 0 comes only when the source is let go.
#[test]
fn a_segment_is_closed_before_the_next_group_is_whole() {
    for (tune, gop, audio) in [
        (Tune::Zerolatency, SEGMENT, 64_000),
        (Tune::None, SEGMENT, 64_000),
        (Tune::None, SEGMENT / 2, 64_000),
        (Tune::None, SEGMENT, 0),
    ] {
        assert!(is_closed_early(&plan(tune, gop, audio)), "{tune:?}, GOP {gop}, audio {audio}");
    }
}

/// A packet belongs to the segment in which it begins, to the nanosecond. To see it: set the marks' time a
/// packet earlier.
#[test]
fn sound_is_cut_with_the_pictures() {
    for (sample_rate, tune) in [(44_100, Tune::None), (48_000, Tune::Zerolatency)] {
        let mut plan = plan(tune, 30, 64_000);
        plan.timeline.segment_slots = 30;
        if let Some(audio) = &mut plan.rungs[0].audio {
            audio.sample_rate = sample_rate;
        }
        let audio = plan.rungs[0].audio.clone().unwrap();
        // From the middle too: the clock is the whole timeline's.
        for chunk in [plan.whole(), chunk(3, 9)] {
            let objects = Arc::new(Objects::default());
            let report = run(&plan, &chunk, Clip::open("gopro-karma.mp4"), objects).result.unwrap();
            assert_eq!(report.rungs[0].segments.len(), chunk.segments().count());
            for segment in &report.rungs[0].segments {
                let slots = plan.timeline.slots_of(segment.index);
                let before = |slot| audio.packets_before(&plan.timeline, slot);
                let expected = before(slots.end) - before(slots.start);
                assert_eq!(segment.audio_packets, expected, "{sample_rate}, segment {}", segment.index);
            }
        }
    }
}

/// No packet is muxed for a mark, not even into a fragment that is thrown away: a rendition's packets are
/// numbered without a gap (RFC 8216, 3). To see it: leave `take_out_marks` out.
#[test]
fn continuity_counters_run_on_from_segment_to_segment() {
    let plan = karma(vec![rung("240p", (426, 240), None, 60, 64_000)], 362, 60, MediaTime::ZERO);
    let objects = Arc::new(Objects::default());
    let outcome = run(&plan, &plan.whole(), Clip::open("gopro-karma.mp4"), objects.clone());
    assert_eq!(outcome.result.unwrap().rungs[0].segments.len(), 7);
    let bytes = std::fs::read(join(&objects, "240p").path()).unwrap();
    let mut last = std::collections::BTreeMap::new();
    for (number, packet) in bytes.chunks_exact(188).enumerate() {
        let pid = u16::from(packet[1] & 0x1f) << 8 | u16::from(packet[2]);
        let (counter, has_payload) = (packet[3] & 0x0f, packet[3] & 0x10 != 0);
        if let Some(before) = last.insert(pid, counter) {
            let expected = if has_payload { (before + 1) & 0x0f } else { before };
            assert_eq!(counter, expected, "packet {number}, PID {pid}");
        }
    }
}

//! A ladder from a real clip, whole and in chunks.

use super::support::*;
use crate::event::SegmentFacts;
use crate::units::MediaTime;
use std::sync::Arc;

#[test]
fn a_whole_clip_becomes_every_rung() {
    let rungs = vec![
        rung("480p", (854, 480), None, 60, 96_000),
        rung("360p", (640, 360), None, 60, 64_000),
        rung("240p", (426, 240), Some("480p"), 60, 64_000),
    ];
    let plan = karma(rungs, 362, 60, MediaTime::ZERO);
    let objects = Arc::new(Objects::default());
    let outcome = run(&plan, &plan.whole(), Clip::open("gopro-karma.mp4"), objects.clone());
    let report = outcome.result.unwrap();
    assert_eq!((report.decoded, report.dropped, report.repeated, report.emitted), (362, 0, 0, 362));
    for rung in &report.rungs {
        assert_eq!(rung.encoded, 362, "{}", rung.rung);
        assert_eq!(rung.segments.len(), 7, "{}", rung.rung);
    }
    if let Some(dir) = std::env::var_os("KEEP") {
        for (key, bytes) in objects.stored.lock().unwrap().iter() {
            let path = std::path::Path::new(&dir).join(key);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    }
    for rung in ["480p", "360p", "240p"] {
        reads_cleanly(join(&objects, rung).path());
    }
}

/// The splitter judges a GOP by its end: a last GOP of one picture must not be glued to the segment before.
///
/// Remedy: `close_last_fragment`. Without: "segment 1: 61 pictures, expected 60".
#[test]
fn a_last_segment_of_one_picture_stands_alone() {
    for gop in [60, 20] {
        let plan = karma(vec![rung("240p", (426, 240), None, gop, 64_000)], 121, 60, MediaTime::ZERO);
        let objects = Arc::new(Objects::default());
        let outcome = run(&plan, &plan.whole(), Clip::open("gopro-karma.mp4"), objects.clone());
        let report = outcome.result.unwrap();
        assert_eq!(report.rungs[0].encoded, 121);
        assert_eq!(report.rungs[0].segments.len(), 3, "GOP {gop}");
        reads_cleanly(join(&objects, "240p").path());
    }
}

/// What a chunk from the middle makes is what a run over everything makes there.
#[test]
fn a_chunk_makes_the_segments_of_the_whole() {
    let plan = karma(vec![rung("240p", (426, 240), None, 30, 64_000)], 362, 60, MediaTime::ZERO);
    let clip = Clip::open("gopro-karma.mp4");
    let whole = run(&plan, &plan.whole(), clip.clone(), Arc::new(Objects::default())).result.unwrap();
    for (first, end) in [(0, 1), (2, 4), (6, 7)] {
        let part = run(&plan, &chunk(first, end), clip.clone(), Arc::new(Objects::default())).result.unwrap();
        assert_eq!((part.dropped, part.repeated), (0, 0), "{first}..{end}");
        let made = &part.rungs[0].segments;
        assert_eq!(made.len(), (end - first) as usize);
        for (ours, theirs) in made.iter().zip(&whole.rungs[0].segments[first as usize..]) {
            let boundary = |facts: &SegmentFacts| {
                (facts.index, facts.pictures, facts.audio_packets, facts.video_start, facts.audio_start)
            };
            assert_eq!(boundary(ours), boundary(theirs));
        }
    }
}

/// Slot 0 lies in the middle of the source, as for a clip.
#[test]
fn a_clip_begins_with_the_picture_at_its_start() {
    let start = MediaTime::new(100 * 1_001, 30_000).unwrap();
    let plan = karma(vec![rung("240p", (426, 240), None, 60, 64_000)], 90, 60, start);
    let outcome = run(&plan, &plan.whole(), Clip::open("gopro-karma.mp4"), Arc::new(Objects::default()));
    let report = outcome.result.unwrap();
    assert_eq!((report.emitted, report.dropped, report.repeated), (90, 0, 0));
    assert_eq!(report.silence, 0);
    assert_eq!(report.rungs[0].segments.len(), 2);
}

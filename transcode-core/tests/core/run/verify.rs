//! Nothing is published as finished that lost something on the way.

use super::support::{perfect, seconds, sound_only, two_rungs};
use std::collections::BTreeMap;
use transcode_core::event::ChunkReport;
use transcode_core::plan::Plan;
use transcode_core::run::{Origin, SegmentRow, verify};
use transcode_core::units::{MediaTime, SegmentIndex};
use transcode_core::{Error, ErrorKind};

fn check(plan: &Plan, report: ChunkReport) -> Result<(), Error> {
    verify(plan, &[report], &BTreeMap::new()).map(drop)
}

#[test]
fn a_perfect_run_passes() {
    let plan = two_rungs();
    let verified = verify(&plan, &[perfect(&plan, 0, 400)], &BTreeMap::new()).unwrap();
    assert_eq!(verified.duration, plan.timeline.duration());
    assert_eq!((verified.truncated, verified.notes), (None, Vec::new()));
    assert_eq!(verified.rungs.iter().map(|(_, rows)| rows.len()).collect::<Vec<_>>(), [3, 3]);
    let sound = sound_only();
    assert_eq!(check(&sound, perfect(&sound, 0, 400)).map_err(|error| error.chain()), Ok(()));
}

#[test]
fn several_chunks_and_what_was_there_make_one_job() {
    let plan = two_rungs();
    let resumed: BTreeMap<String, Vec<SegmentRow>> = plan
        .rungs
        .iter()
        .map(|rung| {
            let row = SegmentRow {
                index: SegmentIndex(0),
                duration: plan.timeline.length(SegmentIndex(0)),
                bytes: Some(9),
                crc32: None,
                parameter_sets: None,
                origin: Origin::Resumed,
            };
            (rung.name.clone(), vec![row])
        })
        .collect();
    let reports = [perfect(&plan, 2, 400), perfect(&plan, 1, 360)];
    let verified = verify(&plan, &reports, &resumed).unwrap();
    assert_eq!(verified.duration, plan.timeline.duration());
    assert_eq!(verified.rungs[0].1[0].origin, Origin::Resumed);
    let error = verify(&plan, &reports, &BTreeMap::new()).unwrap_err();
    assert!(error.chain().contains("1 segments are missing (0)"), "{}", error.chain());
}

/// One thing wrong in an otherwise perfect run, and what the error must name.
type Fault = (&'static str, fn(&mut ChunkReport), &'static str);

const FAULTS: [Fault; 17] = [
    ("a picture lost in the gate", |r| r.emitted -= 1, "399"),
    ("a picture decoded and gone", |r| r.decoded += 1, "401 decoded"),
    ("a picture dropped and not counted", |r| r.dropped += 1, "1 dropped"),
    ("a picture repeated and not emitted", |r| r.repeated += 1, "1 repeated"),
    ("a picture lost in an encoder", |r| r.rungs[1].encoded -= 1, "rung 180p: 399 of 400"),
    (
        "a picture lost in a muxer",
        |r| {
            r.rungs[1].segments[1].pictures -= 1;
            r.rungs[1].segments[1].duration = seconds(179 * 1_001, 30_000);
        },
        "rung 180p: 399 of 400 encoded pictures",
    ),
    (
        "a picture in the segment before its own",
        |r| {
            r.rungs[0].segments[0].pictures += 1;
            r.rungs[0].segments[1].pictures -= 1;
        },
        "segment 0 has 181 of 180",
    ),
    (
        "an audio packet lost in a muxer",
        |r| r.rungs[0].segments[2].audio_packets -= 1,
        "audio packets are in",
    ),
    (
        "an audio packet lost in an encoder",
        |r| {
            r.rungs[0].segments[2].audio_packets -= 1;
            r.rungs[0].audio_packets -= 1;
        },
        "audio packets encoded",
    ),
    ("packets made of nothing", |r| r.samples = 1_024, "1024 were sent"),
    (
        "sound late by one packet: the priming was kept",
        |r| shift(&mut r.rungs[0].segments[1].audio_start, seconds(1_024, 48_000)),
        "its sound begins 21.3",
    ),
    (
        "sound early by one packet: the priming was dropped twice",
        |r| shift(&mut r.rungs[1].segments[0].audio_start, seconds(-1_024, 48_000)),
        "ms early",
    ),
    (
        "a picture late by one slot",
        |r| shift(&mut r.rungs[0].segments[2].video_start, seconds(1_001, 30_000)),
        "its picture begins 33.36",
    ),
    ("a segment that was never stored", |r| drop(r.rungs[1].segments.remove(1)), "missing (1)"),
    ("an empty segment", |r| r.rungs[0].segments[0].bytes = 0, "is empty"),
    ("a rung that was not made", |r| drop(r.rungs.remove(1)), "rung 180p is not in"),
    (
        "a wrong length in the playlist",
        |r| r.rungs[0].segments[0].duration = seconds(6, 1),
        "is said to last 6.000 s",
    ),
];

fn shift(time: &mut Option<MediaTime>, by: MediaTime) {
    *time = time.map(|time| time + by);
}

#[test]
fn whatever_is_lost_or_shifted_fails_with_its_figures() {
    let plan = two_rungs();
    for (what, spoil, named) in FAULTS {
        let mut report = perfect(&plan, 0, 400);
        spoil(&mut report);
        let error = check(&plan, report).expect_err(what);
        assert_eq!(error.kind(), ErrorKind::Machine, "{what}");
        assert!(error.chain().contains(named), "{what}: {}", error.chain());
    }
}

#[test]
fn rounding_to_ticks_is_no_fault() {
    let plan = two_rungs();
    let mut report = perfect(&plan, 0, 400);
    for facts in report.rungs.iter_mut().flat_map(|rung| &mut rung.segments) {
        facts.video_start = facts.video_start.map(|time| seconds(time.ticks(90_000) + 1, 90_000));
        shift(&mut facts.audio_start, seconds(-2, 90_000));
    }
    assert_eq!(check(&plan, report).map_err(|error| error.chain()), Ok(()));
}

#[test]
fn a_source_that_ends_early_is_the_inputs_fault() {
    let plan = two_rungs();
    let error = check(&plan, perfect(&plan, 0, 250)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input);
    let text = error.chain();
    assert!(text.contains("8.342 s of 13.347 s") && text.contains("--allow-truncated"), "{text}");
    // Filled up with the last picture it is still cut short, from half a second on.
    let mut filled = perfect(&plan, 0, 400);
    (filled.decoded, filled.repeated) = (384, 16);
    filled.source_end = Some(plan.timeline.rate.time_of(384));
    assert_eq!(check(&plan, filled.clone()).unwrap_err().kind(), ErrorKind::Input);
    (filled.decoded, filled.repeated) = (386, 14);
    filled.source_end = Some(plan.timeline.rate.time_of(386));
    assert_eq!(check(&plan, filled).map_err(|error| error.chain()), Ok(()));
}

#[test]
fn a_sound_that_ends_early_is_the_inputs_fault() {
    let plan = sound_only();
    let mut report = perfect(&plan, 0, 400);
    report.audio_end = Some(seconds(5, 1));
    let error = check(&plan, report).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input);
    assert!(error.chain().contains("5.000 s of 8.533 s"), "{}", error.chain());
}

#[test]
fn an_allowed_early_end_is_told_with_its_figures() {
    let mut plan = two_rungs();
    plan.allow_truncated = true;
    let verified = verify(&plan, &[perfect(&plan, 0, 250)], &BTreeMap::new()).unwrap();
    let truncated = verified.truncated.unwrap();
    assert_eq!(truncated.decoded, plan.timeline.rate.time_of(250));
    assert_eq!(truncated.planned, plan.timeline.duration());
    assert_eq!(verified.duration, plan.timeline.rate.time_of(250));
    assert!(verified.notes[0].contains("8.342 s of 13.347 s"), "{:?}", verified.notes);
    // What was allowed is a short end, no hole and no rung that ends before the others.
    let mut hole = perfect(&plan, 0, 250);
    hole.rungs[0].segments[0].pictures -= 1;
    hole.rungs[0].encoded -= 1;
    assert_eq!(check(&plan, hole).unwrap_err().kind(), ErrorKind::Machine);
    let mut uneven = perfect(&plan, 0, 250);
    uneven.rungs[1].segments[1].pictures -= 1;
    uneven.rungs[1].segments[1].duration = plan.timeline.rate.time_of(69);
    uneven.rungs[1].encoded -= 1;
    assert!(check(&plan, uneven).unwrap_err().chain().contains("do not end together"));
}

#[test]
fn sound_behind_the_last_picture_of_an_open_end_is_not_missed() {
    let mut plan = two_rungs();
    plan.timeline.open_ended = true;
    let mut report = perfect(&plan, 0, 250);
    report.rungs.iter_mut().for_each(|rung| rung.audio_packets += 3);
    assert_eq!(check(&plan, report.clone()).map_err(|error| error.chain()), Ok(()));
    report.rungs[0].segments[0].audio_packets -= 1;
    assert_eq!(check(&plan, report).unwrap_err().kind(), ErrorKind::Machine);
}

#[test]
fn an_open_end_is_where_the_source_ends() {
    let mut plan = two_rungs();
    plan.timeline.open_ended = true;
    let verified = verify(&plan, &[perfect(&plan, 0, 361)], &BTreeMap::new()).unwrap();
    assert_eq!((verified.truncated, verified.duration), (None, plan.timeline.rate.time_of(361)));
}

#[test]
fn nothing_decoded_is_the_inputs_fault() {
    let mut plan = two_rungs();
    plan.allow_truncated = true;
    let error = check(&plan, perfect(&plan, 0, 0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input);
}

#[test]
fn long_silence_is_worth_a_word() {
    let plan = two_rungs();
    let mut report = perfect(&plan, 0, 400);
    report.silence = 96_000;
    let verified = verify(&plan, &[report], &BTreeMap::new()).unwrap();
    assert_eq!(verified.notes, ["2.000 s of silence stand where the source has no sound"]);
}

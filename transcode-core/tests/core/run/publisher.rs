//! What is published when, and that a crash anywhere is made good by opening again.

use super::support::{Breaks, bytes, perfect, play, texts, two_rungs};
use std::sync::Arc;
use transcode_core::event::Event;
use transcode_core::plan::{Plan, keys};
use transcode_core::run::{JobReport, Opened, Origin, Publisher};
use transcode_core::sink::{DirSink, MemorySink, ObjectKind, Sink};
use transcode_core::units::{Bitrate, SegmentIndex};
use transcode_core::{Cancel, Error, ErrorKind};

/// Everything that a job does, with made-up segments in place of a graph.
fn attempt(plan: &Plan, sink: &Arc<dyn Sink>, overwrite: bool) -> Result<JobReport, Error> {
    let cancel = Cancel::new();
    let mut publisher = match Publisher::open(plan.clone(), sink.clone(), overwrite, &cancel)? {
        Opened::Fresh(publisher) | Opened::Resume(publisher) => publisher,
        Opened::Finished(report) => return Ok(*report),
    };
    let report = perfect(plan, publisher.missing()[0].first.0, plan.timeline.slots);
    play(plan, &report, &**sink, |event| publisher.on_event(event))?;
    publisher.finish(&[report])
}

fn memory(sink: &MemorySink) -> Arc<dyn Sink> {
    Arc::new(sink.clone())
}

#[test]
fn playlists_grow_with_the_segments_and_end_as_vod() {
    let (plan, store) = (two_rungs(), MemorySink::new());
    let sink = memory(&store);
    let cancel = Cancel::new();
    let Opened::Fresh(mut publisher) = Publisher::open(plan.clone(), sink.clone(), false, &cancel).unwrap()
    else {
        panic!("nothing was there")
    };
    assert_eq!(store.keys(), ["plan.json"]);
    let report = perfect(&plan, 0, 400);
    let facts = |rung: usize, index: usize| Event::Segment(report.rungs[rung].segments[index].clone());
    let text = |key: &str| texts(&store).remove(key);
    publisher.on_event(&facts(0, 0)).unwrap();
    assert_eq!(text("master.m3u8"), None, "180p has no segment yet");
    publisher.on_event(&facts(0, 2)).unwrap();
    publisher.on_event(&facts(1, 0)).unwrap();
    assert!(text("master.m3u8").is_some());
    for rung in ["360p", "180p"] {
        let growing = text(&format!("{rung}/playlist.m3u8")).unwrap();
        assert!(growing.contains("00000.ts") && growing.contains("EVENT") && !growing.contains("ENDLIST"));
        assert!(!growing.contains("00002.ts"), "00001.ts is not stored yet");
    }
    publisher.on_event(&facts(0, 1)).unwrap();
    assert!(!text("360p/playlist.m3u8").unwrap().contains("00001.ts"), "180p does not have it yet");
    publisher.on_event(&facts(1, 1)).unwrap();
    assert!(text("360p/playlist.m3u8").unwrap().contains("00001.ts"), "all rungs grow together");
    publisher.on_event(&facts(1, 2)).unwrap();
    let first_master = text("master.m3u8").unwrap();
    let done = publisher.finish(&[report]).unwrap();
    for rung in ["360p", "180p"] {
        let text = text(&format!("{rung}/playlist.m3u8")).unwrap();
        assert!(text.contains("VOD") && text.ends_with("#EXT-X-ENDLIST\n"), "{text}");
    }
    assert_ne!(text("master.m3u8").unwrap(), first_master, "bit rates are measured now");
    assert_eq!(text("report.json").unwrap(), done.to_json());
    assert_eq!(store.get("master.m3u8").unwrap().writes, 2);
    assert_eq!(store.get("360p/playlist.m3u8").unwrap().kind, ObjectKind::FinalPlaylist);
}

#[test]
fn bandwidths_are_those_of_the_stored_bytes() {
    let (plan, store) = (two_rungs(), MemorySink::new());
    let report = attempt(&plan, &memory(&store), false).unwrap();
    let total: u64 = (0..3).map(|index| bytes("360p", index).len() as u64).sum();
    let average = report.rung("360p").unwrap().bandwidth.unwrap().average.bits_per_second();
    let exact = total as f64 * 8.0 / plan.timeline.duration().as_secs_f64();
    assert!((average as f64 - exact).abs() <= 1.0, "{average} {exact}");
    assert!(texts(&store)["master.m3u8"].contains(&format!("AVERAGE-BANDWIDTH={average}")));
}

#[test]
fn a_failed_verification_leaves_the_event_playlists() {
    let (plan, store) = (two_rungs(), MemorySink::new());
    let sink = memory(&store);
    let Opened::Fresh(mut publisher) =
        Publisher::open(plan.clone(), sink.clone(), false, &Cancel::new()).unwrap()
    else {
        panic!("nothing was there")
    };
    let mut report = perfect(&plan, 0, 400);
    play(&plan, &report, &*sink, |event| publisher.on_event(event)).unwrap();
    let before = texts(&store);
    report.rungs[0].encoded -= 1;
    assert!(matches!(publisher.finish(&[report]), Err(Error::Verification { .. })));
    assert_eq!(texts(&store), before);
    assert!(before["360p/playlist.m3u8"].contains("EVENT") && !before.contains_key("report.json"));
}

/// The plug is pulled at every single change, the job started again, and the plug pulled at every
/// change of that as well; the third attempt ends as a job does that never was interrupted.
#[test]
fn a_crash_at_any_change_is_made_good_by_starting_again() {
    let plan = two_rungs();
    let whole = MemorySink::new();
    let counting = Arc::new(Breaks::never(whole.clone()));
    attempt(&plan, &(counting.clone() as Arc<dyn Sink>), false).unwrap();
    let changes = counting.changes.lock().unwrap().len();
    assert!(changes > 15, "{:?}", counting.changes.lock().unwrap());
    for first in 0..changes {
        for second in [0, 1, 2, 5, 9] {
            let store = MemorySink::new();
            for left in [first, second] {
                let sink: Arc<dyn Sink> = Arc::new(Breaks::after(store.clone(), left));
                let result = attempt(&plan, &sink, false);
                if let Err(error) = result {
                    assert_eq!(error.kind(), ErrorKind::Store, "after {first} and {second}: {error}");
                }
                consistent(&plan, &store);
            }
            attempt(&plan, &memory(&store), false).unwrap();
            let mut found = texts(&store);
            let mut expected = texts(&whole);
            // Who made a segment, and what it cost, may differ.
            let read = |text: Option<String>| serde_json::from_str::<JobReport>(&text.unwrap()).unwrap();
            let (found_report, expected_report) =
                (read(found.remove(keys::REPORT)), read(expected.remove(keys::REPORT)));
            assert_eq!(found, expected, "after {first} and {second}");
            assert_eq!(found_report.duration, expected_report.duration);
            for (a, b) in found_report.rungs.iter().zip(&expected_report.rungs) {
                assert_eq!(a.bandwidth, b.bandwidth, "after {first} and {second}");
            }
        }
    }
}

/// Playlists name only what is stored, the master only playlists that are there, and an end stands
/// only where everything is stored and verified.
fn consistent(plan: &Plan, store: &MemorySink) {
    let texts = texts(store);
    for rung in &plan.rungs {
        let Some(text) = texts.get(&plan.playlist_key(&rung.name)) else {
            assert!(!texts.contains_key(keys::MASTER), "the master names a playlist that is not there");
            continue;
        };
        let named: Vec<&str> = text.lines().filter(|line| line.ends_with(".ts")).collect();
        for name in &named {
            assert!(store.get(&format!("{}/{name}", rung.name)).is_some(), "{name} is not stored");
        }
        if text.contains("ENDLIST") {
            assert!(texts.contains_key(keys::REPORT), "finished and not verified");
            assert_eq!(named.len(), plan.timeline.segment_count() as usize);
        }
    }
}

#[test]
fn what_is_stored_is_not_made_again() {
    let (plan, store) = (two_rungs(), MemorySink::new());
    // Both rungs' first segments and their playlists: everything up to the fifth change.
    let broken: Arc<dyn Sink> = Arc::new(Breaks::after(store.clone(), 6));
    attempt(&plan, &broken, false).unwrap_err();
    let Opened::Resume(publisher) =
        Publisher::open(plan.clone(), memory(&store), false, &Cancel::new()).unwrap()
    else {
        panic!("two segments are there")
    };
    assert_eq!(publisher.missing()[0].first, SegmentIndex(1));
    drop(publisher);
    let report = attempt(&plan, &memory(&store), false).unwrap();
    assert_eq!(report.resumed_at, SegmentIndex(1));
    let origins: Vec<Origin> = report.rungs[0].segments.iter().map(|row| row.origin).collect();
    assert_eq!(origins, [Origin::Resumed, Origin::Made, Origin::Made]);
    assert_eq!(report.rungs[0].segments[0].bytes, Some(bytes("360p", 0).len() as u64));
}

#[test]
fn a_finished_job_is_verified_and_nothing_is_made_again() {
    let (plan, store) = (two_rungs(), MemorySink::new());
    let report = attempt(&plan, &memory(&store), false).unwrap();
    let before = store.objects();
    let watched = Arc::new(Breaks::never(store.clone()));
    let again = attempt(&plan, &(watched.clone() as Arc<dyn Sink>), false).unwrap();
    assert_eq!(again, report);
    assert_eq!(store.objects(), before);
    assert_eq!(*watched.changes.lock().unwrap(), Vec::<String>::new());
}

#[test]
fn a_finished_job_with_a_lost_playlist_gets_it_back() {
    let (plan, store) = (two_rungs(), MemorySink::new());
    attempt(&plan, &memory(&store), false).unwrap();
    let before = texts(&store);
    store.remove("180p/playlist.m3u8", &Cancel::new()).unwrap();
    let opened = Publisher::open(plan, memory(&store), false, &Cancel::new()).unwrap();
    assert!(matches!(opened, Opened::Finished(_)));
    assert_eq!(texts(&store), before);
}

#[test]
fn a_finished_job_with_a_lost_or_cut_segment_is_made_whole() {
    for cut in [false, true] {
        let (plan, store) = (two_rungs(), MemorySink::new());
        attempt(&plan, &memory(&store), false).unwrap();
        let before = texts(&store);
        let cancel = Cancel::new();
        store.remove("180p/00001.ts", &cancel).unwrap();
        if cut {
            store.create("180p/00001.ts", ObjectKind::Segment, b"half", &cancel).unwrap();
        }
        let Opened::Resume(publisher) =
            Publisher::open(plan.clone(), memory(&store), false, &cancel).unwrap()
        else {
            panic!("a segment is missing")
        };
        assert_eq!(publisher.missing()[0].first, SegmentIndex(1));
        consistent(&plan, &store);
        store.remove("180p/00001.ts", &cancel).unwrap();
        attempt(&plan, &memory(&store), false).unwrap();
        let mut after = texts(&store);
        after.remove(keys::REPORT);
        assert!(after.iter().all(|(key, text)| before[key] == *text));
    }
}

#[test]
fn a_store_that_tells_no_sizes_is_taken_at_its_playlists_word() {
    let (plan, store) = (two_rungs(), MemorySink::new());
    let broken: Arc<dyn Sink> = Arc::new(Breaks::after(store.clone(), 6));
    attempt(&plan, &broken, false).unwrap_err();
    let silent: Arc<dyn Sink> = Arc::new(Breaks { tells: false, ..Breaks::never(store.clone()) });
    let report = attempt(&plan, &silent, false).unwrap();
    assert_eq!(report.resumed_at, SegmentIndex(1));
    let first = &report.rungs[0].segments[0];
    assert_eq!(first.bytes, Some(bytes("360p", 0).len() as u64), "its playlist says it");
    assert_eq!((report.warnings.as_slice(), first.origin), (&[][..], Origin::Resumed));
    let again = Publisher::open(plan, silent, false, &Cancel::new()).unwrap();
    assert!(matches!(again, Opened::Finished(_)));
}

#[test]
fn another_jobs_output_is_refused_with_the_differences() {
    let (plan, store) = (two_rungs(), MemorySink::new());
    attempt(&plan, &memory(&store), false).unwrap();
    let before = store.objects();
    let mut other = plan;
    other.rungs[1].video.as_mut().unwrap().bitrate = Bitrate::new(1_200_000).unwrap();
    let error = attempt(&other, &memory(&store), false).unwrap_err();
    assert!(matches!(error, Error::Occupied { .. }) && error.kind() == ErrorKind::Usage);
    let text = error.chain();
    assert!(text.contains("--overwrite") && text.contains("600k") && text.contains("1.2M"), "{text}");
    assert_eq!(store.objects(), before);
}

#[test]
fn somebody_elses_files_are_refused_too() {
    for key in ["master.m3u8", "180p/playlist.m3u8", "360p/00000.ts"] {
        let store = MemorySink::new();
        store.create(key, ObjectKind::Segment, b"mine", &Cancel::new()).unwrap();
        let error = attempt(&two_rungs(), &memory(&store), false).unwrap_err();
        assert!(matches!(error, Error::Occupied { .. }), "{error}");
        assert!(error.chain().contains(key), "{}", error.chain());
        assert_eq!(store.keys(), [key]);
        attempt(&two_rungs(), &memory(&store), true).unwrap();
        assert_ne!(&*store.get(key).unwrap().bytes, b"mine");
    }
}

#[test]
fn overwriting_takes_away_what_plays_first_and_the_plan_last() {
    let store = MemorySink::new();
    let mut other = two_rungs();
    other.rungs[0].name = "720p".to_owned();
    other.timeline.slots = 1_000;
    attempt(&other, &memory(&store), false).unwrap();
    let watched = Arc::new(Breaks::never(store.clone()));
    let plan = two_rungs();
    attempt(&plan, &(watched.clone() as Arc<dyn Sink>), true).unwrap();
    let changes = watched.changes.lock().unwrap().clone();
    assert_eq!(changes[0], "remove master.m3u8");
    let removed = changes.iter().position(|change| change == "create plan.json").unwrap();
    assert_eq!(changes[removed - 1], "remove plan.json");
    let fresh = MemorySink::new();
    attempt(&plan, &memory(&fresh), false).unwrap();
    assert_eq!(store.keys(), fresh.keys(), "nothing of the other job is left");
}

#[test]
fn a_crash_while_overwriting_is_made_good_as_well() {
    let (mut other, plan) = (two_rungs(), two_rungs());
    other.profile = "another".to_owned();
    for left in 0..20 {
        let store = MemorySink::new();
        attempt(&other, &memory(&store), false).unwrap();
        let broken: Arc<dyn Sink> = Arc::new(Breaks::after(store.clone(), left));
        attempt(&plan, &broken, true).unwrap_err();
        // Whose the destination is stays clear: the other's until all of it is gone.
        attempt(&plan, &memory(&store), true).unwrap();
        let fresh = MemorySink::new();
        attempt(&plan, &memory(&fresh), false).unwrap();
        let without_report = |store: &MemorySink| {
            let mut texts = texts(store);
            texts.remove(keys::REPORT);
            texts
        };
        assert_eq!(without_report(&store), without_report(&fresh), "after {left}");
    }
}

#[test]
fn a_directory_holds_the_same_as_memory() {
    let (plan, store) = (two_rungs(), MemorySink::new());
    attempt(&plan, &memory(&store), false).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    for left in [3, 7, 12, usize::MAX] {
        let sink: Arc<dyn Sink> = Arc::new(Breaks::after(DirSink::create(&out).unwrap(), left));
        assert_eq!(attempt(&plan, &sink, false).is_ok(), left == usize::MAX);
    }
    for (key, object) in store.objects() {
        let found = std::fs::read(out.join(&key)).unwrap_or_else(|error| panic!("{key}: {error}"));
        if key != keys::REPORT {
            assert_eq!(found, *object.bytes, "{key}");
        }
    }
}

#[test]
fn the_preview_picture_is_made_again_where_a_crash_lost_it() {
    let (mut plan, store) = (two_rungs(), MemorySink::new());
    let size = transcode_core::units::Resolution::new(320, 180).unwrap();
    plan.thumbnail = Some(transcode_core::plan::Thumbnail { frame: 190, retry_every: 30, last: 250, size });
    let broken: Arc<dyn Sink> = Arc::new(Breaks::after(store.clone(), 12));
    attempt(&plan, &broken, false).unwrap_err();
    let missing = || match Publisher::open(plan.clone(), memory(&store), false, &Cancel::new()).unwrap() {
        Opened::Resume(publisher) => publisher.missing()[0].first.0,
        _ => panic!("a part is there"),
    };
    assert_eq!(missing(), 1, "the segment that the picture is taken from");
    store.create(keys::THUMBNAIL, ObjectKind::Image, b"jpeg", &Cancel::new()).unwrap();
    assert_eq!(missing(), 2);
}

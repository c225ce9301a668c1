//! Whole jobs, from a file to a ladder that players read.

use super::support::{clip, karma, output, sound};
use std::sync::Arc;
use transcode_core::plan::{Plan, keys};
use transcode_core::platform::Platform;
use transcode_core::run::{JobEvent, JobReport, Options, Origin, start};
use transcode_core::sink::{DirSink, MemorySink, Sink};
use transcode_core::source::{FileSource, Source};
use transcode_core::units::SegmentIndex;
use transcode_core::{Error, ErrorKind};

fn software() -> Platform {
    Platform::builtin("software").unwrap()
}

fn file() -> Arc<dyn Source> {
    Arc::new(FileSource::open(clip("gopro-karma.mp4")).unwrap())
}

/// Run to the end; the events without the last, and the report.
fn run(plan: &Plan, sink: Arc<dyn Sink>) -> (Vec<JobEvent>, JobReport) {
    let job = start(plan.clone(), software(), file(), sink, Options::default()).unwrap();
    let mut events: Vec<JobEvent> = job.collect();
    match events.pop() {
        Some(JobEvent::Done(report)) => (events, *report),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_clip_becomes_a_ladder_that_players_read() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Arc::new(DirSink::create(folder.path()).unwrap());
    let plan = karma(file().identity());
    let (events, report) = run(&plan, sink.clone());

    assert!(matches!(&events[0], JobEvent::Planned { runs, resumed: false } if *runs == [plan.whole()]));
    let count = |wanted: fn(&JobEvent) -> bool| events.iter().filter(|event| wanted(event)).count();
    assert_eq!(count(|event| matches!(event, JobEvent::Segment(_))), 14);
    assert_eq!(count(|event| matches!(event, JobEvent::Thumbnail { .. })), 1);
    assert_eq!(count(JobEvent::is_last), 0);

    sound(&plan, &*sink, true);
    assert_eq!((report.counts.decoded, report.counts.emitted, report.counts.repeated), (362, 362, 0));
    assert_eq!((report.duration, report.truncated), (plan.timeline.duration(), None));
    assert!(report.rungs.iter().flat_map(|rung| &rung.segments).all(|row| row.origin == Origin::Made));
    assert!(report.timings.first_picture_ms > 0 && report.timings.total_ms > 0);
    assert!(report.timings.cpu_ms > 0 && report.timings.source_reads > 0);
    for stage in ["decode", "encode 360p", "encode 180p", "audio"] {
        assert!(report.timings.stages.contains_key(stage), "{stage}: {:?}", report.timings.stages);
    }

    let master = folder.path().join(keys::MASTER);
    let master = master.to_str().unwrap();
    output("ffmpeg", &["-v", "error", "-xerror", "-i", master, "-map", "0", "-f", "null", "-"]);
    for (rung, size) in [("360p", "640,360"), ("180p", "320,180")] {
        let list = folder.path().join(plan.playlist_key(rung));
        let probe = |stream: &str, entries: &str| {
            let list = list.to_str().unwrap();
            let fixed = ["-v", "error", "-of", "csv=p=0", "-count_packets", "-select_streams", stream];
            output("ffprobe", &[&fixed[..], &["-show_entries", entries, list]].concat())
        };
        let video = probe("v", "stream=codec_name,profile,width,height,r_frame_rate,nb_read_packets");
        let video = video.lines().next().unwrap().to_owned();
        assert!(video.contains(size) && video.contains("30000/1001") && video.contains("362"), "{video}");
        let audio = probe("a", "stream=codec_name,sample_rate,channels,nb_read_packets");
        let packets = report.rung(rung).map(|_| plan.rungs[0].audio.as_ref().unwrap()).unwrap();
        let packets = packets.packets_before(&plan.timeline, 362);
        assert!(audio.starts_with("aac,48000,2") && audio.contains(&packets.to_string()), "{audio}");
    }
    let thumbnail = std::fs::read(folder.path().join(keys::THUMBNAIL)).unwrap();
    assert!(thumbnail.starts_with(&[0xff, 0xd8]) && thumbnail.ends_with(&[0xff, 0xd9]));

    // Once more: everything is there, nothing is made.
    let before = std::fs::metadata(master).unwrap().modified().unwrap();
    let (events, again) = run(&plan, sink);
    assert!(events.is_empty(), "{events:?}");
    assert_eq!(again, report);
    assert_eq!(std::fs::metadata(master).unwrap().modified().unwrap(), before);
}

#[test]
fn a_stopped_job_goes_on_where_it_ended() {
    let store = MemorySink::new();
    let plan = karma(file().identity());
    let mut job =
        start(plan.clone(), software(), file(), Arc::new(store.clone()), Options::default()).unwrap();
    let handle = job.cancel_handle();
    let last = loop {
        match job.next() {
            Some(JobEvent::Segment(facts)) if facts.index == SegmentIndex(3) => handle.cancel(),
            Some(event) if event.is_last() => break event,
            Some(_) => {}
            None => panic!("no last event"),
        }
    };
    assert!(matches!(&last, JobEvent::Failed(error) if error.kind() == ErrorKind::Interrupted), "{last:?}");
    assert!(job.next().is_none());
    drop(job);
    sound(&plan, &store, false);
    let before = store.objects();
    let (events, report) = run(&plan, Arc::new(store.clone()));
    assert!(matches!(&events[0], JobEvent::Planned { resumed: true, .. }));
    assert!(report.resumed_at >= SegmentIndex(1), "{}", report.resumed_at);
    assert_eq!(report.rungs[0].segments[0].origin, Origin::Resumed);
    sound(&plan, &store, true);
    let after = store.objects();
    for (key, object) in before.iter().filter(|(key, _)| key.ends_with(".ts")) {
        assert_eq!(after[key], *object, "{key} was created once");
    }
}

#[test]
fn another_file_is_not_run_under_the_plan() {
    let mut plan = karma(file().identity());
    plan.source.size += 1;
    let error = start(plan, software(), file(), Arc::new(MemorySink::new()), Options::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input);
    assert!(error.chain().contains("plan again"), "{}", error.chain());
}

#[test]
fn a_chunk_outside_the_plan_is_refused() {
    use transcode_core::run::ChunkRequest;
    let plan = karma(file().identity());
    let mut chunk = plan.whole();
    chunk.end.0 += 1;
    let platform = software();
    let request = ChunkRequest { plan: &plan, chunk: &chunk, platform: &platform };
    let cancel = transcode_core::Cancel::new();
    let result = transcode_core::run::run(request, file(), Arc::new(MemorySink::new()), &|_| {}, &cancel);
    assert!(matches!(result, Err(Error::Config { .. })), "{result:?}");
}

#[test]
fn an_unheard_job_ends_all_the_same() {
    let store = MemorySink::new();
    let plan = karma(file().identity());
    let job = start(plan.clone(), software(), file(), Arc::new(store.clone()), Options::default()).unwrap();
    job.wait().unwrap();
    sound(&plan, &store, true);
}

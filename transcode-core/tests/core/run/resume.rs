//! What is stored is the checkpoint: what is missing, damaged or foreign is made again, nothing else.

use super::support::{Breaks, bytes, clip, karma, perfect, play, texts, two_rungs};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use transcode_core::event::{ChunkReport, Event, SegmentFacts};
use transcode_core::plan::{Chunk, Plan, keys};
use transcode_core::platform::Platform;
use transcode_core::run::{ChunkRequest, Opened, Origin, Publisher, joined, run};
use transcode_core::sink::{Created, MemorySink, ObjectKind, Sink, SinkError};
use transcode_core::source::{FileSource, Source as _};
use transcode_core::units::SegmentIndex;
use transcode_core::{Cancel, Error};

fn memory(sink: &MemorySink) -> Arc<dyn Sink> {
    Arc::new(sink.clone())
}

fn chunk(index: u32, first: u32, end: u32) -> Chunk {
    Chunk { index, first: SegmentIndex(first), end: SegmentIndex(end) }
}

/// `two_rungs` with six segments of two seconds in chunks of 1, 2 and 3.
fn six() -> Plan {
    let mut plan = two_rungs();
    let segment = u64::from(plan.timeline.segment_slots);
    plan.timeline.slots = 6 * segment;
    plan.chunks = vec![chunk(0, 0, 1), chunk(1, 1, 3), chunk(2, 3, 6)];
    plan
}

fn open(plan: &Plan, sink: &Arc<dyn Sink>) -> Opened {
    Publisher::open(plan.clone(), sink.clone(), false, &Cancel::new()).unwrap()
}

fn resumed(plan: &Plan, sink: &Arc<dyn Sink>) -> Publisher {
    match open(plan, sink) {
        Opened::Resume(publisher) => publisher,
        other => panic!("{other:?}"),
    }
}

fn fresh(plan: &Plan, sink: &Arc<dyn Sink>) -> Publisher {
    match open(plan, sink) {
        Opened::Fresh(publisher) => publisher,
        other => panic!("{other:?}"),
    }
}

/// What a run of `run` counts, and the segments it stores.
fn made(plan: &Plan, run: &Chunk) -> ChunkReport {
    perfect(plan, run.first.0, plan.timeline.slots_of(SegmentIndex(run.end.0 - 1)).end)
}

fn make(plan: &Plan, run: &Chunk, sink: &Arc<dyn Sink>, publisher: &mut Publisher) -> ChunkReport {
    let report = made(plan, run);
    play(plan, &report, &**sink, |event| publisher.on_event(event)).unwrap();
    report
}

fn named(store: &MemorySink, rung: &str) -> usize {
    let text = texts(store).remove(&format!("{rung}/playlist.m3u8")).unwrap_or_default();
    text.lines().filter(|line| line.ends_with(".ts")).count()
}

#[test]
fn chunks_may_finish_in_any_order_and_playlists_grow_in_order() {
    let (plan, store) = (six(), MemorySink::new());
    let sink = memory(&store);
    let mut publisher = fresh(&plan, &sink);
    assert_eq!(publisher.missing(), plan.chunks);
    let mut reports = vec![make(&plan, &plan.chunks[2], &sink, &mut publisher)];
    assert_eq!(named(&store, "360p"), 0, "nothing begins the timeline yet");
    reports.push(make(&plan, &plan.chunks[0], &sink, &mut publisher));
    assert_eq!(named(&store, "360p"), 1);
    reports.push(make(&plan, &plan.chunks[1], &sink, &mut publisher));
    assert_eq!(named(&store, "360p"), 6);
    let report = publisher.finish(&reports).unwrap();
    assert_eq!(report.duration, plan.timeline.duration());

    // The same in order: the same playlists.
    let other = MemorySink::new();
    let sink = memory(&other);
    let mut publisher = fresh(&plan, &sink);
    let reports: Vec<_> = plan.chunks.iter().map(|chunk| make(&plan, chunk, &sink, &mut publisher)).collect();
    publisher.finish(&reports).unwrap();
    let playlists = |store: &MemorySink| -> BTreeMap<_, _> {
        texts(store).into_iter().filter(|(key, _)| key.ends_with(".m3u8")).collect()
    };
    assert_eq!(playlists(&store), playlists(&other));
}

/// Stores what `runs` make, and leaves the destination like that.
fn leave(plan: &Plan, store: &MemorySink, runs: &[Chunk]) {
    let sink = memory(store);
    let mut publisher = fresh(plan, &sink);
    for run in runs {
        make(plan, run, &sink, &mut publisher);
    }
    store.create(keys::THUMBNAIL, ObjectKind::Image, b"jpeg", &Cancel::new()).unwrap();
}

#[test]
fn only_what_is_missing_is_made_and_what_touches_is_made_in_one_go() {
    let (plan, store) = (six(), MemorySink::new());
    leave(&plan, &store, &[chunk(0, 0, 2)]);
    let sink = memory(&store);
    let mut publisher = resumed(&plan, &sink);
    assert_eq!(publisher.missing(), [chunk(1, 2, 3), chunk(2, 3, 6)]);
    assert_eq!(joined(publisher.missing()), [chunk(1, 2, 6)]);
    assert_eq!(publisher.warnings(), [""; 0]);
    let report = make(&plan, &chunk(1, 2, 6), &sink, &mut publisher);
    let report = publisher.finish(&[report]).unwrap();
    let origins: Vec<_> = report.rungs[0].segments.iter().map(|row| row.origin).collect();
    assert_eq!(origins[..2], [Origin::Resumed; 2]);
    assert_eq!(origins[2..], [Origin::Made; 4]);
    assert!(report.rungs.iter().flat_map(|rung| &rung.segments).all(|row| row.crc32.is_some()));
    assert!(
        store.objects().iter().filter(|(key, _)| key.ends_with(".ts")).all(|(_, object)| object.writes == 1)
    );
}

#[test]
fn a_segment_that_is_truncated_foreign_or_gone_is_made_again_and_said() {
    let cases: [(&str, &str); 3] =
        [("short", "it was stored with"), ("foreign", "checksum"), ("gone", "not there")];
    for (what, said) in cases {
        let (plan, store) = (six(), MemorySink::new());
        leave(&plan, &store, &[chunk(0, 0, 5)]);
        let key = "180p/00002.ts";
        let mut damaged = bytes("180p", 2);
        match what {
            "short" => damaged.truncate(damaged.len() / 2),
            _ => damaged[7] ^= 1,
        }
        store.remove(key, &Cancel::new()).unwrap();
        if what != "gone" {
            store.create(key, ObjectKind::Segment, &damaged, &Cancel::new()).unwrap();
        }
        let publisher = resumed(&plan, &memory(&store));
        assert_eq!(publisher.missing(), [chunk(1, 2, 3), chunk(2, 5, 6)], "{what}");
        let [warning] = publisher.warnings() else { panic!("{what}: {:?}", publisher.warnings()) };
        assert!(warning.starts_with(key) && warning.contains(said), "{what}: {warning}");
        assert_eq!(named(&store, "180p"), 2, "{what}: what cannot be played is not named");
        assert_eq!(named(&store, "360p"), 5, "{what}: what is whole stays named");
    }
}

#[test]
fn another_encoders_segments_begin_with_a_discontinuity_in_every_rung() {
    let (plan, store) = (six(), MemorySink::new());
    let sink = memory(&store);
    let mut publisher = fresh(&plan, &sink);
    let mut reports = Vec::new();
    for chunk in &plan.chunks {
        let mut report = made(&plan, chunk);
        // Only one rung tells the two apart; all have to say it.
        let after = |facts: &&mut SegmentFacts| facts.index.0 >= 3;
        report.rungs[1].segments.iter_mut().filter(after).for_each(|facts| facts.parameter_sets = Some(8));
        play(&plan, &report, &*sink, |event| publisher.on_event(event)).unwrap();
        reports.push(report);
    }
    let count = |store: &MemorySink, rung: &str| {
        let text = texts(store).remove(&format!("{rung}/playlist.m3u8")).unwrap();
        let before = text.split("#EXT-X-DISCONTINUITY\n").next().unwrap().to_owned();
        (text.matches("#EXT-X-DISCONTINUITY").count(), before.matches("#EXTINF").count())
    };
    for rung in ["360p", "180p"] {
        assert_eq!(count(&store, rung), (1, 3), "{rung} while it grows");
    }
    // A later attempt reads it back from the playlists.
    let mut again = resumed(&plan, &sink);
    store.create(keys::THUMBNAIL, ObjectKind::Image, b"jpeg", &Cancel::new()).unwrap();
    again.finish(&reports).unwrap();
    for rung in ["360p", "180p"] {
        assert_eq!(count(&store, rung), (1, 3), "{rung} when it is finished");
    }
}

#[test]
fn a_second_publisher_shortens_no_playlist_and_takes_no_finished_one_back() {
    let (plan, store) = (six(), MemorySink::new());
    let sink = memory(&store);
    let mut first = fresh(&plan, &sink);
    let report = make(&plan, &chunk(0, 0, 2), &sink, &mut first);
    let mut second = resumed(&plan, &sink);
    let rest = made(&plan, &chunk(1, 2, 6));
    play(&plan, &rest, &*sink, |event| first.on_event(event)).unwrap();
    assert_eq!(named(&store, "360p"), 6);
    // The second is slower: it hears of segment 2 only now.
    for rung in 0..2 {
        second.on_event(&Event::Segment(rest.rungs[rung].segments[0].clone())).unwrap();
    }
    assert_eq!(named(&store, "360p"), 6);
    first.finish(&[report, rest.clone()]).unwrap();
    let finished = texts(&store);
    for at in 1..4 {
        for rung in 0..2 {
            second.on_event(&Event::Segment(rest.rungs[rung].segments[at].clone())).unwrap();
        }
    }
    assert_eq!(texts(&store), finished);
    let report = second.finish(&[rest]).unwrap();
    assert_eq!(report.duration, plan.timeline.duration());
    assert!(texts(&store)["360p/playlist.m3u8"].ends_with("#EXT-X-ENDLIST\n"));
}

/// Keys that may GET and PUT only: no listing, no removing.
struct GetAndPut(Breaks<MemorySink>);

impl Sink for GetAndPut {
    fn create(&self, key: &str, kind: ObjectKind, bytes: &[u8], c: &Cancel) -> Result<Created, SinkError> {
        self.0.create(key, kind, bytes, c)
    }
    fn replace(&self, key: &str, kind: ObjectKind, bytes: &[u8], c: &Cancel) -> Result<(), SinkError> {
        self.0.replace(key, kind, bytes, c)
    }
    fn read(&self, key: &str, c: &Cancel) -> Result<Option<Vec<u8>>, SinkError> {
        self.0.read(key, c)
    }
    fn size_of(&self, key: &str, c: &Cancel) -> Result<Option<u64>, SinkError> {
        self.0.size_of(key, c)
    }
    fn remove(&self, key: &str, _: &Cancel) -> Result<(), SinkError> {
        Err(SinkError::Refused { location: key.to_owned(), reason: "AccessDenied".to_owned() })
    }
    fn location(&self) -> String {
        self.0.location()
    }
}

#[test]
fn keys_that_may_get_and_put_only_resume_as_well() {
    for tells in [true, false] {
        let (plan, store) = (six(), MemorySink::new());
        leave(&plan, &store, &[chunk(0, 0, 4)]);
        store.remove("180p/00003.ts", &Cancel::new()).unwrap();
        let inner = Breaks { tells, ..Breaks::never(store.clone()) };
        let sink: Arc<dyn Sink> = Arc::new(GetAndPut(inner));
        let mut publisher = resumed(&plan, &sink);
        let expected = if tells { vec![chunk(2, 3, 6)] } else { vec![chunk(2, 4, 6)] };
        assert_eq!(publisher.missing(), expected, "tells sizes: {tells}");
        let report = make(&plan, &expected[0], &sink, &mut publisher);
        publisher.finish(&[report]).unwrap();
    }
}

/// Counts what the graph stores: every call of `create` is an encode.
struct Counts {
    inner: MemorySink,
    encodes: Mutex<BTreeMap<String, u32>>,
    /// The plug is pulled with this many segments stored.
    stop: Option<(usize, Cancel)>,
}

impl Sink for Counts {
    fn create(&self, key: &str, kind: ObjectKind, bytes: &[u8], c: &Cancel) -> Result<Created, SinkError> {
        if kind == ObjectKind::Segment {
            let mut encodes = self.encodes.lock().unwrap();
            *encodes.entry(key.to_owned()).or_default() += 1;
            if let Some((_, cancel)) = self.stop.as_ref().filter(|(stop, _)| encodes.len() > *stop) {
                cancel.cancel();
                return Err(SinkError::Cancelled);
            }
        }
        self.inner.create(key, kind, bytes, c)
    }
    fn replace(&self, key: &str, kind: ObjectKind, bytes: &[u8], c: &Cancel) -> Result<(), SinkError> {
        self.inner.replace(key, kind, bytes, c)
    }
    fn read(&self, key: &str, c: &Cancel) -> Result<Option<Vec<u8>>, SinkError> {
        self.inner.read(key, c)
    }
    fn size_of(&self, key: &str, c: &Cancel) -> Result<Option<u64>, SinkError> {
        self.inner.size_of(key, c)
    }
    fn list(&self, c: &Cancel) -> Result<Option<BTreeMap<String, u64>>, SinkError> {
        self.inner.list(c)
    }
    fn remove(&self, key: &str, c: &Cancel) -> Result<(), SinkError> {
        self.inner.remove(key, c)
    }
    fn location(&self) -> String {
        self.inner.location()
    }
}

/// One attempt at a real job; gives how often each segment was encoded.
fn attempt(
    plan: &Plan,
    store: &MemorySink,
    stop: Option<usize>,
) -> (Result<(), Error>, BTreeMap<String, u32>) {
    let cancel = Cancel::new();
    let stop = stop.map(|stop| (stop, cancel.clone()));
    let counts = Arc::new(Counts { inner: store.clone(), encodes: Mutex::default(), stop });
    let sink: Arc<dyn Sink> = counts.clone();
    let platform = Platform::builtin("software").unwrap();
    let mut publisher = match Publisher::open(plan.clone(), sink.clone(), false, &Cancel::new()).unwrap() {
        Opened::Fresh(publisher) | Opened::Resume(publisher) => publisher,
        Opened::Finished(_) => return (Ok(()), BTreeMap::new()),
    };
    let runs = publisher.missing().to_vec();
    let publisher = Mutex::new(&mut publisher);
    let tell = |event: Event| publisher.lock().unwrap().on_event(&event).unwrap();
    let make = |chunk: &Chunk| {
        let source = Arc::new(FileSource::open(clip("gopro-karma.mp4")).unwrap());
        run(ChunkRequest { plan, chunk, platform: &platform }, source, sink.clone(), &tell, &cancel)
    };
    let reports: Result<Vec<_>, _> = runs.iter().map(make).collect();
    let result = reports.and_then(|reports| publisher.lock().unwrap().finish(&reports).map(drop));
    let encodes = counts.encodes.lock().unwrap().clone();
    (result, encodes)
}

#[test]
fn only_segments_in_flight_are_encoded_twice() {
    let source = FileSource::open(clip("gopro-karma.mp4")).unwrap();
    let mut plan = karma(source.identity());
    plan.chunks = vec![chunk(0, 0, 1), chunk(1, 1, 3), chunk(2, 3, 5), chunk(3, 5, 7)];
    let store = MemorySink::new();
    let mut encodes: BTreeMap<String, u32> = BTreeMap::new();
    // Stopped with so many segments stored in each attempt; then let through.
    for stop in [Some(3), Some(4), Some(1), None] {
        let before = store.keys().iter().filter(|key| key.ends_with(".ts")).count();
        let (result, made) = attempt(&plan, &store, stop);
        assert_eq!(result.is_ok(), stop.is_none(), "{result:?}");
        let after = store.keys().iter().filter(|key| key.ends_with(".ts")).count();
        assert!(after > before, "every attempt goes on");
        made.into_iter().for_each(|(key, count)| *encodes.entry(key).or_default() += count);
    }
    assert_eq!(encodes.len(), 14);
    // In flight at each stop: the one that was refused and, in the other rung, its twin and those
    // that were handed over with it.
    let twice: u32 = encodes.values().map(|count| count - 1).sum();
    assert!(twice <= 3 * 4, "{encodes:?}");
    assert!(
        store.objects().iter().filter(|(key, _)| key.ends_with(".ts")).all(|(_, object)| object.writes == 1)
    );
    assert!(matches!(open(&plan, &memory(&store)), Opened::Finished(_)));
}

/// `segments` of `two_rungs`, cut into chunks behind those numbers.
fn divided(segments: u32, cuts: &BTreeSet<u32>) -> Plan {
    let mut plan = two_rungs();
    plan.timeline.slots = u64::from(segments) * u64::from(plan.timeline.segment_slots) - 7;
    let ends = cuts.iter().copied().filter(|cut| *cut < segments).chain([segments]);
    plan.chunks = ends
        .scan(0, |first, end| Some(chunk(0, std::mem::replace(first, end), end)))
        .zip(0..)
        .map(|(chunk, index)| Chunk { index, ..chunk })
        .collect();
    plan
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// Chunks finish in any order, each segment of them at its own moment: every playlist on the way
    /// begins with the one before, and the last ones are those of a job made in one go.
    #[test]
    fn merging_in_any_order_gives_the_same_playlists(
        segments in 1u32..14,
        cuts in prop::collection::btree_set(1u32..14, 0..6),
        order in prop::collection::vec(any::<u32>(), 28),
    ) {
        let plan = divided(segments, &cuts);
        let store = MemorySink::new();
        let sink = memory(&store);
        let mut publisher = fresh(&plan, &sink);
        let reports: Vec<_> = plan.chunks.iter().map(|chunk| made(&plan, chunk)).collect();
        let all = reports.iter().flat_map(|report| report.rungs.iter().flat_map(|rung| &rung.segments));
        let mut all: Vec<(u32, &SegmentFacts)> = order.into_iter().cycle().zip(all).collect();
        all.sort_by_key(|(place, _)| *place);
        let mut before = BTreeMap::new();
        for (_, facts) in all {
            publisher.on_event(&Event::Segment(facts.clone())).unwrap();
            let now = texts(&store);
            for (key, text) in before.iter().filter(|(key, _): &(&String, &String)| key.contains('/')) {
                prop_assert!(now[key].starts_with(text.as_str()), "{}", key);
            }
            before = now;
        }
        publisher.finish(&reports).unwrap();

        let (whole, other) = (plan.whole(), MemorySink::new());
        let mut plain = plan.clone();
        plain.chunks = vec![whole.clone()];
        let sink = memory(&other);
        let mut publisher = fresh(&plain, &sink);
        let report = make(&plain, &whole, &sink, &mut publisher);
        publisher.finish(&[report]).unwrap();
        let playlists = |store: &MemorySink| -> BTreeMap<_, _> {
            texts(store).into_iter().filter(|(key, _)| key.ends_with(".m3u8")).collect()
        };
        prop_assert_eq!(playlists(&store), playlists(&other));
    }
}

//! What every `Sink` and every `Source` promises, as functions: one suite, run on each of them.
//!
//! Used by path from the tests of both crates. A function panics with the rule that was broken.

use std::sync::Arc;
use std::time::{Duration, Instant};
use transcode_core::Cancel;
use transcode_core::sink::{Created, ObjectKind, Sink, SinkError};
use transcode_core::source::{Source, SourceError};

/// What happens where several create the same object at the same moment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Race {
    /// Exactly one is told that it is new.
    OneWins,
    /// The store looks, then writes: more than one may be told so, and the last of them stands.
    SomeWin,
}

/// Every rule for sinks, on an empty destination.
pub(crate) fn sink_keeps_its_promises(sink: &dyn Sink, race: Race) {
    what_is_created_once_stays(sink);
    a_listing_has_every_object_and_its_size(sink);
    replacing_replaces(sink);
    what_is_not_there_is_none(sink);
    awkward_keys_and_sizes_come_back(sink);
    keys_cannot_leave_the_destination(sink);
    of_many_at_once(sink, race);
    a_reader_never_sees_half(sink);
    a_cancelled_handle_stops_every_call(sink);
}

fn what_is_created_once_stays(sink: &dyn Sink) {
    let cancel = Cancel::new();
    let key = "720p/00000.ts";
    let create = |bytes: &[u8]| sink.create(key, ObjectKind::Segment, bytes, &cancel).expect("created");
    assert_eq!(create(b"first"), Created::New);
    assert_eq!(create(b"second, and longer"), Created::Existed);
    assert_eq!(sink.read(key, &cancel).expect("read").as_deref(), Some(&b"first"[..]));
    assert_eq!(sink.size_of(key, &cancel).expect("size"), Some(5));
    sink.remove(key, &cancel).expect("removed");
    assert_eq!(create(b"third"), Created::New, "a key that was removed is free again");
}

fn a_listing_has_every_object_and_its_size(sink: &dyn Sink) {
    let cancel = Cancel::new();
    let before = sink.list(&cancel).expect("listed").expect("this sink can list");
    let all = [("l.txt", 3), ("l/00000.ts", 0), ("l/ä b%.ts", 70_000), ("l/deep/er.ts", 1)];
    for (key, size) in all {
        sink.create(key, ObjectKind::Segment, &vec![7; size], &cancel).expect("created");
    }
    let mut listed = sink.list(&cancel).expect("listed").expect("this sink can list");
    for (key, size) in all {
        assert_eq!(listed.remove(key), Some(size as u64), "{key}");
        sink.remove(key, &cancel).expect("removed");
    }
    assert_eq!(listed, before);
    assert_eq!(sink.list(&cancel).expect("listed"), Some(before));
}

fn replacing_replaces(sink: &dyn Sink) {
    let cancel = Cancel::new();
    let key = "master.m3u8";
    for bytes in [&b"long at first, then"[..], b"short", b""] {
        sink.replace(key, ObjectKind::LivePlaylist, bytes, &cancel).expect("replaced");
        assert_eq!(sink.read(key, &cancel).expect("read").as_deref(), Some(bytes));
        assert_eq!(sink.size_of(key, &cancel).expect("size"), Some(bytes.len() as u64));
    }
    let created = sink.create(key, ObjectKind::FinalPlaylist, b"x", &cancel).expect("created");
    assert_eq!(created, Created::Existed, "an empty object is an object");
}

fn what_is_not_there_is_none(sink: &dyn Sink) {
    let cancel = Cancel::new();
    for key in ["nothing", "no/such/directory/nothing.ts"] {
        assert_eq!(sink.read(key, &cancel).expect("read"), None, "{key}");
        assert_eq!(sink.size_of(key, &cancel).expect("size"), None, "{key}");
        sink.remove(key, &cancel).expect("removing what is not there is no error");
    }
}

fn awkward_keys_and_sizes_come_back(sink: &dyn Sink) {
    let cancel = Cancel::new();
    let keys = [
        "plain.ts",
        "a b/c+d&e=f.ts",
        "ünï/видео/片.ts",
        "100%/50%25.ts",
        "(x)'!*~@$,;:.ts",
        "q?r#s.ts",
        "[1]{2}^`|<3>\"4\".ts",
        "deep/er/and/deep/er/x.ts",
    ];
    for (index, key) in keys.iter().enumerate() {
        // Sizes around what is sent in one piece, and one of many megabytes.
        let size = [0, 1, 65_536, 1 << 20, (1 << 20) + 1, 5 << 20, 7, 70_001][index];
        let bytes: Vec<u8> = (0..size).map(|at: usize| (at.wrapping_mul(31) + index) as u8).collect();
        let created = sink.create(key, ObjectKind::Segment, &bytes, &cancel);
        assert_eq!(created.unwrap_or_else(|error| panic!("{key}: {error}")), Created::New, "{key}");
        let back = sink.read(key, &cancel).unwrap_or_else(|error| panic!("{key}: {error}"));
        assert!(
            back.as_deref() == Some(&bytes[..]),
            "{key}: {} bytes came back",
            back.map_or(0, |b| b.len())
        );
        assert_eq!(sink.size_of(key, &cancel).expect("size"), Some(size as u64), "{key}");
        // A store may say so before it has taken the bytes, and break the connection; then the same
        // bytes could be those of the broken try, others cannot.
        let other: Vec<u8> = bytes.iter().map(|byte| !byte).chain([1]).collect();
        let again = sink.create(key, ObjectKind::Segment, &other, &cancel);
        assert_eq!(again.unwrap_or_else(|error| panic!("{key}: {error}")), Created::Existed, "{key}");
        sink.remove(key, &cancel).unwrap_or_else(|error| panic!("{key}: {error}"));
        assert_eq!(sink.read(key, &cancel).expect("read"), None, "{key} was removed");
    }
}

fn keys_cannot_leave_the_destination(sink: &dyn Sink) {
    let cancel = Cancel::new();
    for key in ["", "/etc/x", "../x", "a/../x", "a/./x", "a//x", "a/", "line\nbreak", "nul\0"] {
        let refused =
            |error: SinkError| assert!(matches!(error, SinkError::Refused { .. }), "{key:?}: {error}");
        refused(sink.create(key, ObjectKind::Segment, b"x", &cancel).expect_err(key));
        refused(sink.replace(key, ObjectKind::Segment, b"x", &cancel).expect_err(key));
        refused(sink.read(key, &cancel).expect_err(key));
        refused(sink.size_of(key, &cancel).expect_err(key));
        refused(sink.remove(key, &cancel).expect_err(key));
    }
}

/// Eight threads create the same key: one is told that it is new, and its bytes are the ones stored.
pub(crate) fn of_many_at_once(sink: &dyn Sink, race: Race) {
    let cancel = Cancel::new();
    for round in 0..5 {
        let key = format!("race/{round:05}.ts");
        let gate = std::sync::Barrier::new(8);
        let winners: Vec<u8> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8u8)
                .map(|who| {
                    let (key, gate, cancel) = (&key, &gate, &cancel);
                    scope.spawn(move || {
                        let bytes = vec![who; 20_000 + usize::from(who)];
                        gate.wait();
                        sink.create(key, ObjectKind::Segment, &bytes, cancel).expect("created")
                    })
                })
                .collect();
            let results = threads.into_iter().map(|thread| thread.join().expect("no panic"));
            (0..8u8)
                .zip(results)
                .filter(|(_, created)| *created == Created::New)
                .map(|(who, _)| who)
                .collect()
        });
        assert!(!winners.is_empty(), "round {round}: it is new for nobody");
        assert!(race == Race::SomeWin || winners.len() == 1, "round {round}: new for {winners:?}");
        let stored = sink.read(&key, &cancel).expect("read").expect("stored");
        assert!(winners.contains(&stored[0]), "what is stored is a winner's");
        assert_eq!(stored, vec![stored[0]; 20_000 + usize::from(stored[0])], "and it is whole");
    }
}

fn a_reader_never_sees_half(sink: &dyn Sink) {
    let cancel = Cancel::new();
    let key = "live/playlist.m3u8";
    let whole = |step: u8| vec![step; 300_000 + usize::from(step) * 1000];
    sink.replace(key, ObjectKind::LivePlaylist, &whole(0), &cancel).expect("replaced");
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for step in 1..20 {
                sink.replace(key, ObjectKind::LivePlaylist, &whole(step), &cancel).expect("replaced");
            }
            done.store(true, std::sync::atomic::Ordering::SeqCst);
        });
        let mut last = 0;
        while !done.load(std::sync::atomic::Ordering::SeqCst) {
            let seen = sink.read(key, &cancel).expect("read").expect("never gone");
            assert!(seen == whole(seen[0]), "{} bytes of step {}", seen.len(), seen[0]);
            assert!(seen[0] >= last, "step {} after {last}", seen[0]);
            last = seen[0];
        }
    });
}

fn a_cancelled_handle_stops_every_call(sink: &dyn Sink) {
    let cancel = Cancel::new();
    cancel.cancel();
    let stopped = |error: SinkError| assert!(matches!(error, SinkError::Cancelled), "{error}");
    stopped(sink.create("c/1.ts", ObjectKind::Segment, b"x", &cancel).expect_err("cancelled"));
    stopped(sink.replace("c/1.ts", ObjectKind::Segment, b"x", &cancel).expect_err("cancelled"));
    stopped(sink.read("c/1.ts", &cancel).expect_err("cancelled"));
    stopped(sink.size_of("c/1.ts", &cancel).expect_err("cancelled"));
    stopped(sink.remove("c/1.ts", &cancel).expect_err("cancelled"));
    assert_eq!(sink.read("c/1.ts", &Cancel::new()).expect("read"), None, "nothing was stored");
}

/// Bytes to read back, different at every offset that a test looks at.
pub(crate) fn pattern(size: usize) -> Vec<u8> {
    (0..size as u64).map(|at| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as u8).collect()
}

/// Every rule for sources, on one that holds exactly `bytes` (at least one).
pub(crate) fn source_keeps_its_promises(source: &Arc<dyn Source>, bytes: &[u8]) {
    let cancel = Cancel::new();
    let size = bytes.len() as u64;
    assert_eq!(source.size(), size);
    let identity = source.identity();
    assert_eq!(identity.size, size);
    assert_eq!(identity, source.identity(), "the identity does not change");
    assert!(!identity.uri.contains(['?', '@']), "neither query nor user: {}", identity.uri);

    let read = |offset: u64, length: usize| {
        let mut buffer = vec![0xEE; length];
        let got = source.read_at(offset, &mut buffer, &cancel).expect("read");
        assert!(buffer[got..].iter().all(|byte| *byte == 0xEE), "nothing is written past what was read");
        buffer.truncate(got);
        buffer
    };
    // Whole, at the edges, across them, past the end.
    assert!(read(0, bytes.len() + 10) == bytes, "short only at the end");
    assert_eq!(read(0, 0), b"");
    assert_eq!(read(0, 1), bytes[..1]);
    assert_eq!(read(size - 1, 1), bytes[bytes.len() - 1..]);
    assert_eq!(read(size - 1, 9), bytes[bytes.len() - 1..]);
    assert_eq!(read(size, 9), b"");
    assert_eq!(read(size + 1_000_000, 9), b"");
    assert_eq!(read(u64::MAX, 9), b"");

    // From several threads, anywhere.
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let (source, cancel) = (Arc::clone(source), &cancel);
            scope.spawn(move || {
                let mut random = 0x1234_5678_9ABC_DEF0 ^ thread;
                for _ in 0..40 {
                    random = random
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    let offset = (random >> 20) % size;
                    let mut buffer = vec![0; 1 + (random >> 50) as usize];
                    let got = source.read_at(offset, &mut buffer, cancel).expect("read");
                    let end = (offset as usize + buffer.len()).min(bytes.len());
                    assert!(buffer[..got] == bytes[offset as usize..end], "{got} bytes at {offset}");
                }
            });
        }
    });

    let stopped = Cancel::new();
    stopped.cancel();
    let error = source.read_at(0, &mut [0; 10], &stopped).expect_err("cancelled");
    assert!(matches!(error, SourceError::Cancelled), "{error}");
}

/// Run `work` on its own thread, cancel it after `after`, and check that it ended soon after. What
/// the bound guards is that the call ends because of the handle and not because of a time-out, which
/// the tests that use this set to at least twenty seconds.
pub(crate) fn ends_soon_after_cancel<T: Send + 'static>(
    after: Duration,
    work: impl FnOnce(Cancel) -> T + Send + 'static,
) -> T {
    let cancel = Cancel::new();
    let handle = cancel.clone();
    let thread = std::thread::spawn(move || work(handle));
    std::thread::sleep(after);
    assert!(!thread.is_finished(), "it was to be still at work when cancelled");
    let asked = Instant::now();
    cancel.cancel();
    let result = thread.join().expect("no panic");
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(2), "it ended {took:?} after it was cancelled");
    result
}

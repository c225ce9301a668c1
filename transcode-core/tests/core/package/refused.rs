//! What is refused, in words, with nothing left behind.

use super::support::{finished, forget_sizes, ladder, made, pack, put, reordered};
use std::sync::Arc;
use transcode_core::package::{FinishedJob, Format, Request, package};
use transcode_core::sink::{
    Created, MemorySink, ObjectKind, ObjectWriter, Sink, SinkError, StreamSink, Writing,
};
use transcode_core::spec::Preset;
use transcode_core::{Cancel, Error, ErrorKind};

const BOTH: [Format; 2] = [Format::Progressive, Format::Fragmented];

#[track_caller]
fn told(error: &Error, kind: ErrorKind, words: &[&str]) {
    let text = error.chain();
    assert_eq!(error.kind(), kind, "{text}");
    for word in words {
        assert!(text.contains(word), "`{word}` is missing: {text}");
    }
}

#[test]
fn a_rung_that_is_not_there_is_told_with_those_that_are() {
    let error = pack(&ladder(), &Request::new("720p", Format::Progressive)).unwrap_err();
    told(&error, ErrorKind::Usage, &["720p", "360p, 180p"]);
}

#[test]
fn only_a_finished_job_is_packaged() {
    let open = |sink: &MemorySink| FinishedJob::open(Arc::new(sink.clone()), &Cancel::new());
    told(
        &open(&MemorySink::new()).unwrap_err(),
        ErrorKind::Input,
        &["no plan.json", "transcode run --output"],
    );
    let sink = ladder();
    sink.remove("report.json", &Cancel::new()).unwrap();
    told(&open(&sink).unwrap_err(), ErrorKind::Input, &["report.json is missing", "run it to its end"]);
    put(&sink, "report.json", b"{}");
    told(&open(&sink).unwrap_err(), ErrorKind::Input, &["not about the plan"]);
    put(&sink, "plan.json", b"{\"version\":99}");
    told(&open(&sink).unwrap_err(), ErrorKind::Input, &["version 99"]);

    for (change, word) in [
        (None, "is missing"),
        (Some(("VOD", "EVENT")), "line"),
        (Some(("#EXT-X-ENDLIST\n", "")), "ends after line"),
    ] {
        let sink = ladder();
        let list = sink.get("360p/playlist.m3u8").unwrap();
        match change {
            None => sink.remove("360p/playlist.m3u8", &Cancel::new()).unwrap(),
            Some((from, to)) => {
                let text = String::from_utf8(list.bytes.to_vec()).unwrap().replace(from, to);
                put(&sink, "360p/playlist.m3u8", text.as_bytes());
            }
        }
        let error = pack(&sink, &Request::new("360p", Format::Progressive)).unwrap_err();
        told(&error, ErrorKind::Input, &["360p/playlist.m3u8", word, "run the job again"]);
    }
}

#[test]
fn a_growing_playlist_is_not_a_finished_one() {
    let sink = ladder();
    let list = String::from_utf8(sink.get("360p/playlist.m3u8").unwrap().bytes.to_vec()).unwrap();
    let growing = list.replace("VOD", "EVENT").replace("#EXT-X-ENDLIST\n", "");
    put(&sink, "360p/playlist.m3u8", growing.as_bytes());
    let error = pack(&sink, &Request::new("360p", Format::Progressive)).unwrap_err();
    told(&error, ErrorKind::Input, &["not finished", "7 segments"]);
}

#[test]
fn a_segment_that_is_not_the_jobs_is_named_and_nothing_is_stored() {
    let whole = ladder();
    let good = whole.get("360p/00003.ts").unwrap().bytes;
    let other = whole.get("360p/00004.ts").unwrap().bytes;
    let lower = whole.get("180p/00003.ts").unwrap().bytes;
    let mut flipped = good.to_vec();
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    for format in BOTH {
        for sizes in [true, false] {
            let bad: [(&str, Option<&[u8]>, &str); 6] = [
                ("gone", None, "it is missing"),
                ("empty", Some(b""), "bytes"),
                ("cut short", Some(&good[..good.len() / 188 / 2 * 188]), ""),
                ("another segment", Some(&other), ""),
                ("another rung's", Some(&lower), ""),
                ("a bit of it", Some(&flipped), "CRC-32"),
            ];
            for (what, bytes, word) in bad {
                if !sizes && what == "a bit of it" {
                    continue;
                }
                let sink = ladder();
                if !sizes {
                    forget_sizes(&sink);
                }
                match bytes {
                    None => sink.remove("360p/00003.ts", &Cancel::new()).unwrap(),
                    Some(bytes) => put(&sink, "360p/00003.ts", bytes),
                }
                let before = sink.keys();
                let Err(error) = pack(&sink, &Request::new("360p", format)) else {
                    panic!("{what} was let in")
                };
                let word = if sizes { word } else { "" };
                told(&error, ErrorKind::Input, &["360p/00003.ts", "segment 3", "run the job again", word]);
                assert_eq!(sink.keys(), before, "{what}");
            }
        }
    }
}

#[test]
fn another_encoders_segment_is_refused_because_an_mp4_has_one_set_of_parameters() {
    let mut plan = reordered();
    plan.rungs
        .iter_mut()
        .filter_map(|rung| rung.video.as_mut())
        .for_each(|video| video.preset = Preset::Faster);
    let other = finished(&plan).get("360p/00003.ts").unwrap().bytes;
    for format in BOTH {
        let sink = ladder();
        forget_sizes(&sink);
        put(&sink, "360p/00003.ts", &other);
        let error = pack(&sink, &Request::new("360p", format)).unwrap_err();
        told(&error, ErrorKind::Input, &["360p/00003.ts", "SPS or PPS", "another encoder", "as a whole"]);
    }
}

#[test]
fn what_is_there_is_verified_and_what_is_something_else_is_left_alone() {
    for format in BOTH {
        let sink = ladder();
        let request = Request::new("360p", format);
        let (first, bytes) = made(&sink, "360p", format);
        let again = pack(&sink, &request).unwrap();
        assert!(again.found && !first.found);
        assert_eq!((again.bytes, sink.get(&request.key).unwrap().writes), (first.bytes, 1));
        let (middle, mut flipped) = (bytes.len() / 2, bytes.clone());
        flipped[middle] ^= 1;
        let longer = [&bytes[..], b"x"].concat();
        for (other, word) in [
            (&b"mine"[..], ""),
            (&bytes[..middle], ""),
            (&longer, ""),
            (&flipped, &*format!("from byte {middle} on")),
        ] {
            put(&sink, &request.key, other);
            let error = pack(&sink, &request).unwrap_err();
            told(&error, ErrorKind::Usage, &[&request.key, "--overwrite", word]);
            assert_eq!(&*sink.get(&request.key).unwrap().bytes, other);
        }
        let over = Request { overwrite: true, ..request.clone() };
        assert!(!pack(&sink, &over).unwrap().found);
        assert!(*sink.get(&request.key).unwrap().bytes == bytes[..]);
    }
}

/// Takes so many bytes of an object, then stops or is stopped.
struct Short<'a> {
    inner: &'a MemorySink,
    room: u64,
    cancels: bool,
}

impl Sink for Short<'_> {
    fn create(&self, key: &str, kind: ObjectKind, bytes: &[u8], c: &Cancel) -> Result<Created, SinkError> {
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
    fn remove(&self, key: &str, c: &Cancel) -> Result<(), SinkError> {
        self.inner.remove(key, c)
    }
    fn location(&self) -> String {
        self.inner.location()
    }
}

impl StreamSink for Short<'_> {
    fn begin<'a>(
        &'a self,
        key: &str,
        kind: ObjectKind,
        about: u64,
        writing: Writing,
        cancel: &Cancel,
    ) -> Result<Box<dyn ObjectWriter + 'a>, SinkError> {
        let inner = self.inner.begin(key, kind, about, writing, cancel)?;
        Ok(Box::new(ShortWriter { inner, room: self.room, cancel: self.cancels.then(|| cancel.clone()) }))
    }
    fn read_at(&self, key: &str, at: u64, buffer: &mut [u8], c: &Cancel) -> Result<Option<usize>, SinkError> {
        self.inner.read_at(key, at, buffer, c)
    }
}

struct ShortWriter<'a> {
    inner: Box<dyn ObjectWriter + 'a>,
    room: u64,
    cancel: Option<Cancel>,
}

impl ObjectWriter for ShortWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        match (self.room.checked_sub(bytes.len() as u64), &self.cancel) {
            (Some(room), _) => self.room = room,
            (None, Some(cancel)) => cancel.cancel(),
            (None, None) => {
                let reason = "the disk is full".to_owned();
                return Err(SinkError::Refused { location: "here".to_owned(), reason });
            }
        }
        self.inner.write(bytes)
    }
    fn finish(self: Box<Self>) -> Result<Created, SinkError> {
        self.inner.finish()
    }
}

#[test]
fn a_store_that_refuses_or_an_interruption_leaves_nothing() {
    for format in BOTH {
        for (room, cancels) in [(0, false), (300_000, false), (300_000, true)] {
            let sink = ladder();
            let before = sink.keys();
            let cancel = Cancel::new();
            let job = FinishedJob::open(Arc::new(sink.clone()), &cancel).unwrap();
            let short = Short { inner: &sink, room, cancels };
            let error = package(&job, &Request::new("360p", format), &short, &|_| {}, &cancel).unwrap_err();
            if cancels {
                told(&error, ErrorKind::Interrupted, &[]);
            } else {
                told(&error, ErrorKind::Store, &["the disk is full"]);
            }
            assert_eq!(sink.keys(), before);
        }
    }
}

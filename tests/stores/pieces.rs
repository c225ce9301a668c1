//! What every `StreamSink` promises, as one suite that is run on each of them.
//!
//! Used by path from the tests of both crates. It panics with the rule that was broken.

use super::conformance::pattern;
use transcode_core::Cancel;
use transcode_core::sink::{Created, ObjectKind, SinkError, StreamSink, Writing};

/// Write `bytes` in pieces of odd sizes.
pub(crate) fn write(
    sink: &dyn StreamSink,
    key: &str,
    bytes: &[u8],
    writing: Writing,
) -> Result<Created, SinkError> {
    let mut writer = sink.begin(key, ObjectKind::Movie, bytes.len() as u64, writing, &Cancel::new())?;
    let (mut rest, mut size) = (bytes, 1);
    while !rest.is_empty() {
        let (now, later) = rest.split_at(size.min(rest.len()));
        writer.write(now)?;
        (rest, size) = (later, (size * 3 + 1).min(3_000_017));
    }
    writer.finish()
}

/// Every rule for sinks that take objects in pieces, on an empty destination.
pub(crate) fn stream_sink_keeps_its_promises(sink: &dyn StreamSink) {
    any_size_comes_back(sink);
    created_once_and_replaced(sink);
    what_is_not_finished_is_not_there(sink);
    ranges_are_read(sink);
    a_cancelled_handle_stops_it(sink);
    for key in ["", "/etc/x", "../x", "a//x"] {
        assert!(matches!(write(sink, key, b"x", Writing::Once), Err(SinkError::Refused { .. })), "{key:?}");
    }
}

fn any_size_comes_back(sink: &dyn StreamSink) {
    let part = 8 << 20;
    for size in [0, 1, 70_001, part - 1, part, part + 1, 2 * part, 3 * part + 70_001] {
        let (key, bytes) = (format!("sizes/ä {size}.mp4"), pattern(size));
        assert_eq!(write(sink, &key, &bytes, Writing::Once).expect("written"), Created::New, "{size}");
        let back = sink.read(&key, &Cancel::new()).expect("read");
        assert!(back.as_deref() == Some(&bytes[..]), "{size}: {:?} came back", back.map(|back| back.len()));
        assert_eq!(sink.size_of(&key, &Cancel::new()).expect("size"), Some(size as u64));
    }
}

fn created_once_and_replaced(sink: &dyn StreamSink) {
    for size in [5usize, 20_000_000] {
        let key = format!("once/{size}.mp4");
        let (first, second) = (vec![1; size], vec![2; size + 1]);
        assert_eq!(write(sink, &key, &first, Writing::Once).expect("written"), Created::New);
        assert_eq!(write(sink, &key, &second, Writing::Once).expect("written"), Created::Existed);
        let back = || sink.read(&key, &Cancel::new()).expect("read").expect("there");
        assert!(back() == first, "what is created once stays");
        assert_eq!(write(sink, &key, &second, Writing::Replace).expect("written"), Created::New);
        assert!(back() == second, "what is replaced is replaced");
    }
}

fn what_is_not_finished_is_not_there(sink: &dyn StreamSink) {
    let cancel = Cancel::new();
    let key = "dropped/film.mp4";
    for size in [0, 100, 20_000_000] {
        let mut writer =
            sink.begin(key, ObjectKind::Movie, size as u64, Writing::Once, &cancel).expect("begun");
        writer.write(&pattern(size)).expect("written");
        assert_eq!(sink.size_of(key, &cancel).expect("size"), None, "not seen before its end");
        drop(writer);
        assert_eq!(sink.read(key, &cancel).expect("read"), None, "and not after it was dropped");
    }
}

fn ranges_are_read(sink: &dyn StreamSink) {
    let cancel = Cancel::new();
    let (key, bytes) = ("ranges/film.mp4", pattern(100_000));
    write(sink, key, &bytes, Writing::Once).expect("written");
    for (offset, length, expected) in
        [(0, 1, 1), (7, 1_000, 1_000), (99_990, 100, 10), (99_999, 1, 1), (100_000, 5, 0), (5_000_000, 5, 0)]
    {
        let mut buffer = vec![0xEE; length];
        let count = sink.read_at(key, offset, &mut buffer, &cancel).expect("read").expect("there");
        assert_eq!(count, expected, "{offset}");
        let from = (offset as usize).min(bytes.len());
        assert!(buffer[..count] == bytes[from..from + count], "{offset}");
        assert!(buffer[count..].iter().all(|byte| *byte == 0xEE), "nothing is written past it");
    }
    assert_eq!(sink.read_at("no/such.mp4", 0, &mut [0], &cancel).expect("read"), None);
}

fn a_cancelled_handle_stops_it(sink: &dyn StreamSink) {
    let key = "cancelled/film.mp4";
    for size in [10, 20_000_000] {
        let cancel = Cancel::new();
        let mut writer =
            sink.begin(key, ObjectKind::Movie, size as u64, Writing::Once, &cancel).expect("begun");
        writer.write(&pattern(size)).expect("written");
        cancel.cancel();
        assert!(matches!(writer.write(b"more"), Err(SinkError::Cancelled)));
        assert!(matches!(writer.finish(), Err(SinkError::Cancelled)));
        assert!(matches!(
            sink.begin(key, ObjectKind::Movie, 1, Writing::Once, &cancel).map(drop),
            Err(SinkError::Cancelled)
        ));
        assert_eq!(sink.read(key, &Cancel::new()).expect("read"), None, "nothing was stored");
    }
}

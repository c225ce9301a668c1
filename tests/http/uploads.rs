//! Sources into the store: whole, in pieces, broken off and gone on with.

use crate::client::Answer;
use crate::server::Server;
use serde_json::json;
use std::time::{Duration, Instant};
use transcode_svc::http::Settings;

/// Bytes that are the same nowhere.
fn bytes(from: u64, count: usize) -> Vec<u8> {
    let word = |at: u64| at.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17).to_le_bytes();
    (from..).map(|at| word(at / 8)[usize::try_from(at % 8).unwrap()]).take(count).collect()
}

/// Kilobytes that this process ever had in memory at once, since it was last asked to forget.
fn most_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_large_upload_is_streamed_in_little_memory_and_stored_as_it_is() {
    const SIZE: usize = 256 << 20;
    let server = Server::plain();
    let block = bytes(0, 1 << 20);
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = most_memory();
    let length = SIZE.to_string();
    let mut sending =
        server.begin("POST", "/api/v1/sources?name=Spiel%207.mp4", &[("content-length", &length)]);
    for _ in 0..SIZE >> 20 {
        sending.send(&block).unwrap();
    }
    let answer = sending.finish().is(201).json();
    let grown = (most_memory() - before) >> 10;
    assert!(grown < 96, "{grown} MiB more for an upload of 256");
    assert_eq!(answer["complete"], true);
    assert_eq!(answer["offset"], SIZE);
    let key = answer["key"].as_str().unwrap();
    assert!(key.starts_with("uploads/") && key.ends_with("/Spiel_7.mp4"), "{key}");
    let stored = std::fs::read(server.store().join(key)).unwrap();
    assert_eq!(stored.len(), SIZE);
    assert!(stored.chunks(1 << 20).all(|chunk| chunk == block), "the bytes are others");
}

fn offset(answer: &Answer) -> u64 {
    answer.header("upload-offset").parse().unwrap_or_else(|_| panic!("{answer:?}"))
}

#[test]
fn a_broken_upload_goes_on_where_it_was() {
    const SIZE: usize = 21 << 20;
    let server = Server::plain();
    let whole = bytes(7, SIZE);
    let length = SIZE.to_string();
    let headers = [
        ("upload-length", length.as_str()),
        ("upload-metadata", "filename Z2FtZS5tcDQ="),
        ("tus-resumable", "1.0.0"),
    ];
    let begun = server.ask("POST", "/api/v1/sources", &headers, b"").is(201);
    let place = begun.header("location").to_owned();
    assert_eq!((offset(&begun), begun.header("tus-resumable")), (0, "1.0.0"));

    let patch = |at: u64, body: &[u8]| {
        let at = at.to_string();
        let headers = [("upload-offset", at.as_str()), ("content-type", "application/offset+octet-stream")];
        server.ask("PATCH", &place, &headers, body)
    };
    // Small pieces, as some clients send them.
    assert_eq!(offset(&patch(0, &whole[..1_000]).is(204)), 1_000);
    assert_eq!(offset(&patch(1_000, &whole[1_000..1_500]).is(204)), 1_500);
    // The connection breaks in the second part.
    let rest = (SIZE - 1_500).to_string();
    let headers = [
        ("upload-offset", "1500"),
        ("content-type", "application/offset+octet-stream"),
        ("content-length", rest.as_str()),
    ];
    let mut sending = server.begin("PATCH", &place, &headers);
    sending.send(&whole[1_500..12 << 20]).unwrap();
    drop(sending);
    let started = Instant::now();
    let at = loop {
        let head = server.ask("HEAD", &place, &[], b"").is(200);
        assert!(head.body.is_empty());
        assert_eq!(head.header("upload-length"), length);
        if offset(&head) > 1_500 || started.elapsed() > Duration::from_secs(10) {
            break offset(&head);
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(at >= 8 << 20, "what arrived is kept, the whole part at least: {at}");
    // The request that broke off may hold it a moment longer.
    let answer = loop {
        let at = offset(&server.ask("HEAD", &place, &[], b"").is(200));
        let answer = patch(at, &whole[usize::try_from(at).unwrap()..]);
        if !matches!(answer.status, 423 | 409) || started.elapsed() > Duration::from_secs(20) {
            break answer;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(offset(&answer.is(204)), SIZE as u64);
    let view = server.get(&place).is(200).json();
    assert_eq!(view["complete"], true);
    let key = view["key"].as_str().unwrap();
    assert!(key.ends_with("/game.mp4"), "{key}");
    assert!(std::fs::read(server.store().join(key)).unwrap() == whole, "the bytes are others");

    // Said again, it is done; from elsewhere it is refused.
    assert_eq!(offset(&patch(SIZE as u64, b"").is(204)), SIZE as u64);
    let problem = patch(5, b"x").problem(409, "offset");
    assert_eq!(problem["offset"], SIZE);
    server.ask("DELETE", &place, &[], b"").is(204);
    server.get(&place).problem(404, "not-found");
    assert!(server.store().join(key).exists(), "what is complete stays");
}

#[test]
fn uploads_have_limits_names_of_their_own_and_an_end() {
    let server = Server::with(Settings { upload_limit: 5_000_000, ..Settings::default() });
    server.ask("POST", "/api/v1/sources", &[("upload-length", "5000001")], b"").problem(413, "too-large");
    server.ask("POST", "/api/v1/sources", &[("content-length", "5000001")], b"").problem(413, "too-large");
    server.ask("POST", "/api/v1/sources", &[("upload-length", "many")], b"").problem(400, "wrong-request");
    // More than was said, and more than is taken where nothing was said.
    let begun = server.ask("POST", "/api/v1/sources?name=a.mp4", &[("upload-length", "10")], b"").is(201);
    let place = begun.header("location").to_owned();
    let headers = [("upload-offset", "0"), ("content-type", "application/offset+octet-stream")];
    server.ask("PATCH", &place, &headers, &[7; 11]).problem(413, "too-large");
    server.ask("PATCH", &place, &headers[..1], b"x").problem(415, "unsupported-media-type");
    server.ask("PATCH", &place, &headers[1..], b"x").problem(400, "wrong-request");
    let mut chunks = server.begin("POST", "/api/v1/sources", &[("transfer-encoding", "chunked")]);
    for _ in 0..6 {
        let _refused = chunks
            .send(b"f4240\r\n")
            .and_then(|()| chunks.send(&vec![0; 1_000_000]))
            .and_then(|()| chunks.send(b"\r\n"));
    }
    chunks.finish().problem(413, "too-large");
    // In chunks and small enough; also nothing at all.
    let mut chunks = server.begin("POST", "/api/v1/sources?name=b.mp4", &[("transfer-encoding", "chunked")]);
    chunks.send(b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n").unwrap();
    let answer = chunks.finish().is(201).json();
    assert_eq!(std::fs::read(server.store().join(answer["key"].as_str().unwrap())).unwrap(), b"hello world");
    let empty =
        server.ask("POST", "/api/v1/sources?name=e.mp4", &[("content-length", "0")], b"").is(201).json();
    assert_eq!((empty["complete"].as_bool(), empty["offset"].as_u64()), (Some(true), Some(0)));

    // Thrown away, nothing is left; other names lead nowhere.
    server.ask("DELETE", &place, &[], b"").is(204);
    let left: Vec<_> = std::fs::read_dir(server.store().join(".uploads"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".part"))
        .collect();
    assert_eq!(left, Vec::<String>::new());
    for wrong in ["..%2F..%2Ftranscode", "x", "0123456789abcdef0123456789abcdeg"] {
        server.get(&format!("/api/v1/sources/{wrong}")).problem(404, "not-found");
    }
    // A directory cannot be written to by others.
    server.post("/api/v1/sources/presign", "{}").problem(501, "not-offered");
    server.post("/api/v1/sources/presign", r#"{"expires_in":5}"#).problem(400, "wrong-request");
    let ready = server.get("/readyz").is(200).json();
    assert_eq!(ready, json!({"ready": true, "parts": {"ledger": "ok", "queue": "ok", "store": "ok"}}));
}

//! `transcode play`: a server on loopback.

use crate::support::{HANG, QUICK, Running, finish, run, small, transcode};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

/// Status, headers in lower case, body.
fn get(address: &str, path: &str) -> (u16, String, Vec<u8>) {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(HANG)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("an end of the headers");
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, head, answer[end + 4..].to_vec())
}

fn serve(dir: &Path, more: &[&str]) -> (Running, String) {
    let mut command = transcode(["play"]);
    command.arg(dir).args(more).current_dir(dir);
    let running = Running::start(command);
    let url = running.line();
    let address = url.strip_prefix("http://").and_then(|rest| rest.strip_suffix('/')).expect("a URL first");
    (running, address.to_owned())
}

#[test]
fn a_job_is_served_with_its_page_and_right_types() {
    let dir = tempfile::tempdir().unwrap();
    finish(run(&small(), dir.path(), &QUICK)).succeeded();
    let hls = dir.path().join("hls.js");
    std::fs::write(&hls, "var Hls = 1;").unwrap();
    let (running, address) = serve(dir.path(), &["--hls-js", hls.to_str().unwrap()]);
    for (path, kind) in [
        ("/", "text/html"),
        ("/player.js", "text/javascript"),
        ("/style.css", "text/css"),
        ("/hls.min.js", "text/javascript"),
        ("/master.m3u8", "application/x-mpegurl"),
        ("/low/playlist.m3u8", "application/x-mpegurl"),
        ("/low/00000.ts", "video/mp2t"),
        ("/report.json", "application/json"),
        ("/plan.json", "application/json"),
        ("/thumbnail.jpg", "image/jpeg"),
    ] {
        let (status, head, body) = get(&address, path);
        assert_eq!(status, 200, "{path}");
        assert!(head.contains(&format!("content-type: {kind}")), "{path}: {head}");
        assert!(head.contains("cache-control: no-cache"), "{path}: {head}");
        assert!(!body.is_empty(), "{path}");
    }
    let (_, _, body) = get(&address, "/low/00000.ts");
    assert_eq!(body, std::fs::read(dir.path().join("low/00000.ts")).unwrap());
    for path in ["/nothing.ts", "/../Cargo.toml", "/%2e%2e/%2e%2e/etc/passwd", "/low"] {
        let (status, _, _) = get(&address, path);
        assert!(status >= 300, "{path}: {status}");
    }
    running.signal("INT");
    running.finish().succeeded();
}

#[test]
fn a_job_that_has_not_begun_can_be_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let (running, address) = serve(dir.path(), &[]);
    assert_eq!(get(&address, "/").0, 200);
    assert_eq!(get(&address, "/master.m3u8").0, 404);
    assert_eq!(get(&address, "/hls.min.js").0, 404, "none was given");
    std::fs::write(dir.path().join("master.m3u8"), "#EXTM3U\n").unwrap();
    assert_eq!(get(&address, "/master.m3u8").0, 200);
    drop(running);
}

#[test]
fn what_cannot_be_served_is_refused() {
    finish(transcode(["play", "/does/not/exist"])).failed_in_one_line(2, &["/does/not/exist"]);
    let dir = tempfile::tempdir().unwrap();
    let mut command = transcode(["play"]);
    command.arg(dir.path()).args(["--hls-js", "/does/not/exist.js"]);
    finish(command).failed_in_one_line(2, &["/does/not/exist.js"]);
}

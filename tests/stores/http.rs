//! Videos behind HTTP: ranges, redirects, versions, and servers that are not up to it.

use super::conformance::{ends_soon_after_cancel, pattern, source_keeps_its_promises};
use super::web::{Reply, Web};
use super::{config, read_all, source, told};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use transcode_core::source::SourceError;
use transcode_core::{Cancel, Error, ErrorKind};
use transcode_svc::store::Stores;

fn stores(more: &[(&str, &str)]) -> Stores {
    let mut variables = vec![("TRANSCODE_CACHE_SIZE", "1MiB"), ("TRANSCODE_SOURCE_RETRY_TIME", "2s")];
    variables.extend_from_slice(more);
    Stores::new(&config(&variables)).unwrap()
}

#[test]
fn a_server_with_ranges_is_a_source_and_is_never_asked_with_head() {
    let bytes = pattern(2_000_003);
    let served = bytes.clone();
    let web = Web::start(move |_, request| Reply::range_of(request, &served, "\"v1\""));
    let url = format!("{}/a%20b.mp4?signature=abc#part", web.endpoint().replace("//", "//user:secret@"));
    let opened = source(&stores(&[]), &url).unwrap();
    assert_eq!(opened.identity().uri, format!("{}/a%20b.mp4", web.endpoint()));
    assert_eq!(opened.identity().version.as_deref(), Some("\"v1\""));
    source_keeps_its_promises(&opened, &bytes);
    for request in web.seen() {
        assert_eq!((request.method.as_str(), request.target.as_str()), ("GET", "/a%20b.mp4?signature=abc"));
        assert_eq!(request.header("accept-encoding"), Some("identity"));
        assert_eq!(request.header("authorization"), Some("Basic dXNlcjpzZWNyZXQ="));
    }
}

#[test]
fn a_server_that_says_no_is_the_inputs_fault_and_one_that_fails_the_stores() {
    for (reply, kind, words) in [
        (Reply::status(200, "everything"), ErrorKind::Input, "range requests"),
        (Reply::status(206, "x"), ErrorKind::Input, "does not tell the size"),
        (Reply::status(404, ""), ErrorKind::Input, "look at the URL"),
        (Reply::status(403, ""), ErrorKind::Input, "may not be read"),
        (Reply::status(418, ""), ErrorKind::Input, "does not give the file"),
        (Reply::status(503, ""), ErrorKind::Store, "times in 2."),
        (Reply::Drop, ErrorKind::Store, "the connection was lost"),
    ] {
        let what = format!("{reply:?}");
        let web = Web::start(move |_, _| reply.clone());
        let url = format!("{}/a.mp4?Signature=secret", web.endpoint());
        let error = source(&stores(&[]), &url).err().unwrap_or_else(|| panic!("{what} was let in"));
        assert_eq!(error.kind(), kind, "{what}: {}", error.chain());
        told(&error, &[words, "/a.mp4"]);
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        let asked = web.seen().len();
        assert_eq!(asked > 1, kind == ErrorKind::Store, "{what}: asked {asked} times");
    }
}

#[test]
fn redirects_are_followed_but_not_for_ever_and_not_to_plain_http_elsewhere() {
    let bytes = pattern(10_000);
    let served = bytes.clone();
    let web = Web::start(move |_, request| {
        let to = |place: &str| Reply::Answer {
            status: 302,
            headers: vec![("Location".to_owned(), place.to_owned())],
            body: Vec::new(),
        };
        match request.target.as_str() {
            "/start.mp4" => to("/middle.mp4?key=secret"),
            "/middle.mp4?key=secret" => to("/end.mp4"),
            "/end.mp4" => Reply::range_of(request, &served, "\"v1\""),
            "/away.mp4" => to("http://192.0.2.1/a.mp4?key=secret"),
            _ => to("/round.mp4"),
        }
    });
    let stores = stores(&[]);
    let opened = source(&stores, &format!("{}/start.mp4", web.endpoint())).unwrap();
    assert_eq!(read_all(&*opened), bytes);
    assert_eq!(opened.identity().uri, format!("{}/start.mp4", web.endpoint()), "what the user gave");
    for (target, words) in [("away.mp4", "plain HTTP"), ("round.mp4", "more than 10 times")] {
        let error = source(&stores, &format!("{}/{target}", web.endpoint())).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Input, "{}", error.chain());
        told(&error, &[words]);
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    }
}

#[test]
fn another_version_or_size_on_the_way_is_told() {
    for changed_size in [false, true] {
        let (one, mut two) = (pattern(3 << 20), pattern(3 << 20));
        if changed_size {
            two.push(1);
        }
        let changed = Arc::new(AtomicBool::new(false));
        let now = Arc::clone(&changed);
        let web = Web::start(move |_, request| match now.load(Ordering::SeqCst) {
            false => Reply::range_of(request, &one, "\"v1\""),
            true => Reply::range_of(request, &two, if changed_size { "\"v1\"" } else { "\"v2\"" }),
        });
        let opened = source(&stores(&[]), &format!("{}/a.mp4", web.endpoint())).unwrap();
        opened.read_at(0, &mut [0; 10], &Cancel::new()).unwrap();
        changed.store(true, Ordering::SeqCst);
        let error = opened.read_at(2 << 20, &mut [0; 10], &Cancel::new()).unwrap_err();
        assert!(matches!(error, SourceError::Changed { .. }), "{error}");
    }
}

#[test]
fn an_answer_that_breaks_off_is_continued() {
    let bytes = pattern(500_000);
    let served = bytes.clone();
    let web = Web::start(move |index, request| match (index, Reply::range_of(request, &served, "\"v1\"")) {
        (1, Reply::Answer { status, headers, body }) => Reply::Cut { status, headers, body, after: 30_000 },
        (_, reply) => reply,
    });
    let opened = source(&stores(&[]), &format!("{}/a.mp4", web.endpoint())).unwrap();
    assert!(read_all(&*opened) == bytes);
    let again = web.seen()[2].range().unwrap();
    assert!((1..=30_000).contains(&again.0), "{again:?}");
}

#[test]
fn an_empty_file_is_a_source_of_no_bytes() {
    let web = Web::start(|_, request| Reply::range_of(request, b"", "\"v1\""));
    let opened = source(&stores(&[]), &format!("{}/a.mp4", web.endpoint())).unwrap();
    assert_eq!(opened.size(), 0);
    assert_eq!(read_all(&*opened), b"");
}

#[test]
fn a_slow_server_is_left_soon_after_cancel() {
    let bytes = pattern(3 << 20);
    let web = Arc::new(Web::start(move |index, request| {
        if index == 0 { Reply::range_of(request, &bytes, "\"v1\"") } else { Reply::Silence }
    }));
    let opened = source(&stores(&[]), &format!("{}/a.mp4", web.endpoint())).unwrap();
    let result = ends_soon_after_cancel(Duration::from_millis(300), move |cancel| {
        opened.read_at(5, &mut [0; 10], &cancel)
    });
    assert!(matches!(result, Err(SourceError::Cancelled)), "{result:?}");
}

#[test]
fn plain_http_beyond_loopback_needs_to_be_allowed() {
    let url = "http://192.0.2.1/a.mp4";
    let error = source(&stores(&[]), url).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Usage);
    told(&error, &["source.allow-http"]);
    // Allowed, it is tried; that address answers nobody (RFC 5737).
    let allowed = stores(&[
        ("TRANSCODE_SOURCE_ALLOW_HTTP", "true"),
        ("TRANSCODE_SOURCE_CONNECT_TIMEOUT", "100ms"),
        ("TRANSCODE_SOURCE_RETRY_TIME", "0s"),
    ]);
    let error: Error = source(&allowed, url).err().unwrap();
    assert_ne!(error.kind(), ErrorKind::Usage, "{}", error.chain());
}

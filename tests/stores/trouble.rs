//! Stores in trouble: killed, silent, lying, losing answers, and objects that change.

use super::conformance::{ends_soon_after_cancel, pattern};
use super::servers::Minio;
use super::web::{Reply, Web, forward};
use super::{read_all, sink, source, stores_at, told};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use transcode_core::sink::{Created, ObjectKind, SinkError};
use transcode_core::source::SourceError;
use transcode_core::{Cancel, Error, ErrorKind};

#[test]
fn a_store_that_is_killed_amid_uploads_and_comes_back_loses_nothing() {
    let server = Minio::start();
    server.create_bucket("killed");
    let stores = stores_at(&server.endpoint(), &[]);
    let out = sink(&stores, "s3://killed/job").unwrap();
    let stored = AtomicUsize::new(0);
    let bytes = |index: usize| vec![index as u8; (2 << 20) + index];
    let key = |index: usize| format!("720p/{index:05}.ts");
    std::thread::scope(|scope| {
        let uploads: Vec<_> = (0..3)
            .map(|first| {
                let (out, stored) = (&out, &stored);
                scope.spawn(move || {
                    for index in (first..18).step_by(3) {
                        let created = out
                            .create(&key(index), ObjectKind::Segment, &bytes(index), &Cancel::new())
                            .unwrap_or_else(|error| panic!("{index}: {error}"));
                        assert_eq!(created, Created::New, "{index}: ours, whichever try it was");
                        stored.fetch_add(1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        while stored.load(Ordering::SeqCst) < 4 {
            std::thread::sleep(Duration::from_millis(1));
        }
        server.kill();
        std::thread::sleep(Duration::from_millis(500));
        assert!(uploads.iter().any(|thread| !thread.is_finished()), "some were still to come");
        server.start_again();
    });
    for index in 0..18 {
        let got = server.get("killed", &format!("job/{}", key(index)));
        assert!(got.body == bytes(index), "{index}: {} bytes", got.body.len());
    }
}

#[test]
fn a_store_that_never_comes_back_is_given_up_within_the_bound() {
    let server = Minio::start();
    server.create_bucket("gone");
    server.put("gone", "a.mp4", &pattern(5 << 20));
    let stores = stores_at(&server.endpoint(), &[("TRANSCODE_STORE_RETRY_TIME", "2s")]);
    let out = sink(&stores, "s3://gone/job").unwrap();
    let input = source(&stores, "s3://gone/a.mp4").unwrap();
    server.kill();
    let started = Instant::now();
    let error = out.create("a.ts", ObjectKind::Segment, &[1; 100], &Cancel::new()).unwrap_err();
    assert!(matches!(error, SinkError::Unavailable { .. }), "{error}");
    let took = started.elapsed();
    assert!((2.0..30.0).contains(&took.as_secs_f64()), "{took:?}");
    let error = Error::from(error);
    assert_eq!(error.kind(), ErrorKind::Store);
    told(&error, &["s3://gone/job/a.ts", " times in 2.", "cannot connect", "refused"]);

    let error = input.read_at(0, &mut [0; 10], &Cancel::new()).unwrap_err();
    assert!(matches!(error, SourceError::Unavailable { .. }), "{error}");
    assert_eq!(Error::from(error).kind(), ErrorKind::Store, "it had been opened");
    let error = sink(&stores, "s3://gone/other").err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Store);
    let error = source(&stores, "s3://gone/other").err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Store);
}

#[test]
fn a_lost_answer_to_a_create_is_found_out_to_be_ours() {
    let server = Minio::shared();
    server.create_bucket("lost");
    let address = server.address();
    // The first PUT arrives, its answer does not.
    let lost = AtomicBool::new(false);
    let web = Web::before(address, move |_, request| {
        if request.method == "PUT" && !lost.swap(true, Ordering::SeqCst) {
            let _answer = forward(request, address);
            return Some(Reply::Drop);
        }
        None
    });
    let stores = stores_at(&web.endpoint(), &[]);
    let out = sink(&stores, "s3://lost/job").unwrap();
    let cancel = Cancel::new();
    assert_eq!(out.create("a.ts", ObjectKind::Segment, b"ours", &cancel).unwrap(), Created::New);
    assert_eq!(out.create("a.ts", ObjectKind::Segment, b"other", &cancel).unwrap(), Created::Existed);
    assert_eq!(server.get("lost", "job/a.ts").body, b"ours");
}

#[test]
fn a_busy_store_is_asked_again_after_the_pause_it_wants() {
    let server = Minio::shared();
    server.create_bucket("busy");
    let web = Web::before(server.address(), |index, request| match (index, request.method.as_str()) {
        (1, "PUT") => Some(Reply::s3_error(503, "SlowDown")),
        (2, "PUT") => Some(Reply::Answer {
            status: 429,
            headers: vec![("Retry-After".to_owned(), "0".to_owned())],
            body: Vec::new(),
        }),
        (3, "PUT") => Some(Reply::s3_error(409, "ConditionalRequestConflict")),
        (4, "PUT") => Some(Reply::s3_error(400, "RequestTimeout")),
        _ => None,
    });
    let stores = stores_at(&web.endpoint(), &[]);
    let out = sink(&stores, "s3://busy/job").unwrap();
    let created = out.create("a.ts", ObjectKind::Segment, b"ours", &Cancel::new()).unwrap();
    assert_eq!(created, Created::New);
    let puts = web.seen().iter().filter(|request| request.method == "PUT").count();
    assert_eq!(puts, 6, "four refused, one done, one look at If-None-Match");
}

/// A store without If-None-Match, made from MinIO: an open bucket, so that nothing is signed, and a
/// server in front that takes the header away, or refuses it.
fn without_conditions(bucket: &str, refuse: Option<(u16, &'static str)>) {
    let server = Minio::shared();
    server.create_bucket(bucket);
    server.allow_everybody(bucket, &["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]);
    let address = server.address();
    let web = Web::start(move |_, request| {
        let mut request = request.clone();
        let condition = request.headers.remove("if-none-match");
        match (condition, refuse) {
            (Some(_), Some((status, code))) => Reply::s3_error(status, code),
            _ => forward(&request, address),
        }
    });
    let stores = stores_at(&web.endpoint(), &[("TRANSCODE_STORE_ANONYMOUS", "true")]);
    let out = sink(&stores, &format!("s3://{bucket}/job")).unwrap();
    let cancel = Cancel::new();
    for key in ["a.ts", "b.ts"] {
        assert_eq!(out.create(key, ObjectKind::Segment, b"first", &cancel).unwrap(), Created::New);
        assert_eq!(out.create(key, ObjectKind::Segment, b"second", &cancel).unwrap(), Created::Existed);
        assert_eq!(server.get(bucket, &format!("job/{key}")).body, b"first");
    }
    let seen = web.seen();
    let with_condition = seen.iter().filter(|request| request.header("if-none-match").is_some()).count();
    let asked = if refuse.is_some() { 1 } else { 2 };
    assert_eq!(with_condition, asked, "found out with the first object, then remembered");
    let again = sink(&stores, &format!("s3://{bucket}/other")).unwrap();
    assert_eq!(again.create("a.ts", ObjectKind::Segment, b"x", &cancel).unwrap(), Created::New);
    let seen = web.seen();
    let with_condition = seen.iter().filter(|request| request.header("if-none-match").is_some()).count();
    assert_eq!(with_condition, asked, "remembered for the bucket");
}

#[test]
fn a_store_that_ignores_if_none_match_is_found_out_and_looked_up_first() {
    without_conditions("ignores", None);
}

#[test]
fn a_store_that_refuses_if_none_match_is_looked_up_first() {
    without_conditions("refuses", Some((501, "NotImplemented")));
}

#[test]
fn an_object_that_changes_or_goes_while_it_is_read_is_told() {
    let server = Minio::shared();
    server.create_bucket("changes");
    let big = pattern(5 << 20);
    let stores = stores_at(&server.endpoint(), &[("TRANSCODE_CACHE_SIZE", "1MiB")]);
    let cancel = Cancel::new();
    // The same size, another size, and gone.
    for then in [Some(vec![9; 5 << 20]), Some(vec![9; 100]), None] {
        server.put("changes", "a.mp4", &big);
        let input = source(&stores, "s3://changes/a.mp4").unwrap();
        let mut start = [0; 100];
        input.read_at(0, &mut start, &cancel).unwrap();
        match &then {
            Some(bytes) => server.put("changes", "a.mp4", bytes),
            None => sink(&stores, "s3://changes").unwrap().remove("a.mp4", &cancel).unwrap(),
        }
        let error = input.read_at(4 << 20, &mut start, &cancel).unwrap_err();
        assert!(matches!(error, SourceError::Changed { .. }), "{error}");
        assert_eq!(Error::from(error).kind(), ErrorKind::Input);
    }
}

#[test]
fn a_changed_object_is_told_even_where_if_match_is_ignored() {
    let changed = Arc::new(AtomicBool::new(false));
    let now = Arc::clone(&changed);
    let bytes = pattern(3 << 20);
    let web = Web::start(move |_, request| {
        let etag = if now.load(Ordering::SeqCst) { "\"two\"" } else { "\"one\"" };
        Reply::range_of(request, &bytes, etag)
    });
    let stores = stores_at(&web.endpoint(), &[("TRANSCODE_CACHE_SIZE", "1MiB")]);
    let input = source(&stores, "s3://bucket/a.mp4").unwrap();
    input.read_at(0, &mut [0; 10], &Cancel::new()).unwrap();
    changed.store(true, Ordering::SeqCst);
    let error = input.read_at(2 << 20, &mut [0; 10], &Cancel::new()).unwrap_err();
    assert!(matches!(error, SourceError::Changed { .. }), "{error}");
}

#[test]
fn a_read_that_breaks_off_goes_on_where_it_stopped() {
    let server = Minio::shared();
    server.create_bucket("breaks");
    let bytes = pattern(900_000);
    server.put("breaks", "a.mp4", &bytes);
    let (address, whole) = (server.address(), bytes.clone());
    let web = Web::start(move |index, request| match request.range() {
        Some((first, last)) if index == 1 => Reply::Cut {
            status: 206,
            headers: vec![
                ("Content-Range".to_owned(), format!("bytes {first}-{last}/900000")),
                ("ETag".to_owned(), ETAG.get().unwrap().clone()),
            ],
            body: whole[first..=last].to_vec(),
            after: 250_000,
        },
        _ => forward(request, address),
    });
    static ETAG: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    ETAG.set(server.get("breaks", "a.mp4").headers["etag"].clone()).unwrap();
    let stores = stores_at(&web.endpoint(), &[]);
    let input = source(&stores, "s3://breaks/a.mp4").unwrap();
    assert!(read_all(&*input) == bytes);
    let ranges: Vec<_> = web.seen().iter().filter_map(super::web::Request::range).collect();
    assert_eq!(ranges[1].0, 0);
    // How much of the cut answer came through is the network's affair; that it is not asked for again
    // is ours.
    assert!((1..=250_000).contains(&ranges[2].0), "{ranges:?}");
}

#[test]
fn a_silent_store_is_left_soon_after_cancel() {
    let silent = Arc::new(AtomicBool::new(false));
    let now = Arc::clone(&silent);
    let bytes = pattern(3 << 20);
    let web = Arc::new(Web::start(move |_, request| {
        if now.load(Ordering::SeqCst) {
            return Reply::Silence;
        }
        if request.target.contains("plan.json") {
            return Reply::s3_error(404, "NoSuchKey");
        }
        Reply::range_of(request, &bytes, "\"e\"")
    }));
    let stores = Arc::new(stores_at(&web.endpoint(), &[]));
    let out = sink(&stores, "s3://bucket/job").unwrap();
    let input = source(&stores, "s3://bucket/a.mp4").unwrap();
    silent.store(true, Ordering::SeqCst);
    let wait = Duration::from_millis(300);
    let result = ends_soon_after_cancel(wait, {
        let out = Arc::clone(&out);
        move |cancel| out.create("a.ts", ObjectKind::Segment, &[1; 1000], &cancel)
    });
    assert!(matches!(result, Err(SinkError::Cancelled)), "{result:?}");
    let result = ends_soon_after_cancel(wait, move |cancel| out.read("a", &cancel).map(drop));
    assert!(matches!(result, Err(SinkError::Cancelled)), "{result:?}");
    let result = ends_soon_after_cancel(wait, move |cancel| input.read_at(2 << 20, &mut [0; 10], &cancel));
    assert!(matches!(result, Err(SourceError::Cancelled)), "{result:?}");
    let opening = Arc::clone(&stores);
    let result =
        ends_soon_after_cancel(wait, move |cancel| opening.open_sink("s3://bucket/2", &cancel).map(drop));
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Interrupted);
}

#[test]
fn a_silent_store_is_given_up_after_its_time() {
    let web = Web::start(|_, _| Reply::Silence);
    let quick = [("TRANSCODE_STORE_REQUEST_TIMEOUT", "1s"), ("TRANSCODE_STORE_RETRY_TIME", "0s")];
    let stores = stores_at(&web.endpoint(), &quick);
    let error = sink(&stores, "s3://bucket/job").err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Store);
    told(&error, &["tried 1 time", "no answer within 1 s"]);
}

#[test]
fn waiting_for_a_dead_store_ends_soon_after_cancel() {
    let server = Minio::start();
    server.create_bucket("dead");
    let stores = stores_at(&server.endpoint(), &[]);
    let out = sink(&stores, "s3://dead/job").unwrap();
    server.kill();
    // Amid the pauses between tries, of several seconds by then.
    let result = ends_soon_after_cancel(Duration::from_secs(3), move |cancel| {
        out.create("a.ts", ObjectKind::Segment, &[1; 1000], &cancel)
    });
    assert!(matches!(result, Err(SinkError::Cancelled)), "{result:?}");
}

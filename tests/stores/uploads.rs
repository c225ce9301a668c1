//! Large objects into real S3 servers: parts, their order, their end, and what is left when it fails.

use super::conformance::pattern;
use super::pieces::{stream_sink_keeps_its_promises, write};
use super::servers::{Minio, S3Server, Versity};
use super::web::{Reply, Web, forward};
use super::{stores_at, told};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use transcode_core::sink::{Created, ObjectKind, SinkError, StreamSink, Writing};
use transcode_core::{Cancel, ErrorKind};
use transcode_svc::store::Stores;

/// Three parts and a little.
const LARGE: usize = (24 << 20) + 70_001;

fn open(stores: &Stores, dest: &str) -> Arc<dyn StreamSink> {
    stores.open_stream_sink(dest, &Cancel::new()).unwrap()
}

/// Uploads that were begun and are neither finished nor taken back.
fn nothing_is_left(server: &S3Server, bucket: &str) {
    let unfinished = server.unfinished(bucket);
    assert!(!unfinished.contains("<UploadId>"), "{unfinished}");
}

fn conforms(server: &S3Server) {
    server.create_bucket("pieces");
    let stores = stores_at(&server.endpoint(), &[]);
    let out = open(&stores, "s3://pieces/job 1");
    stream_sink_keeps_its_promises(&*out);
    nothing_is_left(server, "pieces");
    for (key, size) in [("small.mp4", 10), ("large.mp4", LARGE)] {
        let bytes = pattern(size);
        assert_eq!(write(&*out, key, &bytes, Writing::Once).unwrap(), Created::New);
        let got = server.get("pieces", &format!("job 1/{key}"));
        assert!(got.body == bytes);
        assert_eq!(got.headers["content-type"], "video/mp4");
        assert_eq!(got.headers["cache-control"], ObjectKind::Movie.cache_control());
    }
}

#[test]
fn minio_takes_objects_in_pieces() {
    conforms(&Minio::start());
}

#[test]
fn versitygw_takes_objects_in_pieces() {
    conforms(&Versity::start());
}

fn is_part(request: &super::web::Request) -> bool {
    request.method == "PUT" && request.target.contains("partNumber=")
}

#[test]
fn a_few_parts_go_side_by_side_and_no_more() {
    let server = Minio::start();
    server.create_bucket("parts");
    let (now, most, address) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)), server.address());
    let seen = Arc::clone(&most);
    let web = Web::before(address, move |_, request| {
        is_part(request).then(|| {
            seen.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(150));
            let reply = forward(request, address);
            now.fetch_sub(1, Ordering::SeqCst);
            reply
        })
    });
    let out = open(&stores_at(&web.endpoint(), &[]), "s3://parts/job");
    let bytes = pattern(80 << 20);
    assert_eq!(write(&*out, "film.mp4", &bytes, Writing::Once).unwrap(), Created::New);
    assert!(server.get("parts", "job/film.mp4").body == bytes);
    let most = most.load(Ordering::SeqCst);
    assert!((2..=4).contains(&most), "{most} parts under way");
}

#[test]
fn a_busy_store_gets_the_part_again_and_a_lost_answer_is_found_out() {
    let server = Minio::start();
    server.create_bucket("busy");
    let address = server.address();
    let (refused, lost) = (AtomicUsize::new(0), AtomicBool::new(false));
    let web = Web::before(address, move |_, request| {
        if is_part(request) && refused.fetch_add(1, Ordering::SeqCst) < 3 {
            return Some(Reply::s3_error(503, "SlowDown"));
        }
        // The end arrives, its answer does not.
        let ends = request.method == "POST" && request.target.contains("uploadId=");
        if ends && !lost.swap(true, Ordering::SeqCst) {
            let _answer = forward(request, address);
            return Some(Reply::Drop);
        }
        None
    });
    let out = open(&stores_at(&web.endpoint(), &[]), "s3://busy/job");
    let bytes = pattern(LARGE);
    assert_eq!(write(&*out, "film.mp4", &bytes, Writing::Once).unwrap(), Created::New);
    assert!(server.get("busy", "job/film.mp4").body == bytes);
    nothing_is_left(&server, "busy");
}

#[test]
fn an_upload_that_is_refused_leaves_neither_object_nor_parts() {
    let server = Minio::start();
    server.create_bucket("refused");
    type Refused = fn(&super::web::Request) -> bool;
    let rules: [(&str, Refused); 3] = [
        ("the beginning", |request| request.method == "POST" && request.target.contains("uploads")),
        ("a part", |request| is_part(request) && request.target.contains("partNumber=2")),
        ("the end", |request| request.method == "POST" && request.target.contains("uploadId=")),
    ];
    for (what, rule) in rules {
        let web = Web::before(server.address(), move |_, request| {
            rule(request).then(|| Reply::s3_error(403, "AccessDenied"))
        });
        let out = open(&stores_at(&web.endpoint(), &[]), "s3://refused/job");
        let error = write(&*out, "film.mp4", &pattern(LARGE), Writing::Once).unwrap_err();
        let error = transcode_core::Error::from(error);
        assert_eq!(error.kind(), ErrorKind::Store, "{what}");
        told(&error, &["s3://refused/job/film.mp4", "may not write there", "AccessDenied"]);
        assert_eq!(server.get("refused", "job/film.mp4").status, 404, "{what}");
        nothing_is_left(&server, "refused");
    }
}

#[test]
fn a_store_that_is_gone_is_given_up_and_an_interruption_is_soon() {
    let server = Minio::start();
    server.create_bucket("gone");
    let stores = stores_at(&server.endpoint(), &[("TRANSCODE_STORE_RETRY_TIME", "1s")]);
    let out = open(&stores, "s3://gone/job");
    let begin = |cancel: &Cancel| {
        let mut writer =
            out.begin("film.mp4", ObjectKind::Movie, LARGE as u64, Writing::Once, cancel).unwrap();
        writer.write(&pattern(LARGE)).unwrap();
        writer
    };
    let cancel = Cancel::new();
    let writer = begin(&cancel);
    cancel.cancel();
    assert!(matches!(writer.finish(), Err(SinkError::Cancelled)));
    nothing_is_left(&server, "gone");
    let writer = begin(&Cancel::new());
    server.kill();
    let error = writer.finish().unwrap_err();
    assert!(matches!(error, SinkError::Unavailable { .. }), "{error}");
}

#[test]
fn a_job_that_is_not_there_is_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let stores = Stores::new(&super::config(&[])).unwrap();
    let missing = dir.path().join("nothing");
    let error = stores.open_job(missing.to_str().unwrap(), &Cancel::new()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Input);
    told(&error, &["nothing", "not the destination of a job"]);
    assert!(!missing.exists());
}

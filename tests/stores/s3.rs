//! The two S3 servers as they are: conformance, content types, what is asked for and what is not.

use super::conformance::{
    Race, of_many_at_once, pattern, sink_keeps_its_promises, source_keeps_its_promises,
};
use super::servers::{Minio, S3Server, Versity};
use super::web::{Reply, Web, forward};
use super::{read_all, sink, source, stores_at, told};
use std::sync::Arc;
use transcode_core::platform::Platform;
use transcode_core::run::{JobEvent, Options, Origin};
use transcode_core::sink::{Created, ObjectKind};
use transcode_core::source::FileSource;
use transcode_core::spec::{JobSpec, Profile};
use transcode_core::{Cancel, ErrorKind};

fn conforms(server: &S3Server, bucket: &str, race: Race) {
    server.create_bucket(bucket);
    let stores = stores_at(&server.endpoint(), &[]);
    for prefix in ["", "/job 1/ö+&"] {
        let dest = format!("s3://{bucket}{prefix}");
        let opened = sink(&stores, &dest).unwrap();
        assert_eq!(opened.location(), format!("{dest}/"));
        sink_keeps_its_promises(&*opened, race);
    }

    let bytes = pattern(2_500_001);
    let key = "in put/ä+%41 [1]?.mp4";
    sink(&stores, &format!("s3://{bucket}"))
        .unwrap()
        .create(key, ObjectKind::Segment, &bytes, &Cancel::new())
        .unwrap();
    let small = stores_at(&server.endpoint(), &[("TRANSCODE_CACHE_SIZE", "1MiB")]);
    let opened = source(&small, &format!("s3://{bucket}/{key}"));
    // The suite looks for queries by their `?`; here it is part of the key.
    let plain = format!("s3://{bucket}/plain.mp4");
    assert_eq!(opened.unwrap().size(), bytes.len() as u64);
    server.put(bucket, "plain.mp4", &bytes);
    let opened = source(&small, &plain).unwrap();
    assert_eq!(opened.identity().uri, plain);
    assert!(opened.identity().version.is_some());
    source_keeps_its_promises(&opened, &bytes);
}

#[test]
fn minio_is_a_sink_and_a_source() {
    conforms(&Minio::shared(), "conformance", Race::OneWins);
}

#[test]
fn versitygw_is_a_sink_and_a_source() {
    // Its directory backend checks If-None-Match before it takes the bytes, not when it links them.
    conforms(&Versity::shared(), "conformance", Race::SomeWin);
}

#[test]
fn objects_carry_their_content_type_and_cache_rule() {
    let (minio, versity) = (Minio::shared(), Versity::shared());
    for server in [&minio, &versity] {
        server.create_bucket("types");
        let stores = stores_at(&server.endpoint(), &[]);
        let out = sink(&stores, "s3://types/job").unwrap();
        for (kind, create) in [
            (ObjectKind::Segment, true),
            (ObjectKind::LivePlaylist, false),
            (ObjectKind::FinalPlaylist, false),
            (ObjectKind::Image, true),
            (ObjectKind::Document, true),
            (ObjectKind::Movie, true),
        ] {
            let cancel = Cancel::new();
            if create {
                assert_eq!(out.create("object", kind, b"x", &cancel).unwrap(), Created::New);
            } else {
                out.replace("object", kind, b"x", &cancel).unwrap();
            }
            let got = server.get("types", "job/object");
            assert_eq!(got.status, 200);
            assert_eq!(got.headers["content-type"], kind.content_type(), "{kind:?}");
            assert_eq!(got.headers["cache-control"], kind.cache_control(), "{kind:?}");
            out.remove("object", &cancel).unwrap();
        }
    }
}

#[test]
fn what_is_not_there_and_what_is_not_allowed_is_told_when_it_is_opened() {
    let (minio, versity) = (Minio::shared(), Versity::shared());
    for server in [&minio, &versity] {
        server.create_bucket("opening");
        server.put("opening", "a.mp4", b"bytes");
        let stores = stores_at(&server.endpoint(), &[]);

        let error = sink(&stores, "s3://no-such-bucket/x").err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Store, "{}", error.chain());
        told(&error, &["there is no bucket `no-such-bucket`"]);
        let error = source(&stores, "s3://no-such-bucket/x.mp4").err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Input, "{}", error.chain());
        told(&error, &["there is no bucket `no-such-bucket`"]);
        let error = source(&stores, "s3://opening/b.mp4").err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Input, "{}", error.chain());
        told(&error, &["s3://opening/b.mp4", "no such object"]);

        for (key, secret, words) in [
            ("nobody", super::servers::SECRET_KEY, "look at access-key-id"),
            (super::servers::ACCESS_KEY, "wrong-secret", "look at secret-access-key"),
        ] {
            let wrong =
                [("TRANSCODE_STORE_ACCESS_KEY_ID", key), ("TRANSCODE_STORE_SECRET_ACCESS_KEY", secret)];
            let wrong = stores_at(&server.endpoint(), &wrong);
            let error = sink(&wrong, "s3://opening/x").err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Store, "{}", error.chain());
            told(&error, &[words]);
            assert!(!error.chain().contains("wrong-secret"));
            let error = source(&wrong, "s3://opening/a.mp4").err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Input, "{}", error.chain());
            told(&error, &[words]);
        }
    }
}

#[test]
fn an_empty_object_is_a_source_of_no_bytes() {
    let (minio, versity) = (Minio::shared(), Versity::shared());
    for server in [&minio, &versity] {
        server.create_bucket("empty");
        server.put("empty", "a.mp4", b"");
        let opened = source(&stores_at(&server.endpoint(), &[]), "s3://empty/a.mp4").unwrap();
        assert_eq!(opened.size(), 0);
        assert_eq!(opened.read_at(0, &mut [0; 5], &Cancel::new()).unwrap(), 0);
    }
}

#[test]
fn keys_that_may_only_get_and_put_are_enough() {
    let server = Minio::shared();
    server.create_bucket("get-put");
    server.allow_everybody("get-put", &["s3:GetObject", "s3:PutObject"]);
    // AWS tells who may not list 403 for what is missing; MinIO tells 404. In front of it, as AWS does.
    let address = server.address();
    let web = Web::start(move |_, request| match forward(request, address) {
        Reply::Raw(bytes) if bytes.starts_with(b"HTTP/1.1 404") => Reply::s3_error(403, "AccessDenied"),
        other => other,
    });
    let stores = stores_at(&web.endpoint(), &[("TRANSCODE_STORE_ANONYMOUS", "true")]);
    let cancel = Cancel::new();
    let out = sink(&stores, "s3://get-put/job").unwrap();
    assert_eq!(out.read("plan.json", &cancel).unwrap(), None);
    assert_eq!(out.size_of("plan.json", &cancel).unwrap(), None);
    assert_eq!(out.create("plan.json", ObjectKind::Document, b"1", &cancel).unwrap(), Created::New);
    assert_eq!(out.create("plan.json", ObjectKind::Document, b"22", &cancel).unwrap(), Created::Existed);
    assert_eq!(out.read("plan.json", &cancel).unwrap().unwrap(), b"1");
    assert_eq!(out.size_of("plan.json", &cancel).unwrap(), Some(1));
    out.replace("master.m3u8", ObjectKind::LivePlaylist, b"m", &cancel).unwrap();
    of_many_at_once(&*out, Race::OneWins);
    let opened = source(&stores, "s3://get-put/job/plan.json").unwrap();
    assert_eq!(read_all(&*opened), b"1");

    let error = transcode_core::Error::from(out.remove("plan.json", &cancel).unwrap_err());
    assert_eq!(error.kind(), ErrorKind::Store);
    told(&error, &["s3://get-put/job/plan.json", "may not remove"]);
    server.create_bucket("get-only");
    server.allow_everybody("get-only", &["s3:GetObject"]);
    let out = sink(&stores, "s3://get-only/job").unwrap();
    let error = out.create("plan.json", ObjectKind::Document, b"1", &cancel).unwrap_err();
    told(&error.into(), &["may not write", "AccessDenied"]);
}

#[test]
fn keys_that_may_only_get_and_put_carry_a_job_over_a_crash() {
    let server = Minio::shared();
    server.create_bucket("get-put-job");
    server.allow_everybody("get-put-job", &["s3:GetObject", "s3:PutObject"]);
    let address = server.address();
    let web = Web::start(move |_, request| match forward(request, address) {
        Reply::Raw(bytes) if bytes.starts_with(b"HTTP/1.1 404") => Reply::s3_error(403, "AccessDenied"),
        other => other,
    });
    let stores = stores_at(&web.endpoint(), &[("TRANSCODE_STORE_ANONYMOUS", "true")]);
    let out = || sink(&stores, "s3://get-put-job/job").unwrap();
    assert_eq!(out().list(&Cancel::new()).unwrap(), None, "these keys may not list");

    let clip = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/media/gopro-karma.mp4");
    let clip = || Arc::new(FileSource::open(clip).unwrap());
    let platform = Platform::builtin("software").unwrap();
    let info = transcode_core::probe(clip(), &platform, &Cancel::new()).unwrap();
    let mut spec = JobSpec::new(Profile::builtin("match").unwrap());
    spec.profile.segment = "2s".parse().unwrap();
    spec.profile.encoding.key_interval = spec.profile.segment;
    let plan = transcode_core::plan(&info, &spec, &platform).unwrap();
    let start = || transcode_core::start(plan.clone(), platform.clone(), clip(), out(), Options::default());
    let stored = |event: &JobEvent| matches!(event, JobEvent::Segment(_));
    let mut job = start().unwrap();
    assert_eq!((&mut job).filter(stored).take(2).count(), 2);
    drop(job);
    let report = start().unwrap().wait().unwrap();
    let resumed = report.rungs[0].segments.iter().filter(|row| row.origin == Origin::Resumed).count();
    assert!((2..7).contains(&resumed), "{resumed} of 7 were there");
    assert!(start().unwrap().wait().is_ok(), "verified, and left as it is");
}

#[test]
fn checksums_are_sent_only_when_asked_for() {
    let server = Minio::shared();
    server.create_bucket("checksums");
    for (wanted, sent) in [("none", false), ("sha256", true)] {
        let web = Web::before(server.address(), |_, _| None);
        let stores = stores_at(&web.endpoint(), &[("TRANSCODE_STORE_CHECKSUM", wanted)]);
        let out = sink(&stores, &format!("s3://checksums/{wanted}")).unwrap();
        let cancel = Cancel::new();
        assert_eq!(out.create("a.ts", ObjectKind::Segment, b"bytes", &cancel).unwrap(), Created::New);
        out.replace("b.m3u8", ObjectKind::LivePlaylist, b"bytes", &cancel).unwrap();
        let puts: Vec<_> = web.seen().into_iter().filter(|request| request.method == "PUT").collect();
        assert_eq!(puts.len(), 3, "two objects, and one look at If-None-Match");
        for put in puts {
            let checksums: Vec<_> = put.headers.keys().filter(|name| name.contains("checksum")).collect();
            assert_eq!(checksums.iter().any(|name| *name == "x-amz-checksum-sha256"), sent, "{checksums:?}");
            assert!(sent || checksums.is_empty(), "{checksums:?}");
        }
    }
}

#[test]
fn a_bucket_in_the_hosts_name_is_asked_there() {
    let server = Minio::shared();
    server.create_bucket("virtual");
    // Names under localhost lead to this machine; the server sees which was asked.
    let web = Web::start(|_, _| super::web::Reply::s3_error(404, "NoSuchKey"));
    let endpoint = web.endpoint().replace("127.0.0.1", "localhost");
    let stores = stores_at(&endpoint, &[("TRANSCODE_STORE_PATH_STYLE", "false")]);
    match sink(&stores, "s3://virtual/job") {
        Ok(_) => {
            let seen = &web.seen()[0];
            assert!(seen.header("host").unwrap().starts_with("virtual.localhost:"), "{seen:?}");
            assert_eq!(seen.target, "/job/plan.json");
        }
        // A resolver that does not know names under localhost says so, with the bucket in the name.
        Err(error) => told(&error, &["cannot connect"]),
    }
}

#[test]
fn a_signed_url_is_a_source_and_its_signature_stays_secret() {
    let (minio, versity) = (Minio::shared(), Versity::shared());
    for server in [&minio, &versity] {
        server.create_bucket("signed");
        let bytes = pattern(300_000);
        server.put("signed", "a b.mp4", &bytes);
        let stores = stores_at(&server.endpoint(), &[]);
        let url = server.signed_url("signed", "a b.mp4");
        assert!(url.contains("Signature="));
        let opened = source(&stores, &url).unwrap();
        assert_eq!(opened.identity().uri, format!("{}/signed/a%20b.mp4", server.endpoint()));
        source_keeps_its_promises(&opened, &bytes);
        let error = source(&stores, &url.replace("Signature=", "Signature=0")).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Input);
        told(&error, &["may not be read"]);
    }
}

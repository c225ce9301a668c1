//! A bucket as the store: uploads in parts that outlive the process, signed addresses, private outputs played.

use crate::client::ask;
use crate::server::Server;
use crate::servers::{Minio, S3Server, Versity};
use serde_json::json;
use transcode_svc::http::{Play, Settings};

fn a_bucket_is_a_store(s3: &S3Server) {
    s3.create_bucket("club");
    let server =
        Server::on_bucket(s3, "s3://club/box", Settings { play: Play::Public, ..Settings::default() });
    let ready = server.get("/readyz").is(200).json();
    assert_eq!(ready["parts"], json!({"ledger": "ok", "queue": "ok", "store": "ok"}));

    // Two parts and a rest, in requests that end anywhere.
    let whole: Vec<u8> = (0..19_000_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let length = whole.len().to_string();
    let begun =
        server.ask("POST", "/api/v1/sources?name=game.mp4", &[("upload-length", &length)], b"").is(201);
    let place = begun.header("location").to_owned();
    let patch = |server: &Server, from: usize, to: usize| {
        let at = from.to_string();
        let headers = [("upload-offset", at.as_str()), ("content-type", "application/offset+octet-stream")];
        let answer = server.ask("PATCH", &place, &headers, &whole[from..to]).is(204);
        assert_eq!(answer.header("upload-offset"), to.to_string());
    };
    patch(&server, 0, 5_000);
    patch(&server, 5_000, 9_000_001);
    // Another process goes on.
    drop(server);
    let server =
        Server::on_bucket(s3, "s3://club/box", Settings { play: Play::Public, ..Settings::default() });
    assert_eq!(server.get(&place).is(200).json()["offset"], 9_000_001);
    patch(&server, 9_000_001, whole.len());
    let view = server.get(&place).is(200).json();
    assert_eq!(view["complete"], true);
    let key = view["key"].as_str().unwrap();
    let stored = s3.get("club", &format!("box/{key}"));
    assert!(stored.body == whole, "the bytes are others: {} of {}", stored.body.len(), whole.len());

    // In one request, of any size; and thrown away half-way.
    for size in [0, 11, 9_000_000] {
        let length = size.to_string();
        let mut sending = server.begin("POST", "/api/v1/sources?name=s.mp4", &[("content-length", &length)]);
        sending.send(&whole[..size]).unwrap();
        let key = sending.finish().is(201).json()["key"].as_str().unwrap().to_owned();
        assert!(s3.get("club", &format!("box/{key}")).body == whole[..size], "{size}");
    }
    let begun = server.ask("POST", "/api/v1/sources", &[("upload-length", "99")], b"").is(201);
    assert!(s3.unfinished("club").contains("<UploadId>"));
    server.ask("DELETE", begun.header("location"), &[], b"").is(204);
    assert!(!s3.unfinished("club").contains("<UploadId>"), "{}", s3.unfinished("club"));

    // Straight to the store.
    let signed =
        server.post("/api/v1/sources/presign", r#"{"name":"b.mp4","expires_in":600}"#).is(200).json();
    assert_eq!(signed["method"], "PUT");
    let target = signed["url"].as_str().unwrap().strip_prefix(&s3.endpoint()).unwrap();
    assert_eq!(ask(s3.address(), "PUT", target, &[], b"straight").status, 200);
    assert_eq!(s3.get("club", &format!("box/{}", signed["key"].as_str().unwrap())).body, b"straight");

    // What a job made is played from the private bucket: below the store's prefix, or by its own address.
    s3.put("club", "box/out/a/720p/00000.ts", &whole[..3_000_000]);
    s3.put("club", "elsewhere/b/master.m3u8", b"#EXTM3U\n");
    server.submit("a");
    let body = r#"{"version":1,"id":"b","sources":["x.mp4"],"destination":"s3://club/elsewhere/b"}"#;
    server.post("/api/v1/jobs", body).is(201);
    assert!(server.get("/play/a/720p/00000.ts").is(200).body == whole[..3_000_000]);
    let part = server.ask("GET", "/play/a/720p/00000.ts", &[("range", "bytes=1000000-2500000")], b"").is(206);
    assert!(part.body == whole[1_000_000..=2_500_000]);
    assert_eq!(server.get("/play/b/master.m3u8").is(200).text(), "#EXTM3U\n");
    server.get("/play/b/720p/00000.ts").problem(404, "not-found");

    s3.kill();
    let ready = server.get("/readyz").is(503).json();
    assert_eq!(ready["parts"]["store"], "cannot be reached");
    assert_eq!(ready["parts"]["ledger"], "ok");
}

#[test]
fn a_bucket_of_minio_takes_uploads_and_is_played_from() {
    a_bucket_is_a_store(&Minio::start());
}

#[test]
fn a_bucket_of_versitygw_takes_uploads_and_is_played_from() {
    a_bucket_is_a_store(&Versity::start());
}

//! Watching from the box: tickets, types, ranges, and nothing but what was made.

use crate::server::Server;
use std::time::Duration;
use transcode_svc::http::{Play, Scope, Secret, Settings, Token};

const SECRET: &[u8] = b"sixteen bytes or more";
const MASTER: &str = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n720p/playlist.m3u8\n";

fn fill(server: &Server) {
    server.submit("game 7");
    server.put("out/game 7/master.m3u8", MASTER.as_bytes());
    server.put("out/game 7/720p/playlist.m3u8", b"#EXTM3U\n");
    server.put("out/game 7/720p/00000.ts", &(0..=255).cycle().take(3 << 20).collect::<Vec<u8>>());
    server.put("out/game 7/720p.mp4", b"movie");
    server.put("out/game 7/plan.json", b"{}");
    server.put("out/game 7/secret.json", b"{}");
    server.put("out/game 7/notes.txt", b"notes");
    server.put("secret.ts", b"secret");
    server.put("uploads/abc/game.mp4", b"somebody's");
}

#[test]
fn a_signed_address_plays_until_it_expires_and_for_its_job_alone() {
    let (read, token) = Token::make("dashboard", &[Scope::Read]);
    let secret = Secret::new(SECRET).unwrap();
    let play = Play::Signed { secret, lifetime: Duration::from_secs(3_600) };
    let server =
        Server::with(Settings { tokens: vec![token], play, auth: Default::default(), ..Settings::default() });
    let bearer = [("authorization", &*format!("Bearer {read}"))];
    // The fixture submits without a token.
    let job: transcode_svc::job::Job = serde_json::from_str(&crate::server::job("game 7")).unwrap();
    server.parts.dispatch.submit(job).unwrap();
    server.put("out/game 7/master.m3u8", MASTER.as_bytes());
    server.put("out/game 7/720p/00000.ts", b"segment");

    let view = server.ask("GET", "/api/v1/jobs/game%207", &bearer, b"").is(200).json();
    let hls = view["play"]["hls"].as_str().unwrap();
    let page = view["play"]["page"].as_str().unwrap();
    assert!(hls.starts_with(page) && hls.ends_with("/master.m3u8"), "{view}");
    assert!(view["play"]["expires"].as_str().unwrap().ends_with('Z'));
    let master = server.get(hls).is(200);
    assert_eq!(master.text(), MASTER);
    assert_eq!(master.header("content-type"), "application/x-mpegURL");
    assert_eq!(master.header("cache-control"), "no-cache");
    assert_eq!(master.header("access-control-allow-origin"), "*");
    // What the playlist names beside it is reached with the same ticket.
    let segment = server.get(&hls.replace("master.m3u8", "720p/00000.ts")).is(200);
    assert_eq!((segment.text().as_str(), segment.header("content-type")), ("segment", "video/mp2t"));
    assert_eq!(segment.header("cache-control"), "private, max-age=31536000, immutable");
    let html = server.get(page).is(200);
    assert!(html.text().contains("<video") && html.header("content-type").starts_with("text/html"));
    server.get(&format!("{page}player.js")).is(200);

    server.get("/play/game%207/master.m3u8").problem(401, "token");
    server.ask("GET", "/play/game%207/master.m3u8", &bearer, b"").is(200);
    server.get(&hls.replace("game%207", "other")).problem(403, "ticket");
    let ticket = page.split('/').nth(3).unwrap();
    let (until, signature) = ticket.split_once('.').unwrap();
    let later = until.parse::<u64>().unwrap() + 60;
    server.get(&hls.replace(until, &later.to_string())).problem(403, "ticket");
    let last = if signature.ends_with('0') { '1' } else { '0' };
    server.get(&hls.replace(signature, &format!("{}{last}", &signature[..63]))).problem(403, "ticket");
    // Signed here, long ago.
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET);
    let old = |until: u64| {
        let tag = ring::hmac::sign(&key, format!("play\ngame 7\n{until}").as_bytes());
        let tag: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        server.get(&format!("/play/game%207/{until}.{tag}/master.m3u8"))
    };
    old(1_000_000_000).problem(403, "expired");
    old(later).is(200);
}

#[test]
fn ranges_types_and_heads_are_as_players_want_them() {
    let server = Server::with(Settings { play: Play::Public, ..Settings::default() });
    fill(&server);
    let view = server.get("/api/v1/jobs/game%207").is(200).json();
    assert_eq!(view["play"]["hls"], "/play/game%207/master.m3u8");
    assert!(view["play"].get("expires").is_none());
    let segment = "/play/game%207/720p/00000.ts";
    let size = 3 << 20;
    let whole = server.get(segment).is(200);
    assert_eq!(whole.body.len(), size);
    assert_eq!(whole.header("content-length"), size.to_string());
    assert_eq!(whole.header("accept-ranges"), "bytes");
    assert_eq!(whole.header("cache-control"), "public, max-age=31536000, immutable");
    let head = server.ask("HEAD", segment, &[], b"").is(200);
    assert_eq!((head.header("content-length"), head.body.len()), (&*size.to_string(), 0));
    for (range, first, last) in [
        ("bytes=0-0", 0, 0),
        ("bytes=100-199", 100, 199),
        ("bytes=1048570-2097160", 1_048_570, 2_097_160),
        ("bytes=3145720-", 3_145_720, size - 1),
        ("bytes=-5", size - 5, size - 1),
        ("bytes=3145720-9999999", 3_145_720, size - 1),
    ] {
        let part = server.ask("GET", segment, &[("range", range)], b"").is(206);
        assert_eq!(part.body, whole.body[first..=last], "{range}");
        assert_eq!(part.header("content-range"), format!("bytes {first}-{last}/{size}"));
        assert_eq!(part.header("content-length"), (last - first + 1).to_string());
    }
    let none = server.ask("GET", segment, &[("range", "bytes=3145728-")], b"");
    assert_eq!(none.header("content-range"), format!("bytes */{size}"));
    assert_eq!(none.header("access-control-allow-origin"), "*");
    none.problem(416, "range");
    for ignored in ["bytes=0-1,4-5", "lines=0-1", "bytes=9-1"] {
        server.ask("GET", segment, &[("range", ignored)], b"").is(200);
    }
    let conditional = [("range", "bytes=0-1"), ("if-range", "\"old\"")];
    server.ask("GET", segment, &conditional, b"").is(200);
    let part = server.ask("GET", "/play/game%207/master.m3u8", &[("range", "bytes=1-3")], b"").is(206);
    assert_eq!(part.text(), "EXT");
    for (file, kind) in [
        ("master.m3u8", "application/x-mpegURL"),
        ("720p/playlist.m3u8", "application/x-mpegURL"),
        ("720p.mp4", "video/mp4"),
        ("plan.json", "application/json"),
    ] {
        assert_eq!(server.get(&format!("/play/game%207/{file}")).is(200).header("content-type"), kind);
    }
    assert_eq!(server.get("/play/game%207").is(308).header("location"), "/play/game%207/");
    server.get("/play/game%207/").is(200);

    // A playlist that grows is never an old one.
    server.put("out/game 7/720p/playlist.m3u8", b"#EXTM3U\nlonger");
    assert_eq!(server.get("/play/game%207/720p/playlist.m3u8").is(200).text(), "#EXTM3U\nlonger");
}

#[test]
fn nothing_is_shown_but_what_the_job_made() {
    let server = Server::with(Settings { play: Play::Public, ..Settings::default() });
    fill(&server);
    for wrong in [
        "secret.json",
        "notes.txt",
        "../../secret.ts",
        "..%2F..%2Fsecret.ts",
        "%2e%2e/%2e%2e/secret.ts",
        "720p/../../../secret.ts",
        "720p%2F..%2F..%2Fsecret.ts",
        "..%5C..%5Csecret.ts",
        "%2Fetc%2Fpasswd",
        "720p/",
        "720p",
        "720p/00000.ts%00",
        "missing.m3u8",
        "a/b/c.ts",
    ] {
        let answer = server.get(&format!("/play/game%207/{wrong}"));
        assert_eq!(answer.status, 404, "{wrong}: {}", answer.text());
        assert!(!answer.text().contains("secret\n") && !answer.body.starts_with(b"secret"), "{wrong}");
    }
    server.get("/play/nobody/master.m3u8").problem(404, "unknown-job");
    // A job whose destination holds others' uploads shows none of them.
    let body = r#"{"version":1,"id":"thief","sources":["a.mp4"],"destination":"uploads"}"#;
    server.post("/api/v1/jobs", body).is(201);
    server.get("/play/thief/abc/game.mp4").problem(404, "not-found");
}

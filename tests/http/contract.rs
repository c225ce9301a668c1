//! The API of the Redis workers: their three calls, literally.

use crate::server::Server;
use serde_json::{Value, json};
use transcode_svc::job::Output;

/// One job from its submission to its end, seen through the three calls.
fn the_three_calls(server: &Server) {
    let body = r#"{"inputKey":"uploads/game.mp4","profile":"roku-hls","outputPrefix":"games/7"}"#;
    let submitted = server.post("/api/transcode/submit", body).is(200).json();
    let id = submitted["jobId"].as_str().unwrap().to_owned();
    assert_eq!(submitted, json!({"success": true, "jobId": id, "status": "queued"}));
    let parts: Vec<_> = id.split('_').collect();
    assert!(matches!(parts[..], ["job", seconds, tail] if seconds.len() == 10 && tail.len() == 12), "{id}");

    let status = |id: &str| server.get(&format!("/api/transcode/status/{id}")).is(200).json();
    assert_eq!(status(&id), json!({"jobId": id, "status": "queued", "outputs": []}));

    let work = server.take("w1").expect("the job");
    assert_eq!(work.record.id.as_str(), id);
    assert_eq!(work.record.job.sources, ["uploads/game.mp4"]);
    assert_eq!(status(&id)["status"], "processing");
    server.parts.dispatch.begin_commit(&work).unwrap();
    assert_eq!(status(&id)["status"], "processing", "committing is none of the four");
    let outputs: Vec<Output> = work.record.job.outputs().unwrap();
    server.parts.dispatch.complete(&work, &outputs).unwrap();
    let complete = json!({"jobId": id, "status": "complete", "outputs": [
        {"profile": "1080p", "key": "games/7/1080p.mp4"},
        {"profile": "720p", "key": "games/7/720p.mp4"},
        {"profile": "480p", "key": "games/7/480p.mp4"},
        {"profile": "360p", "key": "games/7/360p.mp4"},
        {"profile": "hls", "key": "games/7/master.m3u8"},
    ]});
    assert_eq!(status(&id), complete);
}

#[test]
fn the_redis_workers_clients_find_their_api_over_sqlite() {
    let server = Server::plain();
    the_three_calls(&server);

    // What fails says why.
    let body = r#"{"inputKey":"uploads/missing.mp4","profile":"roku-hls","outputPrefix":"games/8"}"#;
    let id = server.post("/api/transcode/submit", body).is(200).json()["jobId"].as_str().unwrap().to_owned();
    let work = server.take("w1").expect("the job");
    server.parts.dispatch.fail(&work, transcode_core::ErrorKind::Input, "there is no such object").unwrap();
    let status = server.get(&format!("/api/transcode/status/{id}")).is(200).json();
    assert_eq!(status["status"], "failed");
    assert_eq!(status["error"], "there is no such object");

    // Pages, the newest first.
    for number in 0..7 {
        let body = format!(r#"{{"inputKey":"{number}.mp4","outputPrefix":"games/p{number}"}}"#);
        server.post("/api/transcode/submit", &body).is(200);
    }
    let page = |query: &str| server.get(&format!("/api/transcode/jobs{query}")).is(200).json();
    let all = page("?page=0&size=20");
    let jobs = all["jobs"].as_array().unwrap().clone();
    assert_eq!(jobs.len(), 9);
    for job in &jobs {
        let fields: Vec<_> = job.as_object().unwrap().keys().cloned().collect();
        assert_eq!(fields, ["created", "id", "status"], "the contract's three and no more");
        assert!(job["created"].as_str().unwrap().ends_with('Z'));
    }
    let times: Vec<_> = jobs.iter().map(|job| job["created"].as_str().unwrap()).collect();
    assert!(times.is_sorted_by(|one, other| one >= other), "{times:?}");
    let pieces: Vec<Value> = (0..4)
        .flat_map(|at| page(&format!("?page={at}&size=3"))["jobs"].as_array().unwrap().clone())
        .collect();
    assert_eq!(pieces, jobs, "pages without gaps and doubles, and none behind the last");
    assert_eq!(page("")["jobs"], all["jobs"], "page 0 of 20 where nothing is said");

    // Mistakes are problems, and say so where these clients look.
    for (answer, status, kind) in [
        (server.get("/api/transcode/jobs?size=0"), 400, "wrong-request"),
        (server.get("/api/transcode/jobs?size=101"), 400, "wrong-request"),
        (server.get("/api/transcode/jobs?page=-1"), 400, "wrong-request"),
        (server.get("/api/transcode/status/job_none"), 404, "unknown-job"),
        (server.post("/api/transcode/submit", "{"), 400, "wrong-request"),
        (server.post("/api/transcode/submit", r#"{"inputKey":"a.mp4"}"#), 422, "wrong-job"),
        (
            server.post("/api/transcode/submit", r#"{"inputKey":"/etc/passwd","outputPrefix":"x"}"#),
            422,
            "wrong-job",
        ),
    ] {
        let problem = answer.problem(status, kind);
        assert_eq!(problem["success"], false, "{problem}");
        assert_eq!(problem["error"], problem["detail"]);
    }
    server.ask("GET", "/api/transcode/submit", &[], b"").problem(405, "method-not-allowed");
}

#[test]
fn the_redis_workers_clients_find_their_api_over_redis() {
    let server = Server::on_redis();
    the_three_calls(&server);
    let listed = server.get("/api/transcode/jobs?page=0&size=20").is(200).json();
    assert_eq!(listed["jobs"].as_array().unwrap().len(), 1);
    let ready = server.get("/readyz").is(200).json();
    assert_eq!(ready["parts"], json!({"ledger": "ok", "queue": "ok", "store": "ok"}));
}

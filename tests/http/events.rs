//! Server-sent events: of this process's workers at once, of others' as the ledger sees them.

use crate::client::Begun;
use crate::server::Server;
use serde_json::Value;
use std::time::{Duration, Instant};
use transcode_svc::events::{JobEvent, What};
use transcode_svc::http::Settings;
use transcode_svc::ledger::{Progress, State};

/// The next event; comments are passed over. None where the stream has ended.
fn next(stream: &mut Begun) -> Option<(String, Value)> {
    let mut name = None;
    let started = Instant::now();
    loop {
        let line = stream.line()?;
        assert!(started.elapsed() < Duration::from_secs(30), "nothing but comments");
        if let Some(said) = line.strip_prefix("event: ") {
            name = Some(said.to_owned());
        } else if let Some(data) = line.strip_prefix("data: ") {
            return Some((name.unwrap_or_default(), serde_json::from_str(data).unwrap()));
        }
    }
}

fn watch(server: &Server, target: &str) -> Begun {
    let mut stream = server.begin("GET", target, &[]);
    let (status, headers) = stream.head();
    assert_eq!(status, 200);
    assert_eq!(headers["content-type"], "text/event-stream");
    stream
}

#[test]
fn a_job_is_watched_from_its_state_to_its_end() {
    let server = Server::plain();
    server.submit("a");
    server.submit("b");
    let mut stream = watch(&server, "/api/v1/jobs/a/events");
    let (name, job) = next(&mut stream).unwrap();
    assert_eq!(
        (name.as_str(), job["id"].as_str(), job["state"].as_str()),
        ("job", Some("a"), Some("queued"))
    );

    // Another process works on it: only the ledger knows.
    let mut work = server.take("elsewhere").expect("a");
    let (name, event) = next(&mut stream).unwrap();
    assert_eq!((name.as_str(), event["state"].as_str()), ("state", Some("processing")), "{event}");
    let progress = Progress { percent: 30, speed_percent: 120, ..Progress::default() };
    server.parts.dispatch.renew_with(&mut work, &progress).unwrap();
    let (name, event) = next(&mut stream).unwrap();
    assert_eq!(
        (name.as_str(), event["percent"].as_u64(), event["speed"].as_f64()),
        ("progress", Some(30), Some(1.2))
    );

    // This process tells more, and of other jobs, which are not meant.
    let tell = |job: &str, what: What| {
        let at = server.parts.dispatch.ledger().now();
        server.parts.hub.tell(JobEvent { job: job.parse().unwrap(), at, epoch: 1, what });
    };
    let segment = |index| What::Segment {
        rung: "720p".to_owned(),
        index,
        key: format!("720p/{index:05}.ts"),
        bytes: 9,
    };
    tell("b", segment(7));
    tell("a", segment(0));
    let (name, event) = next(&mut stream).unwrap();
    assert_eq!(
        (name.as_str(), event["rung"].as_str(), event["index"].as_u64()),
        ("segment", Some("720p"), Some(0))
    );
    assert_eq!(event["job"], "a");
    assert!(event["at"].as_str().unwrap().ends_with('Z'));
    tell("a", What::Log { level: "warn", text: "one\ntwo".to_owned() });
    assert_eq!(next(&mut stream).unwrap().1["text"], "one\ntwo");
    tell(
        "a",
        What::Fallback { from: "nvidia".to_owned(), to: "software".to_owned(), why: "gone".to_owned() },
    );
    assert_eq!(next(&mut stream).unwrap().0, "fallback");
    // A state that was told is not told again when the ledger is read.
    server.parts.dispatch.begin_commit(&work).unwrap();
    tell("a", What::State { state: State::Committing, error: None });
    server.parts.dispatch.complete(&work, &work.record.job.outputs().unwrap()).unwrap();
    let mut names = Vec::new();
    let mut end = Value::Null;
    while let Some((name, event)) = next(&mut stream) {
        names.push(match event["state"].as_str() {
            Some(state) if name == "state" => state.to_owned(),
            _ => name,
        });
        end = event;
    }
    assert_eq!(names.iter().filter(|name| *name == "complete").count(), 1, "{names:?}");
    assert_eq!(names.iter().filter(|name| *name == "committing").count(), 1, "{names:?}");
    assert_eq!(names.last().map(String::as_str), Some("end"));
    assert_eq!(end["outputs"].as_array().unwrap().len(), 5, "the last event is the job as it is then");

    // One that is over says so at once, and ends.
    let mut stream = watch(&server, "/api/v1/jobs/a/events");
    let names: Vec<_> = std::iter::from_fn(|| next(&mut stream)).map(|(name, _)| name).collect();
    assert_eq!(names, ["job", "end"]);
}

#[test]
fn the_fleet_is_watched_by_as_many_as_may_until_the_server_ends() {
    let mut server = Server::with(Settings { watchers: 2, ..Settings::default() });
    server.submit("old");
    let mut one = watch(&server, "/api/v1/events");
    let two = watch(&server, "/api/v1/jobs/old/events");
    let refused = server.get("/api/v1/events");
    assert!(!refused.header("retry-after").is_empty());
    refused.problem(503, "watchers");
    // Who goes makes room.
    drop(two);
    let mut two = loop {
        let mut stream = server.begin("GET", "/api/v1/events", &[]);
        if stream.head().0 == 200 {
            break stream;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    // What was there is no news; what comes is. The first look has to be over.
    std::thread::sleep(Duration::from_millis(1_500));
    server.submit("new");
    for stream in [&mut one, &mut two] {
        let (name, event) = next(stream).unwrap();
        assert_eq!(
            (name.as_str(), &event["job"], &event["state"]),
            ("state", &"new".into(), &"queued".into())
        );
    }
    let work = server.take("w").expect("old");
    server.parts.dispatch.fail(&work, transcode_core::ErrorKind::Input, "this is no video").unwrap();
    let ended = loop {
        let (name, event) = next(&mut one).unwrap();
        if name == "state" && event["job"] == "old" && event["state"] == "failed" {
            break event;
        }
    };
    assert_eq!(ended["error"], "this is no video");
    let metrics = server.get("/metrics").is(200).text();
    assert!(metrics.contains("transcode_event_watchers 2"), "{metrics}");
    server.end().unwrap();
    while next(&mut one).is_some() {}
}

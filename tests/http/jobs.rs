//! Our own API of jobs, the queue, the workers and the dead letters.

use crate::server::{Server, job};
use serde_json::{Value, json};
use std::time::Duration;
use transcode_core::ErrorKind;
use transcode_svc::job::Priority;
use transcode_svc::ledger::{Playable, Progress, Stage, WorkerCard};

fn ids(list: &Value) -> Vec<String> {
    list["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_job_is_created_once_looked_at_listed_cancelled_and_tried_again() {
    let server = Server::plain();
    let created = server.post("/api/v1/jobs", &job("a/b c")).is(201);
    assert_eq!(created.header("location"), "/api/v1/jobs/a%2Fb%20c");
    let view = server.get(created.header("location")).is(200).json();
    assert_eq!(view, created.json());
    assert_eq!(view["state"], "queued");
    assert_eq!(view["id"], "a/b c");
    assert_eq!(server.post("/api/v1/jobs", &job("a/b c")).is(200).json()["id"], "a/b c", "the same again");
    let other = job("a/b c").replace("in/", "elsewhere/");
    server.post("/api/v1/jobs", &other).problem(409, "taken");

    // Idempotency: by header or field, and not for another job.
    let keyed = |body: &str| {
        let headers = [("content-type", "application/json"), ("idempotency-key", "upload-7")];
        server.ask("POST", "/api/v1/jobs", &headers, body.as_bytes())
    };
    let nameless = r#"{"version":1,"sources":["in/7.mp4"],"destination":"out/7"}"#;
    let first = keyed(nameless).is(201).json();
    let again = keyed(nameless).is(200).json();
    assert_eq!(first["id"], again["id"]);
    let field = nameless.replace("\"version\":1", "\"version\":1,\"idempotency_key\":\"upload-7\"");
    assert_eq!(server.post("/api/v1/jobs", &field).is(200).json()["id"], first["id"]);
    let reused = keyed(&nameless.replace("in/7", "in/8")).problem(422, "key-reused");
    assert_eq!(reused["job"], first["id"]);
    keyed(&field.replace("upload-7", "upload-8")).problem(400, "wrong-request");
    let headers = [("idempotency-key", "")];
    server.ask("POST", "/api/v1/jobs", &headers, nameless.as_bytes()).problem(400, "wrong-request");

    // What a worker says is seen.
    let mut work = server.take("clubhouse-1").expect("the first job");
    let progress = Progress {
        percent: 40,
        stage: Stage::Encode,
        speed_percent: 150,
        seconds_to_go: Some(90),
        platform: "software".to_owned(),
        rungs: vec![Playable { rung: "720p".to_owned(), playable: 3, segments: Some(10) }],
    };
    server.parts.dispatch.renew_with(&mut work, &progress).unwrap();
    let view = server.get("/api/v1/jobs/a%2Fb%20c").is(200).json();
    assert_eq!(view["state"], "processing");
    assert_eq!(view["worker"], "clubhouse-1");
    assert_eq!(view["attempts"], 1);
    let seen = json!({"percent": 40, "stage": "encode", "speed": 1.5, "seconds_to_go": 90, "platform": "software",
                      "rungs": [{"rung": "720p", "playable": 3, "segments": 10}]});
    assert_eq!(view["progress"], seen);

    // Cancelled while somebody works on it: asked, then done.
    let asked = server.post("/api/v1/jobs/a%2Fb%20c/cancel", "").is(202).json();
    assert_eq!(asked["cancelling"], true);
    assert!(server.parts.dispatch.renew(&mut work, 50).unwrap().cancelled);
    server.parts.dispatch.fail(&work, ErrorKind::Interrupted, "").unwrap();
    let view = server.get("/api/v1/jobs/a%2Fb%20c").is(200).json();
    assert_eq!((view["state"].as_str(), view["cancelling"].as_bool()), (Some("cancelled"), Some(false)));
    server.post("/api/v1/jobs/a%2Fb%20c/cancel", "").is(200);
    assert_eq!(server.post("/api/v1/jobs/a%2Fb%20c/retry", "").is(202).json()["state"], "queued");
    server.post("/api/v1/jobs/a%2Fb%20c/retry", "").problem(409, "state");

    // One that waits is cancelled at once, and what is complete cannot be.
    let id = first["id"].as_str().unwrap();
    assert_eq!(server.post(&format!("/api/v1/jobs/{id}/cancel"), "").is(200).json()["state"], "cancelled");
    let work = server.take("w").expect("the first job again");
    server.parts.dispatch.begin_commit(&work).unwrap();
    server.post("/api/v1/jobs/a%2Fb%20c/cancel", "").problem(409, "state");
    server.parts.dispatch.complete(&work, &work.record.job.outputs().unwrap()).unwrap();
    let problem = server.post("/api/v1/jobs/a%2Fb%20c/cancel", "").problem(409, "state");
    assert_eq!(problem["state"], "complete");

    for target in ["/api/v1/jobs/none", "/api/v1/jobs/none/events"] {
        server.get(target).problem(404, "unknown-job");
    }
    for target in ["/api/v1/jobs/none/cancel", "/api/v1/jobs/none/retry"] {
        server.post(target, "").problem(404, "unknown-job");
    }
}

#[test]
fn lists_have_filters_and_a_cursor_that_misses_nothing() {
    let server = Server::plain();
    for number in 0..23 {
        let priority = if number % 5 == 0 { "high" } else { "low" };
        let body = job(&format!("j{number:02}")).replace("}", &format!(r#","priority":"{priority}"}}"#));
        server.post("/api/v1/jobs", &body).is(201);
    }
    server.post("/api/v1/jobs/j03/cancel", "").is(200);
    let all = ids(&server.get("/api/v1/jobs?limit=200").is(200).json());
    assert_eq!(all.len(), 23);
    let walk = |query: &str| {
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = server.get(&format!("/api/v1/jobs?{query}{cursor}")).is(200).json();
            assert!(page["jobs"].as_array().unwrap().len() <= 4);
            found.extend(ids(&page));
            match page["cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return found,
            }
        }
    };
    assert_eq!(walk("limit=4"), all);
    assert_eq!(walk("limit=1"), all);
    let high: Vec<_> = all.iter().filter(|id| id[1..].parse::<u32>().unwrap() % 5 == 0).cloned().collect();
    assert_eq!(walk("limit=2&priority=high"), high);
    assert_eq!(walk("limit=4&state=cancelled"), ["j03"]);
    assert_eq!(walk("limit=4&state=queued&priority=low&profile=abr").len(), 23 - 5 - 1);
    let work = server.take("w1").expect("a job");
    assert_eq!(walk("limit=4&worker=w1"), [work.record.id.to_string()]);
    assert_eq!(walk("limit=4&profile=match"), Vec::<String>::new());
    for wrong in ["limit=0", "limit=201", "state=lost", "cursor=xyz", "cursor=3a", "colour=red"] {
        server.get(&format!("/api/v1/jobs?{wrong}")).problem(400, "wrong-request");
    }
}

#[test]
fn a_priority_is_changed_in_the_order_of_takes() {
    for server in [Server::plain(), Server::on_redis()] {
        for name in ["a", "b", "c", "d"] {
            server.submit(name);
        }
        let change = |name: &str, priority: &str| {
            let body = format!(r#"{{"priority":"{priority}"}}"#);
            server.ask("PATCH", &format!("/api/v1/jobs/{name}"), &[], body.as_bytes())
        };
        assert_eq!(change("c", "high").is(200).json()["priority"], "high");
        assert_eq!(change("a", "low").is(200).json()["priority"], "low");
        // There and back again.
        change("d", "low").is(200);
        change("d", "high").is(200);
        let order: Vec<_> = (0..4)
            .map(|_| {
                let work = server.take("w").expect("a job");
                server.parts.dispatch.begin_commit(&work).unwrap();
                server.parts.dispatch.complete(&work, &[]).unwrap();
                work.record.id.to_string()
            })
            .collect();
        assert_eq!(order, ["c", "d", "b", "a"]);
        assert!(server.take("w").is_none(), "every job came once");
        let depth = server.parts.dispatch.queue().depth().unwrap();
        let left: u64 = Priority::ALL.iter().map(|line| depth.waiting(*line)).sum();
        assert_eq!((left, depth.held, depth.dead), (0, 0, 0), "no message is left");
        change("a", "high").problem(409, "state");
        change("x", "high").problem(404, "unknown-job");
        change("a", "urgent").problem(400, "wrong-request");
    }
}

#[test]
fn the_messages_about_a_job_are_listed_and_sent_once_more() {
    let server = Server::plain();
    let hook = r#","webhook":{"url":"https://club.example.org/done?secret=7"}}"#;
    let body = job("a").replace('}', hook);
    server.post("/api/v1/jobs", &body).is(201);
    assert_eq!(server.get("/api/v1/jobs/a/webhooks").is(200).json(), json!({"webhooks": []}));
    server.post("/api/v1/jobs/a/cancel", "").is(200);
    let ledger = server.parts.dispatch.ledger();
    let outgoing = ledger.take_webhook(Duration::from_secs(30)).unwrap().expect("a message");
    ledger.webhook_sent(&outgoing, transcode_svc::ledger::Delivered::Gone).unwrap();
    let list = server.get("/api/v1/jobs/a/webhooks").is(200).json();
    let sent = &list["webhooks"][0];
    assert_eq!(
        (sent["state"].as_str(), sent["url"].as_str()),
        (Some("given-up"), Some("https://club.example.org/done"))
    );
    assert!(sent["reason"].as_str().unwrap().contains("410"), "{sent}");
    assert_eq!(sent["id"], outgoing.id);
    assert!(sent["body"].as_str().unwrap().contains("job.cancelled"));
    let again = server.post(&format!("/api/v1/jobs/a/webhooks/{}/redeliver", outgoing.id), "").is(202).json();
    assert_eq!(again["webhooks"][0]["state"], "due");
    let second = ledger.take_webhook(Duration::from_secs(30)).unwrap().expect("the message again");
    assert_eq!(second.id, outgoing.id);
    server.post("/api/v1/jobs/a/webhooks/msg_none/redeliver", "").problem(404, "not-found");
    server.post("/api/v1/jobs/b/webhooks/msg_none/redeliver", "").problem(404, "unknown-job");
}

#[test]
fn the_fleet_and_its_dead_letters_are_seen_and_put_back() {
    let server = Server::plain();
    server.submit("a");
    server.submit("b");
    let queue = server.get("/api/v1/queue").is(200).json();
    assert_eq!(queue["waiting"], json!({"high": 0, "normal": 2, "low": 0, "total": 2}));
    assert!(queue["oldest_seconds"].is_u64());

    // Three workers die on it, as the ledger sees it: too many failures of the machine.
    let work = server.take("w1").expect("a");
    server.parts.dispatch.fail(&work, ErrorKind::Input, "this is no video").unwrap();
    assert_eq!(
        server.get("/api/v1/dead").is(200).json(),
        json!({"dead": []}),
        "a failed job is no dead letter"
    );
    let ledger = server.parts.dispatch.ledger();
    let card = WorkerCard {
        name: "clubhouse-1".to_owned(),
        host: "clubhouse".to_owned(),
        version: "0.1.0".to_owned(),
        platform: "software".to_owned(),
        started: ledger.now(),
        seen: ledger.now(),
        job: Some("b".parse().unwrap()),
        since: ledger.now(),
        stopping: false,
    };
    ledger.worker_seen(card.clone()).unwrap();
    ledger
        .worker_seen(WorkerCard { name: "idle".to_owned(), job: None, platform: String::new(), ..card })
        .unwrap();
    let workers = server.get("/api/v1/workers").is(200).json();
    assert_eq!(workers["workers"][0]["state"], "working");
    assert_eq!(workers["workers"][0]["job"], "b");
    assert_eq!(workers["workers"][1]["state"], "idle");
    assert!(workers["workers"][1].get("platform").is_none());

    // A message that nobody understands.
    server.parts.dispatch.queue().push(Priority::High, r#"{"what":"is this"}"#).unwrap();
    let work = server.take("w1").expect("b, behind what was laid aside");
    assert_eq!(work.record.id.as_str(), "b");
    let dead = server.get("/api/v1/dead").is(200).json();
    let letter = &dead["dead"][0];
    assert_eq!(letter["body"], r#"{"what":"is this"}"#);
    assert!(letter["reason"].as_str().unwrap().contains("no known job format"), "{letter}");
    let number = letter["number"].as_u64().unwrap();
    assert_eq!(server.get(&format!("/api/v1/dead/{number}")).is(200).json(), *letter);
    server.post(&format!("/api/v1/dead/{number}/requeue"), "").is(202);
    server.post(&format!("/api/v1/dead/{number}/requeue"), "").problem(404, "not-found");
    server.get("/api/v1/dead/x").problem(404, "not-found");

    // A job that is dead is tried again with its letter.
    server.parts.dispatch.release(&work).unwrap();
    for _ in 0..3 {
        let granted = ledger.grant(&"b".parse().unwrap(), "w9", Duration::from_millis(1)).unwrap();
        assert!(matches!(granted, transcode_svc::ledger::Grant::Granted { .. }), "{granted:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(server.take("w1").is_none(), "three died on it");
    assert_eq!(server.get("/api/v1/jobs/b").is(200).json()["state"], "dead");
    let dead = server.get("/api/v1/dead").is(200).json();
    let letter = dead["dead"].as_array().unwrap().iter().find(|letter| letter["job"] == "b").unwrap().clone();
    server.post(&format!("/api/v1/dead/{}/requeue", letter["number"]), "").is(202);
    assert_eq!(server.get("/api/v1/jobs/b").is(200).json()["state"], "queued");
    assert_eq!(server.take("w1").expect("b again").record.id.as_str(), "b");
}

//! What the server says of itself: OpenAPI for its routes, metrics for Prometheus.

use crate::server::Server;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use transcode_svc::http::Settings;
use transcode_svc::job::Priority;
use transcode_svc::ledger::Stage;

fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(object) => {
            if let Some(Value::String(to)) = object.get("$ref") {
                found.insert(to);
            }
            object.values().for_each(|value| references(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn every_route_is_described_and_every_description_is_a_route() {
    let server = Server::with(Settings { rate: None, ..Settings::default() });
    let document = server.get("/api/v1/openapi.json").is(200).json();
    assert_eq!(document, server.description);
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."), "{}", document["openapi"]);
    let paths = document["paths"].as_object().unwrap();
    let mut names = BTreeSet::new();
    let mut described = 0;
    for (path, item) in paths {
        for (method, about) in item.as_object().unwrap() {
            described += 1;
            let told = format!("{method} {path}");
            assert!(about["summary"].as_str().is_some_and(|text| !text.is_empty()), "{told}");
            assert!(about["responses"].get("default").is_some(), "{told}: problems are not described");
            assert!(
                names.insert(about["operationId"].as_str().unwrap().to_owned()),
                "{told}: its name is another's"
            );
            let tag = &about["tags"][0];
            let known = document["tags"].as_array().unwrap().iter().any(|one| one["name"] == *tag);
            assert!(known, "{told}: {tag} is explained nowhere");
            let wanted = path.matches('{').count();
            let parameters = about["parameters"].as_array().cloned().unwrap_or_default();
            let given = parameters.iter().filter(|one| one["in"] == "path").count();
            assert_eq!(given, wanted, "{told}: parameters of the path");
            // It is there: neither unknown nor of another method. Streams are not waited for.
            let target = path.replace("{number}", "1").replace("{jobId}", "x").replace(['{', '}'], "");
            if path == "/api/v1/events" {
                assert_eq!(server.begin("GET", path, &[]).head().0, 200);
                continue;
            }
            let answer = server.ask(&method.to_uppercase(), &target, &[], b"");
            assert_ne!(answer.status, 405, "{told}");
            if answer.status == 404 {
                let detail = answer.json()["detail"].as_str().unwrap().to_owned();
                assert!(!detail.contains("nothing at this address"), "{told}: {detail}");
            }
        }
    }
    // One call makes a route and its description; nobody may go around it.
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/http");
    let mut routed = 0;
    for entry in std::fs::read_dir(source).unwrap() {
        let path = entry.unwrap().path();
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let by_hand = text.matches(".route(").count() + text.matches(".nest").count();
        let allowed = if path.ends_with("routes.rs") { 1 } else { 0 };
        assert_eq!(by_hand, allowed, "{} makes routes that nobody describes", path.display());
        routed += text.matches(".at(").filter(|_| path.ends_with("routes.rs")).count();
    }
    assert_eq!(routed, described);
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    for to in found {
        let name = to.strip_prefix("#/components/schemas/").unwrap_or_else(|| panic!("{to} leads outside"));
        assert!(document["components"]["schemas"].get(name).is_some(), "{to} leads nowhere");
    }
    for (path, method, scope) in [
        ("/api/v1/jobs", "post", "submit"),
        ("/api/v1/jobs", "get", "read"),
        ("/api/v1/dead/{number}/requeue", "post", "admin"),
    ] {
        let about = &paths[path][method];
        assert!(about["description"].as_str().unwrap().contains(&format!("`{scope}`")), "{about}");
        assert!(about["security"][0].get("token").is_some(), "{about}");
    }
}

/// OpenMetrics' text, read strictly: each family described before its samples, which are of its kind; one sample a
/// set of labels. Gives samples by name and labels.
fn parse(text: &str) -> BTreeMap<String, f64> {
    let body = text.strip_suffix("# EOF\n").expect("the text ends with # EOF");
    let (mut kinds, mut units) = (BTreeMap::new(), BTreeMap::new());
    let mut samples = BTreeMap::new();
    let mut family = String::new();
    for line in body.lines() {
        if let Some(about) = line.strip_prefix("# ") {
            let mut words = about.splitn(3, ' ');
            let (what, name, value) =
                (words.next().unwrap(), words.next().unwrap(), words.next().unwrap_or(""));
            match what {
                "HELP" => {
                    assert!(!value.is_empty() && value.ends_with('.'), "{line}");
                    assert_eq!(value.matches("..").count(), 0, "{line}");
                    family = name.to_owned();
                }
                "TYPE" => assert!(kinds.insert(name.to_owned(), value.to_owned()).is_none(), "twice: {line}"),
                "UNIT" => drop(units.insert(name.to_owned(), value.to_owned())),
                _ => panic!("{line}"),
            }
            continue;
        }
        let (id, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        let name = id.split('{').next().unwrap();
        let suffix =
            name.strip_prefix(family.as_str()).unwrap_or_else(|| panic!("{line} is not of {family}"));
        match kinds.get(&family).map(String::as_str) {
            Some("counter") => assert_eq!(suffix, "_total", "{line}"),
            Some("gauge") => assert_eq!(suffix, "", "{line}"),
            Some("histogram") => assert!(["_bucket", "_sum", "_count"].contains(&suffix), "{line}"),
            other => panic!("{line}: {other:?}"),
        }
        if let Some(labels) = id.strip_prefix(name).filter(|labels| !labels.is_empty()) {
            let inside = labels.strip_prefix('{').and_then(|labels| labels.strip_suffix('}')).unwrap();
            assert!(inside.split("\",").all(|pair| pair.contains("=\"")), "{line}");
        }
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
        assert!(samples.insert(id.to_owned(), value).is_none(), "twice: {line}");
    }
    for (name, unit) in units {
        assert!(name.ends_with(&format!("_{unit}")), "{name} is in {unit}");
    }
    samples
}

#[test]
fn metrics_are_text_that_prometheus_reads() {
    let server = Server::plain();
    let metrics = &server.parts.metrics;
    server.submit("a");
    server.submit("b");
    metrics.lease_granted();
    metrics.renewal_missed();
    metrics.job_ended("failed", "input");
    metrics.job_ended("complete", "");
    metrics.segment_stored(1_500_000);
    metrics.stage(Stage::Encode, Duration::from_secs(90));
    metrics.speed("software", 1.75);
    metrics.platform("software", "x264enc");
    metrics.fallback("nvidia", "software");
    metrics.took(Priority::Normal);
    metrics.removed();
    metrics.webhook("delivered");
    let answer = server.get("/metrics").is(200);
    assert!(answer.header("content-type").starts_with("application/openmetrics-text; version=1.0.0"));
    let samples = parse(&answer.text());
    for (name, value) in [
        ("transcode_queue_depth{line=\"normal\"}", 2.0),
        ("transcode_queue_depth{line=\"high\"}", 0.0),
        ("transcode_leases", 1.0),
        ("transcode_lease_renewals_missed_total", 1.0),
        ("transcode_jobs_ended_total{state=\"failed\",reason=\"input\"}", 1.0),
        ("transcode_segments_stored_bytes_total", 1_500_000.0),
        ("transcode_stage_duration_seconds_sum{stage=\"encode\"}", 90.0),
        ("transcode_speed_ratio_count{platform=\"software\"}", 1.0),
        ("transcode_platform_info{platform=\"software\",encoder=\"x264enc\"}", 1.0),
        ("transcode_fallbacks_total{from=\"nvidia\",to=\"software\"}", 1.0),
        ("transcode_queue_received_total{line=\"normal\"}", 1.0),
        ("transcode_queue_removed_total", 1.0),
        ("transcode_webhooks_sent_total{outcome=\"delivered\"}", 1.0),
        (
            "transcode_http_request_duration_seconds_count{route=\"/api/v1/jobs\",method=\"POST\",status=\"2xx\"}",
            2.0,
        ),
    ] {
        assert_eq!(samples.get(name), Some(&value), "{name} in\n{}", answer.text());
    }
    assert!(samples["transcode_queue_oldest_age_seconds"] < 60.0);
    // What a client makes up does not become a label.
    for number in 0..5 {
        server.get(&format!("/made/up/{number}")).is(404);
    }
    let text = server.get("/metrics").is(200).text();
    assert!(!text.contains("made"), "{text}");
}

#[test]
fn whoever_is_away_is_named_and_does_not_take_the_others_along() {
    let server = Server::plain();
    std::fs::remove_dir(server.store()).unwrap();
    let answer = server.get("/readyz").is(503).json();
    assert_eq!(answer["ready"], false);
    assert_eq!(answer["parts"]["store"], "cannot be reached");
    assert_eq!(answer["parts"]["queue"], "ok");
    server.get("/healthz").is(200);
    server.submit("a");
    server.get("/metrics").is(200);
}

//! Graphs of a service: they have no rights that they do not need, and take the worker along by nothing.

use crate::fleet::{Fleet, Kind};
use crate::support::lives;
use serde_json::json;
use std::time::{Duration, Instant};
use transcode_svc::ledger::{FailureCause, State};

/// A file of a process, where both are there.
fn proc(process: u32, name: &str) -> String {
    std::fs::read_to_string(format!("/proc/{process}/{name}")).unwrap_or_default()
}

#[test]
fn a_workers_graph_is_confined_and_its_worker_is_not() {
    let fleet = Fleet::new(Kind::Sqlite);
    let keys = [("AWS_ACCESS_KEY_ID", "TOPSECRET"), ("AWS_SECRET_ACCESS_KEY", "TOPSECRET")];
    let worker = fleet.worker("one", &keys);
    fleet.submit(&fleet.job("a"));
    let began = Instant::now();
    // The first child only looks at plugins, and is not.
    let graph = loop {
        let confined = worker.graph().filter(|graph| proc(*graph, "status").contains("Seccomp:\t2"));
        if let Some(graph) = confined {
            break graph;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{}", worker.text());
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(!proc(graph, "environ").contains("TOPSECRET"));
    assert!(proc(worker.id(), "status").contains("Seccomp:\t0"));
    fleet.complete("a");
    assert!(!worker.text().contains("not confined"), "{}", worker.text());
}

#[test]
fn a_graph_that_takes_too_much_memory_costs_an_attempt_and_the_worker_goes_on() {
    let fleet = Fleet::new(Kind::Sqlite);
    // No graph gets by with so little.
    let worker = fleet.worker("one", &[("TRANSCODE_SANDBOX", "on,memory=32MiB")]);
    fleet.submit(&fleet.job("large"));
    let record = fleet.until("large", "it has failed once", |record| !record.failures.is_empty());
    assert_eq!(record.state, State::Queued, "another machine may do it: {record:#?}");
    let failure = &record.failures[0];
    assert_eq!(failure.cause, FailureCause::Error(transcode_core::ErrorKind::Machine));
    assert!(failure.reason.contains("of memory, where 32 MiB are allowed"), "{failure:?}");
    let mut other = fleet.job("other");
    other["sources"] = json!(["in/nothing.mp4"]);
    fleet.submit(&other);
    let record = fleet.over("other");
    assert_eq!(record.state, State::Failed, "it has taken the next job: {record:#?}");
    assert!(lives(worker.id()));
}

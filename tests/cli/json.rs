//! `--json`: what programs read.

use crate::support::{QUICK, finish, is_finished, run, small, transcode};
use serde_json::Value;

fn objects(stdout: &str) -> Vec<Value> {
    stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"))).collect()
}

#[test]
fn every_line_is_an_object_and_the_story_is_complete() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let finished = finish(run(&small(), &out, &[&QUICK[..], &["--json"]].concat())).succeeded();
    is_finished(&out, 4);
    let all = objects(&finished.stdout);
    let of = |event: &str| all.iter().filter(|object| object["event"] == event).collect::<Vec<_>>();
    for object in &all {
        let event = object["event"].as_str().expect("an event");
        assert!(["planned", "progress", "segment", "warning", "done"].contains(&event), "{object}");
    }
    let (first, last) = (&all[0], &all[all.len() - 1]);
    assert_eq!(first["event"], "planned");
    assert_eq!(first["segments"], 4);
    assert_eq!(first["missing"]["end"], 4);
    assert_eq!(first["rungs"][0]["name"], "low");
    assert_eq!(first["rungs"][0]["height"], 96);
    let mut indices: Vec<u64> = of("segment").iter().filter_map(|object| object["index"].as_u64()).collect();
    indices.sort_unstable();
    assert_eq!(indices, [0, 1, 2, 3]);
    for segment in of("segment") {
        let file = out.join(segment["key"].as_str().expect("a key"));
        let bytes = std::fs::metadata(file).expect("stored").len();
        assert_eq!(segment["bytes"].as_u64(), Some(bytes));
    }
    let progress = of("progress");
    let rung = &progress.last().expect("progress")["rungs"][0];
    assert_eq!(rung["rung"], "low");
    assert_eq!(rung["segments"], 4);
    assert_eq!(last["event"], "done");
    assert_eq!(last["found_finished"], false);
    let report = std::fs::read(out.join("report.json")).expect("a report");
    assert_eq!(last["report"], serde_json::from_slice::<Value>(&report).expect("JSON"));
    assert_eq!(of("done").len(), 1);
}

#[test]
fn a_failure_is_an_object_with_the_exit_code_and_the_chain() {
    for command in ["probe", "plan"] {
        let finished = finish(transcode([command, "--json", "/does/not/exist.mp4"]));
        let all = objects(&finished.stdout);
        let [failed] = &all[..] else { panic!("{finished:#?}") };
        assert_eq!(failed["event"], "failed");
        assert_eq!(failed["exit_code"].as_i64(), finished.code().map(i64::from));
        assert_eq!(failed["exit_code"], 3);
        assert_eq!(failed["kind"], "input");
        let line = finished.stderr.strip_prefix("error: ").expect("told on stderr as well").trim_end();
        assert_eq!(failed["message"], line);
        let chain: Vec<&str> =
            failed["chain"].as_array().expect("a chain").iter().filter_map(Value::as_str).collect();
        assert_eq!(chain.join(": "), line);
    }
}

#[test]
fn a_reader_that_leaves_does_not_end_the_job() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let mut command = run(&small(), &out, &[&QUICK[..], &["--json"]].concat());
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().expect("starts");
    drop(child.stdout.take());
    assert_eq!(child.wait().expect("ends").code(), Some(0));
    is_finished(&out, 4);
}

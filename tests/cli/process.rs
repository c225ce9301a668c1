//! The graph's own process: its death, its silence, its environment.

use crate::support::{
    LONG, Running, catches, children, finish, is_finished, is_not_finished, lives, long_job, send, transcode,
    until, until_playable,
};
use std::path::Path;

/// A long job with its first segments playable.
fn begun(out: &Path, more: &[&str]) -> Running {
    let mut command = transcode(long_job(out));
    command.args(more);
    command.env("AWS_ACCESS_KEY_ID", "TOPSECRET").env("AWS_SECRET_ACCESS_KEY", "TOPSECRET");
    command
        .env("TRANSCODE_STORE_ACCESS_KEY_ID", "TOPSECRET")
        .env("TRANSCODE_STORE_SECRET_ACCESS_KEY", "TOPSECRET");
    let running = Running::start(command);
    until_playable(&running, &out.join("low/playlist.m3u8"), 2);
    running
}

/// SIGSEGV's number (signal(7)).
const SEGV: u32 = 11;

/// The child that goes on where this one ended, at work: the program has begun, and Rust's own handler is there.
fn another(running: &Running, first: u32) -> u32 {
    let begun = |child: &u32| {
        let line = std::fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
        line.ends_with(b"\0child\0") && catches(*child, SEGV)
    };
    until("another child", || {
        children(running.id()).into_iter().find(|child| *child != first && begun(child))
    })
}

#[test]
fn a_crash_in_the_graph_is_a_clear_error_and_the_next_run_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let running = begun(dir.path(), &[]);
    // Rust's own handler takes the first for a fault of its own and steps aside; the second counts.
    let crash = |graph| {
        send(graph, "SEGV");
        until("Rust's handler has stepped aside", || (!catches(graph, SEGV)).then_some(()));
        send(graph, "SEGV");
    };
    let first = running.graph();
    crash(first);
    // One crash is taken for bad luck.
    crash(another(&running, first));
    running.finish().failed(5, &["SIGSEGV", "goes on from there", "gopro-karma"]);
    is_not_finished(dir.path());
    let kept = std::fs::metadata(dir.path().join("low/00000.ts")).unwrap().modified().unwrap();
    finish(transcode(long_job(dir.path()))).succeeded();
    is_finished(dir.path(), LONG);
    let after = std::fs::metadata(dir.path().join("low/00000.ts")).unwrap().modified().unwrap();
    assert_eq!(kept, after, "what was stored is not made again");
}

#[test]
fn a_graph_that_hangs_is_killed_and_told_as_stalled() {
    let dir = tempfile::tempdir().unwrap();
    let running = begun(dir.path(), &["--stall", "5s"]);
    let first = running.graph();
    send(first, "STOP");
    let graph = another(&running, first);
    send(graph, "STOP");
    assert!(!lives(first));
    running.finish().failed(5, &["stands still", "silent for 5 s"]);
    assert!(!lives(graph));
    is_not_finished(dir.path());
}

#[test]
fn the_graphs_process_sees_no_credentials() {
    let dir = tempfile::tempdir().unwrap();
    let running = begun(dir.path(), &[]);
    let environment = std::fs::read(format!("/proc/{}/environ", running.graph())).unwrap();
    let environment = String::from_utf8_lossy(&environment).into_owned();
    assert!(environment.contains("PATH="), "{environment}");
    assert!(!environment.contains("TOPSECRET"), "{environment}");
    let line = std::fs::read(format!("/proc/{}/cmdline", running.graph())).unwrap();
    assert!(String::from_utf8_lossy(&line).ends_with("\0child\0"), "and nothing on its command line");
}

#[test]
fn the_graphs_process_ends_with_its_parent_and_the_next_run_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let running = begun(dir.path(), &[]);
    let graph = running.graph();
    running.signal("KILL");
    let finished = running.finish();
    assert_eq!(finished.code(), None, "killed");
    until("the graph's process has ended", || (!lives(graph)).then_some(()));
    is_not_finished(dir.path());
    finish(transcode(long_job(dir.path()))).succeeded();
    is_finished(dir.path(), LONG);
}

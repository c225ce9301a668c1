//! Ctrl-C and SIGTERM.

use crate::support::{
    LONG, Running, finish, is_finished, is_not_finished, lives, long_job, playlists, renditions, segments,
    transcode, until_playable,
};
use std::time::{Duration, Instant};

/// A second, and some for a machine that has other things to do: less than anything that is waited for where
/// nobody stops it (ten seconds for the graph to go down, a minute for one that stands still).
const AT_ONCE: Duration = Duration::from_secs(5);

#[test]
fn ctrl_c_stops_within_a_second_and_leaves_a_consistent_event_playlist() {
    for signal in ["INT", "TERM"] {
        let dir = tempfile::tempdir().unwrap();
        let running = Running::start(transcode(long_job(dir.path())));
        until_playable(&running, &dir.path().join("low/playlist.m3u8"), 3);
        let graph = running.graph();
        let begun = Instant::now();
        running.signal(signal);
        let finished = running.finish();
        let took = begun.elapsed();
        finished.failed(130, &["interrupted", "the same command goes on"]);
        assert!(took < AT_ONCE, "it took {took:?} to stop");
        assert!(!lives(graph), "the graph's process is gone as well");
        is_not_finished(dir.path());
        assert_eq!(renditions(dir.path()).len(), 2);
        let playable: Vec<usize> = playlists(dir.path()).iter().map(|path| segments(path).len()).collect();
        assert!(playable.iter().all(|count| (1..LONG).contains(count)), "{playable:?}");
    }
}

#[test]
fn an_interrupted_job_is_resumed_where_it_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(transcode(long_job(dir.path())));
    until_playable(&running, &dir.path().join("low/playlist.m3u8"), 3);
    running.signal("INT");
    running.finish().failed(130, &["interrupted"]);
    let kept = segments(&dir.path().join("low/playlist.m3u8")).len();
    let mut again = long_job(dir.path());
    again.push("--json".to_owned());
    let finished = finish(transcode(again)).succeeded();
    is_finished(dir.path(), LONG);
    let planned: serde_json::Value = serde_json::from_str(finished.stdout.lines().next().unwrap()).unwrap();
    let first = planned["missing"]["first"].as_u64().unwrap();
    assert!(first >= 1 && first <= kept as u64 + 1, "{kept} were playable, resumed at {first}");
}

#[test]
fn a_second_ctrl_c_ends_it_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(transcode(long_job(dir.path())));
    until_playable(&running, &dir.path().join("low/playlist.m3u8"), 1);
    let begun = Instant::now();
    running.signal("INT");
    // It may be gone already.
    let _gone = std::process::Command::new("kill").args(["-INT", &running.id().to_string()]).output();
    assert_eq!(running.finish().code(), Some(130));
    assert!(begun.elapsed() < AT_ONCE);
    is_not_finished(dir.path());
}

//! A platform that fails in mid-job costs a segment, not the job; and which platforms are used at all.

use crate::support::{
    LONG, QUICK, Running, children, clip, discontinuities, finish, is_finished, is_not_finished, long_job,
    made, playlists, report, run, segments, send, small, transcode, until, until_playable,
};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// The software platform under another name, changed.
#[track_caller]
fn platform(dir: &Path, name: &str, change: impl FnOnce(String) -> String) -> String {
    let software = finish(transcode(["platforms", "software"])).succeeded().stdout;
    let named = software.replacen("name = \"software\"", &format!("name = \"{name}\""), 1);
    assert_ne!(named, software);
    let path = dir.join(format!("{name}.toml"));
    std::fs::write(&path, change(named)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// One whose encoder writes another SPS: a second reference picture.
fn other_encoder(dir: &Path) -> String {
    platform(dir, "other", |text| {
        let changed = text.replacen("[encode.properties]", "[encode.properties]\nref = 4", 1);
        assert_ne!(changed, text);
        changed
    })
}

/// One whose encoder nobody has.
fn absent(dir: &Path) -> String {
    platform(dir, "absent", |text| {
        let changed = text.replace("\"x264enc\"", "\"nosuchenc\"");
        assert_ne!(changed, text);
        changed
    })
}

fn job(output: &Path, more: &[&str]) -> std::process::Command {
    let mut all = long_job(output);
    all.extend(more.iter().map(|&word| word.to_owned()));
    transcode(all)
}

/// Segments that were encoded although they were there, by rung.
fn made_twice(report: &Value) -> BTreeMap<String, usize> {
    let rungs = report["rungs"].as_array().unwrap().iter();
    rungs
        .map(|rung| {
            let rows = rung["segments"].as_array().unwrap().iter();
            let twice = rows.filter(|row| row["origin"] == "adopted").count();
            (rung["rung"].as_str().unwrap().to_owned(), twice)
        })
        .collect()
}

#[test]
fn a_crash_in_mid_job_is_gone_on_with_by_the_next_platform() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let list = format!("{},software", other_encoder(dir.path()));
    let state = dir.path().join("state");
    let mut command = job(&out, &["--platform", &list, "--jobs", "1", "--json"]);
    command.env("TRANSCODE_STATE_DIR", &state);
    let running = Running::start(command);
    until_playable(&running, &out.join("low/playlist.m3u8"), 3);
    send(running.graph(), "KILL");
    let finished = running.finish().succeeded();
    is_finished(&out, LONG);
    let told = finished.events("fallback");
    let [fallback] = &told[..] else { panic!("{told:?}") };
    assert_eq!((fallback["from"].as_str(), fallback["to"].as_str()), (Some("other"), Some("software")));
    assert!(fallback["why"].as_str().unwrap().contains("SIGKILL"), "{fallback}");
    let at = fallback["segment"].as_u64().expect("a segment") as usize;
    assert!((3..LONG).contains(&at), "{fallback}");
    // What was there stayed, and no rung lost more than one segment's work.
    let report = report(&out);
    assert_eq!(report["fallbacks"][0]["segment"], at);
    let twice = made_twice(&report);
    assert!(twice.len() == 2 && twice.values().all(|count| *count <= 1), "{twice:?}");
    // Another encoder: every rendition says so, at the same places: where the first rung of it begins,
    // and right behind it where another rung was a segment ahead.
    let all: Vec<Vec<usize>> = playlists(&out).iter().map(|playlist| discontinuities(playlist)).collect();
    assert!(
        all[0] == [at] || all[0] == [at + 1] || all[0] == [at, at + 1],
        "{all:?}, the fallback was at {at}"
    );
    assert_eq!(all[0], all[1]);
    // It is remembered, for those that fail again and again.
    let kept: Value = serde_json::from_slice(&std::fs::read(state.join("platforms.json")).unwrap()).unwrap();
    assert_eq!(kept["health"]["other"]["failures"].as_array().map(Vec::len), Some(1), "{kept}");
    // An MP4 has one set of parameters.
    finish(transcode(["package", out.to_str().unwrap(), "--rung", "low", "--mp4"]))
        .failed(3, &["another encoder made it", "--mp4"]);
}

/// One MP4 has one encoder's parameter sets: a rung that two have made is made again, for the MP4 alone.
#[test]
fn a_rung_that_is_also_wanted_as_mp4_is_made_again_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let list = format!("{},software", other_encoder(dir.path()));
    let asked = ["--platform", &list, "--jobs", "1", "--json", "--mp4", "low"];
    let running = Running::start(job(&out, &asked));
    until_playable(&running, &out.join("low/playlist.m3u8"), 3);
    send(running.graph(), "KILL");
    let finished = running.finish().succeeded();
    is_finished(&out, LONG);
    assert_eq!(finished.events("fallback").len(), 1);
    assert!(!discontinuities(&out.join("low/playlist.m3u8")).is_empty(), "the ladder stays as it is");
    let packaged = finished.events("packaged");
    let [movie] = &packaged[..] else { panic!("{packaged:?}") };
    assert_eq!((movie["rung"].as_str(), movie["format"].as_str()), (Some("low"), Some("progressive")));
    // Every picture of the timeline is in it, of one encoder, which is the one that ended the job.
    let pictures: u64 =
        report(&out)["rungs"].as_array().unwrap()[1]["segments"].as_array().unwrap().iter().map(|_| 30).sum();
    assert_eq!(movie["pictures"].as_u64(), Some(pictures), "{movie}");
    let decoded = std::process::Command::new("ffmpeg")
        .args(["-v", "error", "-xerror", "-i"])
        .arg(out.join("low.mp4"))
        .args(["-f", "null", "-"])
        .output()
        .unwrap();
    assert!(decoded.status.success() && decoded.stderr.is_empty(), "{decoded:?}");
    let said = finished.events("warning");
    assert!(
        said.iter().any(|warning| warning["text"]
            .as_str()
            .unwrap()
            .contains("made again as a whole on platform software")),
        "{said:?}"
    );
    assert!(!out.join("remade").exists(), "nothing else is left behind");
    // The same command again makes nothing.
    let again = finish(job(&out, &asked)).succeeded();
    assert!(again.events("packaged").is_empty() && again.events("segment").is_empty(), "{again:#?}");
}

#[test]
fn a_crash_on_the_last_platform_is_tried_once_more() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(job(dir.path(), &["--jobs", "1"]));
    until_playable(&running, &dir.path().join("low/playlist.m3u8"), 2);
    send(running.graph(), "KILL");
    let finished = running.finish().succeeded();
    is_finished(dir.path(), LONG);
    assert!(finished.stderr.contains("SIGKILL") && finished.stderr.contains("once more"), "{finished:#?}");
    assert!(playlists(dir.path()).iter().all(|playlist| discontinuities(playlist).is_empty()));
}

#[test]
fn a_second_crash_on_the_last_platform_is_the_machines_fault() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(job(dir.path(), &["--jobs", "1"]));
    until_playable(&running, &dir.path().join("low/playlist.m3u8"), 2);
    let first = running.graph();
    send(first, "KILL");
    let second = until("another child", || children(running.id()).into_iter().find(|child| *child != first));
    send(second, "KILL");
    running.finish().failed(5, &["SIGKILL", "the same command goes on"]);
    is_not_finished(dir.path());
    finish(job(dir.path(), &[])).succeeded();
    is_finished(dir.path(), LONG);
}

#[test]
fn a_platform_that_cannot_run_here_is_a_failure_by_its_name_alone_and_passed_over_in_a_list() {
    let dir = tempfile::tempdir().unwrap();
    let (out, absent) = (dir.path().join("out"), absent(dir.path()));
    let alone = [&QUICK[..], &["--platform", &absent]].concat();
    finish(run(&small(), &out, &alone)).failed_in_one_line(5, &["nosuchenc", "missing", "software"]);
    assert!(!out.exists(), "nothing was begun");
    let list = format!("{absent},software");
    let options = [&QUICK[..], &["--platform", &list, "--json"]].concat();
    let finished = finish(run(&small(), &out, &options)).succeeded();
    is_finished(&out, 4);
    let told = finished.events("fallback");
    let [fallback] = &told[..] else { panic!("{told:?}") };
    assert_eq!(fallback["from"], "absent");
    assert!(fallback["why"].as_str().unwrap().contains("nosuchenc"), "{fallback}");
    assert!(fallback["segment"].is_null(), "{fallback}");
    assert_eq!(report(&out)["fallbacks"].as_array().unwrap().len(), 1);
    finish(transcode(["plan", &small(), "--platform", "nonsense,software"])).failed(2, &["nonsense"]);
}

#[test]
fn what_the_input_is_to_blame_for_does_not_fall_back() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let whole = made(
        dir.path(),
        "whole.mp4",
        &["-i", &clip("gopro-karma.mp4"), "-t", "6", "-c", "copy", "-movflags", "+faststart"],
    );
    let bytes = std::fs::read(&whole).unwrap();
    let cut = dir.path().join("cut.mp4");
    // The tables still promise all of it.
    let mut zeros = bytes.clone();
    zeros[bytes.len() / 2..].fill(0);
    std::fs::write(&cut, zeros).unwrap();
    let list = format!("{},software", other_encoder(dir.path()));
    let options = [&QUICK[..], &["--platform", &list, "--json"]].concat();
    let finished = finish(run(cut.to_str().unwrap(), &out, &options));
    assert_eq!(finished.events("fallback"), Vec::<Value>::new(), "{finished:#?}");
    finished.failed(3, &["cut.mp4"]);
}

#[test]
fn auto_is_software_where_there_is_nothing_else_and_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let (out, state) = (dir.path().join("out"), dir.path().join("state"));
    let mut command = run(&small(), &out, &QUICK);
    command.env("TRANSCODE_STATE_DIR", &state);
    finish(command).succeeded();
    is_finished(&out, 4);
    assert!(report(&out)["fallbacks"].is_null());
    assert!(!state.join("platforms.json").exists(), "nothing was tried");
}

#[test]
fn what_another_platform_or_an_unmeasured_machine_had_planned_is_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    // Two segments a chunk and three at most, where the built-in one goes on doubling.
    let quick = platform(dir.path(), "quick", |text| {
        let line =
            text.lines().find(|line| line.starts_with("start = ")).expect("what a start costs").to_owned();
        text.replacen(&line, "start = \"1ms\"", 1)
    });
    let input = clip("gopro-karma.mp4");
    let options = ["--rung", "low:96:100k:32k", "--segment", "1s", "--preset", "ultrafast", "--end", "9"];
    finish(run(&input, &out, &[&options[..], &["--platform", &quick]].concat())).succeeded();
    let planned = std::fs::read_to_string(out.join("plan.json")).unwrap();
    std::fs::remove_file(out.join("report.json")).unwrap();
    std::fs::remove_file(&segments(&out.join("low/playlist.m3u8"))[2]).unwrap();
    finish(run(&input, &out, &options)).succeeded();
    is_finished(&out, 9);
    assert_eq!(std::fs::read_to_string(out.join("plan.json")).unwrap(), planned);
    let chunks = |plan: &str| serde_json::from_str::<Value>(plan).expect("a plan")["chunks"].clone();
    let all = [&["plan", "--json", &input], &options[..]].concat();
    let fresh = finish(transcode(all)).succeeded().stdout;
    assert_ne!(chunks(&planned), chunks(&fresh), "otherwise this says nothing");
}

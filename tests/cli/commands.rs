//! The commands that make nothing.

use crate::support::{Running, clip, finish, small, transcode};
use std::io::Read;
use std::process::Stdio;

#[test]
fn help_teaches_with_examples_and_exit_codes() {
    for command in
        ["probe", "plan", "run", "profiles", "platforms", "play", "doctor", "schema", "completions"]
    {
        let help = finish(transcode([command, "--help"])).succeeded().stdout;
        for word in ["Examples:", "Exit codes:", "130  interrupted", &format!("transcode {command}")] {
            assert!(help.contains(word), "{command}: {word}\n{help}");
        }
        assert!(!help.contains("child"), "the hidden command shows: {help}");
    }
}

#[test]
fn usage_errors_exit_with_two() {
    for line in [&["run"][..], &["nonsense"], &["run", "a", "--output", "b", "--crf", "99"], &["probe"]] {
        let finished = finish(transcode(line));
        assert_eq!(finished.code(), Some(2), "{finished:#?}");
    }
    finish(transcode(["plan", &small(), "--profile", "nonsense"]))
        .failed_in_one_line(2, &["nonsense", "abr"]);
    finish(transcode(["plan", &small(), "--platform", "nonsense"])).failed_in_one_line(2, &["software"]);
    finish(transcode(["--config", "/does/not/exist.toml", "probe", &small()]))
        .failed_in_one_line(2, &["/does/not/exist.toml"]);
}

#[test]
fn the_schema_of_jobs_is_published() {
    let text = finish(transcode(["schema", "job"])).succeeded().stdout;
    let schema: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(schema["title"], "Transcode job");
    assert!(schema["properties"]["sources"].is_object(), "{text}");
    assert_eq!(finish(transcode(["schema", "nonsense"])).code(), Some(2));
}

#[test]
fn probe_describes_a_video() {
    let text = finish(transcode(["probe", &clip("gopro-karma.mp4")])).succeeded().stdout;
    for word in ["h264", "aac"] {
        assert!(text.to_lowercase().contains(word), "{word}: {text}");
    }
    let json = finish(transcode(["probe", "--json", &clip("gopro-karma.mp4")])).succeeded().stdout;
    assert_eq!(json.lines().count(), 1);
    let info: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(info["video"][0]["frame_rate"], "30000/1001");
    assert_eq!(info["video"][0]["codec"], "h264");
    assert_eq!(info["audio"][0]["codec"], "aac");
}

#[test]
fn plan_explains_itself_and_prints_as_json() {
    let input = clip("gopro-karma.mp4");
    let text = finish(transcode(["plan", &input])).succeeded().stdout;
    assert!(text.contains("480p") && text.contains("1080p"), "kept and dropped rungs are named: {text}");
    let json = finish(transcode(["plan", "--json", &input, "--segment", "2s", "--crf", "21", "--no-audio"]));
    let plan: serde_json::Value = serde_json::from_str(&json.succeeded().stdout).expect("JSON");
    assert_eq!(plan["timeline"]["segment_slots"], 60, "2 s of 29.97 rounded up to whole pictures");
    let rungs = plan["rungs"].as_array().expect("rungs");
    assert!(rungs.iter().all(|rung| rung["audio"].is_null()), "{rungs:?}");
    assert!(rungs.iter().all(|rung| rung["video"]["rate_control"]["capped-crf"]["crf"] == 21), "{rungs:?}");
}

#[test]
fn planning_is_repeatable() {
    let plan = || finish(transcode(["plan", "--json", &small()])).succeeded().stdout;
    assert_eq!(plan(), plan());
}

#[test]
fn profiles_and_platforms_print_files_to_start_from() {
    let dir = tempfile::tempdir().unwrap();
    for (list, name, option) in [("profiles", "abr", "--profile"), ("platforms", "software", "--platform")] {
        assert!(finish(transcode([list])).succeeded().stdout.contains(name));
        let text = finish(transcode([list, name])).succeeded().stdout;
        let file = dir.path().join("own.toml");
        std::fs::write(&file, text).unwrap();
        let file = file.to_str().unwrap();
        let own = finish(transcode(["plan", "--json", &small(), option, file])).succeeded().stdout;
        assert_eq!(own, finish(transcode(["plan", "--json", &small()])).succeeded().stdout);
        finish(transcode([list, "nonsense"])).failed_in_one_line(2, &["nonsense", name]);
    }
}

#[test]
fn completions_are_printed() {
    assert!(finish(transcode(["completions", "bash"])).succeeded().stdout.contains("complete -F"));
}

#[test]
fn a_closed_stdout_is_not_a_panic() {
    let mut command = transcode(["plan", "--json", &small()]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    drop(child.stdout.take());
    let mut stderr = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut stderr).expect("UTF-8");
    assert_eq!(child.wait().expect("ends").code(), Some(0), "{stderr}");
    assert_eq!(stderr, "");
}

#[test]
fn the_child_without_a_socket_says_who_starts_it() {
    let finished = Running::start(transcode(["child"])).finish();
    assert_eq!(finished.code(), Some(1));
    assert!(finished.stderr.contains("started by transcode itself"), "{finished:#?}");
}

//! `transcode doctor`: what programs and people read of it.

use crate::support::{Finished, finish, transcode};
use serde_json::Value;
use std::path::Path;

fn doctor(state: &Path, args: &[&str]) -> Finished {
    let mut command = transcode([&["doctor"], args].concat());
    command.env("TRANSCODE_STATE_DIR", state);
    finish(command)
}

fn document(finished: Finished) -> Value {
    serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{error}: {finished:#?}"))
}

#[test]
fn the_software_platform_passes_and_is_remembered_until_it_is_tried_again() {
    let state = tempfile::tempdir().unwrap();
    let found = document(doctor(state.path(), &["--json", "--platform", "software"]).succeeded());
    let keys: Vec<&str> = found.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected =
        ["auto", "gstreamer", "machine", "platforms", "program", "registry", "store", "summary"];
    expected.sort_unstable();
    let mut keys = keys;
    keys.sort_unstable();
    assert_eq!(keys, expected);
    let machine = &found["machine"];
    for key in ["kernel", "nodes", "drivers", "cores", "cores_allowed", "memory", "memory_free", "state"] {
        assert!(!machine[key].is_null(), "{key}: {machine}");
    }
    assert!(machine["cores_allowed"].as_u64() <= machine["cores"].as_u64(), "{machine}");
    assert!(found["store"].is_null());
    let [software] = &found["platforms"].as_array().unwrap()[..] else { panic!("{found}") };
    assert_eq!((&software["name"], &software["present"]), (&"software".into(), &true.into()));
    assert_eq!((&software["passed"], &software["tried_now"]), (&true.into(), &true.into()));
    let pairs = software["pairs"].as_array().unwrap();
    let clips: Vec<&str> = pairs.iter().filter_map(|pair| pair["clip"].as_str()).collect();
    assert_eq!(clips, ["h264", "hevc", "hevc-10", "vp9", "av1", "mpeg2"]);
    for pair in pairs {
        let judged = &pair["judged"];
        assert_eq!(judged["pictures"], 60, "{pair}");
        assert!(judged["psnr"].as_f64().unwrap() > 24.0, "{pair}");
    }
    assert!(software["speed"].as_f64().unwrap() > 0.0);
    assert!(software["start_ms"].as_u64().unwrap() > 0);
    assert_eq!(found["auto"], serde_json::json!(["software"]));
    // What was found out is kept, until somebody wants it anew.
    let again = document(doctor(state.path(), &["--json", "--platform", "software"]).succeeded());
    assert_eq!(again["platforms"][0]["tried_now"], false);
    assert_eq!(again["platforms"][0]["speed"], software["speed"]);
    // For people.
    let text = doctor(state.path(), &["--platform", "software"]).succeeded().stdout;
    for word in
        ["cores", "memory", "GStreamer", "platform", "software", "HEVC 10 bit", "realtime", "auto uses"]
    {
        assert!(text.contains(word), "{word}: {text}");
    }
    let retried =
        document(doctor(state.path(), &["--json", "--platform", "software", "--retry"]).succeeded());
    assert_eq!(retried["platforms"][0]["tried_now"], true);
}

/// A bare CPU box is read at a glance; what hardware would need is told to those who ask for it.
#[test]
fn without_a_device_what_is_not_here_takes_one_line() {
    let state = tempfile::tempdir().unwrap();
    let found = document(doctor(state.path(), &["--json", "--platform", "software"]).succeeded());
    if !found["machine"]["nodes"].as_array().unwrap().is_empty() {
        eprintln!("this machine has an accelerator: every platform has its lines");
        return;
    }
    let text = doctor(state.path(), &[]).succeeded().stdout;
    assert!(text.lines().count() < 16, "{text}");
    let line = text.lines().find(|line| line.starts_with("not here: ")).unwrap();
    assert!(line.contains("nvidia") && line.contains("jetson"), "{line}");
    assert!(line.ends_with("transcode doctor --platform jetson"), "{line}");
    let asked = doctor(state.path(), &["--platform", "jetson"]);
    assert_eq!(asked.code(), Some(5));
    assert!(asked.stdout.contains("nvidia-l4t-gstreamer"), "{asked:#?}");
}

#[test]
fn what_is_missing_is_named_with_what_brings_it() {
    let dir = tempfile::tempdir().unwrap();
    let software = finish(transcode(["platforms", "software"])).succeeded().stdout;
    let absent = dir.path().join("absent.toml");
    let text = software.replacen("name = \"software\"", "name = \"absent\"", 1);
    std::fs::write(&absent, text.replace("\"x264enc\"", "\"nosuchenc\"")).unwrap();
    let absent = absent.to_str().unwrap();
    let finished = doctor(dir.path(), &["--json", "--platform", absent]);
    assert_eq!(finished.code(), Some(5), "{finished:#?}");
    assert!(finished.stderr.contains("error: platform absent: it cannot run here"), "{finished:#?}");
    let found = document(finished);
    let platform = &found["platforms"][0];
    assert_eq!(platform["present"], false);
    assert_eq!(platform["missing"][0]["element"], "nosuchenc");
    assert!(!platform["missing"][0]["package"].as_str().unwrap().is_empty());
    assert!(doctor(dir.path(), &["--platform", absent]).stdout.contains("nosuchenc"));
    doctor(dir.path(), &["--platform", "nonsense"]).failed_in_one_line(2, &["nonsense", "software"]);
}

#[test]
fn a_store_that_does_not_answer_is_a_finding_and_an_address_that_cannot_be_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    // Nobody listens on the discard port.
    let found = document(
        doctor(dir.path(), &["--json", "--platform", "software", "--store", "http://127.0.0.1:9"])
            .succeeded(),
    );
    assert!(found["store"]["skew"].is_null());
    assert!(found["store"]["error"].as_str().is_some_and(|error| error.contains("127.0.0.1")), "{found}");
    doctor(dir.path(), &["--platform", "software", "--store", "nonsense"])
        .failed_in_one_line(2, &["nonsense"]);
}

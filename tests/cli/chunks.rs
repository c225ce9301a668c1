//! One job by several processes, killed and gone on with, and by two at once.

use crate::support::{
    LONG, Running, finish, is_finished, long_job, made, media_playlist, playlists, run, segments, transcode,
    until_playable,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// `long_job` with more on the line.
fn job(output: &Path, more: &[&str]) -> Command {
    let mut all = long_job(output);
    all.extend(more.iter().map(|&word| word.to_owned()));
    transcode(all)
}

/// What of a ladder does not depend on who made it: by playlist its segments' lengths, and what a
/// decoder counts in the whole.
fn essence(output: &Path) -> Vec<(Vec<f32>, String, String)> {
    let of = |playlist: &std::path::PathBuf| {
        let lengths = media_playlist(playlist).segments.iter().map(|segment| segment.duration).collect();
        (lengths, decoded(playlist, "v:0"), decoded(playlist, "a:0"))
    };
    playlists(output).iter().map(of).collect()
}

/// The decoder's own count of pictures or samples, with every complaint an error.
fn decoded(playlist: &Path, stream: &str) -> String {
    let list = playlist.to_str().unwrap();
    let all = ["-v", "error", "-xerror", "-i", list, "-map", &format!("0:{stream}"), "-f", "framecrc", "-"];
    let output =
        Command::new("ffmpeg").args(all).output().expect("ffmpeg is installed: run scripts/setup test");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaints.is_empty(), "{}: {complaints}", playlist.display());
    // #…, then: stream, dts, pts, duration, bytes, checksum.
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let bytes: u64 =
        lines.iter().map(|line| line.split(',').nth(4).unwrap().trim().parse::<u64>().unwrap()).sum();
    format!("{} frames, {bytes} bytes", lines.len())
}

/// The lines of `segment` events: by key, how often it was made.
fn encodes(stdout: &str, into: &mut BTreeMap<String, u32>) {
    // A killed process may leave half a line.
    for event in stdout.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()) {
        if event["event"] == "segment" && event["adopted"] == false {
            *into.entry(event["key"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
}

#[test]
fn chunks_side_by_side_make_the_same_ladder() {
    let dir = tempfile::tempdir().unwrap();
    let (one, many) = (dir.path().join("one"), dir.path().join("many"));
    finish(job(&one, &["--jobs", "1"])).succeeded();
    let finished = finish(job(&many, &["--jobs", "3", "--chunk", "1s", "--json"])).succeeded();
    is_finished(&many, LONG);
    assert_eq!(essence(&one), essence(&many));
    let planned: serde_json::Value = serde_json::from_str(finished.stdout.lines().next().unwrap()).unwrap();
    assert_eq!((planned["jobs"].as_u64(), planned["runs"].as_array().unwrap().len()), (Some(3), LONG));
    let mut made = BTreeMap::new();
    encodes(&finished.stdout, &mut made);
    assert_eq!((made.len(), made.values().sum::<u32>()), (2 * LONG, 2 * LONG as u32));
}

#[test]
fn killed_at_ten_moments_it_goes_on_and_makes_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, killed) = (dir.path().join("whole"), dir.path().join("killed"));
    finish(job(&whole, &["--jobs", "1"])).succeeded();
    let mut made = BTreeMap::new();
    // Moments that differ from run to run and are the same in every test run.
    let mut seed = 0x2545_f491u32;
    let (mut kills, mut attempts) = (0, 0);
    loop {
        attempts += 1;
        assert!(attempts < 60, "it does not come to an end");
        let running = Running::start(job(&killed, &["--jobs", "2", "--chunk", "2s", "--json"]));
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if kills < 10 {
            std::thread::sleep(Duration::from_millis(250 + u64::from(seed >> 22)));
            // It may have come to its end.
            let id = running.id().to_string();
            let sent = Command::new("kill").args(["-KILL", &id]).output().unwrap();
            kills += u32::from(sent.status.success());
        }
        let finished = running.finish();
        encodes(&finished.stdout, &mut made);
        match finished.code() {
            Some(0) => break,
            None => {}
            Some(_) => panic!("{finished:#?}"),
        }
    }
    assert!(kills >= 3, "{kills} kills: the machine is too fast for this test");
    is_finished(&killed, LONG);
    assert_eq!(essence(&whole), essence(&killed));
    assert!(made.values().all(|count| *count == 1), "a stored segment was made again: {made:?}");
}

#[test]
fn two_processes_at_one_destination_do_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    let (alone, shared) = (dir.path().join("alone"), dir.path().join("shared"));
    let first = Running::start(job(&shared, &["--jobs", "1", "--chunk", "1s"]));
    let second = Running::start(job(&shared, &["--jobs", "2", "--chunk", "1s", "--json"]));
    first.finish().succeeded();
    second.finish().succeeded();
    is_finished(&shared, LONG);
    finish(job(&alone, &[])).succeeded();
    assert_eq!(essence(&alone), essence(&shared));
}

#[test]
fn another_source_profile_or_chunk_is_refused_with_the_difference() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let size = ["-f", "lavfi", "-i", "testsrc=s=160x120:r=25", "-t", "3", "-c:v", "libx264"];
    let clip = made(dir.path(), "clip.mp4", &size);
    let options = ["--rung", "low:96:100k:32k", "--segment", "1s", "--preset", "ultrafast"];
    let running = Running::start(run(&clip, &out, &options));
    running.finish().succeeded();
    let before = std::fs::read(out.join("low/playlist.m3u8")).unwrap();
    finish(run(&clip, &out, &[&options[..], &["--chunk", "2s"]].concat()))
        .failed(2, &["chunks", "--overwrite"]);
    finish(run(&clip, &out, &[&options[..], &["--crf", "30"]].concat()))
        .failed(2, &["rate_control", "--overwrite"]);
    let longer = ["-f", "lavfi", "-i", "testsrc2=s=160x120:r=25", "-t", "3", "-c:v", "libx264"];
    made(dir.path(), "clip.mp4", &longer);
    finish(run(&clip, &out, &options)).failed(2, &["source", "--overwrite"]);
    assert_eq!(std::fs::read(out.join("low/playlist.m3u8")).unwrap(), before, "nothing was touched");
    finish(run(&clip, &out, &[&options[..], &["--overwrite"]].concat())).succeeded();
}

#[test]
fn a_segment_that_was_damaged_while_nobody_looked_is_made_again_and_said() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(job(dir.path(), &["--jobs", "1"]));
    until_playable(&running, &dir.path().join("low/playlist.m3u8"), 3);
    running.signal("KILL");
    running.finish();
    let bad = segments(&dir.path().join("low/playlist.m3u8"))[1].clone();
    let bytes = std::fs::read(&bad).unwrap();
    std::fs::write(&bad, &bytes[..bytes.len() / 188 / 2 * 188]).unwrap();
    let finished = finish(job(dir.path(), &["--json"])).succeeded();
    assert!(finished.stdout.contains("it is made again"), "{}", finished.stdout);
    is_finished(dir.path(), LONG);
    essence(dir.path());
}

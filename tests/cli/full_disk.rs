//! A disk that is full in mid-job: one clear error, nothing half-named, and the same command goes on
//! once there is room.
//!
//! The disk is a small tmpfs in a mount namespace of its own, where this machine lets us have one. A limit
//! on the size of files (`ulimit -f`), which needs no rights, is tested everywhere.

use crate::support::{
    Finished, files, finish, is_finished, is_not_finished, made, media_playlist, run, transcode,
};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// Seconds of the clip, each a segment; the first four are a plain grey, the others noise that takes all
/// the bits it may have (some 250 kB a segment).
const SEGMENTS: usize = 8;
const CALM: usize = 4;

const OPTIONS: [&str; 8] =
    ["--rung", "low:180:2M:32k", "--segment", "1s", "--preset", "ultrafast", "--jobs", "1"];

fn source(dir: &Path) -> String {
    let noise = format!("noise=alls=90:allf=t:enable='gte(t,{CALM})'");
    let grey = format!("color=gray:s=320x180:r=25:d={SEGMENTS}");
    made(dir, "clip.mp4", &["-f", "lavfi", "-i", &grey, "-vf", &noise, "-c:v", "libx264", "-g", "25"])
}

/// Every stored segment, and when it was written.
fn stored(output: &Path) -> Vec<(PathBuf, SystemTime)> {
    let all = files(output).into_iter().filter(|path| path.extension().is_some_and(|end| end == "ts"));
    let time = |path: &PathBuf| path.metadata().and_then(|data| data.modified()).unwrap();
    all.map(|path| (path.strip_prefix(output).unwrap().to_path_buf(), time(&output.join(&path)))).collect()
}

/// What holds of a destination whose disk was full: `full` as it was then, `after` once the same command
/// had room.
fn holds(first: Finished, words: &[&str], full: &Path, second: Finished, after: &Path) {
    let failed = first.failed(4, words);
    let said: Vec<&str> = failed.stderr.lines().filter(|line| line.starts_with("error:")).collect();
    assert!(said[0].contains("/out/"), "which file? {}", said[0]);
    is_not_finished(full);
    let half: Vec<_> =
        files(full).into_iter().filter(|path| path.to_string_lossy().contains("/.tmp-")).collect();
    assert!(half.is_empty(), "{half:?}");
    let before = stored(full);
    // Those before the one that did not fit may have been on their way.
    assert!((1..SEGMENTS).contains(&before.len()), "it was to fail in the middle: {before:?}");
    let named = full.join("low/playlist.m3u8");
    let named = if named.exists() { media_playlist(&named).segments.len() } else { 0 };
    assert!(named <= before.len(), "{named} are named, {} are there", before.len());

    second.succeeded();
    is_finished(after, SEGMENTS);
    let now = stored(after);
    for kept in before {
        assert!(now.contains(&kept), "{} was made again", kept.0.display());
    }
}

#[test]
fn a_limit_on_files_is_told_and_the_same_command_goes_on_without_it() {
    let dir = tempfile::tempdir().unwrap();
    let (clip, out) = (source(dir.path()), dir.path().join("out"));
    let first = finish(limited(&run(&clip, &out, &OPTIONS)));
    // As it was when it failed: the second run changes it.
    let full = dir.path().join("full/out");
    copy(&out, &full);
    let second = finish(run(&clip, &out, &OPTIONS));
    holds(first, &["low/0000", ".ts", "File too large", "raise the limit"], &full, second, &out);
}

/// The same for what is written piece by piece.
#[test]
fn a_piece_that_does_not_fit_is_told_and_no_list_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let (clip, out) = (source(dir.path()), dir.path().join("out"));
    let split = || {
        let mut split = transcode(["split", &clip, "--output"]);
        split.arg(&out).args(["--segment", "1s", "--chunk", "2s"]);
        split
    };
    finish(limited(&split()))
        .failed(4, &["out/chunks/source/0000", ".mkv", "File too large", "raise the limit"]);
    let left = files(&out);
    let whole = |path: &PathBuf| path.extension().is_some_and(|end| end == "mkv");
    assert!(left.iter().all(whole) && left.len() < SEGMENTS / 2, "{left:?}");
    finish(split()).succeeded();
    assert_eq!(files(&out).len(), SEGMENTS / 2 + 1);
}

#[test]
fn a_full_disk_is_told_and_the_same_command_goes_on_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let disk = dir.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let Some(namespace) = namespace(&disk) else {
        eprintln!(
            "no file system can be mounted here (a container without the right): a full disk is tested by the \
             limit on files alone"
        );
        return;
    };
    let clip = source(dir.path());
    let job = run(&clip, &disk.join("out"), &OPTIONS);
    let script = r#"set -e
        disk=$1 dir=$2; shift 2
        mount -t tmpfs -o size=4m tmpfs "$disk"
        head -c 3500000 /dev/zero > "$disk/ballast"
        code=0; "$@" > "$dir/out.1" 2> "$dir/err.1" || code=$?
        mkdir "$dir/1" "$dir/2"
        cp -a "$disk/out" "$dir/1/out"
        rm "$disk/ballast"
        "$@" > "$dir/out.2" 2> "$dir/err.2"
        cp -a "$disk/out" "$dir/2/out"
        exit "$code""#;
    let mut inside = Command::new(namespace[0]);
    inside.args(&namespace[1..]).args(["sh", "-c", script, "sh"]).arg(&disk).arg(dir.path());
    inside.arg(job.get_program()).args(job.get_args());
    in_its_environment(&mut inside, &job);
    let both = finish(inside);
    let said = |name: &str| {
        std::fs::read_to_string(dir.path().join(name))
            .unwrap_or_else(|error| panic!("{name}: {error}: {both:#?}"))
    };
    let first = Finished { status: both.status, stdout: said("out.1"), stderr: said("err.1") };
    let ok = Command::new("true").status().unwrap();
    let second = Finished { status: ok, stdout: said("out.2"), stderr: said("err.2") };
    let (full, after) = (dir.path().join("1/out"), dir.path().join("2/out"));
    holds(first, &["No space left on device", "make room and run again"], &full, second, &after);
}

/// The same command where no file may be larger than 100 kB.
fn limited(job: &Command) -> Command {
    let mut limited = Command::new("sh");
    // In blocks of 512 bytes (POSIX, ulimit).
    limited.args(["-c", "ulimit -f 200 && exec \"$@\"", "sh"]).arg(job.get_program()).args(job.get_args());
    in_its_environment(&mut limited, job);
    limited
}

fn in_its_environment(command: &mut Command, job: &Command) {
    for (name, value) in job.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
}

/// A command in front of which one is run that may mount; `None` where that is not allowed.
fn namespace(at: &Path) -> Option<&'static [&'static str]> {
    let ways: [&'static [&'static str]; 2] =
        [&["unshare", "--mount"], &["unshare", "--user", "--map-root-user", "--mount"]];
    ways.into_iter().find(|way| {
        let mut trial = Command::new(way[0]);
        trial.args(&way[1..]).args(["mount", "-t", "tmpfs", "tmpfs"]).arg(at);
        trial.output().is_ok_and(|output| output.status.success())
    })
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.is_ok_and(|status| status.success()), "cp {}", from.display());
}

//! `transcode split`: pieces in a directory, each a source, together the whole; what is refused.

use crate::support::{Finished, QUICK, files, finish, frames, made, renditions, run, segments, transcode};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// Pieces of two seconds; a key frame comes every second.
const OPTIONS: [&str; 4] = ["--segment", "1s", "--chunk", "2s"];

/// Seven seconds at 25 pictures a second, with a key frame every second.
fn source(dir: &Path) -> String {
    let pictures = ["-f", "lavfi", "-i", "testsrc=s=192x108:r=25:d=7"];
    let sound = ["-f", "lavfi", "-i", "sine=r=48000:d=7", "-c:v", "libx264", "-g", "25", "-c:a", "aac"];
    made(dir, "clip.mp4", &[&pictures[..], &sound].concat())
}

fn split(input: &str, output: &Path, options: &[&str]) -> Finished {
    let mut command = transcode(["split", input, "--output"]);
    command.arg(output).args(OPTIONS).args(options);
    finish(command)
}

#[test]
fn pieces_are_listed_and_each_makes_its_part_of_the_ladder() {
    let dir = tempfile::tempdir().unwrap();
    let (clip, out) = (source(dir.path()), dir.path().join("pieces"));
    let done = split(&clip, &out, &["--json"]).succeeded();
    let lines: Vec<Value> = done.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (last, pieces) = lines.split_last().unwrap();
    assert_eq!((&last["event"], &last["pieces"]), (&"done".into(), &4.into()), "{lines:?}");
    let list: Value =
        serde_json::from_slice(&std::fs::read(out.join("chunks/source.json")).unwrap()).unwrap();
    assert_eq!(list["pieces"].as_array().unwrap().len(), 4);
    let made: Vec<_> = files(&out).into_iter().filter(|path| path.extension().unwrap() == "mkv").collect();
    assert_eq!(made.len(), 4);
    for (at, (path, said)) in made.iter().zip(pieces).enumerate() {
        let wanted = if at < 3 { 50 } else { 25 };
        assert_eq!((&said["event"], &said["found"]), (&"piece".into(), &false.into()), "{said}");
        assert_eq!((frames(path, "v"), said["pictures"].as_u64()), (wanted, Some(wanted)), "{said}");
        assert_eq!(path, &out.join(said["key"].as_str().unwrap()));
        // Usable alone.
        let ladder = dir.path().join(format!("ladder-{at}"));
        finish(run(path.to_str().unwrap(), &ladder, &QUICK)).succeeded();
        let named = segments(&renditions(&ladder)[0]);
        assert_eq!(
            named.iter().map(|segment| frames(segment, "v")).sum::<u64>(),
            wanted,
            "{}",
            path.display()
        );
    }
}

#[test]
fn pieces_that_are_there_are_left_and_others_not_replaced_unasked() {
    let dir = tempfile::tempdir().unwrap();
    let (clip, out) = (source(dir.path()), dir.path().join("pieces"));
    let first = split(&clip, &out, &[]).succeeded();
    assert!(first.stdout.contains("chunks/source/00003.mkv: 25 pictures, "), "{}", first.stdout);
    let again = split(&clip, &out, &[]).succeeded();
    assert_eq!(again.stdout.matches("there before").count(), 4, "{}", again.stdout);
    split(&clip, &out, &["--profile", "match"])
        .failed(2, &["another source, plan or version", "--overwrite"]);
    let replaced = split(&clip, &out, &["--profile", "match", "--overwrite"]).succeeded();
    assert!(!replaced.stdout.contains("there before"), "{}", replaced.stdout);
}

/// Its plan has one chunk, because it cannot say how long it is.
#[test]
fn a_recording_is_divided_by_the_length_that_was_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let (clip, out) = (source(dir.path()), dir.path().join("pieces"));
    let stream = made(dir.path(), "clip.ts", &["-i", &clip, "-c", "copy"]);
    split(&stream, &out, &[]).succeeded();
    let made = files(&out).into_iter().filter(|path| path.extension().unwrap() == "mkv");
    assert_eq!(made.map(|path| frames(&path, "v")).collect::<Vec<_>>(), [50, 50, 50, 25]);
}

#[test]
fn what_cannot_be_divided_is_refused_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("pieces");
    let sound = made(dir.path(), "a.mp3", &["-f", "lavfi", "-i", "sine=d=4", "-c:a", "libmp3lame"]);
    split(&sound, &out, &[]).failed(3, &["a.mp3", "MPEG-TS", "`transcode run` takes it as it is"]);
    let clip = source(dir.path());
    split(&clip, &out, &["--start", "2"]).failed(2, &["--start", "the whole source"]);
    let turned = dir.path().join("turned.mp4").to_str().unwrap().to_owned();
    let turn = ["-v", "error", "-i", &clip, "-c", "copy", "-metadata:s:v", "rotate=90", &turned];
    assert!(Command::new("ffmpeg").args(turn).status().unwrap().success());
    split(&turned, &out, &[]).failed(3, &["turned.mp4", "to be turned", "`transcode run`"]);
    assert!(!out.join("chunks").exists(), "something was made");
}

#[test]
fn its_help_shows_how_it_is_used_and_what_its_codes_mean() {
    let help = finish(transcode(["split", "--help"])).succeeded().stdout;
    for word in
        ["transcode split video.mp4 --output pieces", "chunks/source.json", "--overwrite", "Exit codes"]
    {
        assert!(help.contains(word), "{word} is missing: {help}");
    }
}

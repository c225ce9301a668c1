//! What a destination may hold already.

use crate::support::{QUICK, files, finish, is_finished, is_not_finished, run, small};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// When each file was last written.
fn times(dir: &Path) -> BTreeMap<PathBuf, SystemTime> {
    let time = |path: &PathBuf| std::fs::metadata(path).and_then(|data| data.modified()).expect("a time");
    files(dir).into_iter().map(|path| (path.clone(), time(&path))).collect()
}

#[test]
fn a_finished_job_is_found_and_nothing_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let first = finish(run(&small(), &out, &QUICK)).succeeded();
    for word in ["realtime", "low", "bit/s", "play it with: transcode play"] {
        assert!(first.stdout.contains(word), "{word}: {}", first.stdout);
    }
    is_finished(&out, 4);
    let before = times(&out);
    let second = finish(run(&small(), &out, &QUICK)).succeeded();
    assert!(second.stdout.contains("finished before"), "{}", second.stdout);
    assert_eq!(times(&out), before);
}

#[test]
fn another_jobs_output_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    finish(run(&small(), &out, &QUICK)).succeeded();
    let before = times(&out);
    let other = [&QUICK[..], &["--end", "2"]].concat();
    let refused = finish(run(&small(), &out, &other)).failed_in_one_line(2, &["--overwrite"]);
    assert!(refused.stderr.contains("out"), "{refused:#?}");
    assert_eq!(times(&out), before);
    finish(run(&small(), &out, &[&other[..], &["--overwrite"]].concat())).succeeded();
    is_finished(&out, 2);
    assert!(!out.join("low/00002.ts").exists(), "the other job's segments are gone");
}

#[test]
fn foreign_files_are_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("master.m3u8"), "mine").unwrap();
    finish(run(&small(), dir.path(), &QUICK)).failed_in_one_line(2, &["master.m3u8"]);
    assert_eq!(std::fs::read(dir.path().join("master.m3u8")).unwrap(), b"mine");
}

#[test]
fn a_segment_that_was_lost_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    finish(run(&small(), &out, &QUICK)).succeeded();
    std::fs::remove_file(out.join("low/00002.ts")).unwrap();
    finish(run(&small(), &out, &QUICK)).succeeded();
    is_finished(&out, 4);
}

#[test]
fn a_file_in_the_way_of_the_directory_is_the_stores_fault() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "not a directory").unwrap();
    finish(run(&small(), &file.join("out"), &QUICK)).failed_in_one_line(4, &["file"]);
    is_not_finished(&file);
}

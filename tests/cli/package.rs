//! `transcode package`: where files go, what is said, what is refused.

use crate::support::{
    Finished, QUICK, Running, built, files, finish, frames, is_finished, long_job, run, segments, small,
    transcode, until, until_playable,
};
use serde_json::Value;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// A finished job of two rungs in four segments of a second, to copy from.
fn job() -> &'static Path {
    static JOB: OnceLock<tempfile::TempDir> = OnceLock::new();
    let dir = JOB.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let options = [&QUICK[..], &["--rung", "tiny:64:60k:32k"]].concat();
        finish(run(&small(), &dir.path().join("out"), &options)).succeeded();
        dir
    });
    Box::leak(dir.path().join("out").into_boxed_path())
}

/// A copy of it in `dir`.
fn copy(dir: &Path) -> String {
    let out = dir.join("out");
    let copied = Command::new("cp").arg("-r").arg(job()).arg(&out).status().unwrap();
    assert!(copied.success());
    out.to_str().unwrap().to_owned()
}

fn package(args: &[&str]) -> Finished {
    finish(transcode([&["package"], args].concat()))
}

/// `run --mp4` is the same file as `package` makes, in one command; again it is found.
#[test]
fn a_run_packages_the_rungs_that_are_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let options = [&QUICK[..], &["--rung", "tiny:64:60k:32k", "--mp4", "all", "--json"]].concat();
    let unknown = [&QUICK[..], &["--mp4", "720p"]].concat();
    finish(run(&small(), &out, &unknown)).failed(2, &["--mp4 720p", "low", "`all`"]);
    for found in [false, true] {
        let done = finish(run(&small(), &out, &options)).succeeded();
        let lines: Vec<Value> = done.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let made: Vec<&Value> = lines.iter().filter(|line| line["event"] == "packaged").collect();
        assert_eq!(made.iter().map(|made| &made["rung"]).collect::<Vec<_>>(), ["low", "tiny"]);
        assert!(made.iter().all(|made| made["found"] == found && made["pictures"] == 120), "{made:?}");
        assert_eq!(lines.last().unwrap()["event"], "done");
    }
    assert_eq!(frames(&out.join("low.mp4"), "v"), 120);
    package(&[out.to_str().unwrap(), "--rung", "low", "--mp4"]).succeeded();
}

#[test]
fn every_rung_in_both_layouts_lies_beside_the_playlists() {
    let dir = tempfile::tempdir().unwrap();
    let out = copy(dir.path());
    let done = package(&[&out, "--all", "--mp4", "--fmp4"]).succeeded();
    for name in ["low.mp4", "low.fragmented.mp4", "tiny.mp4", "tiny.fragmented.mp4"] {
        assert!(done.stdout.contains(&format!("out/{name}: 4.")), "{name}: {}", done.stdout);
        let path = Path::new(&out).join(name);
        assert_eq!(frames(&path, "v"), 120, "{name}");
    }
    assert!(!files(Path::new(&out)).iter().any(|path| path.to_str().unwrap().contains(".tmp-")));
    let again = package(&[&out, "--all", "--mp4", "--fmp4"]).succeeded();
    assert_eq!(again.stdout.matches("verified, not made again").count(), 4, "{}", again.stdout);
    // The job itself is as it was.
    is_finished(Path::new(&out), 4);
    finish(run(&small(), Path::new(&out), &[&QUICK[..], &["--rung", "tiny:64:60k:32k"]].concat()))
        .succeeded();
}

#[test]
fn output_is_a_name_a_path_or_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let out = copy(dir.path());
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    package(&[&out, "--rung", "low", "--output", "film.mp4"]).succeeded();
    package(&[&out, "--rung", "low", "--output", &path("elsewhere/film.mp4")]).succeeded();
    package(&[&out, "--rung", "low,tiny", "--rung", "low", "--output", &path("many/")]).succeeded();
    let first = std::fs::read(path("out/film.mp4")).unwrap();
    assert!(first == std::fs::read(path("elsewhere/film.mp4")).unwrap());
    assert!(first == std::fs::read(path("many/low.mp4")).unwrap());
    assert_eq!(files(&dir.path().join("many")).len(), 2);
    package(&[&out, "--all", "--output", "film.mp4"]).failed_in_one_line(2, &["one name for 2 files"]);
    for name in ["master.m3u8", "plan.json"] {
        package(&[&out, "--rung", "low", "--output", name]).failed_in_one_line(2, &[name, "job's own files"]);
    }
}

#[test]
fn json_tells_the_story() {
    let dir = tempfile::tempdir().unwrap();
    let out = copy(dir.path());
    let done = package(&[&out, "--rung", "low", "--mp4", "--json"]).succeeded();
    let all: Vec<Value> = done.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let events: Vec<_> = all.iter().map(|object| object["event"].as_str().unwrap()).collect();
    assert_eq!(
        (events[0], events[events.len() - 2], events[events.len() - 1]),
        ("planned", "packaged", "done")
    );
    assert_eq!(all[0]["files"][0]["format"], "progressive");
    let made = &all[all.len() - 2];
    let path = Path::new(&out).join("low.mp4");
    assert_eq!(made["bytes"].as_u64(), Some(std::fs::metadata(&path).unwrap().len()));
    assert_eq!(
        (&made["pictures"], &made["segments"], &made["found"]),
        (&120.into(), &4.into(), &false.into())
    );
    assert!(made["location"].as_str().unwrap().ends_with("out/low.mp4"));

    let failed = package(&[&out, "--rung", "high", "--json"]);
    let object: Value = serde_json::from_str(failed.stdout.trim()).unwrap();
    assert_eq!(
        (failed.code(), &object["event"], &object["exit_code"]),
        (Some(2), &"failed".into(), &2.into())
    );
}

#[test]
fn what_cannot_be_packaged_is_told_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let out = copy(dir.path());
    package(&[&out, "--rung", "high"]).failed_in_one_line(2, &["high", "low, tiny"]);
    let neither = package(&[&out]);
    assert_eq!(neither.code(), Some(2));
    assert!(neither.stderr.contains("--all"), "{neither:?}");
    let nothing = dir.path().join("nothing");
    package(&[nothing.to_str().unwrap(), "--all"]).failed_in_one_line(3, &["nothing", "not the destination"]);
    assert!(!nothing.exists(), "it is not made");
    let empty = dir.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    package(&[empty.to_str().unwrap(), "--all"]).failed_in_one_line(3, &["no plan.json", "transcode run"]);
    std::fs::remove_file(Path::new(&out).join("report.json")).unwrap();
    package(&[&out, "--all"]).failed_in_one_line(3, &["report.json is missing", "run it to its end"]);
}

#[test]
fn a_damaged_segment_is_named_and_made_again_by_a_run() {
    let dir = tempfile::tempdir().unwrap();
    let out = copy(dir.path());
    let bad = Path::new(&out).join("low/00002.ts");
    let bytes = std::fs::read(&bad).unwrap();
    std::fs::write(&bad, &bytes[..188 * 5]).unwrap();
    let before = files(Path::new(&out));
    package(&[&out, "--all", "--mp4", "--fmp4"])
        .failed_in_one_line(3, &["low/00002.ts", "940 bytes", "run the job again"]);
    assert_eq!(files(Path::new(&out)), before, "nothing is left");
    std::fs::remove_file(&bad).unwrap();
    package(&[&out, "--rung", "low"]).failed_in_one_line(3, &["low/00002.ts", "missing"]);
    // As the message says.
    let options = [&QUICK[..], &["--rung", "tiny:64:60k:32k"]].concat();
    finish(run(&small(), Path::new(&out), &options)).succeeded();
    package(&[&out, "--rung", "low"]).succeeded();
    assert_eq!(frames(&Path::new(&out).join("low.mp4"), "v"), 120);
}

#[test]
fn something_else_under_the_name_is_left_alone_without_overwrite() {
    let dir = tempfile::tempdir().unwrap();
    let out = copy(dir.path());
    let file = Path::new(&out).join("low.mp4");
    std::fs::write(&file, "mine").unwrap();
    package(&[&out, "--rung", "low"]).failed_in_one_line(2, &["low.mp4", "--overwrite"]);
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");
    package(&[&out, "--rung", "low", "--overwrite"]).succeeded();
    assert_eq!(frames(&file, "v"), 120);
}

#[test]
fn a_job_under_way_is_not_packaged() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let running = Running::start(transcode(long_job(&out)));
    until_playable(&running, &out.join("low/playlist.m3u8"), 1);
    // It must not come to its end while we look.
    running.signal("STOP");
    package(&[out.to_str().unwrap(), "--all"]).failed_in_one_line(3, &["report.json is missing"]);
    running.signal("KILL");
    running.finish();
    assert!(!segments(&out.join("low/playlist.m3u8")).is_empty());
    package(&[out.to_str().unwrap(), "--all"]).failed_in_one_line(3, &["report.json is missing"]);
}

/// versitygw over a directory; killed when dropped.
struct Server(Child, u16, tempfile::TempDir);

impl Server {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("bucket")).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let child = Command::new(built("versitygw"))
            .args(["--access", "key", "--secret", "secret", "--port", &format!("127.0.0.1:{port}"), "posix"])
            .arg(dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("versitygw starts");
        until("the server answers", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        Self(child, port, dir)
    }

    fn transcode(&self, args: &[&str]) -> Finished {
        let mut command = transcode(args);
        command
            .env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", self.1))
            .env("AWS_ACCESS_KEY_ID", "key")
            .env("AWS_SECRET_ACCESS_KEY", "secret")
            .env("TRANSCODE_STORE_RETRY_TIME", "2s");
        finish(command)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[test]
fn a_bucket_is_packaged_and_packaged_into() {
    let server = Server::start();
    let input = small();
    let run = [&["run", &input, "--output", "s3://bucket/films/7"], &QUICK[..]].concat();
    server.transcode(&run).succeeded();
    let all = ["package", "s3://bucket/films/7", "--all", "--mp4", "--fmp4"];
    let made = server.transcode(&all).succeeded();
    assert!(made.stdout.contains("s3://bucket/films/7/low.fragmented.mp4"), "{}", made.stdout);
    let there = server.2.path().join("bucket/films/7");
    for name in ["low.mp4", "low.fragmented.mp4"] {
        assert_eq!(frames(&there.join(name), "v"), 120, "{name}");
    }
    assert!(server.transcode(&all).succeeded().stdout.contains("not made again"));
    // From a directory into a bucket, and out of the bucket into a directory.
    let dir = tempfile::tempdir().unwrap();
    let out = copy(dir.path());
    server.transcode(&["package", &out, "--rung", "tiny", "--output", "s3://bucket/down/t.mp4"]).succeeded();
    assert_eq!(frames(&server.2.path().join("bucket/down/t.mp4"), "v"), 120);
    let here = dir.path().join("here.mp4");
    let here = here.to_str().unwrap();
    server.transcode(&["package", "s3://bucket/films/7", "--rung", "low", "--output", here]).succeeded();
    assert!(std::fs::read(here).unwrap() == std::fs::read(there.join("low.mp4")).unwrap());
    server
        .transcode(&["package", &out, "--rung", "tiny", "--output", "s3://nowhere/t.mp4"])
        .failed_in_one_line(4, &["no bucket `nowhere`"]);
    server
        .transcode(&["package", "s3://bucket/films/8", "--all"])
        .failed_in_one_line(3, &["s3://bucket/films/8/", "no plan.json"]);
}

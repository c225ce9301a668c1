//! Stores that are not there, do not let us in, or go away: on a real S3 server on loopback.

use crate::support::{HANG, QUICK, Running, built, fetched, finish, long_job, small, transcode, until};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// versitygw over a directory, which also shows what is stored; killed when dropped.
struct Server {
    child: Child,
    port: u16,
    dir: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("bucket")).unwrap();
        let port = free_port();
        let child = Command::new(built("versitygw"))
            .args(["--access", "key", "--secret", "secret", "--port", &format!("127.0.0.1:{port}"), "posix"])
            .arg(dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("versitygw starts");
        until("the server answers", || TcpStream::connect(("127.0.0.1", port)).ok());
        Self { child, port, dir }
    }

    fn bucket(&self) -> std::path::PathBuf {
        self.dir.path().join("bucket")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
}

/// A command that stores on that port with these keys, and gives up after two seconds.
fn with_store(mut command: Command, port: u16, secret: &str) -> Command {
    command
        .env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}"))
        .env("AWS_ACCESS_KEY_ID", "key")
        .env("AWS_SECRET_ACCESS_KEY", secret)
        .env("AWS_REGION", "us-east-1")
        .env("TRANSCODE_STORE_RETRY_TIME", "2s");
    command
}

fn to_s3(destination: &str, port: u16, secret: &str) -> Command {
    let mut command = transcode(["run", &small(), "--output", destination]);
    command.args(QUICK);
    with_store(command, port, secret)
}

#[test]
fn a_ladder_goes_into_a_bucket() {
    let server = Server::start();
    let finished = finish(to_s3("s3://bucket/films/7", server.port, "secret")).succeeded();
    assert!(finished.stdout.contains("s3://bucket/films/7/master.m3u8"), "{}", finished.stdout);
    assert!(!finished.stdout.contains("transcode play"), "a bucket is not played from a directory");
    crate::support::is_finished(&server.bucket().join("films/7"), 4);
    let again = finish(to_s3("s3://bucket/films/7", server.port, "secret")).succeeded();
    assert!(again.stdout.contains("finished before"), "{}", again.stdout);
}

#[test]
fn a_missing_bucket_and_wrong_keys_are_told_before_anything_is_made() {
    let server = Server::start();
    finish(to_s3("s3://nowhere/films", server.port, "secret")).failed_in_one_line(4, &["nowhere"]);
    finish(to_s3("s3://bucket/films", server.port, "wrong")).failed_in_one_line(4, &["s3://bucket"]);
    let none: Vec<_> = crate::support::files(&server.bucket());
    assert!(none.is_empty(), "{none:?}");
}

#[test]
fn a_store_that_is_not_there_is_told_after_the_retries() {
    let finished = finish(to_s3("s3://bucket/films", free_port(), "secret"));
    finished.failed(4, &["s3://bucket"]);
}

#[test]
fn a_store_that_goes_away_in_mid_job_fails_the_job_and_not_the_machine() {
    let mut server = Server::start();
    let mut args = long_job(Path::new("unused"));
    let at = args.iter().position(|word| word == "--output").unwrap() + 1;
    args[at] = "s3://bucket/films".to_owned();
    let running = Running::start(with_store(transcode(args), server.port, "secret"));
    crate::support::until_playable(&running, &server.bucket().join("films/low/playlist.m3u8"), 2);
    server.child.kill().unwrap();
    let begun = std::time::Instant::now();
    running.finish().failed(4, &["s3://bucket/films"]);
    assert!(begun.elapsed() < HANG);
    crate::support::is_not_finished(&server.bucket().join("films"));
}

#[test]
fn a_source_in_a_bucket_is_read_and_a_missing_one_is_the_inputs_fault() {
    let server = Server::start();
    std::fs::copy(fetched("carphone_pristine.mp4"), server.bucket().join("in.mp4")).unwrap();
    let probe = |key: &str| {
        let command = transcode(["probe", "--json", &format!("s3://bucket/{key}")]);
        finish(with_store(command, server.port, "secret"))
    };
    let info: serde_json::Value = serde_json::from_str(&probe("in.mp4").succeeded().stdout).unwrap();
    assert_eq!(info["video"][0]["coded"], "176x144");
    probe("out.mp4").failed(3, &["s3://bucket/out.mp4"]);
}

//! One box: `transcode serve`, and the commands that speak to it.

use crate::support::{Finished, clip, finish, is_finished, transcode};
use serde_json::Value;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A service with its data in a directory of its own.
struct Serve {
    dir: tempfile::TempDir,
    url: String,
    child: Option<Child>,
}

impl Serve {
    fn start(options: &[&str]) -> Self {
        let mut serve = Self { dir: tempfile::tempdir().unwrap(), url: String::new(), child: None };
        serve.again(options);
        serve
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Start it, on a port of its own, with what was there before.
    fn again(&mut self, options: &[&str]) {
        let mut command = transcode(["serve", "--platform", "software", "--listen", "127.0.0.1:0", "--data"]);
        command.arg(self.data()).args(options).current_dir(self.dir.path());
        for name in ["QUEUE_NAME", "REDIS_URL", "UPSTASH_REDIS_URL", "SQS_TRANSCODE_QUEUE_URL", "WEBHOOK_URL"]
        {
            command.env_remove(name);
        }
        let out = self.dir.path().join("serve.out");
        let log = File::options().create(true).append(true).open(self.dir.path().join("serve.log")).unwrap();
        command.stdin(Stdio::null()).stdout(File::create(&out).unwrap()).stderr(log);
        let mut child = command.spawn().unwrap();
        let began = Instant::now();
        self.url = loop {
            let text = fs::read_to_string(&out).unwrap_or_default();
            if let Some((url, _)) = text.split_once('\n') {
                break url.to_owned();
            }
            assert!(child.try_wait().unwrap().is_none(), "it ended: {}", self.log());
            assert!(began.elapsed() < Duration::from_secs(30), "{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        };
        self.child = Some(child);
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("serve.log")).unwrap_or_default()
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = transcode(words);
        command.env("TRANSCODE_API", &self.url).env_remove("TRANSCODE_TOKEN").current_dir(self.dir.path());
        command
    }

    fn say(&self, words: &[&str]) -> Finished {
        finish(self.command(words))
    }

    fn json(&self, words: &[&str]) -> Value {
        let said = self.say(words).succeeded();
        serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said:#?}"))
    }

    /// What a GET answers: status line and headers, then the body.
    fn get(&self, path: &str) -> (String, Vec<u8>) {
        let address = self.url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        let end = all.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        (String::from_utf8_lossy(&all[..end]).into_owned(), all[end + 4..].to_vec())
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        self.kill();
    }
}

#[test]
fn a_video_is_sent_made_watched_and_listed_from_the_command_line() {
    let serve = Serve::start(&[]);
    let film = clip("gopro-karma.mp4");
    let said = serve
        .say(&[
            "submit",
            &film,
            "--upload",
            "--output",
            "out/a",
            "--rung",
            "low:240:300k:64k",
            "--mp4",
            "--id",
            "a",
            "--watch",
        ])
        .succeeded();
    assert!(said.stdout.starts_with("a: complete\n"), "{said:#?}");
    is_finished(&serve.data().join("store/out/a"), 3);
    let job = serve.json(&["job", "a", "--json"]);
    assert_eq!(job["outputs"][0]["key"], "out/a/low.mp4");
    assert!(job["sources"][0].as_str().unwrap().ends_with("gopro-karma.mp4"), "{job}");
    // Watched while it is there, under the address that the API gives.
    let hls = job["play"]["hls"].as_str().unwrap();
    let (head, body) = serve.get(hls);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(String::from_utf8_lossy(&body).starts_with("#EXTM3U"), "{head}");
    let (head, _) = serve.get("/metrics");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let listed = serve.say(&["jobs"]).succeeded();
    assert!(listed.stdout.contains("a    complete") || listed.stdout.contains("a    "), "{listed:#?}");
    let queue = serve.say(&["queue"]).succeeded();
    assert!(queue.stdout.starts_with("waiting 0 ") && queue.stdout.contains("idle"), "{queue:#?}");
    assert_eq!(serve.say(&["dead", "list"]).succeeded().stdout, "no dead letters\n");
    serve.say(&["job", "nobody"]).failed(2, &["nobody"]);
    serve.say(&["cancel", "a"]).failed(2, &["complete"]);
    let missing = serve.say(&["submit", "in/nothing.mp4", "--output", "out/b", "--watch"]);
    missing.failed(3, &["nothing.mp4", "failed"]);
}

/// The demo of the README: killed in the middle, and started again.
#[test]
fn killed_in_the_middle_it_goes_on_where_it_was_with_the_next_start() {
    let mut serve = Serve::start(&[]);
    fs::create_dir_all(serve.data().join("store/in")).unwrap();
    fs::copy(clip("gopro-karma.mp4"), serve.data().join("store/in/a.mp4")).unwrap();
    serve.say(&["submit", "in/a.mp4", "--output", "out/a", "--id", "a"]).succeeded();
    serve
        .say(&["submit", "in/a.mp4", "--output", "out/b", "--id", "b", "--rung", "low:96:60k:32k"])
        .succeeded();
    let first = serve.data().join("store/out/a/480p/00000.ts");
    let began = Instant::now();
    while !first.exists() {
        assert!(began.elapsed() < Duration::from_secs(120), "{}", serve.log());
        std::thread::sleep(Duration::from_millis(10));
    }
    serve.kill();
    let written = first.metadata().unwrap().modified().unwrap();
    serve.again(&[]);
    for id in ["a", "b"] {
        serve.say(&["job", id, "--watch"]).succeeded();
    }
    assert_eq!(first.metadata().unwrap().modified().unwrap(), written, "what was stored is not made again");
    let job = serve.json(&["job", "a", "--json"]);
    assert_eq!((&job["epoch"], &job["failures"][0]["cause"]), (&2.into(), &"died".into()), "{job}");
    assert!(serve.log().contains("gone on with"), "{}", serve.log());
}

#[test]
fn without_a_token_it_listens_on_this_machine_alone() {
    let dir = tempfile::tempdir().unwrap();
    let serve = |options: &[&str]| {
        let mut command = transcode(["serve", "--data"]);
        command.arg(dir.path().join("data")).args(options).env_remove("REDIS_URL");
        command
    };
    finish(serve(&["--listen", "0.0.0.0:0"])).failed(2, &["0.0.0.0", "token", "auth = \"none\""]);
    let mut nonsense = serve(&[]);
    nonsense.env("TRANSCODE_WORKER_LEASES", "3s");
    finish(nonsense).failed(2, &["TRANSCODE_WORKER_LEASES", "TRANSCODE_WORKER_LEASE"]);
    let mut nonsense = serve(&[]);
    nonsense.env("TRANSCODE_LEASE", "soon");
    finish(nonsense).failed(2, &["worker.lease", "TRANSCODE_LEASE"]);
}

#[test]
fn the_configuration_is_shown_with_its_places_and_without_its_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let file = "[worker]\nlease = \"30s\"\n[webhook]\nsecret = \"whsec_aHVudGVyMmh1bnRlcjJodW50ZXIy\"\n";
    fs::write(dir.path().join("transcode.toml"), file).unwrap();
    let mut command = transcode(["config", "--json"]);
    command
        .current_dir(dir.path())
        .env("REDIS_URL", "redis://me:hunter2@queue:6379")
        .env("QUEUE_NAME", "mine");
    command
        .env("LYVE_ENDPOINT", "https://s3.lyve.example")
        .env("LYVE_ACCESS_KEY", "key")
        .env("LYVE_SECRET_KEY", "hunter2");
    command.env_remove("SQS_TRANSCODE_QUEUE_URL");
    let said = finish(command).succeeded();
    assert!(!said.stdout.contains("hunter2") && !said.stdout.contains("aHVudGVy"), "{}", said.stdout);
    let shown: Value = serde_json::from_str(&said.stdout).unwrap();
    let is = |key: &str| {
        (shown[key]["value"].as_str().unwrap_or_default(), shown[key]["origin"].as_str().unwrap_or_default())
    };
    assert_eq!(is("worker.lease"), ("30s", "transcode.toml"));
    assert_eq!(is("queue.url"), ("redis://***@queue:6379", "REDIS_URL"));
    assert_eq!(is("queue.name"), ("mine", "QUEUE_NAME"));
    assert_eq!(is("store.endpoint"), ("https://s3.lyve.example", "LYVE_*"));
    assert_eq!(is("store.secret-access-key").0, "***");
    assert_eq!(is("worker.grace"), ("25s", "default"));
    fs::write(dir.path().join("transcode.toml"), "[worker]\nleese = \"30s\"\n").unwrap();
    let mut command = transcode(["config"]);
    command.current_dir(dir.path());
    finish(command).failed(2, &["leese", "lease"]);
}

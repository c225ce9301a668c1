//! What workers lean on goes away in the middle of a job: the store, for a moment and for long; room for the ledger.
//!
//! With `TRANSCODE_CHAOS` set (`scripts/chaos`) the outages last as long as they are said to in the documentation, else
//! a few seconds.

use crate::fleet::{Fleet, Kind, PATIENCE, store_variables};
use crate::going::long;
use crate::servers::{Minio, S3Server};
use crate::support::{Finished, clip, finish, is_finished, transcode};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use transcode_core::ErrorKind;
use transcode_svc::ledger::{Cancelling, FailureCause, State};

const BUCKET: &str = "films";

/// Whether there is time for the long version.
fn in_full() -> bool {
    std::env::var_os("TRANSCODE_CHAOS").is_some()
}

/// A store of one's own with the clip in it.
fn store() -> S3Server {
    let store = Minio::start();
    store.create_bucket(BUCKET);
    store.put(BUCKET, "in/karma.mp4", &fs::read(clip("gopro-karma.mp4")).unwrap());
    store
}

/// A job that reads from the bucket and writes to it, and takes long enough to be disturbed.
fn remote(fleet: &Fleet, name: &str) -> Value {
    let mut job = long(fleet, name);
    job["sources"] = json!([format!("s3://{BUCKET}/in/karma.mp4")]);
    job["destination"] = json!(format!("s3://{BUCKET}/out/{name}"));
    job
}

fn variables<'a>(of_store: &'a [(String, String)], more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let of_store = of_store.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    of_store.chain(more.iter().copied()).collect()
}

/// Wait until a first segment is stored; when it was, as the store has it.
fn first_segment(fleet: &Fleet, store: &S3Server, key: &str) -> String {
    let began = Instant::now();
    loop {
        let found = store.get(BUCKET, key);
        if found.status == 200 {
            return found.headers["last-modified"].clone();
        }
        assert!(began.elapsed() < PATIENCE, "{}", fleet.logs());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// All that a player needs is there, and the first segment is the one that was there before.
fn is_whole(store: &S3Server, name: &str, first: &str, written: &str) {
    assert_eq!(store.get(BUCKET, first).headers["last-modified"], written, "{first} was made again");
    let get = |key: &str| {
        let found = store.get(BUCKET, &format!("out/{name}/{key}"));
        assert_eq!(found.status, 200, "{key}");
        String::from_utf8(found.body).unwrap()
    };
    let master = get("master.m3u8");
    for rung in ["1080p", "240p"] {
        assert!(master.contains(rung), "{master}");
        let list = get(&format!("{rung}/playlist.m3u8"));
        assert!(list.trim_end().ends_with("#EXT-X-ENDLIST"), "{list}");
        for segment in list.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let there = store.get(BUCKET, &format!("out/{name}/{rung}/{segment}"));
            assert_eq!(there.status, 200, "{rung}/{segment}");
        }
    }
}

#[test]
fn a_store_that_is_gone_for_a_moment_costs_a_pause_and_no_attempt() {
    let (fleet, store) = (Fleet::new(Kind::Sqlite), store());
    let of_store = store_variables(&store);
    let _worker = fleet.worker("one", &variables(&of_store, &[]));
    fleet.submit(&remote(&fleet, "a"));
    fleet.submit(&remote(&fleet, "b"));
    let first = "out/a/240p/00000.ts";
    let written = first_segment(&fleet, &store, first);
    store.kill();
    std::thread::sleep(Duration::from_secs(if in_full() { 30 } else { 5 }));
    assert_eq!(fleet.record("a").unwrap().state, State::Processing, "{}", fleet.logs());
    store.start_again();
    for name in ["a", "b"] {
        let record = fleet.complete(name);
        assert_eq!((record.epoch, record.attempts), (1, 1), "{record:#?}\n{}", fleet.logs());
    }
    is_whole(&store, "a", first, &written);
    assert!(fleet.logs().contains("trying again"), "the store was gone and nobody noticed: {}", fleet.logs());
}

#[test]
fn a_store_that_stays_away_ends_the_attempt_and_neither_the_job_nor_its_neighbours() {
    let (fleet, store) = (Fleet::new(Kind::Sqlite), store());
    let of_store = store_variables(&store);
    let settings = variables(&of_store, &[("TRANSCODE_STORE_RETRY_TIME", "2s")]);
    let worker = fleet.worker("one", &settings);
    let id = fleet.submit(&remote(&fleet, "a"));
    let first = "out/a/240p/00000.ts";
    let written = first_segment(&fleet, &store, first);
    store.kill();
    let record = fleet.until("a", "the attempt ends", |record| !record.failures.is_empty());
    assert_eq!((record.state, record.attempts), (State::Queued, 1), "{record:#?}");
    let failure = &record.failures[0];
    assert_eq!(failure.cause, FailureCause::Error(ErrorKind::Store), "{failure:?}");
    assert!(failure.reason.contains(BUCKET), "which store? {failure:?}");
    let wait = record.not_before.unwrap().since(failure.at);
    assert_eq!(wait.as_secs(), 30, "{record:#?}");
    // A job that does not need this store does not wait for it.
    fleet.submit(&fleet.job("b"));
    let neighbour = fleet.complete("b");
    assert_eq!((neighbour.attempts, neighbour.failures.len()), (1, 0), "{neighbour:#?}");
    assert_eq!(fleet.record("a").unwrap().epoch, 1, "not before its time");
    store.start_again();
    if !in_full() {
        // Whoever does not want to wait.
        assert_eq!(fleet.dispatch.ledger().cancel(&id).unwrap(), Cancelling::Done);
        fleet.dispatch.retry(&id).unwrap();
    }
    let record = fleet.complete("a");
    assert_eq!(record.epoch, 2, "{record:#?}");
    is_whole(&store, "a", first, &written);
    drop(worker);
}

/// A service whose data lie on a small disk of their own; its store lies elsewhere.
struct Small {
    dir: tempfile::TempDir,
    child: Child,
    url: String,
}

impl Small {
    /// None where nothing can be mounted here.
    fn start() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let disk = dir.path().join("disk");
        fs::create_dir_all(&disk).unwrap();
        fs::create_dir_all(dir.path().join("store/in")).unwrap();
        fs::copy(clip("gopro-karma.mp4"), dir.path().join("store/in/karma.mp4")).unwrap();
        let namespace = namespace(&disk)?;
        let serve = transcode(["serve", "--platform", "software", "--listen", "127.0.0.1:0", "--store"]);
        let mut command = Command::new(namespace[0]);
        command.args(&namespace[1..]);
        let script = r#"mount -t tmpfs -o size=3m tmpfs "$1" && shift && exec "$@""#;
        command.args(["sh", "-c", script, "sh"]).arg(&disk).arg(serve.get_program()).args(serve.get_args());
        command.arg(dir.path().join("store")).arg("--data").arg(disk.join("data"));
        for (name, value) in serve.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        for name in crate::fleet::QUEUES {
            command.env_remove(name);
        }
        let out = dir.path().join("serve.out");
        let log = File::create(dir.path().join("serve.log")).unwrap();
        command.stdin(Stdio::null()).stdout(File::create(&out).unwrap()).stderr(log);
        let mut small =
            Self { child: command.current_dir(dir.path()).spawn().unwrap(), dir, url: String::new() };
        let began = Instant::now();
        while small.url.is_empty() {
            let text = fs::read_to_string(&out).unwrap_or_default();
            small.url = text.split_once('\n').map(|(url, _)| url.to_owned()).unwrap_or_default();
            assert!(small.child.try_wait().unwrap().is_none(), "it ended: {}", small.log());
            assert!(began.elapsed() < Duration::from_secs(30), "{}", small.log());
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(small)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("serve.log")).unwrap_or_default()
    }

    /// A file on its disk, as seen from here.
    fn on_disk(&self, name: &str) -> PathBuf {
        let disk = self.dir.path().join("disk");
        let disk = disk.strip_prefix("/").unwrap_or(Path::new("disk")).to_owned();
        Path::new("/proc").join(self.child.id().to_string()).join("root").join(disk).join(name)
    }

    fn say(&self, words: &[&str]) -> Finished {
        let mut command = transcode(words);
        command.env("TRANSCODE_API", &self.url).env_remove("TRANSCODE_TOKEN").current_dir(self.dir.path());
        finish(command)
    }

    fn submit(&self, name: &str) -> Finished {
        let out = format!("out/{name}");
        let rungs = ["--rung", "1080p:1080:3M:96k", "--rung", "240p:240:300k:64k"];
        let words = [&["submit", "in/karma.mp4", "--output", &out, "--id", name][..], &rungs].concat();
        self.say(&words)
    }

    fn job(&self, name: &str) -> Value {
        serde_json::from_str(&self.say(&["job", name, "--json"]).succeeded().stdout).unwrap()
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

impl Drop for Small {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

#[test]
fn a_ledger_without_room_refuses_what_is_new_and_goes_on_when_there_is_some() {
    let Some(small) = Small::start() else {
        eprintln!("no file system can be mounted here (a container without the right): not tested");
        return;
    };
    small.submit("a").succeeded();
    let first = small.dir.path().join("store/out/a/240p/00000.ts");
    let began = Instant::now();
    while !first.exists() {
        assert!(began.elapsed() < PATIENCE, "{}", small.log());
        std::thread::sleep(Duration::from_millis(10));
    }
    let ballast = small.on_disk("ballast");
    let mut file = File::create(&ballast).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    drop(file);
    small.submit("b").failed(2, &["ledger", "try again"]);
    assert!(small.log().contains("disk is full"), "{}", small.log());
    small.say(&["job", "b"]).failed(2, &["b"]);
    assert_eq!(small.job("a")["state"], "processing", "it can be read: {}", small.log());
    // Longer than between two renewals, where there is time.
    std::thread::sleep(Duration::from_secs(if in_full() { 25 } else { 2 }));
    fs::remove_file(&ballast).unwrap();
    small.say(&["job", "a", "--watch"]).succeeded();
    let job = small.job("a");
    assert_eq!((&job["epoch"], &job["state"]), (&1.into(), &"complete".into()), "{job}\n{}", small.log());
    is_finished(&small.dir.path().join("store/out/a"), 3);
    small.submit("b").succeeded();
    small.say(&["job", "b", "--watch"]).succeeded();
}

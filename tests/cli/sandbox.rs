//! The graph's process in its sandbox: a decoder that does what hostile media could make it do gets nowhere, and what
//! takes too much is ended; the job, and the machine, go on.

use crate::support::{
    Finished, Running, finish, is_finished, is_not_finished, long_job, made, run, transcode, until_playable,
};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use transcode_standins::{Board, MISCHIEF_VARIABLE, child_environment};

/// Four seconds of moving pictures with sound.
fn input(dir: &Path) -> String {
    let path = dir.join("input.mp4");
    if path.exists() {
        return path.to_str().unwrap().to_owned();
    }
    let arguments = [
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=640x360:rate=25:duration=4",
        "-f",
        "lavfi",
        "-i",
        "sine=frequency=440:sample_rate=48000:duration=4",
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-pix_fmt",
        "yuv420p",
        "-c:a",
        "aac",
    ];
    made(dir, "input.mp4", &arguments)
}

/// A job on a card whose elements have these faults, in that sandbox.
fn make(dir: &Path, sandbox: &str, faults: &str, mischief: &str) -> Finished {
    let plugin = dir.join("plugin");
    std::fs::create_dir_all(&plugin).unwrap();
    let options = ["--rung", "low:180:250k:32k", "--segment", "1s", "--jobs", "1", "--preset", "ultrafast"];
    let mut command = run(&input(dir), &dir.join("out"), &[&options[..], &["--platform", "nvidia"]].concat());
    command.envs(child_environment(&[Board::NvidiaT4], faults, &plugin).unwrap());
    command.env("TRANSCODE_STATE_DIR", dir.join("state")).env("TRANSCODE_SANDBOX", sandbox);
    command.env(MISCHIEF_VARIABLE, mischief);
    Running::start(command).finish()
}

/// Somewhere a decoder has no business, and everything that it tries there.
struct Outside {
    dir: tempfile::TempDir,
    tcp: TcpListener,
    udp: UdpSocket,
    unix: UnixListener,
    datagram: UnixDatagram,
}

impl Outside {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("secret"), "hunter2").unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let unix = UnixListener::bind(dir.path().join("unix")).unwrap();
        let datagram = UnixDatagram::bind(dir.path().join("datagram")).unwrap();
        tcp.set_nonblocking(true).unwrap();
        udp.set_nonblocking(true).unwrap();
        unix.set_nonblocking(true).unwrap();
        datagram.set_nonblocking(true).unwrap();
        Self { dir, tcp, udp, unix, datagram }
    }

    /// What is tried, in order.
    const TRIES: [&str; 11] =
        ["tcp", "udp", "unix", "datagram", "read", "list", "write", "remove", "run", "spy", "kill"];

    fn mischief(&self) -> String {
        let dir = self.dir.path().to_str().unwrap();
        let target = |what: &str| match what {
            "tcp" => self.tcp.local_addr().unwrap().to_string(),
            "udp" => self.udp.local_addr().unwrap().to_string(),
            "unix" | "datagram" => format!("{dir}/{what}"),
            "read" | "remove" => format!("{dir}/secret"),
            "list" => dir.to_owned(),
            "write" => format!("{dir}/written"),
            "run" => "/bin/true".to_owned(),
            _ => String::new(),
        };
        Self::TRIES.map(|what| format!("{what}={}", target(what))).join(" ")
    }

    /// What came of a try, by what the decoder said.
    fn outcome(finished: &Finished, what: &str) -> String {
        let line = format!("{what}: ");
        let mut found =
            finished.stderr.lines().filter_map(|text| text.split_once(&line).map(|(_, rest)| rest));
        found.next().unwrap_or_else(|| panic!("{what} was not tried: {finished:#?}")).to_owned()
    }
}

#[test]
fn a_decoder_that_was_taken_over_reaches_neither_networks_nor_files_nor_processes() {
    let outside = Outside::new();
    let dir = tempfile::tempdir().unwrap();
    let finished = make(dir.path(), "on", "nvh264dec:mischief@30", &outside.mischief()).succeeded();
    for what in Outside::TRIES {
        let outcome = Outside::outcome(&finished, what);
        assert!(outcome.contains("denied"), "{what}: {outcome}");
    }
    assert!(!finished.stderr.contains("not confined"), "{finished:#?}");
    assert!(outside.tcp.accept().is_err() && outside.unix.accept().is_err(), "somebody came");
    assert!(outside.udp.recv(&mut [0; 9]).is_err() && outside.datagram.recv(&mut [0; 9]).is_err());
    assert_eq!(std::fs::read(outside.dir.path().join("secret")).unwrap(), b"hunter2");
    assert!(!outside.dir.path().join("written").exists());
    is_finished(&dir.path().join("out"), 4);
}

#[test]
fn without_a_sandbox_the_same_decoder_does_all_of_it() {
    // So that the test above would notice a decoder that tries nothing.
    let outside = Outside::new();
    let dir = tempfile::tempdir().unwrap();
    // The last try ends the parent.
    let mischief = outside.mischief().replace(" kill=", "");
    let finished = make(dir.path(), "off", "nvh264dec:mischief@30", &mischief).succeeded();
    for what in Outside::TRIES.iter().filter(|what| **what != "kill") {
        assert_eq!(Outside::outcome(&finished, what), "done", "{what}");
    }
    assert!(outside.tcp.accept().is_ok() && outside.unix.accept().is_ok());
}

#[test]
fn a_decoder_that_eats_memory_is_ended_with_the_reason_and_what_is_stored_stays() {
    let dir = tempfile::tempdir().unwrap();
    let finished = make(dir.path(), "on,memory=700MiB", "nvh264dec:hog@40", "");
    let words = ["of memory, where 700 MiB are allowed", "was killed", "goes on from there", "input.mp4"];
    finished.failed(5, &words);
    let out = dir.path().join("out");
    is_not_finished(&out);
    assert!(out.join("low/00000.ts").exists(), "what came before is stored");
    // The same without the hog goes on from there.
    make(dir.path(), "on,memory=700MiB", "", "").succeeded();
    is_finished(&out, 4);
}

#[test]
fn a_graph_that_takes_too_long_or_stores_too_much_is_ended() {
    for (sandbox, words) in [
        ("on,time=0", "worked for more than the 0 s that are allowed"),
        ("on,output=10KiB+1KiB", "where 1 MiB are allowed"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut command = transcode(long_job(dir.path()));
        command.env("TRANSCODE_SANDBOX", sandbox);
        finish(command).failed(5, &[words, "was killed"]);
        is_not_finished(dir.path());
    }
}

#[test]
fn a_mistake_in_the_sandbox_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = transcode(long_job(dir.path()));
    command.env("TRANSCODE_SANDBOX", "on,memory=lots");
    finish(command).failed_in_one_line(2, &["TRANSCODE_SANDBOX", "memory=lots", "memory=2GiB"]);
}

#[test]
fn the_kernel_says_that_the_graphs_process_is_confined() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = transcode(long_job(dir.path()));
    command.env("TRANSCODE_SANDBOX", "on");
    let running = Running::start(command);
    until_playable(&running, &dir.path().join("low/playlist.m3u8"), 1);
    let graph = running.graph();
    let file = |name: &str| std::fs::read_to_string(format!("/proc/{graph}/{name}")).unwrap();
    let status = file("status");
    for word in ["NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(status.contains(word), "{status}");
    }
    let limits = file("limits");
    let cores = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(cores.split_whitespace().nth(4), Some("0"), "{limits}");
    assert_eq!(file("oom_score_adj").trim(), "500");
    // Every thread, not only the first.
    for thread in std::fs::read_dir(format!("/proc/{graph}/task")).unwrap().flatten() {
        let Ok(status) = std::fs::read_to_string(thread.path().join("status")) else { continue };
        assert!(status.contains("Seccomp:\t2"), "{status}");
    }
}

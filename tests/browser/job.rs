//! The binary as these tests use it: one job, and the server of the player page.

use crate::clips::repository;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const TRANSCODE: &str = env!("CARGO_BIN_EXE_transcode");

/// A running `transcode run`; killed where a test ends before it does.
pub struct Job(Child);

impl Job {
    /// Make a ladder of `rungs` (`NAME:HEIGHT:VIDEO:AUDIO`) as quickly as can be; `more` goes on the line.
    pub fn start(input: &str, output: &Path, rungs: &[&str], more: &[&str]) -> Self {
        let mut command = Command::new(TRANSCODE);
        command.args(["run", input, "--preset", "superfast", "--stall", "120s", "--output"]).arg(output);
        for rung in rungs {
            command.args(["--rung", rung]);
        }
        command.args(more);
        Self(command.stdout(Stdio::null()).spawn().expect("transcode starts"))
    }

    /// It has not ended yet.
    pub fn running(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }

    /// Wait for its end, which has to be a good one.
    pub fn finish(&mut self) {
        let status = self.0.wait().expect("transcode ends");
        assert!(status.success(), "transcode run ended with {status}");
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running `transcode play`.
pub struct Server {
    child: Child,
    /// The player page: `http://127.0.0.1:PORT/`.
    pub address: String,
}

impl Server {
    /// Serve a folder, which need not be there yet, on a free port.
    pub fn start(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).expect("the folder can be made");
        let mut command = Command::new(TRANSCODE);
        let script = repository(Path::new(".cache/player/hls.min.js"));
        assert!(script.exists(), "{} is missing: run scripts/media", script.display());
        command.arg("play").arg(folder).args(["--listen", "127.0.0.1:0", "--hls-js"]).arg(script);
        command.stdout(Stdio::piped());
        let mut child = command.spawn().expect("transcode starts");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let address = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let from = line.find("http://")?;
            line[from..].split_whitespace().next().map(str::to_owned)
        });
        Self { child, address: address.expect("transcode play prints its address") }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

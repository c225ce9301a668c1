//! Running the binary, finding its processes, making odd inputs, reading playlists.

use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Far beyond what any command here takes; whatever reaches it hangs.
pub(crate) const HANG: Duration = Duration::from_secs(180);

/// `transcode` with no settings of this machine.
pub(crate) fn transcode<A: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_transcode"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("AWS_") || name.starts_with("TRANSCODE_") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    // Nothing that was found out here by a person's own commands.
    command.env("TRANSCODE_STATE_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("state"));
    command.args(args);
    command
}

/// How a command ended and what it said.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    /// The objects of that event among the JSON lines of stdout.
    #[track_caller]
    pub(crate) fn events(&self, event: &str) -> Vec<Value> {
        let lines = self.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        lines.filter(|object| object["event"] == event).collect()
    }

    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// It succeeded.
    #[track_caller]
    pub(crate) fn succeeded(self) -> Self {
        assert_eq!(self.code(), Some(0), "{self:#?}");
        self
    }

    /// It failed with this code and one line about it, which holds all of `words`.
    #[track_caller]
    pub(crate) fn failed(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code(), Some(code), "{self:#?}");
        let lines: Vec<&str> = self.stderr.lines().filter(|line| line.starts_with("error:")).collect();
        let [line] = lines[..] else { panic!("not exactly one error line: {self:#?}") };
        assert_eq!(self.stderr.lines().last(), Some(line), "{self:#?}");
        for word in words {
            assert!(line.contains(word), "`{word}` is missing: {line}");
        }
        self
    }

    /// It failed like that, and nothing else was said.
    #[track_caller]
    pub(crate) fn failed_in_one_line(self, code: i32, words: &[&str]) -> Self {
        let failed = self.failed(code, words);
        assert_eq!(failed.stderr.lines().count(), 1, "{failed:#?}");
        assert_eq!(failed.stdout, "", "{failed:#?}");
        failed
    }
}

/// A command under way; killed when dropped.
pub(crate) struct Running {
    child: Child,
    stdout: Option<JoinHandle<String>>,
    stderr: Option<JoinHandle<String>>,
    lines: Receiver<String>,
}

impl Running {
    /// Start it and gather what it says.
    #[track_caller]
    pub(crate) fn start(mut command: Command) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.expect("the binary starts");
        let (sender, lines) = channel();
        let out = child.stdout.take().expect("piped");
        let stdout = std::thread::spawn(move || {
            let mut all = String::new();
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                all.push_str(&line);
                all.push('\n');
                let _nobody_listens = sender.send(line);
            }
            all
        });
        let mut err = child.stderr.take().expect("piped");
        let stderr = std::thread::spawn(move || {
            let mut all = Vec::new();
            let _broken = err.read_to_end(&mut all);
            String::from_utf8_lossy(&all).into_owned()
        });
        Self { child, stdout: Some(stdout), stderr: Some(stderr), lines }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line of stdout.
    #[track_caller]
    pub(crate) fn line(&self) -> String {
        self.lines.recv_timeout(HANG).expect("a line on stdout")
    }

    /// Wait until it has ended; what takes too long is killed and fails the test.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Finished {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("its status") {
                break Some(status);
            }
            if begun.elapsed() > HANG {
                let _gone = self.child.kill();
                break None;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let text = |thread: Option<JoinHandle<String>>| thread.and_then(|thread| thread.join().ok());
        let (stdout, stderr) = (text(self.stdout.take()), text(self.stderr.take()));
        let (stdout, stderr) = (stdout.unwrap_or_default(), stderr.unwrap_or_default());
        let status = status.unwrap_or_else(|| panic!("it hangs\nstdout: {stdout}\nstderr: {stderr}"));
        Finished { status, stdout, stderr }
    }

    /// The graph's process, which must be there soon.
    #[track_caller]
    pub(crate) fn graph(&self) -> u32 {
        until("the graph's process is there", || children(self.id()).first().copied())
    }

    /// Send a signal: `INT`, `KILL`, …
    #[track_caller]
    pub(crate) fn signal(&self, signal: &str) {
        send(self.id(), signal);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

#[track_caller]
pub(crate) fn finish(command: Command) -> Finished {
    Running::start(command).finish()
}

/// Send a signal to a process that this test started.
#[track_caller]
pub(crate) fn send(process: u32, signal: &str) {
    let sent = Command::new("kill").arg(format!("-{signal}")).arg(process.to_string()).status();
    assert!(sent.expect("kill runs").success(), "SIG{signal} to {process}");
}

/// Try until there is something, or fail.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < HANG, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The processes whose parent this is, zombies left out.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| state(*id).is_some_and(|(state, of)| of == parent && state != "Z")).collect()
}

/// State letter and parent of a process (proc(5)).
pub(crate) fn state(process: u32) -> Option<(String, u32)> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}

/// Whether the process catches this signal (proc(5), `SigCgt`); not any more once it is gone.
pub(crate) fn catches(process: u32, signal: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    caught >> (signal - 1) & 1 == 1
}

/// Whether the process lives: it is there and no zombie.
pub(crate) fn lives(process: u32) -> bool {
    state(process).is_some_and(|(state, _)| state != "Z")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A clip of the repository.
pub(crate) fn clip(name: &str) -> String {
    let path = root().join("tests/media").join(name);
    assert!(path.exists(), "{} is missing", path.display());
    path.to_str().expect("UTF-8").to_owned()
}

/// A clip that is fetched.
#[track_caller]
pub(crate) fn fetched(name: &str) -> String {
    let path = root().join(".cache/media").join(name);
    assert!(path.exists(), "{} is missing: run scripts/media", path.display());
    path.to_str().expect("UTF-8").to_owned()
}

/// A program that is built.
#[track_caller]
pub(crate) fn built(name: &str) -> PathBuf {
    let path = root().join(".cache/bin").join(name);
    assert!(path.exists(), "{} is missing: run scripts/servers-build", path.display());
    path
}

/// A small picture for the tests' sake: 4 s of 176×144.
pub(crate) fn small() -> String {
    fetched("carphone_pristine.mp4")
}

/// Arguments of a small, quick job in segments of a second.
pub(crate) const QUICK: [&str; 6] = ["--rung", "low:96:100k:32k", "--segment", "1s", "--preset", "ultrafast"];

/// Segments of [`long_job`].
pub(crate) const LONG: usize = 12;

/// Arguments of a job that takes long enough to be disturbed: two rungs in segments of a second.
pub(crate) fn long_job(output: &Path) -> Vec<String> {
    let input = clip("gopro-karma.mp4");
    let output = output.to_str().expect("UTF-8");
    let all = [
        "run",
        &input,
        "--output",
        output,
        "--end",
        "12",
        "--segment",
        "1s",
        "--preset",
        "slow",
        "--rung",
        "high:480:2M:96k",
        "--rung",
        "low:240:300k:64k",
    ];
    all.iter().map(|&word| word.to_owned()).collect()
}

/// A clip made by ffmpeg in `dir`.
#[track_caller]
pub(crate) fn made(dir: &Path, name: &str, args: &[&str]) -> String {
    let path = dir.join(name);
    let made = Command::new("ffmpeg").args(["-v", "error", "-y"]).args(args).arg(&path).output();
    let made: Output = made.expect("ffmpeg is installed: run scripts/setup test");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    path.to_str().expect("UTF-8").to_owned()
}

/// `transcode run INPUT --output OUTPUT` with these options.
pub(crate) fn run(input: &str, output: &Path, options: &[&str]) -> Command {
    let mut command = transcode(["run", input, "--output"]);
    command.arg(output).args(options);
    command
}

/// A media playlist, read by a parser that the product does not write with.
#[track_caller]
pub(crate) fn media_playlist(path: &Path) -> m3u8_rs::MediaPlaylist {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    m3u8_rs::parse_media_playlist_res(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The media playlists that a master names.
#[track_caller]
pub(crate) fn renditions(output: &Path) -> Vec<PathBuf> {
    let bytes = fs::read(output.join("master.m3u8")).expect("a master playlist");
    let master = m3u8_rs::parse_master_playlist_res(&bytes).expect("a good master playlist");
    assert!(!master.variants.is_empty());
    master.variants.iter().map(|variant| output.join(&variant.uri)).collect()
}

/// The segments of a media playlist as paths; every one is there and whole.
#[track_caller]
pub(crate) fn segments(playlist: &Path) -> Vec<PathBuf> {
    let folder = playlist.parent().expect("a folder");
    let named = media_playlist(playlist).segments;
    let paths: Vec<PathBuf> = named.iter().map(|segment| folder.join(&segment.uri)).collect();
    for path in &paths {
        let bytes = fs::read(path).unwrap_or_else(|error| panic!("named, but {}: {error}", path.display()));
        assert!(!bytes.is_empty() && bytes.len() % 188 == 0, "{} is no whole TS file", path.display());
    }
    paths
}

/// The destination holds a finished job with so many segments in each rendition.
#[track_caller]
pub(crate) fn is_finished(output: &Path, count: usize) {
    for playlist in renditions(output) {
        let media = media_playlist(&playlist);
        assert!(media.end_list, "{} has no end", playlist.display());
        assert_eq!(media.playlist_type, Some(m3u8_rs::MediaPlaylistType::Vod), "{}", playlist.display());
        assert_eq!(segments(&playlist).len(), count, "{}", playlist.display());
    }
    assert!(output.join("report.json").exists());
    assert!(output.join("plan.json").exists());
}

/// Nothing in the destination claims to be finished. What playlists there are name whole segments.
#[track_caller]
pub(crate) fn is_not_finished(output: &Path) {
    assert!(!output.join("report.json").exists(), "a report of an unfinished job");
    for playlist in playlists(output) {
        let media = media_playlist(&playlist);
        assert!(!media.end_list, "{} is published as finished", playlist.display());
        assert_eq!(media.playlist_type, Some(m3u8_rs::MediaPlaylistType::Event), "{}", playlist.display());
        segments(&playlist);
    }
}

/// All media playlists below a destination.
pub(crate) fn playlists(output: &Path) -> Vec<PathBuf> {
    let all = files(output).into_iter();
    all.filter(|path| path.extension().is_some_and(|end| end == "m3u8") && !path.ends_with("master.m3u8"))
        .collect()
}

/// All files below a directory that may not be there.
pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Wait until a playlist of a job under way names so many segments.
#[track_caller]
pub(crate) fn until_playable(running: &Running, playlist: &Path, count: usize) {
    until("segments are playable", || {
        assert!(lives(running.id()), "it ended before: run it by hand to see why");
        let bytes = fs::read(playlist).ok()?;
        let media = m3u8_rs::parse_media_playlist_res(&bytes).ok()?;
        (media.segments.len() >= count).then_some(())
    });
}

/// What ffprobe counts of a stream's decoded frames; its complaints are failures.
#[track_caller]
pub(crate) fn frames(path: &Path, stream: &str) -> u64 {
    let counted = Command::new("ffprobe")
        .args(["-v", "error", "-count_frames", "-select_streams", stream])
        .args(["-show_entries", "stream=nb_read_frames", "-of", "csv=p=0"])
        .arg(path)
        .output()
        .expect("ffprobe is installed: run scripts/setup test");
    assert!(counted.status.success() && counted.stderr.is_empty(), "{counted:?}");
    let text = String::from_utf8(counted.stdout).unwrap();
    text.lines().next().unwrap().trim_matches(',').parse().unwrap_or_else(|_| panic!("{path:?}: {text}"))
}

/// A finished job's `report.json`.
#[track_caller]
pub(crate) fn report(output: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(output.join("report.json")).unwrap()).unwrap()
}

/// The numbers of the segments that begin with another encoder's parameter sets.
#[track_caller]
pub(crate) fn discontinuities(playlist: &Path) -> Vec<usize> {
    let media = media_playlist(playlist);
    (0..media.segments.len()).filter(|at| media.segments[*at].discontinuity).collect()
}

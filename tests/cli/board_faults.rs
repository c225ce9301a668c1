//! Boards that misbehave, under the real binary: stand-ins for their elements come as a plugin, and with
//! them an encoder that fails. Whatever it does, the job ends with every segment right, and the report
//! says what happened.

use crate::support::{
    Finished, Running, discontinuities, finish, is_finished, made, playlists, report, run, transcode,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use transcode_standins::{Board, JetPack, child_environment};

/// Segments of [`input`] in the [`OPTIONS`].
const SEGMENTS: usize = 4;

/// Two rungs in segments of 25 pictures.
const OPTIONS: [&str; 8] =
    ["--rung", "high:360:600k:64k", "--rung", "low:180:250k:32k", "--segment", "1s", "--jobs", "1"];

/// Four seconds of moving pictures at 25 a second, in pale colours: that those are lost is hard to see.
fn input(dir: &Path) -> String {
    let arguments = [
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=640x360:rate=25:duration=4,format=yuv420p,hue=s=0.07",
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

/// A command on a machine with this board and these faults.
fn on(board: Board, faults: &str, dir: &Path, mut command: Command) -> Command {
    let plugin = dir.join("plugin");
    std::fs::create_dir_all(&plugin).unwrap();
    command.envs(child_environment(&[board], faults, &plugin).unwrap());
    // Verdicts on this machine's elements are not for other tests.
    command.env("TRANSCODE_STATE_DIR", dir.join("state"));
    command
}

/// A job of a temporary folder.
struct Job {
    dir: tempfile::TempDir,
    out: PathBuf,
    finished: Finished,
}

fn make(board: Board, faults: &str, platform: &str) -> Job {
    make_with(&["--preset", "ultrafast"], board, faults, platform)
}

fn make_with(more: &[&str], board: Board, faults: &str, platform: &str) -> Job {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let options = [&OPTIONS[..], more, &["--platform", platform, "--json"]].concat();
    let command = on(board, faults, dir.path(), run(&input(dir.path()), &out, &options));
    let finished = Running::start(command).finish();
    Job { dir, out, finished }
}

impl Job {
    /// It ended well, whole and right, by one fallback of which the report says `cause`; gives the
    /// segment at which the other platform began.
    #[track_caller]
    fn was_saved(&self, from: &str, cause: &str) -> usize {
        assert_eq!(self.finished.code(), Some(0), "{from}, {cause}: {:#?}", self.finished);
        is_finished(&self.out, SEGMENTS);
        let told = self.finished.events("fallback");
        let [fallback] = &told[..] else { panic!("{cause}: {told:#?} {:#?}", self.finished) };
        assert_eq!(fallback["from"], from);
        let report = report(&self.out);
        let [kept] = &report["fallbacks"].as_array().expect("fallbacks")[..] else { panic!("{report:#}") };
        assert_eq!((&kept["why"], &kept["segment"]), (&fallback["why"], &fallback["segment"]));
        assert!(kept["why"].as_str().unwrap().contains(cause), "`{cause}` is missing: {kept}");
        // What was stored stayed: nobody made more than one segment of a rung a second time.
        for rung in report["rungs"].as_array().unwrap() {
            let rows = rung["segments"].as_array().unwrap();
            let twice = rows.iter().filter(|row| row["origin"] == "adopted").count();
            assert!(twice <= 1, "{cause}: {rung:#}");
        }
        // Told as they are stored; of one that was stored right before the end, what adopts it may be all
        // that is told.
        let (mut stored, mut made): (BTreeMap<String, usize>, usize) = (BTreeMap::new(), 0);
        for segment in self.finished.events("segment") {
            let first = usize::from(segment["adopted"] != true);
            *stored.entry(segment["key"].as_str().unwrap().to_owned()).or_default() += first;
            made += 1;
        }
        assert!(stored.len() == 2 * SEGMENTS && stored.values().all(|count| *count <= 1), "{stored:?}");
        assert!(made <= 2 * SEGMENTS + 2, "{made}");
        self.shows_the_input();
        kept["segment"].as_u64().unwrap() as usize
    }

    /// Every picture of every rung is the input's, as somebody sees it who decodes them all.
    #[track_caller]
    fn shows_the_input(&self) {
        for playlist in playlists(&self.out) {
            let graph = "[1:v][0:v]scale2ref[input][made];[made][input]psnr";
            let output = Command::new("ffmpeg")
                .args(["-v", "info", "-nostdin", "-allowed_extensions", "ALL", "-i"])
                .arg(&playlist)
                .arg("-i")
                .arg(self.dir.path().join("input.mp4"))
                .args(["-filter_complex", graph, "-an", "-f", "null", "-"])
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            let worst = said.rsplit(" min:").next().and_then(|rest| rest.split_whitespace().next());
            let worst: f64 = worst.and_then(|worst| worst.parse().ok()).unwrap_or_else(|| panic!("{said}"));
            assert!(worst > 15.0, "{}: {worst} dB\n{said}", playlist.display());
        }
    }

    /// Each rendition has a break where the other encoder takes over, and all the same ones.
    #[track_caller]
    fn breaks_at(&self, segment: usize) {
        let all: Vec<Vec<usize>> = playlists(&self.out).iter().map(|path| discontinuities(path)).collect();
        assert!(all.iter().all(|breaks| *breaks == all[0]), "{all:?}");
        let near = |at: &usize| (segment..=segment + 1).contains(at);
        assert!(all[0].iter().all(near) && all[0].is_empty() == (segment == 0), "{segment}: {all:?}");
    }
}

#[test]
fn an_encoder_that_fails_at_a_picture_costs_that_segment() {
    // Inside the stand-in is x264's ultrafast, whose parameter sets are not veryfast's.
    let job = make_with(&["--preset", "veryfast"], Board::NvidiaT4, "nvh264enc:error@60", "nvidia,software");
    let at = job.was_saved("nvidia", "the device failed at frame 60");
    assert!((1..=2).contains(&at), "{at}");
    job.breaks_at(at);
}

#[test]
fn an_encoder_that_stands_still_is_noticed_and_replaced() {
    let (board, fault) = (Board::JetsonNvenc(JetPack::Five), "nvv4l2h264enc:stall@60");
    let soon = ["--preset", "ultrafast", "--stall", "4s"];
    let job = make_with(&soon, board, fault, "jetson-nvenc,software");
    let at = job.was_saved("jetson-nvenc", "stands still");
    assert!((1..=2).contains(&at), "{at}");
}

#[test]
fn green_pictures_are_not_published() {
    let job = make(Board::Va, "vah264enc:green@50", "va,software");
    let at = job.was_saved("va", "is not the one that went in");
    // The third is the first that is green; the other rung may have been behind.
    assert!((1..=2).contains(&at), "{at}");
}

#[test]
fn pictures_that_lose_their_colours_are_not_published() {
    let job = make(Board::NvidiaT4, "nvh264enc:grey@25", "nvidia,software");
    let at = job.was_saved("nvidia", "is not the one that went in: its ");
    assert!(at <= 1, "{at}");
}

#[test]
fn a_card_without_another_session_makes_room_for_the_cpu() {
    let job = make(Board::NvidiaT4, "nvh264enc:sessions@1", "nvidia,software");
    assert_eq!(job.was_saved("nvidia", "out of sessions"), 0);
    job.breaks_at(0);
}

#[test]
fn an_encoder_that_ignores_the_key_frame_grid_is_replaced() {
    let job = make(Board::Va, "vah264enc:ignore-gop", "va,software");
    let at = job.was_saved("va", "verification failed");
    assert_eq!(at, 0);
}

#[test]
fn a_device_that_does_not_open_is_replaced_in_a_list_and_a_failure_alone() {
    let job = make(Board::NvidiaT4, "nvh264enc:die-at-ready", "nvidia,software");
    assert_eq!(job.was_saved("nvidia", "the device does not open"), 0);
    let job = make(Board::NvidiaT4, "nvh264enc:die-at-ready", "nvidia");
    assert_eq!(job.finished.code(), Some(5), "{:#?}", job.finished);
    assert!(job.finished.stderr.contains("the device does not open"), "{:#?}", job.finished);
}

#[test]
fn a_decoder_that_fails_is_replaced_too() {
    let job = make(Board::NvidiaT4, "nvh264dec:error@60", "nvidia,software");
    job.was_saved("nvidia", "video-decode: the device failed at frame 60");
}

#[test]
fn what_a_card_cannot_decode_is_planned_onto_the_next_decoder_and_said() {
    let dir = tempfile::tempdir().unwrap();
    let arguments = [
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=640x360:rate=25:duration=4",
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-pix_fmt",
        "yuv422p10le",
    ];
    let input = made(dir.path(), "input.mp4", &arguments);
    let out = dir.path().join("out");
    let options = [&OPTIONS[..], &["--preset", "ultrafast", "--platform", "nvidia", "--json"]].concat();
    let command = on(Board::NvidiaT4, "", dir.path(), run(&input, &out, &options));
    let finished = Running::start(command).finish().succeeded();
    is_finished(&out, SEGMENTS);
    let plan = std::fs::read_to_string(out.join("plan.json")).unwrap();
    let job = Job { dir, out, finished };
    assert!(job.finished.events("fallback").is_empty());
    job.shows_the_input();
    let words = ["avdec_h264", "nvh264dec", "4:2:2"];
    assert!(words.iter().all(|word| plan.contains(word)), "{plan}");
    let options = ["plan", &input_of(&job), "--platform", "nvidia"];
    let told = finish(on(Board::NvidiaT4, "", job.dir.path(), transcode(options))).succeeded().stdout;
    assert!(words.iter().all(|word| told.contains(word)), "{told}");
}

fn input_of(job: &Job) -> String {
    job.dir.path().join("input.mp4").to_str().unwrap().to_owned()
}

#[test]
fn auto_passes_over_a_board_whose_encoder_does_not_open() {
    let job = make(Board::Va, "vah264enc:die-at-ready", "auto");
    assert_eq!(job.finished.code(), Some(0), "{:#?}", job.finished);
    is_finished(&job.out, SEGMENTS);
    let told = job.finished.events("fallback");
    let [fallback] = &told[..] else { panic!("{told:#?}") };
    assert!(fallback["segment"].is_null(), "it was never begun with: {fallback}");
    let why = fallback["why"].as_str().unwrap();
    assert!(why.contains("its trial failed") && why.contains("the device does not open"), "{why}");
    assert_eq!(report(&job.out)["fallbacks"].as_array().map(Vec::len), Some(1));
    let kept = std::fs::read_to_string(job.dir.path().join("state/platforms.json")).unwrap();
    assert!(kept.contains("the device does not open"), "{kept}");
}

#[test]
fn auto_takes_a_board_that_passes_and_falls_back_when_it_fails_in_mid_job() {
    // Behind the two seconds of a trial.
    let job = make(Board::JetsonNvenc(JetPack::Six), "nvv4l2h264enc:error@80", "auto");
    let at = job.was_saved("jetson-nvenc", "the device failed at frame 80");
    assert!((2..=3).contains(&at), "{at}");
}

//! Every platform's file on stand-ins for its boards: real names, properties and memories, software
//! inside.
//!
//! Registering is for a whole process, and so are faults: what needs a board is run in a process of its
//! own, which is this binary again with one ignored test and the board in the environment.
#![allow(clippy::unwrap_used)]

mod clips;
mod faults;
mod graphs;
mod ladders;

use std::process::Command;

/// Which platform the child is about.
const PLATFORM: &str = "TRANSCODE_TEST_PLATFORM";

/// Each platform with stand-ins, and the boards that it is for.
const BOARDS: [(&str, &str); 10] = [
    ("jetson", "jetson-orin-nano:5"),
    ("jetson", "jetson-orin-nano:6"),
    ("jetson-nvenc", "jetson-nvenc:5"),
    ("jetson-nvenc", "jetson-nvenc:6"),
    ("nvidia", "nvidia-t4"),
    ("nvidia", "nvidia-no-nvrtc"),
    ("nvidia-decode", "nvidia-data-centre"),
    ("va", "va"),
    ("qsv", "qsv"),
    ("videotoolbox", "video-toolbox"),
];

/// Run an ignored test of this binary on a board, with faults; what it says where it fails.
fn on_board(test: &str, platform: &str, board: &str, faults: &str) -> Result<(), String> {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"])
        .env(PLATFORM, platform)
        .env(transcode_standins::BOARDS_VARIABLE, board)
        .env(transcode_standins::FAULTS_VARIABLE, faults)
        .output()
        .unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() && said.contains("1 passed") {
        return Ok(());
    }
    Err(format!("{platform} on {board} {faults}: {said}"))
}

/// The same on every board, two at a time; all that went wrong.
fn on_every_board(test: &'static str) {
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let halves: Vec<_> = (0..2)
            .map(|half| {
                scope.spawn(move || {
                    let mine = BOARDS.iter().skip(half).step_by(2);
                    mine.filter_map(|(platform, board)| on_board(test, platform, board, "").err())
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        halves.into_iter().flat_map(|half| half.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// In a child: the board's elements are there; the platform that it is about.
fn child() -> transcode_core::Platform {
    let _logs = env_logger::builder().is_test(true).try_init();
    transcode_standins::from_environment().unwrap();
    transcode_core::Platform::builtin(&std::env::var(PLATFORM).unwrap()).unwrap()
}

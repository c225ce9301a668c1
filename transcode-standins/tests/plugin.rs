//! The stand-ins as a plugin: a program that knows nothing of them finds the board that the environment names.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

use transcode_standins::{Board, JetPack, child_environment};

fn program(name: &str, boards: &[Board], faults: &str, folder: &std::path::Path, args: &str) -> Output {
    Command::new(name)
        .args(args.split_whitespace())
        .envs(child_environment(boards, faults, folder).unwrap())
        .output()
        .unwrap_or_else(|err| panic!("{name}: {err}"))
}

#[test]
fn a_program_finds_the_board_of_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let found = |boards: &[Board], element: &str| {
        program("gst-inspect-1.0", boards, "", folder.path(), element).status.success()
    };
    assert!(found(&[Board::NvidiaT4], "nvh264enc"));
    assert!(!found(&[Board::NvidiaT4], "nvv4l2decoder"));
    // The same registry file: another board is seen without clearing it.
    assert!(found(&[Board::JetsonOrinNano(JetPack::Six)], "nvv4l2decoder"));
    assert!(!found(&[Board::JetsonOrinNano(JetPack::Six)], "nvh264enc"));
    assert!(!found(&[], "nvv4l2decoder"));
}

#[test]
fn a_program_meets_the_fault_of_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let line = "videotestsrc num-buffers=30 ! video/x-raw,width=320,height=240 ! nvh264enc ! fakesink";
    let run = |faults: &str| program("gst-launch-1.0", &[Board::NvidiaT4], faults, folder.path(), line);
    assert!(run("").status.success());
    let failed = run("nvh264enc:error@7");
    let text = String::from_utf8_lossy(&failed.stderr);
    assert!(!failed.status.success() && text.contains("frame 7"), "{text}");
}
